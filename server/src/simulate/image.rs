//! The objects that a simulated device makes: small, and right by their class (PS3.3 A.2, A.3, A.4, A.6, A.8).

use mappings::dicom::write::{Out, Said};

use super::drawing;
use super::modality::Examination;
use super::{items, reference, text};

/// What kind of object a device makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Computed radiography.
    Cr,
    /// Computed tomography.
    Ct,
    /// Magnetic resonance.
    Mr,
    /// Ultrasound.
    Us,
    /// Whatever else: a capture.
    Capture,
}

impl Kind {
    /// What a device of this modality makes.
    pub fn of(modality: &str) -> Kind {
        match modality {
            "CR" => Kind::Cr,
            "CT" => Kind::Ct,
            "MR" => Kind::Mr,
            "US" => Kind::Us,
            _ => Kind::Capture,
        }
    }

    /// Its class (PS3.4 B.5).
    pub fn class(self) -> &'static str {
        match self {
            Kind::Cr => "1.2.840.10008.5.1.4.1.1.1",
            Kind::Ct => "1.2.840.10008.5.1.4.1.1.2",
            Kind::Mr => "1.2.840.10008.5.1.4.1.1.4",
            Kind::Us => "1.2.840.10008.5.1.4.1.1.6.1",
            Kind::Capture => "1.2.840.10008.5.1.4.1.1.7",
        }
    }

    /// Bits of a grey value.
    fn bits(self) -> u16 {
        match self {
            Kind::Cr | Kind::Ct | Kind::Mr => 12,
            Kind::Us | Kind::Capture => 8,
        }
    }
}

/// One object that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its SOP Instance UID.
    pub instance: String,
    /// Its number in the series, from 1.
    pub number: usize,
}

/// How an object is to be other than it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Twist {
    /// It names a patient who was not examined.
    pub wrong_patient: bool,
    /// Its pixels are others than those that went by this UID before.
    pub other_pixels: bool,
}

/// The data set of an object.
pub fn data_set(examination: &Examination, made: &Made, twist: Twist) -> Out {
    let Examination { step, kind, .. } = examination;
    let mut out = Out::default();
    text(&mut out, "SOPClassUID", kind.class());
    text(&mut out, "SOPInstanceUID", &made.instance);
    match twist.wrong_patient {
        false => step.put_patient(&mut out),
        true => {
            text(&mut out, "PatientName", "Wrong^Patient");
            text(&mut out, "PatientID", "SIMULATED-WRONG");
            text(&mut out, "PatientBirthDate", "");
            text(&mut out, "PatientSex", "");
        }
    }
    study(examination, &mut out);
    series(examination, &mut out);
    let number = made.number.to_string();
    text(&mut out, "InstanceNumber", &number);
    match kind {
        Kind::Cr => radiograph(&mut out),
        Kind::Ct => tomogram(made, &mut out),
        Kind::Mr => resonance(made, &mut out),
        Kind::Us => text(&mut out, "ImageType", "ORIGINAL\\PRIMARY\\\\0001"),
        Kind::Capture => text(&mut out, "ConversionType", "SYN"),
    }
    if matches!(kind, Kind::Ct | Kind::Mr) {
        text(&mut out, "FrameOfReferenceUID", &examination.frame);
        text(&mut out, "PositionReferenceIndicator", "");
    } else {
        text(&mut out, "PatientOrientation", "");
    }
    let label = match step.accession.is_empty() {
        true => &step.patient,
        false => &step.accession,
    };
    pixels(
        examination,
        &format!("{label} {number}"),
        twist.other_pixels,
        &mut out,
    );
    out
}

fn study(examination: &Examination, out: &mut Out) {
    let Examination { step, started, .. } = examination;
    text(out, "StudyInstanceUID", &examination.study);
    text(out, "StudyDate", &started.date());
    text(out, "StudyTime", &started.time());
    text(out, "AccessionNumber", &step.accession);
    text(out, "ReferringPhysicianName", &step.referrer);
    text(out, "StudyID", &step.procedure_id);
    text(out, "StudyDescription", &step.procedure);
}

