//! What de-identification leaves and takes, by the tables of PS3.15 and by what devices write.

use super::super::charset::Set;
use super::super::part10::Meta;
use super::super::scan::{Coding, Until};
use super::*;

const SECRET: &[u8; 32] = &[7; 32];

fn profile(keep: &[Keep]) -> Profile {
    Profile::new(keep.to_vec(), false, SECRET)
}

fn code(value: &str, meaning: &str) -> Out {
    let mut code = Out::default();
    code.text("CodeValue", value);
    code.text("CodingSchemeDesignator", "DCM");
    code.text("CodeMeaning", meaning);
    code
}

/// An image that names its patient and her doctor wherever it can.
fn object(instance: &str) -> Out {
    let mut request = Out::default();
    request.text("RequestedProcedureDescription", "CT pentru Știrbei Ruxandra");
    request.text("AccessionNumber", "ACC7001");
    request.text("StudyInstanceUID", "1.2.826.0.1.7");
    let mut image = Out::default();
    image.text("ReferencedSOPClassUID", "1.2.840.10008.5.1.4.1.1.2");
    image.text("ReferencedSOPInstanceUID", "1.2.826.0.1.7.1.1");
    let mut text = Out::default();
    text.text("ValueType", "TEXT");
    text.put(
        "ConceptNameCodeSequence",
        Said::Items(vec![code("121071", "Finding")]),
    );
    text.text("TextValue", "Doamna Știrbei nu are fracturi");
    let mut out = Out::default();
    out.text("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2");
    out.text("SOPInstanceUID", instance);
    out.text("StudyDate", "20260305");
    out.text("AcquisitionDateTime", "20260305101500.5");
    out.text("StudyTime", "101500");
    out.text("AccessionNumber", "ACC7001");
    out.text("Modality", "CT");
    out.text("InstitutionName", "Clinica Știrbei");
    out.text("ReferringPhysicianName", "Medic^Ioana");
    out.text("StudyDescription", "CT torace STIRBEI, dr. Ioana");
    out.text("StationName", "CT sala 1");
    out.put("ReferencedImageSequence", Said::Items(vec![image]));
    out.text("PatientName", "Știrbei^Ruxandra");
    out.text("PatientID", "P-7001");
    out.text("PatientBirthDate", "19790312");
    out.text("PatientSex", "F");
    out.text("PatientAge", "047Y");
    out.text("StudyInstanceUID", "1.2.826.0.1.7");
    out.text("SeriesInstanceUID", "1.2.826.0.1.7.1");
    out.text("FrameOfReferenceUID", "1.2.826.0.1.7.9");
    out.put("Rows", Said::Number(64));
    out.put("RequestAttributesSequence", Said::Items(vec![request]));
    out.put("ContentSequence", Said::Items(vec![text]));
    out.set(Tag(0x0009, 0x0010), VR::LO, Said::Texts(vec!["ACME".to_owned()]));
    out.set(
        Tag(0x0009, 0x1001),
        VR::LO,
        Said::Texts(vec!["Ruxandra".to_owned()]),
    );
    // A name in a place that no table foresees.
    out.text("InterpretationAuthor", "Medic^Ioana");
    out
}

fn file(out: &Out, class: &str, set: Set, coding: Coding) -> Vec<u8> {
    let mut out = out.clone();
    if let Some(term) = set.term() {
        out.text("SpecificCharacterSet", term);
    }
    let syntax = if coding.implicit {
        "1.2.840.10008.1.2"
    } else {
        "1.2.840.10008.1.2.1"
    };
    let mut bytes = Meta {
        class: class.to_owned(),
        instance: "1.2.826.0.1.7.1.1".to_owned(),
        syntax: syntax.to_owned(),
        calling: "CT1".to_owned(),
        called: "PUNTE".to_owned(),
        ..Meta::default()
    }
    .written();
    bytes.extend(out.written(coding, set));
    super::super::write::element(coding, Tag(0x7FE0, 0x10), VR::OW, &[7; 64], &mut bytes);
    bytes
}

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

fn without(bytes: &[u8], keep: &[Keep]) -> Vec<u8> {
    deidentified(bytes, Fallback::default(), &profile(keep)).expect("right")
}

fn at(bytes: &[u8], path: &str) -> Vec<String> {
    let file = File::read(bytes).expect("right");
    file.check(Until::End).expect("whole");
    let set = file.data_set(Fallback::default()).expect("right");
    path.parse::<super::super::path::Path>()
        .expect("a path")
        .values(&set)
}

