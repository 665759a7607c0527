//! Where a name stands in the channel files and in what they name: a table, a module, a destination, a channel, a connector.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path as FilePath, PathBuf};

use super::check::MAPPING;
use super::problem::line_and_column;
use super::tree::{Node, Path, parse};

/// One place that names it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Use {
    /// The channel.
    pub channel: String,
    /// The file: that of the channel, or a mapping or script that it names, or one that such a script imports.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in letters, from 1.
    pub column: usize,
    /// Where in the tree of the channel's file it or what leads to it stands: `step[1].codes`.
    pub path: String,
}

/// All places of these files (paths and texts) that use `name`: values that are it, files of that name (with or without
/// folder and ending), keys of connectors and steps, and scripts that import it. The mappings and scripts that the files name
/// are read by `read`, and so are the modules that those import. A file that is no TOML has none, nor has one that can't be read.
pub fn uses(
    files: &[(PathBuf, String)],
    name: &str,
    read: &dyn Fn(&FilePath) -> io::Result<String>,
) -> Vec<Use> {
    let mut found = vec![];
    for (file, text) in files {
        let Ok(root) = parse(text) else { continue };
        let channel = root.get("id").and_then(Node::text).unwrap_or_default();
        let mut take = |file: &FilePath, text: &str, at: usize, path: &Path| {
            let (line, column) = line_and_column(text, at);
            found.push(Use {
                channel: channel.to_owned(),
                file: file.to_owned(),
                line,
                column,
                path: path.to_string(),
            });
        };
        let mut places = vec![];
        walk(&root, &Path::default(), name, &mut places);
        for (path, at) in places {
            take(file, text, at, &path);
        }
        let mut leads = vec![];
        others(&root, &Path::default(), &mut leads);
        for (path, named) in leads {
            for (other, text, at) in through(file, named, name, read) {
                take(&other, &text, at, &path);
            }
        }
    }
    found
}

/// The values that name other files, or are scripts, which may.
fn others<'a>(node: &'a Node, path: &Path, found: &mut Vec<(Path, &'a str)>) {
    let children = node
        .entries()
        .iter()
        .map(|entry| (path.key(&entry.key), &entry.node));
    let items = node.items().iter().enumerate();
    for (path, node) in children.chain(items.map(|(idx, item)| (path.index(idx), item))) {
        if let Some(text) = node.text().filter(|text| text.contains('\n') || is_read(text)) {
            found.push((path.clone(), text));
        }
        others(node, &path, found);
    }
}

/// Whether it is the name of a file that may name others.
fn is_read(name: &str) -> bool {
    name.ends_with(".js") || name.ends_with(MAPPING)
}

/// The places in the files that a value of `file` names, and in those that they name in turn.
fn through(
    file: &FilePath,
    value: &str,
    name: &str,
    read: &dyn Fn(&FilePath) -> io::Result<String>,
) -> Vec<(PathBuf, String, usize)> {
    let (mut found, mut seen) = (vec![], BTreeSet::new());
    let mut open: Vec<PathBuf> = match value.contains('\n') {
        true => imports(file, value),
        false => vec![beside(file, value)],
    };
    while let Some(other) = open.pop() {
        if !seen.insert(other.clone()) {
            continue;
        }
        let Ok(text) = read(&other) else { continue };
        let mut places = vec![];
        if is_script(&other) {
            open.extend(imports(&other, &text));
            // A module beside the one that imports it is known by its path from the channels too.
            let is_it = |word: &str| {
                is_file(word, name) || (word.starts_with('.') && beside(&other, word) == beside(file, name))
            };
            let words = quoted(&text).into_iter();
            places.extend(words.filter(|(_, word)| is_it(word)).map(|(at, _)| at));
        } else if let Ok(root) = parse(&text) {
            let mut named = vec![];
            walk(&root, &Path::default(), name, &mut named);
            // What else it says are columns and values of the clinic.
            let is_table = |path: &Path| path.to_string().ends_with(".codes");
            places.extend(
                named
                    .into_iter()
                    .filter(|(path, _)| is_table(path))
                    .map(|(_, at)| at),
            );
        }
        found.extend(places.into_iter().map(|at| (other.clone(), text.clone(), at)));
    }
    found
}

fn is_script(file: &FilePath) -> bool {
    file.extension().is_some_and(|extension| extension == "js")
}

/// The modules that a script imports: words in quotes that are paths from it.
fn imports(file: &FilePath, script: &str) -> Vec<PathBuf> {
    let words = quoted(script).into_iter().map(|(_, word)| word);
    words
        .filter(|word| word.starts_with('.') && word.ends_with(".js"))
        .map(|word| beside(file, word))
        .collect()
}

