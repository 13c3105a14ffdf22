//! Every pair of a state and an input, with all that bears on it.

use std::time::Instant;

use super::{
    super::{Action, State},
    setup::{Given, INPUTS, LATE, Setup, words},
};

/// In this state, on these inputs, if this holds: the next state, and the actions.
type Row = (State, &'static [&'static str], &'static str, State, &'static str);

const TABLE: &[Row] = {
    use State::{Active, Authenticating, Closed, Closing, Connecting, Idle, Waiting};
    const OPEN: &[&str] = &["open lazy", "open eager"];
    const REFUSED: &[&str] = &["failed 401", "failed 403", "failed refused"];
    const POLICY: &[&str] = &["lost 1008", "lost 1008 unsent"];
    const BROKEN: &[&str] = &["lost broken", "lost broken unsent"];
    const FAILED: &[&str] = &["lost 1011", "lost 1011 unsent"];
    /// How a socket may end before the caller has sent first.
    const EARLY: &[&str] = &[
        "lost 1000",
        "lost 1000 unsent",
        "lost 1001",
        "lost 1005",
        "lost 1011",
        "lost 1011 unsent",
        "lost broken",
        "lost broken unsent",
    ];
    const ABNORMAL: &[&str] = &[
        "lost 1001",
        "lost 1005",
        "lost 1008",
        "lost 1008 unsent",
        "lost 1011",
        "lost 1011 unsent",
        "lost broken",
        "lost broken unsent",
    ];
    &[
        (Idle, OPEN, "first token", Authenticating, "fetch"),
        (Idle, OPEN, "first !token", Connecting, "dial"),
        // The session before was short and of no use.
        (Idle, OPEN, "!first !late", Waiting, "wait"),
        (Idle, OPEN, "!first late token", Authenticating, "fetch"),
        (Idle, OPEN, "!first late !token", Connecting, "dial"),
        (Idle, &["close"], "", Closed, "abandon, finish"),
        // Opening: the token.
        (Authenticating, &["token ready"], "", Connecting, "dial"),
        (Authenticating, &["token transient"], "first eager", Closed, "finish: api"),
        (Authenticating, &["token transient"], "first !eager late", Closed, "finish: api"),
        (Authenticating, &["token transient"], "first !eager !late reconnect", Waiting, "wait"),
        (Authenticating, &["token transient"], "first !eager !late !reconnect", Closed, "finish: api"),
        (Authenticating, &["token transient"], "!first reconnect", Waiting, "wait"),
        (Authenticating, &["token transient"], "!first !reconnect", Closed, "finish: api"),
        (Authenticating, &["token permanent"], "", Closed, "finish: api"),
        (Authenticating, &["token refused"], "", Closed, "finish: authentication"),
        (Authenticating, &["stopped"], "", Closed, "finish: handshake"),
        (Authenticating, &["close"], "", Closed, "abandon, finish"),
        // Opening: the socket.
        (Connecting, &["opened"], "!greeting", Active, ""),
        (Connecting, &["failed transient"], "!greeting first eager", Closed, "finish: handshake"),
        (Connecting, &["failed transient"], "!greeting first !eager late", Closed, "finish: handshake"),
        (Connecting, &["failed transient"], "!greeting first !eager !late reconnect", Waiting, "wait"),
        (
            Connecting,
            &["failed transient"],
            "!greeting first !eager !late !reconnect",
            Closed,
            "finish: handshake",
        ),
        (Connecting, &["failed transient"], "!greeting !first reconnect", Waiting, "wait"),
        (Connecting, &["failed transient"], "!greeting !first !reconnect", Closed, "finish: handshake"),
        (Connecting, &["failed permanent"], "!greeting", Closed, "finish: handshake"),
        (Connecting, REFUSED, "!greeting token !refused", Waiting, "wait"),
        (Connecting, REFUSED, "!greeting token refused", Closed, "finish: authentication"),
        (Connecting, REFUSED, "!greeting !token", Closed, "finish: authentication"),
        (Connecting, &["stopped"], "", Closed, "finish: handshake"),
        (Connecting, &["close"], "", Closed, "abandon, finish"),
        // The caller sends first.
        (Connecting, &["greeted"], "greeting", Active, ""),
        (Connecting, &["greet failed"], "greeting first eager", Closed, "abandon, finish: handshake"),
        (Connecting, &["greet failed"], "greeting first !eager late", Closed, "abandon, finish: handshake"),
        (Connecting, &["greet failed"], "greeting first !eager !late reconnect", Waiting, "abandon, wait"),
        (
            Connecting,
            &["greet failed"],
            "greeting first !eager !late !reconnect",
            Closed,
            "abandon, finish: handshake",
        ),
        (Connecting, &["greet failed"], "greeting !first reconnect", Waiting, "abandon, wait"),
        (Connecting, &["greet failed"], "greeting !first !reconnect", Closed, "abandon, finish: handshake"),
        (Connecting, &["over"], "greeting", Connecting, "stop writing"),
        (Connecting, &["unauthorized"], "greeting token !refused", Waiting, "abandon, wait"),
        (Connecting, &["unauthorized"], "greeting token refused late", Waiting, "abandon, wait"),
        (
            Connecting,
            &["unauthorized"],
            "greeting token refused !late",
            Closed,
            "abandon, finish: authentication",
        ),
        (Connecting, &["unauthorized"], "greeting !token", Closed, "abandon, finish: authentication"),
        (Connecting, POLICY, "greeting token !refused", Waiting, "wait"),
        (Connecting, POLICY, "greeting token refused late", Waiting, "wait"),
        (Connecting, POLICY, "greeting token refused !late", Closed, "finish: authentication"),
        (Connecting, POLICY, "greeting !token", Closed, "finish: authentication"),
        (Connecting, EARLY, "greeting first !eager !late reconnect", Waiting, "wait"),
        (Connecting, &["lost 1000", "lost 1000 unsent"], "greeting first eager", Closed, "finish: 1000"),
        (
            Connecting,
            &["lost 1000", "lost 1000 unsent"],
            "greeting first !eager late",
            Closed,
            "finish: 1000",
        ),
        (
            Connecting,
            &["lost 1000", "lost 1000 unsent"],
            "greeting first !eager !late !reconnect",
            Closed,
            "finish: 1000",
        ),
        (Connecting, &["lost 1001"], "greeting first eager", Closed, "finish: 1001"),
        (Connecting, &["lost 1001"], "greeting first !eager late", Closed, "finish: 1001"),
        (Connecting, &["lost 1001"], "greeting first !eager !late !reconnect", Closed, "finish: 1001"),
        (Connecting, &["lost 1001"], "greeting !first reconnect", Waiting, "wait"),
        (Connecting, &["lost 1001"], "greeting !first !reconnect", Closed, "finish: 1001"),
        (Connecting, &["lost 1005"], "greeting first eager", Closed, "finish: 1005"),
        (Connecting, &["lost 1005"], "greeting first !eager late", Closed, "finish: 1005"),
        (Connecting, &["lost 1005"], "greeting first !eager !late !reconnect", Closed, "finish: 1005"),
        (Connecting, &["lost 1005"], "greeting !first reconnect", Waiting, "wait"),
        (Connecting, &["lost 1005"], "greeting !first !reconnect", Closed, "finish: 1005"),
        (Connecting, FAILED, "greeting first eager", Closed, "finish: 1011"),
        (Connecting, FAILED, "greeting first !eager late", Closed, "finish: 1011"),
        (Connecting, FAILED, "greeting first !eager !late !reconnect", Closed, "finish: 1011"),
        (Connecting, FAILED, "greeting !first reconnect", Waiting, "wait"),
        (Connecting, FAILED, "greeting !first !reconnect", Closed, "finish: 1011"),
        (Connecting, BROKEN, "greeting first eager", Closed, "finish: 1006"),
        (Connecting, BROKEN, "greeting first !eager late", Closed, "finish: 1006"),
        (Connecting, BROKEN, "greeting first !eager !late !reconnect", Closed, "finish: 1006"),
        (Connecting, BROKEN, "greeting !first reconnect", Waiting, "wait"),
        (Connecting, BROKEN, "greeting !first !reconnect", Closed, "finish: 1006"),
        (Connecting, &["lost 1000"], "greeting !first streaming", Idle, "end stream"),
        (Connecting, &["lost 1000"], "greeting !first !streaming", Idle, ""),
        (Connecting, &["lost 1000 unsent"], "greeting !first streaming !late", Waiting, "end stream, wait"),
        (Connecting, &["lost 1000 unsent"], "greeting !first !streaming !late", Waiting, "wait"),
        (
            Connecting,
            &["lost 1000 unsent"],
            "greeting !first streaming late token",
            Authenticating,
            "end stream, fetch",
        ),
        (
            Connecting,
            &["lost 1000 unsent"],
            "greeting !first streaming late !token",
            Connecting,
            "end stream, dial",
        ),
        (Connecting, &["lost 1000 unsent"], "greeting !first !streaming late token", Authenticating, "fetch"),
        (Connecting, &["lost 1000 unsent"], "greeting !first !streaming late !token", Connecting, "dial"),
        // Open. A refusal is forgotten when the socket gave an answer or lived for long.
        (Active, &["over"], "", Active, "stop writing"),
        (Active, &["unused"], "!over", Active, "send close"),
        (Active, &["unused"], "over", Active, ""),
        (Active, &["unauthorized"], "token !refused", Waiting, "abandon, wait"),
        (Active, &["unauthorized"], "token refused useful", Waiting, "abandon, wait"),
        (Active, &["unauthorized"], "token refused !useful late", Waiting, "abandon, wait"),
        (Active, &["unauthorized"], "token refused !useful !late", Closed, "abandon, finish: authentication"),
        (Active, &["unauthorized"], "!token", Closed, "abandon, finish: authentication"),
        (Active, &["close"], "", Closing, "send close"),
        // The normal end.
        (Active, &["lost 1000"], "streaming", Idle, "end stream"),
        (Active, &["lost 1000"], "!streaming", Idle, ""),
        (Active, &["lost 1000 unsent"], "streaming token useful", Authenticating, "end stream, fetch"),
        (Active, &["lost 1000 unsent"], "streaming token !useful late", Authenticating, "end stream, fetch"),
        (Active, &["lost 1000 unsent"], "streaming !token useful", Connecting, "end stream, dial"),
        (Active, &["lost 1000 unsent"], "streaming !token !useful late", Connecting, "end stream, dial"),
        (Active, &["lost 1000 unsent"], "streaming !useful !late", Waiting, "end stream, wait"),
        (Active, &["lost 1000 unsent"], "!streaming token useful", Authenticating, "fetch"),
        (Active, &["lost 1000 unsent"], "!streaming token !useful late", Authenticating, "fetch"),
        (Active, &["lost 1000 unsent"], "!streaming !token useful", Connecting, "dial"),
        (Active, &["lost 1000 unsent"], "!streaming !token !useful late", Connecting, "dial"),
        (Active, &["lost 1000 unsent"], "!streaming !useful !late", Waiting, "wait"),
        // The end after the server said so, however the socket then went.
        (Active, ABNORMAL_QUIET, "over streaming", Idle, "end stream"),
        (Active, ABNORMAL_QUIET, "over !streaming", Idle, ""),
        (Active, ABNORMAL_UNSENT, "over streaming !useful !late", Waiting, "end stream, wait"),
        (Active, ABNORMAL_UNSENT, "over !streaming !useful !late", Waiting, "wait"),
        (Active, ABNORMAL_UNSENT, "over streaming token useful", Authenticating, "end stream, fetch"),
        (Active, ABNORMAL_UNSENT, "over !streaming token useful", Authenticating, "fetch"),
        (Active, ABNORMAL_UNSENT, "over streaming !token useful", Connecting, "end stream, dial"),
        (Active, ABNORMAL_UNSENT, "over !streaming !token useful", Connecting, "dial"),
        (Active, ABNORMAL_UNSENT, "over streaming token !useful late", Authenticating, "end stream, fetch"),
        (Active, ABNORMAL_UNSENT, "over !streaming token !useful late", Authenticating, "fetch"),
        (Active, ABNORMAL_UNSENT, "over streaming !token !useful late", Connecting, "end stream, dial"),
        (Active, ABNORMAL_UNSENT, "over !streaming !token !useful late", Connecting, "dial"),
        // A refusal.
        (Active, POLICY, "!over token !refused", Waiting, "wait"),
        (Active, POLICY, "!over token refused useful", Waiting, "wait"),
        (Active, POLICY, "!over token refused !useful late", Waiting, "wait"),
        (Active, POLICY, "!over token refused !useful !late", Closed, "finish: authentication"),
        (Active, POLICY, "!over !token", Closed, "finish: authentication"),
        // A loss.
        (Active, &["lost 1001"], "!over reconnect", Waiting, "wait"),
        (Active, &["lost 1001"], "!over !reconnect", Closed, "finish: 1001"),
        (Active, &["lost 1005"], "!over reconnect", Waiting, "wait"),
        (Active, &["lost 1005"], "!over !reconnect", Closed, "finish: 1005"),
        (Active, FAILED, "!over reconnect", Waiting, "wait"),
        (Active, FAILED, "!over !reconnect", Closed, "finish: 1011"),
        (Active, BROKEN, "!over reconnect", Waiting, "wait"),
        (Active, BROKEN, "!over !reconnect", Closed, "finish: 1006"),
        // Between two sockets.
        (Waiting, &["elapsed"], "first late", Closed, "finish: handshake"),
        (Waiting, &["elapsed"], "first !late token", Authenticating, "fetch"),
        (Waiting, &["elapsed"], "first !late !token", Connecting, "dial"),
        (Waiting, &["elapsed"], "!first token", Authenticating, "fetch"),
        (Waiting, &["elapsed"], "!first !token", Connecting, "dial"),
        (Waiting, &["close"], "", Closed, "abandon, finish"),
        // Closing: however the socket goes, that was the caller's wish.
        (Closing, &["lost 1000", "lost 1000 unsent"], "", Closed, "finish"),
        (Closing, ABNORMAL, "", Closed, "finish"),
    ]
};
const ABNORMAL_QUIET: &[&str] = &["lost 1001", "lost 1005", "lost 1008", "lost 1011", "lost broken"];
const ABNORMAL_UNSENT: &[&str] = &["lost 1008 unsent", "lost 1011 unsent", "lost broken unsent"];

