//! A destination is asked: by a step that brings values into the message, and by the API. The FHIR server is a small one
//! of our own in Python, whose resources `fhir.resources` makes and checks.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use e2e::sink::{Manner, Sink};
use serde_json::{Value, json};

use crate::{python, scenes};

/// How long something may take that is to happen.
const SOON: Duration = Duration::from_secs(20);

/// A Python peer that prints its port, and may print more.
struct Peer {
    child: Child,
    port: u16,
    lines: Receiver<String>,
}

impl Peer {
    fn start(script: &str, port: u16) -> Result<Peer> {
        let python = std::env::var_os("PUNTE_TEST_PYTHON").context("PUNTE_TEST_PYTHON is not set")?;
        let mut child = Command::new(python)
            .arg(python::root().join("tests/python").join(script))
            .arg(port.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let (tx, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if tx.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Peer {
            child,
            port: line.trim().parse()?,
            lines,
        })
    }

    /// What the FHIR server was asked since the last time.
    async fn asked(&self) -> Result<Vec<String>> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let told = client
            .get(format!("http://127.0.0.1:{}/asked", self.port))
            .send()
            .await?;
        Ok(serde_json::from_slice(&told.bytes().await?)?)
    }

    /// The next lines that it prints.
    fn printed(&self, count: usize) -> Result<Vec<String>> {
        let next = |_| Ok(self.lines.recv_timeout(SOON)?);
        (0..count).map(next).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A channel that looks each patient up in a registry before the message goes to the chart and to a RIS.
fn channel(port: u16, more: &str, ris: &Sink) -> String {
    format!(
        r#"id = "clinic"
source.mllp.listen = "127.0.0.1:0"
[[step]]
filter = {{ "MSH-9" = "ADT" }}
[[step]]
lookup = {{ ask = "registry", question = "Patient?identifier=urn:oid:1.2.3|{{PID-3.1}}", within = "1s", set = {{ "PID-5.1" = "name[0].family", "PID-13" = "telecom[0].value", "PID-30" = "deceasedBoolean" }}{more} }}
[[step]]
decode = "hl7v2"
[[step]]
apply = true
[[destination]]
name = "registry"
when = "asked"
fhir = {{ base = "http://127.0.0.1:{port}/fhir" }}
[[destination]]
name = "ris"
mllp = {{ connect = "{}" }}
retry = {{ first = "50ms", max = "200ms" }}
"#,
        ris.address
    )
}

fn text_of(bytes: &[u8]) -> String {
    text(bytes)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn show(punte: &Punte, id: &Value) -> Result<Value> {
    let id = id.as_str().context("an id")?;
    Ok(punte.get(&format!("/admin/messages/{id}")).await?.1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fhir_search_brings_values_into_the_message_and_is_recorded() -> Result<()> {
    let registry = Peer::start("fhir_server.py", 0)?;
    let ris = Sink::hl7().await?;
    let home = Home::with(&[("clinic", &channel(registry.port, "", &ris))])?;
    let check = home.run(&["check"])?;
    assert!(check.status.success(), "{}", text(&check.stderr));
    let punte = home.serve()?;
    let mut lab = Sender::connect(punte.listens("clinic")).await?;
    // Filtered before the question: nobody is asked.
    lab.ask(scenes::result("0", "P-1", "O-1", "1").as_bytes()).await?;
    assert_eq!(registry.asked().await?, Vec::<String>::new());

    let answer = lab.ask(scenes::register("1", "P-1", "Tiru").as_bytes()).await?;
    assert_eq!(field(&answer, "MSA", 1), "AA", "{}", text(&answer));
    assert_eq!(
        registry.asked().await?,
        ["/fhir/Patient?identifier=urn:oid:1.2.3%7CP-1"]
    );
    e2e::eventually("the RIS has it", SOON, async || {
        (ris.received().len() == 1).then_some(())
    })
    .await;
    let sent = text(&ris.received()[0]);
    assert!(
        sent.contains("||Țîru \\T\\ Fiii^Ana^^^^^L||19800514|F|") && sent.contains("|0740 111 222"),
        "the name is one value, the birth date stays: {sent}"
    );
    let patients = punte.search("Patient?identifier=P-1").await?;
    assert_eq!(patients[0]["name"][0]["family"], "Țîru & Fiii");
    assert_eq!(patients[0]["telecom"][0]["value"], "0740 111 222");

    // The question is a message of its own, with its answer and the message that it was asked for.
    let rows = punte.messages("&channel=clinic&state=answered").await?;
    assert_eq!(rows.len(), 1);
    let asking = punte.messages("&channel=clinic&state=routed").await?;
    assert_eq!(rows[0]["origin"]["by"], "ask");
    assert_eq!(rows[0]["origin"]["message"], asking[0]["id"]);
    let question = show(&punte, &rows[0]["id"]).await?;
    assert_eq!(question["body"], "Patient?identifier=urn:oid:1.2.3|P-1");
    let delivery = &question["deliveries"][0];
    assert_eq!(
        (&delivery["destination"], &delivery["state"]),
        (&json!("registry"), &json!("sent"))
    );
    let answered = delivery["attempt_list"][0]["response"]
        .as_str()
        .context("an answer")?;
    assert!(
        answered.contains("searchset") && answered.contains("0740 111 222"),
        "{answered}"
    );
    assert_eq!(punte.messages("&patient=P-1&state=answered").await?.len(), 1);
    // It waits for nobody and is taken again by nobody.
    let channels = punte.get("/admin/channels").await?.1;
    assert_eq!(
        channels["channels"][0]["queues"]["registry"],
        Value::Null,
        "{channels:#}"
    );
    let id = rows[0]["id"].as_str().context("an id")?;
    let again = home.run(&["messages", "replay", id])?;
    assert!(!again.status.success() && text(&again.stderr).contains("is a question"));

    // What was really received, once more: with the answer as it was recorded, nobody is asked.
    registry.asked().await?;
    let again = home.run(&["try", "clinic", "--since", "1h"])?;
    let told = text(&again.stdout);
    assert!(
        again.status.success() && told.contains("2 messages run again: 2 as they were"),
        "{told}"
    );
    assert_eq!(registry.asked().await?, Vec::<String>::new());

    // The journal says who was told of whom.
    let journal = home.json(&["journal", "--patient", "P-1", "--json"])?;
    let asked = journal["journal"]
        .as_array()
        .and_then(|rows| rows.iter().find(|row| row["action"] == "ask"))
        .with_context(|| format!("{journal:#}"))?;
    assert_eq!(
        (&asked["actor"]["channel"], &asked["outcome"]),
        (&json!("clinic"), &json!("shown"))
    );
    assert!(
        asked["what"]
            .as_array()
            .is_some_and(|what| what.contains(&json!(format!("message/{id}"))))
    );

    // Nobody of that number, and two of it: the message goes on as it is.
    for (id, number) in [("2", "P-9"), ("3", "P-2")] {
        let answer = lab.ask(scenes::register(id, number, "Nou").as_bytes()).await?;
        assert_eq!(field(&answer, "MSA", 1), "AA");
        let patients = punte.search(&format!("Patient?identifier={number}")).await?;
        assert_eq!(patients[0]["name"][0]["family"], "Nou");
    }
    // A message without a number asks nobody.
    registry.asked().await?;
    let nameless = scenes::register("4", "", "Fara");
    lab.ask(nameless.as_bytes()).await?;
    assert_eq!(registry.asked().await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_fails_costs_a_message_its_time_limit_and_no_other_channel_anything() -> Result<()> {
    let registry = Peer::start("fhir_server.py", 0)?;
    let ris = Sink::hl7().await?;
    let other = "id = \"other\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = true\n";
    let home = Home::with(&[("clinic", &channel(registry.port, "", &ris)), ("other", other)])?;
    let punte = home.serve()?;
    let mut lab = Sender::connect(punte.listens("clinic")).await?;
    let mut number = 0;
    for (number_of, why) in [
        ("BAD-HTML", "no FHIR resource"),
        ("BAD-OTHER", "type searchset"),
        ("BAD-REFUSE", "HTTP 403"),
        ("BAD-HUGE", "max_answer"),
        ("BAD-DROP", "the answer"),
    ] {
        number += 1;
        let answer = lab
            .ask(scenes::register(&number.to_string(), number_of, "Pop").as_bytes())
            .await?;
        assert_eq!(field(&answer, "MSA", 1), "AE", "{}", text(&answer));
        let rows = punte.messages("&channel=clinic&state=failed").await?;
        // The question and the message that asked.
        for row in &rows[..2] {
            let told = row["failure"]["why"].as_str().unwrap_or_default();
            assert!(
                told.contains("registry") && told.contains(why),
                "{number_of}: {told}"
            );
            assert_eq!(row["failure"]["step"], "step[1].lookup");
        }
    }

    // Slow: many wait, each its own second at most, and the other channel does not notice.
    let begun = Instant::now();
    let slow: Vec<_> = (0..20)
        .map(|n| {
            let address = punte.listens("clinic");
            tokio::spawn(async move {
                let mut sender = Sender::connect(address).await?;
                sender
                    .ask(scenes::register(&format!("S{n}"), "BAD-SLOW", "Pop").as_bytes())
                    .await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut quick = Sender::connect(punte.listens("other")).await?;
    let others = Instant::now();
    for n in 0..50 {
        let answer = quick
            .ask(scenes::register(&format!("Q{n}"), &format!("Q-{n}"), "Rus").as_bytes())
            .await?;
        assert_eq!(field(&answer, "MSA", 1), "AA");
    }
    assert!(
        others.elapsed() < Duration::from_secs(5),
        "{:?}",
        others.elapsed()
    );
    for task in slow {
        assert_eq!(field(&task.await??, "MSA", 1), "AE");
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let failed = punte.messages("&channel=clinic&state=failed").await?;
    assert!(
        failed[0]["failure"]["why"]
            .as_str()
            .is_some_and(|why| why.contains("1s")),
        "{}",
        failed[0]
    );

    // Down: told at once; on_failure = "keep" goes on without.
    let port = registry.port;
    drop(registry);
    let answer = lab.ask(scenes::register("D1", "P-1", "Pop").as_bytes()).await?;
    assert_eq!(
        (field(&answer, "MSA", 1), field(&answer, "ERR", 3)),
        ("AE".into(), "207^Application internal error^HL70357".into())
    );
    home.channel(
        "clinic",
        &channel(port, ", on_failure = \"keep\", missing = \"fail\"", &ris),
    )?;
    assert!(home.run(&["reload"])?.status.success());
    let answer = lab.ask(scenes::register("D2", "P-1", "Pop").as_bytes()).await?;
    assert_eq!(field(&answer, "MSA", 1), "AA", "{}", text(&answer));
    // Up again: the next message is answered; and missing = "fail" fails.
    let registry = Peer::start("fhir_server.py", port)?;
    let answer = lab.ask(scenes::register("D3", "P-1", "Pop").as_bytes()).await?;
    assert_eq!(field(&answer, "MSA", 1), "AA");
    assert_eq!(registry.asked().await?.len(), 1);
    let answer = lab.ask(scenes::register("D4", "P-9", "Pop").as_bytes()).await?;
    assert_eq!(field(&answer, "MSA", 1), "AE");
    assert!(text(&answer).contains("nothing"), "{}", text(&answer));

    // A person stops the destination: nobody is asked.
    assert!(
        home.run(&["channels", "stop", "clinic/registry"])?
            .status
            .success()
    );
    registry.asked().await?;
    lab.ask(scenes::register("D5", "P-1", "Pop").as_bytes()).await?;
    assert_eq!(registry.asked().await?, Vec::<String>::new());
    assert!(
        home.run(&["channels", "start", "clinic/registry"])?
            .status
            .success()
    );
    lab.ask(scenes::register("D6", "P-1", "Pop").as_bytes()).await?;
    assert_eq!(registry.asked().await?.len(), 1);
    // A stop while a question waits does not take long.
    let address = punte.listens("clinic");
    let waiting = tokio::spawn(async move {
        let mut sender = Sender::connect(address).await?;
        sender
            .ask(scenes::register("W", "BAD-SLOW", "Pop").as_bytes())
            .await
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(punte.stop()?.success());
    let _ = waiting.await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_asks_with_a_key_of_its_own_scope() -> Result<()> {
    let registry = Peer::start("fhir_server.py", 0)?;
    let ris = Sink::hl7().await?;
    let home = Home::with(&[("clinic", &channel(registry.port, "", &ris))])?;
    let punte = home.serve()?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let key = |name: &str, scope: &str| -> Result<String> {
        let made = home.json(&["key", "add", name, "--scope", scope, "--json"])?;
        Ok(made["key"].as_str().context("a key")?.to_owned())
    };
    let (asks, reads) = (key("desk", "clinic:ask")?, key("reader", "clinic:read")?);
    let ask = async |key: &str, path: &str, question: &str| -> Result<(u16, Value)> {
        let answer = client
            .post(format!("http://{}/clinic/ask/{path}", punte.http))
            .bearer_auth(key)
            .header("X-User", "dr.ionescu")
            .body(question.to_owned())
            .send()
            .await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_slice(&answer.bytes().await?)?))
    };
    let (status, told) = ask(&asks, "clinic/registry", "Patient/77").await?;
    assert_eq!((status, &told["found"]), (200, &json!(1)), "{told}");
    assert_eq!(told["answer"]["name"][0]["family"], "Țîru & Fiii");
    let (status, told) = ask(&asks, "clinic/registry", "Patient/1").await?;
    assert_eq!((status, &told["found"]), (200, &json!(0)));
    let (status, told) = ask(&asks, "clinic/registry", "Patient?identifier=urn:oid:1.2.3|P-2").await?;
    assert_eq!((status, &told["found"]), (200, &json!(2)));
    for (path, question, expected, why) in [
        ("clinic/registry", "../secret", 400, "a read or a search"),
        ("clinic/registry", "", 400, "no question"),
        ("clinic/registry?within=5m", "Patient/77", 400, "within"),
        ("clinic/nobody", "Patient/77", 404, "no destination"),
        ("nothing/registry", "Patient/77", 404, "no channel"),
        ("clinic/ris", "no hl7", 400, "the question"),
        (
            "clinic/registry?within=300ms",
            "Patient?identifier=BAD-SLOW",
            504,
            "300ms",
        ),
        ("clinic/registry", "Patient?identifier=BAD-HTML", 502, "no FHIR"),
    ] {
        let (status, told) = ask(&asks, path, question).await?;
        let detail = told["detail"].as_str().unwrap_or_default();
        assert!(
            status == expected && detail.contains(why),
            "{path} {question}: {status} {told}"
        );
    }
    let (status, _) = ask(&reads, "clinic/registry", "Patient/77").await?;
    assert_eq!(status, 403);
    let rows = punte.messages("&channel=clinic&state=answered").await?;
    assert_eq!(rows.len(), 3);
    let journal = home.json(&["journal", "--patient", "P-1", "--json"])?;
    let row = &journal["journal"][0];
    assert_eq!(
        (&row["action"], &row["actor"]["key"], &row["actor"]["user"]),
        (&json!("ask"), &json!("desk"), &json!("dr.ionescu")),
        "{journal:#}"
    );

    // By the command line, too.
    let asked = home.run(&["ask", "clinic", "registry", "Patient/77"])?;
    assert!(asked.status.success() && text(&asked.stdout).contains("\"birthDate\": \"1980-05-14\""));
    assert_eq!(
        home.run(&["ask", "clinic", "registry", "Patient/1"])?
            .status
            .code(),
        Some(1)
    );

    // A deployed channel is tried without asking anybody, unless that is wanted.
    registry.asked().await?;
    let sample = home.path().join("in.hl7");
    std::fs::write(&sample, scenes::register("1", "P-1", "Tiru"))?;
    let sample = sample.display().to_string();
    let tried = home.run(&["try", "clinic", &sample])?;
    let shown = text(&tried.stdout);
    assert!(
        tried.status.success()
            && shown.contains("registry was not asked: Patient?identifier=urn:oid:1.2.3|P-1")
            && shown.contains("--ask"),
        "{shown}"
    );
    assert_eq!(registry.asked().await?, Vec::<String>::new());
    let tried = home.run(&["try", "clinic", &sample, "--ask"])?;
    let shown = text(&tried.stdout);
    assert!(
        shown.contains("0740 111 222") && !shown.contains("not asked"),
        "{shown}"
    );
    assert_eq!(registry.asked().await?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_golden_test_asks_nobody_but_once_where_it_is_told_to() -> Result<()> {
    let registry = Peer::start("fhir_server.py", 0)?;
    let ris = Sink::hl7().await?;
    let home = Home::with(&[("clinic", &channel(registry.port, "", &ris))])?;
    let sample = home.path().join("in.hl7");
    std::fs::write(&sample, scenes::register("1", "P-1", "Tiru"))?;
    let sample = sample.display().to_string();
    let added = home.run(&["test", "clinic", "--add", "registered", &sample])?;
    assert_eq!(added.status.code(), Some(1));
    assert!(
        text(&added.stdout).contains("answer.registry.json is not there"),
        "{}",
        text(&added.stdout)
    );
    assert_eq!(registry.asked().await?, Vec::<String>::new());

    let blessed = home.run(&["test", "clinic", "--ask", "--bless"])?;
    assert!(blessed.status.success(), "{}", text(&blessed.stdout));
    assert_eq!(registry.asked().await?.len(), 1);
    drop(registry);
    let folder = home.path().join("channels/clinic.tests/registered");
    let read = |name: &str| std::fs::read_to_string(folder.join(name));
    assert!(read("answer.registry.json")?.contains("\"searchset\""));
    assert_eq!(
        read("asked.registry.txt")?,
        "Patient?identifier=urn:oid:1.2.3|P-1\n"
    );
    assert!(read("out.ris.hl7")?.contains("0740 111 222"));
    let tested = home.run(&["test", "clinic"])?;
    assert!(tested.status.success(), "{}", text(&tested.stdout));
    let other = read("answer.registry.json")?.replace("0740 111 222", "0740 999");
    std::fs::write(folder.join("answer.registry.json"), other)?;
    let tested = home.run(&["test", "clinic"])?;
    assert!(!tested.status.success() && text(&tested.stdout).contains("0740 999"));
    Ok(())
}

/// Asked after the apply, on the way to a destination, while the patient keeps changing under it: one question.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_run_again_asks_once() -> Result<()> {
    let registry = Peer::start("fhir_server.py", 0)?;
    let ris = Sink::hl7().await?;
    let text = format!(
        "id = \"clinic\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = true\n[[destination]]\nname = \"registry\"\nwhen = \"asked\"\nfhir = {{ base = \"http://127.0.0.1:{}/fhir\" }}\n[[destination]]\nname = \"ris\"\nstep = [{{ lookup = {{ ask = \"registry\", question = \"Patient/77\", set = {{ \"PID-13\" = \"telecom[0].value\" }} }} }}]\nmllp = {{ connect = \"{}\" }}\n",
        registry.port, ris.address
    );
    let home = Home::with(&[("clinic", &text)])?;
    let punte = home.serve()?;
    // All about one patient at once: most find that a version has moved, and are run again.
    let tasks: Vec<_> = (0..30)
        .map(|n| {
            let address = punte.listens("clinic");
            tokio::spawn(async move {
                let mut sender = Sender::connect(address).await?;
                let message = scenes::register(&format!("R{n}"), "P-1", &format!("Pop{n}"));
                sender.ask(message.as_bytes()).await
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(field(&task.await??, "MSA", 1), "AA");
    }
    let metrics = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .get(format!("http://{}/metrics", punte.http))
        .bearer_auth(&punte.key)
        .send()
        .await?
        .text()
        .await?;
    let reruns = metrics
        .lines()
        .find(|line| line.starts_with("punte_reruns_total"));
    assert!(
        reruns.is_some(),
        "nothing was run again: the test shows nothing\n{metrics}"
    );
    assert_eq!(registry.asked().await?.len(), 30, "{reruns:?}");
    e2e::eventually("the RIS has all", SOON, async || {
        (ris.received().len() == 30).then_some(())
    })
    .await;
    assert!(
        ris.received()
            .iter()
            .all(|message| String::from_utf8_lossy(message).contains("0740 111 222"))
    );
    Ok(())
}

/// A channel that pauses takes messages, and their steps ask; also after a restart. One that was reloaded asks the new place.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_pauses_asks_and_one_that_was_reloaded_asks_elsewhere() -> Result<()> {
    let (registry, other) = (
        Peer::start("fhir_server.py", 0)?,
        Peer::start("fhir_server.py", 0)?,
    );
    let ris = Sink::hl7().await?;
    let home = Home::with(&[("clinic", &channel(registry.port, "", &ris))])?;
    let punte = home.serve()?;
    assert!(home.run(&["channels", "pause", "clinic"])?.status.success());
    let mut lab = Sender::connect(punte.listens("clinic")).await?;
    lab.ask(scenes::register("1", "P-1", "Pop").as_bytes()).await?;
    punte.kill();
    let punte = home.serve()?;
    let mut lab = Sender::connect(punte.listens("clinic")).await?;
    lab.ask(scenes::register("2", "P-1", "Pop").as_bytes()).await?;
    assert_eq!(registry.asked().await?.len(), 2);
    assert_eq!(ris.received().len(), 0);
    home.channel("clinic", &channel(other.port, "", &ris))?;
    assert!(home.run(&["reload"])?.status.success());
    lab.ask(scenes::register("3", "P-1", "Pop").as_bytes()).await?;
    assert!(home.run(&["channels", "start", "clinic"])?.status.success());
    lab.ask(scenes::register("4", "P-1", "Pop").as_bytes()).await?;
    assert_eq!(
        (registry.asked().await?.len(), other.asked().await?.len()),
        (0, 2)
    );
    e2e::eventually("the RIS has all", SOON, async || {
        (ris.received().len() == 4).then_some(())
    })
    .await;
    assert!(ris.texts().iter().all(|message| message.contains("0740 111 222")));
    Ok(())
}

/// Counters give each message its turn; nobody's turn is spent on waiting for an answer.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_take_turns_ask_side_by_side() -> Result<()> {
    let registry = Peer::start("fhir_server.py", 0)?;
    let ris = Sink::hl7().await?;
    let text = channel(registry.port, ", on_failure = \"keep\"", &ris);
    let (head, steps) = text.split_once("[[step]]").context("steps")?;
    let text = format!("{head}[counter.n]\n[[step]]\nscript = \"count.js\"\n[[step]]{steps}");
    let home = Home::with(&[("clinic", &text)])?;
    let script = "export default (message, context) => { message.set('PID-2', String(context.counter('n').next())); };\n";
    std::fs::write(home.path().join("channels/count.js"), script)?;
    let punte = home.serve()?;
    let begun = Instant::now();
    let tasks: Vec<_> = (0..6)
        .map(|n| {
            let address = punte.listens("clinic");
            tokio::spawn(async move {
                let mut sender = Sender::connect(address).await?;
                let message = scenes::register(&format!("T{n}"), "BAD-SLOW", "Pop");
                sender.ask(message.as_bytes()).await
            })
        })
        .collect();
    for task in tasks {
        let answer = task.await??;
        assert_eq!(
            field(&answer, "MSA", 1),
            "AA",
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    Ok(())
}

/// QBP^Q22 out, to a Punte that answers it; the deliveries to the same receiver go by a connection of their own.
#[tokio::test(flavor = "multi_thread")]
async fn an_hl7_system_is_asked_by_a_query() -> Result<()> {
    let far = Home::with(&[
        ("clinic", &scenes::chart_only()),
        (
            "lookups",
            "id = \"lookups\"\n[source]\nquestions = \"clinic\"\nmllp.listen = \"127.0.0.1:0\"\n",
        ),
    ])?;
    let far_punte = far.serve()?;
    let mut feed = Sender::connect(far_punte.listens("clinic")).await?;
    feed.ask(scenes::register("1", "P-1", "Țîru").as_bytes()).await?;
    feed.ask(scenes::register("2", "P-2", "Tirea").as_bytes()).await?;
    let near = format!(
        r#"id = "asking"
source.mllp.listen = "127.0.0.1:0"
[[step]]
lookup = {{ ask = "hub", question = """
MSH|^~\\&|PUNTE|C|HUB|C|{{now}}||QBP^Q22^QBP_Q21|{{id}}|P|2.5.1|||||||UNICODE UTF-8
QPD|Q22^Find^HL7nnnn|{{id}}|@PID.3.1^{{PID-3.1}}
RCP|I
""", set = {{ "PID-5" = "PID-5", "PID-7" = "PID-7" }} }}
[[destination]]
name = "hub"
mllp = {{ connect = "{}" }}
retry = {{ first = "50ms", max = "200ms" }}
"#,
        far_punte.listens("lookups")
    );
    let home = Home::with(&[("asking", &near)])?;
    let check = home.run(&["check"])?;
    assert!(check.status.success(), "{}", text(&check.stderr));
    let punte = home.serve()?;
    let mut lab = Sender::connect(punte.listens("asking")).await?;
    for (id, number) in [("A1", "P-1"), ("A2", "P-2"), ("A3", "P-9")] {
        let message = format!(
            "{}EVN|A28|20260505083000\rPID|1||{number}^^^TEST^MR||?\r",
            scenes::msh("ADT^A28^ADT_A05", id)
        );
        let answer = lab.ask(message.as_bytes()).await?;
        assert_eq!(field(&answer, "MSA", 1), "AA", "{}", text(&answer));
    }
    let routed = e2e::eventually("all are delivered", SOON, async || {
        let rows = far_punte.messages("&channel=lookups&state=routed").await.ok()?;
        (rows.len() == 3).then_some(rows)
    })
    .await;
    let mut names = vec![];
    for row in routed.iter().rev() {
        let body = show(&far_punte, &row["id"]).await?["body"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        names.push((field(body.as_bytes(), "PID", 5), field(body.as_bytes(), "PID", 7)));
    }
    let expected = [
        ("Țîru^Ana^^^^^L", "19800514"),
        ("Tirea^Ana^^^^^L", "19800514"),
        ("?", ""),
    ];
    assert_eq!(
        names,
        expected.map(|(name, born)| (name.to_owned(), born.to_owned()))
    );
    assert_eq!(
        far_punte.messages("&channel=lookups&state=answered").await?.len(),
        3
    );
    // Both sides have it in their journals: who was told, and who was asked.
    for (home, outcome) in [(&far, "shown"), (&home, "shown")] {
        let journal = home.json(&["journal", "--patient", "P-1", "--json"])?;
        let is_ask = |row: &&Value| row["action"] == "ask" && row["outcome"] == outcome;
        assert!(
            journal["journal"]
                .as_array()
                .is_some_and(|rows| rows.iter().any(|row| is_ask(&row))),
            "{journal:#}"
        );
    }
    Ok(())
}

/// The same receiver is asked and sent to, by many at once: each gets the answer to its own question, and questions and
/// deliveries never share a connection. The receiver is that of PyPI's `hl7`.
#[tokio::test(flavor = "multi_thread")]
async fn questions_and_deliveries_do_not_mix() -> Result<()> {
    let directory = Peer::start("hl7_directory.py", 0)?;
    let text = format!(
        r#"id = "asking"
source.mllp.listen = "127.0.0.1:0"
[[step]]
lookup = {{ ask = "directory", question = """
MSH|^~\\&|PUNTE|C|DIR|C|{{now}}||QBP^Q22^QBP_Q21|{{id}}|P|2.5.1
QPD|Q22^Find|T{{id}}|@PID.3.1^{{PID-3.1}}
RCP|I
""", set = {{ "PID-5.1" = "PID-5.1" }} }}
[[destination]]
name = "directory"
mllp = {{ connect = "127.0.0.1:{}" }}
"#,
        directory.port
    );
    let home = Home::with(&[("asking", &text)])?;
    let punte = home.serve()?;
    let tasks: Vec<_> = (0..4)
        .map(|sender| {
            let address = punte.listens("asking");
            tokio::spawn(async move {
                let mut lab = Sender::connect(address).await?;
                for n in 0..10 {
                    let number = format!("N-{sender}-{n}");
                    let message = scenes::register(&format!("M{sender}-{n}"), &number, "Pop");
                    let answer = lab.ask(message.as_bytes()).await?;
                    anyhow::ensure!(field(&answer, "MSA", 1) == "AA", "{}", text_of(&answer));
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let delivered = e2e::eventually("all are delivered", SOON, async || {
        let rows = punte.messages("&channel=asking&state=routed").await.ok()?;
        let is_sent = |row: &Value| row["deliveries"][0]["state"] == "sent";
        (rows.len() == 40 && rows.iter().all(is_sent)).then_some(rows)
    })
    .await;
    for row in &delivered {
        let sent = show(&punte, &row["id"]).await?["deliveries"][0]["body"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let number = field(sent.as_bytes(), "PID", 3);
        let number = number.split('^').next().unwrap_or_default();
        let name = field(sent.as_bytes(), "PID", 5);
        assert_eq!(name.split('^').next(), Some(format!("Of-{number}").as_str()));
    }
    let asked = directory.printed(80)?;
    let by = |kind: &str| -> std::collections::BTreeSet<&str> {
        // A control id may have these letters too.
        let is_of = |line: &str| line.split(' ').nth(1).is_some_and(|of| of.starts_with(kind));
        let lines = asked.iter().filter(|line| is_of(line));
        lines.filter_map(|line| line.split(' ').next()).collect()
    };
    let (questions, deliveries) = (by("QBP"), by("ADT"));
    assert!(
        !questions.is_empty() && questions.is_disjoint(&deliveries),
        "{questions:?} {deliveries:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_service_is_asked_by_address() -> Result<()> {
    let service = Peer::start("fhir_server.py", 0)?;
    let ris = Sink::hl7().await?;
    let text = format!(
        r#"id = "asking"
source.mllp.listen = "127.0.0.1:0"
[[step]]
lookup = {{ ask = "service", question = "/Patient/{{PID-3.1}}", missing = "fail", set = {{ "PID-13" = "telecom[0].value" }} }}
[[destination]]
name = "service"
when = "asked"
format = "json"
http = {{ url = "http://127.0.0.1:{}/fhir" }}
[[destination]]
name = "ris"
mllp = {{ connect = "{}" }}
"#,
        service.port, ris.address
    );
    let home = Home::with(&[("asking", &text)])?;
    let punte = home.serve()?;
    let mut lab = Sender::connect(punte.listens("asking")).await?;
    let answer = lab.ask(scenes::register("1", "77", "Pop").as_bytes()).await?;
    assert_eq!(field(&answer, "MSA", 1), "AA", "{}", text_of(&answer));
    e2e::eventually("the RIS has it", SOON, async || {
        (ris.received().len() == 1).then_some(())
    })
    .await;
    assert_eq!(field(&ris.received()[0], "PID", 13), "0740 111 222");
    // Nobody has this number (404), none may lead elsewhere, and none can't be asked by.
    for (id, number, why) in [
        ("2", "1", "nothing"),
        ("3", "../metadata", "leads away"),
        ("4", "", "no value"),
    ] {
        let answer = lab.ask(scenes::register(id, number, "Pop").as_bytes()).await?;
        assert_eq!(field(&answer, "MSA", 1), "AE");
        assert!(text_of(&answer).contains(why), "{}", text_of(&answer));
    }
    assert_eq!(service.asked().await?, ["/fhir/Patient/77", "/fhir/Patient/1"]);
    let told = home.run(&["where", "77"])?;
    assert!(
        text_of(&told.stdout).contains("asked of service at"),
        "{}",
        text_of(&told.stdout)
    );
    Ok(())
}

/// What comes late, or for another, is no answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_another_question_is_none() -> Result<()> {
    let lis = Sink::hl7().await?;
    let text = format!(
        "id = \"asking\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\nlookup = {{ ask = \"lis\", within = \"700ms\", question = \"MSH|^~\\\\&|P|C|L|C|{{now}}||QBP^Q22|{{id}}|P|2.5.1\\nQPD|Q22|T|@PID.3.1^{{PID-3.1}}\", set = {{ \"PID-8\" = \"PID-8\" }} }}\n[[destination]]\nname = \"lis\"\nwhen = \"asked\"\nmllp = {{ connect = \"{}\" }}\n",
        lis.address
    );
    let home = Home::with(&[("asking", &text)])?;
    let punte = home.serve()?;
    let mut lab = Sender::connect(punte.listens("asking")).await?;
    for (id, manner) in [
        ("1", Manner::AnotherOnly),
        ("2", Manner::Silent),
        ("3", Manner::Html),
        // An acknowledgement is no answer to a question.
        ("4", Manner::Polite),
        ("5", Manner::Refuse),
        ("6", Manner::Close),
    ] {
        lis.behave(manner.clone());
        let begun = Instant::now();
        let answer = lab.ask(scenes::register(id, "P-1", "Pop").as_bytes()).await?;
        assert_eq!(
            field(&answer, "MSA", 1),
            "AE",
            "{manner:?}: {}",
            String::from_utf8_lossy(&answer)
        );
        assert!(begun.elapsed() < Duration::from_secs(3), "{manner:?}");
    }
    Ok(())
}
