//! Addresses (URLs) of `http` and `https`: the one reader for what is configured, asked for and redirected to.
//!
//! Lists of addresses decide over what is read here, so an address is refused where the reading would repair it: what is
//! checked is what was written, and what is asked.

use std::net::Ipv6Addr;

use url::{Position, Url};

use crate::base::error::{Error, Result};

/// An address in one form only: scheme and host in lower case, no port where it is the scheme's own, no dots left in the
/// path, no credentials, no fragment. `Display` writes it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// Reads an address. Only the case of scheme and host, the port of the scheme, `.` and `..` in the path, characters of
    /// path and query that have to be percent-encoded, and the fragment may differ from what is asked.
    ///
    /// # Errors
    /// Of kind `Invalid` for what is no `http` or `https` address, or would have to be repaired to be one; without
    /// credentials, and with the repaired form as a hint.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| invalid(text, why);
        check_characters(text)?;
        let mut url = Url::parse(text).map_err(|error| wrong("it can't be read").caused_by(error))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("only `http` and `https` are"));
        }
        // Before an `@`, another host can be made to look like an allowed one.
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("it has credentials"));
        }
        if url.port() == Some(0) {
            return Err(wrong("its port is no port"));
        }
        url.set_fragment(None);
        let address = Self(url);
        if !address.is_spelled_as(text) {
            return Err(wrong("it would be asked as another one than is written")
                .hint(format!("write `{address}` if that is meant")));
        }
        Ok(address)
    }

    /// The address of a host (a name, or an IP address with or without brackets) and a port.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub fn of_host(host: &str, port: u16) -> Result<Self> {
        let host = match host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => host.to_owned(),
        };
        let address = Self::parse(&format!("http://{host}:{port}/"))?;
        if !address.host().eq_ignore_ascii_case(&host) {
            return Err(invalid(&host, "it is no host"));
        }
        Ok(address)
    }

    /// Whether scheme, host and port stand in the text as they are asked, but for case.
    fn is_spelled_as(&self, text: &str) -> bool {
        let front = format!("{}://{}", self.scheme(), self.host());
        let Some((written, rest)) = text.split_at_checked(front.len()) else {
            return false;
        };
        let rest = match rest.strip_prefix(':') {
            Some(rest) => rest.strip_prefix(&self.port().to_string()),
            None => Some(rest),
        };
        written.eq_ignore_ascii_case(&front)
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.0.scheme()
    }

    /// The host: a name, or an IP address (version 6 in brackets).
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The port, also where it is the scheme's own.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// Scheme, host and, where it isn't the scheme's own, port: `http://127.0.0.1:3000`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.0[..Position::BeforePath]
    }

    /// What is sent to the host: path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.0[Position::BeforePath..]
    }

    /// Where a redirect from here leads.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub fn join(&self, location: &str) -> Result<Self> {
        let location = location.trim();
        if location.starts_with("//") {
            return Self::parse(&format!("{}:{location}", self.scheme()));
        }
        if Url::parse(location) != Err(url::ParseError::RelativeUrlWithoutBase) {
            return Self::parse(location);
        }
        check_characters(location)?;
        let joined = self
            .0
            .join(location)
            .map_err(|error| invalid(location, "it can't be read").caused_by(error))?;
        Self::parse(joined.as_str())
    }

    /// Whether a pattern of `policy.http` lists it; one that can't be read lists nothing.
    #[must_use]
    pub fn is_listed_by(&self, pattern: &str) -> bool {
        Listed::parse(pattern).is_ok_and(|listed| {
            (listed.address.scheme(), listed.address.host()) == (self.scheme(), self.host())
                && (listed.any_port || listed.address.port() == self.port())
        })
    }
}

/// A pattern of `policy.http`: an address with the same scheme, host and port, where `*` as its port stands for any. A path
/// in it says nothing.
struct Listed {
    address: Address,
    any_port: bool,
}

