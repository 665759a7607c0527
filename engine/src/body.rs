//! Bodies that come and go in pieces. A short one stays in memory; a longer one is sealed into a file of the store while
//! it arrives, and only its beginning is carried along.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::task::JoinError;

use crate::format::Reads;
use crate::room::{Room, SMALL};
use crate::store::{BlobName, Blobs, Draft, Sealer, StoreError, as_store_error, sought};
use crate::waits::{blocking, here_or_there};

/// So many bytes are handed to the disk at once, and read from it.
const PIECE: usize = 256 * 1024;
/// The most of a long body that is read since a format wants more of it.
pub(crate) const LONGEST_HEAD: u64 = 64 * 1024 * 1024;
/// What breaks off where the work on a body panics.
const WORK: &str = "the work on a body";
/// What a door takes that has to be whole in memory: all the room that there is.
pub(crate) const LONGEST_WHOLE: u64 = 128 * 1024 * 1024;

/// Where a store keeps long bodies.
#[derive(Clone)]
pub struct Vault {
    pub(crate) blobs: Blobs,
    pub(crate) sealer: Arc<Sealer>,
}

impl Vault {
    /// The secret of a project: always the same one in this clinic, and told to nobody.
    pub fn project_secret(&self, project: &str) -> [u8; 32] {
        self.sealer.project_secret(project)
    }
}

/// A body could not be taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than its taker allows.
    #[error("it is longer than {limit} bytes")]
    TooLong {
        /// How long it may be.
        limit: u64,
    },
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A body that has come.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// All of it where it is short, else its beginning.
    pub bytes: Bytes,
    /// Where all of a long one lies, flushed.
    pub big: Option<BlobName>,
}

impl Body {
    /// How long it is.
    pub fn length(&self) -> u64 {
        self.big.map_or(self.bytes.len() as u64, |big| big.length())
    }
}

/// Takes a body piece by piece. Dropped before its end, nothing stays of it.
pub struct BodyWriter {
    vault: Option<Vault>,
    limit: u64,
    length: u64,
    /// What was not handed on.
    piece: BytesMut,
    /// The beginning, once something was.
    head: Bytes,
    /// The file.
    draft: Option<Draft>,
    /// Who hears that the store could not take it.
    told: Option<Box<dyn FnOnce() + Send>>,
}

impl BodyWriter {
    /// For a body of at most so many bytes; what is not short goes to the vault.
    pub fn new(limit: u64, vault: Vault) -> Self {
        BodyWriter {
            vault: Some(vault),
            ..BodyWriter::in_memory(limit)
        }
    }

    /// For a body of at most so many bytes, all of which stay in memory.
    pub fn in_memory(limit: u64) -> Self {
        BodyWriter {
            vault: None,
            limit,
            length: 0,
            piece: BytesMut::new(),
            head: Bytes::new(),
            draft: None,
            told: None,
        }
    }

    /// Tells it where the store can't take the body.
    pub(crate) fn telling(self, told: impl FnOnce() + Send + 'static) -> Self {
        BodyWriter {
            told: Some(Box::new(told)),
            ..self
        }
    }

    fn not_stored(&mut self, error: StoreError) -> BodyError {
        if let Some(told) = self.told.take() {
            told();
        }
        error.into()
    }

    /// How many bytes have come.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The beginning of what has come, at most 256 KB: for who can't take the rest and keeps what it was.
    pub fn beginning(&self) -> Bytes {
        match self.head.is_empty() {
            true => Bytes::copy_from_slice(&self.piece[..self.piece.len().min(SMALL)]),
            false => self.head.clone(),
        }
    }

