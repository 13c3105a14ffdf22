//! An open socket without a waiter: reads and writes what can be read and written now, plain or through TLS.
//!
//! Whoever has it drives it, on whichever thread. Nothing that was read stays in it between two turns: what the session
//! of TLS holds is read before the socket is, so that a socket that is not readable has nothing.

use std::{
    cell::RefCell,
    io::{self, BufRead, ErrorKind, Write},
    sync::Arc,
};

use bytes::BufMut;
use rustls::ClientConnection;

use super::transport::Stream;
use crate::core::heartbeat::Sent;

mod acknowledged;
mod tcp;

pub(super) use tcp::Tcp;

/// The bytes that TLS reads from the socket at once. rustls itself asks for 4 KiB at a time.
const TLS_READ_BYTES: usize = 64 << 10;

thread_local! {
    /// The buffer for TLS records of this thread, while no socket holds it.
    static RECORDS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An open socket.
pub(super) struct Socket {
    tcp: Tcp,
    tls: Option<Box<Tls>>,
    /// The last read got less than it asked for: there is nothing more for now.
    drained: bool,
}

/// A TLS session over the socket.
struct Tls {
    session: ClientConnection,
    /// Records that were read and not yet given to the session.
    records: Vec<u8>,
    /// How much of them was given.
    given: usize,
}

impl Socket {
    /// The socket of a stream whose handshakes are over. `polled`: a poller will watch it, else tokio does.
    pub(super) fn new(stream: Stream, polled: bool) -> io::Result<Self> {
        let (tcp, tls) = match stream {
            Stream::Plain(tcp) => (tcp, None),
            Stream::Tls(tls) => {
                let (tcp, session) = tls.into_inner();
                (tcp, Some(Box::new(Tls { session, records: Vec::new(), given: 0 })))
            }
        };
        Ok(Self {
            tcp: if polled { Tcp::Polled(Arc::new(tcp.into_std()?)) } else { Tcp::Registered(tcp) },
            tls,
            drained: false,
        })
    }

    /// Whether it speaks TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The TCP connection below.
    pub(super) fn tcp(&self) -> &Tcp {
        &self.tcp
    }

    /// How many of the bytes sent so far the peer's system has acknowledged; `None` where the system does not tell.
    pub(super) fn sent(&self) -> Option<Sent> {
        acknowledged::sent(&self.tcp)
    }

    /// The socket may have become readable since it was last read.
    pub(super) fn may_be_readable(&mut self) {
        self.drained = false;
    }

    /// Reads what is there into `buffer`; 0 at the end of the stream, `WouldBlock` when there is nothing now.
    pub(super) fn read_into(&mut self, buffer: &mut impl BufMut) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return read_tcp(&self.tcp, &mut self.drained, buffer) };
        loop {
            match tls.session.reader().fill_buf() {
                Ok(plain) => {
                    let count = plain.len().min(buffer.remaining_mut());
                    buffer.put_slice(plain.get(..count).unwrap_or_default());
                    tls.session.reader().consume(count);
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if tls.records.is_empty() {
                tls.read_records(&self.tcp, &mut self.drained)?;
            }
            tls.give_records(&self.tcp)?;
        }
    }

    /// Like [`read_into`](Self::read_into), where that can be with what there is beyond `buffer`, in `beyond`, by the
    /// same system call.
    #[cfg_attr(not(unix), allow(unused_variables))] // no such call is made there
    pub(super) fn read_beyond(
        &mut self,
        buffer: &mut impl BufMut,
        beyond: &mut impl BufMut,
    ) -> io::Result<usize> {
        match &self.tcp {
            #[cfg(unix)]
            Tcp::Polled(tcp) if self.tls.is_none() => {
                if self.drained {
                    return Err(ErrorKind::WouldBlock.into());
                }
                let room = buffer.remaining_mut() + beyond.remaining_mut();
                let count = tcp::receive_beyond(tcp, buffer, beyond)?;
                self.drained = (1..room).contains(&count);
                Ok(count)
            }
            _ => self.read_into(buffer),
        }
    }

    /// Something was read from the system that has not been read from here: nobody will be called for it.
    pub(super) fn has_unread(&mut self) -> bool {
        self.tls.as_mut().is_some_and(|tls| {
            !tls.records.is_empty() || tls.session.reader().fill_buf().is_ok_and(|plain| !plain.is_empty())
        })
    }

    /// Whether there is something to be flushed.
    pub(super) fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.session.wants_write())
    }
}

