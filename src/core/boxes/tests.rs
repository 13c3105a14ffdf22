#![allow(clippy::unwrap_used, clippy::panic)]

mod properties;
mod scenarios;
mod setup;
