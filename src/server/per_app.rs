//! Settings that hold for one app, or for all that have none of their own.

use std::collections::HashMap;

/// A setting by the name of the app.
#[derive(Debug)]
pub(super) struct PerApp<T> {
    all: Option<T>,
    by_app: HashMap<String, T>,
}

impl<T> Default for PerApp<T> {
    fn default() -> Self {
        Self { all: None, by_app: HashMap::new() }
    }
}

impl<T> PerApp<T> {
    /// Sets it for an app, or for all together: then what was set for single ones is forgotten.
    pub(super) fn set(&mut self, app: Option<&str>, value: Option<T>) {
        let Some(app) = app else {
            self.by_app.clear();
            self.all = value;
            return;
        };
        match value {
            Some(value) => self.by_app.insert(app.to_owned(), value),
            None => self.by_app.remove(app),
        };
    }

    /// The setting that holds for an app; `None`: for a path that is none.
    pub(super) fn get_mut(&mut self, app: Option<&str>) -> Option<&mut T> {
        app.and_then(|app| self.by_app.get_mut(app)).or(self.all.as_mut())
    }

    /// Removes what holds for an app where `is_over` says so.
    pub(super) fn remove_if(&mut self, is_over: impl Fn(&T) -> bool) {
        self.by_app.retain(|_, value| !is_over(value));
        self.all.take_if(|value| is_over(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_has_its_own_or_that_of_all() {
        let mut settings = PerApp::default();
        settings.set(Some("a/b"), Some(1));
        assert_eq!(settings.get_mut(Some("a/b")), Some(&mut 1));
        assert_eq!(settings.get_mut(Some("a/c")), None);
        settings.set(None, Some(2));
        assert_eq!(settings.get_mut(Some("a/b")), Some(&mut 2));
        assert_eq!(settings.get_mut(None), Some(&mut 2));
        settings.set(Some("a/b"), Some(3));
        settings.set(Some("a/b"), None);
        assert_eq!(settings.get_mut(Some("a/b")), Some(&mut 2));
        settings.remove_if(|value| *value == 2);
        assert_eq!(settings.get_mut(None), None);
    }
}
