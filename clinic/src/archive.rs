//! Questions for the images that are kept here, as formats read them and the store answers them (PS3.4 C, PS3.18 10.6).

use jiff::civil;

use crate::apply::{FindKey, Record};
use crate::diagnostics::Order;
use crate::imaging::{ImagingInstance, ImagingStudy, UID_SYSTEM};
use crate::kinds::{Aggregate, Kind};
use crate::people::{Patient, Practitioner};
use crate::search::{NameQuery, fold};

/// What is told one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Patients of whom there are images.
    Patients,
    /// Studies.
    #[default]
    Studies,
    /// Series.
    Series,
    /// Objects.
    Objects,
}

/// What narrows a question for images before its format looks at each study. What it says nothing of is any.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ArchiveQuestion {
    /// What is told one by one.
    pub level: Level,
    /// Of one of these studies, by UID.
    pub studies: Vec<String>,
    /// Of one of these series, by UID.
    pub series: Vec<String>,
    /// One of these objects, by UID.
    pub objects: Vec<String>,
    /// The accession number.
    pub accession: Option<String>,
    /// Studies with one of these modalities.
    pub modalities: Vec<String>,
    /// A number of the patient.
    pub patient: Option<String>,
    /// How the patient's family name begins.
    pub name: Option<String>,
    /// Studies that began on this day …
    pub from: Option<civil::Date>,
    /// … to this one, included.
    pub to: Option<civil::Date>,
    /// Of each study: how many objects it has.
    pub counts: bool,
    /// Of each study: its objects.
    pub with_objects: bool,
    /// Of each study: the orders that it was made for.
    pub with_orders: bool,
}
crate::value::private!(ArchiveQuestion);

impl ArchiveQuestion {
    /// The keys of the store that narrow the search for studies, one of each list.
    pub fn study_keys(&self) -> Vec<Vec<String>> {
        let uid = |uid: &String| FindKey::system_value(Kind::ImagingStudy, UID_SYSTEM, uid).text;
        let lists = [
            self.studies.iter().map(uid).collect::<Vec<_>>(),
            self.accession
                .iter()
                .map(|number| format!("accession|{number}"))
                .collect(),
            self.modalities
                .iter()
                .map(|modality| format!("modality|{modality}"))
                .collect(),
        ];
        lists.into_iter().filter(|list| !list.is_empty()).collect()
    }

    /// The key of the store that narrows the search for patients: by number, else by name; none: by neither.
    pub fn patient_key(&self) -> Option<String> {
        if let Some(number) = &self.patient {
            return Some(FindKey::value(Kind::Patient, number).text);
        }
        // Less than three letters are the beginning of too many names.
        let name = self
            .name
            .as_deref()
            .filter(|name| 3 <= fold(name).chars().count())?;
        Some(format!("name|{}", NameQuery::new(name)?.key?))
    }

    /// Whether an object can be meant.
    pub fn may_be(&self, object: &ImagingInstance) -> bool {
        let is_named = |list: &[String], uid: Option<&str>| {
            list.is_empty() || uid.is_some_and(|uid| list.iter().any(|named| named == uid))
        };
        is_named(&self.series, object.series_uid.as_deref()) && is_named(&self.objects, object.uid())
    }
}

/// An object that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referenced {
    /// The UID of its class.
    pub class: String,
    /// Its UID.
    pub instance: String,
}

/// Whether an object is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is, with its bytes.
    Here,
    /// It is not.
    Missing,
    /// One of that UID is, of another class.
    OfOtherClass,
}

/// A study that is kept here, with what stands around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptStudy {
    /// The study.
    pub study: Record,
    /// Whose: the record that stays, where several were merged.
    pub patient: Option<Record>,
    /// The records that were merged into it: their numbers and names find the study still.
    pub merged: Vec<Record>,
    /// Who sent the patient.
    pub referrer: Option<Record>,
    /// The orders that it was made for, where they are asked for.
    pub orders: Vec<Record>,
    /// Its objects that can be meant, where they are asked for, by series and number.
    pub objects: Vec<Record>,
    /// How many objects it has, where that is asked.
    pub count: Option<u64>,
}

impl KeptStudy {
    /// A record of a study; none: it is none.
    pub fn of(study: Record) -> Option<Self> {
        matches!(study.aggregate, Aggregate::ImagingStudy(_)).then_some(KeptStudy {
            study,
            patient: None,
            merged: vec![],
            referrer: None,
            orders: vec![],
            objects: vec![],
            count: None,
        })
    }

    /// What the study is.
    pub fn study(&self) -> Option<&ImagingStudy> {
        match &self.study.aggregate {
            Aggregate::ImagingStudy(study) => Some(study),
            _ => None,
        }
    }

    /// Whose it is.
    pub fn patient(&self) -> Option<&Patient> {
        match &self.patient.as_ref()?.aggregate {
            Aggregate::Patient(patient) => Some(patient),
            _ => None,
        }
    }

    /// Those who were merged into them.
    pub fn merged(&self) -> impl Iterator<Item = &Patient> {
        self.merged.iter().filter_map(|record| match &record.aggregate {
            Aggregate::Patient(patient) => Some(&**patient),
            _ => None,
        })
    }

    /// Who sent the patient.
    pub fn referrer(&self) -> Option<&Practitioner> {
        match &self.referrer.as_ref()?.aggregate {
            Aggregate::Practitioner(referrer) => Some(referrer),
            _ => None,
        }
    }

    /// The orders that it was made for.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.iter().filter_map(|record| match &record.aggregate {
            Aggregate::Order(order) => Some(&**order),
            _ => None,
        })
    }

    /// Its objects.
    pub fn objects(&self) -> impl Iterator<Item = &ImagingInstance> {
        self.objects.iter().filter_map(|record| match &record.aggregate {
            Aggregate::ImagingInstance(object) => Some(&**object),
            _ => None,
        })
    }
}
