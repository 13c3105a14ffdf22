#![allow(clippy::unwrap_used)]

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize},
    },
    thread,
};

use proptest::prelude::*;

use super::*;
use crate::sync::Mutex;

#[test]
fn what_several_want_is_taken_at_once_and_by_one() {
    let duty = Duty::default();
    assert!(!duty.is_wanted());
    duty.want(Work::READ);
    duty.want(Work::WRITE);
    assert!(duty.is_wanted());
    assert_eq!(duty.take_wanted().bits(), Work::READ.bits() | Work::WRITE.bits());
    assert_eq!(duty.take_wanted(), Work::NONE);
    assert!(!duty.is_wanted());
}

#[test]
fn one_blocking_caller_drives_at_a_time() {
    let duty = Duty::default();
    assert!(duty.begin_blocking());
    assert!(!duty.begin_blocking());
    assert!(!duty.end_blocking(false), "a caller that had no socket has borrowed none");
    assert!(duty.begin_blocking());
}

#[test]
fn a_socket_is_taken_back_once_no_caller_has_come_between_two_questions() {
    let duty = Duty::default();
    assert_eq!(duty.poll_borrowed(), Borrow::No, "no caller has had it");
    assert!(duty.begin_blocking());
    assert_eq!(duty.poll_borrowed(), Borrow::No, "its caller will say when it is through");
    assert!(duty.end_blocking(true), "the poller does not know of it");
    assert_eq!(duty.poll_borrowed(), Borrow::InUse);
    assert!(duty.begin_blocking());
    assert!(!duty.end_blocking(true), "the poller knows of it");
    assert_eq!(duty.poll_borrowed(), Borrow::InUse);
    assert_eq!(duty.poll_borrowed(), Borrow::Unused);
    assert_eq!(duty.poll_borrowed(), Borrow::No);
}

#[test]
fn the_poller_is_told_once_until_it_has_come() {
    let duty = Duty::default();
    assert!(duty.hold());
    assert!(!duty.hold());
    duty.let_go();
    assert!(duty.hold());
    assert!(duty.leave_unwritten());
    assert!(!duty.leave_unwritten());
    duty.take_unwritten();
    assert!(duty.leave_unwritten());
}

/// What a thread of the caller's, or the poller, does next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A caller begins a blocking call, and gets the socket, or there is none.
    Begin {
        gets_socket: bool,
    },
    End,
    /// The poller asks, if it was told to.
    Ask,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        any::<bool>().prop_map(|gets_socket| Step::Begin { gets_socket }),
        Just(Step::End),
        Just(Step::Ask),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    /// Whoever watches the socket, somebody does: the caller that has it, or the poller; and while a caller has had it
    /// and the poller does not watch it, the poller is going to ask.
    #[test]
    fn a_lent_socket_is_never_left_unwatched(steps in steps()) {
        let duty = Duty::default();
        // What `OpenLink` and the poller would know.
        let (mut borrowed, mut caller, mut asks) = (false, None, VecDeque::new());
        for step in steps {
            match step {
                Step::Begin { gets_socket } => {
                    prop_assert_eq!(duty.begin_blocking(), caller.is_none());
                    if caller.is_none() {
                        caller = Some(gets_socket);
                        // There is none to get once it is closed, and the next one is not borrowed.
                        borrowed = gets_socket;
                    }
                }
                Step::End => if let Some(drove) = caller.take()
                    && duty.end_blocking(drove)
                {
                    asks.push_back(());
                },
                Step::Ask => if asks.pop_front().is_some() {
                    match duty.poll_borrowed() {
                        Borrow::InUse => asks.push_back(()),
                        Borrow::Unused => borrowed = false,
                        Borrow::No => {}
                    }
                },
            }
            prop_assert!(asks.len() <= 1, "the poller is told once");
            prop_assert!(!borrowed || caller.is_some() || !asks.is_empty(), "nobody watches it, nor asks");
        }
        // When no caller comes any more, the socket is soon back.
        if let Some(drove) = caller && duty.end_blocking(drove) {
            asks.push_back(());
        }
        for _ in 0..3 {
            if asks.pop_front().is_some() {
                match duty.poll_borrowed() {
                    Borrow::InUse => asks.push_back(()),
                    Borrow::Unused => borrowed = false,
                    Borrow::No => {}
                }
            }
        }
        prop_assert!(!borrowed && asks.is_empty());
    }
}

/// Whatever is wanted is done by whoever has the link, with one thread in it at a time, though no thread waits for it.
#[test]
fn nothing_that_is_wanted_is_left_undone() {
    const THREADS: usize = 4;
    const TIMES: usize = 5_000;
    struct Linked {
        duty: Duty,
        link: Mutex<()>,
        inside: AtomicU32,
        asked: AtomicUsize,
        done: AtomicUsize,
    }
    let it = Arc::new(Linked {
        duty: Duty::default(),
        link: Mutex::new(()),
        inside: AtomicU32::new(0),
        asked: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
    });
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let it = it.clone();
            thread::spawn(move || {
                for _ in 0..TIMES {
                    // As a message is put into its queue before the link is wanted.
                    it.asked.fetch_add(1, Ordering::Relaxed);
                    it.duty.want(Work::WRITE);
                    while let Some(link) = it.link.try_lock() {
                        assert_eq!(it.inside.fetch_add(1, Ordering::Relaxed), 0, "two threads have the link");
                        if it.duty.take_wanted() != Work::NONE {
                            it.done.store(it.asked.load(Ordering::Relaxed), Ordering::Relaxed);
                        }
                        it.inside.fetch_sub(1, Ordering::Relaxed);
                        drop(link);
                        if !it.duty.is_wanted() {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(!it.duty.is_wanted());
    assert_eq!(it.done.load(Ordering::Relaxed), THREADS * TIMES);
}
