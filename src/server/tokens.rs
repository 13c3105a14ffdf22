//! Tokens: issued with a lifetime for some apps, verified at the handshake.

use std::{
    collections::HashMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;

use super::apps::allows;

/// The number of tokens from which on the expired ones are forgotten when the next is issued.
const SWEEP_FROM_TOKENS: usize = 4096;

struct Grant {
    apps: Vec<String>,
    expires: Instant,
}

/// What a token says of itself.
#[derive(Serialize)]
struct Claims<'a> {
    allowed_apps: &'a [String],
    lifetime: f64,
}

/// All tokens that may still be used. Knows no clock: `now` is an argument.
#[derive(Default)]
pub(super) struct Tokens {
    grants: HashMap<String, Grant>,
}

impl Tokens {
    /// A new token for `apps`. It has a JWT's shape; its signature is random, since only this server verifies it.
    pub(super) fn issue(&mut self, now: Instant, apps: Vec<String>, lifetime: Duration) -> String {
        if self.grants.len() >= SWEEP_FROM_TOKENS {
            self.grants.retain(|_, grant| grant.expires > now);
        }
        let mut token = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let claims = Claims { allowed_apps: &apps, lifetime: lifetime.as_secs_f64() };
        let signature: [u64; 4] = std::array::from_fn(|_| fastrand::u64(..));
        let _ = write!(token, ".{}.", BASE64_URL_SAFE_NO_PAD.encode(serde_json::json!(claims).to_string()));
        for word in signature {
            let _ = write!(token, "{word:016x}");
        }
        self.grants.insert(token.clone(), Grant { apps, expires: now + lifetime });
        token
    }

    /// Whether the token is known, not expired and names the app of `path`.
    pub(super) fn verify(&self, now: Instant, token: &str, path: &str) -> bool {
        self.grants
            .get(token)
            .is_some_and(|grant| grant.expires > now && grant.apps.iter().any(|app| allows(app, path)))
    }

    /// Ends the life of every token issued so far.
    pub(super) fn expire_all(&mut self) {
        self.grants.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_token_lives_until_its_expiration() {
        let (mut tokens, now) = (Tokens::default(), Instant::now());
        let token = tokens.issue(now, vec!["echo".into()], MINUTE);
        assert!(tokens.verify(now + MINUTE / 2, &token, "/local/echo"));
        assert!(!tokens.verify(now + MINUTE, &token, "/local/echo"));
    }

    #[test]
    fn expiring_all_ends_every_token() {
        let (mut tokens, now) = (Tokens::default(), Instant::now());
        let token = tokens.issue(now, vec!["echo".into()], MINUTE);
        tokens.expire_all();
        assert!(!tokens.verify(now, &token, "/local/echo"));
    }

    #[test]
    fn expired_tokens_do_not_pile_up() {
        let (mut tokens, now) = (Tokens::default(), Instant::now());
        for _ in 0..SWEEP_FROM_TOKENS {
            tokens.issue(now, vec!["echo".into()], MINUTE);
        }
        tokens.issue(now + MINUTE, vec!["echo".into()], MINUTE);
        assert_eq!(tokens.grants.len(), 1);
    }
}
