"""What a viewer reads whole by dicomweb-client, requests and pydicom: long values, films, documents.

    dicomweb_whole.py BASE KEY

Ends with 1 and says what is wrong where something is not as it was sent. The person in here is made up.
"""

import io
import sys

import numpy
import pydicom
import requests
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    BasicTextSRStorage,
    EncapsulatedPDFStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HEVCMP51,
    ImplicitVRLittleEndian,
    MPEG2MPML,
    MPEG4HP41,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameSingleBitSecondaryCaptureImageStorage,
    RLELossless,
    VideoEndoscopicImageStorage,
    generate_uid,
)

BASE, KEY = sys.argv[1], sys.argv[2]
HEADERS = {"Authorization": f"Bearer {KEY}"}
STUDY, SERIES = generate_uid(), generate_uid()
OCTETS = "application/octet-stream"

# No film that can be played: its first bytes are what one begins with.
MPEG = b"\x00\x00\x01\xba" + bytes(range(256)) * 300
MP4 = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 300
TRANSPORT = b"\x47\x40\x00\x10" + bytes(range(256)) * 300
PDF = b"%PDF-1.4\n% made up\n%%EOF"


def check(is_so, what):
    if not is_so:
        sys.exit(f"not so: {what}")


def base(number, kind, syntax):
    one = Dataset()
    one.preamble = b"\0" * 128
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = syntax
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = kind
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = generate_uid()
    one.SpecificCharacterSet = "ISO_IR 192"
    one.StudyInstanceUID, one.SeriesInstanceUID = STUDY, SERIES
    one.PatientName, one.PatientID = "Pop^Ana", "P-7"
    one.StudyDate, one.StudyTime, one.Modality = "20260505", "101500", "OT"
    one.SeriesNumber, one.InstanceNumber = 1, number
    return one


def image(number, kind, syntax, bits, frames, side=(5, 7)):
    one = base(number, kind, syntax)
    one.Rows, one.Columns = side
    one.SamplesPerPixel, one.PhotometricInterpretation, one.PixelRepresentation = 1, "MONOCHROME2", 0
    one.BitsAllocated = one.BitsStored = bits
    one.HighBit, one.NumberOfFrames = bits - 1, frames
    return one


def frames_of(one):
    count = one.Rows * one.Columns
    kind = numpy.uint16 if one.BitsAllocated == 16 else numpy.uint8
    return [(numpy.arange(count) * (7 + number) % 251).astype(kind) for number in range(one.NumberOfFrames)]


def film(number, syntax, pieces, frames=25):
    one = image(number, VideoEndoscopicImageStorage, syntax, 8, frames, (480, 640))
    one.SamplesPerPixel, one.PhotometricInterpretation, one.PlanarConfiguration = 3, "YBR_PARTIAL_420", 0
    one.PixelData = encapsulate(pieces, has_bot=False)
    one["PixelData"].VR = "OB"
    return one


def written(one):
    out = io.BytesIO()
    is_little = one.file_meta.TransferSyntaxUID != ExplicitVRBigEndian
    is_implicit = one.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    one.save_as(out, implicit_vr=is_implicit, little_endian=is_little, enforce_file_format=True)
    return out.getvalue()


def sent(objects):
    body = b""
    for one in objects:
        body += b"\r\n--b\r\nContent-Type: application/dicom\r\n\r\n" + written(one)
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    answer = requests.post(f"{BASE}/studies", data=body + b"\r\n--b--\r\n", headers={**HEADERS, "Content-Type": kind}, timeout=30)
    check(answer.status_code == 200, answer.text)


def place(one, more=""):
    return f"{BASE}/studies/{STUDY}/series/{SERIES}/instances/{one.SOPInstanceUID}{more}"


def get(url, accept):
    return requests.get(url, headers={**HEADERS, "Accept": accept}, timeout=30)


def even(value):
    return value + b"\0" * (len(value) % 2)


