//! How an association ends badly.

use crate::pdu::{Abort, Fault, Reject};

/// A title that no application entity can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an AE title has 1 to 16 ASCII characters and no backslash")]
pub struct BadAeTitle;

/// Why an association is over, or never was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The peer released it, in order; also in the middle of a message, of which a part is then lost.
    #[error("the association was released by the peer")]
    Released,
    /// The peer closed the connection without a word.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer aborted.
    #[error("the peer aborted the association: {0}")]
    PeerAborted(Abort),
    /// The peer broke the protocol; the association was aborted.
    #[error("the peer broke the protocol: {0}")]
    Fault(#[from] Fault),
    /// The request for an association was rejected.
    #[error("the association was rejected: {0}")]
    Rejected(Reject),
    /// Something did not happen in time; the association was aborted.
    #[error("{what} did not come in time")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
    },
    /// The peer accepted no context for the class.
    #[error("the peer accepted no presentation context for {class}")]
    NoContext {
        /// Its UID.
        class: String,
    },
    /// An answer of the peer is longer than we take.
    #[error("the peer sent a data set over the limit of {limit} bytes")]
    TooLong {
        /// Bytes.
        limit: usize,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// Not a title.
    #[error(transparent)]
    AeTitle(#[from] BadAeTitle),
}
