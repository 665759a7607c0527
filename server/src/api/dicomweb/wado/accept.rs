//! What an asker takes (PS3.18 §8.7): media types, one by one or in parts, and transfer syntaxes.

use axum::http::{HeaderMap, StatusCode, header};
use connectors::dicomweb::multipart::parameters;
use mappings::dicom::native::EXPLICIT;
use mappings::dicom::pixels::{decode, places};

use super::super::super::Problem;
use super::super::super::fhir;

/// One thing that an asker takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// What: of parts, what each of them is. Empty: anything.
    pub kind: String,
    /// In parts.
    pub in_parts: bool,
    /// By itself, not as a part.
    pub is_bare: bool,
    /// In which transfer syntax; none: it does not say.
    pub syntax: Option<String>,
}

impl Media {
    /// True where it takes this.
    pub fn takes(&self, kind: &str) -> bool {
        let wanted = self.kind.as_str();
        wanted.is_empty()
            || wanted.eq_ignore_ascii_case(kind)
            || wanted
                .strip_suffix("/*")
                .is_some_and(|whole| kind.split_once('/').is_some_and(|(of, _)| of == whole))
    }
}

/// What an asker takes, the most wanted first: by the query (§8.3.3.1), else by the header; who says nothing takes
/// anything.
pub fn accepted(headers: &HeaderMap, query: Option<&str>) -> Vec<Media> {
    let pairs = fhir::pairs(query.unwrap_or_default());
    let by_query = pairs
        .into_iter()
        .find(|(name, _)| name == "accept")
        .map(|(_, value)| value);
    let by_header = || {
        let all = headers.get_all(header::ACCEPT).iter();
        let all: Vec<&str> = all.filter_map(|value| value.to_str().ok()).collect();
        all.join(",")
    };
    let said = by_query.unwrap_or_else(by_header);
    let mut all: Vec<(u32, Media)> = listed(&said).into_iter().map(|one| media(&one)).collect();
    all.retain(|(weight, _)| *weight != 0);
    all.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    match said.trim().is_empty() {
        true => vec![media("*/*").1],
        false => all.into_iter().map(|(_, media)| media).collect(),
    }
}

