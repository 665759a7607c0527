//! What the data folder takes of its disk, and what is left.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How long the size of the blob folder is believed: to count it, every file is looked at.
const BELIEVED: Duration = Duration::from_secs(60);

/// A disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// What this program may still write.
    pub free_bytes: u64,
    /// How large it is.
    pub total_bytes: u64,
}

/// The files of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// `punte.db`.
    pub database_bytes: u64,
    /// Its log, `punte.db-wal`.
    pub log_bytes: u64,
    /// The big bodies.
    pub blob_bytes: u64,
}

impl Sizes {
    /// All of it.
    pub fn all(&self) -> u64 {
        self.database_bytes + self.log_bytes + self.blob_bytes
    }
}

/// The disk that a folder is on; none where the system does not say.
#[cfg(unix)]
pub fn disk(folder: &Path) -> Option<Disk> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(Disk {
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
    })
}

/// The disk that a folder is on; none where the system does not say.
#[cfg(not(unix))]
pub fn disk(_: &Path) -> Option<Disk> {
    None
}

/// The name of the network file system that a folder lies on; none: it lies on this machine, or the system does not say.
#[cfg(target_os = "linux")]
pub fn network_file_system(folder: &Path) -> Option<&'static str> {
    let stat = rustix::fs::statfs(folder).ok()?;
    // The upper half is nothing but the sign.
    network_name(stat.f_type as u32)
}

/// The name of the network file system that a folder lies on; none: the system does not say.
#[cfg(not(target_os = "linux"))]
pub fn network_file_system(_: &Path) -> Option<&'static str> {
    None
}

/// By the magic number of Linux (linux/magic.h, and those of file systems that stand elsewhere).
#[cfg(any(target_os = "linux", test))]
fn network_name(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0x517B | 0xFF53_4D42 | 0xFE53_4D42 => "SMB",
        0x0102_1997 => "9P",
        0x00C3_6400 => "Ceph",
        0x5346_414F | 0x6B41_4653 => "AFS",
        0x0BD0_0BD0 => "Lustre",
        0x4750_4653 => "GPFS",
        0x0116_1970 => "GFS2",
        0x7461_636F => "OCFS2",
        0x7375_7245 => "Coda",
        0x564C => "NCP",
        // sshfs, GlusterFS and others: what is behind it is not known.
        0x6573_5546 => "FUSE",
        _ => return None,
    })
}

/// The files of the store in a data folder.
pub struct Measure {
    data: PathBuf,
    blobs: Mutex<Option<(Instant, u64)>>,
}

impl Measure {
    /// Of this data folder.
    pub fn new(data: PathBuf) -> Self {
        Measure {
            data,
            blobs: Mutex::default(),
        }
    }

    /// The disk that it is on.
    pub fn disk(&self) -> Option<Disk> {
        disk(&self.data)
    }

    /// How large they are. Waits for the disk.
    pub fn sizes(&self) -> Sizes {
        let size = |name: &str| std::fs::metadata(self.data.join(name)).map_or(0, |file| file.len());
        Sizes {
            database_bytes: size("punte.db"),
            log_bytes: size("punte.db-wal"),
            blob_bytes: self.blobs(),
        }
    }

    fn blobs(&self) -> u64 {
        let mut known = self.blobs.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match *known {
            Some((at, size)) if at.elapsed() < BELIEVED => size,
            Some(_) | None => {
                let size = all_within(&self.data.join("blobs"));
                *known = Some((Instant::now(), size));
                size
            }
        }
    }
}

/// The bytes of all files in a folder and those in it. What vanishes meanwhile counts nothing.
fn all_within(folder: &Path) -> u64 {
    let (mut folders, mut bytes) = (vec![folder.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                Ok(found) => bytes += on_disk(&found),
                Err(_) => {}
            }
        }
    }
    bytes
}

/// The bytes of a file without its holes: packs of big bodies have some.
#[cfg(unix)]
fn on_disk(found: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;

    found.len().min(found.blocks().saturating_mul(512))
}

#[cfg(not(unix))]
fn on_disk(found: &std::fs::Metadata) -> u64 {
    found.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_numbers() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(0xFF53_4D42), Some("SMB"));
        let on_disks = [0xEF53_u32, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630];
        assert!(on_disks.iter().all(|magic| network_name(*magic).is_none()));
        assert_eq!(network_file_system(Path::new("/proc")), None);
    }

    #[test]
    fn files_are_added_up_over_folders() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        std::fs::create_dir_all(data.join("blobs/ab")).unwrap();
        std::fs::write(data.join("punte.db"), [0; 100]).unwrap();
        std::fs::write(data.join("blobs/ab/one"), [0; 30]).unwrap();
        std::fs::write(data.join("blobs/two"), [0; 4]).unwrap();
        std::fs::File::create(data.join("blobs/hole"))
            .unwrap()
            .set_len(1 << 30)
            .unwrap();
        let measure = Measure::new(data.to_owned());
        assert_eq!(
            measure.sizes(),
            Sizes {
                database_bytes: 100,
                log_bytes: 0,
                blob_bytes: 34
            }
        );
        assert_eq!(measure.sizes().all(), 134);
        assert!(
            measure
                .disk()
                .is_some_and(|disk| disk.free_bytes <= disk.total_bytes)
        );
    }
}
