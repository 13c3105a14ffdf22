//! Limits of both directions of the codec.

/// The depth to which containers may nest, in messages of both directions. The outermost container is level 1.
pub(super) const MAX_DEPTH: usize = 256;
