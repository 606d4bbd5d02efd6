//! Manual pages, made from the definition of the command lines.
//!
//! In: a program as `clap` knows it. Out: one page for the program and one for each of its commands, as text for `man`.
//! Options and usage are `clap`'s; all other sections come from the text below the options in `--help`, taken apart by its
//! headings: "Examples" (or "First steps") become EXAMPLES, "Settings" ENVIRONMENT, "Files" FILES, "Exit codes" EXIT
//! STATUS, and everything else belongs to the DESCRIPTION. The pages of commands also have the program's own ENVIRONMENT,
//! FILES and EXIT STATUS. Every reference to another page names one that is made.

mod blocks;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

use blocks::{Block, blocks, columns, pairs};

/// Columns of an example, so that it fits a terminal of 80 behind the margin of its section.
const EXAMPLE_WIDTH: usize = 72;

/// Both programs: each one's page names the other.
const PROGRAMS: [&str; 2] = ["backup-client", "intellistor-agent"];

/// A manual page.
#[derive(Debug)]
pub(crate) struct Page {
    /// Of the file, too: `backup-client-restore`.
    pub(crate) name: String,
    /// For `man`.
    pub(crate) text: String,
}

/// The pages of a program, its own first.
pub(crate) fn pages(program: Command) -> Vec<Page> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let mut found = Vec::new();
    collect(&program, &mut found);
    let made: Vec<_> = found.iter().map(|command| (name(command), words(command))).collect();
    found.iter().map(|command| page(command, &program, &made)).collect()
}

fn collect<'a>(command: &'a Command, found: &mut Vec<&'a Command>) {
    found.push(command);
    command.get_subcommands().filter(|c| !c.is_hide_set()).for_each(|command| collect(command, found));
}

fn name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

/// As it is typed, with the program's name.
fn words(command: &Command) -> String {
    command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn help_below(command: &Command) -> String {
    let text = command.get_after_long_help().or_else(|| command.get_after_help());
    text.map(ToString::to_string).unwrap_or_default()
}

/// The lists of a command's help that belong to one section.
fn lists<'a>(blocks: &'a [Block], of: &[&str]) -> Vec<(&'a str, &'a [String])> {
    let listed = blocks.iter().filter_map(|block| match block {
        Block::List { heading, lines } if of.iter().any(|of| heading.starts_with(of)) => {
            Some((heading.as_str(), lines.as_slice()))
        }
        _ => None,
    });
    listed.collect()
}

const EXAMPLES: [&str; 2] = ["Example", "First steps"];
const ENVIRONMENT: [&str; 1] = ["Settings"];
const FILES: [&str; 1] = ["Files"];
const EXIT_STATUS: [&str; 1] = ["Exit codes"];

fn page(command: &Command, program: &Command, made: &[(String, String)]) -> Page {
    let (name, below) = (name(command), help_below(command));
    let is_program = command.get_name() == program.get_name();
    let own = blocks(&below);
    let shared = if is_program { Vec::new() } else { blocks(&help_below(program)) };
    let version = format!("Intellistor {}", program.get_version().unwrap_or_default());

    let mut head = Roff::new();
    // No date, so that a program makes the same pages on every day. roff leaves out what is empty.
    head.control("TH", [name.to_uppercase().as_str(), "1", " ", version.as_str(), "Intellistor"]);
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    head.control("SH", ["NAME"]).text([roman(format!("{name} - {}", about.trim_end_matches('.')))]);
    head.control("SH", ["SYNOPSIS"]);
    synopsis(&mut head, command);
    head.control("SH", ["DESCRIPTION"]);
    description(&mut head, command, &own);

    let mut tail = Roff::new();
    if command.has_subcommands() {
        tail.control("SH", ["COMMANDS"]);
        for command in command.get_subcommands().filter(|c| !c.is_hide_set()) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let page = self::name(command);
            tagged(&mut tail, &[bold(page), roman("(1)")], &about);
        }
    }
    for (title, headings) in
        [("ENVIRONMENT", &ENVIRONMENT[..]), ("FILES", &FILES), ("EXIT STATUS", &EXIT_STATUS)]
    {
        let [own, shared] = [&own, &shared].map(|blocks| lists(blocks, headings));
        if own.is_empty() && shared.is_empty() {
            continue;
        }
        tail.control("SH", [title]);
        for (i, (heading, lines)) in own.into_iter().chain(shared).enumerate() {
            if let Some(introduction) = beyond(heading, headings) {
                paragraph(&mut tail, i, format!("{introduction}:"));
            }
            pairs(lines).iter().for_each(|(name, text)| tagged(&mut tail, &[bold(name)], text));
        }
    }
    let examples_of_own = lists(&own, &EXAMPLES);
    if !examples_of_own.is_empty() {
        tail.control("SH", ["EXAMPLES"]);
        for (i, (heading, lines)) in examples_of_own.into_iter().enumerate() {
            if !heading.starts_with("Example") {
                paragraph(&mut tail, i, format!("{heading}:"));
                tail.control("PP", []);
            }
            examples(&mut tail, lines);
        }
    }
    tail.control("SH", ["SEE ALSO"]);
    see_also(&mut tail, &name, &below, program.get_name(), made);

    let text =
        [head.render(), options(command), tail.render()].map(|part| without_preamble(&part).to_owned());
    Page { name, text: Roff::new().render() + &text.concat() }
}

