//! Whether a tree has the shape of the schema, and if not, where and what to write instead.
//!
//! The schema is the generated one, and this knows the words of JSON Schema that the generator uses, no others. Stricter
//! than a schema in one thing: a key that is not in the list is refused in every table.

use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::{MAX_WRONGS, Wrong};
use crate::value::{Decimal, When};

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) wrongs: Vec<Wrong>,
    /// The references to keys of the set: where, and to which.
    pub(super) locals: Vec<(String, String)>,
}

/// Goes through all of it.
pub(super) fn check(value: &Value) -> Found {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    let root = SCHEMA.get_or_init(crate::schema::change_set);
    let mut walk = Walk {
        root,
        found: Found::default(),
    };
    walk.value(root, value, "");
    walk.found
}

/// A pointer with one more key. A key that nobody here gave may be long; its beginning will do.
pub(super) fn join(pointer: &str, key: &str) -> String {
    let short: String = key.chars().take(64).collect();
    format!("{pointer}/{}", short.replace('~', "~0").replace('/', "~1"))
}

/// The word that was meant, where one is near.
pub(super) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = written.chars().count();
    if length > 64 {
        return None;
    }
    let most = match length {
        0..=2 => 1,
        3..=5 => 2,
        _ => 3,
    };
    let written = written.to_lowercase();
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&written, &word.to_lowercase()), word))
        .filter(|(distance, word)| *distance <= most && *distance < word.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

struct Walk<'s> {
    root: &'s Value,
    found: Found,
}

impl<'s> Walk<'s> {
    fn tell(&mut self, pointer: &str, what: impl Into<String>) {
        if !self.is_full() {
            self.found.wrongs.push(Wrong::new(pointer, what));
        }
    }

    /// Enough was told: the rest is not looked at.
    fn is_full(&self) -> bool {
        self.found.wrongs.len() >= MAX_WRONGS
    }

    /// The schema that a `$ref` leads to, and its name.
    fn resolve(&self, schema: &'s Value) -> (&'s Value, &'s str) {
        let Some(name) = schema.get("$ref").and_then(Value::as_str) else {
            return (schema, "");
        };
        let name = name.strip_prefix("#/$defs/").unwrap_or(name);
        (self.root["$defs"].get(name).unwrap_or(&Value::Null), name)
    }

