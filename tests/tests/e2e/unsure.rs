//! What was sent and whose answer is lost is asked for: over kills (SIGKILL), and with a receiver that closes the
//! connection after it has taken something, or before. Each message is taken once, in order.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use serde_json::{Value, json};

use crate::{python, scenes};

const SOON: Duration = Duration::from_secs(90);

/// The receiver of orders in Python.
struct Erp {
    child: Child,
    port: u16,
}

impl Erp {
    fn start() -> Result<Erp> {
        let python = std::env::var_os("PUNTE_TEST_PYTHON").context("PUNTE_TEST_PYTHON is not set")?;
        let mut child = Command::new(python)
            .arg(python::root().join("tests/python/order_receiver.py"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("no standard output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let port = line.trim().parse()?;
        Ok(Erp { child, port })
    }

    /// The numbers of what it took, in their order, as often as it took them.
    async fn taken(&self) -> Result<Vec<String>> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let address = format!("http://127.0.0.1:{}/taken", self.port);
        let told = client.get(address).send().await?;
        Ok(serde_json::from_slice(&told.bytes().await?)?)
    }
}

impl Drop for Erp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// HL7 by HTTP; asked is another destination, which answers in JSON.
fn hl7(port: u16, on_unsure: &str) -> String {
    format!(
        r#"id = "orders"
source.mllp.listen = "127.0.0.1:0"
[[destination]]
name = "erp"
format = "hl7v2"
http = {{ url = "http://127.0.0.1:{port}/orders" }}
retry = {{ first = "300ms", max = "600ms" }}
on_unsure = {on_unsure}
[[destination]]
name = "register"
when = "asked"
format = "json"
http = {{ url = "http://127.0.0.1:{port}" }}
"#
    )
}

const ASKS: &str = r#"{ ask = "register", question = "/orders?number={MSH-10}" }"#;

/// JSON by HTTP to one that is asked itself, several at once.
fn keyed(port: u16) -> String {
    format!(
        r#"id = "orders"
[source]
format = "json"
keys = {{ control_id = "number", patient = "patient" }}
http = {{ listen = "127.0.0.1:0", path = "/in" }}
[[destination]]
name = "erp"
format = "json"
http = {{ url = "http://127.0.0.1:{port}/orders" }}
retry = {{ first = "300ms", max = "600ms" }}
on_unsure = {{ ask = "erp", question = "?number={{number}}" }}
order_by = "patient"
parallel = 4
"#
    )
}

/// The reasons of all tries of all deliveries.
async fn reasons(punte: &Punte) -> Result<Vec<String>> {
    let mut reasons = vec![];
    for row in punte.messages("&channel=orders&state=routed").await? {
        let id = row["id"].as_str().context("an id")?;
        let (_, shown) = punte.get(&format!("/admin/messages/{id}")).await?;
        let tries = shown["deliveries"][0]["attempt_list"].as_array().cloned();
        let why = |attempt: Value| attempt["why"].as_str().map(str::to_owned);
        reasons.extend(tries.unwrap_or_default().into_iter().filter_map(why));
    }
    Ok(reasons)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_taken_once_and_in_order_over_kills() -> Result<()> {
    const COUNT: usize = 80;
    let erp = Erp::start()?;
    let home = Home::with(&[("orders", &hl7(erp.port, ASKS))])?;
    let mut punte = home.serve()?;
    let mut sent = vec![];
    let mut sender = Sender::connect(punte.listens("orders")).await?;
    for n in 0..COUNT {
        let id = format!("N{n}");
        let answer = sender.ask(scenes::message(&id).as_bytes()).await?;
        assert_eq!(field(&answer, "MSA", 1), "AA");
        sent.push(id);
        if n % 16 == 15 {
            // At another place of its work each time.
            tokio::time::sleep(Duration::from_micros(n as u64 * 7_300 % 90_000)).await;
            punte.kill();
            punte = home.serve()?;
            sender = Sender::connect(punte.listens("orders")).await?;
        }
    }
    eventually("all are sent", SOON, async || {
        let rows = punte.messages("&channel=orders&state=routed").await.ok()?;
        let is_sent = |row: &Value| row["deliveries"][0]["state"] == "sent";
        (rows.len() == COUNT && rows.iter().all(is_sent)).then_some(())
    })
    .await;
    assert_eq!(erp.taken().await?, sent, "each once, in order");

    let reasons = reasons(&punte).await?;
    for why in [
        "register was asked, and has it",
        "register was asked: it is not there",
    ] {
        assert!(reasons.iter().any(|reason| reason == why), "{why}: {reasons:#?}");
    }
    // An operator sees what happened, and each question is on record.
    let rows = punte.messages("&channel=orders&state=answered").await?;
    let asked_for = rows[0]["origin"]["message"].as_str().context("an origin")?;
    assert_eq!(rows[0]["origin"]["by"], "ask");
    let shown = home.run(&["messages", "show", asked_for])?;
    let shown = String::from_utf8(shown.stdout)?;
    assert!(shown.contains("register was asked"), "{shown}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_taken_once_and_in_the_order_of_its_patient_over_kills() -> Result<()> {
    const COUNT: usize = 80;
    let erp = Erp::start()?;
    let home = Home::with(&[("orders", &keyed(erp.port))])?;
    let mut punte = home.serve()?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut sent: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for n in 0..COUNT {
        let (number, patient) = (format!("N{n}"), n * n % 7);
        let body = json!({ "number": number, "patient": patient }).to_string();
        let address = format!("http://{}/in", punte.listens("orders"));
        let told = client.post(address).body(body).send().await?;
        assert_eq!(told.status().as_u16(), 200);
        sent.entry(patient).or_default().push(number);
        if n % 16 == 15 {
            tokio::time::sleep(Duration::from_micros(n as u64 * 7_300 % 90_000)).await;
            punte.kill();
            punte = home.serve()?;
        }
    }
    eventually("all are sent", SOON, async || {
        let rows = punte.messages("&channel=orders&state=routed").await.ok()?;
        let is_sent = |row: &Value| row["deliveries"][0]["state"] == "sent";
        (rows.len() == COUNT && rows.iter().all(is_sent)).then_some(())
    })
    .await;
    let mut taken: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for number in erp.taken().await? {
        let n: usize = number.trim_start_matches('N').parse()?;
        taken.entry(n * n % 7).or_default().push(number);
    }
    assert_eq!(taken, sent, "each once, in the order of its patient");
    let reasons = reasons(&punte).await?;
    assert!(reasons.iter().any(|why| why == "erp was asked, and has it"));
    Ok(())
}

/// Why one asks: the same receiver gets doubles where what is unsure is sent again.
#[tokio::test(flavor = "multi_thread")]
async fn without_asking_some_are_taken_twice() -> Result<()> {
    const COUNT: usize = 20;
    let erp = Erp::start()?;
    let home = Home::with(&[("orders", &hl7(erp.port, "\"repeat\""))])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("orders")).await?;
    for n in 0..COUNT {
        let answer = sender.ask(scenes::message(&format!("N{n}")).as_bytes()).await?;
        assert_eq!(field(&answer, "MSA", 1), "AA");
    }
    let taken = eventually("the last one is taken", SOON, async || {
        let taken = erp.taken().await.ok()?;
        taken.contains(&format!("N{}", COUNT - 1)).then_some(taken)
    })
    .await;
    assert!(COUNT < taken.len(), "{taken:?}");
    Ok(())
}
