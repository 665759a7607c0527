//! HL7 v2 → clinic: what a message says, as a change set.
//!
//! [`decode`] reads a message by the order of its segments, since MSH-9.3 is missing before version 2.3.1 and is
//! often wrong after it. Each segment has a function named after both sides. What is not carried is in `extra`.

use std::collections::{BTreeMap, BTreeSet};

use clinic::ChangeSet;
use clinic::exchange::{MapError, Reason};
use clinic::value::Coding;
use jiff::tz::TimeZone;

use self::collect::{Collected, Ledger};
use super::{Message, Reading};

pub mod about;
pub mod adt;
mod answer;
mod cases;
pub mod collect;
pub mod datatypes;
mod files;
mod groups;
mod imaging;
mod medication;
pub mod merge;
pub(super) mod notes;
mod numbers;
pub mod observations;
mod orders;
pub mod parties;
pub mod people;
pub mod record;
mod results;
mod scheduling;
mod slots;
mod specimen;
pub mod terms;
pub mod times;
mod timing;
mod values;
pub mod visit;

#[cfg(test)]
mod imaging_tests;
#[cfg(test)]
mod law_tests;
#[cfg(test)]
mod order_tests;
#[cfg(test)]
mod said;
#[cfg(test)]
mod schedule_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod visit_tests;

pub use answer::decode_answer;

/// The lists that a partner may send whole each time: the repetitions of a field, and segments. HL7 v2.5.1, 2.10.4.1. Of a list
/// of which a message has nothing, nothing goes.
pub const SNAPSHOTS: &[&str] = &[
    "PID-3", "PID-5", "PID-11", "PID-13", "PID-15", "PID-18", "PID-26", "PID-39", "NK1", "PV1-4", "PV1-15",
    "PV1-16", "PV1-38", "PV2-3", "PV2-22", "DG1", "OBR-13", "OBR-24", "OBR-31",
];

/// How a channel reads its partner's messages.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Charset and limits.
    pub reading: Reading,
    /// The zone of times that name none.
    pub zone: TimeZone,
    /// Local codes: system and code as they stand in the change set, and what they are called elsewhere.
    pub codes: BTreeMap<(String, String), Vec<Coding>>,
    /// Those of [`SNAPSHOTS`] that the partner sends whole each time: what is missing there is to go.
    pub snapshots: BTreeSet<String>,
    /// Dates that mean "not known" at this partner, beside 00000000 and 99999999.
    pub unknown_dates: BTreeSet<String>,
    /// Whose the numbers (CX, XCN, XON) are that name no authority: a namespace or a URI.
    pub authority: Option<String>,
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
            authority: None,
            authorities: BTreeMap::new(),
        }
    }
}

/// Reads a message into a change set.
pub fn decode(bytes: &[u8], profile: &Profile) -> Result<ChangeSet, MapError> {
    let message = Message::read_with(bytes, &profile.reading)?;
    decode_message(&message, profile)
}

/// The same of a message that was read already.
pub fn decode_message(message: &Message, profile: &Profile) -> Result<ChangeSet, MapError> {
    let ledger = Ledger::new(message, profile);
    let mut out = Collected::new(&ledger);
    let segments = out.segments();
    let Some(msh) = segments.first() else {
        return Err(MapError::missing("MSH", "the message header"));
    };
    about::about_from_msh(&mut out, *msh);
    let evn = segments.iter().find(|segment| segment.name() == "EVN");
    if let Some(evn) = evn {
        about::about_from_evn(&mut out, *evn);
    }
    if let Some(sft) = segments.iter().find(|segment| segment.name() == "SFT") {
        about::software_from_sft(&mut out, *sft);
    }
    let kind = msh
        .f(9)
        .part(1)
        .peek()
        .ok_or_else(|| MapError::missing("MSH-9.1", "the message type"))?;
    let event = match msh.f(9).part(2).peek() {
        Some(event) => Some(event),
        None => {
            // Version 2.1 names the event in EVN only, and knows none of what is an order or a report there and has one only.
            let by_evn = evn.and_then(|evn| evn.f(1).part(1).text());
            let event = by_evn.or_else(|| match kind.as_str() {
                "ORM" => Some("O01".to_owned()),
                "ORU" => Some("R01".to_owned()),
                _ => None,
            });
            if let Some(event) = &event {
                about::set_event(&mut out, &kind, event);
            }
            event
        }
    };
    let event = || {
        event
            .clone()
            .ok_or_else(|| MapError::missing("MSH-9.2", "the event"))
    };
    match kind.as_str() {
        "ADT" => adt::read(&mut out, &event()?, &segments)?,
        "SIU" => scheduling::read(&mut out, &event()?, &segments)?,
        "ORM" | "OML" | "OMG" | "OMI" => {
            one_of(&event()?, &["O01", "O19", "O21", "O23"])?;
            orders::read(&mut out, &segments)?;
        }
        "ORU" => {
            one_of(&event()?, &["R01", "R30", "R31", "R32", "R40"])?;
            results::read(&mut out, &segments)?;
        }
        _ => {
            return Err(MapError::new(
                Reason::UnsupportedType,
                Some("MSH-9.1"),
                "a message type that is not decoded yet. Route it without decoding, or filter it out.",
            ));
        }
    }
    out.finish()
}

/// Refuses an event whose groups are not those that are read here.
fn one_of(event: &str, known: &[&str]) -> Result<(), MapError> {
    if known.contains(&event) {
        return Ok(());
    }
    let what = format!(
        "an event that is not decoded yet (known here: {}). Filter it out before decoding.",
        known.join(", ")
    );
    Err(MapError::new(Reason::UnsupportedEvent, Some("MSH-9.2"), what))
}
