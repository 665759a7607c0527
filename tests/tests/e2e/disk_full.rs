//! A full disk: each source says in the words of its protocol that it is to be sent again, nothing is stored by halves, and
//! it goes on by itself when there is space. What was acknowledged is there after a kill, what was refused is not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::crash::Rng;
use e2e::dicom::{Modality, dcmtk, made};
use e2e::disk::SmallDisk;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use serde_json::json;
use tempfile::TempDir;

use crate::python::root;
use crate::scenes;

/// It lies in its row.
const SHORT: usize = 20_000;
/// It lies in a file, which is written while it comes.
const LONG: usize = 2_500_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// One who sends by one protocol.
trait Sends {
    /// The channel that takes it.
    const CHANNEL: &'static str = "clinic";
    /// What is refused stays where the program finds it by itself.
    const STAYS: bool = false;

    /// Sends the message of this number, which is so long and always the same. True: it was taken. False: it was said that
    /// it is to be sent again. Any other answer is an error.
    async fn send(&mut self, number: usize, length: usize) -> Result<bool>;

    /// What it is listed by.
    fn id(&self, number: usize) -> String {
        format!("F{number}")
    }
}

/// The program on a small disk.
struct Clinic {
    punte: Punte,
    home: Home,
    disk: SmallDisk,
}

/// With a channel that has this source and writes to the chart. None: there are no small disks here.
fn clinic(source: &str, format: &str) -> Result<Option<Clinic>> {
    let channel =
        format!("id = \"clinic\"\n{source}\n[[step]]\ndecode = \"{format}\"\n[[step]]\napply = true\n");
    let mut home = Home::with(&[("clinic", &channel)])?;
    std::fs::create_dir(home.path().join("in"))?;
    let Some(disk) = SmallDisk::over(&home.path().join("data"), "60m")? else {
        return Ok(None);
    };
    home.lies_on(&disk);
    let punte = home.serve()?;
    Ok(Some(Clinic { punte, home, disk }))
}

