//! An object → the study that it belongs to, the object itself, and what it reports: an encapsulated document (PS3.3
//! A.45), measurements of a structured report (PS3.16 TID 1500).
//!
//! Whose it is, is said by the order or the study; the number and the name in it are held against that, and change
//! nothing of the patient.

use std::collections::HashSet;

use base64::Engine as _;
use clinic::change_set::{Change, Find, Missing, Natural};
use clinic::diagnostics::{ObservationChange, ObservationStatus, Value as Measured};
use clinic::exchange::{MapError, Reason};
use clinic::imaging::{
    ImagingInstanceChange, ImagingStudyChange, ImagingStudyStatus, Series, accession, uid,
};
use clinic::patch::{Items, Patch};
use clinic::people::{PatientChange, Sex};
use clinic::records::{DocumentChange, DocumentStatus};
use clinic::value::{Attachment, Concept, Identifier, Quantity, Ref, When};
use clinic::{About, ChangeSet};
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use super::Profile;
use super::behind;
use super::document::without_filling;
use super::part10::File;
use super::said::{At, Ledger};
use super::scan::Until;

/// The most requests that one object may be for.
const MAX_REQUESTS: usize = 64;
/// How deep the content of a report is read.
const MAX_CONTENT: usize = 32;
/// The most measurements of one report.
const MAX_MEASURED: usize = 5_000;

/// What an object says about the clinic.
pub fn decode(file: &File<'_>, profile: &Profile) -> Result<ChangeSet, MapError> {
    let fallback = profile.of(&file.meta.calling).fallback;
    let set = file.data_set(fallback)?;
    let ledger = Ledger::default();
    let at = At::new(&set, &ledger);
    let required = |keyword: &str, place: &str, what: &str| {
        at.uid(keyword).ok_or_else(|| match at.peek(keyword) {
            None => MapError::missing(place, what),
            Some(_) => {
                let what = "is no UID: digits with dots between them, at most 64 characters. Correct it at the sender and send it again.";
                MapError::new(Reason::DataType, Some(place), what)
            }
        })
    };
    let study_uid = required("StudyInstanceUID", "0020,000D", "The UID of the study")?;
    let series_uid = required("SeriesInstanceUID", "0020,000E", "The UID of the series")?;
    let object_uid = required("SOPInstanceUID", "0008,0018", "The UID of the object")?;
    let class = required("SOPClassUID", "0008,0016", "The class of the object")?;
    let mut changes = vec![patient(&at, Missing::SkipUnlessSaid)];
    changes.push(study(&at, &study_uid, &series_uid, profile));
    changes.push(instance(&at, file, profile, &series_uid, &object_uid, &class));
    changes.extend(document(&at, &object_uid, profile));
    if class.starts_with("1.2.840.10008.5.1.4.1.1.88.") {
        measurements(&at, &object_uid, profile, &mut changes);
    }
    let mut extra = at.rest();
    extra.extend(behind::losses_of_whole(file, fallback));
    Ok(ChangeSet {
        about: About {
            notes: at.doubts(),
            ..about(file, "C-STORE", &object_uid)
        },
        changes,
        merges: vec![],
        extra,
    })
}

/// The message itself.
pub(super) fn about(file: &File<'_>, kind: &str, id: &str) -> About {
    let title = |title: &str| (!title.is_empty()).then(|| Identifier::new(None, title));
    let mut about = About {
        message_type: Some(kind.to_owned()),
        control_id: Some(id.to_owned()),
        ..About::default()
    };
    about.sender.application = title(&file.meta.calling);
    about.receiver.application = title(&file.meta.called);
    about
}

