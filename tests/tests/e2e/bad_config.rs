//! Bad configuration: each is a clear refusal, or a loud warning, at start, with nothing changed.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use e2e::mllp::Sender;
use e2e::pki::{Authority, expired, valid};
use e2e::program::Home;
use serde_json::Value;

use crate::scenes::message;

const ADT: &str = "id = \"adt\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[destination]]\nname = \"ris\"\nmllp.connect = \"127.0.0.1:1\"\n";

/// Every file of a folder with its bytes; SQLite's index of its log is made anew by whoever opens it.
fn bytes(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let (mut folders, mut files) = (vec![folder.to_owned()], BTreeMap::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("punte.db-shm") && !path.ends_with("log.txt") {
                files.insert(path.display().to_string(), std::fs::read(&path)?);
            }
        }
    }
    Ok(files)
}

/// A home in which an engine ran, with a message in its store.
async fn used() -> Result<Home> {
    let home = Home::with(&[("adt", ADT)])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("adt")).await?;
    sender.ask(message("C1").as_bytes()).await?;
    punte.stop()?;
    Ok(home)
}

/// What a start that must fail says; nothing in the folder has changed.
fn refused(home: &Home, env: &[(&str, &str)]) -> Result<String> {
    let before = bytes(home.path())?;
    let mut command = home.command(&["serve", "--http", "127.0.0.1:0"]);
    let output = command.envs(env.iter().copied()).output()?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let after = bytes(home.path())?;
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    for (file, bytes) in &before {
        assert!(after.get(file) == Some(bytes), "{file} has changed");
    }
    Ok(String::from_utf8(output.stderr)?)
}

