//! What a person wrote stays when a feed says otherwise: for every aggregate and every field.

use clinic::apply::Applied;
use clinic::held::ENDS;
use clinic::{ChangeSet, Kind, json};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::made::{Maker, read};
use crate::people::*;

/// A set about one aggregate with a number, and the two patients that its references lead to.
fn about(kind: Kind, id: Option<Uuid>, say: Value) -> ChangeSet {
    let patient = |key: &str| json!({ "key": key, "say": { "Patient": { "identifiers": { "merge": [{ "system": "T", "value": key }] } } } });
    let find = id.map_or_else(
        || json!({ "identifiers": [{ "system": "T", "value": "it" }] }),
        |id| json!({ "id": id }),
    );
    let it = json!({ "key": "it", "find": find, "say": { (kind.as_str()): say } });
    read(&json!({ "changes": [patient("one"), patient("two"), it] }))
}

fn field_of(play: &Play, kind: Kind, id: Uuid, field: &str) -> Value {
    let bytes = play.record(kind, id).aggregate.to_json().expect("JSON");
    let value: Value = serde_json::from_slice(&bytes).expect("JSON");
    value[field].clone()
}

fn kept(applied: &Applied, id: Uuid) -> Vec<(&str, &str)> {
    let of = applied.kept.iter().filter(|kept| kept.id == id);
    of.map(|kept| (kept.field.as_str(), kept.by.as_str())).collect()
}

fn actor_says(play: &mut Play, set: &ChangeSet) -> Applied {
    play.actor = Some("reception");
    let applied = play.takes(set);
    play.actor = None;
    applied
}

#[test]
fn what_a_person_wrote_stays_in_every_field_of_every_aggregate() {
    let maker = Maker::new();
    let mut count = 0;
    for kind in Kind::ALL {
        for field in maker.fields(*kind) {
            let [mine, theirs] = [0, 1].map(|n| maker.value(*kind, &field, n));
            // A state that moves on has a law of its own, and numbers too.
            // (What is said of a record that a link has replaced goes to the other one.)
            if mine == theirs || field == "status" || field == "identifiers" || field == "links" {
                continue;
            }
            // Another content of an object is parked, whoever says it.
            if *kind == Kind::ImagingInstance && field == "content" {
                continue;
            }
            count += 1;
            let case = format!("{}.{field}", kind.as_str());
            let says = |value: &Value| json!({ (field.as_str()): value });
            let mut play = Play::new();
            let id = play.takes(&about(*kind, None, json!({}))).ids["it"].1;
            actor_says(&mut play, &about(*kind, Some(id), says(&mine)));
            let written = field_of(&play, *kind, id, &field);
            assert!(!written.is_null(), "{case} was written");

            for said in [&theirs, &Value::Null] {
                let applied = play.takes(&about(*kind, Some(id), says(said)));
                let now = field_of(&play, *kind, id, &field);
                // To a list the feed may add what the person said nothing of.
                let stays = match (&written, &now) {
                    (Value::Array(written), Value::Array(now)) => {
                        written.iter().all(|entry| now.contains(entry))
                    }
                    (written, now) => written == now && applied.writes.is_empty(),
                };
                assert!(stays, "{case} stays: {written} is {now}");
                assert_eq!(
                    kept(&applied, id),
                    [(field.as_str(), "reception")],
                    "{case} is told"
                );
            }
            let same = play.takes(&about(*kind, Some(id), says(&mine)));
            assert!(same.kept.is_empty(), "{case}: the same is no contradiction");

            play.overwrite = true;
            play.takes(&about(*kind, Some(id), says(&theirs)));
            play.overwrite = false;
            let overwritten = field_of(&play, *kind, id, &field);
            assert_ne!(overwritten, written, "{case} is overwritten");
            let back = play.takes(&about(*kind, Some(id), says(&mine)));
            // Of an imaging part nothing goes by being left out: it has the steps of both by now.
            if field != "imaging" {
                assert_eq!(
                    field_of(&play, *kind, id, &field),
                    written,
                    "{case} is the feed's again"
                );
            }
            assert!(back.kept.is_empty(), "{case} is held no more");
        }
    }
    assert!(count > 150, "{count} fields were looked at");
}

