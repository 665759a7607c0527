//! What happens on the day: each message, what its sender should be told, and who should get it.

use jiff::ZonedDateTime as Zoned;

use super::people::{ANA, ION, Person, STEFANIA};

/// The mobile number that Ana has in the end.
pub const NEW_NUMBER: &str = "744000199";

/// The channel of imaging orders.
pub const IMAGING: &str = "imaging-orders";

/// One message of the day.
pub struct Scene {
    /// Who sends it: `reception` or `laboratory`; also decides the channel.
    pub channel: &'static str,
    /// What it is, for the table.
    pub what: &'static str,
    /// Its control id; empty for one that has none.
    pub id: String,
    /// The message.
    pub text: String,
    /// What its sender should be told.
    pub ack: &'static str,
    /// How often each receiver should have it in the end.
    pub to: Vec<(&'static str, usize)>,
}

/// The day, in order.
pub fn day(now: &Zoned) -> Vec<Scene> {
    let script = Script { now: now.clone() };
    let mut scenes = vec![
        script.adt("A04", "Ana registers", 1, &[ANA.pid(), script.visit("O", "V-1")]),
        script.adt("A04", "Ion registers", 2, &[ION.pid(), script.visit("O", "V-2")]),
        script.adt("A28", "Ștefania's record", 3, &[STEFANIA.pid()]),
        script.siu("S12", "Ion books", 4, "AP-1", &ION, 1, 10, "Booked"),
        script.siu("S12", "Ștefania books", 5, "AP-2", &STEFANIA, 1, 11, "Booked"),
        script.adt("A31", "Ana's new number", 6, &[new_pid()]),
        script.order(7),
        script.result(8, "P", "241", "preliminary results"),
        script.result(9, "F", "243", "final results"),
        script.siu("S13", "Ion moves it", 10, "AP-1", &ION, 2, 9, "Booked"),
        script.siu("S15", "Ion cancels", 11, "AP-1", &ION, 2, 9, "Cancelled"),
        script.result(12, "C", "234", "a correction"),
        script.adt("A28", "Ștefania, again", 13, &[twin_pid()]),
        script.merge(14),
        script.imaging(19),
        script.adt("A03", "Ana leaves", 15, &[new_pid(), script.left("V-1")]),
    ];
    // A duplicate: the same bytes once more. Answered as the first, done once.
    let first = &scenes[3];
    scenes.push(Scene {
        channel: first.channel,
        what: "the booking, sent twice",
        id: first.id.clone(),
        text: first.text.clone(),
        ack: first.ack,
        to: vec![],
    });
    // A malformed one: results of nobody.
    scenes.push(Scene {
        channel: "lab-results",
        what: "results of nobody",
        id: "DEMO-17".into(),
        text: format!("{}OBR|1|C-9^DEMO|L-9^LIS|24331-1^Lipid panel^LN|||{}|||||||||||||||||||F\rOBX|1|NM|2093-3^Cholesterol^LN||5\r", script.msh("ORU^R01^ORU_R01", "LIS", 17), script.stamp()),
        ack: "AE",
        to: vec![],
    });
    // A type that no mapping reads yet.
    scenes.push(Scene {
        channel: "reception-adt",
        what: "a type not read yet",
        id: "DEMO-18".into(),
        text: format!(
            "{}EVN|T02|{}\r{}\r",
            script.msh("MDM^T02^MDM_T02", "RECEPTION", 18),
            script.stamp(),
            ANA.pid()
        ),
        ack: "AR",
        to: vec![],
    });
    scenes
}

/// Ana's PID from the moment on when she has a new number.
fn new_pid() -> String {
    ANA.pid_with(NEW_NUMBER)
}

/// The record that Ștefania got when she was registered a second time, without her CNP.
fn twin_pid() -> String {
    "PID|1||D-1004^^^DEMO^MR||Tiru^Stefania^^^^^L||19930228|F".into()
}

struct Script {
    now: Zoned,
}

impl Script {
    fn stamp(&self) -> String {
        self.now.strftime("%Y%m%d%H%M%S").to_string()
    }

    /// A moment some days from now at a full hour.
    fn at(&self, days: i32, hour: i8, minute: i8) -> String {
        let day = self
            .now
            .date()
            .checked_add(jiff::Span::new().days(days))
            .unwrap_or(self.now.date());
        format!("{}{hour:02}{minute:02}00", day.strftime("%Y%m%d"))
    }

    fn msh(&self, kind: &str, from: &str, number: u32) -> String {
        format!(
            "MSH|^~\\&|{from}|DEMO|PUNTE|DEMO|{}||{kind}|DEMO-{number}|P|2.5.1|||||ROU|UNICODE UTF-8\r",
            self.stamp()
        )
    }

    fn visit(&self, class: &str, number: &str) -> String {
        format!(
            "PV1|1|{class}|CARD^CAB1^^DEMO||||D500^Munteanu^Vlad^^^Dr.|||CARD|||||||||{number}^^^DEMO^VN|||||||||||||||||||||||||{}",
            self.stamp()
        )
    }

    fn left(&self, number: &str) -> String {
        format!("{}|{}", self.visit("O", number), self.stamp())
    }

