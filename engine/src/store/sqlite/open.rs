//! Opening a store: the lock, the tables, the keys, the writer.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, RwLock};

use rusqlite::{Connection, OpenFlags};
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, SqlSafeStr};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::data_keys;
use super::names::Names;
use super::readers::Readers;
use super::writer::{INBOX, Open, Pen, Writer, open_for_writing};
use super::{Shared, SqliteOptions, SqliteStore, same_for_all, sql_error};
use crate::store::StoreError;
use crate::store::blob::Blobs;
use crate::store::keys::MasterKey;
use crate::store::seal::Sealer;

/// How long a look waits for who writes.
const LOOK_WAITS: std::time::Duration = std::time::Duration::from_secs(5);

/// The migrations, in their order. Each is embedded; none is ever changed once released.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (
        1,
        "store",
        include_str!("../../../../schemas/sql/sqlite/0001_store.sql"),
    ),
    (
        2,
        "made",
        include_str!("../../../../schemas/sql/sqlite/0002_made.sql"),
    ),
    (
        4,
        "journal",
        include_str!("../../../../schemas/sql/sqlite/0004_journal.sql"),
    ),
    (
        7,
        "halt",
        include_str!("../../../../schemas/sql/sqlite/0007_halt.sql"),
    ),
    (
        10,
        "counter",
        include_str!("../../../../schemas/sql/sqlite/0010_counter.sql"),
    ),
    (
        12,
        "keep",
        include_str!("../../../../schemas/sql/sqlite/0012_keep.sql"),
    ),
    (
        14,
        "alert",
        include_str!("../../../../schemas/sql/sqlite/0014_alert.sql"),
    ),
    (
        15,
        "lane",
        include_str!("../../../../schemas/sql/sqlite/0015_lane.sql"),
    ),
    (
        17,
        "lean",
        include_str!("../../../../schemas/sql/sqlite/0017_lean.sql"),
    ),
    (
        BLOBS_IN_PIECES,
        "pieces",
        include_str!("../../../../schemas/sql/sqlite/0018_pieces.sql"),
    ),
    (
        19,
        "sieve",
        include_str!("../../../../schemas/sql/sqlite/0019_sieve.sql"),
    ),
    (
        20,
        "pack",
        include_str!("../../../../schemas/sql/sqlite/0020_pack.sql"),
    ),
];

/// Since this version big bodies lie as they do now.
const BLOBS_IN_PIECES: i64 = 18;

fn damaged(what: impl Into<String>) -> StoreError {
    StoreError::Damaged(what.into())
}

/// A store that is locked, migrated and whose keys are open, before anybody writes it.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) open: Open,
    pub(crate) path: PathBuf,
    pub(crate) cache_kib: i64,
    pub(crate) lock: std::fs::File,
    pub(crate) clinic: Uuid,
}

/// Whether something lies beside an empty `punte.db` that only an engine leaves which has had a whole store. With a log
/// beside it the file is not lost: what was written stands there.
fn has_been_used(folder: &Path) -> bool {
    let is_filled = |name: &str| std::fs::metadata(folder.join(name)).is_ok_and(|file| 0 < file.len());
    if is_filled("punte.db-wal") {
        return false;
    }
    let bodies = || {
        std::fs::read_dir(folder.join("blobs"))
            .into_iter()
            .flatten()
            .flatten()
    };
    // Two letters, or the packs.
    let is_of_bodies = |name: &std::ffi::OsStr| name.len() == 2 || name == "packs";
    is_filled("running.json") || bodies().any(|entry| is_of_bodies(&entry.file_name()))
}

