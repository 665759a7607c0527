//! `punte demo`: a made-up day of a clinic, from the first registration to the last result, on free ports.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use engine::store::ApiKey;

use super::print;
use super::serve::{self, Started};
use crate::demo::chart;
use crate::demo::day::{IMAGING, Scene, day};
use crate::demo::imaging::{self, Act};
use crate::demo::people::ANA;
use crate::demo::receivers::{self, Log};
use crate::demo::sender::Sender;
use crate::home::Home;
use crate::render;
use crate::simulate::pacs::Pacs;

/// The channels that ship, as they ship.
const CHANNELS: [(&str, &str); 7] = [
    (
        "reception-adt.toml",
        include_str!("../../../channels/reception-adt.toml"),
    ),
    (
        "lab-orders.toml",
        include_str!("../../../channels/lab-orders.toml"),
    ),
    (
        "lab-results.toml",
        include_str!("../../../channels/lab-results.toml"),
    ),
    (
        "imaging-orders.toml",
        include_str!("../../../channels/imaging-orders.toml"),
    ),
    (
        "imaging-modality.toml",
        include_str!("../../../channels/imaging-modality.toml"),
    ),
    (
        "imaging-pacs.toml",
        include_str!("../../../channels/imaging-pacs.toml"),
    ),
    ("lis-codes.csv", include_str!("../../../channels/lis-codes.csv")),
];

/// A port that is free when it is taken; the engine says which.
const ANY_PORT: &str = "127.0.0.1:0";

/// How long everything may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "The demo makes a folder of its own, listens on free ports of this machine only, and removes the folder at the end\nunless --keep. Without --once it stays up until Ctrl-C, so that you can look around."
)]
pub struct Args {
    /// End when everything that was sent is accounted for; exit code 1 if something is not
    #[arg(long)]
    once: bool,
    /// Keep the folder
    #[arg(long)]
    keep: bool,
    /// Let something go wrong, to see that the count notices
    #[arg(long, value_name = "FAULT")]
    fault: Option<Fault>,
}

/// What can go wrong on request.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Fault {
    /// The RIS answers one message and forgets it
    ReceiverSwallowsOne,
}

/// The systems around the clinic, and what they got.
struct Around {
    logs: BTreeMap<&'static str, Log>,
    portal: std::net::SocketAddr,
    lis: std::net::SocketAddr,
    ris: std::net::SocketAddr,
    pacs: (Arc<Pacs>, std::net::SocketAddr),
}

