//! DICOM: messages as files of PS3.10, what is in them, and what is answered.
//!
//! The way in: [`part10::File`] reads the meta header, [`scan`] walks over the headers of the data set and believes none
//! before it was checked, [`dataset::DataSet`] is what is left as a tree without pixels. What a message is says
//! [`message`]. The bytes of a data set are not written anew: what is stored is what was received, and so is what goes on, but for
//! what a step changes and for a patient who is another one than it says ([`reconcile`]).
//!
//! Places are written `0040,0100[0].0008,0060`; items are counted from 0, as in FHIR paths.

use std::collections::BTreeMap;

use clinic::ChangeSet;
use clinic::exchange::{MapError, Reason};
use jiff::tz::TimeZone;

use self::charset::{Fallback, Set, Shows};
use self::message::Service;
use self::part10::File;
use self::scan::{Reached, Until};

pub mod archive;
pub mod behind;
pub mod charset;
pub mod commitment;
pub mod dataset;
pub mod deid;
pub mod document;
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
pub mod question;
pub mod reconcile;
pub mod reply;
pub mod report;
mod said;
pub mod scan;
mod study;
pub mod web;
pub mod worklist;
pub mod write;

#[cfg(test)]
mod archive_tests;
#[cfg(test)]
mod day_tests;
#[cfg(test)]
mod law_tests;
#[cfg(test)]
mod worklist_tests;

/// What is known of the character sets of a device.
#[derive(Clone, Debug, Default)]
pub struct Device {
    /// What its bytes are where it does not say so.
    pub fallback: Fallback,
    /// What it can show; none: the set that it writes itself, else any.
    pub shows: Option<Shows>,
}

impl Device {
    /// By the names of its sets: of one, that and the simpler ones; of several, these and no other, in their order.
    pub fn named<'n>(sets: impl IntoIterator<Item = &'n str>) -> Self {
        let names: Vec<&str> = sets.into_iter().collect();
        let known: Vec<Set> = names.iter().filter_map(|name| Set::named(name)).collect();
        Device {
            fallback: names
                .first()
                .and_then(|name| Fallback::named(name))
                .unwrap_or_default(),
            shows: match known.as_slice() {
                [] => None,
                [best] => Some(Shows::up_to(*best)),
                several => Some(Shows::only(several)),
            },
        }
    }
}

/// How a channel reads and answers its devices.
#[derive(Clone, Debug)]
pub struct Profile {
    /// A device of which nothing else is said.
    pub device: Device,
    /// The others, by their AE titles.
    pub devices: BTreeMap<String, Device>,
    /// The zone of times that name none.
    pub zone: TimeZone,
    /// The SHA-256 of the data set of a long object, in hex, of which only the beginning is at hand.
    pub content: Option<String>,
}

impl Profile {
    /// What is known of the device with this AE title.
    pub fn of(&self, title: &str) -> &Device {
        self.devices.get(title.trim()).unwrap_or(&self.device)
    }
}

impl Default for Profile {
    /// Europe/Bucharest, and nothing known of the device.
    fn default() -> Self {
        Profile {
            device: Device::default(),
            devices: BTreeMap::new(),
            zone: TimeZone::get("Europe/Bucharest").unwrap_or(TimeZone::UTC),
            content: None,
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
        | Service::Move
        | Service::Get
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
