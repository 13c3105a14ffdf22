#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::{BTreeSet, VecDeque},
    time::Instant,
};

use proptest::prelude::*;

use super::*;
use crate::core::frame::MessageKind;
use crate::core::{payload::Cursor, requests::Requests};

const INTERVAL: Duration = Duration::from_millis(100);

/// An outbox whose session is open.
fn opened(throttle: Duration, max_buffering: Option<u8>) -> Outbox {
    let mut outbox = Outbox::new(throttle, max_buffering);
    assert!(outbox.session_began(Instant::now()).is_empty());
    outbox
}

fn message(id: u64, size: usize) -> Outgoing {
    let mut buffer = vec![0; size.max(8)];
    buffer[..8].copy_from_slice(&id.to_be_bytes());
    Outgoing { payload: buffer.into(), kind: MessageKind::Binary, request: None }
}

fn id(message: &Outgoing) -> u64 {
    u64::from_be_bytes(Cursor::default().advance(&message.payload, 8).unwrap().try_into().unwrap())
}

fn stats(outbox: &Outbox) -> Stats {
    let mut stats = Stats::default();
    outbox.report(&mut stats);
    stats
}

fn taken(outbox: &mut Outbox) -> Vec<u64> {
    std::iter::from_fn(|| outbox.take()).map(|message| id(&message)).collect()
}

/// The session ends: how many messages that were nobody's request have no answer.
fn end_session(outbox: &mut Outbox, open_requests: usize, how: SessionEnd, is_stream: bool) -> u64 {
    outbox.session_ended(&Ended { how, is_stream, open_requests, torn_requests: 0 })
}

#[track_caller]
fn assert_sum(outbox: &Outbox) {
    let s = stats(outbox);
    assert_eq!(s.accepted, s.written + s.coalesced + s.dropped + s.failed + s.withdrawn + s.pending, "{s:?}");
}

#[derive(Debug, Clone)]
enum Step {
    Accept {
        lane: Lane,
        size: usize,
        count: usize,
    },
    Advance(Duration),
    Tick,
    Take(usize),
    TakeAll,
    Wrote(usize),
    Open,
    Result,
    Speak,
    /// The socket is lost: so many messages were torn. `refused`: the server has refused the session.
    Lost {
        torn: usize,
        refused: bool,
    },
    /// The n-th message in the queue is a request's that has ended.
    Withdraw(usize),
    CancelThrottled,
    FailAll,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![20 => 8..200_usize, 1 => Just(24 << 20), 1 => Just(70 << 20)];
    let count = prop_oneof![30 => Just(1_usize), 1 => Just(400_usize)];
    let lane = prop_oneof![Just(Lane::Throttled), Just(Lane::Direct)];
    prop_oneof![
        8 => (lane, size, count).prop_map(|(lane, size, count)| Step::Accept {
            lane,
            size,
            count: if size > 200 { 1 } else { count },
        }),
        3 => (0..150_u64).prop_map(|ms| Step::Advance(Duration::from_millis(ms))),
        3 => Just(Step::Tick),
        4 => (1..6_usize).prop_map(Step::Take),
        1 => Just(Step::TakeAll),
        3 => (1..6_usize).prop_map(Step::Wrote),
        2 => Just(Step::Open),
        1 => Just(Step::Result),
        1 => Just(Step::Speak),
        2 => (0..2_usize, any::<bool>()).prop_map(|(torn, refused)| Step::Lost { torn, refused }),
        1 => (0..5_usize).prop_map(Step::Withdraw),
        1 => Just(Step::CancelThrottled),
        1 => Just(Step::FailAll),
    ]
}

/// An outbox, and what is known of its messages from outside.
struct Model {
    outbox: Outbox,
    now: Instant,
    next: u64,
    in_flight: VecDeque<Outgoing>,
    written: Vec<u64>,
    torn: BTreeSet<u64>,
    requests: Requests,
    is_open: bool,
    /// How many messages had been written when the session began.
    began_with: usize,
    /// When it did.
    began: Instant,
    /// Nothing has come from the server.
    is_silent: bool,
    /// How many messages had been taken when the newest result came.
    answered: usize,
    /// What was sent to a server that refused it, and was pending again.
    refused: BTreeSet<u64>,
    unanswered: u64,
    /// What was taken in this session.
    bytes: usize,
}

