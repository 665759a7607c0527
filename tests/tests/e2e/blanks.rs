//! Nothing is dropped in silence: each non-empty field of each sample is blanked in turn, and the bundle, the list of
//! losses or the refusal must change.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use e2e::program::Home;

use crate::python::samples;

/// Fields that repeat another one of the same message: blanked together with their twin.
const TWINS: &[(&str, &str)] = &[
    ("ORC-2", "OBR-2"),
    ("ORC-3", "OBR-3"),
    ("ORC-7", "OBR-27"),
    ("ORC-8", "OBR-29"),
    ("ORC-12", "OBR-16"),
    ("ORC-14", "OBR-17"),
    ("ORC-33", "OBR-53"),
    // A service stands as its appointment does.
    ("SCH-25", "AIS-10"),
    // A45 names the visit that moves in both.
    ("PV1-19", "MRG-5"),
    // Each step of a procedure names it.
    ("IPC-1", "IPC-1"),
    ("IPC-2", "IPC-2"),
    ("IPC-3", "IPC-3"),
];

/// Fields that only steer: without them the message is another one, or is read in another way.
const STEERING: &[&str] = &["MSH-1", "MSH-2"];

/// One blanked message: which field, and its bytes.
struct Variant {
    place: String,
    text: Vec<u8>,
}

/// What came of one message: the bundle, with ids and the time of the run made alike, or the refusal; and the losses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Came {
    bundle: String,
    said: Vec<String>,
}

#[test]
fn each_field_that_is_blanked_changes_something() -> Result<()> {
    let home = Home::with(&[])?;
    let mut silent = vec![];
    let mut blanked = 0;
    for file in samples() {
        let original = std::fs::read(&file)?;
        let variants = variants(&original);
        blanked += variants.len();
        let came = convert_all(&home, &original, &variants)?;
        let (first, rest) = came.split_first().expect("the original comes first");
        for (variant, came) in variants.iter().zip(rest) {
            if came == first {
                silent.push(format!(
                    "{}: {}",
                    file.file_name().unwrap_or_default().display(),
                    variant.place
                ));
            }
        }
    }
    assert!(500 <= blanked, "only {blanked} fields were blanked");
    assert!(
        silent.is_empty(),
        "{} of {blanked} fields can go without a trace:\n{}",
        silent.len(),
        silent.join("\n")
    );
    Ok(())
}

/// The message with each non-empty field blanked in turn, twins together.
fn variants(original: &[u8]) -> Vec<Variant> {
    let separator = original.get(3).copied().unwrap_or(b'|');
    let lines: Vec<&[u8]> = original.split(|byte| *byte == b'\r').collect();
    let mut out = vec![];
    for (line_idx, line) in lines.iter().enumerate() {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == separator).collect();
        let name = String::from_utf8_lossy(fields[0]).trim().to_owned();
        for (field_idx, value) in fields.iter().enumerate().skip(1) {
            let number = if name == "MSH" { field_idx + 1 } else { field_idx };
            let place = format!("{name}-{number}");
            if value.is_empty() || STEERING.contains(&place.as_str()) {
                continue;
            }
            let mut blanked = vec![(line_idx, field_idx)];
            for (one, other) in TWINS {
                let twin = if place == *one {
                    *other
                } else if place == *other {
                    *one
                } else {
                    continue;
                };
                blanked.extend(twin_in_group(&lines, separator, line_idx, twin));
            }
            let changed: Vec<Vec<u8>> = lines
                .iter()
                .enumerate()
                .map(|(idx, line)| {
                    let mut fields: Vec<&[u8]> = line.split(|byte| *byte == separator).collect();
                    for (_, field) in blanked.iter().filter(|(at, _)| *at == idx) {
                        if let Some(slot) = fields.get_mut(*field) {
                            *slot = b"";
                        }
                    }
                    fields.join(&separator)
                })
                .collect();
            out.push(Variant {
                place: format!("{place} (line {})", line_idx + 1),
                text: changed.join(&b'\r'),
            });
        }
    }
    out
}

