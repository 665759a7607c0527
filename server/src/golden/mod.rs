//! Golden tests: beside each channel a folder with samples and what came of them, as somebody agreed to once.
//!
//! ```text
//! channels/lab-results.toml
//! channels/lab-results.tests/potassium/before-1.hl7       what the clinic knows before (none, one or several)
//!                                     /in.hl7             what comes in
//!                                     /state.txt          what becomes of it, and why
//!                                     /changes.json       what it says about the clinic
//!                                     /answer.mpi.json    what a destination answers that a step asks
//!                                     /asked.mpi.txt      what it is asked
//!                                     /out.portal.json    what each destination gets
//!                                     /reply.hl7          what the sender is told
//!                                     /response.lis.hl7   what a destination answers to it (none, one for each)
//!                                     /responded.lis.…    what comes of it: state.txt, changes.json, out.CHANNEL.hl7
//! ```
//!
//! Where the channel takes a whole apart, each part has files of its own: `state.2.txt`, `out.portal.2.json`.
//!
//! Times and ids are the same in each run. Nothing is opened, written, sent or asked (but with `--ask`): the clinic is one
//! in memory.

pub mod diff;
mod files;
mod run;

pub use files::readable;
pub use run::sent_format;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::channel::{Channel, nearest};
use engine::format::Formats;
use engine::run::{Answers, Askable};
use serde::Serialize;

/// One golden test.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its channel.
    pub channel: String,
    /// Its name: that of its folder.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
}

/// What a test found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The channel.
    pub channel: String,
    /// The test.
    pub test: String,
    /// What is not as expected; none: all is.
    pub findings: Vec<Finding>,
    /// Files that `--bless` wrote or took away.
    pub blessed: Vec<String>,
}

/// One thing that is not as expected.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The file of the test.
    pub file: String,
    /// What is wrong, in a sentence.
    pub what: String,
    /// How it differs: lines that begin with `-` (expected), `+` (came) or a blank.
    pub diff: Vec<String>,
}

/// The tests of these channels, and what is wrong with the folders. `only`: of one channel.
pub fn find(folder: &Path, channels: &[Channel], only: Option<&str>) -> (Vec<Case>, Vec<String>) {
    let (mut cases, mut wrong) = (vec![], vec![]);
    let ids: Vec<&str> = channels.iter().map(|channel| channel.id.as_str()).collect();
    for (name, path) in folders(folder) {
        let Some(id) = name.strip_suffix(".tests") else {
            continue;
        };
        if only.is_some_and(|only| only != id) {
            continue;
        }
        if !ids.contains(&id) {
            let near = nearest(id, ids.iter().copied());
            let near = near.map_or(".".to_owned(), |near| format!("; did you mean {near:?}?"));
            wrong.push(format!(
                "{}: there is no channel {id:?} for these tests{near} Rename the folder, or remove it.",
                path.display()
            ));
            continue;
        }
        for (test, folder) in folders(&path) {
            cases.push(Case {
                channel: id.to_owned(),
                name: test,
                folder,
            });
        }
    }
    (cases, wrong)
}

/// The channels that have no test.
pub fn without_tests<'a>(channels: &'a [Channel], cases: &[Case]) -> Vec<&'a str> {
    channels
        .iter()
        .map(|channel| channel.id.as_str())
        .filter(|id| !cases.iter().any(|case| case.channel == *id))
        .collect()
}

/// How tests are run.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// What came is expected from now on.
    pub bless: bool,
    /// Destinations are asked that have no recorded answer.
    pub ask: bool,
}

