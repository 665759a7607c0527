//! A file's tree becomes a [`Channel`]; what the schema can't say is checked here: names, durations, paths, and that
//! each step gets the format that it reads. Where the shape of a value is wrong the schema has told already, and this
//! pass is silent about it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::problem::not_known;
use super::shape::{Absent, Finding, Shape};
use super::state::{Cache, Counter};
use super::tree::{Node, Path, Value};
use super::{
    Ack, Channel, Destination, End, KeyPaths, OnError, OrderBy, Retry, Step, duration, secret, table,
};
use crate::connector::{Connector, Connectors, Looked, SettingsProblem, Surroundings};
use crate::format::{CodeTable, CodeTables, Csv, Format, Formats, Settings};
use crate::script::Scripts;

/// Reads a code table by its path.
pub(super) type Tables<'a> = &'a dyn Fn(&FilePath) -> io::Result<String>;

/// The longest id of a channel, site or name of a destination.
const MAX_NAME: usize = 64;

/// That nothing comes of the messages of a channel.
pub(super) const NOWHERE: &str =
    "the messages are stored and go nowhere: there is no destination and no apply";

/// How long a sender may wait for a destination.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The most destinations of a channel.
const MAX_DESTINATIONS: usize = 200;

/// What one file is read with, and what is found wrong with it.
pub(super) struct Reader<'a> {
    pub(super) formats: &'a Formats,
    pub(super) connectors: &'a Connectors,
    pub(super) tables: Tables<'a>,
    pub(super) scripts: &'a dyn Scripts,
    pub(super) file: &'a FilePath,
    /// What the schema found: nothing is told a second time below its paths.
    pub(super) findings: &'a [Finding],
    pub(super) problems: Vec<Finding>,
    pub(super) warnings: Vec<Finding>,
    pub(super) table_problems: Vec<table::TableProblem>,
    pub(super) read_tables: BTreeMap<String, Option<Arc<CodeTable>>>,
    /// What the scripts of the channel may keep.
    pub(super) counters: Vec<Counter>,
    pub(super) caches: Vec<Cache>,
    /// Whom they may call.
    pub(super) calls: BTreeMap<String, serde_json::Value>,
    /// Which destinations they may ask.
    pub(super) script_asks: BTreeMap<String, Duration>,
    /// The destinations as they are written, for the steps that ask one.
    pub(super) destinations: &'a [Node],
}

/// What a message is at a place between two steps.
#[derive(Clone)]
pub(super) struct Flow {
    /// The format of its body; none: not known, since that is wrong already.
    pub(super) format: Option<Arc<dyn Format>>,
    pub(super) decoded: bool,
    pub(super) applied: bool,
    pub(super) encoded: bool,
    /// A change of the body that nothing has used yet.
    pub(super) unused_set: Option<Path>,
    /// How the format was last read or written.
    pub(super) settings: Settings,
}

/// A table of settings as far as its schema has taken it.
pub(super) struct Given {
    /// With what stands in for what it lacks.
    pub(super) settings: serde_json::Value,
    /// Nothing was refused, and nothing lacks.
    pub(super) is_right: bool,
    /// What stands in.
    pub(super) stand_ins: StandIns,
}

/// Keys that a table must have and lacks, each with the misspelt one whose value it has, if there is one.
#[derive(Default)]
pub(super) struct StandIns(Vec<(Path, Option<Path>)>);

impl StandIns {
    /// Problems of a table at this path, without those of values that nobody wrote; those of a misspelt key at that.
    pub(super) fn apart_from(&self, path: &Path, problems: Vec<SettingsProblem>) -> Vec<SettingsProblem> {
        let told = problems.into_iter().filter_map(|problem| {
            let at = path.join(&problem.path);
            match self.0.iter().find(|(key, _)| at.is_under(key)) {
                None => Some(problem),
                Some((_, None)) => None,
                Some((_, Some(written))) => Some(SettingsProblem {
                    path: written.below(path)?,
                    what: problem.what,
                }),
            }
        });
        told.collect()
    }
}

