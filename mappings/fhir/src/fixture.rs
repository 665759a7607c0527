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
        },
        aggregate,
    }
}

/// The fields of an aggregate, all of them filled.
pub(crate) fn full(kind: Kind) -> Value {
    use clinic::{diagnostics as d, people as p, places as l, records as r, scheduling as s};
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
    };
    let schema = schema.to_value();
    let mut out = value(&schema, &schema, "", 0);
    if kind == Kind::Appointment {
        // A reason for cancelling goes with what is cancelled.
        out["status"] = json!("cancelled");
    }
    out
}

/// A value that fits a schema. `name`: the field that it is for.
fn value(schema: &Value, root: &Value, name: &str, idx: usize) -> Value {
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let type_name = target.rsplit('/').next().unwrap();
        match type_name {
            "When" => return json!("2026-05-05T08:30:00+03:00"),
            "Decimal" => {
                return json!(if name == "high" || name == "denominator" {
                    "0.10"
                } else {
                    "5.40"
                });
            }
            "Ref" => {
                let kind = kind_of(name);
                return json!({ "id": [kind.as_str(), id(kind)] });
            }
            "Value" => {
                return json!({ "quantity": { "value": "5.40", "unit": "mmol/l", "comparator": "<", "system": "http://unitsofmeasure.org", "code": "mmol/L" } });
            }
            _ => return value(&root["$defs"][type_name], root, name, idx),
        }
    }
    if let Some(options) = schema
        .get("anyOf")
        .or(schema.get("oneOf"))
        .and_then(Value::as_array)
    {
        let option = options
            .iter()
            .find(|option| option.get("type") != Some(&json!("null")))
            .unwrap();
        return value(option, root, name, idx);
    }
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    if let Some(codes) = schema.get("enum").and_then(Value::as_array) {
        return codes[0].clone();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds[0].as_str().unwrap(),
        other => other.as_str().unwrap(),
    };
    match kind {
        "object" => {
            let mut out = Map::new();
            for (field, schema) in schema["properties"].as_object().unwrap() {
                out.insert(field.clone(), value(schema, root, field, idx));
            }
            Value::Object(out)
        }
        "array" => {
            let few = if name == "links" || name == "other" { 1 } else { 2 };
            Value::Array(
                (0..few)
                    .map(|idx| value(&schema["items"], root, name, idx))
                    .collect(),
            )
        }
        "boolean" => json!(true),
        "integer" => json!(3 + idx),
        "string" => json!(match name {
            "data" => "UERG".to_owned(),
            "content_type" => "application/pdf".to_owned(),
            "language" => "ro".to_owned(),
            "url" => "https://example.org/raport.pdf".to_owned(),
            "times_of_day" => format!("0{}:00:00", 8 + idx),
            "events" => ["ACM", "ACD"][idx].to_owned(),
            "sub_id" => "1^2^3^a".to_owned(),
            "system" => "http://example.org/cod".to_owned(),
            "type_code" => "HV".to_owned(),
            "days_of_week" => ["mon", "tue"][idx].to_owned(),
            "code" => format!("d{idx}"),
            _ => format!("{name} ș {idx}"),
        }),
        other => panic!("no value for {other}"),
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
        _ => Kind::Practitioner,
    }
}
