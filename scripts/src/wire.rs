//! What the engine and a worker say to each other: frames of a JSON head and a body of bytes.
//!
//! ```text
//! length of the head, 4 bytes, big-endian ─ length of the body, 4 bytes ─ head ─ body
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use clinic::exchange::MapError;
use engine::call::{CallAnswer, CallError, CallRequest};
use engine::script::{CacheWrite, Count, Task, Verdict};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The largest head (modules, code tables, a change set), in bytes.
const MAX_HEAD: usize = 256 << 20;

/// The largest body, in bytes.
pub const MAX_BODY: usize = 256 << 20;

/// A script with all that it needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unit {
    /// Its own module: a path from the channels' folder, `/` between the parts.
    pub entry: String,
    /// All modules by such paths.
    pub modules: BTreeMap<String, String>,
    /// Code tables by name: system, code, and what they become: system, code, display.
    pub tables: BTreeMap<String, Vec<[String; 5]>>,
    /// How many bytes it may take.
    pub memory: u64,
}

/// What a worker is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// Keep this under a number. There is no answer.
    Keep {
        /// The number.
        script: u64,
        /// The script.
        unit: Unit,
    },
    /// Can this be run?
    Check {
        /// The script, as far as its modules are known.
        unit: Unit,
        /// How long it may take, in milliseconds.
        limit: u64,
    },
    /// Run one on the body of the frame.
    Run(Run),
    /// What a script wanted while it runs. The body of the frame is that of an answer.
    Given {
        /// What it gets.
        given: Given,
    },
}

/// One run of a script.
#[derive(Debug, Serialize, Deserialize)]
pub struct Run {
    /// Its number.
    pub script: u64,
    /// How long it may take, in milliseconds.
    pub limit: u64,
    /// The channel.
    pub channel: String,
    /// The message.
    pub message: Uuid,
    /// The name of the body's format.
    pub format: String,
    /// The change set as JSON, where there is one and the script speaks of it.
    pub changes: Option<String>,
    /// What the message answers, where it is an answer, that is text, and the script speaks of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
    /// Whether it may be changed.
    pub may_change: bool,
    /// The counters of its channel.
    pub counters: BTreeMap<String, Count>,
    /// The caches of its channel.
    pub caches: Vec<String>,
    /// The far sides that its channel grants.
    pub granted: Vec<String>,
    /// The destinations that its channel lets it ask.
    pub asks: Vec<String>,
    /// What it is run for.
    pub task: Task,
}

/// What a script wants of the engine while it runs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "want", rename_all = "snake_case")]
pub enum Want {
    /// What stands in a cache.
    Cached {
        /// The cache.
        cache: String,
        /// Where in it.
        key: String,
    },
    /// What a far side answers. The body of the frame is that of the request.
    Call {
        /// Which call of this run it is, from 0.
        number: usize,
        /// The request.
        request: CallRequest,
    },
    /// What a destination answers. The body of the frame is the question.
    Ask {
        /// The destination.
        destination: String,
    },
}

/// What it gets.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "given", rename_all = "snake_case")]
pub enum Given {
    /// What stands in a cache, as JSON.
    Cached {
        /// None: nothing.
        value: Option<String>,
    },
    /// What a far side answered.
    Called {
        /// Or why it did not.
        answer: Result<CallAnswer, CallError>,
    },
    /// What a destination answered. The body of the frame is what was found.
    Heard {
        /// Whether something was found; or why there is no answer.
        found: Result<bool, String>,
    },
    /// Nothing: nobody is there to give it.
    Nothing,
}

/// What a worker answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// It has started.
    Ready,
    /// The script can be run.
    Right,
    /// A module is missing: where it is asked for, how, and which one that is.
    Missing {
        /// The module that imports it.
        by: String,
        /// What stands there.
        specifier: String,
        /// The path; or why there can be none.
        path: Result<String, String>,
    },
    /// The script is wrong.
    Wrong {
        /// Where and what.
        fault: Fault,
    },
    /// It ran. The body of the frame is that of the message where it is `changed`.
    Ran {
        /// What became of the body.
        body: Became,
        /// The change set as JSON, where it was changed.
        changes: Option<String>,
        /// What it wrote to its console.
        console: Vec<String>,
        /// The numbers that it took last, by their counters.
        counted: BTreeMap<String, u64>,
        /// What it wrote to caches.
        cached: Vec<CacheWrite>,
    },
    /// It runs, and wants something; then it goes on.
    Wants {
        /// What.
        want: Want,
    },
    /// It failed.
    Failed {
        /// Where and what.
        fault: Fault,
        /// What the message has to do with it, where that is known.
        error: Option<MapError>,
        /// What it wrote to its console before.
        console: Vec<String>,
    },
}

/// What became of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Became {
    /// It is as it came.
    Kept,
    /// It is another.
    Changed,
    /// The message ends here.
    Filtered,
    /// A delivery: what became of it.
    Verdict(Verdict),
    /// A poll. The body of the frame is that of all messages, one behind the other.
    Polled {
        /// Identity, content type and length of each.
        messages: Vec<(String, Option<String>, usize)>,
        /// Where to go on.
        cursor: Option<String>,
    },
}

/// A fault of a script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Module, line and column, the numbers from 1.
    pub at: Option<(String, usize, usize)>,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.at {
            Some((module, line, column)) => write!(f, "{module}:{line}:{column} {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// A frame as bytes.
pub fn frame(head: &impl Serialize, body: &[u8]) -> io::Result<Vec<u8>> {
    let head = serde_json::to_vec(head)?;
    let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "too long for a script");
    if MAX_HEAD < head.len() || MAX_BODY < body.len() {
        return Err(too_long());
    }
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).map(u32::to_be_bytes);
    let mut out = Vec::with_capacity(8 + head.len() + body.len());
    out.extend(length(&head).map_err(|_| too_long())?);
    out.extend(length(body).map_err(|_| too_long())?);
    out.extend(head);
    out.extend_from_slice(body);
    Ok(out)
}

/// Reads one frame; none: the other side has closed between two.
pub fn read<H: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<(H, Vec<u8>)>> {
    let mut first = [0u8; 1];
    loop {
        match from.read(&mut first) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut rest = [0u8; 7];
    from.read_exact(&mut rest)?;
    let [b1, b2, b3, b4, b5, b6, b7] = rest;
    let head = u32::from_be_bytes([first[0], b1, b2, b3]) as usize;
    let body = u32::from_be_bytes([b4, b5, b6, b7]) as usize;
    if MAX_HEAD < head || MAX_BODY < body {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
    }
    let head = serde_json::from_slice(&bytes(from, head)?)?;
    Ok(Some((head, bytes(from, body)?)))
}

/// That many bytes. Memory is taken as they come, whatever the length says.
fn bytes(from: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    from.take(length as u64).read_to_end(&mut out)?;
    if out.len() == length {
        Ok(out)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Writes one frame.
pub fn write(to: &mut impl Write, head: &impl Serialize, body: &[u8]) -> io::Result<()> {
    to.write_all(&frame(head, body)?)?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_cut_ones_are_noticed() {
        let sent = frame(&Answer::Ready, b"body").expect("a frame");
        let (head, body): (Answer, _) = read(&mut sent.as_slice()).expect("read").expect("one");
        assert!(matches!(head, Answer::Ready));
        assert_eq!(body, b"body");
        for cut in 1..sent.len() {
            assert!(read::<Answer>(&mut &sent[..cut]).is_err(), "{cut}");
        }
        assert!(read::<Answer>(&mut &[][..]).expect("closed").is_none());
        assert!(read::<Answer>(&mut &[0xff; 64][..]).is_err());
    }
}
