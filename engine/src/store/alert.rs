//! Alerts as they are kept: episodes with a beginning and an end, and what is still to be told of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An episode: something was wrong from a moment on, until it was over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its number.
    pub nr: i64,
    /// The rule and what it is about: `held 1 adt/ris`. One episode of each is on at a time.
    pub what: String,
    /// In a sentence, as it was when it began.
    pub says: String,
    /// Who is told.
    pub receivers: Vec<String>,
    /// Since when.
    pub began: Timestamp,
    /// Until when; none: it is on.
    pub ended: Option<Timestamp>,
}

/// The beginning or the end of an episode, still to be told to one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertNotice {
    /// Its number; what is told to one receiver is told in this order.
    pub nr: i64,
    /// Of what.
    pub alert: Alert,
    /// It is over; else it has begun.
    pub is_end: bool,
    /// To whom.
    pub receiver: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub due: Timestamp,
}
