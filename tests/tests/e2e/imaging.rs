//! Imaging in the clinic: an order by OMI, what a modality says of it, its study on the chart by FHIR.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use e2e::sink::Sink;
use serde_json::{Value, json};

use crate::python::{assert_valid_fhir, root};
use crate::scenes;

const STUDY: &str = "1.2.826.0.1.3680043.8.498.2001";

/// The channel that ships, with the address of this test's RIS.
fn imaging_status(ris: SocketAddr) -> Result<String> {
    let shipped = std::fs::read_to_string(root().join("channels/imaging-status.toml"))?;
    assert!(shipped.contains("127.0.0.1:2593"));
    Ok(shipped.replace("127.0.0.1:2593", &ris.to_string()))
}

struct Clinic {
    _home: Home,
    punte: Punte,
    key: String,
    ris: Sink,
}

impl Clinic {
    /// With the order of the OMI sample.
    async fn with_an_order() -> Result<Self> {
        let ris = Sink::hl7().await?;
        let channels = [
            ("clinic", scenes::chart_only()),
            ("imaging-status", imaging_status(ris.address)?),
        ];
        let channels: Vec<(&str, &str)> = channels
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        let home = Home::with(&channels)?;
        let punte = home.serve()?;
        let mut sender = Sender::connect(punte.listens("clinic")).await?;
        let answer = sender
            .ask(&std::fs::read(root().join("samples/hl7v2/omi-o23-ct.hl7"))?)
            .await?;
        // Enhanced mode: taken.
        let code = field(&answer, "MSA", 1);
        assert_eq!(code, "CA", "{}", String::from_utf8_lossy(&answer));
        let made = home.json(&["key", "add", "pacs", "--scope", "clinic:write", "--json"])?;
        let key = made["key"].as_str().context("a key")?.to_owned();
        Ok(Clinic {
            _home: home,
            punte,
            key,
            ris,
        })
    }

    async fn writes(&self, changes: Value) -> Result<(u16, Value)> {
        let answer = reqwest::Client::builder()
            .no_proxy()
            .build()?
            .post(format!("http://{}/clinic/changes", self.punte.http))
            .bearer_auth(&self.key)
            .header("content-type", "application/json")
            .body(json!({ "changes": changes }).to_string())
            .send()
            .await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_slice(&answer.bytes().await?)?))
    }

    async fn order(&self) -> Result<Value> {
        let found = self.punte.search("ServiceRequest?identifier=C-9200").await?;
        found.into_iter().next().context("the order")
    }

    /// What the modality says of both steps.
    async fn mpps(&self, status: &str) -> Result<()> {
        let performed = json!({ "uid": "1.2.9", "steps": ["SPS-1", "SPS-2"], "status": status, "modality": "CT",
            "station_ae": "CT1", "started": "2026-05-13T10:20:00+03:00" });
        let find = json!({ "identifiers": [{ "system": "urn:dicom:uid", "value": STUDY }] });
        let (code, answer) = self
            .writes(json!([{ "key": "o", "find": find, "say": { "Order": { "performed": { "merge": [performed] } } } }]))
            .await?;
        assert_eq!(code, 200, "{answer}");
        Ok(())
    }
}

