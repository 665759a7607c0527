//! The values that aggregates are made of. Parsed once, at the edge; inside they are right by construction.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::civil;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A value that can't be what it should be. The message never contains the value itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub &'static str);

/// A fixed list of codes as an enum: `as_str`, `FromStr`, serde and JSON Schema by the same words.
macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $code:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$vmeta])* #[doc = concat!("`", $code, "`")] #[serde(rename = $code)] $variant),* }
        impl $name {
            /// Every code, in the order of the list.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];
            /// The code as it is written.
            pub fn as_str(self) -> &'static str { match self { $($name::$variant => $code),* } }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::value::ValueError;
            fn from_str(code: &str) -> std::result::Result<Self, Self::Err> {
                match code { $($code => std::result::Result::Ok($name::$variant),)* _ => Err($crate::value::ValueError(concat!("not a code of ", stringify!($name)))) }
            }
        }
    };
}
pub(crate) use codes;

/// Implements `Debug` without showing anything personal.
macro_rules! private {
    ($($name:ident),* $(,)?) => { $(impl std::fmt::Debug for $name {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(concat!(stringify!($name), "(•••)")) }
    })* };
}
pub(crate) use private;

/// An exact decimal number that keeps the digits it came with: `5.40` stays `5.40`, and 30 digits stay 30 digits.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[schemars(extend("pattern" = "^[-+]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][-+]?[0-9]{1,4})?$"))]
#[serde(transparent)]
pub struct Decimal(String);

impl Decimal {
    /// The number as text, in the grammar of JSON numbers.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number for computing, where it fits 28 digits.
    pub fn value(&self) -> Option<rust_decimal::Decimal> {
        rust_decimal::Decimal::from_str(&self.0)
            .or_else(|_| rust_decimal::Decimal::from_scientific(&self.0))
            .ok()
    }
}

impl FromStr for Decimal {
    type Err = ValueError;

