//! A data set as a tree of elements, without its pixels. Values are borrowed; text is decoded when it is asked for.

use std::sync::Arc;

use clinic::exchange::MapError;
use dicom_core::{Tag, VR};

use super::charset::{Charset, Decoded, Fallback};
use super::explicit::{AS_PIXELS, is_signed};
use super::names;
use super::scan::{Coding, Event, Header, Until, walk};

/// What an element holds.
#[derive(Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// The items of a sequence.
    Items(Vec<DataSet<'a>>),
    /// Pixels, or other things in fragments, which are not held.
    Elsewhere,
}

/// One element.
#[derive(Clone, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its header.
    pub header: Header,
    /// The first byte after it, within the data set as it was read.
    pub end: usize,
    /// Its value.
    pub value: Value<'a>,
}

/// A data set, or an item of a sequence: its elements in the order in which they stand.
#[derive(Clone, PartialEq, Eq)]
pub struct DataSet<'a> {
    /// The elements.
    pub elements: Vec<Element<'a>>,
    charset: Arc<Charset>,
}

impl std::fmt::Debug for DataSet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tags = self
            .elements
            .iter()
            .map(|element| names::place(element.header.tag));
        f.debug_list().entries(tags).finish()
    }
}

impl<'a> DataSet<'a> {
    /// Reads a data set up to its pixels, after every header was looked at.
    pub fn read(bytes: &'a [u8], coding: Coding, fallback: Fallback) -> Result<Self, MapError> {
        let nothing = Arc::new(Charset::new(&[], fallback));
        let empty = || DataSet {
            elements: vec![],
            charset: nothing.clone(),
        };
        // The sets that are open, and the sequences that they stand in.
        let mut sets = vec![empty()];
        let mut sequences: Vec<Element<'a>> = vec![];
        let add = |sets: &mut Vec<DataSet<'a>>, element| {
            if let Some(set) = sets.last_mut() {
                set.elements.push(element);
            }
        };
        walk(bytes, coding, Until::Pixels, &mut |event| match event {
            Event::Value(header, value) => {
                let element = Element {
                    header,
                    end: header.from + value.len(),
                    value: Value::Bytes(value),
                };
                add(&mut sets, element);
            }
            Event::Begin(header) => sequences.push(Element {
                header,
                end: header.from,
                value: Value::Items(vec![]),
            }),
            Event::Item => sets.push(empty()),
            Event::ItemEnd => {
                if let (Some(item), Some(sequence)) = (sets.pop(), sequences.last_mut())
                    && let Value::Items(items) = &mut sequence.value
                {
                    items.push(item);
                }
            }
            Event::End(end) => {
                if let Some(mut sequence) = sequences.pop() {
                    sequence.end = end;
                    add(&mut sets, sequence);
                }
            }
            Event::Fragments(header, end) => {
                let value = Value::Elsewhere;
                add(&mut sets, Element { header, end, value });
            }
            Event::Pixels(header, _) => {
                let end = bytes.len();
                let value = Value::Elsewhere;
                add(&mut sets, Element { header, end, value });
            }
        })?;
        let mut whole = sets.pop().unwrap_or_else(empty);
        whole.settle(&nothing, fallback);
        if coding.implicit && is_signed(&whole) {
            whole.sign();
        }
        Ok(whole)
    }

    /// Adds the elements that stand behind the pixels, up to other pixels; its text is in the character set of this one. Where they
    /// can't be read, nothing is added.
    pub fn add_behind(
        &mut self,
        behind: &'a [u8],
        coding: Coding,
        fallback: Fallback,
    ) -> Result<(), MapError> {
        let mut read = self.behind(behind, coding, fallback)?;
        self.elements.append(&mut read.elements);
        Ok(())
    }

    /// The elements that stand behind the pixels, up to other pixels, as a set of their own.
    pub fn behind<'b>(
        &self,
        behind: &'b [u8],
        coding: Coding,
        fallback: Fallback,
    ) -> Result<DataSet<'b>, MapError> {
        let mut read = DataSet::read(behind, coding, fallback)?;
        if coding.implicit && is_signed(self) {
            read.sign();
        }
        read.settle(&self.charset, fallback);
        Ok(read)
    }

    /// What is of the kind of the pixels may be below zero, as they may.
    fn sign(&mut self) {
        for element in &mut self.elements {
            if element.header.vr == VR::US && AS_PIXELS.contains(&element.header.tag) {
                element.header.vr = VR::SS;
            }
            if let Value::Items(items) = &mut element.value {
                items.iter_mut().for_each(DataSet::sign);
            }
        }
    }

    /// Each set has the character set that it names, else that of the one around it.
    fn settle(&mut self, around: &Arc<Charset>, fallback: Fallback) {
        let named = self.get(Tag(0x0008, 0x0005)).and_then(Element::bytes);
        self.charset = match named {
            Some(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                let terms: Vec<&str> = match trimmed(&text) {
                    "" => vec![],
                    text => text.split('\\').collect(),
                };
                Arc::new(Charset::new(&terms, fallback))
            }
            None => around.clone(),
        };
        let charset = self.charset.clone();
        for element in &mut self.elements {
            if let Value::Items(items) = &mut element.value {
                items.iter_mut().for_each(|item| item.settle(&charset, fallback));
            }
        }
    }

    /// What its text is written in.
    pub fn charset(&self) -> &Charset {
        &self.charset
    }

    /// The element with this tag; of two the first.
    pub fn get(&self, tag: Tag) -> Option<&Element<'a>> {
        self.elements.iter().find(|element| element.header.tag == tag)
    }

    /// The items of a sequence.
    pub fn items(&self, tag: Tag) -> &[DataSet<'a>] {
        match self.get(tag).map(|element| &element.value) {
            Some(Value::Items(items)) => items,
            Some(Value::Bytes(_) | Value::Elsewhere) | None => &[],
        }
    }

    /// The values of an element as text, in their order; an empty one among several is an empty text.
    pub fn texts(&self, tag: Tag) -> Vec<String> {
        self.get(tag)
            .map(|element| self.values(element))
            .unwrap_or_default()
    }

    /// The first value that is not empty.
    pub fn text(&self, tag: Tag) -> Option<String> {
        self.texts(tag).into_iter().find(|text| !text.is_empty())
    }

    /// A whole number, whether it is written as one or as text.
    pub fn number(&self, tag: Tag) -> Option<i64> {
        self.text(tag)?.trim_start_matches('+').parse().ok()
    }

    /// The values of an element of this set as text. Bytes that are no text are none here; see [`Self::shown`].
    pub fn values(&self, element: &Element<'_>) -> Vec<String> {
        let Value::Bytes(bytes) = element.value else {
            return vec![];
        };
        let (vr, coding) = element.header.read_as();
        match how(vr) {
            How::Text => self.split(bytes, vr),
            How::Number(size) => bytes
                .chunks_exact(size)
                .filter_map(|bytes| number(vr, bytes, coding))
                .collect(),
            How::Bytes => vec![],
        }
    }

    /// The values for a report: of bytes that are no text, how many there are and the first of them.
    pub fn shown(&self, element: &Element<'_>) -> String {
        const SHOWN: usize = 64;
        match element.value {
            Value::Bytes(bytes) if how(element.header.read_as().0) == How::Bytes => {
                let all: String = bytes
                    .iter()
                    .take(SHOWN)
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                match bytes.len() {
                    length if length <= SHOWN => all,
                    length => format!("{all}… ({length} bytes)"),
                }
            }
            Value::Bytes(_) => self.values(element).join("\\"),
            Value::Items(_) | Value::Elsewhere => String::new(),
        }
    }

    /// Why the text of an element may be another one than what its sender meant.
    pub fn doubt(&self, element: &Element<'_>) -> Option<&'static str> {
        match element.value {
            Value::Bytes(bytes) if how(element.header.read_as().0) == How::Text => {
                self.decode(bytes, element.header.read_as().0).doubt
            }
            Value::Bytes(_) | Value::Items(_) | Value::Elsewhere => None,
        }
    }

    fn decode(&self, bytes: &[u8], vr: VR) -> Decoded {
        self.charset.decode(bytes, vr == VR::PN)
    }

    fn split(&self, bytes: &[u8], vr: VR) -> Vec<String> {
        let text = self.decode(bytes, vr).text;
        if matches!(vr, VR::LT | VR::ST | VR::UT | VR::UR) {
            let text = text.trim_end_matches([' ', '\0']);
            return match text {
                "" => vec![],
                text => vec![text.to_owned()],
            };
        }
        match trimmed(&text) {
            "" => vec![],
            text => text.split('\\').map(|part| trimmed(part).to_owned()).collect(),
        }
    }
}

