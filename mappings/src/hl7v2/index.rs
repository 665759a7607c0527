//! The flat index of a message.
//!
//! One pass notes where each segment starts and where each field ends; what lies deeper is found in the few
//! bytes of its field when somebody asks. A field of 20 MB costs one search for its end.

use std::collections::HashMap;
use std::fmt;

use clinic::exchange::{MapError, Reason};
use memchr::memchr2_iter;

use super::charset::Charset;
use super::normalise::{Delimiters, Dialect, Normal, Reading, Repair, normalise};
use super::views::Segment;

/// What routing and mappings ask of a message. The flat index is behind it; another parser could be.
pub trait Tree {
    /// Delimiters and charset.
    fn dialect(&self) -> Dialect;

    /// How many segments there are.
    fn count(&self) -> usize;

    /// The segment at a position from 0, in the order of the message.
    fn segment(&self, position: usize) -> Option<Segment<'_>>;

    /// All segments in order.
    fn segments(&self) -> Segments<'_>
    where
        Self: Sized,
    {
        Segments { tree: self, next: 0 }
    }

    /// The segments of one name, in order.
    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Segment<'a>>
    where
        Self: Sized,
    {
        self.segments().filter(move |segment| segment.name() == name)
    }

    /// The first segment of a name.
    fn first(&self, name: &str) -> Option<Segment<'_>>
    where
        Self: Sized,
    {
        self.segments().find(|segment| segment.name() == name)
    }
}

/// All segments of a message in order.
#[derive(Clone)]
pub struct Segments<'a> {
    tree: &'a dyn Tree,
    next: usize,
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        let segment = self.tree.segment(self.next)?;
        self.next += 1;
        Some(segment)
    }
}

/// A message that was read: its text in one shape, an index over it, and what was repaired on the way.
#[derive(Clone)]
pub struct Message {
    text: String,
    dialect: Dialect,
    repairs: Vec<Repair>,
    segments: Vec<Entry>,
    /// Where each field separator stands, over all segments.
    separators: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Entry {
    start: u32,
    end: u32,
    first_separator: u32,
    occurrence: u32,
}

impl Message {
    /// Reads one message as a channel without settings does.
    pub fn read(bytes: &[u8]) -> Result<Message, MapError> {
        Message::read_with(bytes, &Reading::default())
    }

    /// Reads one message. Refused are: no MSH at the start, no separator behind it, a second MSH (two messages
    /// in one frame would become one), and what is over the limits. The place and what to do are in the error.
    pub fn read_with(bytes: &[u8], reading: &Reading) -> Result<Message, MapError> {
        let message = Message::over(normalise(bytes, reading)?, reading)?;
        if let Some(second) = message.named("MSH").nth(1) {
            return Err(MapError::new(
                Reason::Sequence,
                Some(&second.place().0),
                "a second message starts here. Send one message a frame, or split them first.",
            ));
        }
        Ok(message)
    }

    /// Lays the index over a text that was normalised.
    pub fn over(normal: Normal, reading: &Reading) -> Result<Message, MapError> {
        let Normal {
            text,
            dialect,
            repairs,
        } = normal;
        let too_long = || {
            MapError::new(
                Reason::DataType,
                None,
                "more than 4 GiB in one message. Send less.",
            )
        };
        u32::try_from(text.len()).map_err(|_| too_long())?;
        let mut segments = Vec::with_capacity(16);
        let mut separators = Vec::with_capacity((text.len() / 8 + 8).min(4_096));
        let mut names = Names::default();
        let (mut start, mut first_separator) = (0, 0);
        for at in memchr2_iter(dialect.delimiters.field, b'\r', text.as_bytes()) {
            if text.as_bytes()[at] != b'\r' {
                if separators.len() >= reading.limits.fields {
                    let what = format!("more than {} fields. Send less.", reading.limits.fields);
                    return Err(MapError::new(Reason::DataType, None, what));
                }
                separators.push(at as u32);
                continue;
            }
            let name = text.as_bytes()[start..at]
                .first_chunk::<3>()
                .copied()
                .unwrap_or_default();
            let occurrence = names.count(name);
            segments.push(Entry {
                start: start as u32,
                end: at as u32,
                first_separator: first_separator as u32,
                occurrence,
            });
            start = at + 1;
            first_separator = separators.len();
        }
        Ok(Message {
            text,
            dialect,
            repairs,
            segments,
            separators,
        })
    }

