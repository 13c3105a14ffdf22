//! Level-triggered `epoll`: what was not read is still readable for whoever polls next, on whichever thread.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use rustix::event::{
    PollFd, PollFlags, Timespec,
    epoll::{self, CreateFlags, Event, EventData, EventFlags},
};

/// The condition under which a descriptor that is watched counts as ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Never, but for errors.
    Off,
    /// While it is readable.
    Readable,
    /// Once when it is readable, until this is said anew.
    ReadableOnce,
    /// Once when it is writable, until this is said anew.
    WritableOnce,
}

impl When {
    const fn flags(self) -> EventFlags {
        match self {
            Self::Off => EventFlags::empty(),
            Self::Readable => EventFlags::IN,
            Self::ReadableOnce => EventFlags::IN.union(EventFlags::ONESHOT),
            Self::WritableOnce => EventFlags::OUT.union(EventFlags::ONESHOT),
        }
    }
}

/// A set of watched descriptors, which is readable itself while one of them is ready.
#[derive(Debug)]
pub(super) struct Epoll(OwnedFd);

impl Epoll {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    pub(super) fn add(&self, source: impl AsFd, key: u64, when: When) -> io::Result<()> {
        Ok(epoll::add(&self.0, source, EventData::new_u64(key), when.flags())?)
    }

    pub(super) fn modify(&self, source: impl AsFd, key: u64, when: When) -> io::Result<()> {
        Ok(epoll::modify(&self.0, source, EventData::new_u64(key), when.flags())?)
    }

    pub(super) fn remove(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.0, source)?)
    }

    /// Appends the keys of those that are ready now, up to the spare capacity of `keys`.
    pub(super) fn poll(&self, keys: &mut Vec<u64>, most: usize) -> io::Result<()> {
        let mut events = [const { std::mem::MaybeUninit::<Event>::uninit() }; MAX_EVENTS];
        let most = most.min(MAX_EVENTS);
        let room = events.get_mut(..most).unwrap_or_default();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let (ready, _) = epoll::wait(&self.0, room, Some(&now))?;
        keys.extend(ready.iter().map(|event| event.data.u64()));
        Ok(())
    }

    /// Whether one of them is ready now.
    pub(super) fn is_ready(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut descriptors = [PollFd::new(&self.0, PollFlags::IN)];
        matches!(rustix::event::poll(&mut descriptors, Some(&now)), Ok(1..))
    }
}

/// The most descriptors that are asked for at once.
const MAX_EVENTS: usize = 256;

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Epoll {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
