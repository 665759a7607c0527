//! Which values of an aggregate a person wrote, and what a feed may still do with them.
//!
//! What a person (or a program with a key of the API) writes by the write door stays when a message of a channel says
//! otherwise. Held is a field, or in a list the entries of one group (see [`Item::group`]): a second telephone number
//! leaves the first alone. Three things a feed may do all the same:
//! - say the same;
//! - add to a value without changing what stands there (the end of a period that has a beginning);
//! - move a `status` on that is not an end: what was booked arrives, what was ordered is completed. A state in which
//!   things end ([`ENDS`]) stays.
//!
//! What is not taken is told ([`crate::apply::Applied::kept`]), never dropped in silence.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kinds::Kind;
use crate::patch::{Item, Items, Patch};

/// The states in which a thing ends.
pub const ENDS: &[&str] = &[
    "cancelled",
    "completed",
    "entered-in-error",
    "finished",
    "fulfilled",
    "noshow",
    "not-done",
    "revoked",
    "stopped",
    "superseded",
];

/// A group that stands for all of a field, also for those that are to come. It is never stored.
pub(crate) const WHOLE: &str = "*";

/// The field whose state moves on.
const STATUS: &str = "status";

/// Who wrote what: field → group (empty: the field as a whole) → name of the actor. What is not here came by messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Held(BTreeMap<String, BTreeMap<String, String>>);

impl Held {
    /// True where nobody wrote anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields of which something is held.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Who wrote something of a field: the first by name.
    pub fn who(&self, field: &str) -> Option<&str> {
        self.0.get(field)?.values().map(String::as_str).min()
    }

    /// The groups of a field that are held.
    pub(crate) fn of(&self, field: &str) -> Groups<'_> {
        Groups(self.0.get(field))
    }

    pub(crate) fn has(&self, field: &str, group: &str) -> bool {
        self.of(field).has(group)
    }

    pub(crate) fn hold(&mut self, field: &str, group: &str, actor: &str) {
        self.0
            .entry(field.to_owned())
            .or_default()
            .insert(group.to_owned(), actor.to_owned());
    }

    pub(crate) fn release(&mut self, field: &str, group: &str) {
        if let Some(groups) = self.0.get_mut(field) {
            groups.remove(group);
            if groups.is_empty() {
                self.0.remove(field);
            }
        }
    }

    /// Takes over who made a difference: an actor holds it, a channel that may overwrite releases it. One that may not
    /// has changed nothing that is held but a state that moves on.
    pub(crate) fn note(&mut self, changed: Vec<(&'static str, Vec<String>)>, by: Writer<'_>) {
        for (field, groups) in changed {
            for group in groups {
                match by {
                    Writer::Actor(name) => self.hold(field, &group, name),
                    Writer::Feed { overwrite: true } => self.release(field, &group),
                    Writer::Feed { overwrite: false } if field == STATUS => self.release(field, &group),
                    Writer::Feed { overwrite: false } => {}
                }
            }
        }
    }
}

/// Who writes.
#[derive(Clone, Copy)]
pub(crate) enum Writer<'a> {
    /// A person or a key.
    Actor(&'a str),
    /// A message of a channel.
    Feed {
        /// Whether the channel writes over what a person wrote.
        overwrite: bool,
    },
}

/// The groups of one field that are held.
#[derive(Clone, Copy)]
pub(crate) struct Groups<'h>(Option<&'h BTreeMap<String, String>>);

impl Groups<'_> {
    fn has(self, group: &str) -> bool {
        let has = |groups: &BTreeMap<_, _>| groups.contains_key(group) || groups.contains_key(WHOLE);
        self.0.is_some_and(has)
    }

    /// Of a state that has not come to an end nothing is held.
    pub(crate) fn unless_it_moves<T: Serialize>(self, field: &str, now: &T) -> Self {
        if field != STATUS {
            return self;
        }
        let ended =
            serde_json::to_value(now).is_ok_and(|now| now.as_str().is_some_and(|now| ENDS.contains(&now)));
        if ended { self } else { Groups(None) }
    }
}

/// A value of a message that was not taken, because a person wrote another one, a later report said it otherwise, or a visit is in a
/// state that such a message does not move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Of which kind of aggregate.
    pub kind: Kind,
    /// Of which.
    pub id: uuid::Uuid,
    /// Which field; `merge` where the records were parted by that person.
    pub field: String,
    /// Who wrote what stands there.
    pub by: String,
}

impl Kept {
    pub(crate) fn new(kind: Kind, id: uuid::Uuid, field: &str, by: &str) -> Self {
        Kept {
            kind,
            id,
            field: field.to_owned(),
            by: by.to_owned(),
        }
    }
}