/// Runs the day.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    log();
    if engine::sabotage::IS_BUILT_IN {
        bail!("this build can break what Punte promises (feature sabotage), and has no demo");
    }
    let folder = tempfile::Builder::new()
        .prefix("punte-demo-")
        .tempdir()
        .context("no folder for the demo")?;
    let home_folder = folder.path().join("home");
    let home = Home::new(&home_folder);
    let around = around(args.fault, &folder.path().join("pacs")).await?;
    write_home(folder.path(), &home, &around)?;
    print(&format!(
        "The demo lives in {} {}\n",
        folder.path().display(),
        if args.keep {
            "(kept)"
        } else {
            "(removed at the end)"
        }
    ));
    let started = serve::start(&home, None).await?;
    let scenes = day(&jiff::ZonedDateTime::now().with_time_zone(zone()?));
    let (answers, acts) = play(&started, &scenes).await?;
    let mut wrong = arrived(&scenes, &around, &answers, &acts).await;
    let chart = chart::of(&started, &ANA.cnp()).await?;
    wrong.extend(chart.wrong.iter().cloned());
    let parked = chart::parked(&started, "imaging-modality").await?;
    if parked != 1 {
        wrong.push(format!(
            "{parked} images wait for a person, where one names another patient"
        ));
    }
    show(&scenes, &answers, &around, &acts, &chart.text);
    print(&account(scenes.len() + acts.len(), &wrong));
    if !args.once {
        let key = demo_key(&started).await?;
        print(&what_next(&home_folder, &started, around.pacs.1, &key));
        serve::stopped().await;
        print("\nStopping.\n");
    }
    started.stop(&home).await?;
    if args.keep {
        let path = folder.keep();
        print(&format!("The folder is kept: {}\n", path.display()));
    }
    Ok(if wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Only what a person has to see: warnings of the day are part of the play.
fn log() {
    if std::env::var_os("PUNTE_LOG").is_some() {
        serve::log();
    }
}

fn zone() -> anyhow::Result<jiff::tz::TimeZone> {
    jiff::tz::TimeZone::get("Europe/Bucharest")
        .context("the zone Europe/Bucharest is not known on this machine")
}

async fn around(fault: Option<Fault>, folder: &Path) -> anyhow::Result<Around> {
    // The eleventh message, so that others come before and after it.
    let swallow = fault.map(|Fault::ReceiverSwallowsOne| "DEMO-11");
    let (portal_log, lis_log, ris_log) = (Log::new(None), Log::new(None), Log::new(swallow));
    Ok(Around {
        portal: receivers::fhir(portal_log.clone()).await?,
        lis: receivers::hl7(lis_log.clone()).await?,
        ris: receivers::hl7(ris_log.clone()).await?,
        pacs: imaging::archive(folder).await?,
        logs: BTreeMap::from([("portal", portal_log), ("lis", lis_log), ("ris", ris_log)]),
    })
}

/// The channels that ship, with free ports in the place of theirs; the key beside the folder.
fn write_home(folder: &Path, home: &Home, around: &Around) -> anyhow::Result<()> {
    std::fs::create_dir_all(home.channels_folder())?;
    for (name, text) in CHANNELS {
        let mut text = text.to_owned();
        for (shipped, free) in [
            ("127.0.0.1:2575", ANY_PORT.to_owned()),
            ("127.0.0.1:2576", ANY_PORT.to_owned()),
            ("127.0.0.1:2577", ANY_PORT.to_owned()),
            ("127.0.0.1:2582", ANY_PORT.to_owned()),
            ("127.0.0.1:11112", ANY_PORT.to_owned()),
            ("127.0.0.1:11113", around.pacs.1.to_string()),
            ("127.0.0.1:2590", around.portal.to_string()),
            ("127.0.0.1:2591", around.ris.to_string()),
            ("127.0.0.1:2592", around.lis.to_string()),
        ] {
            text = text.replace(shipped, &free);
        }
        std::fs::write(home.channels_folder().join(name), text)?;
    }
    let key = folder.join("master.key");
    let settings = format!(
        "[http]\nlisten = {ANY_PORT:?}\n\n[key]\nfile = {:?}\n",
        key.display().to_string()
    );
    std::fs::write(home.folder().join("punte.toml"), settings)?;
    Ok(())
}

/// Sends the day, each channel over a connection of its own, and keeps what was answered. Once a CT is ordered, it is made.
async fn play(started: &Started, scenes: &[Scene]) -> anyhow::Result<(Vec<String>, Vec<Act>)> {
    let mut senders: BTreeMap<&str, Sender> = BTreeMap::new();
    let (mut answers, mut acts) = (vec![], vec![]);
    for scene in scenes {
        if !senders.contains_key(scene.channel) {
            let address = started
                .engine
                .listens(scene.channel)
                .ok_or_else(|| anyhow!("the channel {} does not listen", scene.channel))?;
            senders.insert(scene.channel, Sender::connect(address).await?);
        }
        let Some(sender) = senders.get_mut(scene.channel) else {
            continue;
        };
        let (code, _) = sender.send(&scene.text).await?;
        answers.push(code);
        if scene.channel == IMAGING {
            let device = started.engine.listens("imaging-modality");
            let device = device.context("the channel imaging-modality does not listen")?;
            acts = imaging::examination(device).await?;
        }
    }
    Ok((answers, acts))
}

/// Waits for everything to arrive; what is not right after that, one sentence each.
async fn arrived(scenes: &[Scene], around: &Around, answers: &[String], acts: &[Act]) -> Vec<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut wrong = not_arrived(scenes, around, answers);
        wrong.extend(imaging::wrong(acts, &around.pacs.0));
        // A fault does not heal by waiting; a second is plenty for a machine of this size to deliver what it has.
        let settled = wrong.is_empty() || until <= Instant::now();
        if settled {
            return wrong;
        }
        if wrong.len() <= 1 && until <= Instant::now() + PATIENCE - Duration::from_secs(8) {
            return wrong;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn not_arrived(scenes: &[Scene], around: &Around, answers: &[String]) -> Vec<String> {
    let mut wrong = vec![];
    let mut expected: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (scene, answer) in scenes.iter().zip(answers) {
        if *answer != scene.ack {
            wrong.push(format!(
                "{} ({}): its sender was told {answer} where {} was due",
                scene.id, scene.what, scene.ack
            ));
        }
        for (receiver, times) in &scene.to {
            *expected.entry((*receiver, scene.id.as_str())).or_default() += times;
        }
    }
    for (receiver, log) in &around.logs {
        for scene in scenes {
            let due = expected.remove(&(*receiver, scene.id.as_str()));
            let Some(due) = due else { continue };
            let got = log.count(&scene.id);
            if got < due {
                wrong.push(format!(
                    "{} ({}): {receiver} has it {got} times where {due} was due",
                    scene.id, scene.what
                ));
            }
        }
        for id in log.all() {
            let known = scenes
                .iter()
                .any(|scene| scene.id == id && scene.to.iter().any(|(to, _)| to == receiver));
            if !known {
                wrong.push(format!("{id}: {receiver} got it and should not have"));
            }
        }
    }
    wrong
}

fn show(scenes: &[Scene], answers: &[String], around: &Around, acts: &[Act], chart: &str) {
    let mut rows: Vec<Vec<String>> = scenes
        .iter()
        .zip(answers)
        .map(|(scene, answer)| {
            let kind = scene.text.split('|').nth(8).unwrap_or_default();
            let kind = kind.split('^').take(2).collect::<Vec<_>>().join("^");
            let reached: Vec<&str> = around
                .logs
                .iter()
                .filter(|(_, log)| log.count(&scene.id) != 0)
                .map(|(name, _)| *name)
                .collect();
            let reached = if scene.to.is_empty() {
                "-".into()
            } else {
                reached.join(", ")
            };
            vec![
                scene.id.clone(),
                kind,
                scene.channel.to_owned(),
                scene.what.to_owned(),
                answer.clone(),
                reached,
            ]
        })
        .collect();
    rows.extend(acts.iter().enumerate().map(|(idx, act)| {
        let arrived = match &act.object {
            Some((uid, _)) if around.pacs.0.shelf().has(uid) => "pacs",
            Some((_, false)) => "parked",
            Some((_, true)) | None => "-",
        };
        vec![
            format!("CT-{}", idx + 1),
            act.kind.to_owned(),
            "imaging-modality".to_owned(),
            act.what.clone(),
            act.told.clone(),
            arrived.to_owned(),
        ]
    }));
    print(&format!(
        "\nWhat was sent, what its sender was told, and where it arrived\n\n{}",
        render::table(
            &["CONTROL ID", "TYPE", "CHANNEL", "WHAT", "TOLD", "ARRIVED AT"],
            &rows
        )
    ));
    print(&format!(
        "\nThe chart of {} {}, as the FHIR interface tells it\n\n{chart}",
        ANA.given, ANA.family
    ));
}

fn account(messages: usize, wrong: &[String]) -> String {
    if wrong.is_empty() {
        return format!("\nAll {messages} messages are accounted for.\n");
    }
    format!(
        "\nNOT accounted for:\n{}\n",
        wrong
            .iter()
            .map(|line| format!("  {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    )
}

async fn demo_key(started: &Started) -> anyhow::Result<String> {
    let secret = crate::api::auth::new_secret()?;
    let scopes = vec!["clinic:read".to_owned(), "messages:read".to_owned()];
    let key = ApiKey {
        name: "demo".into(),
        scopes,
        expires_at: None,
        created_at: (crate::world::real().now)(),
    };
    started.engine.store().add_api_key(&key, &secret).await?;
    Ok(secret)
}

/// Commands and addresses that can be pasted as they stand.
fn what_next(home: &Path, started: &Started, pacs: std::net::SocketAddr, key: &str) -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("punte"));
    let (program, home) = (program.display(), home.display());
    let http = started.http;
    let cnp = ANA.cnp();
    let mllp = started
        .engine
        .listens("reception-adt")
        .map(|a| a.to_string())
        .unwrap_or_default();
    let device = started.engine.listens("imaging-modality");
    let device = device.map(|address| address.to_string()).unwrap_or_default();
    let accession = imaging::ACCESSION;
    format!(
        "
What to look at next
  {program} messages --home {home}
  {program} messages --home {home} --patient {cnp}
  {program} messages --home {home} --state failed
  {program} channels --home {home}
  {program} parked --home {home}
  curl -s -H 'Authorization: Bearer {key}' 'http://{http}/fhir/Patient?family=pop'
  curl -s -H 'Authorization: Bearer {key}' 'http://{http}/fhir/Observation?code=2093-3'
  curl -s -H 'Authorization: Bearer {key}' 'http://{http}/fhir/ImagingStudy?identifier={accession}'
  curl -s -H 'Authorization: Bearer {key}' 'http://{http}/admin/messages?limit=5'
  curl -s 'http://{http}/metrics'
A CT may be simulated once more, when one is ordered; the PACS has what was made:
  {program} simulate modality {device} --without commitment
  {program} dicom find {pacs} --called PACS -k AccessionNumber={accession}
The reception's channel listens on {mllp}: send it something of your own with
  {program} send FILE {mllp}

Ctrl-C ends the demo.
"
    )
}
