//! A run that is cut behind any frame is resumed, and no file is lost, stored wrongly or recorded twice.

use super::*;

/// Cuts the stream of a tree behind each frame, resumes from there, and expects the stream that no cut would have made.
/// Then does so with a second cut. Gives the cursors at the cuts.
fn cut_everywhere(dir: &Path) -> Vec<(u64, Cursor)> {
    let walked = walk(dir);
    let whole = resume_after(&walked, &[]);
    assert_sound(&whole, dir, "the whole");
    let (tar, entries) = (tar_of(&whole), entries_of(&whole));
    let paths: Vec<_> = walked
        .iter()
        .filter_map(|step| match step {
            Step::Read { scanned, .. } => Some(String::from_utf8_lossy(&scanned.relative_path).into_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(entries.iter().map(|e| e.relative_path.clone()).collect::<Vec<_>>(), paths);
    // Where a list is, is another place once it was cut.
    let without_lists = |entries: &[Entry]| {
        entries.iter().map(|entry| Entry { chunks: None, ..entry.clone() }).collect::<Vec<_>>()
    };
    let same = |frames: &[Arc<FrameArchived>], cuts: &[usize]| {
        let what = format!("cut behind frames {cuts:?}");
        let in_list = |cut: &usize| {
            let partial = frames[cut - 1].recorded.cursor.partial_entry.as_ref();
            partial.is_some_and(|partial| partial.internal)
        };
        if cuts.iter().any(in_list) {
            assert_sound(frames, dir, &what);
            assert_eq!(without_lists(&entries_of(frames)), without_lists(&entries), "{what}");
        } else {
            assert!(tar_of(frames) == tar, "{what}: another stream");
            assert_eq!(entries_of(frames), entries, "{what}");
        }
        assert_eq!(problems_of(frames), problems_of(&whole), "{what}");
    };
    let (mut cursors, mut position) = (Vec::new(), 0);
    for first in 1..whole.len() {
        let again = resume_after(&walked, &whole[..first]);
        same(&again, &[first]);
        for second in first + 1..again.len() {
            same(&resume_after(&walked, &again[..second]), &[first, second]);
        }
        position += whole[first - 1].tar.len() as u64;
        cursors.push((position, whole[first - 1].recorded.cursor.clone()));
    }
    cursors
}

#[test]
fn a_file_of_several_frames_is_gone_on_with_wherever_it_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), b"before").unwrap();
    fs::write(dir.path().join("grande"), noise(1, 4 * FRAME + 300_000)).unwrap();
    fs::write(dir.path().join("z"), b"after").unwrap();
    let cursors = cut_everywhere(dir.path());
    let halves = cursors.iter().filter(|(_, cursor)| cursor.partial_entry.is_some()).count();
    assert_eq!(halves, 4, "{cursors:?}");
}

#[test]
fn a_sparse_file_is_gone_on_with_wherever_it_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(dir.path().join("ilhas")).unwrap();
    for island in 0..6 {
        file.write_all_at(&noise(island, 600_000), 4096 + (island << 22)).unwrap();
    }
    file.set_len(64 << 20).unwrap();
    File::create(dir.path().join("só buraco")).unwrap().set_len(8 << 20).unwrap();
    fs::write(dir.path().join("z"), noise(7, FRAME)).unwrap();
    let cursors = cut_everywhere(dir.path());
    assert!(cursors.len() >= 4, "{cursors:?}");
    let header = cursors[0].1.partial_entry.as_ref().unwrap();
    assert!(header.stored_bytes < 5 << 20, "the file is archived as a sparse one: {header:?}");
}

#[test]
fn cuts_at_the_very_ends_of_headers_contents_and_paddings_lose_nothing() {
    // A header with a time in nanoseconds takes three blocks, the root's folder does too.
    let dir = tempfile::tempdir().unwrap();
    let headers = 6 * 512;
    for (i, bytes) in [
        FRAME - headers, // Its content ends with a frame; an empty file comes next.
        0,
        FRAME - 2 * headers / 2,   // The next header begins within a frame.
        FRAME - headers / 2 - 100, // The padding crosses a frame's end.
        2 * FRAME - headers / 2,
        0,
        0,
    ]
    .into_iter()
    .enumerate()
    {
        let path = dir.path().join(format!("{i}"));
        fs::write(&path, noise(i as u64, bytes)).unwrap();
        set_mtime(&path, 1_700_000_000);
    }
    let cursors = cut_everywhere(dir.path());
    let at_an_edge = |(position, cursor): &&(u64, Cursor)| {
        cursor.partial_entry.as_ref().is_some_and(|half| half.tar_offset == *position)
    };
    assert!(cursors.iter().any(|c| at_an_edge(&c)), "no entry begins with a frame: {cursors:?}");
}

