//! The loop that the benchmark compares the engine with: it makes ready and writes the same rows by the same functions,
//! with the same flush and the same checkpoints, on one thread and without anybody waiting.

use std::path::Path;
use std::time::{Duration, Instant};

use super::checkpoint::RESTART_BUSY;
use super::commit::{Batch, commit};
use super::ready::Ready;
use super::writer::Open;
use super::{SqliteOptions, open, sql_error};
use crate::store::{Commit, MasterKey, StoreError};

/// Writes `count` units of work, `each` in one transaction, and says how long that took. `make` gives the unit of
/// work of a number, from 0 on; the time that it takes is counted too.
pub async fn bare(
    folder: &Path,
    master: &MasterKey,
    options: SqliteOptions,
    count: u64,
    each: u64,
    make: &mut (dyn FnMut(u64) -> Commit + Send),
) -> Result<Duration, StoreError> {
    let parts = open::parts(folder, master, options).await?;
    let Open {
        connection,
        mut memory,
        checkpointer,
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
            let ready = Ready::new(&parts.shared, make(number))?;
            commit(&connection, &mut memory, &mut batch, &ready, &parts.shared.sealer).map_err(sql_error)?;
        }
        done += each.max(1);
        batch
            .finish(&connection)
            .and_then(|()| connection.prepare_cached("COMMIT")?.execute([]))
            .map_err(sql_error)?;
        memory.take(&batch);
        checkpointer.wake();
        checkpointer.restart_past(&connection, RESTART_BUSY);
    }
    Ok(begun.elapsed())
}