/// (0010,xxxx) → whom it names. What a device says of a patient was typed there or comes from its worklist: it finds the
/// patient, and is held against what is known.
pub(super) fn patient(at: &At<'_>, missing: Missing) -> Change {
    let number = at.text("PatientID");
    // Whose number it is: PS3.3 §C.7.1.1. Nothing without the number.
    let issuer = number.as_ref().and_then(|_| at.text("IssuerOfPatientID"));
    let number = number.map(|number| Identifier {
        assigner: issuer.clone(),
        ..Identifier::new(None, &number)
    });
    let theirs = number.clone().map(|number| Identifier {
        system: issuer,
        ..number
    });
    let names = at.names("PatientName");
    Change {
        find: Find {
            identifiers: number.into_iter().collect(),
            bare: true,
            missing,
            ..Find::default()
        },
        say_if_new: Some(
            PatientChange {
                identifiers: Items::merge(theirs.into_iter().collect()),
                names: Items::merge(names),
                birth_date: at.day("PatientBirthDate").into(),
                sex: sex(at).into(),
                ..PatientChange::default()
            }
            .into(),
        ),
        ..Change::new("patient", PatientChange::default())
    }
}

/// (0010,0040); looked at, and taken from nobody: of who is known already it changes nothing.
fn sex(at: &At<'_>) -> Option<Sex> {
    match at.peek("PatientSex")?.as_str() {
        "M" => Some(Sex::Male),
        "F" => Some(Sex::Female),
        "O" => Some(Sex::Other),
        _ => None,
    }
}

fn study(at: &At<'_>, study_uid: &str, series_uid: &str, profile: &Profile) -> Change {
    let modality = at.text("Modality");
    let mut identifiers = vec![uid(study_uid)];
    identifiers.extend(accessions(at));
    let examined = at.text("BodyPartExamined");
    let site = match at.first_concept("AnatomicRegionSequence") {
        Some(coded) => Some(Concept {
            text: examined,
            ..coded
        }),
        None => examined.map(Concept::words),
    };
    let series = Series {
        uid: series_uid.to_owned(),
        number: at.number("SeriesNumber"),
        modality: modality.clone(),
        description: at.text("SeriesDescription"),
        body_site: site,
        laterality: at.text("Laterality").or_else(|| at.text("ImageLaterality")),
        started: at.when("SeriesDate", "SeriesTime", &profile.zone),
    };
    let say = ImagingStudyChange {
        identifiers: Items::merge(identifiers),
        patient: Patch::Set(Ref::Local("patient".to_owned())),
        status: Patch::Set(ImagingStudyStatus::Available),
        modalities: Items::merge(modality.into_iter().collect()),
        series: Items::merge(vec![series]),
        ..ImagingStudyChange::default()
    };
    // The first object speaks for its study: what a later one says otherwise would write it anew with each image.
    let first = ImagingStudyChange {
        started: at.when("StudyDate", "StudyTime", &profile.zone).into(),
        number: at.text("StudyID").into(),
        description: at.text("StudyDescription").into(),
        procedures: Items::merge(at.concepts("ProcedureCodeSequence")),
        ..ImagingStudyChange::default()
    };
    Change {
        find: Find {
            identifiers: vec![uid(study_uid)],
            ..Find::default()
        },
        say_if_new: Some(first.into()),
        ..Change::new("study", say)
    }
}

/// The numbers of the orders that a study is for. One that was done for several orders names none itself, and each of them in the
/// Request Attributes Sequence (PS3.3 table 10-9; IHE RAD TF-2, group case); so do devices that leave (0008,0050) empty.
fn accessions(at: &At<'_>) -> Vec<Identifier> {
    if at.peek("AccessionNumber").is_some() {
        // Another one than that of the study itself is told, and not believed.
        return numbered(at).into_iter().collect();
    }
    let items = at.items("RequestAttributesSequence").into_iter();
    let mut known = HashSet::new();
    // One that is said again is told.
    let mut is_new = |item: &At<'_>| {
        let number = item.peek("AccessionNumber");
        number.is_some_and(|number| known.insert(number))
    };
    let items = items.take(MAX_REQUESTS).filter(|item| is_new(item));
    items.filter_map(|item| numbered(&item)).collect()
}

/// (0008,0050), and (0008,0051) who gave it, as a worklist says it: of two orders with the number it tells which is meant.
fn numbered(at: &At<'_>) -> Option<Identifier> {
    let number = at.text("AccessionNumber")?;
    let issuer = at.items("IssuerOfAccessionNumberSequence").into_iter().next();
    Some(Identifier {
        assigner: issuer.and_then(|issuer| issuer.text("LocalNamespaceEntityID")),
        ..accession(&number, None)
    })
}

