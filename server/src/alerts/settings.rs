//! What `punte.toml` says about alerts.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use connectors::notice::Receiver;
use engine::channel::{Window, duration, nearest, size};
use engine::connector::SettingsProblem;
use jiff::tz::TimeZone;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// `[alerts]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertSettings {
    /// How it calls itself in what it tells, where there are several.
    pub name: Option<String>,
    /// How long something has to be well again before it is over: what comes and goes is one episode. One minute unless
    /// said.
    pub calm: Option<Span>,
    /// When somebody is told; none written: [`default_rules`].
    pub rule: Option<Vec<RuleSettings>>,
    /// Who is told, by name.
    pub receiver: BTreeMap<String, Receiver>,
}

/// `[[alerts.rule]]`: one condition, of what, and who is told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleSettings {
    /// The oldest delivery has waited for so long, while its destination was open.
    pub queue_older: Option<Span>,
    /// So many deliveries are held.
    pub held: Option<u64>,
    /// So many are set aside as dead.
    pub dead: Option<u64>,
    /// So many messages are parked.
    pub parked: Option<u64>,
    /// Nothing has come in for so long; the channels have to be named.
    pub silent: Option<Span>,
    /// A modality has begun an examination so long ago, and has not said that it ended (MPPS).
    pub mpps_silent: Option<Span>,
    /// A certificate ends within so long.
    pub certificate_ends: Option<Span>,
    /// Less than that is free on the disk.
    pub disk_below: Option<Amount>,
    /// The clock was set by more than that within an hour.
    pub clock_off: Option<Span>,
    /// Only these channels; none written: all.
    pub channels: Option<Vec<String>>,
    /// When silence is not normal.
    pub window: Option<WindowSettings>,
    /// Who is told beside the log; none written: all receivers.
    pub to: Option<Vec<String>>,
}

/// `window = { open = "07:00-19:00", days = "mon-sat" }`, as at a destination.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSettings {
    /// The span of the day.
    pub open: String,
    /// The days; not written: all.
    pub days: Option<String>,
}

/// A length of time, written as `"15m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration::parse(&text).map(Span).map_err(D::Error::custom)
    }
}

/// A number of bytes, written as `"5 GB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount(pub u64);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        size::parse(&text).map(Amount).map_err(D::Error::custom)
    }
}

/// A condition, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// [`RuleSettings::queue_older`].
    QueueOlder(Duration),
    /// [`RuleSettings::held`].
    Held(u64),
    /// [`RuleSettings::dead`].
    Dead(u64),
    /// [`RuleSettings::parked`].
    Parked(u64),
    /// [`RuleSettings::silent`].
    Silent(Duration),
    /// [`RuleSettings::mpps_silent`].
    MppsSilent(Duration),
    /// [`RuleSettings::certificate_ends`].
    CertificateEnds(Duration),
    /// [`RuleSettings::disk_below`].
    DiskBelow(u64),
    /// [`RuleSettings::clock_off`].
    ClockOff(Duration),
}

/// A rule, checked.
#[derive(Clone, Debug)]
pub struct Rule {
    /// When.
    pub condition: Condition,
    /// Of which channels; none: of all.
    pub channels: Option<Vec<String>>,
    /// When silence is not normal; none: always.
    pub window: Option<Window>,
    /// Who is told.
    pub to: Vec<String>,
}

impl AlertSettings {
    /// [`AlertSettings::calm`], or what it is unless said.
    pub fn calm(&self) -> Duration {
        self.calm.map_or(Duration::from_secs(60), |span| span.0)
    }