/// What a heading says beyond the name of its section.
fn beyond(heading: &str, names: &[&str]) -> Option<String> {
    let rest = names.iter().find_map(|name| heading.strip_prefix(name))?.trim_start_matches([',', ' ']);
    let mut letters = rest.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect())
}

/// The usage as `--help` has it; the words that are typed as they are in bold.
fn synopsis(roff: &mut Roff, command: &Command) {
    let usage = command.clone().render_usage().to_string();
    let program = words(command);
    for (i, form) in usage.trim_start_matches("Usage:").lines().map(str::trim).enumerate() {
        if i > 0 {
            roff.control("br", []);
        }
        match form.strip_prefix(&program) {
            Some(rest) => roff.text([bold(&program), roman(rest)]),
            None => roff.text([roman(form)]),
        };
    }
}

fn description(roff: &mut Roff, command: &Command, own: &[Block]) {
    let about =
        command.get_long_about().or_else(|| command.get_about()).map(ToString::to_string).unwrap_or_default();
    let paragraphs = about.split("\n\n").map(|paragraph| {
        let full_stop = if paragraph.ends_with(['.', ':']) { "" } else { "." };
        format!("{paragraph}{full_stop}")
    });
    paragraphs.enumerate().for_each(|(i, text)| paragraph(roff, i, text));
    let elsewhere = [&EXAMPLES[..], &ENVIRONMENT, &FILES, &EXIT_STATUS].concat();
    for block in own {
        match block {
            Block::Paragraph(text) => {
                paragraph(roff, 1, text);
            }
            Block::List { heading, .. } if elsewhere.iter().any(|name| heading.starts_with(name)) => {}
            Block::List { heading, lines } => {
                paragraph(roff, 1, format!("{heading}:"));
                pairs(lines).iter().for_each(|(name, text)| tagged(roff, &[bold(name)], text));
            }
        }
    }
}

/// A paragraph; the heading of a section already parts the first from what is above it.
fn paragraph(roff: &mut Roff, index: usize, text: impl Into<String>) {
    if index > 0 {
        roff.control("PP", []);
    }
    roff.text([roman(text)]);
}

/// A term and what it means.
fn tagged(roff: &mut Roff, term: &[Inline], text: &str) {
    roff.control("TP", []).text(term).text([roman(text)]);
}

/// Lines to copy. What is said about a line becomes a comment above it, and a long line is continued on the next.
fn examples(roff: &mut Roff, lines: &[String]) {
    roff.control("EX", []);
    for (i, line) in lines.iter().filter(|line| !line.trim().is_empty()).enumerate() {
        let (line, comment) = columns(line);
        if !comment.is_empty() {
            if i > 0 {
                roff.text([roman("")]);
            }
            roff.text([roman(format!("# {comment}"))]);
        }
        wrapped(&line).iter().for_each(|line| {
            roff.text([roman(line)]);
        });
    }
    roff.control("EE", []);
}

/// A command line in lines of [`EXAMPLE_WIDTH`] where it can be parted: before an option.
fn wrapped(line: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = line.to_owned();
    while rest.chars().count() > EXAMPLE_WIDTH {
        let fits = rest.char_indices().nth(EXAMPLE_WIDTH - 2).map_or(rest.len(), |(at, _)| at);
        let Some(at) = rest[..fits].rfind(" -").filter(|&at| !rest[..at].trim().is_empty()) else { break };
        lines.push(format!("{} \\", &rest[..at]));
        rest = format!("    {}", rest[at..].trim_start());
    }
    lines.push(rest);
    lines
}

/// The commands above this one, those that its text names, and the other program.
fn see_also(roff: &mut Roff, name: &str, below: &str, program: &str, made: &[(String, String)]) {
    let is_above = |page: &str| name.strip_prefix(page).is_some_and(|rest| rest.starts_with('-'));
    let is_named = |words: &str| {
        let alone = words.strip_prefix(program).unwrap_or(words).trim_start();
        !alone.is_empty()
            && [format!("`{alone}`"), words.to_owned()].iter().any(|words| below.contains(words))
    };
    let here = made.iter().filter(|(page, words)| page != name && (is_above(page) || is_named(words)));
    let other = PROGRAMS.into_iter().filter(|&other| other != program);
    let pages: Vec<_> = here.map(|(page, _)| page.as_str()).chain(other).collect();
    let mut line = Vec::new();
    for (i, page) in pages.iter().enumerate() {
        line.extend([bold(*page), roman(if i + 1 < pages.len() { "(1), " } else { "(1)" })]);
    }
    roff.text(line);
}

