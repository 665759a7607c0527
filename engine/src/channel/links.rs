//! What only all files together show of the links between channels: one that leads nowhere, to a channel that takes
//! nothing from others, in another format, or round in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path as FilePath, PathBuf};

use super::problem::nearest;
use super::tree::{Node, Path};
use super::write_door::WRITE_DOOR;
use super::{Channel, Step};
use crate::run::{CLINIC, LINK};

/// What is wrong with a link: its file, its place in there, a sentence.
pub(super) struct Wrong<'a> {
    pub(super) file: &'a FilePath,
    pub(super) path: Path,
    pub(super) what: String,
}

/// One destination that is another channel, or a step of an answer that hands it on there.
struct Leads<'a> {
    file: &'a FilePath,
    from: &'a str,
    to: &'a str,
    destination: usize,
    /// Which step of the destination's answers.
    response: Option<usize>,
}

impl<'a> Leads<'a> {
    fn wrong(&self, what: String) -> Wrong<'a> {
        let mut path = Path::default().key("destination").index(self.destination);
        if let Some(step) = self.response {
            path = path.key("response").index(step);
        }
        Wrong {
            file: self.file,
            path: path.key(LINK),
            what,
        }
    }

    /// The format of what goes there.
    fn format<'c>(&self, from: &'c Channel) -> Option<&'c str> {
        let destination = from.destinations.get(self.destination)?;
        let leads = match self.response {
            None => destination,
            Some(_) => {
                let links = &destination.response.as_ref()?.destinations;
                links.iter().find(|link| link.name == self.to)?
            }
        };
        Some(&leads.end.format)
    }
}

/// Looks at all links of the files; `channels` are those of the files that are right.
pub(super) fn check<'a>(files: &'a [(&PathBuf, &String, Node)], channels: &[Channel]) -> Vec<Wrong<'a>> {
    let text = |node: &'a Node, key: &str| node.get(key).and_then(Node::text);
    // Whether it takes messages from others.
    let mut takes: BTreeMap<&str, bool> = BTreeMap::new();
    let mut links: Vec<Leads<'a>> = vec![];
    for (file, _, root) in files {
        let Some(id) = text(root, "id") else { continue };
        let is_fed = root
            .get("source")
            .is_some_and(|source| source.get(LINK).is_some());
        takes.entry(id).or_insert(is_fed);
        let destinations = root.get("destination").map(Node::items).unwrap_or_default();
        for (destination, node) in destinations.iter().enumerate() {
            let steps = node.get("response").map(Node::items).unwrap_or_default();
            let steps = steps.iter().enumerate().map(|(idx, step)| (Some(idx), step));
            for (response, node) in std::iter::once((None, node)).chain(steps) {
                links.extend(text(node, LINK).map(|to| Leads {
                    file,
                    from: id,
                    to,
                    destination,
                    response,
                }));
            }
        }
    }
    links
        .iter()
        .filter_map(|link| wrong_with(link, &links, &takes, channels))
        .collect()
}

fn wrong_with<'a>(
    link: &Leads<'a>,
    links: &[Leads<'a>],
    takes: &BTreeMap<&str, bool>,
    channels: &[Channel],
) -> Option<Wrong<'a>> {
    let to = link.to;
    match takes.get(to) {
        None => {
            let fed: Vec<&str> = takes
                .iter()
                .filter(|(_, is_fed)| **is_fed)
                .map(|(id, _)| *id)
                .collect();
            let what = match nearest(to, takes.keys().copied()) {
                Some(id) => format!("there is no channel \"{to}\"; did you mean \"{id}\"?"),
                None if fed.is_empty() => {
                    format!("there is no channel \"{to}\", and none with [source.channel]")
                }
                None => format!(
                    "there is no channel \"{to}\"; those with [source.channel] are {}",
                    fed.join(", ")
                ),
            };
            return Some(link.wrong(what));
        }
        Some(false) => {
            let what = format!("\"{to}\" takes nothing from other channels; write [source.channel] there");
            return Some(link.wrong(what));
        }
        Some(true) => {}
    }
    if let Some(way) = way_back(link, links) {
        let what = format!(
            "goes round in a circle: {}; take one of these links out",
            way.join(" → ")
        );
        return Some(link.wrong(what));
    }
    let by_id = |id: &str| channels.iter().find(|channel| channel.id == id);
    let sent = link.format(by_id(link.from)?)?;
    let read = &by_id(to)?.source.format;
    (sent != read && read != "bytes").then(|| {
        let hint = format!("write encode = \"{read}\" here, or format = \"{sent}\" there");
        link.wrong(format!("gets {sent}, and \"{to}\" reads {read}; {hint}"))
    })
}

/// The files of the channels by which answers of destinations come later.
pub(super) fn takers_of_answers(files: &[(&PathBuf, &String, Node)]) -> Vec<PathBuf> {
    let destinations = |root: &'_ Node| -> Vec<String> {
        let destinations = root.get("destination").map(Node::items).unwrap_or_default();
        let by = destinations
            .iter()
            .filter_map(|node| node.get("answers")?.get("by")?.text());
        by.map(str::to_owned).collect()
    };
    let named: Vec<String> = files.iter().flat_map(|(_, _, root)| destinations(root)).collect();
    let is_named = |root: &Node| {
        let id = root.get("id").and_then(Node::text).unwrap_or_default();
        named.iter().any(|by| by == id)
    };
    let takers = files.iter().filter(|(_, _, root)| is_named(root));
    takers.map(|(file, _, _)| (*file).clone()).collect()
}

