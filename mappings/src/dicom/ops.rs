//! `set` on tags: values assigned, copied, emptied, taken out, at paths.

use clinic::exchange::{MapError, Reason};
use dicom_core::Tag;

use super::charset::Fallback;
use super::dataset::{DataSet, Element, Value};
use super::edit::{Becomes, Editor, cannot_be_set, edited, placed};
use super::names;
use super::part10::File;
use super::path::Path;
use super::write::{Out, Said};

/// What is done at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// These values stand there, whether there were some or not.
    Assign(Vec<String>),
    /// It is there and says nothing.
    Clear,
    /// It has the values of another path.
    Copy(Path),
    /// It is not there.
    Remove,
}

/// Does them all, each on what came; of two at one path the last one counts.
pub fn set(bytes: &[u8], fallback: Fallback, ops: &[(Path, Op)]) -> Result<Vec<u8>, MapError> {
    let copied = {
        let file = File::read(bytes)?;
        let set = file.data_set(fallback)?;
        let mut ready = vec![];
        for (path, op) in ops {
            leads_somewhere(path, op, &set)?;
            let op = match op {
                Op::Copy(from) => Op::Assign(from.values(&set)),
                Op::Assign(_) | Op::Clear | Op::Remove => op.clone(),
            };
            ready.push((path.clone(), op));
        }
        ready
    };
    edited(bytes, fallback, &mut Ops(copied))
}

/// A value can't be put into an item that is not there, but for the first one of a sequence, which is made.
fn leads_somewhere(path: &Path, op: &Op, set: &DataSet<'_>) -> Result<(), MapError> {
    if let Some(why) = cannot_be_set(path.last()) {
        let place = path.to_string();
        return Err(MapError::new(Reason::UnsupportedType, Some(place.as_str()), why));
    }
    match op {
        Op::Clear | Op::Remove => Ok(()),
        Op::Assign(_) | Op::Copy(_) if path.can_be_in(set) => Ok(()),
        Op::Assign(_) | Op::Copy(_) => {
            let place = path.to_string();
            let what = "leads into an item that is not there, so nothing can be written at it";
            Err(MapError::new(Reason::RequiredMissing, Some(place.as_str()), what))
        }
    }
}

struct Ops(Vec<(Path, Op)>);

impl Ops {
    fn at(&self, within: &[(Tag, usize)], tag: Tag) -> Option<&Op> {
        let mut ops = self.0.iter().rev();
        ops.find(|(path, _)| path.is(within, tag)).map(|(_, op)| op)
    }

    /// Whether something is done within items of this sequence.
    fn leads_through(&self, tag: Tag) -> bool {
        self.0.iter().any(|(path, _)| path.leads_through(tag))
    }

    /// The items that are made for values in a data set, or in an item; for no values none is.
    fn made(&self, within: &[(Tag, usize)], set: &DataSet<'_>) -> Out {
        let mut made = Out::default();
        for (idx, (path, op)) in self.0.iter().enumerate() {
            let is_last = self.0[idx + 1..].iter().all(|(other, _)| other != path);
            if let (Op::Assign(values), true) = (op, is_last)
                && !values.is_empty()
                && let Some(sequences) = path.made(within, set)
            {
                let tag = path.last();
                made.set_within(&sequences, tag, names::vr(tag), Said::Texts(values.clone()));
            }
        }
        made
    }
}

impl Editor for Ops {
    fn becomes(
        &mut self,
        within: &[(Tag, usize)],
        set: &DataSet<'_>,
        element: &Element<'_>,
    ) -> Result<Becomes, MapError> {
        let tag = element.header.tag;
        Ok(match self.at(within, tag) {
            // A sequence without items, in place of which one with items comes.
            None if self.leads_through(tag)
                && set.items(tag).is_empty()
                && self.made(within, set).has(tag) =>
            {
                Becomes::Gone
            }
            None | Some(Op::Copy(_)) => Becomes::Same,
            Some(Op::Remove) => Becomes::Gone,
            Some(Op::Clear) => Becomes::Empty,
            Some(Op::Assign(_)) if matches!(element.value, Value::Items(_)) => {
                let place = placed(within, tag);
                let what = "is a sequence; name a tag in one of its items";
                return Err(MapError::new(Reason::DataType, Some(place.as_str()), what));
            }
            Some(Op::Assign(values)) if values.is_empty() => Becomes::Empty,
            Some(Op::Assign(values)) => Becomes::Texts(values.clone()),
        })
    }

