//! Where the frames of an object lie (PS3.5 §8, §A.4): whole in the pixel data, or in fragments.

use std::io::{self, Read, Seek, SeekFrom};

use clinic::exchange::MapError;

use super::super::charset::Fallback;
use super::super::dataset::DataSet;
use super::super::part10::{self, packing};
use super::super::scan::{Event, Header, Until, walk};
use super::{FRACTIONS, LONGEST_FRAME, PIXELS, Shape, decode, unsupported, wrong};

/// The most fragments that are looked at.
const MAX_FRAGMENTS: usize = 200_000;

/// Where some bytes lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first, from the beginning of the file.
    pub from: u64,
    /// How many.
    pub length: u64,
}

/// The media type of frames in a transfer syntax, and the one that they are answered in (PS3.18 table 8.7.3-5); none:
/// they are not taken apart.
pub fn media(syntax: &str) -> Option<(&'static str, &str)> {
    let after = syntax.strip_prefix("1.2.840.10008.1.2");
    Some(match after? {
        "" | ".1" => ("application/octet-stream", "1.2.840.10008.1.2.1"),
        ".5" => ("image/dicom-rle", syntax),
        ".4.50" | ".4.51" | ".4.53" | ".4.55" | ".4.57" | ".4.70" => ("image/jpeg", syntax),
        ".4.80" | ".4.81" => ("image/jls", syntax),
        ".4.90" | ".4.91" => ("image/jp2", syntax),
        ".4.92" | ".4.93" => ("image/jpx", syntax),
        ".4.110" | ".4.111" | ".4.112" => ("image/jxl", syntax),
        ".4.201" | ".4.202" | ".4.203" => ("image/jphc", syntax),
        _ => return None,
    })
}

/// The media type of a film in a transfer syntax (PS3.18 table 8.7.3-5): its frames are one stream. None: it is none.
pub fn film(syntax: &str) -> Option<&'static str> {
    // Those that may lie in several fragments have a part more.
    let number = syntax.strip_prefix("1.2.840.10008.1.2.4.")?;
    Some(match number.strip_suffix(".1").unwrap_or(number) {
        "100" | "101" => "video/mpeg",
        "102" | "103" | "104" | "105" | "106" => "video/mp4",
        "107" | "108" => "video/H265",
        _ => return None,
    })
}

/// The frames of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames {
    /// What it says of its pixels.
    pub shape: Shape,
    /// Its transfer syntax.
    pub syntax: String,
    /// Where each lies, in its pieces.
    pub places: Vec<Vec<Place>>,
    /// Values of so many bytes lie with the high one first; 1: they do not.
    turned: usize,
    is_packed: bool,
    /// Where all of them lie, not compressed, as one value.
    value: Option<Place>,
    /// True: the values are fractions, as computers write them (IEEE 754).
    pub is_fraction: bool,
}

/// The header of the pixel data in a data set whose beginning this is, and how long its value is, where it says so.
pub(in super::super) fn header(data: &[u8], syntax: &str) -> Result<Option<(Header, Option<u32>)>, MapError> {
    let mut found = None;
    walk(data, packing(syntax).coding, Until::Pixels, &mut |event| {
        if let Event::Pixels(header, length) = event {
            found = Some((header, length));
        }
    })?;
    Ok(found)
}

/// True where values are not compressed and lie as the transfer syntax says.
pub fn is_native(syntax: &str) -> bool {
    matches!(
        syntax,
        "1.2.840.10008.1.2" | "1.2.840.10008.1.2.1" | "1.2.840.10008.1.2.1.99" | "1.2.840.10008.1.2.2"
    ) || syntax == part10::GE_BIG_PIXELS
}

/// Of how many bytes are the values that lie with the high one first; 1: they do not.
pub(in super::super) fn turned(syntax: &str, vr: dicom_core::VR) -> usize {
    let is_big = packing(syntax).coding.big_endian || syntax == part10::GE_BIG_PIXELS;
    match vr {
        _ if !is_big => 1,
        dicom_core::VR::OW => 2,
        dicom_core::VR::OF => 4,
        dicom_core::VR::OD => 8,
        _ => 1,
    }
}

