//! Right files, and what they become.

use std::time::Duration;

use clinic::apply::OnUnmatched;

use super::*;
use crate::format::{SetOp, Subject};

#[track_caller]
fn channel(text: &str) -> Channel {
    let mut checked = checked(&[("channels/x.toml", text)]);
    assert_eq!(checked.problems, []);
    assert_eq!(checked.channels.len(), 1);
    checked.channels.remove(0)
}

#[test]
fn five_lines_route() {
    let channel = channel(
        "id = \"adt\"\n\
         source.mllp.listen = \"127.0.0.1:2575\"\n\
         [[destination]]\n\
         name = \"ris\"\n\
         mllp.connect = \"127.0.0.1:2576\"\n",
    );
    assert_eq!(channel.id, "adt");
    assert_eq!(channel.source.connector, "mllp");
    assert_eq!(channel.source.format, "hl7v2");
    assert_eq!(
        channel.source.settings,
        serde_json::json!({ "listen": "127.0.0.1:2575" })
    );
    assert_eq!(channel.ack, Ack::Stored);
    assert_eq!(channel.dedup, Duration::from_secs(7 * 86_400));
    assert!(channel.steps.is_empty());
    let destination = &channel.destinations[0];
    assert_eq!(destination.name, "ris");
    assert!(destination.when.is_none() && destination.steps.is_empty());
    assert_eq!(destination.end.connector, "mllp");
    assert_eq!(destination.end.format, "hl7v2");
    assert_eq!(destination.retry, Retry::default());
    assert_eq!(destination.on_error, OnError::Hold);
    assert_eq!(destination.on_unsure, OnUnsure::Repeat);
}

#[test]
fn every_key_is_read() {
    let channel = channel(EVERYTHING);
    assert_eq!(channel.description, "Results from the laboratory's LIS");
    assert_eq!(channel.dedup, Duration::from_secs(3 * 86_400));
    assert_eq!(channel.site.as_deref(), Some("main"));
    let read = &channel.source.format_settings;
    assert_eq!(read.charset.as_deref(), Some("iso-8859-2"));
    assert_eq!(read.zone.as_deref(), Some("Europe/Bucharest"));
    assert_eq!(read.snapshot, ["PID-3"]);
    assert_eq!(read.authority.as_deref(), Some("LAB-NORD"));
    assert_eq!(read.processing, ["P", "D"]);
    assert_eq!(read.codes.as_ref().expect("codes").rows.len(), 1);
    assert!(channel.tables.contains_key("lis-codes.csv"));

    let verbs: Vec<&str> = channel.steps.iter().map(Step::verb).collect();
    assert_eq!(verbs, ["filter", "set", "lookup", "script", "decode", "apply"]);
    let Step::Filter(condition) = &channel.steps[0] else {
        panic!("a filter")
    };
    let paths: Vec<&str> = condition.all.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["MSH-9", "MSH-11", "PID-3.1"]);
    assert!(
        matches!(&condition.all[1].1, Test::Not(test) if matches!(&**test, Test::Any(any) if any == &["T"]))
    );
    let Step::Set(ops) = &channel.steps[1] else {
        panic!("a set")
    };
    assert_eq!(
        ops,
        &[
            ("MSH-5".to_owned(), SetOp::Assign("X".to_owned())),
            ("PID-19".to_owned(), SetOp::Clear),
            ("PID-2".to_owned(), SetOp::Copy("PID-3".to_owned())),
            ("ZPI-1".to_owned(), SetOp::Remove),
        ]
    );
    let Step::Lookup(lookup) = &channel.steps[2] else {
        panic!("a lookup")
    };
    assert_eq!((lookup.from.as_str(), lookup.to.as_str()), ("OBR-4.1", "OBR-4.4"));
    assert_eq!(lookup.missing, LookupMissing::Default("UNK".to_owned()));
    let Step::Script(script) = &channel.steps[3] else {
        panic!("a script")
    };
    assert_eq!(script.file(), "right.js");
    assert!(channel.has_early_scripts() && !channel.has_late_scripts());
    assert!(matches!(
        channel.steps[5],
        Step::Apply {
            on_unmatched: OnUnmatched::Park,
            overwrite: true
        }
    ));

    let [portal, ris, feed] = channel.destinations.as_slice() else {
        panic!("three destinations")
    };
    assert_eq!(portal.end.format, "fhir-r4");
    let Some(Step::Encode { format, settings }) = portal.steps.last() else {
        panic!("an encode")
    };
    assert_eq!(
        (format.as_str(), settings.shape.as_deref()),
        ("fhir-r4", Some("message"))
    );
    assert_eq!(portal.end.format_settings.shape.as_deref(), Some("message"));
    assert_eq!(portal.retry.first, Duration::from_secs(1));
    assert_eq!(portal.retry.max, Duration::from_secs(60));
    assert_eq!(portal.retry.give_up, Duration::from_secs(86_400));
    assert_eq!(
        (portal.on_error, &portal.on_unsure),
        (OnError::Dead, &OnUnsure::Hold)
    );
    let window = portal.window.as_ref().expect("a window");
    assert_eq!(
        (window.zone.iana_name(), window.spans.len()),
        (Some("Europe/Bucharest"), 2)
    );
    let rate = Rate {
        most: 10,
        per: Duration::from_secs(1),
    };
    assert_eq!(portal.rate, Some(rate));
    assert_eq!((&ris.window, ris.rate), (&None, None));
    let order = OrderBy {
        by: By::Subject(Subject::Visit),
        written: "visit".to_owned(),
        parallel: 4,
    };
    assert_eq!(portal.order_by, Some(order));
    let breaker = Breaker {
        after: 3,
        pause: Duration::from_secs(60),
    };
    assert_eq!(portal.breaker, Some(breaker));
    assert_eq!((&ris.order_by, ris.breaker), (&None, None));
    assert_eq!(ris.when.as_ref().expect("a when").all.len(), 3);
    assert_eq!(
        ris.steps.iter().map(Step::verb).collect::<Vec<_>>(),
        ["filter", "set"]
    );
    assert_eq!(ris.end.format, "hl7v2");
    let OnUnsure::Ask(inquiry) = &ris.on_unsure else {
        panic!("a question")
    };
    assert_eq!(
        (inquiry.destination.as_str(), inquiry.within),
        ("portal", Duration::from_secs(2))
    );
    assert_eq!(inquiry.question.paths().collect::<Vec<_>>(), ["ORC-2"]);
    assert_eq!(
        (feed.end.format.as_str(), &feed.on_unsure),
        ("fhir-r4", &OnUnsure::Hold)
    );
    let Some(Step::Encode { settings, .. }) = feed.steps.last() else {
        panic!("an encode")
    };
    assert_eq!(settings.shape.as_deref(), Some("transaction"));
}

