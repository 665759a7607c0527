//! An object as one in explicit or implicit little endian whose pixels are not compressed: what everybody has to take
//! (PS3.18 §8.7.3.5, PS3.5 §10.1).
//!
//! How long it will be is known before a frame is decoded, so that it is written piece by piece: never more than one frame
//! is in memory. Said anew is only what would be wrong: the transfer syntax, the photometric interpretation where the codec
//! undoes it, the planar configuration; group lengths, tables of offsets and a compressed icon are left out.

use std::io::{Cursor, Read, Seek, SeekFrom};

use clinic::exchange::{MapError, Reason};
use dicom_core::{Tag, VR};

use super::charset::Fallback;
use super::dataset::DataSet;
use super::explicit::{Change, Rewriting, is_signed};
use super::part10::{self, packing};
use super::pixels::places::{Place, header, is_native, packed, read, turn, turned};
use super::pixels::{PHOTOMETRIC, PIXELS, PLANAR, Shape, decode, unsupported};
use super::scan::{Coding, Until, is_long};
use super::write::{element, padded};

/// Explicit little endian.
pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
/// Implicit little endian.
pub const IMPLICIT: &str = "1.2.840.10008.1.2";
/// The most bytes of a deflated object, and of what follows the pixels of any.
const LONGEST_WHOLE: usize = 128 * 1024 * 1024;
/// What is not decoded is copied in pieces of this many bytes: a multiple of each number's.
const PIECE: u64 = 1024 * 1024;

/// An object that is being written anew.
#[derive(Debug)]
pub struct Native {
    head: Vec<u8>,
    pixels: Pixels,
    /// How long their value is, filled up to an even number.
    length: u64,
    tail: Vec<u8>,
}

#[derive(Debug)]
enum Pixels {
    /// There are none, or they are in the head.
    None,
    /// They are copied; values of so many bytes have the high one first.
    Copied(Place, usize),
    /// They are decoded.
    Frames {
        shape: Shape,
        syntax: String,
        places: Vec<Vec<Place>>,
    },
}

impl Native {
    /// Of a file of so many bytes, whose beginning up to its pixels is at hand, as one in `to`: [`EXPLICIT`] or [`IMPLICIT`].
    /// Nothing is decoded yet.
    pub fn of(
        beginning: &[u8],
        file: &mut (impl Read + Seek),
        length: u64,
        to: &str,
    ) -> Result<Self, MapError> {
        let (mut meta, begins) = part10::meta(beginning)?;
        let syntax = std::mem::replace(&mut meta.syntax, to.to_owned());
        let to = match to {
            EXPLICIT => Coding::EXPLICIT,
            IMPLICIT => Coding::IMPLICIT,
            _ => return Err(unsupported("is not written in such a transfer syntax here")),
        };
        let packing = packing(&syntax);
        let mut head = meta.written();
        if packing.deflated {
            let packed = rest(file, begins as u64, length)?;
            let data = part10::inflate_whole(&packed, LONGEST_WHOLE)?;
            head.extend(super::explicit::written(&data, packing.coding, to)?);
            return Ok(Native::without_pixels(head));
        }
        let data = beginning.get(begins..).unwrap_or_default();
        let set = DataSet::read(data, packing.coding, Fallback::default())?;
        let mut rewriting = Rewriting {
            coding: packing.coding,
            to,
            until: Until::Pixels,
            is_signed: is_signed(&set),
            changes: &[],
        };
        let Some((header, said)) = header(data, &syntax)? else {
            if (beginning.len() as u64) < length {
                return Err(MapError::new(
                    Reason::DataType,
                    None,
                    "the beginning of the object is too short",
                ));
            }
            head.extend(rewriting.written(data)?);
            return Ok(Native::without_pixels(head));
        };
        let from = (begins + header.from) as u64;
        let (pixels, count, end, vr) = match said {
            Some(said) if is_native(&syntax) => {
                let place = Place {
                    from,
                    length: said.into(),
                };
                let end = from + u64::from(said);
                let turned = turned(&syntax, header.vr);
                (Pixels::Copied(place, turned), u64::from(said), end, header.vr)
            }
            said if header.tag == PIXELS && decode::is_known(&syntax) => {
                let was = Shape::of(&set)?;
                let (places, end) = packed(file, from, said, was.frames)?;
                let is = decode::shape(&syntax, &was);
                let count = is.frame_bytes().saturating_mul(was.frames as u64);
                let vr = if is.allocated <= 8 { VR::OB } else { VR::OW };
                let frames = Pixels::Frames {
                    shape: was,
                    syntax,
                    places,
                };
                (frames, count, end, vr)
            }
            Some(_) | None => {
                return Err(unsupported("is in a transfer syntax that is not decoded here"));
            }
        };
        // A kind that pixels are never of says nothing about them.
        let vr = if is_long(vr) && vr != VR::SQ { vr } else { VR::OW };
        let changes = match &pixels {
            Pixels::Frames { shape, syntax, .. } => changes(syntax, shape),
            Pixels::None | Pixels::Copied(..) => vec![],
        };
        rewriting.changes = &changes;
        head.extend(rewriting.written(data)?);
        let even = count.next_multiple_of(2);
        let Some(written) = u32::try_from(even).ok().filter(|even| *even < u32::MAX) else {
            return Err(unsupported("is too long to be written without compression"));
        };
        let mut begun = vec![];
        element(to, header.tag, vr, &[], &mut begun);
        // All but the length.
        begun.truncate(begun.len() - 4);
        head.extend(begun);
        head.extend(written.to_le_bytes());
        rewriting.until = Until::End;
        rewriting.changes = &[];
        let tail = rewriting.written(&rest(file, end, length)?)?;
        Ok(Native {
            head,
            pixels,
            length: even,
            tail,
        })
    }

