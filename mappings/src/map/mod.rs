//! Mapping files: which value of a JSON, XML or CSV document is which value of the clinic, in both directions.
//!
//! ```toml
//! each = "orders"                       # a record; CSV: each row, without saying it
//!
//! [about]
//! control_id = "$.message.id"
//!
//! [[change]]
//! key  = "patient"
//! kind = "Patient"
//! [change.say]
//! "identifiers.value"  = "patient.cnp"
//! "identifiers.system" = { value = "urn:oid:1.2.40.0.10.1.4.3.1" }
//! "names.family"       = "patient.lastName"
//! "birth_date"         = { from = "patient.born", date = "%d.%m.%Y" }
//! "sex"                = { from = "patient.sex", codes = { M = "male", F = "female" }, missing = "fail" }
//! ```
//!
//! On the left is the model (`schemas/change-set.schema.json`), on the right the document. A list without an index is
//! its first entry. Paths on the right begin at the record; those from the document begin with `$` (JSON), `/` (XML) or
//! `[1]` (CSV).

mod decode;
mod encode;
mod file;
mod model;
mod out;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::tree::Path;

pub use decode::decode;
pub use encode::encode;
pub use file::{Problem, Table, read};

/// Which kind of document a mapping is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// JSON.
    Json,
    /// XML.
    Xml,
    /// CSV.
    Csv,
}

impl Wire {
    /// A path as this kind of document writes it.
    pub fn path(self, written: &str) -> Result<Path, String> {
        match self {
            Wire::Json => crate::json::path(written),
            Wire::Xml => crate::xml::path(written),
            Wire::Csv => crate::csv::path(written),
        }
    }
}

/// A mapping file, read.
#[derive(Clone, Debug)]
pub struct Mapping {
    wire: Wire,
    each: Option<Path>,
    delimiter: Option<char>,
    header: bool,
    /// What stands in a written document as it is.
    fixed: Vec<(Path, String)>,
    about: Vec<Line>,
    changes: Vec<ChangeRule>,
}

impl Mapping {
    /// CSV: what stands between two fields, where the file says so.
    pub fn delimiter(&self) -> Option<char> {
        self.delimiter
    }

    /// CSV: whether the first line names the columns.
    pub fn header(&self) -> bool {
        self.header
    }
}

/// What is said about one kind of aggregate.
#[derive(Clone, Debug)]
struct ChangeRule {
    key: String,
    kind: clinic::Kind,
    /// One change for each of these, within the record.
    each: Option<Path>,
    /// Lists that are said whole.
    replace: Vec<String>,
    /// What it is within another one: of which change, and by what.
    within: Option<(String, Vec<Path>)>,
    skip_missing: bool,
    say: Vec<Line>,
}

/// One line: a value of the model and where it comes from.
#[derive(Clone, Debug)]
struct Line {
    /// As it is written, for messages.
    written: String,
    to: Vec<Step>,
    leaf: model::Leaf,
    from: From,
}

/// A step in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Nth(usize),
}

/// Where a value comes from.
#[derive(Clone, Debug)]
enum From {
    /// A constant.
    Value(String),
    /// Another change of the mapping.
    Ref(String),
    /// The document.
    Paths(Wanted),
}

/// A value of the document, and what is made of it.
#[derive(Clone, Debug)]
struct Wanted {
    paths: Vec<(String, Path)>,
    join: String,
    date: Option<String>,
    decimal: Option<char>,
    codes: Option<Codes>,
    missing: Missing,
    system: Option<String>,
    required: bool,
}

/// What a code becomes.
#[derive(Clone, Debug)]
enum Codes {
    /// Written in the mapping file.
    Inline(BTreeMap<String, String>),
    /// A table beside it.
    Table(Arc<Table>),
}

/// What to do with a code that is in no table.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Missing {
    Keep,
    Fail,
    Default(String),
}
