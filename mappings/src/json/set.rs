//! Changes of single values, all else byte for byte as it came: digits, blanks, the order of members.

use clinic::exchange::MapError;

use super::{is_number, literal, path, read};
use crate::tree::{Document, Edit, Kind, Path, Reading, Step, unwritable};

pub use crate::tree::Change;

/// Applies changes one after the other.
pub fn set(bytes: &[u8], changes: &[(String, Change)], reading: &Reading) -> Result<Vec<u8>, MapError> {
    let mut bytes = bytes.to_vec();
    for (written, change) in changes {
        let at = path(written).map_err(|what| unwritable(written, what))?;
        let document = read(&bytes, reading)?;
        let edits = match change {
            Change::Assign(text) => assign(&document, &at, written, &New::Text(text))?,
            Change::Clear => assign(&document, &at, written, &New::Null)?,
            Change::Copy(from) => {
                let source = path(from).map_err(|what| unwritable(from, what))?;
                let found = document
                    .select(0, &source)
                    .first()
                    .map(|node| document.slice(&document.nodes[*node].span));
                assign(&document, &at, written, &found.map_or(New::Null, New::Raw))?
            }
            Change::Remove => remove(&document, &at, written)?,
        };
        bytes = document.source.edited(edits)?;
    }
    Ok(bytes)
}

/// What is to stand there.
enum New<'a> {
    /// A text: a number stays a number and a truth value one, where the text is such.
    Text(&'a str),
    /// JSON, as it is.
    Raw(&'a str),
    /// Null: in place of a list or an object too.
    Null,
}

impl New<'_> {
    fn in_place_of(&self, kind: Option<Kind>) -> String {
        match self {
            New::Null => "null".to_owned(),
            New::Raw(raw) => (*raw).to_owned(),
            New::Text(text) => match kind {
                Some(Kind::Number) if is_number(text) => (*text).to_owned(),
                Some(Kind::Bool) if matches!(*text, "true" | "false") => (*text).to_owned(),
                _ => literal(text),
            },
        }
    }
}

fn assign(document: &Document<'_>, path: &Path, written: &str, new: &New<'_>) -> Result<Vec<Edit>, MapError> {
    let mut edits = vec![];
    let mut nodes = vec![0];
    for (nth, step) in path.steps.iter().enumerate() {
        let rest = &path.steps[nth..];
        let mut next = vec![];
        for node in nodes {
            // A name means each entry of a list; into an empty one a first entry is put.
            let entries = match step {
                Step::Name(_) => document.flat(node),
                _ => vec![node],
            };
            if entries.is_empty() {
                edits.push(append(document, node, &built(rest, new, written)?));
            }
            for entry in entries {
                let found = document.step(entry, step);
                if found.is_empty() {
                    edits.extend(create(document, entry, rest, written, new)?);
                }
                next.extend(found);
            }
        }
        nodes = next;
    }
    for node in nodes {
        edits.extend(replace(document, node, written, new)?);
    }
    Ok(edits)
}

fn replace(
    document: &Document<'_>,
    node: usize,
    written: &str,
    new: &New<'_>,
) -> Result<Vec<Edit>, MapError> {
    let at = &document.nodes[node];
    match (at.kind, new) {
        (Kind::List, New::Text(_)) if at.children.is_empty() => {
            Ok(vec![append(document, node, &new.in_place_of(None))])
        }
        (Kind::List, New::Text(_)) => {
            let each = at
                .children
                .iter()
                .map(|child| replace(document, *child, written, new));
            Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
        }
        (Kind::Map, New::Text(_)) => Err(unwritable(
            written,
            "an object stands here; name a value in it, or remove it first",
        )),
        (kind, _) => Ok(vec![Edit::new(at.span.clone(), new.in_place_of(Some(kind)))]),
    }
}

