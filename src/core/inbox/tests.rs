#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use proptest::prelude::*;

use bytes::Bytes;

use super::*;
use crate::{
    core::{frame::MessageKind, message::Received},
    error::ErrorKind,
};

fn result(id: u64) -> Received {
    Received { kind: MessageKind::Binary, payload: Bytes::copy_from_slice(&id.to_be_bytes()) }
}

fn sized(size: usize) -> Received {
    Received { kind: MessageKind::Binary, payload: vec![0; size].into() }
}

fn id_of(received: &Received) -> u64 {
    u64::from_be_bytes(received.payload[..8].try_into().unwrap())
}

fn id(item: &Item) -> Option<u64> {
    match item {
        Item::Result(received) => Some(id_of(received)),
        Item::Error(_) | Item::End(_) => None,
    }
}

fn error() -> Error {
    Error::new(ErrorKind::Decode, "no")
}

fn stats(inbox: &Inbox) -> Stats {
    let mut stats = Stats::default();
    inbox.report(&mut stats);
    stats
}

fn ids(inbox: &mut Inbox) -> Vec<u64> {
    std::iter::from_fn(|| inbox.pop()).filter_map(|item| id(&item.what)).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Result,
    /// So many results at once.
    Results(u64),
    /// A result with the id of one of the requests, waiting or not.
    Answer(usize),
    Error,
    End,
    Notice,
    Pop,
    PopAny,
    Unpop,
    AddRequest,
    TakeAnswer(usize),
    Forget(usize),
    /// The answer to one of the requests that have ended.
    Late(usize),
    SessionEnded,
    FailWaiting,
    ShouldPause,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Result),
        2 => (0..5_u64).prop_map(Step::Results),
        4 => (0..8_usize).prop_map(Step::Answer),
        1 => Just(Step::Error),
        1 => Just(Step::End),
        1 => Just(Step::Notice),
        5 => Just(Step::Pop),
        3 => Just(Step::PopAny),
        3 => Just(Step::Unpop),
        3 => Just(Step::AddRequest),
        2 => (0..8_usize).prop_map(Step::TakeAnswer),
        2 => (0..8_usize).prop_map(Step::Forget),
        2 => (0..8_usize).prop_map(Step::Late),
        1 => Just(Step::SessionEnded),
        1 => Just(Step::FailWaiting),
        1 => Just(Step::ShouldPause),
    ]
}

/// An inbox, and what must be in it.
struct Model {
    inbox: Inbox,
    capacity: usize,
    next: u64,
    /// What waits in the ring, by its number: the id of a result, `None` for anything else.
    ring: BTreeMap<u64, Option<u64>>,
    /// The requests, and the id of the result that answered them.
    requests: Vec<(RequestKey, String, Option<u64>)>,
    popped: Option<Numbered<Item>>,
    delivered: Vec<u64>,
    dropped: Vec<u64>,
    /// The numbers of the ends of streams, which are never displaced.
    ends: BTreeSet<u64>,
    /// The ids of the requests that have ended in this session.
    ended: BTreeSet<String>,
    late: u64,
}

impl Model {
    fn new(max_buffering: Option<u8>) -> Self {
        Self {
            inbox: Inbox::new(max_buffering, HIGH_WATER_BYTES),
            capacity: max_buffering.map_or(usize::MAX, usize::from),
            next: 0,
            ring: BTreeMap::new(),
            requests: Vec::new(),
            popped: None,
            delivered: Vec::new(),
            dropped: Vec::new(),
            ends: BTreeSet::new(),
            ended: BTreeSet::new(),
            late: 0,
        }
    }

    fn queued(&mut self, what: Option<u64>) {
        self.queued_as(self.inbox.next_number, what);
    }

    fn queued_as(&mut self, number: u64, what: Option<u64>) {
        let mut ends = Vec::new();
        let is_end = self.ends.contains(&number);
        while !is_end
            && self.ring.keys().filter(|number| !self.ends.contains(number)).count() >= self.capacity
        {
            let (number, oldest) = self.ring.pop_first().unwrap();
            if self.ends.contains(&number) {
                ends.push((number, oldest));
            } else {
                self.dropped.extend(oldest);
            }
        }
        self.ring.insert(number, what);
        self.ring.extend(ends);
    }

    fn popped(&mut self, item: Option<Numbered<Item>>) {
        let expected = self.ring.pop_first();
        assert_eq!(item.as_ref().map(|item| (item.number, id(&item.what))), expected);
        self.delivered.extend(expected.and_then(|(_, what)| what));
        self.popped = item;
    }

