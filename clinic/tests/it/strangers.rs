//! The right number with the wrong person.

use clinic::Kind;
use clinic::apply::{Choice, Decision};
use clinic::change_set::Change;
use clinic::patch::{Items, Patch};
use clinic::people::{PatientChange, PractitionerChange};
use clinic::value::{Identifier, PersonName, When};

use crate::people::*;

fn person(number: Identifier, given: &str, family: &str, born: &str) -> Change {
    Change::new(
        "p",
        PatientChange {
            identifiers: Items::merge(vec![number]),
            names: Items::merge(vec![PersonName {
                family: Some(family.to_owned()),
                given: vec![given.to_owned()],
                ..PersonName::default()
            }]),
            birth_date: match born {
                "" => Patch::Absent,
                born => Patch::Set(born.parse::<When>().expect("a date")),
            },
            ..PatientChange::default()
        },
    )
}

fn bare(value: &str) -> Identifier {
    number("", "", value)
}

#[test]
fn a_number_without_an_authority_is_followed_to_who_may_be_the_same_person() {
    let mut play = Play::new();
    let first = person(bare("1"), "Ana", "Pop", "1980-01-01");
    let id = play.takes(&set(vec![first])).ids["p"].1;
    play.channel = "laboratory";
    for (given, family, born) in [
        ("ANA", "POP", ""),
        ("Ana Maria", "Ionescu", "1980-01-01"),
        ("Pop", "Ana", "1981-02-03"),
        ("Áná", "Muntean", ""),
        ("Elena", "Rusu", "1980-01-01"),
        ("Elena", "Rusu", "1980"),
    ] {
        let said = set(vec![person(bare("1"), given, family, born)]);
        let found = play.tries(&said).expect("it may be the same").ids["p"].1;
        assert_eq!(found, id, "{given} {family} {born}");
    }
    for (given, family, born) in [("Dan", "Rusu", "1970-01-01"), ("Dan", "Rusu", "")] {
        let (why, candidates) = play.parks(&set(vec![person(bare("1"), given, family, born)]));
        assert!(why.contains("names no authority"), "{why}");
        assert_eq!(candidates.iter().map(|one| one.id).collect::<Vec<_>>(), [id]);
    }
}

#[test]
fn who_was_said_to_be_somebody_else_is_found_again_by_the_same_number() {
    let mut play = Play::new();
    let ana = set(vec![person(bare("1"), "Ana", "Pop", "1980-01-01")]);
    let dan = set(vec![person(bare("1"), "Dan", "Rusu", "1970-01-01")]);
    let one = play.takes(&ana).ids["p"].1;
    play.parks(&dan);
    play.decisions = vec![Decision {
        key: "p".to_owned(),
        choice: Choice::New,
    }];
    let other = play.takes(&dan).ids["p"].1;
    assert_ne!(one, other);
    play.decisions.clear();
    assert_eq!(play.takes(&ana).ids["p"].1, one);
    assert_eq!(play.takes(&dan).ids["p"].1, other);
    // Without a name nobody can say who of the two is meant.
    let (why, candidates) = play.parks(&set(vec![patient("p", vec![bare("1")], "")]));
    assert!(why.contains("2 of kind Patient"), "{why}");
    assert_eq!(candidates.len(), 2);
}

#[test]
fn who_was_unknown_is_named_by_whom_it_was_registered_by_and_by_a_person() {
    let mut play = Play::new();
    let unknown = set(vec![person(bare("1"), "Barbat", "Necunoscut", "")]);
    let known = set(vec![person(bare("1"), "Dan", "Rusu", "1970-01-01")]);
    let id = play.takes(&unknown).ids["p"].1;
    play.channel = "laboratory";
    play.parks(&known);
    play.actor = Some("reception");
    assert_eq!(play.tries(&known).expect("a person may").ids["p"].1, id);
    play.actor = None;
    play.channel = "";
    assert_eq!(play.takes(&known).ids["p"].1, id);
}

#[test]
fn a_registration_may_rename_whose_number_is_the_clinics_and_a_result_or_an_order_may_not() {
    let mut play = Play::new();
    let id = play
        .takes(&set(vec![person(chart("1"), "Ana", "Pop", "1980-01-01")]))
        .ids["p"]
        .1;
    let other = || person(chart("1"), "Dan", "Rusu", "1970-01-01");
    let (why, candidates) = play.parks(&set(vec![
        other(),
        order("o", "p", vec![number("HIS", "PLAC", "P1")]),
    ]));
    assert!(
        why.contains("another name") && !why.contains("authority"),
        "{why}"
    );
    assert_eq!(candidates[0].id, id);
    let hers = person(chart("1"), "Ana", "Pop", "");
    play.takes(&set(vec![
        hers,
        order("o", "p", vec![number("HIS", "PLAC", "P1")]),
    ]));
    assert_eq!(play.takes(&set(vec![other()])).ids["p"].1, id);
    // A national number is one person's.
    play.takes(&set(vec![person(
        cnp("2850312120015"),
        "Ana",
        "Pop",
        "1985-03-12",
    )]));
    play.takes(&set(vec![
        person(cnp("2850312120015"), "Анна", "Попа", ""),
        order("o", "p", vec![number("HIS", "PLAC", "P2")]),
    ]));
}

