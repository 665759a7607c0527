//! Questions for worklists and their answers, from the bytes of the one to the bytes of the other.

use std::collections::BTreeMap;

use clinic::aggregate::{Meta, Source};
use clinic::ask::{Found, Question, WorklistQuestion};
use clinic::diagnostics::{Observation, Order, OrderStatus, Value};
use clinic::exchange::{MapError, Reason, Stamp};
use clinic::imaging::{
    Imaging, ImagingStep, ImagingStudy, ImagingStudyStatus, PerformedStatus, PerformedStep, StepStatus,
};
use clinic::people::{LinkKind, Patient, PatientLink, Practitioner, Sex};
use clinic::scheduling::{Appointment, AppointmentStatus};
use clinic::value::{Coding, Concept, Identifier, PersonName, Quantity, Ref, When};
use clinic::{Aggregate, Kind, Record};
use dicom_core::Tag;
use uuid::Uuid;

use super::Profile;
use super::charset::{Fallback, Set, Shows};
use super::dataset::DataSet;
use super::message::WORKLIST;
use super::message::tests::message;
use super::reply::read_status;
use super::scan::Coding as Bytes;
use super::worklist::{answer, question};
use super::write::{Out, Said};

const PATIENT: u128 = 1;
const ORDER: u128 = 2;
const DOCTOR: u128 = 3;
const APPOINTMENT: u128 = 4;

fn id(kind: Kind, number: u128) -> Ref {
    Ref::Id(kind, Uuid::from_u128(number))
}

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

fn person(family: &str, given: &[&str]) -> PersonName {
    PersonName {
        family: Some(family.to_owned()),
        given: given.iter().map(|name| (*name).to_owned()).collect(),
        ..PersonName::default()
    }
}

fn number(kind: &str, system: &str, value: &str) -> Identifier {
    Identifier {
        kind: Some(Concept::coded(
            "http://terminology.hl7.org/CodeSystem/v2-0203",
            kind,
            None,
        )),
        ..Identifier::new(Some(system), value)
    }
}

fn when(text: &str) -> When {
    text.parse().expect("a moment")
}

fn patient() -> Patient {
    Patient {
        identifiers: vec![
            number("NNROU", "cnp", "2800512080014"),
            number("MR", "NORD", "N-501"),
        ],
        names: vec![person("Țîră-Șerban", &["Ana", "Maria"])],
        birth_date: Some(when("1980-05-12")),
        sex: Some(Sex::Female),
        ..Patient::default()
    }
}

fn order() -> Order {
    Order {
        patient: Some(id(Kind::Patient, PATIENT)),
        status: Some(OrderStatus::Active),
        code: Some(Concept {
            codings: vec![Coding::new("L", "CTTOR", Some("CT torace cu substanță"))],
            text: None,
        }),
        requester: Some(id(Kind::Practitioner, DOCTOR)),
        imaging: Some(Imaging {
            accession: Some("A-1".to_owned()),
            procedure_id: Some("RP-1".to_owned()),
            study_uid: Some("1.2.3".to_owned()),
            steps: vec![ImagingStep {
                id: Some("S-1".to_owned()),
                modality: Some("CT".to_owned()),
                start: Some(when("2026-11-27T08:30:00+02:00")),
                location: Some("Sala 2".to_owned()),
                ..ImagingStep::default()
            }],
            ..Imaging::default()
        }),
        ..Order::default()
    }
}

fn found(orders: Vec<Order>, more: Vec<Record>) -> Found {
    let doctor = Practitioner {
        names: vec![person("Pop", &["Ion"])],
        ..Practitioner::default()
    };
    let around = [record(PATIENT, patient()), record(DOCTOR, doctor)];
    let orders = orders.into_iter().enumerate();
    Found {
        records: orders
            .map(|(n, order)| record(ORDER + 100 * n as u128, order))
            .collect(),
        around: around
            .into_iter()
            .chain(more)
            .map(|record| (record.meta.id, record))
            .collect::<BTreeMap<_, _>>(),
        ..Found::default()
    }
}

fn put(out: &mut Out, name: &str, value: &str) {
    let values = match value {
        "" => vec![],
        value => value.split('\\').map(str::to_owned).collect(),
    };
    out.put(name, Said::Texts(values));
}

fn asked(keys: &[(&str, &str)], step: &[(&str, &str)]) -> Vec<u8> {
    let mut query = Out::default();
    for (name, value) in keys {
        put(&mut query, name, value);
    }
    let mut item = Out::default();
    for (name, value) in step {
        put(&mut item, name, value);
    }
    query.put("ScheduledProcedureStepSequence", Said::Items(vec![item]));
    message(0x0020, WORKLIST, "", &query)
}

