//! Aggregates with every field filled, made from their JSON Schema: a field that is added to the model is in the tests
//! by itself.

use clinic::aggregate::{Meta, Source};
use clinic::{Aggregate, Kind, Record};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The id of the one fixture of a kind.
pub(crate) fn id(kind: Kind) -> Uuid {
    Uuid::from_u64_pair(0x0190_0000_0000_7000, 0x8000_0000_0000_0000 | kind as u64)
}

/// The one fixture of a kind.
pub(crate) fn record(kind: Kind) -> Record {
    record_of(Aggregate::from_json(kind, full(kind).to_string().as_bytes()).unwrap())
}

pub(crate) fn record_of(aggregate: Aggregate) -> Record {
    Record {
        meta: Meta {
            id: id(aggregate.kind()),
            site: Some("Centru".to_owned()),
            version: 3,
            created_at: "2026-05-05T05:30:00Z".parse().unwrap(),
            updated_at: "2026-05-06T05:30:00Z".parse().unwrap(),
            source: Source::Message {
                channel: "reception".to_owned(),
                message: Uuid::from_u64_pair(0x0190_0000_0000_7000, 0x8000_0000_0000_ffff),
            },
            held: clinic::held::Held::default(),
        },
        aggregate,
    }
}

/// The fields of an aggregate, all of them filled.
pub(crate) fn full(kind: Kind) -> Value {
    use clinic::{diagnostics as d, imaging as i, people as p, places as l, records as r, scheduling as s};
    let schema = match kind {
        Kind::Patient => schemars::schema_for!(p::Patient),
        Kind::RelatedPerson => schemars::schema_for!(p::RelatedPerson),
        Kind::Practitioner => schemars::schema_for!(p::Practitioner),
        Kind::Clinic => schemars::schema_for!(l::Clinic),
        Kind::Site => schemars::schema_for!(l::Site),
        Kind::Room => schemars::schema_for!(l::Room),
        Kind::Service => schemars::schema_for!(s::Service),
        Kind::Schedule => schemars::schema_for!(s::Schedule),
        Kind::Slot => schemars::schema_for!(s::Slot),
        Kind::Appointment => schemars::schema_for!(s::Appointment),
        Kind::Encounter => schemars::schema_for!(r::Encounter),
        Kind::Condition => schemars::schema_for!(r::Condition),
        Kind::Allergy => schemars::schema_for!(r::Allergy),
        Kind::Procedure => schemars::schema_for!(r::Procedure),
        Kind::Coverage => schemars::schema_for!(r::Coverage),
        Kind::Order => schemars::schema_for!(d::Order),
        Kind::Specimen => schemars::schema_for!(d::Specimen),
        Kind::Result => schemars::schema_for!(d::Result),
        Kind::Observation => schemars::schema_for!(d::Observation),
        Kind::Document => schemars::schema_for!(r::Document),
        Kind::MedicationOrder => schemars::schema_for!(r::MedicationOrder),
        Kind::ImagingStudy => schemars::schema_for!(i::ImagingStudy),
        Kind::ImagingInstance => schemars::schema_for!(i::ImagingInstance),
    };
    let schema = schema.to_value();
    let mut out = Maker {
        root: &schema,
        texts: 0,
    }
    .value(&schema, "", "", 0);
    if kind == Kind::Appointment {
        // A reason for cancelling goes with what did not take place (app-4).
        out["status"] = json!("noshow");
    }
    out
}

/// Makes values that fit a schema; no two texts are alike.
struct Maker<'a> {
    root: &'a Value,
    texts: u32,
}