    fn added(&mut self, within: &[(Tag, usize)], set: &DataSet<'_>) -> Result<Vec<(Tag, Said)>, MapError> {
        let mut added: Vec<(Tag, Said)> = self.made(within, set).into_elements().collect();
        for (path, _) in &self.0 {
            let tag = path.last();
            let is_new = set.get(tag).is_none() && added.iter().all(|(known, _)| *known != tag);
            if is_new
                && path.is(within, tag)
                && let Some(op) = self.at(within, tag)
            {
                match op {
                    Op::Assign(values) => added.push((tag, Said::Texts(values.clone()))),
                    Op::Clear => added.push((tag, Said::Texts(vec![]))),
                    Op::Remove | Op::Copy(_) => {}
                }
            }
        }
        Ok(added)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::charset::Set;
    use super::super::part10::{MAX_INFLATED, Meta, deflate, inflate_whole};
    use super::super::scan::Coding;
    use super::*;

    const EXPLICIT: &str = "1.2.840.10008.1.2.1";

    fn syntax(coding: Coding) -> &'static str {
        match (coding.implicit, coding.big_endian) {
            (true, _) => "1.2.840.10008.1.2",
            (false, true) => "1.2.840.10008.1.2.2",
            (false, false) => EXPLICIT,
        }
    }

    /// An image with a booked step, in Latin-2, with private tags and pixels.
    fn image(coding: Coding) -> Vec<u8> {
        let mut step = Out::default();
        step.text("Modality", "CT");
        step.text("ScheduledProcedureStepDescription", "Torace");
        let mut other = Out::default();
        other.text("Modality", "MR");
        let mut whole = Out::default();
        whole.text("SpecificCharacterSet", "ISO_IR 101");
        whole.text("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2");
        whole.text("SOPInstanceUID", "2.25.7");
        whole.text("PatientName", "Paşca^Ana");
        whole.text("PatientID", "P-7");
        whole.put("Rows", Said::Number(512));
        whole.put("ScheduledProcedureStepSequence", Said::Items(vec![step, other]));
        let mut bytes = Meta {
            class: "1.2.840.10008.5.1.4.1.1.2".to_owned(),
            instance: "2.25.7".to_owned(),
            syntax: syntax(coding).to_owned(),
            calling: "CT1".to_owned(),
            called: "PUNTE".to_owned(),
            ..Meta::default()
        }
        .written();
        bytes.extend(whole.written(coding, Set::Latin2));
        let mut pixels = vec![];
        super::super::write::element(
            coding,
            Tag(0x7FE0, 0x10),
            dicom_core::VR::OW,
            &[7; 100],
            &mut pixels,
        );
        bytes.extend(pixels);
        bytes
    }

    fn done(bytes: &[u8], ops: &[(&str, Op)]) -> Result<Vec<u8>, String> {
        let ops: Vec<(Path, Op)> = ops
            .iter()
            .map(|(path, op)| Ok((path.parse()?, op.clone())))
            .collect::<Result<_, String>>()?;
        set(bytes, Fallback::default(), &ops).map_err(|error| error.to_string())
    }

    fn values(bytes: &[u8], path: &str) -> Vec<String> {
        let file = File::read(bytes).expect("right");
        let set = file.data_set(Fallback::default()).expect("right");
        path.parse::<Path>().expect("a path").values(&set)
    }

    fn assign(text: &str) -> Op {
        Op::Assign(text.split('\\').map(str::to_owned).collect())
    }

