//! A document as plain values, for scripts that build or go through one:
//!
//! ```json
//! { "name": "order", "attributes": { "id": "7" }, "children": [
//!     { "name": "item", "attributes": {}, "children": ["Potassium"] } ] }
//! ```
//!
//! The root element; names as they are written, with their prefix. A child is an element or a text, which has no escapes.
//! Blanks between elements are layout and no child; comments and instructions are none either. What is written may be
//! shorter: attributes and children may be left out, a number is a text.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use clinic::exchange::{MapError, Reason};
use serde_json::{Value, json};

use super::read::{entity, forbidden};
use super::{escaped, is_name, read};
use crate::tree::{Document, Edit, Kind, MAX_NODES, Reading};

/// The deepest nesting of a tree: a value of JSON has two levels for each, and its readers take 128.
pub const DEEPEST: usize = 60;

/// So far a child that stays the same is looked for among those that were there.
const AHEAD: usize = 2000;

/// A document as such a tree.
pub fn tree(bytes: &[u8], reading: &Reading) -> Result<Value, MapError> {
    let document = read(bytes, reading)?;
    Ok(value(&Old::root(&document)?.element()))
}

/// The document that a tree says. What is the same in both stays byte for byte as it came, with layout and comments.
pub fn with_tree(bytes: &[u8], tree: &Value, reading: &Reading) -> Result<Vec<u8>, MapError> {
    let document = read(bytes, reading)?;
    let old = Old::root(&document)?;
    let new = element(tree, 1, &mut 0)?;
    let mut writer = Writer {
        text: &document.source.text,
        edits: vec![],
    };
    writer.replace(&old, &new);
    document.source.edited(writer.edits)
}

/// An element as values.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    children: Vec<Child>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Child {
    Element(Element),
    Text(String),
}

fn value(element: &Element) -> Value {
    let children = element.children.iter().map(|child| match child {
        Child::Element(element) => value(element),
        Child::Text(text) => Value::from(text.as_str()),
    });
    json!({
        "name": element.name,
        "attributes": element.attributes,
        "children": children.collect::<Vec<Value>>(),
    })
}

fn wrong(what: impl Into<String>) -> MapError {
    MapError::new(Reason::DataType, None, what)
}

/// Reads what a script has made of a tree.
fn element(value: &Value, depth: usize, count: &mut usize) -> Result<Element, MapError> {
    *count += 1;
    if MAX_NODES < *count {
        return Err(wrong(
            "the tree has more values than the 500,000 that a document may have",
        ));
    }
    if DEEPEST < depth {
        return Err(wrong(format!("the tree is nested deeper than {DEEPEST} levels")));
    }
    let object = value
        .as_object()
        .ok_or_else(|| wrong("an element is { name, attributes, children }, and a child that or a text"))?;
    let known = ["name", "attributes", "children"];
    if let Some(key) = object.keys().find(|key| !known.contains(&key.as_str())) {
        let key: String = key.chars().take(40).collect();
        return Err(wrong(format!(
            "an element has name, attributes and children, and no {key:?}"
        )));
    }
    let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
    if !is_name(name) {
        return Err(wrong("the name of an element is no name of XML"));
    }
    let mut attributes = BTreeMap::new();
    match object.get("attributes") {
        None | Some(Value::Null) => {}
        Some(Value::Object(written)) => {
            for (attribute, value) in written {
                if !is_name(attribute) {
                    return Err(wrong(format!("an attribute of <{name}> has no name of XML")));
                }
                *count += 1;
                attributes.insert(attribute.clone(), plain(value, name)?);
            }
        }
        Some(_) => return Err(wrong(format!("the attributes of <{name}> are no object"))),
    }
    let mut children = vec![];
    match object.get("children") {
        None | Some(Value::Null) => {}
        Some(Value::Array(written)) => {
            for child in written {
                children.push(match child {
                    Value::Object(_) => Child::Element(element(child, depth + 1, count)?),
                    other => Child::Text(plain(other, name)?),
                });
            }
        }
        Some(_) => return Err(wrong(format!("the children of <{name}> are no list"))),
    }
    Ok(Element {
        name: name.to_owned(),
        attributes,
        children,
    })
}

