//! What a simulated PACS holds: a folder of files, and what it tells of them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use mappings::dicom::charset::Fallback;
use mappings::dicom::dataset::DataSet;
use mappings::dicom::matching;
use mappings::dicom::part10::File;
use mappings::dicom::write::{Out, Said};

use super::step::at;
use super::text;

/// What comes before the pixels of an object is looked for in so much of it.
const BEGINNING: u64 = 1 << 20;

/// What is told at each level (PS3.4 C.6.1.1, C.6.2.1): its keys, the one that tells them apart first.
const LEVELS: [(&str, &[&str]); 4] = [
    (
        "PATIENT",
        &["PatientID", "PatientName", "PatientBirthDate", "PatientSex"],
    ),
    (
        "STUDY",
        &[
            "StudyInstanceUID",
            "StudyDate",
            "StudyTime",
            "AccessionNumber",
            "StudyID",
            "StudyDescription",
            "ReferringPhysicianName",
        ],
    ),
    (
        "SERIES",
        &[
            "SeriesInstanceUID",
            "Modality",
            "SeriesNumber",
            "SeriesDescription",
            "BodyPartExamined",
        ],
    ),
    ("IMAGE", &["SOPInstanceUID", "SOPClassUID", "InstanceNumber"]),
];

/// An object, by the keys of all levels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object(BTreeMap<&'static str, String>);

impl Object {
    fn read(set: &DataSet<'_>) -> Object {
        let keys = LEVELS.iter().flat_map(|(_, keys)| *keys);
        Object(keys.map(|key| (*key, at(set, key))).collect())
    }

    /// What it says of a key.
    pub fn get(&self, key: &str) -> &str {
        self.0.get(key).map(String::as_str).unwrap_or_default()
    }
}

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is new here.
    New(Object),
    /// It was here, byte by byte.
    Same,
    /// Another one was here by its UID, and stays.
    Other,
    /// It can't be read.
    Unreadable(String),
}

/// A folder of objects.
pub struct Shelf {
    folder: PathBuf,
    objects: Mutex<BTreeMap<String, Object>>,
}

/// An object that arrives: it has another name until it is whole.
pub struct Arriving {
    file: std::io::BufWriter<std::fs::File>,
    part: PathBuf,
    instance: String,
    begins: usize,
}

impl Drop for Arriving {
    fn drop(&mut self) {
        // Taken up, it has another name.
        let _ = std::fs::remove_file(&self.part);
    }
}

impl Arriving {
    /// The next part of its data set.
    pub fn write(&mut self, part: &[u8]) -> std::io::Result<()> {
        self.file.write_all(part)
    }
}

