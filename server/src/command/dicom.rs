//! `punte dicom`: another system asked by hand, as a modality or an archive would.

pub(crate) mod keys;
mod retrieve;
mod shown;
mod who;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use connectors::dicom::Caller;
use connectors::tls::Stream;
use dimse::scu::{Answer, Asked, Found};
use dimse::{Association, StatusKind, uids};
use engine::connector::{About, Outgoing, SendError, Surroundings};
use engine::format::Format;

use super::print;
use crate::formats;
use crate::home::Home;
use crate::render;
use keys::Keys;

/// What it is told.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Ask whether somebody is there who knows us (C-ECHO)
    #[command(
        after_help = "Example: punte dicom echo 10.0.0.5:104 --called PACS --calling PUNTE\n\n\
            Rejected \"it does not know the calling AE title\": the other system must be told ours, mostly with our address.\n\n\
            Exit codes: 0 it answered, 1 it did not."
    )]
    Echo(Far),
    /// Ask an archive what it has (C-FIND)
    #[command(
        after_help = "Examples:\n  punte dicom find 10.0.0.5:104 --called PACS -k 'PatientName=POP*' -k StudyDate=20261101-\n  \
            punte dicom find 10.0.0.5:104 --called PACS --level series -k StudyInstanceUID=1.2.3\n\n\
            A key without a value asks for what stands there. Times and dates take ranges (20261101-20261130), names * and ?.\n\n\
            Exit codes: 0 asked and answered, also where nothing was found; 1 there was no answer or a refusal."
    )]
    Find(Find),
    /// Ask for what is planned, as a modality does (C-FIND of the worklist)
    #[command(
        after_help = "Examples:\n  punte dicom worklist 127.0.0.1:11112 --called PUNTE --calling CT1 --date 20261127 --modality CT\n  \
            punte dicom worklist 127.0.0.1:11112 --called PUNTE -k PatientID=1234\n\n\
            Exit codes: 0 asked and answered, also where nothing was found; 1 there was no answer or a refusal."
    )]
    Worklist(Worklist),
    /// Send objects to an archive (C-STORE): files, and folders with all that is in them
    #[command(
        after_help = "Example: punte dicom store 10.0.0.5:104 --called PACS study/\n\n\
            Each object goes in the transfer syntax that its file has.\n\n\
            Exit codes: 0 all were taken, 1 one was not."
    )]
    Store(Store),
    /// Fetch a study into a folder (C-GET)
    #[command(
        after_help = "Example: punte dicom get 10.0.0.5:104 --called PACS --study 1.2.3 --to study/\n\n\
            Objects are written as they come, compressed ones as they are.\n\n\
            Exit codes: 0 all came, 1 nothing came or some did not."
    )]
    Get(retrieve::Get),
    /// Have a study sent to another system (C-MOVE)
    #[command(
        after_help = "Example: punte dicom move 10.0.0.5:104 --called PACS --study 1.2.3 --to WORKSTATION\n\n\
            A801: the archive does not know the title in --to; its address has to be set there.\n\n\
            Exit codes: 0 all went, 1 nothing went or some did not."
    )]
    Move(retrieve::Move),
    /// Say which patient a pseudonym of a project stands for
    #[command(
        after_help = "Example: punte dicom who --project lung-2026 P-K7Q2M4XWB3ZD --reason 'incidental finding, Dr. Medic'\n\n\
            A pseudonym is what `deidentify` has written into PatientID, or a study's UID of such an object. No list is kept: those\n\
            whom the clinic knows are gone through. Each question is written to the journal with its reason.\n\n\
            Exit codes: 0 found, 1 nobody here has it."
    )]
    Who(who::Who),
}

/// Who is called, and how.
#[derive(Clone, clap::Args)]
pub(crate) struct Far {
    /// Where it listens
    #[arg(value_name = "HOST:PORT")]
    pub(crate) to: String,
    /// Its AE title
    #[arg(long, default_value = "ANY-SCP", value_name = "TITLE")]
    pub(crate) called: String,
    /// Our AE title, as it knows us
    #[arg(long, default_value = "PUNTE", value_name = "TITLE")]
    pub(crate) calling: String,
    /// Speak TLS
    #[arg(long)]
    tls: bool,
    /// TLS: who must have signed its certificate, or be it (PEM); else the roots of the operating system
    #[arg(long = "tls-ca", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// TLS: the certificate that we show (PEM)
    #[arg(long = "tls-cert", value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// TLS: its key (PEM)
    #[arg(long = "tls-key", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// How long each answer may take
    #[arg(long, default_value = "30s")]
    timeout: String,
}

