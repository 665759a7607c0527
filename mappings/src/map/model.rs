//! What stands at a place of the model, by its JSON Schema.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;

use super::Step;

/// What a value of the model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    Text,
    Integer,
    Bool,
    Decimal,
    When,
    /// One of these.
    Code(Vec<String>),
    Ref,
    /// Codes and words: a code makes one.
    Concept,
    /// A code of a system.
    Coding,
    /// A number of a system.
    Identifier,
}

/// Why a path leads to no value.
pub(super) enum Wrong {
    /// There is no such name; those that are there.
    NotThere(String, Vec<String>),
    /// Something else.
    Other(String),
}

/// The schema of a change set.
fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        clinic::schema::schemas()
            .into_iter()
            .find(|(name, _)| *name == "change-set.schema.json")
            .map(|(_, schema)| schema)
            .unwrap_or_default()
    })
}

/// What stands at a path of a definition (`PatientChange`, `About`). Lists that the path does not index get `[0]`.
pub(super) fn leaf(definition: &str, path: &mut Vec<Step>) -> Result<Leaf, Wrong> {
    let mut at = plain(&schema()["$defs"][definition]);
    let mut idx = 0;
    loop {
        if let Some(items) = at.get("items").filter(|_| at["type"] == "array") {
            if !matches!(path.get(idx), Some(Step::Nth(_))) {
                path.insert(idx, Step::Nth(0));
            }
            if let Some(Step::Nth(nth)) = path.get(idx)
                && 99 < *nth
            {
                return Err(Wrong::Other("an index is at most 99".into()));
            }
            at = plain(items);
            idx += 1;
            continue;
        }
        let Some(step) = path.get(idx) else {
            return of(at).ok_or_else(|| {
                Wrong::Other(format!(
                    "several values stand here; name one: {}",
                    members(at).keys().cloned().collect::<Vec<_>>().join(", ")
                ))
            });
        };
        let Step::Name(name) = step else {
            return Err(Wrong::Other("this is no list, so that there is no index".into()));
        };
        let members = members(at);
        if members.is_empty() {
            return Err(Wrong::Other(
                "a single value stands before this; nothing follows it".into(),
            ));
        }
        let Some(next) = members.get(name) else {
            return Err(Wrong::NotThere(name.clone(), members.keys().cloned().collect()));
        };
        at = plain(next);
        idx += 1;
    }
}

/// Behind references and what may be null. The name of the last reference is what some values are known by.
fn plain(schema: &'static Value) -> &'static Value {
    let mut at = schema;
    for _ in 0..16 {
        if let Some(reference) = at["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or_default();
            if KNOWN.contains(&name) {
                return at;
            }
            at = &self::schema()["$defs"][name];
            continue;
        }
        let Some(branches) = at["anyOf"].as_array() else {
            return at;
        };
        // A list is written as a list, whichever way it is said.
        let branch = branches.iter().find(|branch| branch["type"] == "array");
        match branch.or_else(|| branches.iter().find(|branch| branch["type"] != "null")) {
            Some(branch) => at = branch,
            None => return at,
        }
    }
    at
}

/// Definitions that a line can fill as a whole, or whose text is checked.
const KNOWN: [&str; 6] = ["When", "Decimal", "Ref", "Concept", "Coding", "Identifier"];

/// What can be named within.
fn members(schema: &'static Value) -> BTreeMap<String, &'static Value> {
    let mut at = schema;
    if let Some(reference) = at["$ref"].as_str() {
        at = &self::schema()["$defs"][reference.rsplit('/').next().unwrap_or_default()];
        if matches!(reference.rsplit('/').next(), Some("When" | "Decimal" | "Ref")) {
            return BTreeMap::new();
        }
    }
    let own = at["properties"].as_object().into_iter().flatten();
    let branches = at["oneOf"].as_array().into_iter().flatten();
    let theirs = branches
        .filter_map(|branch| branch["properties"].as_object())
        .flatten();
    own.chain(theirs)
        .map(|(name, schema)| (name.clone(), schema))
        .collect()
}

/// The kind of value, if it is a single one.
fn of(schema: &'static Value) -> Option<Leaf> {
    if let Some(reference) = schema["$ref"].as_str() {
        return match reference.rsplit('/').next()? {
            "When" => Some(Leaf::When),
            "Decimal" => Some(Leaf::Decimal),
            "Ref" => Some(Leaf::Ref),
            "Concept" => Some(Leaf::Concept),
            "Coding" => Some(Leaf::Coding),
            "Identifier" => Some(Leaf::Identifier),
            _ => None,
        };
    }
    let codes: Vec<String> = match (&schema["oneOf"], &schema["enum"]) {
        (Value::Array(branches), _) => branches
            .iter()
            .filter_map(|branch| Some(branch["const"].as_str()?.to_owned()))
            .collect(),
        (_, Value::Array(codes)) => codes
            .iter()
            .filter_map(|code| Some(code.as_str()?.to_owned()))
            .collect(),
        _ => vec![],
    };
    if !codes.is_empty() {
        return Some(Leaf::Code(codes));
    }
    let is = |kind: &str| match &schema["type"] {
        Value::String(one) => one == kind,
        Value::Array(several) => several.iter().any(|one| one == kind),
        _ => false,
    };
    match () {
        () if is("string") => Some(Leaf::Text),
        () if is("integer") => Some(Leaf::Integer),
        () if is("boolean") => Some(Leaf::Bool),
        () => None,
    }
}
