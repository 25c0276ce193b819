//! HTTP receivers: signatures, Slack's form, redirects, and those that misbehave.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::receiver::{Behaviour, Receiver};
use super::server::tls;
use super::{alerts_at, breach, clock, soon, webhook, workspace};
use crate::sandbox::assert_says;
use rollback_manager::alert::entry::State;

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn expected(key: &str, time: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(format!("{time}.{body}").as_bytes());
    hex(&mac.finalize().into_bytes())
}

#[test]
fn a_signature_can_be_checked_by_another_implementation() {
    let receiver = Receiver::start(Behaviour::Status(200, ""));
    let sandbox = workspace(&format!(
        "    - {{ name: ops, webhook: {{ url: '{}', signing_key: {{ file: ../home/key }} }} }}",
        receiver.url("/")
    ));
    std::fs::write(sandbox.home().join("key"), "a key of the test\n").unwrap();
    let at = clock(0);
    let alerts = alerts_at(&sandbox, &at);
    alerts.raise(breach(&at, "a")).unwrap();
    assert!(alerts.deliver(soon()).unwrap().all_sent());
    let request = receiver.requests().remove(0);
    let header = request.header("x-rollback-signature").unwrap().to_owned();
    let (time, signature) = header
        .strip_prefix("t=")
        .and_then(|rest| rest.split_once(",v1="))
        .unwrap();
    assert_eq!(time, "1800000000");
    assert_eq!(signature, expected("a key of the test", time, &request.body));
    // Another key, another time or another body is another signature.
    assert_ne!(signature, expected("another key", time, &request.body));
    assert_ne!(
        signature,
        expected("a key of the test", "1800000001", &request.body)
    );
    assert_ne!(
        signature,
        expected(
            "a key of the test",
            time,
            &request.body.replace("errors", "terrors")
        )
    );
    // Without its key nothing is sent unsigned.
    std::fs::remove_file(sandbox.home().join("key")).unwrap();
    assert_says(
        &sandbox.run(&["alert", "test"]).assert_code(1),
        &["cannot read the secret in `../home/key`"],
    );
    assert_eq!(receiver.requests().len(), 1);
}

#[test]
fn slack_gets_its_form_and_nobody_is_called() {
    let receiver = Receiver::start(Behaviour::Status(200, "ok"));
    let sandbox = workspace(&format!(
        "    - {{ name: chat, on: [initiation], webhook: {{ url: '{}', form: slack }}, text: '{{reason}} & {{story}}' }}",
        receiver.url("/services/T/B/X")
    ));
    sandbox
        .run(&[
            "run",
            "9.1",
            "--yes",
            "--reason",
            "<!channel> now <https://evil|here>",
        ])
        .assert_code(0);
    let body = receiver.bodies().remove(0);
    assert_eq!(
        body["text"],
        "[WARNING] rollback of 9.1 begins\n&lt;!channel&gt; now &lt;https://evil|here&gt; &amp; 9.1"
    );
    assert!(!body.to_string().contains("<!channel>"));
}

#[test]
fn a_redirect_within_the_host_is_followed_and_no_other() {
    let receiver = Receiver::start(Behaviour::Headers(307, "Location: /moved\r\n".to_owned()));
    let sandbox = workspace(&webhook(&receiver.url("/hook"), ""));
    assert_says(
        &sandbox.run(&["alert", "test"]).assert_code(0),
        &["HTTP 200: found"],
    );
    let paths: Vec<String> = receiver
        .requests()
        .iter()
        .map(|request| request.path.clone())
        .collect();
    assert_eq!(paths, ["/hook", "/moved"]);
    assert_eq!(receiver.requests()[0].body, receiver.requests()[1].body);

    let elsewhere = Receiver::start(Behaviour::Status(200, "stolen"));
    for location in [
        elsewhere.url("/moved"),
        format!("//localhost:{}/moved", receiver.port()),
        format!("https://127.0.0.1:{}/moved", receiver.port()),
        "http://127.0.0.1@evil.example/moved".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        receiver.become_(Behaviour::Headers(302, format!("Location: {location}\r\n")));
        let finished = sandbox.run(&["alert", "test"]).assert_code(1);
        assert_says(&finished, &["redirect", "follow"]);
    }
    assert_eq!(elsewhere.requests().len(), 0);
    // In a circle.
    receiver.become_(Behaviour::Headers(302, "Location: /hook\r\n".to_owned()));
    assert_says(
        &sandbox.run(&["alert", "test"]).assert_code(1),
        &["more than 3 redirects"],
    );
}

