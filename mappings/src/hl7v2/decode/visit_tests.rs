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
    for back in [&without, &ended] {
        let again = visit(&[("A03", &ended), ("A13", back)]);
        assert!(
            again["discharge_disposition"].is_null() && again["destination"].is_null(),
            "{again}"
        );
    }
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

/// The places of the one visit after these events, each with how it is used.
fn places(events: &[(&str, String)]) -> Vec<String> {
    let sets: Vec<ChangeSet> = events.iter().map(|(name, pv1)| event(name, pv1)).collect();
    let clinic = told(&sets);
    let names: std::collections::HashMap<String, String> = clinic
        .all(Kind::Room)
        .iter()
        .map(|room| {
            let json = serde_json::to_value(&room.aggregate).expect("JSON");
            let name = json["Room"]["name"].as_str().unwrap_or_default().to_owned();
            (room.meta.id.to_string(), name)
        })
        .collect();
    let visit = of_kind(&clinic, Kind::Encounter).remove(0);
    let stays = visit["stays"].as_array().cloned().unwrap_or_default();
    let mut all: Vec<String> = stays
        .iter()
        .map(|stay| {
            let id = stay["place"]["id"][1].as_str().unwrap_or_default();
            let status = stay["status"].as_str().unwrap_or_default();
            let for_a_time = match stay["temporary"].as_bool() {
                Some(true) => " for a time",
                Some(false) | None => "",
            };
            format!("{} {status}{for_a_time}", names[id])
        })
        .collect();
    all.sort();
    all
}

#[test]
fn a_temporary_place_is_left_once() {
    let at = |here: &str, left: &str| {
        let mut fields = vec![""; 46];
        (fields[0], fields[2], fields[3]) = ("PV1", "I", "W");
        (fields[11], fields[19], fields[43]) = (here, "V-1^^^AURORA^VN", left);
        fields.join("|")
    };
    let admitted = ("A01", at("", ""));
    let mut all = vec![admitted, ("A09", at("RAD", "")), ("A10", at("RAD", ""))];
    assert_eq!(places(&all), ["RAD active for a time", "W active"]);
    all.extend([
        ("A09", at("", "RAD")),
        ("A10", at("", "RAD")),
        ("A08", at("", "")),
    ]);
    assert_eq!(places(&all), ["RAD completed for a time", "W active"]);
    all.push(("A09", at("RAD", "")));
    assert_eq!(places(&all), ["RAD active for a time", "W active"], "there again");
    all.push(("A09", at("CT", "RAD")));
    let on = ["CT active for a time", "RAD completed for a time", "W active"];
    assert_eq!(places(&all), on);
    all.truncate(3);
    all.push(("A09", at("CT", "")));
    assert_eq!(places(&all), on, "whether it is said where they were or not");
}

#[test]
fn the_places_of_a_visit_are_kept_and_what_was_reserved_is_so_once() {
    let at = |here: &str, before: &str, pending: &str| {
        let mut fields = vec![""; 46];
        (fields[0], fields[2], fields[3], fields[6]) = ("PV1", "I", here, before);
        (fields[19], fields[42]) = ("V-1^^^AURORA^VN", pending);
        fields.join("|")
    };
    let admitted = ("A01", at("W", "", ""));
    let moved = |to: &str, from: &str| ("A02", at(to, from, ""));
    let pending = |to: &str| ("A15", at("W", "", to));
    // Where somebody was to lie, and where they were admitted by mistake, they have not been.
    assert_eq!(
        places(&[("A05", at("W", "", "")), ("A01", at("S", "", ""))]),
        ["S active"]
    );
    let by_mistake = [
        admitted.clone(),
        ("A11", at("W", "", "")),
        ("A01", at("S", "", "")),
    ];
    assert_eq!(places(&by_mistake), ["S active"]);
    for from in ["", "W"] {
        let all = places(&[admitted.clone(), moved("ICU", from)]);
        assert_eq!(all, ["ICU active", "W completed"], "{from}");
    }
    assert_eq!(
        places(&[
            admitted.clone(),
            moved("ICU", ""),
            moved("S", "ICU"),
            ("A08", at("S", "", ""))
        ]),
        ["ICU completed", "S active", "W completed"]
    );
    assert_eq!(
        places(&[admitted.clone(), moved("ICU", "W"), ("A12", at("W", "", ""))]),
        ["ICU completed", "W active"]
    );
    assert_eq!(
        places(&[admitted.clone(), pending("ICU"), pending("S")]),
        ["S reserved", "W active"]
    );
    for back in [at("W", "", ""), at("W", "", "ICU")] {
        assert_eq!(
            places(&[admitted.clone(), pending("ICU"), ("A26", back)]),
            ["W active"]
        );
    }
    assert_eq!(
        places(&[admitted.clone(), pending("ICU"), moved("ICU", "W")]),
        ["ICU active", "W completed"]
    );
    assert_eq!(
        places(&[admitted, pending("ICU"), ("A03", at("W", "", ""))]),
        ["W active"]
    );
}

