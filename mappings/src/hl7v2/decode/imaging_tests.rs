//! Imaging orders: what a worklist is told by OMI, by ORM and by appointments.

use serde_json::{Value, json};

use super::said::{Said, read, sample};

const MSH: &str =
    "MSH|^~\\&|RIS|NORD|PUNTE|NORD|20260512083000+0300||ORM^O01|1|P|2.3\nPID|1||A-1^^^NORD^MR||Vlad^Petru";

fn imaging(said: &Said) -> Value {
    said.one("Order")["imaging"].clone()
}

fn left(said: &Said) -> Vec<(String, String)> {
    // What every message of these tests leaves.
    let usual = ["MSH-12.1", "PID-1.1", "OBR-1.1"];
    let all = said
        .set
        .extra
        .iter()
        .filter(|extra| !usual.contains(&extra.place.0.as_str()));
    all.map(|extra| (extra.place.0.clone(), extra.note.clone().unwrap_or_default()))
        .collect()
}

#[test]
fn an_omi_has_all_that_a_worklist_asks_for() {
    let said = sample("omi-o23-ct");
    assert_eq!(
        imaging(&said),
        json!({
            "accession": "ACC-2001",
            "accession_issuer": "AURORA",
            "procedure_id": "RP-77",
            "study_uid": "1.2.826.0.1.3680043.8.498.2001",
            "transport": "WALK",
            "steps": [
                {
                    "id": "SPS-1", "modality": "CT", "station_aes": ["CT1", "CT2"], "station_name": "Somatom",
                    "location": "SALA-CT", "start": "2026-05-13T10:15:00+03:00", "duration_minutes": 30,
                    "description": "Torace nativ",
                    "protocols": [{ "codings": [{ "system": "99AUR", "code": "CT-TN", "display": "Torace nativ" }] }],
                    "performer": { "local": "practitioner-2" },
                },
                {
                    "id": "SPS-2", "modality": "CT", "station_aes": ["CT1"], "start": "2026-05-13T10:15:00+03:00",
                    "duration_minutes": 30, "description": "Torace cu contrast",
                    "performer": { "local": "practitioner-2" },
                },
            ],
        })
    );
    let places: Vec<String> = left(&said).into_iter().map(|(place, _)| place).collect();
    assert!(!places.iter().any(|place| place.starts_with("IPC")), "{places:?}");
}

#[test]
fn who_is_dangerous_and_what_is_done_reach_the_modality() {
    let said = read(&format!(
        "{MSH}\nORC|NW|P-1\nOBR|1|P-1||CT^Torace^L||||||||INF^MRSA^L||||||||||||CT||||||||||||||||||||P1^CT torace nativ^99X"
    ));
    let imaging = imaging(&said);
    assert_eq!(imaging["danger"]["codings"][0]["display"], "MRSA");
    assert_eq!(imaging["procedure"]["codings"][0]["code"], "P1");
    assert!(
        !said.lost("OBR-12.1") && !said.lost("OBR-44.1"),
        "{:?}",
        said.extra()
    );
}

#[test]
fn an_omg_says_the_same_as_an_orm() {
    let body = "ORC|NW|P-1|F-1||SC\nTQ1|1||||||20260513101500+0300|||R\nOBR|1|P-1|F-1|36643-5^Rx torace^LN^RX-T^Torace PA^99NORD||||||||||||||ACC-9|RP-9|SPS-9||||NMR\nZDS|1.2.3.4^100^Application^DICOM";
    let orm = read(&format!("{MSH}\n{body}"));
    let omg = MSH.replace("ORM^O01|1|P|2.3", "OMG^O19^OMG_O19|1|P|2.5.1");
    let omg = read(&format!("{omg}\n{body}"));
    let imaging = imaging(&omg);
    assert_eq!(imaging, self::imaging(&orm));
    assert_eq!(imaging["accession"], "ACC-9");
    assert_eq!(imaging["study_uid"], "1.2.3.4");
    assert_eq!(imaging["steps"][0]["modality"], "MR");
    assert_eq!(imaging["steps"][0]["start"], "2026-05-13T10:15:00+03:00");
    assert_eq!(left(&omg), left(&orm));
}

