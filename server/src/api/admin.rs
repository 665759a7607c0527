//! The admin interface: what the command line and the console ask.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State as Extract};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use engine::channel::{Channel, nearest};
use engine::format::SetOp;
use engine::message::DeliveryState;
use engine::run::{Again, Answers, Decide, Resolve};
use engine::store::{ApiKey, DecidedWord, Halt, HaltWord, PrunePlace, StoreError};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::auth::{self, Scope, Who};
use super::{Problem, State, channels_of};
use crate::alerts::Current;
use crate::command::try_out;
use crate::home::with_write_door;
use crate::whereabouts::Asked;
use crate::{journal, pseudonyms, views};

type Answer = Result<Json<Value>, Problem>;

/// Its routes.
pub fn routes() -> Router<State> {
    Router::new()
        .route("/whoami", get(whoami))
        .route("/messages", get(messages))
        .route("/messages/{id}", get(message))
        .route("/messages/{id}/replay", post(replay))
        .route("/messages/{id}/resolve", post(resolve))
        .route("/messages/{id}/decide", post(decide))
        .route("/messages/{id}/seen", post(see))
        .route("/prune", post(prune))
        .route("/seal", get(seal_keys))
        .route("/seal/renew", post(renew_key))
        .route("/parked", get(parked))
        .route("/where", get(whereabouts))
        .route("/reidentify", post(reidentify))
        .route("/status", get(status))
        .route("/alerts", get(alerts))
        .route("/alerts/test", post(test_alerts))
        .route("/channels", get(channels))
        .route("/channels/{id}/try", post(try_message))
        .route("/channels/{id}/rerun", post(rerun))
        .route("/channels/{id}/codes", get(codes))
        .route("/channels/{id}/{verb}", post(operate))
        .route("/reload", post(reload))
        .route("/keys", get(keys).post(add_key))
        .route("/keys/{name}", delete(remove_key))
}

async fn whoami(who: Who) -> Answer {
    let asker = who.may(Scope::Admin)?;
    Ok(Json(json!({ "name": asker.actor.key, "scopes": asker.scopes })))
}

async fn messages(
    Extract(state): Extract<State>,
    who: Who,
    words: Result<Query<views::ListWords>, axum::extract::rejection::QueryRejection>,
) -> Answer {
    let asker = who.may(Scope::MessagesRead)?;
    let Query(words) = words.map_err(|error| Problem::bad_request(error.body_text()))?;
    let now = (crate::world::real().now)();
    let value = views::messages(state.store(), &words, now)
        .await?
        .map_err(|wrong| Problem::bad_request(wrong.0))?;
    journal::note_listing(state.store(), asker, "messages", &value, &words).await?;
    Ok(Json(value))
}

async fn message(Extract(state): Extract<State>, who: Who, Path(id): Path<String>) -> Answer {
    let asker = who.may(Scope::MessagesRead)?;
    let (store, formats, channels) = (state.store(), state.engine().formats(), channels_of(&state));
    let (seen, detail) = journal::message(store, &channels, formats, &id).await?;
    journal::note(store, asker, "message", seen).await?;
    let detail = detail.ok_or_else(|| no_message(&id))?;
    Ok(Json(views::message(store, &channels, formats, &detail).await?))
}

fn no_message(id: &str) -> Problem {
    Problem::not_found(format!("there is no message {id}"))
}

/// The message that is meant by an id or a piece of one.
async fn known_message(state: &State, id: &str) -> Result<Uuid, Problem> {
    views::find(state.store(), id)
        .await?
        .ok_or_else(|| no_message(id))
}

/// How a message is to be taken again.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Replay {
    /// To these destinations alone; none: to all.
    to: Vec<String>,
    /// In place of what came: text, or `{ "base64": … }`.
    body: Option<Value>,
    /// Path and value.
    set: Vec<(String, String)>,
    /// Only show what would be.
    dry_run: bool,
}

