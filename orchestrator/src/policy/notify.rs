//! `notify`: who is notified of a run, and of what.
//!
//! A secret is never in a policy. Where one belongs, the policy has `env:NAME`, and the environment has the value under a
//! name that begins with `INTELLISTOR_NOTIFY_`.

use std::fmt;

use lettre::message::Mailbox;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use ureq::http::Uri;

use super::error::PolicyError;

/// What variables with secrets of notices begin with.
pub const SECRET_PREFIX: &str = "INTELLISTOR_NOTIFY_";
/// The password of a mail account, where a policy names no other.
pub const SMTP_PASSWORD: &str = "INTELLISTOR_SMTP_PASSWORD";
const FROM_ENVIRONMENT: &str = "env:";
/// More is a mistake, and would not be sent in time.
const MOST_NOTICES: usize = 16;
const MOST_URL_BYTES: usize = 2048;

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Occasion {
    /// A run made no backup, or could not begin.
    Failed,
    /// A backup was made, and something needs a person's eye: exit code 3.
    Warnings,
    /// A backup was made.
    Success,
    /// Scheduled runs did not take place.
    Missed,
}

impl Occasion {
    /// The word for it in policies and notices.
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Warnings => "warnings",
            Self::Success => "success",
            Self::Missed => "missed",
        }
    }
}

/// Whom to tell, and of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyRule {
    pub channel: Channel,
    pub on: Vec<Occasion>,
}

/// How someone is notified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// A POST with a JSON document.
    Webhook {
        url: Secret,
        /// Sent as `Authorization: Bearer`.
        token: Option<Variable>,
    },
    /// A check of healthchecks.io or of a program that takes the same requests: `/start`, none, `/fail`.
    Healthchecks {
        url: Secret,
    },
    Mail(Box<MailRule>),
}

/// A mail over SMTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailRule {
    pub to: Vec<String>,
    pub from: String,
    pub host: String,
    pub port: u16,
    pub security: SmtpSecurity,
    pub user: Option<String>,
    /// Of `user`.
    pub password: Variable,
}

/// How a connection to a mail server is made secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpSecurity {
    /// TLS begins after a command; required.
    #[default]
    Starttls,
    /// TLS from the start.
    Tls,
    /// None. There is no account then: its password would be readable on the way.
    None,
}

impl SmtpSecurity {
    fn word(self) -> &'static str {
        match self {
            Self::Starttls => "starttls",
            Self::Tls => "tls",
            Self::None => "none",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// The name of a variable with a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable(String);

impl Variable {
    pub fn name(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, PolicyError> {
        let bad = || PolicyError::BadNotifyVariable;
        let name = text.strip_prefix(FROM_ENVIRONMENT).ok_or_else(bad)?;
        let rest = name.strip_prefix(SECRET_PREFIX);
        let is_plain = |rest: &str| {
            !rest.is_empty()
                && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        };
        let is_known = name == SMTP_PASSWORD || rest.is_some_and(is_plain);
        if is_known { Ok(Self(name.to_owned())) } else { Err(bad()) }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FROM_ENVIRONMENT}{}", self.0)
    }
}

/// A URL, which often is a secret: in the policy, or in a variable.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Url(String),
    Variable(Variable),
}

/// Up to the host: what follows is the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(&shown_url(url)),
            Self::Variable(variable) => fmt::Display::fmt(variable, f),
        }
    }
}

/// A URL up to its host and port, without what may be a secret.
pub(crate) fn shown_url(url: &str) -> String {
    let parsed = url.parse::<Uri>().ok();
    let shown = parsed.and_then(|url| {
        let port = url.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{}://{}{port}", url.scheme_str()?, url.host()?))
    });
    shown.unwrap_or_else(|| "a URL that cannot be read".to_owned())
}

