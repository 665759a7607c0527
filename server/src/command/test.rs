//! `punte test`: the golden tests beside the channels.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use engine::channel::no_channel;
use engine::channel::write_door::WRITE_DOOR;
use serde_json::json;

use super::print;
use crate::formats;
use crate::golden::{self, Case, Finding, Manner, Report};
use crate::home::Home;
use crate::render::{self, Paint};

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "Beside channels/adt.toml lies channels/adt.tests/, in it a folder for each test: in.hl7 is what comes in, the other\nfiles are what has to come of it: state.txt, changes.json, out.DESTINATION.hl7 (or .json …), reply.hl7. Messages that\nthe clinic knows before lie beside it as before-1.hl7, before-2.hl7 …  What a destination answers lies there as\nresponse.DESTINATION.hl7, what comes of that as responded.DESTINATION.state.txt …  Times and ids are the same at each run.\n\n  punte test                                       all channels\n  punte test adt                                   one\n  punte test adt --add admit message.hl7           a new test from a sample\n  punte test adt --bless                           what comes out now is right: write it down\n\nExit codes: 0 all is as expected, 1 something differs."
)]
pub struct Args {
    /// Only of this channel
    channel: Option<String>,
    /// Write down what comes out now, in place of what was expected
    #[arg(long)]
    bless: bool,
    /// Make a test of this name from a sample, and write down what comes out
    #[arg(long, num_args = 2, value_names = ["NAME", "FILE"], requires = "channel", conflicts_with = "bless")]
    add: Option<Vec<String>>,
    /// Ask destinations for real that a step asks and that have no answer.NAME.… beside the test; with --bless what they
    /// answer is written there
    #[arg(long)]
    ask: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Runs them. Exit code 1 where something is not as expected.
pub async fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    let (channels, _) = home.channels().map_err(|problems| {
        let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!("the channels are not right:\n{}", list.join("\n"))
    })?;
    if let Some(only) = &args.channel
        && !channels.iter().any(|channel| channel.id == *only)
    {
        let ids: Vec<String> = channels.into_iter().map(|channel| channel.id).collect();
        bail!(no_channel(only, &ids));
    }
    let folder = home.channels_folder();
    let (mut cases, wrong) = golden::find(&folder, &channels, args.channel.as_deref());
    if let (Some(words), Some(channel)) = (&args.add, &args.channel) {
        cases = vec![add(&folder.join(format!("{channel}.tests")), channel, words)?];
    }
    let manner = Manner {
        bless: args.bless || args.add.is_some(),
        ask: args.ask,
    };
    let mut reports = vec![];
    for case in &cases {
        let Some(channel) = channels.iter().find(|channel| channel.id == case.channel) else {
            continue;
        };
        let report = golden::check(case, channel, &channels, &formats::all(), manner).await;
        let report = report.unwrap_or_else(|error| Report {
            channel: case.channel.clone(),
            test: case.name.clone(),
            findings: vec![Finding {
                file: String::new(),
                what: format!("{error:#}"),
                diff: vec![],
            }],
            blessed: vec![],
        });
        reports.push(report);
    }
    let without: Vec<&str> = golden::without_tests(&channels, &cases)
        .into_iter()
        .filter(|id| args.channel.as_deref().is_none_or(|only| only == *id))
        .filter(|id| *id != WRITE_DOOR)
        .collect();
    let is_bad = !wrong.is_empty()
        || reports.iter().any(|report| !report.findings.is_empty())
        || (args.channel.is_some() && cases.is_empty());
    if args.json {
        print(&format!(
            "{:#}\n",
            json!({ "tests": reports, "wrong": wrong, "without_tests": without })
        ));
    } else {
        print(&told(&reports, &Paint::on_stdout()));
        for line in &wrong {
            eprintln!("{line}");
        }
        for id in &without {
            eprintln!("{id} has no tests. Make one: punte test {id} --add NAME FILE");
        }
    }
    Ok(if is_bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// A folder with the sample in it.
fn add(tests: &std::path::Path, channel: &str, words: &[String]) -> anyhow::Result<Case> {
    let [name, file] = words else {
        bail!("--add takes a name and a file");
    };
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || !name.chars().all(safe) {
        bail!("{name:?} is no name of a test: letters, digits, '-' and '_' only");
    }
    let folder = tests.join(name);
    if folder.exists() {
        bail!("{} is there already", folder.display());
    }
    let sample = PathBuf::from(file);
    let bytes = super::read_input(&sample)?;
    let ending = sample
        .extension()
        .map_or("hl7".into(), |ending| ending.to_string_lossy());
    std::fs::create_dir_all(&folder).with_context(|| format!("{} can't be made", folder.display()))?;
    let path = folder.join(format!("in.{ending}"));
    std::fs::write(&path, bytes).with_context(|| format!("{} can't be written", path.display()))?;
    Ok(Case {
        channel: channel.to_owned(),
        name: name.clone(),
        folder,
    })
}

fn told(reports: &[Report], paint: &Paint) -> String {
    let mut out = String::new();
    let mut channel = "";
    for report in reports {
        if channel != report.channel {
            channel = &report.channel;
            out.push_str(&format!("{}\n", paint.bold(channel)));
        }
        let word = match (report.findings.is_empty(), report.blessed.is_empty()) {
            (true, true) => paint.green("ok     "),
            (true, false) => paint.yellow("blessed"),
            (false, _) => paint.red("differs"),
        };
        let files = match report.blessed.as_slice() {
            [] => String::new(),
            files => format!(": {}", files.join(", ")),
        };
        out.push_str(&format!("  {word}  {}{files}\n", report.test));
        for finding in &report.findings {
            let file = match finding.file.as_str() {
                "" => String::new(),
                file => format!("{file} "),
            };
            out.push_str(&format!("    {file}{}\n", finding.what));
            for line in &finding.diff {
                out.push_str(&format!("      {}\n", paint.diff(line)));
            }
        }
    }
    let bad = reports
        .iter()
        .filter(|report| !report.findings.is_empty())
        .count();
    out.push_str(&match bad {
        0 if reports.is_empty() => "There are no tests.\n".to_owned(),
        0 => format!("{}, all as expected.\n", tests(reports.len())),
        _ => format!(
            "{}, {bad} not as expected. Is it meant? Then write it down: punte test --bless (and look at the change in git).\n",
            tests(reports.len())
        ),
    });
    out
}

fn tests(count: usize) -> String {
    render::count(count as u64, "test", "tests")
}
