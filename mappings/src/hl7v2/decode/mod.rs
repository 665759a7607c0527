//! HL7 v2 → clinic: what a message says, as a change set.
//!
//! [`decode`] reads a message by the order of its segments, since MSH-9.3 is missing before version 2.3.1 and is
//! often wrong after it. Each segment has a function named after both sides. What is not carried is in `extra`.

use std::collections::{BTreeMap, BTreeSet};

use clinic::ChangeSet;
use clinic::exchange::MapError;
use clinic::value::Coding;
use jiff::tz::TimeZone;

use super::{Message, Reading};

pub mod collect;
pub mod datatypes;
pub mod parties;
pub mod terms;
pub mod times;

/// How a channel reads its partner's messages.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Charset and limits.
    pub reading: Reading,
    /// The zone of times that name none.
    pub zone: TimeZone,
    /// Local codes: system and code as they stand in the change set, and what they are called elsewhere.
    pub codes: BTreeMap<(String, String), Vec<Coding>>,
    /// Fields (`PID-3`, `PID-11`) that the partner sends whole each time: what is missing there is to go.
    pub snapshots: BTreeSet<String>,
    /// Dates that mean "not known" at this partner, beside 00000000 and 99999999.
    pub unknown_dates: BTreeSet<String>,
    /// The URI of an assigning authority, by its namespace (HL7 HD.1).
    pub authorities: BTreeMap<String, String>,
}

impl Default for Profile {
    /// Europe/Bucharest, no tables, no snapshots.
    fn default() -> Self {
        Profile {
            reading: Reading::default(),
            zone: TimeZone::get("Europe/Bucharest").unwrap_or(TimeZone::UTC),
            codes: BTreeMap::new(),
            snapshots: BTreeSet::new(),
            unknown_dates: BTreeSet::new(),
            authorities: BTreeMap::new(),
        }
    }
}

/// Reads a message into a change set.
pub fn decode(bytes: &[u8], profile: &Profile) -> Result<ChangeSet, MapError> {
    let message = Message::read_with(bytes, &profile.reading)?;
    let ledger = collect::Ledger::new(&message, profile);
    let out = collect::Collected::new(&ledger);
    out.finish()
}
