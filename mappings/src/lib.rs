//! Pure functions between wire formats and the clinic. A format is a folder here.
//!
//! Absent by design: async, I/O, a clock, randomness, the store. Callers pass time and ids in; any bytes may
//! come in, and none of them makes a panic.

pub mod csv;
pub mod dicom;
pub mod hl7v2;
pub mod json;
pub mod map;
pub mod split;
pub mod tree;
pub mod xml;
