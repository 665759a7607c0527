//! A small disk: a file system in memory over one folder, in a mount namespace that needs no rights. It is seen by what runs
//! within it, and outlives that.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::program::sees;

/// A disk of a few megabytes. Gone when dropped, once nothing runs within it any more.
pub struct SmallDisk {
    /// Keeps the namespace while nothing else runs in it.
    holder: Child,
    folder: PathBuf,
}

impl SmallDisk {
    /// Over this folder, so large: "8m". None: this machine does not let us, which was said loudly. Never so in CI.
    pub fn over(folder: &Path, size: &str) -> Result<Option<SmallDisk>> {
        std::fs::create_dir_all(folder)?;
        // It ends with its standard input: at the latest with the test.
        let script = "mount -t tmpfs -o size=\"$1\" none \"$0\" && echo mounted && exec cat";
        let started = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .arg(folder)
            .arg(size)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut line = String::new();
        if let Ok(mut holder) = started {
            let said = holder.stdout.take().context("no standard output")?;
            BufReader::new(said).read_line(&mut line)?;
            let disk = SmallDisk {
                holder,
                folder: folder.to_owned(),
            };
            if line.trim() == "mounted" {
                return Ok(Some(disk));
            }
        }
        assert!(
            std::env::var_os("CI").is_none(),
            "mount namespaces do not work here, and this is CI"
        );
        eprintln!(
            "SKIPPED: a disk can't be full here: that needs `unshare --user --mount` (util-linux, user namespaces allowed)"
        );
        Ok(None)
    }

    /// The words before a command that is to run within it.
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = [
            "nsenter",
            "--preserve-credentials",
            "--user",
            "--mount",
            "--target",
        ]
        .map(str::to_owned)
        .into();
        words.push(self.holder.id().to_string());
        words
    }

    /// A path in it, as it is seen from outside.
    pub fn seen(&self, path: &Path) -> PathBuf {
        sees(self.holder.id(), path)
    }

    /// Takes all the space that is left.
    pub fn fill(&self) -> Result<()> {
        let mut ballast = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.ballast())?;
        let block = [0xA5_u8; 4096];
        loop {
            match ballast.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => bail!("the disk can't be filled: {error}"),
            }
        }
    }

    /// Gives it back.
    pub fn make_room(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.seen(&self.folder.join("ballast"))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
