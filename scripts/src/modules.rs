//! The names of modules: paths from the channels' folder, and none leads out of it.

/// What `specifier` means in the module `by`: a path from the channels' folder. The error is a sentence.
pub fn resolve(by: &str, specifier: &str) -> Result<String, String> {
    if !(specifier.starts_with("./") || specifier.starts_with("../")) {
        return Err(format!(
            "{specifier:?} is no module here; write a path from this file, as in \"./lib/codes.js\""
        ));
    }
    let mut parts: Vec<&str> = by.split('/').collect();
    parts.pop();
    for part in specifier.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                if parts.pop().is_none() {
                    return Err(format!(
                        "{specifier:?} leads out of the channels' folder; a module lies in it or in a folder under it"
                    ));
                }
            }
            name if name.contains(['\\', ':', '\0']) => {
                return Err(format!("{specifier:?} is no path; write it with \"/\""));
            }
            name => parts.push(name),
        }
    }
    if parts.is_empty() {
        return Err(format!("{specifier:?} is a folder; name a file in it"));
    }
    Ok(parts.join("/"))
}

/// Line and column, from 1, of the place where a module asks for another: that of its name in quotes.
pub fn place_of(source: &str, specifier: &str) -> (usize, usize) {
    let at = ['"', '\'']
        .iter()
        .filter_map(|quote| source.find(&format!("{quote}{specifier}{quote}")))
        .min()
        .unwrap_or(0);
    let before = &source[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_in_the_folder() {
        for (by, specifier, path) in [
            ("fix.js", "./lib/a.js", Some("lib/a.js")),
            ("lib/a.js", "./b.js", Some("lib/b.js")),
            ("lib/a.js", "../c.js", Some("c.js")),
            ("lib/a.js", ".././/x/./../c.js", Some("c.js")),
            ("fix.js", "../c.js", None),
            ("lib/a.js", "../../c.js", None),
            ("lib/a.js", "./../../lib/a.js", None),
            ("fix.js", "/etc/passwd", None),
            ("fix.js", "lodash", None),
            ("fix.js", "./a\\..\\..\\b.js", None),
            ("fix.js", "./c:/b.js", None),
            ("fix.js", "./.", None),
            ("fix.js", "", None),
        ] {
            assert_eq!(resolve(by, specifier).ok().as_deref(), path, "{by} {specifier}");
        }
    }

    #[test]
    fn the_place_of_an_import() {
        let source = "// x\nimport { a } from './ș.js';\nimport b from \"./b.js\";\n";
        assert_eq!(place_of(source, "./ș.js"), (2, 19));
        assert_eq!(place_of(source, "./b.js"), (3, 15));
        assert_eq!(place_of(source, "./gone.js"), (1, 1));
    }
}
