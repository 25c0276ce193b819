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

/// Words that make a key secret wherever they stand in it, as patterns.
const WORDS: [&str; 17] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "secret",
    "token",
    "api[_-]?key",
    "access[_-]?key",
    "account[_-]?key",
    "private[_-]?key",
    "signing[_-]?key",
    "encryption[_-]?key",
    "auth[_-]?key",
    "credential",
    "connection[_-]?string",
    "signature",
];

/// Words that make a key secret where they are its last part: inside of others they mean nothing.
const LAST: [&str; 7] = ["pass", "pw", "sig", "auth", "cookie", "requirepass", "masterauth"];

/// Programs that take a secret behind a short option, as patterns. The secret stands behind a space, or at once.
const PROGRAMS: [(&str, &str); 13] = [
    ("(?:redis|valkey|keydb)-(?:cli|benchmark)", "-a"),
    ("(?:mysql|mariadb)[a-z-]*", "-p"),
    ("mongo[a-z]*", "-p"),
    ("(?:docker|podman|nerdctl|helm registry|oras) login", "-p"),
    ("sshpass", "-p"),
    ("(?:cqlsh|influx)", "-p"),
    ("7z[ar]?", "-p"),
    ("(?:un)?zip", "-P"),
    ("(?:sqlcmd|bcp|tsql)", "-P"),
    ("mosquitto_[a-z]+", "-P"),
    ("ldap[a-z]+", "-w"),
    ("openssl", "-k"),
    ("curl", "-b"),
];

/// What the name of a key is made of. ASCII alone: a `\\w` of all scripts takes ten times as long to compile as the rest
/// of a pattern, in every command.
const NAME: &str = "[0-9A-Za-z_.-]";

/// `user:password@` in a URL; a long name without a password is a token.
static URL: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)(?-u:\b)([a-z][a-z0-9+.-]*://)(?:[^/\s:@]*:[^/\s]+|[^/\s:@]{16,})@"));

/// `key=value` and `key: value`, also in JSON, and in JSON within JSON.
static KEYED: LazyLock<Regex> = LazyLock::new(|| {
    let (words, last) = (WORDS.join("|"), LAST.join("|"));
    pattern(&format!(
        r#"(?i)((?:{NAME}*(?:{words}){NAME}*|(?:(?-u:\b)|{NAME}*[_.-])(?:{last}))\\*["']?\s*(?:=>|[=:])\s*)(\[redacted\]|\\+"[^"]*"|"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s;&"']+)"#
    ))
});

/// `--password value`.
static FLAG: LazyLock<Regex> = LazyLock::new(|| {
    let (words, last) = (WORDS.join("|"), LAST.join("|"));
    pattern(&format!(
        r"(?i)(\B--?(?:{NAME}*(?:{words})|(?:{NAME}*[_.-])?(?:{last}))\s+)([^\s-]\S*)"
    ))
});

/// `-u name:value` and its like.
static USER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#"(\B-(?:[uUaA]|-?(?:proxy-)?user|-auth|-login)[=\s]\s*["']?([^\s:"'/]+):)([^\s"']+)"#)
});

/// `-U name%value`.
static PERCENT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"(\B-(?:U|-user)[=\s]\s*["']?[^\s%"'/]+%)([^\s"']+)"#));

/// Known programs with their short options.
static PROGRAM: LazyLock<Regex> = LazyLock::new(|| {
    let known: Vec<String> = PROGRAMS
        .iter()
        .map(|(program, option)| format!(r"{program}\s(?:[^\n;|&]*?\s)?{option}"))
        .collect();
    pattern(&format!(
        r#"((?:^|[\s/"'`])(?:{})\s*)('[^']*'?|"[^"]*"?|[^\s"'`]+)"#,
        known.join("|")
    ))
});

/// `-a value`, whatever the program, where the value is letters and digits mixed.
static AUTHENTICATE: LazyLock<Regex> = LazyLock::new(|| pattern(r#"(\B-a\s+)([^\s/:"'`-][^\s/:"'`]{3,})"#));

/// `Cookie: name=value; name=value`.
static COOKIE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"(?i)((?-u:\b)(?:set-)?cookie\s*:\s*)([^\r\n"']+)"#));

/// `pass:value`, as openssl takes it.
static PASSED: LazyLock<Regex> = LazyLock::new(|| pattern(r"(\B-pass(?:in|out)?\s+pass:)(\S+)"));

/// `Authorization: Basic value`, `Bearer value`.
static BEARER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?i)((?-u:\b)authorization\\*["']?\s*[:=]\s*\\*["']?|(?-u:\b)bearer\s+)((?:[a-z]+\s+)?[A-Za-z0-9._~+/=:-]{6,})"#,
    )
});

/// Tokens that are known by their form wherever they begin, as patterns: private keys; GitHub, GitLab, Slack, npm, PyPI,
/// Google.
const TOKENS: [&str; 8] = [
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
    r"gh[pousr]_[A-Za-z0-9]{20,}",
    r"github_pat_[0-9A-Za-z_]{20,}",
    r"glpat-[0-9A-Za-z_-]{16,}",
    r"xox[abeprs]-[0-9A-Za-z_-]{10,}",
    r"npm_[A-Za-z0-9]{30,}",
    r"pypi-[0-9A-Za-z_-]{30,}",
    r"AIza[0-9A-Za-z_-]{30,}",
];

/// Those that are known where a word begins, or after a character that a URL encodes: AWS, Stripe and others, JSON Web
/// Tokens.
const WORD_TOKENS: [&str; 3] = [
    r"(?:AKIA|ASIA|AGPA|AROA|AIDA)[A-Z0-9]{16}",
    r"(?:sk|rk|pk)[-_](?:live[-_]|test[-_]|proj[-_]|ant[-_])?[A-Za-z0-9_-]{20,}",
    r"eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}(?:\.[0-9A-Za-z_-]*)?",
];

static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    let (anywhere, of_words) = (TOKENS.join("|"), WORD_TOKENS.join("|"));
    pattern(&format!(
        r"(?s){anywhere}|(?:(?-u:\b)|%[0-9A-Fa-f]{{2}})(?:{of_words})"
    ))
});

