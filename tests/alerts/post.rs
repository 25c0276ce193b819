//! Mail: protected, signed in, tried again, and with headers that no text can add to.

use super::server::{Manner, Server};
use super::workspace;
use crate::sandbox::{Finished, Sandbox, assert_says};

fn mailing(server: &Server, more: &str) -> Sandbox {
    let sandbox = workspace(&format!(
        "    - name: night
      mail: {{ host: 127.0.0.1, port: {}, from: Rollback <rollback@example.org>, to: [night@example.org, day@example.org], user: robot, password: {{ env: MAIL_PASSWORD }}, ca_file: ca.pem{more} }}
      title: '{{title}}: {{reason}}'",
        server.port
    ));
    sandbox.write("ca.pem", &server.authority);
    sandbox
}

fn run(sandbox: &Sandbox, arguments: &[&str]) -> Finished {
    let mut command = sandbox.command(arguments);
    command.env("MAIL_PASSWORD", "zzmailzz");
    Finished::of(&mut command, arguments)
}

fn header<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let head = text.split("\n\n").next().unwrap();
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

#[test]
fn a_mail_that_was_put_off_comes_again_with_its_id() {
    let server = Server::start(Manner::default(), &["451 try again later"]);
    let sandbox = mailing(&server, "");
    let finished = run(&sandbox, &["run", "9.1", "--yes", "--reason", "slow"]).assert_code(0);
    assert_says(&finished, &["channel `night` did not take the alert", "451"]);
    run(&sandbox, &["alert", "retry"]).assert_code(0);
    let mails = server.mails();
    assert_eq!(mails.len(), 3, "{mails:#?}");
    let ids: Vec<&str> = mails
        .iter()
        .map(|mail| header(&mail.text, "Message-ID")[0])
        .collect();
    // The first was put off; the second went through, then the first came again.
    assert_eq!(ids[0], ids[2]);
    assert_ne!(ids[0], ids[1]);
    assert!(ids[0].ends_with(".night@example.org>"), "{}", ids[0]);
    assert_eq!(
        header(&mails[0].text, "X-Rollback-Alert-Id"),
        header(&mails[2].text, "X-Rollback-Alert-Id")
    );
    assert_eq!(mails[0].login.as_deref(), Some("/robot/zzmailzz"));
    assert_eq!(mails[0].to.len(), 2);
    assert!(mails[0].from.contains("rollback@example.org"));
    assert_eq!(
        header(&mails[0].text, "Subject"),
        ["[WARNING] rollback of 9.1 begins: slow"]
    );
    assert!(
        !server.in_the_clear().contains("AUTH"),
        "{}",
        server.in_the_clear()
    );
    let listed = run(&sandbox, &["alert", "list"]).assert_code(0);
    assert_says(&listed, &["nothing waits"]);
}

#[test]
fn no_text_adds_a_header() {
    let server = Server::start(Manner::default(), &[]);
    let sandbox = mailing(&server, "");
    let reason = "slow\r\nBcc: evil@example.org\r\n\r\nbody \u{2028}X-Other: 1 \u{e9}\u{202e}";
    run(&sandbox, &["run", "9.1", "--yes", "--reason", reason]).assert_code(0);
    let mails = server.mails();
    assert_eq!(mails.len(), 2);
    for mail in &mails {
        let head = mail.text.split("\n\n").next().unwrap();
        assert_eq!(header(&mail.text, "Bcc"), [] as [&str; 0], "{head}");
        assert_eq!(header(&mail.text, "X-Other"), [] as [&str; 0], "{head}");
        assert_eq!(header(&mail.text, "Subject").len(), 1, "{head}");
        assert!(!mail.to.iter().any(|to| to.contains("evil")), "{:?}", mail.to);
    }
}

#[test]
fn without_protection_no_password_is_sent() {
    let server = Server::start(
        Manner {
            plain: true,
            ..Manner::default()
        },
        &[],
    );
    let sandbox = mailing(&server, "");
    run(&sandbox, &["alert", "test"]).assert_code(1);
    assert!(
        !server.in_the_clear().contains("AUTH"),
        "{}",
        server.in_the_clear()
    );
    assert_eq!(server.mails().len(), 0);
}

#[test]
fn a_server_that_nobody_vouches_for_gets_nothing() {
    let server = Server::start(Manner::default(), &[]);
    let sandbox = mailing(&server, "");
    let other = Server::start(Manner::default(), &[]);
    sandbox.write("ca.pem", &other.authority);
    assert_says(
        &run(&sandbox, &["alert", "test"]).assert_code(1),
        &["certificate"],
    );
    sandbox.write("ca.pem", "nonsense");
    assert_says(
        &run(&sandbox, &["alert", "test"]).assert_code(1),
        &["night: failed"],
    );
    sandbox.remove("ca.pem");
    assert_says(
        &run(&sandbox, &["alert", "test"]).assert_code(1),
        &["cannot read the certificates"],
    );
    assert_eq!(server.mails().len(), 0);
}

#[test]
fn tls_from_the_first_byte_works_too() {
    let server = Server::start(
        Manner {
            implicit: true,
            ..Manner::default()
        },
        &[],
    );
    let sandbox = mailing(&server, ", tls: implicit");
    assert_says(
        &run(&sandbox, &["alert", "test"]).assert_code(0),
        &["night: sent", "SMTP 250"],
    );
    assert_eq!(server.mails().len(), 1);
}
