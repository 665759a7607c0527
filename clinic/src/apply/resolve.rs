//! Which aggregate each change is about.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::identify::named;
use super::patients::Part;
use super::reader::Reader;
use super::{ApplyError, Choice, Context, Decision, FindKey, OnUnmatched, Record, Snapshot, images};
use crate::change_set::{Change, ChangeSet, Missing};
use crate::exchange::{MapError, Reason};
use crate::held::{Held, Kept};
use crate::keys::{Care, care};
use crate::kinds::{Aggregate, Kind};
use crate::value::{Identifier, Ref};

/// How many new ones of one set are remembered under one key. A set that brings more under one number has no use for
/// that number.
const MAX_PENDING: usize = 64;

/// One aggregate that the change set speaks of.
pub(super) struct Touched {
    pub(super) kind: Kind,
    pub(super) id: Uuid,
    /// As it stood; none for a new one.
    pub(super) before: Option<Arc<Record>>,
    /// As it stands afterwards; worked out after all is found.
    pub(super) after: Aggregate,
    /// The changes about it, in the order of the set.
    pub(super) changes: Vec<usize>,
    pub(super) natural_keys: Vec<FindKey>,
    /// A verb that says more than the states do.
    pub(super) verb: Option<&'static str>,
    /// Which of its values a person wrote.
    pub(super) held: Held,
}

/// What is known of a change while the others are still being found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// Not looked at.
    Unseen,
    /// Being looked at: who depends on it here, depends on itself.
    Open,
    /// Nothing comes of it.
    LeftOut,
    /// The record that a merge is to take out of use is not there.
    NoOld,
    /// The aggregate with this place in `Work::touched`.
    Is(usize),
}

/// All that is known after everything is found.
pub(super) struct Work<'a> {
    pub(super) set: &'a ChangeSet,
    pub(super) reader: Reader<'a>,
    pub(super) touched: Vec<Touched>,
    pub(super) index: HashMap<(Kind, Uuid), usize>,
    pub(super) targets: Vec<Target>,
    /// The first change with each key.
    pub(super) keys: HashMap<&'a str, usize>,
    /// Changes whose words are not taken: those of a record that had been merged before.
    pub(super) mute: Vec<bool>,
    /// For the old record of a merge: the record through which the survivor was found.
    pub(super) by_link: HashMap<usize, Uuid>,
    /// For a patient who is named by no number but those of a record that was merged into them: that record.
    pub(super) by_old_record: HashMap<usize, Uuid>,
    /// Numbers that a change says of a patient whom a person has chosen, and that another patient has.
    pub(super) of_others: HashMap<usize, Vec<Identifier>>,
    /// What a person has decided about another message, and what holds for this one too.
    pub(super) decided_before: Vec<Decision>,
    pub(super) left_out: Vec<String>,
    /// What gave way to what a person wrote.
    pub(super) kept: Vec<Kept>,
    pub(super) parts: HashMap<usize, Part>,
    /// Visits that are one: the place of the one that stays, and of the one that goes.
    pub(super) joined: Vec<(usize, usize)>,
    /// Orders whose number others have too, and the changes that turned out to be about such ones.
    pub(super) share_number: (BTreeSet<Uuid>, BTreeSet<usize>),
    /// Reports that are of a whole requisition, each with its orders: nothing says of which.
    pub(super) of_requisition: HashMap<usize, Vec<Uuid>>,
    /// For a further order of a number: those that have it too.
    pub(super) siblings: HashMap<usize, Vec<Uuid>>,
    /// What is found by the words of this set alone.
    pub(super) pending: HashMap<FindKey, Vec<usize>>,
}