static SECRET_KEY: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r"(?i){}|(?:^|[_.-])(?:{})$",
        WORDS.join("|"),
        LAST.join("|")
    ))
});

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
    let text = COOKIE.replace_all(&text, masked);
    let text = options(text);
    KEYED.replace_all(&text, masked).into_owned()
}

/// The text without what options of command lines hold.
fn options(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains('-') {
        return text;
    }
    let kept = |found: &Captures<'_>, number: usize| -> String {
        found.get(number).map_or("", |kept| kept.as_str()).to_owned()
    };
    let masked = |found: &Captures<'_>| format!("{}{MASK}", kept(found, 1));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mut text = text.into_owned();
    for option in [&FLAG, &PROGRAM, &PERCENT, &PASSED] {
        text = option.replace_all(&text, masked).into_owned();
    }
    let text = USER.replace_all(&text, |found: &Captures<'_>| {
        let (user, value) = (kept(found, 2), kept(found, 3));
        // An address, numbers of a user and a group, a host and a port.
        let is_host = kept(found, 1).to_ascii_lowercase().starts_with("-a");
        if value.starts_with("//") || (is_number(&value) && (is_number(&user) || is_host)) {
            return kept(found, 0);
        }
        masked(found)
    });
    let text = AUTHENTICATE.replace_all(&text, |found: &Captures<'_>| {
        let value = kept(found, 2);
        let has = |is: fn(&u8) -> bool| value.as_bytes().iter().any(is);
        if has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) {
            masked(found)
        } else {
            kept(found, 0)
        }
    });
    Cow::Owned(text.into_owned())
}

/// Whether the name of a parameter or its value says that it is a secret.
#[must_use]
pub fn is_secret(name: &str, value: &str) -> bool {
    SECRET_KEY.is_match(name) || redact(value) != value
}

/// The longest text that is told as a whole, in bytes.
const LONGEST: usize = 8 << 10;

/// Longer than any secret that is known, in bytes.
const MARGIN: usize = 4 << 10;

/// What a script or the world says, as it may be told: without secrets, and cut where it is too long. What is cut is named
/// by its digest, so that two long texts with one beginning stay two.
#[must_use]
pub fn rendered(text: &str) -> String {
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
            for (at, value) in values.iter_mut().enumerate().skip(1) {
                let line = words.get(at.saturating_sub(ARGUMENTS)..=at).unwrap_or_default();
                if let Some(masked) = argument(line) {
                    *value = Value::from(masked);
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

/// How many arguments before one can say what it is.
const ARGUMENTS: usize = 16;

/// The last of these arguments without the secret that it is because of those before; `None` where they say nothing.
fn argument(line: &[Option<String>]) -> Option<String> {
    let (last, before) = line.split_last()?;
    let value = last.as_deref()?;
    let option = before
        .last()?
        .as_deref()
        .filter(|option| option.starts_with('-'))?;
    let before: Vec<&str> = before
        .iter()
        .map(|word| word.as_deref().unwrap_or_default())
        .collect();
    let rendered = redact(&format!("{} {value}", before.join(" ")));
    let end = rendered.rfind(option).map(|at| at + option.len() + 1)?;
    let rendered = rendered.get(end..)?;
    if rendered.starts_with(MASK) {
        return Some(MASK.to_owned());
    }
    (rendered != redact(value)).then(|| rendered.to_owned())
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
mod tests;
