//! What holds for every sample, and what comes of a day of them.

use std::io::Cursor;

use clinic::aggregate::Source;
use clinic::apply::{ApplyError, Context, OnUnmatched};
use clinic::exchange::Reason;
use clinic::memory::MemoryClinic;
use clinic::value::{NameRepresentation, PersonName};
use clinic::{Aggregate, Applied, Body, ChangeSet, Kind};
use dicom_core::Tag;
use uuid::Uuid;

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

fn sample(name: &str) -> Vec<u8> {
    let found = samples().into_iter().find(|(known, _)| known == name);
    found.expect("a sample").1
}

fn set(name: &str) -> ChangeSet {
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
                let _ = inspect(&changed, Until::End);
                let found = super::worklist::question(&changed, &Profile::default());
                assert!(found.is_none() || name.starts_with("worklist") || !bytes.starts_with(&changed));
            }
        }
    }
}

struct Day {
    clinic: MemoryClinic,
    ids: u128,
    on_unmatched: OnUnmatched,
}

impl Day {
    /// A patient, and what was ordered for her.
    fn new() -> Self {
        let mut day = Day {
            clinic: MemoryClinic::new(),
            ids: 0,
            on_unmatched: OnUnmatched::Create,
        };
        let ordered = r#"{"changes":[
            {"key":"p","say":{"Patient":{"identifiers":[{"system":"NORD","value":"N-501","kind":{"codings":[{"code":"MR"}]}}],
              "names":[{"family":"Țîră-Șerban","given":["Ana","Maria"]}]}}},
            {"key":"o","say":{"Order":{"identifiers":[{"system":"RIS","value":"C-9100","kind":{"codings":[{"code":"PLAC"}]}}],"status":"active",
              "patient":{"local":"p"},"imaging":{"accession":"A-9100","study_uid":"2.25.7000","procedure_id":"RP-1",
              "steps":[{"id":"S-1","modality":"CT"}]}}}}]}"#;
        day.apply(&serde_json::from_str(ordered).expect("a change set"))
            .expect("applied");
        day
    }

    fn apply(&mut self, set: &ChangeSet) -> Result<Applied, ApplyError> {
        let ids = &mut self.ids;
        let applied = clinic::apply(
            set,
            &self.clinic,
            Context {
                source: Source::Message {
                    channel: "ct".to_owned(),
                    message: Uuid::nil(),
                },
                now: jiff::Timestamp::UNIX_EPOCH,
                site: None,
                on_unmatched: self.on_unmatched,
                decisions: &[],
                overwrite: false,
                new_id: &mut || {
                    *ids += 1;
                    Uuid::from_u128(*ids)
                },
            },
        )?;
        self.clinic.commit(&applied).expect("written");
        Ok(applied)
    }

    fn verbs(&mut self, name: &str) -> Vec<String> {
        let applied = self.apply(&set(name)).expect("applied");
        let mut verbs: Vec<String> = applied
            .writes
            .iter()
            .map(|write| format!("{}.{}", write.record.aggregate.kind().as_str(), write.verb))
            .collect();
        verbs.sort();
        verbs
    }

    /// All of a kind that this day made, as JSON.
    fn all(&self, kind: Kind) -> Vec<serde_json::Value> {
        use clinic::apply::Snapshot;
        let records =
            (1..=self.ids).filter_map(|id| self.clinic.load(kind, Uuid::from_u128(id)).expect("memory"));
        records
            .map(|record| {
                let json = record.aggregate.to_json().expect("JSON");
                serde_json::from_slice(&json).expect("JSON")
            })
            .collect()
    }
}