impl<'a> Element<'a> {
    /// Its bytes, where it has some.
    pub fn bytes(&self) -> Option<&'a [u8]> {
        match self.value {
            Value::Bytes(bytes) => Some(bytes),
            Value::Items(_) | Value::Elsewhere => None,
        }
    }

    /// True where nothing stands in it.
    pub fn is_empty(&self) -> bool {
        match &self.value {
            Value::Bytes(bytes) => {
                bytes.iter().all(|byte| matches!(byte, b' ' | 0)) && how(self.header.read_as().0) == How::Text
                    || bytes.is_empty()
            }
            Value::Items(items) => items.iter().all(|item| item.elements.is_empty()),
            Value::Elsewhere => false,
        }
    }
}

/// Without the blanks and zeros that only fill up.
pub fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\0'])
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Text,
    /// Binary numbers of so many bytes.
    Number(usize),
    Bytes,
}

fn how(vr: VR) -> How {
    match vr {
        VR::AE
        | VR::AS
        | VR::CS
        | VR::DA
        | VR::DS
        | VR::DT
        | VR::IS
        | VR::LO
        | VR::LT
        | VR::PN
        | VR::SH
        | VR::ST
        | VR::TM
        | VR::UC
        | VR::UI
        | VR::UR
        | VR::UT => How::Text,
        VR::US | VR::SS => How::Number(2),
        VR::AT | VR::UL | VR::SL | VR::FL => How::Number(4),
        VR::UV | VR::SV | VR::FD => How::Number(8),
        VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::SQ | VR::UN => How::Bytes,
    }
}

