//! Changes of single values in a message, all else byte for byte as it came: line ends, charset, odd delimiters,
//! text lines and blank lines too.

use std::ops::Range;

use clinic::exchange::{MapError, Reason};
use memchr::memchr2;

use super::charset::Charset;
use super::escape::escape;
use super::index::Message;
use super::normalise::{Dialect, Reading, segment_start, trimmed_start, without_utf16};
use super::path::Path;

/// What to change. A path without indexes means all segments of that name, and below the field all repetitions.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// Puts a plain text there. Delimiters in it are escaped; fields before it are made where they lack.
    Assign {
        /// Where to.
        to: Path,
        /// The text.
        text: String,
    },
    /// Puts something with parts there, written with `^`, `~` and `&`: they become the delimiters of the message.
    AssignParts {
        /// Where to.
        to: Path,
        /// The parts.
        parts: String,
    },
    /// Puts `""` there: the receiver is to delete what it has.
    Clear {
        /// Where.
        at: Path,
    },
    /// Puts there what stands elsewhere in the message (the first that `from` leads to); nothing empties it.
    Copy {
        /// Where to.
        to: Path,
        /// Where from.
        from: Path,
    },
    /// Takes it away: segments wholly, a repetition with its delimiter, a field or less by emptying it.
    Remove {
        /// Where.
        at: Path,
    },
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Change::Assign { to, .. } | Change::AssignParts { to, .. } => write!(f, "assign {to}=•••"),
            Change::Clear { at } => write!(f, "clear {at}"),
            Change::Copy { to, from } => write!(f, "copy {from} to {to}"),
            Change::Remove { at } => write!(f, "remove {at}"),
        }
    }
}

/// Applies changes in their order. Assigning MSH-18 writes the whole message in that charset.
pub fn set(bytes: &[u8], changes: &[Change], reading: &Reading) -> Result<Vec<u8>, MapError> {
    let mut wire = Wire::open(bytes, reading)?;
    for change in changes {
        wire.apply(change, reading)?;
    }
    wire.close()
}

/// The bytes of a message while they are changed.
pub(super) struct Wire {
    pub(super) bytes: Vec<u8>,
    pub(super) dialect: Dialect,
    /// Where delimiters can't be looked for in the bytes themselves, these are UTF-8 for the time being.
    whole: Option<Charset>,
}

/// A message can be changed in its own bytes where each byte below 0x80 is itself.
fn is_byte_wise(charset: Charset) -> bool {
    match charset {
        Charset::Utf16Le | Charset::Utf16Be => false,
        Charset::Other(encoding) => encoding.is_single_byte(),
        Charset::Ascii
        | Charset::Utf8
        | Charset::Latin1
        | Charset::Latin2
        | Charset::Cyrillic
        | Charset::Latin9
        | Charset::Latin10
        | Charset::Windows1250
        | Charset::Windows1251
        | Charset::Windows1252 => true,
    }
}

fn encode(charset: Charset, text: &str, path: &Path) -> Result<Vec<u8>, MapError> {
    charset
        .encode(text)
        .map_err(|error| MapError::new(Reason::DataType, Some(&path.to_string()), error.to_string()))
}

impl Wire {
    pub(super) fn open(bytes: &[u8], reading: &Reading) -> Result<Wire, MapError> {
        let message = Message::read_with(bytes, reading)?;
        let dialect = super::Tree::dialect(&message);
        if is_byte_wise(dialect.charset) {
            return Ok(Wire {
                bytes: bytes.to_vec(),
                dialect,
                whole: None,
            });
        }
        let (utf8, _) = without_utf16(bytes);
        let bytes = match dialect.charset {
            Charset::Utf16Le | Charset::Utf16Be => utf8.into_owned(),
            other => match other.decode(&utf8) {
                Some(text) => text.into_owned().into_bytes(),
                None => message.text().as_bytes().to_vec(),
            },
        };
        Ok(Wire {
            bytes,
            dialect,
            whole: Some(dialect.charset),
        })
    }

