//! Observations → OBX with NTE. HL7 v2.5.1, 7.4.2.
//!
//! The type in OBX-2 is that of the value: an amount is NM, with a comparator SN; codes are CWE; a text is ST, of
//! several lines FT. The digits of a number are those of the clinic, with a point. OBX-20, -29, -30 and -33 are of
//! later versions: no field of 2.5.1 says the same, and what is behind the fields that a receiver knows does no harm.

use clinic::diagnostics::{Component, Observation, ObservationStatus, Value};
use clinic::value::{Attachment, Comparator, Quantity, Ref};

use super::datatypes as data;
use super::notes;
use super::terms;
use super::wire::{Seg, comps, ot, subs, t};
use super::world::{Said, World};
use crate::hl7v2::decode::Profile;
use crate::hl7v2::decode::terms::{NO_TABLE, mapped, table};

/// A text longer than this is no ST (HL7 v2.5.1, 2.A.75).
const LONGEST_ST: usize = 199;

/// Writes observations, numbered one after another.
#[derive(Default)]
pub(super) struct Series {
    count: usize,
}

impl Series {
    /// OBX with its NTE. `file` is the whole of the one that it shows: the report has it.
    /// With `specimen` the one that it is from is named in OBX-33.
    pub(super) fn write(
        &mut self,
        world: &World<'_>,
        said: &Said<'_>,
        observation: &Observation,
        file: Option<&Attachment>,
        specimen: bool,
        out: &mut Vec<Seg>,
    ) {
        let (of_whole, apart): (Vec<&Component>, Vec<&Component>) = observation
            .components
            .iter()
            .partition(|component| observation.code.as_ref() == Some(&component.code));
        self.count += 1;
        let mut obx = Seg::numbered("OBX", self.count);
        let written = value(observation, &of_whole, file, world.profile);
        let sender_says_none = observation
            .status_original
            .as_ref()
            .and_then(|status| terms::code_of(status, "0085"))
            .is_some_and(|code| code == "X");
        written.put(&mut obx);
        obx.clear_if(5, said.cleared("value") && !sender_says_none);
        frame(world, said, observation, &mut obx);
        if specimen {
            let from = observation
                .specimen
                .as_ref()
                .and_then(|specimen| world.specimen(specimen));
            let numbers = from.map(|specimen| data::eip(&specimen.identifiers, world.profile));
            obx.comps(33, numbers.unwrap_or_default());
        }
        out.push(obx);
        out.extend(notes::ntes(world, &observation.notes));
        // Parts with names of their own (a blood pressure of two numbers) are observations here.
        for component in apart {
            self.count += 1;
            let mut obx = Seg::numbered("OBX", self.count);
            let part = Observation {
                code: Some(component.code.clone()),
                value: component.value.clone(),
                components: vec![],
                value_original: None,
                text_unit: None,
                reference_ranges: vec![],
                interpretations: vec![],
                absent_reason: None,
                ..observation.clone()
            };
            value(&part, &[], file, world.profile).put(&mut obx);
            frame(world, said, &part, &mut obx);
            out.push(obx);
        }
    }

    /// A file of a report that no observation shows.
    pub(super) fn file(&mut self, file: &Attachment, status: &str, out: &mut Vec<Seg>) {
        let Some(written) = attachment(file, None) else {
            return;
        };
        self.count += 1;
        let mut obx = Seg::numbered("OBX", self.count);
        written.put(&mut obx);
        obx.comps(3, vec![String::new(), ot(file.title.as_ref())]);
        if obx.is_empty(3) {
            obx.comps(3, vec!["18842-5".to_owned(), String::new(), "LN".to_owned()]);
        }
        obx.put(11, status.to_owned());
        obx.put(14, data::owhen(file.created.as_ref()));
        out.push(obx);
    }
}

/// A value as it stands in OBX-2, -5 and -6.
#[derive(Default)]
struct Written {
    kind: &'static str,
    values: Vec<String>,
    unit: Vec<String>,
}

impl Written {
    fn of(kind: &'static str, value: String) -> Self {
        Written {
            kind,
            values: vec![value],
            unit: vec![],
        }
    }

    fn with_unit(mut self, quantity: Option<&Quantity>) -> Self {
        self.unit = quantity.map(data::unit).unwrap_or_default();
        self
    }

