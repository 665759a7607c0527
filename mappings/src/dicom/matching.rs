//! Whether what is known answers what is asked (PS3.4 C.2.2.2, with the remarks of K.6), and what of it is told.
//!
//! A key that is empty or a lone `*` takes anything; so does one that breaks the rules of its kind (a `*` in a date, a
//! date that is none), which devices send: too long a list is seen, a missing patient is not. Names are compared without
//! case and diacritics, which the standard leaves open. A stored value that is not known answers only such keys.

use dicom_core::{Tag, VR};
use jiff::civil;

use super::dataset::{DataSet, Element, Value};
use super::write::{Out, Said};

/// The longest pattern that is looked at.
const MAX_PATTERN: usize = 1_024;

const START_DATE: Tag = Tag(0x0040, 0x0002);
const START_TIME: Tag = Tag(0x0040, 0x0003);

/// Whether an entry answers all keys. A key that the entry has no place for says nothing.
pub fn matches(query: &DataSet<'_>, entry: &Out) -> bool {
    let both = query.get(START_DATE).zip(query.get(START_TIME));
    let moment = both.and_then(|(date, time)| {
        let date = dates(&query.values(date))?;
        let time = times(&query.values(time))?;
        Some((date, time))
    });
    if let Some((date, time)) = &moment
        && !in_interval(entry, date, time)
    {
        return false;
    }
    query.elements.iter().all(|key| {
        let is_done = moment.is_some() && matches!(key.header.tag, START_DATE | START_TIME);
        is_done || is_about_the_question(key.header.tag) || matches_key(query, key, entry)
    })
}

/// What an entry says of what is asked for: every key comes back, with or without a value, and nothing else.
pub fn told(query: &DataSet<'_>, entry: &Out) -> Out {
    let mut out = Out::default();
    for key in &query.elements {
        let tag = key.header.tag;
        if is_about_the_question(tag) {
            continue;
        }
        let said = match (&key.value, entry.get(tag)) {
            (Value::Items(keys), Some(Said::Items(items))) => {
                let wanted = keys.iter().find(|keys| !keys.elements.is_empty());
                let items = items.iter().map(|item| match wanted {
                    Some(wanted) => told(wanted, item),
                    None => item.clone(),
                });
                // An item that says nothing would not be one.
                Said::Items(items.filter(|item| !item.is_empty()).collect())
            }
            (_, Some(said)) => said.clone(),
            (Value::Items(_), None) => Said::Items(vec![]),
            (Value::Bytes(_) | Value::Elsewhere, None) => Said::Texts(vec![]),
        };
        let vr = match (key.header.vr, &said) {
            (_, Said::Items(_)) => VR::SQ,
            // Written as what it is, and not as what its asker did not know it to be.
            (VR::UN, Said::Texts(_) | Said::Number(_) | Said::Bytes(_)) => super::names::vr(tag),
            (vr, Said::Texts(_) | Said::Number(_) | Said::Bytes(_)) => vr,
        };
        out.set(tag, vr, said);
    }
    out
}

/// True where something is asked that an entry of this shape can't answer, or that is asked against the rules: the answers
/// say so (FF01).
pub fn is_partly(query: &DataSet<'_>, shape: &Out) -> bool {
    query.elements.iter().any(|key| {
        let tag = key.header.tag;
        if is_about_the_question(tag) {
            return false;
        }
        match (&key.value, shape.get(tag)) {
            (_, None) => true,
            (Value::Items(keys), Some(Said::Items(items))) => keys
                .iter()
                .any(|keys| items.first().is_some_and(|item| is_partly(keys, item))),
            (Value::Bytes(_), Some(_)) => {
                let values = query.values(key);
                !is_universal(&values) && breaks_rules(key.header.vr, &values)
            }
            (Value::Items(_) | Value::Elsewhere, Some(_)) => false,
        }
    })
}

/// What says how to read the question, and is no key.
fn is_about_the_question(tag: Tag) -> bool {
    tag.1 == 0 || matches!(tag, Tag(0x0008, 0x0005 | 0x0052..=0x0054 | 0x0201))
}

fn is_universal(values: &[String]) -> bool {
    values.iter().all(|value| value.is_empty() || value == "*")
}

fn breaks_rules(vr: VR, values: &[String]) -> bool {
    match vr {
        VR::DA => dates(values).is_none(),
        VR::TM => times(values).is_none(),
        VR::UI | VR::DS | VR::IS | VR::AS => values.iter().any(|value| value.contains(['*', '?'])),
        _ => false,
    }
}

