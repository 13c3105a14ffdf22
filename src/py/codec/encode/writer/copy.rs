//! Copying short runs of bytes, which is most of what writing a message does.

use std::ptr;

/// Copies `from` to `to`. Short copies are done here, with two moves that may overlap: most keys and values are
/// shorter than a call of `memcpy` takes.
///
/// # Safety
///
/// `to` is valid for writes of `from.len()` bytes and does not overlap `from`.
#[inline]
pub(super) unsafe fn copy(from: &[u8], to: *mut u8) {
    /// Copies the first and the last `N` bytes of `from`, which together are all of it.
    ///
    /// # Safety
    ///
    /// As for [`copy`], and `from` has `N` bytes at least.
    #[inline]
    unsafe fn ends<const N: usize>(from: &[u8], to: *mut u8) {
        let last = from.len() - N;
        // SAFETY: `N <= from.len()`, and `to` has room for `from`.
        unsafe {
            let head = from.as_ptr().cast::<[u8; N]>().read_unaligned();
            let tail = from.as_ptr().add(last).cast::<[u8; N]>().read_unaligned();
            to.cast::<[u8; N]>().write_unaligned(head);
            to.add(last).cast::<[u8; N]>().write_unaligned(tail);
        }
    }
    // SAFETY: the caller's promise, and each arm has the length that `ends` needs.
    unsafe {
        match from.len() {
            0 => {}
            1..4 => {
                ends::<1>(from, to);
                *to.add(from.len() / 2) = from[from.len() / 2];
            }
            4..8 => ends::<4>(from, to),
            8..=16 => ends::<8>(from, to),
            17..=32 => ends::<16>(from, to),
            _ => ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()),
        }
    }
}