#[test]
fn an_orm_says_the_same_in_older_places() {
    let said = read(&format!(
        "{MSH}\nORC|SC|P-1|F-1||SC\nOBR|1|P-1|F-1|36643-5^Rx torace^LN^RX-T^Torace PA^99NORD||||||||||||||ACC-9|RP-9|SPS-9||||NMR||||||WALK||||||20260513101500\nZDS|1.2.3.4^100^Application^DICOM"
    ));
    let imaging = imaging(&said);
    assert_eq!(imaging["accession"], "ACC-9");
    assert_eq!(imaging["procedure_id"], "RP-9");
    assert_eq!(imaging["study_uid"], "1.2.3.4");
    let step = &imaging["steps"][0];
    assert_eq!((&step["id"], &step["modality"]), (&json!("SPS-9"), &json!("MR")));
    assert_eq!(step["start"], "2026-05-13T10:15:00+03:00");
    assert_eq!(step["protocols"][0]["codings"][0]["code"], "RX-T");
    assert_eq!(
        left(&said)
            .iter()
            .map(|(place, _)| place.as_str())
            .collect::<Vec<_>>(),
        ["ZDS-1.2"]
    );
}

#[test]
fn an_order_of_the_laboratory_has_no_imaging_part() {
    let said = read(&format!(
        "{MSH}\nORC|NW|P-1\nOBR|1|P-1||2823-3^K^LN||||||||||||||X-1||||||CH"
    ));
    assert!(said.one("Order")["imaging"].is_null());
    // A section that makes images has, whatever the modality.
    let said = read(&format!(
        "{MSH}\nORC|NW|P-1\nOBR|1|P-1||1^Ceva^L||||||||||||||||||||RAD"
    ));
    assert_eq!(imaging(&said), json!({ "steps": [{}] }));
}

#[test]
fn numbers_that_a_worklist_has_no_room_for_are_said() {
    let long = "12345678901234567";
    let said = read(&format!(
        "{MSH}\nORC|NW|P-1\nOBR|1|P-1||1^Ceva^L||||||||||||||{long}|{long}|{long}||||CT\nZDS|1.x.3"
    ));
    let order = said.one("Order");
    assert_eq!(order["imaging"], json!({ "steps": [{ "modality": "CT" }] }));
    assert!(
        order["identifiers"].to_string().contains(long),
        "the accession number is one of the order"
    );
    let places: Vec<String> = left(&said).into_iter().map(|(place, _)| place).collect();
    assert_eq!(places, ["OBR-19.1", "OBR-20.1", "ZDS-1.1"]);
    assert!(
        said.json["about"]["notes"]
            .to_string()
            .contains("longer than the 16 characters")
    );
    assert!(left(&said).iter().all(|(_, note)| !note.is_empty()));
}

