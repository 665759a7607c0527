//! The clinic's nouns and rules.
//!
//! Absent by design: async, I/O, a clock, any wire format. Callers pass time and ids in.
//!
//! A format decodes a message into a [`ChangeSet`]: for each thing that the message speaks of how to find it, and what
//! is said about it (nothing, "clear it", or a value: [`patch`]). [`apply()`] works out what that means for the clinic
//! as a [`apply::Snapshot`] shows it. What comes back, [`Applied`], is written by a store as a whole, after it has
//! checked that all that was read still is so.
//!
//! | subject | module |
//! |---|---|
//! | people, places, scheduling, the medical record, diagnostics | [`people`], [`places`], [`scheduling`], [`records`], [`diagnostics`] |
//! | worklists, studies and their objects | [`imaging`] |
//! | the values that they are made of | [`value`], [`cnp`] |
//! | who is meant, merges, bookings, events | [`apply`], [`keys`], [`events`] |
//! | what a store keeps for searches | [`search`] |
//! | between formats and the engine | [`exchange`] |
//! | questions for patients and for what is planned | [`ask`], [`planned`], [`worklist`] |
//! | what a person wrote stays | [`held`] |
//! | the change set as JSON | [`json`] |
//!
//! ```
//! use clinic::aggregate::Source;
//! use clinic::apply::{Context, OnUnmatched};
//! use clinic::memory::MemoryClinic;
//! use clinic::patch::{Items, Patch};
//! use clinic::people::{PatientChange, Sex};
//! use clinic::value::Identifier;
//! use clinic::{Change, ChangeSet};
//!
//! let said = PatientChange {
//!     identifiers: Items::merge(vec![Identifier::new(Some("NORD"), "N-501")]),
//!     sex: Patch::Set(Sex::Female),
//!     religion: Patch::Clear,
//!     ..PatientChange::default()
//! };
//! let set = ChangeSet {
//!     changes: vec![Change::new("patient", said)],
//!     ..ChangeSet::default()
//! };
//! let mut clinic = MemoryClinic::new();
//! let applied = clinic::apply(
//!     &set,
//!     &clinic,
//!     Context {
//!         source: Source::Actor { name: "reception".to_owned(), message: None },
//!         now: jiff::Timestamp::UNIX_EPOCH,
//!         site: None,
//!         on_unmatched: OnUnmatched::Create,
//!         decisions: &[],
//!         overwrite: false,
//!         new_id: &mut || uuid::Uuid::from_u128(1),
//!     },
//! )?;
//! assert_eq!(applied.writes[0].verb, "created");
//! clinic.commit(&applied)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod aggregate;
pub mod apply;
pub mod archive;
pub mod ask;
pub mod change_set;
pub mod cnp;
pub mod diagnostics;
pub mod events;
pub mod exchange;
pub mod held;
pub mod imaging;
mod items;
pub mod json;
pub mod keys;
mod kinds;
pub mod memory;
pub mod patch;
pub mod people;
pub mod places;
pub mod planned;
pub mod records;
mod refs;
pub mod scheduling;
pub mod schema;
pub mod search;
pub mod told;
pub mod value;
pub mod worklist;

pub use apply::{Applied, Record, apply};
pub use change_set::{About, Change, ChangeSet};
pub use kinds::{Aggregate, Body, Kind};
pub use refs::Refs;
