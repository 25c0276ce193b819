use serde_json::json;

use super::*;

#[test]
fn secrets_are_masked_and_the_rest_stays() {
    for (text, masked) in [
        ("postgres://user:hunter2@host/db", "postgres://[redacted]@host/db"),
        ("redis://:hunter2@host:6379/0", "redis://[redacted]@host:6379/0"),
        ("amqp://u:p@ss@host", "amqp://[redacted]@host"),
        (
            "https://0123456789abcdef0123@github.com/a",
            "https://[redacted]@github.com/a",
        ),
        ("ssh://git@github.com/a/b", "ssh://git@github.com/a/b"),
        ("PASSWORD=hunter2 next", "PASSWORD=[redacted] next"),
        ("export DB_PASSWORD='a b c'", "export DB_PASSWORD=[redacted]"),
        ("DB_PASS=hunter2", "DB_PASS=[redacted]"),
        ("pass: hunter2", "pass: [redacted]"),
        ("PGPASSWORD=a,b;c", "PGPASSWORD=[redacted];c"),
        ("password = \"with \\\" quote\" x", "password = [redacted] x"),
        ("password=\"never closed", "password=[redacted]"),
        (
            "{\"api_key\": \"abc\", \"x\": 1}",
            "{\"api_key\": [redacted], \"x\": 1}",
        ),
        (
            r#"{\"password\":\"abc\",\"x\":1}"#,
            r#"{\"password\":[redacted],\"x\":1}"#,
        ),
        ("{'client_secret': 'abc'}", "{'client_secret': [redacted]}"),
        ("secret => abc", "secret => [redacted]"),
        ("https://h/p?token=abc&x=1", "https://h/p?token=[redacted]&x=1"),
        (
            "https://h/p?X-Amz-Signature=abc&x=1",
            "https://h/p?X-Amz-Signature=[redacted]&x=1",
        ),
        (
            "psql --password hunter2 -d db",
            "psql --password [redacted] -d db",
        ),
        ("x --api-key=abc y", "x --api-key=[redacted] y"),
        (
            "curl --access-token abc --verbose",
            "curl --access-token [redacted] --verbose",
        ),
        ("Authorization: Bearer abc.def-ghi", "Authorization: [redacted]"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: [redacted]"),
        (
            "\"authorization\":\"Token 0123456789\"",
            "\"authorization\":\"[redacted]\"",
        ),
        ("sent bearer abcdef0123", "sent bearer [redacted]"),
        ("key AKIAIOSFODNN7EXAMPLE here", "key [redacted] here"),
        (
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG",
            "aws_secret_access_key = [redacted]",
        ),
        ("AccountKey=abc==;Endpoint=x", "AccountKey=[redacted];Endpoint=x"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "[redacted]"),
        ("glpat-0123456789abcdef0123", "[redacted]"),
        ("xoxb-123456789012-abcdef", "[redacted]"),
        ("sk_live_0123456789abcdefghijklmn", "[redacted]"),
        ("sk-proj-0123456789abcdefghijklmn", "[redacted]"),
        ("npm_0123456789abcdefghijABCDEFGHIJ012345", "[redacted]"),
        ("AIzaSyA0123456789abcdefghijklmnopqrstuv", "[redacted]"),
        (
            "https://h/?next=a%3Dghp_0123456789abcdefghijABCDEFGHIJ012345",
            "https://h/?next=a%3D[redacted]",
        ),
        (
            "https://h/?next=a%3DAKIAIOSFODNN7EXAMPLE&x",
            "https://h/?next=a[redacted]&x",
        ),
        (
            "my-task-0123456789-0123456789-0123456789",
            "my-task-0123456789-0123456789-0123456789",
        ),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSM", "[redacted]"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nafter",
            "[redacted]\nafter",
        ),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "[redacted]"),
        (
            "node work.js -a hunter2 --verbose",
            "node work.js -a [redacted] --verbose",
        ),
        ("curl -u me:hunter2 http://h", "curl -u me:[redacted] http://h"),
        (
            "curl --proxy-user me:1234 http://h",
            "curl --proxy-user me:[redacted] http://h",
        ),
        ("http -a me:hunter2 h", "http -a me:[redacted] h"),
        (
            "smbclient -U me%hunter2 //h/d",
            "smbclient -U me%[redacted] //h/d",
        ),
        ("work --auth hunter2", "work --auth [redacted]"),
        ("work --auth=hunter2", "work --auth=[redacted]"),
        ("work --pw=hunter2", "work --pw=[redacted]"),
        (
            "redis-server --requirepass hunter",
            "redis-server --requirepass [redacted]",
        ),
        (
            "openssl rsa -passin pass:hunter -in k",
            "openssl rsa -passin pass:[redacted] -in k",
        ),
        ("curl -H Cookie: a=b; c=d", "curl -H Cookie: [redacted]"),
        ("curl -H 'Cookie: a=b; c=d' h", "curl -H 'Cookie: [redacted]' h"),
        (
            "https://h/blob?sv=1&sig=abc%2F&x=1",
            "https://h/blob?sv=1&sig=[redacted]&x=1",
        ),
        (
            "//registry.example/:_auth=bWU6aHVudGVy",
            "//registry.example/:_auth=[redacted]",
        ),
        (
            "REDISCLI_AUTH=hunter redis-cli",
            "REDISCLI_AUTH=[redacted] redis-cli",
        ),
        // What is no secret stays.
        (
            "docker run -u 1000:1000 -a stdout x",
            "docker run -u 1000:1000 -a stdout x",
        ),
        (
            "serve -a 127.0.0.1:3000 -u http://h1",
            "serve -a 127.0.0.1:3000 -u http://h1",
        ),
        ("docker run -p 80:80 app1", "docker run -p 80:80 app1"),
        ("significant: yes, author: me", "significant: yes, author: me"),
        ("http://localhost:3001/health", "http://localhost:3001/health"),
        (
            "http://localhost:4873/@scope/package",
            "http://localhost:4873/@scope/package",
        ),
        ("move `data/duckdb` into backup", "move `data/duckdb` into backup"),
        (
            "remove `src/tokenizer.js` (1 file)",
            "remove `src/tokenizer.js` (1 file)",
        ),
        ("3 tests passed: all", "3 tests passed: all"),
        ("bypass: no", "bypass: no"),
        ("run 20261123T013000Z-1a2b", "run 20261123T013000Z-1a2b"),
        ("me@example.org", "me@example.org"),
    ] {
        assert_eq!(redact(text), masked, "{text}");
        assert_eq!(redact(&redact(text)), redact(text), "{text}: masked twice");
    }
}

