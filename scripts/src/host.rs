//! The side of the engine: scripts are read and checked, and run by the pool.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clinic::exchange::{MapError, Reason};
use engine::script::{
    Call, Heard, Polled, PolledMessage, Returned, Said, Script, ScriptFailed, ScriptProblem, Scripts, Wanted,
};

use crate::machine::LATE;
use crate::modules::{place_of, resolve};
use crate::pool::{Pool, PoolError, Program};
use crate::state;
use crate::wire::{Answer, Ask, Became, Given, Run, Unit, Want};

/// The most modules of one script.
const MAX_MODULES: usize = 100;

/// The largest module, in bytes.
const MAX_MODULE: usize = 1 << 20;

/// How long a check may take, each time.
const CHECK: Duration = Duration::from_secs(2);

/// The scripts of a program: one for all its channels.
pub struct Host {
    pool: Arc<Pool>,
    /// The number of the next script. A script that is checked anew is another.
    next: AtomicU64,
}

impl Host {
    /// With workers that are started so. None is started before the first script.
    pub fn new(program: Program) -> Self {
        Host {
            pool: Arc::new(Pool::new(program)),
            next: AtomicU64::new(1),
        }
    }
}

/// A script that has been checked.
struct Prepared {
    number: u64,
    unit: Arc<Unit>,
    timeout: Duration,
    /// Whether it speaks of the change set: written and read for no script that does not.
    wants_changes: bool,
    /// Whether it speaks of what was sent.
    wants_sent: bool,
    pool: Arc<Pool>,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A script that reads otherwise, or has other limits, is another one; the same one read again is the same.
        let mut hasher = DefaultHasher::new();
        (
            &self.unit.modules,
            &self.unit.tables,
            self.unit.memory,
            self.timeout,
        )
            .hash(&mut hasher);
        write!(f, "script {} {:016x}", self.unit.entry, hasher.finish())
    }
}

impl Scripts for Host {
    fn check(
        &self,
        wanted: &Wanted<'_>,
        read: &dyn Fn(&Path) -> io::Result<String>,
    ) -> Result<Arc<dyn Script>, Vec<ScriptProblem>> {
        let of_channel = |what: String| vec![ScriptProblem { place: None, what }];
        // The way that a module would ask for it has the same rules.
        let specifier = format!("./{}", wanted.file);
        let entry = match resolve("", &specifier) {
            Ok(entry) if !wanted.file.starts_with('/') => entry,
            Ok(_) | Err(_) => {
                let what = "a script lies beside the channel file or in a folder under it";
                return Err(of_channel(what.to_owned()));
            }
        };
        if !entry.ends_with(".js") && !entry.ends_with(".mjs") {
            return Err(of_channel(format!(
                "{:?} is no JavaScript file by its name; it ends in .js",
                wanted.file
            )));
        }
        let text = source(wanted.folder, &entry, read).map_err(of_channel)?;
        let mut unit = Unit {
            modules: BTreeMap::from([(entry.clone(), text)]),
            entry,
            tables: tables(wanted),
            memory: wanted.memory,
        };
        while let Some((by, specifier, path)) = self.missing(wanted, &unit)? {
            let found = path.and_then(|path| match source(wanted.folder, &path, read) {
                Ok(_) if MAX_MODULES <= unit.modules.len() => {
                    Err(format!("one module too many; {MAX_MODULES} are the most"))
                }
                found => found.map(|source| (path, source)),
            });
            match found {
                Ok((path, source)) => unit.modules.insert(path, source),
                Err(what) => {
                    let importer = unit.modules.get(&by).map_or("", String::as_str);
                    let (line, column) = place_of(importer, &specifier);
                    return Err(vec![ScriptProblem {
                        place: Some((wanted.folder.join(&by), line, column)),
                        what,
                    }]);
                }
            };
        }
        let undeclared: Vec<ScriptProblem> = unit
            .modules
            .iter()
            .flat_map(|(path, text)| {
                let file = wanted.folder.join(path);
                let found = state::undeclared(text, wanted).into_iter();
                found.map(move |found| ScriptProblem {
                    place: Some((file.clone(), found.line, found.column)),
                    what: found.what,
                })
            })
            .collect();
        if !undeclared.is_empty() {
            return Err(undeclared);
        }
        Ok(Arc::new(Prepared {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            wants_changes: unit.modules.values().any(|source| source.contains("changes")),
            wants_sent: unit.modules.values().any(|source| source.contains("sent")),
            unit: Arc::new(unit),
            timeout: wanted.timeout,
            pool: self.pool.clone(),
        }))
    }
}

