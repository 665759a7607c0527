//! DICOM over a stream: the upper layer (PS3.8) and the messages of DIMSE (PS3.7), both ways.
//!
//! - [`pdu`]: the seven PDUs, read and written; a fault says with which reason the association is aborted.
//! - [`Requested`] and [`request`]: an association as acceptor and as requestor.
//! - [`Association`]: messages in and out. A data set comes in chunks as they arrive and is never whole in memory here.
//! - [`Command`]: a command set; [`Status`]: what an answer says.
//! - [`scu`]: the requests of a service user: echo, store, find, move, get and the N-services.
//!
//! ```no_run
//! # async fn example(stream: tokio::net::TcpStream) -> Result<(), dimse::Error> {
//! use dimse::{Limits, Proposal, uids};
//!
//! let proposal = Proposal::new("PUNTE".parse()?, "PACS".parse()?).with(uids::VERIFICATION, [uids::IMPLICIT_LITTLE]);
//! let mut association = dimse::request(stream, proposal, Limits::default()).await?;
//! assert!(association.echo().await?.is_success());
//! association.release().await
//! # }
//! ```
//!
//! Every wait has an end ([`Limits`]): the time to a complete request is counted from the accept and no dripped byte
//! restarts it (ARTIM, PS3.8 9.1.5), a PDU that has begun has to end, and silence is bounded where that is asked for.
//! Whatever breaks the protocol is answered by an A-ABORT with the reason, and the peer has ARTIM to close.
//!
//! A future of [`Association::receive`] or [`Association::data`] may be dropped at any time: nothing that came is lost.
//!
//! Absent by design: what a data set means (it is bytes), sockets, TLS, which peers and classes are let in, and names of
//! patients in errors: those have UIDs, lengths and codes.

mod ae;
mod association;
mod command;
mod error;
mod message;
mod negotiation;
pub mod pdu;
pub mod scu;
mod status;
pub mod uids;
mod wire;

pub use ae::AeTitle;
pub use association::{Association, Context, Message};
pub use command::{Command, Operation, tags};
pub use error::{BadAeTitle, Error};
pub use message::{Assembler, Piece};
pub use negotiation::{Answers, Limits, Proposal, Requested, request};
pub use status::{Status, StatusKind};