/// A text, or a number or a truth as one.
fn plain(value: &Value, within: &str) -> Result<String, MapError> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            return Err(wrong(format!("a value in <{within}> is no text")));
        }
    };
    if text.contains(forbidden) {
        return Err(wrong(format!(
            "a value in <{within}> has a character that XML does not have"
        )));
    }
    Ok(text)
}

/// An element of the document, and where it stands.
struct Old {
    name: String,
    attributes: Vec<OldAttribute>,
    children: Vec<OldChild>,
    span: Range<usize>,
    /// Between its tags; none for `<a/>`.
    inner: Option<Range<usize>>,
    /// Where one more attribute is written.
    tag_end: usize,
}

struct OldAttribute {
    name: String,
    text: String,
    /// Between its quotes.
    span: Range<usize>,
    /// With its name and the blanks before.
    outer: Range<usize>,
}

struct OldChild {
    what: What,
    span: Range<usize>,
    /// The blanks before an element.
    layout: Range<usize>,
}

enum What {
    Element(Old),
    Text(String),
}

impl Old {
    fn root(document: &Document<'_>) -> Result<Old, MapError> {
        let mut roots = document.nodes[0].children.iter();
        let root = roots.find(|node| document.nodes[**node].kind == Kind::Element);
        let root = root.ok_or_else(|| wrong("there is no element"))?;
        Old::of(document, *root, 1)
    }

    fn of(document: &Document<'_>, node: usize, depth: usize) -> Result<Old, MapError> {
        if DEEPEST < depth {
            return Err(wrong(format!(
                "the document is nested deeper than {DEEPEST} levels; read it by paths"
            )));
        }
        let text: &str = &document.source.text;
        let at = &document.nodes[node];
        let is_closed = at.inner.is_empty() && at.inner.start == at.span.end;
        let tag =
            text[at.span.start + 1..].split(|c: char| c.is_ascii_whitespace() || matches!(c, '>' | '/'));
        let name = tag.into_iter().next().unwrap_or_default().to_owned();
        let mut old = Old {
            name,
            attributes: vec![],
            children: vec![],
            span: at.span.clone(),
            inner: (!is_closed).then(|| at.inner.clone()),
            tag_end: 0,
        };
        let tag_end = if is_closed {
            at.span.end - 2
        } else {
            at.inner.start - 1
        };
        old.tag_end = at.span.start + text[at.span.start..tag_end].trim_end().len();
        let mut from = at.inner.start;
        for child in &at.children {
            let node = &document.nodes[*child];
            match node.kind {
                Kind::Attribute => old.attributes.push(OldAttribute {
                    name: text[node.outer.clone()]
                        .trim_start()
                        .split(|c: char| c == '=' || c.is_ascii_whitespace())
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                    text: node.text.clone().unwrap_or_default(),
                    span: node.span.clone(),
                    outer: node.outer.clone(),
                }),
                Kind::Element => {
                    let blanks = runs(text, from..node.span.start);
                    let layout = blanks
                        .last()
                        .filter(|run| run.is_blank() && run.span.end == node.span.start)
                        .map_or(node.span.start..node.span.start, |blank| blank.span.clone());
                    old.children
                        .extend(blanks.into_iter().filter(|run| !run.is_blank()));
                    old.children.push(OldChild {
                        what: What::Element(Old::of(document, *child, depth + 1)?),
                        span: node.span.clone(),
                        layout,
                    });
                    from = node.span.end;
                }
                Kind::Text | Kind::Map | Kind::List | Kind::Number | Kind::Bool | Kind::Null => {}
            }
        }
        if let Some(inner) = &old.inner {
            let rest = runs(text, from..inner.end);
            // Blanks are layout only beside elements.
            let is_leaf = !old
                .children
                .iter()
                .any(|child| matches!(child.what, What::Element(_)));
            old.children
                .extend(rest.into_iter().filter(|run| is_leaf || !run.is_blank()));
        }
        Ok(old)
    }

