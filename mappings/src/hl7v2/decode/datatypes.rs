//! The data types of HL7 v2 (v2.5.1 chapter 2.A) as values of the clinic. Each function takes what it carries and
//! leaves the rest; what is malformed stays with a note.

use super::Profile;
use super::collect::At;
use super::terms::{self, UCUM};
pub use super::times::{end_of, period, period_of, time_of_day, when};
use clinic::cnp::{self, Cnp, Idnp};
use clinic::value::{
    Address, AddressKind, AddressUse, Concept, Decimal, Identifier, NameRepresentation, NameUse, Period,
    PersonName, PhoneParts, Quantity, Telecom, TelecomSystem, TelecomUse,
};

/// The system of the Romanian personal number (*cod numeric personal*).
pub const CNP: &str = "https://punte.org/sid/cnp";
/// The system of the Moldovan personal number.
pub const IDNP: &str = "https://punte.org/sid/idnp";

/// NM → the number with its digits.
pub fn decimal(at: At<'_>) -> Option<Decimal> {
    at.part(1).read(str::parse)
}

/// NM, SI → a whole number from 1.
pub fn positive(at: At<'_>) -> Option<u32> {
    at.part(1).read(|text| match text.parse::<u32>() {
        Ok(number) if number > 0 && number <= i32::MAX as u32 => Ok(number),
        _ => Err("not a whole number from 1"),
    })
}

/// ID of table 0136 → yes or no. Some senders write the words.
pub fn yes_no(at: At<'_>) -> Option<bool> {
    at.part(1).read(|text| {
        let is = |words: [&str; 3]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
        match (is(["Y", "YES", "TRUE"]), is(["N", "NO", "FALSE"])) {
            (true, _) => Ok(true),
            (_, true) => Ok(false),
            (false, false) => Err("neither Y nor N"),
        }
    })
}

/// CQ → an amount with its unit.
pub fn quantity(at: At<'_>) -> Option<Quantity> {
    let value = decimal(at)?;
    let mut quantity = Quantity {
        value: Some(value),
        ..Quantity::default()
    };
    unit(at.part(2), &mut quantity);
    Some(quantity)
}

/// CWE, CE, ST → the unit of an amount. A code without a system is taken as UCUM where it is one that is listed
/// here; else it is words. Many analysers write exponents with a caret that they do not escape, so that it parts
/// them (`10^3/uL`, `mL/min/1.73m^2`): it is put back.
pub fn unit(at: At<'_>, quantity: &mut Quantity) {
    let Some(mut code) = at.part(1).peek() else {
        quantity.unit = at.part(2).text();
        return;
    };
    let mut next = 2;
    while let Some(exponent) = at.part(next).peek()
        && is_parted_power(&code, &exponent)
    {
        at.part(next).take();
        code = format!("{code}^{exponent}");
        next += 1;
    }
    // What follows a unit that was put together is its system, or words and then that.
    let (words, system) = match next {
        2 => (at.part(2).text(), at.part(3)),
        _ if at.part(next + 1).peek().is_some() => (at.part(next).text(), at.part(next + 1)),
        _ => (None, at.part(next)),
    };
    let named = system.text().map(|name| terms::system_uri(&name).into_owned());
    let is_other = named.as_deref().is_some_and(|system| system != UCUM);
    let listed = ucum(&code).filter(|_| !is_other);
    if named.is_some() || listed.is_some() || words.is_none() {
        at.part(1).take();
    } else {
        at.part(1)
            .note("a unit whose system is not said; its words are used");
    }
    quantity.code = listed.clone().or_else(|| named.is_some().then(|| code.clone()));
    quantity.system = named.or_else(|| listed.map(|_| UCUM.to_owned()));
    quantity.unit = words.or(Some(code));
}

/// Whether a component is an exponent, with what follows it, of what stands before. No unit begins with a number that is raised
/// to nothing, and none is a ten; none is called by a number either.
fn is_parted_power(base: &str, exponent: &str) -> bool {
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let behind = digits.trim_start_matches(|c: char| c.is_ascii_digit());
    if behind.len() == digits.len() {
        return false;
    }
    let is_ten = base.trim_start_matches(['x', 'X', '*', '×', ' ']) == "10";
    is_ten
        || base.ends_with(char::is_alphabetic)
            && (behind.is_empty() || behind.starts_with(['/', '.', '*', '·', ')']))
}

