//! A data set in explicit little endian, of one in implicit: what everybody has to take (PS3.18 §8.7.3.5).

use clinic::exchange::{MapError, Reason};
use dicom_core::{Tag, VR};

use super::charset::Fallback;
use super::dataset::DataSet;
use super::scan::{Coding, Event, Until, walk};
use super::write::element;

/// Elements that are a number with or without a sign, as the pixels are (PS3.6, "US or SS").
const AS_PIXELS: [Tag; 10] = [
    Tag(0x0028, 0x0104),
    Tag(0x0028, 0x0105),
    Tag(0x0028, 0x0106),
    Tag(0x0028, 0x0107),
    Tag(0x0028, 0x0108),
    Tag(0x0028, 0x0109),
    Tag(0x0028, 0x0110),
    Tag(0x0028, 0x0111),
    Tag(0x0028, 0x0120),
    Tag(0x0028, 0x0121),
];

/// The data set written anew. Values are as they were; group lengths, which would be wrong, are left out.
pub fn written(bytes: &[u8], coding: Coding) -> Result<Vec<u8>, MapError> {
    if coding != Coding::IMPLICIT {
        let what = "only what is in implicit little endian is written anew";
        return Err(MapError::new(Reason::UnsupportedType, None, what));
    }
    let set = DataSet::read(bytes, coding, Fallback::default())?;
    let is_signed = set.number(Tag(0x0028, 0x0103)) == Some(1);
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 16);
    let mut is_whole = true;
    walk(bytes, coding, Until::End, &mut |event| match event {
        Event::Value(header, _) if header.tag.1 == 0 => {}
        Event::Value(header, value) => {
            let vr = match header.vr {
                VR::US if is_signed && AS_PIXELS.contains(&header.tag) => VR::SS,
                vr => vr,
            };
            element(Coding::EXPLICIT, header.tag, vr, value, &mut out);
        }
        Event::Begin(header) => {
            tag(header.tag, &mut out);
            out.extend(b"SQ\0\0\xFF\xFF\xFF\xFF");
        }
        Event::Item => out.extend(b"\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF"),
        Event::ItemEnd => out.extend(b"\xFE\xFF\x0D\xE0\0\0\0\0"),
        Event::End(_) => out.extend(b"\xFE\xFF\xDD\xE0\0\0\0\0"),
        Event::Fragments(..) | Event::Pixels(..) => is_whole = false,
    })?;
    match is_whole {
        true => Ok(out),
        false => Err(MapError::new(
            Reason::DataType,
            None,
            "there are fragments where none can be",
        )),
    }
}

fn tag(tag: Tag, out: &mut Vec<u8>) {
    out.extend(tag.0.to_le_bytes());
    out.extend(tag.1.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::super::write::{Out, Said};
    use super::*;
    use crate::dicom::charset::Set;

    #[test]
    fn it_says_the_same() {
        let mut step = Out::default();
        step.text("Modality", "CT");
        let mut whole = Out::default();
        whole.text("PatientName", "Pop^Ana");
        whole.put(
            "ScheduledProcedureStepSequence",
            Said::Items(vec![step, Out::default()]),
        );
        whole.put("PixelRepresentation", Said::Number(1));
        whole.put("SmallestImagePixelValue", Said::Number(0xFFFF));
        whole.put("PixelData", Said::Bytes(vec![1, 2, 3, 4]));
        let implicit = whole.written(Coding::IMPLICIT, Set::Ascii);
        let explicit = written(&implicit, Coding::IMPLICIT).expect("right");
        assert!(explicit.ends_with(b"\xE0\x7F\x10\0OW\0\0\x04\0\0\0\x01\x02\x03\x04"));
        let read = |bytes: &[u8], coding| {
            json::of(&DataSet::read(bytes, coding, Fallback::default()).expect("right"))
        };
        let (mut was, is) = (
            read(&implicit, Coding::IMPLICIT),
            read(&explicit, Coding::EXPLICIT),
        );
        assert_eq!(is["00280106"], serde_json::json!({ "vr": "SS", "Value": [-1] }));
        was["00280106"] = is["00280106"].clone();
        assert_eq!(was, is);
        assert!(written(&explicit, Coding::EXPLICIT).is_err());
        assert!(written(&implicit[..implicit.len() - 1], Coding::IMPLICIT).is_err());
    }
}
