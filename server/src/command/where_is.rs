//! `punte where`: where a result, an order, a patient's messages are.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::Client;
use super::print;
use crate::formats;
use crate::home::Home;
use crate::journal;
use crate::render::{self, Paint};
use crate::whereabouts::Asked;

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "A key is an order or accession number, a patient's or visit's number (value, or value^authority), or a control id.\n\n  punte where LAB-4711\n  punte where 2800112221232\n\nFor each message that names it: when and from whom it came, what became of it, whom it went to and who confirmed it\nor why it waits, and what it wrote in the chart.\n\nExit codes: 0 something is known of it, 1 nothing is."
)]
pub struct Args {
    /// The number
    key: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Says it. Exit code 1 where no message names the key.
pub async fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    let value = match Client::find(home).await? {
        Some(client) => client.get("/admin/where", &[("key", args.key.as_str())]).await?,
        None => {
            let store = home.open_store(false).await?;
            let halts = store.halts().await?;
            let channels = home.channels().map(|(channels, _)| channels).unwrap_or_default();
            let by_name = |name: &str| channels.iter().find(|channel| channel.id == name).cloned();
            let asked = Asked {
                store: store.as_ref(),
                formats: &formats::all(),
                halts: &halts,
                channel: &by_name,
                now: jiff::Timestamp::now(),
            };
            let found = asked.about(&args.key).await?;
            let ids: Vec<uuid::Uuid> = found.iter().map(|found| found.id).collect();
            let mut seen = journal::messages(store.as_ref(), &by_name, &formats::all(), &ids).await?;
            seen.words = Some(args.key.clone());
            journal::note(store.as_ref(), journal::owner(), "where", seen).await?;
            store.close().await?;
            json!({ "key": args.key, "messages": found })
        }
    };
    let found = value["messages"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let code = if found.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    };
    if args.json {
        print(&format!("{value:#}\n"));
    } else if found.is_empty() {
        print(&format!(
            "No message names {:?} as an order, patient, visit or control id. It has not come in here.\n",
            args.key
        ));
    } else {
        print(&told(found, &Paint::on_stdout()));
    }
    Ok(code)
}

fn told(found: &[Value], paint: &Paint) -> String {
    let mut out = String::new();
    for message in found {
        let names: Vec<&str> = message["names_it_as"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        out.push_str(&format!(
            "{}  {}  as {}  {}\n",
            paint.bold(&render::cell(message, "channel")),
            render::cell(message, "message_type"),
            names.join(" and "),
            paint.state(&render::cell(message, "state")),
        ));
        out.push_str(&format!(
            "  {}\n",
            paint.faint(&format!("message {}", render::cell(message, "id")))
        ));
        for word in message["words"].as_array().into_iter().flatten() {
            out.push_str(&format!(
                "  {}\n",
                render::line(word.as_str().unwrap_or_default())
            ));
        }
    }
    out
}