    fn element(&self) -> Element {
        Element {
            name: self.name.clone(),
            attributes: self.said(),
            children: self.children.iter().map(OldChild::child).collect(),
        }
    }

    fn said(&self) -> BTreeMap<String, String> {
        let attributes = self.attributes.iter();
        attributes
            .map(|attribute| (attribute.name.clone(), attribute.text.clone()))
            .collect()
    }
}

impl OldChild {
    fn child(&self) -> Child {
        match &self.what {
            What::Element(old) => Child::Element(old.element()),
            What::Text(text) => Child::Text(text.clone()),
        }
    }

    fn is_blank(&self) -> bool {
        matches!(&self.what, What::Text(text) if text.trim_ascii().is_empty())
    }

    fn named(&self, name: &str) -> Option<&Old> {
        match &self.what {
            What::Element(old) if old.name == name => Some(old),
            What::Element(_) | What::Text(_) => None,
        }
    }
}

/// The texts between two tags. Comments and instructions part them.
fn runs(text: &str, gap: Range<usize>) -> Vec<OldChild> {
    let mut found: Vec<OldChild> = vec![];
    let mut open: Option<(usize, String)> = None;
    let mut at = gap.start;
    let close = |open: &mut Option<(usize, String)>, end: usize, found: &mut Vec<OldChild>| {
        if let Some((start, said)) = open.take()
            && !said.is_empty()
        {
            found.push(OldChild {
                what: What::Text(said),
                span: start..end,
                layout: start..start,
            });
        }
    };
    while at < gap.end {
        let rest = &text[at..gap.end];
        let after = |end: &str| rest.find(end).map_or(rest.len(), |place| place + end.len());
        if let Some(comment) = rest.strip_prefix("<!--") {
            close(&mut open, at, &mut found);
            at += 4 + comment.find("-->").map_or(comment.len(), |place| place + 3);
        } else if rest.starts_with("<?") {
            close(&mut open, at, &mut found);
            at += after("?>");
        } else if let Some(data) = rest.strip_prefix("<![CDATA[") {
            let (_, said) = open.get_or_insert((at, String::new()));
            said.push_str(&lines(data.split("]]>").next().unwrap_or_default()));
            at += after("]]>");
        } else {
            let end = rest.find('<').filter(|end| *end != 0).unwrap_or(rest.len());
            let (_, said) = open.get_or_insert((at, String::new()));
            said.push_str(&unescaped(&lines(&rest[..end])));
            at += end;
        }
    }
    close(&mut open, gap.end, &mut found);
    found
}

/// Ends of lines as XML reads them (§2.11).
fn lines(raw: &str) -> String {
    raw.replace("\r\n", "\n").replace('\r', "\n")
}

fn unescaped(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        // The reader has seen to it that each is one.
        let (name, after) = after.split_once(';').unwrap_or((after, ""));
        out.extend(entity(name));
        rest = after;
    }
    out.push_str(rest);
    out
}

struct Writer<'t> {
    text: &'t str,
    edits: Vec<Edit>,
}

