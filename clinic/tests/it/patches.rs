//! What is said of a field, taken in: moved or copied.

use clinic::patch::{Field, Items, Patch};
use clinic::value::Language;

fn words(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Moved or copied, the same comes of it.
#[test]
fn what_is_taken_in_is_what_is_taken() {
    let texts = [&[][..], &["a"], &["a", "b"], &["b", "b"]].map(words);
    for old in &texts {
        let said = texts
            .iter()
            .flat_map(|new| [Items::Merge(new.clone()), Items::Replace(new.clone())]);
        for patch in said.chain([Items::Absent, Items::Clear]) {
            let (mut copied, mut moved) = (old.clone(), old.clone());
            let changed = copied.take(&patch);
            assert_eq!(moved.take_in(patch), changed);
            assert_eq!(moved, copied);
        }
    }
    for old in [None, Some(1), Some(2)] {
        for patch in [Patch::Absent, Patch::Clear, Patch::Set(1)] {
            let (mut copied, mut moved) = (old, old);
            let changed = Field::take(&mut copied, &patch);
            assert_eq!(Field::take_in(&mut moved, patch), changed);
            assert_eq!(moved, copied);
        }
    }
}

#[test]
fn the_same_again_changes_nothing_and_a_group_is_replaced() {
    let mut languages = vec![Language::default()];
    assert!(!languages.take(&Items::Merge(vec![Language::default()])));
    let preferred = Language {
        preferred: true,
        ..Language::default()
    };
    assert!(languages.take(&Items::Merge(vec![preferred.clone()])));
    assert_eq!(languages, [preferred]);
}
