//! The hand-over of reading between a loop and the I/O thread, on real descriptors and by a clock that the test moves.

#![allow(clippy::unwrap_used)]

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
};

use proptest::prelude::*;

use super::{loop_polling::LOAD_WINDOW, *};
use crate::{
    net::{
        counters,
        driven::Driven,
        poller::{Registration, load::thread_cpu},
    },
    sync::Mutex,
};

/// Bytes that a link reads in one turn: what it leaves is to be seen by whoever polls next.
const BYTES_A_TURN: usize = 3;
const LINKS: usize = 3;

/// A link that notes what it reads.
struct Reader {
    socket: UnixStream,
    read: Mutex<Vec<u8>>,
}

impl Driven for Reader {
    fn on_readable(&self, _side: Side) {
        let mut bytes = [0; BYTES_A_TURN];
        match (&self.socket).read(&mut bytes) {
            Ok(count) => self.read.lock().extend_from_slice(&bytes[..count]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }

    fn on_writable(&self) {}

    fn on_unwritten(&self) {}

    fn reads_much(&self) -> bool {
        false
    }

    fn on_held(&self) -> Held {
        Held::No
    }
}

/// A link, its place in the poller, and its peer.
struct Place {
    link: Arc<Reader>,
    registration: Option<Registration>,
    peer: UnixStream,
    sent: Vec<u8>,
    is_paused: bool,
}

impl Place {
    fn new(poller: &Arc<Poller>) -> Self {
        let (socket, peer) = UnixStream::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let link = Arc::new(Reader { socket, read: Mutex::default() });
        let mut registration = poller.register(link.clone());
        registration.watch(&link.socket, true, false).unwrap();
        Self { link, registration: Some(registration), peer, sent: Vec::new(), is_paused: false }
    }

    fn send(&mut self, count: usize) {
        let bytes: Vec<u8> = (0..count).map(|index| (self.sent.len() + index) as u8).collect();
        self.peer.write_all(&bytes).unwrap();
        self.sent.extend(bytes);
    }

    fn set_paused(&mut self, paused: bool) {
        self.is_paused = paused;
        if let Some(registration) = &mut self.registration {
            registration.watch(&self.link.socket, !paused, false).unwrap();
        }
    }

    fn end(&mut self) {
        if let Some(registration) = self.registration.take() {
            registration.end(&self.link.socket);
        }
    }

    /// Bytes that are to be read now.
    fn unread(&self) -> usize {
        let is_read = self.registration.is_some() && !self.is_paused;
        if is_read { self.sent.len() - self.link.read.lock().len() } else { 0 }
    }
}

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Event {
    PeerSends(usize, usize),
    /// The loop has a turn, if its descriptor is readable.
    LoopComes,
    /// The loop has a turn for another reason.
    LoopComesForOthers,
    /// The I/O thread has a turn, if its descriptor is readable.
    IoThreadComes,
    /// Time passes until the I/O thread wakes up by itself.
    TimePasses,
    Pauses(usize),
    GoesOn(usize),
    Ends(usize),
    /// A trial begins, or ends, as it does when the loop reads, or both do.
    Trial,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let link = 0..LINKS;
    let event = prop_oneof![
        4 => (link.clone(), 1..8_usize).prop_map(|(link, count)| Event::PeerSends(link, count)),
        3 => Just(Event::LoopComes),
        1 => Just(Event::LoopComesForOthers),
        3 => Just(Event::IoThreadComes),
        3 => Just(Event::TimePasses),
        1 => link.clone().prop_map(Event::Pauses),
        1 => link.clone().prop_map(Event::GoesOn),
        1 => link.prop_map(Event::Ends),
        1 => Just(Event::Trial),
    ];
    proptest::collection::vec(event, 0..80)
}

/// A loop, its links, and the I/O thread that stands in for it, all of them moved by the test.
struct World<'a> {
    poller: &'a Arc<Poller>,
    watch: Watch<'a>,
    places: Vec<Place>,
    now: Instant,
}

impl<'a> World<'a> {
    fn new(poller: &'a Arc<Poller>) -> Self {
        let places = (0..LINKS).map(|_| Place::new(poller)).collect();
        Self { poller, watch: Watch::new(poller), places, now: Instant::now() }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::PeerSends(link, count) => self.places[link].send(count),
            Event::LoopComes => {
                if self.loop_is_called() {
                    self.loop_comes();
                }
            }
            Event::LoopComesForOthers => self.loop_comes(),
            Event::IoThreadComes => {
                if self.poller.io_side.is_ready() {
                    self.watch.io_side_is_ready();
                }
            }
            Event::TimePasses => {
                if let Some(at) = self.watch.deadline() {
                    self.now = self.now.max(at);
                    self.watch.time_is_up(self.now);
                }
            }
            Event::Pauses(link) => self.places[link].set_paused(true),
            Event::GoesOn(link) => self.places[link].set_paused(false),
            Event::Ends(link) => self.places[link].end(),
            Event::Trial => {
                match self.poller.driven_by() {
                    DrivenBy::Loop => self.poller.hand_over(DrivenBy::Both, When::Readable),
                    DrivenBy::Both => self.poller.hand_over(DrivenBy::Loop, When::Off),
                    DrivenBy::IoThread | DrivenBy::IoThreadAlways => {}
                }
                // Both are part of a poll.
                self.now = self.now.max(Instant::now());
                self.watch.poll_loop(self.now);
            }
        }
    }