#[test]
fn receivers_that_misbehave_are_failures_of_their_own() {
    let receiver = Receiver::start(Behaviour::Hang);
    let sandbox = workspace(&format!(
        "    - {{ name: ops, timeout: 300ms, webhook: {{ url: '{}' }} }}",
        receiver.url("/")
    ));
    for (behaviour, said) in [
        (Behaviour::Hang, "no answer in 300 ms"),
        (Behaviour::Garbage, "the answer is no HTTP"),
        (Behaviour::Close, "ops: failed"),
        (Behaviour::Status(404, "a\u{1b}[2J\u{202e}b"), "HTTP 404: a"),
        (
            Behaviour::Headers(429, "Retry-After: 120\r\n".to_owned()),
            "HTTP 429",
        ),
    ] {
        receiver.become_(behaviour);
        let finished = sandbox.run(&["alert", "test"]).assert_code(1);
        assert_says(&finished, &[said]);
        assert!(!finished.stdout.contains('\u{1b}') && !finished.stdout.contains('\u{202e}'));
    }
    receiver.become_(Behaviour::Flood);
    sandbox.run(&["alert", "test"]).assert_code(0);
    // Nobody is there.
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    super::configure(&sandbox, &webhook(&format!("http://127.0.0.1:{port}/"), ""));
    let done = sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert_says(&done, &["channel `ops` did not take the alert"]);
}

/// A receiver that wants to be left alone is.
#[test]
fn a_wish_for_a_longer_wait_is_granted() {
    let receiver = Receiver::start(Behaviour::Headers(429, "Retry-After: 600\r\n".to_owned()));
    let sandbox = workspace(&webhook(&receiver.url("/"), ""));
    let at = clock(0);
    alerts_at(&sandbox, &at).raise(breach(&at, "a")).unwrap();
    let tries = |second| {
        alerts_at(&sandbox, &clock(second))
            .deliver(soon())
            .unwrap()
            .attempts
            .len()
    };
    assert_eq!([tries(0), tries(300), tries(599), tries(601)], [1, 0, 0, 1]);
}

/// One channel that hangs keeps no other from its alerts, and the deadline holds.
#[test]
fn a_channel_that_hangs_holds_up_no_other() {
    let hanging = Receiver::start(Behaviour::Hang);
    let good = Receiver::start(Behaviour::Status(200, ""));
    let sandbox = workspace(&format!(
        "    - {{ name: a-hanging, timeout: 60s, webhook: {{ url: '{}' }} }}\n    - {{ name: good, webhook: {{ url: '{}' }} }}",
        hanging.url("/"),
        good.url("/")
    ));
    let at = clock(0);
    let alerts = alerts_at(&sandbox, &at);
    for group in ["a", "b", "c"] {
        alerts.raise(breach(&at, group)).unwrap();
    }
    let until = std::time::Instant::now() + std::time::Duration::from_secs(2);
    let deliveries = alerts.deliver(until).unwrap();
    let sent = deliveries
        .attempts
        .iter()
        .filter(|attempt| attempt.state == State::Sent)
        .count();
    assert_eq!(sent, 3, "{deliveries:?}");
    assert!(!deliveries.all_sent());
    assert_eq!(
        hanging.requests().len(),
        1,
        "nobody answers there, so the others wait"
    );
    assert_eq!(alerts.pending().unwrap(), 3);
}

/// One answer over TLS, and what was sent for it.
fn answer_once(
    listener: &std::net::TcpListener,
    config: std::sync::Arc<rustls::ServerConfig>,
) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let (stream, _) = listener.accept().ok()?;
    let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(config).ok()?, stream);
    let mut asked = Vec::new();
    let mut byte = [0];
    while !asked.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        asked.push(byte[0]);
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nsecret")
        .ok()?;
    stream.conn.send_close_notify();
    stream.flush().ok()?;
    String::from_utf8(asked).ok()
}

/// The host's certificate has to be vouched for by `ca_file`, where one is named, and by nobody else.
#[test]
fn a_host_is_believed_by_its_certificate() {
    let (config, authority) = tls();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let answers = [(); 3].map(|()| answer_once(&listener, std::sync::Arc::clone(&config)));
        answers.map(|asked| asked.is_some())
    });
    let sandbox = workspace(&format!(
        "    - {{ name: ops, webhook: {{ url: 'https://127.0.0.1:{port}/', ca_file: ca.pem }} }}"
    ));
    sandbox.write("ca.pem", &authority);
    assert_says(
        &sandbox.run(&["alert", "test"]).assert_code(0),
        &["HTTP 200: secret"],
    );
    sandbox.write("ca.pem", tls().1);
    assert_says(&sandbox.run(&["alert", "test"]).assert_code(1), &["certificate"]);
    super::configure(&sandbox, &webhook(&format!("https://127.0.0.1:{port}/"), ""));
    assert_says(&sandbox.run(&["alert", "test"]).assert_code(1), &["certificate"]);
    assert_eq!(server.join().unwrap(), [true, false, false]);
}
