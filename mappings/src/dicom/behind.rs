//! What stands behind the pixels of an object: private elements, signatures, what fills up (PS3.3 C.12.1.1.3, PS3.10 §7.2).
//! Nothing of it is carried into the model, and all of it is told.

use std::borrow::Cow;
use std::io::{self, Read, Seek, SeekFrom};

use clinic::exchange::{Extra, MapError, Place};

use super::charset::Fallback;
use super::dataset::Value;
use super::names;
use super::part10::{self, File, packing};
use super::pixels::places::header;
use super::pixels::{PIXELS, wrong};
use super::said::{At, Ledger};
use super::scan::{self, Coding, Event, Until, is_pixels};

/// The most fragments that are passed.
const MAX_FRAGMENTS: usize = 200_000;
/// The most bytes behind the pixels that are looked through.
const LONGEST: u64 = 8 * 1024 * 1024;
/// The most bytes of a deflated object that are inflated to come behind its pixels.
const MOST_INFLATED: u64 = 1024 * 1024 * 1024;

/// What a long object, of which the beginning is at hand, says behind its pixels, as losses.
pub fn losses(
    beginning: &[u8],
    file: &mut (impl Read + Seek),
    length: u64,
    fallback: Fallback,
) -> Result<Vec<Extra>, MapError> {
    let of = File::read(beginning)?;
    let found = match packing(&of.meta.syntax).deflated {
        true => inflated(&of, file)?,
        false => match begins(beginning, file)? {
            None => return Ok(vec![]),
            Some(from) if LONGEST < length.saturating_sub(from) => {
                Err(format!("{} bytes stand behind the pixels", length - from))
            }
            Some(from) => {
                file.seek(SeekFrom::Start(from)).map_err(unreadable)?;
                let mut bytes = vec![];
                file.take(LONGEST).read_to_end(&mut bytes).map_err(unreadable)?;
                Ok(bytes)
            }
        },
    };
    match found {
        Ok(bytes) => told(&of, &bytes, fallback),
        Err(why) => Ok(vec![note(PIXELS, format!("{why}, which are not looked through"))]),
    }
}

/// What an object says behind its pixels that is at hand as a whole; nothing: it is not, or there are none.
pub(super) fn losses_of_whole(file: &File<'_>, fallback: Fallback) -> Vec<Extra> {
    let data = match packing(&file.meta.syntax).deflated {
        false => Cow::Borrowed(file.data),
        true => match part10::inflate_whole(file.data, part10::MAX_INFLATED) {
            Ok(data) => Cow::Owned(data),
            Err(_) => return vec![],
        },
    };
    let behind = end_of_pixels(&data, file.coding()).and_then(|end| data.get(end..));
    match behind {
        None | Some([]) => vec![],
        Some(behind) => told(file, behind, fallback).unwrap_or_default(),
    }
}

/// The elements in these bytes, as losses.
fn told(file: &File<'_>, behind: &[u8], fallback: Fallback) -> Result<Vec<Extra>, MapError> {
    let set = file.data_set(fallback)?;
    let set = match set.behind(behind, file.coding(), fallback) {
        Ok(set) => set,
        Err(error) => {
            let why = format!("what stands behind the pixels can't be read: {}", error.what);
            return Ok(vec![note(PIXELS, why)]);
        }
    };
    let mut losses = At::new(&set, &Ledger::default()).rest();
    // Other pixels, at which the reading ends.
    let others = set.elements.iter().find(|element| is_pixels(element.header.tag));
    if let Some(others) = others {
        debug_assert!(matches!(others.value, Value::Elsewhere));
        let why = "a second value of pixels; it, and what stands behind it, is not carried";
        losses.push(note(others.header.tag, why.to_owned()));
    }
    Ok(losses)
}

fn note(tag: dicom_core::Tag, why: String) -> Extra {
    Extra {
        place: Place(names::name(tag)),
        value: String::new(),
        note: Some(why),
    }
}

fn unreadable(_: io::Error) -> MapError {
    wrong("can't be read to their end")
}

/// The bytes behind the pixels of a deflated object, or what there is too much of.
fn inflated(of: &File<'_>, file: &mut (impl Read + Seek)) -> Result<Result<Vec<u8>, String>, MapError> {
    let Some((header, length)) = header(of.plain(), &of.meta.syntax)? else {
        return Ok(Ok(vec![]));
    };
    let pixels = length.ok_or_else(|| wrong("are deflated and have no length"))?;
    let before = header.from as u64 + u64::from(pixels);
    if MOST_INFLATED < before {
        return Ok(Err(format!(
            "{before} bytes are deflated before what stands behind the pixels"
        )));
    }
    file.seek(SeekFrom::Start(of.begins as u64)).map_err(unreadable)?;
    let mut reader = flate2::read::DeflateDecoder::new(file);
    let passed = io::copy(&mut reader.by_ref().take(before), &mut io::sink()).map_err(unreadable)?;
    let mut bytes = vec![];
    reader
        .take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if passed < before {
        return Err(wrong("are longer than what is there"));
    }
    Ok(match bytes.len() as u64 <= LONGEST {
        true => Ok(bytes),
        false => Err(format!("more than {LONGEST} bytes stand behind the pixels")),
    })
}

