//! The messages that are sent: made before the clock starts, with fixed places for what differs.
//!
//! Eight of ten are results (ORU^R01, 3 to 8 values, about 1 KB), two are registrations (ADT^A04, a new visit and a new
//! telephone number of a patient who is known). 600 invented patients take turns at random. The number of a message
//! stands in its control id and in its order or visit number, so that both receivers can tell which one they got.

/// Patients in the pool.
pub const PATIENTS: usize = 600;
/// Before the eight digits of a message's number, wherever it stands.
pub const MARK: &str = "BN";
const NUMBER: &str = "BN00000000";
/// A value of an observation, four characters: 10.0 to 99.9.
const VALUE: &str = "##.#";
/// The end of a telephone number.
const PHONE: &str = "@@@@@@";

/// A message but for its number and values.
pub struct Template {
    bytes: Vec<u8>,
    numbers: Vec<usize>,
    values: Vec<usize>,
    phones: Vec<usize>,
    /// What the store is told to find it by, where the bare loop writes it: patients, then orders or visits.
    pub keys: TemplateKeys,
}

/// The keys of a template; `{}` stands for the message's own number.
#[derive(Clone)]
pub struct TemplateKeys {
    pub sender: &'static str,
    pub message_type: &'static str,
    pub patients: Vec<String>,
    pub visits: Vec<&'static str>,
    pub orders: Vec<&'static str>,
}

/// All templates, and which message takes which.
pub struct Pool {
    results: Vec<Template>,
    registrations: Vec<Template>,
}

impl Pool {
    pub fn new() -> Self {
        Self::of(0..PATIENTS)
    }

    /// Of these patients.
    pub fn of(numbers: std::ops::Range<usize>) -> Self {
        let people: Vec<Person> = numbers.map(Person::new).collect();
        Pool {
            results: people
                .iter()
                .enumerate()
                .map(|(n, p)| result(p, 3 + n % 6))
                .collect(),
            registrations: people.iter().map(registration).collect(),
        }
    }

    /// The template of a message.
    pub fn template(&self, number: u64) -> &Template {
        let dice = scatter(number);
        let list = if dice % 10 < 8 {
            &self.results
        } else {
            &self.registrations
        };
        &list[(dice >> 8) as usize % list.len()]
    }

    /// Writes the message into `out`, in place of what stood there.
    pub fn write(&self, number: u64, out: &mut Vec<u8>) {
        let template = self.template(number);
        out.clear();
        out.extend_from_slice(&template.bytes);
        let mut dice = scatter(number ^ 0x5DEE_CE66);
        for at in &template.numbers {
            digits(number, &mut out[at + MARK.len()..at + NUMBER.len()]);
        }
        for at in &template.values {
            digits(10 + dice % 90, &mut out[*at..at + 2]);
            digits(dice >> 32, &mut out[at + 3..at + 4]);
            dice = scatter(dice);
        }
        for at in &template.phones {
            digits(dice, &mut out[*at..at + PHONE.len()]);
        }
    }
}

/// The number of a message, written as it stands in it.
pub fn name(number: u64) -> String {
    format!("{MARK}{:08}", number % 100_000_000)
}

/// The number after the first [`MARK`], if there is one.
pub fn number_in(finder: &memchr::memmem::Finder<'_>, bytes: &[u8]) -> Option<u64> {
    for at in finder.find_iter(bytes) {
        let digits = bytes.get(at + MARK.len()..at + NUMBER.len())?;
        if digits.iter().all(u8::is_ascii_digit) {
            return Some(
                digits
                    .iter()
                    .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')),
            );
        }
    }
    None
}

