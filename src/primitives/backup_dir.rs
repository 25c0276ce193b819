//! `backup_dir(path, name)`.

use crate::backup::manifest::Origin;
use crate::backup::retire;
use crate::base::error::Result;
use crate::operation::Proposal;
use crate::operation::copying::Copy;
use crate::operation::narrowing::Narrow;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::report::effect::Capability;
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "backup_dir",
    parameters: &[
        Parameter::needed("path", Type::Text),
        Parameter::needed("name", Type::Text),
        Parameter::options(&[("allow_open", Type::Boolean)]),
    ],
    returns: Type::Text,
    about: "Makes a verified copy in a timestamped backup, of a database with its logs; the source stays. Refuses a source that a process writes. Gives \
            the backup's name; nothing where the path does not exist.",
    example: r#"backup_dir("data/duckdb", "example")"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let place = view.workspace.place(&arguments.text(0))?;
    let name = arguments.text(1);
    let to = view.backup_directory(&name)?;
    if !view.exists(&place.absolute)? {
        return Ok(vec![super::proposing::not_present(WORD.name, &place, Vec::new())]);
    }
    let (source, link) = view.follow(&place)?;
    let source = super::whole::Whole::of(view, source, link.as_ref())?;
    let sides = source.sides.clone();
    let along = source.along();
    let source = source.main;
    view.require_at_rest(&source)?;
    let allow_open = arguments.option_flag(2, "allow_open") || view.errand.options.allow_open;
    for member in std::iter::once(&source).chain(sides.iter().map(|(side, _)| side)) {
        super::proposing::require_quiet(view, member, &[], allow_open)?;
    }
    retire::plan(
        &source.absolute,
        &to.absolute,
        &[],
        &|path| view.stat(path).map(|stat| stat.map(|stat| stat.kind)),
        &|path| view.list(path),
    )?;
    let (mut size, left_out) = view.size_of_copy(&source)?;
    let mut facts = vec![view.fact(&source)?];
    for (side, _) in &sides {
        size.add(view.size_of_copy(side)?.0);
        facts.push(view.fact(side)?);
    }
    let why = super::whole::remarks([
        super::proposing::left_out(&left_out),
        super::whole::links_out(view, &source, &[])?,
    ]);
    let needs = Capability::Backup {
        source: source.display.clone(),
    };
    let summary = format!(
        "copy {}{along} into backup `{name}`",
        view.described(&source, size)?
    );
    let directory = to
        .absolute
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let narrow = Narrow::before_backup(WORD.name, view, &source)?;
    let kind = view.kind(&source)?;
    let copy = Copy {
        kind,
        made: view.absent_parents(&to)?,
        restores: None,
        made_of: None,
        backup: Some(Origin {
            name,
            source: source.display.clone(),
            run: view.errand.run.clone(),
            story: view
                .story
                .borrow()
                .as_ref()
                .map(|story| story.id.clone())
                .unwrap_or_default(),
            created: view.errand.began.clone(),
        }),
        sides: sides
            .into_iter()
            .map(|(side, name)| {
                let to = to.entry(&name);
                (side, to)
            })
            .collect(),
        from: source,
        to,
        size,
        left_out,
        times: Vec::new(),
        needs: vec![needs],
        facts,
    };
    let mut copy = Proposal::act(WORD.name, place.display, summary, copy).returning(directory);
    copy.why = why;
    Ok(narrow.into_iter().chain([copy]).collect())
}