#[derive(clap::Args)]
struct Find {
    #[command(flatten)]
    far: Far,
    /// What is asked for
    #[arg(long, value_enum, default_value_t = Level::Study)]
    level: Level,
    /// By which root it is asked
    #[arg(long, value_enum, default_value_t = Root::Study)]
    root: Root,
    #[command(flatten)]
    question: Question,
}

#[derive(clap::Args)]
struct Worklist {
    #[command(flatten)]
    far: Far,
    #[command(flatten)]
    narrow: Narrow,
    #[command(flatten)]
    question: Question,
}

/// Which part of a worklist is asked for.
#[derive(clap::Args)]
pub(crate) struct Narrow {
    /// The day, or from one to another: 20261127, 20261127-20261130
    #[arg(long)]
    date: Option<String>,
    /// CT, MR, US …
    #[arg(long)]
    pub(crate) modality: Option<String>,
    /// The AE title of the device that is to do it
    #[arg(long, value_name = "TITLE")]
    station: Option<String>,
}

impl Narrow {
    /// All that a modality asks for, of this part.
    pub(crate) fn add_to(&self, keys: &mut Keys) -> anyhow::Result<()> {
        for key in WORKLIST {
            keys.add(key, "")?;
        }
        for (key, value) in [
            ("ScheduledProcedureStepStartDate", &self.date),
            ("Modality", &self.modality),
            ("ScheduledStationAETitle", &self.station),
        ] {
            if let Some(value) = value {
                let added = keys.add(&format!("ScheduledProcedureStepSequence.{key}"), value);
                added.with_context(|| format!("{value:?} can't be asked for"))?;
            }
        }
        Ok(())
    }
}

#[derive(clap::Args)]
struct Question {
    /// A key, with or without a value: PatientName=POP*, ScheduledProcedureStepSequence.Modality=CT, 0010,0020
    #[arg(short, long = "key", value_name = "KEY[=VALUE]")]
    keys: Vec<String>,
    /// Stop after so many
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

#[derive(clap::Args)]
struct Store {
    #[command(flatten)]
    far: Far,
    /// Files and folders
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Level {
    Patient,
    Study,
    Series,
    Image,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Root {
    Patient,
    Study,
}

/// Does what is asked for.
pub async fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Echo(far) => echo(far).await,
        Command::Find(find) => {
            let (level, mut keys) = (find.level.word(), Keys::default());
            keys.add("QueryRetrieveLevel", level)?;
            for key in find.level.asked() {
                keys.add(key, "")?;
            }
            let class = match find.root {
                Root::Patient => uids::PATIENT_ROOT_FIND,
                Root::Study if find.level == Level::Patient => {
                    bail!("patients are asked for with --root patient")
                }
                Root::Study => uids::STUDY_ROOT_FIND,
            };
            ask(&find.far, class, keys, &find.question).await
        }
        Command::Worklist(worklist) => {
            let mut keys = Keys::default();
            worklist.narrow.add_to(&mut keys)?;
            ask(&worklist.far, uids::WORKLIST, keys, &worklist.question).await
        }
        Command::Store(store) => self::store(store).await,
        Command::Get(get) => retrieve::get(get).await,
        Command::Move(to) => retrieve::move_to(to).await,
        Command::Who(who) => who::run(home, who).await,
    }
}

/// What a modality asks for (PS3.4 K.6.1).
const WORKLIST: [&str; 18] = [
    "AccessionNumber",
    "ReferringPhysicianName",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    "AdmissionID",
    "ScheduledProcedureStepSequence.ScheduledStationAETitle",
    "ScheduledProcedureStepSequence.ScheduledProcedureStepStartDate",
    "ScheduledProcedureStepSequence.ScheduledProcedureStepStartTime",
    "ScheduledProcedureStepSequence.Modality",
    "ScheduledProcedureStepSequence.ScheduledPerformingPhysicianName",
    "ScheduledProcedureStepSequence.ScheduledProcedureStepDescription",
    "ScheduledProcedureStepSequence.ScheduledProcedureStepID",
    "ScheduledProcedureStepSequence.ScheduledProtocolCodeSequence",
];

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Patient => "PATIENT",
            Level::Study => "STUDY",
            Level::Series => "SERIES",
            Level::Image => "IMAGE",
        }
    }

    /// What is worth seeing (PS3.4 C.6.2).
    fn asked(self) -> &'static [&'static str] {
        match self {
            Level::Patient => &["PatientName", "PatientID", "PatientBirthDate", "PatientSex"],
            Level::Study => &[
                "PatientName",
                "PatientID",
                "PatientBirthDate",
                "StudyDate",
                "StudyTime",
                "AccessionNumber",
                "StudyDescription",
                "ModalitiesInStudy",
                "StudyInstanceUID",
                "NumberOfStudyRelatedInstances",
            ],
            Level::Series => &[
                "StudyInstanceUID",
                "SeriesInstanceUID",
                "SeriesNumber",
                "Modality",
                "SeriesDescription",
                "NumberOfSeriesRelatedInstances",
            ],
            Level::Image => &[
                "StudyInstanceUID",
                "SeriesInstanceUID",
                "SOPInstanceUID",
                "SOPClassUID",
                "InstanceNumber",
            ],
        }
    }
}

