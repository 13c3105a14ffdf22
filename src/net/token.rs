//! Tokens: where they come from, and how connections share them.

pub mod mint;
mod shared;
mod source;
mod store;

pub use self::{
    shared::{Lease, SharedToken},
    source::TokenSource,
    store::{TokenKey, TokenStore},
};
