//! `punte check`: are the channel files right?

use std::process::ExitCode;

use crate::home::Home;
use crate::render::count;

/// What it is told.
#[derive(clap::Args)]
pub struct Args {
    /// Print the problems as JSON
    #[arg(long)]
    json: bool,
}

/// Checks all channel files; exit code 1 where there is a problem, or nothing to be started.
pub fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    let checked = home.check();
    let known = checked.problems.is_empty().then_some(checked.channels.as_slice());
    let (mut problems, mut warnings) = home.look_at_settings(known)?;
    problems.extend(checked.problems);
    warnings.extend(checked.warnings);
    let channels = checked.channels.len();
    let nothing = channels == 0 && problems.is_empty();
    if args.json {
        let list = |problems: &[engine::channel::Problem]| -> Vec<serde_json::Value> {
            problems
                .iter()
                .map(|p| serde_json::json!({ "file": p.file.display().to_string(), "line": p.line, "column": p.column, "path": p.path, "what": p.what }))
                .collect()
        };
        super::print(&format!(
            "{:#}\n",
            serde_json::json!({ "problems": list(&problems), "warnings": list(&warnings), "channels": channels })
        ));
    } else {
        for problem in &problems {
            eprintln!("{problem}");
        }
        for warning in &warnings {
            eprintln!("{warning} (a warning)");
        }
        if nothing {
            eprintln!(
                "There is no channel in {}; docs/first-channel.md has the five lines that make one.",
                home.channels_folder().display()
            );
        } else if problems.is_empty() {
            super::print(&format!(
                "{} in {} {} right.\n",
                count(channels as u64, "channel", "channels"),
                home.channels_folder().display(),
                if channels == 1 { "is" } else { "are" }
            ));
        } else {
            eprintln!("{}.", count(problems.len() as u64, "problem", "problems"));
        }
    }
    Ok(if problems.is_empty() && !nothing {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