/// Options under a heading of their own become a part of the section.
fn options(command: &Command) -> String {
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = Man::new(command.clone()).render_options_section(&mut text);
    let part = |line: &str| match (line, line.strip_prefix(".SH ")) {
        (_, Some(title)) if title != "OPTIONS" => {
            let title = title.trim_matches('"').to_lowercase();
            let (first, rest) = title.split_at(title.chars().next().map_or(0, char::len_utf8));
            Some(format!(".SS \"{}{rest}\"\n", first.to_uppercase()))
        }
        // An empty line with a break on either side, which is one break too many for mandoc's lint.
        (".br", _) => None,
        ("", _) => Some(".sp\n".to_owned()),
        _ => Some(format!("{line}\n")),
    };
    String::from_utf8_lossy(&text).lines().filter_map(part).collect()
}

/// What every piece of a page begins with is needed once.
fn without_preamble(text: &str) -> &str {
    text.strip_prefix(&Roff::new().render()).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory as _;

    use super::*;
    use crate::arguments::{AgentArguments, ClientArguments};

    fn all() -> Vec<Page> {
        [ClientArguments::command(), AgentArguments::command()].into_iter().flat_map(pages).collect()
    }

    fn headings(page: &Page) -> Vec<&str> {
        page.text
            .lines()
            .filter_map(|line| line.strip_prefix(".SH "))
            .map(|title| title.trim_matches('"'))
            .collect()
    }

    /// Pages that a text refers to: `\fBbackup\-client\-show\fR(1)`.
    fn references(page: &Page) -> Vec<String> {
        let before = page.text.split("(1)").map(|text| text.trim_end_matches(r"\fR"));
        let mut found: Vec<_> =
            before.map(|text| text.rsplit(r"\fB").next().unwrap().replace('\\', "")).collect();
        found.pop();
        found
    }

    #[test]
    fn every_page_has_its_sections_in_order() {
        for page in all() {
            let found = headings(&page);
            let has_commands = found.contains(&"COMMANDS");
            let expected = [
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "OPTIONS",
                "COMMANDS",
                "ENVIRONMENT",
                "FILES",
                "EXIT STATUS",
                "EXAMPLES",
                "SEE ALSO",
            ];
            let expected: Vec<_> =
                expected.into_iter().filter(|&title| has_commands || title != "COMMANDS").collect();
            assert_eq!(found, expected, "{}: does its `after_help` begin with \"Examples:\"?", page.name);
        }
    }

    #[test]
    fn every_reference_has_a_page() {
        let pages = all();
        let names: BTreeSet<_> = pages.iter().map(|page| page.name.as_str()).collect();
        assert_eq!(names.len(), pages.len());
        let mut referred = BTreeSet::new();
        for page in &pages {
            for reference in references(page) {
                assert!(names.contains(reference.as_str()), "{} refers to {reference}(1)", page.name);
                assert_ne!(reference, page.name);
                referred.insert(reference);
            }
        }
        assert_eq!(
            referred.iter().map(String::as_str).collect::<BTreeSet<_>>(),
            names,
            "each page is found from another"
        );
    }

    #[test]
    fn examples_fit_the_terminal_and_can_be_copied() {
        let line = "intellistor-agent apply-schedule --policy-id docs --cron '0 2 * * *' --policy-path docs.yaml --env-file docs.env";
        let lines = wrapped(line);
        assert!(lines.len() == 2 && lines.iter().all(|line| line.len() <= EXAMPLE_WIDTH), "{lines:#?}");
        assert_eq!(lines.join("\n").replace(" \\\n    ", " "), line);
        let unbroken = "x".repeat(90);
        assert_eq!(wrapped(&unbroken), [unbroken]);
    }

    #[test]
    fn comments_come_above_their_example() {
        let mut roff = Roff::new();
        let lines = ["  a --b", "  a --c    why -- c"].map(str::to_owned);
        examples(&mut roff, &lines);
        let expected = ".EX\na \\-\\-b\n\n# why \\-\\- c\na \\-\\-c\n.EE\n";
        assert_eq!(roff.to_roff(), expected);
    }

    #[test]
    fn exit_codes_of_a_command_come_before_the_programs() {
        let command =
            |name: &'static str, help: &'static str| Command::new(name).about(name).after_help(help);
        let program = command("backup-client", "Exit codes:\n  0  success").subcommand(command(
            "look",
            "Examples:\n  look\n\nExit codes, with --check:\n  1  warning\n\nOthers:\n  x  y",
        ));
        let page = pages(program).remove(1).text;
        assert!(
            page.contains(
                ".SH \"EXIT STATUS\"\nWith \\-\\-check:\n.TP\n\\fB1\\fR\nwarning\n.TP\n\\fB0\\fR\nsuccess\n"
            ),
            "{page}"
        );
        assert!(page.contains("look.\n.PP\nOthers:\n.TP\n\\fBx\\fR\ny\n"), "{page}");
    }
}
