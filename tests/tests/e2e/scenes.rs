//! Messages and channels that several tests use. The people are invented.

use e2e::mllp::field;
use e2e::sink::Sink;

/// A listener that routes to one HL7 receiver.
pub fn route(to: std::net::SocketAddr) -> String {
    format!(
        "id = \"route\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[destination]]\nname = \"ris\"\nmllp = {{ connect = \"{to}\", reply_timeout = \"1s\" }}\nretry = {{ first = \"50ms\", max = \"200ms\" }}\n"
    )
}

/// A listener that writes to the clinic and delivers FHIR and HL7.
pub fn clinic(fhir: std::net::SocketAddr, hl7: std::net::SocketAddr) -> String {
    format!(
        "id = \"clinic\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = true\n[[destination]]\nname = \"portal\"\nencode = \"fhir-r4\"\nfhir = {{ base = \"http://{fhir}/fhir\" }}\nretry = {{ first = \"50ms\", max = \"200ms\" }}\n[[destination]]\nname = \"ris\"\nmllp = {{ connect = \"{hl7}\" }}\nretry = {{ first = \"50ms\", max = \"200ms\" }}\n"
    )
}

/// A listener that writes to the clinic and delivers nothing.
pub fn chart_only() -> String {
    "id = \"clinic\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = true\n".to_owned()
}

/// The header of a message in original mode.
pub fn msh(kind: &str, id: &str) -> String {
    format!(
        "MSH|^~\\&|SENDER|TEST|PUNTE|TEST|20260505083000+0300||{kind}|{id}|P|2.5.1|||||ROU|UNICODE UTF-8\r"
    )
}

/// A registration of the patient with this number.
pub fn register(id: &str, chart: &str, family: &str) -> String {
    format!(
        "{}EVN|A28|20260505083000\rPID|1||{chart}^^^TEST^MR||{family}^Ana^^^^^L||19800514|F\r",
        msh("ADT^A28^ADT_A05", id)
    )
}

/// A result of an order of the patient with this number.
pub fn result(id: &str, chart: &str, order: &str, value: &str) -> String {
    format!(
        "{}PID|1||{chart}^^^TEST^MR||Pop^Ana^^^^^L||19800514|F\rORC|RE|{order}^TEST|F{order}^LIS\rOBR|1|{order}^TEST|F{order}^LIS|2093-3^Cholesterol^LN|||20260505084500|||||||||||||||20260505133000||CH|F\rOBX|1|NM|2093-3^Cholesterol^LN||{value}|mg/dL^mg/dL^UCUM|<200|N|||F\r",
        msh("ORU^R01^ORU_R01", id)
    )
}

/// A booking of a doctor's time.
pub fn booking(id: &str, appointment: &str, chart: &str, start: &str, end: &str) -> String {
    format!(
        "{}SCH|{appointment}^TEST|||||S12^S12^L|ROUTINE^Check-up^HL70276|NORMAL^Normal^HL70277|20|MIN|^^20^{start}^{end}|||||D1^Dan^Ilinca|||||||||Booked\rPID|1||{chart}^^^TEST^MR||Pop^Ana^^^^^L||19800514|F\rRGS|1|A\rAIS|1|A|C-01^Consultation^L|{start}|||20|MIN\rAIP|1|A|D500^Munteanu^Vlad|||{start}|||20|MIN\r",
        msh("SIU^S12^SIU_S12", id)
    )
}

/// A change of a patient, for channels that only route.
pub fn message(control_id: &str) -> String {
    format!(
        "MSH|^~\\&|HIS|CLINIC|PUNTE|CLINIC|20260505083000||ADT^A08|{control_id}|P|2.5.1\rPID|1||P-1^^^HIS||Pop^Ana\r"
    )
}

/// The numbers of the HL7 messages that a receiver got, in order, repeats too.
pub fn control_ids(sink: &Sink) -> Vec<String> {
    sink.received()
        .iter()
        .map(|body| field(body, "MSH", 10))
        .collect()
}
