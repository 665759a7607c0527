//! All channel files at once: what is wrong with them, or the channels.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path as FilePath, PathBuf};

use super::problem::{Problem, line_and_column, whole_file};
use super::read::{Reader, Tables};
use super::schema::channel_schema;
use super::shape::{Finding, Shape};
use super::tree::{Node, Path, parse};
use super::{Channel, End};
use crate::connector::{Connectors, EndSettings};
use crate::format::Formats;
use crate::script::Scripts;

/// The largest channel file, in bytes.
pub const MAX_FILE: usize = 1 << 20;

/// The end of the name of a mapping file.
pub(super) const MAPPING: &str = ".map.toml";

/// The most problems of one file that are told.
const MAX_PROBLEMS: usize = 200;

/// What the check of all files has found.
#[derive(Debug, Default)]
pub struct Checked {
    /// The channels of the files that are right, in the order of the files.
    pub channels: Vec<Channel>,
    /// What is wrong; nothing may start while there is anything.
    pub problems: Vec<Problem>,
    /// What is odd, and may be meant.
    pub warnings: Vec<Problem>,
}

impl Checked {
    /// The channels, if nothing is wrong with any file.
    pub fn into_result(self) -> Result<Vec<Channel>, Vec<Problem>> {
        if self.problems.is_empty() {
            Ok(self.channels)
        } else {
            Err(self.problems)
        }
    }
}

/// Checks channel files: all problems of all files, in the order of the files and of the places in them.
///
/// `files` are paths and texts; `tables` reads a code table or a script by its path (that of the channel file's folder
/// with the name in the file); `scripts` checks the scripts. Pure but for these, and for
/// warnings about variables and files of secrets that are missing.
pub fn check(
    files: &[(PathBuf, String)],
    formats: &Formats,
    connectors: &Connectors,
    tables: &dyn Fn(&FilePath) -> io::Result<String>,
    scripts: &dyn Scripts,
) -> Checked {
    let mut checked = Checked::default();
    let shape = match Shape::new(channel_schema(formats, connectors)) {
        Ok(shape) => shape,
        Err(what) => {
            let file = files.first().map(|(file, _)| file.clone()).unwrap_or_default();
            checked.problems.push(whole_file(&file, what));
            return checked;
        }
    };
    // The same table may serve several channels; its problems are told once.
    let told_tables = RefCell::new(Vec::new());
    let mut rooted = Vec::new();
    for (file, text) in files {
        if MAX_FILE < text.len() {
            let most = super::size::show(MAX_FILE as u64);
            checked.problems.push(whole_file(
                file,
                format!("larger than {most}, the most for a channel file"),
            ));
            continue;
        }
        match parse(text) {
            Ok(root) => {
                check_file(
                    file,
                    text,
                    &root,
                    &shape,
                    formats,
                    connectors,
                    tables,
                    scripts,
                    &told_tables,
                    &mut checked,
                );
                rooted.push((file, text, root));
            }
            Err(errors) => {
                let mut found: Vec<Problem> = errors
                    .into_iter()
                    .map(|error| {
                        let (line, column) = line_and_column(text, error.at);
                        Problem {
                            file: file.clone(),
                            line,
                            column,
                            path: String::new(),
                            what: format!("this is no TOML: {}", error.what),
                        }
                    })
                    .collect();
                found.sort();
                found.dedup_by(|a, b| (a.line, a.column) == (b.line, b.column));
                found.truncate(MAX_PROBLEMS);
                checked.problems.extend(found);
            }
        }
    }
    check_together(&rooted, connectors, &mut checked);
    check_clashes(&rooted, connectors, &mut checked);
    let (wrong_listeners, odd) = super::links::check_listeners(&rooted, &checked.channels);
    for odd in odd {
        if let Some((file, text, root)) = rooted.iter().find(|(file, ..)| odd.file == **file) {
            let (line, column) = line_and_column(text, odd.path.value_at(root));
            checked.warnings.push(Problem {
                file: (*file).clone(),
                line,
                column,
                path: odd.path.to_string(),
                what: odd.what,
            });
        }
    }
    // What takes the later answers of a destination goes somewhere.
    let takers = super::links::takers_of_answers(&rooted);
    checked
        .warnings
        .retain(|warning| warning.what != super::read::NOWHERE || !takers.contains(&warning.file));
    let mut wrong = super::links::check(&rooted, &checked.channels);
    wrong.extend(wrong_listeners);
    wrong.extend(super::links::check_late(&rooted, &checked.channels));
    for wrong in wrong {
        if let Some((file, text, root)) = rooted.iter().find(|(file, ..)| wrong.file == **file) {
            let (line, column) = line_and_column(text, wrong.path.value_at(root));
            checked.problems.push(Problem {
                file: (*file).clone(),
                line,
                column,
                path: wrong.path.to_string(),
                what: wrong.what,
            });
            checked.channels.retain(|channel| channel.file != **file);
        }
    }
    let order = |problem: &Problem| {
        let idx = files.iter().position(|(file, _)| *file == problem.file);
        (idx.unwrap_or(files.len()), problem.line, problem.column)
    };
    checked.problems.sort_by_key(order);
    checked.warnings.sort_by_key(order);
    checked
}