impl Far {
    /// Without TLS.
    pub(crate) fn plain(to: &str, called: &str, calling: &str) -> Far {
        Far {
            to: to.to_owned(),
            called: called.to_owned(),
            calling: calling.to_owned(),
            tls: false,
            ca: None,
            cert: None,
            key: None,
            timeout: "30s".to_owned(),
        }
    }

    /// As the table of a destination has it.
    fn table(&self) -> anyhow::Result<serde_json::Value> {
        let timeout: Duration = engine::channel::duration::parse(&self.timeout)
            .map_err(|error| anyhow::anyhow!("--timeout {:?}: {error}", self.timeout))?;
        let timeout = format!("{}ms", timeout.as_millis());
        let mut table = serde_json::json!({
            "connect": self.to, "called_ae": self.called, "calling_ae": self.calling,
            "connect_timeout": timeout, "reply_timeout": timeout,
        });
        if self.tls || self.ca.is_some() || self.cert.is_some() {
            let mut tls = serde_json::Map::new();
            for (name, file) in [("ca", &self.ca), ("cert", &self.cert), ("key", &self.key)] {
                if let Some(file) = file {
                    tls.insert(name.to_owned(), file.to_string_lossy().into());
                }
            }
            table["tls"] = tls.into();
        }
        let connectors = connectors::all();
        let dicom = connectors
            .get("dicom")
            .context("this program has no dicom connector")?;
        if let Some(problem) = dicom.check_destination(&table).first() {
            let option = match problem.path.as_str() {
                "connect" => "HOST:PORT",
                "called_ae" => "--called",
                "calling_ae" => "--calling",
                other => other,
            };
            bail!("{option}: {}", problem.what);
        }
        Ok(table)
    }

    /// How it is called.
    pub(crate) fn caller(&self) -> anyhow::Result<Caller> {
        Ok(Caller::open(&self.table()?, &Surroundings::default())?)
    }
}

async fn echo(far: &Far) -> anyhow::Result<ExitCode> {
    let caller = far.caller()?;
    let begun = Instant::now();
    let proposal = caller
        .proposal()
        .with(uids::VERIFICATION, [uids::IMPLICIT_LITTLE]);
    let mut association = caller.associate(proposal).await.map_err(anyhow::Error::msg)?;
    let associated = begun.elapsed();
    let begun = Instant::now();
    let status = association.echo().await?;
    let took = begun.elapsed();
    association.release().await?;
    print(&format!(
        "{} at {} answers {status} {}: association {} ms, echo {} ms\n",
        far.called,
        far.to,
        status.words(),
        associated.as_millis(),
        took.as_millis(),
    ));
    Ok(exit(status.is_success()))
}

