//! There and back: what a sample says is what the message written of it says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clinic::aggregate::Source;
use clinic::apply::{Context, Nobody, OnUnmatched};
use clinic::exchange::Stamp;
use clinic::memory::MemoryClinic;
use clinic::{Applied, ChangeSet};
use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;

use super::encode;
use crate::hl7v2::decode::{Profile, decode};
use crate::hl7v2::{Charset, Message};

fn samples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/hl7v2");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "hl7"))
        .collect();
    files.sort();
    assert!(files.len() > 20);
    files
}

fn stamp() -> Stamp {
    Stamp {
        now: "2026-05-12T05:31:00Z".parse().unwrap(),
        id: Uuid::from_u128(0x0190_1234_5678_7abc_8def_0123_4567_89ab),
    }
}

fn apply_to(set: &ChangeSet, clinic: &dyn clinic::apply::Snapshot) -> Option<Applied> {
    let mut count = 0;
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
    clinic::apply(set, clinic, context).ok()
}

/// The message that is written of a message.
fn again(set: &ChangeSet) -> Option<Result<Vec<u8>, clinic::exchange::MapError>> {
    let applied = apply_to(set, &Nobody)?;
    Some(encode(set, &applied, &Profile::default(), &stamp()))
}

/// What a change set says, each change once as text with what it refers to in place of the keys, sorted.
fn said(set: &ChangeSet) -> Vec<String> {
    let bodies: BTreeMap<String, Value> = set
        .changes
        .iter()
        .map(|change| (change.key.clone(), serde_json::to_value(&change.say).unwrap()))
        .collect();
    let mut all: Vec<String> = vec![];
    for change in &set.changes {
        let mut body = bodies[&change.key].clone();
        settle(&mut body, &bodies);
        let (kind, fields) = body.as_object().unwrap().iter().next().unwrap();
        let mut lines = String::new();
        flat(fields, "", &mut lines);
        let name = name_of(&bodies[&change.key]);
        all.extend(lines.lines().map(|line| format!("{kind} {name} {line}")));
    }
    all.sort();
    all.dedup();
    all
}

/// What something is called: its numbers, else its name or code.
fn name_of(body: &Value) -> String {
    let (kind, fields) = body.as_object().unwrap().iter().next().unwrap();
    let list = |name: &str| match &fields[name] {
        Value::Object(map) => map.get("merge").cloned().unwrap_or_default(),
        other => other.clone(),
    };
    let of = |value: &Value| match value {
        Value::Array(all) => all.first().cloned().unwrap_or_default(),
        other => other.clone(),
    };
    let number = of(&list("identifiers"))["value"].clone();
    let text = if number.is_string() {
        number
    } else {
        let name = of(&list("names"));
        let name = if name.is_null() {
            fields["name"].clone()
        } else {
            name["family"].clone()
        };
        if name.is_string() {
            name
        } else {
            fields["code"]["codings"][0]["code"].clone()
        }
    };
    format!("{kind}:{}", text.as_str().unwrap_or("?"))
}

/// Puts names in place of keys, and takes away what is allowed to differ.
fn settle(value: &mut Value, bodies: &BTreeMap<String, Value>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(key)) = map.get("local")
                && map.len() == 1
            {
                *value = Value::String(bodies.get(key).map(name_of).unwrap_or_default());
                return;
            }
            map.values_mut().for_each(|value| settle(value, bodies));
        }
        Value::Array(all) => all.iter_mut().for_each(|value| settle(value, bodies)),
        _ => {}
    }
}

fn flat(value: &Value, path: &str, out: &mut String) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            let path = match key.as_str() {
                "merge" => path.to_owned(),
                _ => format!("{path}.{key}"),
            };
            flat(value, &path, out);
        }),
        Value::Array(all) => all
            .iter()
            .for_each(|value| flat(value, &format!("{path}[]"), out)),
        Value::Null if path.contains("[]") => {}
        Value::Null => out.push_str(&format!("{path} cleared\n")),
        Value::String(text) => out.push_str(&format!("{path} {text:?}\n")),
        other => out.push_str(&format!("{path} {other}\n")),
    }
}

/// The message as it is read again; a prescription by the older type that is decoded here.
fn read_again(bytes: &[u8]) -> Result<ChangeSet, clinic::exchange::MapError> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    decode(
        text.replacen("OMP^O09^OMP_O09", "ORM^O01^ORM_O01", 1).as_bytes(),
        &Profile::default(),
    )
}

/// What may differ, on purpose: see the head of the module.
fn may_differ(line: &str) -> bool {
    // The form that a number was sent in: a number is written in one form.
    line.contains(".value_original")
        // A CNP is named as one.
        || line.ends_with("identifiers[].assigner \"CNP\"")
        || line.ends_with("identifiers[].kind.codings[].code \"NI\"")
        // Who is responsible for sending and receiving: our own header says nothing of it.
        || line.starts_with("Clinic Clinic:C77")
        || line.starts_with("Clinic Clinic:C78")
        // The status of an appointment is written in its code where those who take part have other ones.
        || line.starts_with("Appointment ") && line.contains(".status_original.")
        // Numbers that the clinic made for an imaging order whose sender gave none.
        || [".procedure_id", ".study_uid", ".accession", ".steps[].id"]
            .iter()
            .any(|field| line.contains(&format!(" .imaging{field} ")))
}

