//! The keys that a channel names: by which its messages are known again and found, where their format says nothing of
//! itself.

use clinic::exchange::Keys;

use super::heading::heading;
use crate::format::Format;

/// Where in a message its keys stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPaths {
    /// The sender's number of the message: with it a repeat is known again.
    pub control_id: Option<String>,
    /// Who sent it.
    pub sender: Option<String>,
    /// What kind of message it is.
    pub message_type: Option<String>,
    /// Patient numbers.
    pub patient: Option<String>,
    /// Visit numbers.
    pub visit: Option<String>,
    /// Order, accession and appointment numbers.
    pub order: Option<String>,
}

impl KeyPaths {
    /// What the format knows of a message, and what stands at the paths: a single one takes its place, others come to
    /// it. What can't be read says nothing.
    pub fn of(&self, format: &dyn Format, body: &[u8], headers: &[(String, String)]) -> Keys {
        let mut keys = format.keys(body);
        let values = |path: &Option<String>| -> Vec<String> {
            let Some(path) = path else { return vec![] };
            let found =
                heading(headers, path).unwrap_or_else(|| format.values(body, path).unwrap_or_default());
            found.into_iter().filter(|value| !value.is_empty()).collect()
        };
        for (path, key) in [
            (&self.control_id, &mut keys.control_id),
            (&self.sender, &mut keys.sender),
            (&self.message_type, &mut keys.message_type),
        ] {
            if let Some(value) = values(path).into_iter().next() {
                *key = Some(value);
            }
        }
        for (path, key) in [
            (&self.patient, &mut keys.patients),
            (&self.visit, &mut keys.visits),
            (&self.order, &mut keys.orders),
        ] {
            for value in values(path) {
                if !key.contains(&value) {
                    key.push(value);
                }
            }
        }
        keys
    }
}