impl Shelf {
    /// Makes the folder where it is not there, and reads what lies in it.
    pub fn open(folder: &Path) -> anyhow::Result<Shelf> {
        std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
        let mut objects = BTreeMap::new();
        for entry in
            std::fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))?
        {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "dcm")
                && let Ok(object) = object(&path)
            {
                objects.insert(object.get("SOPInstanceUID").to_owned(), object);
            }
        }
        Ok(Shelf {
            folder: folder.to_owned(),
            objects: Mutex::new(objects),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The UIDs of what it holds.
    pub fn instances(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// It holds this one.
    pub fn has(&self, instance: &str) -> bool {
        self.lock().contains_key(instance)
    }

    /// Begins an object: its UID, and the file up to its data set.
    pub fn begin(&self, instance: &str, head: &[u8]) -> std::io::Result<Arriving> {
        let part = self.folder.join(format!(".{}.part", uuid::Uuid::now_v7()));
        let mut file = std::io::BufWriter::new(std::fs::File::create(&part)?);
        file.write_all(head)?;
        Ok(Arriving {
            file,
            part,
            instance: instance.to_owned(),
            begins: head.len(),
        })
    }

    /// Takes an object up that has come whole.
    pub fn put(&self, mut arriving: Arriving) -> std::io::Result<Put> {
        arriving.file.flush()?;
        let object = match object(&arriving.part) {
            Ok(object) => object,
            Err(why) => return Ok(Put::Unreadable(format!("{why:#}"))),
        };
        if object.get("SOPInstanceUID") != arriving.instance {
            return Ok(Put::Unreadable(
                "the UID of the object is not that of its command".to_owned(),
            ));
        }
        let place = self.folder.join(format!("{}.dcm", arriving.instance));
        let mut objects = self.lock();
        if objects.contains_key(&arriving.instance) {
            // What stands before the data set says who sent it.
            let came = std::fs::read(&arriving.part)?.split_off(arriving.begins);
            return Ok(match std::fs::read(&place)?.ends_with(&came) {
                true => Put::Same,
                false => Put::Other,
            });
        }
        std::fs::rename(&arriving.part, &place)?;
        objects.insert(arriving.instance.clone(), object.clone());
        Ok(Put::New(object))
    }

    /// What it holds that answers a question (PS3.4 C.4.1), and whether some of the keys are not known here. None: no
    /// level that is known.
    pub fn find(&self, query: &DataSet<'_>) -> Option<(Vec<Out>, bool)> {
        let level = at(query, "QueryRetrieveLevel");
        let depth = LEVELS.iter().position(|(name, _)| *name == level)?;
        let mut groups: BTreeMap<&str, Vec<&Object>> = BTreeMap::new();
        let objects = self.lock();
        for object in objects.values() {
            groups
                .entry(object.get(LEVELS[depth].1[0]))
                .or_default()
                .push(object);
        }
        let entries: Vec<Out> = groups.values().map(|objects| entry(depth, objects)).collect();
        let partly = matching::is_partly(query, &entry(depth, &[&Object::default()]));
        let found = entries.iter().filter(|entry| matching::matches(query, entry));
        let told = found.map(|entry| {
            let mut told = matching::told(query, entry);
            text(&mut told, "QueryRetrieveLevel", &level);
            told
        });
        Some((told.collect(), partly))
    }
}

/// What is told of objects that are one patient, study, series or image.
fn entry(depth: usize, objects: &[&Object]) -> Out {
    let mut out = Out::default();
    let Some(first) = objects.first() else { return out };
    for key in LEVELS[..=depth].iter().flat_map(|(_, keys)| *keys) {
        text(&mut out, key, first.get(key));
    }
    let different = |key: &str| {
        let mut values: Vec<String> = objects.iter().map(|object| object.get(key).to_owned()).collect();
        values.sort();
        values.dedup();
        values
    };
    let count = |key: &str| different(key).len().to_string();
    match LEVELS[depth].0 {
        "PATIENT" => {
            text(
                &mut out,
                "NumberOfPatientRelatedStudies",
                &count("StudyInstanceUID"),
            );
            text(
                &mut out,
                "NumberOfPatientRelatedSeries",
                &count("SeriesInstanceUID"),
            );
            text(
                &mut out,
                "NumberOfPatientRelatedInstances",
                &count("SOPInstanceUID"),
            );
        }
        "STUDY" => {
            out.put("ModalitiesInStudy", Said::Texts(different("Modality")));
            text(
                &mut out,
                "NumberOfStudyRelatedSeries",
                &count("SeriesInstanceUID"),
            );
            text(
                &mut out,
                "NumberOfStudyRelatedInstances",
                &count("SOPInstanceUID"),
            );
        }
        "SERIES" => text(
            &mut out,
            "NumberOfSeriesRelatedInstances",
            &count("SOPInstanceUID"),
        ),
        _ => {}
    }
    out
}

fn object(path: &Path) -> anyhow::Result<Object> {
    let mut beginning = vec![];
    std::fs::File::open(path)?
        .take(BEGINNING)
        .read_to_end(&mut beginning)?;
    let file = File::read(&beginning)?;
    Ok(Object::read(&file.data_set(Fallback::default())?))
}