    /// Takes more. After an error nothing more can come of it.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        if self.limit - self.length < bytes.len() as u64 {
            return Err(BodyError::TooLong { limit: self.limit });
        }
        self.length += bytes.len() as u64;
        if self.piece.is_empty()
            && let Some(draft) = &mut self.draft
            && draft.has_room(bytes.len())
        {
            // Nothing waits for the disk.
            return draft.write(bytes).map_err(|error| self.not_stored(error));
        }
        if self.draft.is_some() && self.piece.is_empty() {
            // It goes on as long as it was: no growing step by step.
            self.piece.reserve(PIECE + bytes.len());
        }
        self.piece.extend_from_slice(bytes);
        match PIECE < self.piece.len() {
            true => self.hand_on().await.map_err(|error| self.not_stored(error)),
            false => Ok(()),
        }
    }

    /// Lets the file take what has come. What comes meanwhile waits with the system.
    async fn hand_on(&mut self) -> Result<(), StoreError> {
        let Some(vault) = &self.vault else {
            return Ok(());
        };
        let vault = vault.clone();
        let begun = match self.draft.take() {
            Some(draft) => Some(draft),
            None if self.head.is_empty() => None,
            None => return Err(StoreError::Unavailable("a body could not be written".into())),
        };
        let piece = self.piece.split().freeze();
        if self.head.is_empty() {
            self.head = piece.slice(..piece.len().min(SMALL));
        }
        let written = here_or_there(move || {
            let mut draft = match begun {
                Some(draft) => draft,
                None => vault.blobs.begin(&vault.sealer)?,
            };
            draft.write(&piece)?;
            Ok::<_, StoreError>(draft)
        });
        self.draft = Some(written.await.map_err(broken_off)??);
        Ok(())
    }

    /// All has come. What lies in a file is flushed when this returns.
    pub async fn finish(mut self) -> Result<Body, BodyError> {
        if self.draft.is_none() && self.head.is_empty() {
            return Ok(Body {
                bytes: self.piece.freeze(),
                big: None,
            });
        }
        match self.named().await {
            Ok(name) => Ok(Body {
                bytes: self.head,
                big: Some(name),
            }),
            Err(error) => Err(self.not_stored(error)),
        }
    }

    async fn named(&mut self) -> Result<BlobName, StoreError> {
        let Some(mut draft) = self.draft.take() else {
            return Err(StoreError::Unavailable("a body could not be written".into()));
        };
        let last = self.piece.split().freeze();
        let named = here_or_there(move || {
            draft.write(&last)?;
            draft.finish()
        });
        named.await.map_err(broken_off)?
    }
}

fn broken_off(_: JoinError) -> StoreError {
    StoreError::Unavailable(format!("{WORK} was broken off"))
}

/// What is read from any place. Its errors of the store are [`StoreError`]s within.
pub trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// A body that lies in the store.
#[derive(Clone)]
pub struct StoredBody {
    lies: Lies,
}

#[derive(Clone)]
enum Lies {
    InMemory(Bytes),
    InVault(Vault, BlobName),
    /// Another beginning, in place of so many bytes of a body.
    Begun(Bytes, u64, Box<StoredBody>),
}

impl From<Bytes> for StoredBody {
    fn from(bytes: Bytes) -> Self {
        StoredBody {
            lies: Lies::InMemory(bytes),
        }
    }
}

impl StoredBody {
    /// Of this name in a vault.
    pub fn new(vault: Vault, name: BlobName) -> Self {
        StoredBody {
            lies: Lies::InVault(vault, name),
        }
    }

    /// The same with another beginning, in place of its first bytes, which are so many.
    pub fn with_beginning(self, beginning: Bytes, in_place_of: u64) -> Self {
        StoredBody {
            lies: Lies::Begun(beginning, in_place_of, Box::new(self)),
        }
    }

    /// How long it is.
    pub fn length(&self) -> u64 {
        match &self.lies {
            Lies::InMemory(bytes) => bytes.len() as u64,
            Lies::InVault(_, name) => name.length(),
            Lies::Begun(beginning, gone, rest) => {
                beginning.len() as u64 + rest.length().saturating_sub(*gone)
            }
        }
    }

    /// Opens it. Blocks, as each read does.
    pub fn open(&self) -> Result<Box<dyn ReadSeek>, StoreError> {
        Ok(match &self.lies {
            Lies::InMemory(bytes) => Box::new(io::Cursor::new(bytes.clone())),
            Lies::InVault(vault, name) => Box::new(vault.blobs.open(&vault.sealer, *name)?),
            Lies::Begun(beginning, gone, rest) => Box::new(Begun {
                beginning: beginning.clone(),
                gone: *gone,
                rest: rest.open()?,
                length: self.length(),
                at: 0,
            }),
        })
    }

    /// Its bytes from this place on, in pieces.
    pub fn pieces(&self, from: u64) -> Pieces {
        Pieces {
            body: self.clone(),
            at: from,
            open: None,
        }
    }
}

