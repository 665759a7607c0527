//! Dates and times: TS, DTM, DT, TM, DR (HL7 v2.5.1 §2.A.21, .77, .79).
//!
//! The precision stays: `1980`, `198005`, `19800512`. A time gets seconds where it has none, since a moment without
//! them can't be said in the clinic's model. A time without an offset is of the zone that MSH-7 names, else the channel's: one that the clocks
//! skip in spring is shifted forward, one that they show twice in autumn is the first, unless MSH-7 names the offset.

use clinic::value::{Period, When};
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use super::Profile;
use super::collect::At;

/// TS, DTM, DT → a day or a moment.
pub fn when(at: At<'_>) -> Option<When> {
    // TS has the precision in a component of its own (2.3); what is given is in the digits anyway.
    let at = at.part(1);
    let mut read = None;
    let when = at.read(|text| {
        let moment = moment(text, at.profile(), at.zone(), at.sender_offset())?;
        read = Some(moment.assumed);
        moment.text.parse::<When>().map_err(|error| error.0)
    })?;
    match read {
        Some(Assumed::Zone) => at.assumed_zone(),
        Some(Assumed::Shifted) => at.remark("a time that the clocks skip on this day; shifted forward"),
        Some(Assumed::First) => {
            at.remark("a time that the clocks show twice on this day; taken as the first")
        }
        Some(Assumed::DayAlone) => at.remark("its time is none that a clock shows; the day alone is taken"),
        Some(Assumed::Nothing) | None => {}
    }
    Some(when)
}

/// As [`when`], of an end: one that lies before its start stays, with a note.
pub fn end_of(at: At<'_>, start: Option<&When>) -> Option<When> {
    let told = at.part(1).look().and_then(|text| {
        let moment = moment(&text, at.profile(), at.zone(), at.sender_offset()).ok()?;
        moment.text.parse::<When>().ok()
    });
    let latest = told.and_then(|end| end.latest(at.zone()));
    let earliest = start.and_then(|start| start.earliest(at.zone()));
    if latest.zip(earliest).is_some_and(|(end, start)| end < start) {
        at.part(1).note("an end before the start, which is not used");
        return None;
    }
    when(at)
}

/// DR → period.
pub fn period(at: At<'_>) -> Option<Period> {
    period_of(at.part(1), at.part(2))
}

/// A period of two fields.
pub fn period_of(start: At<'_>, end: At<'_>) -> Option<Period> {
    let period = Period {
        start: when(start),
        end: when(end),
    };
    (period != Period::default()).then_some(period)
}

/// TM → `HH:MM:SS`.
pub fn time_of_day(at: At<'_>) -> Option<String> {
    at.part(1).read(|text| {
        let (clock, _) = split_offset(text);
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
        let time = clock_time(clock)?;
        let fraction = fraction_digits(fraction)?;
        Ok::<_, &'static str>(format!("{}{fraction}", time.strftime("%H:%M:%S")))
    })
}

/// What was assumed in reading a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Assumed {
    Nothing,
    Zone,
    Shifted,
    First,
    DayAlone,
}

struct Moment {
    text: String,
    assumed: Assumed,
}

fn moment(
    text: &str,
    profile: &Profile,
    zone: &TimeZone,
    sender: Option<Offset>,
) -> Result<Moment, &'static str> {
    const WRONG: &str = "not a date or a time as HL7 writes it (YYYYMMDDHHMMSS)";
    let digits_only = text.bytes().all(|b| b.is_ascii_digit());
    let one_digit = |digit: u8| text.len() >= 8 && text.bytes().all(|b| b == digit);
    if one_digit(b'0') || one_digit(b'9') || profile.unknown_dates.contains(text) {
        return Err("stands for a date that is not known");
    }
    let compact;
    let text = if !digits_only && text.as_bytes().get(4) == Some(&b'-') {
        compact = from_iso(text).ok_or(WRONG)?;
        compact.as_str()
    } else {
        text
    };
    let (local, offset) = split_offset(text);
    // Monitors and analysers write the milliseconds without the point.
    let (digits, fraction) = match local.split_once('.') {
        Some(parts) => parts,
        None if local.len() == 17 && local.is_ascii() => local.split_at(14),
        None => (local, ""),
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(WRONG);
    }
    let number = |from: usize, to: usize| digits.get(from..to).and_then(|d| d.parse::<i16>().ok());
    let year = number(0, 4).filter(|year| *year > 0).ok_or(WRONG)?;
    let calendar = |month: i16, day: i16| {
        Date::new(year, month as i8, day as i8).map_err(|_| "a day that is not in the calendar")
    };
    let nothing = |text| {
        Ok(Moment {
            text,
            assumed: Assumed::Nothing,
        })
    };
    match digits.len() {
        4 => return nothing(format!("{year:04}")),
        // The first version of HL7 wrote YYMMDD, which here would be a month of the year 2605.
        6 if !(1800..=2200).contains(&year) => {
            return Err("six digits that are not a year and a month (YYYYMM)");
        }
        6 => {
            let date = calendar(number(4, 6).ok_or(WRONG)?, 1)?;
            return nothing(date.strftime("%Y-%m").to_string());
        }
        8.. => {}
        _ => return Err(WRONG),
    }
    let date = calendar(number(4, 6).ok_or(WRONG)?, number(6, 8).ok_or(WRONG)?)?;
    if digits.len() == 8 {
        return nothing(date.to_string());
    }
    let time = match clock_time(&digits[8..]) {
        Ok(time) => time,
        // Midnight as 24:00, a leap second, a slip of the hand.
        Err(_) if matches!(digits.len(), 10 | 12 | 14) => {
            return Ok(Moment {
                text: date.to_string(),
                assumed: Assumed::DayAlone,
            });
        }
        Err(wrong) => return Err(wrong),
    };
    let fraction = fraction_digits(fraction)?;
    let local = date.to_datetime(time);
    if let Some(offset) = offset {
        let offset = read_offset(offset)?;
        return nothing(format!("{local}{fraction}{}", offset_text(offset)));
    }
    let ambiguous = zone.to_ambiguous_timestamp(local);
    let (offset, assumed) = match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { offset } => (offset, Assumed::Zone),
        // Read with the offset of before the change, the moment is the one after it on the new clock.
        AmbiguousOffset::Gap { before, .. } => (before, Assumed::Shifted),
        AmbiguousOffset::Fold { before, after } if sender == Some(after) => {
            let _ = before;
            (after, Assumed::Zone)
        }
        AmbiguousOffset::Fold { before, .. } => (before, Assumed::First),
    };
    let moment = offset.to_timestamp(local).map_err(|_| WRONG)?;
    let offset = zone.to_offset(moment);
    let shown = offset.to_datetime(moment);
    Ok(Moment {
        text: format!("{shown}{fraction}{}", offset_text(offset)),
        assumed,
    })
}

