//! What comes of the answers of a destination: each is a message of a channel that stands in the destination
//! (`[[destination.response]]`), written in the unit of work that records the try, or the answer that came later.

use std::time::Duration;

use super::{Channel, OnError};

/// The connector of such a channel: no file can name it.
pub const RESPONSE: &str = "response";

/// Whose answers go through a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswersOf {
    /// The channel.
    pub channel: String,
    /// The destination of it.
    pub destination: String,
    /// By which channel answers come that come later; none: by any.
    pub by: Option<String>,
    /// What happens to a delivery that a later answer refuses.
    pub on_error: OnError,
}

/// How answers come that come later, by a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Late {
    /// By which channel; none: by any.
    pub by: Option<String>,
    /// How long a delivery may be pending; none: for ever.
    pub within: Option<Duration>,
}

/// The name of the channel that the answers of a destination go through: `lab-orders@lis`. No file can have it.
pub fn id(channel: &str, destination: &str) -> String {
    format!("{channel}@{destination}")
}

impl Channel {
    /// The channel of a file that it is or belongs to: what its scripts count and keep is that one's.
    pub fn owner(&self) -> &str {
        self.answers_of.as_ref().map_or(&self.id, |of| &of.channel)
    }

    /// The channels that its destinations' answers go through.
    pub fn responses(&self) -> impl Iterator<Item = &Channel> {
        self.destinations
            .iter()
            .filter_map(|destination| destination.response.as_deref())
    }
}

/// These channels, and those that the answers of their destinations go through.
pub fn with_responses(channels: Vec<Channel>) -> Vec<Channel> {
    let responses: Vec<Channel> = channels
        .iter()
        .flat_map(Channel::responses)
        .filter(|response| channels.iter().all(|channel| channel.id != response.id))
        .cloned()
        .collect();
    channels.into_iter().chain(responses).collect()
}
