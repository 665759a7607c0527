//! `punte journal`: who read what of whom.

use std::process::ExitCode;

use anyhow::anyhow;
use serde_json::Value;

use super::client::Client;
use super::print;
use crate::home::Home;
use crate::journal::{self, JournalWords};
use crate::render;

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  punte journal --patient 2800112221232\n  punte journal --since 7d --json\nTo read the journal is noted in it as well."
)]
pub struct Args {
    /// About this patient: their id here, or an identifier (value, or system|value)
    #[arg(long)]
    patient: Option<String>,
    /// Since: 2026-05-05, 2026-05-05T08:00:00Z, or how long ago (15m, 2h, 7d)
    #[arg(long)]
    since: Option<String>,
    /// Until, in the same forms
    #[arg(long)]
    until: Option<String>,
    /// Older than this row (the next page)
    #[arg(long, value_name = "ROW")]
    before: Option<u64>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Lists the journal.
pub async fn run(home: &Home, args: Args) -> anyhow::Result<ExitCode> {
    let words = JournalWords {
        patient: args.patient,
        since: args.since,
        until: args.until,
        before: args.before,
        limit: Some(args.limit),
    };
    let value = match Client::find(home).await? {
        Some(client) => client.get("/admin/journal", &words).await?,
        None => {
            let store = home.open_store(false).await?;
            let listed = journal::list(store.as_ref(), &words, (crate::world::real().now)()).await?;
            let (value, seen) = listed.map_err(|wrong| anyhow!(wrong.0))?;
            journal::note(store.as_ref(), journal::owner(), "journal", seen).await?;
            store.close().await?;
            value
        }
    };
    if args.json {
        print(&format!("{value:#}\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let rows = value["journal"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        print("Nothing was read.\n");
        return Ok(ExitCode::SUCCESS);
    }
    let cells: Vec<Vec<String>> = rows.iter().map(row).collect();
    print(&render::table(
        &[
            "ROW", "WHEN", "KEY", "USER", "FROM", "HOW", "WHAT", "OUTCOME", "PURPOSE",
        ],
        &cells,
    ));
    if let Some(next) = value["next"].as_u64() {
        print(&format!("\nThere may be more: --before {next}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

fn row(row: &Value) -> Vec<String> {
    let what = row["what"].as_array().map(Vec::as_slice).unwrap_or_default();
    let first = what.first().and_then(Value::as_str).unwrap_or("-");
    let what = match what.len() {
        0 | 1 => first.to_owned(),
        more => format!("{first} and {} more", more - 1),
    };
    let what = render::line(&what).into_owned();
    vec![
        render::cell(row, "nr"),
        render::moment(row, "at"),
        match &row["actor"] {
            actor if actor["key"].is_null() && actor["channel"].is_string() => {
                format!("channel {}", render::cell(actor, "channel"))
            }
            actor => render::cell(actor, "key"),
        },
        render::cell(&row["actor"], "user"),
        render::cell(&row["actor"], "peer"),
        render::cell(row, "action"),
        what,
        render::cell(row, "outcome"),
        render::cell(row, "purpose"),
    ]
}
