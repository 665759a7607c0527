//! Two records of one person become one, and two again.

use clinic::Kind;
use clinic::apply::FindKey;
use clinic::apply::Snapshot;
use clinic::change_set::{Change, Merge};
use clinic::diagnostics::{ObservationChange, ResultChange};
use clinic::imaging::ImagingStudyChange;
use clinic::patch::{Items, Patch};
use clinic::people::LinkKind;
use clinic::value::{IdentifierUse, Ref};
use uuid::Uuid;

use crate::people::*;

fn two() -> (Play, uuid::Uuid, uuid::Uuid) {
    let mut play = Play::new();
    let stays = play
        .takes(&set(vec![patient("p", vec![chart("501")], "Balan")]))
        .ids["p"]
        .1;
    let goes = play
        .takes(&set(vec![patient(
            "p",
            vec![chart("377"), cnp("2800101400001")],
            "Balan",
        )]))
        .ids["p"]
        .1;
    (play, stays, goes)
}

fn pair(
    survivor: Vec<clinic::value::Identifier>,
    old: Vec<clinic::value::Identifier>,
    undo: bool,
) -> clinic::ChangeSet {
    merging(
        vec![patient("survivor", survivor, ""), patient("old", old, "")],
        "survivor",
        "old",
        undo,
    )
}

#[test]
fn the_old_one_stays_and_leads_to_the_survivor() {
    let (mut play, stays, goes) = two();
    // The survivor is named with the national number that only the old record has.
    let applied = play.takes(&pair(
        vec![chart("501"), cnp("2800101400001")],
        vec![chart("377")],
        false,
    ));
    assert_eq!(
        applied.writes.iter().map(|w| w.verb).collect::<Vec<_>>(),
        ["replaced", "merged"]
    );
    assert_eq!((applied.ids["survivor"].1, applied.ids["old"].1), (stays, goes));

    let old = play.patient(goes);
    assert_eq!(old.active, Some(false));
    assert_eq!(
        (old.links[0].kind, old.links[0].other.id()),
        (LinkKind::ReplacedBy, Some(stays))
    );
    let survivor = play.patient(stays);
    assert_eq!(
        (survivor.links[0].kind, survivor.links[0].other.id()),
        (LinkKind::Replaces, Some(goes))
    );
    let came = survivor
        .identifiers
        .iter()
        .find(|id| id.value == "377")
        .expect("it came");
    assert_eq!(came.usage, Some(IdentifierUse::Old));

    // Late messages under the old number, or the old id, reach the survivor.
    let late = play.takes(&set(vec![patient("p", vec![chart("377")], "Bălan")]));
    assert_eq!(late.ids["p"].1, stays);
    // What the person is called there is the old record's.
    assert_ne!(play.patient(stays).names, [named("Bălan")]);
    assert_eq!(play.patient(goes).names, [named("Bălan")]);
    let mut by_id = patient("p", vec![], "Bălan-Rusu");
    by_id.find.id = Some(goes);
    assert_eq!(play.takes(&set(vec![by_id])).ids["p"].1, stays);
    assert_eq!(play.patient(goes).names, [named("Bălan")]);
    assert!(
        play.clinic
            .find(&FindKey::system_value(Kind::Patient, "NORD", "377"))
            .expect("found")
            .contains(&stays)
    );
}

#[test]
fn the_same_merge_again_writes_nothing() {
    let (mut play, ..) = two();
    let words = pair(vec![chart("501")], vec![chart("377")], false);
    assert_eq!(play.takes(&words).writes.len(), 2);
    assert!(play.takes(&words).writes.is_empty());
}

