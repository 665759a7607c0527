//! What a script sees and what becomes of what it does, in this process and against a small format.
//!
//! What it is to run away, and to be killed for it, is tested over the built program (`tests/tests/e2e/scripts.rs`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clinic::exchange::{Judgement, Keys, MapError, Reason, Response, Stamp, Verdict};
use clinic::{Applied, ChangeSet};
use engine::call::{CallAnswer, CallError};
use engine::format::{Format, Replies, SetOp, Settings};
use engine::script::{CacheWrite, Count, PolledMessage, Task, Verdict as Became};
use uuid::Uuid;

use crate::machine::{Done, Machine, Unfit};
use crate::message::{Current, Ready, Wants};
use crate::wire::{Given, Unit, Want};

/// A format whose messages are lines `PATH=value`. Its name is that of JSON where a test is about plain objects.
struct Lines(&'static str);

impl Lines {
    fn lines(message: &[u8]) -> Vec<(String, String)> {
        let text = String::from_utf8_lossy(message);
        let lines = text.lines().filter_map(|line| line.split_once('='));
        lines
            .map(|(path, value)| (path.to_owned(), value.to_owned()))
            .collect()
    }
}

/// An engine that has one value in its cache.
struct Memory;

impl Wants for Memory {
    fn want(&self, want: Want, body: &[u8]) -> Result<(Given, Vec<u8>), String> {
        match want {
            Want::Cached { key, .. } => {
                let value = (key == "old").then(|| "{\"n\":1}".to_owned());
                Ok((Given::Cached { value }, vec![]))
            }
            Want::Ask { destination } => {
                let found = match body {
                    b"nobody" => Ok(false),
                    b"away" => Err("does not answer".to_owned()),
                    _ => Ok(true),
                };
                let told = format!("{destination} knows {}", String::from_utf8_lossy(body));
                Ok((Given::Heard { found }, told.into_bytes()))
            }
            // Tells what it was asked.
            Want::Call { number, request } => {
                let answer = match request.path.as_str() {
                    "gone" => Err(CallError::not_sent("nobody is there")),
                    "lost" => Err(CallError {
                        why: "no answer".into(),
                        is_sent: true,
                    }),
                    _ => Ok(CallAnswer {
                        status: 201,
                        headers: vec![("content-type".into(), "application/json".into())],
                        body: Bytes::new(),
                    }),
                };
                let told = serde_json::json!({
                    "number": number,
                    "method": request.method,
                    "path": request.path,
                    "headers": request.headers,
                    "body": String::from_utf8_lossy(body),
                });
                Ok((Given::Called { answer }, told.to_string().into_bytes()))
            }
        }
    }
}

fn refused(what: &str) -> MapError {
    MapError::new(Reason::UnsupportedType, None, what)
}

impl Format for Lines {
    fn name(&self) -> &'static str {
        self.0
    }
    fn content_type(&self) -> &'static str {
        "text/plain"
    }
    fn keys(&self, _: &[u8]) -> Keys {
        Keys::default()
    }
    fn inspect(&self, message: &[u8]) -> Result<(), MapError> {
        match self.0 {
            "lines" if !message.contains(&b'=') => Err(refused("there is no line in it")),
            _ => Ok(()),
        }
    }
    fn decode(&self, _: &[u8], _: &Settings) -> Result<ChangeSet, MapError> {
        Err(refused("not read"))
    }
    fn encode(&self, _: &ChangeSet, _: &Applied, _: &Settings, _: &Stamp) -> Result<Vec<u8>, MapError> {
        Err(refused("not written"))
    }
    fn replies(&self, _: &[u8], _: Verdict<'_>, _: &Stamp) -> Replies {
        Replies::default()
    }
    fn is_answer_to(&self, _: &[u8], _: &[u8]) -> bool {
        true
    }
    fn judge(&self, _: &[u8], _: &Response) -> Judgement {
        Judgement::Accepted
    }
    fn values(&self, message: &[u8], path: &str) -> Result<Vec<String>, MapError> {
        if path == "bad" {
            return Err(MapError::new(Reason::DataType, Some("bad"), "no path"));
        }
        let lines = Lines::lines(message).into_iter().filter(|(at, _)| at == path);
        Ok(lines.map(|(_, value)| value).collect())
    }
    fn check_path(&self, path: &str) -> Result<(), String> {
        if path == "bad" {
            Err("no path".into())
        } else {
            Ok(())
        }
    }
    fn set<'a>(&self, message: &'a [u8], ops: &[(String, SetOp)]) -> Result<Cow<'a, [u8]>, MapError> {
        let mut lines = Lines::lines(message);
        for (path, op) in ops {
            let value = match op {
                SetOp::Assign(text) | SetOp::Literal(text) => Some(text.clone()),
                SetOp::Clear => Some(String::new()),
                SetOp::Copy(from) => lines
                    .iter()
                    .find(|(at, _)| at == from)
                    .map(|(_, value)| value.clone()),
                SetOp::Remove => None,
            };
            lines.retain(|(at, _)| at != path);
            lines.extend(value.map(|value| (path.clone(), value)));
        }
        let lines: Vec<String> = lines
            .iter()
            .map(|(path, value)| format!("{path}={value}\n"))
            .collect();
        Ok(Cow::Owned(lines.concat().into_bytes()))
    }
    fn tree(&self, message: &[u8]) -> Result<serde_json::Value, MapError> {
        let lines = Lines::lines(message).into_iter();
        Ok(lines
            .map(|(path, value)| serde_json::json!([path, value]))
            .collect())
    }
    fn with_tree(&self, _: &[u8], tree: &serde_json::Value) -> Result<Vec<u8>, MapError> {
        let lines = tree.as_array().ok_or_else(|| refused("no list"))?;
        let line = |line: &serde_json::Value| {
            format!(
                "{}={}\n",
                line[0].as_str().unwrap_or("?"),
                line[1].as_str().unwrap_or("?")
            )
        };
        Ok(lines.iter().map(line).collect::<String>().into_bytes())
    }
}