    fn value(&mut self, schema: &'s Value, value: &Value, pointer: &str) {
        if self.is_full() {
            return;
        }
        let (schema, name) = self.resolve(schema);
        for word in ["oneOf", "anyOf"] {
            if let Some(branches) = schema.get(word).and_then(Value::as_array) {
                return self.one_of(branches, value, pointer);
            }
        }
        if !self.has_type(schema, value) {
            let what = format!("is {}; {} belongs here", kind(value), self.expected(schema));
            return self.tell(pointer, what);
        }
        match value {
            Value::String(text) => self.text(schema, name, text, pointer),
            Value::Number(number) => {
                let whole = schema.get("format").and_then(Value::as_str) != Some("uint32")
                    || number.as_u64().is_some_and(|n| u32::try_from(n).is_ok());
                let enough = schema
                    .get("minimum")
                    .and_then(Value::as_i64)
                    .is_none_or(|least| number.as_i64().is_none_or(|n| n >= least));
                if !whole || !enough {
                    self.tell(
                        pointer,
                        "is out of range; write a whole number from 0 to 4294967295",
                    );
                }
            }
            Value::Array(items) => self.list(schema, items, pointer),
            Value::Object(map) => self.table(schema, map, pointer),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn text(&mut self, schema: &'s Value, name: &str, text: &str, pointer: &str) {
        match name {
            "When" => {
                if let Err(error) = text.parse::<When>() {
                    let what = format!(
                        "is {}; write YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+hh:mm",
                        error.0
                    );
                    self.tell(pointer, what);
                }
            }
            "Decimal" => {
                if let Err(error) = text.parse::<Decimal>() {
                    self.tell(
                        pointer,
                        format!("is {}; write a number as text, \"5.40\"", error.0),
                    );
                }
            }
            _ if schema.get("format").and_then(Value::as_str) == Some("uuid") => {
                if uuid::Uuid::try_parse(text).is_err() {
                    self.tell(pointer, "is no id; write a UUID");
                }
            }
            _ => {
                let words: Vec<&str> = words(schema);
                if !words.is_empty() && !words.contains(&text) {
                    self.tell(pointer, not_known(text, &words));
                }
            }
        }
    }

    fn list(&mut self, schema: &'s Value, items: &[Value], pointer: &str) {
        let first = schema.get("prefixItems").and_then(Value::as_array);
        let first = first.map(Vec::as_slice).unwrap_or_default();
        if !first.is_empty() && items.len() != first.len() {
            let what = format!("has {} entries; {} belong here", items.len(), first.len());
            return self.tell(pointer, what);
        }
        let rest = schema.get("items").filter(|items| items.is_object());
        for (idx, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(idx).or(rest) {
                self.value(schema, item, &format!("{pointer}/{idx}"));
            }
        }
    }

    fn table(&mut self, schema: &'s Value, map: &Map<String, Value>, pointer: &str) {
        static NONE: OnceLock<Map<String, Value>> = OnceLock::new();
        let properties = schema.get("properties").and_then(Value::as_object);
        let properties = properties.unwrap_or_else(|| NONE.get_or_init(Map::new));
        let mut meant: Vec<&str> = vec![];
        // In an order that does not depend on which features of `serde_json` others have asked for.
        let mut entries: Vec<(&String, &Value)> = map.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        for (key, value) in entries {
            let at = join(pointer, key);
            match properties.get(key) {
                Some(schema) => self.value(schema, value, &at),
                None if self.is_full() => return,
                None => {
                    let free = properties
                        .keys()
                        .map(String::as_str)
                        .filter(|word| !map.contains_key(*word));
                    meant.extend(nearest(key, free));
                    let mut known: Vec<&str> = properties.keys().map(String::as_str).collect();
                    known.sort_unstable();
                    self.tell(&at, not_known(key, &known));
                }
            }
        }
        let required = schema.get("required").and_then(Value::as_array);
        for key in required.into_iter().flatten().filter_map(Value::as_str) {
            // A misspelt word is one problem, not two.
            if !map.contains_key(key) && !meant.contains(&key) {
                self.tell(pointer, format!("needs {key:?}"));
            }
        }
    }

    fn one_of(&mut self, branches: &'s [Value], value: &Value, pointer: &str) {
        if let Value::Object(map) = value {
            let tables: Vec<&'s Value> = branches.iter().filter(|b| self.has_type(b, value)).collect();
            if let [_, _, ..] = tables.as_slice() {
                return self.one_of_tables(&tables, value, map, pointer);
            }
        }
        let fitting = branches.iter().filter(|branch| self.has_type(branch, value));
        let fitting: Vec<&'s Value> = fitting.collect();
        match fitting.as_slice() {
            [] => {
                let all: Vec<String> = branches.iter().map(|branch| self.expected(branch)).collect();
                let what = format!("is {}; {} belongs here", kind(value), or(&all));
                self.tell(pointer, what);
            }
            [one] => self.value(one, value, pointer),
            several => {
                let words: Vec<&str> = several
                    .iter()
                    .flat_map(|branch| words(self.resolve(branch).0))
                    .collect();
                if let Some(text) = value.as_str()
                    && !words.is_empty()
                    && !words.contains(&text)
                {
                    self.tell(pointer, not_known(text, &words));
                }
            }
        }
    }

    /// Tables that are told apart by their one key.
    fn one_of_tables(
        &mut self,
        tables: &[&'s Value],
        value: &Value,
        map: &Map<String, Value>,
        pointer: &str,
    ) {
        let key_of = |table: &'s Value| table["required"][0].as_str().unwrap_or_default();
        let resolved: Vec<&'s Value> = tables.iter().map(|table| self.resolve(table).0).collect();
        let Some(table) = resolved.iter().find(|table| map.contains_key(key_of(table))) else {
            let keys: Vec<&str> = resolved.iter().map(|table| key_of(table)).collect();
            match map.keys().next() {
                Some(key) => self.tell(&join(pointer, key), not_known(key, &keys)),
                None => self.tell(pointer, format!("needs one of: {}", keys.join(", "))),
            }
            return;
        };
        if let Some(local) = value.get("local").and_then(Value::as_str)
            && key_of(table) == "local"
        {
            self.found.locals.push((join(pointer, "local"), local.to_owned()));
        }
        self.value(table, value, pointer);
    }

    /// Whether a value is of the type that a schema asks for.
    fn has_type(&self, schema: &'s Value, value: &Value) -> bool {
        let (schema, _) = self.resolve(schema);
        for word in ["oneOf", "anyOf"] {
            if let Some(branches) = schema.get(word).and_then(Value::as_array) {
                return branches.iter().any(|branch| self.has_type(branch, value));
            }
        }
        let fits = |name: &str| match (name, value) {
            ("integer", Value::Number(number)) => number.is_u64() || number.is_i64(),
            ("number", Value::Number(_))
            | ("null", Value::Null)
            | ("boolean", Value::Bool(_))
            | ("string", Value::String(_))
            | ("array", Value::Array(_))
            | ("object", Value::Object(_)) => true,
            _ => false,
        };
        match schema.get("type") {
            Some(Value::String(name)) => fits(name),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(fits),
            Some(_) | None => true,
        }
    }

    /// What a schema asks for, in words.
    fn expected(&self, schema: &'s Value) -> String {
        let (schema, name) = self.resolve(schema);
        for word in ["oneOf", "anyOf"] {
            if let Some(branches) = schema.get(word).and_then(Value::as_array) {
                let mut all: Vec<String> = branches.iter().map(|branch| self.expected(branch)).collect();
                all.dedup();
                return or(&all);
            }
        }
        match name {
            "When" => return "a date as text".to_owned(),
            "Decimal" => return "a number as text (\"5.40\")".to_owned(),
            _ => {}
        }
        let said = |name: &str| {
            match name {
                "integer" => "a whole number",
                "number" => "a number",
                "null" => "null",
                "boolean" => "true or false",
                "string" => "a text",
                "array" => "a list",
                _ => "a table",
            }
            .to_owned()
        };
        match schema.get("type") {
            Some(Value::String(name)) => said(name),
            Some(Value::Array(names)) => {
                let all: Vec<String> = names.iter().filter_map(Value::as_str).map(said).collect();
                or(&all)
            }
            Some(_) | None => "something else".to_owned(),
        }
    }
}

/// The texts that a schema lists.
fn words(schema: &Value) -> Vec<&str> {
    let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    listed
        .chain(schema.get("const"))
        .filter_map(Value::as_str)
        .collect()
}

fn not_known(written: &str, known: &[&str]) -> String {
    match nearest(written, known.iter().copied()) {
        Some(word) => format!("not known here; did you mean {word:?}?"),
        None => format!("not known here; known are {}", known.join(", ")),
    }
}

fn or(all: &[String]) -> String {
    match all {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}
