//! TLS against peers of others: `openssl s_client`, Python's ssl, Python's HTTPS server.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::mllp::Sender;
use e2e::pki::{Authority, expired, valid};
use e2e::program::Home;

use crate::python::{root, run};
use crate::scenes;

/// Certificates for everybody, in the folder of the channels.
fn certificates(home: &Home) -> Result<Authority> {
    let folder = home.path().join("channels");
    let (ours, foreign) = (Authority::new("Ours")?, Authority::new("Foreign")?);
    ours.write(&folder, "ca.pem")?;
    let sign = |by: &Authority, file: &str, wanted| {
        by.sign(&folder, file, wanted)
            .map_err(|error| anyhow::anyhow!("{error}"))
    };
    sign(&ours, "punte", valid("localhost"))?;
    sign(&ours, "lis", valid("lis.example"))?;
    sign(&ours, "old", expired("localhost"))?;
    sign(&foreign, "stranger", valid("localhost"))?;
    Ok(ours)
}

fn file(home: &Home, name: &str) -> String {
    home.path().join("channels").join(name).display().to_string()
}

fn listener(tls: &str) -> String {
    format!(
        "id = \"lab\"\n[source.mllp]\nlisten = \"127.0.0.1:0\"\ntls = {{ {tls} }}\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = true\n"
    )
}

const OWN: &str = "cert = \"punte.pem\", key = \"punte.key\"";
const MUTUAL: &str = "cert = \"punte.pem\", key = \"punte.key\", client_ca = \"ca.pem\"";

/// Sends a message through `openssl s_client`.
fn openssl(home: &Home, to: SocketAddr, more: &[&str]) -> Result<Output> {
    let mut child = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &to.to_string(),
            "-CAfile",
            &file(home, "ca.pem"),
        ])
        .args(["-verify_return_error", "-verify_hostname", "localhost", "-quiet"])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("openssl is needed")?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let message = scenes::register("ssl", "P-1", "Pop");
    let _ = stdin.write_all(format!("\x0b{message}\x1c\r").as_bytes());
    let mut stdout = BufReader::new(child.stdout.take().context("no standard output")?);
    let mut heard = vec![];
    let _ = stdout.read_until(0x1c, &mut heard);
    // It would read on until the far side closes.
    let _ = child.kill();
    let mut output = child.wait_with_output()?;
    output.stdout = heard;
    Ok(output)
}

