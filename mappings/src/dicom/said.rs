//! Reading a data set so that nothing of it is dropped in silence: [`At::text`] and its kin *take* a value, and what
//! nobody took is in [`clinic::ChangeSet::extra`] at the end, with its place.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use clinic::exchange::{Extra, Place};
use clinic::value::{Coding, Concept, NameRepresentation, PersonName, When};
use dicom_core::Tag;
use jiff::civil;
use jiff::tz::{Offset, TimeZone};

use super::dataset::{DataSet, Element, Value};
use super::names;
use super::scan::is_pixels;

/// So many values without a place are listed one by one.
const MAX_LISTED: usize = 2_000;
/// The most values of one sequence that are listed one by one.
const MAX_OF_ONE: usize = 500;

/// What was taken of a data set, by where elements begin.
#[derive(Default)]
pub struct Ledger {
    used: RefCell<HashSet<usize>>,
    notes: RefCell<HashMap<usize, &'static str>>,
}

/// A data set or an item that remembers what was taken.
#[derive(Clone, Copy)]
pub struct At<'d> {
    set: &'d DataSet<'d>,
    ledger: &'d Ledger,
}

impl<'d> At<'d> {
    /// Of a whole data set.
    pub fn new(set: &'d DataSet<'d>, ledger: &'d Ledger) -> Self {
        At { set, ledger }
    }

    fn element(&self, keyword: &str) -> Option<&'d Element<'d>> {
        let tag = names::by_keyword(keyword);
        debug_assert!(tag.is_some(), "{keyword}");
        self.set.get(tag?)
    }

    fn used(&self, element: &Element<'_>) {
        self.ledger.used.borrow_mut().insert(element.header.at);
    }

    /// The values, not taken.
    pub fn peek_all(&self, keyword: &str) -> Vec<String> {
        self.element(keyword)
            .map(|element| self.set.values(element))
            .unwrap_or_default()
    }

    /// The first value that is not empty, not taken.
    pub fn peek(&self, keyword: &str) -> Option<String> {
        self.peek_all(keyword).into_iter().find(|text| !text.is_empty())
    }

    /// Takes an element, whatever it says.
    pub fn take(&self, keyword: &str) {
        if let Some(element) = self.element(keyword) {
            self.used(element);
        }
    }

    /// Takes the only value; of several none is.
    pub fn text(&self, keyword: &str) -> Option<String> {
        let mut all = self.peek_all(keyword);
        if 1 < all.len() {
            self.note(keyword, "has several values where one is carried");
            return None;
        }
        let text = all.pop().filter(|text| !text.is_empty())?;
        self.take(keyword);
        Some(text)
    }

    /// Takes a value that reads as what it should be; otherwise it stays, with a note.
    pub fn read<T>(
        &self,
        keyword: &str,
        what: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.peek(keyword)?;
        match read(&text) {
            Some(value) => {
                self.take(keyword);
                Some(value)
            }
            None => {
                self.note(keyword, what);
                None
            }
        }
    }

    /// A whole number.
    pub fn number(&self, keyword: &str) -> Option<u32> {
        self.read(keyword, "is no number that is carried", |text| {
            text.trim_start_matches('+').parse().ok()
        })
    }

    /// A UID (PS3.5 §9.1). Parts that begin with a zero are let pass: devices have made such for decades.
    pub fn uid(&self, keyword: &str) -> Option<String> {
        self.read(keyword, "is no UID", |text| {
            clinic::imaging::may_be_uid(text).then(|| text.to_owned())
        })
    }

    /// A date, and the time of day of it where it is said (DA and TM), by the zone of the data set or of the clinic.
    pub fn when(&self, date: &str, time: &str, zone: &TimeZone) -> Option<When> {
        let day = self.peek(date)?;
        let Some(day) = civil_date(&day) else {
            self.note(date, "is no date");
            return None;
        };
        self.take(date);
        let Some(clock) = self.peek(time) else {
            return Some(When::from_date(day));
        };
        let Some(clock) = civil_time(&clock) else {
            self.note(time, "is no time of day");
            return Some(When::from_date(day));
        };
        self.take(time);
        moment(day, clock, &self.zone(zone))
    }

    /// A moment (DT, PS3.5 §6.2); of what names a day alone, the day.
    pub fn moment(&self, keyword: &str, zone: &TimeZone) -> Option<When> {
        self.read(keyword, "is no moment", |text| {
            let (local, named) = match text.rfind(['+', '-']) {
                Some(at) => (text.get(..at)?, Some(offset(text.get(at..)?)?)),
                None => (text, None),
            };
            let day = civil_date(local.get(..8)?)?;
            match local.get(8..)? {
                "" => Some(When::from_date(day)),
                clock => {
                    let zone = named.map_or_else(|| zone.clone(), TimeZone::fixed);
                    moment(day, civil_time(clock)?, &zone)
                }
            }
        })
    }