    fn loop_comes(&self) {
        for link in self.poller.poll() {
            link.on_readable(Side::Caller);
        }
    }

    fn loop_is_called(&self) -> bool {
        self.poller.loop_side.as_ref().unwrap().is_ready()
    }

    fn unread(&self) -> usize {
        self.places.iter().map(Place::unread).sum()
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let (unread, driver) = (self.unread() > 0, self.poller.driven_by());
        // A descriptor is readable if and only if something is to be read: a paused or closed link spins nothing.
        prop_assert_eq!(self.poller.sockets.is_ready(), unread);
        prop_assert_eq!(self.loop_is_called(), unread && driver != DrivenBy::Both);
        let io_is_called = self.poller.io_side.is_ready();
        prop_assert!(unread || !io_is_called, "the I/O thread spins");
        // One side reads.
        let armed = *self.poller.armed.lock();
        if driver == DrivenBy::Loop {
            prop_assert!(matches!(armed, When::Off | When::ReadableOnce), "{:?}", armed);
        } else {
            prop_assert_eq!(armed, When::Readable);
        }
        // Nothing waits without somebody who is called, or polls.
        prop_assert!(
            !unread || io_is_called || self.watch.deadline().is_some(),
            "nobody stands in for the loop"
        );
        for place in &self.places {
            prop_assert!(place.sent.starts_with(&place.link.read.lock()), "not in order");
        }
        Ok(())
    }

    /// The I/O thread alone goes on until nothing is left. Answers whether that is so.
    fn io_thread_reads_all(&mut self) -> bool {
        for _ in 0..1_000 {
            if self.unread() == 0 {
                return true;
            }
            let is_called = self.poller.io_side.is_ready();
            self.happens(if is_called { Event::IoThreadComes } else { Event::TimePasses });
        }
        false
    }

    /// The loop alone goes on until nothing is left.
    fn loop_reads_all(&mut self) -> bool {
        for _ in 0..1_000 {
            if self.unread() == 0 {
                return true;
            }
            self.happens(Event::LoopComesForOthers);
        }
        false
    }
}