/// The spellings of a word of the table.
fn spelled(word: &str) -> Vec<String> {
    ["", "_", "-"]
        .map(|joint| word.replace("[_-]?", joint))
        .into_iter()
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect()
}

#[test]
fn every_word_of_the_table_makes_a_key_secret_in_every_form() {
    let words = WORDS.map(|word| (word, "my_"));
    let last = LAST.map(|word| (word, ""));
    for (word, before) in words.into_iter().chain(last) {
        for word in spelled(word) {
            for key in [
                word.clone(),
                word.to_uppercase(),
                format!("{before}{word}"),
                format!("x_{word}"),
            ] {
                for (text, masked) in [
                    (format!("{key}=va,lue"), format!("{key}={MASK}")),
                    (format!("{key}: va,lue"), format!("{key}: {MASK}")),
                    (format!("\"{key}\": \"va,lue\""), format!("\"{key}\": {MASK}")),
                    (format!("run --{key} va,lue x"), format!("run --{key} {MASK} x")),
                    (format!("run --{key}=va,lue x"), format!("run --{key}={MASK} x")),
                    (format!("h?{key}=va,lue&x"), format!("h?{key}={MASK}")),
                ] {
                    let rendered = redact(&text);
                    assert!(rendered.starts_with(&masked), "{text}: {rendered}");
                }
                let mut document = json!({ &key: "value", "list": ["run", format!("--{key}"), "va lue"] });
                redact_value(&mut document);
                assert_eq!(
                    document,
                    json!({ &key: MASK, "list": ["run", format!("--{key}"), MASK] })
                );
                assert!(is_secret(&key, "value"), "{key}");
            }
        }
    }
    for (name, value) in [
        ("volumes", "true"),
        ("author", "me"),
        ("passes", "3"),
        ("signal", "9"),
    ] {
        assert!(!is_secret(name, value), "{name}");
    }
    assert!(is_secret("where", "postgres://me:hunter2@h/d"));
}

