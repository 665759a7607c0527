//! `multipart/related` as it arrives (RFC 2046 §5.1.1): one part after the other, none of them whole in memory.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};

/// The most bytes of what stands before the first part, and of the headers of one.
const MOST_BESIDE: usize = 16 * 1024;
/// The longest boundary. RFC 2046 §5.1.1 allows 70 letters; Orthanc takes 73.
const LONGEST_BOUNDARY: usize = 200;
/// How long the next bytes may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A body of parts can't be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is not built as it should be.
    Form(&'static str),
    /// The connection ended, or nothing more came.
    BrokenOff,
}

/// The parts of a body.
pub struct Parts<S> {
    stream: S,
    /// `CRLF--boundary`.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    at: Place,
}

/// How far it was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Preamble,
    /// Behind a delimiter.
    Boundary,
    Within,
    Over,
}

/// The parameters of a content type: names in lower case, values without their quotes.
pub fn parameters(content_type: &str) -> (String, Vec<(String, String)>) {
    let mut pieces = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for letter in content_type.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => {
                escaped = true;
                continue;
            }
            '"' => {
                quoted = !quoted;
                continue;
            }
            ';' if !quoted => {
                pieces.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(letter);
        }
    }
    let mut pieces = pieces.into_iter();
    let media = pieces.next().unwrap_or_default().trim().to_ascii_lowercase();
    let parameters = pieces.filter_map(|piece| {
        let (name, value) = piece.split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    });
    (media, parameters.collect())
}

