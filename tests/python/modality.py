"""A CT by pynetdicom: reads commands, one a line, and prints what came of each as one line of JSON.

    modality.py HOST PORT CALLED CALLING

    worklist KEY=VALUE ...   what is booked (keys: PatientName, PatientID, AccessionNumber, Modality, Date, Charset)
    unplanned                what follows is of no plan: of a patient and a study that are made up
    begin [N[,M...]]         MPPS N-CREATE for the Nth step of the last worklist (from 0), or for several, IN PROGRESS
    mistake N M              the Nth step of the last worklist is taken for one of the patient of the Mth
    again [DESCRIPTION]      the same N-CREATE once more, or one of the same UID that says something else
    together COUNT N [alike] the N-CREATE for the Nth step so often at the same moment, by as many associations, each in words of its
                             own or all alike
    images COUNT [SIDE]      stores so many images of the step, SIDE x SIDE pixels of 16 bits
    numbered N [SIDE]        stores the image of this number, the same one each time
    twist                    stores the last image once more with other pixels under the same UID
    stranger                 stores an image of the step that names another patient
    end STATUS [REASON]      MPPS N-SET: COMPLETED, DISCONTINUED; the reason is a code of CID 9300
    commit                   storage commitment of all that was stored, reported on the same association
    quit

Every person in here is made up by the orders that the test sends.
"""

import copy
import datetime
import json
import os
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    ModalityPerformedProcedureStep,
    ModalityWorklistInformationFind,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    Verification,
)

HOST, PORT, CALLED, CALLING = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]


