//! The programs for Windows, end to end, under Wine: `.ci/windows` builds and runs them.
//!
//! What Wine does not have, this does not show: that a schedule's triggers fire, links and junctions, shares, access
//! lists that keep somebody out.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use intellistor_tests::program::{Output, finish};
use intellistor_tests::s3_server::{BUCKET, UploadState};
use intellistor_tests::tree::{self, noise, set_mtime};
use intellistor_tests::wine::{Wine, assert_alike};

fn machine(policy_id: &str) -> Option<Wine> {
    Wine::new(Path::new(env!("CARGO_TARGET_TMPDIR")), policy_id)
}

/// Files and folders with names that both systems have; times that both can hold.
fn fill(source: &Path) {
    let deep: String = (0..5).map(|i| format!("{}{i}/", "funda".repeat(16))).collect();
    let files: [(&str, Vec<u8>); 7] = [
        ("Relat\u{f3}rio \u{e7}\u{e3}o.txt", "ol\u{e1}".into()),
        ("Co\u{301}pia.txt", "tudo bem?".into()),
        ("vazio.txt", Vec::new()),
        ("docs/imagens/foto 1.png", noise(1, 3_500_000)),
        ("docs/imagens/foto & 2 (c\u{f3}pia) 100%.png", noise(2, 70_000)),
        ("docs/notas.txt", b"linhas\r\n".repeat(9_000)),
        (&format!("{deep}ficheiro.txt"), b"a path of more than 400 characters".into()),
    ];
    for (i, (name, bytes)) in files.into_iter().enumerate() {
        let path = source.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        set_mtime(&path, 1_600_000_000 + i as i64, 123_456_700);
    }
    fs::create_dir(source.join("pasta vazia")).unwrap();
    set_mtime(&source.join("pasta vazia"), 1_500_000_000, 0);
    for folder in ["docs/imagens", "docs"] {
        set_mtime(&source.join(folder), 1_400_000_000, 500);
    }
    let mut deep = Path::new(&deep);
    while deep != Path::new("") {
        set_mtime(&source.join(deep), 1_300_000_000, 0);
        deep = deep.parent().unwrap();
    }
}

/// Bytes of all files below a folder, and how often each is there.
fn contents(folder: &Path) -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    for sha256 in tree::snapshot(folder).into_values().filter_map(|entry| entry.sha256) {
        *all.entry(sha256).or_default() += 1;
    }
    all
}