    /// The whole text: each segment starts with its name and ends with CR.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What was put right while reading.
    pub fn repairs(&self) -> &[Repair] {
        &self.repairs
    }

    /// The delimiters.
    pub fn delimiters(&self) -> Delimiters {
        self.dialect.delimiters
    }

    /// What the bytes were read as.
    pub fn charset(&self) -> Charset {
        self.dialect.charset
    }

    /// The MSH segment.
    pub fn msh(&self) -> Segment<'_> {
        // `normalise` gives no text without one; an empty view keeps this total all the same.
        self.segment(0).unwrap_or(Segment {
            text: "MSH",
            start: 0,
            end: 3,
            separators: &[],
            occurrence: 1,
            position: 0,
            dialect: self.dialect,
        })
    }

    /// The message as bytes of its own charset; of well-formed input the same bytes that came in.
    pub fn print(&self) -> Result<Vec<u8>, MapError> {
        self.dialect
            .charset
            .encode(&self.text)
            .map_err(|error| MapError::new(Reason::DataType, None, error.to_string()))
    }
}

impl Tree for Message {
    fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn count(&self) -> usize {
        self.segments.len()
    }

    fn segment(&self, position: usize) -> Option<Segment<'_>> {
        let entry = self.segments.get(position)?;
        let end = self
            .segments
            .get(position + 1)
            .map_or(self.separators.len(), |next| next.first_separator as usize);
        Some(Segment {
            text: &self.text,
            start: entry.start,
            end: entry.end,
            separators: &self.separators[entry.first_separator as usize..end],
            occurrence: entry.occurrence,
            position,
            dialect: self.dialect,
        })
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("bytes", &self.text.len())
            .field("segments", &self.segments.len())
            .field("dialect", &self.dialect)
            .field("repairs", &self.repairs)
            .finish()
    }
}

/// How often each name was seen. Few names are the rule; a hostile message with many gets a map.
#[derive(Default)]
pub(crate) struct Names {
    few: Vec<([u8; 3], u32)>,
    many: HashMap<[u8; 3], u32>,
}

impl Names {
    /// The number of this one, from 1.
    pub(crate) fn count(&mut self, name: [u8; 3]) -> u32 {
        if let Some((_, count)) = self.few.iter_mut().find(|(known, _)| *known == name) {
            *count += 1;
            return *count;
        }
        if self.few.len() < 24 {
            self.few.push((name, 1));
            return 1;
        }
        let count = self.many.entry(name).or_default();
        *count += 1;
        *count
    }
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::*;