    fn without_pixels(head: Vec<u8>) -> Self {
        Native {
            head,
            pixels: Pixels::None,
            length: 0,
            tail: vec![],
        }
    }

    /// How long the object will be, before its first piece was taken.
    pub fn length(&self) -> u64 {
        self.head.len() as u64 + self.length + self.tail.len() as u64
    }

    /// About how many bytes of memory a piece takes while it is made.
    pub fn memory(&self) -> usize {
        match &self.pixels {
            Pixels::None => 0,
            Pixels::Copied(..) => 2 * PIECE as usize,
            Pixels::Frames {
                shape,
                syntax,
                places,
            } => decode::memory(syntax, shape, places),
        }
    }

    /// How many pieces it has.
    pub fn pieces(&self) -> usize {
        2 + match &self.pixels {
            Pixels::None => 0,
            Pixels::Copied(place, _) => usize::try_from(place.length.div_ceil(PIECE)).unwrap_or(usize::MAX),
            Pixels::Frames { places, .. } => places.len(),
        }
    }

    /// One of its pieces, each once, of the same file.
    pub fn piece(&mut self, number: usize, file: &mut (impl Read + Seek)) -> Result<Vec<u8>, MapError> {
        let Some(number) = number.checked_sub(1) else {
            return Ok(std::mem::take(&mut self.head));
        };
        let count = self.pieces() - 2;
        if count <= number {
            return Ok(std::mem::take(&mut self.tail));
        }
        let mut bytes = match &self.pixels {
            Pixels::None => vec![],
            Pixels::Copied(place, width) => {
                let from = PIECE * number as u64;
                let place = Place {
                    from: place.from + from,
                    length: PIECE.min(place.length - from),
                };
                turn(read(file, &[place])?, *width)
            }
            Pixels::Frames {
                shape,
                syntax,
                places,
            } => decode::decoded(syntax, shape, &read(file, &places[number])?)?,
        };
        if number + 1 == count {
            bytes = padded(bytes, 0);
        }
        Ok(bytes)
    }
}

/// All of an object that is at hand whole, in explicit or implicit little endian, of at most so many bytes.
pub fn written(bytes: &[u8], most: u64, to: &str) -> Result<Vec<u8>, MapError> {
    let mut file = Cursor::new(bytes);
    let mut native = Native::of(bytes, &mut file, bytes.len() as u64, to)?;
    if most < native.length() {
        return Err(unsupported("is too long to be written without compression"));
    }
    let mut out = Vec::with_capacity(usize::try_from(native.length()).unwrap_or_default());
    for number in 0..native.pieces() {
        out.extend(native.piece(number, &mut file)?);
    }
    Ok(out)
}

/// What an object whose frames were decoded says differently.
fn changes(syntax: &str, was: &Shape) -> Vec<Change> {
    let is = decode::shape(syntax, was);
    let mut changes = vec![];
    if is.photometric != was.photometric {
        let value = padded(is.photometric.into_bytes(), b' ');
        changes.push((PHOTOMETRIC, Some((VR::CS, value))));
    }
    if 1 < was.samples {
        changes.push((PLANAR, Some((VR::US, vec![0, 0]))));
    }
    // Tables of where frames were, and how long all were (PS3.3 C.7.6.3.1.8).
    changes.extend([1, 2, 3].map(|element| (Tag(0x7FE0, element), None)));
    changes
}

