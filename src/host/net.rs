//! Ports and HTTP probes: connections that look, bounded in time and size. Nothing is sent but a plain GET.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the place where connections are made"
)]

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tracing::debug;
use ureq::http::header::LOCATION;

use crate::base::error::{Error, Result};
use crate::workspace::address::Address;

mod post;

pub use post::{Answer, Post, post};

/// Redirects that a probe follows.
const REDIRECTS: usize = 5;

/// Bytes of a body that a probe reads, and throws away.
const BODY: u64 = 64 * 1024;

/// The shortest wait: the system takes none at all for an error.
const SHORTEST: Duration = Duration::from_millis(1);

/// The longest wait: a deadline too far away can't be counted.
const LONGEST: Duration = Duration::from_hours(1);

/// Whether something accepts TCP connections at `host` (a name or an address; `127.0.0.1` where empty) and `port`
/// within `timeout`. Refused, unreachable and no answer in time are all no.
///
/// # Errors
/// Of kind `Invalid` for what is no host, or port 0; `Denied` where the kernel forbids the connection; `Failed` where
/// the name cannot be resolved or the connection cannot be tried.
pub fn listening(host: &str, port: u16, timeout: Duration) -> Result<bool> {
    let deadline = Instant::now() + timeout.clamp(SHORTEST, LONGEST);
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    if port == 0 {
        return Err(Error::invalid("nothing listens on port 0").hint("give a port from 1 to 65535"));
    }
    for address in addresses(host, port, deadline)? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        match TcpStream::connect_timeout(&address, left) {
            // A connection to a free port on this machine can meet itself.
            Ok(stream) if stream.local_addr().ok() == stream.peer_addr().ok() => {}
            Ok(_) => return Ok(true),
            Err(error) => match error.kind() {
                ErrorKind::ConnectionRefused
                | ErrorKind::ConnectionReset
                | ErrorKind::TimedOut
                | ErrorKind::WouldBlock
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::NetworkDown => {}
                ErrorKind::PermissionDenied => {
                    return Err(
                        Error::denied(format!("the kernel does not let us connect to `{address}`"))
                            .hint("look at the port with `ss -ltn` instead"),
                    );
                }
                _ => {
                    return Err(
                        Error::io(format_args!("connect to `{address}`"), &error).hint("try again later")
                    );
                }
            },
        }
    }
    Ok(false)
}

/// Resolves a host, in a thread of its own where a name server may be slow.
fn addresses(host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
    if host.len() > 253 || host.starts_with('-') || !host.chars().all(plain) {
        return Err(Error::invalid(format!("`{}` is not a host", host.escape_debug()))
            .hint("give a name or an address without a scheme or a port, as in `127.0.0.1`"));
    }
    let (answer, answered) = mpsc::channel();
    let name = host.to_owned();
    let unknown = |why: String| {
        Error::failed(format!("cannot resolve `{host}`: {why}")).hint("check the name, or give the address")
    };
    std::thread::Builder::new()
        .spawn(move || {
            // Nobody listens any more after the deadline.
            let _ = answer.send((name.as_str(), port).to_socket_addrs().map(Iterator::collect));
        })
        .map_err(|error| unknown(error.to_string()))?;
    match answered.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(unknown(error.to_string())),
        Err(_) => Err(unknown("no answer in time".to_owned())),
    }
}

/// What an HTTP probe saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpSeen {
    /// The last answer's status; `None` where none came.
    pub status: Option<u16>,
    /// Time from the start to the last answer, or to giving up.
    pub milliseconds: u64,
    /// The addresses that were asked, first to last.
    pub chain: Vec<String>,
    /// Why there is no status, or why it is a redirect that was not followed.
    pub why: Option<String>,
}

/// Asks an address with GET and follows up to five redirects, all within `timeout`. `allowed` is called with each address
/// before it is asked; its refusal ends the probe. Proxies from the environment are not used.
///
/// # Errors
/// Whatever `allowed` says. A failed connection is no error: the status is `None`.
pub fn http_check(
    mut address: Address,
    timeout: Duration,
    allowed: &dyn Fn(&Address) -> Result<()>,
) -> Result<HttpSeen> {
    let start = Instant::now();
    let mut seen = HttpSeen {
        status: None,
        milliseconds: 0,
        chain: Vec::new(),
        why: None,
    };
    loop {
        allowed(&address)?;
        let text = address.to_string();
        seen.chain.push(text.clone());
        let left = timeout.saturating_sub(start.elapsed()).clamp(SHORTEST, LONGEST);
        let answer = get(&text, left);
        seen.milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        debug!(address = text, ?answer, ms = seen.milliseconds, "address asked");
        let (status, location) = match answer {
            Ok(answer) => answer,
            Err(why) => {
                seen.status = None;
                seen.why = Some(why);
                return Ok(seen);
            }
        };
        seen.status = Some(status);
        let Some(location) = location.filter(|_| matches!(status, 301 | 302 | 303 | 307 | 308)) else {
            return Ok(seen);
        };
        if seen.chain.len() > REDIRECTS {
            seen.why = Some(format!("more than {REDIRECTS} redirects"));
            return Ok(seen);
        }
        match address.join(&location) {
            Ok(next) => address = next,
            Err(error) => {
                seen.why = Some(format!("the redirect cannot be followed: {error}"));
                return Ok(seen);
            }
        }
    }
}