/// A list with commas between its parts, and none that stand in quotes.
fn listed(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_quoted = false;
    for letter in text.chars() {
        match letter {
            ',' if !is_quoted => parts.push(String::new()),
            letter => {
                is_quoted ^= letter == '"';
                if let Some(part) = parts.last_mut() {
                    part.push(letter);
                }
            }
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// One of them, and its weight in thousandths.
fn media(text: &str) -> (u32, Media) {
    let (media, parameters) = parameters(text);
    let said = |name: &str| {
        let found = parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    };
    let weight = said("q")
        .and_then(|weight| weight.parse::<f64>().ok())
        .unwrap_or(1.0);
    let anything = media == "*/*" || media.is_empty();
    let is_related = matches!(media.as_str(), "multipart/related" | "multipart/*");
    let kind = match anything || is_related {
        true => said("type")
            .unwrap_or_default()
            .to_ascii_lowercase()
            .replace("*/*", ""),
        false => media,
    };
    // As they were called before, and as some askers write them.
    let kind = match kind.as_str() {
        "image/x-jls" => "image/jls".to_owned(),
        "image/x-dicom-rle" => "image/dicom-rle".to_owned(),
        "video/mpeg2" => "video/mpeg".to_owned(),
        _ => kind,
    };
    let media = Media {
        kind,
        in_parts: anything || is_related,
        is_bare: !is_related,
        syntax: said("transfer-syntax"),
    };
    ((weight.clamp(0.0, 1.0) * 1000.0).round() as u32, media)
}

/// 406.
pub fn not_acceptable(what: impl Into<String>) -> Problem {
    Problem::new(StatusCode::NOT_ACCEPTABLE, what)
}

/// How an object, or its frames, are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// As they lie in the store.
    AsStored,
    /// In explicit little endian, not compressed.
    Native,
}

/// How an object that lies in this transfer syntax is answered, and whether by itself; none: not at all.
pub fn object(accepted: &[Media], stored: &str) -> Option<(Answered, bool)> {
    accepted
        .iter()
        .filter(|media| media.takes("application/dicom"))
        .find_map(|media| {
            // Anything is answered in parts.
            let is_bare = media.is_bare && !media.in_parts;
            let answered = match media.syntax.as_deref() {
                Some("*") => Answered::AsStored,
                Some(wanted) if wanted == stored => Answered::AsStored,
                None | Some(EXPLICIT) if stored == EXPLICIT => Answered::AsStored,
                None | Some(EXPLICIT) if is_written_anew(stored) => Answered::Native,
                // A film is there in no other way (§8.7.3).
                None if places::film(stored).is_some() => Answered::AsStored,
                None | Some(_) => return None,
            };
            Some((answered, is_bare))
        })
}

fn is_written_anew(stored: &str) -> bool {
    places::is_native(stored) || decode::is_known(stored)
}

/// How frames of an object that lies in this transfer syntax are answered, and whether one alone by itself.
pub fn frames(accepted: &[Media], stored: &str) -> Option<(Answered, bool)> {
    const OCTETS: &str = "application/octet-stream";
    let lies = places::media(stored);
    accepted.iter().find_map(|media| {
        let is_bare = media.is_bare && !media.in_parts;
        // Askers who want it as it is name octets.
        let takes_octets = media.takes(OCTETS);
        let takes_stored = lies.is_some_and(|(kind, _)| media.takes(kind) || takes_octets);
        let by_name =
            lies.is_some_and(|(kind, _)| !media.kind.is_empty() && kind != OCTETS && media.takes(kind));
        let is_stored = match media.syntax.as_deref() {
            Some("*") => true,
            Some(wanted) => lies.is_some_and(|(_, syntax)| wanted == syntax),
            None => by_name || lies.is_some_and(|(kind, _)| kind == OCTETS),
        };
        if takes_stored && is_stored {
            return Some((Answered::AsStored, is_bare));
        }
        let is_native = matches!(media.syntax.as_deref(), None | Some(EXPLICIT | "*"));
        (takes_octets && is_native && is_written_anew(stored)).then_some((Answered::Native, is_bare))
    })
}

/// Whether a film of this kind that lies in this transfer syntax is answered by itself; none: not at all.
pub fn film(accepted: &[Media], kind: &str, stored: &str) -> Option<bool> {
    accepted.iter().find_map(|media| {
        let of_syntax = matches!(media.syntax.as_deref(), Some(wanted) if wanted == "*" || wanted == stored);
        // There is no other way to have it than as it lies; who takes octets alone has to say so.
        let by_name = media.takes(kind) && (media.syntax.is_none() || of_syntax);
        let takes = by_name || media.takes("application/octet-stream") && of_syntax;
        takes.then_some(media.is_bare && !media.in_parts)
    })
}

/// Whether something of this kind is answered by itself; none: not at all.
pub fn document(accepted: &[Media], kind: &str) -> Option<bool> {
    let media = accepted.iter().find(|media| media.takes(kind))?;
    Some(media.is_bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &str = "1.2.840.10008.1.2.4.50";
    const IMPLICIT: &str = "1.2.840.10008.1.2";
    const FILM: &str = "1.2.840.10008.1.2.4.102";

    fn said(accept: &str) -> Vec<Media> {
        let mut headers = HeaderMap::new();
        if let Ok(value) = accept.parse() {
            headers.insert(header::ACCEPT, value);
        }
        accepted(&headers, None)
    }

    #[test]
    fn the_most_wanted_comes_first() {
        let all =
            said("image/png;q=0.5, image/jpeg, text/plain;q=0, multipart/related; type=\"a,b/c\"; q=0.7");
        let kinds: Vec<&str> = all.iter().map(|media| media.kind.as_str()).collect();
        assert_eq!(kinds, ["image/jpeg", "a,b/c", "image/png"]);
        assert_eq!(
            accepted(&HeaderMap::new(), Some("accept=image%2Fpng"))[0].kind,
            "image/png"
        );
        let anything = accepted(&HeaderMap::new(), None);
        assert!(anything[0].takes("image/png") && anything[0].in_parts && anything[0].is_bare);
        assert!(said("image/*")[0].takes("image/png") && !said("image/*")[0].takes("text/plain"));
    }

    #[test]
    fn objects_are_answered_as_they_are_wanted() {
        use Answered::{AsStored, Native};
        let parts = "multipart/related; type=\"application/dicom\"";
        for (accept, stored, answer) in [
            ("*/*", EXPLICIT, Some((AsStored, false))),
            ("*/*", JPEG, Some((Native, false))),
            (parts, IMPLICIT, Some((Native, false))),
            ("application/dicom", JPEG, Some((Native, true))),
            (
                "application/dicom; transfer-syntax=*",
                JPEG,
                Some((AsStored, true)),
            ),
            (
                "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50",
                JPEG,
                Some((AsStored, true)),
            ),
            (
                "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90",
                JPEG,
                None,
            ),
            (parts, FILM, Some((AsStored, false))),
            (
                "application/dicom; transfer-syntax=1.2.840.10008.1.2.1",
                FILM,
                None,
            ),
            (
                "multipart/related; type=\"application/dicom\"; transfer-syntax=*",
                FILM,
                Some((AsStored, false)),
            ),
            ("image/png", EXPLICIT, None),
        ] {
            assert_eq!(object(&said(accept), stored), answer, "{accept} {stored}");
        }
    }

    #[test]
    fn films_are_answered_as_they_lie() {
        for (accept, answer) in [
            ("*/*", Some(false)),
            ("video/mp4", Some(true)),
            ("multipart/related; type=\"video/mp4\"", Some(false)),
            ("multipart/related; type=\"video/*\"", Some(false)),
            ("video/mp4; transfer-syntax=1.2.840.10008.1.2.4.102", Some(true)),
            ("video/mp4; transfer-syntax=1.2.840.10008.1.2.4.105", None),
            ("application/octet-stream; transfer-syntax=*", Some(true)),
            ("application/octet-stream", None),
            ("video/mpeg2", None),
        ] {
            assert_eq!(film(&said(accept), "video/mp4", FILM), answer, "{accept}");
        }
        let mpeg = film(&said("video/mpeg2"), "video/mpeg", "1.2.840.10008.1.2.4.100");
        assert_eq!(mpeg, Some(true));
        assert_eq!(film(&said("video/h265"), "video/H265", FILM), Some(true));
        assert_eq!(document(&said("application/pdf"), "application/pdf"), Some(true));
        assert_eq!(document(&said("image/png"), "application/pdf"), None);
    }

    #[test]
    fn frames_are_answered_as_they_are_wanted() {
        use Answered::{AsStored, Native};
        let octets = "multipart/related; type=\"application/octet-stream\"";
        for (accept, stored, answer) in [
            ("*/*", EXPLICIT, Some((AsStored, false))),
            ("*/*", IMPLICIT, Some((AsStored, false))),
            ("*/*", JPEG, Some((Native, false))),
            (octets, JPEG, Some((Native, false))),
            (octets, "1.2.840.10008.1.2.2", Some((Native, false))),
            (
                "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*",
                JPEG,
                Some((AsStored, false)),
            ),
            (
                "multipart/related; type=\"image/jpeg\"",
                JPEG,
                Some((AsStored, false)),
            ),
            (
                "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50",
                JPEG,
                Some((AsStored, true)),
            ),
            ("image/jls", JPEG, None),
            (
                "multipart/related; type=\"image/jls\", multipart/related; type=\"application/octet-stream\"",
                JPEG,
                Some((Native, false)),
            ),
            ("application/octet-stream", EXPLICIT, Some((AsStored, true))),
            (octets, FILM, None),
        ] {
            assert_eq!(frames(&said(accept), stored), answer, "{accept} {stored}");
        }
    }
}