/// Finds what every change is about; makes what is new, still empty.
pub(super) fn resolve<'a>(
    set: &'a ChangeSet,
    snapshot: &'a dyn Snapshot,
    context: &mut Context<'_>,
) -> Result<Work<'a>, ApplyError> {
    let count = set.changes.len();
    let mut work = Work {
        set,
        reader: Reader::new(snapshot),
        touched: Vec::with_capacity(count),
        index: HashMap::with_capacity(count),
        targets: vec![Target::Unseen; count],
        keys: HashMap::with_capacity(count),
        mute: vec![false; count],
        by_link: HashMap::new(),
        by_old_record: HashMap::new(),
        of_others: HashMap::new(),
        decided_before: vec![],
        left_out: vec![],
        kept: vec![],
        parts: HashMap::new(),
        joined: vec![],
        share_number: Default::default(),
        of_requisition: HashMap::new(),
        siblings: HashMap::new(),
        pending: HashMap::with_capacity(count),
    };
    for (idx, change) in set.changes.iter().enumerate() {
        let first = *work.keys.entry(&change.key).or_insert(idx);
        if set.changes[first].kind() != change.kind() {
            let place = format!("changes[{idx}].key");
            let what = "The key already names an aggregate of another kind. Give each its own key.";
            return Err(MapError::new(Reason::DataType, Some(&place), what).into());
        }
    }
    work.note_parts()?;
    work.decided_before = images::decided_before(&mut work)?;
    // Who is merged into whom decides whom everything else belongs to, so they are found first.
    let mut merged: Vec<usize> = work.parts.keys().copied().collect();
    merged.sort_unstable();
    for idx in merged {
        work.resolve_with_dependencies(idx, context)?;
    }
    work.place_unknown_olds(context);
    for idx in 0..count {
        work.resolve_with_dependencies(idx, context)?;
    }
    work.check_versions()?;
    for touched in &mut work.touched {
        touched.changes.sort_unstable();
    }
    for (target, change) in work.targets.iter().zip(&set.changes) {
        match target {
            Target::Is(_) => {}
            // Nothing was to be there, and nothing is.
            Target::LeftOut if change.find.version == Some(0) => {}
            Target::Unseen | Target::Open | Target::LeftOut | Target::NoOld => {
                work.left_out.push(change.key.clone());
            }
        }
    }
    Ok(work)
}

impl<'a> Work<'a> {
    /// Who says which version they have seen is refused where it is not the newest any more.
    fn check_versions(&self) -> Result<(), ApplyError> {
        for (idx, change) in self.set.changes.iter().enumerate() {
            let Some(seen) = change.find.version else { continue };
            let newest = match self.targets[idx] {
                Target::Is(place) => self.touched[place].before.as_ref().map_or(0, |r| r.meta.version),
                Target::Unseen | Target::Open | Target::LeftOut | Target::NoOld => 0,
            };
            if newest != seen {
                let kind = change.kind().as_str();
                let what = match newest {
                    0 => format!("There is no {kind} yet, and version {seen} was expected."),
                    _ => format!(
                        "The {kind} is at version {newest}, and version {seen} was expected. Read it again."
                    ),
                };
                let place = format!("changes[{idx}].find.version");
                return Err(MapError::new(Reason::Conflict, Some(&place), what).into());
            }
        }
        Ok(())
    }

    /// Depth first, without recursion: a set may chain its changes as long as it likes.
    fn resolve_with_dependencies(&mut self, idx: usize, context: &mut Context<'_>) -> Result<(), ApplyError> {
        let mut stack = vec![idx];
        while let Some(&top) = stack.last() {
            match self.targets[top] {
                Target::Unseen => {
                    self.targets[top] = Target::Open;
                    let unseen = |idx: &usize| self.targets[*idx] == Target::Unseen;
                    stack.extend(self.dependencies(top).into_iter().filter(unseen));
                }
                Target::Open => {
                    self.targets[top] = self.resolve_one(top, context)?;
                    if let Target::Is(place) = self.targets[top] {
                        self.touched[place].changes.push(top);
                    }
                    stack.pop();
                }
                Target::LeftOut | Target::NoOld | Target::Is(_) => {
                    stack.pop();
                }
            }
        }
        Ok(())
    }

    /// The changes that have to be found before this one.
    fn dependencies(&self, idx: usize) -> Vec<usize> {
        let change = &self.set.changes[idx];
        let mut needed = vec![];
        if let Some(first) = self.keys.get(change.key.as_str()).filter(|first| **first != idx) {
            return vec![*first];
        }
        let owner = change
            .find
            .natural
            .as_ref()
            .and_then(|natural| natural.owner.as_ref());
        let from = change.find.from.as_ref();
        for reference in [owner, patient_said(change), from].into_iter().flatten() {
            if let Ref::Local(key) = reference
                && let Some(idx) = self.keys.get(key.as_str())
            {
                needed.push(*idx);
            }
        }
        if let Some(part) = self.parts.get(&idx) {
            needed.extend(&part.survivor_of);
        }
        needed
    }