impl<S, E> Parts<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    /// With the boundary of a content type; none: it is no boundary.
    pub fn new(stream: S, boundary: &str) -> Option<Self> {
        let is_right = !boundary.is_empty() && boundary.len() <= LONGEST_BOUNDARY && boundary.is_ascii();
        is_right.then(|| Parts {
            stream,
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // So that the first delimiter is like the others.
            buffer: BytesMut::from(&b"\r\n"[..]),
            at: Place::Preamble,
        })
    }

    /// Reads more; an end is one too early.
    async fn more(&mut self) -> Result<(), Wrong> {
        match tokio::time::timeout(PATIENCE, self.stream.next()).await {
            Ok(Some(Ok(bytes))) => {
                self.buffer.extend_from_slice(&bytes);
                Ok(())
            }
            // Whoever says that this was all will say the same again.
            Ok(None) => Err(Wrong::Form("they end before their last boundary")),
            Ok(Some(Err(_))) | Err(_) => Err(Wrong::BrokenOff),
        }
    }

    /// The headers of the next part: names in lower case; none: there is none. What is left of the one before is passed
    /// over.
    pub async fn next(&mut self) -> Result<Option<Vec<(String, String)>>, Wrong> {
        let mut passed = 0;
        while self.at == Place::Preamble {
            if let Some(at) = find(&self.buffer, &self.delimiter) {
                self.buffer.advance(at + self.delimiter.len());
                self.at = Place::Boundary;
                break;
            }
            // What can't be a part of a delimiter any more.
            let sure = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
            passed += sure;
            if MOST_BESIDE < passed {
                return Err(Wrong::Form("there is no part at its beginning"));
            }
            self.buffer.advance(sure);
            self.more().await?;
        }
        while self.at == Place::Within {
            self.chunk().await?;
        }
        if self.at == Place::Over {
            return Ok(None);
        }
        // After the delimiter: two hyphens end it all, blanks are filling.
        loop {
            if self.buffer.starts_with(b"--") {
                self.at = Place::Over;
                return Ok(None);
            }
            let filling = self
                .buffer
                .iter()
                .take_while(|byte| matches!(byte, b' ' | b'\t'))
                .count();
            if MOST_BESIDE < filling {
                return Err(Wrong::Form("a boundary is followed by blanks without end"));
            }
            match self.buffer.get(filling..filling + 2) {
                Some(b"\r\n") => {
                    // The line end stays: headers may be none, and end with an empty line.
                    self.buffer.advance(filling);
                    break;
                }
                Some(_) => {
                    return Err(Wrong::Form(
                        "a boundary is followed by something else than a line end",
                    ));
                }
                None => self.more().await?,
            }
        }
        let end = loop {
            let found = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = found {
                break end;
            }
            if MOST_BESIDE < self.buffer.len() {
                return Err(Wrong::Form("the headers of a part are too long"));
            }
            self.more().await?;
        };
        let text = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.advance(end + 4);
        self.at = Place::Within;
        let headers = text.split("\r\n").filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        });
        Ok(Some(headers.collect()))
    }

    /// The next bytes of the part; none: it has ended.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Wrong> {
        while self.at == Place::Within {
            let found = find(&self.buffer, &self.delimiter);
            match found {
                Some(0) => {
                    self.buffer.advance(self.delimiter.len());
                    self.at = Place::Boundary;
                }
                Some(at) => return Ok(Some(self.buffer.split_to(at).freeze())),
                None => {
                    // Its end may be the beginning of a delimiter.
                    let sure = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
                    if 0 < sure {
                        return Ok(Some(self.buffer.split_to(sure).freeze()));
                    }
                    self.more().await?;
                }
            }
        }
        Ok(None)
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == b'\r') {
        let at = from + at;
        if bytes[at..].starts_with(what) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    type Read = Vec<(Vec<(String, String)>, Vec<u8>)>;

    async fn read(body: &[u8], piece: usize) -> Result<Read, Wrong> {
        let pieces: Vec<Result<Bytes, Infallible>> = body
            .chunks(piece)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let stream = futures_util::stream::iter(pieces);
        let mut parts = Parts::new(stream, "b 1").unwrap();
        let mut all = vec![];
        while let Some(headers) = parts.next().await? {
            let mut bytes = vec![];
            while let Some(chunk) = parts.chunk().await? {
                bytes.extend_from_slice(&chunk);
            }
            all.push((headers, bytes));
        }
        Ok(all)
    }

    #[tokio::test]
    async fn parts_are_read_however_they_are_cut() {
        let body = b"preamble\r\n--b 1  \r\nContent-Type: application/dicom\r\nX: y\r\n\r\none\r\n--b \r\n\r\r\n--b 1\r\n\r\n\r\n--b 1\r\nA:b\r\n\r\nthree\r\n--b 1--\r\nepilogue";
        for piece in 1..body.len() {
            let all = read(body, piece).await.unwrap();
            let bodies: Vec<&[u8]> = all.iter().map(|(_, bytes)| &bytes[..]).collect();
            assert_eq!(bodies, [&b"one\r\n--b \r\n\r"[..], b"", b"three"], "{piece}");
            assert_eq!(
                all[0].0[0],
                ("content-type".to_owned(), "application/dicom".to_owned())
            );
            assert!(all[1].0.is_empty());
        }
        let empty = read(b"--b 1--", 3).await.unwrap();
        assert!(empty.is_empty());
    }

    const UNFINISHED: Wrong = Wrong::Form("they end before their last boundary");

    #[tokio::test]
    async fn what_is_no_such_body_is_refused() {
        for (body, wrong) in [
            (&b"--b 1\r\n\r\nfor ever"[..], UNFINISHED),
            (b"", UNFINISHED),
            (b"--b 1\r\nA: b", UNFINISHED),
            (
                b"--b 1xx\r\n\r\n",
                Wrong::Form("a boundary is followed by something else than a line end"),
            ),
            (&[b'x'; 40_000], Wrong::Form("there is no part at its beginning")),
            (
                &[&b"--b 1\r\n"[..], &[b'x'; 40_000]].concat(),
                Wrong::Form("the headers of a part are too long"),
            ),
        ] {
            assert_eq!(read(body, 1000).await, Err(wrong));
        }
        let nothing = futures_util::stream::empty::<Result<Bytes, Infallible>>();
        assert!(Parts::new(nothing, "").is_none());
    }

    #[test]
    fn parameters_may_be_quoted() {
        let (media, parameters) =
            parameters("Multipart/Related; TYPE=\"application/dicom\"; boundary=\"a;\\\"b\" ; x");
        assert_eq!(media, "multipart/related");
        let parameters: Vec<(&str, &str)> = parameters.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        assert_eq!(parameters, [("type", "application/dicom"), ("boundary", "a;\"b")]);
    }
}