/// What changes nothing in a state and asks for nothing. (`open eager` is remembered while an opening is under way;
/// what follows from that is in the rows with `eager`.)
const IGNORED: &[(State, &[&str])] = {
    use State::{Active, Authenticating, Closed, Closing, Connecting, Idle, Waiting};
    macro_rules! all_but {
        ($($extra:literal),*) => {
            &[
                "polled", "polled used", "greeted", "greet failed", "unused old", "opened old", "failed old", "unauthorized old", "over old", "lost 1000 old",
                "lost 1008 old", "lost broken old", $($extra),*
            ]
        };
    }
    &[
        (
            Idle,
            all_but!(
                "stopped",
                "unused",
                "token ready",
                "token transient",
                "token permanent",
                "token refused",
                "opened",
                "failed transient",
                "failed permanent",
                "failed 401",
                "failed 403",
                "failed refused",
                "unauthorized",
                "over",
                "lost 1000",
                "lost 1000 unsent",
                "lost 1001",
                "lost 1005",
                "lost 1008",
                "lost 1008 unsent",
                "lost 1011",
                "lost 1011 unsent",
                "lost broken",
                "lost broken unsent",
                "elapsed"
            ),
        ),
        (
            Authenticating,
            all_but!(
                "unused",
                "open lazy",
                "open eager",
                "opened",
                "failed transient",
                "failed permanent",
                "failed 401",
                "failed 403",
                "failed refused",
                "unauthorized",
                "over",
                "lost 1000",
                "lost 1000 unsent",
                "lost 1001",
                "lost 1005",
                "lost 1008",
                "lost 1008 unsent",
                "lost 1011",
                "lost 1011 unsent",
                "lost broken",
                "lost broken unsent",
                "elapsed"
            ),
        ),
        (
            Connecting,
            all_but!(
                "unused",
                "open lazy",
                "open eager",
                "token ready",
                "token transient",
                "token permanent",
                "token refused",
                "unauthorized",
                "over",
                "lost 1000",
                "lost 1000 unsent",
                "lost 1001",
                "lost 1005",
                "lost 1008",
                "lost 1008 unsent",
                "lost 1011",
                "lost 1011 unsent",
                "lost broken",
                "lost broken unsent",
                "elapsed"
            ),
        ),
        (
            Active,
            all_but!(
                "stopped",
                "open lazy",
                "open eager",
                "token ready",
                "token transient",
                "token permanent",
                "token refused",
                "opened",
                "failed transient",
                "failed permanent",
                "failed 401",
                "failed 403",
                "failed refused",
                "elapsed"
            ),
        ),
        (
            Waiting,
            all_but!(
                "stopped",
                "unused",
                "open lazy",
                "open eager",
                "token ready",
                "token transient",
                "token permanent",
                "token refused",
                "opened",
                "failed transient",
                "failed permanent",
                "failed 401",
                "failed 403",
                "failed refused",
                "unauthorized",
                "over",
                "lost 1000",
                "lost 1000 unsent",
                "lost 1001",
                "lost 1005",
                "lost 1008",
                "lost 1008 unsent",
                "lost 1011",
                "lost 1011 unsent",
                "lost broken",
                "lost broken unsent"
            ),
        ),
        (
            Closing,
            all_but!(
                "stopped",
                "unused",
                "open lazy",
                "open eager",
                "token ready",
                "token transient",
                "token permanent",
                "token refused",
                "opened",
                "failed transient",
                "failed permanent",
                "failed 401",
                "failed 403",
                "failed refused",
                "unauthorized",
                "over",
                "elapsed",
                "close"
            ),
        ),
        (
            Closed,
            all_but!(
                "stopped",
                "unused",
                "open lazy",
                "open eager",
                "token ready",
                "token transient",
                "token permanent",
                "token refused",
                "opened",
                "failed transient",
                "failed permanent",
                "failed 401",
                "failed 403",
                "failed refused",
                "unauthorized",
                "over",
                "lost 1000",
                "lost 1000 unsent",
                "lost 1001",
                "lost 1005",
                "lost 1008",
                "lost 1008 unsent",
                "lost 1011",
                "lost 1011 unsent",
                "lost broken",
                "lost broken unsent",
                "elapsed",
                "close"
            ),
        ),
    ]
};

