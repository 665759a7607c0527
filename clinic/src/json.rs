//! The change set as JSON, as it comes from outside: by `schemas/change-set.schema.json`, strictly.
//!
//! All that is wrong is told at once, each with its place as a JSON pointer (RFC 6901) and the nearest right word. What
//! the schema has no word for is refused, a key that stands twice too: nothing is dropped in silence. Limits:
//! [`MAX_BYTES`], [`MAX_DEPTH`], [`MAX_VALUES`], [`MAX_WRONGS`]. No text says a value that was sent.

mod shape;
mod tree;

use std::collections::HashMap;

use serde_json::Value;

use crate::change_set::ChangeSet;
use crate::exchange::{Keys, MapError, Reason};
use crate::kinds::Kind;
use crate::value::Identifier;

/// The most bytes of one change set.
pub const MAX_BYTES: usize = 32 * 1024 * 1024;
/// How deep values may stand in each other.
pub const MAX_DEPTH: usize = 32;
/// The most values (texts, numbers, lists, tables) of one change set.
pub const MAX_VALUES: usize = 1_000_000;
/// The most that is told at once.
pub const MAX_WRONGS: usize = 100;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Wrong {
    /// Where: a JSON pointer; empty for the whole.
    pub pointer: String,
    /// What is wrong and what to write instead.
    pub what: String,
}

impl Wrong {
    fn new(pointer: impl Into<String>, what: impl Into<String>) -> Self {
        Wrong {
            pointer: pointer.into(),
            what: what.into(),
        }
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = if self.pointer.is_empty() {
            "/"
        } else {
            &self.pointer
        };
        write!(f, "{place}: {}", self.what)
    }
}

/// Reads a change set; all that is wrong where it is none, never nothing.
pub fn read(bytes: &[u8]) -> Result<ChangeSet, Vec<Wrong>> {
    let value = tree::read(bytes).map_err(|wrong| vec![wrong])?;
    let mut found = shape::check(&value);
    if found.wrongs.is_empty() {
        found.wrongs = twice(&value);
        found.wrongs.extend(dangling(&value, &found.locals));
        found.wrongs.truncate(MAX_WRONGS);
    }
    if !found.wrongs.is_empty() {
        return Err(found.wrongs);
    }
    // The shape is that of the same types, so that this fails on what a shape can't say alone.
    serde_json::from_value(value).map_err(|_| vec![Wrong::new("", "is no change set by its schema")])
}

/// The numbers in a change set that are said to be a CNP or an IDNP and are none. A message that says one is taken with a
/// note; who types one in can correct it.
pub fn wrong_numbers(set: &ChangeSet) -> Vec<Wrong> {
    let mut wrongs = vec![];
    for (idx, change) in set.changes.iter().enumerate() {
        let kind = change.kind().as_str();
        let merged = match change.say.merges_identifiers() {
            true => "/merge",
            false => "",
        };
        for (at, identifier) in change.say.identifiers().iter().enumerate() {
            let Some(problem) = crate::cnp::identifier_problem(identifier) else {
                continue;
            };
            wrongs.push(Wrong::new(
                format!("/changes/{idx}/say/{kind}/identifiers{merged}/{at}/value"),
                format!("{problem}; correct it, or say another system and kind where it is another number"),
            ));
        }
    }
    wrongs.truncate(MAX_WRONGS);
    wrongs
}

/// As [`read`], with all that is wrong as one error: the first place, and one line for each.
pub fn decode(bytes: &[u8]) -> Result<ChangeSet, MapError> {
    read(bytes).map_err(|wrongs| error(&wrongs))
}

/// What is wrong, as one error.
pub fn error(wrongs: &[Wrong]) -> MapError {
    let Some((first, more)) = wrongs.split_first() else {
        return MapError::new(Reason::DataType, None, "is no change set");
    };
    let mut what = first.what.clone();
    for wrong in more {
        what.push('\n');
        what.push_str(&wrong.to_string());
    }
    let place = (!first.pointer.is_empty()).then_some(first.pointer.as_str());
    MapError::new(Reason::DataType, place, what)
}

/// Writes a change set; [`read`] reads the same again.
pub fn write(changes: &ChangeSet) -> Result<Vec<u8>, MapError> {
    serde_json::to_vec(changes).map_err(|error| {
        MapError::new(
            Reason::Internal,
            None,
            format!("can't be written as JSON: {error}"),
        )
    })
}

/// What a change set says of itself. Never fails: of what can't be read whole, the keys of its `about`.
pub fn keys(bytes: &[u8]) -> Keys {
    let Ok(value) = tree::read(bytes) else {
        return Keys::default();
    };
    let set: Option<ChangeSet> = serde_json::from_value(value.clone()).ok();
    let set = set.unwrap_or_else(|| ChangeSet {
        about: value
            .get("about")
            .and_then(|about| serde_json::from_value(about.clone()).ok())
            .unwrap_or_default(),
        ..ChangeSet::default()
    });
    keys_of(&set)
}

