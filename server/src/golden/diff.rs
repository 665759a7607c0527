//! Two texts, line by line; of HL7 lines, which field.

/// Above so many lines on a side they are compared place by place: finding the shortest difference takes the product.
const MOST: usize = 4_000;
/// Lines that are the same and stand beside one that is not.
const CONTEXT: usize = 1;

/// What is there and not in the other: lines beginning with `-` (first), `+` (second), a blank (both), `…` (left out).
pub fn lines(first: &[u8], second: &[u8]) -> Vec<String> {
    let (Ok(first_text), Ok(second_text)) = (std::str::from_utf8(first), std::str::from_utf8(second)) else {
        let same = first.iter().zip(second).take_while(|(a, b)| a == b).count();
        return vec![format!(
            "  no text; {} and {} bytes, they differ from byte {same} on",
            first.len(),
            second.len()
        )];
    };
    let first: Vec<&str> = first_text.lines().collect();
    let second: Vec<&str> = second_text.lines().collect();
    if first == second {
        return vec!["  only in the line ends".to_owned()];
    }
    shown(&edits(&first, &second))
}

/// Which fields of two HL7 segments differ: `PID-8: "F" became "M"`.
pub fn fields(before: &str, after: &str) -> Vec<String> {
    let name = |line: &str| line.get(..3).unwrap_or_default().to_owned();
    let segment = name(before);
    let is_segment = segment.len() == 3
        && segment
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    if !is_segment || segment != name(after) {
        return vec![];
    }
    let separator = before.chars().nth(3).unwrap_or('|');
    let offset = usize::from(segment == "MSH");
    let (before, after): (Vec<&str>, Vec<&str>) = (
        before.split(separator).collect(),
        after.split(separator).collect(),
    );
    (1..before.len().max(after.len()))
        .filter_map(|place| {
            let old = before.get(place).copied().unwrap_or_default();
            let new = after.get(place).copied().unwrap_or_default();
            (old != new).then(|| format!("{segment}-{}: {old:?} became {new:?}", place + offset))
        })
        .collect()
}

/// One line of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit<'t> {
    Same(&'t str),
    Gone(&'t str),
    New(&'t str),
}

/// By the longest common subsequence.
fn edits<'t>(first: &[&'t str], second: &[&'t str]) -> Vec<Edit<'t>> {
    let start = first.iter().zip(second).take_while(|(a, b)| a == b).count();
    let rest = (first.len() - start).min(second.len() - start);
    let end = first
        .iter()
        .rev()
        .zip(second.iter().rev())
        .take(rest)
        .take_while(|(a, b)| a == b)
        .count();
    let (a, b) = (
        &first[start..first.len() - end],
        &second[start..second.len() - end],
    );
    let mut out: Vec<Edit<'t>> = first[..start].iter().map(|line| Edit::Same(line)).collect();
    if MOST < a.len() || MOST < b.len() {
        out.extend(a.iter().map(|line| Edit::Gone(line)));
        out.extend(b.iter().map(|line| Edit::New(line)));
    } else {
        between(a, b, &mut out);
    }
    out.extend(first[first.len() - end..].iter().map(|line| Edit::Same(line)));
    out
}

fn between<'t>(a: &[&'t str], b: &[&'t str], out: &mut Vec<Edit<'t>>) {
    // How long the common part of the rests is, for each pair of places.
    let width = b.len() + 1;
    let mut common = vec![0_u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i * width + j] = if a[i] == b[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            out.push(Edit::Same(a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && common[i * width + j + 1] <= common[(i + 1) * width + j]) {
            out.push(Edit::Gone(a[i]));
            i += 1;
        } else {
            out.push(Edit::New(b[j]));
            j += 1;
        }
    }
}

fn shown(edits: &[Edit<'_>]) -> Vec<String> {
    let is_near = |place: usize| {
        let from = place.saturating_sub(CONTEXT);
        let to = (place + CONTEXT + 1).min(edits.len());
        edits[from..to].iter().any(|edit| !matches!(edit, Edit::Same(_)))
    };
    let mut out = vec![];
    let mut is_left_out = false;
    for (place, edit) in edits.iter().enumerate() {
        match edit {
            Edit::Same(_) if !is_near(place) => {
                if !std::mem::replace(&mut is_left_out, true) {
                    out.push("  …".to_owned());
                }
                continue;
            }
            Edit::Same(line) => out.push(format!("  {line}")),
            Edit::Gone(line) => out.push(format!("- {line}")),
            Edit::New(line) => out.push(format!("+ {line}")),
        }
        is_left_out = false;
        if let (Edit::New(new), Some(Edit::Gone(old))) = (edit, place.checked_sub(1).map(|at| edits[at])) {
            out.extend(fields(old, new).into_iter().map(|field| format!("    {field}")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_changed_is_named() {
        let first = b"MSH|^~\\&|A\nPID|1||7||Pop^Ana|||F\nOBX|1\nOBX|2\n";
        let second = b"MSH|^~\\&|A\nPID|1||7||Pop^Ana|||M\nOBX|1\nOBX|2\nOBX|3\n";
        assert_eq!(
            lines(first, second),
            [
                "  MSH|^~\\&|A",
                "- PID|1||7||Pop^Ana|||F",
                "+ PID|1||7||Pop^Ana|||M",
                "    PID-8: \"F\" became \"M\"",
                "  OBX|1",
                "  OBX|2",
                "+ OBX|3",
            ]
        );
        assert_eq!(
            fields("MSH|^~\\&|A", "MSH|^~\\&|B"),
            ["MSH-3: \"A\" became \"B\""]
        );
    }

    #[test]
    fn what_is_far_from_a_difference_is_left_out() {
        let first: String = (0..20).map(|n| format!("{n}\n")).collect();
        let second = first.replace("10\n", "");
        assert_eq!(
            lines(first.as_bytes(), second.as_bytes()),
            ["  …", "  9", "- 10", "  11", "  …"]
        );
        assert_eq!(lines(b"a\n", b"a"), ["  only in the line ends"]);
        assert!(lines(&[0xff], &[0xfe])[0].contains("differ from byte 0"));
    }
}
