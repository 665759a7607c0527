//! NTE → remarks. HL7 v2.5.1, 2.15.10.

use clinic::value::Annotation;

use super::collect::{Collected, Seg};
use super::{datatypes as data, parties, terms};

/// The kinds of the remarks that TQ1-10 (the condition under which it is done) and TQ1-11 (for those who do it) make of
/// an order: what they say is no remark of NTE. HL7 v2.5.1, 4.5.4.10, 4.5.4.11.
pub const TIMING_NOTES: [&str; 2] = ["Condition text", "Text instruction"];

/// NTEs that stand together → remarks. They are joined by line feeds in order; one that names another author, time
/// or kind than those before it begins a remark of its own.
pub fn annotations<'m>(out: &mut Collected<'m>, notes: &[Seg<'m>]) -> Vec<Annotation> {
    let mut remarks: Vec<Annotation> = vec![];
    let mut heads: Vec<[&str; 4]> = vec![];
    for nte in notes {
        let head = [4, 5, 6, 9].map(|field| nte.f(field).raw());
        let goes_on = heads
            .last()
            .is_some_and(|known| head.iter().all(|raw| raw.is_empty()) || head == *known);
        let text = text(*nte);
        if let (true, Some(remark)) = (goes_on, remarks.last_mut()) {
            for field in [4, 5, 6, 9] {
                nte.f(field).take();
            }
            if !remark.text.is_empty() {
                remark.text.push('\n');
            }
            remark.text.push_str(&text.unwrap_or_default());
            continue;
        }
        if text.is_none() && nte.f(9).is_empty() {
            continue;
        }
        let remark = Annotation {
            text: text.unwrap_or_default(),
            author: parties::practitioner(out, nte.f(5)),
            time: data::when(nte.f(6)),
            kind: terms::concept(nte.f(4), terms::table("0364")),
            code: terms::concept(nte.f(9), terms::NO_TABLE),
        };
        heads.push(head);
        remarks.push(remark);
    }
    for remark in &mut remarks {
        let words = |remark: &Annotation| {
            let code = remark.code.as_ref()?;
            let coding = || {
                code.codings
                    .first()
                    .and_then(|c| c.display.clone().or_else(|| c.code.clone()))
            };
            code.text.clone().or_else(coding)
        };
        if remark.text.is_empty() {
            remark.text = words(remark).unwrap_or_default();
        }
    }
    remarks.retain(|remark| !remark.text.trim().is_empty());
    remarks
}

/// The words of NTEs alone, for places that have room for nothing more.
pub fn texts(notes: &[Seg<'_>]) -> Vec<String> {
    notes.iter().filter_map(|nte| text(*nte)).collect()
}

/// NTE-3: its repetitions are lines.
fn text(nte: Seg<'_>) -> Option<String> {
    let lines: Vec<String> = nte.f(3).reps().iter().filter_map(|rep| rep.long_text()).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}