fn unit(source: &str, modules: &[(&str, &str)]) -> Unit {
    let entry = ("fix.js", source);
    let modules = modules.iter().chain([&entry]);
    Unit {
        entry: "fix.js".into(),
        modules: modules
            .map(|(name, source)| ((*name).to_owned(), (*source).to_owned()))
            .collect(),
        tables: BTreeMap::from([(
            "wards.csv".to_owned(),
            vec![
                ["LIS", "1", "http://wards", "W1", "Ward one"].map(str::to_owned),
                ["", "2", "", "W2", ""].map(str::to_owned),
            ],
        )]),
        memory: 16 << 20,
    }
}

const MESSAGE: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

fn current(format: &'static str, unit: Unit, body: &str, changes: Option<&str>) -> Current {
    Current {
        script: Rc::new(Ready::new(Arc::new(unit))),
        channel: "lab".into(),
        message: MESSAGE,
        format: Arc::new(Lines(format)),
        body: body.into(),
        is_changed: false,
        changes: changes.map(str::to_owned),
        sent: None,
        may_change: true,
        new_changes: None,
        counters: BTreeMap::from([(
            "lab".to_owned(),
            Count {
                given: Some(7),
                first: 1,
                last: Some(9),
            },
        )]),
        counted: BTreeMap::new(),
        caches: vec!["seen".into()],
        cached: vec![],
        granted: vec!["far".into()],
        asks: vec!["mpi".into()],
        task: Task::Step,
        verdict: None,
        polled: vec![],
        cursor: None,
        calls: 0,
        answers: vec![],
        wants: Rc::new(Memory),
    }
}

fn run_all(format: &'static str, unit: Unit, body: &str, changes: Option<&str>) -> Result<Done, String> {
    let current = current(format, unit, body, changes);
    let until = Instant::now() + Duration::from_secs(20);
    let machine = Machine::new().expect("a runtime");
    machine.run(current, until).map_err(|failed| {
        let place = failed.error.and_then(|error| error.place);
        let place = place.map_or(String::new(), |place| format!("{place}: "));
        format!("{place}{}", failed.fault)
    })
}