/// Tokens of each kind, in the order of the tables.
fn tokens() -> Vec<Vec<String>> {
    const LONG: &str = "0123456789abcdefghijABCDEFGHIJ012345";
    let of = |prefixes: &[&str]| prefixes.iter().map(|prefix| format!("{prefix}{LONG}")).collect();
    let begins = ["AKIA", "ASIA", "AGPA", "AROA", "AIDA"].map(|begin| format!("{begin}IOSFODNN7EXAMPLE"));
    let keys = ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "];
    let middles = [
        "", "live_", "live-", "test_", "test-", "proj_", "proj-", "ant_", "ant-",
    ];
    let services = ["sk", "rk", "pk"].into_iter().flat_map(|service| {
        let joints = ["_", "-"].into_iter();
        joints.flat_map(move |joint| middles.map(|middle| format!("{service}{joint}{middle}{LONG}")))
    });
    vec![
        keys.map(|kind| format!("-----BEGIN {kind}PRIVATE KEY-----\nMIIE\n-----END {kind}PRIVATE KEY-----"))
            .to_vec(),
        of(&["ghp_", "gho_", "ghu_", "ghs_", "ghr_"]),
        of(&["github_pat_"]),
        of(&["glpat-"]),
        of(&["xoxa-", "xoxb-", "xoxe-", "xoxp-", "xoxr-", "xoxs-"]),
        of(&["npm_"]),
        of(&["pypi-"]),
        of(&["AIza"]),
        begins.to_vec(),
        services.collect(),
        vec![
            format!("eyJ{LONG}.eyJ{LONG}.{LONG}"),
            format!("eyJ{LONG}.eyJ{LONG}"),
        ],
    ]
}

#[test]
fn every_kind_of_token_of_the_tables_is_masked_wherever_it_stands() {
    let patterns = TOKENS.iter().chain(&WORD_TOKENS);
    let tokens = tokens();
    assert_eq!(patterns.clone().count(), tokens.len());
    for (known, tokens) in patterns.zip(tokens) {
        for token in tokens {
            assert!(pattern(&format!("^(?s:{known})$")).is_match(&token), "{token}");
            for (before, after) in [
                ("", ""),
                ("said ", " then"),
                ("`", "`"),
                ("(", ")"),
                ("a=%3D", "&b"),
            ] {
                let rendered = redact(&format!("{before}{token}{after}"));
                assert!(rendered.contains(MASK), "{rendered}");
                // Nothing of it is left, not even where another rule had a part.
                let left = token
                    .as_bytes()
                    .windows(8)
                    .any(|part| rendered.as_bytes().windows(8).any(|rendered| rendered == part));
                assert!(!left, "{rendered}");
            }
            assert!(is_secret("name", &token), "{token}");
        }
    }
}

#[test]
fn of_a_long_text_as_much_is_told_as_of_one_that_just_fits() {
    let text = "a b ".repeat(LONGEST);
    assert!(rendered(&text).starts_with(&text[..LONGEST]));
}

