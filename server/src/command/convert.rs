//! `punte convert`: messages from one format into another, without a store.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clinic::aggregate::Source;
use clinic::apply::{ApplyError, Context, Nobody, OnUnmatched};
use clinic::exchange::{MapError, Stamp};
use engine::channel::CHARSETS;
use engine::format::{Mapping, Settings};
use mappings::dicom::charset::Fallback;
use mappings::hl7v2::batch;
use mappings::hl7v2::charset::Charset;
use uuid::Uuid;

use super::{print, read_input};
use crate::formats;

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "One JSON document is printed for each message; several come one a line. What can't be converted is said on standard error with its place, the rest goes on, and the exit code is 1.\n\nExamples:\n  punte convert samples/hl7v2/adt-a04-register-minimal.hl7\n  punte convert --losses batch.hl7\n  punte convert --from csv --mapping day.map.toml --to hl7v2 day.csv\n  punte convert --from dicom --losses ct.dcm\n  cat *.hl7 | punte convert -"
)]
pub struct Args {
    /// The format to read
    #[arg(long, default_value = "hl7v2")]
    from: String,
    /// The mapping file of what is read, for json, xml and csv
    #[arg(long)]
    mapping: Option<PathBuf>,
    /// The mapping file of what is written, for json, xml and csv
    #[arg(long)]
    to_mapping: Option<PathBuf>,
    /// The format to write; fhir-r4, and of dicom clinic, where nothing else is said
    #[arg(long)]
    to: Option<String>,
    /// List every field that was not carried into the model: place, value, note
    #[arg(long)]
    losses: bool,
    /// The charset of messages that do not declare one
    #[arg(long)]
    charset: Option<String>,
    /// The zone of times that do not name one
    #[arg(long, default_value = "Europe/Bucharest")]
    zone: String,
    /// The messages, a file or `-`
    #[arg(default_value = "-")]
    file: PathBuf,
}

