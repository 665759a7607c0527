//! The data types of FHIR R4 (§2.24) from the values of the clinic.

use std::borrow::Cow;

use clinic::value::{
    Address, AddressUse, Annotation, Attachment, Coding, Concept, Identifier, Language, NameRepresentation,
    Period, PersonName, Quantity, Range, Ratio, Telecom, TelecomUse, When,
};
use uuid::Uuid;

use crate::context::Context;
use crate::json::{Json, Object, Value};

/// Extensions of the standard begin with this.
pub(crate) const STANDARD: &str = "http://hl7.org/fhir/StructureDefinition/";
/// The code or text as its sender wrote it.
pub(crate) const ALTERNATE_CODES: &str = "http://hl7.org/fhir/StructureDefinition/alternate-codes";
/// The text that a value was read from.
pub(crate) const ORIGINAL_TEXT: &str = "http://hl7.org/fhir/StructureDefinition/originalText";
/// HL7 table 0203, kinds of identifiers.
pub(crate) const V2_0203: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";

/// HL7 table 0301, types of universal ids.
pub(crate) const V2_0301: &str = "http://terminology.hl7.org/CodeSystem/v2-0301";

/// An extension, unless its value is empty. Most are: the address is written only for those that are not.
pub(crate) fn extension(url: impl std::fmt::Display, field: &'static str, value: impl Value) -> Option<Json> {
    let value = value.json()?;
    Some(Object::new().put("url", url.to_string()).put(field, value).into())
}

/// An extension that is made of extensions, unless they are all empty.
pub(crate) fn nested_extension(url: impl std::fmt::Display, parts: Vec<Option<Json>>) -> Option<Json> {
    let parts = parts.json()?;
    Some(
        Object::new()
            .put("url", url.to_string())
            .put("extension", parts)
            .into(),
    )
}

/// There is a value, and it isn't known.
pub(crate) fn absent() -> Json {
    Object::new()
        .put(
            "url",
            "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
        )
        .put("valueCode", "unknown")
        .into()
}

/// A concept where one must be and none is known.
pub(crate) fn unknown_concept() -> Json {
    Object::new()
        .put("extension", vec![absent()])
        .put("text", "unknown")
        .into()
}

/// A value that has no structure, with what is said about it beside it in `_name`.
pub(crate) fn primitive(
    object: &mut Object,
    name: &'static str,
    value: impl Value,
    extensions: Vec<Option<Json>>,
) {
    object.set(name, value);
    if let Some(beside) = Object::new().put("extension", extensions).json() {
        object.set(format!("_{name}"), beside);
    }
}

/// A code that FHIR fixes the list of, with the code of the sender beside it.
pub(crate) fn code_with_original(
    object: &mut Object,
    name: &'static str,
    value: Option<&str>,
    original: Option<&Concept>,
) {
    primitive(
        object,
        name,
        value,
        vec![original.and_then(|o| extension(ALTERNATE_CODES, "valueCodeableConcept", concept(o)))],
    );
}

/// The identifier that we give to everything that we keep: by it a resource is found again at another server.
pub(crate) fn own_identifier(id: Uuid) -> Json {
    Object::new()
        .put("system", "urn:ietf:rfc:3986")
        .put("value", format!("urn:uuid:{id}"))
        .into()
}

/// The identifiers of an aggregate, and ours at the end.
pub(crate) fn identifiers(of: &[Identifier], id: Uuid) -> Vec<Json> {
    let mut all: Vec<Json> = of.iter().filter_map(identifier).collect();
    all.push(own_identifier(id));
    all
}

/// An id that is always the same for the same owner and name (UUID version 8, RFC 9562 §5.8).
pub(crate) fn derived_id(owner: Uuid, name: &str) -> Uuid {
    // FNV-1a of 128 bits: not for secrets, only for names that must not meet by chance.
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in owner.as_bytes().iter().copied().chain(name.bytes()) {
        hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
    }
    uuid::Builder::from_custom_bytes(hash.to_be_bytes()).into_uuid()
}

