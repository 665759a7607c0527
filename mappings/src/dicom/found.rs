//! Studies, series and objects as answers to searches (PS3.18 tables 10.6.3-3 to 10.6.3-5, PS3.4 C.6.2.1).

use clinic::diagnostics::Order;
use clinic::imaging::{ImagingInstance, ImagingStudy, Series};
use clinic::people::{Patient, Practitioner, Sex};
use clinic::value::When;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::worklist::{codes, device_number, names};
use super::write::{Out, Said};

/// A study. `referrer`: who asked for it.
pub fn study(
    study: &ImagingStudy,
    patient: Option<&Patient>,
    referrer: Option<&Practitioner>,
    zone: &TimeZone,
) -> Out {
    let mut out = Out::default();
    moment(&mut out, ["StudyDate", "StudyTime"], study.started.as_ref(), zone);
    let accession = study.accession().map(|accession| accession.value.as_str());
    text(&mut out, "AccessionNumber", accession);
    text(&mut out, "InstanceAvailability", Some("ONLINE"));
    out.put("ModalitiesInStudy", Said::Texts(study.modalities.clone()));
    let referrer = referrer.map(|referrer| names(&referrer.names));
    text(&mut out, "ReferringPhysicianName", referrer.as_deref());
    text(&mut out, "StudyDescription", study.description.as_deref());
    text(&mut out, "StudyInstanceUID", study.uid());
    text(&mut out, "StudyID", study.number.as_deref());
    out.put("ProcedureCodeSequence", codes(study.procedures.iter()));
    number(
        &mut out,
        "NumberOfStudyRelatedSeries",
        Some(study.series.len() as u32),
    );
    out.extend(self::patient(patient));
    out
}

/// A patient; all that is asked of one stands there, be it empty.
pub fn patient(patient: Option<&Patient>) -> Out {
    let mut out = Out::default();
    let shown = patient.map(|patient| names(&patient.names));
    text(&mut out, "PatientName", shown.as_deref());
    let numbered = patient
        .and_then(device_number)
        .map(|number| number.value.as_str());
    text(&mut out, "PatientID", numbered);
    let birth = patient.and_then(birth_date);
    text(&mut out, "PatientBirthDate", birth.as_deref());
    let sex = patient.and_then(|patient| patient.sex).and_then(sex);
    text(&mut out, "PatientSex", sex);
    out
}

/// A birth date that is known to the day, as DA.
pub(super) fn birth_date(patient: &Patient) -> Option<String> {
    let digits = patient.birth_date.as_ref()?.date_text().replace('-', "");
    (digits.len() == 8).then_some(digits)
}

/// A sex as PS3.3 §C.7.1.1 has it; none: it is not known.
pub(super) fn sex(sex: Sex) -> Option<&'static str> {
    match sex {
        Sex::Male => Some("M"),
        Sex::Female => Some("F"),
        Sex::Other => Some("O"),
        Sex::Unknown => None,
    }
}

/// What a series was made for: the planned steps of its orders (PS3.3 table 10-9).
pub fn request<'o>(orders: impl Iterator<Item = &'o Order>) -> Out {
    let mut items = vec![];
    for imaging in orders.filter_map(|order| order.imaging.as_ref()) {
        for step in &imaging.steps {
            let mut item = Out::default();
            text(&mut item, "AccessionNumber", imaging.accession.as_deref());
            text(&mut item, "RequestedProcedureID", imaging.procedure_id.as_deref());
            text(&mut item, "ScheduledProcedureStepID", step.id.as_deref());
            text(
                &mut item,
                "ScheduledProcedureStepDescription",
                step.description.as_deref(),
            );
            items.push(item);
        }
    }
    let mut out = Out::default();
    out.put("RequestAttributesSequence", Said::Items(items));
    out
}