async fn replay(Extract(state): Extract<State>, who: Who, Path(id): Path<String>, body: Body) -> Answer {
    let asker = who.may(Scope::MessagesReplay)?;
    let body = super::whole(body).await?;
    let replay: Replay = if body.is_empty() {
        Replay::default()
    } else {
        parse(&body)?
    };
    let id = known_message(&state, &id).await?;
    let again = Again {
        only: (!replay.to.is_empty()).then_some(replay.to),
        body: replay.body.as_ref().map(|body| views::bytes_of(body).into()),
        set: replay
            .set
            .into_iter()
            .map(|(path, text)| (path, SetOp::Assign(text)))
            .collect(),
        by: asker.name(),
    };
    if replay.dry_run {
        let seen = seen(&state, &[id]).await?;
        journal::note(state.store(), asker, "rehearse", seen).await?;
        let (outcome, traces) = state.engine().rehearse(id, again).await?;
        return Ok(Json(views::rehearsal(&outcome, &traces)));
    }
    let (id, message_state) = state.engine().replay(id, again).await?;
    Ok(Json(json!({ "id": id, "state": message_state.as_str() })))
}

/// What a person decides about a parked message: one of the three.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResolveParked {
    /// It is about this one.
    #[serde(default)]
    is: Option<String>,
    /// It is about a new one.
    #[serde(default)]
    new: bool,
    /// Nothing is to come of it.
    #[serde(default)]
    ignore: bool,
    #[serde(default)]
    reason: Option<String>,
}

async fn resolve(Extract(state): Extract<State>, who: Who, Path(id): Path<String>, body: Bytes) -> Answer {
    let asker = who.may(Scope::MessagesReplay)?;
    let decide: ResolveParked = parse(&body)?;
    let resolve = match (decide.is, decide.new, decide.ignore) {
        (Some(who), false, false) => Resolve::Is(who),
        (None, true, false) => Resolve::New,
        (None, false, true) if decide.reason.is_none() => {
            return Err(Problem::bad_request(
                "a reason is needed where a message is ignored",
            ));
        }
        (None, false, true) => Resolve::Ignore,
        _ => {
            return Err(Problem::bad_request(
                "say one of: { \"is\": ID }, { \"new\": true }, { \"ignore\": true, \"reason\": … }",
            ));
        }
    };
    let id = known_message(&state, &id).await?;
    let resolved = state
        .engine()
        .resolve(id, resolve, &asker.name(), decide.reason)
        .await?;
    Ok(Json(
        json!({ "id": id, "state": resolved.state, "failure": resolved.failure }),
    ))
}

/// What a person decides about deliveries of a message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DecideDeliveries {
    /// `queued`, `sent` or `cancelled`.
    to: DeliveryState,
    /// To these destinations alone; none: to all of which it can be said.
    #[serde(default)]
    destinations: Vec<String>,
    /// Only what is in this state.
    #[serde(default)]
    was: Option<DeliveryState>,
    reason: String,
}

async fn decide(Extract(state): Extract<State>, who: Who, Path(id): Path<String>, body: Bytes) -> Answer {
    let asker = who.may(Scope::MessagesReplay)?;
    let said: DecideDeliveries = parse(&body)?;
    let word = DecidedWord::ALL
        .into_iter()
        .find(|word| word.state() == said.to)
        .ok_or_else(|| Problem::bad_request("`to` is one of: queued, sent, cancelled"))?;
    let id = known_message(&state, &id).await?;
    let decide = Decide {
        word,
        only: said.destinations,
        was: said.was,
        by: asker.name(),
        reason: said.reason,
    };
    let decided = state.engine().decide(id, decide).await?;
    let value = serde_json::to_value(&decided).map_err(|error| Problem::failed(error.to_string()))?;
    Ok(Json(value))
}

async fn parked(Extract(state): Extract<State>, who: Who) -> Answer {
    let asker = who.may(Scope::MessagesRead)?;
    let value = views::parked(state.store()).await?;
    journal::note_listing(
        state.store(),
        asker,
        "parked",
        &value,
        &views::ListWords::default(),
    )
    .await?;
    Ok(Json(value))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    key: String,
}

/// What is noted of messages that are shown.
async fn seen(state: &State, ids: &[Uuid]) -> Result<journal::Seen, StoreError> {
    let formats = state.engine().formats();
    journal::messages(state.store(), &channels_of(state), formats, ids).await
}

