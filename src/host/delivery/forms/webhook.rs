//! An HTTP receiver: JSON by POST, signed if a key is set.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::{Refusal, document, label};
use crate::alert::Shared;
use crate::alert::entry::Entry;
use crate::base::error::{Error, Result};
use crate::host::net::{Post, post};
use crate::workspace::alerts_config::{Form, Webhook};
use crate::workspace::template::Message;

/// The largest file of certificates that is read, in bytes.
const CERTIFICATES: u64 = 1 << 20;

pub(crate) fn send(
    shared: &Shared,
    webhook: &Webhook,
    entry: &Entry,
    message: &Message,
    timeout: Duration,
) -> Result<String, Refusal> {
    let url = webhook.url.read(|source| shared.secret(source))?;
    if matches!(webhook.url, crate::workspace::secret::Address::Secret(_)) {
        url.mask();
    }
    let document = match webhook.form {
        Form::Generic => document(entry, message),
        Form::Slack => slack(entry, message),
    };
    let body = document.to_string().into_bytes();
    let mut headers = vec![
        ("Content-Type", "application/json".to_owned()),
        ("X-Rollback-Alert-Id", entry.alert.id.clone()),
    ];
    if let Some(source) = &webhook.signing_key {
        let key = shared.secret(source)?;
        key.mask();
        let seconds = shared
            .clock
            .now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        headers.push(("X-Rollback-Signature", signature(key.reveal(), seconds, &body)));
    }
    let certificates = webhook
        .ca_file
        .as_ref()
        .map(|file| certificates(&shared.root.join(file)))
        .transpose()?;
    let request = Post {
        url: url.reveal(),
        headers: &headers,
        body: &body,
        timeout,
        certificates: certificates.as_deref(),
    };
    let answer = post(&request)?;
    let message = match answer.text.trim() {
        "" => format!("HTTP {}", answer.status),
        text => format!("HTTP {}: {text}", answer.status),
    };
    if (200..300).contains(&answer.status) {
        return Ok(message);
    }
    Err(Refusal {
        why: message,
        answered: true,
        retry_after: answer.retry_after,
    })
}

/// HMAC-SHA256 over the time and the body, so that a receiver can tell who sent it, and whether it is an old one.
fn signature(key: &str, seconds: u64, body: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.as_bytes());
    let mut context = ring::hmac::Context::with_key(&key);
    context.update(seconds.to_string().as_bytes());
    context.update(b".");
    context.update(body);
    let mut hex = String::new();
    for byte in context.sign().as_ref() {
        hex.push_str(&format!("{byte:02x}"));
    }
    format!("t={seconds},v1={hex}")
}

/// What Slack takes. Its three special characters are escaped, so that no text can call a whole channel.
fn slack(entry: &Entry, message: &Message) -> serde_json::Value {
    let plain = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    let title = plain(&message.title);
    let severity = label(entry.alert.severity);
    json!({
        "text": format!("[{severity}] {title}\n{}", plain(&message.text)),
        "mrkdwn": false,
    })
}

/// The certificates that vouch for a server.
pub(crate) fn certificates(path: &std::path::Path) -> Result<Vec<u8>> {
    let cannot = |why: &dyn std::fmt::Display| {
        Error::failed(format!(
            "cannot read the certificates in `{}`: {why}",
            path.display()
        ))
        .hint("`ca_file` names a file of certificates in PEM form")
    };
    let metadata = std::fs::metadata(path).map_err(|error| cannot(&error))?;
    if !metadata.is_file() || metadata.len() > CERTIFICATES {
        return Err(cannot(&"it is no file of at most 1 MiB"));
    }
    crate::workspace::contents(path, CERTIFICATES).map_err(|error| cannot(&error))
}
