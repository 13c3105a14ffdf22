//! The apps by name, and what a request's path says about them.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;

use super::config::AppOptions;

/// How inputs and results of a session relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One result for each input.
    Unary,
    /// One input, many results, then the session ends.
    ServerStream,
    /// Many inputs, one result, then the session ends.
    ClientStream,
    /// Many inputs, many results.
    Bidi,
}

/// The apps that the server itself brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builtin {
    /// Answers each input with itself; waits `delay` seconds first.
    Echo,
    /// Answers with a JPEG of `width` x `height`, of `size` bytes if given; waits `delay` seconds first.
    Image,
    /// Answers one input with `count` results, `delay` seconds apart.
    Stream,
    /// Takes inputs until one has `final: true`, answers once.
    Collect,
    /// Answers each input until one has `end: true`.
    Bidi,
}

impl Builtin {
    /// Every built-in app with the name it has in options and, after `local/`, in paths.
    pub const ALL: [(&'static str, Self); 5] = [
        ("echo", Self::Echo),
        ("image", Self::Image),
        ("stream", Self::Stream),
        ("collect", Self::Collect),
        ("bidi", Self::Bidi),
    ];

    /// The built-in app of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, app)| *app)
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Echo | Self::Image => Kind::Unary,
            Self::Stream => Kind::ServerStream,
            Self::Collect => Kind::ClientStream,
            Self::Bidi => Kind::Bidi,
        }
    }
}

/// Who computes the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handler {
    Builtin(Builtin),
    /// Someone who takes [`Job`](super::Job)s; the number is theirs.
    External(u32),
}

/// One app.
#[derive(Debug)]
pub(super) struct App {
    pub(super) kind: Kind,
    pub(super) handler: Handler,
    pub(super) options: AppOptions,
}

/// The apps by name.
#[derive(Debug, Default)]
pub(super) struct Apps {
    by_name: RwLock<HashMap<String, Arc<App>>>,
}

impl Apps {
    pub(super) fn insert(&self, name: &str, app: App) {
        self.by_name.write().insert(name.trim_matches('/').to_owned(), Arc::new(app));
    }

    /// The app that a path addresses: the longest registered name that the path starts with, segment by segment.
    pub(super) fn resolve(&self, path: &str) -> Option<Arc<App>> {
        let apps = self.by_name.read();
        let mut name = path.trim_matches('/');
        loop {
            if let Some(app) = apps.get(name) {
                return Some(Arc::clone(app));
            }
            name = name.rsplit_once('/')?.0;
        }
    }
}

/// Whether a token that names `allowed` opens `path`. fal's tokens name the alias, newer documentation the whole path.
pub(super) fn allows(allowed: &str, path: &str) -> bool {
    let path = path.trim_matches('/');
    let allowed = allowed.trim_matches('/');
    let mut segments = path.split('/');
    let owner = segments.next();
    let alias = if matches!(owner, Some("workflows" | "comfy")) { segments.nth(1) } else { segments.next() };
    alias == Some(allowed)
        || path
            .strip_prefix(allowed)
            .is_some_and(|rest| allowed.contains('/') && (rest.is_empty() || rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> (Apps, String) {
        let apps = Apps::default();
        let handler = Handler::Builtin(Builtin::Echo);
        apps.insert(name, App { kind: Kind::Unary, handler, options: AppOptions::default() });
        (apps, name.to_owned())
    }

    #[test]
    fn a_path_addresses_the_app_that_it_starts_with() {
        let (apps, _) = app("local/echo");
        assert!(apps.resolve("/local/echo").is_some());
        assert!(apps.resolve("/local/echo/realtime").is_some());
        assert!(apps.resolve("/local/echo2/realtime").is_none());
        assert!(apps.resolve("/local").is_none());
        assert!(apps.resolve("/").is_none());
    }

    #[test]
    fn a_token_opens_its_alias_and_no_other() {
        assert!(allows("echo", "/local/echo/realtime"));
        assert!(allows("local/echo", "/local/echo/realtime"));
        assert!(allows("local/echo/realtime", "/local/echo/realtime"));
        assert!(!allows("local", "/local/echo/realtime"));
        assert!(!allows("ech", "/local/echo"));
        assert!(!allows("local/ech", "/local/echo"));
        assert!(!allows("realtime", "/local/echo/realtime"));
        assert!(!allows("", "/local/echo"));
    }

    #[test]
    fn in_a_namespace_the_alias_is_the_third_segment() {
        assert!(allows("alias", "/workflows/owner/alias/realtime"));
        assert!(!allows("owner", "/workflows/owner/alias/realtime"));
        assert!(allows("alias", "/comfy/owner/alias"));
    }
}