/// Where something is. Shows values of the chart, so that it needs both scopes.
async fn whereabouts(
    Extract(state): Extract<State>,
    who: Who,
    words: Result<Query<Key>, axum::extract::rejection::QueryRejection>,
) -> Answer {
    let asker = who.may(Scope::MessagesRead)?;
    asker.needs(Scope::ClinicRead)?;
    let Query(Key { key }) = words.map_err(|error| Problem::bad_request(error.body_text()))?;
    let halts = state.engine().halts();
    let asked = Asked {
        store: state.store(),
        formats: state.engine().formats(),
        halts: &halts,
        channel: &channels_of(&state),
        now: jiff::Timestamp::now(),
    };
    let found = asked.about(&key).await?;
    let ids: Vec<Uuid> = found.iter().map(|found| found.id).collect();
    let mut seen = seen(&state, &ids).await?;
    seen.words = Some(key.clone());
    journal::note(state.store(), asker, "where", seen).await?;
    Ok(Json(json!({ "key": key, "messages": found })))
}

/// Whom a pseudonym stands for. Why it is asked is written to the journal, found or not.
async fn reidentify(Extract(state): Extract<State>, who: Who, body: Bytes) -> Answer {
    let asker = who.may(Scope::ClinicReidentify)?;
    let asked: pseudonyms::Asked = parse(&body)?;
    let value = pseudonyms::told(state.store(), asker, &asked).await?;
    Ok(Json(value.map_err(Problem::bad_request)?))
}

async fn status(Extract(state): Extract<State>, who: Who) -> Answer {
    who.may(Scope::MessagesRead)?;
    let overview = state.lookout().overview().await?;
    let value = serde_json::to_value(&overview).map_err(|error| Problem::failed(error.to_string()))?;
    Ok(Json(value))
}

async fn alerts(Extract(state): Extract<State>, who: Who) -> Answer {
    who.may(Scope::MessagesRead)?;
    let alerts = state.store().alerts(crate::alerts::LISTED).await?;
    Ok(Json(json!({ "alerts": alerts })))
}

/// Whom to tell that this is a test.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TestAlerts {
    /// Only this one; none: all.
    receiver: Option<String>,
}

async fn test_alerts(Extract(state): Extract<State>, who: Who, body: Bytes) -> Answer {
    who.may(Scope::Admin)?;
    let test: TestAlerts = if body.is_empty() {
        TestAlerts::default()
    } else {
        parse(&body)?
    };
    let now = (crate::world::real().now)();
    let told = state
        .alerts()
        .current()
        .receivers
        .test(test.receiver.as_deref(), now)
        .await;
    Ok(Json(json!({ "told": told })))
}

