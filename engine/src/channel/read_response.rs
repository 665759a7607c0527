//! The steps that the answers of a destination go through: a channel of its own, read from `[[destination.response]]`.

use std::time::Duration;

use super::read::{Flow, Reader};
use super::response::{AnswersOf, Late, RESPONSE, id};
use super::tree::{Node, Path};
use super::{Ack, Channel, Destination, End, KeyPaths, OnError, OnUnsure, Retry, Step};
use crate::format::Settings;
use crate::run::LINK;

/// The longest time that a delivery may be pending.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

impl Reader<'_> {
    /// How answers come that come later.
    pub(super) fn late(&mut self, node: &Node, path: &Path) -> Late {
        let Some(node) = node.get("answers") else {
            return Late::default();
        };
        let path = path.key("answers");
        let within = self.duration(node, &path, "within");
        if within.is_some_and(|within| within.is_zero() || LONGEST < within) {
            let what = "an answer has at least \"1ms\" and at most \"366d\"".to_owned();
            self.problem(path.key("within"), what);
        }
        Late {
            by: node.get("by").and_then(Node::text).map(str::to_owned),
            within,
        }
    }

    /// The channel that a destination's answers go through. None: nothing is said of them. `destination`: as far as it
    /// could be read; what is wrong with the steps is told all the same. `of`: the channel's id and site.
    pub(super) fn response(
        &mut self,
        node: &Node,
        path: &Path,
        destination: Option<&Destination>,
        settings: &Settings,
        of: (Option<&str>, Option<&str>),
    ) -> Option<Channel> {
        let steps_node = node.get("response").map(Node::items).unwrap_or_default();
        for key in ["response", "answers"] {
            let answers = destination
                .and_then(|destination| self.connectors.get(&destination.end.connector))
                .is_none_or(|connector| connector.answers());
            if node.get(key).is_some() && !answers {
                let what = match node.get(LINK) {
                    Some(_) => "a channel answers nothing; put the steps there",
                    None => "nobody answers here; leave it out",
                };
                self.problem(path.key(key), what.to_owned());
                return None;
            }
        }
        if steps_node.is_empty() && node.get("answers").is_none() {
            return None;
        }
        let decoded_as = steps_node.iter().find_map(|step| step.get("decode")?.text());
        let format = decoded_as
            .or(destination.map(|destination| destination.end.format.as_str()))
            .and_then(|name| self.formats.get(name));
        let settings = Settings {
            server: destination.and_then(|destination| destination.end.format_settings.server.clone()),
            ..settings.clone()
        };
        let mut flow = Flow {
            format: format.clone(),
            decoded: false,
            applied: false,
            encoded: false,
            unused_set: None,
            settings: settings.clone(),
        };
        let (mut steps, mut links) = (vec![], vec![]);
        let mut source_settings = settings;
        for (idx, node) in steps_node.iter().enumerate() {
            let path = path.key("response").index(idx);
            if let Some(to) = node.get(LINK) {
                links.extend(self.hands_on(to, &path.key(LINK), &flow, &links));
                continue;
            }
            // That it is not for answers the schema has told.
            if node.get("split").is_some() {
                continue;
            }
            if node
                .get("lookup")
                .is_some_and(|lookup| lookup.get("ask").is_some())
            {
                let what = "an answer asks nobody; hand it on (channel = \"…\") and ask there".to_owned();
                self.problem(path.key("lookup").key("ask"), what);
                continue;
            }
            if !links.is_empty() {
                let what = "stands after `channel`, which hands the answer on; put it before".to_owned();
                self.problem(path.clone(), what);
            }
            if let Some(step) = self.step(node, &path, &mut flow, true) {
                if let Step::Decode { settings, .. } = &step {
                    source_settings = settings.clone();
                }
                steps.push(step);
            }
        }
        let destination = destination?;
        let (channel, site) = of;
        let channel = channel?;
        Some(Channel {
            id: id(channel, &destination.name),
            description: format!("What {} answers", destination.name),
            file: self.file.to_owned(),
            source: End {
                connector: RESPONSE.to_owned(),
                settings: serde_json::Value::Object(Default::default()),
                format: format?.name().to_owned(),
                format_settings: source_settings,
                script: None,
            },
            keys: KeyPaths::default(),
            questions: false,
            ack: Ack::Stored,
            dedup: Duration::from_secs(7 * 24 * 3600),
            // As that of the channel that it belongs to.
            keep: Default::default(),
            site: site.map(str::to_owned),
            steps,
            destinations: links,
            tables: self.tables_read(),
            counters: self.counters.clone(),
            caches: self.caches.clone(),
            calls: self.calls.clone(),
            // A destination of the channel is asked by the channel's own steps.
            script_asks: Default::default(),
            answers_of: Some(AnswersOf {
                channel: channel.to_owned(),
                destination: destination.name.clone(),
                by: destination.late.by.clone(),
                on_error: destination.on_error,
            }),
        })
    }

    /// A `channel` among the steps: the answer, as it is there, goes on to another channel.
    fn hands_on(
        &mut self,
        to: &Node,
        path: &Path,
        flow: &Flow,
        before: &[Destination],
    ) -> Option<Destination> {
        let name = to.text()?;
        if before.iter().any(|link| link.name == name) {
            self.problem(path.clone(), "gets the answer already".to_owned());
            return None;
        }
        Some(Destination {
            name: name.to_owned(),
            when: None,
            only_asked: false,
            commits: false,
            steps: vec![],
            end: End {
                connector: LINK.to_owned(),
                settings: name.into(),
                format: flow.format.as_ref()?.name().to_owned(),
                format_settings: flow.settings.clone(),
                script: None,
            },
            retry: Retry::default(),
            on_error: OnError::Hold,
            on_unsure: OnUnsure::Repeat,
            response: None,
            late: Late::default(),
            window: None,
            rate: None,
            order_by: None,
            breaker: None,
        })
    }
}
