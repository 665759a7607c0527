//! Peers that speak DICOM: Orthanc as a PACS, pynetdicom as a modality, the tools of DCMTK.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::eventually;
use crate::program::{Home, Punte};

/// A port that nobody has. It lies below those that the system gives out by itself, of which another test's connection could
/// take it before somebody listens there.
pub fn free_port() -> Result<u16> {
    let random = || RandomState::new().build_hasher().finish();
    (0..100)
        .map(|_| 10_000 + (random() % 22_000) as u16)
        .find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok())
        .context("no port is free")
}

/// Runs a tool of DCMTK to its end, without Nagle's algorithm: with it each answer waits 40 ms.
pub fn dcmtk(program: &str, args: &[&str]) -> Result<Output> {
    Command::new(program)
        .args(args)
        .env("TCP_NODELAY", "1")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} can't be run. Install it with: apt-get install -y dcmtk"))
}

/// A program that listens. Killed when dropped.
pub struct Listening(Child);

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program of DCMTK and waits until it listens.
pub fn listening(program: &str, args: &[&str], port: u16) -> Result<Listening> {
    let child = Command::new(program)
        .args(args)
        .env("TCP_NODELAY", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("{program} can't be run. Install it with: apt-get install -y dcmtk"))?;
    let listening = Listening(child);
    for _ in 0..500 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(listening);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("{program} does not listen")
}

