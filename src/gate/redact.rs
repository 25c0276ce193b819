//! Secrets never reach audit, report, plan, alert or terminal: credentials in URLs, values of password-like keys.

use std::sync::LazyLock;

use regex::Regex;

/// What stands in the place of a secret.
pub const MASK: &str = "[redacted]";

static URL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s:@]*:[^/\s@]+@").expect("the pattern is constant and valid")
});

static KEYED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?i)([\w.-]*(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)[\w.-]*["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;&"']+)"#,
    )
    .expect("the pattern is constant and valid")
});

/// The text without secrets.
#[must_use]
pub fn redact(text: &str) -> String {
    let text = URL.replace_all(text, format!("${{1}}{MASK}@"));
    KEYED.replace_all(&text, format!("${{1}}{MASK}")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_the_rest_stays() {
        for (text, masked) in [
            ("postgres://user:hunter2@host/db", "postgres://[redacted]@host/db"),
            ("PASSWORD=hunter2 next", "PASSWORD=[redacted] next"),
            (
                "{\"api_key\": \"abc\", \"x\": 1}",
                "{\"api_key\": [redacted], \"x\": 1}",
            ),
            ("http://localhost:3001/health", "http://localhost:3001/health"),
            ("move `data/duckdb` into backup", "move `data/duckdb` into backup"),
        ] {
            assert_eq!(redact(text), masked);
        }
    }
}
