//! What must be true at the end, from the senders' log, the program's own listing and chart, and the receivers' logs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::arrivals::{Arrivals, id_of_bundle, id_of_hl7};
use super::load::{Everything, Line, Sent};
use super::scene::{PORTAL, PRINTER, RIS, Told};
use super::{Receivers, Report};
use crate::program::Punte;

/// Nothing new has come for so long: nothing more will come.
const STILL: Duration = Duration::from_secs(15);

/// A message as the store lists it.
struct Stored {
    state: String,
    /// How often it stands there.
    times: u32,
    /// Destination and state.
    deliveries: Vec<(String, String)>,
}

/// Adds what is broken to the report, and counts.
pub(crate) async fn prove(
    punte: &Punte,
    receivers: &Receivers,
    sent: &Everything,
    report: &mut Report,
) -> Result<()> {
    let stored = stored(punte, sent.breaks).await?;
    report.repeats = sent.repeats;
    report.stored = stored.values().map(|stored| stored.times as usize).sum();
    let all: HashMap<&str, &Sent> = sent
        .lines
        .iter()
        .flat_map(|line| &line.sent)
        .map(|sent| (sent.id.as_str(), sent))
        .collect();
    report.acknowledged = all.values().filter(|sent| sent.acknowledged.is_some()).count();
    each_stored_once(&all, &stored, &mut report.violations);
    each_applied_once(punte, sent, &stored, &mut report.violations).await?;

    let (mut portal, mut ris, mut printer) = (Arrivals::default(), Arrivals::default(), Arrivals::default());
    let (mut before, mut since) = (0, Instant::now());
    while since.elapsed() < STILL {
        portal.read(&receivers.portal, id_of_bundle);
        ris.read(&receivers.ris, id_of_hl7);
        if stored.len() <= portal.first.len() && stored.len() <= ris.first.len() {
            break;
        }
        let now = portal.all() + ris.all();
        if before < now {
            (before, since) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What was sent last is written down as sent a moment later.
    let after = settled(punte, sent.breaks).await?;
    printer.read(&receivers.printer, id_of_hl7);
    for (name, arrivals) in [(PORTAL, &portal), (RIS, &ris), (PRINTER, &printer)] {
        report.arrivals += arrivals.all();
        report.arrivals_again += arrivals.all() - arrivals.first.len();
        none_invented(name, arrivals, &stored, &mut report.violations);
        in_order(name, arrivals, &sent.lines, &all, &mut report.violations);
    }
    for (name, arrivals) in [(PORTAL, &portal), (RIS, &ris)] {
        each_delivered(name, arrivals, &after, &mut report.violations);
    }
    report.at_hold = printer.all();
    for (id, times) in printer.times.iter().filter(|(_, times)| **times > 1) {
        let broken = format!("{id} came {times} times to the destination that holds");
        report.violations.push(broken);
    }
    each_printed_is_known(&printer, &after, &mut report.violations);
    Ok(())
}

/// All messages, by control id. Where senders break their connections, the pieces are kept as failed, and do nothing.
async fn stored(punte: &Punte, breaks: bool) -> Result<HashMap<String, Stored>> {
    let mut stored: HashMap<String, Stored> = HashMap::new();
    let mut before = String::new();
    loop {
        let (status, page) = punte.get(&format!("/admin/messages?limit=1000{before}")).await?;
        if status != 200 {
            bail!("the messages can't be listed: {status} {page}");
        }
        for row in page["messages"].as_array().context("no messages")? {
            let word = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
            if breaks && row["state"] == "failed" {
                continue;
            }
            let deliveries = row["deliveries"].as_array().into_iter().flatten();
            let entry = stored.entry(word(row, "control_id")).or_insert(Stored {
                state: word(row, "state"),
                times: 0,
                deliveries: vec![],
            });
            entry.times += 1;
            entry.deliveries = deliveries
                .map(|delivery| (word(delivery, "destination"), word(delivery, "state")))
                .collect();
        }
        match page["next"].as_i64() {
            Some(next) => before = format!("&before={next}"),
            None => return Ok(stored),
        }
    }
}

/// The same once nothing is on its way any more to those that get everything, or a while has gone by.
async fn settled(punte: &Punte, breaks: bool) -> Result<HashMap<String, Stored>> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let stored = stored(punte, breaks).await?;
        let mut all = stored.values().flat_map(|stored| &stored.deliveries);
        let is_settled = all.all(|(name, state)| name.starts_with(PRINTER) || state == "sent");
        if is_settled || until < Instant::now() {
            return Ok(stored);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn each_stored_once(
    all: &HashMap<&str, &Sent>,
    stored: &HashMap<String, Stored>,
    violations: &mut Vec<String>,
) {
    for sent in all.values().filter(|sent| sent.acknowledged.is_none()) {
        violations.push(format!("{} was never acknowledged", sent.id));
    }
    for sent in all.values().filter(|sent| sent.acknowledged.is_some()) {
        match stored.get(&sent.id) {
            None => violations.push(format!("{} was acknowledged and is not stored", sent.id)),
            Some(stored) if stored.times != 1 => {
                violations.push(format!("{} is stored {} times", sent.id, stored.times));
            }
            Some(stored) if stored.state != "routed" => {
                violations.push(format!("{} was acknowledged and is {}", sent.id, stored.state));
            }
            Some(_) => {}
        }
    }
    for id in stored.keys().filter(|id| !all.contains_key(id.as_str())) {
        violations.push(format!("{id} is stored and nobody sent it"));
    }
}

/// Each message of a connection changes one observation of its patient. So each made one version: as many versions as
/// messages, and the last value of each order is the one that was sent last.
async fn each_applied_once(
    punte: &Punte,
    sent: &Everything,
    stored: &HashMap<String, Stored>,
    violations: &mut Vec<String>,
) -> Result<()> {
    for line in &sent.lines {
        let patient = Told::patient(line.sender, line.connection);
        let is_stored = |sent: &&Sent| stored.contains_key(&sent.id);
        let messages = line.sent.iter().filter(is_stored).count();
        if messages == 0 {
            continue;
        }
        let patients = punte.search(&format!("Patient?identifier={patient}")).await?;
        let [one] = patients.as_slice() else {
            violations.push(format!("{patient} is on the chart {} times", patients.len()));
            continue;
        };
        let id = one["id"].as_str().unwrap_or_default();
        let observations = punte.search(&format!("Observation?patient={id}")).await?;
        let version = |observation: &Value| -> u64 {
            let text = observation["meta"]["versionId"].as_str().unwrap_or_default();
            text.parse().unwrap_or_default()
        };
        let versions: u64 = observations.iter().map(version).sum();
        if versions != messages as u64 {
            let broken = format!("{patient}: {messages} messages made {versions} versions of results");
            violations.push(broken);
        }
        let mut shown: Vec<u64> = observations
            .iter()
            .filter_map(|observation| observation["valueQuantity"]["value"].as_f64())
            .map(|value| value as u64)
            .collect();
        shown.sort_unstable();
        let last: Vec<u64> = (line.sent.len().saturating_sub(5)..line.sent.len())
            .map(|number| number as u64)
            .collect();
        if shown != last && line.sent.iter().all(|sent| !sent.was_refused) {
            violations.push(format!(
                "{patient} shows the values {shown:?}, the last were {last:?}"
            ));
        }
    }
    Ok(())
}

fn none_invented(
    name: &str,
    arrivals: &Arrivals,
    stored: &HashMap<String, Stored>,
    violations: &mut Vec<String>,
) {
    for id in arrivals.first.iter().filter(|id| !stored.contains_key(*id)) {
        violations.push(format!("{id} came to {name} and is not stored"));
    }
}

fn each_delivered(
    name: &str,
    arrivals: &Arrivals,
    stored: &HashMap<String, Stored>,
    violations: &mut Vec<String>,
) {
    for (id, stored) in stored {
        let deliveries = stored.deliveries.iter().filter(|(to, _)| to == name);
        let states: Vec<&str> = deliveries.map(|(_, state)| state.as_str()).collect();
        if !arrivals.times.contains_key(id) {
            violations.push(format!("{id} is stored and did not come to {name}: {states:?}"));
        } else if states.iter().any(|state| *state != "sent") || states.is_empty() {
            violations.push(format!("{id} came to {name} and is {states:?}"));
        }
    }
}

/// What is said to be sent to the destination that holds has come there.
fn each_printed_is_known(printer: &Arrivals, stored: &HashMap<String, Stored>, violations: &mut Vec<String>) {
    for (id, stored) in stored {
        let mut to = stored.deliveries.iter().filter(|(to, _)| to.starts_with(PRINTER));
        if to.any(|(_, state)| state == "sent") && !printer.times.contains_key(id) {
            violations.push(format!("{id} is said to be sent to {PRINTER} and did not come"));
        }
    }
}

/// By first arrivals: what one connection sent comes in its order; and what was acknowledged before another was sent for
/// the first time comes before that one.
fn in_order(
    name: &str,
    arrivals: &Arrivals,
    lines: &[Line],
    all: &HashMap<&str, &Sent>,
    violations: &mut Vec<String>,
) {
    let places: HashMap<&str, usize> = arrivals
        .first
        .iter()
        .enumerate()
        .map(|(place, id)| (id.as_str(), place))
        .collect();
    for line in lines {
        let mut before: Option<(&str, usize)> = None;
        for sent in &line.sent {
            let Some(place) = places.get(sent.id.as_str()).copied() else {
                continue;
            };
            if let Some((earlier, its)) = before
                && place < its
            {
                violations.push(format!("{} came to {name} before {earlier}", sent.id));
            }
            if !sent.was_refused {
                before = Some((&sent.id, place));
            }
        }
    }
    // From the last arrival on: nothing that came later was acknowledged before this one was sent.
    let mut earliest: Option<&Sent> = None;
    for id in arrivals.first.iter().rev() {
        let Some(sent) = all.get(id.as_str()) else {
            continue;
        };
        if let Some(earlier) = earliest
            && earlier.acknowledged.is_some_and(|at| at < sent.first_sent)
        {
            violations.push(format!(
                "{id} came to {name} before {}, which was acknowledged before it was sent",
                earlier.id
            ));
        }
        let is_earlier = match (
            sent.acknowledged,
            earliest.and_then(|earliest| earliest.acknowledged),
        ) {
            (Some(this), Some(known)) => this < known,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if is_earlier {
            earliest = Some(sent);
        }
    }
}
