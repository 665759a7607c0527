//! What JSON, XML and CSV have in common: a text, its values as a tree with the place of each in the text, paths that
//! lead to them, and edits that leave all other bytes as they came.

#[cfg(test)]
mod cases;
mod change;
#[cfg(test)]
mod laws;
mod path;
mod source;

use std::ops::Range;

use clinic::exchange::{MapError, Place, Reason};

pub use change::Change;
pub use path::{Path, Step};
pub use source::{Edit, Source};

use crate::hl7v2::Charset;

/// The deepest nesting that is read.
pub const MAX_DEPTH: usize = 128;

/// The most values of one document.
pub const MAX_NODES: usize = 500_000;

/// How a document without a declaration of its own is read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The charset of what does not declare one; none: UTF-8.
    pub charset: Option<Charset>,
    /// CSV: what stands between two fields; none: what the first line has most of.
    pub delimiter: Option<char>,
    /// CSV: true where the first line names the columns.
    pub header: bool,
}

impl Default for Reading {
    fn default() -> Self {
        Reading {
            charset: None,
            delimiter: None,
            header: true,
        }
    }
}

/// What a value is in its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// JSON object, XML document, CSV row: children by name.
    Map,
    /// JSON array, CSV file: children by place.
    List,
    /// A text: JSON string, CSV field, XML text between elements.
    Text,
    /// JSON number.
    Number,
    /// JSON true or false.
    Bool,
    /// JSON null.
    Null,
    /// XML element.
    Element,
    /// XML attribute.
    Attribute,
}

/// A value and where it stands.
#[derive(Clone)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// The name by which its parent has it; XML: without prefix.
    pub name: String,
    /// In which one it stands; of the root: itself.
    pub parent: usize,
    /// What stands in it, in the order of the text.
    pub children: Vec<usize>,
    /// What it says, unescaped; none: others stand in it, or nothing does.
    pub text: Option<String>,
    /// The value: of an XML element all of it, of an attribute what is between its quotes.
    pub span: Range<usize>,
    /// The value with its name.
    pub outer: Range<usize>,
    /// XML element: what is between its tags; empty at its end for `<a/>`.
    pub inner: Range<usize>,
}

/// A document that has been read.
pub struct Document<'a> {
    /// Its text.
    pub source: Source<'a>,
    /// Its values; the first is the root.
    pub nodes: Vec<Node>,
    /// CSV: the names of the columns, in order.
    pub columns: Vec<String>,
}