#[test]
fn small_files_links_and_folders_come_once_each_wherever_the_cut_is() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..6 {
        let folder = dir.path().join(format!("pasta {n}"));
        fs::create_dir(&folder).unwrap();
        for file in 0..150 {
            // Each with a content of its own: the same one would be stored once.
            fs::write(folder.join(format!("{file:03}")), noise(n * 1000 + file, (file * 37) % 3000)).unwrap();
        }
        symlink("000", folder.join("ligação")).unwrap();
        fs::write(folder.join("vazio"), b"").unwrap();
    }
    let at = |name: &str| dir.path().join(name);
    // Names of one file on both sides of every cut, and a pair on one side of each.
    for folder in 1..6 {
        fs::hard_link(at("pasta 0/100"), at(&format!("pasta {folder}/outro nome"))).unwrap();
    }
    fs::hard_link(at("pasta 0/101"), at("pasta 0/101 também")).unwrap();
    fs::hard_link(at("pasta 5/101"), at("pasta 5/101 também")).unwrap();
    let cursors = cut_everywhere(dir.path());
    assert!(cursors.len() >= 3, "{cursors:?}");
    let links = entries_of(&resume_after(&walk(dir.path()), &[]))
        .iter()
        .filter(|entry| entry.kind == EntryKind::Hardlink)
        .count();
    assert_eq!(links, 7);
}

#[test]
fn a_header_of_many_blocks_may_be_cut_in_itself() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("funda".repeat(40)).join("pasta".repeat(40));
    fs::create_dir_all(&deep).unwrap();
    for file in 0..400 {
        let path = deep.join(format!("{}{file}", "n".repeat(200)));
        fs::write(&path, b"pouco").unwrap();
        xattr::set(&path, "user.nota", "x".repeat(2000).as_bytes()).unwrap();
    }
    let cursors = cut_everywhere(dir.path());
    let in_a_header = |(position, cursor): &&(u64, Cursor)| {
        cursor.partial_entry.as_ref().is_some_and(|half| {
            half.tar_offset < *position && *position < half.tar_offset + half.header.len() as u64
        })
    };
    assert!(cursors.iter().any(|c| in_a_header(&c)), "no header crosses a frame's end: {cursors:?}");
}

/// What happens to a file while the run is down.
type Change = (&'static str, fn(&Path));

/// Keeps size and time.
fn overwrite(path: &Path, at: u64) {
    let before = fs::metadata(path).unwrap().modified().unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(b"outro", at).unwrap();
    file.set_modified(before).unwrap();
}

const CHANGES: [Change; 10] = [
    ("other bytes at its begin, size and time as before", |path| overwrite(path, 1)),
    ("other bytes at its end, size and time as before", |path| overwrite(path, 4 * FRAME + 100)),
    ("a newer time", |path| set_mtime(path, 1_800_000_000)),
    ("grown", |path| {
        let mut all = fs::read(path).unwrap();
        all.extend(noise(9, 700_000));
        fs::write(path, all).unwrap();
    }),
    ("shrunk", |path| File::options().write(true).open(path).unwrap().set_len(1000).unwrap()),
    ("shrunk, time as before", |path| {
        let before = fs::metadata(path).unwrap().modified().unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(FRAME + 5).unwrap();
        file.set_modified(before).unwrap();
    }),
    ("emptied", |path| fs::write(path, b"").unwrap()),
    ("replaced by the same bytes", |path| {
        let (all, time) = (fs::read(path).unwrap(), fs::metadata(path).unwrap().modified().unwrap());
        let beside = path.with_extension("novo");
        fs::write(&beside, all).unwrap();
        File::options().write(true).open(&beside).unwrap().set_modified(time).unwrap();
        fs::rename(beside, path).unwrap();
    }),
    ("replaced by a sparse one", |path| {
        fs::remove_file(path).unwrap();
        let file = File::create(path).unwrap();
        file.write_all_at(b"ilha", 1 << 20).unwrap();
        file.set_len(4 * FRAME + 300_000).unwrap();
    }),
    ("given a mode", |path| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }),
];

