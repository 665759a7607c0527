use std::time::Duration;

use super::direct::UNIT;
use super::form::{BLOCK, END, ID, slot_length};
use super::*;
use crate::store::seal::SEAL;

struct Case {
    _folder: tempfile::TempDir,
    blobs: Blobs,
    sealer: Arc<Sealer>,
    body: Vec<u8>,
    name: BlobName,
    file: PathBuf,
}

/// A blob in a file of its own.
fn blob(length: usize) -> Case {
    put(length, true)
}

fn put(length: usize, in_file: bool) -> Case {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::new(folder.path());
    if in_file {
        // No packs are made any more.
        blobs.close();
    }
    let sealer = Arc::new(Sealer::new(&[1; 32], &[2; 32]).unwrap());
    let body: Vec<u8> = (0..length).map(|n| (n / 1000) as u8).collect();
    let name = blobs.write(&sealer, &body).unwrap();
    let file = blobs.place(&name.hash).1;
    Case {
        _folder: folder,
        blobs,
        sealer,
        body,
        name,
        file,
    }
}

#[test]
fn what_is_written_is_read() {
    for length in [
        0,
        1,
        BLOCK - 100,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        3 * CHUNK,
        20 * CHUNK + 4000,
    ] {
        let case = blob(length);
        let file = std::fs::metadata(&case.file).unwrap().len();
        assert_eq!(file, file_length(length as u64));
        assert!(file.is_multiple_of(BLOCK as u64));
        let mut file = File::open(&case.file).unwrap();
        assert_eq!(length_of(&mut file), Some(length as u64));
        assert_eq!(case.blobs.read(&case.sealer, case.name).unwrap(), case.body);
        assert_eq!(case.blobs.write(&case.sealer, &case.body).unwrap(), case.name);
        assert!(case.blobs.is_as_named(&case.sealer, case.name).unwrap());
    }
    assert_eq!(plain_length(60), None);
    assert_eq!(plain_length(sealed_length(CHUNK as u64) + 1), None);
}

#[test]
fn files_of_earlier_builds_end_with_the_seal() {
    for length in [0, CHUNK, 2 * CHUNK + 5] {
        let case = blob(length);
        let now = std::fs::read(&case.file).unwrap();
        let then = &now[..sealed_length(length as u64) as usize];
        std::fs::write(&case.file, then).unwrap();
        assert_eq!(
            length_of(&mut File::open(&case.file).unwrap()),
            Some(length as u64)
        );
        assert_eq!(case.blobs.read(&case.sealer, case.name).unwrap(), case.body);
        assert!(case.blobs.is_as_named(&case.sealer, case.name).unwrap());
        case.sealer.take_key(2, &[7; 32]).unwrap();
        assert!(case.blobs.reseal(&case.sealer, &lying(&case)).unwrap());
        let anew = std::fs::metadata(&case.file).unwrap().len();
        assert_eq!(anew, file_length(length as u64));
        assert_eq!(case.blobs.read(&case.sealer, case.name).unwrap(), case.body);
    }
}

#[test]
fn what_arrives_in_pieces_is_the_same_blob() {
    let case = blob(3 * CHUNK + 17);
    for size in [1000, CHUNK, 5 * CHUNK] {
        let mut draft = case.blobs.begin(&case.sealer).unwrap();
        for piece in case.body.chunks(size) {
            draft.write(piece).unwrap();
        }
        assert_eq!(draft.finish().unwrap(), case.name);
        assert_eq!(case.blobs.read(&case.sealer, case.name).unwrap(), case.body);
    }
    let mut left = case.blobs.begin(&case.sealer).unwrap();
    left.write(&case.body).unwrap();
    left.write(&vec![7; UNIT]).unwrap();
    assert_eq!(left_in(&case.blobs.nursery()), 1);
    drop(left);
    assert_eq!(left_in(&case.blobs.nursery()), 0, "what is not finished is gone");
    let mut left = case.blobs.begin(&case.sealer).unwrap();
    left.write(&vec![7; UNIT]).unwrap();
    std::mem::forget(left);
    assert_eq!(all(&case.blobs).len(), 1);
    assert_eq!(left_in(&case.blobs.nursery()), 1, "to look changes nothing");
    case.blobs.tidy(&case.sealer).unwrap();
    assert_eq!(left_in(&case.blobs.nursery()), 0);
}

