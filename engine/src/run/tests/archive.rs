//! The images that are kept: what narrows a search, what is told with each study, and what it costs.

use std::sync::Mutex;
use std::time::Duration;

use clinic::archive::{ArchiveQuestion, Kept, KeptStudy, Level, Referenced};
use jiff::civil::date;
use jiff::tz::TimeZone;

use super::Place;
use crate::archive::{Search, kept};
use crate::channel::{Keep, KeepFor};
use crate::store::{Ages, Keeping, PrunePlace};

const IN: &str =
    "id = \"in\"\nsource.fake.name = \"in\"\n[[step]]\ndecode = \"text\"\n[[step]]\napply = true\n";

/// A study with an object.
fn object(study: &str, number: u32, patient: &str, family: &str, modality: &str, day: &str) -> String {
    format!(
        r#"{{"changes":[
            {{"key":"p","say":{{"Patient":{{"identifiers":[{{"system":"TEST","value":"{patient}"}}],"names":[{{"family":"{family}"}}]}}}}}},
            {{"key":"d","say":{{"Practitioner":{{"identifiers":[{{"system":"TEST","value":"D-1"}}],"names":[{{"family":"Pop"}}]}}}}}},
            {{"key":"s","say":{{"ImagingStudy":{{"identifiers":[{{"system":"urn:dicom:uid","value":"{study}"}},
              {{"value":"A-{study}","kind":{{"codings":[{{"code":"ACSN"}}]}}}}],"patient":{{"local":"p"}},"referrer":{{"local":"d"}},
              "started":"{day}","modalities":["{modality}"],"series":[{{"uid":"{study}.1","modality":"{modality}"}}]}}}}}},
            {{"key":"i","say":{{"ImagingInstance":{{"identifiers":[{{"system":"urn:dicom:uid","value":"{study}.1.{number}"}}],
              "patient":{{"local":"p"}},"study":{{"local":"s"}},"series_uid":"{study}.1","sop_class":"1.2","number":{number}}}}}}}]}}"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn studies_are_found_by_their_keys_and_objects_are_read_where_they_are_asked_for() {
    let place = Place::new();
    let running = place.start(place.channels(&[IN])).await;
    for (study, objects, patient, family, modality, day) in [
        ("1.1", 3, "P-1", "Popescu", "CT", "2026-05-05"),
        ("1.2", 1, "P-1", "Popescu", "MR", "2026-05-06"),
        ("1.3", 2, "P-2", "Țîră", "CT", "2026-06-01"),
    ] {
        for number in 1..=objects {
            let told = running
                .send("in", &object(study, number, patient, family, modality, day))
                .await;
            assert_eq!(told.note, None);
        }
    }
    let store = running.engine.store();
    let zone = TimeZone::get("Europe/Bucharest").unwrap();
    let looked = Mutex::new(0);
    let all = async |question: ArchiveQuestion, takes: &str| -> Vec<KeptStudy> {
        let takes = |kept: &KeptStudy| {
            *looked.lock().unwrap() += 1;
            assert!(
                kept.objects.is_empty() && kept.count.is_none(),
                "nothing of it is read yet"
            );
            assert!(kept.patient().is_some() && kept.referrer().is_some());
            kept.study().unwrap().uid().unwrap().starts_with(takes)
        };
        let mut search = Search::new(&**store, &question, &zone).await.unwrap();
        let mut found = vec![];
        while let Some(kept) = search.next(&takes).await.unwrap() {
            found.push(kept);
        }
        found.sort_by_key(|kept| kept.study().unwrap().uid().unwrap().to_owned());
        found
    };
    let uids = |found: &[KeptStudy]| -> Vec<String> {
        found
            .iter()
            .map(|kept| kept.study().unwrap().uid().unwrap().to_owned())
            .collect()
    };
    let list = |uids: &[&str]| uids.iter().map(|uid| (*uid).to_owned()).collect::<Vec<_>>();
    for (question, expected) in [
        (ArchiveQuestion::default(), vec!["1.1", "1.2", "1.3"]),
        (
            ArchiveQuestion {
                studies: list(&["1.3", "1.1", "9.9"]),
                ..ArchiveQuestion::default()
            },
            vec!["1.1", "1.3"],
        ),
        (
            ArchiveQuestion {
                patient: Some("P-1".to_owned()),
                modalities: list(&["MR", "US"]),
                ..ArchiveQuestion::default()
            },
            vec!["1.2"],
        ),
        (
            ArchiveQuestion {
                name: Some("tira".to_owned()),
                ..ArchiveQuestion::default()
            },
            vec!["1.3"],
        ),
        (
            ArchiveQuestion {
                accession: Some("A-1.2".to_owned()),
                ..ArchiveQuestion::default()
            },
            vec!["1.2"],
        ),
        (
            ArchiveQuestion {
                from: Some(date(2026, 5, 20)),
                ..ArchiveQuestion::default()
            },
            vec!["1.3"],
        ),
        (
            ArchiveQuestion {
                objects: list(&["1.1.1.2", "1.3.1.1", "7"]),
                ..ArchiveQuestion::default()
            },
            vec!["1.1", "1.3"],
        ),
        (
            ArchiveQuestion {
                patient: Some("P-9".to_owned()),
                ..ArchiveQuestion::default()
            },
            vec![],
        ),
    ] {
        *looked.lock().unwrap() = 0;
        let found = all(question, "1.").await;
        assert_eq!(uids(&found), expected);
        // What the keys leave out is not opened.
        assert_eq!(*looked.lock().unwrap(), expected.len());
    }
    // Who asks says which of them is meant; only of that one more is read.
    let counted = ArchiveQuestion {
        counts: true,
        ..ArchiveQuestion::default()
    };
    let found = all(counted, "1.1").await;
    assert_eq!(
        (found.len(), found[0].count, found[0].objects.len()),
        (1, Some(3), 0)
    );
    let objects = ArchiveQuestion {
        level: Level::Objects,
        studies: list(&["1.1"]),
        objects: list(&["1.1.1.3", "1.1.1.2", "1.3.1.1"]),
        with_objects: true,
        ..ArchiveQuestion::default()
    };
    let found = all(objects, "1.").await;
    let of: Vec<&str> = found[0].objects().filter_map(|object| object.uid()).collect();
    assert_eq!((found.len(), of), (1, vec!["1.1.1.2", "1.1.1.3"]));

    // What is kept: an object of that class, whose bytes are those of the message that made it.
    let asked = |class: &str, instance: &str| Referenced {
        class: class.to_owned(),
        instance: instance.to_owned(),
    };
    let asked = [
        asked("1.2", "1.1.1.1"),
        asked("1.3", "1.1.1.1"),
        asked("1.2", "1.1.1.9"),
    ];
    let is_it = |_: &[u8]| Some("1.1.1.1".to_owned());
    let known = kept(&**store, &asked, &is_it).await.unwrap();
    assert_eq!(known, [Kept::Here, Kept::OfOtherClass, Kept::Missing]);
    let lost = kept(&**store, &asked[..1], &|_: &[u8]| None).await.unwrap();
    assert_eq!(lost, [Kept::Missing], "no message has its bytes");
    // Whoever was told so has deleted it by now: it stays, however old it gets.
    // The newest message is never among those that go.
    running.send("in", "{}").await;
    let keep = Keep {
        bodies: Some(KeepFor::For(Duration::from_secs(86_400))),
        ..Keep::default()
    };
    let keeping = Keeping {
        channels: Default::default(),
        others: Ages::new(&keep, &keep, Duration::ZERO),
        journal: KeepFor::Ever,
    };
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 400);
    store
        .prune(&keeping, later, PrunePlace::default(), true)
        .await
        .unwrap();
    let known = kept(&**store, &asked[..1], &is_it).await.unwrap();
    assert_eq!(known, [Kept::Here]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_studies_of_who_was_merged_are_those_of_the_record_that_stays() {
    let place = Place::new();
    let running = place.start(place.channels(&[IN])).await;
    for (study, patient) in [
        ("1.1", "OLD"),
        ("1.2", "NEW"),
        ("1.3", "OLDEST"),
        ("1.4", "OTHER"),
    ] {
        let told = running
            .send("in", &object(study, 1, patient, "Popescu", "CT", "2026-05-05"))
            .await;
        assert_eq!(told.note, None);
    }
    let patient = |key: &str, number: &str| {
        format!(
            r#"{{"key":"{key}","say":{{"Patient":{{"identifiers":[{{"system":"TEST","value":"{number}"}}]}}}}}}"#
        )
    };
    for (survivor, old) in [("OLD", "OLDEST"), ("NEW", "OLD")] {
        let (survivor, old) = (patient("s", survivor), patient("o", old));
        let merge = format!(r#"{{"changes":[{survivor},{old}],"merges":[{{"survivor":"s","old":"o"}}]}}"#);
        assert_eq!(running.send("in", &merge).await.note, None);
    }
    let store = running.engine.store();
    for number in ["NEW", "OLD", "OLDEST"] {
        let question = ArchiveQuestion {
            patient: Some(number.to_owned()),
            ..ArchiveQuestion::default()
        };
        let mut search = Search::new(&**store, &question, &TimeZone::UTC).await.unwrap();
        let mut found = vec![];
        while let Some(kept) = search.next(&|_: &KeptStudy| true).await.unwrap() {
            let theirs = &kept.patient().unwrap().identifiers;
            assert!(theirs.iter().any(|id| id.value == "NEW"), "{number}");
            assert_eq!(kept.merged.len(), 2);
            found.push(kept.study().unwrap().uid().unwrap().to_owned());
        }
        found.sort();
        assert_eq!(found, ["1.1", "1.2", "1.3"], "{number}");
    }
}
