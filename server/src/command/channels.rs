//! `punte channels`: what they are, what they did, what waits.

use std::process::ExitCode;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::client::Client;
use super::print;
use crate::home::Home;
use crate::render;

/// What it is told.
#[derive(clap::Args)]
pub struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Lists the channels: of the running engine, else as the files say.
pub async fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    let value = match Client::find(home).await? {
        Some(client) => client.get("/admin/channels", &()).await?,
        None => from_files(home)?,
    };
    if args.json {
        print(&format!("{value:#}\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> = value["channels"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| {
            vec![
                render::cell(row, "id"),
                render::cell(row, "source"),
                render::cell(row, "listens"),
                counts(&row["messages"]),
                row["queues"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(destination, states)| format!("{destination}: {}", counts(states)))
                    .collect::<Vec<_>>()
                    .join("; "),
            ]
        })
        .collect();
    print(&render::table(
        &["CHANNEL", "SOURCE", "LISTENS", "MESSAGES", "DELIVERIES"],
        &rows,
    ));
    if value["running"] == false {
        print("\nNo engine runs here. Start it with: punte serve\n");
    }
    Ok(ExitCode::SUCCESS)
}

fn counts(states: &Value) -> String {
    let parts: Vec<String> = states
        .as_object()
        .into_iter()
        .flatten()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    if parts.is_empty() {
        "-".into()
    } else {
        parts.join(", ")
    }
}

fn from_files(home: &Home) -> anyhow::Result<Value> {
    let (channels, _) = home.channels().map_err(|problems| {
        let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!("the channels are not right:\n{}", list.join("\n"))
    })?;
    let rows: Vec<Value> = channels
        .iter()
        .map(|channel| {
            json!({
                "id": channel.id, "description": channel.description, "source": channel.source.connector,
                "destinations": channel.destinations.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(),
            })
        })
        .collect();
    Ok(json!({ "running": false, "channels": rows }))
}
