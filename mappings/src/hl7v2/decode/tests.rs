//! ADT: what each sample says, as a list a clinician could read; and the laws that hold for every message.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clinic::Refs;
use clinic::change_set::ChangeSet;
use clinic::exchange::{MapError, Reason};
use clinic::value::Ref;
use serde_json::Value;

use super::terms::UCUM;
use super::{Profile, decode};

fn samples(prefix: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/hl7v2");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(prefix))
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no samples {prefix}");
    files
}

fn read(bytes: &[u8]) -> Result<ChangeSet, MapError> {
    decode(bytes, &Profile::default())
}

/// The message with CR between its lines.
fn message(lines: &[&str]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|line| line.bytes().chain([b'\r']))
        .collect()
}

/// A message of this event with these segments.
fn adt(event: &str, lines: &[&str]) -> ChangeSet {
    let msh = format!(r"MSH|^~\&|A|B|C|D|20260914091530||ADT^{event}|1|P|2.5.1");
    let evn = format!("EVN|{event}|20260914091500");
    let all: Vec<&str> = [msh.as_str(), evn.as_str()]
        .iter()
        .chain(lines)
        .copied()
        .collect();
    read(&message(&all)).unwrap()
}

/// Every value of a JSON text, a line each.
fn flat(value: &Value, path: &str, out: &mut String) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            let key = match key.as_str() {
                "merge" => String::new(),
                "local" if map.len() == 1 => String::new(),
                key if path.is_empty() => key.to_owned(),
                key => format!(".{key}"),
            };
            flat(value, &format!("{path}{key}"), out);
        }),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(idx, value)| flat(value, &format!("{path}[{idx}]"), out)),
        Value::Null => writeln!(out, "{path} cleared").unwrap(),
        Value::String(text) => writeln!(out, "{path} {text}").unwrap(),
        other => writeln!(out, "{path} {other}").unwrap(),
    }
}

/// What a change set says, a line each; systems of HL7 without what they all start with.
fn said(set: &ChangeSet) -> String {
    let mut out = String::new();
    flat(&serde_json::to_value(&set.about).unwrap(), "about", &mut out);
    for change in &set.changes {
        let json = serde_json::to_value(change).unwrap();
        flat(&json["find"], &format!("{} found", change.key), &mut out);
        let body = json["say"].as_object().unwrap().values().next().unwrap().clone();
        flat(&body, &change.key, &mut out);
        if let Some(new) = json.get("say_if_new") {
            flat(
                new.as_object().unwrap().values().next().unwrap(),
                &format!("{} if new", change.key),
                &mut out,
            );
        }
    }
    for merge in &set.merges {
        writeln!(out, "merge {} into {}", merge.old, merge.survivor).unwrap();
    }
    for extra in &set.extra {
        let note = extra
            .note
            .as_ref()
            .map(|note| format!(" ({note})"))
            .unwrap_or_default();
        writeln!(out, "extra {} {}{note}", extra.place, extra.value).unwrap();
    }
    let short = out.replace("http://terminology.hl7.org/CodeSystem/", "hl7:");
    // Empty parts of nested values are written out by serde; they say nothing.
    short
        .lines()
        .filter(|line| !(line.ends_with(" cleared") && line.contains('[')))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Compares with the list beside this file; `PUNTE_WRITE_GOLDEN=1` writes it anew.
fn check(path: &Path) {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/hl7v2/decode/golden/{name}.txt"));
    let got = match read(&std::fs::read(path).unwrap()) {
        Ok(set) => said(&set),
        Err(error) => format!("refused {error}\n"),
    };
    if std::env::var_os("PUNTE_WRITE_GOLDEN").is_some() {
        std::fs::write(&golden, &got).unwrap();
    }
    let want = std::fs::read_to_string(&golden).unwrap_or_default();
    for (idx, (got, want)) in got.lines().zip(want.lines()).enumerate() {
        assert_eq!(got, want, "{name}, line {}", idx + 1);
    }
    assert_eq!(got.lines().count(), want.lines().count(), "{name}");
}

#[test]
fn samples_say_what_their_lists_say() {
    samples("adt-").iter().for_each(|path| check(path));
}

#[test]
fn every_reference_leads_to_a_change_of_the_set() {
    for path in samples("adt-") {
        let set = read(&std::fs::read(&path).unwrap()).unwrap();
        let keys: BTreeSet<&str> = set.changes.iter().map(|change| change.key.as_str()).collect();
        assert_eq!(keys.len(), set.changes.len(), "{path:?}: a key twice");
        for change in &set.changes {
            change.say.refs(&mut |to| match to {
                Ref::Local(key) => assert!(keys.contains(key.as_str()), "{path:?}: {key}"),
                Ref::Id(..) => panic!("{path:?}: an id"),
            });
            let owner = change
                .find
                .natural
                .as_ref()
                .and_then(|natural| natural.owner.as_ref());
            if let Some(Ref::Local(key)) = owner {
                assert!(keys.contains(key.as_str()), "{path:?}: {key}");
            }
        }
        for merge in &set.merges {
            assert!(keys.contains(merge.old.as_str()) && keys.contains(merge.survivor.as_str()));
        }
    }
}

/// A clinic into which messages are applied one after the other; tells what each of them wrote.
struct Played {
    clinic: clinic::memory::MemoryClinic,
    ids: u128,
}

impl Played {
    fn new() -> Self {
        Played {
            clinic: clinic::memory::MemoryClinic::new(),
            ids: 0,
        }
    }

    fn plays(&mut self, set: &ChangeSet) -> Vec<&'static str> {
        let Played { clinic, ids } = self;
        let context = clinic::apply::Context {
            source: clinic::aggregate::Source::Actor {
                name: "test".to_owned(),
                message: None,
            },
            now: "2026-09-14T06:15:30Z".parse().unwrap(),
            site: None,
            on_unmatched: clinic::apply::OnUnmatched::Create,
            decisions: &[],
            overwrite: false,
            new_id: &mut || {
                *ids += 1;
                uuid::Uuid::from_u128(*ids)
            },
        };
        let applied = clinic::apply(set, clinic, context).unwrap();
        clinic.commit(&applied).unwrap();
        let written = applied.writes.iter();
        written
            .map(|write| write.record.aggregate.kind().as_str())
            .collect()
    }

    fn count(&self, kind: clinic::Kind) -> usize {
        self.clinic.all(kind).len()
    }
}