fn matches_key(query: &DataSet<'_>, key: &Element<'_>, entry: &Out) -> bool {
    let Some(said) = entry.get(key.header.tag) else {
        return true;
    };
    match (&key.value, said) {
        (Value::Items(keys), Said::Items(items)) => {
            let Some(wanted) = keys.iter().find(|keys| asks(keys)) else {
                return true;
            };
            items.iter().any(|item| matches(wanted, item))
        }
        (Value::Bytes(_), Said::Texts(texts)) => {
            let values = query.values(key);
            is_universal(&values) || matches_texts(key.header.vr, &values, texts)
        }
        (Value::Bytes(_), Said::Number(number)) => {
            let values = query.values(key);
            is_universal(&values) || values.contains(&number.to_string())
        }
        (Value::Bytes(_) | Value::Items(_) | Value::Elsewhere, _) => true,
    }
}

/// True where anything in it narrows what is asked for.
fn asks(keys: &DataSet<'_>) -> bool {
    keys.elements.iter().any(|key| match &key.value {
        Value::Items(items) => items.iter().any(asks),
        Value::Bytes(_) => !is_universal(&keys.values(key)),
        Value::Elsewhere => false,
    })
}

fn matches_texts(vr: VR, values: &[String], texts: &[String]) -> bool {
    if breaks_rules(vr, values) {
        return true;
    }
    let known = || {
        texts
            .iter()
            .map(|text| text.trim())
            .filter(|text| !text.is_empty())
    };
    match vr {
        VR::DA => dates(values).is_some_and(|(from, to)| {
            let within =
                |date: civil::Date| from.is_none_or(|from| from <= date) && to.is_none_or(|to| date <= to);
            known().any(|text| date(text).is_some_and(|(first, _)| within(first)))
        }),
        VR::TM => times(values).is_some_and(|(from, to)| {
            let within = |time: i64| from.is_none_or(|from| from <= time) && to.is_none_or(|to| time <= to);
            known().any(|text| time(text).is_some_and(|(first, _)| within(first)))
        }),
        VR::PN => known().any(|text| values.iter().any(|value| matches_name(value, text))),
        VR::UI => known().any(|text| values.iter().any(|value| value == text)),
        VR::DS | VR::IS | VR::AS => known().any(|text| values.iter().any(|value| value == text)),
        // A list is no single value; devices send one and mean any of it.
        _ => known().any(|text| values.iter().any(|value| glob(value, text))),
    }
}

/// `*` is any letters, `?` any one.
fn glob(pattern: &str, text: &str) -> bool {
    if MAX_PATTERN < pattern.len() {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                back = Some((p + 1, t));
                p += 1;
            }
            Some(letter) if *letter == '?' || *letter == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match back {
                Some((after, from)) => {
                    p = after;
                    t = from + 1;
                    back = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|letter| *letter == '*')
}

/// A name: each part that is asked for must match, by letters alone. A pattern without `^` is a family name, or the
/// whole name where it has wildcards. What is asked in several ways of writing must each be found in one of them (PS3.4 C.2.2.2.1.1);
/// in which, is left open: who types a name does not say what letters they are.
fn matches_name(value: &str, name: &str) -> bool {
    if MAX_PATTERN < value.len() {
        return false;
    }
    let mut asked = value.split('=').filter(|group| !group.trim().is_empty());
    asked.all(|asked| matches_group(asked, name))
}

/// Whether one of the ways in which a name is written is as asked.
fn matches_group(asked: &str, name: &str) -> bool {
    let asked = asked.trim_end_matches(['^', ' ']);
    let mut groups = name.split('=').filter(|group| !group.is_empty());
    if !asked.contains('^') {
        let pattern = folded(asked);
        return groups.any(|group| {
            let family = group.split('^').next().unwrap_or_default();
            let whole = asked.contains(['*', '?']) && glob(&pattern, &clinic::search::fold(group));
            whole || glob(&pattern, &clinic::search::fold(family))
        });
    }
    let patterns: Vec<String> = asked.split('^').map(folded).collect();
    groups.any(|group| {
        let mut parts = group.split('^').map(clinic::search::fold);
        patterns.iter().all(|pattern| {
            let part = parts.next().unwrap_or_default();
            pattern.is_empty() || glob(pattern, &part)
        })
    })
}

/// The letters of a pattern as names are compared by, its wildcards as they stand.
fn folded(pattern: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for letter in pattern.chars() {
        if matches!(letter, '*' | '?') {
            out.push_str(&clinic::search::fold(&run));
            run.clear();
            out.push(letter);
        } else {
            run.push(letter);
        }
    }
    out.push_str(&clinic::search::fold(&run));
    out
}

// ---- dates and times ----

type Days = (Option<civil::Date>, Option<civil::Date>);
type Times = (Option<i64>, Option<i64>);

/// The days that a key means, ends included; none: it means any, or nothing that can be read.
pub fn dates(values: &[String]) -> Option<Days> {
    let value = single(values)?;
    match value.split_once('-') {
        Some(("", "")) => None,
        Some((from, to)) => {
            let from = bound(from, date)?.map(|(first, _)| first);
            let to = bound(to, date)?.map(|(_, last)| last);
            Some((from, to))
        }
        None => date(value).map(|(first, last)| (Some(first), Some(last))),
    }
}

/// The times of day that a key means, in microseconds from midnight, ends included.
pub fn times(values: &[String]) -> Option<Times> {
    let value = single(values)?;
    match value.split_once('-') {
        Some(("", "")) => None,
        Some((from, to)) => {
            let from = bound(from, time)?.map(|(first, _)| first);
            let to = bound(to, time)?.map(|(_, last)| last);
            Some((from, to))
        }
        None => time(value).map(|(first, last)| (Some(first), Some(last))),
    }
}

/// Outer none: it is not empty and can't be read.
fn bound<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    match text.trim() {
        "" => Some(None),
        text => read(text).map(Some),
    }
}

