//! An attempt to open a socket: the caller is asked, a token fetched, the address dialled.

use std::sync::Arc;

use super::Driver;
use crate::{
    core::{endpoint::append_query, session::Input, token::Token},
    error::{Error, ErrorKind, Result},
    net::{
        connection::Connection,
        hooks::{Attempt, Changes},
        settings::Address,
        target::Target,
        upgrade::{Opened, open_websocket},
    },
};

impl Driver {
    /// Gets a token.
    pub(super) async fn fetch_token(&mut self, fresh: bool) -> Input {
        self.begin_attempt();
        let was_given = self.changes.take().is_some_and(|changes| changes.token.is_some());
        if fresh && !was_given {
            self.refused = self.token.as_ref().map(|(_, generation)| *generation).or(self.refused);
        }
        match self.ask_before_attempt().await {
            Some(Ok(())) => {}
            Some(Err(NotMade::Failed(error))) => return Input::TokenFailed(error),
            Some(Err(NotMade::Stopped(error))) => return Input::Stopped(error),
            None => return Input::Close,
        }
        if self.changes.as_ref().is_some_and(|changes| changes.token.is_some()) {
            return Input::TokenReady;
        }
        // A token that took the place of a refused one is kept, for this and all later sockets.
        let newer_than = self.refused;
        let token = self.connection.shared.settings.token.clone();
        let lease = match &token {
            Some(token) if self.lease.is_none() => Some(token.lease(self.io.handle())),
            _ => None,
        };
        self.lease = self.lease.take().or(lease);
        let fetch = async move {
            match token {
                Some(token) => token.get(newer_than).await.map(Some),
                None => Ok(None),
            }
        };
        let fetch = self.in_time("there was no token", Box::pin(fetch));
        match self.or_closed(fetch).await {
            None => Input::Close,
            Some(Ok(token)) => {
                self.token = token;
                Input::TokenReady
            }
            Some(Err(error)) => Input::TokenFailed(error),
        }
    }

    /// Opens a socket.
    pub(super) async fn dial(&mut self, socket: u64) -> Input {
        if !self.connection.shared.settings.session.use_token {
            self.changes = None;
            match self.ask_before_attempt().await {
                Some(Ok(())) => {}
                Some(Err(NotMade::Failed(error))) => return Input::OpenFailed { socket, error },
                Some(Err(NotMade::Stopped(error))) => return Input::Stopped(error),
                None => return Input::Close,
            }
        }
        let (connection, token, changes) =
            (self.connection.clone(), self.current_token(), self.changes.clone());
        // Boxed: its state is large, and would be kept several times over.
        let dial = Box::pin(async move { dial(&connection, token.as_ref(), changes.as_deref()).await });
        let dialled = self.in_time("the connection was not open", dial);
        match self.or_closed(dialled).await {
            None => Input::Close,
            Some(Ok(opened)) => {
                self.opened = Some(opened);
                Input::Opened { socket }
            }
            Some(Err(error)) => Input::OpenFailed { socket, error },
        }
    }

    /// The token that this attempt shows.
    pub(super) fn current_token(&self) -> Option<Token> {
        let given = self.changes.as_ref().and_then(|changes| changes.token.clone());
        given.or_else(|| self.token.as_ref().map(|(token, _)| token.clone()))
    }

    /// Asks the caller, if he wants to be. `None`: he closes meanwhile.
    async fn ask_before_attempt(&mut self) -> Option<Result<(), NotMade>> {
        self.attempts += 1;
        let attempt = Attempt { number: self.attempts, last: self.session.last_error().cloned() };
        let Some(asked) = self.connection.hooks().and_then(|hooks| hooks.before_attempt(attempt)) else {
            return Some(Ok(()));
        };
        let asked = self.in_time("before_attempt was not done", asked);
        Some(match self.or_closed(asked).await? {
            Ok(Changes { stop: Some(reason), .. }) => {
                let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                let message = format!("before_attempt stopped the opening{why}");
                Err(NotMade::Stopped(Error::new(ErrorKind::Handshake { status: None }, message)))
            }
            Ok(changes) => {
                self.changes = Some(Arc::new(changes));
                Ok(())
            }
            Err(error) => Err(NotMade::Failed(error)),
        })
    }
}

/// Why an attempt is not made.
enum NotMade {
    /// The hook failed, which may pass.
    Failed(Error),
    /// The hook says that there are to be no more.
    Stopped(Error),
}

async fn dial(connection: &Connection, token: Option<&Token>, changes: Option<&Changes>) -> Result<Opened> {
    let settings = &connection.shared.settings;
    let query = changes.and_then(|changes| changes.query.as_ref());
    let url = match &settings.address {
        Address::App { endpoint, base_url, query: own } => {
            let mut url = endpoint.url(base_url, token.map(Token::expose), settings.max_buffering);
            append_query(&mut url, query.unwrap_or(own));
            url
        }
        Address::Url { url, query: own } => {
            let mut url = url.clone();
            append_query(&mut url, query.unwrap_or(own));
            url
        }
    };
    let own = changes.and_then(|changes| changes.headers.as_ref()).unwrap_or(&settings.own_headers);
    let headers = [&settings.headers[..], own].concat();
    let target = Target::parse(&url)?;
    connection.shared.lock().secrets.are_sent(&target.path_and_query, &headers);
    let opened = open_websocket(&target, &headers, &settings.transport).await;
    // A server may know the key, and repeat it, though it was not sent.
    opened.map_err(|error| connection.shared.lock().secrets.without(error))
}
