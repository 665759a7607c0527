//! There and back: what a sample says is what the message written of it says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clinic::aggregate::Source;
use clinic::apply::{Context, Nobody, OnUnmatched};
use clinic::exchange::Stamp;
use clinic::{Applied, ChangeSet};
use serde_json::Value;
use uuid::Uuid;

use super::encode;
use crate::hl7v2::Message;
use crate::hl7v2::decode::{Profile, decode};

fn samples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/hl7v2");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "hl7"))
        .collect();
    files.sort();
    assert!(files.len() > 20);
    files
}

fn stamp() -> Stamp {
    Stamp {
        now: "2026-05-12T05:31:00Z".parse().unwrap(),
        id: Uuid::from_u128(0x0190_1234_5678_7abc_8def_0123_4567_89ab),
    }
}

fn apply_to(set: &ChangeSet, clinic: &dyn clinic::apply::Snapshot) -> Option<Applied> {
    let mut count = 0;
    let context = Context {
        source: Source::Actor {
            name: "test".to_owned(),
        },
        now: stamp().now,
        site: None,
        on_unmatched: OnUnmatched::Create,
        new_id: &mut || {
            count += 1;
            Uuid::from_u128(count)
        },
    };
    clinic::apply(set, clinic, context).ok()
}

/// The message that is written of a message.
fn again(set: &ChangeSet) -> Option<Result<Vec<u8>, clinic::exchange::MapError>> {
    let applied = apply_to(set, &Nobody)?;
    Some(encode(set, &applied, &Profile::default(), &stamp()))
}

/// What a change set says, each change once as text with what it refers to in place of the keys, sorted.
fn said(set: &ChangeSet) -> Vec<String> {
    let bodies: BTreeMap<String, Value> = set
        .changes
        .iter()
        .map(|change| (change.key.clone(), serde_json::to_value(&change.say).unwrap()))
        .collect();
    let mut all: Vec<String> = vec![];
    for change in &set.changes {
        let mut body = bodies[&change.key].clone();
        settle(&mut body, &bodies);
        let (kind, fields) = body.as_object().unwrap().iter().next().unwrap();
        let mut lines = String::new();
        flat(fields, "", &mut lines);
        let name = name_of(&bodies[&change.key]);
        all.extend(lines.lines().map(|line| format!("{kind} {name} {line}")));
    }
    all.sort();
    all.dedup();
    all
}

/// What something is called: its numbers, else its name or code.
fn name_of(body: &Value) -> String {
    let (kind, fields) = body.as_object().unwrap().iter().next().unwrap();
    let list = |name: &str| match &fields[name] {
        Value::Object(map) => map.get("merge").cloned().unwrap_or_default(),
        other => other.clone(),
    };
    let of = |value: &Value| match value {
        Value::Array(all) => all.first().cloned().unwrap_or_default(),
        other => other.clone(),
    };
    let number = of(&list("identifiers"))["value"].clone();
    let text = if number.is_string() {
        number
    } else {
        let name = of(&list("names"));
        let name = if name.is_null() { fields["name"].clone() } else { name["family"].clone() };
        if name.is_string() {
            name
        } else {
            fields["code"]["codings"][0]["code"].clone()
        }
    };
    format!("{kind}:{}", text.as_str().unwrap_or("?"))
}

/// Puts names in place of keys, and takes away what is allowed to differ.
fn settle(value: &mut Value, bodies: &BTreeMap<String, Value>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(key)) = map.get("local")
                && map.len() == 1
            {
                *value = Value::String(bodies.get(key).map(name_of).unwrap_or_default());
                return;
            }
            map.values_mut().for_each(|value| settle(value, bodies));
        }
        Value::Array(all) => all.iter_mut().for_each(|value| settle(value, bodies)),
        _ => {}
    }
}

fn flat(value: &Value, path: &str, out: &mut String) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            let path = match key.as_str() {
                "merge" => path.to_owned(),
                _ => format!("{path}.{key}"),
            };
            flat(value, &path, out);
        }),
        Value::Array(all) => all.iter().for_each(|value| flat(value, &format!("{path}[]"), out)),
        Value::Null if path.contains("[]") => {}
        Value::Null => out.push_str(&format!("{path} cleared\n")),
        Value::String(text) => out.push_str(&format!("{path} {text:?}\n")),
        other => out.push_str(&format!("{path} {other}\n")),
    }
}

#[test]
fn dump() {
    for path in samples() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let Ok(set) = decode(&std::fs::read(&path).unwrap(), &Profile::default()) else { println!("== {name}: refused by decode"); continue };
        let Some(again) = again(&set) else { println!("== {name}: not applied"); continue };
        let bytes = match again { Ok(bytes) => bytes, Err(error) => { println!("== {name}: {error}"); continue } };
        println!("== {name}\n{}", String::from_utf8_lossy(&bytes).replace('\r', "\n"));
        let message = Message::read(&bytes).unwrap();
        assert!(message.print().unwrap() == bytes && message.repairs().is_empty(), "{name}");
        let back = match decode(&bytes, &Profile::default()) { Ok(back) => back, Err(error) => { println!("!! {error}"); continue } };
        let (before, after) = (said(&set), said(&back));
        for line in &before { if !after.contains(line) { println!("- {line}"); } }
        for line in &after { if !before.contains(line) { println!("+ {line}"); } }
    }
}