#[test]
fn a_state_moves_on_unless_a_person_ended_it() {
    let maker = Maker::new();
    let (mut moved, mut stayed) = (0, 0);
    for kind in Kind::ALL {
        let states = maker.words(*kind, "status");
        let says = |state: &str| json!({ "status": state });
        for first in &states {
            for next in states.iter().filter(|next| *next != first) {
                // A report that is done is not to come again, whoever wrote it: see `late`.
                if *kind == Kind::Result
                    && ["final", "amended", "corrected", "appended"].contains(&first.as_str())
                    && ["registered", "partial", "preliminary"].contains(&next.as_str())
                {
                    continue;
                }
                let mut play = Play::new();
                let id = actor_says(&mut play, &about(*kind, None, says(first))).ids["it"].1;
                let applied = play.takes(&about(*kind, Some(id), says(next)));
                let now = field_of(&play, *kind, id, "status");
                if ENDS.contains(&first.as_str()) {
                    stayed += 1;
                    assert_eq!(now, **first, "{} {first} → {next}", kind.as_str());
                    assert_eq!(kept(&applied, id), [("status", "reception")]);
                } else {
                    moved += 1;
                    assert_eq!(now, **next, "{} {first} → {next}", kind.as_str());
                    assert!(applied.kept.is_empty());
                }
            }
        }
    }
    assert!(moved > 100 && stayed > 100, "{moved} moved, {stayed} stayed");
}

/// A state that a feed moved is the feed's, also where it ended there.
#[test]
fn a_state_that_a_feed_ended_is_not_the_persons() {
    let mut play = Play::new();
    let says = |state: &str| json!({ "status": state });
    let id = actor_says(&mut play, &about(Kind::Order, None, says("active"))).ids["it"].1;
    play.takes(&about(Kind::Order, Some(id), says("completed")));
    play.takes(&about(Kind::Order, Some(id), says("active")));
    assert_eq!(field_of(&play, Kind::Order, id, "status"), "active");
}

#[test]
fn of_a_list_only_what_the_person_wrote_is_held() {
    let mut play = Play::new();
    let says = |list: Value| json!({ "telecoms": list });
    let mobile = |value: &str| json!({ "system": "phone", "use": "mobile", "value": value });
    let mail = |value: &str| json!({ "system": "email", "value": value });
    let id = play
        .takes(&about(Kind::Patient, None, says(json!([mail("a@x")]))))
        .ids["it"]
        .1;
    actor_says(
        &mut play,
        &about(Kind::Patient, Some(id), says(json!({ "merge": [mobile("1")] }))),
    );

    let merged = json!({ "merge": [mobile("2"), mail("b@x")] });
    let applied = play.takes(&about(Kind::Patient, Some(id), says(merged)));
    assert_eq!(
        field_of(&play, Kind::Patient, id, "telecoms"),
        json!([mail("b@x"), mobile("1")])
    );
    assert_eq!(kept(&applied, id), [("telecoms", "reception")]);

    let whole = json!([mobile("3"), mail("c@x")]);
    play.takes(&about(Kind::Patient, Some(id), says(whole)));
    assert_eq!(
        field_of(&play, Kind::Patient, id, "telecoms"),
        json!([mobile("1"), mail("c@x")])
    );

    play.takes(&about(Kind::Patient, Some(id), says(Value::Null)));
    assert_eq!(
        field_of(&play, Kind::Patient, id, "telecoms"),
        json!([mobile("1")])
    );

    // What a person took out does not come back.
    actor_says(&mut play, &about(Kind::Patient, Some(id), says(Value::Null)));
    let applied = play.takes(&about(
        Kind::Patient,
        Some(id),
        says(json!({ "merge": [mobile("4"), mail("d@x")] })),
    ));
    assert_eq!(
        field_of(&play, Kind::Patient, id, "telecoms"),
        json!([mail("d@x")])
    );
    assert_eq!(kept(&applied, id), [("telecoms", "reception")]);
}

