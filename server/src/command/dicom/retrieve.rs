//! Objects fetched from an archive: into a folder (C-GET), or to another system (C-MOVE).

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use connectors::dicom::Caller;
use connectors::dicom::part10::{self, Meta};
use connectors::tls::Stream;
use dimse::scu::{Answer, Counts, Found, Retrieved};
use dimse::{AeTitle, Association, Message, Operation, Status, StatusKind, uids};
use mappings::dicom::charset::Fallback;
use mappings::dicom::dataset::DataSet;
use mappings::dicom::names;
use mappings::dicom::part10::packing;

use super::super::print;
use super::keys::Keys;
use super::{Far, Level};

/// `punte dicom get`
#[derive(clap::Args)]
pub struct Get {
    #[command(flatten)]
    far: Far,
    /// The study
    #[arg(long, value_name = "UID")]
    study: String,
    /// One series of it
    #[arg(long, value_name = "UID")]
    series: Option<String>,
    /// The folder that the objects are written to; it is made where it is not there
    #[arg(long = "to", value_name = "FOLDER")]
    folder: PathBuf,
}

/// `punte dicom move`
#[derive(clap::Args)]
pub struct Move {
    #[command(flatten)]
    far: Far,
    /// The study
    #[arg(long, value_name = "UID")]
    study: String,
    /// One series of it
    #[arg(long, value_name = "UID")]
    series: Option<String>,
    /// The AE title of the system that is to have the objects; the archive must know its address
    #[arg(long = "to", value_name = "TITLE")]
    destination: String,
}

/// How objects may be packed: each a context of its own, so that what is compressed stays so.
const PACKINGS: [&[&str]; 8] = [
    &[uids::EXPLICIT_LITTLE, uids::IMPLICIT_LITTLE],
    &["1.2.840.10008.1.2.4.50"],
    &["1.2.840.10008.1.2.4.70"],
    &["1.2.840.10008.1.2.4.80"],
    &["1.2.840.10008.1.2.4.90"],
    &["1.2.840.10008.1.2.4.91"],
    &["1.2.840.10008.1.2.5"],
    &["1.2.840.10008.1.2.4.51"],
];

/// What clinics have (PS3.4 B.5): CR, DX, mammography, CT, MR, ultrasound, nuclear medicine, PET, angiography, secondary
/// capture, endoscopy, ophthalmology, ECG, presentation states, reports, key objects, PDF, radiotherapy.
const USUAL: [&str; 31] = [
    "1.2.840.10008.5.1.4.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.2",
    "1.2.840.10008.5.1.4.1.1.1.3",
    "1.2.840.10008.5.1.4.1.1.13.1.3",
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.4.1",
    "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.20",
    "1.2.840.10008.5.1.4.1.1.128",
    "1.2.840.10008.5.1.4.1.1.12.1",
    "1.2.840.10008.5.1.4.1.1.12.2",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.7.2",
    "1.2.840.10008.5.1.4.1.1.7.4",
    "1.2.840.10008.5.1.4.1.1.77.1.1",
    "1.2.840.10008.5.1.4.1.1.77.1.4",
    "1.2.840.10008.5.1.4.1.1.77.1.5.1",
    "1.2.840.10008.5.1.4.1.1.9.1.1",
    "1.2.840.10008.5.1.4.1.1.11.1",
    "1.2.840.10008.5.1.4.1.1.88.11",
    "1.2.840.10008.5.1.4.1.1.88.22",
    "1.2.840.10008.5.1.4.1.1.88.33",
    "1.2.840.10008.5.1.4.1.1.88.59",
    "1.2.840.10008.5.1.4.1.1.88.67",
    "1.2.840.10008.5.1.4.1.1.104.1",
    "1.2.840.10008.5.1.4.1.1.481.1",
    "1.2.840.10008.5.1.4.1.1.481.3",
];

/// So many contexts are left beside that of C-GET.
const CONTEXTS: usize = 127;

const PLAIN: [&str; 2] = [uids::EXPLICIT_LITTLE, uids::IMPLICIT_LITTLE];

