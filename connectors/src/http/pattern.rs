//! The path of a channel: whole, with names for segments (`/orders/{id}`), or a beginning (`/fhir/{rest...}`).

/// A path with places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    written: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// This segment.
    Literal(String),
    /// Any segment, with its name.
    Named(String),
    /// Whatever follows, nothing too.
    Rest(String),
}

impl Pattern {
    /// Reads a path; the error is a sentence.
    pub fn parse(written: &str) -> Result<Self, String> {
        let right = written.starts_with('/')
            && written
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
        if !right {
            return Err(format!(
                "{written:?} is no path; write one that starts with / and has no query"
            ));
        }
        let mut parts: Vec<Part> = vec![];
        for segment in written[1..].split('/') {
            if matches!(parts.last(), Some(Part::Rest(_))) {
                return Err("nothing follows {…...}, which takes whatever follows".into());
            }
            let part = match segment
                .strip_prefix('{')
                .and_then(|inside| inside.strip_suffix('}'))
            {
                Some(name) => {
                    let (bare, is_rest) = match name.strip_suffix("...") {
                        Some(bare) => (bare, true),
                        None => (name, false),
                    };
                    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
                    if bare.is_empty() || !bare.chars().all(is_name) {
                        return Err(format!(
                            "{segment:?} needs a name of letters, as in /orders/{{id}}"
                        ));
                    }
                    let is_twice = parts.iter().any(|part| match part {
                        Part::Named(known) | Part::Rest(known) => known == bare,
                        Part::Literal(_) => false,
                    });
                    if is_twice {
                        return Err(format!("{{{bare}}} stands twice"));
                    }
                    match is_rest {
                        true => Part::Rest(bare.to_owned()),
                        false => Part::Named(bare.to_owned()),
                    }
                }
                None if segment.contains(['{', '}']) => {
                    return Err(format!(
                        "{segment:?}: a name in braces is a whole segment, as in /orders/{{id}}"
                    ));
                }
                None => Part::Literal(segment.to_owned()),
            };
            parts.push(part);
        }
        Ok(Pattern {
            written: written.to_owned(),
            parts,
        })
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// What stands at its places; none: the path is another's.
    pub fn places(&self, path: &str) -> Option<Vec<(String, String)>> {
        let mut places = vec![];
        let mut rest = Some(path.strip_prefix('/')?);
        for part in &self.parts {
            if let Part::Rest(name) = part {
                places.push((name.clone(), decoded(rest.unwrap_or_default())));
                return Some(places);
            }
            let (segment, after) = match rest?.split_once('/') {
                Some((segment, after)) => (segment, Some(after)),
                None => (rest?, None),
            };
            match part {
                Part::Literal(wanted) if wanted == segment => {}
                Part::Named(name) if !segment.is_empty() => places.push((name.clone(), decoded(segment))),
                Part::Literal(_) | Part::Named(_) | Part::Rest(_) => return None,
            }
            rest = after;
        }
        rest.is_none().then_some(places)
    }

    /// How exactly it says which paths are its own: of several that fit the most exact one is meant.
    pub fn exactness(&self) -> Vec<u8> {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Literal(_) => 2,
                Part::Named(_) => 1,
                Part::Rest(_) => 0,
            })
            .collect()
    }

    /// True where both take the very same paths.
    pub fn is_same(&self, other: &Pattern) -> bool {
        let same = |(one, other): (&Part, &Part)| match (one, other) {
            (Part::Literal(one), Part::Literal(other)) => one == other,
            (Part::Named(_), Part::Named(_)) | (Part::Rest(_), Part::Rest(_)) => true,
            (Part::Literal(_) | Part::Named(_) | Part::Rest(_), _) => false,
        };
        self.parts.len() == other.parts.len() && self.parts.iter().zip(&other.parts).all(same)
    }
}

/// `%20` undone; what is no UTF-8 then stays as it is written.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (
            first,
            digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()),
        ) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, path: &str, expected: Option<&[(&str, &str)]>) {
        let places = Pattern::parse(pattern).expect("a pattern").places(path);
        let expected: Option<Vec<(String, String)>> = expected.map(|list| {
            list.iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect()
        });
        assert_eq!(places, expected, "{pattern} {path}");
    }

    #[test]
    fn a_path_finds_its_places() {
        check("/lab", "/lab", Some(&[]));
        check("/lab", "/lab/", None);
        check("/lab", "/laboratory", None);
        check("/", "/", Some(&[]));
        check("/orders/{id}", "/orders/a%20b", Some(&[("id", "a b")]));
        check("/orders/{id}", "/orders/", None);
        check("/orders/{id}", "/orders/1/2", None);
        check(
            "/o/{id}/items/{nr}",
            "/o/1/items/2",
            Some(&[("id", "1"), ("nr", "2")]),
        );
        check(
            "/fhir/{rest...}",
            "/fhir/Patient/1",
            Some(&[("rest", "Patient/1")]),
        );
        check("/fhir/{rest...}", "/fhir", Some(&[("rest", "")]));
        check("/{rest...}", "/x", Some(&[("rest", "x")]));
        for wrong in ["lab", "/a?b", "/{}", "/x{id}", "/{a}/{a}", "/{a...}/b", "/{a b}"] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_same_places_by_other_names_are_the_same_path() {
        let parse = |written: &str| Pattern::parse(written).expect("a pattern");
        assert!(parse("/a/{b}").is_same(&parse("/a/{c}")));
        assert!(!parse("/a/{b}").is_same(&parse("/a/b")));
        assert!(parse("/a/{b}").exactness() < parse("/a/b").exactness());
    }
}
