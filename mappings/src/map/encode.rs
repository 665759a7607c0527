//! A change set, as the clinic stands after it, becomes a document: the mapping read from left to right.
//!
//! A record is written for each aggregate of the last change without an `each` of its own; the other changes of the
//! record are what that one refers to, else the first of their kind. A change with an `each` is written once for each
//! aggregate of its kind that refers back to the record.

use std::collections::BTreeMap;

use clinic::exchange::{MapError, Reason};
use clinic::{Applied, ChangeSet, Kind};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use uuid::Uuid;

use super::model::Leaf;
use super::out::{As, Out, written};
use super::{ChangeRule, Codes, From, Line, Mapping, Step, Wanted, Wire};
use crate::tree::{self, Path};

/// Writes a document by a mapping.
pub fn encode(
    changes: &ChangeSet,
    applied: &Applied,
    mapping: &Mapping,
    zone: &TimeZone,
) -> Result<Vec<u8>, MapError> {
    let known = Known::of(changes, applied)?;
    let mut work = Work {
        zone,
        out: match mapping.wire {
            Wire::Csv => Out::List(vec![]),
            Wire::Json | Wire::Xml => Out::Empty,
        },
    };
    for (path, text) in &mapping.fixed {
        if mapping.wire != Wire::Csv {
            work.put(&path.steps, text, As::Text, "fixed")?;
        }
    }
    let about = serde_json::to_value(&changes.about).unwrap_or_default();
    let is_many = mapping.each.is_some() || mapping.wire == Wire::Csv;
    let main = mapping.changes.iter().rev().find(|rule| rule.each.is_none());
    let records: Vec<Option<Uuid>> = match main {
        Some(main) if is_many => known.of_kind(main.kind).map(Some).collect(),
        Some(main) => vec![known.of_kind(main.kind).next()],
        None => vec![None],
    };
    for (nth, record) in records.into_iter().enumerate() {
        let base = match (&mapping.each, mapping.wire) {
            (_, Wire::Csv) => vec![tree::Step::Nth(nth)],
            (Some(each), _) => nth_of(&each.steps, nth),
            (None, _) => vec![],
        };
        if nth == 0 {
            for line in &mapping.about {
                work.line(line, &about, &base, &mapping.about)?;
            }
        }
        let ids = ids_of_record(mapping, &known, main, record);
        for rule in &mapping.changes {
            match &rule.each {
                None => {
                    if let Some(value) = ids.get(rule.key.as_str()).and_then(|id| known.values.get(id)) {
                        work.rule(rule, value, &base)?;
                    }
                }
                Some(each) => {
                    let within = known
                        .of_kind(rule.kind)
                        .filter(|id| refers_back(rule, &known.values[id], &ids));
                    for (nth, id) in within.enumerate() {
                        let mut place = if each.from_root { vec![] } else { base.clone() };
                        place.extend(nth_of(&each.steps, nth));
                        work.rule(rule, &known.values[&id], &place)?;
                    }
                }
            }
        }
    }
    let columns: Vec<Path> = columns(mapping);
    let text = written(
        &work.out,
        mapping.wire,
        &columns,
        mapping.delimiter.unwrap_or(';'),
        mapping.header,
    )?;
    Ok(text.into_bytes())
}

/// A path with the last of its places indexed.
fn nth_of(steps: &[tree::Step], nth: usize) -> Vec<tree::Step> {
    let mut steps = steps.to_vec();
    match steps.last_mut() {
        Some(tree::Step::Child { nth: place, .. }) => *place = Some(nth + 1),
        Some(place @ tree::Step::Each) => *place = tree::Step::Nth(nth),
        _ => steps.push(tree::Step::Nth(nth)),
    }
    steps
}

/// The columns that a mapping names, each once.
fn columns(mapping: &Mapping) -> Vec<Path> {
    let mut columns: Vec<Path> = vec![];
    let lines = mapping
        .about
        .iter()
        .chain(mapping.changes.iter().flat_map(|rule| &rule.say));
    for line in lines {
        if let From::Paths(wanted) = &line.from {
            for (_, path) in &wanted.paths {
                if !columns.contains(path) {
                    columns.push(path.clone());
                }
            }
        }
    }
    columns
}

/// What the change set speaks of, as it stands afterwards.
struct Known {
    /// In the order of the change set.
    order: Vec<(Kind, Uuid)>,
    values: BTreeMap<Uuid, Value>,
}

