//! What a transport said beside a message, by paths of its own: `header:x-source`, `query:id`, `path:id`. They can be
//! asked for wherever a path of the message can, and are never written.

/// The beginnings of such paths.
const KINDS: [&str; 3] = ["header", "query", "path"];

/// True for a path that leads beside the message.
pub fn is_heading(path: &str) -> bool {
    path.split_once(':')
        .is_some_and(|(kind, _)| KINDS.contains(&kind))
}

/// What such a path leads to; none: it is a path of the message.
pub fn heading(headers: &[(String, String)], path: &str) -> Option<Vec<String>> {
    let (kind, name) = path.split_once(':')?;
    let of_name = |wanted: &str| {
        let found = headers.iter().filter(|(name, _)| name == wanted);
        found.map(|(_, value)| value.clone()).collect()
    };
    match kind {
        "header" => Some(of_name(&name.to_ascii_lowercase())),
        "query" | "path" => Some(of_name(path)),
        _ => None,
    }
}

/// What is wrong with such a path.
pub(super) fn check(path: &str) -> Result<(), String> {
    match path.split_once(':') {
        Some((_, "")) => Err(format!("a name is missing after the colon, as in \"{path}id\"")),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_stands_beside_a_message() {
        let headers = [
            ("x-source", "web"),
            ("query:id", "5"),
            ("query:id", "6"),
            ("path:id", "7"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let find = |path: &str| heading(&headers, path);
        assert_eq!(find("header:X-Source"), Some(vec!["web".to_owned()]));
        assert_eq!(find("query:id"), Some(vec!["5".to_owned(), "6".to_owned()]));
        assert_eq!(find("path:id"), Some(vec!["7".to_owned()]));
        assert_eq!(find("query:none"), Some(vec![]));
        assert_eq!(find("order.id"), None);
        assert_eq!(find("x:order/id"), None);
    }
}