#[test]
fn an_unknown_old_number_is_just_added() {
    let (mut play, stays, _) = two();
    let words = pair(vec![chart("501")], vec![chart("999")], false);
    let applied = play.takes(&words);
    assert_eq!(applied.ids["old"].1, stays);
    assert_eq!(play.count(Kind::Patient), 2);
    let number = play
        .patient(stays)
        .identifiers
        .iter()
        .find(|id| id.value == "999")
        .expect("added")
        .clone();
    assert_eq!(number.usage, Some(IdentifierUse::Old));
    assert!(play.takes(&words).writes.is_empty());
    assert_eq!(
        play.takes(&set(vec![patient("p", vec![chart("999")], "")])).ids["p"].1,
        stays
    );
}

#[test]
fn an_undone_merge_restores_both() {
    let (mut play, stays, goes) = two();
    let before = (play.patient(stays).clone(), play.patient(goes).clone());
    play.takes(&pair(vec![chart("501")], vec![chart("377")], false));
    let applied = play.takes(&pair(vec![chart("501")], vec![chart("377")], true));
    assert_eq!(
        applied.writes.iter().map(|w| w.verb).collect::<Vec<_>>(),
        ["restored", "unmerged"]
    );
    assert_eq!((play.patient(stays), play.patient(goes)), (&before.0, &before.1));
    assert_eq!(
        play.takes(&set(vec![patient("p", vec![chart("377")], "")])).ids["p"].1,
        goes
    );
    // Undoing what is not merged changes nothing.
    assert!(
        play.takes(&pair(vec![chart("501")], vec![chart("377")], true))
            .writes
            .is_empty()
    );
}

#[test]
fn chains_are_followed_and_undone_in_the_middle() {
    let (mut play, b, a) = two();
    let c = play
        .takes(&set(vec![patient("p", vec![chart("900")], "Balan")]))
        .ids["p"]
        .1;
    let before = (
        play.patient(a).clone(),
        play.patient(b).clone(),
        play.patient(c).clone(),
    );
    play.takes(&pair(vec![chart("501")], vec![chart("377")], false));
    play.takes(&pair(vec![chart("900")], vec![chart("501")], false));
    assert_eq!(
        play.takes(&set(vec![patient("p", vec![chart("377")], "")])).ids["p"].1,
        c
    );
    assert_eq!(
        play.takes(&set(vec![patient("p", vec![cnp("2800101400001")], "")]))
            .ids["p"]
            .1,
        c
    );
    // A repeat of the first merge changes nothing: they are one already.
    assert!(
        play.takes(&pair(vec![chart("501")], vec![chart("377")], false))
            .writes
            .is_empty()
    );

    play.takes(&pair(vec![chart("501")], vec![chart("377")], true));
    assert_eq!(play.patient(a), &before.0);
    assert!(play.patient(c).identifiers.iter().all(|id| id.value != "377"));
    assert_eq!(
        play.takes(&set(vec![patient("p", vec![chart("377")], "")])).ids["p"].1,
        a
    );
    assert_eq!(
        play.takes(&set(vec![patient("p", vec![chart("501")], "")])).ids["p"].1,
        c
    );
    play.takes(&pair(vec![chart("900")], vec![chart("501")], true));
    assert_eq!((play.patient(b), play.patient(c)), (&before.1, &before.2));
}

#[test]
fn several_pairs_in_one_set() {
    let (mut play, b, a) = two();
    let mut words = pair(vec![chart("501")], vec![chart("377")], false);
    words.changes.push(patient("top", vec![chart("900")], "Balan"));
    words.merges.push(Merge {
        survivor: "top".to_owned(),
        old: "survivor".to_owned(),
        undo: false,
        link: false,
    });
    let applied = play.takes(&words);
    let top = applied.ids["top"].1;
    assert_eq!(
        play.takes(&set(vec![patient("p", vec![chart("377")], "")])).ids["p"].1,
        top
    );
    for id in [a, b] {
        assert_eq!(play.patient(id).active, Some(false));
    }
    assert!(play.takes(&words).writes.is_empty());
}