/// Reads what there is, unless the last read has shown that this is nothing.
fn read_tcp(tcp: &Tcp, drained: &mut bool, buffer: &mut impl BufMut) -> io::Result<usize> {
    if *drained {
        return Err(ErrorKind::WouldBlock.into());
    }
    let room = buffer.remaining_mut();
    let count = tcp.read_into(buffer)?;
    // The end of the stream, too, comes with a readiness of its own. tokio wants to be asked until there is nothing.
    *drained = count < room && count > 0 && matches!(tcp, Tcp::Polled(_));
    Ok(count)
}

impl Tls {
    /// Reads records for [`Tls::give_records`]; without any, the stream has ended.
    fn read_records(&mut self, tcp: &Tcp, drained: &mut bool) -> io::Result<()> {
        let mut buffer = RECORDS.take();
        buffer.try_reserve_exact(TLS_READ_BYTES).map_err(|_| ErrorKind::OutOfMemory)?;
        match read_tcp(tcp, drained, &mut (&mut buffer).limit(TLS_READ_BYTES)) {
            Ok(0) => {
                RECORDS.set(buffer);
                // So the session learns of the end; it then knows whether it was announced.
                self.session.read_tls(&mut io::empty()).map(drop)
            }
            Ok(_) => {
                (self.records, self.given) = (buffer, 0);
                Ok(())
            }
            Err(error) => {
                RECORDS.set(buffer);
                Err(error)
            }
        }
    }

    /// Lets the session decrypt as many records as it has room for.
    fn give_records(&mut self, tcp: &Tcp) -> io::Result<()> {
        let mut rest = self.records.get(self.given..).unwrap_or_default();
        while !rest.is_empty() {
            let count = self.session.read_tls(&mut rest)?;
            self.given += count;
            if let Err(error) = self.session.process_new_packets() {
                // The alert that says why, if there is room for it.
                let _ = self.session.write_tls(&mut &*tcp);
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
            if count == 0 || self.session.reader().fill_buf().is_ok_and(|plain| !plain.is_empty()) {
                break;
            }
        }
        if self.given == self.records.len() && !self.records.is_empty() {
            self.records.clear();
            RECORDS.set(std::mem::take(&mut self.records));
        }
        Ok(())
    }

    /// Writes what is encrypted, until the system takes no more.
    fn flush(&mut self, tcp: &Tcp) -> io::Result<()> {
        while self.session.wants_write() {
            if self.session.write_tls(&mut &*tcp)? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

impl Write for Socket {
    /// Writes what the system, or the session of TLS, takes now; `WouldBlock` when that is nothing.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return (&self.tcp).write(bytes) };
        // A session that is full of what the system has not taken yet would take nothing, which is no error.
        tls.flush(&self.tcp)?;
        let taken = tls.session.writer().write(bytes)?;
        match tls.flush(&self.tcp) {
            // What was taken will be flushed.
            Err(error) if error.kind() == ErrorKind::WouldBlock && taken > 0 => Ok(taken),
            outcome => outcome.map(|()| taken),
        }
    }

    /// Hands to the system what was written; `WouldBlock` when it takes no more for now.
    fn flush(&mut self) -> io::Result<()> {
        self.tls.as_mut().map_or(Ok(()), |tls| tls.flush(&self.tcp))
    }
}

#[cfg(test)]
mod tests;
