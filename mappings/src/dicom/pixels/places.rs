//! Where the frames of an object lie (PS3.5 §8, §A.4): whole in the pixel data, or in fragments.

use std::io::{self, Read, Seek, SeekFrom};

use clinic::exchange::MapError;

use super::super::charset::Fallback;
use super::super::dataset::DataSet;
use super::super::part10::{self, packing};
use super::super::scan::{Event, Header, Until, walk};
use super::{LONGEST_FRAME, PIXELS, Shape, decode, unsupported, wrong};

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
        let found = header(data, &meta.syntax)?.filter(|(header, _)| header.tag == PIXELS);
        let (header, length) = found.ok_or_else(|| MapError::missing("7FE0,0010", "The pixel data"))?;
        let shape = Shape::of(&set)?;
        let from = (begins + header.from) as u64;
        let places = match length {
            Some(length) => whole(from, length.into(), &shape)?,
            None => fragments(file, from, shape.frames)?.0,
        };
        Ok(Frames {
            turned: turned(&meta.syntax, header.vr),
            is_packed: length.is_none(),
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
            false => turn(bytes, self.turned),
        }))
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

/// Frames that are not compressed lie one behind the other.
fn whole(from: u64, length: u64, shape: &Shape) -> Result<Vec<Vec<Place>>, MapError> {
    let size = shape.frame_bytes();
    if size == 0 || length / size < shape.frames as u64 {
        return Err(wrong("is shorter than its frames"));
    }
    let place = |number: usize| {
        vec![Place {
            from: from + number as u64 * size,
            length: size,
        }]
    };
    Ok((0..shape.frames).map(place).collect())
}

/// Frames that are put together of fragments, and where what follows them begins.
pub(in super::super) fn fragments(
    file: &mut (impl Read + Seek),
    from: u64,
    frames: usize,
) -> Result<(Vec<Vec<Place>>, u64), MapError> {
    let unreadable = |_: io::Error| wrong("ends inside its fragments");
    let mut at = from;
    let mut places: Vec<Place> = vec![];
    let mut offsets: Vec<u64> = vec![];
    let mut is_table = true;
    loop {
        file.seek(SeekFrom::Start(at)).map_err(unreadable)?;
        let mut head = [0; 8];
        file.read_exact(&mut head).map_err(unreadable)?;
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        match head[..4] {
            [0xFE, 0xFF, 0x00, 0xE0] if length != u32::MAX => {}
            [0xFE, 0xFF, 0xDD, 0xE0] => break,
            _ => return Err(wrong("has something else where a fragment should be")),
        }
        if std::mem::take(&mut is_table) {
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
            places.push(Place {
                from: at + 8,
                length: length.into(),
            });
        }
        at += 8 + u64::from(length);
    }
    let end = at + 8;
    if frames == 1 {
        return Ok((vec![places], end));
    }
    if places.len() == frames {
        return Ok((places.into_iter().map(|place| vec![place]).collect(), end));
    }
    // The table counts from the first fragment on (PS3.5 §A.4).
    let first = places.first().map_or(0, |place| place.from - 8);
    if offsets.len() != frames || !offsets.is_sorted() {
        return Err(wrong("does not say which fragments are which frame"));
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
