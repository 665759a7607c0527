//! The wire against itself, against DCMTK, and against peers that break it.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test that fails says where")]

mod association;
mod broken;
mod dcmtk;
mod laws;
mod provider;

use std::time::Duration;

use dimse::{AeTitle, Limits, Proposal, uids};

/// CT image storage.
pub const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
/// JPEG 2000.
pub const JPEG_2000: &str = "1.2.840.10008.1.2.4.91";

pub fn ae(title: &str) -> AeTitle {
    title.parse().unwrap()
}

/// Limits that no test waits long for.
pub fn quick() -> Limits {
    Limits {
        artim: Duration::from_millis(400),
        idle: Some(Duration::from_secs(5)),
        within: Duration::from_millis(400),
        answer: Duration::from_secs(5),
        ..Limits::default()
    }
}

pub fn proposal() -> Proposal {
    let both = [uids::EXPLICIT_LITTLE, uids::IMPLICIT_LITTLE];
    Proposal::new(ae("MODALITY"), ae("PUNTE"))
        .with(uids::VERIFICATION, [uids::IMPLICIT_LITTLE])
        .with(CT, [JPEG_2000, uids::EXPLICIT_LITTLE])
        .with(CT, [uids::IMPLICIT_LITTLE])
        .with(uids::WORKLIST, both)
        .with(uids::MPPS, both)
}

/// A future that has to end in time.
pub async fn within<T>(seconds: u64, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), future)
        .await
        .expect("in time")
}