impl Writer<'_> {
    /// Makes of one element another.
    fn replace(&mut self, old: &Old, new: &Element) {
        if old.name != new.name {
            self.edits.push(Edit::new(old.span.clone(), written(new)));
            return;
        }
        self.attributes(old, new);
        let before: Vec<Child> = old.children.iter().map(OldChild::child).collect();
        if before == new.children {
            return;
        }
        let is_element = |child: &Child| matches!(child, Child::Element(_));
        let keeps_layout = old.inner.is_some()
            && before.iter().any(is_element)
            && !new.children.is_empty()
            && new.children.iter().all(is_element);
        let kept = kept(&old.children, &before, &new.children);
        if keeps_layout {
            self.in_layout(old, new, &kept);
        } else {
            self.anew(old, new, &kept);
        }
    }

    fn attributes(&mut self, old: &Old, new: &Element) {
        for attribute in &old.attributes {
            match new.attributes.get(&attribute.name) {
                Some(text) if *text == attribute.text => {}
                Some(text) => {
                    let quote = self.text[..attribute.span.start].chars().next_back();
                    self.edits
                        .push(Edit::new(attribute.span.clone(), escaped(text, quote)));
                }
                None => self.edits.push(Edit::new(attribute.outer.clone(), "")),
            }
        }
        let said = old.said();
        let added = new
            .attributes
            .iter()
            .filter(|(name, _)| !said.contains_key(*name));
        let added: String = added.map(|(name, text)| attribute(name, text)).collect();
        if !added.is_empty() {
            self.edits.push(Edit::new(old.tag_end..old.tag_end, added));
        }
    }

    /// Elements among elements: comments and blanks between them stay, and new ones take the layout of their neighbours.
    fn in_layout(&mut self, old: &Old, new: &Element, kept: &[Option<usize>]) {
        let stays: BTreeSet<usize> = kept.iter().flatten().copied().collect();
        for (idx, child) in old.children.iter().enumerate() {
            if !stays.contains(&idx) {
                let start = child.layout.start.min(child.span.start);
                self.edits.push(Edit::new(start..child.span.end, ""));
            }
        }
        let first = old
            .children
            .iter()
            .find(|child| matches!(child.what, What::Element(_)));
        let first = first.map_or(0..0, |child| child.layout.clone());
        let inner_start = old.inner.as_ref().map_or(0, |inner| inner.start);
        let (mut at, mut layout) = (inner_start, first);
        let mut added: BTreeMap<usize, String> = BTreeMap::new();
        for (child, kept) in new.children.iter().zip(kept) {
            match (kept.and_then(|idx| old.children.get(idx)), child) {
                (Some(before), Child::Element(element)) => {
                    if let What::Element(before) = &before.what {
                        self.replace(before, element);
                    }
                    (at, layout) = (before.span.end, before.layout.clone());
                }
                (_, child) => {
                    let text = added.entry(at).or_default();
                    text.push_str(&self.text[layout.clone()]);
                    text.push_str(&child_written(child));
                }
            }
        }
        let added = added.into_iter().map(|(at, text)| Edit::new(at..at, text));
        self.edits.extend(added);
    }

    /// Texts, with or without elements: every blank counts, so that what is between the tags is written anew, from the
    /// pieces that stay.
    fn anew(&mut self, old: &Old, new: &Element, kept: &[Option<usize>]) {
        let mut inner = String::new();
        for (child, kept) in new.children.iter().zip(kept) {
            match (kept.and_then(|idx| old.children.get(idx)), child) {
                (
                    Some(OldChild {
                        what: What::Element(before),
                        ..
                    }),
                    Child::Element(element),
                ) => {
                    inner.push_str(&self.rewritten(before, element));
                }
                (Some(before), _) => inner.push_str(&self.text[before.span.clone()]),
                (None, child) => inner.push_str(&child_written(child)),
            }
        }
        self.edits.push(match &old.inner {
            Some(span) => Edit::new(span.clone(), inner),
            None if inner.is_empty() => return,
            None => Edit::new(old.span.end - 2..old.span.end, format!(">{inner}</{}>", old.name)),
        });
    }

    /// The text of an element made into another.
    fn rewritten(&self, old: &Old, new: &Element) -> String {
        let mut writer = Writer {
            text: self.text,
            edits: vec![],
        };
        writer.replace(old, new);
        writer.edits.sort_by_key(|edit| (edit.at.start, edit.at.end));
        let mut out = String::new();
        let mut copied = old.span.start;
        for edit in writer.edits {
            out.push_str(&self.text[copied..edit.at.start]);
            out.push_str(&edit.text);
            copied = edit.at.end;
        }
        out.push_str(&self.text[copied..old.span.end]);
        out
    }
}

