//! The bytes of an object on their way: as they lie in the store, or written anew, one frame after the other.

use axum::body::Bytes;
use axum::http::StatusCode;
use clinic::exchange::MapError;
use engine::anew::{Anew, AnewError, Rewritten};
use engine::body::{Pieces, ReadSeek};
use engine::store::StoreError;
use engine::waits;
use futures_util::Stream;
use mappings::dicom::native::{EXPLICIT, Native};

use super::super::super::Problem;
use super::accept::Answered;
use super::stored::{Stored, head};
use crate::formats::dicom::InPieces;

/// Something can't be given.
#[derive(Debug)]
pub enum Unable {
    /// Not as it is wanted.
    Decode(MapError),
    /// There is no such frame of it.
    NoFrame,
    /// The part that is wanted lies outside of it.
    Outside,
    /// Not now.
    Store(StoreError),
}

impl From<StoreError> for Unable {
    fn from(error: StoreError) -> Self {
        Unable::Store(error)
    }
}

impl From<MapError> for Unable {
    fn from(error: MapError) -> Self {
        Unable::Decode(error)
    }
}

impl From<AnewError> for Unable {
    fn from(error: AnewError) -> Self {
        match error {
            AnewError::Coding(error) => Unable::Decode(error),
            AnewError::Store(error) => Unable::Store(error),
        }
    }
}

impl From<Unable> for Problem {
    fn from(unable: Unable) -> Self {
        match unable {
            Unable::Decode(error) => Problem::new(
                StatusCode::NOT_ACCEPTABLE,
                format!("it can't be decoded; ask for it with transfer-syntax=*: {error}"),
            ),
            Unable::NoFrame => Problem::not_found("there is no such frame"),
            Unable::Outside => Problem::bad_request("the part that is wanted lies outside of the picture"),
            Unable::Store(error) => error.into(),
        }
    }
}

impl From<Unable> for StoreError {
    /// Once an answer has begun there is nothing to be said: it breaks off, and the log says why.
    fn from(unable: Unable) -> Self {
        match unable {
            Unable::Decode(error) => {
                tracing::warn!(%error, "An object can't be decoded; the answer that it was part of broke off.");
                StoreError::Unavailable(format!("an object can't be decoded: {error}"))
            }
            Unable::NoFrame | Unable::Outside => StoreError::Unavailable("there is no such frame".into()),
            Unable::Store(error) => error,
        }
    }
}

/// Does what may wait for the disk, or take long, on a thread for that. A panic of a decoder is an error of this object.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Unable> + Send + 'static,
) -> Result<T, Unable> {
    waits::blocking("the work on an object", work).await
}

/// An object on its way.
pub enum Written {
    /// As it lies in the store.
    AsStored(Pieces),
    /// Written anew.
    Anew(Box<Anew>),
}

impl Written {
    /// Begins to write it. What can be known before the first byte is known then: its first frame is decoded.
    pub async fn begin(stored: &Stored, answered: Answered) -> Result<Self, Unable> {
        Ok(match answered {
            Answered::AsStored => Written::AsStored(stored.body.pieces(0)),
            Answered::Native => {
                let mut anew = begun(stored).await?;
                anew.read_ahead().await?;
                anew.read_ahead().await?;
                Written::Anew(Box::new(anew))
            }
        })
    }

    /// Its next bytes; none: there are no more.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        match self {
            Written::AsStored(pieces) => pieces.next().await,
            Written::Anew(anew) => Ok(anew.next().await.map_err(Unable::from)?),
        }
    }

    /// All of it, as a stream.
    pub fn stream(self) -> impl Stream<Item = Result<Bytes, StoreError>> {
        futures_util::stream::try_unfold(self, async |mut written| {
            let piece = written.next().await?;
            Ok(piece.map(|piece| (piece, written)))
        })
    }
}

/// An object that is written anew in explicit little endian.
async fn begun(stored: &Stored) -> Result<Anew, Unable> {
    let beginning = head(stored).await?;
    let length = stored.body.length();
    let begin = move |mut file: &mut dyn ReadSeek| {
        let native = Native::of(&beginning, &mut file, length, EXPLICIT)?;
        Ok(Box::new(InPieces(native)) as Box<dyn Rewritten>)
    };
    Ok(Anew::begin(stored.body.clone(), begin).await?)
}
