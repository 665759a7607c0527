//! Storage commitment: asked by a modality (pynetdicom) and answered here, and asked of an archive (Orthanc).

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::dicom::{Modality, Orthanc, free_port};
use e2e::eventually;
use e2e::program::{Home, Punte};
use serde_json::{Value, json};

use crate::dicom_archive::knows;
use crate::python;

const SOON: Duration = Duration::from_secs(30);
const OPEN: u64 = 0x0112;
const CONFLICT: u64 = 0x0119;

/// A channel that keeps images, and one that says so, on one port.
fn home(listen: u16, commitment: &str) -> Result<Home> {
    let images = format!(
        "id = \"images\"\n[source.dicom]\nlisten = \"127.0.0.1:{listen}\"\nservices = [\"store\"]\n\
         [[step]]\ndecode = \"dicom\"\n[[step]]\napply = true\n"
    );
    let commitment = format!(
        "id = \"commitment\"\n[source.dicom]\nlisten = \"127.0.0.1:{listen}\"\nservices = [\"commitment\"]\n\
         [[destination]]\nname = \"report\"\nretry = {{ first = \"100ms\", max = \"300ms\", give_up = \"7d\" }}\n\
         storage-commitment = {{ {commitment} }}\n"
    );
    Home::with(&[("images", &images), ("commitment", &commitment)])
}

fn modality(port: u16, reports: u16) -> Result<Modality> {
    let (port, reports) = (port.to_string(), reports.to_string());
    let scripts = python::root().join("tests/python");
    Modality::by(&scripts, "committer.py", &[&port, "PUNTE", "CT1", &reports])
}

/// Asks, and gives the transaction.
fn asks(modality: &mut Modality, words: &str) -> Result<Value> {
    let told = modality.does(&format!("ask {words}"))?;
    ensure!(told["status"] == 0, "{told}");
    Ok(told["transaction"].clone())
}

fn is_on(report: &Value, transaction: &Value, committed: u64, failed: &[u64]) -> Result<()> {
    let event = if failed.is_empty() { 1 } else { 2 };
    let expected = json!({
        "event": event, "by": "PUNTE", "transaction": transaction, "committed": committed, "failed": failed
    });
    ensure!(*report == expected, "{report} where {expected} is right");
    Ok(())
}

