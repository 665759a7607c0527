//! Every resource, with every field of the model in it.

use std::collections::BTreeMap;

use clinic::apply::Write;
use clinic::change_set::{About, Act, Change, Party};
use clinic::exchange::Stamp;
use clinic::value::{Concept, Identifier, IdentifierUse, Ref};
use clinic::{Aggregate, Applied, ChangeSet, Kind, people};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::bundle::bundle_json;
use crate::fixture;
use crate::gate::{admit, unknown_elements};
use crate::invariants::broken;
use crate::{Json, Shape, build, bundle, fhir_type, kinds, per_resource, resource};

/// With `PUNTE_FHIR_DUMP` set to a folder, what is told is written there, for other validators.
fn dump(name: &str, json: &Json) {
    if let Some(folder) = std::env::var_os("PUNTE_FHIR_DUMP") {
        std::fs::write(
            std::path::Path::new(&folder).join(format!("{name}.json")),
            json.to_bytes(),
        )
        .unwrap();
    }
}

#[test]
fn every_aggregate_full_and_empty_is_a_valid_resource() {
    for kind in Kind::ALL {
        let full = resource(&fixture::record(*kind));
        dump(&format!("full-{}", kind.as_str()), &full);
        let empty = resource(&fixture::record_of(Aggregate::new(*kind)));
        dump(&format!("empty-{}", kind.as_str()), &empty);
        for json in [&full, &empty] {
            assert_eq!(json.resource_type(), Some(fhir_type(*kind)));
            if let Err(error) = admit(json) {
                panic!("{kind:?}: {error}\n{json}");
            }
            assert_eq!(unknown_elements(json), Vec::<String>::new(), "{kind:?}");
            assert_eq!(broken_of(json), Vec::<String>::new(), "{kind:?}");
        }
        assert!(kinds(fhir_type(*kind)).contains(kind));
    }
}

fn broken_of(json: &Json) -> Vec<String> {
    broken(&serde_json::from_str(&json.to_string()).unwrap())
}

/// Whatever is not said, and whatever its status and its addresses are.
#[test]
fn no_resource_breaks_a_rule_of_fhir() {
    let words = [
        "booked",
        "proposed",
        "pending",
        "arrived",
        "fulfilled",
        "cancelled",
        "noshow",
        "entered-in-error",
        "checked-in",
        "waitlist",
        "active",
        "completed",
        "planned",
        "finished",
        "in-progress",
        "final",
        "registered",
        "home",
        "work",
    ];
    let mut wrong = vec![];
    for kind in Kind::ALL {
        let full = fixture::full(*kind);
        let mut all = vec![];
        paths(&full, "", &mut all);
        // Fields, and the fields of those.
        all.retain(|path| path.matches('/').count() <= 3);
        let mut variants: Vec<Value> = all.iter().map(|path| without(&full, path)).collect();
        for path in all
            .iter()
            .filter(|path| path.ends_with("/status") || path.ends_with("/use"))
        {
            for word in words {
                let mut other = full.clone();
                *other.pointer_mut(path).unwrap() = json!(word);
                // Nothing that says when.
                for times in [&[][..], &["start", "end"], &["start"], &["end"]] {
                    let mut less = other.clone();
                    for field in times {
                        less = without(&less, &format!("/{field}"));
                    }
                    if times.is_empty() || less != other {
                        variants.push(less);
                    }
                }
            }
        }
        for fields in variants {
            let aggregate = Aggregate::from_json(*kind, fields.to_string().as_bytes());
            let broken = aggregate.map(|aggregate| broken_of(&resource(&fixture::record_of(aggregate))));
            wrong.extend(
                broken
                    .into_iter()
                    .flatten()
                    .map(|rule| format!("{kind:?}: {rule}")),
            );
        }
    }
    wrong.sort();
    wrong.dedup();
    assert_eq!(wrong, Vec::<String>::new());
}

