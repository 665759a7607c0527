//! `punte reload`: the channel files and the alerts as they are now, without a stop.

use std::process::ExitCode;

use serde_json::Value;

use super::client::Client;
use super::print;
use crate::home::Home;
use crate::render::{self, Paint};

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "All files are checked first, as by `punte check`; with one mistake in any of them nothing changes.\nA source that is said as before goes on, with its connections; a message under way ends by the old steps; a queue\nis handed over in its order. What stands still (punte channels stop, pause) stays so.\nOf punte.toml the alerts are taken; what else was changed there is said, and takes effect at the next start.\n\nExit codes: 0 taken, 1 a file is wrong or an end could not be opened: all goes on as it was."
)]
pub struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Asks the running engine to read its channels again.
pub async fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    let client = Client::needed(home, "a reload").await?;
    let value = client.post("/admin/reload", vec![]).await?;
    let list = |key: &str| value[key].as_array().cloned().unwrap_or_default();
    let problems = list("problems");
    let code = if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    if args.json {
        print(&format!("{value:#}\n"));
        return Ok(code);
    }
    let paint = Paint::on_stdout();
    for warning in list("warnings") {
        eprintln!("{} (a warning)", warning.as_str().unwrap_or_default());
    }
    for problem in &problems {
        eprintln!("{}", problem.as_str().unwrap_or_default());
    }
    if !problems.is_empty() {
        eprintln!(
            "{}; nothing was changed, all goes on as it was.",
            render::count(problems.len() as u64, "problem", "problems")
        );
        return Ok(code);
    }
    print(&format!("{}\n", words(&value["reloaded"], &paint)));
    for left in value["reloaded"]["left"].as_array().into_iter().flatten() {
        print(&format!(
            "{} {} for {}/{}, which is not there any more. What waits goes when it is back.\n",
            paint.yellow("note:"),
            render::count(
                left["waiting"].as_u64().unwrap_or(0),
                "delivery waits",
                "deliveries wait"
            ),
            render::cell(left, "channel"),
            render::cell(left, "destination"),
        ));
    }
    Ok(code)
}

/// `Reloaded: changed adt, orders; new results; ended old; 3 as they were.`
fn words(reloaded: &Value, paint: &Paint) -> String {
    let mut parts = vec![];
    for (key, word) in [("changed", "changed"), ("added", "new"), ("removed", "ended")] {
        let ids: Vec<&str> = reloaded[key]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if !ids.is_empty() {
            parts.push(format!("{word} {}", paint.bold(&ids.join(", "))));
        }
    }
    if reloaded["unchanged"] != 0 {
        parts.push(format!("{} as they were", reloaded["unchanged"]));
    }
    format!("{}: {}.", paint.green("Reloaded"), parts.join("; "))
}
