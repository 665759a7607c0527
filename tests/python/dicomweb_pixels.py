"""What a viewer gets of images that lie compressed in the store: decoded objects and frames, pictures, long values.

    dicomweb_pixels.py BASE KEY FOLDER

Compresses by the tools of DCMTK, and compares with what they decode. Ends with 1 and says what is wrong. The person in
here is made up.
"""

import io
import subprocess
import sys
from pathlib import Path

import numpy
import pydicom
import requests
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

BASE, KEY, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
HEADERS = {"Authorization": f"Bearer {KEY}"}
STUDY, SERIES = generate_uid(), generate_uid()
MPEG2 = "1.2.840.10008.1.2.4.100"
SEEDS = Path(__file__).parents[2] / "mappings/fuzz/seeds/dicom_pixels"
# The beginning of a file of JPEG 2000 that says nothing of its colours.
BOXES = b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\0jp2c"
EXPECTED = {}
PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


def check(is_so, what):
    if not is_so:
        sys.exit(f"not so: {what}")


def image(number, kind, stored, samples=1, frames=1, photometric="MONOCHROME2"):
    one = Dataset()
    one.preamble = b"\0" * 128
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = kind
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    one.StudyInstanceUID, one.SeriesInstanceUID = STUDY, SERIES
    one.PatientName, one.PatientID = "Pop^Ana", "P-7"
    one.StudyDate, one.StudyTime, one.AccessionNumber, one.StudyID = "20260505", "101500", "A-78", "1"
    one.Modality, one.SeriesNumber, one.InstanceNumber = "CT", 1, number
    one.Rows, one.Columns, one.SamplesPerPixel = 60, 100, samples
    one.PhotometricInterpretation = "RGB" if samples == 3 else photometric
    if samples == 3:
        one.PlanarConfiguration = 0
    one.BitsAllocated = 8 if stored <= 8 else 16
    one.BitsStored, one.HighBit, one.PixelRepresentation = stored, stored - 1, 0
    if frames != 1:
        one.NumberOfFrames = frames
    most = (1 << stored) - 1
    y, x = numpy.mgrid[0 : one.Rows, 0 : one.Columns]
    wave = lambda frame, sample: (numpy.sin(x / 9 + frame) + numpy.cos(y / 7 + sample) + 2) / 4 * most
    values = numpy.array([[wave(frame, sample) for sample in range(samples)] for frame in range(frames)])
    values[:, :, 10:20, 30:50] = most // 5
    values = numpy.round(values).transpose(0, 2, 3, 1).astype(numpy.uint8 if stored <= 8 else numpy.uint16)
    one.PixelData = values.tobytes()
    one["PixelData"].VR = "OB" if stored <= 8 else "OW"
    return one


def written(one):
    out = io.BytesIO()
    if one.file_meta.TransferSyntaxUID.startswith("1.2.840.10008.1.2.4.11"):
        one["PixelData"].is_undefined_length = True
        options = {"implicit_vr": False, "little_endian": True, "force_encoding": True}
        pydicom.dcmwrite(out, one, **options)
    else:
        pydicom.dcmwrite(out, one, enforce_file_format=True)
    return out.getvalue()


def tool(*args):
    done = subprocess.run(args, capture_output=True, text=True)
    check(done.returncode == 0, (args, done.stderr))


def packed(one, *by):
    """The object as a tool compresses it."""
    here, there = FOLDER / "here.dcm", FOLDER / "there.dcm"
    here.write_bytes(written(one))
    tool(*by, str(here), str(there))
    return pydicom.dcmread(io.BytesIO(there.read_bytes()))


def seed(number, name, plain):
    """An object that another tool has compressed, and its pixels: as bytes too, since pydicom writes no syntax that it does not know."""
    one = pydicom.dcmread(SEEDS / name)
    like = image(number, SecondaryCaptureImageStorage, 8)
    for element in like:
        if element.tag.group not in (0x0028, 0x7FE0):
            one.add(element)
    like.file_meta.TransferSyntaxUID = one.file_meta.TransferSyntaxUID
    one.file_meta = like.file_meta
    EXPECTED[one.SOPInstanceUID] = pydicom.dcmread(SEEDS / plain).pixel_array
    return one


