//! Tests of the framing.
