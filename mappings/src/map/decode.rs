//! A document becomes a change set.

use std::collections::BTreeMap;

use clinic::ChangeSet;
use clinic::exchange::{Extra, MapError, Place, Reason};
use clinic::value::{Decimal, When};
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::model::Leaf;
use super::{ChangeRule, Codes, From, Line, Mapping, Missing, Step, Wanted};
use crate::tree::{Document, Kind, Path, Reading};

/// Reads a document by a mapping. What is in it and not mapped is in `extra`.
pub fn decode(
    bytes: &[u8],
    mapping: &Mapping,
    reading: &Reading,
    zone: &TimeZone,
) -> Result<ChangeSet, MapError> {
    let document = match mapping.wire {
        super::Wire::Json => crate::json::read(bytes, reading),
        super::Wire::Xml => crate::xml::read(bytes, reading),
        super::Wire::Csv => crate::csv::read(bytes, reading),
    }?;
    let mut work = Work {
        used: vec![false; document.nodes.len()],
        document: &document,
        zone,
        extra: vec![],
    };
    let records = work.records(mapping)?;
    let mut about = Built::default();
    for line in &mapping.about {
        work.line(
            line,
            records.first().copied().unwrap_or(0),
            &mut about,
            &BTreeMap::new(),
        )?;
    }
    let mut changes = vec![];
    let is_many = 1 < records.len();
    for (nth, record) in records.iter().enumerate() {
        let suffix = if is_many {
            format!("-{}", nth + 1)
        } else {
            String::new()
        };
        work.record(mapping, *record, &suffix, &mut changes)?;
    }
    if changes.is_empty() {
        return Err(MapError::new(
            Reason::RequiredMissing,
            None,
            "Nothing that the mapping names is in this document. Compare its paths with the document.",
        ));
    }
    work.losses();
    let about = match about.value() {
        Value::Null => json!({}),
        about => about,
    };
    let set = json!({ "about": about, "changes": changes });
    let mut set: ChangeSet = serde_json::from_value(set).map_err(|error| wrong_set(&error))?;
    set.extra = work.extra;
    Ok(set)
}

/// What serde finds is wrong with the whole: its text may quote a value, but for a field that is missing.
fn wrong_set(error: &serde_json::Error) -> MapError {
    let text = error.to_string();
    let what = match text.starts_with("missing field") {
        true => format!("The mapping makes no change set: {text}. Map it, or leave out what it belongs to."),
        false => "The mapping makes no change set: a value does not fit its place in the model.".to_owned(),
    };
    MapError::new(Reason::DataType, None, what)
}

struct Work<'d> {
    document: &'d Document<'d>,
    used: Vec<bool>,
    zone: &'d TimeZone,
    extra: Vec<Extra>,
}

/// The keys that the changes of a record go by.
type Keys = BTreeMap<String, String>;

