//! The link's socket, whose half that writes the callers' threads may have while the link has nothing to write.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_rustls::client::TlsStream;

use crate::net::transport::Stream;

/// An open socket.
pub(super) enum Socket {
    /// Without TLS; its half that writes is `None` while it is lent.
    Plain(OwnedReadHalf, Option<OwnedWriteHalf>),
    /// With TLS, whose two directions share their state: it is not lent.
    Tls(Box<TlsStream<TcpStream>>),
}

impl From<Stream> for Socket {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Plain(tcp) => {
                let (read, write) = tcp.into_split();
                Self::Plain(read, Some(write))
            }
            Stream::Tls(tls) => Self::Tls(tls),
        }
    }
}

impl Socket {
    /// Gives the half that writes away, if there is one.
    pub(super) fn lend(&mut self) -> Option<OwnedWriteHalf> {
        match self {
            Self::Plain(_, write) => write.take(),
            Self::Tls(_) => None,
        }
    }

    /// Takes it back.
    pub(super) fn take_back(&mut self, half: OwnedWriteHalf) {
        if let Self::Plain(_, write) = self {
            *write = Some(half);
        }
    }

    /// The half that writes is here.
    pub(super) fn can_write(&self) -> bool {
        !matches!(self, Self::Plain(_, None))
    }
}

fn lent<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::Error::other("the half of the socket that writes is lent")))
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(read, _) => Pin::new(read).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(_, Some(write)) => Pin::new(write).poll_write(cx, buf),
            Self::Plain(_, None) => lent(),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_, Some(write)) => Pin::new(write).poll_flush(cx),
            Self::Plain(_, None) => lent(),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_, Some(write)) => Pin::new(write).poll_shutdown(cx),
            Self::Plain(_, None) => lent(),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
