//! `punte try CHANNEL --since`: what really came, through the channel as its file says now, beside what was sent.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::Client;
use super::print;
use super::progress::Progress;
use super::replay::matching;
use crate::home::Home;
use crate::render::{self, Paint};
use crate::views::ListWords;

/// Messages of one request.
const CHUNK: usize = 50;

/// Compares. Exit code 1 where something differs.
pub async fn run(home: &Home, channel: &str, since: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    let client = Client::needed(home, "a comparison with what was sent").await?;
    let words = ListWords {
        channel: Some(channel.to_owned()),
        since: since.map(str::to_owned),
        ..ListWords::default()
    };
    let rows = matching(&client, words).await?;
    // A replay may have gone to some destinations only, or edited: it says nothing of the channel.
    let ids: Vec<&Value> = rows
        .iter()
        .filter(|row| row["replay_of"].is_null())
        .map(|row| &row["id"])
        .collect();
    let mut reruns = vec![];
    {
        let mut progress = Progress::new("Run again:", ids.len());
        let path = format!("/admin/channels/{channel}/rerun");
        // Also where nothing came: a channel file that is wrong is to be told.
        let chunks = ids.chunks(CHUNK).chain(ids.is_empty().then_some(&[][..]));
        for chunk in chunks {
            progress.at(reruns.len());
            let mut value = client
                .post(&path, json!({ "ids": chunk }).to_string().into_bytes())
                .await?;
            reruns.extend(
                value["reruns"]
                    .as_array_mut()
                    .map(std::mem::take)
                    .unwrap_or_default(),
            );
        }
    }
    let differs = |rerun: &&Value| {
        rerun["was"] != rerun["now"]
            || rerun["differences"]
                .as_array()
                .is_some_and(|list| !list.is_empty())
    };
    let differing: Vec<&Value> = reruns.iter().filter(differs).collect();
    let code = if differing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    if json {
        print(&format!(
            "{:#}\n",
            json!({ "channel": channel, "compared": reruns.len(), "differing": differing })
        ));
    } else {
        print(&told(channel, reruns.len(), &differing, &Paint::on_stdout()));
    }
    Ok(code)
}

/// By kind of difference: how many, and one of them whole.
fn told(channel: &str, compared: usize, differing: &[&Value], paint: &Paint) -> String {
    let mut groups: BTreeMap<String, (u64, &Value, &[Value])> = BTreeMap::new();
    for rerun in differing {
        let differences = rerun["differences"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        if rerun["was"] != rerun["now"] {
            let why = rerun["why"]
                .as_str()
                .map_or(String::new(), |why| format!(" ({why})"));
            let what = format!(
                "{} before, {} now{why}",
                render::cell(rerun, "was"),
                render::cell(rerun, "now")
            );
            groups.entry(what).or_insert((0, *rerun, &[])).0 += 1;
            continue;
        }
        for difference in differences {
            let what = format!(
                "{}: {}",
                render::cell(difference, "destination"),
                render::cell(difference, "what")
            );
            groups
                .entry(what)
                .or_insert((0, *rerun, std::slice::from_ref(difference)))
                .0 += 1;
        }
    }
    let mut out = format!(
        "{}: {} run again: {} as they were, {} differ. Nothing was sent.\n",
        paint.bold(channel),
        render::count(compared as u64, "message", "messages"),
        compared - differing.len(),
        differing.len()
    );
    for (what, (count, rerun, differences)) in &groups {
        out.push_str(&format!(
            "\n{count} {}\n  such as message {}\n",
            render::line(what),
            render::cell(rerun, "id")
        ));
        for line in differences
            .iter()
            .flat_map(|difference| difference["diff"].as_array().into_iter().flatten())
            .filter_map(Value::as_str)
        {
            out.push_str(&format!("  {}\n", paint.diff(line)));
        }
    }
    out
}
