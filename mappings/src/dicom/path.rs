//! Paths to values, as channel files write them: `PatientName`, `0010,0010`,
//! `ScheduledProcedureStepSequence[0].Modality`, `0040,0100.0008,0060`. Without a number in brackets a sequence stands
//! for all its items. `0002,…` and `0000,…` are the meta header and the command of the message.

use std::str::FromStr;

use dicom_core::Tag;

use super::dataset::DataSet;
use super::names;

/// A path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    steps: Vec<(Tag, Option<usize>)>,
    last: Tag,
}

/// The longest path.
const MAX_STEPS: usize = 16;

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut steps = vec![];
        for part in text.split('.') {
            let (name, item) = match part.split_once('[') {
                Some((name, rest)) => {
                    let number = rest.strip_suffix(']').and_then(|number| number.parse().ok());
                    let Some(number) = number else {
                        return Err(format!(
                            "`{part}` has no number of an item in its brackets; write `[0]`"
                        ));
                    };
                    (name, Some(number))
                }
                None => (part, None),
            };
            let Some(tag) = names::by_number(name).or_else(|| names::by_keyword(name)) else {
                return Err(format!(
                    "`{name}` is no tag; write `0010,0010` or its name in the dictionary (`PatientName`)"
                ));
            };
            steps.push((tag, item));
        }
        if MAX_STEPS < steps.len() {
            return Err(format!("a path has at most {MAX_STEPS} parts"));
        }
        match steps.pop() {
            Some((last, None)) => Ok(Path { steps, last }),
            _ => Err("the last part of a path is a value, not an item".to_owned()),
        }
    }
}

impl Path {
    /// The group of its first tag.
    pub fn group(&self) -> u16 {
        self.steps.first().map_or(self.last.0, |(tag, _)| tag.0)
    }

    /// Its only tag, where it leads into no sequence.
    pub fn tag(&self) -> Option<Tag> {
        self.steps.is_empty().then_some(self.last)
    }

    /// The tag that it ends at.
    pub fn last(&self) -> Tag {
        self.last
    }

    /// Whether it leads into items of this sequence.
    pub fn leads_through(&self, tag: Tag) -> bool {
        self.steps.iter().any(|(step, _)| *step == tag)
    }

    /// Whether a tag within these items is what it leads to.
    pub fn is(&self, within: &[(Tag, usize)], tag: Tag) -> bool {
        self.last == tag && self.steps.len() == within.len() && self.steps.iter().zip(within).all(fits)
    }

    /// Whether a value can be put there: the items that it leads into are there or are made ([`Path::made`]), or it is about all items
    /// of a sequence that has none.
    pub fn can_be_in(&self, set: &DataSet<'_>) -> bool {
        let missing = (1..=self.steps.len()).find(|count| sets(&self.steps[..*count], set).is_empty());
        let Some(count) = missing else { return true };
        let rest = &self.steps[count - 1..];
        matches!(rest, [(_, None), ..]) || rest.iter().all(|(_, item)| *item == Some(0))
    }

    /// The sequences that it leads into from an item that is there and that have no items: each gets its first one, where it is that one
    /// that it names.
    pub fn made(&self, within: &[(Tag, usize)], set: &DataSet<'_>) -> Option<Vec<Tag>> {
        let (before, rest) = self.steps.split_at_checked(within.len())?;
        let is_made = before.iter().zip(within).all(fits)
            && rest.iter().all(|(_, item)| *item == Some(0))
            && set.items(rest.first()?.0).is_empty();
        is_made.then(|| rest.iter().map(|(tag, _)| *tag).collect())
    }

    /// All values there.
    pub fn values(&self, set: &DataSet<'_>) -> Vec<String> {
        let sets = sets(&self.steps, set);
        let texts = sets.iter().flat_map(|set| set.texts(self.last));
        texts.filter(|text| !text.is_empty()).collect()
    }
}

/// Whether a step of a path leads into this item of a sequence.
fn fits(((step, item), (tag, number)): (&(Tag, Option<usize>), &(Tag, usize))) -> bool {
    step == tag && item.is_none_or(|item| item == *number)
}

/// The sets, or items, that steps lead into.
fn sets<'s, 'a>(steps: &[(Tag, Option<usize>)], set: &'s DataSet<'a>) -> Vec<&'s DataSet<'a>> {
    let mut sets = vec![set];
    for (tag, item) in steps {
        sets = sets
            .iter()
            .flat_map(|set| {
                let items = set.items(*tag);
                match item {
                    Some(number) => items.get(*number..=*number).unwrap_or_default(),
                    None => items,
                }
            })
            .collect();
    }
    sets
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (tag, item) in &self.steps {
            f.write_str(&names::place(*tag))?;
            if let Some(item) = item {
                write!(f, "[{item}]")?;
            }
            f.write_str(".")?;
        }
        f.write_str(&names::place(self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::super::charset::Fallback;
    use super::super::scan::Coding;
    use super::*;

    #[test]
    fn paths_lead_to_values() {
        let bytes = b"\x10\0\x20\0LO\x04\0P-7 \
            \x40\0\x00\x01SQ\0\0\x28\0\0\0\xFE\xFF\x00\xE0\x0a\0\0\0\x08\0\x60\0CS\x02\0CT\
            \xFE\xFF\x00\xE0\x0e\0\0\0\x08\0\x60\0CS\x06\0MR\\US ";
        let set = DataSet::read(bytes, Coding::EXPLICIT, Fallback::default()).expect("right");
        let at = |path: &str| path.parse::<Path>().map(|path| path.values(&set));
        assert_eq!(at("PatientID"), Ok(vec!["P-7".to_owned()]));
        assert_eq!(at("0010,0020"), at("PatientID"));
        let all = ["CT", "MR", "US"].map(str::to_owned).to_vec();
        assert_eq!(at("ScheduledProcedureStepSequence.Modality"), Ok(all));
        assert_eq!(at("0040,0100[0].0008,0060"), Ok(vec!["CT".to_owned()]));
        assert_eq!(at("0040,0100[7].0008,0060"), Ok(vec![]));
        for (wrong, why) in [
            ("PatientNam", "is no tag"),
            ("", "is no tag"),
            ("PatientID[0]", "a value, not an item"),
            ("0040,0100[x].0008,0060", "no number"),
        ] {
            let said = at(wrong).err().unwrap_or_default();
            assert!(said.contains(why), "{wrong}: {said}");
        }
    }
}
