//! Reports that come late change nothing that is known, and are told.

use clinic::{ChangeSet, Kind};
use serde_json::{Value, json};

use crate::made::read;
use crate::people::*;

/// A report with one measurement: its state, when it was issued, what was measured, and its amount.
fn report(status: &str, issued: Option<&str>, code: &str, amount: &str) -> ChangeSet {
    let mut report = json!({
        "patient": { "local": "p" },
        "status": status,
        "observations": { "merge": [{ "local": "o" }] },
    });
    if let Some(issued) = issued {
        report["issued"] = json!(issued);
    }
    read(&json!({ "changes": [
        { "key": "p", "say": { "Patient": { "identifiers": { "merge": [{ "system": "T", "value": "1" }] } } } },
        { "key": "r", "find": { "natural": { "owner": { "local": "p" }, "key": "report" } }, "say": { "Result": report } },
        {
            "key": "o",
            "find": { "natural": { "owner": { "local": "r" }, "key": code } },
            "say": { "Observation": { "patient": { "local": "p" }, "status": status, "value": { "text": amount } } },
        },
    ] }))
}

fn shown(play: &Play, kind: Kind) -> Vec<Value> {
    let all = play.clinic.all(kind).into_iter();
    all.map(|record| serde_json::to_value(&record.aggregate).expect("JSON")[kind.as_str()].clone())
        .collect()
}

#[test]
fn a_late_report_takes_nothing_back() {
    let (early, noon, late) = (
        Some("2026-05-12T08:00:00+03:00"),
        Some("2026-05-12T12:00:00+03:00"),
        Some("2026-05-12T16:00:00+03:00"),
    );
    let cases = [
        // What is known, what comes, and whether it is taken.
        (("final", noon), ("preliminary", early), false),
        (("corrected", noon), ("final", early), false),
        (("final", noon), ("final", early), false),
        (("final", None), ("preliminary", None), false),
        (("final", noon), ("preliminary", noon), false),
        (("preliminary", noon), ("final", late), true),
        (("final", noon), ("corrected", noon), true),
        (("final", noon), ("corrected", early), true),
        (("final", noon), ("preliminary", late), true),
        (("unknown", None), ("preliminary", None), true),
        (("final", Some("2026-05-12")), ("final", early), true),
    ];
    for (known, comes, is_taken) in cases {
        let mut play = Play::new();
        play.takes(&report(known.0, known.1, "GLU", "first"));
        let applied = play.takes(&report(comes.0, comes.1, "GLU", "second"));
        let case = format!("{known:?} {comes:?}");
        let observation = &shown(&play, Kind::Observation)[0];
        let result = &shown(&play, Kind::Result)[0];
        let (status, value) = if is_taken {
            (comes.0, "second")
        } else {
            (known.0, "first")
        };
        assert_eq!(observation["value"]["text"], value, "{case}");
        assert_eq!(observation["status"], status, "{case}");
        assert_eq!(result["status"], status, "{case}");
        assert_eq!(applied.kept.len(), if is_taken { 0 } else { 2 }, "{case}");
    }
}

#[test]
fn what_only_the_late_report_knows_is_taken() {
    let mut play = Play::new();
    play.takes(&report("final", Some("2026-05-12T12:00:00+03:00"), "GLU", "5"));
    let applied = play.takes(&report(
        "preliminary",
        Some("2026-05-12T08:00:00+03:00"),
        "NA",
        "140",
    ));
    assert_eq!(shown(&play, Kind::Observation).len(), 2);
    let result = &shown(&play, Kind::Result)[0];
    assert_eq!(result["status"], "final");
    assert_eq!(result["observations"].as_array().map(Vec::len), Some(2));
    assert_eq!(applied.kept.len(), 1, "of the report alone");
}
