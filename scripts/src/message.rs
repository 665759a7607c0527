//! What a script can do to its message: the Rust side of `prelude.js`. All of it goes through the format.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use clinic::ChangeSet;
use clinic::exchange::{MapError, Reason};
use engine::call::{CallAnswer, CallError, CallRequest};
use engine::format::{Format, SetOp};
use engine::script::{CacheWrite, Count, PolledMessage, Task, Verdict};
use rquickjs::{Array, Ctx, Function, IntoJs, Object, TypedArray, Value};
use uuid::Uuid;

use crate::state;
use crate::wire::{Given, MAX_BODY, Unit, Want};

/// The most lines that a script's console keeps, and the most bytes.
const CONSOLE_LINES: usize = 200;
const CONSOLE_BYTES: usize = 64 << 10;

/// The most that a script writes to caches for one message, the longest key, and the longest value as JSON, in bytes.
const CACHE_WRITES: usize = 1000;
const CACHE_KEY: usize = 256;
const CACHE_VALUE: usize = 64 << 10;

/// The longest cursor, in bytes.
const CURSOR: usize = 16 << 10;

/// The most messages that a script fetches at once.
const POLLED: usize = 10_000;

/// A table: what (system, code) becomes.
pub type Table = HashMap<(String, String), [String; 3]>;

/// A script and its tables, ready to be looked into.
pub struct Ready {
    /// The script.
    pub unit: Arc<Unit>,
    /// Its tables.
    pub tables: HashMap<String, Table>,
}

impl Ready {
    /// Of a script as it came.
    pub fn new(unit: Arc<Unit>) -> Self {
        let tables = unit
            .tables
            .iter()
            .map(|(name, rows)| {
                let rows = rows.iter().map(|[system, code, to_system, to_code, display]| {
                    let to = [to_system.clone(), to_code.clone(), display.clone()];
                    ((system.clone(), code.clone()), to)
                });
                (name.clone(), rows.collect())
            })
            .collect();
        Ready { unit, tables }
    }
}

/// The message that a runtime is at.
pub struct Current {
    pub script: Rc<Ready>,
    pub channel: String,
    pub message: Uuid,
    pub format: Arc<dyn Format>,
    pub body: Vec<u8>,
    pub is_changed: bool,
    pub changes: Option<String>,
    pub sent: Option<String>,
    pub may_change: bool,
    pub new_changes: Option<String>,
    /// The counters of its channel, as they stand now.
    pub counters: BTreeMap<String, Count>,
    /// The numbers that were taken last.
    pub counted: BTreeMap<String, u64>,
    pub caches: Vec<String>,
    pub cached: Vec<CacheWrite>,
    pub granted: Vec<String>,
    /// The destinations that may be asked.
    pub asks: Vec<String>,
    pub task: Task,
    /// What became of a delivery.
    pub verdict: Option<Verdict>,
    /// What a poll fetched.
    pub polled: Vec<PolledMessage>,
    pub cursor: Option<String>,
    /// How many calls there were.
    pub calls: usize,
    /// The bodies of their answers.
    pub answers: Vec<Vec<u8>>,
    pub wants: Rc<dyn Wants>,
}

/// What became of a call.
enum Called {
    /// The answer, and the number under which its body is kept.
    Answered { answer: CallAnswer, number: usize },
    /// There is none.
    Lost(CallError),
}

/// Asks the engine for what a script wants while it runs.
pub trait Wants {
    /// Waits for the answer. The error is a sentence.
    fn want(&self, want: Want, body: &[u8]) -> Result<(Given, Vec<u8>), String>;
}

/// What the functions of the prelude share. None: no message is there yet, as when a script is checked.
#[derive(Default)]
pub struct Shared {
    pub current: RefCell<Option<Current>>,
    pub console: RefCell<Vec<String>>,
    console_bytes: Cell<usize>,
}

type Host = Rc<Shared>;
type Js<'js> = rquickjs::Result<Value<'js>>;

fn internal(what: &str) -> MapError {
    MapError::new(Reason::Internal, None, what)
}

fn no_message() -> MapError {
    internal("there is no message yet; read it inside the function that the script exports")
}

/// What the prelude makes an error of, so that the error knows the line of the script.
fn fault<'js>(ctx: &Ctx<'js>, error: &MapError) -> Js<'js> {
    let object = Object::new(ctx.clone())?;
    object.set("fault", error.what.as_str())?;
    object.set("place", error.place.as_ref().map(|place| place.0.as_str()))?;
    let reason = serde_json::to_value(error.reason).unwrap_or_default();
    object.set("reason", reason.as_str())?;
    Ok(object.into_value())
}