    pub(super) fn close(self) -> Result<Vec<u8>, MapError> {
        let Some(charset) = self.whole else {
            return Ok(self.bytes);
        };
        let text = String::from_utf8_lossy(&self.bytes);
        charset
            .encode(&text)
            .map_err(|error| MapError::new(Reason::DataType, None, error.to_string()))
    }

    fn value(&self, text: &str, path: &Path) -> Result<Vec<u8>, MapError> {
        let written = escape(text, &self.dialect)
            .map_err(|error| MapError::new(Reason::DataType, Some(&path.to_string()), error.to_string()))?;
        self.coded(&written, path)
    }

    fn coded(&self, written: &str, path: &Path) -> Result<Vec<u8>, MapError> {
        self.coded_at(written, &path.to_string())
    }

    /// A text in the charset in which the bytes are just now.
    pub(super) fn coded_at(&self, written: &str, place: &str) -> Result<Vec<u8>, MapError> {
        let charset = match self.whole {
            Some(_) => Charset::Utf8,
            None => self.dialect.charset,
        };
        charset
            .encode(written)
            .map_err(|error| MapError::new(Reason::DataType, Some(place), error.to_string()))
    }

    fn apply(&mut self, change: &Change, reading: &Reading) -> Result<(), MapError> {
        match change {
            Change::Assign { to, text } => {
                if is_charset_field(to) {
                    self.transcode(text, to, reading)?;
                }
                let value = self.value(text, to)?;
                self.put(to, &value, true)
            }
            Change::AssignParts { to, parts } => {
                if is_charset_field(to) {
                    self.transcode(parts, to, reading)?;
                }
                let value = self.parts(parts, to)?;
                self.put(to, &value, true)
            }
            Change::Clear { at } => self.put(at, b"\"\"", false),
            Change::Copy { to, from } => {
                let value = self.copied(from);
                self.put(to, &self.for_level(value, from, to)?, true)
            }
            Change::Remove { at } => self.remove(at),
        }
    }

    /// The parts of a structured value, each escaped, between the delimiters of the message.
    fn parts(&self, parts: &str, to: &Path) -> Result<Vec<u8>, MapError> {
        let delimiters = self.dialect.delimiters;
        let mut out = Vec::new();
        let mut plain = String::new();
        for character in parts.chars().chain(['\0']) {
            let delimiter = match character {
                '~' => delimiters.repetition,
                '^' => delimiters.component,
                '&' => delimiters.subcomponent,
                '\0' => None,
                other => {
                    plain.push(other);
                    continue;
                }
            };
            if plain == "\"\"" {
                out.extend_from_slice(b"\"\"");
            } else {
                out.extend(self.value(&plain, to)?);
            }
            plain.clear();
            if character != '\0' {
                out.push(delimiter.ok_or_else(|| lacks_delimiter(to))?);
            }
        }
        Ok(out)
    }

    /// Writes the whole message in another charset, before MSH-18 is made to say so.
    fn transcode(&mut self, name: &str, path: &Path, reading: &Reading) -> Result<(), MapError> {
        let Some(charset) = Charset::named(name) else {
            let what = "no charset of this name is known. Write UNICODE UTF-8, 8859/2, 8859/16, CP1250 or another of table 0211.";
            return Err(MapError::new(Reason::UnknownCode, Some(&path.to_string()), what));
        };
        let text = match self.whole {
            Some(_) => String::from_utf8_lossy(&self.bytes).into_owned(),
            None => {
                let known = self.dialect.charset.decode(&self.bytes);
                known.map(std::borrow::Cow::into_owned).ok_or_else(|| {
                    let what = format!(
                        "the message holds bytes that mean nothing in {}. Its charset can't be changed.",
                        self.dialect.charset.name()
                    );
                    MapError::new(Reason::DataType, Some(&path.to_string()), what)
                })?
            }
        };
        // A byte order mark would be a letter of the message in any other set.
        let text = text.trim_start_matches('\u{FEFF}');
        if is_byte_wise(charset) {
            self.bytes = encode(charset, text, path)?;
            self.whole = None;
        } else {
            encode(charset, text, path)?;
            self.bytes = text.as_bytes().to_vec();
            self.whole = Some(charset);
        }
        self.dialect.charset = charset;
        if self.bytes.len() > reading.limits.bytes {
            return Err(MapError::new(
                Reason::DataType,
                Some(&path.to_string()),
                "the message grows too long.",
            ));
        }
        Ok(())
    }

