//! Which patient is meant, and what the merges of a set make of that.

use uuid::Uuid;

use super::identify::{Found, Lookup, named, same, same_number};
use super::resolve::{Target, Touched, Work};
use super::{ApplyError, Context};
use crate::change_set::Missing;
use crate::cnp::is_national;
use crate::exchange::{MapError, Reason};
use crate::held::Held;
use crate::kinds::{Aggregate, Kind};
use crate::value::{Identifier, IdentifierUse};

/// Which part a change plays in the merges of its set.
#[derive(Clone, Default)]
pub(super) struct Part {
    /// The survivors that it is merged into.
    pub(super) old_of: Vec<usize>,
    /// The records that are merged into it.
    pub(super) survivor_of: Vec<usize>,
    /// Merges are undone.
    pub(super) undo: bool,
}

impl Work<'_> {
    pub(super) fn note_parts(&mut self) -> Result<(), ApplyError> {
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
            if merge.link {
                continue;
            }
            let part = self.parts.entry(old).or_default();
            part.old_of.push(survivor);
            part.undo |= merge.undo;
            let part = self.parts.entry(survivor).or_default();
            part.survivor_of.push(old);
            part.undo |= merge.undo;
        }
        Ok(())
    }

    /// To the survivor; notes it where a merge names an old record that had been merged before.
    pub(super) fn follow(&mut self, idx: usize, id: Uuid) -> Result<Uuid, ApplyError> {
        let survivor = self.reader.survivor(id)?;
        if survivor != id && self.parts.contains_key(&idx) {
            self.by_link.insert(idx, id);
        }
        Ok(survivor)
    }

    pub(super) fn patient_by_identifiers(
        &mut self,
        idx: usize,
        lookups: &[Lookup<'_>],
        context: &Context<'_>,
    ) -> Result<Option<Uuid>, ApplyError> {
        let raw = self.matches(lookups)?;
        if let Some(unmerged) = self.by_undone_merge(idx, &raw, lookups)? {
            return Ok(Some(unmerged));
        }
        let mut found: Vec<Found> = vec![];
        let named_by: Vec<Uuid> = raw.iter().map(|candidate| candidate.id).collect();
        for candidate in raw {
            let id = self.follow(idx, candidate.id)?;
            match found.iter_mut().find(|f| f.id == id) {
                Some(known) => known.join(candidate),
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
        let found = self.without_strangers(idx, found, context)?;
        let found = self.of_issuer(idx, found)?;
        match found.as_slice() {
            [] => Ok(None),
            [one] => {
                self.check_national(idx, one)?;
                if self.by_link.contains_key(&idx) && self.has_of_its_own(one.id, lookups)? {
                    self.by_link.remove(&idx);
                }
                let (id, others) = (one.id, named_by.into_iter().filter(|id| *id != one.id));
                self.note_old_record(idx, id, others.collect(), lookups)?;
                Ok(Some(id))
            }
            several => Err(self.ambiguous(idx, several)),
        }
    }

    /// A sender who knows nothing of a merge names the old record. What they say of it hangs on it, so that it goes with it
    /// where the merge is undone.
    fn note_old_record(
        &mut self,
        idx: usize,
        survivor: Uuid,
        merged: Vec<Uuid>,
        lookups: &[Lookup<'_>],
    ) -> Result<(), ApplyError> {
        if merged.is_empty() || self.parts.contains_key(&idx) || self.has_of_its_own(survivor, lookups)? {
            return Ok(());
        }
        let mut named = vec![];
        for id in merged {
            if self.merged_into(id)?.is_some() && self.has_of_its_own(id, lookups)? {
                named.push(id);
            }
        }
        if let [one] = named.as_slice() {
            self.by_old_record.insert(idx, *one);
        }
        Ok(())
    }

    /// A number that ended (A47) stays an old one, also where a late message names the patient by it. Who says which number ends
    /// says with it which one holds.
    pub(super) fn keep_ended_numbers(&self, place: usize, changes: &[usize], after: &mut Aggregate) {
        let touched = &self.touched[place];
        let Some(Aggregate::Patient(before)) = touched.before.as_ref().map(|record| &record.aggregate) else {
            return;
        };
        let is_old = |number: &Identifier| number.usage == Some(IdentifierUse::Old);
        let mut said = changes
            .iter()
            .flat_map(|idx| self.set.changes[*idx].say.identifiers());
        if said.any(is_old) {
            return;
        }
        let ended: Vec<&Identifier> = before
            .identifiers
            .iter()
            .filter(|number| is_old(number))
            .collect();
        if let Aggregate::Patient(patient) = after {
            for number in &mut patient.identifiers {
                if number.usage.is_none() && ended.iter().any(|ended| same(ended, number)) {
                    number.usage = Some(IdentifierUse::Old);
                }
            }
        }
    }

    /// True where one of the numbers is the patient's own, and did not come by a merge.
    pub(super) fn has_of_its_own(&mut self, id: Uuid, lookups: &[Lookup<'_>]) -> Result<bool, ApplyError> {
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
    pub(super) fn by_undone_merge(
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
                several => Err(self.ambiguous(idx, several)),
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

    pub(super) fn merged_into(&mut self, id: Uuid) -> Result<Option<Uuid>, ApplyError> {
        let record = self.reader.load(Kind::Patient, id)?;
        Ok(record.and_then(|record| match &record.aggregate {
            Aggregate::Patient(patient) => patient.merged_into(),
            _ => None,
        }))
    }

    /// One person has one national number: who has another one is somebody else, whatever else agrees.
    pub(super) fn check_national(&mut self, idx: usize, found: &Found) -> Result<(), ApplyError> {
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
                    about: Some(set.changes[idx].key.clone()),
                    candidates: vec![found.candidate(Kind::Patient)],
                });
            }
        }
        Ok(())
    }

    /// An old record that is not there leads to the survivor: its numbers are just added there. Where the survivor is
    /// new too, both are made, so that nothing that is said of either is lost. An old record that is the survivor
    /// already says nothing itself.
    pub(super) fn place_unknown_olds(&mut self, context: &mut Context<'_>) {
        let set = self.set;
        for merge in set.merges.iter().filter(|merge| !merge.link) {
            let side = |key: &str| self.keys.get(key).copied();
            let (Some(survivor), Some(old)) = (side(&merge.survivor), side(&merge.old)) else {
                continue;
            };
            let Target::Is(place) = self.targets[survivor] else {
                continue;
            };
            match self.targets[old] {
                Target::NoOld if !merge.undo => {
                    let is_new = self.touched[place].before.is_none();
                    let (change, stays) = (&set.changes[old], &set.changes[survivor]);
                    let own = named(change).any(|number| !named(stays).any(|other| same(number, other)));
                    let target = if is_new && own && change.find.missing == Missing::Create {
                        let id = (context.new_id)();
                        self.reader.is_new(Kind::Patient, id);
                        self.push(Touched {
                            kind: Kind::Patient,
                            id,
                            before: None,
                            after: Aggregate::new(Kind::Patient),
                            changes: vec![],
                            natural_keys: vec![],
                            verb: None,
                            held: Held::default(),
                        })
                    } else {
                        self.mute[old] = true;
                        place
                    };
                    self.targets[old] = Target::Is(target);
                    self.touched[target].changes.push(old);
                }
                Target::Is(old_place) if place == old_place && old != survivor => self.mute[old] = true,
                Target::NoOld | Target::Is(_) | Target::LeftOut | Target::Unseen | Target::Open => {}
            }
        }
    }
}
