use std::collections::VecDeque;

use proptest::prelude::*;

use super::{Overflow, Pushed, Ring, Weigh};

/// An item that knows who it is, so that order and conservation can be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Item {
    id: usize,
    weight: usize,
}

impl Weigh for Item {
    fn weight(&self) -> usize {
        self.weight
    }
}

fn item(id: usize, weight: usize) -> Item {
    Item { id, weight }
}

fn ids(ring: &Ring<Item>) -> Vec<usize> {
    ring.iter().map(|item| item.id).collect()
}

#[test]
fn drop_oldest_makes_room_by_count() {
    let mut ring = Ring::new(2, 100, Overflow::DropOldest);
    assert_eq!(ring.push(item(1, 1)), Pushed::Stored);
    assert_eq!(ring.push(item(2, 1)), Pushed::Stored);
    assert_eq!(ring.push(item(3, 1)), Pushed::Displaced(vec![item(1, 1)]));
    assert_eq!(ids(&ring), [2, 3]);
    assert_eq!(ring.weight(), 2);
}

#[test]
fn drop_oldest_makes_room_by_weight() {
    let mut ring = Ring::new(10, 10, Overflow::DropOldest);
    for id in 0..5 {
        assert_eq!(ring.push(item(id, 2)), Pushed::Stored);
    }
    assert_eq!(ring.push(item(5, 5)), Pushed::Displaced(vec![item(0, 2), item(1, 2), item(2, 2)]));
    assert_eq!((ids(&ring), ring.weight()), (vec![3, 4, 5], 9));
}

#[test]
fn refuse_hands_the_new_item_back() {
    let mut ring = Ring::new(2, 10, Overflow::Refuse);
    assert_eq!(ring.push(item(1, 6)), Pushed::Stored);
    assert_eq!(ring.push(item(2, 5)), Pushed::Refused(item(2, 5)));
    assert_eq!(ring.push(item(3, 4)), Pushed::Stored);
    assert_eq!(ring.push(item(4, 0)), Pushed::Refused(item(4, 0)));
    assert_eq!((ids(&ring), ring.weight()), (vec![1, 3], 10));
}

#[test]
fn an_item_heavier_than_the_ring_passes_alone() {
    for overflow in [Overflow::Refuse, Overflow::DropOldest] {
        let mut ring = Ring::new(4, 10, overflow);
        assert!(ring.has_room(usize::MAX));
        assert_eq!(ring.push(item(1, 11)), Pushed::Stored);
        assert!(!ring.has_room(0));
    }
    let mut ring = Ring::new(4, 10, Overflow::DropOldest);
    assert_eq!(ring.push(item(1, 1)), Pushed::Stored);
    assert_eq!(ring.push(item(2, 11)), Pushed::Displaced(vec![item(1, 1)]));
    assert_eq!(ids(&ring), [2]);
}

#[test]
fn weights_saturate() {
    let mut ring = Ring::new(4, usize::MAX, Overflow::Refuse);
    assert_eq!(ring.push(item(1, usize::MAX)), Pushed::Stored);
    ring.push_front(item(2, usize::MAX));
    assert_eq!(ring.weight(), usize::MAX);
}

#[test]
fn push_front_ignores_the_limits() {
    let mut ring = Ring::new(1, 1, Overflow::Refuse);
    assert_eq!(ring.push(item(1, 1)), Pushed::Stored);
    ring.push_front(item(0, 5));
    assert_eq!((ids(&ring), ring.weight(), ring.has_room(0)), (vec![0, 1], 6, false));
}

#[test]
fn a_ring_of_no_items_holds_one() {
    let mut ring = Ring::new(0, 10, Overflow::Refuse);
    assert_eq!(ring.push(item(1, 1)), Pushed::Stored);
    assert_eq!(ring.push(item(2, 1)), Pushed::Refused(item(2, 1)));
}

#[test]
fn drain_empties_even_if_it_is_not_run() {
    let mut ring = Ring::new(4, 10, Overflow::Refuse);
    let _ = ring.push(item(1, 1));
    let _ = ring.push(item(2, 1));
    let drained = ring.drain();
    assert_eq!((ring.len(), ring.weight()), (0, 0));
    assert_eq!(drained.map(|item| item.id).collect::<Vec<_>>(), [1, 2]);
    drop(ring.drain());
}

