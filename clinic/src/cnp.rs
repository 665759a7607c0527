//! The personal numbers of Romania (CNP) and Moldova (IDNP).

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;

use crate::people::Sex;
use crate::value::{Identifier, ValueError};

/// A Romanian personal number (*cod numeric personal*), `S YY MM DD JJ NNN C`: right by construction.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Cnp([u8; 13]);

const LENGTH: &str = "a CNP has 13 digits";

impl Cnp {
    /// What is wrong with a number that should be a CNP; none: nothing. The number is kept all the same, and this is
    /// the note to it. Never contains the number.
    pub fn problem(value: &str) -> Option<&'static str> {
        value.parse::<Cnp>().err().map(|error| error.0)
    }

    /// The birth date. The numbers of foreigners (S = 7, 8, 9) don't say the century: of the two, the later one that is
    /// not after `today`.
    pub fn birth_date(&self, today: Date) -> Option<Date> {
        match self.0[0] {
            1 | 2 => self.date(1900),
            3 | 4 => self.date(1800),
            5 | 6 => self.date(2000),
            _ => self
                .date(2000)
                .filter(|date| *date <= today)
                .or_else(|| self.date(1900)),
        }
    }

    /// The sex; none: the number of a foreigner that doesn't say it (S = 9).
    pub fn sex(&self) -> Option<Sex> {
        match self.0[0] {
            9 => None,
            odd if odd % 2 == 1 => Some(Sex::Male),
            _ => Some(Sex::Female),
        }
    }

    /// The code of the county where it was given: 01–39 counties, 40 Bucharest, 41–46 its sectors, 51 Călărași,
    /// 52 Giurgiu; others are seen too (old sectors, newer offices).
    pub fn county(&self) -> u8 {
        self.0[7] * 10 + self.0[8]
    }

    /// The thirteen digits. Personal: not for logs.
    pub fn digits(&self) -> String {
        self.0.iter().map(|digit| char::from(b'0' + digit)).collect()
    }

    fn date(&self, century: i16) -> Option<Date> {
        let two = |at: usize| i16::from(self.0[at]) * 10 + i16::from(self.0[at + 1]);
        Date::new(
            century + two(1),
            i8::try_from(two(3)).ok()?,
            i8::try_from(two(5)).ok()?,
        )
        .ok()
    }
}

impl FromStr for Cnp {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const WEIGHTS: [u32; 12] = [2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9];
        let digits = thirteen_digits(text).ok_or(ValueError(LENGTH))?;
        let sum: u32 = WEIGHTS
            .iter()
            .zip(digits)
            .map(|(weight, digit)| weight * u32::from(digit))
            .sum();
        let check = match sum % 11 {
            10 => 1,
            rest => rest,
        };
        if check != u32::from(digits[12]) {
            return Err(ValueError("the control digit of the CNP is wrong"));
        }
        if digits[0] == 0 {
            return Err(ValueError("the first digit of the CNP is none of 1 to 9"));
        }
        let cnp = Cnp(digits);
        if cnp.birth_date(Date::MAX).is_none() {
            return Err(ValueError("the birth date in the CNP is not in the calendar"));
        }
        Ok(cnp)
    }
}

impl fmt::Debug for Cnp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cnp(•••)")
    }
}

/// A Moldovan personal number (*IDNP*), 13 digits: right by construction.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Idnp([u8; 13]);

impl Idnp {
    /// What is wrong with a number that should be an IDNP; none: nothing.
    pub fn problem(value: &str) -> Option<&'static str> {
        value.parse::<Idnp>().err().map(|error| error.0)
    }

    /// The thirteen digits. Personal: not for logs.
    pub fn digits(&self) -> String {
        self.0.iter().map(|digit| char::from(b'0' + digit)).collect()
    }
}

impl FromStr for Idnp {
    type Err = ValueError;

    /// The control digit is the sum of the first twelve by the weights 7, 3, 1 in turn, modulo 10.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let digits = thirteen_digits(text).ok_or(ValueError("an IDNP has 13 digits"))?;
        let weights = [7u32, 3, 1].into_iter().cycle();
        let sum: u32 = digits[..12]
            .iter()
            .zip(weights)
            .map(|(digit, weight)| u32::from(*digit) * weight)
            .sum();
        if sum % 10 != u32::from(digits[12]) {
            return Err(ValueError("the control digit of the IDNP is wrong"));
        }
        Ok(Idnp(digits))
    }
}

impl fmt::Debug for Idnp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Idnp(•••)")
    }
}

fn thirteen_digits(text: &str) -> Option<[u8; 13]> {
    let mut digits = [0u8; 13];
    if text.len() != 13 {
        return None;
    }
    for (digit, byte) in digits.iter_mut().zip(text.bytes()) {
        if !byte.is_ascii_digit() {
            return None;
        }
        *digit = byte - b'0';
    }
    Some(digits)
}

/// True for an identifier that is said to be a CNP: by its kind (HL7 table 0203: NNROU) or by its system.
pub fn is_cnp(identifier: &Identifier) -> bool {
    identifier.kind_code() == Some("NNROU") || names(identifier, "cnp")
}

/// True for an identifier that is said to be an IDNP (NNMDA).
pub fn is_idnp(identifier: &Identifier) -> bool {
    identifier.kind_code() == Some("NNMDA") || names(identifier, "idnp")
}