    /// Reads `-12.50`, `+3`, `.5`, `7.`, `1e3`. A sign plus, a missing or leading zero are put right; the digits stay.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        const WRONG: ValueError = ValueError("not a decimal number");
        if text.len() > 400 {
            return Err(ValueError("a number of more than 400 characters"));
        }
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (rest, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !fraction.is_none_or(digits) || whole.len() + fraction.map_or(0, str::len) == 0 {
            return Err(WRONG);
        }
        let mut out = String::with_capacity(text.len() + 1);
        if negative {
            out.push('-');
        }
        let whole = whole.trim_start_matches('0');
        out.push_str(if whole.is_empty() { "0" } else { whole });
        if let Some(fraction) = fraction.filter(|f| !f.is_empty()) {
            out.push('.');
            out.push_str(fraction);
        }
        if let Some(exponent) = exponent {
            let bare = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if bare.is_empty() || !digits(bare) || bare.len() > 4 {
                return Err(WRONG);
            }
            out.push('e');
            out.push_str(exponent);
        }
        Ok(Decimal(out))
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decimal(•••)")
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A date or a moment with the precision it was given in: `1980`, `1980-05`, `1980-05-12`, `2026-05-05T08:30:00+03:00`.
///
/// The text form is that of ISO 8601 with `-` and `:`. A time always has seconds and an offset (FHIR R4 §2.24.0.1 asks
/// for both); whoever reads a time without a zone adds the zone of its sender before coming here.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[schemars(extend("pattern" = "^[0-9]{4}(-[0-9]{2}(-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?(Z|[-+][0-9]{2}:[0-9]{2}))?)?)?$"))]
#[serde(transparent)]
pub struct When(String);

impl When {
    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A moment, in UTC.
    pub fn from_timestamp(at: jiff::Timestamp) -> Self {
        When(at.to_string())
    }

    /// A whole day.
    pub fn from_date(date: civil::Date) -> Self {
        When(date.to_string())
    }

    /// True where there is a time of day.
    pub fn has_time(&self) -> bool {
        self.0.len() > 10
    }

    /// The date part as given: `1980`, `1980-05` or `1980-05-12`.
    pub fn date_text(&self) -> &str {
        &self.0[..self.0.len().min(10)]
    }

    /// The first moment that this may mean; a date without a time is one of `zone`.
    pub fn earliest(&self, zone: &jiff::tz::TimeZone) -> Option<jiff::Timestamp> {
        if self.has_time() {
            return self.0.parse().ok();
        }
        let date = self.first_day()?;
        zone.to_timestamp(date.at(0, 0, 0, 0)).ok()
    }

    /// The first moment after all that this may mean (the moment itself, for one with a time).
    pub fn latest(&self, zone: &jiff::tz::TimeZone) -> Option<jiff::Timestamp> {
        if self.has_time() {
            return self.0.parse().ok();
        }
        let first = self.first_day()?;
        let span = match self.0.len() {
            4 => jiff::Span::new().years(1),
            7 => jiff::Span::new().months(1),
            _ => jiff::Span::new().days(1),
        };
        let next = first.checked_add(span).ok()?;
        zone.to_timestamp(next.at(0, 0, 0, 0)).ok()
    }

    /// A moment so many seconds later, with the offset that it has; a day that is named whole so many days later. None:
    /// a month, a year, or a day by less than a day.
    pub fn shifted(&self, seconds: i64) -> Option<When> {
        const DAY: i64 = 86_400;
        if !self.has_time() {
            let is_days = seconds % DAY == 0 && self.0.len() == "2026-05-12".len();
            let day = self.first_day().filter(|_| is_days)?;
            let moved = day
                .checked_add(jiff::Span::new().try_days(seconds / DAY).ok()?)
                .ok()?;
            return moved.to_string().parse().ok();
        }
        let moment: jiff::Timestamp = self.0.parse().ok()?;
        let moved = moment
            .checked_add(jiff::SignedDuration::from_secs(seconds))
            .ok()?;
        let clock = self.0.get(11..)?;
        let offset = match clock.find(['+', '-']) {
            None => return Some(When::from_timestamp(moved)),
            Some(at) => clock.get(at..)?,
        };
        let sign = if offset.starts_with('-') { -1 } else { 1 };
        let hours: i32 = offset.get(1..3)?.parse().ok()?;
        let minutes: i32 = offset.get(4..6)?.parse().ok()?;
        let local = jiff::tz::Offset::from_seconds(sign * (hours * 3600 + minutes * 60))
            .ok()?
            .to_datetime(moved);
        format!("{}{offset}", local.strftime("%Y-%m-%dT%H:%M:%S"))
            .parse()
            .ok()
    }

    fn first_day(&self) -> Option<civil::Date> {
        let text = self.date_text();
        let year = text.get(0..4)?.parse().ok()?;
        let month = text.get(5..7).map_or(Some(1), |m| m.parse().ok())?;
        let day = text.get(8..10).map_or(Some(1), |d| d.parse().ok())?;
        civil::Date::new(year, month, day).ok()
    }
}

impl FromStr for When {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const WRONG: ValueError = ValueError("not a date or a moment");
        let bytes = text.as_bytes();
        let shape = match bytes.len() {
            4 => "0000",
            7 => "0000-00",
            10 => "0000-00-00",
            20.. => "0000-00-00T00:00:00",
            _ => return Err(WRONG),
        };
        let fits = shape.bytes().zip(bytes).all(|(want, got)| {
            if want == b'0' {
                got.is_ascii_digit()
            } else {
                want == *got
            }
        });
        if !fits || bytes.len() > 40 {
            return Err(WRONG);
        }
        let when = When(text.to_owned());
        if when.first_day().is_none() {
            return Err(ValueError("a day that is not in the calendar"));
        }
        if when.has_time() && text.parse::<jiff::Timestamp>().is_err() {
            return Err(WRONG);
        }
        Ok(when)
    }
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("When(•••)")
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// From when to when; either end may be open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Period {
    /// The beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<When>,
    /// The end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<When>,
}

/// One code of one system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Coding {
    /// The system, as a URI where one is known, else as its sender calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The version of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What the code means, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
}

impl Coding {
    /// A code of a system, with its meaning.
    pub fn new(system: &str, code: &str, display: Option<&str>) -> Self {
        Coding {
            system: Some(system.to_owned()),
            version: None,
            code: Some(code.to_owned()),
            display: display.map(str::to_owned),
        }
    }
}

