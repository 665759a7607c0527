//! The steps of a channel or a destination, and what each needs to stand before it.

use std::sync::Arc;
use std::time::Duration;

use clinic::apply::OnUnmatched;

use super::check::MAPPING;
use super::problem::line_and_column;
use super::read::{Flow, Reader};
use super::schema::VERBS;
use super::table::TableProblem;
use super::tree::{Node, Path, Value};
use super::{Deidentify, EndScript, Lookup, LookupMissing, Step, duration, size, steps};
use crate::connector::Connector;
use crate::format::{CodeTables, Format, Mapping, SetOp, Settings};
use crate::script::{self, Script, Wanted};

/// The options of a step and the verbs that take them.
const OPTIONS: [(&str, &str); 9] = [
    ("mapping", "decode"),
    ("codes", "decode"),
    ("charset", "decode"),
    ("snapshot", "decode"),
    ("authority", "decode"),
    ("as", "encode"),
    ("timeout", "script"),
    ("memory", "script"),
    ("tables", "script"),
];

impl Reader<'_> {
    /// One step. `in_channel`: not one of a destination.
    pub(super) fn step(
        &mut self,
        node: &Node,
        path: &Path,
        flow: &mut Flow,
        in_channel: bool,
    ) -> Option<Step> {
        let mut verbs = VERBS.iter().filter(|verb| node.get(verb).is_some());
        let (Some(verb), None) = (verbs.next(), verbs.next()) else {
            return None;
        };
        for (option, owner) in OPTIONS {
            // A mapping is read both ways.
            let owns = owner == *verb || (option == "mapping" && *verb == "encode");
            if node.get(option).is_some() && !owns {
                self.problem(path.key(option), format!("belongs to {owner}, not to {verb}"));
            }
        }
        let value = node.get(verb)?;
        let at = path.key(verb);
        match *verb {
            "split" => self.split(value, &at, path, in_channel),
            "filter" => {
                if in_channel && flow.applied {
                    let what =
                        "stands after apply, which has written the message to the clinic; put it before";
                    self.problem(at.clone(), what.to_owned());
                }
                Some(Step::Filter(self.condition(value, &at, flow)))
            }
            "decode" => self.decode(node, value, &at, path, flow),
            "set" => self.set(value, &at, flow),
            "deidentify" => self.deidentify(value, &at, flow),
            "new_uids" => {
                let how = Deidentify {
                    project: value.text()?.to_owned(),
                    only_uids: true,
                    ..Deidentify::default()
                };
                Some(self.deidentified(how, &at, flow))
            }
            "transcode" => self.transcode(value, &at, flow),
            "lookup" => self.lookup(value, &at, flow, in_channel),
            "script" => self.script(node, value, &at, path, flow),
            "apply" => self.apply(value, &at, flow, in_channel),
            "encode" => {
                let shape = node.get("as").and_then(Node::text).map(str::to_owned);
                self.encode(node, value, path, &at, shape, flow)
            }
            _ => None,
        }
    }

    fn split(&mut self, value: &Node, at: &Path, path: &Path, in_channel: bool) -> Option<Step> {
        let Some(splitter) = self.formats.splitter() else {
            self.problem(at.clone(), "this program takes nothing apart".to_owned());
            return None;
        };
        if !in_channel {
            let what = "a whole is taken apart where it comes in; make it the first step of the channel";
            self.problem(at.clone(), what.to_owned());
        } else if *path != Path::default().key("step").index(0) {
            let what = "stands first: the steps before it would see the whole, those after it see each part";
            self.problem(at.clone(), what.to_owned());
        }
        if self.is_told(at) {
            return None;
        }
        let settings = value.to_json();
        for problem in splitter.check(&settings) {
            self.problem(at.join(&problem.path), problem.what);
        }
        Some(Step::Split { settings })
    }

    fn decode(&mut self, node: &Node, value: &Node, at: &Path, path: &Path, flow: &mut Flow) -> Option<Step> {
        let format = self.format(Some(value), at);
        if flow.decoded {
            self.problem(
                at.clone(),
                "the message is decoded already; one decode is enough".to_owned(),
            );
        }
        flow.decoded = true;
        if let (Some(format), Some(body)) = (&format, &flow.format)
            && format.name() != body.name()
        {
            self.problem(at.clone(), format!("the message is {} here", body.name()));
        }
        if let Some(charset) = node.get("charset").and_then(Node::text) {
            flow.settings.charset = Some(charset.to_owned());
        }
        if let Some(name) = node.get("codes").and_then(Node::text) {
            flow.settings.codes = self.table(name, &path.key("codes"));
        }
        if let Some(authority) = node.get("authority").and_then(Node::text) {
            if let Some(format) = &format
                && !format.has_bare_numbers()
            {
                let what = format!("{} always says whose a number is; leave it out", format.name());
                self.problem(path.key("authority"), what);
            }
            flow.settings.authority = Some(authority.to_owned());
        }
        let snapshot = node.get("snapshot").map(Node::items).unwrap_or_default();
        for (idx, item) in snapshot.iter().enumerate() {
            if let Some(text) = item.text() {
                let known = format.as_ref().map(|format| format.snapshots());
                if let Some(known) = known.filter(|known| !known.contains(&text)) {
                    let at = path.key("snapshot").index(idx);
                    self.problem(
                        at,
                        format!(
                            "no list that a message says whole; known are {}",
                            known.join(", ")
                        ),
                    );
                }
                flow.settings.snapshot.push(text.to_owned());
            }
        }
        let format = format?;
        flow.settings.mapping = self.mapping(node, path, at, format.as_ref(), false);
        let name = format.name().to_owned();
        flow.format = Some(format);
        flow.unused_set = None;
        Some(Step::Decode {
            format: name,
            settings: flow.settings.clone(),
        })
    }

    /// The mapping of a decode or an encode, where the format has one.
    fn mapping(
        &mut self,
        node: &Node,
        path: &Path,
        verb: &Path,
        format: &dyn Format,
        writes: bool,
    ) -> Option<Mapping> {
        let Some(name) = node.get("mapping").and_then(Node::text) else {
            if format.needs_mapping() {
                let what = format!(
                    "{} says nothing of the clinic by itself: write mapping = \"….map.toml\" beside it",
                    format.name()
                );
                self.problem(verb.clone(), what);
            }
            return None;
        };
        let at = path.key("mapping");
        if format.needs_mapping() && !name.ends_with(MAPPING) {
            let what =
                format!("the name of a mapping ends with {MAPPING}, so that it is not taken for a channel");
            self.problem(at, what);
            return None;
        }
        let (file, text) = self.text_beside(name, &at)?;
        let read = {
            let mut table = |name: &str| self.table(name, &at);
            format.mapping(&text, writes, &mut table)
        };
        match read {
            Some(Ok(read)) => Some(Mapping {
                file: name.to_owned(),
                read,
            }),
            Some(Err(problems)) => {
                for problem in problems {
                    let (line, column) = line_and_column(&text, problem.at);
                    self.table_problems.push(TableProblem {
                        file: file.clone(),
                        line,
                        column,
                        what: problem.what,
                    });
                }
                None
            }
            None => {
                self.problem(at, format!("{} needs no mapping; leave it out", format.name()));
                None
            }
        }
    }

    fn apply(&mut self, value: &Node, at: &Path, flow: &mut Flow, in_channel: bool) -> Option<Step> {
        if !in_channel {
            let what = "the channel applies a message, once for all; put it into the channel's steps";
            self.problem(at.clone(), what.to_owned());
        } else if flow.applied {
            self.problem(
                at.clone(),
                "the message is applied already; one apply is enough".to_owned(),
            );
        } else if !flow.decoded {
            self.problem(at.clone(), "needs a decode before it".to_owned());
        }
        flow.applied = true;
        let on_unmatched = match value.get("on_unmatched").and_then(Node::text) {
            Some("park") => OnUnmatched::Park,
            Some("create") => OnUnmatched::CreateSaid,
            Some(_) | None => OnUnmatched::Create,
        };
        let overwrite = matches!(
            value.get("overwrite").map(|node| &node.value),
            Some(Value::Bool(true))
        );
        Some(Step::Apply {
            on_unmatched,
            overwrite,
        })
    }

    /// An `encode`, as a step or as a key of a destination.
    pub(super) fn encode(
        &mut self,
        node: &Node,
        value: &Node,
        path: &Path,
        at: &Path,
        shape: Option<String>,
        flow: &mut Flow,
    ) -> Option<Step> {
        let format = self.format(Some(value), at);
        if !flow.decoded {
            self.problem(
                at.clone(),
                "needs a decode before it, in the channel's steps".to_owned(),
            );
        }
        if let Some(set) = flow.unused_set.take() {
            let what = "has no effect: the encode after it writes the message anew; put it after the encode";
            self.warning(set, what.to_owned());
        }
        flow.encoded = true;
        flow.format = format.clone();
        // Codes and charset are those of the partner that was read.
        let mapping = format
            .as_ref()
            .and_then(|format| self.mapping(node, path, at, format.as_ref(), true));
        let settings = Settings {
            zone: flow.settings.zone.clone(),
            mapping,
            shape,
            ..Settings::default()
        };
        flow.settings = settings.clone();
        Some(Step::Encode {
            format: format?.name().to_owned(),
            settings,
        })
    }

    fn set(&mut self, value: &Node, at: &Path, flow: &mut Flow) -> Option<Step> {
        let mut ops = Vec::new();
        for entry in value.entries() {
            let path = at.key(&entry.key);
            self.field_path(&entry.key, &path, flow, true);
            let op = match &entry.node.value {
                Value::Text(text) if text.is_empty() => {
                    let what = "an empty text can mean two things: write { clear = true } to have the receiver \
                                empty it, or { remove = true } to say nothing about it";
                    self.problem(path.clone(), what.to_owned());
                    None
                }
                Value::Text(text) => Some(SetOp::Assign(text.clone())),
                Value::Table(forms) => match forms.as_slice() {
                    [form] if form.key == "clear" => Some(SetOp::Clear),
                    [form] if form.key == "remove" => Some(SetOp::Remove),
                    [form] if form.key == "copy" => form.node.text().map(|from| {
                        self.value_path(from, &path.key("copy"), flow, false);
                        SetOp::Copy(from.to_owned())
                    }),
                    _ => None,
                },
                Value::Integer(_) | Value::Float(_) | Value::Bool(_) | Value::Other | Value::List(_) => None,
            };
            if let Some(op) = op {
                ops.push((entry.key.clone(), op));
            }
        }
        flow.unused_set = Some(at.clone());
        Some(Step::Set(ops))
    }

    fn deidentify(&mut self, value: &Node, at: &Path, flow: &mut Flow) -> Option<Step> {
        let text = |key: &str| value.get(key).and_then(Node::text);
        let keep = value.get("keep").map(Node::items).unwrap_or_default();
        let how = Deidentify {
            project: text("project")?.to_owned(),
            keep: keep.iter().filter_map(Node::text).map(str::to_owned).collect(),
            pixels_are_clean: text("pixels") == Some("clean"),
            only_uids: false,
        };
        Some(self.deidentified(how, at, flow))
    }

    fn deidentified(&mut self, how: Deidentify, at: &Path, flow: &mut Flow) -> Step {
        let problems = flow.format.as_ref().map(|format| format.check_deidentify(&how));
        for problem in problems.unwrap_or_default() {
            self.problem(at.join(&problem.path), problem.what);
        }
        flow.unused_set = Some(at.clone());
        Step::Deidentify(how)
    }

    fn transcode(&mut self, value: &Node, at: &Path, flow: &mut Flow) -> Option<Step> {
        let to = value.text()?;
        if let Some(Err(what)) = flow.format.as_ref().map(|format| format.check_transcode(to)) {
            self.problem(at.clone(), what);
        }
        flow.unused_set = Some(at.clone());
        Some(Step::Transcode { to: to.to_owned() })
    }

    fn lookup(&mut self, value: &Node, at: &Path, flow: &mut Flow, in_channel: bool) -> Option<Step> {
        let is_asked = value.get("ask").is_some();
        let (own, others, verb) = match is_asked {
            true => ("ask", &["table", "from", "to"][..], "table"),
            false => ("table", &["question", "set", "within", "on_failure"][..], "ask"),
        };
        for key in others {
            if value.get(key).is_some() && value.get(own).is_some() && *key != verb {
                self.problem(at.key(key), format!("belongs to {verb}, not to {own}"));
            }
        }
        if is_asked {
            return self.ask(value, at, flow, in_channel);
        }
        for key in ["from", "to"] {
            if let Some(path) = value.get(key).and_then(Node::text) {
                self.field_path(path, &at.key(key), flow, false);
            }
        }
        let name = value.get("table").and_then(Node::text);
        if let Some(name) = name {
            let path = at.key("table");
            if let Some(table) = self.table(name, &path) {
                self.one_meaning(&table, &path);
            }
        }
        let missing = match value.get("missing") {
            Some(node) => match (node.text(), node.get("default").and_then(Node::text)) {
                (Some("fail"), _) => LookupMissing::Fail,
                (_, Some(text)) => LookupMissing::Default(text.to_owned()),
                (_, None) => LookupMissing::Keep,
            },
            None => LookupMissing::Keep,
        };
        flow.unused_set = Some(at.clone());
        let from = value.get("from")?.text()?.to_owned();
        Some(Step::Lookup(Lookup {
            table: name?.to_owned(),
            to: value.get("to").and_then(Node::text).unwrap_or(&from).to_owned(),
            from,
            missing,
        }))
    }

    fn script(&mut self, node: &Node, value: &Node, at: &Path, path: &Path, flow: &mut Flow) -> Option<Step> {
        let timeout = match node.get("timeout").and_then(Node::text).map(duration::parse) {
            Some(Ok(timeout)) if script::SHORTEST <= timeout && timeout <= script::LONGEST => timeout,
            Some(Ok(_)) => {
                let what = "a script has from \"10ms\" to \"1m\" for a message".to_owned();
                self.problem(path.key("timeout"), what);
                script::TIMEOUT
            }
            Some(Err(what)) => {
                self.problem(path.key("timeout"), what);
                script::TIMEOUT
            }
            None => script::TIMEOUT,
        };
        let memory = match node.get("memory").and_then(Node::text).map(size::parse) {
            Some(Ok(memory)) if (script::LEAST_MEMORY..=script::MOST_MEMORY).contains(&memory) => memory,
            Some(Ok(_)) => {
                let what = "a script has from \"4 MB\" to \"512 MB\"".to_owned();
                self.problem(path.key("memory"), what);
                script::MEMORY
            }
            Some(Err(what)) => {
                self.problem(path.key("memory"), what);
                script::MEMORY
            }
            None => script::MEMORY,
        };
        let mut tables = CodeTables::new();
        let items = node.get("tables").map(Node::items).unwrap_or_default();
        for (idx, item) in items.iter().enumerate() {
            if let Some(name) = item.text()
                && let Some(table) = self.table(name, &path.key("tables").index(idx))
            {
                tables.insert(name.to_owned(), table);
            }
        }
        flow.unused_set = Some(at.clone());
        let script = self.checked_script(value.text()?, timeout, memory, &tables, at)?;
        Some(Step::Script(script))
    }

    /// The script of an end that is one. The outer none: it is wrong, which is told.
    #[allow(clippy::option_option, reason = "the inner one is what most ends are")]
    pub(super) fn end_script(
        &mut self,
        connector: &dyn Connector,
        settings: Option<&serde_json::Value>,
        path: &Path,
    ) -> Option<Option<EndScript>> {
        let Some(named) = settings.and_then(|settings| connector.script(settings)) else {
            return Some(None);
        };
        let mut tables = CodeTables::new();
        for (idx, name) in named.tables.iter().enumerate() {
            if let Some(table) = self.table(name, &path.key("tables").index(idx)) {
                tables.insert(name.clone(), table);
            }
        }
        let at = path.join(named.path);
        let script = self.checked_script(&named.file, named.timeout, named.memory, &tables, &at)?;
        Some(Some(EndScript {
            script,
            caches: self.caches.clone(),
            calls: self.calls.clone(),
        }))
    }

    fn checked_script(
        &mut self,
        file: &str,
        timeout: Duration,
        memory: u64,
        tables: &CodeTables,
        at: &Path,
    ) -> Option<Arc<dyn Script>> {
        let counters: Vec<&str> = self
            .counters
            .iter()
            .map(|counter| counter.name.as_str())
            .collect();
        let caches: Vec<&str> = self.caches.iter().map(|cache| cache.name.as_str()).collect();
        let asks: Vec<&str> = self.script_asks.keys().map(String::as_str).collect();
        let granted: Vec<&str> = self.calls.keys().map(String::as_str).collect();
        let wanted = Wanted {
            folder: &self.folder(),
            file,
            tables,
            counters: &counters,
            caches: &caches,
            granted: &granted,
            asks: &asks,
            timeout,
            memory,
        };
        match self.scripts.check(&wanted, self.tables) {
            Ok(script) => Some(script),
            Err(problems) => {
                for problem in problems {
                    match problem.place {
                        None => self.problem(at.clone(), problem.what),
                        Some((file, line, column)) => self.table_problems.push(TableProblem {
                            file,
                            line,
                            column,
                            what: problem.what,
                        }),
                    }
                }
                None
            }
        }
    }

    /// A lookup knows a code without its system, so that the table must have one meaning for each.
    fn one_meaning(&mut self, table: &Arc<crate::format::CodeTable>, path: &Path) {
        if let Some(code) = steps::ambiguous(table) {
            let what = format!(
                "\"{code}\" stands in two systems of this table, and a lookup does not know which; give it a table \
                 of its own"
            );
            self.problem(path.clone(), what);
        }
    }
}
