//! What the base or this archive has is not stored again.

use intellistor_storage::StoreErrorKind;
use intellistor_storage::manifest::HOLE;
use intellistor_storage::objects::{Fault, Faulty, Operation};

use super::days::{Days, own_members};
use super::*;

const MIB: u64 = 1 << 20;

/// Members under the paths of files.
fn paths_in(tar: &[u8]) -> Vec<String> {
    let paths = read_tar(tar).into_keys().map(|path| String::from_utf8(path).unwrap());
    paths.filter(|path| !path.starts_with(".intellistor/") && path != ".").collect()
}

#[test]
fn without_a_base_the_same_content_is_stored_once_and_plain_tar_gives_all_files() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("sub")).unwrap();
    for name in ["a", "b", "sub/c"] {
        fs::write(at(name), noise(1, 5000)).unwrap();
    }
    for name in ["large 1", "large 2", "sub/large 3"] {
        fs::write(at(name), noise(2, 3 * MIB + 7)).unwrap();
    }
    // Of the same size, with the same beginning.
    fs::write(at("large 4"), [noise(2, 2 * MIB), noise(3, MIB + 7)].concat()).unwrap();
    // Of the same size, with another beginning.
    fs::write(at("large 5"), noise(5, 3 * MIB + 7)).unwrap();
    for name in ["empty 1", "empty 2"] {
        fs::write(at(name), b"").unwrap();
    }
    fs::hard_link(at("b"), at("sub/other name of b")).unwrap();
    let walked = walk(dir.path());
    let whole = resume_after(&walked, &[]);
    assert_sound(&whole, dir.path(), "the whole");
    let tar = tar_of(&whole);
    let in_tar = read_tar(&tar);
    let copies: Vec<_> = in_tar.iter().filter(|(_, member)| member.is_copy).map(|(path, _)| path).collect();
    assert_eq!(copies, [&b"b"[..], b"large 2", b"sub/c", b"sub/large 3"]);
    assert_eq!(own_members(&tar), (0, 3), "a list for each content");
    assert!((tar.len() as u64) < 10 * MIB, "{}", tar.len());

    let out = tempfile::tempdir().unwrap();
    let mut plain = std::process::Command::new("tar")
        .args(["-x", "--warning=no-timestamp", "-C"])
        .arg(out.path())
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut plain.stdin.take().unwrap(), &tar).unwrap();
    assert!(plain.wait().unwrap().success());
    for entry in entries_of(&whole).iter().filter(|entry| entry.kind != EntryKind::Directory) {
        let name = &entry.relative_path;
        assert!(fs::read(out.path().join(name)).unwrap() == fs::read(at(name)).unwrap(), "{name}");
    }

    // What a run resumes with has the files of the parts before.
    for cut in 1..whole.len() {
        let again = resume_after(&walked, &whole[..cut]);
        assert_sound(&again, dir.path(), &format!("cut behind frame {cut}"));
        assert!(tar_of(&again).len() < tar.len() + 4096, "cut behind frame {cut}: content is stored again");
    }
}

#[test]
fn small_files_that_are_known_in_the_base_add_nothing() {
    let mut days = Days::new();
    for name in ["touched", "moved", "copied", "changed", "kept", "racing"] {
        days.write(name, &noise(name.len() as u64 + u64::from(name.as_bytes()[0]), 3000));
        set_mtime(&days.path(name), 1_600_000_000);
    }
    let (_, changes) = days.backup("a full");
    assert!(changes.values().all(|change| *change == Change::New), "{changes:?}");

    set_mtime(&days.path("touched"), 1_600_000_100);
    fs::rename(days.path("moved"), days.path("moved to here")).unwrap();
    fs::copy(days.path("copied"), days.path("copy")).unwrap();
    days.write("changed", b"something else");
    days.write("new", b"new");
    days.write("new too", b"new");
    let (tar, changes) = days.backup("a day");
    assert_eq!(paths_in(&tar), ["changed", "new", "new too"]);
    let change = |path: &str| changes[path];
    assert_eq!(change("touched"), Change::Touched);
    assert_eq!(change("moved to here"), Change::Moved);
    assert_eq!(change("copy"), Change::New);
    assert_eq!(change("changed"), Change::Changed);
    assert_eq!((change("new"), change("new too")), (Change::New, Change::New));
    assert_eq!(change("kept"), Change::Unchanged);
    assert!(read_tar(&tar)[&b"new too"[..]].is_copy);

    let (tar, changes) = days.backup("a day without a change");
    assert_eq!(tar, END_MARKER);
    assert!(changes.values().all(|change| *change == Change::Unchanged), "{changes:?}");
}

