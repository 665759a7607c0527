//! What a script names of what its channel keeps and grants, as far as that can be read in its text:
//! `context.counter("name")`, `context.cache("name")`, `context.http("name")`. A name that is made up while the script runs
//! is looked at then.

use engine::script::Wanted;

/// A name that the channel does not declare, and where it stands: line and column from 1.
#[derive(Debug, PartialEq, Eq)]
pub struct Undeclared {
    pub line: usize,
    pub column: usize,
    pub what: String,
}

/// All names of counters, caches and far sides in a module that the channel does not declare.
pub fn undeclared(source: &str, wanted: &Wanted<'_>) -> Vec<Undeclared> {
    let mut found = vec![];
    for (at, kind, name) in named(source) {
        let declared = match kind {
            "counter" => wanted.counters,
            "cache" => wanted.caches,
            "ask" => wanted.asks,
            _ => wanted.granted,
        };
        if !declared.contains(&name) {
            let before = &source[..at];
            found.push(Undeclared {
                line: before.matches('\n').count() + 1,
                column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
                what: missing(kind, name, declared),
            });
        }
    }
    found
}

/// What is told of a name that the channel does not declare.
pub fn missing(kind: &str, name: &str, declared: &[&str]) -> String {
    let name: String = name.chars().take(64).collect();
    let line = match kind {
        "counter" => format!("[counter.{name}]"),
        "cache" => format!("[cache.{name}] with its life"),
        "ask" => format!("[ask.{name}]"),
        _ => format!("[http.{name}] with its base"),
    };
    let kind = match kind {
        "http" => "grant to call",
        "ask" => "grant to ask",
        kind => kind,
    };
    let known = match declared {
        [] => String::new(),
        _ => format!(" (there are: {})", declared.join(", ")),
    };
    format!("the channel has no {kind} {name:?}{known}; write {line} in its file")
}

/// Each `.counter("name")`, `.cache("name")` and `.http("name")` of `context` outside of comments and texts: where the name begins.
fn named(source: &str) -> Vec<(usize, &'static str, &str)> {
    let mut found = vec![];
    let bytes = source.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => at = end_of(source, at, "\n"),
            b'/' if bytes.get(at + 1) == Some(&b'*') => at = end_of(source, at + 2, "*/"),
            quote @ (b'"' | b'\'' | b'`') => at = end_of_text(bytes, at, quote),
            b'c' if source[at..].starts_with("context") && !is_within_word(bytes, at) => {
                match name_after(source, at + "context".len()) {
                    Some((start, kind, name)) => {
                        found.push((start, kind, name));
                        at = start + name.len() + 2;
                    }
                    None => at += "context".len(),
                }
            }
            _ => at += 1,
        }
    }
    found
}

/// The byte after the next `end`.
fn end_of(source: &str, from: usize, end: &str) -> usize {
    let bytes = &source.as_bytes()[from.min(source.len())..];
    let place = bytes
        .windows(end.len())
        .position(|window| window == end.as_bytes());
    place.map_or(source.len(), |place| from + place + end.len())
}

/// The byte after a text in quotes. One in plain quotes ends with its line at the latest: what begins there is then no
/// text but a quote in a regular expression.
fn end_of_text(bytes: &[u8], from: usize, quote: u8) -> usize {
    let mut at = from + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'\n' if quote != b'`' => return at,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn is_within_word(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| bytes.get(before));
    before.is_some_and(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.') || !byte.is_ascii()
    })
}

/// `.counter("name")` with blanks between: where the name's quote stands, and the name.
fn name_after(source: &str, at: usize) -> Option<(usize, &'static str, &str)> {
    let skip = |at: usize| at + source[at..].len() - source[at..].trim_start().len();
    let at = skip(at);
    let at = skip(at + source[at..].strip_prefix('.').map(|_| 1)?);
    let kind = ["counter", "cache", "http", "ask"]
        .into_iter()
        .find(|kind| source[at..].starts_with(kind))?;
    let at = skip(at + kind.len());
    let at = skip(at + source[at..].strip_prefix('(').map(|_| 1)?);
    let quote = source[at..].chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let rest = &source[at + 1..];
    let name = &rest[..rest.find(quote)?];
    let after = source[at + 2 + name.len()..].trim_start();
    let is_plain = !name.contains(['\\', '\n']) && after.starts_with([')', ',']);
    is_plain.then_some((at, kind, name))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use engine::format::CodeTables;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_named_and_not_declared_is_found_at_its_place() {
        let source = "// context.counter(\"no\")\nconst t = \"context.cache('no')\";\nexport default (m, context) => {\n  context.counter(\"lab\").next();\n  context . cache( 'sean' ).get(1); /* context.counter('no') */\n  context.http('a'); context.counter(name); mycontext.counter('no'); it.context.counter('no');\n};\n";
        let tables = CodeTables::new();
        let wanted = |counters, caches| Wanted {
            folder: Path::new("."),
            file: "",
            tables: &tables,
            counters,
            caches,
            granted: &["a"],
            asks: &[],
            timeout: Duration::ZERO,
            memory: 0,
        };
        let told: Vec<String> = undeclared(source, &wanted(&["lab"], &["seen"]))
            .into_iter()
            .map(|found| format!("{}:{} {}", found.line, found.column, found.what))
            .collect();
        assert_eq!(
            told,
            [
                "5:20 the channel has no cache \"sean\" (there are: seen); write [cache.sean] with its life in its file"
            ]
        );
        let told = undeclared(source, &wanted(&[], &["sean"]));
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].line, told[0].column), (4, 19));
    }

    proptest! {
        #[test]
        fn any_text_is_read(source in "(context|\\.|counter|cache|\\(|\\)|'|\"|`|/|\\*|\\\\|\n| |ș|x){0,40}") {
            for (at, _, name) in named(&source) {
                prop_assert!(source[at + 1..].starts_with(name));
            }
        }
    }
}
