//! Messages, channels, steps, the durable store, delivery.
//!
//! Absent by design: any wire format (formats come as [`format::Format`]) and any protocol (ends come as
//! [`connector::Source`] and [`connector::Destination`]). Only `server` joins them.

pub mod actor;
pub mod anew;
pub mod archive;
pub mod body;
pub mod call;
pub mod channel;
pub mod connector;
pub mod format;
pub mod message;
pub mod room;
pub mod run;
pub mod sabotage;
pub mod script;
pub mod split;
pub mod store;
pub mod waits;