/// The patient after PID with these fields, told in turn.
fn patient(pids: &[&[(usize, &str)]]) -> Value {
    let pid = |said: &[(usize, &str)]| {
        let mut fields = vec![""; 41];
        (fields[0], fields[3], fields[5]) = ("PID", "A-1^^^AURORA^MR", "Rusu^Adina");
        said.iter().for_each(|(number, value)| fields[*number] = value);
        let pid = fields.join("|");
        read(&format!(
            "MSH|^~\\&|HIS|H|PUNTE|H|20260505080000||ADT^A31|1|P|2.8\n{pid}\n"
        ))
        .set
    };
    let sets: Vec<ChangeSet> = pids.iter().map(|said| pid(said)).collect();
    of_kind(&told(&sets), Kind::Patient).remove(0)
}

#[test]
fn a_telephone_field_that_is_emptied_takes_out_its_own() {
    let known: &[(usize, &str)] = &[(13, "0721^PRN^CP~^NET^Internet^a@b.ro"), (14, "0264^WPN^PH")];
    let left = |said: &[(usize, &str)]| -> Vec<String> {
        let telecoms = patient(&[known, said])["telecoms"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        telecoms
            .iter()
            .map(|telecom| telecom["value"].as_str().unwrap_or("-").to_owned())
            .collect()
    };
    assert_eq!(left(&[(14, "\"\"")]), ["0721", "a@b.ro"]);
    assert_eq!(left(&[(13, "\"\"")]), ["0264"]);
    assert_eq!(left(&[(13, "0722^PRN^CP"), (14, "\"\"")]), ["0722", "a@b.ro"]);
    assert_eq!(left(&[(13, "\"\""), (14, "0265^WPN^PH")]), ["0265"]);
    assert!(left(&[(13, "\"\""), (14, "\"\"")]).is_empty());
    assert!(left(&[(40, "\"\"")]).is_empty());
    let nothing = patient(&[&[(14, "\"\"")]]);
    assert!(
        nothing["telecoms"].as_array().is_none_or(Vec::is_empty),
        "{nothing}"
    );
}

#[test]
fn who_is_said_not_to_be_dead_is_not() {
    let dead: &[(usize, &str)] = &[(29, "20260102"), (30, "Y")];
    let alive = patient(&[dead, &[(30, "N")]]);
    assert!(alive["deceased_at"].is_null(), "{alive}");
    assert_eq!(alive["deceased"], false);
    assert_eq!(patient(&[dead, &[(30, "N")], dead])["deceased_at"], "2026-01-02");
    assert_eq!(patient(&[dead, &[]])["deceased_at"], "2026-01-02");
}

#[test]
fn a_name_that_says_nothing_takes_none_away() {
    let said = |event: &str, name: &str, born: &str| {
        read(&format!(
            "MSH|^~\\&|HIS|H|PUNTE|H|20260505080000||ADT^{event}|1|P|2.5.1\nPID|1||A-1^^^AURORA^MR||{name}||{born}\n\
             PV1|1|I|WARD^1\n"
        ))
        .set
    };
    let first = said("A08", "Popa^Andrei", "19800514");
    for event in ["A02", "A08"] {
        let nobody = said(event, "NECUNOSCUT^NECUNOSCUT", "19000101");
        let (clinic, kept) = heard(&[first.clone(), nobody.clone()]);
        let patient = &of_kind(&clinic, Kind::Patient)[0];
        assert_eq!(patient["names"][0]["family"], "Popa", "{event}");
        assert_eq!(patient["birth_date"], "1980-05-14", "{event}");
        assert!(kept.iter().any(|field| field == "names"), "{kept:?}");
        // Who is not known yet is called so, until somebody knows.
        let (clinic, _) = heard(std::slice::from_ref(&nobody));
        assert_eq!(
            of_kind(&clinic, Kind::Patient)[0]["names"][0]["family"],
            "NECUNOSCUT"
        );
        let (clinic, _) = heard(&[nobody, first.clone()]);
        assert_eq!(of_kind(&clinic, Kind::Patient)[0]["names"][0]["family"], "Popa");
    }
}

#[test]
fn results_orders_and_bookings_raise_nobody_from_the_dead() {
    let said = |kind: &str, pid_30: &str, rest: &str| {
        let alive = "|".repeat(25);
        read(&format!(
            "MSH|^~\\&|LIS|L|PUNTE|H|20260505090000||{kind}|2|P|2.5.1\nPID|1||A-1^^^AURORA^MR||Rusu^Adina{alive}{pid_30}\n{rest}\n"
        ))
        .set
    };
    let died = |yes_or_no: &str| said("ADT^A08", yes_or_no, "");
    let beside = [
        said(
            "ORU^R01",
            "N",
            "OBR|1|C-1^A|L-1^L|X^x^L|||20260505||||||||||||||||||F\nOBX|1|NM|V^v^L||1||||||F",
        ),
        said("OML^O21", "N", "ORC|NW|C-1^A\nOBR|1|C-1^A||X^x^L"),
        said(
            "SIU^S12",
            "N",
            "SCH|S-1^A||||||||20|MIN|^^20^20260901100000\nRGS|1|A\nAIG|1|A|R1^Sala",
        ),
    ];
    for set in beside {
        let (clinic, kept) = heard(&[died("Y"), set.clone()]);
        assert_eq!(of_kind(&clinic, Kind::Patient)[0]["deceased"], true);
        assert!(kept.iter().any(|field| field == "deceased"), "{kept:?}");
        // Who was never said to be dead, is not.
        let (clinic, _) = heard(&[died("N"), set]);
        assert_eq!(of_kind(&clinic, Kind::Patient)[0]["deceased"], false);
    }
    let (clinic, _) = heard(&[died("Y"), said("ADT^A08", "N", "")]);
    assert_eq!(
        of_kind(&clinic, Kind::Patient)[0]["deceased"],
        false,
        "a registration says who lives"
    );
}

#[test]
fn an_allergy_is_as_it_was_said_last() {
    let allergies = |lines: &[&str]| -> Vec<Value> {
        let sets: Vec<ChangeSet> = lines
            .iter()
            .map(|line| {
                let event = if line.starts_with("IAM") { "A60" } else { "A08" };
                let pid = "PID|1||A-1^^^AURORA^MR||Rusu^Adina";
                read(&format!(
                    "MSH|^~\\&|HIS|H|PUNTE|H|20260505080000||ADT^{event}|1|P|2.5.1\n{pid}\n{line}\n"
                ))
                .set
            })
            .collect();
        of_kind(&told(&sets), Kind::Allergy)
    };
    let verified = |allergy: &Value| allergy["verification"]["codings"][0]["code"].clone();
    // What was deleted and is added again, holds.
    let added = "IAM|1|FA|NUT^Nuts^L|SV|Hives|A|AL2^HIS";
    let deleted = "IAM|1|FA|NUT^Nuts^L|||D|AL2^HIS";
    for again in [
        added,
        "IAM|1|FA|NUT^Nuts^L|SV||U|AL2^HIS",
        "AL1|1|FA|NUT^Nuts^L|SV",
    ] {
        let all = allergies(&[added, deleted, again]);
        assert_eq!(all.len(), 1, "{again}");
        assert_ne!(verified(&all[0]), "entered-in-error", "{again}");
        assert_eq!(
            all[0]["clinical_status"]["codings"][0]["code"], "active",
            "{again}"
        );
    }
    assert_eq!(verified(&allergies(&[added, deleted])[0]), "entered-in-error");
    // The last list of reactions counts; an empty field leaves them, and `""` empties.
    let reactions = |lines: &[&str]| -> Vec<String> {
        let all = allergies(lines)[0]["reactions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let seen = all
            .iter()
            .flat_map(|one| one["manifestations"].as_array().cloned().unwrap_or_default());
        seen.map(|one| one["text"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let (rash, both) = ("AL1|1|DA|PEN^P^L|SV|Rash", "AL1|1|DA|PEN^P^L|MI|Nausea~Rash");
    assert_eq!(reactions(&[rash, both]), ["Nausea", "Rash"]);
    assert_eq!(reactions(&[both, rash]), ["Rash"]);
    assert_eq!(reactions(&[both, "AL1|1|DA|PEN^P^L|SV"]), ["Nausea", "Rash"]);
    let emptied = &allergies(&[rash, "AL1|1|\"\"|PEN^P^L|\"\"|\"\""])[0];
    assert!(emptied["criticality"].is_null(), "{emptied}");
    for list in ["reactions", "categories"] {
        assert!(emptied[list].as_array().is_none_or(Vec::is_empty), "{emptied}");
    }
}

#[test]
fn a_doctor_is_found_again_whatever_their_number_is_called() {
    for kind in ["ACSN", "PGN", "DN", ""] {
        let seen = event("A08", &format!("PV1|1|I|||||D-7^Dupl^Ana^^^^^^CLINIC^L^^^{kind}"));
        let clinic = told(&[seen.clone(), seen]);
        assert_eq!(clinic.all(Kind::Practitioner).len(), 1, "{kind}");
    }
}

#[test]
fn one_end_of_a_visit_that_is_emptied_is_told_as_not_carried() {
    let pv1 = |start: &str, end: &str| {
        let mut fields = vec![""; 46];
        (fields[0], fields[2], fields[19]) = ("PV1", "I", "V-1^^^AURORA^VN");
        (fields[44], fields[45]) = (start, end);
        event("A08", &fields.join("|"))
    };
    let note = |set: &ChangeSet, place: &str| {
        let found = set.extra.iter().find(|extra| extra.place.0.starts_with(place));
        found.and_then(|extra| extra.note.clone()).unwrap_or_default()
    };
    let null = r#""""#;
    assert!(note(&pv1(null, ""), "PV1-44").contains("stays"));
    assert!(note(&pv1("20260501", null), "PV1-45").contains("stays"));
    assert!(note(&pv1(null, null), "PV1-44").contains("empties"));
}
