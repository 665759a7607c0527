//! Reads a folder: one file after the other, each moved or deleted once its message is stored.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::digest;
use bytes::Bytes;
use engine::connector::{Acknowledgement, ConnectorError, Intake, Outcome, Stop};
use engine::message::Incoming;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::aside::{give_reason, move_into};
use super::disk::is_same;
use super::listing::{Found, Stamp, Watch, look};
use super::settings;
use crate::sockets::before_the_end;

/// What is kept of a file that can't be a message.
const KEPT: usize = 256 * 1024;
/// The longest pause after the store could not take a file, or the folder could not be read.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A folder that waits to be read.
pub(super) struct FileSource {
    settings: settings::Source,
    watch: Watch,
    /// Files whose message is stored and that could not be taken away: they are not read again.
    left: HashMap<OsString, (Stamp, Next)>,
    said: Said,
}

/// What has been said, so that it is not said with each look.
#[derive(Default)]
struct Said {
    folder: bool,
    links: bool,
    trouble: bool,
}

/// What is to become of a file.
#[derive(Clone, Debug)]
enum Next {
    /// Its message is stored.
    Done,
    /// Set aside, with the reason.
    Aside(String),
}

/// What reading a file came to.
enum Body {
    Whole {
        bytes: Bytes,
        identity: String,
    },
    /// It can't be a message.
    Unfit {
        kept: Bytes,
        why: String,
    },
    /// It has changed or vanished: the next look shows it as it is then.
    Moving,
    /// It can't be read just now.
    Trouble(io::Error),
}

/// How the work on a file went.
enum Went {
    On,
    /// The files after it wait, so that their order holds.
    Later,
}

impl FileSource {
    /// Makes the folders beside the one that is read; that one has to be there.
    pub(super) fn open(
        mut settings: settings::Source,
        base: &std::path::Path,
    ) -> Result<Self, ConnectorError> {
        settings.folder = base.join(&settings.folder);
        let folder = &settings.folder;
        if let Err(error) = std::fs::read_dir(folder) {
            return Err(ConnectorError::new(format!(
                "The folder {} can't be read: {error}. Make it, or mount it, and see that this program may read and write there.",
                folder.display()
            )));
        }
        settings.failed = folder.join(&settings.failed);
        settings.done = settings.done.as_ref().map(|done| folder.join(done));
        for beside in settings.done.iter().chain([&settings.failed]) {
            if let Err(error) = std::fs::create_dir_all(beside) {
                return Err(ConnectorError::new(format!(
                    "The folder {} can't be made: {error}. This program moves files there that it has read.",
                    beside.display()
                )));
            }
        }
        Ok(FileSource {
            settings,
            watch: Watch::default(),
            left: HashMap::new(),
            said: Said::default(),
        })
    }
}

#[async_trait]
impl engine::connector::Source for FileSource {
    fn local_address(&self) -> Option<SocketAddr> {
        None
    }

    async fn run(mut self: Box<Self>, intake: Intake, stop: Stop) -> Result<(), ConnectorError> {
        let mut pause = self.settings.every;
        while !stop.is_cancelled() {
            pause = match self.round(&intake, &stop).await {
                Went::On => self.settings.every,
                Went::Later => (pause * 2).min(LONGEST_PAUSE.max(self.settings.every)),
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(pause) => {}
            }
        }
        Ok(())
    }
}

