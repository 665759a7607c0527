//! A data set written anew in explicit or implicit little endian, of one in any coding: what everybody has to take (PS3.18
//! §8.7.3.5, PS3.5 §10.1).

use std::borrow::Cow;

use clinic::exchange::{MapError, Reason};
use dicom_core::{Tag, VR};

use super::charset::Fallback;
use super::dataset::DataSet;
use super::pixels::places::turn;
use super::scan::{Coding, Event, Until, check, is_long, walk};
use super::write::{element, padded};

/// Elements that are a number with or without a sign, as the pixels are (PS3.6, "US or SS").
pub(super) const AS_PIXELS: [Tag; 10] = [
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

/// Icon Image Sequence: a small picture of the large one, whose pixels may be compressed like those.
const ICON: Tag = Tag(0x0088, 0x0200);

/// What stands at a tag of the data set, in place of what was received there; none: nothing.
pub(super) type Change = (Tag, Option<(VR, Vec<u8>)>);

/// How a part of a data set is written anew.
pub(super) struct Rewriting<'r> {
    /// How it was written.
    pub coding: Coding,
    /// How it is to be: explicit or implicit little endian.
    pub to: Coding,
    /// How far.
    pub until: Until,
    /// Pixels of the object may be below zero.
    pub is_signed: bool,
    /// What is another than it was, in the order of the tags.
    pub changes: &'r [Change],
}

/// True where the pixels of an object may be below zero.
pub(super) fn is_signed(set: &DataSet<'_>) -> bool {
    set.number(Tag(0x0028, 0x0103)) == Some(1)
}

/// A value of an even length, as every value has to be (PS3.5 §7.1.1).
fn even(value: Cow<'_, [u8]>, vr: VR) -> Cow<'_, [u8]> {
    if value.len().is_multiple_of(2) {
        return value;
    }
    let is_text = !matches!(vr, VR::UI) && !is_long(vr) || matches!(vr, VR::UC | VR::UR | VR::UT);
    Cow::Owned(padded(value.into_owned(), if is_text { b' ' } else { 0 }))
}

/// The data set written anew in explicit or implicit little endian. Values are as they were; group lengths, which would be
/// wrong, are left out.
pub fn written(bytes: &[u8], coding: Coding, to: Coding) -> Result<Vec<u8>, MapError> {
    let set = DataSet::read(bytes, coding, Fallback::default())?;
    let rewriting = Rewriting {
        coding,
        to,
        until: Until::End,
        is_signed: is_signed(&set),
        changes: &[],
    };
    rewriting.written(bytes)
}

impl Rewriting<'_> {
    /// A data set, or what follows its pixels; of what is read up to its pixels, all before them.
    pub(super) fn written(&self, bytes: &[u8]) -> Result<Vec<u8>, MapError> {
        let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 16);
        let mut changes = self.changes.iter().peekable();
        // Sequences and items that are open, and where the outermost began.
        let mut depth = 0_usize;
        let mut outermost = (Tag(0, 0), 0);
        let mut holds_fragments = false;
        let mut is_whole = true;
        walk(bytes, self.coding, self.until, &mut |event| {
            if let Event::Value(header, _) | Event::Begin(header) | Event::Pixels(header, _) = event
                && depth == 0
            {
                while let Some((tag, said)) = changes.next_if(|(tag, _)| *tag <= header.tag) {
                    if let Some((vr, value)) = said {
                        element(self.to, *tag, *vr, value, &mut out);
                    }
                }
            }
            match event {
                Event::Value(header, _) if header.tag.1 == 0 => {}
                Event::Value(header, _) if depth == 0 && self.is_changed(header.tag) => {}
                Event::Value(header, value) => {
                    let vr = match header.vr {
                        VR::US
                            if header.coding.implicit
                                && self.is_signed
                                && AS_PIXELS.contains(&header.tag) =>
                        {
                            VR::SS
                        }
                        vr => vr,
                    };
                    let value = match header.coding.big_endian {
                        true => Cow::Owned(low_first(value, vr)),
                        false => Cow::Borrowed(value),
                    };
                    element(self.to, header.tag, vr, &even(value, vr), &mut out);
                }
                Event::Begin(header) => {
                    if depth == 0 {
                        outermost = (header.tag, out.len());
                        holds_fragments = false;
                    }
                    depth += 1;
                    tag(header.tag, &mut out);
                    if !self.to.implicit {
                        out.extend(b"SQ\0\0");
                    }
                    out.extend([0xFF; 4]);
                }
                Event::Item => {
                    depth += 1;
                    out.extend(b"\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF");
                }
                Event::ItemEnd => {
                    depth = depth.saturating_sub(1);
                    out.extend(b"\xFE\xFF\x0D\xE0\0\0\0\0");
                }
                Event::End(_) => {
                    depth = depth.saturating_sub(1);
                    out.extend(b"\xFE\xFF\xDD\xE0\0\0\0\0");
                    if depth == 0 && (holds_fragments || self.is_changed(outermost.0)) {
                        out.truncate(outermost.1);
                    }
                }
                Event::Fragments(..) => {
                    holds_fragments = true;
                    is_whole &= depth != 0 && outermost.0 == ICON;
                }
                Event::Pixels(..) => {}
            }
        })?;
        for (tag, said) in changes {
            if let Some((vr, value)) = said {
                element(self.to, *tag, *vr, value, &mut out);
            }
        }
        if !is_whole {
            return Err(MapError::new(
                Reason::DataType,
                None,
                "there are fragments where none can be",
            ));
        }
        if self.to.implicit {
            is_known_by_its_tags(&out)?;
        }
        Ok(out)
    }

    fn is_changed(&self, tag: Tag) -> bool {
        self.changes.iter().any(|(changed, _)| *changed == tag)
    }
}

