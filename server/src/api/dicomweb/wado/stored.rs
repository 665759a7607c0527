//! Objects as they lie in the store, and who may have them.

use axum::body::Bytes;
use axum::http::StatusCode;
use engine::archive;
use engine::body::StoredBody;
use engine::room;
use engine::store::StoreError;
use mappings::dicom::part10::{self, Meta, packing};
use mappings::dicom::scan::{self, Reached, Until};

use super::super::super::auth::{Scope, Who};
use super::super::super::{Problem, State};
use super::super::found::{self, Object};
use crate::journal::{self, Seen};

/// So much of an object is read at first to see what it says, and at most.
const FIRST_HEAD: u64 = 256 * 1024;
const LONGEST_HEAD: u64 = 64 * 1024 * 1024;

/// An object in the store.
#[derive(Clone)]
pub struct Stored {
    /// Its bytes.
    pub body: StoredBody,
    /// What its meta header says.
    pub meta: Meta,
    /// Where its data set begins.
    pub begins: u64,
}

/// The bytes of an object: those of the message that made it. None: they were taken out.
pub async fn stored(state: &State, object: &Object) -> Result<Option<Stored>, Problem> {
    let uid = object.object.uid().unwrap_or_default();
    let meta = |beginning: &[u8]| {
        part10::meta(beginning)
            .ok()
            .filter(|(meta, _)| meta.instance == uid)
    };
    let is_it = |beginning: &[u8]| meta(beginning).is_some();
    let found = archive::body(state.store(), &object.record, &is_it).await?;
    Ok(found.and_then(|found| {
        let (meta, begins) = meta(&found.beginning)?;
        Some(Stored {
            body: found.body,
            meta,
            begins: begins as u64,
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
    let length = stored.body.length();
    let packing = packing(&stored.meta.syntax);
    let mut wanted = FIRST_HEAD;
    loop {
        let most = usize::try_from(wanted.min(length)).unwrap_or(usize::MAX);
        let place = room::going_out().take(most).await;
        let mut bytes = Vec::with_capacity(most);
        let mut pieces = stored.body.pieces(0);
        while bytes.len() < most
            && let Some(piece) = pieces.next().await?
        {
            bytes.extend_from_slice(&piece[..piece.len().min(most - bytes.len())]);
        }
        let begins = usize::try_from(stored.begins).unwrap_or(usize::MAX);
        let data = bytes.get(begins..).unwrap_or_default();
        let has_all = bytes.len() as u64 == length
            || match packing.deflated {
                true => part10::File::read(&bytes).is_ok(),
                false => matches!(
                    scan::check(data, packing.coding, Until::Pixels),
                    Ok(Reached::Pixels(_))
                ),
            };
        if has_all {
            return Ok(place.hold(bytes.into()));
        }
        if LONGEST_HEAD <= wanted {
            return Err(StoreError::Unavailable(
                "an object says too much to be shown".into(),
            ));
        }
        wanted *= 4;
    }
}