/// A path from the folder of a file.
fn beside(file: &FilePath, name: &str) -> PathBuf {
    let mut path = file.parent().map_or_else(PathBuf::new, FilePath::to_owned);
    for part in FilePath::new(name).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if path.file_name().is_some() => {
                path.pop();
            }
            part @ (Component::ParentDir
            | Component::Normal(_)
            | Component::RootDir
            | Component::Prefix(_)) => {
                path.push(part);
            }
        }
    }
    path
}

/// What stands in quotes in a script, comments aside, with the place of the quote before it.
fn quoted(script: &str) -> Vec<(usize, &str)> {
    let (mut found, mut at) = (vec![], 0);
    while let Some(letter) = script[at..].chars().next() {
        let rest = &script[at..];
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += rest.find("*/").map_or(rest.len(), |end| end + 2);
        } else if matches!(letter, '"' | '\'' | '`') {
            let word = &rest[1..];
            let mut is_escaped = false;
            let end = word.find(|next: char| {
                let ends = !is_escaped && (next == letter || (next == '\n' && letter != '`'));
                is_escaped = next == '\\' && !is_escaped;
                ends
            });
            let end = end.unwrap_or(word.len());
            if word[end..].starts_with(letter) {
                found.push((at, &word[..end]));
            }
            at += (end + 2).min(rest.len());
        } else {
            at += letter.len_utf8();
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
        return quoted(text).iter().any(|(_, word)| is_file(word, name));
    }
    is_file(text, name)
}

/// `./tables/lis-codes.csv` is `tables/lis-codes.csv`, `lis-codes.csv` and `lis-codes`.
fn is_file(text: &str, name: &str) -> bool {
    let last = text.rsplit('/').next().unwrap_or_default();
    let stem = last.rsplit_once('.').map_or(last, |(stem, _)| stem);
    let with_folder = || {
        text.strip_suffix(name)
            .is_some_and(|before| before.ends_with('/'))
    };
    !name.is_empty()
        && (text == name || last == name || stem == name || (name.contains('/') && with_folder()))
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
        let nothing = |_: &FilePath| Err(io::Error::from(io::ErrorKind::NotFound));
        for (name, place) in [
            ("lis-codes", "4:9 step[0].codes"),
            ("lis-codes.csv", "4:9 step[0].codes"),
            ("names", "6:10 step[1].script"),
            ("ris", "10:8 destination[0].name"),
            ("mllp", "11:1 destination[0].mllp"),
        ] {
            let found: Vec<String> = uses(&files, name, &nothing)
                .iter()
                .map(|used| format!("{}:{} {}", used.line, used.column, used.path))
                .collect();
            assert_eq!(found, [place], "{name}");
        }
        assert!(uses(&files, "nothing", &nothing).is_empty());
    }

    #[test]
    fn and_in_the_files_that_a_channel_names() {
        let text = "id = \"lab\"\n[[step]]\nscript = \"fix.js\"\n[[step]]\nmapping = \"day.map.toml\"\n[[step]]\nscript = \"\"\"\nimport './lib/a.js';\n\"\"\"\n";
        let files = [(PathBuf::from("channels/lab.toml"), text.to_owned())];
        let read = |file: &FilePath| match file.to_str() {
            Some("channels/fix.js") => Ok(
                "// it's a comment: './lib/none.js'\nimport { a } from \"./lib/a.js\";\nconst b = /['\"]/;\n"
                    .to_owned(),
            ),
            // Two that import each other, and one that is not there.
            Some("channels/lib/a.js") => Ok("import '../c.js'; import \"./b.js\";\n".to_owned()),
            Some("channels/lib/b.js") => Ok("\nimport './a.js'; context.table('units.csv')".to_owned()),
            Some("channels/day.map.toml") => {
                Ok("[[change]]\n[change.say]\nsex = { codes = \"sex.csv\", value = \"phone\" }\n".to_owned())
            }
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        let (first, last) = ("step[0].script channels/lib/", "step[2].script channels/lib/");
        for (name, places) in [
            (
                "sex.csv",
                vec!["step[1].mapping channels/day.map.toml:3:17".to_owned()],
            ),
            (
                "units",
                vec![format!("{first}b.js:2:32"), format!("{last}b.js:2:32")],
            ),
            (
                "c.js",
                vec![format!("{first}a.js:1:8"), format!("{last}a.js:1:8")],
            ),
            (
                "lib/b.js",
                vec![format!("{first}a.js:1:26"), format!("{last}a.js:1:26")],
            ),
            ("none.js", vec![]),
            ("phone", vec![]),
        ] {
            let found: Vec<String> = uses(&files, name, &read)
                .iter()
                .map(|used| {
                    format!(
                        "{} {}:{}:{}",
                        used.path,
                        used.file.display(),
                        used.line,
                        used.column
                    )
                })
                .collect();
            assert_eq!(found, places, "{name}");
        }
        let found = uses(&files, "lib/a.js", &read);
        assert_eq!(found.len(), 4, "{found:?}");
    }
}