/// A module that is asked for: by whom, how, and its path or why there can be none.
type Missing = (String, String, Result<String, String>);

impl Host {
    /// The next module that a script needs; none: it is whole and right.
    fn missing(&self, wanted: &Wanted<'_>, unit: &Unit) -> Result<Option<Missing>, Vec<ScriptProblem>> {
        let problem = |place: Option<(&str, usize, usize)>, what: String| {
            let (module, line, column) = place.unwrap_or((unit.entry.as_str(), 1, 1));
            vec![ScriptProblem {
                place: Some((wanted.folder.join(module), line, column)),
                what,
            }]
        };
        let ask = Ask::Check {
            unit: unit.clone(),
            limit: milliseconds(CHECK),
        };
        match self.pool.ask("check", None, &ask, &[], CHECK, &|_, _, _| {
            (Given::Nothing, vec![])
        }) {
            Ok((Answer::Right, _)) => Ok(None),
            Ok((Answer::Missing { by, specifier, path }, _)) => Ok(Some((by, specifier, path))),
            Ok((Answer::Wrong { fault }, _)) => {
                let at = fault.at.as_ref();
                let at = at.map(|(module, line, column)| (module.as_str(), *line, *column));
                Err(problem(at, fault.what))
            }
            Ok((Answer::Ready | Answer::Ran { .. } | Answer::Wants { .. } | Answer::Failed { .. }, _)) => {
                Err(problem(
                    None,
                    "its worker process answers something else".to_owned(),
                ))
            }
            Err(PoolError::Late) => Err(problem(
                None,
                "what stands outside its functions takes too long; put it into the function that is exported"
                    .to_owned(),
            )),
            Err(error) => Err(problem(None, error.to_string())),
        }
    }
}

impl Script for Prepared {
    fn file(&self) -> &str {
        &self.unit.entry
    }

