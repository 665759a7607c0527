//! Questions for patients, as formats read them and stores answer them.

use crate::apply::FindKey;
use crate::kinds::Kind;
use crate::people::{LinkKind, Patient, Sex};
use crate::search::{NameQuery, SearchKey};
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
                text: query.text,
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
