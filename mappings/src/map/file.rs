//! Reads a mapping file: all that is wrong with it at once, each with its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use clinic::Kind;
use toml_edit::{Item, Table as TomlTable, TableLike};

use super::model::{self, Leaf, Wrong};
use super::{ChangeRule, Codes, From, Line, Mapping, Missing, Step, Wanted, Wire};
use crate::tree::Path;

/// A code table: (system, code) → (system, code, display).
pub type Table = BTreeMap<(String, String), (String, String, String)>;

/// What is wrong, and at which byte of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The byte.
    pub at: usize,
    /// What is wrong and what to write instead.
    pub what: String,
}

/// Reads a mapping of one kind of document. `written`: it is for an encode too. `table` reads a code table beside the
/// file; where there is none, it tells that itself.
pub fn read(
    text: &str,
    wire: Wire,
    written: bool,
    table: &mut dyn FnMut(&str) -> Option<Arc<Table>>,
) -> Result<Mapping, Vec<Problem>> {
    let document = toml_edit::Document::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let what = error.message().lines().next().unwrap_or_default().to_owned();
        vec![Problem {
            at,
            what: format!("this is no TOML: {what}"),
        }]
    })?;
    let mut reader = Reader {
        wire,
        written,
        table,
        problems: vec![],
    };
    let mapping = reader.file(document.as_table());
    match reader.problems.is_empty() {
        true => Ok(mapping),
        false => {
            reader.problems.sort_by_key(|problem| problem.at);
            Err(reader.problems)
        }
    }
}

struct Reader<'a> {
    wire: Wire,
    written: bool,
    table: &'a mut dyn FnMut(&str) -> Option<Arc<Table>>,
    problems: Vec<Problem>,
}

/// Where a key stands.
fn key_at(table: &dyn TableLike, key: &str) -> usize {
    table
        .get_key_value(key)
        .and_then(|(key, item)| key.span().or_else(|| item.span()))
        .map_or(0, |span| span.start)
}

fn at(item: &Item) -> usize {
    item.span().map_or(0, |span| span.start)
}