    fn run(&self, call: &Call<'_>) -> Result<Returned, ScriptFailed> {
        let changes = match call.changes.filter(|_| self.wants_changes) {
            Some(changes) => Some(
                serde_json::to_string(changes)
                    .map_err(|_| self.error(Reason::Internal, "the change set can't be shown to it"))?,
            ),
            None => None,
        };
        let ask = Ask::Run(Run {
            script: self.number,
            limit: milliseconds(self.timeout),
            channel: call.channel.to_owned(),
            message: call.message,
            format: call.format.to_owned(),
            changes,
            sent: call
                .sent
                .filter(|_| self.wants_sent)
                .and_then(|sent| std::str::from_utf8(sent).ok())
                .map(str::to_owned),
            may_change: call.may_change,
            counters: call.counters.clone(),
            caches: call.caches.to_vec(),
            granted: call.granted.to_vec(),
            asks: call.asks.to_vec(),
            task: call.task.clone(),
        });
        let give = |want, body: Vec<u8>, left: Duration| match want {
            Want::Cached { cache, key } => {
                let value = call.reach.cached(&cache, &key);
                (Given::Cached { value }, vec![])
            }
            Want::Ask { destination } => {
                let question = String::from_utf8_lossy(&body).into_owned();
                let (found, body) = match call.reach.ask(&destination, question) {
                    Heard::Found(found) => (Ok(true), found.to_vec()),
                    Heard::Nothing => (Ok(false), vec![]),
                    Heard::Not(why) => (Err(why), vec![]),
                    Heard::Later => (Err("the answer is not there yet".to_owned()), vec![]),
                };
                (Given::Heard { found }, body)
            }
            Want::Call { number, mut request } => {
                request.body = body.into();
                // The script is to have time to say what it makes of no answer.
                match call.reach.call(number, request, left * 3 / 4) {
                    Ok(answer) => {
                        let body = answer.body.to_vec();
                        (Given::Called { answer: Ok(answer) }, body)
                    }
                    Err(error) => (Given::Called { answer: Err(error) }, vec![]),
                }
            }
        };
        let kept = Some((self.number, &self.unit));
        let answer = self
            .pool
            .ask(call.channel, kept, &ask, call.body, self.timeout, &give);
        match answer {
            Ok((
                Answer::Ran {
                    body: became,
                    changes,
                    console,
                    counted,
                    cached,
                },
                body,
            )) => {
                let changes = match changes.map(|json| serde_json::from_str(&json)).transpose() {
                    Ok(changes) => changes,
                    Err(_) => return Err(self.error(Reason::Internal, "its change set can't be read")),
                };
                let said = match became {
                    Became::Kept => Said::Kept,
                    Became::Changed => Said::Body(body.into()),
                    Became::Filtered => Said::Filtered,
                    Became::Verdict(verdict) => Said::Verdict(verdict),
                    Became::Polled { messages, cursor } => Said::Polled(Polled {
                        messages: parts(messages, body.into()),
                        cursor,
                    }),
                };
                Ok(Returned {
                    said,
                    changes,
                    console,
                    counted,
                    cached,
                })
            }
            Ok((
                Answer::Failed {
                    fault,
                    error,
                    console,
                },
                _,
            )) => {
                let (reason, place) =
                    error.map_or((Reason::Internal, None), |error| (error.reason, error.place));
                let what = match &fault.at {
                    Some((module, line, column)) => format!("{module}:{line}:{column} {}", fault.what),
                    None => format!("{} {}", self.unit.entry, fault.what),
                };
                Err(ScriptFailed {
                    error: MapError { reason, place, what },
                    may_pass: fault.what == LATE,
                    console,
                })
            }
            Ok((
                Answer::Ready
                | Answer::Right
                | Answer::Missing { .. }
                | Answer::Wrong { .. }
                | Answer::Wants { .. },
                _,
            )) => Err(self.error(Reason::Internal, "its worker process answers something else")),
            Err(error @ PoolError::Late) => {
                let limit = engine::channel::duration::show(self.timeout);
                Err(self.error(Reason::Internal, &format!("{error}, {limit}; it was stopped")))
            }
            Err(error) => Err(self.error(Reason::Internal, &error.to_string())),
        }
    }
}

impl Prepared {
    /// It lies not in the script.
    fn error(&self, reason: Reason, what: &str) -> ScriptFailed {
        ScriptFailed {
            error: MapError::new(reason, None, format!("{} {what}", self.unit.entry)),
            may_pass: true,
            console: vec![],
        }
    }
}

/// The messages of a poll, taken out of their frame.
fn parts(heads: Vec<(String, Option<String>, usize)>, body: Bytes) -> Vec<PolledMessage> {
    let mut at = 0usize;
    let part = |(identity, content_type, length): (String, Option<String>, usize)| {
        let start = at.min(body.len());
        at = at.saturating_add(length).min(body.len());
        PolledMessage {
            identity,
            content_type,
            body: body.slice(start..at),
        }
    };
    heads.into_iter().map(part).collect()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn tables(wanted: &Wanted<'_>) -> BTreeMap<String, Vec<[String; 5]>> {
    let rows = |table: &engine::format::CodeTable| {
        let rows = table.rows.iter();
        rows.map(|((system, code), (to_system, to_code, display))| {
            [system, code, to_system, to_code, display].map(String::clone)
        })
        .collect()
    };
    let tables = wanted.tables.iter();
    tables.map(|(name, table)| (name.clone(), rows(table))).collect()
}

/// The text of a module. Its path stays in the folder by its words; here a link that leads out of it is refused too.
fn source(folder: &Path, path: &str, read: &dyn Fn(&Path) -> io::Result<String>) -> Result<String, String> {
    let file = folder.join(path);
    if let (Ok(real), Ok(folder)) = (file.canonicalize(), folder.canonicalize())
        && !real.starts_with(&folder)
    {
        return Err(format!("{} leads out of the channels' folder", file.display()));
    }
    match read(&file) {
        Ok(text) if MAX_MODULE < text.len() => {
            let most = engine::channel::size::show(MAX_MODULE as u64);
            Err(format!(
                "{} is larger than {most}, the most for a script",
                file.display()
            ))
        }
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("there is no file {}", file.display()))
        }
        Err(error) => Err(format!("{} can't be read: {error}", file.display())),
    }
}
