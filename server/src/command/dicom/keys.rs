//! The keys of a question, as they are written on the command line.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use mappings::dicom::charset::{Set, Shows};
use mappings::dicom::matching::{dates, times};
use mappings::dicom::names;
use mappings::dicom::part10::packing;
use mappings::dicom::write::{Out, Said};

/// A key's value, or what is asked for inside an item.
#[derive(Debug, PartialEq, Eq)]
enum Key {
    Value(String),
    Item(Keys),
}

/// By the name that the standard's dictionary has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<String, Key>);

impl Keys {
    /// `PatientName`, `0010,0010`, `ScheduledProcedureStepSequence.Modality`, with `[0]` behind a sequence or without.
    pub fn add(&mut self, path: &str, value: &str) -> anyhow::Result<()> {
        let (first, rest) = match path.split_once('.') {
            Some((first, rest)) => (first, Some(rest)),
            None => (path, None),
        };
        let first = first.strip_suffix("[0]").unwrap_or(first);
        let tag = names::by_keyword(first).or_else(|| names::by_number(first));
        let tag = tag.with_context(|| {
            format!("-k {path}: the standard knows no {first:?}; write a name such as PatientID, or a number such as 0010,0020")
        })?;
        let (name, kind) = (names::name(tag), names::vr(tag).to_string());
        if names::by_keyword(&name).is_none() {
            bail!("-k {path}: the standard has no name for {name}, so that it can't be asked for");
        }
        match (kind, rest) {
            ("SQ", Some(rest)) => match self.0.entry(name).or_insert_with(|| Key::Item(Keys::default())) {
                Key::Item(keys) => keys.add(rest, value),
                Key::Value(_) => bail!("-k {path}: {first} is asked for as a whole already"),
            },
            ("SQ", None) if value.is_empty() => {
                self.0.entry(name).or_insert_with(|| Key::Item(Keys::default()));
                Ok(())
            }
            ("SQ", None) => {
                bail!("-k {path}: {first} is a sequence; name what is in it: {first}.Modality=CT")
            }
            (_, Some(_)) => bail!("-k {path}: {first} is no sequence, nothing is in it"),
            (
                "OB" | "OW" | "OF" | "OD" | "OL" | "UN" | "AT" | "FL" | "FD" | "SL" | "SS" | "UL" | "US",
                None,
            ) if !value.is_empty() => {
                bail!("-k {path}: a value of kind {kind} can't be asked for; write the key without it")
            }
            // Who answers takes what can't be read for a question for everything.
            ("DA", None) if !value.is_empty() && value != "*" && dates(&[value.to_owned()]).is_none() => {
                bail!(
                    "-k {path}: {value:?} is no day; write 20261127, or 20261127-20261130 for all from one to another"
                )
            }
            ("TM", None) if !value.is_empty() && value != "*" && times(&[value.to_owned()]).is_none() => {
                bail!("-k {path}: {value:?} is no time; write 0800, or 0800-1200 for all from one to another")
            }
            (_, None) => {
                self.0.insert(name, Key::Value(value.to_owned()));
                Ok(())
            }
        }
    }

    /// As it is sent.
    pub fn written(&self, syntax: &str) -> anyhow::Result<Vec<u8>> {
        let mut out = self.out();
        let set = out.choose(&Shows::up_to(Set::Utf8));
        Ok(out.written(packing(syntax).coding, set))
    }

    fn out(&self) -> Out {
        let mut out = Out::default();
        for (name, key) in &self.0 {
            let said = match key {
                Key::Value(value) if value.is_empty() => Said::Texts(vec![]),
                Key::Value(value) => Said::Texts(value.split('\\').map(str::to_owned).collect()),
                Key::Item(keys) => Said::Items(vec![keys.out()]),
            };
            out.put(name, said);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_as_the_standard_does() {
        let mut keys = Keys::default();
        for (path, value) in [
            ("PatientName", "POP*"),
            ("0010,0020", "7"),
            ("ScheduledProcedureStepSequence.Modality", "CT"),
            ("ScheduledProcedureStepSequence[0].ScheduledStationAETitle", "CT1"),
            ("NumberOfStudyRelatedInstances", ""),
            ("StudyDate", "20261101-"),
            ("StudyTime", "08-12"),
        ] {
            keys.add(path, value).expect("a key");
        }
        let bytes = keys.written(dimse::uids::IMPLICIT_LITTLE).expect("a question");
        let shown =
            super::super::shown::match_as_text(&bytes, dimse::uids::IMPLICIT_LITTLE).expect("readable");
        let lines: Vec<&str> = shown.lines().map(str::trim).collect();
        for line in [
            "PatientName: POP*",
            "PatientID: 7",
            "Modality: CT",
            "ScheduledStationAETitle: CT1",
        ] {
            assert!(lines.contains(&line), "{shown}");
        }
        for (wrong, value) in [
            ("PatientNmae", ""),
            ("PatientName.Modality", ""),
            ("ScheduledProcedureStepSequence", "CT"),
            ("Rows", "512"),
            ("StudyDate", "tomorrow"),
            ("StudyDate", "20261301"),
            (
                "ScheduledProcedureStepSequence.ScheduledProcedureStepStartDate",
                "2026-11-27",
            ),
            ("StudyTime", "noon"),
            ("0009,1001", ""),
            ("", ""),
        ] {
            assert!(keys.add(wrong, value).is_err(), "{wrong}");
        }
    }
}
