"""A viewer and a gateway by dicomweb-client: sends a study, searches, and reads it back.

    dicomweb.py BASE KEY

Ends with 1 and says what is wrong where something is not as it was sent. The person in here is made up.
"""

import io
import sys

import numpy
import pydicom
import requests
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

BASE, KEY = sys.argv[1], sys.argv[2]
HEADERS = {"Authorization": f"Bearer {KEY}"}
STUDY, SERIES, OTHER = generate_uid(), generate_uid(), generate_uid()


def image(number, kind, syntax, series=SERIES):
    one = Dataset()
    one.preamble = b"\0" * 128
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = syntax
    one.file_meta.MediaStorageSOPClassUID = kind
    one.SpecificCharacterSet = "ISO_IR 101"
    one.SOPClassUID, one.SOPInstanceUID = kind, generate_uid()
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    one.StudyInstanceUID, one.SeriesInstanceUID = STUDY, series
    one.PatientName, one.PatientID = "Pop^Ana", "P-7"
    one.StudyDate, one.StudyTime, one.AccessionNumber = "20260505", "101500", "A-77"
    one.Modality = "CT" if series == SERIES else "OT"
    one.SeriesNumber, one.InstanceNumber = (1 if series == SERIES else 2), number
    one.StudyDescription = "Torace şi abdomen"
    one.ImagePositionPatient = [0.5, -1, 2]
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "X", "99L", "înainte"
    one.ProcedureCodeSequence = Sequence([item])
    one.add_new(0x00291010, "OB", b"\x01\x02")
    one.Rows, one.Columns = 32, 48
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.PixelRepresentation = 0
    one.BitsAllocated = one.BitsStored = 16 if kind == CTImageStorage else 8
    one.HighBit = one.BitsStored - 1
    return one


def pixels(one, frames=1):
    count = one.Rows * one.Columns * frames
    width = numpy.uint16 if one.BitsAllocated == 16 else numpy.uint8
    return (numpy.arange(count) * 7 % 251).astype(width).tobytes()


def study():
    first = image(1, CTImageStorage, ExplicitVRLittleEndian)
    second = image(2, CTImageStorage, ImplicitVRLittleEndian)
    for one in (first, second):
        one.PixelData = pixels(one)
    film = image(1, MultiFrameGrayscaleByteSecondaryCaptureImageStorage, ExplicitVRLittleEndian, OTHER)
    film.NumberOfFrames = 3
    film.PixelData = pixels(film, 3)
    packed = image(2, SecondaryCaptureImageStorage, JPEGBaseline8Bit, OTHER)
    packed.NumberOfFrames = 2
    packed.PixelData = encapsulate([jpeg(packed, 1), jpeg(packed, 2)])
    packed["PixelData"].VR = "OB"
    return first, second, film, packed


def jpeg(one, number):
    out = io.BytesIO()
    grey = (numpy.arange(one.Rows * one.Columns) * number % 251).astype(numpy.uint8)
    Image.fromarray(grey.reshape(one.Rows, one.Columns)).save(out, format="JPEG")
    return out.getvalue()


def written(one):
    out = io.BytesIO()
    pydicom.dcmwrite(out, one, enforce_file_format=True)
    return out.getvalue()


def data_of(file):
    """The bytes behind the meta header."""
    stream = io.BytesIO(file)
    pydicom.filereader.read_preamble(stream, False)
    pydicom.filereader._read_file_meta_info(stream)
    return stream.read()


def get(path, accept):
    return requests.get(f"{BASE}/{path}", headers={**HEADERS, "Accept": accept}, timeout=30)


def check(is_so, what):
    if not is_so:
        sys.exit(f"not so: {what}")


def same(said, one):
    for element in one:
        if element.keyword in ("PixelData", "SpecificCharacterSet"):
            continue
        check(element.tag in said, element)
        # Of what is private nobody knows the kind where the sender does not say it.
        both = said[element.tag].value, element.value
        check(both[0] == both[1] and (said[element.tag].VR == element.VR or element.tag.is_private), (element, said[element.tag]))


def place(one):
    return one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID


