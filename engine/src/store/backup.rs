//! A backup of an engine, running or not: a folder with the store, the channels, and a list of them.
//!
//! ```text
//! manifest.json       what is in it: counts, the end of the journal, length and SHA-256 of each file
//! data/punte.db       the database, copied while it is written
//! data/blobs/ab/…     every big body that the database names
//! channels/…          the channel files and what lies beside them
//! punte.toml          and the files that it names
//! ```
//!
//! The database is copied first, the big bodies after it: each of them was on disk before the row that names it, so that
//! what is written meanwhile can't leave a gap. All is written under another name beside the target, flushed, and only
//! then renamed: a backup that was broken off has no name that could be taken for one, and no manifest. What is sealed in
//! the store is sealed in the backup. The master key is not in it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::blob::{Blobs, file_length, is_as_long, sync_folder};
use super::sqlite::backup as database;
use super::{MasterKey, StoreError};

/// The list of what is in a backup.
const MANIFEST: &str = "manifest.json";
/// The form of backups that is written, and the newest that is read.
const FORM: u32 = 1;
/// The longest manifest that is read: some three million files.
const LONGEST_MANIFEST: u64 = 1 << 29;
/// The database, from the home folder.
const DATABASE: &str = "data/punte.db";
/// How deep folders in `channels/` are followed.
const DEEPEST: usize = 16;
/// So many damaged files are named.
const NAMED: usize = 20;

/// Is told how far long work is: what, how many are done, of how many.
pub type Progress<'a> = &'a mut dyn FnMut(&'static str, usize, usize);

/// A backup can't be made or read.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct BackupError {
    /// What is wrong and what to do.
    pub what: String,
}

fn refused(what: impl Into<String>) -> BackupError {
    BackupError { what: what.into() }
}

/// How many there are of what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Messages.
    pub messages: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// Tries of deliveries.
    pub attempts: u64,
    /// Aggregates of the clinic.
    pub aggregates: u64,
    /// Their earlier versions.
    pub earlier_versions: u64,
    /// Bodies that lie in files of their own.
    pub blobs: u64,
    /// Rows of the journal.
    pub journal: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            ("messages", self.messages),
            ("deliveries", self.deliveries),
            ("tries", self.attempts),
            ("aggregates of the clinic", self.aggregates),
            ("earlier versions", self.earlier_versions),
            ("big bodies", self.blobs),
            ("rows of the journal", self.journal),
        ];
        let words: Vec<String> = all
            .iter()
            .map(|(what, count)| format!("{what}: {count}"))
            .collect();
        f.write_str(&words.join(", "))
    }
}

/// What is in a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of the backup.
    pub form: u32,
    /// The version of the program that made it.
    pub program: String,
    /// When it was begun: everything that was acknowledged before is in it.
    pub made_at: Timestamp,
    /// Whose store it is.
    pub clinic: Uuid,
    /// The version of its tables.
    pub schema: i64,
    /// How many there are of what.
    pub counts: Counts,
    /// How the journal ends, as the log has it: `LENGTH:HASH`.
    pub journal_head: String,
    /// Every file.
    pub files: Vec<FileEntry>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// From the folder of the backup, with `/`.
    pub path: String,
    /// How long it is.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: String,
}

/// What is to be backed up.
pub struct Source<'a> {
    /// The home folder: `data/`, `channels/`, `punte.toml`.
    pub home: &'a Path,
    /// The key of its store.
    pub master: &'a MasterKey,
    /// Files and folders that go with the store, from the home folder: `channels`, `punte.toml` …
    pub beside: &'a [PathBuf],
    /// Where the master key lies: never copied.
    pub key_file: &'a Path,
    /// The version of this program.
    pub program: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// Makes a backup: the folder `to`, which may not be there yet. Where it fails nothing is left of it.