def values(client):
    """What is not compressed is one value, also where it is decoded; pydicom fills it in."""
    word, byte = MultiFrameGrayscaleWordSecondaryCaptureImageStorage, MultiFrameGrayscaleByteSecondaryCaptureImageStorage
    bits = MultiFrameSingleBitSecondaryCaptureImageStorage
    plain = image(1, byte, ExplicitVRLittleEndian, 8, 3)
    plain.PixelData = even(b"".join(frame.tobytes() for frame in frames_of(plain)))
    wide = image(2, word, ImplicitVRLittleEndian, 16, 4)
    wide.PixelData = b"".join(frame.tobytes() for frame in frames_of(wide))
    big = image(3, word, ExplicitVRBigEndian, 16, 4)
    big.PixelData = b"".join(frame.byteswap().tobytes() for frame in frames_of(big))
    packed = image(4, byte, ExplicitVRLittleEndian, 8, 3)
    packed.PixelData = even(b"".join(frame.tobytes() for frame in frames_of(packed)))
    packed.compress(RLELossless)
    # Frames of 35 bits, that begin within bytes.
    single = image(5, bits, ExplicitVRLittleEndian, 1, 3)
    single.PixelData = even(bytes(range(17, 17 + 14)))
    for one in (plain, wide, big, packed, single):
        one["PixelData"].VR = "OB" if one in (plain, packed) else "OW"
    sent([plain, wide, big, packed, single])
    for one, value in (
        (plain, plain.PixelData),
        (wide, wide.PixelData),
        (big, b"".join(frame.tobytes() for frame in frames_of(big))),
        (packed, b"".join(frame.tobytes() for frame in frames_of(packed))),
        (single, single.PixelData),
    ):
        what = one.InstanceNumber
        [said] = get(place(one, "/metadata"), "application/dicom+json").json()
        url = said["7FE00010"]["BulkDataURI"]
        parts = client.retrieve_bulkdata(url)
        check([bytes(part) for part in parts] == [value], (what, "the parts", [len(part) for part in parts]))
        alone = get(url, OCTETS)
        check(alone.headers["Content-Type"].startswith(OCTETS) and alone.content == value, (what, alone.headers))
        back = Dataset.from_json(said, lambda tag, vr, uri: bytes(client.retrieve_bulkdata(uri)[0]))
        back.file_meta = FileMetaDataset()
        back.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        if one is not single:
            seen = numpy.stack([frame.reshape(one.Rows, one.Columns) for frame in frames_of(one)])
            check((back.pixel_array == seen).all(), (what, "as pydicom sees it"))
        # Frames are parts.
        frames = client.retrieve_instance_frames(STUDY, SERIES, one.SOPInstanceUID, [1, 3])
        check(len(frames) == 2, (what, "two frames"))
    # As it lies: each frame a part.
    url = place(packed, "/bulkdata/7FE00010")
    lies = get(url, 'multipart/related; type="image/dicom-rle"')
    check(lies.content.count(b"Content-Type: image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5") == 3, lies.headers)
    same = client.retrieve_bulkdata(url, media_types=(("image/x-dicom-rle", RLELossless),))
    check([bytes(part) for part in same] == list(pydicom.encaps.generate_frames(packed.PixelData, number_of_frames=3)), "RLE")


def films(client):
    for number, (syntax, pieces, kind, shown) in enumerate((
        (MPEG2MPML, [MPEG], "video/mpeg", "video/mpeg"),
        (MPEG4HP41, [MP4[:40_000], MP4[40_000:]], "video/mp4", "video/mp4"),
        (MPEG4HP41, [TRANSPORT], "video/mp4", None),
        (HEVCMP51, [MP4], "video/H265", "video/mp4"),
    )):
        one = film(10 + number, syntax, pieces)
        sent([one])
        stream = b"".join(pieces)
        [said] = get(place(one, "/metadata"), "application/dicom+json").json()
        url = said["7FE00010"]["BulkDataURI"]
        check([bytes(part) for part in client.retrieve_bulkdata(url)] == [stream], (syntax, "its bulk data"))
        for way in (url, place(one, "/frames/1"), place(one, "/frames/2,25")):
            alone = get(way, kind)
            check(alone.status_code == 200 and alone.content == stream, (way, alone.status_code))
            check(alone.headers["Content-Type"] == f"{kind}; transfer-syntax={syntax}", alone.headers)
            check(get(way, f"{OCTETS}; transfer-syntax=*").content == stream, (way, "as it lies"))
            check(get(way, OCTETS).status_code == 406, (way, "nobody decodes it"))
            check(get(way, "image/jpeg").status_code == 406, (way, "no picture"))
        if syntax != HEVCMP51:
            asked = "video/mpeg2" if kind == "video/mpeg" else kind
            [part] = client.retrieve_bulkdata(url, media_types=(asked,))
            check(bytes(part) == stream, "by its kind")
        check(get(place(one, "/frames/26"), "*/*").status_code == 404, "no such frame")
        rendered = get(place(one, "/rendered"), "video/*, image/*;q=0.5")
        if shown:
            check(rendered.status_code == 200 and rendered.content == stream, (syntax, rendered.status_code))
            check(rendered.headers["Content-Type"].startswith(shown), rendered.headers)
        else:
            check(rendered.status_code == 406 and "MP4" in rendered.text, rendered.text)
        check(get(place(one, "/rendered"), "image/jpeg").status_code == 406, "a picture of a film")
        check(get(place(one, "/thumbnail"), "*/*").status_code == 406, "a thumbnail of a film")
        whole = get(place(one), "application/dicom; transfer-syntax=*")
        check(pydicom.dcmread(io.BytesIO(whole.content)).PixelData == one.PixelData, "as it was sent")


