//! Any bytes as a DICOM message, and as the data set of one in each coding: walked, read, decoded, asked and answered.

#![no_main]

use std::io::Cursor;

use clinic::ask::Found;
use clinic::exchange::{Stamp, Verdict};
use libfuzzer_sys::fuzz_target;
use mappings::dicom::charset::Fallback;
use mappings::dicom::message::{inspect, keys};
use mappings::dicom::part10::{File, Meta};
use mappings::dicom::path::Path;
use mappings::dicom::scan::Until;
use mappings::dicom::report::Report;
use mappings::dicom::{Device, Profile, behind, decode, document, is_enough, json, reply, worklist};

/// Transfer syntaxes: implicit, explicit, big endian, deflated.
const SYNTAXES: [&str; 4] = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"];

fuzz_target!(|bytes: &[u8]| {
    message(bytes);
    let Some((first, data)) = bytes.split_first() else { return };
    let meta = Meta {
        class: "1.2.840.10008.5.1.4.31".to_owned(),
        instance: "1.2.3".to_owned(),
        syntax: SYNTAXES[usize::from(first % 4)].to_owned(),
        // A question, a beginning or an end of a step, or an object.
        command: match first / 4 % 4 {
            0 => None,
            1 => Some(command(0x20, "1.2.840.10008.5.1.4.31")),
            2 => Some(command(0x0140, "1.2.840.10008.3.1.2.3.3")),
            _ => Some(command(0x0120, "1.2.840.10008.3.1.2.3.3")),
        },
        ..Meta::default()
    };
    message(&[meta.written(), data.to_vec()].concat());
});

fn command(field: u16, class: &str) -> Vec<u8> {
    let mut class = class.as_bytes().to_vec();
    class.resize(class.len().next_multiple_of(2), 0);
    [
        &[0, 0, 2, 0][..],
        &(class.len() as u32).to_le_bytes(),
        &class,
        &[0, 0, 0, 1, 2, 0, 0, 0],
        &field.to_le_bytes(),
        &[0, 0, 0, 0x10, 6, 0, 0, 0],
        b"1.2.3\0",
    ]
    .concat()
}

fn message(bytes: &[u8]) {
    let profile = Profile { device: Device::named(["iso-8859-2"]), ..Profile::default() };
    let _ = keys(bytes);
    let _ = is_enough(bytes);
    let _ = reply::reply(bytes, Verdict::Accepted);
    let whole = inspect(bytes, Until::End);
    let begun = inspect(bytes, Until::Pixels);
    assert!(whole.is_err() || begun.is_ok(), "what is whole has a beginning");
    if let Ok(set) = decode(bytes, &profile) {
        assert!(serde_json::to_vec(&set).is_ok());
    }
    if let Some(Ok(_)) = worklist::question(bytes, &profile) {
        let stamp = Stamp { now: jiff::Timestamp::UNIX_EPOCH, id: uuid::Uuid::nil() };
        let answers = worklist::answer(bytes, Ok(&Found::default()), &profile, &stamp);
        assert!(!answers.frames.is_empty());
    }
    let Ok(file) = File::read(bytes) else { return };
    let Ok(mut set) = file.data_set(Fallback::default()) else { return };
    if let Ok(Some(from)) = behind::begins(bytes, &mut Cursor::new(bytes)) {
        let rest = usize::try_from(from).ok().and_then(|from| bytes.get(from..)).unwrap_or_default();
        let _ = set.add_behind(rest, file.coding(), Fallback::default());
    }
    let _ = behind::losses(bytes, &mut Cursor::new(bytes), bytes.len() as u64, Fallback::default());
    let report = Report::of(&set);
    assert!(report.html().len() >= report.title.len() && !report.plain().is_empty());
    let _ = document::document(&set);
    let _ = json::referring(&set, 16, &str::to_owned);
    for element in &set.elements {
        let _ = (set.values(element), set.shown(element), set.doubt(element));
    }
    if let Ok(path) = "0040,0100.0008,0060".parse::<Path>() {
        let _ = path.values(&set);
    }
}
