//! The people of the demo. All are invented; their CNPs have a right check digit and belong to nobody.

use std::fmt::Write;

/// Somebody who comes to the clinic.
pub struct Person {
    /// The reception's number of the chart.
    pub chart: &'static str,
    /// Family name.
    pub family: &'static str,
    /// Given name.
    pub given: &'static str,
    /// Date of birth as YYYYMMDD.
    pub birth: &'static str,
    /// F or M.
    pub sex: &'static str,
    /// Three digits that make the CNP one of its own.
    pub serial: u16,
    /// Mobile number without the leading zero.
    pub mobile: &'static str,
}

/// Ana, who has blood taken.
pub const ANA: Person = Person {
    chart: "D-1001",
    family: "Pop",
    given: "Ana",
    birth: "19800514",
    sex: "F",
    serial: 951,
    mobile: "744000101",
};
/// Ion, who books, moves and cancels.
pub const ION: Person = Person {
    chart: "D-1002",
    family: "Rusu",
    given: "Ion",
    birth: "19671102",
    sex: "M",
    serial: 952,
    mobile: "744000102",
};
/// Ștefania, who was registered twice.
pub const STEFANIA: Person = Person {
    chart: "D-1003",
    family: "Țîru",
    given: "Ștefania",
    birth: "19930228",
    sex: "F",
    serial: 953,
    mobile: "744000103",
};

impl Person {
    /// The CNP: sex and century, date of birth, county 52, serial, check digit.
    pub fn cnp(&self) -> String {
        let first = if self.sex == "M" { 1 } else { 2 };
        let mut digits = format!("{first}{}52{:03}", &self.birth[2..], self.serial);
        let weights = [2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9];
        let sum: u32 = digits
            .bytes()
            .zip(weights)
            .map(|(digit, weight)| u32::from(digit - b'0') * weight)
            .sum();
        let check = if sum % 11 == 10 { 1 } else { sum % 11 };
        let _ = write!(digits, "{check}");
        digits
    }

    /// The PID segment.
    pub fn pid(&self) -> String {
        self.pid_with(self.mobile)
    }

    /// The PID segment with another mobile number.
    pub fn pid_with(&self, mobile: &str) -> String {
        let Person {
            chart,
            family,
            given,
            birth,
            sex,
            ..
        } = self;
        format!(
            "PID|1||{chart}^^^DEMO^MR~{}^^^CNP^NI||{family}^{given}^^^^^L||{birth}|{sex}|||Str. Zorilor 7^^Cluj-Napoca^CJ^400335^ROU^H||^PRN^CP^^40^{}^{}||ro^Romanian^ISO639",
            self.cnp(),
            &mobile[..3],
            &mobile[3..]
        )
    }
}
