//! `punte key`: the keys of the API. A key is shown once; only a keyed hash of it is stored.

use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::Subcommand;
use engine::store::ApiKey;
use serde_json::{Value, json};

use super::client::{Client, path_word};
use super::print;
use crate::api::auth::SCOPES;
use crate::home::Home;
use crate::render;

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "Scopes: messages:read (listings and bodies of messages), clinic:read (the FHIR API), clinic:write (the write door), admin (everything).\nExample: punte key add portal --scope clinic:read"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a key and show it, once
    Add {
        /// Its name
        name: String,
        /// What it may do (may be given several times)
        #[arg(long = "scope", required = true)]
        scopes: Vec<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the keys, without their secrets
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a key away
    Remove {
        /// Its name
        name: String,
    },
}

/// Adds, lists or removes.
pub async fn run(home: &Home, args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Add { name, scopes, json } => {
            path_word(&name)?;
            if let Some(unknown) = scopes.iter().find(|scope| !SCOPES.contains(&scope.as_str())) {
                bail!("{unknown:?} is no scope; the scopes are {}", SCOPES.join(", "));
            }
            let secret = add(home, &name, scopes).await?;
            if json {
                print(&format!("{:#}\n", json!({ "name": name, "key": secret })));
            } else {
                print(&format!("{secret}\n"));
                eprintln!(
                    "This is the key {name:?}. It is not shown again. Use it as: Authorization: Bearer {secret}"
                );
            }
        }
        Verb::List { json } => {
            let value = match Client::find(home).await? {
                Some(client) => client.get("/admin/keys", &()).await?,
                None => {
                    let store = home.open_store(false).await?;
                    let keys = store.api_keys().await?;
                    store.close().await?;
                    json!({ "keys": keys })
                }
            };
            if json {
                print(&format!("{value:#}\n"));
            } else {
                let rows: Vec<Vec<String>> =
                    value["keys"].as_array().into_iter().flatten().map(row).collect();
                print(&render::table(&["NAME", "SCOPES", "MADE"], &rows));
            }
        }
        Verb::Remove { name } => {
            let name = path_word(&name)?;
            let removed = match Client::find(home).await? {
                Some(client) => client.delete(&format!("/admin/keys/{name}")).await?["removed"] == true,
                None => {
                    let store = home.open_store(false).await?;
                    let removed = store.remove_api_key(name).await?;
                    store.close().await?;
                    removed
                }
            };
            if !removed {
                bail!("there is no key {name:?}");
            }
            print(&format!("The key {name:?} is gone.\n"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn add(home: &Home, name: &str, scopes: Vec<String>) -> anyhow::Result<String> {
    if let Some(client) = Client::find(home).await? {
        let body = json!({ "name": name, "scopes": scopes }).to_string().into_bytes();
        let value = client.post("/admin/keys", body).await?;
        return value["key"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| anyhow!("the engine gave no key"));
    }
    let store = home.open_store(true).await?;
    let secret = crate::api::auth::new_secret()?;
    let key = ApiKey {
        name: name.to_owned(),
        scopes,
        created_at: (crate::world::real().now)(),
    };
    let added = store.add_api_key(&key, &secret).await?;
    store.close().await?;
    if !added {
        bail!("there is a key {name:?} already; remove it first: punte key remove {name}");
    }
    Ok(secret)
}

fn row(key: &Value) -> Vec<String> {
    let scopes: Vec<&str> = key["scopes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    vec![
        render::cell(key, "name"),
        scopes.join(" "),
        render::moment(key, "created_at"),
    ]
}