/// What the tables say; panics unless exactly one of them says something.
fn expected(setup: Setup, given: Given) -> (State, &'static str) {
    let mut rows = TABLE.iter().filter(|(state, inputs, condition, ..)| {
        *state == setup.state && inputs.contains(&given.name) && setup.meets(condition)
    });
    let row = rows.next();
    let ignored = IGNORED.iter().any(|(state, inputs)| *state == setup.state && inputs.contains(&given.name));
    // While the caller sends first there is no dialling any more, and a session that may end.
    let of_dialling = given.name == "opened" || given.name.starts_with("failed");
    let of_sessions = ["over", "unauthorized", "greeted", "greet failed"].contains(&given.name)
        || (given.name.starts_with("lost") && !given.name.ends_with("old"));
    let ignored = if setup.greeting { (ignored && !of_sessions) || of_dialling } else { ignored };
    match (row, rows.next(), ignored) {
        (Some((.., next, actions)), None, false) => (*next, actions),
        (None, None, true) => (setup.state, ""),
        (None, None, false) => panic!("{:?} on {:?} is in no table: {setup:?}", setup.state, given.name),
        (one, two, ignored) => {
            panic!(
                "{:?} on {:?} is there twice: {one:?} {two:?} {ignored} {setup:?}",
                setup.state, given.name
            )
        }
    }
}

