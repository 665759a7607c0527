//! Questions for patients, for what is planned and for images, as formats read them and stores answer them.

use std::collections::BTreeMap;

use jiff::civil;
use uuid::Uuid;

use crate::apply::{FindKey, Record};
use crate::archive::{ArchiveQuestion, KeptStudy};
use crate::imaging::UID_SYSTEM;
use crate::kinds::Kind;
use crate::people::{LinkKind, Patient, Sex};
use crate::search::{LIVE, NameQuery, SearchKey, fold};
use crate::value::{Identifier, When};

/// The most that one answer names.
pub const MOST: usize = 50;

/// Which patients are asked for. All that is said must hold.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PatientQuestion {
    /// A number, and whose numbers these are (a system, or what an authority is called).
    pub number: Option<(String, Option<String>)>,
    /// How the family name begins.
    pub family: Option<String>,
    /// How a given name begins.
    pub given: Option<String>,
    /// The birth date, or a month or a year of it.
    pub birth: Option<When>,
    /// The sex.
    pub sex: Option<Sex>,
    /// At most so many; none: [`MOST`].
    pub limit: Option<usize>,
}
crate::value::private!(PatientQuestion);

impl PatientQuestion {
    /// True where something is asked that a store can look for: a number or a name.
    pub fn can_be_searched(&self) -> bool {
        !self.keys().is_empty()
    }

    /// What narrows the search: for each thing that is asked, the text of a key of the store.
    pub fn keys(&self) -> Vec<String> {
        let number = self
            .number
            .iter()
            .map(|(value, _)| FindKey::value(Kind::Patient, value).text);
        let names = [("family", &self.family), ("given", &self.given)];
        let names = names.into_iter().filter_map(|(parameter, name)| {
            let query = NameQuery::new(name.as_deref()?)?;
            let key = SearchKey {
                name: parameter,
                text: query.key?,
            };
            Some(format!("{}|{}", key.name, key.text))
        });
        number.chain(names).collect()
    }

    /// Whether this patient is one of them. A record that was merged into another one is nobody's answer.
    pub fn matches(&self, patient: &Patient) -> bool {
        let is_merged = patient.links.iter().any(|link| link.kind == LinkKind::ReplacedBy);
        let number = self.number.as_ref().is_none_or(|(value, authority)| {
            let fits = |id: &Identifier| {
                let of = authority.as_ref().is_none_or(|authority| is_of(id, authority));
                id.value == *value && of
            };
            patient.identifiers.iter().any(fits)
        });
        let name = |asked: &Option<String>, parameter: &str| {
            let query = asked.as_deref().map(NameQuery::new);
            // A name without a letter is nobody's.
            query.is_none_or(|query| query.is_some_and(|query| query.matches(&patient.names, parameter)))
        };
        let birth = self.birth.as_ref().is_none_or(|asked| {
            let known = patient.birth_date.as_ref();
            known.is_some_and(|known| known.date_text().starts_with(asked.date_text()))
        });
        let sex = self.sex.is_none_or(|asked| patient.sex == Some(asked));
        !is_merged && number && name(&self.family, "family") && name(&self.given, "given") && birth && sex
    }

    /// How many are to be named.
    pub fn most(&self) -> usize {
        self.limit.unwrap_or(MOST).min(MOST)
    }
}

/// Whether a number is of an authority, by its system or by what its sender calls it.
pub fn is_of(number: &Identifier, authority: &str) -> bool {
    number.system.as_deref() == Some(authority) || number.assigner.as_deref() == Some(authority)
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which patients are meant.
    Patients(PatientQuestion),
    /// What is planned for the modalities.
    Worklist(WorklistQuestion),
    /// Which images are kept.
    Archive(ArchiveQuestion),
}

impl Question {
    /// The number of a patient that is asked for.
    pub fn number(&self) -> Option<&str> {
        match self {
            Question::Patients(question) => question.number.as_ref().map(|(number, _)| number.as_str()),
            Question::Worklist(question) => question.patient.as_deref(),
            Question::Archive(question) => question.patient.as_deref(),
        }
    }
}

impl From<PatientQuestion> for Question {
    fn from(question: PatientQuestion) -> Self {
        Question::Patients(question)
    }
}

/// What was found: what is asked for, and what stands around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The patients, or the orders of a worklist.
    pub records: Vec<Record>,
    /// Of a worklist: whose they are, who asked for them, appointments and visits.
    pub around: BTreeMap<Uuid, Record>,
    /// Of a question for images: the studies, with what stands around each.
    pub studies: Vec<KeptStudy>,
}

impl Found {
    /// The patients among all of it.
    pub fn patients(&self) -> impl Iterator<Item = &Record> {
        let of_studies = self.studies.iter().filter_map(|kept| kept.patient.as_ref());
        let all = self.records.iter().chain(self.around.values()).chain(of_studies);
        all.filter(|record| record.aggregate.kind() == Kind::Patient)
    }
}

/// What narrows a question for planned steps before its format looks at each of them. What it says nothing of is any.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WorklistQuestion {
    /// From which day …
    pub from: Option<civil::Date>,
    /// … to which, included.
    pub to: Option<civil::Date>,
    /// The modalities as DICOM codes them, any of them; empty: all.
    pub modalities: Vec<String>,
    /// The AE titles of the stations, any of them; empty: all.
    pub stations: Vec<String>,
    /// A number of the patient.
    pub patient: Option<String>,
    /// How the patient's name begins.
    pub name: Option<String>,
    /// The accession number.
    pub accession: Option<String>,
    /// The UID of the study.
    pub study: Option<String>,
}
crate::value::private!(WorklistQuestion);

impl WorklistQuestion {
    /// The keys of the store by which the order is found that has the number which is asked for; none: no number of an
    /// order is asked for.
    pub fn order_keys(&self) -> Option<Vec<Vec<String>>> {
        let study = self.study.as_ref();
        let study = study.map(|study| FindKey::system_value(Kind::Order, UID_SYSTEM, study).text);
        let accession = self.accession.as_ref();
        let accession = accession.map(|accession| format!("accession|{accession}"));
        let mut keys: Vec<Vec<String>> = study.into_iter().chain(accession).map(|key| vec![key]).collect();
        if keys.is_empty() {
            return None;
        }
        keys.push(vec![format!("imaging|{LIVE}")]);
        Some(keys)
    }

    /// The key of the store that narrows the search for patients by their name; none: the name says too little.
    pub fn name_key(&self) -> Option<String> {
        let name = self
            .name
            .as_deref()
            .filter(|name| 3 <= fold(name).chars().count())?;
        let query = NameQuery::new(name)?;
        Some(format!("name|{}", query.key?))
    }
}
