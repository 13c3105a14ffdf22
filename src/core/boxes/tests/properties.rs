//! Whatever happens in whatever order: the sums hold, every request has one outcome, and who waits is told.

use std::time::Duration;

use proptest::prelude::*;

use super::setup::Sides;
use crate::{
    core::{
        boxes::{Interest, Routes},
        message::RequestKey,
        outbox::SessionEnd,
        session::State,
    },
    error::Error,
};

#[derive(Debug, Clone)]
enum Step {
    Send,
    Request,
    /// Nobody waits for the n-th request any more.
    Forget(usize),
    Open,
    Take,
    Write,
    Results(usize),
    /// The answer to the n-th request.
    Answer(usize),
    Reports {
        fatal: bool,
    },
    LoseLink {
        torn: usize,
        end: SessionEnd,
    },
    EndStream,
    Pop,
    BeginFinish,
    EndFinish(bool),
    Close,
    Fail,
    Pass(u64),
    /// The caller waits for these, as an asyncio connection does.
    Arm(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![Just(SessionEnd::Regular), Just(SessionEnd::Lost), Just(SessionEnd::Refused)];
    prop_oneof![
        6 => Just(Step::Send),
        6 => Just(Step::Request),
        2 => (0..8_usize).prop_map(Step::Forget),
        4 => Just(Step::Open),
        4 => Just(Step::Take),
        4 => Just(Step::Write),
        2 => (1..4_usize).prop_map(Step::Results),
        4 => (0..8_usize).prop_map(Step::Answer),
        1 => any::<bool>().prop_map(|fatal| Step::Reports { fatal }),
        3 => (0..2_usize, end).prop_map(|(torn, end)| Step::LoseLink { torn, end }),
        1 => Just(Step::EndStream),
        3 => Just(Step::Pop),
        1 => Just(Step::BeginFinish),
        1 => any::<bool>().prop_map(Step::EndFinish),
        1 => Just(Step::Close),
        1 => Just(Step::Fail),
        2 => (0..20_000_u64).prop_map(Step::Pass),
        4 => (1..128_u8).prop_map(Step::Arm),
    ]
}

/// The boxes with what a caller knows of them.
struct Caller {
    sides: Sides,
    has_link: bool,
    /// The requests without an outcome, each with its id.
    open: Vec<(RequestKey, String)>,
    next_id: u64,
    /// What is waited for, and whether that was told.
    armed: Option<(Interest, State)>,
}

/// All kinds, as the bits of a number choose them.
const KINDS: [Interest; 7] = [
    Interest::ITEMS,
    Interest::NOTICES,
    Interest::ANSWERS,
    Interest::ROOM,
    Interest::DRAINED,
    Interest::STATE,
    Interest::FINISHED,
];

fn chosen(bits: u8) -> Interest {
    let kinds = KINDS.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
    kinds.fold(Interest::NONE, |all, (_, kind)| all.and(*kind))
}

impl Caller {
    fn run(&mut self, step: &Step) {
        let sides = &mut self.sides;
        let kind = match step {
            Step::Send => {
                let _ = sides.send(None);
                sides.boxes.settled()
            }
            Step::Request => {
                self.next_id += 1;
                let id = format!("r{}", self.next_id);
                if let Ok(key) = sides.boxes.add_request(&id) {
                    let _ = sides.send(Some(key));
                    self.open.push((key, id));
                }
                sides.boxes.settled()
            }
            Step::Forget(which) if !self.open.is_empty() => {
                let (key, _) = self.open.remove(which % self.open.len());
                sides.boxes.forget_request(key).1
            }
            Step::Open if !self.has_link && sides.boxes.state() != State::Closed => {
                self.has_link = true;
                sides.opens()
            }
            Step::Take if self.has_link => {
                sides.take();
                Interest::ROOM
            }
            Step::Write if self.has_link => sides.write().and(Interest::ROOM),
            Step::Results(count) if self.has_link => sides.says(&vec!["{}"; *count]),
            Step::Answer(which) if self.has_link && !self.open.is_empty() => {
                let (_, id) = &self.open[which % self.open.len()];
                sides.says(&[&format!(r#"{{"request_id": "{id}"}}"#)])
            }
            Step::Reports { fatal } if self.has_link => {
                let error = if *fatal { "INTERNAL_ERROR" } else { "INVALID" };
                sides.says(&[&format!(r#"{{"type": "x-fal-error", "error": "{error}", "reason": ""}}"#)])
            }
            Step::LoseLink { torn, end } if self.has_link => {
                self.has_link = false;
                let kind = sides.loses_link(*torn, *end);
                // Else it would still count as open.
                let state = sides.boxes.set_state(State::Idle, None);
                kind.and(state).and(sides.boxes.tell_loss(Error::closed(1006, ""), ""))
            }
            Step::EndStream if self.has_link => sides.boxes.end_stream(),
            Step::Pop => {
                sides.boxes.inbox.pop();
                Interest::NONE
            }
            Step::BeginFinish => {
                sides.boxes.begin_finish();
                Interest::NONE
            }
            Step::EndFinish(tells) => sides.boxes.end_finish(*tells),
            Step::Close => sides.boxes.close(1000, "").unwrap_or(Interest::NONE),
            Step::Fail => {
                if self.has_link {
                    self.has_link = false;
                    sides.loses_link(0, SessionEnd::Lost);
                }
                if sides.boxes.state() == State::Closed {
                    Interest::NONE
                } else {
                    sides.boxes.finish(Some(Error::closed(1006, "gone")))
                }
            }
            Step::Pass(ms) => {
                sides.now += Duration::from_millis(*ms);
                sides.boxes.release_due(sides.now)
            }
            Step::Arm(bits) => {
                let (interest, seen) = (chosen(*bits), sides.boxes.state());
                let is_there = sides.boxes.arm(interest, interest, seen);
                self.armed = (!is_there).then_some((interest, seen));
                Interest::NONE
            }
            _ => Interest::NONE,
        };
        if sides.boxes.tells(kind) {
            self.armed = None;
        }
    }

    /// Nothing that is waited for is there without its having been told.
    fn check_told(&mut self) -> Result<(), TestCaseError> {
        let Some((interest, seen)) = self.armed else { return Ok(()) };
        let boxes = &mut self.sides.boxes;
        let is_over = boxes.state() == State::Closed;
        let there = [
            (Interest::ITEMS, boxes.inbox.has_items()),
            (Interest::NOTICES, boxes.inbox.has_notices()),
            (Interest::ANSWERS, boxes.inbox.requests.any_settled()),
            (Interest::ROOM, is_over || boxes.outbox.has_room_for_refused()),
            (Interest::DRAINED, is_over || boxes.outbox.pending() == 0),
            (Interest::STATE, boxes.state() != seen),
            (Interest::FINISHED, boxes.is_finished()),
        ];
        for (kind, is_there) in there {
            prop_assert!(!(interest.intersects(kind) && is_there), "nobody was told of {kind:?}");
        }
        Ok(())
    }

    fn take_outcomes(&mut self) {
        let sides = &mut self.sides;
        self.open.retain(|(key, _)| sides.outcome(*key).is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_sums_hold_who_waits_is_told_and_no_request_outlives_the_end(
        streaming in any::<bool>(),
        max_buffering in proptest::option::of(1..=6_u8),
        routes in any::<[bool; 4]>(),
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let mut sides = Sides::new(streaming, max_buffering);
        let [results, errors, timings, states] = routes;
        sides.boxes.set_routes(Routes { results, errors, timings, states });
        let mut caller = Caller { sides, has_link: false, open: Vec::new(), next_id: 0, armed: None };
        for step in &steps {
            let before = caller.sides.boxes.moved();
            caller.run(step);
            caller.sides.assert_sums();
            prop_assert!(caller.sides.boxes.moved() >= before);
            caller.check_told()?;
            if caller.armed.is_none() {
                caller.take_outcomes();
            }
        }
        caller.run(&Step::Fail);
        caller.run(&Step::Close);
        caller.take_outcomes();
        prop_assert!(caller.open.is_empty(), "without an outcome: {:?}", caller.open);
        prop_assert_eq!(caller.sides.boxes.stats().pending, 0);
        prop_assert!(caller.sides.send(None).is_err());
        caller.sides.assert_sums();
    }
}