fn exit(is_right: bool) -> ExitCode {
    match is_right {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Asks, and prints each match as it comes.
async fn ask(far: &Far, class: &str, mut keys: Keys, question: &Question) -> anyhow::Result<ExitCode> {
    for key in &question.keys {
        let (key, value) = key.split_once('=').unwrap_or((key, ""));
        keys.add(key, value)?;
    }
    let caller = far.caller()?;
    let syntaxes = [uids::EXPLICIT_LITTLE, uids::IMPLICIT_LITTLE];
    let proposal = caller.proposal().with(class, syntaxes);
    let mut association = caller.associate(proposal).await.map_err(anyhow::Error::msg)?;
    let context = association.context_of(class)?;
    let identifier = keys.written(&context.syntax)?;
    let asked = association.find(&context, &identifier).await?;
    let (found, end) = matches(&mut association, asked, &context.syntax, question.limit).await?;
    let Some(end) = end else {
        association.abort(ABORTS_WITHIN).await;
        eprintln!("{found} found; there are more, and it went on telling them after it was asked to stop");
        return Ok(ExitCode::SUCCESS);
    };
    association.release().await?;
    let status = end.status();
    let comment = end
        .command
        .get_text(dimse::tags::ERROR_COMMENT)
        .unwrap_or_default();
    eprintln!(
        "{found} found; {status} {} {}",
        status.words(),
        render::line(comment.as_ref())
    );
    Ok(match status.kind() {
        StatusKind::Success | StatusKind::Warning | StatusKind::Cancel => ExitCode::SUCCESS,
        StatusKind::Failure | StatusKind::Pending => ExitCode::FAILURE,
    })
}

/// So long an archive may go on after it was asked to stop: it need not listen to that at once, or at all (PS3.4 C.4.1.3.1).
const STOPS_WITHIN: Duration = Duration::from_secs(5);
const ABORTS_WITHIN: Duration = Duration::from_secs(1);

/// How many were found, and the end; none: it goes on, though it was asked to stop.
async fn matches(
    association: &mut Association<Stream>,
    asked: Asked,
    syntax: &str,
    limit: usize,
) -> anyhow::Result<(usize, Option<Answer>)> {
    let mut found = 0;
    let mut stops: Option<tokio::time::Instant> = None;
    loop {
        let next = association.next_match(asked);
        let next = match stops {
            None => next.await?,
            Some(until) => match tokio::time::timeout_at(until, next).await {
                Ok(next) => next?,
                Err(_) => return Ok((found, None)),
            },
        };
        match next {
            // What was on its way when we cancelled.
            Found::Match(_) if found == limit => {}
            Found::Match(answer) => {
                if found != 0 {
                    print("\n");
                }
                found += 1;
                print(&shown::match_as_text(&answer.data, syntax)?);
                if found == limit {
                    association.cancel(asked).await?;
                    stops = Some(tokio::time::Instant::now() + STOPS_WITHIN);
                }
            }
            Found::End(answer) => return Ok((found, Some(answer))),
        }
    }
}

async fn store(store: &Store) -> anyhow::Result<ExitCode> {
    let table = store.far.table()?;
    let mut files = Vec::new();
    for path in &store.files {
        collect(path, &mut files)?;
    }
    if files.is_empty() {
        bail!("there is no file in what was named");
    }
    let connectors = connectors::all();
    let dicom = connectors
        .get("dicom")
        .context("this program has no dicom connector")?;
    let destination = dicom.open_destination(&table, &Surroundings::default()).await?;
    // Objects are written anew where the far side does not take them as they are.
    let format: Arc<dyn Format> = Arc::new(formats::dicom::Dicom::default());
    let (mut taken, begun) = (0, Instant::now());
    for (idx, file) in files.iter().enumerate() {
        let outgoing = Outgoing {
            delivery: idx as i64,
            body: std::fs::read(file)
                .with_context(|| format!("{} could not be read", file.display()))?
                .into(),
            big: None,
            content_type: String::new(),
            about: About {
                format: Some(format.clone()),
                ..About::default()
            },
        };
        match destination.send(&outgoing, &|_| true).await {
            Ok(answer) => {
                let line = String::from_utf8_lossy(&answer.body).into_owned();
                let is_taken = is_taken(&line);
                taken += usize::from(is_taken);
                print(&format!("{}: {}\n", file.display(), render::line(&line)));
            }
            Err(error) => {
                let (SendError::Retry { why, .. }
                | SendError::Refused { why }
                | SendError::Unsure { why }
                | SendError::BrokenOff { why, .. }) = error;
                eprintln!("{}: {}", file.display(), render::line(&why));
            }
        }
    }
    eprintln!(
        "{taken} of {} taken in {:.1} s",
        files.len(),
        begun.elapsed().as_secs_f64()
    );
    Ok(exit(taken == files.len()))
}

/// A warning is a yes (PS3.4 B.2.3).
fn is_taken(line: &str) -> bool {
    let code = line.get(..4).and_then(|code| u16::from_str_radix(code, 16).ok());
    code.is_some_and(|code| match dimse::Status(code).kind() {
        StatusKind::Success | StatusKind::Warning => true,
        StatusKind::Failure | StatusKind::Cancel | StatusKind::Pending => false,
    })
}

/// Files in the order of their names; of a folder all that is in it, but what is hidden, and an index of a disc.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let about = || format!("{} could not be read", path.display());
    if !std::fs::metadata(path).with_context(about)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut inside = Vec::new();
    for entry in std::fs::read_dir(path).with_context(about)? {
        let entry = entry.with_context(about)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Links are not followed: they may lead round in a circle.
        let is_link = entry.file_type().with_context(about)?.is_symlink();
        if !name.starts_with('.') && !name.eq_ignore_ascii_case("DICOMDIR") && !is_link {
            inside.push(entry.path());
        }
    }
    inside.sort();
    for path in inside {
        collect(&path, files)?;
    }
    Ok(())
}
