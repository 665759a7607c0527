//! Events of the clinic, written as messages: what each sample wrote is told, and can be written.

use clinic::aggregate::Source;
use clinic::apply::{Context, Nobody, OnUnmatched};
use clinic::exchange::{MapError, Stamp};
use clinic::memory::MemoryClinic;
use clinic::told::{Told, change_set};
use clinic::{Applied, ChangeSet, Kind};
use uuid::Uuid;

use super::encode;
use crate::hl7v2::decode::{Profile, decode};

fn stamp() -> Stamp {
    Stamp {
        now: "2026-05-12T05:31:00Z".parse().unwrap(),
        id: Uuid::from_u128(0x0190_1234_5678_7abc_8def_0123_4567_89ab),
    }
}

pub(super) fn applied(
    set: &ChangeSet,
    clinic: &dyn clinic::apply::Snapshot,
    on_unmatched: OnUnmatched,
) -> Applied {
    let mut count = 0;
    let context = Context {
        source: Source::Actor {
            name: "test".to_owned(),
            message: None,
        },
        now: stamp().now,
        site: None,
        on_unmatched,
        decisions: &[],
        overwrite: false,
        new_id: &mut || {
            count += 1;
            Uuid::from_u128(count)
        },
    };
    clinic::apply(set, clinic, context).unwrap()
}

/// The clinic after a sample, and what it wrote.
pub(super) fn after(sample: &[u8]) -> (MemoryClinic, Applied) {
    let set = decode(sample, &Profile::default()).unwrap();
    let applied = applied(&set, &Nobody, OnUnmatched::Create);
    let mut clinic = MemoryClinic::new();
    clinic.commit(&applied).unwrap();
    (clinic, applied)
}

/// The message of an event.
pub(super) fn told(clinic: &MemoryClinic, event: &str, kind: Kind, id: Uuid) -> Result<String, MapError> {
    let set = change_set(event, kind, id, clinic).unwrap().unwrap();
    // As it is stored and read again.
    let set: ChangeSet = serde_json::from_value(serde_json::to_value(&set).unwrap()).unwrap();
    let imagined = applied(&set, &Told::by(&set, stamp().now), OnUnmatched::Invent);
    assert!(
        imagined.writes.is_empty(),
        "{event}: what is told is what is there"
    );
    assert_eq!(imagined.ids["told"], (kind, id));
    let message = encode(&set, &imagined, &Profile::default(), &stamp())?;
    Ok(String::from_utf8(message).unwrap())
}

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("../../../../samples/hl7v2/", $name, ".hl7"))
    };
}

/// The message of the first write of a kind.
#[track_caller]
fn first(sample: &[u8], kind: Kind) -> String {
    let (clinic, applied) = after(sample);
    let write = applied
        .writes
        .iter()
        .find(|write| write.record.aggregate.kind() == kind)
        .unwrap();
    let event = format!("{}.{}", kind.as_str(), write.verb);
    told(&clinic, &event, kind, write.record.meta.id).unwrap()
}

#[track_caller]
fn is(message: &str, kind: &str, segments: &[&str]) {
    let names: Vec<&str> = message
        .split('\r')
        .map(|line| line.get(..3).unwrap_or_default())
        .collect();
    assert_eq!(message.split('|').nth(8), Some(kind), "{message}");
    for segment in segments {
        assert!(names.contains(segment), "{segment} is not in {names:?}");
    }
}

#[test]
fn an_order_is_told_with_its_patient_and_visit() {
    let message = first(sample!("oml-o21-rich"), Kind::Order);
    is(&message, "OML^O21^OML_O21", &["PID", "PV1", "ORC", "OBR"]);
    assert_eq!(
        message.matches("\rORC|").count(),
        1,
        "one order, not those beside it: {message}"
    );
}

