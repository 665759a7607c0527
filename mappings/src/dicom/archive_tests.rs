//! Questions for images and their answers, from the bytes of the one to the bytes of the other.

use clinic::aggregate::{Meta, Source};
use clinic::archive::{ArchiveQuestion, KeptStudy, Level};
use clinic::ask::{Found, Question};
use clinic::diagnostics::Order;
use clinic::exchange::Reason;
use clinic::imaging::{Imaging, ImagingInstance, ImagingStep, ImagingStudy, Series, accession, uid};
use clinic::people::Patient;
use clinic::value::{Concept, Identifier, PersonName};
use clinic::{Aggregate, Record};
use dicom_core::Tag;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::Profile;
use super::archive::{add_key, answer, can_be_asked, entries, message_takes, narrowing, question};
use super::charset::{Fallback, Set};
use super::dataset::DataSet;
use super::message::tests::message;
use super::scan::Coding;
use super::write::{Out, Said};

const STUDY_FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";
const PATIENT_FIND: &str = "1.2.840.10008.5.1.4.1.2.1.1";
const STUDY_MOVE: &str = "1.2.840.10008.5.1.4.1.2.2.2";
const FIND: u16 = 0x0020;
const MOVE: u16 = 0x0021;

fn record(number: u128, aggregate: impl Into<Aggregate>) -> Record {
    Record {
        meta: Meta {
            id: Uuid::from_u128(number),
            site: None,
            version: 1,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            updated_at: jiff::Timestamp::UNIX_EPOCH,
            source: Source::Actor {
                name: "test".to_owned(),
                message: None,
            },
            held: Default::default(),
        },
        aggregate: aggregate.into(),
    }
}

fn kept(number: u128) -> KeptStudy {
    let series = |n: u32, modality: &str| Series {
        uid: format!("1.2.{number}.{n}"),
        number: Some(n),
        modality: Some(modality.to_owned()),
        ..Series::default()
    };
    let study = ImagingStudy {
        identifiers: vec![uid(&format!("1.2.{number}")), accession("A-1", None)],
        started: Some("2026-05-05T10:15:00+03:00".parse().expect("a moment")),
        modalities: vec!["CT".to_owned(), "SR".to_owned()],
        series: vec![series(1, "CT"), series(2, "SR")],
        description: Some("Torace și abdomen".to_owned()),
        procedures: vec![Concept::coded("99L", "X", Some("un cod"))],
        ..ImagingStudy::default()
    };
    let object = |n: u32, series: u32| ImagingInstance {
        identifiers: vec![uid(&format!("1.2.{number}.{series}.{n}"))],
        series_uid: Some(format!("1.2.{number}.{series}")),
        sop_class: Some("1.2.840.10008.5.1.4.1.1.2".to_owned()),
        number: Some(n),
        ..ImagingInstance::default()
    };
    let patient = Patient {
        identifiers: vec![Identifier {
            kind: Some(Concept::coded(
                "http://terminology.hl7.org/CodeSystem/v2-0203",
                "MR",
                None,
            )),
            ..Identifier::new(Some("NORD"), "N-7")
        }],
        names: vec![PersonName {
            family: Some("Țîră".to_owned()),
            given: vec!["Ana".to_owned()],
            ..PersonName::default()
        }],
        ..Patient::default()
    };
    let order = Order {
        imaging: Some(Imaging {
            procedure_id: Some("RP-1".to_owned()),
            steps: vec![ImagingStep {
                id: Some("S-1".to_owned()),
                ..ImagingStep::default()
            }],
            ..Imaging::default()
        }),
        ..Order::default()
    };
    KeptStudy {
        merged: vec![],
        patient: Some(record(1, patient)),
        orders: vec![record(2, order)],
        objects: vec![
            record(3, object(1, 1)),
            record(4, object(2, 1)),
            record(5, object(1, 2)),
        ],
        count: Some(3),
        ..KeptStudy::of(record(10 + number, study)).expect("a study")
    }
}

fn asked(field: u16, class: &str, keys: &[(&str, &str)]) -> Vec<u8> {
    let mut set = Out::default();
    set.text("SpecificCharacterSet", "ISO_IR 192");
    for (name, value) in keys {
        let values = match *value {
            "" => vec![],
            value => value.split('\\').map(str::to_owned).collect(),
        };
        set.put(name, Said::Texts(values));
    }
    message(field, class, "", &set)
}

fn read(message: &[u8]) -> Result<ArchiveQuestion, Reason> {
    match question(message, &Profile::default()).expect("a question") {
        Ok(Question::Archive(question)) => Ok(question),
        Ok(_) => panic!("another question"),
        Err(error) => Err(error.reason),
    }
}