impl Reader<'_> {
    fn problem(&mut self, at: usize, what: impl Into<String>) {
        self.problems.push(Problem {
            at,
            what: what.into(),
        });
    }

    /// Refuses keys that are not known.
    fn only(&mut self, table: &dyn TableLike, known: &[&str]) {
        let keys: Vec<String> = table.iter().map(|(key, _)| key.to_owned()).collect();
        for key in keys {
            if !known.contains(&key.as_str()) {
                let what = match nearest(&key, known.iter().copied()) {
                    Some(word) => format!("{key:?} is not known here; did you mean {word:?}?"),
                    None => format!("{key:?} is not known here; known are {}", known.join(", ")),
                };
                self.problem(key_at(table, &key), what);
            }
        }
    }

    fn text(&mut self, table: &dyn TableLike, key: &str) -> Option<String> {
        let item = table.get(key)?;
        let text = item.as_str().map(str::to_owned);
        if text.is_none() {
            self.problem(at(item), format!("{key} is a text in quotes"));
        }
        text
    }

    fn flag(&mut self, table: &dyn TableLike, key: &str) -> Option<bool> {
        let item = table.get(key)?;
        let flag = item.as_bool();
        if flag.is_none() {
            self.problem(at(item), format!("{key} is true or false"));
        }
        flag
    }

    fn path(&mut self, item: &Item, written: &str) -> Option<Path> {
        match self.wire.path(written) {
            Ok(path) => Some(path),
            Err(what) => {
                self.problem(at(item), what);
                None
            }
        }
    }

    fn file(&mut self, root: &TomlTable) -> Mapping {
        let mut known = vec!["each", "fixed", "about", "change"];
        if self.wire == Wire::Csv {
            known.push("csv");
            known.retain(|key| *key != "each");
        }
        self.only(root, &known);
        let each = root.get("each").and_then(|item| {
            let written = self.text(root, "each")?;
            self.path(item, &written)
        });
        let (mut delimiter, mut header) = (None, true);
        if let Some(csv) = root.get("csv").and_then(Item::as_table_like) {
            self.only(csv, &["delimiter", "header"]);
            if let Some(text) = self.text(csv, "delimiter") {
                match text.as_str() {
                    ";" | "," | "\t" | "|" => delimiter = text.chars().next(),
                    _ => self.problem(
                        key_at(csv, "delimiter"),
                        "a delimiter is \",\", \";\", \"\\t\" or \"|\"",
                    ),
                }
            }
            header = self.flag(csv, "header").unwrap_or(true);
        }
        let mut fixed = vec![];
        for (key, item) in root
            .get("fixed")
            .and_then(Item::as_table_like)
            .into_iter()
            .flat_map(|table| table.iter())
        {
            let path = self.path(item, key);
            match (path, item.as_str()) {
                (Some(path), Some(text)) => fixed.push((path, text.to_owned())),
                (_, None) => self.problem(at(item), "what stands there as it is, as a text in quotes"),
                (None, Some(_)) => {}
            }
        }
        let about = match root.get("about").and_then(Item::as_table_like) {
            Some(table) => self.lines(table, "About", &[]),
            None => vec![],
        };
        let mut changes = vec![];
        match root.get("change") {
            Some(item) => match item.as_array_of_tables() {
                Some(tables) => {
                    let keys: Vec<String> = tables
                        .iter()
                        .filter_map(|table| Some(table.get("key")?.as_str()?.to_owned()))
                        .collect();
                    for table in tables {
                        changes.extend(self.change(table, &keys));
                    }
                    self.twice(tables);
                }
                None => self.problem(at(item), "write each change under [[change]]"),
            },
            None => self.problem(0, "a mapping has at least one [[change]]"),
        }
        Mapping {
            wire: self.wire,
            each,
            delimiter,
            header,
            fixed,
            about,
            changes,
        }
    }

    fn twice(&mut self, tables: &toml_edit::ArrayOfTables) {
        let mut seen: Vec<&str> = vec![];
        for table in tables {
            if let Some(item) = table.get("key")
                && let Some(key) = item.as_str()
            {
                if seen.contains(&key) {
                    self.problem(at(item), format!("another change has the key {key:?} already"));
                }
                seen.push(key);
            }
        }
    }

    fn change(&mut self, table: &TomlTable, keys: &[String]) -> Option<ChangeRule> {
        self.only(
            table,
            &[
                "key",
                "kind",
                "each",
                "replace",
                "within",
                "by",
                "skip_missing",
                "say",
            ],
        );
        let start = table.span().map_or(0, |span| span.start);
        let key = self.text(table, "key");
        if key.is_none() && !table.contains_key("key") {
            self.problem(start, "a change needs a key, as in key = \"patient\"");
        }
        let kind = match self.text(table, "kind") {
            None => {
                if !table.contains_key("kind") {
                    self.problem(start, "a change needs a kind, as in kind = \"Patient\"");
                }
                None
            }
            Some(written) => written.parse::<Kind>().ok().or_else(|| {
                let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
                let what = match nearest(&written, names.iter().copied()) {
                    Some(word) => format!("{written:?} is no aggregate; did you mean {word:?}?"),
                    None => format!("{written:?} is no aggregate; there are {}", names.join(", ")),
                };
                let place = table.get("kind").map_or(start, at);
                self.problem(place, what);
                None
            }),
        };
        let each = table.get("each").and_then(|item| {
            let written = self.text(table, "each")?;
            self.path(item, &written)
        });
        let within = self.within(table, keys);
        let skip_missing = self.flag(table, "skip_missing").unwrap_or(false);
        let say = match (table.get("say").and_then(Item::as_table_like), kind) {
            (Some(say), Some(kind)) => self.lines(say, &format!("{}Change", kind.as_str()), keys),
            (Some(_), None) => vec![],
            (None, _) => {
                self.problem(start, "a change says something, under [change.say]");
                vec![]
            }
        };
        let mut replace = vec![];
        for item in table
            .get("replace")
            .and_then(Item::as_array)
            .into_iter()
            .flatten()
        {
            let name = item.as_str().unwrap_or_default();
            let lists = say.iter().filter_map(|line| match line.to.as_slice() {
                [Step::Name(name), Step::Nth(_), ..] => Some(name.as_str()),
                _ => None,
            });
            if lists.clone().any(|list| list == name) {
                replace.push(name.to_owned());
                continue;
            }
            let place = item.span().map_or(start, |span| span.start);
            let what = match nearest(name, lists) {
                Some(word) => format!("no list of this change; did you mean {word:?}?"),
                None => "no list of this change".to_owned(),
            };
            self.problem(place, what);
        }
        Some(ChangeRule {
            key: key?,
            kind: kind?,
            each,
            replace,
            within,
            skip_missing,
            say,
        })
    }

    /// What an aggregate is within another one.
    fn within(&mut self, table: &TomlTable, keys: &[String]) -> Option<(String, Vec<Path>)> {
        let owner = self.text(table, "within");
        let Some(by) = table.get("by") else {
            if owner.is_some() {
                self.problem(
                    key_at(table, "within"),
                    "needs `by` beside it: the paths of what it is known by there",
                );
            }
            return None;
        };
        let Some(owner) = owner else {
            self.problem(
                key_at(table, "by"),
                "needs `within` beside it: the key of the change that it belongs to",
            );
            return None;
        };
        self.known_key(&owner, key_at(table, "within"), keys);
        let written: Vec<String> = match by.as_array() {
            Some(array) => array
                .iter()
                .filter_map(|value| value.as_str().map(str::to_owned))
                .collect(),
            None => by.as_str().map(str::to_owned).into_iter().collect(),
        };
        if written.is_empty() {
            self.problem(at(by), "a path, or a list of paths");
        }
        let paths = written
            .iter()
            .filter_map(|written| self.path(by, written))
            .collect();
        Some((owner, paths))
    }

    fn known_key(&mut self, key: &str, place: usize, keys: &[String]) {
        if !keys.iter().any(|known| known == key) {
            let what = match nearest(key, keys.iter().map(String::as_str)) {
                Some(word) => format!("no change has the key {key:?}; did you mean {word:?}?"),
                None => format!("no change has the key {key:?}"),
            };
            self.problem(place, what);
        }
    }

    fn lines(&mut self, table: &dyn TableLike, definition: &str, keys: &[String]) -> Vec<Line> {
        let entries: Vec<(String, Item)> = table
            .iter()
            .map(|(key, item)| (key.to_owned(), item.clone()))
            .collect();
        entries
            .iter()
            .filter_map(|(written, item)| self.line(table, written, item, definition, keys))
            .collect()
    }

    fn line(
        &mut self,
        table: &dyn TableLike,
        written: &str,
        item: &Item,
        definition: &str,
        keys: &[String],
    ) -> Option<Line> {
        let place = key_at(table, written);
        let mut to = match steps(written) {
            Ok(to) => to,
            Err(what) => {
                self.problem(place, what);
                return None;
            }
        };
        let leaf = match model::leaf(definition, &mut to) {
            Ok(leaf) => leaf,
            Err(Wrong::Other(what)) => {
                self.problem(place, format!("{written}: {what}"));
                return None;
            }
            Err(Wrong::NotThere(name, known)) => {
                let what = match nearest(&name, known.iter().map(String::as_str)) {
                    Some(word) => format!("{written}: {name:?} is not in the model; did you mean {word:?}?"),
                    None => format!(
                        "{written}: {name:?} is not in the model here; there are {}",
                        known.join(", ")
                    ),
                };
                self.problem(place, what);
                return None;
            }
        };
        let from = self.from(item, &leaf, keys)?;
        Some(Line {
            written: written.to_owned(),
            to,
            leaf,
            from,
        })
    }

    fn from(&mut self, item: &Item, leaf: &Leaf, keys: &[String]) -> Option<From> {
        let place = at(item);
        if let Some(written) = item.as_str() {
            if *leaf == Leaf::Ref {
                self.problem(
                    place,
                    "this points at another change; write { ref = \"patient\" }",
                );
                return None;
            }
            let path = self.path(item, written)?;
            return Some(From::Paths(Wanted::of(vec![(written.to_owned(), path)])));
        }
        let Some(table) = item.as_table_like() else {
            self.problem(
                place,
                "a path in quotes, { from = … }, { value = … } or { ref = … }",
            );
            return None;
        };
        let forms = ["from", "value", "ref"];
        let form: Vec<&str> = forms
            .into_iter()
            .filter(|form| table.contains_key(form))
            .collect();
        match form.as_slice() {
            ["value"] => {
                self.only(table, &["value"]);
                let text = self.text(table, "value")?;
                if let Err(what) = super::decode::checked(leaf, &text) {
                    self.problem(table.get("value").map_or(place, at), what);
                }
                Some(From::Value(text))
            }
            ["ref"] => {
                self.only(table, &["ref"]);
                let key = self.text(table, "ref")?;
                let place = table.get("ref").map_or(place, at);
                if *leaf == Leaf::Ref {
                    self.known_key(&key, place, keys);
                } else {
                    self.problem(place, "no other aggregate is named here");
                }
                Some(From::Ref(key))
            }
            ["from"] => self.wanted(table, leaf).map(From::Paths),
            _ => {
                self.only(table, &["from", "value", "ref"]);
                self.problem(
                    place,
                    "one of from, value and ref (and a path of the model is written in quotes)",
                );
                None
            }
        }
    }

    fn wanted(&mut self, table: &dyn TableLike, leaf: &Leaf) -> Option<Wanted> {
        self.only(
            table,
            &[
                "from", "join", "date", "decimal", "codes", "missing", "system", "required",
            ],
        );
        let item = table.get("from")?;
        let written: Vec<String> = match item.as_array() {
            Some(array) => array
                .iter()
                .filter_map(|value| value.as_str().map(str::to_owned))
                .collect(),
            None => item.as_str().map(str::to_owned).into_iter().collect(),
        };
        if written.is_empty() {
            self.problem(at(item), "a path, or a list of paths");
        }
        if *leaf == Leaf::Ref {
            self.problem(
                at(item),
                "this points at another change; write { ref = \"patient\" }",
            );
        }
        if self.written && 1 < written.len() {
            self.problem(
                at(item),
                "several values can be read as one, not written; name one path",
            );
        }
        let paths: Vec<(String, Path)> = written
            .into_iter()
            .filter_map(|written| Some((written.clone(), self.path(item, &written)?)))
            .collect();
        let mut wanted = Wanted::of(paths);
        wanted.join = self.text(table, "join").unwrap_or_else(|| " ".to_owned());
        wanted.required = self.flag(table, "required").unwrap_or(false);
        wanted.system = self.text(table, "system");
        if wanted.system.is_some() && !matches!(leaf, Leaf::Concept | Leaf::Coding | Leaf::Identifier) {
            self.problem(
                key_at(table, "system"),
                "belongs to codes and identifiers; this is neither",
            );
        }
        if let Some(date) = self.text(table, "date") {
            let place = table.get("date").map_or(0, at);
            match (leaf, super::decode::date_format(&date)) {
                (Leaf::When, Ok(())) => {}
                (Leaf::When, Err(what)) => self.problem(place, what),
                _ => self.problem(place, "no date stands here"),
            }
            wanted.date = Some(date);
        }
        if let Some(decimal) = self.text(table, "decimal") {
            match decimal.as_str() {
                "," | "." => wanted.decimal = decimal.chars().next(),
                _ => self.problem(key_at(table, "decimal"), "\",\" or \".\""),
            }
        }
        wanted.codes = self.codes(table, leaf);
        wanted.missing = match table.get("missing") {
            None => Missing::Keep,
            Some(item) => match (
                item.as_str(),
                item.as_table_like()
                    .and_then(|table| table.get("default")?.as_str()),
            ) {
                (Some("keep"), _) => Missing::Keep,
                (Some("fail"), _) => Missing::Fail,
                (_, Some(text)) => Missing::Default(text.to_owned()),
                _ => {
                    self.problem(at(item), "\"keep\", \"fail\" or { default = \"…\" }");
                    Missing::Keep
                }
            },
        };
        Some(wanted)
    }

    fn codes(&mut self, table: &dyn TableLike, leaf: &Leaf) -> Option<Codes> {
        let item = table.get("codes")?;
        if let Some(name) = item.as_str() {
            return (self.table)(name).map(Codes::Table);
        }
        let Some(entries) = item.as_table_like() else {
            self.problem(at(item), "the name of a code table, or { M = \"male\", … }");
            return None;
        };
        let mut codes = BTreeMap::new();
        for (code, value) in entries.iter() {
            match value.as_str() {
                Some(text) => {
                    if let Err(what) = super::decode::checked(leaf, text) {
                        self.problem(at(value), what);
                    }
                    codes.insert(code.to_owned(), text.to_owned());
                }
                None => self.problem(at(value), "what the code becomes, as a text in quotes"),
            }
        }
        Some(Codes::Inline(codes))
    }
}

impl Wanted {
    fn of(paths: Vec<(String, Path)>) -> Self {
        Wanted {
            paths,
            join: " ".to_owned(),
            date: None,
            decimal: None,
            codes: None,
            missing: Missing::Keep,
            system: None,
            required: false,
        }
    }
}

/// A path of the model: written as a path of JSON.
fn steps(written: &str) -> Result<Vec<Step>, String> {
    crate::json::path(written)?
        .steps
        .into_iter()
        .map(|step| match step {
            crate::tree::Step::Name(name) => Ok(Step::Name(name)),
            crate::tree::Step::Nth(nth) => Ok(Step::Nth(nth)),
            _ => Err("[*] can't stand in a path of the model; write [0], [1] …".to_owned()),
        })
        .collect()
}

/// The nearest right word, if one is near.
fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    let most = (written.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|word| {
            let plain = word.to_lowercase();
            let is_part = 3 < written.len() && (plain.contains(&written) || written.contains(&plain));
            let distance = strsim::damerau_levenshtein(&written, &plain);
            (if is_part { distance.min(most) } else { distance }, word)
        })
        .filter(|(distance, word)| *distance <= most && *distance < word.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}
