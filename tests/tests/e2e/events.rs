//! The clinic tells: an order that a person makes goes out to the laboratory, its result comes back, and no echo goes
//! round.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use e2e::sink::Sink;
use serde_json::json;

use crate::scenes;

const SOON: Duration = Duration::from_secs(30);

fn orders_out(lis: SocketAddr) -> String {
    format!(
        "id = \"orders-out\"\nsource.clinic = {{ on = [\"Order.placed\", \"Order.updated\", \"Order.completed\"], not_from = [\"lab-results\"] }}\n[[step]]\ndecode = \"clinic\"\n[[destination]]\nname = \"lis\"\nencode = \"hl7v2\"\nmllp = {{ connect = \"{lis}\" }}\nretry = {{ first = \"50ms\", max = \"200ms\" }}\n"
    )
}

fn portal(fhir: SocketAddr) -> String {
    format!(
        "id = \"portal\"\nsource.clinic.on = [\"Order.completed\"]\n[[step]]\ndecode = \"clinic\"\n[[destination]]\nname = \"portal\"\nencode = \"fhir-r4\"\nfhir = {{ base = \"http://{fhir}/fhir\" }}\nretry = {{ first = \"50ms\", max = \"200ms\" }}\n"
    )
}

fn lab_results() -> String {
    scenes::chart_only().replace("\"clinic\"", "\"lab-results\"")
}

fn number(system: &str, value: &str, kind: &str) -> serde_json::Value {
    json!({ "merge": [{ "system": system, "value": value, "kind": {
        "codings": [{ "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": kind }] } }] })
}

/// An order of a patient in a visit, as a person's program writes it.
fn order() -> serde_json::Value {
    json!({ "changes": [
        { "key": "patient", "say": { "Patient": { "identifiers": number("TEST", "P-1", "MR"),
            "names": [{ "family": "Pop", "given": ["Ana"], "use": "official" }] } } },
        { "key": "visit", "say": { "Encounter": { "identifiers": number("TEST", "V-1", "VN"),
            "patient": { "local": "patient" } } } },
        { "key": "order", "say": { "Order": { "identifiers": number("TEST", "W-100", "PLAC"), "status": "active",
            "patient": { "local": "patient" }, "encounter": { "local": "visit" },
            "code": { "codings": [{ "system": "http://loinc.org", "code": "2093-3", "display": "Cholesterol" }] } } } },
    ] })
}

async fn order_of(punte: &Punte) -> Option<serde_json::Value> {
    punte
        .search("ServiceRequest?identifier=W-100")
        .await
        .ok()?
        .into_iter()
        .next()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_goes_out_its_result_comes_back_and_no_echo_goes_round() -> Result<()> {
    let (lis, portal_sink) = (Sink::hl7().await?, Sink::fhir().await?);
    let home = Home::with(&[
        ("orders-out", &orders_out(lis.address)),
        ("portal", &portal(portal_sink.address)),
        ("lab-results", &lab_results()),
    ])?;
    let punte = home.serve()?;
    let made = home.json(&["key", "add", "reception", "--scope", "clinic:write", "--json"])?;
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .post(format!("http://{}/clinic/changes", punte.http))
        .bearer_auth(made["key"].as_str().context("a key")?)
        .header("content-type", "application/json")
        .body(order().to_string())
        .send()
        .await?;
    assert_eq!(answer.status().as_u16(), 201, "{}", answer.text().await?);

    let sent = eventually("the order is at the LIS", SOON, async || {
        lis.received().into_iter().next()
    })
    .await;
    assert_eq!(field(&sent, "MSH", 9), "OML^O21^OML_O21");
    assert_eq!(field(&sent, "ORC", 1), "NW");
    assert!(field(&sent, "ORC", 2).starts_with("W-100"));
    assert!(field(&sent, "PID", 3).starts_with("P-1"));
    assert!(field(&sent, "PV1", 19).starts_with("V-1"));
    assert!(field(&sent, "OBR", 4).starts_with("2093-3"));
    assert_eq!(order_of(&punte).await.context("the order")?["status"], "active");

    let result =
        scenes::result("R-1", "P-1", "W-100", "5.2").replace("|FW-100^LIS\rOBR", "|FW-100^LIS||CM\rOBR");
    let mut lab = Sender::connect(punte.listens("lab-results")).await?;
    assert_eq!(field(&lab.ask(result.as_bytes()).await?, "MSA", 1), "AA");
    assert_eq!(
        order_of(&punte).await.context("the order")?["status"],
        "completed"
    );

    // Whoever listens without having brought it is told, and that is later than an echo would be.
    eventually("the portal is told", SOON, async || {
        portal_sink.received().into_iter().next()
    })
    .await;
    let told = punte.messages("&channel=orders-out").await?;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(lis.received().len(), 1, "no echo to the LIS");
    let origin = &told[0]["origin"];
    assert_eq!(
        (&origin["by"], &origin["trace"]),
        (&json!("event"), &json!(["write-door"]))
    );
    let shown = home.run(&["messages", "show", origin["message"].as_str().context("an id")?])?;
    let shown = String::from_utf8(shown.stdout)?;
    assert!(
        shown.contains("(Order.placed)") && shown.contains("orders-out@events sent"),
        "{shown}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_each_change_is_told_once_and_in_order() -> Result<()> {
    let portal_sink = Sink::fhir().await?;
    let listens = portal(portal_sink.address).replace("Order.completed", "Patient.created");
    let home = Home::with(&[("portal", &listens), ("lab-results", &lab_results())])?;
    let mut punte = home.serve()?;
    let mut sent = vec![];
    for kill in 0..6 {
        let mut sender = Sender::connect(punte.listens("lab-results")).await?;
        for n in 0..15 + kill * 7 % 11 {
            let id = format!("E{kill}-{n}");
            let text = scenes::register(&id, &id, "Pop");
            assert_eq!(field(&sender.ask(text.as_bytes()).await?, "MSA", 1), "AA");
            sent.push(id);
        }
        tokio::time::sleep(Duration::from_micros(kill * 1_900 % 9_000)).await;
        punte.kill();
        punte = home.serve()?;
    }
    let told = eventually("all of it is told", SOON, async || {
        let rows = punte.messages("&channel=portal").await.ok()?;
        (sent.len() <= rows.len()).then_some(rows)
    })
    .await;
    let mut writers = vec![];
    for row in told.iter().rev() {
        let id = row["origin"]["message"].as_str().unwrap_or_default();
        let (_, writer) = punte.get(&format!("/admin/messages/{id}")).await?;
        writers.push(writer["control_id"].as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(writers, sent, "each once, in order");
    Ok(())
}
