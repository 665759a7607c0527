//! What comes of the answers of destinations, over the real program, which is killed (SIGKILL) again and again.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use e2e::sink::{Manner, Sink};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::{python, scenes};

/// A Python peer that goes on until it is dropped, and what it has said since its port.
struct Peer {
    child: Child,
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    fn start(script: &str, args: &[String]) -> Result<Peer> {
        let python = std::env::var_os("PUNTE_TEST_PYTHON").context("PUNTE_TEST_PYTHON is not set")?;
        let mut child = Command::new(python)
            .arg(python::root().join("tests/python").join(script))
            .args(args)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = BufReader::new(child.stdout.take().context("no output")?).lines();
        let port = said.next().context("it ended")??.parse()?;
        let lines = Arc::new(Mutex::new(vec![]));
        let kept = lines.clone();
        std::thread::spawn(move || {
            for line in said.map_while(Result::ok) {
                kept.lock().unwrap_or_else(|p| p.into_inner()).push(line);
            }
        });
        Ok(Peer { child, port, lines })
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(|p| p.into_inner()).clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on just now.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn write(home: &Home, name: &str, text: &str) -> Result<()> {
    Ok(std::fs::write(home.path().join("channels").join(name), text)?)
}

const CLOSE: &str = "export default function (message, context) {
  for (const change of context.changes.changes) {
    if (change.say.Order) change.say.Order.status = \"completed\";
  }
}
";

fn orders(lis: u16) -> String {
    format!(
        "id = \"orders\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = true\n\
         [[destination]]\nname = \"lis\"\nstep = [{{ set = {{ \"MSH-15\" = \"AL\", \"MSH-16\" = \"AL\" }} }}]\n\
         mllp = {{ connect = \"127.0.0.1:{lis}\" }}\nretry = {{ first = \"50ms\", max = \"200ms\" }}\n\
         answers = {{ by = \"lis-acks\", within = \"1h\" }}\n\
         [[destination.response]]\nfilter = {{ \"MSA-1\" = \"AA\" }}\n\
         [[destination.response]]\ndecode = \"hl7v2\"\n\
         [[destination.response]]\nscript = \"close.js\"\n\
         [[destination.response]]\napply = true\n\
         [[destination.response]]\nchannel = \"closed\"\n"
    )
}

/// The same, to a laboratory that answers AA at once.
fn answered_at_once(lis: SocketAddr) -> String {
    orders(lis.port())
        .replace("answers = { by = \"lis-acks\", within = \"1h\" }\n", "")
        .replace(
            "step = [{ set = { \"MSH-15\" = \"AL\", \"MSH-16\" = \"AL\" } }]\n",
            "",
        )
}

fn order(n: usize) -> String {
    format!(
        "{}PID|1||P-{n}^^^TEST^MR||Pop^Ana^^^^^L||19800514|F\rORC|NW|O-{n}^TEST\rOBR|1|O-{n}^TEST||2093-3^Cholesterol^LN\r",
        scenes::msh("OML^O21^OML_O21", &format!("Q-{n}"))
    )
}

/// Sends until it is acknowledged.
async fn place(punte: &Punte, text: &str) -> Result<()> {
    let mut sender = Sender::connect(punte.listens("orders")).await?;
    let answer = sender.ask(text.as_bytes()).await?;
    anyhow::ensure!(
        field(&answer, "MSA", 1) == "AA",
        "{}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}

/// Places orders and kills the program after each fourth, so many microseconds later; all are closed in the end, each
/// once. Returns the program that runs then.
async fn closed_under_kills(home: &Home, orders: usize, later: fn(u64) -> u64) -> Result<Punte> {
    let mut punte = home.serve()?;
    for n in 0..orders {
        place(&punte, &order(n)).await?;
        if n % 4 == 3 {
            // At another place of its work each time.
            tokio::time::sleep(Duration::from_micros(later(n as u64))).await;
            punte.kill();
            punte = home.serve()?;
        }
    }
    let closed = eventually("all orders are closed", Duration::from_secs(90), async || {
        let closed = punte.messages("&channel=closed").await.ok()?;
        (orders <= closed.len()).then_some(closed)
    })
    .await;
    assert_eq!(closed.len(), orders, "each is handed on once");
    Ok(punte)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_acknowledgement_closes_its_order_once_whenever_the_program_is_killed() -> Result<()> {
    const ORDERS: usize = 40;
    let late = free_port()?;
    let lis = Peer::start("lis_enhanced.py", &["127.0.0.1".to_owned(), late.to_string()])?;
    let home = Home::with(&[
        ("orders", &orders(lis.port)),
        (
            "lis-acks",
            &format!("id = \"lis-acks\"\nsource.mllp.listen = \"127.0.0.1:{late}\"\n"),
        ),
        (
            "closed",
            "id = \"closed\"\n[source]\nformat = \"hl7v2\"\nchannel = {}\n",
        ),
    ])?;
    write(&home, "close.js", CLOSE)?;
    let punte = closed_under_kills(&home, ORDERS, |n| n * 3_700 % 61_000).await?;
    let found = punte.search("ServiceRequest?_count=100").await?;
    assert_eq!(found.len(), ORDERS);
    for order in &found {
        assert_eq!(order["status"], "completed");
        // It was placed, and it was closed: once each.
        assert_eq!(order["meta"]["versionId"], "2", "{order}");
    }
    let questions = punte.messages("&channel=orders").await?;
    assert_eq!(questions.len(), ORDERS);
    assert!(
        questions
            .iter()
            .all(|row| row["deliveries"][0]["state"] == "sent")
    );
    let answers = punte.messages("&channel=orders@lis").await?;
    assert_eq!(answers.len(), ORDERS, "each answer is one message");
    assert!(
        answers
            .iter()
            .all(|row| row["state"] == "routed" && row["origin"]["by"] == "response")
    );
    assert!(
        punte.messages("&channel=lis-acks").await?.is_empty(),
        "no answer was taken for a message"
    );
    // The far side has seen some of them twice, and has been told more than once too: that is what the kills are for.
    let lines = lis.lines();
    assert!(ORDERS <= lines.iter().filter(|line| line.starts_with("order ")).count());
    assert!(
        lines.iter().filter(|line| line.ends_with(" CA")).count() >= ORDERS,
        "{lines:?}"
    );

    // From the order to its answer, and back.
    let answer = answers[0]["id"].as_str().unwrap_or_default();
    let shown = String::from_utf8(home.run(&["messages", "show", answer])?.stdout)?;
    let question = answers[0]["origin"]["message"].as_str().unwrap_or_default();
    assert!(
        shown.contains(&format!("response of message {question}, passed orders")),
        "{shown}"
    );
    assert!(shown.contains("Order.completed"), "{shown}");
    let shown = String::from_utf8(home.run(&["messages", "show", question])?.stdout)?;
    assert!(shown.contains(&format!("made {answer}")), "{shown}");
    Ok(())
}

/// The same where the answer comes on the same connection at once: its try and what it does are one.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_closes_its_order_once_whenever_the_program_is_killed() -> Result<()> {
    const ORDERS: usize = 40;
    let lis = Sink::hl7().await?;
    let home = Home::with(&[
        ("orders", &answered_at_once(lis.address)),
        (
            "closed",
            "id = \"closed\"\n[source]\nformat = \"hl7v2\"\nchannel = {}\n",
        ),
    ])?;
    write(&home, "close.js", CLOSE)?;
    let punte = closed_under_kills(&home, ORDERS, |n| n * 1_900 % 37_000).await?;
    assert_eq!(punte.messages("&channel=orders@lis").await?.len(), ORDERS);
    let found = punte.search("ServiceRequest?_count=100").await?;
    let versions: Vec<&str> = found
        .iter()
        .filter_map(|order| order["meta"]["versionId"].as_str())
        .collect();
    assert_eq!(versions, ["2"; ORDERS], "placed once, closed once");
    assert!(ORDERS <= lis.received().len());
    Ok(())
}

/// Garbage is nobody's answer: nothing comes of it, and the right answer closes the order.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_over_mllp_closes_nothing() -> Result<()> {
    let lis = Sink::hl7().await?;
    let home = Home::with(&[
        (
            "orders",
            &answered_at_once(lis.address).replace("mllp = { ", "mllp = { reply_timeout = \"500ms\", "),
        ),
        (
            "closed",
            "id = \"closed\"\n[source]\nformat = \"hl7v2\"\nchannel = {}\n",
        ),
    ])?;
    write(&home, "close.js", CLOSE)?;
    let punte = home.serve()?;
    for manner in [Manner::Html, Manner::AnotherOnly] {
        lis.behave(manner);
        let before = lis.received().len();
        place(&punte, &order(before)).await?;
        eventually("it was sent twice", Duration::from_secs(30), async || {
            (before + 2 <= lis.received().len()).then_some(())
        })
        .await;
        let answers = punte.messages("&channel=orders@lis&state=routed").await?;
        assert_eq!(answers.len(), punte.messages("&channel=closed").await?.len());
        let open = punte.search("ServiceRequest?status=active").await?;
        assert_eq!(open.len(), 1, "nothing was closed by that");
        lis.behave(Manner::Polite);
        eventually("it is closed", Duration::from_secs(30), async || {
            let open = punte.search("ServiceRequest?status=active").await.ok()?;
            open.is_empty().then_some(())
        })
        .await;
    }
    assert_eq!(punte.messages("&channel=orders@lis").await?.len(), 2);
    Ok(())
}

/// What an answer speaks of is changed all the time by others: its steps run again, and nothing is sent again.
#[tokio::test(flavor = "multi_thread")]
async fn what_moves_under_an_answer_runs_its_steps_again_and_sends_nothing() -> Result<()> {
    const ORDERS: usize = 60;
    let lis = Sink::hl7().await?;
    let home = Home::with(&[
        ("orders", &answered_at_once(lis.address)),
        (
            "closed",
            "id = \"closed\"\n[source]\nformat = \"hl7v2\"\nchannel = {}\n",
        ),
        ("clinic", &scenes::chart_only()),
    ])?;
    write(&home, "close.js", CLOSE)?;
    let punte = home.serve()?;
    let feed = punte.listens("clinic");
    let others = tokio::spawn(async move {
        let mut sender = Sender::connect(feed).await?;
        for n in 0.. {
            sender
                .ask(scenes::register(&format!("R-{n}"), "P-1", &format!("Pop{n}")).as_bytes())
                .await?;
        }
        Ok::<(), anyhow::Error>(())
    });
    for n in 0..ORDERS {
        place(&punte, &order(n).replace(&format!("P-{n}^"), "P-1^")).await?;
    }
    eventually("all orders are closed", Duration::from_secs(60), async || {
        let closed = punte.messages("&channel=closed").await.ok()?;
        (ORDERS <= closed.len()).then_some(())
    })
    .await;
    others.abort();
    assert_eq!(lis.received().len(), ORDERS, "each was sent once");
    let client = reqwest::Client::builder().no_proxy().build()?;
    let metrics = client
        .get(format!("http://{}/metrics", punte.http))
        .bearer_auth(&punte.key)
        .send()
        .await?
        .text()
        .await?;
    let mut reruns = metrics
        .lines()
        .filter(|line| line.starts_with("punte_reruns_total"));
    assert!(
        reruns.any(|line| line.contains("orders@lis")),
        "nothing moved: the test shows nothing"
    );
    let found = punte.search("ServiceRequest?_count=100").await?;
    assert!(found.len() == ORDERS && found.iter().all(|order| order["status"] == "completed"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_that_a_fhir_server_gives_is_kept_and_the_next_update_goes_to_it() -> Result<()> {
    let server = Peer::start("fhir_store.py", &[])?;
    let home = Home::with(&[(
        "clinic",
        &format!(
            "id = \"clinic\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = true\n\
             [[destination]]\nname = \"server\"\nencode = \"fhir-r4\"\nfhir = {{ base = \"http://127.0.0.1:{}/fhir\" }}\n\
             retry = {{ first = \"50ms\", max = \"200ms\" }}\n\
             [[destination.response]]\nfilter = {{ \"resourceType\" = \"Bundle\" }}\n\
             [[destination.response]]\ndecode = \"fhir-r4\"\n\
             [[destination.response]]\napply = true\n",
            server.port
        ),
    )])?;
    let mut punte = home.serve()?;
    let patients = |server: &Peer| -> Vec<String> {
        let lines = server.lines();
        lines
            .into_iter()
            .filter(|line| line.starts_with("Patient "))
            .collect()
    };
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    sender.ask(scenes::register("1", "P-1", "Pop").as_bytes()).await?;
    let id = eventually("the server's id is kept", Duration::from_secs(30), async || {
        let found = punte.search("Patient?identifier=TEST%7CP-1").await.ok()?;
        let system = format!("http://127.0.0.1:{}/fhir/Patient", server.port);
        let identifiers = found.first()?["identifier"].as_array()?.clone();
        let there = identifiers
            .into_iter()
            .find(|one| one["system"] == system.as_str())?;
        there["value"].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(patients(&server), [format!("Patient {id} created")]);
    assert!(id.starts_with("srv"), "an id of the server's own: {id}");
    punte.kill();
    punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    // Another name, and another number: only the id says who that is.
    sender
        .ask(scenes::register("2", "P-1", "Popescu").as_bytes())
        .await?;
    let lines = eventually("the update has arrived", Duration::from_secs(30), async || {
        let lines = patients(&server);
        (2 <= lines.len()).then_some(lines)
    })
    .await;
    assert_eq!(lines[1], format!("Patient {id} by id"));
    let rows = eventually("its answer is known", Duration::from_secs(30), async || {
        let rows = punte.messages("&channel=clinic@server").await.ok()?;
        (2 <= rows.len()).then_some(rows)
    })
    .await;
    // The same id once more changes nothing.
    let shown = home.json(&[
        "messages",
        "show",
        rows[0]["id"].as_str().unwrap_or_default(),
        "--json",
    ])?;
    assert_eq!(shown["wrote"], Value::Array(vec![]));
    assert!(
        !server.lines().iter().any(|line| line.starts_with("refused")),
        "{:?}",
        server.lines()
    );
    Ok(())
}

/// Answers each request with the next of these bodies, the last one for ever.
async fn answers(bodies: Vec<(&'static str, Vec<u8>)>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let mut next = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![];
            let mut chunk = [0; 4096];
            while !request.windows(4).any(|four| four == b"\r\n\r\n") || !request.ends_with(b"}") {
                match stream.read(&mut chunk).await {
                    Ok(0) | Err(_) => break,
                    Ok(count) => request.extend_from_slice(&chunk[..count]),
                }
            }
            let (status, body) = &bodies[next.min(bodies.len() - 1)];
            next += 1;
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(body).await;
        }
    });
    Ok(address)
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_answers_are_kept_with_the_reason_and_nothing_is_sent_twice() -> Result<()> {
    let big = format!("{{\"id\":\"big\",\"text\":\"{}\"}}", "x".repeat(300 << 10)).into_bytes();
    let to = answers(vec![
        ("200 OK", big.clone()),
        ("200 OK", b"{\"id\":\"throws\"}".to_vec()),
        ("200 OK", b"{\"id\":\"loops\"}".to_vec()),
        ("200 OK", vec![]),
        ("422 Unprocessable Content", b"<html>no</html>".to_vec()),
        ("200 OK", b"{\"id\":\"fine\"}".to_vec()),
    ])
    .await?;
    let home = Home::with(&[
        (
            "web",
            &format!(
                "id = \"web\"\n[source]\nformat = \"json\"\nhttp = {{ listen = \"127.0.0.1:0\" }}\n[[destination]]\nname = \"far\"\nformat = \"json\"\n\
             http = {{ url = \"http://{to}/\" }}\non_error = \"dead\"\nretry = {{ first = \"50ms\", max = \"200ms\" }}\n\
             [[destination.response]]\nscript = \"answer.js\"\ntimeout = \"300ms\"\n\
             [[destination.response]]\nchannel = \"kept\"\n"
            ),
        ),
        (
            "kept",
            "id = \"kept\"\n[source]\nformat = \"json\"\nchannel = {}\n",
        ),
    ])?;
    write(
        &home,
        "answer.js",
        "export default function (message, context) {\n  const answer = message.json;\n  if (answer.id === \"throws\") throw new Error(\"not that one\");\n  while (answer.id === \"loops\") {}\n  answer.asked = JSON.parse(context.sent).n;\n}\n",
    )?;
    let punte = home.serve()?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    for n in 1..=6 {
        let url = format!("http://{}/", punte.listens("web"));
        client
            .post(url)
            .body(format!("{{\"n\":{n}}}"))
            .send()
            .await?
            .error_for_status()?;
    }
    let rows = eventually("all are sent", Duration::from_secs(30), async || {
        let rows = punte.messages("&channel=web").await.ok()?;
        let over = rows
            .iter()
            .filter(|row| matches!(row["deliveries"][0]["state"].as_str(), Some("sent" | "dead")));
        (over.count() == 6).then_some(rows)
    })
    .await;
    let states: Vec<&str> = rows
        .iter()
        .rev()
        .filter_map(|row| row["deliveries"][0]["state"].as_str())
        .collect();
    assert_eq!(states, ["sent", "sent", "sent", "sent", "dead", "sent"]);
    assert!(
        rows.iter().all(|row| row["deliveries"][0]["attempts"] == 1),
        "{rows:?}"
    );
    let answered = punte.messages("&channel=web@far").await?;
    let told: Vec<(String, String)> = answered
        .iter()
        .rev()
        .map(|row| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&row["state"]), text(&row["failure"]["why"]))
        })
        .collect();
    let states: Vec<&str> = told.iter().map(|(state, _)| state.as_str()).collect();
    assert_eq!(
        states,
        ["routed", "failed", "failed", "failed", "routed"],
        "{told:?}"
    );
    assert!(told[1].1.contains("answer.js:3:"), "{told:?}");
    assert!(told[2].1.contains("takes longer than its limit"), "{told:?}");
    // The big one is kept whole, and went on whole.
    let kept = eventually(
        "what was fine was handed on",
        Duration::from_secs(30),
        async || {
            let kept = punte.messages("&channel=kept").await.ok()?;
            (kept.len() == 2).then_some(kept)
        },
    )
    .await;
    assert!(big.len() as u64 <= kept[1]["length"].as_u64().unwrap_or_default());
    let raw = home.run(&[
        "messages",
        "show",
        answered[4]["id"].as_str().unwrap_or_default(),
        "--raw",
    ])?;
    assert_eq!(raw.stdout.trim_ascii_end(), big);
    let raw = home.run(&[
        "messages",
        "show",
        kept[0]["id"].as_str().unwrap_or_default(),
        "--raw",
    ])?;
    let fine: Value = serde_json::from_slice(&raw.stdout)?;
    assert_eq!(fine, serde_json::json!({ "id": "fine", "asked": 6 }));
    Ok(())
}

#[test]
fn a_golden_test_has_an_answer_and_what_comes_of_it() -> Result<()> {
    let home = Home::with(&[
        ("orders", &orders(1)),
        (
            "lis-acks",
            "id = \"lis-acks\"\nsource.mllp.listen = \"127.0.0.1:0\"\n",
        ),
        (
            "closed",
            "id = \"closed\"\n[source]\nformat = \"hl7v2\"\nchannel = {}\n",
        ),
    ])?;
    write(&home, "close.js", CLOSE)?;
    let sample = home.path().join("order.hl7");
    std::fs::write(&sample, order(1))?;
    let sample = sample.to_string_lossy().into_owned();
    assert!(
        home.run(&["test", "orders", "--add", "closed", &sample])?
            .status
            .success()
    );
    let folder = home.path().join("channels/orders.tests/closed");
    let answer = |code: &str| {
        format!("MSH|^~\\&|LIS|LAB|SENDER|TEST|20260505||ACK^O21^ACK|9|P|2.5.1\nMSA|{code}|Q-1\n")
    };
    std::fs::write(folder.join("response.lis.hl7"), answer("AA"))?;
    let unblessed = home.run(&["test", "orders"])?;
    assert_eq!(
        unblessed.status.code(),
        Some(1),
        "what comes of the answer is expected nowhere"
    );
    assert!(home.run(&["test", "orders", "--bless"])?.status.success());
    let read = |file: &str| std::fs::read_to_string(folder.join(file));
    assert_eq!(
        read("responded.lis.state.txt")?,
        "routed\nOrder.completed version 2\n"
    );
    assert!(read("responded.lis.changes.json")?.contains("\"O-1\""));
    assert_eq!(read("responded.lis.out.closed.hl7")?, answer("AA"));
    assert!(home.run(&["test", "orders"])?.status.success());
    // Another answer does something else.
    std::fs::write(folder.join("response.lis.hl7"), answer("AE"))?;
    let other = home.run(&["test", "orders"])?;
    let said = String::from_utf8(other.stdout)?;
    assert_eq!(other.status.code(), Some(1));
    assert!(
        said.contains("filtered") && said.contains("responded.lis.state.txt"),
        "{said}"
    );
    // By itself an answer says nothing; the check has nothing to say.
    let tried = home.run(&["try", "orders@lis", &sample])?;
    assert!(String::from_utf8(tried.stderr)?.contains("response.lis.hl7"));
    let checked = String::from_utf8(home.run(&["check"])?.stderr)?;
    assert!(!checked.contains("lis-acks"), "{checked}");
    // Nobody by that name answers.
    std::fs::rename(folder.join("response.lis.hl7"), folder.join("response.ris.hl7"))?;
    let said = String::from_utf8(home.run(&["test", "orders"])?.stdout)?;
    assert!(said.contains("no destination \"ris\""), "{said}");
    Ok(())
}
