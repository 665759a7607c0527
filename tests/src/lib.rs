//! The cast of the end-to-end tests: the built program in a folder of its own, senders, and receivers that can
//! misbehave. They speak the protocols by themselves and share no code with the product.

pub mod crash;
pub mod dicom;
pub mod disk;
pub mod grep;
pub mod mllp;
pub mod pki;
pub mod program;
pub mod sink;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

/// Waits until `done` says so; panics with `what` after the deadline.
pub async fn eventually<T>(what: &str, deadline: Duration, mut done: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + deadline;
    loop {
        if let Some(value) = done().await {
            return value;
        }
        assert!(Instant::now() < until, "not within {deadline:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// All files below a folder.
pub fn collect(folder: &Path, out: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, out)?;
        } else {
            out.push(path);
        }
    }
    Ok(())
}
