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
        ("Pop", "Ana", "1980-10-01"),
        ("Ana", "Pop", "1980-01-01T00:00:00+02:00"),
        ("A.", "", ""),
        ("", "NECUNOSCUT", "1900-01-01"),
        ("Áná", "Muntean", ""),
        ("Elena", "Rusu", "1980-01-01"),
        ("Elena", "Rusu", "1980"),
    ] {
        let said = set(vec![person(bare("1"), given, family, born)]);
        let found = play.tries(&said).expect("it may be the same").ids["p"].1;
        assert_eq!(found, id, "{given} {family} {born}");
    }
    for (given, family, born) in [
        ("Dan", "Rusu", "1970-01-01"),
        ("Dan", "Rusu", ""),
        ("Ana", "Pop", "1950-05-06"),
        ("Ion", "Pop", "2015-05-05"),
    ] {
        let (why, candidates) = play.parks(&set(vec![person(bare("1"), given, family, born)]));
        assert!(why.contains("names no authority"), "{why}");
        assert_eq!(candidates.iter().map(|one| one.id).collect::<Vec<_>>(), [id]);
    }
}

#[test]
fn what_registers_nobody_finds_nobody_of_another_name() {
    let mut play = Play::new();
    let id = play
        .takes(&set(vec![person(chart("1"), "Ana", "Pop", "1980-01-01")]))
        .ids["p"]
        .1;
    let said = |given: &str, family: &str, born: &str, registers_nobody| {
        let mut change = person(chart("1"), given, family, born);
        change.find.registers_nobody = registers_nobody;
        set(vec![change])
    };
    for (given, family, born) in [
        ("Ana", "Ionescu", ""),
        ("", "", ""),
        ("Elena", "Rusu", "1980-01-01"),
    ] {
        assert_eq!(
            play.tries(&said(given, family, born, true))
                .expect("it may be the same")
                .ids["p"]
                .1,
            id
        );
    }
    let (_, candidates) = play.parks(&said("Dan", "Rusu", "1970-01-01", true));
    assert_eq!(candidates[0].id, id);
    // A registration may rename.
    assert_eq!(
        play.takes(&said("Dan", "Rusu", "1970-01-01", false)).ids["p"].1,
        id
    );
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

/// A result by the clinic's own number: whose it is said to be, and whom the chart is of.
#[test]
fn a_result_is_that_of_the_person_whom_it_names() {
    let parks = |known: [&str; 3], said: [&str; 3]| {
        let mut play = Play::new();
        let [given, family, born] = known;
        play.takes(&set(vec![person(chart("1"), given, family, born)]));
        play.channel = "laboratory";
        let [given, family, born] = said;
        let words = set(vec![
            person(chart("1"), given, family, born),
            order("o", "p", vec![number("HIS", "PLAC", "P1")]),
        ]);
        play.tries(&words).is_err()
    };
    for (known, said) in [
        (["Maria", "Pop", "1950-01-01"], ["Maria", "Ionescu", "1990-03-03"]),
        (["Ana", "Pop", "1980-01-01"], ["Ion", "Pop", "2015-05-05"]),
        (["A", "Pop", ""], ["A", "Ionescu", "1950-01-01"]),
        (["Jan", "de Boer", "1950-01-01"], ["Piet", "de Vries", ""]),
        (
            ["Jan", "van der Berg", "1950-01-01"],
            ["Piet", "van der Velde", "1990-01-02"],
        ),
        (["Ana", "Dr. Pop", "1950-01-01"], ["Dan", "Dr. Ionescu", ""]),
        (
            ["POP", "NOU NASCUT", "2026-01-01"],
            ["IONESCU", "NOU NASCUT", "2026-03-01"],
        ),
        (["Ana", "Pop", "1980-01-01"], ["", "", "1950-02-03"]),
        (["Ion", "Pop", "1950-01-01"], ["Ion Andrei", "Pop", "1980-07-08"]),
        (["Ana", "Pop", ""], ["Dan", "Ionescu", "1950-01-01"]),
    ] {
        assert!(parks(known, said), "{known:?} {said:?}");
    }
    for (known, said) in [
        (["Maria", "Pop", "1950-01-01"], ["Maria", "Ionescu", "1950-01-01"]),
        (["Maria", "Pop", "1950-01-01"], ["Maria", "Ionescu", ""]),
        (
            ["Maria Elena", "Pop", "1950-01-01"],
            ["MARIA", "POP", "1950-01-10"],
        ),
        (["Maria", "Pop", "1950-03-01"], ["Pop", "Maria", "1950-01-03"]),
        (["Maria", "Pop", "1950-01-01"], ["M.", "", ""]),
        (["Maria", "Pop", "1950-01-01"], ["", "", ""]),
        (["Ștefan", "Țârlea", ""], ["Stefan", "Tarlea", "1950-01-01"]),
    ] {
        assert!(!parks(known, said), "{known:?} {said:?}");
    }
}

#[test]
fn a_result_changes_nothing_of_who_the_patient_is() {
    let report = |given: &str, family: &str, born: &str| {
        let mut words = laboratory_report(clinic::diagnostics::ResultStatus::Final, &["1"]);
        words.changes[0] = person(chart("1"), given, family, born);
        words.changes[0].key = "patient".to_owned();
        words
    };
    let mut play = Play::new();
    let id = play
        .takes(&set(vec![person(chart("1"), "Maria", "Pop", "1950-01-02")]))
        .ids["p"]
        .1;
    let before = play.patient(id).clone();
    let applied = play.takes(&report("Maria", "Ionescu", "1950"));
    let mut told: Vec<&str> = applied.kept.iter().map(|kept| kept.field.as_str()).collect();
    told.sort_unstable();
    assert_eq!(told, ["birth_date", "names"]);
    assert_eq!(*play.patient(id), before);
    // The same in other letters is the same, and is not told.
    assert!(play.takes(&report("MARIA", "POP", "1950-01-02")).kept.is_empty());
    // The same day, with a time that nobody has asked for.
    let with_time = report("MARIA", "POP", "1950-01-02T00:00:00+02:00");
    assert!(play.takes(&with_time).kept.is_empty());
    assert_eq!(*play.patient(id), before);
    // What was not known is.
    let mut play = Play::new();
    let id = play.takes(&set(vec![person(chart("1"), "Maria", "Pop", "")])).ids["p"].1;
    play.takes(&report("Maria", "Pop", "1950-01-02"));
    assert!(play.patient(id).birth_date.is_some());
    play.overwrite = true;
    play.takes(&report("Maria", "Ionescu", "1950-01-02"));
    assert_eq!(
        play.patient(id)
            .names
            .last()
            .and_then(|name| name.family.clone())
            .as_deref(),
        Some("Ionescu")
    );
}

#[test]
fn a_decision_about_a_name_is_made_once() {
    let mut play = Play::new();
    let id = play
        .takes(&set(vec![person(chart("1"), "Ana", "Pop", "1980-01-01")]))
        .ids["p"]
        .1;
    let words = |family: &str, placer: &str| {
        set(vec![
            person(chart("1"), "Dan", family, "1970-01-01"),
            order("o", "p", vec![number("HIS", "PLAC", placer)]),
        ])
    };
    play.parks(&words("Rusu", "P1"));
    play.decisions = vec![Decision {
        key: "p".to_owned(),
        choice: Choice::Is(id),
    }];
    play.takes(&words("Rusu", "P1"));
    play.decisions.clear();
    let before = play.patient(id).clone();
    assert_eq!(play.takes(&words("Rusu", "P2")).ids["p"].1, id);
    assert_eq!(*play.patient(id), before, "nor is the chart renamed by it");
    play.parks(&words("Marin", "P3"));
}

#[test]
fn somebody_new_takes_no_number_of_another_patient() {
    let mut play = Play::new();
    let ana = play
        .takes(&set(vec![person(chart("1"), "Ana", "Pop", "1980-01-01")]))
        .ids["p"]
        .1;
    let words = set(vec![
        person(chart("1"), "Dan", "Rusu", "1970-01-01"),
        order("o", "p", vec![number("HIS", "PLAC", "P1")]),
    ]);
    play.parks(&words);
    play.decisions = vec![Decision {
        key: "p".to_owned(),
        choice: Choice::New,
    }];
    let dan = play.takes(&words).ids["p"].1;
    assert_ne!(dan, ana);
    assert!(play.patient(dan).identifiers.is_empty());
    play.decisions.clear();
    let hers = set(vec![person(chart("1"), "Ana", "Pop", "1980-01-01")]);
    assert_eq!(play.takes(&hers).ids["p"].1, ana);
}

#[test]
fn a_national_number_with_another_name_and_another_birth_date_is_a_wrong_one() {
    let mut play = Play::new();
    play.takes(&set(vec![person(
        cnp("2850312120015"),
        "Ana",
        "Pop",
        "1985-03-12",
    )]));
    play.takes(&set(vec![person(cnp("2850312120015"), "Elena", "Rusu", "")]));
    play.parks(&set(vec![person(
        cnp("2850312120015"),
        "Dan",
        "Marin",
        "1950-05-05",
    )]));
}

#[test]
fn a_number_that_ended_stays_an_old_one() {
    let mut play = Play::new();
    let id = play.takes(&set(vec![patient("p", vec![chart("o")], "Pop")])).ids["p"].1;
    let old = |value: &str| Identifier {
        usage: Some(clinic::value::IdentifierUse::Old),
        ..chart(value)
    };
    let mut renumbered = patient("p", vec![chart("n"), old("o")], "Pop");
    renumbered.find.identifiers = vec![chart("o"), chart("n")];
    play.takes(&set(vec![renumbered]));
    play.takes(&set(vec![patient("p", vec![chart("o")], "Pop")]));
    let holds = |play: &Play| -> Vec<String> {
        let all = play
            .patient(id)
            .identifiers
            .iter()
            .filter(|number| number.usage.is_none());
        all.map(|number| number.value.clone()).collect()
    };
    assert_eq!(holds(&play), ["n"]);
    // Until the change is taken back.
    let mut back = patient("p", vec![chart("o"), old("n")], "Pop");
    back.find.identifiers = vec![chart("n"), chart("o")];
    play.takes(&set(vec![back]));
    assert_eq!(holds(&play), ["o"]);
}
