//! Reads the head of an HTTP/1.1 answer from a raw stream, within bounds.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The most that the head of an answer may take, interim answers included.
pub(crate) const MAX_HEAD_BYTES: usize = 16 * 1024;
/// The most header fields that an answer may have.
pub(crate) const MAX_HEADERS: usize = 100;
const READ_BYTES: usize = 4 * 1024;

/// The head of a final answer.
#[derive(Debug)]
pub(crate) struct Head {
    /// The status code.
    pub(crate) status: u16,
    /// Whether the version is HTTP/1.1 (else 1.0).
    pub(crate) http11: bool,
    headers: Vec<(String, Bytes)>,
}

impl Head {
    /// All values of a header field, whatever the case of its name.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| &value[..])
    }

    /// Whether one of the comma-separated values of a header field is `token`, whatever its case.
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        lists_token(self.values(name), token)
    }
}

/// Whether one of the comma-separated values of a header's fields is `token`, whatever its case.
pub(crate) fn lists_token<'a>(mut fields: impl Iterator<Item = &'a [u8]>, token: &str) -> bool {
    let is_token = |part: &[u8]| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes());
    fields.any(|field| field.split(|byte| *byte == b',').any(is_token))
}

/// Why no head could be read.
#[derive(Debug)]
pub(crate) enum HeadError {
    /// The connection broke.
    Io(std::io::Error),
    /// The peer closed the connection before the head was complete; `true` if part of it had come.
    Closed(bool),
    /// What came is no HTTP answer, or it is too large.
    Malformed(String),
}

/// Reads until the head of a final answer is complete; interim answers (1xx but 101) are skipped. What came
/// behind the head stays in `buffer`.
pub(crate) async fn read_head<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
) -> Result<Head, HeadError> {
    let mut budget = MAX_HEAD_BYTES;
    loop {
        if let Some((length, head)) = parse(buffer)? {
            budget = budget.checked_sub(length).ok_or_else(too_large)?;
            buffer.advance(length);
            if head.status == 101 || head.status >= 200 {
                return Ok(head);
            }
            continue;
        }
        loop {
            if buffer.len() >= budget {
                return Err(too_large());
            }
            let seen = buffer.len();
            buffer.reserve(READ_BYTES);
            if stream.read_buf(buffer).await.map_err(HeadError::Io)? == 0 {
                return Err(HeadError::Closed(seen > 0));
            }
            // A head ends in a line end, and a peer that dribbles it must not make us parse it at each byte.
            if buffer[seen..].contains(&b'\n') {
                break;
            }
        }
    }
}

fn too_large() -> HeadError {
    HeadError::Malformed(format!("its head is larger than {MAX_HEAD_BYTES} bytes"))
}

fn parse(buffer: &[u8]) -> Result<Option<(usize, Head)>, HeadError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let length = match answer.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(HeadError::Malformed(format!("it has more than {MAX_HEADERS} header fields")));
        }
        Err(error) => return Err(HeadError::Malformed(format!("it is not HTTP ({error})"))),
    };
    let owned =
        |header: &httparse::Header<'_>| (header.name.to_owned(), Bytes::copy_from_slice(header.value));
    let head = Head {
        status: answer.code.unwrap_or_default(),
        http11: answer.version == Some(1),
        headers: answer.headers.iter().map(owned).collect(),
    };
    Ok(Some((length, head)))
}
