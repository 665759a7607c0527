"""A workstation by pynetdicom: fills an archive, asks it, and takes images out of it by C-MOVE and C-GET.

    workstation.py HOST PORT CALLED WORKSTATION_PORT

Calls itself WS1, listens as WORKSTATION, DEAF (takes no CT) and FUSSY (has no room for one image) on the port and the two
after it. Ends with 1 and says what is wrong where something is not as the standard has it. The persons in here are made up.
"""

import os
import sys

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind as PatientFind,
    PatientRootQueryRetrieveInformationModelGet as PatientGet,
    PatientRootQueryRetrieveInformationModelMove as PatientMove,
    StudyRootQueryRetrieveInformationModelFind as StudyFind,
    StudyRootQueryRetrieveInformationModelGet as StudyGet,
    StudyRootQueryRetrieveInformationModelMove as StudyMove,
)

HOST, PORT, CALLED, LISTEN = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
STUDY, CT, SC = generate_uid(), generate_uid(), generate_uid()
PIXELS = 96 * 1024


def image(number, kind=CTImageStorage, syntax=ExplicitVRLittleEndian, study=STUDY, series=CT, **more):
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = syntax
    one.SOPClassUID, one.SOPInstanceUID = kind, generate_uid()
    one.SpecificCharacterSet = "ISO_IR 192"
    one.StudyInstanceUID, one.SeriesInstanceUID = study, series
    one.PatientName, one.PatientID, one.AccessionNumber = "Țîră^Ana", "P-7", "A-77"
    one.StudyDate, one.StudyTime, one.StudyDescription = "20260505", "101500", "Torace și abdomen"
    one.Modality = "CT" if kind == CTImageStorage else "OT"
    one.SeriesNumber, one.InstanceNumber = (1 if series == CT else 2), number
    one.SamplesPerPixel, one.PhotometricInterpretation, one.PixelRepresentation = 1, "MONOCHROME2", 0
    if syntax == JPEGBaseline8Bit:
        one.Rows, one.Columns, one.BitsAllocated = 8, 8, 8
        one.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
        one["PixelData"].is_undefined_length = True
    else:
        one.Rows, one.Columns, one.BitsAllocated = 256, PIXELS // 512, 16
        one.PixelData = os.urandom(PIXELS)
    one.BitsStored, one.HighBit = one.BitsAllocated, one.BitsAllocated - 1
    for name, value in more.items():
        setattr(one, name, value)
    return one


def entity(title="WS1"):
    ae = AE(ae_title=title)
    ae.dimse_timeout = ae.acse_timeout = ae.network_timeout = 30
    return ae


def associate(*contexts, roles=(), handlers=(), title="WS1"):
    ae = entity(title)
    for context in contexts:
        ae.add_requested_context(*context) if isinstance(context, tuple) else ae.add_requested_context(context)
    return ae.associate(HOST, PORT, ae_title=CALLED, ext_neg=list(roles), evt_handlers=list(handlers))


def keys(level, **named):
    asked = Dataset()
    asked.SpecificCharacterSet = "ISO_IR 192"
    asked.QueryRetrieveLevel = level
    for name, value in named.items():
        setattr(asked, name, value)
    return asked


def find(association, model, asked):
    found, statuses = [], []
    for status, identifier in association.send_c_find(asked, model):
        statuses.append(status.Status if status else None)
        if identifier is not None:
            found.append(identifier)
    return found, statuses


def equal(what, got, expected):
    if got != expected:
        print(f"{what}: {got!r} where {expected!r} is right")
        sys.exit(1)


IMAGES = [image(1), image(2), image(3, syntax=ImplicitVRLittleEndian)]
IMAGES.append(image(1, SecondaryCaptureImageStorage, JPEGBaseline8Bit, series=SC))
OTHER = [
    image(n, study="2.25.77", series="2.25.78", AccessionNumber="A-78", StudyDate="20260601", PatientID="P-8",
          PatientName="Pop^Ion")
    for n in range(1, 31)
]


def fill():
    association = associate(
        (CTImageStorage, ExplicitVRLittleEndian),
        (CTImageStorage, ImplicitVRLittleEndian),
        (SecondaryCaptureImageStorage, JPEGBaseline8Bit),
    )
    for one in IMAGES + OTHER:
        equal("stored", association.send_c_store(one).Status, 0x0000)
    association.release()


