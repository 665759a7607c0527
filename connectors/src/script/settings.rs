//! What a channel file says about a script that is an end.

use std::time::Duration;

use engine::channel::{duration, size};
use engine::connector::{NamedScript, SettingsProblem};
use engine::script;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::timer::settings::{Schedule, schedule};
use crate::values::{Problems, Table, default_from};

/// `script = "deliver.js"` or `script = { … }` of a destination.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DestinationSettings {
    /// The script, a JavaScript file beside the channel or in a folder under it.
    File(String),
    /// The script with its limits.
    Table(ScriptSettings),
}

/// A script with its limits.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScriptSettings {
    /// The script, a JavaScript file beside the channel or in a folder under it.
    pub file: String,
    /// How long it may take, calls included: "10s".
    pub timeout: Option<String>,
    /// How much memory it may take: "64 MB".
    pub memory: Option<String>,
    /// The code tables that it may look into, CSV files beside the channel.
    #[serde(default)]
    pub tables: Vec<String>,
}

/// `[source.script]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// The script, a JavaScript file beside the channel or in a folder under it.
    pub file: String,
    /// How often it runs: "1m". It runs at the start, too.
    pub every: Option<String>,
    /// When it runs: minute, hour, day, month and day of the week, as cron has it: "0 7 * * 1-5".
    pub cron: Option<String>,
    /// The zone of `cron`, an IANA name: "Europe/Bucharest".
    #[serde(default = "default_zone")]
    pub zone: String,
    /// How long it may take, calls included: "10s".
    pub timeout: Option<String>,
    /// How much memory it may take: "64 MB".
    pub memory: Option<String>,
    /// The code tables that it may look into, CSV files beside the channel.
    #[serde(default)]
    pub tables: Vec<String>,
}

/// A source's settings, checked.
#[derive(Clone, Debug)]
pub struct Source {
    /// When it runs.
    pub schedule: Schedule,
    /// What runs.
    pub script: NamedScript,
}

default_from! {
    default_zone = "Europe/Bucharest";
}

impl Table for SourceSettings {
    type Checked = Source;

    fn check(&self) -> Result<Source, Vec<SettingsProblem>> {
        let mut problems = Problems::default();
        let (every, cron) = (self.every.as_deref(), self.cron.as_deref());
        let (schedule, _) = schedule(every, cron, &self.zone, &mut problems);
        let table = ScriptSettings {
            file: self.file.clone(),
            timeout: self.timeout.clone(),
            memory: self.memory.clone(),
            tables: self.tables.clone(),
        };
        let script = named(&table, &mut problems);
        problems.into_result(Source { schedule, script })
    }
}

/// How long an end may take where the channel does not say: it calls somebody, as a rule.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Table for DestinationSettings {
    type Checked = NamedScript;

    fn check(&self) -> Result<NamedScript, Vec<SettingsProblem>> {
        let mut problems = Problems::default();
        let named = match self {
            DestinationSettings::File(file) => NamedScript {
                path: "",
                file: file.clone(),
                timeout: TIMEOUT,
                memory: script::MEMORY,
                tables: vec![],
            },
            DestinationSettings::Table(table) => named(table, &mut problems),
        };
        problems.into_result(named)
    }
}

/// What a table says of its script.
pub(super) fn named(table: &ScriptSettings, problems: &mut Problems) -> NamedScript {
    let timeout = table
        .timeout
        .as_deref()
        .map_or(TIMEOUT, |text| match duration::parse(text) {
            Ok(timeout) if script::SHORTEST <= timeout && timeout <= script::LONGEST => timeout,
            Ok(_) => {
                problems.add("timeout", "a script has from \"10ms\" to \"1m\" for a message");
                TIMEOUT
            }
            Err(what) => {
                problems.add("timeout", what);
                TIMEOUT
            }
        });
    let memory = table
        .memory
        .as_deref()
        .map_or(script::MEMORY, |text| match size::parse(text) {
            Ok(memory) if (script::LEAST_MEMORY..=script::MOST_MEMORY).contains(&memory) => memory,
            Ok(_) => {
                problems.add("memory", "a script has from \"4 MB\" to \"512 MB\"");
                script::MEMORY
            }
            Err(what) => {
                problems.add("memory", what);
                script::MEMORY
            }
        });
    NamedScript {
        path: "file",
        file: table.file.clone(),
        timeout,
        memory,
        tables: table.tables.clone(),
    }
}
