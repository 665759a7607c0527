//! Documents that lie in objects (PS3.3 A.45, C.24.2).

use dicom_core::Tag;

use super::dataset::{DataSet, Element};

const BYTES: Tag = Tag(0x0042, 0x0011);
const KIND: Tag = Tag(0x0042, 0x0012);
const LENGTH: Tag = Tag(0x0042, 0x0015);

/// A document in an object.
pub struct Document<'d> {
    /// Its media type; PDF where the object says none that is one.
    pub kind: String,
    /// What it is, without what fills up its value.
    pub bytes: &'d [u8],
}

/// The document in a data set; none: there is none in it.
pub fn document<'d>(set: &'d DataSet<'_>) -> Option<Document<'d>> {
    let bytes = set.get(BYTES).and_then(Element::bytes)?;
    let length = set.number(LENGTH).and_then(|length| usize::try_from(length).ok());
    let kind = set.text(KIND).filter(|kind| is_media_type(kind));
    Some(Document {
        kind: kind.unwrap_or_else(|| "application/pdf".to_owned()),
        bytes: without_filling(bytes, length),
    })
}

/// A value without what fills it up, where the object says how long it is.
pub(super) fn without_filling(bytes: &[u8], length: Option<usize>) -> &[u8] {
    match length {
        Some(length) if length <= bytes.len() => &bytes[..length],
        // One zero makes an odd length even.
        Some(_) | None => bytes.strip_suffix(&[0]).unwrap_or(bytes),
    }
}

/// What can stand in a header as a media type (RFC 6838 §4.2).
fn is_media_type(text: &str) -> bool {
    let of_word = |letter: u8| letter.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&letter);
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(of_word);
    text.split_once('/')
        .is_some_and(|(of, kind)| is_word(of) && is_word(kind))
}

#[cfg(test)]
mod tests {
    use super::super::charset::Fallback;
    use super::super::scan::Coding;
    use super::*;

    #[test]
    fn a_document_is_found_without_what_fills_it_up() {
        let of = |kind: &[u8], length: &[u8], bytes: &[u8]| {
            let mut out = vec![];
            for (element, vr, value) in [
                (0x11_u16, b"OB\0\0", bytes),
                (0x12, b"LO\0\0", kind),
                (0x15, b"UL\0\0", length),
            ] {
                out.extend([0x42, 0]);
                out.extend(element.to_le_bytes());
                if element == 0x11 {
                    out.extend(vr);
                    out.extend((value.len() as u32).to_le_bytes());
                } else {
                    out.extend(&vr[..2]);
                    out.extend((value.len() as u16).to_le_bytes());
                }
                out.extend(value);
            }
            let set = DataSet::read(&out, Coding::EXPLICIT, Fallback::default()).expect("right");
            document(&set).map(|document| (document.kind, document.bytes.to_vec()))
        };
        let pdf = "application/pdf".to_owned();
        assert_eq!(
            of(b"text/xml", b"\x03\0\0\0", b"<a/>"),
            Some(("text/xml".to_owned(), b"<a/".to_vec()))
        );
        assert_eq!(of(b"", b"", b"%PDF\0\0"), Some((pdf.clone(), b"%PDF\0".to_vec())));
        assert_eq!(
            of(b"a/b; c\r\nd", b"\x63\0\0\0", b"%PDF"),
            Some((pdf, b"%PDF".to_vec()))
        );
    }
}
