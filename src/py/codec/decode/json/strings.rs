//! Strings, with their escape sequences (RFC 8259, section 7).

use std::borrow::Cow;

use super::{JsonDecoder, Outcome, budget};

impl<'a> JsonDecoder<'a, '_> {
    /// Reads a string, which the opening quote was seen of: UTF-8, but for escaped lone surrogates, which have the
    /// form that UTF-8 would give them.
    pub(super) fn string(&mut self) -> Outcome<Cow<'a, [u8]>> {
        self.at += 1;
        let mut unescaped = Vec::new();
        loop {
            let (text, start) = (self.text.as_bytes(), self.at);
            let plain = |byte: &u8| !matches!(byte, b'"' | b'\\' | 0..=0x1f);
            self.at += text[start..].iter().take_while(|byte| plain(byte)).count();
            let run = &text[start..self.at];
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    let text = if unescaped.is_empty() {
                        Cow::from(run)
                    } else {
                        unescaped.extend_from_slice(run);
                        Cow::from(unescaped)
                    };
                    // Characters beyond ASCII take up to four bytes each.
                    let width = if text.is_ascii() { 1 } else { 4 };
                    self.budget
                        .spend(budget::HEADER_BYTES.saturating_add(text.len().saturating_mul(width)))?;
                    return Ok(text);
                }
                Some(b'\\') => {
                    unescaped.extend_from_slice(run);
                    self.escape(&mut unescaped)?;
                }
                Some(_) => return Err(self.expected("a control character to be escaped")),
                None => return Err(self.expected("the closing quote")),
            }
        }
    }

    /// Reads an escape sequence, which the backslash was seen of, to the end of `to`.
    fn escape(&mut self, to: &mut Vec<u8>) -> Outcome<()> {
        self.at += 1;
        let escaped = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 8,
            Some(b'f') => 0xc,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape(to);
            }
            _ => return Err(self.expected("an escape sequence")),
        };
        self.at += 1;
        to.push(escaped);
        Ok(())
    }

    /// Reads the digits of a `\u` escape, and the second half of a surrogate pair if it follows.
    fn unicode_escape(&mut self, to: &mut Vec<u8>) -> Outcome<()> {
        let first = self.four_hex_digits()?;
        if let Some(character) = char::from_u32(first) {
            to.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(());
        }
        let after = self.at;
        if first < 0xdc00 && self.skip(b'\\') && self.skip(b'u') {
            let second = self.four_hex_digits()?;
            if (0xdc00..0xe000).contains(&second)
                && let Some(character) =
                    char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
            {
                to.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
        }
        // It stands alone, and what follows is read for itself.
        self.at = after;
        to.extend_from_slice(&[
            0xe0 | (first >> 12) as u8,
            0x80 | (first >> 6 & 0x3f) as u8,
            0x80 | (first & 0x3f) as u8,
        ]);
        Ok(())
    }

    fn four_hex_digits(&mut self) -> Outcome<u32> {
        let mut number = 0;
        for _ in 0..4 {
            match self.peek().and_then(|byte| char::from(byte).to_digit(16)) {
                Some(digit) => number = number << 4 | digit,
                None => return Err(self.expected("four hexadecimal digits")),
            }
            self.at += 1;
        }
        Ok(number)
    }
}