/// What becomes of `a=1 / b=2` by the body of a function, as text: `-` where the message ends there.
fn ran(body: &str) -> Result<String, String> {
    let source = format!("export default function (message, context) {{\n{body}\n}}\n");
    let done = run_all("lines", unit(&source, &[]), "a=1\nb=2\nb=3\n", None)?;
    let text = String::from_utf8_lossy(&done.current.body)
        .trim()
        .replace('\n', " ");
    Ok(if done.kept { text } else { "-".into() })
}

#[track_caller]
fn gives(body: &str, expected: &str) {
    assert_eq!(ran(body).as_deref(), Ok(expected), "{body}");
}

/// What is told, with the line and without the column.
#[track_caller]
fn fails(body: &str, expected: &str) {
    let told = ran(body).expect_err(body);
    let told = match told.split_once("fix.js:") {
        Some((before, rest)) => {
            let mut parts = rest.splitn(2, ':');
            let line = parts.next().unwrap_or_default();
            let (column, what) = parts
                .next()
                .and_then(|rest| rest.split_once(' '))
                .expect("a place");
            assert!(column.parse::<usize>().is_ok_and(|column| 1 <= column), "{told}");
            format!("{before}fix.js:{line} {what}")
        }
        None => told,
    };
    assert_eq!(told, expected, "{body}");
}

#[test]
fn a_message_is_read_and_changed_by_paths() {
    gives("", "a=1 b=2 b=3");
    gives("return true;", "a=1 b=2 b=3");
    gives("return message;", "a=1 b=2 b=3");
    gives("return false;", "-");
    gives("message.set('a', message.get('b') + 5);", "b=2 b=3 a=25");
    gives("message.set('a', 5).set('c', true);", "b=2 b=3 a=5 c=true");
    gives("message.clear('b');", "a=1 b=");
    gives("message.remove('b');", "a=1");
    gives("message.copy('c', 'a');", "a=1 b=2 b=3 c=1");
    gives(
        "message.set('c', message.all('b').join('+'));",
        "a=1 b=2 b=3 c=2+3",
    );
    gives(
        "message.set('c', `${message.get('x')}|${message.has('x')}|${message.has('a')}`);",
        "a=1 b=2 b=3 c=|false|true",
    );
    gives("return 'x=y';", "x=y");
    gives("return new Uint8Array([120, 61, 200]);", "x=\u{fffd}");
    gives(
        "message.text = message.text.replace('1', 'one');",
        "a=one b=2 b=3",
    );
    gives("message.set('n', message.bytes.length);", "a=1 b=2 b=3 n=12");
    gives(
        "for (const b of message.segments('b')) message.set(b.path, b.name + b.number);",
        "a=1 b=2 b=3 b[1]=b1 b[2]=b2",
    );
}

#[test]
fn a_tree_that_is_changed_changes_the_message() {
    gives(
        "message.tree[0][1] = 'x'; message.tree.push(['c', 'd']);",
        "a=x b=2 b=3 c=d",
    );
    gives("const t = message.tree; t.reverse();", "b=3 b=2 a=1");
    gives(
        "message.tree.pop(); message.set('c', message.all('b').length);",
        "a=1 b=2 c=1",
    );
    gives("message.tree = [['z', 'y']];", "z=y");
    // What was read before something else wrote is not silently lost: it can't be written to any more.
    fails(
        "const t = message.tree;\nmessage.set('c', 1);\nt[0][1] = 'lost';",
        "fix.js:4 TypeError: '1' is read-only",
    );
    fails(
        "message.tree = undefined;",
        "fix.js:2 TypeError: the tree of a message can't be undefined",
    );
}

