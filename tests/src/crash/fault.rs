//! What else goes wrong while the program is killed: at its disk, its clock, its receivers, its connections.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::load::Load;
use super::rng::Rng;
use super::{Receivers, Shim};
use crate::sink::Manner;

/// One kind of trouble, in every round of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A flush fails once, and the power is cut within a second.
    FailedFlush,
    /// The disk is full for a moment.
    NoRoom,
    /// Each flush takes up to 150 ms longer.
    SlowDisk,
    /// Another process holds the lock of the store for seconds, also longer than the program waits for it.
    Locked,
    /// The receivers answer late, twice, with garbage, for another, never, or close.
    Receivers,
    /// The clock is set back and forth by an hour around the change to summer time.
    ClockInSpring,
    /// The same around its end.
    ClockInAutumn,
    /// The senders break their connections in every phase of a frame.
    Connections,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 8] = [
        Fault::FailedFlush,
        Fault::NoRoom,
        Fault::SlowDisk,
        Fault::Locked,
        Fault::Receivers,
        Fault::ClockInSpring,
        Fault::ClockInAutumn,
        Fault::Connections,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Fault::FailedFlush => "failed-flush",
            Fault::NoRoom => "no-room",
            Fault::SlowDisk => "slow-disk",
            Fault::Locked => "locked",
            Fault::Receivers => "receivers",
            Fault::ClockInSpring => "clock-in-spring",
            Fault::ClockInAutumn => "clock-in-autumn",
            Fault::Connections => "connections",
        }
    }

    /// Whether it needs the library between the program and the system.
    pub(super) fn needs_shim(self) -> bool {
        match self {
            Fault::FailedFlush
            | Fault::NoRoom
            | Fault::SlowDisk
            | Fault::ClockInSpring
            | Fault::ClockInAutumn => true,
            Fault::Locked | Fault::Receivers | Fault::Connections => false,
        }
    }

    /// The moment of the clock change that a run is about, in seconds since 1970: at 01:00 UTC in all of Europe.
    fn change(self) -> Option<i64> {
        match self {
            // 28 March 2027 and 25 October 2026.
            Fault::ClockInSpring => Some(1_806_195_600),
            Fault::ClockInAutumn => Some(1_792_890_000),
            Fault::FailedFlush
            | Fault::NoRoom
            | Fault::SlowDisk
            | Fault::Locked
            | Fault::Receivers
            | Fault::Connections => None,
        }
    }
}

/// A fault at work.
pub(super) struct Striking<'a> {
    pub fault: Fault,
    pub shim: Option<&'a Shim>,
    pub receivers: &'a Receivers,
    pub data: &'a Path,
    pub patience: Duration,
    /// What the clock is set to be ahead, so that the run begins just before the change.
    pub ahead: i64,
}

/// How far the clock has to be set ahead for that.
pub(super) fn ahead(fault: Fault) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs() as i64);
    fault.change().map_or(0, |change| change - now - 5)
}

