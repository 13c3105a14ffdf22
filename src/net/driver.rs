//! One task a connection: runs the session's actions and tells it what came of them.
//!
//! ```text
//!   step: the session takes an input, its actions are run, and the next activity is known
//!    ^                                                       |
//!    |                                                       v
//!    +-- input -- work: Rest (until a command), Token, Dial, Greet, Drive (until an event of the link), Sleep
//! ```

use std::{
    fmt,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use tokio::time::timeout_at;

use super::{
    awaited::Awaited,
    connection::Connection,
    hooks::Changes,
    io_thread::Io,
    link::{Event, Link},
    panics,
    recorder::Close,
    token::Lease,
    upgrade::Opened,
};
use crate::{
    core::{
        outbox::SessionEnd,
        session::{Input, Loss, Session, State},
        token::Token,
    },
    error::{Error, ErrorKind, Result},
    sync::Mutex,
};

mod actions;
mod attempting;
mod counting;
mod driving;
mod ending;
mod greeting;

use self::{
    driving::{DriveEvent, Driving},
    greeting::Greeting,
};

/// How long the close of a stream's session is waited for once the server has ended it: until then the end of the stream
/// is not known to whoever receives.
const STREAM_CLOSES_WITHIN: Duration = Duration::from_secs(1);

/// The activity of the driver until the next input.
enum Activity {
    /// Nothing: a command will come.
    Rest,
    Token {
        fresh: bool,
    },
    Dial {
        socket: u64,
    },
    Greet,
    Drive,
    Sleep(Duration),
}

struct Driver {
    connection: Arc<Connection>,
    io: Io,
    session: Session,
    work: Activity,
    token: Option<(Token, u64)>,
    /// The generation of the token that the server refused last.
    refused: Option<u64>,
    lease: Option<Lease>,
    /// Attempts since it was last open.
    attempts: u64,
    /// When the attempt under way began.
    attempt_began: Option<Instant>,
    /// The changes that the caller wants in the attempt under way, and in the session that it opens.
    changes: Option<Arc<Changes>>,
    driving: Driving,
    opened: Option<Opened>,
    /// The opening that the caller does before messages flow. Behind a lock that nobody waits for, so that it may be
    /// shared.
    greeting: Mutex<Option<Greeting>>,
    /// When the opening under way, token and all, must be over.
    open_by: Option<Instant>,
    /// A socket was open once.
    established: bool,
    /// How the session ended that whoever waits has not been told of.
    ended: Option<Error>,
    /// When the session, a stream that the server has ended, is closed by us if the server has not.
    closes_at: Option<Instant>,
    /// Its link has panicked, and the connection is over: nothing more is to be done.
    has_panicked: bool,
}

/// Runs a connection until it is closed. The driver exists from the call on, so that a connection whose thread stops
/// before the first poll is told, too.
pub(super) fn run(connection: Arc<Connection>, io: Io) -> impl Future<Output = ()> + Send {
    let session = Session::new(connection.shared.settings.session.clone());
    let mut driver = Driver {
        connection,
        io,
        session,
        work: Activity::Rest,
        token: None,
        refused: None,
        lease: None,
        attempts: 0,
        attempt_began: None,
        changes: None,
        driving: Driving::default(),
        opened: None,
        greeting: Mutex::new(None),
        open_by: None,
        established: false,
        ended: None,
        closes_at: None,
        has_panicked: false,
    };
    async move {
        if let Err(error) = panics::caught_in(driver.live()).await.and_then(|lived| lived) {
            driver.panicked(error);
        }
    }
}

impl Drop for Driver {
    /// The thread is being stopped: whoever waits is told.
    fn drop(&mut self) {
        if self.session.state() != State::Closed && !self.has_panicked {
            self.finish(Some(Error::closed(1001, "the interpreter is exiting")));
            // Who does not wait need not know.
            self.connection.shared.lock().boxes.failure_was_told();
        }
    }
}

impl Driver {
    /// Fails when its link has panicked.
    async fn live(&mut self) -> Result<()> {
        while self.session.state() != State::Closed {
            let input = self.work().await?;
            self.step(input);
        }
        Ok(())
    }

    async fn work(&mut self) -> Result<Input> {
        // Boxed: what only an opening needs would be a part of every connection's task for good.
        Ok(match std::mem::replace(&mut self.work, Activity::Rest) {
            Activity::Rest => self.commanded().await,
            Activity::Token { fresh } => Box::pin(self.fetch_token(fresh)).await,
            Activity::Dial { socket } => Box::pin(self.dial(socket)).await,
            Activity::Sleep(delay) => match Box::pin(self.or_closed(tokio::time::sleep(delay))).await {
                None => Input::Close,
                Some(()) => Input::Elapsed,
            },
            Activity::Greet => Box::pin(self.greet()).await?,
            Activity::Drive => self.drive().await?,
        })
    }

    /// The output of `work`, or an error when the opening that it is part of takes too long.
    fn in_time<T, W>(&mut self, what: &'static str, work: W) -> impl Future<Output = Result<T>> + use<T, W>
    where
        W: Future<Output = Result<T>>,
    {
        let limit = self.connection.shared.settings.open_timeout;
        let open_by = *self.open_by.get_or_insert_with(|| Instant::now() + limit);
        let (connection, awaited) = (self.connection.clone(), Awaited::default());
        async move {
            timeout_at(open_by.into(), awaited.by(work)).await.unwrap_or_else(|_| {
                Err(late(what, limit, connection.why_not_open().or_else(|| awaited.missing())))
            })
        }
    }

    /// The output of `work`, or `None` when the caller closes first.
    async fn or_closed<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                command = self.commanded() => match command {
                    Input::Close => return None,
                    // Others wait for the same opening; at most it now has somebody to be told.
                    other => {
                        self.session.handle(Instant::now(), 0.0, other);
                    }
                },
                output = &mut work => return Some(output),
            }
        }
    }

    async fn commanded(&self) -> Input {
        std::future::poll_fn(|context| {
            let mut inner = self.connection.shared.lock();
            if let Some(command) = inner.boxes.take_command(self.session.state() == State::Idle) {
                return Poll::Ready(command);
            }
            inner.parked = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    async fn drive(&mut self) -> Result<Input> {
        let socket = self.session.socket();
        let Some(event) = self.next_event().await else { return Ok(self.polled()) };
        let loss = match event {
            DriveEvent::CloseAsked => return Ok(Input::Close),
            DriveEvent::Pending => {
                self.with_link(Link::close);
                Driving::write_once(&self.connection);
                Loss::Close { code: 1000, reason: String::new() }
            }
            // Of a session that is over it says nothing.
            DriveEvent::Event(Event::Unauthorized) if self.session.is_over() => {
                Loss::Broken(UNAUTHORIZED.to_owned())
            }
            DriveEvent::Event(Event::Unauthorized) => {
                let why = UNAUTHORIZED;
                let (_, traffic) = self.drop_link(SessionEnd::Refused, Close::abandoned(why));
                self.ended = Some(Error::closed(1006, why));
                return Ok(Input::Unauthorized { socket, traffic });
            }
            DriveEvent::Event(Event::SessionOver) => return Ok(Input::SessionOver { socket }),
            DriveEvent::Event(Event::Unused) => return Ok(Input::Unused { socket }),
            DriveEvent::Event(Event::Lost(loss)) => self.without_secrets(loss),
            DriveEvent::Event(Event::Panicked(error)) => return Err(error),
        };
        let end = match loss {
            _ if self.session.is_over() => SessionEnd::Regular,
            Loss::Close { code: 1000, .. } => SessionEnd::Regular,
            Loss::Close { code: 1008, .. } if !self.connection.shared.settings.session.raw => {
                SessionEnd::Refused
            }
            _ => SessionEnd::Lost,
        };
        let (unsent, traffic) = self.drop_link(end, Close::by_server(&loss));
        let ended =
            if self.session.is_given_up() { Error::closed(1000, "idle") } else { loss.clone().into_error() };
        self.ended = Some(ended);
        Ok(Input::Lost { socket, loss, unsent, traffic })
    }

    /// Drives the link until there is an event; `None`: the session wants to know what is under way.
    async fn next_event(&mut self) -> Option<DriveEvent> {
        // Whatever comes next is for the next session, which does not wait until the server has closed.
        let is_last = self.session.is_over();
        let (poll_at, closes_at) = (self.session.poll_at(), self.closes_at.filter(|_| is_last));
        let event = self.driving.next(&self.connection, is_last);
        if let Some(at) = closes_at {
            return Some(timeout_at(at.into(), event).await.unwrap_or(DriveEvent::Pending));
        }
        match poll_at {
            None => Some(event.await),
            Some(at) => timeout_at(at.into(), event).await.ok(),
        }
    }

    fn polled(&self) -> Input {
        let inner = self.connection.shared.lock();
        let boxes = &inner.boxes;
        let is_used = boxes.has_unsent() || !boxes.nothing_under_way();
        Input::Polled { socket: self.session.socket(), moved: boxes.moved(), is_used }
    }

    /// A server may repeat in its close reason what it was told.
    fn without_secrets(&self, loss: Loss) -> Loss {
        let Loss::Close { code, reason } = loss else { return loss };
        Loss::Close { code, reason: self.connection.shared.lock().secrets.quote(&reason) }
    }
}

fn late(what: &str, open_timeout: Duration, last: Option<Error>) -> Error {
    let message = format!("{what} after {open_timeout:?} (open_timeout)");
    // Attempts that took too long one after another say no more than the newest of them, and why one failed before.
    let last = match last {
        Some(late) if late.kind == ErrorKind::Timeout => late.cause().cloned(),
        other => other,
    };
    match last {
        None => Error::new(ErrorKind::Timeout, message).transient(),
        Some(last) => {
            let message = format!("{message}; the last attempt: {last}");
            let error = Error::new(ErrorKind::Timeout, message).transient();
            // What the server said of it: when it can be asked again, and by which id it knows the request.
            let error = match last.refusal() {
                Some(refusal) => error.with_refusal(refusal.clone()),
                None => error,
            };
            error.with_source(last)
        }
    }
}

/// How a session ended whose token was refused in band.
const UNAUTHORIZED: &str = "the server refused the session: Unauthorized";

/// The connection, as log records name it.
impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.connection.shared.settings.address.name())
    }
}

#[cfg(test)]
mod tests;
