//! The words of a search, read. They are never logged.

use clinic::Kind;
use clinic::apply::FindKey;
use clinic::imaging::UID_SYSTEM;
use clinic::search::{DateQuery, NameQuery};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::Failure;

/// The most matches on a page, and how many unless asked.
const MAX_COUNT: u32 = 1000;
const COUNT: u32 = 50;
/// The modalities of DICOM, as FHIR names their system.
const MODALITIES: &str = "http://dicom.nema.org/resources/ontology/DCM";

/// A search.
pub struct Question {
    /// The type that is searched.
    pub fhir_type: String,
    /// The aggregates behind it.
    pub kinds: &'static [Kind],
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// Matches on a page; 0: only how many there are is asked.
    pub count: u32,
    /// Where the page begins.
    pub after: Option<(Timestamp, Uuid)>,
    /// The parameters that were understood, as they came, for the links.
    pub used: Vec<(String, String)>,
}

/// What a question is read with beside its words.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// The clinic's zone.
    pub zone: &'a TimeZone,
    /// Our own address, as the asker sees it.
    pub base: &'a str,
    /// Whether what is not understood is refused (`Prefer: handling=strict`).
    pub strict: bool,
}

/// One condition; any of its entries will do.
pub enum Condition {
    /// `_id`.
    Ids(Vec<Uuid>),
    /// Keys of the store: identifiers, codes and modalities.
    Keys(Vec<String>),
    /// `identifier=|value`: identifiers that have no system.
    Bare(Vec<String>),
    /// `family`, `given`, `name`.
    Names(&'static str, Vec<NameQuery>),
    /// `date`, `authored`, `started`, `birthdate`.
    Dates(Vec<DateQuery>),
    /// `_lastUpdated`.
    Updated(Vec<DateQuery>),
    /// `status`.
    Statuses(Vec<String>),
    /// `patient`, `subject`: by id.
    Patients(Vec<Uuid>),
    /// Nothing can match: a value that no row can have.
    Never,
}

/// Name and value of each parameter, decoded (application/x-www-form-urlencoded).
pub fn pairs(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut idx = 0;
    while let Some(&byte) = bytes.get(idx) {
        let hex = bytes
            .get(idx + 1..idx + 3)
            .and_then(|two| std::str::from_utf8(two).ok());
        match (byte, hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(value)) => {
                out.push(value);
                idx += 3;
                continue;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        idx += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// For a link: everything but letters, digits and `-._~` as `%XX`.
pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'-' | b'.' | b'_' | b'~' => (byte as char).to_string(),
            byte if byte.is_ascii_alphanumeric() => (byte as char).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

impl Question {
    /// Reads the words; unknown and empty ones are left out, or refused where `strict`. A known one with a modifier is always refused:
    /// left out, it would find everybody (FHIR R4 §3.1.1.4.1).
    pub fn read(
        fhir_type: &str,
        kinds: &'static [Kind],
        parameters: &[(&'static str, &'static str)],
        around: Around<'_>,
        query: &str,
    ) -> Result<Question, Failure> {
        let strict = around.strict;
        let mut question = Question {
            fhir_type: fhir_type.to_owned(),
            kinds,
            conditions: vec![],
            count: COUNT,
            after: None,
            used: vec![],
        };
        for (name, value) in pairs(query) {
            match name.as_str() {
                "_count" => {
                    let count: u32 = value
                        .parse()
                        .map_err(|_| Failure::invalid("_count: a whole number is wanted"))?;
                    question.count = count.min(MAX_COUNT);
                }
                "_after" => {
                    question.after = Some(place(&value).ok_or_else(|| {
                        Failure::invalid("_after: this is no place of a page; follow the next link as it is")
                    })?);
                    // It is part of the next link only.
                    continue;
                }
                "_format" | "_pretty" => {}
                "_summary" if value == "count" => {}
                name => {
                    let Some((known, _)) = parameters.iter().find(|(known, _)| *known == bare(name)) else {
                        if let Some((base, _)) = name.split_once([':', '.'])
                            && parameters.iter().any(|(known, _)| *known == base)
                        {
                            return Err(Failure::invalid(format!(
                                "{name}: neither modifiers nor chains are known here; ask by {base} alone"
                            )));
                        }
                        if strict {
                            return Err(Failure::invalid(format!(
                                "the search parameter {name:?} is not known here for {fhir_type}"
                            )));
                        }
                        continue;
                    };
                    // An empty value says nothing (FHIR R4 §3.1.1.3).
                    if value.is_empty() {
                        if strict {
                            return Err(Failure::invalid(format!("{name}: the value is empty")));
                        }
                        continue;
                    }
                    question
                        .conditions
                        .extend(conditions(known, &value, kinds, around)?);
                }
            }
            question.used.push((name, value));
        }
        if question
            .used
            .iter()
            .any(|(name, value)| name == "_summary" && value == "count")
        {
            question.count = 0;
        }
        Ok(question)
    }
}

/// A patient is a reference to a Patient, whether that is said (FHIR R4 §3.1.1.4.1, `[type]`) or not.
fn bare(name: &str) -> &str {
    match name {
        "patient:Patient" | "subject:Patient" => &name[..7],
        name => name,
    }
}

/// What a parameter asks for, and what its keys find too much of.
fn conditions(
    name: &'static str,
    value: &str,
    kinds: &[Kind],
    around: Around<'_>,
) -> Result<Vec<Condition>, Failure> {
    let values = alternatives(value);
    let is_token = matches!(name, "identifier" | "code" | "modality" | "status" | "_id");
    if is_token && values.iter().any(|value| value.ends_with('|')) {
        let what =
            format!("{name}: a system alone is not searched by here; say system|value, or the value alone");
        return Err(Failure::invalid(what));
    }
    let mut all = vec![condition(name, &values, kinds, around)?];
    if name == "identifier" && values.iter().any(|value| value.starts_with('|')) {
        all.push(Condition::Bare(values));
    }
    Ok(all)
}

fn condition(
    name: &'static str,
    values: &[String],
    kinds: &[Kind],
    around: Around<'_>,
) -> Result<Condition, Failure> {
    let zone = around.zone;
    let dates = |zone: &TimeZone| -> Result<Vec<DateQuery>, Failure> {
        values
            .iter()
            .map(|value| {
                DateQuery::parse(value, zone).ok_or_else(|| {
                    Failure::invalid(format!(
                        "{name}: a date is wanted, such as 2026-05-05 or ge2026-05-05T08:30:00Z"
                    ))
                })
            })
            .collect()
    };
    Ok(match name {
        "_id" => Condition::Ids(values.iter().filter_map(|value| value.parse().ok()).collect()),
        "_lastUpdated" => Condition::Updated(dates(zone)?),
        "birthdate" => Condition::Dates(dates(&TimeZone::UTC)?),
        "date" | "authored" | "started" => Condition::Dates(dates(zone)?),
        "status" => {
            // A token may name its system; statuses have one system each.
            let code = |value: &String| value.rsplit('|').next().unwrap_or_default().to_owned();
            Condition::Statuses(values.iter().map(code).collect())
        }
        "family" | "given" | "name" => {
            let names: Vec<NameQuery> = values
                .iter()
                .filter_map(|value| NameQuery::by_beginning(value))
                .collect();
            if names.is_empty() {
                Condition::Never
            } else {
                Condition::Names(name, names)
            }
        }
        "patient" | "subject" => {
            let id = |value: &String| {
                let value = value.trim_end_matches('/');
                let (before, id) = value.rsplit_once('/').unwrap_or(("Patient", value));
                let of_ours = before == "Patient"
                    || before
                        .strip_suffix("/Patient")
                        .is_some_and(|base| without_scheme(base) == without_scheme(around.base));
                if !of_ours {
                    return None;
                }
                id.parse::<Uuid>().ok()
            };
            Condition::Patients(values.iter().filter_map(id).collect())
        }
        "identifier" => {
            let keys = values.iter().flat_map(|value| {
                kinds.iter().flat_map(move |kind| match value.split_once('|') {
                    Some((system, value)) if !system.is_empty() => {
                        let value = stored_value(system, value);
                        vec![FindKey::system_value(*kind, &stored_system(system), value).text]
                    }
                    Some((_, value)) => by_value(*kind, value),
                    None => by_value(*kind, value),
                })
            });
            Condition::Keys(keys.collect())
        }
        "modality" => {
            let codes = values.iter().filter_map(|value| match value.split_once('|') {
                Some((system, _)) if !system.is_empty() && system != MODALITIES => None,
                Some((_, code)) => Some(code),
                None => Some(value.as_str()),
            });
            Condition::Keys(codes.map(|code| format!("modality|{code}")).collect())
        }
        "code" => Condition::Keys(
            values
                .iter()
                .map(|value| format!("code|{}", stored_token(value)))
                .collect(),
        ),
        _ => Condition::Never,
    })
}

/// An address without `http:` or `https:`: a proxy before us may speak the other one.
fn without_scheme(address: &str) -> &str {
    let rest = address.strip_prefix("https:").or(address.strip_prefix("http:"));
    rest.unwrap_or(address)
}

/// By a value whatever its system. A UID of DICOM is kept bare, and written as an OID.
fn by_value(kind: Kind, value: &str) -> Vec<String> {
    let bare = value.strip_prefix("urn:oid:");
    let all = std::iter::once(value).chain(bare);
    all.map(|value| FindKey::value(kind, value).text).collect()
}

/// The value as the clinic keeps it: a UID of DICOM without the `urn:oid:` that FHIR puts before it.
fn stored_value<'v>(system: &str, value: &'v str) -> &'v str {
    if system == UID_SYSTEM {
        value.strip_prefix("urn:oid:").unwrap_or(value)
    } else {
        value
    }
}

/// The system as the clinic keeps it: what `mappings_fhir` made of a bare name (`urn:id:`) is that name again.
fn stored_system(uri: &str) -> String {
    uri.strip_prefix("urn:id:")
        .map_or_else(|| uri.to_owned(), |name| decoded(&name.replace('+', "%2B")))
}

fn stored_token(token: &str) -> String {
    match token.split_once('|') {
        Some((system, code)) if !system.is_empty() => format!("{}|{code}", stored_system(system)),
        _ => token.to_owned(),
    }
}

/// Values parted by commas; `\,` is a comma of the value.
fn alternatives(value: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut escaped = false;
    for char in value.chars() {
        match char {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            ',' if !escaped => out.push(String::new()),
            char => {
                if let Some(last) = out.last_mut() {
                    last.push(char);
                }
            }
        }
        escaped = false;
    }
    out.retain(|value| !value.is_empty());
    out
}

/// The place of a page: microseconds and id.
fn place(text: &str) -> Option<(Timestamp, Uuid)> {
    let (micros, id) = text.split_once('.')?;
    Some((
        Timestamp::from_microsecond(micros.parse().ok()?).ok()?,
        id.parse().ok()?,
    ))
}

/// The same, to be put into a link.
pub fn place_text((at, id): (Timestamp, Uuid)) -> String {
    format!("{}.{}", at.as_microsecond(), id.simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMETERS: &[(&str, &str)] = &[
        ("family", "string"),
        ("patient", "reference"),
        ("code", "token"),
        ("identifier", "token"),
    ];

    fn read(query: &str, strict: bool) -> Option<Question> {
        let kinds = &[Kind::Observation];
        let around = Around {
            zone: &TimeZone::UTC,
            base: "http://punte.example:8480/fhir",
            strict,
        };
        Question::read("Observation", kinds, PARAMETERS, around, query).ok()
    }

    #[test]
    fn a_modifier_that_is_not_known_never_finds_everybody() {
        for query in [
            "family:exact=Rusu",
            "family:missing=true",
            "patient.family=Rusu",
            "patient:Group=1",
        ] {
            assert!(read(query, false).is_none(), "{query}");
        }
        let id = Uuid::from_u128(1);
        for query in [format!("patient={id}"), format!("patient:Patient={id}")] {
            let question = read(&query, true).unwrap();
            assert!(matches!(&question.conditions[..], [Condition::Patients(ids)] if *ids == [id]));
            assert_eq!(question.used.len(), 1);
        }
    }

    #[test]
    fn what_is_not_known_is_left_out_unless_that_is_refused() {
        for query in ["familia=Rusu", "familia:exact=Rusu", "_sort=date"] {
            let question = read(query, false).unwrap();
            assert!(
                question.conditions.is_empty() && question.used.is_empty(),
                "{query}"
            );
            assert!(read(query, true).is_none(), "{query}");
        }
    }

    #[test]
    fn a_patient_of_another_server_is_another_patient() {
        let id = Uuid::from_u128(1);
        for (reference, is_ours) in [
            (format!("{id}"), true),
            (format!("Patient/{id}"), true),
            (format!("http://punte.example:8480/fhir/Patient/{id}"), true),
            (format!("https://punte.example:8480/fhir/Patient/{id}"), true),
            (format!("http://other.example/fhir/Patient/{id}"), false),
            (format!("http://punte.example:8480/other/Patient/{id}"), false),
            (format!("Practitioner/{id}"), false),
            (format!("x/Patient/{id}"), false),
        ] {
            let question = read(&format!("patient={reference}"), true).unwrap();
            let [Condition::Patients(ids)] = &question.conditions[..] else {
                panic!("{reference}");
            };
            assert_eq!(!ids.is_empty(), is_ours, "{reference}");
        }
    }

    #[test]
    fn a_system_alone_is_refused_and_an_empty_value_where_that_is_asked() {
        for query in ["code=http://loinc.org|", "identifier=urn:oid:1.2|", "code=a,b|"] {
            assert!(read(query, false).is_none(), "{query}");
        }
        assert!(read("patient=", false).unwrap().conditions.is_empty());
        assert!(read("patient=", true).is_none());
        assert_eq!(read("identifier=|7", true).unwrap().conditions.len(), 2);
    }

    #[test]
    fn how_many_is_asked_in_two_ways() {
        for query in [
            "_count=0",
            "_summary=count",
            "_summary=count&_count=7",
            "_count=7&_summary=count",
        ] {
            assert_eq!(read(query, true).unwrap().count, 0, "{query}");
        }
        assert!(read("_summary=text", true).is_none());
        assert_eq!(read("_summary=text", false).unwrap().count, COUNT);
    }
}