/// A thing said in codes, in words, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Concept {
    /// The same thing in one or more systems.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub codings: Vec<Coding>,
    /// In words, as the sender put it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Concept {
    /// One code, no words.
    pub fn coded(system: &str, code: &str, display: Option<&str>) -> Self {
        Concept {
            codings: vec![Coding::new(system, code, display)],
            text: None,
        }
    }

    /// Words alone.
    pub fn words(text: impl Into<String>) -> Self {
        Concept {
            codings: vec![],
            text: Some(text.into()),
        }
    }

    /// The first code, if any.
    pub fn code(&self) -> Option<&str> {
        self.codings.iter().find_map(|c| c.code.as_deref())
    }

    /// True where it says nothing.
    pub fn is_empty(&self) -> bool {
        self.codings.is_empty() && self.text.is_none()
    }
}

codes! {
    /// What an identifier is used for.
    IdentifierUse { Usual = "usual", Official = "official", Temporary = "temp", Secondary = "secondary", Old = "old" }
}

/// A name that somebody gave to a thing: a CNP, a chart number, an order number.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Identifier {
    /// Whose numbers these are: a URI where one is known, else the name of the assigning authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The number itself.
    pub value: String,
    /// What kind of number: HL7 table 0203 (MR, NI, VN, PLAC, FILL …).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Concept>,
    /// What it is used for.
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub usage: Option<IdentifierUse>,
    /// Who assigned it, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigner: Option<String>,
    /// Its check digit, where that is given apart (HL7 CX.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_digit: Option<String>,
    /// How the check digit is made (HL7 CX.3, table 0061).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_digit_scheme: Option<String>,
    /// When it is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
}

impl Identifier {
    /// A number of a system.
    pub fn new(system: Option<&str>, value: &str) -> Self {
        Identifier {
            system: system.map(str::to_owned),
            value: value.to_owned(),
            ..Identifier::default()
        }
    }

    /// The code of HL7 table 0203 that says what kind of number it is.
    pub fn kind_code(&self) -> Option<&str> {
        self.kind.as_ref().and_then(Concept::code)
    }
}

codes! {
    /// What a name is used for.
    NameUse { Usual = "usual", Official = "official", Temporary = "temp", Nickname = "nickname", Anonymous = "anonymous", Old = "old", Maiden = "maiden" }
}

codes! {
    /// In which letters a name is written, where it is written in several (HL7 table 0465, DICOM PS3.5 §6.2.1).
    NameRepresentation { Alphabetic = "alphabetic", Ideographic = "ideographic", Phonetic = "phonetic" }
}

/// A person's name.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PersonName {
    /// The family name, whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// The prefix of the own family name (HL7 FN.2: *van*).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_prefix: Option<String>,
    /// The own family name (HL7 FN.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_name: Option<String>,
    /// The prefix of the partner's name (HL7 FN.4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partner_prefix: Option<String>,
    /// The partner's family name (HL7 FN.5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partner_name: Option<String>,
    /// Given names in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<String>,
    /// Dr., Prof. …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefix: Vec<String>,
    /// Jr., degrees …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub suffix: Vec<String>,
    /// The whole name as it should be shown, where the sender says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What it is used for.
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub usage: Option<NameUse>,
    /// When it is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// Which order to assemble it in (HL7 table 0444: G given first, F family first).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assembly_order: Option<String>,
    /// In which letters it is written; not said: alphabetic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub representation: Option<NameRepresentation>,
}

codes! {
    /// What an address is used for.
    AddressUse { Home = "home", Work = "work", Temporary = "temp", Old = "old", Billing = "billing" }
}
codes! {
    /// Whether an address can be visited or only written to.
    AddressKind { Postal = "postal", Physical = "physical", Both = "both" }
}

/// A postal address.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Address {
    /// What it is used for.
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub usage: Option<AddressUse>,
    /// Whether it can be visited or only written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<AddressKind>,
    /// Street, house, flat: a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    /// The name of the street (HL7 SAD.2), where it is given apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub street: Option<String>,
    /// The number of the house (HL7 SAD.3), where it is given apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub house_number: Option<String>,
    /// Town or village.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// District, parish, county code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub district: Option<String>,
    /// State or county (*județ*).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Postal code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<String>,
    /// Country.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// What kind of address as its sender coded it (HL7 XAD.7, table 0190).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub type_code: Option<String>,
    /// Census tract (HL7 XAD.10).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub census_tract: Option<String>,
    /// The whole address in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// When it is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
}