#[test]
fn a_feed_adds_numbers_and_completes_values() {
    let mut play = Play::new();
    let number = |value: &str| json!({ "merge": [{ "system": "LAB", "value": value }] });
    let period = |period: Value| json!({ "period": period });
    let id = actor_says(
        &mut play,
        &about(Kind::Encounter, None, period(json!({ "start": "2026-05-05" }))),
    )
    .ids["it"]
        .1;
    play.takes(&about(
        Kind::Encounter,
        Some(id),
        json!({ "identifiers": number("7") }),
    ));
    let numbers = field_of(&play, Kind::Encounter, id, "identifiers");
    assert_eq!(numbers.as_array().map(Vec::len), Some(2));

    let whole = json!({ "start": "2026-05-05", "end": "2026-05-06" });
    let applied = play.takes(&about(Kind::Encounter, Some(id), period(whole.clone())));
    assert_eq!(field_of(&play, Kind::Encounter, id, "period"), whole);
    assert!(applied.kept.is_empty());
    let other = json!({ "start": "2026-05-04", "end": "2026-05-06" });
    let applied = play.takes(&about(Kind::Encounter, Some(id), period(other)));
    assert_eq!(field_of(&play, Kind::Encounter, id, "period"), whole);
    assert_eq!(kept(&applied, id), [("period", "reception")]);
}

#[test]
fn records_that_a_person_parted_are_not_joined_again_by_a_feed() {
    let mut play = Play::new();
    let both = || {
        let with = |key: &str| patient(key, vec![number("NORD", "MR", key)], "");
        vec![with("1"), with("2")]
    };
    let ids = play.takes(&merging(both(), "1", "2", false)).ids;
    let (one, two) = (ids["1"].1, ids["2"].1);
    assert_eq!(play.patient(two).active, Some(false));
    play.actor = Some("registry");
    let by_id = json!({
        "changes": [
            { "key": "s", "find": { "id": one }, "say": { "Patient": {} } },
            { "key": "o", "find": { "id": two }, "say": { "Patient": {} } },
        ],
        "merges": [{ "survivor": "s", "old": "o", "undo": true }],
    });
    let undone = play.takes(&read(&by_id));
    let mut verbs: Vec<&str> = undone.writes.iter().map(|write| write.verb).collect();
    verbs.sort_unstable();
    assert_eq!(verbs, ["restored", "unmerged"]);
    play.actor = None;
    let again = play.takes(&merging(both(), "1", "2", false));
    assert!(again.writes.is_empty());
    assert_eq!(kept(&again, two), [("merge", "registry")]);
    play.overwrite = true;
    play.takes(&merging(both(), "1", "2", false));
    assert_eq!(play.patient(two).active, Some(false));
}

#[test]
fn who_has_seen_another_version_is_refused() {
    let mut play = Play::new();
    let id = play
        .takes(&about(Kind::Patient, None, json!({ "birth_date": "1980" })))
        .ids["it"]
        .1;
    let say = |version: u64| {
        read(
            &json!({ "changes": [{ "key": "it", "find": { "id": id, "version": version },
            "say": { "Patient": { "birth_date": "1981" } } }] }),
        )
    };
    let refused = play.tries(&say(2)).expect_err("another version");
    assert_eq!(
        refused.to_string(),
        "changes[0].find.version: The Patient is at version 1, and version 2 was expected. Read it again."
    );
    play.takes(&say(1));
    let refused = play.tries(&say(1)).expect_err("it has moved");
    assert!(refused.to_string().contains("is at version 2"));
}

/// What the schema makes is read, and written as it was.
#[test]
fn what_the_schema_makes_is_read_and_written_again() {
    let maker = Maker::new();
    for kind in Kind::ALL {
        for n in [0, 1] {
            let say: Map<String, Value> = maker
                .fields(*kind)
                .into_iter()
                .map(|field| (field.clone(), maker.value(*kind, &field, n)))
                .collect();
            let set = about(*kind, None, Value::Object(say));
            let bytes = json::write(&set).expect("JSON");
            assert!(json::read(&bytes) == Ok(set), "{}", kind.as_str());
        }
    }
}