/// How often a message could not be stored, as the metrics have it.
async fn not_stored(http: impl std::fmt::Display, channel: &str) -> Result<u64> {
    let url = format!("http://{http}/metrics");
    let text = client()?.get(url).send().await?.text().await?;
    let begins = format!("punte_not_stored_total{{channel=\"{channel}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&begins));
    Ok(line.context("it is not counted")?.parse()?)
}

async fn refuses_and_goes_on<S: Sends>(clinic: Clinic, mut sender: S) -> Result<()> {
    let Clinic { punte, home, disk } = clinic;
    let (mut next, mut taken) = (0, BTreeSet::new());
    for length in [SHORT, LONG] {
        for _ in 0..2 {
            ensure!(sender.send(next, length).await?, "refused, and there is room");
            taken.insert(sender.id(next));
            next += 1;
        }
        disk.fill()?;
        // The log of the store has room of its own for a while.
        while sender.send(next, length).await? {
            taken.insert(sender.id(next));
            next += 1;
            ensure!(next < 2000, "the disk did not become full");
        }
        let (again, never) = (next, next + 1);
        next += 2;
        disk.fill()?;
        let before = not_stored(&punte.http, S::CHANNEL).await?;
        for number in [again, never] {
            ensure!(!sender.send(number, length).await?, "taken, and there is no room");
        }
        let counted = not_stored(&punte.http, S::CHANNEL).await? - before;
        ensure!(2 <= counted, "{counted} of two are counted as not stored");
        let (status, found) = punte.get("/fhir/Patient?identifier=nobody").await?;
        ensure!(
            status == 200,
            "who asks is answered all the same: {status} {found}"
        );
        disk.make_room()?;
        comes_in(&mut sender, again, length).await?;
        taken.insert(sender.id(again));
        if S::STAYS {
            comes_in(&mut sender, never, length).await?;
            taken.insert(sender.id(never));
        }
        let drafts = disk.seen(&home.path().join("data/blobs/new"));
        let drafts = std::fs::read_dir(drafts).map_or(0, Iterator::count);
        ensure!(drafts == 0, "{drafts} bodies are stored by halves");
    }
    punte.kill();
    let punte = home.serve()?;
    let mut listed = BTreeSet::new();
    for row in punte.messages(&format!("&channel={}", S::CHANNEL)).await? {
        let id = row["control_id"].as_str().unwrap_or_default().to_owned();
        ensure!(row["state"] != "failed", "{row}");
        ensure!(listed.insert(id), "twice: {row}");
    }
    assert_eq!(listed, taken);
    punte.stop()?;
    let verified = home.json(&["verify", "--json"])?;
    assert_eq!(verified["store"]["count"], 0, "{verified}");
    Ok(())
}

/// By itself, as soon as there is space.
async fn comes_in(sender: &mut impl Sends, number: usize, length: usize) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while !sender.send(number, length).await? {
        ensure!(Instant::now() < until, "it does not go on by itself");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// What can't be compressed away, as letters and digits.
fn noise(number: usize, length: usize) -> String {
    let mut rng = Rng::new(number as u64);
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    let letter = |_| char::from(letters[rng.below(64) as usize]);
    (0..length).map(letter).collect()
}

fn registration(number: usize, length: usize) -> String {
    let register = scenes::register(&format!("F{number}"), "P-1", "Pop");
    format!("{register}NTE|1||{}\r", noise(number, length))
}

struct Mllp(Sender);

impl Sends for Mllp {
    async fn send(&mut self, number: usize, length: usize) -> Result<bool> {
        let answer = self.0.ask(registration(number, length).as_bytes()).await?;
        match field(&answer, "MSA", 1).as_str() {
            "AA" => Ok(true),
            "AE" if field(&answer, "ERR", 3).starts_with("207") => Ok(false),
            _ => bail!("answered {}", String::from_utf8_lossy(&answer)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mllp_answers_ae() -> Result<()> {
    let Some(clinic) = clinic("source.mllp.listen = \"127.0.0.1:0\"", "hl7v2")? else {
        return Ok(());
    };
    let sender = Mllp(Sender::connect(clinic.punte.listens("clinic")).await?);
    refuses_and_goes_on(clinic, sender).await
}

/// A request of HTTP, and whether it was taken: 503 asks for another try.
async fn asked(request: reqwest::RequestBuilder, says_when: bool) -> Result<bool> {
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    let after = answer.headers().get("retry-after").cloned();
    match status {
        200 | 201 => Ok(true),
        503 if says_when => {
            let after: u32 = after
                .context("when to come again is not said")?
                .to_str()?
                .parse()?;
            ensure!((1..=60).contains(&after), "after {after} s");
            Ok(false)
        }
        503 => Ok(false),
        _ => bail!("answered {status}: {}", answer.text().await?),
    }
}

fn client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().build()?)
}

fn key(home: &Home, scope: &str) -> Result<String> {
    let made = home.json(&["key", "add", "sender", "--json", "--scope", scope])?;
    Ok(made["key"].as_str().context("a key")?.to_owned())
}

struct Http(reqwest::Client, String);

impl Sends for Http {
    async fn send(&mut self, number: usize, length: usize) -> Result<bool> {
        // Six times as long: more than lies between sender and program, so that the one still sends while the other answers.
        asked(self.0.post(&self.1).body(registration(number, length * 6)), true).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_answers_503_and_says_when_to_come_again() -> Result<()> {
    let Some(clinic) = clinic("source.http.listen = \"127.0.0.1:0\"", "hl7v2")? else {
        return Ok(());
    };
    let url = format!("http://{}/", clinic.punte.listens("clinic"));
    refuses_and_goes_on(clinic, Http(client()?, url)).await
}

struct WriteDoor {
    client: reqwest::Client,
    url: String,
    key: String,
}

impl Sends for WriteDoor {
    const CHANNEL: &'static str = "write-door";

    async fn send(&mut self, number: usize, length: usize) -> Result<bool> {
        let reason = json!({ "text": noise(number, length) });
        let noted = json!({ "about": { "reason": reason }, "changes": [{ "key": "p", "say": { "Patient": {
            "identifiers": { "merge": [{ "system": "TEST", "value": "P-1" }] } } } }] });
        let request = self.client.post(&self.url).bearer_auth(&self.key);
        let request = request.header("Idempotency-Key", self.id(number));
        let request = request.header("content-type", "application/json");
        asked(request.body(noted.to_string()), false).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_write_door_answers_503() -> Result<()> {
    let Some(clinic) = clinic("source.mllp.listen = \"127.0.0.1:0\"", "hl7v2")? else {
        return Ok(());
    };
    let sender = WriteDoor {
        client: client()?,
        url: format!("http://{}/clinic/changes", clinic.punte.http),
        key: key(&clinic.home, "clinic:write")?,
    };
    refuses_and_goes_on(clinic, sender).await
}

/// One who puts files into a folder.
struct Files {
    folder: PathBuf,
    http: String,
}

impl Sends for Files {
    const STAYS: bool = true;

    async fn send(&mut self, number: usize, length: usize) -> Result<bool> {
        let name = format!("{number:05}.hl7");
        let (file, done) = (self.folder.join(&name), self.folder.join("done").join(&name));
        let before = not_stored(&self.http, "clinic").await?;
        if !file.exists() && !done.exists() {
            let hidden = self.folder.join(".new");
            std::fs::write(&hidden, registration(number, length))?;
            std::fs::rename(hidden, &file)?;
        }
        let until = Instant::now() + PATIENCE;
        while !done.exists() {
            if before < not_stored(&self.http, "clinic").await? {
                ensure!(file.exists(), "it was taken away, and is not stored");
                let aside = std::fs::read_dir(self.folder.join("failed"))?.count();
                ensure!(aside == 0, "it was set aside, and is not to blame");
                return Ok(false);
            }
            ensure!(Instant::now() < until, "nothing becomes of a file");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(true)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_stay_where_they_are() -> Result<()> {
    let source = "source.file = { folder = \"../in\", stable = \"0s\", every = \"10ms\" }";
    let Some(clinic) = clinic(source, "hl7v2")? else {
        return Ok(());
    };
    let sender = Files {
        folder: clinic.home.path().join("in"),
        http: clinic.punte.http.to_string(),
    };
    refuses_and_goes_on(clinic, sender).await
}

const DICOM: &str = "[source.dicom]\nlisten = \"127.0.0.1:0\"\nae_title = \"PUNTE\"\nservices = [\"store\"]";
/// Out of resources: to be sent again (PS3.4 B.2.3).
const OUT_OF_RESOURCES: u64 = 0xA700;

/// One association for all.
struct Pynetdicom {
    modality: Modality,
    ids: BTreeMap<usize, String>,
}

impl Sends for Pynetdicom {
    async fn send(&mut self, number: usize, length: usize) -> Result<bool> {
        let side = (length / 2).isqrt();
        let told = self.modality.does(&format!("numbered {number} {side}"))?;
        let id = told["instance"].as_str().context("no instance")?;
        self.ids.insert(number, id.to_owned());
        match told["status"].as_u64() {
            Some(0) => Ok(true),
            Some(OUT_OF_RESOURCES) => Ok(false),
            _ => bail!("answered {told}"),
        }
    }

    fn id(&self, number: usize) -> String {
        self.ids.get(&number).cloned().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dicom_answers_a700_and_keeps_the_association() -> Result<()> {
    let Some(clinic) = clinic(DICOM, "dicom")? else {
        return Ok(());
    };
    let port = clinic.punte.listens("clinic").port();
    let mut modality = Modality::start(&root().join("tests/python"), port, "PUNTE", "CT1")?;
    modality.does("unplanned")?;
    let ids = BTreeMap::new();
    refuses_and_goes_on(clinic, Pynetdicom { modality, ids }).await
}

/// The object of this number as a file.
fn object(folder: &Path, number: usize, length: usize) -> Result<PathBuf> {
    let (file, pixels) = (folder.join(format!("{number}.dcm")), folder.join("pixels"));
    if !file.exists() {
        std::fs::write(&pixels, noise(number, length))?;
        let elements = format!(
            "(0008,0016) UI [1.2.840.10008.5.1.4.1.1.2]\n(0008,0018) UI [{}]\n(0008,0020) DA [20260505]\n\
             (0008,0060) CS [CT]\n(0010,0010) PN [Proba^Imagini]\n(0010,0020) LO [N-1]\n(0020,000d) UI [2.25.1]\n\
             (0020,000e) UI [2.25.2]\n(0020,0013) IS [{number}]\n(7fe0,0010) OW ={}\n",
            instance(number),
            pixels.display()
        );
        made(&file, &elements)?;
    }
    Ok(file)
}

fn instance(number: usize) -> String {
    format!("2.25.7{number}")
}

/// A new association for each.
struct Storescu {
    port: String,
    folder: TempDir,
}

impl Sends for Storescu {
    async fn send(&mut self, number: usize, length: usize) -> Result<bool> {
        let file = object(self.folder.path(), number, length)?;
        let file = file.to_string_lossy();
        let output = dcmtk(
            "storescu",
            &["-v", "-aec", "PUNTE", "127.0.0.1", &self.port, &file],
        )?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let is_answered = |status: &str| said.contains(&format!("Received Store Response ({status}"));
        match output.status.success() {
            true if is_answered("Success") => Ok(true),
            _ if is_answered("Refused: OutOfResources") => Ok(false),
            _ => bail!("{said}"),
        }
    }

    fn id(&self, number: usize) -> String {
        instance(number)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dicom_answers_a700_to_each_association() -> Result<()> {
    let Some(clinic) = clinic(DICOM, "dicom")? else {
        return Ok(());
    };
    let sender = Storescu {
        port: clinic.punte.listens("clinic").port().to_string(),
        folder: TempDir::new()?,
    };
    refuses_and_goes_on(clinic, sender).await
}

/// STOW-RS, one object in each request.
struct Stow {
    client: reqwest::Client,
    url: String,
    key: String,
    folder: TempDir,
}

impl Sends for Stow {
    async fn send(&mut self, number: usize, length: usize) -> Result<bool> {
        let object = std::fs::read(object(self.folder.path(), number, length)?)?;
        let begin = b"--edge\r\nContent-Type: application/dicom\r\n\r\n".to_vec();
        let body = [begin, object, b"\r\n--edge--\r\n".to_vec()].concat();
        let kind = "multipart/related; type=\"application/dicom\"; boundary=edge";
        let request = self.client.post(&self.url).bearer_auth(&self.key);
        asked(request.header("content-type", kind).body(body), false).await
    }

    fn id(&self, number: usize) -> String {
        instance(number)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dicomweb_answers_503() -> Result<()> {
    let Some(clinic) = clinic("source.dicomweb = {}", "dicom")? else {
        return Ok(());
    };
    let sender = Stow {
        client: client()?,
        url: format!("http://{}/dicom-web/studies", clinic.punte.http),
        key: key(&clinic.home, "images:write")?,
        folder: TempDir::new()?,
    };
    refuses_and_goes_on(clinic, sender).await
}