#[test]
fn a_key_a_policy_a_backup_and_both_kinds_of_restore() {
    let Some(windows) = machine("ponta-a-ponta") else { return };
    fill(&windows.at("source"));
    fs::hard_link(windows.at("source/docs/notas.txt"), windows.at("source/docs/outro nome.txt")).unwrap();
    let created = windows.client(&["key-create", "--out", "chave.key"]).expect(0);
    assert_eq!(created.json["created"], "chave.key");
    // As the first users would have it: a file with variables, and the key in a file.
    let settings = fs::read_to_string(windows.at("b.env")).unwrap();
    let others = settings.lines().filter(|line| !line.starts_with("INTELLISTOR_KEY"));
    let key_file = format!("INTELLISTOR_KEY_FILE='{}'", windows.named("chave.key"));
    let settings: Vec<_> = others.chain([key_file.as_str()]).collect();
    fs::write(windows.at("b.env"), settings.join("\r\n")).unwrap();
    windows.policy();
    let policy = fs::read_to_string(windows.at("policy.yaml")).unwrap();
    assert!(policy.contains(r"paths: ['C:\tests\ponta-a-ponta\source']"), "{policy}");

    let backup = windows.client(&["backup", "--policy", "policy.yaml"]).expect(0);
    assert_eq!((&backup.json["files"], &backup.json["skipped"]), (&8.into(), &0.into()), "{:#}", backup.json);
    let key = backup.key_backup();
    windows.client(&["verify", "--policy", "policy.yaml", "--latest"]).expect(0);
    windows.assert_restores(key);
    let link = |name: &str| windows.at(name).metadata().unwrap().nlink();
    assert_eq!(link("restored/docs/outro nome.txt"), 2, "two names are one file again");
    // A second time, over what is there.
    windows.restore(key, "restored").expect(0);

    let line =
        ["restore", "--policy", "policy.yaml", "--latest", "--out", "parte", "--only", "docs/imagens/*"];
    let part = windows.client(&line).expect(0);
    assert_eq!(part.json["restored"], 2, "{:#}", part.json);
    assert_alike(&windows.at("source/docs/imagens"), &windows.at("parte/docs/imagens"), &[]);
    assert!(!windows.at("parte/docs/notas.txt").exists());

    // The line that a backup gives, pasted into a console elsewhere.
    fs::create_dir(windows.at("consola")).unwrap();
    let mut console = windows.wine(&["cmd", "/c", backup.json["cli_restore"].as_str().unwrap()]);
    console.current_dir(windows.at("consola"));
    finish(console).expect(0);
    assert_alike(&windows.at("source"), &windows.at("consola/restore"), &[]);

    // Linux has the key, and restores the same; so it does without the manifest.
    let chave = fs::read_to_string(windows.at("chave.key")).unwrap();
    let linux = windows.here.client.clone().var("INTELLISTOR_KEY", chave.trim());
    for (out, more) in [("linux", &[][..]), ("arquivo", &["--without-manifest"])] {
        let line = ["-q", "restore", "--policy", "policy.yaml", "--key", key, "--out", out];
        linux.run(line.iter().chain(more)).expect(0);
        assert_alike(&windows.at("source"), &windows.here.at(out), &[]);
    }
}

#[test]
fn the_restore_command_works_when_pasted_whatever_the_names() {
    let Some(windows) = machine("colar") else { return };
    windows.policy();
    fs::write(windows.at("source/a.txt"), "a").unwrap();
    let policy = fs::read_to_string(windows.at("policy.yaml")).unwrap();
    for (at, name) in [
        "com espaço",
        "100% %PATH% %TEMP%x",
        "a & b ^ c! (x)",
        "D'Agua ça; Müller, @x #1 =y",
        "%OS%%OS%",
        "termina em %",
    ]
    .into_iter()
    .enumerate()
    {
        let folder = windows.at(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{name}.yaml")), &policy).unwrap();
        let named = windows.named(&format!("{name}/{name}.yaml"));
        let backup = windows.client(&["backup", "--policy", &named]).expect(0);
        let line = backup.json["cli_restore"].as_str().unwrap();
        assert_eq!(backup.json.get("cli_restore_powershell"), None, "one line is for both: {line}");
        let console = windows.at(&format!("consola {at}"));
        fs::create_dir(&console).unwrap();
        let pasted = windows.paste(line, &console);
        assert_alike(&windows.at("source"), &console.join("restore"), &[]);
        assert_eq!(pasted.code, 0, "{line}\n{}", pasted.stderr);
    }
    // What PowerShell would expand has a line of its own for it.
    let folder = windows.at("$HOME");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("p.yaml"), &policy).unwrap();
    let backup = windows.client(&["backup", "--policy", &windows.named("$HOME/p.yaml")]).expect(0);
    let line = backup.json["cli_restore_powershell"].as_str().unwrap();
    assert!(line.contains(r"'C:\tests\colar\$HOME\p.yaml'"), "{line}");
}