impl Striking<'_> {
    /// While the program works. It has to go on by itself where the fault ends before the kill. None: all is well.
    pub async fn strike(&self, load: &Load, rng: &mut Rng) -> Result<Option<String>> {
        match self.fault {
            Fault::FailedFlush => {
                let shim = self.shim()?;
                let (before, until) = (shim.failed()?, Instant::now() + self.patience);
                shim.fail_flushes(1 + rng.below(2))?;
                while shim.failed()? == before {
                    if until < Instant::now() {
                        bail!("nothing was flushed for {:?}", self.patience);
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tokio::time::sleep(Duration::from_millis(rng.below(1000))).await;
                Ok(None)
            }
            Fault::NoRoom => {
                self.shim()?.has_room(false)?;
                tokio::time::sleep(Duration::from_millis(50 + rng.below(500))).await;
                if rng.one_in(2) {
                    return Ok(None);
                }
                self.shim()?.has_room(true)?;
                Ok(self.goes_on(load).await)
            }
            Fault::SlowDisk => {
                self.shim()?.slow_flushes(Duration::from_millis(rng.below(150)))?;
                Ok(self.goes_on(load).await)
            }
            Fault::Locked => {
                self.lock(Duration::from_millis(100 + rng.below(3) * 3000))
                    .await?;
                Ok(self.goes_on(load).await)
            }
            Fault::Receivers => {
                self.receivers.portal.behave(some_manner(rng));
                self.receivers.ris.behave(some_manner(rng));
                // One that says that it is busy has taken nothing, and may get the same again.
                let printer = match some_manner(rng) {
                    Manner::Busy => Manner::Polite,
                    _ if rng.one_in(2) => Manner::Polite,
                    other => other,
                };
                self.receivers.printer.behave(printer);
                tokio::time::sleep(Duration::from_millis(200 + rng.below(800))).await;
                Ok(None)
            }
            Fault::ClockInSpring | Fault::ClockInAutumn => {
                // Something waits for its next try while the clock moves.
                self.receivers.ris.behave(Manner::Busy);
                self.set_clock(rng)?;
                tokio::time::sleep(Duration::from_millis(100 + rng.below(300))).await;
                self.set_clock(rng)?;
                self.receivers.ris.behave(Manner::Polite);
                Ok(self.goes_on(load).await)
            }
            Fault::Connections => Ok(self.goes_on(load).await),
        }
    }

    /// Before it starts again.
    pub fn relent(&self) -> Result<()> {
        if let Some(shim) = self.shim {
            shim.has_room(true)?;
            shim.slow_flushes(Duration::ZERO)?;
        }
        Ok(())
    }

    /// Everything behaves at the end; the clock is as late as it ever was set back.
    pub fn end(&self) -> Result<()> {
        self.relent()?;
        for receiver in [
            &self.receivers.portal,
            &self.receivers.ris,
            &self.receivers.printer,
        ] {
            receiver.behave(Manner::Polite);
        }
        if self.fault.change().is_some() {
            self.shim()?.set_clock(self.ahead - 3600)?;
        }
        Ok(())
    }

    fn shim(&self) -> Result<&Shim> {
        self.shim.context("this fault needs the shim")
    }

    fn set_clock(&self, rng: &mut Rng) -> Result<()> {
        let hours = rng.below(3) as i64 - 1;
        self.shim()?.set_clock(self.ahead + hours * 3600)
    }

    async fn goes_on(&self, load: &Load) -> Option<String> {
        let goes_on = load.has_acknowledged(3, self.patience).await;
        (!goes_on).then(|| format!("it does not go on by itself after: {}", self.fault.name()))
    }

    /// Another process takes the lock that writers take, and keeps it for so long.
    async fn lock(&self, length: Duration) -> Result<()> {
        let script = "import sqlite3, sys, time\n\
             c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)\n\
             c.execute('BEGIN IMMEDIATE')\n\
             print('locked', flush=True)\n\
             time.sleep(float(sys.argv[2]))\n";
        let python = std::env::var_os("PUNTE_TEST_PYTHON").unwrap_or_else(|| "python3".into());
        let mut child = Command::new(python)
            .args(["-c", script])
            .arg(self.data.join("punte.db"))
            .arg(length.as_secs_f64().to_string())
            .stdout(Stdio::piped())
            .spawn()
            .context("python3")?;
        let mut line = String::new();
        let output = child.stdout.take().context("no output")?;
        BufReader::new(output).read_line(&mut line)?;
        tokio::time::sleep(length).await;
        child.wait()?;
        if line.trim() != "locked" {
            bail!("the store could not be locked");
        }
        Ok(())
    }
}

/// Some answer that is no good, or a good one.
fn some_manner(rng: &mut Rng) -> Manner {
    let manners = [
        Manner::Polite,
        Manner::Late(Duration::from_millis(100)),
        // After the program has given up on it.
        Manner::Late(Duration::from_millis(700)),
        Manner::Twice,
        Manner::AnotherFirst,
        Manner::AnotherOnly,
        Manner::Html,
        Manner::Silent,
        Manner::Busy,
        Manner::Close,
    ];
    manners[rng.below(manners.len() as u64) as usize].clone()
}