#[allow(
    clippy::too_many_arguments,
    reason = "one caller; a struct would only name them a second time"
)]
fn check_file(
    file: &FilePath,
    text: &str,
    root: &Node,
    shape: &Shape,
    formats: &Formats,
    connectors: &Connectors,
    tables: Tables<'_>,
    scripts: &dyn Scripts,
    told_tables: &RefCell<Vec<Problem>>,
    checked: &mut Checked,
) {
    let findings = shape.check(root);
    let mut reader = Reader {
        formats,
        connectors,
        tables,
        scripts,
        file,
        findings: &findings,
        problems: Vec::new(),
        warnings: Vec::new(),
        table_problems: Vec::new(),
        read_tables: BTreeMap::new(),
        counters: Vec::new(),
        caches: Vec::new(),
        calls: BTreeMap::new(),
        script_asks: BTreeMap::new(),
        destinations: root.get("destination").map(Node::items).unwrap_or_default(),
    };
    let channel = reader.channel(root);
    let Reader {
        problems,
        warnings,
        table_problems,
        ..
    } = reader;
    let literals = super::literal::secrets(root);
    let mut is_right = findings.is_empty() && problems.is_empty() && literals.is_empty();
    let placed = |finding: &Finding| {
        let at = if finding.at_key {
            finding.path.key_at(root)
        } else {
            finding.path.value_at(root)
        };
        let (line, column) = line_and_column(text, at);
        Problem {
            file: file.to_owned(),
            line,
            column,
            path: finding.path.to_string(),
            what: finding.what.clone(),
        }
    };
    let mut found: Vec<Problem> = Vec::new();
    // A secret is told before its key is: "not known here" would be the lesser half of it.
    for finding in literals.iter().chain(&findings).chain(&problems) {
        let problem = placed(finding);
        let is_told = found.iter().any(|told| {
            told.path == problem.path && (told.line, told.column) == (problem.line, problem.column)
        });
        // Several missing keys stand at the same place, each with its own sentence.
        if !is_told || (finding.what.contains("is missing") && !found.contains(&problem)) {
            found.push(problem);
        }
    }
    found.truncate(MAX_PROBLEMS);
    checked.problems.extend(found);
    for problem in table_problems {
        is_right = false;
        let problem = Problem {
            file: problem.file,
            line: problem.line,
            column: problem.column,
            path: String::new(),
            what: problem.what,
        };
        if !told_tables.borrow().contains(&problem) {
            told_tables.borrow_mut().push(problem.clone());
            checked.problems.push(problem);
        }
    }
    checked.warnings.extend(warnings.iter().map(placed));
    match channel {
        Some(channel) if is_right => checked.channels.push(channel),
        Some(_) => {}
        None if is_right => {
            // Every way to here has told its reason; this line is for the one that has not.
            checked.problems.push(whole_file(
                file,
                "the channel can't be read; please report this file",
            ));
        }
        None => {}
    }
}