#[test]
fn every_state_takes_every_input_as_the_table_says() {
    let start = Instant::now();
    let mut pairs = 0_u32;
    for setup in Setup::all() {
        for given in INPUTS {
            let mut session = setup.build(start);
            let before = session.socket();
            let now = if setup.late { start + LATE } else { start };
            let actions = session.handle(now, 0.5, setup.input(given, before));
            let (next, told) = expected(setup, *given);
            assert_eq!(
                (session.state(), words(&actions).as_str()),
                (next, told),
                "{:?} on {:?}: {setup:?}",
                setup.state,
                given.name
            );
            let dialled = actions.iter().find_map(|action| match action {
                Action::Dial { socket } => Some(*socket),
                _ => None,
            });
            assert_eq!(session.socket(), before + u64::from(dialled.is_some()));
            assert!(dialled.is_none_or(|socket| socket == session.socket()));
            pairs += 1;
        }
    }
    assert!(pairs > 5_000, "only {pairs} combinations were tried");
}

/// No row is dead: each is what happens in some session that can be.
#[test]
fn every_row_of_the_table_is_reached() {
    for (state, inputs, condition, ..) in TABLE {
        let reached = Setup::all().any(|setup| setup.state == *state && setup.meets(condition));
        assert!(reached, "{state:?} {inputs:?} {condition:?} can not be");
        for name in *inputs {
            assert!(INPUTS.iter().any(|given| given.name == *name), "no such input: {name}");
        }
    }
}