    /// Where each segment of a name stands, without its line end.
    fn segments(&self, path: &Path) -> Vec<Range<usize>> {
        let all = segment_spans(&self.bytes, self.dialect.delimiters.field);
        let named = all.into_iter().filter(|span| {
            self.bytes[span.start..span.end]
                .get(..3)
                .is_some_and(|name| name.eq_ignore_ascii_case(path.segment.as_bytes()))
        });
        match path.occurrence {
            None => named.collect(),
            Some(number) => named.skip(number as usize - 1).take(1).collect(),
        }
    }

    /// Puts a value at a path. From the last segment to the first, so that earlier spans stay right.
    fn put(&mut self, path: &Path, value: &[u8], needs_segment: bool) -> Result<(), MapError> {
        refuse_header(path)?;
        if path.field.is_none() {
            let what = "a whole segment can't be assigned or cleared. Name a field, as in PID-3.";
            return Err(MapError::new(Reason::DataType, Some(&path.to_string()), what));
        }
        let segments = self.segments(path);
        if segments.is_empty() && needs_segment {
            let what = "there is no such segment in this message. Put a filter before this step, or change the path.";
            return Err(MapError::new(
                Reason::RequiredMissing,
                Some(&path.to_string()),
                what,
            ));
        }
        for segment in segments.into_iter().rev() {
            let changed = self.in_segment(&self.bytes[segment.clone()], path, value)?;
            self.bytes.splice(segment, changed);
        }
        Ok(())
    }

    /// One segment with the value at its place.
    fn in_segment(&self, segment: &[u8], path: &Path, value: &[u8]) -> Result<Vec<u8>, MapError> {
        let header = is_header(&path.segment);
        let number = path.field.unwrap_or(1) as usize - usize::from(header);
        let field_separator = Some(self.dialect.delimiters.field);
        // Piece 0 is the name, so that field n is piece n (one less in headers).
        replaced(segment, field_separator, number, path, &|field| {
            self.in_field(field, path, value)
        })
    }

    fn in_field(&self, field: &[u8], path: &Path, value: &[u8]) -> Result<Vec<u8>, MapError> {
        let delimiters = self.dialect.delimiters;
        if path.repetition.is_none() && path.component.is_none() {
            return Ok(value.to_vec());
        }
        let inside = |repetition: &[u8]| self.in_repetition(repetition, path, value);
        match path.repetition {
            Some(number) => replaced(field, delimiters.repetition, number as usize - 1, path, &inside),
            None => {
                let changed: Result<Vec<_>, _> = pieces(field, delimiters.repetition).map(inside).collect();
                Ok(changed?.join(&delimiters.repetition.unwrap_or(b'~')))
            }
        }
    }

    fn in_repetition(&self, repetition: &[u8], path: &Path, value: &[u8]) -> Result<Vec<u8>, MapError> {
        let delimiters = self.dialect.delimiters;
        let Some(component) = path.component else {
            return Ok(value.to_vec());
        };
        let repetition = if repetition == b"\"\"" { b"" } else { repetition };
        replaced(
            repetition,
            delimiters.component,
            component as usize - 1,
            path,
            &|component| {
                let Some(subcomponent) = path.subcomponent else {
                    return Ok(value.to_vec());
                };
                let component = if component == b"\"\"" { b"" } else { component };
                replaced(
                    component,
                    delimiters.subcomponent,
                    subcomponent as usize - 1,
                    path,
                    &|_| Ok(value.to_vec()),
                )
            },
        )
    }