impl Maker<'_> {
    /// `name`: the field that it is for; `parent`: the field around that.
    fn value(&mut self, schema: &Value, parent: &str, name: &str, idx: usize) -> Value {
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let type_name = target.rsplit('/').next().unwrap();
            match type_name {
                "When" => return json!("2026-05-05T08:30:00+03:00"),
                "Decimal" => return json!("5.40"),
                "Ref" => {
                    let kind = kind_of(name);
                    return json!({ "id": [kind.as_str(), id(kind)] });
                }
                "Value" => {
                    let code = "mmol/L";
                    let system = "http://unitsofmeasure.org";
                    return json!({ "quantity": {
                        "value": "5.40", "unit": "mmol/l", "comparator": "<", "system": system, "code": code,
                    } });
                }
                _ => {
                    let target = self.root["$defs"][type_name].clone();
                    return self.value(&target, parent, name, idx);
                }
            }
        }
        let options = schema
            .get("anyOf")
            .or(schema.get("oneOf"))
            .and_then(Value::as_array);
        if let Some(options) = options {
            let mut options = options.iter().filter(|option| option["type"] != "null");
            let first = options.next().unwrap();
            // The first code of a list is often what stands for "not told".
            let chosen = options.next().unwrap_or(first).clone();
            return self.value(&chosen, parent, name, idx);
        }
        if let Some(constant) = schema.get("const") {
            return constant.clone();
        }
        if let Some(codes) = schema.get("enum").and_then(Value::as_array) {
            return codes.get(1).unwrap_or(&codes[0]).clone();
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds[0].as_str().unwrap(),
            other => other.as_str().unwrap(),
        };
        match kind {
            "object" => {
                let mut out = Map::new();
                for (field, schema) in schema["properties"].as_object().unwrap() {
                    out.insert(field.clone(), self.value(schema, name, field, idx));
                }
                Value::Object(out)
            }
            "array" => {
                let few = if name == "links" { 1 } else { 2 };
                Value::Array(
                    (0..few)
                        .map(|idx| self.value(&schema["items"], parent, name, idx))
                        .collect(),
                )
            }
            "boolean" => json!(true),
            "integer" => json!(3 + idx),
            "string" => json!(self.text(parent, name, idx)),
            other => panic!("no value for {other}"),
        }
    }

    fn text(&mut self, parent: &str, name: &str, idx: usize) -> String {
        self.texts += 1;
        match (parent, name) {
            ("duration" | "period", "unit" | "code") => "min".to_owned(),
            (_, "data") => "UERG".to_owned(),
            (_, "content_type") => "application/pdf".to_owned(),
            (_, "language") => "ro".to_owned(),
            (_, "url") => "https://example.org/raport.pdf".to_owned(),
            (_, "times_of_day") => format!("0{}:00:00", 8 + idx),
            (_, "events") => ["ACM", "ACD"][idx].to_owned(),
            (_, "sub_id") => "1^2^3^a".to_owned(),
            (_, "system") => "http://example.org/cod".to_owned(),
            (_, "type_code") => "HV".to_owned(),
            (_, "days_of_week") => ["mon", "tue"][idx].to_owned(),
            (_, "code") => format!("c{}", self.texts),
            (_, name) => format!("{name} ș {}", self.texts),
        }
    }
}

fn kind_of(name: &str) -> Kind {
    match name {
        "patient" | "other" | "beneficiary" => Kind::Patient,
        "encounter" => Kind::Encounter,
        "organization" | "clinic" | "payors" | "policy_holder" | "requester_organization" => Kind::Clinic,
        "subscriber" => Kind::RelatedPerson,
        "part_of" | "place" | "location" | "destination" | "origin" => Kind::Room,
        "schedule" => Kind::Schedule,
        "slots" => Kind::Slot,
        "parent" | "appointments" => Kind::Appointment,
        "orders" | "based_on" => Kind::Order,
        "condition" | "due_to" | "reason_conditions" => Kind::Condition,
        "specimens" | "specimen" | "parents" => Kind::Specimen,
        "observations" | "supporting_info" => Kind::Observation,
        "related" => Kind::Result,
        "study" => Kind::ImagingStudy,
        _ => Kind::Practitioner,
    }
}