/// A name of a system as the URI that FHIR wants.
///
/// URIs stay. The HL7 names of systems that have a URI of their own get it. Any other name (a local code table, the
/// namespace of an assigning authority) becomes `urn:id:` and the name, percent-encoded, so that it can be read back.
pub fn system_uri(name: &str) -> Cow<'_, str> {
    let name = name.trim();
    let known = match name {
        "LN" => Some("http://loinc.org"),
        "SCT" => Some("http://snomed.info/sct"),
        "I10" => Some("http://hl7.org/fhir/sid/icd-10"),
        "UCUM" => Some("http://unitsofmeasure.org"),
        "ATC" | "WC" => Some("http://www.whocc.no/atc"),
        _ => None,
    };
    if let Some(uri) = known {
        return uri.into();
    }
    if let Some(table) = name.strip_prefix("HL7")
        && table.len() == 4
        && table.bytes().all(|b| b.is_ascii_digit())
    {
        return format!("http://terminology.hl7.org/CodeSystem/v2-{table}").into();
    }
    let begins_with = |scheme: &&str| {
        let begins = name.as_bytes().get(..scheme.len());
        scheme.len() < name.len() && begins.is_some_and(|its| its.eq_ignore_ascii_case(scheme.as_bytes()))
    };
    let is_uri = ["http://", "https://", "urn:", "ftp://", "mailto:", "tel:"]
        .iter()
        .any(begins_with);
    if is_uri && name.bytes().all(|b| b.is_ascii_graphic()) {
        return name.into();
    }
    format!("urn:id:{}", percent_encoded(name)).into()
}

/// Everything but unreserved characters as `%XX` of its UTF-8 (RFC 3986 §2.1).
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            push_percent(byte, &mut out);
        }
    }
    out
}

/// A byte as `%XX`.
fn push_percent(byte: u8, out: &mut String) {
    let digit = |half: u8| {
        char::from_digit(u32::from(half), 16)
            .unwrap_or('0')
            .to_ascii_uppercase()
    };
    out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
}

/// A system, where it says one.
pub(crate) fn system(name: Option<&String>) -> Option<Cow<'_, str>> {
    name.filter(|n| !n.trim().is_empty()).map(|n| system_uri(n))
}

/// An address of a file or the like, which may be relative and must not hold white space.
pub(crate) fn uri(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if text.bytes().all(|b| b.is_ascii_graphic()) {
        return Some(text.to_owned());
    }
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            out.push(char::from(byte));
        } else {
            push_percent(byte, &mut out);
        }
    }
    Some(out)
}

/// A code: no white space but single spaces inside (FHIR R4 §2.24.0.1).
pub(crate) fn code(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    (!out.is_empty()).then_some(out)
}

/// What can be written as `dateTime`: a year, a month, a day, or a moment with seconds and offset.
pub(crate) fn date_time(when: &When) -> Option<String> {
    let text = when.as_str();
    if text.starts_with("0000") {
        return None;
    }
    if !when.has_time() {
        return Some(text.to_owned());
    }
    if is_plain_moment(text) {
        return Some(text.to_owned());
    }
    text.parse::<jiff::Timestamp>().ok().map(|at| at.to_string())
}

/// `HH:MM:SS`, fraction, `Z` or `±HH:MM` of at most 14 hours, and nothing after it.
fn is_plain_moment(text: &str) -> bool {
    let Some((second, rest)) = text.get(17..19).zip(text.get(19..)) else {
        return false;
    };
    if second > "59" {
        return false;
    }
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 || 9 < digits {
                return false;
            }
            &fraction[digits..]
        }
        None => rest,
    };
    if rest == "Z" {
        return true;
    }
    let bytes = rest.as_bytes();
    bytes.len() == 6
        && matches!(bytes[0], b'+' | b'-')
        && bytes[3] == b':'
        && rest
            .get(1..3)
            .is_some_and(|h| h.bytes().all(|b| b.is_ascii_digit()) && h < "14")
        && rest
            .get(4..6)
            .is_some_and(|m| m.bytes().all(|b| b.is_ascii_digit()) && m < "60")
}

