//! Two records of one person become one, and two again; or they are linked, and stay two.
//!
//! The old record stays, with its identifiers: whoever finds it is led on by its link. The survivor gets those
//! identifiers that it doesn't have, marked as old, and remembers on its link which ones they were, so that they leave
//! it again when the merge is undone. Nothing else of the two records is touched: what hangs on the old one (visits,
//! results) stays there, and whoever reads the chart of a person asks for all of their records
//! (see [`crate::search::patient_ids`]).

use uuid::Uuid;

use super::identify::named;
use super::resolve::{Target, Work};
use super::{ApplyError, Candidate};
use crate::change_set::Merge;
use crate::events;
use crate::exchange::{MapError, Reason};
use crate::held::{Kept, Writer};
use crate::keys::same_in_series;
use crate::kinds::{Aggregate, Body, Kind};
use crate::people::{LinkKind, Patient, PatientLink};
use crate::value::{Identifier, IdentifierUse, NameUse, PersonName, Ref};

/// Under this word it is held that a person parted two records: a feed does not join them again.
pub const MERGE: &str = "merge";

/// How many merges are followed from one record to the next.
const MAX_CHAIN: usize = 16;

/// Does or undoes the merges of the set, in their order.
pub(super) fn merge(work: &mut Work<'_>, writer: Writer<'_>) -> Result<(), ApplyError> {
    let set = work.set;
    for (idx, merge) in set.merges.iter().enumerate() {
        let side = |key: &str| work.keys.get(key).copied();
        let (Some(survivor_idx), Some(old_idx)) = (side(&merge.survivor), side(&merge.old)) else {
            continue;
        };
        let (Target::Is(survivor), Target::Is(old)) = (work.targets[survivor_idx], work.targets[old_idx])
        else {
            continue;
        };
        if merge.link {
            link(work, [survivor, old], merge.undo);
        } else if merge.undo {
            undo(work, idx, [survivor, old], writer)?;
        } else {
            join(work, merge, survivor, old, old_idx, writer)?;
        }
    }
    Ok(())
}

fn join(
    work: &mut Work<'_>,
    merge: &Merge,
    survivor: usize,
    old: usize,
    old_idx: usize,
    writer: Writer<'_>,
) -> Result<(), ApplyError> {
    let survivor = last_of_chain(work, survivor)?;
    let old = last_of_chain(work, old)?;
    if survivor == old {
        // One record already. The numbers of an old one that was never here come to it all the same.
        let unknown = work.mute[old_idx] && !work.by_link.contains_key(&old_idx);
        if unknown && merge.survivor != merge.old {
            let change = &work.set.changes[old_idx];
            let numbers: Vec<Identifier> = named(change).cloned().collect();
            if let Some(patient) = patient_mut(work, survivor) {
                add_old_numbers(patient, &numbers);
                if let Body::Patient(said) = &change.say {
                    add_old_names(patient, said.names.values());
                }
            }
        }
        return Ok(());
    }
    let (survivor_id, old_id) = (work.touched[survivor].id, work.touched[old].id);
    let parted = survivor_id.to_string();
    let held = &mut work.touched[old].held;
    match writer {
        Writer::Feed { overwrite: false } if held.has(MERGE, &parted) => {
            let by = held.who(MERGE).unwrap_or_default().to_owned();
            work.kept.push(Kept {
                kind: Kind::Patient,
                id: old_id,
                field: MERGE.to_owned(),
                by,
            });
            return Ok(());
        }
        Writer::Feed { .. } | Writer::Actor(_) => held.release(MERGE, &parted),
    }
    if work.by_link.contains_key(&old_idx) || work.targets[old_idx] != Target::Is(old) {
        let candidate = |id: Uuid, why: &str| Candidate {
            kind: Kind::Patient,
            id,
            why: why.to_owned(),
        };
        return Err(ApplyError::Parked {
            why: "The record that is to go was merged into another one than the message says. \
                  Decide which of the two stays."
                .to_owned(),
            about: None,
            candidates: vec![
                candidate(old_id, "the record that it was merged into"),
                candidate(survivor_id, "the survivor that the message names"),
            ],
        });
    }
    let numbers = match patient_mut(work, old) {
        Some(patient) => {
            let mut link = PatientLink::new(Ref::Id(Kind::Patient, survivor_id), LinkKind::ReplacedBy);
            link.was_active = patient.active;
            patient.links.push(link);
            patient.active = Some(false);
            patient.identifiers.clone()
        }
        None => return Ok(()),
    };
    if let Some(patient) = patient_mut(work, survivor) {
        let mut link = PatientLink::new(Ref::Id(Kind::Patient, old_id), LinkKind::Replaces);
        link.identifiers = add_old_numbers(patient, &numbers);
        patient.links.push(link);
    }
    work.touched[survivor].verb = Some(events::MERGED);
    work.touched[old].verb = Some(events::REPLACED);
    Ok(())
}

