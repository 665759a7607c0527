//! A strict reader that knows where each value stands.

use std::collections::HashSet;

use clinic::exchange::MapError;

use crate::tree::{Arena, Document, Kind, MAX_DEPTH, Reading, Source, broken};

/// Reads a document.
pub fn read<'a>(bytes: &'a [u8], reading: &Reading) -> Result<Document<'a>, MapError> {
    let source = Source::read(bytes, None, reading.charset)?;
    let mut reader = Reader {
        text: &source.text,
        at: 0,
        arena: Arena::default(),
    };
    reader.blanks();
    let start = reader.at;
    reader.value(0, String::new(), start, 0)?;
    reader.blanks();
    if reader.at < reader.text.len() {
        return Err(reader.wrong("text after the end of the document"));
    }
    let nodes = reader.arena.nodes;
    Ok(Document {
        source,
        nodes,
        columns: vec![],
    })
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    arena: Arena,
}

impl Reader<'_> {
    fn wrong(&self, what: &str) -> MapError {
        broken(
            self.text,
            self.at,
            format!("This is no JSON: {what}. Correct it at the sender."),
        )
    }

    fn rest(&self) -> &[u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        self.at += self
            .rest()
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
            .count();
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is_there = self.rest().first() == Some(&byte);
        self.at += usize::from(is_there);
        is_there
    }

    /// One value. `outer`: where its name begins, or itself.
    fn value(&mut self, parent: usize, name: String, outer: usize, depth: usize) -> Result<usize, MapError> {
        if MAX_DEPTH < depth {
            return Err(self.wrong("nested deeper than 128 levels"));
        }
        let start = self.at;
        let kind = match self.rest().first() {
            Some(b'{') => Kind::Map,
            Some(b'[') => Kind::List,
            Some(b'"') => Kind::Text,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            _ if self.rest().starts_with(b"true") || self.rest().starts_with(b"false") => Kind::Bool,
            _ if self.rest().starts_with(b"null") => Kind::Null,
            Some(_) => return Err(self.wrong("no value begins here")),
            None => return Err(self.wrong("it ends where a value should be")),
        };
        let node = self
            .arena
            .add(kind, name, parent, start)
            .map_err(|what| self.wrong(what))?;
        match kind {
            Kind::Map => self.object(node, depth)?,
            Kind::List => self.list(node, depth)?,
            Kind::Text => {
                let text = self.string()?;
                self.arena.nodes[node].text = Some(text);
            }
            Kind::Number => {
                let length = number(self.rest()).ok_or_else(|| self.wrong("a number that is none"))?;
                self.at += length;
                self.arena.nodes[node].text = Some(self.text[start..self.at].to_owned());
            }
            Kind::Bool => {
                self.at += if self.rest().starts_with(b"true") { 4 } else { 5 };
                self.arena.nodes[node].text = Some(self.text[start..self.at].to_owned());
            }
            Kind::Null | Kind::Element | Kind::Attribute => self.at += 4,
        }
        let span = start..self.at;
        self.arena.nodes[node].outer = outer..self.at;
        self.arena.nodes[node].inner = span.clone();
        self.arena.nodes[node].span = span;
        Ok(node)
    }

    fn object(&mut self, node: usize, depth: usize) -> Result<(), MapError> {
        self.at += 1;
        self.blanks();
        if self.takes(b'}') {
            return Ok(());
        }
        let mut names = HashSet::new();
        loop {
            let start = self.at;
            if self.rest().first() != Some(&b'"') {
                return Err(self.wrong("the name of a member should begin here, with a quote"));
            }
            let name = self.string()?;
            if !names.insert(name.clone()) {
                self.at = start;
                return Err(self.wrong("this name stands twice in one object"));
            }
            self.blanks();
            if !self.takes(b':') {
                return Err(self.wrong("a colon is missing after a name"));
            }
            self.blanks();
            self.value(node, name, start, depth + 1)?;
            self.blanks();
            if self.takes(b'}') {
                return Ok(());
            }
            if !self.takes(b',') {
                return Err(self.wrong("a comma or } is missing"));
            }
            self.blanks();
        }
    }

    fn list(&mut self, node: usize, depth: usize) -> Result<(), MapError> {
        self.at += 1;
        self.blanks();
        if self.takes(b']') {
            return Ok(());
        }
        loop {
            let start = self.at;
            self.value(node, String::new(), start, depth + 1)?;
            self.blanks();
            if self.takes(b']') {
                return Ok(());
            }
            if !self.takes(b',') {
                return Err(self.wrong("a comma or ] is missing"));
            }
            self.blanks();
        }
    }

    /// A text in quotes. serde_json undoes the escapes and refuses half surrogates and control characters.
    fn string(&mut self) -> Result<String, MapError> {
        let start = self.at;
        let mut end = None;
        let mut escaped = false;
        for (at, byte) in self.rest().iter().enumerate().skip(1) {
            match byte {
                b'"' if !escaped => {
                    end = Some(at + 1);
                    break;
                }
                b'\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
        let Some(end) = end else {
            return Err(self.wrong("a text is not closed"));
        };
        let text = serde_json::from_str(&self.text[start..start + end]).map_err(|_| {
            self.wrong("a text with an escape or a control character that JSON does not have")
        })?;
        self.at = start + end;
        Ok(text)
    }
}

/// The length of a number at the beginning of some bytes.
pub(super) fn number(bytes: &[u8]) -> Option<usize> {
    let digits = |at: usize| {
        bytes
            .get(at..)
            .unwrap_or_default()
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || (1 < whole && bytes[at] == b'0') {
        return None;
    }
    at += whole;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let signed = at + 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(signed);
        if exponent == 0 {
            return None;
        }
        at = signed + exponent;
    }
    Some(at)
}
