//! What only all files together show of the links between channels: one that leads nowhere, to a channel that takes
//! nothing from others, in another format, or round in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path as FilePath, PathBuf};

use super::Channel;
use super::problem::nearest;
use super::tree::{Node, Path};
use crate::run::LINK;

/// What is wrong with a link: its file, its place in there, a sentence.
pub(super) struct Wrong<'a> {
    pub(super) file: &'a FilePath,
    pub(super) path: Path,
    pub(super) what: String,
}

/// One destination that is another channel.
struct Leads<'a> {
    file: &'a FilePath,
    from: &'a str,
    to: &'a str,
    destination: usize,
}

impl<'a> Leads<'a> {
    fn wrong(&self, what: String) -> Wrong<'a> {
        let path = Path::default()
            .key("destination")
            .index(self.destination)
            .key(LINK);
        Wrong {
            file: self.file,
            path,
            what,
        }
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
            if let Some(to) = text(node, LINK) {
                links.push(Leads {
                    file,
                    from: id,
                    to,
                    destination,
                });
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
    let sent = &by_id(link.from)?.destinations.get(link.destination)?.end.format;
    let read = &by_id(to)?.source.format;
    (sent != read && read != "bytes").then(|| {
        let hint = format!("write encode = \"{read}\" here, or format = \"{sent}\" there");
        link.wrong(format!("gets {sent}, and \"{to}\" reads {read}; {hint}"))
    })
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
