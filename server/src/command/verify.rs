//! `punte verify`: is what is stored as it was written?

use std::process::ExitCode;

use anyhow::anyhow;

use super::client::Client;
use super::print;
use crate::home::Home;
use crate::{journal, render};

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "It reads the whole journal and finds rows that were changed, taken out, put in or moved. An end that was cut shows\nonly against a line of the log: every hour and at each stop the program logs journal_head=LENGTH:HASH.\nExample: punte verify --journal-head 1042:5f0c…"
)]
pub struct Args {
    /// How the journal ended, as a line of the log has it
    #[arg(long, value_name = "LENGTH:HASH")]
    journal_head: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Checks the journal; exit code 1 where something is wrong.
pub async fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    let head = args.journal_head.as_deref();
    let value = match Client::find(home).await? {
        Some(client) => {
            let words: Vec<(&str, &str)> = head.map(|head| ("head", head)).into_iter().collect();
            client.get("/admin/journal/verify", &words).await?
        }
        None => {
            let store = home.open_store(false).await?;
            let verified = journal::verify(store.as_ref(), head).await?;
            store.close().await?;
            verified.map_err(|wrong| anyhow!(wrong.0))?
        }
    };
    let report = &value["journal"];
    let faults = report["faults"].as_array().map(Vec::as_slice).unwrap_or_default();
    if args.json {
        print(&format!("{value:#}\n"));
    } else {
        for fault in faults {
            eprintln!(
                "journal row {}: {}",
                render::cell(fault, "nr"),
                render::cell(fault, "what")
            );
        }
        if faults.is_empty() {
            print(&format!(
                "The journal is as it was written: rows {} to {}.\nIt ends with {}\n",
                render::cell(report, "first"),
                render::cell(report, "last"),
                render::cell(report, "head")
            ));
        } else {
            eprintln!("The journal is not as it was written.");
        }
    }
    Ok(if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
