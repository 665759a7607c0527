//! Any bytes as an object whose pixels are decoded, written anew and shown: no panic, and never more than what was asked for.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use mappings::dicom::charset::Fallback;
use mappings::dicom::native;
use mappings::dicom::part10::File;
use mappings::dicom::pixels::places::Frames;
use mappings::dicom::pixels::render;

/// What is larger takes the time of the fuzzer and finds nothing else.
const MOST: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let mut file = Cursor::new(bytes);
    let Ok(frames) = Frames::of(bytes, &mut file) else { return };
    // That decoder is not ours, and fuzzed where it is at home.
    if frames.syntax.starts_with("1.2.840.10008.1.2.4.9") {
        return;
    }
    let shape = frames.decoded_shape();
    if MOST < shape.frame_bytes() * shape.frames as u64 {
        return;
    }
    for to in [native::EXPLICIT, native::IMPLICIT] {
        let Ok(native) = native::written(bytes, 2 * MOST, to) else {
            continue;
        };
        assert!(native.len() as u64 <= 2 * MOST);
        assert!(native::written(&native, 3 * MOST, native::EXPLICIT).is_ok(), "what is written can be written again");
    }
    let Ok(Some(values)) = frames.decoded(0, &mut file) else { return };
    let Ok(read) = File::read(bytes) else { return };
    let Ok(set) = read.data_set(Fallback::default()) else { return };
    if let Ok(picture) = render::picture(&set, &shape, 0, &values, None) {
        assert_eq!((picture.width, picture.height), (shape.columns, shape.rows));
        let small = picture.fitted(16, 16);
        assert!(small.width <= 16 && small.height <= 16);
        let _ = (small.png(), small.jpeg(50));
    }
});