    fn answered(&mut self, which: usize) {
        self.next += 1;
        let request = self
            .requests
            .get_mut(which)
            .filter(|(key, name, _)| self.inbox.requests.waiting(name) == Some(*key));
        let name = request.as_ref().map_or("unknown".to_owned(), |(_, name, _)| name.clone());
        match (self.inbox.push_result(result(self.next), Some(&name)), request) {
            (Placed::Answered(Some(_)), Some((.., answer))) => *answer = Some(self.next),
            (Placed::Queued, None) => self.queued(Some(self.next)),
            (placed, request) => panic!("{placed:?}, but the request was {request:?}"),
        }
    }

    fn answered_late(&mut self, which: usize) {
        let Some(name) = self.ended.iter().nth(which).cloned() else { return };
        self.ended.remove(&name);
        self.next += 1;
        assert_eq!(self.inbox.push_result(result(self.next), Some(&name)), Placed::Late);
        self.late += 1;
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Result => {
                self.next += 1;
                assert_eq!(self.inbox.push_result(result(self.next), None), Placed::Queued);
                self.queued(Some(self.next));
            }
            Step::Results(count) => {
                let first = self.inbox.next_number + 1;
                let mut results = (1..=count)
                    .map(|n| Numbered { number: 0, what: Item::Result(result(self.next + n)) })
                    .collect();
                self.inbox.push_results(&mut results);
                assert!(results.is_empty());
                for number in first..first + count {
                    self.next += 1;
                    self.queued_as(number, Some(self.next));
                }
                assert_eq!(self.inbox.next_number + 1, first + count);
            }
            Step::Answer(which) => self.answered(which),
            Step::Error => {
                self.inbox.push_error(error());
                self.queued(None);
            }
            Step::End => {
                self.inbox.push_end(error());
                self.ends.insert(self.inbox.next_number);
                self.queued(None);
            }
            Step::Notice => self.inbox.push_notice(Notice::Timings(0.5)),
            Step::Pop => {
                let item = self.inbox.pop();
                self.popped(item);
            }
            Step::PopAny => match self.inbox.pop_any() {
                Some(Next::Item(item)) => self.popped(Some(item)),
                Some(Next::Notice(_)) => {}
                None => self.popped(None),
            },
            Step::Unpop => {
                if let Some(item) = self.popped.take() {
                    let what = id(&item.what);
                    self.ring.insert(item.number, what);
                    self.delivered.retain(|delivered| Some(*delivered) != what);
                    self.inbox.unpop(item);
                }
            }
            Step::AddRequest => {
                if self.requests.len() < 8 {
                    self.next += 1;
                    let name = format!("request {}", self.next);
                    let key = self.inbox.requests.add(&name).unwrap();
                    assert!(self.inbox.requests.add(&name).is_err(), "an id waits twice");
                    self.inbox.requests.set_sent(key, Some(Instant::now()));
                    self.requests.push((key, name, None));
                }
            }
            Step::TakeAnswer(which) => {
                let Some((key, _, answer)) = self.requests.get(which).cloned() else { return };
                match self.inbox.take_answer(key) {
                    Some(Ok(item)) => {
                        assert_eq!(id(&item.what), answer);
                        self.delivered.extend(answer);
                    }
                    Some(Err(_)) => assert_eq!(answer, None),
                    None => return,
                }
                self.requests.remove(which);
            }
            Step::Forget(which) => {
                if which >= self.requests.len() {
                    return;
                }
                let (key, name, answer) = self.requests.remove(which);
                let has_failed = self.inbox.requests.has_failed(key);
                self.inbox.forget_request(key);
                match answer {
                    Some(_) => self.late += 1,
                    None if has_failed => {}
                    None => drop(self.ended.insert(name)),
                }
            }
            Step::Late(which) => self.answered_late(which),
            Step::SessionEnded => {
                self.inbox.requests.session_ended();
                self.ended.clear();
            }
            Step::FailWaiting => {
                for (_, name, _) in &self.requests {
                    if self.inbox.requests.waiting(name).is_some() {
                        self.ended.insert(name.clone());
                    }
                }
                self.inbox.requests.fail_waiting(|_| true, &error());
                assert!(!self.inbox.requests.any_open());
            }
            Step::ShouldPause => assert_eq!(self.inbox.should_pause(), self.inbox.is_paused()),
        }
    }

    fn check(&self) {
        let s = stats(&self.inbox);
        assert_eq!(s.received, s.delivered + s.received_dropped + s.late + s.received_pending, "{s:?}");
        assert_eq!(s.late, self.late);
        assert_eq!(
            self.inbox.requests.any_waiting(),
            !self.ended.is_empty() || self.inbox.requests.any_open()
        );
        assert_eq!(s.delivered, self.delivered.len() as u64);
        assert_eq!(s.received_dropped, self.dropped.len() as u64);
        let there: Vec<_> = self.inbox.ring.iter().map(|item| (item.number, id(&item.what))).collect();
        let expected: Vec<_> = self.ring.iter().map(|(number, what)| (*number, *what)).collect();
        assert_eq!(there, expected);
        let answers = self.requests.iter().filter(|(.., answer)| answer.is_some()).count();
        let results = expected.iter().filter(|(_, what)| what.is_some()).count();
        assert_eq!(s.received_pending as usize, results + answers);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn every_result_is_delivered_dropped_or_pending_and_order_is_kept(
        max_buffering in proptest::option::of(1..=6_u8),
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let mut model = Model::new(max_buffering);
        for step in &steps {
            model.run(step);
            model.check();
        }
        prop_assert!(max_buffering.is_some() || model.dropped.is_empty());
        let mut once = model.delivered.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), model.delivered.len(), "delivered twice");
    }
}

