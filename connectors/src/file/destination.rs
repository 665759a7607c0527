//! Writes each message as a file, or behind the others of its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use clinic::exchange::Response;
use engine::body::StoredBody;
use engine::connector::{ConnectorError, Mine, Outgoing, SendError};
use tokio::task::spawn_blocking;

use super::append::append;
use super::aside::numbered;
use super::disk::flush_folder;
use super::settings::{Destination, Exists, How};

/// So much of two files is compared at once.
const PIECE: usize = 64 * 1024;
/// How many files of one name are looked through for a free number.
const MOST_OF_A_NAME: u32 = 10_000;

/// A folder that is written to.
pub(super) struct FileDestination {
    settings: Destination,
}

/// What was written, or why not.
enum Written {
    As(PathBuf),
    /// A file of that name is there, with other content.
    Taken,
}

impl FileDestination {
    pub(super) fn open(mut settings: Destination, base: &Path) -> Result<Self, ConnectorError> {
        settings.folder = base.join(&settings.folder);
        reachable(&settings.folder)?;
        Ok(FileDestination { settings })
    }
}

#[async_trait]
impl engine::connector::Destination for FileDestination {
    async fn send(&self, outgoing: &Outgoing, _mine: &Mine<'_>) -> Result<Response, SendError> {
        let name = self
            .settings
            .name
            .name(outgoing)
            .map_err(|why| SendError::Refused { why })?;
        let (folder, how) = (self.settings.folder.clone(), self.settings.how.clone());
        let (body, delivery) = (outgoing.whole(), outgoing.delivery);
        let record = outgoing.body.clone();
        let writing = spawn_blocking(move || match how {
            How::Each(exists) => write_each(&folder, &name, &body, delivery, exists),
            How::Append { separator } => {
                let record = [&record, separator.as_bytes()].concat();
                append(&folder, &name, &record, delivery).map(|()| Written::As(folder.join(&name)))
            }
        });
        let written = match writing.await {
            Ok(Ok(written)) => written,
            Ok(Err(error)) => {
                let folder = self.settings.folder.display();
                return Err(SendError::Retry {
                    why: format!("Can't write to {folder}: {error}."),
                    after: None,
                });
            }
            Err(_) => {
                return Err(SendError::Unsure {
                    why: "the work on the disk did not end".to_owned(),
                });
            }
        };
        match written {
            Written::As(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Ok(Response {
                    content_type: Some("text/plain".to_owned()),
                    body: name.into_bytes(),
                    ..Response::default()
                })
            }
            Written::Taken => Err(SendError::Refused {
                why: "a file of this name is there already, with other content. Take it away and send again, or let the \
                      name differ ({id}, {seq}), or write exists = \"number\" or \"replace\"."
                    .to_owned(),
            }),
        }
    }

    /// What is written behind others is written at once.
    fn takes_pieces(&self) -> bool {
        matches!(self.settings.how, How::Each(_))
    }

    async fn probe(&self) -> Result<(), ConnectorError> {
        let folder = self.settings.folder.clone();
        match spawn_blocking(move || reachable(&folder)).await {
            Ok(result) => result,
            Err(_) => Err(ConnectorError::new("the work on the disk did not end")),
        }
    }
}

fn reachable(folder: &Path) -> Result<(), ConnectorError> {
    match fs::read_dir(folder) {
        Ok(_) => Ok(()),
        Err(error) => Err(ConnectorError::new(format!(
            "The folder {} can't be read: {error}. Make it, or mount it, and see that this program may write there.",
            folder.display()
        ))),
    }
}

/// Writes a file whole: under a hidden name first, flushed, then under its own.
fn write_each(
    folder: &Path,
    name: &str,
    body: &StoredBody,
    delivery: i64,
    exists: Exists,
) -> io::Result<Written> {
    // An earlier try of the same delivery may have ended anywhere. What it left under its own name is found by its
    // content, what it left under the hidden one is taken away first: it may be the same file by another name.
    let hidden = folder.join(format!(".punte-{delivery}.tmp"));
    match fs::remove_file(&hidden) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut target = folder.join(name);
    for number in 2..=MOST_OF_A_NAME {
        let is_free = match holds(&target, body)? {
            Holds::This => {
                File::open(&target)?.sync_all()?;
                flush_folder(folder)?;
                return Ok(Written::As(target));
            }
            Holds::Nothing => true,
            Holds::Other => exists == Exists::Replace,
        };
        if is_free && place(&hidden, &target, body, exists)? {
            flush_folder(folder)?;
            return Ok(Written::As(target));
        }
        match exists {
            Exists::Refuse | Exists::Replace => return Ok(Written::Taken),
            Exists::Number => target = folder.join(numbered(name.as_ref(), number)),
        }
    }
    Ok(Written::Taken)
}

/// False: somebody else has taken the name meanwhile.
fn place(hidden: &Path, target: &Path, body: &StoredBody, exists: Exists) -> io::Result<bool> {
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(hidden)?;
        io::copy(&mut body.open().map_err(io::Error::other)?, &mut file)?;
        file.sync_all()
    })();
    let placed = written.and_then(|()| match exists {
        Exists::Replace => fs::rename(hidden, target).map(|()| true),
        Exists::Refuse | Exists::Number => match fs::hard_link(hidden, target) {
            Ok(()) => fs::remove_file(hidden).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            // A file system without links: there is a moment between the look and the renaming.
            Err(_) if !target.try_exists()? => fs::rename(hidden, target).map(|()| true),
            Err(_) => Ok(false),
        },
    });
    if !matches!(placed, Ok(true)) {
        let _ = fs::remove_file(hidden);
    }
    placed
}

/// What stands under a name.
enum Holds {
    Nothing,
    This,
    Other,
}

fn holds(path: &Path, body: &StoredBody) -> io::Result<Holds> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holds::Nothing),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() != body.length() {
        return Ok(Holds::Other);
    }
    let mut body = body.open().map_err(io::Error::other)?;
    let (mut there, mut wanted) = (vec![0; PIECE], Vec::with_capacity(PIECE));
    loop {
        wanted.clear();
        (&mut body).take(PIECE as u64).read_to_end(&mut wanted)?;
        let there = &mut there[..wanted.len()];
        file.read_exact(there)?;
        if *there != wanted[..] {
            return Ok(Holds::Other);
        }
        if wanted.is_empty() {
            return Ok(Holds::This);
        }
    }
}
