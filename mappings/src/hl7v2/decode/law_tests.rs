//! What holds for every sample of orders, results and appointments.

use super::said::{day, of_kind, sample};
use super::{Profile, decode};

#[test]
fn every_sample_is_read_and_no_reference_leads_nowhere() {
    let folder = format!("{}/../samples/hl7v2", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the samples") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default()
            .to_owned();
        if !["siu-", "orm-", "oml-", "omi-", "oru-"]
            .iter()
            .any(|kind| name.starts_with(kind))
        {
            continue;
        }
        count += 1;
        let said = sample(&name);
        let keys: Vec<&str> = said
            .set
            .changes
            .iter()
            .map(|change| change.key.as_str())
            .collect();
        for change in &said.set.changes {
            use clinic::Refs;
            change.say.refs(&mut |reference| {
                if let clinic::value::Ref::Local(key) = reference {
                    assert!(keys.contains(&key.as_str()), "{name}: {key} of {}", change.key);
                }
            });
        }
        let unique: std::collections::BTreeSet<&&str> = keys.iter().collect();
        assert_eq!(unique.len(), keys.len(), "{name}: each key once");
        if std::env::var("SHOW").is_ok_and(|show| name.contains(&show)) {
            println!(
                "{name}\n{}",
                serde_json::to_string_pretty(&said.json["changes"]).expect("JSON")
            );
            println!(
                "{}",
                serde_json::to_string_pretty(&said.json["about"]["acts"]).expect("JSON")
            );
            for extra in &said.set.extra {
                println!(
                    "{name} {} = {} {}",
                    extra.place,
                    extra.value,
                    extra.note.as_deref().unwrap_or_default()
                );
            }
        }
    }
    assert!(count >= 20, "{count} samples");
}

/// Each segment of each sample taken away, and each field cut: nothing panics, whatever comes of it.
#[test]
fn damaged_samples_never_panic() {
    let folder = format!("{}/../samples/hl7v2", env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(folder).expect("the samples") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a sample");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let segments: Vec<&str> = text.split('\r').filter(|segment| !segment.is_empty()).collect();
        for idx in 0..segments.len() {
            let without = segments
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != idx)
                .map(|(_, s)| *s);
            let _ = decode(
                without.collect::<Vec<_>>().join("\r").as_bytes(),
                &Profile::default(),
            );
            let reversed = segments.iter().take(1).chain(segments.iter().skip(1).rev());
            let _ = decode(
                reversed.copied().collect::<Vec<_>>().join("\r").as_bytes(),
                &Profile::default(),
            );
            let mut cut = segments.clone();
            let swapped = segments[idx].replace('^', "&").replace('~', "^");
            cut[idx] = &swapped;
            let _ = decode(cut.join("\r").as_bytes(), &Profile::default());
        }
    }
}

/// Every field of every sample blanked: the change set or what it could not place changes.
#[test]
fn no_field_is_dropped_in_silence() {
    // Fields that say what another one says too, blanked with their twin.
    const TWINS: &[(&str, usize, &str, usize)] = &[
        ("ORC", 2, "OBR", 2),
        ("ORC", 3, "OBR", 3),
        ("ORC", 8, "OBR", 29),
        ("ORC", 12, "OBR", 16),
        ("ORC", 14, "OBR", 17),
        ("ORC", 7, "OBR", 27),
        ("ORC", 33, "OBR", 53),
        ("SCH", 25, "AIS", 10),
        ("IPC", 1, "IPC", 1),
        ("IPC", 2, "IPC", 2),
        ("IPC", 3, "IPC", 3),
    ];
    let folder = format!("{}/../samples/hl7v2", env!("CARGO_MANIFEST_DIR"));
    let mut silent = vec![];
    for entry in std::fs::read_dir(folder).expect("the samples") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default()
            .to_owned();
        if !["siu-", "orm-", "oml-", "omi-", "oru-"]
            .iter()
            .any(|kind| name.starts_with(kind))
        {
            continue;
        }
        let bytes = std::fs::read(&path).expect("a sample");
        let message = super::Message::read(&bytes).expect("a message");
        let text = message.text().to_owned().replace("8859/2", "UNICODE UTF-8");
        let outcome = |text: &str| {
            decode(text.as_bytes(), &Profile::default())
                .map(|set| serde_json::to_string(&set).expect("JSON"))
                .map_err(|e| e.to_string())
        };
        let whole = outcome(&text);
        let segments: Vec<Vec<&str>> = text
            .split('\r')
            .filter(|s| !s.is_empty())
            .map(|s| s.split('|').collect())
            .collect();
        for (at, fields) in segments.iter().enumerate() {
            let header = fields[0] == "MSH";
            for number in 1..fields.len() {
                if fields[number].is_empty() || header && number < 2 {
                    continue;
                }
                let mut changed = segments.clone();
                changed[at][number] = "";
                for (one, one_field, other, other_field) in TWINS {
                    let twin = if fields[0] == *one && number == *one_field {
                        Some((*other, *other_field))
                    } else if fields[0] == *other && number == *other_field {
                        Some((*one, *one_field))
                    } else {
                        None
                    };
                    let Some((segment, field)) = twin else { continue };
                    // The services of an appointment stand far behind it, behind the patient.
                    let reach = if matches!(segment, "SCH" | "AIS") {
                        segments.len()
                    } else {
                        2
                    };
                    let start = at.saturating_sub(reach);
                    for near in changed.iter_mut().take(at + reach + 1).skip(start) {
                        if near[0] == segment && near.get(field) == Some(&fields[number]) {
                            near[field] = "";
                        }
                    }
                }
                let blanked = changed
                    .iter()
                    .map(|fields| fields.join("|"))
                    .collect::<Vec<_>>()
                    .join("\r")
                    + "\r";
                if outcome(&blanked) == whole {
                    silent.push(format!(
                        "{name}: {}[{at}]-{}",
                        fields[0],
                        number + usize::from(header)
                    ));
                }
            }
        }
    }
    assert!(silent.is_empty(), "nothing changes without {silent:#?}");
}

#[test]
fn every_sample_of_the_day_can_be_applied() {
    let clinic = day(&[
        "siu-s12-rich",
        "siu-s13-moved",
        "siu-s15-cancelled",
        "siu-s26-absent",
        "siu-s17-deleted",
        "oml-o21-rich",
        "orm-o01-imaging-v23",
        "orm-o01-cancel",
        "orm-o01-unable",
        "orm-o01-medication",
        "oru-r01-rich",
        "oru-r01-correction",
        "oru-r01-micro",
        "oru-r01-pdf",
        "oru-r01-text-report",
        "oru-r01-odd-values",
        "oru-r01-v23",
        "oru-r01-two-patients",
        "oru-r30-bedside",
    ]);
    let imaging = of_kind(&clinic, clinic::Kind::Order);
    let cancelled = imaging
        .iter()
        .find(|o| o["identifiers"].to_string().contains("C-9100"))
        .expect("the order");
    assert_eq!(cancelled["status"], "revoked", "UC moves nothing back");
}