/// Checks a URL that is posted to. The error does not repeat it.
pub(crate) fn check_url(url: &str, has_token: bool) -> Result<(), &'static str> {
    if url.len() > MOST_URL_BYTES {
        return Err("it is longer than 2048 bytes");
    }
    let parsed: Uri = url.parse().map_err(|_| "it is not a URL")?;
    let host = parsed.host().filter(|host| !host.is_empty()).ok_or("it has no host")?;
    let is_plain = match parsed.scheme_str() {
        Some("https") => false,
        Some("http") => true,
        _ => return Err("it begins neither with https:// nor with http://"),
    };
    if parsed.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(
            "it contains a user or a password. Put the whole URL into a variable and write env:INTELLISTOR_NOTIFY_URL, or use `token`",
        );
    }
    let is_here = host == "localhost" || host.starts_with("127.") || host == "[::1]";
    if is_plain && has_token && !is_here {
        return Err("the token would be readable in transit: write https://");
    }
    Ok(())
}

impl Secret {
    fn parse(text: String, has_token: bool) -> Result<Self, PolicyError> {
        if text.starts_with(FROM_ENVIRONMENT) {
            return Variable::parse(&text).map(Self::Variable);
        }
        check_url(&text, has_token).map_err(|reason| PolicyError::BadNotifyUrl { reason })?;
        Ok(Self::Url(text))
    }

    fn text(&self) -> String {
        match self {
            Self::Url(url) => url.clone(),
            Self::Variable(variable) => variable.to_string(),
        }
    }
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    url: Option<String>,
    token: Option<String>,
    healthchecks: Option<String>,
    mail: Option<MailFields>,
    on: Option<Vec<Occasion>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MailFields {
    to: Vec<String>,
    from: String,
    smtp: String,
    #[serde(default)]
    security: SmtpSecurity,
    user: Option<String>,
    password: Option<String>,
}

impl<'de> Deserialize<'de> for NotifyRule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::of(Fields::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl NotifyRule {
    fn of(fields: Fields) -> Result<Self, PolicyError> {
        let Fields { url, token, healthchecks, mail, on } = fields;
        let bad = |reason| Err(PolicyError::BadNotify { reason });
        if token.is_some() && url.is_none() {
            return bad("`token` belongs to a `url`");
        }
        let channel = match (url, healthchecks, mail) {
            (Some(url), None, None) => Channel::Webhook {
                url: Secret::parse(url, token.is_some())?,
                token: token.map(|token| Variable::parse(&token)).transpose()?,
            },
            (None, Some(url), None) => Channel::Healthchecks { url: Secret::parse(url, false)? },
            (None, None, Some(mail)) => Channel::Mail(Box::new(MailRule::of(mail)?)),
            (None, None, None) => {
                return bad("a rule has a `url`, a `healthchecks` or a `mail`, and this one has none");
            }
            _ => return bad("a rule has one of `url`, `healthchecks` and `mail`: write one rule for each"),
        };
        let on = on.unwrap_or_else(|| channel.default_on());
        let rule = Self { channel, on };
        rule.check()?;
        Ok(rule)
    }

    pub(super) fn check(&self) -> Result<(), PolicyError> {
        let bad = |reason| Err(PolicyError::BadNotify { reason });
        if self.on.is_empty() {
            return bad(
                "`on` is empty, so no one would be notified. Leave it out, or write on: [failed, warnings, missed]",
            );
        }
        let is_healthchecks = matches!(self.channel, Channel::Healthchecks { .. });
        let is_of_checks = |on: &Occasion| matches!(on, Occasion::Failed | Occasion::Warnings);
        if is_healthchecks && !(self.on.iter().all(is_of_checks) && self.on.contains(&Occasion::Failed)) {
            return bad(
                "`healthchecks` is notified of every run, and notices missed ones itself: its `on` says which results are failures, [failed] or [failed, warnings]",
            );
        }
        Ok(())
    }
}

impl Channel {
    fn default_on(&self) -> Vec<Occasion> {
        match self {
            Self::Healthchecks { .. } => vec![Occasion::Failed],
            Self::Webhook { .. } | Self::Mail(_) => {
                vec![Occasion::Failed, Occasion::Warnings, Occasion::Missed]
            }
        }
    }
}

impl MailRule {
    fn of(fields: MailFields) -> Result<Self, PolicyError> {
        let MailFields { to, from, smtp, security, user, password } = fields;
        let bad = |reason| Err(PolicyError::BadNotify { reason });
        if to.is_empty() {
            return bad("`to` of `mail` is empty");
        }
        for address in to.iter().chain([&from]) {
            if address.contains(char::is_control) || address.parse::<Mailbox>().is_err() {
                return Err(PolicyError::BadMailAddress { address: address.clone() });
            }
        }
        if security == SmtpSecurity::None && user.is_some() {
            return bad("a password would be readable in transit: with `security: none` there is no `user`");
        }
        if password.is_some() && user.is_none() {
            return bad("`password` belongs to a `user`");
        }
        let (host, port) = match smtp.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') => (host, port.parse().ok()),
            _ => (smtp.as_str(), Some(security.default_port())),
        };
        let is_host = !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']'));
        let Some(port) = port.filter(|port| is_host && *port > 0) else {
            return bad("`smtp` of `mail` is not host:port, as in 'smtp.example.com:587'");
        };
        let password =
            password.map_or_else(|| Ok(Variable(SMTP_PASSWORD.to_owned())), |text| Variable::parse(&text))?;
        Ok(Self { to, from, host: host.to_owned(), port, security, user, password })
    }
}

