//! What a channel file says about a folder.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use engine::connector::SettingsProblem;
use schemars::JsonSchema;
use serde::Deserialize;

use super::name::Template;
use super::pattern::Pattern;
use crate::values::{Problems, Table, default_from};

/// `[source.file]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// The folder that is read, from the folder of the channel file on unless its path is absolute: "../in".
    pub folder: String,
    /// The names that are read, `*` for any letters and `?` for one: "*.hl7", or a list.
    #[serde(default = "default_pattern")]
    pub pattern: Patterns,
    /// Which of the files that are ready comes first.
    #[serde(default)]
    pub order: Order,
    /// How long a file must not have changed before it is read: "2s". "0s" reads at once.
    #[serde(default = "default_stable")]
    pub stable: String,
    /// How often the folder is looked at: "1s".
    #[serde(default = "default_every")]
    pub every: String,
    /// "delete", or { move = "done" }: what happens to a file that is stored. The folder lies in the one that is read.
    #[serde(default = "default_after")]
    pub after: After,
    /// The folder for files that can't be read or understood, each with its reason beside it: "failed".
    #[serde(default = "default_failed")]
    pub failed: String,
    /// The largest file taken: "64 MB".
    #[serde(default = "default_size")]
    pub max_size: String,
    /// The MIME type of the files; unless said, by the ending of their names.
    #[serde(default)]
    pub content_type: Option<String>,
}

/// One pattern or several.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Patterns {
    /// One.
    One(String),
    /// Any of these.
    Several(Vec<String>),
}

/// Which file comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// By their names.
    #[default]
    Name,
    /// That which was changed first.
    Modified,
}

/// "delete", or { move = "done" }
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum After {
    /// A word.
    Word(AfterWord),
    /// It is moved.
    Move(AfterMove),
}

/// What happens without further saying.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AfterWord {
    /// It is deleted; the message is in the store.
    Delete,
}

/// Where a file is moved to.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AfterMove {
    /// The folder, in the one that is read unless its path is absolute.
    #[serde(rename = "move")]
    pub to: String,
}

/// A source's settings, checked.
#[derive(Clone, Debug)]
pub struct Source {
    /// As it is written.
    pub folder: PathBuf,
    /// Any of these.
    pub patterns: Vec<Pattern>,
    /// Which comes first.
    pub order: Order,
    /// Unchanged for so long.
    pub stable: Duration,
    /// Between two looks.
    pub every: Duration,
    /// None: it is deleted.
    pub done: Option<PathBuf>,
    /// For what can't be read.
    pub failed: PathBuf,
    /// Bytes.
    pub max_size: usize,
    /// MIME type.
    pub content_type: Option<String>,
}

/// `file = { … }` of a destination.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationSettings {
    /// The folder that is written to, from the folder of the channel file on unless its path is absolute: "../out".
    pub folder: String,
    /// The name of each file, with values of the message in braces: "{MSH-10}.hl7".
    pub name: String,
    /// Write all messages of one name into one file, one behind the other.
    #[serde(default)]
    pub append: bool,
    /// What stands behind each message of a file that is appended to: "\n".
    #[serde(default)]
    pub separator: Option<String>,
    /// What to do where a file of the name is there already, with other content.
    #[serde(default)]
    pub exists: Option<Exists>,
}

/// What to do where a file of the name is there already, with other content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exists {
    /// The delivery is refused.
    #[default]
    Refuse,
    /// The file is replaced.
    Replace,
    /// The new one gets a number: `a-2.hl7`.
    Number,
}

/// A destination's settings, checked.
#[derive(Clone, Debug)]
pub struct Destination {
    /// As it is written.
    pub folder: PathBuf,
    /// The name of each file.
    pub name: Template,
    /// How it is written.
    pub how: How,
}

/// How a destination writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// Each message is a file.
    Each(Exists),
    /// Messages stand one behind the other, each followed by this.
    Append {
        /// Behind each.
        separator: String,
    },
}

default_from! {
    default_stable = "2s";
    default_every = "1s";
    default_failed = "failed";
    default_size = "64 MB";
}

