use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use super::{CallbackTurn, Left, NextStep, Turns};

/// Longer than anything here should take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The next turn, for a thread that has no socket to wait for.
fn next(turns: &Turns) -> Option<CallbackTurn> {
    let mut has_driven = false;
    loop {
        match turns.next(has_driven)? {
            NextStep::Take(turn) => return Some(turn),
            NextStep::DriveSocket(_) => {
                while turns.drives_socket() {
                    thread::yield_now();
                }
                has_driven = true;
            }
        }
    }
}

/// A connection whose callbacks may be called; and whether a thread is to be started.
fn add(turns: &Turns) -> (u64, bool) {
    let (number, needs_thread) = turns.reserve();
    turns.begin(number);
    (number, needs_thread)
}

/// A thread that gives what it takes, and goes on when told.
fn work(
    turns: &Arc<Turns>,
    taken: &mpsc::Sender<(usize, Option<CallbackTurn>)>,
    name: usize,
) -> mpsc::Sender<Left> {
    let (turns, taken) = (turns.clone(), taken.clone());
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        turns.arrive();
        loop {
            let turn = next(&turns);
            let _ = taken.send((name, turn));
            let Some(turn) = turn else { return };
            let Ok(left) = told.recv() else { return };
            turns.done(turn.number, left);
        }
    });
    tell
}

#[test]
fn a_connection_is_with_one_thread_and_others_go_on_when_it_blocks() {
    let turns = Arc::new(Turns::default());
    let ((blocked, needs_thread), (other, _)) = (add(&turns), add(&turns));
    assert!(needs_thread);
    let (sender, taken) = mpsc::channel();
    let mut tell = HashMap::new();
    tell.insert(0, work(&turns, &sender, 0));
    turns.push(blocked);
    let (first, turn) = taken.recv_timeout(PATIENCE).unwrap();
    assert_eq!((first, turn), (0, Some(CallbackTurn { number: blocked, is_alone: true })));
    // One is started to stand by, since nobody did.
    tell.insert(1, work(&turns, &sender, 1));
    for _ in 0..3 {
        turns.push(blocked);
        turns.push(other);
        let (name, turn) = taken.recv_timeout(PATIENCE).unwrap();
        assert_eq!((name, turn.unwrap().number), (1, other), "the blocked one is with its thread");
        tell[&name].send(Left::Nothing).unwrap();
    }
    tell[&first].send(Left::Nothing).unwrap();
    let (name, turn) = taken.recv_timeout(PATIENCE).unwrap();
    assert_eq!(turn.unwrap().number, blocked, "what came meanwhile is not forgotten");
    tell[&name].send(Left::End).unwrap();
    turns.push(other);
    let (name, turn) = taken.recv_timeout(PATIENCE).unwrap();
    assert_eq!(turn.unwrap().number, other);
    tell[&name].send(Left::End).unwrap();
    for _ in 0..2 {
        assert_eq!(taken.recv_timeout(PATIENCE).unwrap().1, None, "threads end with the last connection");
    }
}

#[test]
fn what_has_more_goes_behind_what_waits() {
    let turns = Turns::default();
    let ((a, _), (b, _)) = (add(&turns), add(&turns));
    turns.push(a);
    turns.push(b);
    turns.push(a);
    assert_eq!(next(&turns).unwrap().number, a);
    turns.done(a, Left::More);
    assert_eq!(next(&turns).unwrap().number, b);
    turns.push(b);
    turns.done(b, Left::Nothing);
    assert_eq!(next(&turns).unwrap().number, a);
    turns.done(a, Left::End);
    assert_eq!(next(&turns).unwrap().number, b);
    turns.done(b, Left::End);
    assert_eq!(next(&turns), None);
}

#[test]
fn the_thread_of_the_only_connection_waits_for_its_socket() {
    let turns = Turns::default();
    let (only, _) = add(&turns);
    turns.push(only);
    assert_eq!(next(&turns).unwrap().number, only);
    turns.done(only, Left::Nothing);
    assert_eq!(turns.next(false), Some(NextStep::DriveSocket(only)));
    assert!(turns.drives_socket());
    turns.push(only);
    assert!(!turns.drives_socket());
    assert!(matches!(turns.next(true), Some(NextStep::Take(turn)) if turn.number == only));
    // With a second one there is no socket to prefer.
    let (other, needs_thread) = add(&turns);
    assert!(!needs_thread);
    turns.push(other);
    turns.done(only, Left::Nothing);
    assert!(matches!(turns.next(false), Some(NextStep::Take(turn)) if turn.number == other));
}

#[test]
fn one_that_waits_for_a_socket_counts_among_those_that_wait() {
    let turns = Arc::new(Turns::default());
    let (number, _) = add(&turns);
    turns.arrive();
    assert_eq!(turns.next(false), Some(NextStep::DriveSocket(number)));
    let other = thread::spawn({
        let turns = turns.clone();
        move || turns.next(false)
    });
    while turns.state.lock().waiting == 0 {
        thread::yield_now();
    }
    assert_eq!(turns.next(false), None, "one works, one stands by, and no third");
    turns.push(number);
    assert!(matches!(turns.next(true), Some(NextStep::Take(turn)) if turn.number == number));
    turns.done(number, Left::End);
    assert_eq!(other.join().ok(), Some(None));
}

#[test]
fn a_thread_that_could_not_be_started_is_asked_for_again() {
    let turns = Turns::default();
    let (number, needs_thread) = turns.reserve();
    assert!(needs_thread);
    assert!(!add(&turns).1, "it is on its way");
    turns.has_no_thread();
    turns.give_up(number);
    turns.push(number);
    let (other, needs_thread) = add(&turns);
    assert!(needs_thread);
    turns.push(other);
    assert_eq!(next(&turns).map(|turn| turn.number), Some(other), "what was given up has no turn");
}
