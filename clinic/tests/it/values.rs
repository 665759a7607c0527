//! Values keep what they came with.

use clinic::change_set::ChangeSet;
use clinic::patch::{Items, Patch};
use clinic::people::PatientChange;
use clinic::value::{Decimal, When};
use jiff::tz::TimeZone;

fn bucharest() -> TimeZone {
    TimeZone::get("Europe/Bucharest").expect("the zone is there")
}

#[test]
fn decimals_keep_their_digits() {
    for text in [
        "5.40",
        "0.10",
        "-0.5",
        "0",
        "0.00",
        "123456789012345678",
        "0.123456789012345678",
        "12345678901234567890123456789012345.6",
        "1e3",
    ] {
        let decimal: Decimal = text.parse().expect("a number");
        let json = serde_json::to_string(&decimal).expect("JSON");
        let back: Decimal = serde_json::from_str(&json).expect("read again");
        assert_eq!(back.as_str(), text);
    }
    for (text, right) in [("+3", "3"), (".5", "0.5"), ("7.", "7"), ("007.0", "7.0")] {
        assert_eq!(text.parse::<Decimal>().expect("a number").as_str(), right);
    }
    for text in ["", ".", "-", "1,5", "1.2.3", "0x1", "1e", "1e99999", "NaN", "١"] {
        assert!(text.parse::<Decimal>().is_err(), "{text}");
    }
}

#[test]
fn partial_dates_keep_their_precision() {
    let zone = bucharest();
    let span = |text: &str| {
        let when: When = text.parse().expect("a date");
        assert_eq!(when.as_str(), text);
        let (from, to) = (
            when.earliest(&zone).expect("from"),
            when.latest(&zone).expect("to"),
        );
        (to.duration_since(from)).as_hours()
    };
    assert_eq!(span("1980-05-12"), 24);
    assert_eq!(span("2026-02"), 28 * 24);
    assert_eq!(span("2024"), 366 * 24);
    // The two days on which the clocks change.
    assert_eq!(span("2026-03-29"), 23);
    assert_eq!(span("2026-10-25"), 25);
    assert_eq!(span("2026-05-05T08:30:00+03:00"), 0);
    for text in [
        "1980-13",
        "1980-02-30",
        "80",
        "1980-5",
        "2026-05-05T08:30",
        "2026-05-05T08:30:00",
        "19800512",
        "198é-05",
    ] {
        assert!(text.parse::<When>().is_err(), "{text}");
    }
}

#[test]
fn absent_clear_and_set_are_told_apart() {
    let cases = [
        ("{}", Patch::Absent, Items::Absent),
        (r#"{"religion":null,"names":null}"#, Patch::Clear, Items::Clear),
        (
            r#"{"mothers_maiden_name":"x","names":[]}"#,
            Patch::Absent,
            Items::Replace(vec![]),
        ),
        (
            r#"{"names":{"merge":[{"family":"Pop"}]}}"#,
            Patch::Absent,
            Items::Merge(vec![crate::people::named("Pop")]),
        ),
    ];
    for (json, religion, names) in cases {
        let said: PatientChange = serde_json::from_str(json).expect("a change");
        assert_eq!((&said.religion, &said.names), (&religion, &names), "{json}");
        let back: serde_json::Value = serde_json::to_value(&said).expect("JSON");
        assert_eq!(
            back,
            serde_json::from_str::<serde_json::Value>(json).expect("JSON"),
            "{json}"
        );
    }
    assert!(serde_json::from_str::<PatientChange>(r#"{"nmaes":[]}"#).is_err());
}

#[test]
fn a_change_set_survives_json() {
    let words = crate::people::laboratory_report(clinic::diagnostics::ResultStatus::Final, &["5.40"]);
    let json = serde_json::to_string(&words).expect("JSON");
    assert_eq!(
        serde_json::from_str::<ChangeSet>(&json).expect("read again"),
        words
    );
}

#[test]
fn nothing_personal_is_shown() {
    let words = crate::people::set(vec![crate::people::patient(
        "p",
        vec![crate::people::chart("4711")],
        "Popescu",
    )]);
    let shown = format!("{words:?}");
    assert!(!shown.contains("4711") && !shown.contains("Popescu"), "{shown}");
}

#[test]
fn moments_are_shifted_with_their_offset() {
    let shifted = |text: &str, seconds| {
        let when: When = text.parse().ok()?;
        when.shifted(seconds).map(|when| when.to_string())
    };
    let start = "2026-05-20T23:50:00+03:00";
    assert_eq!(shifted(start, 1200).as_deref(), Some("2026-05-21T00:10:00+03:00"));
    assert_eq!(shifted(start, -600).as_deref(), Some("2026-05-20T23:40:00+03:00"));
    assert_eq!(shifted("2026-05-20", 60), None);
    assert_eq!(shifted("2026-05-31", 86_400).as_deref(), Some("2026-06-01"));
    assert_eq!(shifted("2026-05", 86_400), None);
}