#[test]
fn an_idle_ring_keeps_little_memory() {
    let mut ring = Ring::new(10_000, usize::MAX, Overflow::Refuse);
    assert_eq!(ring.items.capacity(), 0, "a ring that was never used allocates nothing");
    for id in 0..10_000 {
        let _ = ring.push(item(id, 1));
    }
    while ring.pop().is_some() {}
    assert!(ring.items.capacity() * size_of::<Item>() <= Ring::<Item>::IDLE_BYTES);
    let _ = ring.push(item(1, 1));
    let small = ring.items.capacity();
    let _ = ring.pop();
    assert_eq!(
        ring.items.capacity(),
        small,
        "a ring that stays small does not allocate anew for each message"
    );
}

#[derive(Debug, Clone)]
enum Op {
    Push(usize),
    PushFront(usize),
    Pop,
    Drain,
    PushAll(Vec<usize>),
    TakeAll,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0..12_usize).prop_map(Op::Push),
        1 => (0..12_usize).prop_map(Op::PushFront),
        3 => Just(Op::Pop),
        1 => Just(Op::Drain),
        1 => prop::collection::vec(0..12_usize, 0..4).prop_map(Op::PushAll),
        1 => Just(Op::TakeAll),
    ];
    prop::collection::vec(op, 0..200)
}

proptest! {
    /// Against a queue that recomputes everything at each step.
    #[test]
    fn behaves_like_the_model(
        ops in ops(),
        max_items in 1..8_usize,
        max_weight in 0..30_usize,
        overflow in prop_oneof![Just(Overflow::DropOldest), Just(Overflow::Refuse)],
    ) {
        let mut ring = Ring::new(max_items, max_weight, overflow);
        let mut model: VecDeque<Item> = VecDeque::new();
        let sum = |items: &VecDeque<Item>| items.iter().map(|item| item.weight).sum::<usize>();
        let (mut offered, mut refused, mut displaced, mut taken) = (0, 0, 0, 0);
        for (id, op) in ops.into_iter().enumerate() {
            match op {
                Op::Push(weight) => {
                    offered += 1;
                    let new = item(id, weight);
                    let full = |model: &VecDeque<Item>| {
                        model.len() >= max_items || (!model.is_empty() && sum(model) + weight > max_weight)
                    };
                    prop_assert_eq!(ring.has_room(weight), !full(&model));
                    let expected = match overflow {
                        Overflow::Refuse if full(&model) => Pushed::Refused(new),
                        _ => {
                            let mut out = Vec::new();
                            while full(&model) {
                                out.extend(model.pop_front());
                            }
                            model.push_back(new);
                            if out.is_empty() { Pushed::Stored } else { Pushed::Displaced(out) }
                        }
                    };
                    let pushed = ring.push(new);
                    match &pushed {
                        Pushed::Stored => {}
                        Pushed::Displaced(items) => displaced += items.len(),
                        Pushed::Refused(_) => refused += 1,
                    }
                    prop_assert_eq!(pushed, expected);
                }
                Op::PushFront(weight) => {
                    offered += 1;
                    ring.push_front(item(id, weight));
                    model.push_front(item(id, weight));
                }
                Op::Pop => {
                    let popped = ring.pop();
                    taken += usize::from(popped.is_some());
                    prop_assert_eq!(popped, model.pop_front());
                }
                Op::Drain => {
                    let drained: Vec<_> = ring.drain().collect();
                    taken += drained.len();
                    prop_assert_eq!(drained, model.drain(..).collect::<Vec<_>>());
                }
                Op::PushAll(weights) => {
                    offered += weights.len();
                    let mut new: VecDeque<_> = weights.into_iter().map(|weight| item(id, weight)).collect();
                    model.extend(&new);
                    ring.push_all(&mut new);
                    prop_assert!(new.is_empty());
                }
                Op::TakeAll => {
                    let mut all = VecDeque::new();
                    ring.take_all(&mut all);
                    taken += all.len();
                    prop_assert_eq!(all, std::mem::take(&mut model));
                }
            }
            prop_assert!(ring.iter().eq(model.iter()));
            prop_assert_eq!((ring.front(), ring.back()), (model.front(), model.back()));
            prop_assert_eq!(ring.weight(), sum(&model));
            prop_assert_eq!(ring.is_empty(), model.is_empty());
            prop_assert_eq!(offered, refused + displaced + taken + ring.len());
        }
    }
}