/// True for a number of which a person has one from their country: a CNP, an IDNP, and what HL7 table 0203 calls NI
/// or NN with a country.
pub fn is_national(identifier: &Identifier) -> bool {
    let by_kind = match identifier.kind_code() {
        Some("NI" | "NN") => true,
        Some(kind) => kind.len() == 5 && kind.starts_with("NN"),
        None => false,
    };
    by_kind || names(identifier, "cnp") || names(identifier, "idnp")
}

/// What is wrong with an identifier that is said to be a national number; the note that goes with it.
pub fn identifier_problem(identifier: &Identifier) -> Option<&'static str> {
    if is_cnp(identifier) {
        Cnp::problem(&identifier.value)
    } else if is_idnp(identifier) {
        Idnp::problem(&identifier.value)
    } else {
        None
    }
}

/// True where the system is this word, or a URI that ends with it.
fn names(identifier: &Identifier, word: &str) -> bool {
    let last = identifier
        .system
        .as_deref()
        .and_then(|system| system.rsplit(['/', ':', '#']).next());
    last.is_some_and(|last| last.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn right_ones_are_read() {
        for cnp in [
            "2850312120015",
            "1700425400127",
            "6190516120035",
            "1581201350246",
            "2900901400072",
            "2800101400001",
        ] {
            assert_eq!(Cnp::problem(cnp), None, "{cnp}");
        }
    }

    #[test]
    fn wrong_ones_say_why() {
        let cases = [
            ("2850312120016", "the control digit of the CNP is wrong"),
            (
                "2850231120011",
                "the birth date in the CNP is not in the calendar",
            ),
            ("285031212001", LENGTH),
            ("28503121200155", LENGTH),
            ("2850312A20015", LENGTH),
            ("28503121200é5", LENGTH),
            ("", LENGTH),
            ("0000000000000", "the first digit of the CNP is none of 1 to 9"),
        ];
        for (cnp, problem) in cases {
            assert_eq!(Cnp::problem(cnp), Some(problem), "{cnp}");
        }
    }

    #[test]
    fn it_says_date_sex_and_county() {
        let today = date(2026, 5, 5);
        let cnp = |text: &str| text.parse::<Cnp>().expect("a right one");
        let woman = cnp("2850312120015");
        assert_eq!(woman.birth_date(today), Some(date(1985, 3, 12)));
        assert_eq!(woman.sex(), Some(Sex::Female));
        assert_eq!(woman.county(), 12);
        assert_eq!(cnp("6190516120035").birth_date(today), Some(date(2019, 5, 16)));
        assert_eq!(cnp("1700425400127").county(), 40);
        assert_eq!(format!("{woman:?}"), "Cnp(•••)");
        assert_eq!(woman.digits(), "2850312120015");
    }

    /// The control digit of an invented number, computed here a second time.
    fn with_check(first: &str) -> String {
        let weights = "279146358279";
        let sum: u32 = first
            .bytes()
            .zip(weights.bytes())
            .map(|(a, b)| u32::from(a - b'0') * u32::from(b - b'0'))
            .sum();
        let check = if sum % 11 == 10 { 1 } else { sum % 11 };
        format!("{first}{check}")
    }

    #[test]
    fn the_century_is_that_of_the_first_digit() {
        let today = date(2026, 5, 5);
        let cases = [
            ("3", date(1899, 1, 2)),
            ("1", date(1999, 1, 2)),
            ("7", date(1999, 1, 2)),
            ("9", date(1999, 1, 2)),
        ];
        for (first, born) in cases {
            let cnp: Cnp = with_check(&format!("{first}99010240001")).parse().expect("right");
            assert_eq!(cnp.birth_date(today), Some(born), "{first}");
        }
        let child: Cnp = with_check("825010240001").parse().expect("right");
        assert_eq!(child.birth_date(today), Some(date(2025, 1, 2)));
        let no_sex: Cnp = with_check("999010240001").parse().expect("right");
        assert_eq!(no_sex.sex(), None);
    }

    #[test]
    fn one_wrong_digit_is_noticed() {
        let right = "2850312120015";
        for at in 0..12 {
            let mut digits: Vec<u8> = right.bytes().collect();
            digits[at] = b'0' + (digits[at] - b'0' + 1) % 10;
            let wrong = String::from_utf8(digits).expect("digits");
            assert!(Cnp::problem(&wrong).is_some(), "digit {at}");
        }
    }

    #[test]
    fn moldovan_numbers() {
        // 2·7+0·3+0·1+1·7+2·3+3·1+4·7+5·3+6·1+7·7+8·3+9·1 = 161, so 1.
        assert_eq!(Idnp::problem("2001234567891"), None);
        assert_eq!(
            Idnp::problem("2001234567892"),
            Some("the control digit of the IDNP is wrong")
        );
        assert_eq!(Idnp::problem("200123456789"), Some("an IDNP has 13 digits"));
    }

    #[test]
    fn which_identifiers_are_national() {
        assert!(is_cnp(&Identifier::new(Some("CNP"), "1")));
        assert!(is_cnp(&Identifier::new(Some("urn:punte:cnp"), "1")));
        assert!(!is_cnp(&Identifier::new(Some("NORD"), "1")));
        assert!(is_national(&Identifier::new(Some("IDNP"), "1")));
        assert_eq!(
            identifier_problem(&Identifier::new(Some("CNP"), "1")),
            Some(LENGTH)
        );
        assert_eq!(identifier_problem(&Identifier::new(Some("NORD"), "1")), None);
    }
}
