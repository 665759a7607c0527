//! The walk over a data set: every header is looked at before anything is believed (PS3.5 §7).
//!
//! No value is longer than what is left of its parent, no VR is one that does not exist, sequences nest at most
//! [`MAX_DEPTH`] deep, there are at most [`MAX_ELEMENTS`] elements, and the last one ends where the bytes end. The walk
//! goes by a stack of its own, so that no nesting takes that of the thread, and it copies nothing. Values are handed
//! out only after their length was checked.

use clinic::exchange::{MapError, Reason};
use dicom_core::{Tag, VR};

use super::names;

/// How deep sequences may nest.
pub const MAX_DEPTH: usize = 64;
/// How many elements and items one data set may have.
pub const MAX_ELEMENTS: usize = 500_000;

const UNDEFINED: u32 = u32::MAX;
const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);

/// How elements are written (PS3.5 §7.1, §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    /// True: no VR stands in the header; it is known by the tag.
    pub implicit: bool,
    /// True: the high byte comes first.
    pub big_endian: bool,
}

impl Coding {
    /// Implicit VR, little endian: command sets, and what every peer speaks.
    pub const IMPLICIT: Coding = Coding {
        implicit: true,
        big_endian: false,
    };
    /// Explicit VR, little endian: nearly everything else.
    pub const EXPLICIT: Coding = Coding {
        implicit: false,
        big_endian: false,
    };
    /// Explicit VR, big endian (retired).
    pub const BIG: Coding = Coding {
        implicit: false,
        big_endian: true,
    };

    pub(crate) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self.big_endian {
            true => u16::from_be_bytes(bytes),
            false => u16::from_le_bytes(bytes),
        }
    }

    pub(crate) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self.big_endian {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        }
    }
}

/// How far the walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// To the end, which must be that of the last element.
    End,
    /// To the pixel data of the object, which may be cut off; to the end where there is none.
    Pixels,
}

/// Where the walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// At the end, with nothing left.
    End,
    /// At the header of the pixel data, which begins at this byte.
    Pixels(usize),
}

/// The head of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which.
    pub tag: Tag,
    /// Of which kind; where the data set does not say, that of the dictionary, and UN where that has none.
    pub vr: VR,
    /// At which byte its header begins.
    pub at: usize,
    /// At which byte its value begins.
    pub from: usize,
    /// How it is written.
    pub coding: Coding,
}

impl Header {
    /// Of which kind its value is to be read, and how it is written: what stands as of unknown kind and the dictionary knows is of
    /// that kind, always in implicit little endian (PS3.5 §6.2.2, note 2). Sequences and bytes stay as they stand.
    pub fn read_as(&self) -> (VR, Coding) {
        let known = match self.vr {
            VR::UN if !self.coding.implicit => names::vr(self.tag),
            _ => return (self.vr, self.coding),
        };
        match known {
            VR::SQ | VR::UN | VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW => (self.vr, self.coding),
            known => (known, Coding::IMPLICIT),
        }
    }
}

/// What the walk comes by.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// An element with its value.
    Value(Header, &'a [u8]),
    /// A sequence begins.
    Begin(Header),
    /// An item of it begins.
    Item,
    /// The item has ended.
    ItemEnd,
    /// The sequence has ended, before this byte.
    End(usize),
    /// An element whose value is parted into fragments has ended before this byte.
    Fragments(Header, usize),
    /// The pixel data of the object: how long it says it is, where it says so.
    Pixels(Header, Option<u32>),
}

/// True for the elements that hold the pixels of an object (PS3.3 C.7.6.3, C.7.6.24).
pub fn is_pixels(tag: Tag) -> bool {
    matches!(tag, Tag(0x7FE0, 0x0008 | 0x0009 | 0x0010))
}

#[derive(Clone, Copy)]
enum Nest {
    Sequence,
    Item,
    Fragments,
}

struct Level {
    nest: Nest,
    header: Header,
    /// Where it ends; none: at its delimiter.
    end: Option<usize>,
    /// Nothing in it may reach beyond this byte.
    bound: usize,
    /// How what is in it is written.
    coding: Coding,
    items: usize,
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    levels: Vec<Level>,
    depth: usize,
    count: usize,
    coding: Coding,
}

