//! Objects as they lie in the store, and who may have them.

use std::io::Read;

use axum::body::Bytes;
use axum::http::StatusCode;
use bytes::BytesMut;
use engine::body::StoredBody;
use engine::store::StoreError;
use engine::{archive, room};
use mappings::dicom::charset::Fallback;
use mappings::dicom::dataset::DataSet;
use mappings::dicom::part10::{self, Meta};
use mappings::dicom::{Enough, behind, is_enough, native};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::super::super::auth::{Scope, Who};
use super::super::super::{Problem, State};
use super::super::found::{self, Object};
use super::written::{Unable, blocking};
use crate::formats::dicom::Dicom;
use crate::journal::{self, Seen};

/// An object in the store.
#[derive(Clone)]
pub struct Stored {
    /// Its bytes.
    pub body: StoredBody,
    /// What its meta header says.
    pub meta: Meta,
}

/// The bytes of an object: those of the message that made it, under the patient whose it is. None: they were taken out.
pub async fn stored(state: &State, object: &Object) -> Result<Option<Stored>, Problem> {
    let uid = object.object.uid().unwrap_or_default();
    let meta = |beginning: &[u8]| {
        part10::meta(beginning)
            .ok()
            .filter(|(meta, _)| meta.instance == uid)
    };
    let is_it = |beginning: &[u8]| meta(beginning).is_some();
    let (format, patient) = (Dicom::default(), object.patient.as_deref());
    let found = archive::given(state.store(), &object.record, patient, &format, &is_it).await?;
    Ok(found.and_then(|found| {
        let (meta, _) = meta(&found.beginning)?;
        Some(Stored {
            body: found.body,
            meta,
        })
    }))
}

/// 410.
pub fn gone() -> Problem {
    Problem::new(
        StatusCode::GONE,
        "what it is is known, and its bytes were taken out after their time",
    )
}

/// Which objects are meant.
pub struct Wanted {
    /// Of this study.
    pub study: String,
    /// Of this series of it.
    pub series: Option<String>,
    /// This one alone.
    pub instance: Option<String>,
}

impl Wanted {
    /// All of a study.
    pub fn of_study(study: String) -> Self {
        Wanted {
            study,
            series: None,
            instance: None,
        }
    }

    /// All of a series.
    pub fn of_series(study: String, series: String) -> Self {
        Wanted {
            series: Some(series),
            ..Wanted::of_study(study)
        }
    }

    /// One.
    pub fn of_instance(study: String, series: String, instance: String) -> Self {
        Wanted {
            instance: Some(instance),
            ..Wanted::of_series(study, series)
        }
    }

    /// The objects, or 404. Whom they are about is noted before anything of them is shown.
    pub async fn objects(&self, state: &State, who: Who, action: &str) -> Result<Vec<Object>, Problem> {
        let asker = who.may(Scope::ClinicRead)?;
        let study = found::study(state, &self.study).await;
        let mut seen = Seen::default();
        let found = match &study {
            Ok(study) => {
                let mut objects = found::objects(state, study).await?;
                objects.retain(|object| {
                    let of_series = self
                        .series
                        .as_ref()
                        .is_none_or(|series| object.object.series_uid.as_ref() == Some(series));
                    of_series
                        && self
                            .instance
                            .as_deref()
                            .is_none_or(|uid| object.object.uid() == Some(uid))
                });
                if !objects.is_empty() {
                    seen.record(&study.record);
                }
                Ok(objects)
            }
            Err(problem) => Err(Problem::new(problem.status, problem.detail.clone())),
        };
        seen.words = Some(self.path());
        journal::note(state.store(), asker, action, seen).await?;
        match found {
            Ok(objects) if objects.is_empty() => Err(Problem::not_found("there are no such objects")),
            found => found,
        }
    }

    /// The only object and its bytes, or 404, or 410.
    pub async fn object(&self, state: &State, who: Who) -> Result<Stored, Problem> {
        let objects = self.objects(state, who, "read").await?;
        let object = objects
            .first()
            .ok_or_else(|| Problem::not_found("there is no such object"))?;
        stored(state, object).await?.ok_or_else(gone)
    }

    fn path(&self) -> String {
        let mut path = format!("studies/{}", self.study);
        for (name, uid) in [("series", &self.series), ("instances", &self.instance)] {
            if let Some(uid) = uid {
                path.push_str(&format!("/{name}/{uid}"));
            }
        }
        path
    }
}