    #[test]
    fn nothing_done_changes_no_byte() {
        for coding in [Coding::IMPLICIT, Coding::EXPLICIT, Coding::BIG] {
            let bytes = image(coding);
            assert_eq!(done(&bytes, &[]).as_ref(), Ok(&bytes));
            assert_eq!(
                done(&bytes, &[("AccessionNumber", Op::Remove)]).as_ref(),
                Ok(&bytes)
            );
            let same = done(&bytes, &[("PatientID", assign("P-7")), ("Rows", assign("512"))]);
            assert_eq!(same.as_ref(), Ok(&bytes));
        }
    }

    #[test]
    fn values_are_set_where_they_stand_and_where_they_do_not() {
        for coding in [Coding::IMPLICIT, Coding::EXPLICIT, Coding::BIG] {
            let bytes = image(coding);
            let changed = done(
                &bytes,
                &[
                    ("PatientID", assign("P-1234")),
                    ("AccessionNumber", assign("ACC-1")),
                    ("Rows", assign("64")),
                    ("OtherPatientNames", assign("Unu^A\\Doi^B")),
                    ("ScheduledProcedureStepSequence[1].Modality", assign("US")),
                    (
                        "ScheduledProcedureStepSequence.ScheduledStationAETitle",
                        assign("ONE"),
                    ),
                    (
                        "ScheduledProcedureStepSequence[0].ScheduledProcedureStepDescription",
                        Op::Clear,
                    ),
                    (
                        "InstitutionName",
                        Op::Copy("PatientName".parse().expect("a path")),
                    ),
                ],
            )
            .expect("right");
            assert_eq!(values(&changed, "PatientID"), ["P-1234"]);
            assert_eq!(values(&changed, "AccessionNumber"), ["ACC-1"]);
            assert_eq!(values(&changed, "Rows"), ["64"]);
            assert_eq!(values(&changed, "OtherPatientNames"), ["Unu^A", "Doi^B"]);
            assert_eq!(
                values(&changed, "ScheduledProcedureStepSequence.Modality"),
                ["CT", "US"]
            );
            assert_eq!(
                values(&changed, "ScheduledProcedureStepSequence.ScheduledStationAETitle"),
                ["ONE", "ONE"]
            );
            assert_eq!(values(&changed, "InstitutionName"), ["Paşca^Ana"]);
            assert_eq!(values(&changed, "SpecificCharacterSet"), ["ISO_IR 101"]);
            // The pixels are as they came, and the whole holds together.
            assert!(changed.ends_with(&[7; 100]));
            let file = File::read(&changed).expect("right");
            file.check(super::super::scan::Until::End).expect("whole");
        }
    }

    #[test]
    fn text_that_does_not_fit_has_all_text_written_anew() {
        let bytes = image(Coding::EXPLICIT);
        let changed = done(&bytes, &[("InstitutionName", assign("Clinica Știința"))]).expect("right");
        assert_eq!(values(&changed, "SpecificCharacterSet"), ["ISO_IR 192"]);
        assert_eq!(values(&changed, "InstitutionName"), ["Clinica Știința"]);
        assert_eq!(values(&changed, "PatientName"), ["Paşca^Ana"]);
        let asked = done(&bytes, &[("SpecificCharacterSet", assign("ISO_IR 100"))]).expect("right");
        assert_eq!(values(&asked, "SpecificCharacterSet"), ["ISO_IR 100"]);
        assert_eq!(values(&asked, "PatientName"), ["Pasca^Ana"]);
    }

