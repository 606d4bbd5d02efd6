//! Notices: people and monitors are notified how a run of the agent ended.
//!
//! **In:** an [`Event`], made when a run has ended and its log is in the store; the policy's rules; secrets and proxies, as
//! variables. **Out:** JSON documents, requests to healthchecks.io, mails. **Bounds:** the notices of a run are sent at the
//! same time and take [`SEND_TIMEOUT`] together, those of its start [`START_TIMEOUT`] beside the run: [`MOST_ADDED`] in all. One that fails or
//! hangs is a warning, and changes neither the backup nor the exit code. **Blocks:** a thread of the runtime's pool for each
//! notice. **After a crash:** no one hears of the run that crashed but from the run that resumes it.
//!
//! | file | holds |
//! | --- | --- |
//! | `event` | what has happened, as it is posted |
//! | `text` | the same for a person |
//! | `sender` | secrets, proxies and time of one notice |
//! | `http` | requests: no redirects |
//! | `webhook`, `healthchecks`, `mail` | the kinds of notices |

mod event;
mod healthchecks;
mod http;
mod mail;
mod sender;
mod text;
mod webhook;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use intellistor_storage::objects::Variables;
use intellistor_telemetry::Escaped;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::policy::{Channel, NotifyRule, Occasion, Policy};
use sender::Sender;

pub(crate) use event::{Event, EventBackup, EventLog, bounded as bounded_text};

/// For all notices of a run's end together.
const SEND_TIMEOUT: Duration = Duration::from_millis(7500);
/// One of them gives up by itself before, so that it can say what was slow.
const ONE_TIMEOUT: Duration = Duration::from_secs(7);
/// For the notices of a run's start. The run does not wait for it, unless it ends sooner.
const START_TIMEOUT: Duration = Duration::from_millis(2500);
/// One of these.
const ONE_START_TIMEOUT: Duration = Duration::from_secs(2);
/// What the notices of a run that ends at once add to it at most: the end is not reported before the start.
const MOST_ADDED: Duration = Duration::from_secs(10);
const _: () = assert!(SEND_TIMEOUT.as_millis() + START_TIMEOUT.as_millis() <= MOST_ADDED.as_millis());
/// Characters of a failure that are shown: a server's answer is hostile.
const MOST_SHOWN: usize = 300;

type RestoreCommand = dyn Fn(&str) -> String + Send + Sync;

/// What notices need besides a policy.
#[derive(Clone, Default)]
pub struct NotifySettings {
    /// Where secrets are looked up, and the proxies and authorities that stores take, too.
    pub variables: Variables,
    /// The command that restores the backup with a key.
    pub restore_command: Option<Arc<RestoreCommand>>,
}

impl fmt::Debug for NotifySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NotifySettings(..)")
    }
}

/// Tells of the runs of one policy.
pub(crate) struct Notifier<'a> {
    rules: &'a [NotifyRule],
    settings: &'a NotifySettings,
    policy_id: &'a str,
}

/// Notices in flight.
pub(crate) struct Sent {
    tasks: Vec<JoinHandle<Result<(), String>>>,
    timeout: Duration,
    deadline: Instant,
}

impl<'a> Notifier<'a> {
    pub(crate) fn new(policy: &'a Policy, settings: &'a NotifySettings) -> Self {
        Self { rules: &policy.notify, settings, policy_id: &policy.policy_id }
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.rules.is_empty()
    }

    /// The command that restores a backup.
    pub(crate) fn restore_command(&self, key: &str) -> String {
        match &self.settings.restore_command {
            Some(command) => command(key),
            None => {
                format!("backup-client restore --policy {}.yaml --key {key} --out ./restore", self.policy_id)
            }
        }
    }

    /// Says that a run begins, to those that measure it.
    pub(crate) fn start(&self) -> Sent {
        let is_concerned = |rule: &&NotifyRule| matches!(rule.channel, Channel::Healthchecks { .. });
        let tasks =
            self.rules.iter().filter(is_concerned).map(|rule| self.send(rule, None, ONE_START_TIMEOUT));
        Sent::new(tasks.collect(), START_TIMEOUT)
    }

    /// Tells all who want to know.
    pub(crate) fn tell(&self, event: &Event) -> Sent {
        let event = Arc::new(Event { text: text::paragraph(event), ..event.clone() });
        let is_concerned = |rule: &&NotifyRule| {
            let is_check = matches!(rule.channel, Channel::Healthchecks { .. });
            // A check is notified of each run; what was missed it knows by itself.
            if is_check { event.occasion != Occasion::Missed } else { rule.on.contains(&event.occasion) }
        };
        let notified = self.rules.iter().filter(is_concerned);
        let tasks = notified.map(|rule| self.send(rule, Some(event.clone()), ONE_TIMEOUT)).collect();
        Sent::new(tasks, SEND_TIMEOUT)
    }

    fn send(
        &self,
        rule: &NotifyRule,
        event: Option<Arc<Event>>,
        timeout: Duration,
    ) -> JoinHandle<Result<(), String>> {
        let (rule, variables) = (rule.clone(), self.settings.variables.clone());
        tokio::task::spawn_blocking(move || {
            let sender = Sender { variables, timeout };
            let sent = match (&rule.channel, event) {
                (Channel::Webhook { url, token }, Some(event)) => {
                    webhook::post(&sender, url, token.as_ref(), &event)
                }
                (Channel::Healthchecks { url }, event) => {
                    healthchecks::ping(&sender, url, &rule.on, event.as_deref())
                }
                (Channel::Mail(mail), Some(event)) => mail::send(&sender, mail, &event),
                // Only checks are notified of starts.
                (_, None) => Ok(()),
            };
            sent.map_err(|reason| {
                format!("a notice was not sent: {}: {}", shown(&rule.channel), bounded(&reason))
            })
        })
    }
}

impl Sent {
    fn new(tasks: Vec<JoinHandle<Result<(), String>>>, timeout: Duration) -> Self {
        Self { tasks, timeout, deadline: Instant::now() + timeout }
    }

    /// Waits until all are sent or their time is over. Answers what failed.
    pub(crate) async fn finish(self) -> Vec<String> {
        let Self { tasks, timeout, deadline } = self;
        let ended = tasks.into_iter().map(|task| async move {
            match tokio::time::timeout_at(deadline, task).await {
                Ok(Ok(Ok(()))) => None,
                Ok(Ok(Err(failure))) => Some(failure),
                Ok(Err(panic)) => Some(format!("a notice was not sent: {panic}")),
                Err(_) => {
                    Some(format!("a notice was given up: it took more than {} s", timeout.as_secs_f32()))
                }
            }
        });
        join_all(ended).await.into_iter().flatten().collect()
    }
}

/// A notice's target, without what may be a secret.
fn shown(channel: &Channel) -> String {
    match channel {
        Channel::Webhook { url, .. } => format!("{url:?}"),
        Channel::Healthchecks { url } => format!("{url:?}"),
        Channel::Mail(mail) => format!("mail over {}:{}", mail.host, mail.port),
    }
}

fn bounded(text: &str) -> String {
    let cut: String = text.chars().take(MOST_SHOWN).collect();
    Escaped(cut).to_string()
}