/// What a change set says of itself.
pub fn keys_of(set: &ChangeSet) -> Keys {
    let about = &set.about;
    let party = [&about.sender.application, &about.sender.facility].map(|id| {
        id.as_ref()
            .map(|id| id.value.as_str())
            .filter(|value| !value.is_empty())
    });
    let mut keys = Keys {
        sender: party.iter().any(Option::is_some).then(|| {
            format!(
                "{}|{}",
                party[0].unwrap_or_default(),
                party[1].unwrap_or_default()
            )
        }),
        control_id: about.control_id.clone().filter(|id| !id.is_empty()),
        message_type: about.message_type.clone(),
        ..Keys::default()
    };
    for change in &set.changes {
        let list = match change.kind() {
            Kind::Patient => &mut keys.patients,
            Kind::Encounter => &mut keys.visits,
            Kind::Order | Kind::MedicationOrder | Kind::Result | Kind::Appointment | Kind::ImagingStudy => {
                &mut keys.orders
            }
            Kind::RelatedPerson
            | Kind::Practitioner
            | Kind::Clinic
            | Kind::Site
            | Kind::Room
            | Kind::Service
            | Kind::Schedule
            | Kind::Slot
            | Kind::Condition
            | Kind::Allergy
            | Kind::Procedure
            | Kind::Coverage
            | Kind::Specimen
            | Kind::Observation
            | Kind::Document
            | Kind::ImagingInstance => continue,
        };
        for number in change.say.identifiers().iter().chain(&change.find.identifiers) {
            for text in numbers(number) {
                if !list.contains(&text) {
                    list.push(text);
                }
            }
        }
    }
    keys
}

/// A number as messages are found by it: alone, and with its system.
fn numbers(number: &Identifier) -> Vec<String> {
    if number.value.is_empty() {
        return vec![];
    }
    let with = number
        .system
        .as_deref()
        .filter(|system| !system.is_empty())
        .map(|system| format!("{}^{system}", number.value));
    std::iter::once(number.value.clone()).chain(with).collect()
}

/// Changes with the key of an earlier one: what both say would be said of one aggregate, whomever each finds.
fn twice(value: &Value) -> Vec<Wrong> {
    let changes = value["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut first: HashMap<&str, usize> = HashMap::with_capacity(changes.len());
    let mut wrongs = vec![];
    for (idx, change) in changes.iter().enumerate() {
        let Some(key) = change["key"].as_str() else {
            continue;
        };
        if let Some(earlier) = first.get(key) {
            let what = format!("is the key of /changes/{earlier} already; give each change its own");
            wrongs.push(Wrong::new(format!("/changes/{idx}/key"), what));
        } else {
            first.insert(key, idx);
        }
    }
    wrongs
}

/// References and merges that name no change of the set.
fn dangling(value: &Value, locals: &[(String, String)]) -> Vec<Wrong> {
    let changes = value["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut keys: HashMap<&str, Option<&str>> = HashMap::with_capacity(changes.len());
    for change in changes {
        if let Some(key) = change["key"].as_str() {
            let kind = change["say"].as_object().and_then(|say| say.keys().next());
            keys.insert(key, kind.map(String::as_str));
        }
    }
    let unknown = |key: &str| match shape::nearest(key, keys.keys().copied()) {
        Some(near) => format!("names no change of this set; did you mean {near:?}?"),
        None => "names no change of this set".to_owned(),
    };
    let mut wrongs: Vec<Wrong> = locals
        .iter()
        .filter(|(_, key)| !keys.contains_key(key.as_str()))
        .map(|(pointer, key)| Wrong::new(pointer.clone(), unknown(key)))
        .collect();
    let merges = value["merges"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (idx, merge) in merges.iter().enumerate() {
        for side in ["survivor", "old"] {
            let key = merge[side].as_str().unwrap_or_default();
            let pointer = format!("/merges/{idx}/{side}");
            match keys.get(key) {
                None => wrongs.push(Wrong::new(pointer, unknown(key))),
                Some(Some("Patient")) => {}
                Some(_) => wrongs.push(Wrong::new(pointer, "names a change that is not about a Patient")),
            }
        }
    }
    wrongs.extend(merges_against_each_other(changes, merges));
    wrongs
}

/// Merges of a record with itself, and of two in both directions: whoever writes that means something else.
fn merges_against_each_other(changes: &[Value], merges: &[Value]) -> Vec<Wrong> {
    // By its id, where it is found by that: the same record may stand under two keys.
    let names = |merge: &Value, side: &str| -> String {
        let key = merge[side].as_str().unwrap_or_default();
        let change = changes.iter().find(|change| change["key"].as_str() == Some(key));
        let id = change.and_then(|change| change["find"]["id"].as_str());
        id.map_or_else(|| key.to_owned(), str::to_lowercase)
    };
    let mut done: HashMap<(String, String), usize> = HashMap::new();
    let mut wrongs = vec![];
    for (idx, merge) in merges.iter().enumerate() {
        let (survivor, old) = (names(merge, "survivor"), names(merge, "old"));
        if survivor == old {
            let what = "is the survivor too; a merge is of two records";
            wrongs.push(Wrong::new(format!("/merges/{idx}/old"), what));
        } else if let Some(earlier) = done.get(&(old.clone(), survivor.clone())) {
            let what = format!("is the survivor of /merges/{earlier}; say which of the two stays");
            wrongs.push(Wrong::new(format!("/merges/{idx}/old"), what));
        }
        done.insert((survivor, old), idx);
    }
    wrongs
}

#[cfg(test)]
mod tests;