#[test]
fn json_is_plain_objects() {
    let run = |body: &str| {
        let source = format!("export default (message) => {{\n{body}\n}};\n");
        let done = run_all("json", unit(&source, &[]), "{\"a\": 1.50, \"b\": [1, 2]}", None).expect(body);
        String::from_utf8(done.current.body).expect("text")
    };
    // What is only read stays as it came, to the last zero.
    assert_eq!(run("message.json.a;"), "{\"a\": 1.50, \"b\": [1, 2]}");
    assert_eq!(run("message.json.b.push(3);"), "{\"a\":1.5,\"b\":[1,2,3]}");
    assert_eq!(run("return { c: message.json.b.length };"), "{\"c\":2}");
    assert_eq!(run("message.json = [1];"), "[1]");
}

#[test]
fn rubbish_is_not_a_message() {
    for (returned, told) in [
        ("null", "null"),
        ("42", "a number"),
        ("[1]", "a list"),
        ("() => 1", "a function"),
        ("({})", "an object"),
        ("Symbol()", "a symbol"),
        ("new Date()", "an object"),
    ] {
        let error = ran(&format!("return {returned};")).expect_err(returned);
        assert!(
            error.contains(&format!("the script returned {told};")),
            "{returned}: {error}"
        );
    }
    fails(
        "message.set('a', null);",
        "fix.js:2 TypeError: a value is a text or a number, and not null; see clear and remove",
    );
    fails(
        "message.set('a', {});",
        "fix.js:2 TypeError: a value is a text or a number, and not an object; see clear and remove",
    );
    fails(
        "message.get(3);",
        "fix.js:2 TypeError: a path is a text, as in \"PID-3.1\", and not a number",
    );
}

#[test]
fn errors_have_their_line_and_the_place_in_the_message() {
    fails("\n  throw new Error('no ward');", "fix.js:3 no ward");
    fails(
        "undefinedName();",
        "fix.js:2 ReferenceError: undefinedName is not defined",
    );
    fails("message.get('bad');", "bad: fix.js:2 no path");
    fails(
        "context.fail('14 digits where there are 13', 'PID-3.1');",
        "PID-3.1: fix.js:2 14 digits where there are 13",
    );
    fails("throw 'a text';", "threw \"a text\"");
    fails("throw {};", "threw object");
    fails(
        "return new Promise(() => {});",
        "waits for something that never comes; there is nothing to wait for in a script",
    );
    fails(
        "const f = () => f() + f();\nf();",
        "fix.js:2 RangeError: Maximum call stack size exceeded",
    );
}

#[test]
fn limits_hold_between_instructions_too() {
    let memory =
        ran("const all = []; for (;;) all.push('x'.repeat(1000) + all.length);").expect_err("memory");
    assert!(
        memory.contains("takes more memory than its limit, 16 MB"),
        "{memory}"
    );
    let source = "export default function () {\n  for (;;) {}\n}\n";
    let current = current("lines", unit(source, &[]), "", None);
    let until = Instant::now() + Duration::from_millis(50);
    let late = Machine::new().expect("a runtime").run(current, until);
    let failed = late.err().expect("late");
    let fault = failed.fault.to_string();
    // Its sender is told to send it again, and not that something is wrong with the message.
    let reason = failed.error.map(|error| error.reason);
    assert_eq!(reason, Some(clinic::exchange::Reason::Internal));
    assert!(
        fault.starts_with("fix.js:") && fault.ends_with("takes longer than its limit"),
        "{fault}"
    );
}

#[test]
fn async_functions_are_taken_too() {
    let source = "export default async function (message) { message.set('c', await 4); }";
    let done = run_all("lines", unit(source, &[]), "a=1\n", None).expect("done");
    assert_eq!(done.current.body, b"a=1\nc=4\n");
}

#[test]
fn the_clock_and_chance_are_the_messages_own() {
    let body = "message.set('t', [Date.now() === +new Date(), new Date().toISOString(), new Date(0).getTime(), Math.random(), new Date() instanceof Date, typeof Date(), typeof performance].join());";
    let first = ran(body).expect("ran");
    assert_eq!(ran(body).as_deref(), Ok(first.as_str()));
    assert!(first.contains("true,2024-06-10T02:35:18.400Z,0,"), "{first}");
    assert!(first.ends_with(",true,string,undefined"), "{first}");
}

