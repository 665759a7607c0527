//! `punte convert`: messages from one format into another, without a store.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clinic::aggregate::Source;
use clinic::apply::{ApplyError, Context, Nobody, OnUnmatched};
use clinic::exchange::{MapError, Stamp};
use engine::format::Settings;
use mappings::hl7v2::batch;
use uuid::Uuid;

use super::{print, read_input};
use crate::formats;

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "One JSON document is printed for each message; several come one a line. What can't be converted is said on standard error with its place, the rest goes on, and the exit code is 1.\n\nExamples:\n  punte convert samples/hl7v2/adt-a04-register.hl7\n  punte convert --losses batch.hl7\n  cat *.hl7 | punte convert -"
)]
pub struct Args {
    /// The format to read
    #[arg(long, default_value = "hl7v2")]
    from: String,
    /// The format to write
    #[arg(long, default_value = "fhir-r4")]
    to: String,
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
    if args.from != "hl7v2" {
        bail!("{:?} can't be read; --from takes hl7v2", args.from);
    }
    if !matches!(args.to.as_str(), "fhir-r4" | "clinic" | "hl7v2") {
        bail!(
            "{:?} can't be written; --to takes fhir-r4, hl7v2 and clinic (the change set)",
            args.to
        );
    }
    if jiff::tz::TimeZone::get(&args.zone).is_err() {
        bail!(
            "{:?} is no zone; write an IANA name such as Europe/Bucharest",
            args.zone
        );
    }
    let settings = Settings {
        charset: args.charset.clone(),
        zone: Some(args.zone.clone()),
        shape: Some("message".into()),
        ..Settings::default()
    };
    let input = read_input(&args.file)?;
    let name = args.file.display().to_string();
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
        match one(&part.bytes, &args.to, &settings) {
            Ok(converted) => {
                print(&converted.text(several));
                if args.losses {
                    for loss in &converted.losses {
                        let note = loss
                            .note
                            .as_deref()
                            .map_or(String::new(), |note| format!("  ({note})"));
                        eprintln!("{name}:{} {}  {:?}{note}", part.line, loss.place, loss.value);
                    }
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

/// One converted message.
struct Converted {
    bytes: Vec<u8>,
    losses: Vec<clinic::exchange::Extra>,
}

impl Converted {
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

fn one(message: &[u8], to: &str, settings: &Settings) -> Result<Converted, MapError> {
    let all = formats::all();
    let missing = |name: &str| {
        MapError::new(
            clinic::exchange::Reason::Internal,
            None,
            format!("no format {name}"),
        )
    };
    let from = all.get("hl7v2").ok_or_else(|| missing("hl7v2"))?;
    let changes = from.decode(message, settings)?;
    let losses = changes.extra.clone();
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
    let format = all.get(to).ok_or_else(|| missing(to))?;
    let bytes = format.encode(
        &changes,
        &applied,
        settings,
        &Stamp {
            now,
            id: (world.new_id)(),
        },
    )?;
    Ok(Converted { bytes, losses })
}
