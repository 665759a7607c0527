//! Questions to a destination, of a `lookup` step and of `on_unsure`: who is asked, what, and where the answer goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::ask::{Ask, Inquiry, OrElse, Template, WITHIN};
use super::problem::not_known;
use super::read::{Flow, Reader, is_only_asked};
use super::tree::{Node, Path};
use super::{OnUnsure, Step, duration, is_heading};
use crate::connector::{Asks, Connector};
use crate::format::Format;
use crate::run::LINK;

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
        let question = self.question(value, at, asked.as_ref());
        for named in question.iter().flat_map(Template::paths) {
            self.value_path(named, &at.key("question"), flow, false);
        }
        self.can_be_asked(question.as_ref(), at, asked.as_ref());
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

    /// What happens to what was sent and whose answer is lost; none: what the connector says. `format`: of what is sent.
    pub(super) fn on_unsure(&mut self, node: &Node, path: &Path, format: Option<&str>) -> Option<OnUnsure> {
        self.not_of_a_link(node, path, "on_unsure");
        let value = node.get("on_unsure")?;
        match value.text() {
            Some("repeat") => return Some(OnUnsure::Repeat),
            Some("hold") => return Some(OnUnsure::Hold),
            Some(_) => return None,
            None => {}
        }
        // That it does not belong here at all has been told.
        if is_only_asked(node) || node.get(LINK).is_some() {
            return None;
        }
        let at = path.key("on_unsure");
        let asked = self.asked(value, &at);
        let question = self.question(value, &at, asked.as_ref());
        if let Some(format) = format.and_then(|name| self.formats.get(name)) {
            for named in question.iter().flat_map(Template::paths) {
                let checked = match is_heading(named) {
                    true => Err("stands beside the message that came in, and not in what is sent".to_owned()),
                    false => format.check_path(named),
                };
                if let Err(what) = checked {
                    self.problem(at.key("question"), format!("{{{named}}}: {what}"));
                }
            }
        }
        self.can_be_asked(question.as_ref(), &at, asked.as_ref());
        let within = self.within(value, &at);
        Some(OnUnsure::Ask(Box::new(Inquiry {
            destination: value.get("ask")?.text()?.to_owned(),
            question: question?,
            within,
        })))
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

    /// What is asked, as far as it can be read.
    fn question(&mut self, value: &Node, at: &Path, asked: Option<&Asked>) -> Option<Template> {
        let text = value.get("question")?.text()?;
        let path = at.key("question");
        let asks = asked.map_or(Asks::Either, |asked| asked.asks);
        match Template::parse(text, asks) {
            Ok(template) => Some(template),
            Err(what) => {
                self.problem(path, what);
                None
            }
        }
    }

    /// Whether a question can be asked of whom it is for.
    fn can_be_asked(&mut self, question: Option<&Template>, at: &Path, asked: Option<&Asked>) {
        let (Some(question), Some(asked)) = (question, asked) else {
            return;
        };
        let example = question.example();
        let by_format = |format: &Arc<dyn Format>| match asked.asks {
            Asks::Message => format.check_question(&example),
            Asks::Either if question.is_address() => format.check_address(),
            Asks::Either | Asks::Address => Ok(()),
        };
        let checked = asked.connector.check_question(&example);
        let checked = checked.and_then(|()| asked.format.as_ref().map_or(Ok(()), by_format));
        if let Err(what) = checked {
            self.problem(at.key("question"), what);
        }
    }
}