/// Whether a store is one that this program, with this key, can open: the clinic whose it is; none: there is none yet.
/// Refuses what a newer program wrote, another master key, another clinic. Changes nothing.
pub(crate) fn look(
    folder: &Path,
    master: &MasterKey,
    clinic: Option<Uuid>,
) -> Result<Option<Uuid>, StoreError> {
    let path = folder.join("punte.db");
    let length = std::fs::metadata(&path).map(|file| file.len());
    if length.as_ref().map_or(0, |length| *length) == 0 {
        // A file that is empty is what a start that was broken off leaves, or a copy that was, or a faulty file system.
        if length.is_ok() && has_been_used(folder) {
            return Err(damaged(format!(
                "{} is empty, and a store has been there. Put a backup in its place (punte restore), or take the whole \
                 folder away to begin anew",
                path.display()
            )));
        }
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags).map_err(sql_error)?;
    // A log that is there stays as it is; one that only this look has made goes with it.
    if folder.join("punte.db-wal").exists() {
        same_for_all(&connection).map_err(sql_error)?;
    }
    connection.busy_timeout(LOOK_WAITS).map_err(sql_error)?;
    let has = "SELECT count(*) FROM sqlite_master WHERE name IN ('_sqlx_migrations', 'meta')";
    let tables: i64 = connection
        .query_row(has, [], |row| row.get(0))
        .map_err(sql_error)?;
    if tables == 0 {
        // A start that was broken off before the first table, or another program's file.
        let all = "SELECT count(*) FROM sqlite_master";
        let others: i64 = connection
            .query_row(all, [], |row| row.get(0))
            .map_err(sql_error)?;
        return match others {
            0 => Ok(None),
            _ => Err(damaged(format!("{} is no store of Punte", path.display()))),
        };
    }
    let version = version_of(&connection).map_err(sql_error)?;
    if newest_version() < version {
        return Err(too_new(version));
    }
    if version < BLOBS_IN_PIECES && Blobs::new(folder).has_any() {
        return Err(damaged(format!(
            "it is of version {version}, whose big bodies this program can't read. Work off its queues with the program \
             that wrote it, and begin with a new data folder"
        )));
    }
    if tables == 1 {
        return Ok(None);
    }
    let Some((_, its)) = data_keys::stored(&connection, master)? else {
        return Ok(None);
    };
    is_of(clinic, its)?;
    Ok(Some(its))
}

fn too_new(version: i64) -> StoreError {
    let newest = newest_version();
    damaged(format!(
        "it is of version {version}, and this program knows versions up to {newest}. Use a newer program"
    ))
}