    /// The rules; what is wrong with them and with the receivers. `channels`: those that there are, where that is known.
    pub fn rules(
        &self,
        zone: &TimeZone,
        channels: Option<&[String]>,
    ) -> Result<Vec<Rule>, Vec<SettingsProblem>> {
        let mut problems = vec![];
        for (name, receiver) in &self.receiver {
            let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            if name.is_empty() || !name.bytes().all(is_word) {
                problems.push(problem(
                    &format!("receiver.{name}"),
                    "a name of letters, digits and '-'".to_owned(),
                ));
            }
            for found in receiver.check() {
                let dot = if found.path.is_empty() { "" } else { "." };
                problems.push(problem(
                    &format!("receiver.{name}{dot}{}", found.path),
                    found.what,
                ));
            }
        }
        let written = self.rule.clone().unwrap_or_else(default_rules);
        let mut rules = vec![];
        for (idx, settings) in written.iter().enumerate() {
            match self.rule(settings, zone, channels) {
                Ok(rule) => rules.push(rule),
                Err(found) => {
                    let place = |(key, what): (String, String)| {
                        let dot = if key.is_empty() { "" } else { "." };
                        problem(&format!("rule[{idx}]{dot}{key}"), what)
                    };
                    problems.extend(found.into_iter().map(place));
                }
            }
        }
        if problems.is_empty() {
            Ok(rules)
        } else {
            Err(problems)
        }
    }

    /// What is odd about the secrets that receivers name: whether they are there is known for sure when one is told.
    pub fn look(&self, folder: &Path) -> Vec<SettingsProblem> {
        let receivers = self.receiver.iter();
        let each = |(name, receiver): (&String, &Receiver)| {
            let found = receiver.look(folder).into_iter();
            found
                .map(|found| problem(&format!("receiver.{name}.{}", found.path), found.what))
                .collect::<Vec<_>>()
        };
        receivers.flat_map(each).collect()
    }

    fn rule(
        &self,
        settings: &RuleSettings,
        zone: &TimeZone,
        known: Option<&[String]>,
    ) -> Result<Rule, Vec<(String, String)>> {
        let mut wrong = vec![];
        let mut conditions = settings.conditions();
        let condition = conditions.pop();
        if conditions.len() + usize::from(condition.is_some()) != 1 {
            wrong.push((
                String::new(),
                format!("one condition a rule: {}", CONDITIONS.join(", ")),
            ));
        }
        let is_silent = settings.silent.is_some();
        if is_silent && settings.channels.is_none() {
            wrong.push((
                String::new(),
                "say whose silence is wrong: channels = [\"…\"]".to_owned(),
            ));
        }
        if settings.window.is_some() && !is_silent {
            wrong.push((
                "window".to_owned(),
                "belongs to `silent`; a queue waits for its destination's own window".to_owned(),
            ));
        }
        for (idx, channel) in settings.channels.iter().flatten().enumerate() {
            if let Some(known) = known
                && !known.contains(channel)
            {
                let near = nearest(channel, known.iter().map(String::as_str));
                wrong.push((format!("channels[{idx}]"), no_such("channel", channel, near)));
            }
        }
        for (idx, name) in settings.to.iter().flatten().enumerate() {
            if !self.receiver.contains_key(name) {
                let near = nearest(name, self.receiver.keys().map(String::as_str));
                wrong.push((format!("to[{idx}]"), no_such("receiver", name, near)));
            }
        }
        let window = settings.window.as_ref().map(|window| {
            Window::read(&window.open, window.days.as_deref(), zone.clone()).map_err(|found| {
                wrong.extend(
                    found
                        .into_iter()
                        .map(|(key, what)| (format!("window.{key}"), what)),
                )
            })
        });
        match condition {
            Some(condition) if wrong.is_empty() => Ok(Rule {
                condition,
                channels: settings.channels.clone(),
                window: window.and_then(Result::ok),
                to: settings
                    .to
                    .clone()
                    .unwrap_or_else(|| self.receiver.keys().cloned().collect()),
            }),
            Some(_) | None => Err(wrong),
        }
    }
}

const CONDITIONS: [&str; 9] = [
    "queue_older",
    "held",
    "dead",
    "parked",
    "silent",
    "mpps_silent",
    "certificate_ends",
    "disk_below",
    "clock_off",
];

impl RuleSettings {
    fn conditions(&self) -> Vec<Condition> {
        let all = [
            self.queue_older.map(|span| Condition::QueueOlder(span.0)),
            self.held.map(Condition::Held),
            self.dead.map(Condition::Dead),
            self.parked.map(Condition::Parked),
            self.silent.map(|span| Condition::Silent(span.0)),
            self.mpps_silent.map(|span| Condition::MppsSilent(span.0)),
            self.certificate_ends
                .map(|span| Condition::CertificateEnds(span.0)),
            self.disk_below.map(|amount| Condition::DiskBelow(amount.0)),
            self.clock_off.map(|span| Condition::ClockOff(span.0)),
        ];
        all.into_iter().flatten().collect()
    }
}