/// What can be written as `instant`: a moment.
pub(crate) fn instant(when: &When) -> Option<String> {
    if when.has_time() { date_time(when) } else { None }
}

/// The date alone.
pub(crate) fn date(when: &When) -> Option<String> {
    let text = when.date_text();
    (!text.starts_with("0000")).then(|| text.to_owned())
}

pub(crate) fn date_time_of(when: Option<&When>) -> Option<String> {
    when.and_then(date_time)
}

pub(crate) fn period(period: Option<&Period>) -> Object {
    let Some(period) = period else {
        return Object::new();
    };
    let mut out = Object::new().put("start", date_time_of(period.start.as_ref()));
    let end = date_time_of(period.end.as_ref());
    // per-1: an end before the start is told in words.
    let (end, words) = if is_reversed(period) {
        (None, extension(ORIGINAL_TEXT, "valueString", end))
    } else {
        (end, None)
    };
    primitive(&mut out, "end", end, vec![words]);
    out
}

fn is_reversed(period: &Period) -> bool {
    let (Some(start), Some(end)) = (&period.start, &period.end) else {
        return false;
    };
    let zone = &jiff::tz::TimeZone::UTC;
    let moments = start.earliest(zone).zip(end.latest(zone));
    // The moment after a day is no part of it.
    let is_moment = start.has_time() && end.has_time();
    moments.is_some_and(|(first, last)| last < first || last == first && !is_moment)
}

pub(crate) fn coding(coding: &Coding) -> Object {
    Object::new()
        .put("system", system(coding.system.as_ref()))
        .put("version", coding.version.as_ref())
        .put("code", coding.code.as_deref().and_then(code))
        .put("display", coding.display.as_ref())
}

pub(crate) fn codings(list: &[Coding]) -> Vec<Object> {
    list.iter().map(coding).collect()
}

pub(crate) fn concept(concept: &Concept) -> Object {
    Object::new()
        .put("coding", codings(&concept.codings))
        .put("text", concept.text.as_ref())
}

pub(crate) fn concept_of(of: Option<&Concept>) -> Object {
    of.map(concept).unwrap_or_default()
}

pub(crate) fn concepts(list: &[Concept]) -> Vec<Object> {
    list.iter().map(concept).collect()
}

/// A concept that must be there: unknown where it isn't.
pub(crate) fn required_concept(of: Option<&Concept>) -> Json {
    concept_of(of).json().unwrap_or_else(unknown_concept)
}

/// A concept of one code.
pub(crate) fn coded(system: &'static str, code: &'static str) -> Object {
    Object::new().put(
        "coding",
        vec![Object::new().put("system", system).put("code", code)],
    )
}