/// The code of UCUM for a unit that laboratories write without naming UCUM. What is not listed may be a local unit.
/// UCUM writes the power of ten with a star or with a caret (UCUM §28, table 1), here with its star, and other exponents without (§9).
fn ucum(unit: &str) -> Option<String> {
    let power = unit.trim_start_matches(['x', 'X', ' ']).strip_prefix("10^");
    let code = match power {
        Some(power) => format!("10*{power}"),
        None => unit.replace('^', ""),
    };
    if matches!(code.as_str(), "mL/min/1.73m2" | "mL/min/1.73 m2") {
        // A number is no unit of UCUM; a remark in braces is.
        return Some("mL/min/{1.73_m2}".to_owned());
    }
    is_ucum(&code).then_some(code)
}

fn is_ucum(code: &str) -> bool {
    const UNITS: &[&str] = &[
        "%",
        "1",
        "mol/L",
        "mmol/L",
        "umol/L",
        "nmol/L",
        "pmol/L",
        "g/L",
        "mg/L",
        "ug/L",
        "ng/L",
        "g/dL",
        "mg/dL",
        "ug/dL",
        "ng/dL",
        "mg/mL",
        "ug/mL",
        "ng/mL",
        "pg/mL",
        "U/L",
        "kU/L",
        "mU/L",
        "m[IU]/L",
        "[IU]/L",
        "k[IU]/L",
        "u[IU]/mL",
        "m[IU]/mL",
        "[IU]/mL",
        "meq/L",
        "10*3/uL",
        "10*6/uL",
        "10*9/L",
        "10*12/L",
        "/uL",
        "fL",
        "pg",
        "g",
        "kg",
        "mg",
        "ug",
        "L",
        "mL",
        "dL",
        "uL",
        "m",
        "cm",
        "mm",
        "m2",
        "kg/m2",
        "s",
        "min",
        "h",
        "d",
        "wk",
        "mo",
        "a",
        "Cel",
        "mm[Hg]",
        "/min",
        "mm/h",
        "mL/min",
        "mOsm/kg",
        "mL/min/{1.73_m2}",
        "mmol/mol",
        "mg/g",
        "ug/g",
        "kPa",
    ];
    UNITS.contains(&code)
}

/// Whose numbers these are: a system, and the name of the authority in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    /// As a URI where the universal id gives one or the channel knows it, else the namespace.
    pub system: Option<String>,
    /// The namespace.
    pub name: Option<String>,
}

/// HD → the authority that it names. What the channel knows of the namespace goes before the universal id, which then
/// stays.
pub fn authority(at: At<'_>) -> Authority {
    let name = at.part(1).text();
    let known = name
        .as_ref()
        .and_then(|name| at.profile().authorities.get(name).cloned());
    let uri = match known {
        Some(known) => Some(known),
        None => universal(at.part(2), at.part(3)),
    };
    let by_shape = name
        .as_deref()
        .map(|name| terms::system_uri_of_id(name).unwrap_or_else(|| name.to_owned()));
    Authority {
        system: uri.or(by_shape),
        name,
    }
}

/// A universal id with its type (HD.2 and .3, EI.3 and .4) → a URI. A type that says nothing to a URI stays.
pub fn universal(id: At<'_>, kind: At<'_>) -> Option<String> {
    let text = id.text()?;
    let kind_code = kind.peek().map(|kind| kind.to_ascii_uppercase());
    if matches!(
        kind_code.as_deref(),
        Some("ISO" | "UUID" | "GUID" | "URI" | "DNS")
    ) {
        kind.take();
    }
    Some(universal_uri(&text, kind_code.as_deref()))
}

/// The URI of a universal id (HD.2, EI.3) by its type (table 0301), or by its shape where there is none.
pub fn universal_uri(id: &str, kind: Option<&str>) -> String {
    let bare = id.trim();
    match kind {
        Some("ISO") if terms::is_oid(bare) => format!("urn:oid:{bare}"),
        Some("UUID" | "GUID") if uuid::Uuid::parse_str(bare).is_ok() => {
            format!("urn:uuid:{}", bare.to_ascii_lowercase())
        }
        Some("DNS") if !bare.contains(char::is_whitespace) => format!("urn:dns:{bare}"),
        _ => terms::system_uri_of_id(bare).unwrap_or_else(|| bare.to_owned()),
    }
}

/// CX → identifier. HL7 v2.5.1, 2.A.14.
pub fn identifier(at: At<'_>) -> Option<Identifier> {
    let value = at.part(1).text()?;
    let mut out = named(value, at.part(4), at.part(5));
    out.check_digit = at.part(2).text();
    out.check_digit_scheme = at.part(3).text();
    out.period = period_of(at.part(7), at.part(8));
    Some(out)
}

