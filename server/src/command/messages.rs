//! `punte messages`: list, show, replay, decide.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::Subcommand;
use engine::channel::no_channel;
use engine::channel::response::with_responses;
use engine::channel::write_door::WRITE_DOOR;
use engine::store::DecidedWord;
use serde_json::Value;

use super::client::{Client, path_word};
use super::print;
use crate::home::Home;
use crate::{formats, journal, render, views};

/// What it is told.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  punte messages --state failed --since 2h\n  punte messages --patient 2800112221232\n  punte messages show 0197a3b2\n  punte messages show 0197a3b2 --raw | punte convert -\n  punte messages replay 0197a3b2 --to ris\n  punte messages replay 0197a3b2 --set PID-8=F --dry-run\n  punte messages replay --channel lab-results --state failed --since 24h\n  punte messages release 0197a3b2 --reason \"the RIS knows the room now\""
)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: List,
}

/// Which messages.
#[derive(Clone, Default, clap::Args)]
pub struct Which {
    /// Of this channel
    #[arg(long)]
    channel: Option<String>,
    /// In this state: routed, filtered, parked, failed; or with a delivery that is queued, retrying, held, dead …
    #[arg(long)]
    state: Option<String>,
    /// Since: 2026-05-05, 2026-05-05T08:00:00Z, or how long ago (15m, 2h, 7d)
    #[arg(long)]
    since: Option<String>,
    /// Until, in the same forms
    #[arg(long)]
    until: Option<String>,
    /// About the patient with this identifier (value, or value^authority)
    #[arg(long)]
    patient: Option<String>,
    /// With this control id (MSH-10)
    #[arg(long, value_name = "ID")]
    control_id: Option<String>,
    /// With this visit number
    #[arg(long)]
    visit: Option<String>,
    /// With this order number
    #[arg(long)]
    order: Option<String>,
}

impl Which {
    /// True where nothing was said.
    pub fn is_all(&self) -> bool {
        let words = [
            &self.channel,
            &self.state,
            &self.since,
            &self.until,
            &self.patient,
            &self.control_id,
            &self.visit,
            &self.order,
        ];
        words.into_iter().all(Option::is_none)
    }

    /// The same for the engine.
    pub fn words(self) -> views::ListWords {
        views::ListWords {
            channel: self.channel,
            state: self.state,
            since: self.since,
            until: self.until,
            patient: self.patient,
            control_id: self.control_id,
            visit: self.visit,
            order: self.order,
            before: None,
            limit: None,
        }
    }
}

