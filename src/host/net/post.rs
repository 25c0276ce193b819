//! POST to an HTTP receiver of alerts: to the configured host alone, bounded in time and size, without proxies.

use std::io::Read;
use std::time::{Duration, Instant};

use ureq::http::header::{LOCATION, RETRY_AFTER};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::{BODY, LONGEST, SHORTEST};
use crate::base::error::{Error, Result};
use crate::workspace::address::Address;

/// Redirects within a host that are followed.
const REDIRECTS: usize = 3;

/// Characters of an answer's text that are told.
const TOLD: usize = 200;

/// What is sent, and where.
#[derive(Debug)]
pub struct Post<'a> {
    /// The address.
    pub url: &'a str,
    /// Headers; ASCII without line ends.
    pub headers: &'a [(&'a str, String)],
    /// The body.
    pub body: &'a [u8],
    /// How long it may take, redirects included.
    pub timeout: Duration,
    /// Certificates (PEM) that alone vouch for the host; `None`: those that everybody trusts.
    pub certificates: Option<&'a [u8]>,
}

/// What a receiver said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The beginning of the first line of its body.
    pub text: String,
    /// How long it wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// Sends it. A redirect within the same host is followed with the same body; another one is a failure. No message of a
/// failure holds the address, which may be secret.
///
/// # Errors
/// Of kind `Failed` where no answer came, or one that leads elsewhere; `Invalid` for what is no address.
pub fn post(post: &Post<'_>) -> Result<Answer> {
    let start = Instant::now();
    let mut address = Address::parse(post.url).map_err(|_| {
        Error::invalid("the address is none that can be asked").hint("as in `https://host/path`")
    })?;
    let agent = agent(post.certificates)?;
    for _ in 0..=REDIRECTS {
        let left = post
            .timeout
            .saturating_sub(start.elapsed())
            .clamp(SHORTEST, LONGEST);
        let (answer, location) = once(&agent, &address, post, left)?;
        let Some(location) = location.filter(|_| matches!(answer.status, 301 | 302 | 303 | 307 | 308)) else {
            return Ok(answer);
        };
        let next = address
            .join(&location)
            .map_err(|_| Error::failed(format!("HTTP {}: the redirect cannot be followed", answer.status)))?;
        if next.origin() != address.origin() {
            return Err(Error::failed(format!(
                "HTTP {}: redirected to `{}`, which is not the configured host, and not followed",
                answer.status,
                next.origin()
            ))
            .hint("if the receiver has moved, put its new address into `rollback.yaml`"));
        }
        address = next;
    }
    Err(Error::failed(format!("more than {REDIRECTS} redirects")))
}

fn agent(certificates: Option<&[u8]>) -> Result<ureq::Agent> {
    let mut config = ureq::Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("rollback/", env!("CARGO_PKG_VERSION")));
    if let Some(pem) = certificates {
        let roots: Vec<Certificate<'static>> = parse_pem(pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if roots.is_empty() {
            return Err(Error::invalid("`ca_file` holds no certificate")
                .hint("it must hold certificates in PEM form"));
        }
        let roots = RootCerts::new_with_certs(&roots);
        config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
    }
    Ok(config.build().new_agent())
}

fn once(
    agent: &ureq::Agent,
    address: &Address,
    post: &Post<'_>,
    left: Duration,
) -> Result<(Answer, Option<String>)> {
    let url = address.to_string();
    let mut request = agent.post(&url).config().timeout_global(Some(left)).build();
    for (name, value) in post.headers {
        request = request.header(*name, value);
    }
    let mut response = request.send(post.body).map_err(|error| {
        Error::failed(match error {
            ureq::Error::Timeout(_) => format!("no answer in {} ms", post.timeout.as_millis()),
            ureq::Error::HostNotFound => "the host is unknown".to_owned(),
            ureq::Error::ConnectionFailed => "the connection was refused".to_owned(),
            // What the system or TLS says; an address may be part of anything else.
            ureq::Error::Io(error) => error.to_string(),
            ureq::Error::Rustls(error) => error.to_string(),
            ureq::Error::Tls(why) => why.to_owned(),
            ureq::Error::Protocol(_) | ureq::Error::Http(_) => "the answer is no HTTP".to_owned(),
            _ => "the request failed".to_owned(),
        })
    })?;
    let header = |name| {
        response
            .headers()
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let location = header(LOCATION);
    let retry_after = header(RETRY_AFTER)
        .and_then(|seconds| seconds.trim().parse().ok())
        .map(Duration::from_secs);
    let status = response.status().as_u16();
    let mut body = Vec::new();
    // The status stands whatever becomes of the body.
    let _ = response.body_mut().as_reader().take(BODY).read_to_end(&mut body);
    let body = String::from_utf8_lossy(&body);
    let text = body
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(TOLD)
        .collect();
    Ok((
        Answer {
            status,
            text,
            retry_after,
        },
        location,
    ))
}
