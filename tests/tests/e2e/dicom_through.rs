//! Objects through the whole program, by DCMTK on both sides: as they came, in order, and in little memory.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::dicom::{Listening, admit, data_set, dcmtk, dumped, free_port, listening, made};
use e2e::eventually;
use e2e::program::Home;
use tempfile::TempDir;

/// So many bytes one of them has.
const BIG: usize = 300_000_000;
/// So much more memory the program may take while it passes.
const MORE: u64 = 40 << 20;

/// An archive that keeps the bytes as they come, until it is dropped.
fn archive(folder: &Path, port: u16) -> Result<Listening> {
    let args = [
        "--fork",
        "+xa",
        "+B",
        "-od",
        &folder.to_string_lossy(),
        &port.to_string(),
    ];
    listening("storescp", &args, port)
}

/// An object with so many bytes of pixels.
fn object(folder: &Path, number: usize, pixels: usize) -> Result<()> {
    object_of(folder, number, pixels, "PROBA^IMAGINI")
}

/// An object of a patient who is called so.
fn object_of(folder: &Path, number: usize, pixels: usize, name: &str) -> Result<()> {
    let file = folder.join(format!("{number:02}.dcm"));
    let elements = format!(
        "(0008,0016) UI [1.2.840.10008.5.1.4.1.1.2]\n(0008,0018) UI [2.25.{number}]\n(0008,0060) CS [CT]\n\
         (0010,0010) PN [{name}]\n(0010,0020) LO [P-1]\n(0020,000d) UI [2.25.1000]\n(0020,000e) UI [2.25.1001]\n"
    );
    made(&file, &elements)?;
    let mut file = std::io::BufWriter::new(std::fs::OpenOptions::new().append(true).open(&file)?);
    file.write_all(b"\xe0\x7f\x10\x00OW\0\0")?;
    file.write_all(&u32::try_from(pixels)?.to_le_bytes())?;
    let piece: Vec<u8> = (0..1000).map(|at| (at * number % 251) as u8).collect();
    for _ in 0..pixels / piece.len() {
        file.write_all(&piece)?;
    }
    file.flush()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_pass_as_they_came_in_little_memory() -> Result<()> {
    let folder = TempDir::new()?;
    let (sent, kept) = (folder.path().join("sent"), folder.path().join("kept"));
    std::fs::create_dir(&sent)?;
    std::fs::create_dir(&kept)?;
    let pixels: Vec<usize> = [30_000; 10].into_iter().chain([512_000, 512_000, BIG]).collect();
    for (at, pixels) in pixels.iter().enumerate() {
        object(&sent, at + 1, *pixels)?;
    }
    let port = free_port()?;
    let _archive = archive(&kept, port)?;
    let channel = format!(
        "id = \"images\"\n[source]\nformat = \"bytes\"\n\
         dicom = {{ listen = \"127.0.0.1:0\", services = [\"store\"] }}\n\
         [[destination]]\nname = \"pacs\"\nformat = \"bytes\"\n\
         dicom = {{ connect = \"127.0.0.1:{port}\", called_ae = \"PACS\" }}\n"
    );
    let home = Home::with(&[("images", &channel)])?;
    let punte = home.serve()?;
    let to = punte.listens("images").port().to_string();
    let before = punte.resident().context("memory")?;
    let (peak, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let files = sent.to_string_lossy().into_owned();
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                peak.fetch_max(punte.resident().unwrap_or(0), Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let args = ["-aet", "CT1", "-aec", "PUNTE", "127.0.0.1", &to, "+sd", &files];
        let output = dcmtk("storescu", &args);
        let all = |folder: &Path| std::fs::read_dir(folder).map(|files| files.count()).unwrap_or(0);
        let whole = || {
            kept.join(format!("CT.2.25.{}", pixels.len()))
                .metadata()
                .is_ok_and(|file| BIG as u64 <= file.len())
        };
        for _ in 0..6000 {
            if all(&kept) == pixels.len() && whole() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        over.store(true, Ordering::SeqCst);
        output
    })?;
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let more = peak.into_inner().saturating_sub(before);
    println!(
        "resident before {} MB, {} MB more while {} MB passed",
        before >> 20,
        more >> 20,
        BIG / 1_000_000
    );
    for at in 1..=pixels.len() {
        let (came, went) = (
            sent.join(format!("{at:02}.dcm")),
            kept.join(format!("CT.2.25.{at}")),
        );
        ensure!(
            data_set(&came)? == data_set(&went)?,
            "object {at} is another one than what was sent"
        );
    }
    ensure!(more < MORE, "{} MB more", more >> 20);
    eventually("all deliveries are sent", Duration::from_secs(20), async || {
        let messages = punte.messages("&channel=images").await.ok()?;
        let is_sent = messages.iter().all(|message| message["state"] == "routed");
        (messages.len() == pixels.len() && is_sent).then_some(())
    })
    .await;
    ensure!(punte.stop()?.success());
    Ok(())
}

/// Whatever its length: what differs only in its pixels is kept aside for a person, the same one from another device is not.
#[tokio::test(flavor = "multi_thread")]
async fn other_pixels_under_the_same_uid_are_kept_aside() -> Result<()> {
    let channel = "id = \"images\"\n[source.dicom]\nlisten = \"127.0.0.1:0\"\nservices = [\"store\"]\n\
                   [[step]]\ndecode = \"dicom\"\n[[step]]\napply = true\n";
    let home = Home::with(&[("images", channel)])?;
    let punte = home.serve()?;
    admit(&punte, &home, &["P-1".to_owned()]).await?;
    let port = punte.listens("images").port().to_string();
    let send = |file: &Path, calling: &str| -> Result<()> {
        let file = file.to_string_lossy();
        let args = ["-aet", calling, "-aec", "PUNTE", "127.0.0.1", &port, &file];
        let output = dcmtk("storescu", &args)?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    };
    let parked = || -> Result<usize> {
        let parked = home.json(&["parked", "--json"])?;
        Ok(parked["parked"].as_array().context("parked")?.len())
    };
    let folder = TempDir::new()?;
    for (number, pixels) in [(1, 30_000), (2, 600_000)] {
        object(folder.path(), number, pixels)?;
        let file = folder.path().join(format!("{number:02}.dcm"));
        let before = parked()?;
        for calling in ["CT1", "CT1", "A_LONGER_TITLE"] {
            send(&file, calling)?;
        }
        ensure!(parked()? == before, "{pixels}: the same is no other one");
        let mut other = std::fs::read(&file)?;
        let last = other.last_mut().context("a byte")?;
        *last ^= 1;
        std::fs::write(&file, other)?;
        send(&file, "CT1")?;
        ensure!(
            parked()? == before + 1,
            "{pixels}: other pixels under the same UID"
        );
    }
    ensure!(punte.stop()?.success());
    Ok(())
}

/// A study under a name that was typed in at the device: one decision, for what is parked of it and for what comes later.
#[tokio::test(flavor = "multi_thread")]
async fn a_study_that_names_somebody_else_is_decided_once() -> Result<()> {
    let channel = "id = \"images\"\n[source.dicom]\nlisten = \"127.0.0.1:0\"\nservices = [\"store\"]\n\
                   [[step]]\ndecode = \"dicom\"\n[[step]]\napply = true\n";
    let home = Home::with(&[("images", channel)])?;
    let punte = home.serve()?;
    admit(&punte, &home, &["P-1".to_owned()]).await?;
    let port = punte.listens("images").port().to_string();
    let send = |number: usize, name: &str| -> Result<()> {
        let folder = TempDir::new()?;
        object_of(folder.path(), number, 30_000, name)?;
        let file = folder.path().join(format!("{number:02}.dcm"));
        let args = ["-aec", "PUNTE", "127.0.0.1", &port, &file.to_string_lossy()];
        ensure!(dcmtk("storescu", &args)?.status.success());
        Ok(())
    };
    let parked = || -> Result<Vec<serde_json::Value>> {
        let parked = home.json(&["parked", "--json"])?;
        Ok(parked["parked"].as_array().context("parked")?.clone())
    };
    for number in 1..=3 {
        send(number, "ALTUL^CINEVA")?;
    }
    send(4, "UN^AL^TREILEA")?;
    let waiting = parked()?;
    ensure!(waiting.len() == 4, "{waiting:?}");
    let first = waiting
        .iter()
        .min_by_key(|one| one["seq"].as_i64())
        .context("one of them")?;
    let id = first["id"].as_str().context("an id")?;
    let candidate = first["candidates"][0]["id"].as_str().context("a candidate")?;
    let done = home.run(&["parked", "resolve", id, "--as", candidate])?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    ensure!(
        parked()?.len() == 1,
        "one decision for the study, and none for another name"
    );
    send(5, "ALTUL^CINEVA")?;
    ensure!(parked()?.len() == 1, "what comes later");
    let routed = punte.messages("&channel=images&state=routed").await?;
    ensure!(routed.len() == 4, "{routed:?}");
    ensure!(punte.stop()?.success());
    Ok(())
}

/// Images made under another one's worklist entry. Once a person has said whose they are, they go on, and are handed out, under
/// that patient, with what they said before in Original Attributes; what lies here stays as it came.
#[tokio::test(flavor = "multi_thread")]
async fn images_go_out_under_the_patient_whose_they_are() -> Result<()> {
    let folder = TempDir::new()?;
    let (kept, got) = (folder.path().join("kept"), folder.path().join("got"));
    std::fs::create_dir(&kept)?;
    std::fs::create_dir(&got)?;
    let pacs = free_port()?;
    let _archive = archive(&kept, pacs)?;
    let channel = format!(
        "id = \"images\"\n[source]\nquestions = \"clinic\"\n[source.dicom]\nlisten = \"127.0.0.1:0\"\n\
         services = [\"store\", \"query\", \"retrieve\"]\nallow = [\"DCMTK\"]\n\
         [[step]]\ndecode = \"dicom\"\n[[step]]\napply = true\n\
         [[destination]]\nname = \"pacs\"\ndicom = {{ connect = \"127.0.0.1:{pacs}\", called_ae = \"PACS\" }}\n"
    );
    let home = Home::with(&[("images", &channel)])?;
    let punte = home.serve()?;
    admit(&punte, &home, &["P-1".to_owned()]).await?;
    let port = punte.listens("images").port().to_string();
    let called = ["-aet", "DCMTK", "-aec", "PUNTE", "127.0.0.1", &port];
    // One that is short, and one of which only the beginning is read.
    for (number, pixels) in [(1, 30_000), (2, 700_000)] {
        let sent = TempDir::new()?;
        object_of(sent.path(), number, pixels, "ALTUL^CINEVA")?;
        let file = sent.path().join(format!("{number:02}.dcm"));
        let file = file.to_string_lossy();
        let args = [&called[..], &[&file]].concat();
        ensure!(dcmtk("storescu", &args)?.status.success());
    }
    let parked = home.json(&["parked", "--json"])?;
    let first = &parked["parked"][0];
    let id = first["id"].as_str().context("an id")?;
    let whose = first["candidates"][0]["id"].as_str().context("a candidate")?;
    let done = home.run(&["parked", "resolve", id, "--as", whose])?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let at_pacs = |number: usize| kept.join(format!("CT.2.25.{number}"));
    eventually("both are at the archive", Duration::from_secs(20), async || {
        let sent = punte.messages("&channel=images&state=routed").await.ok()?;
        (sent.len() == 2 && at_pacs(1).exists() && at_pacs(2).exists()).then_some(())
    })
    .await;
    let study = [
        "-S",
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        "StudyInstanceUID=2.25.1000",
    ];
    let got_in = got.to_string_lossy();
    let out = ["+B", "-od", &got_in];
    let taken = dcmtk("getscu", &[&out[..], &study, &called].concat())?;
    ensure!(
        taken.status.success(),
        "{}",
        String::from_utf8_lossy(&taken.stderr)
    );
    for (number, pixels) in [(1, 30_000), (2, 700_000)] {
        let given = got.join(format!("2.25.{number}"));
        for file in [at_pacs(number), given] {
            let said = dumped(&file)?;
            let (said, _) = said.split_once("(7fe0,0010)").context("pixels")?;
            let top: Vec<&str> = said.lines().filter(|line| !line.starts_with(' ')).collect();
            let has = |tag: &str, value: &str| {
                top.iter()
                    .any(|line| line.starts_with(tag) && line.contains(value))
            };
            ensure!(
                has("(0010,0010)", "[Proba^Imagini]") && has("(0010,0020)", "[P-1]"),
                "{said}"
            );
            let before = said.split("(0400,0561)").nth(1).context("Original Attributes")?;
            for told in ["[ALTUL^CINEVA]", "[COERCE]", "[Punte]"] {
                ensure!(before.contains(told), "{told}: {said}");
            }
            ensure!(u64::try_from(pixels)? < file.metadata()?.len());
            // The last of the pixels, as they were sent.
            let last: Vec<u8> = (0..1000).map(|at| (at * number % 251) as u8).collect();
            ensure!(std::fs::read(&file)?.ends_with(&last), "{}", file.display());
        }
    }
    let key = home.json(&["key", "add", "viewer", "--json", "--scope", "clinic:read"])?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let metadata = client
        .get(format!(
            "http://{}/dicom-web/studies/2.25.1000/metadata",
            punte.http
        ))
        .bearer_auth(key["key"].as_str().context("a key")?)
        .send()
        .await?;
    let metadata: serde_json::Value = metadata.json().await?;
    for object in metadata.as_array().context("objects")? {
        ensure!(
            object["00100010"]["Value"][0]["Alphabetic"] == "Proba^Imagini",
            "{object}"
        );
    }
    // What lies here is what came.
    let rows = punte.messages("&channel=images&state=routed").await?;
    let id = rows[0]["id"].as_str().context("an id")?;
    let raw = home.run(&["messages", "show", id, "--raw"])?;
    ensure!(raw.stdout.windows(12).any(|part| part == b"ALTUL^CINEVA"));
    ensure!(punte.stop()?.success());
    Ok(())
}
