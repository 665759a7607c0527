//! Files: one message in each, read from a folder and written to one.
//!
//! ```toml
//! [source.file]
//! folder   = "../in"              # from the folder of the channel file on, unless absolute; it has to be there
//! pattern  = ["*.hl7", "*.HL7"]   # `*` any letters, `?` one; "*" unless said
//! order    = "name"               # or "modified": that which was changed first
//! stable   = "2s"                 # length and time unchanged for so long: not half-written any more
//! every    = "1s"                 # how often the folder is looked at
//! after    = { move = "done" }    # in the folder that is read; or "delete"
//! failed   = "failed"             # what can't be read or understood, with its reason in NAME.reason.txt
//! max_size = "64 MB"
//!
//! [[destination]]
//! name = "archive"
//! file = { folder = "../out", name = "{MSH-10}.hl7", exists = "refuse" }
//!
//! [[destination]]
//! name = "day"
//! file = { folder = "../out", name = "results-{date}.csv", append = true, separator = "\n" }
//! ```
//!
//! **Source.** Files are taken one after the other. A file is moved once its message is stored, and only then; where it
//! could not be stored (a full disk) it stays, and so do those behind it, until it can.
//!
//! | what lies there | what happens |
//! |---|---|
//! | a file that grows or changes | it waits until it has not changed for `stable` |
//! | one that vanishes | nothing |
//! | an empty one, one over `max_size`, one without permission | set aside, its first 256 KB kept as failed |
//! | one whose message fails (it can't be understood) | kept as failed, set aside |
//! | one that can't be read just now (a fault of the disk) | tried again; the others go on |
//! | the name of one that was there before | read; in `done` it becomes `a-2.hl7`, nothing is overwritten |
//! | a link | not followed; the log says once that there are some |
//! | sub-folders, pipes, names that begin with a dot | passed over |
//! | a name that is no UTF-8 | read; shown with � |
//! | the folder is gone | said once, looked at again, at most a minute apart |
//! | a file that can't be moved away | not read again before a restart; moving is tried with each look |
//!
//! *Once.* Killed between storing and moving, the program reads the file again and knows it: by the number of the message
//! where its format has one (HL7: MSH-10), else by the file's name, time and content, for as long as the channel's
//! `dedup` says. A file of the same content that is put there anew is a new message where the format has no number.
//!
//! **Destination.** Written under a hidden name, flushed, given its own name at once and the folder flushed: who reads
//! the folder sees whole files only. The name is a text with values in braces: paths of the message, `{id}` (of the
//! message), `{seq}` (of the delivery, growing), `{channel}`, `{date}` and `{time}` (when the message came, in the
//! channel's zone). `{PV1-3|none}` says what is written where there is no value; without it such a message is refused.
//! In values all but letters, digits and `-_.+=@,` becomes `_`; a name over 200 bytes is cut and told apart by a hash.
//!
//! | | |
//! |---|---|
//! | the same delivery again, after a crash | the file with its content is there: nothing is written |
//! | a file of that name with other content | `exists`: `"refuse"` (the delivery is refused), `"replace"`, `"number"` (`a-2.hl7`) |
//! | a full disk, no permission, the folder gone | *retry* |
//! | `append` | the record and its `separator` behind the others, flushed; a repeat after a crash is found by the notes in `.NAME.punte`, and a record that was cut is taken back first. As long as nobody else writes the file each message stands there once; where it has been taken away meanwhile, a repeat begins a new one |
//!
//! Absent by design: sub-folders, formats, names of files in the log (they are names of people often enough).

mod append;
mod aside;
mod destination;
mod disk;
mod listing;
mod name;
mod pattern;
pub mod settings;
mod source;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use engine::channel::OnUnsure;
use engine::connector::{
    Connector, ConnectorError, Destination, EndSettings, Looked, SettingsProblem, Source, Surroundings,
};
use serde_json::Value;

use crate::values::{checked, read, tables};
use settings::{DestinationSettings, How, SourceSettings, normal};

/// The connector `file`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files;

