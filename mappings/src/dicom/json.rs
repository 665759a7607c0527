//! Data sets as JSON (PS3.18 annex F): what DICOMweb tells of objects and answers to searches.
//!
//! An element is `"00100010": { "vr": "PN", "Value": [ … ] }`. One without a value has only its VR, an empty value among
//! several is null. Text is UTF-8, so that Specific Character Set says ISO_IR 192. Pixels, group lengths and meta headers
//! are never written; other bytes are, in base64.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dicom_core::{Tag, VR};
use serde_json::{Map, Number, Value as Json, json};

use super::charset::{Fallback, Set};
use super::dataset::{DataSet, Element, Value};
use super::scan::{Coding, is_pixels};
use super::write::Out;
use super::{explicit, names};

/// An object of JSON: its members are elements.
pub type Object = Map<String, Json>;

const CHARSET: Tag = Tag(0x0008, 0x0005);
/// Numbers up to this are the same in every reader of JSON (RFC 8259 §6).
const LARGEST: u64 = 1 << 53;

/// A data set as JSON, without its pixels.
pub fn of(set: &DataSet<'_>) -> Object {
    object(set, "", None)
}

/// A data set as JSON in which values of bytes that are longer than this, and the pixels, are addresses (F.2.6). `uri` makes
/// one of the way to the element: `7FE00010`, `54000100/0/54001010`.
pub fn referring(set: &DataSet<'_>, longest: usize, uri: &dyn Fn(&str) -> String) -> Object {
    object(set, "", Some(&Bulk { longest, uri }))
}

/// The bytes at such a way, the low one of each number first; none: there are none.
pub fn referred(set: &DataSet<'_>, way: &str) -> Option<Vec<u8>> {
    let (first, rest) = match way.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (way, None),
    };
    let tag = Some(first)
        .filter(|first| first.len() == 8)
        .and_then(names::by_number)?;
    let element = set.get(tag)?;
    let Some(rest) = rest else {
        let bytes = element.bytes().filter(|_| is_bytes(kind(element)))?;
        return Some(low_first(element, bytes).into_owned());
    };
    let (number, rest) = rest.split_once('/')?;
    referred(set.items(tag).get(number.parse::<usize>().ok()?)?, rest)
}

/// What is not written itself.
struct Bulk<'b> {
    longest: usize,
    uri: &'b dyn Fn(&str) -> String,
}

fn object(set: &DataSet<'_>, within: &str, bulk: Option<&Bulk<'_>>) -> Object {
    let mut said = Object::new();
    for element in &set.elements {
        let tag = element.header.tag;
        if tag.0 < 8 || tag.1 == 0 {
            continue;
        }
        let way = || format!("{within}{}", key(tag));
        let address =
            |bulk: &Bulk<'_>| json!({ "vr": kind(element).to_string(), "BulkDataURI": (bulk.uri)(&way()) });
        let written = match &element.value {
            Value::Elsewhere if within.is_empty() && is_pixels(tag) => match bulk {
                Some(bulk) => address(bulk),
                None => continue,
            },
            _ if is_pixels(tag) => continue,
            _ if tag == CHARSET => json!({ "vr": "CS", "Value": ["ISO_IR 192"] }),
            Value::Items(items) => {
                let items = items
                    .iter()
                    .enumerate()
                    .map(|(number, item)| Json::Object(object(item, &format!("{}/{number}/", way()), bulk)));
                self::said(VR::SQ, items.collect())
            }
            Value::Bytes(bytes) => match bulk {
                Some(bulk) if is_bytes(kind(element)) && bulk.longest < bytes.len() => address(bulk),
                Some(_) | None => value(set, element, bytes),
            },
            Value::Elsewhere => continue,
        };
        said.insert(key(tag), written);
    }
    said
}

/// Of which kind an element is told to be.
fn kind(element: &Element<'_>) -> VR {
    element.header.read_as().0
}

fn is_bytes(vr: VR) -> bool {
    matches!(vr, VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN)
}

/// What is made here, as JSON.
pub fn of_out(out: &Out) -> Object {
    let bytes = out.written(Coding::EXPLICIT, Set::Utf8);
    let read = DataSet::read(&bytes, Coding::EXPLICIT, Fallback::default());
    read.map(|set| of(&set)).unwrap_or_default()
}