/// The text at an address, at most `limit` bytes of it, without following any redirect. Proxies from the environment are not
/// used.
///
/// # Errors
/// Of kind `Failed` without an answer of status 200 in time.
pub fn fetch(address: &Address, timeout: Duration, limit: u64) -> Result<String> {
    let failed = |why: &dyn std::fmt::Display| {
        Error::failed(format!("cannot read `{address}`: {why}"))
            .hint("see to the endpoint, or correct its address")
    };
    let mut response = agent(timeout.clamp(SHORTEST, LONGEST))
        .get(address.to_string())
        .call()
        .map_err(|error| failed(&error).caused_by(error))?;
    if response.status().as_u16() != 200 {
        return Err(failed(&format_args!("it answers {}", response.status().as_u16())));
    }
    let mut text = Vec::new();
    response
        .body_mut()
        .as_reader()
        .take(limit)
        .read_to_end(&mut text)
        .map_err(|error| failed(&error).caused_by(error))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Asks as a probe does: by no proxy, following nothing.
fn agent(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_global(Some(timeout))
        .user_agent(concat!("rollback/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

/// One answer: its status, and where it sends us.
fn get(url: &str, timeout: Duration) -> Result<(u16, Option<String>), String> {
    let mut response = agent(timeout).get(url).call().map_err(|error| match error {
        ureq::Error::Timeout(_) => format!("no answer in {} ms", timeout.as_millis()),
        ureq::Error::HostNotFound => "the host is unknown".to_owned(),
        ureq::Error::ConnectionFailed => "the connection was refused".to_owned(),
        other => other.to_string(),
    })?;
    let location = response
        .headers()
        .get(LOCATION)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    // The status stands whatever becomes of the body.
    let _ = std::io::copy(
        &mut response.body_mut().as_reader().take(BODY),
        &mut std::io::sink(),
    );
    Ok((response.status().as_u16(), location))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;
    use crate::base::error::Kind;

    const LONG: Duration = Duration::from_secs(20);

    /// Answers one connection for each of `answers`, and gives back the request lines.
    fn serve(answers: Vec<String>) -> (u16, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let server = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
                asked.push(lines.next().expect("a request").expect("a line"));
                for line in lines {
                    if line.expect("a header").is_empty() {
                        break;
                    }
                }
                // A probe that has read enough closes first.
                let _ = stream.write_all(answer.as_bytes());
            }
            asked
        });
        (port, server)
    }

    fn answer(status: &str, headers: &str) -> String {
        format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: 0\r\n\r\n")
    }

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port()
    }

    const ANYTHING: fn(&Address) -> Result<()> = |_| Ok(());

    fn probe(url: &str, timeout: Duration, allowed: &dyn Fn(&Address) -> Result<()>) -> Result<HttpSeen> {
        http_check(Address::parse(url)?, timeout, allowed)
    }

    #[test]
    fn a_bound_port_is_listened_on_and_a_free_one_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        assert!(listening("", port, LONG).expect("a look"));
        assert!(listening("localhost", port, LONG).expect("a look"));
        drop(listener);
        // A process that another test starts has a copy of the socket until it runs its own program.
        assert!((0..10_000).any(|_| !listening("127.0.0.1", port, LONG).expect("a look")));
    }

    #[test]
    fn only_hosts_and_ports_are_looked_at() {
        for host in ["http://localhost", "a b", "a/b", "me@x", "-x", "[x]"] {
            assert_eq!(
                listening(host, 80, LONG).expect_err("no host").kind(),
                Kind::Invalid,
                "{host}"
            );
        }
        assert_eq!(
            listening("127.0.0.1", 0, LONG).expect_err("no port").kind(),
            Kind::Invalid
        );
    }

    #[test]
    fn an_answer_is_told_with_its_status() {
        let (port, server) = serve(vec![answer("503 Busy", "")]);
        let url = format!("http://127.0.0.1:{port}/health?deep=1#top");
        let seen = probe(&url, LONG, &ANYTHING).expect("a probe");
        assert_eq!((seen.status, &seen.why), (Some(503), &None));
        assert_eq!(seen.chain, [format!("http://127.0.0.1:{port}/health?deep=1")]);
        assert_eq!(server.join().expect("a server"), ["GET /health?deep=1 HTTP/1.1"]);
    }

    #[test]
    fn a_redirect_is_followed_where_allowed() {
        let (port, server) = serve(vec![
            answer("302 Found", "Location: ../new\r\n"),
            answer("200 OK", ""),
        ]);
        let seen = probe(&format!("http://127.0.0.1:{port}/a/b"), LONG, &ANYTHING).expect("a probe");
        assert_eq!(seen.status, Some(200));
        assert_eq!(
            server.join().expect("a server"),
            ["GET /a/b HTTP/1.1", "GET /new HTTP/1.1"]
        );
    }

    #[test]
    fn a_redirect_to_a_forbidden_address_is_refused_unasked() {
        let forbidden = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = forbidden.local_addr().expect("an address");
        let (port, server) = serve(vec![answer(
            "302 Found",
            &format!("Location: http://{address}/secret\r\n"),
        )]);
        let allowed = |url: &Address| {
            if url.origin() == format!("http://127.0.0.1:{port}") {
                return Ok(());
            }
            Err(Error::denied(format!("`{url}` is not listed")))
        };
        let error = probe(&format!("http://127.0.0.1:{port}/"), LONG, &allowed).expect_err("refused");
        assert_eq!(error.kind(), Kind::Denied);
        server.join().expect("a server");
        forbidden.set_nonblocking(true).expect("a listener");
        assert!(forbidden.accept().is_err(), "nobody connected");
    }

    #[test]
    fn a_refused_first_address_is_not_asked() {
        let error = probe("http://127.0.0.1:1/", LONG, &|_| Err(Error::denied("no"))).expect_err("refused");
        assert_eq!(error.kind(), Kind::Denied);
    }

    #[test]
    fn endless_redirects_end() {
        let (port, server) = serve(vec![answer("307 Again", "Location: /\r\n"); REDIRECTS + 1]);
        let seen = probe(&format!("http://127.0.0.1:{port}/"), LONG, &ANYTHING).expect("a probe");
        assert_eq!((seen.status, seen.chain.len()), (Some(307), REDIRECTS + 1));
        assert!(seen.why.is_some());
        server.join().expect("a server");
    }

    #[test]
    fn no_answer_is_an_observation() {
        let refused = probe(&format!("http://127.0.0.1:{}/", free_port()), LONG, &ANYTHING).expect("a probe");
        assert_eq!(refused.status, None);
        assert!(refused.why.is_some());
        // Bound, but nobody ever accepts or answers.
        let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/", silent.local_addr().expect("an address"));
        let seen = probe(&url, Duration::from_millis(50), &ANYTHING).expect("a probe");
        assert_eq!(seen.status, None);
        assert!(seen.why.is_some_and(|why| why.starts_with("no answer in")));
    }

    #[test]
    fn an_endless_body_is_not_read_to_its_end() {
        let body = "x".repeat(1 << 20);
        let endless = format!("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{body}");
        let (port, server) = serve(vec![endless]);
        let seen = probe(&format!("http://127.0.0.1:{port}/"), LONG, &ANYTHING).expect("a probe");
        assert_eq!((seen.status, seen.why), (Some(200), None));
        assert!(seen.milliseconds < 10_000, "{}", seen.milliseconds);
        server.join().expect("a server");
    }

    #[test]
    fn odd_addresses_are_refused_before_the_policy_reads_them() {
        for url in [
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "127.0.0.1/",
            "/health",
            "http://127.0.0.1:80@evil.example/",
            "http://me:secret@127.0.0.1/",
            "http:\\\\127.0.0.1\\",
            "http://127.0.0.1/a b",
            "http://127.0.0.1:99999/",
            "http://127.0.0.1:0/",
            "http://127.0.0.1:/",
            "http://:80/",
            "",
        ] {
            let error = probe(url, LONG, &|_| panic!("`{url}` reached the policy")).expect_err("refused");
            assert_eq!(error.kind(), Kind::Invalid, "{url}");
            assert!(!error.message().contains("secret"), "{error}");
        }
    }
}
