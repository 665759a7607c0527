//! Many senders at once.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::Home;
use e2e::sink::Sink;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::scenes;

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_update_one_patient_and_each_delivery_shows_its_own_version() -> Result<()> {
    let (portal, ris) = (Sink::fhir().await?, Sink::hl7().await?);
    let home = Home::with(&[("clinic", &scenes::clinic(portal.address, ris.address))])?;
    let punte = home.serve()?;
    let address = punte.listens("clinic");
    let mut tasks = JoinSet::new();
    for number in 0..64 {
        tasks.spawn(async move {
            let mut sender = Sender::connect(address).await?;
            let text = scenes::register(&format!("U{number}"), "P-1", &format!("Family{number:02}"));
            let answer = sender.ask(text.as_bytes()).await?;
            anyhow::Ok(field(&answer, "MSA", 1))
        });
    }
    while let Some(code) = tasks.join_next().await {
        assert_eq!(code??, "AA");
    }
    eventually("64 bundles", Duration::from_secs(60), async || {
        (64 <= portal.received().len()).then_some(())
    })
    .await;
    let patients = punte.search("Patient?identifier=P-1").await?;
    assert_eq!(patients.len(), 1, "one patient");
    let id = patients[0]["id"].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        patients[0]["meta"]["versionId"], "64",
        "each of them made a version"
    );
    // Each body names the version that its message made, and the name in it is the one of that version.
    let mut seen = BTreeMap::new();
    for body in portal.texts() {
        let bundle: Value = serde_json::from_str(&body)?;
        let patient = resources(&bundle, "Patient")
            .into_iter()
            .next()
            .unwrap_or_default();
        let version = patient["meta"]["versionId"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let family = patient["name"][0]["family"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let (_, of_version) = punte
            .get(&format!("/fhir/Patient/{id}/_history/{version}"))
            .await?;
        assert_eq!(
            of_version["name"][0]["family"],
            family.as_str(),
            "version {version}"
        );
        let control_id = control_id_of(&bundle);
        assert_eq!(
            family,
            format!("Family{:02}", control_id.trim_start_matches('U').parse::<u32>()?)
        );
        assert!(
            seen.insert(version.clone(), family).is_none(),
            "version {version} came twice"
        );
    }
    assert_eq!(seen.len(), 64);
    Ok(())
}

/// The resources of a type in a bundle.
pub fn resources(bundle: &Value, kind: &str) -> Vec<Value> {
    bundle["entry"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| entry["resource"].clone())
        .filter(|resource| resource["resourceType"] == kind)
        .collect()
}

/// The control id of the message that a bundle came from, by its Provenance.
pub fn control_id_of(bundle: &Value) -> String {
    resources(bundle, "Provenance")
        .iter()
        .flat_map(|provenance| provenance["entity"].as_array().into_iter().flatten())
        .find_map(|entity| entity["what"]["identifier"]["value"].as_str())
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_bring_one_new_patient_each_with_another_order() -> Result<()> {
    let home = Home::with(&[("clinic", &scenes::chart_only())])?;
    let punte = home.serve()?;
    let address = punte.listens("clinic");
    let mut tasks = JoinSet::new();
    for number in 0..64 {
        tasks.spawn(async move {
            let mut sender = Sender::connect(address).await?;
            let text = scenes::result(&format!("N{number}"), "NEW-1", &format!("C-{number}"), "5.40");
            let answer = sender.ask(text.as_bytes()).await?;
            anyhow::Ok(field(&answer, "MSA", 1))
        });
    }
    while let Some(code) = tasks.join_next().await {
        assert_eq!(code??, "AA");
    }
    assert_eq!(punte.search("Patient?identifier=NEW-1").await?.len(), 1);
    let patient = punte.search("Patient?identifier=NEW-1").await?[0]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert_eq!(
        punte
            .search(&format!("ServiceRequest?patient={patient}&_count=7"))
            .await?
            .len(),
        64
    );
    assert_eq!(
        punte
            .search(&format!("Observation?patient={patient}"))
            .await?
            .len(),
        64
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_on_four_connections_is_stored_and_applied_once() -> Result<()> {
    let (portal, ris) = (Sink::fhir().await?, Sink::hl7().await?);
    let home = Home::with(&[("clinic", &scenes::clinic(portal.address, ris.address))])?;
    let punte = home.serve()?;
    let address = punte.listens("clinic");
    for round in 0..10 {
        let text = scenes::register(&format!("SAME-{round}"), &format!("S-{round}"), "Pop");
        let mut senders = vec![];
        for _ in 0..4 {
            senders.push(Sender::connect(address).await?);
        }
        let mut tasks = JoinSet::new();
        for mut sender in senders {
            let text = text.clone();
            tasks.spawn(async move { sender.ask(text.as_bytes()).await });
        }
        let mut answers = vec![];
        while let Some(answer) = tasks.join_next().await {
            answers.push(answer??);
        }
        assert_eq!(field(&answers[0], "MSA", 1), "AA");
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "the four answers are not equal"
        );
        let stored = punte.messages(&format!("&control_id=SAME-{round}")).await?;
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0]["repeats"], 3);
        let patients = punte.search(&format!("Patient?identifier=S-{round}")).await?;
        assert_eq!(patients.len(), 1);
        assert_eq!(patients[0]["meta"]["versionId"], "1");
    }
    eventually("ten deliveries", Duration::from_secs(30), async || {
        (10 <= ris.received().len() && 10 <= portal.received().len()).then_some(())
    })
    .await;
    assert_eq!(ris.received().len(), 10);
    assert_eq!(portal.received().len(), 10);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_bookings_of_one_doctors_time_one_is_refused() -> Result<()> {
    let home = Home::with(&[("clinic", &scenes::chart_only())])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    let (start, end) = ("20260520140000", "20260520142000");
    let first = sender
        .ask(scenes::booking("B1", "AP-1", "P-1", start, end).as_bytes())
        .await?;
    assert_eq!(field(&first, "MSA", 1), "AA");
    let second = sender
        .ask(scenes::booking("B2", "AP-2", "P-2", start, end).as_bytes())
        .await?;
    assert_eq!(
        field(&second, "MSA", 1),
        "AE",
        "{}",
        String::from_utf8_lossy(&second)
    );
    let after = sender
        .ask(scenes::booking("B3", "AP-3", "P-2", end, "20260520144000").as_bytes())
        .await?;
    assert_eq!(field(&after, "MSA", 1), "AA", "the next slot is free");
    assert_eq!(punte.search("Appointment?status=booked").await?.len(), 2);
    Ok(())
}