/// The paths of all values of a tree, those inside others too.
fn paths(value: &Value, path: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}/{name}");
                out.push(path.clone());
                paths(value, &path, out);
            }
        }
        Value::Array(entries) => {
            for (idx, value) in entries.iter().enumerate() {
                paths(value, &format!("{path}/{idx}"), out);
            }
        }
        _ => {}
    }
}

fn without(value: &Value, path: &str) -> Value {
    let mut out = value.clone();
    let (parent, name) = path.rsplit_once('/').unwrap();
    let parent = if parent.is_empty() {
        Some(&mut out)
    } else {
        out.pointer_mut(parent)
    };
    parent
        .and_then(Value::as_object_mut)
        .and_then(|fields| fields.remove(name));
    out
}

#[test]
fn no_field_is_dropped_in_silence() {
    // FHIR has room for one of these pairs; with the first gone the second is told.
    let hiding = [
        "/effective_period",
        "/collected_period",
        "/performed_period",
        "/deceased_at",
        "/birth_order",
        "/value",
        "/kind",
        "/occurrence_timing",
        "/occurrence_period",
        "/performer_roles",
    ];
    let silent = [
        // How a merge is undone is ours alone.
        "links/0/identifiers",
        "links/0/was_active",
        // Moments of the day by the clock and by meals exclude each other (tim-10), bounds in two ways as well.
        "/times_of_day",
        "/bounds_duration",
        // The unit of a time comes from its code, else its words; it has no comparator.
        "timing/duration/",
        "timing/period/",
    ];
    let mut lost = vec![];
    for kind in Kind::ALL {
        let full = fixture::full(*kind);
        let mut variants = vec![full.clone()];
        variants.extend(
            hiding
                .iter()
                .map(|path| without(&full, path))
                .filter(|v| *v != full),
        );
        let mut bare = full.clone();
        for path in hiding {
            bare = without(&bare, path);
        }
        variants.push(bare);
        let told = |fields: &Value| {
            Aggregate::from_json(*kind, fields.to_string().as_bytes())
                .ok()
                .map(|aggregate| resource(&fixture::record_of(aggregate)).to_string())
        };
        let mut all = vec![];
        paths(&full, "", &mut all);
        for path in all {
            let shown = variants.iter().any(|variant| {
                let less = without(variant, &path);
                less != *variant && told(&less).is_none_or(|less| Some(less) != told(variant))
            });
            if !shown && !silent.iter().any(|s| path.contains(s)) {
                lost.push(format!("{kind:?}{path}"));
            }
        }
    }
    assert_eq!(lost, Vec::<String>::new());
}

#[test]
fn values_of_all_kinds_are_told() {
    let cases = [
        (
            json!({"quantity": {"value": "123456789012345678"}}),
            "\"valueQuantity\":{\"value\":123456789012345678}",
        ),
        (
            json!({"concept": {"text": "pozitiv"}}),
            "\"valueCodeableConcept\":{\"text\":\"pozitiv\"}",
        ),
        (json!({"text": "clar"}), "\"valueString\":\"clar\""),
        (json!({"when": "2026-05"}), "\"valueDateTime\":\"2026-05\""),
        (json!({"time": "08:30:00"}), "\"valueTime\":\"08:30:00\""),
        (json!({"time": "half past"}), "\"valueString\":\"half past\""),
        (
            json!({"period": {"start": "2026"}}),
            "\"valuePeriod\":{\"start\":\"2026\"}",
        ),
        (
            json!({"range": {"low": {"value": "0.10"}}}),
            "\"valueRange\":{\"low\":{\"value\":0.10}}",
        ),
        (
            json!({"ratio": {"numerator": {"value": "1"}, "denominator": {"value": "128"}}}),
            "\"valueRatio\":{\"numerator\":{\"value\":1},\"denominator\":{\"value\":128}}",
        ),
        (
            json!({"attachment": {"data": "UERG"}}),
            "\"valueAttachment\":{\"contentType\":\"application/octet-stream\",\"data\":\"UERG\"}",
        ),
        (
            json!({"sampled": "1 2 3"}),
            "\"valueSampledData\":{\"origin\":{\"value\":0},\"period\":1,\"dimensions\":1,\"data\":\"1 2 3\"}",
        ),
    ];
    for (value, expected) in cases {
        let mut fields =
            json!({ "value": value, "components": [{ "code": { "text": "a" }, "value": value }] });
        let told = |fields: &Value| {
            let aggregate = Aggregate::from_json(Kind::Observation, fields.to_string().as_bytes()).unwrap();
            resource(&fixture::record_of(aggregate))
        };
        let json = told(&fields);
        admit(&json).unwrap();
        assert_eq!(unknown_elements(&json), Vec::<String>::new());
        assert_eq!(json.to_string().matches(expected).count(), 2, "{json}");
        fields["value_original"] = json!("as it came");
        let json = told(&fields);
        admit(&json).unwrap();
        assert!(json.to_string().contains("as it came"), "{json}");
    }
}