/// What only all files together show: the same id, the same address.
fn check_together(files: &[(&PathBuf, &String, Node)], connectors: &Connectors, checked: &mut Checked) {
    let mut ids: BTreeMap<&str, &FilePath> = BTreeMap::new();
    let mut listeners: Vec<Listener<'_>> = Vec::new();
    for (file, text, root) in files {
        let mut tell = |path: Path, what: String| {
            let (line, column) = line_and_column(text, path.value_at(root));
            checked.problems.push(Problem {
                file: (*file).clone(),
                line,
                column,
                path: path.to_string(),
                what,
            });
            checked.channels.retain(|channel| channel.file != **file);
        };
        if let Some(id) = root.get("id").and_then(Node::text) {
            if id == super::write_door::WRITE_DOOR {
                let what = "is the channel of what comes by POST /clinic/changes; choose another name";
                tell(Path::default().key("id"), what.to_owned());
            }
            match ids.get(id) {
                Some(first) => tell(
                    Path::default().key("id"),
                    format!(
                        "{} has this id already; each channel has its own",
                        first.display()
                    ),
                ),
                None => {
                    ids.insert(id, file);
                }
            }
        }
        let Some(source) = root.get("source") else {
            continue;
        };
        for connector in connectors.all() {
            let Some(settings) = source.get(connector.name()) else {
                continue;
            };
            let Some(listen) = settings.get("listen").and_then(Node::text) else {
                continue;
            };
            let schema = connector.source_schema().unwrap_or_default();
            let listener = Listener {
                file,
                connector: connector.name(),
                is_shared: connector.shares_listeners(),
                listen,
                path: told_apart_by("path", settings, &schema),
                methods: told_apart_by("methods", settings, &schema),
            };
            match listeners.iter().find(|other| listener.collides_with(other)) {
                Some(other) => {
                    let hint = if listener.path.is_empty() { "" } else { " or path" };
                    let other = other.file.display();
                    tell(
                        Path::default().key("source").key(connector.name()).key("listen"),
                        format!("{other} listens there already; write another port{hint}"),
                    );
                }
                None => listeners.push(listener),
            }
        }
    }
}

/// An end and where it stands.
struct Placed<'a> {
    channel: &'a Channel,
    path: Path,
    is_source: bool,
    end: &'a End,
}

impl Placed<'_> {
    fn settings(&self) -> EndSettings<'_> {
        EndSettings {
            is_source: self.is_source,
            settings: &self.end.settings,
            file: &self.channel.file,
        }
    }
}

/// Ends that by themselves are right and can't both work: the connector says which.
fn check_clashes(files: &[(&PathBuf, &String, Node)], connectors: &Connectors, checked: &mut Checked) {
    let mut placed: Vec<Placed<'_>> = Vec::new();
    let mut found = Vec::new();
    for channel in &checked.channels {
        let top = Path::default();
        let source = (top.key("source"), true, &channel.source);
        let destinations = channel.destinations.iter().enumerate();
        let destinations = destinations.map(|(idx, to)| (top.key("destination").index(idx), false, &to.end));
        for (path, is_source, end) in std::iter::once(source).chain(destinations) {
            let Some(connector) = connectors.get(&end.connector) else {
                continue;
            };
            let this = Placed {
                channel,
                path: path.key(&end.connector),
                is_source,
                end,
            };
            let mut others = placed.iter().filter(|other| other.end.connector == end.connector);
            let clash =
                others.find_map(|other| Some((other, connector.clash(this.settings(), other.settings())?)));
            if let Some((other, clash)) = clash {
                let what = format!("{} {}", other.channel.file.display(), clash.what);
                found.push((channel.file.clone(), this.path.join(&clash.path), what));
            }
            placed.push(this);
        }
    }
    for (file, path, what) in found {
        let Some((_, text, root)) = files.iter().find(|(known, _, _)| **known == file) else {
            continue;
        };
        let (line, column) = line_and_column(text, path.value_at(root));
        checked.problems.push(Problem {
            file: file.clone(),
            line,
            column,
            path: path.to_string(),
            what,
        });
        checked.channels.retain(|channel| channel.file != file);
    }
}

