//! The messages of an opening, which go before what waits for it, and are for that session alone.

use std::collections::VecDeque;

use super::{MAX_QUEUED, MAX_QUEUED_BYTES, Outbox};
use crate::core::{
    message::{Outgoing, RequestKey},
    ring::Weigh,
};

/// The queue of an opening: its messages stand in front of all others.
#[derive(Debug, Default)]
pub(super) struct OpeningQueue {
    /// While this session is being opened, all others wait.
    session: Option<u64>,
    queue: VecDeque<Outgoing>,
    bytes: usize,
}

impl OpeningQueue {
    /// Whether messages of this session's opening are taken.
    pub(super) fn is_of(&self, session: u64) -> bool {
        self.session == Some(session)
    }

    /// Whether all other messages wait.
    pub(super) fn is_under_way(&self) -> bool {
        self.session.is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn front(&self) -> Option<&Outgoing> {
        self.queue.front()
    }

    pub(super) fn pop(&mut self) -> Option<Outgoing> {
        let message = self.queue.pop_front()?;
        self.bytes = self.bytes.saturating_sub(message.weight());
        Some(message)
    }

    fn push(&mut self, message: Outgoing) -> Result<(), Outgoing> {
        let bytes = self.bytes.saturating_add(message.weight());
        let is_full = self.queue.len() >= MAX_QUEUED || bytes > MAX_QUEUED_BYTES;
        if is_full && !self.queue.is_empty() {
            return Err(message);
        }
        self.bytes = bytes;
        self.queue.push_back(message);
        Ok(())
    }

    fn remove(&mut self, request: RequestKey) -> bool {
        let Some(place) = self.queue.iter().position(|message| message.request == Some(request)) else {
            return false;
        };
        let removed = self.queue.remove(place);
        self.bytes = self.bytes.saturating_sub(removed.map_or(0, |message| message.weight()));
        true
    }
}

impl Outbox {
    /// A session is being opened: until [`Outbox::opened`] only messages of the lane of its opening are written.
    pub fn opens(&mut self, session: u64) {
        self.opening.session = Some(session);
    }

    /// The opening is done: the other messages may go, behind those of the opening.
    pub fn opened(&mut self) {
        self.opening.session = None;
    }

    /// Whether a session is being opened.
    pub fn is_opening(&self) -> bool {
        self.opening.is_under_way()
    }

    pub(super) fn accept_in_opening(&mut self, message: Outgoing) -> Result<(), Outgoing> {
        self.opening.push(message)?;
        self.accepted += 1;
        Ok(())
    }

    /// The session is gone: what was sent in its opening and has not been written fails. Returns the requests among it.
    pub fn fail_opening(&mut self) -> Vec<RequestKey> {
        let opening = std::mem::take(&mut self.opening);
        self.failed += opening.queue.len() as u64;
        opening.queue.into_iter().filter_map(|message| message.request).collect()
    }

    pub(super) fn withdraw_from_opening(&mut self, request: RequestKey) -> bool {
        let is_there = self.opening.remove(request);
        self.withdrawn += u64::from(is_there);
        is_there
    }
}
