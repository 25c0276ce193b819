//! `rollback script new`: a story to start from.

use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::cli::output::print;
use crate::cli::shared::{self, Everywhere};
use crate::records;
use crate::records::NewFile;
use crate::workspace::STORIES;

/// Makes `rollback/NAME.rhai`; never replaces anything.
///
/// # Errors
/// [`crate::base::error::Kind::Usage`] for a name that is no story's, [`crate::base::error::Kind::Exists`] where a story or a file
/// has it already, [`crate::base::error::Kind::Denied`] where the directory of stories is a link.
pub fn new(everywhere: &Everywhere, name: &str) -> Result<ExitCode> {
    let context = shared::open(everywhere)?;
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_');
    if !name.starts_with(|first: char| first.is_ascii_alphanumeric())
        || !name.chars().all(plain)
        || name.len() > 64
    {
        return Err(Error::usage(format!("`{name}` can't name a story"))
            .hint("a letter or digit first, then letters, digits, `.`, `-` and `_`, at most 64"));
    }
    if let Some(story) = context.catalogue.named(name).first() {
        return Err(Error::exists(format!(
            "story {} is there already, in `{}`",
            story.id, story.script.name
        ))
        .hint("choose another name; to replace a story, copy its script and keep its id")
        .exiting(ExitCode::Usage));
    }
    let root = context.workspace.root();
    let directory = std::fs::symlink_metadata(root.join(STORIES));
    if directory.is_ok_and(|metadata| !metadata.is_dir()) {
        return Err(Error::denied(format!("`{STORIES}` is no directory"))
            .hint("stories are only made in a real directory; move it aside"));
    }
    let path = format!("{STORIES}/{name}.rhai");
    let file = NewFile {
        path: &path,
        text: &template(name),
        executable: true,
    };
    super::super::output::may_change();
    records::create_new(root, &[file]).map_err(|error| error.exiting(ExitCode::Usage))?;
    print(&format!("made {path}\n"));
    if !everywhere.quiet {
        print(&format!(
            "next: rollback script check {path}; rollback script test {path}; rollback run {name} -n\n"
        ));
    }
    Ok(ExitCode::Done)
}

fn template(name: &str) -> String {
    format!(
        r#"#!/usr/bin/env rollback
// Story {name}: what was rolled out, and why it is taken back.
import "std/story" as story;

const STORY = #{{
    id: "{name}",
    title: "What was rolled out",
    // feature: "its_flag",                  switched off first, with what depends on it
    services: [],                         // #{{ name: "reports", pid_file: "logs/reports.pid" }}
    data: [],                             // #{{ path: "data/reports", backup: "reports" }}: moved into a backup
    files: [],                            // "services/reports.js": removed, unless something that stays needs it
    caches: [],
    npm: [],
    pip: [],
    env: [],                              // "REPORTS_": keys of the environment file
}};

fn execute() {{
    story::roll_back(global::STORY);
}}

fn validate() {{
    story::check_removed(global::STORY);
}}

// `rollback script test` runs each function `test_*` as a dry run of its own.
fn test_nothing_of_it_is_left() {{
    execute();
    check("no part is left", || find_parts(global::STORY.files).is_empty());
}}
"#
    )
}