    fn resolve_one(&mut self, idx: usize, context: &mut Context<'_>) -> Result<Target, ApplyError> {
        let change = &self.set.changes[idx];
        let kind = change.kind();
        if let Some(first) = self.keys.get(change.key.as_str()).filter(|first| **first != idx) {
            return Ok(self.targets[*first]);
        }
        if let Some(id) = change.find.id {
            return self.by_id(idx, id);
        }
        let patient = self.local_or_id(patient_said(change))?;
        let lookups = self.lookups(idx, patient)?;
        let decided = self.decided(context, &change.key);
        let mut others = vec![];
        let found = match (decided, care(kind)) {
            (Some(Choice::Is(id)), _) => {
                let id = self.chosen(idx, id)?;
                if kind == Kind::Patient {
                    self.part_from_others(idx, id, &lookups)?;
                }
                Some(id)
            }
            (Some(Choice::New), _) => {
                if kind == Kind::Patient {
                    self.part_new_from_others(idx, &lookups)?;
                }
                None
            }
            (None, Care::Patient) => self.patient_by_identifiers(idx, &lookups, context)?,
            (None, Care::Chart | Care::Detail) => {
                let mut found = self.on_chart_by_identifiers(idx, &lookups, patient)?.into_iter();
                let first = found.next();
                others.extend(found);
                first
            }
            (None, Care::Directory) => {
                let found = self.matches(&lookups)?;
                self.first_not_strange(idx, &found)?
            }
        };
        let natural = self.natural_keys(change)?;
        let found = match (found, &natural) {
            (None, NaturalKeys::Keys(keys)) if decided.is_none() => match self.by_natural_key(keys)? {
                // An appointment may name another order than before.
                Some(id) if kind == Kind::Order && self.has_another_number(kind, id, change)? => None,
                found => found,
            },
            (None, NaturalKeys::WithinNew(key)) if decided.is_none() => self.said_before(key),
            (found, _) => found,
        };
        let found = match found {
            None if decided.is_none() && change.find.by_report => self.of_examination(idx, patient)?,
            None if decided.is_none() && kind == Kind::Order => self.done_unplanned(idx, patient)?,
            found => found,
        };
        let natural = match natural {
            NaturalKeys::Keys(keys) => keys,
            NaturalKeys::WithinNew(key) => vec![key],
            NaturalKeys::None => vec![],
            NaturalKeys::OwnerLeftOut if found.is_none() => return Ok(Target::LeftOut),
            NaturalKeys::OwnerLeftOut => vec![],
        };
        if found.is_none() && self.was_moved_away(idx, patient)? {
            return Ok(Target::LeftOut);
        }
        let target = match found {
            Some(id) => Some(self.touch(kind, id)?),
            None => self.make(idx, natural.first().cloned(), context)?,
        };
        let Some(target) = target else {
            let is_old = self.parts.get(&idx).is_some_and(|part| !part.old_of.is_empty());
            return Ok(if is_old { Target::NoOld } else { Target::LeftOut });
        };
        self.note_moved(idx, target, patient)?;
        for other in others {
            let other = self.touch(kind, other)?;
            if other == target {
                continue;
            }
            match change.find.joins {
                true => self.joined.push((target, other)),
                false => self.touched[other].changes.push(idx),
            }
        }
        let keys = lookups
            .into_iter()
            .map(|lookup| lookup.key)
            .chain(natural.into_iter().take(1));
        for key in keys {
            let found = self.pending.entry(key).or_default();
            if found.len() < MAX_PENDING && !found.contains(&target) {
                found.push(target);
            }
        }
        Ok(Target::Is(target))
    }

    /// The aggregate that a person chose: it has to be there; a patient is followed to the survivor.
    fn chosen(&mut self, idx: usize, id: Uuid) -> Result<Uuid, ApplyError> {
        let change = &self.set.changes[idx];
        let kind = change.kind();
        if self.reader.load(kind, id)?.is_none() {
            return Err(unknown_id(&change.key, kind).into());
        }
        if kind == Kind::Patient {
            self.follow(idx, id)
        } else {
            Ok(id)
        }
    }

    fn by_id(&mut self, idx: usize, id: Uuid) -> Result<Target, ApplyError> {
        let change = &self.set.changes[idx];
        let kind = change.kind();
        if self.reader.load(kind, id)?.is_none() {
            match change.find.missing {
                Missing::Skip | Missing::SkipUnlessSaid => return Ok(Target::LeftOut),
                Missing::Create | Missing::Park | Missing::ParkUnlessSaid | Missing::Refuse => {}
            }
            return Err(unknown_id(&format!("changes[{idx}].find.id"), kind).into());
        }
        if change.find.by_code {
            self.share_number.1.insert(idx);
        }
        let undone = self.parts.get(&idx).is_some_and(|part| part.undo);
        let id = if kind == Kind::Patient && !undone {
            self.follow(idx, id)?
        } else {
            id
        };
        Ok(Target::Is(self.touch(kind, id)?))
    }

