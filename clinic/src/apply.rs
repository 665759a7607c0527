//! Writing a change set to the clinic: finding what it speaks of, changing it, and saying what came of it.
//!
//! Pure: what is there is read through [`Snapshot`], what is to be written comes back as [`Applied`].
//!
//! How a change finds its aggregate, in this order:
//! 1. by `find.id`: it has to be there;
//! 2. by identifiers (`find.identifiers`, else those that the change says);
//! 3. by what it is within another aggregate (`find.natural`);
//! 4. else it is new, or left out, as `find.missing` says.
//!
//! What a person decided about a change ([`Decision`]) stands before all of this.
//!
//! A patient who was merged is followed to the survivor. What could be several patients, visits or orders is parked,
//! and so is a number that is already another patient's. A report that comes late changes nothing that is known. Several
//! changes about one aggregate end as one write. What changed nothing is not written. No reference of what is written
//! leads nowhere.

mod beside;
mod bookings;
mod identify;
mod images;
mod imaging;
mod late;
mod merges;
mod old_records;
mod patients;
mod person;
mod reader;
mod reports;
mod resolve;
mod settle;
mod states;
mod strangers;
mod visits;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

pub use images::same_name;
pub use imaging::PERFORMED_STATUS;
pub use merges::MERGE;

use crate::aggregate::{Meta, Source};
use crate::change_set::ChangeSet;
use crate::exchange::{MapError, Reason};
use crate::held::{Kept, Writer};
use crate::kinds::{Aggregate, Kind};

/// One version of one aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What every aggregate carries.
    pub meta: Meta,
    /// What it says.
    pub aggregate: Aggregate,
}

/// What something is found by: the kind, and a text in a canonical form, of which the store keeps only a keyed hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FindKey {
    /// Among which.
    pub kind: Kind,
    /// The canonical text: `i|system|value` for an identifier, `n|owner id|key` for what it is within another one, and
    /// the other forms of [`crate::keys`].
    pub text: String,
}

/// The clinic as it stood at one moment.
pub trait Snapshot {
    /// Who is found by this key, oldest first. Nobody is a finding too.
    fn find(&self, key: &FindKey) -> Result<Vec<Uuid>, SnapshotError>;
    /// The newest version that this snapshot sees.
    fn load(&self, kind: Kind, id: Uuid) -> Result<Option<Arc<Record>>, SnapshotError>;
}

/// The store could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the clinic could not be read: {0}")]
pub struct SnapshotError(pub String);

/// A clinic in which there is nothing yet: for `convert`, and for channels that decode without applying.
#[derive(Debug, Default)]
pub struct Nobody;

impl Snapshot for Nobody {
    fn find(&self, _: &FindKey) -> Result<Vec<Uuid>, SnapshotError> {
        Ok(vec![])
    }
    fn load(&self, _: Kind, _: Uuid) -> Result<Option<Arc<Record>>, SnapshotError> {
        Ok(None)
    }
}

/// What to do with a patient who is not found.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OnUnmatched {
    /// A new patient, where the message names an identifier; parked where it names none.
    #[default]
    Create,
    /// The same, said in words: also where a message as a rule begins no chart ([`Missing::SkipUnlessSaid`]) or no
    /// order ([`Missing::ParkUnlessSaid`]).
    CreateSaid,
    /// A person decides.
    Park,
    /// A new patient whatever the message names: for a clinic that is not kept (`convert`). No channel can say this.
    #[serde(skip)]
    #[schemars(skip)]
    Invent,
}

/// What a person decided about one change of a set that was parked.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Decision {
    /// The key of the change, as [`ApplyError::Parked`] says it.
    pub key: String,
    /// What was decided.
    pub choice: Choice,
}

/// What a change is about, by a person's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The aggregate with this id, whatever else matches.
    Is(Uuid),
    /// None that is there: a new one, whatever matches.
    New,
}

/// What `apply` needs beside the change set.
pub struct Context<'a> {
    /// Who writes.
    pub source: Source,
    /// Now.
    pub now: Timestamp,
    /// Which site the channel belongs to.
    pub site: Option<String>,
    /// What to do with a patient who is not found.
    pub on_unmatched: OnUnmatched,
    /// What a person decided, where this was parked before.
    pub decisions: &'a [Decision],
    /// True: a message writes over what a person wrote (see [`crate::held`]).
    pub overwrite: bool,
    /// Makes a fresh UUIDv7.
    pub new_id: &'a mut dyn FnMut() -> Uuid,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// What was read, and in which version (0: it was not there): the commit checks that it still is the newest.
    pub reads: Vec<(Kind, Uuid, u64)>,
    /// What was looked up, and who was found: the commit checks that it still is so.
    pub finds: Vec<(FindKey, Vec<Uuid>)>,
    /// What is to be written.
    pub writes: Vec<Write>,
    /// Which aggregate each key of the change set turned out to be. A key that was left out is not here.
    pub ids: BTreeMap<String, (Kind, Uuid)>,
    /// Every aggregate that the change set speaks of or that those refer to, as it stands afterwards.
    pub known: BTreeMap<Uuid, Arc<Record>>,
    /// The keys of the change set that nothing came of: changes that were left out because nothing was found, and
    /// references to keys that are not in the set. What referred to them was left out too.
    pub left_out: Vec<String>,
    /// The orders whose number others have too, so that it names none of them outside.
    pub share_number: BTreeSet<Uuid>,
    /// What the change set says otherwise than a person who wrote it, and what therefore was not taken.
    pub kept: Vec<Kept>,
}