fn single(values: &[String]) -> Option<&str> {
    match values {
        [value] if !value.is_empty() => Some(value.trim()),
        _ => None,
    }
}

/// `20261127`, the old `2026.11.27`, and what stands for a whole month or year: the first and the last day.
fn date(text: &str) -> Option<(civil::Date, civil::Date)> {
    let digits = digits(text, '.', 8)?;
    let part = |range: std::ops::Range<usize>| digits.get(range).and_then(|part| part.parse::<i8>().ok());
    let year = digits.get(..4)?.parse().ok()?;
    match digits.len() {
        4 => Some((
            civil::Date::new(year, 1, 1).ok()?,
            civil::Date::new(year, 12, 31).ok()?,
        )),
        6 => {
            let first = civil::Date::new(year, part(4..6)?, 1).ok()?;
            Some((first, first.last_of_month()))
        }
        8 => {
            let day = civil::Date::new(year, part(4..6)?, part(6..8)?).ok()?;
            Some((day, day))
        }
        _ => None,
    }
}

/// `083000.5`, the old `08:30:00`, and what stands for a whole minute or hour: its first and its last microsecond.
fn time(text: &str) -> Option<(i64, i64)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = digits(whole, ':', 6)?;
    if !fraction.is_empty() && (digits.len() != 6 || 6 < fraction.len()) {
        return None;
    }
    let part = |at: usize| {
        digits
            .get(at..at + 2)
            .map_or(Some(0), |part| part.parse::<i64>().ok())
    };
    let (hours, minutes, seconds) = (part(0)?, part(2)?, part(4)?);
    if 23 < hours || 59 < minutes || 60 < seconds || digits.len() % 2 == 1 || digits.is_empty() {
        return None;
    }
    let mut unit = match digits.len() {
        2 => 3_600_000_000,
        4 => 60_000_000,
        _ => 1_000_000,
    };
    let mut micros = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000;
    for digit in fraction.bytes() {
        if !digit.is_ascii_digit() {
            return None;
        }
        unit /= 10;
        micros += i64::from(digit - b'0') * unit;
    }
    Some((micros, micros + unit - 1))
}

fn digits(text: &str, between: char, most: usize) -> Option<String> {
    let text = text.trim();
    let digits: String = text.chars().filter(|c| *c != between).collect();
    let right = digits.len() <= most && digits.bytes().all(|byte| byte.is_ascii_digit());
    right.then_some(digits)
}