/// What is watched where `punte.toml` has no rule.
fn default_rules() -> Vec<RuleSettings> {
    let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
    let rule = RuleSettings::default;
    vec![
        RuleSettings {
            held: Some(1),
            ..rule()
        },
        RuleSettings {
            dead: Some(1),
            ..rule()
        },
        RuleSettings {
            queue_older: Some(Span(hour)),
            ..rule()
        },
        RuleSettings {
            mpps_silent: Some(Span(day)),
            ..rule()
        },
        RuleSettings {
            certificate_ends: Some(Span(14 * day)),
            ..rule()
        },
        RuleSettings {
            disk_below: Some(Amount(1 << 30)),
            ..rule()
        },
        RuleSettings {
            clock_off: Some(Span(hour / 12)),
            ..rule()
        },
    ]
}

fn no_such(kind: &str, name: &str, near: Option<&str>) -> String {
    match near {
        Some(near) => format!("there is no {kind} {name:?}; did you mean {near:?}?"),
        None => format!("there is no {kind} {name:?}"),
    }
}

fn problem(path: &str, what: String) -> SettingsProblem {
    SettingsProblem {
        path: path.to_owned(),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Rule>, Vec<String>> {
        let settings: AlertSettings =
            toml::from_str(text).map_err(|error| vec![error.message().to_owned()])?;
        let rules = settings.rules(&TimeZone::UTC, Some(&["adt".to_owned(), "lab".to_owned()]));
        rules.map_err(|found| {
            found
                .into_iter()
                .map(|found| format!("{} {}", found.path, found.what))
                .collect()
        })
    }

    #[test]
    fn without_a_rule_what_waits_for_a_person_is_watched() {
        let rules = read("receiver.log.syslog.to = \"udp://127.0.0.1:514\"").unwrap();
        let conditions: Vec<Condition> = rules.iter().map(|rule| rule.condition).collect();
        assert_eq!(conditions[0], Condition::Held(1));
        assert_eq!(conditions.len(), 7);
        assert!(rules.iter().all(|rule| rule.to == ["log"]));
        assert!(
            read("rule = []").unwrap().is_empty(),
            "none, where none is wanted"
        );
    }

    #[test]
    fn each_mistake_is_said_with_its_place() {
        let text = r#"
[[rule]]
silent = "1h"
[[rule]]
held = 1
dead = 1
[[rule]]
held = 1
channels = ["atd"]
to = ["itt"]
window = { open = "07:00-19:00" }
[[rule]]
silent = "1h"
channels = ["adt"]
window = { open = "7-19" }
[receiver.it]
mail = { server = "smtp.example", from = "nobody", to = [], user = "x", tls = false }
[receiver.two]
webhook = { url = "ftp://x" }
syslog = { to = "10.0.0.1" }
"#;
        let wrong = read(text).unwrap_err().join("\n");
        for expected in [
            "rule[0] say whose silence is wrong",
            "rule[1] one condition a rule: queue_older, held",
            "rule[2].channels[0] there is no channel \"atd\"; did you mean \"adt\"?",
            "rule[2].to[0] there is no receiver \"itt\"; did you mean \"it\"?",
            "rule[2].window belongs to `silent`",
            "rule[3].window.open ",
            "receiver.it.mail.from \"nobody\" is no e-mail address",
            "receiver.it.mail.to nobody is told",
            "receiver.it.mail.user write `user` with",
            "receiver.it.mail.tls without TLS",
            "receiver.two write one of `mail`",
        ] {
            assert!(wrong.contains(expected), "{expected}\n--\n{wrong}");
        }
        assert!(read("[[rule]]\nqueue_older = \"1 hour\"").unwrap_err()[0].contains("is no duration"));
        assert!(read("[[rule]]\nqueue_old = \"1h\"").unwrap_err()[0].contains("unknown field"));
    }
}
