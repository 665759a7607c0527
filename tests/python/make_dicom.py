"""Makes the samples in samples/dicom: small invented objects and messages, the same bytes each time.

    python tests/python/make_dicom.py samples/dicom

Nobody in them exists, and the pixels are a slope of grey."""

import sys
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import dcmwrite, write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

IMPLEMENTATION = "2.25.270110421735561437259913574466317154481"
COMMAND = "2.25.141285237120467938461276031942765104873"
STUDY = "2.25.7000"
CT = "1.2.840.10008.5.1.4.1.1.2"
MPPS = "1.2.840.10008.3.1.2.3.3"


def uid(number):
    return f"2.25.{7000 + number}"


def code(value, scheme, meaning):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def sequence(*items):
    return Sequence(list(items))


def meta(syntax, sop_class, instance, command=None):
    out = FileMetaDataset()
    out.FileMetaInformationVersion = b"\x00\x01"
    out.MediaStorageSOPClassUID, out.MediaStorageSOPInstanceUID = sop_class, instance
    out.TransferSyntaxUID = syntax
    out.ImplementationClassUID = IMPLEMENTATION
    out.SourceApplicationEntityTitle = "CT1"
    out.ReceivingApplicationEntityTitle = "PUNTE"
    if command is not None:
        out.PrivateInformationCreatorUID = COMMAND
        out.PrivateInformation = command
    return out


def command(field, sop_class, instance=None, requested=False):
    out = Dataset()
    if requested:
        out.RequestedSOPClassUID = sop_class
    else:
        out.AffectedSOPClassUID = sop_class
    out.CommandField, out.MessageID, out.CommandDataSetType = field, 7, 1
    if instance and requested:
        out.RequestedSOPInstanceUID = instance
    elif instance:
        out.AffectedSOPInstanceUID = instance
    if field == 0x0020:
        out.Priority = 0
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, True
    write_dataset(buffer, out)
    return buffer.getvalue()


def write(folder, name, ds, syntax, sop_class, instance, message=None):
    file = FileDataset(None, ds, preamble=b"\0" * 128)
    file.file_meta = meta(syntax, sop_class, instance, message)
    dcmwrite(folder / f"{name}.dcm", file, enforce_file_format=True, overwrite=True)


def patient(ds, charset="ISO_IR 192", name="Țîră-Șerban^Ana^Maria"):
    ds.SpecificCharacterSet = charset
    ds.PatientName, ds.PatientID = name, "N-501"
    ds.PatientBirthDate, ds.PatientSex = "19800512", "F"


def image(sop_class, number, modality, charset="ISO_IR 192", name="Țîră-Șerban^Ana^Maria"):
    ds = Dataset()
    patient(ds, charset, name)
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, uid(number)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY, uid(100)
    ds.StudyDate, ds.StudyTime = "20261127", "083000"
    ds.SeriesDate, ds.SeriesTime = "20261127", "083512.5"
    ds.ContentDate, ds.ContentTime = "20261127", "083600"
    ds.AccessionNumber, ds.Modality, ds.StudyID = "A-9100", modality, "RP-1"
    ds.Manufacturer, ds.StationName = "Invented", "CT1"
    ds.ReferringPhysicianName = "Pop^Ion^^Dr."
    ds.StudyDescription, ds.SeriesDescription = "CT torace", "Ax 5 mm"
    ds.SeriesNumber, ds.InstanceNumber = 2, 1
    ds.BodyPartExamined = "CHEST"
    return ds


def pixels(ds, side=16):
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows = ds.Columns = side
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    values = b"".join((n % 4096).to_bytes(2, "little") for n in range(side * side))
    ds.PixelData = values
    ds["PixelData"].VR = "OW"