impl Model {
    fn new(throttle: Duration, max_buffering: Option<u8>) -> Self {
        Self {
            outbox: Outbox::new(throttle, max_buffering),
            now: Instant::now(),
            next: 0,
            in_flight: VecDeque::new(),
            written: Vec::new(),
            torn: BTreeSet::new(),
            requests: Requests::default(),
            is_open: false,
            began_with: 0,
            began: Instant::now(),
            is_silent: true,
            answered: 0,
            refused: BTreeSet::new(),
            unanswered: 0,
            bytes: 0,
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Accept { lane, size, count } => (0..count).for_each(|_| self.accept(lane, size)),
            Step::Advance(time) => self.now += time,
            Step::Tick => {
                let due = self.outbox.deadline().is_some_and(|at| at <= self.now);
                let held = self.outbox.throttle.held();
                self.outbox.tick(self.now);
                assert!(due || held == self.outbox.throttle.held(), "a tick before its time did something");
            }
            Step::Take(_) | Step::TakeAll | Step::Lost { .. } if !self.is_open => {}
            Step::Open if !self.is_open => {
                self.outbox.session_began(self.now);
                self.is_open = true;
                self.began_with = self.written.len();
                self.began = self.now;
                self.is_silent = true;
                self.answered = 0;
                self.bytes = 0;
            }
            Step::Open => {}
            Step::Result => {
                self.outbox.results_came(1);
                self.is_silent = false;
                self.answered = self.written.len() + self.in_flight.len() - self.began_with;
            }
            Step::Speak => {
                self.outbox.server_spoke();
                self.is_silent = false;
            }
            Step::Withdraw(place) => {
                let request = self.outbox.ring.iter().nth(place).and_then(|message| message.request);
                if let Some(request) = request {
                    assert!(self.outbox.withdraw(request));
                    assert!(!self.outbox.withdraw(request), "withdrawn twice");
                }
            }
            Step::Take(count) => {
                for _ in 0..count {
                    let weight = self.outbox.next_weight();
                    let message = self.outbox.take();
                    assert_eq!(weight, message.as_ref().map(Weigh::weight));
                    self.bytes += weight.unwrap_or_default();
                    self.in_flight.extend(message);
                }
            }
            Step::TakeAll => {
                const MOST: usize = 1 << 20;
                let (queued, weight) = (self.outbox.queued(), self.outbox.ring.weight());
                let mut all = VecDeque::new();
                let taken = self.outbox.take_all(MOST, &mut all);
                assert!(!taken || (queued > 0 && weight <= MOST));
                assert!(taken || queued == 0 || weight > MOST || self.outbox.record.copies());
                assert_eq!(all.len(), if taken { queued } else { 0 });
                self.in_flight.extend(all);
            }
            Step::Wrote(count) => {
                let count = count.min(self.in_flight.len());
                let messages: Vec<_> = self.in_flight.drain(..count).collect();
                let bytes = messages.iter().map(|message| message.payload.len()).sum();
                self.outbox.wrote(count, bytes);
                self.written.extend(messages.iter().map(id));
            }
            Step::Lost { torn, refused } => self.lost(torn, refused),
            Step::CancelThrottled => {
                self.outbox.cancel_throttled();
                assert!(!self.outbox.throttle.held());
            }
            Step::FailAll => {
                self.outbox.fail_all();
                assert!(!self.outbox.is_queued());
                assert_eq!(self.outbox.pending(), self.in_flight.len());
            }
        }
    }

