//! Mapping files and what they make of documents.

use std::sync::Arc;

use clinic::aggregate::Source;
use clinic::apply::{Context, Nobody, OnUnmatched};
use clinic::{Applied, ChangeSet};
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Mapping, Table, Wire, decode, encode, read};
use crate::tree::Reading;

fn table(name: &str) -> Option<Arc<Table>> {
    let row =
        |system: &str, code: &str, display: &str| (system.to_owned(), code.to_owned(), display.to_owned());
    (name == "lis.csv").then(|| {
        let rows = [(
            ("LIS".to_owned(), "K".to_owned()),
            row("http://loinc.org", "2823-3", "Potassium"),
        )];
        Arc::new(rows.into_iter().collect())
    })
}

fn mapping(text: &str, wire: Wire) -> Mapping {
    read(text, wire, true, &mut table).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn zone() -> TimeZone {
    TimeZone::get("Europe/Bucharest").unwrap_or(TimeZone::UTC)
}

fn decoded(text: &str, mapping: &Mapping) -> ChangeSet {
    decode(text.as_bytes(), mapping, &Reading::default(), &zone()).expect("decoded")
}

fn applied(changes: &ChangeSet) -> Applied {
    let mut next = 0_u128;
    let mut new_id = || {
        next += 1;
        Uuid::from_u128(next)
    };
    let context = Context {
        source: Source::Actor {
            name: "test".into(),
            message: None,
        },
        now: jiff::Timestamp::UNIX_EPOCH,
        site: None,
        on_unmatched: OnUnmatched::Invent,
        decisions: &[],
        overwrite: false,
        new_id: &mut new_id,
    };
    clinic::apply(changes, &Nobody, context).expect("applied")
}

fn json_of(changes: &ChangeSet) -> Value {
    serde_json::to_value(changes).expect("JSON")
}

/// What is written of a document by its own mapping.
fn again(text: &str, mapping: &Mapping) -> String {
    let changes = decoded(text, mapping);
    let bytes = encode(&changes, &applied(&changes), mapping, &zone()).expect("encoded");
    String::from_utf8(bytes).expect("UTF-8")
}

const DAY: &str = r##"
[csv]
delimiter = ";"

[about]
message_type = { value = "SIU^S12" }

[[change]]
key  = "patient"
kind = "Patient"
[change.say]
"identifiers.value"  = "CNP"
"identifiers.system" = { value = "urn:cnp" }
"names.family"       = "Nume"
"names.given[0]"     = "Prenume"
"birth_date"         = { from = "Născut", date = "%d.%m.%Y" }
"sex"                = { from = "Sex", codes = { M = "male", F = "female" }, missing = "fail" }

[[change]]
key  = "appointment"
kind = "Appointment"
[change.say]
"identifiers"  = { from = "Nr", system = "CABINET", required = true }
"patient"      = { ref = "patient" }
"status"       = { value = "booked" }
"start"        = { from = "Data ora", date = "%d.%m.%Y %H:%M" }
"duration_minutes" = "Minute"
"##;

const DAY_CSV: &str = "Nr;CNP;Nume;Prenume;Născut;Sex;Data ora;Minute;Observații\r\n\
    A1;x1;Pop;Ana;12.05.1980;F;30.11.2026 08:30;20;vine cu mama\r\n\
    A2;x2;Ene;\"Ion; Dan\";;M;25.10.2026 03:30;15;\r\n";

#[test]
fn a_day_of_csv_becomes_patients_and_appointments() {
    let changes = decoded(DAY_CSV, &mapping(DAY, Wire::Csv));
    let json = json_of(&changes);
    assert_eq!(json["changes"].as_array().map(Vec::len), Some(4));
    assert_eq!(
        json["changes"][0]["say"]["Patient"],
        json!({
            "identifiers": { "merge": [{ "system": "urn:cnp", "value": "x1" }] },
            "names": { "merge": [{ "family": "Pop", "given": ["Ana"] }] },
            "birth_date": "1980-05-12",
            "sex": "female",
        })
    );
    assert_eq!(
        json["changes"][1]["say"]["Appointment"],
        json!({
            "identifiers": { "merge": [{ "system": "CABINET", "value": "A1" }] },
            "patient": { "local": "patient-1" },
            "status": "booked",
            "start": "2026-11-30T08:30:00+02:00",
            "duration_minutes": 20,
        })
    );
    // An empty field says nothing.
    assert_eq!(json["changes"][2]["say"]["Patient"].get("birth_date"), None);
    // The hour that happens twice is the first of the two.
    assert_eq!(
        json["changes"][3]["say"]["Appointment"]["start"],
        "2026-10-25T03:30:00+03:00"
    );
    assert_eq!(
        json["extra"],
        json!([{ "place": "[1].Observații", "value": "vine cu mama" }])
    );
}

#[test]
fn a_day_is_written_as_it_was_read() {
    let written = again(DAY_CSV, &mapping(DAY, Wire::Csv));
    let expected = "CNP;Nume;Prenume;Născut;Sex;Nr;Data ora;Minute\r\n\
        x1;Pop;Ana;12.05.1980;F;A1;30.11.2026 08:30;20\r\n\
        x2;Ene;\"Ion; Dan\";;M;A2;25.10.2026 03:30;15\r\n";
    assert_eq!(written, expected);
}

const ORDER: &str = r##"
each = "orders"

[fixed]
"source" = "punte"

[about]
control_id = "$.id"

[[change]]
key  = "patient"
kind = "Patient"
[change.say]
"identifiers" = { from = "$.patient.cnp", system = "urn:cnp" }
"names.text"  = "$.patient.name"
"birth_date"  = "$.patient.born"

[[change]]
key  = "order"
kind = "Order"
[change.say]
"identifiers" = { from = "number", system = "ERP", required = true }
"patient"     = { ref = "patient" }
"status"      = { value = "active" }
"intent"      = { value = "order" }
"code"        = { from = "test", codes = "lis.csv", system = "LIS" }
"quantity.value" = { from = "amount", decimal = "," }
"priority"    = { from = "urgent", codes = { true = "stat", false = "routine" } }
"##;

const ORDER_JSON: &str = r#"{"source":"punte","id":"m-1","patient":{"cnp":"x1","name":"Ana Pop","born":"1980-05"},"orders":[{"number":"1","test":"K","amount":"1,50","urgent":"true"},{"number":"2","test":"Zn"}]}"#;

#[test]
fn a_json_order_is_read_and_written() {
    let mapping = mapping(ORDER, Wire::Json);
    let json = json_of(&decoded(ORDER_JSON, &mapping));
    assert_eq!(json["about"]["control_id"], "m-1");
    let order = &json["changes"][1]["say"]["Order"];
    assert_eq!(
        order["code"]["codings"],
        json!([{ "system": "http://loinc.org", "code": "2823-3", "display": "Potassium" }])
    );
    assert_eq!(order["quantity"]["value"], "1.50");
    assert_eq!(order["priority"], "stat");
    assert_eq!(order["patient"], json!({ "local": "patient-1" }));
    // A code that is in no table passes with its own system.
    assert_eq!(
        json["changes"][3]["say"]["Order"]["code"]["codings"],
        json!([{ "system": "LIS", "code": "Zn" }])
    );
    assert_eq!(json["extra"], json!([{ "place": "source", "value": "punte" }]));
    let written = again(ORDER_JSON, &mapping);
    let expected = r#"{"source":"punte","id":"m-1","orders":[{"number":"1","test":"K","amount":"1,50","urgent":"true"},{"number":"2","test":"Zn"}],"patient":{"cnp":"x1","name":"Ana Pop","born":"1980-05"}}"#;
    let parsed = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    assert_eq!(parsed(&written), parsed(expected));
}

#[test]
fn null_clears_and_wrong_values_are_kept_beside() {
    let mapping = mapping(ORDER, Wire::Json);
    let document = r#"{"id":7,"patient":{"cnp":"x1","born":null},"orders":[{"number":"1","amount":"much"}]}"#;
    let json = json_of(&decoded(document, &mapping));
    assert_eq!(json["about"]["control_id"], "7");
    assert_eq!(json["changes"][0]["say"]["Patient"]["birth_date"], Value::Null);
    assert!(json["changes"][0]["say"]["Patient"].get("birth_date").is_some());
    assert_eq!(json["changes"][1]["say"]["Order"].get("quantity"), None);
    assert_eq!(
        json["extra"],
        json!([{ "place": "orders[0].amount", "value": "much", "note": "not a decimal number" }])
    );
    let error = |document: &str| {
        decode(document.as_bytes(), &mapping, &Reading::default(), &zone())
            .expect_err("refused")
            .to_string()
    };
    assert!(
        error(r#"{"orders":[{"test":"K"}]}"#).starts_with("number: identifiers is missing"),
        "{}",
        error(r#"{"orders":[{"test":"K"}]}"#)
    );
    assert!(error("{}").starts_with("Nothing that the mapping names"));
    assert!(error("{").starts_with("1:2: This is no JSON"));
}

#[test]
fn what_a_table_lacks_is_told_with_its_row() {
    let mapping = mapping(DAY, Wire::Csv);
    let error = |from: &str, to: &str| {
        let text = DAY_CSV.replace(from, to);
        assert_ne!(text, DAY_CSV);
        decode(text.as_bytes(), &mapping, &Reading::default(), &zone())
            .expect_err("refused")
            .to_string()
    };
    let unknown = error(";;M;", ";;Q;");
    assert!(
        unknown.starts_with("[2].Sex: the code is in no table"),
        "{unknown}"
    );
    assert!(!unknown.contains('Q'), "{unknown}");
    let missing = error("A2;x2", ";x2");
    assert!(missing.starts_with("[2].Nr: identifiers is missing"), "{missing}");
}

const RESULTS: &str = r##"
[about]
control_id = "/report/@id"

[[change]]
key  = "patient"
kind = "Patient"
[change.say]
"identifiers" = { from = "/report/patient/@cnp", system = "urn:cnp", required = true }

[[change]]
key  = "result"
kind = "Result"
[change.say]
"identifiers" = { from = "/report/@id", system = "LAB" }
"patient"     = { ref = "patient" }
"status"      = { value = "final" }
"issued"      = "/report/issued"

[[change]]
key    = "value"
kind   = "Observation"
each   = "/report/value"
within = "result"
by     = "@code"
[change.say]
"patient"  = { ref = "patient" }
"part_of"  = { ref = "result" }
"status"   = { value = "final" }
"code"     = { from = "@code", system = "LAB", required = true }
"value.quantity.value" = "amount"
"value.quantity.unit"  = "amount/@unit"
"##;

const RESULTS_XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<report id=\"r1\"><patient cnp=\"x1\"/><issued>2026-11-26T10:00:00+02:00</issued><value code=\"K\"><amount unit=\"mmol/L\">5.40</amount></value><value code=\"Na\"><amount unit=\"mmol/L\">140</amount></value></report>\n";

#[test]
fn an_xml_result_is_read_and_written() {
    let text = RESULTS.replace("\"part_of\"  = { ref = \"result\" }\n", "");
    let mapping = mapping(&text, Wire::Xml);
    let json = json_of(&decoded(RESULTS_XML, &mapping));
    assert_eq!(json["changes"][2]["key"], "value-1");
    assert_eq!(
        json["changes"][2]["find"]["natural"],
        json!({ "owner": { "local": "result" }, "key": "K" })
    );
    assert_eq!(
        json["changes"][2]["say"]["Observation"]["value"],
        json!({ "quantity": { "value": "5.40", "unit": "mmol/L" } })
    );
    assert_eq!(json.get("extra"), None);
    assert_eq!(again(RESULTS_XML, &mapping), RESULTS_XML);
}

#[track_caller]
fn wrong(text: &str, wire: Wire, expected: &[&str]) {
    let problems = read(text, wire, true, &mut table).expect_err("problems");
    let told: Vec<String> = problems
        .iter()
        .map(|problem| {
            let (line, column) = crate::tree::line_and_column(text, problem.at);
            format!("{line}:{column} {}", problem.what)
        })
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn all_mistakes_of_a_mapping_are_told_with_their_places() {
    let text = r##"eech = "orders"
[[change]]
key  = "patient"
kind = "Pacient"
[[change]]
key  = "order"
kind = "Order"
replace = ["identifers"]
[change.say]
"identifier.value" = "number"
"patient" = { ref = "patent" }
"status" = { value = "activ" }
"authored" = { from = "when", date = "dd.mm" }
"code" = { from = "a..b", codec = "lis.csv" }
"quantity" = "amount"
"encounter" = "visit"
"priority" = { from = "p", codes = { U = "urgnt" } }
identifiers.value = 5
"##;
    wrong(
        text,
        Wire::Json,
        &[
            "1:1 \"eech\" is not known here; did you mean \"each\"?",
            "2:1 a change says something, under [change.say]",
            "4:8 \"Pacient\" is no aggregate; did you mean \"Patient\"?",
            "8:12 no list of this change",
            "10:1 identifier.value: \"identifier\" is not in the model; did you mean \"identifiers\"?",
            "11:21 no change has the key \"patent\"; did you mean \"patient\"?",
            "12:22 none of the codes of the model (translate it with `codes`): draft, active, on-hold, revoked, completed, entered-in-error, unknown",
            "13:38 \"dd.mm\" is no date format; write one such as \"%d.%m.%Y\" or \"%d.%m.%Y %H:%M\"",
            "14:19 a name is missing between two dots or at the end",
            "14:27 \"codec\" is not known here; did you mean \"codes\"?",
            "15:1 quantity: several values stand here; name one: code, comparator, system, unit, value",
            "16:15 this points at another change; write { ref = \"patient\" }",
            "17:42 none of the codes of the model (translate it with `codes`): routine, urgent, asap, stat",
            "18:21 value is a text in quotes",
        ],
    );
}

#[test]
fn a_mapping_that_is_no_toml_says_where() {
    wrong(
        "each = \n",
        Wire::Json,
        &["1:8 this is no TOML: string values must be quoted, expected literal string"],
    );
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_a_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), text in "[\\[\\]a-z=\"{}.\n]{0,80}") {
        let _ = read(&text, Wire::Json, true, &mut table);
        for (text, wire) in [(DAY, Wire::Csv), (ORDER, Wire::Json), (RESULTS, Wire::Xml)] {
            let _ = decode(&bytes, &mapping(text, wire), &Reading::default(), &zone());
        }
    }
}
