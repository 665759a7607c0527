//! The access journal: who read what of whom. A chain of keyed hashes, one for each writer.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::actor::Actor;

/// One read of patient data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// How: `read`, `search`, `ask`, `write`, `message`, `messages`, `parked`, `try`, `journal`, `refused`.
    pub action: String,
    /// What was shown: `Patient/…`, `message/…`; for a search the type as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub what: Vec<String>,
    /// Whom it was about, by their ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patients: Vec<Uuid>,
    /// Whom it was about, by identifiers that a message had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identifiers: Vec<String>,
    /// What it came to.
    pub outcome: AccessOutcome,
    /// The words of a search, as they were asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// What the asker says that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessOutcome {
    /// Something was shown.
    Shown,
    /// There was nothing to show.
    Nothing,
    /// Something was written.
    Written,
    /// It was refused: no key, or none that may.
    Refused,
}

/// A row of the journal.
#[derive(Clone, Debug, Serialize)]
pub struct AccessRow {
    /// Its place in its chain.
    pub nr: u64,
    /// What it says.
    #[serde(flatten)]
    pub access: Access,
}

/// Which rows to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct AccessFilter {
    /// About one of these patients, by id or identifier; empty: about anybody.
    pub about: Vec<String>,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Before this row: for the next page.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: u32,
}

/// How long a chain is, and the keyed hash of its last row. Written to the log, it proves later that nothing up to there
/// was taken out. As text: `LENGTH:HASH`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalHead {
    /// The number of the last row.
    pub length: u64,
    /// Its keyed hash.
    pub mac: [u8; 32],
}

impl fmt::Display for JournalHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.length)?;
        self.mac.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for JournalHead {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no head of a journal; it is LENGTH:HASH, as the log has it");
        let (length, hash) = text.trim().split_once(':').ok_or_else(wrong)?;
        let mut mac = [0; 32];
        if hash.len() != 64 || !hash.is_ascii() {
            return Err(wrong());
        }
        for (byte, pair) in mac.iter_mut().zip(hash.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(JournalHead {
            length: length.parse().map_err(|_| wrong())?,
            mac,
        })
    }
}

/// What a check of the journal has found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct JournalReport {
    /// The first row that is there; the ones before it were taken out by the program.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// How it ends: `LENGTH:HASH`.
    pub head: String,
    /// What is wrong, the first hundred: each a row and a sentence. Empty: nothing.
    pub faults: Vec<JournalFault>,
}

/// Something that is wrong with the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JournalFault {
    /// At which row.
    pub nr: u64,
    /// What, without personal values.
    pub what: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_from_its_text() {
        let head = JournalHead {
            length: 1234,
            mac: std::array::from_fn(|idx| idx as u8 * 7),
        };
        assert_eq!(head.to_string().parse::<JournalHead>(), Ok(head));
        for wrong in [
            "",
            "12",
            "12:",
            "12:zz",
            &format!("x:{}", "0".repeat(64)),
            &format!("1:{}", "g".repeat(64)),
        ] {
            assert!(wrong.parse::<JournalHead>().is_err(), "{wrong}");
        }
    }
}
