//! An object under the patient whose it is, where it names somebody else: made under a wrong worklist entry, before a merge, before a
//! name was corrected (IHE RAD, Patient Information Reconciliation). What stood there is kept in Original Attributes (PS3.3 §C.12.1.1.9).
//! What lies here stays as it came; this is what is handed on.

use clinic::apply::same_name;
use clinic::exchange::MapError;
use clinic::people::{Patient, Sex};
use clinic::value::{Identifier, IdentifierUse, NameUse, PersonName};
use dicom_core::{Tag, VR};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::charset::Fallback;
use super::dataset::{DataSet, Element, Value};
use super::edit::{Becomes, Editor, edited};
use super::message::{ISSUER, PATIENT_ID, Service, command};
use super::part10::File;
use super::write::{Out, Said, has_charset, most};
use super::{found, names, said, worklist};

const NAME: Tag = Tag(0x0010, 0x0010);
const BIRTH_DATE: Tag = Tag(0x0010, 0x0030);
const SEX: Tag = Tag(0x0010, 0x0040);
/// Original Attributes Sequence.
const ORIGINAL: Tag = Tag(0x0400, 0x0561);

/// What else tells who somebody is: of another one it goes. Type and qualifiers of the number, birth time, other numbers and
/// names, birth name, age, address, mother's name, telephone.
const OF_ANOTHER: [Tag; 12] = [
    Tag(0x0010, 0x0022),
    Tag(0x0010, 0x0024),
    Tag(0x0010, 0x0032),
    Tag(0x0010, 0x1000),
    Tag(0x0010, 0x1001),
    Tag(0x0010, 0x1002),
    Tag(0x0010, 0x1005),
    Tag(0x0010, 0x1010),
    Tag(0x0010, 0x1040),
    Tag(0x0010, 0x1060),
    Tag(0x0010, 0x2154),
    Tag(0x0010, 0x2155),
];

/// An object, or the beginning of one up to its pixels, under this patient; none: it names them rightly, by one of their numbers and
/// by words of their name, or it is no object. `id`: of their record; `when`: since when they are known to be its patient.
pub fn reconciled(
    bytes: &[u8],
    fallback: Fallback,
    patient: &Patient,
    id: Uuid,
    when: Timestamp,
) -> Result<Option<Vec<u8>>, MapError> {
    let file = File::read(bytes)?;
    if command(&file)?.service != Service::Store {
        return Ok(None);
    }
    let set = file.data_set(fallback)?;
    let Some(mut editor) = Reconciling::of(&set, patient, id, when) else {
        return Ok(None);
    };
    edited(bytes, fallback, &mut editor).map(Some)
}

/// What is written in place of what.
struct Reconciling {
    /// The new values.
    now: Vec<(Tag, Vec<String>)>,
    /// What is taken out.
    gone: Vec<Tag>,
    /// The item that tells what stood there.
    original: Out,
}