/// What is wrong with what destinations say of answers that come later: the channel by which they come is not there, or
/// reads another format.
pub(super) fn check_late<'a>(files: &'a [(&PathBuf, &String, Node)], channels: &[Channel]) -> Vec<Wrong<'a>> {
    let ids: Vec<&str> = files
        .iter()
        .filter_map(|(_, _, root)| root.get("id")?.text())
        .collect();
    let mut wrongs = vec![];
    for (file, _, root) in files {
        let destinations = root.get("destination").map(Node::items).unwrap_or_default();
        for (idx, node) in destinations.iter().enumerate() {
            let Some(by) = node.get("answers").and_then(|answers| answers.get("by")?.text()) else {
                continue;
            };
            let mut tell = |what: String| {
                wrongs.push(Wrong {
                    file,
                    path: Path::default()
                        .key("destination")
                        .index(idx)
                        .key("answers")
                        .key("by"),
                    what,
                });
            };
            if !ids.contains(&by) {
                tell(super::problem::not_known(by, &ids));
                continue;
            }
            let sends = channels.iter().find(|channel| channel.file == **file);
            let sends = sends.and_then(|channel| channel.destinations.get(idx));
            let (Some(sends), Some(takes)) = (sends, channels.iter().find(|channel| channel.id == by)) else {
                continue;
            };
            if takes.source.format != sends.end.format {
                let (read, sent) = (&takes.source.format, &sends.end.format);
                tell(format!(
                    "\"{by}\" reads {read}, and this sends {sent}: its answers can't come there"
                ));
            } else if takes.source.connector == LINK || takes.source.connector == CLINIC {
                tell(format!(
                    "\"{by}\" takes nothing from outside; name a channel that listens"
                ));
            } else if takes.split().is_some() {
                tell(format!("\"{by}\" takes apart what comes; an answer comes whole"));
            }
        }
    }
    wrongs
}

/// What is wrong with channels that listen to the clinic, and what is odd: one that tells a partner what another channel
/// of the same partner has brought.
pub(super) fn check_listeners<'a>(
    files: &'a [(&PathBuf, &String, Node)],
    channels: &[Channel],
) -> (Vec<Wrong<'a>>, Vec<Wrong<'a>>) {
    let (mut wrongs, mut odd) = (vec![], vec![]);
    let mut ids: Vec<&str> = files
        .iter()
        .filter_map(|(_, _, root)| root.get("id")?.text())
        .collect();
    // The door of the API is in no file.
    ids.push(WRITE_DOOR);
    for (file, _, root) in files {
        let Some(settings) = root.get("source").and_then(|source| source.get(CLINIC)) else {
            continue;
        };
        let path = Path::default().key("source").key(CLINIC);
        let not_from: Vec<&str> = settings
            .get("not_from")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .filter_map(Node::text)
            .collect();
        for (n, id) in not_from.iter().enumerate().filter(|(_, id)| !ids.contains(id)) {
            wrongs.push(Wrong {
                file,
                path: path.key("not_from").index(n),
                what: super::problem::not_known(id, &ids),
            });
        }
        let Some(listens) = channels.iter().find(|channel| channel.file == **file) else {
            continue;
        };
        let same_partner = channels.iter().filter(|other| {
            other.id != listens.id
                && !not_from.contains(&other.id.as_str())
                && is_of_the_partner(other, listens)
        });
        for other in same_partner {
            let id = &other.id;
            let what = format!(
                "\"{id}\" seems to bring changes of a partner who is told here; write not_from = [\"{id}\"], or what it \
                 brings goes back there"
            );
            odd.push(Wrong {
                file,
                path: path.clone(),
                what,
            });
        }
    }
    (wrongs, odd)
}

/// True where a channel writes to the clinic what comes from somebody to whom `listens` sends: by the names of the
/// destinations, or by the hosts in the settings of both.
fn is_of_the_partner(brings: &Channel, listens: &Channel) -> bool {
    let applies = brings.steps.iter().any(|step| matches!(step, Step::Apply { .. }));
    let mut brought_by = vec![];
    hosts(&brings.source.settings, &mut brought_by);
    for destination in &brings.destinations {
        hosts(&destination.end.settings, &mut brought_by);
    }
    applies
        && listens.destinations.iter().any(|destination| {
            let name = destination.name.as_str();
            let mut told = vec![];
            hosts(&destination.end.settings, &mut told);
            brings.id == name
                || brings.id.split('-').any(|word| word == name)
                || brings.destinations.iter().any(|other| other.name == name)
                || told.iter().any(|host| brought_by.contains(host))
        })
}

/// The hosts that settings name, ourselves left out.
fn hosts(settings: &serde_json::Value, out: &mut Vec<String>) {
    match settings {
        serde_json::Value::String(text) => {
            let rest = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest);
            let host = rest.split(['/', ':']).next().unwrap_or_default();
            let is_host = host.contains('.') && !host.contains(' ') && !host.starts_with('.');
            if is_host && !host.starts_with("127.") && host != "0.0.0.0" {
                out.push(host.to_lowercase());
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| hosts(value, out)),
        serde_json::Value::Object(entries) => entries.values().for_each(|value| hosts(value, out)),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

/// The channels from the link's own back to it.
fn way_back<'a>(link: &Leads<'a>, links: &[Leads<'a>]) -> Option<Vec<&'a str>> {
    let mut seen = BTreeSet::new();
    let mut ways = vec![vec![link.from, link.to]];
    while let Some(way) = ways.pop() {
        let at = *way.last()?;
        if at == link.from {
            return Some(way);
        }
        if seen.insert(at) {
            for next in links.iter().filter(|next| next.from == at) {
                ways.push([way.as_slice(), &[next.to]].concat());
            }
        }
    }
    None
}