#[test]
fn local_words_for_modalities_go_through_the_table_of_the_channel() {
    use super::{Profile, decode};
    use clinic::value::Coding;
    let message = format!(
        "{MSH}\nORC|NW|P-1\nOBR|1|P-1||1^Ceva^L||||||||||||||||||||ECO\nIPC|A1||||TOMO^^99NORD||||AE1"
    );
    let mut profile = Profile::default();
    let dcm = |code: &str| {
        vec![Coding::new(
            "http://dicom.nema.org/resources/ontology/DCM",
            code,
            None,
        )]
    };
    profile
        .codes
        .insert(("99NORD".to_owned(), "TOMO".to_owned()), dcm("CT"));
    let set = decode(message.replace('\n', "\r").as_bytes(), &profile).unwrap();
    let json = serde_json::to_value(&set).unwrap();
    assert!(
        json["changes"].to_string().contains(r#""modality":"CT""#),
        "{json:#}"
    );
    // Without a table the section alone makes it no imaging order.
    let message = format!("{MSH}\nORC|NW|P-1\nOBR|1|P-1||1^Ceva^L||||||||||||||||||||ECO");
    assert!(read(&message).one("Order")["imaging"].is_null());
    profile.codes.insert(
        (
            "http://terminology.hl7.org/CodeSystem/v2-0074".to_owned(),
            "ECO".to_owned(),
        ),
        dcm("US"),
    );
    let set = decode(message.replace('\n', "\r").as_bytes(), &profile).unwrap();
    assert!(
        serde_json::to_string(&set)
            .unwrap()
            .contains(r#""modality":"US""#)
    );
}

#[test]
fn a_second_ipc_that_says_otherwise_is_said() {
    let said = read(&format!(
        "{MSH}\nORC|NW|P-1\nOBR|1|P-1||1^Ceva^L\nIPC|A1|R1|1.2.3|S1|CT\nIPC|A2|R1|1.2.4|S2|CT"
    ));
    assert_eq!(imaging(&said)["accession"], "A1");
    let places: Vec<String> = left(&said).into_iter().map(|(place, _)| place).collect();
    assert_eq!(places, ["IPC[2]-1.1", "IPC[2]-3.1"]);
}

#[test]
fn an_appointment_of_a_modality_places_the_step_of_its_order() {
    let siu = MSH.replace("ORM^O01", "SIU^S12");
    let about = |number: &str| {
        read(&format!(
            "{siu}\nSCH|T-1^HIS|||||||||||||||||||||||||{number}\nRGS|1|A\nAIS|1|A|CT-T^Torace^99NORD|20260513101500+0300|||30|min\nAIG|1|A|CT1^Somatom|CT\nAIL|1|A|RAD^SALA1|D\nAIP|1|A|T-7^Manea^Ilie"
        ))
    };
    let said = about("P-1^HIS");
    let step = json!([{
        "modality": "CT", "station_name": "CT1", "location": "SALA1", "start": "2026-05-13T10:15:00+03:00",
        "duration_minutes": 30, "performer": { "local": "practitioner" },
    }]);
    assert_eq!(imaging(&said)["steps"], step);
    // The one that an appointment without the number has made is this one, where nobody else has placed it.
    let mut changes = said.set.changes.iter();
    let order = changes.find(|change| change.kind() == clinic::Kind::Order);
    let natural = order.and_then(|order| order.find.natural.as_ref());
    assert_eq!(natural.map(|natural| natural.key.as_str()), Some("imaging|T-1"));
    // Without the number of an order it is one itself, the same each time.
    let said = about("");
    let mut own = step;
    own[0]["description"] = json!("Torace");
    own[0]["protocols"] =
        json!([{ "codings": [{ "system": "99NORD", "code": "CT-T", "display": "Torace" }] }]);
    assert_eq!(imaging(&said)["steps"], own);
    let order = said.json["changes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|change| change["say"]["Order"].is_object());
    assert_eq!(order.unwrap()["find"]["natural"]["key"], "imaging|T-1");
    assert_eq!(
        said.one("Appointment")["orders"],
        json!({ "merge": [{ "local": "order" }] })
    );
    // An appointment of anything else places nothing.
    let said = read(&format!(
        "{siu}\nSCH|T-1^HIS\nRGS|1|A\nAIS|1|A|CONS^Consult^99NORD|20260513101500+0300|||30|min"
    ));
    assert!(said.all("Order").is_empty());
}

#[test]
fn the_sample_appointment_is_placed_on_the_worklist() {
    let said = sample("siu-s12-ct");
    let order = said.one("Order");
    assert_eq!(order["identifiers"]["merge"][0]["value"], "C-9300");
    let step = &order["imaging"]["steps"][0];
    assert_eq!(
        (&step["modality"], &step["location"]),
        (&json!("CT"), &json!("SALA-CT"))
    );
    assert_eq!(step["start"], "2026-05-20T09:15:00+03:00");
    assert_eq!(step["duration_minutes"], 30);
}

/// An order of a CT with an accession number and a study UID.
fn ordered(placer: &str, code: &str) -> String {
    format!(
        "{MSH}\nORC|NW|{placer}\nOBR|1|{placer}||{code}^Torace^L||||||||||||||ACC-1||||||CT\nZDS|1.2.3.4^^Application^DICOM"
    )
}

/// A report with these numbers of the placer and the filler, code, accession number and section; and what stands behind it.
fn reported(placer: &str, filler: &str, code: &str, accession: &str, section: &str, rest: &str) -> String {
    let obr =
        format!("OBR|1|{placer}|{filler}|{code}^Torace^L|||20260512|||||||||||{accession}||||||{section}|F");
    let text = "OBX|1|TX|IMP^Concluzii^L||Normal||||||F";
    format!("{}\n{obr}\n{text}\n{rest}", MSH.replace("ORM^O01", "ORU^R01"))
}

/// After these messages the placer's number of each order, and of each result those of the orders that it is of.
fn filed(messages: &[String]) -> (Vec<String>, Vec<Vec<String>>) {
    let sets: Vec<clinic::ChangeSet> = messages.iter().map(|text| read(text).set).collect();
    let clinic = super::said::told(&sets);
    let placer = |of: &Value| {
        let all = of["identifiers"].as_array().cloned().unwrap_or_default();
        let is_placer = |id: &&Value| id["kind"]["codings"][0]["code"] == "PLAC";
        all.iter().find(is_placer).map_or("-".to_owned(), |id| {
            id["value"].as_str().unwrap_or_default().to_owned()
        })
    };
    let orders: std::collections::BTreeMap<String, String> = clinic
        .all(clinic::Kind::Order)
        .iter()
        .map(|record| {
            let json = serde_json::to_value(&record.aggregate).expect("JSON");
            (record.meta.id.to_string(), placer(&json["Order"]))
        })
        .collect();
    let results = super::said::of_kind(&clinic, clinic::Kind::Result);
    let of = |result: &Value| {
        let all = result["orders"].as_array().cloned().unwrap_or_default();
        let ids = all
            .iter()
            .map(|order| order["id"][1].as_str().unwrap_or_default());
        ids.map(|id| orders.get(id).cloned().unwrap_or_default())
            .collect()
    };
    let of_results = results.iter().map(of).collect();
    (orders.into_values().collect(), of_results)
}

#[test]
fn a_report_finds_its_order_by_the_examination() {
    let order = ordered("P-1", "CT1");
    let uid = |kind: &str, value: &str| format!("OBX|2|{kind}|113014^DICOM Study^DCM||{value}||||||F");
    let theirs = (vec!["P-1".to_owned()], vec![vec!["P-1".to_owned()]]);
    for report in [
        reported("", "", "CT1", "ACC-1", "CT", ""),
        reported("", "", "CT9", "ACC-1", "RAD", ""),
        reported("", "F-9^RIS", "CT1", "ACC-1^RIS", "", ""),
        reported("", "F-9^RIS", "CT1", "", "", &uid("HD", "1.2.3.4")),
        reported("", "F-9", "CT1", "", "", &uid("HD", "^1.2.3.4^ISO")),
        reported("", "", "CT1", "", "", &uid("ST", "1.2.3.4")),
        reported("", "", "CT1", "", "", &uid("RP", "1.2.3.4^^Application^DICOM")),
        reported("", "", "CT1", "", "", "ZDS|1.2.3.4^^Application^DICOM"),
        reported(
            "",
            "",
            "CT1",
            "",
            "",
            &uid("ST", "1.2.3.4").replace("113014^DICOM Study", "110180^Study Instance UID"),
        ),
    ] {
        assert_eq!(filed(&[order.clone(), report.clone()]), theirs, "{report}");
        // A correction is of the same.
        assert_eq!(
            filed(&[order.clone(), report.clone(), report.clone()]),
            theirs,
            "{report}"
        );
    }
    // What is of something else, or of somebody else, stays so.
    for report in [
        reported("", "", "CT1", "ACC-2", "CT", ""),
        reported("", "", "GLU", "ACC-1", "CH", ""),
        reported("P-2", "", "CT1", "ACC-1", "CT", ""),
        reported("", "", "CT1", "ACC-1", "CT", "").replace("A-1^^^NORD", "A-2^^^NORD"),
        reported("", "", "CT1", "", "", &uid("ST", "1.2.3.5")),
    ] {
        let (orders, results) = filed(&[order.clone(), report.clone()]);
        assert_eq!(orders.len(), 2, "{report}");
        assert_ne!(results, [["P-1"]], "{report}");
    }
}

#[test]
fn a_report_of_several_orders_of_one_examination_is_of_that_of_its_test_or_of_all() {
    let both = [
        ordered("P-1", "CT1"),
        ordered("P-2", "CT2").replace("ZDS|1.2.3.4", "ZDS|1.2.3.9"),
    ];
    let filed_as = |code: &str| {
        let report = reported("", "", code, "ACC-1", "CT", "");
        let (mut orders, mut results) = filed(&[both[0].clone(), both[1].clone(), report]);
        orders.sort();
        results.iter_mut().for_each(|of| of.sort());
        assert_eq!(orders, ["P-1", "P-2"]);
        results
    };
    assert_eq!(filed_as("CT1"), [["P-1"]]);
    assert_eq!(filed_as("CT2"), [["P-2"]]);
    assert_eq!(filed_as("CT3").len(), 1);
    assert_eq!(filed_as("CT3"), [["P-1", "P-2"]]);
}

#[test]
fn what_nobody_ordered_is_an_examination_by_its_report() {
    let said = read(&reported(
        "",
        "F-9^RIS",
        "CT1",
        "ACC-1^RIS",
        "CT",
        "OBX|2|ST|113014^DICOM Study^DCM||1.2.3.4||||||F",
    ));
    let left = left(&said);
    assert!(
        !left.iter().any(|(place, _)| place.starts_with("OBR-18")),
        "{left:?}"
    );
    let numbers = said.one("Result")["identifiers"].to_string();
    assert!(numbers.contains("ACC-1") && numbers.contains("ACSN"), "{numbers}");
    let clinic = super::said::told(&[said.set]);
    let order = &super::said::of_kind(&clinic, clinic::Kind::Order)[0];
    assert_eq!(
        (&order["imaging"]["accession"], &order["imaging"]["study_uid"]),
        (&json!("ACC-1"), &json!("1.2.3.4"))
    );
    assert_eq!(order["imaging"]["steps"], Value::Null);
    // Of what is no report of images nothing is known by that field.
    let other = read(&reported("", "F-9^RIS", "GLU", "ACC-1", "", ""));
    assert!(
        other.one("Result")["identifiers"]
            .to_string()
            .find("ACC-1")
            .is_none()
    );
    assert_eq!(other.one("Order")["imaging"], Value::Null);
}

/// The steps on the chart after these messages, by their numbers.
fn steps_after(messages: &[String]) -> Vec<Value> {
    let sets: Vec<clinic::ChangeSet> = messages.iter().map(|text| read(text).set).collect();
    let orders = super::said::of_kind(&super::said::told(&sets), clinic::Kind::Order);
    let steps = orders
        .iter()
        .filter_map(|order| order["imaging"]["steps"].as_array().cloned());
    steps.flatten().collect()
}

#[test]
fn an_order_that_says_its_steps_anew_says_all_of_them() {
    let order = |control: &str, steps: &[&str]| {
        let ipc = steps
            .iter()
            .map(|step| format!("\nIPC|A1|R1|1.2.3|{step}|CT^^DCM||||CT1"));
        let msh = MSH.replace("ORM^O01|1|P|2.3", "OMI^O23^OMI_O23|1|P|2.5.1");
        let all: String = ipc.collect();
        format!("{msh}\nORC|{control}|P-1\nOBR|1|P-1||CT^Torace^L{all}")
    };
    let ids = |messages: &[String]| -> Vec<String> {
        let steps = steps_after(messages);
        let ids = steps.iter().filter_map(|step| step["id"].as_str());
        ids.map(str::to_owned).collect()
    };
    let first = order("NW", &["A", "B"]);
    assert_eq!(ids(&[first.clone(), order("XO", &["A"])]), ["A"]);
    assert_eq!(ids(&[first.clone(), order("XO", &["C"])]), ["C"]);
    assert_eq!(ids(&[first.clone(), order("NW", &["B"])]), ["B"]);
    assert_eq!(ids(&[first.clone(), order("XO", &["B", "C"])]), ["B", "C"]);
    // A state of it, and a change that names no steps, say nothing of them.
    assert_eq!(ids(&[first.clone(), order("SC", &["A"])]), ["A", "B"]);
    let head = order("XO", &["A"]).replace("|A|CT^^DCM||||CT1", "");
    assert_eq!(ids(&[first.clone(), head]), ["A", "B"]);
    assert_eq!(ids(&[first.clone(), order("XO", &[])]), ["A", "B"]);
    // One without a number says of several nothing; of the only one it is that.
    assert_eq!(ids(&[first, order("XO", &[""])]), ["A", "B"]);
    assert_eq!(ids(&[order("NW", &["A"]), order("XO", &[""])]), ["A"]);
}

#[test]
fn an_appointment_of_two_devices_is_a_step_at_each() {
    let siu = |event: &str, orders: &str, groups: &[&str]| {
        let head = MSH.replace("ORM^O01|1|P|2.3", &format!("SIU^{event}^SIU_S12|1|P|2.5.1"));
        let gap = "|".repeat(13);
        let sch = format!(
            "SCH|T-1^HIS||||||||30|min|^^^20260513101500+0300^20260513104500+0300{gap}|Booked|{orders}"
        );
        let groups = groups.join("\n");
        head.replace("\nPID", &format!("\n{sch}\nPID")) + "\n" + &groups
    };
    let ct = "RGS|1|A\nAIS|1|A|CT-T^Torace^99NORD|20260513101500+0300|||30|min\nAIG|1|A|CT1^Somatom|CT\nAIL|1|A|RAD^SALA1";
    let mr = "RGS|2|A\nAIS|2|A|MR-C^Cranio^99NORD|20260513111500+0300|||30|min\nAIG|1|A|MR1^Magnetom|MR\nAIL|1|A|RAD^SALA2";
    let shown = |messages: &[String]| -> Vec<[String; 5]> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let steps = steps_after(messages);
        let steps = steps.iter().map(|step| {
            let fields = ["modality", "station_name", "location", "start", "description"];
            fields.map(|field| text(&step[field]))
        });
        steps.collect()
    };
    let both = siu("S12", "", &[ct, mr]);
    let as_planned = [
        ["CT", "CT1", "SALA1", "2026-05-13T10:15:00+03:00", "Torace"],
        ["MR", "MR1", "SALA2", "2026-05-13T11:15:00+03:00", "Cranio"],
    ];
    assert_eq!(shown(std::slice::from_ref(&both)), as_planned);
    assert_eq!(shown(&[both.clone(), both.clone()]), as_planned);
    let order = read(&both).one("Order")["code"].clone();
    assert_eq!(order, json!({ "text": "Torace; Cranio" }));
    // What is booked no longer is done no longer.
    let left = shown(&[both, siu("S14", "", &[mr])]);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0], as_planned[1]);
    // The same where it names an order that nobody has placed, also where it is moved; one that was placed gets no other step.
    let named = siu("S12", "P-1^HIS", &[ct, mr]);
    assert_eq!(shown(std::slice::from_ref(&named)), as_planned);
    let moved = named
        .replace("SIU^S12", "SIU^S13")
        .replace("20260513", "20260514");
    let times: Vec<String> = shown(&[named.clone(), moved])
        .into_iter()
        .map(|step| step[3].clone())
        .collect();
    assert_eq!(times, ["2026-05-14T10:15:00+03:00", "2026-05-14T11:15:00+03:00"]);
    let placed = |steps: &[&str]| {
        let ipc = steps
            .iter()
            .map(|step| format!("\nIPC|A1|R1|1.2.3|{step}|CT^^DCM||||CT1"));
        let all: String = ipc.collect();
        format!(
            "{}\nORC|NW|P-1^HIS\nOBR|1|P-1^HIS||CT^Torace^L{all}",
            MSH.replace("ORM^O01|1|P|2.3", "OMI^O23^OMI_O23|1|P|2.5.1")
        )
    };
    let one = shown(&[placed(&["S"]), named.clone()]);
    assert_eq!(one.len(), 1);
    assert_eq!(one[0][1..], ["CT1", "SALA1", "2026-05-13T10:15:00+03:00", ""]);
    assert_eq!(shown(&[placed(&["A", "B"]), named]).len(), 2);
    // Of two orders each has its own.
    let each = read(&siu("S12", "P-1^HIS~P-2^HIS", &[ct, mr]));
    let steps: Vec<Value> = each
        .all("Order")
        .iter()
        .map(|order| order["imaging"]["steps"].clone())
        .collect();
    assert_eq!(
        steps
            .iter()
            .map(|steps| &steps[0]["modality"])
            .collect::<Vec<_>>(),
        [&json!("CT"), &json!("MR")]
    );
    assert_eq!(steps[1][0]["station_name"], "MR1");
}

