//! Laws that hold whatever is said.

use std::collections::BTreeSet;

use clinic::Kind;
use clinic::change_set::{Change, ChangeSet};
use clinic::patch::{Field, Items, Patch};
use clinic::people::{PatientChange, Sex};
use clinic::search::fold;
use clinic::value::{Concept, Decimal, Identifier, Telecom, TelecomSystem, TelecomUse};
use proptest::prelude::*;

use crate::people::*;

fn identifier() -> impl Strategy<Value = Identifier> {
    (
        "[12]",
        prop_oneof![Just(""), Just("NORD"), Just("SUD")],
        prop_oneof![Just("MR"), Just("PI")],
    )
        .prop_map(|(value, system, kind)| number(system, kind, &value))
}

fn telecom() -> impl Strategy<Value = Telecom> {
    let system = prop::option::of(prop_oneof![
        Just(TelecomSystem::Phone),
        Just(TelecomSystem::Email)
    ]);
    let usage = prop::option::of(prop_oneof![Just(TelecomUse::Home), Just(TelecomUse::Mobile)]);
    (system, usage, "[a-c]").prop_map(|(system, usage, value)| Telecom {
        system,
        usage,
        value: Some(value),
        ..Telecom::default()
    })
}

fn items<T: Clone + std::fmt::Debug + 'static>(
    entry: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Items<T>> {
    let list = prop::collection::vec(entry, 0..4).boxed();
    prop_oneof![
        Just(Items::Absent),
        Just(Items::Clear),
        list.clone().prop_map(Items::Replace),
        list.prop_map(Items::Merge),
    ]
    .boxed()
}

fn patch<T: Clone + std::fmt::Debug + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Patch<T>> {
    prop_oneof![
        Just(Patch::Absent),
        Just(Patch::Clear),
        value.prop_map(Patch::Set)
    ]
    .boxed()
}

prop_compose! {
    fn said()(
        identifiers in prop::collection::vec(identifier(), 1..3),
        names in items("[A-C]".prop_map(|family| named(&family))),
        telecoms in items(telecom()),
        citizenships in items("[a-c]".prop_map(Concept::words)),
        sex in patch(prop_oneof![Just(Sex::Male), Just(Sex::Female)]),
        birth_order in patch(0u32..3),
    ) -> PatientChange {
        PatientChange {
            identifiers: Items::Merge(identifiers),
            names, telecoms, citizenships, sex, birth_order,
            ..PatientChange::default()
        }
    }
}

fn words() -> impl Strategy<Value = ChangeSet> {
    (
        prop::collection::vec(said(), 1..3),
        prop::collection::vec("[12]", 0..3),
    )
        .prop_map(|(patients, orders)| {
            let mut changes: Vec<Change> = patients
                .into_iter()
                .enumerate()
                .map(|(idx, say)| Change::new(format!("p{idx}"), say))
                .collect();
            for (idx, value) in orders.into_iter().enumerate() {
                changes.push(order(
                    &format!("o{idx}"),
                    "p0",
                    vec![number("HIS", "PLAC", &value)],
                ));
            }
            set(changes)
        })
}