/// What stands in a file from a place on.
fn rest(file: &mut (impl Read + Seek), from: u64, length: u64) -> Result<Vec<u8>, MapError> {
    let left = length.saturating_sub(from);
    if (LONGEST_WHOLE as u64) < left {
        return Err(unsupported("is too long to be written anew here"));
    }
    let unreadable = |_| MapError::new(Reason::DataType, None, "the object ends before its end");
    let mut bytes = Vec::with_capacity(usize::try_from(left).unwrap_or_default());
    file.seek(SeekFrom::Start(from)).map_err(unreadable)?;
    file.by_ref()
        .take(left)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    match bytes.len() as u64 == left {
        true => Ok(bytes),
        false => Err(MapError::new(
            Reason::DataType,
            None,
            "the object ends before its end",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::part10::{File, Meta};
    use super::*;

    fn file(syntax: &str, data: &[u8]) -> Vec<u8> {
        let meta = Meta {
            syntax: syntax.to_owned(),
            ..Meta::default()
        };
        [meta.written(), data.to_vec()].concat()
    }

    fn data(bytes: &[u8], most: u64) -> Result<Vec<u8>, MapError> {
        let native = written(bytes, most, EXPLICIT)?;
        let file = File::read(&native)?;
        assert_eq!(file.meta.syntax, EXPLICIT);
        // There and back.
        let implicit = written(bytes, most, IMPLICIT)?;
        assert_eq!(File::read(&implicit)?.meta.syntax, IMPLICIT);
        assert_eq!(written(&implicit, most, EXPLICIT).as_ref(), Ok(&native));
        Ok(file.data.to_vec())
    }

    #[test]
    fn values_of_an_odd_length_are_filled_up() {
        let odd = [
            &b"\x10\0\x10\0PN\x03\0Pop"[..],
            b"\x20\0\x0D\0UI\x03\x001.2",
            b"\xE0\x7F\x10\0OB\0\0\x03\0\0\0\x01\x02\x03",
        ]
        .concat();
        let even = [
            &b"\x10\0\x10\0PN\x04\0Pop "[..],
            b"\x20\0\x0D\0UI\x04\x001.2\0",
            b"\xE0\x7F\x10\0OB\0\0\x04\0\0\0\x01\x02\x03\0",
        ]
        .concat();
        assert_eq!(
            written(&file(EXPLICIT, &odd), 1_000, EXPLICIT),
            Ok(file(EXPLICIT, &even))
        );
    }

    #[test]
    fn what_is_not_packed_is_copied() {
        let words = b"\xE0\x7F\x10\0OW\0\0\x04\0\0\0\x01\x02\x03\x04";
        assert_eq!(data(&file(EXPLICIT, words), 1_000), Ok(words.to_vec()));
        // An odd length is filled up, and a kind that pixels are never of is words.
        let odd = b"\xE0\x7F\x10\0US\x03\0\x01\x02\x03";
        let even = b"\xE0\x7F\x10\0OW\0\0\x04\0\0\0\x01\x02\x03\0";
        assert_eq!(data(&file(EXPLICIT, odd), 1_000), Ok(even.to_vec()));
        let implicit = b"\xE0\x7F\x10\0\x04\0\0\0\x01\x02\x03\x04";
        assert_eq!(
            data(&file("1.2.840.10008.1.2", implicit), 1_000),
            Ok(words.to_vec())
        );
        // The pixels alone have the high byte first.
        assert_eq!(
            data(
                &file(part10::GE_BIG_PIXELS, b"\xE0\x7F\x10\0\x04\0\0\0\x02\x01\x04\x03"),
                1_000
            ),
            Ok(words.to_vec())
        );
        let asked = written(&file(EXPLICIT, words), 1_000, IMPLICIT).expect("right");
        assert!(asked.ends_with(b"\xE0\x7F\x10\0\x04\0\0\0\x01\x02\x03\x04"));
        assert!(written(&file(EXPLICIT, words), 1_000, "1.2.840.10008.1.2.5").is_err());
        assert!(data(&file(EXPLICIT, words), 10).is_err(), "longer than is wanted");
        assert!(
            data(&file("1.2.840.10008.1.2.4.50", words), 1_000).is_err(),
            "not packed"
        );
        assert!(data(&file(EXPLICIT, &words[..14]), 1_000).is_err(), "cut");
    }
}
