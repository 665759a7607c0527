//! `punte parked`: what waits for a person's decision.

use std::process::ExitCode;

use super::client::Client;
use super::print;
use crate::home::Home;
use crate::{journal, render, views};

/// What it is told.
#[derive(clap::Args)]
pub struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Lists the parked messages with their candidates.
pub async fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    let value = match Client::find(home).await? {
        Some(client) => client.get("/admin/parked", &()).await?,
        None => {
            let store = home.open_store(false).await?;
            let value = views::parked(store.as_ref()).await?;
            let words = views::ListWords::default();
            journal::note_listing(store.as_ref(), journal::owner(), "parked", &value, &words).await?;
            store.close().await?;
            value
        }
    };
    if args.json {
        print(&format!("{value:#}\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let rows = value["parked"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        print("Nothing is parked.\n");
    }
    for row in rows {
        print(&format!(
            "{}  {}  {}  {}\n  {}\n",
            render::cell(row, "id"),
            render::moment(row, "received_at"),
            render::cell(row, "channel"),
            render::cell(row, "message_type"),
            render::failure(row)
        ));
        for candidate in row["candidates"].as_array().into_iter().flatten() {
            print(&format!(
                "  candidate {} {}: {}\n",
                render::cell(candidate, "kind"),
                render::cell(candidate, "id"),
                render::cell(candidate, "why")
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}