#[test]
fn a_patient_reads_as_expected() {
    let patient = json!({
        "identifiers": [
            { "system": "urn:oid:1.2.3", "value": "1850312040011", "kind": { "codings": [{ "code": "NI" }] } },
            { "system": "SPITAL", "value": "P-7", "use": "usual" },
        ],
        "names": [{ "family": "Popescu-Ionescu", "own_name": "Popescu", "given": ["Ana", "Maria"], "use": "official" }],
        "birth_date": "1985-03-12T04:05:00+02:00",
        "sex": "other",
        "sex_original": { "codings": [{ "system": "HL70001", "code": "A" }] },
        "telecoms": [{ "value": "0722 000 000" }],
        "deceased": false,
    });
    let aggregate = Aggregate::from_json(Kind::Patient, patient.to_string().as_bytes()).unwrap();
    let json = resource(&fixture::record_of(aggregate)).to_string();
    let id = fixture::id(Kind::Patient);
    assert_eq!(
        json,
        format!(
            concat!(
                r#"{{"resourceType":"Patient","id":"{id}","#,
                r#""meta":{{"versionId":"3","lastUpdated":"2026-05-06T05:30:00Z","source":"urn:punte:message:01900000-0000-7000-8000-00000000ffff"}},"#,
                r#""identifier":[{{"type":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"NI"}}]}},"system":"urn:oid:1.2.3","value":"1850312040011"}},"#,
                r#"{{"use":"usual","system":"urn:id:SPITAL","value":"P-7","assigner":{{"identifier":{{"value":"SPITAL"}},"display":"SPITAL"}}}},"#,
                r#"{{"system":"urn:ietf:rfc:3986","value":"urn:uuid:{id}"}}],"#,
                r#""name":[{{"use":"official","family":"Popescu-Ionescu","_family":{{"extension":[{{"url":"http://hl7.org/fhir/StructureDefinition/humanname-own-name","valueString":"Popescu"}}]}},"given":["Ana","Maria"]}}],"#,
                r#""telecom":[{{"_system":{{"extension":[{{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}}]}},"value":"0722 000 000"}}],"#,
                r#""gender":"other","_gender":{{"extension":[{{"url":"http://hl7.org/fhir/StructureDefinition/alternate-codes","valueCodeableConcept":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v2-0001","code":"A"}}]}}}}]}},"#,
                r#""birthDate":"1985-03-12","_birthDate":{{"extension":[{{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthTime","valueDateTime":"1985-03-12T04:05:00+02:00"}}]}},"#,
                r#""deceasedBoolean":false}}"#,
            ),
            id = id
        )
    );
}

#[test]
fn a_name_says_in_which_letters_it_is() {
    let patient = json!({ "names": [
        { "family": "Yamada" },
        { "family": "山田", "representation": "ideographic" },
        { "family": "やまだ", "representation": "phonetic" },
        { "family": "Yamada", "representation": "alphabetic" },
    ] });
    let aggregate = Aggregate::from_json(Kind::Patient, patient.to_string().as_bytes()).unwrap();
    let json = resource(&fixture::record_of(aggregate));
    admit(&json).unwrap();
    let told: Value = serde_json::from_str(&json.to_string()).unwrap();
    let url = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation";
    let names = told["name"].as_array().unwrap();
    assert_eq!(names[0]["extension"], Value::Null);
    for (name, code) in names[1..].iter().zip(["IDE", "SYL", "ABC"]) {
        assert_eq!(name["extension"], json!([{ "url": url, "valueCode": code }]));
    }
}

