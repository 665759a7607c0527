//! Orders, results and appointments: what a message must say in the change set.

use clinic::change_set::ChangeSet;
use clinic::exchange::Reason;
use serde_json::Value;

use super::{Profile, decode};

/// A change set as JSON, with short ways to what is asked of it.
struct Said {
    set: ChangeSet,
    json: Value,
}

fn read(message: &str) -> Said {
    let set =
        decode(message.replace('\n', "\r").as_bytes(), &Profile::default()).expect("a message that is read");
    said(set)
}

fn sample(name: &str) -> Said {
    let path = format!("{}/../samples/hl7v2/{name}.hl7", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).expect("a sample");
    said(decode(&bytes, &Profile::default()).expect("a sample that is read"))
}

fn said(set: ChangeSet) -> Said {
    let json = serde_json::to_value(&set).expect("JSON");
    Said { set, json }
}

impl Said {
    /// The fields of all changes of a kind, in order.
    fn all(&self, kind: &str) -> Vec<&Value> {
        let changes = self.json["changes"].as_array().expect("changes");
        changes
            .iter()
            .filter_map(|change| change["say"].get(kind))
            .collect()
    }

    fn one(&self, kind: &str) -> &Value {
        let all = self.all(kind);
        assert_eq!(all.len(), 1, "one {kind}");
        all[0]
    }

    /// The observation whose code is this.
    fn observation(&self, code: &str) -> &Value {
        let all = self.all("Observation");
        let found = all.into_iter().find(|o| o["code"]["codings"][0]["code"] == code);
        found.unwrap_or_else(|| panic!("no observation {code}"))
    }

    /// The change with a key.
    fn change(&self, key: &str) -> &Value {
        let changes = self.json["changes"].as_array().expect("changes");
        changes
            .iter()
            .find(|change| change["key"] == key)
            .unwrap_or_else(|| panic!("no change {key}"))
    }

    /// What a reference leads to.
    fn at<'a>(&'a self, reference: &Value) -> &'a Value {
        let key = reference["local"].as_str().expect("a reference");
        self.change(key)["say"]
            .as_object()
            .and_then(|say| say.values().next())
            .expect("a body")
    }

    fn extra(&self) -> Vec<&str> {
        self.set
            .extra
            .iter()
            .map(|extra| extra.place.0.as_str())
            .collect()
    }

    fn lost(&self, place: &str) -> bool {
        self.extra().contains(&place)
    }
}

/// The entries of a list, merged or replaced.
fn list(items: &Value) -> Vec<Value> {
    let items = if items.get("merge").is_some() {
        &items["merge"]
    } else {
        items
    };
    items.as_array().cloned().unwrap_or_default()
}

const MSH: &str = "MSH|^~\\&|LIS|LABOR|PUNTE|AURORA|20260512083000+0300||ORU^R01^ORU_R01|1|P|2.5.1";
const PID: &str = "PID|1||A-1^^^AURORA^MR||Rusu^Adina";

/// One OBX of this type and value in a small report.
fn measured(kind: &str, value: &str, unit: &str) -> Value {
    let message = format!(
        "{MSH}\n{PID}\nOBR|1|C-1^A|L-1^L|X^x^L|||20260512|||||||||||||||20260512||CH|F\nOBX|1|{kind}|V^v^L||{value}|{unit}|||||F\n"
    );
    let said = read(&message);
    said.one("Observation").clone()
}

