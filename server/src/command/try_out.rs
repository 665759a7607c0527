//! `punte try`: a message through a channel, step by step; nothing is written or sent.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use bytes::Bytes;
use clinic::apply::{Nobody, Snapshot};
use clinic::exchange::MapError;
use engine::channel::Channel;
use engine::channel::response::with_responses;
use engine::format::Formats;
use engine::message::MessageState;
use engine::run::{Answers, parts_of};
use serde_json::{Value, json};

use super::client::{Client, path_word};
use super::{print, read_input};
use crate::formats;
use crate::golden::diff;
use crate::home::Home;
use crate::journal;
use crate::render::{self, Paint};

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "  punte try adt message.hl7       each step of the running channel: what it did, before and after\n  punte try adt --since 24h       what really came, through the channel as its file says now, beside what was sent\n\nThe second form is for a channel file that was changed and not reloaded yet. Ids, versions and times that are made\nwhen a message is written are not compared. Nothing is written and nothing is sent.\n\nExit codes: 0 it goes through, or nothing differs; 1 it fails, or something differs."
)]
pub struct Args {
    /// The channel
    channel: String,
    /// The message, a file or `-`
    #[arg(required_unless_present = "since", conflicts_with = "since")]
    file: Option<PathBuf>,
    /// Instead: what was received since then (24h, 7d, 2026-05-05), compared with what was sent
    #[arg(long)]
    since: Option<String>,
    /// Ask destinations for real, where a step asks one; each question is recorded
    #[arg(long, conflicts_with = "since")]
    ask: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Runs it on the running engine's clinic, else on the store's, else on an empty one. Exit code 1 where it failed.
pub async fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    let id = path_word(&args.channel)?;
    let Some(file) = &args.file else {
        return super::try_since::run(home, id, args.since.as_deref(), args.json).await;
    };
    let body = read_input(file)?;
    let value = match Client::find(home).await? {
        Some(client) => {
            let ask = if args.ask { "?ask=true" } else { "" };
            client
                .post(&format!("/admin/channels/{id}/try{ask}"), body)
                .await?
        }
        None if args.ask => bail!(
            "no engine runs in {}; a question that is asked and recorded needs one: punte serve",
            home.folder().display()
        ),
        None => {
            let channel = from_files(home, id)?;
            if home.data().join("punte.db").exists() {
                let store = home.open_store(false).await?;
                let value = {
                    let snapshot = store.snapshot()?;
                    show(
                        channel,
                        &formats::all(),
                        body.into(),
                        Arc::new(Answers::none()),
                        snapshot.as_ref(),
                    )?
                };
                journal::note_try(store.as_ref(), journal::owner(), id, &value).await?;
                store.close().await?;
                value
            } else {
                show(
                    channel,
                    &formats::all(),
                    body.into(),
                    Arc::new(Answers::none()),
                    &Nobody,
                )?
            }
        }
    };
    if args.json {
        print(&format!("{value:#}\n"));
    } else {
        let paint = Paint::on_stdout();
        print(&steps(&value, &paint));
        print(&format!("── {}\n", paint.state(&render::cell(&value, "state"))));
        for name in value["not_asked"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            print(&format!("{name} was not asked; --ask asks it\n"));
        }
    }
    Ok(if value["state"] == MessageState::Failed.as_str() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// A channel as its file says now.
pub fn from_files(home: &Home, id: &str) -> anyhow::Result<Arc<Channel>> {
    let (channels, _) = home.channels().map_err(|problems| {
        let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!("the channels are not right:\n{}", list.join("\n"))
    })?;
    let names: Vec<String> = channels.iter().map(|c| c.id.clone()).collect();
    let channel = with_responses(channels)
        .into_iter()
        .find(|channel| channel.id == id);
    channel.map(Arc::new).ok_or_else(|| {
        let near = engine::channel::nearest(id, names.iter().map(String::as_str));
        match near {
            Some(near) => anyhow!("there is no channel {id:?}; did you mean {near:?}?"),
            None => anyhow!(
                "there is no channel {id:?} in {}; there are: {}",
                home.channels_folder().display(),
                names.join(", ")
            ),
        }
    })
}

/// Each step: what it did, what it changed (before and after), what it made.
pub fn steps(value: &Value, paint: &Paint) -> String {
    let mut out = String::new();
    for step in value["steps"].as_array().into_iter().flatten() {
        // What a script wrote to its console stands in lines of their own.
        let (name, result) = (
            render::cell(step, "step"),
            render::lines(step["result"].as_str().unwrap_or_default()),
        );
        out.push_str(&format!("── {}: {result}\n", paint.bold(&name)));
        let shows = step["shows"].as_str().map(|text| text.replace('\r', "\n"));
        let before = step["before"].as_str().map(|text| text.replace('\r', "\n"));
        match (before, shows) {
            (Some(before), Some(after)) if before == after => {}
            (Some(before), Some(after)) => {
                for line in diff::lines(before.as_bytes(), after.as_bytes()) {
                    out.push_str(&format!("{}\n", paint.diff(&line)));
                }
            }
            (None, Some(shows)) => out.push_str(&format!("{}\n", render::lines(shows.trim_end()))),
            (None | Some(_), None) => {}
        }
    }
    out
}

/// Each step and what the message would come to. Where the channel takes a whole apart: each part, on the clinic as it
/// is now.
pub fn show(
    channel: Arc<Channel>,
    formats: &Formats,
    body: Bytes,
    answers: Arc<Answers>,
    snapshot: &dyn Snapshot,
) -> anyhow::Result<Value> {
    if let Some(of) = &channel.answers_of {
        bail!(
            "an answer says nothing without what it answers. Write a golden test for {}: the message as in.hl7, and \
             beside it what {} answers as response.{}.hl7 (punte test --help)",
            of.channel,
            of.destination,
            of.destination
        );
    }
    let parts = match parts_of(&channel, formats, &body) {
        None => return show_one(channel, formats, body, answers, snapshot),
        Some(Err(error)) => return Ok(failed("step[0].split", &error)),
        Some(Ok(parts)) => parts,
    };
    let split = json!({ "step": "step[0].split", "result": format!("{} parts", parts.len()), "shows": null });
    let (mut steps, mut candidates, mut states) = (vec![split], vec![], vec![]);
    for part in parts {
        let mut shown = show_one(channel.clone(), formats, part.body, answers.clone(), snapshot)?;
        for step in shown["steps"].as_array_mut().into_iter().flatten() {
            let name = format!("{}, {}", part.place, render::cell(step, "step"));
            step["step"] = Value::String(name);
            steps.push(step.take());
        }
        if let Some(list) = shown["candidates"].as_array_mut() {
            candidates.append(list);
        }
        states.push(shown["state"].take());
    }
    let worst = [MessageState::Failed, MessageState::Parked]
        .map(MessageState::as_str)
        .into_iter()
        .find(|state| states.iter().any(|came| came == state));
    let state = worst.unwrap_or(MessageState::Routed.as_str());
    Ok(json!({
        "state": state,
        "steps": steps,
        "candidates": candidates,
        "not_asked": not_asked(&answers),
    }))
}

fn show_one(
    channel: Arc<Channel>,
    formats: &Formats,
    body: Bytes,
    answers: Arc<Answers>,
    snapshot: &dyn Snapshot,
) -> anyhow::Result<Value> {
    let format = formats
        .open(&channel.source.format, &channel.source.format_settings)
        .ok_or_else(|| anyhow!("the channel's format is not here"))?;
    if let Err(error) = format.inspect(&body) {
        return Ok(failed("source", &error));
    }
    let (outcome, traces) = engine::run::try_message(
        channel,
        formats,
        &crate::world::real(),
        body,
        answers.clone(),
        snapshot,
    )?;
    Ok(json!({
        "state": outcome.state().as_str(),
        "steps": traces,
        "candidates": outcome.candidates,
        "not_asked": not_asked(&answers),
    }))
}

/// The destinations that would have been asked.
fn not_asked(answers: &Answers) -> Vec<String> {
    let open = answers.not_asked().into_iter();
    open.map(|question| question.destination).collect()
}

fn failed(step: &str, error: &MapError) -> Value {
    let step = json!({ "step": step, "result": format!("failed: {error}"), "shows": null });
    json!({ "state": MessageState::Failed.as_str(), "steps": [step], "candidates": [], "not_asked": [] })
}