def ct():
    ds = image(CT, 1, "CT")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.TimezoneOffsetFromUTC = "+0200"
    ds.KVP, ds.SliceThickness = "120", "5.0"
    ds.ImagePositionPatient = ["-125.0", "-125.0", "40.5"]
    ds.AnatomicRegionSequence = sequence(code("51185008", "SCT", "Chest"))
    ds.ProcedureCodeSequence = sequence(code("CTTOR", "99CLINIC", "CT torace"))
    step = Dataset()
    step.ScheduledProcedureStepID, step.RequestedProcedureID = "S-1", "RP-1"
    step.AccessionNumber = "A-9100"
    step.ScheduledProtocolCodeSequence = sequence(code("CTTOR", "99CLINIC", "CT torace"))
    ds.RequestAttributesSequence = sequence(step)
    block = ds.private_block(0x0009, "INVENTED 1.0", create=True)
    block.add_new(0x01, "LO", "its own word")
    block.add_new(0x02, "OB", bytes(range(100)))
    icon = Dataset()
    pixels(icon, 2)
    ds.IconImageSequence = sequence(icon)
    pixels(ds)
    return ds


def encapsulated():
    sop_class = "1.2.840.10008.5.1.4.1.1.104.1"
    ds = image(sop_class, 5, "DOC")
    ds.SeriesInstanceUID = uid(105)
    ds.DocumentTitle = "Scrisoare către medicul de familie"
    ds.ConceptNameCodeSequence = sequence(code("11488-4", "LN", "Consult note"))
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.BurnedInAnnotation = "YES"
    pdf = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
    ds.EncapsulatedDocumentLength = len(pdf)
    ds.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    return sop_class, ds


def content(relation, kind, name):
    item = Dataset()
    item.RelationshipType, item.ValueType = relation, kind
    item.ConceptNameCodeSequence = sequence(name)
    return item


def number(name, value, unit, more=()):
    item = content("CONTAINS", "NUM", name)
    measured = Dataset()
    measured.NumericValue = value
    measured.MeasurementUnitsCodeSequence = sequence(unit)
    item.MeasuredValueSequence = sequence(measured)
    if more:
        item.ContentSequence = Sequence(more)
    return item


def report():
    sop_class = "1.2.840.10008.5.1.4.1.1.88.33"
    ds = image(sop_class, 6, "SR")
    ds.SeriesInstanceUID = uid(106)
    ds.ValueType = "CONTAINER"
    ds.ConceptNameCodeSequence = sequence(code("126000", "DCM", "Imaging Measurement Report"))
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "UNVERIFIED"
    site = content("HAS CONCEPT MOD", "CODE", code("363698007", "SCT", "Finding Site"))
    site.ConceptCodeSequence = sequence(code("39607008", "SCT", "Lung"))
    method = content("HAS CONCEPT MOD", "CODE", code("370129005", "SCT", "Measurement Method"))
    method.ConceptCodeSequence = sequence(code("113041", "DCM", "Caliper"))
    group = content("CONTAINS", "CONTAINER", code("125007", "DCM", "Measurement Group"))
    length = code("103339001", "SCT", "Long Axis")
    group.ContentSequence = sequence(
        site,
        number(length, "12.5", code("mm", "UCUM", "millimeter"), [method]),
        number(code("118565006", "SCT", "Volume"), "870", code("mm3", "UCUM", "cubic millimeter")),
    )
    text = content("CONTAINS", "TEXT", code("121106", "DCM", "Comment"))
    text.TextValue = "Nodul în lobul superior drept."
    holder = content("CONTAINS", "CONTAINER", code("126010", "DCM", "Imaging Measurements"))
    holder.ContentSequence = sequence(group)
    ds.ContentSequence = sequence(holder, text)
    return sop_class, ds


def begun():
    ds = Dataset()
    patient(ds)
    step = Dataset()
    step.StudyInstanceUID, step.AccessionNumber = STUDY, "A-9100"
    step.RequestedProcedureID, step.ScheduledProcedureStepID = "RP-1", "S-1"
    step.RequestedProcedureDescription = "CT torace"
    step.ScheduledProcedureStepDescription = "CT torace nativ"
    step.ReferencedStudySequence = Sequence([])
    step.ScheduledProtocolCodeSequence = sequence(code("CTTOR", "99CLINIC", "CT torace"))
    ds.ScheduledStepAttributesSequence = sequence(step)
    ds.PerformedProcedureStepID, ds.PerformedStationAETitle = "PPS-1", "CT1"
    ds.PerformedStationName, ds.PerformedLocation = "CT", "Sala 2"
    ds.PerformedProcedureStepStartDate, ds.PerformedProcedureStepStartTime = "20261127", "083100"
    ds.PerformedProcedureStepStatus = "IN PROGRESS"
    ds.PerformedProcedureStepDescription = "CT torace"
    ds.PerformedProcedureStepEndDate = ds.PerformedProcedureStepEndTime = ""
    ds.Modality, ds.StudyID = "CT", "RP-1"
    ds.PerformedProtocolCodeSequence = Sequence([])
    ds.PerformedSeriesSequence = Sequence([])
    return ds


