//! `punte channels codes`: codes that came and are in no table, as rows for the table.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::{Client, path_word};
use super::print;
use crate::codes::{Unmapped, together};
use crate::home::Home;
use crate::render;
use crate::views::ListWords;

/// Messages of one request.
const PAGE: u32 = 200;

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "  punte channels codes lab-results                            what is still to be mapped, the most frequent first\n  punte channels codes lab-results --csv >> channels/lis-codes.csv\n                                                              … as rows, in which system, code and display are to be filled in"
)]
pub struct Args {
    /// The channel
    channel: String,
    /// Of messages since then
    #[arg(long, default_value = "30d")]
    since: String,
    /// Only the rows of the table
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Lists them.
pub async fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    let client = Client::needed(home, "a look at the codes that came").await?;
    let path = format!("/admin/channels/{}/codes", path_word(&args.channel)?);
    let mut words = ListWords {
        since: Some(args.since.clone()),
        limit: Some(PAGE),
        ..ListWords::default()
    };
    let mut pages = vec![];
    loop {
        let mut page = client.get(&path, &words).await?;
        let codes: Vec<Unmapped> = serde_json::from_value(page["codes"].take())?;
        pages.extend(codes);
        match page["next"].as_i64() {
            Some(next) => words.before = Some(next),
            None => break,
        }
    }
    let codes = together(pages);
    if args.json {
        print(&format!(
            "{:#}\n",
            json!({ "channel": args.channel, "codes": codes })
        ));
        return Ok(ExitCode::SUCCESS);
    }
    if args.csv {
        for code in &codes {
            print(&format!("{}\n", row(code)));
        }
        return Ok(ExitCode::SUCCESS);
    }
    if codes.is_empty() {
        print(&format!(
            "Every code that came by {} since {} is mapped, or in a system that is known everywhere.\n",
            args.channel, args.since
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let cells: Vec<Vec<String>> = codes
        .iter()
        .map(|code| vec![code.count.to_string(), render::line(&row(code)).into_owned()])
        .collect();
    print(&render::table(
        &["COUNT", "ROW (system,code,system,code,display)"],
        &cells,
    ));
    Ok(ExitCode::SUCCESS)
}

/// `LIS,XYZ,,,"Zinc, urine"`: the system and code that it means are to be filled in.
fn row(code: &Unmapped) -> String {
    let cell = |text: &str| {
        if text.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.to_owned()
        }
    };
    format!(
        "{},{},,,{}",
        cell(&code.system),
        cell(&code.code),
        cell(&code.display)
    )
}

/// The answer of the HTTP interface.
pub fn value(codes: &[Unmapped], next: Option<i64>) -> Value {
    json!({ "codes": codes, "next": next })
}