async fn channels(Extract(state): Extract<State>, who: Who) -> Answer {
    who.may(Scope::MessagesRead)?;
    let rows = state.engine().channels().await?;
    Ok(Json(json!({ "running": true, "channels": rows })))
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Try {
    /// Ask destinations for real.
    ask: bool,
}

async fn try_message(
    Extract(state): Extract<State>,
    who: Who,
    Path(id): Path<String>,
    words: Result<Query<Try>, axum::extract::rejection::QueryRejection>,
    body: Body,
) -> Answer {
    let asker = who.may(Scope::ChannelsAdmin)?;
    let body = super::whole(body).await?;
    let Query(Try { ask }) = words.map_err(|error| Problem::bad_request(error.body_text()))?;
    if ask {
        asker.needs(Scope::ClinicAsk)?;
    }
    let channel = state.engine().known_channel(&id)?;
    let answers = Arc::new(Answers::none());
    let value = loop {
        let value = {
            let snapshot = state.store().snapshot()?;
            let formats = state.engine().formats();
            try_out::show(
                channel.clone(),
                formats,
                body.clone(),
                answers.clone(),
                snapshot.as_ref(),
            )?
        };
        let open = answers.not_asked();
        if !ask || open.is_empty() {
            break value;
        }
        for question in open {
            let (actor, purpose) = (asker.actor.clone(), asker.purpose.clone());
            let told = state.engine().ask(&id, &question, actor, purpose).await?;
            answers.keep(question, told.heard.answered);
        }
    };
    journal::note_try(state.store(), asker, &id, &value).await?;
    Ok(Json(value))
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Operate {
    destination: Option<String>,
    reason: Option<String>,
}

/// Starts, stops or pauses a channel or one of its destinations.
async fn operate(
    Extract(state): Extract<State>,
    who: Who,
    Path((channel, verb)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let asker = who.may(Scope::ChannelsAdmin)?;
    let operate: Operate = if body.is_empty() {
        Operate::default()
    } else {
        parse(&body)?
    };
    let engine = state.engine();
    let word = match verb.as_str() {
        "stop" => HaltWord::Stopped,
        "pause" => HaltWord::Paused,
        "start" => {
            let was_halted = engine
                .resume(&channel, operate.destination.as_deref(), &asker.name())
                .await?;
            return Ok(Json(json!({ "state": "running", "changed": was_halted })));
        }
        _ => {
            return Err(Problem::not_found(format!(
                "{verb:?} is nothing that a channel can be told: start, stop, pause"
            )));
        }
    };
    let halt = Halt {
        channel,
        destination: operate.destination,
        word,
        since: (crate::world::real().now)(),
        by: asker.name(),
        reason: operate.reason,
    };
    engine.halt(halt).await?;
    Ok(Json(json!({ "state": word.as_str(), "changed": true })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ids {
    ids: Vec<Uuid>,
}

/// Runs stored messages through a channel as its file says now, and compares with what was sent.
async fn rerun(Extract(state): Extract<State>, who: Who, Path(id): Path<String>, body: Bytes) -> Answer {
    let asker = who.may(Scope::ChannelsAdmin)?;
    asker.needs(Scope::MessagesRead)?;
    let Ids { ids } = parse(&body)?;
    let home = state.home().clone();
    let channel = tokio::task::spawn_blocking(move || try_out::from_files(&home, &id))
        .await
        .map_err(|_| Problem::bad_request("the channel files could not be read"))??;
    let seen = seen(&state, &ids).await?;
    journal::note(state.store(), asker, "rerun", seen).await?;
    let mut reruns = vec![];
    for id in ids {
        reruns.extend(crate::rerun::rerun(state.store(), &channel, state.engine().formats(), id).await?);
    }
    Ok(Json(json!({ "reruns": reruns })))
}

/// Codes that came and are in no table, of one page of messages.
async fn codes(
    Extract(state): Extract<State>,
    who: Who,
    Path(id): Path<String>,
    words: Result<Query<views::ListWords>, axum::extract::rejection::QueryRejection>,
) -> Answer {
    who.may(Scope::MessagesRead)?;
    let channel = state.engine().known_channel(&id)?;
    let Query(words) = words.map_err(|error| Problem::bad_request(error.body_text()))?;
    let words = views::ListWords {
        channel: Some(id),
        ..words
    };
    let now = (crate::world::real().now)();
    let (codes, next) = crate::codes::page(state.store(), &channel, state.engine().formats(), &words, now)
        .await?
        .map_err(|wrong| Problem::bad_request(wrong.0))?;
    Ok(Json(crate::command::codes::value(&codes, next)))
}

/// What comes of a reload where something is wrong: nothing.
fn not_right(problems: Vec<String>, warnings: &[String]) -> Answer {
    Ok(Json(json!({ "problems": problems, "warnings": warnings })))
}

/// Reads the channel files and the alerts again and takes them in place of those that run, if all of them are right.
async fn reload(Extract(state): Extract<State>, who: Who) -> Answer {
    who.may(Scope::ChannelsAdmin)?;
    let home = state.home().clone();
    let checked = tokio::task::spawn_blocking(move || home.check())
        .await
        .map_err(|_| Problem::bad_request("the channel files could not be read"))?;
    let mut warnings: Vec<String> = checked.warnings.iter().map(ToString::to_string).collect();
    let channels = match checked.into_result() {
        Ok(channels) if channels.is_empty() => {
            return Err(Problem::bad_request(
                "there is no channel file any more; all goes on as it was. To end everything, stop the program",
            ));
        }
        Ok(channels) => with_write_door(channels),
        Err(problems) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            return not_right(problems, &warnings);
        }
    };
    let alerts = match alerts_now(&state, &channels).await {
        Ok(alerts) => alerts,
        Err(problems) => return not_right(problems, &warnings),
    };
    warnings.extend(unchanged(&state));
    let reloaded = state.engine().reload(channels).await?;
    state.alerts().replace(alerts);
    Ok(Json(
        json!({ "problems": [], "warnings": warnings, "reloaded": reloaded }),
    ))
}

/// The alerts as `punte.toml` has them now, or what is wrong there.
async fn alerts_now(state: &State, channels: &[Channel]) -> Result<Current, Vec<String>> {
    let home = state.home();
    let words = |error: anyhow::Error| vec![format!("{error:#}")];
    let (problems, _) = home.look_at_settings(Some(channels)).map_err(words)?;
    if !problems.is_empty() {
        return Err(problems.iter().map(ToString::to_string).collect());
    }
    let settings = home.settings().map_err(words)?;
    let zone = settings.time_zone().map_err(words)?;
    Current::open(&settings.alerts, &zone, home.folder())
        .await
        .map_err(words)
}

/// What else was changed in `punte.toml`, which only a start takes.
fn unchanged(state: &State) -> Vec<String> {
    let (now, then) = (state.home().settings_table(), state.at_start());
    let mut keys: Vec<&String> = now.keys().chain(then.keys()).collect();
    keys.sort();
    keys.dedup();
    let changed = keys
        .into_iter()
        .filter(|key| *key != "alerts" && now.get(*key) != then.get(*key));
    changed
        .map(|key| format!("punte.toml: {key} was changed; that takes effect at the next start"))
        .collect()
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct See {
    reason: Option<String>,
}

/// Somebody has seen what is dead of a message.
async fn see(Extract(state): Extract<State>, who: Who, Path(id): Path<String>, body: Bytes) -> Answer {
    let asker = who.may(Scope::MessagesReplay)?;
    let See { reason } = if body.is_empty() {
        See::default()
    } else {
        parse(&body)?
    };
    let id = known_message(&state, &id).await?;
    let seen = state.engine().see(id, asker.name(), reason).await?;
    Ok(Json(json!({ "seen": seen })))
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Prune {
    place: PrunePlace,
    dry_run: bool,
}

/// One step of a pass that takes out what is old enough.
async fn prune(Extract(state): Extract<State>, who: Who, body: Bytes) -> Answer {
    who.may(Scope::Admin)?;
    let Prune { place, dry_run } = if body.is_empty() {
        Prune::default()
    } else {
        parse(&body)?
    };
    let step = state.engine().prune(place, !dry_run).await?;
    Ok(Json(json!(step)))
}

/// The keys, and whether the master key that this process would find at its next start is the one of the store.
async fn seal_keys(Extract(state): Extract<State>, who: Who) -> Answer {
    who.may(Scope::Admin)?;
    let mut value = json!(state.store().seal_keys().await?);
    let home = state.home().clone();
    let found = tokio::task::spawn_blocking(move || crate::command::seal::master_key_of(&home)).await;
    if let Ok(Ok((place, wrong))) = found {
        value["master_key"] = json!({ "place": place.to_string(), "fits": wrong.is_none() });
    }
    Ok(Json(value))
}

/// A new data key. The body is the master key as [`engine::store::hand_over`] seals it: it may have been replaced since the
/// start. Without a body it is read anew from the place where this process looks for it.
async fn renew_key(Extract(state): Extract<State>, who: Who, body: Bytes) -> Answer {
    who.may(Scope::Admin)?;
    let master = match body.is_empty() {
        false => state
            .store()
            .handed_key(&body)
            .map_err(|_| Problem::bad_request("the body is no master key that was sealed for this store"))?,
        true => {
            let home = state.home().clone();
            tokio::task::spawn_blocking(move || home.master_key(&home.settings()?, false))
                .await
                .map_err(|_| Problem::bad_request("the master key could not be read"))??
        }
    };
    let key = state.engine().renew_key(&master).await?;
    Ok(Json(json!({ "key": key })))
}

async fn keys(Extract(state): Extract<State>, who: Who) -> Answer {
    who.may(Scope::KeysAdmin)?;
    Ok(Json(json!({ "keys": state.store().api_keys().await? })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    name: String,
    scopes: Vec<String>,
    #[serde(default)]
    expires_at: Option<jiff::Timestamp>,
}

async fn add_key(Extract(state): Extract<State>, who: Who, body: Bytes) -> Answer {
    let asker = who.may(Scope::KeysAdmin)?;
    let new: NewKey = parse(&body)?;
    for scope in &new.scopes {
        let scope = Scope::of(scope).map_err(Problem::bad_request)?;
        // Who may make keys can't make one that may more than their own.
        if !asker
            .scopes
            .iter()
            .any(|has| has == scope.as_str() || has == Scope::Admin.as_str())
        {
            let what = format!("your key does not have the scope {} itself", scope.as_str());
            return Err(Problem::new(axum::http::StatusCode::FORBIDDEN, what));
        }
    }
    let secret = auth::new_secret()?;
    let key = ApiKey {
        name: new.name,
        scopes: new.scopes,
        created_at: (crate::world::real().now)(),
        expires_at: new.expires_at,
    };
    if !state.store().add_api_key(&key, &secret).await? {
        return Err(Problem::new(
            axum::http::StatusCode::CONFLICT,
            format!("there is a key {:?} already; remove it first", key.name),
        ));
    }
    Ok(Json(json!({ "name": key.name, "key": secret })))
}

async fn remove_key(Extract(state): Extract<State>, who: Who, Path(name): Path<String>) -> Answer {
    who.may(Scope::KeysAdmin)?;
    Ok(Json(
        json!({ "removed": state.store().remove_api_key(&name).await? }),
    ))
}

/// Reads a body; of a wrong one the key is told and what it should be, never a value of it.
fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let at = format!("line {}, column {}", error.line(), error.column());
        let what = match error.classify() {
            serde_json::error::Category::Data => told_of_data(&error.to_string()),
            _ => "it is no JSON".to_owned(),
        };
        let key = key_before(body, error.line(), error.column());
        // What is missing or not known is named in what is said of it.
        let key = key.filter(|_| !what.contains(" field "));
        let key = key.map_or(String::new(), |key| format!("{key}: "));
        Problem::bad_request(format!(
            "the body is not what is expected here: {key}{what} ({at})"
        ))
    })
}

/// The last key that stands before a place in a JSON text, if it is a plain word.
fn key_before(body: &[u8], line: usize, column: usize) -> Option<String> {
    let start: usize = body
        .split_inclusive(|byte| *byte == b'\n')
        .take(line.checked_sub(1)?)
        .map(<[u8]>::len)
        .sum();
    let before = std::str::from_utf8(body.get(..(start + column).min(body.len()))?).ok()?;
    let (before, _) = before.rsplit_once("\":").or_else(|| before.rsplit_once("\" :"))?;
    let (_, key) = before.rsplit_once('"')?;
    let is_word = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_word.then(|| key.to_owned())
}

/// What the reader of JSON says of a value, without the value.
fn told_of_data(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(what, _)| what);
    if message.starts_with("missing field") {
        return message.to_owned();
    }
    // A key that is not known may be anything, a name too: what it could have been is told.
    let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if let (true, [written, known @ ..]) = (message.starts_with("unknown field"), words.as_slice()) {
        return match nearest(written, known.iter().copied()) {
            Some(near) => format!("a field is not known here; did you mean `{near}`?"),
            None => format!("a field is not known here; known are {}", known.join(", ")),
        };
    }
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => format!("{expected} is expected"),
        None => "a value does not fit".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_body_is_told_by_its_key_and_never_by_its_value() {
        let told = |body: &str| {
            parse::<NewKey>(body.as_bytes())
                .err()
                .map(|problem| problem.detail)
        };
        let of = |what: &str| Some(format!("the body is not what is expected here: {what}"));
        assert_eq!(told("{\"name\":\"a\",\"scopes\":[]}"), None);
        assert_eq!(
            told("{\"name\":\"a\"}"),
            of("missing field `scopes` (line 1, column 12)")
        );
        let unknown = told("{\"nam\":\"Popescu\"}").unwrap_or_default();
        assert!(
            unknown.contains("a field is not known here; did you mean `name`?"),
            "{unknown}"
        );
        let number = told("{\"1790214018882\":\"a\"}").unwrap_or_default();
        assert!(
            number.contains("known are name, scopes") && !number.contains("1790"),
            "{number}"
        );
        let wrong = told("{\"name\":\"a\",\n\"scopes\": \"Popescu\"}").unwrap_or_default();
        assert!(
            wrong.contains("scopes: a sequence is expected (line 2"),
            "{wrong}"
        );
        let broken = told("{\"name\"").unwrap_or_default();
        assert!(broken.contains("it is no JSON"), "{broken}");
        for told in [unknown, wrong] {
            assert!(!told.contains("Popescu"), "{told}");
        }
    }
}