/// Makes a file of DICOM by DCMTK: elements as `dump2dcm` reads them.
pub fn made(file: &Path, elements: &str) -> Result<()> {
    let text = file.with_extension("text");
    std::fs::write(&text, elements)?;
    let output = dcmtk(
        "dump2dcm",
        &["+te", &text.to_string_lossy(), &file.to_string_lossy()],
    )?;
    std::fs::remove_file(&text)?;
    if !output.status.success() {
        bail!("dump2dcm: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// What `dcmdump` says of a file, names and UIDs as they stand in it.
pub fn dumped(file: &Path) -> Result<String> {
    let output = dcmtk("dcmdump", &["-q", "-Un", "+L", "+U8", &file.to_string_lossy()])?;
    if !output.status.success() {
        bail!("{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The data set of a file: after group 2.
pub fn data_set(file: &Path) -> Result<Vec<u8>> {
    let mut bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    let length = bytes.get(140..144).context("too short")?;
    let begins = 144 + u32::from_le_bytes(length.try_into()?) as usize;
    Ok(bytes.split_off(begins))
}

/// Makes patients of these numbers known by the write door: Proba Imagini.
pub async fn admit(punte: &Punte, home: &Home, numbers: &[String]) -> Result<()> {
    let key = home.json(&["key", "add", "reception", "--json", "--scope", "clinic:write"])?;
    let key = key["key"].as_str().context("a key")?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    for number in numbers {
        let change = json!({ "changes": [{ "key": "patient", "say": { "Patient": {
            "identifiers": { "merge": [{ "system": "TEST", "value": number, "kind": {
                "codings": [{ "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR" }] } }] },
            "names": [{ "family": "Proba", "given": ["Imagini"], "use": "official" }] } } }] });
        let answer = client
            .post(format!("http://{}/clinic/changes", punte.http))
            .bearer_auth(key)
            .header("content-type", "application/json")
            .body(change.to_string())
            .send()
            .await?;
        if answer.status().as_u16() != 201 {
            bail!("a patient was not taken: {}", answer.text().await?);
        }
    }
    Ok(())
}

/// Orthanc, in a folder of its own. Killed when dropped.
pub struct Orthanc {
    child: Child,
    folder: TempDir,
    /// Its application entity title.
    pub aet: &'static str,
    /// Where it speaks DIMSE.
    pub dicom: u16,
    /// Where it speaks HTTP; DICOMweb is below `/dicom-web/`.
    pub http: u16,
    client: reqwest::Client,
}

impl Orthanc {
    /// Starts it and waits until it answers. `knows`: other entities, each a title and a port of this machine.
    pub async fn start(knows: &[(&str, u16)]) -> Result<Orthanc> {
        Orthanc::start_at(free_port()?, knows).await
    }

    /// The same, where the port for DIMSE has to be known before.
    pub async fn start_at(dicom: u16, knows: &[(&str, u16)]) -> Result<Orthanc> {
        let folder = TempDir::new()?;
        let http = free_port()?;
        let others: serde_json::Map<String, Value> = knows
            .iter()
            .map(|(title, port)| (title.to_lowercase(), json!([title, "127.0.0.1", port])))
            .collect();
        let settings = json!({
            "Name": "A PACS", "DicomAet": "ORTHANC", "DicomPort": dicom, "HttpPort": http,
            "StorageDirectory": folder.path().join("storage"), "IndexDirectory": folder.path().join("index"),
            "AuthenticationEnabled": false, "RemoteAccessAllowed": false, "SslEnabled": false,
            "DicomAlwaysAllowEcho": true, "DicomAlwaysAllowStore": true, "DicomAlwaysAllowFind": true,
            "DicomAlwaysAllowGet": true, "DicomAlwaysAllowMove": true, "DicomModalities": others,
            "DefaultEncoding": "Utf8", "SyncStorageArea": true,
            "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
            "DicomWeb": { "Enable": true, "Root": "/dicom-web/" },
        });
        let file = folder.path().join("orthanc.json");
        std::fs::write(&file, settings.to_string())?;
        let child = Command::new("Orthanc")
            .arg(&file)
            .env("TCP_NODELAY", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log.txt"))?)
            .spawn()
            .context("Orthanc can't be run. Install it with: apt-get install -y orthanc orthanc-dicomweb")?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()?;
        let orthanc = Orthanc {
            child,
            folder,
            aet: "ORTHANC",
            dicom,
            http,
            client,
        };
        eventually("Orthanc answers", Duration::from_secs(60), async || {
            orthanc.get("/system").await.ok()
        })
        .await;
        Ok(orthanc)
    }

    /// What it answers to a GET, as JSON.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let url = format!("http://127.0.0.1:{}{path}", self.http);
        let answer = self
            .client
            .get(url)
            .header("Accept", "application/json")
            .send()
            .await?;
        if !answer.status().is_success() {
            bail!("{path}: {}", answer.status());
        }
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }

    /// The UIDs of all objects that it holds, sorted.
    pub async fn instances(&self) -> Result<Vec<String>> {
        let all = self.get("/instances?expand").await?;
        let uid = |instance: &Value| {
            let uid = instance["MainDicomTags"]["SOPInstanceUID"].as_str();
            uid.unwrap_or_default().to_owned()
        };
        let mut uids: Vec<String> = all.as_array().into_iter().flatten().map(uid).collect();
        uids.sort();
        Ok(uids)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log.txt")).unwrap_or_default()
    }
}

impl Drop for Orthanc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// DCMTK's storage provider, which writes the bytes as they come. Killed when dropped.
pub struct Storescp {
    _listening: Listening,
    /// Where it listens.
    pub port: u16,
    folder: TempDir,
}

impl Storescp {
    /// Starts it and waits until it listens. Any application entity title will do.
    pub fn start() -> Result<Self> {
        let (folder, port) = (TempDir::new()?, free_port()?);
        let (kept, to) = (folder.path().to_string_lossy(), port.to_string());
        let args = ["--fork", "+xa", "+B", "-aet", "STORESCP", "-od", &kept, &to];
        let listening = listening("storescp", &args, port)?;
        Ok(Storescp {
            _listening: listening,
            port,
            folder,
        })
    }

    /// Where it puts the objects: `CT.` and the instance.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A modality by pynetdicom, on one association (`tests/python/modality.py`). Killed when dropped.
pub struct Modality {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Modality {
    /// Associates with `called` as `calling`. `scripts`: the folder of the Python peers.
    pub fn start(scripts: &Path, port: u16, called: &str, calling: &str) -> Result<Modality> {
        Modality::by(scripts, "modality.py", &[&port.to_string(), called, calling])
    }

    /// One by another script, which reads commands and prints answers as that one does.
    pub fn by(scripts: &Path, script: &str, args: &[&str]) -> Result<Modality> {
        let python = std::env::var_os("PUNTE_TEST_PYTHON").context("PUNTE_TEST_PYTHON is not set")?;
        let mut child = Command::new(python)
            .arg(scripts.join(script))
            .arg("127.0.0.1")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let commands = child.stdin.take().context("no standard input")?;
        let answers = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut modality = Modality {
            child,
            commands,
            answers,
        };
        let told = modality.told()?;
        if told["established"] != true {
            bail!("{script} {args:?}: not established");
        }
        Ok(modality)
    }

    fn told(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("the modality has ended");
        }
        Ok(serde_json::from_str(&line)?)
    }

    /// Gives it a command and waits for what came of it.
    pub fn does(&mut self, command: &str) -> Result<Value> {
        writeln!(self.commands, "{command}")?;
        self.commands.flush()?;
        let told = self.told()?;
        if let Some(error) = told["error"].as_str() {
            bail!("{command}: {error}");
        }
        Ok(told)
    }
}

impl Drop for Modality {
    fn drop(&mut self) {
        let _ = writeln!(self.commands, "quit");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