fn answered<'js, T: IntoJs<'js>>(ctx: &Ctx<'js>, result: Result<T, MapError>) -> Js<'js> {
    match result {
        Ok(value) => value.into_js(ctx),
        Err(error) => fault(ctx, &error),
    }
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut Current) -> Result<T, MapError>) -> Result<T, MapError> {
        let mut current = self.current.try_borrow_mut().map_err(|_| no_message())?;
        work(current.as_mut().ok_or_else(no_message)?)
    }

    fn set_body(&self, body: Vec<u8>) -> Result<(), MapError> {
        self.with(|current| {
            if MAX_BODY < body.len() {
                return Err(internal("the message grows too long"));
            }
            current.is_changed |= current.body != body;
            current.body = body;
            Ok(())
        })
    }

    fn set(&self, path: String, what: &str, value: String) -> Result<(), MapError> {
        self.with(|current| {
            let op = match what {
                "assign" => SetOp::Assign(value),
                "clear" => SetOp::Clear,
                "copy" => SetOp::Copy(value),
                _ => SetOp::Remove,
            };
            current
                .format
                .check_path(&path)
                .map_err(|what| MapError::new(Reason::DataType, None, what))?;
            let ops = [(path, op)];
            if let Cow::Owned(body) = current.format.set(&current.body, &ops)? {
                if MAX_BODY < body.len() {
                    return Err(internal("the message grows too long"));
                }
                current.is_changed |= current.body != body;
                current.body = body;
            }
            Ok(())
        })
    }

    fn text(&self) -> Result<String, MapError> {
        self.with(|current| match std::str::from_utf8(&current.body) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(MapError::new(
                Reason::DataType,
                None,
                "the body is no UTF-8; read it by paths, or as bytes",
            )),
        })
    }

    fn lookup(&self, table: &str, system: String, code: String) -> Result<Option<Vec<String>>, MapError> {
        self.with(|current| {
            let Some(rows) = current.script.tables.get(table) else {
                let known: Vec<&str> = current.script.tables.keys().map(String::as_str).collect();
                return Err(internal(&format!(
                    "there is no table {table:?} for this script (there are: {}); name it in the step: tables = [\"{table}\"]",
                    known.join(", ")
                )));
            };
            let mut key = (system, code);
            let found = rows.get(&key).or_else(|| {
                key.0 = String::new();
                rows.get(&key)
            });
            Ok(found.map(|to| to.to_vec()))
        })
    }

    /// Takes the next number of a counter, or tells the last one that it gave.
    fn count(&self, name: &str, moves: bool) -> Result<Option<f64>, MapError> {
        self.with(|current| {
            if current.task != Task::Step {
                return Err(internal(
                    "a counter moves with the commit of a message: take the number in a step",
                ));
            }
            let Some(count) = current.counters.get_mut(name) else {
                let known: Vec<&str> = current.counters.keys().map(String::as_str).collect();
                return Err(internal(&state::missing("counter", name, &known)));
            };
            if moves {
                let next = count.next().ok_or_else(|| {
                    internal(&format!(
                        "the counter {name:?} is at its end; say in the channel file at which number it begins again: last"
                    ))
                })?;
                count.given = Some(next);
                current.counted.insert(name.to_owned(), next);
            }
            Ok(count.given.map(|given| given as f64))
        })
    }

    fn cached(&self, cache: String, key: String) -> Result<Option<String>, MapError> {
        let wants = self.with(|current| {
            is_cache(current, &cache, &key)?;
            let own = current.cached.iter().rev();
            let own = own.clone().find(|write| write.cache == cache && write.key == key);
            Ok(match own {
                Some(write) => Err(write.value.clone()),
                None => Ok(current.wants.clone()),
            })
        })?;
        match wants {
            Err(own) => Ok(own),
            Ok(wants) => match wants.want(Want::Cached { cache, key }, &[]) {
                Ok((Given::Cached { value }, _)) => Ok(value),
                Ok(_) => Ok(None),
                Err(what) => Err(internal(&what)),
            },
        }
    }

    /// Whether the channel grants to call there.
    fn is_granted(&self, name: &str) -> Result<(), MapError> {
        self.with(|current| {
            if current.granted.iter().any(|granted| granted == name) {
                return Ok(());
            }
            let known: Vec<&str> = current.granted.iter().map(String::as_str).collect();
            Err(internal(&state::missing("http", name, &known)))
        })
    }

    /// Calls a far side.
    fn call(&self, request: CallRequest, body: &[u8]) -> Result<Called, MapError> {
        self.is_granted(&request.to)?;
        let (wants, number) = self.with(|current| {
            let number = current.calls;
            current.calls += 1;
            Ok((current.wants.clone(), number))
        })?;
        match wants.want(Want::Call { number, request }, body) {
            Ok((Given::Called { answer: Ok(answer) }, body)) => self.with(|current| {
                current.answers.push(body);
                let number = current.answers.len() - 1;
                Ok(Called::Answered { answer, number })
            }),
            Ok((Given::Called { answer: Err(error) }, _)) => Ok(Called::Lost(error)),
            Ok(_) => Err(internal("the engine answers something else")),
            Err(what) => Err(internal(&what)),
        }
    }

    /// Asks a destination; none: nothing was found.
    fn ask(&self, destination: String, question: &str) -> Result<Option<String>, MapError> {
        let wants = self.with(|current| {
            if current.asks.contains(&destination) {
                return Ok(current.wants.clone());
            }
            let known: Vec<&str> = current.asks.iter().map(String::as_str).collect();
            Err(internal(&state::missing("ask", &destination, &known)))
        })?;
        match wants.want(Want::Ask { destination }, question.as_bytes()) {
            Ok((Given::Heard { found: Ok(true) }, body)) => {
                Ok(Some(String::from_utf8_lossy(&body).into_owned()))
            }
            Ok((Given::Heard { found: Ok(false) }, _)) => Ok(None),
            Ok((Given::Heard { found: Err(why) }, _)) | Err(why) => Err(internal(&why)),
            Ok(_) => Err(internal("the engine answers something else")),
        }
    }

    fn answer(&self, number: usize) -> Result<Vec<u8>, MapError> {
        self.with(|current| {
            let answer = current.answers.get(number).cloned();
            answer.ok_or_else(|| internal("there is no such answer"))
        })
    }

    /// One message that a script as a source has fetched.
    fn polled(&self, identity: String, content_type: Option<String>, body: Vec<u8>) -> Result<(), MapError> {
        self.with(|current| {
            if POLLED <= current.polled.len() {
                return Err(internal(&format!(
                    "too many messages at once; {POLLED} are the most. Say with the cursor where to go on"
                )));
            }
            let bytes: usize = current.polled.iter().map(|message| message.body.len()).sum();
            if MAX_BODY < bytes + body.len() {
                return Err(internal(
                    "the messages are too long together; 256 MB are the most",
                ));
            }
            current.polled.push(PolledMessage {
                identity,
                content_type,
                body: body.into(),
            });
            Ok(())
        })
    }

    fn set_cursor(&self, text: String) -> Result<(), MapError> {
        self.with(|current| {
            if CURSOR < text.len() {
                let what = format!("the cursor is too long; {CURSOR} letters are the most");
                return Err(internal(&what));
            }
            current.cursor = Some(text);
            Ok(())
        })
    }

    fn set_verdict(&self, json: &str) -> Result<(), MapError> {
        self.with(|current| {
            let verdict = serde_json::from_str(json).map_err(|_| internal("that is no verdict"))?;
            current.verdict = Some(verdict);
            Ok(())
        })
    }

    fn set_cached(&self, cache: String, key: String, value: Option<String>) -> Result<(), MapError> {
        self.with(|current| {
            is_cache(current, &cache, &key)?;
            if value.as_ref().is_some_and(|value| CACHE_VALUE < value.len()) {
                let most = engine::channel::size::show(CACHE_VALUE as u64);
                return Err(internal(&format!(
                    "a value of a cache is too long; {most} are the most"
                )));
            }
            current
                .cached
                .retain(|write| write.cache != cache || write.key != key);
            if CACHE_WRITES <= current.cached.len() {
                return Err(internal(&format!(
                    "too much is written to caches for one message; {CACHE_WRITES} keys are the most"
                )));
            }
            current.cached.push(CacheWrite { cache, key, value });
            Ok(())
        })
    }

    fn set_changes(&self, json: String) -> Result<(), MapError> {
        self.with(|current| {
            if current.changes.is_none() {
                return Err(internal(
                    "there is no change set here; put a decode before the script",
                ));
            }
            if !current.may_change {
                return Err(internal(
                    "the change set is written to the clinic already; change it before the apply",
                ));
            }
            if let Err(error) = serde_json::from_str::<ChangeSet>(&json) {
                return Err(MapError::new(
                    Reason::DataType,
                    None,
                    format!(
                        "context.changes is no change set any more: {}",
                        without_values(&error)
                    ),
                ));
            }
            current.new_changes = Some(json);
            Ok(())
        })
    }

    fn log(&self, line: &str) {
        let mut console = self.console.borrow_mut();
        let bytes = self.console_bytes.get() + line.len();
        if console.len() < CONSOLE_LINES && bytes <= CONSOLE_BYTES {
            console.push(line.to_owned());
            self.console_bytes.set(bytes);
        } else if console.last().is_some_and(|last| last != "…") {
            console.push("…".to_owned());
        }
    }
}

