//! `punte prune`: takes out what is older than its channel keeps.

use std::process::ExitCode;

use anyhow::anyhow;
use engine::run::keeping;
use engine::store::{PrunePlace, PruneStep};
use serde_json::json;

use super::client::Client;
use super::print;
use super::progress::Progress;
use crate::home::Home;
use crate::render;

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "What is kept for how long stands in punte.toml ([keep]) and in channel files (keep = { messages = \"90d\" }); what\nstands nowhere is kept for ever. Never taken out: what is parked; what has a delivery that is not over, or that is\ndead and that nobody has seen (punte messages seen); what a repeat is still known by. Of a message that wrote to the\nclinic a row stays, which tells where a value comes from.\n\nExamples:\n  punte prune --dry-run     what would go\n  punte prune               take it out now"
)]
pub struct Args {
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Goes through the store once.
pub async fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    let all = match Client::find(home).await? {
        Some(client) => {
            let mut all = PruneStep::default();
            let mut place = Some(PrunePlace::default());
            let mut progress = Progress::new("Looked at:", 0);
            while let Some(at) = place {
                let body = json!({ "place": at, "dry_run": args.dry_run }).to_string();
                let step = client.post_patiently("/admin/prune", body.into_bytes()).await?;
                let step: PruneStep = serde_json::from_value(step)?;
                all.add(&step);
                place = step.next;
                said(&mut progress, at);
            }
            all
        }
        None => of_a_stopped_one(home, args.dry_run).await?,
    };
    if args.json {
        print(&format!(
            "{:#}\n",
            json!({ "dry_run": args.dry_run, "channels": all.channels, "journal": all.journal, "blobs": all.blobs, "bytes": all.bytes })
        ));
    } else {
        print(&told(&all, args.dry_run));
    }
    Ok(ExitCode::SUCCESS)
}

async fn of_a_stopped_one(home: &Home, dry_run: bool) -> anyhow::Result<PruneStep> {
    let (channels, _) = home.channels().map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!(
            "nothing was taken out, since the channels are not right:\n{}",
            problems.join("\n")
        )
    })?;
    let keeping = keeping(&channels, &home.settings()?.keep);
    let store = home.open_store(false).await?;
    let now = (crate::world::real().now)();
    let mut all = PruneStep::default();
    let mut place = Some(PrunePlace::default());
    let mut progress = Progress::new("Looked at:", 0);
    while let Some(at) = place {
        let step = store.prune(&keeping, now, at, !dry_run).await?;
        all.add(&step);
        place = step.next;
        said(&mut progress, at);
    }
    store.close().await?;
    Ok(all)
}

fn said(progress: &mut Progress, at: PrunePlace) {
    if let PrunePlace::Messages(seq) = at {
        progress.at(usize::try_from(seq).unwrap_or_default());
    }
}

fn told(all: &PruneStep, dry_run: bool) -> String {
    let mut out = String::new();
    let rows: Vec<Vec<String>> = all
        .channels
        .iter()
        .map(|(channel, of)| {
            let counts = [of.messages, of.but_a_row, of.bodies, of.open];
            let mut row = vec![channel.clone()];
            row.extend(counts.iter().map(u64::to_string));
            row
        })
        .collect();
    if !rows.is_empty() {
        out.push_str(&render::table(
            &["CHANNEL", "WHOLE", "ALL BUT A ROW", "BODIES", "OLD, BUT OPEN"],
            &rows,
        ));
    }
    let verb = if dry_run { "would go" } else { "went" };
    if all.is_nothing() {
        out.push_str(&format!("Nothing {verb}.\n"));
    } else {
        out.push_str(&format!(
            "Rows of the journal that {verb}: {}. Files of big bodies: {}.{}\n",
            all.journal,
            all.blobs,
            match all.bytes {
                0 => String::new(),
                bytes => format!(" The file gave back {} MB.", bytes.div_ceil(1 << 20)),
            }
        ));
    }
    out
}
