//! What holds for every sample.

use std::io::Cursor;

use clinic::value::{NameRepresentation, PersonName};
use clinic::{Body, ChangeSet};
use dicom_core::Tag;

use super::charset::Fallback;
use super::dataset::{DataSet, Value};
use super::message::{Service, command, inspect, keys};
use super::part10::{File, Meta};
use super::scan::{Coding, Until, is_pixels};
use super::write::{Out, Said, element};
use super::{Profile, decode, names, worklist};

fn samples() -> Vec<(String, Vec<u8>)> {
    let folder = format!("{}/../samples/dicom", env!("CARGO_MANIFEST_DIR"));
    let mut all = vec![];
    for entry in std::fs::read_dir(folder).expect("the samples") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        all.push((name.to_owned(), std::fs::read(&path).expect("a sample")));
    }
    all.sort();
    all
}

pub(super) fn sample(name: &str) -> Vec<u8> {
    let found = samples().into_iter().find(|(known, _)| known == name);
    found.expect("a sample").1
}

pub(super) fn set(name: &str) -> ChangeSet {
    decode(&sample(name), &Profile::default()).expect("what it says")
}

#[test]
fn every_sample_is_whole_and_says_what_it_is() {
    let all = samples();
    assert!(10 <= all.len(), "{} samples", all.len());
    for (name, bytes) in &all {
        let file = File::read(bytes).expect("a file");
        assert!(file.check(Until::End).is_ok(), "{name}");
        assert_eq!(inspect(bytes, Until::End), Ok(()), "{name}");
        let keys = keys(bytes);
        assert_eq!(keys.sender.as_deref(), Some("CT1"), "{name}");
        assert!(keys.message_type.is_some(), "{name}");
        let is_decoded = command(&file).expect("a command").service != Service::Worklist;
        assert_eq!(decode(bytes, &Profile::default()).is_ok(), is_decoded, "{name}");
        // What is written of the meta header is what was read of it.
        let again = [file.meta.written(), file.data.to_vec()].concat();
        let again = File::read(&again).expect("a file");
        let fields = |meta: &Meta| {
            let texts = [
                &meta.class,
                &meta.instance,
                &meta.syntax,
                &meta.implementation,
                &meta.calling,
                &meta.called,
            ];
            (texts.map(String::clone), meta.command.clone())
        };
        assert_eq!(fields(&again.meta), fields(&file.meta), "{name}");
    }
}

/// The data set in explicit or implicit form as it was, without the value of the element that begins at this byte.
fn blanked(set: &DataSet<'_>, coding: Coding, at: Option<usize>, out: &mut Vec<u8>) {
    for one in &set.elements {
        let header = one.header;
        if Some(header.at) == at {
            element(coding, header.tag, header.vr, &[], out);
            continue;
        }
        match &one.value {
            Value::Bytes(bytes) => element(coding, header.tag, header.vr, bytes, out),
            // Pixels are not at hand here, and no value of theirs is looked at.
            Value::Elsewhere => element(coding, header.tag, header.vr, &[], out),
            Value::Items(items) => {
                let mut value = vec![];
                for item in items {
                    let mut inner = vec![];
                    blanked(item, coding, at, &mut inner);
                    let item = [&[0xFE, 0xFF, 0x00, 0xE0][..], &(inner.len() as u32).to_le_bytes()].concat();
                    value.extend(match coding.big_endian {
                        false => item,
                        true => [&[0xFF, 0xFE, 0xE0, 0x00][..], &(inner.len() as u32).to_be_bytes()].concat(),
                    });
                    value.extend(inner);
                }
                element(coding, header.tag, dicom_core::VR::SQ, &value, out);
            }
        }
    }
}

fn leaves(set: &DataSet<'_>, path: &str, out: &mut Vec<(usize, String)>) {
    for element in &set.elements {
        let tag = element.header.tag;
        let place = format!("{path}{}", names::name(tag));
        match &element.value {
            Value::Items(items) => {
                for (n, item) in items.iter().enumerate() {
                    leaves(item, &format!("{place}[{n}]."), out);
                }
            }
            Value::Bytes(_) if !element.is_empty() && !is_pixels(tag) && tag != Tag(0x0008, 0x0005) => {
                out.push((element.header.at, place));
            }
            Value::Bytes(_) | Value::Elsewhere => {}
        }
    }
}

