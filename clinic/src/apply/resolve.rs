//! Which aggregate each change is about.

use std::collections::HashMap;

use uuid::Uuid;

use super::reader::{Reader, replaced_by};
use super::{ApplyError, Candidate, Context, FindKey, OnUnmatched, Record, Snapshot};
use crate::change_set::{Change, ChangeSet, Missing};
use crate::cnp::is_national;
use crate::exchange::{MapError, Reason};
use crate::keys::{Care, care, kind_code, names_one, same_series, system};
use crate::kinds::{Aggregate, Kind};
use crate::value::{Identifier, IdentifierUse, Ref};

/// One aggregate that the change set speaks of.
pub(super) struct Touched {
    pub(super) kind: Kind,
    pub(super) id: Uuid,
    /// As it stood; none for a new one.
    pub(super) before: Option<Record>,
    /// As it stands afterwards; worked out after all is found.
    pub(super) after: Aggregate,
    /// The changes about it, in the order of the set.
    pub(super) changes: Vec<usize>,
    pub(super) natural_keys: Vec<FindKey>,
    /// A verb that says more than the states do.
    pub(super) verb: Option<&'static str>,
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

/// Which part a change plays in the merges of its set.
#[derive(Clone, Default)]
struct Part {
    /// The survivors that it is merged into.
    old_of: Vec<usize>,
    /// The records that are merged into it.
    survivor_of: Vec<usize>,
    /// Merges are undone.
    undo: bool,
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
    pub(super) left_out: Vec<String>,
    parts: HashMap<usize, Part>,
    /// What is found by the words of this set alone.
    pending: HashMap<FindKey, Vec<usize>>,
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
        left_out: vec![],
        parts: HashMap::new(),
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
    // Who is merged into whom decides whom everything else belongs to, so they are found first.
    let mut merged: Vec<usize> = work.parts.keys().copied().collect();
    merged.sort_unstable();
    for idx in merged {
        work.resolve_with_dependencies(idx, context)?;
    }
    work.place_unknown_olds();
    for idx in 0..count {
        work.resolve_with_dependencies(idx, context)?;
    }
    for idx in 0..count {
        match work.targets[idx] {
            Target::Is(touched) => work.touched[touched].changes.push(idx),
            Target::Unseen | Target::Open | Target::LeftOut | Target::NoOld => {
                work.left_out.push(set.changes[idx].key.clone());
            }
        }
    }
    Ok(work)
}

impl<'a> Work<'a> {
    fn note_parts(&mut self) -> Result<(), ApplyError> {
        for (merge_idx, merge) in self.set.merges.iter().enumerate() {
            let side = |key: &str, field: &str| {
                let idx = self.keys.get(key).copied();
                let idx = idx.filter(|idx| self.set.changes[*idx].kind() == Kind::Patient);
                idx.ok_or_else(|| {
                    let place = format!("merges[{merge_idx}].{field}");
                    MapError::new(
                        Reason::UnknownKey,
                        Some(&place),
                        "It names no patient of this change set.",
                    )
                })
            };
            let (survivor, old) = (side(&merge.survivor, "survivor")?, side(&merge.old, "old")?);
            let part = self.parts.entry(old).or_default();
            part.old_of.push(survivor);
            part.undo |= merge.undo;
            let part = self.parts.entry(survivor).or_default();
            part.survivor_of.push(old);
            part.undo |= merge.undo;
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
        for reference in [owner, patient_said(change)].into_iter().flatten() {
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
        let found = match care(kind) {
            Care::Patient => self.patient_by_identifiers(idx, &lookups)?,
            Care::Chart | Care::Detail => self.on_chart_by_identifiers(idx, &lookups, patient)?,
            Care::Directory => self.matches(&lookups)?.first().map(|found| found.id),
        };
        let natural = self.natural_keys(change)?;
        let found = match (found, &natural) {
            (None, NaturalKeys::Keys(keys)) => self.by_natural_key(keys)?,
            (found, _) => found,
        };
        let natural = match natural {
            NaturalKeys::Keys(keys) => keys,
            NaturalKeys::None => vec![],
            NaturalKeys::OwnerLeftOut if found.is_none() => return Ok(Target::LeftOut),
            NaturalKeys::OwnerLeftOut => vec![],
        };
        let target = match found {
            Some(id) => Some(self.touch(kind, id)?),
            None => self.make(idx, natural.first().cloned(), context)?,
        };
        let Some(target) = target else {
            let is_old = self.parts.get(&idx).is_some_and(|part| !part.old_of.is_empty());
            return Ok(if is_old { Target::NoOld } else { Target::LeftOut });
        };
        let keys = lookups
            .into_iter()
            .map(|lookup| lookup.key)
            .chain(natural.into_iter().take(1));
        for key in keys {
            let found = self.pending.entry(key).or_default();
            if !found.contains(&target) {
                found.push(target);
            }
        }
        Ok(Target::Is(target))
    }

    fn by_id(&mut self, idx: usize, id: Uuid) -> Result<Target, ApplyError> {
        let change = &self.set.changes[idx];
        let kind = change.kind();
        if self.reader.load(kind, id)?.is_none() {
            if change.find.missing == Missing::Skip {
                return Ok(Target::LeftOut);
            }
            return Err(unknown_id(&format!("changes[{idx}].find.id"), kind).into());
        }
        let undone = self.parts.get(&idx).is_some_and(|part| part.undo);
        let id = if kind == Kind::Patient && !undone {
            self.follow(idx, id)?
        } else {
            id
        };
        Ok(Target::Is(self.touch(kind, id)?))
    }

    /// To the survivor; notes it where a merge names an old record that had been merged before.
    fn follow(&mut self, idx: usize, id: Uuid) -> Result<Uuid, ApplyError> {
        let survivor = self.reader.survivor(id)?;
        if survivor != id && self.parts.contains_key(&idx) {
            self.by_link.insert(idx, id);
        }
        Ok(survivor)
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
            before,
            after,
            changes: vec![],
            natural_keys: vec![],
            verb: None,
        }))
    }