/// Anything by which somebody could be known, in any case and with any marks.
fn names_somebody(bytes: &[u8]) -> Option<&'static str> {
    let text = folded(&String::from_utf8_lossy(bytes));
    let latin: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let latin = folded(&latin);
    [
        "tirbei", "ruxandra", "ioana", "medic", "p-7001", "acc7001", "19790312", "20260305", "clinica",
        "sala 1", "1.2.826", "047y", "ct1", "acme",
    ]
    .into_iter()
    .find(|word| text.contains(word) || latin.contains(word))
}

#[test]
fn nothing_is_left_by_which_somebody_could_be_known() {
    for set in [Set::Utf8, Set::Latin2, Set::Latin1] {
        for coding in [Coding::IMPLICIT, Coding::EXPLICIT] {
            let bytes = file(&object("1.2.826.0.1.7.1.1"), CT, set, coding);
            assert!(names_somebody(&bytes).is_some(), "the harness sees what is there");
            let clean = without(&bytes, &[]);
            assert_eq!(names_somebody(&clean), None);
            assert_eq!(at(&clean, "Modality"), ["CT"]);
            assert_eq!(at(&clean, "Rows"), ["64"]);
            assert_eq!(at(&clean, "PatientIdentityRemoved"), ["YES"]);
            assert_eq!(at(&clean, "LongitudinalTemporalInformationModified"), ["REMOVED"]);
            assert_eq!(
                at(&clean, "DeidentificationMethodCodeSequence.CodeValue"),
                ["113100"]
            );
            assert_eq!(
                at(&clean, "ContentSequence.ConceptNameCodeSequence.CodeMeaning"),
                ["Finding"]
            );
            assert!(clean.ends_with(&[7; 64]), "the pixels stay");
        }
    }
}

#[test]
fn what_breaks_the_rules_of_its_kind_is_replaced_and_that_is_said() {
    let mut object = object("1.2.826.0.1.7.1.1");
    object.text("PatientPosition", "Știrbei R");
    object.put(
        "ImageType",
        Said::Texts(["ORIGINAL", "PRIMARY", "Dna Ionescu"].map(str::to_owned).to_vec()),
    );
    object.text("SliceThickness", "5 mm Vasile");
    object.text("ReconstructionDiameter", "500");
    object.text("AcquisitionNumber", "Vasile");
    object.text("ScanOptions", "RUXANDRA");
    object.text("RelatedGeneralSOPClassUID", "1.2.840.10008.Vasile");
    for keep in [
        &[][..],
        &[
            Keep::Dates,
            Keep::Uids,
            Keep::Device,
            Keep::Patient,
            Keep::Descriptors,
        ],
        &[Keep::ShiftedDates],
    ] {
        let mut object = object.clone();
        object.text("SeriesTime", "la Vasile");
        object.text("SeriesDate", "Ionescu");
        object.text("AcquisitionDateTime", "20260305 Vasile");
        object.text("PatientSex", "Dna Ionescu");
        let bytes = file(&object, CT, Set::Utf8, Coding::EXPLICIT);
        let clean = without(&bytes, keep);
        let text = String::from_utf8_lossy(&clean).to_lowercase();
        for word in ["vasile", "ionescu", "tirbei", "ruxandra"] {
            assert!(!text.contains(word), "{keep:?}: {word}");
        }
        assert_eq!(at(&clean, "ImageType"), ["ORIGINAL", "PRIMARY", "REMOVED"]);
        assert_eq!(at(&clean, "PatientPosition"), ["REMOVED"]);
        assert_eq!(at(&clean, "ReconstructionDiameter"), ["500"]);
        assert_eq!(at(&clean, "DeidentificationMethod").len(), 2);
    }
    let bytes = file(
        &super::tests::object("1.2.826.0.1.7.1.1"),
        CT,
        Set::Utf8,
        Coding::EXPLICIT,
    );
    assert_eq!(at(&without(&bytes, &[]), "DeidentificationMethod").len(), 1);
}

#[test]
fn what_is_drawn_in_bits_of_the_pixels_is_not_seen_into() {
    let mut object = object("1.2.826.0.1.7.1.1");
    object.set(Tag(0x6000, 0x0102), VR::US, Said::Number(12));
    let bytes = file(&object, CT, Set::Utf8, Coding::EXPLICIT);
    let clean = |are_clean| {
        deidentified(
            &bytes,
            Fallback::default(),
            &Profile::new(vec![], are_clean, SECRET),
        )
        .is_ok()
    };
    assert_eq!((clean(false), clean(true)), (false, true));
}