/// Refuses the store of another clinic.
fn is_of(wanted: Option<Uuid>, its: Uuid) -> Result<(), StoreError> {
    match wanted {
        Some(clinic) if clinic != its => Err(damaged(format!(
            "it is the store of the clinic {its}, not of {clinic}. Give the data folder of this clinic"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Everything but the writer's thread.
pub(crate) async fn parts(
    folder: &Path,
    master: &MasterKey,
    options: SqliteOptions,
) -> Result<Parts, StoreError> {
    std::fs::create_dir_all(folder).map_err(|error| {
        StoreError::Unavailable(format!(
            "the data folder {} can't be made: {error}",
            folder.display()
        ))
    })?;
    let lock = lock(folder)?;
    let path = folder.join("punte.db");
    // Before anything is changed.
    look(folder, master, options.clinic)?;
    migrate(&path).await?;
    let cache_kib = i64::from(options.cache_mb.max(1)) * 1024;
    let connection = open_for_writing(&path, 1024).map_err(sql_error)?;
    let (sealer, clinic) = keys(&connection, master, options.clinic)?;
    super::prune::name_blobs(&connection, &sealer)?;
    drop(connection);
    let blobs = Blobs::new(folder);
    let sealer = Arc::new(sealer);
    blobs.tidy(&sealer)?;
    let shared = Arc::new(Shared {
        sealer,
        blobs,
        readers: Readers::new(&path),
        cache: Default::default(),
        planned: Default::default(),
        zone: options.zone,
        names: RwLock::new(Arc::new(Names::default())),
        head: Mutex::default(),
    });
    let open = Open::new(&shared, &path, cache_kib, options.max_pages).map_err(sql_error)?;
    Ok(Parts {
        shared,
        open,
        path,
        cache_kib,
        lock,
        clinic,
    })
}

pub(crate) async fn open(
    folder: &Path,
    master: &MasterKey,
    options: SqliteOptions,
) -> Result<SqliteStore, StoreError> {
    let max_pages = options.max_pages;
    let parts = parts(folder, master, options).await?;
    let shared = parts.shared.clone();
    let (inbox, jobs) = mpsc::channel(INBOX);
    let pen = Pen::new(parts.shared, parts.path, parts.cache_kib, max_pages, parts.open);
    let writer = Writer {
        pen: pen.clone(),
        inbox: jobs,
        lock: parts.lock,
    };
    let thread = std::thread::Builder::new()
        .name("punte-writer".into())
        .spawn(move || writer.run())
        .map_err(|error| StoreError::Unavailable(format!("the writer's thread can't start: {error}")))?;
    Ok(SqliteStore {
        shared,
        clinic: parts.clinic,
        inbox,
        pen,
        under_way: AtomicUsize::new(0),
        writer: Mutex::new(Some(thread)),
        renewed: Mutex::default(),
    })
}

/// Whether a process has the store of this folder open.
pub(crate) fn is_taken(folder: &Path) -> bool {
    let file = std::fs::OpenOptions::new().write(true).open(folder.join("lock"));
    let locked = file.map(|file| file.try_lock());
    matches!(locked, Ok(Err(std::fs::TryLockError::WouldBlock)))
}

/// One store, one process.
fn lock(folder: &Path) -> Result<std::fs::File, StoreError> {
    let path = folder.join("lock");
    let unavailable = |error: &dyn std::fmt::Display| {
        StoreError::Unavailable(format!("{} can't be locked: {error}", path.display()))
    };
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| unavailable(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Unavailable(format!(
            "another process has the data folder {} open. Stop it, or give another --home",
            folder.display()
        ))),
        Err(std::fs::TryLockError::Error(error)) => Err(unavailable(&error)),
    }
}

/// Brings the tables to this version. Refuses what a newer one wrote.
async fn migrate(path: &Path) -> Result<(), StoreError> {
    let unavailable = |error: sqlx::Error| match error {
        sqlx::Error::Database(error) => damaged(error.to_string()),
        error => StoreError::Unavailable(error.to_string()),
    };
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .page_size(4096)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging()
        .connect()
        .await
        .map_err(unavailable)?;
    let migrations = MIGRATIONS
        .iter()
        .map(|(version, name, sql)| {
            Migration::new(
                *version,
                (*name).into(),
                MigrationType::Simple,
                sql.into_sql_str(),
                false,
            )
        })
        .collect();
    let migrated = run(migrations, &mut connection).await;
    connection.close().await.map_err(unavailable)?;
    migrated
}

async fn run<C: Migrate>(migrations: Vec<Migration>, connection: &mut C) -> Result<(), StoreError> {
    let newest = migrations.last().map_or(0, |migration| migration.version);
    Migrator::with_migrations(migrations)
        .run_direct(None, connection, false)
        .await
        .map_err(|error| match error {
            MigrateError::VersionMissing(version) if version > newest => too_new(version),
            MigrateError::VersionMismatch(version) => damaged(format!(
                "its tables of version {version} are not the ones that this program makes"
            )),
            MigrateError::Execute(sqlx::Error::Database(error))
            | MigrateError::ExecuteMigration(sqlx::Error::Database(error), _) => damaged(error.to_string()),
            error => StoreError::Unavailable(error.to_string()),
        })
}

/// The keys of the store, unwrapped; made where the store is new. And the clinic whose store it is.
fn keys(
    connection: &Connection,
    master: &MasterKey,
    clinic: Option<Uuid>,
) -> Result<(Sealer, Uuid), StoreError> {
    let Some((sealer, its)) = data_keys::stored(connection, master)? else {
        return data_keys::make(connection, master, clinic.unwrap_or_else(Uuid::now_v7));
    };
    is_of(clinic, its)?;
    Ok((sealer, its))
}

/// What the migrations do, in their order.
pub(crate) fn migrations() -> impl Iterator<Item = &'static str> {
    MIGRATIONS.iter().map(|(_, _, sql)| *sql)
}

/// The version of the tables that this program makes.
pub(crate) fn newest_version() -> i64 {
    MIGRATIONS.last().map_or(0, |(version, _, _)| *version)
}

/// The version of the tables of a store.
pub(crate) fn version_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row(
        "SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success",
        [],
        |row| row.get(0),
    )
}