fn differences(before: &[String], after: &[String]) -> Vec<String> {
    let only = |these: &[String], those: &[String], sign: char| {
        let lines = these
            .iter()
            .filter(|line| !those.contains(line) && !may_differ(line));
        lines.map(|line| format!("{sign} {line}")).collect::<Vec<_>>()
    };
    let mut all = only(before, after, '-');
    all.extend(only(after, before, '+'));
    all
}

/// What is written can be read without any repair, and is printed as the same bytes.
fn well_formed(bytes: &[u8]) {
    let message = Message::read(bytes).unwrap();
    assert!(message.repairs().is_empty(), "{:?}", message.repairs());
    assert!(message.print().unwrap() == bytes);
}

#[test]
fn every_sample_says_the_same_there_and_back() {
    let mut written = 0;
    for path in samples() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let Ok(set) = decode(&std::fs::read(&path).unwrap(), &Profile::default()) else {
            continue;
        };
        let Some(again) = again(&set) else { continue };
        let bytes = again.unwrap();
        golden(&name, &bytes);
        well_formed(&bytes);
        let back = read_again(&bytes).unwrap();
        let differ = differences(&said(&set), &said(&back));
        assert!(differ.is_empty(), "{name}\n{}", differ.join("\n"));
        assert_eq!(set.merges.len(), back.merges.len(), "{name}");
        written += 1;
    }
    assert!(written > 38, "{written}");
}

/// Compares with the message beside this file; `PUNTE_WRITE_GOLDEN=1` writes it anew.
fn golden(name: &str, bytes: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/hl7v2/encode/golden/{name}.txt"));
    let got = String::from_utf8(bytes.to_vec()).unwrap().replace('\r', "\n");
    if std::env::var_os("PUNTE_WRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &got).unwrap();
        return;
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(got, want, "{name}");
}

fn message(lines: &[&str]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|line| line.bytes().chain([b'\r']))
        .collect()
}

fn written_of(clinic: &mut MemoryClinic, lines: &[&str]) -> String {
    let set = decode(&message(lines), &Profile::default()).unwrap();
    let applied = apply_numbered(&set, clinic).unwrap();
    clinic.commit(&applied).unwrap();
    let bytes = encode(&set, &applied, &Profile::default(), &stamp()).unwrap();
    well_formed(&bytes);
    String::from_utf8(bytes).unwrap()
}

fn apply_numbered(set: &ChangeSet, clinic: &MemoryClinic) -> Option<Applied> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
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
        new_id: &mut || Uuid::from_u128(NEXT.fetch_add(1, Ordering::Relaxed).into()),
    };
    clinic::apply(set, clinic, context).ok()
}

fn line<'t>(text: &'t str, name: &str) -> &'t str {
    text.split('\r')
        .find(|line| line.starts_with(name))
        .unwrap_or_default()
}

#[test]
fn the_patient_is_written_as_they_stand_and_what_is_emptied_is_emptied() {
    let mut clinic = MemoryClinic::new();
    written_of(
        &mut clinic,
        &[
            r"MSH|^~\&|A|B|LIS|NORD|20260512||ADT^A28|1|P|2.5.1",
            "PID|1||7^^^NORD^MR||Pop^Ana||1980|F|||||||||ORT^Ortodox^HL70006",
        ],
    );
    let text = written_of(
        &mut clinic,
        &[
            r"MSH|^~\&|A|B|LIS|NORD|20260512||ADT^A31|2|P|2.5.1",
            "PID|1||7^^^NORD^MR|||||||||||||\"\"|\"\"",
        ],
    );
    assert_eq!(
        line(&text, "PID"),
        "PID|1||7^^^NORD^MR||Pop^Ana||1980|F||||||||\"\"|\"\""
    );
    // The receiver is another program, and keeps the message.
    assert!(
        line(&text, "MSH").starts_with(
            r"MSH|^~\&|PUNTE|NORD|LIS|NORD|20260512083100+0300||ADT^A31^ADT_A05|06814D2PF2NW6YY093DB|P|2.5.1"
        ),
        "{text}"
    );
    assert!(text.ends_with("PV1|1|N\r"));
}

#[test]
fn a_name_in_several_letters_goes_there_and_back() {
    let names = "Yamada^Tarou^^^^^L^A~山田^太郎^^^^^L^I~やまだ^たろう^^^^^L^P";
    let mut clinic = MemoryClinic::new();
    let text = written_of(
        &mut clinic,
        &[
            r"MSH|^~\&|A|B|LIS|NORD|20260512||ADT^A28|1|P|2.5.1|||||||UNICODE UTF-8",
            &format!("PID|1||7^^^NORD^MR||{names}||1980|F"),
        ],
    );
    assert_eq!(line(&text, "PID"), format!("PID|1||7^^^NORD^MR||{names}||1980|F"));
    // One that says the name in one way leaves the others.
    let text = written_of(
        &mut clinic,
        &[
            r"MSH|^~\&|A|B|LIS|NORD|20260512||ADT^A31|2|P|2.5.1",
            "PID|1||7^^^NORD^MR||Yamada^Taro^^^^^L||1980|F",
        ],
    );
    assert!(line(&text, "PID").contains("Yamada^Taro^^^^^L"), "{text}");
    assert!(line(&text, "PID").contains("山田^太郎^^^^^L^I"), "{text}");
}