#[test]
fn a_whole_drive_is_backed_up_without_files_of_the_system() {
    let Some(windows) = machine("disco") else { return };
    let disk = windows.here.at("disco");
    for file in [
        "pagefile.sys",
        "HIBERFIL.SYS",
        "System Volume Information/tracking.log",
        "$RECYCLE.BIN/S-1-5-18/$I1.txt",
        "Cache do sistema/a/b.tmp",
        "Dados/Relat\u{f3}rio.txt",
        "Dados/pagefile.sys",
    ] {
        let path = disk.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    windows.map_drive('w', &disk);
    let key = r"HKLM\SYSTEM\CurrentControlSet\Control\BackupRestore\FilesNotToBackup";
    let rule = r"W:\CACHE do sistema\* /s\0%NOSUCHVARIABLE%\*\0";
    finish(windows.wine(&["reg", "add", key, "/v", "disco", "/t", "REG_MULTI_SZ", "/d", rule, "/f"]))
        .expect(0);
    let policy = "policy_id: disco\npaths: ['w:\\']\n";
    fs::write(windows.at("policy.yaml"), policy).unwrap();
    let backup = windows.client(&["backup", "--policy", "policy.yaml"]).expect(0);
    assert_eq!(backup.json["files"], 2, "{:#}", backup.json);
    let notes = backup.warnings();
    for rule in [r"\pagefile.sys", r"\hiberfil.sys", r"\$Recycle.Bin", r"W:\CACHE do sistema\* /s"] {
        let note = format!("one file or folder of the system was left out: {rule}");
        assert!(notes.contains(&note), "{rule} is not in {notes}");
    }
    // Wine makes no snapshots, and does not manage a drive that came after its start: neither is anybody's failure.
    let live = notes.lines().find(|note| note.contains("without a snapshot")).unwrap_or_default();
    assert!(
        live.to_lowercase().starts_with(r"w:\")
            && ["a drive that Windows does not manage", "E_NOTIMPL"].iter().any(|why| live.contains(why)),
        "{notes}"
    );
    windows.restore(backup.key_backup(), "restored").expect(0);
    let names: BTreeSet<_> =
        fs::read_dir(windows.at("restored")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, BTreeSet::from(["Cache do sistema".into(), "Dados".into()]));
    assert_alike(&disk.join("Dados"), &windows.at("restored/Dados"), &[]);

    fs::write(windows.at("policy.yaml"), format!("{policy}system_files: keep\n")).unwrap();
    let all = windows.client(&["backup", "--policy", "policy.yaml"]).expect(0);
    assert_eq!(all.json["files"], 7, "{:#}", all.json);
    // A drive without a backslash is the current folder on it.
    fs::write(windows.at("policy.yaml"), policy.replace("\\", "")).unwrap();
    let refused = windows.client(&["backup", "--policy", "policy.yaml"]).expect(2);
    assert!(refused.stderr.contains("w:\\"), "{}", refused.stderr);
}

#[test]
fn a_day_with_a_base_stores_what_changed() {
    let Some(windows) = machine("incremental") else { return };
    let source = windows.at("source");
    fill(&source);
    windows.policy();
    tree::let_age(&source);
    let full = windows.run().expect(0);
    assert_eq!((base_of(&full), changes(&full)), (None, [7, 0, 0, 0]), "{:#}", full.json);
    // The client goes on where the agent was. What is unchanged is not opened: another program does not share this file.
    let hold = windows.hold("source/docs/imagens/foto 1.png");
    let same = windows.client(&["backup", "--policy", "policy.yaml"]).expect(0);
    drop(hold);
    assert_eq!((base_of(&same), changes(&same)), (Some(id_of(&full)), [0, 0, 0, 7]), "{:#}", same.json);
    assert_eq!(same.json["changes"]["bytes_read"], 0, "{:#}", same.json);
    assert!(same.json["archive_bytes"].as_u64().unwrap() < 4096, "{:#}", same.json);
    windows.assert_restores(same.key_backup());

    // Behind a size and a time of modification that were put back, the change time alone tells.
    let changed = source.join("docs/notas.txt");
    let before = changed.metadata().unwrap();
    fs::write(&changed, b"LINHAS\r\n".repeat(9_000)).unwrap();
    set_mtime(&changed, before.mtime(), before.mtime_nsec());
    let policy = fs::read_to_string(windows.at("policy.yaml")).unwrap();
    fs::write(windows.at("policy.yaml"), format!("{policy}\ndetect_changes: mtime\n")).unwrap();
    let blind = windows.run().expect(0);
    assert_eq!((base_of(&blind), changes(&blind)), (Some(id_of(&same)), [0, 0, 0, 7]), "{:#}", blind.json);
    fs::write(windows.at("policy.yaml"), policy).unwrap();
    let day = windows.run().expect(0);
    assert_eq!((base_of(&day), changes(&day)), (Some(id_of(&blind)), [0, 1, 0, 6]), "{:#}", day.json);
    assert_eq!(day.json["changes"]["bytes_read"], before.len(), "{:#}", day.json);
    windows.assert_restores(day.key_backup());

    // A folder of another name: its files have content that is known.
    fs::rename(source.join("docs/imagens"), source.join("docs/fotografias")).unwrap();
    let moved = windows.run().expect(0);
    assert_eq!((base_of(&moved), changes(&moved)), (Some(id_of(&day)), [0, 0, 2, 5]), "{:#}", moved.json);
    assert!(moved.json["archive_bytes"].as_u64().unwrap() < 8 << 10, "{:#}", moved.json);
    windows.client(&["verify", "--policy", "policy.yaml", "--latest"]).expect(0);
    windows.assert_restores(moved.key_backup());
}

#[test]
fn a_file_that_another_program_holds_is_read_in_a_snapshot() {
    let Some(windows) = machine("copia-de-sombra") else { return };
    let (source, shadow) = (windows.at("source"), windows.shadow("source"));
    let _ = fs::remove_dir_all(&shadow);
    for (folder, seed) in [(&source, 8), (&shadow, 9)] {
        fs::create_dir_all(folder).unwrap();
        fill(folder);
        fs::write(folder.join("correio.pst"), noise(seed, 2_000_000)).unwrap();
    }
    windows.policy();
    let policy = fs::read_to_string(windows.at("policy.yaml")).unwrap();
    fs::write(windows.at("policy.yaml"), format!("{policy}\nvss: required\n")).unwrap();
    // Wine has no VSS.
    let refused = windows.client(&["backup", "--policy", "policy.yaml"]).expect(2);
    assert!(refused.stderr.contains("vss: required"), "{}", refused.stderr);
    assert!(windows.here.server.traffic().log().is_empty(), "nothing was sent");

    let hold = windows.hold("source/correio.pst");
    let backup = windows.client_with_snapshots(&["backup", "--policy", "policy.yaml"], &[]);
    drop(hold);
    let backup = backup.expect(0);
    let volume = &backup.json["snapshots"][0];
    assert_eq!((&volume["volume"], &volume["used"]), (&r"C:\".into(), &true.into()), "{:#}", backup.json);
    assert_eq!(backup.json["skipped"], 0, "{:#}", backup.json);
    let calls = fs::read_to_string(windows.at("calls")).unwrap();
    assert!(calls.contains("BackupComplete") && calls.contains("DeleteSnapshots"), "{calls}");
    let manifest = windows.here.object(backup.json["s3"]["key_manifest"].as_str().unwrap()).unwrap();
    assert!(
        manifest.contains(r"C:\\tests\\copia-de-sombra") && !manifest.contains("GLOBALROOT"),
        "{manifest}"
    );
    windows.restore(backup.key_backup(), "restored").expect(0);
    assert_alike(&shadow, &windows.at("restored"), &[]);
}

#[test]
fn what_fails_in_a_snapshot_is_in_the_result_and_what_cannot_be_is_a_note() {
    let Some(windows) = machine("copia-de-sombra-falha") else { return };
    for folder in [windows.at("source"), windows.shadow("source")] {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a.txt"), "the same in both").unwrap();
        set_mtime(&folder.join("a.txt"), 1_600_000_000, 0);
    }
    windows.policy();
    for (fault, code, is_used, said) in [
        // The default of those who may is to try.
        (("PENDING", "2"), 0, true, ""),
        (("FAIL", "DoSnapshotSet:8004231F"), 3, false, "VSS_E_INSUFFICIENT_STORAGE"),
        (("END", "PrepareForBackup:80042302"), 3, false, "PrepareForBackup"),
        (("WRITER", "800423F3"), 3, true, "Fake Writer"),
        (("UNSUPPORTED", "Volume"), 0, false, "without a snapshot"),
    ] {
        let _ = fs::remove_file(windows.at("calls"));
        let backup = windows.client_with_snapshots(&["backup", "--policy", "policy.yaml"], &[fault]);
        let backup = backup.expect(code);
        assert_eq!(backup.json["snapshots"][0]["used"], is_used, "{fault:?}: {:#}", backup.json);
        let warnings = backup.json["warnings"].as_array().map(|_| backup.warnings()).unwrap_or_default();
        assert!(warnings.contains(said), "{fault:?}: {warnings}");
        // Whatever happened, all is given back.
        let calls = fs::read_to_string(windows.at("calls")).unwrap();
        assert!(calls.lines().any(|line| line == "Release"), "{fault:?}: {calls}");
        assert_eq!(calls.contains("DeleteSnapshots"), is_used, "{fault:?}: {calls}");
        windows.assert_restores(backup.key_backup());
    }
}

fn id_of(backup: &Output) -> &str {
    backup.json["backup_id"].as_str().unwrap()
}

fn base_of(backup: &Output) -> Option<&str> {
    backup.json["base"].as_str()
}

/// New, changed, moved and unchanged files.
fn changes(backup: &Output) -> [u64; 4] {
    ["new", "changed", "moved", "unchanged"].map(|name| backup.json["changes"][name].as_u64().unwrap())
}

#[test]
fn a_backup_of_linux_is_restored_on_windows() {
    let Some(windows) = machine("de-linux") else { return };
    fill(&windows.here.source());
    windows.policy();
    windows.here.client.run(["-q", "backup", "--policy", "policy.yaml"]).expect(0);
    let restore = ["restore", "--policy", "policy.yaml", "--latest", "--out", "restored"];
    windows.client(&restore).expect(0);
    assert_alike(&windows.here.source(), &windows.at("restored"), &[]);
}

#[test]
fn what_windows_cannot_name_gets_another_name_and_is_told() {
    let Some(windows) = machine("nomes") else { return };
    let source = windows.here.source();
    let names: [&[u8]; 13] = [
        b"CON",
        b"aux.txt",
        b"nul/com1/dentro.txt",
        b"ponto.",
        b"espaco ",
        b"a:b?.txt",
        b"barra\\invertida",
        b"Nota.txt",
        b"nota.txt",
        b"Fotos/um.txt",
        b"fotos/dois.txt",
        b"latin1-a\xe7\xe3o.txt",
        b"normal.txt",
    ];
    for name in names {
        let path = source.join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, [b"content of ", name].concat()).unwrap();
    }
    windows.policy();
    windows.here.client.run(["-q", "backup", "--policy", "policy.yaml"]).expect(0);
    for more in [&[][..], &["--without-manifest"]] {
        let out = format!("restored{}", more.len());
        let listed = windows.client(&["list", "--policy", "policy.yaml"]).expect(0).json;
        let key = listed["backups"][0]["key"].as_str().unwrap().to_owned();
        let line = ["restore", "--policy", "policy.yaml", "--key", &key, "--out", &out];
        let restored = windows.client(&[&line[..], more].concat()).expect(3);
        assert_eq!(contents(&source), contents(&windows.at(&out)), "{:#}", restored.json);
        let refused = restored.warnings();
        for renamed in
            ["CON", "aux.txt", "nul", "nul/com1", "ponto.", "espaco ", "a:b?.txt", "barra\\invertida"]
        {
            assert!(refused.contains(&format!("{renamed}: restored as ")), "{renamed} is not in {refused}");
        }
        assert_eq!(refused.lines().count(), 11, "{refused}");
        let names: BTreeSet<_> =
            fs::read_dir(windows.at(&out)).unwrap().map(|e| e.unwrap().file_name()).collect();
        for name in
            ["CON_", "aux_.txt", "nul_", "ponto_", "espaco_", "a_b_.txt", "barra_invertida", "normal.txt"]
        {
            assert!(names.contains(OsStr::new(name)), "{name} is not in {names:?}");
        }
    }
}

#[test]
fn names_that_differ_by_case_are_all_backed_up_and_none_replaces_another() {
    let Some(windows) = machine("maiusculas") else { return };
    // As in a folder that `fsutil file setCaseSensitiveInfo` or WSL has made case-sensitive: Wine opens the very name first.
    let source = windows.at("source");
    for name in ["Nota.txt", "nota.txt", "NOTA.TXT", "Fotos/um.txt", "fotos/um.txt"] {
        fs::create_dir_all(source.join(name).parent().unwrap()).unwrap();
        fs::write(source.join(name), name).unwrap();
    }
    windows.policy();
    let backup = windows.client(&["backup", "--policy", "policy.yaml"]).expect(0);
    assert_eq!(
        (&backup.json["files"], &backup.json["directories"]),
        (&5.into(), &3.into()),
        "{:#}",
        backup.json
    );
    tree::let_age(&source);
    let again = windows.client(&["backup", "--policy", "policy.yaml"]).expect(0);
    assert_eq!(again.json["files"], 5, "{:#}", again.json);

    // A folder that a restore makes takes them for one name.
    for _ in 0..2 {
        let restored = windows.restore(again.key_backup(), "restored").expect(3);
        assert_eq!(contents(&source), contents(&windows.at("restored")), "{:#}", restored.json);
        let warnings = restored.warnings();
        let renamed =
            warnings.lines().filter(|line| line.contains("its name is the same as that of another"));
        assert_eq!(renamed.count(), 3, "{warnings}");
    }
    windows
        .here
        .client
        .run(["-q", "restore", "--policy", "policy.yaml", "--latest", "--out", "linux"])
        .expect(0);
    assert_alike(&source, &windows.here.at("linux"), &[]);
}

/// Attributes as Wine keeps them: read-only as a mode, the others as an extended attribute. With an access list that it
/// is given, it lets the group write as well.
fn attributes(folder: &Path) -> BTreeMap<Vec<u8>, (u32, Option<Vec<u8>>)> {
    let mut tree = tree::snapshot(folder);
    tree.remove(&b"."[..]);
    let kept =
        |entry: tree::TreeEntry| (entry.mode & 0o200, entry.xattrs.get(&b"user.DOSATTRIB"[..]).cloned());
    tree.into_iter().map(|(path, entry)| (path, kept(entry))).collect()
}

#[test]
fn attributes_come_back() {
    let Some(windows) = machine("atributos") else { return };
    fs::create_dir(windows.at("source/pasta oculta")).unwrap();
    for (flags, name) in
        [("+h", "oculto.txt"), ("+r", "so leitura.txt"), ("+s", "de sistema.txt"), ("+h", "pasta oculta")]
    {
        let path = windows.at("source").join(name);
        if !path.exists() {
            fs::write(&path, name).unwrap();
        }
        finish(windows.wine(&["attrib", flags, &windows.named(&format!("source/{name}"))])).expect(0);
    }
    let before = attributes(&windows.at("source"));
    assert!(before.values().any(|(mode, _)| *mode == 0), "{before:?}");
    windows.policy();
    let backup = windows.client(&["backup", "--policy", "policy.yaml"]).expect(0);
    for (out, more) in [("restored", &[][..]), ("arquivo", &["--without-manifest"])] {
        let line = ["restore", "--policy", "policy.yaml", "--key", backup.key_backup(), "--out", out];
        // The second time it replaces files that are read-only.
        for _ in 0..2 {
            windows.client(&[&line[..], more].concat()).expect(0);
            assert_eq!(attributes(&windows.at(out)), before);
        }
    }
}

#[test]
fn the_agent_is_killed_goes_on_and_leaves_its_log() {
    let Some(windows) = machine("agente") else { return };
    windows.policy();
    fs::write(windows.at("source/grande.bin"), noise(7, 60 << 20)).unwrap();
    fs::write(windows.at("source/Relat\u{f3}rio.txt"), "ol\u{e1}").unwrap();
    // Its end comes from outside, as from Task Manager: these are the programs that are shipped, without failpoints.
    let traffic = windows.here.server.traffic();
    traffic.hold_parts_from(3);
    let running = windows.start();
    // The line follows the flush to the disk.
    running.wait_for("part stored part=2");
    running.signal(rustix::process::Signal::KILL);
    assert_ne!(running.end().code, 0);

    // And once more, while another run is refused.
    traffic.hold_parts();
    let running = windows.start();
    traffic.wait_until(|traffic| traffic.held() > 0);
    let busy = windows.run().expect(5);
    assert_eq!(busy.json["error"]["category"], "busy", "{:#}", busy.json);
    running.signal(rustix::process::Signal::KILL);
    assert_ne!(running.end().code, 0);
    traffic.release();

    let output = windows.run().expect(0);
    let result = &output.json;
    assert_eq!((&result["state"], &result["resumed"]), (&"completed".into(), &true.into()), "{result:#}");
    let reused = result["parts_reused"].as_u64().unwrap();
    assert!(reused >= 2, "{result:#}");
    for (number, times) in windows.here.parts_of(output.key_backup()) {
        assert!(u64::from(number) > reused || times == 1, "part {number} was stored {times} times");
    }
    assert!(traffic.uploads().iter().all(|upload| upload.state != UploadState::Open));
    windows.assert_restores(output.key_backup());

    let log = &result["log"];
    let local = log["local"].as_str().unwrap();
    let name = local
        .strip_prefix(r"C:\ProgramData\Intellistor\Agent\logs\agente\")
        .unwrap_or_else(|| panic!("{local}"));
    let kept = fs::read_to_string(windows.agent_folder().join("logs/agente").join(name)).unwrap();
    assert_eq!(windows.here.object(log["s3"].as_str().unwrap()).unwrap(), kept);
    assert!(windows.agent_folder().join("queue/agente").is_dir());
    let status = windows.agent(&["status", "--json"]).expect(0).json;
    let rows = status["policies"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["policy"] == "agente"), "{status:#}");
}

#[test]
fn exit_codes_tell_what_happened() {
    let Some(windows) = machine("codigos") else { return };
    windows.policy();
    fs::write(windows.at("source/a.txt"), noise(1, 50_000)).unwrap();
    fs::write(windows.at("source/ocupado.pst"), noise(2, 50_000)).unwrap();

    fs::write(windows.at("broken.yaml"), "policy_id: codigos\npaths: ['C:\\nowhere'\n").unwrap();
    windows.agent(&["run", "--policy", "broken.yaml"]).expect(2);
    windows.client(&["backup", "--policy", "nowhere.yaml"]).expect(2);

    // Another program has a file open without sharing it.
    let hold = windows.hold("source/ocupado.pst");
    let held = windows.run().expect(3);
    let refused = held.warnings();
    assert!(
        refused.contains("ocupado.pst: skipped: cannot open") && refused.contains("os error 32"),
        "{refused}"
    );
    drop(hold);
    let whole = windows.run().expect(0);

    let archive = windows.here.at("s3").join(BUCKET).join(whole.key_backup());
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&archive, bytes).unwrap();
    windows.client(&["verify", "--policy", "policy.yaml", "--latest"]).expect(4);
    let damaged = windows.restore(whole.key_backup(), "restored").expect(4);
    assert_eq!(damaged.json["integrity"], "failed", "{:#}", damaged.json);
}

#[test]
fn a_schedule_is_registered_changed_and_removed_and_its_wrapper_backs_up() {
    let Some(windows) = machine("agenda") else { return };
    windows.policy();
    fs::write(windows.at("source/Relat\u{f3}rio.txt"), "ol\u{e1}").unwrap();
    let apply = |cron: &str| {
        let line =
            ["apply-schedule", "--policy-id", "agenda", "--policy-path", "policy.yaml", "--cron", cron];
        windows.agent(&line)
    };
    // Left by a run of this test that was cut off.
    windows.agent(&["remove-schedule", "--policy-id", "agenda"]);
    let made = apply("0 2 * * 1-5").expect(0).json;
    assert_eq!(made["replaced"], false, "{made:#}");
    assert_eq!(
        (&made["kept"], &made["place"]),
        (&"task-scheduler".into(), &r"\IntellistorAgent - agenda".into())
    );
    assert_eq!(made["place_at_boot"], r"\IntellistorAgent - agenda (boot)", "{made:#}");
    assert_eq!(made["next_runs"].as_array().map(Vec::len), Some(5), "{made:#}");
    let changed = apply("30 4 1 * *").expect(0).json;
    assert_eq!(changed["replaced"], true, "{changed:#}");
    let refused = apply("0 25 * * *").expect(2);
    assert!(refused.stderr.contains("hour"), "{}", refused.stderr);

    // Task Scheduler runs this file, from a folder of its own and with no variables of a shell.
    let wrapper = windows.agent_folder().join("run_agenda.cmd");
    assert!(wrapper.is_file());
    let scheduled = || {
        let mut command = windows.wine(&["cmd", "/c", r"C:\ProgramData\Intellistor\Agent\run_agenda.cmd"]);
        command.current_dir(windows.at("").parent().unwrap());
        finish(command)
    };
    let ran = scheduled().expect(0);
    let listed = windows.client(&["list", "--policy", "policy.yaml"]).expect(0).json;
    let backups = listed["backups"].as_array().unwrap();
    assert_eq!(backups.len(), 1, "{}", ran.stderr);
    windows.assert_restores(backups[0]["key"].as_str().unwrap());
    // The task for the start of the machine has nothing to resume.
    let at_start =
        windows.wine(&["cmd", "/c", r"C:\ProgramData\Intellistor\Agent\run_agenda.cmd", "--only-unfinished"]);
    finish(at_start).expect(0);
    let listed = windows.client(&["list", "--policy", "policy.yaml"]).expect(0).json;
    assert_eq!(listed["backups"].as_array().map(Vec::len), Some(1), "{listed:#}");
    let policy = fs::read_to_string(windows.at("policy.yaml")).unwrap();
    fs::write(windows.at("policy.yaml"), "policy_id: [").unwrap();
    scheduled().expect(2);
    fs::write(windows.at("policy.yaml"), policy).unwrap();

    // Wine's Task Scheduler does not run tasks, nor lists them; the error says so.
    for words in [&["test-schedule", "--policy-id", "agenda"][..], &["list-schedules"]] {
        let refused = windows.agent(words).expect(1);
        assert!(
            refused.stderr.contains("The Task Scheduler of this system does not support this"),
            "{}",
            refused.stderr
        );
    }

    let removed = windows.agent(&["remove-schedule", "--policy-id", "agenda"]).expect(0).json;
    assert_eq!((&removed["removed"], wrapper.exists()), (&true.into(), false), "{removed:#}");
    let again = windows.agent(&["remove-schedule", "--policy-id", "agenda"]).expect(0).json;
    assert_eq!(again["removed"], false, "{again:#}");
    let gone = windows.agent(&["test-schedule", "--policy-id", "agenda"]).expect(1);
    assert!(gone.stderr.contains("has no schedule"), "{}", gone.stderr);
}
