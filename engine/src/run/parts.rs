//! Wholes that are taken apart into messages.

use bytes::Bytes;
use clinic::exchange::{MapError, Reason};
use serde_json::Value;

use crate::channel::Channel;
use crate::format::Formats;
use crate::split::Part;

/// What a channel takes a whole apart into, for those who only look; none: it takes nothing apart.
pub fn parts_of(channel: &Channel, formats: &Formats, whole: &Bytes) -> Option<Result<Vec<Part>, MapError>> {
    channel.split().map(|settings| of(formats, settings, whole))
}

/// The parts of a whole, on a thread that may take its time: a big file takes a while, and others must not wait for it.
pub(super) async fn aside(formats: &Formats, settings: &Value, whole: &Bytes) -> Result<Vec<Part>, MapError> {
    let (formats, settings, whole) = (formats.clone(), settings.clone(), whole.clone());
    tokio::task::spawn_blocking(move || of(&formats, &settings, &whole))
        .await
        .unwrap_or_else(|_| Err(MapError::new(Reason::Internal, None, "it was broken off")))
}

/// The parts of a whole. A panic in it fails this whole alone.
pub(super) fn of(formats: &Formats, settings: &Value, whole: &Bytes) -> Result<Vec<Part>, MapError> {
    let internal = |what: &str| MapError::new(Reason::Internal, None, what);
    let Some(splitter) = formats.splitter() else {
        return Err(internal("this program takes nothing apart"));
    };
    let split = std::panic::AssertUnwindSafe(|| splitter.split(settings, whole));
    std::panic::catch_unwind(split).unwrap_or_else(|_| {
        Err(internal(
            "taking it apart panicked. The whole is kept; please report it",
        ))
    })
}
