"""A modality by pynetdicom that wants its images to be kept for good: reads commands, one a line, and prints what came of
each as one line of JSON. Each command has an association of its own; reports come on another one, to a port.

    committer.py HOST PORT CALLED CALLING LISTEN

    make COUNT        makes so many images
    store [COUNT]     stores those that were not stored, or the last so many of them
    ask [WORD ...]    N-ACTION for all that were made since the last; `stranger`: also for one that never comes, `twisted`:
                      the first under another class, `empty`: for nothing; `again`: the last request as it was
    stays             stores, asks, and stores once more while the report comes, all on one association
    report SECONDS    waits for a report
    listen, deaf      takes reports from now on, or no more
    claims UID        sends a report of its own (N-EVENT-REPORT) on a transaction
    quit

Every person in here is made up.
"""

import json
import os
import queue
import sys

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel as COMMITMENT, StorageCommitmentPushModelInstance as INSTANCE

HOST, PORT, CALLED, CALLING, LISTEN = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
STUDY, SERIES = generate_uid(), generate_uid()


class Committer:
    def __init__(self):
        self.reports, self.server = queue.Queue(), None
        self.made, self.waiting, self.count, self.asked = [], [], 0, None

    def associate(self, context, **more):
        ae = AE(ae_title=CALLING)
        ae.dimse_timeout = ae.acse_timeout = ae.network_timeout = 30
        ae.add_requested_context(*context)
        association = ae.associate(HOST, PORT, ae_title=CALLED, **more)
        if not association.is_established:
            raise RuntimeError("no association")
        return association

    def make(self, count):
        for _ in range(int(count)):
            self.count += 1
            image = Dataset()
            image.file_meta = FileMetaDataset()
            image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, generate_uid()
            image.StudyInstanceUID, image.SeriesInstanceUID = STUDY, SERIES
            image.PatientName, image.PatientID, image.StudyDate = "Pop^Ion", "P-8", "20260505"
            image.Modality, image.SeriesNumber, image.InstanceNumber = "CT", 1, self.count
            # Every second one is long enough to lie in a file of its own.
            image.Rows, image.Columns = 128, 128 if self.count % 2 else 2048
            image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
            image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
            image.PixelData = os.urandom(image.Rows * image.Columns * 2)
            self.made.append(image)
            self.waiting.append(image)
        return {}

    def store(self, count=None):
        association = self.associate((CTImageStorage, ExplicitVRLittleEndian))
        now = self.waiting[-int(count) :] if count else self.waiting[:]
        statuses = [association.send_c_store(image).Status for image in now]
        del self.waiting[len(self.waiting) - len(now) :]
        association.release()
        return {"statuses": statuses}

    def ask(self, *words):
        def reference(kind, uid):
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = kind, uid
            return item

        items = [reference(image.SOPClassUID, image.SOPInstanceUID) for image in self.made]
        if "twisted" in words:
            items[0].ReferencedSOPClassUID = MRImageStorage
        if "stranger" in words:
            items.append(reference(CTImageStorage, generate_uid()))
        asked = Dataset()
        asked.TransactionUID = generate_uid()
        asked.ReferencedSOPSequence = Sequence([] if "empty" in words else items)
        asked = self.asked = self.asked if "again" in words else asked
        association = self.associate((COMMITMENT,))
        status, _ = association.send_n_action(asked, 1, COMMITMENT, INSTANCE)
        association.release()
        self.made = []
        return {"status": status.get("Status"), "transaction": str(asked.TransactionUID)}

    def stays(self):
        ae = AE(ae_title=CALLING)
        ae.dimse_timeout = ae.acse_timeout = ae.network_timeout = 30
        ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        ae.add_requested_context(COMMITMENT)

        def reported(event):
            self.reports.put((event.event_type, event.event_information, CALLED))
            return 0x0000, None

        association = ae.associate(
            HOST,
            PORT,
            ae_title=CALLED,
            ext_neg=[build_role(COMMITMENT, scu_role=True, scp_role=False)],
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, reported)],
        )
        statuses = [association.send_c_store(image).Status for image in self.waiting]
        asked = Dataset()
        asked.TransactionUID = generate_uid()
        asked.ReferencedSOPSequence = Sequence()
        for image in self.made:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
            asked.ReferencedSOPSequence.append(item)
        status, _ = association.send_n_action(asked, 1, COMMITMENT, INSTANCE)
        told = self.report(20)
        self.make(1)
        again = association.send_c_store(self.made[-1]).Status
        association.release()
        return {**told, "statuses": statuses[:2] + [status.get("Status"), again]}

    def listen(self):
        ae = AE(ae_title=CALLING)
        ae.add_supported_context(COMMITMENT, scu_role=True, scp_role=True)

        def reported(event):
            self.reports.put((event.event_type, event.event_information, event.assoc.requestor.ae_title))
            return 0x0000, None

        handlers = [(evt.EVT_N_EVENT_REPORT, reported)]
        self.server = ae.start_server(("127.0.0.1", LISTEN), block=False, evt_handlers=handlers)
        return {}

    def deaf(self):
        if self.server:
            self.server.shutdown()
        self.server = None
        return {}

    def report(self, seconds):
        try:
            kind, report, by = self.reports.get(timeout=float(seconds))
        except queue.Empty:
            return {"none": True}
        return {
            "event": kind,
            "by": by,
            "transaction": str(report.TransactionUID),
            "committed": len(report.get("ReferencedSOPSequence", [])),
            "failed": sorted(item.FailureReason for item in report.get("FailedSOPSequence", [])),
        }

    def claims(self, transaction):
        said = Dataset()
        said.TransactionUID = transaction
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, generate_uid()
        said.ReferencedSOPSequence = Sequence([item])
        role = build_role(COMMITMENT, scu_role=False, scp_role=True)
        association = self.associate((COMMITMENT,), ext_neg=[role])
        status, _ = association.send_n_event_report(said, 1, COMMITMENT, INSTANCE)
        association.release()
        return {"status": status.get("Status")}


def main():
    committer = Committer()
    print(json.dumps({"established": True}), flush=True)
    for line in sys.stdin:
        word, *arguments = line.split()
        if word == "quit":
            break
        try:
            told = getattr(committer, word)(*arguments)
        except Exception as error:  # the test reads it
            told = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(told), flush=True)
    committer.deaf()


main()