impl Applied {
    /// The patient of the images that the set brings: the record that stays of them.
    pub fn patient_of_images(&self) -> Option<&Record> {
        let mut images = self
            .ids
            .values()
            .filter(|(kind, _)| *kind == Kind::ImagingInstance);
        let object = self.known.get(&images.next()?.1)?;
        let mut id = object.aggregate.patient()?.id()?;
        for _ in 0..self.known.len() {
            let record = self.known.get(&id)?;
            let Aggregate::Patient(patient) = &record.aggregate else {
                return None;
            };
            match patient.merged_into() {
                Some(survivor) => id = survivor,
                None => return Some(record),
            }
        }
        None
    }
}

/// One aggregate to be written.
#[derive(Clone, Debug)]
pub struct Write {
    /// The new version.
    pub record: Arc<Record>,
    /// The version before; none of what is new.
    pub before: Option<Arc<Record>>,
    /// What happened: `created`, `updated`, `merged`, `unmerged`, or the verb of the state it moved to
    /// (`booked`, `cancelled`, `finished` …). The event is `Kind.verb`.
    pub verb: &'static str,
    /// All it is found by through its identifiers from now on. Where `keys_changed`, a store puts these in place of all
    /// keys that it has of this aggregate, its natural keys (texts beginning with `n|`) aside.
    pub keys: Vec<FindKey>,
    /// True where `keys` differ from those of the version before.
    pub keys_changed: bool,
    /// What it is within another aggregate: to be added to what the store has, and never removed. They come from the
    /// change that made the aggregate, so that they are not empty for a new one only.
    pub natural_keys: Vec<FindKey>,
    /// The time that this takes of each practitioner, room or device, all of it: the store puts these in place of the
    /// ones that it has of this aggregate, and refuses overlaps with others. Those of one write never overlap.
    pub bookings: Vec<Booking>,
}

/// Time of somebody or something that only one appointment may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    /// Whose time.
    pub resource: Uuid,
    /// From (included) …
    pub start: Timestamp,
    /// … to (excluded).
    pub end: Timestamp,
    /// Booked beyond what there is room for, on purpose: may overlap.
    pub overbooked: bool,
}

/// Somebody who may be meant.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Candidate {
    /// Which aggregate.
    pub kind: Kind,
    /// Its id.
    pub id: Uuid,
    /// Why it may be meant, by the kinds of its identifiers, without their values.
    pub why: String,
}

/// Nothing is written.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A person has to decide.
    #[error("{why}")]
    Parked {
        /// Why, without personal values.
        why: String,
        /// The key of the change that a [`Decision`] is needed for; none: no choice between records answers it.
        about: Option<String>,
        /// Who may be meant.
        candidates: Vec<Candidate>,
    },
    /// It can't be.
    #[error(transparent)]
    Refused(#[from] MapError),
    /// The store could not be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// The most changes that one set may hold.
pub const MAX_CHANGES: usize = 50_000;

/// Works out what a change set means for the clinic that `snapshot` shows.
pub fn apply(
    changes: &ChangeSet,
    snapshot: &dyn Snapshot,
    mut context: Context<'_>,
) -> Result<Applied, ApplyError> {
    if changes.changes.len() > MAX_CHANGES || changes.merges.len() > MAX_CHANGES {
        let what = format!("More than {MAX_CHANGES} changes in one set. Send it in parts.");
        return Err(MapError::new(Reason::DataType, None, what).into());
    }
    let mut work = resolve::resolve(changes, snapshot, &mut context)?;
    let writer = match &context.source {
        Source::Actor { name, .. } => Writer::Actor(name),
        Source::Message { .. } => Writer::Feed {
            overwrite: context.overwrite,
        },
    };
    settle::settle(&mut work, writer)?;
    reports::come_home(&mut work, writer)?;
    imaging::settle(&mut work, writer, context.decisions)?;
    merges::merge(&mut work, writer)?;
    visits::join(&mut work, writer);
    settle::finish(work, &context)
}