    #[test]
    fn what_is_deflated_is_changed_and_deflated_again() {
        let bytes = image(Coding::EXPLICIT);
        let plain = File::read(&bytes).expect("right");
        let meta = Meta {
            syntax: "1.2.840.10008.1.2.1.99".to_owned(),
            ..plain.meta.clone()
        };
        let packed = [meta.written(), deflate(plain.data)].concat();
        let same = done(&packed, &[("PatientID", assign("P-7"))]);
        assert_eq!(same.as_ref(), Ok(&packed), "nothing done changes no byte");
        let ops = [
            ("PatientID", assign("P-1234")),
            ("SOPInstanceUID", assign("2.25.8")),
        ];
        let changed = done(&packed, &ops).expect("right");
        let file = File::read(&changed).expect("right");
        assert_eq!(file.meta.syntax, meta.syntax);
        assert_eq!(file.meta.instance, "2.25.8");
        let expected = done(&bytes, &ops).expect("right");
        let expected = File::read(&expected).expect("right");
        assert!(
            inflate_whole(file.data, MAX_INFLATED).expect("right") == expected.data,
            "with the pixels"
        );
        // A beginning is not enough: what follows could not be told from it.
        assert!(done(&packed[..packed.len() - 20], &ops).is_err());
    }

    #[test]
    fn what_stands_in_a_sequence_of_unknown_kind_is_changed_as_it_is_written() {
        // Two elements of one item, implicit in a data set that is explicit (PS3.5 §6.2.2).
        let name = |name: &str| {
            [
                &b"\x10\0\x10\0"[..],
                &(name.len() as u32).to_le_bytes(),
                name.as_bytes(),
            ]
            .concat()
        };
        let sequence = |of: &str| {
            [
                &b"\x08\0\x11\x11UN\0\0\xFF\xFF\xFF\xFF"[..],
                b"\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF",
                &name(of),
                b"\x10\0\x20\0\x02\0\0\0P1",
                b"\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0",
            ]
            .concat()
        };
        let file = |data: &[u8]| {
            let meta = Meta {
                syntax: syntax(Coding::EXPLICIT).to_owned(),
                ..Meta::default()
            };
            [&meta.written()[..], data, b"\x20\0\x13\0IS\x02\x007 "].concat()
        };
        let before = file(&sequence("Pop^"));
        let path = "ReferencedPerformedProcedureStepSequence[0]";
        let after = done(&before, &[(&format!("{path}.PatientName"), assign("Rusu"))]).expect("right");
        assert_eq!(values(&after, &format!("{path}.PatientName")), ["Rusu"]);
        assert_eq!(values(&after, &format!("{path}.PatientID")), ["P1"]);
        assert_eq!(values(&after, "InstanceNumber"), ["7"]);
        assert_eq!(done(&before, &[("InstanceNumber", assign("7"))]), Ok(before));
    }

    #[test]
    fn the_first_item_of_a_sequence_that_has_none_is_made() {
        let path = "RequestAttributesSequence[0].AccessionNumber";
        let deep = "RequestAttributesSequence[0].RequestedProcedureCodeSequence[0].CodeMeaning";
        let of_items = "ScheduledProcedureStepSequence.ScheduledProtocolCodeSequence[0].CodeMeaning";
        for coding in [Coding::IMPLICIT, Coding::EXPLICIT, Coding::BIG] {
            let ops = [
                (path, assign("A-7")),
                (deep, assign("Torace, față")),
                (of_items, assign("Torace")),
            ];
            let changed = done(&image(coding), &ops).expect("right");
            assert_eq!(values(&changed, path), ["A-7"]);
            assert_eq!(values(&changed, deep), ["Torace, față"]);
            assert_eq!(
                values(&changed, of_items),
                ["Torace", "Torace"],
                "in each of the items that are there"
            );
            assert_eq!(values(&changed, "SpecificCharacterSet"), ["ISO_IR 192"]);
            assert_eq!(values(&changed, "PatientName"), ["Paşca^Ana"]);
            let file = File::read(&changed).expect("right");
            file.check(super::super::scan::Until::End).expect("whole");
            // Again, into the item that is there now.
            assert_eq!(done(&changed, &ops), Ok(changed.clone()));
        }
        // A sequence that is there and empty; nothing to copy makes nothing, and none of all items is none.
        let mut empty = Out::default();
        empty.put("RequestAttributesSequence", Said::Items(vec![]));
        let meta = Meta {
            syntax: EXPLICIT.to_owned(),
            ..Meta::default()
        };
        let bytes = [meta.written(), empty.written(Coding::EXPLICIT, Set::Ascii)].concat();
        let changed = done(&bytes, &[(path, assign("A-7"))]).expect("right");
        assert_eq!(values(&changed, path), ["A-7"]);
        let nothing = Op::Copy("AccessionNumber".parse().expect("a path"));
        let of_all = "RequestAttributesSequence.AccessionNumber";
        for (path, op) in [(path, nothing), (of_all, assign("A-7")), (path, Op::Clear)] {
            assert_eq!(done(&bytes, &[(path, op)]).as_ref(), Ok(&bytes), "{path}");
        }
    }