#[test]
fn nothing_else_is_there() {
    gives(
        "message.set('n', ['require', 'process', 'fetch', 'std', 'os', 'setTimeout', 'Worker', 'print', 'scriptArgs'].filter((name) => globalThis[name] !== undefined).length);",
        "a=1 b=2 b=3 n=0",
    );
    let error = ran("return import('fs').then(() => 'x=y');").expect_err("no such module");
    assert!(error.contains("\"fs\" is no module here"), "{error}");
}

#[test]
fn nothing_is_kept_for_the_next_message() {
    let body = "globalThis.count = (globalThis.count ?? 0) + 1; Array.prototype.x = 1; message.set('n', globalThis.count);";
    gives(body, "a=1 b=2 b=3 n=1");
    gives(body, "a=1 b=2 b=3 n=1");
}

#[test]
fn tables_are_looked_into() {
    gives(
        "message.set('w', JSON.stringify(context.lookup('wards.csv', 'LIS', '1')));",
        "a=1 b=2 b=3 w={\"system\":\"http://wards\",\"code\":\"W1\",\"display\":\"Ward one\"}",
    );
    gives(
        "message.set('w', context.lookup('wards.csv', 'LIS', 2).code);",
        "a=1 b=2 b=3 w=W2",
    );
    gives(
        "message.set('w', context.lookup('wards.csv', '2').code);",
        "a=1 b=2 b=3 w=W2",
    );
    gives(
        "message.set('w', String(context.lookup('wards.csv', 'X', '1')));",
        "a=1 b=2 b=3 w=undefined",
    );
    let error = ran("context.lookup('beds.csv', '1');").expect_err("no table");
    assert!(
        error.contains("there is no table \"beds.csv\" for this script (there are: wards.csv)"),
        "{error}"
    );
}

#[test]
fn counters_are_counted_and_caches_looked_into() {
    let run = |body: &str| {
        let source = format!("export default (message, context) => {{\n{body}\n}};\n");
        run_all("lines", unit(&source, &[]), "a=1\n", None)
    };
    let text = |done: &Done| String::from_utf8_lossy(&done.current.body).into_owned();
    let done = run("const c = context.counter('lab'); message.set('n', [c.value, c.next(), c.next(), c.next(), context.counter('lab').value].join());").expect("ran");
    assert_eq!(text(&done), "a=1\nn=7,8,9,1,1\n");
    assert_eq!(done.current.counted, BTreeMap::from([("lab".to_owned(), 1)]));
    // What is only looked at does not move.
    let done = run("message.set('n', context.counter('lab').value);").expect("ran");
    assert_eq!(done.current.counted, BTreeMap::new());

    let done = run("const c = context.cache('seen'); message.set('n', [c.get('old').n, c.get('new'), c.has('new'), c.set('new', [2]).get('new')[0], c.delete('old').get('old')].join('|'));").expect("ran");
    assert_eq!(text(&done), "a=1\nn=1||false|2|\n");
    let write = |key: &str, value: Option<&str>| CacheWrite {
        cache: "seen".into(),
        key: key.into(),
        value: value.map(str::to_owned),
    };
    assert_eq!(
        done.current.cached,
        [write("new", Some("[2]")), write("old", None)]
    );

    for (body, told) in [
        (
            "const n = 'l' + 'ad';\ncontext.counter(n).next();",
            "the channel has no counter \"lad\" (there are: lab); write [counter.lad] in its file",
        ),
        (
            "const n = 'se' + 'en2';\ncontext.cache(n).get('x');",
            "the channel has no cache \"seen2\" (there are: seen); write [cache.seen2] with its life in its file",
        ),
        (
            "\ncontext.cache('seen').set('x', 'y'.repeat(70000));",
            "a value of a cache is too long; 64 KB are the most",
        ),
        (
            "\ncontext.cache('seen').set('x'.repeat(300), 1);",
            "a key of a cache is too long; 256 letters are the most",
        ),
        (
            "\ncontext.cache('seen').set('x', () => 1);",
            "TypeError: a cache keeps plain values, and not a function",
        ),
        (
            "\nfor (let n = 0; n < 1001; n++) context.cache('seen').set(n, n);",
            "too much is written to caches for one message; 1000 keys are the most",
        ),
    ] {
        let error = run(body).err().unwrap_or_default();
        assert!(
            error.starts_with("fix.js:3:") && error.ends_with(told),
            "{body}: {error}"
        );
    }
}

