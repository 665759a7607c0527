//! One runtime for one message: nothing is kept for the next.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use clinic::exchange::{MapError, Place, Reason};
use engine::script::Task;
use rquickjs::context::EvalOptions;
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::promise::MaybePromise;
use rquickjs::{
    CatchResultExt, CaughtError, Context, Ctx, Function, Module, Object, Persistent, Runtime, Value,
};

use crate::message::{Current, Shared, functions};
use crate::modules::resolve;
use crate::wire::{Fault, Unit};

/// How deep a script's calls may go, in bytes of stack. The thread that runs it has more.
pub const STACK: usize = 1 << 20;

/// The longest text of an error that is kept, in letters.
const MAX_TEXT: usize = 500;

/// What is told of a script that takes too long.
pub const LATE: &str = "takes longer than its limit";

/// The name under which errors see the prelude.
const PRELUDE: &str = "punte:prelude";

/// A runtime with the prelude in it.
pub struct Machine {
    prelude: Persistent<Object<'static>>,
    context: Context,
    runtime: Runtime,
    shared: Rc<Shared>,
    clock: Rc<Clock>,
    modules: Rc<Modules>,
}

/// When a script has to end.
#[derive(Default)]
struct Clock {
    until: Cell<Option<Instant>>,
    is_over: Cell<bool>,
}

/// The modules that may be imported, and the one that was not there.
#[derive(Default)]
struct Modules {
    unit: RefCell<Option<Arc<Unit>>>,
    missing: RefCell<Option<Missing>>,
}

/// A module that is not there: who asks for it, how, and which path that is; or why there can be none.
pub type Missing = (String, String, Result<String, String>);

/// How a script ended badly.
pub struct Failed {
    /// Where and what.
    pub fault: Fault,
    /// What it has to do with the message.
    pub error: Option<Box<MapError>>,
    /// What it wrote to its console before.
    pub console: Vec<String>,
}

/// What a script is not.
pub enum Unfit {
    /// Whole: a module is missing.
    Missing(Missing),
    /// Right.
    Wrong(Fault),
}

struct Guide(Rc<Modules>);

impl Resolver for Guide {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<String> {
        let path = resolve(base, name);
        let unit = self.0.unit.borrow();
        let is_known = |path: &String| unit.as_ref().is_some_and(|unit| unit.modules.contains_key(path));
        match path {
            Ok(path) if is_known(&path) => Ok(path),
            path => {
                let what = match &path {
                    Ok(path) => format!("the module {path} is not there"),
                    Err(what) => what.clone(),
                };
                *self.0.missing.borrow_mut() = Some((base.to_owned(), name.to_owned(), path));
                Err(rquickjs::Exception::throw_reference(ctx, &what))
            }
        }
    }
}

impl Loader for Guide {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<Module<'js, Declared>> {
        let unit = self.0.unit.borrow().clone();
        let source = unit.as_ref().and_then(|unit| unit.modules.get(name));
        let source = source.ok_or_else(|| rquickjs::Error::new_loading(name))?;
        Module::declare(ctx.clone(), name, source.as_bytes())
    }
}

impl Machine {
    /// A fresh one. Errors say that the runtime itself can't be had.
    pub fn new() -> rquickjs::Result<Machine> {
        let runtime = Runtime::new()?;
        runtime.set_max_stack_size(STACK);
        let clock = Rc::new(Clock::default());
        let watched = clock.clone();
        runtime.set_interrupt_handler(Some(Box::new(move || {
            let is_over = watched.until.get().is_some_and(|until| until <= Instant::now());
            watched.is_over.set(is_over);
            is_over
        })));
        let modules = Rc::new(Modules::default());
        runtime.set_loader(Guide(modules.clone()), Guide(modules.clone()));
        let context = Context::full(&runtime)?;
        let shared = Rc::new(Shared::default());
        let prelude = context.with(|ctx| {
            let mut options = EvalOptions::default();
            options.filename = Some(PRELUDE.to_owned());
            let make: Function = ctx.eval_with_options(include_str!("prelude.js"), options)?;
            let prelude: Object = make.call((functions(&ctx, &shared)?,))?;
            Ok::<_, rquickjs::Error>(Persistent::save(&ctx, prelude))
        })?;
        Ok(Machine {
            prelude,
            context,
            runtime,
            shared,
            clock,
            modules,
        })
    }

    fn begin(&self, unit: &Arc<Unit>, until: Instant) {
        let memory = usize::try_from(unit.memory).unwrap_or(usize::MAX);
        self.runtime.set_memory_limit(memory);
        self.clock.until.set(Some(until));
        *self.modules.unit.borrow_mut() = Some(unit.clone());
    }

    /// Whether a script can be run: all modules are there, each can be read, and there is a default function.
    pub fn check(self, unit: Unit, until: Instant) -> Result<(), Unfit> {
        let unit = Arc::new(unit);
        self.begin(&unit, until);
        let checked = self.context.with(|ctx| {
            self.function(&ctx, &unit)
                .map(drop)
                .map_err(|error| self.failed(&error).fault)
        });
        match (self.modules.missing.take(), checked) {
            (Some(missing), _) => Err(Unfit::Missing(missing)),
            (None, checked) => checked.map_err(Unfit::Wrong),
        }
    }