#[test]
fn a_repeat_changes_nothing() {
    for path in samples("adt-") {
        let set = read(&std::fs::read(&path).unwrap()).unwrap();
        let mut clinic = Played::new();
        clinic.plays(&set);
        assert_eq!(clinic.plays(&set), Vec::<&str>::new(), "{path:?}");
    }
}

#[test]
fn a_stay_is_one_visit_of_one_patient() {
    let mut clinic = Played::new();
    for name in [
        "adt-a01-admit-rich",
        "adt-a06-",
        "adt-a02-",
        "adt-a08-update",
        "adt-a03-",
        "adt-a08-update",
        "adt-a13-",
    ] {
        clinic.plays(&read(&std::fs::read(&samples(name)[0]).unwrap()).unwrap());
    }
    assert_eq!(clinic.count(clinic::Kind::Patient), 2);
    assert_eq!(clinic.count(clinic::Kind::Encounter), 2);
    let mut closed = Played::new();
    for name in ["adt-a03-", "adt-a08-update"] {
        closed.plays(&read(&std::fs::read(&samples(name)[0]).unwrap()).unwrap());
    }
    let visits = closed.clinic.all(clinic::Kind::Encounter);
    let clinic::Aggregate::Encounter(visit) = &visits[0].aggregate else {
        panic!("no visit")
    };
    assert_eq!(
        visit.status,
        Some(clinic::records::EncounterStatus::Finished),
        "an A08 does not reopen it"
    );
    assert_eq!(visits.len(), 1);
}

/// The visits: whose, in which state, with which numbers.
fn visits(clinic: &Played) -> Vec<(String, String, Vec<String>)> {
    let all = clinic.clinic.all(clinic::Kind::Encounter).into_iter();
    all.map(|record| {
        let clinic::Aggregate::Encounter(visit) = &record.aggregate else {
            panic!("no visit")
        };
        let whose = visit.patient.as_ref().and_then(Ref::id).unwrap();
        let whose = clinic
            .clinic
            .versions(clinic::Kind::Patient, whose)
            .last()
            .unwrap();
        let status = visit.status.map(|status| status.as_str().to_owned());
        let numbers = visit.identifiers.iter().map(|number| number.value.clone());
        (
            whose.aggregate.identifiers()[0].value.clone(),
            status.unwrap_or_default(),
            numbers.collect(),
        )
    })
    .collect()
}

#[test]
fn numbers_of_visits_change_and_visits_move_and_become_one() {
    for authority in ["^^^HOSP^VN", ""] {
        let mut clinic = Played::new();
        let say = |clinic: &mut Played, event: &str, whose: &str, mrg: &str, number: &str| {
            let pid = format!("PID|1||{whose}^^^CODRUL^MR||Pop^Ana");
            let mrg = match mrg.split_once(' ') {
                Some((whose, number)) => format!("MRG|{whose}^^^CODRUL^MR||||{number}{authority}"),
                None => String::new(),
            };
            let pv1 = format!("PV1|1|I|||||||||||||||||{number}{authority}");
            let segments: Vec<&str> = [pid.as_str(), &mrg, &pv1]
                .into_iter()
                .filter(|segment| !segment.is_empty())
                .collect();
            clinic.plays(&adt(event, &segments));
        };
        let is = |clinic: &Played, wanted: &[(&str, &str, &[&str])]| {
            let wanted: Vec<(String, String, Vec<String>)> = wanted
                .iter()
                .map(|(whose, status, numbers)| {
                    let numbers = numbers.iter().map(|number| (*number).to_owned());
                    ((*whose).to_owned(), (*status).to_owned(), numbers.collect())
                })
                .collect();
            assert_eq!(visits(clinic), wanted, "{authority:?}");
        };
        say(&mut clinic, "A01", "1", "", "V");
        say(&mut clinic, "A01", "2", "", "W");
        // The visit is the other patient's now; told again, it stays so.
        for _ in 0..2 {
            say(&mut clinic, "A45", "2", "1 V", "V");
            is(
                &clinic,
                &[("2", "in-progress", &["V"]), ("2", "in-progress", &["W"])],
            );
        }
        // What is said late of the patient whose it was begins no visit; an admission does.
        say(&mut clinic, "A08", "1", "", "V");
        is(
            &clinic,
            &[("2", "in-progress", &["V"]), ("2", "in-progress", &["W"])],
        );
        // It has another number, and is found by both.
        say(&mut clinic, "A50", "2", "2 V", "N");
        say(&mut clinic, "A08", "2", "", "V");
        say(&mut clinic, "A08", "2", "", "N");
        is(
            &clinic,
            &[("2", "in-progress", &["V", "N"]), ("2", "in-progress", &["W"])],
        );
        // Two become one, which all their numbers lead to from now on.
        for _ in 0..2 {
            say(&mut clinic, "A42", "2", "2 V", "W");
        }
        say(&mut clinic, "A08", "2", "", "V");
        say(&mut clinic, "A03", "2", "", "N");
        is(
            &clinic,
            &[
                ("2", "entered-in-error", &["V", "N"]),
                ("2", "finished", &["W", "V", "N"]),
            ],
        );
    }
}

