//! Places: organisations, sites and rooms.

use crate::aggregate::aggregate;
use crate::refs::no_refs;
use crate::value::{Address, Coding, Concept, PersonName, Ref, Telecom, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whom to ask for in an organisation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OrganizationContact {
    /// What for.
    pub purpose: Option<Concept>,
    /// Who.
    pub name: Option<PersonName>,
    /// How to reach them.
    pub telecoms: Vec<Telecom>,
    /// Where.
    pub address: Option<Address>,
}

aggregate! {
    /// A clinic, or any other organisation: a laboratory, an insurer, an employer.
    Clinic, ClinicChange {
        /// False: no more.
        active: Option<bool>,
        /// Its name.
        name: Option<String>,
        /// Other names it goes by.
        aliases: Vec<String>,
        /// What kind of organisation.
        kinds: Vec<Concept>,
        /// How to reach it.
        telecoms: Vec<Telecom>,
        /// Where it is.
        addresses: Vec<Address>,
        /// Whom to ask for.
        contacts: Vec<OrganizationContact>,
        /// Which one it is a part of.
        part_of: Option<Ref>,
    }
}

codes! {
    /// Whether a place is in use.
    PlaceStatus { Active = "active", Suspended = "suspended", Inactive = "inactive" }
}

aggregate! {
    /// A place of business of a clinic: one address with its rooms (HL7 PL.4, facility).
    Site, SiteChange {
        /// Whether it is in use.
        status: Option<PlaceStatus>,
        /// Its name.
        name: Option<String>,
        /// What it is, in words.
        description: Option<String>,
        /// How to reach it.
        telecoms: Vec<Telecom>,
        /// Where it is.
        address: Option<Address>,
        /// Whose it is.
        clinic: Option<Ref>,
    }
}

codes! {
    /// What kind of place inside a site. The codes of FHIR location-physical-type.
    RoomKind { Site = "si", Building = "bu", Wing = "wi", Ward = "wa", Level = "lvl", Corridor = "co", Room = "ro", Bed = "bd", Vehicle = "ve", House = "ho", Cabinet = "ca", Road = "rd", Area = "area", Jurisdiction = "jdn" }
}

aggregate! {
    /// A ward, room, bed or any other place inside a site.
    Room, RoomChange {
        /// Whether it is in use.
        status: Option<PlaceStatus>,
        /// Whether a bed is free, occupied, closed … (HL7 table 0116).
        operational_status: Option<Coding>,
        /// Its name, as on the door.
        name: Option<String>,
        /// What it is, in words.
        description: Option<String>,
        /// What kind of place.
        kind: Option<RoomKind>,
        /// What it is used for (HL7 PL.6).
        usage: Option<Concept>,
        /// How to reach it.
        telecoms: Vec<Telecom>,
        /// Where it is.
        address: Option<Address>,
        /// The room, ward or site around it.
        part_of: Option<Ref>,
        /// Whose it is.
        clinic: Option<Ref>,
    }
}

no_refs!(OrganizationContact, PlaceStatus, RoomKind);

impl crate::patch::Item for OrganizationContact {
    fn group(&self) -> Option<String> {
        self.name
            .as_ref()
            .map(|n| format!("{:?}|{:?}", n.family, n.given))
    }
}