    /// A day, not taken; what is none is nothing.
    pub fn day(&self, keyword: &str) -> Option<When> {
        civil_date(&self.peek(keyword)?).map(When::from_date)
    }

    /// The zone that the data set names (0008,0201), else that of the clinic.
    pub fn zone(&self, clinics: &TimeZone) -> TimeZone {
        let named = self.peek("TimezoneOffsetFromUTC").and_then(|text| offset(&text));
        match named {
            Some(offset) => {
                self.take("TimezoneOffsetFromUTC");
                TimeZone::fixed(offset)
            }
            None => clinics.clone(),
        }
    }

    /// A name (PN) in each of the ways that it is written in: alphabetic, ideographic, phonetic (PS3.5 §6.2.1).
    pub fn names(&self, keyword: &str) -> Vec<PersonName> {
        let Some(text) = self.peek(keyword) else {
            return vec![];
        };
        if 1 < self.peek_all(keyword).len() {
            self.note(keyword, "has several names, of which the first is carried");
        } else if LETTERS.len() < text.split('=').count() {
            self.note(
                keyword,
                "is written in more than three ways, of which three are carried",
            );
        } else {
            self.take(keyword);
        }
        names(&text)
    }

    /// The codes of a sequence, each as a concept (PS3.3 table 8.8-1).
    pub fn concepts(&self, keyword: &str) -> Vec<Concept> {
        self.items(keyword)
            .into_iter()
            .filter_map(|item| item.concept())
            .collect()
    }

    /// The first of them alone: the others are left.
    pub fn first_concept(&self, keyword: &str) -> Option<Concept> {
        self.items(keyword).iter().find_map(At::concept)
    }

    /// The code that an item of a code sequence says.
    pub fn concept(&self) -> Option<Concept> {
        let code = ["CodeValue", "LongCodeValue", "URNCodeValue"]
            .iter()
            .find_map(|name| self.text(name))?;
        let coding = Coding {
            system: self.text("CodingSchemeDesignator").map(|scheme| system(&scheme)),
            version: self.text("CodingSchemeVersion"),
            code: Some(code),
            display: self.text("CodeMeaning"),
        };
        Some(Concept {
            codings: vec![coding],
            text: None,
        })
    }

    /// The items of a sequence.
    pub fn items(&self, keyword: &str) -> Vec<At<'d>> {
        let Some(element) = self.element(keyword) else {
            return vec![];
        };
        let Value::Items(items) = &element.value else {
            return vec![];
        };
        let ledger = self.ledger;
        items.iter().map(|set| At { set, ledger }).collect()
    }

    /// The bytes of an element, taken.
    pub fn bytes(&self, keyword: &str) -> Option<&'d [u8]> {
        let element = self.element(keyword)?;
        let bytes = element.bytes()?;
        self.used(element);
        Some(bytes)
    }

    /// Why a value is not carried.
    pub fn note(&self, keyword: &str, why: &'static str) {
        if let Some(element) = self.element(keyword) {
            self.ledger.notes.borrow_mut().insert(element.header.at, why);
        }
    }

    /// What nobody took.
    pub fn rest(&self) -> Vec<Extra> {
        let mut out = vec![];
        self.leave(self.set, "", &mut out);
        out
    }

    /// Of what was taken: which texts may be others than their sender meant, and why.
    pub fn doubts(&self) -> Vec<Extra> {
        let mut out = vec![];
        self.doubtful(self.set, "", &mut out);
        out
    }

    fn doubtful(&self, set: &DataSet<'_>, path: &str, out: &mut Vec<Extra>) {
        for element in &set.elements {
            let place = || format!("{path}{}", names::name(element.header.tag));
            if let Value::Items(items) = &element.value {
                for (idx, item) in items.iter().enumerate() {
                    self.doubtful(item, &format!("{}[{idx}].", place()), out);
                }
                continue;
            }
            if MAX_OF_ONE < out.len() || !self.ledger.used.borrow().contains(&element.header.at) {
                continue;
            }
            if let Some(doubt) = set.doubt(element) {
                out.push(Extra {
                    place: Place(place()),
                    value: String::new(),
                    note: Some(doubt.to_owned()),
                });
            }
        }
    }

    fn leave(&self, set: &DataSet<'_>, path: &str, out: &mut Vec<Extra>) {
        for element in &set.elements {
            let tag = element.header.tag;
            if self.ledger.used.borrow().contains(&element.header.at) || is_frame(tag) || element.is_empty() {
                continue;
            }
            let place = format!("{path}{}", names::name(tag));
            let Value::Items(items) = &element.value else {
                let note = self.ledger.notes.borrow().get(&element.header.at).copied();
                out.push(Extra {
                    place: Place(place),
                    value: set.shown(element),
                    note: note.or(set.doubt(element)).map(str::to_owned),
                });
                continue;
            };
            let mut of_it = vec![];
            for (idx, item) in items.iter().enumerate() {
                self.leave(item, &format!("{place}[{idx}]."), &mut of_it);
                if MAX_OF_ONE < of_it.len() {
                    break;
                }
            }
            if MAX_OF_ONE < of_it.len() || MAX_LISTED < out.len() {
                of_it = vec![Extra {
                    place: Place(place),
                    value: String::new(),
                    note: Some(format!(
                        "has {} items, which are not listed one by one",
                        items.len()
                    )),
                }];
            }
            out.append(&mut of_it);
        }
    }
}