/// What a technician's console asks.
const ALL: &[&str] = &[
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    "StudyInstanceUID",
    "ReferencedStudySequence",
    "RequestingPhysician",
    "PregnancyStatus",
];

fn usual(step: &[(&str, &str)]) -> Vec<u8> {
    let keys: Vec<(&str, &str)> = ALL.iter().map(|name| (*name, "")).collect();
    let step: Vec<(&str, &str)> = [
        ("ScheduledStationAETitle", ""),
        ("ScheduledProcedureStepStartDate", ""),
        ("ScheduledProcedureStepStartTime", ""),
        ("Modality", ""),
        ("ScheduledProcedureStepDescription", ""),
        ("ScheduledProcedureStepID", ""),
        ("ScheduledProcedureStepLocation", ""),
        ("ScheduledProtocolCodeSequence", ""),
    ]
    .into_iter()
    .map(|(name, value)| {
        let said = step.iter().find(|(said, _)| *said == name);
        (name, said.map_or(value, |(_, value)| *value))
    })
    .collect();
    asked(&keys, &step)
}

fn stamp() -> Stamp {
    Stamp {
        now: "2026-11-27T06:00:00Z".parse().expect("a moment"),
        id: Uuid::nil(),
    }
}

fn frames(question: &[u8], found: &Found, shows: Option<Set>) -> Vec<Vec<u8>> {
    let mut profile = Profile::default();
    profile.device.shows = shows.map(Shows::up_to);
    answer(question, Ok(found), &profile, &stamp()).frames
}

/// How many are told, and the codes of the status lines.
fn told(question: &[u8], found: &Found) -> (usize, Vec<u16>) {
    let frames = frames(question, found, None);
    let codes: Vec<u16> = frames
        .iter()
        .filter_map(|frame| read_status(frame))
        .map(|(code, _)| code)
        .collect();
    (frames.len() - codes.len(), codes)
}

#[test]
fn a_console_is_told_what_is_planned() {
    let question = usual(&[
        ("Modality", "CT"),
        ("ScheduledProcedureStepStartDate", "20261127"),
    ]);
    let found = found(vec![order()], vec![]);
    for (shows, name, description) in [
        (Set::Utf8, "Țîră-Șerban^Ana^Maria", "CT torace cu substanță"),
        (Set::Latin2, "Ţîră-Şerban^Ana^Maria", "CT torace cu substanţă"),
        (Set::Latin1, "Tîra-Serban^Ana^Maria", "CT torace cu substanta"),
        (Set::Ascii, "Tira-Serban^Ana^Maria", "CT torace cu substanta"),
    ] {
        let frames = frames(&question, &found, Some(shows));
        let [answer, status] = frames.as_slice() else {
            panic!("{} frames", frames.len());
        };
        assert_eq!(status, b"0000");
        let set = DataSet::read(answer, Bytes::EXPLICIT, Fallback::default()).expect("right");
        let text = |tag| set.text(tag).unwrap_or_default();
        assert_eq!(text(Tag(0x0008, 0x0005)), shows.term().unwrap_or_default());
        assert_eq!(text(Tag(0x0010, 0x0010)), name);
        assert_eq!(text(Tag(0x0010, 0x0020)), "N-501", "never the CNP");
        assert_eq!(text(Tag(0x0010, 0x0030)), "19800512");
        assert_eq!(text(Tag(0x0010, 0x0040)), "F");
        assert_eq!(text(Tag(0x0008, 0x0050)), "A-1");
        assert_eq!(text(Tag(0x0020, 0x000D)), "1.2.3");
        assert_eq!(text(Tag(0x0032, 0x1032)), "Pop^Ion");
        assert_eq!(text(Tag(0x0032, 0x1060)), description);
        assert!(set.get(Tag(0x0008, 0x1110)).is_some_and(|empty| empty.is_empty()));
        let step = &set.items(Tag(0x0040, 0x0100))[0];
        let text = |tag| step.text(tag).unwrap_or_default();
        assert_eq!(
            text(Tag(0x0040, 0x0001)),
            "CT1",
            "of whoever asks, where none is named"
        );
        assert_eq!(text(Tag(0x0040, 0x0002)), "20261127");
        assert_eq!(text(Tag(0x0040, 0x0003)), "083000");
        assert_eq!(text(Tag(0x0040, 0x0009)), "S-1");
        assert_eq!(text(Tag(0x0040, 0x0011)), "Sala 2");
        let protocol = &step.items(Tag(0x0040, 0x0008))[0];
        assert_eq!(protocol.text(Tag(0x0008, 0x0100)).as_deref(), Some("CTTOR"));
        assert_eq!(protocol.text(Tag(0x0008, 0x0102)).as_deref(), Some("99LOCAL"));
        // Nothing that was not asked for.
        assert_eq!(
            set.elements.len(),
            ALL.len() + 1 + usize::from(shows.term().is_some())
        );
    }
}