impl Work<'_> {
    fn records(&self, mapping: &Mapping) -> Result<Vec<usize>, MapError> {
        let records = match (&mapping.each, mapping.wire) {
            (_, super::Wire::Csv) => self.document.nodes[0].children.clone(),
            (Some(each), _) => self.document.select(0, each),
            (None, _) => vec![0],
        };
        if self.document.columns.is_empty() {
            return Ok(records);
        }
        // A column that is not there would say nothing in every row.
        let lines = mapping
            .changes
            .iter()
            .flat_map(|change| &change.say)
            .chain(&mapping.about);
        for line in lines {
            if let From::Paths(wanted) = &line.from {
                for (written, path) in &wanted.paths {
                    crate::csv::known(self.document, path).map_err(|what| {
                        MapError::new(
                            Reason::RequiredMissing,
                            Some(written),
                            format!("{what}. Compare the mapping with the first line of the file."),
                        )
                    })?;
                }
            }
        }
        Ok(records)
    }

    fn record(
        &mut self,
        mapping: &Mapping,
        record: usize,
        suffix: &str,
        out: &mut Vec<Value>,
    ) -> Result<(), MapError> {
        // First all keys, so that a change can point at one that comes later.
        let mut keys = Keys::new();
        let mut planned: Vec<(&ChangeRule, usize, String)> = vec![];
        for rule in &mapping.changes {
            let nodes = match &rule.each {
                Some(each) => self.document.select(record, each),
                None => vec![record],
            };
            for (nth, node) in nodes.iter().enumerate() {
                let own = if rule.each.is_some() {
                    format!("-{}", nth + 1)
                } else {
                    String::new()
                };
                let key = format!("{}{suffix}{own}", rule.key);
                keys.entry(rule.key.clone()).or_insert_with(|| key.clone());
                planned.push((rule, *node, key));
            }
        }
        let mut made: Vec<(String, Value)> = vec![];
        for (rule, node, key) in planned {
            if let Some(change) = self.change(rule, node, &key, &keys)? {
                made.push((key, change));
            }
        }
        out.extend(made.into_iter().map(|(_, change)| change));
        Ok(())
    }

    fn change(
        &mut self,
        rule: &ChangeRule,
        node: usize,
        key: &str,
        keys: &Keys,
    ) -> Result<Option<Value>, MapError> {
        let mut say = Built::default();
        for line in &rule.say {
            self.line(line, node, &mut say, keys)?;
        }
        if !say.says() {
            return Ok(None);
        }
        let Value::Object(mut fields) = say.value() else {
            return Ok(None);
        };
        for (name, value) in &mut fields {
            if value.is_array() && !rule.replace.contains(name) {
                *value = json!({ "merge": value.take() });
            }
        }
        let mut find = Map::new();
        if let Some((owner, paths)) = &rule.within {
            let parts: Vec<String> = paths.iter().flat_map(|path| self.texts(node, path)).collect();
            if parts.is_empty() {
                return Err(MapError::missing(
                    &self.place(node),
                    &format!("what {} is known by", rule.key),
                ));
            }
            let owner = keys.get(owner).map(|key| json!({ "local": key }));
            find.insert(
                "natural".into(),
                json!({ "owner": owner, "key": parts.join("|") }),
            );
        }
        if rule.skip_missing {
            find.insert("missing".into(), "skip".into());
        }
        let body = json!({ rule.kind.as_str(): fields });
        Ok(Some(json!({ "key": key, "find": find, "say": body })))
    }

    /// The texts at a path, which count as read.
    fn texts(&mut self, node: usize, path: &Path) -> Vec<String> {
        let mut texts = vec![];
        for found in self.document.select(node, path) {
            self.used[found] = true;
            if let Some(text) = &self.document.nodes[found].text {
                let text = text.trim();
                if !text.is_empty() {
                    texts.push(text.to_owned());
                }
            }
        }
        texts
    }

    fn line(&mut self, line: &Line, node: usize, out: &mut Built, keys: &Keys) -> Result<(), MapError> {
        let (value, from) = match &line.from {
            From::Value(text) => match checked(&line.leaf, text) {
                Ok(value) => (Some(whole(&line.leaf, value, None)), Origin::Constant),
                Err(what) => return Err(MapError::new(Reason::DataType, Some(&line.written), what)),
            },
            From::Ref(key) => (keys.get(key).map(|key| json!({ "local": key })), Origin::Constant),
            From::Paths(wanted) => (self.wanted(line, wanted, node)?, Origin::Document),
        };
        out.put(&line.to, value, from);
        Ok(())
    }

    /// What the document says for a line: nothing, null where it is null there, or a value.
    fn wanted(&mut self, line: &Line, wanted: &Wanted, node: usize) -> Result<Option<Value>, MapError> {
        let mut parts = vec![];
        for (_, path) in &wanted.paths {
            let nulls = self.document.select(node, path);
            if let [null] = nulls.as_slice()
                && self.document.nodes[*null].kind == Kind::Null
                && line.to.len() == 1
            {
                self.used[*null] = true;
                return Ok(Some(Value::Null));
            }
            let texts = self.texts(node, path);
            if 1 < texts.len() {
                let place = wanted.paths.first().map_or("", |(written, _)| written.as_str());
                return Err(MapError::new(
                    Reason::DataType,
                    Some(place),
                    "several values stand here, and one is wanted. Name one, or say `each` for the change.",
                ));
            }
            parts.extend(texts);
        }
        let place = wanted.paths.first().map_or("", |(written, _)| written.as_str());
        // Of several parts all are needed: a time without its day is none.
        if parts.len() < wanted.paths.len() {
            if wanted.required {
                let place = match self.document.columns.is_empty() {
                    true => place.to_owned(),
                    // In a table the row says which one.
                    false => self.found(node, wanted),
                };
                return Err(MapError::missing(&place, &line.written));
            }
            return Ok(None);
        }
        let text = parts.join(&wanted.join);
        match self.converted(line, wanted, &text) {
            Ok(value) => Ok(Some(value)),
            Err(Bad::Code) => Err(MapError::new(
                Reason::UnknownCode,
                Some(&self.found(node, wanted)),
                "the code is in no table of the mapping. Add it there and replay the message.",
            )),
            Err(Bad::Value(what)) if wanted.required => Err(MapError::new(
                Reason::DataType,
                Some(&self.found(node, wanted)),
                what,
            )),
            Err(Bad::Value(what)) => {
                self.extra.push(Extra {
                    place: Place(self.found(node, wanted)),
                    value: text,
                    note: Some(what),
                });
                Ok(None)
            }
        }
    }

    fn converted(&self, line: &Line, wanted: &Wanted, text: &str) -> Result<Value, Bad> {
        let (system, code, display) = match &wanted.codes {
            None => (wanted.system.clone(), text.to_owned(), None),
            Some(codes) => match found(codes, wanted.system.as_deref(), text) {
                Some((system, code, display)) => (system.or_else(|| wanted.system.clone()), code, display),
                None => match &wanted.missing {
                    Missing::Keep => (wanted.system.clone(), text.to_owned(), None),
                    Missing::Fail => return Err(Bad::Code),
                    Missing::Default(text) => (wanted.system.clone(), text.clone(), None),
                },
            },
        };
        let text = match wanted.decimal {
            // Where a point parts thousands, 1.234 and 1,234 are not the same: better nothing than a wrong number.
            Some(',') if code.contains('.') => {
                return Err(Bad::Value(
                    "a point in a number that is written with a comma".to_owned(),
                ));
            }
            Some(',') => code.replace(',', "."),
            _ => code,
        };
        let value = match line.leaf {
            Leaf::When => Value::String(self.when(wanted, &text)?.to_string()),
            _ => checked(&line.leaf, &text).map_err(Bad::Value)?,
        };
        Ok(whole(&line.leaf, value, Some((system, display))))
    }

    fn when(&self, wanted: &Wanted, text: &str) -> Result<When, Bad> {
        let bad = |what: &str| Bad::Value(what.to_owned());
        if let Some(format) = &wanted.date {
            let parsed = strtime::parse(format, text)
                .map_err(|_| Bad::Value(format!("no date as {format:?} has it")))?;
            if let Ok(at) = parsed.to_datetime()
                && parsed.hour().is_some()
            {
                return self
                    .zoned(at)
                    .ok_or_else(|| bad("a time that is not in the calendar"));
            }
            let date = parsed
                .to_date()
                .map_err(|_| bad("a day that is not in the calendar"))?;
            return Ok(When::from_date(date));
        }
        if let Ok(when) = text.parse::<When>() {
            return Ok(when);
        }
        let at: DateTime = text
            .parse()
            .map_err(|_| bad("no date or time; say how it is written with `date`"))?;
        self.zoned(at)
            .ok_or_else(|| bad("a time that is not in the calendar"))
    }

    /// A time of the clinic's zone.
    fn zoned(&self, at: DateTime) -> Option<When> {
        let zoned = self.zone.to_zoned_datetime(at).ok()?;
        zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().parse().ok()
    }

    /// Where what is wanted stands in this document: `[3].Sex`.
    fn found(&self, node: usize, wanted: &Wanted) -> String {
        let first = wanted.paths.first();
        let found = first.and_then(|(_, path)| self.document.select(node, path).first().copied());
        self.place(found.unwrap_or(node))
    }

    fn place(&self, node: usize) -> String {
        self.document.place(node)
    }

    /// What no line has read.
    fn losses(&mut self) {
        const MOST: usize = 1_000;
        let mut more = 0_usize;
        for (idx, node) in self.document.nodes.iter().enumerate() {
            let Some(text) = node
                .text
                .as_deref()
                .map(str::trim)
                .filter(|text| !text.is_empty())
            else {
                continue;
            };
            if self.used[idx] || node.name == "xmlns" || node.name.starts_with("xmlns:") {
                continue;
            }
            if MOST <= self.extra.len() {
                more += 1;
                continue;
            }
            self.extra.push(Extra {
                place: Place(self.document.place(idx)),
                value: text.to_owned(),
                note: None,
            });
        }
        if more != 0 {
            self.extra.push(Extra {
                place: Place(self.document.place(0)),
                value: String::new(),
                note: Some(format!("and {more} more values that the mapping does not name")),
            });
        }
    }
}