impl Listed {
    fn parse(pattern: &str) -> Result<Self> {
        let (address, any_port) = match (Address::parse(pattern), pattern.split_once(":*")) {
            (Ok(address), _) => (address, false),
            (Err(_), Some((front, rest))) if rest.is_empty() || rest.starts_with(['/', '?', '#']) => {
                let address = Address::parse(front).map_err(|error| {
                    let hint = error.hint_text().unwrap_or(EXAMPLE).to_owned();
                    let whole = invalid(pattern, "what stands before `:*` can't be read");
                    whole.hint(hint).caused_by(error)
                })?;
                // What `*` stands behind is scheme and host, and nothing more.
                if !front.eq_ignore_ascii_case(&format!("{}://{}", address.scheme(), address.host())) {
                    return Err(invalid(pattern, "more than scheme and host stands before `:*`"));
                }
                (address, true)
            }
            (Err(error), _) => return Err(error),
        };
        if address.host().contains('*') {
            return Err(invalid(pattern, "`*` stands for a port, and for no host"));
        }
        Ok(Self { address, any_port })
    }
}

/// Whether a pattern of `policy.http` can be read.
///
/// # Errors
/// Of kind `Invalid`, as [`Address::parse`].
pub fn check_pattern(pattern: &str) -> Result<()> {
    match Listed::parse(pattern) {
        Ok(_) => Ok(()),
        Err(error) if error.hint_text() == Some(EXAMPLE) => {
            Err(error
                .hint("name each host, with one port or any: `http://127.0.0.1:3000`, `http://localhost:*`"))
        }
        Err(error) => Err(error),
    }
}

/// What to do about what is no address at all.
const EXAMPLE: &str = "give it as in `http://127.0.0.1:3000/health`";

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Whether no character stands in a text that a reader of addresses would drop, or take for another.
fn check_characters(text: &str) -> Result<()> {
    let is_foreign = |letter: char| letter == '\\' || letter.is_whitespace() || letter.is_control();
    if text.contains(is_foreign) {
        return Err(invalid(text, "it has a character that does not belong in one"));
    }
    Ok(())
}

fn invalid(text: &str, why: &str) -> Error {
    // What stands before the last `@` may be credentials.
    let display = match text.rsplit_once('@') {
        Some((_, after)) => format!("***@{after}"),
        None => text.to_owned(),
    };
    Error::invalid(format!(
        "`{}` is no `http` or `https` address: {why}",
        display.escape_debug()
    ))
    .hint(EXAMPLE)
}