    fn put(self, obx: &mut Seg) {
        if self.values.iter().all(String::is_empty) {
            return;
        }
        obx.put(2, self.kind.to_owned());
        for value in self.values {
            obx.rep(5, value);
        }
        obx.comps(6, self.unit);
    }
}

fn value(
    observation: &Observation,
    components: &[&Component],
    file: Option<&Attachment>,
    profile: &Profile,
) -> Written {
    if let Some(value) = &observation.value {
        let unit = observation
            .text_unit
            .as_ref()
            .filter(|_| matches!(value, Value::Text(_)));
        let written = written(value, file, profile);
        return match unit {
            Some(unit) => written.with_unit(Some(unit)),
            None => written,
        };
    }
    let all: Vec<Written> = components
        .iter()
        .filter_map(|component| component.value.as_ref())
        .map(|value| written(value, file, profile))
        .collect();
    let kind = match all.first() {
        None => return Written::default(),
        Some(first) if all.iter().all(|one| one.kind == first.kind) => first.kind,
        // A number with a comparator among plain ones: all of them can be written as SN.
        Some(_) if all.iter().all(|one| matches!(one.kind, "NM" | "SN")) => "SN",
        Some(_) => "ST",
    };
    let unit = all.first().map(|one| one.unit.clone()).unwrap_or_default();
    let values = all.into_iter().flat_map(|one| {
        let plain = one.kind == "NM" && kind == "SN";
        one.values
            .into_iter()
            .map(move |value| if plain { format!("^{value}") } else { value })
    });
    Written {
        kind,
        values: values.collect(),
        unit,
    }
}

fn written(value: &Value, file: Option<&Attachment>, profile: &Profile) -> Written {
    match value {
        Value::Quantity(quantity) => match quantity.comparator {
            None => Written::of("NM", data::digits(quantity)).with_unit(Some(quantity)),
            Some(comparator) => {
                let value = comps(vec![t(comparator.as_str()), data::digits(quantity)]);
                Written::of("SN", value).with_unit(Some(quantity))
            }
        },
        Value::Concept(concept) => {
            // The value's words stand in CWE.9, or in CWE.2 where there is no code.
            Written::of("CWE", comps(terms::cwe(concept, NO_TABLE, profile)))
        }
        Value::Text(text) if text.contains('\n') => Written::of("FT", t(text)),
        Value::Text(text) if LONGEST_ST < text.chars().count() => Written::of("TX", t(text)),
        Value::Text(text) => Written::of("ST", t(text)),
        Value::When(when) => Written::of(if when.has_time() { "TS" } else { "DT" }, data::when(when)),
        Value::Time(time) => Written::of("TM", data::time(time)),
        Value::Period(period) => Written::of("DR", comps(data::period(period))),
        Value::Range(range) => {
            let unit = range.low.as_ref().or(range.high.as_ref());
            let digits = |end: &Option<Quantity>| end.as_ref().map(data::digits).unwrap_or_default();
            let (low, high) = (digits(&range.low), digits(&range.high));
            if low.is_empty() || high.is_empty() {
                Written::of("NR", comps(vec![low, high])).with_unit(unit)
            } else {
                let value = comps(vec![String::new(), low, "-".to_owned(), high]);
                Written::of("SN", value).with_unit(unit)
            }
        }
        Value::Ratio(ratio) => {
            let digits = |part: &Option<Quantity>| part.as_ref().map(data::digits).unwrap_or_default();
            let sign = ratio.numerator.as_ref().and_then(|above| above.comparator);
            let value = comps(vec![
                sign.map(Comparator::as_str).map(t).unwrap_or_default(),
                digits(&ratio.numerator),
                ":".to_owned(),
                digits(&ratio.denominator),
            ]);
            Written::of("SN", value).with_unit(ratio.numerator.as_ref())
        }
        Value::Attachment(shown) => attachment(shown, file).unwrap_or_default(),
        Value::Sampled(points) => {
            let points = points.split(' ').map(|point| match point {
                "E" => String::new(),
                number => t(number),
            });
            Written::of("NA", points.collect::<Vec<_>>().join("^"))
        }
    }
}