impl Known {
    fn of(changes: &ChangeSet, applied: &Applied) -> Result<Self, MapError> {
        let mut known = Known {
            order: vec![],
            values: BTreeMap::new(),
        };
        for change in &changes.changes {
            let Some((kind, id)) = applied.ids.get(&change.key) else {
                continue;
            };
            let Some(record) = applied.known.get(id).filter(|_| !known.values.contains_key(id)) else {
                continue;
            };
            let unreadable = |_| {
                MapError::new(
                    Reason::Internal,
                    None,
                    "an aggregate that can't be written as JSON",
                )
            };
            let json = record.aggregate.to_json().map_err(unreadable)?;
            known
                .values
                .insert(*id, serde_json::from_slice(&json).map_err(unreadable)?);
            known.order.push((*kind, *id));
        }
        Ok(known)
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = Uuid> {
        self.order
            .iter()
            .filter(move |(known, _)| *known == kind)
            .map(|(_, id)| *id)
    }
}

/// Which aggregate each change of a record is.
fn ids_of_record<'m>(
    mapping: &'m Mapping,
    known: &Known,
    main: Option<&'m ChangeRule>,
    record: Option<Uuid>,
) -> BTreeMap<&'m str, Uuid> {
    let mut ids = BTreeMap::new();
    if let (Some(main), Some(record)) = (main, record) {
        ids.insert(main.key.as_str(), record);
        for line in &main.say {
            if let From::Ref(key) = &line.from
                && let Some(id) = referred(line, &known.values[&record])
                && let Some(rule) = mapping.changes.iter().find(|rule| rule.key == *key)
            {
                ids.insert(rule.key.as_str(), id);
            }
        }
    }
    for rule in mapping.changes.iter().filter(|rule| rule.each.is_none()) {
        if !ids.contains_key(rule.key.as_str())
            && let Some(id) = known.of_kind(rule.kind).next()
        {
            ids.insert(rule.key.as_str(), id);
        }
    }
    ids
}

/// Whom a reference of an aggregate names.
fn referred(line: &Line, value: &Value) -> Option<Uuid> {
    let at = line.to.iter().try_fold(value, |at, step| match step {
        Step::Name(name) => at.get(name),
        Step::Nth(nth) => at.get(nth),
    })?;
    at.get("id")?.get(1)?.as_str()?.parse().ok()
}

/// True where each reference of an aggregate to a change of the record names that one.
fn refers_back(rule: &ChangeRule, value: &Value, ids: &BTreeMap<&str, Uuid>) -> bool {
    rule.say.iter().all(|line| match &line.from {
        From::Ref(key) => match (ids.get(key.as_str()), referred(line, value)) {
            (Some(wanted), Some(found)) => *wanted == found,
            (Some(_), None) | (None, _) => true,
        },
        From::Value(_) | From::Paths(_) => true,
    })
}

struct Work<'m> {
    zone: &'m TimeZone,
    out: Out,
}