/// What a function comes to, run for a task.
fn run_for(task: Task, body: &str) -> Result<Done, String> {
    let source = format!("export default function (message, context) {{\n{body}\n}}\n");
    let current = Current {
        task,
        ..current("lines", unit(&source, &[]), "a=1\n", None)
    };
    let until = Instant::now() + Duration::from_secs(20);
    let machine = Machine::new().expect("a runtime");
    machine
        .run(current, until)
        .map_err(|failed| failed.fault.to_string())
}

#[test]
fn a_far_side_is_called_only_where_it_is_granted() {
    let asked = |call: &str| -> serde_json::Value {
        let body = format!("const far = context.http('far');\nreturn {call}.text;");
        let done = run_for(Task::Step, &body).expect(call);
        serde_json::from_slice(&done.current.body).expect("JSON")
    };
    let told = asked("far.get('a?b=1', { headers: { Accept: 'x/y' } })");
    assert_eq!(
        told,
        serde_json::json!({ "number": 0, "method": "GET", "path": "a?b=1", "headers": [["Accept", "x/y"]], "body": "" })
    );
    let told = asked("far.post('a', { ș: '€ ' + String.fromCharCode(0xd800) })");
    assert_eq!(
        told["headers"],
        serde_json::json!([["content-type", "application/json"]])
    );
    assert_eq!(told["body"], "{\"ș\":\"€ \\ud800\"}");
    let told = asked("far.put('a', 'ș', { headers: { 'Content-Type': 'x/y' } })");
    assert_eq!(told["headers"], serde_json::json!([["Content-Type", "x/y"]]));
    assert_eq!(told["body"], "ș");
    let told = asked("(far.get('a'), far.delete('b'))");
    assert_eq!((&told["number"], &told["method"]), (&1.into(), &"DELETE".into()));
    gives(
        "const a = context.http('far').get('x'); message.set('n', [a.status, a.ok, a.headers['content-type'], a.json.path, a.bytes.length].join());",
        "a=1 b=2 b=3 n=201,true,application/json,x,61",
    );
    gives(
        "try { context.http('far').get('lost'); } catch (e) { message.set('n', [e.name, e.sent, e.message].join()); }",
        "a=1 b=2 b=3 n=NoAnswer,true,far: no answer",
    );
    fails(
        "\ncontext.http('far').get('gone');",
        "fix.js:3 NoAnswer: far: nobody is there",
    );
    fails(
        "\ncontext.http('ne' + 'ar');",
        "fix.js:3 the channel has no grant to call \"near\" (there are: far); write [http.near] with its base in its file",
    );
    fails(
        "\ncontext.http('far').post('a', () => 1);",
        "fix.js:3 TypeError: a body is a text, bytes or plain values, and not a function",
    );
}

#[test]
fn a_destination_is_asked_only_where_that_is_granted() {
    gives(
        "message.set('n', [context.ask('mpi', 'Patient/7'), context.ask('mpi', 'nobody')].join('|'));",
        "a=1 b=2 b=3 n=mpi knows Patient/7|",
    );
    fails("\ncontext.ask('mpi', 'away');", "fix.js:3 does not answer");
    fails(
        "\ncontext.ask('m' + 'pj', 'x');",
        "fix.js:3 the channel has no grant to ask \"mpj\" (there are: mpi); write [ask.mpj] in its file",
    );
}

