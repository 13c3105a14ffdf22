//! Boxes without a socket: the test is the link and the server.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    core::{
        boxes::{Boxes, Interest, Limits, Offered},
        frame::MessageKind,
        inbound::{Dialect, Inbound},
        inbox::HIGH_WATER_BYTES,
        message::{Outgoing, RequestKey},
        outbox::{Lane, Leftover, SessionEnd, Written},
        session::State,
    },
    error::Error,
};

pub(super) struct Sides {
    pub(super) boxes: Boxes,
    /// What the link has taken and not written.
    pub(super) taken: Vec<Outgoing>,
    /// How long the newest answer took.
    pub(super) took: Cell<Option<Duration>>,
    pub(super) now: Instant,
}

impl Sides {
    pub(super) fn new(streaming: bool, max_buffering: Option<u8>) -> Self {
        let boxes = Boxes::new(Limits {
            throttle_interval: Duration::ZERO,
            max_buffering,
            read_ahead: HIGH_WATER_BYTES,
            streaming,
        });
        Self { boxes, taken: Vec::new(), took: Cell::new(None), now: Instant::now() }
    }

    /// Those of a connection whose first session is open.
    pub(super) fn open() -> Self {
        let mut sides = Self::new(false, None);
        sides.opens();
        sides
    }

    pub(super) fn opens(&mut self) -> Interest {
        self.boxes.session_began(self.now);
        self.boxes.opened(self.boxes.openings() > 0);
        self.boxes.set_state(State::Active, None)
    }

    pub(super) fn send(&mut self, request: Option<RequestKey>) -> Result<Offered, Error> {
        let message = Outgoing { payload: vec![1].into(), kind: MessageKind::Binary, request };
        self.boxes.offer(self.now, message, Lane::Direct, false).map(|(offered, _)| offered)
    }

    pub(super) fn request(&mut self, id: &str) -> Result<RequestKey, Error> {
        let key = self.boxes.add_request(id)?;
        self.send(Some(key))?;
        Ok(key)
    }

    /// The link takes what is queued.
    pub(super) fn take(&mut self) {
        while let Some(message) = self.boxes.outbox.take() {
            if let Some(key) = message.request {
                self.boxes.inbox.requests.set_sent(key, Some(self.now));
            }
            self.taken.push(message);
        }
    }

    /// The link has written all that it took.
    pub(super) fn write(&mut self) -> Interest {
        self.take();
        let bytes = self.taken.iter().map(|message| message.payload.len()).sum();
        let messages = self.taken.len();
        self.taken.clear();
        self.boxes.wrote(Written { messages, bytes })
    }

    /// The server says this.
    pub(super) fn says(&mut self, texts: &[&str]) -> Interest {
        let mut inbound = Inbound::new(Dialect::Fal);
        inbound.expects_answers = self.boxes.inbox.requests.any_waiting();
        for text in texts {
            inbound.take(MessageKind::Text, Bytes::copy_from_slice(text.as_bytes()));
        }
        let hidden = |error: Error| {
            let message = error.message.replace("secret", "***");
            error.with_message(message)
        };
        self.boxes.receive(&mut inbound, Some(self.now), hidden, |took| self.took.set(Some(took)))
    }

    /// The socket is lost, with `torn` of the messages that the link had taken in part on the wire.
    pub(super) fn loses_link(&mut self, torn: usize, end: SessionEnd) -> Interest {
        let torn = torn.min(self.taken.len()).min(1);
        let torn = self.taken.drain(..torn).map(|message| message.request).collect();
        let untouched = self.taken.drain(..).collect();
        self.boxes.lose_link(Leftover { untouched, torn, written: Written::default() }, end)
    }

    /// What became of a request, in a word: of its error the message.
    pub(super) fn outcome(&mut self, key: RequestKey) -> Option<Result<(), Error>> {
        self.boxes.inbox.take_answer(key).map(|outcome| outcome.map(drop))
    }

    #[track_caller]
    pub(super) fn assert_sums(&self) {
        let s = self.boxes.stats();
        assert_eq!(
            s.accepted,
            s.written + s.coalesced + s.dropped + s.failed + s.withdrawn + s.pending,
            "{s:?}"
        );
        assert!(s.unanswered <= s.written, "{s:?}");
        assert_eq!(s.received, s.delivered + s.received_dropped + s.late + s.received_pending, "{s:?}");
    }
}
