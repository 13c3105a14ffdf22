//! The payload of a close frame: RFC 6455, sections 5.5.1 and 7.4.

use std::str;

use super::{MAX_CONTROL_PAYLOAD, Message, Violation};

/// Stands for "the close frame held no code". Never written.
const NO_CODE: u16 = 1005;

/// Whether a code may be written in a close frame: those that RFC 6455 and the IANA registry define for endpoints,
/// and those of libraries (3000 to 3999) and applications (4000 to 4999).
pub const fn may_close_with(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Reads the payload of a close frame.
pub(super) fn parse(payload: &[u8]) -> Result<Message, Violation> {
    let Some((&code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(Message::Close { code: NO_CODE, reason: String::new() })
        } else {
            Err(Violation::protocol("close frame with half a code"))
        };
    };
    let code = u16::from_be_bytes(code);
    if !may_close_with(code) {
        return Err(Violation::protocol("close code that may not be sent"));
    }
    let Ok(reason) = str::from_utf8(reason) else {
        return Err(Violation::not_utf8("close reason is not UTF-8"));
    };
    Ok(Message::Close { code, reason: reason.to_owned() })
}

/// The payload of a close frame, for [`write_control`](super::write_control). A reason that does not fit (123
/// bytes) is cut between two characters. A code that may not be sent (1005, say) gives the empty payload, which
/// means "no code".
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    if !may_close_with(code) {
        return Vec::new();
    }
    let reason = fitting_reason(reason);
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    payload
}

/// The part of a close frame's reason that fits beside its code: 123 bytes, cut between two characters.
pub fn fitting_reason(reason: &str) -> &str {
    let mut end = reason.len().min(MAX_CONTROL_PAYLOAD - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}
