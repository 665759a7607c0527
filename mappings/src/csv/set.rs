//! Changes of single fields, all else byte for byte as it came: quotes, line ends, the header.

use clinic::exchange::MapError;

use super::{path, read};
use crate::tree::{Change, Document, Edit, Path, Reading, Step, unwritable};

/// Applies changes one after the other.
pub fn set(bytes: &[u8], changes: &[(String, Change)], reading: &Reading) -> Result<Vec<u8>, MapError> {
    let mut bytes = bytes.to_vec();
    for (written, change) in changes {
        let at = path(written).map_err(|what| unwritable(written, what))?;
        let document = read(&bytes, reading)?;
        let edits = match change {
            Change::Assign(text) => assign(&document, &at, written, text)?,
            // A field that says nothing is an empty one; a row without it would be no row.
            Change::Clear | Change::Remove => assign(&document, &at, written, "")?,
            Change::Copy(from) => {
                let source = path(from).map_err(|what| unwritable(from, what))?;
                let found = document.values(0, &source);
                assign(&document, &at, written, found.first().map_or("", String::as_str))?
            }
        };
        let edited = document.source.edited(edits)?;
        // Who reads it has to guess what parts its fields, as we did.
        let is_read_alike = read(&edited, reading).is_ok_and(|after| {
            after.columns == document.columns && after.nodes.len() == document.nodes.len()
        });
        if !is_read_alike {
            let what = "with it the file would be read as one of other columns".to_owned();
            return Err(unwritable(written, what));
        }
        bytes = edited;
    }
    Ok(bytes)
}

/// A text as a field: in quotes where it has to be.
pub fn field(text: &str, delimiter: char, quoted: bool) -> String {
    let needs = text.contains([delimiter, '"', '\n', '\r']) || text.starts_with(' ') || text.ends_with(' ');
    match quoted || needs {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

fn assign(document: &Document<'_>, path: &Path, written: &str, text: &str) -> Result<Vec<Edit>, MapError> {
    known(document, path).map_err(|what| unwritable(written, what))?;
    let found = document.select(0, path);
    if let (Some(Step::Nth(nth)), true) = (path.steps.first(), found.is_empty()) {
        let what = format!("there is no row {}", nth + 1);
        return Err(unwritable(written, what));
    }
    Ok(found
        .into_iter()
        .map(|node| {
            let at = &document.nodes[node];
            let quoted = document.slice(&at.span).starts_with('"');
            // Whatever parts the fields: a text with any of them is quoted, which is right for all.
            let needs = text.contains([';', ',', '\t', '|']);
            // A line with nothing in it is no row.
            let needs = needs || (text.is_empty() && document.columns.len() == 1);
            Edit::new(at.span.clone(), field(text, ';', quoted || needs))
        })
        .collect())
}

/// A column that is there, and one only of that name.
pub fn known(document: &Document<'_>, path: &Path) -> Result<(), String> {
    match path.steps.last() {
        Some(Step::Name(name)) => match document.columns.iter().filter(|column| *column == name).count() {
            0 => Err("there is no column of this name".to_owned()),
            1 => Ok(()),
            many => Err(format!(
                "{many} columns have this name; write #3 for the third column"
            )),
        },
        Some(Step::Column(nth)) if document.columns.len() <= *nth => {
            Err(format!("there are {} columns", document.columns.len()))
        }
        _ => Ok(()),
    }
}