    fn read(text: &str) -> Message {
        Message::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn header_fields_are_counted_from_the_separator() {
        let message = read("MSH|^~\\&|A^1|B\rPID|1|2\r");
        let msh = message.msh();
        let raw: Vec<_> = msh.fields().map(|field| field.raw().unwrap()).collect();
        assert_eq!(raw, ["|", "^~\\&", "A^1", "B"]);
        assert_eq!(msh.field_count(), 4);
        assert_eq!(msh.field(2).text(), "^~\\&");
        assert_eq!(msh.field(2).repetitions().count(), 1);
        assert_eq!(msh.field(3).component(2).text(), "1");
        assert_eq!(message.first("PID").unwrap().field(1).text(), "1");
        assert!(msh.field(5).raw().is_none() && msh.field(0).raw().is_none());
        assert_eq!(read("MSH|^~\\&").msh().field_count(), 2);
        assert_eq!(read("MSH|").msh().field(2).raw(), Some(""));
    }

    #[test]
    fn values_have_three_states() {
        let message = read("MSH|^~\\&\rPID|x|\"\"||^^|&^~|a^\"\"^^b&\"\"\r");
        let pid = message.first("PID").unwrap();
        assert_eq!(pid.field(1).value(), Value::Present("x".into()));
        assert!(pid.field(2).value().is_null());
        assert_eq!(pid.field(2).text(), "");
        for absent in [3, 4, 5, 7, 70] {
            assert!(pid.field(absent).value().is_absent(), "{absent}");
        }
        assert!(pid.field(6).component(2).value().is_null());
        assert!(pid.field(6).component(3).value().is_absent());
        assert_eq!(pid.field(6).component(4).subcomponent(1).present().unwrap(), "b");
        assert!(pid.field(6).component(4).subcomponent(2).is_null());
        assert_eq!(pid.field(1).value().map(|text| text.len()), Value::Present(1));
    }

    #[test]
    fn views_say_where_they_stand() {
        let message = read("MSH|^~\\&\rOBX|1\rOBX|2||a~b^c&d\r");
        let obx = message.named("OBX").nth(1).unwrap();
        assert_eq!((obx.occurrence(), obx.position(), obx.name()), (2, 2, "OBX"));
        assert_eq!(obx.place().0, "OBX[2]");
        assert_eq!(obx.field(3).place().0, "OBX[2]-3");
        assert_eq!(obx.field(3).repetition(2).place().0, "OBX[2]-3[2]");
        assert_eq!(
            obx.field(3).repetition(2).component(2).subcomponent(2).place().0,
            "OBX[2]-3[2].2.2"
        );
        assert_eq!(message.msh().field(9).component(1).place().0, "MSH-9.1");
        assert_eq!(
            obx.field(3).repetition(2).component(2).subcomponent(2).text(),
            "d"
        );
        assert_eq!(format!("{:?}", obx.field(3)), "OBX[2]-3=•••");
    }

    #[test]
    fn plain_text_keeps_delimiters_that_nobody_escaped() {
        let message = read("MSH|^~\\&\rOBX|1|ST|c||R&D ^ more\r");
        assert_eq!(message.first("OBX").unwrap().field(5).text(), "R&D ^ more");
        assert_eq!(
            message
                .first("OBX")
                .unwrap()
                .field(5)
                .component(1)
                .subcomponent(1)
                .text(),
            "R"
        );
    }

    #[test]
    fn two_messages_in_one_are_refused() {
        let error = Message::read(b"MSH|^~\\&|A\rPID|1\rMSH|^~\\&|B\r").unwrap_err();
        assert_eq!(error.reason, Reason::Sequence);
        assert!(
            error
                .to_string()
                .starts_with("MSH[2]: a second message starts here"),
            "{error}"
        );
    }

    #[test]
    fn limits_hold_and_nothing_is_cut() {
        let reading = Reading {
            limits: super::super::Limits {
                fields: 3,
                ..Default::default()
            },
            ..Default::default()
        };
        assert!(Message::read_with(b"MSH|^~\\&|A\r", &reading).is_ok());
        let error = Message::read_with(b"MSH|^~\\&|A\rPID|1|2\r", &reading).unwrap_err();
        assert!(error.to_string().starts_with("more than 3 fields"), "{error}");
    }

    #[test]
    fn many_segment_names_are_counted_right() {
        let mut text = "MSH|^~\\&|A\r".to_owned();
        for round in 0..3 {
            for number in 0..60 {
                text.push_str(&format!("Z{:02}|{round}\r", number));
            }
        }
        let message = read(&text);
        for segment in message.segments().skip(1) {
            assert_eq!(
                segment.field(1).text(),
                (segment.occurrence() - 1).to_string(),
                "{}",
                segment.place()
            );
        }
    }
}