/// `2026-05-05T08:30:00+03:00` → `20260505083000+0300`: some senders write ISO 8601.
fn from_iso(text: &str) -> Option<String> {
    let (date, clock) = match text.find(['T', ' ']) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    };
    let date_ok = date.len() <= 10 && date.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let clock_ok = clock
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'+' | b'-' | b'Z'));
    (date_ok && clock_ok).then(|| format!("{}{}", date.replace('-', ""), clock.replace(':', "")))
}

/// The clock and the offset behind it.
fn split_offset(text: &str) -> (&str, Option<&str>) {
    match text.find(['+', '-', 'Z']) {
        Some(at) => (&text[..at], Some(&text[at..])),
        None => (text, None),
    }
}

/// `HH`, `HHMM`, `HHMMSS`.
fn clock_time(digits: &str) -> Result<Time, &'static str> {
    const WRONG: &str = "not a time of day (HHMMSS)";
    if !matches!(digits.len(), 2 | 4 | 6) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(WRONG);
    }
    let number = |from: usize| {
        digits
            .get(from..from + 2)
            .map_or(Ok(0), |d| d.parse::<i8>().map_err(|_| WRONG))
    };
    Time::new(number(0)?, number(2)?, number(4)?, 0).map_err(|_| WRONG)
}

fn fraction_digits(digits: &str) -> Result<String, &'static str> {
    if digits.is_empty() {
        return Ok(String::new());
    }
    if digits.len() > 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("a fraction of a second that is no number");
    }
    Ok(format!(".{digits}"))
}

/// `+0300`, `-0530`, `+03`, `Z`, within the 14 hours that FHIR allows.
fn read_offset(text: &str) -> Result<Offset, &'static str> {
    const WRONG: &str = "not an offset from UTC (+ZZZZ)";
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'Z') if text.len() == 1 => return Ok(Offset::UTC),
        Some(b'+') => (1, &text[1..]),
        Some(b'-') => (-1, &text[1..]),
        _ => return Err(WRONG),
    };
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(WRONG);
    }
    let hours: i32 = digits[..2].parse().map_err(|_| WRONG)?;
    let minutes: i32 = digits.get(2..4).map_or(Ok(0), str::parse).map_err(|_| WRONG)?;
    if minutes > 59 || hours * 60 + minutes > 14 * 60 {
        return Err(WRONG);
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).map_err(|_| WRONG)
}

fn offset_text(offset: Offset) -> String {
    let seconds = offset.seconds();
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.unsigned_abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// The zone of times of a message that name none: that of MSH-7, where it names an offset that the channel's zone has not at
/// that moment, else the channel's. HL7 v2.5.1, 2.15.9.7.
pub fn zone_of_message(sent: &str, profile: &Profile) -> TimeZone {
    let channels = || profile.zone.clone();
    let Some(offset) = named_offset(sent) else {
        return channels();
    };
    let at = moment(sent, profile, &profile.zone, None).ok();
    let at = at.and_then(|moment| moment.text.parse::<Timestamp>().ok());
    match at {
        // Of the same place: its clocks change as the channel's do.
        Some(at) if profile.zone.to_offset(at) == offset => channels(),
        Some(_) => TimeZone::fixed(offset),
        None => channels(),
    }
}

/// The name of a zone, or its offset.
pub fn zone_name(zone: &TimeZone) -> String {
    let named = zone.iana_name().map(str::to_owned);
    let offset = || {
        zone.to_fixed_offset()
            .map_or_else(|_| "UTC".to_owned(), offset_text)
    };
    named.unwrap_or_else(offset)
}

/// The offset that a time names, if it names one.
pub fn named_offset(text: &str) -> Option<Offset> {
    let (_, offset) = split_offset(text.get(8..)?);
    read_offset(offset?).ok()
}
