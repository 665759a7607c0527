//! MLLP: the way HL7 v2 travels over TCP (HL7 MLLP release 1).
//!
//! ```toml
//! [source.mllp]
//! listen        = "0.0.0.0:2575"
//! max_frame     = "16 MB"          # the longest message
//! idle_timeout  = "5m"             # "0s": connections may be silent for ever
//! frame_timeout = "30s"            # from the first byte of a message to its last
//! allow         = ["10.0.0.0/24"]  # who may connect; empty: everybody
//!
//! [[destination]]
//! name = "ris"
//! mllp = { connect = "10.0.0.7:2575", reply_timeout = "30s" }
//! ```
//!
//! **Source.** The messages of one connection are taken one after the other, each answered before the next is begun; a
//! sender may send the next without waiting. What is no frame is kept with the reason:
//!
//! | what comes | what happens |
//! |---|---|
//! | line ends, spaces and zeros between frames; an empty frame | nothing |
//! | other bytes before a frame | kept; not answered |
//! | a new start inside a frame | what came before it is kept, not answered; the new frame counts |
//! | an end without a start | kept, answered if the format can, goes on |
//! | a frame over `max_frame`, more than 256 KB without a frame | the first 256 KB kept, answered if the format can, closed |
//! | no end within `frame_timeout`, or the connection ends before | the first 256 KB kept, answered if the format can, closed |
//! | silence for `idle_timeout` | closed |
//! | an address that is not allowed, a connection over `max_connections` | closed at once |
//!
//! At a stop a message that is being handed in gets its answer, one of which a part has come has 0.7 s to come whole,
//! and nothing else is begun. A message that the store can't take now and whose format has no words for it ends the
//! connection.
//!
//! **Destination.** One message at a time on a connection; with `order_by` several connections. Its answer is the first
//! frame that the format takes for its own; others are read past. If none comes in time the delivery is *unsure*, and no
//! other message is sent on that connection, so that a late answer can't meet the next one. It is kept for a while: where
//! the answer has come by the next try of this delivery, that is the answer, and nothing is sent again. Not connected, or nothing written: *retry*. A part written, or all of it and no answer:
//! *unsure*. Longer than `max_frame`, or with a byte that MLLP can't carry: *refused*.
//!
//! Both ends speak TLS by their `tls` table ([`crate::tls`]). A message that came over a connection on which the sender
//! has shown a certificate has the header `certificate`: whom it names.
//!
//! A question (`lookup = { ask = … }`) goes by a connection of its own, one at a time.
//!
//! Absent by design: any knowledge of HL7.

mod destination;
pub mod framing;
pub mod settings;
mod source;

use std::sync::Arc;

use async_trait::async_trait;
use engine::channel::OnUnsure;
use engine::connector::{Asks, Connector, ConnectorError, Destination, Looked, Source, Surroundings};
use serde_json::Value;

use crate::tls::{look_at_destination, look_at_source};
use crate::values::{checked, read, tables};
use settings::{DestinationSettings, SourceSettings};

/// What MLLP carries, as far as anybody ever saw.
const CONTENT_TYPE: &str = "application/hl7-v2";

/// The connector `mllp`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mllp;

#[async_trait]
impl Connector for Mllp {
    fn name(&self) -> &'static str {
        "mllp"
    }

    fn format(&self) -> Option<&'static str> {
        Some("hl7v2")
    }

    tables!(source = SourceSettings, destination = DestinationSettings);

    fn look_at_source(&self, settings: &Value, surroundings: &Surroundings) -> Looked {
        match read::<SourceSettings>(settings) {
            Ok(settings) => look_at_source(settings.listen, settings.tls.as_ref(), surroundings),
            Err(_) => Looked::default(),
        }
    }

    fn look_at_destination(&self, settings: &Value, surroundings: &Surroundings) -> Looked {
        match read::<DestinationSettings>(settings) {
            Ok(settings) => look_at_destination(settings.tls.as_ref(), surroundings),
            Err(_) => Looked::default(),
        }
    }

    async fn open_source(
        &self,
        settings: &Value,
        surroundings: &Surroundings,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        let settings = checked::<SourceSettings>(settings)?;
        Ok(Box::new(source::MllpSource::open(settings, surroundings)?))
    }

    async fn open_destination(
        &self,
        settings: &Value,
        surroundings: &Surroundings,
    ) -> Result<Arc<dyn Destination>, ConnectorError> {
        let settings = checked::<DestinationSettings>(settings)?;
        Ok(Arc::new(destination::MllpDestination::open(
            settings,
            surroundings,
        )?))
    }

    fn asks(&self) -> Option<Asks> {
        Some(Asks::Message)
    }

    /// The receiver knows a repeat by its control id (MSH-10).
    fn on_unsure(&self) -> OnUnsure {
        OnUnsure::Repeat
    }
}