/// Where the twin of a field of this line stands: the next or the last segment of that name in the same order.
fn twin_in_group(lines: &[&[u8]], separator: u8, line_idx: usize, twin: &str) -> Option<(usize, usize)> {
    let (name, number) = twin.split_once('-')?;
    let is = |idx: usize, name: &str| {
        lines
            .get(idx)
            .is_some_and(|line| line.split(|byte| *byte == separator).next() == Some(name.as_bytes()))
    };
    let of_the_order = |idx: &usize| !is(*idx, if name == "OBR" { "ORC" } else { "OBR" });
    let found = match name {
        "OBR" => (line_idx + 1..lines.len())
            .take_while(of_the_order)
            .find(|idx| is(*idx, name)),
        "ORC" => (0..line_idx)
            .rev()
            .take_while(of_the_order)
            .find(|idx| is(*idx, name)),
        _ => (0..lines.len())
            .filter(|idx| *idx != line_idx && is(*idx, name))
            .min_by_key(|idx| idx.abs_diff(line_idx)),
    };
    Some((found?, number.parse().ok()?))
}

/// All messages as one file through `punte convert --losses`; what came of each.
fn convert_all(home: &Home, original: &[u8], variants: &[Variant]) -> Result<Vec<Came>> {
    let mut file = vec![];
    let mut starts = vec![];
    let mut line = 1;
    for text in std::iter::once(original).chain(variants.iter().map(|variant| variant.text.as_slice())) {
        starts.push(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        file.extend_from_slice(text);
        file.push(b'\r');
        line += text.iter().filter(|byte| **byte == b'\r').count() + 1;
    }
    let path = home.path().join("variants.hl7");
    std::fs::write(&path, &file)?;
    let output = home.run(&["convert", "--losses", &path.display().to_string()])?;
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let mut said: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut refused: Vec<usize> = vec![];
    for text in err.lines() {
        let Some(rest) = text.strip_prefix(&format!("{}:", path.display())) else {
            continue;
        };
        let Some((number, what)) = rest.split_once(' ') else {
            continue;
        };
        let Ok(number) = number.trim_end_matches(':').parse::<usize>() else {
            continue;
        };
        let Some(idx) = starts.iter().rposition(|start| *start <= number) else {
            continue;
        };
        said.entry(idx).or_default().push(what.to_owned());
        // A loss quotes the value that was lost; a refusal does not.
        if !what.contains("  \"") {
            refused.push(idx);
        }
    }
    let mut bundles = out.lines().filter(|line| !line.is_empty());
    let mut came = vec![];
    for idx in 0..starts.len() {
        let bundle = if refused.contains(&idx) {
            String::new()
        } else {
            bundles.next().map(alike).unwrap_or_default()
        };
        came.push(Came {
            bundle,
            said: said.remove(&idx).unwrap_or_default(),
        });
    }
    assert!(
        bundles.next().is_none(),
        "more bundles than messages: {}",
        Path::new(&path).display()
    );
    Ok(came)
}

/// A bundle with its ids numbered in the order of appearance, and the moment of the run taken out.
fn alike(bundle: &str) -> String {
    let mut ids: Vec<String> = vec![];
    let mut out = String::with_capacity(bundle.len());
    let bytes = bundle.as_bytes();
    let mut idx = 0;
    while idx < bytes.len() {
        if let Some(id) = bundle.get(idx..idx + 36).filter(|text| is_uuid(text)) {
            let known = ids.iter().position(|known| known == id).unwrap_or_else(|| {
                ids.push(id.to_owned());
                ids.len() - 1
            });
            out.push_str(&format!("#{known}"));
            idx += 36;
            continue;
        }
        // 2026-11-26T13:07:18.123456Z: times of messages have at most four digits behind the second.
        if let Some(length) = moment_of_the_run(&bundle[idx..]) {
            out.push_str("NOW");
            idx += length;
            continue;
        }
        let Some(char) = bundle[idx..].chars().next() else {
            break;
        };
        out.push(char);
        idx += char.len_utf8();
    }
    out
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(idx, byte)| match idx {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

fn moment_of_the_run(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let shape = b"0000-00-00T00:00:00.";
    let fits = bytes.len() > shape.len()
        && shape.iter().zip(bytes).all(|(want, got)| {
            if *want == b'0' {
                got.is_ascii_digit()
            } else {
                want == got
            }
        });
    if !fits {
        return None;
    }
    let digits = bytes[shape.len()..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    (5 <= digits && bytes.get(shape.len() + digits) == Some(&b'Z')).then_some(shape.len() + digits + 1)
}