/// The message with one thing emptied at a time: each field, and each component and sub-component.
fn emptied(text: &str) -> Vec<(String, String)> {
    let bytes = text.as_bytes();
    let separator = char::from(bytes[3]);
    let below: Vec<char> = text[4..8].chars().collect();
    let (component, repetition, subcomponent) = (below[0], below[1], below[3]);
    let mut out = vec![];
    let mut start = 0;
    for line in text.split_inclusive('\r') {
        let header = line.starts_with("MSH");
        let mut at = start;
        for (number, field) in line.trim_end_matches('\r').split(separator).enumerate() {
            let place = format!("{}-{}", &line[..3], number + usize::from(header));
            if number > usize::from(header) && !field.is_empty() {
                out.push((
                    place.clone(),
                    format!("{}{}", &text[..at], &text[at + field.len()..]),
                ));
                let mut from = at;
                let delimiters = [component, repetition, subcomponent];
                for part in field.split_inclusive(delimiters) {
                    let value = part.trim_end_matches(delimiters);
                    if !value.is_empty() && value.len() < field.len() {
                        let place = format!("{place} +{} {value}", from - at);
                        out.push((place, format!("{}{}", &text[..from], &text[from + value.len()..])));
                    }
                    from += part.len();
                }
            }
            at += field.len() + 1;
        }
        start += line.len();
    }
    out
}

#[test]
fn whatever_is_emptied_changes_what_is_said() {
    let mut silent = vec![];
    for path in samples("adt-") {
        let Ok(text) = String::from_utf8(std::fs::read(&path).unwrap()) else {
            continue;
        };
        let whole = read(text.as_bytes()).map(|set| said(&set));
        for (place, changed) in emptied(&text) {
            if read(changed.as_bytes()).map(|set| said(&set)) == whole {
                silent.push(format!("{} {place}", path.file_stem().unwrap().to_string_lossy()));
            }
        }
    }
    // Components that say what is understood anyway: the table of the field, the form of a universal id, the kind of
    // a visit number, the use and the equipment that a field or a number implies.
    let implied = [
        "HL7", "ISO", "UUID", "URI", "DNS", "VN", "PRN", "WPN", "PH", "NET", "Internet", "PRS", "CP", "UCUM",
    ];
    silent.retain(|line| {
        let last = line.rsplit(' ').next().unwrap_or_default();
        line.split(' ').count() < 4 || !implied.iter().any(|word| last.starts_with(word))
    });
    assert!(silent.is_empty(), "{silent:#?}");
}

fn json(set: &ChangeSet, key: &str) -> Value {
    let change = set.changes.iter().find(|change| change.key == key);
    let say = serde_json::to_value(&change.unwrap_or_else(|| panic!("no {key}")).say).unwrap();
    say.as_object().unwrap().values().next().unwrap().clone()
}

fn has(set: &ChangeSet, key: &str) -> bool {
    set.changes.iter().any(|change| change.key == key)
}

fn noted<'a>(set: &'a ChangeSet, place: &str) -> &'a str {
    let extra = set.extra.iter().find(|extra| extra.place.0 == place);
    let extra = extra.unwrap_or_else(|| panic!("{place} is not in extra"));
    extra.note.as_deref().unwrap_or_default()
}

const PID: &str = "PID|1||70001^^^CODRUL^MR||Pop^Ana";

