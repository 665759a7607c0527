//! What was measured, as a table and as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bare::{Bare, EACH};
use crate::disk::Flushes;
use crate::figures::{self, Line};
use crate::machine::{Environment, profile};
use crate::prune::Pruning;
use crate::runaway::Beside;
use crate::scenes::{Level, Scene};

/// Of the bare loop, at 16 connections.
const STORED_GOAL: f64 = 0.4;
const DELIVERED_GOAL: f64 = 0.2;
const RESIDENT_GOAL: u64 = 100_000_000;
/// How much longer answers may take while old messages are taken out.
const PRUNE_GOAL: f64 = 1.5;
/// One limit after a script has run away, of the rate before.
const BESIDE_GOAL: f64 = 0.8;

/// All of it; what was not asked for is not there.
pub struct Report {
    pub environment: Environment,
    pub disk_before: Option<Flushes>,
    pub disk_after: Option<Flushes>,
    pub bare: Vec<Bare>,
    pub stored: Option<Scene>,
    pub delivered: Option<Scene>,
    pub prune: Option<Pruning>,
    pub runaway: Vec<Beside>,
    pub speed: Vec<Line>,
    pub dicom: Vec<Line>,
    pub worklist: Vec<Line>,
}

/// A figure and what it has to be.
struct Goal {
    what: &'static str,
    is: f64,
    goal: f64,
    /// The figure has to be below the goal, not above it.
    below: bool,
}

impl Goal {
    fn is_met(&self) -> bool {
        if self.below {
            self.is < self.goal
        } else {
            self.goal <= self.is
        }
    }
}

impl Report {
    pub fn new(environment: Environment) -> Self {
        Report {
            environment,
            disk_before: None,
            disk_after: None,
            bare: vec![],
            stored: None,
            delivered: None,
            prune: None,
            runaway: vec![],
            speed: vec![],
            dicom: vec![],
            worklist: vec![],
        }
    }

    /// The faster of the bare loops: one that something else disturbed must not make the engine look good.
    fn bare_rate(&self) -> Option<f64> {
        self.bare.iter().map(Bare::rate).max_by(f64::total_cmp)
    }

    fn goals(&self) -> Vec<Goal> {
        let at_16 = |scene: &Option<Scene>| {
            let scene = scene.as_ref()?;
            scene
                .levels
                .iter()
                .find(|level| level.connections == 16)
                .map(|level| {
                    let delivered = level.delivered_rate.unwrap_or_default();
                    (level.stored_rate, delivered)
                })
        };
        let mut goals = vec![];
        if let Some(bare) = self.bare_rate() {
            if let Some((stored, _)) = at_16(&self.stored) {
                goals.push(Goal {
                    what: "stored at 16 connections / bare loop",
                    is: stored / bare,
                    goal: STORED_GOAL,
                    below: false,
                });
            }
            if let Some((stored, delivered)) = at_16(&self.delivered) {
                goals.push(Goal {
                    what: "stored, while applied and delivered twice, at 16 / bare loop",
                    is: stored / bare,
                    goal: DELIVERED_GOAL,
                    below: false,
                });
                goals.push(Goal {
                    what: "delivered twice at 16 / bare loop",
                    is: delivered / bare,
                    goal: DELIVERED_GOAL,
                    below: false,
                });
            }
        }
        let after = self.delivered.as_ref().and_then(|scene| scene.resident_after);
        if let Some((resident, _)) = after {
            goals.push(Goal {
                what: "MB resident after all messages",
                is: resident as f64 / 1e6,
                goal: RESIDENT_GOAL as f64 / 1e6,
                below: true,
            });
        }
        if let Some(prune) = &self.prune {
            goals.push(Goal {
                what: "99 of 100 answers, while old messages are taken out / without",
                is: prune.with.as_secs_f64() / prune.without.as_secs_f64(),
                goal: PRUNE_GOAL,
                below: true,
            });
        }
        let worst = self.runaway.iter().map(|beside| beside.ratio);
        if let Some(worst) = worst.min_by(f64::total_cmp) {
            goals.push(Goal {
                what: "another channel one limit after a script ran away / before",
                is: worst,
                goal: BESIDE_GOAL,
                below: false,
            });
        }
        goals
    }

    /// True where every figure that was measured is what it has to be.
    pub fn meets_goals(&self) -> bool {
        let met = |line: &Line| line.goal.is_none_or(|goal| goal.is_met(line.is));
        self.goals().iter().all(Goal::is_met)
            && [&self.speed, &self.dicom, &self.worklist]
                .into_iter()
                .flatten()
                .all(met)
    }

