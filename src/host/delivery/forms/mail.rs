//! A mail: plain text. Its Message-ID is that of the alert, so that a server can tell a second attempt.

use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Letter};

use super::webhook::certificates;
use super::{Refusal, label};
use crate::alert::Shared;
use crate::alert::entry::Entry;
use crate::base::clock;
use crate::base::error::{Error, Result};
use crate::host::mail::{self, Security, Server};
use crate::workspace::alerts_config::{Mail, Protection};
use crate::workspace::template::Message;

pub(crate) fn send(
    shared: &Shared,
    mail: &Mail,
    entry: &Entry,
    message: &Message,
    timeout: Duration,
) -> Result<String, Refusal> {
    let letter = letter(mail, entry, message)?;
    let password = mail
        .password
        .as_ref()
        .map(|source| shared.secret(source))
        .transpose()?;
    if let Some(password) = &password {
        password.mask();
    }
    let certificates = mail
        .ca_file
        .as_ref()
        .map(|file| certificates(&shared.root.join(file)))
        .transpose()?;
    let server = Server {
        host: &mail.host,
        port: mail.port(),
        security: match mail.tls {
            Protection::Starttls => Security::Upgraded,
            Protection::Implicit => Security::Whole,
            Protection::None => Security::None,
        },
        login: mail
            .user
            .as_deref()
            .zip(password.as_ref().map(crate::workspace::secret::Secret::reveal)),
        certificates: certificates.as_deref(),
        timeout,
    };
    mail::send(&server, &letter).map_err(|failure| Refusal {
        why: failure.why,
        answered: failure.answered,
        retry_after: None,
    })
}

fn letter(mail: &Mail, entry: &Entry, message: &Message) -> Result<Letter> {
    let cannot =
        |error: &dyn std::fmt::Display| Error::invalid(format!("the mail can't be composed: {error}"));
    let alert = &entry.alert;
    let from: Mailbox = mail.from.parse().map_err(|error| cannot(&error))?;
    let id = format!("<{}.{}@{}>", alert.id, entry.channel, from.email.domain());
    let mut builder = Letter::builder()
        .from(from)
        .subject(format!("[{}] {}", label(alert.severity), message.title))
        .message_id(Some(id))
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("X-Rollback-Alert-Id"),
            alert.id.clone(),
        ))
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ))
        .date(time_of(&alert.at))
        .header(ContentType::TEXT_PLAIN);
    for to in &mail.to {
        builder = builder.to(to.parse().map_err(|error| cannot(&error))?);
    }
    let end = format!(
        "\n\n-- \n{} {}, at {}, alert {}\n",
        alert.severity.name(),
        alert.kind.name(),
        alert.at,
        alert.id
    );
    builder
        .body(format!("{}{end}", message.text))
        .map_err(|error| cannot(&error))
}

/// The time of the alert, for the header.
fn time_of(at: &str) -> std::time::SystemTime {
    let nanoseconds = clock::nanoseconds(at).unwrap_or(0);
    std::time::SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}
