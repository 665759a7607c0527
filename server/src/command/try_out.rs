//! `punte try`: a message through a channel, step by step; nothing is written or sent.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;
use bytes::Bytes;
use clinic::apply::{Nobody, Snapshot};
use engine::channel::Channel;
use engine::format::Formats;
use engine::message::MessageState;
use serde_json::{Value, json};

use super::client::{Client, path_word};
use super::{print, read_input};
use crate::home::Home;
use crate::{formats, journal, render};

/// What it is told.
#[derive(clap::Args)]
pub struct Args {
    /// The channel
    channel: String,
    /// The message, a file or `-`
    file: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Runs it on the running engine's clinic, else on the store's, else on an empty one. Exit code 1 where it failed.
pub async fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    let body = read_input(&args.file)?;
    let id = path_word(&args.channel)?;
    let value = match Client::find(home).await? {
        Some(client) => client.post(&format!("/admin/channels/{id}/try"), body).await?,
        None => {
            let (channels, _) = home.channels().map_err(|problems| {
                let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
                anyhow!("the channels are not right:\n{}", list.join("\n"))
            })?;
            let names: Vec<String> = channels.iter().map(|c| c.id.clone()).collect();
            let channel = channels.into_iter().find(|c| c.id == id).ok_or_else(|| {
                anyhow!(
                    "there is no channel {id:?} in {}; there are: {}",
                    home.channels_folder().display(),
                    names.join(", ")
                )
            })?;
            if home.data().join("punte.db").exists() {
                let store = home.open_store(false).await?;
                let value = {
                    let snapshot = store.snapshot()?;
                    show(Arc::new(channel), &formats::all(), body.into(), snapshot.as_ref())?
                };
                journal::note_try(store.as_ref(), journal::owner(), id, &value).await?;
                store.close().await?;
                value
            } else {
                show(Arc::new(channel), &formats::all(), body.into(), &Nobody)?
            }
        }
    };
    if args.json {
        print(&format!("{value:#}\n"));
    } else {
        for step in value["steps"].as_array().into_iter().flatten() {
            print(&format!(
                "── {}: {}\n",
                render::cell(step, "step"),
                render::cell(step, "result")
            ));
            if let Some(shows) = step["shows"].as_str() {
                print(&format!("{}\n", shows.replace('\r', "\n").trim_end()));
            }
        }
        print(&format!("── {}\n", render::cell(&value, "state")));
    }
    Ok(if value["state"] == MessageState::Failed.as_str() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Each step and what the message would come to.
pub fn show(
    channel: Arc<Channel>,
    formats: &Formats,
    body: Bytes,
    snapshot: &dyn Snapshot,
) -> anyhow::Result<Value> {
    let format = formats
        .get(&channel.source.format)
        .ok_or_else(|| anyhow!("the channel's format is not here"))?;
    if let Err(error) = format.inspect(&body) {
        let step = json!({ "step": "source", "result": format!("failed: {error}"), "shows": null });
        return Ok(json!({ "state": "failed", "steps": [step] }));
    }
    let (outcome, traces) =
        engine::run::try_message(channel, formats, &crate::world::real(), body, snapshot)?;
    Ok(json!({ "state": outcome.state().as_str(), "steps": traces, "candidates": outcome.candidates }))
}
