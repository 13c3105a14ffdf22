//! Results that belong to no request: how many they are, which tells why a request that waits has no answer.

/// The number of results that belong to no request, as far as that was checked: while requests wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unmatched {
    /// They have no `request_id`.
    pub without_id: u64,
    /// They have one that no request waits for, and that none which has ended had.
    pub with_other_id: u64,
}

impl Unmatched {
    /// Those that came after `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            without_id: self.without_id.saturating_sub(before.without_id),
            with_other_id: self.with_other_id.saturating_sub(before.with_other_id),
        }
    }
}