    pub fn json(&self) -> Value {
        let flushes = |flushes: &Option<Flushes>| {
            flushes
                .as_ref()
                .map(|f| json!({ "count": f.count, "p50_us": us(f.p50), "p99_us": us(f.p99) }))
        };
        let bare: Vec<Value> = self
            .bare
            .iter()
            .map(|bare| {
                json!({
                    "messages": bare.messages, "each_transaction": EACH, "messages_per_s": bare.rate(),
                    "cpu_us": bare.cpu_us,
                })
            })
            .collect();
        let goals: Vec<Value> = self
            .goals()
            .iter()
            .map(|g| json!({ "what": g.what, "is": g.is, "goal": g.goal, "below": g.below, "met": g.is_met() }))
            .collect();
        json!({
            "environment": self.environment.json(),
            "fdatasync_4k": { "before": flushes(&self.disk_before), "after": flushes(&self.disk_after) },
            "bare": bare,
            "stored": self.stored.as_ref().map(scene_json),
            "delivered": self.delivered.as_ref().map(scene_json),
            "prune": self.prune.as_ref().map(prune_json),
            "runaway": self.runaway.iter().map(beside_json).collect::<Vec<Value>>(),
            "speed": self.speed.iter().map(line_json).collect::<Vec<Value>>(),
            "dicom": self.dicom.iter().map(line_json).collect::<Vec<Value>>(),
            "worklist": self.worklist.iter().map(line_json).collect::<Vec<Value>>(),
            "goals": goals,
        })
    }

    pub fn table(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = self.write_table(&mut out);
        out
    }

    fn write_table(&self, out: &mut String) -> std::fmt::Result {
        let e = &self.environment;
        let memory = e
            .memory_mb
            .map_or("?".into(), |mb| format!("{:.0}", mb as f64 / 1024.0));
        writeln!(
            out,
            "{} ({}), {} cores, {memory} GiB, {}",
            e.version,
            profile(),
            e.cores,
            e.system
        )?;
        let load = |load: &Option<String>| load.clone().unwrap_or("?".into());
        writeln!(
            out,
            "load average {} before, {} after{}",
            load(&e.load_before),
            load(&e.load_after),
            if e.quick { "; --quick" } else { "" }
        )?;
        for (when, flushes) in [("before", &self.disk_before), ("after", &self.disk_after)] {
            if let Some(f) = flushes {
                let (p50, p99) = (us(f.p50), us(f.p99));
                writeln!(
                    out,
                    "fdatasync of 4 KiB, {when}: p50 {p50} µs, p99 {p99} µs ({} times)",
                    f.count
                )?;
            }
        }
        for bare in &self.bare {
            writeln!(
                out,
                "bare loop, {EACH} a transaction: {:.0} messages/s, {} µs CPU ({} messages)",
                bare.rate(),
                number(bare.cpu_us),
                bare.messages
            )?;
        }
        for (title, scene) in [
            ("MLLP in, stored", &self.stored),
            (
                "MLLP in, decoded, applied, delivered as FHIR and as HL7",
                &self.delivered,
            ),
        ] {
            if let Some(scene) = scene {
                writeln!(out, "\n{title}")?;
                scene_table(scene, out)?;
            }
        }
        if let Some(prune) = &self.prune {
            writeln!(
                out,
                "\nold messages taken out, 16 connections: p99 {:.1} ms without, {:.1} ms with; {:.0} and {:.0} messages/s; {} taken out in {:.1} s",
                ms(prune.without),
                ms(prune.with),
                prune.rate_without,
                prune.rate_with,
                prune.pruned,
                prune.took.as_secs_f64()
            )?;
        }
        runaway_table(&self.runaway, out)?;
        lines_table("the engine beside what it has to do", &self.speed, out)?;
        lines_table("DICOM objects, beside storescp and Orthanc", &self.dicom, out)?;
        lines_table("worklists", &self.worklist, out)?;
        let goals = self.goals();
        if !goals.is_empty() {
            writeln!(out)?;
        }
        for goal in goals {
            writeln!(
                out,
                "{:<64} {:>7.2}   goal {} {:<6} {}",
                goal.what,
                goal.is,
                if goal.below { "<" } else { "≥" },
                goal.goal,
                if goal.is_met() { "met" } else { "MISSED" }
            )?;
        }
        Ok(())
    }
}