fn heard(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn python(home: &Home, to: SocketAddr, own: Option<&str>) -> Result<Output> {
    let message = home.path().join("message.hl7");
    std::fs::write(&message, scenes::register("python", "P-2", "Rus"))?;
    let mut args = vec![
        to.ip().to_string(),
        to.port().to_string(),
        message.display().to_string(),
        file(home, "ca.pem"),
    ];
    if let Some(own) = own {
        args.extend([
            file(home, &format!("{own}.pem")),
            file(home, &format!("{own}.key")),
        ]);
    }
    run("tls_client.py", &args, "")
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_and_python_send_with_right_wrong_expired_and_no_certificate() -> Result<()> {
    let home = Home::with(&[("lab", &listener(MUTUAL))])?;
    certificates(&home)?;
    let punte = home.serve()?;
    let to = punte.listens("lab");
    for version in ["-tls1_2", "-tls1_3"] {
        for (name, gets_in) in [
            (Some("lis"), true),
            (Some("stranger"), false),
            (Some("old"), false),
            (None, false),
        ] {
            let own = name.map(|name| {
                (
                    file(&home, &format!("{name}.pem")),
                    file(&home, &format!("{name}.key")),
                )
            });
            let mut more = vec![version];
            if let Some((cert, key)) = &own {
                more.extend(["-cert", cert, "-key", key]);
            }
            let output = openssl(&home, to, &more)?;
            assert_eq!(
                heard(&output).contains("MSA|AA"),
                gets_in,
                "{version} {name:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
    let old = openssl(&home, to, &["-tls1_1"])?;
    assert!(!heard(&old).contains("MSA"), "TLS 1.1 is spoken");
    for (name, gets_in) in [
        (Some("lis"), true),
        (Some("stranger"), false),
        (Some("old"), false),
        (None, false),
    ] {
        let output = python(&home, to, name)?;
        assert_eq!(
            output.status.success(),
            gets_in,
            "{name:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(heard(&output).contains("AA"), gets_in);
    }
    // Who speaks plainly is closed, and said once.
    for _ in 0..3 {
        let mut plain = Sender::connect(to).await?;
        assert!(
            plain
                .ask(scenes::register("plain", "P-3", "Nu").as_bytes())
                .await
                .is_err()
        );
    }
    let messages = punte.messages("").await?;
    let ids: Vec<&str> = messages
        .iter()
        .filter_map(|message| message["control_id"].as_str())
        .collect();
    assert_eq!(
        ids,
        ["python", "ssl"],
        "only who has the right certificate gets in"
    );
    let shown = home.json(&[
        "messages",
        "show",
        messages[0]["id"].as_str().unwrap_or_default(),
        "--json",
    ])?;
    assert!(
        shown["headers"].to_string().contains("CN=lis.example"),
        "{}",
        shown["headers"]
    );
    assert!(punte.stop()?.success());
    let said = home.log().matches("can't be secured").count();
    assert!((1..10).contains(&said), "said {said} times:\n{}", home.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_while_the_program_runs() -> Result<()> {
    let home = Home::with(&[("lab", &listener(OWN))])?;
    let ours = certificates(&home)?;
    let folder = home.path().join("channels");
    // As somebody forgot it: expired. A careful sender does not go on.
    let put = |name: &str| -> Result<()> {
        for ending in ["pem", "key"] {
            std::fs::copy(
                folder.join(format!("{name}.{ending}")),
                folder.join(format!("punte.{ending}")),
            )?;
        }
        Ok(())
    };
    put("old")?;
    let punte = home.serve()?;
    let to = punte.listens("lab");
    assert!(!heard(&openssl(&home, to, &[])?).contains("MSA"));
    ours.sign(&folder, "punte", valid("localhost"))
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let output = openssl(&home, to, &[])?;
    assert!(
        heard(&output).contains("MSA|AA"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        home.log().contains("New certificates are in use"),
        "{}",
        home.log()
    );
    std::fs::write(folder.join("punte.pem"), "broken")?;
    let output = openssl(&home, to, &[])?;
    assert!(
        heard(&output).contains("MSA|AA"),
        "a broken file took the right one away"
    );
    assert!(home.log().contains("the old ones stay in use"), "{}", home.log());
    Ok(())
}

/// A Python HTTPS server.
struct Https {
    child: Child,
    port: u16,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Https {
    fn start(home: &Home, cert: &str, client_ca: Option<&str>) -> Result<Https> {
        let python = std::env::var_os("PUNTE_TEST_PYTHON").context("PUNTE_TEST_PYTHON is not set")?;
        let mut child = Command::new(python)
            .arg(root().join("tests/python/https_server.py"))
            .args([
                file(home, &format!("{cert}.pem")),
                file(home, &format!("{cert}.key")),
            ])
            .args(client_ca.map(|ca| file(home, ca)))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut port = String::new();
        stdout.read_line(&mut port)?;
        let (tx, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if tx.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Https {
            child,
            port: port.trim().parse()?,
            lines,
        })
    }

    fn next(&self) -> Result<String> {
        Ok(self.lines.recv_timeout(Duration::from_secs(20))?)
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_and_fhir_go_to_a_python_https_server() -> Result<()> {
    let home = Home::with(&[])?;
    certificates(&home)?;
    let (open, mutual) = (
        Https::start(&home, "punte", None)?,
        Https::start(&home, "punte", Some("ca.pem"))?,
    );
    let bad = Https::start(&home, "stranger", None)?;
    let own = "ca = \"ca.pem\", cert = \"lis.pem\", key = \"lis.key\"";
    let destination = |name: &str, end: &str| {
        format!(
            "[[destination]]\nname = \"{name}\"\n{end}\nretry = {{ first = \"50ms\", max = \"200ms\" }}\n"
        )
    };
    let fhir = |port: u16, tls: &str| {
        format!(
            "encode = \"fhir-r4\"\nfhir = {{ base = \"https://127.0.0.1:{port}/fhir\", tls = {{ {tls} }} }}"
        )
    };
    let http = |port: u16, tls: &str| {
        format!("format = \"hl7v2\"\nhttp = {{ url = \"https://127.0.0.1:{port}/hl7\", tls = {{ {tls} }} }}")
    };
    let channel = [
        scenes::chart_only(),
        destination("fhir", &fhir(open.port, "ca = \"ca.pem\"")),
        destination("http", &http(mutual.port, own)),
        destination("bad", &fhir(bad.port, "ca = \"ca.pem\"")),
        destination("untrusted", &fhir(bad.port, "")),
    ];
    home.channel("clinic", &channel.concat())?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    sender.ask(scenes::register("1", "P-1", "Pop").as_bytes()).await?;
    assert!(open.next()?.starts_with("POST /fhir "));
    let at_mutual = mutual.next()?;
    assert!(
        at_mutual.starts_with("POST /hl7 ") && at_mutual.ends_with("lis.example"),
        "{at_mutual}"
    );
    let whys = e2e::eventually(
        "the wrong ones are retried",
        Duration::from_secs(20),
        async || {
            let messages = punte.messages("").await.ok()?;
            let deliveries = messages[0]["deliveries"].as_array()?.clone();
            let whys: Vec<String> = deliveries
                .iter()
                .filter(|delivery| delivery["state"] == "retrying")
                .filter_map(|delivery| Some(delivery["last"].as_str()?.to_owned()))
                .collect();
            (whys.len() == 2).then_some(whys)
        },
    )
    .await;
    assert!(whys.iter().all(|why| why.contains("certificate")), "{whys:?}");
    assert!(
        bad.lines.try_recv().is_err(),
        "something was sent to somebody who is not trusted"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_http_interface_speaks_tls_and_the_commands_still_reach_it() -> Result<()> {
    let home = Home::with(&[("lab", &listener(OWN))])?;
    certificates(&home)?;
    let settings = "[http]\ntls = { cert = \"channels/punte.pem\", key = \"channels/punte.key\", client_ca = \"channels/ca.pem\" }\n";
    std::fs::write(home.path().join("punte.toml"), settings)?;
    let punte = home.serve()?;
    let key = home.json(&["key", "add", "portal", "--scope", "clinic:read", "--json"])?;
    let key = key["key"].as_str().unwrap_or_default().to_owned();
    let curl = |own: Option<&str>| -> Result<Output> {
        let mut command = Command::new("curl");
        command.args([
            "-sS",
            "--max-time",
            "10",
            "--noproxy",
            "*",
            "--cacert",
            &file(&home, "ca.pem"),
        ]);
        if let Some(own) = own {
            command.args([
                "--cert",
                &file(&home, &format!("{own}.pem")),
                "--key",
                &file(&home, &format!("{own}.key")),
            ]);
        }
        command.args(["-H", &format!("Authorization: Bearer {key}")]);
        command
            .arg(format!("https://{}/fhir/Patient", punte.http))
            .output()
            .context("curl is needed")
    };
    let right = curl(Some("lis"))?;
    assert!(heard(&right).contains("searchset"), "{right:?}");
    assert!(
        heard(&right).contains(&format!("https://{}/fhir", punte.http)),
        "links are https: {}",
        heard(&right)
    );
    for own in [None, Some("stranger"), Some("old")] {
        assert!(!curl(own)?.status.success(), "{own:?} got in");
    }
    let read = home.json(&["journal", "--json"])?;
    let peers: Vec<&str> = read["journal"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| row["actor"]["peer"].as_str())
        .collect();
    assert!(
        peers.iter().any(|peer| peer.contains("CN=lis.example")),
        "{peers:?}"
    );
    Ok(())
}

#[test]
fn check_says_where_certificates_are_wrong() -> Result<()> {
    let home = Home::with(&[])?;
    certificates(&home)?;
    home.channel("a", &listener("cert = \"none.pem\", key = \"punte.key\""))?;
    home.channel(
        "b",
        &listener("cert = \"punte.pem\", key = \"lis.key\"").replace("\"lab\"", "\"b\""),
    )?;
    home.channel(
        "c",
        &listener("cert = \"old.pem\", key = \"old.key\"").replace("\"lab\"", "\"c\""),
    )?;
    home.channel(
        "d",
        &listener("cert = \"punte.pem\", key = \"punte.key\", ca = \"ca.pem\"").replace("\"lab\"", "\"d\""),
    )?;
    let open = listener(OWN)
        .replace("\"lab\"", "\"e\"")
        .replace("127.0.0.1:0", "0.0.0.0:1");
    home.channel(
        "e",
        &open
            .lines()
            .filter(|line| !line.starts_with("tls"))
            .collect::<Vec<_>>()
            .join("\n"),
    )?;
    let settings =
        "[http]\nlisten = \"127.0.0.1:0\"\ntls = { cert = \"channels/punte.pem\", key = \"none.key\" }\n";
    std::fs::write(home.path().join("punte.toml"), settings)?;
    let output = home.run(&["check"])?;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let folder: PathBuf = home.path().join("channels");
    let at = |folder: &Path, place: &str| folder.join(place).display().to_string();
    for (place, words) in [
        (at(&folder, "a.toml:4:16"), "there is no file"),
        (at(&folder, "b.toml:4:35"), "lis.key is not the key of"),
        (at(&folder, "c.toml:4:16"), "has expired"),
        (at(&folder, "d.toml:4:48"), "not known here"),
        (at(&folder, "e.toml:3:10"), "whoever is on the way can read"),
        (at(home.path(), "punte.toml:3:44"), "there is no file"),
    ] {
        let line = said.lines().find(|line| line.starts_with(&place));
        assert!(
            line.is_some_and(|line| line.contains(words)),
            "{place} {words}:\n{said}"
        );
    }
    Ok(())
}

/// What a listener of Python's own has taken, once it listens.
struct Peer(Child, BufReader<std::process::ChildStdout>);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn send_speaks_tls_with_a_peer_of_others() -> Result<()> {
    let home = Home::with(&[("lab", &listener(OWN))])?;
    certificates(&home)?;
    let message = home.path().join("message.hl7");
    std::fs::write(&message, scenes::register("S-1", "P-1", "Pop"))?;
    let message = message.display().to_string();
    let python = std::env::var_os("PUNTE_TEST_PYTHON").context("PUNTE_TEST_PYTHON is not set")?;
    let mut child = Command::new(python)
        .arg(root().join("tests/python/mllp_tls_server.py"))
        .args([
            file(&home, "punte.pem"),
            file(&home, "punte.key"),
            file(&home, "ca.pem"),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let stdout = child.stdout.take().context("no standard output")?;
    let mut peer = Peer(child, BufReader::new(stdout));
    let mut port = String::new();
    peer.1.read_line(&mut port)?;
    let at = |host: &str| format!("{host}:{}", port.trim());
    let (ca, cert, key) = (
        file(&home, "ca.pem"),
        file(&home, "lis.pem"),
        file(&home, "lis.key"),
    );
    let (foreign, foreign_key) = (file(&home, "stranger.pem"), file(&home, "stranger.key"));
    let send = |words: &[&str]| -> Result<(Option<i32>, String)> {
        let output = home.run(&[&["send", &message], words].concat())?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
    };
    let ours = ["--cert", &cert, "--key", &key];
    let (code, said) = send(&[&[at("localhost").as_str(), "--tls", "--ca", &ca][..], &ours].concat())?;
    assert!(code == Some(0) && said.contains("MSA|AA|S-1"), "{said}");
    let mut seen = String::new();
    peer.1.read_line(&mut seen)?;
    assert_eq!(seen.trim(), "lis.example ADT^A28");
    // By another name, which the certificate does not have; and which it does.
    let by_name = |name: &str| {
        let to = at("127.0.0.1");
        send(
            &[
                &[to.as_str(), "--tls", "--ca", &ca, "--server-name", name][..],
                &ours,
            ]
            .concat(),
        )
    };
    assert_eq!(by_name("localhost")?.0, Some(0));
    let (code, said) = by_name("other.example")?;
    assert!(code == Some(1) && !said.contains("MSA|AA"), "{said}");
    // Without a certificate, with a stranger's, without the authority, and plainly.
    let to = at("localhost");
    for words in [
        &[to.as_str(), "--tls", "--ca", &ca][..],
        &[
            &to,
            "--tls",
            "--ca",
            &ca,
            "--cert",
            &foreign,
            "--key",
            &foreign_key,
        ],
        &[[&to, "--tls"].as_slice(), &ours].concat(),
        &[&to, "--timeout", "2s"],
    ] {
        let (code, said) = send(words)?;
        assert!(code == Some(1) && !said.contains("MSA|AA"), "{words:?}: {said}");
    }
    // What is told of the options themselves.
    let (code, said) = send(&[&to, "--tls", "--ca", "none.pem"])?;
    assert!(code == Some(1) && said.contains("--ca: "), "{said}");
    assert_eq!(send(&[&to, "--ca", &ca])?.0, Some(2));
    assert_eq!(send(&[&to, "--tls", "--cert", &cert])?.0, Some(2));
    Ok(())
}