/// A file → ED with its bytes in Base64, or RP where they are elsewhere.
fn attachment(file: &Attachment, whole: Option<&Attachment>) -> Option<Written> {
    let data = file.data.as_ref().or_else(|| whole?.data.as_ref());
    let [kind, subtype] = mime(file.content_type.as_deref().unwrap_or_default());
    match (data, &file.url) {
        (Some(data), _) => {
            let pieces = vec![String::new(), kind, subtype, "Base64".to_owned(), t(data)];
            Some(Written::of("ED", comps(pieces)))
        }
        (None, Some(url)) => Some(Written::of(
            "RP",
            comps(vec![t(url), String::new(), kind, subtype]),
        )),
        (None, None) => None,
    }
}

/// A MIME type in the words of HL7 tables 0191 and 0291; what they have no word for stands whole as the subtype.
fn mime(kind: &str) -> [String; 2] {
    let (table_0191, table_0291) = match kind {
        "application/pdf" => ("AP", "PDF"),
        "application/rtf" => ("AP", "RTF"),
        "application/octet-stream" => ("AP", "Octet-stream"),
        "application/dicom" => ("IM", "DICOM"),
        "application/xml" => ("TEXT", "XML"),
        "application/postscript" => ("AP", "PostScript"),
        "image/jpeg" => ("IM", "JPEG"),
        "image/gif" => ("IM", "GIF"),
        "image/tiff" => ("IM", "TIFF"),
        "image/png" => ("IM", "PNG"),
        "text/html" => ("TEXT", "HTML"),
        "text/sgml" => ("TEXT", "SGML"),
        "text/plain" => ("TEXT", "plain"),
        "audio/basic" => ("AU", "BASIC"),
        "" => ("", ""),
        other => {
            let family = match other.split('/').next() {
                Some("image") => "IM",
                Some("audio") => "AU",
                Some("text") => "TEXT",
                _ => "AP",
            };
            return [family.to_owned(), t(other)];
        }
    };
    [table_0191.to_owned(), table_0291.to_owned()]
}

/// All of an OBX but its value.
fn frame(world: &World<'_>, said: &Said<'_>, observation: &Observation, obx: &mut Seg) {
    let profile = world.profile;
    obx.comps(3, data::concept(observation.code.as_ref(), profile));
    obx.text(4, observation.sub_id.as_ref());
    obx.clear_if(4, said.cleared("sub_id"));
    let range = observation.reference_ranges.first().map(|range| {
        let end = |of: &Option<Quantity>| of.as_ref().map(data::digits).unwrap_or_default();
        let numbers = || match (end(&range.low), end(&range.high)) {
            (low, high) if high.is_empty() && !low.is_empty() => format!(">={low}"),
            (low, high) if low.is_empty() && !high.is_empty() => format!("<={high}"),
            (low, high) if !low.is_empty() => format!("{low}-{high}"),
            _ => String::new(),
        };
        range.text.as_ref().map_or_else(numbers, |text| t(text))
    });
    obx.put(7, range.unwrap_or_default());
    obx.clear_if(7, said.cleared("reference_ranges"));
    let flags = &observation.interpretations;
    obx.reps(
        8,
        flags
            .iter()
            .map(|flag| terms::cwe(flag, mapped("0078", "InterpretationCodes"), profile)),
    );
    obx.clear_if(8, said.cleared("interpretations") && obx.is_empty(5));
    let norms = &observation.norm_kinds;
    obx.reps(
        10,
        norms.iter().map(|norm| terms::cwe(norm, table("0080"), profile)),
    );
    obx.put(11, status(observation));
    obx.put(14, data::owhen(observation.effective_at.as_ref()));
    obx.clear_if(14, said.cleared("effective_at"));
    performers(world, observation, obx);
    let responsible = observation.responsible.iter();
    obx.reps(16, responsible.map(|person| data::xcn_of(world, Some(person))));
    obx.comps(17, data::concept(observation.method.as_ref(), profile));
    obx.clear_if(17, said.cleared("method"));
    obx.reps(
        18,
        observation.devices.iter().map(|device| data::ei(device, profile)),
    );
    obx.put(19, data::owhen(observation.analysed_at.as_ref()));
    let site = observation.body_site.as_ref();
    obx.comps(
        20,
        site.map(|site| terms::cwe(site, table("0163"), profile))
            .unwrap_or_default(),
    );
    let instance = observation
        .identifiers
        .iter()
        .find(|id| id.kind_code() == Some("FILL"));
    let instance = instance.or(observation.identifiers.first());
    obx.comps(21, instance.map(|id| data::ei(id, profile)).unwrap_or_default());
    let of_kind = observation
        .categories
        .iter()
        .find_map(|category| terms::code_of(category, "0936"));
    obx.text(29, of_kind);
    let part = observation.structure_type.as_ref();
    obx.text(30, part.and_then(|part| terms::code_of(part, "0937")));
}

