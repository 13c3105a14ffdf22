use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::AtomicBool},
};

use super::Notifier;
use crate::{
    net::{handle::Connection, test_settings::settings, wakeups::Notify},
    py::blocking::turns::{Listener, Turns},
};

#[test]
fn who_looked_for_a_turn_before_there_was_one_is_notified_of_it() {
    let connection = Connection::new(settings(SocketAddr::from((Ipv4Addr::LOCALHOST, 9))));
    let turns = Arc::new(Turns::default());
    let (number, _) = turns.reserve();
    turns.begin(number);
    let notifier = Notifier::default();
    let net = Arc::downgrade(&connection);
    notifier.listen_with(Listener {
        turns: turns.clone(),
        number,
        net,
        takes_results: AtomicBool::new(true),
    });
    connection.close();
    notifier.mark_ready();
    // What the thread that is to wait for the socket looks at, between the mark and the turn.
    let known = notifier.waiting.lock().notifications;
    assert!(turns.drives_socket());
    notifier.notify();
    assert!(!turns.drives_socket());
    assert_ne!(notifier.waiting.lock().notifications, known, "it would wait though there is a turn");
}
