//! CSV (RFC 4180): read strictly, found by columns, changed in place.
//!
//! **Paths**: `Nume` is the column of that name in each row, `#3` the third column, `[2].Nume` the field of the second
//! row (rows are counted from 1, without the header).
//!
//! **Read**: by the byte order mark, else the channel's `charset`, else UTF-8. Fields are parted by comma, semicolon,
//! tab or bar: by what the first line has most of, unless the channel says. Refused, with line and column: a row with
//! more or fewer fields than the first one, text after a closing quote, a quote that is not closed, more than 1,000
//! columns. Blank lines are no rows.

mod path;
mod read;
mod set;

/// A column's name as names are compared: what windows-1250 and ISO 8859-2 can only write with a cedilla is the same
/// letter with a comma.
fn column(name: &str) -> String {
    name.trim()
        .replace('ş', "ș")
        .replace('ţ', "ț")
        .replace('Ş', "Ș")
        .replace('Ţ', "Ț")
}

pub use path::path;
pub use read::read;
pub use set::{field, known, set};
