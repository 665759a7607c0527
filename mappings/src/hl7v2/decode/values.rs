//! OBX-5 by the type in OBX-2 → value. HL7 v2.5.1, 7.4.2.5, and the types of table 0125.
//!
//! What is not of its type is a text: nothing fails here. Where reading changed the form, the original is kept.

use clinic::diagnostics::Value;
use clinic::value::{Attachment, Quantity, Range, Ratio};

use super::collect::{At, Seg};
use super::terms::{self, NO_TABLE};
use super::{datatypes as data, files, numbers};

/// The types whose repetitions are lines of one text.
pub fn is_lines(kind: &str) -> bool {
    matches!(kind, "ST" | "TX" | "FT" | "")
}

/// The types whose repetitions are one value.
pub fn is_array(kind: &str) -> bool {
    matches!(kind, "NA" | "MA")
}

/// True for a type that is read here as what it is.
pub fn is_known(kind: &str) -> bool {
    const KNOWN: &[&str] = &[
        "NM", "SI", "SN", "ST", "TX", "FT", "CE", "CWE", "CNE", "CF", "IS", "ID", "DT", "TS", "DTM", "TM",
        "DR", "NR", "VR", "NA", "MA", "ED", "RP",
    ];
    KNOWN.contains(&kind)
}

/// What one repetition of OBX-5 says.
#[derive(Default)]
pub struct Read {
    /// The value.
    pub value: Option<Value>,
    /// The text that was sent, where the value has another form.
    pub original: Option<String>,
}

impl Read {
    fn of(value: Value) -> Self {
        Read {
            value: Some(value),
            original: None,
        }
    }

    fn text(at: At<'_>) -> Self {
        Read {
            value: at.text().map(Value::Text),
            original: None,
        }
    }

    fn or_text(value: Option<Value>, at: At<'_>) -> Self {
        value.map_or_else(|| Read::text(at), Read::of)
    }

    /// With the text as it was sent.
    fn from(mut self, original: Option<String>) -> Self {
        self.original = original;
        self
    }
}

/// OBX-6, taken when the first amount wants it.
pub struct Units<'m> {
    at: At<'m>,
    taken: Option<Quantity>,
}

impl<'m> Units<'m> {
    /// Of this OBX.
    pub fn of(obx: Seg<'m>) -> Self {
        Units {
            at: obx.f(6),
            taken: None,
        }
    }

    /// An amount with the unit.
    fn with(&mut self, value: Option<clinic::value::Decimal>) -> Quantity {
        let at = self.at;
        let unit = self.taken.get_or_insert_with(|| {
            let mut unit = Quantity::default();
            data::unit(at, &mut unit);
            unit
        });
        Quantity {
            value,
            ..unit.clone()
        }
    }

    /// An amount that reads as a number, with the unit where one was said already or is to be said.
    pub fn quantity(&mut self, value: clinic::value::Decimal) -> Quantity {
        self.with(Some(value))
    }

    /// The unit, without an amount.
    pub fn alone(&mut self) -> Option<Quantity> {
        Some(self.with(None)).filter(|unit| *unit != Quantity::default())
    }

    /// The unit in words.
    fn words(&mut self) -> Option<String> {
        self.with(None).unit
    }

    /// True where there is none.
    fn is_empty(&self) -> bool {
        self.at.is_empty()
    }
}

/// One repetition of OBX-5 of this type.
pub fn read(kind: &str, at: At<'_>, units: &mut Units<'_>) -> Read {
    match kind {
        "NM" | "SI" => number(at, units),
        "SN" => structured(at, units),
        "CE" | "CWE" | "CNE" | "CF" | "IS" | "ID" => {
            Read::or_text(terms::concept(at, NO_TABLE).map(Value::Concept), at)
        }
        // A number with a unit is an amount, whatever the sender calls it: as text alone it would lose the unit.
        "ST" | "" if !units.is_empty() => number(at, units),
        "ST" | "" => Read::text(at),
        "TX" | "FT" => Read {
            value: at.long_text().map(Value::Text),
            original: None,
        },
        "DT" | "TS" | "DTM" => Read::or_text(data::when(at).map(Value::When), at),
        "TM" => time(at),
        "DR" => Read::or_text(data::period(at).map(Value::Period), at),
        "NR" => range(at, units),
        "VR" => match (at.part(1).text(), at.part(2).text()) {
            (Some(from), Some(to)) => Read::of(Value::Text(format!("{from}-{to}"))),
            _ => Read::text(at),
        },
        _ => other(at),
    }
}