#[test]
fn what_says_that_text_stands_in_its_pixels_is_refused() {
    let is_taken = |keyword: &str, values: &[&str], are_clean| {
        let mut object = object("1.2.826.0.1.7.1.1");
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        object.put(keyword, Said::Texts(values));
        let bytes = file(&object, CT, Set::Utf8, Coding::EXPLICIT);
        let profile = Profile::new(vec![], are_clean, SECRET);
        deidentified(&bytes, Fallback::default(), &profile).is_ok()
    };
    let shows: [(&str, &[&str]); 15] = [
        ("ImageType", &["DERIVED", "SECONDARY", "OTHER", "CT_SOM5 PROT"]),
        ("ImageType", &["DERIVED", "SECONDARY", "PATIENT PROTOCOL"]),
        ("ImageType", &["DERIVED", "SECONDARY", "CAPTURE"]),
        ("ImageType", &["DERIVED", "SECONDARY", "FILMED"]),
        ("SeriesDescription", &["Patient Protocol"]),
        ("SeriesDescription", &["Screen_Save"]),
        ("ImageType", &["ORIGINAL", "PRIMARY", "LABEL", "NONE"]),
        ("ImageType", &["DERIVED", "PRIMARY", "OVERVIEW", "NONE"]),
        ("ImageType", &["DERIVED", "SECONDARY", "SCREEN SAVE"]),
        ("ImageType", &["DERIVED", "SECONDARY", "OTHER", "DOSE_INFO"]),
        ("ImageType", &["DERIVED", "SECONDARY", "OTHER", "CSA REPORT"]),
        ("SpecimenLabelInImage", &["YES"]),
        ("BurnedInAnnotation", &["YES"]),
        ("BurnedInAnnotation", &["yes"]),
        ("BurnedInAnnotation", &["Yes "]),
    ];
    for (keyword, values) in shows {
        assert!(!is_taken(keyword, values, false), "{keyword} {values:?}");
        assert!(is_taken(keyword, values, true), "{keyword} {values:?}");
    }
    let others: [(&str, &[&str]); 6] = [
        ("ImageType", &["ORIGINAL", "PRIMARY", "PROTON"]),
        ("SeriesDescription", &["Abdomen dose 3"]),
        ("ImageType", &["ORIGINAL", "PRIMARY", "AXIAL"]),
        ("ImageType", &["DERIVED", "SECONDARY", "MPR"]),
        ("SpecimenLabelInImage", &["NO"]),
        ("BurnedInAnnotation", &["NO"]),
    ];
    for (keyword, values) in others {
        assert!(is_taken(keyword, values, false), "{keyword} {values:?}");
    }
}

#[test]
fn of_a_long_object_it_is_known_whether_pixels_alone_follow() {
    let object = object("1.2.826.0.1.7.1.1");
    for coding in [Coding::IMPLICIT, Coding::EXPLICIT] {
        let bytes = file(&object, CT, Set::Utf8, coding);
        let length = bytes.len() as u64;
        let beginning = &bytes[..bytes.len() - 60];
        assert!(rest_is_pixels(beginning, length));
        assert!(!rest_is_pixels(beginning, length + 12));
        assert!(!rest_is_pixels(&bytes[..200], length));
    }
    let mut bytes = file(&object, CT, Set::Utf8, Coding::EXPLICIT);
    let at = bytes.len() - 68;
    bytes[at..at + 4].fill(0xFF);
    assert!(
        !rest_is_pixels(&bytes, bytes.len() as u64),
        "in fragments their end is not known"
    );
}

