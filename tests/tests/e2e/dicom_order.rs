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

/// An archive by pynetdicom, and what it tells.
struct Archive {
    _peer: Peer,
    told: Arc<Mutex<Vec<String>>>,
}

impl Archive {
    fn run(port: u16, arguments: &[&str]) -> Result<Archive> {
        let python = std::env::var_os("PUNTE_TEST_PYTHON").context("PUNTE_TEST_PYTHON is not set")?;
        let mut child = Command::new(python)
            .arg(python::root().join("tests/python/archive.py"))
            .arg(port.to_string())
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("no standard output")?;
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = told.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(mut told) = heard.lock() {
                    told.push(line);
                }
            }
        });
        Ok(Archive {
            _peer: Peer(child),
            told,
        })
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().map(|told| told.clone()).unwrap_or_default()
    }

    /// The objects of a study that it has taken.
    fn taken(&self, study: usize) -> Vec<String> {
        let of = format!("2.25.9{study} ");
        let told = self.told();
        let of_study = told.iter().filter_map(|line| line.strip_prefix(&of));
        of_study.map(str::to_owned).collect()
    }
}

async fn listens(port: u16) {
    eventually("the archive listens", SOON, async || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    })
    .await;
}

fn channel(port: u16) -> String {
    channel_with(port, "order_by = \"study\"\nparallel = 4\n")
}

fn channel_with(port: u16, more: &str) -> String {
    format!(
        "id = \"images\"\nsource.dicom = {{ listen = \"127.0.0.1:0\", services = [\"store\"] }}\n\
         [[destination]]\nname = \"pacs\"\ndicom = {{ connect = \"127.0.0.1:{port}\", called_ae = \"PACS\" }}\n\
         {more}retry = {{ first = \"100ms\", max = \"200ms\" }}\n"
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
    let archive = Archive::run(port, &["2.25.91", &closed.to_string_lossy()])?;
    let taken = |study: usize| archive.taken(study);
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

#[derive(Debug)]
struct Delivery {
    state: String,
    last: String,
    attempts: u64,
}

/// The deliveries of all objects, in the order in which they came.
fn deliveries(home: &Home) -> Result<Vec<Delivery>> {
    let listed = home.json(&["messages", "--channel", "images", "--json"])?;
    let rows = listed["messages"].as_array().context("no list")?;
    let of = |row: &serde_json::Value| {
        let delivery = &row["deliveries"][0];
        let text = |key: &str| delivery[key].as_str().unwrap_or_default().to_owned();
        Delivery {
            state: text("state"),
            last: text("last"),
            attempts: delivery["attempts"].as_u64().unwrap_or_default(),
        }
    };
    Ok(rows.iter().rev().map(of).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_an_archive_breaks_off_at_holds_up_nothing_for_long() -> Result<()> {
    let (folder, port) = (TempDir::new()?, free_port()?);
    let none = folder.path().join("none");
    let archive = Archive::run(port, &["-", &none.to_string_lossy(), &instance(1, 2)])?;
    listens(port).await;
    // All by one queue, one behind the other.
    let home = Home::with(&[("images", &channel_with(port, "on_error = \"dead\"\n"))])?;
    let punte = home.serve()?;
    send(&punte, 2)?;
    eventually("all but one arrive", SOON, async || {
        let second: Vec<String> = (1..=EACH).map(|number| instance(2, number)).collect();
        (archive.taken(1) == [instance(1, 1), instance(1, 3)] && archive.taken(2) == second).then_some(())
    })
    .await;
    let breaks = archive.told().iter().filter(|line| *line == "breaks").count();
    ensure!(breaks == 5, "it was tried {breaks} times");
    let dead: Vec<_> = deliveries(&home)?
        .into_iter()
        .filter(|delivery| delivery.state == "dead")
        .collect();
    ensure!(
        dead.len() == 1
            && dead[0]
                .last
                .contains("The far side broke off 5 times at this one"),
        "{dead:?}"
    );
    Ok(())
}

/// Out of resources (A700) for one object, always: its study goes on without it, whether another study comes by or not.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_for_which_an_archive_never_has_room_holds_up_its_study_for_a_time() -> Result<()> {
    for studies in [2, 1] {
        let (folder, port) = (TempDir::new()?, free_port()?);
        let none = folder.path().join("none");
        let archive = Archive::run(port, &["-", &none.to_string_lossy(), "-", &instance(1, 2)])?;
        listens(port).await;
        let more =
            "order_by = \"study\"\non_error = \"dead\"\nbreaker = { after = 100, pause = \"100ms\" }\n";
        let text =
            channel_with(port, more).replace("max = \"200ms\"", "max = \"200ms\", put_off = \"1500ms\"");
        let home = Home::with(&[("images", &text)])?;
        let punte = home.serve()?;
        send(&punte, studies)?;
        let begun = std::time::Instant::now();
        eventually("all but one arrive", SOON, async || {
            (archive.taken(1) == [instance(1, 1), instance(1, 3)]
                && archive.taken(2).len() == EACH * (studies - 1))
                .then_some(())
        })
        .await;
        ensure!(Duration::from_millis(1400) < begun.elapsed(), "it had its time");
        let dead: Vec<_> = deliveries(&home)?
            .into_iter()
            .filter(|delivery| delivery.state == "dead")
            .collect();
        ensure!(
            dead.len() == 1
                && dead[0].last.contains("times, for longer than 1s500ms")
                && dead[0].last.contains("A700"),
            "{dead:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_breaks_off_at_all_objects_loses_one_at_most() -> Result<()> {
    let (kept, port) = (TempDir::new()?, free_port()?);
    let storescp = |arguments: &[&str]| -> Result<Peer> {
        let child = Command::new("storescp")
            .args(arguments)
            .arg("-od")
            .arg(kept.path())
            .arg(port.to_string())
            .env("TCP_NODELAY", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("storescp can't be run. Install it with: apt-get install -y dcmtk")?;
        Ok(Peer(child))
    };
    // It answers each echo.
    let sick = storescp(&["--abort-during"])?;
    listens(port).await;
    let home = Home::with(&[("images", &channel_with(port, "on_error = \"dead\"\n"))])?;
    let punte = home.serve()?;
    send(&punte, 2)?;
    eventually(
        "the second one is tried more often than the first",
        SOON,
        async || {
            let deliveries = deliveries(&home).ok()?;
            deliveries
                .get(1)
                .is_some_and(|second| 5 < second.attempts)
                .then_some(())
        },
    )
    .await;
    let deliveries = deliveries(&home)?;
    let states: Vec<&str> = deliveries
        .iter()
        .map(|delivery| delivery.state.as_str())
        .collect();
    ensure!(states[0] == "dead" && states[2..] == ["queued"; 4], "{states:?}");
    drop(sick);
    let _well = storescp(&[])?;
    eventually("the others arrive", SOON, async || {
        let all = (1..=2).flat_map(|study| (1..=EACH).map(move |number| (study, number)));
        let here = all.filter(|(study, number)| came(kept.path(), *study, *number).is_ok());
        (here.count() == 5).then_some(())
    })
    .await;
    Ok(())
}