#[test]
fn of_a_large_file_only_what_is_new_is_stored() {
    let mut days = Days::new();
    let image = noise(1, 6 * MIB);
    days.write("image", &image);
    days.write("dump 1", &noise(2, 8 * MIB));
    days.write("log", &noise(3, 2 * MIB));
    days.write("moved", &noise(4, 2 * MIB));
    days.write("touched", &noise(5, 2 * MIB));
    let (tar, _) = days.backup("a full");
    assert_eq!(own_members(&tar), (0, 5));

    let file = File::options().write(true).open(days.path("image")).unwrap();
    file.write_all_at(&noise(6, 4096), 3 * MIB).unwrap();
    let mut dump = noise(2, 8 * MIB);
    dump.splice(MIB as usize..MIB as usize, noise(7, 100));
    days.write("dump 2", &dump);
    fs::remove_file(days.path("dump 1")).unwrap();
    let log = [noise(3, 2 * MIB), noise(8, 100_000)].concat();
    days.write("log", &log);
    fs::rename(days.path("moved"), days.path("moved to here")).unwrap();
    set_mtime(&days.path("touched"), 1_600_000_000);
    days.write("strange", &noise(9, 2 * MIB));
    let (tar, changes) = days.backup("a day");
    // Members under paths are whole files.
    assert_eq!(paths_in(&tar), ["strange"]);
    let (pieces, lists) = own_members(&tar);
    assert!((100_000..500_000).contains(&pieces), "{pieces} new bytes");
    assert_eq!(lists, 4, "of the image, the dump, the log and the strange file");
    assert_eq!(changes["moved to here"], Change::Moved);
    assert_eq!(changes["touched"], Change::Touched);
    assert_eq!(changes["dump 2"], Change::New);

    // Two days later, from pieces of pieces.
    let mut image = fs::read(days.path("image")).unwrap();
    image.truncate(5 * MIB as usize);
    image.extend_from_slice(&noise(12, 50_000));
    days.write("image", &image);
    let (tar, _) = days.backup("a third day");
    let (pieces, lists) = own_members(&tar);
    assert!((50_000..200_000).contains(&pieces), "{pieces} new bytes");
    assert_eq!((lists, paths_in(&tar)), (1, Vec::new()));
    let (tar, _) = days.backup("a day without a change");
    assert_eq!(tar, END_MARKER);
}

#[test]
fn two_new_files_that_are_alike_share_chunks() {
    let mut days = Days::new();
    days.write("a", b"a");
    days.backup("a full");
    let bytes = noise(1, 4 * MIB);
    days.write("new 1", &bytes);
    days.write("new 2", &[&b"in front"[..], &bytes].concat());
    days.write("new 3", &bytes);
    let (tar, _) = days.backup("a day");
    let (pieces, lists) = own_members(&tar);
    assert!(pieces < 100_000, "{pieces} new bytes");
    assert_eq!((lists, paths_in(&tar)), (2, vec!["new 1".to_owned(), "new 3".to_owned()]));
    assert!(read_tar(&tar)[&b"new 3"[..]].is_copy);
}