def documents(client):
    one = base(20, EncapsulatedPDFStorage, ExplicitVRLittleEndian)
    one.Modality, one.DocumentTitle, one.MIMETypeOfEncapsulatedDocument = "DOC", "made up", "application/pdf"
    one.EncapsulatedDocumentLength = len(PDF)
    one.add_new(0x00420011, "OB", even(PDF) + b"%" * 5_000)
    bare = base(21, EncapsulatedPDFStorage, ExplicitVRLittleEndian)
    bare.Modality, bare.MIMETypeOfEncapsulatedDocument = "DOC", "application/pdf"
    bare.add_new(0x00420011, "OB", even(PDF))
    sent([one, bare])
    for document in (one, bare):
        shown = client.retrieve_instance_rendered(
            STUDY, SERIES, document.SOPInstanceUID, media_types=("application/pdf",)
        )
        check(shown == PDF, shown)
        anything = get(place(document, "/rendered"), "*/*")
        check(anything.headers["Content-Type"] == "application/pdf" and anything.content == PDF, anything.headers)
        picture = get(place(document, "/rendered"), "image/jpeg")
        check(picture.status_code == 406 and "application/pdf" in picture.text, picture.text)
    url = place(one, "/bulkdata/00420011")
    check(get(url, "application/pdf").content == PDF, "its bulk data")
    check(get(url, OCTETS).content == PDF, "its bulk data as bytes")
    check(get(url, "image/png").status_code == 406, "no picture")
    check([bytes(part) for part in client.retrieve_bulkdata(url)] == [PDF], "its bulk data in a part")


def reports(client):
    def code(meaning):
        one = Dataset()
        one.CodeValue, one.CodingSchemeDesignator, one.CodeMeaning = "X", "99L", meaning
        return [one]

    one = base(30, BasicTextSRStorage, ExplicitVRLittleEndian)
    one.Modality, one.ValueType, one.ConceptNameCodeSequence = "SR", "CONTAINER", code("Raport")
    one.CompletionFlag, one.VerificationFlag, one.ContentDate = "COMPLETE", "UNVERIFIED", "20260505"
    text = Dataset()
    text.RelationshipType, text.ValueType, text.ConceptNameCodeSequence = "CONTAINS", "TEXT", code("Concluzie")
    text.TextValue = "Fără leziuni <script>alert(1)</script>"
    one.ContentSequence = [text]
    sent([one])
    page = get(place(one, "/rendered"), "*/*")
    check(page.headers["Content-Type"] == "text/html; charset=utf-8", page.headers)
    check("Concluzie: Fără leziuni &lt;script&gt;" in page.text and "<script" not in page.text, page.text)
    check("sandbox" in page.headers["Content-Security-Policy"], page.headers)
    plain = client.retrieve_instance_rendered(STUDY, SERIES, one.SOPInstanceUID, media_types=("text/plain",))
    check("Concluzie: Fără leziuni <script>" in plain.decode() and "Patient: Ana Pop" in plain.decode(), plain)
    check(get(place(one, "/rendered"), "image/png").status_code == 406, "a picture of a report")


def main():
    client = DICOMwebClient(BASE, headers=HEADERS)
    values(client)
    films(client)
    documents(client)
    reports(client)


main()
