//! A mail over SMTP, in plain text. Proxies do not carry SMTP, and are not used.

use intellistor_storage::objects::Outbound;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{SmtpTransport, Transport as _};

use super::event::Event;
use super::sender::Sender;
use super::text;
use crate::policy::{MailRule, SmtpSecurity};

pub(super) fn send(sender: &Sender, rule: &MailRule, event: &Event) -> Result<(), String> {
    let message = message(rule, event)?;
    let host = rule.host.trim_start_matches('[').trim_end_matches(']');
    let tls = match rule.security {
        SmtpSecurity::None => Tls::None,
        SmtpSecurity::Starttls => Tls::Required(parameters(host, &sender.outbound()?)?),
        SmtpSecurity::Tls => Tls::Wrapper(parameters(host, &sender.outbound()?)?),
    };
    // Every connection is as secret as `tls` says; without it there is no password.
    let mut transport = SmtpTransport::builder_dangerous(host)
        .port(rule.port)
        .tls(tls)
        .hello_name(ClientId::Domain(domain(&event.host)))
        .timeout(Some(sender.timeout));
    if let Some(user) = &rule.user {
        let password = sender.secret(&rule.password)?;
        transport = transport.credentials(Credentials::new(user.clone(), password.to_string()));
    }
    transport.build().send(&message).map(drop).map_err(|error| error_text(&error, sender))
}

fn message(rule: &MailRule, event: &Event) -> Result<Message, String> {
    let mailbox = |address: &str| -> Result<Mailbox, String> {
        address.parse().map_err(|error| format!("{address:?} is not a mail address: {error}"))
    };
    let id = format!("<{}@{}>", uuid::Uuid::new_v4(), domain(&event.host));
    let mut builder = Message::builder()
        .from(mailbox(&rule.from)?)
        .subject(text::subject(event))
        .date_now()
        .message_id(Some(id))
        .header(ContentType::TEXT_PLAIN)
        // So that an absence notice does not answer.
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
    for to in &rule.to {
        builder = builder.to(mailbox(to)?);
    }
    builder.body(text::body(event)).map_err(|error| error.to_string())
}

fn parameters(host: &str, outbound: &Outbound) -> Result<TlsParameters, String> {
    let mut parameters = TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::None);
    for der in outbound.authorities() {
        // One that is no authority to this library vouches for no one.
        if let Ok(certificate) = Certificate::from_der(der.to_vec()) {
            parameters = parameters.add_root_certificate(certificate);
        }
    }
    parameters.build().map_err(|error| format!("TLS: {error}"))
}

/// A host's name as a domain: what a header or a command of SMTP takes.
fn domain(host: &str) -> String {
    let plain: String =
        host.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')).collect();
    let plain = plain.trim_matches(['.', '-']);
    if plain.is_empty() { "localhost".to_owned() } else { plain.chars().take(200).collect() }
}

fn error_text(error: &lettre::transport::smtp::Error, sender: &Sender) -> String {
    use std::error::Error as _;
    if error.is_timeout() || is_timeout(error) {
        return format!("no answer within {} s", sender.timeout.as_secs());
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Whether a read or a write waited for too long. Unix calls that `WouldBlock`.
fn is_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| matches!(cause.kind(), WouldBlock | TimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_says_nothing_gave_no_answer() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let rule = MailRule {
            host: "127.0.0.1".to_owned(),
            port: silent.local_addr().unwrap().port(),
            security: SmtpSecurity::None,
            ..rule()
        };
        let timeout = std::time::Duration::from_secs(1);
        let sender = Sender { variables: Default::default(), timeout };
        assert_eq!(send(&sender, &rule, &Event::example()).unwrap_err(), "no answer within 1 s");
    }
    use crate::policy::{Channel, Policy};

    fn rule() -> MailRule {
        let yaml = "policy_id: docs\npaths: [x]\nnotify:\n- { mail: { to: ['João <j@b.c>', k@b.c], from: d@e.f, smtp: 'h' } }\n";
        let policy = Policy::from_yaml("x".as_ref(), yaml).unwrap();
        let Some(Channel::Mail(mail)) = policy.notify.into_iter().map(|rule| rule.channel).next() else {
            panic!()
        };
        *mail
    }

    #[test]
    fn a_hostile_host_adds_no_header() {
        let event = Event { host: "web\r\nBcc: x@y.z\r\n\r\nforged".to_owned(), ..Event::example() };
        let mail = String::from_utf8(message(&rule(), &event).unwrap().formatted()).unwrap();
        let (headers, body) = mail.split_once("\r\n\r\n").unwrap();
        assert!(
            !headers.lines().any(|line| line.starts_with("Bcc") || line.starts_with("forged")),
            "{headers}"
        );
        assert!(headers.contains("Date: ") && headers.contains("Message-ID: <"), "{headers}");
        assert!(headers.contains("Auto-Submitted: auto-generated"), "{headers}");
        assert!(headers.contains("k@b.c"), "{headers}");
        assert!(!body.is_empty());
    }

    #[test]
    fn a_host_becomes_a_domain() {
        assert_eq!(domain("web-1.example"), "web-1.example");
        assert_eq!(domain("joão\r\n"), "joo");
        assert_eq!(domain("é"), "localhost");
    }
}