#[test]
fn the_levels_above_have_to_be_said() {
    let level = |level: &'static str| ("QueryRetrieveLevel", level);
    let studies = ("StudyInstanceUID", "1.2\\1.3");
    let one = ("StudyInstanceUID", "1.2");
    for (field, class, keys) in [
        (FIND, STUDY_FIND, vec![one]),
        (FIND, STUDY_FIND, vec![level("FRAME"), one]),
        (FIND, STUDY_FIND, vec![level("PATIENT"), ("PatientID", "1")]),
        (
            FIND,
            STUDY_FIND,
            vec![level("SERIES"), ("SeriesInstanceUID", "1")],
        ),
        (FIND, STUDY_FIND, vec![level("SERIES"), studies]),
        (FIND, STUDY_FIND, vec![level("IMAGE"), one]),
        (FIND, PATIENT_FIND, vec![level("STUDY"), one]),
        (
            FIND,
            PATIENT_FIND,
            vec![level("STUDY"), one, ("PatientID", "N-*")],
        ),
        (FIND, "1.2.840.10008.5.1.4.1.2.3.1", vec![level("STUDY"), one]),
        (MOVE, STUDY_MOVE, vec![level("STUDY"), ("StudyInstanceUID", "")]),
        (
            MOVE,
            STUDY_MOVE,
            vec![level("SERIES"), one, ("SeriesInstanceUID", "*")],
        ),
    ] {
        let error = read(&asked(field, class, &keys)).err();
        assert!(
            matches!(error, Some(Reason::RequiredMissing | Reason::UnsupportedType)),
            "{keys:?}: {error:?}"
        );
    }
    let moved = read(&asked(MOVE, STUDY_MOVE, &[level("STUDY"), studies])).expect("right");
    assert_eq!(
        (moved.studies.len(), moved.with_objects, moved.counts),
        (2, true, false)
    );
    let found = read(&asked(
        FIND,
        STUDY_FIND,
        &[
            level("STUDY"),
            ("PatientName", "tira*^A"),
            ("StudyDate", "20260501-"),
            ("ModalitiesInStudy", "CT\\MR"),
            ("AccessionNumber", "A*"),
            ("NumberOfStudyRelatedInstances", ""),
        ],
    ))
    .expect("right");
    let expected = ArchiveQuestion {
        name: Some("tira".to_owned()),
        from: Some(jiff::civil::date(2026, 5, 1)),
        modalities: vec!["CT".to_owned(), "MR".to_owned()],
        counts: true,
        ..ArchiveQuestion::default()
    };
    assert!(found == expected);
    assert!(question(b"nothing", &Profile::default()).is_none());
}

#[test]
fn an_answer_says_what_was_asked_and_nothing_else() {
    let profile = Profile::default();
    let of = |keys: &[(&str, &str)]| {
        let asked = asked(FIND, STUDY_FIND, keys);
        let takes = message_takes(&asked, &kept(1), &profile);
        let found = Found {
            studies: vec![kept(1), kept(2)],
            ..Found::default()
        };
        let answers = answer(&asked, Ok(&found), &profile);
        (takes, answers.frames, answers.told)
    };
    let (takes, frames, told) = of(&[
        ("QueryRetrieveLevel", "STUDY"),
        ("StudyInstanceUID", "1.2.1"),
        ("PatientName", "TIRA"),
        ("NumberOfStudyRelatedInstances", ""),
        ("StudyTime", "1000-1030"),
    ]);
    assert!(takes);
    assert_eq!((frames.len(), told), (2, vec![Uuid::from_u128(1)]));
    let set = DataSet::read(&frames[0], Coding::EXPLICIT, Fallback::default()).expect("a data set");
    assert_eq!(set.text(Tag(0x0010, 0x0010)).as_deref(), Some("Țîră^Ana"));
    assert_eq!(set.text(Tag(0x0020, 0x1208)).as_deref(), Some("3"));
    assert_eq!(set.text(Tag(0x0008, 0x0052)).as_deref(), Some("STUDY"));
    assert_eq!(set.text(Tag(0x0008, 0x0054)).as_deref(), Some("PUNTE"));
    assert!(
        set.get(Tag(0x0008, 0x1030)).is_none(),
        "the description was not asked for"
    );
    assert_eq!(frames[1], b"0000");
    // A key without a place comes back empty, and is said.
    let (_, frames, _) = of(&[
        ("QueryRetrieveLevel", "STUDY"),
        ("PatientComments", ""),
        ("StudyInstanceUID", ""),
    ]);
    assert_eq!((frames.len(), &frames[0][..]), (4, &b"FF01"[..]));
    let (takes, frames, told) = of(&[
        ("QueryRetrieveLevel", "STUDY"),
        ("PatientName", "Pop"),
        ("StudyInstanceUID", ""),
    ]);
    assert!(!takes && told.is_empty());
    assert_eq!(frames, [b"0000".to_vec()]);
    // A patient is told once.
    let keys = [("QueryRetrieveLevel", "PATIENT"), ("PatientID", "")];
    let found = Found {
        studies: vec![kept(1), kept(2)],
        ..Found::default()
    };
    let answers = answer(&asked(FIND, PATIENT_FIND, &keys), Ok(&found), &profile);
    assert_eq!(answers.frames.len(), 2);
}