    fn push(&mut self, touched: Touched) -> usize {
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
        if change.find.missing == Missing::Skip || is_old {
            return Ok(None);
        }
        let named = named(change).next().is_some();
        if kind == Kind::Patient {
            let why = match (context.on_unmatched, named || natural.is_some()) {
                (OnUnmatched::Create, true) => None,
                (OnUnmatched::Create, false) => Some("The message names no identifier of the patient."),
                (OnUnmatched::Park, _) => Some("No patient here has an identifier of the message."),
            };
            if let Some(why) = why {
                return Err(ApplyError::Parked {
                    why: format!("{why} Choose who is meant, or register the patient."),
                    candidates: vec![],
                });
            }
        }
        let silent = change.say.is_silent() && change.say_if_new.as_ref().is_none_or(|body| body.is_silent());
        if silent && !named && natural.is_none() {
            return Ok(None);
        }
        let id = (context.new_id)();
        if kind == Kind::Patient {
            self.reader.is_new(id);
        }
        Ok(Some(self.push(Touched {
            kind,
            id,
            before: None,
            after: Aggregate::new(kind),
            changes: vec![],
            natural_keys: natural.into_iter().collect(),
            verb: None,
        })))
    }

    // ---- by identifiers ----

    /// The keys to look for, each with the identifier that it comes from.
    fn lookups(&mut self, idx: usize, patient: Option<Uuid>) -> Result<Vec<Lookup<'a>>, ApplyError> {
        let set = self.set;
        let change = &set.changes[idx];
        let kind = change.kind();
        let others = self.named_by_survivors(idx);
        let mut all: Vec<&'a Identifier> = named(change).filter(|id| names_one(kind, id)).collect();
        // A merge may name the old record by all its numbers, also by those that the survivor has too: only the
        // others tell the two apart.
        if all.iter().any(|id| !others.iter().any(|other| same(id, other))) {
            all.retain(|id| !others.iter().any(|other| same(id, other)));
        }
        let mut out: Vec<Lookup<'a>> = Vec::with_capacity(all.len());
        for identifier in all {
            let owners = match patient {
                Some(patient) if system(identifier).is_none() => self.reader.selves(patient)?,
                _ => vec![],
            };
            let owners: Vec<Option<Uuid>> = if owners.is_empty() {
                vec![None]
            } else {
                owners.into_iter().map(Some).collect()
            };
            for owner in owners {
                if let Some(key) = FindKey::identifier(kind, identifier, owner)
                    && !out.iter().any(|lookup| lookup.key == key)
                {
                    out.push(Lookup { key, identifier });
                }
            }
        }
        Ok(out)
    }

    fn named_by_survivors(&self, idx: usize) -> Vec<&'a Identifier> {
        let set = self.set;
        let survivors = self.parts.get(&idx).map_or(&[][..], |part| &part.old_of);
        survivors
            .iter()
            .flat_map(|survivor| named(&set.changes[*survivor]))
            .collect()
    }

    /// Who is found, in the store and in this set, each once, with the kinds of the identifiers that led there.
    fn matches(&mut self, lookups: &[Lookup<'_>]) -> Result<Vec<Found>, ApplyError> {
        let mut found: Vec<Found> = vec![];
        for lookup in lookups {
            let stored = self.reader.find(&lookup.key)?.to_vec();
            let pending = self.pending.get(&lookup.key).map_or(&[][..], Vec::as_slice);
            let pending = pending.iter().map(|place| self.touched[*place].id);
            for id in stored.into_iter().chain(pending) {
                let why = kind_code(lookup.identifier);
                match found.iter_mut().find(|f| f.id == id) {
                    Some(known) => known.note(why),
                    None => found.push(Found::new(id, why)),
                }
            }
        }
        Ok(found)
    }

    fn patient_by_identifiers(
        &mut self,
        idx: usize,
        lookups: &[Lookup<'_>],
    ) -> Result<Option<Uuid>, ApplyError> {
        let raw = self.matches(lookups)?;
        if let Some(unmerged) = self.by_undone_merge(idx, &raw, lookups)? {
            return Ok(Some(unmerged));
        }
        let mut found: Vec<Found> = vec![];
        for candidate in raw {
            let id = self.follow(idx, candidate.id)?;
            match found.iter_mut().find(|f| f.id == id) {
                Some(known) => candidate.why.iter().for_each(|why| known.note(why)),
                None => found.push(Found { id, ..candidate }),
            }
        }
        // A merge is how two records with one number are put right: the one that goes is not the one that stays.
        let olds = self
            .parts
            .get(&idx)
            .map_or(vec![], |part| part.survivor_of.clone());
        let olds: Vec<Uuid> = olds.into_iter().filter_map(|old| self.target_id(old)).collect();
        if found.iter().any(|f| !olds.contains(&f.id)) {
            found.retain(|f| !olds.contains(&f.id));
        }
        match found.as_slice() {
            [] => Ok(None),
            [one] => {
                self.check_national(idx, one)?;
                if self.by_link.contains_key(&idx) && self.has_of_its_own(one.id, lookups)? {
                    self.by_link.remove(&idx);
                }
                Ok(Some(one.id))
            }
            several => Err(self.ambiguous(Kind::Patient, several)),
        }
    }

    /// True where one of the numbers is the patient's own, and did not come by a merge.
    fn has_of_its_own(&mut self, id: Uuid, lookups: &[Lookup<'_>]) -> Result<bool, ApplyError> {
        let Some(record) = self.reader.load(Kind::Patient, id)? else {
            return Ok(false);
        };
        let own = record
            .aggregate
            .identifiers()
            .iter()
            .filter(|id| id.usage != Some(IdentifierUse::Old));
        Ok(own
            .into_iter()
            .any(|id| lookups.iter().any(|lookup| same(id, lookup.identifier))))
    }

    /// In a merge that is to be undone the old record itself is meant, and the one that it leads to.
    fn by_undone_merge(
        &mut self,
        idx: usize,
        raw: &[Found],
        lookups: &[Lookup<'_>],
    ) -> Result<Option<Uuid>, ApplyError> {
        let Some(part) = self.parts.get(&idx).filter(|part| part.undo).cloned() else {
            return Ok(None);
        };
        let mut merged: Vec<Found> = vec![];
        if !part.old_of.is_empty() {
            for candidate in raw {
                // In a chain the number came to further records, which are merged too: it is the first one's.
                if self.merged_into(candidate.id)?.is_some() && self.has_of_its_own(candidate.id, lookups)? {
                    merged.push(candidate.clone());
                }
            }
            return match merged.as_slice() {
                [] => Ok(None),
                [one] => Ok(Some(one.id)),
                several => Err(self.ambiguous(Kind::Patient, several)),
            };
        }
        for old in part.survivor_of {
            let Some(old) = self.target_id(old) else { continue };
            if let Some(survivor) = self.merged_into(old)?
                && raw.iter().any(|candidate| candidate.id == survivor)
            {
                return Ok(Some(survivor));
            }
        }
        Ok(None)
    }

    fn merged_into(&mut self, id: Uuid) -> Result<Option<Uuid>, ApplyError> {
        let record = self.reader.load(Kind::Patient, id)?;
        Ok(record.and_then(|record| match &record.aggregate {
            Aggregate::Patient(patient) => replaced_by(patient),
            _ => None,
        }))
    }

    /// One person has one national number: who has another one is somebody else, whatever else agrees.
    fn check_national(&mut self, idx: usize, found: &Found) -> Result<(), ApplyError> {
        let set = self.set;
        let said: Vec<&Identifier> = named(&set.changes[idx]).filter(|id| is_national(id)).collect();
        if said.is_empty() {
            return Ok(());
        }
        let Some(record) = self.reader.load(Kind::Patient, found.id)? else {
            return Ok(());
        };
        for number in &said {
            let stored = || {
                record
                    .aggregate
                    .identifiers()
                    .iter()
                    .filter(|id| same_number(id, number))
            };
            let current = |id: &Identifier| id.usage != Some(IdentifierUse::Old) && !id.value.is_empty();
            if !stored().any(current) {
                continue;
            }
            // A number that came by a merge is one of the person's own by somebody's decision.
            let agrees = stored().any(|id| said.iter().any(|s| same_number(s, id) && s.value == id.value));
            if !agrees {
                return Err(ApplyError::Parked {
                    why: "The patient who is found has another national number than the message says. \
                          Decide whether it is the same person."
                        .to_owned(),
                    candidates: vec![found.candidate(Kind::Patient)],
                });
            }
        }
        Ok(())
    }

    fn on_chart_by_identifiers(
        &mut self,
        idx: usize,
        lookups: &[Lookup<'_>],
        patient: Option<Uuid>,
    ) -> Result<Option<Uuid>, ApplyError> {
        let set = self.set;
        let change = &set.changes[idx];
        let kind = change.kind();
        let chart = care(kind) == Care::Chart;
        let (mut mine, mut others) = (vec![], vec![]);
        for found in self.matches(lookups)? {
            if chart && self.has_another_number(kind, found.id, change)? {
                continue;
            }
            let theirs = self.patient_of(kind, found.id)?;
            if patient.is_none() || theirs.is_none() || theirs == patient {
                mine.push(found);
            } else {
                others.push(found);
            }
        }
        if chart && !others.is_empty() {
            return Err(ApplyError::Parked {
                why: format!(
                    "The {} with a number of the message belongs to another patient than the message says. \
                     Decide whose it is.",
                    kind.as_str()
                ),
                candidates: others.iter().map(|found| found.candidate(kind)).collect(),
            });
        }
        match mine.as_slice() {
            [] => Ok(None),
            several @ [_, _, ..] if chart => Err(self.ambiguous(kind, several)),
            [first, ..] => Ok(Some(first.id)),
        }
    }

    /// Two tests of one order share the placer's number, and each has its own of the filler: who has another number
    /// of the same series is something else.
    fn has_another_number(&mut self, kind: Kind, id: Uuid, change: &Change) -> Result<bool, ApplyError> {
        let set = self.set;
        let differ = |theirs: &[Identifier]| {
            named(change)
                .filter(|said| !kind_code(said).is_empty() && names_one(kind, said))
                .any(|said| {
                    let mut series = theirs.iter().filter(|t| same_series(t, said)).peekable();
                    series.peek().is_some() && series.all(|t| t.value != said.value)
                })
        };
        let stored = match self.index.get(&(kind, id)) {
            Some(place) => self.touched[*place].before.as_ref(),
            None => self.reader.load(kind, id)?,
        };
        if let Some(record) = stored {
            return Ok(differ(record.aggregate.identifiers()));
        }
        let place = self.index.get(&(kind, id)).copied();
        let same_target = |idx: &usize| place.is_some_and(|place| self.targets[*idx] == Target::Is(place));
        let said = (0..set.changes.len())
            .filter(same_target)
            .flat_map(|idx| named(&set.changes[idx]));
        Ok(differ(&said.cloned().collect::<Vec<_>>()))
    }

    /// Whose it is, by the survivor of merges.
    fn patient_of(&mut self, kind: Kind, id: Uuid) -> Result<Option<Uuid>, ApplyError> {
        let stored = match self.index.get(&(kind, id)) {
            Some(place) => self.touched[*place].before.as_ref(),
            None => self.reader.load(kind, id)?,
        };
        if let Some(record) = stored {
            let Some(patient) = record.aggregate.patient().and_then(Ref::id) else {
                return Ok(None);
            };
            return Ok(Some(self.reader.survivor(patient)?));
        }
        let set = self.set;
        let place = self.index.get(&(kind, id)).copied();
        let maker = (0..set.changes.len())
            .find(|idx| place.is_some_and(|place| self.targets[*idx] == Target::Is(place)));
        match maker {
            Some(idx) => self.local_or_id(patient_said(&set.changes[idx])),
            None => Ok(None),
        }
    }

    fn ambiguous(&self, kind: Kind, several: &[Found]) -> ApplyError {
        let stored = several.iter().filter(|found| {
            let place = self.index.get(&(kind, found.id));
            place.is_none_or(|place| self.touched[*place].before.is_some())
        });
        ApplyError::Parked {
            why: format!(
                "{} of kind {} match this message. Choose which is meant.",
                several.len(),
                kind.as_str()
            ),
            candidates: stored.map(|found| found.candidate(kind)).collect(),
        }
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
        let owners = if self.is_patient(owner) {
            self.reader.selves(id)?
        } else {
            vec![id]
        };
        let keys = owners
            .into_iter()
            .map(|id| FindKey::natural(kind, Some(id), &natural.key));
        Ok(NaturalKeys::Keys(keys.collect()))
    }

    fn by_natural_key(&mut self, keys: &[FindKey]) -> Result<Option<Uuid>, ApplyError> {
        for key in keys {
            if let Some(place) = self.pending.get(key).and_then(|places| places.first()) {
                return Ok(Some(self.touched[*place].id));
            }
            if let Some(id) = self.reader.find(key)?.first() {
                return Ok(Some(*id));
            }
        }
        Ok(None)
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
    fn local_or_id(&mut self, reference: Option<&Ref>) -> Result<Option<Uuid>, ApplyError> {
        Ok(match reference {
            None => None,
            Some(Ref::Id(Kind::Patient, id)) => Some(self.reader.survivor(*id)?),
            Some(Ref::Id(_, id)) => Some(*id),
            Some(Ref::Local(key)) => self.keys.get(key.as_str()).and_then(|idx| self.target_id(*idx)),
        })
    }

    fn target_id(&self, idx: usize) -> Option<Uuid> {
        match self.targets[idx] {
            Target::Is(place) => Some(self.touched[place].id),
            Target::Unseen | Target::Open | Target::LeftOut | Target::NoOld => None,
        }
    }

    /// An old record that is not there, or is the survivor already, leads to the survivor and says nothing itself.
    fn place_unknown_olds(&mut self) {
        for merge in &self.set.merges {
            let side = |key: &str| self.keys.get(key).copied();
            let (Some(survivor), Some(old)) = (side(&merge.survivor), side(&merge.old)) else {
                continue;
            };
            match (self.targets[survivor], self.targets[old]) {
                (Target::Is(place), Target::NoOld) if !merge.undo => {
                    self.targets[old] = Target::Is(place);
                    self.mute[old] = true;
                }
                (Target::Is(place), Target::Is(old_place)) if place == old_place && old != survivor => {
                    self.mute[old] = true;
                }
                _ => {}
            }
        }
    }
}

/// The keys of what a change is within another aggregate; the first is the one that a new one gets.
enum NaturalKeys {
    None,
    Keys(Vec<FindKey>),
    OwnerLeftOut,
}

struct Lookup<'a> {
    key: FindKey,
    identifier: &'a Identifier,
}

#[derive(Clone)]
struct Found {
    id: Uuid,
    why: Vec<String>,
}

impl Found {
    fn new(id: Uuid, why: &str) -> Self {
        Found {
            id,
            why: vec![why.to_owned()],
        }
    }

    fn note(&mut self, why: &str) {
        if !self.why.iter().any(|known| known == why) {
            self.why.push(why.to_owned());
        }
    }

    fn candidate(&self, kind: Kind) -> Candidate {
        let kinds: Vec<&str> = self
            .why
            .iter()
            .map(String::as_str)
            .filter(|kind| !kind.is_empty())
            .collect();
        let why = if kinds.is_empty() {
            "matches by an identifier".to_owned()
        } else {
            format!("matches by {}", kinds.join(", "))
        };
        Candidate {
            kind,
            id: self.id,
            why,
        }
    }
}

/// What a change is found by: `find.identifiers`, else those that it says, else those that it says of a new one.
pub(super) fn named(change: &Change) -> impl Iterator<Item = &Identifier> {
    let new = || {
        change
            .say_if_new
            .as_ref()
            .map_or(&[][..], |body| body.identifiers())
    };
    let ways = [
        change.find.identifiers.as_slice(),
        change.say.identifiers(),
        new(),
    ];
    let first = ways
        .into_iter()
        .find(|way| way.iter().any(|identifier| !identifier.value.is_empty()));
    first
        .unwrap_or_default()
        .iter()
        .filter(|identifier| !identifier.value.is_empty())
}

fn patient_said(change: &Change) -> Option<&Ref> {
    let new = || change.say_if_new.as_ref().and_then(|body| body.patient());
    change.say.patient().or_else(new)
}

fn same(one: &Identifier, other: &Identifier) -> bool {
    system(one) == system(other) && one.value == other.value
}

/// Two national numbers of one country: of one system, or (without) of one kind.
fn same_number(one: &Identifier, other: &Identifier) -> bool {
    is_national(one)
        && is_national(other)
        && system(one) == system(other)
        && (system(one).is_some() || kind_code(one) == kind_code(other))
}

pub(super) fn unknown_id(place: &str, kind: Kind) -> MapError {
    let what = format!(
        "There is no {} with this id. Correct the id, or send the {} first.",
        kind.as_str(),
        kind.as_str()
    );
    MapError::new(Reason::UnknownKey, Some(place), what)
}
