//! The folder that an engine lives in: `punte.toml`, `channels/`, `data/`; and the master key, which lies elsewhere.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use connectors::tls::{ListenerTls, OPEN, look_at_listener};
use engine::channel::{self, Channel, Keep, Problem, duration};
use engine::connector::{Looked, SettingsProblem};
use engine::store::{SqliteOptions, SqliteStore, Store};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::alerts::AlertSettings;
use crate::api::door::Bounds;
use crate::{formats, punte_toml};

/// The folder.
#[derive(Clone, Debug)]
pub struct Home {
    folder: PathBuf,
}

/// `punte.toml`. All of it may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The HTTP interface: FHIR, admin, metrics, health.
    pub http: HttpSettings,
    /// The master key.
    pub key: KeySettings,
    /// The clinic's zone, an IANA name.
    pub zone: Option<String>,
    /// How long messages are kept whose channel does not say it, and the journal.
    pub keep: Keep,
    /// The clinic whose store this has to be; none: whichever it is.
    pub clinic: Option<Uuid>,
    /// When somebody is told of how it goes, and who.
    pub alerts: AlertSettings,
}

impl Settings {
    /// The clinic's zone.
    pub fn time_zone(&self) -> anyhow::Result<TimeZone> {
        let zone = self.zone.as_deref().unwrap_or("Europe/Bucharest");
        TimeZone::get(zone).with_context(|| format!("punte.toml: zone {zone:?} is not known"))
    }
}

/// Where the HTTP interface listens.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Address and port.
    pub listen: String,
    /// The certificate that is shown, and whose certificates callers must show; files are looked for from the home folder.
    pub tls: Option<ListenerTls>,
    /// Whose pages may ask by DICOMweb from a browser: "https://viewer.clinic.example".
    pub origins: Vec<String>,
    /// Connections at the same time.
    pub max_connections: usize,
    /// How long the head of a request may take, and how long a body may stand still: "30s".
    pub timeout: String,
}

impl HttpSettings {
    /// What is taken at a time, and in which time; or which key is wrong, and why.
    pub fn bounds(&self) -> Result<Bounds, (&'static str, String)> {
        let timeout = duration::parse(&self.timeout).map_err(|what| ("timeout", what.to_string()))?;
        if timeout.is_zero() {
            return Err(("timeout", "nothing would ever be heard to its end".to_owned()));
        }
        if !(1..=65_536).contains(&self.max_connections) {
            let what = "a number from 1 to 65536 is wanted".to_owned();
            return Err(("max_connections", what));
        }
        Ok(Bounds {
            max_connections: self.max_connections,
            timeout,
        })
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings {
            listen: "127.0.0.1:8480".into(),
            tls: None,
            origins: vec![],
            max_connections: 512,
            timeout: "30s".into(),
        }
    }
}

/// Where the master key is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeySettings {
    /// A file outside the home folder.
    pub file: Option<PathBuf>,
    /// A program that prints it, with its words.
    pub command: Option<Vec<String>>,
}

/// How a command finds the engine that runs here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Running {
    /// Where its HTTP interface listens.
    pub address: String,
    /// The local key, good for everything. Only the owner of the folder can read it.
    pub key: String,
}

impl Home {
    /// The folder at this path.
    pub fn new(folder: &Path) -> Self {
        Home {
            folder: folder.to_owned(),
        }
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the store lives.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Where the channels are.
    pub fn channels_folder(&self) -> PathBuf {
        self.folder.join("channels")
    }

    /// What belongs to this engine beside its store, from the folder: the channels, `punte.toml`, and the certificates in
    /// the folder that it names.
    pub fn beside_the_store(&self, settings: &Settings) -> Vec<PathBuf> {
        let named = settings.http.tls.iter().flat_map(|tls| {
            let certificates = [Some(&tls.cert), Some(&tls.key), tls.client_ca.as_ref()];
            certificates.into_iter().flatten().map(PathBuf::from)
        });
        let is_here = |path: &PathBuf| path.components().all(|part| matches!(part, Component::Normal(_)));
        ["channels", "punte.toml"]
            .into_iter()
            .map(PathBuf::from)
            .chain(named.filter(is_here))
            .collect()
    }

    /// Reads `punte.toml`; what is wrong in it, all at once, is the error.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let read = self.read_settings()?;
        if read.problems.is_empty() {
            return Ok(read.settings);
        }
        let lines: Vec<String> = read.problems.iter().map(ToString::to_string).collect();
        bail!("{}", lines.join("\n"))
    }