#[test]
fn a_merge_names_the_old_numbers_in_mrg_only() {
    let mut clinic = MemoryClinic::new();
    for (number, name) in [("7", "Pop^Ana"), ("8", "Popp^Ana")] {
        written_of(
            &mut clinic,
            &[
                r"MSH|^~\&|A|B|PUNTE|NORD|20260512||ADT^A28|1|P|2.5.1",
                &format!("PID|1||{number}^^^NORD^MR||{name}"),
            ],
        );
    }
    let text = written_of(
        &mut clinic,
        &[
            r"MSH|^~\&|A|B|PUNTE|NORD|20260512||ADT^A40|3|P|2.5.1",
            "PID|1||7^^^NORD^MR||Pop^Ana",
            "MRG|8^^^NORD^MR",
        ],
    );
    assert_eq!(line(&text, "PID"), "PID|1||7^^^NORD^MR||Pop^Ana");
    assert_eq!(line(&text, "MRG"), "MRG|8^^^NORD^MR");
}

#[test]
fn an_appointment_is_written_for_whom_it_is_or_for_nobody() {
    let mut clinic = MemoryClinic::new();
    let sch = r"SCH|A-1^P|F-1^F||||R|||30|min|^^^20260516130000";
    let message =
        |event: &str, id: &str| format!(r"MSH|^~\&|A|B|PUNTE|NORD|20260512||SIU^{event}|{id}|P|2.5.1");
    let booked = message("S12", "1");
    let with = [
        booked.as_str(),
        sch,
        "PID|1||7^^^NORD^MR||Pop^Ana",
        "RGS|1",
        "AIL|1||CAB^2",
    ];
    written_of(&mut clinic, &with);
    // The sender names nobody; the receiver is told whose it is.
    let text = written_of(&mut clinic, &[&message("S15", "2"), sch]);
    assert_eq!(line(&text, "PID"), "PID|1||7^^^NORD^MR||Pop^Ana");
    let nobody = message("S12", "3");
    let of_nobody = [
        nobody.as_str(),
        "SCH|B-1^P||||||||||^^^20260517130000",
        "RGS|1",
        "AIL|1||CAB^2",
    ];
    let text = written_of(&mut clinic, &of_nobody);
    assert!(!text.contains("\rPID|"), "{text}");
    assert_eq!(line(&text, "AIL"), "AIL|1|A|CAB^2");
}

#[test]
fn a_condition_an_instruction_and_a_remark_of_an_order_stay_what_they_are() {
    let back = |tq1: &str, nte: &str| {
        let order = [
            r"MSH|^~\&|HIS|H|PUNTE|NORD|20260512||OML^O21^OML_O21|1|P|2.5.1",
            "PID|1||7^^^NORD^MR||Pop^Ana",
            "ORC|NW|P1^HIS",
            tq1,
            "OBR|1|P1^HIS||GLU^Glucoza^L",
            nte,
        ];
        let text = written_of(&mut MemoryClinic::new(), &order);
        let lines = |name: &str| -> Vec<String> {
            let of = text.split('\r').filter(|line| line.starts_with(name));
            of.map(str::to_owned).collect()
        };
        (lines("TQ1"), lines("NTE"))
    };
    for (tq1, nte) in [
        ("TQ1|1||BID|||||||DACA", "NTE|1||nota"),
        ("TQ1|1||BID||||||||FACE", "NTE|1||nota"),
        ("TQ1|1|||||||||DACA|FACE", "NTE|1||nota"),
        ("TQ1|1||BID|||||||DACA|FACE", "NTE|1||nota"),
    ] {
        assert_eq!(back(tq1, nte), (vec![tq1.to_owned()], vec![nte.to_owned()]));
    }
}

#[test]
fn an_organisation_with_whom_to_ask_for_there_is_one_contact() {
    let message = [
        r"MSH|^~\&|A|B|PUNTE|NORD|20260512||ADT^A04|1|P|2.5.1",
        "PID|1||7^^^NORD^MR||Pop^Ana",
        "NK1|1|Pop^Ion|SPO^Spouse^HL70063",
        "NK1|2||||||E^Employer^HL70131||||||SC Dacia SRL|||||||||||||||||Vlad^Corina|^WPN^PH^^40^21^3330001|Bd. Unirii 2^^Iasi",
        "NK1|3|Pop^Maria|MTH^Mother^HL70063",
    ];
    let text = written_of(&mut MemoryClinic::new(), &message);
    let written: Vec<&str> = text.split('\r').filter(|line| line.starts_with("NK1")).collect();
    assert_eq!(written.len(), 3, "{written:#?}");
    let fields: Vec<&str> = written[1].split('|').collect();
    assert_eq!(
        (fields[2], fields[13], fields[30]),
        ("", "SC Dacia SRL", "Vlad^Corina"),
        "{written:#?}"
    );
}

