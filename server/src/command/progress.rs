//! How far long work is, on a terminal; nothing where nobody looks.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// A line on standard error that is written over.
pub struct Progress {
    what: &'static str,
    total: usize,
    said: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    /// Of so many.
    pub fn new(what: &'static str, total: usize) -> Self {
        Progress {
            what,
            total,
            said: None,
            is_shown: std::io::stderr().is_terminal(),
        }
    }

    /// Work in several parts: each says what it does, how many are done, of how many.
    pub fn of_parts() -> impl FnMut(&'static str, usize, usize) {
        let mut progress = Progress::new("", 0);
        move |what, done, total| {
            progress.what = what;
            progress.total = total;
            progress.at(done);
        }
    }

    /// So many are done.
    pub fn at(&mut self, done: usize) {
        let recently = self
            .said
            .is_some_and(|at| at.elapsed() < Duration::from_millis(100));
        if !self.is_shown || recently {
            return;
        }
        self.said = Some(Instant::now());
        let mut out = std::io::stderr();
        let _ = write!(out, "\r{} {done} of {} …\u{1b}[K", self.what, self.total);
        let _ = out.flush();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.said.is_some() {
            eprint!("\r\u{1b}[K");
        }
    }
}