/// EI → identifier of a kind of table 0203 (`PLAC`, `FILL` …), or of none. HL7 v2.5.1, 2.A.28.
pub fn entity(at: At<'_>, kind: Option<&str>) -> Option<Identifier> {
    let value = at.part(1).text()?;
    let name = at.part(2).text();
    let known = name
        .as_ref()
        .and_then(|name| at.profile().authorities.get(name).cloned());
    let uri = match known {
        Some(known) => Some(known),
        None => universal(at.part(3), at.part(4)),
    };
    Some(Identifier {
        system: uri.or_else(|| name.clone()),
        value,
        kind: kind.map(kind_of),
        assigner: name,
        ..Identifier::default()
    })
}

/// A kind of identifier of table 0203.
pub fn kind_of(code: &str) -> Concept {
    Concept::coded(&terms::v2("0203"), code, kind_display(code))
}

fn kind_display(code: &str) -> Option<&'static str> {
    Some(match code {
        "PLAC" => "Placer Identifier",
        "FILL" => "Filler Identifier",
        "VN" => "Visit number",
        "MR" => "Medical record number",
        "ACSN" => "Accession ID",
        _ => return None,
    })
}

/// An identifier with its authority (HD) and its kind (ID of table 0203); personal numbers are known by their kind,
/// their authority, or, where neither is said, by their shape.
pub fn named(value: String, authority_at: At<'_>, kind_at: At<'_>) -> Identifier {
    let kind = kind_at.text();
    let name = authority_at.part(1).peek();
    let identifier = match personal_system(&value, name.as_deref(), kind.as_deref()) {
        Some(system) => Identifier {
            system: Some(system.to_owned()),
            assigner: authority_at.part(1).text(),
            ..Identifier::default()
        },
        None => {
            let mut authority = authority(authority_at);
            if authority == Authority::default() {
                authority.system = implied(authority_at.profile());
            }
            Identifier {
                system: authority.system,
                assigner: authority.name,
                ..Identifier::default()
            }
        }
    };
    let identifier = Identifier {
        value,
        kind: kind.as_deref().map(kind_of),
        ..identifier
    };
    if let Some(problem) = cnp::identifier_problem(&identifier) {
        kind_at.remark(problem);
    }
    identifier
}

/// The system of numbers that name no authority, where the channel says whose they are. HL7 v2.5.1 §2.A.14.4.
fn implied(profile: &Profile) -> Option<String> {
    let name = profile.authority.as_ref()?;
    let known = profile.authorities.get(name).cloned();
    Some(
        known
            .or_else(|| terms::system_uri_of_id(name))
            .unwrap_or_else(|| name.clone()),
    )
}

/// The system of a personal number, if it is one.
pub fn personal_system(value: &str, authority: Option<&str>, kind: Option<&str>) -> Option<&'static str> {
    let authority = authority.map(str::to_ascii_uppercase);
    let says_idnp = kind == Some("NNMDA") || authority.as_deref() == Some("IDNP");
    if says_idnp && Idnp::problem(value).is_none() {
        return Some(IDNP);
    }
    let says_cnp = matches!(kind, Some("NNROU" | "NI" | "CNP"))
        || authority.as_deref().is_some_and(|a| a.contains("CNP"));
    let says_nothing = kind.is_none() && authority.is_none();
    ((says_cnp || says_nothing) && Cnp::problem(value).is_none()).then_some(CNP)
}

/// XPN → names: the name itself, and what they are called by (XPN.15). HL7 v2.5.1, 2.A.89.
pub fn names(at: At<'_>) -> Vec<PersonName> {
    let called = at.part(15).text().map(|called| PersonName {
        given: vec![called],
        usage: Some(NameUse::Nickname),
        ..PersonName::default()
    });
    name(at).into_iter().chain(called).collect()
}

/// XPN → name, without XPN.15.
pub fn name(at: At<'_>) -> Option<PersonName> {
    let mut out = family(at.part(1));
    out.given = texts(at, &[2, 3]);
    out.suffix = texts(at, &[4, 6, 14]);
    out.prefix = texts(at, &[5]);
    if out == PersonName::default() {
        return None;
    }
    out.usage = name_use(at.part(7));
    out.representation = representation(at.part(8));
    out.assembly_order = assembly(at.part(11));
    out.period = period_of(at.part(12), at.part(13)).or_else(|| period(at.part(10)));
    Some(out)
}

