//! What a question for planned steps is answered from.

use clinic::Kind;
use clinic::ask::{Found, WorklistQuestion};
use clinic::people::Patient;
use clinic::value::PersonName;
use clinic::worklist::entries;
use jiff::civil::date;
use jiff::tz::TimeZone;

use super::{Place, eventually};
use crate::run::gather::gather;

const IN: &str =
    "id = \"in\"\nsource.fake.name = \"in\"\n[[step]]\ndecode = \"text\"\n[[step]]\napply = true\n";

/// A patient, and an order for them with one step.
fn order(number: &str, family: &str, modality: &str, start: &str) -> String {
    let start = match start {
        "" => String::new(),
        start => format!(r#","start":"{start}""#),
    };
    format!(
        r#"{{"changes":[
            {{"key":"p","say":{{"Patient":{{"identifiers":[{{"system":"TEST","value":"P-{number}"}}],
              "names":[{{"family":"{family}","given":["Ana"]}}]}}}}}},
            {{"key":"d","say":{{"Practitioner":{{"identifiers":[{{"system":"TEST","value":"D-1"}}],"names":[{{"family":"Pop"}}]}}}}}},
            {{"key":"v","say":{{"Encounter":{{"identifiers":[{{"system":"TEST","value":"V-{number}"}}],"patient":{{"local":"p"}}}}}}}},
            {{"key":"o","say":{{"Order":{{"identifiers":[{{"system":"TEST","value":"O-{number}"}}],"status":"active",
              "patient":{{"local":"p"}},"encounter":{{"local":"v"}},"requester":{{"local":"d"}},
              "imaging":{{"accession":"A-{number}","steps":[{{"id":"S-{number}","modality":"{modality}"{start}}}]}}}}}}}}]}}"#
    )
}

fn booked(number: &str, start: &str, status: &str) -> String {
    format!(
        r#"{{"changes":[
            {{"key":"p","say":{{"Patient":{{"identifiers":[{{"system":"TEST","value":"P-{number}"}}]}}}}}},
            {{"key":"o","say":{{"Order":{{"identifiers":[{{"system":"TEST","value":"O-{number}"}}],"patient":{{"local":"p"}}}}}}}},
            {{"key":"b","say":{{"Appointment":{{"identifiers":[{{"system":"TEST","value":"B-{number}"}}],"status":"{status}",
              "patient":{{"local":"p"}},"start":"{start}","orders":[{{"local":"o"}}]}}}}}}]}}"#
    )
}

fn steps(found: &Found) -> Vec<String> {
    let mut steps: Vec<String> = entries(found)
        .iter()
        .filter_map(|entry| entry.step.id.clone())
        .collect();
    steps.sort();
    steps
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_planned_is_gathered_with_what_stands_around_it() {
    let place = Place::new();
    let running = place.start(place.channels(&[IN])).await;
    for text in [
        order("1", "Popescu", "CT", "2026-11-27T08:30:00+02:00"),
        order("2", "Ionescu", "MR", "2026-11-27T09:00:00+02:00"),
        order("3", "Țîră", "CT", "2026-12-04T09:00:00+02:00"),
        order("4", "Marin", "CT", ""),
        order("5", "Marin", "CT", "2026-11-27T10:00:00+02:00"),
        booked("4", "2026-11-27T11:00:00+02:00", "booked"),
        booked("5", "2026-12-04T11:00:00+02:00", "booked"),
    ] {
        let told = running.send("in", &text).await;
        assert_eq!(told.note, None);
    }
    let store = running.engine.store();
    let zone = TimeZone::get("Europe/Bucharest").unwrap();
    let today = date(2026, 11, 26);
    let ask = async |question: WorklistQuestion| gather(&**store, &question, &zone, today).await.unwrap();
    let day = |day| WorklistQuestion {
        from: Some(date(2026, 11, day)),
        to: Some(date(2026, 11, day)),
        ..WorklistQuestion::default()
    };
    let found = ask(WorklistQuestion::default()).await;
    assert_eq!(steps(&found), ["S-1", "S-2", "S-3", "S-4", "S-5"]);
    let around = |kind| {
        found
            .around
            .values()
            .filter(|record| record.aggregate.kind() == kind)
            .count()
    };
    let counts = [
        Kind::Patient,
        Kind::Practitioner,
        Kind::Encounter,
        Kind::Appointment,
    ]
    .map(around);
    assert_eq!(counts, [5, 1, 5, 2]);
    let first = &entries(&found)[0];
    let name = |patient: &Patient| {
        patient
            .names
            .first()
            .and_then(|name: &PersonName| name.family.clone())
    };
    assert_eq!(name(first.patient).as_deref(), Some("Popescu"));
    assert!(first.requester.is_some() && first.encounter.is_some());

    // Of the day, with what was moved to it or away from it: the format looks at each.
    assert_eq!(steps(&ask(day(27)).await), ["S-1", "S-2", "S-4", "S-5"]);
    let moved = WorklistQuestion {
        from: Some(date(2026, 12, 4)),
        to: Some(date(2026, 12, 4)),
        ..WorklistQuestion::default()
    };
    assert_eq!(steps(&ask(moved).await), ["S-3", "S-5"]);
    let with = |change: &dyn Fn(&mut WorklistQuestion)| {
        let mut question = WorklistQuestion::default();
        change(&mut question);
        question
    };
    let mr = with(&|question| question.modalities = vec!["MR".into()]);
    assert_eq!(steps(&ask(mr).await), ["S-2"]);
    let number = with(&|question| question.patient = Some("P-3".into()));
    assert_eq!(steps(&ask(number).await), ["S-3"]);
    let nobody = with(&|question| question.patient = Some("P-9".into()));
    assert!(steps(&ask(nobody).await).is_empty());
    let name = with(&|question| question.name = Some("tira".into()));
    assert_eq!(
        steps(&ask(name).await).len(),
        5,
        "few are looked at by the format, without a search for the name"
    );
    let short = with(&|question| question.name = Some("P".into()));
    assert_eq!(
        steps(&ask(short).await).len(),
        5,
        "too little to search by is left to the format"
    );
    let accession = with(&|question| question.accession = Some("A-2".into()));
    assert_eq!(steps(&ask(accession).await), ["S-2"]);
    let study = entries(&found)[0].imaging.study_uid.clone();
    let study = with(&|question| question.study = study.clone());
    assert_eq!(steps(&ask(study).await), ["S-1"]);

    running
        .send("in", &booked("5", "2026-12-04T11:00:00+02:00", "cancelled"))
        .await;
    assert_eq!(steps(&ask(WorklistQuestion::default()).await).len(), 4);
}

/// Whoever asks first after a start waits no longer than others: it is read without a question.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_planned_is_read_beside_the_start_where_questions_are_answered() {
    let place = Place::new();
    let running = place.start(place.channels(&[IN])).await;
    let told = running
        .send("in", &order("1", "Popescu", "CT", "2026-11-27T08:30:00+02:00"))
        .await;
    assert_eq!(told.note, None);
    assert!(!running.engine.store().knows_planned(), "nobody asks here");
    running.engine.stop().await.unwrap();
    drop(running);
    let asked = IN.replacen("[[step]]", "source.questions = \"clinic\"\n[[step]]", 1);
    let running = place.start(place.channels(&[&asked])).await;
    eventually(async || running.engine.store().knows_planned().then_some(())).await;
    running.engine.stop().await.unwrap();
}