/// A field: what of a patch gives way, and what differs between two versions.
pub(crate) trait Holdable {
    type Patch: Clone;
    /// What is left of a patch besides what is held. None: all of it.
    fn yielding(&self, patch: &Self::Patch, held: Groups<'_>) -> Option<Self::Patch>;
    /// The groups in which the two differ.
    fn differing(&self, other: &Self) -> Vec<String>;
}

impl<T: Clone + PartialEq + Serialize> Holdable for Option<T> {
    type Patch = Patch<T>;

    fn yielding(&self, patch: &Patch<T>, held: Groups<'_>) -> Option<Patch<T>> {
        if !held.has("") {
            return None;
        }
        let fine = match (patch, self) {
            (Patch::Absent, _) | (Patch::Clear, None) => true,
            (Patch::Clear, Some(_)) | (Patch::Set(_), None) => false,
            (Patch::Set(said), Some(now)) => said == now || only_adds(now, said),
        };
        (!fine).then_some(Patch::Absent)
    }

    fn differing(&self, other: &Self) -> Vec<String> {
        if self == other {
            vec![]
        } else {
            vec![String::new()]
        }
    }
}

impl<T: Clone + PartialEq + Serialize + Item> Holdable for Vec<T> {
    type Patch = Items<T>;

    fn yielding(&self, patch: &Items<T>, held: Groups<'_>) -> Option<Items<T>> {
        held.0?;
        let of = |list: &[T], group: &str| -> Vec<T> {
            list.iter()
                .filter(|entry| group_of(*entry) == group)
                .cloned()
                .collect()
        };
        let said: Vec<(Cow<'_, str>, &T)> = patch
            .values()
            .iter()
            .map(|entry| (group_of(entry), entry))
            .collect();
        // What takes out what a person wrote gives way as a whole.
        let takes_held = |entry: &T| {
            let mut meant = self.iter().filter(|mine| entry.takes_out(mine));
            entry.says_none() && meant.any(|mine| held.has(&group_of(mine)))
        };
        let gives_way = |group: &str| {
            if !held.has(group) {
                return false;
            }
            let (now, said) = (of(self, group), of(patch.values(), group));
            let adds = now.len() == said.len()
                && now
                    .iter()
                    .zip(&said)
                    .all(|(now, said)| now == said || only_adds(now, said));
            !adds
        };
        match patch {
            Items::Absent => None,
            Items::Merge(_) => {
                let left: Vec<T> = said
                    .iter()
                    .filter(|(group, entry)| !gives_way(group) && !takes_held(entry))
                    .map(|(_, entry)| (*entry).clone())
                    .collect();
                (left.len() != said.len()).then(|| Items::merge(left))
            }
            Items::Clear | Items::Replace(_) => {
                // What is held stays where its group is said first, or at the end.
                let mut whole: Vec<T> = vec![];
                let mut placed: Vec<Cow<'_, str>> = vec![];
                let mut any = false;
                let mine = self.iter().map(|entry| (group_of(entry), entry));
                let unsaid = mine.filter(|(group, _)| !said.iter().any(|(other, _)| other == group));
                for (group, entry) in said.iter().cloned().chain(unsaid) {
                    let is_said = said.iter().any(|(other, _)| *other == group);
                    if !gives_way(&group) {
                        if is_said {
                            whole.push(entry.clone());
                        }
                        continue;
                    }
                    any = true;
                    if !placed.contains(&group) {
                        whole.extend(of(self, &group));
                        placed.push(group);
                    }
                }
                any.then_some(if whole.is_empty() {
                    Items::Clear
                } else {
                    Items::Replace(whole)
                })
            }
        }
    }

    fn differing(&self, other: &Self) -> Vec<String> {
        let mut groups: Vec<Cow<'_, str>> = self.iter().chain(other).map(group_of).collect();
        groups.sort_unstable();
        groups.dedup();
        let of = |list: &'_ [T], group: &str| -> Vec<T> {
            list.iter()
                .filter(|entry| group_of(*entry) == group)
                .cloned()
                .collect()
        };
        let differ = |group: &Cow<'_, str>| of(self, group) != of(other, group);
        groups.into_iter().filter(differ).map(Cow::into_owned).collect()
    }
}

/// The group of an entry; an entry that is only ever added is a group of its own.
fn group_of<T: Item + Serialize>(entry: &T) -> Cow<'static, str> {
    let own = || serde_json::to_string(entry).unwrap_or_default();
    Cow::Owned(entry.group().unwrap_or_else(own))
}

/// Whether a new value says all that the old one does, and more.
fn only_adds<T: Serialize>(old: &T, new: &T) -> bool {
    fn adds(old: &Value, new: &Value) -> bool {
        match (old, new) {
            (Value::Null, _) => true,
            (Value::Object(old), Value::Object(new)) => old
                .iter()
                .all(|(key, old)| adds(old, new.get(key).unwrap_or(&Value::Null))),
            (old, new) => old == new,
        }
    }
    let value = |of: &T| serde_json::to_value(of).unwrap_or_default();
    adds(&value(old), &value(new))
}