/// The first byte behind the pixels of a data set; none: it has none, or they are cut off.
pub(super) fn end_of_pixels(data: &[u8], coding: Coding) -> Option<usize> {
    let (mut depth, mut end) = (0_usize, None);
    // What holds together behind them is no matter here.
    let _ = scan::walk(data, coding, Until::End, &mut |event| match event {
        Event::Begin(_) => depth += 1,
        Event::End(_) => depth = depth.saturating_sub(1),
        Event::Value(header, value) if depth == 0 && is_pixels(header.tag) => {
            end = end.or(Some(header.from + value.len()));
        }
        Event::Fragments(header, at) if depth == 0 && is_pixels(header.tag) => end = end.or(Some(at)),
        Event::Value(..) | Event::Fragments(..) | Event::Pixels(..) | Event::Item | Event::ItemEnd => {}
    });
    end
}

/// At which byte of the file that begins, whose own beginning, up to its pixels, this is. None: it has no pixels. What is deflated
/// has no such place.
pub fn begins(beginning: &[u8], file: &mut (impl Read + Seek)) -> Result<Option<u64>, MapError> {
    let (meta, begins) = part10::meta(beginning)?;
    let data = beginning.get(begins..).unwrap_or_default();
    let Some((header, length)) = header(data, &meta.syntax)? else {
        return Ok(None);
    };
    let from = (begins + header.from) as u64;
    Ok(Some(match length {
        Some(length) => from + u64::from(length),
        None => end_of_fragments(file, from)?,
    }))
}

/// Behind the delimiter of the fragments that begin here (PS3.5 §A.4).
fn end_of_fragments(file: &mut (impl Read + Seek), from: u64) -> Result<u64, MapError> {
    let unreadable = |_: io::Error| wrong("ends inside its fragments");
    let mut at = from;
    for _ in 0..MAX_FRAGMENTS {
        file.seek(SeekFrom::Start(at)).map_err(unreadable)?;
        let mut head = [0; 8];
        file.read_exact(&mut head).map_err(unreadable)?;
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        at += 8;
        match head[..4] {
            [0xFE, 0xFF, 0x00, 0xE0] if length != u32::MAX => at += u64::from(length),
            [0xFE, 0xFF, 0xDD, 0xE0] => return Ok(at),
            _ => return Err(wrong("has something else where a fragment should be")),
        }
    }
    Err(wrong("has too many fragments"))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::charset::Fallback;
    use super::super::json;
    use super::super::part10::{File, Meta};
    use super::super::scan::Coding;
    use super::*;

    fn file(syntax: &str, pixels: &[u8], behind: &[u8]) -> Vec<u8> {
        let meta = Meta {
            class: "1.2.840.10008.5.1.4.1.1.7".into(),
            instance: "1.2".into(),
            syntax: syntax.into(),
            ..Meta::default()
        };
        let before = b"\x08\0\x05\0CS\x0A\0ISO_IR 101\x10\0\x10\0PN\x04\0Pop ";
        [&meta.written(), &before[..], pixels, behind].concat()
    }

    const BEHIND: &[u8] = b"\xE1\x7F\x10\0LO\x04\0ACME\xE1\x7F\x01\x10LO\x02\0\xBA \xFA\xFF\xFA\xFFSQ\0\0\0\0\0\0\xFC\xFF\xFC\xFFOB\0\0\x04\0\0\0\0\0\0\0";

    #[test]
    fn what_stands_behind_the_pixels_is_found_and_told() {
        let packed = b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0\xFE\xFF\0\xE0\x04\0\0\0abcd\xFE\xFF\xDD\xE0\0\0\0\0";
        let plain = b"\xE0\x7F\x10\0OW\0\0\x04\0\0\0abcd";
        for (syntax, pixels) in [
            ("1.2.840.10008.1.2.1", &plain[..]),
            ("1.2.840.10008.1.2.4.50", &packed[..]),
        ] {
            let bytes = file(syntax, pixels, BEHIND);
            let from = begins(&bytes, &mut Cursor::new(&bytes)).expect("right");
            assert_eq!(from, Some((bytes.len() - BEHIND.len()) as u64), "{syntax}");
            // The beginning alone is enough to know it, where the length is said.
            let cut = &bytes[..bytes.len() - BEHIND.len() - 2];
            let found = begins(cut, &mut Cursor::new(cut));
            assert_eq!(found.is_ok(), syntax.ends_with(".1"));
            let read = File::read(&bytes).expect("right");
            let mut set = read.data_set(Fallback::default()).expect("right");
            set.add_behind(BEHIND, Coding::EXPLICIT, Fallback::default())
                .expect("right");
            let told = json::of(&set);
            assert_eq!(told["7FE10010"]["Value"][0], "ACME");
            // In the character set of the object.
            assert_eq!(told["7FE11001"]["Value"][0], "ş");
            assert_eq!(told["FFFAFFFA"]["vr"], "SQ");
            assert_eq!(told["FFFCFFFC"]["InlineBinary"], "AAAAAA==");
            assert_eq!(told["00100010"]["Value"][0]["Alphabetic"], "Pop");
        }
        // Garbage adds nothing.
        let bytes = file("1.2.840.10008.1.2.1", plain, b"abc");
        let read = File::read(&bytes).expect("right");
        let mut set = read.data_set(Fallback::default()).expect("right");
        let before = set.elements.len();
        assert!(
            set.add_behind(b"abc", Coding::EXPLICIT, Fallback::default())
                .is_err()
        );
        assert_eq!(set.elements.len(), before);
        let none = file("1.2.840.10008.1.2.1", b"", b"");
        assert_eq!(begins(&none, &mut Cursor::new(&none)), Ok(None));
    }
}
