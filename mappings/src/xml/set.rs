//! Changes of single values, all else byte for byte as it came: quotes of attributes, blanks, comments.

use clinic::exchange::MapError;

use super::read::forbidden;
use super::{path, read};
use crate::tree::{Change, Document, Edit, Kind, Path, Reading, Step, unwritable};

/// Applies changes one after the other.
pub fn set(bytes: &[u8], changes: &[(String, Change)], reading: &Reading) -> Result<Vec<u8>, MapError> {
    let mut bytes = bytes.to_vec();
    for (written, change) in changes {
        let at = path(written).map_err(|what| unwritable(written, what))?;
        let document = read(&bytes, reading)?;
        let edits = match change {
            Change::Assign(text) => assign(&document, &at, written, text)?,
            Change::Clear => assign(&document, &at, written, "")?,
            Change::Copy(from) => {
                let source = path(from).map_err(|what| unwritable(from, what))?;
                let found = document.values(0, &source);
                assign(&document, &at, written, found.first().map_or("", String::as_str))?
            }
            Change::Remove => remove(&document, &at, written)?,
        };
        bytes = document.source.edited(edits)?;
    }
    Ok(bytes)
}

/// A text between tags, or between quotes of an attribute.
pub fn escaped(text: &str, quote: Option<char>) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match (character, quote) {
            ('&', _) => out.push_str("&amp;"),
            ('<', _) => out.push_str("&lt;"),
            ('>', _) => out.push_str("&gt;"),
            ('"', Some('"')) => out.push_str("&quot;"),
            ('\'', Some('\'')) => out.push_str("&apos;"),
            ('\r', _) => out.push_str("&#13;"),
            ('\n', Some(_)) => out.push_str("&#10;"),
            ('\t', Some(_)) => out.push_str("&#9;"),
            _ => out.push(character),
        }
    }
    out
}

fn assign(document: &Document<'_>, path: &Path, written: &str, text: &str) -> Result<Vec<Edit>, MapError> {
    if text.contains(forbidden) {
        return Err(unwritable(written, "a character that XML does not have"));
    }
    let mut edits = vec![];
    let mut nodes = vec![0];
    for (nth, step) in path.steps.iter().enumerate() {
        let mut next = vec![];
        for node in nodes {
            let found = document.step(node, step);
            if found.is_empty() {
                edits.push(create(document, node, &path.steps[nth..], written, text)?);
            }
            next.extend(found);
        }
        nodes = next;
    }
    for node in nodes {
        edits.push(replace(document, node, written, text)?);
    }
    Ok(edits)
}

fn replace(document: &Document<'_>, node: usize, written: &str, text: &str) -> Result<Edit, MapError> {
    let at = &document.nodes[node];
    match at.kind {
        Kind::Attribute => {
            let quote = document.source.text[..at.span.start].chars().next_back();
            Ok(Edit::new(at.span.clone(), escaped(text, quote)))
        }
        Kind::Element if at.text.is_some() => match is_closed(document, node) {
            true if text.is_empty() => Ok(Edit::new(at.span.end..at.span.end, "")),
            true => Ok(content(document, node, &escaped(text, None))),
            false => Ok(Edit::new(at.inner.clone(), escaped(text, None))),
        },
        Kind::Element | Kind::Map | Kind::List | Kind::Text | Kind::Number | Kind::Bool | Kind::Null => Err(
            unwritable(written, "other elements stand in it; name one of them"),
        ),
    }
}

/// True for `<a/>`.
fn is_closed(document: &Document<'_>, node: usize) -> bool {
    let at = &document.nodes[node];
    at.inner.is_empty() && at.inner.start == at.span.end
}

/// Puts something to the end of what stands in an element.
fn content(document: &Document<'_>, node: usize, new: &str) -> Edit {
    let at = &document.nodes[node];
    match is_closed(document, node) {
        true => {
            let end = at.span.end;
            Edit::new(end - 2..end, format!(">{new}</{}>", tag_name(document, node)))
        }
        false => {
            let last = at
                .children
                .iter()
                .rev()
                .find(|child| document.nodes[**child].kind == Kind::Element);
            match last {
                None => Edit::new(at.inner.end..at.inner.end, new),
                Some(last) => {
                    let last = &document.nodes[*last];
                    let text = &document.source.text[at.inner.start..last.span.start];
                    let blanks = &text[text.trim_end_matches([' ', '\t', '\n', '\r']).len()..];
                    Edit::new(last.span.end..last.span.end, format!("{blanks}{new}"))
                }
            }
        }
    }
}

