//! One imaging visit, whole: ordered by HL7, on the modality's worklist, begun and ended by MPPS, its images stored and
//! forwarded to a PACS, found there and here, and linked on the chart.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::dicom::{Modality, Orthanc, dcmtk, free_port};
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::Home;
use serde_json::Value;

use crate::python;

/// How long something may take that is to happen.
const SOON: Duration = Duration::from_secs(30);

/// The order of a CT for tomorrow, with a name that needs more than ASCII.
fn order(date: &str) -> String {
    [
        "MSH|^~\\&|HIS|CLINICA|PUNTE|CLINICA|20261126090000||OMI^O23^OMI_O23|OMI-1|P|2.5.1|||||ROU|UNICODE UTF-8",
        "PID|1||P-7001^^^CLINICA^MR||Știrbei^Ruxandra||19790312|F",
        "PV1|1|O|RAD^^^CLINICA||||^Medic^Ioana||||||||||||V-7001^^^CLINICA^VN",
        "ORC|NW|PL-7001^HIS|FL-7001^RIS||SC||||20261126090000|||^Medic^Ioana",
        &format!("TQ1|1||||||{date}103000||R"),
        "OBR|1|PL-7001^HIS|FL-7001^RIS|CTCHEST^CT torace^L|||||||||||||^Medic^Ioana||||||||CT||||||||||||||||||||CTCHEST^CT torace^L",
        "IPC|ACC7001|RP7001|1.2.826.0.1.3680043.10.1.7001|SPS7001|CT|CTCHEST^CT torace^L|CT sala 1|Sala 1|CT1",
        "",
    ]
    .join("\r")
}