#[test]
fn nothing_is_left_behind_the_pixels() {
    let object = object("1.2.826.0.1.7.1.1");
    for coding in [Coding::IMPLICIT, Coding::EXPLICIT] {
        let mut bytes = file(&object, CT, Set::Utf8, coding);
        let plain = without(&bytes, &[]);
        let add = |tag, vr, value: &[u8], bytes: &mut Vec<u8>| {
            super::super::write::element(coding, tag, vr, value, bytes);
        };
        add(Tag(0x7FE1, 0x0010), VR::LO, b"ACME", &mut bytes);
        add(Tag(0x7FE1, 0x1001), VR::LO, b"Ruxandra", &mut bytes);
        add(Tag(0xFFFC, 0xFFFC), VR::OB, b"Medic Ioana ", &mut bytes);
        assert_eq!(without(&bytes, &[]), plain);
        assert_eq!(names_somebody(&without(&bytes, &[Keep::SafePrivate])), None);
        // What does not hold together goes too.
        bytes.extend(b"Ruxandra");
        assert_eq!(without(&bytes, &[]), plain);
    }
    let bytes = file(&object, CT, Set::Utf8, Coding::EXPLICIT);
    let read = File::read(&bytes).expect("right");
    let mut data = read.data.to_vec();
    data.extend(b"\xFC\xFF\xFC\xFFOB\0\0\x08\0\0\0Ruxandra");
    let meta = Meta {
        syntax: "1.2.840.10008.1.2.1.99".to_owned(),
        ..read.meta.clone()
    };
    let deflated = [meta.written(), part10::deflate(&data)].concat();
    let clean = without(&deflated, &[]);
    let clean = part10::inflate_whole(File::read(&clean).expect("right").data, 100_000).expect("right");
    assert_eq!(names_somebody(&clean), None);
    assert!(clean.ends_with(&[7; 64]));
}

#[test]
fn text_of_unknown_kind_and_text_that_is_too_long_lose_names_too() {
    let mut object = object("1.2.826.0.1.7.1.1");
    let words = "CT torace, doamna Ruxandra, ".repeat(5);
    object.set(
        Tag(0x0008, 0x1030),
        VR::UN,
        Said::Bytes(words.clone().into_bytes()),
    );
    object.set(Tag(0x0008, 0x103E), VR::UT, Said::Texts(vec![words.clone()]));
    let keep = [Keep::Descriptors];
    let clean = without(&file(&object, CT, Set::Utf8, Coding::EXPLICIT), &keep);
    assert_eq!(names_somebody(&clean), None);
    assert!(at(&clean, "StudyDescription")[0].starts_with("CT torace, doamna ****"));
    // In implicit, the dictionary says that it is a text of 64 characters.
    let clean = without(&file(&object, CT, Set::Utf8, Coding::IMPLICIT), &keep);
    assert_eq!(names_somebody(&clean), None);
    assert_eq!(at(&clean, "SeriesDescription")[0].len(), 64);
}

#[test]
fn uids_patients_and_days_are_the_same_ones_at_each_place_and_with_each_object() {
    let keep = [Keep::ShiftedDates];
    let one = without(
        &file(&object("1.2.826.0.1.7.1.1"), CT, Set::Utf8, Coding::EXPLICIT),
        &keep,
    );
    let mut other = object("1.2.826.0.1.7.1.2");
    other.text("StudyDate", "20260306");
    let other = without(&file(&other, CT, Set::Latin2, Coding::IMPLICIT), &keep);
    for path in [
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "FrameOfReferenceUID",
        "PatientID",
        "PatientName",
    ] {
        assert_eq!(at(&one, path), at(&other, path), "{path}");
    }
    assert_ne!(at(&one, "SOPInstanceUID"), at(&other, "SOPInstanceUID"));
    assert_eq!(
        at(&one, "SOPInstanceUID"),
        at(&other, "ReferencedImageSequence.ReferencedSOPInstanceUID")
    );
    assert_eq!(
        at(&one, "SOPInstanceUID")[0],
        File::read(&one).expect("right").meta.instance
    );
    assert_eq!(at(&one, "ReferencedImageSequence.ReferencedSOPClassUID"), [CT]);
    assert_eq!(
        at(&one, "PatientID"),
        [profile(&[]).pseudonym("P-7001")],
        "who has the secret finds him"
    );
    let uid = &at(&one, "StudyInstanceUID")[0];
    assert!(uid.starts_with("2.25.") && uid.len() <= 64, "{uid}");
    // A day after the other one, as before.
    let date = |bytes: &[u8]| Date::strptime("%Y%m%d", &at(bytes, "StudyDate")[0]).expect("a date");
    assert_eq!(date(&one).tomorrow().expect("a day"), date(&other));
    assert!(date(&one) < jiff::civil::date(2025, 3, 6));
    assert_eq!(at(&one, "StudyTime"), ["101500"]);
    let moment = &at(&one, "AcquisitionDateTime")[0];
    assert_eq!(*moment, format!("{}101500.5", at(&one, "StudyDate")[0]));
    assert_eq!(at(&one, "LongitudinalTemporalInformationModified"), ["MODIFIED"]);
    // Another project knows nothing of this one.
    let stranger = Profile::new(vec![], false, &[8; 32]);
    assert_ne!(stranger.pseudonym("P-7001"), profile(&[]).pseudonym("P-7001"));
    assert_ne!(stranger.uid("1.2.826.0.1.7"), profile(&[]).uid("1.2.826.0.1.7"));
}

