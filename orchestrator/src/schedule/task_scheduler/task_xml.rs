//! The definition of a task, in Task Scheduler's own XML (schema 1.2), as `RegisterTask` takes it.
//!
//! | setting | value | why |
//! | --- | --- | --- |
//! | principal | SYSTEM, or a named account | see [`Logon`] |
//! | `RunLevel` | highest available | a backup reads what an everyday account may not, and snapshots of volumes take an administrator |
//! | `StartWhenAvailable` | true | a start that was missed while the machine was off runs later |
//! | `MultipleInstancesPolicy` | ignore new | one run of a policy at a time; two triggers at the same time start one run |
//! | batteries | start and continue | a laptop that is mostly unplugged would never be backed up |
//! | `ExecutionTimeLimit` | 72 hours | a first backup over a slow line takes days; without a limit a run that hangs would silently prevent all later ones. The next run resumes |
//! | `WakeToRun` | false | waking a notebook at night is the owner's decision |
//! | `RunOnlyIfIdle`, `RunOnlyIfNetworkAvailable` | false | the run itself retries and reports what is missing |
//! | `Priority` | 7 | below normal, the default of tasks |
//! | `RestartOnFailure` | 3 times, every 10 minutes | for a task that could not be started. As far as is known, Task Scheduler takes a program that ended with an exit code for one that did not fail: then the next start resumes |
//!
//! Names are escaped here; a control character is refused, since XML 1.0 cannot hold it.

use super::logon::{Logon, logon};
use super::triggers::Trigger;
use crate::schedule::error::{Result, ScheduleError};
use crate::schedule::spec::{RunAs, ScheduleSpec};
use crate::schedule::task_scheduler::wrapper::ONLY_UNFINISHED;

const LIMIT: &str = "PT72H";
/// SYSTEM, in every language of Windows.
pub(crate) const SYSTEM_SID: &str = "S-1-5-18";
const CRON_FOLLOWS: &str = "Schedule: ";

pub(crate) fn task_name(policy_id: &str) -> String {
    format!("{TASK_PREFIX}{policy_id}")
}

/// A policy's task for the start of the machine: its name is no policy's, for the blank.
pub(crate) fn boot_task_name(policy_id: &str) -> String {
    format!("{TASK_PREFIX}{policy_id} (boot)")
}

pub(crate) const TASK_PREFIX: &str = "IntellistorAgent - ";

/// Shown in Task Scheduler, and read back by [`cron_of`].
pub(crate) fn description(spec: &ScheduleSpec) -> String {
    format!("Intellistor backup of policy {}. {CRON_FOLLOWS}{}", spec.policy_id, spec.cron)
}

/// The cron expression in a description.
pub(crate) fn cron_of(description: &str) -> Option<&str> {
    description.rsplit_once(CRON_FOLLOWS).map(|(_, cron)| cron.trim())
}

/// The whole definition. `run_as` is SYSTEM or an account by name; `wrapper` is the absolute path of the script that the
/// task runs, in `folder`.
///
/// # Errors
/// [`ScheduleError::Unusable`] for a path or a name that the definition cannot hold.
pub(crate) fn task_xml(
    spec: &ScheduleSpec,
    run_as: &RunAs,
    triggers: &[Trigger],
    wrapper: &str,
    folder: &str,
) -> Result<String> {
    let triggers: String = triggers.iter().map(Trigger::to_xml).collect();
    let name = task_name(&spec.policy_id);
    definition(&name, &description(spec), &triggers, run_as, wrapper, "", folder)
}

/// The definition of the task that resumes an unfinished job once the machine has started. Its delay lets services begin
/// first, and a network come up.
///
/// # Errors
/// As [`task_xml`].
pub(crate) fn boot_task_xml(
    spec: &ScheduleSpec,
    run_as: &RunAs,
    wrapper: &str,
    folder: &str,
) -> Result<String> {
    let about = format!(
        "Intellistor backup of policy {}: resumes what a stop of the machine interrupted, and does nothing where there is nothing",
        spec.policy_id
    );
    let trigger = "<BootTrigger><Enabled>true</Enabled><Delay>PT5M</Delay></BootTrigger>";
    let arguments = format!("<Arguments>{ONLY_UNFINISHED}</Arguments>");
    definition(&boot_task_name(&spec.policy_id), &about, trigger, run_as, wrapper, &arguments, folder)
}