    /// What the session may send again: everything that the server has taken, unless that has said something, or it was
    /// refused before.
    fn lost(&mut self, torn: usize, refused: bool) {
        let torn = torn.min(self.in_flight.len());
        let torn: Vec<_> = self.in_flight.drain(..torn).collect();
        let back: Vec<u64> = self.in_flight.iter().map(id).collect();
        self.outbox.give_back(self.in_flight.drain(..));
        let front: Vec<u64> = self.outbox.ring.iter().take(back.len()).map(id).collect();
        assert_eq!(front, back, "what came back is not in front");
        if refused {
            let queued = self.outbox.queued();
            self.outbox.session_refused(&mut vec![None; torn.len()]);
            let again: Vec<u64> =
                self.outbox.ring.iter().take(self.outbox.queued() - queued).map(id).collect();
            let sent: Vec<u64> =
                self.written[self.began_with..].iter().copied().chain(torn.iter().map(id)).collect();
            if self.is_silent && self.bytes <= MAX_QUEUED_BYTES && sent.len() < MAX_QUEUED {
                let first_time: Vec<u64> =
                    sent.iter().copied().filter(|id| !self.refused.contains(id)).collect();
                // After a while what was sent is not kept any more.
                let is_late = self.now.saturating_duration_since(self.began) > Duration::from_secs(10);
                assert!(again == first_time || (is_late && again.is_empty()), "{again:?} of {sent:?}");
            } else if !self.is_silent {
                assert!(again.is_empty());
            }
            self.written.retain(|id| !again.contains(id));
            self.torn.extend(torn.iter().map(id).filter(|id| !again.contains(id)));
            self.refused.extend(again);
        } else {
            self.outbox.lost(torn.len());
            self.torn.extend(torn.iter().map(id));
        }
        let written = self.written.len() - self.began_with;
        let others = end_session(&mut self.outbox, 0, SessionEnd::Lost, false);
        // Requests are told by themselves.
        assert!(others <= written.saturating_sub(self.answered) as u64);
        self.unanswered += others;
        self.is_open = false;
    }

    fn accept(&mut self, lane: Lane, size: usize) {
        let (number, before) = (self.next, stats(&self.outbox));
        self.next += 1;
        let room = self.outbox.has_room(size);
        // Room is wanted for that one too.
        let goes_behind_another = lane == Lane::Direct && self.outbox.throttle.held();
        let mut offered = message(number, size);
        if lane == Lane::Direct {
            offered.request = Some(self.requests.add(&number.to_string()).unwrap());
        }
        match self.outbox.accept(self.now, offered, lane) {
            Ok(_) => {
                assert!(room);
                assert_eq!(stats(&self.outbox).accepted, before.accepted + 1);
            }
            Err(returned) => {
                assert!(!room || goes_behind_another);
                assert_eq!(id(&returned), number);
                assert_eq!(stats(&self.outbox), before, "a refused message changed something");
            }
        }
    }

