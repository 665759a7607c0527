//! `punte doctor`: what is wrong around the engine, and what to do.

use std::process::ExitCode;

use serde_json::json;

use super::print;
use crate::doctor::{self, Level, Line};
use crate::home::Home;
use crate::render::{self, Paint, table};

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "It looks at ports, disk, flush time, clock, certificates, master key, limits, time zones and channel files, whether an\nengine runs or not, and changes nothing. Exit code 1: something does not work. Warnings alone: 0."
)]
pub struct Args {
    /// Look whether the far ends can be reached, too; nothing is sent
    #[arg(long)]
    probe: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Looks and says.
pub async fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    let lines = doctor::examine(home, args.probe).await;
    let worst = lines.iter().map(|line| line.level).max().unwrap_or(Level::Ok);
    if args.json {
        print(&format!("{:#}\n", json!({ "worst": worst, "lines": lines })));
    } else {
        print(&screen(&lines, &Paint::on_stdout()));
    }
    Ok(match worst {
        Level::Ok | Level::Warning => ExitCode::SUCCESS,
        Level::Problem => ExitCode::FAILURE,
    })
}

fn screen(lines: &[Line], paint: &Paint) -> String {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .flat_map(|line| {
            let level = match line.level {
                Level::Ok => paint.green("ok"),
                Level::Warning => paint.yellow("warning"),
                Level::Problem => paint.red("PROBLEM"),
            };
            let found = vec![level, line.check.to_owned(), line.says.clone()];
            let to_do = line
                .to_do
                .iter()
                .map(|what| vec![String::new(), String::new(), format!("→ {what}")]);
            std::iter::once(found).chain(to_do)
        })
        .collect();
    let count = |level: Level| lines.iter().filter(|line| line.level == level).count();
    let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
    format!(
        "{}\n{}, {}.\n",
        table(&["", "", ""], &rows).trim_start(),
        render::count(problems as u64, "problem", "problems"),
        render::count(warnings as u64, "warning", "warnings"),
    )
}
