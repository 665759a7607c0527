//! What hangs on a record that was merged into another one, and what is still said of it.
//!
//! A merge may be undone. So what was an old record's stays its own, and what a message says that names no number but the old one's is
//! the old one's too: results, visits, who the person is. It is read on the chart of the survivor all the same, who has all records that
//! were merged into theirs (see [`crate::search::patient_ids`]).

use std::collections::HashMap;

use uuid::Uuid;

use super::ApplyError;
use super::resolve::{Target, Work, patient_said};
use super::settle::note_who;
use crate::held::Writer;
use crate::keys::same_in_series;
use crate::kinds::{Aggregate, Body, Kind};
use crate::patch::{Items, Patch};
use crate::people::PatientChange;
use crate::refs::Refs;
use crate::value::{Identifier, Ref};

/// What messages say of patients whom they name by an old record.
pub(super) struct Parted<'a> {
    /// By the key of a change: what the survivor takes of it.
    pub(super) survivors: HashMap<&'a str, Body>,
    /// The places of old records, with what they take.
    pub(super) olds: Vec<(usize, Body)>,
}

/// Parts what is said of the person (name, birth, sex, further numbers), which is the old record's, from all else.
pub(super) fn parted<'a>(work: &mut Work<'a>) -> Result<Parted<'a>, ApplyError> {
    let set = work.set;
    let mut named: Vec<(usize, Uuid)> = work.by_old_record.iter().map(|(idx, id)| (*idx, *id)).collect();
    named.sort_unstable();
    let mut parted = Parted {
        survivors: HashMap::new(),
        olds: vec![],
    };
    for (idx, old) in named {
        let change = &set.changes[idx];
        let (Body::Patient(say), Target::Is(place)) = (&change.say, work.targets[idx]) else {
            continue;
        };
        let known = work.touched[place].after.identifiers();
        let has = |number: &Identifier| known.iter().any(|id| same_in_series(id, number));
        let (theirs, further): (Vec<Identifier>, Vec<Identifier>) =
            say.identifiers.values().iter().cloned().partition(has);
        let person = PatientChange {
            identifiers: Items::merge(further),
            names: say.names.clone(),
            birth_date: say.birth_date.clone(),
            sex: say.sex.clone(),
            ..PatientChange::default()
        };
        let rest = PatientChange {
            identifiers: Items::merge(theirs),
            names: Items::Absent,
            birth_date: Patch::Absent,
            sex: Patch::Absent,
            ..(**say).clone()
        };
        parted.survivors.insert(&change.key, rest.into());
        let place = work.touch(Kind::Patient, old)?;
        parted.olds.push((place, person.into()));
    }
    Ok(parted)
}

/// The old records take what is theirs.
pub(super) fn take(work: &mut Work<'_>, olds: Vec<(usize, Body)>, writer: Writer<'_>) {
    for (place, body) in olds {
        let mut after = work.touched[place].after.clone();
        let held = &work.touched[place].held;
        match matches!(writer, Writer::Feed { overwrite: false }) && !held.is_empty() {
            true => drop(body.apply_yielding(&mut after, held)),
            false => drop(body.apply_to(&mut after)),
        }
        note_who(&mut work.touched[place], &after, writer);
        work.touched[place].after = after;
    }
}

/// What is new hangs on the record that is named, or on that of the order or visit that it is of, and what was there stays
/// where it was.
pub(super) fn stay(
    work: &mut Work<'_>,
    place: usize,
    changes: &[usize],
    after: &mut Aggregate,
) -> Result<(), ApplyError> {
    let Some(now) = after.patient().and_then(Ref::id) else {
        return Ok(());
    };
    let set = work.set;
    let stays = match &work.touched[place].before {
        None => {
            let said = changes.iter().filter_map(|idx| patient_said(&set.changes[*idx]));
            match said.filter_map(|said| work.old_record(said)).next() {
                Some(old) => Some(old),
                None => of_what_is_theirs(work, now, after)?,
            }
        }
        Some(_) if changes.iter().any(|idx| set.changes[*idx].find.moves) => None,
        Some(record) => {
            let before = record.aggregate.patient().and_then(Ref::id);
            match before.filter(|before| *before != now) {
                Some(before) if work.reader.survivor(before)? == now => Some(before),
                Some(_) | None => None,
            }
        }
    };
    if let (Some(stays), Some(patient)) = (stays, after.patient_mut()) {
        *patient = Ref::Id(Kind::Patient, stays);
    }
    Ok(())
}

/// The old record of this patient whose order, else whose visit, something new is of: the result of an order goes with it.
fn of_what_is_theirs(work: &mut Work<'_>, now: Uuid, new: &Aggregate) -> Result<Option<Uuid>, ApplyError> {
    let selves = work.reader.selves(now)?;
    if selves.len() < 2 {
        return Ok(None);
    }
    let mut of: Vec<(Kind, Uuid)> = vec![];
    new.refs(&mut |reference| {
        if let Ref::Id(kind @ (Kind::Order | Kind::Encounter), id) = reference {
            of.push((*kind, *id));
        }
    });
    of.sort_by_key(|(kind, _)| *kind != Kind::Order);
    for (kind, id) in of {
        let record = work.reader.stored(kind, id)?;
        let whose = record.and_then(|record| record.aggregate.patient().and_then(Ref::id));
        if let Some(whose) = whose.filter(|whose| selves.contains(whose)) {
            return Ok(Some(whose).filter(|whose| *whose != now));
        }
    }
    Ok(None)
}
