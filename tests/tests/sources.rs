//! What the machine's files do while they are backed up: folders that are swapped for links, sizes that lie.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails where it stands")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use intellistor_tests::governed::Governed;
use intellistor_tests::program::Output;
use intellistor_tests::tree;

const SECRET: &str = "the secret of another user";

/// A folder outside of the source, with names as in the source.
fn make_secret(place: &Governed, names: &[&str]) {
    fs::create_dir(place.at("secret")).unwrap();
    for name in names {
        let path = place.at("secret").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, SECRET).unwrap();
    }
}

/// `mv folder folder.old; ln -s secret folder`
fn swap(place: &Governed, folder: &str) {
    let path = place.source().join(folder);
    fs::rename(&path, path.with_extension("old")).unwrap();
    symlink(place.at("secret"), &path).unwrap();
}

/// No restored file has the secret, and the backup is whole.
#[track_caller]
fn assert_no_secret(place: &Governed, output: &Output) {
    let key = output.key_backup();
    place.client.run(["-q", "verify", "--policy", "policy.yaml", "--key", key]).expect(0);
    let out = place.restore(key);
    for (path, facts) in tree::snapshot(&out) {
        if facts.kind == tree::Kind::File {
            let path = out.join(String::from_utf8(path).unwrap());
            assert_ne!(fs::read_to_string(&path).unwrap_or_default(), SECRET, "{}", path.display());
        }
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn folders_that_are_swapped_for_links_after_the_scan_leak_nothing() {
    let place = Governed::new("swapped");
    for name in ["a.txt", "d/f.txt", "d/deep/g.txt", "d/second.txt", "z.txt"] {
        write(&place.source().join(name), "own");
    }
    fs::hard_link(place.source().join("d/second.txt"), place.source().join("y.txt")).unwrap();
    symlink("own", place.source().join("d/link")).unwrap();
    make_secret(&place, &["f.txt", "deep/g.txt", "second.txt"]);
    symlink(SECRET, place.at("secret/link")).unwrap();
    assert!(place.run_until("scan_ended", 1));
    swap(&place, "d");
    let output = place.run().expect(3);
    assert_eq!(output.json["resumed"], true, "{:#}", output.json);
    let warnings = output.warnings();
    for name in ["d/f.txt", "d/deep/g.txt", "d/second.txt", "d/link"] {
        assert!(warnings.contains(name), "{name} is not named in: {warnings}");
    }
    assert!(warnings.contains("replaced by a link"), "{warnings}");
    assert_no_secret(&place, &output);
    let out = place.restore(output.key_backup());
    assert_eq!(fs::read_to_string(out.join("a.txt")).unwrap(), "own");
    assert_eq!(
        fs::read_to_string(out.join("y.txt")).unwrap(),
        "own",
        "the other name of a file in the folder"
    );
    assert_ne!(fs::read_link(out.join("d/link")).ok().as_deref(), Some(Path::new(SECRET)));
}

#[test]
fn a_root_that_is_swapped_for_a_link_after_the_scan_leaks_nothing() {
    let place = Governed::new("swapped");
    write(&place.source().join("f.txt"), "own");
    make_secret(&place, &["f.txt"]);
    assert!(place.run_until("scan_ended", 1));
    fs::rename(place.source(), place.at("source.old")).unwrap();
    symlink(place.at("secret"), place.source()).unwrap();
    let output = place.run().expect(3);
    assert!(output.warnings().contains("f.txt"), "{}", output.warnings());
    assert_no_secret(&place, &output);
}

#[test]
fn a_folder_that_is_swapped_amid_its_file_gives_no_byte_of_the_other_file() {
    let place = Governed::new("swapped");
    fs::create_dir(place.source().join("d")).unwrap();
    tree::write_noise(&place.source().join("d/grande.bin"), 7, 50 << 20);
    write(&place.source().join("z.txt"), "own");
    fs::create_dir(place.at("secret")).unwrap();
    // Even the same bytes, under the same time.
    fs::copy(place.source().join("d/grande.bin"), place.at("secret/grande.bin")).unwrap();
    let modified = fs::metadata(place.source().join("d/grande.bin")).unwrap().modified().unwrap();
    let copy = fs::File::options().write(true).open(place.at("secret/grande.bin")).unwrap();
    copy.set_modified(modified).unwrap();
    assert!(place.run_until("part_recorded", 3));
    swap(&place, "d");
    let output = place.run().expect(3);
    assert!(output.warnings().contains("d/grande.bin: skipped"), "{}", output.warnings());
    let key = output.key_backup();
    place.client.run(["-q", "verify", "--policy", "policy.yaml", "--key", key]).expect(0);
    let out = place.restore(key);
    assert!(!out.join("d/grande.bin").exists());
    assert_eq!(fs::read_to_string(out.join("z.txt")).unwrap(), "own");
}