/// A study with some objects, of the patient with this number.
fn study(number: &str, uid: &str, objects: usize) -> Value {
    let id = |value: String| json!({ "merge": [{ "system": "urn:dicom:uid", "value": value }] });
    let patient = json!({ "identifiers": [{ "system": "AURORA", "value": number }], "missing": "skip" });
    let series = json!({ "uid": format!("{uid}.1"), "number": 1, "modality": "CT", "description": "Axial",
        "body_site": { "codings": [{ "system": "http://snomed.info/sct", "code": "51185008" }] }, "laterality": "B" });
    let mut all = vec![
        json!({ "key": "patient", "find": patient, "say": { "Patient": {} } }),
        json!({ "key": "study", "say": { "ImagingStudy": { "identifiers": id(uid.to_owned()), "status": "available",
            "patient": { "local": "patient" }, "modalities": ["CT"], "started": "2026-05-13T10:20:00+03:00",
            "series": { "merge": [series] } } } }),
    ];
    for n in 1..=objects {
        all.push(json!({ "key": format!("i{n}"), "say": { "ImagingInstance": { "identifiers": id(format!("{uid}.1.{n}")),
            "study": { "local": "study" }, "series_uid": format!("{uid}.1"), "number": n, "rows": 512, "columns": 512,
            "sop_class": "1.2.840.10008.5.1.4.1.1.2", "transfer_syntax": "1.2.840.10008.1.2.1",
            "content": format!("{n:064x}") } } }));
    }
    Value::Array(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_modality_says_moves_the_order_and_is_told_to_the_ris() -> Result<()> {
    let clinic = Clinic::with_an_order().await?;
    clinic.mpps("in-progress").await?;
    clinic.mpps("completed").await?;
    eventually("the RIS was told twice", Duration::from_secs(30), async || {
        (clinic.ris.received().len() == 2).then_some(())
    })
    .await;
    let told: Vec<[String; 5]> = clinic
        .ris
        .texts()
        .iter()
        .map(|text| {
            let of = |segment, n| field(text.as_bytes(), segment, n);
            [
                of("MSH", 9),
                of("ORC", 1),
                of("ORC", 5),
                of("ORC", 2),
                of("OBR", 18),
            ]
        })
        .collect();
    let expected =
        |state: &str| ["ORM^O01^ORM_O01", "SC", state, "C-9200^AURORA", "ACC-2001"].map(str::to_owned);
    assert_eq!(told, [expected("IP"), expected("CM")]);
    let order = clinic.order().await?;
    assert_eq!(order["status"], "completed");
    let numbers = order["identifier"].to_string();
    assert!(
        numbers.contains("ACC-2001") && numbers.contains(&format!("urn:oid:{STUDY}")),
        "{numbers}"
    );
    assert!(
        order["extension"]
            .to_string()
            .contains("urn:punte:extension:performed-step")
    );
    assert_valid_fhir(&[order.to_string()])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_is_read_and_searched_and_hangs_on_its_order_and_report() -> Result<()> {
    let clinic = Clinic::with_an_order().await?;
    let (code, made) = clinic.writes(study("A-1042", STUDY, 3)).await?;
    assert_eq!(code, 201, "{made}");
    let id = made["ids"]["study"]["id"].as_str().context("an id")?.to_owned();
    let patient = clinic.punte.search("Patient?identifier=A-1042").await?;
    let patient = patient[0]["id"].as_str().context("an id")?;
    let order = clinic.order().await?;
    for (query, count) in [
        (format!("_id={id}"), 1),
        (format!("identifier=urn:dicom:uid%7Curn:oid:{STUDY}"), 1),
        (format!("identifier=urn:dicom:uid%7C{STUDY}"), 1),
        (format!("identifier=urn:oid:{STUDY}"), 1),
        (format!("identifier={STUDY}.1"), 0),
        (format!("patient={patient}"), 1),
        (format!("subject=Patient/{patient}"), 1),
        ("started=2026-05-13".to_owned(), 1),
        ("started=lt2026-05-13".to_owned(), 0),
        ("status=available".to_owned(), 1),
        ("status=registered".to_owned(), 0),
        ("modality=CT".to_owned(), 1),
        (
            "modality=http://dicom.nema.org/resources/ontology/DCM%7CCT".to_owned(),
            1,
        ),
        ("modality=MR".to_owned(), 0),
        ("modality=urn:other%7CCT".to_owned(), 0),
        ("_lastUpdated=ge2020-01-01".to_owned(), 1),
    ] {
        let found = clinic.punte.search(&format!("ImagingStudy?{query}")).await?;
        assert_eq!(found.len(), count, "{query}");
        assert!(
            found.iter().all(|study| study["numberOfInstances"] == 3),
            "{found:?}"
        );
    }
    let (status, whole) = clinic.punte.get(&format!("/fhir/ImagingStudy/{id}")).await?;
    assert_eq!(status, 200, "{whole}");
    assert_eq!(
        whole["basedOn"][0]["reference"],
        format!("ServiceRequest/{}", order["id"].as_str().unwrap_or("?"))
    );
    assert_eq!(whole["series"][0]["instance"].as_array().map(Vec::len), Some(3));
    assert_eq!(whole["series"][0]["instance"][2]["uid"], format!("{STUDY}.1.3"));
    let object = made["ids"]["i1"]["id"].as_str().context("an id")?;
    let (status, document) = clinic
        .punte
        .get(&format!("/fhir/DocumentReference/{object}"))
        .await?;
    assert_eq!(status, 200, "{document}");

    // A report of the order leads to the study.
    let order_id = made_of(&order)?;
    let report = json!([{ "key": "r", "say": { "Result": { "identifiers": { "merge": [{ "system": "RIS", "value": "R-1" }] },
        "status": "final", "code": { "text": "CT torace" }, "patient": { "id": ["Patient", patient] },
        "orders": [{ "id": ["Order", order_id] }] } } }]);
    let (code, answer) = clinic.writes(report).await?;
    assert_eq!(code, 201, "{answer}");
    let reports = clinic.punte.search("DiagnosticReport?identifier=R-1").await?;
    assert_eq!(
        reports[0]["imagingStudy"][0]["reference"],
        format!("ImagingStudy/{id}")
    );
    let (_, statement) = clinic.punte.get("/fhir/metadata").await?;
    let texts = [&whole, &document, &reports[0], &statement].map(Value::to_string);
    assert_valid_fhir(&texts)
}

fn made_of(resource: &Value) -> Result<&str> {
    resource["id"].as_str().context("an id")
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_another_patient_or_content_are_parked_with_the_reason() -> Result<()> {
    let clinic = Clinic::with_an_order().await?;
    let (code, answer) = clinic.writes(study("P-UNKNOWN", STUDY, 1)).await?;
    assert_eq!(code, 202, "{answer}");
    assert!(answer.to_string().contains("another patient"), "{answer}");
    assert!(clinic.punte.search("ImagingStudy?modality=CT").await?.is_empty());
    let (code, answer) = clinic.writes(study("A-1042", STUDY, 1)).await?;
    assert_eq!(code, 201, "{answer}");
    let mut other = study("A-1042", STUDY, 1);
    other[2]["say"]["ImagingInstance"]["content"] = "ff".into();
    let (code, answer) = clinic.writes(other).await?;
    assert_eq!(code, 202, "{answer}");
    assert!(answer.to_string().contains("other content"), "{answer}");
    Ok(())
}