/// Why a value is not taken.
enum Bad {
    Code,
    Value(String),
}

/// A code in a table: system, code, display.
fn found(
    codes: &Codes,
    system: Option<&str>,
    code: &str,
) -> Option<(Option<String>, String, Option<String>)> {
    match codes {
        Codes::Inline(table) => table.get(code).map(|to| (None, to.clone(), None)),
        Codes::Table(table) => {
            let at = |system: &str| table.get(&(system.to_owned(), code.to_owned()));
            let row = system.and_then(at).or_else(|| at(""));
            // Without a system to go by the code alone has to do.
            let row = row.or_else(|| match system {
                Some(_) => None,
                None => table
                    .iter()
                    .find(|((_, known), _)| known == code)
                    .map(|(_, row)| row),
            });
            row.map(|(system, code, display)| {
                let some = |text: &String| (!text.is_empty()).then(|| text.clone());
                (some(system), code.clone(), some(display))
            })
        }
    }
}

/// A text as the value that stands at a place of the model; the error says what is wrong with it, without it.
pub(super) fn checked(leaf: &Leaf, text: &str) -> Result<Value, String> {
    match leaf {
        Leaf::Text | Leaf::Concept | Leaf::Coding | Leaf::Identifier => Ok(text.into()),
        Leaf::Integer => text
            .parse::<u32>()
            .map(Value::from)
            .map_err(|_| "no whole number".to_owned()),
        Leaf::Bool => match text {
            "true" | "1" => Ok(true.into()),
            "false" | "0" => Ok(false.into()),
            _ => Err("neither true nor false (translate it with `codes`)".to_owned()),
        },
        Leaf::Decimal => text
            .parse::<Decimal>()
            .map(|number| number.as_str().into())
            .map_err(|error| error.to_string()),
        Leaf::When => text
            .parse::<When>()
            .map(|when| when.as_str().into())
            .map_err(|error| error.to_string()),
        Leaf::Code(codes) if codes.iter().any(|code| code == text) => Ok(text.into()),
        Leaf::Code(codes) => Err(format!(
            "none of the codes of the model (translate it with `codes`): {}",
            codes.join(", ")
        )),
        Leaf::Ref => Err("another aggregate is meant here".to_owned()),
    }
}