    /// The place of an aggregate among the touched ones.
    pub(super) fn touch(&mut self, kind: Kind, id: Uuid) -> Result<usize, ApplyError> {
        if let Some(place) = self.index.get(&(kind, id)) {
            return Ok(*place);
        }
        let before = self.reader.load(kind, id)?.cloned();
        let after = before
            .as_ref()
            .map_or_else(|| Aggregate::new(kind), |record| record.aggregate.clone());
        Ok(self.push(Touched {
            kind,
            id,
            held: before
                .as_ref()
                .map_or_else(Held::default, |record| record.meta.held.clone()),
            before,
            after,
            changes: vec![],
            natural_keys: vec![],
            verb: None,
        }))
    }

    pub(super) fn push(&mut self, touched: Touched) -> usize {
        let place = self.touched.len();
        self.index.insert((touched.kind, touched.id), place);
        self.touched.push(touched);
        place
    }

    /// A new aggregate, where there may be one.
    fn make(
        &mut self,
        idx: usize,
        natural: Option<FindKey>,
        context: &mut Context<'_>,
    ) -> Result<Option<usize>, ApplyError> {
        let change = &self.set.changes[idx];
        let kind = change.kind();
        let part = self.parts.get(&idx);
        let is_old = part.is_some_and(|part| !part.old_of.is_empty());
        match change.find.missing {
            Missing::Create if is_old => return Ok(None),
            Missing::Skip => return Ok(None),
            Missing::SkipUnlessSaid if self.decided(context, &change.key).is_some() => {}
            Missing::SkipUnlessSaid
                if context.on_unmatched != OnUnmatched::CreateSaid || named(change).next().is_none() =>
            {
                return Ok(None);
            }
            Missing::Create | Missing::SkipUnlessSaid => {}
            // What a person decided stands before both.
            Missing::Park | Missing::ParkUnlessSaid | Missing::Refuse
                if self.decided(context, &change.key).is_some() => {}
            Missing::ParkUnlessSaid
                if context.on_unmatched == OnUnmatched::CreateSaid && self.is_of_a_known_patient(idx)? => {}
            Missing::Park | Missing::ParkUnlessSaid => {
                return Err(ApplyError::Parked {
                    why: format!(
                        "No {} here has a number of the message. Choose which is meant, or make it anew.",
                        kind.as_str()
                    ),
                    about: Some(change.key.clone()),
                    candidates: vec![],
                });
            }
            Missing::Refuse => {
                let place = format!("changes[{idx}].find");
                let what = format!("No {} here is known by this. Nothing was changed.", kind.as_str());
                return Err(MapError::new(Reason::UnknownKey, Some(&place), what).into());
            }
        }
        let named = named(change).next().is_some();
        if kind == Kind::Patient && self.decided(context, &change.key).is_none() {
            let why = match (context.on_unmatched, named || natural.is_some()) {
                (OnUnmatched::Create | OnUnmatched::CreateSaid, true) | (OnUnmatched::Invent, _) => None,
                (OnUnmatched::Create | OnUnmatched::CreateSaid, false) => {
                    Some("The message names no identifier of the patient.")
                }
                (OnUnmatched::Park, _) => Some("No patient here has an identifier of the message."),
            };
            if let Some(why) = why {
                return Err(ApplyError::Parked {
                    why: format!("{why} Choose who is meant, or register the patient."),
                    about: Some(change.key.clone()),
                    candidates: vec![],
                });
            }
        }
        let silent = change.say.is_silent() && change.say_if_new.as_ref().is_none_or(|body| body.is_silent());
        if silent && !named && natural.is_none() {
            return Ok(None);
        }
        let id = (context.new_id)();
        self.reader.is_new(kind, id);
        Ok(Some(self.push(Touched {
            kind,
            id,
            before: None,
            after: Aggregate::new(kind),
            changes: vec![],
            natural_keys: natural.into_iter().collect(),
            verb: None,
            held: Held::default(),
        })))
    }

    // ---- by what it is within another one ----

