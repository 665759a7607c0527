//! `punte parked`: what waits for a person's decision.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, path_word};
use super::print;
use crate::home::Home;
use crate::render::{self, Paint};
use crate::{journal, views};

/// What is said where a decision was not the last one.
const STAYS: &str =
    "The decision is kept, and this is still open: decide it too. The last decision about the same counts.\n";

/// What it is told.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "A parked message waits: its sender has been answered, nothing of it is in the clinic and nothing was sent on.\n\n  punte parked                                              what waits, and who may be meant\n  punte parked resolve 0197a3b2 --as 0197a0c4               it is this candidate (or any patient, by the whole id)\n  punte parked resolve 0197a3b2 --new                       it is somebody new\n  punte parked resolve 0197a3b2 --ignore --reason \"a test\"   nothing is to come of it\n\nThe message then goes through its channel with that decision. It keeps its id and its place in the order."
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
    /// Decide about one, and let it go on
    Resolve(Decide),
}

#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("decision").required(true).args(["who", "new", "ignore"]))]
struct Decide {
    /// The message: its id, or the beginning or end of it
    id: String,
    /// It is about this one: the id of a candidate (or its beginning), or of any patient
    #[arg(long = "as", value_name = "ID")]
    who: Option<String>,
    /// It is about a new one
    #[arg(long)]
    new: bool,
    /// Nothing is to come of it; needs a reason
    #[arg(long, requires = "reason")]
    ignore: bool,
    /// Why: kept with the message
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Lists the parked messages with their candidates, or decides about one.
pub async fn run(home: &Home, args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        None => list(home, args.json).await,
        Some(Verb::Resolve(decide)) => resolve(home, &decide).await,
    }
}

async fn resolve(home: &Home, decide: &Decide) -> anyhow::Result<ExitCode> {
    let client = Client::needed(home, "a decision").await?;
    let mut body = match (&decide.who, decide.new) {
        (Some(who), _) => json!({ "is": who }),
        (None, true) => json!({ "new": true }),
        (None, false) => json!({ "ignore": true }),
    };
    body["reason"] = json!(decide.reason);
    let path = format!("/admin/messages/{}/resolve", path_word(&decide.id)?);
    let value = client.post(&path, body.to_string().into_bytes()).await?;
    if decide.json {
        print(&format!("{value:#}\n"));
    } else {
        let why = match render::failure(&value) {
            why if why.is_empty() => why,
            why => format!(": {why}"),
        };
        let stays = value["state"] == "parked";
        let is = if stays { "still" } else { "now" };
        print(&format!(
            "Message {} is {is} {}{why}\n",
            render::cell(&value, "id"),
            Paint::on_stdout().state(&render::cell(&value, "state"))
        ));
        if stays {
            print(STAYS);
        }
    }
    Ok(match value["state"].as_str() {
        Some("failed" | "parked") => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

/// `is 0197… by anna at 2026-05-05T08:30:00Z: phoned the ward`
pub fn decided(resolution: &Value) -> String {
    let who = match resolution["decision"]["choice"]["is"].as_str() {
        Some(id) => format!(" {id}"),
        None => String::new(),
    };
    let reason = match resolution["reason"].as_str() {
        Some(reason) => format!(": {reason}"),
        None => String::new(),
    };
    format!(
        "{}{who} by {} at {}{reason}",
        render::cell(resolution, "word"),
        render::cell(resolution, "by"),
        render::moment(resolution, "at")
    )
}

async fn list(home: &Home, json: bool) -> anyhow::Result<ExitCode> {
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
    if json {
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
