//! Against DCMTK, both ways.

use std::process::{Command, Output};
use std::time::Duration;

use dimse::scu::Object;
use dimse::{Limits, Operation, Proposal, uids};
use tokio::net::TcpStream;

use crate::provider::listen;
use crate::{CT, ae, within};

/// Runs a program of DCMTK. Without Nagle's algorithm: with it each answer waits 40 ms.
async fn run(program: &'static str, args: Vec<String>) -> Output {
    let running = tokio::task::spawn_blocking(move || {
        Command::new(program).args(args).env("TCP_NODELAY", "1").output()
    });
    within(30, running)
        .await
        .unwrap()
        .unwrap_or_else(|error| panic!("{program}: {error}. Install it with: apt-get install dcmtk"))
}

fn args(port: u16, before: &[&str], after: &[&str]) -> Vec<String> {
    let port = port.to_string();
    let middle = ["-aet", "MODALITY", "-aec", "PUNTE", "127.0.0.1", &port];
    before
        .iter()
        .chain(&middle)
        .chain(after)
        .map(|arg| (*arg).to_owned())
        .collect()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn limits() -> Limits {
    Limits {
        artim: Duration::from_secs(5),
        within: Duration::from_secs(10),
        ..Limits::default()
    }
}

/// An object as a file (PS3.10): explicit little endian, with some pixels.
pub fn file(instance: &str, pixels: usize) -> Vec<u8> {
    let element = |group: u16, element: u16, vr: &str, value: &[u8]| {
        let mut out = [group.to_le_bytes(), element.to_le_bytes()].concat();
        out.extend(vr.bytes());
        let padded = value.len() + value.len() % 2;
        match vr {
            "OB" | "OW" => out.extend([[0; 2].as_slice(), &(padded as u32).to_le_bytes()].concat()),
            _ => out.extend((padded as u16).to_le_bytes()),
        }
        out.extend(value);
        out.resize(
            out.len() + value.len() % 2,
            if vr == "UI" || vr == "OB" { 0 } else { b' ' },
        );
        out
    };
    let meta = [
        element(2, 1, "OB", &[0, 1]),
        element(2, 2, "UI", CT.as_bytes()),
        element(2, 3, "UI", instance.as_bytes()),
        element(2, 0x10, "UI", uids::EXPLICIT_LITTLE.as_bytes()),
        element(2, 0x12, "UI", uids::IMPLEMENTATION_CLASS.as_bytes()),
    ]
    .concat();
    let mut file = vec![0; 128];
    file.extend(b"DICM");
    file.extend(element(2, 0, "UL", &(meta.len() as u32).to_le_bytes()));
    file.extend(meta);
    file.extend(element(8, 0x16, "UI", CT.as_bytes()));
    file.extend(element(8, 0x18, "UI", instance.as_bytes()));
    file.extend(element(0x10, 0x10, "PN", b"Test^Object"));
    file.extend(element(0x10, 0x20, "LO", b"1"));
    file.extend(element(0x20, 0x0d, "UI", b"2.25.9"));
    file.extend(element(0x20, 0x0e, "UI", b"2.25.8"));
    file.extend(element(0x7fe0, 0x10, "OW", &vec![7; pixels]));
    file
}

#[tokio::test]
async fn echoscu_is_answered() {
    let (address, taken) = listen(limits()).await;
    let output = run(
        "echoscu",
        args(address.port(), &["-v", "--repeat", "3", "-ppc", "128"], &[]),
    )
    .await;
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(taken.count(Operation::Echo), 3);
    // It aborts where it is told to, and its called AE title is looked at.
    let output = run("echoscu", args(address.port(), &["-v", "--abort"], &[])).await;
    assert!(output.status.success(), "{}", said(&output));
    let mut other = args(address.port(), &["-v"], &[]);
    other
        .iter_mut()
        .filter(|arg| *arg == "PUNTE")
        .for_each(|arg| *arg = "OTHER".to_owned());
    let output = run("echoscu", other).await;
    assert!(!output.status.success());
    assert!(
        said(&output).contains("Called AE Title Not Recognized"),
        "{}",
        said(&output)
    );
    taken.ended(3).await;
}

#[tokio::test]
async fn storescu_sends_objects() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (number, pixels) in [30_000, 600_000, 1, 5_000_000].into_iter().enumerate() {
        let path = folder.path().join(format!("{number}.dcm"));
        std::fs::write(&path, file(&format!("2.25.10{number}"), pixels)).unwrap();
        files.push(path.to_string_lossy().into_owned());
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    // All syntaxes proposed in one context and the usual two; small PDUs and big ones.
    for options in [&["-v", "-R", "-pdu", "4096"][..], &["-v", "-pdu", "131072"]] {
        let (address, taken) = listen(limits()).await;
        let output = run("storescu", args(address.port(), options, &files)).await;
        assert!(output.status.success(), "{}", said(&output));
        let messages = taken.messages.lock().unwrap();
        assert_eq!(messages.len(), 4);
        for ((_, syntax, instance, data), pixels) in messages.iter().zip([30_000, 600_000, 1, 5_000_000]) {
            assert_eq!(syntax, uids::EXPLICIT_LITTLE);
            assert!(instance.starts_with("2.25.10"));
            assert!(pixels < data.len());
        }
    }
}

#[tokio::test]
async fn findscu_has_its_matches_and_stops() {
    let (address, taken) = listen(limits()).await;
    let keys = ["-W", "-k", "PatientName", "-k", "PatientID=1"];
    let output = run("findscu", args(address.port(), &["-v"], &[])).await;
    assert!(!output.status.success(), "without keys there is no question");
    let output = run("findscu", args(address.port(), &["-v"], &keys)).await;
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("Find Response: 100 (Pending)"),
        "{}",
        said(&output)
    );
    assert_eq!(*taken.matches.lock().unwrap(), 100);
    let output = run("findscu", args(address.port(), &["-v", "--cancel", "2"], &keys)).await;
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("Cancel"), "{}", said(&output));
    // What DCMTK asks for as a patient-root query is refused, context by context.
    let output = run(
        "findscu",
        args(
            address.port(),
            &["-v"],
            &["-P", "-k", "QueryRetrieveLevel=PATIENT"],
        ),
    )
    .await;
    assert!(!output.status.success());
    assert!(
        said(&output).contains("No Acceptable Presentation Contexts"),
        "{}",
        said(&output)
    );
}

