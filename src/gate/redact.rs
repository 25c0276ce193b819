//! Secrets never reach audit, report, plan, alert or terminal. What a secret is, is told by its form (credentials in
//! URLs, tokens of well-known services), by the key beside it (`password`, `token`, ...), and by the environment file:
//! what stands there under such a key, or looks like a token, is masked wherever it turns up.

use std::borrow::Cow;
use std::sync::{LazyLock, PoisonError, RwLock};

use regex::{Captures, Regex};
use serde_json::Value;

/// What stands in the place of a secret.
pub const MASK: &str = "[redacted]";

/// The shortest value of the environment file that is masked by itself: shorter ones turn up everywhere.
const SHORTEST: usize = 5;

/// The words that make a key secret.
const KEY: &str = r"(?:password|passwd|passphrase|passcode|pwd|secret|token|api[_-]?key|access[_-]?key|account[_-]?key|private[_-]?key|signing[_-]?key|encryption[_-]?key|auth[_-]?key|credential|connection[_-]?string|signature)";

/// What the name of a key is made of. ASCII alone: a `\\w` of all scripts takes ten times as long to compile as the rest
/// of a pattern, in every command.
const NAME: &str = "[0-9A-Za-z_.-]";

/// `user:password@` in a URL; a long name without a password is a token.
static URL: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)(?-u:\b)([a-z][a-z0-9+.-]*://)(?:[^/\s:@]*:[^/\s]+|[^/\s:@]{16,})@"));

/// `key=value` and `key: value`, also in JSON, and in JSON within JSON.
static KEYED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r#"(?i)((?:{NAME}*{KEY}{NAME}*|(?:(?-u:\b)|{NAME}*[_.-])pass)\\*["']?\s*(?:=>|[=:])\s*)(\[redacted\]|\\+"[^"]*"|"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s;&"']+)"#
    ))
});

/// `--password value`.
static FLAG: LazyLock<Regex> = LazyLock::new(|| pattern(&format!(r"(?i)(\B--?{NAME}*{KEY}\s+)([^\s-]\S*)")));

/// `Authorization: Basic value`, `Bearer value`.
static BEARER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?i)((?-u:\b)authorization\\*["']?\s*[:=]\s*\\*["']?|(?-u:\b)bearer\s+)((?:[a-z]+\s+)?[A-Za-z0-9._~+/=:-]{6,})"#,
    )
});

/// Tokens that are known by their form: private keys; GitHub, GitLab, Slack, npm, PyPI, Google, wherever they begin; AWS,
/// Stripe and others, JSON Web Tokens where a word begins, or after a character that a URL encodes.
static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[0-9A-Za-z_]{20,}|glpat-[0-9A-Za-z_-]{16,}|xox[abeprs]-[0-9A-Za-z_-]{10,}|npm_[A-Za-z0-9]{30,}|pypi-[0-9A-Za-z_-]{30,}|AIza[0-9A-Za-z_-]{30,}|(?:(?-u:\b)|%[0-9A-Fa-f]{2})(?:(?:AKIA|ASIA|AGPA|AROA|AIDA)[A-Z0-9]{16}|(?:sk|rk|pk)[-_](?:live[-_]|test[-_]|proj[-_]|ant[-_])?[A-Za-z0-9_-]{20,}|eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}(?:\.[0-9A-Za-z_-]*)?)",
    )
});

static SECRET_KEY: LazyLock<Regex> = LazyLock::new(|| pattern(&format!(r"(?i){KEY}|(?:^|[_.-])pass$")));

/// Values of the environment file, the longest first.
static KNOWN: RwLock<Vec<String>> = RwLock::new(Vec::new());

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is constant and valid")
}

/// The text without secrets.
#[must_use]
pub fn redact(text: &str) -> String {
    let mut text = Cow::Borrowed(text);
    for known in KNOWN.read().unwrap_or_else(PoisonError::into_inner).iter() {
        if text.contains(known.as_str()) {
            text = Cow::Owned(text.replace(known.as_str(), MASK));
        }
    }
    let masked = |found: &Captures<'_>| format!("{}{MASK}", found.get(1).map_or("", |kept| kept.as_str()));
    let text = TOKEN.replace_all(&text, MASK);
    let text = URL.replace_all(&text, format!("${{1}}{MASK}@"));
    let text = BEARER.replace_all(&text, masked);
    let text = FLAG.replace_all(&text, masked);
    KEYED.replace_all(&text, masked).into_owned()
}