/// A name as it stands in an element: up to three groups of components.
fn name(text: &str) -> Json {
    let groups = ["Alphabetic", "Ideographic", "Phonetic"]
        .into_iter()
        .zip(text.split('='));
    let groups = groups.map(|(name, group)| (name, group.trim_end_matches('^')));
    let groups = groups.filter(|(_, group)| !group.is_empty());
    let object: Object = groups
        .map(|(name, group)| (name.to_owned(), group.into()))
        .collect();
    match object.is_empty() {
        true => Json::Null,
        false => Json::Object(object),
    }
}

/// The name of a member: the tag in eight digits.
fn key(tag: Tag) -> String {
    format!("{:04X}{:04X}", tag.0, tag.1)
}

fn said(vr: VR, values: Vec<Json>) -> Json {
    match values.is_empty() {
        true => json!({ "vr": vr.to_string() }),
        false => json!({ "vr": vr.to_string(), "Value": values }),
    }
}

fn value(set: &DataSet<'_>, element: &Element<'_>, bytes: &[u8]) -> Json {
    let vr = kind(element);
    match vr {
        VR::OB | VR::UN | VR::OW | VR::OF | VR::OL | VR::OD | VR::OV => {}
        VR::AT => {
            let values = set.values(element).into_iter();
            return said(vr, values.map(|place| place.replace(',', "").into()).collect());
        }
        VR::PN => {
            let values = set.values(element);
            return said(vr, values.iter().map(|text| name(text)).collect());
        }
        VR::AE
        | VR::AS
        | VR::CS
        | VR::DA
        | VR::DT
        | VR::LO
        | VR::LT
        | VR::SH
        | VR::ST
        | VR::TM
        | VR::UC
        | VR::UI
        | VR::UR
        | VR::UT => {
            let values = set.values(element).into_iter();
            let values = values.map(|text| match text.is_empty() {
                true => Json::Null,
                false => text.into(),
            });
            return said(vr, values.collect());
        }
        VR::DS | VR::IS | VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV => {
            let values = set.values(element);
            return said(vr, values.iter().map(|text| number(text)).collect());
        }
        VR::FL | VR::FD => {
            let values = set.values(element);
            return said(vr, values.iter().map(|text| fraction(text)).collect());
        }
        VR::SQ => return said(vr, vec![]),
    }
    if bytes.is_empty() {
        return said(vr, vec![]);
    }
    json!({ "vr": vr.to_string(), "InlineBinary": STANDARD.encode(low_first(element, bytes)) })
}

/// In JSON as in every transfer syntax but one, the low byte comes first (PS3.18 F.2.7).
fn low_first<'a>(element: &Element<'_>, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    match element.header.coding.big_endian {
        true => Cow::Owned(explicit::low_first(bytes, element.header.vr)),
        false => Cow::Borrowed(bytes),
    }
}

/// A number, as text where JSON has none for it: what is infinite or no number, what is too large to be the same
/// everywhere, and what a careless writer has written in its place.
fn number(text: &str) -> Json {
    if text.is_empty() {
        return Json::Null;
    }
    let whole = text.trim_start_matches('+').parse::<i64>().ok();
    if let Some(whole) = whole.filter(|whole| whole.unsigned_abs() <= LARGEST) {
        return whole.into();
    }
    match text.parse::<f64>().ok().and_then(Number::from_f64) {
        Some(number) if whole.is_none() && text.contains(['.', 'e', 'E']) => Json::Number(number),
        Some(_) | None => text.into(),
    }
}