def unpacked(one):
    """Its pixels as a tool decodes them."""
    if one.SOPInstanceUID in EXPECTED:
        return EXPECTED[one.SOPInstanceUID]
    syntax = one.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or syntax == DeflatedExplicitVRLittleEndian:
        return one.pixel_array
    if syntax == JPEG2000Lossless:
        frames = [Image.open(io.BytesIO(get_frame(one.PixelData, number))) for number in range(1)]
        return numpy.array(frames[0])
    by = {"1.2.840.10008.1.2.5": "dcmdrle", "1.2.840.10008.1.2.4.80": "dcmdjpls"}.get(syntax, "dcmdjpeg")
    return packed(one, by).pixel_array


def jpeg_2000(one, before=b""):
    out = io.BytesIO()
    Image.fromarray(one.pixel_array).save(out, format="JPEG2000", no_jp2=True, irreversible=False)
    EXPECTED[one.SOPInstanceUID] = one.pixel_array
    one.file_meta.TransferSyntaxUID = JPEG2000Lossless
    one.PixelData = encapsulate([before + out.getvalue()])
    one["PixelData"].VR = "OB"
    return one


def in_syntax(one, syntax):
    if syntax == ExplicitVRBigEndian:
        one.PixelData = one.pixel_array.byteswap().tobytes()
    out = io.BytesIO()
    one.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(out, one, enforce_file_format=True)
    return pydicom.dcmread(io.BytesIO(out.getvalue()))


