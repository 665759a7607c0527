//! The channel and the messages of the harness. The people are invented.

use super::Receivers;
use super::load::{CONNECTIONS, SENDERS};

/// The channel's id.
pub const CHANNEL: &str = "crash";
/// The destinations that get everything.
pub const PORTAL: &str = "portal";
/// As HL7.
pub const RIS: &str = "ris";
/// How the names of those that hold begin.
pub const PRINTER: &str = "printer-";

/// A listener that writes to the clinic, delivers FHIR and HL7, and to one that must get nothing twice.
pub fn channel(to: &Receivers, printer: u32) -> String {
    format!(
        r#"
id = "{CHANNEL}"
source.mllp.listen = "127.0.0.1:0"
[[step]]
decode = "hl7v2"
[[step]]
apply = true
[[destination]]
name = "{PORTAL}"
encode = "fhir-r4"
fhir = {{ base = "http://{portal}/fhir", reply_timeout = "500ms" }}
retry = {{ first = "50ms", max = "200ms" }}
[[destination]]
name = "{RIS}"
mllp = {{ connect = "{ris}", reply_timeout = "500ms" }}
retry = {{ first = "50ms", max = "200ms" }}
[[destination]]
name = "{PRINTER}{printer}"
mllp = {{ connect = "{paper}", reply_timeout = "500ms" }}
retry = {{ first = "50ms", max = "200ms" }}
on_unsure = "hold"
"#,
        portal = to.portal.address,
        ris = to.ris.address,
        paper = to.printer.address,
    )
}

/// Whom it is about and what was found: it may stand nowhere in plain.
const FAMILY: &str = "Năstrușniceanu";
const GIVEN: &str = "Zmărăndița";
const FOUND: &str = "Serratia roșiatică";

/// All of that, with the patients' numbers.
pub fn secrets() -> Vec<String> {
    let mut secrets = [FAMILY, GIVEN, FOUND].map(str::to_owned).to_vec();
    for sender in 0..SENDERS {
        secrets.extend((0..CONNECTIONS).map(|connection| Told::patient(sender, connection)));
    }
    secrets
}

/// A result of one connection of one sender: its patient, one of five orders, and a value that no other has.
pub struct Told {
    /// Which sender.
    pub sender: u32,
    /// Which of its connections.
    pub connection: u32,
    /// Which message of that.
    pub number: u32,
}

impl Told {
    /// MSH-10.
    pub fn control_id(&self) -> String {
        format!("S{}C{}-{}", self.sender, self.connection, self.number)
    }

    /// The patient's number: each connection has a patient of its own.
    pub fn patient(sender: u32, connection: u32) -> String {
        format!("PAC-77412-{sender}-{connection}")
    }

    /// Every fiftieth is too big for a row.
    pub fn text(&self) -> String {
        let (sender, connection, number) = (self.sender, self.connection, self.number);
        let (id, patient) = (self.control_id(), Self::patient(sender, connection));
        let order = format!("{sender}{connection}-{}", number % 5);
        let mut text = format!(
            "MSH|^~\\&|LAB{sender}|TEST|PUNTE|TEST|20260505083000+0300||ORU^R01^ORU_R01|{id}|P|2.5.1|||||ROU|UNICODE UTF-8\r\
             PID|1||{patient}^^^TEST^MR||{FAMILY}^{GIVEN}^^^^^L||19800514|F\r\
             ORC|RE|O{order}^TEST|F{order}^LIS\r\
             OBR|1|O{order}^TEST|F{order}^LIS|2093-3^Cholesterol^LN|||20260505084500|||||||||||||||20260505133000||CH|F\r\
             OBX|1|NM|2093-3^Cholesterol^LN||{number}.0|mg/dL^mg/dL^UCUM|<200|N|||F\r\
             NTE|1||{FOUND}\r"
        );
        if number % 50 == 49 {
            for line in 0..300 {
                text.push_str(&format!("NTE|{line}||{}\r", format!("{id}-{line} ").repeat(80)));
            }
        }
        text
    }
}
