//! A test that can't run here says so in one form, `skipped: NAME: why`, and adds that line to the file that
//! `ROLLBACK_SKIPS` names: `.ci/run` prints it at its end, so that no skip passes unseen.
#![expect(
    clippy::disallowed_methods,
    reason = "the list of skips is a file that CI names"
)]
#![expect(clippy::print_stderr, reason = "a test that can't run says why")]

use std::io::Write as _;

/// Names the file to which each skip is added.
pub const LIST: &str = "ROLLBACK_SKIPS";

/// Says why the test of this thread can't run here.
///
/// # Panics
/// Where the list can't be written.
pub fn skipped(why: &str) {
    let thread = std::thread::current();
    let line = format!(
        "skipped: {}: {}\n",
        thread.name().unwrap_or("?"),
        why.split_whitespace().collect::<Vec<_>>().join(" ")
    );
    eprint!("{line}");
    if let Some(list) = std::env::var_os(LIST) {
        let mut list = std::fs::File::options()
            .append(true)
            .create(true)
            .open(list)
            .expect("the list of skips can be written");
        list.write_all(line.as_bytes()).expect("a line of it too");
    }
}
