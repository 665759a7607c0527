//! Sizes as channel files write them: `512 B`, `64 KB`, `16 MB`, `1 GB`. A KB is 1024 bytes.

/// The units with the bytes of each.
const UNITS: [(&str, u64); 4] = [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("B", 1)];

/// Reads a size: a whole number and a unit, with or without a space between. The error is a sentence that says what to
/// write.
pub fn parse(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
    let (number, word) = trimmed.split_at(digits);
    let word = word.trim_start();
    let Ok(number) = number.parse::<u64>() else {
        return Err(no_size(text, None));
    };
    if let Some((_, bytes)) = UNITS.iter().find(|(name, _)| *name == word) {
        return number
            .checked_mul(*bytes)
            .filter(|size| *size <= 1 << 50)
            .ok_or_else(|| no_size(text, None));
    }
    let meant = match word.to_lowercase().as_str() {
        "" | "byte" | "bytes" | "b" => Some("B"),
        "k" | "kb" | "kib" => Some("KB"),
        "m" | "mb" | "mib" => Some("MB"),
        "g" | "gb" | "gib" => Some("GB"),
        _ => None,
    };
    Err(no_size(text, meant.map(|unit| format!("{number} {unit}"))))
}

/// Writes a size in the greatest unit that leaves no rest.
pub fn show(size: u64) -> String {
    let (name, bytes) = UNITS
        .into_iter()
        .find(|(_, bytes)| size != 0 && size.is_multiple_of(*bytes))
        .unwrap_or(("B", 1));
    format!("{} {name}", size / bytes)
}

fn no_size(text: &str, hint: Option<String>) -> String {
    let text: String = text.chars().take(40).collect();
    let hint = hint.unwrap_or_else(|| "64 KB\" or \"16 MB".to_owned());
    format!("\"{text}\" is no size; write \"{hint}\"")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_and_says_what_to_write() {
        assert_eq!(parse("16 MB"), Ok(16 << 20));
        assert_eq!(parse("64KB"), Ok(64 << 10));
        assert_eq!(parse("512 B"), Ok(512));
        assert_eq!(parse("0 B"), Ok(0));
        for (text, told) in [
            ("16", "\"16\" is no size; write \"16 B\""),
            ("16 mb", "\"16 mb\" is no size; write \"16 MB\""),
            ("2 MiB", "\"2 MiB\" is no size; write \"2 MB\""),
            ("lots", "\"lots\" is no size; write \"64 KB\" or \"16 MB\""),
            (
                "99999999 GB",
                "\"99999999 GB\" is no size; write \"64 KB\" or \"16 MB\"",
            ),
            ("", "\"\" is no size; write \"64 KB\" or \"16 MB\""),
        ] {
            assert_eq!(parse(text), Err(told.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read(size in 0..=(1u64 << 50)) {
            prop_assert_eq!(parse(&show(size)), Ok(size));
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,12}") {
            let _ = parse(&text);
        }
    }
}