def post(objects):
    """Stores files."""
    parts = [b"--b\r\nContent-Type: application/dicom\r\n\r\n" + written(one) + b"\r\n" for one in objects]
    headers = {**HEADERS, "Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
    answer = requests.post(f"{BASE}/studies", b"".join(parts) + b"--b--\r\n", headers=headers, timeout=60)
    check(answer.status_code == 200, (answer.status_code, answer.text[:300]))


def overlay(one, group, drawn, origin=(1, 1), kind="G"):
    """Draws over an object: `drawn` is an array of what is set."""
    rows, columns = drawn.shape
    one.add_new((group, 0x0010), "US", rows)
    one.add_new((group, 0x0011), "US", columns)
    one.add_new((group, 0x0040), "CS", kind)
    one.add_new((group, 0x0050), "SS", list(origin))
    one.add_new((group, 0x0100), "US", 1)
    one.add_new((group, 0x0102), "US", 0)
    bits = numpy.packbits(drawn.ravel().astype(numpy.uint8), bitorder="little").tobytes()
    one.add_new((group, 0x3000), "OW", bits + b"\0" * (len(bits) % 2))
    return one


def drawn_over(client):
    """What is drawn over an image is seen as DCMTK shows it, in each way that it may lie."""
    y, x = numpy.mgrid[0:40, 0:31]
    ring = abs(numpy.hypot(y - 20, x - 15) - 12) < 1.5
    for number, syntax in enumerate((ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)):
        one = image(40 + number, SecondaryCaptureImageStorage, 12)
        one.WindowCenter, one.WindowWidth = 2048, 4096
        overlay(one, 0x6000, ring, (5, 3))
        overlay(one, 0x6002, ring, (-10, 80))
        if syntax == ExplicitVRBigEndian:
            for group in (0x6000, 0x6002):
                plain = numpy.frombuffer(one[group, 0x3000].value, numpy.uint16)
                one[group, 0x3000].value = plain.byteswap().tobytes()
        if syntax != ExplicitVRLittleEndian:
            one = in_syntax(one, syntax)
        client.store_instances([one])
        (FOLDER / "drawn.dcm").write_bytes(written(one))
        tool("dcm2pnm", "+Wi", "1", "+O", "1", "+O", "2", "+Omr", "+opb", str(FOLDER / "drawn.dcm"), str(FOLDER / "drawn.pgm"))
        theirs = numpy.array(Image.open(FOLDER / "drawn.pgm")).astype(int)
        ours = numpy.array(picture(get(f"{path(one)}/rendered", "image/png"))).astype(int)
        check(abs(ours - theirs).max() <= 1, (syntax, abs(ours - theirs).max()))
        check((ours == 255).sum() > ring.sum(), "something is drawn")


def as_others_write():
    """What other programs write beside the rules, and within them in ways that are seldom met."""
    # The study of a deflated object is seen; what an object is says its data set, where the meta header says otherwise.
    deflated = in_syntax(image(60, SecondaryCaptureImageStorage, 12), DeflatedExplicitVRLittleEndian)
    renamed = image(61, SecondaryCaptureImageStorage, 12)
    other = written(renamed).replace(renamed.SOPInstanceUID.encode(), b"1." + b"2" * (len(renamed.SOPInstanceUID) - 2), 1)
    headers = {**HEADERS, "Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
    for one, bytes_of in ((deflated, written(deflated)), (renamed, other)):
        body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + bytes_of + b"\r\n--b--\r\n"
        answer = requests.post(f"{BASE}/studies/{STUDY}", body, headers=headers, timeout=60)
        check(answer.status_code == 200, (answer.status_code, answer.text[:300]))
        [told] = answer.json()["00081199"]["Value"]
        check(told["00081190"]["Value"] == [f"{BASE}/{path(one)}"], told)
        check(get(f"{path(one)}/frames/1").status_code == 200, "its frame")
    # Fragments with a length, and a JPEG that lies in none.
    for number in (62, 63):
        one = packed(image(number, SecondaryCaptureImageStorage, 8), "dcmcjpeg", "+eb")
        lies = get_frame(one.PixelData, 0, number_of_frames=1)
        bytes_of = written(one)
        at = bytes_of.index(b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff") + 8
        value = bytes_of[at + 4 : -8] if number == 62 else lies
        sent = bytes_of[:at] + len(value).to_bytes(4, "little") + value
        body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + sent + b"\r\n--b--\r\n"
        check(requests.post(f"{BASE}/studies", body, headers=headers, timeout=60).status_code == 200, "stored")
        frame = parts(get(f"{path(one)}/frames/1", 'multipart/related; type="application/octet-stream"'))[0]
        same_pixels("with a length", one, raw(one, frame, one.pixel_array), 2)
        back = pydicom.dcmread(io.BytesIO(get(path(one), "application/dicom").content))
        same_pixels("with a length, whole", one, back.pixel_array, 2)
    # Single bits: frames begin within a byte.
    one = image(64, SecondaryCaptureImageStorage, 8)
    one.Rows, one.Columns, one.NumberOfFrames, one.BitsAllocated, one.BitsStored, one.HighBit = 5, 7, 3, 1, 1, 0
    bits = numpy.arange(3 * 5 * 7) % 4 % 3 == 1
    one.PixelData = numpy.packbits(bits.astype(numpy.uint8), bitorder="little").tobytes()
    post([one])
    frames = parts(get(f"{path(one)}/frames/1,2,3", 'multipart/related; type="application/octet-stream"'))
    seen = [numpy.unpackbits(numpy.frombuffer(frame, numpy.uint8), bitorder="little")[:35] for frame in frames]
    check((numpy.concatenate(seen) == bits).all(), "bits")
    shown = numpy.array(picture(get(f"{path(one)}/frames/3/rendered", "image/png")))
    check(((shown > 0).ravel() == bits[70:]).all(), "bits as they are seen")
    # Fractions have addresses, and are frames; nobody sees them.
    one = image(65, SecondaryCaptureImageStorage, 8)
    values = numpy.arange(one.Rows * one.Columns, dtype=numpy.float32) / 7
    del one.PixelData
    one.BitsAllocated, one.FloatPixelData = 32, values.tobytes()
    post([one])
    [said] = get(f"{path(one)}/metadata", "application/dicom+json").json()
    value = requests.get(said["7FE00008"]["BulkDataURI"], headers=HEADERS, timeout=30)
    check(parts(value) == [values.tobytes()], "fractions")
    check(get(f"{path(one)}/rendered").status_code == 406, "a picture of fractions")
    # Old overlays lie in spare bits of the pixels, as DCMTK shows them too.
    one = image(66, SecondaryCaptureImageStorage, 12)
    one.WindowCenter, one.WindowWidth = 2048, 4096
    drawn = numpy.zeros((one.Rows, one.Columns), numpy.uint16)
    drawn[5:9, 20:70] = 1
    one.PixelData = (one.pixel_array | drawn << 12).tobytes()
    for number, vr, value in ((0x10, "US", one.Rows), (0x11, "US", one.Columns), (0x40, "CS", "G"), (0x50, "SS", [1, 1]), (0x100, "US", 16), (0x102, "US", 12)):
        one.add_new((0x6000, number), vr, value)
    post([one])
    ours = numpy.array(picture(get(f"{path(one)}/rendered", "image/png"))).astype(int)
    (FOLDER / "old.dcm").write_bytes(written(one))
    tool("dcm2pnm", "+Wi", "1", "+O", "1", "+Omr", "+opb", str(FOLDER / "old.dcm"), str(FOLDER / "old.pgm"))
    theirs = numpy.array(Image.open(FOLDER / "old.pgm")).astype(int)
    check(abs(ours - theirs).max() <= 1 and (ours[5:9, 20:70] == 255).all(), abs(ours - theirs).max())


def behind_the_pixels():
    """What stands behind the pixels is told, and has addresses, whichever way the pixels lie."""
    for number, kind in ((70, "plain"), (71, "packed"), (72, "implicit"), (73, "deflated")):
        one = image(number, SecondaryCaptureImageStorage, 8)
        one.SpecificCharacterSet = "ISO_IR 101"
        one.add_new(0x7FE10010, "LO", "A MAKER")
        one.add_new(0x7FE11001, "LO", "sfârşit")
        one.add_new(0x7FE11002, "OB", bytes(range(256)) * 40)
        if kind == "packed":
            one = packed(one, "dcmcrle")
        if kind in ("implicit", "deflated"):
            one = in_syntax(one, ImplicitVRLittleEndian if kind == "implicit" else DeflatedExplicitVRLittleEndian)
        one.add_new(0xFFFCFFFC, "OB", b"\0" * 12)
        check(one[0x7FE11001].value == "sfârşit" or kind == "implicit", one[0x7FE11001])
        post([one])
        [said] = get(f"{path(one)}/metadata", "application/dicom+json").json()
        check(said["FFFCFFFC"]["InlineBinary"] == "AAAAAAAAAAAAAAAA", (kind, "FFFCFFFC"))
        check(said["7FE10010"]["vr"] in ("LO", "UN"), (kind, said["7FE10010"]))
        if kind != "implicit":
            check(said["7FE11001"]["Value"] == ["sfârşit"], (kind, said["7FE11001"]))
        value = requests.get(said["7FE11002"]["BulkDataURI"], headers=HEADERS, timeout=30)
        check(parts(value) == [bytes(range(256)) * 40], (kind, "a long value"))
        check("BulkDataURI" in said["7FE00010"], kind)


def frames_that_are_not_to_be_had(ct, film):
    """PS3.18 §10.4.3: 400 for what is no number, 404 for what is not there, 406 for what can't be given so; never 415."""
    octets = 'multipart/related; type="application/octet-stream"'
    short = image(80, SecondaryCaptureImageStorage, 8)
    short.PixelData = short.PixelData[:10]
    unparted = packed(image(81, MultiFrameGrayscaleWordSecondaryCaptureImageStorage, 12, frames=3), "dcmcrle")
    unparted.PixelData = encapsulate([b"ab"] * 2, has_bot=False)
    report = image(82, "1.2.840.10008.5.1.4.1.1.88.11", 8)
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "SamplesPerPixel"):
        delattr(report, keyword)
    post([short, unparted, report])
    for asked, of, frames, status in (
        ("no number", ct, ("0", "x", "1,,2", "-1", "1,x", "%20", "+1"), 400),
        ("not there", ct, ("2", "1,2", "4294967297", "99999999999999999999999"), 404),
        ("not there", film, ("4", "1,4"), 404),
        ("no pixels", report, ("1",), 404),
        ("too few pixels", short, ("1",), 406),
        ("not to be parted", unparted, ("1", "3"), 406),
    ):
        for numbers in frames:
            for accept in (octets, "*/*"):
                answer = get(f"{path(of)}/frames/{numbers}", accept)
                check(answer.status_code == status, (asked, numbers, answer.status_code, answer.text[:200]))
            for way in ("rendered", "thumbnail"):
                answer = get(f"{path(of)}/frames/{numbers}/{way}", "image/jpeg, multipart/related; type=image/jpeg")
                check(answer.status_code == status, (asked, numbers, way, answer.status_code, answer.text[:200]))
    check(get(f"{path(report)}/rendered", "image/jpeg").status_code == 406, "a report has no picture")
    check("text/html" in get(f"{path(report)}/rendered").headers["Content-Type"], "a report is read")
    for address in (f"{path(ct)}/frames/1", path(ct), f"{path(ct)}/metadata", f"{path(ct)}/rendered", "studies"):
        check(get(address, "text/html").status_code == 406, address)


def get(path, accept="*/*", **query):
    return requests.get(f"{BASE}/{path}", headers={**HEADERS, "Accept": accept}, params=query, timeout=60)


def path(one):
    return f"studies/{one.StudyInstanceUID}/series/{one.SeriesInstanceUID}/instances/{one.SOPInstanceUID}"


def parts(answer):
    """The bodies of an answer in parts."""
    boundary = answer.headers["Content-Type"].split("boundary=")[1].encode()
    all_parts = answer.content.split(b"\r\n--" + boundary)
    check(all_parts[0] == b"" and all_parts[-1].startswith(b"--"), "a body of parts")
    return [part.split(b"\r\n\r\n", 1)[1] for part in all_parts[1:-1]]


def same_pixels(what, one, values, tolerance=0):
    expected = unpacked(one).astype(int)
    check(values.shape == expected.shape, (what, values.shape, expected.shape))
    furthest = abs(values.astype(int) - expected).max()
    check(furthest <= tolerance, f"{what}: {furthest} apart")


def raw(one, frame, like):
    """A frame of an answer as values."""
    width = numpy.uint8 if one.BitsAllocated == 8 else numpy.uint16
    return numpy.frombuffer(frame, width).reshape(like.shape)


def picture(answer):
    check(answer.status_code == 200, (answer.status_code, answer.text[:200]))
    return Image.open(io.BytesIO(answer.content))


def main():
    client = DICOMwebClient(BASE, headers=HEADERS)
    grey, colour = SecondaryCaptureImageStorage, SecondaryCaptureImageStorage
    film = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    ct = image(1, CTImageStorage, 12)
    ct.RescaleSlope, ct.RescaleIntercept = 1, -1024
    ct.WindowCenter, ct.WindowWidth = [40, 600], [400, 1600]
    ct.add_new(0x00290010, "LO", "A MAKER")
    ct.add_new(0x00291010, "OB", bytes(range(256)) * 40)
    objects = {
        "plain": (ct, 0),
        "implicit": (in_syntax(image(2, grey, 12), ImplicitVRLittleEndian), 0),
        "big endian": (in_syntax(image(3, grey, 16), ExplicitVRBigEndian), 0),
        "deflated": (in_syntax(image(4, grey, 16), DeflatedExplicitVRLittleEndian), 0),
        "baseline": (packed(image(5, grey, 8), "dcmcjpeg", "+eb"), 2),
        "baseline, colour": (packed(image(6, colour, 8, 3), "dcmcjpeg", "+eb", "+s2"), 4),
        "extended": (packed(image(7, grey, 12), "dcmcjpeg", "+ee"), 2),
        "lossless": (packed(image(8, grey, 16), "dcmcjpeg", "+e1"), 0),
        "lossless, colour": (packed(image(9, colour, 8, 3), "dcmcjpeg", "+el", "+sv", "6"), 0),
        "RLE": (packed(image(10, grey, 16), "dcmcrle"), 0),
        "RLE, colour": (packed(image(11, colour, 8, 3), "dcmcrle"), 0),
        "JPEG-LS": (packed(image(12, grey, 12), "dcmcjpls"), 0),
        "JPEG-LS, colour": (packed(image(13, colour, 8, 3), "dcmcjpls", "+is"), 0),
        "JPEG 2000": (jpeg_2000(image(14, grey, 16)), 0),
        "JPEG 2000 in boxes": (jpeg_2000(image(27, grey, 16), BOXES), 0),
        "progressive": (packed(image(20, grey, 12), "dcmcjpeg", "+ep"), 2),
        "progressive, colour": (packed(image(21, colour, 8, 3), "dcmcjpeg", "+ep", "+s2"), 4),
        "by bands": (packed(image(22, grey, 8), "dcmcjpeg", "+es"), 2),
        "HTJ2K": (seed(23, "grey-12.htj2k.dcm", "grey-12.dcm"), 0),
        "HTJ2K, colour": (seed(24, "colour.htj2k.dcm", "colour.dcm"), 0),
        "JPEG XL": (seed(25, "grey-12.jpeg-xl.dcm", "grey-12.dcm"), 0),
        "JPEG XL of a JPEG": (seed(26, "colour-again.jpeg-xl.dcm", "colour-again.dcm"), 2),
        "film": (packed(image(15, film, 12, frames=3), "dcmcjpeg", "+e1"), 0),
    }
    moving = image(16, grey, 8)
    moving.file_meta.TransferSyntaxUID = MPEG2
    moving.PixelData = encapsulate([b"no film"])
    everything = [one for one, _ in objects.values()]
    by_hand = [one for one in everything if one.file_meta.TransferSyntaxUID.startswith("1.2.840.10008.1.2.4.11")]
    told = client.store_instances([*(one for one in everything if one not in by_hand), moving])
    check(len(told.ReferencedSOPSequence) == len(everything) - len(by_hand) + 1, told)
    post(by_hand)

    for name, (one, tolerance) in objects.items():
        # As an object that says the same, and whose pixels everybody reads.
        answer = get(path(one), "application/dicom")
        check(answer.status_code == 200, (name, answer.text[:300]))
        back = pydicom.dcmread(io.BytesIO(answer.content))
        check(back.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian, name)
        same_pixels(name, one, back.pixel_array, tolerance)
        ours = {"PixelData", "PhotometricInterpretation", "PlanarConfiguration"}
        for element in one:
            if element.keyword not in ours:
                check(element.value == back[element.tag].value, (name, element))
        check(back.PhotometricInterpretation == ("RGB" if one.SamplesPerPixel == 3 else "MONOCHROME2"), name)
        # As it was received.
        same = get(path(one), "application/dicom; transfer-syntax=*").content
        check(pydicom.dcmread(io.BytesIO(same)).PixelData == one.PixelData, f"{name} as it lies")
        # Frames.
        frames = one.get("NumberOfFrames", 1)
        numbers = ",".join(str(number + 1) for number in range(frames))
        answer = get(f"{path(one)}/frames/{numbers}", 'multipart/related; type="application/octet-stream"')
        check(answer.status_code == 200, (name, answer.text[:300]))
        expected = unpacked(one)
        values = [raw(one, frame, expected[0] if frames != 1 else expected) for frame in parts(answer)]
        same_pixels(f"frames, {name}", one, numpy.array(values) if frames != 1 else values[0], tolerance)
        if one.file_meta.TransferSyntaxUID not in PLAIN:
            answer = get(f"{path(one)}/frames/1", 'multipart/related; type="application/octet-stream"; transfer-syntax=*')
            lies = get_frame(one.PixelData, 0, number_of_frames=frames)
            check(parts(answer) == [lies], f"{name}: a frame as it lies")
        # As everybody sees it.
        shown = picture(get(f"{path(one)}/rendered"))
        check(shown.format == "JPEG" and shown.size == (one.Columns, one.Rows), (name, shown))
        check(shown.mode == ("RGB" if one.SamplesPerPixel == 3 else "L"), (name, shown))

    # What nobody here decodes.
    check(get(path(moving), "application/dicom; transfer-syntax=1.2.840.10008.1.2.1").status_code == 406, "a film that is not packed")
    check(get(path(moving), "application/dicom").status_code == 200, "a film as it lies")
    check(get(f"{path(moving)}/rendered", "image/jpeg").status_code == 406, "a picture of a film")
    check(get(path(moving), "application/dicom; transfer-syntax=*").status_code == 200, "a film as it lies")
    answer = get(f"studies/{STUDY}", 'multipart/related; type="application/dicom"')
    check(answer.status_code == 200 and len(parts(answer)) == len(everything) + 1, answer.status_code)
    explicit = 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1'
    answer = get(f"studies/{STUDY}", explicit)
    check(answer.status_code == 206 and len(parts(answer)) == len(everything), answer.status_code)
    check(get(f"{path(ct)}/frames/1", "image/jls").status_code == 406, "frames of another kind")

    # Grey by the window of the object, of the asker, and turned around.
    values = ct.pixel_array.astype(float) - 1024

    def window(center, width):
        return numpy.round(numpy.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 255)

    def seen(**query):
        shown = picture(get(f"{path(ct)}/rendered", "image/png", **query))
        check(shown.format == "PNG" and shown.mode == "L", shown)
        return numpy.array(shown).astype(float)

    check(abs(seen() - window(40, 400)).max() <= 1, "the window of the object")
    check(abs(seen(window="1000,2000,LINEAR") - window(1000, 2000)).max() <= 1, "another window")
    part = seen(viewport="20,20,30,10,-20,20", window="1000,2000,LINEAR")
    check(abs(part - window(1000, 2000)[10:30, 30:50][:, ::-1]).max() <= 1, "a part, mirrored")
    check(seen(viewport="50,50").shape == (30, 50), "made smaller")
    check(seen(viewport="400,400").shape == (240, 400), "made larger")
    inverse = image(17, grey, 8, photometric="MONOCHROME1")
    client.store_instances([inverse])
    shown = numpy.array(picture(get(f"{path(inverse)}/rendered", "image/png"))).astype(int)
    check(numpy.corrcoef(shown.ravel(), inverse.pixel_array.ravel())[0, 1] < -0.999, "black is white")
    painted = objects["RLE, colour"][0]
    shown = numpy.array(picture(get(f"{path(painted)}/rendered", "image/png")))
    # As GIF, grey is what it is, and colours are near.
    for one, most in ((ct, 0), (inverse, 0), (painted, 26)):
        png = picture(get(f"{path(one)}/rendered", "image/png")).convert("RGB")
        gif = picture(get(f"{path(one)}/rendered", "image/gif"))
        check(gif.format == "GIF" and gif.size == png.size, gif)
        apart = numpy.abs(numpy.array(gif.convert("RGB")).astype(int) - numpy.array(png).astype(int)).max()
        check(apart <= most, ("GIF", apart))
    same_pixels("colour in a picture", painted, shown)
    small, large = (len(get(f"{path(ct)}/rendered", quality=quality).content) for quality in (10, 95))
    check(small < large, "quality")
    frame = picture(get(f"{path(objects['film'][0])}/frames/3/rendered", "image/png"))
    first = picture(get(f"{path(objects['film'][0])}/rendered", "image/png"))
    check(numpy.array(frame).tolist() != numpy.array(first).tolist(), "the third frame is not the first")
    check(len(parts(get(f"{path(objects['film'][0])}/frames/1,2/rendered"))) == 2, "two frames")
    # All but the film, and the inverse one beside them.
    check(len(parts(get(f"studies/{STUDY}/series/{SERIES}/rendered"))) == len(everything) + 1, "a series")
    for level in (f"studies/{STUDY}", f"studies/{STUDY}/series/{SERIES}", path(ct), f"{path(ct)}/frames/1"):
        check(picture(get(f"{level}/thumbnail")).size == (100, 60), level)
    check(picture(get(f"{path(ct)}/thumbnail", viewport="50,20")).size == (33, 20), "a small one")
    shown = client.retrieve_instance_rendered(STUDY, SERIES, ct.SOPInstanceUID, media_types=("image/png",))
    check(Image.open(io.BytesIO(shown)).size == (100, 60), "by a client")

    drawn_over(client)
    as_others_write()
    behind_the_pixels()
    frames_that_are_not_to_be_had(ct, objects["film"][0])

    # What is asked wrongly.
    for query in ({"window": "1"}, {"window": "1,0,LINEAR"}, {"viewport": "0,1"}, {"viewport": "1"}, {"quality": "0"}):
        check(get(f"{path(ct)}/rendered", **query).status_code == 400, query)
    check(get(f"{path(ct)}/rendered", viewport="5,5,90,50,20,20").status_code == 400, "outside")
    check(get(f"{path(ct)}/rendered", "text/html").status_code == 406, "as a page")
    check(get(f"{path(ct)}/frames/2/rendered").status_code == 404, "no such frame")
    check(get(f"studies/1.2.3/thumbnail").status_code == 404, "no such study")

    # Long values by their addresses.
    [said] = get(f"{path(ct)}/metadata", "application/dicom+json").json()
    check("InlineBinary" not in said["00291010"], said["00291010"])
    value = client.retrieve_bulkdata(said["00291010"]["BulkDataURI"])
    check(value == [ct[0x00291010].value], "a long value")
    bare = requests.get(said["00291010"]["BulkDataURI"], headers={**HEADERS, "Accept": "application/octet-stream"}, timeout=30)
    check(bare.content == ct[0x00291010].value, "by itself")
    check(client.retrieve_bulkdata(said["7FE00010"]["BulkDataURI"]) == [ct.PixelData], "the pixels")
    check(get(f"{path(ct)}/bulkdata/00291011").status_code == 404, "no such value")
    print("all as it should be seen")


main()