fn series(examination: &Examination, out: &mut Out) {
    let Examination { step, started, .. } = examination;
    text(out, "Modality", &examination.modality);
    text(out, "SeriesInstanceUID", &examination.series);
    text(out, "SeriesNumber", "1");
    text(out, "SeriesDescription", "Simulated");
    text(out, "SeriesDate", &started.date());
    text(out, "SeriesTime", &started.time());
    text(out, "ContentDate", &started.date());
    text(out, "ContentTime", &started.time());
    text(out, "Laterality", "");
    text(out, "Manufacturer", "Punte");
    text(out, "ManufacturerModelName", "punte simulate modality");
    text(out, "StationName", &examination.station);
    let is_planned = !step.id.is_empty();
    if is_planned {
        let mut request = Out::default();
        text(&mut request, "RequestedProcedureID", &step.procedure_id);
        text(&mut request, "RequestedProcedureDescription", &step.procedure);
        text(&mut request, "ScheduledProcedureStepID", &step.id);
        text(
            &mut request,
            "ScheduledProcedureStepDescription",
            &step.description,
        );
        if !step.protocol.is_empty() {
            items(&mut request, "ScheduledProtocolCodeSequence", step.codes());
        }
        items(out, "RequestAttributesSequence", vec![request]);
    }
    if examination.reports {
        let mpps = reference(dimse::uids::MPPS, &examination.mpps);
        items(out, "ReferencedPerformedProcedureStepSequence", vec![mpps]);
        text(out, "PerformedProcedureStepID", super::mpps::STEP);
        text(out, "PerformedProcedureStepStartDate", &started.date());
        text(out, "PerformedProcedureStepStartTime", &started.time());
    }
}

fn radiograph(out: &mut Out) {
    text(out, "ImageType", "ORIGINAL\\PRIMARY");
    text(out, "BodyPartExamined", "");
    text(out, "ViewPosition", "");
    text(out, "WindowCenter", "2048");
    text(out, "WindowWidth", "4096");
}

fn tomogram(made: &Made, out: &mut Out) {
    text(out, "ImageType", "ORIGINAL\\PRIMARY\\AXIAL");
    text(out, "KVP", "120");
    text(out, "AcquisitionNumber", "1");
    text(out, "RescaleIntercept", "-1024");
    text(out, "RescaleSlope", "1");
    text(out, "RescaleType", "HU");
    text(out, "WindowCenter", "1024");
    text(out, "WindowWidth", "4096");
    plane(made, out);
}

fn resonance(made: &Made, out: &mut Out) {
    text(out, "ImageType", "ORIGINAL\\PRIMARY\\OTHER");
    text(out, "ScanningSequence", "RM");
    text(out, "SequenceVariant", "NONE");
    text(out, "ScanOptions", "");
    text(out, "MRAcquisitionType", "2D");
    text(out, "RepetitionTime", "");
    text(out, "EchoTime", "");
    text(out, "EchoTrainLength", "");
    text(out, "WindowCenter", "2048");
    text(out, "WindowWidth", "4096");
    plane(made, out);
}

/// Axial, five millimetres apart.
fn plane(made: &Made, out: &mut Out) {
    text(out, "PatientPosition", "HFS");
    text(out, "PixelSpacing", "1\\1");
    text(out, "SliceThickness", "5");
    text(out, "ImageOrientationPatient", "1\\0\\0\\0\\1\\0");
    text(out, "ImagePositionPatient", &format!("0\\0\\{}", made.number * 5));
}

fn pixels(examination: &Examination, label: &str, turned: bool, out: &mut Out) {
    let (side, bits) = (examination.side, examination.kind.bits());
    let white = (1 << bits) - 1;
    let mut points = drawing::ramp(side, white, label);
    if turned {
        points.reverse();
    }
    let wide = 8 < bits;
    for (keyword, number) in [
        ("SamplesPerPixel", 1),
        ("Rows", side),
        ("Columns", side),
        ("BitsAllocated", if wide { 16 } else { 8 }),
        ("BitsStored", bits),
        ("HighBit", bits - 1),
        ("PixelRepresentation", 0),
    ] {
        out.put(keyword, Said::Number(number));
    }
    text(out, "PhotometricInterpretation", "MONOCHROME2");
    // Whose it is is drawn on it.
    text(out, "BurnedInAnnotation", "YES");
    text(out, "LossyImageCompression", "00");
    let bytes = match wide {
        true => points.iter().flat_map(|point| point.to_le_bytes()).collect(),
        false => points
            .iter()
            .map(|point| u8::try_from(*point).unwrap_or(u8::MAX))
            .collect(),
    };
    out.put("PixelData", Said::Bytes(bytes));
}
