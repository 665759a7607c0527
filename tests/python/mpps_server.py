"""A RIS by pynetdicom: takes performed procedure steps as strictly as the standard says, and reports of storage commitment.

    mpps_server.py PORT

Prints what comes, one line of JSON each: {"ready": true} first, then {"create": …}, {"set": …}, {"report": …}.
"""

import json
import sys
import threading

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import ModalityPerformedProcedureStep, StorageCommitmentPushModel, Verification

# PS3.4 table F.7.2-1: of type 1 and 2 when it is created, in the step and in the items that say what was planned.
VALUES = ["ScheduledStepAttributesSequence", "PerformedProcedureStepID", "PerformedStationAETitle",
          "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime", "PerformedProcedureStepStatus", "Modality"]
PRESENT = ["PatientName", "PatientID", "PatientBirthDate", "PatientSex", "ReferencedPatientSequence",
           "PerformedStationName", "PerformedLocation", "PerformedProcedureStepDescription",
           "PerformedProcedureTypeDescription", "ProcedureCodeSequence", "PerformedProcedureStepEndDate",
           "PerformedProcedureStepEndTime", "StudyID", "PerformedProtocolCodeSequence", "PerformedSeriesSequence"]
PLANNED_VALUES = ["StudyInstanceUID"]
PLANNED_PRESENT = ["ReferencedStudySequence", "AccessionNumber", "RequestedProcedureID", "RequestedProcedureDescription",
                   "ScheduledProcedureStepID", "ScheduledProcedureStepDescription", "ScheduledProtocolCodeSequence"]
SERIES_VALUES = ["ProtocolName", "SeriesInstanceUID"]
SERIES_PRESENT = ["PerformingPhysicianName", "OperatorsName", "SeriesDescription", "RetrieveAETitle",
                  "ReferencedImageSequence", "ReferencedNonImageCompositeSOPInstanceSequence"]

steps = {}
lock = threading.Lock()


def tell(what, said):
    with lock:
        print(json.dumps({what: said}), flush=True)


def lacks(data, values, present):
    for name in values:
        if name not in data:
            return 0x0120, name
        if data[name].is_empty:
            return 0x0121, name
    for name in present:
        if name not in data:
            return 0x0120, name
    return None


def created(event):
    data, uid = event.attribute_list, event.request.AffectedSOPInstanceUID
    planned = data.get("ScheduledStepAttributesSequence") or [Dataset()]
    fault = lacks(data, VALUES, PRESENT) or lacks(planned[0], PLANNED_VALUES, PLANNED_PRESENT)
    if fault is None and data.PerformedProcedureStepStatus != "IN PROGRESS":
        fault = 0x0106, "PerformedProcedureStepStatus"
    if fault is None and uid in steps:
        fault = 0x0111, "uid"
    tell("create", {
        "uid": uid, "fault": fault and fault[1], "name": str(data.get("PatientName", "")), "id": data.get("PatientID"),
        "accession": planned[0].get("AccessionNumber"), "study": planned[0].get("StudyInstanceUID"),
        "step": planned[0].get("ScheduledProcedureStepID"), "station": data.get("PerformedStationAETitle"),
        "protocol": [code.CodeValue for code in planned[0].get("ScheduledProtocolCodeSequence", [])],
    })
    if fault is not None:
        return fault[0], None
    steps[uid] = "IN PROGRESS"
    return 0x0000, data


def changed(event):
    data, uid = event.modification_list, event.request.RequestedSOPInstanceUID
    series = data.get("PerformedSeriesSequence") or [Dataset()]
    fault = lacks(data, ["PerformedProcedureStepStatus", "PerformedProcedureStepEndDate",
                         "PerformedProcedureStepEndTime"], [])
    fault = fault or lacks(series[0], SERIES_VALUES, SERIES_PRESENT)
    if steps.get(uid) is None:
        fault = 0x0112, "uid"
    elif steps[uid] != "IN PROGRESS":
        fault = 0x0110, "state"
    reason = data.get("PerformedProcedureStepDiscontinuationReasonCodeSequence") or [Dataset()]
    tell("set", {
        "uid": uid, "fault": fault and fault[1], "status": data.get("PerformedProcedureStepStatus"),
        "reason": reason[0].get("CodeValue"), "series": series[0].get("SeriesInstanceUID"),
        "images": [item.ReferencedSOPInstanceUID for item in series[0].get("ReferencedImageSequence", [])],
    })
    if fault is not None:
        return fault[0], None
    steps[uid] = data.PerformedProcedureStepStatus
    return 0x0000, data


def reported(event):
    data = event.event_information
    tell("report", {
        "event": event.event_type, "calling": event.assoc.requestor.ae_title,
        "kept": [item.ReferencedSOPInstanceUID for item in data.get("ReferencedSOPSequence", [])],
        "failed": [item.FailureReason for item in data.get("FailedSOPSequence", [])],
    })
    return 0x0000, None


def main():
    ae = AE(ae_title="RIS")
    ae.add_supported_context(Verification)
    ae.add_supported_context(ModalityPerformedProcedureStep)
    # Who brings a report is its provider (PS3.4 J.3.3).
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    handlers = [(evt.EVT_N_CREATE, created), (evt.EVT_N_SET, changed), (evt.EVT_N_EVENT_REPORT, reported)]
    server = ae.start_server(("127.0.0.1", int(sys.argv[1])), block=False, evt_handlers=handlers)
    tell("ready", True)
    sys.stdin.read()
    server.shutdown()


main()