/// NM → amount. `1,5`, `<5` and `5 %` are amounts too; all else is text.
fn number(at: At<'_>, units: &mut Units<'_>) -> Read {
    let Some(text) = at.peek() else {
        return Read::default();
    };
    let Some(number) = numbers::number(&text) else {
        return Read::text(at);
    };
    at.take();
    let original = (!number.same_form(&text)).then_some(text);
    let mut quantity = units.quantity(number.value);
    quantity.comparator = number.comparator;
    if number.percent && units.is_empty() {
        quantity.unit = Some("%".to_owned());
    }
    Read::of(Value::Quantity(quantity)).from(original)
}

/// SN → amount, range, ratio or text. HL7 v2.5.1, 2.A.70.
fn structured(at: At<'_>, units: &mut Units<'_>) -> Read {
    let parts: [Option<String>; 4] = [1, 2, 3, 4].map(|part| at.part(part).peek());
    let words: Vec<&str> = parts.iter().flatten().map(String::as_str).collect();
    let original = words.join(" ");
    if original.is_empty() {
        return Read::default();
    }
    let sign = parts[0].as_deref().unwrap_or("=");
    let comparator = numbers::comparator(sign);
    let plain_sign = sign == "=" || comparator.is_some();
    let first = parts[1].as_deref().and_then(numbers::decimal);
    let second = parts[3].as_deref().and_then(numbers::decimal);
    let take = || (1..=4).for_each(|part| at.part(part).take());
    match (parts[2].as_deref(), first, second) {
        (None, Some(number), None) if plain_sign && parts[3].is_none() => {
            take();
            let same = parts[1].as_deref() == Some(number.as_str());
            let mut quantity = units.quantity(number);
            quantity.comparator = comparator;
            Read::of(Value::Quantity(quantity)).from((!same).then_some(original))
        }
        (Some("-"), Some(low), Some(high)) if sign == "=" => {
            take();
            let range = Range {
                low: Some(units.quantity(low)),
                high: Some(units.quantity(high)),
            };
            Read::of(Value::Range(range)).from(Some(original))
        }
        (Some(":" | "/"), Some(above), Some(below)) if plain_sign => {
            take();
            let mut numerator = units.quantity(above);
            numerator.comparator = comparator;
            let ratio = Ratio {
                numerator: Some(numerator),
                denominator: Some(units.quantity(below)),
            };
            Read::of(Value::Ratio(ratio)).from(Some(original))
        }
        _ => {
            take();
            let unit = units.words().map(|unit| format!(" {unit}")).unwrap_or_default();
            Read::of(Value::Text(format!("{original}{unit}")))
        }
    }
}

/// TM → time of day; the clinic's has no zone, so that one with a zone is kept as it was sent too.
fn time(at: At<'_>) -> Read {
    let text = at.peek();
    let zoned = text.as_deref().is_some_and(|text| text.contains(['+', '-', 'Z']));
    match data::time_of_day(at) {
        Some(time) => Read::of(Value::Time(time)).from(text.filter(|_| zoned)),
        None => Read::text(at),
    }
}

/// NR → range; one end may be open.
fn range(at: At<'_>, units: &mut Units<'_>) -> Read {
    let [low, high] = [1, 2].map(|part| at.part(part).peek());
    let read = |text: &Option<String>| text.as_deref().and_then(numbers::decimal);
    let (from, to) = (read(&low), read(&high));
    let understood = from.is_some() == low.is_some() && to.is_some() == high.is_some();
    if !understood || from.is_none() && to.is_none() {
        return other(at);
    }
    [1, 2].iter().for_each(|part| at.part(*part).take());
    let same = from.as_ref().map(|n| n.as_str()) == low.as_deref()
        && to.as_ref().map(|n| n.as_str()) == high.as_deref();
    let sent: Vec<String> = [low, high].into_iter().map(Option::unwrap_or_default).collect();
    let range = Range {
        low: from.map(|number| units.quantity(number)),
        high: to.map(|number| units.quantity(number)),
    };
    Read::of(Value::Range(range)).from((!same).then(|| sent.join("^")))
}