def ended(status):
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PerformedProcedureStepStatus = status
    ds.PerformedProcedureStepEndDate, ds.PerformedProcedureStepEndTime = "20261127", "084500"
    if status == "DISCONTINUED":
        reason = code("110514", "DCM", "Incorrect worklist entry selected")
        ds.PerformedProcedureStepDiscontinuationReasonCodeSequence = sequence(reason)
    ds.CommentsOnThePerformedProcedureStep = "Pacienta a fost liniștită."
    series = Dataset()
    series.SeriesInstanceUID, series.ProtocolName = uid(100), "Torace"
    series.PerformingPhysicianName = "Ene^Mara"
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT, uid(1)
    series.ReferencedImageSequence = sequence(reference)
    ds.PerformedSeriesSequence = sequence(series)
    return ds


def question():
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    for name in ["AccessionNumber", "PatientName", "PatientID", "PatientBirthDate", "PatientSex"]:
        setattr(ds, name, "")
    for name in ["StudyInstanceUID", "RequestedProcedureID", "RequestedProcedureDescription"]:
        setattr(ds, name, "")
    step = Dataset()
    step.Modality, step.ScheduledStationAETitle = "CT", "CT1"
    step.ScheduledProcedureStepStartDate = "20261127"
    step.ScheduledProcedureStepStartTime, step.ScheduledProcedureStepID = "", ""
    ds.ScheduledProcedureStepSequence = sequence(step)
    return ds


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write(folder, "ct-explicit", ct(), ExplicitVRLittleEndian, CT, uid(1))

    us = "1.2.840.10008.5.1.4.1.1.6.1"
    ds = image(us, 2, "US", "ISO_IR 101", "Ţîră-Şerban^Ana")
    pixels(ds)
    write(folder, "us-implicit-latin2", ds, ImplicitVRLittleEndian, us, uid(2))

    dx = "1.2.840.10008.5.1.4.1.1.1.1"
    ds = image(dx, 3, "DX", "ISO_IR 100", "Müller^Ana")
    pixels(ds)
    write(folder, "dx-big-endian", ds, ExplicitVRBigEndian, dx, uid(3))

    cr = "1.2.840.10008.5.1.4.1.1.1"
    ds = image(cr, 4, "CR")
    pixels(ds)
    write(folder, "cr-deflated", ds, DeflatedExplicitVRLittleEndian, cr, uid(4))

    sop_class, ds = encapsulated()
    write(folder, "pdf", ds, ExplicitVRLittleEndian, sop_class, uid(5))
    sop_class, ds = report()
    write(folder, "sr-measurements", ds, ExplicitVRLittleEndian, sop_class, uid(6))

    sc = "1.2.840.10008.5.1.4.1.1.7"
    ds = image(sc, 7, "OT")
    pixels(ds)
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.NumberOfFrames = 2
    # No picture: only its wrapping is looked at.
    ds.PixelData = encapsulate([b"\xff\xd8\xff\xd9", b"\xff\xd8\x00\x00\xff\xd9"])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    write(folder, "sc-fragments", ds, JPEGBaseline8Bit, sc, uid(7))

    step = uid(50)
    little = ExplicitVRLittleEndian
    write(folder, "mpps-begun", begun(), little, MPPS, step, command(0x0140, MPPS, step))
    for name, status in [("mpps-completed", "COMPLETED"), ("mpps-wrong-entry", "DISCONTINUED")]:
        message = command(0x0120, MPPS, step, requested=True)
        write(folder, name, ended(status), little, MPPS, step, message)
    worklist = "1.2.840.10008.5.1.4.31"
    asked = command(0x0020, worklist)
    write(folder, "worklist-question", question(), ImplicitVRLittleEndian, worklist, uid(60), asked)


if __name__ == "__main__":
    main()
