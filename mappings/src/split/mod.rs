//! One file taken apart into the messages that it holds: HL7 batches, lines, JSON arrays, XML elements, ZIP entries.
//!
//! ```
//! use mappings::split::{Kind, Limits, split};
//!
//! let parts = split(&Kind::Lines { header: true, quoted: false }, b"nr;code\r\n1;K\r\n2;NA\r\n", &Limits::default())?;
//! assert_eq!(&*parts[1].bytes, b"nr;code\r\n2;NA\r\n");
//! # Ok::<(), clinic::exchange::MapError>(())
//! ```
//!
//! Refuses rather than guesses: a trailer with another count, a line that belongs to no message, a document that is
//! cut are errors of the whole, so that half a file is never taken for a whole one. What stands beside the parts (the
//! header of a batch, the other members of a JSON object) stays with the whole, to which each part is linked.
//!
//! Absent by design: names of ZIP entries in errors (they name people often enough), files, paths.

mod hl7;
mod json;
#[cfg(test)]
mod laws;
mod lines;
mod xml;
mod zip;

use std::borrow::Cow;
use std::fmt;

use clinic::exchange::{MapError, Place, Reason};

pub use json::JsonPath;

/// By what a file is taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// HL7 v2 messages one after the other, with FHS/BHS/BTS/FTS or without. Counts of trailers are checked.
    Hl7v2,
    /// Lines that are not blank, ended by LF, CR LF or CR.
    Lines {
        /// The first line stands before each of the others, so that each part is a table of its own.
        header: bool,
        /// A line end between double quotes belongs to the value (CSV).
        quoted: bool,
    },
    /// The elements of a JSON array.
    Json {
        /// Where the array stands.
        at: JsonPath,
    },
    /// The XML elements of a name, whatever their prefix and depth; those inside of a part belong to the part.
    Xml {
        /// The name, without a prefix.
        element: String,
    },
    /// The files of a ZIP archive.
    Zip,
}

/// What is taken at most. More is an error of the whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Parts of a file.
    pub parts: usize,
    /// Bytes of a part.
    pub part_bytes: usize,
    /// Bytes of all parts together.
    pub total_bytes: usize,
    /// How many times larger than in the archive a ZIP entry may be, once it is larger than 1 MB.
    pub ratio: usize,
}

impl Default for Limits {
    /// 100,000 parts of 16 MB, 256 MB together, 200 times.
    fn default() -> Self {
        Limits {
            parts: 100_000,
            part_bytes: 16 << 20,
            total_bytes: 256 << 20,
            ratio: 200,
        }
    }
}

/// One of the messages that a file holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Part<'a> {
    /// Its place in the order, from 1.
    pub number: usize,
    /// Where in the file it stands, in the words of its kind: `line 3`, `$.entry[2]`, `Pacient[3]`, `entry 3`.
    pub place: Place,
    /// What the file calls it (a ZIP entry's name, as it stands there: never a path to be opened).
    pub name: Option<String>,
    /// Its bytes.
    pub bytes: Cow<'a, [u8]>,
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Part({}, {}, {} bytes)",
            self.number,
            self.place,
            self.bytes.len()
        )
    }
}

/// Takes a file apart. Any bytes may come in; none may make a panic, and none may take more than the limits.
pub fn split<'a>(kind: &Kind, bytes: &'a [u8], limits: &Limits) -> Result<Vec<Part<'a>>, MapError> {
    match kind {
        Kind::Hl7v2 => hl7::split(bytes, limits),
        Kind::Lines { header, quoted } => lines::split(bytes, *header, *quoted, limits),
        Kind::Json { at } => json::split(bytes, at, limits),
        Kind::Xml { element } => xml::split(bytes, element, limits),
        Kind::Zip => zip::split(bytes, limits),
    }
}

/// The parts as they are found, held to the limits.
struct Parts<'a, 'l> {
    limits: &'l Limits,
    parts: Vec<Part<'a>>,
    total: usize,
}

impl<'a, 'l> Parts<'a, 'l> {
    fn new(limits: &'l Limits) -> Self {
        Parts {
            limits,
            parts: Vec::new(),
            total: 0,
        }
    }

    /// Whether one more part of so many bytes may be taken.
    fn room(&self, place: &str, length: usize) -> Result<(), MapError> {
        let limits = self.limits;
        let what = if limits.parts <= self.parts.len() {
            format!(
                "more than {} parts in one file. Split it at the sender, or raise the limit of the split.",
                limits.parts
            )
        } else if limits.part_bytes < length {
            format!(
                "a part of more than {} bytes. Raise the limit of the split if it may be so long.",
                limits.part_bytes
            )
        } else if limits.total_bytes.saturating_sub(self.total) < length {
            format!(
                "the parts are more than {} bytes together. Split the file at the sender.",
                limits.total_bytes
            )
        } else {
            return Ok(());
        };
        Err(MapError::new(Reason::Sequence, Some(place), what))
    }

    fn push(&mut self, place: String, name: Option<String>, bytes: Cow<'a, [u8]>) -> Result<(), MapError> {
        self.room(&place, bytes.len())?;
        self.total += bytes.len();
        self.parts.push(Part {
            number: self.parts.len() + 1,
            place: Place(place),
            name,
            bytes,
        });
        Ok(())
    }
}

/// The bytes are not what the kind says.
fn wrong(place: &str, what: impl Into<String>) -> MapError {
    MapError::new(Reason::DataType, Some(place), what)
}
