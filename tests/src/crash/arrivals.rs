//! What has come to a receiver, by first arrivals.

use std::collections::HashMap;

use serde_json::Value;

use crate::mllp::field;
use crate::sink::Sink;

/// The messages of a receiver. Each body is read once: there are many, and the program needs the processors.
#[derive(Default)]
pub(crate) struct Arrivals {
    read: usize,
    /// The control ids in the order in which they came first.
    pub first: Vec<String>,
    /// How often each came.
    pub times: HashMap<String, u32>,
}

impl Arrivals {
    /// Reads what came since the last time.
    pub fn read(&mut self, sink: &Sink, id_of: impl Fn(&[u8]) -> String) {
        let new = sink.received_from(self.read);
        self.read += new.len();
        for body in new {
            let id = id_of(&body);
            let times = self.times.entry(id.clone()).or_default();
            *times += 1;
            if *times == 1 {
                self.first.push(id);
            }
        }
    }

    /// All, repeats too.
    pub fn all(&self) -> usize {
        self.read
    }
}

/// MSH-10.
pub(crate) fn id_of_hl7(body: &[u8]) -> String {
    field(body, "MSH", 10)
}

/// The control id of the message that a bundle came from, by its Provenance.
pub(crate) fn id_of_bundle(body: &[u8]) -> String {
    let bundle: Value = serde_json::from_slice(body).unwrap_or_default();
    let entries = bundle["entry"].as_array().into_iter().flatten();
    entries
        .map(|entry| &entry["resource"])
        .filter(|resource| resource["resourceType"] == "Provenance")
        .flat_map(|provenance| provenance["entity"].as_array().into_iter().flatten())
        .find_map(|entity| entity["what"]["identifier"]["value"].as_str())
        .unwrap_or_default()
        .to_owned()
}
