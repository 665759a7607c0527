//! What a message costs beside what it has to cost: the engine against a loop that runs the same steps and writes the
//! same rows with nobody who waits, and against itself with a filled store, with another cipher, without the clinic.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use e2e::program::Home;

use crate::figures::{Goal, Line, Lines};
use crate::load::{self, Until, percentile};
use crate::messages::{PATIENTS, Pool};
use crate::scenes::{Level, Play, Receivers, free_address};
use crate::sinks::Sinks;

/// The cipher that seals nothing, where the program is built with it.
const NULL_CIPHER: (&str, &str) = ("PUNTE_NULL_CIPHER", "1");
/// Numbers of the messages that a store is filled with, and their patients.
const FILLED_FROM: u64 = 50_000_000;
const FILLED_PATIENTS: usize = 10_000;
/// Look-ups of each kind.
const LOOK_UPS: u64 = 50;

/// How much is run.
pub struct Plan {
    pub load: Until,
    /// Messages of each loop.
    pub looped: u64,
    /// Messages that a store is filled with; 0: it is not.
    pub filled: u64,
}

impl Lines {
    fn level(&mut self, what: &str, level: &Level) {
        self.add(format!("{what}: stored"), level.stored_rate, "/s", None);
        if let Some(rate) = level.delivered_rate {
            self.add(format!("{what}: delivered"), rate, "/s", None);
        }
        self.add(format!("{what}: ACK p99"), ms(level.ack_p99), "ms", None);
        if let Some(cpu) = level.cpu_us {
            self.add(format!("{what}: processor time each"), cpu, "µs", None);
        }
    }
}

/// Runs it all.
pub fn run(plan: &Plan) -> Result<Vec<Line>> {
    let mut lines = Lines::default();
    let each_alone = looped(plan.looped / 4, 1, false)?;
    let by_64 = looped(plan.looped, 64, false)?;
    lines.add("bare loop, 1 a transaction", each_alone, "/s", None);
    lines.add("bare loop, 64 a transaction", by_64, "/s", None);
    let null = looped(plan.looped, 64, true)?;
    lines.add("bare loop with a cipher that seals nothing", null, "/s", None);

    growth(plan, &mut lines)?;

    let (one, many) = queued(plan)?;
    lines.level("1 connection, two deliveries queued", &one);
    lines.level("64 connections, two deliveries queued", &many);
    let fresh = to_mllp(plan, &mut lines)?;
    let routed = routed(plan)?;
    lines.level("16 connections, routed only", &routed);

    // Once more: what disturbed the one does not make the engine look good.
    let by_64 = by_64.max(looped(plan.looped, 64, false)?);
    let rate = |level: &Level| level.delivered_rate.unwrap_or_default();
    lines.add(
        "1 connection / bare loop at 1 a transaction",
        one.stored_rate / each_alone,
        "",
        Some(Goal::Least(0.6)),
    );
    lines.add(
        "64 connections / bare loop at 64 a transaction",
        many.stored_rate / by_64,
        "",
        Some(Goal::Least(0.5)),
    );
    let wanted = 5_000_f64.min(0.6 * many.stored_rate);
    lines.add(
        "delivered to an MLLP receiver at 16",
        rate(&fresh),
        "/s",
        Some(Goal::Least(wanted)),
    );
    lines.add(
        "routed only / decoded and applied",
        rate(&routed) / rate(&fresh),
        "",
        Some(Goal::Least(2.0)),
    );
    lines.add(
        "sealed / with a cipher that seals nothing",
        by_64 / null,
        "",
        Some(Goal::Least(0.8)),
    );
    if plan.filled > 0 {
        filled(plan, rate(&fresh), &mut lines)?;
    }
    Ok(lines.0)
}