/// The list. No value is none.
pub(super) fn notify<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<NotifyRule>, D::Error> {
    let rules = Option::<Vec<NotifyRule>>::deserialize(from)?.unwrap_or_default();
    check(&rules).map_err(D::Error::custom)?;
    Ok(rules)
}

pub(super) fn check(rules: &[NotifyRule]) -> Result<(), PolicyError> {
    if rules.len() > MOST_NOTICES {
        return Err(PolicyError::BadNotify { reason: "it has more than 16 rules" });
    }
    rules.iter().try_for_each(NotifyRule::check)
}

/// As they are written in a policy.
pub(super) fn notify_text(rules: &[NotifyRule], quoted: impl Fn(&str) -> String) -> String {
    rules.iter().map(|rule| format!("  - {{ {} }}\n", rule_text(rule, &quoted))).collect()
}

fn rule_text(rule: &NotifyRule, quoted: &impl Fn(&str) -> String) -> String {
    let mut text = match &rule.channel {
        Channel::Webhook { url, token } => {
            let token = token.as_ref().map(|token| format!(", token: {}", quoted(&token.to_string())));
            format!("url: {}{}", quoted(&url.text()), token.unwrap_or_default())
        }
        Channel::Healthchecks { url } => format!("healthchecks: {}", quoted(&url.text())),
        Channel::Mail(mail) => {
            let MailRule { to, from, host, port, security, user, password } = &**mail;
            let to: Vec<_> = to.iter().map(|to| quoted(to)).collect();
            let smtp = quoted(&format!("{host}:{port}"));
            let mut fields = format!("to: [{}], from: {}, smtp: {smtp}", to.join(", "), quoted(from));
            if *security != SmtpSecurity::default() {
                fields += &format!(", security: {}", security.word());
            }
            if let Some(user) = user {
                fields += &format!(", user: {}", quoted(user));
                if password.name() != SMTP_PASSWORD {
                    fields += &format!(", password: {}", quoted(&password.to_string()));
                }
            }
            format!("mail: {{ {fields} }}")
        }
    };
    if rule.on != rule.channel.default_on() {
        let words: Vec<_> = rule.on.iter().map(|on| on.word()).collect();
        text += &format!(", on: [{}]", words.join(", "));
    }
    text
}