#[test]
fn an_examination_moves_its_order() {
    let mut day = Day::new();
    assert_eq!(day.verbs("mpps-begun"), ["Order.started"]);
    match day.apply(&set("mpps-begun")) {
        Err(ApplyError::Refused(error)) => assert_eq!(error.reason, Reason::Conflict, "begun already"),
        other => panic!("{:?}", other.map(|_| ())),
    }
    assert_eq!(
        day.verbs("ct-explicit"),
        ["ImagingInstance.created", "ImagingStudy.available"]
    );
    assert!(day.verbs("ct-explicit").is_empty(), "the same object again");
    assert_eq!(
        day.verbs("pdf"),
        [
            "Document.created",
            "ImagingInstance.created",
            "ImagingStudy.updated"
        ]
    );
    let verbs = day.verbs("sr-measurements");
    assert_eq!(
        verbs.iter().filter(|verb| *verb == "Observation.created").count(),
        2,
        "{verbs:?}"
    );
    assert_eq!(day.verbs("mpps-completed"), ["Order.completed"]);

    let order = &day.all(Kind::Order)[0];
    assert_eq!(order["performed"][0]["station_ae"], "CT1");
    assert_eq!(order["performed"][0]["started"], "2026-11-27T08:31:00+02:00");
    assert_eq!(order["performed"][0]["ended"], "2026-11-27T08:45:00+02:00");
    assert_eq!(order["performed"][0]["series"][0], "2.25.7100");
    let study = &day.all(Kind::ImagingStudy)[0];
    assert_eq!(study["started"], "2026-11-27T08:30:00+02:00");
    assert_eq!(study["description"], "CT torace");
    assert_eq!(study["series"].as_array().map(Vec::len), Some(3));
    assert_eq!(study["series"][0]["body_site"]["codings"][0]["code"], "51185008");
    assert_eq!(study["orders"].as_array().map(Vec::len), Some(1));
    let object = &day.all(Kind::ImagingInstance)[0];
    assert_eq!((&object["rows"], &object["number"]), (&16.into(), &1.into()));
    let document = &day.all(Kind::Document)[0];
    assert_eq!(document["description"], "Scrisoare către medicul de familie");
    let pdf = document["contents"][0]["data"].as_str().unwrap_or_default();
    assert!(
        pdf.starts_with("JVBERi0xLjQK") && !pdf.ends_with("AA=="),
        "without what fills up"
    );
    let measured = day.all(Kind::Observation);
    assert_eq!(measured[0]["value"]["quantity"]["value"], "12.5");
    assert_eq!(measured[0]["value"]["quantity"]["code"], "mm");
    assert_eq!(measured[0]["body_site"]["codings"][0]["display"], "Lung");
    assert_eq!(measured[0]["method"]["codings"][0]["display"], "Caliper");
    let patients = day.all(Kind::Patient);
    assert_eq!(patients.len(), 1, "a device makes no patient");
    assert_eq!(patients[0]["names"].as_array().map(Vec::len), Some(1));
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

fn set_of(bytes: &[u8]) -> ChangeSet {
    decode(bytes, &Profile::default()).expect("what it says")
}

/// What was done for several orders names none itself, and each in the Request Attributes Sequence.
#[test]
fn images_that_name_their_orders_in_their_requests_are_found_by_them() {
    let object = |of_study: &str, requests: &[&str]| {
        let mut set = Out::default();
        for (keyword, value) in [
            ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"),
            ("SOPInstanceUID", "2.25.9.1.1"),
            ("AccessionNumber", of_study),
            ("PatientName", "Tira-Serban^Ana"),
            ("PatientID", "N-501"),
            ("StudyInstanceUID", "2.25.9"),
            ("SeriesInstanceUID", "2.25.9.1"),
        ] {
            set.text(keyword, value);
        }
        let items = requests.iter().map(|number| {
            let mut item = Out::default();
            item.text("AccessionNumber", number);
            item.text("RequestedProcedureID", "RP");
            item
        });
        set.put("RequestAttributesSequence", Said::Items(items.collect()));
        set_of(&super::message::tests::object(
            "1.2.840.10008.5.1.4.1.1.2",
            "2.25.9.1.1",
            &set,
        ))
    };
    let second = r#"{"changes":[{"key":"p","find":{"identifiers":[{"system":"NORD","value":"N-501"}]},"say":{"Patient":{}}},
        {"key":"o","say":{"Order":{"identifiers":[{"system":"RIS","value":"C-9200","kind":{"codings":[{"code":"PLAC"}]}}],"status":"active",
          "patient":{"local":"p"},"imaging":{"accession":"A-9200","study_uid":"2.25.7200","procedure_id":"RP-2","steps":[{"id":"S-2","modality":"CT"}]}}}}]}"#;
    let second: ChangeSet = serde_json::from_str(second).expect("a change set");
    let orders = |day: &Day| -> usize {
        let study = day.all(Kind::ImagingStudy).pop().expect("a study");
        study["orders"].as_array().map_or(0, Vec::len)
    };
    let places = |set: &ChangeSet| -> Vec<String> {
        let numbers = set.extra.iter().map(|extra| extra.place.0.clone());
        numbers.filter(|place| place.contains("Accession")).collect()
    };
    // (what the study says, what its requests say) → how many orders it is linked with, and which numbers are left.
    for (of_study, requests, linked, left) in [
        ("", &["A-9100"][..], 1, &[][..]),
        ("", &["A-9100", "A-9200"], 2, &[]),
        (
            "",
            &["A-9200", "A-9200"],
            1,
            &["RequestAttributesSequence[1].AccessionNumber"],
        ),
        ("", &["A-9999"], 0, &[]),
        (
            "A-9100",
            &["A-9200"],
            1,
            &["RequestAttributesSequence[0].AccessionNumber"],
        ),
    ] {
        let set = object(of_study, requests);
        assert_eq!(places(&set), left, "{of_study} {requests:?}");
        let mut day = Day::new();
        day.apply(&second).expect("applied");
        day.apply(&set).expect("applied");
        assert_eq!(orders(&day), linked, "{of_study} {requests:?}");
        // And where the second order comes after its images.
        let mut late = Day::new();
        late.apply(&set).expect("applied");
        late.apply(&second).expect("applied");
        assert_eq!(orders(&late), linked, "{of_study} {requests:?}, late");
    }
    // What another series of the study was done for is an order of it too.
    let mut day = Day::new();
    day.apply(&second).expect("applied");
    day.apply(&object("", &["A-9100"])).expect("applied");
    let mut other = object("", &["A-9200"]);
    for change in &mut other.changes {
        if let Body::ImagingInstance(say) = &mut change.say {
            say.identifiers = clinic::patch::Items::merge(vec![clinic::imaging::uid("2.25.9.1.2")]);
        }
    }
    day.apply(&other).expect("applied");
    assert_eq!(orders(&day), 2);
}