/// Two destinations at which nobody listens, so that what is delivered waits.
fn queued_channel(address: std::net::SocketAddr) -> Result<String> {
    let nobody = free_address()?;
    Ok(format!(
        r#"id = "understood"
source.mllp.listen = "{address}"

[[step]]
decode = "hl7v2"

[[step]]
apply = {{ on_unmatched = "create" }}

[[destination]]
name   = "portal"
encode = "fhir-r4"
fhir   = {{ base = "http://{nobody}/fhir", as = "transaction" }}
retry  = {{ first = "1h", max = "1h" }}

[[destination]]
name  = "ris"
mllp  = {{ connect = "{nobody}" }}
retry = {{ first = "1h", max = "1h" }}
"#
    ))
}

/// Messages, each ended as on the wire.
fn write_messages(path: &Path, pool: &Pool, numbers: std::ops::Range<u64>) -> Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut message = vec![];
    for number in numbers {
        pool.write(number, &mut message);
        file.write_all(&message)?;
        file.write_all(b"\x1c\r")?;
    }
    Ok(file.flush()?)
}

/// Messages a second of the loop in a folder of its own.
fn looped(count: u64, each: u64, null_cipher: bool) -> Result<f64> {
    let home = Home::with(&[("understood", &queued_channel(free_address()?)?)])?;
    loop_in(&home, &Pool::new(), 0..count, each, null_cipher)
}

fn loop_in(
    home: &Home,
    pool: &Pool,
    numbers: std::ops::Range<u64>,
    each: u64,
    null_cipher: bool,
) -> Result<f64> {
    let file = tempfile::NamedTempFile::new()?;
    write_messages(file.path(), pool, numbers)?;
    loop_over(home, file.path(), each, null_cipher)
}

