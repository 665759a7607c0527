//! The command line as a person uses it.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::collect;
use e2e::mllp::Sender;
use e2e::program::{Home, binary};
use e2e::sink::Sink;

use crate::python::assert_valid_fhir;
use crate::scenes;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_demo_accounts_for_everything_and_notices_what_is_missing() -> Result<()> {
    let good = Command::new(binary())
        .args(["demo", "--once"])
        .stdin(Stdio::null())
        .output()?;
    assert!(
        good.status.success(),
        "{}\n{}",
        text(&good.stdout),
        text(&good.stderr)
    );
    assert!(text(&good.stdout).contains("are accounted for"));
    let faulty = Command::new(binary())
        .args(["demo", "--once", "--fault", "receiver-swallows-one"])
        .stdin(Stdio::null())
        .output()?;
    assert_eq!(faulty.status.code(), Some(1));
    let said = text(&faulty.stdout);
    assert!(
        said.contains("NOT accounted for") && said.contains("DEMO-11"),
        "{said}"
    );
    // The folder is gone.
    let folder = text(&good.stdout)
        .lines()
        .next()
        .and_then(|line| line.split_whitespace().nth(4).map(str::to_owned));
    let folder = folder.context("the demo says where its folder lies")?;
    assert!(
        !std::path::Path::new(&folder).exists(),
        "{folder} was not removed"
    );
    Ok(())
}

#[test]
fn check_says_every_problem_with_its_place() -> Result<()> {
    let wrong = "id = \"lab\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\ndecode = \"hl7v2\"\ncodec = \"x\"\n[[destination]]\nname = \"ris\"\nmllp.connect = \"127.0.0.1:1\"\nretry = { first = \"2 sec\" }\n";
    let home = Home::with(&[("lab", wrong)])?;
    let output = home.run(&["check"])?;
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("lab.toml:5:1 step[0].codec"), "{said}");
    assert!(
        said.contains("lab.toml:9:19 destination[0].retry.first") && said.contains("\"2s\""),
        "{said}"
    );
    let serve = home.run(&["serve"])?;
    assert_eq!(
        serve.status.code(),
        Some(1),
        "a wrong file is refused before anything starts"
    );
    let home = Home::with(&[("lab", &scenes::chart_only())])?;
    assert!(home.run(&["check"])?.status.success());
    Ok(())
}

/// What a terminal would obey comes from senders too, and is only shown; `--raw` is byte for byte.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_moves_no_terminal() -> Result<()> {
    let pictures =
        "id = \"pictures\"\nsource = { format = \"bytes\", http = { listen = \"127.0.0.1:0\" } }\n";
    let home = Home::with(&[("clinic", &scenes::chart_only()), ("pictures", pictures)])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    let nasty = scenes::register("T\u{1b}[2J1", "P-\u{9b}31m", "Pop\u{202e}ana");
    sender.ask(nasty.as_bytes()).await?;
    let zip = b"PK\x03\x04\x00\x1b[2J";
    let url = format!("http://{}/", punte.listens("pictures"));
    let client = reqwest::Client::new();
    let posted = client
        .post(&url)
        .header("content-type", "application/zip")
        .body(zip.to_vec())
        .send()
        .await?;
    assert!(posted.status().is_success());
    let ids = |channel: &str| -> Result<String> {
        let value = home.json(&["messages", "--channel", channel, "--json"])?;
        Ok(value["messages"][0]["id"].as_str().unwrap_or_default().to_owned())
    };
    let (message, picture) = (ids("clinic")?, ids("pictures")?);
    let is_tame = |out: &[u8]| {
        !text(out)
            .chars()
            .any(|c| c != '\n' && c.is_control() || c == '\u{202e}')
    };
    for args in [
        &["messages"][..],
        &["messages", "show", &message],
        &["messages", "show", &picture],
        &["parked"],
        &["where", "T\u{1b}[2J1"],
        &["where", "P-\u{9b}31m"],
    ] {
        let out = home.run(args)?;
        assert!(is_tame(&out.stdout), "{args:?}: {:?}", text(&out.stdout));
    }
    let shown = text(&home.run(&["messages", "show", &message])?.stdout);
    assert!(
        shown.contains("T\\x1b[2J1") && shown.contains("Pop\\u{202e}ana"),
        "{shown}"
    );
    let shown = text(&home.run(&["messages", "show", &picture])?.stdout);
    assert!(
        shown.ends_with("\n9 bytes of application/zip; --raw writes them\n"),
        "{shown}"
    );
    assert_eq!(
        home.run(&["messages", "show", &message, "--raw"])?.stdout,
        nasty.as_bytes()
    );
    assert_eq!(home.run(&["messages", "show", &picture, "--raw"])?.stdout, zip);

    // The answer to it is known by its sender.
    let file = home.path().join("nasty.hl7");
    std::fs::write(&file, scenes::register("T\u{1b}[2J2", "P-2", "Pop"))?;
    let to = punte.listens("clinic").to_string();
    let file = file.display().to_string();
    let sent = home.run(&["send", &file, &to, "--timeout", "10s"])?;
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    assert!(
        text(&sent.stdout).contains("MSA|AA|T\\x1b[2J2"),
        "{}",
        text(&sent.stdout)
    );
    Ok(())
}