#[test]
fn each_event_has_its_message() {
    is(
        &first(sample!("adt-a28-person"), Kind::Patient),
        "ADT^A28^ADT_A05",
        &["PID"],
    );
    is(
        &first(sample!("adt-a01-admit-rich"), Kind::Encounter),
        "ADT^A01^ADT_A01",
        &["PID", "PV1"],
    );
    is(
        &first(sample!("siu-s12-rich"), Kind::Appointment),
        "SIU^S12^SIU_S12",
        &["SCH", "PID", "AIP"],
    );
    is(
        &first(sample!("oru-r01-rich"), Kind::Result),
        "ORU^R01^ORU_R01",
        &["PID", "OBR", "OBX"],
    );
    let (clinic, applied) = after(sample!("adt-a08-update"));
    let patient = applied
        .writes
        .iter()
        .find(|write| write.record.aggregate.kind() == Kind::Patient)
        .unwrap();
    let message = told(&clinic, "Patient.updated", Kind::Patient, patient.record.meta.id).unwrap();
    is(&message, "ADT^A08^ADT_A01", &["PID"]);
}

/// A clinic after messages, each with a header of its own.
fn after_all(messages: &[&str]) -> MemoryClinic {
    let mut clinic = MemoryClinic::new();
    let mut count = 0_u128;
    for message in messages {
        let set = decode(message.replace('\n', "\r").as_bytes(), &Profile::default()).unwrap();
        let context = Context {
            source: Source::Actor {
                name: "test".to_owned(),
                message: None,
            },
            now: stamp().now,
            site: None,
            on_unmatched: OnUnmatched::Create,
            decisions: &[],
            overwrite: false,
            new_id: &mut || {
                count += 1;
                Uuid::from_u128(count)
            },
        };
        let applied = clinic::apply(&set, &clinic, context).unwrap();
        clinic.commit(&applied).unwrap();
    }
    clinic
}

const HEADER: &str = "MSH|^~\\&|A|B|C|D|20260512||";

#[test]
fn what_was_booked_is_moved_and_changed_and_not_booked_again() {
    let booking = |event: &str, start: &str| {
        format!(
            "{HEADER}SIU^{event}|1|P|2.5.1\nSCH|A-1^HIS|||||B|||30|MIN|^^^{start}\nPID|1||1^^^M^MR||Pop^Ana\nRGS|1\nAIP|1||D1^Doc^Dan"
        )
    };
    let clinic = after_all(&[&booking("S12", "202705031000"), &booking("S13", "202705041000")]);
    let id = clinic.all(Kind::Appointment)[0].meta.id;
    for (verb, event) in [
        ("booked", "S12"),
        ("rescheduled", "S13"),
        ("updated", "S14"),
        ("arrived", "S14"),
    ] {
        let message = told(&clinic, &format!("Appointment.{verb}"), Kind::Appointment, id).unwrap();
        is(&message, &format!("SIU^{event}^SIU_S12"), &["SCH", "AIP"]);
    }
    let cancelled = after_all(&[&booking("S12", "202705031000"), &booking("S15", "202705031000")]);
    let id = cancelled.all(Kind::Appointment)[0].meta.id;
    let message = told(&cancelled, "Appointment.updated", Kind::Appointment, id).unwrap();
    is(&message, "SIU^S15^SIU_S12", &["SCH"]);
}

#[test]
fn a_number_that_changed_is_told_with_the_one_before() {
    let clinic = after_all(&[
        &format!("{HEADER}ADT^A28|1|P|2.5.1\nPID|1||2^^^M^MR||Two^X"),
        &format!("{HEADER}ADT^A47|2|P|2.5.1\nPID|1||3^^^M^MR||Two^X\nMRG|2^^^M^MR"),
    ]);
    let id = clinic.all(Kind::Patient)[0].meta.id;
    let message = told(&clinic, "Patient.updated", Kind::Patient, id).unwrap();
    assert!(
        message.contains("|3^^^M^MR~2^^^M^MR|"),
        "the new one first: {message}"
    );
}

