//! Acknowledged bytes: how much of what was sent the peer's system has acknowledged, as Linux tells.

use super::Tcp;
use crate::core::heartbeat::Sent;

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        ffi::c_void,
        mem::size_of_val,
        os::fd::{AsRawFd, RawFd},
    };

    use super::{Sent, Tcp};

    /// The places in `struct tcp_info` (linux/tcp.h) of the fields that are read here. It only ever grows at its end.
    const PROBES: usize = 3;
    const UNACKED: usize = 24;
    const BYTES_ACKED: usize = 120;
    const NOTSENT_BYTES: usize = 144;
    /// The bytes that a system fills that knows all of them: Linux 4.6 and newer.
    const KNOWN_BYTES: usize = NOTSENT_BYTES + 4;

    /// `None` where the system does not say so much.
    pub(super) fn sent(tcp: &Tcp) -> Option<Sent> {
        let descriptor = match tcp {
            Tcp::Polled(tcp) => tcp.as_raw_fd(),
            Tcp::Registered(tcp) => tcp.as_raw_fd(),
        };
        // In this order: what is acknowledged in between makes the sum larger than what was given, never smaller.
        let unacknowledged = queued(descriptor)?;
        let info = info(descriptor)?;
        let number = |at: usize| Some(u32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?));
        let acknowledged = u64::from_ne_bytes(info.get(BYTES_ACKED..BYTES_ACKED + 8)?.try_into().ok()?);
        // One probe may be on its way.
        let answers = info.get(PROBES).is_some_and(|probes| *probes <= 1);
        Some(Sent {
            given: acknowledged.saturating_add(unacknowledged),
            acknowledged,
            is_held_back: number(NOTSENT_BYTES)? > 0 && number(UNACKED)? == 0 && answers,
        })
    }

    /// The bytes that the system was given and the peer's has not acknowledged.
    fn queued(descriptor: RawFd) -> Option<u64> {
        let mut queued: libc::c_int = 0;
        // SAFETY: the descriptor is open, since its owner is borrowed by the caller, and the request (called SIOCOUTQ
        // for sockets) writes one int, for which there is room.
        let outcome = unsafe { libc::ioctl(descriptor, libc::TIOCOUTQ, &raw mut queued) };
        if outcome == 0 { u64::try_from(queued).ok() } else { None }
    }

    fn info(descriptor: RawFd) -> Option<[u8; KNOWN_BYTES]> {
        let mut info = [0_u8; KNOWN_BYTES];
        let mut size = size_of_val(&info) as libc::socklen_t;
        // SAFETY: the descriptor is open, since its owner is borrowed by the caller, and the system writes at most
        // `size` bytes, which is the size of `info`.
        let outcome = unsafe {
            libc::getsockopt(
                descriptor,
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast::<c_void>(),
                &raw mut size,
            )
        };
        (outcome == 0 && size as usize == KNOWN_BYTES).then_some(info)
    }
}

/// How many of the bytes sent so far the peer's system has acknowledged; `None` where the system does not tell.
#[cfg(target_os = "linux")]
pub(super) fn sent(tcp: &Tcp) -> Option<Sent> {
    linux::sent(tcp)
}

/// How many of the bytes sent so far the peer's system has acknowledged: this system does not tell.
#[cfg(not(target_os = "linux"))]
pub(super) fn sent(_tcp: &Tcp) -> Option<Sent> {
    None
}