#[test]
fn text_that_stays_tells_no_day_and_nothing_that_was_taken_out() {
    let mut object = object("1.2.826.0.1.7.1.1");
    object.text(
        "StudyDescription",
        "CT din 05.03.2026, nascuta 12.03.1979, control 1 mai 2027",
    );
    object.text("SeriesDescription", "20260305 CT sala 1 / Clinica Stirbei");
    object.text(
        "ImageComments",
        "2026-03-05 10:15; dob 19790312 sau 12/03/79; felie 1.5/3.0",
    );
    let bytes = file(&object, CT, Set::Utf8, Coding::EXPLICIT);
    let shown = |keep: &[Keep]| {
        let clean = without(&bytes, keep);
        ["StudyDescription", "SeriesDescription", "ImageComments"].map(|path| at(&clean, path).concat())
    };
    let masked = [
        "CT din **********, nascuta **********, control **********",
        "******** ********* / ***************",
        "********** 10:15; dob ******** sau ********; felie 1.5/3.0",
    ];
    assert_eq!(shown(&[Keep::Descriptors, Keep::ShiftedDates]), masked);
    assert_eq!(shown(&[Keep::Descriptors]), masked);
    // Days stay where days stay, but for the birth date; and so does the name of the place.
    assert_eq!(
        shown(&[Keep::Descriptors, Keep::Dates, Keep::Device]),
        [
            "CT din 05.03.2026, nascuta **********, control 1 mai 2027",
            "20260305 CT sala 1 / ***************",
            "2026-03-05 10:15; dob ******** sau ********; felie 1.5/3.0",
        ]
    );
    // In reports likewise.
    let mut verified = Out::default();
    verified.text("VerifyingOrganization", "Spital Secret");
    object.put("VerifyingObserverSequence", Said::Items(vec![verified]));
    let mut text = Out::default();
    text.text("ValueType", "TEXT");
    text.text("TextValue", "la Spital Secret, 5 martie 2026");
    object.put("ContentSequence", Said::Items(vec![text]));
    let bytes = file(&object, CT, Set::Utf8, Coding::EXPLICIT);
    let clean = without(&bytes, &[Keep::Structured]);
    assert_eq!(
        at(&clean, "ContentSequence.TextValue"),
        ["la *************, *************"]
    );
}

#[test]
fn an_object_under_new_uids_is_the_same_one_otherwise() {
    let renumbered = |instance: &str| {
        let bytes = file(&object(instance), CT, Set::Utf8, Coding::EXPLICIT);
        let new = with_new_uids(&bytes, Fallback::default(), &profile(&[])).expect("right");
        (bytes, new)
    };
    let (came, one) = renumbered("1.2.826.0.1.7.1.1");
    let (_, other) = renumbered("1.2.826.0.1.7.1.2");
    for path in ["StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"] {
        assert_eq!(at(&one, path), at(&other, path), "{path}");
        assert_ne!(at(&one, path), at(&came, path), "{path}");
    }
    let own = at(&one, "SOPInstanceUID");
    assert_eq!(
        own,
        at(&other, "ReferencedImageSequence.ReferencedSOPInstanceUID")
    );
    assert_eq!(own[0], File::read(&one).expect("right").meta.instance);
    assert_eq!(
        at(&one, "RequestAttributesSequence.StudyInstanceUID"),
        at(&one, "StudyInstanceUID")
    );
    for path in [
        "SOPClassUID",
        "ReferencedImageSequence.ReferencedSOPClassUID",
        "PatientName",
        "StudyDate",
        "0009,1001",
        "PatientIdentityRemoved",
    ] {
        assert_eq!(at(&one, path), at(&came, path), "{path}");
    }
    assert!(one.ends_with(&[7; 64]));
}

