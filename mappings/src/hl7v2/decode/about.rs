//! MSH, EVN → what the message is, who sent it, when and why. HL7 v2.5.1, 2.15.9 and 3.4.1.

use clinic::change_set::{Act, Party};
use clinic::exchange::Extra;
use clinic::value::{Concept, Identifier, Ref};

use super::collect::{At, Collected, Seg};
use super::datatypes as data;
use super::parties;
use super::terms::{self, hl7, v2};

/// MSH → about.
pub fn about_from_msh(out: &mut Collected<'_>, msh: Seg<'_>) {
    // They delimit; nothing is lost where the values they part are carried.
    msh.f(1).take();
    msh.f(2).take();
    out.about.sender = Party {
        application: party(msh.f(3)),
        facility: party(msh.f(4)),
        endpoint: endpoint(msh.f(24)),
        country: msh.f(17).part(1).text(),
        responsible: None,
    };
    out.about.receiver = Party {
        application: party(msh.f(5)),
        facility: party(msh.f(6)),
        endpoint: endpoint(msh.f(25)),
        country: None,
        responsible: parties::organisation(out, msh.f(23)),
    };
    if out.about.receiver.responsible.is_some()
        && let Some(facility) = msh.f(6).peek()
    {
        out.extra(msh.f(6).place(), facility, "MSH-23 says who receives it");
    }
    out.about.responsible = parties::organisation(out, msh.f(22));
    out.about.sent = data::when(msh.f(7));
    let mut security: Vec<Concept> = msh.f(8).text().map(Concept::words).into_iter().collect();
    security.extend(terms::concept(msh.f(26), terms::table("0952")));
    security.extend(
        msh.f(27)
            .reps()
            .into_iter()
            .filter_map(|rep| terms::concept(rep, terms::table("0953"))),
    );
    out.about.security = security;
    event(out, msh.f(9));
    out.about.control_id = msh.f(10).part(1).text();
    out.about.processing = msh.f(11).part(1).text();
    out.about.processing_mode = msh.f(11).part(2).text();
    out.about.language = language(msh.f(19));
    // Said in `about`, and left in `extra` too: no resource has a place for it.
    out.about.version = msh.f(12).part(1).peek();
    out.about.profiles = msh
        .f(21)
        .reps()
        .into_iter()
        .filter_map(|rep| rep.part(1).peek())
        .collect();
}

/// MSG → type and event. The whole of it stands as the display of the event's code, as the official map has it.
fn event(out: &mut Collected<'_>, at: At<'_>) {
    let parts = [at.part(1).text(), at.part(2).text(), at.part(3).text()];
    let [kind, event, _] = &parts;
    out.about.message_type = match (kind, event) {
        (Some(kind), Some(event)) => Some(format!("{kind}^{event}")),
        (Some(kind), None) => Some(kind.clone()),
        (None, _) => None,
    };
    let whole: Vec<&str> = parts.iter().flatten().map(String::as_str).collect();
    if let Some(event) = event {
        out.about.event = Some(Concept::coded(&v2("0003"), event, Some(&whole.join("^"))));
    }
}

/// The event that a message has whose MSG names none.
pub fn set_event(out: &mut Collected<'_>, kind: &str, event: &str) {
    let whole = format!("{kind}^{event}");
    out.about.event = Some(Concept::coded(&v2("0003"), event, Some(&whole)));
    out.about.message_type = Some(whole);
}

/// HD → the name of a program or facility, with its universal id as the system.
fn party(at: At<'_>) -> Option<Identifier> {
    let name = at.part(1).text();
    match (name, data::universal(at.part(2), at.part(3))) {
        (Some(name), uri) => Some(Identifier {
            system: uri,
            value: name,
            ..Identifier::default()
        }),
        (None, Some(uri)) => Some(Identifier::new(None, &uri)),
        (None, None) => None,
    }
}

/// HD → an address on the network.
fn endpoint(at: At<'_>) -> Option<String> {
    data::universal(at.part(2), at.part(3)).or_else(|| at.part(1).text())
}

/// CWE of a language → concept with the code of BCP 47 first, where it is known.
pub fn language(at: At<'_>) -> Option<Concept> {
    let mut concept = terms::concept(at, terms::table("0296"))?;
    let code = concept
        .codings
        .iter()
        .filter_map(|c| c.code.as_deref())
        .find_map(terms::bcp47);
    if let Some(code) = code {
        let tag = clinic::value::Coding::new("urn:ietf:bcp:47", code, None);
        concept
            .codings
            .retain(|c| c.system != tag.system || c.code != tag.code || c.display.is_some());
        match concept
            .codings
            .iter()
            .position(|c| c.system == tag.system && c.code == tag.code)
        {
            Some(at) => concept.codings.swap(0, at),
            None => concept.codings.insert(0, tag),
        }
    }
    Some(concept)
}

/// EVN → when, why, by whom and where the event happened.
pub fn about_from_evn(out: &mut Collected<'_>, evn: Seg<'_>) {
    out.about.recorded = data::when(evn.f(2));
    out.about.reason = terms::concept(evn.f(4), terms::mapped("0062", "EventReason"));
    for rep in evn.f(5).reps() {
        let operator = parties::practitioner(out, rep);
        out.about.operators.extend(operator);
    }
    out.about.occurred = data::when(evn.f(6));
    out.about.place = parties::site_from_hd(out, evn.f(7));
}

/// SFT → the name and version of the sender's program. They stand in the notes, by their place.
pub fn software_from_sft(out: &mut Collected<'_>, sft: Seg<'_>) {
    for at in [sft.f(2), sft.f(3)] {
        if let Some(value) = at.part(1).text() {
            out.about.notes.push(Extra {
                place: at.place(),
                value,
                note: None,
            });
        }
    }
}

/// PID-33, PID-34 → that, when and by whom the patient's data were changed.
pub fn last_update(out: &mut Collected<'_>, pid: Seg<'_>, patient: &Ref) {
    let recorded = data::when(pid.f(33).part(1));
    let facility = parties::organisation_from_hd(out, pid.f(34));
    if recorded.is_none() && facility.is_none() {
        return;
    }
    let performer = Concept::coded(
        &hl7("provenance-participant-type"),
        "performer",
        Some("Performer"),
    );
    out.about.acts.push(Act {
        target: vec![patient.clone()],
        activity: Some(Concept::coded(&hl7("v3-DataOperation"), "UPDATE", Some("revise"))),
        recorded,
        agents: facility
            .into_iter()
            .map(|facility| (facility, performer.clone()))
            .collect(),
        ..Act::default()
    });
}
