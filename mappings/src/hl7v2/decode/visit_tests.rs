//! Visits over several messages: what each event leaves of the state that is known.

use clinic::Kind;
use clinic::change_set::ChangeSet;
use serde_json::{Value, json};

use super::said::{heard, of_kind, read, told};

fn event(event: &str, pv1: &str) -> ChangeSet {
    let message = format!(
        "MSH|^~\\&|HIS|H|PUNTE|H|20260505080000||ADT^{event}|1|P|2.5.1\nPID|1||A-1^^^AURORA^MR||Rusu^Adina\n{pv1}\n"
    );
    read(&message).set
}

/// PV1 with a class, and when it began and ended.
fn pv1(class: &str, from: &str, to: &str) -> String {
    let mut fields = vec![""; 46];
    fields[0] = "PV1";
    fields[2] = class;
    fields[19] = "V-1^^^AURORA^VN";
    fields[44] = from;
    fields[45] = to;
    fields.join("|")
}

/// The one visit after these events.
fn visit(events: &[(&str, &str)]) -> Value {
    let sets: Vec<ChangeSet> = events.iter().map(|(name, pv1)| event(name, pv1)).collect();
    let mut visits = of_kind(&told(&sets), Kind::Encounter);
    assert_eq!(visits.len(), 1, "{visits:?}");
    visits.remove(0)
}

#[test]
fn a_late_admission_does_not_reopen_a_visit() {
    let begun = pv1("I", "20260505080000", "");
    let ended = pv1("I", "20260505080000", "20260506090000");
    let open = pv1("I", "", "");
    for late in ["A01", "A04", "A05"] {
        let visit = visit(&[("A03", &ended), (late, &begun)]);
        assert_eq!(visit["status"], "finished", "{late}");
        assert_eq!(visit["period"]["end"], "2026-05-06T09:00:00+03:00", "{late}");
    }
    // What is said with it is taken all the same.
    let only_end = pv1("I", "", "20260506090000");
    let known = visit(&[("A03", &only_end), ("A01", &begun)]);
    assert_eq!(known["period"]["start"], "2026-05-05T08:00:00+03:00");
    // A13 takes the discharge back, and an admission that was cancelled may be made again.
    assert_eq!(visit(&[("A03", &ended), ("A13", &open)])["status"], "in-progress");
    assert_eq!(visit(&[("A11", &open), ("A01", &begun)])["status"], "in-progress");
    assert_eq!(visit(&[("A05", &open), ("A01", &begun)])["status"], "in-progress");
    assert_eq!(visit(&[("A01", &begun), ("A05", &open)])["status"], "in-progress");
}

#[test]
fn a_discharge_that_is_taken_back_leaves_no_end() {
    let leaving = |to: &str| {
        let mut fields: Vec<String> = pv1("I", "20260505080000", to)
            .split('|')
            .map(str::to_owned)
            .collect();
        fields[36] = "01".to_owned();
        fields[37] = "OTHER^Other house".to_owned();
        fields.join("|")
    };
    let ended = leaving("20260506090000");
    let with_start = pv1("I", "20260505080000", "");
    let without = pv1("I", "", "");
    for back in [&with_start, &without, &ended] {
        let visit = visit(&[("A03", &ended), ("A13", back), ("A08", &with_start)]);
        assert_eq!(visit["status"], "in-progress", "{back}");
        assert_eq!(visit["period"]["start"], "2026-05-05T08:00:00+03:00", "{back}");
        assert!(
            visit["period"].get("end").is_none_or(Value::is_null),
            "{back}: {visit}"
        );
    }
    let again = visit(&[("A03", &ended), ("A13", &without)]);
    assert!(
        again["discharge_disposition"].is_null() && again["destination"].is_null(),
        "{again}"
    );
    let ended_twice = visit(&[("A03", &ended), ("A13", &without), ("A03", &ended)]);
    assert_eq!(ended_twice["period"]["end"], "2026-05-06T09:00:00+03:00");
}

#[test]
fn a_plan_is_taken_back() {
    let planned = pv1("P", "", "");
    let open = pv1("I", "20260505080000", "");
    assert_eq!(
        visit(&[("A05", &planned), ("A38", &planned)])["status"],
        "cancelled"
    );
    assert_eq!(visit(&[("A14", &open), ("A27", &open)])["status"], "cancelled");
    assert_eq!(
        visit(&[("A05", &planned), ("A01", &open), ("A38", &planned)])["status"],
        "in-progress",
        "what has begun is no plan"
    );
}