async fn with(punte: &Punte, channel: &str, state: &str, count: usize) {
    let query = format!("&channel={channel}&state={state}");
    eventually(&format!("{count} are {state}"), SOON, async || {
        let messages = punte.messages(&query).await.ok()?;
        (messages.len() == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_said_to_who_asks() -> Result<()> {
    let (listen, reports) = (free_port()?, free_port()?);
    let peers = format!("grace = \"4s\", peers = {{ CT1 = {{ connect = \"127.0.0.1:{reports}\" }} }}");
    let home = home(listen, &peers)?;
    let punte = home.serve()?;
    knows(&home, &punte).await?;
    let mut modality = modality(listen, reports)?;
    modality.does("listen")?;
    // Stored, then asked for.
    modality.does("make 4")?;
    modality.does("store")?;
    let transaction = asks(&mut modality, "")?;
    is_on(&modality.does("report 20")?, &transaction, 4, &[])?;
    // Whose report was lost asks again.
    ensure!(asks(&mut modality, "again")? == transaction);
    is_on(&modality.does("report 20")?, &transaction, 4, &[])?;
    // Asked for before the last one has come.
    modality.does("make 3")?;
    modality.does("store 2")?;
    let transaction = asks(&mut modality, "")?;
    ensure!(modality.does("report 1")?["none"] == true);
    modality.does("store")?;
    is_on(&modality.does("report 20")?, &transaction, 3, &[])?;
    // What never comes is said once its time is over, and what is of another class at once with it; another transaction
    // does not wait for it.
    modality.does("make 2")?;
    modality.does("store")?;
    let waits = asks(&mut modality, "stranger twisted")?;
    modality.does("make 1")?;
    modality.does("store")?;
    let transaction = asks(&mut modality, "")?;
    is_on(&modality.does("report 20")?, &transaction, 1, &[])?;
    is_on(&modality.does("report 20")?, &waits, 1, &[OPEN, CONFLICT])?;
    // A request for nothing is none.
    ensure!(modality.does("ask empty")?["status"] == 0x0120);
    // A modality that is off for a while, and a program that is killed meanwhile.
    modality.does("deaf")?;
    modality.does("make 2")?;
    modality.does("store")?;
    let transaction = asks(&mut modality, "")?;
    with(&punte, "commitment", "retrying", 1).await;
    // While the first is under way, it is the same request.
    ensure!(asks(&mut modality, "again")? == transaction);
    punte.kill();
    let punte = home.serve()?;
    modality.does("listen")?;
    is_on(&modality.does("report 20")?, &transaction, 2, &[])?;
    ensure!(modality.does("report 1")?["none"] == true);
    with(&punte, "commitment", "sent", 6).await;
    Ok(())
}

/// Killed with the answer of the request hardly gone: the report comes all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_answered_outlives_a_kill() -> Result<()> {
    let (listen, reports) = (free_port()?, free_port()?);
    let peers = format!("grace = \"1m\", peers = {{ CT1 = {{ connect = \"127.0.0.1:{reports}\" }} }}");
    let home = home(listen, &peers)?;
    let mut modality = modality(listen, reports)?;
    modality.does("listen")?;
    let mut open = vec![];
    for round in 0..4 {
        let punte = home.serve()?;
        if round == 0 {
            knows(&home, &punte).await?;
        }
        modality.does("make 2")?;
        modality.does("store 1")?;
        open.push(asks(&mut modality, "")?);
        punte.kill();
    }
    let _punte = home.serve()?;
    ensure!(modality.does("report 1")?["none"] == true);
    modality.does("store")?;
    let mut reported = vec![];
    for _ in &open {
        let report = modality.does("report 20")?;
        ensure!(report["event"] == 1 && report["committed"] == 2, "{report}");
        reported.push(report["transaction"].clone());
    }
    let sorted = |list: &[Value]| {
        let mut list: Vec<String> = list.iter().map(ToString::to_string).collect();
        list.sort();
        list
    };
    assert_eq!(sorted(&reported), sorted(&open));
    Ok(())
}

/// The report goes by the association that it was asked on, where that is wanted.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_goes_by_the_same_association() -> Result<()> {
    let listen = free_port()?;
    let home = home(listen, "same_association = true")?;
    let punte = home.serve()?;
    knows(&home, &punte).await?;
    let scripts = python::root().join("tests/python");
    let mut modality = Modality::by(
        &scripts,
        "committer.py",
        &[&listen.to_string(), "PUNTE", "CT1", "1"],
    )?;
    modality.does("make 3")?;
    let report = modality.does("stays")?;
    ensure!(
        report["statuses"] == json!([0, 0, 0, 0]) && report["event"] == 1 && report["committed"] == 3,
        "{report}"
    );
    Ok(())
}

/// What a modality asks is asked of an archive, whose report ends it; a report that nobody waits for is for a person.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_asked_and_its_report_is_waited_for() -> Result<()> {
    let (listen, to) = (free_port()?, free_port()?);
    let orthanc = Orthanc::start_at(to, &[("PUNTE", listen)]).await?;
    let channel = format!(
        "id = \"ct\"\n[source.dicom]\nlisten = \"127.0.0.1:{listen}\"\nservices = [\"store\", \"commitment\"]\n\
         [[destination]]\nname = \"pacs\"\non_error = \"dead\"\nanswers = {{ within = \"1h\" }}\n\
         dicom = {{ connect = \"127.0.0.1:{}\", called_ae = \"ORTHANC\" }}\n",
        orthanc.dicom
    );
    let home = Home::with(&[("ct", &channel)])?;
    let punte = home.serve()?;
    let mut modality = modality(listen, 1)?;
    modality.does("make 2")?;
    modality.does("store")?;
    eventually("both are there", SOON, async || {
        (orthanc.instances().await.ok()?.len() == 2).then_some(())
    })
    .await;
    asks(&mut modality, "")?;
    with(&punte, "ct", "sent", 3).await;
    modality.does("make 1")?;
    modality.does("store")?;
    with(&punte, "ct", "sent", 4).await;
    asks(&mut modality, "stranger")?;
    with(&punte, "ct", "dead", 1).await;
    let told = modality.does("claims 2.25.4711")?;
    ensure!(told["status"] == 0, "{told}");
    let failed = punte.messages("&channel=ct&state=failed").await?;
    ensure!(failed.len() == 1, "{failed:?}");
    ensure!(home.log().contains("nobody waits for"), "{}", home.log_end(10));
    // What the archive says of each object is a status and no message.
    let answers = punte.messages("&channel=ct@pacs&state=failed").await?;
    ensure!(answers.is_empty(), "{answers:?}");
    Ok(())
}

/// One channel may take images and the requests to keep them: the reports are on those alone.
#[tokio::test(flavor = "multi_thread")]
async fn one_channel_takes_images_and_requests() -> Result<()> {
    let (listen, reports) = (free_port()?, free_port()?);
    let both = format!(
        "id = \"both\"\n[source.dicom]\nlisten = \"127.0.0.1:{listen}\"\nservices = [\"store\", \"commitment\"]\n\
         [[step]]\ndecode = \"dicom\"\n[[step]]\napply = true\n\
         [[destination]]\nname = \"report\"\n\
         storage-commitment = {{ grace = \"4s\", peers = {{ CT1 = {{ connect = \"127.0.0.1:{reports}\" }} }} }}\n"
    );
    let home = Home::with(&[("both", &both)])?;
    let punte = home.serve()?;
    knows(&home, &punte).await?;
    let mut modality = modality(listen, reports)?;
    for command in ["listen", "make 2", "store"] {
        modality.does(command)?;
    }
    let transaction = asks(&mut modality, "")?;
    is_on(&modality.does("report 20")?, &transaction, 2, &[])?;
    let all = punte.messages("&channel=both").await?;
    let owed = |row: &&Value| row["deliveries"].as_array().is_some_and(|owed| !owed.is_empty());
    assert_eq!((all.len(), all.iter().filter(owed).count()), (3, 1), "{all:?}");
    Ok(())
}
