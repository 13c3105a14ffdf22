//! What holds for any course of events.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{
    super::{Action, Session, SessionConfig, State},
    setup::{INPUTS, OPEN_TIMEOUT},
};
use crate::core::backoff::BackoffPolicy;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_state_but_the_ends_leads_out(
        use_token: bool,
        streaming: bool,
        reconnects: bool,
        raw: bool,
        max_attempts in proptest::option::of(0..4_u32),
        steps in proptest::collection::vec((0..INPUTS.len(), 0..20_000_u64, -0.5..1.5), 0..120),
    ) {
        let reconnect = reconnects.then(|| BackoffPolicy { max_attempts, ..BackoffPolicy::default() });
        let open_timeout = OPEN_TIMEOUT;
        let config = SessionConfig { use_token, streaming, reconnect, open_timeout, raw };
        let mut session = Session::new(config);
        let mut now = Instant::now();
        let mut finished = 0;
        // What was asked for and is not answered yet: it is what leads out of the state.
        let mut pending: Option<Action> = None;
        for (input, wait, jitter) in steps {
            now += Duration::from_millis(wait);
            let before = session.state();
            let generation = session.socket();
            let actions = session.handle(now, jitter, (INPUTS[input].make)(generation));
            let after = session.state();

            let asks = |action: &&Action| {
                matches!(action, Action::FetchToken { .. } | Action::Dial { .. } | Action::Wait(_))
            };
            prop_assert!(actions.iter().filter(asks).count() <= 1, "{actions:?}");
            finished += actions.iter().filter(|action| matches!(action, Action::Finish(_))).count();
            if before == State::Closed {
                prop_assert_eq!(after, State::Closed);
                prop_assert!(actions.is_empty());
            }
            prop_assert_eq!(finished == 1, after == State::Closed, "finished {} times", finished);
            prop_assert!(session.socket() - generation <= 1);

            if let Some(asked) = actions.iter().find(asks) {
                pending = Some(asked.clone());
            } else if after != before {
                pending = None;
            }
            let leads_out = match (after, &pending) {
                (State::Authenticating, Some(Action::FetchToken { .. }))
                | (State::Waiting, Some(Action::Wait(_)))
                // The next message, the end of the socket, or nothing at all.
                | (State::Idle | State::Active | State::Closing | State::Closed, None) => true,
                (State::Connecting, Some(Action::Dial { socket })) => *socket == session.socket(),
                _ => false,
            };
            prop_assert!(leads_out, "{after:?} waits for {pending:?}");
            // `closing` was asked for only where there is a socket to close.
            if after == State::Closing && before != State::Closing {
                prop_assert!(matches!(actions[..], [Action::SendClose]));
            }
        }
    }
}
