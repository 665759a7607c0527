//! TLS for every listener and every sender, by one table.
//!
//! ```toml
//! [source.mllp]
//! listen = "0.0.0.0:2575"
//! tls    = { cert = "punte.pem", key = "punte.key", client_ca = "senders.pem" }
//!
//! [[destination]]
//! name = "ris"
//! mllp = { connect = "ris.example:2575", tls = { ca = "ris.pem", cert = "punte.pem", key = "punte.key" } }
//! ```
//!
//! **A listener** shows `cert` (the certificate first, then those that lead to its root) and proves it by `key`. With
//! `client_ca` a caller must show a certificate that one of those has signed; without one, or with an expired or a
//! foreign one, the connection ends before a byte of it is read.
//!
//! **A sender** checks the far side's certificate: signed by one of `ca`, or one of `ca` itself, or, without `ca`, by a root
//! that the operating system trusts; not expired; with the name that is connected to, or `name`. There is no switch that
//! turns this off. `cert` and `key` are shown where the far side asks for them. `tls = true` is the table with nothing in
//! it.
//!
//! TLS 1.2 and 1.3, nothing older. Files are PEM; paths start at the channel file. They are looked at anew with each new
//! connection: a renewed certificate is used from then on, connections that are open keep theirs. New files that are
//! broken, or of which one does not match the other (yet), are said once in the log, and the old ones stay in use.
//!
//! A handshake has ten seconds, and holds up nobody else. Who speaks no TLS, or shows no right certificate, is closed;
//! each address is said once in the log until it gets in.
//!
//! Absent by design: password-protected keys (the password would lie beside them), revocation lists, TLS 1.1 and older.

mod acceptor;
mod files;
mod fresh;
mod look;
mod sender;
mod settings;
mod stream;

pub use acceptor::{Acceptor, Arrivals};
pub use look::{OPEN, Use, broken_chain, look_at_listener, valid_until};
pub(crate) use look::{look_at_destination, look_at_source};
pub(crate) use sender::{Secured, refused_by_peer};
pub use settings::{ListenerTls, SenderTable, SenderTls};
pub use stream::Stream;

use std::time::Duration;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
