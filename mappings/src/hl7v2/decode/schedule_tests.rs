//! Appointments: what a message must say in the change set.

use super::said::{Said, day, list, of_kind, read, sample};

#[test]
fn a_rich_appointment_says_all_that_is_mapped() {
    let said = sample("siu-s12-rich");
    let appointment = said.one("Appointment");
    assert_eq!(appointment["status"], "booked");
    assert_eq!(appointment["start"], "2026-05-19T10:15:00+03:00");
    assert_eq!(appointment["end"], "2026-05-19T10:45:00+03:00");
    assert_eq!(appointment["duration_minutes"], 30);
    assert_eq!(appointment["kind"]["codings"][0]["code"], "Normal");
    assert_eq!(list(&appointment["reasons"])[0]["codings"][0]["code"], "CHECKUP");
    assert_eq!(
        list(&appointment["service_types"])[0]["codings"][0]["code"],
        "DERM-02"
    );
    let comments = list(&appointment["comments"]);
    assert_eq!(
        comments[0]["text"],
        "Aduce rezultatele din martie.\nPreferă cabinetul de la parter."
    );
    assert!(comments[0]["author"].is_object());
    assert_eq!(comments.len(), 2);
    let participants = appointment["participants"]
        .as_array()
        .expect("all of them")
        .clone();
    assert_eq!(participants.len(), 7, "device, room, two people, three contacts");
    let nurse = participants
        .iter()
        .find(|p| p["roles"][0]["codings"][0]["code"] == "ASST")
        .expect("the nurse");
    assert_eq!(nurse["status"], "tentative");
    assert_eq!(nurse["period"]["end"], "2026-05-19T10:35:00+03:00");
    let order = said.at(&list(&appointment["orders"])[0]);
    assert_eq!(list(&order["details"]).len(), 2);
    assert_eq!(order["occurrence_period"]["end"], "2026-05-19T10:45:00+03:00");
    assert_eq!(
        said.one("Encounter")["appointments"]["merge"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[test]
fn events_move_an_appointment() {
    let status = |name: &str| sample(name).one("Appointment")["status"].clone();
    assert_eq!(status("siu-s13-moved"), "booked");
    assert_eq!(status("siu-s15-cancelled"), "cancelled");
    assert_eq!(status("siu-s17-deleted"), "entered-in-error");
    assert_eq!(status("siu-s26-absent"), "noshow");
    let cancelled = sample("siu-s15-cancelled");
    let appointment = cancelled.one("Appointment");
    assert_eq!(appointment["cancellation_reason"]["codings"][0]["code"], "RACIT");
    assert!(
        appointment["participants"].get("merge").is_some(),
        "who is not named stays"
    );
    let absent = sample("siu-s26-absent");
    assert_eq!(
        absent.one("Appointment")["end"],
        "2026-05-11T09:30:00+03:00",
        "half an hour"
    );
}

#[test]
fn a_block_is_a_slot_of_the_resource() {
    let said = sample("siu-s23-blocked");
    let slot = said.one("Slot");
    assert_eq!(slot["status"], "busy-unavailable");
    assert_eq!(slot["end"], "2026-05-21T12:00:00+03:00");
    assert_eq!(list(&said.one("Schedule")["actors"]).len(), 1);
    let opened = sample("siu-s24-opened");
    assert_eq!(opened.one("Slot")["status"], "free");
    let key = |said: &Said| said.change("slot")["find"]["natural"]["key"].clone();
    assert_eq!(key(&said), key(&opened));
}

#[test]
fn an_appointment_is_booked_moved_and_cancelled() {
    let clinic = day(&["siu-s12-rich", "siu-s13-moved", "siu-s15-cancelled"]);
    let appointments = of_kind(&clinic, clinic::Kind::Appointment);
    assert_eq!(appointments.len(), 1);
    assert_eq!(appointments[0]["status"], "cancelled");
    assert_eq!(appointments[0]["start"], "2026-05-20T16:00:00+03:00");
    let clinic = day(&["siu-s23-blocked", "siu-s24-opened"]);
    let slots = of_kind(&clinic, clinic::Kind::Slot);
    assert_eq!(slots.len(), 1);
    assert_eq!(slots[0]["status"], "free");
}

#[test]
fn a_person_among_the_general_resources_is_a_person() {
    let said = super::said::read(
        "MSH|^~\\&|A|B|C|D|20260512||SIU^S12^SIU_S12|1|P|2.5.1\nSCH|A-1^P|||||R|||30|min|^^^20260516130000\nPID|1||1^^^C^MR||POP^ANA\nRGS|1\nAIG|1||D-5^Ionescu^L|DOCTOR\nAIG|2||US-1^Ecograf^L|DEV^Device\n",
    );
    assert_eq!(
        said.one("Practitioner")["identifiers"]["merge"][0]["value"],
        "D-5"
    );
    assert_eq!(said.one("Room")["name"], "Ecograf");
}

#[test]
fn a_length_without_a_unit_does_not_contradict_the_times() {
    let said = |length: &str| {
        super::said::read(&format!(
            "MSH|^~\\&|A|B|C|D|20260512||SIU^S12^SIU_S12|1|P|2.5.1\nSCH|A-1^P|||||R|||{length}||^^^20260516130000+0200^20260516133000+0200\nPID|1||1^^^C^MR||POP^ANA\n"
        ))
    };
    for (length, minutes) in [("30", 30), ("1800", 30)] {
        let said = said(length);
        assert_eq!(said.one("Appointment")["duration_minutes"], minutes, "{length}");
        assert!(!said.lost("SCH-9.1"));
    }
    let other = said("45");
    assert!(other.one("Appointment")["duration_minutes"].is_null());
    assert!(
        other.lost("SCH-9.1"),
        "neither minutes nor seconds of these times"
    );
}

const BOOKED: &str =
    "MSH|^~\\&|A|B|C|D|20260512||SIU^S12^SIU_S12|1|P|2.5.1\nSCH|A-1^P|F-1^F||||R|||30|min|^^^20260516130000";

#[test]
fn time_can_be_booked_for_nobody() {
    let said = super::said::read(&format!(
        "{BOOKED}\nNTE|1||Ședință de echipă\nRGS|1\nAIS|1||SED^Ședință^L\nAIL|1||CAB^2\nAIP|1||D-5^Ionescu^Ion\n"
    ));
    let appointment = said.one("Appointment");
    assert!(appointment.get("patient").is_none());
    assert_eq!(appointment["status"], "booked");
    assert_eq!(list(&appointment["participants"]).len(), 2);
    assert_eq!(list(&appointment["comments"])[0]["text"], "Ședință de echipă");
    assert!(said.all("Patient").is_empty());
    // What it is known by is its number then.
    let nameless = BOOKED.replace("A-1^P|F-1^F", "|") + "\nAIL|1||CAB^2";
    let bytes = nameless.replace('\n', "\r");
    let error =
        super::decode(bytes.as_bytes(), &super::Profile::default()).expect_err("no number and nobody");
    assert_eq!(error.place.map(|place| place.0).as_deref(), Some("SCH-1"));
}

#[test]
fn a_change_without_the_patient_leaves_whose_it_is() {
    let with = super::said::read(&format!(
        "{BOOKED}\nPID|1||1^^^C^MR||POP^ANA\nRGS|1\nAIL|1||CAB^2\n"
    ));
    let moved = BOOKED.replace("S12", "S15").replace("|1|P|", "|2|P|");
    let without = super::said::read(&moved);
    let clinic = super::said::told(&[with.set, without.set]);
    let appointments = of_kind(&clinic, clinic::Kind::Appointment);
    assert_eq!(appointments.len(), 1);
    assert_eq!(appointments[0]["status"], "cancelled");
    assert!(appointments[0]["patient"].is_object(), "{}", appointments[0]);
}

#[test]
fn who_is_taken_out_goes_alone() {
    let rest = "\nPID|1||1^^^C^MR||POP^ANA\n";
    let first = super::said::read(&format!(
        "{BOOKED}{rest}RGS|1|A\nAIG|1|A|SONO^Sono^L|DEV\nAIL|1|A|R1^1\nAIP|1|A|D1^Unu^Ion\nAIP|2|A|D2^Doi^Ana\nRGS|2|A\nAIL|1|A|R2^1\n"
    ));
    let change = BOOKED.replace("S12", "S14").replace("|1|P|", "|2|P|");
    let second = super::said::read(&format!(
        "{change}{rest}RGS|1|U\nAIP|1|D|D1^Unu^Ion\nAIP|2|A|D4^Patru^Dan\nRGS|2|D\nAIL|1||R2^1\n"
    ));
    let taking_part = |sets: &[clinic::ChangeSet]| {
        let clinic = super::said::told(sets);
        let appointment = of_kind(&clinic, clinic::Kind::Appointment)[0].clone();
        let all = appointment["participants"].as_array().expect("all").clone();
        let declined = all.iter().filter(|one| one["status"] == "declined").count();
        (all.len(), declined)
    };
    let (first, second) = (first.set, second.set);
    // The device, a room and a doctor stay, another one comes; the first doctor and the second room have declined.
    assert_eq!(taking_part(&[first.clone(), second]), (6, 2));
    // Of what a change names it names all: another doctor, and nobody else goes.
    let first = [first];
    let after = |rest_of: &str| {
        let set = super::said::read(&format!("{change}{rest}{rest_of}")).set;
        taking_part(&[&first[..], &[set]].concat())
    };
    assert_eq!(after("RGS|1|U\nAIP|1|U|D2^Doi^Ana\n"), (4, 0));
    assert_eq!(after("RGS|1\nAIP|1||D2^Doi^Ana\n"), (4, 0));
    assert_eq!(
        after("RGS|1|U\nAIL|1|U|R9^1\n"),
        (4, 0),
        "one room in place of two"
    );
    assert_eq!(
        after("RGS|1|U\nAIG|1|U|CT^Ct^L|DEV\n"),
        (5, 0),
        "a device is no room"
    );
    assert_eq!(after("RGS|1|U\nAIP|1|X|D1^Unu^Ion\n"), (5, 0), "nothing changes");
}

#[test]
fn who_is_added_takes_the_place_of_nobody() {
    let rest = "\nPID|1||1^^^C^MR||POP^ANA\n";
    let first = super::said::read(&format!(
        "{BOOKED}{rest}RGS|1|A\nAIS|1|A|ECO^Eco^L\nAIL|1|A|R1^1\nAIP|1|A|D1^Unu^Ion\n"
    ));
    let change = BOOKED.replace("S12", "S14").replace("|1|P|", "|2|P|");
    let after = |rest: &str| {
        let second = super::said::read(&format!("{change}\nPID|1||1^^^C^MR||POP^ANA\n{rest}"));
        let clinic = super::said::told(&[first.set.clone(), second.set]);
        let appointment = of_kind(&clinic, clinic::Kind::Appointment)[0].clone();
        let count = |field: &str| appointment[field].as_array().map_or(0, Vec::len);
        (count("participants"), count("service_types"))
    };
    assert_eq!(after("RGS|1|U\nAIP|1|A|D2^Doi^Ana\n"), (3, 1));
    assert_eq!(after("RGS|1|U\nAIS|1|U|ECO^Eco^L\nAIP|1|A|D2^Doi^Ana\n"), (3, 1));
    assert_eq!(
        after("RGS|1|U\nAIS|1|U|ECO^Eco^L\nAIS|2|A|DOP^Doppler^L\n"),
        (2, 2)
    );
    // The whole list again, each as if it were new.
    let whole = "RGS|1|A\nAIS|1|A|ECO^Eco^L\nAIL|1|A|R1^1\nAIP|1|A|D2^Doi^Ana\n";
    assert_eq!(after(whole), (2, 1));
}

#[test]
fn who_takes_part_moves_with_the_appointment() {
    let msh = BOOKED.lines().next().expect("MSH");
    let said = |event: &str, sch_11: &str, rest: &str| {
        let msh = msh.replace("S12", event);
        super::said::read(&format!(
            "{msh}\nSCH|A-1^P|||||R|||||{sch_11}\n{rest}PID|1||1^^^C^MR||POP^ANA\n"
        ))
        .set
    };
    let resources =
        "RGS|1\nAIL|1||DEP^CAB-2|||20260516130000|||30|min\nAIP|1||D1^Unu^Ion|||20260516131000|||10|min\n";
    let booked = super::said::read(&format!(
        "{msh}\nSCH|A-1^P|||||R|||||^^^20260516130000^20260516133000\nPID|1||1^^^C^MR||POP^ANA\n{resources}"
    ))
    .set;
    let times = |set: &clinic::ChangeSet| {
        let clinic = super::said::told(&[booked.clone(), set.clone()]);
        let appointment = of_kind(&clinic, clinic::Kind::Appointment)[0].clone();
        let word =
            |value: &serde_json::Value| value.as_str().unwrap_or("-").get(5..16).unwrap_or("-").to_owned();
        let mut all = vec![word(&appointment["start"]), word(&appointment["end"])];
        for one in appointment["participants"].as_array().into_iter().flatten() {
            all.extend([word(&one["period"]["start"]), word(&one["period"]["end"])]);
        }
        let id = clinic.all(clinic::Kind::Appointment)[0].meta.id;
        let day = |booking: &clinic::apply::Booking| booking.start.to_string()[5..10].to_owned();
        let days: Vec<String> = clinic.bookings(id).iter().map(day).collect();
        (all.join(" "), days.join(" "))
    };
    let moved = "05-18T10:00 05-18T10:30 05-18T10:00 05-18T10:30 05-18T10:10 05-18T10:20";
    let days = "05-18 05-18";
    for set in [
        said("S13", "^^^20260518100000^20260518103000", ""),
        said("S13", "^^^20260518100000", ""),
        said("S13", "", "TQ1|1||||||20260518100000\n"),
    ] {
        assert_eq!(times(&set), (moved.to_owned(), days.to_owned()));
    }
    let longer = said("S13", "^^^20260518100000^20260518110000", "");
    let moved = "05-18T10:00 05-18T11:00 05-18T10:00 05-18T11:00 05-18T10:10 05-18T10:20";
    assert_eq!(times(&longer).0, moved);
}

#[test]
fn the_reason_of_a_cancellation_ends_with_it() {
    let msh = BOOKED.lines().next().expect("MSH");
    let said = |event: &str, reason: &str| {
        let msh = msh.replace("S12", event);
        super::said::read(&format!(
            "{msh}\nSCH|A-1^P|||||{reason}|||||^^^20260516130000\nPID|1||1^^^C^MR||POP^ANA\n"
        ))
        .set
    };
    let cancelled = [said("S12", ""), said("S15", "PAT^Patient cancelled")];
    let reason = |more: &[clinic::ChangeSet]| {
        let clinic = super::said::told(&[&cancelled[..], more].concat());
        of_kind(&clinic, clinic::Kind::Appointment)[0]["cancellation_reason"].clone()
    };
    assert_eq!(reason(&[])["codings"][0]["code"], "PAT");
    assert!(reason(&[said("S12", "")]).is_null());
    assert!(reason(&[said("S26", "")]).is_null());
    assert_eq!(reason(&[said("S15", "")])["codings"][0]["code"], "PAT");
}

#[test]
fn who_books_and_a_department_take_no_time() {
    let said = |number: &str, rest: &str| {
        let sch = format!(
            "SCH|A-{number}^P|||||R|||30|min|^^^20260516130000|K-1^Clerk^Ann||||K-2^Clerk^Dan||||K-3^Sistem"
        );
        let msh = BOOKED.lines().next().expect("MSH");
        super::said::read(&format!(
            "{msh}\n{sch}\nPID|1||{number}^^^C^MR||POP^ANA\nRGS|1\n{rest}\n"
        ))
    };
    let both = [said("1", "AIL|1||DEP"), said("2", "AIL|1||DEP")];
    let clinic = super::said::told(&both.map(|said| said.set));
    assert_eq!(of_kind(&clinic, clinic::Kind::Appointment).len(), 2);
    let one = said(
        "3",
        "AIL|1||DEP^CAB-2\nAIP|1||K-1^Clerk^Ann\nAIG|1||SONO^Sono^L|DEV",
    );
    let clinic = super::said::told(&[one.set]);
    let id = clinic.all(clinic::Kind::Appointment)[0].meta.id;
    assert_eq!(
        clinic.bookings(id).len(),
        3,
        "the room, the device, and who takes part beside booking it"
    );
}

#[test]
fn the_status_of_a_service_is_that_of_the_appointment_or_is_left() {
    let said = |sch_25: &str, ais_10: &str| {
        super::said::read(&format!(
            "{BOOKED}||||||||||||||{sch_25}\nPID|1||1^^^C^MR||POP^ANA\nRGS|1\nAIS|1||ECO^Eco^L|||||||{ais_10}\n"
        ))
    };
    let same = said("Booked", "BOOKED^Booked^HL70278");
    assert!(!same.lost("AIS-10.1"), "{:?}", same.extra());
    assert!(same.lost("AIS-10.2"));
    assert!(!said("Booked", "Booked").lost("AIS-10.1"));
    let other = said("Booked", "Pending");
    assert_eq!(other.one("Appointment")["status"], "booked");
    assert!(other.lost("AIS-10.1"));
    assert_eq!(said("", "Pending").one("Appointment")["status"], "pending");
    for code in ["Dc", "DC", "Discontinued"] {
        assert_eq!(said(code, "").one("Appointment")["status"], "cancelled", "{code}");
    }
}

#[test]
fn an_end_before_the_start_is_not_used() {
    let read = |times: &str| {
        super::said::read(&format!(
            "MSH|^~\\&|A|B|C|D|20260512||SIU^S12^SIU_S12|1|P|2.5.1\nSCH|A-1^P||||||||30|min|^^^{times}\nPID|1||1^^^C^MR||POP^ANA\n"
        ))
    };
    let said = read("20260516130000^20260516120000");
    let appointment = said.one("Appointment");
    assert_eq!(appointment["end"], "2026-05-16T13:30:00+03:00", "by its length");
    assert!(said.lost("SCH-11.5"), "{:?}", said.extra());
    let said = read("20260516130000^20260516140000");
    assert_eq!(said.one("Appointment")["end"], "2026-05-16T14:00:00+03:00");
    assert!(!said.lost("SCH-11.5"));
}

/// What was ordered stays as it was ordered: the service of an appointment is the order's only where it has none.
#[test]
fn the_service_of_an_appointment_takes_no_place_of_what_was_ordered() {
    let said = read(
        "MSH|^~\\&|REC|C|P|C|20260512083000+0300||SIU^S12^SIU_S12|1|P|2.5.1\n\
         SCH|A-1^REC||||||||30|min|^^^20260513101500+0300^20260513104500+0300||||||||||||||Booked|C-1^RIS\n\
         PID|1||A-1^^^NORD^MR||Vlad^Petru\nRGS|1|A\nAIS|1|A|SLOT30^Programare CT^99REC\n",
    );
    let mut changes = said.set.changes.iter();
    let order = changes.find(|change| change.kind() == clinic::Kind::Order);
    let order = order.expect("an order");
    let code = |body: Option<&clinic::Body>| match body {
        Some(clinic::Body::Order(say)) => say.code.value().and_then(|code| code.code().map(str::to_owned)),
        _ => None,
    };
    assert_eq!(code(Some(&order.say)), None);
    assert_eq!(code(order.say_if_new.as_ref()).as_deref(), Some("SLOT30"));
    assert!(order.find.by_report);
}