fn definition(
    name: &str,
    description: &str,
    triggers: &str,
    run_as: &RunAs,
    wrapper: &str,
    arguments: &str,
    folder: &str,
) -> Result<String> {
    Ok(format!(
        r#"<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
<RegistrationInfo><Author>Intellistor</Author><Description>{description}</Description><URI>\{name}</URI></RegistrationInfo>
<Triggers>{triggers}</Triggers>
<Principals><Principal id="Author">{principal}<RunLevel>HighestAvailable</RunLevel></Principal></Principals>
<Settings>
<MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
<DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
<StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
<AllowHardTerminate>true</AllowHardTerminate>
<StartWhenAvailable>true</StartWhenAvailable>
<RunOnlyIfNetworkAvailable>false</RunOnlyIfNetworkAvailable>
<IdleSettings><StopOnIdleEnd>false</StopOnIdleEnd><RestartOnIdle>false</RestartOnIdle></IdleSettings>
<AllowStartOnDemand>true</AllowStartOnDemand>
<Enabled>true</Enabled>
<Hidden>false</Hidden>
<RunOnlyIfIdle>false</RunOnlyIfIdle>
<WakeToRun>false</WakeToRun>
<ExecutionTimeLimit>{LIMIT}</ExecutionTimeLimit>
<Priority>7</Priority>
<RestartOnFailure><Interval>PT10M</Interval><Count>3</Count></RestartOnFailure>
</Settings>
<Actions Context="Author"><Exec><Command>{wrapper}</Command>{arguments}<WorkingDirectory>{folder}</WorkingDirectory></Exec></Actions>
</Task>
"#,
        description = escape("the schedule", description)?,
        name = escape("policy_id", name)?,
        principal = principal(run_as)?,
        wrapper = escape("the wrapper", unexpanded("the wrapper", wrapper)?)?,
        folder = escape("the folder", unexpanded("the folder", folder)?)?,
    ))
}

fn principal(run_as: &RunAs) -> Result<String> {
    let (RunAs::User { name, .. }, logon) = (run_as, logon(run_as)?) else {
        return Ok(format!("<UserId>{SYSTEM_SID}</UserId>"));
    };
    let logon = if logon == Logon::S4u { "S4U" } else { "Password" };
    Ok(format!("<UserId>{}</UserId><LogonType>{logon}</LogonType>", escape("the account", name)?))
}

/// Task Scheduler replaces `%NAME%` in an action, and has no escape for a percent sign.
fn unexpanded<'a>(what: &'static str, path: &'a str) -> Result<&'a str> {
    if path.contains('%') {
        let reason = "Task Scheduler reads % as a variable. Keep the agent's folder (INTELLISTOR_HOME) at a path without %";
        return Err(ScheduleError::Unusable { what, text: path.to_owned(), reason: reason.to_owned() });
    }
    Ok(path)
}