/// Puts what is missing into a node.
fn create(
    document: &Document<'_>,
    node: usize,
    rest: &[Step],
    written: &str,
    new: &New<'_>,
) -> Result<Option<Edit>, MapError> {
    let at = &document.nodes[node];
    match (&rest[0], at.kind) {
        (Step::Name(name), Kind::Map) => {
            let value = built(&rest[1..], new, written)?;
            Ok(Some(add_member(document, node, name, &value)))
        }
        (Step::Nth(nth), Kind::List) if *nth == at.children.len() => {
            Ok(Some(append(document, node, &built(&rest[1..], new, written)?)))
        }
        (Step::Nth(nth), Kind::List) => Err(unwritable(
            written,
            format!(
                "the list has {} entries, so that there can be no [{nth}] yet",
                at.children.len()
            ),
        )),
        (Step::Each, Kind::List) => Ok(None),
        (_, Kind::Null) => Ok(Some(Edit::new(at.span.clone(), built(rest, new, written)?))),
        _ => Err(unwritable(
            written,
            "a single value stands where the path goes on; remove it first",
        )),
    }
}

/// A value with all that has to be around it.
fn built(rest: &[Step], new: &New<'_>, written: &str) -> Result<String, MapError> {
    let Some((step, rest)) = rest.split_first() else {
        return Ok(new.in_place_of(None));
    };
    match step {
        Step::Name(name) => Ok(format!("{{{}:{}}}", literal(name), built(rest, new, written)?)),
        Step::Nth(0) | Step::Each => Ok(format!("[{}]", built(rest, new, written)?)),
        _ => Err(unwritable(
            written,
            "the list is not there yet, so that its first entry is [0]",
        )),
    }
}

fn append(document: &Document<'_>, node: usize, value: &str) -> Edit {
    let at = &document.nodes[node];
    match at.children.last() {
        None => Edit::new(at.span.start + 1..at.span.start + 1, value),
        Some(last) => {
            let end = document.nodes[*last].outer.end;
            Edit::new(end..end, format!(",{}{value}", before(document, *last)))
        }
    }
}

fn add_member(document: &Document<'_>, node: usize, name: &str, value: &str) -> Edit {
    let at = &document.nodes[node];
    let Some(last) = at.children.last() else {
        return append(document, node, &format!("{}:{value}", literal(name)));
    };
    let last_node = &document.nodes[*last];
    let key = document.slice(&(last_node.outer.start..last_node.span.start));
    let blank = if key.ends_with(' ') { " " } else { "" };
    append(document, node, &format!("{}:{blank}{value}", literal(name)))
}

/// The blanks before an entry, so that a new one stands as the last one does.
fn before<'d>(document: &'d Document<'_>, node: usize) -> &'d str {
    let start = document.nodes[node].outer.start;
    let text = &document.source.text[..start];
    &text[text.trim_end_matches([' ', '\t', '\n', '\r']).len()..]
}

fn remove(document: &Document<'_>, path: &Path, written: &str) -> Result<Vec<Edit>, MapError> {
    let found = document.find(0, path);
    let mut edits = vec![];
    let mut parents: Vec<usize> = found.iter().map(|node| document.nodes[*node].parent).collect();
    parents.sort_unstable();
    parents.dedup();
    if found.contains(&0) {
        return Err(unwritable(written, "the document itself can't be removed"));
    }
    for parent in parents {
        let siblings = &document.nodes[parent].children;
        let mut idx = 0;
        while idx < siblings.len() {
            let run = siblings[idx..]
                .iter()
                .take_while(|node| found.contains(node))
                .count();
            if run == 0 {
                idx += 1;
                continue;
            }
            let outer = |idx: usize| document.nodes[siblings[idx]].outer.clone();
            let last = outer(idx + run - 1).end;
            edits.push(match (idx, siblings.get(idx + run)) {
                (0, Some(_)) => Edit::new(outer(0).start..outer(run).start, ""),
                (0, None) => Edit::new(outer(0).start..last, ""),
                (_, _) => Edit::new(outer(idx - 1).end..last, ""),
            });
            idx += run;
        }
    }
    Ok(edits)
}