/// Writes the last decimal digits of a number.
fn digits(mut number: u64, out: &mut [u8]) {
    for place in out.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// A number that looks random and is the same in each run (splitmix64).
fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

struct Person {
    record: String,
    cnp: String,
    family: &'static str,
    given: &'static str,
    sex: char,
    birth: String,
    street: usize,
}

impl Person {
    fn new(number: usize) -> Self {
        const FAMILIES: [&str; 12] = [
            "Popescu",
            "Ionescu",
            "Rusu",
            "Munteanu",
            "Stan",
            "Dumitru",
            "Matei",
            "Constantin",
            "Ștefănescu",
            "Țurcanu",
            "Bălan",
            "Georgescu",
        ];
        const WOMEN: [&str; 6] = ["Ana", "Maria", "Elena", "Ioana", "Adina", "Ștefania"];
        const MEN: [&str; 6] = ["Ion", "Petru", "Matei", "Andrei", "Radu", "Ștefan"];
        let woman = number.is_multiple_of(2);
        let (year, month, day) = (40 + number % 55, 1 + number % 12, 1 + number % 28);
        // Serial numbers from 900 on are given to nobody.
        let twelve = format!(
            "{}{year:02}{month:02}{day:02}12{}",
            if woman { 2 } else { 1 },
            900 + number % 100
        );
        let sum: u32 = twelve
            .bytes()
            .zip([2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9])
            .map(|(digit, weight)| u32::from(digit - b'0') * weight)
            .sum();
        let check = if sum % 11 == 10 { 1 } else { sum % 11 };
        Person {
            record: format!("A-{:05}", 10_000 + number),
            cnp: format!("{twelve}{check}"),
            family: FAMILIES[number / 2 % FAMILIES.len()],
            given: if woman {
                WOMEN[number / 24 % 6]
            } else {
                MEN[number / 24 % 6]
            },
            sex: if woman { 'F' } else { 'M' },
            birth: format!("19{year:02}{month:02}{day:02}"),
            street: 1 + number % 140,
        }
    }

    fn pid(&self, phone: &str) -> String {
        let Person {
            record,
            cnp,
            family,
            given,
            sex,
            birth,
            street,
        } = self;
        format!(
            "PID|1||{record}^^^AURORA^MR~{cnp}^^^CNP^NI||{family}^{given}^^^^^L||{birth}|{sex}|||Str. Teilor {street}^^Cluj-Napoca^CJ^400120^ROU^H{phone}\r"
        )
    }

    fn keys(&self) -> Vec<String> {
        vec![
            self.record.clone(),
            format!("{}^AURORA", self.record),
            self.cnp.clone(),
            format!("{}^CNP", self.cnp),
        ]
    }
}

fn result(person: &Person, values: usize) -> Template {
    const TESTS: [(&str, &str, &str, &str); 8] = [
        ("718-7", "Hemoglobină", "g/dL", "12-16"),
        ("4544-3", "Hematocrit", "%", "36-46"),
        ("2345-7", "Glicemie", "mg/dL", "70-100"),
        ("2160-0", "Creatinină", "mg/dL", "0.6-1.2"),
        ("1742-6", "ALT", "U/L", "7-35"),
        ("1920-8", "AST", "U/L", "8-33"),
        ("2823-3", "Potasiu", "mmol/L", "3.5-5.1"),
        ("2951-2", "Sodiu", "mmol/L", "136-145"),
    ];
    let mut text = format!(
        "MSH|^~\\&|LIS|LABOR|PUNTE|AURORA|20260512083000+0300||ORU^R01^ORU_R01|{NUMBER}|P|2.5.1||||||UNICODE UTF-8\r"
    );
    text.push_str(&person.pid(""));
    text.push_str(&format!("ORC|RE|C-{NUMBER}^AURORA|L-{NUMBER}^LABOR||CM\r"));
    text.push_str(&format!(
        "OBR|1|C-{NUMBER}^AURORA|L-{NUMBER}^LABOR|24323-8^Profil metabolic^LN|||20260512074500|||||||||D-31^Pop^Mircea^^^Dr.||||||20260512082900||HM|F\r"
    ));
    for (idx, (code, display, unit, range)) in TESTS.iter().take(values).enumerate() {
        let number = idx + 1;
        text.push_str(&format!(
            "OBX|{number}|NM|{code}^{display}^LN||{VALUE}|{unit}^{unit}^UCUM|{range}|N|||F|||20260512074500\r"
        ));
    }
    let orders = vec!["C-{}", "C-{}^AURORA", "L-{}", "L-{}^LABOR"];
    template(text, "LIS|LABOR", "ORU^R01", person, vec![], orders)
}

fn registration(person: &Person) -> Template {
    let mut text = format!(
        "MSH|^~\\&|REC|RECEPTIE|PUNTE|AURORA|20260512083000+0300||ADT^A04^ADT_A01|{NUMBER}|P|2.5.1||||||UNICODE UTF-8\rEVN|A04|20260512083000\r"
    );
    text.push_str(&person.pid(&format!("||^PRN^CP^^40^740^{PHONE}")));
    text.push_str(&format!(
        "PV1|1|O|CAB^3^^AURORA||||D-40^Stan^Corina^^^Dr.|||||||||||V-{NUMBER}^^^AURORA^VN|||||||||||||||||||||||||20260512083000\r"
    ));
    let visits = vec!["V-{}", "V-{}^AURORA"];
    template(text, "REC|RECEPTIE", "ADT^A04", person, visits, vec![])
}

fn template(
    text: String,
    sender: &'static str,
    message_type: &'static str,
    person: &Person,
    visits: Vec<&'static str>,
    orders: Vec<&'static str>,
) -> Template {
    let places = |what: &str| text.match_indices(what).map(|(at, _)| at).collect();
    Template {
        numbers: places(NUMBER),
        values: places(VALUE),
        phones: places(PHONE),
        keys: TemplateKeys {
            sender,
            message_type,
            patients: person.keys(),
            visits,
            orders,
        },
        bytes: text.into_bytes(),
    }
}
