//! What is presented to a person or a monitor: the tree of a backup, the metrics file, completions, manual pages.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use intellistor_storage::objects::Operation;
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::program::Client;
use intellistor_tests::pty;
use intellistor_tests::s3_server::Failure;

/// Verifies a metrics file with `promtool check metrics`, which `.ci/test` fetches.
fn verify_metrics(file: &Path) {
    let promtool = std::env::var_os("INTELLISTOR_TEST_PROMTOOL").unwrap_or_else(|| "promtool".into());
    let text = Stdio::from(fs::File::open(file).unwrap());
    let checked = Command::new(&promtool).args(["check", "metrics"]).stdin(text).output();
    let checked = checked.unwrap_or_else(|e| {
        panic!("{promtool:?} cannot run here: {e}; set INTELLISTOR_TEST_PROMTOOL, as .ci/test does")
    });
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert!(checked.stderr.is_empty(), "it has no advice: {}", String::from_utf8_lossy(&checked.stderr));
}

fn metrics(file: &Path) -> BTreeMap<String, f64> {
    let text = fs::read_to_string(file).unwrap();
    let values = text.lines().filter(|line| !line.starts_with('#'));
    values
        .map(|line| {
            let (name, value) = line.split_once("{policy=\"people\"} ").unwrap();
            (name.strip_prefix("intellistor_").unwrap().to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[test]
fn a_monitor_sees_the_last_success_also_after_a_failure() {
    let sandbox = AgentSandbox::filled("people", 1);
    sandbox.write_policy("schedule: '0 2 * * *'\n");
    let file = sandbox.at("metrics/intellistor_people.prom");
    fs::create_dir(sandbox.at("metrics")).unwrap();
    let run = || sandbox.agent.run(["-q", "run", "--policy", "policy.yaml", "--metrics-dir", "metrics"]);
    let output = run().expect(0);
    verify_metrics(&file);
    let first = metrics(&file);
    assert_eq!(first["last_run_exit_code"], 0.0);
    assert_eq!(first["last_success_files"], output.json["files"].as_f64().unwrap());
    assert_eq!(first["last_success_content_bytes"], output.json["bytes"].as_f64().unwrap());
    assert_eq!(first["last_success_archive_bytes"], output.json["archive_bytes"].as_f64().unwrap());
    assert_eq!(first["last_success_warnings"], 0.0);
    assert_eq!(first["missed_starts"], 0.0);
    let wait = first["next_run_timestamp_seconds"] - first["last_run_timestamp_seconds"];
    assert!((0.0..=25.0 * 3600.0).contains(&wait), "{wait}");
    assert!((first["last_run_timestamp_seconds"] - first["last_success_timestamp_seconds"]).abs() < 60.0);

    sandbox.server.traffic().fail_next(1000, Operation::BeginUpload, Failure::AccessDenied);
    run().expect(1);
    verify_metrics(&file);
    let now = metrics(&file);
    assert_eq!(now["last_run_exit_code"], 1.0);
    assert_eq!(now["last_success_timestamp_seconds"], first["last_success_timestamp_seconds"]);

    // A run that fails before it begins, and the folder from the environment.
    let keyless = sandbox.agent.clone().var("INTELLISTOR_KEY", "").var("INTELLISTOR_METRICS_DIR", "metrics");
    keyless.run(["-q", "run", "--policy", "policy.yaml"]).expect(2);
    verify_metrics(&file);
    assert_eq!(metrics(&file)["last_run_exit_code"], 2.0);
    let names: Vec<_> =
        fs::read_dir(sandbox.at("metrics")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["intellistor_people.prom"], "nothing else is left there");

    let unwritable = sandbox.agent.run(["run", "--policy", "policy.yaml", "--metrics-dir", "no/folder"]);
    assert!(unwritable.stderr.contains("no/folder/intellistor_people.prom"), "{}", unwritable.stderr);
}

#[test]
fn a_backup_shows_as_a_tree() {
    let sandbox = AgentSandbox::new("people");
    fs::create_dir_all(sandbox.source().join("pasta/ação")).unwrap();
    fs::write(sandbox.source().join("pasta/ação/Relatório.txt"), vec![b'x'; 1536]).unwrap();
    std::os::unix::fs::symlink("ação/Relatório.txt", sandbox.source().join("pasta/ligação")).unwrap();
    sandbox.run().expect(0);
    let show = ["show", "--policy", "policy.yaml", "--latest", "--tree"];
    let shown = String::from_utf8(sandbox.client.run(show).expect(0).stdout).unwrap();
    let lines = [
        "             pasta/",
        "               ação/",
        "   1.50 KiB      Relatório.txt",
        "               ligação -> ação/Relatório.txt",
        "   1.50 KiB  1 file in all",
    ];
    for line in lines {
        assert!(shown.lines().any(|shown| shown == line), "no {line:?} in:\n{shown}");
    }
}

/// Completes a line at its end in a shell, as it would for a person, and gives the words that the shell proposes.
fn completed(shell: &str, program: &str, sandbox: &AgentSandbox, line: &str) -> String {
    const BASH: &str = r#"
        source "$1/$2.bash"
        read -ra COMP_WORDS <<<"$3"
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        function=$(complete -p "$2" | sed 's/.*-F \([^ ]*\) .*/\1/')
        "$function" "$2" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    const FISH: &str = r#"source "$argv[1]/$argv[2].fish"; complete -C "$argv[3]""#;
    // A terminal of its own, since zsh completes nowhere else; the line that it makes is what it proposes.
    const ZSH: &str = r#"
        zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell "unsetopt beep; PS1=; fpath=(${(q)1} \$fpath); autoload -Uz compinit; compinit -u -D"
        zpty -w shell 'report() { print -r -- "<$BUFFER>"; BUFFER= }; zle -N report; bindkey "^X" report
            bindkey "^I" complete-word; print re""ady'
        zpty -r shell seen '*ready*'
        zpty -w -n shell "$3"$'\t\x18'
        zpty -r shell seen '*<*>*'
        print -r -- "${${seen##*<}%%>*}"
        zpty -d shell
    "#;
    let (arguments, script) = match shell {
        "bash" => (&["--norc", "-c", BASH, "bash"][..], "bash"),
        "zsh" => (&["-f", "-c", ZSH, "zsh"][..], "zsh"),
        _ => (&["--no-config", "-c", FISH][..], "fish"),
    };
    let generated = if program == "backup-client" { &sandbox.client } else { &sandbox.agent };
    let folder = sandbox.at(&format!("completions-{shell}"));
    fs::create_dir_all(&folder).unwrap();
    let file = if script == "zsh" { format!("_{program}") } else { format!("{program}.{script}") };
    fs::write(folder.join(file), generated.run(["completions", shell]).expect(0).stdout).unwrap();
    let mut asked = Command::new(shell);
    asked.args(arguments).arg(&folder).args([program, line]);
    let asked = asked.env("HOME", sandbox.dir()).env("TERM", "dumb").output();
    let asked = asked.unwrap_or_else(|e| panic!("{shell} completes nothing here: {e}; .ci/test installs it"));
    assert!(asked.status.success(), "{shell}: {}", String::from_utf8_lossy(&asked.stderr));
    String::from_utf8(asked.stdout).unwrap()
}

#[test]
fn shells_complete_words_behind_every_command() {
    let sandbox = AgentSandbox::new("people");
    for shell in ["bash", "zsh", "fish"] {
        for (program, line, word) in [
            ("backup-client", "backup-client rest", "restore"),
            ("backup-client", "backup-client restore --lates", "--latest"),
            ("backup-client", "backup-client policy-create --pat", "--paths"),
            ("backup-client", "backup-client restore --latest --without", "--without-manifest"),
            ("backup-client", "backup-client completions powers", "powershell"),
            ("intellistor-agent", "intellistor-agent apply-sch", "apply-schedule"),
            ("intellistor-agent", "intellistor-agent apply-schedule --policy-p", "--policy-path"),
            ("intellistor-agent", "intellistor-agent logs sho", "show"),
            ("intellistor-agent", "intellistor-agent logs show --foll", "--follow"),
        ] {
            if shell == "fish" && word == "powershell" {
                // What clap writes for fish completes commands and flags, and no value without a flag.
                continue;
            }
            let proposed = completed(shell, program, &sandbox, line);
            assert!(proposed.contains(word), "{shell} proposes {proposed:?} for {line:?}");
        }
    }
}

#[test]
fn man_understands_what_is_generated() {
    let sandbox = AgentSandbox::new("people");
    let mut pages = Vec::new();
    for program in [&sandbox.client, &sandbox.agent] {
        fs::create_dir_all(sandbox.at("man")).unwrap();
        let made = program.run(["manual", "--out", "man"]).expect(0).json;
        pages
            .extend(made["created"].as_array().unwrap().iter().map(|page| page.as_str().unwrap().to_owned()));
    }
    assert!(pages.len() > 30, "{pages:#?}");
    let mandoc = |arguments: &[&str]| {
        let mut mandoc = Command::new("mandoc");
        let output = mandoc.args(arguments).args(&pages).current_dir(sandbox.dir()).output();
        output.unwrap_or_else(|e| panic!("mandoc cannot be run: {e}; .ci/test installs it"))
    };
    let complaints = mandoc(&["-T", "lint", "-W", "warning"]);
    let complaints = String::from_utf8(complaints.stdout).unwrap();
    // The pages carry the program's version and no date: the same program makes the same pages on every day.
    let complaints: Vec<_> = complaints.lines().filter(|line| !line.contains("parse date")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    let shown = String::from_utf8(mandoc(&["-T", "ascii", "-O", "width=78"]).stdout).unwrap();
    let wide: Vec<_> = shown.lines().map(plain).filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "too wide for a terminal of 80 columns: {wide:#?}");
}

/// A line without the overstrikes that are bold and underlined letters on a printer.
fn plain(line: &str) -> String {
    let mut letters = String::new();
    for letter in line.chars() {
        match letter {
            '\u{8}' => drop(letters.pop()),
            letter => letters.push(letter),
        }
    }
    letters
}

#[test]
fn a_run_on_a_terminal_ends_with_what_a_person_looks_for() {
    let sandbox = AgentSandbox::new("people");
    fs::write(sandbox.source().join("carta.txt"), "olá").unwrap();
    let policy = ["--policy", "policy.yaml"];
    let run = |client: &Client, args: &[&str]| {
        let seen = pty::run(&client.command([args, &policy].concat()));
        (seen.code, seen.lines(), seen.text)
    };
    let end = |lines: &[String]| -> Vec<String> {
        // The JSON ends with a brace at the edge; what follows is the summary.
        let json_end = lines.iter().rposition(|line| line == "}").unwrap();
        lines[json_end + 1..].iter().filter(|line| !line.is_empty()).cloned().collect()
    };

    for (client, args) in [(&sandbox.client, &["backup"][..]), (&sandbox.agent, &["run"])] {
        let (code, lines, text) = run(client, args);
        assert_eq!(code, 0, "{text}");
        let summary = end(&lines);
        assert!(summary[0].starts_with("backed up 1 file, 4 B in "), "{summary:#?}");
        assert!(summary[1].starts_with("stored ") && summary[1].contains("s3://"), "{summary:#?}");
        let command = summary.last().unwrap().strip_prefix("restore it with: ").unwrap();
        assert!(command.ends_with("--out ./restore"), "{command}");
        assert_eq!(text.matches("backed up 1 file").count(), 1, "{text}");
        assert!(text.contains("\u{1b}[32mbacked up"), "{text:?}");
    }
    for (args, first) in [
        (&["restore", "--latest", "--out", "out"][..], "restored 2 items, 4 B written"),
        (&["restore", "--latest", "--out", "out"], "restored 2 items, 0 B written, 0 B fetched"),
        (&["restore", "--latest", "--out", "out", "--dry-run"], "would restore 2 items"),
        (&["verify", "--latest"], "verified 2 items"),
        (
            &["copy", "--latest", "--to", &format!("file://{}", sandbox.at("copy").display())],
            "copied 1 backup",
        ),
        (&["prune", "--dry-run"], "would delete 0 forgotten backups"),
    ] {
        if args[0] == "copy" {
            fs::create_dir(sandbox.at("copy")).unwrap();
        }
        let (code, lines, text) = run(&sandbox.client, args);
        assert_eq!(code, 0, "{text}");
        let summary = end(&lines);
        assert!(summary[0].starts_with(first), "{args:?}: {summary:#?}");
        assert_eq!(text.matches(first).count(), 1, "{text}");
    }

    // Neither for programs, nor where it is unwanted.
    let plain = pty::run(&sandbox.client.clone().var("NO_COLOR", "1").command([
        "verify",
        "--latest",
        "--policy",
        "policy.yaml",
    ]));
    assert!(!plain.text.contains("\u{1b}[32m") && plain.text.contains("verified 2 items"), "{}", plain.text);
    let quiet = pty::run(&sandbox.client.command(["-q", "verify", "--latest", "--policy", "policy.yaml"]));
    assert!(!quiet.text.contains("verified 2 items"), "{}", quiet.text);
    let piped = sandbox.client.run(["verify", "--latest", "--policy", "policy.yaml"]).expect(0);
    assert!(!piped.stderr.contains("verified"), "{}", piped.stderr);
}

#[test]
fn what_went_wrong_is_said_once_and_last() {
    let sandbox = AgentSandbox::new("people");
    fs::write(sandbox.source().join("carta.txt"), "olá").unwrap();
    sandbox.run().expect(0);
    sandbox.server.traffic().fail_next(1000, Operation::BeginUpload, Failure::AccessDenied);
    {
        fs::write(sandbox.source().join("carta.txt"), "ontem").unwrap();
        let backup = ["backup", "--policy", "policy.yaml", "--full"];
        let seen = pty::run(&sandbox.client.command(backup));
        let lines = seen.lines();
        assert_eq!(seen.code, 1, "{}", seen.text);
        let json_end = lines.iter().rposition(|line| line == "}").unwrap();
        let error = lines.iter().position(|line| line.starts_with("error: cannot back up")).unwrap();
        assert!(error > json_end, "{}", seen.text);
        let outside_json =
            [&lines[..lines.iter().position(|line| line == "{").unwrap()], &lines[json_end..]].concat();
        let cause: Vec<_> = outside_json.iter().filter(|line| line.contains("AccessDenied")).collect();
        assert!(cause.len() <= 1, "{cause:#?} in {}", seen.text);
        assert_eq!(
            outside_json.iter().filter(|line| line.contains("cannot back up")).count(),
            1,
            "{}",
            seen.text
        );
    }

    // An item that cannot be read is named once, too.
    let sandbox = AgentSandbox::new("people");
    fs::write(sandbox.source().join("carta.txt"), "olá").unwrap();
    fs::write(
        sandbox.at("policy.yaml"),
        format!(
            "policy_id: people\npaths: ['{}', '{}']\n",
            sandbox.source().display(),
            sandbox.at("missing").display()
        ),
    )
    .unwrap();
    let seen = pty::run(&sandbox.client.command(["backup", "--policy", "policy.yaml"]));
    assert_eq!(seen.code, 3, "{}", seen.text);
    let lines = seen.lines();
    let json = lines.iter().position(|line| line == "{").unwrap()
        ..=lines.iter().rposition(|line| line == "}").unwrap();
    let named = lines.iter().enumerate().filter(|(i, line)| !json.contains(i) && line.contains("missing: "));
    assert_eq!(named.count(), 1, "{}", seen.text);
}