#[test]
fn apply_may_be_true_and_a_channel_needs_no_destination() {
    let channel = channel(
        "id = \"adt\"\nsource.mllp.listen = \"127.0.0.1:0\"\nstep = [{ decode = \"hl7v2\" }, { apply = true }]\n",
    );
    assert!(matches!(
        channel.steps[1],
        Step::Apply {
            on_unmatched: OnUnmatched::Create,
            overwrite: false
        }
    ));
    assert!(channel.destinations.is_empty());
}

#[test]
fn http_sources_share_an_address_by_their_paths_and_say_their_format() {
    let one = "id = \"a\"\n[source]\nformat = \"hl7v2\"\nhttp = { listen = \"127.0.0.1:80\", path = \"/a\" }\n[[destination]]\nname = \"d\"\nhttp.url = \"http://x/\"\nformat = \"hl7v2\"\n";
    let other = one.replace("\"a\"", "\"b\"").replace("/a", "/b");
    let checked = checked(&[("channels/a.toml", one), ("channels/b.toml", &other)]);
    assert_eq!(checked.problems, []);
    assert_eq!(checked.channels.len(), 2);
}

fn lookup(missing: LookupMissing) -> Lookup {
    Lookup {
        table: "lis-codes.csv".to_owned(),
        from: "OBX-3".to_owned(),
        to: "OBX-3".to_owned(),
        missing,
    }
}

#[test]
fn a_lookup_writes_what_the_table_says() {
    let channel = channel(EVERYTHING);
    let format = fake::Lines { name: "hl7v2" };
    let run = |lookup: &Lookup, message: &str| {
        lookup
            .run(&format, message.as_bytes(), &channel.tables)
            .map(|changed| changed.map(|bytes| String::from_utf8(bytes).expect("text")))
            .map_err(|error| error.to_string())
    };
    let keep = lookup(LookupMissing::Keep);
    assert_eq!(
        run(&keep, "OBX-3=K\nPID-3=1\n"),
        Ok(Some("OBX-3=2823-3\nPID-3=1\n".to_owned()))
    );
    assert_eq!(run(&keep, "OBX-3=NA\n"), Ok(None));
    assert_eq!(run(&keep, "OBX-3=\n"), Ok(None));
    assert_eq!(run(&keep, "PID-3=1\n"), Ok(None));
    assert_eq!(
        run(&keep, "OBX-3=K\nOBX-3=K\n"),
        Ok(Some("OBX-3=2823-3\nOBX-3=2823-3\n".to_owned()))
    );
    let several = Err(
        "OBX-3: several codes stand here, and one lookup writes one. Name one of them in the channel."
            .to_owned(),
    );
    assert_eq!(run(&keep, "OBX-3=K\nOBX-3=NA\n"), several);
    assert_eq!(run(&keep, "OBX-3=K\nOBX-3=\n"), several);
    let fail = lookup(LookupMissing::Fail);
    assert_eq!(
        run(&fail, "OBX-3=NA\n"),
        Err("OBX-3: the code is not in lis-codes.csv. Add it there and replay the message.".to_owned())
    );
    let default = lookup(LookupMissing::Default("UNK".to_owned()));
    assert_eq!(run(&default, "OBX-3=NA\n"), Ok(Some("OBX-3=UNK\n".to_owned())));
}

#[test]
fn a_condition_asks_for_all_its_keys() {
    let channel = channel(EVERYTHING);
    let Step::Filter(condition) = &channel.steps[0] else {
        panic!("a filter")
    };
    let format = fake::Lines { name: "hl7v2" };
    let matches = |message: &str| {
        condition
            .matches(&format, message.as_bytes(), &[])
            .expect("readable")
    };
    assert!(matches("MSH-9=ORU^R01^ORU_R01\nMSH-11=P\nPID-3.1=7\n"));
    assert!(!matches("MSH-9=ORU^R01^ORU_R01\nMSH-11=T\nPID-3.1=7\n"));
    assert!(!matches("MSH-9=ORU^R01^ORU_R01\nMSH-11=P\nPID-3.1=\n"));
    assert!(!matches("MSH-9=ADT^A01\nMSH-11=P\nPID-3.1=7\n"));
}
