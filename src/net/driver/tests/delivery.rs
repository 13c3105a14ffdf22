//! Messages, and what becomes of them.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use super::harness::{
    Client, Server, echo, frame, message, next_close, next_data, number, numbered, send, soon, until,
};
use crate::{
    core::{outbox::Lane, session::State},
    error::ErrorKind,
    net::handle::{Interest, Offered},
};

#[tokio::test]
async fn ten_thousand_messages_come_back_in_order() {
    const COUNT: u64 = 10_000;
    let server = Server::new().await;
    let client = Client::new(server.settings());
    let sending = async {
        for i in 0..COUNT {
            let mut message = client.try_send(&numbered(i, 32 + (i % 7) as usize * 100));
            while let Some(refused) = message {
                // The only wait for room: the receiver below waits for items.
                tokio::time::sleep(Duration::from_millis(1)).await;
                message = match client.connection.offer(refused, Lane::Throttled).unwrap() {
                    Offered::Accepted => None,
                    Offered::Full(refused) => Some(refused),
                };
            }
        }
    };
    let receiving = async {
        for i in 0..COUNT {
            assert_eq!(number(&client.result().await), i);
        }
    };
    let serving = async { echo(server.accept().await).await };
    tokio::select! {
        ((), ()) = async { tokio::join!(sending, receiving) } => {}
        () = serving => panic!("the server ended first"),
    }
    let s = client.stats();
    assert_eq!((s.accepted, s.written, s.received, s.delivered), (COUNT, COUNT, COUNT, COUNT));
    client.connection.close();
}

#[tokio::test]
async fn messages_accepted_before_the_socket_opens_arrive_in_order() {
    let server = Server::new().await;
    let client = Client::new(server.settings());
    for i in 0..500 {
        client.send(&numbered(i, 8));
    }
    assert_eq!(client.stats().pending, 500);
    let mut socket = server.accept().await;
    for i in 0..500 {
        assert_eq!(number(&next_data(&mut socket).await.unwrap()), i);
    }
    client.drained().await;
    assert_eq!(client.stats().written, 500);
    client.connection.close();
}

#[tokio::test]
async fn a_server_that_drops_mid_traffic_costs_only_what_was_being_written() {
    drop_mid_traffic(6_000, Duration::ZERO).await;
}

#[tokio::test]
async fn so_does_one_that_drops_while_messages_come_one_by_one() {
    drop_mid_traffic(1_500, Duration::from_micros(100)).await;
}

