//! The built program, in a home folder of its own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::disk::SmallDisk;

/// Where `punte` was built: beside the tests that run.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PUNTE_BIN") {
        return path.into();
    }
    let me = std::env::current_exe().unwrap_or_default();
    let folder = me
        .ancestors()
        .find(|path| path.join("punte").is_file())
        .map(Path::to_owned);
    folder
        .map(|folder| folder.join("punte"))
        .unwrap_or_else(|| PathBuf::from("punte"))
}

/// The command that starts it.
const SERVE: &[&str] = &["serve", "--http", "127.0.0.1:0"];

/// A home folder with channels, and the key beside it.
pub struct Home {
    folder: TempDir,
    key: TempDir,
    program: PathBuf,
    /// Where its commands run: words before each of them.
    within: Vec<String>,
}

impl Home {
    /// With these channel files: name without ending, and text.
    pub fn with(channels: &[(&str, &str)]) -> Result<Home> {
        let home = Home {
            folder: TempDir::new()?,
            key: TempDir::new()?,
            program: binary(),
            within: vec![],
        };
        std::fs::create_dir(home.path().join("channels"))?;
        for (name, text) in channels {
            home.channel(name, text)?;
        }
        Ok(home)
    }

    /// An empty folder, with the key of another home.
    pub fn empty_with_key_of(other: &Home) -> Result<Home> {
        let home = Home {
            folder: TempDir::new()?,
            key: TempDir::new()?,
            program: binary(),
            within: vec![],
        };
        std::fs::copy(other.key_file(), home.key_file())?;
        Ok(home)
    }

    /// Runs this program from now on.
    pub fn runs(&mut self, program: PathBuf) {
        self.program = program;
    }

    /// Runs all of its commands on this disk from now on.
    pub fn lies_on(&mut self, disk: &SmallDisk) {
        self.within = disk.words();
    }

    /// Where its master key lies.
    pub fn key_file(&self) -> PathBuf {
        self.key.path().join("master.key")
    }

