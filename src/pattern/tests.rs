use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::{Name, Pattern, Rule, base, is_pattern};

fn matches(pattern: &str, path: impl AsRef<Path>) -> bool {
    Pattern::parse(pattern).unwrap().matches(path.as_ref())
}

#[test]
fn each_sign_of_the_language_matches_what_it_says() {
    for (pattern, yes, no) in [
        ("*.txt", &["a.txt", ".txt", ".a.txt"][..], &["a/b.txt", "txt"][..]),
        ("a?c", &["abc", "aéc", "a.c"], &["ac", "a/c", "abbc"]),
        (
            "data[!0-9]*",
            &["data-x"],
            &["data", "data1", "data/customers.csv"],
        ),
        ("a[^b]c", &["axc"], &["abc", "a/c"]),
        ("a[!b]", &["a]", "a-"], &["ab", "a"]),
        ("[]a]x", &["]x", "ax"], &["bx"]),
        ("[a-]x", &["-x", "ax"], &["bx"]),
        ("[+-9]", &["0", "+"], &["/", "a"]),
        ("**/x", &["x", "a/x", "a/b/x"], &["ax", "x/a"]),
        ("a/**", &["a/b", "a/b/c", "a/.b"], &["a", "b/a"]),
        ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["a/xb", "ab"]),
        ("**", &["a", "a/b"], &[]),
        ("secret{,s}.txt", &["secret.txt", "secrets.txt"], &["secretx.txt"]),
        ("{a,b/c}/d", &["a/d", "b/c/d"], &["b/d", "a/c/d"]),
        ("{a,{b,}c}d", &["ad", "bcd", "cd"], &["bd", "d"]),
        ("[{]a,b[}]", &["{a,b}"], &["a", "b"]),
        ("{a[,]b,c}", &["a,b", "c"], &["a"]),
        (r"\*\{a\}", &["*{a}"], &["xa"]),
        (r"\[id\].js", &["[id].js"], &["i.js"]),
        ("./a//b/", &["a/b"], &["a"]),
        ("/srv/*", &["/srv/a"], &["srv/a"]),
    ] {
        for path in yes {
            assert!(matches(pattern, path), "`{pattern}` does not match `{path}`");
        }
        for path in no {
            assert!(!matches(pattern, path), "`{pattern}` matches `{path}`");
        }
    }
}

#[test]
fn no_class_and_no_wildcard_matches_a_slash() {
    for pattern in [
        "a[!b]c",
        "a[^b]c",
        "a[!-~]c",
        "a[+-9]c",
        "a?c",
        "a*c",
        "a{[!b],?}c",
    ] {
        assert!(!matches(pattern, "a/c"), "`{pattern}`");
        assert!(
            !Rule::parse(pattern).unwrap().covers(Path::new("a/c"), false),
            "`{pattern}`"
        );
    }
}

#[test]
fn a_byte_that_is_no_character_is_matched_and_can_be_spelled() {
    let path = Path::new(OsStr::from_bytes(b"d\xff/a.txt"));
    for pattern in [
        "**/*.txt",
        "d?/a.txt",
        "d[!x]/a.txt",
        "d\0ff/a.txt",
        "d\\\0ff/a.txt",
        "*/*",
    ] {
        assert!(matches(pattern, path), "{pattern:?}");
    }
    assert!(!matches("d\0fe/a.txt", path));
}

#[test]
fn what_cannot_be_understood_is_an_error_with_its_place() {
    for (pattern, what, place) in [
        ("a{b", "the `{` is not closed", 2),
        ("ab}", "no `{` stands before the `}`", 3),
        ("x[a", "the `[` is not closed", 2),
        ("x[]", "the `[` is not closed", 2),
        ("x[!]", "the `[` is not closed", 2),
        ("x[z-a]", "the range ends before it begins", 3),
        ("[[:alpha:]]", "named classes", 2),
        ("[a/b]", "a class stays within one name", 3),
        ("a\\", "nothing follows the `\\`", 2),
        ("a**", "`**` stands between slashes alone", 3),
        ("a/../b", "`..` has no meaning", 3),
        ("a\0b", "a NUL stands in it", 2),
        ("[\0ff]", "a NUL stands in it", 2),
        ("a\\\0b", "a NUL stands in it", 2),
        ("{,a}", "names nothing", 1),
        ("{,a}/b", "begins with this slash", 5),
    ] {
        let error = Pattern::parse(pattern).unwrap_err();
        assert!(error.message().contains(what), "{pattern:?}: {error}");
        assert!(
            error.message().ends_with(&format!("at character {place}")),
            "{pattern:?}: {error}"
        );
        assert!(Rule::parse(pattern).is_err(), "a rule {pattern:?} is taken");
    }
    assert!(Pattern::parse("").is_err());
    assert!(Pattern::parse(&"{a,b}".repeat(11)).is_err());
}