/// The name of an element as it is written, with its prefix.
fn tag_name<'d>(document: &'d Document<'_>, node: usize) -> &'d str {
    let tag = document.slice(&document.nodes[node].span);
    let tag = tag.strip_prefix('<').unwrap_or(tag);
    &tag[..tag
        .find(|c: char| c.is_ascii_whitespace() || matches!(c, '>' | '/'))
        .unwrap_or(0)]
}

/// Puts what is missing into a node.
fn create(
    document: &Document<'_>,
    node: usize,
    rest: &[Step],
    written: &str,
    text: &str,
) -> Result<Edit, MapError> {
    let at = &document.nodes[node];
    if at.kind != Kind::Element {
        return Err(unwritable(written, "the document has another root element"));
    }
    match &rest[0] {
        Step::Attribute(name) => {
            let tag = document.slice(&at.span);
            let end = match is_closed(document, node) {
                true => at.span.end - 2,
                false => at.inner.start - 1,
            };
            let end = at.span.start + tag[..end - at.span.start].trim_end().len();
            Ok(Edit::new(
                end..end,
                format!(" {name}=\"{}\"", escaped(text, Some('"'))),
            ))
        }
        Step::Child { name, nth } => {
            if let Some(nth) = nth {
                let all = Step::Child {
                    name: name.clone(),
                    nth: None,
                };
                let there = document.step(node, &all).len();
                if there + 1 != *nth {
                    let what = format!("there are {there} of this name, so that there can be no [{nth}] yet");
                    return Err(unwritable(written, what));
                }
            }
            let has_only_text = at
                .text
                .as_deref()
                .is_some_and(|text| !text.trim_ascii().is_empty());
            if has_only_text {
                return Err(unwritable(
                    written,
                    "a text stands where the path goes on; remove it first",
                ));
            }
            let prefix = tag_name(document, node).split_once(':').map(|(prefix, _)| prefix);
            let mut name_first = rest.to_vec();
            if let Some(Step::Child { nth, .. }) = name_first.first_mut() {
                *nth = None;
            }
            let new = built(&name_first, prefix, written, text)?;
            Ok(content(document, node, &new))
        }
        Step::Text | Step::Name(_) | Step::Nth(_) | Step::Each | Step::Column(_) => Err(unwritable(
            written,
            "other elements stand in it; name one of them",
        )),
    }
}

/// An element with all that has to be in it. It takes the prefix of its parent, unless the path says another.
fn built(rest: &[Step], prefix: Option<&str>, written: &str, text: &str) -> Result<String, MapError> {
    let Some((Step::Child { name, nth }, inside)) = rest.split_first() else {
        return Ok(escaped(text, None));
    };
    if name == "*" || nth.is_some_and(|nth| nth != 1) {
        return Err(unwritable(
            written,
            "there is no such element, and it can't be made: name it, as the first of its name",
        ));
    }
    let name = match (name.contains(':'), prefix) {
        (false, Some(prefix)) => format!("{prefix}:{name}"),
        _ => name.clone(),
    };
    Ok(match inside.first() {
        Some(Step::Attribute(attribute)) => {
            format!("<{name} {attribute}=\"{}\"/>", escaped(text, Some('"')))
        }
        _ => format!("<{name}>{}</{name}>", built(inside, prefix, written, text)?),
    })
}

fn remove(document: &Document<'_>, path: &Path, written: &str) -> Result<Vec<Edit>, MapError> {
    let mut edits = vec![];
    for node in document.find(0, path) {
        let at = &document.nodes[node];
        if at.parent == 0 {
            return Err(unwritable(written, "the root element can't be removed"));
        }
        edits.push(match path.steps.last() {
            Some(Step::Text) if at.kind == Kind::Element => Edit::new(at.inner.clone(), ""),
            Some(Step::Text) => {
                return Err(unwritable(written, "text between elements can't be removed"));
            }
            _ => Edit::new(at.outer.clone(), ""),
        });
    }
    Ok(edits)
}