/// A code or a number with what belongs to it.
fn whole(leaf: &Leaf, value: Value, beside: Option<(Option<String>, Option<String>)>) -> Value {
    let (system, display) = beside.unwrap_or_default();
    let mut coding = Map::new();
    let key = if *leaf == Leaf::Identifier {
        "value"
    } else {
        "code"
    };
    coding.extend(system.map(|system| ("system".to_owned(), Value::String(system))));
    coding.extend(display.map(|display| ("display".to_owned(), Value::String(display))));
    match leaf {
        Leaf::Concept => {
            coding.insert(key.into(), value);
            json!({ "codings": [coding] })
        }
        Leaf::Coding | Leaf::Identifier => {
            coding.insert(key.into(), value);
            Value::Object(coding)
        }
        Leaf::Text | Leaf::Integer | Leaf::Bool | Leaf::Decimal | Leaf::When | Leaf::Code(_) | Leaf::Ref => {
            value
        }
    }
}

/// True where a date can be written and read again by this format.
pub(super) fn date_format(format: &str) -> Result<(), String> {
    let at = jiff::civil::date(2026, 11, 28).at(13, 14, 15, 0);
    let Ok(zoned) = TimeZone::UTC.to_zoned_datetime(at) else {
        return Ok(());
    };
    let wrong =
        || format!("{format:?} is no date format; write one such as \"%d.%m.%Y\" or \"%d.%m.%Y %H:%M\"");
    let written = strtime::format(format, &zoned).map_err(|_| wrong())?;
    let read = strtime::parse(format, &written).map_err(|_| wrong())?;
    read.to_date().map(|_| ()).map_err(|_| wrong())
}

/// Whether a value was in the mapping or in the document.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Constant,
    Document,
}

/// A part of a change set that is being put together.
#[derive(Default)]
struct Built {
    leaf: Option<Value>,
    members: BTreeMap<String, Built>,
    entries: BTreeMap<usize, Built>,
    /// A line has found something here, or below.
    found: bool,
    /// A line has found nothing here, or below.
    lacks: bool,
    constant: bool,
}

impl Built {
    fn put(&mut self, to: &[Step], value: Option<Value>, from: Origin) {
        match (&value, from) {
            (None, Origin::Document) => self.lacks = true,
            (Some(_), Origin::Document) => self.found = true,
            (Some(_), Origin::Constant) => self.constant = true,
            (None, Origin::Constant) => {}
        }
        match to.split_first() {
            None => self.leaf = value.or(self.leaf.take()),
            Some((Step::Name(name), rest)) => self
                .members
                .entry(name.clone())
                .or_default()
                .put(rest, value, from),
            Some((Step::Nth(nth), rest)) => self.entries.entry(*nth).or_default().put(rest, value, from),
        }
    }

    /// True where it says something: constants alone say something only where nothing was looked for.
    fn says(&self) -> bool {
        self.found || self.constant && !self.lacks
    }

    fn value(&self) -> Value {
        if let Some(leaf) = &self.leaf {
            return leaf.clone();
        }
        if !self.entries.is_empty() {
            let entries = self.entries.values().filter(|entry| entry.says());
            let list: Vec<Value> = entries
                .map(Built::value)
                .filter(|value| !value.is_null())
                .collect();
            return if list.is_empty() {
                Value::Null
            } else {
                Value::Array(list)
            };
        }
        let mut map = Map::new();
        for (name, member) in &self.members {
            let is_null = member.leaf == Some(Value::Null);
            let value = match is_null || member.says() {
                true => member.value(),
                false => continue,
            };
            if is_null || !value.is_null() {
                map.insert(name.clone(), value);
            }
        }
        if map.is_empty() {
            Value::Null
        } else {
            Value::Object(map)
        }
    }
}
