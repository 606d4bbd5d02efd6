//! A tree with everything that is odd about files.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::tree::{noise, set_mtime};

const MIB: usize = 1 << 20;

/// Paths of a made tree that no backup holds: they are recorded as skipped.
pub const SPECIAL: [&str; 2] = ["canal.fifo", "tomada.socket"];

/// Content of the file with two names.
pub const LINKED_TEXT: &str = "um ficheiro, dois nomes";

/// The two names of one file.
pub const LINKED: [&str; 2] = ["nomes/a/primeiro.txt", "nomes/b/segundo.txt"];

/// A name in NFC and the same text in NFD.
pub const NFC: &str = "Relat\u{f3}rio de fun\u{e7}\u{e3}o.txt";

/// See [`NFC`].
pub const NFD: &str = "Co\u{301}pia de relato\u{301}rio.txt";

/// A name that is not UTF-8.
pub const NOT_UTF8: &[u8] = b"latin1-a\xe7\xe3o.txt";

/// 64 MiB with two islands of data, and a hole at the end.
pub const SPARSE: &str = "esparso/ilhas.img";

/// Makes a tree with everything that is odd about files. `dir` is made if it does not exist.
/// Owners and unreadable files are made only where this process is root.
pub fn make(dir: &Path) {
    let folder = |name: &str| {
        let path = dir.join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    let file = |name: &str, body: &[u8]| {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, body).unwrap();
        path
    };
    fs::create_dir_all(dir).unwrap();

    file("vazio.txt", b"");
    folder("pasta vazia");
    file(NFC, "ol\u{e1}".as_bytes());
    file(NFD, "tudo bem?".as_bytes());
    fs::write(dir.join(OsStr::from_bytes(NOT_UTF8)), b"bytes").unwrap();
    symlink(OsStr::from_bytes(NOT_UTF8), dir.join(OsStr::from_bytes(b"liga\xe7\xe3o"))).unwrap();
    file("controlo/linha\nnova.txt", b"1");
    file("controlo/sino\x07 e esc\x1b[31m.txt", b"2");
    file("controlo/\u{202e}txt.exe", b"3");
    file("controlo/ espacos \"aspas\" \\barra\\ *?[x]{y} ", b"4");
    file("-rf", b"5");
    file(&"n".repeat(255), b"255 bytes of name");
    let deep: String = (0..6).map(|i| format!("{}{i}/", "funda".repeat(16))).collect();
    file(&format!("{deep}ficheiro.txt"), b"a path of more than 255 bytes");

    symlink("../vazio.txt", dir.join("pasta vazia").join("relativa")).unwrap();
    symlink("/etc/hostname", dir.join("absoluta")).unwrap();
    symlink("n\u{e3}o existe", dir.join("pendurada")).unwrap();
    symlink("nomes", dir.join("para pasta")).unwrap();
    symlink("x".repeat(300), dir.join("alvo longo")).unwrap();

    let first = file(LINKED[0], LINKED_TEXT.as_bytes());
    folder("nomes/b");
    fs::hard_link(first, dir.join(LINKED[1])).unwrap();

    let sparse = File::create(folder("esparso").join("ilhas.img")).unwrap();
    sparse.write_all_at(&noise(1, 100_000), 1 << 20).unwrap();
    sparse.write_all_at(b"second island", 40 << 20).unwrap();
    sparse.set_len(64 << 20).unwrap();
    File::create(dir.join("esparso/so buraco.img")).unwrap().set_len(8 << 20).unwrap();

    for (name, bytes) in
        [("1 MiB", MIB), ("1 MiB - 1", MIB - 1), ("1 MiB + 1", MIB + 1), ("3,5 MiB", 7 * MIB / 2)]
    {
        file(&format!("tamanhos/{name}"), &noise(bytes as u64, bytes));
    }
    file("tamanhos/zeros", &vec![0; MIB]);

    let noted = file("atributos/anotado.txt", b"com xattrs");
    for (name, value) in
        [("user.nota", "lembran\u{e7}a".as_bytes()), ("user.binario", b"\0\xff\n=\0"), ("user.vazio", b"")]
    {
        xattr::set(&noted, name, value).unwrap();
    }
    xattr::set(folder("atributos/pasta"), "user.nota", b"de pasta").unwrap();

    let is_root = rustix::process::geteuid().is_root();
    for (name, mode) in [("0400", 0o400), ("4755", 0o4755), ("0600", 0o600), ("0777", 0o777)] {
        let path = file(&format!("modos/{name}"), name.as_bytes());
        if is_root {
            chown(&path, Some(1234), Some(4321)).unwrap();
        }
        // After the owner, whose change clears the set-user-id bit.
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    if is_root {
        let locked = file("modos/0000", b"0000");
        fs::set_permissions(locked, fs::Permissions::from_mode(0o000)).unwrap();
        lchown(dir.join("pendurada"), Some(1234), Some(4321)).unwrap();
    }

    for special in SPECIAL.into_iter().zip([FileType::Fifo, FileType::Socket]) {
        mknodat(CWD, dir.join(special.0), special.1, Mode::from(0o600), 0).unwrap();
    }

    for (name, seconds, nanoseconds) in [
        ("com ns", 1_700_000_000, 123_456_789),
        ("antes de 1970", -1_000_000_000, 987_654_321),
        ("depois de 2038", 4_500_000_000, 1),
        ("em 1970", 0, 0),
    ] {
        set_mtime(&file(&format!("tempos/{name}"), name.as_bytes()), seconds, nanoseconds);
    }
    set_mtime(&dir.join("absoluta"), 1_000_000_000, 5);
    for (name, mode) in [("modos/r-x", 0o555), ("modos/pegajosa", 0o1777), ("modos/grupo", 0o2750)] {
        let path = folder(name);
        fs::write(path.join("dentro.txt"), name).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    // Folders last, since making something in one sets its time.
    for (i, name) in ["modos/r-x", "pasta vazia", "tempos", "nomes/a", "nomes"].into_iter().enumerate() {
        set_mtime(&dir.join(name), 1_200_000_000 + i as i64, 42);
    }
    set_mtime(dir, 1_300_000_000, 7);
}
