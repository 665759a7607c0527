//! Any bytes as JSON, XML and CSV: read, asked, changed. None may panic, and what was changed can be read again.

#![no_main]

use clinic::exchange::MapError;
use libfuzzer_sys::fuzz_target;
use mappings::tree::{Change, Document, Path, Reading};
use mappings::{csv, json, xml};

struct Format {
    read: for<'a> fn(&'a [u8], &Reading) -> Result<Document<'a>, MapError>,
    path: fn(&str) -> Result<Path, String>,
    set: fn(&[u8], &[(String, Change)], &Reading) -> Result<Vec<u8>, MapError>,
    paths: [&'static str; 3],
}

const FORMATS: [Format; 3] = [
    Format { read: json::read, path: json::path, set: json::set, paths: ["$.a", "$[0].b[1]", "$.entry[*].x.y"] },
    Format { read: xml::read, path: xml::path, set: xml::set, paths: ["/a", "/a/b[1]/@c", "/r/b"] },
    Format { read: csv::read, path: csv::path, set: csv::set, paths: ["a", "[0].b", "[1].[2]"] },
];

fuzz_target!(|bytes: &[u8]| {
    let reading = Reading::default();
    for format in &FORMATS {
        let Ok(document) = (format.read)(bytes, &reading) else { continue };
        for written in format.paths {
            let Ok(path) = (format.path)(written) else { continue };
            for node in document.select(0, &path) {
                let _ = document.place(node);
            }
            for change in [Change::Assign("ș\"<;&\n".to_owned()), Change::Clear, Change::Remove] {
                if let Ok(after) = (format.set)(bytes, &[(written.to_owned(), change)], &reading) {
                    assert!((format.read)(&after, &reading).is_ok(), "{written}: what was written can't be read");
                }
            }
        }
    }
    // A path is written by a person, but a script may make one of what came.
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = (json::path(text), xml::path(text), csv::path(text));
    }
});
