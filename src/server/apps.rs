//! The apps by name, and what a request's path says about them.

use std::{collections::HashMap, sync::Arc};

use crate::{
    core::endpoint::{DEFAULT_PATH, alias_index},
    sync::RwLock,
};

use super::config::AppOptions;

/// How inputs and results of a session relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
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
    pub(super) name: String,
    pub(super) handler: Handler,
    /// Of a built-in one.
    pub(super) options: AppOptions,
}

/// The apps by name.
#[derive(Debug, Default)]
pub(super) struct Apps {
    by_name: RwLock<HashMap<String, Arc<App>>>,
}

impl Apps {
    pub(super) fn insert(&self, name: &str, handler: Handler, options: AppOptions) {
        let name = name.trim_matches('/').to_owned();
        let app = App { name: name.clone(), handler, options };
        self.by_name.write().insert(name, Arc::new(app));
    }

    /// Whether there is an app of that name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.by_name.read().contains_key(name)
    }

    /// What a path addresses. An app `owner/alias` has the route `/realtime`, and none of its own; one whose name has
    /// more segments has that route.
    pub(super) fn resolve(&self, path: &str) -> Route {
        let apps = self.by_name.read();
        let path = path.trim_matches('/');
        let default =
            path.strip_suffix(DEFAULT_PATH).filter(|name| name.split('/').count() == id_segments(path));
        if let Some(app) = apps.get(path).or_else(|| apps.get(default?)) {
            return Route::To(Arc::clone(app));
        }
        let id = app_id(path);
        if apps.keys().any(|name| app_id(name) == id) { Route::Unknown } else { Route::UnknownApp }
    }
}

/// What a path addresses.
#[derive(Debug)]
pub(super) enum Route {
    To(Arc<App>),
    /// The app is there, but has no such route.
    Unknown,
    UnknownApp,
}

/// How many segments of a path name the app.
fn id_segments(path: &str) -> usize {
    alias_index(path) + 1
}

/// The segments of a path that name the app.
fn app_id(path: &str) -> Vec<&str> {
    path.split('/').take(id_segments(path)).collect()
}

/// Whether a token that names `allowed` opens `path`. fal's tokens name the alias, newer documentation the whole path.
pub(super) fn allows(allowed: &str, path: &str) -> bool {
    let path = path.trim_matches('/');
    let allowed = allowed.trim_matches('/');
    path.split('/').nth(alias_index(path)) == Some(allowed)
        || path
            .strip_prefix(allowed)
            .is_some_and(|rest| allowed.contains('/') && (rest.is_empty() || rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apps(names: &[&str]) -> Apps {
        let apps = Apps::default();
        for name in names {
            apps.insert(name, Handler::Builtin(Builtin::Echo), AppOptions::default());
        }
        apps
    }

    #[test]
    fn a_path_addresses_a_route_of_an_app() {
        let apps = apps(&["local/echo", "local/routes/a", "workflows/me/flow"]);
        let found = |path| matches!(apps.resolve(path), Route::To(_));
        assert!(found("/local/echo"));
        assert!(found("/local/echo/realtime"));
        assert!(found("/local/routes/a"));
        assert!(found("/workflows/me/flow/realtime"));
        for path in [
            "/local/echo/other",
            "/local/echo/realtime/realtime",
            "/local/routes",
            "/local/routes/a/realtime",
        ] {
            assert!(matches!(apps.resolve(path), Route::Unknown), "{path}");
        }
        for path in ["/local/echo2/realtime", "/local", "/"] {
            assert!(matches!(apps.resolve(path), Route::UnknownApp), "{path}");
        }
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