/// FN → the family name with its parts. HL7 v2.5.1, 2.A.30.
pub fn family(at: At<'_>) -> PersonName {
    PersonName {
        family: at.part(1).text(),
        own_prefix: at.part(2).text(),
        own_name: at.part(3).text(),
        partner_prefix: at.part(4).text(),
        partner_name: at.part(5).text(),
        ..PersonName::default()
    }
}

/// The texts of these components, without empty ones.
pub fn texts(at: At<'_>, parts: &[usize]) -> Vec<String> {
    parts.iter().filter_map(|&part| at.part(part).text()).collect()
}

/// ID of table 0200 → what a name is used for; a code that says none of ours stays.
pub fn name_use(at: At<'_>) -> Option<NameUse> {
    let usage = match at.peek()?.as_str() {
        "L" | "R" => NameUse::Official,
        "D" => NameUse::Usual,
        "M" => NameUse::Maiden,
        "N" => NameUse::Nickname,
        "MSK" => NameUse::Anonymous,
        "NAV" | "TEMP" => NameUse::Temporary,
        "BAD" => NameUse::Old,
        _ => return None,
    };
    at.take();
    Some(usage)
}

/// ID of table 0465 → in which letters a name is written.
pub fn representation(at: At<'_>) -> Option<NameRepresentation> {
    at.read(|text| match text {
        "A" => Ok(NameRepresentation::Alphabetic),
        "I" => Ok(NameRepresentation::Ideographic),
        "P" => Ok(NameRepresentation::Phonetic),
        _ => Err("none of A, I and P"),
    })
}

/// ID of table 0444.
pub fn assembly(at: At<'_>) -> Option<String> {
    at.read(|text| match text {
        "G" | "F" => Ok(text.to_owned()),
        _ => Err("neither G nor F"),
    })
}

/// XPN → a name in words: as XPN.11 says, else given names first.
pub fn name_in_words(at: At<'_>) -> Option<String> {
    let family = at.part(1).part(1).text();
    let given = texts(at, &[2, 3]);
    let before = texts(at, &[5]);
    let after = texts(at, &[4, 6, 14]);
    let family_first = at.part(11).is("F");
    if family_first {
        at.part(11).take();
    }
    let middle: Vec<String> = if family_first {
        family.into_iter().chain(given).collect()
    } else {
        given.into_iter().chain(family).collect()
    };
    let all: Vec<String> = before.into_iter().chain(middle).chain(after).collect();
    (!all.is_empty()).then(|| all.join(" "))
}

/// XAD → address. HL7 v2.5.1, 2.A.87.
pub fn address(at: At<'_>) -> Option<Address> {
    let street = at.part(1).part(2).text();
    let house_number = at.part(1).part(3).text();
    let lines = [
        at.part(1).part(1).text(),
        street.clone(),
        house_number.clone(),
        at.part(2).text(),
        at.part(19).text(),
    ];
    let mut out = Address {
        lines: lines.into_iter().flatten().collect(),
        street,
        house_number,
        city: at.part(3).text(),
        state: at.part(4).text(),
        postal_code: at.part(5).text(),
        country: at.part(6).text(),
        district: terms::words(at.part(9)),
        census_tract: terms::words(at.part(10)),
        ..Address::default()
    };
    if out == Address::default() {
        return None;
    }
    if let Some(code) = at.part(7).text() {
        (out.usage, out.kind) = address_use(&code);
        out.type_code = Some(code);
    }
    out.period = period_of(at.part(13), at.part(14)).or_else(|| period(at.part(12)));
    Some(out)
}

/// ID of table 0190.
fn address_use(code: &str) -> (Option<AddressUse>, Option<AddressKind>) {
    match code {
        "H" => (Some(AddressUse::Home), None),
        "B" | "O" => (Some(AddressUse::Work), None),
        "C" => (Some(AddressUse::Temporary), None),
        "BA" => (Some(AddressUse::Old), None),
        "BI" => (Some(AddressUse::Billing), None),
        "M" | "SH" => (None, Some(AddressKind::Postal)),
        _ => (None, None),
    }
}

