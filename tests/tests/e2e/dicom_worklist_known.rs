//! What a worklist tells of what is known: in the character set of each device, with what the chart says of the patient;
//! and one examination for several orders, or several for one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::dicom::{Modality, dcmtk};
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use serde_json::Value;
use tempfile::TempDir;

use crate::python;

const SOON: Duration = Duration::from_secs(60);

const RIS: &str = "id = \"ris\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = true\n";

fn channel(more: &str) -> String {
    format!(
        "id = \"ct\"\n{more}[source]\nquestions = \"clinic\"\n\
         dicom = {{ listen = \"127.0.0.1:0\", ae_title = \"CT\", services = [\"worklist\", \"mpps\", \"store\"] }}\n\
         [[step]]\ndecode = \"dicom\"\n[[step]]\napply = true\n"
    )
}

/// The head of an order of the person with this number.
fn about(control: &str, patient: &str, family: &str) -> Vec<String> {
    vec![
        format!(
            "MSH|^~\\&|RIS|TEST|PUNTE|TEST|20261126080000+0200||OMI^O23^OMI_O23|{control}|P|2.5.1||||||UNICODE UTF-8"
        ),
        format!("PID|1||{patient}^^^TEST^MR||{family}^Ana^^^^^L||19800512|F"),
    ]
}

/// An order with one step for the 27th.
fn order(number: &str) -> Vec<String> {
    vec![
        format!(
            "ORC|NW|C-{number}^TEST|F-{number}^RIS||SC||||20261126080000+0200||||||||||||Secția Ortopedie"
        ),
        "TQ1|1||||||20261127083000+0200|||R".to_owned(),
        format!("OBR|1|C-{number}^TEST|F-{number}^RIS|24627-2^CT torace^LN|||||||||Claustrofobie"),
        format!(
            "IPC|A-{number}^TEST|RP-{number}|1.2.826.0.1.3680043.10.3.{number}|S-{number}|CT^^DCM|CT-TN^Torace^99AUR||SALA-CT|"
        ),
    ]
}