/// Which child that was there each new one is: the same one, else in its place an element of the same name.
fn kept(old: &[OldChild], before: &[Child], new: &[Child]) -> Vec<Option<usize>> {
    let mut kept: Vec<Option<usize>> = vec![None; new.len()];
    let mut next = 0;
    for (child, kept) in new.iter().zip(&mut kept) {
        let ahead = before.iter().skip(next).take(AHEAD);
        if let Some(ahead) = ahead.clone().position(|before| before == child) {
            *kept = Some(next + ahead);
            next += ahead + 1;
        }
    }
    // Those between two that stay, in their order.
    let mut from = 0;
    for at in 0..new.len() {
        if let Some(idx) = kept[at] {
            from = idx + 1;
            continue;
        }
        let until = kept[at..].iter().flatten().next().copied().unwrap_or(old.len());
        let Child::Element(element) = &new[at] else {
            continue;
        };
        let same = old.get(from..until).unwrap_or_default();
        let same = same
            .iter()
            .take(AHEAD)
            .position(|child| child.named(&element.name).is_some());
        if let Some(ahead) = same {
            kept[at] = Some(from + ahead);
            from += ahead + 1;
        }
    }
    kept
}

fn child_written(child: &Child) -> String {
    match child {
        Child::Element(element) => written(element),
        Child::Text(text) => escaped(text, None),
    }
}

fn attribute(name: &str, text: &str) -> String {
    format!(" {name}=\"{}\"", escaped(text, Some('"')))
}