/// Changes after which there is nothing to archive.
const ENDS: [Change; 3] = [
    ("deleted", |path| fs::remove_file(path).unwrap()),
    ("replaced by a folder", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
    ("replaced by a link", |path| {
        fs::remove_file(path).unwrap();
        symlink("z", path).unwrap();
    }),
];

/// A tree with one file of almost five frames among small ones, what a walk found, and the stream of a whole run.
struct Scenario {
    dir: TempDir,
    walked: Vec<Step>,
    whole: Stream,
}

impl Scenario {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "y", "z"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        fs::write(dir.path().join("grande"), noise(1, 4 * FRAME + 300_000)).unwrap();
        set_mtime(&dir.path().join("grande"), 1_700_000_000);
        let walked = walk(dir.path());
        let whole = resume_after(&walked, &[]);
        Self { dir, walked, whole }
    }

    fn big(&self) -> PathBuf {
        self.dir.path().join("grande")
    }

    /// The numbers of frames behind which the big file is cut.
    fn cuts(&self) -> Vec<usize> {
        let is_cut = |n: &usize| self.whole[n - 1].recorded.cursor.partial_entry.is_some();
        let cuts: Vec<_> = (1..self.whole.len()).filter(is_cut).collect();
        assert_eq!(cuts.len(), 4);
        cuts
    }
}

#[test]
fn a_file_that_changed_while_the_run_was_down_is_archived_as_it_is_now() {
    for (what, change) in CHANGES {
        for cut in Scenario::new().cuts() {
            let place = Scenario::new();
            change(&place.big());
            let again = resume_after(&place.walked, &place.whole[..cut]);
            let what = format!("{what}, cut behind frame {cut}");
            let paths = assert_sound(&again, place.dir.path(), &what);
            assert_eq!(paths.len(), 6, "{what}: {paths:?}");
            assert_eq!(problems_of(&again), [], "{what}");
            // The run may be cut again, also within the zeros that complete the old copy.
            for second in cut + 1..again.len() {
                let third = resume_after(&place.walked, &again[..second]);
                let what = format!("{what} and {second}");
                let paths = assert_sound(&third, place.dir.path(), &what);
                assert_eq!(paths.len(), 6, "{what}: {paths:?}");
            }
        }
    }
}

#[test]
fn a_file_that_changes_again_after_a_second_cut_is_archived_as_it_is_then() {
    for (first, change) in CHANGES {
        for (second, change_again) in CHANGES.iter().filter(|(name, _)| *name != first) {
            let place = Scenario::new();
            change(&place.big());
            let again = resume_after(&place.walked, &place.whole[..2]);
            let size = fs::metadata(place.big()).unwrap().len();
            // What is written at the end of a file that has none makes it a larger one: that is a change too.
            change_again(&place.big());
            for cut in [3, 4].into_iter().filter(|cut| *cut < again.len()) {
                if again[..cut].iter().any(|frame| {
                    entries_of(std::slice::from_ref(frame))
                        .iter()
                        .any(|entry| entry.relative_path == "grande")
                }) {
                    continue;
                }
                let what = format!("{first} ({size} bytes), then {second}, cut behind frames 2 and {cut}");
                let third = resume_after(&place.walked, &again[..cut]);
                let paths = assert_sound(&third, place.dir.path(), &what);
                assert_eq!(paths.len(), 6, "{what}: {paths:?}");
            }
        }
    }
}