#[test]
fn a_doctors_number_without_an_authority_is_not_that_of_a_doctor_of_another_name() {
    let mut play = Play::new();
    let doctor = |family: &str| {
        Change::new(
            "d",
            PractitionerChange {
                identifiers: Items::merge(vec![bare("12")]),
                names: Items::merge(vec![named(family)]),
                ..PractitionerChange::default()
            },
        )
    };
    let one = play.takes(&set(vec![doctor("Ionescu")])).ids["d"].1;
    let other = play.takes(&set(vec![doctor("Popescu")])).ids["d"].1;
    assert_ne!(one, other);
    assert_eq!(play.takes(&set(vec![doctor("IONESCU-RUSU")])).ids["d"].1, one);
    assert_eq!(play.takes(&set(vec![doctor("Popescu")])).ids["d"].1, other);
    assert_eq!(play.count(Kind::Practitioner), 2);
    // Who is new in this very set is not looked for in the store.
    let mut both = set(vec![doctor("Marin"), doctor("Marin")]);
    for (change, key) in both.changes.iter_mut().zip(["d", "e"]) {
        change.key = key.to_owned();
        if let clinic::Body::Practitioner(say) = &mut change.say {
            say.identifiers = Items::merge(vec![bare("13")]);
        }
    }
    let applied = play.takes(&both);
    assert_eq!(applied.ids["d"], applied.ids["e"]);
    assert!(applied.reads.is_empty(), "{:?}", applied.reads);
    // Other things of the clinic have no names of people.
    let site = set(vec![Change::new(
        "s",
        clinic::places::SiteChange {
            identifiers: Items::merge(vec![bare("12")]),
            ..Default::default()
        },
    )]);
    play.takes(&site);
    let applied = play.tries(&site).expect("applied");
    assert_eq!(
        applied.reads.len(),
        1,
        "read once, as what it is: {:?}",
        applied.reads
    );
    assert_eq!(applied.reads[0].0, Kind::Site);
}

#[test]
fn a_chart_that_a_person_chose_takes_no_number_of_another_patient() {
    let mut play = Play::new();
    let ana = play.takes(&set(vec![patient("p", vec![chart("a")], "Ana")])).ids["p"].1;
    let bob = play.takes(&set(vec![patient("p", vec![chart("b")], "Bob")])).ids["p"].1;
    let both = set(vec![patient(
        "p",
        vec![chart("a"), chart("b"), chart("c")],
        "Ana",
    )]);
    play.parks(&both);
    play.decisions = vec![Decision {
        key: "p".to_owned(),
        choice: Choice::Is(ana),
    }];
    let applied = play.takes(&both);
    assert_eq!(applied.kept[0].field, "identifiers");
    play.decisions.clear();
    let found = |play: &mut Play, value: &str| {
        play.takes(&set(vec![patient("p", vec![chart(value)], "")])).ids["p"].1
    };
    assert_eq!(found(&mut play, "a"), ana);
    assert_eq!(found(&mut play, "b"), bob);
    assert_eq!(found(&mut play, "c"), ana);
}

#[test]
fn a_result_under_another_name_that_a_person_files_renames_nobody() {
    let mut play = Play::new();
    let ana = play
        .takes(&set(vec![person(chart("1"), "Ana", "Pop", "1980-01-01")]))
        .ids["p"]
        .1;
    let before = play.patient(ana).clone();
    play.decisions = vec![Decision {
        key: "p".to_owned(),
        choice: Choice::Is(ana),
    }];
    let applied = play.takes(&set(vec![
        person(chart("1"), "Dan", "Rusu", "1970-01-01"),
        order("o", "p", vec![number("HIS", "PLAC", "P1")]),
    ]));
    assert_eq!(applied.kept[0].field, "names");
    assert_eq!(*play.patient(ana), before);
    // A registration that a person has looked at does.
    play.takes(&set(vec![person(chart("1"), "Dan", "Rusu", "1970-01-01")]));
    assert_eq!(
        play.patient(ana)
            .names
            .last()
            .and_then(|name| name.family.clone())
            .as_deref(),
        Some("Rusu")
    );
}

#[test]
fn who_was_merged_is_known_by_the_old_name_too() {
    let mut play = Play::new();
    let old = person(chart("1"), "Ana", "Pop", "1980-01-01");
    let mut stays = person(chart("2"), "Elena", "Rusu", "1990-09-09");
    stays.key = "q".to_owned();
    play.takes(&set(vec![old.clone(), stays.clone()]));
    play.takes(&merging(
        vec![stays, patient("old", vec![chart("1")], "")],
        "q",
        "old",
        false,
    ));
    play.channel = "laboratory";
    play.takes(&set(vec![
        old,
        order("o", "p", vec![number("HIS", "PLAC", "P1")]),
    ]));
    play.parks(&set(vec![
        person(chart("1"), "Dan", "Marin", "1970-01-01"),
        order("o", "p", vec![number("HIS", "PLAC", "P2")]),
    ]));
}