async fn drop_mid_traffic(count: u64, pause: Duration) {
    let server = Server::new().await;
    let client = Client::new(server.settings());
    let sending = async {
        let mut sent = 0;
        while sent < count {
            if client.try_send(&numbered(sent, 2_000)).is_none() {
                sent += 1;
            } else {
                client.wait_for(Interest::ROOM).await;
            }
            client.stats();
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    };
    let serving = async {
        let mut arrived = Vec::new();
        for life in 0..4_u64 {
            let mut socket = server.accept().await;
            // The last one stays.
            for _ in 0..if life == 3 { u64::MAX } else { count / 9 } {
                let Some(payload) = next_data(&mut socket).await else { break };
                arrived.push(number(&payload));
                if arrived.last() == Some(&(count - 1)) {
                    return arrived;
                }
            }
        }
        arrived
    };
    let ((), arrived) = tokio::join!(sending, serving);
    assert!(arrived.windows(2).all(|pair| pair[0] < pair[1]), "twice, or out of order");
    assert_eq!(arrived.last(), Some(&(count - 1)));
    client.drained().await;
    let s = client.stats();
    assert_eq!(s.reconnects, 3);
    assert!(s.failed <= 3, "at most one message a socket was torn: {s:?}");
    assert!(s.written >= arrived.len() as u64);
    assert_eq!(s.written + s.failed, count);
    client.connection.close();
}

/// Messages that are alone are written by their sender, as long as the operating system takes them; what it does not
/// take is left to the link, which also answers pings meanwhile.
#[tokio::test]
async fn what_is_sent_one_by_one_arrives_in_order_though_the_server_reads_late_and_pings() {
    const COUNT: u64 = 700;
    let server = Server::new().await;
    let client = Client::new(server.settings());
    client.connection.open(false).unwrap();
    let mut socket = server.accept().await;
    client.state(State::Active).await;
    for i in 0..COUNT {
        client.send(&numbered(i, 15_000));
        if i % 20 == 0 {
            send(&mut socket, Message::Ping(vec![7].into())).await;
        }
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    assert!(client.stats().pending > 0, "the buffers on the way took everything");
    for i in 0..COUNT {
        assert_eq!(number(&next_data(&mut socket).await.unwrap()), i);
    }
    client.drained().await;
    assert_eq!(client.stats().written, COUNT);
    client.connection.close();
}

/// How much is read at once depends on the sizes of the messages and on whether they pile up.
#[tokio::test]
async fn messages_of_all_sizes_that_pile_up_arrive_whole_and_in_order() {
    const SIZES: [usize; 9] = [60_000, 60_000, 60_000, 100, 130_000, 40_000, 5_000, 1_000_000, 20_000];
    const COUNT: u64 = 600;
    let server = Server::new().await;
    let client = Client::new(server.settings());
    client.connection.open(false).unwrap();
    let mut socket = server.accept().await;
    let payload = |number: u64| {
        // Nine of one size, then nine of the next: what is expected is right for a while.
        let size = SIZES[(number / 9) as usize % SIZES.len()];
        let mut payload = numbered(number, size);
        let last = size - 1;
        payload[last] = number as u8;
        payload
    };
    let sending = async {
        for number in 0..COUNT {
            send(&mut socket, Message::binary(payload(number))).await;
        }
    };
    let receiving = async {
        for expected in 0..COUNT {
            assert!(client.result().await == payload(expected), "message {expected}");
        }
    };
    tokio::join!(sending, receiving);
    assert_eq!(client.stats().received, COUNT);
    client.connection.close();
}

#[tokio::test]
async fn a_partly_written_large_message_is_not_sent_twice() {
    let server = Server::new().await;
    let client = Client::new(server.settings());
    client.connection.open(false).unwrap();
    let mut socket = server.accept().await;
    client.state(State::Active).await;
    client.send(&numbered(0, 8 << 20));
    // Part of it has arrived, and the rest does not fit into the buffers on the way.
    let mut some = vec![0; 64 << 10];
    soon("the first bytes", socket.get_mut().read_exact(&mut some)).await.unwrap();
    for i in 1..=3 {
        client.send(&numbered(i, 100));
    }
    drop(socket);

    let mut socket = server.accept().await;
    for i in 1..=3 {
        assert_eq!(number(&next_data(&mut socket).await.unwrap()), i);
    }
    client.drained().await;
    let s = client.stats();
    assert_eq!((s.accepted, s.written, s.failed), (4, 3, 1));
    client.connection.close();
}

/// A pong that is staged keeps a large message back for a moment, not for ever.
#[tokio::test]
async fn a_large_message_is_sent_though_a_ping_came_in_between() {
    let server = Server::new().await;
    let client = Client::new(server.settings());
    client.connection.open(false).unwrap();
    let mut socket = server.accept().await;
    client.state(State::Active).await;
    for i in 0..300 {
        send(&mut socket, Message::Ping(vec![1].into())).await;
        client.send(&numbered(i, 20_000));
        assert_eq!(number(&next_data(&mut socket).await.unwrap()), i);
    }
    client.connection.close();
}

#[tokio::test]
async fn what_the_server_said_before_it_reset_the_connection_is_heard() {
    let server = Server::new().await;
    let client = Client::new(server.settings_without_reconnect());
    client.connection.open(false).unwrap();
    let mut socket = server.accept().await;
    client.state(State::Active).await;
    client.send(&numbered(0, 8 << 20));
    let mut some = vec![0; 64 << 10];
    soon("the first bytes", socket.get_mut().read_exact(&mut some)).await.unwrap();
    // A result and a normal close; then the unread rest of the large message makes it a reset.
    let mut last_words = frame(0x82, b"the last result");
    last_words.extend(frame(0x88, &1000_u16.to_be_bytes()));
    socket.get_mut().write_all(&last_words).await.unwrap();
    drop(socket);

    assert_eq!(client.result().await, b"the last result");
    until("the end", || client.stats().failed == 1).await;
    client.state(State::Idle).await;
    assert!(client.connection.failure().is_none(), "a normal close is not an error");
}

#[tokio::test]
async fn whoever_waits_for_room_is_not_told_of_less_than_needed() {
    let server = Server::new().await;
    let client = Client::new(server.settings());
    for i in 0..6 {
        client.send(&numbered(i, 10 << 20));
    }
    client.state(State::Connecting).await;
    let refused = client.try_send(&numbered(6, 10 << 20)).expect("70 MiB were accepted");
    let armed = client.connection.arm(Interest::ROOM, Interest::ROOM, client.connection.state());
    assert!(!armed, "there is room for a small message only");
    let mut socket = server.accept().await;
    let (first, ()) = tokio::join!(next_data(&mut socket), client.wait_for(Interest::ROOM));
    assert_eq!(number(&first.unwrap()), 0);
    assert!(matches!(client.connection.offer(refused, Lane::Throttled), Ok(Offered::Accepted)));
    for i in 1..7 {
        assert_eq!(number(&next_data(&mut socket).await.unwrap()), i);
    }
    client.connection.close();
}

#[tokio::test]
async fn reading_pauses_while_nobody_takes_and_nothing_is_lost() {
    const COUNT: u64 = 200;
    let server = Server::new().await;
    let client = Client::new(server.settings());
    client.receive();
    client.connection.open(false).unwrap();
    let mut socket = server.accept().await;
    let serving = async {
        for i in 0..COUNT {
            send(&mut socket, Message::binary(numbered(i, 1 << 20))).await;
        }
        std::future::pending::<()>().await;
    };
    let taking = async {
        until("the high-water mark", || client.stats().received_pending >= 64).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let waiting = client.stats().received_pending;
        // What one turn reads may come on top.
        assert!(waiting < 70, "{waiting} results wait");
        for i in 0..COUNT {
            assert_eq!(number(&client.result().await), i);
        }
    };
    tokio::select! {
        () = taking => {}
        () = serving => {}
    }
    let s = client.stats();
    assert_eq!((s.received, s.delivered, s.received_dropped), (COUNT, COUNT, 0));
    client.connection.close();
}

#[tokio::test]
async fn a_request_behind_what_is_not_taken_is_told_that_it_may_have_run() {
    let server = Server::new().await;
    let client = Client::new(server.settings());
    client.receive();
    let key = client.request("a");
    let mut socket = server.accept().await;
    let serving = async {
        loop {
            send(&mut socket, Message::binary(numbered(0, 1 << 20))).await;
        }
    };
    let waiting = async {
        loop {
            if let Some(outcome) = client.connection.take_answer(key) {
                return outcome;
            }
            client.wait_for(Interest::ANSWERS).await;
            client.connection.readiness();
        }
    };
    let outcome = tokio::select! {
        outcome = waiting => outcome,
        () = serving => unreachable!("the server never ends"),
    };
    assert_eq!(outcome.unwrap_err().kind, ErrorKind::Unread);
    // The next one is refused before it is sent.
    assert_eq!(client.connection.add_request("b").unwrap_err().kind, ErrorKind::BufferFull);
    client.connection.close();
}

#[tokio::test]
async fn the_last_of_a_throttled_burst_arrives() {
    let server = Server::new().await;
    let mut settings = server.settings();
    settings.throttle_interval = Duration::from_millis(30);
    let client = Client::new(settings);
    for i in 0..50 {
        client.send(&numbered(i, 8));
    }
    // While nothing could be sent, only the latest was kept.
    let mut socket = server.accept().await;
    assert_eq!(number(&next_data(&mut socket).await.unwrap()), 49);
    for i in 0..50 {
        client.send(&numbered(i, 8));
    }
    let mut last = 0;
    while last != 49 {
        last = number(&next_data(&mut socket).await.unwrap());
    }
    client.drained().await;
    let s = client.stats();
    assert_eq!((s.accepted, s.written + s.coalesced), (100, 100));
    client.connection.close();
}

#[tokio::test]
async fn messages_that_wait_for_more_leave_when_nothing_follows() {
    let server = Server::new().await;
    let client = Client::new(server.settings());
    let offer =
        |number| client.connection.offer_more(message(&numbered(number, 8), None), Lane::Throttled).unwrap();
    client.send(&numbered(0, 8));
    let mut socket = server.accept().await;
    assert_eq!(number(&next_data(&mut socket).await.unwrap()), 0);
    let mut next = 1;
    // Without being uncorked they leave all the same, and uncorked at once.
    for uncorks in [false, true].repeat(20) {
        for last in [next + 1, next + 30] {
            for number in next..=last {
                offer(number);
            }
            if uncorks {
                client.connection.uncork();
            }
            for expected in next..=last {
                assert_eq!(number(&next_data(&mut socket).await.unwrap()), expected);
            }
            next = last + 1;
        }
    }
    // As they do when the connection closes.
    offer(next);
    offer(next + 1);
    client.connection.close();
    assert_eq!(number(&next_data(&mut socket).await.unwrap()), next);
    assert_eq!(number(&next_data(&mut socket).await.unwrap()), next + 1);
    assert_eq!(next_close(&mut socket).await, 1000);
    client.state(State::Closed).await;
    assert_eq!(client.stats().written, next + 2);
}