/// XTN, TN → telecom; `usual` is what it is used for where the field implies it. HL7 v2.5.1, 2.A.90.
///
/// The number is XTN.12, else XTN.1, else put together of country, area, local number and extension.
pub fn telecom(at: At<'_>, usual: Option<TelecomUse>) -> Option<Telecom> {
    let equipment = at.part(3).peek();
    let purpose = at.part(2).peek();
    let is_net =
        matches!(equipment.as_deref(), Some("Internet" | "X.400")) || purpose.as_deref() == Some("NET");
    let something = [1, 4, 6, 7, 12]
        .iter()
        .any(|&part| at.part(part).peek().is_some());
    if !something {
        return None;
    }
    let parts = PhoneParts {
        country: at.part(5).text(),
        area: at.part(6).text(),
        local: at.part(7).text(),
        extension: at.part(8).text(),
    };
    let net = || at.part(4).text();
    let number = || at.part(12).text().or_else(|| at.part(1).text());
    let value = if is_net { net().or_else(number) } else { number() };
    let value = value.or_else(|| dialled(&parts)).or_else(net)?;
    let mut out = Telecom {
        parts: (parts != PhoneParts::default()).then_some(parts),
        ..Telecom::default()
    };
    let system = match equipment.as_deref() {
        Some("PH" | "CP") => Some(TelecomSystem::Phone),
        Some("FX") => Some(TelecomSystem::Fax),
        Some("BP") => Some(TelecomSystem::Pager),
        Some("MD" | "SAT" | "TDD" | "TTY") => Some(TelecomSystem::Other),
        Some("Internet" | "X.400") => Some(TelecomSystem::Email),
        Some(_) | None => None,
    };
    if system.is_some() {
        at.part(3).take();
    }
    out.system = system.or(Some(guess(&value, purpose.as_deref())));
    let usage = match purpose.as_deref() {
        Some("PRN" | "ORN" | "VHN") => Some(TelecomUse::Home),
        Some("WPN" | "ASN" | "BPN") => Some(TelecomUse::Work),
        Some("PRS") => Some(TelecomUse::Mobile),
        Some(_) | None => None,
    };
    let is_mobile = equipment.as_deref() == Some("CP");
    out.usage = match usage {
        _ if is_mobile => Some(TelecomUse::Mobile),
        Some(usage) => Some(usage),
        None if purpose.is_none() => usual,
        None => None,
    };
    let emergency = purpose.as_deref() == Some("EMR");
    if (usage.is_some() && (!is_mobile || usage == out.usage))
        || emergency
        || purpose.as_deref() == Some("NET")
    {
        at.part(2).take();
    }
    out.rank = positive(at.part(18)).or(emergency.then_some(1));
    out.period = period_of(at.part(13), at.part(14));
    out.value = Some(value);
    Some(out)
}

/// XTN → the number, and the mail address that some senders write beside it (XTN.4).
pub fn telecoms(at: At<'_>, usual: Option<TelecomUse>) -> Vec<Telecom> {
    let number = telecom(at, usual);
    let mail = at.part(4).peek().filter(|text| {
        let known = number.as_ref().and_then(|number| number.value.as_ref());
        text.contains('@') && known.is_some_and(|known| known != text)
    });
    let mail = mail.map(|value| {
        at.part(4).take();
        Telecom {
            system: Some(TelecomSystem::Email),
            value: Some(value),
            ..Telecom::default()
        }
    });
    number.into_iter().chain(mail).collect()
}

/// What kind of address it is where the sender names no equipment.
fn guess(value: &str, purpose: Option<&str>) -> TelecomSystem {
    if purpose == Some("NET") || value.contains('@') {
        TelecomSystem::Email
    } else if value.contains("://") {
        TelecomSystem::Url
    } else if purpose == Some("BPN") {
        TelecomSystem::Pager
    } else {
        TelecomSystem::Phone
    }
}

/// The parts as one number: `+40 744 100200 x12`.
fn dialled(parts: &PhoneParts) -> Option<String> {
    parts.local.as_ref().or(parts.area.as_ref())?;
    let country = parts.country.as_ref().map(|country| {
        if country.starts_with(|c: char| c.is_ascii_digit()) {
            format!("+{country}")
        } else {
            country.clone()
        }
    });
    let extension = parts.extension.as_ref().map(|extension| format!("x{extension}"));
    let all = [country, parts.area.clone(), parts.local.clone(), extension];
    Some(all.into_iter().flatten().collect::<Vec<_>>().join(" "))
}

/// DLN → driver's licence. HL7 v2.5.1, 2.A.24.
pub fn driver_licence(at: At<'_>) -> Option<Identifier> {
    let value = at.part(1).text()?;
    let issuer = terms::words(at.part(2));
    let end = when(at.part(3));
    Some(Identifier {
        system: issuer.clone(),
        value,
        kind: Some(kind_of("DL")),
        assigner: issuer,
        period: end.map(|end| Period {
            start: None,
            end: Some(end),
        }),
        ..Identifier::default()
    })
}