    #[test]
    fn the_meta_header_follows() {
        let changed = done(&image(Coding::EXPLICIT), &[("SOPInstanceUID", assign("2.25.8"))]).expect("right");
        let file = File::read(&changed).expect("right");
        assert_eq!(
            (file.meta.instance.as_str(), file.meta.calling.as_str()),
            ("2.25.8", "CT1")
        );
    }

    #[test]
    fn what_cannot_be_written_is_said_with_its_place() {
        let bytes = image(Coding::EXPLICIT);
        for (path, op, why) in [
            (
                "PatientID",
                assign(&"x".repeat(65)),
                "0010,0020: 65 characters where LO has at most 64",
            ),
            (
                "Rows",
                assign("-1"),
                "0028,0010: \"-1\" is no number that US can hold",
            ),
            (
                "Modality",
                assign("ȘT"),
                "0008,0060: CS has letters of ASCII only",
            ),
            ("ScheduledProcedureStepSequence", assign("x"), "is a sequence"),
            (
                "ScheduledProcedureStepSequence[2].Modality",
                assign("x"),
                "is not there",
            ),
            ("PixelData", Op::Remove, "pixels are not changed"),
            ("0002,0010", assign("1.2"), "follow from the data set"),
            (
                "SpecificCharacterSet",
                assign("ISO_IR 87"),
                "ISO_IR 6, 100, 101, 144 and 192, GB18030 and GBK are",
            ),
        ] {
            let said = done(&bytes, &[(path, op)]).expect_err(path);
            assert!(said.contains(why), "{path}: {said}");
        }
    }

    proptest! {
        /// What was assigned is read; all the rest is as it was.
        #[test]
        fn one_change_changes_one_thing(text in "[A-Za-zăâîșțȘȚ .-]{0,40}", implicit in any::<bool>()) {
            let coding = match implicit { true => Coding::IMPLICIT, false => Coding::EXPLICIT };
            let bytes = image(coding);
            let changed = done(&bytes, &[("InstitutionName", assign(&text))]);
            let changed = changed.map_err(TestCaseError::fail)?;
            let text = text.trim_matches(' ').to_owned();
            let expected: Vec<String> = Some(text).filter(|text| !text.is_empty()).into_iter().collect();
            prop_assert_eq!(values(&changed, "InstitutionName"), expected);
            for path in ["PatientName", "PatientID", "Rows", "ScheduledProcedureStepSequence.Modality"] {
                prop_assert_eq!(values(&changed, path), values(&bytes, path));
            }
        }

        #[test]
        fn any_bytes_are_changed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for syntax in ["1.2.840.10008.1.2", EXPLICIT, "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"] {
                let meta = Meta { syntax: syntax.to_owned(), ..Meta::default() };
                let whole = [meta.written(), bytes.clone()].concat();
                if let Ok(changed) = done(&whole, &[("PatientID", assign("P")), ("PatientName", Op::Remove)]) {
                    prop_assert_eq!(values(&changed, "PatientID"), ["P"]);
                    prop_assert_eq!(values(&changed, "PatientName"), Vec::<String>::new());
                }
            }
        }
    }
}