#[test]
fn a_place_that_is_not_said_again_is_written_whole() {
    let mut clinic = MemoryClinic::new();
    let of = |event: &str, pv1: &str| {
        [
            format!(r"MSH|^~\&|A|B|PUNTE|NORD|20260512||ADT^{event}|{event}|P|2.5.1"),
            "PID|1||7^^^NORD^MR||Pop^Ana".to_owned(),
            pv1.to_owned(),
        ]
    };
    let first = of(
        "A01",
        "PV1|1|I|W^1^2^SPITAL^^N^CORP A^ET2||||||||||||||||V1^^^NORD",
    );
    written_of(&mut clinic, &first.each_ref().map(String::as_str));
    let second = of("A08", "PV1|1|I||R|||||||||||||||V1^^^NORD");
    let text = written_of(&mut clinic, &second.each_ref().map(String::as_str));
    let place = line(&text, "PV1").split('|').nth(3).unwrap_or_default();
    assert_eq!(place, "W^1^2^SPITAL^^N^CORP A^ET2", "{text}");
}

#[test]
fn a_correction_names_what_it_corrects_with_the_digits_that_it_has() {
    let mut clinic = MemoryClinic::new();
    let result = |control: &str, status: &str, obx: &str| {
        [
            format!(r"MSH|^~\&|LIS|LAB|PUNTE|NORD|20260512||ORU^R01|{control}|P|2.5.1"),
            "PID|1||7^^^NORD^MR||Pop^Ana".to_owned(),
            format!(
                "OBR|1|C-1^NORD|L-1^LAB|57021-8^Hemo^LN|||20260512091500|||||||||||||||20260512||HM|{status}"
            ),
            obx.to_owned(),
        ]
    };
    let first = result("1", "P", "OBX|1|NM|718-7^Hb^LN||10.80|g/dL|12-16|L|||P");
    written_of(&mut clinic, &first.each_ref().map(String::as_str));
    let second = result("2", "C", "OBX|1|NM|2276-4^Fe^LN||<0,50|ng/mL|||||C");
    let text = written_of(&mut clinic, &second.each_ref().map(String::as_str));
    let observed: Vec<&str> = text.split('\r').filter(|line| line.starts_with("OBX")).collect();
    assert_eq!(
        observed,
        ["OBX|1|SN|2276-4^Fe^LN||<^0.50|ng/mL^^UCUM|||||C|||20260512091500+0300"]
    );
    assert!(line(&text, "OBR").ends_with("|HM|C"), "{text}");
}

#[test]
fn what_has_no_place_in_the_message_is_an_error() {
    let mut set = ChangeSet::default();
    let set_of = |say: clinic::Body, key: &str| clinic::Change::new(key, say);
    let patient = clinic::people::PatientChange {
        identifiers: clinic::patch::Items::Merge(vec![clinic::value::Identifier::new(Some("N"), "1")]),
        ..Default::default()
    };
    let of = clinic::patch::Patch::Set(clinic::value::Ref::Local("p".to_owned()));
    let order = clinic::records::MedicationOrderChange {
        patient: of.clone(),
        identifiers: clinic::patch::Items::Merge(vec![clinic::value::Identifier::new(Some("N"), "m")]),
        ..Default::default()
    };
    let other = clinic::diagnostics::OrderChange {
        patient: of,
        identifiers: clinic::patch::Items::Merge(vec![clinic::value::Identifier::new(Some("N"), "o")]),
        ..Default::default()
    };
    set.changes = vec![
        set_of(patient.into(), "p"),
        set_of(order.into(), "m"),
        set_of(other.into(), "o"),
    ];
    let error = again(&set).unwrap().unwrap_err();
    assert!(error.what.contains("MedicationOrder"), "{error}");
    set.changes.truncate(2);
    let text = String::from_utf8(again(&set).unwrap().unwrap()).unwrap();
    assert!(line(&text, "MSH").contains("|OMP^O09^OMP_O09|"), "{text}");
    assert_eq!(line(&text, "ORC"), "ORC|NW|m^N");
    set.changes.clear();
    assert!(again(&set).unwrap().is_err());
}