impl Work<'_> {
    fn rule(&mut self, rule: &ChangeRule, value: &Value, base: &[tree::Step]) -> Result<(), MapError> {
        for line in &rule.say {
            self.line(line, value, base, &rule.say)?;
        }
        Ok(())
    }

    fn line(
        &mut self,
        line: &Line,
        value: &Value,
        base: &[tree::Step],
        beside: &[Line],
    ) -> Result<(), MapError> {
        let From::Paths(wanted) = &line.from else {
            return Ok(());
        };
        let Some((_, path)) = wanted.paths.first() else {
            return Ok(());
        };
        let found =
            found(value, &line.to, 0, beside, wanted).and_then(|value| self.text(line, wanted, value));
        let Some(text) = found else {
            return match wanted.required {
                true => Err(MapError::missing(&line.written, "what the mapping requires")),
                false => Ok(()),
            };
        };
        let mut steps = if path.from_root { vec![] } else { base.to_vec() };
        steps.extend(path.steps.iter().cloned());
        let how = match line.leaf {
            Leaf::Integer | Leaf::Bool | Leaf::Decimal if wanted.codes.is_none() => As::Raw,
            _ => As::Text,
        };
        self.put(&steps, &text, how, &line.written)
    }

    fn put(&mut self, steps: &[tree::Step], text: &str, how: As, written: &str) -> Result<(), MapError> {
        self.out.put(steps, text, how).map_err(|what| {
            MapError::new(
                Reason::Sequence,
                Some(written),
                format!("{what}; correct the mapping"),
            )
        })
    }

    /// A value of the model as the document writes it.
    fn text(&self, line: &Line, wanted: &Wanted, value: &Value) -> Option<String> {
        let plain = match &line.leaf {
            Leaf::Concept => coding_of(value, wanted)?.get("code")?.as_str()?.to_owned(),
            Leaf::Coding => value.get("code")?.as_str()?.to_owned(),
            Leaf::Identifier => value.get("value")?.as_str()?.to_owned(),
            Leaf::When => self.when(wanted, value.as_str()?),
            Leaf::Text | Leaf::Integer | Leaf::Bool | Leaf::Decimal | Leaf::Code(_) | Leaf::Ref => {
                match value {
                    Value::String(text) => text.clone(),
                    Value::Number(number) => number.to_string(),
                    Value::Bool(flag) => flag.to_string(),
                    Value::Null | Value::Array(_) | Value::Object(_) => return None,
                }
            }
        };
        let plain = match &wanted.codes {
            None => plain,
            Some(Codes::Inline(codes)) => codes
                .iter()
                .find(|(_, to)| **to == plain)
                .map_or(plain, |(from, _)| from.clone()),
            Some(Codes::Table(table)) => table
                .iter()
                .find(|(_, (_, to, _))| *to == plain)
                .map_or(plain, |((_, from), _)| from.clone()),
        };
        Some(match wanted.decimal {
            Some(',') => plain.replace('.', ","),
            _ => plain,
        })
    }

    fn when(&self, wanted: &Wanted, text: &str) -> String {
        let Some(format) = &wanted.date else {
            return text.to_owned();
        };
        let formatted = match text.parse::<Timestamp>() {
            Ok(at) => jiff::fmt::strtime::format(format, &at.to_zoned_datetime(self.zone.clone())),
            Err(_) => match text.parse::<jiff::civil::Date>() {
                Ok(date) => jiff::fmt::strtime::format(format, date),
                // A year alone has no place in such a format.
                Err(_) => return text.to_owned(),
            },
        };
        formatted.unwrap_or_else(|_| text.to_owned())
    }
}

/// Of several codes for one thing that of the system that the line names, else the first.
fn coding_of<'v>(value: &'v Value, wanted: &Wanted) -> Option<&'v Value> {
    let codings = value.get("codings")?.as_array()?;
    match &wanted.system {
        Some(system) if wanted.codes.is_none() => codings
            .iter()
            .find(|coding| coding["system"].as_str() == Some(system.as_str())),
        _ => codings.first(),
    }
}

/// The value at a place of an aggregate. In a list it is that entry for which the constants of the lines beside hold
/// (the identifier of this system), where there are such, else the one of the index.
fn found<'v>(
    value: &'v Value,
    to: &[Step],
    done: usize,
    beside: &[Line],
    wanted: &Wanted,
) -> Option<&'v Value> {
    let Some(step) = to.get(done) else {
        return (!value.is_null()).then_some(value);
    };
    match step {
        Step::Name(name) => found(value.get(name)?, to, done + 1, beside, wanted),
        Step::Nth(nth) => {
            let entries = value.as_array()?;
            let prefix = &to[..=done];
            let constants: Vec<(&[Step], &str)> = beside
                .iter()
                .filter(|line| line.to.starts_with(prefix))
                .filter_map(|line| match &line.from {
                    From::Value(text) => Some((&line.to[done + 1..], text.as_str())),
                    From::Ref(_) | From::Paths(_) => None,
                })
                .collect();
            let is_last = done + 1 == to.len();
            let entry = match &wanted.system {
                _ if !constants.is_empty() => entries
                    .iter()
                    .find(|entry| constants.iter().all(|(steps, text)| holds(entry, steps, text))),
                Some(system) if is_last => entries.iter().find(|entry| {
                    entry["system"].as_str() == Some(system.as_str())
                        || coding_of(entry, wanted)
                            .is_some_and(|coding| coding["system"].as_str() == Some(system.as_str()))
                }),
                _ => entries.get(*nth),
            };
            found(entry?, to, done + 1, beside, wanted)
        }
    }
}

/// Whether a constant stands at a place.
fn holds(value: &Value, steps: &[Step], text: &str) -> bool {
    let at = steps.iter().try_fold(value, |at, step| match step {
        Step::Name(name) => at.get(name),
        Step::Nth(nth) => at.get(nth),
    });
    match at {
        Some(Value::String(found)) => found == text,
        Some(Value::Bool(found)) => found.to_string() == text,
        Some(Value::Number(found)) => found.to_string() == text,
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => false,
    }
}