#[test]
fn it_is_read_from_any_place() {
    let case = blob(2 * CHUNK + 100);
    let mut reader = case.blobs.open(&case.sealer, case.name).unwrap();
    for at in [2 * CHUNK + 50, 10, CHUNK - 3, 0, 2 * CHUNK] {
        reader.seek(SeekFrom::Start(at as u64)).unwrap();
        let mut some = vec![0; 50];
        reader.read_exact(&mut some).unwrap();
        assert_eq!(some, case.body[at..at + 50]);
    }
    reader.seek(SeekFrom::End(-7)).unwrap();
    let mut rest = vec![];
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, case.body[case.body.len() - 7..]);
    assert!(reader.seek(SeekFrom::Current(-(1 << 40))).is_err());
    reader.seek(SeekFrom::Start(1 << 40)).unwrap();
    assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
    let beginning = case.blobs.beginning(&case.sealer, case.name, 10).unwrap();
    assert_eq!(beginning, case.body[..10]);
}

#[test]
fn swapped_cut_and_changed_chunks_are_noticed() {
    let case = blob(3 * CHUNK);
    let (file, name) = (&case.file, case.name);
    let whole = std::fs::read(file).unwrap();
    let (id, rest) = whole.split_at(ID);
    let (first, rest) = rest.split_at(CHUNK + SEAL);
    let (second, rest) = rest.split_at(CHUNK + SEAL);
    let (third, end) = rest.split_at(CHUNK + SEAL);
    // The same content, another file.
    let other = blob(3 * CHUNK);
    assert_eq!(other.name, name);
    let theirs = std::fs::read(&other.file).unwrap();
    let (their_id, rest) = theirs.split_at(ID);
    let their_first = &rest[..CHUNK + SEAL];
    let their_end = &theirs[ID + 3 * (CHUNK + SEAL)..];
    for wrong in [
        [id, second, first, third, end].concat(),
        [id, first, second, end].concat(),
        [id, first, second, second, end].concat(),
        [id, first, third, end].concat(),
        [id, first, second, third, third, end].concat(),
        [id, their_first, second, third, end].concat(),
        [their_id, first, second, third, end].concat(),
        [their_id, first, second, third, their_end].concat(),
        [id, first, second, third, their_end].concat(),
        whole[..whole.len() - 1].to_vec(),
        vec![],
    ] {
        std::fs::write(file, wrong).unwrap();
        let read = case.blobs.read(&case.sealer, name);
        assert!(matches!(read, Err(StoreError::Damaged(_))));
    }
    for at in [
        0,
        ID,
        ID + CHUNK,
        whole.len() / 2,
        whole.len() - end.len(),
        whole.len() - end.len() + END - 1,
        whole.len() - end.len() + END,
        whole.len() - TOLD - 1,
        whole.len() - TOLD,
        whole.len() - 1,
    ] {
        let mut wrong = whole.clone();
        wrong[at] ^= 1;
        std::fs::write(file, wrong).unwrap();
        assert!(case.blobs.read(&case.sealer, name).is_err(), "{at}");
    }
    std::fs::write(file, &theirs).unwrap();
    assert!(case.blobs.read(&case.sealer, name).is_ok(), "it is the same blob");
    let another = blob(3 * CHUNK - 1);
    std::fs::copy(&another.file, file).unwrap();
    assert!(case.blobs.read(&case.sealer, name).is_err());
    let taken_for_it = BlobName {
        length: another.name.length,
        ..name
    };
    assert!(
        case.blobs.open(&case.sealer, taken_for_it).is_err(),
        "the name is sealed too"
    );
    let shorter = BlobName {
        length: 2 * CHUNK as u64,
        ..name
    };
    std::fs::write(file, [id, first, second, end].concat()).unwrap();
    assert!(case.blobs.read(&case.sealer, shorter).is_err());
    std::fs::write(file, &whole).unwrap();
    assert!(case.blobs.read(&case.sealer, name).is_ok());
}

