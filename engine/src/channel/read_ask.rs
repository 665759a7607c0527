//! A `lookup` step that asks a destination: who is asked, what, and where the answer goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::ask::{Ask, OrElse, Template, WITHIN};
use super::problem::not_known;
use super::read::{Flow, Reader};
use super::tree::{Node, Path};
use super::{Step, duration};
use crate::connector::{Asks, Connector};
use crate::format::Format;

/// The limits of what an answer may take.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(60);

/// Who is asked.
struct Asked {
    connector: Arc<dyn Connector>,
    /// What a question to it is.
    asks: Asks,
    /// That of its answers; none: what is wrong with it is told elsewhere.
    format: Option<Arc<dyn Format>>,
}

impl Reader<'_> {
    pub(super) fn ask(&mut self, value: &Node, at: &Path, flow: &mut Flow, in_channel: bool) -> Option<Step> {
        let asked = self.asked(value, at);
        let question = self.question(value, at, flow, asked.as_ref());
        let mut set = vec![];
        for entry in value.get("set").map(Node::entries).unwrap_or_default() {
            let path = at.key("set").key(&entry.key);
            self.field_path(&entry.key, &path, flow, true);
            let Some(from) = entry.node.text() else { continue };
            if let Some(format) = asked.as_ref().and_then(|asked| asked.format.as_ref())
                && let Err(what) = format.check_path(from)
                && !self.is_told(&path)
            {
                self.problem(path, format!("in the answer: {what}"));
            }
            set.push((entry.key.clone(), from.to_owned()));
        }
        let within = self.within(value, at);
        if value
            .get("missing")
            .is_some_and(|node| node.get("default").is_some())
        {
            let what = "a default belongs to table; write \"keep\" or \"fail\"".to_owned();
            self.problem(at.key("missing"), what);
        }
        let or_else = |key: &str, otherwise: OrElse| match value.get(key).and_then(Node::text) {
            Some("keep") => OrElse::Keep,
            Some("fail") => OrElse::Fail,
            Some(_) | None => otherwise,
        };
        if in_channel && flow.decoded && !flow.applied && !flow.encoded {
            let what = "stands after the decode: what it writes reaches the destinations and not the clinic; put it before";
            self.warning(at.clone(), what.to_owned());
        }
        flow.unused_set = Some(at.clone());
        Some(Step::Ask(Ask {
            destination: value.get("ask")?.text()?.to_owned(),
            question: question?,
            set,
            missing: or_else("missing", OrElse::Keep),
            on_failure: or_else("on_failure", OrElse::Fail),
            within,
        }))
    }

    /// Which destinations the scripts of the channel may ask.
    pub(super) fn script_asks(&mut self, root: &Node) -> BTreeMap<String, Duration> {
        let mut asks = BTreeMap::new();
        for entry in root.get("ask").map(Node::entries).unwrap_or_default() {
            let path = Path::default().key("ask").key(&entry.key);
            self.asked_by(&entry.key, path.clone());
            let within = self.within(&entry.node, &path);
            asks.insert(entry.key.clone(), within);
        }
        asks
    }

    /// How long an answer may take.
    fn within(&mut self, value: &Node, at: &Path) -> Duration {
        match value.get("within").and_then(Node::text).map(duration::parse) {
            Some(Ok(within)) if SHORTEST <= within && within <= LONGEST => within,
            Some(Ok(_)) => {
                let what = "an answer has from \"10ms\" to \"1m\"".to_owned();
                self.problem(at.key("within"), what);
                WITHIN
            }
            Some(Err(what)) => {
                self.problem(at.key("within"), what);
                WITHIN
            }
            None => WITHIN,
        }
    }

    /// Who is asked.
    fn asked(&mut self, value: &Node, at: &Path) -> Option<Asked> {
        self.asked_by(value.get("ask")?.text()?, at.key("ask"))
    }

    fn asked_by(&mut self, name: &str, path: Path) -> Option<Asked> {
        let is_it = |node: &&Node| node.get("name").and_then(Node::text) == Some(name);
        let Some(node) = self.destinations.iter().find(is_it) else {
            let names: Vec<&str> = self
                .destinations
                .iter()
                .filter_map(|node| node.get("name")?.text())
                .collect();
            let what = match names.is_empty() {
                true => "the channel has no destination; make one with when = \"asked\"".to_owned(),
                false => not_known(name, &names),
            };
            self.problem(path, what);
            return None;
        };
        let mut all = self.connectors.all();
        let connector = all
            .find(|connector| node.get(connector.name()).is_some())?
            .clone();
        let Some(asks) = connector.asks() else {
            let what = format!(
                "\"{name}\" is a destination by {}, which can't be asked",
                connector.name()
            );
            self.problem(path, what);
            return None;
        };
        // What is wrong with the name of a format is told where it stands.
        let said = ["format", "encode"].map(|key| node.get(key).and_then(Node::text));
        let format = said[0].or(connector.format()).or(said[1]);
        let format = format.and_then(|name| self.formats.get(name));
        Some(Asked {
            connector,
            asks,
            format,
        })
    }

    fn question(&mut self, value: &Node, at: &Path, flow: &Flow, asked: Option<&Asked>) -> Option<Template> {
        let text = value.get("question")?.text()?;
        let path = at.key("question");
        let asks = asked.map_or(Asks::Either, |asked| asked.asks);
        let template = match Template::parse(text, asks) {
            Ok(template) => template,
            Err(what) => {
                self.problem(path, what);
                return None;
            }
        };
        for named in template.paths() {
            self.value_path(named, &path, flow, false);
        }
        if let Some(asked) = asked {
            let example = template.example();
            let by_format = asked.format.as_ref().filter(|_| asked.asks == Asks::Message);
            let checked = asked.connector.check_question(&example);
            let checked =
                checked.and_then(|()| by_format.map_or(Ok(()), |format| format.check_question(&example)));
            if let Err(what) = checked {
                self.problem(path, what);
            }
        }
        Some(template)
    }
}
