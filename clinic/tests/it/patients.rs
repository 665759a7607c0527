//! Who is meant.

use clinic::Kind;
use clinic::apply::{ApplyError, Choice, Decision, OnUnmatched};
use clinic::change_set::Missing;
use clinic::patch::Items;
use clinic::value::{Identifier, Ref};
use uuid::Uuid;

use crate::people::*;

#[test]
fn a_new_one_is_made_once_and_found_by_any_number() {
    let mut play = Play::new();
    let first = play.takes(&set(vec![patient(
        "p",
        vec![chart("1"), cnp("2850312120015")],
        "Pop",
    )]));
    assert_eq!(first.writes[0].verb, "created");
    let id = first.ids["p"].1;
    let record = play.record(Kind::Patient, id);
    assert_eq!(
        (record.meta.version, record.meta.site.as_deref()),
        (1, Some("north"))
    );

    let second = play.takes(&set(vec![patient("p", vec![cnp("2850312120015")], "Popa")]));
    assert_eq!(second.ids["p"].1, id);
    assert_eq!(second.writes[0].verb, "updated");
    assert!(!second.writes[0].keys_changed);
    assert_eq!(play.patient(id).names, [named("Popa")]);
    let versions = play.clinic.versions(Kind::Patient, id);
    assert_eq!(versions.len(), 2);
    assert_eq!(versions[1].meta.created_at, versions[0].meta.created_at);
    assert!(versions[1].meta.updated_at > versions[0].meta.updated_at);
    assert_ne!(versions[1].meta.source, versions[0].meta.source);
}

#[test]
fn nothing_new_writes_nothing() {
    let mut play = Play::new();
    let words = set(vec![patient("p", vec![chart("1")], "Pop")]);
    play.takes(&words);
    let again = play.takes(&words);
    assert!(again.writes.is_empty());
    assert_eq!(again.known.len(), 1);
    assert_eq!(again.reads.len(), 1);
    assert_eq!(again.finds.len(), 1);
}

#[test]
fn two_who_match_are_parked_with_both() {
    let mut play = Play::new();
    let one = play.takes(&set(vec![patient("p", vec![chart("1")], "Pop")])).ids["p"].1;
    let two = play
        .takes(&set(vec![patient("p", vec![cnp("2850312120015")], "Pop")]))
        .ids["p"]
        .1;
    let (why, candidates) = play.parks(&set(vec![patient(
        "p",
        vec![chart("1"), cnp("2850312120015")],
        "Pop",
    )]));
    assert!(why.contains("2 of kind Patient"), "{why}");
    assert_eq!(candidates.iter().map(|c| c.id).collect::<Vec<_>>(), [one, two]);
    assert_eq!(candidates[0].why, "matches by MR");
}

#[test]
fn another_national_number_is_parked() {
    let mut play = Play::new();
    play.takes(&set(vec![patient(
        "p",
        vec![chart("1"), cnp("2850312120015")],
        "Pop",
    )]));
    let (why, candidates) = play.parks(&set(vec![patient(
        "p",
        vec![chart("1"), cnp("1700425400127")],
        "Pop",
    )]));
    assert!(why.contains("national number"), "{why}");
    assert!(!why.contains("1700425400127"));
    assert_eq!(candidates.len(), 1);
}

#[test]
fn what_a_person_decides_stands_before_all_that_matches() {
    let mut play = Play::new();
    let ids = play.takes(&set(vec![
        patient("one", vec![chart("1")], "Pop"),
        patient("two", vec![cnp("2850312120015")], "Rusu"),
    ]));
    let (one, two) = (ids.ids["one"].1, ids.ids["two"].1);
    let both = set(vec![
        patient("p", vec![chart("1"), cnp("2850312120015")], "Pop"),
        order("order", "p", vec![number("HIS", "PLAC", "1")]),
    ]);
    let about = match play.tries(&both) {
        Err(ApplyError::Parked { about, .. }) => about,
        other => panic!("not parked: {other:?}"),
    };
    assert_eq!(
        about.as_deref(),
        Some("p"),
        "the change that it is about is named"
    );

    // Of another change: it is none of this one's business.
    let decide = |key: &str, choice: Choice| Decision {
        key: key.to_owned(),
        choice,
    };
    play.decisions = vec![decide("other", Choice::Is(one))];
    play.parks(&both);
    // Somebody who is not there.
    play.decisions = vec![decide("p", Choice::Is(Uuid::from_u128(9999)))];
    assert!(matches!(play.tries(&both), Err(ApplyError::Refused(_))));

    play.decisions = vec![decide("p", Choice::Is(two))];
    let applied = play.takes(&both);
    assert_eq!(applied.ids["p"].1, two);
    assert_eq!(
        play.patient(one).identifiers.len(),
        1,
        "nothing of it goes to the other"
    );
    let order = &play.record(Kind::Order, applied.ids["order"].1).aggregate;
    assert_eq!(
        order.patient().and_then(Ref::id),
        Some(two),
        "what hangs on it goes with it"
    );

    // The last decision about the same counts, whatever the others said.
    play.decisions = vec![
        decide("p", Choice::New),
        decide("p", Choice::Is(one)),
        decide("p", Choice::Is(two)),
        decide("other", Choice::Is(one)),
    ];
    assert_eq!(play.takes(&both).ids["p"].1, two);

    play.decisions = vec![decide("p", Choice::Is(one)), decide("p", Choice::New)];
    let applied = play.takes(&set(vec![patient("p", vec![chart("1")], "Ionescu")]));
    assert!(applied.ids["p"].1 != one && applied.ids["p"].1 != two);
    assert_eq!(play.count(Kind::Patient), 3);
    let applied = play.takes(&set(vec![patient("p", vec![], "Nemo")]));
    assert_eq!(
        play.patient(applied.ids["p"].1).names,
        [named("Nemo")],
        "also without a number"
    );

    // Another national number than the chart has: the same person all the same.
    play.decisions = vec![decide("p", Choice::Is(two))];
    let applied = play.takes(&set(vec![patient("p", vec![cnp("1700425400127")], "")]));
    assert_eq!(applied.ids["p"].1, two);
}