/// An identifier. The authority goes into `system` as a URI and, in words, into `assigner` (HL7 v2-to-FHIR, CX).
pub(crate) fn identifier(of: &Identifier) -> Option<Json> {
    of.value.as_str().json()?;
    let mut kind = of.kind.clone().unwrap_or_default();
    for coding in &mut kind.codings {
        // The kind of an identifier is of table 0203 unless it says otherwise.
        coding.system.get_or_insert_with(|| V2_0203.to_owned());
    }
    let namespace = of
        .system
        .as_deref()
        .filter(|name| !name.trim().is_empty() && system_uri(name) != name.trim());
    let name = of.assigner.as_deref().or(namespace);
    // The number of whoever gave it: the universal id of the HD with its type, else the namespace.
    let authority = of
        .system
        .as_deref()
        .filter(|_| of.assigner.is_some())
        .and_then(|uri| Some((uri, universal_kind(uri)?)))
        .map(|(uri, universal)| {
            Object::new()
                .put("type", coded(V2_0301, universal))
                .put("value", universal_id(uri))
        });
    let assigner = Object::new()
        .put(
            "identifier",
            authority.unwrap_or_else(|| Object::new().put("value", name)),
        )
        .put("display", name);
    if kind.codings.is_empty()
        && of.system.as_deref() == Some("urn:ietf:rfc:3986")
        && let Some(universal) = universal_kind(&of.value)
    {
        kind.codings.push(Coding::new(V2_0301, universal, None));
    }
    Some(
        Object::new()
            .put(
                "extension",
                vec![
                    extension(
                        format_args!("{STANDARD}identifier-checkDigit"),
                        "valueString",
                        of.check_digit.as_ref(),
                    ),
                    extension(
                        format_args!("{STANDARD}namingsystem-checkDigit"),
                        "valueString",
                        of.check_digit_scheme.as_ref(),
                    ),
                ],
            )
            .put("use", of.usage.map(|u| u.as_str()))
            .put("type", concept(&kind))
            .put("system", system(of.system.as_ref()))
            .put("value", &*uid_value(of))
            .put("period", period(of.period.as_ref()))
            .put("assigner", assigner)
            .into(),
    )
}

/// A UID of DICOM is written as an OID (FHIR R4 ImagingStudy.identifier); every other number as it is.
fn uid_value(of: &Identifier) -> std::borrow::Cow<'_, str> {
    let is_bare = !of.value.starts_with("urn:oid:");
    if of.system.as_deref() == Some(clinic::imaging::UID_SYSTEM) && is_bare {
        return format!("urn:oid:{}", of.value).into();
    }
    of.value.as_str().into()
}

/// The type of a universal id (HL7 table 0301) that a URI says; none for URIs that are names of ours or of HL7.
pub(crate) fn universal_kind(uri: &str) -> Option<&'static str> {
    if uri.starts_with("urn:oid:") {
        Some("ISO")
    } else if uri.starts_with("urn:uuid:") {
        Some("UUID")
    } else if uri.starts_with("urn:dns:") {
        Some("DNS")
    } else if uri.contains("://") && !OURS.iter().any(|ours| uri.starts_with(ours)) {
        Some("URI")
    } else {
        None
    }
}

/// URIs that stand for names of systems rather than for what a sender wrote.
const OURS: [&str; 4] = [
    "https://punte.org/",
    "http://hl7.org/",
    "http://terminology.hl7.org/",
    "http://loinc.org",
];

/// A universal id as it stands in an HD: without the scheme that makes it a URI.
fn universal_id(uri: &str) -> &str {
    ["urn:oid:", "urn:uuid:", "urn:dns:"]
        .iter()
        .find_map(|scheme| uri.strip_prefix(scheme))
        .unwrap_or(uri)
}

/// A name as the number of something that has no other: a place or an organisation known by its name only (HL7
/// v2-to-FHIR has the namespace of an HD as an identifier).
pub(crate) fn identifiers_or_name(of: &[Identifier], name: Option<&String>, id: Uuid) -> Vec<Json> {
    let mut all: Vec<Json> = of.iter().filter_map(identifier).collect();
    let has_number = of
        .iter()
        .any(|i| i.system.as_deref() != Some("urn:ietf:rfc:3986"));
    if let (false, Some(name)) = (has_number, name.and_then(Value::json)) {
        all.insert(0, Object::new().put("value", name).into());
    }
    all.push(own_identifier(id));
    all
}

/// An identifier whose kind is known from where it stands.
pub(crate) fn identifier_as(of: &Identifier, kind: &str, text: Option<&str>) -> Option<Json> {
    let mut identifier_with_kind = of.clone();
    let concept = identifier_with_kind
        .kind
        .get_or_insert_with(|| Concept::coded(V2_0203, kind, None));
    if let (None, Some(text)) = (&concept.text, text) {
        concept.text = Some(text.to_owned());
    }
    identifier(&identifier_with_kind)
}