fn instance(
    at: &At<'_>,
    file: &File<'_>,
    profile: &Profile,
    series_uid: &str,
    object_uid: &str,
    class: &str,
) -> Change {
    let titles = ["DocumentTitle", "ContentLabel", "ContentDescription"];
    let title = titles.iter().find_map(|keyword| at.peek(keyword));
    if let Some(title) = &title {
        let said = titles
            .iter()
            .filter(|keyword| at.peek(keyword).as_ref() == Some(title));
        said.for_each(|keyword| at.take(keyword));
    }
    let say = ImagingInstanceChange {
        identifiers: Items::merge(vec![uid(object_uid)]),
        patient: Patch::Set(Ref::Local("patient".to_owned())),
        study: Patch::Set(Ref::Local("study".to_owned())),
        series_uid: Patch::Set(series_uid.to_owned()),
        sop_class: Patch::Set(class.to_owned()),
        number: at.number("InstanceNumber").into(),
        title: title.into(),
        transfer_syntax: Patch::Set(file.meta.syntax.clone()),
        frames: at.number("NumberOfFrames").into(),
        rows: at.number("Rows").into(),
        columns: at.number("Columns").into(),
        bits: at.number("BitsAllocated").into(),
        content: content(file, profile).into(),
    };
    Change::new("object", say)
}

