//! DICOM: messages as files of PS3.10, what is in them, and what is answered.
//!
//! The way in: [`part10::File`] reads the meta header, [`scan`] walks over the headers of the data set and believes none
//! before it was checked, [`dataset::DataSet`] is what is left as a tree without pixels. What a message is says
//! [`message`]. The bytes of a data set are never written anew: what is stored and forwarded is what was received.
//!
//! Places are written `0040,0100[0].0008,0060`; items are counted from 0, as in FHIR paths.

use clinic::ChangeSet;
use clinic::exchange::{MapError, Reason};
use jiff::tz::TimeZone;

use self::charset::{Fallback, Set};
use self::message::Service;
use self::part10::File;
use self::scan::{Reached, Until};

pub mod charset;
pub mod dataset;
pub mod deid;
pub mod edit;
pub mod explicit;
pub mod found;
pub mod json;
pub mod matching;
pub mod message;
mod mpps;
pub mod names;
pub mod native;
pub mod ops;
pub mod part10;
pub mod path;
pub mod pixels;
pub mod reply;
mod said;
pub mod scan;
mod study;
pub mod web;
pub mod worklist;
pub mod write;

#[cfg(test)]
mod law_tests;
#[cfg(test)]
mod worklist_tests;

/// How a channel reads and answers a device.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What its bytes are where it does not say so.
    pub fallback: Fallback,
    /// The best character set that it can show; none: the one that it writes itself, else any.
    pub shows: Option<Set>,
    /// The zone of times that name none.
    pub zone: TimeZone,
}

impl Default for Profile {
    /// Europe/Bucharest, and nothing known of the device.
    fn default() -> Self {
        Profile {
            fallback: Fallback::default(),
            shows: None,
            zone: TimeZone::get("Europe/Bucharest").unwrap_or(TimeZone::UTC),
        }
    }
}

/// What a message says about the clinic.
pub fn decode(bytes: &[u8], profile: &Profile) -> Result<ChangeSet, MapError> {
    let file = File::read(bytes)?;
    let command = message::command(&file)?;
    match command.service {
        Service::Store => study::decode(&file, profile),
        Service::MppsCreate | Service::MppsSet => mpps::decode(&file, &command, profile),
        Service::Worklist
        | Service::Find
        | Service::Commitment
        | Service::CommitmentReport
        | Service::Other => {
            let what = "says nothing about the clinic. Filter it out before decoding.";
            Err(MapError::new(Reason::UnsupportedType, Some("0000,0100"), what))
        }
    }
}

/// How much of a long message is needed: enough is what reaches to the pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enough {
    /// This much.
    Yes,
    /// More of it.
    More,
    /// It is no file, or none that can be read: all of it will not help.
    Never,
}

/// Whether this beginning of a message reaches to its pixels.
pub fn is_enough(beginning: &[u8]) -> Enough {
    let Ok(file) = File::read(beginning) else {
        return Enough::Never;
    };
    match file.check(Until::Pixels) {
        Ok(Reached::Pixels(_)) => Enough::Yes,
        Ok(Reached::End) | Err(_) => Enough::More,
    }
}