/// Runs `test` with the poller of a loop, whose I/O thread is the test.
fn with_poller<T>(test: impl FnOnce(&Arc<Poller>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _inside = runtime.enter();
    let (wake_fd, _other) = UnixStream::pair().unwrap();
    test(&Poller::for_loop(&wake_fd).unwrap().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whoever_reads_nothing_waits_without_a_driver_and_nothing_spins(events in events(), loop_stays in any::<bool>()) {
        with_poller(|poller| {
            let mut world = World::new(poller);
            world.check()?;
            for event in events {
                world.happens(event);
                world.check()?;
            }
            if loop_stays {
                // Where both read, the loop leaves it to the I/O thread until a trial ends.
                if poller.driven_by() == DrivenBy::Both {
                    world.happens(Event::Trial);
                }
                prop_assert!(world.loop_reads_all());
            } else {
                prop_assert!(world.io_thread_reads_all(), "what came to a loop that stays away was not read");
            }
            for link in 0..LINKS {
                world.happens(Event::GoesOn(link));
            }
            prop_assert!(world.io_thread_reads_all(), "what a link left while it was paused was not read");
            world.check()?;
            for link in 0..LINKS {
                world.happens(Event::Ends(link));
            }
            world.check()?;
            prop_assert!(poller.links.lock().is_empty());
            // Quiet: a loop that is well is polled no more.
            world.loop_comes();
            if poller.driven_by() == DrivenBy::Loop {
                for _ in 0..5 {
                    world.happens(Event::TimePasses);
                }
                prop_assert_eq!(world.watch.deadline(), None);
            }
            Ok(())
        })?;
    }
}

#[test]
fn a_loop_that_stays_away_is_stood_in_for_until_it_comes() {
    with_poller(|poller| {
        let mut world = World::new(poller);
        let before = (counters::TAKEN_OVER.get(), counters::GIVEN_BACK.get());
        world.places[0].send(1);
        assert!(world.io_thread_reads_all());
        assert_eq!(poller.driven_by(), DrivenBy::IoThread);
        world.happens(Event::LoopComesForOthers);
        assert_eq!(poller.driven_by(), DrivenBy::Loop);
        assert!(counters::TAKEN_OVER.get() > before.0 && counters::GIVEN_BACK.get() > before.1);
    });
}

/// The loop's thread is busy for this share of a window, in which so many bytes are read. How long the processor takes
/// for it does not matter: the window is made as long as it has to be.
fn window(world: &mut World<'_>, share: f64, bytes: usize) {
    let before = thread_cpu();
    let mut work = Duration::ZERO;
    while work < LOAD_WINDOW.mul_f64(share) {
        work = thread_cpu().saturating_sub(before);
    }
    let reads = 100;
    for _ in 0..reads {
        world.poller.note_read(bytes / reads);
    }
    world.loop_comes();
    world.now += thread_cpu().saturating_sub(before).div_f64(share).max(LOAD_WINDOW);
    world.watch.weigh(world.now);
}

/// Lets a saturated loop be found out. Answers after how many windows both read.
fn until_both(world: &mut World<'_>) -> usize {
    (1..=10)
        .find(|_| {
            window(world, 0.99, 100_000);
            world.poller.driven_by() == DrivenBy::Both
        })
        .expect("a saturated loop is helped, on trial")
}

#[test]
fn the_io_thread_reads_beside_a_saturated_loop_while_that_gets_more_through() {
    with_poller(|poller| {
        let mut world = World::new(poller);
        until_both(&mut world);
        for _ in 0..6 {
            window(&mut world, 0.99, 300_000);
        }
        assert_eq!(poller.driven_by(), DrivenBy::Both, "three times as much gets through");
        for _ in 0..4 {
            window(&mut world, 0.1, 1_000);
        }
        assert_eq!(poller.driven_by(), DrivenBy::Loop, "there is little to do");
    });
}

#[test]
fn the_io_thread_leaves_a_saturated_loop_alone_where_reading_beside_it_gains_nothing() {
    with_poller(|poller| {
        let mut world = World::new(poller);
        until_both(&mut world);
        for _ in 0..6 {
            window(&mut world, 0.99, 50_000);
        }
        assert_eq!(poller.driven_by(), DrivenBy::Loop);
    });
}