fn scene_table(scene: &Scene, out: &mut String) -> std::fmt::Result {
    if !scene.levels.is_empty() {
        writeln!(
            out,
            "{:>11} {:>9} {:>9} {:>11} {:>20} {:>10} {:>8} {:>10} {:>8}",
            "connections",
            "messages",
            "stored/s",
            "delivered/s",
            "ACK p50/p99 ms",
            "max ms",
            "CPU µs",
            "bench µs",
            "others %"
        )?;
    }
    for level in &scene.levels {
        writeln!(
            out,
            "{:>11} {:>9} {:>9.0} {:>11} {:>20} {:>10.1} {:>8} {:>10} {:>8}",
            level.connections,
            level.messages,
            level.stored_rate,
            number(level.delivered_rate),
            format!("{:.2} / {:.2}", ms(level.ack_p50), ms(level.ack_p99)),
            ms(level.ack_max),
            number(level.cpu_us),
            number(level.bench_cpu_us),
            number(level.others_percent),
        )?;
    }
    write!(out, "start to first ACK {:.0} ms", ms(scene.first_ack))?;
    if let Some(again) = scene.first_ack_again {
        write!(out, ", with the filled store {:.0} ms", ms(again))?;
    }
    let mb = |bytes: Option<u64>| bytes.map_or("?".into(), |bytes| format!("{:.1} MB", bytes as f64 / 1e6));
    write!(
        out,
        "; resident at rest {}, at most {}",
        mb(scene.resident_at_rest),
        mb(scene.resident_highest)
    )?;
    if let Some((resident, messages)) = scene.resident_after {
        write!(out, ", after {messages} messages {}", mb(Some(resident)))?;
    }
    writeln!(out, "; {} B stored each", scene.bytes)?;
    if let Some((hl7, fhir)) = scene.delivered_bytes {
        writeln!(out, "delivered: HL7 {hl7} B, FHIR {fhir} B each, by the mean")?;
    }
    Ok(())
}

fn runaway_table(runaway: &[Beside], out: &mut String) -> std::fmt::Result {
    if runaway.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\nanother channel beside a script that runs away, messages/s"
    )?;
    writeln!(
        out,
        "{:>8} {:>8} {:>9} {:>9} {:>16} {:>7}",
        "script", "beside", "before", "meanwhile", "one limit later", "ratio"
    )?;
    for beside in runaway {
        writeln!(
            out,
            "{:>8} {:>8} {:>9.0} {:>9.0} {:>16.0} {:>7.2}",
            beside.bomb, beside.channel, beside.before, beside.during, beside.after, beside.ratio
        )?;
    }
    Ok(())
}

fn lines_table(heading: &str, lines: &[Line], out: &mut String) -> std::fmt::Result {
    if !lines.is_empty() {
        writeln!(out, "\n{heading}")?;
    }
    for line in lines {
        write!(out, "{:<64} {:>9.2} {:<3}", line.what, line.is, line.unit)?;
        if let Some(goal) = line.goal {
            let (sign, wanted) = match goal {
                figures::Goal::Least(least) => ("≥", least),
                figures::Goal::Below(most) => ("<", most),
            };
            let met = if goal.is_met(line.is) { "met" } else { "MISSED" };
            write!(out, " goal {sign} {wanted:<7.1} {met}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn line_json(line: &Line) -> Value {
    let (least, below) = match line.goal {
        Some(figures::Goal::Least(least)) => (Some(least), None),
        Some(figures::Goal::Below(most)) => (None, Some(most)),
        None => (None, None),
    };
    json!({
        "what": line.what, "is": line.is, "unit": line.unit, "least": least, "below": below,
        "met": line.goal.map(|goal| goal.is_met(line.is)),
    })
}

fn prune_json(prune: &Pruning) -> Value {
    json!({
        "p99_without_ms": ms(prune.without), "p99_with_ms": ms(prune.with), "messages_per_s_without": prune.rate_without,
        "messages_per_s_with": prune.rate_with, "pruned": prune.pruned, "pruned_s": prune.took.as_secs_f64(),
    })
}

fn beside_json(beside: &Beside) -> Value {
    json!({
        "script": beside.bomb,
        "channel": beside.channel,
        "before_per_s": beside.before,
        "during_per_s": beside.during,
        "after_per_s": beside.after,
        "after_before": beside.ratio,
    })
}

fn scene_json(scene: &Scene) -> Value {
    let levels: Vec<Value> = scene.levels.iter().map(level_json).collect();
    json!({
        "levels": levels,
        "start_to_first_ack_ms": ms(scene.first_ack),
        "start_to_first_ack_filled_ms": scene.first_ack_again.map(ms),
        "resident_at_rest": scene.resident_at_rest,
        "resident_highest": scene.resident_highest,
        "resident_after": scene.resident_after.map(|(bytes, messages)| json!({ "bytes": bytes, "messages": messages })),
        "bytes_per_message": scene.bytes,
        "delivered_bytes": scene.delivered_bytes.map(|(hl7, fhir)| json!({ "hl7": hl7, "fhir": fhir })),
    })
}

fn level_json(level: &Level) -> Value {
    json!({
        "connections": level.connections,
        "messages": level.messages,
        "stored_per_s": level.stored_rate,
        "delivered_per_s": level.delivered_rate,
        "ack_p50_ms": ms(level.ack_p50),
        "ack_p99_ms": ms(level.ack_p99),
        "ack_max_ms": ms(level.ack_max),
        "cpu_us": level.cpu_us,
        "bench_cpu_us": level.bench_cpu_us,
        "others_percent_of_a_core": level.others_percent,
    })
}

fn number(value: Option<f64>) -> String {
    value.map_or("–".into(), |value| format!("{value:.0}"))
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
