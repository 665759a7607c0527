//! What differs between operating systems, in one place.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

/// Flushes the entries of a folder, so that a file that was renamed into it is found there after a power cut.
#[cfg(unix)]
pub(super) fn flush_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Folders can't be flushed here; the file system does it by itself.
#[cfg(not(unix))]
pub(super) fn flush_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Whether the path still leads to the file that is open, itself and not by a link.
#[cfg(unix)]
pub(super) fn is_same(open: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (open, there) = (open.metadata()?, std::fs::symlink_metadata(path)?);
    Ok(is_plain(&there) && (open.dev(), open.ino()) == (there.dev(), there.ino()))
}

/// Whether the path still leads to the file that is open, itself and not by a link.
#[cfg(not(unix))]
pub(super) fn is_same(open: &File, path: &Path) -> io::Result<bool> {
    let (open, there) = (open.metadata()?, std::fs::symlink_metadata(path)?);
    Ok(is_plain(&there) && open.len() == there.len() && open.modified()? == there.modified()?)
}

/// Whether two names are those of one file.
#[cfg(unix)]
pub(super) fn is_one_file(one: &Path, other: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (one, other) = (std::fs::symlink_metadata(one)?, std::fs::symlink_metadata(other)?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// Can't be told here: they count as two.
#[cfg(not(unix))]
pub(super) fn is_one_file(_one: &Path, _other: &Path) -> io::Result<bool> {
    Ok(false)
}

/// A file: no folder, no link, no pipe.
pub(super) fn is_plain(metadata: &Metadata) -> bool {
    metadata.file_type().is_file()
}
