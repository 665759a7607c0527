//! `punte alerts`: what is on, what was, and whether those who are to be told can be.

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use engine::store::Alert;
use serde_json::json;

use super::client::Client;
use super::print;
use crate::alerts::{self, Receivers};
use crate::home::Home;
use crate::render::Paint;

/// What it is told.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Rules and receivers stand in punte.toml: docs/guide/monitoring.md. Exit code 1: one is on."
)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Those that are over, too
    #[arg(long)]
    all: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Tell all receivers, or one, that this is a test
    Test {
        /// Only this one
        receiver: Option<String>,
    },
}

/// Lists or tests.
pub async fn run(home: &Home, args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Some(Verb::Test { receiver }) => test(home, receiver.as_deref()).await,
        None => list(home, args.all, args.json).await,
    }
}

async fn list(home: &Home, all: bool, json: bool) -> anyhow::Result<ExitCode> {
    let mut alerts: Vec<Alert> = match Client::find(home).await? {
        Some(client) => serde_json::from_value(client.get("/admin/alerts", &()).await?["alerts"].take())?,
        None => {
            let store = home.open_store(false).await?;
            let alerts = store.alerts(alerts::LISTED).await;
            store.close().await?;
            alerts?
        }
    };
    let is_on = alerts.iter().any(|alert| alert.ended.is_none());
    alerts.retain(|alert| all || alert.ended.is_none());
    let paint = Paint::on_stdout();
    let (now, zone) = ((crate::world::real().now)(), home.settings()?.time_zone()?);
    if json {
        print(&format!("{:#}\n", json!({ "alerts": alerts })));
    } else if alerts.is_empty() {
        print("No alert is on.\n");
    } else {
        for alert in &alerts {
            let line = alerts::line(alert, now, &zone);
            let line = if alert.ended.is_none() {
                paint.red(&line)
            } else {
                paint.faint(&line)
            };
            print(&format!("{line}\n"));
        }
    }
    Ok(if is_on {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// By the engine that runs, since it has the secrets; else from here.
async fn test(home: &Home, only: Option<&str>) -> anyhow::Result<ExitCode> {
    let settings = home.settings()?;
    if let Some(only) = only
        && !settings.alerts.receiver.contains_key(only)
    {
        bail!("there is no receiver {only:?} in punte.toml");
    }
    if settings.alerts.receiver.is_empty() {
        bail!(
            "there is no receiver in punte.toml, so alerts go to the log alone; see docs/guide/monitoring.md"
        );
    }
    let told: Vec<(String, Option<String>)> = match Client::find(home).await? {
        Some(client) => {
            let body = json!({ "receiver": only }).to_string();
            let mut value = client.post("/admin/alerts/test", body.into_bytes()).await?;
            serde_json::from_value(value["told"].take())?
        }
        None => {
            let receivers = Receivers::open(&settings.alerts, home.folder()).await?;
            receivers.test(only, (crate::world::real().now)()).await
        }
    };
    let paint = Paint::on_stdout();
    for (receiver, failed) in &told {
        match failed {
            None => print(&format!("{receiver}: {}\n", paint.green("told"))),
            Some(why) => print(&format!("{receiver}: {}: {why}\n", paint.red("not told"))),
        }
    }
    let is_well = told.iter().all(|(_, failed)| failed.is_none());
    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