/// Messages a second over the messages of a file.
fn loop_over(home: &Home, file: &Path, each: u64, null_cipher: bool) -> Result<f64> {
    let path = file.to_string_lossy().into_owned();
    let each = each.to_string();
    let mut command = home.command(&["bare-loop", "understood", &path, "--each", &each]);
    if null_cipher {
        command.env(NULL_CIPHER.0, NULL_CIPHER.1);
    }
    let output = command.output()?;
    if !output.status.success() {
        bail!(
            "the bare loop failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let said: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let (messages, micros) = (said["messages"].as_f64(), said["micros"].as_f64());
    let rate = messages
        .zip(micros)
        .map(|(messages, micros)| messages / micros * 1e6);
    rate.context("the bare loop said nothing")
}

/// What a message that is only routed costs the loop: by its length, and by its destinations.
fn growth(plan: &Plan, lines: &mut Lines) -> Result<()> {
    for kilobytes in [1, 10, 100] {
        let each = routed_loop(plan.looped / kilobytes as u64, kilobytes, 1)?;
        lines.add(
            format!("loop, routed only, {kilobytes} KB to one destination: each"),
            each,
            "µs",
            None,
        );
    }
    for destinations in [2, 4, 8] {
        let each = routed_loop(plan.looped, 1, destinations)?;
        lines.add(
            format!("loop, routed only, 1 KB to {destinations} destinations: each"),
            each,
            "µs",
            None,
        );
    }
    Ok(())
}

/// Microseconds for each message.
fn routed_loop(count: u64, kilobytes: usize, destinations: usize) -> Result<f64> {
    let (source, nobody) = (free_address()?, free_address()?);
    let mut channel = format!("id = \"understood\"\nsource.mllp.listen = \"{source}\"\n");
    for n in 0..destinations {
        // A step makes a body of its own: without one all destinations share that of the message.
        channel.push_str(&format!(
            "[[destination]]\nname = \"d{n}\"\nmllp = {{ connect = \"{nobody}\" }}\nstep = [{{ set = {{ \"MSH-5\" = \"D{n}\" }} }}]\n"
        ));
    }
    let home = Home::with(&[("understood", &channel)])?;
    let file = tempfile::NamedTempFile::new()?;
    let mut out = std::io::BufWriter::new(std::fs::File::create(file.path())?);
    for number in 0..count {
        write!(
            out,
            "MSH|^~\\&|LIS|LABOR|PUNTE|AURORA|20260512083000||ORU^R01|G{number}|P|2.5.1\r"
        )?;
        for line in 1..=kilobytes * 8 {
            // 128 bytes with what stands before, no two alike.
            write!(
                out,
                "NTE|{line:04}||{number:016}{line:016}{:080}\r",
                number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
            )?;
        }
        out.write_all(b"\x1c\r")?;
    }
    out.flush()?;
    Ok(1e6 / loop_over(&home, file.path(), 64, false)?)
}

/// Decoded, applied, and two deliveries queued: one connection, and 64.
fn queued(plan: &Plan) -> Result<(Level, Level)> {
    let address = free_address()?;
    let receivers = Receivers {
        waiting: 2,
        ..Receivers::default()
    };
    let mut play = Play::start("understood", &queued_channel(address)?, address, receivers)?;
    play.level(1, plan.load)?;
    play.level(64, plan.load)?;
    let levels: [Level; 2] = play
        .end(false)?
        .levels
        .try_into()
        .map_err(|_| anyhow::anyhow!("two levels were to be run"))?;
    Ok(levels.into())
}

fn mllp_channel(id: &str, address: std::net::SocketAddr, steps: &str, sink: std::net::SocketAddr) -> String {
    format!(
        "id = \"{id}\"\nsource.mllp.listen = \"{address}\"\n{steps}\n[[destination]]\nname = \"ris\"\nmllp = {{ connect = \"{sink}\" }}\n"
    )
}

const UNDERSTOOD: &str = "[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = { on_unmatched = \"create\" }\n";

fn hl7_only(sinks: Sinks) -> Receivers {
    Receivers {
        sinks: Some(sinks),
        hl7: true,
        ..Receivers::default()
    }
}

/// End to end to a receiver that acknowledges, in order, from 16 connections; then at half of that rate, for how long
/// each is on its way.
fn to_mllp(plan: &Plan, lines: &mut Lines) -> Result<Level> {
    let (address, sinks) = (free_address()?, Sinks::start()?);
    let channel = mllp_channel("to-mllp", address, UNDERSTOOD, sinks.hl7);
    let mut play = Play::start("to-mllp", &channel, address, hl7_only(sinks))?;
    play.level(16, plan.load)?;
    let full = play.last().context("one level was run")?;
    let half = full.delivered_rate.unwrap_or_default() / 2.0;
    let (p50, p99) = play.on_the_way(16, plan.load, half)?;
    lines.level("16 connections, to an MLLP receiver", &full);
    lines.add("received to delivered at half of that, p50", ms(p50), "ms", None);
    lines.add(
        "received to delivered at half of that, p99",
        ms(p99),
        "ms",
        Some(Goal::Below(100.0)),
    );
    play.end(false)?;
    Ok(full)
}

fn routed(plan: &Plan) -> Result<Level> {
    let (address, sinks) = (free_address()?, Sinks::start()?);
    let channel = mllp_channel("routed", address, "", sinks.hl7);
    let mut play = Play::start("routed", &channel, address, hl7_only(sinks))?;
    play.level(16, plan.load)?;
    let level = play.last().context("one level was run")?;
    play.end(false)?;
    Ok(level)
}

/// The same with so many messages stored already, of other patients; and what can be found among them, and how fast.
fn filled(plan: &Plan, fresh: f64, lines: &mut Lines) -> Result<()> {
    let (address, sinks) = (free_address()?, Sinks::start()?);
    let home = Home::with(&[("understood", &queued_channel(free_address()?)?)])?;
    let pool = Pool::of(PATIENTS..PATIENTS + FILLED_PATIENTS);
    let rate = loop_in(&home, &pool, FILLED_FROM..FILLED_FROM + plan.filled, 256, false)?;
    lines.add(
        format!("filling a store with {} messages", plan.filled),
        rate,
        "/s",
        None,
    );
    // The channel that filled it is gone, and so is what waits for its destinations.
    std::fs::remove_file(home.path().join("channels/understood.toml"))?;
    home.channel(
        "to-mllp",
        &mllp_channel("to-mllp", address, UNDERSTOOD, sinks.hl7),
    )?;
    let mut play = Play::start_in(home, 0, "to-mllp", address, hl7_only(sinks))?;
    lines.add(
        "start to first ACK, filled",
        ms(play.first_ack),
        "ms",
        Some(Goal::Below(500.0)),
    );
    play.level(16, plan.load)?;
    let level = play.last().context("one level was run")?;
    lines.level("16 connections, filled", &level);
    lines.add(
        "filled / fresh",
        level.delivered_rate.unwrap_or_default() / fresh,
        "",
        Some(Goal::Least(0.6)),
    );
    for (what, query) in [
        ("control id", "control_id=BN{}"),
        ("order number", "order=C-BN{}"),
    ] {
        let took = play.find(query, FILLED_FROM, plan.filled)?;
        lines.add(
            format!("finding by {what}, the slowest of {LOOK_UPS}"),
            ms(took),
            "ms",
            Some(Goal::Below(50.0)),
        );
    }
    let took = play.find("patient=A-{}", 10_000 + PATIENTS as u64, FILLED_PATIENTS as u64)?;
    lines.add(
        format!("finding by patient, the slowest of {LOOK_UPS}"),
        ms(took),
        "ms",
        Some(Goal::Below(50.0)),
    );
    let resident = play.punte.resident().unwrap_or_default();
    lines.add(
        "resident, filled, after that",
        resident as f64 / 1e6,
        "MB",
        Some(Goal::Below(100.0)),
    );
    play.end(false)?;
    Ok(())
}

impl Play {
    /// What was measured last.
    fn last(&mut self) -> Option<Level> {
        self.pop_level()
    }

    /// From the first byte of a message to its arrival at the receiver, at so many a second: p50 and p99.
    fn on_the_way(
        &mut self,
        connections: usize,
        until: Until,
        a_second: f64,
    ) -> Result<(Duration, Duration)> {
        let sinks = self.sinks().context("nobody receives")?;
        sinks.note_from(self.sent);
        let sent = load::send_paced(
            self.address,
            connections,
            until,
            self.sent,
            &self.pool,
            Some(a_second),
        )?;
        self.delivered(self.sent + sent.messages)?;
        self.sent += sent.messages;
        let left: std::collections::HashMap<u64, Instant> = sent.left.into_iter().collect();
        let came = self.sinks().context("nobody receives")?.came();
        let mut took: Vec<Duration> = came
            .into_iter()
            .filter_map(|(number, at)| Some(at.saturating_duration_since(*left.get(&number)?)))
            .collect();
        took.sort_unstable();
        Ok((percentile(&took, 50), percentile(&took, 99)))
    }

    /// The longest that one look-up took, of [`LOOK_UPS`] spread over these numbers; each has to find something.
    fn find(&self, query: &str, from: u64, count: u64) -> Result<Duration> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut longest = Duration::ZERO;
        for n in 0..LOOK_UPS {
            let number = from + n * (count / LOOK_UPS).max(1) % count.max(1);
            let digits = if query.contains("BN") {
                format!("{number:08}")
            } else {
                format!("{number:05}")
            };
            let path = format!("/admin/messages?limit=20&{}", query.replace("{}", &digits));
            let begun = Instant::now();
            let (status, found) = runtime.block_on(self.punte.get(&path))?;
            longest = longest.max(begun.elapsed());
            let is_there = found["messages"].as_array().is_some_and(|rows| !rows.is_empty());
            // An order number is that of a result; two of ten messages are registrations.
            if status != 200 || (!is_there && !query.starts_with("order")) {
                bail!("{path} found nothing: {status}");
            }
        }
        Ok(longest)
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
