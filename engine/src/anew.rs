//! Long bodies that are written in another coding on their way: piece by piece, never more than a piece in memory.

use std::collections::VecDeque;

use bytes::Bytes;
use clinic::exchange::MapError;

use crate::body::{ReadSeek, StoredBody};
use crate::room;
use crate::store::StoreError;
use crate::waits::blocking;

/// What breaks off where a decoder panics.
const WORK: &str = "the work on a message";

/// A message in another coding, of the file that it lies in.
pub trait Rewritten: Send {
    /// How many pieces it has.
    fn pieces(&self) -> usize;
    /// About how many bytes of memory a piece takes while it is made.
    fn memory(&self) -> usize;
    /// One of its pieces, each once.
    fn piece(&mut self, number: usize, file: &mut dyn ReadSeek) -> Result<Vec<u8>, MapError>;
}

/// A message can't be written anew.
#[derive(Debug, thiserror::Error)]
pub enum AnewError {
    /// It can't be said in that coding.
    #[error(transparent)]
    Coding(#[from] MapError),
    /// It can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A message that is being written anew.
pub struct Anew {
    /// What it is, and its bytes; none while a thread has them.
    open: Option<(Box<dyn Rewritten>, Box<dyn ReadSeek>)>,
    next: usize,
    ahead: VecDeque<Bytes>,
}

impl Anew {
    /// Opens a body, and lets `begin` see what it is to become.
    pub async fn begin(
        body: StoredBody,
        begin: impl FnOnce(&mut dyn ReadSeek) -> Result<Box<dyn Rewritten>, MapError> + Send + 'static,
    ) -> Result<Self, AnewError> {
        let open = blocking(WORK, move || {
            let mut file = body.open()?;
            Ok::<_, AnewError>((begin(&mut file)?, file))
        });
        Ok(Anew {
            open: Some(open.await?),
            next: 0,
            ahead: VecDeque::new(),
        })
    }

    /// Makes the next piece, which is kept until it is asked for. False: there are no more.
    pub async fn read_ahead(&mut self) -> Result<bool, AnewError> {
        let number = self.next;
        let Some((mut rewritten, mut file)) = self
            .open
            .take()
            .filter(|(rewritten, _)| number < rewritten.pieces())
        else {
            return Ok(false);
        };
        self.next += 1;
        let place = room::going_out().take(rewritten.memory()).await;
        let (open, piece) = blocking(WORK, move || {
            let piece = rewritten.piece(number, &mut file)?;
            Ok::<_, AnewError>(((rewritten, file), piece))
        })
        .await?;
        self.open = Some(open);
        self.ahead.push_back(place.hold(piece.into()));
        Ok(true)
    }

    /// The next bytes; none: there are no more.
    pub async fn next(&mut self) -> Result<Option<Bytes>, AnewError> {
        loop {
            if let Some(piece) = self.ahead.pop_front() {
                match piece.is_empty() {
                    true => continue,
                    false => return Ok(Some(piece)),
                }
            }
            if !self.read_ahead().await? {
                return Ok(None);
            }
        }
    }
}