fn left_in(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_name_that_the_power_took_is_given_again() {
    let case = blob(3 * CHUNK + 9);
    std::fs::create_dir(case.blobs.nursery()).ok();
    let read = || case.blobs.read(&case.sealer, case.name);
    let spare = case.blobs.nursery().join("1.spare");
    std::fs::rename(&case.file, &spare).unwrap();
    case.blobs.tidy(&case.sealer).unwrap();
    assert_eq!(read().unwrap(), case.body);
    assert_eq!(left_in(&case.blobs.nursery()), 0);
    // The name came, and what it names did not.
    std::fs::copy(&case.file, &spare).unwrap();
    let whole = std::fs::read(&case.file).unwrap();
    std::fs::write(&case.file, &whole[..whole.len() / 2]).unwrap();
    case.blobs.tidy(&case.sealer).unwrap();
    assert_eq!(read().unwrap(), case.body);
    // What is whole is not exchanged for what is not.
    for broken in [&whole[..whole.len() - 1], &[], &[0; 576 * 1024]] {
        std::fs::write(&spare, broken).unwrap();
        case.blobs.tidy(&case.sealer).unwrap();
        assert_eq!(read().unwrap(), case.body);
        assert_eq!(left_in(&case.blobs.nursery()), 0);
    }
}

#[test]
fn it_is_sealed_anew_under_the_key_of_today() {
    let case = blob(2 * CHUNK + 5);
    assert!(!case.blobs.reseal(&case.sealer, &lying(&case)).unwrap());
    case.sealer.take_key(2, &[7; 32]).unwrap();
    assert!(case.blobs.reseal(&case.sealer, &lying(&case)).unwrap());
    assert!(!case.blobs.reseal(&case.sealer, &lying(&case)).unwrap());
    case.sealer.forget_keys(&[1]);
    assert_eq!(case.blobs.read(&case.sealer, case.name).unwrap(), case.body);
}

/// The one blob that lies there.
fn lying(case: &Case) -> Lying {
    let mut all = all(&case.blobs);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn all(blobs: &Blobs) -> Vec<Lying> {
    blobs.all().unwrap()
}

#[cfg(target_os = "linux")]
mod packs {
    use super::*;

    fn packs_of(case: &Case) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(case.blobs.folder.join(PACKS)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// So many of all the lengths that find a place in a pack.
    fn many(case: &Case, count: usize) -> Vec<(BlobName, Vec<u8>)> {
        let lengths = [0, 1, BLOCK - 100, CHUNK, 300_000, 524_288 + 700, 580_000];
        (0..count)
            .map(|n| {
                let length = lengths[n % lengths.len()];
                let mut body: Vec<u8> = (0..length).map(|at| (at / 999) as u8).collect();
                body.extend(n.to_le_bytes());
                let mut draft = case.blobs.begin(&case.sealer).unwrap();
                for piece in body.chunks(100_000) {
                    draft.write(piece).unwrap();
                }
                (draft.finish().unwrap(), body)
            })
            .collect()
    }

    #[test]
    fn what_is_short_lies_in_a_pack_and_is_read_from_it() {
        let case = put(300_000, false);
        assert!(case.name.slot.is_some());
        assert!(!case.file.exists());
        // Past the end of the first pack.
        let written = many(&case, 100);
        assert!(written.iter().all(|(name, _)| name.slot.is_some()));
        let packs = packs_of(&case);
        assert_eq!(packs.len(), 2, "{packs:?}");
        let read_all = || {
            for (name, body) in &written {
                assert!(case.blobs.is_there(name));
                assert_eq!(case.blobs.read(&case.sealer, *name).unwrap(), *body);
                assert!(case.blobs.is_as_named(&case.sealer, *name).unwrap());
                let stored = BlobName::from_bytes(&name.to_bytes()).unwrap();
                assert_eq!(stored, *name);
            }
            assert_eq!(all(&case.blobs).len(), 101);
        };
        read_all();
        case.blobs.close();
        read_all();
        let used: u64 = packs_of(&case)
            .iter()
            .map(|path| path.metadata().unwrap().len())
            .sum();
        let needed: u64 = written.iter().map(|(name, _)| slot_length(name.length)).sum();
        assert!(
            used < needed + slot_length(300_000) + (1 << 20),
            "cut to what they have"
        );
        assert!(left_in(&case.blobs.folder) == 1, "no file of its own");
        let long = case.blobs.write(&case.sealer, &vec![1; UNIT]).unwrap();
        assert_eq!(long.slot, None);
    }

    #[test]
    fn many_at_once_share_flushes_and_none_lies_in_the_place_of_another() {
        let case = put(10, false);
        let writers: Vec<_> = (0_u8..8)
            .map(|writer| {
                let (blobs, sealer) = (case.blobs.clone(), case.sealer.clone());
                std::thread::spawn(move || {
                    (0_u8..20)
                        .map(|n| {
                            let body = [vec![writer; 1 + 10_000 * usize::from(n)], vec![n]].concat();
                            (blobs.write(&sealer, &body).unwrap(), body)
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for writer in writers {
            for (name, body) in writer.join().unwrap() {
                assert!(name.slot.is_some());
                assert_eq!(case.blobs.read(&case.sealer, name).unwrap(), body);
            }
        }
    }

    #[test]
    fn what_was_being_filled_is_cut_after_a_crash_and_nothing_of_it_is_lost() {
        let case = put(300_000, false);
        let written = many(&case, 5);
        let pack = &packs_of(&case)[0];
        assert_eq!(pack.extension().unwrap(), "filling");
        assert_eq!(pack.metadata().unwrap().len(), 16 << 20);
        // One in the midst was torn: nobody was told that it is there.
        let torn = written[2].0;
        let file = File::options().write(true).open(pack).unwrap();
        let begins = torn.slot.unwrap().begins();
        direct::punch(&file, begins + slot_length(torn.length) - 4096, 4096).unwrap();
        let again = Blobs::new(case._folder.path());
        again.tidy(&case.sealer).unwrap();
        let (last, _) = &written[4];
        let pack = &packs_of(&case)[0];
        assert_eq!(pack.extension().unwrap(), "pack");
        let ends = last.slot.unwrap().begins() + slot_length(last.length);
        assert_eq!(pack.metadata().unwrap().len(), ends);
        for (name, body) in written.iter().filter(|(name, _)| *name != torn) {
            assert_eq!(again.read(&case.sealer, *name).unwrap(), *body);
        }
        assert!(!again.is_there(&torn));
        assert!(again.read(&case.sealer, torn).is_err());
        assert_eq!(all(&again).len(), 5);
        // What comes now lies elsewhere; an empty one is taken away.
        assert_ne!(
            again.write(&case.sealer, b"new").unwrap().slot.unwrap().pack,
            torn.slot.unwrap().pack
        );
        std::fs::write(
            case.blobs.folder.join(PACKS).join("0000000000000001.filling"),
            [0; 9000],
        )
        .unwrap();
        case.blobs.tidy(&case.sealer).unwrap();
        assert!(
            !case
                .blobs
                .folder
                .join(PACKS)
                .join("0000000000000001.filling")
                .exists()
        );
    }

    #[test]
    fn a_slot_that_is_not_needed_is_given_back_and_the_pack_goes_with_the_last_one() {
        use std::os::unix::fs::MetadataExt;

        let case = put(500_000, false);
        let (other, body) = many(&case, 1).remove(0);
        case.blobs.close();
        let pack = packs_of(&case).remove(0);
        let blocks = || pack.metadata().unwrap().blocks() * 512;
        let before = blocks();
        let far = SystemTime::now() + Duration::from_secs(60);
        let old = SystemTime::now() - Duration::from_secs(100_000);
        for lying in all(&case.blobs)
            .iter()
            .filter(|lying| lying.hash == case.name.hash)
        {
            case.blobs.remove(lying, far);
        }
        assert!(blocks() + 490_000 < before);
        assert!(!case.blobs.is_there(&case.name));
        assert!(case.blobs.read(&case.sealer, case.name).is_err());
        assert_eq!(case.blobs.read(&case.sealer, other).unwrap(), body);
        assert!(
            case.blobs.older_than(old).unwrap().is_empty(),
            "it was just changed"
        );
        // Its name is not given for what is gone.
        assert_ne!(
            case.blobs.write(&case.sealer, &case.body).unwrap().slot,
            case.name.slot
        );
        File::options()
            .write(true)
            .open(&pack)
            .unwrap()
            .set_modified(old)
            .unwrap();
        case.blobs.mark(&other.hash, other.slot.map(Slot::pack_in_row));
        assert!(
            case.blobs
                .older_than(old + Duration::from_secs(60))
                .unwrap()
                .is_empty(),
            "marked"
        );
        let lying = all(&case.blobs)
            .into_iter()
            .find(|lying| lying.taken.is_some())
            .unwrap();
        case.blobs.remove(&lying, far);
        case.blobs.remove(&lying, far);
        assert!(all(&case.blobs).iter().all(|lying| lying.taken.is_none()));
        assert!(pack.exists());
        case.blobs.older_than(far).unwrap();
        assert!(!pack.exists());
    }

    #[test]
    fn swapped_and_changed_slots_are_noticed() {
        let case = put(2 * CHUNK, false);
        let body = vec![9; 2 * CHUNK];
        let other = case.blobs.write(&case.sealer, &body).unwrap();
        let pack = packs_of(&case).remove(0);
        let whole = std::fs::read(&pack).unwrap();
        let length = slot_length(2 * CHUNK as u64) as usize;
        let exchanged = [&whole[length..2 * length], &whole[..length]].concat();
        std::fs::write(&pack, exchanged).unwrap();
        for name in [case.name, other] {
            assert!(!case.blobs.is_there(&name));
            assert!(case.blobs.read(&case.sealer, name).is_err());
        }
        for at in [
            0,
            ID,
            ID + CHUNK,
            length - 9,
            length - 50,
            length - 60,
            length - 1,
        ] {
            let mut wrong = whole.clone();
            wrong[at] ^= 1;
            std::fs::write(&pack, &wrong).unwrap();
            assert!(case.blobs.read(&case.sealer, case.name).is_err(), "{at}");
            assert_eq!(case.blobs.read(&case.sealer, other).unwrap(), body);
        }
        std::fs::write(&pack, &whole[..length - 1]).unwrap();
        assert!(case.blobs.read(&case.sealer, case.name).is_err());
        std::fs::write(&pack, &whole).unwrap();
        assert_eq!(case.blobs.read(&case.sealer, case.name).unwrap(), case.body);
    }

    #[test]
    fn a_file_goes_before_a_slot() {
        let case = put(2 * CHUNK, false);
        let (_, read) = case.blobs.as_file(&case.name);
        let mut of_a_backup = vec![];
        read.unwrap().read_to_end(&mut of_a_backup).unwrap();
        // Changed in the midst: found only where it is read.
        let pack = packs_of(&case).remove(0);
        let mut wrong = std::fs::read(&pack).unwrap();
        wrong[ID + CHUNK] ^= 1;
        std::fs::write(&pack, wrong).unwrap();
        assert!(case.blobs.read(&case.sealer, case.name).is_err());
        std::fs::create_dir_all(case.file.parent().unwrap()).unwrap();
        std::fs::write(&case.file, &of_a_backup).unwrap();
        assert_eq!(case.blobs.read(&case.sealer, case.name).unwrap(), case.body);
        assert_eq!(case.blobs.as_file(&case.name).0, case.file);
        // What a power cut left under the name is written over by what comes again.
        std::fs::write(&case.file, &of_a_backup[..CHUNK]).unwrap();
        assert!(!case.blobs.is_there(&case.name));
        let again = case.blobs.write(&case.sealer, &case.body).unwrap();
        assert_eq!(again.slot, None);
        assert_eq!(case.blobs.read(&case.sealer, again).unwrap(), case.body);
        assert_eq!(case.blobs.read(&case.sealer, case.name).unwrap(), case.body);
    }

    #[test]
    fn sealed_anew_it_leaves_its_slot_for_a_file() {
        let case = put(2 * CHUNK + 5, false);
        assert!(!case.blobs.reseal(&case.sealer, &lying(&case)).unwrap());
        case.sealer.take_key(2, &[7; 32]).unwrap();
        let before = lying(&case);
        assert!(case.blobs.reseal(&case.sealer, &before).unwrap());
        let after = lying(&case);
        assert!(before.taken.is_some() && after.taken.is_none());
        assert!(!case.blobs.reseal(&case.sealer, &after).unwrap());
        case.sealer.forget_keys(&[1]);
        assert!(case.blobs.is_there(&case.name));
        assert_eq!(case.blobs.read(&case.sealer, case.name).unwrap(), case.body);
    }

    #[test]
    fn as_a_file_it_is_what_a_file_of_its_own_is() {
        let case = put(100_000, false);
        let (from, read) = case.blobs.as_file(&case.name);
        assert!(from.starts_with(case.blobs.folder.join(PACKS)));
        let mut bytes = vec![];
        read.unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, file_length(100_000));
        // Where the pack is not there, the file is read.
        std::fs::remove_dir_all(case.blobs.folder.join(PACKS)).unwrap();
        assert!(!case.blobs.is_there(&case.name));
        std::fs::create_dir_all(case.file.parent().unwrap()).unwrap();
        std::fs::write(&case.file, bytes).unwrap();
        assert!(case.blobs.is_there(&case.name));
        assert_eq!(case.blobs.read(&case.sealer, case.name).unwrap(), case.body);
    }
}