#[test]
fn keys_are_matched_and_what_is_not_known_is_told() {
    let found = found(vec![order()], vec![]);
    for (keys, step, told_of) in [
        (&[("PatientName", "tira*")][..], &[][..], 1),
        (&[("PatientName", "Pop*")][..], &[][..], 0),
        (&[("PatientID", "N-501")][..], &[][..], 1),
        (&[("AccessionNumber", "A-1")][..], &[][..], 1),
        (&[("AccessionNumber", "A-2")][..], &[][..], 0),
        (&[][..], &[("Modality", "MR")][..], 0),
        (&[][..], &[("ScheduledStationAETitle", "CT7")][..], 1),
        (&[][..], &[("ScheduledProcedureStepStartDate", "20261128")][..], 0),
    ] {
        assert_eq!(told(&asked(keys, step), &found).0, told_of, "{keys:?} {step:?}");
    }
    let unknown = asked(&[("PatientName", ""), ("EthnicGroup", "")], &[]);
    assert_eq!(told(&unknown, &found), (1, vec![0xFF01, 0x0000]));
    assert_eq!(
        told(&asked(&[("PatientName", "")], &[]), &found),
        (1, vec![0x0000])
    );
}

#[test]
fn a_step_leaves_the_list_when_it_is_over() {
    let question = usual(&[]);
    let with = |change: &dyn Fn(&mut Order)| {
        let mut order = order();
        change(&mut order);
        told(&question, &found(vec![order], vec![])).0
    };
    assert_eq!(with(&|_| {}), 1);
    for status in [
        OrderStatus::Revoked,
        OrderStatus::Completed,
        OrderStatus::EnteredInError,
        OrderStatus::OnHold,
        OrderStatus::Draft,
    ] {
        assert_eq!(with(&|order| order.status = Some(status)), 0, "{status:?}");
    }
    let step = |status| {
        with(&|order| {
            let imaging = order.imaging.as_mut().expect("imaging");
            imaging.steps[0].status = Some(status);
        })
    };
    for status in [
        StepStatus::Completed,
        StepStatus::Discontinued,
        StepStatus::Cancelled,
    ] {
        assert_eq!(step(status), 0, "{status:?}");
    }
    let busy = |station: &str| {
        with(&|order| {
            order.performed = vec![PerformedStep {
                uid: "1.2.9".to_owned(),
                steps: vec!["S-1".to_owned()],
                status: Some(PerformedStatus::InProgress),
                station_ae: Some(station.to_owned()),
                ..PerformedStep::default()
            }];
        })
    };
    assert_eq!(busy("CT1"), 1, "the station that works on it sees it");
    assert_eq!(busy("CT2"), 0);
}

/// A modality that speaks no MPPS says by its images that it is done.
#[test]
fn images_end_a_step_where_nothing_else_does() {
    let study = |modality: &str| {
        let study = ImagingStudy {
            identifiers: vec![clinic::imaging::uid("1.2.3")],
            status: Some(ImagingStudyStatus::Available),
            modalities: vec![modality.to_owned()],
            ..ImagingStudy::default()
        };
        record(7, study)
    };
    assert_eq!(told(&usual(&[]), &found(vec![order()], vec![study("CT")])).0, 0);
    // A device that makes a study UID of its own says by the accession number which order it did.
    let own = |orders: Vec<Ref>| {
        let study = ImagingStudy {
            identifiers: vec![clinic::imaging::uid("1.2.999")],
            status: Some(ImagingStudyStatus::Available),
            orders,
            ..ImagingStudy::default()
        };
        told(&usual(&[]), &found(vec![order()], vec![record(7, study)])).0
    };
    assert_eq!(own(vec![id(Kind::Order, ORDER)]), 0);
    assert_eq!(own(vec![]), 1, "of another order");
    let mut two = order();
    let imaging = two.imaging.as_mut().expect("imaging");
    let mut second = imaging.steps[0].clone();
    (second.id, second.modality) = (Some("S-2".to_owned()), Some("PT".to_owned()));
    imaging.steps.push(second);
    assert_eq!(told(&usual(&[]), &found(vec![two], vec![study("CT")])).0, 1);
}

