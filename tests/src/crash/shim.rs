//! The library that stands between the program and the disk (`tests/shim/power.c`): built, switched, and asked to undo.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::rng::Rng;
use super::undo::{self, Undone};
use crate::program::Home;

const SOURCE: &str = include_str!("../../shim/power.c");

/// The shim of one home.
pub struct Shim {
    library: PathBuf,
    data: PathBuf,
    side: PathBuf,
}

/// What can be switched while the program runs: places of 8 bytes in the file `control`, as in `power.c`.
#[derive(Clone, Copy)]
enum Place {
    FailingFlushes = 0,
    FlushDelay = 1,
    ClockOffset = 2,
    NoRoom = 3,
    Failed = 5,
}

const PLACES: usize = 6;

impl Shim {
    /// Builds it, with the C compiler that building the program needs anyway.
    pub fn new(home: &Home) -> Result<Shim> {
        // Beside the data folder: names are kept by hard links, which can't leave a file system.
        let side = home.path().join("power");
        std::fs::create_dir_all(side.join("kept"))?;
        let library = side.join("power.so");
        let source = side.join("power.c");
        std::fs::write(&source, SOURCE)?;
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let built = Command::new(&compiler)
            .args(["-O2", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&source)
            .args(["-ldl", "-lpthread"])
            .output()
            .with_context(|| format!("{} could not be started", compiler.display()))?;
        if !built.status.success() {
            bail!(
                "the shim was not built:\n{}",
                String::from_utf8_lossy(&built.stderr)
            );
        }
        let shim = Shim {
            library,
            data: home.path().join("data"),
            side,
        };
        std::fs::write(shim.side.join("control"), [0_u8; PLACES * 8])?;
        Ok(shim)
    }

    /// What the program gets into its environment.
    pub fn env(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.display().to_string();
        vec![
            ("LD_PRELOAD".into(), text(&self.library)),
            ("PUNTE_POWER_DATA".into(), text(&self.data)),
            ("PUNTE_POWER_SIDE".into(), text(&self.side)),
        ]
    }

    /// So many flushes of files from now on fail, and what they should have flushed may be lost for good.
    pub fn fail_flushes(&self, count: u64) -> Result<()> {
        self.put(Place::FailingFlushes, count)
    }

    /// Every flush takes so much longer.
    pub fn slow_flushes(&self, delay: Duration) -> Result<()> {
        self.put(Place::FlushDelay, delay.as_micros() as u64)
    }

    /// The program's clock stands so many seconds ahead (or behind) from now on.
    pub fn set_clock(&self, seconds: i64) -> Result<()> {
        self.put(Place::ClockOffset, seconds as u64)
    }

    /// Whether there is room on the disk for anything new.
    pub fn has_room(&self, is_so: bool) -> Result<()> {
        self.put(Place::NoRoom, u64::from(!is_so))
    }

    /// How many flushes have been made to fail.
    pub fn failed(&self) -> Result<u64> {
        let bytes = std::fs::read(self.side.join("control"))?;
        let at = Place::Failed as usize * 8;
        let value = bytes.get(at..at + 8).context("the control file is too short")?;
        Ok(u64::from_ne_bytes(value.try_into()?))
    }

    fn put(&self, place: Place, value: u64) -> Result<()> {
        let path = self.side.join("control");
        let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
        file.seek(SeekFrom::Start(place as u64 * 8))?;
        Ok(file.write_all(&value.to_ne_bytes())?)
    }

    /// The program has been killed, the power was not cut: its log goes on, and a record that was not finished goes.
    pub fn after_a_kill(&self) -> Result<()> {
        undo::mend(&self.side)
    }

    /// The power is cut: undoes a random part of what was not flushed. The program must not run.
    pub fn cut(&self, rng: &mut Rng) -> Result<Undone> {
        let undone = undo::cut(&self.data, &self.side, rng)?;
        std::fs::remove_file(self.side.join("log")).or_else(missing_is_fine)?;
        std::fs::remove_dir_all(self.side.join("kept"))?;
        std::fs::create_dir(self.side.join("kept"))?;
        // A fault does not outlive the power.
        self.fail_flushes(0)?;
        Ok(undone)
    }
}

/// A program that was killed at once has written nothing.
pub(super) fn missing_is_fine(error: std::io::Error) -> std::io::Result<()> {
    match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}
