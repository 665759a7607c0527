//! How long a modality waits for its worklist where 10,000 steps are booked: a hundred days at five modalities, twenty a
//! day, each with an appointment, of made-up people. From the question to its last answer, over one association.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dimse::scu::Found;
use dimse::{Limits, Proposal, uids};
use e2e::dicom::free_port;
use e2e::program::{Home, Punte};
use jiff::ToSpan;
use jiff::civil::{Date, date};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::figures::{Goal, Line, Lines};
use crate::load::percentile;

const MODALITIES: [&str; 5] = ["CT", "MR", "US", "DX", "MG"];
const DAYS: i32 = 100;
/// Of one modality on one day: so many answers a question has.
const EACH: usize = 20;
/// So many people are booked by one set.
const SET: usize = 50;
/// The longest that a modality is to wait, in milliseconds.
const GOAL: f64 = 10.0;

/// Measures it.
pub fn run(quick: bool) -> Result<Vec<Line>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let port = free_port()?;
    let channel = format!(
        "id = \"worklist\"\nsource.questions = \"clinic\"\n[source.dicom]\nlisten = \"127.0.0.1:{port}\"\nae_title = \"PUNTE\"\nservices = [\"worklist\"]\n"
    );
    let home = Home::with(&[("worklist", &channel)])?;
    let punte = home.serve()?;
    runtime.block_on(book(&home, &punte))?;
    punte.stop()?;
    let punte = home.serve()?;
    let mut lines = Lines::default();
    let rounds = if quick { 50 } else { 500 };
    runtime.block_on(ask(port, rounds, &mut lines))?;
    punte.stop()?;
    Ok(lines.0)
}

fn first_day() -> Date {
    date(2026, 12, 1)
}

/// Books all steps through the write door.
async fn book(home: &Home, punte: &Punte) -> Result<()> {
    let made = home.json(&["key", "add", "bench", "--scope", "clinic:write", "--json"])?;
    let key = made["key"].as_str().context("a key")?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{}/clinic/changes", punte.http);
    let mut changes: Vec<Value> = vec![];
    for number in 0..DAYS as usize * MODALITIES.len() * EACH {
        changes.extend(booked(number)?);
        if (number + 1) % SET == 0 {
            let body = json!({ "changes": std::mem::take(&mut changes) }).to_string();
            let request = client.post(&url).bearer_auth(key).body(body);
            let answer = request.header("content-type", "application/json").send().await?;
            let status = answer.status();
            ensure!(status.is_success(), "booking: {status}: {}", answer.text().await?);
        }
    }
    Ok(())
}

/// A person, an order with one step, and its appointment.
fn booked(number: usize) -> Result<[Value; 3]> {
    let modality = MODALITIES[number % MODALITIES.len()];
    let day = i64::try_from(number / MODALITIES.len() / EACH)?;
    let day = first_day().checked_add(day.days())?;
    let minute = number / MODALITIES.len() % EACH * 30;
    let start = format!("{day}T{:02}:{:02}:00+02:00", 8 + minute / 60, minute % 60);
    let kind = |code: &str| json!({ "codings": [{ "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": code }] });
    let (patient, order) = (format!("patient-{number}"), format!("order-{number}"));
    Ok([
        json!({ "key": patient, "say": { "Patient": {
            "identifiers": { "merge": [{ "system": "BENCH", "value": format!("P-{number}"), "kind": kind("MR") }] },
            "names": [{ "family": format!("Proba{}", number % 997), "given": ["Măsurare"], "use": "official" }],
            "birth_date": "1980-05-14", "sex": "female" } } }),
        json!({ "key": order, "say": { "Order": {
            "identifiers": { "merge": [{ "system": "BENCH", "value": format!("O-{number}"), "kind": kind("PLAC") }] },
            "status": "active", "intent": "order", "patient": { "local": patient },
            "code": { "codings": [{ "system": "L", "code": modality, "display": "Examinare" }] },
            "imaging": { "accession": format!("A{number}"), "steps": [{
                "id": format!("S{number}"), "modality": modality, "station_aes": [format!("{modality}1")],
                "start": start, "description": "Examinare" }] } } } }),
        json!({ "key": format!("appointment-{number}"), "say": { "Appointment": {
            "identifiers": { "merge": [{ "system": "BENCH", "value": format!("B-{number}") }] },
            "status": "booked", "start": start, "patient": { "local": patient },
            "orders": { "merge": [{ "local": order }] } } } }),
    ])
}

