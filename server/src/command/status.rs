//! `punte status`: how it goes, on one screen.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use engine::channel::write_door::WRITE_DOOR;
use jiff::tz::TimeZone;
use serde_json::json;

use super::client::Client;
use super::print;
use crate::alerts;
use crate::home::Home;
use crate::overview::{self, ChannelView, Overview, QueueView, bytes, lasts, moment};
use crate::render::{self, Paint, table};

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "Exit code 0: it runs and nothing waits for a person. 1: it does not run, or something needs a person; what it is\nstands under \"Needs a person\" and, with --json, in `attention`."
)]
pub struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Again every two seconds, until Ctrl-C
    #[arg(long)]
    watch: bool,
}

/// Between two looks of `--watch`.
const AGAIN: Duration = Duration::from_secs(2);

/// Shows it, once or again and again.
pub async fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    loop {
        let code = show(home, args).await?;
        if !args.watch {
            return Ok(code);
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            _ = tokio::signal::ctrl_c() => return Ok(code),
        }
    }
}

async fn show(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    let overview = match look(home).await {
        Ok(overview) => overview,
        Err(error) if args.json => {
            let attention = [format!("{error:#}")];
            print(&format!(
                "{:#}\n",
                json!({ "running": false, "attention": attention })
            ));
            return Ok(ExitCode::FAILURE);
        }
        Err(error) => return Err(error),
    };
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&overview)?));
    } else {
        if args.watch && std::io::stdout().is_terminal() {
            // To the top left corner, on an empty screen.
            print("\u{1b}[H\u{1b}[2J");
        }
        print(&screen(
            &overview,
            &home.settings()?.time_zone()?,
            &Paint::on_stdout(),
        ));
    }
    Ok(match overview.running && overview.attention.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Of the running engine, else of its store.
async fn look(home: &Home) -> anyhow::Result<Overview> {
    if let Some(client) = Client::find(home).await? {
        let value = client.get("/admin/status", &()).await?;
        return serde_json::from_value(value)
            .context("the running engine is of another version: take its punte");
    }
    let store = home.open_store(false).await?;
    // Where a channel file is wrong the store can be shown all the same.
    let channels = home.check().channels;
    let overview = overview::of_the_store(home, store.as_ref(), channels).await;
    store.close().await?;
    overview
}

fn screen(overview: &Overview, zone: &TimeZone, paint: &Paint) -> String {
    let mut out = format!("{}\n\n", heading(overview, zone, paint));
    let shown: Vec<&ChannelView> = overview
        .channels
        .iter()
        .filter(|channel| is_shown(channel))
        .collect();
    let rows: Vec<Vec<String>> = shown.iter().map(|channel| channel_row(channel, paint)).collect();
    let headings = [
        "CHANNEL",
        "STATE",
        "IN/MIN",
        "IN/HOUR",
        "OUT/MIN",
        "OUT/HOUR",
        "PARKED",
        "FAILED TODAY",
    ];
    out.push_str(&table(&headings, &rows));
    let ends = shown
        .iter()
        .flat_map(|channel| channel.queues.iter().map(|queue| (*channel, queue)));
    let rows: Vec<Vec<String>> = ends
        .map(|(channel, queue)| queue_row(channel, queue, zone, paint))
        .collect();
    if !rows.is_empty() {
        out.push('\n');
        out.push_str(&table(
            &["DESTINATION", "WAITING", "OLDEST", "PENDING", "HELD", "DEAD", ""],
            &rows,
        ));
    }
    out.push('\n');
    out.push_str(&house(overview, zone));
    if !overview.alerts.is_empty() {
        out.push_str(&format!("\n{}\n", paint.bold("Alerts that are on")));
        for alert in &overview.alerts {
            let line = alerts::line(alert, overview.at, zone);
            out.push_str(&format!("  {}\n", render::line(&line)));
        }
    }
    if !overview.attention.is_empty() {
        out.push_str(&format!("\n{}\n", paint.bold("Needs a person")));
        for what in &overview.attention {
            out.push_str(&format!("  {}\n", paint.red(what)));
        }
    }
    out
}

fn heading(overview: &Overview, zone: &TimeZone, paint: &Paint) -> String {
    let name = paint.bold(&format!("Punte {}", overview.version));
    match overview.since {
        Some(since) => format!(
            "{name} is {} since {} ({}), on {}",
            paint.green("running"),
            moment(since, zone),
            lasts(overview.at.duration_since(since).as_secs_f64()),
            overview.http.as_deref().unwrap_or("-"),
        ),
        None => format!(
            "{name}: {}; this is what its store says. Start it: punte serve",
            paint.red("no engine runs here")
        ),
    }
}

/// The write door stands there only where something came by it.
fn is_shown(channel: &ChannelView) -> bool {
    channel.id != WRITE_DOOR || channel.messages.values().any(|count| *count != 0)
}

fn channel_row(channel: &ChannelView, paint: &Paint) -> Vec<String> {
    let rate = |of: fn(&overview::Rates) -> u64| {
        channel
            .rates
            .as_ref()
            .map_or("-".to_owned(), |rates| of(rates).to_string())
    };
    let parked = channel.messages.get("parked").copied().unwrap_or_default();
    vec![
        channel.id.clone(),
        paint.state(&channel.state),
        rate(|rates| rates.received_minute),
        rate(|rates| rates.received_hour),
        rate(|rates| rates.sent_minute),
        rate(|rates| rates.sent_hour),
        some(parked, |text| paint.yellow(text)),
        some(channel.failed_today, |text| paint.red(text)),
    ]
}

fn queue_row(channel: &ChannelView, queue: &QueueView, zone: &TimeZone, paint: &Paint) -> Vec<String> {
    let count = |state: &str| queue.states.get(state).copied().unwrap_or_default();
    vec![
        format!("{}/{}", channel.id, queue.destination),
        some(queue.waiting, str::to_owned),
        queue
            .oldest
            .map_or("-".to_owned(), |_| lasts(queue.oldest_seconds)),
        some(count("pending"), str::to_owned),
        some(count("held"), |text| paint.red(text)),
        some(count("dead"), |text| paint.red(text)),
        match (&queue.shut, queue.left_alone) {
            (Some(shut), _) => shut.clone(),
            (None, Some(since)) => paint.yellow(&format!("takes nothing since {}", moment(since, zone))),
            (None, None) => String::new(),
        },
    ]
}

/// A number in its colour; none is a dash.
fn some(count: u64, paint: impl Fn(&str) -> String) -> String {
    if count == 0 {
        "-".to_owned()
    } else {
        paint(&count.to_string())
    }
}

/// Disk, store, certificates.
fn house(overview: &Overview, zone: &TimeZone) -> String {
    let store = &overview.store;
    let mut out = format!(
        "Store         {} (database {}, log {}, big bodies {})\n",
        bytes(store.all()),
        bytes(store.database_bytes),
        bytes(store.log_bytes),
        bytes(store.blob_bytes),
    );
    if let Some(disk) = overview.disk {
        out.push_str(&format!(
            "Disk          {} free of {}\n",
            bytes(disk.free_bytes),
            bytes(disk.total_bytes)
        ));
    }
    for (idx, certificate) in overview.certificates.iter().enumerate() {
        let heading = if idx == 0 { "Certificates" } else { "" };
        out.push_str(&format!(
            "{heading:<13} {} {} ({})\n",
            certificate.file.display(),
            certificate.says(overview.at),
            moment(certificate.until, zone),
        ));
    }
    out
}