impl FileSource {
    /// Looks at the folder once and takes all files that are ready.
    async fn round(&mut self, intake: &Intake, stop: &Stop) -> Went {
        let (folder, patterns) = (self.settings.folder.clone(), self.settings.patterns.clone());
        let seen = match blocking(move || look(&folder, &patterns)).await {
            Ok(seen) => seen,
            Err(error) => {
                let folder = self.settings.folder.display();
                if !std::mem::replace(&mut self.said.folder, true) {
                    tracing::error!(%folder, %error, "The folder can't be read; it is looked at again until it can.");
                }
                return Went::Later;
            }
        };
        if std::mem::take(&mut self.said.folder) {
            tracing::info!(folder = %self.settings.folder.display(), "The folder can be read again.");
        }
        if 0 < seen.links && !std::mem::replace(&mut self.said.links, true) {
            tracing::warn!(folder = %self.settings.folder.display(), links = seen.links, "There are links in the folder; they are not followed.");
        }
        self.left.retain(|name, (stamp, _)| {
            seen.files
                .iter()
                .any(|file| file.name == *name && file.stamp == *stamp)
        });
        let (order, stable) = (self.settings.order, self.settings.stable);
        for file in self.watch.ready(seen.files, order, stable, Instant::now()) {
            if stop.is_cancelled() {
                return Went::On;
            }
            match self.take(file, intake, stop).await {
                Went::On => {}
                Went::Later => return Went::Later,
            }
        }
        Went::On
    }

    /// One file: read, handed in, taken away.
    async fn take(&mut self, file: Found, intake: &Intake, stop: &Stop) -> Went {
        if let Some((_, next)) = self.left.get(&file.name) {
            let next = next.clone();
            self.finish(file, next).await;
            return Went::On;
        }
        let path = self.settings.folder.join(&file.name);
        let (stamp, max_size) = (file.stamp, self.settings.max_size);
        let name = file.name.clone();
        let body = match blocking(move || Ok(read(path, &name, stamp, max_size))).await {
            Ok(body) => body,
            Err(error) => Body::Trouble(error),
        };
        let handed_in = match body {
            Body::Whole { bytes, identity } => {
                let incoming = self.incoming(&file, bytes, Some(identity));
                let accepting = intake.accept(incoming);
                before_the_end(accepting, stop)
                    .await
                    .map(|ack| match ack.outcome {
                        Outcome::Stored => Some(Next::Done),
                        Outcome::Failed => Some(Next::Aside(note(ack))),
                        Outcome::Unavailable => None,
                    })
            }
            Body::Unfit { kept, why } => {
                let rejecting = intake.reject(self.incoming(&file, kept, None), why.clone());
                before_the_end(rejecting, stop)
                    .await
                    .map(|ack| match ack.outcome {
                        Outcome::Stored | Outcome::Failed => Some(Next::Aside(why)),
                        Outcome::Unavailable => None,
                    })
            }
            Body::Moving => {
                self.watch.begin_again(&file.name);
                return Went::On;
            }
            Body::Trouble(error) => {
                // Not its name: names of files are names of people often enough.
                if !std::mem::replace(&mut self.said.trouble, true) {
                    tracing::warn!(folder = %self.settings.folder.display(), %error, "A file can't be read just now; it is tried again.");
                }
                return Went::On;
            }
        };
        self.said.trouble = false;
        match handed_in {
            Some(Some(next)) => {
                self.finish(file, next).await;
                Went::On
            }
            // Not stored, or stopped before that was known: it stays where it is.
            Some(None) | None => Went::Later,
        }
    }

    fn incoming(&self, file: &Found, body: Bytes, identity: Option<String>) -> Incoming {
        let name = file.name.to_string_lossy().into_owned();
        let content_type = match &self.settings.content_type {
            Some(said) => said.clone(),
            None => content_type(&name).to_owned(),
        };
        let mut headers = vec![("file".to_owned(), name)];
        if let Ok(modified) = jiff::Timestamp::try_from(file.stamp.modified) {
            headers.push(("modified".to_owned(), modified.to_string()));
        }
        Incoming {
            body,
            big: None,
            content_type,
            headers,
            received_at: jiff::Timestamp::now(),
            identity,
        }
    }