#[test]
fn an_event_that_does_nothing_says_so() {
    for (name, says) in [
        ("A23", true),
        ("A25", true),
        ("A33", true),
        ("A38", false),
        ("A08", false),
    ] {
        let set = event(name, &pv1("I", "", ""));
        let said = set.extra.iter().any(|extra| extra.place.0 == "MSH-9.2");
        assert_eq!(said, says, "{name}");
    }
}

#[test]
fn records_are_linked_and_unlinked() {
    let both = |event: &str| {
        read(&format!(
            "MSH|^~\\&|HIS|H|PUNTE|H|20260505080000||ADT^{event}|1|P|2.5.1\nPID|1||A-1^^^AURORA^MR||Rusu^Adina\nPID|1||A-2^^^AURORA^MR||Rusu^Adina\n"
        ))
        .set
    };
    let links = |events: &[&str]| -> Vec<usize> {
        let sets: Vec<ChangeSet> = events.iter().map(|name| both(name)).collect();
        let patients = of_kind(&told(&sets), Kind::Patient);
        let count = |patient: &Value| patient["links"].as_array().map_or(0, Vec::len);
        patients.iter().map(count).collect()
    };
    assert_eq!(links(&["A24"]), [1, 1]);
    assert_eq!(links(&["A24", "A37"]), [0, 0]);
    assert_eq!(links(&["A37"]), [0, 0]);
    // Who was merged stays so: that is no link.
    let merged = read(
        "MSH|^~\\&|HIS|H|PUNTE|H|20260505080000||ADT^A40|1|P|2.5.1\nPID|1||A-1^^^AURORA^MR||Rusu^Adina\nMRG|A-2^^^AURORA^MR\n",
    );
    let clinic = told(&[both("A28"), merged.set, both("A37")]);
    let active: Vec<Value> = of_kind(&clinic, Kind::Patient)
        .iter()
        .map(|patient| patient["active"].clone())
        .collect();
    assert!(active.contains(&json!(false)), "{active:?}");
}

#[test]
fn results_orders_and_bookings_move_nobody_who_lies_elsewhere() {
    let beside = |kind: &str, rest: &str| {
        let message = format!(
            "MSH|^~\\&|LIS|L|PUNTE|H|20260505090000||{kind}|2|P|2.5.1\nPID|1||A-1^^^AURORA^MR||Rusu^Adina||||||Veche 1||0711\n\
             PV1|1|O|WARD^1||||D1^Unu|||MED|||||||||V-1^^^AURORA^VN|||||||||||||||||||||||||20260501\n{rest}\n"
        );
        read(&message).set
    };
    let result = beside(
        "ORU^R01",
        "OBR|1|C-1^A|L-1^L|X^x^L|||20260505||||||||||||||||||F\nOBX|1|NM|V^v^L||1||||||F",
    );
    let order = beside("OML^O21", "ORC|NW|C-1^A\nOBR|1|C-1^A||X^x^L");
    let admitted = |event: &str, place: &str| {
        let message = format!(
            "MSH|^~\\&|HIS|H|PUNTE|H|20260505080000||ADT^{event}|1|P|2.5.1\nPID|1||A-1^^^AURORA^MR||Rusu^Adina||||||Noua 2||0722\n\
             PV1|1|I|{place}||||D2^Doi|||SURG|||||||||V-1^^^AURORA^VN|||||||||||||||||||||||||20260504\n"
        );
        read(&message).set
    };
    let moved = [admitted("A01", "WARD^1"), admitted("A02", "ICU^2")];
    let (clinic, _) = heard(&moved);
    let before = of_kind(&clinic, Kind::Encounter);
    for set in [&result, &order] {
        let (clinic, kept) = heard(&[&moved[..], std::slice::from_ref(set)].concat());
        assert_eq!(of_kind(&clinic, Kind::Encounter), before);
        assert!(kept.iter().any(|field| field == "stays"), "{kept:?}");
    }
    // A laboratory has the address of when they first came; who orders knows it.
    let street = |set: &ChangeSet| {
        let (clinic, _) = heard(&[&moved[..], std::slice::from_ref(set)].concat());
        of_kind(&clinic, Kind::Patient)[0]["addresses"].to_string()
    };
    assert!(street(&result).contains("Noua 2") && !street(&result).contains("Veche"));
    assert!(street(&order).contains("Veche 1"));
    // A visit that nobody else has told of is as they say.
    let (clinic, _) = heard(&[order, result]);
    let visits = of_kind(&clinic, Kind::Encounter);
    assert_eq!((visits.len(), &visits[0]["class"]["code"]), (1, &json!("AMB")));
}