/// A body with another beginning, read from any place.
struct Begun {
    beginning: Bytes,
    /// So many bytes of the rest it stands in place of.
    gone: u64,
    rest: Box<dyn ReadSeek>,
    length: u64,
    at: u64,
}

impl Read for Begun {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begins = self.beginning.len() as u64;
        let count = match usize::try_from(self.at) {
            Ok(at) if self.at < begins => {
                let count = buffer.len().min(self.beginning.len() - at);
                buffer[..count].copy_from_slice(&self.beginning[at..at + count]);
                count
            }
            Ok(_) | Err(_) => {
                self.rest.seek(SeekFrom::Start(self.at - begins + self.gone))?;
                self.rest.read(buffer)?
            }
        };
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Begun {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = sought(to, self.at, self.length)?;
        Ok(self.at)
    }
}

/// The bytes of a body, one piece after the other.
pub struct Pieces {
    body: StoredBody,
    at: u64,
    open: Option<Box<dyn ReadSeek>>,
}

impl Pieces {
    /// The next piece, at most 256 KB; none: there is no more.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let rest = self.body.length().saturating_sub(self.at);
        let length = usize::try_from(rest).unwrap_or(PIECE).min(PIECE);
        if length == 0 {
            return Ok(None);
        }
        if let Lies::InMemory(bytes) = &self.body.lies {
            let at = usize::try_from(self.at).unwrap_or(usize::MAX).min(bytes.len());
            self.at += length as u64;
            return Ok(Some(bytes.slice(at..at + length)));
        }
        let (body, at, open) = (self.body.clone(), self.at, self.open.take());
        let read = blocking(WORK, move || {
            let mut open = match open {
                Some(open) => open,
                None => {
                    let mut open = body.open()?;
                    open.seek(SeekFrom::Start(at)).map_err(as_store_error)?;
                    open
                }
            };
            let mut piece = vec![0; length];
            open.read_exact(&mut piece).map_err(as_store_error)?;
            Ok::<_, StoreError>((open, piece))
        });
        let (open, piece) = read.await?;
        self.open = Some(open);
        self.at += length as u64;
        Ok(Some(piece.into()))
    }
}

/// The SHA-256 of a long body from a byte on, in hex. It is never whole in memory.
pub(crate) async fn digest(vault: Vault, name: BlobName, from: u64) -> Result<String, StoreError> {
    let read = blocking(WORK, move || {
        let mut reader = vault.blobs.open(&vault.sealer, name)?;
        reader.seek(SeekFrom::Start(from)).map_err(as_store_error)?;
        let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        let mut piece = vec![0; PIECE];
        loop {
            match reader.read(&mut piece).map_err(as_store_error)? {
                0 => break,
                count => digest.update(&piece[..count]),
            }
        }
        let digest = digest.finish();
        Ok(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    });
    read.await
}

/// A long body can't be taken as far as somebody needs it.
#[derive(Debug)]
pub(crate) enum NotRead {
    /// All of it is needed, and it is too long for that.
    TooLong,
    Store(StoreError),
}

/// Reads on in a long body until so much of it is in memory as is needed, and takes room for that.
pub(crate) async fn read_on(
    vault: &Vault,
    name: BlobName,
    body: &mut Bytes,
    room: &Room,
    longest_whole: u64,
    needs: &(dyn Fn(&[u8]) -> Reads + Send + Sync),
) -> Result<(), NotRead> {
    loop {
        let has = body.len() as u64;
        if name.length() <= has {
            return Ok(());
        }
        let least = SMALL as u64;
        let wanted = match needs(body) {
            Reads::Whole if longest_whole < name.length() => return Err(NotRead::TooLong),
            Reads::Whole => name.length(),
            Reads::Enough if least <= has => return Ok(()),
            Reads::More if LONGEST_HEAD <= has => return Err(NotRead::TooLong),
            Reads::More | Reads::Enough => (has * 2).max(least).min(name.length()),
        };
        // What was read so far is let go before more is read: nobody waits for room that it has itself.
        *body = Bytes::new();
        let place = room.take(usize::try_from(wanted).unwrap_or(usize::MAX)).await;
        let vault = vault.clone();
        let read = blocking(WORK, move || vault.blobs.beginning(&vault.sealer, name, wanted));
        *body = place.hold(read.await.map_err(NotRead::Store)?);
    }
}