impl Frames {
    /// Of a file whose beginning, up to its pixels, this is.
    pub fn of(beginning: &[u8], file: &mut (impl Read + Seek)) -> Result<Self, MapError> {
        let (meta, begins) = part10::meta(beginning)?;
        if packing(&meta.syntax).deflated {
            return Err(unsupported(
                "is deflated; frames of such an object are not taken apart",
            ));
        }
        let data = beginning.get(begins..).unwrap_or_default();
        let set = DataSet::read(data, packing(&meta.syntax).coding, Fallback::default())?;
        let found = header(data, &meta.syntax)?;
        let (header, length) = found.ok_or_else(|| MapError::missing("7FE0,0010", "The pixel data"))?;
        let shape = Shape::of(&set)?;
        let from = (begins + header.from) as u64;
        let turned = turned(&meta.syntax, header.vr);
        let is_packed = length.is_none() || header.tag == PIXELS && !is_native(&meta.syntax);
        let (places, value) = match length {
            Some(length) if !is_packed => {
                let length = length.into();
                let places = whole(from, length, &shape, turned as u64)?;
                (places, Some(Place { from, length }))
            }
            length if film(&meta.syntax).is_some() => (vec![stream(file, from, length)?], None),
            length => (packed(file, from, length, shape.frames)?.0, None),
        };
        Ok(Frames {
            turned,
            is_packed,
            value,
            is_fraction: FRACTIONS.contains(&header.tag),
            shape,
            syntax: meta.syntax,
            places,
        })
    }

    /// What they are once they are decoded.
    pub fn decoded_shape(&self) -> Shape {
        match self.is_packed {
            true => decode::shape(&self.syntax, &self.shape),
            false => self.shape.clone(),
        }
    }

    /// About how many bytes of memory a frame takes while it is decoded.
    pub fn memory(&self) -> usize {
        decode::memory(&self.syntax, &self.shape, &self.places)
    }

    /// The same as one frame: all of them as one value, as it lies in explicit little endian. None: they do not lie like this.
    pub fn as_one_value(&self) -> Option<Frames> {
        let value = self.value.clone().filter(|_| self.turned == 1)?;
        Some(Frames {
            places: vec![vec![value]],
            ..self.clone()
        })
    }

    /// One frame, counted from 0, as its values in explicit little endian; none: there is no such frame.
    pub fn decoded(&self, number: usize, file: &mut (impl Read + Seek)) -> Result<Option<Vec<u8>>, MapError> {
        let Some(places) = self.places.get(number) else {
            return Ok(None);
        };
        if !self.is_packed && !is_native(&self.syntax) {
            return Err(unsupported("is not in the way that its transfer syntax says"));
        }
        let bytes = read(file, places)?;
        Ok(Some(match self.is_packed {
            true => decode::decoded(&self.syntax, &self.shape, &bytes)?,
            false => self.cut_out(number, turn(bytes, self.turned)),
        }))
    }

    /// True where a frame may begin within a byte, or within a value that lies the other way round, so that it can't be given as it
    /// lies.
    pub fn is_within_bytes(&self) -> bool {
        !self.is_packed && !self.shape.frame_bits().is_multiple_of(8 * self.turned as u64)
    }

    /// A frame out of the bytes that it lies in; what fills up its last one is zero.
    fn cut_out(&self, number: usize, bytes: Vec<u8>) -> Vec<u8> {
        if !self.is_within_bytes() {
            return bytes;
        }
        let bits = self.shape.frame_bits();
        let first = bits * number as u64 % (8 * self.turned as u64);
        let (skipped, shift) = ((first / 8) as usize, first % 8);
        let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
        let mut out: Vec<u8> = (0..bits.div_ceil(8) as usize)
            .map(|at| match shift {
                0 => byte(skipped + at),
                shift => byte(skipped + at) >> shift | byte(skipped + at + 1) << (8 - shift),
            })
            .collect();
        if let Some(last) = out.last_mut().filter(|_| !bits.is_multiple_of(8)) {
            *last &= (1 << (bits % 8)) - 1;
        }
        out
    }
}