#[test]
fn every_sample_is_read_and_no_reference_leads_nowhere() {
    let folder = format!("{}/../samples/hl7v2", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the samples") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default()
            .to_owned();
        if !["siu-", "orm-", "oml-", "oru-"]
            .iter()
            .any(|kind| name.starts_with(kind))
        {
            continue;
        }
        count += 1;
        let said = sample(&name);
        let keys: Vec<&str> = said
            .set
            .changes
            .iter()
            .map(|change| change.key.as_str())
            .collect();
        for change in &said.set.changes {
            use clinic::Refs;
            change.say.refs(&mut |reference| {
                if let clinic::value::Ref::Local(key) = reference {
                    assert!(keys.contains(&key.as_str()), "{name}: {key} of {}", change.key);
                }
            });
        }
        let unique: std::collections::BTreeSet<&&str> = keys.iter().collect();
        assert_eq!(unique.len(), keys.len(), "{name}: each key once");
        if std::env::var("SHOW").is_ok_and(|show| name.contains(&show)) {
            println!(
                "{name}\n{}",
                serde_json::to_string_pretty(&said.json["changes"]).expect("JSON")
            );
            println!(
                "{}",
                serde_json::to_string_pretty(&said.json["about"]["acts"]).expect("JSON")
            );
            for extra in &said.set.extra {
                println!(
                    "{name} {} = {} {}",
                    extra.place,
                    extra.value,
                    extra.note.as_deref().unwrap_or_default()
                );
            }
        }
    }
    assert!(count >= 20, "{count} samples");
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
    let orders = said.all("Order");
    assert_eq!(orders[0]["code"]["codings"][0]["code"], "X");
    assert!(orders[1].get("code").is_none(), "the order keeps its code");
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
    assert_eq!(state("SC", "CM"), "completed");
    assert_eq!(state("NW", "HD"), "on-hold");
    assert_eq!(state("UC", ""), "-", "an answer to a request moves nothing");
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
fn a_rich_appointment_says_all_that_is_mapped() {
    let said = sample("siu-s12-rich");
    let appointment = said.one("Appointment");
    assert_eq!(appointment["status"], "booked");
    assert_eq!(appointment["start"], "2026-05-19T10:15:00+03:00");
    assert_eq!(appointment["end"], "2026-05-19T10:45:00+03:00");
    assert_eq!(appointment["duration_minutes"], 30);
    assert_eq!(appointment["kind"]["codings"][0]["code"], "Normal");
    assert_eq!(list(&appointment["reasons"])[0]["codings"][0]["code"], "CHECKUP");
    assert_eq!(
        list(&appointment["service_types"])[0]["codings"][0]["code"],
        "DERM-02"
    );
    let comments = list(&appointment["comments"]);
    assert_eq!(
        comments[0]["text"],
        "Aduce rezultatele din martie.\nPreferă cabinetul de la parter."
    );
    assert!(comments[0]["author"].is_object());
    assert_eq!(comments.len(), 2);
    let participants = appointment["participants"]
        .as_array()
        .expect("all of them")
        .clone();
    assert_eq!(participants.len(), 7, "device, room, two people, three contacts");
    let nurse = participants
        .iter()
        .find(|p| p["roles"][0]["codings"][0]["code"] == "ASST")
        .expect("the nurse");
    assert_eq!(nurse["status"], "tentative");
    assert_eq!(nurse["period"]["end"], "2026-05-19T10:35:00+03:00");
    let order = said.at(&list(&appointment["orders"])[0]);
    assert_eq!(list(&order["details"]).len(), 2);
    assert_eq!(order["occurrence_period"]["end"], "2026-05-19T10:45:00+03:00");
    assert_eq!(
        said.one("Encounter")["appointments"]["merge"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[test]
fn events_move_an_appointment() {
    let status = |name: &str| sample(name).one("Appointment")["status"].clone();
    assert_eq!(status("siu-s13-moved"), "booked");
    assert_eq!(status("siu-s15-cancelled"), "cancelled");
    assert_eq!(status("siu-s17-deleted"), "entered-in-error");
    assert_eq!(status("siu-s26-absent"), "noshow");
    let cancelled = sample("siu-s15-cancelled");
    let appointment = cancelled.one("Appointment");
    assert_eq!(appointment["cancellation_reason"]["codings"][0]["code"], "RACIT");
    assert!(
        appointment["participants"].get("merge").is_some(),
        "who is not named stays"
    );
    let absent = sample("siu-s26-absent");
    assert_eq!(
        absent.one("Appointment")["end"],
        "2026-05-11T09:30:00+03:00",
        "half an hour"
    );
}

#[test]
fn a_block_is_a_slot_of_the_resource() {
    let said = sample("siu-s23-blocked");
    let slot = said.one("Slot");
    assert_eq!(slot["status"], "busy-unavailable");
    assert_eq!(slot["end"], "2026-05-21T12:00:00+03:00");
    assert_eq!(list(&said.one("Schedule")["actors"]).len(), 1);
    let opened = sample("siu-s24-opened");
    assert_eq!(opened.one("Slot")["status"], "free");
    let key = |said: &Said| said.change("slot")["find"]["natural"]["key"].clone();
    assert_eq!(key(&said), key(&opened));
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

/// Each segment of each sample taken away, and each field cut: nothing panics, whatever comes of it.
#[test]
fn damaged_samples_never_panic() {
    let folder = format!("{}/../samples/hl7v2", env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(folder).expect("the samples") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a sample");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let segments: Vec<&str> = text.split('\r').filter(|segment| !segment.is_empty()).collect();
        for idx in 0..segments.len() {
            let without = segments
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != idx)
                .map(|(_, s)| *s);
            let _ = decode(
                without.collect::<Vec<_>>().join("\r").as_bytes(),
                &Profile::default(),
            );
            let reversed = segments.iter().take(1).chain(segments.iter().skip(1).rev());
            let _ = decode(
                reversed.copied().collect::<Vec<_>>().join("\r").as_bytes(),
                &Profile::default(),
            );
            let mut cut = segments.clone();
            let swapped = segments[idx].replace('^', "&").replace('~', "^");
            cut[idx] = &swapped;
            let _ = decode(cut.join("\r").as_bytes(), &Profile::default());
        }
    }
}

/// Every field of every sample blanked: the change set or what it could not place changes.
#[test]
fn no_field_is_dropped_in_silence() {
    // Fields that say what another one says too, blanked with their twin.
    const TWINS: &[(&str, usize, &str, usize)] = &[
        ("ORC", 2, "OBR", 2),
        ("ORC", 3, "OBR", 3),
        ("ORC", 8, "OBR", 29),
        ("ORC", 12, "OBR", 16),
        ("ORC", 14, "OBR", 17),
        ("ORC", 7, "OBR", 27),
        ("ORC", 33, "OBR", 53),
    ];
    let folder = format!("{}/../samples/hl7v2", env!("CARGO_MANIFEST_DIR"));
    let mut silent = vec![];
    for entry in std::fs::read_dir(folder).expect("the samples") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default()
            .to_owned();
        if !["siu-", "orm-", "oml-", "oru-"]
            .iter()
            .any(|kind| name.starts_with(kind))
        {
            continue;
        }
        let bytes = std::fs::read(&path).expect("a sample");
        let message = super::Message::read(&bytes).expect("a message");
        let text = message.text().to_owned().replace("8859/2", "UNICODE UTF-8");
        let outcome = |text: &str| {
            decode(text.as_bytes(), &Profile::default())
                .map(|set| serde_json::to_string(&set).expect("JSON"))
                .map_err(|e| e.to_string())
        };
        let whole = outcome(&text);
        let segments: Vec<Vec<&str>> = text
            .split('\r')
            .filter(|s| !s.is_empty())
            .map(|s| s.split('|').collect())
            .collect();
        for (at, fields) in segments.iter().enumerate() {
            let header = fields[0] == "MSH";
            for number in 1..fields.len() {
                if fields[number].is_empty() || header && number < 2 {
                    continue;
                }
                let mut changed = segments.clone();
                changed[at][number] = "";
                for (one, one_field, other, other_field) in TWINS {
                    let twin = if fields[0] == *one && number == *one_field {
                        Some((*other, *other_field))
                    } else if fields[0] == *other && number == *other_field {
                        Some((*one, *one_field))
                    } else {
                        None
                    };
                    let Some((segment, field)) = twin else { continue };
                    let near = [at.wrapping_sub(1), at + 1, at + 2, at.wrapping_sub(2)];
                    for near in near.into_iter().filter(|near| *near < segments.len()) {
                        if changed[near][0] == segment && changed[near].get(field) == Some(&fields[number]) {
                            changed[near][field] = "";
                        }
                    }
                }
                let blanked = changed
                    .iter()
                    .map(|fields| fields.join("|"))
                    .collect::<Vec<_>>()
                    .join("\r")
                    + "\r";
                if outcome(&blanked) == whole {
                    silent.push(format!(
                        "{name}: {}[{at}]-{}",
                        fields[0],
                        number + usize::from(header)
                    ));
                }
            }
        }
    }
    assert!(silent.is_empty(), "nothing changes without {silent:#?}");
}

/// The messages of a day, applied in their order to a clinic that knows nobody.
fn day(names: &[&str]) -> clinic::memory::MemoryClinic {
    let mut clinic = clinic::memory::MemoryClinic::new();
    let mut next = 0_u128;
    for name in names {
        let set = sample(name).set;
        let mut new_id = || {
            next += 1;
            uuid::Uuid::from_u128(next)
        };
        let context = clinic::apply::Context {
            source: clinic::aggregate::Source::Actor {
                name: (*name).to_owned(),
            },
            now: jiff::Timestamp::UNIX_EPOCH,
            site: None,
            on_unmatched: clinic::apply::OnUnmatched::Create,
            new_id: &mut new_id,
        };
        let applied = clinic::apply(&set, &clinic, context).expect("a set that is taken");
        assert!(applied.left_out.is_empty(), "{name}: {:?}", applied.left_out);
        clinic.commit(&applied).expect("nobody else writes");
    }
    clinic
}

fn of_kind(clinic: &clinic::memory::MemoryClinic, kind: clinic::Kind) -> Vec<Value> {
    let all = clinic.all(kind).into_iter();
    all.map(|record| serde_json::to_value(&record.aggregate).expect("JSON")[kind.as_str()].clone())
        .collect()
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
fn an_appointment_is_booked_moved_and_cancelled() {
    let clinic = day(&["siu-s12-rich", "siu-s13-moved", "siu-s15-cancelled"]);
    let appointments = of_kind(&clinic, clinic::Kind::Appointment);
    assert_eq!(appointments.len(), 1);
    assert_eq!(appointments[0]["status"], "cancelled");
    assert_eq!(appointments[0]["start"], "2026-05-20T16:00:00+03:00");
    let clinic = day(&["siu-s23-blocked", "siu-s24-opened"]);
    let slots = of_kind(&clinic, clinic::Kind::Slot);
    assert_eq!(slots.len(), 1);
    assert_eq!(slots[0]["status"], "free");
}

#[test]
fn every_sample_of_the_day_can_be_applied() {
    let clinic = day(&[
        "siu-s12-rich",
        "siu-s13-moved",
        "siu-s15-cancelled",
        "siu-s26-absent",
        "siu-s17-deleted",
        "oml-o21-rich",
        "orm-o01-imaging-v23",
        "orm-o01-cancel",
        "orm-o01-unable",
        "orm-o01-medication",
        "oru-r01-rich",
        "oru-r01-correction",
        "oru-r01-micro",
        "oru-r01-pdf",
        "oru-r01-text-report",
        "oru-r01-odd-values",
        "oru-r01-v23",
        "oru-r01-two-patients",
        "oru-r30-bedside",
    ]);
    let imaging = of_kind(&clinic, clinic::Kind::Order);
    let cancelled = imaging
        .iter()
        .find(|o| o["identifiers"].to_string().contains("C-9100"))
        .expect("the order");
    assert_eq!(cancelled["status"], "revoked", "UC moves nothing back");
}
