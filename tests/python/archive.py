"""An archive by pynetdicom that takes everything but the objects of one study, until a file is gone.

    archive.py PORT STUDY FILE [INSTANCE [LATER]]

Prints the study and the instance of each object that it takes, one a line, and "no STUDY" for each that it does not.
It breaks off at the instance, and has never room for that which is LATER ("later").
"""

import os
import sys

from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification

PORT, STUDY, FILE = int(sys.argv[1]), sys.argv[2], sys.argv[3]
BREAKS = sys.argv[4] if len(sys.argv) > 4 else None
LATER = sys.argv[5] if len(sys.argv) > 5 else None


def stored(event):
    made = event.dataset
    if made.SOPInstanceUID == BREAKS:
        print("breaks", flush=True)
        event.assoc.abort()
        return 0xC000
    if made.SOPInstanceUID == LATER:
        print("later", flush=True)
        return 0xA700
    if made.StudyInstanceUID == STUDY and os.path.exists(FILE):
        print("no", made.StudyInstanceUID, flush=True)
        return 0xA700
    print(made.StudyInstanceUID, made.SOPInstanceUID, flush=True)
    return 0x0000


archive = AE(ae_title="PACS")
archive.add_supported_context(Verification)
archive.add_supported_context(CTImageStorage)
archive.start_server(("127.0.0.1", PORT), evt_handlers=[(evt.EVT_C_STORE, stored)])
