//! XML documents: the elements of a name. Each part is a document of its own: UTF-8, with the namespaces that its
//! ancestors declared.

use std::borrow::Cow;

use clinic::exchange::{MapError, Reason};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::{Limits, Part, Parts, wrong};

/// How deep elements may stand in one another.
const DEEPEST: usize = 1000;
/// How many namespaces may be declared at any place.
const MOST_NAMESPACES: usize = 256;

pub(super) fn split<'a>(bytes: &'a [u8], element: &str, limits: &Limits) -> Result<Vec<Part<'a>>, MapError> {
    let text = decoded(bytes)?;
    let mut parts = Parts::new(limits);
    find(&text, element, &mut parts)?;
    if parts.parts.is_empty() {
        let what = format!("no element `{element}` in the document");
        return Err(MapError::new(Reason::RequiredMissing, None, what));
    }
    Ok(parts.parts)
}

/// The text of a document, by its byte order mark or its declaration.
fn decoded(bytes: &[u8]) -> Result<Cow<'_, str>, MapError> {
    let encoding = match bytes {
        [b'<', 0, ..] => UTF_16LE,
        [0, b'<', ..] => UTF_16BE,
        _ => declared(bytes)?,
    };
    // A byte order mark is believed before the declaration.
    let (text, encoding, damaged) = encoding.decode(bytes);
    if damaged {
        return Err(wrong(
            "line 1",
            format!(
                "bytes that are not {}, as which the document declares itself",
                encoding.name()
            ),
        ));
    }
    if let Some(at) = text.find('\0') {
        return Err(wrong(
            &line_at(&text, at),
            "a zero, which XML never has; it may be UTF-16 that says it is something else",
        ));
    }
    Ok(text)
}

/// What `<?xml … encoding="…"?>` says; UTF-8 where it says nothing, or UTF-16 in bytes that were just read as ASCII.
fn declared(bytes: &[u8]) -> Result<&'static Encoding, MapError> {
    let start = bytes.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(bytes);
    let start = &start[..start.len().min(256)];
    let Some(declaration) = start.strip_prefix(b"<?xml").and_then(|rest| {
        let end = rest.windows(2).position(|two| two == b"?>")?;
        std::str::from_utf8(&rest[..end]).ok()
    }) else {
        return Ok(UTF_8);
    };
    let Some((_, after)) = declaration.split_once("encoding") else {
        return Ok(UTF_8);
    };
    let label = after.trim_start().trim_start_matches('=').trim_start();
    let label = label.trim_start_matches(['"', '\'']);
    let label = label.split(['"', '\'']).next().unwrap_or_default();
    match Encoding::for_label(label.as_bytes()) {
        Some(encoding) if encoding == UTF_16LE || encoding == UTF_16BE => Ok(UTF_8),
        Some(encoding) => Ok(encoding),
        None => Err(wrong(
            "line 1",
            "the document declares an encoding that is not known here",
        )),
    }
}

/// An element that is being read.
struct Open {
    depth: usize,
    start: usize,
    /// Behind its name, where what it inherits is written.
    insert: usize,
    inherited: String,
}

fn find(text: &str, element: &str, parts: &mut Parts<'_, '_>) -> Result<(), MapError> {
    let mut reader = Reader::from_str(text);
    let mut scopes: Vec<Vec<(String, String)>> = Vec::new();
    let mut open: Option<Open> = None;
    loop {
        let start = position(reader.buffer_position());
        let event = reader.read_event().map_err(|_| {
            let at = position(reader.error_position());
            wrong(&line_at(text, at), "no well-formed XML from here on")
        })?;
        let ended = match event {
            Event::Start(tag) => {
                if DEEPEST <= scopes.len() {
                    return Err(wrong(
                        &line_at(text, start),
                        format!("more than {DEEPEST} elements in one another"),
                    ));
                }
                if open.is_none() && tag.local_name().into_inner() == element {
                    open = Some(begin(&tag, start, &scopes));
                }
                scopes.push(namespaces(&tag));
                if MOST_NAMESPACES < scopes.iter().map(Vec::len).sum() {
                    return Err(wrong(
                        &line_at(text, start),
                        format!("more than {MOST_NAMESPACES} namespaces declared"),
                    ));
                }
                None
            }
            Event::Empty(tag) if open.is_none() && tag.local_name().into_inner() == element => {
                Some(begin(&tag, start, &scopes))
            }
            Event::End(_) => {
                scopes.pop();
                open.take_if(|open| open.depth == scopes.len())
            }
            Event::DocType(declaration) if declaration.contains('[') => {
                let what = "the document declares entities of its own, which its parts would lack. Have it sent without DOCTYPE";
                return Err(wrong(&line_at(text, start), what));
            }
            Event::Eof if !scopes.is_empty() => {
                return Err(wrong(
                    &line_at(text, text.len()),
                    "the document ends inside of an element; it may be cut",
                ));
            }
            Event::Eof => return Ok(()),
            Event::Empty(_)
            | Event::Text(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_)
            | Event::GeneralRef(_) => None,
        };
        if let Some(part) = ended {
            let end = position(reader.buffer_position());
            let place = format!("{element}[{}]", parts.parts.len() + 1);
            let (name, rest) = (&text[part.start..part.insert], &text[part.insert..end]);
            parts.room(&place, name.len() + part.inherited.len() + rest.len())?;
            let document = [name, &part.inherited, rest].concat();
            parts.push(place, None, Cow::Owned(document.into_bytes()))?;
        }
    }
}

fn begin(tag: &BytesStart<'_>, start: usize, scopes: &[Vec<(String, String)>]) -> Open {
    let own = namespaces(tag);
    let mut inherited: Vec<&(String, String)> = Vec::new();
    for declaration in scopes.iter().rev().flatten() {
        let is_new = |known: &(String, String)| known.0 != declaration.0;
        if own.iter().all(is_new) && inherited.iter().all(|known| is_new(known)) {
            inherited.push(declaration);
        }
    }
    let mut written = String::new();
    for (name, value) in inherited {
        let quote = if value.contains('"') { '\'' } else { '"' };
        written.extend([" ", name, "="]);
        written.push(quote);
        written.push_str(value);
        written.push(quote);
    }
    Open {
        depth: scopes.len(),
        start,
        insert: start + 1 + tag.name().into_inner().len(),
        inherited: written,
    }
}

/// The namespaces that a tag declares: `xmlns`, `xmlns:p`, each with its value as it stands.
fn namespaces(tag: &BytesStart<'_>) -> Vec<(String, String)> {
    if !tag.attributes_raw().contains("xmlns") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for attribute in tag.attributes().with_checks(false).flatten() {
        let name = attribute.key.into_inner();
        // What is no name (XML 1.0 §2.3) can't stand before a colon either: nothing in a part needs it.
        let is_name = |name: &str| name.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c));
        if name == "xmlns" || name.strip_prefix("xmlns:").is_some_and(is_name) {
            found.push((name.to_owned(), attribute.value.into_owned()));
        }
    }
    found
}

fn position(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

fn line_at(text: &str, at: usize) -> String {
    let before = &text.as_bytes()[..at.min(text.len())];
    format!(
        "line {}",
        1 + before.iter().filter(|&&byte| byte == b'\n').count()
    )
}