/// Walks over the headers of a data set and tells what is there.
pub fn walk<'a>(
    bytes: &'a [u8],
    coding: Coding,
    until: Until,
    each: &mut dyn FnMut(Event<'a>),
) -> Result<Reached, MapError> {
    let mut walk = Walk {
        bytes,
        at: 0,
        levels: vec![],
        depth: 0,
        count: 0,
        coding,
    };
    loop {
        walk.close(each);
        match walk.levels.last().map(|level| level.nest) {
            None if walk.at == bytes.len() => return Ok(Reached::End),
            None => {
                let begins = walk.at;
                if walk.element(until, each)? {
                    return Ok(Reached::Pixels(begins));
                }
            }
            Some(Nest::Item) => {
                walk.element(until, each)?;
            }
            Some(Nest::Sequence) => walk.item(each)?,
            Some(Nest::Fragments) => walk.fragment(each)?,
        }
    }
}

/// Only looks whether a data set holds together.
pub fn check(bytes: &[u8], coding: Coding, until: Until) -> Result<Reached, MapError> {
    walk(bytes, coding, until, &mut |_| {})
}

impl<'a> Walk<'a> {
    /// Ends all that has a length and has come to its end.
    fn close(&mut self, each: &mut dyn FnMut(Event<'a>)) {
        while let Some(level) = self.levels.last()
            && level.end == Some(self.at)
        {
            self.leave(each);
        }
    }

    fn leave(&mut self, each: &mut dyn FnMut(Event<'a>)) {
        let Some(level) = self.levels.pop() else { return };
        match level.nest {
            Nest::Sequence => {
                self.depth -= 1;
                each(Event::End(self.at));
            }
            Nest::Item => each(Event::ItemEnd),
            Nest::Fragments => each(Event::Fragments(level.header, self.at)),
        }
    }

    fn bound(&self) -> usize {
        self.levels.last().map_or(self.bytes.len(), |level| level.bound)
    }

    fn inner(&self) -> Coding {
        self.levels.last().map_or(self.coding, |level| level.coding)
    }

    /// The next bytes, within what is left of the parent.
    fn take<const N: usize>(&mut self, tag: Option<Tag>, what: &str) -> Result<[u8; N], MapError> {
        let left = &self.bytes[self.at..self.bound()];
        let Some(taken) = left.first_chunk::<N>() else {
            return Err(self.wrong(tag, what));
        };
        self.at += N;
        Ok(*taken)
    }

    fn tag(&mut self) -> Result<Tag, MapError> {
        let coding = self.inner();
        let end = match self.levels.last() {
            None => "ends inside a tag",
            Some(_) => "ends before its delimiter, or inside a tag",
        };
        let group = coding.u16(self.take(None, end)?);
        let element = coding.u16(self.take(None, end)?);
        Ok(Tag(group, element))
    }

    fn counted(&mut self) -> Result<(), MapError> {
        self.count += 1;
        match self.count <= MAX_ELEMENTS {
            true => Ok(()),
            false => Err(self.wrong(None, &format!("has more than {MAX_ELEMENTS} elements"))),
        }
    }

    /// One element; true where it is the pixel data at which the walk is to stop.
    fn element(&mut self, until: Until, each: &mut dyn FnMut(Event<'a>)) -> Result<bool, MapError> {
        let at = self.at;
        let coding = self.inner();
        let tag = self.tag()?;
        self.counted()?;
        if tag == ITEM_END && self.levels.last().is_some_and(|level| level.end.is_none()) {
            self.no_length(coding, tag)?;
            self.leave(each);
            return Ok(false);
        }
        if tag.0 == 0xFFFE {
            return Err(self.wrong_at(at, Some(tag), "is a delimiter where an element should be"));
        }
        let (vr, length) = self.vr_and_length(tag, coding)?;
        let header = Header {
            tag,
            vr,
            at,
            from: self.at,
            coding,
        };
        if self.levels.is_empty() && until == Until::Pixels && is_pixels(tag) {
            each(Event::Pixels(header, (length != UNDEFINED).then_some(length)));
            return Ok(true);
        }
        if length == UNDEFINED {
            self.open(header, None, each)?;
            return Ok(false);
        }
        let left = self.bound() - self.at;
        let length = length as usize;
        if left < length {
            let what = format!("says that it is {length} bytes long where {left} are left");
            return Err(self.wrong_at(at, Some(tag), &what));
        }
        if vr == VR::SQ {
            self.open(header, Some(self.at + length), each)?;
            return Ok(false);
        }
        let value = &self.bytes[self.at..self.at + length];
        self.at += length;
        each(Event::Value(header, value));
        Ok(false)
    }

    fn vr_and_length(&mut self, tag: Tag, coding: Coding) -> Result<(VR, u32), MapError> {
        const CUT: &str = "ends inside its header";
        if coding.implicit {
            let length = coding.u32(self.take(Some(tag), CUT)?);
            return Ok((names::vr(tag), length));
        }
        let letters = self.take::<2>(Some(tag), CUT)?;
        // One that is not known yet has a length of four bytes (PS3.5 §6.2, note 7); what is no letters at all, as careless writers
        // leave it, has one of two. Both are read as of unknown kind, and their lengths are held against what is left.
        let is_kind = letters.iter().all(u8::is_ascii_uppercase);
        let vr = VR::from_binary(letters).unwrap_or(VR::UN);
        if !is_long(vr) || !is_kind {
            let length = coding.u16(self.take(Some(tag), CUT)?);
            return Ok((vr, length.into()));
        }
        self.take::<2>(Some(tag), CUT)?;
        let length = coding.u32(self.take(Some(tag), CUT)?);
        Ok((vr, length))
    }

    /// Goes into a sequence, or into a value that is parted into fragments.
    fn open(
        &mut self,
        header: Header,
        end: Option<usize>,
        each: &mut dyn FnMut(Event<'a>),
    ) -> Result<(), MapError> {
        let implicit = header.coding.implicit;
        let nest = match header.vr {
            VR::SQ => Nest::Sequence,
            // A sequence that its writer did not know (PS3.5 §6.2.2, note 4), always in implicit little endian.
            VR::UN => Nest::Sequence,
            VR::OB | VR::OW if !implicit => Nest::Fragments,
            // Without a VR a value without a length can be nothing but a sequence.
            _ if implicit => Nest::Sequence,
            _ => {
                return Err(self.wrong_at(
                    header.at,
                    Some(header.tag),
                    "has no length, which only sequences and fragments may have",
                ));
            }
        };
        let coding = match header.vr {
            VR::UN => Coding::IMPLICIT,
            _ => header.coding,
        };
        if let Nest::Sequence = nest {
            self.depth += 1;
            if MAX_DEPTH < self.depth {
                let what = format!("is nested more than {MAX_DEPTH} deep");
                return Err(self.wrong_at(header.at, Some(header.tag), &what));
            }
            each(Event::Begin(header));
        }
        self.levels.push(Level {
            nest,
            header,
            end,
            bound: end.unwrap_or(self.bound()),
            coding,
            items: 0,
        });
        Ok(())
    }

    fn no_length(&mut self, coding: Coding, tag: Tag) -> Result<(), MapError> {
        let length = coding.u32(self.take(Some(tag), "ends inside a delimiter")?);
        match length {
            0 => Ok(()),
            _ => Err(self.wrong(Some(tag), "is a delimiter with a length")),
        }
    }

    /// An item of a sequence, or its end.
    fn item(&mut self, each: &mut dyn FnMut(Event<'a>)) -> Result<(), MapError> {
        let at = self.at;
        let coding = self.inner();
        let tag = self.tag()?;
        self.counted()?;
        let Some(level) = self.levels.last_mut() else {
            return Ok(());
        };
        if tag == SEQUENCE_END && level.end.is_none() {
            self.no_length(coding, tag)?;
            self.leave(each);
            return Ok(());
        }
        if tag != ITEM {
            return Err(self.wrong_at(at, Some(tag), "stands where an item of a sequence should"));
        }
        level.items += 1;
        let (header, bound) = (level.header, level.bound);
        let length = coding.u32(self.take(Some(tag), "ends inside the header of an item")?);
        let left = bound - self.at;
        let end = match length {
            UNDEFINED => None,
            length if left < length as usize => {
                let what = format!("is an item that says it is {length} bytes long where {left} are left");
                return Err(self.wrong_at(at, None, &what));
            }
            length => Some(self.at + length as usize),
        };
        each(Event::Item);
        self.levels.push(Level {
            nest: Nest::Item,
            header,
            end,
            bound: end.unwrap_or(bound),
            coding,
            items: 0,
        });
        Ok(())
    }

    /// A fragment, or the end of them (PS3.5 A.4).
    fn fragment(&mut self, each: &mut dyn FnMut(Event<'a>)) -> Result<(), MapError> {
        let at = self.at;
        let coding = self.inner();
        let tag = self.tag()?;
        self.counted()?;
        match tag {
            SEQUENCE_END => {
                self.no_length(coding, tag)?;
                self.leave(each);
                return Ok(());
            }
            ITEM => {}
            _ => return Err(self.wrong_at(at, Some(tag), "stands where a fragment should")),
        }
        let length = coding.u32(self.take(Some(tag), "ends inside the header of a fragment")?);
        let left = self.bound() - self.at;
        if length == UNDEFINED || left < length as usize {
            return Err(self.wrong_at(at, None, "is a fragment that is longer than what is left"));
        }
        self.at += length as usize;
        Ok(())
    }

    fn wrong(&self, tag: Option<Tag>, what: &str) -> MapError {
        self.wrong_at(self.at, tag, what)
    }

    fn wrong_at(&self, at: usize, tag: Option<Tag>, what: &str) -> MapError {
        let mut place = String::new();
        for level in &self.levels {
            match level.nest {
                Nest::Sequence if 0 < level.items => {
                    place.push_str(&format!(
                        "{}[{}].",
                        names::place(level.header.tag),
                        level.items - 1
                    ));
                }
                Nest::Sequence | Nest::Fragments => {
                    place.push_str(&format!("{}.", names::place(level.header.tag)));
                }
                Nest::Item => {}
            }
        }
        match tag {
            Some(tag) => place.push_str(&names::place(tag)),
            None => {
                place.truncate(place.trim_end_matches('.').len());
            }
        }
        let place = (!place.is_empty()).then_some(place);
        let what = match place {
            Some(_) => format!("{what} (at byte {at} of the data set)"),
            None => format!("the data set {what} (at byte {at})"),
        };
        MapError::new(Reason::DataType, place.as_deref(), what)
    }
}

/// The kinds whose length has four bytes (PS3.5 §7.1.2).
pub fn is_long(vr: VR) -> bool {
    matches!(
        vr,
        VR::OB
            | VR::OD
            | VR::OF
            | VR::OL
            | VR::OV
            | VR::OW
            | VR::SQ
            | VR::SV
            | VR::UC
            | VR::UN
            | VR::UR
            | VR::UT
            | VR::UV
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn why(bytes: &[u8], coding: Coding) -> String {
        check(bytes, coding, Until::End)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    fn long(tag: [u8; 4], vr: &[u8; 2], length: u32, value: &[u8]) -> Vec<u8> {
        [&tag[..], vr, &[0, 0], &length.to_le_bytes(), value].concat()
    }

    const SEQUENCE: [u8; 4] = [0x40, 0, 0, 1];
    const BEGIN: [u8; 8] = [0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF];
    const END: [u8; 8] = [0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0];
    const ENDS: [u8; 8] = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];

    fn nested(depth: usize) -> Vec<u8> {
        let mut bytes = vec![];
        for _ in 0..depth {
            bytes.extend(long(SEQUENCE, b"SQ", UNDEFINED, &BEGIN));
        }
        for _ in 0..depth {
            bytes.extend([END, ENDS].concat());
        }
        bytes
    }

    #[test]
    fn what_lies_is_refused_with_its_place() {
        let element = b"\x10\0\x10\0PN\x04\0Pop ";
        assert_eq!(why(element, Coding::EXPLICIT), "");
        assert_eq!(why(b"", Coding::EXPLICIT), "");
        for (bytes, expected) in [
            (&element[..2], "the data set ends inside a tag (at byte 2)"),
            (
                &element[..7],
                "0010,0010: ends inside its header (at byte 6 of the data set)",
            ),
            (
                &element[..10],
                "0010,0010: says that it is 4 bytes long where 2 are left (at byte 0 of the data set)",
            ),
            (
                &END,
                "FFFE,E00D: is a delimiter where an element should be (at byte 0 of the data set)",
            ),
        ] {
            assert_eq!(why(bytes, Coding::EXPLICIT), expected);
        }
        let huge = long([0x10, 0, 0x20, 0], b"UT", 0xFFFF_FFF0, b"one");
        assert!(why(&huge, Coding::EXPLICIT).contains("4294967280 bytes long where 3 are left"));
        let beyond_its_parent = [
            long(SEQUENCE, b"SQ", 18, &[]),
            [0xFE, 0xFF, 0x00, 0xE0, 10, 0, 0, 0].to_vec(),
            b"\x10\0\x20\0LO\x40\0ab".to_vec(),
            vec![b' '; 100],
        ]
        .concat();
        assert!(
            why(&beyond_its_parent, Coding::EXPLICIT)
                .starts_with("0040,0100[0].0010,0020: says that it is 64 bytes long where 2 are left"),
            "{}",
            why(&beyond_its_parent, Coding::EXPLICIT)
        );
    }

    #[test]
    fn what_has_a_kind_that_nobody_knows_is_read_by_its_length() {
        for (bytes, length) in [
            (&b"\x10\0\x10\0??\x04\0Pop \x10\0\x20\0LO\x02\0P1"[..], 4),
            (b"\x10\0\x10\0\0\0\x04\0Pop \x10\0\x20\0LO\x02\0P1", 4),
            (b"\x10\0\x10\0ZZ\0\0\x04\0\0\0Pop \x10\0\x20\0LO\x02\0P1", 4),
        ] {
            let mut seen = vec![];
            let reached = walk(bytes, Coding::EXPLICIT, Until::End, &mut |event| {
                if let Event::Value(header, value) = event {
                    seen.push((header.tag, header.vr, value.len()));
                }
            });
            assert_eq!(reached, Ok(Reached::End));
            let expected = [(Tag(0x10, 0x10), VR::UN, length), (Tag(0x10, 0x20), VR::LO, 2)];
            assert_eq!(seen, expected, "{bytes:?}");
        }
        assert!(
            why(b"\x10\0\x10\0??\x40\0Pop ", Coding::EXPLICIT).contains("64 bytes long where 4 are left")
        );
    }

    #[test]
    fn nesting_is_bounded() {
        assert_eq!(why(&nested(MAX_DEPTH), Coding::EXPLICIT), "");
        for depth in [MAX_DEPTH + 1, 20_000] {
            assert!(why(&nested(depth), Coding::EXPLICIT).contains("nested more than 64 deep"));
        }
    }

    #[test]
    fn the_walk_stops_at_pixels_and_only_at_those_of_the_object() {
        let icon = [
            long([0x88, 0, 0, 2], b"SQ", UNDEFINED, &BEGIN),
            long([0xE0, 0x7F, 0x10, 0], b"OW", 2, &[1, 2]),
            END.to_vec(),
            ENDS.to_vec(),
        ]
        .concat();
        let pixels = long([0xE0, 0x7F, 0x10, 0], b"OW", 100, &[1, 2]);
        let cut = [icon.clone(), pixels].concat();
        assert_eq!(
            check(&cut, Coding::EXPLICIT, Until::Pixels),
            Ok(Reached::Pixels(icon.len()))
        );
        assert!(check(&cut, Coding::EXPLICIT, Until::End).is_err());
        let parts = [
            long([0xE0, 0x7F, 0x10, 0], b"OB", UNDEFINED, &[]),
            [0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0].to_vec(),
            [0xFE, 0xFF, 0x00, 0xE0, 2, 0, 0, 0, 9, 9].to_vec(),
            ENDS.to_vec(),
        ]
        .concat();
        assert_eq!(check(&parts, Coding::EXPLICIT, Until::End), Ok(Reached::End));
        let short = &parts[..parts.len() - 1];
        assert!(check(short, Coding::EXPLICIT, Until::End).is_err());
    }

    #[test]
    fn a_sequence_of_unknown_kind_is_read_as_implicit() {
        let inner = b"\x10\0\x10\0\x04\0\0\0Pop ";
        let unknown = [
            long([9, 0, 0x01, 0x10], b"UN", UNDEFINED, &BEGIN),
            inner.to_vec(),
            END.to_vec(),
            ENDS.to_vec(),
        ]
        .concat();
        let mut seen = vec![];
        let reached = walk(&unknown, Coding::EXPLICIT, Until::End, &mut |event| {
            if let Event::Value(header, value) = event {
                seen.push((header.tag, header.vr, value));
            }
        });
        assert_eq!(reached, Ok(Reached::End));
        assert_eq!(seen, [(Tag(0x10, 0x10), VR::PN, &b"Pop "[..])]);
    }

    proptest! {
        /// Any bytes in any coding: an answer, and never a value beyond the bytes.
        #[test]
        fn any_bytes_are_walked(bytes in prop::collection::vec(any::<u8>(), 0..300), implicit: bool, big_endian: bool) {
            for until in [Until::End, Until::Pixels] {
                let _ = walk(&bytes, Coding { implicit, big_endian }, until, &mut |_| {});
            }
        }

        /// What is cut anywhere is refused, unless it is cut between two elements.
        #[test]
        fn what_is_cut_is_refused(depth in 1usize..6, keep in 0.0..1.0f64) {
            let whole = nested(depth);
            let cut = (whole.len() as f64 * keep) as usize;
            prop_assert_eq!(check(&whole, Coding::EXPLICIT, Until::End), Ok(Reached::End));
            prop_assert_eq!(check(&whole[..cut], Coding::EXPLICIT, Until::End).is_ok(), cut == 0);
        }
    }
}
