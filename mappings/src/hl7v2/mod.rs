//! HL7 v2, versions 2.1 to 2.9, in its vertical-bar form (ER7).
//!
//! The way in: [`Message::read`] turns bytes into text by MSH-18 ([`charset`]), repairs the common sins of the
//! wire and records each repair ([`normalise`]), and lays a flat index over the result ([`index`]). Everything
//! else reads through the [`Tree`] trait and its borrowed [`views`].
//!
//! Places are written `PID-3[2].1.2`: segment, field, repetition, component, sub-component. The repetition
//! stands there when it is not the first, and so does the segment's occurrence: `OBX[2]-5.1`.

pub mod ack;
pub mod batch;
pub mod charset;
pub mod decode;
pub mod encode;
pub mod escape;
pub mod index;
pub mod judge;
pub mod keys;
#[cfg(test)]
mod laws;
pub mod normalise;
#[cfg(test)]
mod oracle;
pub mod path;
pub mod query;
pub mod set;
pub mod tree;
pub mod views;

pub use ack::{Replies, replies};
pub use charset::Charset;
pub use escape::{escape, unescape};
pub use index::{Message, Tree};
pub use judge::{is_answer_to, judge};
pub use keys::{Subject, about, head, keys};
pub use normalise::{Delimiters, Dialect, Limits, Reading, Repair};
pub use path::{Path, any_is, get_all, is_present};
pub use set::{Change, set};
pub use views::{Component, Field, Repetition, Segment, SubComponent, Value};