fn undo(
    work: &mut Work<'_>,
    merge: usize,
    [survivor, old]: [usize; 2],
    writer: Writer<'_>,
) -> Result<(), ApplyError> {
    let (survivor_id, old_id) = (work.touched[survivor].id, work.touched[old].id);
    let Some(patient) = patient_mut(work, old) else {
        return Ok(());
    };
    if patient.merged_into() != Some(survivor_id) {
        // A feed may say again what has been done; a person who undoes nothing has others in mind.
        return match writer {
            Writer::Feed { .. } => Ok(()),
            Writer::Actor(_) => {
                let place = format!("merges[{merge}]");
                let what = "The old record is not merged into that survivor, so that there is nothing to undo. \
                            Look up which records are one.";
                Err(MapError::new(Reason::Conflict, Some(&place), what).into())
            }
        };
    }
    let links_to =
        |link: &PatientLink, kind: LinkKind, id: Uuid| link.kind == kind && link.other.id() == Some(id);
    if let Some(link_idx) = patient
        .links
        .iter()
        .position(|l| links_to(l, LinkKind::ReplacedBy, survivor_id))
    {
        let link = patient.links.remove(link_idx);
        patient.active = link.was_active;
    }
    if let Writer::Actor(name) = writer {
        work.touched[old].held.hold(MERGE, &survivor_id.to_string(), name);
    }
    work.touched[old].verb = Some(events::RESTORED);
    work.touched[survivor].verb = Some(events::UNMERGED);
    let Some(patient) = patient_mut(work, survivor) else {
        return Ok(());
    };
    let Some(link_idx) = patient
        .links
        .iter()
        .position(|l| links_to(l, LinkKind::Replaces, old_id))
    else {
        return Ok(());
    };
    let mut leaving = patient.links.remove(link_idx).identifiers;
    remove_numbers(&mut patient.identifiers, &leaving);
    // Where the survivor was merged on, they went on with it.
    let mut at = survivor;
    for _ in 0..MAX_CHAIN {
        let at_id = work.touched[at].id;
        let Some(next_id) = patient_mut(work, at).and_then(|patient| patient.merged_into()) else {
            break;
        };
        at = work.touch(Kind::Patient, next_id)?;
        let Some(patient) = patient_mut(work, at) else {
            break;
        };
        let Some(link) = patient
            .links
            .iter_mut()
            .find(|l| links_to(l, LinkKind::Replaces, at_id))
        else {
            break;
        };
        leaving.retain(|number| link.identifiers.iter().any(|id| same_in_series(id, number)));
        remove_numbers(&mut link.identifiers, &leaving);
        remove_numbers(&mut patient.identifiers, &leaving);
    }
    Ok(())
}

/// Two records that are one person's and stay in use both: each names the other, or no longer does.
fn link(work: &mut Work<'_>, both: [usize; 2], undo: bool) {
    let ids = both.map(|place| work.touched[place].id);
    if ids[0] == ids[1] {
        return;
    }
    for (place, other) in [(both[0], ids[1]), (both[1], ids[0])] {
        let Some(patient) = patient_mut(work, place) else {
            continue;
        };
        let is_it = |link: &PatientLink| link.kind == LinkKind::SeeAlso && link.other.id() == Some(other);
        if undo {
            patient.links.retain(|link| !is_it(link));
        } else if !patient.links.iter().any(is_it) {
            let other = Ref::Id(Kind::Patient, other);
            patient.links.push(PatientLink::new(other, LinkKind::SeeAlso));
        }
    }
}

/// The record at the end of the merges, also of those of this set.
fn last_of_chain(work: &mut Work<'_>, place: usize) -> Result<usize, ApplyError> {
    let mut at = place;
    for _ in 0..MAX_CHAIN {
        let Some(next) = patient_mut(work, at).and_then(|patient| patient.merged_into()) else {
            break;
        };
        let next = work.touch(Kind::Patient, next)?;
        if next == place || patient_mut(work, next).is_none() {
            break;
        }
        at = next;
    }
    Ok(at)
}

/// Adds those that the patient doesn't have, as old ones; returns what was added.
fn add_old_numbers(patient: &mut Patient, numbers: &[Identifier]) -> Vec<Identifier> {
    let mut added: Vec<Identifier> = vec![];
    for number in numbers {
        if patient.identifiers.iter().any(|id| same_in_series(id, number)) {
            continue;
        }
        let old = Identifier {
            usage: Some(IdentifierUse::Old),
            ..number.clone()
        };
        patient.identifiers.push(old.clone());
        added.push(old);
    }
    added
}

/// Adds those by which the patient isn't known, as old ones.
fn add_old_names(patient: &mut Patient, names: &[PersonName]) {
    for name in names {
        let same = |known: &PersonName| (&known.family, &known.given) == (&name.family, &name.given);
        if !patient.names.iter().any(same) {
            patient.names.push(PersonName {
                usage: Some(NameUse::Old),
                ..name.clone()
            });
        }
    }
}

fn remove_numbers(identifiers: &mut Vec<Identifier>, leaving: &[Identifier]) {
    identifiers.retain(|id| !leaving.iter().any(|number| same_in_series(id, number)));
}

fn patient_mut<'w>(work: &'w mut Work<'_>, place: usize) -> Option<&'w mut Patient> {
    match &mut work.touched[place].after {
        Aggregate::Patient(patient) => Some(patient),
        _ => None,
    }
}
