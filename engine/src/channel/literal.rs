//! Secrets that stand in a channel file as they are. Channel files lie in version control, are copied and mailed: a
//! secret in one is no secret.

use super::shape::Finding;
use super::tree::{Node, Path};

/// Words by which a key says that its value is a secret.
const WORDS: [&str; 9] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "bearer",
    "apikey",
    "credential",
];

/// Tables whose keys are paths of messages and not settings.
const OF_MESSAGES: [&str; 5] = ["set", "filter", "when", "lookup", "keys"];

/// Each secret in the file, at its key.
pub(super) fn secrets(root: &Node) -> Vec<Finding> {
    let mut found = vec![];
    walk(root, &Path::default(), &mut found);
    found
}

fn walk(node: &Node, path: &Path, found: &mut Vec<Finding>) {
    for entry in node.entries() {
        if OF_MESSAGES.contains(&entry.key.as_str()) {
            continue;
        }
        let path = path.key(&entry.key);
        if let Some(text) = entry.node.text() {
            look(&entry.key, text, &path, found);
        }
        walk(&entry.node, &path, found);
    }
    for (idx, item) in node.items().iter().enumerate() {
        let path = path.index(idx);
        if let Some(text) = item.text() {
            look("", text, &path, found);
        }
        walk(item, &path, found);
    }
}

fn look(key: &str, text: &str, path: &Path, found: &mut Vec<Finding>) {
    let what = if is_secret(key) && !text.is_empty() {
        let kind = kind(key);
        format!(
            "a secret does not stand in a channel file; write {kind}_env = \"NAME_OF_A_VARIABLE\" or {kind}_file = \"/path\""
        )
    } else if is_credential_header(key) && !text.is_empty() {
        "a secret does not stand in a channel file; say `auth` with bearer_env, or user and password_env"
            .to_owned()
    } else if has_password(text) {
        "a password stands in this address; say `auth` with user and password_env, and leave it out here"
            .to_owned()
    } else {
        return;
    };
    found.push(Finding {
        path: path.clone(),
        at_key: true,
        what,
        goes_without_saying: None,
        stands_for: None,
    });
}

/// `password`, `client_secret`, `api_key`; not `password_env`, which names where it is.
fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase().replace('-', "_");
    let last = key.rsplit('_').next().unwrap_or_default();
    WORDS.contains(&last) || key.ends_with("api_key")
}

/// By which of the two kinds that there are this one is told from outside.
fn kind(key: &str) -> &'static str {
    let key = key.to_lowercase();
    match ["password", "passwd", "pwd", "passphrase"]
        .iter()
        .any(|word| key.ends_with(word))
    {
        true => "password",
        false => "bearer",
    }
}

fn is_credential_header(key: &str) -> bool {
    ["authorization", "proxy-authorization", "x-api-key", "cookie"]
        .iter()
        .any(|header| key.eq_ignore_ascii_case(header))
}

/// `https://user:password@host/`.
fn has_password(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority
        .rsplit_once('@')
        .and_then(|(user, _)| user.split_once(':'))
        .is_some_and(|(_, password)| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::tree::parse;
    use super::*;

    #[test]
    fn a_secret_is_found_by_its_key_and_in_an_address() {
        let text = r#"
id = "x"
source.http = { listen = "127.0.0.1:1", auth = { bearer = "geheim" } }
[[step]]
set = { "token" = "of a message", "PID-3" = "password" }
[[destination]]
name = "password"
http = { url = "https://anna:geheim@host/x", headers = { Authorization = "Bearer geheim" }, auth = { user = "anna", password = "geheim", password_env = "HERE" } }
[[destination]]
http = { url = "https://anna@host/x?at=12:30@noon", api_key = "geheim" }
"#;
        let root = parse(text).unwrap_or_else(|_| panic!("TOML"));
        let found: Vec<String> = secrets(&root)
            .iter()
            .map(|finding| finding.path.to_string())
            .collect();
        assert_eq!(
            found,
            [
                "source.http.auth.bearer",
                "destination[0].http.url",
                "destination[0].http.headers.Authorization",
                "destination[0].http.auth.password",
                "destination[1].http.api_key",
            ]
        );
        assert!(
            secrets(&root)
                .iter()
                .all(|finding| !finding.what.contains("geheim"))
        );
        for (key, advised) in [
            ("token", "bearer_env"),
            ("client_secret", "bearer_env"),
            ("bearer", "bearer_env"),
            ("Password", "password_env"),
            ("db_pwd", "password_env"),
        ] {
            let text = format!("[x]\n{key} = \"geheim\"\n");
            let root = parse(&text).unwrap_or_else(|_| panic!("TOML"));
            let what = &secrets(&root)[0].what;
            assert!(what.contains(&format!("write {advised} = ")), "{key}: {what}");
        }
    }
}
