//! The PDUs of the upper layer (PS3.8 9.3).
//!
//! Reserved bytes are not looked at, unknown items of the user information are passed over (PS3.8 D.2). What can't be
//! read is a [`Fault`], which says with which reason the association is to be aborted (PS3.8 9.3.8).

mod read;
mod write;

use std::fmt;

use bytes::Bytes;

pub use read::{Limit, next};
pub use write::{DATA_HEADER, abort, associate_ac, associate_rq, data, reject, release_rp, release_rq};

use crate::ae::AeTitle;

/// Type and length of a PDU take this many bytes.
pub const HEADER: usize = 6;
/// The longest request or acceptance that is read. (The maximum length that is negotiated is for P-DATA only, PS3.8 D.1.)
pub const LONGEST_ASSOCIATE: u32 = 256 * 1024;

/// A PDU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pdu {
    /// A-ASSOCIATE-RQ (PS3.8 9.3.2).
    AssociateRq(Box<AssociateRq>),
    /// A-ASSOCIATE-AC (PS3.8 9.3.3).
    AssociateAc(Box<AssociateAc>),
    /// A-ASSOCIATE-RJ (PS3.8 9.3.4).
    AssociateRj(Reject),
    /// P-DATA-TF (PS3.8 9.3.5).
    Data(Vec<Pdv>),
    /// A-RELEASE-RQ (PS3.8 9.3.6).
    ReleaseRq,
    /// A-RELEASE-RP (PS3.8 9.3.7).
    ReleaseRp,
    /// A-ABORT (PS3.8 9.3.8).
    Abort(Abort),
}

/// A request for an association.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssociateRq {
    /// Bit 0 is version 1; only that is looked at.
    pub version: u16,
    /// Who is called.
    pub called: AeTitle,
    /// Who calls.
    pub calling: AeTitle,
    /// Its UID.
    pub application_context: String,
    /// 1 to 128, with odd ids, each once.
    pub contexts: Vec<Proposed>,
    /// What the caller says of itself.
    pub user: User,
}

/// A presentation context as proposed (PS3.8 9.3.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Odd.
    pub id: u8,
    /// The class, a UID.
    pub class: String,
    /// In the order of the one who proposes.
    pub syntaxes: Vec<String>,
}

/// An acceptance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssociateAc {
    /// As it came.
    pub called: AeTitle,
    /// As it came.
    pub calling: AeTitle,
    /// Its UID.
    pub application_context: String,
    /// One answer for each that was proposed.
    pub contexts: Vec<Answered>,
    /// What the one who accepts says of itself.
    pub user: User,
}

/// The answer to a proposed context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Of the one that it answers.
    pub id: u8,
    /// The transfer syntax, or why not.
    pub result: Result<String, Refusal>,
}

/// Why a context is not accepted (PS3.8 9.3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 1: the user says no.
    User,
    /// 2, and what nobody knows.
    NoReason,
    /// 3: the class is not supported.
    Class,
    /// 4: none of the transfer syntaxes is.
    Syntaxes,
}

/// User information (PS3.8 D.1, PS3.7 D.3.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The longest P-DATA that is taken, counted after its header; 0: any.
    pub max_length: u32,
    /// Which implementation.
    pub implementation_class: String,
    /// Its version.
    pub implementation_version: Option<String>,
    /// Roles that differ from the usual ones.
    pub roles: Vec<Role>,
    /// In a request: who the user is.
    pub identity: Option<Identity>,
    /// In an acceptance: the answer to it.
    pub identity_answer: Option<Bytes>,
}

/// Which roles are proposed, or accepted, for a class (PS3.7 D.3.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// The class.
    pub class: String,
    /// The requestor may be its user.
    pub scu: bool,
    /// The requestor may be its provider.
    pub scp: bool,
}

/// Who the user is (PS3.7 D.3.3.7). Its fields are passwords and tickets: they are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// 1 name, 2 name and password, 3 Kerberos, 4 SAML, 5 JWT.
    pub kind: u8,
    /// An answer is wanted.
    pub wants_answer: bool,
}

/// A rejection (PS3.8 9.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// 1 permanent, 2 transient.
    pub result: u8,
    /// 1 user, 2 provider (association), 3 provider (presentation).
    pub source: u8,
    /// By source.
    pub reason: u8,
}