#[test]
fn a_sparse_file_of_which_a_part_changes_keeps_its_holes() {
    let mut days = Days::new();
    let file = File::create(days.path("image")).unwrap();
    for island in 0..4 {
        file.write_all_at(&noise(island, 300_000), island << 24).unwrap();
    }
    file.set_len(80 << 20).unwrap();
    days.backup("a full");
    file.write_all_at(&noise(9, 200_000), 2 << 24).unwrap();
    file.write_all_at(&noise(10, 200_000), 5 << 23).unwrap();
    let (tar, _) = days.backup("a day");
    let (pieces, lists) = own_members(&tar);
    assert!((380_000..900_000).contains(&pieces) && lists == 1, "{pieces} new bytes, {lists} lists");
    let base = days.base.clone().unwrap();
    let entry = base.entries(0).map(Result::unwrap).find(|entry| entry.relative_path == "image").unwrap();
    let chunks = entry.chunks.unwrap();
    let list = ChunkList::decode("", bytes_of(&chunks, &[&tar]).to_vec(), entry.size).unwrap();
    assert!(list.iter().filter(|(_, chunk)| chunk.id == HOLE).count() >= 4);
    let (tar, _) = days.backup("a day without a change");
    assert_eq!(tar, END_MARKER);
}

#[test]
fn names_of_a_file_stay_names_of_one_file() {
    let mut days = Days::new();
    days.write("b", &noise(1, 5000));
    days.write("x", &noise(2, 2 * MIB));
    for (first, other) in [("b", "c"), ("b", "d"), ("x", "y")] {
        fs::hard_link(days.path(first), days.path(other)).unwrap();
    }
    let (tar, _) = days.backup("a full");
    assert_eq!(paths_in(&tar), ["b", "c", "d", "x", "y"]);
    let (tar, _) = days.backup("a day without a change");
    assert_eq!(tar, END_MARKER);
    // The first name is gone, and there is another one.
    fs::remove_file(days.path("b")).unwrap();
    fs::hard_link(days.path("c"), days.path("z")).unwrap();
    let (_, _) = days.backup("other names");
    fs::hard_link(days.path("y"), days.path("yy")).unwrap();
    days.write("x", &noise(3, 2 * MIB + 5));
    let (_, _) = days.backup("other names and another content");
}

#[test]
fn a_list_that_cannot_be_read_costs_room_and_a_warning() {
    let mut days = Days::new();
    for name in ["image", "image 2"] {
        days.write(name, &noise(name.len() as u64, 3 * MIB));
    }
    days.backup("a full");
    days.store = Default::default();
    for name in ["image", "image 2"] {
        File::options().write(true).open(days.path(name)).unwrap().write_all_at(b"other", 5).unwrap();
    }
    let config = days.config().unwrap();
    let remarks = config.remarks.clone();
    let frames = resume_with(&days.steps(), &[], Some(config));
    days.assert_sound(&frames, "without the store");
    assert_eq!(paths_in(&tar_of(&frames)), ["image", "image 2"]);
    let BaseRemarks { warnings, notes } = &*remarks.lock().unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("\"image\""), "{warnings:?}");
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn a_run_with_a_base_is_resumed_behind_any_frame_and_stores_nothing_twice() {
    let mut days = Days::new();
    days.write("a", &noise(1, 9000));
    days.write("image", &noise(2, 6 * MIB));
    days.write("moved", &noise(3, 2 * MIB));
    days.write("link 1", &noise(4, 1000));
    fs::hard_link(days.path("link 1"), days.path("link 2")).unwrap();
    days.backup("a full");
    let mut image = noise(2, 6 * MIB);
    image.splice(MIB as usize..2 * MIB as usize, noise(5, 3 * MIB));
    image.extend_from_slice(&noise(6, MIB));
    days.write("image", &image);
    fs::rename(days.path("moved"), days.path("b moved")).unwrap();
    days.write("new 1", &noise(7, 2 * MIB));
    days.write("new 2", &noise(7, 2 * MIB));
    days.write("small 1", b"small");
    days.write("small 2", b"small");
    let steps = days.steps();
    let whole = resume_with(&steps, &[], days.config());
    days.assert_sound(&whole, "the whole");
    let bytes = tar_of(&whole).len();
    let changes = |frames: &[Arc<FrameArchived>]| {
        days.listed(frames)
            .into_iter()
            .map(|(entry, change)| (entry.relative_path, change))
            .collect::<Vec<_>>()
    };
    assert!(whole.len() > 6, "{}", whole.len());
    for first in 1..whole.len() {
        let again = resume_with(&steps, &whole[..first], days.config());
        let what = format!("cut behind frame {first}");
        days.assert_sound(&again, &what);
        assert_eq!(changes(&again), changes(&whole), "{what}");
        // A piece that was cut, the one whose record was not committed, and a list.
        let more = tar_of(&again).len() - bytes.min(tar_of(&again).len());
        assert!(more < 5 << 19, "{what}: {more} bytes more");
        for second in first + 1..again.len() {
            let third = resume_with(&steps, &again[..second], days.config());
            days.assert_sound(&third, &format!("{what} and {second}"));
            assert_eq!(changes(&third), changes(&whole), "{what} and {second}");
        }
    }
}

