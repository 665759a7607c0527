//! The loop that the benchmark compares the engine with: it makes ready and writes the same rows by the same functions,
//! with the same flush and the same checkpoints, on one thread and without anybody waiting.

use std::path::Path;
use std::time::{Duration, Instant};

use clinic::apply::Snapshot;

use super::checkpoint::RESTART_BUSY;
use super::clinic::SnapshotOf;
use super::commit::{Batch, Raw, commit};
use super::ready::Ready;
use super::writer::Open;
use super::{SqliteOptions, open, sql_error};
use crate::store::{Commit, MasterKey, StoreError};

/// Gives the unit of work of a number, from 0 on. The snapshot is the store as it stands in the middle of its transaction.
pub type Make<'a> = dyn FnMut(u64, &dyn Snapshot) -> Result<Commit, StoreError> + Send + 'a;

/// Writes `count` units of work, `each` in one transaction, and says how long that took; the time that `make` takes is
/// counted too.
pub async fn bare(
    folder: &Path,
    master: &MasterKey,
    options: SqliteOptions,
    count: u64,
    each: u64,
    make: &mut Make<'_>,
) -> Result<Duration, StoreError> {
    let parts = open::parts(folder, master, options).await?;
    let Open {
        connection,
        mut memory,
        checkpointer,
        ..
    } = parts.open;
    let begun = Instant::now();
    let mut done = 0;
    while done < count {
        let mut batch = Batch::default();
        connection
            .prepare_cached("BEGIN IMMEDIATE")
            .and_then(|mut statement| statement.execute([]))
            .map_err(sql_error)?;
        for number in done..count.min(done + each.max(1)) {
            let snapshot = SnapshotOf {
                shared: &parts.shared,
                connection: &connection,
            };
            let ready = Ready::new(&parts.shared, make(number, &snapshot)?)?;
            let raw = commit(&connection, &mut memory, &mut batch, &ready, &parts.shared.sealer)
                .map_err(sql_error)?;
            if !matches!(raw, Raw::Stored(_)) {
                return Err(StoreError::Unavailable(format!(
                    "unit of work {number} was not stored"
                )));
            }
        }
        done += each.max(1);
        batch
            .finish(&connection, &mut memory.sieves)
            .and_then(|()| connection.prepare_cached("COMMIT")?.execute([]))
            .map_err(sql_error)?;
        memory.take(&batch);
        checkpointer.wake();
        checkpointer.restart_past(&connection, RESTART_BUSY);
    }
    Ok(begun.elapsed())
}