fn number(vr: VR, bytes: &[u8], coding: Coding) -> Option<String> {
    let wide = |bytes: [u8; 8]| match coding.big_endian {
        true => u64::from_be_bytes(bytes),
        false => u64::from_le_bytes(bytes),
    };
    Some(match vr {
        VR::US => coding.u16(bytes.try_into().ok()?).to_string(),
        VR::SS => (coding.u16(bytes.try_into().ok()?) as i16).to_string(),
        VR::UL => coding.u32(bytes.try_into().ok()?).to_string(),
        VR::SL => (coding.u32(bytes.try_into().ok()?) as i32).to_string(),
        VR::FL => f32::from_bits(coding.u32(bytes.try_into().ok()?)).to_string(),
        VR::FD => f64::from_bits(wide(bytes.try_into().ok()?)).to_string(),
        VR::UV => wide(bytes.try_into().ok()?).to_string(),
        VR::SV => (wide(bytes.try_into().ok()?) as i64).to_string(),
        VR::AT => {
            let (group, element) = bytes.split_at(2);
            let tag = Tag(
                coding.u16(group.try_into().ok()?),
                coding.u16(element.try_into().ok()?),
            );
            names::place(tag)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: &[u8] = b"\x08\0\x05\0CS\x0a\0ISO_IR 101\x08\0\x16\0UI\x06\0" as &[u8];

    #[test]
    fn values_are_read_by_their_kinds() {
        let mut bytes = BYTES.to_vec();
        bytes.extend(b"1.2.3\0");
        bytes.extend(b"\x10\0\x10\0PN\x0a\0Pa\xBAca^Ana ");
        bytes.extend(b"\x28\0\x10\0US\x02\0\x00\x02");
        bytes.extend(
            b"\x40\0\x00\x01SQ\0\0\x1c\0\0\0\xFE\xFF\x00\xE0\x14\0\0\0\x40\0\x01\0AE\x0c\0ONE \\ TWO   ",
        );
        bytes.extend(b"\xE0\x7F\x10\0OW\0\0\xFF\0\0\0cut");
        let set = DataSet::read(&bytes, Coding::EXPLICIT, Fallback::default()).expect("right");
        assert_eq!(set.text(Tag(8, 0x16)).as_deref(), Some("1.2.3"));
        assert_eq!(set.text(Tag(0x10, 0x10)).as_deref(), Some("Paşca^Ana"));
        assert_eq!(set.number(Tag(0x28, 0x10)), Some(512));
        let step = &set.items(Tag(0x40, 0x100))[0];
        assert_eq!(step.texts(Tag(0x40, 1)), ["ONE", "TWO"]);
        assert_eq!(set.elements.len(), 6);
        assert!(matches!(
            set.get(Tag(0x7FE0, 0x10)).map(|pixels| &pixels.value),
            Some(Value::Elsewhere)
        ));
        assert!(
            !format!("{set:?}").contains("Ana"),
            "no value shows when it is printed"
        );
    }
}
