//! Control frames: between messages, and before or behind a large one.

use bytes::Bytes;

use super::{Large, STAGING_BYTES, Writer};
use crate::{
    core::frame::{Control, write_control},
    net::mask_keys,
};

impl Writer {
    /// Frames a control message. It goes out before a large message of which nothing is written, and behind one that
    /// is partly written.
    pub(in crate::net) fn push_control(&mut self, kind: Control, payload: &[u8]) {
        if kind == Control::Ping {
            self.ping_waits = true;
        }
        self.unstage();
        let out = if self.large.as_ref().is_some_and(Large::is_partly_written) {
            &mut self.behind
        } else {
            self.borrow_buffer();
            &mut self.staging
        };
        write_control(out, kind, payload, mask_keys::next());
    }

    /// Answers a ping. While the peer does not take what is staged, only the newest of its pings will be answered (RFC
    /// 6455, section 5.5.3): a peer that pings and does not read would make the answers pile up.
    pub(in crate::net) fn push_pong(&mut self, payload: Bytes) {
        self.unstage();
        if self.staging.len() < STAGING_BYTES && !self.large.as_ref().is_some_and(Large::is_partly_written) {
            self.push_control(Control::Pong, &payload);
        } else {
            self.pong = Some(payload);
        }
    }

    /// Our ping is not with the operating system yet.
    pub(in crate::net) fn has_ping(&self) -> bool {
        self.ping_waits
    }

    /// Whether our ping, or some of what it waits behind, was taken by the operating system since this was last asked.
    pub(in crate::net) fn take_ping_moved(&mut self) -> bool {
        std::mem::take(&mut self.ping_moved)
    }
}