/// The state that an event says, and the one that it says of a new visit only.
fn states(event: &str, pv1: &str) -> (String, String) {
    let set = adt(event, &[PID, pv1]);
    let change = set
        .changes
        .iter()
        .find(|change| change.key == "encounter")
        .unwrap();
    let status = |body: &clinic::Body| {
        let json = serde_json::to_value(body).unwrap();
        json["Encounter"]["status"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (
        status(&change.say),
        change.say_if_new.as_ref().map(status).unwrap_or_default(),
    )
}

#[test]
fn events_move_the_states_that_they_should() {
    let open = "PV1|1|O|||||||||||||||||V1^^^CODRUL^VN";
    let planned = "PV1|1|P|||||||||||||||||V1^^^CODRUL^VN";
    let closed = "PV1|1|I|||||||||||||||||V1^^^CODRUL^VN||||||||||||||||||||||||||20260914110000";
    let says = |status: &str| (status.to_owned(), String::new());
    let if_new = |status: &str| (String::new(), status.to_owned());
    assert_eq!(states("A01", open), says("in-progress"));
    assert_eq!(states("A01", planned), says("planned"));
    assert_eq!(states("A02", open), if_new("in-progress"));
    assert_eq!(states("A03", open), says("finished"));
    assert_eq!(states("A04", open), says("arrived"));
    assert_eq!(states("A05", open), says("planned"));
    assert_eq!(states("A06", open), if_new("in-progress"));
    assert_eq!(states("A07", open), if_new("in-progress"));
    assert_eq!(
        states("A08", open),
        if_new("in-progress"),
        "an A08 never moves a finished visit back"
    );
    assert_eq!(states("A08", planned), if_new("planned"));
    assert_eq!(states("A08", closed), says("finished"));
    assert_eq!(states("A11", closed), says("cancelled"));
    assert_eq!(states("A12", open), if_new("in-progress"));
    assert_eq!(states("A13", closed), says("in-progress"));
    assert_eq!(states("A14", open), says("planned"));
    assert_eq!(
        states("A23", open),
        if_new("unknown"),
        "a deletion deletes nothing"
    );
    assert_eq!(states("A29", open), if_new("unknown"));
    assert_eq!(states("A27", open), says("cancelled"), "the plan of A14");
    assert_eq!(states("A38", planned), says("cancelled"), "the plan of A05");
    assert_eq!(states("A60", open), if_new("in-progress"));
}

#[test]
fn classes_of_table_0004() {
    let class = |code: &str| {
        let set = adt("A04", &[PID, &format!("PV1|1|{code}|CAB")]);
        let encounter = json(&set, "encounter");
        (
            encounter["class"]["code"].as_str().unwrap_or_default().to_owned(),
            encounter["class_original"]["codings"][0]["code"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(class("E"), pair("EMER", ""));
    assert_eq!(class("I"), pair("IMP", ""));
    assert_eq!(class("O"), pair("AMB", ""));
    assert_eq!(class("P"), pair("PRENC", ""));
    assert_eq!(class("R"), pair("AMB", "R"));
    assert_eq!(class("B"), pair("IMP", "B"));
    assert_eq!(class("C"), pair("AMB", "C"));
    assert_eq!(class("U"), pair("AMB", "U"));
    assert_eq!(class("ZI^De zi^L"), pair("ZI", ""));
    assert!(!has(&adt("A08", &[PID, "PV1|1|N"]), "encounter"));
    assert!(!has(&adt("A08", &[PID, "PV1|1"]), "encounter"));
}

#[test]
fn a_visit_without_a_number_is_found_by_what_there_is() {
    let natural = |lines: &[&str]| {
        let set = adt("A08", lines);
        let encounter = set
            .changes
            .iter()
            .find(|change| change.key == "encounter")
            .unwrap()
            .clone();
        encounter.find.natural.map(|natural| natural.key)
    };
    let pv1 = |rest: &str| format!("PV1|1|O|CAB{rest}");
    assert_eq!(natural(&[PID, &pv1("||||||||||||||||V1")]), None);
    assert_eq!(
        natural(&[
            PID,
            &pv1("|||||||||||||||||||||||||||||||||||||||||||||||V1-B^^^ASIG")
        ]),
        None
    );
    let with_account = "PID|1||70001^^^CODRUL^MR||Pop^Ana|||||||||||||ACC-1^^^CODRUL";
    assert_eq!(
        natural(&[with_account, &pv1("")]).as_deref(),
        Some("visit|account|CODRUL|ACC-1")
    );
    let begun = "PV1|1|O|CAB|||||||||||||||||||||||||||||||||||||||||202609140900";
    assert_eq!(
        natural(&[PID, begun]).as_deref(),
        Some("visit|AMB|2026-09-14T09:00:00+03:00")
    );
    assert_eq!(natural(&[PID, &pv1("")]).as_deref(), Some("visit|AMB|"));
}

#[test]
fn absent_empty_and_null_are_three_things() {
    let patient = json(
        &adt(
            "A31",
            &["PID|1||70001^^^CODRUL^MR||Pop^Ana||\"\"||||\"\"|||||\"\""],
        ),
        "patient",
    );
    assert_eq!(patient["birth_date"], Value::Null);
    assert!(patient.as_object().unwrap().contains_key("birth_date"));
    assert_eq!(patient["addresses"], Value::Null);
    assert!(patient.as_object().unwrap().contains_key("marital_status"));
    assert!(!patient.as_object().unwrap().contains_key("sex"));
    let set = adt(
        "A31",
        &["PID|1||70001^^^CODRUL^MR||Pop^Ana||||||||^PRN^PH^^^^555|\"\""],
    );
    assert!(noted(&set, "PID-14.1").contains("empties what is stored"));
}

#[test]
fn numbers_that_name_no_authority_have_that_of_the_channel() {
    let profile = Profile {
        authority: Some("LAB-NORD".to_owned()),
        ..Profile::default()
    };
    let text = message(&[
        r"MSH|^~\&|A|B|C|D|20260914091530||ADT^A01|1|P|2.5.1",
        "PID|1||70001~5^^^HIS~2850312120015||Pop^Ana",
        "PV1|1|I|||||12^Rusu^Ion",
    ]);
    let systems = |set: &ChangeSet, key: &str| -> Vec<String> {
        let all = json(set, key)["identifiers"]["merge"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        all.iter()
            .map(|one| one["system"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let set = decode(&text, &profile).unwrap();
    assert_eq!(
        systems(&set, "patient"),
        ["LAB-NORD", "HIS", super::datatypes::CNP]
    );
    assert_eq!(systems(&set, "practitioner"), ["LAB-NORD"]);
    let unsaid = decode(&text, &Profile::default()).unwrap();
    assert_eq!(systems(&unsaid, "patient"), ["", "HIS", super::datatypes::CNP]);
}

#[test]
fn a_snapshot_field_replaces_the_list() {
    let profile = Profile {
        snapshots: ["PID-11".to_owned()].into(),
        ..Profile::default()
    };
    let text = message(&[
        r"MSH|^~\&|A|B|C|D|20260914091530||ADT^A31|1|P|2.5.1",
        "PID|1||70001||Pop^Ana||||||Str. Noua 1^^Dej||^PRN^PH^^^^555",
    ]);
    let set = decode(&text, &profile).unwrap();
    let patient = json(&set, "patient");
    assert!(patient["addresses"].is_array(), "replaced");
    assert!(patient["telecoms"]["merge"].is_array(), "merged");
}

/// HL7 v2.5.1, 2.15.9.7: the zone of MSH-7 is that of all times that name none.
#[test]
fn the_zone_of_the_header_is_that_of_the_message() {
    let birth = |sent: &str, text: &str| {
        let header = format!(r"MSH|^~\&|A|B|C|D|{sent}||ADT^A28|1|P|2.5.1");
        let set = read(&message(&[&header, &format!("PID|1||70001||Pop^Ana||{text}")])).unwrap();
        let zone = set.about.notes.first().map(|note| note.value.clone());
        (
            json(&set, "patient")["birth_date"].as_str().unwrap().to_owned(),
            zone.unwrap_or_default(),
        )
    };
    let is = |sent: &str, text: &str, wanted: &str, zone: &str| {
        assert_eq!(birth(sent, text), (wanted.to_owned(), zone.to_owned()), "{sent}");
    };
    is(
        "20260704120000-0500",
        "202607040800",
        "2026-07-04T08:00:00-05:00",
        "-05:00",
    );
    is(
        "20260704120000",
        "202607040800",
        "2026-07-04T08:00:00+03:00",
        "Europe/Bucharest",
    );
    // The channel's own clocks, which change in autumn.
    is(
        "20260704120000+0300",
        "202612040800",
        "2026-12-04T08:00:00+02:00",
        "Europe/Bucharest",
    );
    is(
        "20260704120000-0500",
        "202607040800+0100",
        "2026-07-04T08:00:00+01:00",
        "",
    );
}

#[test]
fn times_keep_their_precision_and_get_the_zone() {
    let birth = |text: &str| {
        let set = adt("A28", &[&format!("PID|1||70001||Pop^Ana||{text}")]);
        json(&set, "patient")["birth_date"].as_str().map(str::to_owned)
    };
    assert_eq!(birth("1980").as_deref(), Some("1980"));
    assert_eq!(birth("198005").as_deref(), Some("1980-05"));
    assert_eq!(birth("260505"), None, "YYMMDD of the first version");
    for day in ["19800514240000", "19800514236100", "19800514235960"] {
        assert_eq!(
            birth(day).as_deref(),
            Some("1980-05-14"),
            "a time that is none: {day}"
        );
    }
    assert_eq!(birth("19800512").as_deref(), Some("1980-05-12"));
    assert_eq!(
        birth("198005120730").as_deref(),
        Some("1980-05-12T07:30:00+03:00")
    );
    assert_eq!(
        birth("19800512073059.1234-0500").as_deref(),
        Some("1980-05-12T07:30:59.1234-05:00")
    );
    assert_eq!(
        birth("1980-05-12T07:30:00Z").as_deref(),
        Some("1980-05-12T07:30:00+00:00")
    );
    for wrong in [
        "19800230",
        "00000000",
        "99999999",
        "0000",
        "198013",
        "19801",
        "Aug 15, 1942",
        "1980051207305",
        "198005120730+9900",
    ] {
        assert_eq!(birth(wrong), None, "{wrong}");
    }
    // Clocks go from 3 to 4 on 29 March 2026, and from 4 to 3 on 25 October 2026.
    assert_eq!(
        birth("202603290330").as_deref(),
        Some("2026-03-29T04:30:00+03:00")
    );
    assert_eq!(
        birth("202610250330").as_deref(),
        Some("2026-10-25T03:30:00+03:00")
    );
    let late = message(&[
        r"MSH|^~\&|A|B|C|D|20261025033000+0200||ADT^A28|1|P|2.5.1",
        "PID|1||1||Pop||202610250330",
    ]);
    assert_eq!(
        json(&read(&late).unwrap(), "patient")["birth_date"],
        "2026-10-25T03:30:00+02:00"
    );
}

#[test]
fn personal_numbers_are_known_by_kind_authority_or_shape() {
    let system = |cx: &str| {
        let set = adt("A28", &[&format!("PID|1||{cx}||Pop^Ana")]);
        json(&set, "patient")["identifiers"]["merge"][0]["system"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let cnp = "https://punte.org/sid/cnp";
    assert_eq!(system("2840229991017^^^^NNROU"), cnp);
    assert_eq!(system("2840229991017^^^CNP^NI"), cnp);
    assert_eq!(system("2840229991017"), cnp);
    assert_eq!(
        system("2840229991017^^^CODRUL^MR"),
        "CODRUL",
        "a chart number may look like one"
    );
    assert_eq!(system("2840229991018^^^^NNROU"), "", "the check digit is wrong");
    assert_eq!(system("2000000000004^^^^NNMDA"), "https://punte.org/sid/idnp");
    assert_eq!(system("7^^^X&1.2.3.4&ISO"), "urn:oid:1.2.3.4");
    assert_eq!(
        system("7^^^X&0F0E7A52-0B4F-4D0A-9A1C-2D5B3C4E5F60&UUID"),
        "urn:uuid:0f0e7a52-0b4f-4d0a-9a1c-2d5b3c4e5f60"
    );
    assert_eq!(system("7^^^X&https://x.example/sid&URI"), "https://x.example/sid");
}

#[test]
fn merges_name_who_stays_and_who_goes() {
    let set = adt(
        "A40",
        &[
            PID,
            "MRG|70002^^^CODRUL^MR||||||Popp^Ana",
            "PID|2||8^^^CODRUL^MR||Rus",
            "MRG|9^^^CODRUL^MR",
        ],
    );
    let merges: Vec<(&str, &str)> = set
        .merges
        .iter()
        .map(|m| (m.survivor.as_str(), m.old.as_str()))
        .collect();
    assert_eq!(merges, [("patient", "patient-2"), ("patient-3", "patient-4")]);
    let renamed = adt("A47", &[PID, "MRG|70002^^^CODRUL^MR"]);
    assert!(renamed.merges.is_empty());
    let change = &renamed.changes[0];
    let find: Vec<&str> = change
        .find
        .identifiers
        .iter()
        .map(|id| id.value.as_str())
        .collect();
    assert_eq!(find, ["70002", "70001"], "found by the old number or the new one");
    assert_eq!(json(&renamed, "patient")["identifiers"]["merge"][1]["use"], "old");
}

#[test]
fn malformed_values_are_kept_with_a_note() {
    let set = adt(
        "A28",
        &["PID|1||70001||Pop^Ana||19840231|X||||||||||||||||Poate|doi"],
    );
    assert_eq!(noted(&set, "PID-7.1"), "a day that is not in the calendar");
    assert_eq!(noted(&set, "PID-24.1"), "neither Y nor N");
    assert_eq!(noted(&set, "PID-25.1"), "not a whole number from 1");
    assert_eq!(json(&set, "patient")["sex_original"]["codings"][0]["code"], "X");
}

#[test]
fn what_is_no_adt_is_refused_with_its_place() {
    let refused = |lines: &[&str]| {
        let error = read(&message(lines)).unwrap_err();
        (error.reason, error.place.map(|place| place.0).unwrap_or_default())
    };
    let msh = |kind: &str| format!(r"MSH|^~\&|A|B|C|D|20260914||{kind}|1|P|2.5.1");
    let place = |text: &str| text.to_owned();
    assert_eq!(
        refused(&[&msh("ZZZ^Z01"), PID]),
        (Reason::UnsupportedType, place("MSH-9.1"))
    );
    assert_eq!(
        refused(&[&msh(""), PID]),
        (Reason::RequiredMissing, place("MSH-9.1"))
    );
    assert_eq!(
        refused(&[&msh("ADT^A99"), PID]),
        (Reason::UnsupportedEvent, place("MSH-9.2"))
    );
    assert_eq!(
        refused(&[&msh("ADT"), PID]),
        (Reason::RequiredMissing, place("MSH-9.2"))
    );
    assert_eq!(
        refused(&[&msh("ADT^A01")]),
        (Reason::RequiredMissing, place("PID-3"))
    );
    let by_evn = read(&message(&[&msh("ADT"), "EVN|A28", PID])).expect("version 2.1 names the event in EVN");
    assert_eq!(by_evn.about.message_type.as_deref(), Some("ADT^A28"));
    assert!(by_evn.about.event.is_some());
}

#[test]
fn an_observation_in_an_adt_is_one_of_the_visit() {
    let set = adt(
        "A04",
        &[
            PID,
            "PV1|1|O|CAB||||||||||||||||V1^^^CODRUL",
            "OBX|1|NM|8867-4^Heart rate^LN||88|/min^^UCUM|||||F",
            "NTE|1||în repaus",
        ],
    );
    let observation = json(&set, "observation");
    assert_eq!(observation["encounter"]["local"], "encounter");
    assert_eq!(observation["notes"][0]["text"], "în repaus");
}

#[test]
fn a_power_of_ten_keeps_its_ten_where_nobody_escaped_the_caret() {
    let unit = |obx_6: &str| {
        let obx = format!("OBX|1|NM|6690-2^WBC^LN||12.3|{obx_6}|4-10||||F");
        let set = adt("A04", &[PID, "PV1|1|O|CAB", &obx]);
        let value = &json(&set, "observation")["value"]["quantity"];
        let [unit, code, system] =
            ["unit", "code", "system"].map(|part| value[part].as_str().map(str::to_owned));
        (unit.unwrap_or_default(), code, system)
    };
    let ucum = |unit: &str, code: &str| (unit.to_owned(), Some(code.to_owned()), Some(UCUM.to_owned()));
    let words = |unit: &str| (unit.to_owned(), None, None);
    assert_eq!(unit("10^3/uL"), ucum("10^3/uL", "10*3/uL"));
    assert_eq!(unit("x10^9/L"), ucum("x10^9/L", "10*9/L"));
    assert_eq!(unit(r"10\S\9/L"), ucum("10^9/L", "10*9/L"));
    assert_eq!(unit("10^6/mm3"), words("10^6/mm3"));
    assert_eq!(unit("10^-3 mol"), words("10^-3 mol"));
    assert_eq!(unit("10*3/uL"), ucum("10*3/uL", "10*3/uL"));
    assert_eq!(unit("mL/min/1.73m^2"), ucum("mL/min/1.73m^2", "mL/min/{1.73_m2}"));
    assert_eq!(unit("kg/m^2"), ucum("kg/m^2", "kg/m2"));
    assert_eq!(
        unit("m^2^UCUM"),
        ("m^2".into(), Some("m2".into()), Some(UCUM.into()))
    );
    assert_eq!(
        unit("kg/m^2^kg pe m2^UCUM"),
        ("kg pe m2".into(), Some("kg/m2".into()), Some(UCUM.into()))
    );
    for whole in [
        "/mm^3",
        "cells/mm^3",
        "dyn.s.cm^-5",
        "10^3/mm^3",
        "L/min/m^2",
        "s^-1",
    ] {
        assert_eq!(unit(whole), words(whole));
    }
    let of_the_lab = (
        "mii".to_owned(),
        Some("10^3/uL".to_owned()),
        Some("http://loinc.org".to_owned()),
    );
    assert_eq!(unit("10^3/uL^mii^LN"), of_the_lab);
    for (coded, words) in [
        ("mg/dL^miligrame", "miligrame"),
        ("g^24h", "24h"),
        ("TAB^1 tableta", "1 tableta"),
    ] {
        assert_eq!(unit(coded).0, words);
    }
    assert_eq!(unit("10^ten^L").0, "ten", "words, and the code of a system");
    assert_eq!(
        unit("10^9/L^L").1.as_deref(),
        Some("10^9/L"),
        "in the words of that system"
    );
}

#[test]
fn words_and_small_letters_are_read_as_the_codes_that_they_mean() {
    let said = |sex: &str, class: &str| {
        let pid = format!("PID|1||1^^^CODRUL^MR||Pop^Ana||19800101|{sex}");
        let set = adt("A04", &[pid.as_str(), &format!("PV1|1|{class}")]);
        let encounter = json(&set, "encounter");
        let original = encounter["class_original"]["codings"][0]["code"].clone();
        (
            json(&set, "patient")["sex"].clone(),
            encounter["class"]["code"].clone(),
            original,
        )
    };
    let outpatient = said("Female", "outpatient");
    assert_eq!(
        (outpatient.0, outpatient.1, outpatient.2),
        ("female".into(), "AMB".into(), "outpatient".into())
    );
    let inpatient = said("m", "i");
    assert_eq!((inpatient.0, inpatient.1), ("male".into(), "IMP".into()));
    assert!(said("M-", "O").0.is_null(), "what is no code stays as it came");
}

#[test]
fn an_allergy_of_the_longer_form_says_its_number_and_state() {
    let said = |iam: &str| json(&adt("A60", &[PID, iam]), "allergy");
    let confirmed =
        said("IAM|1|DA^Drug^HL70127|PEN^Penicillin^L|SV|rash|A|AL-7^CODRUL||||20200101||20200202||||C");
    assert_eq!(confirmed["code"]["codings"][0]["code"], "PEN");
    assert_eq!(confirmed["criticality"], "high");
    assert_eq!(confirmed["identifiers"]["merge"][0]["value"], "AL-7");
    assert_eq!(confirmed["onset"], "2020-01-01");
    assert_eq!(confirmed["recorded"], "2020-02-02");
    assert_eq!(confirmed["verification"]["codings"][0]["code"], "confirmed");
    assert_eq!(confirmed["clinical_status"]["codings"][0]["code"], "active");
    let resting = said("IAM|1|FA|NUT^Nuts^L|||U|||||||||||I");
    assert_eq!(resting["clinical_status"]["codings"][0]["code"], "inactive");
    let deleted = said("IAM|1|FA|NUT^Nuts^L|||D");
    assert_eq!(deleted["verification"]["codings"][0]["code"], "entered-in-error");
}

#[test]
fn who_reported_an_allergy_is_the_patient_a_relative_or_one_who_treats() {
    let said = |fields: &str| {
        adt(
            "A60",
            &[
                "PID|1||7^^^H^MR||Pop^Ana^Maria",
                &format!("IAM|1|DA|PEN^Penicillin^L||||||||||20200202|{fields}"),
            ],
        )
    };
    let kin = said("Pop^Ion|FTH^Father^HL70063");
    assert_eq!(json(&kin, "allergy")["recorder"]["local"], "related-person");
    let father = json(&kin, "related-person");
    assert_eq!(father["names"]["merge"][0]["family"], "Pop");
    assert_eq!(father["relationships"]["merge"][0]["codings"][0]["code"], "FTH");
    let own = said("Pop^Ana|SEL");
    assert_eq!(json(&own, "allergy")["recorder"]["local"], "patient");
    assert!(!own.extra.iter().any(|e| e.place.0.starts_with("IAM-14")));
    let odd = said("Rusu^Ana|SEL");
    assert!(odd.extra.iter().any(|e| e.place.0.starts_with("IAM-14")));
    let nurse = said("Dinu^Vera");
    assert_eq!(json(&nurse, "allergy")["recorder"]["local"], "practitioner");
    assert!(json(&said(""), "allergy").get("recorder").is_none());
}

#[test]
fn the_episode_of_a_visit_is_its_number_and_its_words() {
    let pv1 = format!(
        "PV1|1|O|{}1^^^H^VN{}Rehabilitation|E-7^^^H",
        "|".repeat(16),
        "|".repeat(34)
    );
    let set = adt("A04", &["PID|1||7^^^H^MR||Pop^Ana", &pv1]);
    let visit = json(&set, "encounter");
    assert_eq!(visit["episode"]["value"], "E-7");
    assert_eq!(visit["episode_description"], "Rehabilitation");
    assert!(!set.extra.iter().any(|e| e.place.0.starts_with("PV1-5")));
}

#[test]
fn yes_and_no_are_read_in_words_too() {
    let said = |twin: &str, dead: &str| {
        let pid = format!("PID|1||7^^^H^MR||Pop^Ana|||||||||||||||||||{twin}||||||{dead}");
        json(&adt("A08", &[&pid]), "patient")
    };
    for (text, is) in [
        ("Y", true),
        ("yes", true),
        ("TRUE", true),
        ("N", false),
        ("No", false),
    ] {
        let patient = said(text, text);
        assert_eq!(patient["deceased"], is, "{text}");
        assert_eq!(patient["multiple_birth"], is, "{text}");
    }
    assert!(said("U", "perhaps").get("deceased").is_none());
}

#[test]
fn the_systems_of_diagnoses_have_the_names_that_fhir_knows() {
    let system = |name: &str| {
        let set = adt(
            "A01",
            &["PID|1||7^^^H^MR||Pop^Ana", &format!("DG1|1||250.0^Diabet^{name}")],
        );
        json(&set, "condition")["code"]["codings"][0]["system"].clone()
    };
    let sid = "http://hl7.org/fhir/sid/";
    assert_eq!(system("I9"), format!("{sid}icd-9"));
    assert_eq!(system("I9C"), format!("{sid}icd-9-cm"));
    assert_eq!(system("I9CP"), format!("{sid}icd-9-cm"));
    assert_eq!(system("I10"), format!("{sid}icd-10"));
    assert_eq!(system("2.16.840.1.113883.6.42"), format!("{sid}icd-9"));
}

#[test]
fn the_program_of_the_sender_is_named_with_its_version() {
    let set = adt("A04", &["SFT|Maker|4.2|Registru|B7", PID]);
    let said = |place: &str| {
        let note = set.about.notes.iter().find(|note| note.place.0 == place);
        note.map(|note| note.value.as_str())
    };
    assert_eq!((said("SFT-2"), said("SFT-3")), (Some("4.2"), Some("Registru")));
    assert!(set.extra.iter().any(|extra| extra.place.0 == "SFT-4.1"));
}

#[test]
fn a_mail_address_beside_a_number_is_one_of_its_own() {
    let pid =
        "PID|1||1^^^CODRUL^MR||Pop^Ana||||||||0264111222^^^ana@example.org~^NET^Internet^pop@example.org";
    let set = adt("A28", &[pid]);
    let patient = json(&set, "patient");
    let told: Vec<(&str, &str)> = patient["telecoms"]["merge"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|t| {
            (
                t["system"].as_str().unwrap_or(""),
                t["value"].as_str().unwrap_or(""),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("phone", "0264111222"),
            ("email", "ana@example.org"),
            ("email", "pop@example.org")
        ]
    );
}

#[test]
fn a_visit_of_unknown_class_and_nothing_else_is_none() {
    assert!(!has(&adt("A31", &[PID, "PV1|1|U"]), "encounter"));
    assert!(has(&adt("A08", &[PID, "PV1|1|U|CAB"]), "encounter"));
    assert!(has(&adt("A08", &[PID, "PV1|1|O"]), "encounter"));
}

#[test]
fn milliseconds_without_the_point_are_read() {
    let visit = format!("PV1|1|O|{}V1{}20260914101530123", "|".repeat(16), "|".repeat(25));
    let set = adt("A04", &[PID, visit.as_str()]);
    let start = json(&set, "encounter")["period"]["start"].clone();
    assert_eq!(start, "2026-09-14T10:15:30.123+03:00");
}

#[test]
fn the_authority_of_a_place_without_a_number_stays() {
    let set = adt("A01", &[PID, "PV1|1|I|W1^2^3^^^^^^^^AUTH&1.2.3.4.5&ISO"]);
    let places: Vec<&str> = set.extra.iter().map(|extra| extra.place.0.as_str()).collect();
    assert!(places.contains(&"PV1-3.11.1"), "{places:?}");
}

#[test]
fn all_events_of_the_chapter_are_read() {
    for number in (1..=62).filter(|number| *number != 20) {
        let set = adt(
            &format!("A{number:02}"),
            &[PID, "PV1|1|O|||||||||||||||||V1^^^CODRUL^VN"],
        );
        assert!(has(&set, "patient"), "A{number:02}");
    }
}

mod laws {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Any bytes: a change set or a reason, never a panic.
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes);
        }

        /// Bytes behind a header that is right, with many delimiters among them.
        #[test]
        fn any_fields(event in 1..63_u8, fields in "(PID|PV1|PV2|NK1|AL1|DG1|PR1|IN1|MRG|ROL|PD1|EVN|NPU)(\\|[0-9a-zA-Z ^~&\\\\\"ăș.+-]{0,24}){0,60}") {
            let text = format!("MSH|^~\\&|A|B|C|D|20260914||ADT^A{event:02}|1|P|2.5.1\rPID|1||1||a\r{fields}\r");
            let _ = read(text.as_bytes());
        }

        /// A sample with one byte changed.
        #[test]
        fn bent_samples(at in 0..5000_usize, byte in any::<u8>()) {
            let mut bytes = std::fs::read(&samples("adt-a01-admit-rich")[0]).unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = read(&bytes);
        }
    }
}

#[test]
fn an_event_that_registers_nobody_says_so() {
    for (event, registers_nobody) in [
        ("A01", false),
        ("A08", false),
        ("A31", false),
        ("A47", false),
        ("A02", true),
        ("A03", true),
        ("A12", true),
        ("A40", true),
        ("A60", true),
    ] {
        let set = adt(event, &[PID]);
        assert_eq!(set.changes[0].find.registers_nobody, registers_nobody, "{event}");
    }
}

#[test]
fn each_list_that_may_be_said_whole_is_read_as_one() {
    let mut pid = [""; 40];
    (pid[0], pid[3], pid[5], pid[11], pid[13]) =
        ("PID", "70001", "Pop^Ana", "Str. Noua 1^^Dej", "0721^PRN^CP");
    (pid[15], pid[18], pid[26], pid[39]) = ("ro", "ACC1", "RO", "DE");
    let (mut pv1, mut pv2) = ([""; 39], [""; 23]);
    (pv1[0], pv1[2], pv1[4], pv1[15]) = ("PV1", "I", "R", "A1");
    (pv1[16], pv1[19], pv1[38]) = ("VIP", "V-1", "D1");
    (pv2[0], pv2[3], pv2[22]) = ("PV2", "R1^Reason", "Y");
    let text = message(&[
        r"MSH|^~\&|A|B|C|D|20260914091530||ADT^A08^ADT_A01|1|P|2.5.1",
        "EVN|A08",
        &pid.join("|"),
        "NK1|1|Pop^Ion|SPO",
        &pv1.join("|"),
        &pv2.join("|"),
        "DG1|1||J18^p^I10|||F",
    ]);
    let mut obr = [""; 32];
    (obr[0], obr[2], obr[4], obr[13]) = ("OBR", "O-1", "GLU^g^L", "Info");
    (obr[24], obr[31]) = ("LAB", "R50^x^I10");
    let order = message(&[
        r"MSH|^~\&|A|B|C|D|20260914091530||ORM^O01|1|P|2.5.1",
        "PID|1||70001||Pop^Ana",
        "ORC|NW|O-1",
        &obr.join("|"),
    ]);
    for name in super::SNAPSHOTS {
        let profile = Profile {
            snapshots: [(*name).to_owned()].into(),
            ..Profile::default()
        };
        let differs = [&text, &order].iter().any(|text| {
            let as_ever = decode(text, &Profile::default()).unwrap();
            decode(text, &profile).unwrap() != as_ever
        });
        assert!(differs, "{name}");
    }
}

#[test]
fn contacts_and_diagnoses_that_are_said_whole_go_where_they_are_left_out() {
    let profile = Profile {
        snapshots: ["NK1".to_owned(), "DG1".to_owned()].into(),
        ..Profile::default()
    };
    let said = |rest: &[&str]| {
        let head = [
            r"MSH|^~\&|A|B|C|D|20260914091530||ADT^A08^ADT_A01|1|P|2.5.1",
            "EVN|A08",
            "PID|1||70001^^^C^MR||Pop^Ana",
        ];
        let (kin, others): (Vec<&str>, Vec<&str>) = rest.iter().partition(|line| line.starts_with("NK1"));
        let visit = ["PV1|1|I|||||||||||||||||V-1^^^C^VN"];
        decode(&message(&[&head[..], &kin, &visit, &others].concat()), &profile).unwrap()
    };
    let both = said(&[
        "NK1|1|Pop^Ion|SPO",
        "NK1|2|Pop^Maria|MTH",
        "DG1|1||J18^p^I10|||F",
        "DG1|2||I10^h^I10|||F",
    ]);
    let counts = |sets: &[ChangeSet]| {
        let clinic = super::said::told(sets);
        let count = |kind, field: &str| {
            let all = super::said::of_kind(&clinic, kind);
            all[0][field].as_array().map_or(0, Vec::len)
        };
        [
            count(clinic::Kind::Patient, "contacts"),
            count(clinic::Kind::Encounter, "diagnoses"),
        ]
    };
    assert_eq!(counts(std::slice::from_ref(&both)), [2, 2]);
    let one = said(&["NK1|1|Pop^Ion|SPO", "DG1|1||I10^h^I10|||F"]);
    assert_eq!(counts(&[both.clone(), one]), [1, 1]);
    assert_eq!(
        counts(&[both.clone(), said(&[])]),
        [2, 2],
        "nothing is said of them"
    );
    let nothing = said(&[r#"NK1|""|""|"""#, r#"DG1|""|""|"""#]);
    assert_eq!(
        nothing
            .changes
            .iter()
            .filter(|change| change.kind() == clinic::Kind::RelatedPerson)
            .count(),
        0
    );
    assert_eq!(counts(&[both, nothing]), [0, 0]);
}
