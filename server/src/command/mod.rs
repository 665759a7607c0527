//! The subcommands, one file each. Each says what it did and returns the exit code.

pub mod alerts;
pub mod ask;
pub mod backup;
#[cfg(feature = "bench")]
pub mod bare_loop;
pub mod channels;
pub mod check;
pub mod client;
pub mod codes;
pub mod convert;
pub mod decide;
pub mod demo;
pub mod dicom;
pub mod doctor;
pub mod journal;
pub mod key;
pub mod messages;
pub mod parked;
pub mod progress;
pub mod prune;
pub mod reload;
pub mod replay;
pub mod restore;
pub mod seal;
pub mod seen;
pub mod send;
pub mod serve;
pub mod simulate;
pub mod status;
pub mod test;
pub mod try_out;
pub mod try_since;
pub mod uses;
pub mod verify;
pub mod where_is;

use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::Path;

use anyhow::Context;

/// A file, or standard input for `-`.
pub fn read_input(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.as_os_str() == "-" {
        let mut bytes = vec![];
        std::io::stdin()
            .read_to_end(&mut bytes)
            .context("standard input could not be read")?;
        return Ok(bytes);
    }
    std::fs::read(path).with_context(|| format!("{} could not be read", path.display()))
}

/// Asks a person whether it is meant. Where nobody sits there, says what to write instead, and it is not.
pub fn is_meant(question: &str, instead: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        print(&format!("{question}. {instead}\n"));
        return Ok(false);
    }
    print(&format!("{question}. Do it? [y/N] "));
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Writes to standard output. A reader that has gone (`| head`) is no error.
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