fn keys(level: Level, study: &str, series: Option<&str>) -> anyhow::Result<Keys> {
    let mut keys = Keys::default();
    keys.add("QueryRetrieveLevel", level.word())?;
    keys.add("StudyInstanceUID", study)?;
    if let Some(series) = series {
        keys.add("SeriesInstanceUID", series)?;
    }
    Ok(keys)
}

fn level(series: Option<&String>) -> Level {
    match series {
        Some(_) => Level::Series,
        None => Level::Study,
    }
}

/// Fetches the objects of a study.
pub async fn get(args: &Get) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&args.folder)
        .with_context(|| format!("{} can't be made", args.folder.display()))?;
    let caller = args.far.caller()?;
    // An archive sends only what it was told that we take: so it is asked first which classes there are.
    let classes = classes(&caller, &args.study, args.series.as_deref()).await?;
    if classes.is_empty() {
        bail!("{} has nothing of that", args.far.called);
    }
    let mut proposal = caller.proposal().with(uids::STUDY_ROOT_GET, PLAIN);
    for packing in PACKINGS.iter().take((CONTEXTS / classes.len()).max(1)) {
        for class in &classes {
            proposal = proposal.with(class, packing.iter().copied());
        }
    }
    for class in &classes {
        proposal = proposal.with_role(class, false, true);
    }
    let mut association = caller.associate(proposal).await.map_err(anyhow::Error::msg)?;
    let context = association.context_of(uids::STUDY_ROOT_GET)?;
    let identifier =
        keys(level(args.series.as_ref()), &args.study, args.series.as_deref())?.written(&context.syntax)?;
    let asked = association.get(&context, &identifier).await?;
    let mut written = 0;
    let end = loop {
        match association.next_retrieved(asked).await? {
            Retrieved::Progress(_) => {}
            Retrieved::Object(message) => {
                let status = match keep(&mut association, &message, &args.folder).await? {
                    Ok(file) => {
                        written += 1;
                        print(&format!("{}\n", file.display()));
                        Status::SUCCESS
                    }
                    Err(why) => {
                        eprintln!("{why:#}");
                        Status::OUT_OF_RESOURCES
                    }
                };
                let answer = message.command.answer(status);
                association.send(message.context.id, &answer, None).await?;
            }
            Retrieved::End(answer) => break answer,
        }
    };
    association.release().await?;
    Ok(told(&format!("{written} written"), &end))
}

/// Has the objects of a study sent to another system.
pub async fn move_to(args: &Move) -> anyhow::Result<ExitCode> {
    let to: AeTitle = args
        .destination
        .parse()
        .with_context(|| format!("--to {:?}", args.destination))?;
    let caller = args.far.caller()?;
    let proposal = caller.proposal().with(uids::STUDY_ROOT_MOVE, PLAIN);
    let mut association = caller.associate(proposal).await.map_err(anyhow::Error::msg)?;
    let context = association.context_of(uids::STUDY_ROOT_MOVE)?;
    let identifier =
        keys(level(args.series.as_ref()), &args.study, args.series.as_deref())?.written(&context.syntax)?;
    let asked = association.retrieve_to(&context, &identifier, &to).await?;
    let end = loop {
        match association.next_retrieved(asked).await? {
            Retrieved::Progress(_) => {}
            Retrieved::Object(message) => {
                let refusal = message.command.answer(Status::UNRECOGNIZED_OPERATION);
                association.send(message.context.id, &refusal, None).await?;
            }
            Retrieved::End(answer) => break answer,
        }
    };
    association.release().await?;
    let completed = Counts::of(&end.command).completed;
    Ok(told(&format!("{completed} sent to {to}"), &end))
}