#[test]
fn a_destination_says_what_became_of_its_delivery() {
    let said = |body: &str| {
        let done = run_for(
            Task::Deliver {
                delivery: "7".to_owned(),
            },
            body,
        )?;
        Ok::<_, String>(done.current.verdict)
    };
    for (body, verdict) in [
        ("return { accepted: true };", Became::Accepted { reference: None }),
        (
            "return { accepted: 'A-' + context.delivery };",
            Became::Accepted {
                reference: Some("A-7".into()),
            },
        ),
        (
            "return { refused: 'no such ward' };",
            Became::Refused {
                why: "no such ward".into(),
            },
        ),
        (
            "return { retry: 'busy', after: '5m' };",
            Became::Retry {
                why: "busy".into(),
                after: Some(Duration::from_secs(300)),
            },
        ),
        (
            "return { unsure: 'cut off' };",
            Became::Unsure {
                why: "cut off".into(),
            },
        ),
    ] {
        assert_eq!(said(body), Ok(Some(verdict)), "{body}");
    }
    for body in [
        "",
        "return true;",
        "return 'accepted';",
        "return { accepted: false };",
        "return { accepted: true, refused: 'x' };",
        "return { refused: true };",
        "return { retry: '' };",
        "return { retry: 'x', after: 'soon' };",
        "return [];",
        "throw new Error('x');",
    ] {
        assert!(said(body).is_err(), "{body}");
    }
    let counts = said("context.counter('lab').next();").expect_err("no step");
    assert!(counts.ends_with("take the number in a step"), "{counts}");
}

#[test]
fn a_source_says_what_it_has_fetched() {
    let task = || Task::Poll {
        cursor: Some("7".into()),
    };
    let fetched = |body: &str| {
        let done = run_for(task(), body)?;
        Ok::<_, String>((done.current.polled, done.current.cursor))
    };
    let message = |identity: &str, content_type: Option<&str>, body: &[u8]| PolledMessage {
        identity: identity.into(),
        content_type: content_type.map(str::to_owned),
        body: Bytes::copy_from_slice(body),
    };
    assert_eq!(fetched(""), Ok((vec![], None)));
    assert_eq!(
        fetched(
            "return { cursor: context.cursor + 1, messages: [{ id: 1, body: 'ș' }, { id: 'b', body: new Uint8Array([200, 0]), type: 'x/y' }, { id: 'c', body: { d: 1 } }] };"
        ),
        Ok((
            vec![
                message("1", None, "ș".as_bytes()),
                message("b", Some("x/y"), &[200, 0]),
                message("c", Some("application/json"), b"{\"d\":1}"),
            ],
            Some("71".into())
        ))
    );
    assert_eq!(
        fetched("return [{ id: 'a', body: 'x' }];"),
        Ok((vec![message("a", None, b"x")], None))
    );
    for body in [
        "return 'x';",
        "return 7;",
        "return ['x'];",
        "return [{ body: 'x' }];",
        "return [{ id: '', body: 'x' }];",
        "return [{ id: 'a' }];",
        "return { messages: 'x' };",
        "return { cursor: {} };",
        "return { cursor: 'x'.repeat(20000) };",
        "return Array.from({ length: 10001 }, (_, id) => ({ id, body: '' }));",
    ] {
        assert!(fetched(body).is_err(), "{body}");
    }
}

#[test]
fn the_change_set_is_changed_only_into_another() {
    let run = |body: &str, changes: Option<&str>| {
        let source = format!("export default (message, context) => {{\n{body}\n}};\n");
        run_all("lines", unit(&source, &[]), "a=1\n", changes).map(|done| done.current.new_changes)
    };
    let set = Some("{\"about\":{\"control_id\":\"7\",\"sender\":{},\"receiver\":{}}}");
    assert_eq!(run("context.changes.about;", set), Ok(None));
    let changed = run("context.changes.about.control_id += '8';", set).expect("changed");
    assert!(changed.is_some_and(|json| json.contains("\"control_id\":\"78\"")));
    assert_eq!(run("if (context.changes !== undefined) throw 1;", None), Ok(None));
    let error = run("context.changes.patient = 'Ana Pop';", set).expect_err("no such key");
    assert!(
        error.contains("context.changes is no change set any more: unknown field `patient`"),
        "{error}"
    );
    // A value may tell of a patient: an error never does.
    let error = run("context.changes.about.acts = 'Ana Pop';", set).expect_err("no list");
    assert!(
        error.contains("a value is not of its type") && !error.contains("Ana"),
        "{error}"
    );
    let error = run("context.changes = { about: {} };", None).expect_err("no decode");
    assert!(error.contains("put a decode before the script"), "{error}");
}

