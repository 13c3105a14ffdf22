//! The tokens of one client: connections to the same app share one.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{shared::SharedToken, source::TokenSource};
use crate::sync::Mutex;

/// The key of a token: connections with equal ones share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenKey {
    /// The app id with its path: `owner/alias/realtime`.
    pub app_path: String,
    /// The identity of the token provider; `None` is the default mint.
    pub provider: Option<usize>,
    /// The expiration that was asked for.
    pub expiration: Option<Duration>,
    /// The body of the token request, where it is not the default.
    pub body: Option<String>,
}

/// The tokens of one client. Tokens nobody holds any more leave the store.
#[derive(Default)]
pub struct TokenStore {
    tokens: Mutex<HashMap<TokenKey, Weak<SharedToken>>>,
}

impl fmt::Debug for TokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenStore").field("len", &self.len()).finish()
    }
}

impl TokenStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The token of `key`, made from the source that `make` gives if there is none.
    pub fn shared(&self, key: TokenKey, make: impl FnOnce() -> Arc<dyn TokenSource>) -> Arc<SharedToken> {
        if let Some(token) = self.tokens.lock().get(&key).and_then(Weak::upgrade) {
            return token;
        }
        // `make` is the caller's code: it runs without the lock, and loses against whoever was faster.
        let fresh = SharedToken::new(make());
        let mut tokens = self.tokens.lock();
        if let Some(token) = tokens.get(&key).and_then(Weak::upgrade) {
            return token;
        }
        tokens.retain(|_, token| token.strong_count() > 0);
        tokens.insert(key, Arc::downgrade(&fresh));
        fresh
    }

    /// How many entries the store holds.
    pub fn len(&self) -> usize {
        self.tokens.lock().len()
    }

    /// Whether the store holds no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