/// Converts; exit code 1 where a message could not be.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if !matches!(args.from.as_str(), "hl7v2" | "json" | "xml" | "csv" | "dicom") {
        bail!(
            "{:?} can't be read; --from takes hl7v2, json, xml, csv and dicom",
            args.from
        );
    }
    // An image says of whom it is, and nothing that makes a patient.
    let to = args.to.as_deref().unwrap_or(match args.from.as_str() {
        "dicom" => "clinic",
        _ => "fhir-r4",
    });
    if !matches!(to, "fhir-r4" | "clinic" | "hl7v2" | "json" | "xml" | "csv") {
        bail!(
            "{:?} can't be written; --to takes fhir-r4, hl7v2, json, xml, csv and clinic (the change set)",
            to
        );
    }
    if jiff::tz::TimeZone::get(&args.zone).is_err() {
        bail!(
            "{:?} is no zone; write an IANA name such as Europe/Bucharest",
            args.zone
        );
    }
    if let Some(charset) = &args.charset
        && args.from == "dicom"
    {
        if Fallback::named(charset).is_none() {
            bail!(
                "{charset:?} is no character set of DICOM; --charset takes its defined terms, such as ISO_IR 100"
            );
        }
    } else if let Some(charset) = &args.charset
        && Charset::named(charset).is_none()
    {
        bail!(
            "{charset:?} is no charset that is known here; --charset takes {} and the other names of HL7 table 0211",
            CHARSETS.join(", ")
        );
    }
    let settings = |mapping: Option<Mapping>| Settings {
        charset: args.charset.clone(),
        zone: Some(args.zone.clone()),
        shape: Some("message".into()),
        mapping,
        ..Settings::default()
    };
    let (Some(reads), Some(writes)) = (
        mapping(&args.from, args.mapping.as_deref(), "--mapping", false)?,
        mapping(to, args.to_mapping.as_deref(), "--to-mapping", true)?,
    ) else {
        return Ok(ExitCode::FAILURE);
    };
    let way = Way {
        from: args.from.clone(),
        reads: settings(reads),
        to: to.to_owned(),
        writes: settings(writes),
    };
    let input = read_input(&args.file)?;
    let name = args.file.display().to_string();
    if args.from != "hl7v2" {
        return Ok(whole(&name, &input, &way, args.losses));
    }
    let file = match batch::take_apart(&input, &Default::default()) {
        Ok(file) => file,
        Err(error) => {
            eprintln!("{name}:1 {error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut right = true;
    for note in &file.notes {
        eprintln!("{name}: {note}");
        right &= !matches!(note, batch::Note::Junk { .. });
    }
    if file.messages.is_empty() {
        eprintln!("{name}:1 There is no HL7 message here: none of its lines begins with MSH.");
        return Ok(ExitCode::FAILURE);
    }
    let several = file.messages.len() > 1;
    for part in &file.messages {
        match one(&part.bytes, &way) {
            Ok(converted) => {
                print(&converted.text(several));
                if args.losses {
                    converted.tell_losses(&format!("{name}:{}", part.line));
                }
            }
            Err(error) => {
                right = false;
                eprintln!("{name}:{} {error}", part.line);
            }
        }
    }
    Ok(if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// From which format to which, and how.
struct Way {
    from: String,
    reads: Settings,
    to: String,
    writes: Settings,
}

/// A whole file as one message.
fn whole(name: &str, input: &[u8], way: &Way, losses: bool) -> ExitCode {
    match one(input, way) {
        Ok(converted) => {
            print(&converted.text(false));
            if losses {
                converted.tell_losses(name);
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The mapping of a format that needs one. The outer nothing: there are mistakes in it, and they have been told.
fn mapping(
    format: &str,
    file: Option<&Path>,
    option: &str,
    writes: bool,
) -> anyhow::Result<Option<Option<Mapping>>> {
    let formats = formats::all();
    let needs = formats.get(format).is_some_and(|format| format.needs_mapping());
    let file = match (needs, file) {
        (false, None) => return Ok(Some(None)),
        (false, Some(_)) => bail!("{format} needs no mapping; leave out {option}"),
        (true, None) => {
            bail!("{format} says nothing of the clinic by itself; name its mapping: {option} FILE.map.toml")
        }
        (true, Some(file)) => file,
    };
    let text =
        engine::channel::read_table(file).with_context(|| format!("{} can't be read", file.display()))?;
    let mut told = vec![];
    let mut table = |name: &str| {
        let file = file.parent().unwrap_or(Path::new("")).join(name);
        match engine::channel::read_table(&file) {
            Ok(text) => match engine::channel::table::read(&file, &text) {
                Ok(table) => Some(Arc::new(table)),
                Err(problems) => {
                    told.extend(problems.iter().map(ToString::to_string));
                    None
                }
            },
            Err(error) => {
                told.push(format!("{} can't be read: {error}", file.display()));
                None
            }
        }
    };
    let read = formats
        .get(format)
        .and_then(|format| format.mapping(&text, writes, &mut table));
    let mapping = match read {
        Some(Ok(read)) => Some(Mapping {
            file: file.display().to_string(),
            read,
        }),
        Some(Err(problems)) => {
            for problem in problems {
                let (line, column) = mappings::tree::line_and_column(&text, problem.at);
                told.push(format!("{}:{line}:{column} {}", file.display(), problem.what));
            }
            None
        }
        None => None,
    };
    for line in &told {
        eprintln!("{line}");
    }
    Ok(told.is_empty().then_some(mapping))
}

/// One converted message.
struct Converted {
    bytes: Vec<u8>,
    losses: Vec<clinic::exchange::Extra>,
}

impl Converted {
    /// What was not carried into the model, and what was assumed.
    fn tell_losses(&self, at: &str) {
        for loss in &self.losses {
            let note = loss
                .note
                .as_deref()
                .map_or(String::new(), |note| format!("  ({note})"));
            eprintln!("{at} {}  {:?}{note}", loss.place, loss.value);
        }
    }

    /// One document a line where there are several.
    fn text(&self, one_line: bool) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        if one_line && text.starts_with('{') {
            let flat: String = text.lines().map(str::trim_start).collect();
            return format!("{flat}\n");
        }
        format!("{}\n", text.trim_end())
    }
}

fn one(message: &[u8], way: &Way) -> Result<Converted, MapError> {
    let to = way.to.as_str();
    let all = formats::all();
    let missing = |name: &str| {
        MapError::new(
            clinic::exchange::Reason::Internal,
            None,
            format!("no format {name}"),
        )
    };
    let from = all.get(&way.from).ok_or_else(|| missing(&way.from))?;
    let changes = from.decode(message, &way.reads)?;
    let mut losses = changes.extra.clone();
    // What had to be assumed of a field that is carried.
    let assumed = changes
        .about
        .notes
        .iter()
        .filter(|note| note.note.is_some() && note.value.is_empty());
    losses.extend(assumed.cloned());
    if to == "clinic" {
        let bytes = serde_json::to_vec_pretty(&changes)
            .map_err(|error| MapError::new(clinic::exchange::Reason::Internal, None, error.to_string()))?;
        return Ok(Converted { bytes, losses });
    }
    let world = crate::world::real();
    let now = (world.now)();
    let context = Context {
        source: Source::Message {
            channel: "convert".into(),
            message: (world.new_id)(),
        },
        now,
        site: None,
        on_unmatched: OnUnmatched::Invent,
        decisions: &[],
        overwrite: false,
        new_id: &mut Uuid::now_v7,
    };
    let applied = clinic::apply(&changes, &Nobody, context).map_err(|error| match error {
        ApplyError::Refused(error) => error,
        ApplyError::Parked { why, .. } => MapError::new(clinic::exchange::Reason::UnknownKey, None, why),
        ApplyError::Snapshot(error) => {
            MapError::new(clinic::exchange::Reason::Internal, None, error.to_string())
        }
    })?;
    losses.extend(applied.left_out.iter().map(|key| clinic::exchange::Extra {
        place: clinic::exchange::Place(key.clone()),
        value: String::new(),
        note: Some(
            "left out of the bundle: nothing is said by which it, or whom it is about, could be known".into(),
        ),
    }));
    let format = all.get(to).ok_or_else(|| missing(to))?;
    let bytes = format.encode(
        &changes,
        &applied,
        &way.writes,
        &Stamp {
            now,
            id: (world.new_id)(),
        },
    )?;
    Ok(Converted { bytes, losses })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_charset_that_is_offered_is_known() {
        for name in CHARSETS {
            assert!(Charset::named(name).is_some(), "{name}");
        }
    }
}