#[test]
fn each_option_keeps_what_it_says() {
    let bytes = file(&object("1.2.826.0.1.7.1.1"), CT, Set::Utf8, Coding::EXPLICIT);
    let kept = |keep: Keep, path: &str| at(&without(&bytes, &[keep]), path);
    assert_eq!(kept(Keep::Uids, "StudyInstanceUID"), ["1.2.826.0.1.7"]);
    assert_eq!(kept(Keep::Device, "StationName"), ["CT sala 1"]);
    assert_eq!(kept(Keep::Institution, "InstitutionName"), ["Clinica Știrbei"]);
    assert_eq!(kept(Keep::Patient, "PatientAge"), ["047Y"]);
    assert_eq!(kept(Keep::Dates, "StudyDate"), ["20260305"]);
    assert_eq!(
        kept(Keep::Descriptors, "StudyDescription"),
        ["CT torace *******, dr. *****"]
    );
    assert_eq!(
        kept(Keep::Structured, "ContentSequence.TextValue"),
        ["Doamna ******* nu are fracturi"]
    );
    for keep in Keep::ALL {
        assert_eq!(Keep::from_word(keep.as_str()), Some(keep));
        let codes = kept(keep, "DeidentificationMethodCodeSequence.CodeValue");
        assert_eq!(codes, ["113100", keep.code().0]);
        // None of them leaves the patient's name or number.
        assert_eq!(kept(keep, "PatientID"), [profile(&[]).pseudonym("P-7001")]);
    }
}

/// One private element of each of these: group, creator, number, kind, value.
fn with_private(out: &mut Out, all: &[(u16, &str, u16, VR, Said)]) {
    for (group, creator, number, vr, said) in all {
        out.set(
            Tag(*group, 0x0010),
            VR::LO,
            Said::Texts(vec![(*creator).to_owned()]),
        );
        out.set(Tag(*group, 0x1000 | number), *vr, said.clone());
    }
}

#[test]
fn private_elements_that_tell_nobody_may_stay() {
    let text = |text: &str| Said::Texts(vec![text.to_owned()]);
    let mut out = object("1.2.826.0.1.7.1.1");
    with_private(
        &mut out,
        &[
            (0x7053, "Philips PET Private Group", 0x00, VR::DS, text("0.00021")),
            (
                0x7053,
                "Philips PET Private Group",
                0x09,
                VR::DS,
                text("RUXANDRA"),
            ),
            (
                0x7053,
                "Philips PET Private Group",
                0x03,
                VR::ST,
                text("d:/ruxandra.img"),
            ),
            (0x0019, "SIEMENS MR HEADER", 0x0C, VR::IS, text("1000")),
            (0x0019, "SIEMENS MR HEADER", 0x0D, VR::LO, text("Ruxandra")),
            (0x0099, "NQHeader", 0x02, VR::UI, text("1.2.826.0.1.7.9")),
            (0x0099, "NQHeader", 0x05, VR::LT, text("fine, Știrbei")),
            (0x0043, "GEMS_ACQU_01", 0x39, VR::IS, text("7")),
            (0x0051, "ACME", 0x01, VR::DS, text("5")),
            (0x0051, "ACME", 0x02, VR::DS, text("6")),
        ],
    );
    let mut said = Out::default();
    said.set(Tag(0x0008, 0x0301), VR::US, Said::Number(0x0051));
    said.set(Tag(0x0008, 0x0302), VR::LO, text("ACME"));
    said.set(Tag(0x0008, 0x0303), VR::CS, text("MIXED"));
    said.set(Tag(0x0008, 0x0304), VR::US, Said::Number(2));
    out.set(Tag(0x0008, 0x0300), VR::SQ, Said::Items(vec![said]));
    let bytes = file(&out, CT, Set::Utf8, Coding::EXPLICIT);
    let clean = without(&bytes, &[Keep::SafePrivate]);
    let clean = File::read(&clean).expect("right");
    let set = clean.data_set(Fallback::default()).expect("right");
    let left = |tag: Tag| set.text(tag);
    assert_eq!(left(Tag(0x7053, 0x1000)).as_deref(), Some("0.00021"));
    assert_eq!(
        left(Tag(0x7053, 0x0010)).as_deref(),
        Some("Philips PET Private Group")
    );
    assert_eq!(left(Tag(0x0019, 0x100C)).as_deref(), Some("1000"));
    assert_eq!(
        left(Tag(0x0099, 0x1002)),
        Some(profile(&[]).uid("1.2.826.0.1.7.9"))
    );
    assert_eq!(left(Tag(0x0099, 0x1005)).as_deref(), Some("fine, *******"));
    assert_eq!(left(Tag(0x0051, 0x1002)).as_deref(), Some("6"));
    for gone in [
        // Not what the table says, not in it, of another maker, not said to be safe.
        Tag(0x7053, 0x1009),
        Tag(0x7053, 0x1003),
        Tag(0x0019, 0x100D),
        Tag(0x0043, 0x1039),
        Tag(0x0043, 0x0010),
        Tag(0x0051, 0x1001),
    ] {
        assert!(set.get(gone).is_none(), "{gone:?}");
    }
    let none = without(&bytes, &[]);
    let none = File::read(&none).expect("right");
    let none = none.data_set(Fallback::default()).expect("right");
    assert!(none.elements.iter().all(|element| element.header.tag.0 % 2 == 0));
}