/// NA, MA → numbers in a row; a gap is `E`, as FHIR's SampledData has it. What are no numbers is text.
pub fn array(reps: &[At<'_>]) -> Read {
    let mut points = vec![];
    for rep in reps {
        for part in rep.parts() {
            match part.peek() {
                None => points.push("E".to_owned()),
                Some(text) => match numbers::decimal(&text) {
                    Some(number) => points.push(number.to_string()),
                    None => return lines(reps),
                },
            }
        }
    }
    reps.iter().for_each(At::take);
    let many = reps.len() > 1;
    let sent = many.then(|| reps.iter().map(At::raw).collect::<Vec<_>>().join("~"));
    if points.is_empty() {
        return Read::default();
    }
    Read::of(Value::Sampled(points.join(" "))).from(sent)
}

/// Repetitions as lines of one text. An empty one is an empty line where others stand before and behind it.
pub fn lines(reps: &[At<'_>]) -> Read {
    let lines: Vec<Option<String>> = reps.iter().map(At::long_text).collect();
    let first = lines.iter().position(Option::is_some);
    let last = lines.iter().rposition(Option::is_some);
    let text = first.zip(last).map(|(first, last)| {
        let lines = lines[first..=last].iter();
        let lines: Vec<&str> = lines.map(|line| line.as_deref().unwrap_or_default()).collect();
        lines.join("\n")
    });
    Read {
        value: text.map(Value::Text),
        original: None,
    }
}

/// A type that the clinic has no value for: its parts as words, and the original.
fn other(at: At<'_>) -> Read {
    let Some(original) = at.text() else {
        return Read::default();
    };
    let words: Vec<String> = at.parts().iter().filter_map(At::peek).collect();
    let text = words.join(" ");
    if text == original {
        return Read::of(Value::Text(text));
    }
    Read::of(Value::Text(text)).from(Some(original))
}

/// ED → file. HL7 v2.5.1, 2.A.24. What is not in the encoding that ED.4 names stays, with a note.
pub fn file(at: At<'_>) -> Option<Attachment> {
    let encoding = at.part(4).peek().unwrap_or_default();
    let data = at.part(5).peek()?;
    let Some(bytes) = files::base64_of(&encoding, data) else {
        at.part(5).note("not in the encoding that ED.4 names");
        return None;
    };
    at.part(4).take();
    at.part(5).take();
    let content_type = content_type(at.part(2), at.part(3), files::sniff(&bytes), &encoding);
    Some(Attachment {
        content_type: Some(content_type),
        data: Some(bytes.into()),
        ..Attachment::default()
    })
}

/// RP → file elsewhere. HL7 v2.5.1, 2.A.65.
pub fn pointer(at: At<'_>) -> Option<Attachment> {
    let url = at.part(1).text()?;
    let declared = files::mime(
        &at.part(3).peek().unwrap_or_default(),
        &at.part(4).peek().unwrap_or_default(),
    );
    if declared.is_some() {
        at.part(3).take();
        at.part(4).take();
    }
    Some(Attachment {
        url: Some(url),
        content_type: declared,
        ..Attachment::default()
    })
}

/// What the bytes show wins over what is declared, which then stays with a note.
fn content_type(kind: At<'_>, subtype: At<'_>, shown: Option<&'static str>, encoding: &str) -> String {
    let declared = files::mime(
        &kind.peek().unwrap_or_default(),
        &subtype.peek().unwrap_or_default(),
    );
    let agrees = |declared: &str, shown: &str| {
        declared == shown
            || shown == "application/xml" && (declared.ends_with("xml") || declared == "text/html")
    };
    match (declared, shown) {
        (Some(declared), shown) if shown.is_none_or(|shown| agrees(&declared, shown)) => {
            kind.take();
            subtype.take();
            declared
        }
        (Some(_), Some(shown)) => {
            for part in [kind, subtype] {
                part.note("the file is of another kind");
            }
            shown.to_owned()
        }
        (None, Some(shown)) => shown.to_owned(),
        (_, None) if encoding.is_empty() || encoding == "A" => "text/plain".to_owned(),
        (_, None) => "application/octet-stream".to_owned(),
    }
}
