//! What taking out old messages costs those that come in: how long their answers take without it, while it goes on, and
//! without it again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use e2e::program::Home;

use crate::Plan;
use crate::load::{self, Until, percentile};
use crate::messages::Pool;
use crate::scenes::free_address;

const CONNECTIONS: usize = 16;

/// What was measured.
pub struct Pruning {
    /// How long an answer took: 99 of 100.
    pub without: Duration,
    pub with: Duration,
    /// Messages stored a second.
    pub rate_without: f64,
    pub rate_with: f64,
    /// How many were taken out, and in how long.
    pub pruned: u64,
    pub took: Duration,
}

/// Fills a store, and takes what is in it out while more comes in.
pub fn run(plan: &Plan) -> Result<Pruning> {
    eprintln!("bench: prune");
    let address = free_address()?;
    let channel = format!(
        "id = \"prune\"\ndedup = \"1s\"\nkeep = {{ messages = \"20s\" }}\nsource.mllp.listen = \"{address}\"\n"
    );
    let home = Home::with(&[("prune", &channel)])?;
    std::fs::write(home.path().join("punte.toml"), "[keep]\nevery = \"forever\"\n")?;
    let punte = home.serve()?;
    let pool = Arc::new(Pool::new());
    let mut sent = load::send(address, 64, Until::Count(plan.prune), 0, &pool)?.messages;
    // Old enough to go.
    std::thread::sleep(Duration::from_secs(21));
    let (mut without, mut rates) = (vec![], vec![]);
    let mut measure = |until: Until| -> Result<load::Sent> {
        let measured = load::send(address, CONNECTIONS, until, sent, &pool)?;
        sent += measured.messages;
        Ok(measured)
    };
    let mut quiet = |measured: load::Sent| {
        rates.push(measured.messages as f64 / measured.took.as_secs_f64());
        without.extend(measured.waits);
    };
    quiet(measure(plan.load)?);
    let (with, done) = std::thread::scope(|scope| -> Result<_> {
        let pruning = scope.spawn(|| {
            let begun = Instant::now();
            home.json(&["prune", "--json"])
                .map(|done| (done, begun.elapsed()))
        });
        let with = measure(plan.load)?;
        let done = pruning
            .join()
            .map_err(|_| anyhow::anyhow!("punte prune could not be waited for"))??;
        Ok((with, done))
    })?;
    quiet(measure(plan.load)?);
    without.sort_unstable();
    let (done, took) = done;
    let pruned = done["channels"]["prune"]["messages"]
        .as_u64()
        .context("punte prune gave no count")?;
    if pruned < plan.prune / 2 {
        bail!("only {pruned} messages of {} were taken out", plan.prune);
    }
    punte.stop()?;
    Ok(Pruning {
        without: percentile(&without, 99),
        with: percentile(&with.waits, 99),
        rate_without: rates.iter().sum::<f64>() / rates.len() as f64,
        rate_with: with.messages as f64 / with.took.as_secs_f64(),
        pruned,
        took,
    })
}