    /// The bytes that a path leads to first; a path to a field takes it with all its repetitions.
    fn copied(&self, from: &Path) -> Vec<u8> {
        let delimiters = self.dialect.delimiters;
        for segment in self.segments(from) {
            let segment = &self.bytes[segment];
            let Some(number) = from.field else {
                return segment.to_vec();
            };
            let header = is_header(&from.segment);
            if header && number <= 2 {
                let value = if number == 1 {
                    vec![delimiters.field]
                } else {
                    self.nth(segment, Some(delimiters.field), 1)
                };
                return value;
            }
            let mut value = self.nth(
                segment,
                Some(delimiters.field),
                number as usize - usize::from(header),
            );
            if from.repetition.is_some() || from.component.is_some() {
                value = self.nth(
                    &value,
                    delimiters.repetition,
                    from.repetition.unwrap_or(1) as usize - 1,
                );
            }
            if let Some(component) = from.component {
                value = self.nth(&value, delimiters.component, component as usize - 1);
            }
            if let Some(subcomponent) = from.subcomponent {
                value = self.nth(&value, delimiters.subcomponent, subcomponent as usize - 1);
            }
            if !value.is_empty() {
                return value;
            }
        }
        Vec::new()
    }

    fn nth(&self, bytes: &[u8], delimiter: Option<u8>, index: usize) -> Vec<u8> {
        pieces(bytes, delimiter).nth(index).unwrap_or_default().to_vec()
    }

    /// What was copied may have more levels than its new place: it must not break out of it.
    fn for_level(&self, value: Vec<u8>, from: &Path, to: &Path) -> Result<Vec<u8>, MapError> {
        let delimiters = self.dialect.delimiters;
        let header =
            from.field.is_none() || is_header(&from.segment) && from.field.is_some_and(|field| field <= 2);
        let mut breaking = Vec::new();
        if to.repetition.is_some() || to.component.is_some() {
            breaking.extend(delimiters.repetition);
        }
        if to.component.is_some() {
            breaking.extend(delimiters.component);
        }
        if to.subcomponent.is_some() {
            breaking.extend(delimiters.subcomponent);
        }
        if header || value.iter().any(|byte| breaking.contains(byte)) {
            let what =
                format!("{from} has parts that can't stand in {to}. Copy one part of it, as in PID-3[1].1.");
            return Err(MapError::new(Reason::DataType, Some(&to.to_string()), what));
        }
        Ok(value)
    }

    fn remove(&mut self, path: &Path) -> Result<(), MapError> {
        refuse_header(path)?;
        let segments = self.segments(path);
        if path.field.is_none() {
            for segment in segments.into_iter().rev() {
                let end = line_end(&self.bytes, segment.end);
                self.bytes.drain(segment.start..end);
            }
            return Ok(());
        }
        for segment in segments.into_iter().rev() {
            if !self.is_there(&self.bytes[segment.clone()], path) {
                continue;
            }
            let changed = if path.repetition.is_some() && path.component.is_none() {
                self.without_repetition(&self.bytes[segment.clone()], path)?
            } else {
                self.in_segment_if_there(&self.bytes[segment.clone()], path)?
            };
            self.bytes.splice(segment, changed);
        }
        Ok(())
    }

    fn is_there(&self, segment: &[u8], path: &Path) -> bool {
        let number = path.field.unwrap_or(1) as usize - usize::from(is_header(&path.segment));
        pieces(segment, Some(self.dialect.delimiters.field))
            .nth(number)
            .is_some_and(|field| !field.is_empty())
    }

