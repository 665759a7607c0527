//! The channel that no file describes: change sets that come by the clinic API, in the name of an actor.
//!
//! It is a channel like the others, so that what comes by it has its message, its trace, its answer to a repeat, and is
//! stored in one transaction with what it does. Who writes stands in a header that only the API sets.

use clinic::apply::OnUnmatched;

use super::{Channel, End, Step};
use crate::format::Settings;
use crate::message::Incoming;

/// Its name; no channel file may have it.
pub const WRITE_DOOR: &str = "write-door";
/// The connector through which it comes: the server's own.
pub const CONNECTOR: &str = "api";
/// The header that says who writes.
pub const ACTOR: &str = "key";
/// The header with the sender's number of the request.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The channel.
pub fn channel() -> Channel {
    let settings = Settings::default();
    let source = End {
        connector: CONNECTOR.to_owned(),
        settings: serde_json::Value::Object(Default::default()),
        format: "clinic".to_owned(),
        format_settings: settings.clone(),
        script: None,
    };
    Channel {
        description: "Change sets that come by POST /clinic/changes".to_owned(),
        steps: vec![
            Step::Decode {
                format: "clinic".to_owned(),
                settings: Settings {
                    typed: true,
                    ..settings
                },
            },
            Step::Apply {
                on_unmatched: OnUnmatched::Create,
                overwrite: false,
            },
        ],
        ..Channel::from_source(WRITE_DOOR, source)
    }
}

impl Channel {
    /// In whose name a message of this channel is written, where it is not the channel's own. A header of that name is
    /// only believed at the write door: elsewhere anybody could send one.
    pub(crate) fn actor<'m>(&self, incoming: &'m Incoming) -> Option<&'m str> {
        (self.id == WRITE_DOOR).then(|| incoming.header(ACTOR)).flatten()
    }
}
