//! Scripts that call outside, and scripts that are an end of a channel, against a server of Python's standard library.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use e2e::mllp::{Sender, field};
use e2e::pki::{Authority, valid};
use e2e::program::{Home, Punte};
use e2e::sink::Sink;
use serde_json::Value;

use crate::python::root;
use crate::scenes;
use crate::scripts::{channel, newest, script, until};

/// A Python server, and what it was asked.
struct Server {
    child: Child,
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(args: &[String]) -> Result<Server> {
        let python = std::env::var_os("PUNTE_TEST_PYTHON").context("PUNTE_TEST_PYTHON is not set")?;
        let mut child = Command::new(python)
            .arg(root().join("tests/python/http_server.py"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut port = String::new();
        stdout.read_line(&mut port)?;
        let asked = Arc::new(Mutex::new(vec![]));
        let kept = asked.clone();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Ok(Server {
            child,
            port: port.trim().parse()?,
            asked,
        })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the scripts of a channel may call.
fn granted(port: u16, more: &str) -> String {
    format!(
        "\n[http.erp]\nbase = \"http://127.0.0.1:{port}/api\"\nmethods = [\"GET\", \"POST\"]\nauth = {{ bearer_env = \"PUNTE_TEST_ERP\" }}\n{more}"
    )
}

const SESAME: [(&str, &str); 2] = [("PUNTE_TEST_ERP", "sesame"), ("PUNTE_LOG", "debug")];

async fn told(punte: &Punte, channel: &str, id: &str, family: &str) -> Result<(String, Value)> {
    let mut sender = Sender::connect(punte.listens(channel)).await?;
    let answer = sender.ask(scenes::register(id, "P-1", family).as_bytes()).await?;
    Ok((field(&answer, "MSA", 1), newest(punte, channel).await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_asks_whom_the_channel_grants_and_nobody_else() -> Result<()> {
    let server = Server::start(&[])?;
    let sink = Sink::hl7().await?;
    let text = channel("ward", "timeout = \"2s\"", sink.address) + &granted(server.port, "");
    let home = Home::with(&[("ward", &text)])?;
    script(
        &home,
        "ward.js",
        "export default function (message, context) {\n\
           const erp = context.http('erp');\n\
           const path = message.get('PID-5.1');\n\
           const answer = path.startsWith('POST ') ? erp.post(path.slice(5), { a: 'ș' }) : erp.get(path);\n\
           message.set('MSH-13', answer.ok ? answer.json.code ?? answer.json.id : answer.status);\n\
         }\n",
    )?;
    // Tried, nobody is called.
    let file = home.path().join("one.hl7");
    std::fs::write(&file, scenes::register("T", "P-1", "wards/7"))?;
    let output = home
        .command(&["try", "ward", &file.display().to_string()])
        .envs(SESAME)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        said.contains("a message that is tried is sent to nobody"),
        "{said}"
    );
    ensure!(server.asked().is_empty());

    let punte = home.serve_with(&SESAME)?;
    let (ack, _) = told(&punte, "ward", "1", "wards/7?x=ă").await?;
    assert_eq!(ack, "AA");
    let (ack, _) = told(&punte, "ward", "2", "status/409").await?;
    assert_eq!(ack, "AA");
    // No redirect is followed.
    let (ack, _) = told(&punte, "ward", "3", "away").await?;
    assert_eq!(ack, "AA");
    until("they are delivered", || Ok(3 <= sink.received().len())).await?;
    let said: Vec<String> = sink
        .received()
        .iter()
        .map(|body| field(body, "MSH", 13))
        .collect();
    assert_eq!(said, ["W-7", "409", "302"]);
    let asked = server.asked();
    assert_eq!(
        asked,
        [
            "GET /api/wards/7?x=%C4%83 known 0 ",
            "GET /api/status/409 known 0 ",
            "GET /api/away known 0 "
        ]
    );

    for (id, path, why) in [
        ("4", "../admin", "leads out of the base"),
        ("5", "wards/..%2f..%2fadmin", "leads out of the base"),
        ("6", "slow", "No answer in time"),
        ("7", "cut", "ended before the answer came"),
        ("8", "long", "is longer than 1 MB"),
    ] {
        let begun = std::time::Instant::now();
        let (ack, failed) = told(&punte, "ward", id, path).await?;
        assert_eq!(ack, "AE", "{path}");
        let told = failed["failure"]["why"].as_str().unwrap_or_default();
        assert!(
            told.starts_with("ward.js:4:") && told.contains(why),
            "{path}: {told}"
        );
        // The limit of the script's time holds in a call too.
        assert!(begun.elapsed() < std::time::Duration::from_secs(4), "{path}");
    }
    let (ack, _) = told(&punte, "ward", "9", "POST orders").await?;
    assert_eq!(ack, "AA");
    assert_eq!(
        server.asked().last().map(String::as_str),
        Some("POST /api/orders known 10 {\"a\":\"ș\"}")
    );
    assert!(!server.asked().iter().any(|line| line.contains("admin")));
    // Neither the secret nor what was asked stands in the log.
    let log = home.log();
    assert!(
        log.contains("A script called.") && !log.contains("sesame") && !log.contains("/api/wards"),
        "{log}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_says_what_became_of_each_delivery() -> Result<()> {
    let server = Server::start(&[])?;
    let text = format!(
        "id = \"erp\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[destination]]\nname = \"erp\"\nformat = \"hl7v2\"\nscript = {{ file = \"deliver.js\", timeout = \"2s\" }}\nretry = {{ first = \"50ms\", max = \"100ms\" }}\non_error = \"dead\"\n{}",
        granted(server.port, "")
    );
    let home = Home::with(&[("erp", &text)])?;
    script(
        &home,
        "deliver.js",
        "export default function (message, context) {\n\
           const path = message.get('PID-5.1');\n\
           if (path === 'endless') for (;;) ;\n\
           if (path === 'throws') throw new Error('a fault of its own');\n\
           if (path === 'nothing') return;\n\
           const answer = context.http('erp').post(path, { order: context.delivery });\n\
           if (answer.status === 409) return { refused: 'there is one already' };\n\
           if (answer.status === 503) return { retry: 'busy' };\n\
           if (answer.status === 500) throw new Error('after the call');\n\
           return { accepted: answer.json.id };\n\
         }\n",
    )?;
    let punte = home.serve_with(&SESAME)?;
    let mut sender = Sender::connect(punte.listens("erp")).await?;
    let mut state = async |id: &str, path: &str, wanted: &[&str]| -> Result<Value> {
        let answer = sender.ask(scenes::register(id, "P-1", path).as_bytes()).await?;
        ensure!(field(&answer, "MSA", 1) == "AA");
        let message = newest(&punte, "erp").await?;
        let id = message["id"].as_str().context("an id")?.to_owned();
        let begun = std::time::Instant::now();
        loop {
            let (_, detail) = punte.get(&format!("/admin/messages/{id}")).await?;
            let delivery = detail["deliveries"][0].clone();
            let is_so = wanted.contains(&delivery["state"].as_str().unwrap_or_default());
            if is_so
                && delivery["attempt_list"]
                    .as_array()
                    .is_some_and(|attempts| !attempts.is_empty())
            {
                return Ok(delivery);
            }
            ensure!(begun.elapsed().as_secs() < 20, "{path}: {detail}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let sent = state("1", "orders", &["sent"]).await?;
    ensure!(sent.to_string().contains("A-77"), "{sent}");
    let refused = state("2", "status/409", &["dead"]).await?;
    ensure!(refused.to_string().contains("there is one already"), "{refused}");
    let fault = state("3", "throws", &["dead"]).await?;
    ensure!(
        fault.to_string().contains("deliver.js:4:") && fault.to_string().contains("a fault of its own"),
        "{fault}"
    );
    let silent = state("4", "nothing", &["dead"]).await?;
    ensure!(
        silent
            .to_string()
            .contains("does not say what became of the delivery"),
        "{silent}"
    );
    let retried = state("5", "status/503", &["retrying"]).await?;
    ensure!(retried.to_string().contains("busy"), "{retried}");
    let asked = server.asked();
    ensure!(asked[0].starts_with("POST /api/orders known "), "{asked:?}");
    ensure!(
        !asked
            .iter()
            .any(|line| line.contains("endless") || line.contains("throws") || line.contains("nothing")),
        "{asked:?}"
    );
    Ok(())
}

/// What follows where it is not known: each in a channel of its own, since the queue waits.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_destination_can_not_know_is_unsure_or_tried_again() -> Result<()> {
    let server = Server::start(&[])?;
    let cases = [
        // Sent, and then it fails, or no answer comes: it may have been taken.
        ("after", "status/500", "held", "unsure"),
        ("cut", "cut", "held", "unsure"),
        // Nobody was called yet.
        ("endless", "endless", "retrying", "retry"),
        // Nobody was reached.
        ("gone", "orders", "retrying", "retry"),
    ];
    let channels: Vec<(String, String)> = cases
        .iter()
        .map(|(id, ..)| {
            let port = if *id == "gone" { 9 } else { server.port };
            let text = format!(
                "id = \"{id}\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[destination]]\nname = \"erp\"\nformat = \"hl7v2\"\nscript = {{ file = \"deliver.js\", timeout = \"1s\" }}\n{}",
                granted(port, "")
            );
            ((*id).to_owned(), text)
        })
        .collect();
    let named: Vec<(&str, &str)> = channels
        .iter()
        .map(|(id, text)| (id.as_str(), text.as_str()))
        .collect();
    let home = Home::with(&named)?;
    script(
        &home,
        "deliver.js",
        "export default function (message, context) {\n\
           const path = message.get('PID-5.1');\n\
           if (path === 'endless') for (;;) ;\n\
           const answer = context.http('erp').post(path, 'x');\n\
           if (answer.status === 500) throw new Error('after the call');\n\
           return { accepted: true };\n\
         }\n",
    )?;
    let punte = home.serve_with(&SESAME)?;
    for (id, path, state, verdict) in cases {
        let (ack, message) = told(&punte, id, "1", path).await?;
        assert_eq!(ack, "AA");
        let id = message["id"].as_str().context("an id")?.to_owned();
        let begun = std::time::Instant::now();
        loop {
            let (_, detail) = punte.get(&format!("/admin/messages/{id}")).await?;
            let delivery = &detail["deliveries"][0];
            if delivery["state"] == state && delivery["attempt_list"][0]["verdict"] == verdict {
                break;
            }
            ensure!(begun.elapsed().as_secs() < 20, "{id}: {detail}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_made_by_tls_and_the_certificate_checked() -> Result<()> {
    let sink = Sink::hl7().await?;
    let home = Home::with(&[])?;
    let folder = home.path().join("channels");
    let (ours, foreign) = (Authority::new("Ours")?, Authority::new("Foreign")?);
    ours.write(&folder, "ca.pem")?;
    let sign = |by: &Authority, name: &str| {
        by.sign(&folder, name, valid("localhost"))
            .map_err(|error| anyhow::anyhow!("{error}"))
    };
    sign(&ours, "ours")?;
    sign(&foreign, "foreign")?;
    let args = |name: &str| {
        ["pem", "key"].map(|ending| folder.join(format!("{name}.{ending}")).display().to_string())
    };
    let (right, wrong) = (Server::start(&args("ours"))?, Server::start(&args("foreign"))?);
    for (id, port) in [("right", right.port), ("wrong", wrong.port)] {
        let text = format!(
            "{}\n[http.erp]\nbase = \"https://localhost:{port}/api\"\ntls = {{ ca = \"ca.pem\" }}\n",
            channel(id, "timeout = \"5s\"", sink.address)
        );
        home.channel(id, &text)?;
        script(
            &home,
            &format!("{id}.js"),
            "export default (message, context) => {\n  message.set('MSH-13', context.http('erp').get('wards/7').json.code);\n};\n",
        )?;
    }
    let punte = home.serve()?;
    assert_eq!(told(&punte, "right", "1", "Pop").await?.0, "AA");
    let (ack, failed) = told(&punte, "wrong", "1", "Pop").await?;
    assert_eq!(ack, "AE");
    let why = failed["failure"]["why"].as_str().unwrap_or_default();
    assert!(why.contains("certificate"), "{why}");
    assert!(wrong.asked().is_empty() && right.asked().len() == 1);
    Ok(())
}

/// What `punte check` refuses; all of this is in it.
fn check_says(home: &Home, all: &[&str]) -> Result<String> {
    let output = home.run(&["check"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    for told in all {
        assert!(said.contains(told), "{told}\n{said}");
    }
    Ok(said)
}

#[test]
fn check_tells_what_is_wrong_with_grants() -> Result<()> {
    let home = Home::with(&[(
        "ward",
        &(channel("ward", "", "127.0.0.1:9".parse()?)
            + "\n[http.erp]\nbase = \"ftp://x\"\nmethods = [\"get\"]\n[http.other]\nbase = \"https://a.example\"\nauth = { bearer = \"geheim\" }\n[http.\"a b\"]\nurl = \"x\"\n"),
    )])?;
    script(
        &home,
        "ward.js",
        "export default (message, context) => {\n  context.http('epr').get('x');\n};\n",
    )?;
    let said = check_says(
        &home,
        &[
            "http.erp.base  \"ftp://x\" is no http or https address",
            "http.erp.methods[0]  \"get\" is no method known here",
            "http.other.auth.bearer  a secret does not stand in a channel file",
            "ward.js:2:16 the channel has no grant to call \"epr\" (there are: a b, erp, other)",
        ],
    )?;
    assert!(!said.contains("geheim"), "{said}");
    Ok(())
}

/// A channel whose source is a script.
fn fetching(id: &str, port: u16) -> String {
    format!(
        "id = \"{id}\"\n[source]\nformat = \"json\"\nscript = {{ file = \"{id}.js\", every = \"1s\", timeout = \"5s\" }}\n[[destination]]\nname = \"out\"\nfile = {{ folder = \"../out\", name = \"{id}.txt\", append = true }}\n{}",
        granted(port, "")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_fetches_each_row_once_and_goes_on_where_it_was() -> Result<()> {
    let server = Server::start(&[])?;
    let home = Home::with(&[
        ("rows", &fetching("rows", server.port)),
        ("same", &fetching("same", server.port)),
        ("broken", &fetching("broken", server.port)),
    ])?;
    std::fs::create_dir(home.path().join("out"))?;
    script(
        &home,
        "rows.js",
        "export default function (message, context) {\n\
           const answer = context.http('erp').get(`changes?since=${context.cursor ?? 0}`);\n\
           const { rows } = answer.json;\n\
           return { messages: rows.map((row) => ({ id: row.nr, body: row })), cursor: rows.at(-1)?.nr };\n\
         }\n",
    )?;
    // Without a cursor the same rows come again and again; each is known.
    script(
        &home,
        "same.js",
        "export default (message, context) => context.http('erp').get('changes?since=3').json.rows.map((row) => ({ id: row.nr, body: row }));\n",
    )?;
    script(
        &home,
        "broken.js",
        "export default function (message, context) {\n  const answer = context.http('erp').get('status/500');\n  if (!answer.ok) context.fail(`the ERP says ${answer.status}`);\n}\n",
    )?;
    let lines = |id: &str| -> Vec<String> {
        let text = std::fs::read_to_string(home.path().join(format!("out/{id}.txt"))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let mut punte = home.serve_with(&SESAME)?;
    // Killed again and again while it fetches.
    for count in 1..=3 {
        until("rows come", || Ok(count <= lines("rows").len())).await?;
        punte.kill();
        punte = home.serve_with(&SESAME)?;
    }
    until("all rows are there", || Ok(5 <= lines("rows").len())).await?;
    let before = server.asked().len();
    until("it fetches on", || Ok(before + 6 <= server.asked().len())).await?;
    let expected: Vec<String> = (1..=5)
        .map(|n| format!("{{\"nr\":{n},\"name\":\"Row {n}\"}}"))
        .collect();
    assert_eq!(lines("rows"), expected);
    assert_eq!(lines("same"), expected[3..]);
    let last = server.asked();
    let last = last
        .iter()
        .rfind(|line| !line.contains("since=3") && line.contains("since="));
    assert_eq!(
        last.map(String::as_str),
        Some("GET /api/changes?since=5 known 0 ")
    );
    let rows = punte.messages("&channel=rows").await?;
    assert_eq!(rows.len(), 5, "{rows:?}");
    let same = punte.messages("&channel=same").await?;
    assert_eq!(same.len(), 2);
    assert!(
        same.iter()
            .all(|row| 1 <= row["repeats"].as_u64().unwrap_or_default()),
        "{same:?}"
    );

    // What fails is kept with its reason: once for each run of the program, however often it fails.
    let broken = punte.messages("&channel=broken").await?;
    assert!((1..=4).contains(&broken.len()), "{broken:?}");
    let failed = newest(&punte, "broken").await?;
    let why = failed["failure"]["why"].as_str().unwrap_or_default();
    assert!(
        failed["state"] == "failed" && why.contains("broken.js:3:") && why.contains("the ERP says 500"),
        "{failed}"
    );
    assert!(!home.log().contains("the ERP says"), "{}", home.log());
    Ok(())
}

#[test]
fn check_tells_what_is_wrong_with_scripts_as_ends() -> Result<()> {
    let text = "id = \"ends\"\n[source]\nformat = \"json\"\nscript = { file = \"gone.js\", every = \"1s\", cron = \"* * * * *\", timeout = \"2h\" }\n[[destination]]\nname = \"a\"\nscript = \"gone.js\"\nformat = \"json\"\n[[destination]]\nname = \"b\"\nformat = \"json\"\nscript = { file = \"syntax.js\", fast = true }\n[[destination]]\nname = \"c\"\nformat = \"json\"\nscript = { file = \"syntax.js\" }\n";
    let home = Home::with(&[("ends", text)])?;
    script(
        &home,
        "syntax.js",
        "export default function () {\n  let x = ;\n}\n",
    )?;
    check_says(
        &home,
        &[
            "ends.toml:4:51 source.script.cron  stands beside `every`",
            "source.script.timeout  a script has from \"10ms\" to \"1m\"",
            "ends.toml:7:10 destination[0].script  there is no file",
            "destination[1].script.fast  not known here",
            "syntax.js:2:11 SyntaxError",
        ],
    )?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_asks_a_destination_and_goes_on_with_the_answer() -> Result<()> {
    let server = Server::start(&[])?;
    let sink = Sink::hl7().await?;
    let text = format!(
        "{}\n[[destination]]\nname = \"wards\"\nwhen = \"asked\"\nformat = \"json\"\nhttp.url = \"http://127.0.0.1:{}/api\"\n[ask.wards]\nwithin = \"2s\"\n[counter.sample]\n{}",
        channel("ward", "timeout = \"5s\"", sink.address),
        server.port,
        granted(server.port, "")
    );
    let home = Home::with(&[("ward", &text)])?;
    // It runs twice, and does nothing twice: a call is made once, a number taken once.
    script(
        &home,
        "ward.js",
        "export default function (message, context) {\n\
           const number = context.counter('sample').next();\n\
           const order = context.http('erp').post('orders', 'x').json.id;\n\
           const found = context.ask('wards', '/' + message.get('PID-5.1'));\n\
           message.set('MSH-13', [number, order, JSON.parse(found).code].join(' '));\n\
         }\n",
    )?;
    let punte = home.serve_with(&SESAME)?;
    let (ack, message) = told(&punte, "ward", "1", "wards/7").await?;
    assert_eq!(ack, "AA", "{message}");
    let (ack, _) = told(&punte, "ward", "2", "wards/8").await?;
    assert_eq!(ack, "AA");
    until("they are delivered", || Ok(2 <= sink.received().len())).await?;
    let said: Vec<String> = sink
        .received()
        .iter()
        .map(|body| field(body, "MSH", 13))
        .collect();
    assert_eq!(said, ["1 A-77 W-7", "2 A-77 W-8"]);
    let asked = server.asked();
    let expected = [
        "POST /api/orders known 1 x",
        "GET /api/wards/7 - 0 ",
        "POST /api/orders known 1 x",
        "GET /api/wards/8 - 0 ",
    ];
    assert_eq!(asked, expected);
    // Recorded as any other question that goes out.
    assert_eq!(punte.messages("&channel=ward&state=answered").await?.len(), 2);

    // No answer that can be believed fails the message, and takes no number.
    let (ack, _) = told(&punte, "ward", "3", "status/500").await?;
    assert_eq!(ack, "AE");
    let failed = punte.messages("&channel=ward&state=failed").await?;
    let why = failed[0]["failure"]["why"].as_str().unwrap_or_default();
    assert!(why.starts_with("ward.js:4:") && why.contains("wards"), "{why}");
    assert_eq!(told(&punte, "ward", "4", "wards/9").await?.0, "AA");
    until("it is delivered", || Ok(3 <= sink.received().len())).await?;
    assert_eq!(field(&sink.received()[2], "MSH", 13), "3 A-77 W-9");

    // Only what the channel lets it ask.
    let other = text.replace("[ask.wards]", "[ask.wrads]");
    home.channel("ward", &other)?;
    let output = home.run(&["check"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("ask.wrads") && said.contains("\"wards\""), "{said}");
    assert!(
        said.contains("ward.js:4:27 the channel has no grant to ask \"wards\""),
        "{said}"
    );
    Ok(())
}