#[async_trait]
impl Connector for Files {
    fn name(&self) -> &'static str {
        "file"
    }

    fn format(&self) -> Option<&'static str> {
        None
    }

    tables!(source = SourceSettings, destination = DestinationSettings);

    fn look_at_source(&self, settings: &Value, surroundings: &Surroundings) -> Looked {
        look_for_folder(settings, surroundings)
    }

    fn look_at_destination(&self, settings: &Value, surroundings: &Surroundings) -> Looked {
        look_for_folder(settings, surroundings)
    }

    fn clash(&self, this: EndSettings<'_>, other: EndSettings<'_>) -> Option<SettingsProblem> {
        let at = |path: &str, what: &str| {
            Some(SettingsProblem {
                path: path.to_owned(),
                what: what.to_owned(),
            })
        };
        if folder(this)? != folder(other)? {
            return None;
        }
        match (this.is_source, other.is_source) {
            (true, true) => {
                let (this, other) = (
                    read::<SourceSettings>(this.settings).ok()?,
                    read::<SourceSettings>(other.settings).ok()?,
                );
                let meet = this
                    .patterns
                    .iter()
                    .any(|one| other.patterns.iter().any(|two| one.meets(two)));
                let what =
                    "reads files of such names there already; write another folder, or patterns that differ";
                if meet { at("folder", what) } else { None }
            }
            (false, true) => {
                // From one channel to the next through a folder is fine; round in a circle is not.
                let (written, read) = (
                    read::<DestinationSettings>(this.settings).ok()?,
                    read::<SourceSettings>(other.settings).ok()?,
                );
                let is_read = read
                    .patterns
                    .iter()
                    .any(|pattern| pattern.meets(&written.name.pattern()));
                let what =
                    "reads what is written there, in the same channel, again and again; write another folder";
                if is_read && this.file == other.file {
                    at("folder", what)
                } else {
                    None
                }
            }
            (false, false) => {
                let (this, other) = (
                    read::<DestinationSettings>(this.settings).ok()?,
                    read::<DestinationSettings>(other.settings).ok()?,
                );
                let appends = |how: &How| matches!(how, How::Append { .. });
                let meet = this.name.pattern().meets(&other.name.pattern());
                let what = "writes files of such names there, and one of the two appends; write another name";
                if meet && (appends(&this.how) || appends(&other.how)) {
                    at("name", what)
                } else {
                    None
                }
            }
            // Told at the destination, which stands behind its source in the file.
            (true, false) => None,
        }
    }

    fn message_paths(&self, settings: &Value) -> Vec<(String, String)> {
        let Ok(settings) = read::<DestinationSettings>(settings) else {
            return Vec::new();
        };
        settings
            .name
            .paths()
            .map(|path| ("name".to_owned(), path.to_owned()))
            .collect()
    }

    /// A file that could be written is written.
    fn answers(&self) -> bool {
        false
    }

    async fn open_source(
        &self,
        settings: &Value,
        surroundings: &Surroundings,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        let settings = checked::<SourceSettings>(settings)?;
        Ok(Box::new(source::FileSource::open(
            settings,
            &surroundings.folder,
        )?))
    }

    async fn open_destination(
        &self,
        settings: &Value,
        surroundings: &Surroundings,
    ) -> Result<Arc<dyn Destination>, ConnectorError> {
        let settings = checked::<DestinationSettings>(settings)?;
        Ok(Arc::new(destination::FileDestination::open(
            settings,
            &surroundings.folder,
        )?))
    }

    /// The same bytes under the same name: a repeat finds what it wrote.
    fn on_unsure(&self) -> OnUnsure {
        OnUnsure::Repeat
    }
}

/// A folder that is not there may come before the channel opens: a share that is mounted later.
fn look_for_folder(settings: &Value, surroundings: &Surroundings) -> Looked {
    let mut looked = Looked::default();
    if let Some(folder) = settings.get("folder").and_then(Value::as_str) {
        let folder = normal(&surroundings.folder.join(folder));
        if !folder.is_dir() {
            let folder = folder.display();
            looked.warn(
                "folder",
                format!("there is no folder {folder}; the channel opens only with it"),
            );
        }
    }
    looked
}

/// The folder of an end, as far as its text tells: two spellings of one folder are one.
fn folder(end: EndSettings<'_>) -> Option<PathBuf> {
    let folder = end.settings.get("folder")?.as_str()?;
    let whole = std::path::absolute(end.folder().join(folder)).ok()?;
    Some(normal(&whole))
}
