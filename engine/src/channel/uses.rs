//! Where a name stands in the channel files: a table, a module, a destination, a channel, a connector.

use std::path::PathBuf;

use super::problem::line_and_column;
use super::tree::{Node, Path, parse};

/// One place that names it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Use {
    /// The channel.
    pub channel: String,
    /// Its file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in letters, from 1.
    pub column: usize,
    /// Where in the file's tree: `step[1].codes`.
    pub path: String,
}

/// All places of these files (paths and texts) that use `name`: values that are it, files of that name (with or without
/// folder and ending), keys of connectors and steps, and scripts that import it. A file that is no TOML has none.
pub fn uses(files: &[(PathBuf, String)], name: &str) -> Vec<Use> {
    let mut found = vec![];
    for (file, text) in files {
        let Ok(root) = parse(text) else { continue };
        let channel = root.get("id").and_then(Node::text).unwrap_or_default();
        let mut places = vec![];
        walk(&root, &Path::default(), name, &mut places);
        for (path, at) in places {
            let (line, column) = line_and_column(text, at);
            found.push(Use {
                channel: channel.to_owned(),
                file: file.clone(),
                line,
                column,
                path: path.to_string(),
            });
        }
    }
    found
}

fn walk(node: &Node, path: &Path, name: &str, found: &mut Vec<(Path, usize)>) {
    for entry in node.entries() {
        let path = path.key(&entry.key);
        let is_word = matches!(entry.key.as_str(), "id" | "description");
        if entry.key == name {
            found.push((path, entry.span.start));
            continue;
        }
        if !is_word && entry.node.text().is_some_and(|text| names(text, name)) {
            found.push((path.clone(), entry.node.span.start));
        }
        walk(&entry.node, &path, name, found);
    }
    for (idx, item) in node.items().iter().enumerate() {
        let path = path.index(idx);
        if item.text().is_some_and(|text| names(text, name)) {
            found.push((path.clone(), item.span.start));
        }
        walk(item, &path, name, found);
    }
}

/// Whether a value names it.
fn names(text: &str, name: &str) -> bool {
    if text.contains('\n') {
        // A script: what it imports or looks up stands in quotes.
        return ['"', '\''].iter().any(|quote| {
            text.split(*quote)
                .skip(1)
                .step_by(2)
                .any(|quoted| is_file(quoted, name))
        });
    }
    is_file(text, name)
}

/// `tables/lis-codes.csv` is `tables/lis-codes.csv`, `lis-codes.csv` and `lis-codes`.
fn is_file(text: &str, name: &str) -> bool {
    let last = text.rsplit('/').next().unwrap_or_default();
    let stem = last.rsplit_once('.').map_or(last, |(stem, _)| stem);
    text == name || last == name || stem == name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_where_it_stands() {
        let text = r#"id = "lab"
description = "ris"
[[step]]
codes = "tables/lis-codes.csv"
[[step]]
script = """
import { fold } from "./lib/names.js";
"""
[[destination]]
name = "ris"
mllp.connect = "h:1"
"#;
        let files = [(PathBuf::from("channels/lab.toml"), text.to_owned())];
        for (name, place) in [
            ("lis-codes", "4:9 step[0].codes"),
            ("lis-codes.csv", "4:9 step[0].codes"),
            ("names", "6:10 step[1].script"),
            ("ris", "10:8 destination[0].name"),
            ("mllp", "11:1 destination[0].mllp"),
        ] {
            let found: Vec<String> = uses(&files, name)
                .iter()
                .map(|used| format!("{}:{} {}", used.line, used.column, used.path))
                .collect();
            assert_eq!(found, [place], "{name}");
        }
        assert!(uses(&files, "nothing").is_empty());
    }
}