#[test]
fn the_end_of_a_stream_displaces_no_result() {
    let mut inbox = Inbox::new(Some(1), HIGH_WATER_BYTES);
    inbox.push_result(result(1), None);
    inbox.push_result(result(2), None);
    inbox.push_end(error());
    assert_eq!(stats(&inbox).received_dropped, 1);
    inbox.push_result(result(3), None);
    assert_eq!(stats(&inbox).received_dropped, 2);
    assert!(matches!(inbox.pop().unwrap().what, Item::End(_)));
    assert_eq!(ids(&mut inbox), [3]);
}

#[test]
fn the_answer_to_a_request_that_has_ended_is_nobodys() {
    let mut inbox = Inbox::new(None, HIGH_WATER_BYTES);
    let [early, late, unsent] = ["early", "late", "unsent"].map(|id| inbox.requests.add(id).unwrap());
    let since = Some(Instant::now());
    inbox.requests.set_sent(early, since);
    inbox.requests.set_sent(late, since);
    assert_eq!(inbox.push_result(result(1), Some("early")), Placed::Answered(since));
    for key in [early, late, unsent] {
        inbox.forget_request(key);
    }
    assert_eq!(inbox.push_result(result(2), Some("late")), Placed::Late);
    // Once; and what was never sent has no answer.
    assert_eq!(inbox.push_result(result(3), Some("late")), Placed::Queued);
    assert_eq!(inbox.push_result(result(4), Some("unsent")), Placed::Queued);
    assert_eq!(ids(&mut inbox), [3, 4]);
    let s = stats(&inbox);
    assert_eq!((s.received, s.late, s.delivered, s.received_pending), (4, 2, 2, 0));
}

#[test]
fn however_many_requests_end_early_only_so_many_are_remembered() {
    let mut inbox = Inbox::new(None, HIGH_WATER_BYTES);
    for number in 0..40_000 {
        let key = inbox.requests.add(&number.to_string()).unwrap();
        inbox.requests.set_sent(key, Some(Instant::now()));
        inbox.forget_request(key);
    }
    assert_eq!(inbox.push_result(result(1), Some("39999")), Placed::Late);
    assert_eq!(inbox.push_result(result(2), Some("39000")), Placed::Late);
    assert_eq!(inbox.push_result(result(3), Some("0")), Placed::Queued);
}

#[test]
fn of_what_nobody_receives_the_newest_stays_and_requests_are_answered() {
    let mut inbox = Inbox::new(None, HIGH_WATER_BYTES);
    let key = inbox.requests.add("a").unwrap();
    for number in 1..=9_000 {
        inbox.push_result(result(number), None);
        assert!(!inbox.should_pause());
    }
    inbox.push_error(error());
    assert_eq!(inbox.push_result(result(9_001), Some("a")), Placed::Answered(None));
    assert!(inbox.take_answer(key).unwrap().is_ok());
    let s = stats(&inbox);
    assert_eq!((s.received_pending, s.received_dropped, s.errors_dropped), (1_023, 7_977, 0));
    inbox.push_results(
        &mut (0..1_024).map(|id| Numbered { number: 0, what: Item::Result(result(id)) }).collect(),
    );
    assert_eq!(stats(&inbox).errors_dropped, 1);
    // As many bytes as results may have.
    inbox.push_result(sized(HIGH_WATER_BYTES), None);
    assert_eq!(stats(&inbox).received_pending, 1);
}

