//! Where the frames of an object lie (PS3.5 §8, §A.4): whole in the pixel data, or in fragments.

use std::io::{self, Read, Seek, SeekFrom};

use clinic::exchange::{MapError, Reason};
use dicom_core::Tag;

use super::charset::Fallback;
use super::dataset::DataSet;
use super::scan::{Coding, Event, Until, walk};

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

/// How the pixel data of an object is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Where its value begins, from the beginning of the data set.
    from: u64,
    /// How long it is; none: it is in fragments.
    length: Option<u64>,
    /// How many frames it says that it has.
    frames: usize,
    /// Bytes of one, where they are not compressed.
    size: u64,
}

/// The media type of frames in a transfer syntax, and the one that they are answered in (PS3.18 table 8.7.3-5); none:
/// they are not taken apart.
pub fn media(syntax: &str) -> Option<(&'static str, &str)> {
    let after = syntax.strip_prefix("1.2.840.10008.1.2");
    Some(match after? {
        "" | ".1" => ("application/octet-stream", "1.2.840.10008.1.2.1"),
        ".5" => ("image/dicom-rle", syntax),
        ".4.50" | ".4.51" | ".4.57" | ".4.70" => ("image/jpeg", syntax),
        ".4.80" | ".4.81" => ("image/jls", syntax),
        ".4.90" | ".4.91" => ("image/jp2", syntax),
        ".4.92" | ".4.93" => ("image/jpx", syntax),
        ".4.201" | ".4.202" | ".4.203" => ("image/jphc", syntax),
        _ => return None,
    })
}

/// How the pixel data is laid out in a data set whose beginning this is.
pub fn layout(data: &[u8], coding: Coding) -> Result<Layout, MapError> {
    let set = DataSet::read(data, coding, Fallback::default())?;
    let mut found = None;
    walk(data, coding, Until::Pixels, &mut |event| {
        if let Event::Pixels(header, length) = event {
            found = Some((header, length));
        }
    })?;
    let Some((header, length)) = found.filter(|(header, _)| header.tag == Tag(0x7FE0, 0x0010)) else {
        return Err(MapError::missing("7FE0,0010", "The pixel data"));
    };
    let number = |keyword: Tag| set.number(keyword).and_then(|number| u64::try_from(number).ok());
    let frames = number(Tag(0x0028, 0x0008))
        .unwrap_or(1)
        .clamp(1, MAX_FRAGMENTS as u64);
    let pixels = [Tag(0x0028, 0x0010), Tag(0x0028, 0x0011), Tag(0x0028, 0x0100)]
        .map(|tag| number(tag).unwrap_or_default());
    let samples = number(Tag(0x0028, 0x0002)).unwrap_or(1);
    let bits = pixels.iter().fold(samples, |all, one| all.saturating_mul(*one));
    Ok(Layout {
        from: header.from as u64,
        length: length.map(u64::from),
        frames: frames as usize,
        size: bits / 8,
    })
}

fn wrong(what: &str) -> MapError {
    MapError::new(Reason::DataType, Some("7FE0,0010"), what)
}

/// Where each frame lies, in its pieces. `begins`: where in the file the data set begins.
pub fn frames(
    file: &mut (impl Read + Seek),
    begins: u64,
    layout: &Layout,
) -> Result<Vec<Vec<Place>>, MapError> {
    let from = begins.saturating_add(layout.from);
    let Some(length) = layout.length else {
        return fragments(file, from, layout.frames);
    };
    if layout.size == 0 || length / layout.size < layout.frames as u64 {
        return Err(wrong("is shorter than its frames"));
    }
    let place = |number: usize| {
        vec![Place {
            from: from + number as u64 * layout.size,
            length: layout.size,
        }]
    };
    Ok((0..layout.frames).map(place).collect())
}

fn fragments(file: &mut (impl Read + Seek), from: u64, frames: usize) -> Result<Vec<Vec<Place>>, MapError> {
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
    if frames == 1 {
        return Ok(vec![places]);
    }
    if places.len() == frames {
        return Ok(places.into_iter().map(|place| vec![place]).collect());
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
    Ok(all)
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
        let file = [b"meta", set].concat();
        let layout = layout(set, Coding::EXPLICIT)?;
        let places = frames(&mut io::Cursor::new(&file), 4, &layout)?;
        let bytes = |place: &Place| file[place.from as usize..][..place.length as usize].to_vec();
        Ok(places
            .iter()
            .map(|frame| frame.iter().flat_map(bytes).collect())
            .collect())
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
