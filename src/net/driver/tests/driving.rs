//! Driving a link, from many threads at a time.

use std::{sync::Barrier, thread};

use super::harness::{Client, Server, next_data, number, numbered};
use crate::core::session::State;

const THREADS: usize = 4;
const MESSAGES: u64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_threads_send_at_once_leaves_whole_in_the_order_of_each_and_nothing_is_left_lying() {
    // Of all sizes: written by their senders, piece by piece, and by the I/O thread.
    for size in [10, 20_000, 200_000] {
        let server = Server::new().await;
        let client = Client::new(server.settings());
        client.connection.open(false).unwrap();
        let mut socket = server.accept().await;
        client.state(State::Active).await;
        let messages = if size > 100_000 { MESSAGES / 10 } else { MESSAGES };
        let (connection, barrier) = (client.connection.clone(), std::sync::Arc::new(Barrier::new(THREADS)));
        let senders: Vec<_> = (0..THREADS)
            .map(|id| {
                let (connection, barrier) = (connection.clone(), barrier.clone());
                thread::spawn(move || {
                    barrier.wait();
                    for index in 0..messages {
                        super::harness::send_from_thread(
                            &connection,
                            &numbered(id as u64 * MESSAGES + index, size),
                        );
                    }
                })
            })
            .collect();
        let mut next = [0; THREADS];
        for _ in 0..THREADS as u64 * messages {
            let sent = number(&next_data(&mut socket).await.unwrap());
            let (id, index) = ((sent / MESSAGES) as usize, sent % MESSAGES);
            assert_eq!(index, next[id], "of thread {id}");
            next[id] += 1;
        }
        for sender in senders {
            sender.join().unwrap();
        }
        client.drained().await;
        client.connection.close();
    }
}