/// The beginning of an object, up to its pixels at least, with the room that it takes.
pub async fn head(stored: &Stored) -> Result<Bytes, StoreError> {
    let first = stored.body.pieces(0).next().await?.unwrap_or_default();
    // Of a deflated one nothing is known before its pixels are reached.
    let is_enough = |beginning: &[u8]| is_enough(beginning) == Enough::Yes;
    archive::reaching(&stored.body, first, &is_enough).await
}

/// The most bytes behind the pixels of an object that are read.
const LONGEST_BEHIND: u64 = 8 * 1024 * 1024;

/// What an object says, apart from its pixels.
pub struct Told {
    head: Bytes,
    behind: Bytes,
}

/// Reads it. What stands behind the pixels is left out where it is long, or where its place can't be known; of a deflated object
/// that is long as well.
pub async fn told(stored: Stored) -> Result<Told, Unable> {
    let stored = match inflated(stored.clone()).await {
        Ok(inflated) => inflated,
        Err(Unable::Store(error)) => return Err(error.into()),
        Err(error) => {
            tracing::debug!(?error, "A deflated object is told up to its pixels.");
            let head = head(&stored).await?;
            let behind = Bytes::new();
            return Ok(Told { head, behind });
        }
    };
    let head = head(&stored).await?;
    let (body, beginning) = (stored.body.clone(), head.clone());
    let begins = blocking(move || Ok(behind::begins(&beginning, &mut body.open()?)?)).await;
    let begins = match begins {
        Ok(begins) => begins,
        Err(Unable::Store(error)) => return Err(error.into()),
        Err(error) => {
            tracing::debug!(?error, "An object is told up to its pixels.");
            None
        }
    };
    let length = begins.map_or(0, |begins| stored.body.length().saturating_sub(begins));
    let rest = match begins {
        Some(begins) if (1..=LONGEST_BEHIND).contains(&length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let place = room::going_out().take(length).await;
            let mut bytes = BytesMut::with_capacity(length);
            let mut pieces = stored.body.pieces(begins);
            while let Some(piece) = pieces.next().await? {
                bytes.extend_from_slice(&piece);
            }
            place.hold(bytes.freeze())
        }
        Some(_) | None => Bytes::new(),
    };
    Ok(Told { head, behind: rest })
}

impl Told {
    /// Makes something of it, on a thread for that.
    pub async fn read<T: Send + 'static>(
        self,
        work: impl FnOnce(&DataSet<'_>) -> T + Send + 'static,
    ) -> Result<T, Unable> {
        let work = blocking(move || {
            let file = part10::File::read(&self.head)?;
            let mut set = file.data_set(Fallback::default())?;
            // What can't be read there is no reason to tell nothing.
            if let Err(error) = set.add_behind(&self.behind, file.coding(), Fallback::default()) {
                tracing::debug!(%error, "What stands behind the pixels of an object can't be read.");
            }
            Ok(work(&set))
        });
        work.await
    }
}

/// The most bytes of an object that was inflated to take frames out of it.
const LONGEST_INFLATED: u64 = 32 * 1024 * 1024;
/// So many of them are in memory at the same time.
static INFLATED: Semaphore = Semaphore::const_new(4);

/// An object in memory, and its turn.
struct Inflated {
    bytes: Vec<u8>,
    _turn: Option<SemaphorePermit<'static>>,
}

impl AsRef<[u8]> for Inflated {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The object as frames can be taken out of it: a deflated one is inflated, into memory.
pub async fn inflated(stored: Stored) -> Result<Stored, Unable> {
    if !part10::packing(&stored.meta.syntax).deflated {
        return Ok(stored);
    }
    // It is never closed.
    let turn = INFLATED.acquire().await.ok();
    let Stored { body, mut meta } = stored;
    let work = blocking(move || {
        let mut bytes = vec![];
        let mut file = body.open()?.take(LONGEST_INFLATED);
        file.read_to_end(&mut bytes)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(native::written(&bytes, LONGEST_INFLATED, native::EXPLICIT)?)
    });
    let bytes = work.await?;
    meta.syntax = native::EXPLICIT.to_owned();
    let body = Bytes::from_owner(Inflated { bytes, _turn: turn }).into();
    Ok(Stored { body, meta })
}