/// Says how it ended. In part is not right either.
fn told(done: &str, end: &Answer) -> ExitCode {
    let (status, counts) = (end.status(), Counts::of(&end.command));
    let comment = end
        .command
        .get_text(dimse::tags::ERROR_COMMENT)
        .unwrap_or_default();
    let failed = match counts.failed {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    eprintln!("{done}{failed}; {status} {} {comment}", status.words());
    super::exit(status.kind() == StatusKind::Success)
}

/// The classes of a study's objects, by its series.
async fn classes(caller: &Caller, study: &str, series: Option<&str>) -> anyhow::Result<BTreeSet<String>> {
    let proposal = caller.proposal().with(uids::STUDY_ROOT_FIND, PLAIN);
    let mut association = caller.associate(proposal).await.map_err(anyhow::Error::msg)?;
    let all_series = match series {
        Some(series) => BTreeSet::from([series.to_owned()]),
        None => {
            let mut keys = keys(Level::Series, study, None)?;
            keys.add("SeriesInstanceUID", "")?;
            values(&mut association, &keys, "SeriesInstanceUID").await?.1
        }
    };
    let (mut objects, mut classes) = (0, BTreeSet::new());
    for series in all_series {
        let mut keys = keys(Level::Image, study, Some(&series))?;
        keys.add("SOPInstanceUID", "")?;
        keys.add("SOPClassUID", "")?;
        let (matches, found) = values(&mut association, &keys, "SOPClassUID").await?;
        objects += matches;
        classes.extend(found);
    }
    association.release().await?;
    // Not every archive says it (the class is an optional key).
    if objects != 0 && classes.is_empty() {
        classes.extend(USUAL.map(str::to_owned));
    }
    Ok(classes)
}

/// How many matches there are, and the values of an element in them.
async fn values(
    association: &mut Association<Stream>,
    keys: &Keys,
    element: &str,
) -> anyhow::Result<(usize, BTreeSet<String>)> {
    let context = association.context_of(uids::STUDY_ROOT_FIND)?;
    let tag = names::by_keyword(element).with_context(|| format!("no element {element}"))?;
    let asked = association
        .find(&context, &keys.written(&context.syntax)?)
        .await?;
    let (mut matches, mut found) = (0, BTreeSet::new());
    loop {
        match association.next_match(asked).await? {
            Found::Match(answer) => {
                let set = DataSet::read(&answer.data, packing(&context.syntax).coding, Fallback::default())?;
                matches += 1;
                found.extend(set.text(tag));
            }
            Found::End(answer) if answer.status().kind() == StatusKind::Failure => {
                bail!(
                    "the question which objects there are was refused: {:?}",
                    answer.status()
                );
            }
            Found::End(_) => return Ok((matches, found)),
        }
    }
}

/// Writes an object as it comes, under another name until it is whole. The inner error is told to the archive.
async fn keep(
    association: &mut Association<Stream>,
    message: &Message,
    folder: &Path,
) -> anyhow::Result<anyhow::Result<PathBuf>> {
    let mut writing = begin(association, message, folder);
    while let Some(part) = association.data().await? {
        if let Ok((file, _)) = &mut writing
            && let Err(error) = file.write_all(&part)
        {
            writing = Err(error.into());
        }
    }
    Ok(writing.and_then(|(mut file, name)| {
        file.flush()?;
        let whole = folder.join(format!("{name}.dcm"));
        std::fs::rename(folder.join(format!(".{name}.part")), &whole)?;
        Ok(whole)
    }))
}

type Begun = (std::io::BufWriter<std::fs::File>, String);

fn begin(association: &Association<Stream>, message: &Message, folder: &Path) -> anyhow::Result<Begun> {
    let instance = message.command.instance().unwrap_or_default();
    let is_uid = (1..=64).contains(&instance.len())
        && instance.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if message.command.operation() != Some(Operation::Store) || !is_uid {
        bail!("an object without a UID was not written");
    }
    let meta = Meta {
        class: message.context.class.clone(),
        instance: instance.clone(),
        syntax: message.context.syntax.clone(),
        command: None,
    };
    let part = folder.join(format!(".{instance}.part"));
    let file =
        std::fs::File::create(&part).with_context(|| format!("{} can't be written", part.display()))?;
    let mut file = std::io::BufWriter::new(file);
    // It comes from the one who was called.
    file.write_all(&part10::head(&meta, association.called(), association.calling()))?;
    Ok((file, instance))
}