/// A program that listens, until it is dropped.
struct Listening(std::process::Child);

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn storescp(options: &[&str], folder: &std::path::Path) -> (Listening, u16) {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let child = Command::new("storescp")
        .args(options)
        .args(["--fork", "+xa", "+B", "-od"])
        .arg(folder)
        .arg(port.to_string())
        .env("TCP_NODELAY", "1")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("storescp: {error}. Install it with: apt-get install dcmtk"));
    let listening = Listening(child);
    for _ in 0..500 {
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return (listening, port);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("storescp does not listen");
}

fn to_storescp() -> Proposal {
    Proposal::new(ae("PUNTE"), ae("PACS"))
        .with(uids::VERIFICATION, [uids::IMPLICIT_LITTLE])
        .with(CT, [uids::EXPLICIT_LITTLE, uids::IMPLICIT_LITTLE])
}

/// The data set of a file: after group 2.
fn data_set(file: &[u8]) -> &[u8] {
    let length = u32::from_le_bytes(file[140..144].try_into().unwrap()) as usize;
    &file[144 + length..]
}

#[tokio::test]
async fn storescp_keeps_what_we_send() {
    let folder = tempfile::tempdir().unwrap();
    let (_listening, port) = storescp(&[], folder.path()).await;
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut association = dimse::request(stream, to_storescp(), limits()).await.unwrap();
    assert!(association.echo().await.unwrap().is_success());
    let context = association
        .context(CT, Some(uids::EXPLICIT_LITTLE))
        .unwrap()
        .clone();
    let begun = std::time::Instant::now();
    for number in 0..50 {
        let instance = format!("2.25.{number}");
        let file = file(&instance, 40_000);
        let object = Object {
            class: CT,
            instance: &instance,
            originator: None,
        };
        assert!(
            association
                .store(&context, &object, data_set(&file))
                .await
                .unwrap()
                .status()
                .is_success()
        );
    }
    // With Nagle's algorithm on either side it would be two seconds.
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    association.release().await.unwrap();
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(files.len(), 50);
    let kept = std::fs::read(folder.path().join("CT.2.25.7")).unwrap();
    assert!(kept.ends_with(data_set(&file("2.25.7", 40_000))));
}

#[tokio::test]
async fn a_storescp_that_refuses_or_aborts() {
    let folder = tempfile::tempdir().unwrap();
    let connect = async |port| TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (_listening, port) = storescp(&["--refuse"], folder.path()).await;
    let error = dimse::request(connect(port).await, to_storescp(), limits())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, dimse::Error::Rejected(_)), "{error}");
    for option in ["--abort-after", "--abort-during"] {
        let (_listening, port) = storescp(&[option], folder.path()).await;
        let mut association = dimse::request(connect(port).await, to_storescp(), limits())
            .await
            .unwrap();
        let context = association.context(CT, None).unwrap().clone();
        let object = Object {
            class: CT,
            instance: "2.25.1",
            originator: None,
        };
        let error = association
            .store(&context, &object, data_set(&file("2.25.1", 3_000_000)))
            .await
            .err()
            .unwrap();
        assert!(
            matches!(
                error,
                dimse::Error::PeerAborted(_) | dimse::Error::Closed | dimse::Error::Io(_)
            ),
            "{option}: {error}"
        );
    }
}
