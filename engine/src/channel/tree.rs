//! A TOML file as a tree in which everything knows its place.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// A value and where it stands, in bytes of the file.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where. A table: its header, its `{`, or the key that makes it.
    pub(super) span: Range<usize>,
    /// What.
    pub(super) value: Value,
}

/// The values of TOML.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// A date, time, or a number that no 64 bits hold: nothing in a channel is one.
    Other,
    List(Vec<Node>),
    /// In the order of the file.
    Table(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) span: Range<usize>,
    pub(super) node: Node,
}

/// What is wrong with a file as TOML, and where.
pub(super) struct SyntaxProblem {
    pub(super) at: usize,
    pub(super) what: String,
}

/// Reads a file; all problems of syntax at once.
pub(super) fn parse(text: &str) -> Result<Node, Vec<SyntaxProblem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let value = table_value(table.into_inner());
        return Ok(Node { span: 0..0, value });
    }
    Err(errors
        .into_iter()
        .map(|error| SyntaxProblem {
            at: error.span().map_or(0, |span| span.start),
            what: error.message().lines().collect::<Vec<_>>().join(", "),
        })
        .collect())
}

fn table_value(table: DeTable<'_>) -> Value {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| Entry {
            span: key.span(),
            key: key.into_inner().into_owned(),
            node: Node {
                span: value.span(),
                value: node_value(value.into_inner()),
            },
        })
        .collect();
    entries.sort_by_key(|entry| entry.span.start);
    Value::Table(entries)
}

fn node_value(value: DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(integer) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).map_or(Value::Other, Value::Integer)
        }
        DeValue::Float(float) => float
            .as_str()
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .map_or(Value::Other, Value::Float),
        DeValue::Boolean(flag) => Value::Bool(flag),
        DeValue::Datetime(_) => Value::Other,
        DeValue::Array(items) => Value::List(
            items
                .into_iter()
                .map(|item| Node {
                    span: item.span(),
                    value: node_value(item.into_inner()),
                })
                .collect(),
        ),
        DeValue::Table(table) => table_value(table),
    }
}

impl Node {
    /// The entry of a table.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value of a key of a table.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The entries of a table; none where it is no table.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            Value::Text(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Bool(_)
            | Value::Other
            | Value::List(_) => &[],
        }
    }

    /// The items of a list; none where it is no list.
    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Text(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Bool(_)
            | Value::Other
            | Value::Table(_) => &[],
        }
    }

    /// The text, where it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Integer(_)
            | Value::Float(_)
            | Value::Bool(_)
            | Value::Other
            | Value::List(_)
            | Value::Table(_) => None,
        }
    }

    /// What it is, in words.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Text(_) => "a text",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Bool(_) => "true or false",
            Value::Other => "a date or a number out of range",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// The same as JSON. What JSON has no word for is null, which no schema of ours takes.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Text(text) => text.as_str().into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Bool(flag) => (*flag).into(),
            Value::Other => serde_json::Value::Null,
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Table(entries) => serde_json::Value::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.node.to_json()))
                    .collect(),
            ),
        }
    }
}

/// A step of a path in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Key(String),
    Index(usize),
}

/// A path in the tree: `destination[0].retry.first`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<Segment>);

impl Path {
    /// With one more key.
    pub(super) fn key(&self, key: &str) -> Path {
        let mut path = self.clone();
        path.0.push(Segment::Key(key.to_owned()));
        path
    }

    /// With one more index.
    pub(super) fn index(&self, idx: usize) -> Path {
        let mut path = self.clone();
        path.0.push(Segment::Index(idx));
        path
    }

    /// With a path that a connector wrote: `auth.bearer_env`, `hosts[1].name`.
    pub(super) fn join(&self, written: &str) -> Path {
        let mut path = self.clone();
        for part in written.split('.').filter(|part| !part.is_empty()) {
            let mut pieces = part.split('[');
            if let Some(key) = pieces.next().filter(|key| !key.is_empty()) {
                path = path.key(key);
            }
            for piece in pieces {
                if let Ok(idx) = piece.trim_end_matches(']').parse() {
                    path = path.index(idx);
                }
            }
        }
        path
    }