async fn sends(punte: &Punte, segments: &[String]) -> Result<()> {
    let mut ris = Sender::connect(punte.listens("ris")).await?;
    let answer = ris.ask(format!("{}\r", segments.join("\r")).as_bytes()).await?;
    ensure!(
        field(&answer, "MSA", 1) == "AA",
        "{}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}

/// The bytes of the only answer that a device of this title gets from findscu.
fn find(port: u16, title: &str, keys: &[&str]) -> Result<Vec<u8>> {
    let folder = TempDir::new()?;
    let (port, path) = (port.to_string(), folder.path().to_string_lossy().into_owned());
    let mut args = vec!["-W", "-aet", title, "-aec", "CT", "-X", "-od", &path];
    keys.iter().for_each(|key| args.extend(["-k", key]));
    args.extend(["127.0.0.1", &port]);
    let output = dcmtk("findscu", &args)?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let files: Vec<_> = std::fs::read_dir(folder.path())?.collect::<std::io::Result<_>>()?;
    ensure!(files.len() == 1, "{title}: {} answers", files.len());
    Ok(std::fs::read(files[0].path())?)
}

/// What dcmdump says of an answer.
fn dumped(bytes: &[u8]) -> Result<String> {
    let folder = TempDir::new()?;
    let path = folder.path().join("answer.dcm");
    std::fs::write(&path, bytes)?;
    let output = dcmtk("dcmdump", &["+L", &path.to_string_lossy()])?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_device_is_told_in_what_it_can_show() -> Result<()> {
    let sets = "charset = \"iso-8859-2\"\n\
                charset_of = { OLD = \"us-ascii\", US1 = [\"iso-8859-1\"], MR1 = \"utf-8\", RX1 = [\"iso-8859-5\", \"utf-8\"] }\n";
    let home = Home::with(&[("ris", RIS), ("ct", &channel(sets))])?;
    let punte = home.serve()?;
    let mut message = about("1", "N-1", "Țîră");
    message.extend(order("1"));
    sends(&punte, &message).await?;
    let port = punte.listens("ct").port();
    for (title, name, set) in [
        ("CT1", &b"\xDE\xEEr\xE3^Ana"[..], Some(&b"ISO_IR 101"[..])),
        ("OLD", b"Tira^Ana", None),
        ("US1", b"T\xEEra^Ana", Some(b"ISO_IR 100")),
        ("MR1", "Țîră^Ana".as_bytes(), Some(b"ISO_IR 192")),
        // Cyrillic has none of these letters: the next one of its own.
        ("RX1", "Țîră^Ana".as_bytes(), Some(b"ISO_IR 192")),
    ] {
        let told = find(port, title, &["PatientName=tira*", "PatientID"])?;
        ensure!(has(&told, name), "{title}: {}", String::from_utf8_lossy(&told));
        match set {
            Some(set) => ensure!(has(&told, set), "{title}"),
            None => ensure!(!has(&told, b"ISO_IR"), "{title}"),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chart_tells_what_a_modality_has_to_know() -> Result<()> {
    let home = Home::with(&[("ris", RIS), ("ct", &channel(""))])?;
    let punte = home.serve()?;
    // A year ago she weighed more.
    let result = |control: &str, day: &str, weight: &str, height: &str| -> Vec<String> {
        vec![
            format!(
                "MSH|^~\\&|HIS|TEST|PUNTE|TEST|{day}080000+0200||ORU^R01^ORU_R01|{control}|P|2.5.1||||||UNICODE UTF-8"
            ),
            "PID|1||N-1^^^TEST^MR||Țîră^Ana^^^^^L||19800512|F".to_owned(),
            format!("OBR|1||R-{control}^HIS|VITAL^Semne vitale^L|||{day}080000+0200"),
            format!("OBX|1|NM|29463-7^Greutate^LN||{weight}|kg^^UCUM|||||F|||{day}080000+0200"),
            format!("OBX|2|NM|8302-2^Înălțime^LN||{height}|cm^^UCUM|||||F|||{day}080000+0200"),
        ]
    };
    sends(&punte, &result("V1", "20251101", "81", "168")).await?;
    sends(&punte, &result("V2", "20261120", "72.5", "168.5")).await?;
    sends(&punte, &result("V0", "20240101", "90", "170")).await?;
    let mut message = about("1", "N-1", "Țîră");
    message.push("PV1|1|I|ORTO^204^2^TEST||||||||||||B6||||V-1^^^TEST^VN".to_owned());
    message.push("AL1|1|DA|IOD^Substanță de contrast iodată^L|SV|Urticarie".to_owned());
    message.push("AL1|2|FA|NUCI^Nuci^L|MI|".to_owned());
    message.extend(order("1"));
    sends(&punte, &message).await?;
    let told = find(
        punte.listens("ct").port(),
        "CT1",
        &[
            "PatientID=N-1",
            "PatientWeight",
            "PatientSize",
            "PregnancyStatus",
            "MedicalAlerts",
            "Allergies",
            "CurrentPatientLocation",
            "RequestingService",
            "AdmissionID",
            "SpecialNeeds",
        ],
    )?;
    let told = dumped(&told)?;
    for (tag, value) in [
        ("0010,1030", "[72.5]"),
        ("0010,1020", "[1.685]"),
        ("0010,21c0", "US 3"),
        ("0010,2000", "Substanță de contrast iodată"),
        ("0010,2000", "Claustrofobie"),
        ("0010,2110", "Nuci"),
        ("0038,0300", "204"),
        ("0032,1033", "Secția Ortopedie"),
        ("0038,0010", "[V-1]"),
    ] {
        let line = told.lines().find(|line| line.contains(tag));
        ensure!(
            line.is_some_and(|line| line.contains(value)),
            "{tag} {value}:\n{told}"
        );
    }
    Ok(())
}

fn steps(told: &Value) -> Vec<&str> {
    let steps = told["steps"].as_array().into_iter().flatten();
    steps.filter_map(|step| step["step"].as_str()).collect()
}

/// The states of the orders by their step ids.
async fn states(punte: &Punte) -> Result<Vec<(String, String)>> {
    let (_, found) = punte.get("/fhir/ServiceRequest").await?;
    let mut all = vec![];
    for entry in found["entry"].as_array().context("orders")? {
        let order = &entry["resource"];
        let number = order["identifier"].as_array().into_iter().flatten();
        let placer = number
            .filter_map(|id| id["value"].as_str())
            .find(|value| value.starts_with("C-"));
        let status = order["status"].as_str().unwrap_or_default();
        all.push((placer.unwrap_or_default().to_owned(), status.to_owned()));
    }
    all.sort();
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_examination_is_for_several_orders_and_several_for_one() -> Result<()> {
    let home = Home::with(&[("ris", RIS), ("ct", &channel(""))])?;
    let punte = home.serve()?;
    for number in ["1", "2", "3"] {
        let mut message = about(number, "N-1", "Pop");
        message.extend(order(number));
        sends(&punte, &message).await?;
    }
    let scripts = python::root().join("tests/python");
    let mut ct = Modality::start(&scripts, punte.listens("ct").port(), "CT", "CT1")?;
    let listed = ct.does("worklist Date=20261127")?;
    assert_eq!(steps(&listed), ["S-1", "S-2", "S-3"]);
    // Two orders by one examination: both begin and both end.
    let begun = ct.does("begin 0,1")?;
    ensure!(begun["status"] == 0, "{begun}");
    let again = ct.does("again")?;
    ensure!(again["status"] == 0x0111, "{again}");
    let ended = ct.does("end COMPLETED")?;
    ensure!(ended["status"] == 0, "{ended}");
    assert_eq!(steps(&ct.does("worklist Date=20261127")?), ["S-3"]);
    let done = |all: &[(String, String)]| -> Vec<String> {
        let done = all.iter().filter(|(_, status)| status == "completed");
        done.map(|(number, _)| number.clone()).collect()
    };
    assert_eq!(done(&states(&punte).await?), ["C-1", "C-2"]);
    // One order by two examinations, one after the other (append case).
    ct.does("worklist Date=20261127")?;
    for expected in ["first", "appended"] {
        let begun = ct.does("begin 0")?;
        ensure!(begun["status"] == 0, "{expected}: {begun}");
        assert!(
            !done(&states(&punte).await?).contains(&"C-3".to_owned()),
            "{expected}"
        );
        let ended = ct.does("end COMPLETED")?;
        ensure!(ended["status"] == 0, "{expected}: {ended}");
        assert!(
            done(&states(&punte).await?).contains(&"C-3".to_owned()),
            "{expected}"
        );
    }
    // A group that was begun by mistake goes back as a whole.
    for number in ["4", "5"] {
        let mut message = about(number, "N-1", "Pop");
        message.extend(order(number));
        sends(&punte, &message).await?;
    }
    assert_eq!(steps(&ct.does("worklist Date=20261127")?), ["S-4", "S-5"]);
    ct.does("begin 0,1")?;
    let ended = ct.does("end DISCONTINUED 110514")?;
    ensure!(ended["status"] == 0, "{ended}");
    assert_eq!(steps(&ct.does("worklist Date=20261127")?), ["S-4", "S-5"]);
    let parked = punte.messages("&state=parked").await?;
    ensure!(parked.is_empty(), "{parked:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_examination_that_never_ends_is_told() -> Result<()> {
    let home = Home::with(&[("ris", RIS), ("ct", &channel(""))])?;
    let settings = "[alerts]\ncalm = \"1s\"\n[[alerts.rule]]\nmpps_silent = \"2s\"\n";
    std::fs::write(home.path().join("punte.toml"), settings)?;
    let punte = home.serve()?;
    let mut message = about("1", "N-1", "Pop");
    message.extend(order("1"));
    sends(&punte, &message).await?;
    let scripts = python::root().join("tests/python");
    let mut ct = Modality::start(&scripts, punte.listens("ct").port(), "CT", "CT1")?;
    ct.does("worklist Date=20261127")?;
    let begun = ct.does("begin 0")?;
    ensure!(begun["status"] == 0, "{begun}");
    let says =
        || -> Result<String> { Ok(String::from_utf8_lossy(&home.run(&["alerts"])?.stdout).into_owned()) };
    eventually("the alert is on", SOON, async || {
        says()
            .ok()?
            .contains("CT1: 1 examination was begun and has not been ended")
            .then_some(())
    })
    .await;
    // The program starts anew, and knows it still.
    ensure!(punte.stop()?.success());
    let punte = home.serve()?;
    let mut ct_again = Modality::start(&scripts, punte.listens("ct").port(), "CT", "CT1")?;
    ensure!(says()?.contains("CT1: 1 examination"), "{}", says()?);
    // Nobody but the modality ends it; an end from the write door or a RIS would do as well.
    let mut cancelled = about("2", "N-1", "Pop");
    cancelled.extend(order("1"));
    let cancelled: Vec<String> = cancelled
        .iter()
        .map(|line| line.replace("ORC|NW|", "ORC|DC|").replace("||SC||||", "||DC||||"))
        .collect();
    sends(&punte, &cancelled).await?;
    eventually("the alert is over", SOON, async || {
        says().ok()?.contains("No alert is on").then_some(())
    })
    .await;
    ct_again.does("worklist Date=20261127")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_says_where_its_objects_are() -> Result<()> {
    let home = Home::with(&[("ris", RIS), ("ct", &channel(""))])?;
    let punte = home.serve()?;
    let mut message = about("1", "N-1", "Pop");
    message.extend(order("1"));
    sends(&punte, &message).await?;
    let scripts = python::root().join("tests/python");
    let mut ct = Modality::start(&scripts, punte.listens("ct").port(), "CT", "CT1")?;
    ct.does("worklist Date=20261127")?;
    ct.does("begin 0")?;
    let stored = ct.does("images 2")?;
    ensure!(stored["statuses"] == serde_json::json!([0, 0]), "{stored}");
    let (_, found) = punte.get("/fhir/ImagingStudy").await?;
    let study = &found["entry"][0]["resource"];
    let endpoint = study["endpoint"][0]["reference"]
        .as_str()
        .context("an endpoint")?;
    let (status, endpoint) = punte.get(&format!("/fhir/{endpoint}")).await?;
    ensure!(
        status == 200 && endpoint["resourceType"] == "Endpoint",
        "{endpoint}"
    );
    assert_eq!(endpoint["connectionType"]["code"], "dicom-wado-rs");
    // The address leads to the objects of the study.
    let address = endpoint["address"].as_str().context("an address")?;
    let base = address
        .strip_prefix(&format!("http://{}", punte.http))
        .context("our own address")?;
    let uid = study["identifier"][0]["value"].as_str().unwrap_or_default();
    let uid = uid.trim_start_matches("urn:oid:");
    let (status, objects) = punte.get(&format!("{base}/studies/{uid}/instances")).await?;
    ensure!(status == 200, "{objects}");
    assert_eq!(objects.as_array().map(Vec::len), Some(2), "{objects}");
    let (status, _) = punte.get("/fhir/Endpoint/another").await?;
    assert_eq!(status, 404);
    Ok(())
}