#[test]
fn series_and_objects_are_matched_with_what_they_lie_in() {
    let zone = TimeZone::get("Europe/Bucharest").expect("a zone");
    let count = |level: Level, keys: &[(&str, &str)]| {
        let mut out = Out::default();
        for (name, value) in keys {
            assert!(add_key(&mut out, name, value), "{name}");
        }
        let bytes = out.written(Coding::EXPLICIT, Set::Utf8);
        let set = DataSet::read(&bytes, Coding::EXPLICIT, Fallback::default()).expect("keys");
        let narrowed = narrowing(&set, level);
        (entries(&set, level, &kept(1), &zone).len(), narrowed.with_orders)
    };
    for (level, keys, expected) in [
        (Level::Series, vec![], 2),
        (Level::Series, vec![("Modality", "SR")], 1),
        (
            Level::Series,
            vec![("Modality", "SR"), ("StudyDescription", "Torace*")],
            1,
        ),
        (Level::Series, vec![("PatientName", "Pop")], 0),
        (Level::Objects, vec![("SeriesInstanceUID", "1.2.1.1")], 2),
        (Level::Objects, vec![("00080018", "1.2.1.1.2,1.2.1.2.1")], 2),
        (Level::Objects, vec![("InstanceNumber", "1")], 2),
        (Level::Studies, vec![("ProcedureCodeSequence.CodeValue", "X")], 1),
        (Level::Studies, vec![("00081032.00080100", "Y")], 0),
    ] {
        assert_eq!(count(level, &keys), (expected, false), "{keys:?}");
    }
    for (step, expected) in [("S-1", 2), ("S-2", 0)] {
        let keys = [
            ("RequestAttributesSequence.ScheduledProcedureStepID", step),
            ("RequestAttributesSequence.RequestedProcedureID", "RP-1"),
        ];
        assert_eq!(count(Level::Series, &keys), (expected, true), "{step}");
    }
    // A series that hangs on no order is not found by the number of one.
    for (step, expected) in [("S-1", 0), ("*", 2), ("", 2)] {
        let mut out = Out::default();
        assert!(add_key(
            &mut out,
            "RequestAttributesSequence.ScheduledProcedureStepID",
            step
        ));
        let bytes = out.written(Coding::EXPLICIT, Set::Utf8);
        let set = DataSet::read(&bytes, Coding::EXPLICIT, Fallback::default()).expect("keys");
        let mut kept = kept(1);
        kept.orders.clear();
        assert_eq!(
            entries(&set, Level::Series, &kept, &zone).len(),
            expected,
            "{step}"
        );
    }
    for (name, value, is_one) in [
        ("StudyDate", "20260501-20260531", true),
        ("00080020", "20260501", true),
        ("StudyDate", "bad", false),
        ("StudyDate", "", true),
        ("StudyTime", "0830-", true),
        ("StudyTime", "half past", false),
        ("PatientName", "bad", true),
    ] {
        assert_eq!(can_be_asked(name, value), is_one, "{name}={value}");
    }
    let mut out = Out::default();
    for wrong in [
        "PatientNmae",
        "PatientName.CodeValue",
        "ProcedureCodeSequence",
        "",
        "..",
        "a.b.c.d.e.f.g.h.i.j",
    ] {
        assert!(!add_key(&mut out, wrong, "X"), "{wrong}");
    }
}

#[test]
fn who_was_merged_is_told_by_the_number_of_today_and_found_by_both() {
    let mut study = kept(7);
    let mut old = study.patient.clone().expect("a patient");
    old.meta.id = Uuid::from_u128(99);
    if let Aggregate::Patient(patient) = &mut old.aggregate {
        patient.identifiers[0].value = "O-1".to_owned();
        patient.names[0].family = Some("Alta".to_owned());
    }
    study.merged = vec![old];
    let found = |number: &str, name: &str| {
        let mut keys = Out::default();
        keys.text("PatientID", number);
        keys.text("PatientName", name);
        let bytes = keys.written(Coding::EXPLICIT, Set::Utf8);
        let keys = DataSet::read(&bytes, Coding::EXPLICIT, Fallback::default()).expect("keys");
        [Level::Patients, Level::Studies, Level::Series].map(|level| {
            let all = entries(&keys, level, &study, &TimeZone::UTC);
            let is_told = |entry: &Out| matches!(entry.get(Tag(0x0010, 0x0020)), Some(Said::Texts(said)) if said == &["N-7"]);
            all.iter().all(is_told) && !all.is_empty()
        })
    };
    for (number, name) in [
        ("N-7", ""),
        ("O-1", ""),
        ("O-*", ""),
        ("", "Alta*"),
        ("O-1", "Alta*"),
    ] {
        assert_eq!(found(number, name), [true; 3], "{number} {name}");
    }
    assert_eq!(found("O-2", ""), [false; 3]);
}