#[test]
fn a_sub_identifier_whose_parts_are_no_numbers_is_told_whole() {
    let told = |sub_id: &str| {
        let mut record = fixture::record_of(Aggregate::new(Kind::Observation));
        if let Aggregate::Observation(observation) = &mut record.aggregate {
            observation.sub_id = Some(sub_id.to_owned());
        }
        resource(&record).to_string()
    };
    assert!(told("1^HepB").contains("1^HepB"));
    let parts = told("2^1^3^x");
    assert!(!parts.contains("2^1") && parts.contains("group"), "{parts}");
}

#[test]
fn an_appointment_without_its_end_gets_it_from_its_length() {
    let told = |fields: Value| {
        let aggregate = Aggregate::from_json(Kind::Appointment, fields.to_string().as_bytes()).unwrap();
        let json = resource(&fixture::record_of(aggregate));
        admit(&json).unwrap();
        json.to_string()
    };
    let json =
        told(json!({ "status": "booked", "start": "2026-03-29T02:50:00+02:00", "duration_minutes": 20 }));
    assert!(
        json.contains(r#""start":"2026-03-29T02:50:00+02:00","end":"2026-03-29T03:10:00+02:00""#),
        "{json}"
    );
    // What is booked has a start and an end (app-3), also where nobody says them.
    let json = told(json!({ "status": "booked", "duration_minutes": 20 }));
    assert!(
        json.contains(r#""_start":{"extension":[{"url""#) && json.contains(r#""_end""#),
        "{json}"
    );
    let json = told(json!({ "status": "waitlist", "duration_minutes": 20 }));
    assert!(!json.contains("_start"), "{json}");
    let json = told(json!({ "status": "booked", "start": "2026-03-29" }));
    assert!(
        json.contains(r#""requestedPeriod":[{"start":"2026-03-29"}]"#),
        "{json}"
    );
    assert!(!json.contains(r#""start":"2026-03-29T"#), "{json}");
}

fn stamp() -> Stamp {
    Stamp {
        now: "2026-05-06T06:00:00Z".parse().unwrap(),
        id: Uuid::from_u64_pair(0x0190_0000_0000_7000, 0x8000_0000_0000_aaaa),
    }
}

/// A change set that speaks of one of each kind, and what came of it.
fn everything() -> (ChangeSet, Applied) {
    let mut changes = ChangeSet::default();
    let mut applied = Applied::default();
    for kind in Kind::ALL {
        let key = kind.as_str().to_lowercase();
        changes
            .changes
            .push(Change::new(key.clone(), people::PatientChange::default()));
        applied.ids.insert(key, (*kind, fixture::id(*kind)));
        applied
            .known
            .insert(fixture::id(*kind), fixture::record(*kind).into());
    }
    let party = |name: &str| Party {
        application: Some(Identifier::new(None, name)),
        facility: Some(Identifier::new(Some("urn:oid:1.2.3"), "SPITAL")),
        endpoint: None,
        country: Some("RO".to_owned()),
        responsible: None,
    };
    changes.about = About {
        message_type: Some("ADT^A04^ADT_A01".to_owned()),
        control_id: Some("MSG-1".to_owned()),
        event: Some(Concept::coded("HL70003", "A04", None)),
        reason: Some(Concept::words("trimis")),
        sent: Some("2026-05-05T08:30:00+03:00".parse().unwrap()),
        recorded: Some("2026-05-05T08:31:00+03:00".parse().unwrap()),
        occurred: Some("2026-05-05T08:32:00+03:00".parse().unwrap()),
        operators: vec![Ref::Local("practitioner".to_owned())],
        place: Some(Ref::Local("site".to_owned())),
        sender: party("LIS"),
        receiver: party("PUNTE"),
        responsible: Some(Ref::Local("clinic".to_owned())),
        security: vec![Concept::words("secret")],
        language: Some(Concept::coded("urn:ietf:bcp:47", "ro", None)),
        profiles: vec!["ORU_R01_PROFIL".to_owned(), "urn:oid:1.2.4".to_owned()],
        processing: Some("P".to_owned()),
        processing_mode: Some("T".to_owned()),
        version: Some("2.5.1".to_owned()),
        acts: vec![Act {
            target: vec![Ref::Local("order".to_owned())],
            activity: Some(Concept::coded(
                "http://terminology.hl7.org/CodeSystem/v3-DataOperation",
                "CREATE",
                None,
            )),
            reason: Some(Concept::words("urgent")),
            recorded: Some("2026-05-05T08:33:00+03:00".parse().unwrap()),
            agents: vec![(
                Ref::Local("practitioner".to_owned()),
                Concept::coded(
                    "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
                    "enterer",
                    None,
                ),
            )],
            place: Some(Ref::Local("room".to_owned())),
            on_behalf_of: Some(Ref::Local("clinic".to_owned())),
        }],
        notes: vec![],
    };
    (changes, applied)
}

fn read(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// All values of `reference` in a tree.
fn references(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("reference") {
                out.push(reference.clone());
            }
            fields.values().for_each(|value| references(value, out));
        }
        Value::Array(entries) => entries.iter().for_each(|value| references(value, out)),
        _ => {}
    }
}

fn check_bundle(bundle: &Value) {
    let entries = bundle["entry"].as_array().unwrap();
    let urls: Vec<&str> = entries
        .iter()
        .map(|entry| entry["fullUrl"].as_str().unwrap())
        .collect();
    let mut unique = urls.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), urls.len(), "a fullUrl twice");
    let mut all = vec![];
    references(bundle, &mut all);
    assert!(!all.is_empty());
    for reference in all {
        assert!(urls.contains(&reference.as_str()), "{reference} leads nowhere");
    }
}

#[test]
fn a_message_bundle_holds_everything_once_and_leads_nowhere_else() {
    let (changes, applied) = everything();
    let json = bundle_json(None, &changes, &applied, Shape::Message, &stamp());
    dump("bundle-message", &json);
    admit(&json).unwrap();
    assert_eq!(unknown_elements(&json), Vec::<String>::new());
    let read = read(&bundle(&changes, &applied, Shape::Message, &stamp()).unwrap());
    check_bundle(&read);
    let types: Vec<&str> = read["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["resource"]["resourceType"].as_str().unwrap())
        .collect();
    assert_eq!(types[0], "MessageHeader");
    for kind in Kind::ALL {
        assert!(types.contains(&fhir_type(*kind)));
    }
    assert_eq!(types.iter().filter(|t| **t == "Provenance").count(), 4);
    let header = &read["entry"][0]["resource"];
    assert_eq!(header["eventCoding"]["code"], "A04");
    assert_eq!(
        header["eventCoding"]["system"],
        "http://terminology.hl7.org/CodeSystem/v2-0003"
    );
    assert_eq!(header["source"]["name"], "LIS");
    assert_eq!(read["identifier"]["value"], "MSG-1");
    assert_eq!(read["timestamp"], "2026-05-05T08:30:00+03:00");
}

#[test]
fn a_transaction_updates_each_by_identifier_and_no_two_alike() {
    let (changes, applied) = everything();
    let json = bundle_json(None, &changes, &applied, Shape::Transaction, &stamp());
    dump("bundle-transaction", &json);
    admit(&json).unwrap();
    let read = read(&bundle(&changes, &applied, Shape::Transaction, &stamp()).unwrap());
    check_bundle(&read);
    let mut urls = vec![];
    for entry in read["entry"].as_array().unwrap() {
        let url = entry["request"]["url"].as_str().unwrap();
        let resource_type = entry["resource"]["resourceType"].as_str().unwrap();
        assert_eq!(entry["request"]["method"], "PUT");
        if resource_type == "Provenance" {
            assert_eq!(
                url,
                format!("Provenance/{}", entry["resource"]["id"].as_str().unwrap())
            );
        } else {
            assert!(url.starts_with(&format!("{resource_type}?identifier=")), "{url}");
            assert!(entry["resource"].get("id").is_none());
        }
        urls.push(url.to_owned());
    }
    let count = urls.len();
    urls.sort_unstable();
    urls.dedup();
    assert_eq!(urls.len(), count);
    let known_elsewhere =
        |url: &&String| url.starts_with("Organization?identifier=http%3A%2F%2Fexample.org%2Fcod%7C");
    assert_eq!(urls.iter().filter(known_elsewhere).count(), 1, "{urls:#?}");
}

#[test]
fn a_study_that_is_told_for_an_object_takes_nothing_from_the_one_that_is_there() {
    let request_of_study = |event: &str, without: Option<Kind>| {
        let (mut changes, mut applied) = everything();
        let of_study = changes
            .changes
            .iter_mut()
            .find(|change| change.key == "imagingstudy");
        of_study.unwrap().in_part = event.starts_with("ImagingInstance.");
        applied
            .known
            .retain(|id, _| without.map(fixture::id) != Some(*id));
        let read = read(&bundle(&changes, &applied, Shape::Transaction, &stamp()).unwrap());
        check_bundle(&read);
        let entries = read["entry"].as_array().unwrap();
        let study = entries
            .iter()
            .find(|entry| entry["resource"]["resourceType"] == "ImagingStudy")
            .unwrap();
        let request = &study["request"];
        let query = request["ifNoneExist"].as_str().unwrap_or_default().to_owned();
        (
            request["method"].as_str().unwrap().to_owned(),
            request["url"].clone(),
            query,
        )
    };
    for (event, without) in [
        ("ImagingInstance.created", None),
        ("C-STORE", Some(Kind::Order)),
        ("C-STORE", Some(Kind::Encounter)),
    ] {
        let (method, url, query) = request_of_study(event, without);
        assert_eq!(
            (method.as_str(), url.as_str()),
            ("POST", Some("ImagingStudy")),
            "{event} {without:?}"
        );
        assert!(
            query.starts_with("identifier=urn%3Aietf%3Arfc%3A3986%7C"),
            "{query}"
        );
    }
    let (method, url, _) = request_of_study("ImagingStudy.updated", None);
    assert_eq!(method, "PUT");
    assert!(url.as_str().unwrap().starts_with("ImagingStudy?identifier="));
}

#[test]
fn what_a_message_does_not_change_takes_nothing_from_the_server() {
    let request_of = |told: Kind, without: Kind, is_written: bool| {
        let (mut changes, mut applied) = everything();
        // Only what stands beside it: the order of a report, the bed of a visit.
        changes
            .changes
            .retain(|change| change.key != told.as_str().to_lowercase());
        applied.known.retain(|id, _| *id != fixture::id(without));
        if is_written {
            applied.writes.push(Write {
                before: None,
                record: applied.known[&fixture::id(told)].clone(),
                verb: "updated",
                keys: vec![],
                keys_changed: false,
                natural_keys: vec![],
                bookings: vec![],
            });
        }
        let read = read(&bundle(&changes, &applied, Shape::Transaction, &stamp()).unwrap());
        check_bundle(&read);
        let url = format!("urn:uuid:{}", fixture::id(told));
        let entries = read["entry"].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["fullUrl"] == url.as_str());
        entry.unwrap()["request"]["method"].as_str().unwrap().to_owned()
    };
    for (told, without) in [
        (Kind::Order, Kind::Encounter),
        (Kind::Encounter, Kind::Room),
        (Kind::Slot, Kind::Schedule),
    ] {
        assert_eq!(request_of(told, without, false), "POST", "{told:?}");
        assert_eq!(request_of(told, without, true), "PUT", "{told:?}");
        assert_eq!(
            request_of(told, Kind::ImagingInstance, false),
            "PUT",
            "{told:?} whole"
        );
    }
}

#[test]
fn what_had_another_number_is_found_by_our_identifier() {
    let number = |value: &str, usage: Option<IdentifierUse>| Identifier {
        usage,
        kind: Some(Concept::coded(
            "http://terminology.hl7.org/CodeSystem/v2-0203",
            "VN",
            None,
        )),
        ..Identifier::new(Some("urn:oid:1.2.3"), value)
    };
    let url = |kind: Kind, identifiers: Vec<Identifier>| {
        let mut aggregate = Aggregate::new(kind);
        *aggregate.identifiers_mut() = identifiers;
        let mut changes = ChangeSet::default();
        changes
            .changes
            .push(Change::new("one", people::PatientChange::default()));
        let mut applied = Applied::default();
        applied.ids.insert("one".to_owned(), (kind, fixture::id(kind)));
        applied
            .known
            .insert(fixture::id(kind), fixture::record_of(aggregate).into());
        let json = bundle_json(None, &changes, &applied, Shape::Transaction, &stamp());
        let read: Value = serde_json::from_slice(&json.to_bytes()).unwrap();
        read["entry"][0]["request"]["url"].as_str().unwrap().to_owned()
    };
    for kind in [Kind::Patient, Kind::Encounter] {
        let (new, old) = (number("new", None), number("old", Some(IdentifierUse::Old)));
        assert!(url(kind, vec![new.clone()]).ends_with("1.2.3%7Cnew"), "{kind:?}");
        let own = format!("urn%3Auuid%3A{}", fixture::id(kind));
        assert!(
            url(kind, vec![new.clone(), old.clone()]).ends_with(&own),
            "{kind:?}"
        );
        assert!(url(kind, vec![old, new.clone()]).ends_with(&own), "{kind:?}");
        let other = Identifier {
            system: Some("urn:oid:9".to_owned()),
            usage: Some(IdentifierUse::Old),
            ..new.clone()
        };
        assert!(url(kind, vec![new, other]).ends_with("1.2.3%7Cnew"), "{kind:?}");
    }
}

#[test]
fn what_is_not_loaded_is_named_by_our_identifier() {
    let (mut changes, mut applied) = everything();
    changes.changes.retain(|change| change.key == "observation");
    applied
        .known
        .retain(|id, _| *id == fixture::id(Kind::Observation));
    let read = read(&bundle(&changes, &applied, Shape::Message, &stamp()).unwrap());
    check_bundle(&read);
    let observation = &read["entry"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["resource"]["resourceType"] == "Observation")
        .unwrap()["resource"];
    assert_eq!(
        observation["subject"]["identifier"]["value"],
        format!("urn:uuid:{}", fixture::id(Kind::Patient))
    );
}

#[test]
fn single_requests_refer_to_what_the_server_called_the_earlier_ones() {
    let (changes, applied) = everything();
    let entries = per_resource(&changes, &applied, &stamp()).unwrap();
    let mut given: BTreeMap<Uuid, String> = BTreeMap::new();
    let mut again = vec![];
    for (idx, entry) in entries.iter().enumerate() {
        let (body, complete) = entry.body(&|id| given.get(&id).cloned());
        let body = read(&body);
        let mut all = vec![];
        references(&body, &mut all);
        assert!(all.iter().all(|reference| !reference.starts_with("urn:")));
        if !complete {
            again.push(entry);
        }
        given.insert(
            entry.id,
            format!("{}/{idx}", body["resourceType"].as_str().unwrap()),
        );
    }
    assert!(!again.is_empty());
    for entry in again {
        assert!(entry.body(&|id| given.get(&id).cloned()).1);
    }
}

#[test]
fn an_empty_change_set_still_makes_a_message() {
    let (changes, applied) = (ChangeSet::default(), Applied::default());
    let json = bundle_json(None, &changes, &applied, Shape::Message, &stamp());
    dump("bundle-empty", &json);
    admit(&json).unwrap();
    check_bundle(&read(
        &bundle(&changes, &applied, Shape::Message, &stamp()).unwrap(),
    ));
    let json = bundle_json(None, &changes, &applied, Shape::Transaction, &stamp());
    admit(&json).unwrap();
}

#[test]
fn what_the_server_says_is_valid() {
    let types = [crate::server::SearchType {
        name: "Patient",
        parameters: &[("identifier", "token"), ("birthdate", "date")],
    }];
    let capability =
        crate::server::capability_statement("http://127.0.0.1:8080/fhir", "0.1.0", "2026-05-05", &types);
    let outcome = crate::server::operation_outcome(
        "error",
        "not-found",
        "There is no such patient.",
        Some("Patient.id"),
    );
    let found = crate::server::Found {
        resource: resource(&fixture::record(Kind::Patient)),
        mode: "match",
    };
    let set = crate::server::searchset(
        "http://127.0.0.1:8080/fhir/",
        vec![found],
        "http://127.0.0.1:8080/fhir/Patient",
        None,
        Some(0),
    );
    for (name, json) in [
        ("capability", &capability),
        ("outcome", &outcome),
        ("searchset", &set),
    ] {
        dump(name, json);
        admit(json).unwrap();
        assert_eq!(unknown_elements(json), Vec::<String>::new());
    }
}

#[test]
fn the_gate_refuses_and_names_no_value() {
    let record = fixture::record(Kind::Patient);
    let follow = |_: Kind, _: Uuid| None;
    let (json, _) = build(&record, &follow, false);
    let Json::Object(object) = json else { panic!() };
    let error = admit(&object.clone().put("gender", "Ana Popescu").into())
        .unwrap_err()
        .to_string();
    assert!(!error.contains("Popescu"), "{error}");
    assert!(admit(&object.put("resourceType", "Invoice").into()).is_err());
}

/// What the gate costs, for the decision in `docs/adr/0002-fhir-json.md`. Prints; asserts only that it ends.
#[test]
fn the_gate_has_a_price() {
    let json = resource(&fixture::record(Kind::Patient));
    let start = std::time::Instant::now();
    for _ in 0..100 {
        admit(&json).unwrap();
    }
    println!(
        "admit, a full patient of {} bytes: {:?}",
        json.to_bytes().len(),
        start.elapsed() / 100
    );
}

#[test]
fn an_end_before_its_start_is_told_in_words() {
    let told = |start: &str, end: &str| {
        let fields = json!({ "period": { "start": start, "end": end } });
        let aggregate = Aggregate::from_json(Kind::Encounter, fields.to_string().as_bytes()).unwrap();
        let json = resource(&fixture::record_of(aggregate));
        admit(&json).unwrap();
        assert_eq!(broken_of(&json), Vec::<String>::new());
        json.to_string()
    };
    for (start, end, fits) in [
        ("2026-05-05", "2026-05-05", true),
        ("2026-05-06", "2026-05-05", false),
        ("2026-05-05T10:00:00Z", "2026-05-05", true),
        ("2026-05-05T10:00:00Z", "2026-05-05T10:00:00Z", true),
        ("2026-05-05T10:00:00Z", "2026-05-05T10:00:00+03:00", false),
        ("2026-05-05", "2026", true),
    ] {
        let json = told(start, end);
        assert_eq!(json.contains(&format!("\"end\":\"{end}\"")), fits, "{json}");
        assert!(json.contains(end), "{json}");
    }
}

#[test]
fn a_ratio_has_both_parts() {
    let fields = json!({ "value": { "ratio": { "numerator": { "value": "1" } } } });
    let aggregate = Aggregate::from_json(Kind::Observation, fields.to_string().as_bytes()).unwrap();
    let json = resource(&fixture::record_of(aggregate));
    admit(&json).unwrap();
    assert!(
        json.to_string().contains("\"denominator\":{\"extension\""),
        "{json}"
    );
}