/// With the low byte of each value first.
pub(in super::super) fn turn(mut bytes: Vec<u8>, width: usize) -> Vec<u8> {
    if 1 < width {
        bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    }
    bytes
}

/// The bytes at some places, one behind the other.
pub(in super::super) fn read(file: &mut (impl Read + Seek), places: &[Place]) -> Result<Vec<u8>, MapError> {
    let length = places
        .iter()
        .fold(0_u64, |all, place| all.saturating_add(place.length));
    if LONGEST_FRAME < length {
        return Err(unsupported("has frames that are too large to be read here"));
    }
    let mut bytes = Vec::new();
    for place in places {
        let unreadable = |_: io::Error| wrong("ends inside a frame");
        file.seek(SeekFrom::Start(place.from)).map_err(unreadable)?;
        let read = file.by_ref().take(place.length).read_to_end(&mut bytes);
        if read.map_err(unreadable)? as u64 != place.length {
            return Err(wrong("ends inside a frame"));
        }
    }
    Ok(bytes)
}

/// Frames that are not compressed lie one behind the other, those of single bits too: one may begin within a byte (PS3.5 §8.1.1).
/// `turned`: values of so many bytes are not parted.
fn whole(from: u64, length: u64, shape: &Shape, turned: u64) -> Result<Vec<Vec<Place>>, MapError> {
    let size = shape.frame_bits();
    if size == 0 || length * 8 / size < shape.frames as u64 {
        return Err(wrong("is shorter than its frames"));
    }
    let place = |number: usize| {
        let first = number as u64 * size / 8 / turned * turned;
        let end = ((number as u64 + 1) * size).div_ceil(8).next_multiple_of(turned);
        vec![Place {
            from: from + first,
            length: end.min(length) - first,
        }]
    };
    Ok((0..shape.frames).map(place).collect())
}

/// What a JPEG of any kind, or a JPEG 2000, begins with.
fn begins_frame(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xFF, 0xD8, 0xFF]) || bytes.starts_with(&[0xFF, 0x4F, 0xFF, 0x51])
}

/// What a stream of MPEG, its transport stream, or an MP4 begins with; a table of offsets begins with zero.
fn begins_film(bytes: &[u8]) -> bool {
    let is_box = matches!(bytes, [0, 0, 0, length] if 8 <= *length);
    let beginnings: [&[u8]; 3] = [&[0, 0, 1], &[0, 0, 0, 1], &[0x47]];
    is_box || beginnings.iter().any(|beginning| bytes.starts_with(beginning))
}

