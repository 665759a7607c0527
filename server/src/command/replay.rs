//! `punte messages replay`: stored messages, taken again as they came or edited.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{anyhow, bail};
use serde_json::{Value, json};

use super::client::{Client, path_word};
use super::messages::{Which, is_there};
use super::progress::Progress;
use super::{is_meant, print, read_input};
use crate::home::Home;
use crate::render::{self, Paint};
use crate::views::{self, ListWords};

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "A replay is a new message with a link to its origin; the first one stays as it is.\n\n  punte messages replay 0197a3b2                         as it came, to all destinations\n  punte messages replay 0197a3b2 --to ris --to pacs      only to these\n  punte messages replay 0197a3b2 --set PID-8=F           with one value changed\n  punte messages replay 0197a3b2 --edit fixed.hl7        with these bytes instead\n  punte messages replay 0197a3b2 --dry-run               what would be; nothing is written or sent\n\nSeveral at once, the oldest first, after a count:\n  punte messages replay --channel lab-results --state failed --since 24h          how many are they?\n  punte messages replay --channel lab-results --state failed --since 24h --yes    do it\n\nExit codes: 0 all were taken, 1 one failed again or something was refused."
)]
pub struct Args {
    /// Their ids, or the beginning or end of one (8 characters or more)
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// These bytes in place of those that came, a file or `-`
    #[arg(long, value_name = "FILE")]
    edit: Option<PathBuf>,
    /// One value changed (may be given several times): `PID-8=F`
    #[arg(long = "set", value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Only to this destination (may be given several times)
    #[arg(long = "to", value_name = "DESTINATION")]
    to: Vec<String>,
    /// Show what would be, step by step; nothing is written and nothing is sent
    #[arg(long)]
    dry_run: bool,
    /// Do not ask whether it is meant, where several are taken again
    #[arg(long)]
    yes: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Takes one or many again.
pub async fn run(home: &Home, args: Args) -> anyhow::Result<ExitCode> {
    let by_filter = !args.which.is_all();
    match (args.ids.is_empty(), by_filter) {
        (true, false) => {
            bail!("say which: an id, or a filter such as --channel lab-results --state failed --since 24h")
        }
        (false, true) => bail!("either ids or a filter, not both"),
        (true, true) | (false, false) => {}
    }
    let body = match &args.edit {
        Some(_) if args.ids.len() != 1 => bail!("--edit is for one message: name its id"),
        Some(path) => Some(views::text(&read_input(path)?)),
        None => None,
    };
    let set: Vec<(&str, &str)> = args
        .set
        .iter()
        .map(|word| {
            word.split_once('=')
                .ok_or_else(|| anyhow!("--set {word}: write PATH=VALUE, such as PID-8=F"))
        })
        .collect::<anyhow::Result<_>>()?;
    let ask = json!({ "to": args.to, "body": body, "set": set, "dry_run": args.dry_run })
        .to_string()
        .into_bytes();
    let client = Client::needed(home, "a replay").await?;
    match args.ids.as_slice() {
        [one] => single(&client, one, ask, &args).await,
        ids => {
            let ids: Vec<String> = if by_filter {
                let words = args.which.clone().words();
                let channel = words.channel.clone();
                let rows = matching(&client, words).await?;
                if let (true, Some(channel)) = (rows.is_empty(), channel) {
                    is_there(home, Some(&client), &channel).await?;
                }
                if !agreed(&rows, &args)? {
                    return Ok(ExitCode::SUCCESS);
                }
                rows.iter().map(|row| render::cell(row, "id")).collect()
            } else {
                ids.to_vec()
            };
            several(&client, &ids, &ask, &args).await
        }
    }
}

async fn single(client: &Client, id: &str, ask: Vec<u8>, args: &Args) -> anyhow::Result<ExitCode> {
    let value = client
        .post(&format!("/admin/messages/{}/replay", path_word(id)?), ask)
        .await?;
    if args.json {
        print(&format!("{value:#}\n"));
    } else if args.dry_run {
        print(&rehearsed(&value, &Paint::on_stdout()));
    } else {
        print(&format!(
            "Taken again as {}: {}\n",
            render::cell(&value, "id"),
            Paint::on_stdout().state(&render::cell(&value, "state"))
        ));
    }
    Ok(exit_code(value["state"] == "failed"))
}

/// A dry run in words: the steps, and what each destination would get.
fn rehearsed(value: &Value, paint: &Paint) -> String {
    let mut out = super::try_out::steps(value, paint);
    for delivery in value["deliveries"].as_array().into_iter().flatten() {
        let name = render::cell(delivery, "destination");
        out.push_str(&format!("── {} would get it\n", paint.bold(&name)));
    }
    out.push_str(&format!(
        "── would be {}. A dry run: nothing was written and nothing was sent.\n",
        paint.state(&render::cell(value, "state"))
    ));
    out
}

/// All messages of a filter, the oldest first.
pub async fn matching(client: &Client, words: ListWords) -> anyhow::Result<Vec<Value>> {
    all_pages(words, async |words| client.get("/admin/messages", words).await).await
}

/// All messages that a listing gives page by page, the oldest first.
pub async fn all_pages(
    words: ListWords,
    page_of: impl AsyncFn(&ListWords) -> anyhow::Result<Value>,
) -> anyhow::Result<Vec<Value>> {
    let mut rows = vec![];
    let mut words = ListWords {
        limit: Some(1000),
        ..words
    };
    loop {
        let mut page = page_of(&words).await?;
        rows.extend(
            page["messages"]
                .as_array_mut()
                .map(std::mem::take)
                .unwrap_or_default(),
        );
        match page["next"].as_i64() {
            Some(next) => words.before = Some(next),
            None => break,
        }
    }
    rows.reverse();
    Ok(rows)
}

/// Says how many there are, and asks whether it is meant.
fn agreed(rows: &[Value], args: &Args) -> anyhow::Result<bool> {
    let mut counts: BTreeMap<(String, String, String), u64> = BTreeMap::new();
    for row in rows {
        let group = (
            render::cell(row, "channel"),
            render::cell(row, "state"),
            render::failure(row),
        );
        *counts.entry(group).or_default() += 1;
    }
    if rows.is_empty() {
        print("No message matches.\n");
        return Ok(false);
    }
    if !args.json {
        let cells: Vec<Vec<String>> = counts
            .into_iter()
            .map(|((channel, state, why), count)| {
                vec![count.to_string(), channel, Paint::on_stdout().state(&state), why]
            })
            .collect();
        print(&render::table(&["COUNT", "CHANNEL", "STATE", "WHY"], &cells));
    }
    if args.yes || args.dry_run {
        return Ok(true);
    }
    let question = format!(
        "{} would be taken again",
        render::count(rows.len() as u64, "message", "messages")
    );
    is_meant(
        &question,
        "Say --yes to do it, --dry-run to see what would come of it.",
    )
}

async fn several(client: &Client, ids: &[String], ask: &[u8], args: &Args) -> anyhow::Result<ExitCode> {
    let mut results = vec![];
    {
        let mut progress = Progress::new("Taken again:", ids.len());
        for (done, id) in ids.iter().enumerate() {
            progress.at(done);
            let path = format!("/admin/messages/{}/replay", path_word(id)?);
            let mut value = match client.post(&path, ask.to_vec()).await {
                Ok(value) => value,
                Err(error) => json!({ "state": "refused", "failure": { "why": format!("{error:#}") } }),
            };
            value["of"] = id.as_str().into();
            results.push(value);
        }
    }
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for value in &results {
        let why = value["failure"]["why"].as_str().unwrap_or_default().to_owned();
        *counts.entry((render::cell(value, "state"), why)).or_default() += 1;
    }
    let is_bad = |state: &str| matches!(state, "failed" | "refused");
    let any_bad = counts.keys().any(|(state, _)| is_bad(state));
    if args.json {
        print(&format!("{:#}\n", json!({ "replayed": results })));
        return Ok(exit_code(any_bad));
    }
    let paint = Paint::on_stdout();
    let word = if args.dry_run { "would be " } else { "" };
    for ((state, why), count) in &counts {
        let why = if why.is_empty() {
            String::new()
        } else {
            format!(": {}", render::line(why))
        };
        print(&format!("{count} {word}{}{why}\n", paint.state(state)));
    }
    Ok(exit_code(any_bad))
}

fn exit_code(is_bad: bool) -> ExitCode {
    if is_bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