/// A series of a study. `objects`: how many it has, where that is known.
pub fn series(study: &ImagingStudy, series: &Series, objects: Option<usize>, zone: &TimeZone) -> Out {
    let mut out = Out::default();
    text(&mut out, "Modality", series.modality.as_deref());
    text(&mut out, "SeriesDescription", series.description.as_deref());
    text(&mut out, "StudyInstanceUID", study.uid());
    text(&mut out, "SeriesInstanceUID", Some(&series.uid));
    number(&mut out, "SeriesNumber", series.number);
    if let Some(objects) = objects {
        text(
            &mut out,
            "NumberOfSeriesRelatedInstances",
            Some(&objects.to_string()),
        );
    }
    moment(
        &mut out,
        ["SeriesDate", "SeriesTime"],
        series.started.as_ref(),
        zone,
    );
    out
}

/// An object of a study.
pub fn object(study: &ImagingStudy, object: &ImagingInstance) -> Out {
    let mut out = Out::default();
    text(&mut out, "SOPClassUID", object.sop_class.as_deref());
    text(&mut out, "SOPInstanceUID", object.uid());
    text(&mut out, "InstanceAvailability", Some("ONLINE"));
    text(&mut out, "StudyInstanceUID", study.uid());
    text(&mut out, "SeriesInstanceUID", object.series_uid.as_deref());
    number(&mut out, "InstanceNumber", object.number);
    let sizes = [
        ("Rows", object.rows),
        ("Columns", object.columns),
        ("BitsAllocated", object.bits),
    ];
    for (keyword, count) in sizes {
        if let Some(count) = count.and_then(|count| u16::try_from(count).ok()) {
            out.put(keyword, Said::Number(count));
        }
    }
    if object.frames.is_some() {
        number(&mut out, "NumberOfFrames", object.frames);
    }
    out
}

fn text(out: &mut Out, keyword: &str, text: Option<&str>) {
    let text = text.filter(|text| !text.is_empty());
    out.put(
        keyword,
        Said::Texts(text.into_iter().map(str::to_owned).collect()),
    );
}

fn number(out: &mut Out, keyword: &str, number: Option<u32>) {
    text(out, keyword, number.map(|number| number.to_string()).as_deref());
}

fn moment(out: &mut Out, [date, time]: [&str; 2], when: Option<&When>, zone: &TimeZone) {
    let local = when.and_then(|when| clock(when, zone));
    let day = local.as_ref().map(|local| local.strftime("%Y%m%d").to_string());
    text(out, date, day.as_deref());
    let of_day = local.filter(|_| when.is_some_and(When::has_time));
    let of_day = of_day.map(|local| local.strftime("%H%M%S%.f").to_string());
    text(out, time, of_day.as_deref());
}

/// The day and the time on the clock where it was written down; of a moment in UTC, on the clinic's.
fn clock(when: &When, zone: &TimeZone) -> Option<DateTime> {
    let written = when.as_str();
    match when.has_time() && !written.ends_with('Z') {
        true => written.parse().ok(),
        false => Some(zone.to_datetime(when.earliest(zone)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::names;
    use super::*;

    #[test]
    fn a_study_of_another_zone_has_the_day_that_it_was_made_on() {
        let zone = TimeZone::get("Europe/Bucharest").expect("known");
        let told = |written: &str| {
            let study = ImagingStudy {
                started: written.parse().ok(),
                ..ImagingStudy::default()
            };
            let out = self::study(&study, None, None, &zone);
            ["StudyDate", "StudyTime"].map(|keyword| {
                match names::by_keyword(keyword).and_then(|tag| out.get(tag)) {
                    Some(Said::Texts(texts)) => texts.join("/"),
                    _ => String::new(),
                }
            })
        };
        assert_eq!(told("2004-08-26T18:50:59-04:00"), ["20040826", "185059"]);
        assert_eq!(told("2004-08-26T22:50:59Z"), ["20040827", "015059"]);
        assert_eq!(told("2004-08-26"), ["20040826", ""]);
    }
}
