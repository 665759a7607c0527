//! What a backup needs of the database: a copy of it while it is written, how many of what are in it, and the blobs that
//! its rows name.
//!
//! The copy is made by SQLite's own backup of pages, out of one read transaction: what was committed when it begins is in
//! it, wherever that stands (file, log, page cache), and nothing later. Writing goes on meanwhile; the log grows until the
//! copy is done.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use uuid::Uuid;

use super::data_keys;
pub(crate) use super::open::newest_version;
use super::open::version_of;
use super::readers::Readers;
use super::ready::{DELIVERIES, INLINE, blob_of};
use super::{journal, sql_error};
use crate::store::backup::{Counts, Progress};
use crate::store::blob::BlobName;
use crate::store::seal::{Column, Sealer};
use crate::store::{MasterKey, StoreError};

/// Pages of 4 KB that are copied at a time.
const STEP: i32 = 1024;

/// What a database is and holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) clinic: Uuid,
    pub(crate) version: i64,
    /// All but the blobs.
    pub(crate) counts: Counts,
    /// How the journal ends.
    pub(crate) journal_head: String,
}

/// Copies a database, which may be written meanwhile, into a new file. Returns what is in it, as its source says.
pub(crate) fn copy(
    from: &Path,
    to: &Path,
    master: &MasterKey,
    progress: Progress<'_>,
) -> Result<Contents, StoreError> {
    let readers = Readers::new(from);
    let source = readers.get()?;
    // All that follows reads what stands there now.
    let transaction = source.unchecked_transaction().map_err(sql_error)?;
    let (contents, _) = contents(&transaction, master)?;
    let mut target = Connection::open_with_flags(
        to,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(sql_error)?;
    // The file is flushed whole afterwards; one that was broken off is thrown away.
    target
        .pragma_update(None, "synchronous", "OFF")
        .map_err(sql_error)?;
    target
        .pragma_update(None, "journal_mode", "OFF")
        .map_err(sql_error)?;
    pages(&transaction, &mut target, progress).map_err(sql_error)?;
    target.close().map_err(|(_, error)| sql_error(error))?;
    Ok(contents)
}

fn pages(from: &Connection, to: &mut Connection, progress: Progress<'_>) -> rusqlite::Result<()> {
    let backup = Backup::new(from, to)?;
    loop {
        let step = backup.step(STEP)?;
        let at = backup.progress();
        let all = usize::try_from(at.pagecount).unwrap_or_default();
        let left = usize::try_from(at.remaining).unwrap_or_default();
        progress("Pages copied:", all.saturating_sub(left), all);
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            // The source is read in a transaction that stands, the target is ours: nobody can be in the way.
            _ => {
                return Err(rusqlite::Error::SqliteFailure(
                    rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
                    Some("somebody has the copy open".into()),
                ));
            }
        }
    }
}

/// Opens a database that nobody writes, without making a file beside it.
pub(crate) fn open_at_rest(path: &Path) -> Result<Connection, StoreError> {
    let path = std::path::absolute(path)
        .ok()
        .and_then(|path| path.to_str().map(str::to_owned))
        .ok_or_else(|| StoreError::Unavailable("the name of its folder is no UTF-8".into()))?;
    let path = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Connection::open_with_flags(
        format!("file:{path}?immutable=1"),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI,
    )
    .map_err(sql_error)
}

/// What a database is and holds, and its keys.
pub(crate) fn contents(
    connection: &Connection,
    master: &MasterKey,
) -> Result<(Contents, Sealer), StoreError> {
    let version = version_of(connection).map_err(sql_error)?;
    if newest_version() < version {
        return Err(StoreError::Damaged(format!(
            "it is of version {version}, and this program knows versions up to {}. Use a newer program",
            newest_version()
        )));
    }
    let (sealer, clinic) = data_keys::stored(connection, master)?
        .ok_or_else(|| StoreError::Damaged("its keys are missing".into()))?;
    let has_journal = has(connection, "journal").map_err(sql_error)?;
    let head = match has_journal {
        true => journal::head(connection, &sealer).map_err(sql_error)?.to_string(),
        false => String::new(),
    };
    let contents = Contents {
        clinic,
        version,
        counts: counts(connection).map_err(sql_error)?,
        journal_head: head,
    };
    Ok((contents, sealer))
}

fn has(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")?
        .exists([table])
}

fn counts(connection: &Connection) -> rusqlite::Result<Counts> {
    // A store of an older version has not all of these.
    let count = |table: &str| -> rusqlite::Result<u64> {
        if !has(connection, table)? {
            return Ok(0);
        }
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
            row.get::<_, i64>(0).map(|count| count.max(0) as u64)
        })
    };
    Ok(Counts {
        messages: count("message")?,
        deliveries: count("delivery")?,
        attempts: count("attempt")?,
        aggregates: count("aggregate")?,
        earlier_versions: count("history")?,
        journal: count("journal")?,
        blobs: 0,
    })
}

/// What a database that nobody writes holds, and the blobs that it names, once its pages are seen to hang together.
pub(crate) fn look(
    path: &Path,
    master: &MasterKey,
) -> Result<(Contents, BTreeMap<BlobName, Uuid>), StoreError> {
    let connection = open_at_rest(path)?;
    check_pages(&connection)?;
    let (contents, sealer) = contents(&connection, master)?;
    Ok((contents, blobs(&connection, &sealer)?))
}

/// Says whether the pages of a database hang together.
fn check_pages(connection: &Connection) -> Result<(), StoreError> {
    let said: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(sql_error)?;
    match said.as_str() {
        "ok" => Ok(()),
        _ => Err(StoreError::Damaged(format!(
            "its pages do not hang together: {said}"
        ))),
    }
}

/// The blobs that the rows of a database name, each with the first message that does.
fn blobs(connection: &Connection, sealer: &Sealer) -> Result<BTreeMap<BlobName, Uuid>, StoreError> {
    let mut found = BTreeMap::new();
    // Of messages the row says how long the body is, so that only big ones are opened.
    let of_messages = format!(
        "SELECT message.id, 0, body.body FROM message JOIN body ON body.seq = message.seq WHERE message.length > {INLINE}"
    );
    let of_deliveries = format!(
        "SELECT message.id, delivery.id % {DELIVERIES}, delivery.body
         FROM delivery JOIN message ON message.seq = delivery.id / {DELIVERIES} WHERE delivery.body IS NOT NULL"
    );
    for (column, sql) in [
        (Column::MessageBody, of_messages),
        (Column::DeliveryBody, of_deliveries),
    ] {
        let mut statement = connection.prepare(&sql).map_err(sql_error)?;
        let mut rows = statement.query([]).map_err(sql_error)?;
        while let Some(row) = rows.next().map_err(sql_error)? {
            let read = || -> rusqlite::Result<(Vec<u8>, i64, Vec<u8>)> {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            };
            let (id, n, sealed) = read().map_err(sql_error)?;
            let id = Uuid::from_slice(&id)
                .map_err(|_| StoreError::Damaged("the id of a message can't be read".into()))?;
            if let Some(name) = blob_of(sealer, column, id, n as u64, &sealed)? {
                found.entry(name).or_insert(id);
            }
        }
    }
    Ok(found)
}
