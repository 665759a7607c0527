//! Connections that read, shared by all who do.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::store::StoreError;

/// So many wait for the next one who reads; what is beyond is closed after use.
const IDLE: usize = 4;

pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Idle>,
}

struct Idle {
    connections: Vec<Connection>,
    /// Counts how often the store was opened again: older connections are closed after use.
    generation: u64,
}

/// A connection on loan.
pub(crate) struct Reader<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
    generation: u64,
}

impl Readers {
    pub(crate) fn new(path: &Path) -> Self {
        Readers {
            path: path.to_owned(),
            idle: Mutex::new(Idle {
                connections: vec![],
                generation: 0,
            }),
        }
    }

    /// The file that they read.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn get(&self) -> Result<Reader<'_>, StoreError> {
        let (idle, generation) = {
            let mut idle = self.lock();
            (idle.connections.pop(), idle.generation)
        };
        let connection = match idle {
            Some(connection) => connection,
            None => open(&self.path).map_err(super::sql_error)?,
        };
        Ok(Reader {
            readers: self,
            connection: Some(connection),
            generation,
        })
    }

    /// Closes what waits, and what is on loan once it comes back.
    pub(crate) fn renew(&self) {
        let mut idle = self.lock();
        idle.generation += 1;
        idle.connections.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "cache_size", -1024)?;
    connection.set_prepared_statement_cache_capacity(48);
    super::same_for_all(&connection)?;
    Ok(connection)
}

impl Deref for Reader<'_> {
    type Target = Connection;
    #[allow(clippy::expect_used, reason = "taken only by drop")]
    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("taken only by drop")
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut idle = self.readers.lock();
        if let Some(connection) = self.connection.take()
            && idle.generation == self.generation
            && idle.connections.len() < IDLE
            && connection.is_autocommit()
        {
            idle.connections.push(connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_statement_is_compiled_once_whatever_it_is_asked_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        Connection::open(&path)
            .unwrap()
            .execute_batch(
                "CREATE TABLE message (seq INTEGER PRIMARY KEY);
                 CREATE TABLE delivery (id INTEGER PRIMARY KEY, destination INTEGER, state INTEGER);
                 CREATE INDEX waiting ON delivery (destination, id) WHERE state < 7;
                 INSERT INTO message VALUES (0);
                 INSERT INTO delivery VALUES (1, 1, 0), (2, 1, 8), (3, 1, 0);",
            )
            .unwrap();
        let connection = open(&path).unwrap();
        let mut statement = connection
            .prepare(
                "SELECT d.id FROM delivery d JOIN message m ON m.seq = d.id / 1024
                 WHERE d.destination = ?1 AND d.id > ?2 AND d.state < 7 ORDER BY d.id LIMIT ?3",
            )
            .unwrap();
        for (after, next) in [(0, 1), (1, 3), (2, 3)] {
            let id: i64 = statement.query_row([1, after, 5], |row| row.get(0)).unwrap();
            assert_eq!(id, next);
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}