#[test]
fn a_file_that_changes_while_a_run_with_a_base_is_down_is_archived_as_it_is_then() {
    let mut days = Days::new();
    days.write("image", &noise(2, 3 * MIB));
    days.backup("a full");
    let middle = |n: u64| [noise(2, MIB), noise(n, 2 * MIB + MIB / 2), noise(2, 2 * MIB)].concat();
    days.write("image", &middle(5));
    let steps = days.steps();
    let whole = resume_with(&steps, &[], days.config());
    let contents: [Vec<u8>; 5] =
        [middle(6), noise(2, 3 * MIB), b"small".to_vec(), Vec::new(), noise(11, 2 * MIB)];
    for cut in 1..whole.len() {
        for (n, content) in contents.iter().enumerate() {
            days.write("image", content);
            let what = format!("cut behind frame {cut}, content {n}");
            let again = resume_with(&steps, &whole[..cut], days.config());
            if entries_of(&again[..cut]).iter().any(|entry| entry.relative_path == "image") {
                continue;
            }
            days.assert_sound(&again, &what);
        }
        days.write("image", &middle(5));
    }
}

#[test]
fn records_alone_make_frames_once_they_are_many() {
    let entry = Entry { relative_path: "n".repeat(4000), ..Entry::default() };
    let scanned = |step: &Step| match step {
        Step::Read { scanned, .. } => scanned.clone(),
        _ => panic!("{step:?}"),
    };
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), b"x").unwrap();
    let walked = walk(dir.path());
    let known = Step::Known { scanned: scanned(&walked[1]), entry: Box::new(entry) };
    let mut steps = walked.clone();
    steps.extend(vec![known; 2000]);
    let whole = resume_after(&steps, &[]);
    let empty = whole.iter().filter(|frame| frame.tar.is_empty()).count();
    assert!(empty >= 6, "{empty}");
    assert!(whole.iter().all(|frame| frame.recorded.memory_bytes() < 5 << 18));
    for cut in 1..whole.len() {
        let again = resume_after(&steps, &whole[..cut]);
        assert_eq!(entries_of(&again), entries_of(&whole), "cut behind frame {cut}");
        assert!(tar_of(&again) == tar_of(&whole));
    }
}

#[test]
fn chunk_lists_in_a_cold_archive_are_passed_over_and_noted_once() {
    let mut days = Days::new();
    for (seed, name) in [(1, "a"), (2, "b"), (3, "c")] {
        days.write(name, &noise(seed, 3 * MIB));
    }
    days.backup("first day");
    // The two have nothing in common that this run would know.
    for (seed, name) in [(1, "a"), (2, "b")] {
        days.write(name, &[noise(seed, 3 * MIB), noise(seed + 7, MIB)].concat());
    }
    let cold = Arc::new(Faulty::new(Arc::new(days.store.clone())));
    for nth in 1..100 {
        cold.fail(Operation::GetRange, nth, Fault::Fails(StoreErrorKind::ColdStorage));
    }
    let config = BaseConfig { store: cold.clone(), ..days.config().unwrap() };
    let frames = resume_with(&days.steps(), &[], Some(config.clone()));
    days.assert_sound(&frames, "second day");
    let tar = tar_of(&frames);
    let mut stored = paths_in(&tar);
    stored.sort();
    assert_eq!(stored, ["a", "b"], "stored whole; what is unchanged needs no list");
    assert_eq!(cold.calls(Operation::GetRange), 1, "one refusal says it of the whole archive");
    let remarks = config.remarks.lock().unwrap();
    assert!(remarks.warnings.is_empty(), "{remarks:?}");
    assert!(remarks.notes.len() == 1 && remarks.notes[0].contains("STANDARD_IA"), "{remarks:?}");
}
