//! The rules of FHIR R4 beside structure, as far as they are errors and concern what we write (each datatype's and
//! resource's page, "Constraints").

use serde_json::Value;

/// The rules that a resource, or what is in it, breaks: each as its name and where.
pub fn broken(resource: &Value) -> Vec<String> {
    let mut out = vec![];
    walk(resource, "", &mut out);
    out.sort();
    out.dedup();
    out
}

fn walk(value: &Value, name: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(_) => {
            for (rule, holds) in rules(value, name) {
                if !holds {
                    out.push(format!("{rule} {name}"));
                }
            }
            for (field, inner) in value.as_object().into_iter().flatten() {
                walk(inner, field, out);
            }
        }
        Value::Array(all) => all.iter().for_each(|inner| walk(inner, name, out)),
        _ => {}
    }
}

fn rules(of: &Value, name: &str) -> Vec<(&'static str, bool)> {
    // An element that has only extensions is there too.
    let has = |field: &str| !of[field].is_null() || !of[format!("_{field}")].is_null();
    let list = |field: &str| of[field].as_array().cloned().unwrap_or_default();
    let is = |field: &str, words: &[&str]| of[field].as_str().is_some_and(|word| words.contains(&word));
    let has_code = |field: &str, code: &str| {
        let codings = of[field]["coding"].as_array();
        codings.into_iter().flatten().any(|coding| coding["code"] == code)
    };
    let mut all = vec![("ele-1", of.as_object().is_some_and(|fields| !fields.is_empty()))];
    match name {
        "repeat" => all.extend([
            (
                "tim-1",
                has("duration") == has("durationUnit") || !has("duration"),
            ),
            ("tim-2", has("period") == has("periodUnit") || !has("period")),
            ("tim-8", !has("countMax") || has("count")),
            (
                "tim-9",
                !has("offset")
                    || has("when")
                        && !list("when")
                            .iter()
                            .any(|w| ["C", "CM", "CD", "CV"].iter().any(|c| w == c)),
            ),
            ("tim-10", !has("timeOfDay") || !has("when")),
        ]),
        "telecom" => all.push(("cpt-2", !has("value") || has("system"))),
        "extension" => all.push(("ext-1", {
            let values = of.as_object().into_iter().flatten();
            let values = values.filter(|(field, _)| field.starts_with("value")).count();
            values + usize::from(has("extension")) == 1
        })),
        "referenceRange" => all.push(("obs-3", has("low") || has("high") || has("text"))),
        "valueRatio" => all.push(("rat-1", has("numerator") == has("denominator"))),
        name if name.ends_with("eriod") && (has("start") && has("end")) => {
            let text = |field: &str| of[field].as_str().unwrap_or_default().to_owned();
            let (start, end) = (text("start"), text("end"));
            let moment = |text: &str| text.parse::<jiff::Timestamp>().ok();
            all.push((
                "per-1",
                match (moment(&start), moment(&end)) {
                    (Some(start), Some(end)) => start <= end,
                    _ => {
                        let length = start.len().min(end.len()).min(10);
                        end.is_empty() || start[..length] <= end[..length]
                    }
                },
            ));
        }
        _ => {}
    }
    if of["value"].is_number() {
        all.push(("qty-3", !has("code") || has("system")));
    }
    if has("data") && !has("dimensions") {
        all.push(("att-1", has("contentType")));
    }
    match of["resourceType"].as_str().unwrap_or_default() {
        "Patient" => {
            let reached = |contact: &Value| {
                ["name", "telecom", "address", "organization"]
                    .iter()
                    .any(|field| !contact[*field].is_null())
            };
            all.push(("pat-1", list("contact").iter().all(reached)));
        }
        "Organization" => {
            let at_home = |field: &str| list(field).iter().any(|one| one["use"] == "home");
            all.extend([
                ("org-1", has("identifier") || has("name")),
                ("org-2", !at_home("address")),
                ("org-3", !at_home("telecom")),
            ]);
        }
        "Appointment" => {
            let in_part = |part: &Value| !part["type"].is_null() || !part["actor"].is_null();
            all.extend([
                ("app-1", list("participant").iter().all(in_part)),
                ("app-2", has("start") == has("end")),
                (
                    "app-3",
                    has("start") && has("end") || is("status", &["proposed", "cancelled", "waitlist"]),
                ),
                (
                    "app-4",
                    !has("cancelationReason") || is("status", &["cancelled", "noshow"]),
                ),
            ]);
        }
        "Observation" => {
            let fields = of.as_object().into_iter().flatten();
            let has_value = fields.clone().any(|(field, _)| field.starts_with("value"));
            all.push(("obs-6", !has("dataAbsentReason") || !has_value));
        }
        "ServiceRequest" => all.push(("prr-1", !has("orderDetail") || has("code"))),
        "AllergyIntolerance" => {
            let in_error = has_code("verificationStatus", "entered-in-error");
            all.extend([
                ("ait-1", in_error || has("clinicalStatus")),
                ("ait-2", !in_error || !has("clinicalStatus")),
            ]);
        }
        "Condition" => {
            let over = ["inactive", "resolved", "remission"];
            let ended = of
                .as_object()
                .into_iter()
                .flatten()
                .any(|(field, _)| field.starts_with("abatement"));
            all.extend([
                (
                    "con-4",
                    !ended || over.iter().any(|code| has_code("clinicalStatus", code)),
                ),
                (
                    "con-5",
                    !has_code("verificationStatus", "entered-in-error") || !has("clinicalStatus"),
                ),
            ]);
        }
        _ => {}
    }
    all
}

#[test]
fn what_breaks_a_rule_is_told() {
    let wrong = serde_json::json!({
        "resourceType": "Bundle",
        "entry": [
            { "resource": { "resourceType": "Appointment", "status": "booked", "participant": [{ "status": "accepted" }] } },
            { "resource": { "resourceType": "Organization", "name": "A", "address": [{ "use": "home" }] } },
            { "resource": { "resourceType": "ServiceRequest", "occurrenceTiming": { "repeat": { "offset": 10 } } } },
            { "resource": { "resourceType": "Encounter", "period": { "start": "2026-05-06", "end": "2026-05-05" } } },
        ],
    });
    let told = broken(&wrong);
    let rules: Vec<&str> = told.iter().filter_map(|one| one.split(' ').next()).collect();
    assert_eq!(rules, ["app-1", "app-3", "org-2", "per-1", "tim-9"]);
}
