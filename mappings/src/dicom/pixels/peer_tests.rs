//! What others have compressed: the seeds of the fuzzer, made by DCMTK, OpenJPEG, OpenJPH, libjxl and libjpeg-turbo out of one picture each.

use std::io::Cursor;
use std::path::Path;

use super::super::charset::Fallback;
use super::super::native;
use super::super::part10::File;
use super::places::Frames;
use super::render;

fn seeds() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/dicom_pixels");
    let files = std::fs::read_dir(folder).expect("the folder");
    let seed = |file: std::io::Result<std::fs::DirEntry>| {
        let file = file.expect("a file");
        let bytes = std::fs::read(file.path()).expect("readable");
        (file.file_name().to_string_lossy().into_owned(), bytes)
    };
    files.map(seed).collect()
}

fn values(bytes: &[u8]) -> (Frames, Vec<i32>) {
    let mut file = Cursor::new(bytes);
    let frames = Frames::of(bytes, &mut file).expect("frames");
    let values = frames.decoded(0, &mut file).expect("decoded").expect("a frame");
    let values = match frames.shape.allocated {
        8 => values.iter().map(|value| i32::from(*value)).collect(),
        _ => values
            .chunks_exact(2)
            .map(|two| i32::from(i16::from_le_bytes([two[0], two[1]])))
            .collect(),
    };
    (frames, values)
}

/// How far two values may lie apart: what was lost is lost in the picture beside it too, as its maker decodes it.
fn tolerance(name: &str) -> i32 {
    match name {
        "colour-lossy.jpeg-2000.dcm" => 1,
        "colour-again.jpeg-xl.dcm" | "grey-8-xyb.jpeg-xl.dcm" => 2,
        _ if name.contains(".jpeg-ls-near-3") => 3,
        _ if [".baseline", ".extended", ".progressive", ".spectral", ".turbo"]
            .iter()
            .any(|kind| name.contains(kind)) =>
        {
            2
        }
        _ => 0,
    }
}

#[test]
fn what_others_compress_is_decoded() {
    let seeds = seeds();
    let mut seen = 0;
    for (name, bytes) in &seeds {
        let whole = format!("{}.dcm", name.split('.').next().unwrap_or_default());
        let (_, whole) = seeds
            .iter()
            .find(|(name, _)| *name == whole)
            .expect("the picture");
        let (frames, is) = values(bytes);
        let (_, was) = values(whole);
        assert_eq!(is.len(), was.len(), "{name}");
        let furthest = is.iter().zip(&was).map(|(is, was)| (is - was).abs()).max();
        assert!(furthest <= Some(tolerance(name)), "{name}: {furthest:?}");
        if frames.shape.samples == 3 {
            assert_eq!(frames.decoded_shape().photometric, "RGB", "{name}");
        }
        // The object that is made of it says the same, and lies the same.
        let native = native::written(bytes, 1 << 20, native::EXPLICIT).expect("written");
        let (again, same) = values(&native);
        assert_eq!((again.syntax.as_str(), &same), (native::EXPLICIT, &is), "{name}");
        let again_native = native::written(&native, 1 << 20, native::EXPLICIT);
        assert_eq!(again_native.as_ref(), Ok(&native), "{name}");
        let implicit = native::written(bytes, 1 << 20, native::IMPLICIT).expect("written");
        assert_eq!(values(&implicit).1, is, "{name}");
        let file = File::read(&native).expect("a file");
        let set = file.data_set(Fallback::default()).expect("a data set");
        let picture = render::picture(&set, &again.shape, 0, &pixels(&native), None).expect("a picture");
        assert_eq!(picture.pixels.len(), again.shape.values(), "{name}");
        assert!(
            picture.jpeg(90).expect("a JPEG").starts_with(b"\xFF\xD8\xFF"),
            "{name}"
        );
        seen += usize::from(name.matches('.').count() == 2);
    }
    assert!(34 <= seen, "{seen}");
}

fn pixels(native: &[u8]) -> Vec<u8> {
    let mut file = Cursor::new(native);
    let frames = Frames::of(native, &mut file).expect("frames");
    frames.decoded(0, &mut file).expect("read").expect("a frame")
}

/// What is cut is never half an image, and what is changed is never a panic.
#[test]
fn what_is_cut_is_refused() {
    for (name, bytes) in seeds() {
        if name.matches('.').count() == 1 || name.contains("jpeg-2000") || name.contains("htj2k") {
            continue;
        }
        let mut file = Cursor::new(&bytes[..]);
        let frames = Frames::of(&bytes, &mut file).expect("frames");
        let place = &frames.places[0][0];
        let (from, to) = (place.from as usize, (place.from + place.length) as usize);
        for keep in [0, 1, 10, (to - from) / 2, to - from - 12] {
            let cut = super::decode::decoded(&frames.syntax, &frames.shape, &bytes[from..from + keep]);
            assert!(cut.is_err(), "{name}: {keep} of {}", to - from);
        }
        for at in (from..to).step_by(7) {
            let mut changed = bytes[from..to].to_vec();
            changed[at - from] ^= 0x41;
            let _ = super::decode::decoded(&frames.syntax, &frames.shape, &changed);
        }
    }
}