    /// Takes a file away whose message is stored. Where that fails it is tried with each look, and never read again.
    async fn finish(&mut self, file: Found, next: Next) {
        let path = self.settings.folder.join(&file.name);
        let to = match &next {
            Next::Done => self.settings.done.clone(),
            Next::Aside(_) => Some(self.settings.failed.clone()),
        };
        let reason = match &next {
            Next::Done => None,
            Next::Aside(why) => Some(why.clone()),
        };
        let taken_away = blocking(move || match to {
            Some(folder) => {
                let now = move_into(&folder, &path)?;
                reason.map_or(Ok(()), |why| give_reason(&now, &why))
            }
            None => std::fs::remove_file(&path),
        });
        match taken_away.await {
            Ok(()) => {
                self.left.remove(&file.name);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.left.remove(&file.name);
            }
            Err(error) => {
                let is_new = self.left.insert(file.name, (file.stamp, next)).is_none();
                if is_new {
                    tracing::error!(folder = %self.settings.folder.display(), %error, "A file is stored and can't be moved away; it is tried again, and not read again before a restart.");
                }
            }
        }
    }
}

/// Reads a file that looked like `stamp`, at most `max_size` bytes of it.
fn read(path: PathBuf, name: &OsStr, stamp: Stamp, max_size: usize) -> Body {
    match try_read(&path, name, stamp, max_size) {
        Ok(body) => body,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Body::Moving,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Body::Unfit {
            kept: Bytes::new(),
            why: format!(
                "The file can't be read: {error}. Give this program the right to read it, and move it back."
            ),
        },
        Err(error) => Body::Trouble(error),
    }
}

fn try_read(path: &std::path::Path, name: &OsStr, stamp: Stamp, max_size: usize) -> io::Result<Body> {
    let mut file = File::open(path)?;
    if Stamp::of(&file.metadata()?) != stamp || !is_same(&file, path)? {
        return Ok(Body::Moving);
    }
    if stamp.length == 0 {
        return Ok(Body::Unfit {
            kept: Bytes::new(),
            why: "The file is empty. Have it sent again if something belongs in it.".to_owned(),
        });
    }
    let too_long = usize::try_from(stamp.length).is_err() || max_size < stamp.length as usize;
    let most = if too_long { KEPT } else { max_size };
    let mut bytes = Vec::with_capacity(most.min(stamp.length as usize));
    (&mut file).take(most as u64).read_to_end(&mut bytes)?;
    if too_long {
        return Ok(Body::Unfit {
            kept: bytes.into(),
            why: format!(
                "The file has {} bytes, over the limit of {max_size}. Raise `max_size` if such files are to be taken, and move it back.",
                stamp.length
            ),
        });
    }
    if bytes.len() as u64 != stamp.length || Stamp::of(&file.metadata()?) != stamp {
        return Ok(Body::Moving);
    }
    let identity = identity(name, stamp, &bytes);
    Ok(Body::Whole {
        bytes: bytes.into(),
        identity,
    })
}

/// By what the same file is known again: its name, its time, its length and its content.
fn identity(name: &OsStr, stamp: Stamp, bytes: &[u8]) -> String {
    let mut all = digest::Context::new(&digest::SHA256);
    let name = name.as_encoded_bytes();
    all.update(&(name.len() as u64).to_le_bytes());
    all.update(name);
    let modified = stamp
        .modified
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    all.update(&modified.as_nanos().to_le_bytes());
    all.update(bytes);
    let hash = all.finish();
    let hex: String = hash
        .as_ref()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("file-{hex}")
}

/// The MIME type that the ending of a name stands for.
fn content_type(name: &str) -> &'static str {
    let ending = name
        .rsplit_once('.')
        .map(|(_, ending)| ending.to_ascii_lowercase());
    match ending.as_deref() {
        Some("hl7") => "application/hl7-v2",
        Some("json") => "application/json",
        Some("xml") => "application/xml",
        Some("csv") => "text/csv",
        Some("txt") => "text/plain",
        Some("pdf") => "application/pdf",
        Some("zip") => "application/zip",
        Some(_) | None => "application/octet-stream",
    }
}

fn note(ack: Acknowledgement) -> String {
    ack.note
        .unwrap_or_else(|| "The message could not be processed; see it with `punte messages`.".to_owned())
}

/// Work on the disk, beside the runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::other("the work on the disk did not end")),
    }
}