/// The longest text that is told as a whole, in bytes.
const LONGEST: usize = 8 << 10;

/// Longer than any secret that is known, in bytes.
const MARGIN: usize = 4 << 10;

/// What a script or the world says, as it may be told: without secrets, and cut where it is too long. What is cut is named
/// by its digest, so that two long texts with one beginning stay two.
#[must_use]
pub fn told(text: &str) -> String {
    if text.len() <= LONGEST {
        return redact(text);
    }
    // The end of what is looked at may be the beginning of a secret: it is not told.
    let seen = redact(
        text.get(..text.floor_char_boundary(LONGEST + MARGIN))
            .unwrap_or_default(),
    );
    let end = seen.floor_char_boundary(seen.len().saturating_sub(MARGIN).min(LONGEST));
    let digest = blake3::hash(text.as_bytes()).to_hex();
    format!(
        "{}... ({} bytes in all, {})",
        seen.get(..end).unwrap_or_default(),
        text.len(),
        digest.get(..8).unwrap_or_default()
    )
}

/// Masks all secrets in a document: in its texts, and whatever stands under a secret key.
pub fn redact_value(value: &mut Value) {
    match value {
        Value::String(text) => *text = redact(text),
        Value::Array(values) => {
            let words: Vec<Option<String>> = values
                .iter()
                .map(|value| value.as_str().map(str::to_owned))
                .collect();
            values.iter_mut().for_each(redact_value);
            // In a list of arguments a secret can stand behind the option that it belongs to.
            for (pair, value) in words.windows(2).zip(values.iter_mut().skip(1)) {
                if let [Some(option), Some(_)] = pair
                    && option.starts_with('-')
                    && redact(&format!("{option} x")) == format!("{option} {MASK}")
                {
                    *value = Value::from(MASK);
                }
            }
        }
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                if SECRET_KEY.is_match(key) && (value.is_string() || value.is_number()) {
                    *value = Value::from(MASK);
                } else {
                    redact_value(value);
                }
            }
        }
        _ => {}
    }
}

/// Learns the secrets of an environment file.
pub fn learn(environment: &str) {
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    for line in environment.lines() {
        let line = line.trim_start();
        let Some((key, value)) = line.strip_prefix("export ").unwrap_or(line).split_once('=') else {
            continue;
        };
        let value = value.trim();
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''));
        let value = match quote {
            Some(quote) => value
                .get(1..)
                .and_then(|rest| rest.split(quote).next())
                .unwrap_or_default(),
            None => value.split(" #").next().unwrap_or_default().trim_end(),
        };
        let whole = SECRET_KEY.is_match(key.trim()) || looks_like_a_token(value);
        for secret in whole.then_some(value).into_iter().chain(password_of(value)) {
            if secret.len() >= SHORTEST && !known.iter().any(|other| other == secret) {
                known.push(secret.to_owned());
            }
        }
    }
    known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
}

/// Masks one secret from now on, as a whole; of an address the path too, which may turn up without its host.
pub fn know(secret: &str) {
    const PATH: usize = 12;
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    let path = secret
        .split_once("://")
        .and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)))
        .filter(|path| path.len() >= PATH);
    let long = Some(secret).filter(|secret| secret.len() >= SHORTEST);
    for secret in long.into_iter().chain(path) {
        if !known.iter().any(|other| other == secret) {
            known.push(secret.to_owned());
        }
    }
    known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
}

/// Letters and digits without a break, longer than words are.
fn looks_like_a_token(value: &str) -> bool {
    value.len() >= 20
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'='))
        && value.bytes().any(|byte| byte.is_ascii_digit())
        && value.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// The password in a URL, which may turn up without it.
fn password_of(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("://")?;
    let (user, _) = rest.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password)
}

#[cfg(test)]
mod tests {
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
            // What is no secret stays.
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
}