/// What a message says, without what only tells its bytes from others.
fn said(meta: &Meta, data: &[u8]) -> Result<String, String> {
    let bytes = [meta.written(), data.to_vec()].concat();
    let mut set = decode(&bytes, &Profile::default()).map_err(|error| error.to_string())?;
    for change in &mut set.changes {
        if let clinic::Body::ImagingInstance(object) = &mut change.say {
            object.content = clinic::patch::Patch::Absent;
        }
    }
    serde_json::to_string(&set).map_err(|error| error.to_string())
}

/// Every element of every sample blanked: the change set or what it could not place changes.
#[test]
fn no_element_is_dropped_in_silence() {
    let mut silent = vec![];
    let mut count = 0;
    for (name, bytes) in samples() {
        let file = File::read(&bytes).expect("a file");
        if command(&file).expect("a command").service == Service::Worklist {
            continue;
        }
        let set = file.data_set(Fallback::default()).expect("a data set");
        let coding = file.coding();
        let mut meta = file.meta.clone();
        if meta.syntax == "1.2.840.10008.1.2.1.99" {
            meta.syntax = "1.2.840.10008.1.2.1".to_owned();
        }
        let written = |at: Option<usize>| {
            let mut out = vec![];
            blanked(&set, coding, at, &mut out);
            out
        };
        let whole = said(&meta, &written(None));
        assert!(whole.is_ok(), "{name}: {whole:?}");
        let mut all = vec![];
        leaves(&set, "", &mut all);
        for (at, place) in all {
            count += 1;
            // What is said is what holds where nothing is.
            let as_without = [
                "TimezoneOffsetFromUTC",
                "MIMETypeOfEncapsulatedDocument",
                "EncapsulatedDocumentLength",
            ];
            if as_without.contains(&place.as_str()) {
                continue;
            }
            if said(&meta, &written(Some(at))) == whole {
                silent.push(format!("{name}: {place}"));
            }
        }
    }
    assert!(150 < count, "{count} elements");
    assert!(silent.is_empty(), "nothing changes without {silent:#?}");
}

/// Every element behind the pixels blanked: the losses change, of what is at hand as a whole and of what is not, deflated or not.
#[test]
fn no_element_behind_the_pixels_is_dropped_in_silence() {
    const EXPLICIT: &str = "1.2.840.10008.1.2.1";
    const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
    const JPEG: &str = "1.2.840.10008.1.2.4.50";
    let bytes = sample("ct-explicit");
    let file = File::read(&bytes).expect("a file");
    let set = file.data_set(Fallback::default()).expect("a data set");
    let mut before = vec![];
    blanked(&set, Coding::EXPLICIT, None, &mut before);
    let begins = [&b"\xE0\x7F\x10\0OW"[..], b"\xE0\x7F\x10\0OB"];
    let at = begins
        .iter()
        .find_map(|head| before.windows(6).rposition(|six| six == *head));
    before.truncate(at.expect("pixels"));
    let tail = b"\xE1\x7F\x10\0LO\x04\0ACME\xE1\x7F\x01\x10LO\x02\0A1\xE1\x7F\x02\x10UN\0\0\x04\0\0\0\x01\x02\x03\x04\
        \xFA\xFF\xFA\xFFSQ\0\0\x1A\0\0\0\xFE\xFF\0\xE0\x12\0\0\0\0\x04\x05\0US\x02\0\x07\0\0\x04\0\x01CS\0\0";
    let behind = DataSet::read(tail, Coding::EXPLICIT, Fallback::default()).expect("what stands behind");
    let mut leaves_of_it = vec![];
    leaves(&behind, "", &mut leaves_of_it);
    assert_eq!(leaves_of_it.len(), 4);
    let plain = [&b"\xE0\x7F\x10\0OW\0\0\x80\0\0\0"[..], &[7; 128]].concat();
    let packed = b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0\xFE\xFF\0\xE0\x04\0\0\0abcd\xFE\xFF\xDD\xE0\0\0\0\0".to_vec();
    for (syntax, pixels) in [(EXPLICIT, &plain), (DEFLATED, &plain), (JPEG, &packed)] {
        let of = |at: Option<usize>| {
            let mut tail = vec![];
            blanked(&behind, Coding::EXPLICIT, at, &mut tail);
            let data = [&before[..], pixels, &tail].concat();
            let data = match syntax {
                DEFLATED => super::part10::deflate(&data),
                _ => data,
            };
            let meta = Meta {
                syntax: syntax.to_owned(),
                ..file.meta.clone()
            };
            [meta.written(), data].concat()
        };
        let places = |bytes: &[u8]| -> Vec<String> {
            let whole = decode(bytes, &Profile::default()).expect("what it says").extra;
            // Of one of which the beginning alone was decoded.
            let length = bytes.len() as u64;
            let rest = super::behind::losses(bytes, &mut Cursor::new(bytes), length, Fallback::default());
            let rest = rest.expect("readable");
            assert_eq!(whole[whole.len() - rest.len()..], rest, "{syntax}");
            rest.into_iter().map(|extra| extra.place.0).collect()
        };
        let all = places(&of(None));
        assert_eq!(all.len(), 4, "{syntax}: {all:?}");
        for (at, place) in &leaves_of_it {
            let left = places(&of(Some(*at)));
            assert_eq!(left.len(), 3, "{syntax}: {place}");
            assert!(!left.contains(place), "{syntax}: {place} in {left:?}");
        }
    }
    // What can't be read is told as such, and so is what is too long.
    let long = [
        &before[..],
        &plain,
        b"\xE1\x7F\x10\0UN\0\0",
        &9_000_000_u32.to_le_bytes(),
        &[1; 9_000_000],
    ]
    .concat();
    let long = [file.meta.written(), long].concat();
    let length = long.len() as u64;
    let told = super::behind::losses(
        &long[..8_000],
        &mut Cursor::new(&long),
        length,
        Fallback::default(),
    );
    let why = told.expect("readable")[0].note.clone().expect("why");
    assert_eq!(
        why,
        "9000012 bytes stand behind the pixels, which are not looked through"
    );
    let garbage = [
        file.meta.written(),
        before.clone(),
        plain.clone(),
        b"abc".to_vec(),
    ]
    .concat();
    let length = garbage.len() as u64;
    let told = super::behind::losses(&garbage, &mut Cursor::new(&garbage), length, Fallback::default());
    assert!(
        told.expect("told")[0]
            .note
            .as_deref()
            .expect("why")
            .contains("can't be read")
    );
}

