//! A document that is being written, and how each kind is written.

use clinic::exchange::{MapError, Reason};

use super::Wire;
use crate::tree::{Path, Step};
use crate::{csv, json, xml};

/// How a value is written in JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    Text,
    /// As it is: a number, true, false.
    Raw,
}

/// A part of a document.
pub(super) enum Out {
    Empty,
    Leaf(String, As),
    Map(Vec<(String, Out)>),
    List(Vec<Out>),
}

/// What XML calls an attribute, and the text of an element, among the members of an element.
const ATTRIBUTE: char = '@';
const TEXT: &str = "#";

impl Out {
    /// Puts a value at a path. The error says why it can't stand there.
    pub fn put(&mut self, steps: &[Step], text: &str, how: As) -> Result<(), &'static str> {
        let Some((step, rest)) = steps.split_first() else {
            return match self {
                Out::Empty => {
                    *self = Out::Leaf(text.to_owned(), how);
                    Ok(())
                }
                // What is the same in each record may be named in each.
                Out::Leaf(known, _) if known.as_str() == text => Ok(()),
                Out::Leaf(..) => Err("two values are written to one place"),
                // An element with attributes has its text beside them.
                Out::Map(members) => {
                    members.push((TEXT.to_owned(), Out::Leaf(text.to_owned(), how)));
                    Ok(())
                }
                Out::List(_) => Err("a single value and several are written to one place"),
            };
        };
        match step {
            Step::Name(name) => self.member(name)?.put(rest, text, how),
            Step::Child { name, nth } => {
                let list = self.member(name)?;
                list.entry(nth.unwrap_or(1) - 1)?.put(rest, text, how)
            }
            Step::Attribute(name) => self.member(&format!("{ATTRIBUTE}{name}"))?.put(rest, text, how),
            Step::Nth(nth) => self.entry(*nth)?.put(rest, text, how),
            Step::Text => self.put(rest, text, how),
            Step::Each | Step::Column(_) => Err("a path that leads to several places can't be written"),
        }
    }

    fn member(&mut self, name: &str) -> Result<&mut Out, &'static str> {
        match self {
            Out::Empty => *self = Out::Map(vec![]),
            Out::Leaf(text, how) => {
                let text = std::mem::take(text);
                *self = Out::Map(vec![(TEXT.to_owned(), Out::Leaf(text, *how))]);
            }
            Out::Map(_) => {}
            Out::List(_) => return Err("a name and an index are written to one place"),
        }
        let Out::Map(members) = self else {
            return Err("a name and a value are written to one place");
        };
        let idx = match members.iter().position(|(known, _)| known == name) {
            Some(idx) => idx,
            None => {
                members.push((name.to_owned(), Out::Empty));
                members.len() - 1
            }
        };
        members
            .get_mut(idx)
            .map(|(_, out)| out)
            .ok_or("a member that is not there")
    }

    fn entry(&mut self, nth: usize) -> Result<&mut Out, &'static str> {
        if let Out::Empty = self {
            *self = Out::List(vec![]);
        }
        let Out::List(entries) = self else {
            return Err("a name and an index are written to one place");
        };
        while entries.len() <= nth {
            entries.push(Out::Empty);
        }
        entries.get_mut(nth).ok_or("an entry that is not there")
    }

    /// The whole as JSON.
    pub fn json(&self, out: &mut String) {
        match self {
            Out::Empty => out.push_str("null"),
            Out::Leaf(text, As::Raw) if json::is_number(text) || text == "true" || text == "false" => {
                out.push_str(text)
            }
            Out::Leaf(text, _) => out.push_str(&json::literal(text)),
            Out::Map(members) => {
                out.push('{');
                for (idx, (name, value)) in members.iter().enumerate() {
                    out.push_str(if idx == 0 { "" } else { "," });
                    out.push_str(&json::literal(name));
                    out.push(':');
                    value.json(out);
                }
                out.push('}');
            }
            Out::List(entries) => {
                out.push('[');
                for (idx, entry) in entries.iter().enumerate() {
                    out.push_str(if idx == 0 { "" } else { "," });
                    entry.json(out);
                }
                out.push(']');
            }
        }
    }

    /// The elements in it as XML.
    pub fn xml(&self, out: &mut String) {
        let Out::Map(members) = self else {
            if let Out::Leaf(text, _) = self {
                out.push_str(&xml::escaped(text, None));
            }
            return;
        };
        for (name, value) in members {
            if name.starts_with(ATTRIBUTE) {
                continue;
            }
            if name == TEXT {
                value.xml(out);
                continue;
            }
            let Out::List(elements) = value else { continue };
            for element in elements {
                out.push('<');
                out.push_str(name);
                element.attributes(out);
                let mut inside = String::new();
                element.xml(&mut inside);
                match inside.is_empty() {
                    true => out.push_str("/>"),
                    false => {
                        out.push('>');
                        out.push_str(&inside);
                        out.push_str("</");
                        out.push_str(name);
                        out.push('>');
                    }
                }
            }
        }
    }

    fn attributes(&self, out: &mut String) {
        let Out::Map(members) = self else { return };
        for (name, value) in members {
            if let (Some(name), Out::Leaf(text, _)) = (name.strip_prefix(ATTRIBUTE), value) {
                out.push_str(&format!(" {name}=\"{}\"", xml::escaped(text, Some('"'))));
            }
        }
    }
}

/// The document as text.
pub(super) fn written(
    out: &Out,
    wire: Wire,
    columns: &[Path],
    delimiter: char,
    header: bool,
) -> Result<String, MapError> {
    let mut text = String::new();
    match wire {
        Wire::Json => out.json(&mut text),
        Wire::Xml => {
            let roots = match out {
                Out::Map(members) => members.iter().map(|(_, value)| match value {
                    Out::List(elements) => elements.len(),
                    Out::Empty | Out::Leaf(..) | Out::Map(_) => 0,
                }),
                Out::Empty | Out::Leaf(..) | Out::List(_) => {
                    return Err(MapError::new(
                        Reason::RequiredMissing,
                        None,
                        "The mapping writes nothing of this change set.",
                    ));
                }
            };
            if roots.sum::<usize>() != 1 {
                let what = "The mapping writes several root elements: begin each path with the same one, as /order/….";
                return Err(MapError::new(Reason::Sequence, None, what));
            }
            text.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
            out.xml(&mut text);
            text.push('\n');
        }
        Wire::Csv => table(out, columns, delimiter, header, &mut text),
    }
    Ok(text)
}

/// Rows of fields in the order in which the mapping names the columns.
fn table(out: &Out, columns: &[Path], delimiter: char, header: bool, text: &mut String) {
    let names: Vec<&str> = columns
        .iter()
        .filter_map(|path| match path.steps.last() {
            Some(Step::Name(name)) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let mut line = |fields: Vec<String>| {
        text.push_str(&fields.join(&delimiter.to_string()));
        text.push_str("\r\n");
    };
    if header {
        line(
            names
                .iter()
                .map(|name| csv::field(name, delimiter, false))
                .collect(),
        );
    }
    let Out::List(rows) = out else { return };
    for row in rows {
        let field = |name: &&str| match row {
            Out::Map(members) => members
                .iter()
                .find_map(|(known, value)| match value {
                    Out::Leaf(text, _) if known == name => Some(csv::field(text, delimiter, false)),
                    _ => None,
                })
                .unwrap_or_default(),
            Out::Empty | Out::Leaf(..) | Out::List(_) => String::new(),
        };
        line(names.iter().map(field).collect());
    }
}