/// Without kinds an element is what its tag says. Where the object said something else, it would be read wrongly.
fn is_known_by_its_tags(written: &[u8]) -> Result<(), MapError> {
    check(written, Coding::IMPLICIT, Until::End)
        .map(drop)
        .map_err(|error| MapError {
            what: format!(
                "is not of the kind that its tag has, so that it can't be written without: {error}"
            ),
            ..error
        })
}

/// A value with the low byte of each number first.
pub(super) fn low_first(value: &[u8], vr: VR) -> Vec<u8> {
    let width = match vr {
        VR::US | VR::SS | VR::OW | VR::AT => 2,
        VR::UL | VR::SL | VR::FL | VR::OF | VR::OL => 4,
        VR::FD | VR::OD | VR::OV | VR::SV | VR::UV => 8,
        _ => 1,
    };
    turn(value.to_vec(), width)
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
        let explicit = written(&implicit, Coding::IMPLICIT, Coding::EXPLICIT).expect("right");
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
        // Of itself it stays what it is, and by the other coding it comes back.
        assert_eq!(
            written(&explicit, Coding::EXPLICIT, Coding::EXPLICIT).as_ref(),
            Ok(&explicit)
        );
        let again = written(&explicit, Coding::EXPLICIT, Coding::IMPLICIT).expect("right");
        assert!(again.ends_with(b"\xE0\x7F\x10\0\x04\0\0\0\x01\x02\x03\x04"));
        assert_eq!(written(&again, Coding::IMPLICIT, Coding::EXPLICIT), Ok(explicit));
        let big = whole.written(Coding::BIG, Set::Ascii);
        let turned = written(&big, Coding::BIG, Coding::EXPLICIT).expect("right");
        let mut as_big = was.clone();
        as_big["00280106"] = read(&big, Coding::BIG)["00280106"].clone();
        assert_eq!(read(&turned, Coding::EXPLICIT), as_big);
        assert!(turned.ends_with(b"\xE0\x7F\x10\0OW\0\0\x04\0\0\0\x02\x01\x04\x03"));
        assert!(
            written(
                &implicit[..implicit.len() - 1],
                Coding::IMPLICIT,
                Coding::EXPLICIT
            )
            .is_err()
        );
    }
}
