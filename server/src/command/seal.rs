//! `punte seal`: the keys of the store.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;
use clap::Subcommand;
use engine::store::{ResealPlace, RewrapError, SqliteStore, hand_over, rewrap};
use serde_json::{Value, json};

use super::client::Client;
use super::print;
use super::progress::Progress;
use crate::home::Home;
use crate::master::{self, KeyPlace};

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "The master key (a file, a variable, or what a program prints) wraps the keys of the store. A data key seals what is\nstored; a hash key of its own makes what is searched by, and stays for as long as the store is there.\n\nExamples:\n  punte seal status\n  punte seal rewrap --to-file /etc/punte/master-2027.key\n  NEW=$(vault kv get -field=key punte) punte seal rewrap --to-variable NEW\n  punte seal renew"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    /// As JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Say under which keys the store is sealed, and how far sealing anew is
    Status,
    /// Put another master key in place of that of today; the engine may run on
    Rewrap {
        /// The file of the new master key; it is made where it is not there yet
        #[arg(long, value_name = "FILE", conflicts_with = "to_variable")]
        to_file: Option<PathBuf>,
        /// The variable that holds the new master key
        #[arg(long, value_name = "NAME")]
        to_variable: Option<String>,
    },
    /// Make a new data key: it seals from now on, and what is there is sealed anew by and by
    Renew,
}

/// What is to be done where the key at its place is not the one of the store.
const ELSEWHERE: &str = "the master key of the store is not where this command looks for it. Say where it is: [key] in punte.toml, PUNTE_KEY_FILE or PUNTE_MASTER_KEY";

/// Says, or does it.
pub async fn run(home: &Home, args: Args) -> anyhow::Result<ExitCode> {
    home.needs_a_store()?;
    let value = match args.verb {
        Verb::Status => status(home).await?,
        Verb::Rewrap { to_file, to_variable } => rewrapped(home, to_file, to_variable)?,
        Verb::Renew => renew(home).await?,
    };
    if args.json {
        print(&format!("{value:#}\n"));
    } else {
        print(&format!("{}\n", value["says"].as_str().unwrap_or_default()));
    }
    Ok(match value["master_key"]["fits"] == false {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

async fn status(home: &Home) -> anyhow::Result<Value> {
    let mut value = match Client::find(home).await? {
        Some(client) => client.get("/admin/seal", &()).await?,
        None => {
            let store = home.open_store(false).await?;
            let keys = store.seal_keys().await?;
            store.close().await?;
            json!(keys)
        }
    };
    // The engine may find it where nobody else does: in its own environment.
    let engines = value["master_key"].take();
    let (place, wrong) = master_key_of(home)?;
    let is_engines = wrong.is_some() && engines["fits"] == true;
    value["master_key"] = match is_engines {
        true => engines,
        false => json!({ "place": place.to_string(), "fits": wrong.is_none() }),
    };
    let mut says = match wrong {
        None => format!("Master key: {place}."),
        Some(error) if is_engines => {
            let engines = value["master_key"]["place"].as_str().unwrap_or_default();
            format!(
                "Master key: {engines}, where the engine that runs here finds it. From here: {error:#}; a command beside a stopped engine needs it."
            )
        }
        Some(error) => {
            format!("Master key: not {place}, {error:#}.\nSo {ELSEWHERE}; the next start needs it too.")
        }
    };
    says.push_str(&format!("\nData key {} seals what is stored.", value["now"]));
    for older in value["older"].as_array().into_iter().flatten() {
        says.push_str(&if value["is_resealed"] == true {
            format!(
                "\nKey {} is kept for {} rows of the journal, which stay as they were written.",
                older[0], older[1]
            )
        } else {
            format!(
                "\nWhat key {} sealed is being sealed anew while the engine runs.",
                older[0]
            )
        });
    }
    value["says"] = says.into();
    Ok(value)
}

/// Where this process finds the master key, and why that is not the one of the store, where it isn't.
pub fn master_key_of(home: &Home) -> anyhow::Result<(KeyPlace, Option<anyhow::Error>)> {
    let settings = home.settings()?;
    let place = home.key_place(&settings)?;
    // What the engine has open may be wrapped under another one by now.
    let wrong = home
        .master_key(&settings, false)
        .and_then(|master| Ok(SqliteStore::look(&home.data(), &master, None)?))
        .err();
    Ok((place, wrong))
}

fn rewrapped(home: &Home, to_file: Option<PathBuf>, to_variable: Option<String>) -> anyhow::Result<Value> {
    let old = home.master_key(&home.settings()?, false)?;
    let (new, place) = match (to_file, to_variable) {
        (Some(path), None) => (home.next_key_of_file(&path)?, path.display().to_string()),
        (None, Some(name)) => (master::from_variable(&name)?, format!("the variable {name}")),
        (Some(_), Some(_)) | (None, None) => {
            bail!("say where the new master key is: --to-file FILE, or --to-variable NAME")
        }
    };
    let next = "Before the next command or start say where it is: [key] in punte.toml, PUNTE_KEY_FILE or PUNTE_MASTER_KEY. Keep a copy of it in a safe place, and the old one as long as there are backups of its days.";
    Ok(match rewrap(&home.data(), &old, &new) {
        Ok(keys) => json!({
            "keys": keys,
            "says": format!("The keys of the store are sealed under the master key of {place} now.\n{next}"),
        }),
        Err(RewrapError::Already) => json!({
            "keys": 0,
            "says": format!("The keys of the store are sealed under the master key of {place} already."),
        }),
        Err(RewrapError::Store(error)) => return Err(error.into()),
    })
}

async fn renew(home: &Home) -> anyhow::Result<Value> {
    if let Some(client) = Client::find(home).await? {
        // The engine looks for it where it did at its start, which may be the place of an older one. Where it can't be read
        // here, or is another one, the engine's own place counts.
        let handed = home
            .settings()
            .and_then(|settings| home.master_key(&settings, false))
            .and_then(|master| Ok(hand_over(&home.data(), &master)?));
        let value = match (
            client
                .post("/admin/seal/renew", handed.as_ref().map_or(vec![], Vec::clone))
                .await,
            handed,
        ) {
            (Err(engines), Err(ours)) => bail!("{ELSEWHERE}. Here: {ours:#}. The engine: {engines:#}"),
            (value, _) => value?,
        };
        let says = format!(
            "Data key {} seals from now on. What older keys sealed is sealed anew while the engine runs: punte seal status.",
            value["key"]
        );
        return Ok(json!({ "key": value["key"], "says": says }));
    }
    let master = home.master_key(&home.settings()?, false)?;
    let store = home.open_store(false).await?;
    let key = store.renew_key(&master).await?;
    store.close().await?;
    drop(store);
    // Opened anew nothing is under way that the older key has sealed.
    let store = home.open_store(false).await?;
    let mut progress = Progress::new("Sealed anew:", 0);
    let mut all = 0;
    loop {
        let (begun, mut count) = (Instant::now(), 0);
        let mut place = Some(ResealPlace::default());
        while let Some(at) = place {
            let step = store.reseal(at).await?;
            count += step.count;
            progress.at(usize::try_from(all + count).unwrap_or_default());
            place = step.next;
        }
        all += count;
        if count == 0 {
            store.forget_keys(begun).await?;
            break;
        }
    }
    store.close().await?;
    drop(progress);
    Ok(json!({
        "key": key,
        "values": all,
        "says": format!("Data key {key} seals what is stored; {all} values were sealed anew."),
    }))
}