#[test]
fn who_is_not_found_is_made_parked_or_left_out() {
    let mut play = Play::new();
    let (why, _) = play.parks(&set(vec![patient("p", vec![], "Pop")]));
    assert!(why.contains("names no identifier"), "{why}");
    play.on_unmatched = OnUnmatched::Park;
    let (why, candidates) = play.parks(&set(vec![patient("p", vec![chart("1")], "Pop")]));
    assert!(why.contains("No patient"), "{why}");
    assert!(candidates.is_empty());
    let mut skipped = patient("p", vec![chart("1")], "Pop");
    skipped.find.missing = Missing::Skip;
    let applied = play.takes(&set(vec![skipped]));
    assert!(applied.writes.is_empty() && applied.ids.is_empty());
    assert_eq!(applied.left_out, ["p"]);
    assert_eq!(applied.finds.len(), 1, "nobody is a finding too");
}

#[test]
fn the_same_new_one_twice_in_a_set_is_one() {
    let mut play = Play::new();
    let applied = play.takes(&set(vec![
        patient("a", vec![chart("1")], "Pop"),
        patient("b", vec![chart("1"), cnp("2850312120015")], ""),
        order("order", "b", vec![number("HIS", "PLAC", "1")]),
    ]));
    assert_eq!(applied.ids["a"], applied.ids["b"]);
    assert_eq!(play.count(Kind::Patient), 1);
    let patient = play.patient(applied.ids["a"].1);
    assert_eq!(patient.identifiers.len(), 2);
    assert_eq!(patient.names, [named("Pop")]);
}

#[test]
fn numbers_without_a_system_are_told_apart_by_kind() {
    let mut play = Play::new();
    play.takes(&set(vec![patient("p", vec![number("", "MR", "7")], "Pop")]));
    play.takes(&set(vec![patient("p", vec![number("", "PI", "7")], "Rusu")]));
    play.takes(&set(vec![patient("p", vec![number("", "MR", "7")], "Pop")]));
    assert_eq!(play.count(Kind::Patient), 2);
}

#[test]
fn an_id_has_to_be_there() {
    let mut play = Play::new();
    let mut by_id = patient("p", vec![], "Pop");
    by_id.find.id = Some(Uuid::from_u128(99));
    match play.tries(&set(vec![by_id.clone()])) {
        Err(ApplyError::Refused(error)) => assert_eq!(error.reason.code(), 204),
        other => panic!("{other:?}"),
    }
    by_id.find.missing = Missing::Skip;
    assert_eq!(play.takes(&set(vec![by_id.clone()])).left_out, ["p"]);
    let id = play.takes(&set(vec![patient("p", vec![chart("1")], "Pop")])).ids["p"].1;
    by_id.find.id = Some(id);
    by_id.say = patient("p", vec![], "Rusu").say;
    play.takes(&set(vec![by_id]));
    assert_eq!(play.patient(id).names, [named("Rusu")]);
}

#[test]
fn what_a_new_one_was_looked_for_by_belongs_to_it() {
    let mut play = Play::new();
    let mut change = patient("p", vec![], "Pop");
    change.find.identifiers = vec![chart("1")];
    let id = play.takes(&set(vec![change.clone()])).ids["p"].1;
    assert_eq!(play.patient(id).identifiers, [chart("1")]);
    assert!(play.takes(&set(vec![change])).writes.is_empty());
}

#[test]
fn references_by_id_are_checked() {
    let mut play = Play::new();
    let mut change = order("order", "nobody", vec![number("HIS", "PLAC", "1")]);
    if let clinic::Body::Order(order) = &mut change.say {
        order.patient = clinic::patch::Patch::Set(Ref::Id(Kind::Patient, Uuid::from_u128(7)));
    }
    assert!(matches!(
        play.tries(&set(vec![change])),
        Err(ApplyError::Refused(_))
    ));
}

#[test]
fn one_key_names_one_thing() {
    let mut play = Play::new();
    let applied = play.tries(&set(vec![
        patient("x", vec![chart("1")], "Pop"),
        doctor("x", "1", "Rusu"),
    ]));
    match applied {
        Err(ApplyError::Refused(error)) => assert_eq!(error.place, Some("changes[1].key".into())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_list_of_numbers_that_is_said_whole_replaces_keys() {
    let mut play = Play::new();
    let id = play
        .takes(&set(vec![patient("p", vec![chart("1"), chart("2")], "Pop")]))
        .ids["p"]
        .1;
    let mut change = patient("p", vec![], "");
    change.find.identifiers = vec![chart("1")];
    if let clinic::Body::Patient(patient) = &mut change.say {
        patient.identifiers = Items::Replace(vec![chart("1"), Identifier::new(Some("SUD"), "5")]);
    }
    let applied = play.takes(&set(vec![change]));
    assert!(applied.writes[0].keys_changed);
    assert_eq!(
        play.takes(&set(vec![patient(
            "p",
            vec![Identifier::new(Some("SUD"), "5")],
            ""
        )]))
        .ids["p"]
            .1,
        id
    );
    assert_ne!(
        play.takes(&set(vec![patient("p", vec![chart("2")], "")])).ids["p"].1,
        id
    );
}