#[test]
fn modules_are_imported_and_missing_ones_told() {
    let lib = (
        "lib/double.js",
        "import { two } from '../two.js';\nexport const double = (n) => n * two;\n",
    );
    let two = ("two.js", "export const two = 2;\n");
    let source = "import { double } from './lib/double.js';\nexport default (message) => { message.set('a', double(21)); };\n";
    let done = run_all("lines", unit(source, &[lib, two]), "a=1\n", None).expect("done");
    assert_eq!(done.current.body, b"a=42\n");

    let until = || Instant::now() + Duration::from_secs(20);
    let check = |unit: Unit| Machine::new().expect("a runtime").check(unit, until());
    assert!(check(unit(source, &[lib, two])).is_ok());
    let Err(Unfit::Missing(missing)) = check(unit(source, &[lib])) else {
        panic!("a module is missing")
    };
    assert_eq!(
        missing,
        ("lib/double.js".into(), "../two.js".into(), Ok("two.js".into()))
    );
    let Err(Unfit::Missing((_, _, path))) = check(unit("import '../up.js';", &[])) else {
        panic!("it leads out")
    };
    assert!(path.is_err_and(|what| what.contains("leads out of the channels' folder")));
    for (source, told) in [
        (
            "export default function (message) {\n  let x = ;\n}",
            "fix.js:2:11 SyntaxError: unexpected token in expression: ';'",
        ),
        (
            "export const x = 1;",
            "there is no default function; write: export default function (message, context) { … }",
        ),
        (
            "export default 3;",
            "there is no default function; write: export default function (message, context) { … }",
        ),
        (
            "missing();\nexport default () => {};",
            "fix.js:1:1 ReferenceError: missing is not defined",
        ),
        (
            "import { three } from './two.js';\nexport default () => {};",
            "SyntaxError: Could not find export 'three' in module 'two.js'",
        ),
    ] {
        let Err(Unfit::Wrong(fault)) = check(unit(source, &[two])) else {
            panic!("{source}")
        };
        assert_eq!(fault.to_string(), told, "{source}");
    }
}

#[test]
fn the_console_is_kept_within_limits() {
    let source = "export default () => {\n console.log('a', 1, { b: 2 }); for (let i = 0; i < 1000; i++) console.log(i); console.error('x'.repeat(1e6)); };";
    let done = run_all("lines", unit(source, &[]), "a=1\n", None).expect("done");
    assert_eq!(done.console[0], "a 1 {\"b\":2}");
    assert_eq!(done.console.len(), 201);
}

#[test]
fn what_a_script_wrote_before_it_failed_is_kept() {
    for end in ["throw new Error('no')", "for (;;) {}"] {
        let source = format!("export default () => {{\n console.log('so far'); {end} }};");
        let current = current("lines", unit(&source, &[]), "a=1\n", None);
        let until = Instant::now() + Duration::from_millis(300);
        let failed = Machine::new().expect("a runtime").run(current, until);
        let console = failed.err().map(|failed| failed.console);
        assert_eq!(console, Some(vec!["so far".to_owned()]), "{end}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(60))]

    /// Any text as a script is answered, right or wrong.
    #[test]
    fn any_script_is_answered(source in "[ -~\n]{0,60}") {
        let _ = Machine::new().expect("a runtime").check(unit(&source, &[]), Instant::now() + Duration::from_millis(200));
    }

    /// Any path, any value.
    #[test]
    fn what_is_set_is_read_again(value in "[ -~]{0,20}") {
        let value = serde_json::Value::from(value).to_string();
        let body = format!("message.set('v', {value}); if (message.get('v') !== {value}) throw new Error('other');");
        proptest::prop_assert!(ran(&body).is_ok());
    }
}
