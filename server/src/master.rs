//! Where the master key comes from: a variable, a file, or a program that prints it.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use engine::store::MasterKey;

use crate::home::{Home, Settings};

/// The variable that holds the key itself.
const VARIABLE: &str = "PUNTE_MASTER_KEY";
/// The variable that names its file.
const FILE_VARIABLE: &str = "PUNTE_KEY_FILE";
/// The program that prints it has so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// And prints at most so much.
const LONGEST: u64 = 1024;

/// Where the master key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// The variable `PUNTE_MASTER_KEY`.
    Variable,
    /// What this program prints.
    Command(Vec<String>),
    /// A file.
    File(PathBuf),
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyPlace::Variable => write!(f, "the variable {VARIABLE}"),
            // Its other words may hold a secret.
            KeyPlace::Command(words) => {
                let program = words.first().map_or("a program", String::as_str);
                write!(f, "what {program} prints")
            }
            KeyPlace::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Home {
    /// Where the master key comes from: what the environment says goes before punte.toml.
    pub fn key_place(&self, settings: &Settings) -> anyhow::Result<KeyPlace> {
        if std::env::var_os(VARIABLE).is_some() {
            return Ok(KeyPlace::Variable);
        }
        let Some(command) = &settings.key.command else {
            return self.key_file(settings).map(KeyPlace::File);
        };
        if std::env::var_os(FILE_VARIABLE).is_some() {
            return self.key_file(settings).map(KeyPlace::File);
        }
        if settings.key.file.is_some() {
            bail!("punte.toml: [key] has file and command; the master key comes from one of them");
        }
        if command.is_empty() {
            bail!(
                "punte.toml: [key] command is empty; write the program and its words: [\"program\", \"word\"]"
            );
        }
        Ok(KeyPlace::Command(command.clone()))
    }

    /// The master key: read, or made where there is none yet (`make`).
    pub fn master_key(&self, settings: &Settings, make: bool) -> anyhow::Result<MasterKey> {
        match self.key_place(settings)? {
            KeyPlace::Variable => from_variable(VARIABLE),
            KeyPlace::Command(words) => from_command(&words),
            KeyPlace::File(path) => self.key_of_file(&path, make),
        }
    }

    fn key_of_file(&self, path: &Path, make: bool) -> anyhow::Result<MasterKey> {
        self.refuse_inside(path)?;
        if path.exists() {
            return MasterKey::from_file(path).with_context(|| format!("the master key {}", path.display()));
        }
        if !make || self.data().join("punte.db").exists() {
            bail!(
                "the master key {} is not there. Put the copy you kept there, or name its place with PUNTE_KEY_FILE; without it what is stored can't be read",
                path.display()
            );
        }
        let key = make_file(path)?;
        eprintln!(
            "\n  *** A new master key was made: {}\n  *** KEEP A COPY OF IT in a safe place. Without it nothing that is stored here can ever be read again.\n",
            path.display()
        );
        Ok(key)
    }

    /// The key that is to come in place of that of today: from a file, which is made where it is not there yet.
    pub fn next_key_of_file(&self, path: &Path) -> anyhow::Result<MasterKey> {
        self.refuse_inside(path)?;
        if path.exists() {
            return MasterKey::from_file(path)
                .with_context(|| format!("the new master key {}", path.display()));
        }
        make_file(path)
    }

    fn refuse_inside(&self, path: &Path) -> anyhow::Result<()> {
        if self.is_inside(path) {
            bail!(
                "the master key may not lie inside {}: whoever takes the folder would have the key too. Name a file elsewhere with [key] file in punte.toml or PUNTE_KEY_FILE",
                self.folder().display()
            );
        }
        Ok(())
    }
}

fn make_file(path: &Path) -> anyhow::Result<MasterKey> {
    let key = MasterKey::generate().context("a master key could not be made")?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("{} could not be made", folder.display()))?;
    }
    key.to_file(path)
        .with_context(|| format!("the master key could not be written to {}", path.display()))?;
    Ok(key)
}

/// The key that stands in a variable.
pub fn from_variable(name: &str) -> anyhow::Result<MasterKey> {
    let text = std::env::var(name).map_err(|_| anyhow!("the variable {name} is not set, or is no text"))?;
    MasterKey::from_hex(&text).with_context(|| format!("the variable {name}"))
}

/// The key that a program prints. It runs without a shell; what it says of an error goes to ours.
fn from_command(words: &[String]) -> anyhow::Result<MasterKey> {
    let (program, more) = words.split_first().context("there is no command")?;
    let of_it = || format!("{program}, which is to print the master key ([key] command)");
    let mut child = Command::new(program)
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} can't be started", of_it()))?;
    let stdout = child.stdout.take().context("the command has no output")?;
    let (tell, told) = std::sync::mpsc::channel();
    // Nobody waits for it once the patience is over: what a program leaves behind may keep its output open.
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.take(LONGEST).read_to_string(&mut text);
        let _ = tell.send(read.map(|_| text));
    });
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if PATIENCE < begun.elapsed() {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{} did not end within {} s", of_it(), PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    if !status.success() {
        bail!("{} ended with {status}", of_it());
    }
    let text = told
        .recv_timeout(PATIENCE)
        .map_err(|_| anyhow!("{} could not be read", of_it()))?
        .with_context(|| format!("{} could not be read", of_it()))?;
    MasterKey::from_hex(&text).with_context(of_it)
}
