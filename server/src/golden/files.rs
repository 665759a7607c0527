//! The files of a golden test, in a form that people can read and compare.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clinic::exchange::Response;

use super::Files;

/// The most bytes of one file of a test.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// The one file `in.…`, as bytes of the wire.
pub(super) fn read_input(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let found: Vec<PathBuf> = names(folder)?
        .into_iter()
        .filter(|name| name.starts_with("in."))
        .map(|name| folder.join(name))
        .collect();
    match found.as_slice() {
        [one] => read_wire(one),
        [] => bail!("{}: there is no sample; put it there as in.hl7", folder.display()),
        _ => bail!("{}: there is more than one file in.…", folder.display()),
    }
}

/// The files `before-1.hl7`, `before-2.reception-adt.hl7` …, in the order of their names: the channel that each goes
/// through, if it is another one, and the bytes of the wire.
pub(super) fn read_before(folder: &Path) -> anyhow::Result<Vec<(Option<String>, Vec<u8>)>> {
    names(folder)?
        .into_iter()
        .filter(|name| name.starts_with("before"))
        .map(|name| {
            let parts: Vec<&str> = name.split('.').collect();
            let channel = match parts.as_slice() {
                [_, channel, _] => Some((*channel).to_owned()),
                _ => None,
            };
            Ok((channel, read_wire(&folder.join(&name))?))
        })
        .collect()
}

/// The files `answer.registry.json` …: what a destination answers, by its name.
pub(super) fn read_answers(folder: &Path) -> anyhow::Result<BTreeMap<String, Response>> {
    let mut answers = BTreeMap::new();
    for name in names(folder)? {
        let Some((destination, _)) = name
            .strip_prefix("answer.")
            .and_then(|rest| rest.rsplit_once('.'))
        else {
            continue;
        };
        let response = Response {
            body: read_wire(&folder.join(&name))?,
            ..Response::default()
        };
        answers.insert(destination.to_owned(), response);
    }
    Ok(answers)
}

/// The files `response.lis.hl7` …: what destinations answer to what they get, by their names, as bytes of the wire.
pub(super) fn read_responses(folder: &Path) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut responses = vec![];
    for name in names(folder)? {
        if let ["response", destination, _] = name.split('.').collect::<Vec<_>>().as_slice() {
            responses.push(((*destination).to_owned(), read_wire(&folder.join(&name))?));
        }
    }
    Ok(responses)
}

/// Writes down what a destination has answered. Returns the name of the file.
pub(super) fn write_answer(
    folder: &Path,
    destination: &str,
    format: &str,
    body: &[u8],
) -> anyhow::Result<String> {
    let (ending, text) = readable(format, body);
    let name = format!("answer.{destination}.{ending}");
    let path = folder.join(&name);
    std::fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))?;
    Ok(name)
}

/// All files that say what is expected.
pub(super) fn read_expected(folder: &Path) -> anyhow::Result<Files> {
    let is_expected = |name: &String| {
        ["state.", "changes.", "asked.", "out.", "reply.", "responded."]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    names(folder)?
        .into_iter()
        .filter(is_expected)
        .map(|name| {
            let bytes = read(&folder.join(&name))?;
            Ok((name, bytes))
        })
        .collect()
}

/// Writes what came, and takes away what did not come any more. Returns what was changed.
pub(super) fn bless(folder: &Path, expected: &Files, came: &Files) -> anyhow::Result<Vec<String>> {
    let mut changed = vec![];
    for (name, bytes) in came {
        if expected.get(name) != Some(bytes) {
            let path = folder.join(name);
            std::fs::write(&path, bytes).with_context(|| format!("{} can't be written", path.display()))?;
            changed.push(name.clone());
        }
    }
    for name in expected.keys().filter(|name| !came.contains_key(*name)) {
        let path = folder.join(name);
        std::fs::remove_file(&path).with_context(|| format!("{} can't be removed", path.display()))?;
        changed.push(format!("{name} (removed)"));
    }
    Ok(changed)
}

/// Bytes of the wire as a file: one line for each segment or JSON value, a line end at the end. The ending of its name
/// comes with it.
pub fn readable(format: &str, bytes: &[u8]) -> (&'static str, Vec<u8>) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return ("bin", bytes.to_vec());
    };
    let (ending, text) = match format {
        "hl7v2" => ("hl7", text.replace("\r\n", "\r").replace('\r', "\n")),
        _ if text.trim_start().starts_with(['{', '[']) => ("json", indented(text)),
        _ if text.trim_start().starts_with('<') => ("xml", text.to_owned()),
        _ => ("txt", text.to_owned()),
    };
    (ending, format!("{}\n", text.trim_end_matches('\n')).into_bytes())
}

/// JSON on lines of its own, each value as it was written: digits of numbers are part of what is tested.
fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut letters = json.chars().peekable();
    let mut is_string = false;
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(letter) = letters.next() {
        if is_string {
            out.push(letter);
            match letter {
                '\\' => out.extend(letters.next()),
                '"' => is_string = false,
                _ => {}
            }
            continue;
        }
        match letter {
            '"' => {
                is_string = true;
                out.push(letter);
            }
            '{' | '[' => {
                while letters.next_if(|next| next.is_whitespace()).is_some() {}
                out.push(letter);
                match letters.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(letter);
            }
            ',' => {
                out.push(letter);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            blank if blank.is_whitespace() => {}
            other => out.push(other),
        }
    }
    out
}

/// A sample as it is on the wire: HL7 has carriage returns, whatever an editor made of them.
fn read_wire(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = read(path)?;
    if path.extension().is_some_and(|ending| ending == "hl7") && !bytes.contains(&b'\r') {
        return Ok(bytes
            .iter()
            .map(|byte| if *byte == b'\n' { b'\r' } else { *byte })
            .collect());
    }
    Ok(bytes)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let told = || format!("{} can't be read", path.display());
    if MAX_FILE < std::fs::metadata(path).with_context(told)?.len() {
        bail!("{} is larger than {MAX_FILE} bytes", path.display());
    }
    std::fs::read(path).with_context(told)
}

fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = vec![];
    let entries = std::fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.path().is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_put_on_lines_and_keeps_its_digits() {
        let json = r#"{"a":[1.50,{}, [] ],"b":"x,{\"y\":1}","c":null}"#;
        let lines = "{\n  \"a\": [\n    1.50,\n    {},\n    []\n  ],\n  \"b\": \"x,{\\\"y\\\":1}\",\n  \"c\": null\n}";
        assert_eq!(indented(json), lines);
        assert_eq!(indented(lines), lines, "once more changes nothing");
    }
}
