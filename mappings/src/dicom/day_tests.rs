//! What comes of a day of samples: orders that move, studies that find them, and what a person has to decide about.

use clinic::aggregate::Source;
use clinic::apply::{ApplyError, Context, OnUnmatched};
use clinic::exchange::Reason;
use clinic::memory::MemoryClinic;
use clinic::{Aggregate, Applied, Body, ChangeSet, Kind};
use dicom_core::Tag;
use uuid::Uuid;

use super::charset::Fallback;
use super::dataset::Value;
use super::law_tests::{sample, set, set_of};
use super::part10::File;
use super::scan::Coding;
use super::write::{Out, Said, element};
use super::{Profile, decode};

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
    assert_eq!(
        measured[0]["status"], "preliminary",
        "nobody has verified the report"
    );
    assert_eq!(measured[0]["body_site"]["codings"][0]["display"], "Lung");
    assert_eq!(measured[0]["method"]["codings"][0]["display"], "Caliper");
    let patients = day.all(Kind::Patient);
    assert_eq!(patients.len(), 1, "a device makes no patient");
    assert_eq!(patients[0]["names"].as_array().map(Vec::len), Some(1));
}

/// The numbers of a report are as final as it is, and each was measured when its item says so.
#[test]
fn numbers_of_a_report_have_its_state_and_their_own_time() {
    let code = |value: &str| {
        let mut code = Out::default();
        code.text("CodeValue", value);
        code.text("CodingSchemeDesignator", "UCUM");
        code.text("CodeMeaning", value);
        Said::Items(vec![code])
    };
    let measured = |completion: &str, verification: &str, at: &str| {
        let mut value = Out::default();
        value.text("NumericValue", "12.5");
        value.put("MeasurementUnitsCodeSequence", code("mm"));
        let mut item = Out::default();
        item.text("RelationshipType", "CONTAINS");
        item.text("ValueType", "NUM");
        item.text("ObservationDateTime", at);
        item.put("ConceptNameCodeSequence", code("LENGTH"));
        item.put("MeasuredValueSequence", Said::Items(vec![value]));
        let mut set = Out::default();
        for (keyword, value) in [
            ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.88.22"),
            ("SOPInstanceUID", "2.25.9.1.1"),
            ("ContentDate", "20261128"),
            ("ContentTime", "093000"),
            ("PatientID", "N-501"),
            ("StudyInstanceUID", "2.25.9"),
            ("SeriesInstanceUID", "2.25.9.1"),
            ("CompletionFlag", completion),
            ("VerificationFlag", verification),
        ] {
            set.text(keyword, value);
        }
        set.put("ContentSequence", Said::Items(vec![item]));
        let class = "1.2.840.10008.5.1.4.1.1.88.22";
        let said = set_of(&super::message::tests::object(class, "2.25.9.1.1", &set));
        let one = said.changes.into_iter().find_map(|change| match change.say {
            Body::Observation(say) => Some(say),
            _ => None,
        });
        let one = one.expect("a measurement");
        let when = one.effective_at.value().map(|when| when.as_str().to_owned());
        (one.status.value().copied(), when.unwrap_or_default())
    };
    use clinic::diagnostics::ObservationStatus::{Final, Preliminary};
    let of_document = "2026-11-28T09:30:00+02:00".to_owned();
    assert_eq!(
        measured("COMPLETE", "VERIFIED", ""),
        (Some(Final), of_document.clone())
    );
    assert_eq!(
        measured("PARTIAL", "VERIFIED", "20261127101500.5+0200"),
        (Some(Preliminary), "2026-11-27T10:15:00.5+02:00".to_owned())
    );
    assert_eq!(
        measured("COMPLETE", "UNVERIFIED", "20261127"),
        (Some(Preliminary), "2026-11-27".to_owned())
    );
    assert_eq!(measured("", "", "2026"), (Some(Preliminary), of_document));
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
