//! The link that a poller drives, as both see it.

/// Which side does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A thread of the caller's: the loop's, one that sends, or one that waits in a blocking call.
    Caller,
    /// The I/O thread, which may take its time.
    IoThread,
}

/// A connection's link, as whoever polls sees it.
pub trait Driven: Send + Sync {
    /// Its socket is readable: reads, and writes what follows from that.
    fn on_readable(&self, side: Side);
    /// Its socket is writable again.
    fn on_writable(&self);
    /// Its output is to be written by the I/O thread.
    fn on_unwritten(&self);
    /// Whether it will probably read much, which is better done without the GIL.
    fn reads_much(&self) -> bool;
    /// Something that a caller has kept back, output that waits for more or its socket, may be nobody's by now: sees to
    /// it.
    fn on_held(&self) -> Held;
}

/// Something that a caller keeps back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Nothing.
    No,
    /// Output that waits for more.
    Corked,
    /// The socket, which a blocking caller has waited for lately.
    Borrowed,
}