/// What tells two objects of one UID apart: the hash of the data set as it came. None: not all of it is at hand.
fn content(file: &File<'_>, profile: &Profile) -> Option<String> {
    let whole = || file.check(Until::End).is_ok();
    let hashed = || {
        let digest = Sha256::digest(file.data);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    profile.content.clone().or_else(|| whole().then(hashed))
}

/// (0042,0011) → a document on the chart.
fn document(at: &At<'_>, object_uid: &str, profile: &Profile) -> Option<Change> {
    let bytes = at.bytes("EncapsulatedDocument")?;
    let length = at
        .number("EncapsulatedDocumentLength")
        .map(|length| length as usize);
    let bytes = without_filling(bytes, length);
    let title = at.text("DocumentTitle");
    let date = at.when("ContentDate", "ContentTime", &profile.zone);
    let contents = Attachment {
        content_type: at
            .text("MIMETypeOfEncapsulatedDocument")
            .or(Some("application/pdf".to_owned())),
        data: Some(base64::engine::general_purpose::STANDARD.encode(bytes).into()),
        title: title.clone(),
        created: date.clone(),
        ..Attachment::default()
    };
    let say = DocumentChange {
        identifiers: Items::merge(vec![uid(object_uid)]),
        patient: Patch::Set(Ref::Local("patient".to_owned())),
        status: Patch::Set(DocumentStatus::Current),
        kind: at.first_concept("ConceptNameCodeSequence").into(),
        date: date.into(),
        description: title.into(),
        contents: Items::merge(vec![contents]),
        ..DocumentChange::default()
    };
    Some(Change::new("document", say))
}

/// The numbers of a structured report (PS3.16 TID 1500, TID 300): each NUM item is one measurement. The report itself
/// stays as the object that it is.
fn measurements(at: &At<'_>, object_uid: &str, profile: &Profile, changes: &mut Vec<Change>) {
    let around = Around {
        when: at.when("ContentDate", "ContentTime", &profile.zone),
        site: None,
    };
    // Only a document that is complete and that somebody answers for says what is final (PS3.3 C.17.2).
    let flags = [("CompletionFlag", "COMPLETE"), ("VerificationFlag", "VERIFIED")];
    let is_final = flags
        .iter()
        .all(|(keyword, word)| at.peek(keyword).as_deref() == Some(word));
    let status = match is_final {
        true => ObservationStatus::Final,
        false => ObservationStatus::Preliminary,
    };
    if is_final {
        flags.iter().for_each(|(keyword, _)| at.take(keyword));
    }
    let mut found = vec![];
    numbers(at, "", &around, &at.zone(&profile.zone), 0, &mut found);
    for (n, number) in found.into_iter().take(MAX_MEASURED).enumerate() {
        let key = format!("measured-{}", n + 1);
        let say = ObservationChange {
            patient: Patch::Set(Ref::Local("patient".to_owned())),
            status: Patch::Set(status),
            code: Patch::Set(number.code),
            value: Patch::Set(Measured::Quantity(number.quantity)),
            effective_at: Patch::from(number.when),
            body_site: number.site.into(),
            method: number.method.into(),
            ..ObservationChange::default()
        };
        changes.push(Change {
            find: Find {
                natural: Some(Natural {
                    owner: Some(Ref::Local("object".to_owned())),
                    key: format!("{object_uid}|{}", number.place),
                }),
                ..Find::default()
            },
            ..Change::new(key, say)
        });
    }
}

/// What stands around a number, and holds for it where it says nothing else.
#[derive(Clone)]
struct Around {
    when: Option<When>,
    site: Option<Concept>,
}

struct Number {
    place: String,
    when: Option<When>,
    code: Concept,
    quantity: Quantity,
    site: Option<Concept>,
    method: Option<Concept>,
}

fn numbers(at: &At<'_>, path: &str, around: &Around, zone: &TimeZone, depth: usize, found: &mut Vec<Number>) {
    if MAX_CONTENT < depth {
        return;
    }
    let items = at.items("ContentSequence");
    // A site that stands beside the numbers of a group is that of all of them.
    let of_group = items.iter().find_map(|item| modifier(item, FINDING_SITES));
    let around = Around {
        site: of_group.or_else(|| around.site.clone()),
        ..around.clone()
    };
    for (idx, item) in items.iter().enumerate() {
        let place = format!("{path}{idx}");
        // The time of an item stands before that of the document (PS3.3 C.17.3).
        let around = Around {
            when: item
                .moment("ObservationDateTime", zone)
                .or_else(|| around.when.clone()),
            ..around.clone()
        };
        if item.peek("ValueType").as_deref() == Some("NUM")
            && let Some(number) = number(item, &place, &around)
        {
            found.push(number);
        }
        numbers(item, &format!("{place}."), &around, zone, depth + 1, found);
    }
}

/// Finding site, in the codes of SNOMED CT and of its forerunner.
const FINDING_SITES: &[&str] = &["363698007", "G-C0E3"];
/// Measurement method.
const METHODS: &[&str] = &["370129005", "G-C306"];

/// The code that an item says of the thing that it modifies, where it is about one of these.
fn modifier(item: &At<'_>, about: &[&str]) -> Option<Concept> {
    let names = item.items("ConceptNameCodeSequence");
    let name = names.first()?.peek("CodeValue")?;
    if !about.contains(&name.as_str()) {
        return None;
    }
    let said = item.first_concept("ConceptCodeSequence")?;
    // Taken is what is carried; that it is said as a modifier is listed with the rest.
    names.first()?.take("CodeValue");
    Some(said)
}

fn number(item: &At<'_>, place: &str, around: &Around) -> Option<Number> {
    let measured = item.items("MeasuredValueSequence");
    let measured = measured.first()?;
    let value = measured.read("NumericValue", "is no number", |text| text.parse().ok())?;
    let unit = measured.first_concept("MeasurementUnitsCodeSequence");
    let unit = unit
        .and_then(|unit| unit.codings.into_iter().next())
        .unwrap_or_default();
    let code = item.first_concept("ConceptNameCodeSequence")?;
    item.take("ValueType");
    let inner = item.items("ContentSequence");
    let own = inner.iter().find_map(|item| modifier(item, FINDING_SITES));
    let method = inner.iter().find_map(|item| modifier(item, METHODS));
    Some(Number {
        place: place.to_owned(),
        when: around.when.clone(),
        code,
        quantity: Quantity {
            value: Some(value),
            unit: unit.display,
            system: unit.system,
            code: unit.code,
            ..Quantity::default()
        },
        site: own.or_else(|| around.site.clone()),
        method,
    })
}
