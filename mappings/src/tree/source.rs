//! Bytes as text, and the text with edits as bytes again: what was not edited is copied, never written anew.

use std::borrow::Cow;
use std::ops::Range;

use clinic::exchange::{MapError, Reason};

use crate::hl7v2::Charset;

/// The bytes of a document and its text.
pub struct Source<'a> {
    bytes: &'a [u8],
    /// The length of the byte order mark.
    mark: usize,
    charset: Charset,
    /// The text, without byte order mark.
    pub text: Cow<'a, str>,
}

/// A piece of the text and what stands there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The piece; empty to insert.
    pub at: Range<usize>,
    /// What is written there.
    pub text: String,
}

impl Edit {
    /// Puts a text in place of a piece.
    pub fn new(at: Range<usize>, text: impl Into<String>) -> Self {
        Edit {
            at,
            text: text.into(),
        }
    }
}

impl<'a> Source<'a> {
    /// By the byte order mark, else by what the document declares, else by what the channel says, else UTF-8.
    pub fn read(
        bytes: &'a [u8],
        declared: Option<Charset>,
        otherwise: Option<Charset>,
    ) -> Result<Self, MapError> {
        let (charset, mark) = match bytes {
            [0xEF, 0xBB, 0xBF, ..] => (Charset::Utf8, 3),
            [0xFF, 0xFE, ..] => (Charset::Utf16Le, 2),
            [0xFE, 0xFF, ..] => (Charset::Utf16Be, 2),
            _ => (declared.or(otherwise).unwrap_or(Charset::Utf8), 0),
        };
        if let Charset::Other(encoding) = charset
            && !encoding.is_single_byte()
        {
            return Err(MapError::new(
                Reason::DataType,
                None,
                format!(
                    "The charset {} is not read here. Send it as UTF-8.",
                    charset.name()
                ),
            ));
        }
        let Some(text) = charset.decode(&bytes[mark..]) else {
            let what = format!(
                "A byte that does not exist in {}. Correct the charset at the sender, or the `charset` of the channel.",
                charset.name()
            );
            let place = (charset == Charset::Utf8)
                .then(|| std::str::from_utf8(&bytes[mark..]).err())
                .flatten()
                .map(|error| {
                    let right = String::from_utf8_lossy(&bytes[mark..mark + error.valid_up_to()]);
                    let (line, column) = super::line_and_column(&right, right.len());
                    format!("{line}:{column}")
                });
            return Err(MapError::new(Reason::DataType, place.as_deref(), what));
        };
        Ok(Source {
            bytes,
            mark,
            charset,
            text,
        })
    }

    /// The bytes with the edits in place, which do not overlap.
    pub fn edited(&self, mut edits: Vec<Edit>) -> Result<Vec<u8>, MapError> {
        edits.sort_by_key(|edit| (edit.at.start, edit.at.end));
        let mut out =
            Vec::with_capacity(self.bytes.len() + edits.iter().map(|edit| edit.text.len()).sum::<usize>());
        let mut cursor = Cursor {
            text: 0,
            byte: self.mark,
        };
        let mut copied = 0;
        for edit in &edits {
            let start = self.byte_of(edit.at.start, &mut cursor);
            out.extend_from_slice(self.bytes.get(copied..start).unwrap_or_default());
            out.extend(
                self.charset
                    .encode(&edit.text)
                    .map_err(|error| MapError::new(Reason::DataType, None, error.to_string()))?,
            );
            copied = self.byte_of(edit.at.end, &mut cursor);
        }
        out.extend_from_slice(self.bytes.get(copied..).unwrap_or_default());
        Ok(out)
    }

    /// The place in the bytes of a place in the text that is not before the last one asked for.
    fn byte_of(&self, at: usize, cursor: &mut Cursor) -> usize {
        let piece = self.text.get(cursor.text..at).unwrap_or_default();
        cursor.byte += match self.charset {
            Charset::Utf8 | Charset::Ascii => piece.len(),
            Charset::Utf16Le | Charset::Utf16Be => 2 * piece.chars().map(char::len_utf16).sum::<usize>(),
            Charset::Latin1
            | Charset::Latin2
            | Charset::Cyrillic
            | Charset::Latin9
            | Charset::Latin10
            | Charset::Windows1250
            | Charset::Windows1251
            | Charset::Windows1252
            | Charset::Other(_) => piece.chars().count(),
        };
        cursor.text = at.max(cursor.text);
        cursor.byte
    }
}

/// The same place in text and bytes.
struct Cursor {
    text: usize,
    byte: usize,
}