#[test]
fn a_rule_covers_what_it_names_and_all_below() {
    for (rule, yes, no) in [
        (
            "secret{,s}.txt",
            &["secret.txt", "secrets.txt", "a/secret.txt"][..],
            &["secret"][..],
        ),
        ("dir/**", &["dir", "dir/a", "dir/a/b"], &["a/dir", "dirs"]),
        ("dir/", &["dir", "dir/a", "a/dir"], &["dirs"]),
        ("*.key", &["a.key", "x/y/a.key", "a.key/b"], &["akey"]),
        ("**/.env*", &[".env", "a/.env.local", "/srv/.env"], &["env"]),
        (
            "config/*.yaml",
            &["config/a.yaml"],
            &["config", "b/config/a.yaml"],
        ),
        ("data/*", &["data/a", "data/a/b"], &["data"]),
        ("/srv/x/**", &["/srv/x", "/srv/x/a"], &["srv/x/a", "/srv"]),
        ("{a/b,*.pem}", &["a/b/c", "x/k.pem", "/srv/k.pem"], &["x/a/b"]),
        ("**", &["a", "a/b", "/srv"], &[]),
    ] {
        let read = Rule::parse(rule).unwrap();
        for path in yes {
            assert!(
                read.covers(Path::new(path), false),
                "`{rule}` does not cover `{path}`"
            );
        }
        for path in no {
            assert!(!read.covers(Path::new(path), false), "`{rule}` covers `{path}`");
        }
    }
    let rule = Rule::parse("Keys/[a-c]*.PEM").unwrap();
    assert!(rule.covers(Path::new("kEYS/Bx.pem"), true));
    assert!(!rule.covers(Path::new("kEYS/Bx.pem"), false));
}

#[test]
fn the_plain_beginning_of_a_pattern_is_known() {
    for (pattern, plain) in [
        (".git/**", &[".git"][..]),
        ("a/b/*.key", &["a/b"]),
        ("**/.env*", &[]),
        ("secrets", &["secrets"]),
        ("{a,b}/c", &["a/c", "b/c"]),
        (r"a\*/b", &["a*/b"]),
        ("/srv/x/*", &["/srv/x"]),
    ] {
        assert_eq!(Rule::parse(pattern).unwrap().plain_parts(), plain, "{pattern}");
    }
    for (pattern, above) in [
        ("a/b/*.js", "a/b"),
        ("a/b", "a"),
        ("*.js", ""),
        ("a/{b/c,d}", "a"),
        ("/x*", "/"),
    ] {
        assert_eq!(base(pattern), above);
    }
    assert!(is_pattern(r"a\[b") && !is_pattern("a/b.c-d (e)"));
    assert_eq!(Pattern::parse("a/{b/c,d}").unwrap().depth(), Some(3));
    assert_eq!(Pattern::parse("a/**/d").unwrap().depth(), None);
}

#[test]
fn a_pattern_made_to_be_slow_is_not() {
    let pattern = Pattern::parse(&format!("{}b", "*a".repeat(200))).unwrap();
    assert!(!pattern.matches(Path::new(&"a".repeat(4000))));
    let pattern = Pattern::parse(&format!("{}b", "**/a/".repeat(200))).unwrap();
    assert!(!pattern.matches(Path::new(&"a/".repeat(2000))));
}

#[test]
fn a_name_is_no_path() {
    let name = Name::parse("api-{a,b}/*").unwrap();
    assert!(name.matches("api-a/x/y") && !name.matches("api-c/x"));
    assert!(Name::parse("a[").is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in r"[a-c*?\[\]{},!^\\/.\-\x00]{0,24}", path in "[a-c/.\\-]{0,12}") {
        if let Ok(pattern) = Pattern::parse(&text) {
            let _ = pattern.matches(Path::new(&path));
        }
        if let Ok(rule) = Rule::parse(&text) {
            // What a pattern matches, its rule refuses.
            if Pattern::parse(&text).unwrap().matches(Path::new(&path)) {
                assert!(rule.covers(Path::new(&path), false), "{text:?} {path:?}");
            }
        }
    }
}