    fn check(&self) {
        let s = stats(&self.outbox);
        assert_eq!(
            s.accepted,
            s.written + s.coalesced + s.dropped + s.failed + s.withdrawn + s.pending,
            "{s:?}"
        );
        assert_eq!(s.written, self.written.len() as u64);
        assert_eq!(s.unanswered, self.unanswered);
        assert!(s.unanswered <= s.written);
        let weight: usize = self.outbox.ring.iter().map(Weigh::weight).sum();
        assert_eq!(weight, self.outbox.ring.weight());

        let course: Vec<u64> = self
            .written
            .iter()
            .copied()
            .chain(self.in_flight.iter().map(id))
            .chain(self.outbox.ring.iter().map(id))
            .collect();
        let once: BTreeSet<u64> = course.iter().copied().collect();
        assert_eq!(once.len(), course.len(), "a message is there twice");
        assert!(once.is_disjoint(&self.torn), "a torn message came back");
        assert!(course.is_sorted(), "out of order");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_message_has_one_fate_and_order_is_kept(
        throttled: bool,
        max_buffering in proptest::option::of(1..=60_u8),
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let throttle = if throttled { INTERVAL } else { Duration::ZERO };
        let mut model = Model::new(throttle, max_buffering);
        for step in steps {
            model.run(step);
            model.check();
        }
        // The end: nothing is pending, nothing is unaccounted for.
        let in_flight = model.in_flight.len();
        model.run(Step::Lost { torn: in_flight, refused: false });
        model.run(Step::FailAll);
        let s = stats(&model.outbox);
        prop_assert_eq!(s.pending, 0);
        prop_assert_eq!(s.accepted, s.written + s.coalesced + s.dropped + s.failed + s.withdrawn);
        prop_assert!(throttled || s.coalesced == 0);
        prop_assert!(max_buffering.is_some() || s.dropped == 0);
    }

    #[test]
    fn without_throttle_and_freshness_everything_is_written_in_order(
        sizes in proptest::collection::vec(0..5_000_usize, 1..300),
    ) {
        let mut outbox = Outbox::new(Duration::ZERO, None);
        let now = Instant::now();
        for (number, size) in sizes.iter().enumerate() {
            prop_assert!(outbox.accept(now, message(number as u64, *size), Lane::Throttled).is_ok());
        }
        let expected: Vec<u64> = (0..sizes.len() as u64).collect();
        prop_assert_eq!(taken(&mut outbox), expected);
    }
}

#[test]
fn of_a_burst_the_first_and_the_last_are_written() {
    let (mut outbox, start) = (opened(INTERVAL, None), Instant::now());
    for number in 0..10 {
        outbox.accept(start, message(number, 8), Lane::Throttled).unwrap();
    }
    assert_eq!(taken(&mut outbox), [0]);
    assert_eq!(outbox.deadline(), Some(start + INTERVAL));
    outbox.tick(start + INTERVAL);
    assert_eq!(taken(&mut outbox), [9]);
    assert_eq!(outbox.deadline(), None);
    assert_eq!(stats(&outbox).coalesced, 8);
    assert_sum(&outbox);
}

#[test]
fn a_due_message_goes_before_a_newer_one() {
    let (mut outbox, start) = (opened(INTERVAL, None), Instant::now());
    outbox.accept(start, message(0, 8), Lane::Throttled).unwrap();
    outbox.accept(start, message(1, 8), Lane::Throttled).unwrap();
    outbox.accept(start + INTERVAL, message(2, 8), Lane::Throttled).unwrap();
    assert_eq!(taken(&mut outbox), [0, 1]);
    outbox.tick(start + 2 * INTERVAL);
    assert_eq!(taken(&mut outbox), [2]);
    assert_eq!(stats(&outbox).coalesced, 0);
}

#[test]
fn a_direct_message_goes_behind_what_is_held_which_goes_now() {
    let (mut outbox, start) = (opened(INTERVAL, None), Instant::now());
    for number in 0..3 {
        outbox.accept(start, message(number, 8), Lane::Throttled).unwrap();
    }
    outbox.accept(start, message(3, 8), Lane::Direct).unwrap();
    assert_eq!(taken(&mut outbox), [0, 2, 3]);
    outbox.accept(start, message(4, 8), Lane::Throttled).unwrap();
    assert_eq!(outbox.deadline(), Some(start + INTERVAL), "what went early counts for the throttle");
    assert_eq!(stats(&outbox).coalesced, 1);
    assert_sum(&outbox);
}

#[test]
fn a_direct_message_that_does_not_fit_beside_what_is_held_waits_for_that_to_be_written() {
    let (mut outbox, start) = (opened(INTERVAL, None), Instant::now());
    outbox.accept(start, message(0, 8), Lane::Throttled).unwrap();
    outbox.accept(start, message(1, 40 << 20), Lane::Throttled).unwrap();
    let refused = outbox.accept(start, message(2, 40 << 20), Lane::Direct).unwrap_err();
    assert!(!outbox.has_room_for_refused());
    assert_eq!(taken(&mut outbox), [0, 1]);
    assert!(outbox.has_room_for_refused());
    outbox.accept(start, refused, Lane::Direct).unwrap();
    assert_eq!(taken(&mut outbox), [2]);
    assert_sum(&outbox);
}

#[test]
fn a_held_message_waits_for_room_in_a_full_ring() {
    let (mut outbox, start) = (opened(INTERVAL, None), Instant::now());
    let last = MAX_QUEUED as u64;
    outbox.accept(start, message(0, 8), Lane::Throttled).unwrap();
    for number in 1..last - 1 {
        outbox.accept(start, message(number, 8), Lane::Direct).unwrap();
    }
    outbox.accept(start, message(last - 1, 8), Lane::Throttled).unwrap();
    outbox.accept(start + INTERVAL, message(last, 8), Lane::Throttled).unwrap();
    let late = start + 2 * INTERVAL;
    // Full: nobody is to be woken for what can not be done, and nothing is lost by trying.
    assert_eq!(outbox.deadline(), None);
    assert!(outbox.tick(late).is_empty());
    for lane in [Lane::Throttled, Lane::Direct] {
        assert_eq!(id(&outbox.accept(late, message(9_999, 8), lane).unwrap_err()), 9_999);
    }
    assert_eq!(outbox.pending(), MAX_QUEUED + 1);

    assert_eq!(outbox.take().map(|message| id(&message)), Some(0));
    assert!(outbox.deadline().is_some_and(|at| at <= late));
    outbox.tick(late);
    assert_eq!(taken(&mut outbox).last(), Some(&last));
    assert_eq!(stats(&outbox).coalesced, 0);
    assert_sum(&outbox);
}

#[test]
fn a_held_message_too_large_for_the_room_there_is_keeps_its_place_and_can_be_replaced() {
    let (mut outbox, start) = (opened(INTERVAL, None), Instant::now());
    outbox.accept(start, message(0, 8), Lane::Throttled).unwrap();
    outbox.accept(start, message(1, 24 << 20), Lane::Throttled).unwrap();
    outbox.accept(start + INTERVAL, message(2, 60 << 20), Lane::Throttled).unwrap();
    let late = start + 2 * INTERVAL;
    outbox.tick(late);
    assert_eq!(outbox.ring.len(), 2, "84 MiB do not fit into 64");
    // No storm of wakes: the next chance is an interval away.
    assert!(outbox.deadline().is_some_and(|at| at >= late + INTERVAL));
    outbox.accept(late + INTERVAL, message(3, 8), Lane::Throttled).unwrap();
    outbox.tick(late + 2 * INTERVAL);
    assert_eq!(taken(&mut outbox), [0, 1, 3]);
    assert_eq!(stats(&outbox).coalesced, 1);
    assert_sum(&outbox);
}

#[test]
fn freshness_drops_the_oldest_and_names_the_requests_among_them() {
    let mut requests = Requests::default();
    let key = requests.add("a").unwrap();
    let (mut outbox, now) = (opened(Duration::ZERO, Some(2)), Instant::now());
    let request = Outgoing { request: Some(key), ..message(0, 8) };
    outbox.accept(now, request, Lane::Direct).unwrap();
    outbox.accept(now, message(1, 8), Lane::Throttled).unwrap();
    let Accepted::Queued(displaced) = outbox.accept(now, message(2, 8), Lane::Throttled).unwrap() else {
        panic!("held without a throttle")
    };
    assert_eq!(displaced, [key]);
    assert_eq!(taken(&mut outbox), [1, 2]);
    assert_eq!(stats(&outbox).dropped, 1);
    assert_sum(&outbox);
}

#[test]
fn a_held_message_that_displaces_a_request_names_it() {
    let mut requests = Requests::default();
    let key = requests.add("a").unwrap();
    let (mut outbox, start) = (opened(INTERVAL, Some(1)), Instant::now());
    outbox.accept(start, message(0, 8), Lane::Throttled).unwrap();
    outbox.accept(start, Outgoing { request: Some(key), ..message(1, 8) }, Lane::Direct).unwrap();
    outbox.accept(start, message(2, 8), Lane::Throttled).unwrap();
    assert_eq!(outbox.tick(start + INTERVAL), [key]);
    assert_eq!(taken(&mut outbox), [2]);
    assert_sum(&outbox);
}

#[test]
fn failing_everything_names_the_requests_and_spares_what_is_in_flight() {
    let mut requests = Requests::default();
    let keys = [requests.add("a").unwrap(), requests.add("b").unwrap()];
    let (mut outbox, now) = (opened(INTERVAL, None), Instant::now());
    for (number, key) in keys.into_iter().enumerate() {
        let request = Outgoing { request: Some(key), ..message(number as u64, 8) };
        outbox.accept(now, request, Lane::Direct).unwrap();
    }
    outbox.accept(now, message(2, 8), Lane::Throttled).unwrap();
    outbox.accept(now, message(3, 8), Lane::Throttled).unwrap();
    let in_flight = outbox.take().unwrap();
    assert_eq!(outbox.fail_all(), [keys[1]]);
    assert_eq!(outbox.pending(), 1);
    outbox.wrote(1, in_flight.payload.len());
    let s = stats(&outbox);
    assert_eq!((s.written, s.failed, s.pending, s.bytes_sent), (1, 3, 0, 8));
}

#[test]
fn messages_in_a_row_wait_for_more_but_not_where_the_newest_counts() {
    for (max_buffering, wait) in [(None, true), (Some(3), false)] {
        let (mut outbox, now) = (opened(Duration::ZERO, max_buffering), Instant::now());
        let send = |outbox: &mut Outbox, number| {
            outbox.accept(now, message(number, 8), Lane::Throttled).unwrap();
            outbox.cork(now, true);
        };
        send(&mut outbox, 0);
        assert_eq!(outbox.corked_until(), None, "nothing was before it");
        assert_eq!(taken(&mut outbox), [0]);
        send(&mut outbox, 1);
        send(&mut outbox, 2);
        assert_eq!(outbox.corked_until().is_some(), wait);
        outbox.uncork();
        assert_eq!(outbox.corked_until(), None);
        assert_eq!(taken(&mut outbox), [1, 2]);
    }
}

#[test]
fn while_no_session_is_open_the_throttle_holds_the_latest() {
    let (mut outbox, start) = (Outbox::new(INTERVAL, None), Instant::now());
    for number in 0..30 {
        outbox.accept(start + INTERVAL * number, message(number.into(), 8), Lane::Throttled).unwrap();
        assert_eq!((outbox.deadline(), outbox.pending()), (None, 1));
    }
    let later = start + INTERVAL * 30;
    outbox.session_began(later);
    assert_eq!(taken(&mut outbox), [29]);
    outbox.accept(later, message(30, 8), Lane::Throttled).unwrap();
    assert_eq!(outbox.deadline(), Some(later + INTERVAL), "no burst faster than the interval");
    assert_eq!(stats(&outbox).coalesced, 29);
    end_session(&mut outbox, 0, SessionEnd::Lost, false);
    outbox.tick(later + INTERVAL);
    assert!(!outbox.is_queued(), "nor in an outage");
    assert_sum(&outbox);
}

#[test]
fn what_a_server_refused_is_sent_again_once_and_before_what_came_later() {
    let (mut outbox, now) = (opened(Duration::ZERO, None), Instant::now());
    for number in 0..3 {
        outbox.accept(now, message(number, 8), Lane::Throttled).unwrap();
    }
    assert_eq!(taken(&mut outbox), [0, 1, 2]);
    outbox.wrote(2, 16);
    outbox.accept(now, message(3, 8), Lane::Throttled).unwrap();
    // The third was torn.
    assert!(outbox.session_refused(&mut vec![None; 1]).is_empty());
    assert_eq!(end_session(&mut outbox, 0, SessionEnd::Lost, false), 0);
    let s = stats(&outbox);
    assert_eq!((s.written, s.failed, s.pending, s.unanswered, s.bytes_sent), (0, 0, 4, 0, 0));

    outbox.session_began(now);
    assert_eq!(taken(&mut outbox), [0, 1, 2, 3]);
    outbox.wrote(4, 32);
    assert!(outbox.session_refused(&mut vec![None; 0]).is_empty());
    assert_eq!(end_session(&mut outbox, 0, SessionEnd::Lost, false), 3, "sent twice, and not a third time");
    assert_eq!(taken(&mut outbox), [3]);
    assert_sum(&outbox);
}

#[test]
fn what_was_written_since_the_last_result_is_unanswered() {
    let mut requests = Requests::default();
    let (mut outbox, now) = (opened(Duration::ZERO, None), Instant::now());
    let mut send = |outbox: &mut Outbox, number, is_request: bool| {
        let request = is_request.then(|| requests.add(&format!("{number}")).unwrap());
        outbox.accept(now, Outgoing { request, ..message(number, 8) }, Lane::Direct).unwrap();
        taken(outbox);
    };
    send(&mut outbox, 0, false);
    outbox.results_came(1);
    outbox.wrote(1, 8);
    assert!(outbox.session_answered());
    for (number, is_request) in [(1, false), (2, true), (3, false)] {
        send(&mut outbox, number, is_request);
        outbox.wrote(1, 8);
    }
    assert_eq!(
        end_session(&mut outbox, 1, SessionEnd::Lost, false),
        2,
        "and the request, which is told by itself"
    );
    assert_eq!(stats(&outbox).unanswered, 3);
    assert_eq!(end_session(&mut outbox, 1, SessionEnd::Lost, false), 0, "once");
}

fn end_of_inputs() -> Outgoing {
    Outgoing { payload: vec![0xc0].into(), kind: MessageKind::Binary, request: None }
}

/// Two inputs, the end of the inputs, and another input that nobody reads.
fn with_an_end_of_inputs() -> Outbox {
    let (mut outbox, now) = (opened(Duration::ZERO, None), Instant::now());
    for message in [message(0, 8), message(1, 8), end_of_inputs(), message(2, 8)] {
        outbox.accept(now, message, Lane::Direct).unwrap();
    }
    outbox
}

#[test]
fn the_regular_end_of_a_session_is_the_answer_to_the_end_of_the_inputs() {
    let ended = |end| {
        let mut outbox = with_an_end_of_inputs();
        while let Some(message) = outbox.take() {
            outbox.wrote(1, message.payload.len());
        }
        assert_eq!(outbox.under_way(0), 3, "the end of the inputs is none");
        (end_session(&mut outbox, 0, end, false), stats(&outbox).unanswered)
    };
    assert_eq!(ended(SessionEnd::Regular), (3, 3));
    assert_eq!(ended(SessionEnd::Lost), (4, 4), "nobody knows whether the stream would have ended there");
}

#[test]
fn all_inputs_of_a_stream_that_was_cut_are_unanswered() {
    let ended = |end, is_stream| {
        let mut outbox = with_an_end_of_inputs();
        let key = Requests::default().add("a").unwrap();
        let request = Outgoing { request: Some(key), ..message(3, 8) };
        outbox.accept(Instant::now(), request, Lane::Direct).unwrap();
        while let Some(message) = outbox.take() {
            outbox.wrote(1, message.payload.len());
            outbox.results_came(1);
        }
        (end_session(&mut outbox, 0, end, is_stream), stats(&outbox).unanswered)
    };
    assert_eq!(ended(SessionEnd::Lost, true), (4, 4), "but the request, which has its answer");
    assert_eq!(ended(SessionEnd::Refused, true), (4, 4));
    assert_eq!(ended(SessionEnd::Regular, true), (0, 0));
    assert_eq!(ended(SessionEnd::Lost, false), (0, 0));
}

#[test]
fn the_end_of_the_inputs_is_seen_where_all_is_taken_at_once() {
    let mut outbox = with_an_end_of_inputs();
    // What could be sent again is looked at in any case.
    outbox.server_spoke();
    let mut all = VecDeque::new();
    assert!(!outbox.take_all(usize::MAX, &mut all));
    while let Some(message) = outbox.take() {
        outbox.wrote(1, message.payload.len());
    }
    accept(&mut outbox, 3, Lane::Direct);
    assert!(outbox.take_all(usize::MAX, &mut all), "there is none any more");
    outbox.wrote(1, 8);
    assert_eq!(end_session(&mut outbox, 0, SessionEnd::Regular, false), 4);
}

#[test]
fn an_end_of_the_inputs_that_came_back_or_was_torn_takes_nothing_from_the_others() {
    for (written, torn) in [(2, 0), (2, 1)] {
        let mut outbox = with_an_end_of_inputs();
        let mut in_flight: VecDeque<_> = std::iter::from_fn(|| outbox.take()).collect();
        outbox.wrote(written, written * 8);
        in_flight.drain(..written + torn);
        outbox.lost(torn);
        outbox.give_back(in_flight.into_iter());
        assert_eq!(end_session(&mut outbox, 0, SessionEnd::Regular, false), 2);
        // The next session looks for it again.
        outbox.session_began(Instant::now());
        outbox.server_spoke();
        assert_eq!(outbox.take_all(usize::MAX, &mut VecDeque::new()), torn == 1);
    }
}

#[test]
fn a_result_behind_the_end_of_the_inputs_answers_all_before_it() {
    let mut outbox = with_an_end_of_inputs();
    for _ in 0..3 {
        let message = outbox.take().unwrap();
        outbox.wrote(1, message.payload.len());
    }
    outbox.results_came(1);
    outbox.take().unwrap();
    outbox.wrote(1, 8);
    assert_eq!(end_session(&mut outbox, 0, SessionEnd::Regular, false), 1);
}

/// Session number one is being opened.
fn opening(throttle: Duration, max_buffering: Option<u8>) -> Outbox {
    let mut outbox = Outbox::new(throttle, max_buffering);
    outbox.opens(1);
    outbox.session_began(Instant::now());
    outbox
}

fn accept(outbox: &mut Outbox, number: u64, lane: Lane) {
    outbox.accept(Instant::now(), message(number, 8), lane).unwrap();
}

#[test]
fn what_is_sent_in_an_opening_goes_before_what_waits_for_it() {
    let mut outbox = Outbox::new(Duration::ZERO, Some(2));
    accept(&mut outbox, 0, Lane::Direct);
    outbox.opens(1);
    outbox.session_began(Instant::now());
    accept(&mut outbox, 1, Lane::Direct);
    assert!(!outbox.is_queued() && outbox.next_weight().is_none() && outbox.take().is_none());
    for number in 2..6 {
        accept(&mut outbox, number, Lane::Opening(1));
    }
    assert_eq!(outbox.queued(), 4, "the newest two displace nothing in an opening");
    assert_eq!(outbox.take().map(|message| id(&message)), Some(2));
    assert!(!outbox.take_all(usize::MAX, &mut VecDeque::new()), "others would come before");
    outbox.opened();
    accept(&mut outbox, 6, Lane::Opening(1));
    assert_eq!(
        taken(&mut outbox),
        [3, 4, 5, 1, 6],
        "one who comes too late, or for another session, is last"
    );
    assert_eq!(stats(&outbox).dropped, 1);
    assert_sum(&outbox);
}

#[test]
fn an_opening_holds_as_much_as_the_queue_beside_it() {
    let mut outbox = opening(Duration::ZERO, None);
    for number in 0..MAX_QUEUED as u64 {
        accept(&mut outbox, number, Lane::Direct);
        accept(&mut outbox, number, Lane::Opening(1));
    }
    let now = Instant::now();
    assert!(outbox.accept(now, message(0, 8), Lane::Opening(1)).is_err());
    assert!(outbox.accept(now, message(0, 8), Lane::Direct).is_err());
    assert!(!outbox.has_room_for_refused());
    assert_eq!(taken(&mut outbox).len(), MAX_QUEUED);
    accept(&mut outbox, 0, Lane::Opening(1));
    assert_sum(&outbox);
}

#[test]
fn what_an_opening_has_not_written_when_its_session_ends_fails_and_names_its_requests() {
    let mut requests = Requests::default();
    let keys: Vec<_> = (0..3).map(|number| requests.add(&number.to_string()).unwrap()).collect();
    let mut outbox = opening(Duration::ZERO, None);
    accept(&mut outbox, 9, Lane::Direct);
    for (number, key) in keys.iter().enumerate() {
        let request = Outgoing { request: Some(*key), ..message(number as u64, 8) };
        outbox.accept(Instant::now(), request, Lane::Opening(1)).unwrap();
    }
    let (written, untouched) = (outbox.take().unwrap(), outbox.take().unwrap());
    outbox.wrote(1, written.payload.len());
    assert_eq!(outbox.give_back([untouched].into_iter()), [keys[1]]);
    assert_eq!(outbox.fail_opening(), [keys[2]]);
    assert_eq!(
        end_session(&mut outbox, 1, SessionEnd::Lost, false),
        0,
        "the request that was written is told by itself"
    );
    let s = stats(&outbox);
    assert_eq!((s.written, s.failed, s.pending), (1, 2, 1));
    outbox.session_began(Instant::now());
    assert_eq!(taken(&mut outbox), [9]);
    assert_sum(&outbox);
}

#[test]
fn what_an_opening_has_written_is_not_sent_again_and_what_came_behind_it_is() {
    let mut outbox = opening(Duration::ZERO, None);
    for session in 1..3 {
        outbox.opens(session);
        accept(&mut outbox, session, Lane::Opening(session));
        if session == 1 {
            accept(&mut outbox, 10, Lane::Direct);
            accept(&mut outbox, 11, Lane::Direct);
        }
        outbox.opened();
        let mut in_flight: Vec<_> = std::iter::from_fn(|| outbox.take()).collect();
        assert_eq!(in_flight.iter().map(id).collect::<Vec<_>>(), [session, 10, 11]);
        // The last one comes back untouched.
        outbox.wrote(2, 16);
        assert!(outbox.give_back(in_flight.drain(2..)).is_empty());
        outbox.session_refused(&mut vec![None; 0]);
        assert_eq!(outbox.fail_opening(), []);
        // The greeting, and what was sent for the second time.
        assert_eq!(end_session(&mut outbox, 0, SessionEnd::Lost, false), session);
        assert_sum(&outbox);
        outbox.session_began(Instant::now());
    }
    assert_eq!(taken(&mut outbox), [11]);
}

#[test]
fn a_request_of_an_opening_can_be_withdrawn() {
    let mut requests = Requests::default();
    let key = requests.add("a").unwrap();
    let mut outbox = opening(Duration::ZERO, None);
    accept(&mut outbox, 0, Lane::Opening(1));
    let request = Outgoing { request: Some(key), ..message(1, 8) };
    outbox.accept(Instant::now(), request, Lane::Opening(1)).unwrap();
    assert!(outbox.withdraw(key) && !outbox.withdraw(key));
    assert_eq!(taken(&mut outbox), [0]);
    assert_eq!(stats(&outbox).withdrawn, 1);
    assert_sum(&outbox);
}