def queries():
    association = associate(PatientFind, StudyFind)
    asks = lambda model, level, **named: find(association, model, keys(level, **named))
    found, statuses = asks(PatientFind, "PATIENT", PatientName="tira*", PatientID="", PatientBirthDate="")
    equal("patients", [(str(one.PatientName), one.PatientID) for one in found], [("Țîră^Ana", "P-7")])
    equal("statuses", statuses, [0xFF00, 0x0000])
    equal("level", (found[0].QueryRetrieveLevel, found[0].RetrieveAETitle), ("PATIENT", CALLED))
    found, _ = asks(PatientFind, "PATIENT", PatientID="", PatientName="")
    equal("all patients", sorted(one.PatientID for one in found), ["P-7", "P-8"])
    wanted = dict(PatientName="", StudyInstanceUID="", StudyDescription="", NumberOfStudyRelatedInstances="",
                  ModalitiesInStudy="", StudyDate="20260501-20260531")
    found, statuses = asks(StudyFind, "STUDY", **wanted)
    equal("studies", [(one.StudyInstanceUID, one.NumberOfStudyRelatedInstances) for one in found], [(STUDY, 4)])
    equal("modalities", sorted(found[0].ModalitiesInStudy), ["CT", "OT"])
    equal("description", found[0].StudyDescription, "Torace și abdomen")
    for named, count in [
        (dict(AccessionNumber="A-77"), 1), (dict(AccessionNumber="A-7*"), 2), (dict(PatientID="P-8"), 1),
        (dict(PatientID="P-9"), 0), (dict(ModalitiesInStudy="MR"), 0), (dict(ModalitiesInStudy="OT"), 1),
        (dict(StudyInstanceUID=[STUDY, "2.25.77"]), 2), (dict(StudyTime="1000-1030"), 2), (dict(StudyTime="11-12"), 0),
        (dict(PatientName="Pop^Ion"), 1), (dict(PatientName="Pop^Ana"), 0),
    ]:
        found, _ = asks(StudyFind, "STUDY", **{"PatientName": "", **named})
        equal(str(named), len(found), count)
    found, statuses = asks(StudyFind, "STUDY", StudyInstanceUID="", NumberOfPatientRelatedStudies="")
    equal("a key that has no place", statuses, [0xFF01, 0xFF01, 0x0000])
    found, _ = asks(PatientFind, "SERIES", PatientID="P-7", StudyInstanceUID=STUDY, SeriesInstanceUID="", Modality="",
                    NumberOfSeriesRelatedInstances="")
    equal("series", sorted((one.Modality, one.NumberOfSeriesRelatedInstances) for one in found), [("CT", 3), ("OT", 1)])
    found, _ = asks(StudyFind, "SERIES", StudyInstanceUID=STUDY, SeriesInstanceUID="", Modality="OT")
    equal("series of a modality", [one.SeriesInstanceUID for one in found], [SC])
    found, _ = asks(StudyFind, "IMAGE", StudyInstanceUID=STUDY, SeriesInstanceUID=CT, SOPInstanceUID="", InstanceNumber="")
    equal("images", [one.SOPInstanceUID for one in found], [one.SOPInstanceUID for one in IMAGES[:3]])
    # What is not said of the levels above.
    for model, level, named in [
        (StudyFind, "PATIENT", dict(PatientID="P-7")),
        (StudyFind, "SERIES", dict(SeriesInstanceUID="")),
        (StudyFind, "SERIES", dict(StudyInstanceUID=[STUDY, "2.25.77"])),
        (StudyFind, "IMAGE", dict(StudyInstanceUID=STUDY, SOPInstanceUID="")),
        (StudyFind, "IMAGE", dict(StudyInstanceUID="*", SeriesInstanceUID=CT)),
        (PatientFind, "STUDY", dict(StudyInstanceUID="")),
        (StudyFind, "FRAME", dict(StudyInstanceUID=STUDY)),
    ]:
        equal(f"{level} {named}", asks(model, level, **named), ([], [0xA900]))
    bare = Dataset()
    bare.PatientID = "P-7"
    equal("no level", find(association, StudyFind, bare), ([], [0xA900]))
    # A question that is cancelled ends with FE00, or was over already.
    asked = keys("IMAGE", StudyInstanceUID="2.25.77", SeriesInstanceUID="2.25.78", SOPInstanceUID="")
    statuses = []
    for status, _ in association.send_c_find(asked, StudyFind, msg_id=9):
        statuses.append(status.Status)
        if len(statuses) == 1:
            association.send_c_cancel(9, query_model=StudyFind)
    if statuses[-1] not in (0xFE00, 0x0000) or set(statuses[:-1]) != {0xFF00}:
        equal("cancelled", statuses, "FF00 … FE00")
    association.release()