/// A number of bytes: text where it is infinite or none (PS3.18 table F.2.3-1).
fn fraction(text: &str) -> Json {
    match number(text) {
        Json::Number(number) if text != "-0" => Json::Number(number),
        other => match text.parse::<f64>().ok().and_then(Number::from_f64) {
            Some(number) => Json::Number(number),
            None => other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::write::Said;
    use super::*;

    fn short(tag: Tag, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![];
        bytes.extend(tag.0.to_le_bytes());
        bytes.extend(tag.1.to_le_bytes());
        bytes.extend(vr);
        bytes.extend((value.len() as u16).to_le_bytes());
        bytes.extend(value);
        bytes
    }

    fn read(bytes: &[u8], coding: Coding) -> Json {
        Json::Object(of(
            &DataSet::read(bytes, coding, Fallback::default()).expect("right")
        ))
    }

    #[test]
    fn fractions_are_numbers_however_large() {
        let mut bytes = vec![];
        for value in [1.5, 2.0, -0.0, 1e300, f64::NAN, f64::INFINITY] {
            bytes.extend(f64::to_le_bytes(value));
        }
        let said = read(&short(Tag(0x18, 0x9087), b"FD", &bytes), Coding::EXPLICIT);
        let values = &said["00189087"]["Value"];
        assert_eq!(values[3].as_f64(), Some(1e300));
        assert_eq!(values[2].as_f64().map(f64::is_sign_negative), Some(true));
        let others = [&values[0], &values[1], &values[4], &values[5]];
        assert_eq!(others, [&json!(1.5), &json!(2), &json!("NaN"), &json!("inf")]);
    }

    #[test]
    fn values_are_written_by_their_kinds() {
        let bytes = [
            short(CHARSET, b"CS", b"ISO_IR 101"),
            short(Tag(8, 0), b"UL", &[1, 0, 0, 0]),
            short(Tag(8, 0x60), b"CS", b"CT\\\\MR "),
            short(Tag(0x10, 0x10), b"PN", b"Pa\xBAca^Ana^^^=\xBA=x "),
            short(Tag(0x10, 0x1001), b"PN", b"A\\\\B "),
            short(Tag(0x10, 0x20), b"LO", b""),
            short(Tag(0x20, 0x13), b"IS", b"+7\\x "),
            short(Tag(0x18, 0x50), b"DS", b"1.50\\2 "),
            short(Tag(0x28, 9), b"AT", &[0x18, 0, 0x63, 0x10]),
            short(Tag(0x28, 0x10), b"US", &[0, 2]),
            short(Tag(0x28, 0x9999), b"FD", &f64::NAN.to_le_bytes()),
            short(Tag(0x28, 0x999A), b"UV", &u64::MAX.to_le_bytes()),
            short(Tag(0x28, 0x999B), b"SV", &(-5_i64).to_le_bytes()),
            b"\x29\0\x10\x10OB\0\0\x02\0\0\0\x01\x02".to_vec(),
            b"\x40\0\x00\x01SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF\x08\0\x60\0CS\x02\0US\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0".to_vec(),
            b"\x40\0\x10\x01SQ\0\0\0\0\0\0".to_vec(),
            b"\xE0\x7F\x10\0OW\0\0\x04\0\0\0abcd".to_vec(),
        ]
        .concat();
        // UV and SV have a long header.
        let mut at = bytes.clone();
        for vr in [b"UV", b"SV"] {
            let place = at.windows(2).position(|two| two == vr).expect("there");
            at.splice(place + 2..place + 4, [0, 0, 8, 0, 0, 0]);
        }
        assert_eq!(
            read(&at, Coding::EXPLICIT),
            json!({
                "00080005": { "vr": "CS", "Value": ["ISO_IR 192"] },
                "00080060": { "vr": "CS", "Value": ["CT", null, "MR"] },
                "00100010": { "vr": "PN", "Value": [{ "Alphabetic": "Paşca^Ana", "Ideographic": "ş", "Phonetic": "x" }] },
                "00101001": { "vr": "PN", "Value": [{ "Alphabetic": "A" }, null, { "Alphabetic": "B" }] },
                "00100020": { "vr": "LO" },
                "00200013": { "vr": "IS", "Value": [7, "x"] },
                "00180050": { "vr": "DS", "Value": [1.5, 2] },
                "00280009": { "vr": "AT", "Value": ["00181063"] },
                "00280010": { "vr": "US", "Value": [512] },
                "00289999": { "vr": "FD", "Value": ["NaN"] },
                "0028999A": { "vr": "UV", "Value": ["18446744073709551615"] },
                "0028999B": { "vr": "SV", "Value": [-5] },
                "00291010": { "vr": "OB", "InlineBinary": "AQI=" },
                "00400100": { "vr": "SQ", "Value": [{ "00080060": { "vr": "CS", "Value": ["US"] } }] },
                "00400110": { "vr": "SQ" },
            })
        );
    }

    #[test]
    fn what_the_dictionary_knows_is_told_as_it_says() {
        let signed = [
            &b"\x28\0\x03\x01\x02\0\0\0\x01\0"[..],
            b"\x28\0\x06\x01\x02\0\0\0\x3C\xF6",
        ]
        .concat();
        let mut unsigned = signed.clone();
        unsigned[8] = 0;
        for (bytes, told) in [
            (&signed, json!({ "vr": "SS", "Value": [-2500] })),
            (&unsigned, json!({ "vr": "US", "Value": [63036] })),
        ] {
            assert_eq!(read(bytes, Coding::IMPLICIT)["00280106"], told);
        }
        // As of unknown kind: a text, a number, whose low byte comes first also in big endian, and bytes.
        let unknown = [
            &b"\0\x08\0\x60UN\0\0\0\0\0\x02CT"[..],
            b"\0\x28\0\x10UN\0\0\0\0\0\x02\x07\0",
            b"\0\x42\0\x11UN\0\0\0\0\0\x02\x01\x02",
        ]
        .concat();
        assert_eq!(
            read(&unknown, Coding::BIG),
            json!({
                "00080060": { "vr": "CS", "Value": ["CT"] },
                "00280010": { "vr": "US", "Value": [7] },
                "00420011": { "vr": "UN", "InlineBinary": "AQI=" },
            })
        );
    }

    #[test]
    fn long_values_have_addresses() {
        let bytes = [
            b"\x29\0\x10\x10OB\0\0\x02\0\0\0\x01\x02".to_vec(),
            b"\x00\x54\x00\x01SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF".to_vec(),
            b"\x00\x54\x10\x10OW\0\0\x04\0\0\0abcd".to_vec(),
            b"\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0".to_vec(),
            b"\xE0\x7F\x10\0OW\0\0\x04\0\0\0abcd".to_vec(),
        ]
        .concat();
        let set = DataSet::read(&bytes, Coding::EXPLICIT, Fallback::default()).expect("right");
        assert_eq!(
            Json::Object(referring(&set, 2, &|way| format!("at/{way}"))),
            json!({
                "00291010": { "vr": "OB", "InlineBinary": "AQI=" },
                "54000100": { "vr": "SQ", "Value": [
                    { "54001010": { "vr": "OW", "BulkDataURI": "at/54000100/0/54001010" } } ] },
                "7FE00010": { "vr": "OW", "BulkDataURI": "at/7FE00010" },
            })
        );
        assert_eq!(
            referred(&set, "54000100/0/54001010").as_deref(),
            Some(&b"abcd"[..])
        );
        for way in [
            "54000100/1/54001010",
            "54000100",
            "54000100/0",
            "7FE00010",
            "x",
            "",
            "54000100/-1/54001010",
        ] {
            assert_eq!(referred(&set, way), None, "{way}");
        }
    }

    #[test]
    fn the_low_byte_comes_first() {
        let big = b"\0\x28\x10\x10OW\0\0\0\0\0\x04\x01\x02\x03\x04";
        assert_eq!(
            read(big, Coding::BIG),
            json!({ "00281010": { "vr": "OW", "InlineBinary": "AgEEAw==" } })
        );
    }

    #[test]
    fn what_is_made_here_is_written_too() {
        let mut item = Out::default();
        item.text("ReferencedSOPInstanceUID", "1.2.3");
        let mut out = Out::default();
        out.text("StudyInstanceUID", "1.2");
        out.put("StudyID", Said::Texts(vec![]));
        out.text("PatientName", "Țîră^Ana");
        out.text("NumberOfStudyRelatedInstances", "3");
        out.put("FailureReason", Said::Number(0xC000));
        out.put("ReferencedSOPSequence", Said::Items(vec![item]));
        assert_eq!(
            Json::Object(of_out(&out)),
            json!({
                "0020000D": { "vr": "UI", "Value": ["1.2"] },
                "00200010": { "vr": "SH" },
                "00100010": { "vr": "PN", "Value": [{ "Alphabetic": "Țîră^Ana" }] },
                "00201208": { "vr": "IS", "Value": [3] },
                "00081197": { "vr": "US", "Value": [49152] },
                "00081199": { "vr": "SQ", "Value": [{ "00081155": { "vr": "UI", "Value": ["1.2.3"] } }] },
            })
        );
        assert_eq!(name("^^"), Json::Null);
    }
}