#[test]
fn a_file_that_is_gone_after_a_cut_is_recorded_as_skipped_and_the_stream_stays_valid() {
    for (what, change) in ENDS {
        for cut in Scenario::new().cuts() {
            let place = Scenario::new();
            change(&place.big());
            let again = resume_after(&place.walked, &place.whole[..cut]);
            let what = format!("{what}, cut behind frame {cut}");
            let paths = assert_sound(&again, place.dir.path(), &what);
            assert_eq!(paths.len(), 5, "{what}: {paths:?}");
            let problems = problems_of(&again);
            assert_eq!(problems.len(), 1, "{what}: {problems:?}");
            assert_eq!(
                (problems[0].relative_path.as_str(), problems[0].kind),
                ("grande", ProblemKind::Skipped)
            );
            for second in cut + 1..again.len() {
                let third = resume_after(&place.walked, &again[..second]);
                let paths = assert_sound(&third, place.dir.path(), &format!("{what} and {second}"));
                assert_eq!(paths.len(), 5, "{what} and {second}: {paths:?}");
            }
        }
    }
}

#[test]
fn a_file_that_is_gone_is_recorded_as_skipped_once_however_often_the_run_is_cut() {
    let place = Scenario::new();
    fs::remove_file(place.big()).unwrap();
    let again = resume_after(&place.walked, &place.whole[..2]);
    for second in 3..again.len() {
        let third = resume_after(&place.walked, &again[..second]);
        let problems = problems_of(&third);
        assert_eq!(problems.len(), 1, "cut behind frames 2 and {second}: {problems:?}");
    }
}

#[test]
fn a_file_that_was_gone_and_is_back_is_no_skipped_one() {
    let place = Scenario::new();
    let away = place.dir.path().with_extension("away");
    fs::rename(place.big(), &away).unwrap();
    let again = resume_after(&place.walked, &place.whole[..2]);
    fs::rename(&away, place.big()).unwrap();
    for second in 3..again.len() {
        let amid_zeros = again[second - 1].recorded.cursor.partial_entry.is_some();
        if amid_zeros {
            let third = resume_after(&place.walked, &again[..second]);
            let paths = assert_sound(&third, place.dir.path(), &format!("cut behind frames 2 and {second}"));
            assert!(paths.contains(&"grande".to_owned()), "{paths:?}");
            assert_eq!(problems_of(&third), [], "cut behind frames 2 and {second}");
        }
    }
}

#[test]
fn links_whose_file_was_written_to_between_scan_and_archive_stay_sound_over_any_cut() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("a"), noise(1, FRAME + 5000)).unwrap();
    for name in ["b", "c", "d"] {
        fs::hard_link(at("a"), at(name)).unwrap();
    }
    let walked = walk(dir.path());
    fs::write(at("a"), noise(2, FRAME + 5000)).unwrap();
    let whole = resume_after(&walked, &[]);
    assert_sound(&whole, dir.path(), "the whole");
    for cut in 1..whole.len() {
        let again = resume_after(&walked, &whole[..cut]);
        let paths = assert_sound(&again, dir.path(), &format!("cut behind frame {cut}"));
        assert_eq!(paths.len(), 5, "cut behind frame {cut}: {paths:?}");
    }
}

#[test]
fn a_run_that_was_cut_within_a_chunk_list_makes_the_list_again_and_not_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("grande");
    let mut cuts = 0;
    for before_end in (0..7).map(|n| n * 1024) {
        fs::write(&path, noise(1, 2 * FRAME - before_end)).unwrap();
        set_mtime(&path, 1_700_000_000);
        let walked = walk(dir.path());
        let whole = resume_after(&walked, &[]);
        let in_list = |frame: &&Arc<FrameArchived>| {
            let partial = frame.recorded.cursor.partial_entry.as_ref();
            partial.is_some_and(|partial| partial.finished.is_some())
        };
        let Some(cut) = whole.iter().position(|frame| in_list(&frame)) else { continue };
        cuts += 1;
        let again = resume_after(&walked, &whole[..=cut]);
        let what = format!("{before_end}");
        assert_sound(&again, dir.path(), &what);
        assert_eq!(entries_of(&again)[1].extents, entries_of(&whole)[1].extents, "{what}");
        assert!(tar_of(&again).len() < tar_of(&whole).len() + 10_000, "{what}: content is stored again");
        // Other bytes, size and time as before: they are archived.
        overwrite(&path, FRAME);
        let other = resume_after(&walked, &whole[..=cut]);
        assert_sound(&other, dir.path(), &what);
        for second in cut + 2..other.len() {
            assert_sound(&resume_after(&walked, &other[..second]), dir.path(), &format!("{what}, again"));
        }
    }
    assert!(cuts >= 2, "{cuts}");
}