def listen(title, port, contexts, status=lambda _: 0x0000):
    took = []

    def store(event):
        took.append(event)
        return status(event)

    ae = entity(title)
    for kind, syntaxes in contexts:
        ae.add_supported_context(kind, syntaxes)
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    return server, took


UNCOMPRESSED = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]


def move(association, to, asked, model=StudyMove, cancel_at=None, msg_id=5):
    answers = []
    for status, identifier in association.send_c_move(asked, to, model, msg_id=msg_id):
        answers.append((status, identifier))
        if cancel_at == len(answers):
            association.send_c_cancel(msg_id, query_model=model)
    return answers


def counts(status):
    names = ("Remaining", "Completed", "Failed", "Warning")
    return tuple(status.get(f"NumberOf{name}Suboperations") for name in names)


def moves():
    refused = IMAGES[1].SOPInstanceUID
    everything = [(CTImageStorage, UNCOMPRESSED), (SecondaryCaptureImageStorage, [*UNCOMPRESSED, JPEGBaseline8Bit])]
    whole, took = listen("WORKSTATION", LISTEN, everything)
    deaf, _ = listen("DEAF", LISTEN + 1, [(SecondaryCaptureImageStorage, UNCOMPRESSED)])
    full = lambda event: 0xA700 if event.request.AffectedSOPInstanceUID == refused else 0x0000
    fussy, _ = listen("FUSSY", LISTEN + 2, [(CTImageStorage, UNCOMPRESSED)], full)
    association = associate(StudyMove, PatientMove)
    answers = move(association, "WORKSTATION", keys("STUDY", StudyInstanceUID=STUDY))
    equal("moved", [status.Status for status, _ in answers], [0xFF00] * 3 + [0x0000])
    equal("counts", [counts(status) for status, _ in answers], [(3, 1, 0, 0), (2, 2, 0, 0), (1, 3, 0, 0), (None, 4, 0, 0)])
    by_uid = {event.request.AffectedSOPInstanceUID: event for event in took}
    for one in IMAGES:
        event = by_uid[one.SOPInstanceUID]
        equal("pixels", event.dataset.PixelData, one.PixelData)
        equal("syntax", event.context.transfer_syntax, one.file_meta.TransferSyntaxUID)
        equal("originator", event.request.MoveOriginatorApplicationEntityTitle, "WS1")
        equal("its message", event.request.MoveOriginatorMessageID, 5)
    # Level by level, and by lists.
    for model, asked, count in [
        (StudyMove, keys("SERIES", StudyInstanceUID=STUDY, SeriesInstanceUID=SC), 1),
        (StudyMove, keys("IMAGE", StudyInstanceUID=STUDY, SeriesInstanceUID=CT,
                         SOPInstanceUID=[IMAGES[0].SOPInstanceUID, IMAGES[2].SOPInstanceUID]), 2),
        (PatientMove, keys("PATIENT", PatientID="P-7"), 4),
        (PatientMove, keys("STUDY", PatientID="P-8", StudyInstanceUID=STUDY), 0),
        (StudyMove, keys("STUDY", StudyInstanceUID="1.2.3"), 0),
    ]:
        answers = move(association, "WORKSTATION", asked, model)
        equal(str(asked), (answers[-1][0].Status, counts(answers[-1][0])), (0x0000, (None, count, 0, 0)))
    for to, asked, status in [
        ("NOBODY", keys("STUDY", StudyInstanceUID=STUDY), 0xA801),
        ("WORKSTATION", keys("STUDY", StudyInstanceUID=""), 0xA900),
        ("WORKSTATION", keys("SERIES", SeriesInstanceUID=CT), 0xA900),
        ("OFFLINE", keys("STUDY", StudyInstanceUID=STUDY), 0xA702),
    ]:
        answers = move(association, to, asked)
        equal(f"{to} {asked}", answers[-1][0].Status, status)
    # Who takes no CT, and not the compressed one, gets nothing; who has no room for one image gets the others.
    status, identifier = move(association, "DEAF", keys("STUDY", StudyInstanceUID=STUDY))[-1]
    equal("nothing is taken", (status.Status, counts(status)), (0xA702, (None, 0, 4, 0)))
    equal("what failed", sorted(identifier.FailedSOPInstanceUIDList), sorted(one.SOPInstanceUID for one in IMAGES))
    status, identifier = move(association, "FUSSY", keys("STUDY", StudyInstanceUID=STUDY))[-1]
    equal("some are taken", (status.Status, counts(status)), (0xB000, (None, 2, 2, 0)))
    equal("what failed", sorted(identifier.FailedSOPInstanceUIDList), sorted([refused, IMAGES[3].SOPInstanceUID]))
    # Cancelled on the way: the rest is not sent.
    del took[:]
    status, _ = move(association, "WORKSTATION", keys("STUDY", StudyInstanceUID="2.25.77"), cancel_at=1)[-1]
    equal("cancelled", status.Status, 0xFE00)
    remaining, completed, failed, _ = counts(status)
    equal("what remains is said", (remaining + completed, failed, len(took)), (30, 0, completed))
    association.release()
    for server in (whole, deaf, fussy):
        server.shutdown()