    /// Empties what is there, and makes nothing that is not there.
    fn in_segment_if_there(&self, segment: &[u8], path: &Path) -> Result<Vec<u8>, MapError> {
        let delimiters = self.dialect.delimiters;
        let number = path.field.unwrap_or(1) as usize - usize::from(is_header(&path.segment));
        replaced(segment, Some(delimiters.field), number, path, &|field| {
            let Some(component) = path.component else {
                return Ok(Vec::new());
            };
            let repetitions: Result<Vec<Vec<u8>>, MapError> = pieces(field, delimiters.repetition)
                .enumerate()
                .map(|(index, repetition)| {
                    let meant = path.repetition.is_none_or(|number| number as usize == index + 1);
                    let component_index = component as usize - 1;
                    let there = pieces(repetition, delimiters.component).nth(component_index);
                    let sub_there = path.subcomponent.is_none_or(|number| {
                        there.is_some_and(|there| {
                            pieces(there, delimiters.subcomponent)
                                .nth(number as usize - 1)
                                .is_some()
                        })
                    });
                    if meant && there.is_some() && sub_there {
                        self.in_repetition(repetition, path, b"")
                    } else {
                        Ok(repetition.to_vec())
                    }
                })
                .collect();
            Ok(repetitions?.join(&delimiters.repetition.unwrap_or(b'~')))
        })
    }

    fn without_repetition(&self, segment: &[u8], path: &Path) -> Result<Vec<u8>, MapError> {
        let delimiters = self.dialect.delimiters;
        let number = path.field.unwrap_or(1) as usize - usize::from(is_header(&path.segment));
        let repetition = path.repetition.unwrap_or(1) as usize;
        replaced(segment, Some(delimiters.field), number, path, &|field| {
            let kept: Vec<&[u8]> = pieces(field, delimiters.repetition)
                .enumerate()
                .filter(|(index, _)| index + 1 != repetition)
                .map(|(_, piece)| piece)
                .collect();
            Ok(kept.join(&delimiters.repetition.unwrap_or(b'~')))
        })
    }
}

fn is_header(name: &str) -> bool {
    matches!(name, "MSH" | "FHS" | "BHS")
}

fn is_charset_field(path: &Path) -> bool {
    path.segment == "MSH"
        && path.field == Some(18)
        && path.repetition.unwrap_or(1) == 1
        && path.component.unwrap_or(1) == 1
        && path.subcomponent.unwrap_or(1) == 1
}

/// MSH-1 and MSH-2 say how everything else is read, and there is no message without MSH.
fn refuse_header(path: &Path) -> Result<(), MapError> {
    if is_header(&path.segment) && path.field.is_none_or(|field| field <= 2) {
        let what = "the delimiters of a message can't be changed, nor can MSH be removed.";
        return Err(MapError::new(Reason::DataType, Some(&path.to_string()), what));
    }
    Ok(())
}

fn lacks_delimiter(path: &Path) -> MapError {
    let what = "this message declares no delimiter for that level in MSH-2. Name the whole field, or correct MSH-2 at the sender.";
    MapError::new(Reason::DataType, Some(&path.to_string()), what)
}

fn pieces(bytes: &[u8], delimiter: Option<u8>) -> impl Iterator<Item = &[u8]> {
    bytes.split(move |&byte| Some(byte) == delimiter)
}

/// What makes new bytes out of those of one piece.
type Turn<'a> = &'a dyn Fn(&[u8]) -> Result<Vec<u8>, MapError>;

/// The bytes with one piece replaced; pieces before it are made where they lack.
fn replaced(
    bytes: &[u8],
    delimiter: Option<u8>,
    index: usize,
    path: &Path,
    change: Turn<'_>,
) -> Result<Vec<u8>, MapError> {
    let Some(delimiter) = delimiter else {
        return if index == 0 {
            change(bytes)
        } else {
            Err(lacks_delimiter(path))
        };
    };
    let mut out = Vec::with_capacity(bytes.len() + 16);
    let mut count = 0;
    for (position, piece) in bytes.split(|&byte| byte == delimiter).enumerate() {
        if position > 0 {
            out.push(delimiter);
        }
        if position == index {
            out.extend(change(piece)?);
        } else {
            out.extend_from_slice(piece);
        }
        count = position + 1;
    }
    if count <= index {
        out.extend(std::iter::repeat_n(delimiter, index + 1 - count));
        out.extend(change(b"")?);
    }
    Ok(out)
}