impl Reject {
    /// 1/1/1: for good, and no reason is given.
    pub const NO_REASON: Reject = Reject::new(1, 1, 1);
    /// 1/1/2: the application context is not known.
    pub const APPLICATION_CONTEXT: Reject = Reject::new(1, 1, 2);
    /// 1/1/3: the calling AE title is not known here.
    pub const CALLING_AE: Reject = Reject::new(1, 1, 3);
    /// 1/1/7: the called AE title is nobody here.
    pub const CALLED_AE: Reject = Reject::new(1, 1, 7);
    /// 1/2/2: the version of the protocol is not known.
    pub const VERSION: Reject = Reject::new(1, 2, 2);
    /// 2/3/1: no room for a while.
    pub const CONGESTION: Reject = Reject::new(2, 3, 1);
    /// 2/3/2: more associations than are taken.
    pub const LIMIT: Reject = Reject::new(2, 3, 2);

    const fn new(result: u8, source: u8, reason: u8) -> Self {
        Reject {
            result,
            source,
            reason,
        }
    }

    /// It may be better another time.
    pub fn is_transient(self) -> bool {
        self.result == 2
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.is_transient() {
            "for now"
        } else {
            "for good"
        };
        let why = match (self.source, self.reason) {
            (1, 2) => "it does not know the application context",
            (1, 3) => "it does not know the calling AE title",
            (1, 7) => "it is not the called AE title",
            (2, 2) => "it does not speak this version of the protocol",
            (3, 1) => "it is overloaded",
            (3, 2) => "it takes no more associations",
            _ => "it says not why",
        };
        write!(
            out,
            "{how}, {why} ({}/{}/{})",
            self.result, self.source, self.reason
        )
    }
}

/// An abort (PS3.8 9.3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// 0 the user, 2 the provider.
    pub source: u8,
    /// Of the provider.
    pub reason: u8,
}

impl Abort {
    /// By the user: no reason is said.
    pub const USER: Abort = Abort { source: 0, reason: 0 };
}

impl fmt::Display for Abort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match (self.source, self.reason) {
            (0, _) => "by its user",
            (_, 1) => "a PDU was not recognised",
            (_, 2) => "a PDU was not expected",
            (_, 4) => "a parameter was not recognised",
            (_, 5) => "a parameter was not expected",
            (_, 6) => "a parameter had an invalid value",
            _ => "no reason given",
        };
        write!(out, "{why} ({}/{})", self.source, self.reason)
    }
}

/// The reasons of an abort by the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// Not said.
    NotSaid = 0,
    /// No such PDU.
    UnknownPdu = 1,
    /// Not in this state.
    UnexpectedPdu = 2,
    /// No such parameter.
    UnknownParameter = 4,
    /// Not here.
    UnexpectedParameter = 5,
    /// A value that can't be.
    InvalidValue = 6,
}

/// How a peer broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Fault {
    /// What the abort says.
    pub reason: Reason,
    /// In words.
    pub what: &'static str,
}

impl Fault {
    pub(crate) const fn new(reason: Reason, what: &'static str) -> Self {
        Fault { reason, what }
    }

    pub(crate) const fn invalid(what: &'static str) -> Self {
        Fault::new(Reason::InvalidValue, what)
    }

    pub(crate) const fn unexpected(what: &'static str) -> Self {
        Fault::new(Reason::UnexpectedPdu, what)
    }

    /// The abort that answers it.
    pub fn abort(self) -> Abort {
        Abort {
            source: 2,
            reason: self.reason as u8,
        }
    }
}

/// A presentation data value: a fragment of a message (PS3.8 9.3.5.1, E.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Pdv {
    /// The context of its message.
    pub context: u8,
    /// Of the command set; otherwise of the data set.
    pub is_command: bool,
    /// The last of its kind.
    pub is_last: bool,
    /// The fragment.
    pub data: Bytes,
}

impl fmt::Debug for Pdv {
    /// Without the bytes: they may name a patient.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_command { "command" } else { "data" };
        let last = if self.is_last { ", last" } else { "" };
        write!(
            out,
            "{kind} of context {}: {} bytes{last}",
            self.context,
            self.data.len()
        )
    }
}
