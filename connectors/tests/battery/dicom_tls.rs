//! DICOM over TLS, with DCMTK on the other side: both have to show a certificate.

use std::process::Command;
use std::sync::Arc;

use connectors::dicom::part10;
use engine::connector::Surroundings;
use serde_json::json;
use tempfile::TempDir;

use crate::dicom::{CT, Clinic, data_set, dcmtk, file};
use crate::dicom_destination::{sent, storescp};
use crate::pki::{Authority, valid};
use crate::{Running, destination_in, outgoing, within};

fn pki() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new("Ours").unwrap();
    ours.write(folder.path(), "ca.pem").unwrap();
    ours.sign(folder.path(), "punte", valid("localhost")).unwrap();
    ours.sign(folder.path(), "ct1", valid("ct1.example")).unwrap();
    folder
}

fn surroundings(folder: &TempDir) -> Surroundings {
    Surroundings {
        folder: folder.path().to_owned(),
        ..Surroundings::default()
    }
}

#[tokio::test]
async fn dicom_takes_objects_over_tls() {
    let (folder, clinic) = (pki(), Arc::new(Clinic::default()));
    let settings = json!({
        "listen": "127.0.0.1:0", "services": ["store"],
        "tls": { "cert": "punte.pem", "key": "punte.key", "client_ca": "ca.pem" },
    });
    let connector = connectors::all().get("dicom").unwrap();
    let source = connector
        .open_source(&settings, &surroundings(&folder))
        .await
        .unwrap();
    let address = source.local_address().unwrap();
    let stop = engine::connector::Stop::new();
    let task = tokio::spawn({
        let (intake, stop): (engine::connector::Intake, _) = (clinic.clone(), stop.clone());
        async move { source.run(intake, stop).await.unwrap() }
    });
    let running = Running { address, stop, task };
    let port = running.address.port().to_string();
    let object = folder.path().join("object.dcm");
    std::fs::write(&object, file(CT, "2.25.1", 400_000)).unwrap();
    let of_dcmtk = |program: &str, secured: bool| {
        let mut command = Command::new(program);
        command
            .current_dir(folder.path())
            .args(["-v", "-aet", "CT1", "-aec", "PUNTE"]);
        if secured {
            command.args(["+tls", "ct1.key", "ct1.pem", "+cf", "ca.pem"]);
        }
        command.args(["127.0.0.1", &port]);
        command
    };
    dcmtk(of_dcmtk("echoscu", true)).await;
    let mut store = of_dcmtk("storescu", true);
    store.arg("object.dcm");
    dcmtk(store).await;
    let taken = clinic.taken();
    assert_eq!(taken.len(), 1);
    assert!(
        taken[0]
            .header("certificate")
            .is_some_and(|subject| subject.contains("ct1.example"))
    );
    let (_, at) = part10::read(&taken[0].body).unwrap();
    assert_eq!(&taken[0].body[at..], data_set(&file(CT, "2.25.1", 400_000)));
    // Without TLS nobody is let in, and nobody else is disturbed.
    let mut plain = of_dcmtk("echoscu", false);
    let output = tokio::task::spawn_blocking(move || plain.args(["-ta", "2"]).output());
    let output = within(20, output).await.unwrap().unwrap();
    assert!(!output.status.success());
    dcmtk(of_dcmtk("echoscu", true)).await;
    running.stopped().await;
}

#[tokio::test]
async fn dicom_sends_objects_over_tls() {
    let folder = pki();
    let kept = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let options = [
        "+tls",
        &place("punte.key"),
        &place("punte.pem"),
        "+cf",
        &place("ca.pem"),
    ];
    let (_listening, port) = storescp(kept.path(), &options).await;
    let with = |tls: serde_json::Value| json!({ "connect": format!("127.0.0.1:{port}"), "called_ae": "PACS", "reply_timeout": "10s", "tls": tls });
    let tls = json!({ "ca": "ca.pem", "cert": "ct1.pem", "key": "ct1.key", "name": "localhost" });
    let sender = destination_in(&surroundings(&folder), "dicom", with(tls)).await;
    sender.probe().await.unwrap();
    for number in 0..10 {
        let object = outgoing(file(CT, &format!("2.25.{number}"), 400_000));
        assert_eq!(sent(&sender, &object).await, "answer 0000");
    }
    let stored = std::fs::read(kept.path().join("CT.2.25.7")).unwrap();
    assert!(stored.ends_with(data_set(&file(CT, "2.25.7", 400_000))));
    // It shows a certificate of another name than the one that is wanted.
    let tls = json!({ "ca": "ca.pem", "cert": "ct1.pem", "key": "ct1.key", "name": "pacs.example" });
    let sender = destination_in(&surroundings(&folder), "dicom", with(tls)).await;
    let result = sent(&sender, &outgoing(file(CT, "2.25.99", 100))).await;
    assert!(result.starts_with("retry No secure connection"), "{result}");
}