/// In implicit little endian nobody says of which kind a private element is: numbers stay, text can't be cleaned.
#[test]
fn private_elements_without_a_kind_stay_where_they_are_numbers() {
    let text = |text: &str| Said::Texts(vec![text.to_owned()]);
    let mut out = object("1.2.826.0.1.7.1.1");
    with_private(
        &mut out,
        &[
            (0x7053, "Philips PET Private Group", 0x00, VR::DS, text("0.00021")),
            (0x0099, "NQHeader", 0x05, VR::LT, text("fine")),
            (
                0x2005,
                "Philips MR Imaging DD 001",
                0x0E,
                VR::FL,
                Said::Bytes(vec![0, 0, 128, 63]),
            ),
            (
                0x2001,
                "Philips Imaging DD 001",
                0x03,
                VR::FL,
                Said::Bytes(vec![0, 0, 128, 63, 0, 0]),
            ),
        ],
    );
    let bytes = file(&out, CT, Set::Utf8, Coding::IMPLICIT);
    let clean = without(&bytes, &[Keep::SafePrivate]);
    let clean = File::read(&clean).expect("right");
    let set = clean.data_set(Fallback::default()).expect("right");
    assert!(set.get(Tag(0x7053, 0x1000)).is_some());
    assert!(set.get(Tag(0x2005, 0x100E)).is_some());
    assert!(set.get(Tag(0x0099, 0x1005)).is_none());
    assert!(set.get(Tag(0x2001, 0x1003)).is_none());
}

#[test]
fn what_was_drawn_may_stay_without_its_names() {
    let mut drawn = Out::default();
    drawn.text("UnformattedTextValue", "leziune, Știrbei");
    let mut annotation = Out::default();
    annotation.put("TextObjectSequence", Said::Items(vec![drawn]));
    let mut out = object("1.2.826.0.1.7.1.1");
    out.put("GraphicAnnotationSequence", Said::Items(vec![annotation]));
    out.set(Tag(0x6000, 0x3000), VR::OW, Said::Bytes(vec![1, 2]));
    out.set(
        Tag(0x6000, 0x4000),
        VR::LT,
        Said::Texts(vec!["a lui Știrbei".to_owned()]),
    );
    let bytes = file(&out, CT, Set::Utf8, Coding::EXPLICIT);
    let path = "GraphicAnnotationSequence.TextObjectSequence.UnformattedTextValue";
    assert_eq!(at(&without(&bytes, &[]), path), ["REMOVED"]);
    let clean = without(&bytes, &[Keep::Graphics]);
    assert_eq!(at(&clean, path), ["leziune, *******"]);
    assert_eq!(at(&clean, "6000,4000"), ["a lui *******"]);
    let has_overlay = |bytes: &[u8]| {
        let file = File::read(bytes).expect("right");
        let set = file.data_set(Fallback::default()).expect("right");
        set.get(Tag(0x6000, 0x3000)).is_some()
    };
    assert!(!has_overlay(&clean), "nobody has looked at what is drawn in it");
    let looked_at = Profile::new(vec![Keep::Graphics], true, SECRET);
    let clean = deidentified(&bytes, Fallback::default(), &looked_at).expect("right");
    assert!(has_overlay(&clean));
}

#[test]
fn what_may_show_the_patient_is_refused_unless_it_was_looked_at() {
    let mut burned = object("1.2.826.0.1.7.1.1");
    burned.text("BurnedInAnnotation", "YES");
    let plain = object("1.2.826.0.1.7.1.1");
    for (out, class) in [
        (&burned, CT),
        (&plain, "1.2.840.10008.5.1.4.1.1.7"),
        (&plain, "1.2.840.10008.5.1.4.1.1.104.1"),
    ] {
        let bytes = file(out, class, Set::Utf8, Coding::EXPLICIT);
        let error = deidentified(&bytes, Fallback::default(), &profile(&[])).err();
        assert!(
            error.is_some_and(|error| error.to_string().contains("may show the patient")),
            "{class}"
        );
        let looked_at = Profile::new(vec![], true, SECRET);
        let clean = deidentified(&bytes, Fallback::default(), &looked_at).expect("right");
        assert_eq!(at(&clean, "BurnedInAnnotation"), ["NO"]);
        let codes = at(&clean, "DeidentificationMethodCodeSequence.CodeValue");
        assert_eq!(codes, ["113100", "113101"]);
    }
}

