//! `punte uses`: which channels name a table, a module, a destination.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;

use super::print;
use crate::home::Home;
use crate::render::{self, Paint};

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  punte uses lis-codes.csv      before a table is changed: who reads it?\n  punte uses names.js           a module that scripts import\n  punte uses ris                a destination, or a channel that others link to\n\nExit codes: 0 it is used, 1 it is not."
)]
pub struct Args {
    /// The name: of a file with or without its ending, a destination, a channel, a connector, a step
    name: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Lists the places. Exit code 1 where there is none.
pub fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    let files = match engine::channel::read_folder(&home.channels_folder()) {
        Ok(files) => files,
        Err(problems) => {
            let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
            bail!("the channels can't be read:\n{}", list.join("\n"));
        }
    };
    let uses = engine::channel::uses(&files, &args.name, &engine::channel::read_table);
    let code = if uses.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    };
    if args.json {
        print(&format!("{:#}\n", json!({ "name": args.name, "uses": uses })));
        return Ok(code);
    }
    if uses.is_empty() {
        print(&format!("No channel uses {:?}.\n", args.name));
        return Ok(code);
    }
    let paint = Paint::on_stdout();
    let rows: Vec<Vec<String>> = uses
        .iter()
        .map(|used| {
            vec![
                paint.bold(&used.channel),
                used.path.clone(),
                format!("{}:{}:{}", used.file.display(), used.line, used.column),
            ]
        })
        .collect();
    print(&render::table(&["CHANNEL", "AS", "PLACE"], &rows));
    Ok(code)
}