#[test]
fn a_second_survivor_is_parked() {
    let (mut play, stays, _) = two();
    let other = play
        .takes(&set(vec![patient("p", vec![chart("900")], "Balan")]))
        .ids["p"]
        .1;
    play.takes(&pair(vec![chart("501")], vec![chart("377")], false));
    let (_, candidates) = play.parks(&pair(vec![chart("900")], vec![chart("377")], false));
    assert_eq!(
        candidates.iter().map(|c| c.id).collect::<Vec<_>>(),
        [stays, other]
    );
}

#[test]
fn things_of_the_old_record_are_found_for_the_survivor() {
    let (mut play, _, goes) = two();
    let bare = vec![number("", "PLAC", "12")];
    let words = |who: &str| {
        set(vec![
            patient("p", vec![chart(who)], ""),
            order("o", "p", bare.clone()),
        ])
    };
    let id = play.takes(&words("377")).ids["o"].1;
    play.takes(&pair(vec![chart("501")], vec![chart("377")], false));
    let again = play.takes(&words("501"));
    assert_eq!(again.ids["o"].1, id);
    assert_eq!(play.count(Kind::Order), 1);
    assert_ne!(again.ids["p"].1, goes);
}

/// A merge may be undone: what came meanwhile by the old number goes with it, and nothing of it stays with the other.
#[test]
fn what_came_by_the_old_number_goes_with_it() {
    let (mut play, stays, goes) = two();
    let words = |who: &str, name: &str, orders: &[&str]| {
        let mut all = vec![patient("p", vec![chart(who)], name)];
        for number_of in orders {
            all.push(order(number_of, "p", vec![number("HIS", "PLAC", number_of)]));
        }
        // Without a number of its own: known by what it is.
        let mut bare = order("bare", "p", vec![]);
        bare.find = natural(Some(local("p")), "glucose");
        all.push(bare);
        set(all)
    };
    let before = play.takes(&words("377", "Balan", &["before"]));
    let survivor = play.patient(stays).clone();
    let old_numbers = play.patient(goes).identifiers.clone();
    play.takes(&pair(vec![chart("501")], vec![chart("377")], false));
    // A correction of what was there, something new, another name, a further number.
    let mut during = words("377", "Balan Altul", &["before", "during"]);
    if let clinic::Body::Patient(say) = &mut during.changes[0].say {
        say.identifiers = Items::merge(vec![chart("377"), number("CARD", "PC", "9")]);
    }
    let applied = play.takes(&during);
    assert_eq!(applied.ids["p"].1, stays, "read on the survivor's chart");
    assert_eq!(applied.ids["before"], before.ids["before"]);
    assert_eq!(applied.ids["bare"], before.ids["bare"]);
    assert!(play.takes(&during).writes.is_empty(), "and found again");
    let whose = |play: &Play, id: Uuid| {
        let record = play.record(Kind::Order, id);
        record.aggregate.patient().and_then(Ref::id)
    };
    for key in ["before", "during", "bare"] {
        assert_eq!(whose(&play, applied.ids[key].1), Some(goes), "{key}");
    }
    play.takes(&pair(vec![chart("501")], vec![chart("377")], true));
    assert_eq!(play.patient(stays), &survivor);
    let old = play.patient(goes);
    assert_eq!(old.names, [named("Balan Altul")]);
    assert_eq!(old.identifiers.len(), old_numbers.len() + 1);
    assert_eq!(play.takes(&during).writes.len(), 0, "they are theirs as before");
    // Nothing is left to be undone.
    let again = pair(vec![chart("501")], vec![chart("377")], true);
    assert!(play.tries(&again).is_ok(), "a feed may say it again");
    play.actor = Some("reception");
    assert!(matches!(
        play.tries(&again),
        Err(clinic::apply::ApplyError::Refused(error)) if error.place.as_ref().is_some_and(|place| place.0 == "merges[0]")
    ));
}

