//! Orders and results: what a message must say in the change set.

use clinic::Kind;
use clinic::exchange::Reason;
use serde_json::Value;

use super::said::{MSH, PID, Said, day, heard, list, of_kind, read, sample, tries};
use super::{Profile, decode};

/// One OBX of this type and value in a small report.
fn measured(kind: &str, value: &str, unit: &str) -> Value {
    let message = format!(
        "{MSH}\n{PID}\nOBR|1|C-1^A|L-1^L|X^x^L|||20260512|||||||||||||||20260512||CH|F\nOBX|1|{kind}|V^v^L||{value}|{unit}|||||F\n"
    );
    let said = read(&message);
    said.one("Observation").clone()
}

#[test]
fn a_value_without_a_time_of_its_own_was_taken_when_its_report_says() {
    let of = |obr_7: &str, obx_14: &str| {
        let message = format!(
            "{MSH}\n{PID}\nOBR|1|A^P|L^F|57021-8^CBC^LN|||{obr_7}||||||||||||||||||F\nOBX|1|NM|718-7^Hb^LN||14.1|g/dL|||||F|||{obx_14}\n"
        );
        read(&message).one("Observation")["effective_at"].clone()
    };
    assert!(of("20260505", "").to_string().contains("2026-05-05"));
    assert!(of("20260505", "20260504").to_string().contains("2026-05-04"));
    assert_eq!(of("20260505", r#""""#), Value::Null, "it was deleted");
    assert_eq!(of("", ""), Value::Null);
}

#[test]
fn how_long_a_service_goes_on_makes_its_end_and_is_no_length_of_each_time() {
    let of = |tq: &str| {
        let message = format!("{MSH}\n{PID}\nORC|NW|A-1^A|||||{tq}\nOBR|1|A-1^A||X^x^L\n");
        let said = read(&message.replace("ORU^R01", "ORM^O01"));
        let timing = &said.one("Order")["occurrence_timing"];
        ["bounds", "bounds_duration", "duration"].map(|part| timing[part].to_string())
    };
    let end = |tq: &str| of(tq)[0].contains(r#""end":"2026-05-12""#);
    assert!(end("^QD^D7^20260505"), "{:?}", of("^QD^D7^20260505"));
    assert!(end("^QD^W1^20260505"));
    let [_, whole, each] = of("^QD^D7^20260505");
    assert_eq!((whole.as_str(), each.as_str()), ("null", "null"));
    let [_, whole, each] = of("^QD^D3^20260505^20260512");
    assert_eq!((whole.as_str(), each.as_str()), ("null", "null"));
    let [bounds, whole, each] = of("^QD^D7");
    assert_eq!((bounds.as_str(), each.as_str()), ("null", "null"));
    assert!(whole.contains("\"7\""), "{whole}");
}

#[test]
fn orders_and_reports_of_the_first_version_need_no_event() {
    let of = |kind: &str, body: &str| {
        let msh = MSH.replace("ORU^R01^ORU_R01", kind).replace("2.5.1", "2.1");
        let message = format!("{msh}\n{PID}\n{body}\n").replace('\n', "\r");
        decode(message.as_bytes(), &Profile::default()).map(|set| set.about.message_type)
    };
    let report = of("ORU", "OBR|1|A-1|L-1|X^x^L\nOBX|1|NM|V^v^L||1||||||F");
    assert_eq!(report.unwrap().as_deref(), Some("ORU^R01"));
    let order = of("ORM", "ORC|NW|A-1\nOBR|1|A-1||X^x^L");
    assert_eq!(order.unwrap().as_deref(), Some("ORM^O01"));
    assert_eq!(of("SIU", "SCH|1").unwrap_err().reason, Reason::RequiredMissing);
}

#[test]
fn amounts_keep_their_digits_and_odd_forms_their_original() {
    let quantity = |value: &str| {
        let observation = measured("NM", value, "mmol/L^mmol/L^UCUM");
        let amount = &observation["value"]["quantity"];
        let text = |field: &str| amount[field].as_str().unwrap_or_default().to_owned();
        format!(
            "{}{} {} | {}",
            text("comparator"),
            text("value"),
            text("code"),
            observation["value_original"]
        )
    };
    assert_eq!(quantity("5.40"), "5.40 mmol/L | null");
    assert_eq!(quantity("123456789012345678"), "123456789012345678 mmol/L | null");
    assert_eq!(quantity("1,5"), "1.5 mmol/L | \"1,5\"");
    assert_eq!(quantity("<5"), "<5 mmol/L | \"<5\"");
    let text = measured("NM", "neg", "mmol/L");
    assert_eq!(text["value"]["text"], "neg");
    let percent = measured("NM", "5 %", "");
    assert_eq!(percent["value"]["quantity"]["unit"], "%");
}

#[test]
fn structured_numbers_are_amounts_ranges_and_ratios() {
    assert_eq!(
        measured("SN", "<^0.30", "mg/L^mg/L^UCUM")["value"]["quantity"]["comparator"],
        "<"
    );
    let ratio = measured("SN", "^1^:^128", "");
    assert_eq!(ratio["value"]["ratio"]["denominator"]["value"], "128");
    let range = measured("SN", "^5^-^8", "mg");
    assert_eq!(range["value"]["range"]["high"]["value"], "8");
    assert_eq!(measured("SN", "^4^+", "")["value"]["text"], "4 +");
    assert_eq!(measured("SN", "<>^3", "mg")["value"]["text"], "<> 3 mg");
}

#[test]
fn every_value_type_is_read_as_what_it_is() {
    let concept = measured("CWE", "A^Unu^L^B^One^LN", "");
    assert_eq!(concept["value"]["concept"]["codings"][1]["code"], "B");
    assert_eq!(
        measured("IS", "POS", "")["value"]["concept"]["codings"][0]["code"],
        "POS"
    );
    assert_eq!(measured("DT", "202605", "")["value"]["when"], "2026-05");
    assert_eq!(
        measured("TS", "202605120915", "")["value"]["when"],
        "2026-05-12T09:15:00+03:00"
    );
    assert_eq!(measured("TM", "1430", "")["value"]["time"], "14:30:00");
    assert_eq!(
        measured("DR", "20260501^20260503", "")["value"]["period"]["end"],
        "2026-05-03"
    );
    assert_eq!(
        measured("NR", "2^7.5", "mL")["value"]["range"]["low"]["value"],
        "2"
    );
    assert_eq!(measured("VR", "10^20", "")["value"]["text"], "10-20");
    assert_eq!(
        measured("NA", "1.5^2.5^3.5", "mV")["value"]["sampled"],
        "1.5 2.5 3.5"
    );
    assert_eq!(measured("ST", "text", "")["value"]["text"], "text");
    assert_eq!(
        measured("XY", "ceva^altceva", "")["value"]["text"],
        "ceva altceva"
    );
    assert_eq!(measured("DT", "no day", "")["value"]["text"], "no day");
}

#[test]
fn repetitions_are_components_and_lines_are_one_text() {
    let many = measured("NM", "7~8", "mm^mm^UCUM");
    let components = list(&many["components"]);
    assert_eq!(components[1]["value"]["quantity"]["value"], "8");
    assert_eq!(components[1]["value"]["quantity"]["code"], "mm");
    assert_eq!(
        measured("TX", "one~two \\T\\ three", "")["value"]["text"],
        "one\ntwo & three"
    );
    assert_eq!(
        measured("FT", "one\\.br\\two \\F\\ three", "")["value"]["text"],
        "one\ntwo | three"
    );
}

#[test]
fn a_text_of_several_obx_is_one_observation() {
    let said = read(&format!(
        "{MSH}\n{PID}\nOBR|1|C-1^A|L-1^L|X^x^L\nOBX|1|TX|R^Raport^L||one||||||F\nOBX|2|TX|R^Raport^L||two||||||F\nOBX|3|TX|R^Raport^L||three||||||P\n"
    ));
    let all = said.all("Observation");
    assert_eq!(all.len(), 2);
    assert_eq!(all[0]["value"]["text"], "one\ntwo");
    assert_eq!(all[1]["value"]["text"], "three");
    let natural = |at: usize| {
        said.change(&format!("observation{}", if at == 0 { "" } else { "-2" }))["find"]["natural"]["key"]
            .clone()
    };
    assert_ne!(natural(0), natural(1), "the same code twice is two observations");
}

#[test]
fn a_rich_result_says_all_that_is_mapped() {
    let said = sample("oru-r01-rich");
    let result = said.one("Result");
    assert_eq!(result["status"], "final");
    assert_eq!(result["effective_period"]["end"], "2026-05-12T09:17:00+03:00");
    assert_eq!(result["issued"], "2026-05-12T12:15:00+03:00");
    assert_eq!(list(&result["categories"])[0]["codings"][0]["code"], "HM");
    assert_eq!(list(&result["observations"]).len(), 6);
    assert_eq!(list(&result["interpreters"]).len(), 1);
    assert_eq!(list(&result["performer_roles"]).len(), 3);
    assert_eq!(list(&result["security"])[0]["code"], "V");
    let order = said.at(&list(&result["orders"])[0]);
    let numbers: Vec<Value> = list(&order["identifiers"])
        .iter()
        .map(|id| id["value"].clone())
        .collect();
    assert_eq!(numbers, ["C-9001", "LN-4401"]);
    assert_eq!(order["status"], "completed");
    let haemoglobin = said.observation("718-7");
    assert_eq!(haemoglobin["value"]["quantity"]["value"], "10.80");
    assert_eq!(list(&haemoglobin["interpretations"]).len(), 2);
    assert_eq!(list(&haemoglobin["reference_ranges"])[0]["high"]["value"], "16");
    assert_eq!(list(&haemoglobin["devices"])[1]["value"], "AN-8");
    assert_eq!(list(&haemoglobin["responsible"]).len(), 2);
    assert_eq!(list(&haemoglobin["performers"]).len(), 3);
    assert_eq!(
        list(&haemoglobin["notes"])[0]["text"],
        "Repetat de două ori.\nAcelași rezultat."
    );
    assert_eq!(
        said.at(&haemoglobin["specimen"])["kind"]["codings"][0]["code"],
        "BLD"
    );
    let cancelled = said.observation("30522-7");
    assert_eq!(cancelled["status"], "cancelled");
    assert!(cancelled["value"].is_null());
    let specimen = said.one("Specimen");
    assert_eq!(specimen["accession"]["value"], "ACC-31");
    assert_eq!(specimen["status"], "available");
    assert!(specimen["collector"].is_object(), "OBR-10");
    assert_eq!(said.set.about.acts.len(), 1);
    assert!(
        said.lost("OBX[2]-9.1"),
        "probability has no place: {:?}",
        said.extra()
    );
}

#[test]
fn a_correction_is_about_the_same_observations() {
    let (first, second) = (sample("oru-r01-rich"), sample("oru-r01-correction"));
    let find = |said: &Said, code: &str| {
        let changes = said.json["changes"].as_array().cloned().unwrap_or_default();
        let found = changes
            .into_iter()
            .find(|c| c["say"]["Observation"]["code"]["codings"][0]["code"] == code);
        found.unwrap_or_default()["find"].clone()
    };
    assert_eq!(find(&first, "718-7"), find(&second, "718-7"), "by OBX-21");
    assert_eq!(
        find(&first, "2276-4")["natural"]["key"],
        find(&second, "2276-4")["natural"]["key"],
        "by code and sub-id"
    );
    assert_eq!(second.observation("718-7")["status"], "corrected");
    assert_eq!(second.observation("882-1")["status"], "entered-in-error");
    let key = |said: &Said| {
        let changes = said.json["changes"].as_array().cloned().unwrap_or_default();
        changes
            .into_iter()
            .find(|c| c["say"].get("Result").is_some())
            .unwrap_or_default()["find"]["natural"]["key"]
            .clone()
    };
    assert_eq!(key(&first), key(&second));
}

#[test]
fn micro_results_are_told_apart_by_sub_id_and_hang_together() {
    let said = sample("oru-r01-micro");
    assert_eq!(said.all("Observation").len(), 6);
    let keys: std::collections::BTreeSet<String> = said
        .set
        .changes
        .iter()
        .filter(|change| change.kind() == clinic::Kind::Observation)
        .filter_map(|change| {
            change
                .find
                .natural
                .as_ref()
                .map(|n| format!("{:?}{}", n.owner, n.key))
        })
        .collect();
    assert_eq!(keys.len(), 6);
    let susceptibility = said.observation("18906-8");
    let parent = said.at(&list(&susceptibility["part_of"])[0]);
    assert_eq!(parent["value"]["concept"]["codings"][0]["code"], "112283007");
    let orders = said.all("Order");
    assert_eq!(list(&orders[1]["parent_identifiers"])[1]["value"], "LN-4500");
}

#[test]
fn files_go_to_the_report_as_base64() {
    let said = sample("oru-r01-pdf");
    let documents = list(&said.one("Result")["documents"]);
    assert_eq!(documents.len(), 3);
    assert_eq!(documents[0]["content_type"], "application/pdf");
    assert!(
        documents[0]["data"]
            .as_str()
            .is_some_and(|data| data.starts_with("JVBERi0"))
    );
    assert_eq!(documents[1]["content_type"], "image/gif");
    assert!(
        documents[1]["data"]
            .as_str()
            .is_some_and(|data| data.starts_with("R0lGODlh"))
    );
    assert_eq!(documents[2]["url"], "https://pacs.example/viewer/1.2.3.77");
    assert!(
        said.observation("11502-2")["value"]["attachment"]
            .get("data")
            .is_none(),
        "the bytes once"
    );
}

#[test]
fn a_specimen_before_the_results_does_not_swallow_them() {
    let said = sample("oru-r01-two-patients");
    assert_eq!(said.all("Patient").len(), 2);
    let results = said.all("Result");
    assert_eq!(list(&results[1]["observations"]).len(), 1);
    assert_ne!(results[0]["patient"], results[1]["patient"]);
}

#[test]
fn two_reports_of_one_order_stay_two() {
    let said = read(&format!(
        "{MSH}\n{PID}\nORC|RE|C-1^A|L-1^L\nOBR|1|C-1^A|L-1^L|X^x^L||||||||||||||||||||CH|F\nOBX|1|NM|V^v^L||1||||||F\nOBR|2|C-1^A|L-1^L|Y^y^L||||||||||||||||||||CH|F\nOBX|1|NM|V^v^L||2||||||F\n"
    ));
    let changes: Vec<&clinic::Change> = said
        .set
        .changes
        .iter()
        .filter(|c| c.kind() == clinic::Kind::Result)
        .collect();
    assert_eq!(changes.len(), 2);
    assert_ne!(
        changes[0].find.natural.as_ref().map(|n| &n.key),
        changes[1].find.natural.as_ref().map(|n| &n.key)
    );
    let orders = super::said::of_kind(&super::said::told(&[said.set]), clinic::Kind::Order);
    assert_eq!(orders.len(), 1);
    assert_eq!(
        orders[0]["code"]["codings"][0]["code"], "X",
        "the order keeps its code"
    );
}

#[test]
fn a_rich_order_says_all_that_is_mapped() {
    let said = sample("oml-o21-rich");
    let orders = said.all("Order");
    let order = orders
        .iter()
        .find(|order| list(&order["identifiers"])[0]["value"] == "C-9001")
        .expect("the order");
    assert_eq!(order["status"], "active");
    assert_eq!(order["priority"], "asap");
    assert_eq!(order["group"]["value"], "G-55");
    assert_eq!(order["authored"], "2026-05-12T08:45:00+03:00");
    assert_eq!(order["quantity"]["value"], "1");
    let timing = &order["occurrence_timing"];
    assert_eq!(timing["times_of_day"][1], "20:00:00");
    assert_eq!(timing["count"], 10);
    assert_eq!(timing["period"]["value"], "12");
    assert_eq!(list(&order["reasons"]).len(), 2);
    assert_eq!(list(&order["reason_conditions"]).len(), 1);
    assert_eq!(list(&order["details"]).len(), 2);
    assert_eq!(list(&order["location_codes"])[0]["codings"][0]["code"], "OF");
    assert_eq!(
        list(&order["supporting_info"]).len(),
        4,
        "two answers, one of the specimen, one earlier result"
    );
    assert_eq!(list(&order["parent_identifiers"]).len(), 2);
    let requester = said.at(&order["requester"]);
    assert_eq!(list(&requester["addresses"]).len(), 1);
    let organisation = said.at(&order["requester_organization"]);
    assert_eq!(list(&organisation["telecoms"]).len(), 1);
    let specimen = said.at(&list(&order["specimens"])[0]);
    assert_eq!(list(&specimen["parents"]).len(), 1);
    assert_eq!(list(&specimen["conditions"])[0]["codings"][0]["code"], "ROOM");
    let earlier = said.observation("718-7");
    assert_eq!(earlier["value_original"], "10,9");
    let answer = said.observation("49541-6");
    assert_eq!(list(&answer["categories"])[0]["codings"][0]["code"], "QST");
    assert_eq!(
        orders.len(),
        3,
        "the order, the one of the earlier result, and the next"
    );
    let act = &said.json["about"]["acts"][0];
    assert_eq!(act["activity"]["codings"][0]["code"], "CREATE");
    assert_eq!(act["agents"].as_array().map(Vec::len), Some(4));
    assert!(act["on_behalf_of"].is_object());
}

#[test]
fn the_state_of_an_order_is_orc_5_else_orc_1() {
    let state = |control: &str, status: &str| {
        let said = read(&format!(
            "{}\n{PID}\nORC|{control}|C-1^A|||{status}\nOBR|1|C-1^A||X^x^L\n",
            MSH.replace("ORU^R01^ORU_R01", "ORM^O01^ORM_O01")
        ));
        let order = said.one("Order");
        order["status"].as_str().unwrap_or("-").to_owned()
    };
    assert_eq!(state("NW", ""), "active");
    assert_eq!(state("CA", ""), "revoked");
    assert_eq!(state("HD", ""), "on-hold");
    for replaced in ["RP", "RQ", "RU"] {
        assert_eq!(state(replaced, ""), "revoked", "{replaced}");
    }
    assert_eq!(state("RO", ""), "active", "what stands for it");
    assert_eq!(state("SC", "CM"), "completed");
    assert_eq!(state("NW", "HD"), "on-hold");
    assert_eq!(state("UC", ""), "-", "an answer to a request moves nothing");
    assert_eq!(state("UA", ""), "revoked", "the filler does not do it");
}

#[test]
fn a_request_says_nothing_of_an_end_that_came_meanwhile() {
    let stays = |control: &str, status: &str| {
        let said = read(&format!(
            "{}\n{PID}\nORC|{control}|C-1^A|||{status}\nOBR|1|C-1^A||X^x^L\n",
            MSH.replace("ORU^R01^ORU_R01", "ORM^O01^ORM_O01")
        ));
        let mut orders = said.set.changes.iter();
        let order = orders.find(|change| change.kind() == clinic::Kind::Order);
        let order = order.expect("an order");
        let states: Vec<&str> = order.order_stays_in.iter().map(|state| state.as_str()).collect();
        states.join(" ")
    };
    assert_eq!(stays("NW", ""), "completed");
    assert_eq!(stays("NW", "SC"), "completed");
    assert_eq!(stays("CA", ""), "completed");
    assert_eq!(stays("XO", ""), "completed revoked");
    assert_eq!(stays("XO", "SC"), "", "ORC-5 says a state");
    assert_eq!(stays("SC", "IP"), "");
    assert_eq!(stays("OC", ""), "", "the filler knows");
}

#[test]
fn a_requisition_has_a_test_for_each_code_under_its_number() {
    let header = |kind: &str| format!("{}\n{PID}\n", MSH.replace("ORU^R01^ORU_R01", kind));
    let test =
        |control: &str, code: &str| format!("ORC|{control}|R100^HIS\nOBR|1|R100^HIS||{code}^{code} x^L\n");
    let orders = |messages: &[String]| -> Vec<(String, String)> {
        let sets: Vec<clinic::ChangeSet> = messages.iter().map(|text| read(text).set).collect();
        let clinic = super::said::told(&sets);
        let all = super::said::of_kind(&clinic, clinic::Kind::Order).into_iter();
        let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        all.map(|order| (word(&order["code"]["codings"][0]["code"]), word(&order["status"])))
            .collect()
    };
    let is = |wanted: &[(&str, &str)], messages: &[String]| {
        let wanted: Vec<(String, String)> = wanted
            .iter()
            .map(|(code, status)| ((*code).to_owned(), (*status).to_owned()))
            .collect();
        assert_eq!(orders(messages), wanted, "{messages:?}");
    };
    let oml = header("OML^O21^OML_O21");
    let three = format!(
        "{oml}{}{}{}",
        test("NW", "GLU"),
        test("NW", "CREA"),
        test("NW", "UREA")
    );
    let active = [("GLU", "active"), ("CREA", "active"), ("UREA", "active")];
    is(&active, std::slice::from_ref(&three));
    is(&active, &[three.clone(), three.clone()]);
    // One ORC with several OBR; then single ones, each found by its number and test.
    let bare = format!("{oml}ORC|NW|R100^HIS\nOBR|1|R100^HIS||GLU^Glu^L\nOBR|2|R100^HIS||CREA^Crea^L\n");
    let rest = format!("{oml}{}", test("NW", "UREA"));
    let cancel = format!("{oml}{}", test("CA", "CREA"));
    is(
        &[("GLU", "active"), ("CREA", "revoked"), ("UREA", "active")],
        &[three.clone(), cancel.clone()],
    );
    let with_bare = orders(&[bare, rest, cancel]);
    assert_eq!(with_bare.len(), 3, "{with_bare:?}");
    // A change of the only order of a number may be one of what is ordered.
    is(
        &[("HBA1C", "active")],
        &[
            format!("{oml}{}", test("NW", "GLU")),
            format!("{oml}{}", test("XO", "HBA1C")),
        ],
    );
    // A report finds its test; of a test that nobody ordered it is one of the requisition, and the orders stay.
    let report = |code: &str| {
        format!(
            "{}OBR|1|R100^HIS|F1^LAB|{code}^{code}^L|||20260512||||||||||||||||||F\n",
            header("ORU^R01^ORU_R01")
        )
    };
    is(&active, &[three.clone(), report("UREA")]);
    is(&active, &[three, report("K")]);
    // Other codes are other tests, whatever the words are.
    let words = format!("{oml}ORC|NW|R100^HIS\nOBR|1|||G0^Glucose^L\nOBR|2|||G2^Glucose^L\n");
    is(&[("G0", "active"), ("G2", "active")], &[words.clone(), words]);
    // Twice the same is told among the losses.
    let twice = read(&format!("{oml}{}{}", test("NW", "GLU"), test("NW", "GLU")));
    assert!(twice.lost("OBR[2]-4.1"), "{:?}", twice.extra());
}

#[test]
fn a_test_that_nobody_ordered_shares_the_number_of_the_request() {
    // Each of them has a number of the laboratory by now.
    let reports = [
        ("L1", "GLU^Glucose^L", "CM"),
        ("L2", "CREA^Creatinine^L", "CM"),
        ("L3", "UREA^Urea^L", "CM"),
    ];
    let (clinic, _) = heard(&[read(&requisition()).set, read(&report_of(&reports)).set]);
    let sharing = |tests: &[(&str, &str, &str)]| {
        let applied = tries(&read(&report_of(tests)).set, &clinic, 1_000_000).expect("taken");
        let made = applied.writes.iter().map(|write| &write.record);
        let made = made.filter(|record| record.aggregate.kind() == Kind::Order && record.meta.version == 1);
        let made: Vec<_> = made.map(|record| record.meta.id).collect();
        (
            made.len(),
            made.iter().all(|id| applied.share_number.contains(id)),
        )
    };
    assert_eq!(sharing(&[("L9", "CRP^CRP^L", "CM")]), (1, true), "a reflex test");
    assert_eq!(sharing(&[("L1", "GLU^Glucose^L", "CM")]).0, 0);
}

/// A requisition of three tests, each with an ORC of its own.
fn requisition() -> String {
    let test = |code: &str, words: &str| {
        format!("ORC|NW|R100^HIS||G7^HIS|||||20260505\nOBR|1|R100^HIS||{code}^{words}^L\n")
    };
    let tests = [("GLU", "Glucose"), ("CREA", "Creatinine"), ("UREA", "Urea")];
    let all: String = tests.iter().map(|(code, words)| test(code, words)).collect();
    format!("{}{all}", order_message())
}

fn order_message() -> String {
    format!("{}\n{PID}\n", MSH.replace("ORU^R01^ORU_R01", "OML^O21^OML_O21"))
}

/// A report of several tests in one message: of each the filler's number, the test as OBR-4, ORC-5.
fn report_of(tests: &[(&str, &str, &str)]) -> String {
    let one = |(filler, test, state): &(&str, &str, &str)| {
        format!(
            "ORC|RE|R100^HIS|{filler}||{state}\nOBR|1|R100^HIS|{filler}|{test}|||20260512||||||||||||||||||F\n\
             OBX|1|NM|{test}||5||||||F\n"
        )
    };
    format!("{MSH}\n{PID}\n{}", tests.iter().map(one).collect::<String>())
}

/// A code, and the codes of the orders that it is of.
type OfOrders = (String, Vec<String>);

/// Of each result of these messages its code and the tests that it is of, and of each order its test and its state.
fn filed(messages: &[String]) -> (Vec<OfOrders>, Vec<(String, String)>) {
    use serde_json::Value;
    let sets: Vec<clinic::ChangeSet> = messages.iter().map(|text| read(text).set).collect();
    let clinic = super::said::told(&sets);
    let code = |of: &Value| {
        of["code"]["codings"][0]["code"]
            .as_str()
            .unwrap_or("-")
            .to_owned()
    };
    let named: std::collections::HashMap<String, String> = clinic
        .all(clinic::Kind::Order)
        .iter()
        .map(|record| {
            let json = serde_json::to_value(&record.aggregate).expect("JSON");
            (record.meta.id.to_string(), code(&json["Order"]))
        })
        .collect();
    let of_orders = |of: &Value| {
        let orders = of["orders"].as_array().cloned().unwrap_or_default();
        let ids = orders
            .iter()
            .map(|order| order["id"][1].as_str().unwrap_or_default());
        ids.map(|id| named.get(id).cloned().unwrap_or_default()).collect()
    };
    let results = super::said::of_kind(&clinic, clinic::Kind::Result);
    let observations = super::said::of_kind(&clinic, clinic::Kind::Observation);
    assert_eq!(results.len(), observations.len());
    for (result, observation) in results.iter().zip(&observations) {
        let (of_result, of_observation): (Vec<String>, Vec<String>) =
            (of_orders(result), of_orders(observation));
        assert_eq!(of_result, of_observation);
    }
    let results = results.iter().map(|one| (code(one), of_orders(one))).collect();
    let orders = super::said::of_kind(&clinic, clinic::Kind::Order);
    let state = |one: &Value| one["status"].as_str().unwrap_or("-").to_owned();
    (
        results,
        orders.iter().map(|one| (code(one), state(one))).collect(),
    )
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

#[test]
fn a_report_of_a_requisition_finds_each_of_its_orders() {
    let fillers: [[&str; 3]; 4] = [
        ["", "", ""],
        ["F^LAB", "F^LAB", "F^LAB"],
        ["F1^LAB", "F2^LAB", "F3^LAB"],
        ["R100", "R100", "R100"],
    ];
    let tests = ["GLU^Glucose^L", "CREA^Creatinine^L", "UREA^Urea^L"];
    let is = |filler: &[&str; 3], messages: &[String]| {
        let (results, orders) = filed(messages);
        let wanted: Vec<(String, Vec<String>)> = ["GLU", "CREA", "UREA"]
            .iter()
            .map(|code| ((*code).to_owned(), vec![(*code).to_owned()]))
            .collect();
        assert_eq!(results, wanted, "{filler:?}");
        let wanted = [("GLU", "completed"), ("CREA", "active"), ("UREA", "completed")];
        assert_eq!(orders, pairs(&wanted), "{filler:?}");
    };
    for filler in &fillers {
        let all: Vec<(&str, &str, &str)> = (0..3)
            .map(|n| (filler[n], tests[n], ["CM", "IP", "CM"][n]))
            .collect();
        is(filler, &[requisition(), report_of(&all)]);
        is(filler, &[requisition(), report_of(&all), report_of(&all)]);
        let single = all.iter().map(|one| report_of(&[*one]));
        let one_by_one: Vec<String> = std::iter::once(requisition()).chain(single).collect();
        is(filler, &one_by_one);
        is(filler, &[one_by_one, vec![report_of(&all)]].concat());
    }
}

#[test]
fn reports_that_come_before_their_orders_are_of_the_tests_of_these() {
    let tests = ["GLU^Glucose^L", "CREA^Creatinine^L", "UREA^Urea^L"];
    let wanted: Vec<OfOrders> = ["GLU", "CREA", "UREA"]
        .iter()
        .map(|code| ((*code).to_owned(), vec![(*code).to_owned()]))
        .collect();
    for filler in ["", "F^LAB"] {
        let all: Vec<(&str, &str, &str)> = tests.iter().map(|test| (filler, *test, "CM")).collect();
        let one_by_one: Vec<String> = all.iter().map(|one| report_of(&[*one])).collect();
        for reports in [vec![report_of(&all)], one_by_one] {
            let messages = [reports.clone(), vec![requisition()]].concat();
            assert_eq!(filed(&messages).0, wanted, "{filler:?}");
            // A correction finds each where it is now.
            assert_eq!(filed(&[messages, reports].concat()).0, wanted, "{filler:?}");
        }
    }
    // The tests of one order, reported as several, stay with it.
    let all: Vec<(&str, &str, &str)> = tests.iter().map(|test| ("", *test, "CM")).collect();
    let panel = format!(
        "{}ORC|NW|R100^HIS\nOBR|1|R100^HIS||GLU^Glucose^L\n",
        order_message()
    );
    let (results, orders) = filed(&[report_of(&all), panel]);
    assert_eq!(orders.len(), 1);
    assert!(results.iter().all(|(_, of)| of == &["GLU"]), "{results:?}");
}

#[test]
fn a_state_in_the_codes_of_the_laboratory_moves_no_order() {
    let active = pairs(&[("GLU", "active"), ("CREA", "active"), ("UREA", "active")]);
    let state = |tests: &[&str]| {
        let one = |test: &&str| format!("ORC|SC|R100^HIS|F^LAB||CM\nOBR|1|R100^HIS|F^LAB|{test}\n");
        format!("{}{}", order_message(), tests.iter().map(one).collect::<String>())
    };
    for tests in [&["2345-7^x^LN"] as &[&str], &["2345-7^x^LN", "2160-0^y^LN"]] {
        assert_eq!(filed(&[requisition(), state(tests)]).1, active, "{tests:?}");
    }
    let known = read(&state(&["2345-7^x^LN"])).set;
    let clinic = super::said::told(&[read(&requisition()).set]);
    let told = super::said::tries(&known, &clinic, 5_000).expect("taken");
    assert_eq!(told.kept.len(), 1, "and it is told: {:?}", told.kept);
    // By words and by code as ever; the only order of a number is meant, and stays what was ordered.
    let done = pairs(&[("GLU", "active"), ("CREA", "completed"), ("UREA", "active")]);
    for test in ["2160-0^Creatinine^LN", "CREA^x^L"] {
        assert_eq!(filed(&[requisition(), state(&[test])]).1, done, "{test}");
    }
    let single = format!(
        "{}ORC|NW|R100^HIS\nOBR|1|R100^HIS||GLU^Glucose^L\n",
        order_message()
    );
    assert_eq!(
        filed(&[single, state(&["2345-7^x^LN"])]).1,
        pairs(&[("GLU", "completed")])
    );
    // Of what nobody ordered, each is one.
    assert_eq!(
        filed(&[state(&["A^a^L", "B^b^L"])]).1,
        pairs(&[("A", "completed"), ("B", "completed")])
    );
}

#[test]
fn an_examination_that_is_ordered_twice_with_numbers_of_its_own_is_two() {
    use clinic::Kind;
    let head = |control: &str| {
        format!(
            "{}\n{PID}\nORC|{control}|R100^HIS\n",
            MSH.replace("ORU^R01^ORU_R01", "ORM^O01")
        )
    };
    let obr = |filler: &str, accession: &str, procedure: &str, step: &str| {
        let gap = "|".repeat(14);
        format!("OBR|1|R100^HIS|{filler}|MRK^Knee^L{gap}{accession}|{procedure}|{step}||||RAD\n")
    };
    let orders = |messages: &[String]| -> Vec<Value> {
        let sets: Vec<clinic::ChangeSet> = messages.iter().map(|text| read(text).set).collect();
        of_kind(&super::said::told(&sets), Kind::Order)
    };
    let steps = |order: &Value| order["imaging"]["steps"].as_array().map_or(0, Vec::len);
    for [left, right] in [
        [obr("F1^RIS", "", "", ""), obr("F2^RIS", "", "", "")],
        [obr("", "A1", "", ""), obr("", "A2", "", "")],
        [obr("F^RIS", "A1", "RP1", "S1"), obr("F^RIS", "A2", "RP2", "S2")],
        [obr("", "A1", "RP1", "S1"), obr("", "A1", "RP2", "S2")],
    ] {
        let ordered = format!("{}{left}{right}", head("NW"));
        let both = orders(&[ordered.clone(), ordered.clone()]);
        assert_eq!(both.len(), 2, "{ordered}");
        assert!(both.iter().all(|order| steps(order) == 1), "{ordered}");
        assert!(
            read(&ordered)
                .extra()
                .iter()
                .all(|place| !place.starts_with("OBR[2]-4"))
        );
        // Each is spoken of by its numbers, in any order, and one alone is called off.
        let off = format!("{}{right}", head("CA"));
        let turned = format!("{}{right}{left}", head("NW"));
        let states = |messages: &[String]| -> Vec<Value> {
            orders(messages)
                .iter()
                .map(|order| order["status"].clone())
                .collect()
        };
        assert_eq!(
            states(&[ordered.clone(), turned.clone(), off.clone()]),
            ["active", "revoked"],
            "{ordered}"
        );
        assert_eq!(states(&[turned, off]), ["revoked", "active"], "{ordered}");
        // One that comes alone, before the other.
        let apart = [
            format!("{}{left}", head("NW")),
            format!("{}{right}", head("NW")),
            ordered,
        ];
        assert_eq!(orders(&apart).len(), 2);
    }
    // Numbers that come later than the order are its own; another step is one of the same order.
    let bare = format!("{}{}", head("NW"), obr("", "", "", ""));
    let numbered = format!("{}{}", head("NW"), obr("", "A1", "RP1", "S1"));
    let late = orders(&[bare, numbered.clone()]);
    assert_eq!(late.len(), 1);
    assert_eq!(late[0]["imaging"]["accession"], "A1");
    let two_steps = orders(&[format!("{numbered}{}", obr("", "A1", "RP1", "S2"))]);
    assert_eq!((two_steps.len(), steps(&two_steps[0])), (1, 2));
}

#[test]
fn a_report_in_the_codes_of_the_laboratory_is_filed_and_moves_no_order() {
    let active = pairs(&[("GLU", "active"), ("CREA", "active"), ("UREA", "active")]);
    let whole = || vec!["GLU".to_owned(), "CREA".to_owned(), "UREA".to_owned()];
    for fillers in [["", ""], ["F^LAB", "F^LAB"], ["F1^LAB", "F2^LAB"]] {
        let strange = report_of(&[
            (fillers[0], "2345-7^x^LN", "CM"),
            (fillers[1], "2160-0^y^LN", "CM"),
        ]);
        for messages in [
            vec![requisition(), strange.clone()],
            vec![requisition(), strange.clone(), strange],
        ] {
            let (results, orders) = filed(&messages);
            let wanted = [("2345-7".to_owned(), whole()), ("2160-0".to_owned(), whole())];
            assert_eq!(results, wanted, "{fillers:?}");
            assert_eq!(orders, active, "{fillers:?}");
        }
    }
    // By the alternate code, by the words, by the code in another system or none; and what was ordered stays.
    for test in [
        "2160-0^z^LN^CREA^Crea^L",
        "2160-0^CREATININE^LN",
        "CREA^z^99LAB",
        "CREA",
    ] {
        let (results, orders) = filed(&[requisition(), report_of(&[("F^LAB", test, "CM")])]);
        assert_eq!(results[0].1, ["CREA"], "{test}");
        let wanted = [("GLU", "active"), ("CREA", "completed"), ("UREA", "active")];
        assert_eq!(orders, pairs(&wanted), "{test}");
    }
    // The only order of a number is meant whatever its code is.
    let single = format!(
        "{}ORC|NW|R100^HIS\nOBR|1|R100^HIS||GLU^Glucose^L\n",
        order_message()
    );
    let (results, orders) = filed(&[single, report_of(&[("F^LAB", "2345-7^x^LN", "CM")])]);
    assert_eq!(results, [("2345-7".to_owned(), vec!["GLU".to_owned()])]);
    assert_eq!(orders, pairs(&[("GLU", "completed")]));
    // By the number that the laboratory gave to each test.
    let start = |(n, code): (usize, &str)| {
        format!("ORC|SC|R100^HIS|F{n}^LAB||IP\nOBR|1|R100^HIS|F{n}^LAB|{code}^^L\n")
    };
    let started: String = ["GLU", "CREA", "UREA"]
        .into_iter()
        .enumerate()
        .map(start)
        .collect();
    let started = format!("{}{started}", order_message());
    let (results, _) = filed(&[
        requisition(),
        started,
        report_of(&[("F1^LAB", "2160-0^y^LN", "CM")]),
    ]);
    assert_eq!(results, [("2160-0".to_owned(), vec!["CREA".to_owned()])]);
}

#[test]
fn an_appointment_of_a_requisition_is_for_all_its_orders() {
    // SCH-11 is when, SCH-25 the state, SCH-26 the number.
    let gap = "|".repeat(14);
    let booked = format!(
        "{}\nSCH|T1^HIS||||||||||^^^20260601090000+0300^20260601093000+0300{gap}Booked|R100^HIS\n{PID}\nRGS|1\nAIL|1||A^1\n",
        MSH.replace("ORU^R01^ORU_R01", "SIU^S12^SIU_S12")
    );
    let sets: Vec<clinic::ChangeSet> = [requisition(), booked]
        .iter()
        .map(|text| read(text).set)
        .collect();
    let clinic = super::said::told(&sets);
    let all = super::said::of_kind(&clinic, clinic::Kind::Appointment);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0]["orders"].as_array().map(Vec::len), Some(3), "{}", all[0]);
    assert_eq!(super::said::of_kind(&clinic, clinic::Kind::Order).len(), 3);
}

#[test]
fn an_orc_speaks_for_each_obr_until_the_next() {
    let orc = "ORC|NW|R100^HIS|||HOLD||||20260505083000+0300|||D-40^Stan^Corina".replace("HOLD", "");
    let of = |tests: &str| format!("{}{orc}\n{tests}", order_message());
    let shapes = [
        "OBR|1|R100^HIS||GLU^Glucose^L\nOBR|2|R100^HIS||CREA^Creatinine^L\nOBR|3|R100^HIS||UREA^Urea^L\n",
        "OBR|1|||GLU^Glucose^L\nNTE|1||x\nOBR|2|||CREA^Creatinine^L\nOBR|3|||UREA^Urea^L\n",
        "OBR|1|R100^HIS|F1^LAB|GLU^Glucose^L\nOBR|2|R100^HIS|F2^LAB|CREA^Creatinine^L\nOBR|3||F3^LAB|UREA^Urea^L\n",
        "OBR|1|R101^HIS||GLU^Glucose^L\nOBR|2|R102^HIS||CREA^Creatinine^L\nOBR|3|R103^HIS||UREA^Urea^L\n",
    ];
    for tests in shapes {
        let set = read(&of(tests)).set;
        let all = super::said::of_kind(&super::said::told(&[set.clone(), set]), clinic::Kind::Order);
        assert_eq!(all.len(), 3, "{tests}");
        for (order, code) in all.iter().zip(["GLU", "CREA", "UREA"]) {
            assert_eq!(order["code"]["codings"][0]["code"], code, "{tests}");
            assert_eq!(order["status"], "active", "{tests}");
            assert_eq!(order["authored"], "2026-05-05T08:30:00+03:00", "{tests}");
            assert!(order["requester"].is_object(), "{tests}");
        }
    }
    let numbers = |tests: &str| -> Vec<String> {
        let said = read(&of(tests));
        let number = |order: &&serde_json::Value| {
            let values = list(&order["identifiers"]);
            let values = values
                .iter()
                .map(|id| id["value"].as_str().unwrap_or_default().to_owned());
            values.collect::<Vec<_>>().join(" ")
        };
        said.all("Order").iter().map(number).collect()
    };
    assert_eq!(numbers(shapes[2]), ["R100 F1", "R100 F2", "R100 F3"]);
    assert_eq!(numbers(shapes[3]), ["R101", "R102", "R103"]);
    // The next ORC ends it, and earlier results have none of the order's.
    let two = format!("{}ORC|HD|R200^HIS\nOBR|1|R200^HIS||K^K^L\n", of(shapes[0]));
    let held = ("K", "on-hold");
    let active = [("GLU", "active"), ("CREA", "active"), ("UREA", "active")];
    assert_eq!(filed(&[two]).1, pairs(&[active.as_slice(), &[held]].concat()));
    // One test is called off; all are; one that nobody ordered is not.
    let off = |rest: &str| format!("{}ORC|CA|R100^HIS\n{rest}", order_message());
    let one = filed(&[of(shapes[0]), off("OBR|1|R100^HIS||CREA^Creatinine^L\n")]).1;
    assert_eq!(
        one,
        pairs(&[("GLU", "active"), ("CREA", "revoked"), ("UREA", "active")])
    );
    let two = filed(&[of(shapes[0]), off("OBR|1|||CREA^x^L\nOBR|2|||UREA\n")]).1;
    assert_eq!(
        two,
        pairs(&[("GLU", "active"), ("CREA", "revoked"), ("UREA", "revoked")])
    );
    let revoked = [("GLU", "revoked"), ("CREA", "revoked"), ("UREA", "revoked")];
    assert_eq!(filed(&[of(shapes[0]), off("")]).1, pairs(&revoked));
    assert_eq!(
        filed(&[of(shapes[0]), off("OBR|1|R100^HIS\n")]).1,
        pairs(&revoked)
    );
    // A report with one ORC: its state is that of each test.
    let report = format!(
        "{MSH}\n{PID}\nORC|RE|R100^HIS|F^LAB||CM\nOBR|1|||GLU^^L\nOBX|1|NM|a^a^L||1||||||F\n\
         OBR|2|||CREA^^L\nOBX|1|NM|b^b^L||1||||||F\n"
    );
    let (results, orders) = filed(&[of(shapes[0]), report]);
    let wanted = [("GLU", "completed"), ("CREA", "completed"), ("UREA", "active")];
    assert_eq!(orders, pairs(&wanted));
    assert_eq!(results.len(), 2);
}

#[test]
fn a_test_of_a_requisition_that_nobody_ordered_can_not_be_called_off() {
    let sets: Vec<clinic::ChangeSet> = [
        requisition(),
        format!(
            "{}ORC|CA|R100^HIS\nOBR|1|R100^HIS||K^Potassium^L\n",
            order_message()
        ),
    ]
    .iter()
    .map(|text| read(text).set)
    .collect();
    let known = super::said::told(&sets[..1]);
    let refused = super::said::tries(&sets[1], &known, 100);
    assert!(
        matches!(refused, Err(clinic::apply::ApplyError::Parked { .. })),
        "{refused:?}"
    );
}

#[test]
fn orders_of_version_2_3_have_their_times_in_tq() {
    let said = sample("orm-o01-imaging-v23");
    let order = said.one("Order");
    assert_eq!(order["priority"], "stat");
    assert_eq!(
        order["occurrence_timing"]["bounds"]["start"],
        "2026-05-13T10:15:00+03:00"
    );
    assert_eq!(list(&order["clinical_info"])[0]["text"], "Alergie la iod?");
    assert_eq!(list(&order["notes"]).len(), 3, "TQ text, TQ condition, NTE");
    assert_eq!(list(&order["reasons"])[0]["text"], "Dispnee progresivă");
    assert_eq!(list(&order["callback"])[0]["value"], "0264555040");
}

#[test]
fn a_prescription_has_dose_timing_and_route() {
    let said = sample("orm-o01-medication");
    let order = said.one("MedicationOrder");
    assert_eq!(order["status"], "active");
    assert_eq!(order["intent"], "original-order");
    let dosage = &list(&order["dosages"])[0];
    assert_eq!(dosage["dose"]["low"]["value"], "250");
    assert_eq!(dosage["dose"]["high"]["code"], "mg");
    assert_eq!(dosage["timing"]["offset_minutes"], 30);
    assert_eq!(dosage["timing"]["events"][0], "PC");
    assert_eq!(
        dosage["route"]["codings"]
            .as_array()
            .map(|c| c.last().cloned().unwrap_or_default()["code"].clone()),
        Some("PO".into())
    );
    assert_eq!(dosage["method"]["codings"][0]["code"], "CH");
    assert_eq!(order["refills"], 1);
    assert_eq!(order["strength"]["denominator"]["value"], "5");
    assert_eq!(list(&order["requester_registrations"])[0]["value"], "P-4471");
    assert_eq!(list(&order["reason_conditions"]).len(), 1);
}

#[test]
fn what_can_not_be_is_refused_with_its_place() {
    let refused = |message: &str| {
        let message = message.replace('\n', "\r");
        let error = decode(message.as_bytes(), &Profile::default()).err()?;
        Some((error.reason, error.place.map(|place| place.0).unwrap_or_default()))
    };
    let orm = MSH.replace("ORU^R01^ORU_R01", "ORM^O01");
    let siu = MSH.replace("ORU^R01^ORU_R01", "SIU^S12");
    let missing = |place: &str| Some((Reason::RequiredMissing, place.to_owned()));
    assert_eq!(
        refused(&format!("{MSH}\nOBR|1||L-1|X\nOBX|1|NM|V||1||||||F\n")),
        missing("PID")
    );
    assert_eq!(refused(&format!("{MSH}\n")), missing("PID"));
    assert_eq!(refused(&format!("{orm}\n{PID}\n")), missing("ORC"));
    assert_eq!(refused(&format!("{orm}\nORC|NW|1\nOBR|1|1||X\n")), missing("PID"));
    assert_eq!(refused(&format!("{siu}\n{PID}\n")), missing("SCH"));
    assert_eq!(refused(&format!("{siu}\nSCH|1\n")), missing("PID"));
    assert_eq!(refused(&format!("{siu}\nSCH|\n{PID}\n")), missing("SCH-1"));
    let blocked = MSH.replace("ORU^R01^ORU_R01", "SIU^S23");
    assert_eq!(refused(&format!("{blocked}\nSCH|1\nRGS|1\n")), missing("AIL-3"));
    assert_eq!(
        refused(&format!("{blocked}\nSCH|1\nAIL|1||R\n")),
        missing("AIL-6")
    );
    let unknown = MSH.replace("ORU^R01^ORU_R01", "SIU^S99");
    assert_eq!(
        refused(&format!("{unknown}\nSCH|1\n")),
        Some((Reason::UnsupportedEvent, "MSH-9.2".to_owned()))
    );
    let no_order = format!("{MSH}\n{PID}\nOBR|1||L-1|X|||||||||||||||||||||Y\n");
    assert_eq!(
        refused(&no_order),
        Some((Reason::UnknownKey, "OBR-25".to_owned()))
    );
}

#[test]
fn an_order_its_result_and_the_correction_are_about_the_same_things() {
    let clinic = day(&[
        "oml-o21-rich",
        "oru-r01-rich",
        "oru-r01-pdf",
        "oru-r01-correction",
    ]);
    let orders = of_kind(&clinic, clinic::Kind::Order);
    let ours = orders
        .iter()
        .filter(|o| o["identifiers"].to_string().contains("C-9001"));
    assert_eq!(ours.count(), 1, "one order");
    let results = of_kind(&clinic, clinic::Kind::Result);
    let result: Vec<&Value> = results
        .iter()
        .filter(|r| r["identifiers"].to_string().contains("LN-4401"))
        .collect();
    assert_eq!(result.len(), 1, "one report");
    assert_eq!(result[0]["status"], "corrected");
    assert_eq!(result[0]["documents"].as_array().map(Vec::len), Some(3));
    let observations = of_kind(&clinic, clinic::Kind::Observation);
    let of = |code: &str, owner: &str| {
        let all = observations
            .iter()
            .filter(|o| o["code"]["codings"][0]["code"] == code);
        all.filter(|o| o["orders"].to_string().contains(owner))
            .cloned()
            .collect::<Vec<_>>()
    };
    let ferritin = of("2276-4", "");
    assert_eq!(ferritin.len(), 1);
    assert_eq!(ferritin[0]["value"]["quantity"]["value"], "9");
    assert_eq!(ferritin[0]["interpretations"][0]["codings"][0]["code"], "L");
    let haemoglobin = observations.iter().filter(|o| o["status"] == "corrected").count();
    assert_eq!(haemoglobin, 1);
    assert_eq!(
        of_kind(&clinic, clinic::Kind::Specimen).len(),
        2,
        "the specimen and its parent"
    );
    assert_eq!(of_kind(&clinic, clinic::Kind::Patient).len(), 1);
}

#[test]
fn who_takes_part_is_read_behind_the_person_and_parts_no_remark_from_its_result() {
    let said = read(&format!(
        "{MSH}\n{PID}\nPRT|1|AD||PP^Primary care provider^HL70912|D-8^Popa^Dan\nOBR|1|C-1^A|L-1^L|X^x^L|||20260512|||||||||||||||||||F\nOBX|1|NM|V^v^L||5|mmol/L|||||F\nPRT|2|AD||SB^Sent by^HL70912|D-9^Ilie^Ana\nNTE|1||about the result\n"
    ));
    let doctor = &said.one("Patient")["general_practitioners"]["merge"][0];
    assert_eq!(said.at(doctor)["identifiers"]["merge"][0]["value"], "D-8");
    assert_eq!(said.observation("V")["notes"][0]["text"], "about the result");
    assert!(said.lost("PRT[2]-5.1"));
}

#[test]
fn a_system_named_by_its_number_is_the_one_that_is_meant() {
    let concept = measured(
        "CWE",
        "260385009^Negative^2.16.840.1.113883.6.96^N^neg^1.2.3.4.5",
        "",
    );
    let codings = &concept["value"]["concept"]["codings"];
    assert_eq!(codings[0]["system"], "http://snomed.info/sct");
    assert_eq!(codings[1]["system"], "urn:oid:1.2.3.4.5");
}

#[test]
fn orders_without_a_number_are_as_many_as_were_sent() {
    let head = MSH.replace("ORU^R01^ORU_R01", "ORM^O01^ORM_O01");
    let order = "ORC|NW|||G-1^A\nOBR|1|||GLU^Glucose^L\n";
    let said = read(&format!("{head}\n{PID}\n{order}{order}"));
    assert_eq!(said.all("Order").len(), 2);
    let finds: Vec<&Value> = said.json["changes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|change| change["say"].get("Order").is_some())
        .map(|change| &change["find"])
        .collect();
    assert_ne!(finds[0], finds[1]);
}

#[test]
fn a_number_with_a_unit_is_an_amount_whatever_its_type() {
    let amount = measured("ST", "71.5", "kg");
    assert_eq!(amount["value"]["quantity"]["value"], "71.5");
    assert_eq!(amount["value"]["quantity"]["unit"], "kg");
    assert_eq!(measured("ST", "71.5", "")["value"]["text"], "71.5");
    assert_eq!(measured("ST", "urme", "mg/dL")["value"]["text"], "urme");
}

#[test]
fn one_number_for_several_results_keeps_them_apart() {
    let results = |first: &str, second: &str| {
        read(&format!(
            "{MSH}\n{PID}\nOBR|1|C-1^A|L-1^L|X^x^L|||20260512|||||||||||||||20260512||CH|F\nOBX|1|NM|{first}^a^L||5|mmol/L|||||F||||||||||DEV-1^ANALYSER\nOBX|2|NM|{second}^b^L||140|mmol/L|||||F||||||||||DEV-1^ANALYSER\n"
        ))
    };
    let said = results("GLU", "NA");
    let finds: Vec<Value> = said.json["changes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|change| change["say"].get("Observation").is_some())
        .map(|change| change["find"].clone())
        .collect();
    assert_eq!(finds.len(), 2);
    assert_ne!(finds[0], finds[1], "another code is another result");
    assert_eq!(
        said.observation("GLU")["identifiers"]["merge"][0]["value"],
        "DEV-1",
        "the number is kept"
    );
    let twice = results("GLU", "GLU");
    assert_eq!(twice.all("Observation").len(), 2);
}

#[test]
fn what_stands_behind_a_moment_of_a_pattern_stays() {
    let said = read(
        "MSH|^~\\&|A|B|C|D|20260512||OML^O21^OML_O21|1|P|2.5.1\nPID|1||1^^^C^MR||POP^ANA\nORC|NW|A-1\nTQ1|1||Q1D&daily&L^DW^1^3^2^d&day&UCUM^N^ICM&between meals&HL70528^30^min&minute\nOBR|1|A-1||GLU^Glucose^L\n",
    );
    let timing = &said.one("Order")["occurrence_timing"];
    assert_eq!(timing["events"], serde_json::json!(["ICM"]));
    assert_eq!(timing["period"]["code"], "d");
    assert_eq!(timing["offset_minutes"], 30);
    for place in ["TQ1-3.8.2", "TQ1-3.8.3", "TQ1-3.6.2", "TQ1-3.10.2", "TQ1-3.7"] {
        assert!(said.lost(place), "{place}: {:?}", said.extra());
    }
}

#[test]
fn empty_lines_of_a_text_stay() {
    let text = |obx: &[&str]| {
        let said = super::said::read(&format!(
            "{MSH}\n{PID}\nOBR|1||F-1^LIS|R^Report^L\n{}\n",
            obx.join("\n")
        ));
        said.one("Observation")["value"]["text"].clone()
    };
    assert_eq!(text(&["OBX|1|TX|R^Report^L||l1~~l3||||||F"]), "l1\n\nl3");
    let line = |said: &str| format!("OBX|1|TX|R^Report^L||{said}||||||F");
    let lines = |all: &[&str]| {
        let all: Vec<String> = all.iter().map(|said| line(said)).collect();
        text(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(lines(&["First", "", "Third", ""]), "First\n\nThird");
    assert_eq!(lines(&["", "Second"]), "Second");
    assert_eq!(lines(&["a~", "b"]), "a\n\nb");
}

#[test]
fn a_report_and_a_state_change_nothing_of_what_was_ordered() {
    use super::said::heard;
    let of = |kind: &str, rest: &str| {
        read(&format!(
            "{}\n{PID}\n{rest}\n",
            MSH.replace("ORU^R01^ORU_R01", kind)
        ))
        .set
    };
    let ordered = of(
        "OML^O21",
        "ORC|NW|O-1^HIS||G1^HIS|||||20260501080000|||D1^Cerut^Ana^^^^^^CLINIC\nTQ1|1||||||20260502080000||S\n\
         OBR|1|O-1^HIS||GLU^g^L|||||||G||x||||||||||||||||||R50^x^I10\nNTE|1||nota medicului",
    );
    let report = of(
        "ORU^R01",
        "ORC|RE|O-1^HIS|F-1^LIS|G9^LIS|CM|||||||D9^Altul^Ion^^^^^^CLINIC\n\
         OBR|1|O-1^HIS|F-1^LIS|GLU2^g2^L|R|20260503|20260503||||||||||||||||||F||^^^20260503^^R||||Z00^y^I10\nOBX|1|NM|K^k^L||4||||||F",
    );
    let state = |control: &str| {
        let rest = format!(
            "ORC|{control}|O-1^HIS|F-1^LIS|||||||||D8^Alt^Om^^^^^^CLINIC\nOBR|1|O-1^HIS|F-1^LIS|GLU^g^L|||||||||||||||||||||||^^^20260504^^R\nNTE|1||nota laboratorului"
        );
        of("ORM^O01", &rest)
    };
    let order = |sets: &[clinic::ChangeSet]| {
        let (clinic, kept) = heard(sets);
        let mut orders = of_kind(&clinic, clinic::Kind::Order);
        assert_eq!(orders.len(), 1);
        let mut order = orders.remove(0);
        let state = order["status"].as_str().unwrap_or_default().to_owned();
        for moves in [
            "status",
            "status_original",
            "status_changed",
            "identifiers",
            "specimens",
        ] {
            order.as_object_mut().expect("fields").remove(moves);
        }
        (order, state, kept)
    };
    let (before, ..) = order(std::slice::from_ref(&ordered));
    assert_eq!(before["intent"], "reflex-order");
    let (after, state_after, kept) = order(&[ordered.clone(), report.clone()]);
    assert_eq!((&after, state_after.as_str()), (&before, "completed"));
    let told = [
        "group",
        "occurrence_at",
        "occurrence_timing",
        "priority",
        "priority_original",
        "reasons",
        "requester",
    ];
    let sorted = |mut kept: Vec<String>| {
        kept.sort();
        kept
    };
    assert_eq!(sorted(kept), told);
    for (control, wanted) in [
        ("SC", "active"),
        ("OK", "active"),
        ("UA", "revoked"),
        ("OC", "revoked"),
        ("HR", "on-hold"),
    ] {
        let (after, now, kept) = order(&[ordered.clone(), state(control)]);
        assert_eq!((&after, now.as_str()), (&before, wanted), "{control}");
        assert_eq!(
            sorted(kept),
            [
                "notes",
                "occurrence_timing",
                "priority",
                "priority_original",
                "requester"
            ],
            "{control}"
        );
    }
    // The placer changes it, and of what nobody ordered a report says all.
    let (after, _, kept) = order(&[ordered, state("XO")]);
    assert!(after != before && kept.is_empty(), "{kept:?}");
    let (after, ..) = order(&[report]);
    assert_eq!(after["priority"], "routine");
    assert_eq!(after["group"]["value"], "G9");
}

#[test]
fn results_of_before_move_no_order() {
    let of = |kind: &str, rest: &str| {
        read(&format!(
            "{}\n{PID}\n{rest}\n",
            MSH.replace("ORU^R01^ORU_R01", kind)
        ))
        .set
    };
    let obr = "OBR|1|O-1^HIS|F-1^LIS|K^x^L|||20260501|||||||||||||||20260502080000|||F";
    let obx = "OBX|1|NM|K^k^L||4.1|mmol/L|||||F";
    let ordered = of("OML^O21", "ORC|NW|O-1^HIS\nOBR|1|O-1^HIS||K^x^L");
    let done = of("ORU^R01", &format!("ORC|RE|O-1^HIS|F-1^LIS||CM\n{obr}\n{obx}"));
    let again = |orc: &str| {
        let prior = format!("{orc}{obr}\n{obx}");
        of(
            "OML^O21",
            &format!("ORC|NW|O-2^HIS\nOBR|1|O-2^HIS||NA^n^L\n{prior}"),
        )
    };
    let states = |sets: &[clinic::ChangeSet]| -> Vec<String> {
        let orders = of_kind(&super::said::heard(sets).0, clinic::Kind::Order);
        orders
            .iter()
            .map(|order| order["status"].as_str().unwrap_or("-").to_owned())
            .collect()
    };
    for orc in ["ORC|PR|O-1^HIS|F-1^LIS\n", "ORC|PR|O-1^HIS|F-1^LIS||CM\n"] {
        assert_eq!(
            states(&[ordered.clone(), done.clone(), again(orc)]),
            ["completed", "active"]
        );
        assert_eq!(states(&[ordered.clone(), again(orc)]), ["active", "active"]);
    }
    let mut unknown = states(&[again("ORC|PR|O-1^HIS|F-1^LIS\n")]);
    unknown.sort();
    assert_eq!(
        unknown,
        ["active", "unknown"],
        "what nobody ordered here is no order of today"
    );
}

#[test]
fn who_takes_part_is_read_where_later_versions_have_no_field_for_it() {
    let prt = |role: &str, number: &str| format!("PRT||AD||{role}^x^HL70912|{number}^Fam^Doc\n");
    let text = format!(
        "{}\n{PID}\nPV1|1|I|||||||||||||||||V-1\n{}{}OBR|1|C-1^A|L-1^L|X^x^L|||20260512||||||||||||||||||F\n{}{}OBX|1|NM|V^v^L||5|mmol/L|||||F\n{}",
        MSH.replace("|2.5.1", "|2.8"),
        prt("AT", "D-1"),
        prt("AD", "D-2"),
        prt("OP", "D-3"),
        prt("PRI", "D-4"),
        prt("RO", "D-5"),
    );
    let said = read(&text);
    let number = |reference: &Value| said.at(reference)["identifiers"]["merge"][0]["value"].clone();
    let visit = said.one("Encounter");
    let roles: Vec<Value> = list(&visit["participants"])
        .iter()
        .map(|one| serde_json::json!([one["role"]["codings"][0]["code"], number(&one["person"])]))
        .collect();
    assert_eq!(
        roles,
        [
            serde_json::json!(["ATND", "D-1"]),
            serde_json::json!(["ADM", "D-2"])
        ]
    );
    assert_eq!(number(&said.one("Order")["requester"]), "D-3");
    assert_eq!(number(&list(&said.one("Result")["interpreters"])[0]), "D-4");
    assert_eq!(number(&list(&said.observation("V")["responsible"])[0]), "D-5");
    assert!(
        !said.extra().iter().any(|place| place.ends_with("-5.1")),
        "{:?}",
        said.extra()
    );
}