/// JSON out of the words of change sets.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::{Map, Value};
    let word = || {
        prop::sample::select(vec![
            "about",
            "changes",
            "merges",
            "key",
            "say",
            "find",
            "Patient",
            "Appointment",
            "names",
            "family",
            "merge",
            "birth_date",
            "local",
            "id",
            "patient",
            "status",
            "booked",
            "a",
            "1980",
            "identifiers",
            "value",
            "undo",
        ])
    };
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    let tree = leaf.prop_recursive(6, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word(), inner), 0..4).prop_map(|entries| {
                let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value));
                Value::Object(entries.collect::<Map<String, Value>>())
            }),
        ]
    });
    // Half of them are nearly right, so that something is looked at.
    let change = (word(), tree.clone())
        .prop_map(|(field, value)| serde_json::json!({ "changes": [{ "key": "a", "say": { "Patient": { field: value } } }] }));
    prop_oneof![tree, change]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// What was applied once changes nothing the second time.
    #[test]
    fn twice_is_once(earlier in prop::collection::vec(words(), 0..3), last in words()) {
        let mut play = Play::new();
        for set in &earlier {
            if let Ok(applied) = play.tries(set) {
                play.clinic.commit(&applied).expect("nothing moved");
            }
        }
        if let Ok(applied) = play.tries(&last) {
            play.clinic.commit(&applied).expect("nothing moved");
            // A set that brought two patients under one number may be ambiguous afterwards; it never writes.
            if let Ok(again) = play.tries(&last) && !again.writes.is_empty() {
                // One that says two things of one record takes an entry out and puts it back: at the end of its list, where
                // it stays.
                let ids: BTreeSet<_> = applied.ids.values().collect();
                prop_assert!(ids.len() < applied.ids.len());
                play.clinic.commit(&again).expect("nothing moved");
                prop_assert!(play.tries(&last).is_ok_and(|third| third.writes.is_empty()));
            }
        }
    }

    /// Merging twice is merging once.
    #[test]
    fn lists_settle(old in prop::collection::vec(telecom(), 0..5), new in items(telecom())) {
        let mut list = old;
        list.take(&new);
        let once = list.clone();
        prop_assert!(!list.take(&new));
        prop_assert_eq!(list, once);
    }

    /// A merge and its undoing leave the two records as they were.
    #[test]
    fn a_merge_can_be_undone(one in said(), two in said()) {
        let mut play = Play::new();
        let with = |say: &PatientChange, value: &str| {
            let mut say = say.clone();
            say.identifiers = Items::Merge(vec![number("KEY", "MR", value), number("BOTH", "PI", "x").clone()]);
            if value == "2" { say.identifiers = Items::Merge(vec![number("KEY", "MR", value)]); }
            set(vec![Change::new("p", say)])
        };
        let a = play.takes(&with(&one, "1")).ids["p"].1;
        let b = play.takes(&with(&two, "2")).ids["p"].1;
        let before = (play.patient(a).clone(), play.patient(b).clone());
        let merge = |undo| merging(
            vec![patient("s", vec![number("KEY", "MR", "1")], ""), patient("o", vec![number("KEY", "MR", "2")], "")],
            "s", "o", undo,
        );
        play.takes(&merge(false));
        prop_assert_eq!(play.patient(b).active, Some(false));
        play.takes(&merge(true));
        prop_assert!(play.patient(a) == &before.0);
        prop_assert!(play.patient(b) == &before.1);
        prop_assert_eq!(play.count(Kind::Patient), 2);
    }

    /// Absent, clear and set survive JSON.
    #[test]
    fn changes_survive_json(said in said()) {
        let json = serde_json::to_string(&said).expect("JSON");
        let back: PatientChange = serde_json::from_str(&json).expect("read again");
        prop_assert!(back == said);
    }

    /// A decimal number keeps every digit.
    #[test]
    fn decimals_keep_their_digits(text in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?") {
        let decimal: Decimal = text.parse().expect("a number");
        prop_assert_eq!(decimal.as_str(), text.as_str());
    }

    /// Any JSON is a change set or is not, with a place for each thing that is wrong, and one that is read is written
    /// as it was.
    #[test]
    fn any_json_is_read_or_refused(value in any_json()) {
        let bytes = serde_json::to_vec(&value).expect("JSON");
        let _ = clinic::json::keys(&bytes);
        match clinic::json::read(&bytes) {
            Ok(set) => {
                let written = clinic::json::write(&set).expect("JSON");
                prop_assert!(clinic::json::read(&written) == Ok(set));
            }
            Err(wrongs) => {
                prop_assert!(!wrongs.is_empty());
                for wrong in wrongs {
                    prop_assert!(wrong.pointer.is_empty() || wrong.pointer.starts_with('/'));
                }
            }
        }
    }

    /// No text makes the readers panic.
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        let _ = clinic::json::read(text.as_bytes());
        let _ = clinic::json::keys(text.as_bytes());
        let _ = text.parse::<Decimal>();
        let _ = text.parse::<clinic::value::When>();
        let _ = text.parse::<clinic::cnp::Cnp>();
        let _ = clinic::search::DateQuery::parse(&text, &jiff::tz::TimeZone::UTC);
        let folded = fold(&text);
        prop_assert_eq!(fold(&folded), folded);
    }
}