/// Runs one test.
pub async fn check(
    case: &Case,
    channel: &Channel,
    channels: &[Channel],
    formats: &Formats,
    manner: Manner,
) -> anyhow::Result<Report> {
    let mut report = Report {
        channel: case.channel.clone(),
        test: case.name.clone(),
        findings: vec![],
        blessed: vec![],
    };
    let answers = Arc::new(Answers::recorded(files::read_answers(&case.folder)?));
    let mut came = run::run(&case.folder, channel, channels, formats, &answers)?;
    while manner.ask && !answers.not_asked().is_empty() {
        let asked = ask(case, channel, formats, &answers, manner.bless).await?;
        report.blessed.extend(asked);
        came = run::run(&case.folder, channel, channels, formats, &answers)?;
    }
    let expected = files::read_expected(&case.folder)?;
    if manner.bless {
        report
            .blessed
            .extend(files::bless(&case.folder, &expected, &came)?);
    } else {
        report.findings = compare(channel, &expected, &came);
    }
    report.findings.extend(answers.not_asked().iter().map(|open| Finding {
        file: format!("answer.{}.json", open.destination),
        what: format!(
            "is not there, and a test asks nobody: {} went on without an answer. Put what {} answers into it, or let it be \
             asked: punte test {} --ask --bless",
            open.step, open.destination, case.channel
        ),
        diff: vec![],
    }));
    Ok(report)
}

/// Asks what has no answer; the answers are written down where they are to be kept.
async fn ask(
    case: &Case,
    channel: &Channel,
    formats: &Formats,
    answers: &Answers,
    is_kept: bool,
) -> anyhow::Result<Vec<String>> {
    let mut written = vec![];
    for question in answers.not_asked() {
        let name = &question.destination;
        let askable = Askable::open(channel, name, &connectors::all(), formats).await;
        let askable = askable.map_err(|what| anyhow::anyhow!("{name} can't be opened: {what}"))?;
        let heard = askable.ask(uuid::Uuid::nil(), &question).await;
        if let (true, Some(response)) = (is_kept, &heard.response) {
            let mut all = channel.destinations.iter();
            let end = all.find(|destination| destination.name == *name);
            let format = end.map_or("", |destination| destination.end.format.as_str());
            written.push(files::write_answer(&case.folder, name, format, &response.body)?);
        }
        answers.keep(question, heard.answered);
    }
    Ok(written)
}

/// What is in a test's folder beside its input, or is to be: file name and text.
type Files = BTreeMap<String, Vec<u8>>;

fn compare(channel: &Channel, expected: &Files, came: &Files) -> Vec<Finding> {
    let mut findings = vec![];
    if expected.is_empty() {
        return vec![Finding {
            file: String::new(),
            what: "nothing is expected yet; look at what comes out with `punte try`, then write it down with --bless"
                .to_owned(),
            diff: vec![],
        }];
    }
    for (file, expected) in expected {
        match came.get(file) {
            Some(came) if came == expected => {}
            Some(came) => findings.push(Finding {
                file: file.clone(),
                what: "differs".to_owned(),
                diff: diff::lines(expected, came),
            }),
            None => findings.push(Finding {
                file: file.clone(),
                what: missing(channel, file),
                diff: vec![],
            }),
        }
    }
    for (file, came) in came {
        if !expected.contains_key(file) {
            findings.push(Finding {
                file: file.clone(),
                what: "came and is not expected".to_owned(),
                diff: diff::lines(&[], came),
            });
        }
    }
    findings
}

/// Why a file that is expected did not come.
fn missing(channel: &Channel, file: &str) -> String {
    let destination = file
        .strip_prefix("out.")
        .and_then(|rest| rest.rsplit_once('.'))
        .map(|(name, _)| name);
    let Some(destination) = destination else {
        return "is expected and did not come".to_owned();
    };
    // Of a part: `out.portal.2.json`.
    let destination = match destination.rsplit_once('.') {
        Some((name, number)) if channel.split().is_some() && number.bytes().all(|b| b.is_ascii_digit()) => {
            name
        }
        Some(_) | None => destination,
    };
    let names: Vec<&str> = channel.destinations.iter().map(|d| d.name.as_str()).collect();
    if names.contains(&destination) {
        return format!("is expected, and nothing goes to {destination:?} now (or in another format)");
    }
    match nearest(destination, names) {
        Some(near) => {
            format!("the channel has no destination {destination:?} any more; did it become {near:?}?")
        }
        None => format!("the channel has no destination {destination:?} any more"),
    }
}

/// The folders in a folder, by name.
fn folders(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(String, PathBuf)> = entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .filter(|(name, _)| !name.starts_with('.'))
        .collect();
    found.sort();
    found
}
