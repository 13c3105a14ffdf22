//! What one box means for the other, and for who waits, case by case.

use std::time::Duration;

use super::setup::Sides;
use crate::{
    core::{
        boxes::{Interest, Routes},
        inbox::Item,
        outbox::SessionEnd,
        session::{Input, State},
    },
    error::{Error, ErrorKind},
};

const OVER: Interest = Interest::ITEMS.and(Interest::ANSWERS).and(Interest::ROOM).and(Interest::DRAINED);

fn lost() -> Error {
    Error::closed(1006, "gone")
}

#[test]
fn an_answer_settles_its_request_and_says_how_long_it_took() {
    let mut sides = Sides::open();
    let key = sides.request("a").unwrap();
    assert!(sides.write().intersects(Interest::DRAINED));
    sides.now += Duration::from_millis(30);
    assert_eq!(sides.says(&[r#"{"request_id": "a"}"#]), Interest::ANSWERS);
    assert_eq!(sides.took.take(), Some(Duration::from_millis(30)));
    assert!(matches!(sides.outcome(key), Some(Ok(()))));
    assert!(!sides.boxes.inbox.has_items());
}

#[test]
fn an_error_that_can_be_about_one_request_alone_fails_that_one() {
    let mut sides = Sides::open();
    let key = sides.request("a").unwrap();
    sides.write();
    assert_eq!(
        sides.says(&[r#"{"type": "x-fal-error", "error": "E", "reason": "secret"}"#]),
        Interest::ANSWERS
    );
    assert_eq!(sides.outcome(key).unwrap().unwrap_err().message, "E: ***");
    // With two of them nobody can know which.
    let both = [sides.request("b").unwrap(), sides.request("c").unwrap()];
    sides.write();
    assert_eq!(sides.says(&[r#"{"type": "x-fal-error", "error": "E", "reason": ""}"#]), Interest::ITEMS);
    assert!(both.iter().all(|key| !sides.boxes.inbox.requests.has_failed(*key)));
    assert!(matches!(sides.boxes.inbox.pop().unwrap().what, Item::Error(_)));
}

#[test]
fn a_fatal_error_fails_all_that_were_sent_and_spares_those_that_were_not() {
    let mut sides = Sides::open();
    let sent = [sides.request("a").unwrap(), sides.request("b").unwrap()];
    sides.write();
    let unsent = sides.request("c").unwrap();
    let fatal = r#"{"type": "x-fal-error", "error": "INTERNAL_ERROR", "reason": ""}"#;
    assert_eq!(sides.says(&[fatal]), Interest::ANSWERS);
    for key in sent {
        let error = sides.outcome(key).unwrap().unwrap_err();
        assert!(error.transient && error.message.contains("2 inputs"), "{error}");
    }
    assert!(sides.outcome(unsent).is_none());
    assert_eq!(sides.loses_link(0, SessionEnd::Lost), Interest::NONE, "the third is still to be sent");
}

#[test]
fn a_lost_session_gives_back_what_was_not_written_and_tells_of_the_rest() {
    let mut sides = Sides::open();
    sides.send(None).unwrap();
    sides.write();
    let key = sides.request("a").unwrap();
    sides.take();
    sides.loses_link(0, SessionEnd::Lost);
    assert!(sides.boxes.has_unsent(), "the request can be sent in the next session");
    let kind = sides.boxes.tell_loss(lost(), "and so on");
    assert_eq!(kind, Interest::ITEMS);
    let Item::Error(error) = sides.boxes.inbox.pop().unwrap().what else { panic!("no error") };
    assert!(matches!(error.kind, ErrorKind::Lost { unanswered: 1, .. }), "{error}");
    assert!(sides.outcome(key).is_none());
    sides.opens();
    sides.write();
    sides.says(&[r#"{"request_id": "a"}"#]);
    assert!(matches!(sides.outcome(key), Some(Ok(()))));
    sides.assert_sums();
}

#[test]
fn who_waits_for_the_end_is_told_of_what_is_lost_meanwhile_and_nobody_else() {
    for (tells, is_told) in [(true, Interest::NONE), (false, Interest::ITEMS)] {
        let mut sides = Sides::open();
        sides.send(None).unwrap();
        sides.write();
        sides.boxes.begin_finish();
        assert!(sides.send(None).is_err_and(|error| error.unprocessed));
        sides.loses_link(0, SessionEnd::Lost);
        assert_eq!(sides.boxes.tell_loss(lost(), ""), Interest::NONE);
        assert_eq!(sides.boxes.lost_while_finishing(), 1);
        assert_eq!(sides.boxes.end_finish(tells), is_told);
        assert_eq!(sides.boxes.inbox.has_items(), !tells);
    }
}

/// How the loss of a session in which this was written and that was torn is told, and `unanswered` in the accounts.
fn torn(written: &[bool], torn: bool) -> (Option<String>, u64) {
    let mut sides = Sides::open();
    let mut number = 0;
    let mut send = |sides: &mut Sides, is_request: bool| {
        number += 1;
        if is_request {
            sides.request(&format!("r{number}")).unwrap();
        } else {
            sides.send(None).unwrap();
        }
    };
    for is_request in written {
        send(&mut sides, *is_request);
    }
    sides.write();
    send(&mut sides, torn);
    sides.take();
    sides.loses_link(1, SessionEnd::Lost);
    sides.boxes.tell_loss(lost(), "and so on");
    sides.assert_sums();
    assert_eq!(sides.boxes.stats().failed, 1);
    let told = sides.boxes.inbox.pop().map(|item| match item.what {
        Item::Error(error) => error.message.clone(),
        other => panic!("{other:?}"),
    });
    assert!(!sides.boxes.inbox.has_items(), "once");
    (told, sides.boxes.stats().unanswered)
}

#[test]
fn a_message_that_was_torn_is_told_and_is_not_among_those_that_have_no_answer() {
    let (told, unanswered) = torn(&[], false);
    assert!(told.unwrap().contains("with 1 message not written whole"));
    assert_eq!(unanswered, 0);
    let (told, unanswered) = torn(&[false, true], false);
    assert!(told.unwrap().contains("at most 2 messages without an answer, and 1 not written whole"));
    assert_eq!(unanswered, 2);
    // A request is told by itself.
    assert_eq!(torn(&[], true), (None, 0));
    let (told, unanswered) = torn(&[false, false], true);
    assert!(told.unwrap().contains("at most 3 messages without an answer; "));
    assert_eq!(unanswered, 2);
}

#[test]
fn what_is_sent_again_is_not_lost_for_whoever_waits_for_the_end() {
    let mut sides = Sides::open();
    sides.send(None).unwrap();
    sides.request("a").unwrap();
    sides.write();
    sides.boxes.begin_finish();
    sides.loses_link(0, SessionEnd::Refused);
    assert_eq!(sides.boxes.tell_loss(lost(), ""), Interest::NONE);
    sides.opens();
    sides.take();
    // The second time nothing of it is written.
    sides.loses_link(0, SessionEnd::Lost);
    assert_eq!(sides.boxes.tell_loss(lost(), ""), Interest::NONE);
    assert_eq!((sides.boxes.lost_while_finishing(), sides.boxes.stats().unanswered), (0, 0));
}

#[test]
fn what_came_before_a_message_is_no_answer_to_it() {
    let mut sides = Sides::open();
    sides.says(&["{}", "{}"]);
    sides.send(None).unwrap();
    sides.write();
    assert_eq!(sides.boxes.in_flight(), 1);
    sides.says(&["{}"]);
    assert_eq!(sides.boxes.in_flight(), 0);
}

#[test]
fn an_error_or_what_cannot_be_decoded_is_the_answer_to_one_message() {
    for answer in [r#"{"type": "x-fal-error", "error": "E", "reason": ""}"#, "{bad"] {
        let mut sides = Sides::open();
        for _ in 0..3 {
            sides.send(None).unwrap();
        }
        sides.write();
        assert_eq!(sides.says(&[answer]), Interest::ITEMS);
        assert_eq!(sides.boxes.in_flight(), 2);
        sides.loses_link(0, SessionEnd::Lost);
        assert_eq!(sides.boxes.stats().unanswered, 2, "the one that was answered is told");
    }
}

#[test]
fn whoever_waits_for_the_end_does_not_wait_for_answers_behind_a_fatal_error() {
    for streaming in [false, true] {
        let mut sides = Sides::new(streaming, None);
        sides.opens();
        sides.send(None).unwrap();
        sides.write();
        sides.boxes.begin_finish();
        sides.says(&[r#"{"type": "x-fal-error", "error": "INTERNAL_ERROR", "reason": ""}"#]);
        assert!(sides.boxes.is_finished());
        assert_eq!(sides.boxes.lost_while_finishing(), 1);
        sides.loses_link(0, SessionEnd::Regular);
        assert_eq!(sides.boxes.lost_while_finishing(), 1);
    }
}

#[test]
fn the_first_close_counts_and_is_how_it_was_closed() {
    let mut sides = Sides::open();
    sides.send(None).unwrap();
    assert_eq!(sides.boxes.close(4000, "bye"), Some(Interest::STATE));
    assert_eq!(sides.boxes.close(4001, "again"), None);
    assert_eq!(sides.boxes.take_command(false).map(|input| matches!(input, Input::Close)), Some(true));
    sides.boxes.session_closed(1006, "");
    assert_eq!(sides.boxes.last_close(), Some(&(4000, "bye".to_owned())));
    assert_eq!(sides.boxes.close_frame(), &(4000, Box::from("bye")));
    // The driver does not know yet, and the state does not go back.
    assert_eq!(sides.boxes.set_state(State::Connecting, None), Interest::NONE);
    assert_eq!(sides.boxes.state(), State::Closing);
    assert_eq!(sides.boxes.finish(None), OVER.and(Interest::STATE));
    assert!(sides.boxes.is_normal_code(4000) && !sides.boxes.is_normal_code(4001));
    let error = sides.boxes.drained(0).unwrap().unwrap_err();
    assert!(matches!(&error.kind, ErrorKind::Closed { code: 4000, .. }), "{error}");
}

#[test]
fn closing_what_is_not_open_ends_it_at_once() {
    let mut sides = Sides::new(false, None);
    let key = sides.request("a").unwrap();
    assert_eq!(sides.boxes.close(1000, ""), Some(OVER.and(Interest::STATE)));
    assert!(sides.outcome(key).unwrap().unwrap_err().unprocessed);
    assert!(sides.boxes.untold_failure().is_none());
    assert!(sides.boxes.end().is_some());
}

#[test]
fn a_failure_is_told_once_to_somebody() {
    let mut sides = Sides::open();
    sides.boxes.finish(Some(lost()));
    assert!(sides.boxes.untold_failure().is_some());
    assert!(sides.boxes.tell_failure().is_some());
    assert!(sides.boxes.untold_failure().is_none());
    // Where results go to a callback, so does the error.
    let mut sides = Sides::open();
    sides.boxes.set_routes(Routes { results: true, errors: true, ..Routes::default() });
    assert_eq!(sides.boxes.finish(Some(lost())), OVER.and(Interest::STATE).and(Interest::NOTICES));
    assert!(sides.boxes.untold_failure().is_none());
    // What was raised between the results was told.
    let mut sides = Sides::open();
    sides.boxes.has_raised(&lost());
    sides.boxes.finish(Some(lost()));
    assert!(sides.boxes.untold_failure().is_none());
}

#[test]
fn a_stream_that_ended_while_it_was_sent_takes_no_more_until_its_end_is_taken() {
    let mut sides = Sides::new(true, None);
    sides.opens();
    sides.send(None).unwrap();
    sides.write();
    assert_eq!(sides.boxes.in_flight(), 1);
    assert_eq!(sides.boxes.end_stream(), Interest::ITEMS);
    assert!(sides.send(None).is_err_and(|error| error.kind == ErrorKind::StreamEnded));
    assert!(matches!(sides.boxes.inbox.pop().unwrap().what, Item::End(_)));
    sides.send(None).unwrap();
}

#[test]
fn a_message_that_came_when_the_session_had_ended_opens_the_next() {
    let mut sides = Sides::new(false, None);
    assert!(sides.boxes.take_command(true).is_none());
    sides.boxes.ask_to_open(true);
    sides.boxes.ask_to_open(false);
    assert!(matches!(sides.boxes.take_command(false), Some(Input::Open { eager: true })));
    sides.send(None).unwrap();
    assert!(sides.boxes.take_command(false).is_none());
    assert!(matches!(sides.boxes.take_command(true), Some(Input::Open { eager: false })));
}

#[test]
fn a_change_of_state_is_kept_for_a_callback_that_there_is() {
    let mut sides = Sides::new(false, None);
    assert_eq!(sides.boxes.set_state(State::Connecting, None), Interest::STATE);
    sides.boxes.set_routes(Routes { states: true, timings: true, ..Routes::default() });
    assert_eq!(sides.opens(), Interest::STATE.and(Interest::NOTICES));
    assert_eq!(
        sides.says(&[r#"{"type": "x-fal-message", "action": "timings", "timing": 0.5}"#]),
        Interest::NOTICES
    );
    assert_eq!(sides.boxes.inbox.notices(), 2);
}
