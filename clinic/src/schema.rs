//! JSON Schemas of the model, for editors and for those who write change sets by hand. `cargo xtask schemas` writes them.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::events::{CREATED, UPDATED, verbs};
use crate::kinds::Kind;
use crate::{Aggregate, ChangeSet};

/// Each file of `schemas/` that comes from here, and what it holds. [`text`] is how it is written.
pub fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("clinic.schema.json", aggregates()),
        ("change-set.schema.json", change_set()),
        ("events.json", events()),
    ]
}

/// As the files are written: keys in order, two spaces, a line feed at the end.
pub fn text(value: &Value) -> String {
    format!("{:#}\n", sorted(value))
}

fn aggregates() -> Value {
    let root = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<Aggregate>();
    titled(
        root.to_value(),
        "An aggregate of the clinic",
        "Each kind is also found under $defs by its own name.",
    )
}

pub(crate) fn change_set() -> Value {
    let root = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<ChangeSet>();
    let about = "What a message says about the clinic. An absent key says nothing, null clears, a value sets; a list \
                 is replaced by [...] and merged by {\"merge\": [...]}.";
    closed(titled(root.to_value(), "A change set", about))
}

/// What is sent to us may hold nothing that we would drop: [`crate::json`] refuses it, and the schema says so.
fn closed(schema: Value) -> Value {
    match schema {
        Value::Object(map) => {
            let mut map: Map<String, Value> =
                map.into_iter().map(|(key, value)| (key, closed(value))).collect();
            if map.get("type") == Some(&json!("object"))
                && map.get("properties").is_some_and(Value::is_object)
            {
                map.insert("additionalProperties".to_owned(), false.into());
            }
            Value::Object(map)
        }
        Value::Array(values) => Value::Array(values.into_iter().map(closed).collect()),
        plain => plain,
    }
}

fn titled(mut schema: Value, title: &str, about: &str) -> Value {
    if let Value::Object(map) = &mut schema {
        map.insert("title".to_owned(), title.into());
        map.insert("description".to_owned(), about.into());
    }
    schema
}

/// The events by kind: `source.clinic = { on = ["Appointment.booked"] }` takes these and no others.
fn events() -> Value {
    let kinds: Map<String, Value> = Kind::ALL
        .iter()
        .map(|kind| {
            let all = [CREATED, UPDATED].iter().chain(verbs(*kind));
            let names: Vec<String> = all.map(|verb| format!("{}.{verb}", kind.as_str())).collect();
            (kind.as_str().to_owned(), names.into())
        })
        .collect();
    json!({ "events": kinds })
}

/// The order of keys must not depend on which features of `serde_json` others have asked for.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<&String, &Value> = map.iter().collect();
            Value::Object(
                map.into_iter()
                    .map(|(key, value)| (key.clone(), sorted(value)))
                    .collect(),
            )
        }
        Value::Array(values) => Value::Array(values.iter().map(sorted).collect()),
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// `PUNTE_WRITE_SCHEMAS=1` writes them anew, as `cargo xtask schemas` does.
    #[test]
    fn schemas_are_as_generated() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
        for (name, value) in schemas() {
            let path = folder.join(name);
            if std::env::var_os("PUNTE_WRITE_SCHEMAS").is_some() {
                std::fs::create_dir_all(&folder).expect("the folder");
                std::fs::write(&path, text(&value)).expect("written");
            }
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                committed == text(&value),
                "schemas/{name} is not up to date: run `cargo xtask schemas`"
            );
        }
    }

    #[test]
    fn every_aggregate_has_a_definition() {
        let clinic = aggregates();
        let changes = change_set();
        for kind in Kind::ALL {
            let name = kind.as_str();
            assert!(clinic["$defs"][name]["properties"].is_object(), "{name}");
            assert!(
                changes["$defs"][format!("{name}Change")]["properties"].is_object(),
                "{name}Change"
            );
        }
    }
}
