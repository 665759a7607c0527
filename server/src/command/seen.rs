//! `punte messages seen`: a person has seen what is dead, and needs nothing more of it.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;

use super::client::{Client, path_word};
use super::messages::Which;
use super::print;
use super::replay::matching;
use crate::home::Home;
use crate::render;

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "A dead delivery is kept until somebody has seen it; after that it may be taken out with its message, when its time\nhas come. Nothing else changes: it can still be shown and replayed.\n\nExamples:\n  punte messages seen 0197a3b2 --reason \"told the ward\"\n  punte messages seen --channel lab-results --since 7d      all that are dead there"
)]
pub struct Args {
    /// Their ids, or the beginning or end of one (8 characters or more)
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// Why nothing is to come of them; kept with each
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Marks them.
pub async fn run(home: &Home, args: Args) -> anyhow::Result<ExitCode> {
    let by_filter = !args.which.is_all();
    match (args.ids.is_empty(), by_filter) {
        (true, false) => bail!("say which: an id, or a filter such as --channel lab-results --since 7d"),
        (false, true) => bail!("either ids or a filter, not both"),
        (true, true) | (false, false) => {}
    }
    let client = Client::needed(home, "to mark what was seen").await?;
    let ids = if by_filter {
        let mut words = args.which.words();
        words.state = Some("dead".to_owned());
        let rows = matching(&client, words).await?;
        rows.iter().map(|row| render::cell(row, "id")).collect()
    } else {
        args.ids
    };
    let body = json!({ "reason": args.reason }).to_string();
    let mut seen = 0;
    for id in &ids {
        let path = format!("/admin/messages/{}/seen", path_word(id)?);
        let value = client.post(&path, body.clone().into_bytes()).await?;
        seen += value["seen"].as_u64().unwrap_or_default();
    }
    if args.json {
        print(&format!("{:#}\n", json!({ "messages": ids.len(), "seen": seen })));
    } else {
        print(&format!(
            "Seen: {seen} dead deliveries of {} messages.\n",
            ids.len()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