/// Where each segment stands: from its name to the end of its last line, as [`super::normalise`] reads them.
pub(super) fn segment_spans(bytes: &[u8], separator: u8) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    let mut at = bytes.len() - trimmed_start(bytes).len();
    while at < bytes.len() {
        let end = memchr2(b'\r', b'\n', &bytes[at..]).map_or(bytes.len(), |found| at + found);
        let line = &bytes[at..end];
        let is_frame = |byte: &u8| matches!(byte, 0x0B | 0x1C);
        let from = line.iter().position(|byte| !is_frame(byte)).unwrap_or(line.len());
        let to = line
            .iter()
            .rposition(|byte| !is_frame(byte))
            .map_or(from, |last| last + 1);
        let bare = &line[from..to];
        if bare.iter().any(|byte| !matches!(byte, b' ' | b'\t' | 0)) {
            if segment_start(bare, separator).is_some() {
                spans.push(at + from..at + to);
            } else if let Some(last) = spans.last_mut() {
                last.end = at + to;
            }
        }
        at = line_end(bytes, end).max(at + 1);
    }
    spans
}

/// Behind the CR, LF or CR LF that stands at a position.
fn line_end(bytes: &[u8], at: usize) -> usize {
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'\r'), Some(b'\n')) => at + 2,
        (Some(b'\r' | b'\n'), _) => at + 1,
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7v2::Tree;
    use crate::hl7v2::index::Message;

    fn path(written: &str) -> Path {
        written.parse().unwrap()
    }

    fn assign(to: &str, text: &str) -> Change {
        Change::Assign {
            to: path(to),
            text: text.to_owned(),
        }
    }

    fn check(message: &str, changes: &[Change], wanted: &str) {
        let out = set(message.as_bytes(), changes, &Reading::default()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    fn refused(message: &[u8], change: Change) -> String {
        set(message, &[change], &Reading::default())
            .unwrap_err()
            .to_string()
    }

    const SHORT: &str = "MSH|^~\\&|A|B|C\r\nPID|1||X^^^N~Y||Ăna\n\nOBX|1||k||v\r\nline\nOBX|2||m||w\r";

    #[test]
    fn assigned_values_are_escaped_and_all_else_stays() {
        check(
            SHORT,
            &[assign("MSH-5", "R|S")],
            &SHORT.replace("|C\r", "|R\\F\\S\r"),
        );
        check(SHORT, &[assign("MSH-7", "Z")], &SHORT.replace("|C\r", "|C||Z\r"));
        check(
            SHORT,
            &[assign("PID-3", "Q^1")],
            &SHORT.replace("X^^^N~Y", "Q\\S\\1"),
        );
        check(
            SHORT,
            &[assign("PID-3.4", "W")],
            &SHORT.replace("X^^^N~Y", "X^^^W~Y^^^W"),
        );
        check(
            SHORT,
            &[assign("PID-3[2].4.2", "W")],
            &SHORT.replace("N~Y", "N~Y^^^&W"),
        );
        check(SHORT, &[assign("PID-3[4]", "W")], &SHORT.replace("N~Y", "N~Y~~W"));
        check(
            SHORT,
            &[assign("OBX-5", "ț")],
            &SHORT.replace("|v\r\nline", "|ț").replace("|w", "|ț"),
        );
        check(SHORT, &[assign("OBX[2]-6", "u")], &SHORT.replace("|w", "|w|u"));
    }

    #[test]
    fn parts_take_the_delimiters_of_the_message() {
        let odd = "MSH#@*/+#A######X@Y#1\r";
        let parts = |parts: &str| Change::AssignParts {
            to: path("MSH-9"),
            parts: parts.to_owned(),
        };
        check(odd, &[parts("ADT^A08^A&B")], "MSH#@*/+#A######ADT@A08@A+B#1\r");
        check(odd, &[parts("a@b^\"\"~c")], "MSH#@*/+#A######a/S/b@\"\"*c#1\r");
    }

    #[test]
    fn clear_copy_and_remove() {
        check(
            SHORT,
            &[Change::Clear { at: path("PID-5") }],
            &SHORT.replace("Ăna", "\"\""),
        );
        check(SHORT, &[Change::Clear { at: path("ZZZ-5") }], SHORT);
        let copy = |to: &str, from: &str| Change::Copy {
            to: path(to),
            from: path(from),
        };
        check(
            SHORT,
            &[copy("MSH-6", "PID-3")],
            &SHORT.replace("|C\r", "|C|X^^^N~Y\r"),
        );
        check(
            SHORT,
            &[copy("OBX-3.2", "PID-3[2].1")],
            &SHORT.replace("|k", "|k^Y").replace("|m", "|m^Y"),
        );
        check(SHORT, &[copy("PID-5", "PID-9")], &SHORT.replace("Ăna", ""));
        let remove = |at: &str| Change::Remove { at: path(at) };
        check(
            SHORT,
            &[remove("OBX[1]")],
            &SHORT.replace("OBX|1||k||v\r\nline\n", ""),
        );
        check(SHORT, &[remove("PID-3[1]")], &SHORT.replace("X^^^N~", ""));
        check(SHORT, &[remove("PID-3.4")], &SHORT.replace("^N~", "^~"));
        check(SHORT, &[remove("PID-30.4")], SHORT);
        check(SHORT, &[remove("PID-3.9")], SHORT);
    }

    #[test]
    fn what_would_harm_is_refused_with_its_place() {
        for (change, says) in [
            (assign("MSH-2", "x"), "MSH-2: the delimiters"),
            (Change::Remove { at: path("MSH") }, "MSH: the delimiters"),
            (assign("ZPI-1", "x"), "ZPI-1: there is no such segment"),
            (assign("OBX[3]-1", "x"), "OBX[3]-1: there is no such segment"),
            (assign("OBX", "x"), "OBX: a whole segment"),
            (assign("MSH-18", "klingon"), "MSH-18: no charset"),
            (
                Change::Copy {
                    to: path("PID-5.1"),
                    from: path("PID-3"),
                },
                "PID-5.1: PID-3 has parts",
            ),
        ] {
            let error = refused(SHORT.as_bytes(), change);
            assert!(error.starts_with(says), "{error}");
        }
        let error = refused("MSH|^~&|A\rPID|1\r".as_bytes(), assign("PID-5", "a|b"));
        assert!(error.starts_with("PID-5: the value holds a delimiter"), "{error}");
        let latin = b"MSH|^~\\&|A||||||||||||||||8859/2\rPID|1||\xBAi\r";
        let error = refused(latin, assign("PID-5", "日"));
        assert!(error.starts_with("PID-5: the character U+65E5"), "{error}");
    }

    #[test]
    fn charsets_are_kept_or_changed_as_a_whole() {
        let latin = b"MSH|^~\\&|A|||||||||||||||8859/2\rPID|1||\xBAi\r";
        let out = set(latin, &[assign("PID-5", "Ștefan")], &Reading::default()).unwrap();
        assert_eq!(
            out,
            b"MSH|^~\\&|A|||||||||||||||8859/2\rPID|1||\xBAi||\xAAtefan\r"
        );
        let out = set(latin, &[assign("MSH-18", "UNICODE UTF-8")], &Reading::default()).unwrap();
        assert_eq!(
            out,
            "MSH|^~\\&|A|||||||||||||||UNICODE UTF-8\rPID|1||şi\r".as_bytes()
        );
        let wide: Vec<u8> = "\u{FEFF}MSH|^~\\&|A\rPID|1||și\r"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let out = set(&wide, &[assign("PID-4", "ț")], &Reading::default()).unwrap();
        let message = Message::read(&out).unwrap();
        assert_eq!(message.first("PID").unwrap().field(4).text(), "ț");
        assert_eq!(message.first("PID").unwrap().field(3).text(), "și");
    }
}