/// Cut anywhere, with any byte changed: an answer, never a panic.
#[test]
fn damaged_samples_never_panic() {
    for (name, bytes) in samples() {
        for end in (0..bytes.len()).step_by(3) {
            let _ = decode(&bytes[..end], &Profile::default());
            let _ = keys(&bytes[..end]);
        }
        for at in (128..bytes.len()).step_by(5) {
            for value in [0x00, 0xFF, 0x5C, 0x1B] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let _ = decode(&changed, &Profile::default());
                let length = changed.len() as u64;
                let _ =
                    super::behind::losses(&changed, &mut Cursor::new(&changed), length, Fallback::default());
                if let Ok(set) = File::read(&changed).and_then(|file| {
                    let set = file.data_set(Fallback::default())?;
                    Ok(super::report::Report::of(&set).html())
                }) {
                    assert!(set.ends_with("</html>\n"));
                }
                let _ = inspect(&changed, Until::End);
                let found = super::worklist::question(&changed, &Profile::default());
                assert!(found.is_none() || name.starts_with("worklist") || !bytes.starts_with(&changed));
            }
        }
    }
}

/// A name in a set that is not named is guessed, and that is said beside it.
#[test]
fn a_guessed_text_is_told() {
    let bytes = sample("us-implicit-latin2");
    let file = File::read(&bytes).expect("a file");
    let set = file.data_set(Fallback::default()).expect("a data set");
    let mut unnamed = vec![];
    let named = set.get(Tag(0x0008, 0x0005)).map(|element| element.header.at);
    blanked(&set, file.coding(), named, &mut unnamed);
    let said = decode(&[file.meta.written(), unnamed].concat(), &Profile::default()).expect("what it says");
    let places: Vec<&str> = said
        .about
        .notes
        .iter()
        .map(|note| note.place.0.as_str())
        .collect();
    assert_eq!(places, ["PatientName"]);
    assert!(set_of(&bytes).about.notes.is_empty());
}

pub(super) fn set_of(bytes: &[u8]) -> ChangeSet {
    decode(bytes, &Profile::default()).expect("what it says")
}

