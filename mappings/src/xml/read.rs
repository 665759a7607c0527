//! A reader that knows where each value stands. quick-xml finds the tags; what it leaves open is checked here.

use clinic::exchange::MapError;
use quick_xml::Reader as Tags;
use quick_xml::events::Event;

use crate::hl7v2::Charset;
use crate::tree::{Arena, Document, Kind, MAX_DEPTH, Reading, Source, broken};

/// Reads a document.
pub fn read<'a>(bytes: &'a [u8], reading: &Reading) -> Result<Document<'a>, MapError> {
    let source = Source::read(bytes, declared(bytes)?, reading.charset)?;
    let mut reader = Reader {
        text: &source.text,
        arena: Arena::default(),
        open: vec![0],
        said: vec![String::new()],
    };
    reader.add(Kind::Map, String::new(), 0, 0, source.text.len())?;
    reader.read()?;
    let nodes = reader.arena.nodes;
    Ok(Document {
        source,
        nodes,
        columns: vec![],
    })
}

/// The charset that the declaration names. What it says is read as ASCII, which all charsets here contain.
fn declared(bytes: &[u8]) -> Result<Option<Charset>, MapError> {
    if !bytes.starts_with(b"<?xml") {
        return Ok(None);
    }
    let end = bytes
        .iter()
        .take(1024)
        .position(|byte| *byte == b'>')
        .unwrap_or(0);
    let declaration = String::from_utf8_lossy(&bytes[..end]);
    let Some((_, after)) = declaration.split_once("encoding") else {
        return Ok(None);
    };
    let after = after.trim_start().strip_prefix('=').unwrap_or(after).trim_start();
    let name = after
        .strip_prefix(['"', '\''])
        .and_then(|quoted| quoted.split(['"', '\'']).next())
        .unwrap_or_default();
    match Charset::named(name) {
        // Without a byte order mark it can be no UTF-16: the declaration was read.
        Some(Charset::Utf16Le | Charset::Utf16Be) => Ok(Some(Charset::Utf8)),
        Some(charset) => Ok(Some(charset)),
        None => {
            let name: String = name.chars().take(40).collect();
            Err(broken(
                &declaration,
                0,
                format!("The declared encoding {name:?} is not known. Send it as UTF-8."),
            ))
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    arena: Arena,
    /// The elements that are open, the document first.
    open: Vec<usize>,
    /// The text of each.
    said: Vec<String>,
}

impl<'t> Reader<'t> {
    fn wrong(&self, at: usize, what: impl std::fmt::Display) -> MapError {
        broken(
            self.text,
            at,
            format!("This is no XML: {what}. Correct it at the sender."),
        )
    }

    fn add(
        &mut self,
        kind: Kind,
        name: String,
        parent: usize,
        start: usize,
        end: usize,
    ) -> Result<usize, MapError> {
        let node = self
            .arena
            .add(kind, name, parent, start)
            .map_err(|what| broken(self.text, start, what))?;
        let at = &mut self.arena.nodes[node];
        (at.span, at.outer, at.inner) = (start..end, start..end, start..end);
        Ok(node)
    }

    fn read(&mut self) -> Result<(), MapError> {
        let mut tags = Tags::from_str(self.text);
        let mut start = 0;
        loop {
            let event = tags.read_event().map_err(|error| {
                let at = usize::try_from(tags.error_position()).unwrap_or(start);
                self.wrong(at, lower(&error.to_string()))
            })?;
            let end = usize::try_from(tags.buffer_position()).unwrap_or(start);
            match event {
                Event::Start(_) => self.open(start, end, false)?,
                Event::Empty(_) => self.open(start, end, true)?,
                Event::End(_) => self.close(start, end)?,
                Event::Text(text) => {
                    let text = text.xml10_content();
                    if text.contains(forbidden) {
                        return Err(self.wrong(start, "a character that XML does not have"));
                    }
                    self.say(&text, start)?;
                }
                Event::CData(text) => self.say(&text.xml10_content(), start)?,
                Event::GeneralRef(reference) => {
                    let character = entity(&reference).ok_or_else(|| {
                        self.wrong(
                            start,
                            "an entity that is none of the five of XML and no character",
                        )
                    })?;
                    self.say(character.encode_utf8(&mut [0; 4]), start)?;
                }
                Event::DocType(_) => return Err(self.wrong(start, "a document type is not taken")),
                Event::Decl(_) if start != 0 => {
                    return Err(self.wrong(start, "a declaration that is not at the beginning"));
                }
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
                Event::Eof => break,
            }
            start = end;
        }
        if self.open.len() > 1 {
            return Err(self.wrong(self.text.len(), "it ends before all its elements are closed"));
        }
        let has_root = self.arena.nodes[0]
            .children
            .iter()
            .any(|child| self.arena.nodes[*child].kind == Kind::Element);
        match has_root {
            true => Ok(()),
            false => Err(self.wrong(0, "there is no element")),
        }
    }

    fn say(&mut self, text: &str, at: usize) -> Result<(), MapError> {
        if self.open.len() == 1 {
            return match text.trim_ascii().is_empty() {
                true => Ok(()),
                false => Err(self.wrong(at, "text outside of the root element")),
            };
        }
        if let Some(said) = self.said.last_mut() {
            said.push_str(text);
        }
        Ok(())
    }

    fn open(&mut self, start: usize, end: usize, is_closed: bool) -> Result<(), MapError> {
        let parent = self.open.last().copied().unwrap_or_default();
        if self.open.len() == 1 && !self.arena.nodes[0].children.is_empty() {
            return Err(self.wrong(start, "a second root element"));
        }
        if MAX_DEPTH < self.open.len() {
            return Err(self.wrong(start, "nested deeper than 128 levels"));
        }
        let inside_end = end - if is_closed { 2 } else { 1 };
        let name_end = self.text[start + 1..inside_end]
            .find(|c: char| c.is_ascii_whitespace())
            .map_or(inside_end, |at| start + 1 + at);
        let name = &self.text[start + 1..name_end];
        if !is_name(name) {
            return Err(self.wrong(start + 1, "this is no name of an element"));
        }
        let node = self.add(Kind::Element, local(name).to_owned(), parent, start, end)?;
        self.arena.nodes[node].inner = end..end;
        self.attributes(node, name_end, inside_end)?;
        match is_closed {
            true => self.arena.nodes[node].text = Some(String::new()),
            false => {
                self.open.push(node);
                self.said.push(String::new());
            }
        }
        Ok(())
    }

    fn attributes(&mut self, node: usize, start: usize, end: usize) -> Result<(), MapError> {
        let mut at = start;
        let mut names: Vec<&'t str> = vec![];
        loop {
            let text: &'t str = &self.text[at..end];
            let trimmed = text.trim_ascii_start();
            if trimmed.is_empty() {
                return Ok(());
            }
            let outer = at;
            at += text.len() - trimmed.len();
            if at == outer {
                return Err(self.wrong(at, "a blank is missing before an attribute"));
            }
            let name_end = trimmed
                .find(|c: char| c == '=' || c.is_ascii_whitespace())
                .unwrap_or(trimmed.len());
            let name = &trimmed[..name_end];
            if !is_name(name) {
                return Err(self.wrong(at, "this is no name of an attribute"));
            }
            if names.contains(&name) {
                return Err(self.wrong(at, "an attribute that stands twice"));
            }
            names.push(name);
            let after = trimmed[name_end..].trim_ascii_start();
            let value = after.strip_prefix('=').map(str::trim_ascii_start);
            let quoted = value.and_then(|value| {
                let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
                let inside = &value[1..];
                Some(&inside[..inside.find(quote)?])
            });
            let (Some(value), Some(raw)) = (value, quoted) else {
                return Err(self.wrong(at, "an attribute without a value in quotes"));
            };
            let value_start = end - value.len() + 1;
            let value_end = value_start + raw.len();
            let text = self.unescaped(raw, value_start)?;
            let attribute = self.add(
                Kind::Attribute,
                local(name).to_owned(),
                node,
                value_start,
                value_end,
            )?;
            let added = &mut self.arena.nodes[attribute];
            added.outer = outer..value_end + 1;
            if name == "xmlns" || name.starts_with("xmlns:") {
                // A declaration of a namespace is no value, but its name is kept whole to be found by it.
                added.name = name.to_owned();
            }
            added.text = Some(text);
            at = value_end + 1;
        }
    }

    fn unescaped(&self, raw: &str, at: usize) -> Result<String, MapError> {
        if raw.contains('<') || raw.contains(forbidden) {
            return Err(self.wrong(at, "a character that can't stand in an attribute"));
        }
        let mut out = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some((before, after)) = rest.split_once('&') {
            out.push_str(before);
            let Some((name, after)) = after.split_once(';') else {
                return Err(self.wrong(at, "an & that begins no entity"));
            };
            let Some(character) = entity(name) else {
                return Err(self.wrong(at, "an entity that is none of the five of XML and no character"));
            };
            out.push(character);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn close(&mut self, start: usize, end: usize) -> Result<(), MapError> {
        let (Some(node), Some(said)) = (self.open.pop(), self.said.pop()) else {
            return Err(self.wrong(start, "an end without a beginning"));
        };
        if self.open.is_empty() {
            return Err(self.wrong(start, "an end without a beginning"));
        }
        let at = &mut self.arena.nodes[node];
        at.inner.end = start;
        at.span.end = end;
        at.outer.end = end;
        let inner = at.inner.clone();
        let has_elements = {
            let children = self.arena.nodes[node].children.iter();
            children
                .clone()
                .any(|child| self.arena.nodes[*child].kind == Kind::Element)
        };
        if !has_elements {
            self.arena.nodes[node].text = Some(said);
        } else if !said.trim_ascii().is_empty() {
            // Text between elements: nothing that is written is left out of the tree.
            let text = self.add(Kind::Text, "text()".into(), node, inner.start, inner.end)?;
            self.arena.nodes[text].text = Some(said.trim_ascii().to_owned());
        }
        Ok(())
    }
}

/// `amp`, `#233`, `#xE9`.
pub(super) fn entity(name: &str) -> Option<char> {
    let character = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let (digits, radix) = match number.strip_prefix('x') {
                Some(digits) => (digits, 16),
                None => (number, 10),
            };
            if digits.starts_with('+') {
                return None;
            }
            char::from_u32(u32::from_str_radix(digits, radix).ok()?)?
        }
    };
    (!forbidden(character)).then_some(character)
}

/// What XML 1.0 has no place for (§2.2).
pub(super) fn forbidden(character: char) -> bool {
    matches!(character, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// A name, with or without a prefix (XML 1.0 §2.3, all letters beyond ASCII taken).
pub fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    let part = |part: &str| {
        part.starts_with(first)
            && part
                .chars()
                .all(|c| first(c) || c.is_ascii_digit() || matches!(c, '-' | '.'))
    };
    match name.split_once(':') {
        Some((prefix, local)) => part(prefix) && part(local),
        None => part(name),
    }
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

/// An error of quick-xml as the middle of a sentence, without what it quotes of the document.
fn lower(error: &str) -> String {
    let known = error.split(['`', '"', '\'']).next().unwrap_or_default();
    let known = known.trim().trim_end_matches([':', '.', ',']);
    let mut letters = known.chars();
    letters.next().map_or_else(
        || "a tag that can't be read".to_owned(),
        |first| first.to_lowercase().chain(letters).collect(),
    )
}
