//! The embedded local server: fal's realtime protocol on loopback, for demos, tests and benches.
