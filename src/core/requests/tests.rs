#![allow(clippy::unwrap_used)]

use bytes::Bytes;

use super::*;
use crate::core::frame::MessageKind;

fn answer(number: u64) -> Answer {
    Answer { number, outcome: Ok(Received { kind: MessageKind::Binary, payload: Bytes::new() }) }
}

fn error() -> Error {
    Error::new(ErrorKind::Timeout, "late")
}

#[test]
fn an_id_waits_once_and_is_free_again_when_answered_or_forgotten() {
    let mut requests = Requests::default();
    let first = requests.add("a").unwrap();
    assert_eq!(requests.add("a").unwrap_err().kind, ErrorKind::InvalidOption);
    requests.settle(first, answer(1));
    let second = requests.add("a").unwrap();
    assert_ne!(first, second, "a key is never given out twice");
    requests.forget(second);
    assert!(!requests.any_waiting());
    requests.add("a").unwrap();
    assert!(requests.take(first).is_some(), "the answer to the first waits as long as it takes");
}

#[test]
fn the_first_outcome_stands() {
    let mut requests = Requests::default();
    let key = requests.add("a").unwrap();
    requests.settle(key, answer(1));
    requests.fail(key, error());
    requests.settle(key, answer(2));
    assert_eq!(requests.take_settled(), [key], "settled once");
    assert_eq!(requests.take(key).unwrap().number, 1);
    assert!(requests.take(key).is_none());
}

#[test]
fn an_answered_request_that_is_forgotten_does_not_take_the_id_from_its_successor() {
    let mut requests = Requests::default();
    let first = requests.add("a").unwrap();
    requests.settle(first, answer(1));
    let second = requests.add("a").unwrap();
    assert!(requests.forget(first).1.is_some());
    assert_eq!(requests.waiting("a"), Some(second));
}

#[test]
fn only_the_chosen_requests_fail_and_those_that_are_answered_do_not() {
    let mut requests = Requests::default();
    let [sent, unsent, answered] = ["sent", "unsent", "answered"].map(|id| requests.add(id).unwrap());
    requests.set_sent(sent, Some(Instant::now()));
    requests.set_sent(answered, Some(Instant::now()));
    requests.settle(answered, answer(1));
    assert_eq!(requests.fail_waiting(|sent| sent, &error()), 1);
    assert!(requests.take(sent).unwrap().outcome.is_err());
    assert!(requests.take(answered).unwrap().outcome.is_ok());
    assert!(requests.take(unsent).is_none());
    // Given back by a lost socket, it is not lost with the next one.
    requests.set_sent(unsent, Some(Instant::now()));
    requests.set_sent(unsent, None);
    assert_eq!(requests.fail_waiting(|sent| sent, &error()), 0);
    assert_eq!(requests.fail_waiting(|_| true, &error()), 1);
    assert!(!requests.any_open());
}

#[test]
fn what_was_settled_is_told_once_in_its_order() {
    let mut requests = Requests::default();
    let keys = ["a", "b", "c"].map(|id| requests.add(id).unwrap());
    requests.settle(keys[1], answer(1));
    requests.fail_waiting(|_| true, &error());
    assert!(requests.any_settled());
    assert_eq!(requests.take_settled(), [keys[1], keys[0], keys[2]]);
    assert!(!requests.any_settled());
}

#[test]
fn an_error_that_may_be_about_several_requests_is_about_none() {
    let mut requests = Requests::default();
    let [first, second] = ["a", "b"].map(|id| requests.add(id).unwrap());
    assert_eq!((requests.only_sent(), requests.open_and_sent()), (None, 0));
    requests.set_sent(first, Some(Instant::now()));
    assert_eq!((requests.only_sent(), requests.open_and_sent()), (Some(first), 1));
    requests.set_sent(second, Some(Instant::now()));
    assert_eq!((requests.only_sent(), requests.open_and_sent()), (None, 2));
}
