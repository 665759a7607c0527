//! What is found, and what is not.

use super::*;
use crate::diagnostics::{Observation, Order};
use crate::kinds::Kind;
use crate::people::PatientLink;
use crate::records::Encounter;
use crate::scheduling::{Appointment, AppointmentStatus};

fn bucharest() -> TimeZone {
    TimeZone::get("Europe/Bucharest").expect("the zone is there")
}

fn named(family: &str, given: &[&str]) -> PersonName {
    PersonName {
        family: Some(family.to_owned()),
        given: given.iter().map(|g| (*g).to_owned()).collect(),
        ..PersonName::default()
    }
}

fn finds(names: &[PersonName], parameter: &str, question: &str) -> bool {
    let patient = Aggregate::from(Patient {
        names: names.to_vec(),
        ..Patient::default()
    });
    let Some(query) = NameQuery::new(question) else {
        return false;
    };
    let hit = search_keys(&patient)
        .iter()
        .any(|key| key.name == parameter && Some(&key.text) == query.key.as_ref());
    let right = query.matches(names, parameter);
    assert!(
        hit || !right,
        "{parameter}={question}: the key must not miss what matches"
    );
    assert!(
        query.finish || hit == right,
        "{parameter}={question}: the key is enough for a short question"
    );
    hit && right
}

#[test]
fn letters_are_folded() {
    for (text, folded) in [
        ("Ștefănescu", "stefanescu"),
        ("Şţ", "st"),
        ("S\u{326}T\u{327}", "st"),
        ("Ţîrlea-Pop", "tirlea pop"),
        ("O'Neil", "oneil"),
        ("  Ana   Maria ", "ana maria"),
        ("Weiß", "weiss"),
        ("ЁЛКИН", "елкин"),
        ("İIı", "iii"),
        ("--", ""),
    ] {
        assert_eq!(fold(text), folded);
    }
}

#[test]
fn one_letter_is_a_beginning_too_where_that_is_asked() {
    let names = [named("Țîră", &["小龙"])];
    for (parameter, question, found) in [
        ("family", "ti", true),
        ("family", "r", false),
        ("given", "小", true),
    ] {
        let by_beginning = NameQuery::by_beginning(question).expect("a letter");
        assert_eq!((by_beginning.key.as_ref(), by_beginning.finish), (None, true));
        assert_eq!(by_beginning.matches(&names, parameter), found, "{question}");
        assert!(
            !NameQuery::new(question)
                .expect("a letter")
                .matches(&names, parameter)
        );
    }
    assert_eq!(NameQuery::by_beginning("țîr"), NameQuery::new("țîr"));
    assert_eq!(NameQuery::by_beginning("-"), None);
}

#[test]
fn names_are_found_by_their_beginnings() {
    let names = [named("Ștefănescu-Constantinopolitan", &["Ana", "Li"])];
    for (parameter, question, found) in [
        ("family", "ste", true),
        ("family", "STEFĂN", true),
        ("family", "const", true),
        ("family", "st", false),
        ("family", "tefan", false),
        ("family", "ştefănescu constant", true),
        ("family", "ştefănescu constanta", false),
        ("family", "ana", false),
        ("given", "ana", true),
        ("given", "an", false),
        ("given", "li", true),
        ("name", "li", true),
        ("name", "constantinopolit", true),
        ("name", "constantinopole", false),
        ("name", "-", false),
    ] {
        assert_eq!(
            finds(&names, parameter, question),
            found,
            "{parameter}={question}"
        );
    }
}

#[test]
fn keys_are_bounded() {
    let long = "abc ".repeat(100_000);
    let patient = Patient {
        names: vec![named(&long, &[&long])],
        ..Patient::default()
    };
    assert!(search_keys(&patient.into()).len() <= MAX_KEYS);
}

#[test]
fn codes_are_found_with_and_without_their_system() {
    let mut code = Concept::coded("http://loinc.org", "2160-0", None);
    code.codings.push(crate::value::Coding {
        code: Some("CREA".to_owned()),
        ..crate::value::Coding::default()
    });
    let observation = Observation {
        code: Some(code),
        ..Observation::default()
    };
    let texts: Vec<String> = search_keys(&observation.into())
        .into_iter()
        .map(|key| key.text)
        .collect();
    assert_eq!(texts, ["2160-0", "CREA", "http://loinc.org|2160-0", "|CREA"]);
}