pub fn back_up(source: &Source<'_>, to: &Path, progress: Progress<'_>) -> Result<Manifest, BackupError> {
    if to.symlink_metadata().is_ok() {
        return Err(refused(format!(
            "{} is there already, and a backup never takes the place of anything. Name a folder that is not there yet",
            to.display()
        )));
    }
    let (Some(name), parent) = (to.file_name(), folder_of(to)) else {
        return Err(refused(format!("{} is no name of a folder", to.display())));
    };
    let parent = std::fs::canonicalize(parent).map_err(|error| {
        refused(format!(
            "the folder {}, in which the backup is to lie, can't be used: {error}",
            parent.display()
        ))
    })?;
    for own in ["data", "channels"] {
        let own = source.home.join(own);
        if std::fs::canonicalize(&own).is_ok_and(|own| parent.starts_with(own)) {
            return Err(refused(format!(
                "a backup can't lie in {}, which is what is backed up. Name a place outside, best on another disk",
                own.display()
            )));
        }
    }
    let draft = Draft::new(parent.join(format!(
        ".{}.{}.partial",
        name.to_string_lossy(),
        Uuid::now_v7().simple()
    )))?;
    let manifest = fill(source, &draft.folder, progress)?;
    draft.become_folder(&parent.join(name))?;
    Ok(manifest)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn fill(source: &Source<'_>, draft: &Path, progress: Progress<'_>) -> Result<Manifest, BackupError> {
    let mut files = vec![];
    make_folder(&draft.join("data"))?;
    let copied = draft.join(DATABASE);
    new_file(&copied).map_err(|error| unwritten(&copied, &error))?;
    let from = source.home.join(DATABASE);
    let contents = database::copy(&from, &copied, source.master, progress)
        .map_err(|error| of_store("the store could not be copied", &from, error))?;

    // The copy is looked at, so that nothing is held up by that.
    progress("Checked:", 0, 1);
    let looked = database::look(&copied, source.master);
    let (found, names) = looked.map_err(|error| of_store("the store can't be backed up", &from, error))?;
    if found != contents {
        return Err(refused(format!(
            "the copy of {} does not hold what the store held; nothing was kept. Look at the disk that it was written to",
            from.display()
        )));
    }
    OpenOptions::new()
        .write(true)
        .open(&copied)
        .and_then(|file| file.sync_all())
        .map_err(|error| unwritten(&copied, &error))?;
    files.push(entry_of(&copied, DATABASE)?);

    let (theirs, ours) = (
        Blobs::new(&source.home.join("data")),
        Blobs::new(&draft.join("data")),
    );
    for (done, (name, message)) in names.iter().enumerate() {
        progress("Big bodies copied:", done, names.len());
        let (folder, to) = ours.place(&name.hash);
        make_folder(&folder)?;
        let path = path_within(draft, &to)?;
        // Whatever pack it lies in, a backup has a file of it, which is read where the pack is not there.
        let (from, read) = theirs.as_file(name);
        if to.exists() {
            continue;
        }
        let copied = read
            .map_err(CopyError::Read)
            .and_then(|mut read| copy(&mut read, &to, path));
        let length = file_length(name.length);
        let wrong = match &copied {
            Err(CopyError::Read(error)) => format!("can't be read: {error}"),
            Ok(entry) if !is_as_long(entry.length, name.length) => {
                format!("has {} bytes and should have {length}", entry.length)
            }
            Ok(_) | Err(CopyError::Write(_)) => String::new(),
        };
        if !wrong.is_empty() {
            return Err(refused(format!(
                "the big body {} of message {message} {wrong}. The store is damaged; nothing was kept. Put the file back from an older backup, then back up again",
                from.display()
            )));
        }
        files.push(copied.map_err(|error| error.of(&from, &to))?);
    }

    let beside = beside(source)?;
    for (done, path) in beside.iter().enumerate() {
        progress("Files beside it copied:", done, beside.len());
        let (from, to) = (source.home.join(path), draft.join(path));
        make_folder(folder_of(&to))?;
        let path = path_within(draft, &to)?;
        files.push(copy_file(&from, &to, path).map_err(|error| error.of(&from, &to))?);
    }

    let manifest = Manifest {
        form: FORM,
        program: source.program.to_owned(),
        made_at: source.now,
        clinic: contents.clinic,
        schema: contents.version,
        counts: Counts {
            blobs: names.len() as u64,
            ..contents.counts
        },
        journal_head: contents.journal_head,
        files,
    };
    let path = draft.join(MANIFEST);
    serde_json::to_vec_pretty(&manifest)
        .map_err(io::Error::from)
        .and_then(|text| {
            let mut file = new_file(&path)?;
            file.write_all(&text)?;
            file.sync_all()
        })
        .map_err(|error| unwritten(&path, &error))?;
    sync_folders(draft)?;
    Ok(manifest)
}

/// A backup whose files are as they were written.
pub struct Backup {
    folder: PathBuf,
    /// What is in it.
    pub manifest: Manifest,
}

impl Backup {
    /// Reads a backup and checks every file of it. Refuses one that was broken off, that is damaged (and says which files),
    /// or that a newer program made.
    pub fn open(folder: &Path, progress: Progress<'_>) -> Result<Backup, BackupError> {
        let manifest = read_manifest(folder)?;
        let mut damaged = vec![];
        for (done, entry) in manifest.files.iter().enumerate() {
            progress("Files checked:", done, manifest.files.len());
            if let Some(what) = damage(folder, entry) {
                damaged.push(format!("{}: {what}", folder.join(&entry.path).display()));
            }
        }
        if damaged.is_empty() {
            return Ok(Backup {
                folder: folder.to_owned(),
                manifest,
            });
        }
        let many = damaged.len();
        damaged.truncate(NAMED);
        Err(refused(format!(
            "the backup {} is damaged, {many} of its {} files:\n  {}\nNothing was restored. Take another copy of it, or an older backup",
            folder.display(),
            manifest.files.len(),
            damaged.join("\n  ")
        )))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Says whether this is the key that its store is sealed under.
    pub fn check_key(&self, master: &MasterKey) -> Result<(), BackupError> {
        let path = self.folder.join(DATABASE);
        database::open_at_rest(&path)
            .and_then(|connection| database::contents(&connection, master).map(|_| ()))
            .map_err(|error| of_store("the backup can't be restored", &path, error))
    }

    /// Puts all of it into a home folder that has neither a store nor channels. Where it fails nothing is left of it.
    pub fn restore(
        &self,
        home: &Path,
        master: &MasterKey,
        progress: Progress<'_>,
    ) -> Result<(), BackupError> {
        let tops = self.tops();
        for name in &tops {
            refuse_taken(&home.join(name))?;
        }
        self.check_key(master)?;
        std::fs::create_dir_all(home).map_err(|error| unwritten(home, &error))?;
        let draft = Draft::new(home.join(format!(".restoring.{}.partial", Uuid::now_v7().simple())))?;
        let files = &self.manifest.files;
        for (done, entry) in files.iter().enumerate() {
            progress("Files restored:", done, files.len());
            let (from, to) = (self.folder.join(&entry.path), draft.folder.join(&entry.path));
            make_folder(folder_of(&to))?;
            let copied = copy_file(&from, &to, entry.path.clone()).map_err(|error| error.of(&from, &to))?;
            if copied != *entry {
                return Err(refused(format!(
                    "{} was changed while it was read. Nothing was restored",
                    from.display()
                )));
            }
        }
        progress("Checked:", 0, 1);
        self.compare(&draft.folder, master)?;
        sync_folders(&draft.folder)?;
        // The store first: an engine that finds channels and no store would begin a new one.
        for name in &tops {
            let to = home.join(name);
            std::fs::rename(draft.folder.join(name), &to).map_err(|error| unwritten(&to, &error))?;
        }
        sync_folder(home).map_err(|error| unwritten(home, &error))
    }

    /// What stands in the home folder itself, `data` first.
    fn tops(&self) -> Vec<&Path> {
        let files = self.manifest.files.iter();
        let mut tops: Vec<&Path> = files
            .filter_map(|entry| Path::new(&entry.path).iter().next())
            .map(Path::new)
            .collect();
        tops.sort_by_key(|name| (*name != Path::new("data"), *name));
        tops.dedup();
        tops
    }

    /// Compares what was restored with what the manifest says.
    fn compare(&self, restored: &Path, master: &MasterKey) -> Result<(), BackupError> {
        let path = restored.join(DATABASE);
        let looked = database::look(&path, master);
        let (contents, names) =
            looked.map_err(|error| of_store("the backup can't be restored", &self.folder, error))?;
        let blobs = Blobs::new(&restored.join("data"));
        let missing = |hash: &[u8; 32]| !blobs.place(hash).1.is_file();
        if let Some((name, message)) = names.iter().find(|(name, _)| missing(&name.hash)) {
            return Err(refused(format!(
                "the backup has no file {} for the big body of message {message}. Nothing was restored",
                path_within(restored, &blobs.place(&name.hash).1)?
            )));
        }
        let counts = Counts {
            blobs: names.len() as u64,
            ..contents.counts
        };
        let manifest = &self.manifest;
        if counts != manifest.counts
            || contents.clinic != manifest.clinic
            || contents.version != manifest.schema
            || contents.journal_head != manifest.journal_head
        {
            return Err(refused(format!(
                "{} does not say what is in the store beside it. It says {}; the store has {counts}. One of them was changed. Nothing was restored",
                self.folder.join(MANIFEST).display(),
                manifest.counts
            )));
        }
        Ok(())
    }
}

/// Refuses a home folder that has a store or channels.
pub fn refuse_full(home: &Path) -> Result<(), BackupError> {
    let names = ["data", "channels", "punte.toml"];
    names.iter().try_for_each(|name| refuse_taken(&home.join(name)))
}

/// Refuses a place where something is; an empty folder is nothing.
fn refuse_taken(path: &Path) -> Result<(), BackupError> {
    let is_free = match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if is_free {
        return Ok(());
    }
    Err(refused(format!(
        "{} is there already, and a restore never writes over anything. Give an empty folder with --home",
        path.display()
    )))
}

fn read_manifest(folder: &Path) -> Result<Manifest, BackupError> {
    #[derive(Deserialize)]
    struct Form {
        form: u32,
        program: String,
    }
    let path = folder.join(MANIFEST);
    let mut text = vec![];
    let read = File::open(&path).and_then(|file| file.take(LONGEST_MANIFEST + 1).read_to_end(&mut text));
    match read {
        Ok(_) if text.len() as u64 <= LONGEST_MANIFEST => {}
        Ok(_) => return Err(refused(format!("{} is too long to be true", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(refused(format!(
                "{} has no {MANIFEST}: it is no backup, or one that was broken off",
                folder.display()
            )));
        }
        Err(error) => return Err(refused(format!("{} can't be read: {error}", path.display()))),
    }
    let damaged = |error: serde_json::Error| {
        refused(format!(
            "the backup {} is damaged: {MANIFEST} can't be read: {error}",
            folder.display()
        ))
    };
    let form: Form = serde_json::from_slice(&text).map_err(damaged)?;
    let newer = |what: String| {
        refused(format!(
            "the backup {} was made by punte {}: {what}. Restore it with that program or a newer one",
            folder.display(),
            form.program
        ))
    };
    if FORM < form.form {
        return Err(newer(format!(
            "it is of form {}, and this program reads up to {FORM}",
            form.form
        )));
    }
    let manifest: Manifest = serde_json::from_slice(&text).map_err(damaged)?;
    let newest = database::newest_version();
    if newest < manifest.schema {
        return Err(newer(format!(
            "its tables are of version {}, and this program knows versions up to {newest}",
            manifest.schema
        )));
    }
    let mut seen = BTreeSet::new();
    for entry in &manifest.files {
        if !may_be_in_a_backup(&entry.path) || !seen.insert(&entry.path) {
            return Err(refused(format!(
                "the backup {} is damaged: {MANIFEST} names the file {:?}, which no backup has",
                folder.display(),
                entry.path
            )));
        }
    }
    if !seen.contains(&DATABASE.to_owned()) {
        return Err(refused(format!(
            "the backup {} is damaged: {MANIFEST} names no {DATABASE}",
            folder.display()
        )));
    }
    Ok(manifest)
}

/// A path that leads out of the folder is in no backup.
fn may_be_in_a_backup(path: &str) -> bool {
    let is_inside = Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let is_of_the_store = path == DATABASE || path.starts_with("data/blobs/");
    is_inside && path != MANIFEST && (is_of_the_store || !Path::new(path).starts_with("data"))
}

/// What is wrong with a file of a backup.
fn damage(folder: &Path, entry: &FileEntry) -> Option<String> {
    match entry_of(&folder.join(&entry.path), &entry.path) {
        Err(_) => Some("it is not there, or can't be read".to_owned()),
        Ok(found) if found.length != entry.length => {
            Some(format!("it has {} bytes and had {}", found.length, entry.length))
        }
        Ok(found) if found.sha256 != entry.sha256 => Some("it was changed".to_owned()),
        Ok(_) => None,
    }
}

/// The files of the home folder that go with the store, from there, in order.
fn beside(source: &Source<'_>) -> Result<Vec<PathBuf>, BackupError> {
    let key = std::fs::canonicalize(source.key_file).ok();
    let mut found = vec![];
    let mut open: Vec<(PathBuf, usize)> = source.beside.iter().map(|path| (path.clone(), 0)).collect();
    while let Some((path, depth)) = open.pop() {
        let whole = source.home.join(&path);
        let unread = |error: io::Error| refused(format!("{} can't be read: {error}", whole.display()));
        let about = match std::fs::metadata(&whole) {
            Ok(about) => about,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unread(error)),
        };
        if about.is_file() {
            // Never the key, whatever leads to it.
            if key.is_none() || std::fs::canonicalize(&whole).ok() != key {
                found.push(path);
            }
        } else if about.is_dir() && depth < DEEPEST {
            for entry in std::fs::read_dir(&whole).map_err(unread)? {
                let entry = entry.map_err(unread)?;
                open.push((path.join(entry.file_name()), depth + 1));
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// A folder that is taken away again unless it gets its name.
struct Draft {
    folder: PathBuf,
}

impl Draft {
    fn new(folder: PathBuf) -> Result<Draft, BackupError> {
        make_folder(&folder)?;
        Ok(Draft { folder })
    }

    /// All in it is flushed. Gives it its name, and flushes that.
    fn become_folder(&self, to: &Path) -> Result<(), BackupError> {
        std::fs::rename(&self.folder, to)
            .and_then(|()| sync_folder(folder_of(to)))
            .map_err(|error| unwritten(to, &error))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It has its name, or is not to be had; what can't be removed has a name that no backup has.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A folder that only its owner can read, with those above it.
fn make_folder(folder: &Path) -> Result<(), BackupError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| unwritten(folder, &error))
}

/// A new file that only its owner can read.
fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

impl CopyError {
    fn of(self, from: &Path, to: &Path) -> BackupError {
        match self {
            CopyError::Read(error) => refused(format!("{} can't be read: {error}", from.display())),
            CopyError::Write(error) => unwritten(to, &error),
        }
    }
}

/// Copies a file into a new one, flushed.
fn copy_file(from: &Path, to: &Path, path: String) -> Result<FileEntry, CopyError> {
    let mut source = File::open(from).map_err(CopyError::Read)?;
    copy(&mut source, to, path)
}

/// Copies what is read into a new file, flushed.
fn copy(source: &mut dyn Read, to: &Path, path: String) -> Result<FileEntry, CopyError> {
    let mut target = new_file(to).map_err(CopyError::Write)?;
    let entry = read_through(source, path, &mut |bytes| target.write_all(bytes))?;
    target.sync_all().map_err(CopyError::Write)?;
    Ok(entry)
}

/// Length and hash of a file.
fn entry_of(path: &Path, name: &str) -> Result<FileEntry, BackupError> {
    File::open(path)
        .map_err(CopyError::Read)
        .and_then(|mut file| read_through(&mut file, name.to_owned(), &mut |_| Ok(())))
        .map_err(|error| error.of(path, path))
}

fn read_through(
    file: &mut dyn Read,
    path: String,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<FileEntry, CopyError> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 256 * 1024];
    let mut length = 0;
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Read(error)),
        };
        context.update(&buffer[..count]);
        take(&buffer[..count]).map_err(CopyError::Write)?;
        length += count as u64;
    }
    let digest = context.finish();
    Ok(FileEntry {
        path,
        length,
        sha256: digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

/// A path from a folder, with `/`, as it stands in the manifest.
fn path_within(folder: &Path, path: &Path) -> Result<String, BackupError> {
    let inner = path.strip_prefix(folder).unwrap_or(path);
    let words: Option<Vec<&str>> = inner.components().map(|part| part.as_os_str().to_str()).collect();
    words
        .map(|words| words.join("/"))
        .ok_or_else(|| refused(format!("the name of {} is no UTF-8; rename it", inner.display())))
}

/// Flushes the entries of a folder and of all below it.
fn sync_folders(folder: &Path) -> Result<(), BackupError> {
    let sync = |folder: &Path| -> io::Result<Vec<PathBuf>> {
        let mut below = vec![];
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                below.push(entry.path());
            }
        }
        sync_folder(folder)?;
        Ok(below)
    };
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        open.extend(sync(&folder).map_err(|error| unwritten(&folder, &error))?);
    }
    Ok(())
}

fn unwritten(path: &Path, error: &io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => full(path),
        _ => refused(format!(
            "{} can't be written: {error}. Nothing was kept",
            path.display()
        )),
    }
}

fn full(path: &Path) -> BackupError {
    refused(format!(
        "the disk is full: {} can't be written. Nothing was kept. Make room there, or take another disk",
        path.display()
    ))
}

/// What a database says, in the words of a backup.
fn of_store(what: &str, path: &Path, error: StoreError) -> BackupError {
    match error {
        StoreError::Full => refused(
            "the disk is full: the copy of the store can't be written. Nothing was kept. Make room there, or take another disk",
        ),
        StoreError::Unavailable(why) | StoreError::Damaged(why) => {
            refused(format!("{what}: {}: {why}", path.display()))
        }
    }
}
