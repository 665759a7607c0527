//! Looks for what may stand nowhere: names, numbers and results, in every form in which they might lie somewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use base64::Engine;

use crate::collect;

/// Every form of every secret.
pub struct Grep {
    /// Each with what it is called.
    needles: BTreeMap<Vec<u8>, String>,
}

impl Grep {
    /// Of these.
    pub fn new(secrets: &[&str]) -> Self {
        let needles = secrets
            .iter()
            .flat_map(|secret| {
                let named = move |(form, bytes): (String, Vec<u8>)| (format!("{secret:?} ({form})"), bytes);
                forms(secret).into_iter().map(named)
            })
            // Small letters or capitals are all the same.
            .map(|(name, bytes)| (bytes.to_ascii_lowercase(), name))
            .collect::<BTreeMap<_, _>>();
        Grep { needles }
    }

    /// Which of them stand in these bytes, which lie at a place of this name.
    pub fn find(&self, place: &str, bytes: &[u8]) -> Vec<String> {
        let bytes = bytes.to_ascii_lowercase();
        // By the first two bytes, so that much is read once.
        let mut at: Vec<Vec<(&[u8], &str)>> = vec![vec![]; 1 << 16];
        for (needle, name) in &self.needles {
            if let [first, second, ..] = needle.as_slice() {
                at[usize::from(*first) << 8 | usize::from(*second)].push((needle, name));
            }
        }
        let mut found = vec![];
        for (start, pair) in bytes.windows(2).enumerate() {
            for (needle, name) in &at[usize::from(pair[0]) << 8 | usize::from(pair[1])] {
                if bytes[start..].starts_with(needle) {
                    found.push(format!("{name} in {place}"));
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// Which of them stand in a folder: in the files and in their names.
    pub fn folder(&self, folder: &Path) -> Result<Vec<String>> {
        let mut files: Vec<PathBuf> = vec![];
        collect(folder, &mut files)?;
        let mut found = vec![];
        for file in files {
            let name = file.strip_prefix(folder)?.display().to_string();
            found.extend(self.find(&name, name.as_bytes()));
            found.extend(self.find(&name, &std::fs::read(&file)?));
        }
        Ok(found)
    }

    /// Shows that it is not blind: each form is found where it does stand, in bytes and in a file of this folder.
    pub fn finds_what_is_planted(&self, folder: &Path) -> Result<()> {
        for (bytes, form) in &self.needles {
            let found = self.find("here", &[&b"before"[..], bytes, b"after"].concat());
            ensure!(!found.is_empty(), "{form} was not found");
        }
        std::fs::create_dir_all(folder)?;
        let planted = folder.join("planted");
        let some = self.needles.len().div_ceil(8).max(1);
        for (bytes, form) in self.needles.iter().step_by(some) {
            std::fs::write(&planted, [&b"\x00before"[..], bytes, b"after\xff"].concat())?;
            let found = self.folder(folder)?;
            ensure!(!found.is_empty(), "{form} was not found in a file");
        }
        Ok(std::fs::remove_file(planted)?)
    }
}

/// A text in every form in which it might lie somewhere, each with what it is called.
fn forms(text: &str) -> Vec<(String, Vec<u8>)> {
    let folded = |map: &[(char, char)]| -> String {
        text.chars()
            .map(|letter| {
                map.iter()
                    .find(|(known, _)| *known == letter)
                    .map_or(letter, |(_, to)| *to)
            })
            .collect()
    };
    let plain = folded(&[
        ('ă', 'a'),
        ('â', 'a'),
        ('î', 'i'),
        ('ș', 's'),
        ('ş', 's'),
        ('ț', 't'),
        ('ţ', 't'),
        ('Ș', 'S'),
    ]);
    let cedilla = folded(&[('ș', 'ş'), ('ț', 'ţ'), ('Ș', 'Ş')]);
    let comma = folded(&[('ş', 'ș'), ('ţ', 'ț')]);
    let utf_16 = |text: &str| {
        text.encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect::<Vec<u8>>()
    };
    let mut raw: Vec<(String, Vec<u8>)> = vec![
        ("utf-8".into(), text.as_bytes().to_vec()),
        ("without marks".into(), plain.into_bytes()),
        ("with cedillas".into(), cedilla.clone().into_bytes()),
        ("with commas".into(), comma.clone().into_bytes()),
        ("8859-2 or 1250".into(), with(&cedilla, LATIN_2)),
        ("8859-16".into(), with(&comma, LATIN_10)),
        ("utf-16".into(), utf_16(text)),
    ];
    let escaped: String = text
        .chars()
        .map(|letter| match letter.is_ascii() {
            true => letter.to_string(),
            false => format!("\\u{:04x}", u32::from(letter)),
        })
        .collect();
    raw.push(("escaped for JSON".into(), escaped.into_bytes()));
    let lower = text.to_lowercase().into_bytes();
    raw.push(("in small letters".into(), lower));
    let mut all = vec![];
    for (name, bytes) in raw {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        all.push((format!("{name}, hex"), hex.into_bytes()));
        let percent: String = bytes
            .iter()
            .map(|byte| match byte.is_ascii_alphanumeric() {
                true => char::from(*byte).to_string(),
                false => format!("%{byte:02X}"),
            })
            .collect();
        all.push((format!("{name}, in percents"), percent.into_bytes()));
        // As the program would show bytes by mistake.
        let escaped = bytes.escape_ascii().to_string();
        all.push((format!("{name}, escaped"), escaped.into_bytes()));
        let listed: Vec<String> = bytes.iter().map(u8::to_string).collect();
        all.push((format!("{name}, as a list"), listed.join(", ").into_bytes()));
        // At each of the three places of Base64, without the letters that its neighbours share.
        for shift in 0..3 {
            let padded = [&b"xxx"[..shift], &bytes].concat();
            let coded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&padded);
            let from = (shift * 8).div_ceil(6);
            let to = padded.len() * 8 / 6;
            if let Some(core) = coded.get(from..to)
                && 8 <= core.len()
            {
                all.push((format!("{name}, Base64"), core.as_bytes().to_vec()));
            }
        }
        all.push((name, bytes));
    }
    all
}

/// One byte for each letter beyond ASCII.
pub fn with(text: &str, table: &[(char, u8)]) -> Vec<u8> {
    text.chars()
        .map(|letter| match table.iter().find(|(known, _)| *known == letter) {
            Some((_, byte)) => *byte,
            None => u8::try_from(letter).unwrap_or(b'?'),
        })
        .collect()
}

/// Of Romanian, with cedillas.
pub const LATIN_2: &[(char, u8)] = &[('ă', 0xE3), ('â', 0xE2), ('î', 0xEE), ('ş', 0xBA), ('ţ', 0xFE)];
/// Of Romanian, with commas.
pub const LATIN_10: &[(char, u8)] = &[('ă', 0xE3), ('â', 0xE2), ('î', 0xEE), ('ș', 0xBA), ('ț', 0xFE)];