#[test]
fn columns_say_whose_what_and_when() {
    let id = Uuid::from_u128(5);
    let appointment = Appointment {
        patient: Some(Ref::Id(Kind::Patient, id)),
        status: Some(AppointmentStatus::Booked),
        start: "2026-05-05T09:00:00+03:00".parse().ok(),
        end: "2026-05-05T10:00:00+03:00".parse().ok(),
        ..Appointment::default()
    };
    let columns = columns(&appointment.into(), &bucharest());
    assert_eq!((columns.patient, columns.status), (Some(id), Some("booked")));
    assert_eq!(
        columns.date_from.map(|t| t.to_string()).as_deref(),
        Some("2026-05-05T06:00:00Z")
    );
    assert_eq!(
        columns.date_to.map(|t| t.to_string()).as_deref(),
        Some("2026-05-05T06:00:01Z")
    );
}

#[test]
fn who_comes_along_to_an_appointment_is_found_by_it() {
    let id = Uuid::from_u128(6);
    let participant = |actor| crate::scheduling::Participant {
        actor: Some(actor),
        ..Default::default()
    };
    let appointment = Appointment {
        patient: Some(Ref::Id(Kind::Patient, Uuid::from_u128(5))),
        participants: vec![
            participant(Ref::Id(Kind::Practitioner, Uuid::from_u128(7))),
            participant(Ref::Id(Kind::Patient, id)),
        ],
        ..Appointment::default()
    };
    assert_eq!(search_keys(&appointment.into()), [SearchKey::comes_along(id)]);
}

fn answers(aggregate: &Aggregate, question: &str) -> bool {
    let zone = if aggregate.kind() == Kind::Patient {
        TimeZone::UTC
    } else {
        bucharest()
    };
    let columns = columns(aggregate, &bucharest());
    DateQuery::parse(question, &zone)
        .expect("a date")
        .matches(columns.date_from, columns.date_to)
}

#[test]
fn dates_are_compared_as_ranges() {
    let born = |text: &str| {
        Aggregate::from(Patient {
            birth_date: text.parse().ok(),
            ..Patient::default()
        })
    };
    let ordered = |text: &str| {
        Aggregate::from(Order {
            authored: text.parse().ok(),
            ..Order::default()
        })
    };
    let moment = "2026-05-05T00:10:00+03:00";
    for (aggregate, question, answer) in [
        (born("1985-03-12"), "1985-03-12", true),
        (born("1985-03-12"), "1985-03", true),
        (born("1985-03"), "1985-03-12", false),
        (born("1985-03"), "ne1985-03-12", true),
        (born("1985-03-12"), "ge1985-03-12", true),
        (born("1985-03-12"), "gt1985-03-12", false),
        (born("1985-03-12"), "le1985-03-12", true),
        (born("1985-03-12"), "lt1985-03-13", true),
        (ordered(moment), "2026-05-05", true),
        (ordered(moment), "2026-05-04", false),
        (ordered(moment), "2026-05-05T00:10", true),
        (ordered(moment), "2026-05-05T00:10:00", true),
        (ordered(moment), "2026-05-04T21:10:00Z", true),
        (ordered(moment), "2026-05-05T00:10:00 03:00", true),
        (ordered(moment), "gt2026-05-05T00:09", true),
        (ordered(moment), "sa2026-05-05", false),
        (ordered(moment), "eb2026-05-06", true),
        (ordered("2026-10-25"), "2026-10-25", true),
    ] {
        assert_eq!(answers(&aggregate, question), answer, "{question}");
    }
}

#[test]
fn what_goes_on_has_no_end() {
    let visit = Aggregate::from(Encounter {
        period: Some(Period {
            start: "2026-05-05T09:00:00+03:00".parse().ok(),
            end: None,
        }),
        ..Encounter::default()
    });
    for (question, answer) in [
        ("ge2027", true),
        ("lt2026-05-06", true),
        ("2026-05-05", false),
        ("eb2027", false),
    ] {
        assert_eq!(answers(&visit, question), answer, "{question}");
    }
}

#[test]
fn what_is_no_date_is_refused() {
    for text in [
        "",
        "ge",
        "tomorrow",
        "2026-13",
        "ap2026",
        "2026-05-05T25:00",
        "2026-05-05T08",
        "é2026",
    ] {
        assert_eq!(DateQuery::parse(text, &TimeZone::UTC), None, "{text}");
    }
}

#[test]
fn a_chart_is_kept_under_all_records_of_a_person() {
    let (own, old) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let patient = Patient {
        links: vec![
            PatientLink::new(Ref::Id(Kind::Patient, old), LinkKind::Replaces),
            PatientLink::new(Ref::Id(Kind::Patient, Uuid::from_u128(3)), LinkKind::SeeAlso),
        ],
        ..Patient::default()
    };
    assert_eq!(patient_ids(own, &patient), [own, old]);
}