impl Document<'_> {
    /// The text of a place.
    pub fn slice(&self, span: &Range<usize>) -> &str {
        self.source.text.get(span.clone()).unwrap_or_default()
    }

    /// All values that a path leads to, seen from a node. A list counts as each of its entries.
    pub fn select(&self, from: usize, path: &Path) -> Vec<usize> {
        let mut nodes = self.find(from, path);
        if nodes.iter().any(|node| self.nodes[*node].kind == Kind::List) {
            nodes = nodes.into_iter().flat_map(|node| self.flat(node)).collect();
        }
        nodes
    }

    /// As [`Document::select`], but a list is itself.
    pub fn find(&self, from: usize, path: &Path) -> Vec<usize> {
        let mut nodes = vec![if path.from_root { 0 } else { from }];
        for step in &path.steps {
            nodes = nodes.into_iter().flat_map(|node| self.step(node, step)).collect();
        }
        nodes
    }

    /// The entries of a list, and of lists in it; anything else is itself.
    pub fn flat(&self, node: usize) -> Vec<usize> {
        match self.nodes[node].kind {
            Kind::List => self.nodes[node]
                .children
                .iter()
                .flat_map(|child| self.flat(*child))
                .collect(),
            Kind::Map
            | Kind::Text
            | Kind::Number
            | Kind::Bool
            | Kind::Null
            | Kind::Element
            | Kind::Attribute => vec![node],
        }
    }

    /// Where one step leads from one node.
    pub fn step(&self, node: usize, step: &Step) -> Vec<usize> {
        let at = &self.nodes[node];
        let children = at.children.iter().copied();
        let of_kind = |kind: Kind, name: &str| -> Vec<usize> {
            children
                .clone()
                .filter(|child| self.nodes[*child].kind == kind && self.nodes[*child].name == name)
                .collect()
        };
        match step {
            Step::Name(name) => match at.kind {
                Kind::List => children.flat_map(|child| self.step(child, step)).collect(),
                Kind::Map => children
                    .filter(|child| self.nodes[*child].name == *name)
                    .collect(),
                Kind::Text | Kind::Number | Kind::Bool | Kind::Null | Kind::Element | Kind::Attribute => {
                    vec![]
                }
            },
            Step::Nth(nth) if at.kind == Kind::List => at.children.get(*nth).copied().into_iter().collect(),
            Step::Nth(_) => vec![],
            Step::Each if at.kind == Kind::List => at.children.clone(),
            Step::Each => vec![],
            Step::Column(nth) => match at.kind {
                Kind::List => children.flat_map(|child| self.step(child, step)).collect(),
                Kind::Map => at.children.get(*nth).copied().into_iter().collect(),
                Kind::Text | Kind::Number | Kind::Bool | Kind::Null | Kind::Element | Kind::Attribute => {
                    vec![]
                }
            },
            Step::Child { name, nth } => {
                let mut found = children.filter(|child| {
                    self.nodes[*child].kind == Kind::Element
                        && (name == "*" || self.nodes[*child].name == path::local(name))
                });
                match nth {
                    Some(nth) => found.nth(nth - 1).into_iter().collect(),
                    None => found.collect(),
                }
            }
            Step::Attribute(name) => of_kind(Kind::Attribute, name),
            Step::Text if at.text.is_some() => vec![node],
            Step::Text => of_kind(Kind::Text, "text()"),
        }
    }

    /// Where a value stands, as a path of its format.
    pub fn place(&self, node: usize) -> String {
        let mut parts = vec![];
        let mut at = node;
        while at != 0 {
            let this = &self.nodes[at];
            let parent = &self.nodes[this.parent];
            let nth = || parent.children.binary_search(&at).unwrap_or_default();
            parts.push(match (this.kind, parent.kind) {
                (Kind::Attribute, _) => format!("/@{}", this.name),
                (Kind::Element, _) => {
                    let before = parent.children.iter().take_while(|child| **child != at);
                    let same = before.filter(|child| {
                        let child = &self.nodes[**child];
                        child.kind == Kind::Element && child.name == this.name
                    });
                    match same.count() {
                        0 => format!("/{}", this.name),
                        count => format!("/{}[{}]", this.name, count + 1),
                    }
                }
                (Kind::Text, Kind::Element) => "/text()".to_owned(),
                (_, Kind::List) if !self.columns.is_empty() => format!("[{}]", nth() + 1),
                (_, Kind::List) => format!("[{}]", nth()),
                _ => format!(".{}", this.name),
            });
            at = this.parent;
        }
        parts.reverse();
        let place = parts.concat();
        place.strip_prefix('.').map(str::to_owned).unwrap_or(place)
    }

    /// The texts at a path: of a value its text, of what others stand in the text as it is in the document.
    pub fn values(&self, from: usize, path: &Path) -> Vec<String> {
        self.select(from, path)
            .into_iter()
            .filter_map(|node| {
                let node = &self.nodes[node];
                match node.kind {
                    Kind::Null => None,
                    Kind::Map | Kind::List => Some(self.slice(&node.span).to_owned()),
                    Kind::Element => Some(
                        node.text
                            .clone()
                            .unwrap_or_else(|| self.slice(&node.inner).to_owned()),
                    ),
                    Kind::Text | Kind::Number | Kind::Bool | Kind::Attribute => node.text.clone(),
                }
            })
            .collect()
    }
}

/// Line and column of a byte of a text, both from 1; the column counts letters.
pub fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let bytes = &text.as_bytes()[..at.min(text.len())];
    let line_start = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    let line = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    let letters = bytes[line_start..]
        .iter()
        .filter(|byte| **byte & 0xC0 != 0x80)
        .count();
    (line, letters + 1)
}

/// The document can't be read, here.
pub(crate) fn broken(text: &str, at: usize, what: impl Into<String>) -> MapError {
    let (line, column) = line_and_column(text, at);
    MapError {
        reason: Reason::DataType,
        place: Some(Place(format!("{line}:{column}"))),
        what: what.into(),
    }
}

/// A value can't be written at a path.
pub(crate) fn unwritable(path: &str, what: impl Into<String>) -> MapError {
    MapError::new(Reason::DataType, Some(path), what)
}

/// The arena that readers fill.
#[derive(Default)]
pub(crate) struct Arena {
    pub nodes: Vec<Node>,
}

impl Arena {
    /// Adds a node to its parent. The error is that there are too many.
    pub fn add(
        &mut self,
        kind: Kind,
        name: String,
        parent: usize,
        start: usize,
    ) -> Result<usize, &'static str> {
        let id = self.nodes.len();
        if MAX_NODES <= id {
            return Err("more values than the 500,000 that one document may have; send it in parts");
        }
        self.nodes.push(Node {
            kind,
            name,
            parent,
            children: vec![],
            text: None,
            span: start..start,
            outer: start..start,
            inner: start..start,
        });
        if id != parent {
            self.nodes[parent].children.push(id);
        }
        Ok(id)
    }
}