#[test]
fn where_somebody_receives_nothing_is_dropped() {
    for on_result in [true, false] {
        let mut inbox = Inbox::new(None, HIGH_WATER_BYTES);
        if on_result {
            inbox.receive();
        } else {
            assert!(inbox.pop().is_none());
        }
        for number in 1..=9_000 {
            inbox.push_result(result(number), None);
        }
        assert_eq!(ids(&mut inbox).len(), 9_000);
    }
}

#[test]
fn errors_that_are_displaced_before_anybody_was_told_are_counted() {
    let mut inbox = Inbox::new(None, HIGH_WATER_BYTES);
    for _ in 0..MAX_NOTICES + 5 {
        inbox.push_notice(Notice::Error(error()));
    }
    inbox.push_notice(Notice::Timings(0.1));
    assert_eq!(stats(&inbox).errors_dropped, 6);
}

#[test]
fn a_second_result_with_the_id_of_an_answered_request_is_an_ordinary_one() {
    let mut inbox = Inbox::new(None, HIGH_WATER_BYTES);
    let key = inbox.requests.add("a").unwrap();
    assert_eq!(inbox.push_result(result(1), Some("a")), Placed::Answered(None));
    assert_eq!(inbox.push_result(result(2), Some("a")), Placed::Queued);
    let answer = inbox.take_answer(key).unwrap().unwrap();
    assert_eq!(id(&answer.what), Some(1));
    assert!(inbox.take_answer(key).is_none(), "an answer is taken once");
    assert_eq!(ids(&mut inbox), [2]);
}

#[test]
fn an_overflowing_ring_costs_no_request_its_answer() {
    let mut inbox = Inbox::new(Some(1), HIGH_WATER_BYTES);
    let key = inbox.requests.add("a").unwrap();
    inbox.push_result(result(1), Some("a"));
    for number in 2..10 {
        inbox.push_result(result(number), None);
    }
    assert_eq!(id(&inbox.take_answer(key).unwrap().unwrap().what), Some(1));
    assert_eq!(ids(&mut inbox), [9]);
    let s = stats(&inbox);
    assert_eq!((s.received, s.delivered, s.received_dropped, s.received_pending), (9, 2, 7, 0));
}

#[test]
fn a_result_that_comes_back_stands_before_younger_ones() {
    let mut inbox = Inbox::new(None, HIGH_WATER_BYTES);
    for number in 1..=3 {
        inbox.push_result(result(number), None);
    }
    let (first, second) = (inbox.pop().unwrap(), inbox.pop().unwrap());
    // In whatever order they come back.
    inbox.unpop(first);
    inbox.unpop(second);
    assert_eq!(ids(&mut inbox), [1, 2, 3]);
}

#[test]
fn items_and_notices_come_in_the_order_of_their_arrival() {
    let mut inbox = Inbox::new(None, HIGH_WATER_BYTES);
    inbox.push_notice(Notice::Timings(1.0));
    inbox.push_result(result(1), None);
    inbox.push_notice(Notice::Timings(2.0));
    inbox.push_error(error());
    let order: Vec<&str> = std::iter::from_fn(|| inbox.pop_any())
        .map(|next| match next {
            Next::Notice(_) => "notice",
            Next::Item(Numbered { what: Item::Result(_), .. }) => "result",
            Next::Item(_) => "error",
        })
        .collect();
    assert_eq!(order, ["notice", "result", "notice", "error"]);
}

fn receiving() -> Inbox {
    let mut inbox = Inbox::new(None, HIGH_WATER_BYTES);
    inbox.receive();
    inbox
}

const MIB: usize = 1 << 20;

#[test]
fn reading_pauses_at_the_high_water_mark_and_goes_on_at_half_of_it() {
    let mut inbox = receiving();
    for _ in 0..63 {
        inbox.push_result(sized(MIB), None);
        assert!(!inbox.should_pause());
    }
    inbox.push_result(sized(MIB), None);
    assert!(inbox.should_pause());
    while inbox.items() > 32 {
        inbox.pop();
        assert_eq!(inbox.should_pause(), inbox.items() > 31);
    }
    inbox.pop();
    assert!(!inbox.should_pause());
    assert_eq!(stats(&inbox).received_dropped, 0);
}

