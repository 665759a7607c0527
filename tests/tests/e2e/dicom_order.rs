//! Objects of one study go in order, studies beside each other (`order_by = "study"`): with DCMTK's storescp, which is
//! slow, and with an archive that does not take one study for a while.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use e2e::dicom::{dcmtk, free_port};
use e2e::eventually;
use e2e::program::{Home, Punte};
use tempfile::TempDir;

use crate::python;

const SOON: Duration = Duration::from_secs(60);
/// Objects of each study.
const EACH: usize = 3;

struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn listens(port: u16) {
    eventually("the archive listens", SOON, async || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    })
    .await;
}

fn channel(port: u16) -> String {
    format!(
        "id = \"images\"\nsource.dicom = {{ listen = \"127.0.0.1:0\", services = [\"store\"] }}\n\
         [[destination]]\nname = \"pacs\"\ndicom = {{ connect = \"127.0.0.1:{port}\", called_ae = \"PACS\" }}\n\
         order_by = \"study\"\nparallel = 4\nretry = {{ first = \"100ms\", max = \"200ms\" }}\n"
    )
}

/// The number of an object of a study.
fn instance(study: usize, number: usize) -> String {
    format!("2.25.{study}{number}")
}

/// Sends objects of so many studies: the first of each, then the second …
fn send(punte: &Punte, studies: usize) -> Result<()> {
    let folder = TempDir::new()?;
    for number in 1..=EACH {
        for study in 1..=studies {
            let (text, file) = (
                folder.path().join("text"),
                folder.path().join(format!("{number}-{study}.dcm")),
            );
            let elements = format!(
                "(0008,0016) UI [1.2.840.10008.5.1.4.1.1.2]\n(0008,0018) UI [{}]\n(0008,0060) CS [CT]\n\
                 (0010,0010) PN [POP^ANA]\n(0010,0020) LO [P-1]\n(0020,000d) UI [2.25.9{study}]\n(0020,000e) UI [2.25.8{study}]\n",
                instance(study, number)
            );
            std::fs::write(&text, elements)?;
            let made = dcmtk(
                "dump2dcm",
                &["+te", &text.to_string_lossy(), &file.to_string_lossy()],
            )?;
            ensure!(made.status.success());
            let to = punte.listens("images").port().to_string();
            let file = file.to_string_lossy();
            let sent = dcmtk(
                "storescu",
                &["-aet", "CT1", "-aec", "PUNTE", "127.0.0.1", &to, &file],
            )?;
            ensure!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
        }
    }
    Ok(())
}

fn came(folder: &Path, study: usize, number: usize) -> Result<SystemTime> {
    let file = folder.join(format!("CT.{}", instance(study, number)));
    Ok(file
        .metadata()
        .with_context(|| file.display().to_string())?
        .modified()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn studies_go_beside_each_other_to_a_slow_archive() -> Result<()> {
    let (kept, port) = (TempDir::new()?, free_port()?);
    let log = kept.path().join("log");
    let child = Command::new("storescp")
        .args(["-v", "--fork", "--sleep-after", "2", "-od"])
        .arg(kept.path())
        .arg(port.to_string())
        .env("TCP_NODELAY", "1")
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&log)?)
        .stderr(std::fs::File::options().append(true).open(&log)?)
        .spawn()
        .context("storescp can't be run. Install it with: apt-get install -y dcmtk")?;
    let _peer = Peer(child);
    listens(port).await;
    let home = Home::with(&[("images", &channel(port))])?;
    let punte = home.serve()?;
    send(&punte, 3)?;
    eventually("all objects arrive", SOON, async || {
        let all = (1..=3).flat_map(|study| (1..=EACH).map(move |number| (study, number)));
        all.into_iter()
            .all(|(study, number)| came(kept.path(), study, number).is_ok())
            .then_some(())
    })
    .await;
    for study in 1..=3 {
        for number in 2..=EACH {
            ensure!(
                came(kept.path(), study, number - 1)? < came(kept.path(), study, number)?,
                "study {study} is out of order"
            );
        }
    }
    // The archive takes two seconds for each: the others do not wait for the first study to end.
    for study in 2..=3 {
        ensure!(
            came(kept.path(), study, 1)? < came(kept.path(), 1, EACH)?,
            "study {study} waited for the first"
        );
    }
    let log = std::fs::read_to_string(&log)?;
    let associations = log.matches("Association Acknowledged").count();
    ensure!(
        (1..=4).contains(&associations),
        "{associations} associations for {} objects:\n{log}",
        3 * EACH
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_that_is_not_taken_holds_up_no_other() -> Result<()> {
    let (folder, port) = (TempDir::new()?, free_port()?);
    let closed = folder.path().join("closed");
    std::fs::write(&closed, "")?;
    let python = std::env::var_os("PUNTE_TEST_PYTHON").context("PUNTE_TEST_PYTHON is not set")?;
    let mut child = Command::new(python)
        .arg(python::root().join("tests/python/archive.py"))
        .args([&port.to_string(), "2.25.91"])
        .arg(&closed)
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("no standard output")?;
    let _peer = Peer(child);
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = told.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Ok(mut told) = heard.lock() {
                told.push(line);
            }
        }
    });
    let taken = |study: usize| -> Vec<String> {
        let told = told.lock().map(|told| told.clone()).unwrap_or_default();
        let of = format!("2.25.9{study} ");
        told.iter()
            .filter_map(|line| line.strip_prefix(&of).map(str::to_owned))
            .collect()
    };
    listens(port).await;
    let home = Home::with(&[("images", &channel(port))])?;
    let punte = home.serve()?;
    send(&punte, 3)?;
    let all = |study: usize| -> Vec<String> { (1..=EACH).map(|number| instance(study, number)).collect() };
    eventually("the others arrive", SOON, async || {
        (taken(2) == all(2) && taken(3) == all(3)).then_some(())
    })
    .await;
    ensure!(taken(1).is_empty(), "it was closed to the first study");
    std::fs::remove_file(&closed)?;
    eventually("the first study arrives", SOON, async || {
        (taken(1) == all(1)).then_some(())
    })
    .await;
    Ok(())
}
