//! JSON (RFC 8259): read strictly, found by paths, changed in place.
//!
//! **Paths**: `patient.name[0].family`. A name is what stands between dots; one with a dot, a bracket or a quote in it
//! is written `["a.b"]`. `[0]` is the first entry of a list, `[*]` each; a name after a list without an index means
//! each entry too. `$` before it is the document, which is where a path begins anyway, but in a mapping.
//!
//! **Read**: UTF-8, or UTF-16 with a byte order mark. Refused, with line and column: a key that stands twice in one
//! object, what is no JSON (`NaN`, comments, a comma too many), text after the end, more than 128 levels.

mod path;
mod read;
mod set;

pub use path::path;
pub use read::read;
pub use set::{Change, set};

/// A text as JSON.
pub fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether this is a number as JSON has it.
pub fn is_number(text: &str) -> bool {
    read::number(text.as_bytes()) == Some(text.len())
}