fn written(element: &Element) -> String {
    let name = &element.name;
    let attributes: String = element
        .attributes
        .iter()
        .map(|(name, text)| attribute(name, text))
        .collect();
    let inner: String = element.children.iter().map(child_written).collect();
    match inner.is_empty() {
        true => format!("<{name}{attributes}/>"),
        false => format!("<{name}{attributes}>{inner}</{name}>"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ORDER: &str = "<?xml version=\"1.0\"?>\n<!-- an order -->\n<a:order xmlns:a=\"urn:a\"  id='7' >\n  <!-- first -->\n  <item n=\"1\">Potassium &amp; <![CDATA[<more>]]></item>\n  <item/>\n\n  <note>plain <b>bold</b> &#x219;</note>\n</a:order>\n";

    fn changed(document: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut value = tree(document.as_bytes(), &Reading::default()).expect("a tree");
        change(&mut value);
        let bytes = with_tree(document.as_bytes(), &value, &Reading::default()).expect("written");
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn a_document_is_plain_values() {
        let tree = tree(ORDER.as_bytes(), &Reading::default()).expect("a tree");
        assert_eq!(
            tree,
            json!({ "name": "a:order", "attributes": { "xmlns:a": "urn:a", "id": "7" }, "children": [
                { "name": "item", "attributes": { "n": "1" }, "children": ["Potassium & <more>"] },
                { "name": "item", "attributes": {}, "children": [] },
                { "name": "note", "attributes": {}, "children": [
                    "plain ", { "name": "b", "attributes": {}, "children": ["bold"] }, " ș"
                ] },
            ] })
        );
        assert_eq!(changed(ORDER, |_| {}), ORDER);
    }

    #[test]
    fn only_what_is_changed_is_written() {
        let with = |from: &str, to: &str| ORDER.replacen(from, to, 1);
        assert_eq!(
            changed(ORDER, |tree| tree["attributes"]["id"] = "it's".into()),
            with("id='7'", "id='it&apos;s'")
        );
        assert_eq!(
            changed(ORDER, |tree| tree["attributes"] =
                json!({ "xmlns:a": "urn:a", "x": 1 })),
            with("  id='7' >", " x=\"1\" >")
        );
        assert_eq!(
            changed(ORDER, |tree| tree["children"][1]["children"] = json!(["<x>"])),
            with("<item/>", "<item>&lt;x&gt;</item>")
        );
        assert_eq!(
            changed(ORDER, |tree| tree["children"][2]["children"][1]["children"] =
                json!(["thin"])),
            with("bold", "thin")
        );
        // A new one takes the layout of those beside it, and comments stay.
        assert_eq!(
            changed(ORDER, |tree| {
                let children = tree["children"].as_array_mut().expect("children");
                children.insert(1, json!({ "name": "item", "children": ["Sodium"] }));
            }),
            with("</item>", "</item>\n  <item>Sodium</item>")
        );
        assert_eq!(
            changed(ORDER, |tree| {
                tree["children"].as_array_mut().expect("children").remove(1);
            }),
            with("\n  <item/>", "")
        );
        assert_eq!(
            changed(ORDER, |tree| {
                let children = tree["children"].as_array_mut().expect("children");
                children.insert(0, json!({ "name": "x" }));
            }),
            with("id='7' >", "id='7' >\n  <x/>")
        );
        assert_eq!(
            changed(ORDER, |tree| tree["children"] = json!([])),
            "<?xml version=\"1.0\"?>\n<!-- an order -->\n<a:order xmlns:a=\"urn:a\"  id='7' ></a:order>\n"
        );
        assert_eq!(
            changed(ORDER, |tree| *tree =
                json!({ "name": "b", "children": [1.50, true] })),
            "<?xml version=\"1.0\"?>\n<!-- an order -->\n<b>1.5true</b>\n"
        );
    }

    #[test]
    fn rubbish_is_no_tree() {
        for (tree, told) in [
            (json!("x"), "an element is { name, attributes, children }"),
            (json!([]), "an element is { name, attributes, children }"),
            (json!({}), "no name of XML"),
            (json!({ "name": "a b" }), "no name of XML"),
            (json!({ "name": "a", "attributes": [] }), "are no object"),
            (
                json!({ "name": "a", "attributes": { "x y": "" } }),
                "no name of XML",
            ),
            (json!({ "name": "a", "attributes": { "x": [] } }), "is no text"),
            (json!({ "name": "a", "children": "x" }), "are no list"),
            (json!({ "name": "a", "children": [null] }), "is no text"),
            (json!({ "name": "a", "children": ["\u{1}"] }), "does not have"),
            (json!({ "name": "a", "text": "x" }), "and no \"text\""),
        ] {
            let error = with_tree(ORDER.as_bytes(), &tree, &Reading::default()).expect_err("rubbish");
            assert!(error.what.contains(told), "{tree}: {}", error.what);
        }
        let mut deep = json!({ "name": "a" });
        for _ in 0..DEEPEST {
            deep = json!({ "name": "a", "children": [deep] });
        }
        assert!(with_tree(ORDER.as_bytes(), &deep, &Reading::default()).is_err());
        let deep = format!("{}{}", "<a>".repeat(DEEPEST + 1), "</a>".repeat(DEEPEST + 1));
        let error = tree(deep.as_bytes(), &Reading::default()).expect_err("too deep");
        assert!(error.what.contains("read it by paths"), "{}", error.what);
    }

    #[test]
    fn the_charset_stays() {
        let bytes = b"<?xml version=\"1.0\" encoding=\"iso-8859-2\"?><a>\xba<b/></a>";
        let mut value = tree(bytes, &Reading::default()).expect("a tree");
        assert_eq!(value["children"][0], "ş");
        value["children"][1]["children"] = json!(["ţ"]);
        let written = with_tree(bytes, &value, &Reading::default()).expect("written");
        assert_eq!(
            written,
            b"<?xml version=\"1.0\" encoding=\"iso-8859-2\"?><a>\xba<b>\xfe</b></a>"
        );
    }

    /// Trees that are read as they are written: no empty texts, none beside another, none of blanks beside elements.
    fn any_tree() -> impl Strategy<Value = Value> {
        let name = prop::sample::select(vec!["a", "b", "x:c"]);
        let text = "[ -~șţ\n]{0,6}[!-~ș]";
        let attributes = || prop::collection::btree_map("[a-c]", "[ -~ș\n\t]{0,5}", 0..3);
        let leaf = (name.clone(), attributes(), prop::option::of(text)).prop_map(|(name, attributes, text)| {
            json!({ "name": name, "attributes": attributes, "children": text.into_iter().collect::<Vec<_>>() })
        });
        leaf.prop_recursive(4, 24, 5, move |inner| {
            let child = (inner, prop::option::of(text));
            (name.clone(), attributes(), prop::collection::vec(child, 0..5), any::<bool>()).prop_map(
                |(name, attributes, children, mixed)| {
                    let children = children.into_iter().flat_map(|(element, text)| {
                        let text = text.filter(|_| mixed).map(Value::from);
                        [Some(element), text].into_iter().flatten()
                    });
                    json!({ "name": name, "attributes": attributes, "children": children.collect::<Vec<_>>() })
                },
            )
        })
    }

    fn chance(seed: &mut u32, of: u32) -> bool {
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*seed >> 16).is_multiple_of(of)
    }

    /// The tree as a document, with layout and comments where they say nothing.
    fn laid_out(value: &Value, out: &mut String, seed: &mut u32) {
        let name = value["name"].as_str().expect("a name");
        out.push_str(&format!("<{name}"));
        for (name, text) in value["attributes"].as_object().expect("attributes") {
            let quote = if chance(seed, 2) { '\'' } else { '"' };
            let text = escaped(text.as_str().expect("a text"), Some(quote));
            out.push_str(&format!("\n {name} = {quote}{text}{quote}"));
        }
        let children = value["children"].as_array().expect("children");
        if children.is_empty() && chance(seed, 2) {
            return out.push_str(" />");
        }
        out.push('>');
        let has_text = children.iter().any(Value::is_string);
        for child in children {
            match child {
                Value::String(text) if chance(seed, 3) && !text.contains("]]>") => {
                    out.push_str(&format!("<![CDATA[{text}]]>"));
                }
                Value::String(text) => out.push_str(&escaped(text, None)),
                _ => {
                    if !has_text {
                        out.push_str(if chance(seed, 2) { "\n  " } else { "" });
                        out.push_str(if chance(seed, 4) {
                            "<!-- <c/> &c; -->\r\n <?d e?> "
                        } else {
                            ""
                        });
                    }
                    laid_out(child, out, seed);
                }
            }
        }
        if !has_text && !children.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!("</{name} >"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn what_is_written_is_read(before in any_tree(), after in any_tree(), mut seed in any::<u32>()) {
            let mut document = String::new();
            laid_out(&before, &mut document, &mut seed);
            let reading = Reading::default();
            prop_assert_eq!(&tree(document.as_bytes(), &reading).expect("a tree"), &before, "{}", document);
            let same = with_tree(document.as_bytes(), &before, &reading).expect("written");
            prop_assert_eq!(String::from_utf8(same).expect("UTF-8"), document.clone());
            let other = with_tree(document.as_bytes(), &after, &reading).expect("written");
            let read = tree(&other, &reading).expect("a tree");
            prop_assert_eq!(read, after, "{} became {}", document, String::from_utf8_lossy(&other));
        }

        #[test]
        fn a_part_of_another_tree_leaves_the_rest(before in any_tree(), part in any_tree(), at in any::<prop::sample::Index>(), mut seed in any::<u32>()) {
            let mut document = String::new();
            laid_out(&before, &mut document, &mut seed);
            let mut after = before.clone();
            let children = after["children"].as_array_mut().expect("children");
            let at = at.index(children.len() + 1);
            children.insert(at, part);
            let reading = Reading::default();
            let other = with_tree(document.as_bytes(), &after, &reading).expect("written");
            prop_assert_eq!(tree(&other, &reading).expect("a tree"), after);
            // Taken out again it is as before, to the last blank.
            let back = with_tree(&other, &before, &reading).expect("written");
            prop_assert_eq!(tree(&back, &reading).expect("a tree"), before);
        }

        #[test]
        fn any_bytes_are_answered(text in "(<a>|</a>|<a/>|<b x='|'>|'/>|</b>|<!--|-->|<!\\[CDATA\\[|\\]\\]>|<\\?|\\?>|&amp;|&#13;|&|;|x|ș| |\r|\n|<|>){0,24}") {
            let reading = Reading::default();
            for bytes in [text.clone().into_bytes(), format!("<a>{text}</a>").into_bytes()] {
                if let Ok(tree) = tree(&bytes, &reading) {
                    prop_assert_eq!(with_tree(&bytes, &tree, &reading).expect("written"), bytes);
                }
            }
        }
    }
}
