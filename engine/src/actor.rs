//! Who does something: asks, writes, decides.

use serde::{Deserialize, Serialize};

/// Who asks or writes, as far as it is known. Every request and every write has one; what is noted of it is sealed where
/// it is stored, since it may name a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// The name of the key that was shown; `local` is the owner of the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The person, where the key's holder names one or the system knows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The channel by which it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The address that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

impl Actor {
    /// As headers of a message that this actor hands in: `key`, `user`, `peer`. (The channel stands in the message.)
    pub fn headers(&self) -> Vec<(String, String)> {
        [("key", &self.key), ("user", &self.user), ("peer", &self.peer)]
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)))
            .collect()
    }
}