fn is_cache(current: &Current, cache: &str, key: &str) -> Result<(), MapError> {
    if !current.caches.iter().any(|known| known == cache) {
        let known: Vec<&str> = current.caches.iter().map(String::as_str).collect();
        return Err(internal(&state::missing("cache", cache, &known)));
    }
    if CACHE_KEY < key.len() {
        let what = format!("a key of a cache is too long; {CACHE_KEY} letters are the most");
        return Err(internal(&what));
    }
    Ok(())
}

/// Names of keys tell what is wrong; a value may tell of a patient.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let is_of_keys = [
        "unknown field",
        "missing field",
        "unknown variant",
        "duplicate field",
    ]
    .iter()
    .any(|start| text.starts_with(start));
    if is_of_keys {
        text.split(" at line ").next().unwrap_or_default().to_owned()
    } else {
        "a value is not of its type (schemas/change-set.schema.json)".to_owned()
    }
}

/// The functions that the prelude is given.
pub fn functions<'js>(ctx: &Ctx<'js>, shared: &Host) -> rquickjs::Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    macro_rules! function {
        ($name:literal, |$host:ident, $ctx:ident $(, $argument:ident: $type:ty)*| $body:expr) => {{
            let $host = shared.clone();
            let function = Function::new(ctx.clone(), move |$ctx: Ctx<'js> $(, $argument: $type)*| -> Js<'js> { $body })?;
            object.set($name, function)?;
        }};
    }
    function!("format", |host, ctx| answered(
        &ctx,
        host.with(|current| Ok(current.format.name()))
    ));
    function!("channel", |host, ctx| answered(
        &ctx,
        host.with(|current| Ok(current.channel.clone()))
    ));
    function!("message", |host, ctx| answered(
        &ctx,
        host.with(|current| Ok(current.message.to_string()))
    ));
    function!("now", |host, ctx| answered(
        &ctx,
        host.with(|current| Ok(milliseconds(current.message)))
    ));
    function!("seed", |host, ctx| answered(
        &ctx,
        host.with(|current| Ok(current.message.as_u128() as i32))
    ));
    function!("values", |host, ctx, path: String| {
        let values = host.with(|current| current.format.values(&current.body, &path));
        match values {
            Ok(values) => {
                let array = Array::new(ctx.clone())?;
                for (idx, value) in values.into_iter().enumerate() {
                    array.set(idx, value)?;
                }
                Ok(array.into_value())
            }
            Err(error) => fault(&ctx, &error),
        }
    });
    function!("set", |host, ctx, path: String, what: String, value: String| {
        answered(&ctx, host.set(path, &what, value))
    });
    function!("text", |host, ctx| answered(&ctx, host.text()));
    function!("setText", |host, ctx, text: String| answered(
        &ctx,
        host.set_body(text.into_bytes())
    ));
    function!("bytes", |host, ctx| {
        match host.with(|current| Ok(current.body.clone())) {
            Ok(body) => Ok(TypedArray::<u8>::new(ctx, body)?.into_value()),
            Err(error) => fault(&ctx, &error),
        }
    });
    // Bytes come as a text of letters below 256: reading a buffer of the runtime in place would need unsafe code.
    function!("setBytes", |host, ctx, bytes: String| {
        answered(&ctx, host.set_body(latin(&bytes)))
    });
    function!("tree", |host, ctx| {
        let tree = host.with(|current| current.format.tree(&current.body));
        answered(&ctx, tree.map(|tree| tree.to_string()))
    });
    function!("setTree", |host, ctx, json: String| {
        let body = host.with(|current| {
            let tree = serde_json::from_str(&json).map_err(|_| internal("the tree is no JSON"))?;
            current.format.with_tree(&current.body, &tree)
        });
        answered(&ctx, body.and_then(|body| host.set_body(body)))
    });
    function!("lookup", |host,
                         ctx,
                         table: String,
                         system: String,
                         code: String| {
        match host.lookup(&table, system, code) {
            Ok(Some(found)) => found.into_js(&ctx),
            Ok(None) => Ok(Value::new_null(ctx)),
            Err(error) => fault(&ctx, &error),
        }
    });
    function!("changes", |host, ctx| {
        match host.with(|current| Ok(current.changes.clone())) {
            Ok(Some(json)) => json.into_js(&ctx),
            Ok(None) => Ok(Value::new_undefined(ctx)),
            Err(error) => fault(&ctx, &error),
        }
    });
    function!("sent", |host, ctx| {
        match host.with(|current| Ok(current.sent.clone())) {
            Ok(Some(text)) => text.into_js(&ctx),
            Ok(None) => Ok(Value::new_undefined(ctx)),
            Err(error) => fault(&ctx, &error),
        }
    });
    function!("setChanges", |host, ctx, json: String| answered(
        &ctx,
        host.set_changes(json)
    ));
    function!("count", |host, ctx, name: String, moves: bool| answered(
        &ctx,
        host.count(&name, moves)
    ));
    function!("cached", |host, ctx, cache: String, key: String| answered(
        &ctx,
        host.cached(cache, key)
    ));
    function!("setCached", |host,
                            ctx,
                            cache: String,
                            key: String,
                            value: Option<String>| {
        answered(&ctx, host.set_cached(cache, key, value))
    });
    function!("ask", |host, ctx, destination: String, question: String| {
        match host.ask(destination, &question) {
            Ok(Some(found)) => found.into_js(&ctx),
            Ok(None) => Ok(Value::new_undefined(ctx)),
            Err(error) => fault(&ctx, &error),
        }
    });
    function!("granted", |host, ctx, name: String| answered(
        &ctx,
        host.is_granted(&name)
    ));
    function!("call", |host, ctx, request: String, body: String| {
        let request = serde_json::from_str(&request);
        let request = request.map_err(|_| internal("that can't be asked of a far side"));
        match request.and_then(|request| host.call(request, &latin(&body))) {
            Err(error) => fault(&ctx, &error),
            Ok(called) => told(&ctx, called),
        }
    });
    function!("answerText", |host, ctx, number: usize| {
        let text = host.answer(number).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| internal("the answer is no UTF-8; read it as bytes"))
        });
        answered(&ctx, text)
    });
    function!("answerBytes", |host, ctx, number: usize| {
        match host.answer(number) {
            Ok(bytes) => Ok(TypedArray::<u8>::new(ctx, bytes)?.into_value()),
            Err(error) => fault(&ctx, &error),
        }
    });
    function!("task", |host, ctx| answered(
        &ctx,
        host.with(|current| Ok(serde_json::to_string(&current.task).unwrap_or_default()))
    ));
    function!("verdict", |host, ctx, json: String| answered(
        &ctx,
        host.set_verdict(&json)
    ));
    function!("polled", |host,
                         ctx,
                         identity: String,
                         kind: Option<String>,
                         text: String,
                         is_latin: bool| {
        let body = if is_latin { latin(&text) } else { text.into_bytes() };
        answered(&ctx, host.polled(identity, kind, body))
    });
    function!("cursor", |host, ctx, text: String| answered(
        &ctx,
        host.set_cursor(text)
    ));
    function!("log", |host, ctx, line: String| {
        host.log(&line);
        Ok(Value::new_undefined(ctx))
    });
    Ok(object)
}

/// What the prelude makes an answer of.
fn told<'js>(ctx: &Ctx<'js>, called: Called) -> Js<'js> {
    let object = Object::new(ctx.clone())?;
    match called {
        Called::Answered { answer, number } => {
            object.set("status", answer.status)?;
            object.set("number", number)?;
            let headers = serde_json::to_string(&answer.headers).unwrap_or_default();
            object.set("headers", headers)?;
        }
        Called::Lost(error) => {
            object.set("why", error.why)?;
            object.set("isSent", error.is_sent)?;
        }
    }
    Ok(object.into_value())
}

/// The bytes of a text of letters below 256.
fn latin(text: &str) -> Vec<u8> {
    text.chars()
        .map(|letter| (u32::from(letter) & 0xFF) as u8)
        .collect()
}

/// The time in a UUIDv7.
fn milliseconds(id: Uuid) -> f64 {
    let (seconds, nanos) = id.get_timestamp().map_or((0, 0), |stamp| stamp.to_unix());
    (seconds * 1000 + u64::from(nanos / 1_000_000)) as f64
}
