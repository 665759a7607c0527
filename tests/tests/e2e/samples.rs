//! Every sample, sent by a Python client, read back over FHIR, and what was delivered: all valid.

use std::time::Duration;

use anyhow::Result;
use e2e::eventually;
use e2e::program::Home;
use e2e::sink::Sink;
use serde_json::Value;

use crate::python::{assert_valid_fhir, run, samples};
use crate::scenes;

/// The types that the FHIR interface searches.
const SEARCHED: [&str; 6] = [
    "Patient",
    "Appointment",
    "Encounter",
    "Observation",
    "DiagnosticReport",
    "ServiceRequest",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_is_acknowledged_and_valid() -> Result<()> {
    let (portal, ris) = (Sink::fhir().await?, Sink::hl7().await?);
    let home = Home::with(&[("clinic", &scenes::clinic(portal.address, ris.address))])?;
    let punte = home.serve()?;
    let address = punte.listens("clinic");
    let files: Vec<String> = samples().iter().map(|path| path.display().to_string()).collect();
    assert!(30 <= files.len(), "the samples are not there: {}", files.len());
    let mut args = vec![address.ip().to_string(), address.port().to_string()];
    args.extend(files.iter().cloned());
    let output = tokio::task::spawn_blocking(move || run("send_samples.py", &args, "")).await??;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answers: Value = serde_json::from_slice(&output.stdout)?;
    let mut routed = 0;
    for file in &files {
        let answer = &answers[file];
        assert!(
            matches!(answer["code"].as_str(), Some("AA" | "CA")),
            "{file} was answered {answer}"
        );
        routed += 1;
    }
    let parked = punte.messages("&state=parked").await?.len();
    let expected = routed - parked;
    // All that was routed arrives at both.
    eventually("all deliveries arrive", Duration::from_secs(60), async || {
        (expected <= portal.received().len() && expected <= ris.received().len()).then_some(())
    })
    .await;
    assert_valid_fhir(&portal.texts())?;
    let mut resources = vec![];
    for kind in SEARCHED {
        let found = punte.search(&format!("{kind}?_count=20")).await?;
        assert!(!found.is_empty(), "no {kind} is found");
        resources.extend(found);
    }
    // What they refer to is there too.
    let mut referred = vec![];
    for resource in &resources {
        referred_to(resource, &mut referred);
    }
    referred.sort();
    referred.dedup();
    for reference in referred {
        let (status, found) = punte.get(&format!("/fhir/{reference}")).await?;
        assert_eq!(status, 200, "{reference} leads nowhere: {found}");
        resources.push(found);
    }
    assert_valid_fhir(&resources.iter().map(Value::to_string).collect::<Vec<_>>())
}

fn referred_to(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                match inner {
                    Value::String(reference) if name == "reference" && !reference.starts_with('#') => {
                        out.push(reference.clone());
                    }
                    inner => referred_to(inner, out),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| referred_to(item, out)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_is_not_read_yet_is_answered_ar_with_200() -> Result<()> {
    let home = Home::with(&[("clinic", &scenes::chart_only())])?;
    let punte = home.serve()?;
    let mut sender = e2e::mllp::Sender::connect(punte.listens("clinic")).await?;
    let text = format!("{}TXA|1|CN\r", scenes::msh("MDM^T02^MDM_T02", "M1"));
    let answer = sender.ask(text.as_bytes()).await?;
    assert_eq!(e2e::mllp::field(&answer, "MSA", 1), "AR");
    assert!(
        e2e::mllp::field(&answer, "ERR", 3).starts_with("200^"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let messages = punte.messages("&state=failed").await?;
    assert_eq!(messages.len(), 1);
    Ok(())
}

#[test]
fn every_sample_converts_to_a_valid_bundle() -> Result<()> {
    let home = Home::with(&[])?;
    let mut bundles = vec![];
    for file in samples() {
        let output = home.run(&["convert", &file.display().to_string()])?;
        assert!(
            output.status.success(),
            "{}: {}",
            file.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout)?;
        let bundle: Value = serde_json::from_str(&text)?;
        assert_eq!(bundle["resourceType"], "Bundle");
        bundles.push(text);
    }
    assert_valid_fhir(&bundles)
}