    /// Runs a script on a message; false: the message ends here.
    pub fn run(self, current: Current, until: Instant) -> Result<Done, Failed> {
        let unit = current.script.unit.clone();
        self.begin(&unit, until);
        let finisher = match &current.task {
            Task::Step => "finish",
            Task::Deliver { .. } => "finishDelivery",
            Task::Poll { .. } => "finishPoll",
        };
        *self.shared.current.borrow_mut() = Some(current);
        let kept = self.context.with(|ctx| {
            let kept = self.function(&ctx, &unit).and_then(|function| {
                let prelude = self.prelude.clone().restore(&ctx).catch(&ctx)?;
                let call: Function = prelude.get("call").catch(&ctx)?;
                let finish: Function = prelude.get(finisher).catch(&ctx)?;
                let returned: MaybePromise = call.call((function,)).catch(&ctx)?;
                let returned = settled(&ctx, returned.finish())?;
                finish.call::<_, bool>((returned,)).catch(&ctx)
            });
            kept.map_err(|error| self.failed(&error))
        });
        let console = self.shared.console.take();
        let current = self.shared.current.take();
        match (kept, current) {
            (Ok(kept), Some(current)) => Ok(Done {
                kept,
                console,
                current,
            }),
            (Err(failed), _) => Err(Failed { console, ..failed }),
            (Ok(_), None) => Err(Failed {
                fault: Fault {
                    at: None,
                    what: "the message got lost".to_owned(),
                },
                error: None,
                console,
            }),
        }
    }

    /// The script's default function, once all its modules have been run.
    fn function<'js>(&self, ctx: &Ctx<'js>, unit: &Unit) -> Result<Function<'js>, CaughtError<'js>> {
        let source = unit.modules.get(&unit.entry).map_or("", String::as_str);
        let module = Module::declare(ctx.clone(), unit.entry.as_str(), source).catch(ctx)?;
        let (module, promise) = module.eval().catch(ctx)?;
        settled(ctx, promise.finish())?;
        let default: Option<Value> = module.get("default").ok();
        match default.and_then(Value::into_function) {
            Some(function) => Ok(function),
            None => Err(caught(
                ctx,
                "there is no default function; write: export default function (message, context) { … }",
            )),
        }
    }

    /// Where an error comes from, and what it says.
    fn failed(&self, error: &CaughtError<'_>) -> Failed {
        let memory = self.modules.unit.borrow().as_ref().map_or(0, |unit| unit.memory);
        let (mut what, stack, object) = match error {
            CaughtError::Error(error) => (error.to_string(), None, None),
            CaughtError::Exception(exception) => {
                let object = exception.as_object();
                let name: String = object.get("name").unwrap_or_default();
                let message = exception.message().unwrap_or_default();
                let what = match name.as_str() {
                    "Error" | "Failure" | "" => message,
                    name => format!("{name}: {message}"),
                };
                (what, exception.stack(), Some(object))
            }
            CaughtError::Value(value) => {
                let text = match value.as_string().and_then(|text| text.to_string().ok()) {
                    Some(text) => format!("threw {text:?}"),
                    None => format!("threw {}", value.type_name()),
                };
                (text, None, None)
            }
        };
        // Where no memory is left for an error, null is thrown.
        let is_null = matches!(error, CaughtError::Value(value) if value.is_null());
        if self.clock.is_over.get() {
            what = LATE.to_owned();
        } else if what.contains("out of memory") || (what.is_empty() && stack.is_none()) || is_null {
            what = format!(
                "takes more memory than its limit, {}",
                engine::channel::size::show(memory)
            );
            if is_null {
                what.push_str(", or throws null");
            }
        }
        let at = stack.as_deref().and_then(place_in);
        let place: Option<String> = object.and_then(|object| object.get("place").ok());
        let reason: Option<String> = object.and_then(|object| object.get("reason").ok());
        let reason = reason.and_then(|reason| serde_json::from_value(reason.into()).ok());
        let what: String = what.chars().take(MAX_TEXT).collect();
        // What was late may be in time when it is sent again (HL7: 207).
        let is_late = what == LATE;
        let usual = if is_late {
            Reason::Internal
        } else {
            Reason::DataType
        };
        Failed {
            error: Some(Box::new(MapError {
                reason: reason.unwrap_or(usual),
                place: place.map(Place),
                what: what.clone(),
            })),
            fault: Fault { at, what },
            console: vec![],
        }
    }
}

/// A script that ran to its end.
pub struct Done {
    /// False: the message ends here.
    pub kept: bool,
    /// What it wrote to its console.
    pub console: Vec<String>,
    /// The message, as it is now.
    pub current: Current,
}

fn caught<'js>(ctx: &Ctx<'js>, what: &str) -> CaughtError<'js> {
    CaughtError::from_error(ctx, rquickjs::Exception::throw_message(ctx, what))
}

/// What a promise comes to: a script may be async, though there is nothing here to wait for.
fn settled<'js>(
    ctx: &Ctx<'js>,
    finished: rquickjs::Result<Value<'js>>,
) -> Result<Value<'js>, CaughtError<'js>> {
    match finished {
        Ok(value) => Ok(value),
        Err(rquickjs::Error::WouldBlock) => Err(caught(
            ctx,
            "waits for something that never comes; there is nothing to wait for in a script",
        )),
        Err(error) => Err(CaughtError::from_error(ctx, error)),
    }
}

/// The first place of a stack that is in a script: `    at name (fix.js:3:9)`, or without a name `    at fix.js:3:9`.
fn place_in(stack: &str) -> Option<(String, usize, usize)> {
    stack.lines().find_map(|line| {
        let line = line.trim().strip_prefix("at ")?;
        let place = match (line.rfind('('), line.strip_suffix(')')) {
            (Some(open), Some(line)) => line.get(open + 1..)?,
            _ => line,
        };
        let mut parts = place.rsplitn(3, ':');
        let column = parts.next()?.parse().ok()?;
        let line = parts.next()?.parse().ok()?;
        let module = parts.next()?;
        (!module.starts_with("punte")).then(|| (module.to_owned(), line, column))
    })
}
