//! The clinic's nouns and rules.
//!
//! Absent by design: async, I/O, a clock, any wire format. Callers pass time and ids in.

pub mod aggregate;
pub mod apply;
pub mod change_set;
pub mod cnp;
pub mod diagnostics;
pub mod events;
pub mod exchange;
mod items;
pub mod keys;
mod kinds;
pub mod memory;
pub mod patch;
pub mod people;
pub mod places;
pub mod records;
mod refs;
pub mod scheduling;
pub mod schema;
pub mod search;
pub mod value;

pub use apply::{Applied, Record, apply};
pub use change_set::{About, Change, ChangeSet};
pub use kinds::{Aggregate, Body, Kind};
pub use refs::Refs;
