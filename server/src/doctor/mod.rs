//! What is wrong around the engine, and what to do: the machine, the files, the far ends. Reads and measures; changes
//! nothing but a file of its own that it takes away again.

mod ends;
pub mod files;
mod ports;
pub mod system;

use connectors::tls;
use engine::channel::Channel;
use serde::Serialize;

use crate::command::client::Client;
use crate::home::Home;
use crate::overview::certificates;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Well.
    Ok,
    /// It works, and will not always.
    Warning,
    /// It does not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What: `disk`, `port` …
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub says: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_do: Option<String>,
}

impl Line {
    /// Well.
    pub fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Line {
            check,
            level: Level::Ok,
            says: says.into(),
            to_do: None,
        }
    }

    /// It will not always work.
    pub fn warning(check: &'static str, says: impl Into<String>, to_do: impl Into<String>) -> Self {
        Line {
            check,
            level: Level::Warning,
            says: says.into(),
            to_do: Some(to_do.into()),
        }
    }

    /// It does not work.
    pub fn problem(check: &'static str, says: impl Into<String>, to_do: impl Into<String>) -> Self {
        Line {
            check,
            level: Level::Problem,
            says: says.into(),
            to_do: Some(to_do.into()),
        }
    }
}

/// Looks at everything. `probe`: at the far ends too.
pub async fn examine(home: &Home, probe: bool) -> Vec<Line> {
    let wrong =
        |says: String| Line::problem("settings", says, "correct punte.toml; the rest was not looked at");
    let settings = match home.read_settings() {
        Ok(read) if read.problems.is_empty() => read.settings,
        Ok(read) => {
            return read
                .problems
                .iter()
                .map(|problem| wrong(problem.to_string()))
                .collect();
        }
        Err(error) => return vec![wrong(format!("{error:#}"))],
    };
    let now = (crate::world::real().now)();
    let checked = home.check();
    let running = Client::find(home).await.ok().flatten();
    let mut lines = vec![];
    lines.extend(channel_files(home, &checked));
    lines.extend(ports::all(home, &settings, &checked.channels, running.as_ref()).await);
    lines.push(files::key(home, &settings));
    lines.push(files::store(home, &settings));
    lines.extend(system::all(home, &settings, now));
    lines.extend(certificate_files(home, &settings, &checked.channels, now));
    if probe {
        lines.extend(ends::probe(&checked.channels).await);
    }
    lines
}

fn channel_files(home: &Home, checked: &engine::channel::Checked) -> Vec<Line> {
    let known = checked.problems.is_empty().then_some(checked.channels.as_slice());
    let (mut problems, mut warnings) = home.look_at_settings(known).unwrap_or_default();
    problems.extend(checked.problems.iter().cloned());
    warnings.extend(checked.warnings.iter().cloned());
    if problems.is_empty() && warnings.is_empty() {
        let says = format!(
            "{} in {} are right",
            checked.channels.len(),
            home.channels_folder().display()
        );
        return vec![Line::ok("channels", says)];
    }
    let wrong = problems
        .into_iter()
        .map(|problem| Line::problem("channels", problem.to_string(), "correct the file: punte check"));
    let odd = warnings
        .into_iter()
        .map(|warning| Line::warning("channels", warning.to_string(), "see whether it is meant so"));
    wrong.chain(odd).collect()
}

/// Dates, and whether each certificate of a chain has signed the one before. Whether keys match, `punte check` says.
fn certificate_files(
    home: &Home,
    settings: &crate::home::Settings,
    channels: &[Channel],
    now: jiff::Timestamp,
) -> Vec<Line> {
    let channels: Vec<_> = channels.iter().cloned().map(std::sync::Arc::new).collect();
    let all = certificates::all(home, settings, &channels);
    let line = |certificate: certificates::Certificate| {
        let file = certificate.file.display();
        let says = format!("{file} {}", certificate.says(now));
        if let Some(what) = tls::broken_chain(&certificate.file) {
            return Line::problem(
                "certificate",
                format!("{file}: {what}"),
                "put the certificate first, then the one that signed it, and so on",
            );
        }
        match certificate.days(now) {
            days if days < 0 => Line::problem("certificate", says, "renew it: connections are refused"),
            days if days < crate::overview::CERTIFICATE_DAYS => Line::warning(
                "certificate",
                says,
                "renew it; the new files are used without a restart",
            ),
            _ => Line::ok("certificate", says),
        }
    };
    all.into_iter().map(line).collect()
}