    fn adt(&self, event: &str, what: &'static str, number: u32, segments: &[String]) -> Scene {
        let structure = match event {
            "A28" | "A31" => "ADT_A05",
            "A03" => "ADT_A03",
            _ => "ADT_A01",
        };
        let mut text = self.msh(&format!("ADT^{event}^{structure}"), "RECEPTION", number);
        text.push_str(&format!("EVN|{event}|{}\r", self.stamp()));
        for segment in segments {
            text.push_str(segment);
            text.push('\r');
        }
        self.scene("reception-adt", what, number, text)
    }

    fn merge(&self, number: u32) -> Scene {
        let mut text = self.msh("ADT^A40^ADT_A39", "RECEPTION", number);
        text.push_str(&format!(
            "EVN|A40|{}\r{}\rMRG|D-1004^^^DEMO^MR\r",
            self.stamp(),
            STEFANIA.pid()
        ));
        self.scene("reception-adt", "the two are one", number, text)
    }

    #[allow(clippy::too_many_arguments, reason = "a line of the script reads as one")]
    fn siu(
        &self,
        event: &str,
        what: &'static str,
        number: u32,
        booking: &str,
        who: &Person,
        days: i32,
        hour: i8,
        status: &str,
    ) -> Scene {
        let (start, end) = (self.at(days, hour, 0), self.at(days, hour, 20));
        let mut text = self.msh(&format!("SIU^{event}^SIU_S12"), "RECEPTION", number);
        text.push_str(&format!("SCH|{booking}^DEMO|||||{event}^{event}^L|ROUTINE^Check-up^HL70276|NORMAL^Normal^HL70277|20|MIN|^^20^{start}^{end}|||||D1^Dan^Ilinca||||||||| {status}\r").replace("| B", "|B").replace("| C", "|C"));
        text.push_str(&format!("{}\r", who.pid()));
        text.push_str(&format!("RGS|1|A\rAIS|1|A|CARD-01^Cardiology consultation^L|{start}|||20|MIN\rAIL|1|A|CARD^CAB1^^DEMO|||{start}|||20|MIN\rAIP|1|A|D500^Munteanu^Vlad^^^Dr.|||{start}|||20|MIN\r"));
        self.scene("reception-adt", what, number, text)
    }

    fn order(&self, number: u32) -> Scene {
        let mut text = self.msh("OML^O21^OML_O21", "RECEPTION", number);
        text.push_str(&format!(
            "{}\r{}\rORC|NW|C-7^DEMO|||||||{now}|||D500^Munteanu^Vlad^^^Dr.\rTQ1|1||||||||R^Routine^HL70485\rOBR|1|C-7^DEMO||24331-1^Lipid panel^LN|||||||||||||D500^Munteanu^Vlad^^^Dr.\rSPM|1|SB-7&DEMO||SER^Serum^HL70487|||||||||||||{now}\r",
            new_pid(),
            self.visit("O", "V-1"),
            now = self.stamp()
        ));
        Scene {
            channel: "lab-orders",
            what: "blood tests are ordered",
            id: format!("DEMO-{number}"),
            text,
            ack: "AA",
            to: vec![("lis", 1), ("portal", 1)],
        }
    }

    fn imaging(&self, number: u32) -> Scene {
        let mut text = self.msh("OMI^O23^OMI_O23", "RIS", number);
        text.push_str(&format!(
            "{}\r{}\rORC|NW|C-19^DEMO|R-19^RIS||SC||||{now}|||D500^Munteanu^Vlad^^^Dr.\rTQ1|1||||||{now}||R\rOBR|1|C-19^DEMO|R-19^RIS|CTCHEST^CT chest^L|||||||||||||D500^Munteanu^Vlad^^^Dr.||||||||CT||||||||||||||||||||CTCHEST^CT chest^L\rIPC|{accession}|RP-19||SPS-19|CT|CTCHEST^CT chest^L|CT 1||CT1\r",
            new_pid(),
            self.visit("O", "V-1"),
            accession = super::imaging::ACCESSION,
            now = self.stamp()
        ));
        Scene {
            to: vec![],
            ..self.scene(IMAGING, "a CT is ordered", number, text)
        }
    }

    fn result(&self, number: u32, status: &str, cholesterol: &str, what: &'static str) -> Scene {
        let mut text = self.msh("ORU^R01^ORU_R01", "LIS", number);
        text.push_str(&format!(
            "{}\rORC|RE|C-7^DEMO|L-7^LIS\rOBR|1|C-7^DEMO|L-7^LIS|24331-1^Lipid panel^LN|||{now}|||||||{now}||D500^Munteanu^Vlad^^^Dr.||||||{now}||CH|{status}\rOBX|1|NM|2093-3^Cholesterol^LN||{cholesterol}|mg/dL^mg/dL^UCUM|<200|H|||{status}|||{now}\rOBX|2|NM|2085-9^HDL^LN||51.0|mg/dL^mg/dL^UCUM|40-60|N|||{status}|||{now}\r",
            new_pid(),
            now = self.stamp()
        ));
        self.scene("lab-results", what, number, text)
    }

    fn scene(&self, channel: &'static str, what: &'static str, number: u32, text: String) -> Scene {
        Scene {
            channel,
            what,
            id: format!("DEMO-{number}"),
            text,
            ack: "AA",
            to: vec![("portal", 1), ("ris", 1)],
        }
    }
}