fn escape(what: &'static str, text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                let reason = "it contains a control character. Rename it".to_owned();
                return Err(ScheduleError::Unusable { what, text: text.to_owned(), reason });
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, Node};

    use super::*;
    use crate::cron::Cron;
    use crate::schedule::spec::Password;
    use crate::schedule::task_scheduler::triggers::{TriggerDays, triggers};
    use crate::schedule::tests::spec;

    const NAMESPACE: &str = "http://schemas.microsoft.com/windows/2004/02/mit/task";
    const WRAPPER: &str = r"C:\ProgramData\Intellistor\Agent\run_mvp-default.cmd";
    const FOLDER: &str = r"C:\ProgramData\Intellistor\Agent";

    fn definition(spec: &ScheduleSpec) -> String {
        let since = chrono::NaiveDate::from_ymd_opt(2026, 11, 23).unwrap().and_hms_opt(10, 0, 0).unwrap();
        task_xml(spec, &spec.run_as, &triggers(&spec.cron, since).unwrap(), WRAPPER, FOLDER).unwrap()
    }

    fn child<'a>(node: Node<'a, 'a>, path: &str) -> Node<'a, 'a> {
        path.split('/').fold(node, |node, name| {
            let mut found = node.children().filter(|child| child.has_tag_name((NAMESPACE, name)));
            found.next().unwrap_or_else(|| panic!("no {name} in {path}"))
        })
    }

    #[test]
    fn every_setting_is_there() {
        let xml = definition(&spec("0 2 * * *"));
        let document = Document::parse(&xml).unwrap();
        let task = document.root_element();
        assert_eq!((task.tag_name().name(), task.attribute("version")), ("Task", Some("1.2")));
        for (path, value) in [
            ("RegistrationInfo/Author", "Intellistor"),
            ("RegistrationInfo/Description", "Intellistor backup of policy mvp-default. Schedule: 0 2 * * *"),
            ("RegistrationInfo/URI", r"\IntellistorAgent - mvp-default"),
            ("Principals/Principal/UserId", "S-1-5-18"),
            ("Principals/Principal/RunLevel", "HighestAvailable"),
            ("Settings/StartWhenAvailable", "true"),
            ("Settings/MultipleInstancesPolicy", "IgnoreNew"),
            ("Settings/DisallowStartIfOnBatteries", "false"),
            ("Settings/StopIfGoingOnBatteries", "false"),
            ("Settings/ExecutionTimeLimit", "PT72H"),
            ("Settings/WakeToRun", "false"),
            ("Settings/Enabled", "true"),
            ("Settings/Hidden", "false"),
            ("Settings/RunOnlyIfIdle", "false"),
            ("Settings/RunOnlyIfNetworkAvailable", "false"),
            ("Settings/AllowStartOnDemand", "true"),
            ("Settings/Priority", "7"),
            ("Settings/RestartOnFailure/Interval", "PT10M"),
            ("Settings/RestartOnFailure/Count", "3"),
            ("Actions/Exec/Command", WRAPPER),
            ("Actions/Exec/WorkingDirectory", FOLDER),
            ("Triggers/CalendarTrigger/StartBoundary", "2026-11-24T02:00:00"),
            ("Triggers/CalendarTrigger/Enabled", "true"),
            ("Triggers/CalendarTrigger/ScheduleByDay/DaysInterval", "1"),
        ] {
            assert_eq!(child(task, path).text(), Some(value), "{path}");
        }
        assert!(!xml.contains("LogonType"));
        let context = child(task, "Actions").attribute("Context");
        assert_eq!(context, child(task, "Principals/Principal").attribute("id"));
    }

    #[test]
    fn an_account_logs_on_with_its_password_or_without() {
        let logon = |password: Option<Password>| {
            let mut spec = spec("0 2 * * *");
            spec.run_as = RunAs::User { name: r"LOJA\joão & 'cia'".to_owned(), password };
            let xml = definition(&spec);
            assert!(!xml.contains("s3cret"));
            let document = Document::parse(&xml).unwrap();
            let principal = child(document.root_element(), "Principals/Principal");
            assert_eq!(child(principal, "UserId").text(), Some(r"LOJA\joão & 'cia'"));
            child(principal, "LogonType").text().unwrap().to_owned()
        };
        assert_eq!(logon(None), "S4U");
        assert_eq!(logon(Some(Password::new("s3cret".to_owned()))), "Password");
    }

    #[test]
    fn text_comes_through_xml_unchanged() {
        let text = "a&b<c>d\"e'f ]]> &amp; ção";
        let xml = format!("<x y=\"{0}\">{0}</x>", escape("x", text).unwrap());
        let document = Document::parse(&xml).unwrap();
        assert_eq!(document.root_element().text(), Some(text));
        assert_eq!(document.root_element().attribute("y"), Some(text));
        for bad in ["\0", "a\nb", "\u{1b}", "\u{85}", "\u{ffff}"] {
            let error = escape("the wrapper", bad).unwrap_err().to_string();
            assert!(error.contains("control character"), "{error}");
        }
    }

    #[test]
    fn a_percent_sign_would_be_a_variable() {
        let spec = spec("0 2 * * *");
        let error = task_xml(&spec, &spec.run_as, &[], r"C:\100%\run.cmd", FOLDER).unwrap_err().to_string();
        assert!(error.contains("INTELLISTOR_HOME"), "{error}");
    }

    #[test]
    fn a_managed_account_logs_on_with_the_password_of_the_domain() {
        let mut spec = spec("0 2 * * *");
        spec.run_as = RunAs::User { name: r"DOM\backup$".to_owned(), password: None };
        for xml in [definition(&spec), boot_task_xml(&spec, &spec.run_as, WRAPPER, FOLDER).unwrap()] {
            let document = Document::parse(&xml).unwrap();
            let principal = child(document.root_element(), "Principals/Principal");
            assert_eq!(child(principal, "UserId").text(), Some(r"DOM\backup$"));
            assert_eq!(child(principal, "LogonType").text(), Some("Password"));
            assert_eq!(child(principal, "RunLevel").text(), Some("HighestAvailable"));
        }
    }

    #[test]
    fn the_task_for_the_start_of_the_machine_runs_what_is_unfinished() {
        let spec = spec("0 2 * * *");
        let xml = boot_task_xml(&spec, &spec.run_as, WRAPPER, FOLDER).unwrap();
        let document = Document::parse(&xml).unwrap();
        let task = document.root_element();
        for (path, value) in [
            ("RegistrationInfo/URI", r"\IntellistorAgent - mvp-default (boot)"),
            ("Triggers/BootTrigger/Enabled", "true"),
            ("Triggers/BootTrigger/Delay", "PT5M"),
            ("Principals/Principal/UserId", "S-1-5-18"),
            ("Settings/MultipleInstancesPolicy", "IgnoreNew"),
            ("Settings/RestartOnFailure/Count", "3"),
            ("Actions/Exec/Command", WRAPPER),
            ("Actions/Exec/Arguments", "--only-unfinished"),
            ("Actions/Exec/WorkingDirectory", FOLDER),
        ] {
            assert_eq!(child(task, path).text(), Some(value), "{path}");
        }
        assert_eq!(child(task, "Triggers").children().filter(Node::is_element).count(), 1);
        // In the order of the schema, without which Windows refuses the definition.
        let names = |path: &str| -> Vec<_> {
            let elements = child(task, path).children().filter(Node::is_element);
            elements.map(|element| element.tag_name().name().to_owned()).collect()
        };
        assert_eq!(names("Actions/Exec"), ["Command", "Arguments", "WorkingDirectory"]);
        assert_eq!(names("Triggers/BootTrigger"), ["Enabled", "Delay"]);
        let id = boot_task_name("mvp-default");
        let id = id.strip_prefix(TASK_PREFIX).unwrap();
        assert!(!intellistor_storage::catalog::layout::is_policy_id(id), "it is not listed as a policy's");
        assert_eq!(cron_of(child(task, "RegistrationInfo/Description").text().unwrap()), None);
    }

    #[test]
    fn the_cron_expression_reads_back() {
        let mut spec = spec("*/15 8-18 * * 1-5");
        spec.policy_id = "Schedule".to_owned();
        assert_eq!(cron_of(&description(&spec)), Some("*/15 8-18 * * 1-5"));
        assert_eq!(cron_of("someone else's"), None);
    }

    /// Reads triggers back from the definition, as Task Scheduler does.
    #[test]
    fn the_triggers_in_the_definition_are_those_that_were_simulated() {
        for text in ["*/15 8-18 * * 1-5", "0 2 13,31 * 5", "0 2 * 2-3 1", "5 0,12 1 1 *", "*/7 * * * *"] {
            let spec = spec(text);
            let since = chrono::NaiveDate::from_ymd_opt(2026, 11, 23).unwrap().and_hms_opt(10, 0, 0).unwrap();
            let expected = triggers(&spec.cron, since).unwrap();
            let xml = definition(&spec);
            let document = Document::parse(&xml).unwrap();
            let all = child(document.root_element(), "Triggers");
            let found: Vec<Node<'_, '_>> = all.children().filter(Node::is_element).collect();
            assert_eq!(found.len(), expected.len());
            for (node, trigger) in found.into_iter().zip(&expected) {
                assert_eq!(
                    child(node, "StartBoundary").text().unwrap(),
                    trigger.start.format("%Y-%m-%dT%H:%M:%S").to_string()
                );
                assert_eq!(
                    node.children().any(|c| c.has_tag_name((NAMESPACE, "Repetition"))),
                    trigger.repetition.is_some()
                );
                assert_eq!(days_in(node), trigger.days, "{text}");
            }
        }
        assert!(Cron::parse("*/7 * * * *").is_ok());
    }

    fn days_in(node: Node<'_, '_>) -> TriggerDays {
        const DAYS: [&str; 7] =
            ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
        const MONTHS: &str = "JanuaryFebruaryMarchAprilMayJuneJulyAugustSeptemberOctoberNovemberDecember";
        let names = |node: Node<'_, '_>| -> Vec<String> {
            node.children().filter(Node::is_element).map(|c| c.tag_name().name().to_owned()).collect()
        };
        let weekdays = |node: Node<'_, '_>| -> Vec<u8> {
            names(node).iter().map(|n| DAYS.iter().position(|d| d == n).unwrap() as u8).collect()
        };
        let months = |node: Node<'_, '_>| -> Vec<u8> {
            let number = |name: &String| {
                let before = &MONTHS[..MONTHS.find(name.as_str()).unwrap()];
                before.chars().filter(char::is_ascii_uppercase).count() as u8 + 1
            };
            names(node).iter().map(number).collect()
        };
        let by = |name: &str| node.children().find(|c| c.has_tag_name((NAMESPACE, name)));
        if by("ScheduleByDay").is_some() {
            return TriggerDays::All;
        }
        if let Some(week) = by("ScheduleByWeek") {
            assert_eq!(child(week, "WeeksInterval").text(), Some("1"));
            return TriggerDays::Weekdays(weekdays(child(week, "DaysOfWeek")));
        }
        if let Some(month) = by("ScheduleByMonth") {
            let days =
                child(month, "DaysOfMonth").children().filter_map(|c| c.text()?.parse().ok()).collect();
            return TriggerDays::DaysOfMonth { days, months: months(child(month, "Months")) };
        }
        let month = by("ScheduleByMonthDayOfWeek").unwrap();
        let weeks: Vec<_> = child(month, "Weeks").children().filter_map(|c| c.text()).collect();
        assert_eq!(weeks, ["1", "2", "3", "4", "Last"]);
        TriggerDays::WeekdaysOfMonths {
            weekdays: weekdays(child(month, "DaysOfWeek")),
            months: months(child(month, "Months")),
        }
    }
}