#[test]
fn convert_refuses_a_charset_that_nobody_knows() -> Result<()> {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../samples/hl7v2/adt-a04-8859-2.hl7");
    let convert = |charset: &str| {
        Command::new(binary())
            .args(["convert", "--charset", charset, sample])
            .output()
    };
    let refused = convert("klingon")?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stdout.is_empty());
    let said = text(&refused.stderr);
    assert!(
        said.contains("\"klingon\" is no charset") && said.contains("iso-8859-16"),
        "{said}"
    );
    assert!(convert("8859/2")?.status.success());
    Ok(())
}

#[test]
fn convert_goes_on_past_what_it_cannot_read() -> Result<()> {
    let home = Home::with(&[])?;
    let batch = format!(
        "FHS|^~\\&|LIS|LAB\rBHS|^~\\&|LIS|LAB\r{}{}TXA|1|CN\r{}BTS|3\rFTS|1\r",
        scenes::result("1", "P-1", "C-1", "5.40"),
        scenes::msh("MDM^T02^MDM_T02", "2"),
        scenes::result("3", "P-2", "C-2", "0.10")
    );
    let mut child = Command::new(binary())
        .args(["convert", "--from", "hl7v2", "--to", "fhir-r4", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("stdin")?.write_all(batch.as_bytes())?;
    let output = child.wait_with_output()?;
    assert_eq!(output.status.code(), Some(1));
    let documents: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    assert_eq!(documents.len(), 2, "one JSON document a line");
    assert!(text(&output.stderr).contains("MSH-9"), "{}", text(&output.stderr));
    assert_valid_fhir(&documents)?;
    let file = home.path().join("no.hl7");
    std::fs::write(&file, "this is no message\n")?;
    let output = home.run(&["convert", &file.display().to_string()])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("no.hl7:1"),
        "{}",
        text(&output.stderr)
    );
    let output = home.run(&["convert", &home.path().join("absent.hl7").display().to_string()])?;
    assert_eq!(output.status.code(), Some(1));
    Ok(())
}

#[test]
fn losses_name_what_was_not_carried() -> Result<()> {
    let home = Home::with(&[])?;
    let file = home.path().join("z.hl7");
    std::fs::write(
        &file,
        format!("{}ZZZ|1|secret handshake\r", scenes::register("1", "P-1", "Pop")),
    )?;
    let output = home.run(&["convert", "--losses", &file.display().to_string()])?;
    assert!(output.status.success());
    let said = text(&output.stderr);
    assert!(
        said.contains("ZZZ-2") && said.contains("secret handshake"),
        "{said}"
    );
    // A visit of a patient of whom nothing is said is left out of the bundle, and told.
    let monitor = "OBR|1|1^M|2^M|HR^Pulse^L|||20260512\rOBX|1|NM|HR^Pulse^L||60|/min|||||F\r";
    std::fs::write(
        &file,
        format!("{}PID|1\rPV1||I\r{monitor}", scenes::msh("ORU^R01^ORU_R01", "2")),
    )?;
    let output = home.run(&["convert", "--losses", &file.display().to_string()])?;
    let said = text(&output.stderr);
    assert!(
        output.status.success() && said.contains("encounter  \"\"  (left out"),
        "{said}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn send_prints_the_answer_and_says_by_its_exit_code() -> Result<()> {
    let home = Home::with(&[("clinic", &scenes::chart_only())])?;
    let punte = home.serve()?;
    let address = punte.listens("clinic").to_string();
    let good = home.path().join("good.hl7");
    std::fs::write(&good, scenes::register("1", "P-1", "Pop"))?;
    let bad = home.path().join("bad.hl7");
    std::fs::write(&bad, scenes::msh("MDM^T02^MDM_T02", "2"))?;
    let run = |args: Vec<String>| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        home.run(&args)
    };
    let output = run(vec!["send".into(), good.display().to_string(), address.clone()])?;
    assert!(
        output.status.success() && text(&output.stdout).contains("MSA|AA|1"),
        "{}",
        text(&output.stdout)
    );
    let output = run(vec!["send".into(), bad.display().to_string(), address])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("MSA|AR|2"));
    let output = run(vec![
        "send".into(),
        good.display().to_string(),
        "127.0.0.1:1".into(),
    ])?;
    assert_eq!(output.status.code(), Some(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_listed_and_shown_with_and_without_a_running_engine() -> Result<()> {
    let sink = Sink::hl7().await?;
    let portal = Sink::fhir().await?;
    let home = Home::with(&[("clinic", &scenes::clinic(portal.address, sink.address))])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    sender
        .ask(scenes::result("L1", "P-77", "C-1", "5.40").as_bytes())
        .await?;
    sender
        .ask(scenes::register("L2", "P-78", "Pop").as_bytes())
        .await?;
    sender
        .ask(scenes::msh("MDM^T02^MDM_T02", "L3").as_bytes())
        .await?;
    e2e::eventually("both are sent", Duration::from_secs(20), async || {
        let rows = punte.messages("&state=sent").await.ok()?;
        (rows.len() == 2 && sink.received().len() == 2 && portal.received().len() == 2).then_some(())
    })
    .await;
    let check = |home: &Home, is_running: bool| -> Result<()> {
        let count = |args: &[&str]| -> Result<usize> {
            let value = home.json(&[&["messages", "--json"], args].concat())?;
            Ok(value["messages"].as_array().map(Vec::len).unwrap_or(0))
        };
        assert_eq!(count(&[])?, 3);
        assert_eq!(count(&["--channel", "clinic", "--state", "failed"])?, 1);
        assert_eq!(count(&["--patient", "P-77"])?, 1);
        assert_eq!(count(&["--patient", "P-77^TEST"])?, 1);
        assert_eq!(count(&["--control-id", "L2"])?, 1);
        assert_eq!(count(&["--order", "C-1"])?, 1);
        assert_eq!(count(&["--since", "1h"])?, 3);
        assert_eq!(count(&["--until", "1h"])?, 0);
        let value = home.json(&["messages", "--control-id", "L1", "--json"])?;
        let id = value["messages"][0]["id"].as_str().unwrap_or_default().to_owned();
        let raw = home.run(&["messages", "show", &id, "--raw"])?;
        assert_eq!(text(&raw.stdout), scenes::result("L1", "P-77", "C-1", "5.40"));
        let whole = home.json(&["messages", "show", &id, "--json"])?;
        assert!(
            whole["changes"]["changes"]
                .as_array()
                .is_some_and(|changes| !changes.is_empty())
        );
        assert!(whole["wrote"].as_array().is_some_and(|wrote| !wrote.is_empty()));
        assert_eq!(whole["deliveries"].as_array().map(Vec::len), Some(2));
        assert_eq!(whole["deliveries"][0]["attempt_list"][0]["verdict"], "accepted");
        let shown = home.run(&["messages", "show", &id])?;
        assert!(
            text(&shown.stdout).contains("delivery"),
            "{}",
            text(&shown.stdout)
        );
        let failed = home.run(&["messages", "--state", "failed"])?;
        assert!(
            text(&failed.stdout).contains("MSH-9"),
            "why it failed and where: {}",
            text(&failed.stdout)
        );
        assert_eq!(
            home.run(&["messages", "--state", "nonsense"])?.status.code(),
            Some(1)
        );
        let unknown = home.run(&["messages", "--channel", "clinics"])?;
        assert_eq!(unknown.status.code(), Some(1));
        assert_eq!(text(&unknown.stdout), "");
        assert!(
            text(&unknown.stderr).contains("there is no channel \"clinics\"; did you mean \"clinic\"?"),
            "{}",
            text(&unknown.stderr)
        );
        for words in [
            &[
                "messages",
                "replay",
                "--channel",
                "clinics",
                "--state",
                "failed",
                "--yes",
            ][..],
            &[
                "messages",
                "release",
                "--channel",
                "clinics",
                "--state",
                "held",
                "--reason",
                "x",
                "--yes",
            ],
            &["try", "clinics", "--since", "1h"],
        ] {
            let output = home.run(words)?;
            // Beside no engine nothing is replayed and nothing compared at all.
            let needs_one = !is_running && words[1] != "release";
            let told = match needs_one {
                true => "no engine runs",
                false => "there is no channel \"clinics\"; did you mean \"clinic\"?",
            };
            assert_eq!(output.status.code(), Some(1), "{words:?}");
            assert!(
                text(&output.stderr).contains(told),
                "{words:?}: {}",
                text(&output.stderr)
            );
        }
        let quiet = home.run(&["messages", "--channel", "clinic", "--until", "1h"])?;
        assert_eq!(text(&quiet.stdout), "No messages.\n");
        assert!(quiet.status.success());
        assert_eq!(
            home.run(&["messages", "show", "00000000-0000-7000-8000-000000000000"])?
                .status
                .code(),
            Some(1)
        );
        assert!(home.run(&["channels", "--json"])?.status.success());
        assert!(home.run(&["parked", "--json"])?.status.success());
        Ok(())
    };
    check(&home, true)?;
    assert!(punte.stop()?.success());
    check(&home, false)
}

#[tokio::test(flavor = "multi_thread")]
async fn try_shows_each_step_and_writes_nothing() -> Result<()> {
    let sink = Sink::hl7().await?;
    let portal = Sink::fhir().await?;
    let home = Home::with(&[("clinic", &scenes::clinic(portal.address, sink.address))])?;
    let file = home.path().join("m.hl7");
    std::fs::write(&file, scenes::result("T1", "P-1", "C-1", "5.40"))?;
    let file = file.display().to_string();
    let tried = home.json(&["try", "clinic", &file, "--json"])?;
    assert_eq!(tried["state"], "routed");
    assert!(
        tried["steps"].as_array().is_some_and(|steps| 4 <= steps.len()),
        "{tried}"
    );
    let punte = home.serve()?;
    let tried = home.json(&["try", "clinic", &file, "--json"])?;
    assert_eq!(tried["state"], "routed");
    assert!(punte.messages("").await?.is_empty());
    assert!(punte.search("Patient").await?.is_empty());
    assert!(sink.received().is_empty());
    assert_eq!(home.run(&["try", "nobody", &file])?.status.code(), Some(1));
    Ok(())
}

#[test]
fn the_master_key_is_refused_inside_the_home_folder() -> Result<()> {
    let home = Home::with(&[("clinic", &scenes::chart_only())])?;
    let inside = home.path().join("data").join("k");
    let output = home
        .command(&["serve"])
        .env("PUNTE_KEY_FILE", &inside)
        .stdin(Stdio::null())
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("may not lie inside"),
        "{}",
        text(&output.stderr)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_data_folder_shows_nothing() -> Result<()> {
    let home = Home::with(&[("clinic", &scenes::chart_only())])?;
    let punte = home.serve_with(&[("PUNTE_LOG", "trace,hyper=info,h2=info")])?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    let personal = "Zugravescu";
    let text_of = scenes::result("Z1", "CHART-4711", "ORDER-0815", "77.125")
        .replace("Pop^Ana", &format!("{personal}^Xenia"));
    sender.ask(text_of.as_bytes()).await?;
    let long = format!(
        "{}NTE|1||{personal} {}\r",
        scenes::register("Z2", "CHART-4711", personal),
        "lung ".repeat(80_000)
    );
    sender.ask(long.as_bytes()).await?;
    punte.search(&format!("Patient?family={personal}")).await?;
    assert!(punte.stop()?.success());
    let mut files = vec![];
    collect(&home.path().join("data"), &mut files)?;
    files.push(home.path().join("log.txt"));
    assert!(3 <= files.len());
    for file in files {
        let bytes = std::fs::read(&file)?;
        for secret in [
            personal,
            "Xenia",
            "CHART-4711",
            "ORDER-0815",
            "77.125",
            "19800514",
            "1980-05-14",
        ] {
            let found = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} stands in {}", file.display());
        }
    }
    Ok(())
}

#[test]
fn help_teaches() -> Result<()> {
    for args in [
        &["--help"][..],
        &["messages", "--help"],
        &["convert", "--help"],
        &["demo", "--help"],
        &["backup", "--help"],
        &["restore", "--help"],
    ] {
        let output = Command::new(binary()).args(args).output()?;
        assert!(output.status.success());
        assert!(text(&output.stdout).len() > 300);
    }
    assert_eq!(
        Command::new(binary()).arg("nonsense").output()?.status.code(),
        Some(2)
    );
    Ok(())
}