/// The first bytes at a place, at most four.
fn first_bytes(file: &mut (impl Read + Seek), place: &Place) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(place.from))?;
    let mut bytes = vec![];
    file.by_ref().take(place.length.min(4)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Frames that are compressed, and where what follows them begins. They lie in fragments, with no length said, as the standard has it;
/// some writers say how long all fragments are, and some leave out the fragments where there is but one frame.
pub(in super::super) fn packed(
    file: &mut (impl Read + Seek),
    from: u64,
    length: Option<u32>,
    frames: usize,
) -> Result<(Vec<Vec<Place>>, u64), MapError> {
    let Some(length) = length else {
        return fragments(file, from, None, frames, begins_frame);
    };
    let all = Place {
        from,
        length: length.into(),
    };
    let begins = first_bytes(file, &all).map_err(|_| wrong("ends inside its fragments"))?;
    let end = from + all.length;
    if begins == [0xFE, 0xFF, 0x00, 0xE0] {
        return Ok((fragments(file, from, Some(end), frames, begins_frame)?.0, end));
    }
    match frames == 1 && begins_frame(&begins) {
        true => Ok((vec![vec![all]], end)),
        false => Err(unsupported("is not in the way that its transfer syntax says")),
    }
}

/// The stream of a film: its fragments behind each other, without the table of offsets.
fn stream(file: &mut (impl Read + Seek), from: u64, length: Option<u32>) -> Result<Vec<Place>, MapError> {
    let whole = length.map(|length| Place {
        from,
        length: length.into(),
    });
    if let Some(whole) = whole {
        let begins = first_bytes(file, &whole).map_err(|_| wrong("ends inside its fragments"))?;
        if begins != [0xFE, 0xFF, 0x00, 0xE0] {
            return Ok(vec![whole]);
        }
    }
    let end = length.map(|length| from + u64::from(length));
    let (frames, _) = fragments(file, from, end, 1, begins_film)?;
    Ok(frames.into_iter().flatten().collect())
}

/// Frames that are put together of fragments, and where what follows them begins.
/// `end`: where they end at the latest, where that is said. `begins`: what a frame begins with, where the table was left out.
fn fragments(
    file: &mut (impl Read + Seek),
    from: u64,
    end: Option<u64>,
    frames: usize,
    begins: fn(&[u8]) -> bool,
) -> Result<(Vec<Vec<Place>>, u64), MapError> {
    let unreadable = |_: io::Error| wrong("ends inside its fragments");
    let mut at = from;
    let mut places: Vec<Place> = vec![];
    let mut offsets: Vec<u64> = vec![];
    let mut is_table = true;
    let end = loop {
        if end.is_some_and(|end| end <= at) {
            break at;
        }
        file.seek(SeekFrom::Start(at)).map_err(unreadable)?;
        let mut head = [0; 8];
        file.read_exact(&mut head).map_err(unreadable)?;
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        match head[..4] {
            [0xFE, 0xFF, 0x00, 0xE0] if length != u32::MAX => {}
            [0xFE, 0xFF, 0xDD, 0xE0] => break at + 8,
            _ => return Err(wrong("has something else where a fragment should be")),
        }
        let place = Place {
            from: at + 8,
            length: length.into(),
        };
        // A table that somebody left out: the first item is a frame.
        let is_frame = is_table && begins(&first_bytes(file, &place).map_err(unreadable)?);
        if std::mem::take(&mut is_table) && !is_frame {
            file.seek(SeekFrom::Start(place.from)).map_err(unreadable)?;
            if MAX_FRAGMENTS < length as usize / 4 {
                return Err(wrong("has too long a table of its frames"));
            }
            let mut table = vec![0; length as usize];
            file.read_exact(&mut table).map_err(unreadable)?;
            offsets = table
                .chunks_exact(4)
                .map(|four| u64::from(u32::from_le_bytes([four[0], four[1], four[2], four[3]])))
                .collect();
        } else {
            if places.len() == MAX_FRAGMENTS {
                return Err(wrong("has too many fragments"));
            }
            places.push(place);
        }
        at += 8 + u64::from(length);
    };
    if frames == 1 {
        return Ok((vec![places], end));
    }
    if places.len() == frames {
        return Ok((places.into_iter().map(|place| vec![place]).collect(), end));
    }
    // The table counts from the first fragment on (PS3.5 §A.4).
    let first = places.first().map_or(0, |place| place.from - 8);
    if offsets.len() != frames || !offsets.is_sorted() {
        return match by_beginnings(file, places)? {
            by_beginnings if by_beginnings.len() == frames => Ok((by_beginnings, end)),
            _ => Err(wrong("does not say which fragments are which frame")),
        };
    }
    let mut all = vec![vec![]; frames];
    for place in places {
        let number = offsets.partition_point(|offset| first + offset <= place.from - 8);
        let of = number.checked_sub(1).and_then(|number| all.get_mut(number));
        of.ok_or_else(|| wrong("has a fragment before its first frame"))?
            .push(place);
    }
    Ok((all, end))
}

/// Fragments as frames, by what a frame begins with.
fn by_beginnings(file: &mut (impl Read + Seek), places: Vec<Place>) -> Result<Vec<Vec<Place>>, MapError> {
    let mut frames: Vec<Vec<Place>> = vec![];
    for place in places {
        let begins = first_bytes(file, &place).map_err(|_| wrong("ends inside its fragments"))?;
        match frames.last_mut() {
            Some(frame) if !begins_frame(&begins) => frame.push(place),
            Some(_) | None => frames.push(vec![place]),
        }
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(element: u16, value: u16) -> Vec<u8> {
        [
            &[0x28, 0][..],
            &element.to_le_bytes(),
            b"US\x02\0",
            &value.to_le_bytes(),
        ]
        .concat()
    }

    fn item(bytes: &[u8]) -> Vec<u8> {
        [
            &b"\xFE\xFF\x00\xE0"[..],
            &(bytes.len() as u32).to_le_bytes(),
            bytes,
        ]
        .concat()
    }

    /// Two rows of three, of eight bits.
    fn set(frames: &[u8], pixels: &[u8]) -> Vec<u8> {
        let count = [b"\x28\0\x08\0IS\x02\0", frames].concat();
        [
            us(2, 1),
            count,
            us(0x10, 2),
            us(0x11, 3),
            us(0x100, 8),
            pixels.to_vec(),
        ]
        .concat()
    }

    fn read(set: &[u8]) -> Result<Vec<Vec<u8>>, MapError> {
        let meta = part10::Meta {
            syntax: "1.2.840.10008.1.2.1".to_owned(),
            ..part10::Meta::default()
        };
        let bytes = [meta.written(), set.to_vec()].concat();
        let mut file = io::Cursor::new(&bytes);
        let frames = Frames::of(&bytes, &mut file)?;
        let all = frames.places.iter().map(|places| super::read(&mut file, places));
        all.collect()
    }

    #[test]
    fn frames_lie_one_behind_the_other() {
        let pixels = [&b"\xE0\x7F\x10\0OB\0\0\x0c\0\0\0"[..], b"abcdefghijkl"].concat();
        assert_eq!(
            read(&set(b"2 ", &pixels)),
            Ok(vec![b"abcdef".to_vec(), b"ghijkl".to_vec()])
        );
        assert!(read(&set(b"3 ", &pixels)).is_err());
        assert!(read(&set(b"2 ", b"")).is_err());
    }

    fn frames(syntax: &str, set: &[u8]) -> Result<Vec<Vec<u8>>, MapError> {
        let meta = part10::Meta {
            syntax: syntax.to_owned(),
            ..part10::Meta::default()
        };
        let bytes = [meta.written(), set.to_vec()].concat();
        let mut file = io::Cursor::new(&bytes);
        let frames = Frames::of(&bytes, &mut file)?;
        let all = (0..frames.places.len()).map(|number| frames.decoded(number, &mut file));
        all.map(|frame| frame.map(Option::unwrap_or_default)).collect()
    }

    #[test]
    fn frames_may_begin_within_a_byte() {
        // Three of three by five bits: 15 bits each, one behind the other.
        let bits = [0x7FFF_u64, 0x0001, 0x5555];
        let all = bits.iter().rev().fold(0, |all, frame| all << 15 | frame);
        let value = &all.to_le_bytes()[..6];
        let head = [
            us(2, 1),
            b"\x28\0\x08\0IS\x02\x003 ".to_vec(),
            us(0x10, 3),
            us(0x11, 5),
            us(0x100, 1),
        ];
        let pixels = [&b"\xE0\x7F\x10\0OB\0\0\x06\0\0\0"[..], value].concat();
        let set = [head.concat(), pixels].concat();
        let expected = bits.map(|frame| (frame as u16).to_le_bytes().to_vec());
        assert_eq!(frames("1.2.840.10008.1.2.1", &set), Ok(expected.to_vec()));
        assert!(frames("1.2.840.10008.1.2.1", &set[..set.len() - 1]).is_err());
    }

    #[test]
    fn bytes_in_words_are_not_parted() {
        // Two frames of three bytes each, in words whose high byte comes first.
        let us = |element: u16, value: u16| {
            [
                &[0, 0x28][..],
                &element.to_be_bytes(),
                b"US\0\x02",
                &value.to_be_bytes(),
            ]
            .concat()
        };
        let head = [
            us(2, 1),
            b"\0\x28\0\x08IS\0\x022 ".to_vec(),
            us(0x10, 1),
            us(0x11, 3),
            us(0x100, 8),
        ];
        let set = [&head.concat()[..], b"\x7F\xE0\0\x10OW\0\0\0\0\0\x06badcfe"].concat();
        assert_eq!(
            frames("1.2.840.10008.1.2.2", &set),
            Ok(vec![b"abc".to_vec(), b"def".to_vec()])
        );
    }

    #[test]
    fn fractions_are_frames_too() {
        let set = [us(0x10, 1), us(0x11, 2), us(0x100, 32)].concat();
        let set = [&set[..], b"\xE0\x7F\x08\0OF\0\0\x08\0\0\0abcdefgh"].concat();
        assert_eq!(
            frames("1.2.840.10008.1.2.1", &set),
            Ok(vec![b"abcdefgh".to_vec()])
        );
    }

    #[test]
    fn compressed_frames_are_found_where_the_rules_are_broken() {
        let jpeg = |frame: u8| vec![0xFF, 0xD8, 0xFF, frame];
        let places = |frames: &[u8], length: Option<u32>, value: &[u8]| {
            let mut pixels = b"\xE0\x7F\x10\0OB\0\0".to_vec();
            pixels.extend(length.unwrap_or(u32::MAX).to_le_bytes());
            pixels.extend(value);
            let meta = part10::Meta {
                syntax: "1.2.840.10008.1.2.4.50".to_owned(),
                ..part10::Meta::default()
            };
            let bytes = [meta.written(), set(frames, &pixels)].concat();
            let mut file = io::Cursor::new(&bytes);
            let frames = Frames::of(&bytes, &mut file)?;
            let all = frames.places.iter().map(|places| super::read(&mut file, places));
            all.collect::<Result<Vec<_>, MapError>>()
        };
        let one = Ok(vec![jpeg(1)]);
        let ends = b"\xFE\xFF\xDD\xE0\0\0\0\0";
        // With a length, with and without an end; without a table; without fragments.
        let items = [item(&[]), item(&jpeg(1))].concat();
        assert_eq!(places(b"1 ", Some(20), &items), one);
        assert_eq!(places(b"1 ", Some(28), &[&items[..], ends].concat()), one);
        assert_eq!(places(b"1 ", None, &[&item(&jpeg(1))[..], ends].concat()), one);
        assert_eq!(places(b"1 ", Some(4), &jpeg(1)), one);
        assert!(places(b"2 ", Some(4), &jpeg(1)).is_err());
        assert!(places(b"1 ", Some(4), b"abcd").is_err());
        // More fragments than frames, and no table: a frame begins where a JPEG does.
        let parted = [
            item(&[]),
            item(&jpeg(1)),
            item(b"ab"),
            item(&jpeg(2)),
            ends.to_vec(),
        ]
        .concat();
        let two = Ok(vec![[jpeg(1), b"ab".to_vec()].concat(), jpeg(2)]);
        assert_eq!(places(b"2 ", None, &parted), two);
        assert!(
            places(
                b"3 ",
                None,
                &[&parted[..parted.len() - 8], &item(b"cd"), ends].concat()
            )
            .is_err()
        );
    }

    #[test]
    fn frames_are_put_together_of_fragments() {
        let in_fragments = |table: &[u32], fragments: &[&[u8]]| {
            let table: Vec<u8> = table.iter().flat_map(|offset| offset.to_le_bytes()).collect();
            let mut pixels = b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF".to_vec();
            pixels.extend(item(&table));
            fragments
                .iter()
                .for_each(|fragment| pixels.extend(item(fragment)));
            pixels.extend(b"\xFE\xFF\xDD\xE0\0\0\0\0");
            pixels
        };
        let two = Ok(vec![b"aabb".to_vec(), b"cc".to_vec()]);
        assert_eq!(
            read(&set(b"2 ", &in_fragments(&[0, 20], &[b"aa", b"bb", b"cc"]))),
            two
        );
        assert_eq!(read(&set(b"2 ", &in_fragments(&[], &[b"aabb", b"cc"]))), two);
        assert_eq!(
            read(&set(b"1 ", &in_fragments(&[], &[b"aa", b"bb"]))),
            Ok(vec![b"aabb".to_vec()])
        );
        assert!(read(&set(b"2 ", &in_fragments(&[], &[b"aa", b"bb", b"cc"]))).is_err());
        let mut cut = set(b"2 ", &in_fragments(&[], &[b"aa", b"bb"]));
        cut.truncate(cut.len() - 9);
        assert!(read(&cut).is_err());
    }
}