/// A worklist would cut it, and another device may be called so.
#[test]
fn a_title_that_no_device_can_have_is_said() {
    let said = read(&format!(
        "{MSH}\nORC|NW|P-1\nOBR|1|P-1||CT^Torace^L\nIPC|A1|R1|1.2.3|S1|CT^^DCM||||AETITLELONGERTHAN16CHARS"
    ));
    assert_eq!(imaging(&said)["steps"][0]["station_aes"], Value::Null);
    assert!(
        left(&said)
            .iter()
            .any(|(place, note)| place.starts_with("IPC-9") && note.contains("16")),
        "{:?}",
        left(&said)
    );
}

/// What a RIS made of a date and a time: the modality makes its images under it, so that it is the study's.
#[test]
fn a_study_uid_with_a_zero_before_is_the_one_of_the_study() {
    let uid = "1.2.840.99999.20261128.093000.7";
    let said = read(&format!(
        "{MSH}\nORC|NW|P-1\nOBR|1|P-1||CT^Torace^L||||||||||||||||||||CT\nZDS|{uid}^RIS^Application^DICOM"
    ));
    assert_eq!(imaging(&said)["study_uid"], uid);
    let said = read(&format!(
        "{MSH}\nORC|NW|P-1\nOBR|1|P-1||CT^Torace^L||||||||||||||||||||CT\nZDS|1.2.x^RIS^Application^DICOM"
    ));
    assert_eq!(imaging(&said)["study_uid"], Value::Null);
}
