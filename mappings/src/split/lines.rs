//! Files of one record a line.

use std::borrow::Cow;

use clinic::exchange::MapError;

use super::{Limits, Part, Parts, wrong};

pub(super) fn split<'a>(
    bytes: &'a [u8],
    header: bool,
    quoted: bool,
    limits: &Limits,
) -> Result<Vec<Part<'a>>, MapError> {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err(wrong(
            "line 1",
            "the file is UTF-16; have it written as UTF-8 or in a charset of one byte",
        ));
    }
    let bytes = bytes.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(bytes);
    let mut parts = Parts::new(limits);
    let mut first: Option<&[u8]> = None;
    for record in Records::new(bytes, quoted) {
        let record = record?;
        let place = format!("line {}", record.line);
        match first {
            None if header => first = Some(record.bytes),
            None => parts.push(place, None, Cow::Borrowed(record.bytes))?,
            Some(first) => {
                parts.room(&place, first.len().saturating_add(record.bytes.len()))?;
                parts.push(place, None, Cow::Owned([first, record.bytes].concat()))?;
            }
        }
    }
    if parts.parts.is_empty() && first.is_none() {
        return Err(wrong("line 1", "the file has no line that is not blank"));
    }
    Ok(parts.parts)
}

/// A line with its end, or several where a value in quotes goes over them.
struct Record<'a> {
    line: usize,
    bytes: &'a [u8],
}

struct Records<'a> {
    rest: &'a [u8],
    line: usize,
    quoted: bool,
}

impl<'a> Records<'a> {
    fn new(bytes: &'a [u8], quoted: bool) -> Self {
        Records {
            rest: bytes,
            line: 1,
            quoted,
        }
    }

    /// The next line with its end; in quotes its ends are counted and passed over.
    fn take(&mut self) -> Result<Record<'a>, MapError> {
        let line = self.line;
        let mut inside = false;
        let mut at = 0;
        while let Some(&byte) = self.rest.get(at) {
            at += 1;
            match byte {
                b'"' if self.quoted => inside = !inside,
                b'\r' if self.rest.get(at) == Some(&b'\n') => {}
                b'\n' | b'\r' => {
                    self.line += 1;
                    if !inside {
                        break;
                    }
                }
                _ => {}
            }
        }
        if inside {
            return Err(wrong(
                &format!("line {line}"),
                "a quote is opened and never closed; the file may be cut",
            ));
        }
        let (bytes, rest) = self.rest.split_at(at);
        self.rest = rest;
        Ok(Record { line, bytes })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, MapError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            match self.take() {
                Ok(record) if record.bytes.trim_ascii().is_empty() => {}
                Ok(record) => return Some(Ok(record)),
                Err(error) => {
                    self.rest = &[];
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
