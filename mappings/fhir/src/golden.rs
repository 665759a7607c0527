//! What each resource says, by example: a few fields in, the JSON between its head and its end out.

use clinic::{Aggregate, Kind};
use serde_json::{Value, json};

use crate::gate::{admit, unknown_elements};
use crate::{fixture, resource};

/// The resource of these fields, without type, id, meta and our identifier.
fn told(kind: Kind, fields: &Value) -> String {
    let aggregate = Aggregate::from_json(kind, fields.to_string().as_bytes()).unwrap();
    let json = resource(&fixture::record_of(aggregate));
    admit(&json).unwrap();
    assert_eq!(unknown_elements(&json), Vec::<String>::new());
    let text = json.to_string();
    let own = format!(
        r#"{{"system":"urn:ietf:rfc:3986","value":"urn:uuid:{}"}}"#,
        fixture::id(kind)
    );
    let text = text.replacen(&format!(",{own}]"), "]", 1);
    let text = text.replacen(&format!(r#""identifier":[{own}],"#), "", 1);
    let begin = text.find("ffff\"").unwrap() + 5;
    let begin = begin + text[begin..].find(',').unwrap() + 1;
    text[begin..text.len() - 1].to_owned()
}

fn reference(kind: Kind) -> Value {
    json!({ "id": [kind.as_str(), fixture::id(kind)] })
}

fn path(kind: Kind) -> String {
    format!(
        r#"{{"reference":"{}/{}"}}"#,
        crate::fhir_type(kind),
        fixture::id(kind)
    )
}

#[track_caller]
fn check(kind: Kind, fields: Value, expected: &str) {
    assert_eq!(told(kind, &fields), expected);
}

#[test]
fn places() {
    check(
        Kind::Clinic,
        json!({ "name": "CENTRU", "identifiers": [{ "system": "urn:oid:1.2", "value": "7", "check_digit": "3" }] }),
        concat!(
            r#""identifier":[{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/identifier-checkDigit","valueString":"3"}],"#,
            r#""system":"urn:oid:1.2","value":"7"}],"name":"CENTRU""#
        ),
    );
    check(
        Kind::Room,
        json!({ "name": "CAB4", "kind": "ro", "part_of": reference(Kind::Site) }),
        &format!(
            concat!(
                r#""identifier":[{{"value":"CAB4"}}],"name":"CAB4","mode":"instance","physicalType":{{"coding":[{{"#,
                r#""system":"http://terminology.hl7.org/CodeSystem/location-physical-type","code":"ro"}}]}},"partOf":{}"#
            ),
            path(Kind::Site)
        ),
    );
}

#[test]
fn visits() {
    check(
        Kind::Encounter,
        json!({
            "status": "in-progress",
            "accounts": [{ "value": "A-1" }],
            "stays": [{ "place": reference(Kind::Room), "status": "active", "temporary": true }],
            "description": "tuse < 3 zile & febră",
        }),
        &format!(
            concat!(
                r#""text":{{"status":"additional","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">tuse &lt; 3 zile &amp; febră</div>"}},"#,
                r#""identifier":[{{"type":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"AN"}}]}},"value":"A-1"}}],"#,
                r#""status":"in-progress","class":{{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"AMB"}},"#,
                r#""location":[{{"extension":[{{"url":"http://hl7.org/fhir/StructureDefinition/subject-locationClassification","#,
                r#""valueCodeableConcept":{{"coding":[{{"system":"http://hl7.org/fhir/ValueSet/subject-location","code":"temporary"}}]}}}}],"#,
                r#""location":{},"status":"active"}}]"#
            ),
            path(Kind::Room)
        ),
    );
    check(
        Kind::Condition,
        json!({
            "patient": reference(Kind::Patient),
            "clinical_status": { "codings": [{ "code": "active" }] },
            "verification": { "codings": [{ "code": "entered-in-error" }] },
            "code": { "codings": [{ "system": "I10", "code": "E78.0" }] },
        }),
        &format!(
            concat!(
                r#""verificationStatus":{{"coding":[{{"code":"entered-in-error"}}]}},"#,
                r#""code":{{"coding":[{{"system":"http://hl7.org/fhir/sid/icd-10","code":"E78.0"}}]}},"subject":{}"#
            ),
            path(Kind::Patient)
        ),
    );
    check(
        Kind::Allergy,
        json!({ "patient": reference(Kind::Patient), "categories": ["food"], "reactions": [{ "severity": "mild" }] }),
        &format!(
            concat!(
                r#""clinicalStatus":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical","code":"active"}}]}},"#,
                r#""category":["food"],"patient":{},"reaction":[{{"severity":"mild","manifestation":[{{"extension":[{{"#,
                r#""url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}}],"text":"unknown"}}]}}]"#
            ),
            path(Kind::Patient)
        ),
    );
    check(
        Kind::Procedure,
        json!({
            "code": { "codings": [{ "system": "http://www.ama-assn.org/go/cpt", "code": "99213" }] },
            "modifiers": [{ "codings": [{ "code": "25" }] }],
        }),
        concat!(
            r#""status":"unknown","code":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/alternate-codes","#,
            r#""valueCodeableConcept":{"coding":[{"code":"25"}]}}],"coding":[{"system":"http://www.ama-assn.org/go/cpt","code":"99213"},"#,
            r#"{"system":"http://www.ama-assn.org/go/cpt","code":"99213:25"}]},"#,
            r#""subject":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}]}"#
        ),
    );
    check(
        Kind::Coverage,
        json!({ "patient": reference(Kind::Patient), "group_number": "G1", "subscriber_ids": [{ "value": "S1" }] }),
        &format!(
            concat!(
                r#""extension":[{{"url":"http://hl7.org/fhir/5.0/StructureDefinition/extension-subscriberId","valueIdentifier":{{"value":"S1"}}}}],"#,
                r#""status":"active","subscriberId":"S1","beneficiary":{},"payor":[{{"extension":[{{"#,
                r#""url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}}]}}],"class":[{{"type":{{"coding":[{{"#,
                r#""system":"http://terminology.hl7.org/CodeSystem/coverage-class","code":"group"}}]}},"value":"G1"}}]"#
            ),
            path(Kind::Patient)
        ),
    );
}

#[test]
fn orders_and_results() {
    check(
        Kind::Order,
        json!({
            "patient": reference(Kind::Patient),
            "status": "active",
            "status_original": { "codings": [{ "system": "http://terminology.hl7.org/CodeSystem/v2-0119", "code": "NW" }] },
            "requester": reference(Kind::Practitioner),
            "requester_organization": reference(Kind::Clinic),
            "occurrence_at": "2026-05-05",
            "occurrence_timing": { "frequency": 2, "period": { "value": "1", "code": "d" } },
        }),
        &format!(
            concat!(
                r##""contained":[{{"resourceType":"PractitionerRole","id":"requester","practitioner":{practitioner},"organization":{clinic}}}],"##,
                r##""extension":[{{"url":"http://hl7.org/fhir/StructureDefinition/businessEvent","extension":[{{"url":"value","##,
                r##""valueCodeableConcept":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v2-0119","code":"NW"}}]}}}}]}}],"##,
                r##""status":"active","intent":"order","subject":{patient},"##,
                r##""occurrenceTiming":{{"event":["2026-05-05"],"repeat":{{"frequency":2,"period":1,"periodUnit":"d"}}}},"requester":{{"reference":"#requester"}}"##
            ),
            practitioner = path(Kind::Practitioner),
            clinic = path(Kind::Clinic),
            patient = path(Kind::Patient)
        ),
    );
    check(
        Kind::Specimen,
        json!({ "collected_at": "2026-05-05T08:45:00+03:00", "additives": [{ "text": "EDTA" }, { "text": "gel" }] }),
        concat!(
            r#""collection":{"collectedDateTime":"2026-05-05T08:45:00+03:00"},"#,
            r#""container":[{"additiveCodeableConcept":{"text":"EDTA"}},{"additiveCodeableConcept":{"text":"gel"}}]"#
        ),
    );
    check(
        Kind::Result,
        json!({ "status": "final", "issued": "2026-05-05", "documents": [{ "content_type": "application/pdf", "data": "JVBE Rg==" }] }),
        concat!(
            r#""status":"final","code":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}],"text":"unknown"},"#,
            r#""_issued":{"extension":[{"url":"urn:punte:extension:date","valueDateTime":"2026-05-05"}]},"#,
            r#""presentedForm":[{"contentType":"application/pdf","data":"JVBERg=="}]"#
        ),
    );
    check(
        Kind::Observation,
        json!({
            "status": "final",
            "code": { "text": "PCR" },
            "sub_id": "1",
            "value": { "quantity": { "value": "0.10", "comparator": "<", "unit": "mg/L" } },
            "value_original": "<0,10",
            "absent_reason": { "text": "not told beside a value" },
            "responsible": [reference(Kind::Practitioner)],
        }),
        &format!(
            concat!(
                r#""extension":[{{"url":"http://hl7.org/fhir/StructureDefinition/observation-v2-subid","extension":[{{"url":"original-sub-identifier","valueString":"1"}}]}}],"#,
                r#""status":"final","code":{{"text":"PCR"}},"performer":[{{"reference":"Practitioner/{}","extension":[{{"#,
                r#""url":"http://hl7.org/fhir/StructureDefinition/event-performerFunction","valueCodeableConcept":{{"coding":[{{"#,
                r#""system":"http://terminology.hl7.org/CodeSystem/practitioner-role","code":"responsibleObserver"}}]}}}}]}}],"#,
                r#""valueQuantity":{{"extension":[{{"url":"http://hl7.org/fhir/StructureDefinition/originalText","valueString":"<0,10"}}],"#,
                r#""value":0.10,"comparator":"<","unit":"mg/L"}}"#
            ),
            fixture::id(Kind::Practitioner)
        ),
    );
}

#[test]
fn a_text_has_its_unit_beside_it() {
    check(
        Kind::Observation,
        json!({ "status": "final", "code": { "text": "LEU" }, "value": { "text": "0-2" }, "text_unit": { "unit": "/HPF" } }),
        concat!(
            r#""status":"final","code":{"text":"LEU"},"valueString":"0-2","#,
            r#""_valueString":{"extension":[{"url":"urn:punte:extension:unit","valueQuantity":{"unit":"/HPF"}}]}"#
        ),
    );
}

#[test]
fn documents_and_prescriptions() {
    check(
        Kind::Document,
        json!({ "identifiers": [{ "value": "D-1" }], "date": "2026-05-05", "encounter": reference(Kind::Encounter) }),
        &format!(
            concat!(
                r#""extension":[{{"url":"http://hl7.org/fhir/6.0/StructureDefinition/extension-date","valueDate":"2026-05-05"}}],"#,
                r#""masterIdentifier":{{"value":"D-1"}},"status":"current","content":[{{"attachment":{{"extension":[{{"#,
                r#""url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}}]}}}}],"#,
                r#""context":{{"encounter":[{}]}}"#
            ),
            path(Kind::Encounter)
        ),
    );
    check(
        Kind::MedicationOrder,
        json!({
            "patient": reference(Kind::Patient),
            "medication": { "text": "amoxicilină" },
            "form": { "text": "comprimate" },
            "dosages": [{ "text": "1 la 8 ore", "dose": { "low": { "value": "0.50" } } }],
            "refills": 0,
        }),
        &format!(
            concat!(
                r##""contained":[{{"resourceType":"Medication","id":"medication","code":{{"text":"amoxicilină"}},"form":{{"text":"comprimate"}}}}],"##,
                r##""status":"unknown","intent":"order","medicationReference":{{"reference":"#medication"}},"subject":{},"##,
                r##""dosageInstruction":[{{"text":"1 la 8 ore","doseAndRate":[{{"type":{{"coding":[{{"##,
                r##""system":"http://terminology.hl7.org/CodeSystem/dose-rate-type","code":"ordered"}}]}},"doseRange":{{"low":{{"value":0.50}}}}}}]}}],"##,
                r##""dispenseRequest":{{"numberOfRepeatsAllowed":0}}"##
            ),
            path(Kind::Patient)
        ),
    );
}

#[test]
fn slots_without_a_time_say_so() {
    check(
        Kind::Slot,
        json!({ "schedule": reference(Kind::Schedule), "start": "2026-05-05T08:45:00+03:00" }),
        &format!(
            concat!(
                r#""schedule":{},"status":"busy-unavailable","start":"2026-05-05T08:45:00+03:00","#,
                r#""_end":{{"extension":[{{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}}]}}"#
            ),
            path(Kind::Schedule)
        ),
    );
}

#[test]
fn names_of_systems_become_uris() {
    for (name, uri) in [
        ("LN", "http://loinc.org"),
        ("HL70063", "http://terminology.hl7.org/CodeSystem/v2-0063"),
        ("urn:oid:1.2.3", "urn:oid:1.2.3"),
        ("https://example.org/a", "https://example.org/a"),
        ("SPITAL NORD", "urn:id:SPITAL%20NORD"),
        ("http://not a uri", "urn:id:http%3A%2F%2Fnot%20a%20uri"),
        ("L", "urn:id:L"),
        ("ș", "urn:id:%C8%99"),
    ] {
        assert_eq!(crate::system_uri(name), uri);
    }
}