#[test]
fn a_secret_at_the_cut_of_a_long_text_is_not_told_in_part() {
    let lines: Vec<String> = (0_u32..48).map(|line| format!("MIIE{line:060}\n")).collect();
    let body = lines.concat();
    let key = format!("-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----");
    know("at-the-cut-of-a-long-text");
    let secrets = [
        ("", "at-the-cut-of-a-long-text"),
        ("PASSWORD=", "correct-horse-battery"),
        ("", "ghp_0123456789abcdefghijABCDEFGHIJ012345"),
        ("postgres://", "me:correct-horse-battery"),
        ("", &key),
    ];
    for (before, secret) in secrets {
        let parts: Vec<&[u8]> = secret.as_bytes().windows(8).collect();
        let length = before.len() + secret.len();
        for cut in [LONGEST, LONGEST + MARGIN] {
            for at in (cut - length - 2..cut + 2).step_by(1 + length / 12) {
                let after = "y".repeat(2 * LONGEST);
                let rendered = rendered(&format!("{} {before}{secret}@host {after}", "x".repeat(at)));
                let is_told = rendered
                    .as_bytes()
                    .windows(8)
                    .any(|rendered| parts.contains(&rendered));
                assert!(
                    !is_told,
                    "{at}: {}",
                    &rendered[rendered.len().saturating_sub(200)..]
                );
                assert!(rendered.len() <= LONGEST + 100, "{}", rendered.len());
            }
        }
    }
}

#[test]
fn every_program_of_the_table_has_its_secret_masked() {
    let samples = [
        "redis-cli -h h",
        "mysqldump -u me",
        "mongosh h",
        "docker login -u me",
        "sshpass",
        "cqlsh h",
        "7za x a.7z",
        "unzip",
        "sqlcmd -S h",
        "mosquitto_pub -t x",
        "ldapsearch -x",
        "openssl enc",
        "curl h",
    ];
    for ((program, option), sample) in PROGRAMS.iter().zip(samples) {
        assert!(
            pattern(program).is_match(sample),
            "{sample} is a sample of {program}"
        );
        for before in ["", "/usr/bin/", "ended `"] {
            let text = format!("{before}{sample} {option} hunter");
            assert_eq!(redact(&text), format!("{before}{sample} {option} {MASK}"));
        }
        assert_eq!(
            redact(&format!("{sample} {option}hunter next")),
            format!("{sample} {option}{MASK} next")
        );
    }
    let mut line = json!(["redis-cli", "-h", "h", "-a", "hunter", "ping"]);
    redact_value(&mut line);
    assert_eq!(line, json!(["redis-cli", "-h", "h", "-a", MASK, "ping"]));
    let mut line = json!(["curl", "-u", "me:hunter", "http://h/"]);
    redact_value(&mut line);
    assert_eq!(line, json!(["curl", "-u", format!("me:{MASK}"), "http://h/"]));
}

#[test]
fn what_the_environment_file_keeps_secret_is_masked_wherever_it_turns_up() {
    learn(
        "# no secret\nNODE_ENV=development\nPORT=3000\nexport ZZ_PASSWORD=\"zz hunter two\" # why\nZZ_URL=postgres://u:zz-in-url@h/d\n\
         ZZ_OTHER=zz0123456789abcdefghij\nZZ_PATH=data/zz/analytics.db\nZZ_PIN_SECRET=1\n  ZZ_TOKEN = zz-spaced # comment\nnonsense",
    );
    for (text, masked) in [
        ("it is zz hunter two, really", "it is [redacted], really"),
        ("zz-in-url", "[redacted]"),
        ("<zz0123456789abcdefghij>", "<[redacted]>"),
        ("zz-spaced", "[redacted]"),
        (
            "development on 3000 in data/zz/analytics.db, 1",
            "development on 3000 in data/zz/analytics.db, 1",
        ),
    ] {
        assert_eq!(redact(text), masked);
    }
}

#[test]
fn documents_are_masked_by_their_keys_and_their_texts() {
    let mut value = json!({
        "params": { "password": "hunter2", "pin_token": 1234, "name": "x", "secret": null },
        "list": ["PASSWORD=hunter2", 1], "passed": true, "stories": ["1.3"],
    });
    redact_value(&mut value);
    let masked = json!({
        "params": { "password": MASK, "pin_token": MASK, "name": "x", "secret": null },
        "list": ["PASSWORD=[redacted]", 1], "passed": true, "stories": ["1.3"],
    });
    assert_eq!(value, masked);
}

#[test]
fn in_a_list_of_arguments_what_follows_a_secret_option_is_masked() {
    let mut arguments = json!(["psql", "--password", "hunter2", "-d", "db", 5]);
    redact_value(&mut arguments);
    assert_eq!(arguments, json!(["psql", "--password", MASK, "-d", "db", 5]));
}
