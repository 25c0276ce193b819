//! A report as one HTML page that needs nothing else: the Markdown, rendered, in a frame of ours.
//!
//! On disk: `rollback_reports/<kind>_<story>_<YYYYMMDD_HHMMSS>.html`, written by others.

use std::collections::BTreeMap;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::heading::purpose;
use super::{Report, RunOutcome, markdown};
use crate::base::terminal::escape;

/// What the page may load and do: nothing but its own style.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1.5rem; }
h1 { line-height: 1.2; border-bottom: .35rem solid var(--mark); padding-bottom: .4rem; }
h2 { margin-top: 2.2rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border: 1px solid var(--line); padding: .3rem .6rem; text-align: left; vertical-align: top; }
thead tr:has(th:empty) { display: none; }
tbody tr:nth-child(even) { background: var(--soft); }
code, pre { font: .9em/1.4 ui-monospace, monospace; background: var(--soft); overflow-wrap: anywhere; }
code { padding: .1em .3em; border-radius: .2em; }
pre { padding: .8rem; overflow-x: auto; }
pre code { padding: 0; background: none; }
li:has(> input) { list-style: none; margin-left: -1.4rem; }
@media print { body { max-width: none; padding: 0; font-size: 11px; } table { display: table; } }
";

/// The whole page; `titles` of stories by id, where known.
#[must_use]
pub fn render(report: &Report, titles: &BTreeMap<String, String>) -> String {
    let text = markdown::render(report, titles);
    let options = Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS;
    let events = Parser::new_ext(&text, options).filter_map(harmless);
    let mut body = String::new();
    pulldown_cmark::html::push_html(&mut body, events);
    let mark = match report.outcome {
        RunOutcome::Done => "#2a8a3e",
        RunOutcome::Planned => "#2f6fb5",
        RunOutcome::NotApproved | RunOutcome::Partial | RunOutcome::Interrupted => "#b7791f",
        RunOutcome::Failed | RunOutcome::Refused => "#c0392b",
    };
    let mut title = String::new();
    let purpose = purpose(report);
    let plain = Event::Text(escape(&purpose).into());
    pulldown_cmark::html::push_html(&mut title, std::iter::once(plain));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <title>Report: {title}</title>\n<style>:root {{ --mark: {mark}; }}{STYLE}</style>\n<main>\n{body}</main>\n</html>\n"
    )
}

/// Our Markdown has neither markup of HTML nor links nor pictures: what looks like one came from a name.
fn harmless(event: Event<'_>) -> Option<Event<'_>> {
    match event {
        Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
        Event::Start(Tag::Link { .. } | Tag::Image { .. } | Tag::HtmlBlock)
        | Event::End(TagEnd::Link | TagEnd::Image | TagEnd::HtmlBlock) => None,
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::text::sample::{preview, real};
    use super::*;

    /// The tags of a page, by name, and whether each that is opened is closed in order.
    fn tags(page: &str) -> Vec<String> {
        let tag = regex::Regex::new("<(/?[a-z][a-z0-9]*)[^>]*>").unwrap();
        tag.captures_iter(page)
            .map(|found| found.get(1).unwrap().as_str().to_owned())
            .collect()
    }

    #[test]
    fn the_page_says_what_the_markdown_says() {
        let titles = BTreeMap::from([("1.3".to_string(), "DuckDB <Local>".to_string())]);
        let page = render(&real(), &titles);
        for said in [
            "<title>Report: roll back 1.3</title>",
            "<h3>Story 1.3: DuckDB &lt;Local&gt;</h3>",
            "<strong>irreversible</strong>",
            "<code>duckdb_data_20261123_013000</code>",
            "<input disabled=\"\" type=\"checkbox\" checked=\"\"/>",
            "rollback undo 20261123T013000Z-1a2b",
            "--mark: #c0392b",
        ] {
            assert!(page.contains(said), "{said}\n{page}");
        }
        assert!(render(&preview(), &titles).contains("nothing was changed"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_name_is_markup(name in "[a-z`|<>/\\\\\n*\"'=\\[\\]() !&;:-]{0,32}") {
            let with = |name: &str| {
                let mut report = real();
                report.reason = Some(name.to_owned());
                for record in &mut report.operations {
                    record.target = name.to_owned();
                    record.why = Some(format!("<script>{name}"));
                }
                tags(&render(&report, &BTreeMap::new()))
                    .into_iter()
                    .filter(|tag| !tag.ends_with("code"))
                    .collect::<Vec<_>>()
            };
            prop_assert_eq!(with(&name), with("x"));
        }
    }
}
