//! A token's life: its value, its generation, and when it is to be refreshed.
//!
//! The default mint and `@fal-ai/client` agree on the schedule: refresh at 90 % of the expiration, counted
//! from the moment the token arrived; a failed refresh is tried again after another 5 %.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use fal_realtime::core::token::{Token, TokenState};
//!
//! let (start, second) = (Instant::now(), Duration::from_secs(1));
//! let mut state = TokenState::new(Some(120 * second));
//! state.minted(Token::new("eyJ0"), start);
//! assert_eq!(state.refresh_due(), Some(start + 108 * second));
//! assert_eq!(format!("{:?}", Token::new("eyJ0")), "***");
//! ```

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

/// A string that is never shown: `Debug` and `Display` print `***`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Arc<str>);

/// A token as it goes into the address of a connection.
pub type Token = Secret;

impl Secret {
    /// Hides `value`.
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Self(value.into())
    }

    /// The hidden value, for the request that needs it and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Credentials prove to fal who asks: a key, or what a login gave.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// How it goes into the header `Authorization`.
    pub scheme: Scheme,
    /// The key, or the login's token.
    pub secret: Secret,
}

impl Credentials {
    /// A key (`key_id:key_secret`).
    pub fn key(secret: impl Into<Secret>) -> Self {
        Self { scheme: Scheme::Key, secret: secret.into() }
    }

    /// The secret and its parts, the longest first: what no text is to repeat.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let secret = self.secret.expose();
        std::iter::once(secret).chain(secret.split(':').filter(move |part| part.len() < secret.len()))
    }

    /// The value of `Authorization`. **Holds the secret**: never log it.
    pub fn authorization(&self) -> String {
        let scheme = match self.scheme {
            Scheme::Key => "Key",
            Scheme::Bearer => "Bearer",
        };
        format!("{scheme} {}", self.secret.expose())
    }
}

/// The schemes of `Authorization` that fal knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// A key.
    Key,
    /// The access token of a login.
    Bearer,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self::new(value)
    }
}

/// The shortest expiration that is honoured: below it the refresh would do nothing but refresh.
pub const MIN_EXPIRATION: Duration = Duration::from_secs(1);

/// The current token, its generation and its refresh deadline.
///
/// Generations count the tokens from 1; 0 means that there has been none yet.
#[derive(Debug)]
pub struct TokenState {
    expiration: Option<Duration>,
    generation: u64,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    token: Token,
    /// `None`: never.
    expires: Option<Instant>,
    refresh: Option<Instant>,
}

impl TokenState {
    /// No token yet. Tokens expire `expiration` after they arrive (at least [`MIN_EXPIRATION`]); with `None`
    /// they neither expire nor are refreshed.
    pub fn new(expiration: Option<Duration>) -> Self {
        let expiration = expiration.map(|expiration| expiration.max(MIN_EXPIRATION));
        Self { expiration, generation: 0, current: None }
    }

    /// A token arrived at `now`. Returns its generation.
    pub fn minted(&mut self, token: Token, now: Instant) -> u64 {
        self.generation += 1;
        self.current = Some(Current {
            token,
            // An expiration too far away for the clock is one that never comes.
            expires: self.expiration.and_then(|expiration| now.checked_add(expiration)),
            refresh: self.expiration.and_then(|expiration| now.checked_add(expiration / 10 * 9)),
        });
        self.generation
    }

    /// A refresh failed at `now`: the next is due after 5 % of the expiration, but not sooner than in `at_least`. The
    /// current token stays.
    pub fn refresh_failed(&mut self, now: Instant, at_least: Duration) {
        let retry = self.expiration.and_then(|expiration| now.checked_add(at_least.max(expiration / 20)));
        if let Some(current) = &mut self.current {
            current.refresh = retry;
        }
    }

    /// When the current token is to be refreshed; `None` without a token or an expiration.
    pub fn refresh_due(&self) -> Option<Instant> {
        self.current.as_ref()?.refresh
    }

    /// The current token and its generation, if it has not expired at `now` and is newer than generation
    /// `newer_than`.
    pub fn usable(&self, newer_than: Option<u64>, now: Instant) -> Option<(Token, u64)> {
        let current = self.current.as_ref()?;
        let expired = current.expires.is_some_and(|expires| expires <= now);
        let stale = newer_than.is_some_and(|generation| self.generation <= generation);
        (!expired && !stale).then(|| (current.token.clone(), self.generation))
    }

    /// The generation of the last token; 0 when there has been none.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn refresh_is_due_at_ninety_percent_and_again_after_five() {
        let start = Instant::now();
        let mut state = TokenState::new(Some(MINUTE));
        assert_eq!(state.refresh_due(), None);
        assert_eq!(state.minted("a".into(), start), 1);
        assert_eq!(state.refresh_due(), Some(start + Duration::from_secs(54)));
        state.refresh_failed(start + Duration::from_secs(54), Duration::ZERO);
        assert_eq!(state.refresh_due(), Some(start + Duration::from_secs(57)));
        state.refresh_failed(start + Duration::from_secs(57), MINUTE);
        assert_eq!(state.refresh_due(), Some(start + MINUTE + Duration::from_secs(57)));
        assert_eq!(state.minted("b".into(), start + MINUTE), 2);
        assert_eq!(state.refresh_due(), Some(start + MINUTE + Duration::from_secs(54)));
    }

    #[test]
    fn expired_and_refused_tokens_are_not_usable() {
        let start = Instant::now();
        let mut state = TokenState::new(Some(MINUTE));
        assert_eq!(state.usable(None, start), None);
        state.minted("a".into(), start);
        let nearly = start + Duration::from_nanos(59_999_999_999);
        assert_eq!(state.usable(None, nearly), Some(("a".into(), 1)));
        assert_eq!(state.usable(Some(0), nearly), Some(("a".into(), 1)));
        assert_eq!(state.usable(Some(1), nearly), None);
        assert_eq!(state.usable(None, start + MINUTE), None);
    }

    #[test]
    fn without_an_expiration_a_token_lives_for_ever() {
        let start = Instant::now();
        let mut state = TokenState::new(None);
        state.minted("a".into(), start);
        state.refresh_failed(start, Duration::ZERO);
        assert_eq!(state.refresh_due(), None);
        assert!(state.usable(None, start + Duration::from_secs(1 << 30)).is_some());
    }

    #[test]
    fn extreme_expirations_neither_spin_nor_overflow() {
        let start = Instant::now();
        let mut state = TokenState::new(Some(Duration::ZERO));
        state.minted("a".into(), start);
        assert_eq!(state.refresh_due(), Some(start + Duration::from_millis(900)));
        let mut state = TokenState::new(Some(Duration::MAX));
        state.minted("a".into(), start);
        assert_eq!(state.refresh_due(), None);
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut state = TokenState::new(Some(MINUTE));
        state.minted("hunter2".into(), Instant::now());
        let shown = format!("{state:?} {}", Secret::from("hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