fn database(home: &Home, sql: &str) -> Result<()> {
    let python = std::env::var_os("PUNTE_TEST_PYTHON").context("PUNTE_TEST_PYTHON is not set")?;
    let code = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute(sys.argv[2])\nc.commit()\nc.close()";
    let file = home.path().join("data/punte.db");
    let status = Command::new(python)
        .args(["-c", code])
        .arg(file)
        .arg(sql)
        .status()?;
    assert!(status.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_right_is_refused_and_nothing_is_changed() -> Result<()> {
    // Two channels on one port that nothing tells apart; nothing is made.
    let fixed = ADT.replace("127.0.0.1:0", "127.0.0.1:27575");
    let two = Home::with(&[("adt", &fixed), ("lab", &fixed.replace("\"adt\"", "\"lab\""))])?;
    let said = refused(&two, &[])?;
    assert!(
        said.contains("lab.toml:2") && said.contains("adt.toml") && said.contains("listens there already"),
        "{said}"
    );

    // A key that is missing, wrong, or none.
    let home = used().await?;
    let elsewhere = Home::with(&[])?;
    let key = elsewhere.key_file().display().to_string();
    let said = refused(&home, &[("PUNTE_KEY_FILE", &key)])?;
    assert!(
        said.contains("the master key") && said.contains("is not there. Put the copy"),
        "{said}"
    );
    assert!(
        !elsewhere.key_file().exists(),
        "no new key is made for an old store"
    );
    std::fs::write(elsewhere.key_file(), "ab".repeat(32))?;
    let said = refused(&home, &[("PUNTE_KEY_FILE", &key)])?;
    assert!(said.contains("sealed under another master key"), "{said}");
    std::fs::write(elsewhere.key_file(), "abc")?;
    let said = refused(&home, &[("PUNTE_KEY_FILE", &key)])?;
    assert!(said.contains("64 hexadecimal digits"), "{said}");

    // So after a crash, too, when the log has what the database has not.
    home.serve()?.kill();
    assert!(home.path().join("data/punte.db-wal").exists());
    std::fs::remove_file(home.path().join("data/running.json"))?;
    std::fs::write(elsewhere.key_file(), "ab".repeat(32))?;
    let said = refused(&home, &[("PUNTE_KEY_FILE", &key)])?;
    assert!(said.contains("sealed under another master key"), "{said}");

    // The folder of another clinic.
    let settings = home.path().join("punte.toml");
    std::fs::write(&settings, "clinic = \"0197a3b2-0000-7000-8000-000000000000\"\n")?;
    let said = refused(&home, &[])?;
    assert!(said.contains("it is the store of the clinic "), "{said}");
    let its = said
        .split("the store of the clinic ")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .context("no id")?;
    std::fs::write(&settings, format!("clinic = \"{its}\"\n"))?;
    home.serve()?.stop()?;
    std::fs::remove_file(&settings)?;

    // A second engine on the same folder, whether its address is the same or another one.
    let first = home.serve()?;
    for http in ["127.0.0.1:0".to_owned(), first.http.to_string()] {
        let second = home.run(&["serve", "--http", &http])?;
        assert_eq!(second.status.code(), Some(1));
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(said.contains("another process has the data folder"), "{said}");
    }
    let (status, _) = first.get("/health").await?;
    assert_eq!(status, 200, "the first one goes on");
    first.stop()?;

    // A database of a newer program; last, since it can't be made good again.
    database(
        &home,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (999, 'later', 1, x'00', 0)",
    )?;
    let said = refused(&home, &[])?;
    assert!(
        said.contains("version 999") && said.contains("Use a newer program"),
        "{said}"
    );

    // A file that is no store.
    let other = Home::with(&[("adt", ADT)])?;
    std::fs::create_dir(other.path().join("data"))?;
    std::fs::write(
        other.path().join("data/punte.db"),
        "something else, of a program that we do not know",
    )?;
    std::fs::write(other.path().join("data/lock"), "")?;
    std::fs::write(other.key_file(), "ab".repeat(32))?;
    let said = refused(&other, &[])?;
    assert!(
        said.contains("data folder") || said.contains("the store can't be read"),
        "{said}"
    );
    Ok(())
}

/// The level and the text of each line of a check.
fn found(value: &Value, check: &str) -> Vec<(String, String)> {
    let lines = value["lines"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|line| line["check"] == check);
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    lines
        .map(|line| (text(line, "level"), text(line, "says")))
        .collect()
}

fn examined(home: &Home, args: &[&str]) -> Result<(Option<i32>, Value)> {
    let before = bytes(home.path())?;
    let output = home.run(&[&["doctor", "--json"], args].concat())?;
    assert!(bytes(home.path())? == before, "the doctor changes nothing");
    let value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok((output.status.code(), value))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_years_off_is_said_loudly_and_the_engine_runs() -> Result<()> {
    let home = used().await?;
    let later = SystemTime::now() + Duration::from_secs(400 * 86_400);
    std::fs::File::options()
        .write(true)
        .open(home.path().join("data/punte.db"))?
        .set_modified(later)?;
    let (code, value) = examined(&home, &[])?;
    assert_eq!(code, Some(1));
    assert_eq!(found(&value, "clock")[0].0, "problem", "{value}");
    let punte = home.serve()?;
    assert!(
        home.log().contains("ERROR") && home.log().contains("one of them is wrong"),
        "{}",
        home.log()
    );
    let mut sender = Sender::connect(punte.listens("adt")).await?;
    sender.ask(message("C2").as_bytes()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_looks_where_the_engine_listens() -> Result<()> {
    let home = used().await?;
    let in_settings = std::net::TcpListener::bind("127.0.0.1:0")?;
    let taken = in_settings.local_addr()?;
    std::fs::write(
        home.path().join("punte.toml"),
        format!("http.listen = \"{taken}\"\n"),
    )?;
    // It runs elsewhere than its settings say, by --http; what holds the place of the settings is nothing to it.
    let punte = home.serve()?;
    assert_ne!(punte.http, taken);
    let (_, value) = examined(&home, &[])?;
    let ports = found(&value, "port");
    let here = format!(
        "the HTTP interface: {}, held by the engine that runs here",
        punte.http
    );
    assert!(
        ports
            .iter()
            .any(|(level, says)| level == "ok" && says.starts_with(&here)),
        "{ports:?}"
    );
    assert!(!ports.iter().any(|(level, _)| level == "problem"), "{ports:?}");
    assert!(punte.stop()?.success());
    let (code, value) = examined(&home, &[])?;
    assert_eq!(
        (code, found(&value, "port")[0].0.as_str()),
        (Some(1), "problem"),
        "{value}"
    );
    Ok(())
}

#[test]
fn all_that_is_wrong_with_the_settings_is_told_by_every_command() -> Result<()> {
    let home = Home::with(&[("adt", ADT)])?;
    std::fs::write(
        home.path().join("punte.toml"),
        "zone = \"Europe/Bukarest\"\n[http]\nlisen = \"127.0.0.1:1\"\n[keep]\nmessages = \"a day\"\n[alerts.receiver.it]\nwebhook = { url = \"https://x/\", secret_file = \"accents\" }\n",
    )?;
    std::fs::write(home.path().join("accents"), "parolă\n")?;
    let places = [
        "punte.toml:1:8 zone",
        "punte.toml:3:1 http.lisen",
        "punte.toml:5:12 keep.messages",
    ];
    for words in [
        &["check"][..],
        &["serve", "--http", "127.0.0.1:0"],
        &["messages"],
        &["doctor"],
    ] {
        let output = home.run(words)?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        for place in places {
            assert!(said.contains(place), "{words:?}: {said}");
        }
    }
    let output = home.run(&["check"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("punte.toml:7:47 alerts.receiver.it.webhook.secret_file  the file accents holds no secret of one line of ASCII; nobody is told there without it (a warning)"),
        "{said}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_what_is_wrong_and_says_what_to_do() -> Result<()> {
    let home = used().await?;
    std::fs::write(
        home.path().join("punte.toml"),
        "[http]\nlisten = \"127.0.0.1:0\"\n",
    )?;
    let (code, value) = examined(&home, &[])?;
    assert_eq!(code, Some(0), "{value:#}");
    for check in [
        "channels",
        "port",
        "key",
        "store",
        "disk",
        "flush",
        "file system",
        "clock",
        "open files",
        "zone",
    ] {
        let lines = found(&value, check);
        assert!(
            !lines.is_empty() && lines.iter().all(|(level, _)| level != "problem"),
            "{check}: {value:#}"
        );
    }
    assert!(
        found(&value, "store")[0]
            .1
            .contains("which this program can open"),
        "{value:#}"
    );
    let screen = home.run(&["doctor"])?;
    let shown = String::from_utf8(screen.stdout)?;
    assert!(
        shown.starts_with("ok") && shown.contains("0 problems, "),
        "{shown}"
    );

    // A port that somebody else holds, and by whom.
    let holder = std::net::TcpListener::bind("127.0.0.1:0")?;
    let taken = holder.local_addr()?;
    home.channel(
        "lab",
        &ADT.replace("\"adt\"", "\"lab\"")
            .replace("127.0.0.1:0", &taken.to_string()),
    )?;
    // A certificate that has ended, and one whose chain is in the wrong order.
    let authority = Authority::new("The clinic")?;
    authority.write(home.path(), "ca.pem")?;
    for (name, wanted) in [("old", expired("old")), ("good", valid("good"))] {
        authority
            .sign(home.path(), name, wanted)
            .map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    let [old, good] = ["old.pem", "good.pem"].map(|file| std::fs::read_to_string(home.path().join(file)));
    std::fs::write(home.path().join("mixed.pem"), format!("{}{}", good?, old?))?;
    let secure = |id: &str, cert: &str, key: &str| {
        let tls =
            format!("source.mllp.tls = {{ cert = \"../{cert}\", key = \"../{key}\" }}\n[[destination]]");
        ADT.replace("\"adt\"", &format!("\"{id}\""))
            .replace("[[destination]]", &tls)
    };
    home.channel("old", &secure("old", "old.pem", "old.key"))?;
    home.channel("mixed", &secure("mixed", "mixed.pem", "good.key"))?;
    // A key that others may read.
    std::fs::set_permissions(home.key_file(), std::fs::Permissions::from_mode(0o644))?;
    let (code, value) = examined(&home, &["--probe"])?;
    assert_eq!(code, Some(1));
    let ports = found(&value, "port");
    let held = format!("channel lab: {taken} is held by e2e");
    assert!(
        ports
            .iter()
            .any(|(level, says)| level == "problem" && says.starts_with(&held)),
        "{ports:?}"
    );
    let certificates = found(&value, "certificate");
    let has = |level: &str, word: &str| {
        certificates
            .iter()
            .any(|(of, says)| of == level && says.contains(word))
    };
    assert!(
        has("problem", "old.pem has ended") && has("problem", "mixed.pem: certificate 2 in it"),
        "{certificates:?}"
    );
    assert_eq!(found(&value, "key")[0].0, "warning");
    let ends = found(&value, "far end");
    assert_eq!(ends.len(), 4);
    assert!(
        ends.iter().all(|(level, _)| level == "problem"),
        "nobody listens on port 1: {ends:?}"
    );
    let to_do = value["lines"].as_array().into_iter().flatten();
    assert!(
        to_do
            .filter(|line| line["level"] != "ok")
            .all(|line| line["to_do"].is_string()),
        "{value:#}"
    );

    // While the engine runs its own ports are its own.
    for file in ["lab", "old", "mixed"] {
        std::fs::remove_file(home.path().join(format!("channels/{file}.toml")))?;
    }
    drop(holder);
    home.channel("adt", &ADT.replace("127.0.0.1:0", &taken.to_string()))?;
    let punte = home.serve()?;
    let output = home.run(&["doctor", "--json"])?;
    let value: Value = serde_json::from_slice(&output.stdout)?;
    let own = format!("channel adt: {taken}, held by the engine that runs here");
    assert!(
        found(&value, "port").iter().any(|(_, says)| *says == own),
        "{value:#}"
    );
    drop(punte);
    Ok(())
}

/// Before the store or a channel is opened.
#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_that_takes_no_file_is_refused() -> Result<()> {
    let home = used().await?;
    // Whoever runs the tests may write everywhere: a folder with something in it stands in the way.
    std::fs::create_dir_all(home.path().join("data/starting/x"))?;
    let before = bytes(&home.path().join("data"))?;
    let refused = home.serve().err().context("it started")?.to_string();
    assert!(
        refused.contains("can't be written to, and nothing was started"),
        "{refused}"
    );
    assert_eq!(bytes(&home.path().join("data"))?, before);
    std::fs::remove_dir_all(home.path().join("data/starting"))?;
    home.serve()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_may_read_is_said_at_the_start() -> Result<()> {
    let home = used().await?;
    let said = "others on this machine may read the master key";
    assert!(!home.log().contains(said));
    std::fs::set_permissions(home.key_file(), std::fs::Permissions::from_mode(0o644))?;
    let _punte = home.serve()?;
    assert!(home.log().contains(said), "{}", home.log());
    Ok(())
}
