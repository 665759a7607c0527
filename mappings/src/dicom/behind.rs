//! What stands behind the pixels of an object: private elements, signatures, what fills up (PS3.3 C.12.1.1.3, PS3.10 §7.2).

use std::io::{self, Read, Seek, SeekFrom};

use clinic::exchange::MapError;

use super::part10;
use super::pixels::places::header;
use super::pixels::wrong;

/// The most fragments that are passed.
const MAX_FRAGMENTS: usize = 200_000;

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