    fn natural_keys(&mut self, change: &Change) -> Result<NaturalKeys, ApplyError> {
        let Some(natural) = &change.find.natural else {
            return Ok(NaturalKeys::None);
        };
        let kind = change.kind();
        let Some(owner) = &natural.owner else {
            return Ok(NaturalKeys::Keys(vec![FindKey::natural(
                kind,
                None,
                &natural.key,
            )]));
        };
        if let Ref::Local(key) = owner {
            match self.keys.get(key.as_str()).map(|idx| self.targets[*idx]) {
                // Each is within the other: neither says what the other is.
                Some(Target::Open | Target::Unseen) => return Ok(NaturalKeys::None),
                Some(Target::LeftOut | Target::NoOld) | None => return Ok(NaturalKeys::OwnerLeftOut),
                Some(Target::Is(_)) => {}
            }
        }
        let Some(id) = self.local_or_id(Some(owner))? else {
            return Ok(NaturalKeys::OwnerLeftOut);
        };
        if self.reader.was_made(id) {
            return Ok(NaturalKeys::WithinNew(FindKey::natural(
                kind,
                Some(id),
                &natural.key,
            )));
        }
        let mut owners = if self.is_patient(owner) {
            self.reader.selves(id)?
        } else {
            vec![id]
        };
        // What is new is within the record that is named.
        if let Some(old) = self.old_record(owner)
            && let Some(at) = owners.iter().position(|one| *one == old)
        {
            owners.swap(0, at);
        }
        let keys = owners
            .into_iter()
            .map(|id| FindKey::natural(kind, Some(id), &natural.key));
        Ok(NaturalKeys::Keys(keys.collect()))
    }

    fn by_natural_key(&mut self, keys: &[FindKey]) -> Result<Option<Uuid>, ApplyError> {
        for key in keys {
            if let Some(id) = self.said_before(key) {
                return Ok(Some(id));
            }
            if let Some(id) = self.reader.find(key)?.first() {
                return Ok(Some(*id));
            }
        }
        Ok(None)
    }

    /// The new one of this set that has this key.
    fn said_before(&self, key: &FindKey) -> Option<Uuid> {
        let place = self.pending.get(key)?.first()?;
        Some(self.touched[*place].id)
    }

    /// The merged record by whose number alone a patient of the set is named.
    pub(super) fn old_record(&self, reference: &Ref) -> Option<Uuid> {
        let Ref::Local(key) = reference else { return None };
        let idx = self.keys.get(key.as_str())?;
        self.by_old_record.get(idx).copied()
    }

    fn is_patient(&self, reference: &Ref) -> bool {
        match reference {
            Ref::Id(kind, _) => *kind == Kind::Patient,
            Ref::Local(key) => {
                let idx = self.keys.get(key.as_str());
                idx.is_some_and(|idx| self.set.changes[*idx].kind() == Kind::Patient)
            }
        }
    }

    /// The id that a reference of the set leads to, as far as it is known; patients by their survivor.
    pub(super) fn local_or_id(&mut self, reference: Option<&Ref>) -> Result<Option<Uuid>, ApplyError> {
        Ok(match reference {
            None => None,
            Some(Ref::Id(Kind::Patient, id)) => Some(self.reader.survivor(*id)?),
            Some(Ref::Id(_, id)) => Some(*id),
            Some(Ref::Local(key)) => self.keys.get(key.as_str()).and_then(|idx| self.target_id(*idx)),
        })
    }

    /// What a person decided about the change with this key: whoever decides again about the same takes the first back, and
    /// what was decided about this message stands before what was about another.
    pub(super) fn decided(&self, context: &Context<'_>, key: &str) -> Option<Choice> {
        let mut all = self.decided_before.iter().chain(context.decisions);
        all.rfind(|decision| decision.key == key)
            .map(|decision| decision.choice)
    }

    pub(super) fn target_id(&self, idx: usize) -> Option<Uuid> {
        match self.targets[idx] {
            Target::Is(place) => Some(self.touched[place].id),
            Target::Unseen | Target::Open | Target::LeftOut | Target::NoOld => None,
        }
    }
}

/// The keys of what a change is within another aggregate; the first is the one that a new one gets.
enum NaturalKeys {
    None,
    Keys(Vec<FindKey>),
    /// Of something that is new itself: nothing is within it that this set has not put there.
    WithinNew(FindKey),
    OwnerLeftOut,
}

pub(super) fn patient_said(change: &Change) -> Option<&Ref> {
    let new = || change.say_if_new.as_ref().and_then(|body| body.patient());
    change.say.patient().or_else(new)
}

pub(super) fn unknown_id(place: &str, kind: Kind) -> MapError {
    let what = format!(
        "There is no {} with this id. Correct the id, or send the {} first.",
        kind.as_str(),
        kind.as_str()
    );
    MapError::new(Reason::UnknownKey, Some(place), what)
}
