//! Values made from the schema: two different ones for each field of each aggregate.

use clinic::{ChangeSet, Kind, json};
use serde_json::{Map, Value};

/// Makes them.
pub struct Maker {
    schema: Value,
}

impl Maker {
    pub fn new() -> Self {
        let (_, schema) = clinic::schema::schemas()
            .into_iter()
            .find(|(name, _)| *name == "change-set.schema.json")
            .expect("there is a schema");
        Maker { schema }
    }

    fn change(&self, kind: Kind) -> &Map<String, Value> {
        let change = &self.schema["$defs"][format!("{}Change", kind.as_str())];
        change["properties"].as_object().expect("fields")
    }

    /// The fields of an aggregate.
    pub fn fields(&self, kind: Kind) -> Vec<String> {
        self.change(kind).keys().cloned().collect()
    }

    /// The codes of a field, where it is one of a list.
    pub fn words(&self, kind: Kind, field: &str) -> Vec<String> {
        let Some(schema) = self.change(kind).get(field) else {
            return vec![];
        };
        let schema = self.some(schema);
        let consts = schema["oneOf"].as_array().into_iter().flatten();
        consts
            .filter_map(|one| one["const"].as_str())
            .map(str::to_owned)
            .collect()
    }

    /// The first (0) or second (1) value of a field.
    pub fn value(&self, kind: Kind, field: &str, n: usize) -> Value {
        self.make(&self.change(kind)[field], n)
    }

    /// The schema of a value that is there.
    fn some<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let mut schema = schema;
        loop {
            if let Some(name) = schema["$ref"].as_str() {
                schema = &self.schema["$defs"][name.trim_start_matches("#/$defs/")];
            } else if let Some(branches) = schema["anyOf"].as_array() {
                let is_list = |branch: &&Value| branch["type"] == "array";
                schema = branches.iter().find(is_list).unwrap_or(&branches[0]);
            } else {
                return schema;
            }
        }
    }

    fn make(&self, schema: &Value, n: usize) -> Value {
        match schema["$ref"]
            .as_str()
            .map(|name| name.trim_start_matches("#/$defs/"))
        {
            Some("When") => return ["2026-05-05", "2026-05-06"][n].into(),
            Some("Decimal") => return ["1.50", "2.50"][n].into(),
            Some("Ref") => return serde_json::json!({ "local": (["one", "two"][n]) }),
            Some(_) | None => {}
        }
        // The name of a type is lost behind the reference, so that those with a meaning are looked for first.
        if let Some(branches) = schema["anyOf"].as_array()
            && branches.iter().all(|branch| branch["type"] != "array")
        {
            return self.make(&branches[0], n);
        }
        if let Some(name) = schema["$ref"].as_str() {
            return self.make(&self.schema["$defs"][name.trim_start_matches("#/$defs/")], n);
        }
        let schema = self.some(schema);
        if let Some(branches) = schema["oneOf"].as_array() {
            let branch = &branches[n.min(branches.len() - 1)];
            return match &branch["const"] {
                Value::String(word) => word.clone().into(),
                _ => self.make(&branches[0], n),
            };
        }
        if let Some(words) = schema["enum"].as_array() {
            return words[n.min(words.len() - 1)].clone();
        }
        let name = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
        match name {
            Some("string") => ["a", "b"][n].into(),
            Some("integer") => (n + 1).into(),
            Some("boolean") => (n == 0).into(),
            Some("array") => match schema["prefixItems"].as_array() {
                Some(items) => items.iter().map(|item| self.make(item, n)).collect(),
                None => Value::Array(vec![self.make(&schema["items"], n)]),
            },
            Some("object") => {
                let fields = schema["properties"].as_object().into_iter().flatten();
                let made = fields.map(|(key, schema)| match key.as_str() {
                    "study_uid" => (key.clone(), ["1.2.3", "1.2.4"][n].into()),
                    "modality" => (key.clone(), ["CT", "MR"][n].into()),
                    _ => (key.clone(), self.make(schema, n)),
                });
                Value::Object(made.collect())
            }
            other => panic!("no value is known for {other:?}"),
        }
    }
}

/// A change set from JSON.
pub fn read(value: &Value) -> ChangeSet {
    let bytes = serde_json::to_vec(value).expect("JSON");
    json::read(&bytes).unwrap_or_else(|wrongs| panic!("{wrongs:#?}"))
}