class Modality:
    def __init__(self):
        self.reports = queue.Queue()
        self.steps = []
        self.step = None
        self.mpps = None
        self.ended = None
        self.created = None
        self.series = generate_uid()
        self.stored = []
        self.last = None
        self.numbers = {}
        ae = AE(ae_title=CALLING)
        ae.dimse_timeout = ae.acse_timeout = ae.network_timeout = 30
        ae.add_requested_context(Verification)
        ae.add_requested_context(ModalityWorklistInformationFind)
        ae.add_requested_context(ModalityPerformedProcedureStep)
        ae.add_requested_context(CTImageStorage, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        ae.add_requested_context(StorageCommitmentPushModel)
        self.association = ae.associate(
            HOST,
            PORT,
            ae_title=CALLED,
            ext_neg=[build_role(StorageCommitmentPushModel, scu_role=True, scp_role=False)],
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self.reported)],
        )

    def reported(self, event):
        self.reports.put((event.event_type, event.event_information))
        return 0x0000, None

    def worklist(self, *keys):
        keys = dict(key.split("=", 1) for key in keys)
        asked = Dataset()
        if "Charset" in keys:
            asked.SpecificCharacterSet = keys["Charset"]
        for name in ("PatientName", "PatientID", "AccessionNumber"):
            setattr(asked, name, keys.get(name, ""))
        for name in ("PatientBirthDate", "PatientSex", "StudyInstanceUID", "RequestedProcedureID",
                     "RequestedProcedureDescription", "ReferringPhysicianName", "RequestingPhysician", "AdmissionID"):
            setattr(asked, name, "")
        step = Dataset()
        step.Modality = keys.get("Modality", "")
        step.ScheduledStationAETitle = keys.get("Station", "")
        step.ScheduledProcedureStepStartDate = keys.get("Date", "")
        for name in ("ScheduledProcedureStepStartTime", "ScheduledProcedureStepID",
                     "ScheduledProcedureStepDescription", "ScheduledPerformingPhysicianName", "ScheduledStationName"):
            setattr(step, name, "")
        step.ScheduledProtocolCodeSequence = Sequence()
        asked.ScheduledProcedureStepSequence = Sequence([step])
        self.steps, status = [], None
        for answer, identifier in self.association.send_c_find(asked, ModalityWorklistInformationFind):
            status = answer.Status if answer else None
            if identifier is not None:
                self.steps.append(identifier)
        return {"status": status, "steps": [self.told(found) for found in self.steps]}

    def told(self, found):
        step = found.ScheduledProcedureStepSequence[0]
        return {
            "charset": found.get("SpecificCharacterSet"),
            "name": str(found.PatientName),
            "id": found.PatientID,
            "accession": found.AccessionNumber,
            "study": str(found.StudyInstanceUID),
            "procedure": found.RequestedProcedureID,
            "step": step.ScheduledProcedureStepID,
            "modality": step.Modality,
            "station": str(step.ScheduledStationAETitle),
            "date": step.ScheduledProcedureStepStartDate,
            "time": step.ScheduledProcedureStepStartTime,
        }

    def unplanned(self):
        self.step = Dataset()
        self.step.PatientName, self.step.PatientID, self.step.AccessionNumber = "Nimeni^Niciun", "N-1", "ACC-N1"
        self.step.StudyInstanceUID = generate_uid()
        return {"study": str(self.step.StudyInstanceUID)}

    def now(self):
        now = datetime.datetime.now()
        return now.strftime("%Y%m%d"), now.strftime("%H%M%S")

    def begin(self, number="0"):
        self.prepare(number)
        return self.again()

    def prepare(self, number):
        chosen = [self.steps[int(one)] for one in number.split(",")]
        self.step = chosen[0]
        self.mpps = generate_uid()
        self.series = generate_uid()
        date, time = self.now()
        made = Dataset()
        if "SpecificCharacterSet" in self.step:
            made.SpecificCharacterSet = self.step.SpecificCharacterSet
        made.ScheduledStepAttributesSequence = Sequence(self.booked(step) for step in chosen)
        for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
            setattr(made, name, self.step.get(name, ""))
        made.ReferencedPatientSequence = Sequence()
        made.PerformedProcedureStepID = "P1"
        made.PerformedStationAETitle = CALLING
        made.PerformedStationName = ""
        made.PerformedLocation = ""
        made.PerformedProcedureStepStartDate, made.PerformedProcedureStepStartTime = date, time
        made.PerformedProcedureStepStatus = "IN PROGRESS"
        made.PerformedProcedureStepDescription = ""
        made.PerformedProcedureTypeDescription = ""
        made.ProcedureCodeSequence = Sequence()
        made.PerformedProcedureStepEndDate = made.PerformedProcedureStepEndTime = ""
        made.Modality = "CT"
        made.StudyID = self.step.get("RequestedProcedureID", "")
        made.PerformedProtocolCodeSequence = Sequence()
        made.PerformedSeriesSequence = Sequence()
        self.created = made

    def together(self, count, number, alike=None):
        self.prepare(number)
        everybody = threading.Barrier(int(count))

        def one(nr):
            ae = AE(ae_title=CALLING)
            ae.add_requested_context(ModalityPerformedProcedureStep)
            association = ae.associate(HOST, PORT, ae_title=CALLED)
            said = copy.deepcopy(self.created)
            if alike is None:
                said.PerformedProcedureStepDescription = f"device {nr}"
            everybody.wait(timeout=20)
            status, _ = association.send_n_create(said, ModalityPerformedProcedureStep, self.mpps)
            association.release()
            return status.get("Status")

        with ThreadPoolExecutor(int(count)) as pool:
            return {"statuses": sorted(pool.map(one, range(int(count))))}

    def mistake(self, number, other):
        step, other = self.steps[int(number)], self.steps[int(other)]
        step.PatientID, step.PatientName = other.PatientID, other.PatientName
        return {"id": step.PatientID}

    def booked(self, step):
        booked = Dataset()
        for name in ("StudyInstanceUID", "AccessionNumber", "RequestedProcedureID", "RequestedProcedureDescription"):
            setattr(booked, name, step.get(name, ""))
        scheduled = step.ScheduledProcedureStepSequence[0]
        booked.ScheduledProcedureStepID = scheduled.ScheduledProcedureStepID
        booked.ScheduledProcedureStepDescription = scheduled.get("ScheduledProcedureStepDescription", "")
        booked.ScheduledProtocolCodeSequence = Sequence()
        booked.ReferencedStudySequence = Sequence()
        return booked

    def again(self, description=None):
        said = copy.deepcopy(self.created)
        if description is not None:
            said.PerformedProcedureStepDescription = description
        status, _ = self.association.send_n_create(said, ModalityPerformedProcedureStep, self.mpps)
        return {"status": status.get("Status")}

    def image(self, number, side):
        step = self.step
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID = CTImageStorage
        image.SOPInstanceUID = generate_uid()
        if "SpecificCharacterSet" in step:
            image.SpecificCharacterSet = step.SpecificCharacterSet
        image.StudyInstanceUID, image.SeriesInstanceUID = step.StudyInstanceUID, self.series
        for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber"):
            setattr(image, name, step.get(name, ""))
        image.StudyDate, image.StudyTime = self.now()
        image.StudyID = step.get("RequestedProcedureID", "")
        image.Modality, image.SeriesNumber, image.InstanceNumber = "CT", 1, number
        image.SeriesDescription, image.BodyPartExamined = "Axial", "CHEST"
        image.Rows = image.Columns = side
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
        image.PixelData = os.urandom(side * side * 2)
        return image

    def images(self, count, side="64"):
        statuses = []
        for number in range(int(count)):
            image = self.image(number + 1, int(side))
            statuses.append(self.store(image))
            self.stored.append(image)
            self.last = image
        return {"statuses": statuses, "instances": [str(image.SOPInstanceUID) for image in self.stored],
                "series": str(self.series)}

    def store(self, image):
        return self.association.send_c_store(image).get("Status")

    def numbered(self, number, side="64"):
        if number not in self.numbers:
            self.numbers[number] = self.image(int(number), int(side))
        image = self.numbers[number]
        return {"status": self.store(image), "instance": str(image.SOPInstanceUID)}

    def twist(self):
        self.last.PixelData = os.urandom(len(self.last.PixelData))
        return {"status": self.store(self.last)}

    def stranger(self):
        image = self.image(99, 32)
        image.PatientID, image.PatientName = "ALTCINEVA-1", "Strain^Cineva"
        return {"status": self.store(image), "instance": str(image.SOPInstanceUID)}

    def end(self, status, reason=None):
        # The same end said again is the same to the second.
        if self.ended is None or self.ended[0] != self.mpps:
            self.ended = (self.mpps, *self.now())
        _, date, time = self.ended
        said = Dataset()
        said.PerformedProcedureStepStatus = status
        said.PerformedProcedureStepEndDate, said.PerformedProcedureStepEndTime = date, time
        if reason is not None:
            code = Dataset()
            code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = reason, "DCM", "Reason"
            said.PerformedProcedureStepDiscontinuationReasonCodeSequence = Sequence([code])
        series = Dataset()
        series.SeriesInstanceUID = self.series
        series.PerformingPhysicianName = series.OperatorsName = series.SeriesDescription = ""
        series.ProtocolName, series.RetrieveAETitle = "CT chest", ""
        series.ReferencedNonImageCompositeSOPInstanceSequence = Sequence()
        series.ReferencedImageSequence = Sequence(self.reference(image) for image in self.stored)
        said.PerformedSeriesSequence = Sequence([series])
        answer, _ = self.association.send_n_set(said, ModalityPerformedProcedureStep, self.mpps)
        return {"status": answer.get("Status"), "error": answer.get("ErrorID")}

    def reference(self, image):
        reference = Dataset()
        reference.ReferencedSOPClassUID = image.SOPClassUID
        reference.ReferencedSOPInstanceUID = image.SOPInstanceUID
        return reference

    def commit(self):
        asked = Dataset()
        asked.TransactionUID = generate_uid()
        asked.ReferencedSOPSequence = Sequence(self.reference(image) for image in self.stored)
        status, _ = self.association.send_n_action(
            asked, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        kind, report = self.reports.get(timeout=30)
        return {
            "status": status.get("Status"),
            "event": kind,
            "same": report.TransactionUID == asked.TransactionUID,
            "committed": len(report.get("ReferencedSOPSequence", [])),
            "failed": len(report.get("FailedSOPSequence", [])),
        }


def main():
    modality = Modality()
    print(json.dumps({"established": modality.association.is_established}), flush=True)
    for line in sys.stdin:
        word, *arguments = line.split()
        if word == "quit":
            break
        try:
            told = getattr(modality, word)(*arguments)
        except Exception as error:  # the test reads it
            told = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(told), flush=True)
    modality.association.release()


main()