#[test]
fn what_the_table_names_by_its_groups_goes_and_a_document_that_was_looked_at_stays() {
    let mut out = object("1.2.826.0.1.7.1.1");
    out.set(Tag(0x5000, 0x3000), VR::OW, Said::Bytes(vec![1, 2]));
    out.set(Tag(0x6002, 0x3000), VR::OW, Said::Bytes(vec![1, 2]));
    out.set(
        Tag(0x6002, 0x4000),
        VR::LT,
        Said::Texts(vec!["Ruxandra".to_owned()]),
    );
    out.set(Tag(0x6002, 0x0010), VR::US, Said::Number(8));
    out.set(Tag(0x0019, 0x0010), VR::LO, Said::Texts(vec!["ACME".to_owned()]));
    out.set(Tag(0x0019, 0x1001), VR::SH, Said::Texts(vec!["Medic".to_owned()]));
    out.put("EncapsulatedDocument", Said::Bytes(b"%PDF-1.7".to_vec()));
    let bytes = file(&out, "1.2.840.10008.5.1.4.1.1.104.1", Set::Utf8, Coding::EXPLICIT);
    let looked_at = Profile::new(vec![], true, SECRET);
    let clean = deidentified(&bytes, Fallback::default(), &looked_at).expect("right");
    assert_eq!(names_somebody(&clean), None);
    let file = File::read(&clean).expect("right");
    let set = file.data_set(Fallback::default()).expect("right");
    for gone in [
        Tag(0x5000, 0x3000),
        Tag(0x6002, 0x3000),
        Tag(0x6002, 0x4000),
        Tag(0x0019, 0x0010),
        Tag(0x0019, 0x1001),
    ] {
        assert!(set.get(gone).is_none(), "{gone:?}");
    }
    assert!(set.get(Tag(0x6002, 0x0010)).is_some());
    assert_eq!(set.get(DOCUMENT).and_then(Element::bytes), Some(&b"%PDF-1.7"[..]));
}

/// One element of each kind that the table names, in a place where nothing else would touch it.
#[test]
fn each_element_of_the_table_loses_what_it_says() {
    for tag in rules::all().filter(|tag| 8 <= tag.0 && *tag != DOCUMENT) {
        let vr = super::super::names::vr(tag);
        let said = match vr {
            VR::SQ => {
                let mut item = Out::default();
                item.text("TextValue", "Ruxandra");
                item.text("PersonName", "Ruxandra");
                Said::Items(vec![item])
            }
            VR::UI => Said::Texts(vec!["1.2.826.0.1.99".to_owned()]),
            VR::DA => Said::Texts(vec!["20260305".to_owned()]),
            VR::DT => Said::Texts(vec!["20260305101500".to_owned()]),
            VR::AS => Said::Texts(vec!["047Y".to_owned()]),
            VR::OB | VR::OW | VR::UN | VR::OF | VR::OD | VR::OL | VR::OV => Said::Bytes(b"Ruxandra".to_vec()),
            vr if super::super::write::has_charset(vr) => Said::Texts(vec!["Ruxandra".to_owned()]),
            VR::AE | VR::CS | VR::UR => Said::Texts(vec!["RUXANDRA".to_owned()]),
            _ => continue,
        };
        let mut out = Out::default();
        out.text("SOPClassUID", CT);
        out.text("SOPInstanceUID", "1.2.3");
        out.set(tag, vr, said);
        let bytes = file(&out, CT, Set::Utf8, Coding::EXPLICIT);
        assert_ne!(
            names_somebody(&bytes),
            None,
            "{tag:?}: the harness sees what is there"
        );
        let clean = without(&bytes, &[]);
        assert_eq!(names_somebody(&clean), None, "{tag:?} {vr:?}");
    }
}

#[test]
fn twice_is_no_less_than_once() {
    let bytes = file(&object("1.2.826.0.1.7.1.1"), CT, Set::Utf8, Coding::EXPLICIT);
    let twice = without(&without(&bytes, &[]), &[]);
    assert_eq!(names_somebody(&twice), None);
    assert_eq!(
        at(&twice, "DeidentificationMethodCodeSequence.CodeValue"),
        ["113100"]
    );
}
