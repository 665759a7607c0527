//! Titles of application entities.

use std::fmt;
use std::str::FromStr;

use crate::error::BadAeTitle;

/// The title of an application entity: at most 16 characters, outer spaces mean nothing (PS3.5 6.2, AE; PS3.8 9.3.2).
/// What came from a peer may be empty: devices fresh from the factory send that.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AeTitle(String);

impl AeTitle {
    /// As it travels in a request. What is no printable ASCII becomes `?`, so that it equals no title of ours.
    pub fn from_wire(field: &[u8]) -> Self {
        let text: String = field
            .iter()
            .map(|byte| match byte {
                0 => ' ',
                b' '..=b'~' => char::from(*byte),
                _ => '?',
            })
            .collect();
        AeTitle(text.trim().to_owned())
    }

    /// Without padding.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Padded to the 16 bytes of a request.
    pub(crate) fn field(&self) -> [u8; 16] {
        let mut field = [b' '; 16];
        for (to, from) in field.iter_mut().zip(self.0.bytes()) {
            *to = from;
        }
        field
    }
}

impl FromStr for AeTitle {
    type Err = BadAeTitle;

    /// A title of ours: 1 to 16 printable characters without backslash.
    fn from_str(text: &str) -> Result<Self, BadAeTitle> {
        let trimmed = text.trim_matches(' ');
        let is_right = (1..=16).contains(&trimmed.len())
            && trimmed
                .bytes()
                .all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\');
        match is_right {
            true => Ok(AeTitle(trimmed.to_owned())),
            false => Err(BadAeTitle),
        }
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for AeTitle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles() {
        assert_eq!(AeTitle::from_wire(b"  CT1           ").as_str(), "CT1");
        assert_eq!(
            AeTitle::from_wire(b"CT 1\0\0\0\0\0\0\0\0\0\0\0\0").as_str(),
            "CT 1"
        );
        assert_eq!(AeTitle::from_wire(&[b' '; 16]).as_str(), "");
        assert_eq!(AeTitle::from_wire("ȘȚ".as_bytes()).as_str(), "????");
        let title: AeTitle = " PUNTE ".parse().expect("a title");
        assert_eq!(&title.field(), b"PUNTE           ");
        for wrong in ["", "   ", "A\\B", "SEVENTEEN_LETTERS", "ȘEF", "A\tB"] {
            assert!(wrong.parse::<AeTitle>().is_err(), "{wrong}");
        }
    }
}