codes! {
    /// By which means somebody is reached.
    TelecomSystem { Phone = "phone", Fax = "fax", Email = "email", Pager = "pager", Url = "url", Sms = "sms", Other = "other" }
}
codes! {
    /// Where somebody is reached.
    TelecomUse { Home = "home", Work = "work", Temporary = "temp", Old = "old", Mobile = "mobile" }
}

/// A telephone number, an e-mail address and the like.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Telecom {
    /// By which means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<TelecomSystem>,
    /// The number or address as it is dialled or written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Where.
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub usage: Option<TelecomUse>,
    /// 1 is tried first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// When it is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// Country code, area, local number and extension, where they are given apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<PhoneParts>,
}

/// The parts of a telephone number.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PhoneParts {
    /// Country code without plus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Area or city code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub area: Option<String>,
    /// Local number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    /// Extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<String>,
}

/// A language that somebody speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Language {
    /// Which: BCP 47 where it is known.
    pub language: Concept,
    /// True: to be preferred.
    pub preferred: bool,
}

codes! {
    /// How a measured value relates to the true one.
    Comparator { Less = "<", LessOrEqual = "<=", GreaterOrEqual = ">=", Greater = ">" }
}

/// A measured amount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Quantity {
    /// The number, with its digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Decimal>,
    /// `<`, `>` …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparator: Option<Comparator>,
    /// The unit in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The system of the unit's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The unit's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// From how much to how much.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Range {
    /// The least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<Quantity>,
    /// The most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<Quantity>,
}

/// One amount by another: `1:128`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Ratio {
    /// Above the line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numerator: Option<Quantity>,
    /// Below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denominator: Option<Quantity>,
}

/// The bytes of a file, in Base64. Whoever has a copy shares them: a file may be big.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FileData(Arc<String>);

impl From<String> for FileData {
    fn from(base64: String) -> Self {
        FileData(Arc::new(base64))
    }
}

impl std::ops::Deref for FileData {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Serialize for FileData {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for FileData {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl JsonSchema for FileData {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        String::schema_name()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}

/// A file: a report as PDF, a picture.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Attachment {
    /// MIME type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The bytes, in Base64 (RFC 4648 §4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<FileData>,
    /// Where the bytes are, when they are elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<When>,
    /// Which language it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// A remark.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Annotation {
    /// The remark; lines are parted by line feeds.
    pub text: String,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<Ref>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<When>,
    /// What kind of remark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Concept>,
    /// The remark in codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Concept>,
}

/// Points at another aggregate.
///
/// In a change set it is `Local`: the key of another change in the same set. Once applied it is `Id`.
/// What is stored in the clinic has no `Local` left in it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ref {
    /// The key of a change in the same change set.
    Local(String),
    /// An aggregate of the clinic, whose kind is the first part.
    Id(crate::Kind, Uuid),
}

impl Ref {
    /// The id, once applied.
    pub fn id(&self) -> Option<Uuid> {
        match self {
            Ref::Id(_, id) => Some(*id),
            Ref::Local(_) => None,
        }
    }
}

impl fmt::Debug for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ref::Local(key) => write!(f, "#{key}"),
            Ref::Id(kind, id) => write!(f, "{kind:?}/{id}"),
        }
    }
}

/// When something is to happen, possibly again and again (HL7 TQ1, FHIR Timing).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Timing {
    /// Within which bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounds: Option<Period>,
    /// For how long, where there are no bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounds_duration: Option<Quantity>,
    /// The pattern in codes (HL7 table 0335: BID, QD, PRN …).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Concept>,
    /// At which times of the day, `HH:MM:SS`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub times_of_day: Vec<String>,
    /// On which days of the week, from and to (HL7 RPT.3 and RPT.4 where RPT.2 is `DW`): mon, tue …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub days_of_week: Vec<String>,
    /// Which moments of the day (FHIR event-timing: AC, HS …).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// How many times at the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// How many times at the most, where it is a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count_max: Option<u32>,
    /// How long each time takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<Quantity>,
    /// How many times in each period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency: Option<u32>,
    /// The length of the period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<Quantity>,
    /// Minutes from the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset_minutes: Option<u32>,
}

private!(
    Identifier, PersonName, Address, Telecom, PhoneParts, Attachment, FileData, Annotation
);
