//! Names of files by wildcards: `*` stands for any letters, `?` for one.

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    letters: Vec<char>,
}

impl Pattern {
    /// Any text is a pattern.
    pub fn new(text: &str) -> Self {
        Pattern {
            letters: text.chars().collect(),
        }
    }

    /// Whether a name is of this pattern. Names that begin with a dot are hidden: only a pattern that begins with one
    /// takes them.
    pub fn matches(&self, name: &str) -> bool {
        if name.starts_with('.') && self.letters.first() != Some(&'.') {
            return false;
        }
        let name: Vec<char> = name.chars().collect();
        let (mut at, mut in_name) = (0, 0);
        // Where the last star stands, and how much of the name it has taken.
        let mut star: Option<(usize, usize)> = None;
        while in_name < name.len() {
            match self.letters.get(at) {
                Some('*') => {
                    star = Some((at, in_name));
                    at += 1;
                }
                Some(letter) if *letter == '?' || *letter == name[in_name] => {
                    at += 1;
                    in_name += 1;
                }
                Some(_) | None => match star {
                    Some((before, taken)) => {
                        star = Some((before, taken + 1));
                        at = before + 1;
                        in_name = taken + 1;
                    }
                    None => return false,
                },
            }
        }
        self.letters[at..].iter().all(|letter| *letter == '*')
    }

    /// Whether there is a name that is of both.
    pub fn meets(&self, other: &Pattern) -> bool {
        let (these, those) = (&self.letters, &other.letters);
        let is_hidden = |letters: &[char]| letters.first() == Some(&'.');
        let starts_openly = |letters: &[char]| matches!(letters.first(), Some('*' | '?'));
        if is_hidden(these) && starts_openly(those) || is_hidden(those) && starts_openly(these) {
            return false;
        }
        // Which places of the second pattern are reached together with the one of the first that is looked at.
        let mut reached = vec![false; those.len() + 1];
        reached[0] = true;
        past_stars(&mut reached, those);
        for letter in these {
            let mut next = vec![false; those.len() + 1];
            for (at, _) in reached.iter().enumerate().filter(|(_, reached)| **reached) {
                if *letter == '*' {
                    // It takes nothing, or all that any letters of the other stand for.
                    next[at..].fill(true);
                    break;
                }
                match those.get(at) {
                    Some('*') => next[at] = true,
                    Some(other) if *other == '?' || *letter == '?' || other == letter => next[at + 1] = true,
                    Some(_) | None => {}
                }
            }
            past_stars(&mut next, those);
            reached = next;
        }
        reached[those.len()]
    }
}

/// A star may stand for nothing.
fn past_stars(reached: &mut [bool], letters: &[char]) {
    for (at, letter) in letters.iter().enumerate() {
        if reached[at] && *letter == '*' {
            reached[at + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names() {
        for (pattern, takes, not) in [
            ("*", &["a", "a.hl7"][..], &[".a"][..]),
            (
                "*.hl7",
                &["a.hl7", "a.b.hl7", "x.hl7.hl7"],
                &["a.HL7", "a.hl7.tmp", ".hl7", ""],
            ),
            (
                "lab-??.csv",
                &["lab-01.csv", "lab-ăș.csv"],
                &["lab-1.csv", "lab-001.csv"],
            ),
            ("a*b*c", &["abc", "aXbXbXc"], &["ab", "acb"]),
            (".*", &[".a"], &["a"]),
        ] {
            let made = Pattern::new(pattern);
            for name in takes {
                assert!(made.matches(name), "{pattern} takes {name}");
            }
            for name in not {
                assert!(!made.matches(name), "{pattern} does not take {name}");
            }
        }
    }

    #[test]
    fn meetings() {
        let meet = |this: &str, that: &str| Pattern::new(this).meets(&Pattern::new(that));
        assert!(meet("*.hl7", "lab*") && meet("a*", "*a") && meet("?b", "a?") && meet("*", "x"));
        assert!(!meet("*.hl7", "*.csv") && !meet("a*", "b*") && !meet("??", "?") && !meet("*", ".x"));
    }

    proptest! {
        /// A name of both shows that they meet, and patterns that meet share one of all short names.
        #[test]
        fn meeting_is_sharing_a_name(this in "[ab*?]{0,4}", that in "[ab*?]{0,4}") {
            let (this, that) = (Pattern::new(&this), Pattern::new(&that));
            let mut names = vec![String::new()];
            let mut all = names.clone();
            for _ in 0..8 {
                names = names.iter().flat_map(|name| [format!("{name}a"), format!("{name}b")]).collect();
                all.extend(names.iter().cloned());
            }
            let shared = all.iter().any(|name| this.matches(name) && that.matches(name));
            prop_assert_eq!(this.meets(&that), shared);
            prop_assert_eq!(that.meets(&this), shared);
        }
    }
}