/// An address that a source listens on.
struct Listener<'a> {
    file: &'a FilePath,
    connector: &'a str,
    /// The connector itself says which of its channels can't share one.
    is_shared: bool,
    listen: &'a str,
    /// What tells apart the channels that share a listener, where the connector has such a thing.
    path: Vec<String>,
    methods: Vec<String>,
}

/// The texts at a key of a connector's settings, or those that its schema says stand there unless said.
fn told_apart_by(key: &str, settings: &Node, schema: &serde_json::Value) -> Vec<String> {
    let value = match settings.get(key) {
        Some(node) => node.to_json(),
        None => schema
            .pointer(&format!("/properties/{key}/default"))
            .cloned()
            .unwrap_or_default(),
    };
    match value {
        serde_json::Value::String(text) => vec![text],
        serde_json::Value::Array(items) => items
            .iter()
            .filter_map(serde_json::Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

impl Listener<'_> {
    fn collides_with(&self, other: &Listener<'_>) -> bool {
        let is_same_address = match (self.listen.parse(), other.listen.parse()) {
            (Ok(this), Ok(that)) => same_address(this, that),
            _ => self.listen == other.listen,
        };
        let meets = |these: &[String], those: &[String]| {
            these.is_empty() || those.is_empty() || these.iter().any(|text| those.contains(text))
        };
        let meets = meets(&self.path, &other.path) && meets(&self.methods, &other.methods);
        let is_shared = self.connector == other.connector && (self.is_shared || !meets);
        is_same_address && !is_shared
    }
}

fn same_address(this: SocketAddr, that: SocketAddr) -> bool {
    let is_any = this.ip().is_unspecified() || that.ip().is_unspecified();
    this.port() != 0 && this.port() == that.port() && (is_any || this.ip() == that.ip())
}

/// The channel files of a folder (`*.toml`, by name) with their texts. A file that can't be read is a problem at its
/// first place; a folder that is not there has no channels.
pub fn read_folder(folder: &FilePath) -> Result<Vec<(PathBuf, String)>, Vec<Problem>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(vec![whole_file(
                folder,
                format!("the folder can't be read: {error}"),
            )]);
        }
    };
    let mut paths = Vec::new();
    let mut problems = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => paths.push(entry.path()),
            Err(error) => problems.push(whole_file(folder, format!("the folder can't be read: {error}"))),
        }
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    // Editors leave hidden files beside the one that is being written.
    paths.retain(|path| {
        path.file_name()
            .is_some_and(|name| !name.to_string_lossy().starts_with('.'))
    });
    // What lies beside the channels and is none.
    paths.retain(|path| !path.to_string_lossy().ends_with(MAPPING));
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        match read_text(&path, MAX_FILE) {
            Ok(text) => files.push((path, text)),
            Err(error) => problems.push(whole_file(&path, format!("the file can't be read: {error}"))),
        }
    }
    if problems.is_empty() {
        Ok(files)
    } else {
        Err(problems)
    }
}

/// Reads a code table from disk, for [`check`].
pub fn read_table(path: &FilePath) -> io::Result<String> {
    read_text(path, super::table::MAX_BYTES)
}

/// A text file of at most `limit` bytes (and one, so that the reader of the text sees that it is too long).
fn read_text(path: &FilePath, limit: usize) -> io::Result<String> {
    use std::io::Read;

    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(limit as u64 + 1)
        .read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|error| {
        let (line, column) = line_and_column(
            &String::from_utf8_lossy(error.as_bytes()),
            error.utf8_error().valid_up_to(),
        );
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("line {line}, column {column}: this is no UTF-8; save it as UTF-8"),
        )
    })
}
