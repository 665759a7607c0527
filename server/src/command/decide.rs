//! `punte messages release`, `done` and `cancel`: what a person decides about deliveries that are stuck.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use engine::message::DeliveryState;
use engine::run::{Decide, decide_at_rest};
use engine::store::{DecidedWord, Store};
use serde_json::{Value, json};

use super::client::{Client, path_word};
use super::messages::{Which, is_there};
use super::replay::{all_pages, matching};
use super::{is_meant, print};
use crate::home::Home;
use crate::journal;
use crate::render::{self, Paint};
use crate::views::{self, ListWords};

/// What they are told.
#[derive(clap::Args)]
pub struct Args {
    /// Their ids, or the beginning or end of one (8 characters or more)
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// Only what is for this destination (may be given several times)
    #[arg(long = "to", value_name = "DESTINATION")]
    to: Vec<String>,
    /// Why; kept with each
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Do not ask whether it is meant, where a filter chooses
    #[arg(long)]
    yes: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Help that all three share.
pub const EXIT_CODES: &str = "Several at once, the oldest first, after a count: a filter with a state instead of ids, and --yes.\nIt works beside a running engine and without one. Who decided, when and why is kept: punte messages show ID.\n\nExit codes: 0 done, 1 something was refused and stays as it is, 2 the command was not understood.";

/// Decides about one or many.
pub async fn run(home: &Home, word: DecidedWord, args: Args) -> anyhow::Result<ExitCode> {
    let by_filter = !args.which.is_all();
    match (args.ids.is_empty(), by_filter) {
        (true, false) => bail!("say which: an id, or a filter such as --channel lab-results --state held"),
        (false, true) => bail!("either ids or a filter, not both"),
        (true, true) | (false, false) => {}
    }
    let place = Place::of(home).await?;
    let came = if by_filter {
        filtered(home, &place, word, &args).await
    } else {
        let ids = args.ids.clone();
        each(&place, word, &args, ids, None).await.map(Some)
    };
    place.close().await?;
    match came? {
        None => Ok(ExitCode::SUCCESS),
        Some(results) => say(&results, args.json),
    }
}

/// All that a filter finds, once a person has agreed. None: nothing is to be done.
async fn filtered(
    home: &Home,
    place: &Place,
    word: DecidedWord,
    args: &Args,
) -> anyhow::Result<Option<Vec<Value>>> {
    let words = args.which.clone().words();
    let named = words.state.as_deref().unwrap_or_default();
    let state = DeliveryState::ALL
        .into_iter()
        .find(|state| state.as_str() == named && word.is_for(*state));
    let Some(state) = state else {
        let can: Vec<&str> = DeliveryState::ALL
            .into_iter()
            .filter(|state| word.is_for(*state))
            .map(DeliveryState::as_str)
            .collect();
        bail!(
            "a filter needs the state of what is meant: --state with one of {}",
            can.join(", ")
        );
    };
    let channel = words.channel.clone();
    let rows = place.matching(words).await?;
    if let (true, Some(channel)) = (rows.is_empty(), channel) {
        let client = match place {
            Place::Engine(client) => Some(client),
            Place::Store(_) => None,
        };
        is_there(home, client, &channel).await?;
    }
    let mut counts: BTreeMap<(String, String, String), u64> = BTreeMap::new();
    let mut ids = vec![];
    for row in &rows {
        let mut is_meant = false;
        for delivery in row["deliveries"].as_array().into_iter().flatten() {
            let destination = render::cell(delivery, "destination");
            if delivery["state"] == state.as_str() && (args.to.is_empty() || args.to.contains(&destination)) {
                is_meant = true;
                let last = render::cell(delivery, "last");
                *counts
                    .entry((render::cell(row, "channel"), destination, last))
                    .or_default() += 1;
            }
        }
        if is_meant {
            ids.push(render::cell(row, "id"));
        }
    }
    if ids.is_empty() {
        print(&match args.json {
            true => format!("{:#}\n", json!({ "messages": [] })),
            false => format!("No delivery that is {} matches.\n", state.as_str()),
        });
        return Ok(None);
    }
    if !args.json {
        let count: u64 = counts.values().sum();
        let cells: Vec<Vec<String>> = counts
            .into_iter()
            .map(|((channel, destination, why), count)| {
                vec![count.to_string(), format!("{channel}/{destination}"), why]
            })
            .collect();
        print(&render::table(&["COUNT", "DESTINATION", "LAST"], &cells));
        let (is, would) = (state.as_str(), word.as_str());
        let what = render::count(count, "delivery that is", "deliveries that are");
        let question = format!("{what} {is} would be {would}");
        if !args.yes && !is_meant(&question, "Say --yes to do it.")? {
            return Ok(None);
        }
    } else if !args.yes {
        bail!("{} messages match; say --yes to do it", ids.len());
    }
    each(place, word, args, ids, Some(state)).await.map(Some)
}

/// One after the other; what is refused stops none of the others.
async fn each(
    place: &Place,
    word: DecidedWord,
    args: &Args,
    ids: Vec<String>,
    was: Option<DeliveryState>,
) -> anyhow::Result<Vec<Value>> {
    let mut results = vec![];
    for id in ids {
        let decide = Decide {
            word,
            only: args.to.clone(),
            was,
            by: String::new(),
            reason: args.reason.clone(),
        };
        let mut value = match place.decide(&id, decide).await {
            Ok(value) => value,
            Err(error) => json!({ "decided": [], "refused": [{ "why": format!("{error:#}") }] }),
        };
        value["message"] = id.into();
        results.push(value);
    }
    Ok(results)
}

/// Says what came of it.
fn say(results: &[Value], json: bool) -> anyhow::Result<ExitCode> {
    let of = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let is_refused = results.iter().any(|value| !of(value, "refused").is_empty());
    if json {
        print(&format!("{:#}\n", json!({ "messages": results })));
    } else {
        let paint = Paint::on_stdout();
        for value in results {
            let id = render::cell(value, "message");
            for moved in of(value, "decided") {
                print(&format!(
                    "{id}: {} was {}, is {}\n",
                    render::cell(&moved, "destination"),
                    render::cell(&moved, "was"),
                    paint.state(&render::cell(&moved, "state"))
                ));
            }
            for refused in of(value, "refused") {
                let destination = match refused["destination"].as_str() {
                    Some(name) => format!("{name}: "),
                    None => String::new(),
                };
                print(&format!("{id}: {destination}{}\n", render::cell(&refused, "why")));
            }
        }
    }
    Ok(match is_refused {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// Where it is done: by the running engine, else in its store.
enum Place {
    Engine(Client),
    Store(Arc<dyn Store>),
}

impl Place {
    async fn of(home: &Home) -> anyhow::Result<Place> {
        Ok(match Client::find(home).await? {
            Some(client) => Place::Engine(client),
            None => Place::Store(home.open_store(false).await?),
        })
    }

    async fn close(&self) -> anyhow::Result<()> {
        match self {
            Place::Engine(_) => Ok(()),
            Place::Store(store) => Ok(store.close().await?),
        }
    }

    /// All messages of a filter, the oldest first.
    async fn matching(&self, words: ListWords) -> anyhow::Result<Vec<Value>> {
        let store = match self {
            Place::Engine(client) => return matching(client, words).await,
            Place::Store(store) => store.as_ref(),
        };
        all_pages(words, async |words| {
            let listed = views::messages(store, words, (crate::world::real().now)()).await?;
            let page = listed.map_err(|wrong| anyhow!(wrong.0))?;
            journal::note_listing(store, journal::owner(), "messages", &page, words).await?;
            Ok(page)
        })
        .await
    }

    async fn decide(&self, id: &str, decide: Decide) -> anyhow::Result<Value> {
        match self {
            Place::Engine(client) => {
                let body = json!({
                    "to": decide.word.state(),
                    "destinations": decide.only,
                    "was": decide.was,
                    "reason": decide.reason,
                });
                let path = format!("/admin/messages/{}/decide", path_word(id)?);
                client.post(&path, body.to_string().into_bytes()).await
            }
            Place::Store(store) => {
                let found = views::find(store.as_ref(), id).await?;
                let id = found.ok_or_else(|| anyhow!("there is no message {id}"))?;
                let by = journal::owner().name();
                let decide = Decide { by, ..decide };
                let now = (crate::world::real().now)();
                let decided = decide_at_rest(store.as_ref(), id, decide, now).await?;
                Ok(serde_json::to_value(&decided)?)
            }
        }
    }
}
