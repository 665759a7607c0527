//! Any bytes taken apart as each kind of file. None may panic, hang or go beyond the limits.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mappings::split::{JsonPath, Kind, Limits, split};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { parts: 20, part_bytes: 1000, total_bytes: 4000, ratio: 10 };
    let at = |path| JsonPath::parse(path).expect("a path");
    let kinds = [
        Kind::Hl7v2,
        Kind::Lines { header: false, quoted: false },
        Kind::Lines { header: true, quoted: true },
        Kind::Json { at: at("$") },
        Kind::Json { at: at("$.entry[0].a") },
        Kind::Xml { element: "r".to_owned() },
        Kind::Zip,
    ];
    for kind in &kinds {
        let Ok(parts) = split(kind, bytes, &limits) else { continue };
        assert!(parts.len() <= limits.parts, "{kind:?}");
        assert!(parts.iter().map(|part| part.bytes.len()).sum::<usize>() <= limits.total_bytes, "{kind:?}");
        // That a part of XML is a document again is a law of well-formed files (mappings/src/split/laws.rs): the reader
        // lets some through that are none.
        for part in &parts {
            let _ = split(kind, &part.bytes, &limits);
        }
    }
});
