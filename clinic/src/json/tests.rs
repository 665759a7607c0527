use super::*;

fn told(text: &str) -> Vec<String> {
    match read(text.as_bytes()) {
        Ok(_) => vec![],
        Err(wrongs) => wrongs.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_change_set_is_read() {
    let text = r#"{
        "about": { "control_id": "42", "sender": { "application": { "value": "PORTAL" } } },
        "changes": [
            { "key": "ana", "find": { "identifiers": [{ "value": "7" }] },
              "say": { "Patient": {
                "identifiers": { "merge": [{ "system": "NORD", "value": "N-1" }] },
                "birth_date": "1980-05", "religion": null, "names": [{ "family": "Pop", "given": ["Ana"] }] } } },
            { "key": "visit", "say": { "Appointment": {
                "identifiers": [{ "value": "A-9" }], "status": "booked", "duration_minutes": 20,
                "participants": [{ "actor": { "local": "ana" } }] } } }
        ]
    }"#;
    assert_eq!(told(text), Vec::<String>::new());
    let keys = keys(text.as_bytes());
    assert_eq!(keys.sender.as_deref(), Some("PORTAL|"));
    assert_eq!(keys.control_id.as_deref(), Some("42"));
    assert_eq!(keys.patients, ["N-1", "N-1^NORD", "7"]);
    assert_eq!(keys.orders, ["A-9"]);
}

#[test]
fn all_that_is_wrong_is_told_with_its_place() {
    let text = r#"{
        "changes": [
            { "key": "ana", "say": { "Patient": { "birth_date": "1980-13", "sexx": "female", "birth_order": -1,
                "names": [{ "family": 5, "middle": "X" }] } } },
            { "key": "visit", "find": { "id": "12" },
              "say": { "Appointment": { "status": "bookd", "start": 7, "identifiers": "A-9" } } },
            { "kee": "x", "say": { "Pacient": {} } },
            { "key": "r", "say": { "Result": { "patient": { "id": ["Patient"] } } } },
            { "key": "e", "say": {} }
        ],
        "merges": {}
    }"#;
    assert_eq!(
        told(text),
        [
            "/changes/0/say/Patient/birth_date: is a day that is not in the calendar; write YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+hh:mm",
            "/changes/0/say/Patient/birth_order: is out of range; write a whole number from 0 to 4294967295",
            "/changes/0/say/Patient/names/0/family: is a number; a text or null belongs here",
            "/changes/0/say/Patient/names/0/middle: not known here; known are assembly_order, family, given, own_name, own_prefix, partner_name, partner_prefix, period, prefix, representation, suffix, text, use",
            "/changes/0/say/Patient/sexx: not known here; did you mean \"sex\"?",
            "/changes/1/find/id: is no id; write a UUID",
            "/changes/1/say/Appointment/identifiers: is a text; a table or a list or null belongs here",
            "/changes/1/say/Appointment/start: is a number; a date as text or null belongs here",
            "/changes/1/say/Appointment/status: not known here; did you mean \"booked\"?",
            "/changes/2/kee: not known here; did you mean \"key\"?",
            "/changes/2/say/Pacient: not known here; did you mean \"Patient\"?",
            "/changes/3/say/Result/patient/id: has 1 entries; 2 belong here",
            "/changes/4/say: needs one of: Patient, RelatedPerson, Practitioner, Clinic, Site, Room, Service, Schedule, Slot, Appointment, Encounter, Condition, Allergy, Procedure, Coverage, Order, Specimen, Result, Observation, Document, MedicationOrder, ImagingStudy, ImagingInstance",
            "/merges: is a table; a list belongs here",
        ]
    );
}

#[test]
fn what_leads_nowhere_is_told() {
    let text = r#"{
        "changes": [
            { "key": "ana", "say": { "Patient": {} } },
            { "key": "lab", "say": { "Order": { "patient": { "local": "anna" } } } }
        ],
        "merges": [{ "survivor": "ana", "old": "lab" }, { "survivor": "q", "old": "ana" }]
    }"#;
    assert_eq!(
        told(text),
        [
            "/changes/1/say/Order/patient/local: names no change of this set; did you mean \"ana\"?",
            "/merges/0/old: names a change that is not about a Patient",
            "/merges/1/survivor: names no change of this set",
        ]
    );
}

#[test]
fn two_changes_have_two_keys() {
    let text = r#"{
        "changes": [
            { "key": "patient", "say": { "Patient": { "birth_date": "1980" } } },
            { "key": "b", "say": { "Patient": {} } },
            { "key": "patient", "say": { "Patient": { "birth_date": "1955" } } },
            { "key": "patient", "say": { "Site": {} } }
        ]
    }"#;
    assert_eq!(
        told(text),
        [
            "/changes/2/key: is the key of /changes/0 already; give each change its own",
            "/changes/3/key: is the key of /changes/0 already; give each change its own",
        ]
    );
}

#[test]
fn what_is_no_json_is_told() {
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    let many = format!("[{}0]", "0,".repeat(MAX_VALUES));
    let cases = [
        (
            "",
            "/: ends in the middle: the JSON is cut off (line 1, column 0)",
        ),
        (
            "{\"changes\": [",
            "/: ends in the middle: the JSON is cut off (line 1, column 13)",
        ),
        ("{} {}", "/: is no JSON (line 1, column 4)"),
        ("[]", "/: is a list; a table belongs here"),
        (
            r#"{"changes":[{"key":"a","key":"b"}]}"#,
            "/changes/0/key: stands here twice",
        ),
        (&many, "/: holds more than 1000000 values; send it in parts"),
    ];
    for (text, what) in cases {
        assert_eq!(told(text), [what]);
    }
    assert!(told(&deep)[0].ends_with("stands deeper than 32 values in each other"));
    let long = " ".repeat(MAX_BYTES + 1);
    assert_eq!(told(&long), ["/: is longer than 32 MB; send it in parts"]);
}

#[test]
fn a_merge_is_of_two_records_in_one_direction() {
    let changes = r#""changes":[
        {"key":"a","find":{"id":"0199c001-0000-7000-8000-000000000001"},"say":{"Patient":{}}},
        {"key":"b","say":{"Patient":{}}},
        {"key":"c","find":{"id":"0199C001-0000-7000-8000-000000000001"},"say":{"Patient":{}}}]"#;
    let merges = |merges: &str| told(&format!("{{{changes},\"merges\":[{merges}]}}"));
    assert!(merges(r#"{"survivor":"a","old":"b"}"#).is_empty());
    let itself = ["/merges/0/old: is the survivor too; a merge is of two records"];
    assert_eq!(merges(r#"{"survivor":"b","old":"b"}"#), itself);
    assert_eq!(merges(r#"{"survivor":"a","old":"c"}"#), itself);
    assert_eq!(
        merges(r#"{"survivor":"a","old":"b"},{"survivor":"b","old":"c"}"#),
        ["/merges/1/old: is the survivor of /merges/0; say which of the two stays"]
    );
}

#[test]
fn one_error_holds_all() {
    let error = decode(br#"{"changes":[{"key":1,"say":{"Site":{"nam":2}}}]}"#).expect_err("wrong");
    assert_eq!(
        error.to_string(),
        "/changes/0/key: is a number; a text belongs here\n\
         /changes/0/say/Site/nam: not known here; did you mean \"name\"?"
    );
}