/// A date and a time of day that are both asked for are one interval (PS3.4 K.6.1.2.2): from the first time of the first
/// day to the last time of the last.
fn in_interval(entry: &Out, (first, last): &Days, (from, to): &Times) -> bool {
    let text = |tag| match entry.get(tag) {
        Some(Said::Texts(texts)) => texts.first().map(String::as_str),
        Some(Said::Number(_) | Said::Bytes(_) | Said::Items(_)) | None => None,
    };
    let Some((day, _)) = text(START_DATE).and_then(date) else {
        return false;
    };
    let Some((at, _)) = text(START_TIME).and_then(time) else {
        return false;
    };
    let after = first.is_none_or(|first| (first, from.unwrap_or(0)) <= (day, at));
    let before = last.is_none_or(|last| (day, at) <= (last, to.unwrap_or(i64::MAX)));
    // Where the interval has no beginning or no end, the time of day is left to stand for itself.
    let early = first.is_some() || from.is_none_or(|from| from <= at);
    let late = last.is_some() || to.is_none_or(|to| at <= to);
    after && before && early && late
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::charset::{Fallback, Set};
    use super::super::scan::Coding;
    use super::*;

    fn entry() -> Out {
        let mut step = Out::default();
        step.text("Modality", "CT");
        step.put(
            "ScheduledStationAETitle",
            Said::Texts(vec!["CT1".to_owned(), "CT2".to_owned()]),
        );
        step.text("ScheduledProcedureStepStartDate", "20261127");
        step.text("ScheduledProcedureStepStartTime", "083000");
        let mut entry = Out::default();
        entry.text("PatientName", "Țîră-Șerban^Ana Maria");
        entry.text("PatientID", "P-7");
        entry.text("AccessionNumber", "");
        entry.text("StudyInstanceUID", "1.2.3");
        entry.put("ScheduledProcedureStepSequence", Said::Items(vec![step]));
        entry
    }

    fn asked(keys: &[(&str, &str)], step: Option<&[(&str, &str)]>) -> Vec<u8> {
        let put = |out: &mut Out, (name, value): &(&str, &str)| {
            out.put(name, Said::Texts(value.split('\\').map(str::to_owned).collect()));
        };
        let mut query = Out::default();
        keys.iter().for_each(|key| put(&mut query, key));
        if let Some(step) = step {
            let mut item = Out::default();
            step.iter().for_each(|key| put(&mut item, key));
            query.put("ScheduledProcedureStepSequence", Said::Items(vec![item]));
        }
        query.text("SpecificCharacterSet", "ISO_IR 192");
        query.written(Coding::EXPLICIT, Set::Utf8)
    }

    fn is_found(keys: &[(&str, &str)], step: Option<&[(&str, &str)]>) -> bool {
        let bytes = asked(keys, step);
        let query = DataSet::read(&bytes, Coding::EXPLICIT, Fallback::default()).expect("right");
        matches(&query, &entry())
    }

    #[test]
    fn names_are_found_by_their_letters() {
        for (name, found) in [
            ("", true),
            ("*", true),
            ("Țîră-Șerban^Ana Maria", true),
            ("tira serban^ana maria", true),
            ("ŢÎRĂ-ŞERBAN^Ana*", true),
            ("TIRA*", true),
            ("*SERBAN*", true),
            ("T?ra*^A*", true),
            ("tira-serban", true),
            ("tira-serban^^^", true),
            ("*ana*", true),
            ("tira", false),
            ("serban*", false),
            ("tira*^Ioana", false),
            ("tira-serban^ana maria^x", false),
            ("=張^太", false),
        ] {
            assert_eq!(is_found(&[("PatientName", name)], None), found, "{name}");
        }
    }

    #[test]
    fn names_in_several_letters_are_found_by_each() {
        for (name, found) in [
            ("Yamada^Tarou", true),
            ("yamada", true),
            ("=山田^太郎", true),
            ("山田*", true),
            ("==やまだ*", true),
            ("Yamada^Tarou=山田^太郎=やまだ^たろう", true),
            ("Yamada*=山*", true),
            ("Yamada*=張*", false),
            ("Sato=山田*", false),
            ("=山田^次郎", false),
            ("==", true),
        ] {
            let bytes = asked(&[("PatientName", name)], None);
            let query = DataSet::read(&bytes, Coding::EXPLICIT, Fallback::default()).expect("right");
            let mut entry = Out::default();
            entry.text("PatientName", "Yamada^Tarou=山田^太郎=やまだ^たろう");
            assert_eq!(matches(&query, &entry), found, "{name}");
        }
    }

    #[test]
    fn other_texts_are_found_as_they_stand() {
        for (key, value, found) in [
            ("PatientID", "P-7", true),
            ("PatientID", "p-7", false),
            ("PatientID", "P-?", true),
            ("PatientID", "P-", false),
            ("PatientID", "X\\P-7", true),
            ("AccessionNumber", "*", true),
            ("AccessionNumber", "A-1", false),
            ("StudyInstanceUID", "9.9\\1.2.3", true),
            ("StudyInstanceUID", "1.2", false),
            ("StudyInstanceUID", "1.2.*", true),
            ("PatientWeight", "70", true),
        ] {
            assert_eq!(is_found(&[(key, value)], None), found, "{key} {value}");
        }
    }

    #[test]
    fn days_and_times_are_intervals() {
        let at = |date: &str, time: &str| {
            is_found(
                &[],
                Some(&[
                    ("ScheduledProcedureStepStartDate", date),
                    ("ScheduledProcedureStepStartTime", time),
                ]),
            )
        };
        for (date, time, found) in [
            ("20261127", "", true),
            ("2026.11.27", "", true),
            ("202611", "", true),
            ("20261126-", "", true),
            ("-20261126", "", false),
            ("20261126-20261128", "", true),
            ("20261127-20261127", "", true),
            ("202610-2026", "", true),
            ("*", "", true),
            ("2026*", "", true),
            ("yesterday", "", true),
            ("", "08", true),
            ("", "0830", true),
            ("", "083001-", false),
            ("", "-0830", true),
            ("", "-08", true),
            ("", "-07", false),
            ("20261127", "070000-090000", true),
            ("20261127", "090000-", false),
            // One interval, not the same hours of each day.
            ("20261126-20261128", "200000-060000", true),
            ("20261126-20261127", "200000-060000", false),
            ("20261126-20261127", "200000-083000", true),
            ("20261126-", "0900-", true),
            ("-20261128", "-0800", true),
            ("20261126-", "-0800", false),
        ] {
            assert_eq!(at(date, time), found, "{date} {time}");
        }
    }

    #[test]
    fn an_item_matches_as_a_whole() {
        for (step, found) in [
            (&[][..], true),
            (&[("Modality", "CT")][..], true),
            (&[("Modality", "MR\\CT")][..], true),
            (&[("Modality", "MR")][..], false),
            (
                &[("Modality", "CT"), ("ScheduledStationAETitle", "CT2")][..],
                true,
            ),
            (
                &[("Modality", "CT"), ("ScheduledStationAETitle", "CT3")][..],
                false,
            ),
            (&[("Modality", ""), ("ScheduledStationAETitle", "*")][..], true),
        ] {
            assert_eq!(is_found(&[], Some(step)), found, "{step:?}");
        }
    }

    #[test]
    fn every_key_comes_back_and_nothing_else() {
        let bytes = asked(
            &[
                ("PatientName", ""),
                ("PatientWeight", "70"),
                ("AccessionNumber", ""),
            ],
            Some(&[("Modality", "CT"), ("ScheduledProcedureStepLocation", "")]),
        );
        let query = DataSet::read(&bytes, Coding::EXPLICIT, Fallback::default()).expect("right");
        let out = told(&query, &entry());
        let bytes = out.written(Coding::EXPLICIT, Set::Utf8);
        let read = DataSet::read(&bytes, Coding::EXPLICIT, Fallback::default()).expect("right");
        let tags: Vec<Tag> = read.elements.iter().map(|element| element.header.tag).collect();
        assert_eq!(
            tags,
            [
                Tag(0x8, 0x50),
                Tag(0x10, 0x10),
                Tag(0x10, 0x1030),
                Tag(0x40, 0x100)
            ]
        );
        let step = &read.items(Tag(0x40, 0x100))[0];
        assert_eq!(step.text(Tag(0x8, 0x60)).as_deref(), Some("CT"));
        assert!(step.get(Tag(0x40, 0x11)).is_some_and(Element::is_empty));
        assert!(is_partly(&query, &entry()));
        let plain = asked(&[("PatientName", "*")], Some(&[("Modality", "")]));
        let query = DataSet::read(&plain, Coding::EXPLICIT, Fallback::default()).expect("right");
        assert!(!is_partly(&query, &entry()));
    }

    proptest! {
        /// Whatever is asked, there is an answer, and it has every key.
        #[test]
        fn any_text_can_be_asked_for(name in "\\PC{0,40}", date in "[0-9.*?: -]{0,20}", time in "[0-9.*?: -]{0,20}") {
            let bytes = asked(
                &[("PatientName", &name), ("PatientID", &name)],
                Some(&[("ScheduledProcedureStepStartDate", &date), ("ScheduledProcedureStepStartTime", &time)]),
            );
            let query = DataSet::read(&bytes, Coding::EXPLICIT, Fallback::default()).expect("right");
            let _ = matches(&query, &entry());
            prop_assert!(told(&query, &entry()).has(Tag(0x10, 0x10)));
        }

        #[test]
        fn a_text_matches_itself_and_each_of_its_beginnings(text in "[a-zA-Z0-9 -]{0,30}", keep in 0usize..30) {
            prop_assert!(glob(&text, &text));
            let beginning: String = text.chars().take(keep).collect();
            let pattern = format!("{beginning}*");
            prop_assert!(glob(&pattern, &text));
        }
    }
}
