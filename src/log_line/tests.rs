//! What is read of a line, form by form.

use proptest::prelude::*;

use super::*;

/// 2026-11-23T01:30:00.250Z.
const AT: i64 = 1_795_397_400_250;

fn event(line: &str) -> Event<'_> {
    match read(line.as_bytes(), AT) {
        Line::Event(event) => event,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a_line_of_the_security_log_is_an_event() {
    let event = event(
        r#"{"timestamp":"2026-11-23T01:30:00.250Z","level":"ERROR","event":"query_failed","feature":"duckdb_analytics","duration_ms":12.5}"#,
    );
    assert_eq!(event.time(), Some(AT));
    assert_eq!(event.service.as_deref(), Some("duckdb_analytics"));
    assert_eq!((event.is_error(), event.milliseconds), (Some(true), Some(12.5)));
}

#[test]
fn the_service_goes_before_the_feature_whatever_the_order() {
    for line in [
        r#"{"feature":"a","service":"b"}"#,
        r#"{"service":"b","feature":"a"}"#,
    ] {
        assert_eq!(event(line).service.as_deref(), Some("b"), "{line}");
    }
}

#[test]
fn times_of_all_zones_and_forms_are_one_time() {
    for text in [
        r#""2026-11-23T01:30:00.250Z""#,
        r#""2026-11-23T01:30:00.250000Z""#,
        r#""2026-11-23T02:30:00.250+01:00""#,
        r#""2026-11-22T20:30:00.250-05:00""#,
        r#""2026-11-23 01:30:00,250""#,
        r#""2026-11-23T01:30:00.25""#,
        r#""2026-11-23T02:30:00.250+0100""#,
        "1795397400250",
        "1795397400.25",
    ] {
        let line = format!("{{\"time\":{text}}}");
        assert_eq!(event(&line).time(), Some(AT), "{text}");
    }
    for text in [
        "\"yesterday\"",
        "\"2026-13-01T00:00:00.000Z\"",
        "12",
        "null",
        "[1]",
    ] {
        let line = format!("{{\"timestamp\":{text}}}");
        assert_eq!(event(&line).time(), None, "{text}");
    }
}

/// The words of the usual loggers by what they mean.
const WORDS: [(Level, &[&str]); 5] = [
    (
        Level::Debug,
        &["trace", "debug", "verbose", "silly", "TRACE2", "dbug"],
    ),
    (
        Level::Info,
        &[
            "info",
            "information",
            "notice",
            "success",
            "http",
            "INFO4",
            "log",
            "timing",
        ],
    ),
    (Level::Warning, &["warn", "warning", "WARN3", "wrn"]),
    (
        Level::Error,
        &[
            "error", "err", "critical", "crit", "alert", "severe", "ERROR2", "dpanic",
        ],
    ),
    (Level::Fatal, &["fatal", "panic", "emerg", "emergency", "FATAL3"]),
];

#[test]
fn levels_of_all_known_words_are_read_in_any_case_and_colour() {
    for (level, words) in WORDS {
        for word in words {
            for said in [
                word.to_string(),
                word.to_uppercase(),
                format!(" {word} "),
                format!("\\u001b[31m{word}\\u001b[39m"),
            ] {
                let line = format!("{{\"level\":\"{said}\"}}");
                assert_eq!(event(&line).level, Known::Yes(level), "{said}");
            }
        }
    }
}

#[test]
fn levels_that_nobody_knows_are_unknown_and_never_good() {
    for (line, named) in [
        (r#"{"level":"yolo"}"#, "`yolo`"),
        (r#"{"level":"no error"}"#, "`no error`"),
        (r#"{"level":40}"#, "scale"),
        (r#"{"level":7}"#, "scale"),
        (r#"{"level":null}"#, "no level"),
        (r#"{"level":{}}"#, "no level"),
        (r#"{"msg":"hello"}"#, "no level"),
        (r#"{"severityNumber":0}"#, "scale"),
        (r#"{"PRIORITY":"8"}"#, "scale"),
        (r#"{"level":30.5,"v":0}"#, "scale"),
    ] {
        let Known::Unknown(why) = event(line).level else {
            panic!("{line}")
        };
        assert!(why.contains(named), "{line}: {why}");
    }
}

#[test]
fn numeric_levels_are_read_by_the_scale_of_their_writer() {
    use Level::{Debug, Error, Fatal, Info, Warning};
    for (line, steps) in [
        (
            r#"{"PRIORITY":"@"}"#,
            &[
                (0, Fatal),
                (1, Error),
                (3, Error),
                (4, Warning),
                (5, Info),
                (6, Info),
                (7, Debug),
            ][..],
        ),
        (
            r#"{"version":"1.1","short_message":"x","level":@}"#,
            &[(0, Fatal), (3, Error), (4, Warning), (6, Info), (7, Debug)],
        ),
        (
            r#"{"level":@,"time":1795397400250,"msg":"pino"}"#,
            &[
                (10, Debug),
                (29, Debug),
                (30, Info),
                (39, Info),
                (40, Warning),
                (49, Warning),
                (50, Error),
                (59, Error),
                (60, Fatal),
            ],
        ),
        (
            r#"{"name":"a","hostname":"h","pid":1,"level":@,"msg":"bunyan","time":"2026-11-23T01:30:00.250Z","v":0}"#,
            &[(20, Debug), (30, Info), (40, Warning), (50, Error), (60, Fatal)],
        ),
        (
            r#"{"logger":"a","level":@,"message":"python"}"#,
            &[
                (10, Debug),
                (19, Debug),
                (20, Info),
                (29, Info),
                (30, Warning),
                (39, Warning),
                (40, Error),
                (50, Error),
            ],
        ),
        (r#"{"levelno":@}"#, &[(30, Warning), (40, Error)]),
        (r#"{"record":{"level":{"no":@}}}"#, &[(25, Info), (40, Error)]),
        (
            r#"{"severityNumber":@}"#,
            &[
                (1, Debug),
                (8, Debug),
                (9, Info),
                (12, Info),
                (13, Warning),
                (16, Warning),
                (17, Error),
                (20, Error),
                (21, Fatal),
                (24, Fatal),
            ],
        ),
        // Whatever of them it is.
        (
            r#"{"level":@}"#,
            &[(10, Debug), (20, Info), (30, Info), (50, Error), (60, Error)],
        ),
    ] {
        for (number, level) in steps {
            let line = line.replace('@', &number.to_string());
            assert_eq!(event(&line).level, Known::Yes(*level), "{line}");
        }
    }
}

#[test]
fn levels_and_times_inside_of_objects_are_read_and_those_at_the_top_go_before() {
    for (line, level) in [
        (
            r#"{"log.level":"error","@timestamp":"2026-11-23T01:30:00.250Z"}"#,
            Level::Error,
        ),
        (
            r#"{"log":{"level":"error"},"@timestamp":"2026-11-23T01:30:00.250Z"}"#,
            Level::Error,
        ),
        (
            r#"{"data":{"level":"info"},"info":{"level":"error","ts":"2026-11-23T01:30:00.250000Z"}}"#,
            Level::Error,
        ),
        (
            r#"{"text":"x","record":{"level":{"icon":"x","name":"CRITICAL","no":50},"time":{"repr":"2026-11-23 01:30:00.250000+00:00","timestamp":1795397400.25}}}"#,
            Level::Error,
        ),
        (
            r#"{"timeUnixNano":"1795397400250000000","severityText":"odd","severityNumber":21}"#,
            Level::Fatal,
        ),
        (
            r#"{"timeUnixNano":"0","observedTimeUnixNano":"1795397400250000000","severityNumber":9}"#,
            Level::Info,
        ),
        (
            r#"{"__REALTIME_TIMESTAMP":"1795397400250000","PRIORITY":"2"}"#,
            Level::Error,
        ),
        (
            r#"{"created":1795397400.25,"levelname":"WARNING","levelno":30}"#,
            Level::Warning,
        ),
        (
            r#"{"created":"2020-01-01","info":{"level":"error"},"level":"debug","time":1795397400250}"#,
            Level::Debug,
        ),
    ] {
        let event = event(line);
        assert_eq!(
            (event.level.clone(), event.time()),
            (Known::Yes(level), Some(AT)),
            "{line}"
        );
    }
    let ecs = event(r#"{"service":{"name":"shop"},"feature":"other"}"#);
    assert_eq!(ecs.service.as_deref(), Some("shop"));
}

#[test]
fn text_is_read_in_the_forms_of_the_usual_writers() {
    use Level::{Debug, Error, Fatal, Info, Warning};
    for (line, time, level) in [
        (
            "2026-11-23 01:30:00,250 - shop.db - ERROR - no answer",
            Some(250),
            Some(Error),
        ),
        (
            "2026-11-23 01:30:00,250 CRITICAL shop: no error in sight",
            Some(250),
            Some(Error),
        ),
        (
            "2026-11-23 01:30:00.250 | WARNING  | shop:load:12 - slow",
            Some(250),
            Some(Warning),
        ),
        (
            "2026-11-23T01:30:00.250Z [error    ] no answer   [shop] rows=3",
            Some(250),
            Some(Error),
        ),
        (
            "\u{1b}[2m2026-11-23T02:30:00.250+01:00\u{1b}[0m [\u{1b}[32minfo\u{1b}[0m] well",
            Some(250),
            Some(Info),
        ),
        (
            "2026-11-23 01:30:00 +0000 - dagster - ERROR - step failed",
            Some(0),
            Some(Error),
        ),
        (
            "2026/11/23 01:30:00 [emerg] 12#0: no socket",
            Some(0),
            Some(Fatal),
        ),
        (
            "2026-11-23 01:30:00.250 UTC [12] ERROR:  no relation",
            Some(250),
            Some(Error),
        ),
        (
            "[2026-11-23T01:30:00.250Z] error: no answer",
            Some(250),
            Some(Error),
        ),
        (
            "<11>1 2026-11-23T01:30:00.250Z host shop 12 - - no answer",
            Some(250),
            Some(Error),
        ),
        ("<14>Nov 23 01:30:00 host shop[12]: well", Some(0), Some(Info)),
        ("Nov 23 01:30:00 host shop[12]: started", Some(0), None),
        (
            "time=2026-11-23T01:30:00.250Z level=fatal msg=\"an \\\"error\\\" of level=info\"",
            Some(250),
            Some(Fatal),
        ),
        ("12 verbose cli /usr/bin/node", None, Some(Debug)),
        ("13 error code E404", None, Some(Error)),
        ("ERROR:root:no answer", None, Some(Error)),
        (
            "INFO:     127.0.0.1:50000 - \"GET / HTTP/1.1\" 200 OK",
            None,
            Some(Info),
        ),
        ("error: no answer", None, Some(Error)),
        (
            "2026-11-23 01:30:00 there was no error: all is well",
            Some(0),
            None,
        ),
        ("2026-11-23 01:30:00 HTTP server is up", Some(0), None),
        // A time of day is no time: of which day?
        ("\u{1b}[0m01:30:00.250  [error] Database Error", None, None),
    ] {
        let Line::Event(event) = read(line.as_bytes(), AT) else {
            assert_eq!((time, level), (None, None), "{line}");
            continue;
        };
        assert_eq!(event.time(), time.map(|milli: i64| AT - 250 + milli), "{line}");
        let known = match event.level {
            Known::Yes(level) => Some(level),
            Known::Unknown(_) => None,
        };
        assert_eq!(known, level, "{line}");
    }
    for line in [
        "Error: Cannot find module",
        "ValueError: 12",
        "Traceback (most recent call last):",
        "99 bottles",
    ] {
        assert_eq!(read(line.as_bytes(), AT), Line::Broken, "{line}");
    }
}

#[test]
fn a_time_without_a_year_is_the_nearest_one() {
    for (near, expected) in [
        ("2026-12-31T23:59:59Z", "2026-12-31T23:59:00Z"),
        ("2027-01-01T00:00:10Z", "2026-12-31T23:59:00Z"),
        ("2027-09-01T00:00:00Z", "2027-12-31T23:59:00Z"),
    ] {
        let time = |text: &str| {
            chrono::DateTime::parse_from_rfc3339(text)
                .unwrap()
                .timestamp_millis()
        };
        let Line::Event(event) = read(b"<11>Dec 31 23:59:00 host shop: late", time(near)) else {
            panic!("{near}")
        };
        assert_eq!(event.time(), Some(time(expected)), "{near}");
    }
}

#[test]
fn a_stack_goes_on_with_what_was_told_and_other_text_does_not() {
    let mut reader = Reader::default();
    for (line, expected) in [
        ("Traceback (most recent call last):", Line::Broken),
        (
            "2026-11-23 01:30:00 ERROR no answer",
            Line::Event(Event::default()),
        ),
        ("Traceback (most recent call last):", Line::Continued),
        ("  File \"a.py\", line 3", Line::Continued),
        ("", Line::Empty),
        ("\tat shop (/a.js:3:5)", Line::Continued),
        ("ValueError: 12", Line::Continued),
        ("ValueError: 12", Line::Broken),
        ("  File \"a.py\", line 3", Line::Broken),
        (
            "2026-11-23 01:30:00 ERROR no answer",
            Line::Event(Event::default()),
        ),
        ("Segmentation fault", Line::Broken),
        ("{\"level\":\"ERROR\"}", Line::Event(Event::default())),
        ("  at shop (/a.js:3:5)", Line::Broken),
    ] {
        let read = reader.read(line.as_bytes(), AT);
        assert_eq!(
            std::mem::discriminant(&read),
            std::mem::discriminant(&expected),
            "{line}: {read:?}"
        );
    }
}

#[test]
fn whom_an_event_is_about_is_told_apart() {
    let read = event(r#"{"storyId":"1.7","feature":"notebooks","service":"jupyter","level":"ERROR"}"#);
    let names = [&read.story, &read.feature, &read.service].map(|name| name.as_deref());
    assert_eq!(names, [Some("1.7"), Some("notebooks"), Some("jupyter")]);
}

#[test]
fn durations_that_are_none_do_not_count() {
    for (text, expected) in [
        ("12", Some(12.0)),
        ("\"12.5\"", Some(12.5)),
        ("-1", None),
        ("1e300", None),
        ("\"fast\"", None),
        ("null", None),
        ("\"NaN\"", None),
    ] {
        let line = format!("{{\"duration\":{text}}}");
        assert_eq!(event(&line).milliseconds, expected, "{text}");
    }
}

#[test]
fn what_is_no_object_is_broken_and_no_event() {
    for line in ["{", "[]", "42", "plain text", "{\"duration\":NaN}", "{\"a\":1}{"] {
        assert_eq!(read(line.as_bytes(), AT), Line::Broken, "{line}");
    }
    assert_eq!(read(b"  \r", AT), Line::Empty);
}

#[test]
fn a_line_that_is_no_utf_8_still_counts() {
    let line = b"{\"level\":\"ERROR\",\"service\":\"api\",\"message\":\"gr\xfc\xdfe\"}";
    let Line::Event(event) = read(line, AT) else {
        panic!("an event")
    };
    assert_eq!(
        (event.is_error(), event.service.as_deref()),
        (Some(true), Some("api"))
    );
}

proptest! {
    #[test]
    fn the_time_at_the_beginning_is_that_of_the_calendar(seconds in 0_i64..4_102_444_800, milli in 0_i64..1000) {
        let at = seconds * 1000 + milli;
        let text = chrono::DateTime::from_timestamp_millis(at).unwrap()
            .to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let line = format!("{{\"timestamp\":\"{text}\",\"level\":\"INFO\"}}");
        prop_assert_eq!(time_of(line.as_bytes()), Some(at));
        prop_assert_eq!(event(&line).time(), Some(at));
    }

    #[test]
    fn no_line_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&line, AT);
        let _ = time_of(&line);
    }
}

#[test]
fn a_time_without_a_zone_is_meant_in_that_of_its_log() {
    let zone = Zone::parse("+02:00").expect("a zone");
    for (line, moved) in [
        ("2026-11-23 01:30:00,250 ERROR shop: no", true),
        ("[2026/11/23 01:30:00] ERROR: no", true),
        ("<11>Nov 23 01:30:00 host shop: no", true),
        ("time=2026-11-23T01:30:00 level=error msg=no", true),
        (r#"{"time":"2026-11-23 01:30:00","level":"error"}"#, true),
        ("2026-11-23 01:30:00Z ERROR shop: no", false),
        ("2026-11-23 01:30:00+01:00 ERROR shop: no", false),
        (
            r#"{"timestamp":"2026-11-23T01:30:00.000Z","level":"error"}"#,
            false,
        ),
        (r#"{"time":1795743000,"level":"error"}"#, false),
    ] {
        let at = |zone| match read_in(line.as_bytes(), AT, zone) {
            Line::Event(event) => event.time().expect(line),
            other => panic!("{line}: {other:?}"),
        };
        let hours = if moved { 2 } else { 0 };
        assert_eq!(at(Zone::Utc) - at(zone), hours * 3_600_000, "{line}");
        let mut reader = Reader::in_zone(zone);
        for _ in 0..2 {
            let Line::Event(event) = reader.read(line.as_bytes(), AT) else {
                panic!("{line}");
            };
            assert_eq!(event.time(), Some(at(zone)), "{line}");
        }
    }
}