/// What says how to read a data set, the pixels, and what only fills up: no content to be carried.
fn is_frame(tag: Tag) -> bool {
    tag.1 == 0 || tag == Tag(0x0008, 0x0005) || tag == Tag(0xFFFC, 0xFFFC) || is_pixels(tag)
}

/// The ways in which a name is written, one after the other (PS3.5 §6.2.1).
const LETTERS: [Option<NameRepresentation>; 3] = [
    None,
    Some(NameRepresentation::Ideographic),
    Some(NameRepresentation::Phonetic),
];

/// A name (PN) in each of the ways that it is written in.
pub fn names(text: &str) -> Vec<PersonName> {
    let groups = LETTERS.into_iter().zip(text.split('='));
    groups
        .filter_map(|(representation, group)| {
            Some(PersonName {
                representation,
                ..name(group)?
            })
        })
        .collect()
}

/// Family, given, middle, prefix, suffix (PS3.5 §6.2.1).
fn name(group: &str) -> Option<PersonName> {
    let mut parts = group.split('^').map(|part| {
        let part = part.trim();
        (!part.is_empty()).then(|| part.to_owned())
    });
    let mut next = || parts.next().flatten();
    let name = PersonName {
        family: next(),
        given: [next(), next()].into_iter().flatten().collect(),
        prefix: next().into_iter().collect(),
        suffix: next().into_iter().collect(),
        ..PersonName::default()
    };
    (name != PersonName::default()).then_some(name)
}

fn civil_date(text: &str) -> Option<civil::Date> {
    let digits: String = text.chars().filter(|c| *c != '.').collect();
    if digits.len() != 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |range: std::ops::Range<usize>| digits.get(range)?.parse().ok();
    civil::Date::new(digits.get(..4)?.parse().ok()?, part(4..6)?, part(6..8)?).ok()
}

/// A time of day there.
fn moment(day: civil::Date, clock: civil::Time, zone: &TimeZone) -> Option<When> {
    let local = day.to_datetime(clock);
    let at = zone.to_timestamp(local).ok()?;
    let seconds = zone.to_offset(at).seconds();
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    let text = format!(
        "{}{sign}{:02}:{:02}",
        local.strftime("%Y-%m-%dT%H:%M:%S%.f"),
        minutes / 60,
        minutes % 60
    );
    text.parse().ok()
}

/// `101500.25`, the old `10:15:00`, and what leaves out seconds or minutes; to a millionth of a second.
fn civil_time(text: &str) -> Option<civil::Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = whole.chars().filter(|c| *c != ':').collect();
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(digits.len(), 2 | 4 | 6) || !are_digits(&digits) || !are_digits(fraction) {
        return None;
    }
    let part = |at: usize| {
        digits
            .get(at..at + 2)
            .map_or(Some(0), |part| part.parse::<i8>().ok())
    };
    // A fraction is one of a second (PS3.5 §6.2); what is finer than a millionth no clock of a device says.
    let fraction: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let micros: i32 = match digits.len() {
        6 => fraction.parse().ok()?,
        _ => 0,
    };
    civil::Time::new(part(0)?, part(2)?, part(4)?.min(59), micros * 1000).ok()
}

/// `+0200`.
fn offset(text: &str) -> Option<Offset> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, text.get(1..)?),
        b'-' => (-1, text.get(1..)?),
        _ => return None,
    };
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let hours: i32 = digits[..2].parse().ok()?;
    let minutes: i32 = digits[2..].parse().ok()?;
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

/// The system of a coding scheme (PS3.16 table 8-1); one without a known address stays as it is called.
fn system(scheme: &str) -> String {
    match scheme {
        "DCM" => "http://dicom.nema.org/resources/ontology/DCM",
        "SCT" => "http://snomed.info/sct",
        "LN" => "http://loinc.org",
        "UCUM" => "http://unitsofmeasure.org",
        "I10" => "http://hl7.org/fhir/sid/icd-10",
        other => other,
    }
    .to_owned()
}