#[test]
fn the_appointment_says_when_and_whether() {
    let question = usual(&[("ScheduledProcedureStepStartDate", "20261203")]);
    let with = |status| {
        let appointment = Appointment {
            status: Some(status),
            start: Some(when("2026-12-03T10:00:00+02:00")),
            orders: vec![id(Kind::Order, ORDER)],
            ..Appointment::default()
        };
        told(
            &question,
            &found(vec![order()], vec![record(APPOINTMENT, appointment)]),
        )
        .0
    };
    assert_eq!(with(AppointmentStatus::Booked), 1);
    assert_eq!(with(AppointmentStatus::Cancelled), 0);
    assert_eq!(told(&question, &found(vec![order()], vec![])).0, 0);
}

#[test]
fn a_merged_patient_is_told_as_the_one_who_stays() {
    let mut found = found(vec![order()], vec![]);
    let mut stays = patient();
    stays.identifiers = vec![number("MR", "NORD", "N-900")];
    found.around.insert(Uuid::from_u128(9), record(9, stays));
    if let Some(old) = found.around.get_mut(&Uuid::from_u128(PATIENT))
        && let Aggregate::Patient(old) = &mut old.aggregate
    {
        old.links = vec![PatientLink::new(id(Kind::Patient, 9), LinkKind::ReplacedBy)];
    }
    assert_eq!(told(&asked(&[("PatientID", "N-900")], &[]), &found).0, 1);
    assert_eq!(told(&asked(&[("PatientID", "N-501")], &[]), &found).0, 0);
    let answers = answer(&usual(&[]), Ok(&found), &Profile::default(), &stamp());
    assert_eq!(answers.told, [Uuid::from_u128(9)]);
}

#[test]
fn a_number_that_was_changed_is_not_told() {
    let mut renumbered = patient();
    let mut old = number("MR", "NORD", "N-1");
    old.usage = Some(clinic::value::IdentifierUse::Old);
    renumbered.identifiers.insert(0, old);
    let found = found(vec![order()], vec![record(PATIENT, renumbered)]);
    assert_eq!(told(&asked(&[("PatientID", "N-501")], &[]), &found).0, 1);
    assert_eq!(told(&asked(&[("PatientID", "N-1")], &[]), &found).0, 0);
}

/// What PS3.4 K.6 wants a value of has one, however little the order says; a code sequence has no empty item.
#[test]
fn what_has_to_have_a_value_has_one() {
    let bare = Order {
        patient: Some(id(Kind::Patient, PATIENT)),
        imaging: Some(Imaging {
            study_uid: Some("1.2.3".to_owned()),
            procedure_id: Some("RP-1".to_owned()),
            steps: vec![ImagingStep {
                id: Some("S-1".to_owned()),
                ..ImagingStep::default()
            }],
            ..Imaging::default()
        }),
        ..Order::default()
    };
    let mut found = found(vec![bare], vec![]);
    found
        .around
        .insert(Uuid::from_u128(PATIENT), record(PATIENT, Patient::default()));
    let frames = frames(&usual(&[]), &found, None);
    let set = DataSet::read(&frames[0], Bytes::EXPLICIT, Fallback::default()).expect("right");
    for tag in [
        (0x0010, 0x0010),
        (0x0010, 0x0020),
        (0x0020, 0x000D),
        (0x0040, 0x1001),
        (0x0032, 0x1060),
    ] {
        assert!(set.text(Tag(tag.0, tag.1)).is_some(), "{tag:04X?}");
    }
    let step = &set.items(Tag(0x0040, 0x0100))[0];
    for element in [0x0001, 0x0002, 0x0003, 0x0007, 0x0009] {
        assert!(step.text(Tag(0x0040, element)).is_some(), "{element:04X}");
    }
    assert!(step.text(Tag(0x0008, 0x0060)).is_some());
    assert!(step.items(Tag(0x0040, 0x0008)).is_empty());
}