fn default_pattern() -> Patterns {
    Patterns::One("*".to_owned())
}

fn default_after() -> After {
    After::Move(AfterMove {
        to: "done".to_owned(),
    })
}

impl Table for SourceSettings {
    type Checked = Source;

    fn check(&self) -> Result<Source, Vec<SettingsProblem>> {
        let mut problems = Problems::default();
        let folder = folder(&mut problems, "folder", &self.folder);
        let patterns = match &self.pattern {
            Patterns::One(one) => vec![("pattern".to_owned(), one)],
            Patterns::Several(several) => {
                let at = |(idx, one)| (format!("pattern[{idx}]"), one);
                several.iter().enumerate().map(at).collect()
            }
        };
        if patterns.is_empty() {
            problems.add("pattern", "the list is empty; write \"*\" for every name");
        }
        for (path, pattern) in &patterns {
            if pattern.is_empty() {
                problems.add(path, "empty; write \"*\" for every name");
            } else if pattern.contains(['/', '\\']) {
                problems.add(
                    path,
                    "a pattern is for names and has no folders; sub-folders are not read",
                );
            }
        }
        let inside = |problems: &mut Problems, path: &str, text: &str| {
            let to = self::folder(problems, path, text);
            let whole = normal(&folder.join(&to));
            if !text.is_empty() && whole == normal(&folder) {
                problems.add(
                    path,
                    "is the folder that is read; its files would be read again and again",
                );
            }
            to
        };
        let done = match &self.after {
            After::Word(AfterWord::Delete) => None,
            After::Move(to) => Some(inside(&mut problems, "after.move", &to.to)),
        };
        let checked = Source {
            failed: inside(&mut problems, "failed", &self.failed),
            patterns: patterns
                .iter()
                .map(|(_, pattern)| Pattern::new(pattern))
                .collect(),
            order: self.order,
            stable: problems
                .duration_or_never("stable", &self.stable)
                .unwrap_or_default(),
            every: problems.duration("every", &self.every),
            done,
            max_size: problems.size("max_size", &self.max_size, 1..=1 << 30),
            content_type: self.content_type.clone(),
            folder,
        };
        problems.into_result(checked)
    }
}

impl Table for DestinationSettings {
    type Checked = Destination;

    fn check(&self) -> Result<Destination, Vec<SettingsProblem>> {
        let mut problems = Problems::default();
        let name = match Template::parse(&self.name) {
            Ok(name) => name,
            Err(what) => {
                problems.add("name", what);
                Template::default()
            }
        };
        let how = if self.append {
            if self.exists.is_some() {
                problems.add("exists", "says nothing where messages are appended; leave it out");
            }
            let separator = self.separator.clone();
            How::Append {
                separator: separator.unwrap_or_else(|| "\n".to_owned()),
            }
        } else {
            if self.separator.is_some() {
                problems.add(
                    "separator",
                    "stands between messages of one file; write append = true, or leave it out",
                );
            }
            How::Each(self.exists.unwrap_or_default())
        };
        let checked = Destination {
            folder: folder(&mut problems, "folder", &self.folder),
            name,
            how,
        };
        problems.into_result(checked)
    }
}

fn folder(problems: &mut Problems, path: &str, text: &str) -> PathBuf {
    if text.trim().is_empty() || text.contains('\0') {
        problems.add(path, "names no folder");
    }
    PathBuf::from(text)
}

/// A path without `.` and, where that can be told from its text, without `..`.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            Component::ParentDir | Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                out.push(part)
            }
        }
    }
    if out.as_os_str().is_empty() {
        // `channels/..`: the folder that we are in.
        out.push(Component::CurDir);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_plainly() {
        for (written, plain) in [
            ("channels/..", "."),
            ("./channels/../in", "in"),
            ("/srv/./a/../b", "/srv/b"),
            ("../x", "../x"),
            (".", "."),
        ] {
            assert_eq!(normal(Path::new(written)), Path::new(plain), "{written}");
        }
    }
}
