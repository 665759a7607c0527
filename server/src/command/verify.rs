//! `punte verify`: is what is stored as it was written?

use std::process::ExitCode;

use anyhow::anyhow;
use engine::store::verify::verify;
use serde_json::json;

use super::client::Client;
use super::print;
use super::progress::Progress;
use crate::home::Home;
use crate::{journal, render};

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "It opens every sealed value in its place, follows every reference, compares counts and numbers, reads every big body\nand the whole journal, and says what is wrong, where, and what to do. It works the same whether the engine runs or\nnot, and holds nothing up.\n\nAn end of the journal that was cut shows only against a line of the log: every hour and at each stop the program logs\njournal_head=LENGTH:HASH.\nExample: punte verify --journal-head 1042:5f0c…\n\nExit codes: 0 all is as it was written, 1 something is not."
)]
pub struct Args {
    /// How the journal ended, as a line of the log has it
    #[arg(long, value_name = "LENGTH:HASH")]
    journal_head: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Checks the store and the journal; exit code 1 where something is wrong.
pub async fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    let head = args.journal_head.as_deref();
    let mut value = match Client::find(home).await? {
        Some(client) => {
            let words: Vec<(&str, &str)> = head.map(|head| ("head", head)).into_iter().collect();
            client.get("/admin/journal/verify", &words).await?
        }
        None => {
            let store = home.open_store(false).await?;
            let verified = journal::verify(store.as_ref(), head).await?;
            store.close().await?;
            verified.map_err(|wrong| anyhow!(wrong.0))?
        }
    };
    let master = home.master_key(&home.settings()?, false)?;
    let store = {
        let mut progress = Progress::of_parts();
        verify(&home.data(), &master, &mut progress)?
    };
    value["store"] = json!(store);
    let report = &value["journal"];
    let faults = report["faults"].as_array().map(Vec::as_slice).unwrap_or_default();
    if args.json {
        print(&format!("{value:#}\n"));
    } else {
        for fault in &store.faults {
            eprintln!("{}: {}. {}", fault.place, fault.what, fault.advice);
        }
        for fault in faults {
            eprintln!(
                "journal row {}: {}",
                render::cell(fault, "nr"),
                render::cell(fault, "what")
            );
        }
        if store.count == 0 {
            print(&format!(
                "The store is as it was written: messages: {}, deliveries: {}, versions of records: {}, big bodies: {}.\n",
                store.messages, store.deliveries, store.records, store.blobs
            ));
        } else {
            eprintln!("The store is not as it was written: {} faults.", store.count);
        }
        if faults.is_empty() {
            print(&format!(
                "The journal is as it was written: rows {} to {}.\nIt ends with {}\n",
                render::cell(report, "first"),
                render::cell(report, "last"),
                render::cell(report, "head")
            ));
        } else {
            eprintln!("The journal is not as it was written.");
        }
    }
    Ok(if faults.is_empty() && store.count == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