#[test]
fn many_small_results_do_not_pause_reading() {
    let mut inbox = receiving();
    for number in 0..100_000 {
        inbox.push_result(result(number), None);
    }
    assert!(!inbox.should_pause());
}

#[test]
fn while_a_request_waits_reading_goes_on_to_twice_the_mark_and_then_the_request_fails() {
    let mut inbox = receiving();
    let key = inbox.requests.add("a").unwrap();
    inbox.requests.set_sent(key, Some(Instant::now()));
    for _ in 0..127 {
        inbox.push_result(sized(MIB), None);
        assert!(!inbox.should_pause());
    }
    assert!(!inbox.is_full());
    inbox.push_result(sized(MIB), None);
    assert!(inbox.should_pause());
    assert!(inbox.is_full(), "the next request is to be refused before it is sent");
    let failure = inbox.take_answer(key).unwrap().unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Unread);
    assert!(failure.message.contains("was sent and may have run"));
}

#[test]
fn a_request_made_while_reading_is_paused_makes_it_go_on() {
    let mut inbox = receiving();
    inbox.push_result(sized(HIGH_WATER_BYTES), None);
    assert!(inbox.should_pause());
    let key = inbox.requests.add("a").unwrap();
    assert!(!inbox.should_pause());
    inbox.push_result(result(9), Some("a"));
    assert!(inbox.should_pause(), "its answer is there: nothing more is to be read");
    assert!(inbox.take_answer(key).unwrap().is_ok());
}

#[test]
fn with_freshness_only_too_many_notices_pause_reading_until_half_are_taken() {
    let mut inbox = Inbox::new(Some(1), HIGH_WATER_BYTES);
    for number in 0..2_000 {
        inbox.push_result(result(number), None);
    }
    assert!(!inbox.should_pause());
    (0..MAX_NOTICES).for_each(|_| inbox.push_notice(Notice::Timings(0.1)));
    assert!(inbox.should_pause());
    assert!(inbox.is_paused(), "whoever takes a notice must know that the reader waits");
    (0..MAX_NOTICES / 2).for_each(|_| drop(inbox.pop_notice()));
    assert!(!inbox.should_pause());
}

#[test]
fn of_too_many_notices_the_oldest_goes() {
    let mut inbox = Inbox::new(None, HIGH_WATER_BYTES);
    for number in 0..=MAX_NOTICES {
        inbox.push_notice(Notice::Timings(number as f64));
    }
    assert!(matches!(inbox.pop_notice(), Some(Notice::Timings(first)) if first > 0.5));
    let rest = std::iter::from_fn(|| inbox.pop_notice()).count();
    assert_eq!(rest, MAX_NOTICES - 1);
}

#[test]
fn the_newest_result_is_given_behind_errors_and_ends_and_older_ones_are_dropped() {
    let mut inbox = Inbox::new(None, HIGH_WATER_BYTES);
    for id in 0..3 {
        inbox.push_result(result(id), None);
    }
    inbox.push_error(error());
    inbox.push_result(result(3), None);
    inbox.push_end(error());
    for id in 4..6 {
        inbox.push_result(result(id), None);
    }
    assert!(matches!(inbox.pop_newest().unwrap().what, Item::Error(_)));
    assert!(matches!(inbox.pop_newest().unwrap().what, Item::End(_)));
    assert!(!inbox.has_end());
    assert_eq!(id(&inbox.pop_newest().unwrap().what), Some(5));
    assert!(inbox.pop_newest().is_none());
    let stats = stats(&inbox);
    assert_eq!(
        (stats.received, stats.delivered, stats.received_dropped, stats.received_pending),
        (6, 1, 5, 0)
    );
}

#[test]
fn that_strays_are_dropped_is_told_once() {
    let mut inbox = Inbox::new(None, HIGH_WATER_BYTES);
    for id in 0..MAX_STRAYS as u64 {
        inbox.push_result(result(id), None);
    }
    assert!(!inbox.take_drops_begin());
    for id in 0..9 {
        inbox.push_result(result(id), None);
        assert_eq!(inbox.take_drops_begin(), id == 0);
    }
    // Where freshness was asked for, dropping is what is to be done.
    let mut fresh = Inbox::new(Some(1), HIGH_WATER_BYTES);
    for id in 0..9 {
        fresh.push_result(result(id), None);
    }
    assert!(!fresh.take_drops_begin());
}
