//! Segments being written. A piece is text that is escaped already; the delimiters are the usual ones.

use std::borrow::Cow;

use crate::hl7v2::escape::escape;
use crate::hl7v2::normalise::Dialect;

/// What empties a value (HL7 v2.5.1 §2.5.3).
const CLEAR: &str = "\"\"";

/// A text as one piece.
pub(super) fn t(text: &str) -> String {
    // The usual dialect has an escape character, so that every text can be written.
    escape(text, &Dialect::USUAL).map_or_else(|_| String::new(), Cow::into_owned)
}

/// A text that may be missing.
pub(super) fn ot(text: Option<&String>) -> String {
    text.map(|text| t(text)).unwrap_or_default()
}

/// Pieces as components.
pub(super) fn comps(pieces: Vec<String>) -> String {
    joined(pieces, "^")
}

/// Pieces as sub-components.
pub(super) fn subs(pieces: Vec<String>) -> String {
    joined(pieces, "&")
}

fn joined(mut pieces: Vec<String>, delimiter: &str) -> String {
    while pieces.last().is_some_and(String::is_empty) {
        pieces.pop();
    }
    pieces.join(delimiter)
}

/// Pieces by their number, from 1; what is between is empty.
pub(super) fn numbered(pieces: Vec<(usize, String)>) -> Vec<String> {
    let mut out: Vec<String> = vec![];
    for (number, piece) in pieces {
        if out.len() < number {
            out.resize(number, String::new());
        }
        if let Some(place) = number.checked_sub(1).and_then(|at| out.get_mut(at)) {
            *place = piece;
        }
    }
    out
}

/// A segment being written.
#[derive(Clone, Debug)]
pub(super) struct Seg {
    name: &'static str,
    fields: Vec<String>,
}

impl Seg {
    /// Without fields.
    pub(super) fn new(name: &'static str) -> Self {
        Seg { name, fields: vec![] }
    }

    /// With its number in field 1.
    pub(super) fn numbered(name: &'static str, number: usize) -> Self {
        let mut segment = Seg::new(name);
        segment.put(1, number.to_string());
        segment
    }

    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    fn field_mut(&mut self, number: usize) -> Option<&mut String> {
        if self.fields.len() < number {
            self.fields.resize(number, String::new());
        }
        number.checked_sub(1).and_then(|at| self.fields.get_mut(at))
    }

    /// Writes a field; an empty piece leaves it as it is.
    pub(super) fn put(&mut self, number: usize, piece: String) {
        if piece.is_empty() {
            return;
        }
        if let Some(field) = self.field_mut(number) {
            *field = piece;
        }
    }

    /// Writes components into a field.
    pub(super) fn comps(&mut self, number: usize, pieces: Vec<String>) {
        self.put(number, comps(pieces));
    }

    /// Writes a text.
    pub(super) fn text(&mut self, number: usize, text: Option<&String>) {
        self.put(number, ot(text));
    }

    /// Adds a repetition.
    pub(super) fn rep(&mut self, number: usize, piece: String) {
        if piece.is_empty() {
            return;
        }
        if let Some(field) = self.field_mut(number) {
            if !field.is_empty() {
                field.push('~');
            }
            field.push_str(&piece);
        }
    }

    /// Adds repetitions of components.
    pub(super) fn reps(&mut self, number: usize, all: impl IntoIterator<Item = Vec<String>>) {
        for pieces in all {
            self.rep(number, comps(pieces));
        }
    }

    /// Empties a field of the receiver, where nothing is written in it and the message says that it is emptied.
    pub(super) fn clear_if(&mut self, number: usize, cleared: bool) {
        if cleared && self.is_empty(number) {
            self.put(number, CLEAR.to_owned());
        }
    }

    /// True where nothing is written in the field.
    pub(super) fn is_empty(&self, number: usize) -> bool {
        number
            .checked_sub(1)
            .and_then(|at| self.fields.get(at))
            .is_none_or(String::is_empty)
    }

    /// True where nothing is written behind field 1.
    pub(super) fn says_nothing(&self) -> bool {
        self.fields.iter().skip(1).all(String::is_empty)
    }

    /// The segment as a line, without the CR.
    pub(super) fn line(&self) -> String {
        let mut line = self.name.to_owned();
        let last = self.fields.iter().rposition(|field| !field.is_empty());
        let written = last.map_or(0, |last| last + 1);
        // The separator behind MSH is MSH-1 itself, so that fields are counted from 2 there.
        let skip = usize::from(self.name == "MSH");
        for field in self.fields.iter().take(written).skip(skip) {
            line.push('|');
            line.push_str(field);
        }
        line
    }
}
