//! Files inside messages (ED, RP): their kind, and their bytes as Base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

/// Base64 as it comes: with or without padding.
const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The bytes of ED.5 as Base64 (RFC 4648 §4), whatever ED.4 says they are written in (HL7 table 0299). `None`:
/// they are not what ED.4 says.
pub(super) fn base64_of(encoding: &str, data: impl Into<String>) -> Option<String> {
    let data = data.into();
    match encoding.to_ascii_lowercase().as_str() {
        "base64" => base64(data),
        "hex" => hex(&data).map(|bytes| STANDARD.encode(bytes)),
        // Nothing said: Base64 where the bytes behind it show what they are, else the text itself.
        "" => match base64(data.clone()) {
            Some(text) if sniff(&text).is_some() => Some(text),
            _ => Some(STANDARD.encode(data)),
        },
        _ => Some(STANDARD.encode(data)),
    }
}

/// Base64 without the blanks and line ends that senders put in. A file may be big: what is right already is looked
/// through in pieces, and no copy of its bytes is made.
fn base64(data: String) -> Option<String> {
    let clean = match data.bytes().any(|byte| byte.is_ascii_whitespace()) {
        true => data.split_ascii_whitespace().collect(),
        false => data,
    };
    if is_canonical(&clean) {
        return Some(clean);
    }
    let bytes = TOLERANT.decode(&clean).ok()?;
    Some(STANDARD.encode(bytes))
}

/// Whether this is Base64 with its padding, to the letter.
fn is_canonical(text: &str) -> bool {
    const PIECE: usize = 64 << 10;
    let mut scratch = vec![0; PIECE / 4 * 3];
    let last = text.len().saturating_sub(1) / PIECE;
    text.len().is_multiple_of(4)
        && text.as_bytes().chunks(PIECE).enumerate().all(|(n, piece)| {
            // Padding ends the text, not a piece of it.
            let is_padded = piece.ends_with(b"=");
            (n == last || !is_padded) && STANDARD.decode_slice(piece, &mut scratch).is_ok()
        })
}

fn hex(data: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = data
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| {
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    })
}

/// The kind of file that its first bytes show.
pub(super) fn sniff(base64: &str) -> Option<&'static str> {
    const MAGIC: &[(&[u8], &str)] = &[
        (b"%PDF-", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xFF\xD8\xFF", "image/jpeg"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"II*\0", "image/tiff"),
        (b"MM\0*", "image/tiff"),
        (b"{\\rtf", "application/rtf"),
        (b"<?xml", "application/xml"),
        (b"<ClinicalDocument", "application/xml"),
        (b"<!DOCTYPE html", "text/html"),
        (b"<html", "text/html"),
    ];
    // 176 characters are 132 bytes: enough for the mark of DICOM behind its preamble.
    let head = base64.get(..base64.len().min(176))?;
    let head = head.get(..head.len() / 4 * 4)?;
    let bytes = TOLERANT.decode(head).ok()?;
    if bytes.get(128..132) == Some(b"DICM") {
        return Some("application/dicom");
    }
    let start = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    MAGIC
        .iter()
        .find(|(magic, _)| start.starts_with(magic))
        .map(|(_, kind)| *kind)
}

/// The MIME type that ED.2 and ED.3 (or RP.3 and RP.4) name, from HL7 tables 0191 and 0291 or in MIME's own words.
pub(super) fn mime(kind: &str, subtype: &str) -> Option<String> {
    let (kind, subtype) = (
        kind.trim().to_ascii_lowercase(),
        subtype.trim().to_ascii_lowercase(),
    );
    // Some put the whole MIME type into one of the two.
    if let Some(whole) = [&subtype, &kind].into_iter().find(|text| is_mime(text)) {
        return Some(whole.clone());
    }
    let known = match subtype.as_str() {
        "pdf" => Some("application/pdf"),
        "jpeg" | "jpg" => Some("image/jpeg"),
        "png" => Some("image/png"),
        "gif" => Some("image/gif"),
        "tiff" | "tif" => Some("image/tiff"),
        "bmp" => Some("image/bmp"),
        "dicom" => Some("application/dicom"),
        "rtf" => Some("application/rtf"),
        "html" => Some("text/html"),
        "xml" => Some("application/xml"),
        "x-hl7-cda-level-one" | "x-hl7-cda-level-two" | "cda" => Some("text/xml"),
        "sgml" => Some("text/sgml"),
        "postscript" => Some("application/postscript"),
        "basic" => Some("audio/basic"),
        "plain" | "txt" => Some("text/plain"),
        "octet-stream" => Some("application/octet-stream"),
        _ => None,
    };
    if let Some(known) = known {
        return Some(known.to_owned());
    }
    match (kind.as_str(), subtype.as_str()) {
        ("application" | "image" | "text" | "audio" | "video", sub) if !sub.is_empty() => {
            Some(format!("{kind}/{sub}")).filter(|text| is_mime(text))
        }
        ("tx" | "ft" | "text", "") => Some("text/plain".to_owned()),
        _ => None,
    }
}

fn is_mime(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    text.split_once('/')
        .is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_base64() {
        assert_eq!(
            base64_of("Base64", "JVBE\nRi0x LjQ=").as_deref(),
            Some("JVBERi0xLjQ=")
        );
        assert_eq!(
            base64_of("Base64", "JVBERi0xLjQ").as_deref(),
            Some("JVBERi0xLjQ=")
        );
        assert_eq!(base64_of("Base64", "not base64!"), None);
        // Longer than a piece: right, and with padding where one ends.
        let long = STANDARD.encode(vec![7; 100_000]);
        assert_eq!(base64_of("Base64", &long).as_deref(), Some(&long[..]));
        let inside = format!("{}=={}", &long[..(64 << 10) - 2], &long[64 << 10..]);
        assert_eq!(base64_of("Base64", &inside), None);
        assert_eq!(base64_of("Hex", "255044462D").as_deref(), Some("JVBERi0="));
        assert_eq!(base64_of("Hex", "25504"), None);
        assert_eq!(base64_of("A", "Bună ziua").as_deref(), Some("QnVuxIMgeml1YQ=="));
        assert_eq!(base64_of("", "JVBERi0xLjQ=").as_deref(), Some("JVBERi0xLjQ="));
        assert_eq!(base64_of("", "text").as_deref(), Some("dGV4dA=="));
    }

    #[test]
    fn the_kind_is_read_from_codes_and_from_bytes() {
        for (kind, subtype, want) in [
            ("application", "pdf", Some("application/pdf")),
            ("AP", "PDF", Some("application/pdf")),
            ("", "PDF", Some("application/pdf")),
            ("IM", "JPEG", Some("image/jpeg")),
            ("TEXT", "HTML", Some("text/html")),
            ("application/pdf", "", Some("application/pdf")),
            ("image", "webp", Some("image/webp")),
            ("TX", "", Some("text/plain")),
            ("AP", "", None),
            ("", "", None),
            ("image", "we/bp x", None),
        ] {
            assert_eq!(mime(kind, subtype).as_deref(), want, "{kind}^{subtype}");
        }
        assert_eq!(sniff("JVBERi0xLjQ="), Some("application/pdf"));
        assert_eq!(sniff("/9j/4AAQ"), Some("image/jpeg"));
        assert_eq!(sniff("dGV4dA=="), None);
        assert_eq!(sniff(""), None);
    }
}