pub(crate) fn human_name(name: &PersonName) -> Object {
    let part = |url: &str, value: &Option<String>| {
        extension(
            format_args!("{STANDARD}humanname-{url}"),
            "valueString",
            value.as_ref(),
        )
    };
    let order = extension(
        format_args!("{STANDARD}humanname-assembly-order"),
        "valueCode",
        name.assembly_order.as_deref().and_then(code),
    );
    let letters = name.representation.map(|letters| match letters {
        NameRepresentation::Alphabetic => "ABC",
        NameRepresentation::Ideographic => "IDE",
        NameRepresentation::Phonetic => "SYL",
    });
    let letters = extension(
        format_args!("{STANDARD}iso21090-EN-representation"),
        "valueCode",
        letters,
    );
    let mut out = Object::new()
        .put("extension", vec![order, letters])
        .put("use", name.usage.map(|u| u.as_str()))
        .put("text", name.text.as_ref());
    primitive(
        &mut out,
        "family",
        name.family.as_ref(),
        vec![
            part("own-prefix", &name.own_prefix),
            part("own-name", &name.own_name),
            part("partner-prefix", &name.partner_prefix),
            part("partner-name", &name.partner_name),
        ],
    );
    out.put("given", strings(&name.given))
        .put("prefix", strings(&name.prefix))
        .put("suffix", strings(&name.suffix))
        .put("period", period(name.period.as_ref()))
}

pub(crate) fn human_names(names: &[PersonName]) -> Vec<Object> {
    names.iter().map(human_name).collect()
}