/// The pattern that lists an address: same scheme and host, and the port, where `*` stands for any.
///
/// # Errors
/// [`crate::base::error::Kind::Denied`] where no pattern lists it.
pub fn check_address<'a>(patterns: &'a [String], address: &Address) -> Result<&'a str> {
    match patterns.iter().find(|pattern| address.is_listed_by(pattern)) {
        Some(pattern) => Ok(pattern),
        None => Err(Error::denied(format!(
            "`{}://{}:{}` is not listed",
            address.scheme(),
            address.host(),
            address.port()
        ))
        .hint(format!(
            "list it under policy.http in `{}` if a script may ask it",
            super::CONFIG
        ))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::error::Kind;

    fn address(text: &str) -> Address {
        Address::parse(text).expect(text)
    }

    #[test]
    fn an_address_has_one_form() {
        for (text, expected) in [
            ("HTTP://LocalHost:80", "http://localhost/"),
            ("https://x:443/a/../b", "https://x/b"),
            ("http://x/a/%2E%2e/b/.", "http://x/b/"),
            ("http://[::1]:3000/?q", "http://[::1]:3000/?q"),
            ("http://my_host.:81?a[]={b}#c", "http://my_host.:81/?a[]={b}"),
            ("http://x/\u{fc}", "http://x/%C3%BC"),
        ] {
            assert_eq!(address(text).to_string(), expected);
        }
    }

    /// What a reader of addresses would repair, or take for something else than a person reads.
    #[test]
    fn what_would_have_to_be_repaired_is_refused() {
        for (text, repaired) in [
            // The scheme, and what follows it.
            ("http:/x/", Some("http://x/")),
            ("http:x/", Some("http://x/")),
            ("http:///x", Some("http://x/")),
            ("http:////x//y", Some("http://x//y")),
            ("http:\\\\x\\", None),
            ("http:/\\x/", None),
            ("ht\ttp://x/", None),
            ("//x/", None),
            ("x/", None),
            ("x:80/", None),
            ("", None),
            ("ftp://x/", None),
            ("file:///etc/passwd", None),
            // Characters that are dropped, or taken for others.
            (" http://x/", None),
            ("http://x/ ", None),
            ("http://x/a b", None),
            ("http://x/a\nb", None),
            ("http://x\t.y/", None),
            ("http://x\\.y/", None),
            ("http://x/a\\..\\b", None),
            ("http://x/\u{0}", None),
            ("http://x/\u{a0}", None),
            // Credentials.
            ("http://127.0.0.1:80@y/", None),
            ("http://me:secret@x/", None),
            ("http://secret@x/", None),
            ("http://@x/", Some("http://x/")),
            ("http://:@x/", Some("http://x/")),
            ("http://secret@x@y/", None),
            // No host, no port.
            ("http://", None),
            ("http://:80/", None),
            ("http://?x", None),
            ("http://x:/", Some("http://x/")),
            ("http://x:0/", None),
            ("http://x:081/", Some("http://x:81/")),
            ("http://x:65536/", None),
            ("http://x:8a/", None),
            // Other spellings of an IP address.
            ("http://0x7f.1/", Some("http://127.0.0.1/")),
            ("http://0177.0.0.1/", Some("http://127.0.0.1/")),
            ("http://2130706433/", Some("http://127.0.0.1/")),
            ("http://127.1/", Some("http://127.0.0.1/")),
            ("http://127.0.0.1./", Some("http://127.0.0.1/")),
            ("http://127.0.0.01:81/", Some("http://127.0.0.1:81/")),
            ("http://%31%32%37.0.0.1/", Some("http://127.0.0.1/")),
            ("http://\u{ff11}27.0.0.1/", Some("http://127.0.0.1/")),
            ("http://127\u{3002}0.0.1/", Some("http://127.0.0.1/")),
            ("http://127.0.0.256/", None),
            ("http://[0:0:0:0:0:0:0:1]/", Some("http://[::1]/")),
            ("http://[::127.0.0.1]/", Some("http://[::7f00:1]/")),
            ("http://[::1%25lo]/", None),
            ("http://[::1/", None),
            ("http://::1/", None),
            // Names that are mapped.
            (
                "http://b\u{fc}cher.example/",
                Some("http://xn--bcher-kva.example/"),
            ),
            ("http://loc\u{ad}alhost/", Some("http://localhost/")),
            ("http://loc\u{200b}alhost/", Some("http://localhost/")),
            ("http://\u{1d5c5}ocalhost/", Some("http://localhost/")),
            ("http://%6cocalhost/", Some("http://localhost/")),
            ("http://x%2fy/", None),
            ("http://x|y/", None),
        ] {
            let error = Address::parse(text).expect_err(text);
            assert_eq!(error.kind(), Kind::Invalid, "{text}");
            assert!(!error.message().contains("secret"), "{error}");
            let hint = error.hint_text().unwrap_or_default();
            let expected = repaired.map_or_else(
                || "give it as in `http://127.0.0.1:3000/health`".to_owned(),
                |repaired| format!("write `{repaired}` if that is meant"),
            );
            assert_eq!(hint, expected, "{text}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = |text| address(text).origin().to_owned();
        assert_eq!(origin("HTTP://Localhost:80/x?y"), "http://localhost");
        assert_eq!(origin("http://localhost:81/"), "http://localhost:81");
        assert_eq!(origin("https://localhost:80/"), "https://localhost:80");
        assert_eq!(origin("http://localhost.evil/"), "http://localhost.evil");
        assert_eq!(address("https://x").port(), 443);
        assert_eq!(address("http://x:81?y/z").target(), "/?y/z");
    }

    #[test]
    fn a_host_is_a_host_and_nothing_more() {
        assert_eq!(
            Address::of_host("::1", 81).expect("a host").to_string(),
            "http://[::1]:81/"
        );
        assert_eq!(Address::of_host("[::1]", 81).expect("a host").host(), "[::1]");
        assert_eq!(
            Address::of_host("LOCALHOST", 80).expect("a host").to_string(),
            "http://localhost/"
        );
        for host in ["", "x/y", "x#", "x?", "x:1", "me@x", "x y", "127.1", "http://x"] {
            assert!(Address::of_host(host, 80).is_err(), "{host}");
        }
        assert!(Address::of_host("x", 0).is_err());
    }

    #[test]
    fn a_redirect_leads_where_it_says() {
        let base = address("http://x:8080/a/b?c");
        for (location, expected) in [
            ("https://y/z", "https://y/z"),
            ("//y/z", "http://y/z"),
            ("/z", "http://x:8080/z"),
            ("?z", "http://x:8080/a/b?z"),
            ("z#f", "http://x:8080/a/z"),
            ("", "http://x:8080/a/b?c"),
            ("../../../z", "http://x:8080/z"),
            ("/login?next=http://y/", "http://x:8080/login?next=http://y/"),
        ] {
            assert_eq!(
                base.join(location).expect(location).to_string(),
                expected,
                "{location}"
            );
        }
        for location in [
            "javascript:alert(1)",
            "file:///etc/passwd",
            "http://x@y/",
            "\\\\y\\z",
            "/\\y/z",
            "/\t/y/z",
            "///y/z",
            "http:y",
            "//0x7f.1/",
            "//x:99999/",
        ] {
            assert!(base.join(location).is_err(), "{location}");
        }
    }

    #[test]
    fn a_pattern_lists_a_host() {
        let lists = |pattern, text| address(text).is_listed_by(pattern);
        assert!(lists("http://x:*", "http://x:81/y"));
        assert!(lists("HTTP://X:*/", "http://x/"));
        assert!(lists("http://[::1]:*", "http://[::1]:81/"));
        assert!(lists("http://x", "http://x:80/y"));
        assert!(lists("https://x:443/y", "https://x/z"));
        for (pattern, text) in [
            ("http://x:*", "https://x/"),
            ("http://x:*", "http://x.y/"),
            ("http://x:*.y", "http://x/"),
            ("http://x:81:*", "http://x:81/"),
            ("http://x/:*", "http://x:81/"),
            ("http://x", "http://x:81/"),
            ("http://127.1:*", "http://127.0.0.1/"),
            ("http://*:*", "http://x/"),
            ("*", "http://x/"),
            ("", "http://x/"),
        ] {
            assert!(!lists(pattern, text), "{pattern} {text}");
        }
    }

    /// A pattern that could never list anything says so, and what to write.
    #[test]
    fn a_pattern_that_lists_nothing_is_an_error() {
        for pattern in [
            "http://x:*",
            "HTTP://X:*/y",
            "http://[::1]:*",
            "http://x",
            "https://x:8443/y",
        ] {
            assert!(check_pattern(pattern).is_ok(), "{pattern}");
        }
        for pattern in [
            "",
            "*",
            "x",
            "x:80",
            "localhost:*",
            "http://*:*",
            "http://*.x:80",
            "http://x:*.y",
            "http://x:81:*",
            "http://127.1:*",
            "http:/x",
            "ftp://x",
            "http://me:secret@x",
        ] {
            let error = check_pattern(pattern).expect_err(pattern);
            assert_eq!(error.kind(), Kind::Invalid, "{pattern}");
            assert!(
                error.hint_text().is_some() && !error.message().contains("secret"),
                "{error}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_dots_are_left_in_a_path(path in "(/(\\.|\\.\\.|%2e|%2E\\.|[a-z.]{0,3})){0,8}") {
            let clean = address(&format!("http://x{path}"));
            prop_assert!(clean.target().starts_with('/'));
            prop_assert!(clean.target().split('/').all(|segment| {
                !matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
            }), "{} from {}", clean, path);
            prop_assert_eq!(&address(&clean.to_string()), &clean);
        }

        /// What is read is what is asked: written out and read again it is the same, on the host that was written.
        #[test]
        fn what_is_read_is_what_is_asked(text in "(?i)https?:[/\\\\]{0,3}[a-f0-9x.:@%\\[\\]\u{ad}]{0,12}[/?#a-z.% ]{0,6}") {
            if let Ok(read) = Address::parse(&text) {
                prop_assert_eq!(&address(&read.to_string()), &read);
                let lower = text.to_ascii_lowercase();
                prop_assert!(lower.starts_with(&format!("{}://{}", read.scheme(), read.host())), "{} from {}", read, text);
            }
        }
    }
}
