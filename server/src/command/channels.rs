//! `punte channels`: what they are, what they did, what waits; and to start, stop and pause them.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, path_word};
use super::print;
use crate::home::Home;
use crate::render::{self, Paint};

/// What it is told.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "A channel is named by its id, one of its destinations as CHANNEL/DESTINATION:\n  punte channels pause adt           what comes in is stored and waits, nothing goes out\n  punte channels pause adt/ris       nothing goes out to ris, its queue waits\n  punte channels stop adt            nothing comes in either: its listener is closed\n  punte channels start adt           all of it runs again, in order\n\nWhat is stopped or paused stays so over a restart and a reload, until it is started."
)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Let a channel, or one destination, run again
    Start(End),
    /// Let nothing come in and nothing go out
    Stop(End),
    /// Let nothing go out; what comes in is stored and waits
    Pause(End),
    /// List codes that came and are in no table, as rows for the table
    Codes(super::codes::Args),
}

#[derive(clap::Args)]
struct End {
    /// The channel, or one of its destinations: CHANNEL or CHANNEL/DESTINATION
    #[arg(value_name = "CHANNEL[/DESTINATION]")]
    end: String,
    /// Why: shown in the list for whoever wonders
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Lists or operates.
pub async fn run(home: &Home, args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        None => list(home, args.json).await,
        Some(Verb::Start(end)) => operate(home, "start", "Started", &end).await,
        Some(Verb::Stop(end)) => operate(home, "stop", "Stopped", &end).await,
        Some(Verb::Codes(args)) => super::codes::run(home, &args).await,
        Some(Verb::Pause(end)) => operate(home, "pause", "Paused", &end).await,
    }
}

async fn operate(home: &Home, verb: &str, done: &str, end: &End) -> anyhow::Result<ExitCode> {
    let (channel, destination) = match end.end.split_once('/') {
        Some((channel, destination)) => (channel, Some(destination)),
        None => (end.end.as_str(), None),
    };
    let client = Client::needed(home, &format!("to {verb} a channel")).await?;
    let body = json!({ "destination": destination, "reason": end.reason }).to_string();
    let path = format!("/admin/channels/{}/{verb}", path_word(channel)?);
    let value = client.post(&path, body.into_bytes()).await?;
    if end.json {
        print(&format!("{value:#}\n"));
    } else if value["changed"] == false {
        print(&format!("{} is running already.\n", end.end));
    } else {
        print(&format!("{done}: {}\n", end.end));
    }
    Ok(ExitCode::SUCCESS)
}

/// The channels: of the running engine, else as the files say.
async fn list(home: &Home, json: bool) -> anyhow::Result<ExitCode> {
    let value = match Client::find(home).await? {
        Some(client) => client.get("/admin/channels", &()).await?,
        None => from_files(home)?,
    };
    if json {
        print(&format!("{value:#}\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let paint = Paint::on_stdout();
    let channels = value["channels"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let rows: Vec<Vec<String>> = channels
        .iter()
        .map(|row| {
            let ends: Vec<String> = row["queues"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(destination, states)| format!("{destination}: {}", counts(states)))
                .collect();
            vec![
                render::cell(row, "id"),
                paint.state(&render::cell(row, "state")),
                render::cell(row, "source"),
                render::cell(row, "listens"),
                counts(&row["messages"]),
                ends.join("; "),
            ]
        })
        .collect();
    print(&render::table(
        &["CHANNEL", "STATE", "SOURCE", "LISTENS", "MESSAGES", "WAITING"],
        &rows,
    ));
    let still: Vec<String> = channels
        .iter()
        .flat_map(|row| {
            halts(row, &paint)
                .into_iter()
                .chain(shut(row))
                .chain(left_alone(row))
        })
        .collect();
    if !still.is_empty() {
        print(&format!("\n{}", still.concat()));
    }
    if value["running"] == false {
        print("\nNo engine runs here. Start it with: punte serve\n");
    }
    Ok(ExitCode::SUCCESS)
}

/// `adt/ris paused since … by anna: the RIS is being updated`
fn halts(row: &Value, paint: &Paint) -> Vec<String> {
    let line = |halt: &Value| {
        let destination = halt["destination"]
            .as_str()
            .map_or(String::new(), |name| format!("/{name}"));
        let reason = halt["reason"]
            .as_str()
            .map_or(String::new(), |why| format!(": {why}"));
        format!(
            "{}{destination} {} since {} by {}{reason}\n",
            render::cell(halt, "channel"),
            paint.state(&render::cell(halt, "word")),
            render::moment(halt, "since"),
            render::cell(halt, "by"),
        )
    };
    row["halts"].as_array().into_iter().flatten().map(line).collect()
}

/// `adt/portal shut until Mon 07:00`
fn shut(row: &Value) -> Vec<String> {
    let line = |shut: &Value| {
        let (channel, destination) = (render::cell(row, "id"), render::cell(shut, "destination"));
        format!("{channel}/{destination} {}\n", render::cell(shut, "says"))
    };
    row["shut"].as_array().into_iter().flatten().map(line).collect()
}

/// `adt/portal takes nothing since …; it is tried again …`
fn left_alone(row: &Value) -> Vec<String> {
    let line = |left: &Value| {
        format!(
            "{}/{} takes nothing since {}; it is tried again at {}\n",
            render::cell(row, "id"),
            render::cell(left, "destination"),
            render::moment(left, "since"),
            render::moment(left, "next"),
        )
    };
    row["left_alone"]
        .as_array()
        .into_iter()
        .flatten()
        .map(line)
        .collect()
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