impl Reconciling {
    /// None: all is right.
    fn of(set: &DataSet<'_>, patient: &Patient, id: Uuid, when: Timestamp) -> Option<Self> {
        let own = id.simple().to_string();
        let number = set.text(PATIENT_ID);
        let has = |takes: &dyn Fn(&Identifier) -> bool| {
            let Some(said) = &number else { return true };
            let mut all = patient.identifiers.iter().filter(|number| takes(number));
            *said == own || all.any(|number| number.value == *said)
        };
        // A number that they had before is theirs too, and not told any more.
        let is_another = !has(&|_| true);
        let is_old_number = !has(&|number| number.usage != Some(IdentifierUse::Old));
        let (known, _): (Vec<_>, Vec<_>) = patient
            .names
            .iter()
            .cloned()
            .partition(|name| name.usage != Some(NameUse::Old));
        let is_old_name = !same_name(&said::names(&set.text(NAME).unwrap_or_default()), &known);
        let mut now = vec![];
        if is_another || is_old_number {
            let number = worklist::device_number(patient);
            now.push((
                PATIENT_ID,
                vec![number.map_or(own, |number| number.value.clone())],
            ));
            let issuer = number.and_then(worklist::issuer).map(str::to_owned);
            if issuer.is_some() || set.get(ISSUER).is_some() {
                now.push((ISSUER, issuer.into_iter().collect()));
            }
        }
        if is_another || is_old_name {
            now.push((NAME, name(&known).into_iter().collect()));
        }
        let is_other_day = |said: &str, known: &str| said != known;
        let is_other_sex = |said: &str, known: &str| {
            let told = [Sex::Male, Sex::Female].map(found::sex);
            said != known && told.contains(&Some(said)) && told.contains(&Some(known))
        };
        let birth_date = found::birth_date(patient);
        let sex = patient.sex.and_then(found::sex).map(str::to_owned);
        type Differs<'d> = &'d dyn Fn(&str, &str) -> bool;
        let more: [(Tag, Option<String>, Differs<'_>); 2] =
            [(BIRTH_DATE, birth_date, &is_other_day), (SEX, sex, &is_other_sex)];
        for (tag, known, differs) in more {
            let said = set.text(tag);
            let is_other = said
                .as_deref()
                .zip(known.as_deref())
                .is_some_and(|(said, known)| differs(said, known));
            if is_another || is_other {
                now.push((tag, known.into_iter().collect()));
            }
        }
        if now.is_empty() {
            return None;
        }
        let gone: Vec<Tag> = match is_another {
            true => OF_ANOTHER
                .into_iter()
                .filter(|tag| set.get(*tag).is_some())
                .collect(),
            false => vec![],
        };
        let changed = now.iter().map(|(tag, _)| *tag).chain(gone.iter().copied());
        let reason = match is_another {
            true => "CORRECT",
            false => "COERCE",
        };
        let original = original(before(set, changed), reason, when);
        Some(Reconciling { now, gone, original })
    }
}

impl Editor for Reconciling {
    fn becomes(
        &mut self,
        within: &[(Tag, usize)],
        _: &DataSet<'_>,
        element: &Element<'_>,
    ) -> Result<Becomes, MapError> {
        let tag = element.header.tag;
        if !within.is_empty() {
            return Ok(Becomes::Same);
        }
        if tag == ORIGINAL {
            return Ok(Becomes::Longer(vec![self.original.clone()]));
        }
        if self.gone.contains(&tag) {
            return Ok(Becomes::Gone);
        }
        let now = self.now.iter().find(|(changed, _)| *changed == tag);
        Ok(now.map_or(Becomes::Same, |(_, values)| Becomes::Texts(values.clone())))
    }

    fn added(&mut self, within: &[(Tag, usize)], _: &DataSet<'_>) -> Result<Vec<(Tag, Said)>, MapError> {
        if !within.is_empty() {
            return Ok(vec![]);
        }
        let values = self.now.iter().cloned();
        let mut added: Vec<_> = values.map(|(tag, values)| (tag, Said::Texts(values))).collect();
        added.push((ORIGINAL, Said::Items(vec![self.original.clone()])));
        Ok(added)
    }
}

/// A name as PN, each way that it is written in at most as long as it may be (PS3.5 table 6.2-1).
fn name(names: &[PersonName]) -> Option<String> {
    let text = worklist::names(names);
    let groups = text.split('=').map(|group| fitting(VR::PN, group));
    Some(groups.collect::<Vec<_>>().join("=")).filter(|text| !text.is_empty())
}

/// An item of Original Attributes.
fn original(before: Out, reason: &str, when: Timestamp) -> Out {
    let when = TimeZone::UTC.to_datetime(when).strftime("%Y%m%d%H%M%S+0000");
    let mut item = Out::default();
    item.put("SourceOfPreviousValues", Said::Texts(vec![]));
    item.text("AttributeModificationDateTime", &when.to_string());
    item.text("ModifyingSystem", "Punte");
    item.text("ReasonForTheAttributeModification", reason);
    item.put("ModifiedAttributesSequence", Said::Items(vec![before]));
    item
}

/// What stood at these tags; at one that was not there nothing.
fn before(set: &DataSet<'_>, tags: impl Iterator<Item = Tag>) -> Out {
    let mut before = Out::default();
    for tag in tags {
        let said = match set.get(tag) {
            Some(element) => as_said(set, element),
            None => Some(Said::Texts(vec![])),
        };
        if let Some(said) = said {
            before.set(tag, names::vr(tag), said);
        }
    }
    before
}

/// What an element says, to be written again. Text that is longer than its kind may be is cut.
fn as_said(set: &DataSet<'_>, element: &Element<'_>) -> Option<Said> {
    let vr = names::vr(element.header.tag);
    match &element.value {
        Value::Items(items) => {
            let item = |set: &DataSet<'_>| before(set, set.elements.iter().map(|element| element.header.tag));
            Some(Said::Items(items.iter().map(item).collect()))
        }
        Value::Bytes(_) => {
            let texts = set.values(element).into_iter();
            Some(Said::Texts(texts.map(|text| fitting(vr, &text)).collect()))
        }
        Value::Elsewhere => None,
    }
}

/// A text as its kind can hold it.
fn fitting(vr: VR, text: &str) -> String {
    let letters = text.chars().filter(|letter| has_charset(vr) || letter.is_ascii());
    letters.take(most(vr).unwrap_or(usize::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use clinic::value::When;

    use super::super::charset::Set;
    use super::super::part10::{Meta, deflate};
    use super::super::path::Path;
    use super::super::scan::{Coding, Until};
    use super::*;

    const EXPLICIT: &str = "1.2.840.10008.1.2.1";

    fn rita() -> Patient {
        let number = |value: &str, usage| Identifier {
            value: value.to_owned(),
            assigner: Some("CLINIC".to_owned()),
            usage,
            ..Identifier::default()
        };
        let name = |family: &str, given: &str, usage| PersonName {
            family: Some(family.to_owned()),
            given: vec![given.to_owned()],
            usage,
            ..PersonName::default()
        };
        Patient {
            identifiers: vec![
                number("R-1", None),
                number("R-2", None),
                number("R-0", Some(IdentifierUse::Old)),
            ],
            names: vec![
                name("Țîră", "Rita", None),
                name("Veche", "Rita", Some(NameUse::Old)),
            ],
            birth_date: "1980-05-14".parse::<When>().ok(),
            sex: Some(Sex::Female),
            ..Patient::default()
        }
    }

    /// An object of somebody, with pixels behind.
    fn object(coding: Coding, said: &[(&str, &str)]) -> Vec<u8> {
        let mut whole = Out::default();
        whole.text("SpecificCharacterSet", "ISO_IR 100");
        whole.text("SOPInstanceUID", "2.25.7");
        whole.text("OperatorsName", "Müller");
        for (keyword, text) in said {
            whole.text(keyword, text);
        }
        let mut bytes = Meta {
            class: "1.2.840.10008.5.1.4.1.1.2".to_owned(),
            instance: "2.25.7".to_owned(),
            syntax: match coding.implicit {
                true => "1.2.840.10008.1.2",
                false => EXPLICIT,
            }
            .to_owned(),
            ..Meta::default()
        }
        .written();
        bytes.extend(whole.written(coding, Set::Latin1));
        super::super::write::element(coding, Tag(0x7FE0, 0x10), VR::OW, &[7; 100], &mut bytes);
        bytes
    }

    fn under_rita(bytes: &[u8]) -> Option<Vec<u8>> {
        let when = "2026-05-05T10:00:00Z".parse().expect("a time");
        reconciled(bytes, Fallback::default(), &rita(), Uuid::nil(), when).expect("right")
    }

    fn values(bytes: &[u8], path: &str) -> Vec<String> {
        let file = File::read(bytes).expect("right");
        file.check(Until::Pixels).expect("whole");
        let set = file.data_set(Fallback::default()).expect("right");
        path.parse::<Path>().expect("a path").values(&set)
    }

    #[test]
    fn who_is_named_rightly_stays_byte_for_byte() {
        for said in [
            &[("PatientID", "R-1"), ("PatientName", "TIRA^RITA")][..],
            &[
                ("PatientID", "R-2"),
                ("PatientName", "Tira Rita"),
                ("PatientSex", "O"),
            ],
            &[
                ("PatientID", "R-1"),
                ("PatientBirthDate", "19800514"),
                ("PatientSex", "F"),
            ],
            // Nobody.
            &[("PatientID", ""), ("PatientName", "")],
            &[],
        ] {
            assert_eq!(under_rita(&object(Coding::EXPLICIT, said)), None, "{said:?}");
        }
    }

    #[test]
    fn another_one_s_object_says_nothing_of_them_any_more() {
        let wanda = [
            ("PatientID", "W-9"),
            ("PatientName", "Wrong^Wanda"),
            ("IssuerOfPatientID", "NORD"),
            ("PatientBirthDate", "19500101"),
            ("PatientSex", "M"),
            ("PatientAge", "076Y"),
            ("PatientAddress", "Str. Lungă 1"),
            ("PatientWeight", "80"),
        ];
        for coding in [Coding::EXPLICIT, Coding::IMPLICIT] {
            let mut bytes = object(coding, &wanda);
            for turn in 1..=2 {
                let changed = under_rita(&bytes).expect("changed");
                assert!(changed.ends_with(&[7; 100]));
                for (path, value) in [
                    ("PatientID", "R-1"),
                    ("PatientName", "Țîră^Rita"),
                    ("IssuerOfPatientID", "CLINIC"),
                    ("PatientBirthDate", "19800514"),
                    ("PatientSex", "F"),
                    ("PatientWeight", "80"),
                    ("OperatorsName", "Müller"),
                ] {
                    assert_eq!(values(&changed, path), [value], "{path}");
                }
                for path in ["PatientAge", "PatientAddress"] {
                    assert_eq!(values(&changed, path), Vec::<String>::new(), "{path}");
                }
                let before = format!("OriginalAttributesSequence[{}]", turn - 1);
                for (keyword, value) in &wanda[..7] {
                    let path = format!("{before}.ModifiedAttributesSequence[0].{keyword}");
                    // What Latin-1 has no letter for was never there.
                    let value = value.replace('ă', "a");
                    assert_eq!(values(&changed, &path), [value], "{path}");
                }
                let reason = format!("{before}.ReasonForTheAttributeModification");
                assert_eq!(values(&changed, &reason), ["CORRECT"]);
                let when = format!("{before}.AttributeModificationDateTime");
                assert_eq!(values(&changed, &when), ["20260505100000+0000"]);
                assert_eq!(under_rita(&changed), None, "once is enough");
                // Again on what another one has changed before: its word stays the first.
                let mut back: Vec<(Path, super::super::ops::Op)> = vec![];
                for (keyword, value) in &wanda {
                    let values = super::super::ops::Op::Assign(vec![(*value).replace('ă', "a")]);
                    back.push((keyword.parse().expect("a path"), values));
                }
                bytes = super::super::ops::set(&changed, Fallback::default(), &back).expect("right");
            }
        }
    }

    #[test]
    fn an_old_number_or_name_of_theirs_is_the_one_that_holds() {
        let said = [
            ("PatientID", "R-0"),
            ("PatientName", "Tira^Rita"),
            ("PatientAddress", "Str. Lunga 1"),
        ];
        let changed = under_rita(&object(Coding::EXPLICIT, &said)).expect("changed");
        assert_eq!(values(&changed, "PatientID"), ["R-1"]);
        assert_eq!(values(&changed, "PatientName"), ["Tira^Rita"], "by its words");
        assert_eq!(
            values(&changed, "PatientAddress"),
            ["Str. Lunga 1"],
            "it is theirs"
        );
        let reason = "OriginalAttributesSequence[0].ReasonForTheAttributeModification";
        assert_eq!(values(&changed, reason), ["COERCE"]);
        let said = [("PatientID", "R-1"), ("PatientName", "Veche^Rita")];
        let changed = under_rita(&object(Coding::EXPLICIT, &said)).expect("changed");
        assert_eq!(values(&changed, "PatientName"), ["Țîră^Rita"]);
        let before = "OriginalAttributesSequence[0].ModifiedAttributesSequence[0]";
        assert_eq!(values(&changed, &format!("{before}.PatientName")), ["Veche^Rita"]);
        assert_eq!(
            values(&changed, &format!("{before}.PatientID")),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_is_deflated_stays_so_and_what_is_no_object_stays() {
        let bytes = object(Coding::EXPLICIT, &[("PatientID", "W-9")]);
        let plain = File::read(&bytes).expect("right");
        let meta = Meta {
            syntax: "1.2.840.10008.1.2.1.99".to_owned(),
            ..plain.meta.clone()
        };
        let packed = [meta.written(), deflate(plain.data)].concat();
        let changed = under_rita(&packed).expect("changed");
        assert_eq!(File::read(&changed).expect("right").meta.syntax, meta.syntax);
        assert_eq!(values(&changed, "PatientID"), ["R-1"]);
    }
}