fn channels(dicom: u16, pacs: u16) -> Vec<(&'static str, String)> {
    let listen = format!("listen = \"127.0.0.1:{dicom}\"\nae_title = \"PUNTE\"\n");
    vec![
        (
            "orders",
            "id = \"orders\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = true\n"
                .to_owned(),
        ),
        (
            "worklist",
            format!("id = \"worklist\"\n[source]\nquestions = \"clinic\"\n[source.dicom]\n{listen}services = [\"worklist\"]\n"),
        ),
        (
            "mpps",
            format!(
                "id = \"mpps\"\n[source.dicom]\n{listen}services = [\"mpps\"]\n[[step]]\ndecode = \"dicom\"\n[[step]]\napply = true\n"
            ),
        ),
        (
            "images",
            format!(
                "id = \"images\"\n[source.dicom]\n{listen}services = [\"store\"]\n[[step]]\ndecode = \"dicom\"\n[[step]]\napply = true\n[[destination]]\nname = \"pacs\"\n[destination.dicom]\nconnect = \"127.0.0.1:{pacs}\"\ncalled_ae = \"ORTHANC\"\ncalling_ae = \"PUNTE\"\n"
            ),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn one_visit_from_the_order_to_the_chart() -> Result<()> {
    let port = free_port()?;
    let orthanc = Orthanc::start(&[("PUNTE", port)]).await?;
    let files = channels(port, orthanc.dicom);
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let home = Home::with(&files)?;
    let punte = home.serve()?;
    let echo = dcmtk(
        "echoscu",
        &["-aet", "CT1", "-aec", "PUNTE", "127.0.0.1", &port.to_string()],
    )?;
    assert!(echo.status.success(), "{}", String::from_utf8_lossy(&echo.stderr));

    // Ordered.
    let mut his = Sender::connect(punte.listens("orders")).await?;
    let answer = his.ask(order("20261127").as_bytes()).await?;
    assert_eq!(
        field(&answer, "MSA", 1),
        "AA",
        "{}",
        String::from_utf8_lossy(&answer)
    );

    // On the worklist, in a charset that the name fits in.
    let mut ct = Modality::start(&python::root().join("tests/python"), port, "PUNTE", "CT1")?;
    let found = ct.does("worklist Modality=CT Station=CT1 Date=20261127")?;
    let step = &found["steps"][0];
    assert_eq!(found["steps"].as_array().map(Vec::len), Some(1), "{found}");
    assert_eq!(step["name"], "Știrbei^Ruxandra", "{found}");
    assert_eq!(step["id"], "P-7001");
    assert_eq!(step["accession"], "ACC7001");
    assert_eq!(step["step"], "SPS7001");
    assert_eq!(step["study"], "1.2.826.0.1.3680043.10.1.7001");
    assert_eq!(
        (&step["date"], &step["time"]),
        (&"20261127".into(), &"103000".into()),
        "{found}"
    );
    // Another day, another station, another modality: nothing.
    for nobody in ["Date=20261128", "Station=MR1", "Modality=MR", "PatientID=P-7002"] {
        let found = ct.does(&format!("worklist {nobody}"))?;
        assert_eq!(found["steps"], Value::Array(vec![]), "{nobody}");
    }
    for somebody in [
        "PatientName=STIRBEI*",
        "AccessionNumber=ACC7001",
        "Date=20261120-20261130",
        "PatientName=stirbei^rux*",
    ] {
        let found = ct.does(&format!("worklist {somebody}"))?;
        assert_eq!(found["steps"].as_array().map(Vec::len), Some(1), "{somebody}");
    }

    // Begun: the order moves, and a create that comes twice moves nothing.
    let order = async || -> Result<Value> {
        let found = punte.search("ServiceRequest?identifier=PL-7001").await?;
        found.first().cloned().context("the order")
    };
    assert_eq!(order().await?["status"], "active");
    assert_eq!(ct.does("begin 0")?["status"], 0);
    assert_eq!(ct.does("again")?["status"], 0x0111);
    // Whose station it is still sees it.
    let found = ct.does("worklist Station=CT1")?;
    assert_eq!(
        found["steps"].as_array().map(Vec::len),
        Some(1),
        "in progress, at its station: {found}"
    );

    // Made: stored here, and forwarded.
    let images = ct.does("images 5 64")?;
    assert_eq!(images["statuses"], serde_json::json!([0, 0, 0, 0, 0]));
    let mut instances: Vec<String> = images["instances"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|uid| uid.as_str().map(str::to_owned))
        .collect();
    instances.sort();
    assert_eq!(ct.does("end COMPLETED")?["status"], 0);
    assert_eq!(ct.does("end DISCONTINUED")?["status"], 0x0110, "it has ended");
    eventually("the order is completed", SOON, async || {
        (order().await.ok()?["status"] == "completed").then_some(())
    })
    .await;
    assert_eq!(
        ct.does("worklist Station=CT1")?["steps"],
        Value::Array(vec![]),
        "done"
    );
    eventually("all images are in the PACS", SOON, async || {
        (orthanc.instances().await.ok()? == instances).then_some(())
    })
    .await;

    // Found there by QIDO.
    let study = "1.2.826.0.1.3680043.10.1.7001";
    let there = orthanc.get("/dicom-web/studies?AccessionNumber=ACC7001").await?;
    assert_eq!(there[0]["0020000D"]["Value"][0], study, "{there}");

    // And on the chart.
    let patients = punte.search("Patient?identifier=P-7001").await?;
    let patient = patients.first().context("the patient")?["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let studies = punte.search(&format!("ImagingStudy?patient={patient}")).await?;
    assert_eq!(studies.len(), 1, "{studies:?}");
    let chart = &studies[0];
    let identifiers: Vec<&str> = chart["identifier"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|identifier| identifier["value"].as_str())
        .collect();
    assert!(
        identifiers.contains(&format!("urn:oid:{study}").as_str()),
        "{chart}"
    );
    assert_eq!(chart["numberOfInstances"], 5, "{chart}");
    let order = order().await?["id"].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        chart["basedOn"][0]["reference"],
        format!("ServiceRequest/{order}")
    );
    python::assert_valid_fhir(&[chart.to_string()])?;

    // The same image once more is no other image; one that differs under the same UID is kept aside for a person.
    let before = orthanc.instances().await?.len();
    assert_eq!(ct.does("twist")?["status"], 0);
    let parked = home.json(&["parked", "--json"])?;
    assert_eq!(parked["parked"].as_array().map(Vec::len), Some(1), "{parked}");
    // An image of this order that names somebody else, too.
    assert_eq!(ct.does("stranger")?["status"], 0);
    let parked = home.json(&["parked", "--json"])?;
    assert_eq!(parked["parked"].as_array().map(Vec::len), Some(2), "{parked}");
    assert_eq!(orthanc.instances().await?.len(), before);
    punte.stop()?;
    Ok(())
}