/// The laboratory as a code (OBX-15), or as an organisation with its address (OBX-23), and who directs it (OBX-25).
fn performers(world: &World<'_>, observation: &Observation, obx: &mut Seg) {
    let clinics: Vec<_> = observation
        .performers
        .iter()
        .filter_map(|performer| world.clinic(performer))
        .collect();
    let director = observation
        .performers
        .iter()
        .find(|performer| world.practitioner(performer).is_some());
    let (by_code, whole) = match clinics.as_slice() {
        [] => (None, None),
        [only] => {
            let known_well = !only.addresses.is_empty()
                || only.identifiers.is_empty()
                || only.identifiers.iter().any(|id| id.assigner.is_some());
            if known_well {
                (None, Some(only))
            } else {
                (Some(only), None)
            }
        }
        [first, second, ..] => (Some(first), Some(second)),
    };
    obx.comps(
        15,
        by_code
            .map(|clinic| data::organisation_cwe(clinic))
            .unwrap_or_default(),
    );
    if let Some(clinic) = whole {
        obx.comps(23, data::xon(clinic, world.profile));
        obx.comps(24, clinic.addresses.first().map(data::xad).unwrap_or_default());
    }
    obx.comps(25, data::xcn_of(world, director));
}

/// Table 0085: the sender's own code where it still says how far the observation is.
fn status(observation: &Observation) -> String {
    let original = observation
        .status_original
        .as_ref()
        .and_then(|status| terms::code_of(status, "0085"));
    let stands_for: &[&str] = match observation.status {
        None | Some(ObservationStatus::Unknown) => {
            // A code that stands for a state is one for what was before.
            let known = "ABCDFINOPRSUVWX";
            let own = original.filter(|code| !known.contains(code.as_str()));
            return own.map(|code| t(code)).unwrap_or_default();
        }
        Some(ObservationStatus::Final) => &["F", "U", "V", "N"],
        Some(ObservationStatus::Corrected) => &["C"],
        Some(ObservationStatus::Amended) => &["C", "A", "B"],
        Some(ObservationStatus::Preliminary) => &["P", "R", "S"],
        Some(ObservationStatus::Registered) => &["I", "O"],
        Some(ObservationStatus::Cancelled) => &["X"],
        Some(ObservationStatus::EnteredInError) => &["W", "D"],
    };
    let own = original.filter(|code| stands_for.contains(&code.as_str()));
    let usual = stands_for.first().copied().unwrap_or_default();
    own.map_or(usual, String::as_str).to_owned()
}

/// The observations of a patient or visit that belong to no report and no order, after all else of the chart.
pub(super) fn on_chart(world: &World<'_>, patient: &Ref, taken: &[uuid::Uuid], out: &mut Vec<Seg>) {
    let mut series = Series::default();
    let whose = world.id(patient);
    for (said, observation) in world.observations() {
        let is_theirs = observation.patient.as_ref().and_then(|of| world.id(of)) == whose;
        if is_theirs && !taken.contains(&said.id) {
            series.write(world, said, observation, None, false, out);
        }
    }
}

/// The parent of a report → PRL: code, sub-id and the words of its value. HL7 v2.5.1, 2.A.57.
pub(super) fn parent(world: &World<'_>, parent: &Observation) -> Vec<String> {
    let words = match &parent.value {
        Some(Value::Text(text)) => t(text),
        Some(Value::Concept(concept)) => terms::words(concept),
        Some(_) | None => String::new(),
    };
    vec![
        subs(data::concept(parent.code.as_ref(), world.profile)),
        ot(parent.sub_id.as_ref()),
        words,
    ]
}