#[derive(clap::Args)]
struct List {
    #[command(flatten)]
    which: Which,
    /// Older than this place in the order (the next page)
    #[arg(long, value_name = "SEQ")]
    before: Option<i64>,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[allow(
    clippy::large_enum_variant,
    reason = "there is one, made from the command line"
)]
#[derive(Subcommand)]
enum Verb {
    /// Show one message: what it said, what became of it, each delivery and each try
    Show {
        /// Its id, or the beginning or end of it (8 characters or more)
        id: String,
        /// Only the bytes as they came
        #[arg(long, conflicts_with_all = ["changes", "json"])]
        raw: bool,
        /// Only the change set
        #[arg(long, conflicts_with = "json")]
        changes: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take stored messages again, as new, with a link to their origin
    Replay(super::replay::Args),
    /// Send again what is held or dead: it goes in its place, and the queue goes on
    #[command(after_help = format!("The delivery is sent again as it is, in its place in the order; what waits behind it follows. What was wrong is\nto be put right first: else it is held again.\n\nExamples:\n  punte messages release 0197a3b2 --reason \"the RIS knows the room now\"\n  punte messages release --channel lab-results --state held --reason \"back again\" --yes\n\n{}", super::decide::EXIT_CODES))]
    Release(super::decide::Args),
    /// Say that the far side has got by another way what is held or dead: it counts as sent
    #[command(after_help = format!("Nothing is sent; the queue goes on with the next.\n\nExample:\n  punte messages done 0197a3b2 --to ris --reason \"typed in by hand\"\n\n{}", super::decide::EXIT_CODES))]
    Done(super::decide::Args),
    /// Take a delivery out that is not to be sent any more
    #[command(after_help = format!("What waits, is held, dead, or taken and not decided about can be cancelled; what was sent or is being sent just now\ncan't. Once it is said to be cancelled, nothing of it is sent any more. The queue goes on with the next.\n\nExamples:\n  punte messages cancel 0197a3b2 --to ris --reason \"the wrong patient\"\n  punte messages cancel --channel adt --state queued --until 2026-05-05 --reason \"too old\" --yes\n\n{}", super::decide::EXIT_CODES))]
    Cancel(super::decide::Args),
    /// Say that you have seen what is dead, so that it may go when its time has come
    Seen(super::seen::Args),
}

/// Lists, shows or replays.
pub async fn run(home: &Home, args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        None => list(home, args.list).await,
        Some(Verb::Show {
            id,
            raw,
            changes,
            json,
        }) => show(home, &id, raw, changes, json).await,
        Some(Verb::Replay(args)) => super::replay::run(home, args).await,
        Some(Verb::Release(args)) => super::decide::run(home, DecidedWord::Released, args).await,
        Some(Verb::Done(args)) => super::decide::run(home, DecidedWord::Done, args).await,
        Some(Verb::Cancel(args)) => super::decide::run(home, DecidedWord::Cancelled, args).await,
        Some(Verb::Seen(args)) => super::seen::run(home, args).await,
    }
}

async fn list(home: &Home, args: List) -> anyhow::Result<ExitCode> {
    let words = views::ListWords {
        before: args.before,
        limit: Some(args.limit),
        ..args.which.words()
    };
    let client = Client::find(home).await?;
    let value = match &client {
        Some(client) => client.get("/admin/messages", &words).await?,
        None => {
            let store = home.open_store(false).await?;
            let listed = views::messages(store.as_ref(), &words, (crate::world::real().now)()).await?;
            let value = listed.map_err(|wrong| anyhow!(wrong.0))?;
            journal::note_listing(store.as_ref(), journal::owner(), "messages", &value, &words).await?;
            store.close().await?;
            value
        }
    };
    let rows = value["messages"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    // One that is gone may have left messages; with none it is a mistake.
    if let (true, Some(channel)) = (rows.is_empty(), &words.channel) {
        is_there(home, client.as_ref(), channel).await?;
    }
    if args.json {
        print(&format!("{value:#}\n"));
        return Ok(ExitCode::SUCCESS);
    }
    print(&table(rows));
    if let Some(next) = value["next"].as_i64() {
        print(&format!("\nThere may be more: --before {next}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

/// An error where no channel has this name. Without an engine the channel files say it; where they can't be read, nothing
/// is said.
pub async fn is_there(home: &Home, client: Option<&Client>, channel: &str) -> anyhow::Result<()> {
    let ids: Vec<String> = match client {
        Some(client) => {
            let value = client.get("/admin/channels", &()).await?;
            let rows = value["channels"].as_array().cloned().unwrap_or_default();
            rows.iter().map(|row| render::cell(row, "id")).collect()
        }
        None => match home.channels() {
            Ok((channels, _)) => with_responses(channels)
                .into_iter()
                .map(|channel| channel.id)
                .collect(),
            Err(_) => return Ok(()),
        },
    };
    if channel == WRITE_DOOR || ids.iter().any(|id| id == channel) {
        return Ok(());
    }
    bail!(no_channel(channel, &ids))
}

/// Messages as a table: one line each, and why where it failed.
pub fn table(rows: &[Value]) -> String {
    if rows.is_empty() {
        return "No messages.\n".into();
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let deliveries = row["deliveries"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            let deliveries: Vec<String> = deliveries
                .iter()
                .map(|d| format!("{} {}", render::cell(d, "destination"), render::cell(d, "state")))
                .collect();
            let mut became = deliveries.join(", ");
            if became.is_empty() {
                became = render::failure(row);
            }
            vec![
                render::cell(row, "id"),
                render::moment(row, "received_at"),
                render::cell(row, "channel"),
                render::cell(row, "message_type"),
                render::cell(row, "control_id"),
                render::cell(row, "state"),
                became,
            ]
        })
        .collect();
    render::table(
        &[
            "MESSAGE",
            "RECEIVED",
            "CHANNEL",
            "TYPE",
            "CONTROL ID",
            "STATE",
            "DELIVERIES, OR WHY NOT",
        ],
        &cells,
    )
}

async fn show(home: &Home, id: &str, raw: bool, changes: bool, json: bool) -> anyhow::Result<ExitCode> {
    let id = path_word(id)?;
    let value = match Client::find(home).await? {
        Some(client) => client.get(&format!("/admin/messages/{id}"), &()).await?,
        None => {
            let store = home.open_store(false).await?;
            let channels = home.channels().map(|(channels, _)| channels).unwrap_or_default();
            let by_name = |name: &str| channels.iter().find(|c| c.id == name).cloned();
            let formats = formats::all();
            let (seen, detail) = journal::message(store.as_ref(), &by_name, &formats, id).await?;
            journal::note(store.as_ref(), journal::owner(), "message", seen).await?;
            let shown = match &detail {
                Some(detail) => Some(views::message(store.as_ref(), &by_name, &formats, detail).await?),
                None => None,
            };
            store.close().await?;
            shown.ok_or_else(|| anyhow!("there is no message {id}"))?
        }
    };
    if raw {
        let bytes = views::bytes_of(&value["body"]);
        if std::io::stdout().is_terminal() {
            let kind = value["content_type"].as_str().unwrap_or_default();
            print(&format!(
                "{}\n",
                render::body(&bytes, kind, "lead them into a file")
            ));
        } else {
            let _ = std::io::stdout().write_all(&bytes);
        }
    } else if changes {
        print(&format!("{:#}\n", value["changes"]));
    } else if json {
        print(&format!("{value:#}\n"));
    } else {
        print(&whole(&value));
    }
    Ok(ExitCode::SUCCESS)
}

/// `link of 0197a3b2-…, passed adt → archive`.
fn made_from(origin: &Value) -> String {
    let part = match origin["of"].as_u64() {
        Some(of) if 1 < of => format!(" {} of {of}", render::cell(origin, "number")),
        _ => String::new(),
    };
    let trace: Vec<&str> = origin["trace"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let passed = if trace.is_empty() {
        String::new()
    } else {
        format!(", passed {}", trace.join(" → "))
    };
    let (by, message) = (render::cell(origin, "by"), render::cell(origin, "message"));
    format!("{by}{part} of message {message}{passed}")
}

/// A message in words.
fn whole(value: &Value) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: String| {
        if !text.is_empty() && text != "-" {
            out.push_str(&format!("{name:<12}{}\n", render::line(&text)));
        }
    };
    line("message", render::cell(value, "id"));
    line("channel", render::cell(value, "channel"));
    line("received", render::moment(value, "received_at"));
    line("type", render::cell(value, "message_type"));
    line("sender", render::cell(value, "sender"));
    line("control id", render::cell(value, "control_id"));
    line("state", render::cell(value, "state"));
    line("why", render::failure(value));
    line(
        "taken out",
        match value["pruned"].as_str() {
            Some("bodies") => "the bytes, after their time".into(),
            Some(_) => "all but this, after its time".into(),
            None => String::new(),
        },
    );
    line("replay of", render::cell(value, "replay_of"));
    if value["origin"].is_object() {
        line("made from", made_from(&value["origin"]));
    }
    if value["repeats"].as_u64().unwrap_or(0) != 0 {
        line(
            "repeats",
            format!(
                "{} (known again, nothing done twice)",
                render::cell(value, "repeats")
            ),
        );
    }
    if value["reused_control_id"] == true {
        line(
            "warning",
            "the same control id came before with another body".into(),
        );
    }
    for candidate in value["candidates"].as_array().into_iter().flatten() {
        line(
            "candidate",
            format!(
                "{} {}: {}",
                render::cell(candidate, "kind"),
                render::cell(candidate, "id"),
                render::cell(candidate, "why")
            ),
        );
    }
    for resolution in value["resolutions"].as_array().into_iter().flatten() {
        line("decided", super::parked::decided(resolution));
    }
    for wrote in value["wrote"].as_array().into_iter().flatten() {
        line(
            "wrote",
            format!(
                "{} {} version {}{}",
                render::cell(wrote, "kind"),
                render::cell(wrote, "id"),
                render::cell(wrote, "version"),
                wrote["event"]
                    .as_str()
                    .map_or(String::new(), |event| format!(" ({event})"))
            ),
        );
    }
    for kept in value["notes"]["kept"].as_array().into_iter().flatten() {
        line(
            "not taken",
            format!(
                "{} {} {}: {} wrote what stands there",
                render::cell(kept, "kind"),
                render::cell(kept, "id"),
                render::cell(kept, "field"),
                render::cell(kept, "by")
            ),
        );
    }
    for key in value["notes"]["left_out"].as_array().into_iter().flatten() {
        line("left out", key.as_str().unwrap_or_default().to_owned());
    }
    for delivery in value["deliveries"].as_array().into_iter().flatten() {
        let attempts = delivery["attempt_list"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        // What a person decided stands among the tries, and is none.
        let tries = attempts.iter().filter(|attempt| attempt["by"].is_null()).count() as u64;
        line(
            "delivery",
            format!(
                "{} {}, {}",
                render::cell(delivery, "destination"),
                render::cell(delivery, "state"),
                render::count(tries, "try", "tries")
            ),
        );
        if delivery["seen"].is_object() {
            let seen = &delivery["seen"];
            let reason = seen["reason"]
                .as_str()
                .map_or(String::new(), |why| format!(": {why}"));
            line(
                "",
                format!(
                    "  seen at {} by {}{reason}",
                    render::moment(seen, "at"),
                    render::cell(seen, "by")
                ),
            );
        }
        for made in delivery["made"].as_array().into_iter().flatten() {
            line("", format!("  made {}", made.as_str().unwrap_or_default()));
        }
        let mut number = 0;
        for attempt in attempts {
            let why = attempt["why"]
                .as_str()
                .map_or(String::new(), |why| format!(": {why}"));
            let (at, verdict) = (render::moment(attempt, "at"), render::cell(attempt, "verdict"));
            line(
                "",
                match attempt["by"].as_str() {
                    Some(by) => format!("  {verdict} at {at} by {by}{why}"),
                    None => {
                        number += 1;
                        format!("  try {number} at {at} {verdict}{why}")
                    }
                },
            );
        }
    }
    let extra = value["changes"]["extra"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    for loss in extra {
        line("not carried", render::cell(loss, "place"));
    }
    out.push('\n');
    let kind = value["content_type"].as_str().unwrap_or_default();
    let bytes = views::bytes_of(&value["body"]);
    out.push_str(&render::body(&bytes, kind, "--raw writes them"));
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_person_decided_is_no_try() {
        let at = "2026-05-05T08:00:00Z";
        let delivery = |attempts: Value| json!({ "destination": "ris", "state": "sent", "attempts": 3, "attempt_list": attempts });
        let try_ = |number: u32| json!({ "number": number, "at": at, "verdict": "refused" });
        let decided = json!({ "number": 2, "at": at, "verdict": "released", "by": "anna" });
        let shown = whole(&json!({
            "deliveries": [delivery(json!([try_(1), decided, try_(3)])), delivery(json!([try_(1)]))],
            "body": "MSH",
        }));
        assert!(shown.contains("ris sent, 2 tries\n"), "{shown}");
        assert!(
            shown.contains("  try 2 at 2026-05-05T08:00:00Z refused\n") && !shown.contains("try 3"),
            "{shown}"
        );
        assert!(shown.contains("ris sent, 1 try\n"), "{shown}");
    }
}