/// A laboratory that has heard of the merge answers by the number that stays: the result goes with its order all the same.
#[test]
fn what_came_of_an_order_goes_with_it_whatever_number_it_came_by() {
    let (mut play, stays, goes) = two();
    let placed = |who: &str, number_of: &str| {
        let identifiers = vec![number("HIS", "PLAC", number_of)];
        set(vec![
            patient("p", vec![chart(who)], ""),
            order("o", "p", identifiers),
        ])
    };
    play.takes(&placed("377", "before"));
    play.takes(&placed("501", "own"));
    play.takes(&pair(vec![chart("501")], vec![chart("377")], false));
    let reported = |number_of: &str| {
        let mut words = placed("501", number_of);
        let mut result = Change::new(
            "r",
            ResultChange {
                patient: Patch::Set(local("p")),
                orders: Items::merge(vec![local("o")]),
                ..ResultChange::default()
            },
        );
        result.find = natural(Some(local("o")), "glucose");
        let mut measured = Change::new(
            "m",
            ObservationChange {
                patient: Patch::Set(local("p")),
                orders: Items::merge(vec![local("o")]),
                ..ObservationChange::default()
            },
        );
        measured.find = natural(Some(local("r")), "glucose");
        let study = Change::new(
            "s",
            ImagingStudyChange {
                identifiers: Items::merge(vec![clinic::imaging::uid(&format!("1.2.{}", number_of.len()))]),
                patient: Patch::Set(local("p")),
                orders: Items::merge(vec![local("o")]),
                ..ImagingStudyChange::default()
            },
        );
        words.changes.extend([result, measured, study]);
        words
    };
    let mut all = vec![];
    for (number_of, whose) in [("before", goes), ("own", stays)] {
        let applied = play.takes(&reported(number_of));
        all.extend(["r", "m", "s"].map(|key| (applied.ids[key], whose)));
        assert!(play.takes(&reported(number_of)).writes.is_empty());
    }
    play.takes(&pair(vec![chart("501")], vec![chart("377")], true));
    for ((kind, id), whose) in all {
        let record = play.record(kind, id);
        assert_eq!(
            record.aggregate.patient().and_then(Ref::id),
            Some(whose),
            "{kind:?}"
        );
    }
}

#[test]
fn a_merge_names_patients_of_its_set() {
    let mut play = Play::new();
    let words = merging(vec![patient("p", vec![chart("1")], "Pop")], "p", "q", false);
    assert!(play.tries(&words).is_err());
}

#[test]
fn a_circle_of_merges_ends() {
    let (mut play, ..) = two();
    let mut words = pair(vec![chart("501")], vec![chart("377")], false);
    words.merges.push(Merge {
        survivor: "old".to_owned(),
        old: "survivor".to_owned(),
        undo: false,
        link: false,
    });
    let applied = play.takes(&words);
    assert_eq!(applied.writes.len(), 2);
    play.takes(&pair(vec![chart("377")], vec![chart("501")], false));
}

#[test]
fn two_who_are_both_new_are_both_made() {
    let mut play = Play::new();
    let words = merging(
        vec![
            patient("survivor", vec![chart("501")], "Balan"),
            patient("old", vec![chart("377")], "Balan-Rusu"),
        ],
        "survivor",
        "old",
        false,
    );
    let applied = play.takes(&words);
    assert_eq!(play.count(Kind::Patient), 2);
    let old = play.patient(applied.ids["old"].1);
    assert_eq!(
        (old.active, &old.names),
        (Some(false), &vec![named("Balan-Rusu")])
    );
    assert!(play.takes(&words).writes.is_empty());
}

#[test]
fn the_name_of_an_unknown_old_one_is_kept() {
    let (mut play, stays, _) = two();
    let words = merging(
        vec![
            patient("survivor", vec![chart("501")], ""),
            patient("old", vec![chart("999")], "Rusu"),
        ],
        "survivor",
        "old",
        false,
    );
    play.takes(&words);
    assert_eq!(play.patient(stays).names.len(), 2);
    assert!(play.takes(&words).writes.is_empty());
}