def gets():
    took = []

    def store(event):
        took.append(event)
        return 0x0000

    roles = [build_role(CTImageStorage, scp_role=True), build_role(SecondaryCaptureImageStorage, scp_role=True)]
    association = associate(
        StudyGet,
        PatientGet,
        (CTImageStorage, ExplicitVRLittleEndian),
        (CTImageStorage, ImplicitVRLittleEndian),
        (SecondaryCaptureImageStorage, JPEGBaseline8Bit),
        roles=roles,
        handlers=[(evt.EVT_C_STORE, store)],
    )
    answers = list(association.send_c_get(keys("STUDY", StudyInstanceUID=STUDY), StudyGet))
    equal("got", (answers[-1][0].Status, counts(answers[-1][0])), (0x0000, (None, 4, 0, 0)))
    equal("pixels", {event.request.AffectedSOPInstanceUID: event.dataset.PixelData for event in took},
          {one.SOPInstanceUID: one.PixelData for one in IMAGES})
    association.release()
    # Only what is asked for in the role of its provider is given.
    association = associate(
        StudyGet,
        (CTImageStorage, ExplicitVRLittleEndian),
        (SecondaryCaptureImageStorage, JPEGBaseline8Bit),
        roles=roles[:1],
        handlers=[(evt.EVT_C_STORE, store)],
    )
    status, identifier = list(association.send_c_get(keys("STUDY", StudyInstanceUID=STUDY), StudyGet))[-1]
    # The implicit one is written explicit.
    equal("some", (status.Status, counts(status)), (0xB000, (None, 3, 1, 0)))
    equal("what failed", identifier.FailedSOPInstanceUIDList, IMAGES[3].SOPInstanceUID)
    # Cancelled while images come.
    del took[:]
    answers = []
    for status, _ in association.send_c_get(keys("STUDY", StudyInstanceUID="2.25.77"), StudyGet, msg_id=8):
        answers.append(status)
        if len(answers) == 1:
            association.send_c_cancel(8, query_model=StudyGet)
    if answers[-1].Status == 0xFE00:
        equal("what remains is said", counts(answers[-1])[0] + len(took), 30)
    else:
        equal("cancelled", (answers[-1].Status, len(took)), (0xFE00, "fewer than 30"))
    association.release()


def strangers():
    association = associate(StudyFind, title="STRANGER")
    equal("who is not allowed is rejected", association.is_established, False)


fill()
queries()
moves()
gets()
strangers()
