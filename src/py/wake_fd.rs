//! The wake descriptor of a loop: a thread without the GIL makes it readable, and the loop watches it.

use std::io;

#[cfg(target_os = "linux")]
pub(super) use linux::WakeFd;
#[cfg(all(unix, not(target_os = "linux")))]
pub(super) use portable::WakeFd;
#[cfg(not(unix))]
pub(super) use unsupported::WakeFd;

/// One eventfd: eight bytes, one descriptor.
#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

    use super::io;

    pub(crate) struct WakeFd(OwnedFd);

    impl WakeFd {
        pub(crate) fn new() -> io::Result<Self> {
            // SAFETY: takes no pointers.
            let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            if descriptor < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the descriptor was just made and nobody else has it.
            Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
        }

        #[allow(clippy::unnecessary_wraps)] // not every platform has one
        pub(crate) fn descriptor(&self) -> io::Result<i32> {
            Ok(self.0.as_raw_fd())
        }

        pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }

        pub(crate) fn set(&self) {
            let one = 1_u64;
            // SAFETY: `one` lives through the call and is eight bytes long. It can fail only when the counter is
            // full, and then the descriptor is readable already.
            unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
        }

        pub(crate) fn clear(&self) {
            let mut count = 0_u64;
            // SAFETY: `count` lives through the call and is eight bytes long. It can fail only when nothing was set.
            unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
        }
    }
}

/// A pair of sockets, where there is no eventfd.
#[cfg(all(unix, not(target_os = "linux")))]
mod portable {
    use std::{
        io::{Read, Write},
        os::{
            fd::{AsFd, AsRawFd, BorrowedFd},
            unix::net::UnixStream,
        },
    };

    use super::io;

    pub(crate) struct WakeFd {
        reader: UnixStream,
        writer: UnixStream,
    }

    impl WakeFd {
        pub(crate) fn new() -> io::Result<Self> {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            writer.set_nonblocking(true)?;
            Ok(Self { reader, writer })
        }

        #[allow(clippy::unnecessary_wraps)] // not every platform has one
        pub(crate) fn descriptor(&self) -> io::Result<i32> {
            Ok(self.reader.as_raw_fd())
        }

        pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
            self.reader.as_fd()
        }

        pub(crate) fn set(&self) {
            // Full means readable already.
            let _ = (&self.writer).write(&[1]);
        }

        pub(crate) fn clear(&self) {
            let mut bytes = [0; 64];
            while matches!((&self.reader).read(&mut bytes), Ok(64)) {}
        }
    }
}

/// No descriptor that a loop could watch: the loop is called by a thread instead.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, clippy::unused_self)] // as the one that there is on Unix
mod unsupported {
    use super::io;

    pub(crate) struct WakeFd;

    impl WakeFd {
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub(crate) fn descriptor(&self) -> io::Result<i32> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(crate) fn set(&self) {}

        pub(crate) fn clear(&self) {}
    }
}