/// A name in three ways of writing, and a time with its fraction, come back as they were said.
#[test]
fn names_in_all_letters_and_parts_of_seconds_are_kept() {
    const NAME: &str = "Yamada^Tarou=山田^太郎=やまだ^たろう";
    let decoded = |name: &str, time: &str| {
        let mut set = Out::default();
        for (keyword, value) in [
            ("SpecificCharacterSet", "ISO_IR 192"),
            ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"),
            ("SOPInstanceUID", "1.2.3"),
            ("StudyDate", "20260505"),
            ("StudyTime", time),
            ("PatientName", name),
            ("PatientID", "P-7"),
            ("StudyInstanceUID", "1.2"),
            ("SeriesInstanceUID", "1.2.1"),
        ] {
            set.text(keyword, value);
        }
        let object = super::message::tests::object("1.2.840.10008.5.1.4.1.1.2", "1.2.3", &set);
        let set = set_of(&object);
        let names: Vec<PersonName> = set
            .changes
            .iter()
            .find_map(|change| match &change.say_if_new {
                Some(Body::Patient(patient)) => Some(patient.names.values().to_vec()),
                _ => None,
            })
            .expect("a patient");
        let started = set.changes.iter().find_map(|change| match &change.say_if_new {
            Some(Body::ImagingStudy(study)) => study.started.value().map(|when| when.as_str().to_owned()),
            _ => None,
        });
        let rest: Vec<String> = set.extra.iter().map(|extra| extra.place.0.clone()).collect();
        (names, started, rest)
    };
    let (names, started, rest) = decoded(NAME, "101500.25");
    assert_eq!(rest, [""; 0]);
    assert!(started.is_some_and(|text| text.starts_with("2026-05-05T10:15:00.25")));
    let letters: Vec<_> = names.iter().map(|name| name.representation).collect();
    assert_eq!(
        letters,
        [
            None,
            Some(NameRepresentation::Ideographic),
            Some(NameRepresentation::Phonetic)
        ]
    );
    assert_eq!(worklist::names(&names), NAME);
    let (names, started, _) = decoded("=山田", "101500");
    assert_eq!(worklist::names(&names), "=山田");
    assert!(started.is_some_and(|text| text.starts_with("2026-05-05T10:15:00") && !text.contains('.')));
    let (_, started, _) = decoded("A", "1015");
    assert!(started.is_some_and(|text| text.starts_with("2026-05-05T10:15:00")));
    // What is no time is told, and the day stays.
    let (_, started, rest) = decoded("A", "101500.2x");
    assert_eq!((started.as_deref(), rest.len()), (Some("2026-05-05"), 1));
}

/// Of what is carried once, the second is listed.
#[test]
fn a_second_value_where_one_is_carried_is_told() {
    let places = |set: &ChangeSet| -> Vec<String> {
        let places = set.extra.iter().map(|extra| extra.place.0.clone());
        places.collect()
    };
    let code = |value: &str| {
        let mut code = Out::default();
        code.text("CodeValue", value);
        code.text("CodingSchemeDesignator", "UCUM");
        code
    };
    let codes = || Said::Items(vec![code("mm"), code("cm")]);
    let mut value = Out::default();
    value.text("NumericValue", "7");
    value.put("MeasurementUnitsCodeSequence", codes());
    let mut number = Out::default();
    number.text("ValueType", "NUM");
    number.put("ConceptNameCodeSequence", Said::Items(vec![code("L")]));
    number.put("MeasuredValueSequence", Said::Items(vec![value]));
    let mut report = Out::default();
    let class = "1.2.840.10008.5.1.4.1.1.88.22";
    for (keyword, value) in [
        ("SOPClassUID", class),
        ("SOPInstanceUID", "2.25.9"),
        ("StudyInstanceUID", "2.25.7"),
        ("SeriesInstanceUID", "2.25.8"),
    ] {
        report.text(keyword, value);
    }
    report.put(
        "PatientName",
        Said::Texts(vec!["Pop^Ana".to_owned(), "Alta^Nume".to_owned()]),
    );
    report.put("ContentSequence", Said::Items(vec![number]));
    let set = set_of(&super::message::tests::object(class, "2.25.9", &report));
    let units = "ContentSequence[0].MeasuredValueSequence[0].MeasurementUnitsCodeSequence[1].CodeValue";
    for place in ["PatientName", units] {
        assert!(
            places(&set).iter().any(|told| told == place),
            "{place}: {:?}",
            places(&set)
        );
    }
    // What an MPPS says is done, in the words of the step and in those of its type.
    let performed = |description: &str| {
        let mut performed = Out::default();
        performed.text("PerformedProcedureStepStatus", "IN PROGRESS");
        performed.text("PerformedProcedureStepDescription", description);
        performed.text("PerformedProcedureTypeDescription", "Type");
        set_of(&super::message::tests::message(
            0x0140,
            "1.2.840.10008.3.1.2.3.3",
            "2.25.1",
            &performed,
        ))
    };
    let kind = "PerformedProcedureTypeDescription".to_owned();
    assert!(places(&performed("Step")).contains(&kind));
    assert!(!places(&performed("")).contains(&kind));
}
