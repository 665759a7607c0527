//! The gate: nothing leaves that the FHIR types of `fhir-sdk` refuse.
//!
//! The types know which elements there are, of which kind, which must be there, and the codes of required value sets.
//! They are read from our text and thrown away: their decimals are `f64` (see `docs/adr/0002-fhir-json.md`).

use clinic::exchange::{MapError, Reason};

use crate::json::{Json, Object};

/// Refuses a resource that isn't one of FHIR R4. The error never holds a value of it.
pub fn admit(resource: &Json) -> Result<(), MapError> {
    let resource_type = resource.resource_type().unwrap_or_default();
    let text = with_places_filled(resource).to_string();
    match fhir_gate::read(resource_type, &text) {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(refusal(resource_type, &error)),
        None => Err(MapError::new(
            Reason::Internal,
            None,
            "A resource of a type that is never written here. This is a fault of Punte: please report it.",
        )),
    }
}

fn refusal(resource_type: &str, error: &serde_json::Error) -> MapError {
    // The texts of serde name the wrong value, except for these.
    let text = error.to_string();
    let why = text
        .split(" at line")
        .next()
        .filter(|why| why.starts_with("missing field"))
        .unwrap_or("a value is not of its type or not one of its codes");
    MapError::new(
        Reason::Internal,
        Some(resource_type),
        format!("Not a valid {resource_type} of FHIR R4: {why}. The message is kept as failed."),
    )
}

/// FHIR lets an extension stand in for a required value (`_endpoint` alone); the types don't. They get a stand-in.
fn with_places_filled(resource: &Json) -> Json {
    let mut filled = resource.clone();
    filled.each_object(&mut |object: &mut Object| {
        for (name, stand_in) in [
            ("endpoint", "urn:punte:unknown"),
            ("start", "2000-01-01T00:00:00Z"),
            ("end", "2000-01-01T00:00:00Z"),
        ] {
            if object.get(name).is_none() && object.get(&format!("_{name}")).is_some() {
                object.set(name, stand_in);
            }
        }
    });
    filled
}

/// The elements of a resource that its type doesn't know, as paths. For tests: the types drop them in silence.
#[cfg(test)]
pub(crate) fn unknown_elements(resource: &Json) -> Vec<String> {
    let text = with_places_filled(resource).to_string();
    let ours: serde_json::Value = serde_json::from_str(&text).unwrap();
    let kept = fhir_gate::kept(resource.resource_type().unwrap_or_default(), &text)
        .unwrap()
        .unwrap();
    let mut lost = vec![];
    compare(&ours, &kept, "", &mut lost);
    lost
}

#[cfg(test)]
fn compare(ours: &serde_json::Value, kept: &serde_json::Value, path: &str, lost: &mut Vec<String>) {
    use serde_json::Value;
    match (ours, kept) {
        (Value::Object(ours), Value::Object(kept)) => {
            for (name, value) in ours {
                let path = format!("{path}.{name}");
                match kept.get(name) {
                    Some(kept) => compare(value, kept, &path, lost),
                    None => lost.push(path),
                }
            }
        }
        (Value::Array(ours), Value::Array(kept)) if ours.len() == kept.len() => {
            for (idx, (ours, kept)) in ours.iter().zip(kept).enumerate() {
                compare(ours, kept, &format!("{path}[{idx}]"), lost);
            }
        }
        (Value::Array(_) | Value::Object(_), _) => lost.push(path.to_owned()),
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => {}
    }
}
