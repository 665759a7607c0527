//! Alerts, to receivers of others: a mail server, a webhook, log servers.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::dicom::free_port;
use e2e::eventually;
use e2e::mllp::Sender;
use e2e::pki::{Authority, valid};
use e2e::program::Home;
use e2e::sink::{Manner, Sink};
use serde_json::Value;

use crate::python::root;
use crate::scenes::message;

const LONG: Duration = Duration::from_secs(60);
const SECRETS: &[(&str, &str)] = &[("SMTP_PASSWORD", "pass word"), ("HOOK_SECRET", "hook-secret")];

/// A receiver in Python, with what it was told.
struct Receiver {
    child: Child,
    port: u16,
    told: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    fn start(args: &[&str]) -> Result<Receiver> {
        let python = std::env::var_os("PUNTE_TEST_PYTHON").context("PUNTE_TEST_PYTHON is not set")?;
        let mut child = Command::new(python)
            .arg(root().join("tests/python/alert_receivers.py"))
            .args(args)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut port = String::new();
        stdout.read_line(&mut port)?;
        let told = Arc::new(Mutex::new(vec![]));
        let heard = told.clone();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let notice = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if let Ok(mut told) = heard.lock() {
                    told.push(notice);
                }
            }
        });
        Ok(Receiver {
            child,
            port: port.trim().parse()?,
            told,
        })
    }

    fn told(&self) -> Vec<Value> {
        self.told.lock().map(|told| told.clone()).unwrap_or_default()
    }

    /// The texts at a key, in order.
    fn texts(&self, key: &str) -> Vec<String> {
        self.told()
            .iter()
            .map(|notice| notice[key].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_episode_is_told_once_to_everybody_over_a_kill_and_a_mail_server_that_is_down() -> Result<()> {
    let ris = Sink::hl7().await?;
    ris.behave(Manner::Busy);
    let channel = format!(
        "id = \"adt\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[destination]]\nname = \"ris\"\nmllp.connect = \"{}\"\nretry = {{ first = \"100ms\", max = \"100ms\" }}\n",
        ris.address
    );
    let home = Home::with(&[("adt", &channel)])?;
    let authority = Authority::new("The clinic")?;
    authority.write(home.path(), "ca.pem")?;
    authority
        .sign(home.path(), "mail", valid("localhost"))
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let (hook, udp, tcp) = (
        Receiver::start(&["webhook", "0", "hook-secret"])?,
        Receiver::start(&["udp", "0"])?,
        Receiver::start(&["tcp", "0"])?,
    );
    let mail_port = free_port()?;
    let settings = format!(
        r#"
[alerts]
name = "Punte of the test"
calm = "1s"
[[alerts.rule]]
queue_older = "1s"
[alerts.receiver.it]
mail = {{ server = "localhost:{mail_port}", from = "Punte <punte@clinic.example>", to = ["it@clinic.example"], user = "punte", password_env = "SMTP_PASSWORD", ca = "ca.pem" }}
[alerts.receiver.pager]
webhook = {{ url = "http://127.0.0.1:{}/hook", secret_env = "HOOK_SECRET" }}
[alerts.receiver.logs]
syslog = {{ to = "udp://127.0.0.1:{}" }}
[alerts.receiver.logs-too]
syslog = {{ to = "tcp://127.0.0.1:{}" }}
"#,
        hook.port, udp.port, tcp.port
    );
    std::fs::write(home.path().join("punte.toml"), settings)?;

    // Without its secrets nothing is started: the alert that nobody gets is the one that matters.
    let without = home.run(&["serve", "--http", "127.0.0.1:0"])?;
    let said = String::from_utf8_lossy(&without.stderr).into_owned();
    assert!(
        said.contains("alerts.receiver.it") && said.contains("SMTP_PASSWORD is not set"),
        "{said}"
    );

    let punte = home.serve_with(SECRETS)?;
    let none = home.run(&["alerts"])?;
    assert_eq!(
        (none.status.code(), none.stdout.as_slice()),
        (Some(0), b"No alert is on.\n".as_slice())
    );
    let mut sender = Sender::connect(punte.listens("adt")).await?;
    sender.ask(message("SECRET-ID").as_bytes()).await?;
    eventually("those who can be reached are told", LONG, async || {
        (hook.told().len() == 1 && udp.told().len() == 1 && tcp.told().len() == 1).then_some(())
    })
    .await;
    eventually("the mail is tried", LONG, async || {
        home.log().contains("An alert could not be told").then_some(())
    })
    .await;
    let on = home.run(&["alerts"])?;
    let list = String::from_utf8(on.stdout)?;
    assert_eq!(on.status.code(), Some(1));
    assert!(
        list.contains("adt/ris: the oldest delivery has waited for"),
        "{list}"
    );
    let status = home.run(&["status"])?;
    assert!(
        String::from_utf8_lossy(&status.stdout).contains("Alerts that are on"),
        "{status:?}"
    );

    // Killed, and the mail server comes back: the mail is not lost, and nobody is told a second time.
    punte.kill();
    let paths = ["mail.pem", "mail.key"].map(|file| home.path().join(file).display().to_string());
    let mail = Receiver::start(&[
        "smtp",
        &mail_port.to_string(),
        &paths[0],
        &paths[1],
        "punte",
        "pass word",
    ])?;
    let punte = home.serve_with(SECRETS)?;
    eventually("the mail comes", LONG, async || {
        (mail.told().len() == 1).then_some(())
    })
    .await;

    // It is over.
    ris.behave(Manner::Polite);
    eventually("everybody is told that it is over", LONG, async || {
        let all = [&mail, &hook, &udp, &tcp];
        all.iter()
            .all(|receiver| receiver.told().len() == 2)
            .then_some(())
    })
    .await;
    let over = home.run(&["alerts"])?;
    assert_eq!(over.status.code(), Some(0));
    let all = home.json(&["alerts", "--all", "--json"])?;
    assert_eq!(all["alerts"].as_array().map(Vec::len), Some(1), "{all}");
    assert!(all["alerts"][0]["ended"].is_string(), "{all}");

    let test = home.run(&["alerts", "test"])?;
    let said = String::from_utf8(test.stdout)?;
    assert_eq!(said, "it: told\nlogs: told\nlogs-too: told\npager: told\n");
    assert_eq!(test.status.code(), Some(0));
    eventually("the tests come", LONG, async || {
        let all = [&mail, &hook, &udp, &tcp];
        all.iter()
            .all(|receiver| receiver.told().len() == 3)
            .then_some(())
    })
    .await;

    // In the words of each protocol.
    let subjects = mail.texts("subject");
    assert!(
        subjects[0].starts_with("Punte of the test: adt/ris: the oldest delivery"),
        "{subjects:?}"
    );
    assert!(
        subjects[1].starts_with("Punte of the test: over: adt/ris: "),
        "{subjects:?}"
    );
    assert!(
        mail.told()
            .iter()
            .all(|mail| mail["tls"] == true && mail["to"][0] == "it@clinic.example")
    );
    assert_eq!(hook.texts("event"), ["begin", "end", "begin"]);
    for logs in [&udp, &tcp] {
        assert_eq!(logs.texts("severity"), ["err", "notice", "err"]);
        assert_eq!(logs.texts("msgid"), ["alert", "alert-end", "alert"]);
        assert_eq!(logs.texts("appname"), ["punte"; 3]);
    }
    // Nothing of a message, and no secret, is in any of it.
    let everything = [&mail, &hook, &udp, &tcp]
        .map(|receiver| format!("{:?}", receiver.told()))
        .concat()
        + &home.log();
    for word in ["SECRET-ID", "Pop", "P-1", "pass word", "hook-secret"] {
        assert!(!everything.contains(word), "{word}");
    }
    // A receiver that is not there.
    drop(hook);
    let test = home.run(&["alerts", "test", "pager"])?;
    assert_eq!(test.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&test.stdout).starts_with("pager: not told: "),
        "{test:?}"
    );
    drop(punte);
    Ok(())
}

#[test]
fn wrong_rules_are_refused_with_their_place() -> Result<()> {
    let home = Home::with(&[(
        "adt",
        "id = \"adt\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[destination]]\nname = \"ris\"\nmllp.connect = \"127.0.0.1:1\"\n",
    )])?;
    let text = "[[alerts.rule]]\nheld = 1\nchannels = [\"atd\"]\n\n[alerts.receiver.it]\nmail = { server = \"x\", from = \"p@c.example\", to = [\"i@c.example\"] }\n";
    std::fs::write(home.path().join("punte.toml"), text)?;
    for command in [["check", "--json"], ["serve", "--http=127.0.0.1:0"]] {
        let output = home.run(&command)?;
        assert_eq!(output.status.code(), Some(1));
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("did you mean") && said.contains("adt"), "{said}");
        assert!(said.contains("alerts.receiver.it.mail.server"), "{said}");
    }
    let checked: Value = serde_json::from_slice(&home.run(&["check", "--json"])?.stdout)?;
    let places: Vec<i64> = checked["problems"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|p| p["line"].as_i64())
        .collect();
    assert_eq!(places, [3, 6], "{checked}");
    assert!(!home.path().join("data").exists(), "nothing was made");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_are_told_by_tls_and_only_those_whose_certificate_is_right() -> Result<()> {
    let home = Home::with(&[])?;
    let authority = Authority::new("The clinic")?;
    authority.write(home.path(), "ca.pem")?;
    Authority::new("Somebody else")?.write(home.path(), "other.pem")?;
    authority
        .sign(home.path(), "far", valid("localhost"))
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let [cert, key] = ["far.pem", "far.key"].map(|file| home.path().join(file).display().to_string());
    let hook = Receiver::start(&["webhook", "0", "hook-secret", &cert, &key])?;
    let logs = Receiver::start(&["tls", "0", &cert, &key])?;
    let mail_port = free_port()?.to_string();
    let mail = Receiver::start(&["smtp", &mail_port, &cert, &key, "punte", "pass word"])?;
    let receivers = |suffix: &str, ca: &str, password: &str| {
        format!(
            r#"
[alerts.receiver.hook-{suffix}]
webhook = {{ url = "https://localhost:{}/x", secret_env = "HOOK_SECRET", tls = {{ ca = "{ca}" }} }}
[alerts.receiver.logs-{suffix}]
syslog = {{ to = "tls://localhost:{}", tls = {{ ca = "{ca}" }} }}
[alerts.receiver.mail-{suffix}]
mail = {{ server = "localhost:{}", from = "p@clinic.example", to = ["it@clinic.example"], user = "punte", password_env = "{password}", ca = "{ca}" }}
"#,
            hook.port, logs.port, mail.port
        )
    };
    let settings =
        receivers("right", "ca.pem", "SMTP_PASSWORD") + &receivers("wrong", "other.pem", "SMTP_PASSWORD");
    let settings = settings
        + &receivers("poor", "ca.pem", "HOOK_SECRET")
            .split("[alerts")
            .last()
            .map(|mail| format!("[alerts{mail}"))
            .unwrap_or_default();
    std::fs::write(home.path().join("punte.toml"), settings)?;
    let mut command = home.command(&["alerts", "test"]);
    let output = command.envs(SECRETS.iter().copied()).output()?;
    let said = String::from_utf8(output.stdout)?;
    assert_eq!(
        output.status.code(),
        Some(1),
        "{said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines: Vec<&str> = said.lines().collect();
    let is_told = |name: &str| lines.contains(&format!("{name}: told").as_str());
    assert_eq!(lines.len(), 7, "{said}");
    assert!(
        is_told("hook-right") && is_told("logs-right") && is_told("mail-right"),
        "{said}"
    );
    for name in ["hook-wrong", "logs-wrong", "mail-wrong", "mail-poor"] {
        assert!(said.contains(&format!("{name}: not told: ")), "{name}: {said}");
    }
    // A password that is not taken is not shown either.
    assert!(
        !said.contains("hook-secret") && !said.contains("pass word"),
        "{said}"
    );
    eventually("each is told once", LONG, async || {
        let all = [&mail, &hook, &logs];
        all.iter()
            .all(|receiver| receiver.told().len() == 1)
            .then_some(())
    })
    .await;
    Ok(())
}

/// A reload takes other rules and other receivers; where they are wrong, all goes on as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_other_rules_and_receivers() -> Result<()> {
    let ris = Sink::hl7().await?;
    ris.behave(Manner::Silent);
    let channel = format!(
        "id = \"adt\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[destination]]\nname = \"ris\"\nmllp = {{ connect = \"{}\", reply_timeout = \"60s\" }}\n",
        ris.address
    );
    let home = Home::with(&[("adt", &channel)])?;
    let (before, after) = (Receiver::start(&["udp", "0"])?, Receiver::start(&["udp", "0"])?);
    let settings = |age: &str, port: u16| {
        let text = format!(
            "[alerts]\ncalm = \"1s\"\n[[alerts.rule]]\nqueue_older = \"{age}\"\n[alerts.receiver.logs]\nsyslog = {{ to = \"udp://127.0.0.1:{port}\" }}\n"
        );
        std::fs::write(home.path().join("punte.toml"), text)
    };
    settings("1h", before.port)?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("adt")).await?;
    sender.ask(message("A1").as_bytes()).await?;

    settings("one hour", after.port)?;
    let refused = home.run(&["reload"])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("punte.toml:4:15") && said.contains("nothing was changed"),
        "{said}"
    );

    settings("1s", after.port)?;
    let text = std::fs::read_to_string(home.path().join("punte.toml"))?;
    let zone = format!("zone = \"Europe/Chisinau\"\n{text}");
    std::fs::write(home.path().join("punte.toml"), zone)?;
    let taken = home.run(&["reload"])?;
    let said = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert!(taken.status.success(), "{said}");
    assert!(said.contains("punte.toml: zone was changed"), "{said}");
    eventually("the new receiver is told by the new rule", LONG, async || {
        (after.told().len() == 1).then_some(())
    })
    .await;
    assert!(before.told().is_empty());

    // No rule finds it any more.
    settings("1h", after.port)?;
    assert!(home.run(&["reload"])?.status.success());
    eventually("it is over", LONG, async || {
        (after.told().len() == 2).then_some(())
    })
    .await;
    assert!(before.told().is_empty());
    punte.stop()?;
    Ok(())
}