    /// Writes one channel file.
    pub fn channel(&self, name: &str, text: &str) -> Result<()> {
        Ok(std::fs::write(
            self.path().join("channels").join(format!("{name}.toml")),
            text,
        )?)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A command of the program in this home.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut words = self
            .within
            .iter()
            .map(OsStr::new)
            .chain([self.program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).args(args).arg("--home").arg(self.path());
        command.env("PUNTE_KEY_FILE", self.key_file());
        command.env_remove("PUNTE_HOME").env_remove("PUNTE_LOG");
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Result<Output> {
        self.command(args)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("{} {args:?}", self.program.display()))
    }

    /// Runs a command that must succeed and prints JSON.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let output = self.run(args)?;
        if !output.status.success() {
            bail!(
                "{args:?}: {}\n{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Starts the program and waits until it is ready.
    pub fn serve(&self) -> Result<Punte> {
        self.serve_with(&[])
    }

    /// Starts it with these variables in its environment.
    pub fn serve_with(&self, env: &[(&str, &str)]) -> Result<Punte> {
        let mut command = self.command(SERVE);
        command.envs(env.iter().copied());
        self.start(command)
    }

    /// Starts it, and kills it after so long, ready or not.
    pub fn killed_after(&self, env: &[(String, String)], after: Duration) -> Result<()> {
        let mut child = self
            .command(SERVE)
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(self.appended("out.txt")?)
            .stderr(self.appended("log.txt")?)
            .spawn()
            .with_context(|| self.program.display().to_string())?;
        std::thread::sleep(after);
        let _ = child.kill();
        child.wait()?;
        Ok(())
    }

    /// Starts it by another program that does something first and then becomes it.
    pub fn serve_by(&self, wrapper: &[&str]) -> Result<Punte> {
        let plain = self.command(SERVE);
        let (first, more) = wrapper.split_first().context("no wrapper")?;
        let mut command = Command::new(first);
        command.args(more).arg(plain.get_program()).args(plain.get_args());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.start(command)
    }

    fn appended(&self, name: &str) -> Result<std::fs::File> {
        let mut options = std::fs::OpenOptions::new();
        Ok(options.create(true).append(true).open(self.path().join(name))?)
    }

    fn start(&self, mut command: Command) -> Result<Punte> {
        let log = self.appended("log.txt")?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| self.program.display().to_string())?;
        let stdout = child.stdout.take().ok_or_else(|| anyhow!("no standard output"))?;
        let mut kept = self.appended("out.txt")?;
        let (tx, rx) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = writeln!(kept, "{line}");
                // Nobody listens once it is ready.
                let _ = tx.send(line);
            }
        });
        let (mut http, mut listens) = (None, BTreeMap::new());
        loop {
            let line = match rx.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => line,
                Err(_) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    bail!("the program did not become ready:\n{}", self.log_end(20));
                }
            };
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["punte:", "http" | "https", "on", address] => http = Some(address.parse()?),
                ["punte:", "channel", id, "listens", "on", address] => {
                    listens.insert((*id).to_owned(), address.parse()?);
                }
                ["punte:", "ready"] => break,
                _ => {}
            }
        }
        let running = self.path().join("data/running.json");
        let running = std::fs::read(sees(child.id(), &running)).or_else(|_| std::fs::read(&running))?;
        let running: Value = serde_json::from_slice(&running)?;
        Ok(Punte {
            child,
            http: http.ok_or_else(|| anyhow!("no http address was printed"))?,
            listens,
            key: running["key"].as_str().unwrap_or_default().to_owned(),
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(30))
                .build()?,
        })
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log.txt")).unwrap_or_default()
    }

    /// The last lines of that.
    pub fn log_end(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// A path as a process sees it.
pub fn sees(process: u32, path: &Path) -> PathBuf {
    let path = path.strip_prefix("/").unwrap_or(path);
    Path::new("/proc")
        .join(process.to_string())
        .join("root")
        .join(path)
}

/// The running program. Killed when dropped.
pub struct Punte {
    child: Child,
    /// Its HTTP interface.
    pub http: SocketAddr,
    /// Where each channel listens.
    pub listens: BTreeMap<String, SocketAddr>,
    /// The local key.
    pub key: String,
    client: reqwest::Client,
}

impl Punte {
    /// Where a channel listens.
    pub fn listens(&self, channel: &str) -> SocketAddr {
        *self
            .listens
            .get(channel)
            .unwrap_or_else(|| panic!("the channel {channel} does not listen"))
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Status and JSON of an address of its HTTP interface, asked with the local key.
    pub async fn get(&self, path: &str) -> Result<(u16, Value)> {
        let answer = self
            .client
            .get(format!("http://{}{path}", self.http))
            .bearer_auth(&self.key)
            .send()
            .await?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// The resources that a FHIR search finds, over all its pages.
    pub async fn search(&self, query: &str) -> Result<Vec<Value>> {
        let (mut found, mut next) = (vec![], Some(format!("/fhir/{query}")));
        while let Some(path) = next.take() {
            let (status, bundle) = self.get(&path).await?;
            if status != 200 {
                bail!("{path}: {status} {bundle}");
            }
            for entry in bundle["entry"].as_array().into_iter().flatten() {
                found.push(entry["resource"].clone());
            }
            for link in bundle["link"].as_array().into_iter().flatten() {
                if link["relation"] == "next" {
                    let url = link["url"].as_str().unwrap_or_default();
                    let path = url.split_once("/fhir/").map(|(_, rest)| format!("/fhir/{rest}"));
                    next = path;
                }
            }
        }
        Ok(found)
    }

    /// All messages, newest first.
    pub async fn messages(&self, query: &str) -> Result<Vec<Value>> {
        let (status, value) = self.get(&format!("/admin/messages?limit=1000{query}")).await?;
        if status != 200 {
            bail!("{status} {value}");
        }
        Ok(value["messages"].as_array().cloned().unwrap_or_default())
    }

    /// A path as the program sees it, where it has a file system of its own.
    pub fn sees(&self, path: &Path) -> PathBuf {
        sees(self.child.id(), path)
    }

    /// Memory that is resident, in bytes.
    pub fn resident(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kilobytes * 1024)
    }

    /// CPU time that was used, in clock ticks of 10 ms.
    pub fn cpu_ticks(&self) -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    }

    /// Kills it without a word (SIGKILL).
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    pub fn stop(mut self) -> Result<std::process::ExitStatus> {
        Command::new("kill")
            .arg("-TERM")
            .arg(self.child.id().to_string())
            .status()?;
        for _ in 0..1000 {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("it did not stop within 10 s")
    }
}

impl Drop for Punte {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