def main():
    client = DICOMwebClient(BASE, headers=HEADERS)
    first, second, film, packed = objects = study()
    told = client.store_instances(list(objects))
    check(len(told.ReferencedSOPSequence) == 4, told)
    check("FailedSOPSequence" not in told, told)
    check(STUDY in told.RetrieveURL, told)

    # Searches.
    for keys in (
        {"PatientName": "pop*"},
        {"PatientID": "P-7"},
        {"AccessionNumber": "A-77"},
        {"StudyDate": "20260501-20260531"},
        {"ModalitiesInStudy": "CT"},
        {"StudyInstanceUID": STUDY},
        {"00100020": "P-7", "StudyDate": "20260505"},
        {},
    ):
        found = client.search_for_studies(search_filters=keys)
        check(len(found) == 1, (keys, found))
    for keys in ({"PatientName": "Ion*"}, {"PatientID": "P-8"}, {"StudyDate": "-20260504"}, {"StudyInstanceUID": "1.2.3"}):
        check(client.search_for_studies(search_filters=keys) == [], keys)
    [row] = [Dataset.from_json(row) for row in client.search_for_studies()]
    check(str(row.PatientName) == "Pop^Ana" and row.PatientID == "P-7", row)
    check(row.NumberOfStudyRelatedInstances == 4 and row.NumberOfStudyRelatedSeries == 2, row)
    check(sorted(row.ModalitiesInStudy) == ["CT", "OT"] and row.StudyDate == "20260505", row)
    check(client.search_for_studies(limit=1, offset=1) == [], "an offset")
    series = [Dataset.from_json(row) for row in client.search_for_series(STUDY)]
    check(sorted(one.NumberOfSeriesRelatedInstances for one in series) == [2, 2], series)
    check(len(client.search_for_series(search_filters={"Modality": "OT"})) == 1, "by modality")
    check(len(client.search_for_instances(STUDY)) == 4, "objects of the study")
    check(len(client.search_for_instances(STUDY, SERIES)) == 2, "objects of the series")
    [row] = client.search_for_instances(search_filters={"SOPInstanceUID": film.SOPInstanceUID})
    row = Dataset.from_json(row)
    check((row.Rows, row.Columns, row.NumberOfFrames) == (32, 48, 3), row)

    # As it was received, byte for byte behind the meta header.
    for one in objects:
        path = "studies/{}/series/{}/instances/{}".format(*place(one))
        answer = get(path, "application/dicom; transfer-syntax=*")
        check(answer.status_code == 200, answer.text)
        check(data_of(answer.content) == data_of(written(one)), f"{one.SOPInstanceUID} as it was sent")
        back = client.retrieve_instance(*place(one))
        check(back.PixelData == one.PixelData, "by parts")
    any_syntax = (("application/dicom", "*"),)
    check(len(client.retrieve_series(STUDY, SERIES, media_types=any_syntax)) == 2, "a series")
    check(len(client.retrieve_study(STUDY, media_types=any_syntax)) == 4, "a study")

    # In explicit little endian, which everybody has to take.
    path = "studies/{}/series/{}/instances/{}"
    answer = get(path.format(*place(second)), "application/dicom")
    back = pydicom.dcmread(io.BytesIO(answer.content))
    check(back.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian, back.file_meta)
    same(back, second)
    answer = get(path.format(*place(packed)), "application/dicom")
    back = pydicom.dcmread(io.BytesIO(answer.content))
    check(back.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian, back.file_meta)
    check(back.pixel_array.shape == (2, 32, 48), back.pixel_array.shape)
    answer = get(f"studies/{STUDY}", 'multipart/related; type="application/dicom"')
    check(answer.status_code == 200 and answer.content.count(b"DICM") == 4, answer.status_code)
    check(get(f"studies/{STUDY}", "image/png").status_code == 406, "png")
    check(get("studies/1.2.3", "*/*").status_code == 404, "no such study")

    # What it says.
    for one in objects:
        [said] = get(path.format(*place(one)) + "/metadata", "application/dicom+json").json()
        check("Value" not in said["7FE00010"] and said["00080005"]["Value"] == ["ISO_IR 192"], said)
        del said["7FE00010"]
        same(Dataset.from_json(said), one)
    check(len(client.retrieve_study_metadata(STUDY)) == 4, "metadata of the study")
    check(len(client.retrieve_series_metadata(STUDY, SERIES)) == 2, "metadata of the series")

    # Frames.
    size = 32 * 48
    frames = client.retrieve_instance_frames(*place(film), [3, 1])
    check(frames == [film.PixelData[2 * size :], film.PixelData[:size]], "frames of a film")
    [frame] = client.retrieve_instance_frames(*place(second), [1])
    check(frame == second.PixelData, "the only frame")
    answer = get(path.format(*place(packed)) + "/frames/2", 'multipart/related; type="image/jpeg"; transfer-syntax=*')
    check(answer.status_code == 200 and jpeg(packed, 2) in answer.content, answer)
    check(jpeg(packed, 1) not in answer.content, "only the second")
    check(get(path.format(*place(film)) + "/frames/4", "*/*").status_code == 404, "no such frame")
    check(get(path.format(*place(film)) + "/frames/x", "*/*").status_code == 400, "no number")

    # What is refused.
    form = 'multipart/related; type="application/dicom"; boundary=b'

    def post(path, body, kind=form, headers=HEADERS):
        return requests.post(f"{BASE}/{path}", data=body, headers={**headers, "Content-Type": kind}, timeout=30)

    def parts(*files):
        head = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
        return b"".join(head + file + b"\r\n" for file in files) + b"--b--\r\n"

    check(post("studies", parts(written(first)), "image/png").status_code == 415, "no parts")
    check(post("studies", parts(written(first)), "application/dicom").status_code == 400, "parts that are said to be none")
    answer = post(f"studies/{STUDY}", written(first), "application/dicom")
    check(answer.status_code == 200 and len(answer.json()["00081199"]["Value"]) == 1, (answer.status_code, answer.text))
    check(post("studies", b"nothing").status_code == 400, "no boundary at its end")
    answer = post("studies/1.2.3", parts(written(first)))
    check(answer.status_code == 409, answer.text)
    check(answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA900], answer.text)
    answer = post("studies", parts(b"no object"))
    check(answer.status_code == 400 and "0008119A" in answer.json(), answer.text)
    answer = post(f"studies/{STUDY}", parts(written(first), b"no object"))
    check(answer.status_code == 202, answer.text)
    check(len(client.search_for_instances(STUDY)) == 4, "the same object once")
    check(post("studies", parts(written(first)), headers={}).status_code == 401, "no key")
    print("all as it was sent")


main()
