//! An error that the server reports: which requests have no answer after it.

use super::Boxes;
use crate::error::{Error, ErrorKind};

impl Boxes {
    /// Fails every request that has no answer after this error: the one that it is `about`, if the server says which;
    /// all that the server has, if its session is over with it (`fatal`). Answers whether there was one.
    pub(super) fn server_failed(&mut self, error: &Error, fatal: bool, about: Option<&str>) -> bool {
        // As it was when the error came.
        let under_way = self.outbox.under_way(self.inbox.requests.open_and_sent());
        let named = about.is_some_and(|id| self.fail_named(id, error));
        if fatal {
            return self.fail_sent(error, under_way, about.is_some()) | named;
        }
        if about.is_some() {
            return named;
        }
        if self.fail_only_request(error, under_way) {
            return true;
        }
        // With this error, each message has had an answer: there will be none for these requests.
        let is_answer = !is_of_gateway(error);
        is_answer && self.outbox.session_awaits() == 0 && self.fail_sent(error, under_way, false)
    }

    /// Fails the request with this id, if it waits and the server has it.
    fn fail_named(&mut self, id: &str, error: &Error) -> bool {
        let requests = &mut self.inbox.requests;
        let Some(key) = requests.waiting(id).filter(|key| requests.is_open_and_sent(*key)) else {
            return false;
        };
        requests.fail(key, error.clone());
        true
    }

    /// Fails every request that the server has.
    fn fail_sent(&mut self, error: &Error, under_way: u64, is_about_another: bool) -> bool {
        let error = if is_about_another {
            error.clone().with_message(format!("{error} (it is about another input)")).transient()
        } else {
            of_one_of(error, under_way)
        };
        self.inbox.requests.fail_waiting(|sent| sent, &error) > 0
    }

    /// Fails the only request that an error can be about which does not end the session, if there is only one.
    fn fail_only_request(&mut self, error: &Error, under_way: u64) -> bool {
        let Some(key) = self.inbox.requests.only_sent() else { return false };
        self.inbox.requests.fail(key, of_one_of(error, under_way));
        true
    }
}

/// The error of one of so many inputs that were under way, of which the server does not say which. Where it can have
/// been another one, trying again can help.
fn of_one_of(error: &Error, under_way: u64) -> Error {
    if under_way <= 1 {
        return error.clone();
    }
    let hint = format!(
        "{under_way} inputs, or less, were under way, and the server does not say which of them failed"
    );
    error.clone().with_message(format!("{error} ({hint})")).transient()
}

/// Whether fal's gateway reports that the app refused the handshake which the gateway had accepted.
pub(super) fn is_of_gateway(error: &Error) -> bool {
    matches!(&error.kind, ErrorKind::Realtime { error, .. } if error == crate::core::envelope::GATEWAY_ERROR)
}