#[test]
fn what_narrows_the_search_is_read() {
    let question = |keys: &[(&str, &str)], step: &[(&str, &str)]| match question(
        &asked(keys, step),
        &Profile::default(),
    ) {
        Some(Ok(Question::Worklist(question))) => question,
        _ => panic!("a question"),
    };
    let all = question(
        &[
            ("PatientName", "Pop*^A"),
            ("PatientID", "N-1"),
            ("AccessionNumber", "A*"),
        ],
        &[
            ("Modality", "CT\\MR"),
            ("ScheduledProcedureStepStartDate", "20261126-20261128"),
        ],
    );
    let expected = WorklistQuestion {
        from: Some(jiff::civil::date(2026, 11, 26)),
        to: Some(jiff::civil::date(2026, 11, 28)),
        modalities: vec!["CT".to_owned(), "MR".to_owned()],
        patient: Some("N-1".to_owned()),
        name: Some("Pop".to_owned()),
        ..WorklistQuestion::default()
    };
    assert!(all == expected);
    assert!(all.order_keys().is_none(), "no number of an order");
    let stations = question(
        &[("AccessionNumber", "A-1")],
        &[("ScheduledStationAETitle", "CT1\\CT2")],
    );
    assert_eq!(stations.stations, ["CT1", "CT2"]);
    assert_eq!(stations.order_keys().map(|keys| keys.len()), Some(2));
    let nothing = question(&[("PatientName", "*")], &[("Modality", "*")]);
    assert!(nothing == WorklistQuestion::default());
    assert!(super::worklist::question(b"nothing", &Profile::default()).is_none());
}

#[test]
fn what_can_not_be_answered_says_why() {
    let error = MapError::new(Reason::Internal, None, "the store is away. Ask again later.");
    let answers = answer(&usual(&[]), Err(&error), &Profile::default(), &stamp());
    assert_eq!(
        answers.frames,
        [b"A700 the store is away. Ask again later.".to_vec()]
    );
}

/// What was measured of the patient, in hours before the question.
fn measured(number: u128, loinc: &str, value: Value, hours: i64) -> Record {
    let at = stamp().now - jiff::SignedDuration::from_hours(hours);
    let observation = Observation {
        patient: Some(id(Kind::Patient, PATIENT)),
        code: Some(Concept::coded("http://loinc.org", loinc, None)),
        value: Some(value),
        effective_at: Some(When::from_timestamp(at)),
        ..Observation::default()
    };
    record(500 + number, observation)
}

fn amount(number: &str, unit: &str) -> Value {
    Value::Quantity(Quantity {
        value: number.parse().ok(),
        code: Some(unit.to_owned()),
        ..Quantity::default()
    })
}

fn finding(code: &str) -> Value {
    Value::Concept(Concept::coded("http://loinc.org", code, None))
}

#[test]
fn what_was_measured_last_is_told_where_it_still_says_something() {
    let names = ["PatientWeight", "PatientSize", "PregnancyStatus"];
    let keys: Vec<(&str, &str)> = names.iter().map(|name| (*name, "")).collect();
    let told = |more: Vec<Record>| -> (Option<String>, Option<String>, Option<i64>) {
        let found = found(vec![order()], more);
        let frames = frames(&asked(&keys, &[]), &found, None);
        let set = DataSet::read(&frames[0], Bytes::EXPLICIT, Fallback::default()).expect("right");
        let pregnancy = set.get(Tag(0x0010, 0x21C0)).filter(|element| !element.is_empty());
        let pregnancy = pregnancy.map(|element| match &element.value {
            super::dataset::Value::Bytes(bytes) => i64::from(bytes[0]),
            super::dataset::Value::Items(_) | super::dataset::Value::Elsewhere => -1,
        });
        (
            set.text(Tag(0x0010, 0x1030)),
            set.text(Tag(0x0010, 0x1020)),
            pregnancy,
        )
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(told(vec![]), (None, None, None));
    let weights = vec![
        measured(1, "29463-7", amount("81", "kg"), 9_000),
        measured(2, "29463-7", amount("72500", "g"), 20),
        measured(3, "3141-9", amount("90", "kg"), 10_000),
        measured(4, "8302-2", amount("168.5", "cm"), 20),
    ];
    assert_eq!(told(weights), (text("72.5"), text("1.685"), None));
    // Without a unit that is known, 72 may be pounds.
    let unclear = vec![measured(1, "29463-7", amount("72", "stone"), 2)];
    assert_eq!(told(unclear).0, None);
    let (day, week) = (24, 24 * 7);
    for (code, hours, status) in [
        ("LA15173-0", 30 * week, Some(3)),
        ("LA15173-0", 50 * week, None),
        ("LA26683-5", day, Some(1)),
        ("LA26683-5", 2 * week, None),
        ("152231000119106", day, Some(2)),
        ("LA4489-6", day, None),
    ] {
        let found = told(vec![measured(1, "82810-3", finding(code), hours)]);
        assert_eq!(found.2, status, "{code} {hours} h ago");
    }
}
