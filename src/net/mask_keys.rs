//! Mask keys, which a peer must not be able to predict (RFC 6455, section 5.3): from the operating system's generator,
//! many at a time, since a call for each would cost more than the rest of a small frame.

use std::cell::RefCell;

/// The bytes that are fetched at once: 256 keys.
const REFILL_BYTES: usize = 1024;

struct MaskKeys {
    random: [u8; REFILL_BYTES],
    used: usize,
}

thread_local! {
    static KEYS: RefCell<MaskKeys> = const { RefCell::new(MaskKeys { random: [0; REFILL_BYTES], used: REFILL_BYTES }) };
}

/// A key that was never used before.
pub(super) fn next() -> [u8; 4] {
    KEYS.with_borrow_mut(|keys| {
        if let Some(key) = keys.random.get(keys.used..).and_then(<[u8]>::first_chunk) {
            keys.used += 4;
            return *key;
        }
        if getrandom::fill(&mut keys.random).is_err() {
            // No generator, as in a sandbox without it: a key that is less hard to predict is better than no
            // connection.
            fastrand::fill(&mut keys.random);
        }
        keys.used = 4;
        let [a, b, c, d, ..] = keys.random;
        [a, b, c, d]
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn keys_differ_over_many_refills() {
        let keys: HashSet<_> = (0..4096).map(|_| super::next()).collect();
        // Of 4,096 random ones two agree now and then.
        assert!(keys.len() > 4090, "{}", keys.len());
    }
}