async fn ask(port: u16, rounds: usize, lines: &mut Lines) -> Result<()> {
    let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    stream.set_nodelay(true)?;
    let proposal =
        Proposal::new("CT1".parse()?, "PUNTE".parse()?).with(uids::WORKLIST, [uids::EXPLICIT_LITTLE]);
    let limits = Limits {
        answer: Duration::from_secs(120),
        ..Limits::default()
    };
    let mut association = dimse::request(stream, proposal, limits).await?;
    let context = association.context_of(uids::WORKLIST)?;
    let mut first = true;
    for (what, by_station) in [("date and station", true), ("date and modality", false)] {
        let mut took = vec![];
        for round in 0..rounds {
            let modality = MODALITIES[round % MODALITIES.len()];
            let day = i64::try_from(round)? * 37 % i64::from(DAYS);
            let day = first_day()
                .checked_add(day.days())?
                .strftime("%Y%m%d")
                .to_string();
            let station = format!("{modality}1");
            let question = match by_station {
                true => question(&day, "", &station),
                false => question(&day, modality, ""),
            };
            let begun = Instant::now();
            let asked = association.find(&context, &question).await?;
            let mut count = 0;
            let end = loop {
                match association.next_match(asked).await? {
                    Found::Match(_) => count += 1,
                    Found::End(end) => break end,
                }
            };
            let lasted = begun.elapsed();
            ensure!(end.status().is_success(), "answered with {:04X}", end.status().0);
            ensure!(count == EACH, "{count} answers to {what}, and {EACH} are booked");
            match std::mem::take(&mut first) {
                // What is planned is read from the store.
                true => lines.add("first question after a start", ms(lasted), "ms", None),
                false => took.push(lasted),
            }
        }
        took.sort_unstable();
        for (name, percent) in [("half of all", 50), ("p99", 99)] {
            let is = ms(percentile(&took, percent));
            lines.add(
                format!("{EACH} of 10,000 steps by {what}, {name}"),
                is,
                "ms",
                Some(Goal::Below(GOAL)),
            );
        }
    }
    Ok(association.release().await?)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What consoles ask, explicit VR little endian.
fn question(day: &str, modality: &str, station: &str) -> Vec<u8> {
    let mut step = vec![];
    element(&mut step, 0x0008, 0x0060, "CS", modality);
    element(&mut step, 0x0040, 0x0001, "AE", station);
    element(&mut step, 0x0040, 0x0002, "DA", day);
    for (number, vr) in [
        (0x0003, "TM"),
        (0x0006, "PN"),
        (0x0007, "LO"),
        (0x0009, "SH"),
        (0x0010, "SH"),
    ] {
        element(&mut step, 0x0040, number, vr, "");
    }
    let mut out = vec![];
    for (group, number, vr) in [
        (0x0008, 0x0050, "SH"),
        (0x0008, 0x0090, "PN"),
        (0x0010, 0x0010, "PN"),
        (0x0010, 0x0020, "LO"),
        (0x0010, 0x0030, "DA"),
        (0x0010, 0x0040, "CS"),
        (0x0010, 0x1030, "DS"),
        (0x0010, 0x2000, "LO"),
        (0x0020, 0x000D, "UI"),
        (0x0032, 0x1060, "LO"),
        (0x0038, 0x0300, "LO"),
    ] {
        element(&mut out, group, number, vr, "");
    }
    let length = u32::try_from(step.len()).unwrap_or(u32::MAX);
    out.extend([0x40, 0x00, 0x00, 0x01]);
    out.extend(b"SQ\0\0");
    out.extend((length + 8).to_le_bytes());
    out.extend([0xFE, 0xFF, 0x00, 0xE0]);
    out.extend(length.to_le_bytes());
    out.extend(step);
    element(&mut out, 0x0040, 0x1001, "SH", "");
    out
}

fn element(out: &mut Vec<u8>, group: u16, number: u16, vr: &str, value: &str) {
    let pad = value.len() % 2;
    out.extend(group.to_le_bytes());
    out.extend(number.to_le_bytes());
    out.extend(vr.bytes());
    out.extend(u16::try_from(value.len() + pad).unwrap_or(u16::MAX).to_le_bytes());
    out.extend(value.bytes());
    out.extend(std::iter::repeat_n(b' ', pad));
}