    /// Reads `punte.toml`, with what is wrong in it.
    pub fn read_settings(&self) -> anyhow::Result<punte_toml::Read> {
        Ok(punte_toml::read(&self.settings_file(), &self.settings_text()?))
    }

    fn settings_file(&self) -> PathBuf {
        self.folder.join("punte.toml")
    }

    fn settings_text(&self) -> anyhow::Result<String> {
        let path = self.settings_file();
        match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            read => read.with_context(|| format!("{} could not be read", path.display())),
        }
    }

    /// `punte.toml` as a table; empty where it can't be read.
    pub fn settings_table(&self) -> toml::Table {
        let text = std::fs::read_to_string(self.folder.join("punte.toml")).unwrap_or_default();
        toml::from_str(&text).unwrap_or_default()
    }

    /// What is wrong with `punte.toml`, its certificates and its alerts; and what is odd about where it listens and about the
    /// secrets that it names. `channels`: those that there are, where that is known.
    pub fn look_at_settings(
        &self,
        channels: Option<&[Channel]>,
    ) -> anyhow::Result<(Vec<Problem>, Vec<Problem>)> {
        let read = self.read_settings()?;
        let settings = &read.settings;
        let http = &settings.http;
        let mut looked = match &http.tls {
            Some(tls) => look_at_listener(tls, &self.folder, (crate::world::real().now)()),
            None => Looked::default(),
        };
        let listen: Option<SocketAddr> = http.listen.parse().ok();
        if listen.is_none() {
            looked.problem("listen", "is no address with a port; write \"127.0.0.1:8480\"");
        }
        if http.tls.is_none() && listen.is_some_and(|listen| !listen.ip().is_loopback()) {
            looked.warn("listen", OPEN);
        }
        if let Err((key, what)) = http.bounds() {
            looked.problem(key, what);
        }
        for (idx, origin) in http.origins.iter().enumerate() {
            let host = origin
                .strip_prefix("https://")
                .or_else(|| origin.strip_prefix("http://"));
            if host.is_none_or(|host| host.is_empty() || host.contains(['/', '*', ' ', '?'])) {
                looked.problem(
                    &format!("origins[{idx}]"),
                    "is no origin; write scheme, host and port alone: \"https://viewer.clinic.example\"",
                );
            }
        }
        let path = self.settings_file();
        let text = self.settings_text()?;
        let placed = |table: &str, found: Vec<SettingsProblem>| -> Vec<Problem> {
            let place = |found: SettingsProblem| {
                let dotted = format!("{table}.{}", found.path);
                let at = punte_toml::span_of(&text, &dotted).unwrap_or_default();
                let (line, column) = punte_toml::line_and_column(&text, at);
                Problem {
                    file: path.clone(),
                    line,
                    column,
                    path: dotted.trim_end_matches('.').to_owned(),
                    what: found.what,
                }
            };
            let all = found.into_iter().map(place);
            all.filter(|problem| !read.follows(&problem.path)).collect()
        };
        let ids: Option<Vec<String>> =
            channels.map(|channels| channels.iter().map(|channel| channel.id.clone()).collect());
        let alerts = settings.alerts.rules(&settings.time_zone()?, ids.as_deref());
        let mut problems = placed("http", looked.problems);
        problems.extend(placed("alerts", alerts.err().unwrap_or_default()));
        problems.extend(read.problems.iter().cloned());
        problems.sort_by_key(|problem| (problem.line, problem.column));
        let mut warnings = placed("http", looked.warnings);
        warnings.extend(placed("alerts", settings.alerts.look(&self.folder)));
        warnings.sort_by_key(|warning| (warning.line, warning.column));
        Ok((problems, warnings))
    }

    /// Reads and checks all channels: the channels, what is wrong, what is odd.
    pub fn check(&self) -> channel::Checked {
        match channel::read_folder(&self.channels_folder()) {
            Ok(files) => channel::check(
                &files,
                &formats::all(),
                &connectors::all(),
                &channel::read_table,
                crate::scripting::host(),
            ),
            Err(problems) => channel::Checked {
                problems,
                ..Default::default()
            },
        }
    }

    /// The channels if nothing is wrong with any, the write door among them; the warnings come with them.
    pub fn channels(&self) -> Result<(Vec<Channel>, Vec<Problem>), Vec<Problem>> {
        let checked = self.check();
        let warnings = checked.warnings.clone();
        Ok((with_write_door(checked.into_result()?), warnings))
    }

    /// The file in which the master key lies, or is to lie.
    pub fn key_file(&self, settings: &Settings) -> anyhow::Result<PathBuf> {
        if let Some(path) = std::env::var_os("PUNTE_KEY_FILE") {
            return Ok(path.into());
        }
        if let Some(path) = &settings.key.file {
            return Ok(if path.is_absolute() {
                path.clone()
            } else {
                self.folder.join(path)
            });
        }
        let base = std::env::var_os("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")))
            .ok_or_else(|| {
                anyhow!("there is no place for the master key: set PUNTE_KEY_FILE, HOME or XDG_CONFIG_HOME")
            })?;
        Ok(base.join("punte").join("master.key"))
    }

    /// Whether an engine, or a command, has the store open.
    pub fn is_taken(&self) -> bool {
        SqliteStore::is_taken(&self.data())
    }

    /// Whether a path lies inside the home folder, however it is written.
    pub fn is_inside(&self, path: &Path) -> bool {
        let home = std::fs::canonicalize(&self.folder).unwrap_or_else(|_| self.folder.clone());
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let real = absolute
            .ancestors()
            .find_map(|ancestor| {
                let known = std::fs::canonicalize(ancestor).ok()?;
                let rest = absolute.strip_prefix(ancestor).ok()?;
                Some(known.join(rest))
            })
            .unwrap_or(absolute);
        real.starts_with(&home)
    }

    /// Refuses where no store is.
    pub fn needs_a_store(&self) -> anyhow::Result<()> {
        if !self.data().join("punte.db").exists() {
            bail!(
                "there is no store in {}. Start one with: punte serve --home {}",
                self.data().display(),
                self.folder.display()
            );
        }
        Ok(())
    }

    /// Opens the store; `make` where it may be new.
    pub async fn open_store(&self, make: bool) -> anyhow::Result<Arc<dyn Store>> {
        let settings = self.settings()?;
        if !make {
            self.needs_a_store()?;
        }
        let key = self.master_key(&settings, make)?;
        std::fs::create_dir_all(self.data())
            .with_context(|| format!("{} could not be made", self.data().display()))?;
        let options = SqliteOptions {
            clinic: settings.clinic,
            zone: settings.time_zone()?,
            ..SqliteOptions::default()
        };
        let store = SqliteStore::open(&self.data(), &key, options).await?;
        Ok(store)
    }

    /// Tries to write into the data folder, so that a start on one that can't be written to ends before anything is opened.
    pub fn is_written_to(&self) -> anyhow::Result<()> {
        let data = self.data();
        if !data.is_dir() {
            // It is made with the store, which is the first thing that is opened.
            return Ok(());
        }
        let path = data.join("starting");
        let _ = std::fs::remove_file(&path);
        let written = write_private(&path, b"");
        let _ = std::fs::remove_file(&path);
        written.with_context(|| {
            format!(
                "the data folder {} can't be written to, and nothing was started. Give it to the user who runs this, or make room",
                data.display()
            )
        })
    }

    fn running_file(&self) -> PathBuf {
        self.data().join("running.json")
    }

    /// Notes how this engine is reached, readable by the owner only.
    pub fn write_running(&self, running: &Running) -> anyhow::Result<()> {
        let path = self.running_file();
        let _ = std::fs::remove_file(&path);
        write_private(&path, &serde_json::to_vec(running)?)
            .with_context(|| format!("{} could not be written", path.display()))
    }

    /// Takes the note away.
    pub fn remove_running(&self) {
        let _ = std::fs::remove_file(self.running_file());
    }

    /// The engine that runs here, if its note is there. It may have been killed since.
    pub fn running(&self) -> Option<Running> {
        serde_json::from_slice(&std::fs::read(self.running_file()).ok()?).ok()
    }
}

/// Writes a new file that only its owner can read.
pub fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The channels that run: those of the files, and the door by which changes come over HTTP.
pub fn with_write_door(mut channels: Vec<Channel>) -> Vec<Channel> {
    channels.push(channel::write_door::channel());
    channels
}