impl Reader<'_> {
    /// The channel, as far as it can be read. It is used only where nothing was wrong.
    pub(super) fn channel(&mut self, root: &Node) -> Option<Channel> {
        let top = Path::default();
        let id = self.name(root, &top, "id");
        let dedup = self.duration(root, &top, "dedup");
        let keep = self.keep(root);
        let site = root.get("site").and_then(Node::text).map(str::to_owned);
        let settings = Settings {
            csv: self.csv(root),
            charset: root.get("charset").and_then(Node::text).map(str::to_owned),
            charset_of: charset_of(root),
            zone: self.zone(root, &top),
            ..Settings::default()
        };

        let source = self.end(root.get("source"), &top.key("source"), true);
        let steps_node = root.get("step").map(Node::items).unwrap_or_default();
        let decoded_as = steps_node.iter().find_map(|step| step.get("decode")?.text());
        let source_format = self.source_format(root, source.as_ref(), decoded_as);
        let mut flow = Flow {
            format: source_format,
            decoded: false,
            applied: false,
            encoded: false,
            unused_set: None,
            settings: settings.clone(),
        };
        let source_format = flow.format.clone();
        self.counters = self.counters(root);
        self.caches = self.caches(root);
        self.calls = self.calls(root);
        self.script_asks = self.script_asks(root);
        let keys = self.keys(root, &flow);
        let mut steps = Vec::new();
        let said = settings.clone();
        let mut source_settings = settings;
        for (idx, node) in steps_node.iter().enumerate() {
            let path = top.key("step").index(idx);
            if let Some(step) = self.step(node, &path, &mut flow, true) {
                if let Step::Decode { settings, .. } = &step {
                    source_settings = settings.clone();
                }
                steps.push(step);
            }
        }

        let mut destinations: Vec<Destination> = Vec::new();
        let nodes = root.get("destination").map(Node::items).unwrap_or_default();
        if MAX_DESTINATIONS < nodes.len() {
            let what = format!("{} destinations; {MAX_DESTINATIONS} are the most", nodes.len());
            self.problem(top.key("destination"), what);
        }
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for (idx, node) in nodes.iter().enumerate().take(MAX_DESTINATIONS) {
            let path = top.key("destination").index(idx);
            if let Some(name) = node.get("name").and_then(Node::text) {
                if let Some(first) = names.get(name) {
                    let what = format!("destination[{first}] has this name already; each has its own");
                    self.problem(path.key("name"), what);
                } else {
                    names.insert(name, idx);
                }
            }
            let mut destination = self.destination(node, &path, flow.clone());
            let of = (id.as_deref(), site.as_deref());
            let response = self.response(node, &path, destination.as_ref(), &said, of);
            if let Some(destination) = &mut destination {
                destination.response = response.map(Arc::new);
            }
            destinations.extend(destination);
        }
        let questions = self.questions(root, source_format.as_deref());
        source_settings.processing = self.processing(root, source_format.as_deref());
        let is_sent_to = |node: &Node| !is_only_asked(node);
        if !nodes.iter().any(is_sent_to) && !flow.applied && !questions && self.findings.is_empty() {
            self.warning(top.clone(), NOWHERE.to_owned());
        }

        self.unused_state(root, &steps, &destinations);
        let ack = self.ack(root, nodes);
        let (connector, connector_settings) = source?;
        let source_path = top.key("source").key(connector.name());
        let source_script = self.end_script(connector.as_ref(), connector_settings.as_ref(), &source_path)?;
        Some(Channel {
            id: id?,
            description: root
                .get("description")
                .and_then(Node::text)
                .unwrap_or_default()
                .to_owned(),
            file: self.file.to_owned(),
            source: End {
                connector: connector.name().to_owned(),
                settings: connector_settings?,
                format: source_format?.name().to_owned(),
                format_settings: source_settings,
                script: source_script,
            },
            keys,
            questions,
            ack,
            dedup: dedup.unwrap_or(Duration::from_secs(7 * 24 * 3600)),
            keep,
            site,
            steps,
            destinations,
            tables: self.tables_read(),
            counters: std::mem::take(&mut self.counters),
            caches: std::mem::take(&mut self.caches),
            calls: std::mem::take(&mut self.calls),
            script_asks: std::mem::take(&mut self.script_asks),
            answers_of: None,
        })
    }

    /// When the sender is told.
    fn ack(&mut self, root: &Node, destinations: &[Node]) -> Ack {
        let Some(node) = root.get("ack") else {
            return Ack::Stored;
        };
        let path = Path::default().key("ack");
        let Some(destination) = node.get("delivered").and_then(Node::text) else {
            return Ack::Stored;
        };
        let names: Vec<&str> = destinations
            .iter()
            .filter_map(|node| node.get("name")?.text())
            .collect();
        if !names.contains(&destination) {
            let what = match names.is_empty() {
                true => "the channel has no destination to wait for; make one, or leave `ack` out".to_owned(),
                false => not_known(destination, &names),
            };
            self.problem(path.key("delivered"), what);
        }
        let leads_on = |node: &Node| {
            node.get("name").and_then(Node::text) == Some(destination) && node.get("channel").is_some()
        };
        let is_asked =
            |node: &Node| node.get("name").and_then(Node::text) == Some(destination) && is_only_asked(node);
        if destinations.iter().any(is_asked) {
            let what =
                "is only asked, and gets no message; name a destination that messages are sent to".to_owned();
            self.problem(path.key("delivered"), what);
        }
        if destinations.iter().any(leads_on) {
            let what = "leads to a channel, which answers nothing; name a destination that sends".to_owned();
            self.problem(path.key("delivered"), what);
        }
        let within = self
            .duration(node, &path, "within")
            .unwrap_or(Duration::from_secs(20));
        if within.is_zero() || LONGEST_WAIT < within {
            let what = "a sender waits at least \"1ms\" and at most \"10m\"".to_owned();
            self.problem(path.key("within"), what);
        }
        Ack::Delivered {
            destination: destination.to_owned(),
            within,
        }
    }

    /// How CSV is written that comes in.
    fn csv(&mut self, root: &Node) -> Csv {
        let node = root.get("source").and_then(|source| source.get("csv"));
        let mut csv = Csv::default();
        if let Some(delimiter) = node.and_then(|node| node.get("delimiter")?.text()) {
            csv.delimiter = delimiter.chars().next();
        }
        if let Some(Value::Bool(header)) = node.and_then(|node| node.get("header")).map(|node| &node.value) {
            csv.header = *header;
        }
        csv
    }

    /// By which paths messages are known again and found.
    fn keys(&mut self, root: &Node, flow: &Flow) -> KeyPaths {
        let mut keys = KeyPaths::default();
        let path = Path::default().key("source").key("keys");
        let Some(node) = root.get("source").and_then(|source| source.get("keys")) else {
            return keys;
        };
        for (name, key) in [
            ("control_id", &mut keys.control_id),
            ("sender", &mut keys.sender),
            ("type", &mut keys.message_type),
            ("patient", &mut keys.patient),
            ("visit", &mut keys.visit),
            ("order", &mut keys.order),
        ] {
            if let Some(written) = node.get(name).and_then(Node::text) {
                self.value_path(written, &path.key(name), flow, false);
                *key = Some(written.to_owned());
            }
        }
        keys
    }

    pub(super) fn tables_read(&self) -> CodeTables {
        self.read_tables
            .iter()
            .filter_map(|(name, table)| Some((name.clone(), table.clone()?)))
            .collect()
    }

    /// Whether questions are answered; the format of what comes in has to know one.
    fn questions(&mut self, root: &Node, format: Option<&dyn Format>) -> bool {
        let is_said = root
            .get("source")
            .is_some_and(|source| source.get("questions").is_some());
        if is_said
            && let Some(format) = format
            && !format.can_be_asked()
        {
            let what = format!("{} has no questions; leave it out", format.name());
            self.problem(Path::default().key("source").key("questions"), what);
        }
        is_said
    }

    /// Which processing ids are taken; empty: all, as where the format has none.
    fn processing(&mut self, root: &Node, format: Option<&dyn Format>) -> Vec<String> {
        let said = root.get("source").and_then(|source| source.get("processing"));
        if said.is_some()
            && let Some(format) = format
            && !format.has_processing_ids()
        {
            let what = format!("{} has no processing ids; leave it out", format.name());
            self.problem(Path::default().key("source").key("processing"), what);
        }
        let ids = said.map(Node::items).unwrap_or_default();
        ids.iter().filter_map(|id| id.text().map(str::to_owned)).collect()
    }

    /// The format of what comes in: that of the decode, else the key, else what the connector brings.
    fn source_format(
        &mut self,
        root: &Node,
        source: Option<&(Arc<dyn Connector>, Option<serde_json::Value>)>,
        decoded_as: Option<&str>,
    ) -> Option<Arc<dyn Format>> {
        let path = Path::default().key("source");
        let key = root.get("source").and_then(|source| source.get("format"));
        let said = self.format(key, &path.key("format"));
        if let Some(name) = decoded_as {
            if let (Some(said), Some(decoded)) = (&said, self.formats.get(name))
                && said.name() != decoded.name()
            {
                let what = format!("the channel's decode reads {name}; write the same, or leave it out");
                self.problem(path.key("format"), what);
            }
            return self.formats.get(name);
        }
        if key.is_some() {
            return said;
        }
        let (connector, _) = source?;
        match connector.format() {
            Some(name) => self.formats.get(name),
            None => {
                let what = format!(
                    "{} does not say what format its messages have; write format = \"…\" ({})",
                    connector.name(),
                    self.formats.names().join(", ")
                );
                self.problem(path, what);
                None
            }
        }
    }

    /// The connector of an end, with its settings where they are right.
    fn end(
        &mut self,
        node: Option<&Node>,
        path: &Path,
        is_source: bool,
    ) -> Option<(Arc<dyn Connector>, Option<serde_json::Value>)> {
        let node = node?;
        let mut ends = self.connectors.all().filter_map(|connector| {
            let table = node.get(connector.name())?;
            let schema = if is_source {
                connector.source_schema()
            } else {
                connector.destination_schema()
            };
            Some((connector.clone(), table, schema?))
        });
        let (Some((connector, table, schema)), None) = (ends.next(), ends.next()) else {
            return None;
        };
        let path = path.key(connector.name());
        let Given {
            settings,
            mut is_right,
            stand_ins,
        } = self.settings(table, &path);
        if !is_right && !Shape::fits(schema, &settings) {
            return Some((connector, None));
        }
        let problems = if is_source {
            connector.check_source(&settings)
        } else {
            connector.check_destination(&settings)
        };
        is_right &= self.are_right(&path, stand_ins.apart_from(&path, problems));
        self.secrets(table, &path);
        if is_right {
            let surroundings = Surroundings {
                folder: self.folder(),
                script: None,
            };
            let looked = if is_source {
                connector.look_at_source(&settings, &surroundings)
            } else {
                connector.look_at_destination(&settings, &surroundings)
            };
            is_right = self.looks_right(&path, looked);
        }
        Some((connector, is_right.then_some(settings)))
    }

    /// A table of settings, and whether the schema has taken it whole. What it has refused is left out, and what it asks for
    /// in vain is filled up, so that whoever it is for can still say what it thinks of the rest.
    pub(super) fn settings(&self, table: &Node, path: &Path) -> Given {
        let mut settings = table.to_json();
        let mut is_right = true;
        let mut stand_ins = StandIns::default();
        for finding in self.findings.iter().filter(|finding| finding.path.is_under(path)) {
            is_right = false;
            let taken = finding.path.remove_from(path, &mut settings);
            if let (Some(key), Some(parent)) = (&finding.stands_for, finding.path.parent()) {
                let at = parent.key(key);
                at.put_into(path, &mut settings, taken.unwrap_or_default());
                stand_ins.0.push((at, Some(finding.path.clone())));
            } else if let Some(Absent::Key(key)) = &finding.goes_without_saying {
                let at = finding.path.key(key);
                at.put_into(path, &mut settings, String::new().into());
                stand_ins.0.push((at, None));
            }
        }
        Given {
            settings,
            is_right,
            stand_ins,
        }
    }

    /// Tells what is wrong with a table of settings. True: nothing is.
    pub(super) fn are_right(&mut self, path: &Path, problems: Vec<SettingsProblem>) -> bool {
        let are_right = problems.is_empty();
        for problem in problems {
            self.problem(path.join(&problem.path), problem.what);
        }
        are_right
    }

    /// Tells what a look around a table of settings has found. True: nothing is wrong.
    pub(super) fn looks_right(&mut self, path: &Path, looked: Looked) -> bool {
        for warning in looked.warnings {
            self.warning(path.join(&warning.path), warning.what);
        }
        self.are_right(path, looked.problems)
    }

    /// Secrets stand in the environment or in files; whether they are there is known for sure when the channel opens.
    pub(super) fn secrets(&mut self, node: &Node, path: &Path) {
        for entry in node.entries() {
            let path = path.key(&entry.key);
            if let Some(text) = entry.node.text() {
                if let Some(what) = secret::look(&entry.key, text, &self.folder()) {
                    self.warning(path, format!("{what}; the channel opens only with it"));
                }
            } else {
                self.secrets(&entry.node, &path);
            }
        }
    }

    fn destination(&mut self, node: &Node, path: &Path, mut flow: Flow) -> Option<Destination> {
        let name = self.name(node, path, "name");
        let only_asked = is_only_asked(node);
        if only_asked {
            self.only_asked(node, path);
            flow = Flow { format: None, ..flow };
        }
        let when = node
            .get("when")
            .filter(|_| !only_asked)
            .map(|node| self.condition(node, &path.key("when"), &flow));
        // What the channel has set may be for the destinations that do not encode.
        flow.unused_set = None;
        let mut steps = Vec::new();
        for (idx, node) in node
            .get("step")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .enumerate()
        {
            let path = path.key("step").index(idx);
            steps.extend(self.step(node, &path, &mut flow, false));
        }
        let encode = node.get("encode");
        if node.get("mapping").is_some() && encode.is_none() {
            let what = "belongs to encode, which is not here".to_owned();
            self.problem(path.key("mapping"), what);
        }
        if let Some(encode) = encode {
            if steps.iter().any(|step| matches!(step, Step::Encode { .. })) {
                let what = "its steps encode already; one encode is enough".to_owned();
                self.problem(path.key("encode"), what);
            }
            steps.extend(self.encode(node, encode, path, &path.key("encode"), None, &mut flow));
        }

        let end = self.end(Some(node), path, false);
        let (connector, settings) = match end {
            Some((connector, settings)) => (Some(connector), settings),
            None => (None, None),
        };
        // A connector that sends a format with several shapes names the shape in its own table.
        let shape = settings
            .as_ref()
            .and_then(|settings| settings.get("as")?.as_str())
            .map(str::to_owned);
        if let (Some(shape), Some(Step::Encode { settings, .. })) = (&shape, steps.last_mut()) {
            settings.shape.get_or_insert_with(|| shape.clone());
        }
        // The address of a server is what its ids count in.
        let server = settings
            .as_ref()
            .and_then(|settings| settings.get("base")?.as_str())
            .map(|base| base.trim_end_matches('/').to_owned());
        if let Some(Step::Encode { settings, .. }) = steps.last_mut() {
            settings.server = server.clone();
        }
        let mut format_settings = flow.settings.clone();
        format_settings.shape = format_settings.shape.or(shape);
        format_settings.server = server;

        let format = match only_asked {
            true => self.asked_format(node, path, connector.as_deref()),
            false => self.destination_format(node, path, connector.as_deref(), &flow),
        };
        self.message_paths(path, connector.as_deref(), settings.as_ref(), format.as_deref());
        let retry = self.retry(node, path);
        let on_error = match node.get("on_error").and_then(Node::text) {
            Some("dead") => OnError::Dead,
            Some(_) | None => OnError::Hold,
        };
        let on_unsure = self.on_unsure(node, path, format.as_deref());
        let late = self.late(node, path);
        let window = self.window(node, path, flow.settings.zone.as_deref());
        let rate = self.rate(node, path);
        let order_by = self.order_by(node, path, &flow);
        let breaker = self.breaker(node, path, order_by.is_some());
        let order_by = order_by.or_else(|| Some(OrderBy::by_path(connector.as_ref()?.order()?)));
        self.not_of_a_link(node, path, "retry");
        let connector = connector?;
        let end_path = path.key(connector.name());
        let script = self.end_script(connector.as_ref(), settings.as_ref(), &end_path)?;
        Some(Destination {
            name: name?,
            only_asked,
            commits: connector.commits(),
            when,
            steps,
            on_unsure: on_unsure.unwrap_or_else(|| connector.on_unsure()),
            end: End {
                connector: connector.name().to_owned(),
                settings: settings?,
                format: format?,
                format_settings,
                script,
            },
            retry,
            on_error,
            response: None,
            late,
            window,
            rate,
            order_by,
            breaker,
        })
    }

    /// What has no meaning for a destination that is only asked.
    fn only_asked(&mut self, node: &Node, path: &Path) {
        let what = "belongs to a destination that messages are sent to; this one is only asked";
        for key in [
            "step",
            "encode",
            "mapping",
            "retry",
            "on_error",
            "on_unsure",
            "window",
            "rate",
            "order_by",
            "parallel",
            "breaker",
        ] {
            if node.get(key).is_some() {
                self.problem(path.key(key), what.to_owned());
            }
        }
        let connectors = self.connectors.all();
        let used = connectors.filter(|connector| node.get(connector.name()).is_some());
        let silent: Vec<&str> = used
            .filter(|connector| connector.asks().is_none())
            .map(|connector| connector.name())
            .collect();
        for name in silent {
            self.problem(path.key(name), format!("{name} can't be asked"));
        }
    }

    /// The format of what a destination answers that is only asked: its key `format`, else what its connector brings.
    fn asked_format(
        &mut self,
        node: &Node,
        path: &Path,
        connector: Option<&dyn Connector>,
    ) -> Option<String> {
        let key = node.get("format");
        let said = self.format(key, &path.key("format"));
        let connector = connector.filter(|connector| connector.asks().is_some())?;
        match (said, key, connector.format()) {
            (Some(said), _, _) => Some(said.name().to_owned()),
            (None, Some(_), _) => None,
            (None, None, Some(name)) => Some(name.to_owned()),
            (None, None, None) => {
                let what = format!(
                    "{} does not say what format its answers have; write format = \"…\" ({})",
                    connector.name(),
                    self.formats.names().join(", ")
                );
                self.problem(path.clone(), what);
                None
            }
        }
    }

    /// The format by which a destination's answers are judged: its key `format`, else what its connector sends, else
    /// what it encodes. What arrives there must be of this format.
    fn destination_format(
        &mut self,
        node: &Node,
        path: &Path,
        connector: Option<&dyn Connector>,
        flow: &Flow,
    ) -> Option<String> {
        let key = node.get("format");
        let said = self.format(key, &path.key("format"));
        let body = flow.format.as_ref()?.name();
        let connector = connector?;
        let expected = match (said, key, connector.format()) {
            (Some(said), _, _) => said.name(),
            (None, Some(_), _) => return None,
            (None, None, Some(name)) => name,
            (None, None, None) if flow.encoded || !connector.answers() => body,
            (None, None, None) => {
                let what = format!(
                    "{} does not say what format it sends; write encode = \"…\" or format = \"{body}\"",
                    connector.name()
                );
                self.problem(path.clone(), what);
                return None;
            }
        };
        // Bytes take anything; the answer is then judged by the transport alone.
        if expected == body || expected == "bytes" {
            return Some(expected.to_owned());
        }
        let hint = match (flow.encoded, flow.decoded) {
            (true, _) => String::new(),
            (false, true) => format!("; write encode = \"{expected}\""),
            (false, false) => format!("; write decode = \"{body}\" before and encode = \"{expected}\" here"),
        };
        self.problem(path.clone(), format!("gets {body} and sends {expected}{hint}"));
        None
    }

    /// The paths that a destination's own settings name must be of the format that arrives there.
    fn message_paths(
        &mut self,
        path: &Path,
        connector: Option<&dyn Connector>,
        settings: Option<&serde_json::Value>,
        format: Option<&str>,
    ) {
        let format = format.and_then(|name| self.formats.get(name));
        let (Some(connector), Some(settings), Some(format)) = (connector, settings, format) else {
            return;
        };
        for (at, message_path) in connector.message_paths(settings) {
            if let Err(what) = format.check_path(&message_path) {
                let path = path.key(connector.name()).join(&at);
                self.problem(path, format!("{{{message_path}}}: {what}"));
            }
        }
    }

    fn retry(&mut self, node: &Node, path: &Path) -> Retry {
        let mut retry = Retry::default();
        let Some(node) = node.get("retry") else {
            return retry;
        };
        let path = path.key("retry");
        let first = self.duration(node, &path, "first");
        let max = self.duration(node, &path, "max");
        let give_up = self.duration(node, &path, "give_up");
        retry.first = first.unwrap_or(retry.first);
        retry.max = max.unwrap_or(retry.max.max(retry.first));
        retry.give_up = give_up.unwrap_or(retry.give_up);
        retry.put_off = self.duration(node, &path, "put_off").unwrap_or(retry.put_off);
        if first.is_none() {
            retry.first = retry.first.min(retry.max);
        }
        if retry.first.is_zero() {
            self.problem(path.key("first"), "a pause is at least \"1ms\"".to_owned());
        } else if retry.max < retry.first {
            let what = format!("shorter than the first pause, {}", duration::show(retry.first));
            self.problem(path.key("max"), what);
        }
        retry
    }

    /// A name of letters, digits and hyphens.
    fn name(&mut self, node: &Node, path: &Path, key: &str) -> Option<String> {
        let text = node.get(key)?.text()?;
        let path = path.key(key);
        let is_right = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if text.is_empty() {
            self.problem(path, "empty; write a name".to_owned());
            return None;
        }
        if MAX_NAME < text.len() {
            self.problem(path, format!("too long; {MAX_NAME} letters are the most"));
            return None;
        }
        if !text.chars().all(is_right) || text.starts_with('-') || text.ends_with('-') {
            let mut better: String = text
                .to_lowercase()
                .chars()
                .map(|c| if is_right(c) { c } else { '-' })
                .collect();
            while better.contains("--") {
                better = better.replace("--", "-");
            }
            let better = better.trim_matches('-');
            let hint = if better.is_empty() {
                String::new()
            } else {
                format!("; write \"{better}\"")
            };
            self.problem(
                path,
                format!("a name has letters, digits and hyphens between them{hint}"),
            );
            return None;
        }
        Some(text.to_owned())
    }

    pub(super) fn duration(&mut self, node: &Node, path: &Path, key: &str) -> Option<Duration> {
        let text = node.get(key)?.text()?;
        match duration::parse(text) {
            Ok(duration) => Some(duration),
            Err(what) => {
                self.problem(path.key(key), what);
                None
            }
        }
    }

    fn zone(&mut self, node: &Node, path: &Path) -> Option<String> {
        let text = node.get("zone")?.text()?;
        let zones = jiff::tz::db();
        if zones.get(text).is_err() {
            let names: Vec<String> = zones.available().map(|name| name.to_string()).collect();
            // A machine without a zone database knows none: then nothing can be said.
            if !names.is_empty() {
                let what = match super::problem::nearest(text, names.iter().map(String::as_str)) {
                    Some(name) => format!("no zone of this name is known; did you mean \"{name}\"?"),
                    None => "no zone of this name is known; write it as \"Europe/Bucharest\"".to_owned(),
                };
                self.problem(path.key("zone"), what);
                return None;
            }
        }
        Some(text.to_owned())
    }

    /// A format by its name.
    pub(super) fn format(&mut self, node: Option<&Node>, path: &Path) -> Option<Arc<dyn Format>> {
        let text = node?.text()?;
        let format = self.formats.get(text);
        if format.is_none() {
            self.problem(path.clone(), not_known(text, &self.formats.names()));
        }
        format
    }

    /// A code table, read once.
    pub(super) fn table(&mut self, name: &str, path: &Path) -> Option<Arc<CodeTable>> {
        if let Some(table) = self.read_tables.get(name) {
            return table.clone();
        }
        let table = self.read_table(name, path).map(Arc::new);
        self.read_tables.insert(name.to_owned(), table.clone());
        table
    }

    fn read_table(&mut self, name: &str, path: &Path) -> Option<CodeTable> {
        let (file, text) = self.text_beside(name, path)?;
        match table::read(&file, &text) {
            Ok(table) => Some(table),
            Err(problems) => {
                self.table_problems.extend(problems);
                None
            }
        }
    }

    /// A file beside the channel's, with its text.
    pub(super) fn text_beside(&mut self, name: &str, path: &Path) -> Option<(PathBuf, String)> {
        let is_inside = FilePath::new(name)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if name.is_empty() || !is_inside {
            let what = "the file lies beside the channel file or in a folder under it".to_owned();
            self.problem(path.clone(), what);
            return None;
        }
        let file = self.folder().join(name);
        match (self.tables)(&file) {
            Ok(text) => Some((file, text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.problem(path.clone(), format!("there is no file {}", file.display()));
                None
            }
            Err(error) => {
                self.problem(path.clone(), format!("{} can't be read: {error}", file.display()));
                None
            }
        }
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.file.parent().map(FilePath::to_owned).unwrap_or_default()
    }

    /// True where the schema has found something at this path or below it.
    pub(super) fn is_told(&self, path: &Path) -> bool {
        self.findings.iter().any(|finding| finding.path.is_under(path))
    }

    pub(super) fn problem(&mut self, path: Path, what: String) {
        self.problems.push(Finding::at_value(path, what));
    }

    pub(super) fn warning(&mut self, path: Path, what: String) {
        self.warnings.push(Finding::at_value(path, what));
    }
}

/// Whether a destination is only asked.
pub(super) fn is_only_asked(destination: &Node) -> bool {
    destination.get("when").and_then(Node::text) == Some("asked")
}

/// The charsets of single partners.
fn charset_of(root: &Node) -> BTreeMap<String, Vec<String>> {
    let partners = root.get("charset_of").map(Node::entries).unwrap_or_default();
    let sets = |said: &Node| {
        let several = said.items().iter().filter_map(Node::text);
        said.text()
            .into_iter()
            .chain(several)
            .map(str::to_owned)
            .collect()
    };
    partners
        .iter()
        .map(|entry| (entry.key.trim().to_owned(), sets(&entry.node)))
        .collect()
}