    /// Of a JSON pointer (RFC 6901); which of its parts are indexes is told by the tree.
    pub(super) fn from_pointer(pointer: &str, root: &Node) -> Path {
        let mut path = Path::default();
        let mut node = Some(root);
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            let list_index = match node.map(|node| &node.value) {
                Some(Value::List(_)) => part.parse().ok(),
                Some(_) | None => None,
            };
            (path, node) = match list_index {
                Some(idx) => (path.index(idx), node.and_then(|node| node.items().get(idx))),
                None => (path.key(&part), node.and_then(|node| node.get(&part))),
            };
        }
        path
    }

    /// Whether it leads to the same place as `other` or to one below it.
    pub(super) fn is_under(&self, other: &Path) -> bool {
        self.0.starts_with(&other.0)
    }

    /// Whether it is one key or index longer than `other`.
    pub(super) fn is_child_of(&self, other: &Path) -> bool {
        self.0.len() == other.0.len() + 1 && self.is_under(other)
    }

    /// Takes what it leads to out of a table that stands at `base`.
    pub(super) fn remove_from(
        &self,
        base: &Path,
        table: &mut serde_json::Value,
    ) -> Option<serde_json::Value> {
        let (object, key) = self.slot(base, table)?;
        object.remove(key)
    }

    /// Puts a value there into a table that stands at `base`, if the table around it is there.
    pub(super) fn put_into(&self, base: &Path, table: &mut serde_json::Value, value: serde_json::Value) {
        if let Some((object, key)) = self.slot(base, table) {
            object.insert(key.to_owned(), value);
        }
    }

    /// The table around it, within one that stands at `base`, and its key. Items of a list have none: taking one out would
    /// move the places of the others.
    fn slot<'t>(
        &self,
        base: &Path,
        table: &'t mut serde_json::Value,
    ) -> Option<(&'t mut serde_json::Map<String, serde_json::Value>, &str)> {
        let (last, way) = self.0.get(base.0.len()..)?.split_last()?;
        let target = way.iter().try_fold(table, |value, segment| match segment {
            Segment::Key(key) => value.get_mut(key),
            Segment::Index(idx) => value.get_mut(idx),
        })?;
        match (target, last) {
            (serde_json::Value::Object(object), Segment::Key(key)) => Some((object, key)),
            _ => None,
        }
    }

    /// The path of what it is in.
    pub(super) fn parent(&self) -> Option<Path> {
        let (_, way) = self.0.split_last()?;
        Some(Path(way.to_vec()))
    }

    /// What it is called within a table that stands at `base`.
    pub(super) fn below(&self, base: &Path) -> Option<String> {
        Some(Path(self.0.get(base.0.len()..)?.to_vec()).to_string())
    }

    /// Where the value stands; the deepest table or list on the way where it is not there.
    pub(super) fn value_at(&self, root: &Node) -> usize {
        self.walk(root).1
    }

    /// Where the key stands; the value where it has no key of its own.
    pub(super) fn key_at(&self, root: &Node) -> usize {
        self.walk(root).0
    }

    /// The node itself.
    pub(super) fn node<'a>(&self, root: &'a Node) -> Option<&'a Node> {
        self.0.iter().try_fold(root, |node, segment| match segment {
            Segment::Key(key) => node.get(key),
            Segment::Index(idx) => node.items().get(*idx),
        })
    }

    fn walk(&self, root: &Node) -> (usize, usize) {
        let mut node = root;
        let mut key_at = node.span.start;
        for segment in &self.0 {
            let (next_at, next) = match segment {
                Segment::Key(key) => match node.entry(key) {
                    Some(entry) => (entry.span.start, &entry.node),
                    None => break,
                },
                Segment::Index(idx) => match node.items().get(*idx) {
                    Some(item) => (item.span.start, item),
                    None => break,
                },
            };
            (key_at, node) = (next_at, next);
        }
        (key_at, node.span.start)
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (idx, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(number) => write!(f, "[{number}]")?,
                Segment::Key(key) => {
                    if 0 < idx {
                        f.write_str(".")?;
                    }
                    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                    if !key.is_empty() && key.chars().all(is_bare) {
                        f.write_str(key)?;
                    } else {
                        write!(f, "{key:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}