#[test]
fn several_times_a_day_are_never_written_as_once() {
    let timing = |frequency, period: &str| clinic::value::Timing {
        frequency: Some(frequency),
        period: Some(clinic::value::Quantity {
            value: period.parse().ok(),
            unit: Some("d".to_owned()),
            code: Some("d".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let written = |timing: &clinic::value::Timing| {
        super::timing::tq1(Some(timing), None, None, [None, None], &Profile::default()).map(|tq1| tq1.line())
    };
    assert_eq!(written(&timing(1, "2")).as_deref(), Some("TQ1|1||^^^^2^d"));
    assert_eq!(written(&timing(3, "1")).as_deref(), Some("TQ1|1||TID"));
    assert_eq!(
        written(&timing(5, "2")).as_deref(),
        Some("TQ1|1||||||||||5 x / 2 d")
    );
}

#[test]
fn a_second_visit_or_dose_is_an_error() {
    let read = |name: &str| {
        let path = samples().into_iter().find(|path| path.ends_with(name)).unwrap();
        decode(&std::fs::read(path).unwrap(), &Profile::default()).unwrap()
    };
    let mut set = read("orm-o01-medication.hl7");
    for change in &mut set.changes {
        if let clinic::Body::MedicationOrder(say) = &mut change.say {
            let mut more = say.dosages.values().to_vec();
            more.push(clinic::records::Dosage::default());
            say.dosages = clinic::patch::Items::Replace(more);
        }
    }
    assert_eq!(again(&set).unwrap().unwrap_err().place.unwrap().0, "RXO");
    let mut set = read("adt-a11-cancel-admit.hl7");
    let visit = set
        .changes
        .iter()
        .find(|change| change.kind() == clinic::Kind::Encounter);
    let mut second = visit.unwrap().clone();
    second.key = "another".to_owned();
    let other = clinic::value::Identifier::new(Some("N"), "another");
    *second.say.identifiers_mut() = clinic::patch::Items::Merge(vec![other]);
    set.changes.push(second);
    assert_eq!(again(&set).unwrap().unwrap_err().place.unwrap().0, "PV1");
}

#[test]
fn codes_of_what_was_before_are_not_written() {
    let mut clinic = MemoryClinic::new();
    let message = |event: &str, status: &str, sex: &str, class: &str| {
        [
            format!(r"MSH|^~\&|R|NORD|PUNTE|NORD|20260512||SIU^{event}|{event}|P|2.5.1"),
            format!("SCH|AP-1^R||||||||30|min|^^^20260519101500^20260519104500||||||||||||||{status}"),
            format!("PID|1||7^^^NORD^MR||Pop^Ana|||{sex}"),
            format!("PV1|1|{class}|||||||||||||||||V-1^^^NORD^VN"),
            "RGS|1|A".to_owned(),
            "AIP|1|A|D-1^Pop^Ion^^^^^^NORD".to_owned(),
        ]
    };
    let booked = message(
        "S12",
        "Booked^Programat^HL70278",
        "A^Ambiguu^HL70001",
        "I^Internare^HL70004",
    );
    let text = written_of(&mut clinic, &booked.each_ref().map(String::as_str));
    assert!(
        line(&text, "SCH").ends_with("|Booked^Programat^HL70278"),
        "{text}"
    );
    let cancelled = message("S15", "", "F", "O");
    let text = written_of(&mut clinic, &cancelled.each_ref().map(String::as_str));
    assert!(line(&text, "MSH").contains("|SIU^S15^SIU_S12|"), "{text}");
    assert!(!line(&text, "SCH").contains("Booked"), "{text}");
    assert!(line(&text, "PID").ends_with("|F"), "{text}");
    assert!(line(&text, "PV1").starts_with("PV1|1|O|"), "{text}");
}

#[test]
fn another_charset_is_declared_and_loses_no_letter() {
    let path = samples()
        .into_iter()
        .find(|path| path.ends_with("adt-a04-8859-2.hl7"))
        .unwrap();
    let set = decode(&std::fs::read(path).unwrap(), &Profile::default()).unwrap();
    let applied = apply_to(&set, &Nobody).unwrap();
    let bytes = super::encode_as(&set, &applied, &Profile::default(), &stamp(), Charset::Latin2).unwrap();
    let back = decode(&bytes, &Profile::default()).unwrap();
    assert_eq!(differences(&said(&set), &said(&back)), Vec::<String>::new());
    assert!(super::encode_as(&set, &applied, &Profile::default(), &stamp(), Charset::Ascii).is_err());
}

/// A sample with some of its values replaced.
fn changed(sample: &[u8], edits: &[(usize, String)]) -> Vec<u8> {
    let text = String::from_utf8_lossy(sample).into_owned();
    let mut fields: Vec<String> = text.split_inclusive('|').map(str::to_owned).collect();
    for (at, value) in edits {
        // The header stays, or it is no message.
        let at = 12 + at % fields.len().saturating_sub(12).max(1);
        if let Some(field) = fields.get_mut(at)
            && field.ends_with('|')
            && !field.contains('\r')
        {
            *field = format!("{value}|");
        }
    }
    fields.concat().into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_decoded_is_written_well_formed(
        sample in any::<prop::sample::Index>(),
        edits in prop::collection::vec((0_usize..400, r#"["0-9A-Zăș^~&\\.<%-]{0,12}"#), 0..12),
    ) {
        let paths = samples();
        let bytes = std::fs::read(&paths[sample.index(paths.len())]).unwrap();
        let Ok(set) = decode(&changed(&bytes, &edits), &Profile::default()) else { return Ok(()) };
        if let Some(Ok(bytes)) = again(&set) {
            well_formed(&bytes);
            prop_assert!(read_again(&bytes).is_ok());
        }
    }

    #[test]
    fn any_text_comes_back_as_it_was(text in r#"[ -~ăâîșț\n]{1,60}"#) {
        let text = format!("x{text}x");
        let mut set = decode(
            &message(&[
                r"MSH|^~\&|A|B|C|D|20260512||ORU^R01|1|P|2.5.1",
                "PID|1||7^^^N^MR||Pop",
                "OBR|1||L^LAB|1^a^LN",
                "OBX|1|ST|2^b^LN||v||||||F",
            ]),
            &Profile::default(),
        ).unwrap();
        for change in &mut set.changes {
            match &mut change.say {
                clinic::Body::Observation(say) => {
                    say.value = clinic::patch::Patch::Set(clinic::diagnostics::Value::Text(text.clone()));
                }
                clinic::Body::Patient(say) => {
                    say.mothers_maiden_name = clinic::patch::Patch::Set(text.clone());
                }
                _ => {}
            }
        }
        let back = read_again(&again(&set).unwrap().unwrap()).unwrap();
        for change in &back.changes {
            match &change.say {
                clinic::Body::Observation(say) => prop_assert_eq!(
                    say.value.value(),
                    Some(&clinic::diagnostics::Value::Text(text.clone()))
                ),
                clinic::Body::Patient(say) => {
                    prop_assert_eq!(say.mothers_maiden_name.value(), Some(&text));
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_visit_that_moves_is_told_of_the_one_whose_it_is() {
    let mut clinic = MemoryClinic::new();
    let message = |event: &str, whose: &str, mrg: &str| {
        let pid = format!("PID|1||{whose}^^^CODRUL^MR||Pop^Ana");
        let header = format!("MSH|^~\\&|A|B|C|D|20260914091530||ADT^{event}|1|P|2.5.1");
        let all = [
            header,
            pid,
            mrg.to_owned(),
            "PV1|1|I|||||||||||||||||V".to_owned(),
        ];
        all.into_iter()
            .filter(|line| !line.is_empty())
            .collect::<Vec<String>>()
    };
    let mut written = |event: &str, whose: &str, mrg: &str| {
        let lines = message(event, whose, mrg);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        written_of(&mut clinic, &lines)
    };
    written("A01", "1", "");
    let moved = written("A45", "2", "MRG|1^^^CODRUL^MR||||V");
    assert_eq!(moved.matches("\rPID|").count(), 1, "{moved}");
    assert!(moved.contains("|2^^^CODRUL^MR|"), "{moved}");
    assert!(moved.contains("|ADT^A45^ADT_A45|"), "{moved}");
    assert!(
        moved.contains("\rMRG|1^^^CODRUL^MR||||V^^^^VN\rPV1|1|I|"),
        "{moved}"
    );
    // Another number, and then one visit with another that has that number: the one before is told.
    let renumbered = written("A50", "2", "MRG|2^^^CODRUL^MR||||OLD");
    assert!(renumbered.contains("|ADT^A50^ADT_A50|"), "{renumbered}");
    assert!(
        renumbered.contains("\rMRG|2^^^CODRUL^MR||||OLD^^^^VN\rPV1|1|I|"),
        "{renumbered}"
    );
    let joined = written("A42", "2", "MRG|2^^^CODRUL^MR||||W");
    assert!(joined.contains("|ADT^A42^ADT_A39|"), "{joined}");
    assert!(
        joined.contains("\rMRG|2^^^CODRUL^MR||||W^^^^VN\rPV1|1|I|"),
        "{joined}"
    );
}

/// HL7 v2.5.1, 3.3: relatives have a place in some structures only.
#[test]
fn relatives_stand_where_the_structure_has_them() {
    let written = |kind: &str, more: &str| {
        let header = format!("MSH|^~\\&|A|B|C|D|20260914091530||{kind}|1|P|2.5.1");
        let mut lines = vec![
            header.as_str(),
            "PID|1||1^^^CODRUL^MR||Pop^Ana",
            "NK1|1|Pop^Ion|SPO",
        ];
        lines.extend(more.split('\n'));
        written_of(&mut MemoryClinic::new(), &lines).contains("\rNK1|")
    };
    let visit = "PV1|1|I|W||||||||||||||||V";
    for event in [
        "A01", "A03", "A04", "A05", "A06", "A08", "A13", "A16", "A28", "A31",
    ] {
        assert!(written(&format!("ADT^{event}"), visit), "{event}");
    }
    for event in ["A02", "A09", "A11", "A12", "A21", "A38"] {
        assert!(!written(&format!("ADT^{event}"), visit), "{event}");
    }
    assert!(written(
        "OML^O21^OML_O21",
        "ORC|NW|P1^HIS\nOBR|1|P1^HIS||GLU^Glucoza^L"
    ));
    let booked = "SCH|S1^HIS||||||||20|MIN|^^20^20260915090000\nRGS|1|A\nAIG|1|A|R1^Sala";
    assert!(!written("SIU^S12^SIU_S12", booked));
}

/// HL7 v2.5.1, 4.4.6 and 4.4.12: insurance stands before allergies, and OMI^O23 has no SPM.
#[test]
fn segments_stand_where_the_structure_of_orders_has_them() {
    let written = |kind: &str, order: &str| {
        let header = format!("MSH|^~\\&|A|B|C|D|20260914091530||{kind}|1|P|2.5.1");
        let mut lines = vec![
            header.as_str(),
            "PID|1||1^^^CODRUL^MR||Pop^Ana",
            "AL1|1|DA|IOD^Iod^L|SV",
            "IN1|1|PL^Plan^L|CO1",
            "ORC|NW|P1^HIS",
        ];
        lines.extend(order.split('\n'));
        written_of(&mut MemoryClinic::new(), &lines)
    };
    let place = |text: &str, segment: &str| text.find(&format!("\r{segment}|"));
    let oml = written(
        "OML^O21^OML_O21",
        "OBR|1|P1^HIS||GLU^Glucoza^L\nSPM|1|||SER^Ser^HL70487",
    );
    assert!(
        place(&oml, "IN1") < place(&oml, "AL1") && place(&oml, "AL1") < place(&oml, "ORC"),
        "{oml}"
    );
    assert!(place(&oml, "SPM").is_some());
    let omi = written(
        "OMI^O23^OMI_O23",
        "OBR|1|P1^HIS||CTT^CT torace^L|||||||||||^^^THX&torace&HL70163|||||||||CT\nIPC|ACC1|RP1|1.2.3|S1|CT^CT^DCM",
    );
    assert!(place(&omi, "IN1") < place(&omi, "AL1"), "{omi}");
    assert!(
        place(&omi, "SPM").is_none() && omi.contains("|^^^THX&torace"),
        "{omi}"
    );
}

#[test]
fn what_takes_back_is_written_as_such() {
    let msh = |event: &str| format!("MSH|^~\\&|HIS|H|PUNTE|H|20260505080000||ADT^{event}|1|P|2.5.1");
    let (one, other) = (
        "PID|1||A-1^^^AURORA^MR||Rusu^Adina",
        "PID|2||A-2^^^AURORA^MR||Rusu^Adina",
    );
    let mut clinic = MemoryClinic::new();
    written_of(&mut clinic, &[&msh("A24"), one, other]);
    let unlinked = written_of(&mut clinic, &[&msh("A37"), one, other]);
    assert!(unlinked.contains("|ADT^A37^ADT_A37|"), "{unlinked}");
    assert_eq!(unlinked.matches("\rPID|").count(), 2, "{unlinked}");
    assert!(!unlinked.contains("MRG"), "{unlinked}");
    let back = read_again(unlinked.as_bytes()).unwrap();
    assert!(back.merges[0].undo && back.merges[0].link);
    let visit = "PV1|1|P|||||||||||||||||V-1^^^AURORA^VN";
    written_of(&mut clinic, &[&msh("A05"), one, visit]);
    let cancelled = written_of(&mut clinic, &[&msh("A38"), one, visit]);
    assert!(cancelled.contains("|ADT^A38^ADT_A38|"), "{cancelled}");
}

#[test]
fn a_change_of_single_ones_adds_and_takes_out_in_what_is_written() {
    let mut clinic = MemoryClinic::new();
    let said = |clinic: &mut MemoryClinic, event: &str, id: u8, resources: &[&str]| -> Vec<String> {
        let msh = format!(r"MSH|^~\&|A|B|PUNTE|NORD|20260512||SIU^{event}^SIU_S12|{id}|P|2.5.1");
        let head = [
            msh.as_str(),
            "SCH|A-1^P||||||||30|min|^^^20260516130000",
            "PID|1||7^^^NORD^MR||Pop^Ana",
            "RGS|1",
        ];
        let text = written_of(clinic, &[&head[..], resources].concat());
        let is_resource =
            |line: &&str| ["AIS", "AIG", "AIL", "AIP"].contains(&line.get(..3).unwrap_or_default());
        let codes = text.split('\r').filter(is_resource).map(|line| {
            let fields: Vec<&str> = line.split('|').collect();
            let code = fields[3].split('^').next().unwrap_or_default();
            format!(
                "{} {} {code} {}",
                fields[0],
                fields[2],
                fields.get(12).copied().unwrap_or_default()
            )
        });
        codes.map(|line| line.trim_end().to_owned()).collect()
    };
    let booked = ["AIS|1|A|ECO^e^L", "AIL|1|A|CAB1", "AIP|1|A|D7^Manea^Ion"];
    assert_eq!(
        said(&mut clinic, "S12", 1, &booked),
        ["AIS A ECO", "AIL A CAB1", "AIP A D7"]
    );
    let other = ["AIP|1|D|D7^Manea^Ion", "AIP|2|A|D8^Popa^Ana"];
    let all = said(&mut clinic, "S14", 2, &other);
    assert_eq!(all, ["AIS U ECO", "AIL U CAB1", "AIP D D7", "AIP A D8"]);
    // Who was taken out before is spoken of no more.
    let more = ["AIS|1|U|ECO^e^L", "AIS|2|A|DOP^d^L", "AIL|1|U|CAB1"];
    let all = said(&mut clinic, "S14", 3, &more);
    assert_eq!(all, ["AIS U ECO", "AIS A DOP", "AIL U CAB1", "AIP U D8"]);
    // A list that is whole is written as one.
    let whole = ["AIS|1||ECO^e^L", "AIL|1||CAB2", "AIP|1||D9^Rus^Dan"];
    assert_eq!(
        said(&mut clinic, "S14", 4, &whole),
        ["AIS U ECO", "AIL U CAB2", "AIP U D9"]
    );
}

#[test]
fn an_appointment_of_several_patients_is_of_each_of_them() {
    let mut clinic = MemoryClinic::new();
    let booked = [
        r"MSH|^~\&|A|B|PUNTE|NORD|20260512||SIU^S12^SIU_S12|1|P|2.5.1",
        "SCH|A-1^P||||||||30|min|^^^20260516130000",
        "PID|1||7^^^NORD^MR||Pop^Ana",
        "PV1|1|O|||||||||||||||||V-7^^^NORD^VN",
        "PID|2||8^^^NORD^MR||Rus^Dan",
        "PV1|1|O|||||||||||||||||V-8^^^NORD^VN",
        "RGS|1",
        "AIS|1|A|GT^Group^L",
        "AIP|1|A|D7^Manea^Ion",
    ];
    let set = decode(&message(&booked), &Profile::default()).unwrap();
    let lost = set
        .extra
        .iter()
        .filter(|extra| extra.place.0.starts_with("PID[2]") && extra.place.0 != "PID[2]-1.1");
    assert_eq!(lost.count(), 0, "{:?}", set.extra);
    let text = written_of(&mut clinic, &booked);
    let names: Vec<&str> = text.split('\r').filter_map(|line| line.get(..3)).collect();
    assert_eq!(
        names,
        [
            "MSH", "SCH", "TQ1", "PID", "PV1", "PID", "PV1", "RGS", "AIS", "AIP"
        ],
        "{text}"
    );
    assert!(text.contains("\rPID|2||8^^^NORD^MR||Rus^Dan\r"), "{text}");
    for visit in clinic.all(clinic::Kind::Encounter) {
        let clinic::Aggregate::Encounter(visit) = &visit.aggregate else {
            continue;
        };
        assert_eq!(visit.appointments.len(), 1);
    }
    // A state alone says nothing of who comes.
    let text = written_of(
        &mut clinic,
        &[
            r"MSH|^~\&|A|B|PUNTE|NORD|20260513||SIU^S14^SIU_S12|2|P|2.5.1",
            booked[1],
            booked[2],
        ],
    );
    assert!(text.contains("|Rus^Dan"), "{text}");
}

#[test]
fn a_text_keeps_its_unit() {
    let mut clinic = MemoryClinic::new();
    let result = |value: &str, unit: &str, id: u8| {
        let msh = format!(r"MSH|^~\&|LIS|L|PUNTE|NORD|20260512||ORU^R01^ORU_R01|{id}|P|2.5.1");
        let obx = format!("OBX|1|{value}|{unit}|||||C");
        let lines = [
            msh.as_str(),
            "PID|1||7^^^NORD^MR||Pop^Ana",
            "OBR|1||F1^L|URI^u^L|||20260505",
            &obx,
        ];
        lines.map(str::to_owned)
    };
    let mut obx = |value: &str, unit: &str, id: u8| {
        let lines = result(value, unit, id);
        let text = written_of(&mut clinic, &lines.each_ref().map(String::as_str));
        let fields: Vec<String> = line(&text, "OBX").split('|').map(str::to_owned).collect();
        [fields[2].clone(), fields[5].clone(), fields[6].clone()]
    };
    assert_eq!(obx("ST|LEU^l^L||0-2", "/HPF", 1), ["ST", "0-2", "/HPF"]);
    assert_eq!(
        obx("NM|LEU^l^L||5.40 *", "mg/L^^UCUM", 2),
        ["ST", "5.40 *", "mg/L^^UCUM"]
    );
    // A correction without one has none.
    assert_eq!(obx("ST|LEU^l^L||1+", "", 3), ["ST", "1+", ""]);
    assert_eq!(obx("NM|LEU^l^L||4", "/HPF", 4), ["NM", "4", "/HPF"]);
}

#[test]
fn whether_a_bed_is_free_is_told_as_it_came() {
    let mut clinic = MemoryClinic::new();
    let text = written_of(
        &mut clinic,
        &[
            r"MSH|^~\&|A|B|PUNTE|NORD|20260512||ADT^A20^ADT_A20|1|P|2.5.1",
            "EVN|A20|20260512",
            "NPU|CHIR^S12^P2^NORD|K",
        ],
    );
    assert!(text.contains("|ADT^A20^ADT_A20|"), "{text}");
    assert_eq!(text.matches("\rNPU|").count(), 1, "{text}");
    assert_eq!(line(&text, "NPU"), "NPU|CHIR^S12^P2^NORD|K");
}

#[test]
fn a_number_of_no_kind_stands_in_both_segments_of_an_order() {
    use clinic::patch::Items;
    let lines = [
        r"MSH|^~\&|A|B|PUNTE|NORD|20260512||OML^O21^OML_O21|1|P|2.5.1",
        "PID|1||7^^^NORD^MR||Pop^Ana",
        "ORC|NW|L1^HIS",
        "OBR|1|L1^HIS||GLU^g^L",
    ];
    let mut set = decode(&message(&lines), &Profile::default()).unwrap();
    for change in &mut set.changes {
        if let (clinic::Body::Order(_), Items::Merge(numbers)) =
            (&change.say.clone(), change.say.identifiers_mut())
        {
            numbers.iter_mut().for_each(|number| number.kind = None);
            change.find.identifiers.clear();
        }
    }
    let applied = apply_numbered(&set, &MemoryClinic::new()).unwrap();
    let bytes = encode(&set, &applied, &Profile::default(), &stamp()).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(line(&text, "ORC").starts_with("ORC|NW|L1^HIS"), "{text}");
    assert!(line(&text, "OBR").starts_with("OBR|1|L1^HIS"), "{text}");
}

#[test]
fn what_is_called_off_is_booked_for_nobody() {
    let mut clinic = MemoryClinic::new();
    let msh = |event: &str| format!(r"MSH|^~\&|A|B|PUNTE|NORD|20260512||SIU^{event}^SIU_S12|{event}|P|2.5.1");
    let sch = "SCH|A-1^P||||||||30|min|^^^20260516130000";
    let pid = "PID|1||7^^^NORD^MR||Pop^Ana";
    written_of(
        &mut clinic,
        &[
            &msh("S12"),
            sch,
            pid,
            "RGS|1",
            "AIL|1|A|CAB1",
            "AIP|1|A|D7^Manea^Ion",
        ],
    );
    let text = written_of(&mut clinic, &[&msh("S15"), sch, pid]);
    assert_eq!(line(&text, "AIL"), "AIL|1|U|CAB1");
    assert_eq!(line(&text, "AIP"), "AIP|1|U|D7^Manea^Ion");
}