#[test]
fn a_wrong_entry_goes_back_to_the_list() {
    let mut day = Day::new();
    day.verbs("mpps-begun");
    assert_eq!(day.verbs("mpps-wrong-entry"), ["Order.returned"]);
    // What has ended has ended.
    match day.apply(&set("mpps-completed")) {
        Err(ApplyError::Refused(error)) => assert_eq!(error.reason, Reason::Conflict),
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[test]
fn what_was_never_begun_can_not_end() {
    match Day::new().apply(&set("mpps-completed")) {
        Err(ApplyError::Refused(error)) => assert_eq!(error.reason, Reason::UnknownKey),
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[test]
fn images_of_somebody_else_are_parked() {
    let mut day = Day::new();
    let mut other = set("ct-explicit");
    for change in &mut other.changes {
        if change.kind() == Kind::Patient {
            change.find.identifiers[0].value = "N-777".to_owned();
        }
    }
    match day.apply(&other) {
        Err(ApplyError::Parked { .. }) => {}
        other => panic!("{:?}", other.map(|_| ())),
    }
    let mut changed = set("ct-explicit");
    day.verbs("ct-explicit");
    for change in &mut changed.changes {
        if let clinic::Body::ImagingInstance(object) = &mut change.say {
            object.content = clinic::patch::Patch::Set("00".repeat(32));
        }
    }
    match day.apply(&changed) {
        Err(ApplyError::Parked { .. }) => {}
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[test]
fn an_examination_that_nobody_planned_is_an_order_of_its_own() {
    let mut day = Day::new();
    let bytes = sample("mpps-begun");
    let unplanned = |number: &str| {
        let file = File::read(&bytes).expect("a file");
        let set = file.data_set(Fallback::default()).expect("a data set");
        let mut out = vec![];
        for one in &set.elements {
            let value = match (one.header.tag, &one.value) {
                (Tag(0x0010, 0x0020), _) => number.as_bytes(),
                (_, Value::Bytes(bytes)) => bytes,
                (_, Value::Items(_) | Value::Elsewhere) => &[],
            };
            element(Coding::EXPLICIT, one.header.tag, one.header.vr, value, &mut out);
        }
        decode(&[file.meta.written(), out].concat(), &Profile::default()).expect("what it says")
    };
    let applied = day.apply(&unplanned("N-501 ")).expect("applied");
    assert_eq!(applied.writes.len(), 1);
    assert!(
        matches!(&applied.writes[0].record.aggregate, Aggregate::Order(order) if order.patient.is_some())
    );
    let applied = day.apply(&set("mpps-completed")).expect("applied");
    assert_eq!(applied.writes[0].verb, "completed");
    match Day::new().apply(&unplanned("N-77 ")) {
        Err(ApplyError::Parked { about, .. }) => assert_eq!(about.as_deref(), Some("patient")),
        other => panic!("{:?}", other.map(|_| ())),
    }
}

/// What another system planned: an accession number and a step that no order here has.
#[test]
fn what_was_planned_elsewhere_is_an_order_of_its_own_where_the_channel_says_so() {
    let planned = |number: &str, family: &str| {
        let mut said = set("mpps-begun");
        for change in &mut said.changes {
            match (change.key.as_str(), &mut change.say_if_new) {
                ("patient", Some(clinic::Body::Patient(say))) => {
                    change.find.identifiers[0].value = number.to_owned();
                    if let clinic::patch::Items::Merge(names) = &mut say.names {
                        names[0].family = Some(family.to_owned());
                    }
                }
                ("order", Some(clinic::Body::Order(say))) => {
                    change.find.identifiers[0].value = "2.25.7999".to_owned();
                    change.find.identifiers[1].value = "A-9999".to_owned();
                    if let clinic::patch::Items::Merge(numbers) = &mut say.identifiers {
                        numbers[0].value = "2.25.7999".to_owned();
                        numbers[1].value = "A-9999".to_owned();
                    }
                }
                _ => {}
            }
        }
        said
    };
    let parked = |day: &mut Day, number: &str, family: &str| match day.apply(&planned(number, family)) {
        Err(ApplyError::Parked { about, .. }) => assert_eq!(about.as_deref(), Some("order")),
        other => panic!("{number} {family}: {:?}", other.map(|_| ())),
    };
    let mut day = Day::new();
    for careful in [OnUnmatched::Create, OnUnmatched::Park] {
        day.on_unmatched = careful;
        parked(&mut day, "N-501", "Tira-Serban");
    }
    day.on_unmatched = OnUnmatched::CreateSaid;
    // A number that is nobody's, and one of somebody of another name.
    parked(&mut day, "N-77", "Tira-Serban");
    parked(&mut day, "N-501", "Ionescu");
    let applied = day.apply(&planned("N-501", "Tira-Serban")).expect("applied");
    assert_eq!(applied.writes.len(), 1);
    let Aggregate::Order(order) = &applied.writes[0].record.aggregate else {
        panic!("no order");
    };
    assert!(order.patient.is_some());
    assert!(
        order
            .identifiers
            .iter()
            .any(|id| id.kind_code() == Some("ACSN") && id.value == "A-9999")
    );
    let applied = day.apply(&set("mpps-completed")).expect("applied");
    assert_eq!(applied.writes[0].verb, "completed");
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