pub(crate) fn strings(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

pub(crate) fn address(address: &Address) -> Object {
    let part = |name: &str, value: &Option<String>| {
        extension(
            format_args!("{STANDARD}iso21090-ADXP-{name}"),
            "valueString",
            value.as_ref(),
        )
    };
    let mut lines: Vec<Json> = address
        .lines
        .iter()
        .filter_map(|line| line.as_str().json())
        .collect();
    if lines.is_empty() {
        let joined: Vec<&str> = [&address.street, &address.house_number]
            .into_iter()
            .filter_map(|part| part.as_deref())
            .collect();
        lines.extend(joined.join(" ").json());
    }
    let parts = vec![
        part("streetName", &address.street),
        part("houseNumber", &address.house_number),
    ];
    let mut beside = vec![Object::new().put("extension", parts).json().unwrap_or(Json::Null)];
    beside.resize(lines.len().max(1), Json::Null);
    // XAD.7 as it came, and the one use that FHIR has only as an extension.
    let type_code = address.type_code.as_deref().and_then(code).and_then(|code| {
        let coding = Object::new()
            .put("system", "http://terminology.hl7.org/CodeSystem/v2-0190")
            .put("code", code);
        extension(
            ALTERNATE_CODES,
            "valueCodeableConcept",
            Object::new().put("coding", vec![coding]),
        )
    });
    let visit = extension(
        format_args!("{STANDARD}iso21090-AD-use"),
        "valueCode",
        address.type_code.as_deref().filter(|code| *code == "HV"),
    );
    let out = Object::new()
        .put(
            "extension",
            vec![visit, type_code, part("censusTract", &address.census_tract)],
        )
        .put("use", address.usage.map(|u| u.as_str()))
        .put("type", address.kind.map(|k| k.as_str()))
        .put("text", address.text.as_ref())
        .put("line", lines);
    out.put_aligned("_line", beside)
        .put("city", address.city.as_ref())
        .put("district", address.district.as_ref())
        .put("state", address.state.as_ref())
        .put("postalCode", address.postal_code.as_ref())
        .put("country", address.country.as_ref())
        .put("period", period(address.period.as_ref()))
}

pub(crate) fn addresses(list: &[Address]) -> Vec<Object> {
    list.iter().map(address).collect()
}

/// The addresses of an organisation, which has no home (org-2): that somebody called one so stands beside it.
pub(crate) fn addresses_of_organization(list: &[Address]) -> Vec<Object> {
    let one = |address: &Address| {
        let is_home = address.usage == Some(AddressUse::Home);
        let usage = address.usage.filter(|_| !is_home);
        let mut out = self::address(&Address {
            usage,
            ..address.clone()
        });
        home_in_words(&mut out, is_home);
        out
    };
    list.iter().map(one).collect()
}

/// The ways to reach an organisation, which has no home (org-3).
pub(crate) fn contact_points_of_organization(list: &[Telecom]) -> Vec<Object> {
    let one = |telecom: &Telecom| {
        let is_home = telecom.usage == Some(TelecomUse::Home);
        let usage = telecom.usage.filter(|_| !is_home);
        let mut out = contact_point(&Telecom {
            usage,
            ..telecom.clone()
        });
        home_in_words(&mut out, is_home);
        out
    };
    list.iter().map(one).collect()
}

fn home_in_words(out: &mut Object, is_home: bool) {
    if is_home {
        let words = extension(ORIGINAL_TEXT, "valueString", "home");
        primitive(out, "use", None::<&str>, vec![words]);
    }
}

/// A way to reach somebody. A number without a means gets the means "unknown" (HL7 v2-to-FHIR, XTN.3).
pub(crate) fn contact_point(telecom: &Telecom) -> Object {
    let parts = telecom.parts.clone().unwrap_or_default();
    let part = |name: &str, value: &Option<String>| {
        extension(
            format_args!("{STANDARD}contactpoint-{name}"),
            "valueString",
            value.as_ref(),
        )
    };
    let mut out = Object::new().put(
        "extension",
        vec![
            part("country", &parts.country),
            part("area", &parts.area),
            part("local", &parts.local),
            part("extension", &parts.extension),
        ],
    );
    let value = telecom.value.as_ref().json();
    let no_means = telecom.system.is_none() && value.is_some();
    primitive(
        &mut out,
        "system",
        telecom.system.map(|s| s.as_str()),
        vec![no_means.then(absent)],
    );
    out.put("value", value)
        .put("use", telecom.usage.map(|u| u.as_str()))
        .put("rank", telecom.rank.filter(|rank| 0 < *rank))
        .put("period", period(telecom.period.as_ref()))
}

pub(crate) fn contact_points(list: &[Telecom]) -> Vec<Object> {
    list.iter().map(contact_point).collect()
}

pub(crate) fn communication(language: &Language) -> Option<Json> {
    let concept = concept(&language.language).json()?;
    Some(
        Object::new()
            .put("language", concept)
            .put("preferred", language.preferred.then_some(true))
            .into(),
    )
}

/// An amount. A unit's code without its system says less than FHIR asks of a code (qty-3), so it becomes the unit in
/// words. A number beyond what a computer's `double` holds is kept as text: nobody could read it as a number.
pub(crate) fn quantity(of: &Quantity) -> Object {
    let readable =
        |digits: &&clinic::value::Decimal| digits.as_str().parse::<f64>().is_ok_and(f64::is_finite);
    let value = of.value.as_ref().filter(readable);
    let text = match (value, &of.value) {
        (None, Some(digits)) => extension(ORIGINAL_TEXT, "valueString", digits.as_str()),
        (Some(_), _) | (None, None) => None,
    };
    let unit_system = system(of.system.as_ref());
    let unit_code = of.code.as_deref().and_then(code);
    let unit = match (&unit_system, &unit_code) {
        (None, Some(bare)) => of.unit.clone().or_else(|| Some(bare.clone())),
        (Some(_), _) | (None, None) => of.unit.clone(),
    };
    let unit_code = unit_code.filter(|_| unit_system.is_some());
    Object::new()
        .put("extension", vec![text])
        .put("value", value)
        .put("comparator", of.comparator.map(|c| c.as_str()))
        .put("unit", unit)
        .put("system", unit_system)
        .put("code", unit_code)
}

pub(crate) fn quantity_of(of: Option<&Quantity>) -> Object {
    of.map(quantity).unwrap_or_default()
}

pub(crate) fn range(of: &Range) -> Object {
    Object::new()
        .put("low", quantity_of(of.low.as_ref()))
        .put("high", quantity_of(of.high.as_ref()))
}

pub(crate) fn ratio(of: &Ratio) -> Object {
    // rat-1: both or neither.
    let told = |one: &Option<Quantity>, other: &Option<Quantity>| match (one, other) {
        (None, Some(_)) => Object::new().put("extension", vec![absent()]),
        (one, _) => quantity_of(one.as_ref()),
    };
    Object::new()
        .put("numerator", told(&of.numerator, &of.denominator))
        .put("denominator", told(&of.denominator, &of.numerator))
}

/// A file. Bytes without a type get the one that says nothing (att-1).
pub(crate) fn attachment(of: &Attachment) -> Object {
    let data: Option<String> = of
        .data
        .as_deref()
        .map(|data| data.chars().filter(|c| !c.is_whitespace()).collect());
    let content_type = of.content_type.as_deref().and_then(code);
    let fallback = data
        .as_deref()
        .filter(|d| !d.is_empty())
        .map(|_| "application/octet-stream".to_owned());
    Object::new()
        .put("contentType", content_type.or(fallback))
        .put("language", of.language.as_deref().and_then(code))
        .put("data", data)
        .put("url", of.url.as_deref().and_then(uri))
        .put("title", of.title.as_ref())
        .put("creation", date_time_of(of.created.as_ref()))
}

pub(crate) fn attachments(list: &[Attachment]) -> Vec<Object> {
    list.iter().map(attachment).collect()
}

/// A remark. Its text is required; a remark without one is only its code, and the code's words are its text.
pub(crate) fn annotation(of: &Annotation, ctx: &Context<'_>) -> Option<Json> {
    let text = of.text.as_str().json().or_else(|| {
        let code = of.code.as_ref()?;
        let words = code.text.as_deref();
        words
            .or_else(|| {
                code.codings
                    .iter()
                    .find_map(|c| c.display.as_deref().or(c.code.as_deref()))
            })?
            .json()
    })?;
    Some(
        Object::new()
            .put(
                "extension",
                vec![
                    extension(
                        format_args!("{STANDARD}annotationType"),
                        "valueCodeableConcept",
                        concept_of(of.kind.as_ref()),
                    ),
                    extension(
                        ALTERNATE_CODES,
                        "valueCodeableConcept",
                        concept_of(of.code.as_ref()),
                    ),
                ],
            )
            .put("authorReference", ctx.optional(of.author.as_ref()))
            .put("time", date_time_of(of.time.as_ref()))
            .put("text", text)
            .into(),
    )
}

pub(crate) fn annotations(list: &[Annotation], ctx: &Context<'_>) -> Vec<Json> {
    list.iter().filter_map(|note| annotation(note, ctx)).collect()
}

/// `meta` of a resource that is kept: which version it is, since when, from which message, how confidential.
pub(crate) fn meta(of: &clinic::aggregate::Meta, security: &[Coding]) -> Object {
    let source = match &of.source {
        clinic::aggregate::Source::Message { message, .. } => format!("urn:punte:message:{message}"),
        clinic::aggregate::Source::Actor { name, .. } => format!("urn:punte:actor:{}", percent_encoded(name)),
    };
    Object::new()
        .put("versionId", of.version.to_string())
        .put("lastUpdated", of.updated_at.to_string())
        .put("source", source)
        .put("security", codings(security))
}
