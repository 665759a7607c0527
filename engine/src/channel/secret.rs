//! Secrets, which a file only names: a variable of the environment (`…_env`), or a file that holds one (`…_file`).

use std::path::Path;

/// A secret file is short; one that is longer, in bytes, is the wrong file.
pub const LONGEST: u64 = 64 * 1024;

/// What is said of a place that holds something else.
pub const NONE: &str = "holds no secret of one line of ASCII";

/// The secret in a text: one line of visible ASCII, without the blanks around it. Headers of HTTP take nothing else.
pub fn in_text(text: &str) -> Option<&str> {
    let secret = text.trim();
    let is_one = !secret.is_empty() && secret.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    is_one.then_some(secret)
}

/// What is odd about a secret that a key names here and now. It is a key of a secret by how it ends.
pub fn look(key: &str, named: &str, folder: &Path) -> Option<String> {
    if key.ends_with("_env") {
        return match std::env::var_os(named) {
            None => Some(format!("the variable {named} is not set here")),
            Some(text) => text
                .to_str()
                .and_then(in_text)
                .is_none()
                .then(|| format!("the variable {named} {NONE}")),
        };
    }
    if !key.ends_with("_file") {
        return None;
    }
    let path = folder.join(named);
    let length = match std::fs::metadata(&path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Some(format!("there is no file {named}"));
        }
        Err(error) => return Some(format!("the file {named} can't be read: {error}")),
    };
    if LONGEST < length {
        return Some(format!("the file {named} {NONE}"));
    }
    match std::fs::read(&path) {
        Ok(bytes) => str::from_utf8(&bytes)
            .ok()
            .and_then(in_text)
            .is_none()
            .then(|| format!("the file {named} {NONE}")),
        Err(error) => Some(format!("the file {named} can't be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_secret_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let write =
            |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).expect("a file");
        write("right", b"  s3cret word\n");
        write("accents", "parolă".as_bytes());
        write("lines", b"one\ntwo");
        write("empty", b" \n");
        write("bytes", b"\xff\xfe");
        write("long", &vec![b'a'; LONGEST as usize + 1]);
        let of = |name: &str| look("auth.bearer_file", name, folder.path());
        assert_eq!(of("right"), None);
        for wrong in ["accents", "lines", "empty", "bytes", "long"] {
            assert_eq!(of(wrong), Some(format!("the file {wrong} {NONE}")));
        }
        assert_eq!(of("none"), Some("there is no file none".to_owned()));
        let unset = look("secret_env", "PUNTE_NOT_SET_ANYWHERE", folder.path());
        assert_eq!(
            unset.as_deref(),
            Some("the variable PUNTE_NOT_SET_ANYWHERE is not set here")
        );
        // Every process has a path of programs, of one line.
        assert_eq!(look("secret_env", "PATH", folder.path()), None);
        assert_eq!(look("listen", "none", folder.path()), None);
    }
}
