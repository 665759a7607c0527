//! The machine: disk, clock, limits, zones. What is odd here is said at each start of the engine, too.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use super::{Level, Line};
use crate::home::{Home, Settings};
use crate::overview::machine;
use crate::overview::{LOW_DISK, bytes, lasts};

/// Before that this program was not written: a clock that says so is wrong.
const WRITTEN: i64 = 1_767_225_600; // 2026-01-01
/// So far a file may be ahead of the clock.
const AHEAD: Duration = Duration::from_secs(86_400);
/// So long nobody lets an engine stand: a clock that says so is wrong.
const STOOD: Duration = Duration::from_secs(3 * 365 * 86_400);
/// How many flushes are measured.
const FLUSHES: usize = 50;
/// A flush on a disk that is made for it, and one that holds everybody up.
const SLOW: Duration = Duration::from_millis(20);
const VERY_SLOW: Duration = Duration::from_millis(100);
/// A connection takes one, a file one.
const FILES: u64 = 1024;

/// Everything.
pub fn all(home: &Home, settings: &Settings, now: Timestamp) -> Vec<Line> {
    let folder = existing(home);
    let mut lines = vec![
        free(&folder),
        flushes(&folder),
        file_system(&folder),
        clock(home, now),
        files(),
    ];
    lines.push(match settings.time_zone() {
        Ok(zone) => Line::ok(
            "zone",
            format!(
                "{} is known",
                zone.iana_name().unwrap_or("the zone of the clinic")
            ),
        ),
        Err(error) => Line::problem(
            "zone",
            format!("{error:#}"),
            "install tzdata, or correct punte.toml",
        ),
    });
    lines
}

/// What is odd, for the log of a start.
pub fn at_start(home: &Home, now: Timestamp) -> Vec<Line> {
    let folder = existing(home);
    let lines = [free(&folder), file_system(&folder), clock(home, now)];
    lines.into_iter().filter(|line| line.level != Level::Ok).collect()
}

/// The data folder, or the one that it will lie in.
fn existing(home: &Home) -> std::path::PathBuf {
    let data = home.data();
    if data.is_dir() {
        data
    } else {
        home.folder().to_owned()
    }
}

fn free(folder: &Path) -> Line {
    let Some(disk) = machine::disk(folder) else {
        return Line::ok("disk", "this system does not say how much is free");
    };
    let says = format!("{} free of {}", bytes(disk.free_bytes), bytes(disk.total_bytes));
    if disk.free_bytes < LOW_DISK / 10 {
        Line::problem("disk", says, "make room: senders are refused when it is full")
    } else if disk.free_bytes < LOW_DISK {
        Line::warning(
            "disk",
            says,
            "make room before it is full: senders are refused then",
        )
    } else {
        Line::ok("disk", says)
    }
}

/// How long a flush takes, measured by a file of its own.
fn flushes(folder: &Path) -> Line {
    let measured = tempfile::tempfile_in(folder).and_then(|mut file| {
        let mut spans = Vec::with_capacity(FLUSHES);
        file.write_all(&[0; 4096])?;
        file.sync_all()?;
        for number in 0..FLUSHES {
            let begun = Instant::now();
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&[number as u8; 4096])?;
            file.sync_data()?;
            spans.push(begun.elapsed());
        }
        spans.sort_unstable();
        Ok((spans[FLUSHES / 2], spans[FLUSHES - 1]))
    });
    let (usual, longest) = match measured {
        Ok(measured) => measured,
        Err(error) => {
            return Line::problem(
                "flush",
                format!("nothing can be written to {}: {error}", folder.display()),
                "see whose folder it is, and whether the disk is full",
            );
        }
    };
    let says = format!(
        "takes {:.1} ms, at most {:.1} ms",
        usual.as_secs_f64() * 1e3,
        longest.as_secs_f64() * 1e3
    );
    let to_do =
        "messages are acknowledged after a flush; take a disk with a cache that is safe at a power cut";
    if VERY_SLOW <= usual {
        Line::problem("flush", says, to_do)
    } else if SLOW <= usual {
        Line::warning("flush", says, to_do)
    } else {
        Line::ok("flush", says)
    }
}

fn file_system(folder: &Path) -> Line {
    match machine::network_file_system(folder) {
        Some(name) => Line::problem(
            "file system",
            format!(
                "the data folder {} lies on {name}, a network file system: its locks and flushes are not those of a disk, and what was acknowledged can be lost",
                folder.display()
            ),
            "move it to a disk of this machine: punte backup, punte restore --home",
        ),
        None => Line::ok("file system", "on this machine"),
    }
}

fn clock(home: &Home, now: Timestamp) -> Line {
    let written = ["punte.db", "punte.db-wal"].iter().filter_map(|name| {
        let modified = std::fs::metadata(home.data().join(name)).ok()?.modified().ok()?;
        let seconds = modified.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
        Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
    });
    match wrong_clock(now, written.max()) {
        Some(says) => Line::problem(
            "clock",
            says,
            "set it, and let it be kept right: timedatectl set-ntp true",
        ),
        None => Line::ok("clock", format!("{now:.0}")),
    }
}

/// Why a clock can't be right; `written`: when the store was written last, by the clock of then.
fn wrong_clock(now: Timestamp, written: Option<Timestamp>) -> Option<String> {
    if now.as_second() < WRITTEN {
        return Some(format!("the clock says {now:.0}, and this program is younger"));
    }
    let written = written?;
    let apart =
        |from: Timestamp, to: Timestamp| Duration::try_from(to.duration_since(from)).unwrap_or_default();
    if AHEAD < apart(now, written) {
        let by = lasts(apart(now, written).as_secs_f64());
        return Some(format!(
            "the clock says {now:.0}, and the store was written {by} later: one of them is wrong"
        ));
    }
    (STOOD < apart(written, now)).then(|| {
        let by = lasts(apart(written, now).as_secs_f64());
        format!("the clock says {now:.0}, {by} after the store was written last")
    })
}

#[cfg(unix)]
fn files() -> Line {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    match limit {
        Some(limit) if limit < FILES => Line::warning(
            "open files",
            format!("at most {limit}; each connection takes one"),
            "raise it: LimitNOFILE=65536 in the systemd unit, or ulimit -n",
        ),
        Some(limit) => Line::ok("open files", format!("at most {limit}")),
        None => Line::ok("open files", "no limit"),
    }
}

#[cfg(not(unix))]
fn files() -> Line {
    Line::ok("open files", "no limit that this program knows of")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_years_off_is_noticed() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let written = Some(at("2026-11-20T08:00:00Z"));
        assert_eq!(wrong_clock(at("2026-11-26T08:00:00Z"), written), None);
        assert_eq!(
            wrong_clock(at("2026-11-20T07:00:00Z"), written),
            None,
            "an hour, as at a clock change"
        );
        assert!(
            wrong_clock(at("1970-01-01T00:10:00Z"), None)
                .unwrap()
                .contains("younger")
        );
        assert!(
            wrong_clock(at("2026-05-01T08:00:00Z"), written)
                .unwrap()
                .contains("203 d")
        );
        assert!(
            wrong_clock(at("2036-11-26T08:00:00Z"), written)
                .unwrap()
                .contains("after the store")
        );
    }
}
