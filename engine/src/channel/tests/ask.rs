//! Questions made of a message.

use uuid::Uuid;

use super::fake::Lines;
use crate::channel::ask::{Filled, Stamped, Template};
use crate::connector::Asks;

fn fill(text: &str, asks: Asks, value: &str) -> Result<String, String> {
    let template = Template::parse(text, asks)?;
    let stamped = Stamped {
        id: Uuid::from_u128(0x0197_a3b2_0000_7000_8000_0000_0000_0001),
        now: "2026-05-05T05:30:00Z".parse().map_err(|_| "no time")?,
        zone: None,
    };
    let values = |_: &str| Ok(vec![String::new(), value.to_owned()]);
    match template.fill(&Lines { name: "hl7v2" }, stamped, &values) {
        Ok(Filled::Question(question)) => Ok(String::from_utf8_lossy(&question).into_owned()),
        Ok(Filled::Lacks(path)) => Err(format!("lacks {path}")),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn values_stand_in_an_address_as_such() {
    let text = "Patient?identifier=urn:oid:1.2%7C{PID-3.1}&_count=2";
    assert_eq!(
        fill(text, Asks::Address, "P/1&name=ș").as_deref(),
        Ok("Patient?identifier=urn:oid:1.2%7CP%2F1%26name%3D%C8%99&_count=2")
    );
    assert_eq!(fill(text, Asks::Address, " "), Err("lacks PID-3.1".to_owned()));
    assert_eq!(
        fill("{{\"a\": \"{PID-3.1}\"}} {id} {now} {date}", Asks::Either, "x").as_deref(),
        Ok("{\"a\": \"x\"} 06BT7CG0000000000001 20260505083000 2026-05-05")
    );
    assert_eq!(fill("/a/{b}", Asks::Either, "x y").as_deref(), Ok("/a/x%20y"));
}

#[test]
fn what_is_no_question_is_told() {
    for wrong in ["", "{", "}", "a{b", "{}", "a}b"] {
        assert!(Template::parse(wrong, Asks::Address).is_err(), "{wrong}");
    }
}