#[test]
fn a_merge_is_told_with_the_name_of_the_record_that_goes() {
    let clinic = after_all(&[
        &format!("{HEADER}ADT^A28|1|P|2.5.1\nPID|1||1^^^M^MR||Evv^X"),
        &format!("{HEADER}ADT^A28|2|P|2.5.1\nPID|1||2^^^M^MR||Two^X"),
        &format!("{HEADER}ADT^A40|3|P|2.5.1\nPID|1||2^^^M^MR||Two^X\nMRG|1^^^M^MR"),
    ]);
    let stays = clinic.all(Kind::Patient)[1].meta.id;
    let message = told(&clinic, "Patient.merged", Kind::Patient, stays).unwrap();
    assert!(message.contains("\rPID|1||2^^^M^MR||Two^X"), "{message}");
    assert!(message.contains("\rMRG|1^^^M^MR||||||Evv^X\r"), "{message}");
}

#[test]
fn whatever_a_sample_writes_can_be_told() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/hl7v2");
    let mut n_told = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let Ok(set) = decode(&std::fs::read(&path).unwrap(), &Profile::default()) else {
            continue;
        };
        if !set.merges.is_empty() {
            continue;
        }
        let applied = applied(&set, &Nobody, OnUnmatched::Invent);
        let mut clinic = MemoryClinic::new();
        clinic.commit(&applied).unwrap();
        for write in &applied.writes {
            let (kind, id) = (write.record.aggregate.kind(), write.record.meta.id);
            let event = format!("{}.{}", kind.as_str(), write.verb);
            let message = told(&clinic, &event, kind, id);
            if matches!(kind, Kind::Patient | Kind::Encounter) {
                assert!(message.is_ok(), "{}: {event}: {message:?}", path.display());
            }
            n_told += 1;
        }
    }
    assert!(200 < n_told, "{n_told}");
}

#[test]
fn each_test_of_one_orc_is_told_by_a_message_of_its_own() {
    let message = "MSH|^~\\&|HIS|A|PUNTE|A|20260505083000+0300||OML^O21^OML_O21|1|P|2.5.1\r\
                   PID|1||A-1^^^AURORA^MR||Rusu^Adina\r\
                   ORC|NW|R1^HIS||G7^HIS|||||20260505083000+0300|||D-40^Stan^Corina\r\
                   OBR|1|R1^HIS||GLU^Glucose^L\r\
                   OBR|2|R1^HIS||CREA^Creatinine^L\r\
                   OBR|3|||UREA^Urea^L\r";
    let (clinic, applied) = after(message.as_bytes());
    let orders = applied
        .writes
        .iter()
        .filter(|write| write.record.aggregate.kind() == Kind::Order);
    let applied_to = |set: &ChangeSet| self::applied(set, &Told::by(set, stamp().now), OnUnmatched::Invent);
    let said: Vec<(String, String, String)> = orders
        .map(|write| {
            let event = format!("Order.{}", write.verb);
            let id = write.record.meta.id;
            let set = change_set(&event, Kind::Order, id, &clinic).unwrap().unwrap();
            let imagined = applied_to(&set);
            assert!(imagined.share_number.contains(&id), "its number names three");
            let message = told(&clinic, &event, Kind::Order, id).unwrap();
            let line = |name: &str| message.split('\r').find(|line| line.starts_with(name)).unwrap();
            let orc: Vec<&str> = line("ORC").split('|').collect();
            let obr: Vec<&str> = line("OBR").split('|').collect();
            let of_orc = format!("{} {} {} {} {}", orc[1], orc[2], orc[4], orc[9], orc[12]);
            (event, of_orc, format!("{} {}", obr[2], obr[4]))
        })
        .collect();
    let orc = "NW R1^HIS G7^HIS 20260505083000+0300 D-40^Stan^Corina";
    let wanted = ["GLU^Glucose^L", "CREA^Creatinine^L", "UREA^Urea^L"].map(|test| {
        (
            "Order.placed".to_owned(),
            orc.to_owned(),
            format!("R1^HIS {test}"),
        )
    });
    assert_eq!(said, wanted);
}
