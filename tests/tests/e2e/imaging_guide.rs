//! What `docs/guide/imaging.md` promises, with the channels that ship: from an order to the archive, and what comes of each
//! misbehaviour.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::dicom::free_port;
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use tempfile::TempDir;

use crate::python;
use crate::simulate::{Talking, files, modality, pacs_at, text};

/// How long something may take that is to happen.
const SOON: Duration = Duration::from_secs(30);

/// The channels that ship, at ports of their own.
fn channels(pacs: u16) -> Result<Vec<(&'static str, String)>> {
    let all = [
        "imaging-orders",
        "imaging-modality",
        "imaging-commitment",
        "imaging-pacs",
    ];
    // Two of them share it.
    let modalities = free_port()?;
    let shipped = |name: &'static str| -> Result<(&'static str, String)> {
        let file = python::root().join("channels").join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let text = text
            .replace("127.0.0.1:2582", "127.0.0.1:0")
            .replace("127.0.0.1:11112", &format!("127.0.0.1:{modalities}"))
            .replace("127.0.0.1:11113", &format!("127.0.0.1:{pacs}"))
            .replace(
                "on_error = \"hold\"",
                "on_error = \"hold\"\nretry = { first = \"200ms\", max = \"500ms\" }",
            );
        Ok((name, text))
    };
    all.into_iter().map(shipped).collect()
}

struct Clinic {
    home: Home,
    punte: Punte,
    ris: Sender,
    orders: u32,
}

impl Clinic {
    /// Orders an examination that nobody has ordered yet; its accession number.
    async fn orders(&mut self) -> Result<String> {
        self.orders += 1;
        let sample = python::root().join("channels/imaging-orders.tests/new-order/in.hl7");
        let number = 9100 + self.orders;
        let order = std::fs::read_to_string(sample)?
            .replace('\n', "\r")
            .replace("9100", &number.to_string())
            .replace("O23-1", &format!("O23-{number}"))
            .replace("2.25.7000", &format!("2.25.70{number}"));
        let answer = self.ris.ask(order.as_bytes()).await?;
        ensure!(
            field(&answer, "MSA", 1) == "AA",
            "{}",
            String::from_utf8_lossy(&answer)
        );
        Ok(format!("A-{number}"))
    }

    /// The device does what is ordered by this number.
    fn device(&self, accession: &str, more: &[&str]) -> Result<Output> {
        let to = self.punte.listens("imaging-modality").to_string();
        let key = format!("AccessionNumber={accession}");
        modality(&[&[to.as_str(), "-k", &key, "--side", "32"], more].concat())
    }

    fn parked(&self) -> Result<usize> {
        let parked = self.home.json(&["parked", "--json"])?;
        Ok(parked["parked"].as_array().map(Vec::len).unwrap_or_default())
    }

    async fn status(&self, accession: &str) -> Result<String> {
        let number = accession.replace("A-", "PL-");
        let found = self
            .punte
            .search(&format!("ServiceRequest?identifier={number}"))
            .await?;
        Ok(found.first().context("the order")?["status"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    }
}

/// Waits until the archive has so many objects.
async fn archived(folder: &Path, count: usize) {
    eventually("the objects are in the archive", SOON, async || {
        files(folder)
            .is_ok_and(|files| files.len() == count)
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_leads_from_an_order_to_the_archive() -> Result<()> {
    let folder = TempDir::new()?;
    let archive = folder.path().join("archive");
    let port = free_port()?;
    let start = |more: &[&str]| -> Result<Talking> {
        Ok(pacs_at(port, &archive, &[&["--title", "PACS"], more].concat())?.0)
    };
    let channels = channels(port)?;
    let channels: Vec<(&str, &str)> = channels
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let home = Home::with(&channels)?;
    let punte = home.serve()?;
    let ris = Sender::connect(punte.listens("imaging-orders")).await?;
    let mut clinic = Clinic {
        home,
        punte,
        ris,
        orders: 0,
    };

    // There is no PACS at first: objects wait.
    let first = clinic.orders().await?;
    let output = clinic.device(&first, &[])?;
    ensure!(
        output.status.success()
            && text(&output).contains("3 kept for good")
            && text(&output).contains("1 examination, 3 images: all"),
        "{}",
        text(&output)
    );
    ensure!(clinic.status(&first).await? == "completed");
    let studies = clinic
        .punte
        .search(&format!("ImagingStudy?identifier={first}"))
        .await?;
    ensure!(
        studies.len() == 1 && studies[0]["numberOfInstances"] == 3,
        "{studies:?}"
    );
    // It comes, and is full: what it refused is sent again, in order.
    let pacs = start(&["--refuse", "3"])?;
    archived(&archive, 3).await;
    let lines = pacs.lines();
    ensure!(
        lines
            .iter()
            .filter(|line| line.contains("refused   A700"))
            .count()
            == 3,
        "{lines:#?}"
    );

    // Said twice, it is done once.
    let second = clinic.orders().await?;
    let output = clinic.device(&second, &["--repeat-create"])?;
    ensure!(
        output.status.success() && text(&output).contains("begins        0111"),
        "{}",
        text(&output)
    );
    archived(&archive, 6).await;
    ensure!(clinic.status(&second).await? == "completed");

    // A wrong entry: back on the list, and done then. What was switched off: what it had sent is there.
    let third = clinic.orders().await?;
    let output = clinic.device(&third, &["--discontinue", "wrong-entry", "--images", "0"])?;
    ensure!(output.status.success(), "{}", text(&output));
    ensure!(clinic.status(&third).await? == "active");
    let output = clinic.device(&third, &["--abort-after", "2", "--no-final"])?;
    ensure!(
        output.status.success() && text(&output).contains("worklist: 1 planned"),
        "{}",
        text(&output)
    );
    archived(&archive, 8).await;
    ensure!(clinic.parked()? == 0);

    // Another patient, another object under the same UID: parked, and not sent on.
    let fourth = clinic.orders().await?;
    let output = clinic.device(
        &fourth,
        &[
            "--wrong-patient",
            "--images",
            "2",
            "--no-final",
            "--without",
            "commitment",
        ],
    )?;
    ensure!(output.status.success(), "{}", text(&output));
    ensure!(clinic.parked()? == 2);
    let output = clinic.device(
        &fourth,
        &["--duplicate=changed", "--images", "1", "--without", "commitment"],
    )?;
    ensure!(
        output.status.success() && text(&output).contains("image 1 again 0000"),
        "{}",
        text(&output)
    );
    ensure!(clinic.parked()? == 3);
    archived(&archive, 9).await;

    // A PACS that takes nothing: the queue is held, and one that was rejected comes again.
    drop(pacs);
    let pacs = start(&["--status", "C000", "--reject", "1"])?;
    let fifth = clinic.orders().await?;
    ensure!(clinic.device(&fifth, &["--images", "1"])?.status.success());
    eventually("the delivery is held", SOON, async || {
        let held = clinic
            .punte
            .messages("&channel=imaging-pacs&state=held")
            .await
            .ok()?;
        (held.len() == 1).then_some(())
    })
    .await;
    pacs.says("association rejected")?;
    ensure!(files(&archive)?.len() == 9);
    clinic.punte.stop()?;
    Ok(())
}
