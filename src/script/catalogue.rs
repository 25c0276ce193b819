//! Reads all stories: those embedded in the program, and the workspace's own in `rollback/` (same id: the workspace's
//! wins).

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use rhai::{Dynamic, Map};
use walkdir::WalkDir;

use super::{LIMIT, engine, header};
use crate::base::error::{Error, Result};
use crate::workspace::catalogue::Catalogue;
use crate::workspace::config::StoryAdditions;
use crate::workspace::story::{Origin, Script, Story, entries, texts};
use crate::workspace::{CONFIG, STORIES, Workspace, order, trust};

/// The embedded stories: file name and text.
pub const EMBEDDED: &[(&str, &str)] = &[
    (
        "rollback-story-1.2.rhai",
        include_str!("../../scripts/rollback-story-1.2.rhai"),
    ),
    (
        "rollback-story-1.3.rhai",
        include_str!("../../scripts/rollback-story-1.3.rhai"),
    ),
    (
        "rollback-story-1.4.rhai",
        include_str!("../../scripts/rollback-story-1.4.rhai"),
    ),
    (
        "rollback-story-1.5.rhai",
        include_str!("../../scripts/rollback-story-1.5.rhai"),
    ),
    (
        "rollback-story-1.6.rhai",
        include_str!("../../scripts/rollback-story-1.6.rhai"),
    ),
    (
        "rollback-story-1.7.rhai",
        include_str!("../../scripts/rollback-story-1.7.rhai"),
    ),
    (
        "rollback-story-1.8.rhai",
        include_str!("../../scripts/rollback-story-1.8.rhai"),
    ),
];

impl Story {
    /// The story that a script's header tells.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Script`] with the first of what [`header::problems`] finds.
    pub fn of(script: Script, additions: &BTreeMap<String, StoryAdditions>) -> Result<Self> {
        if let Some(problem) = header::problems(&script).into_iter().next() {
            return Err(problem);
        }
        let text = |key: &str| texts(&script.header, key).into_iter().next();
        let (id, title, feature) = (
            text("id").unwrap_or_default(),
            text("title").unwrap_or_default(),
            text("feature"),
        );
        let mut script = script;
        if let Some(additions) = additions.get(&id) {
            add(&mut script.header, additions);
        }
        let header = &script.header;
        let mut data: Vec<String> = entries(header, "data")
            .iter()
            .flat_map(|entry| texts(entry, "path"))
            .collect();
        data.extend(
            entries(header, "preserve")
                .iter()
                .flat_map(|entry| texts(entry, "paths")),
        );
        let mut parts = data.clone();
        for key in ["files", "caches"] {
            parts.extend(texts(header, key));
        }
        Ok(Self {
            feature,
            also_gates: texts(header, "also_gates"),
            shared: texts(header, "shared"),
            id,
            title,
            parts,
            data,
            script,
        })
    }
}

/// Adds what `rollback.yaml` says to the story's lists.
fn add(header: &mut Map, additions: &StoryAdditions) {
    let mut extend = |key: &str, more: Vec<Dynamic>| {
        let mut list = header
            .get(key)
            .and_then(|value| value.read_lock::<rhai::Array>().map(|list| list.clone()))
            .unwrap_or_default();
        list.extend(more);
        header.insert(key.into(), list.into());
    };
    extend(
        "files",
        additions.paths.iter().map(|path| path.clone().into()).collect(),
    );
    let data = additions.data.iter().flat_map(|(backup, paths)| {
        paths.iter().map(move |path| {
            let mut entry = Map::new();
            entry.insert("path".into(), path.clone().into());
            entry.insert("backup".into(), backup.clone().into());
            Dynamic::from(entry)
        })
    });
    extend("data", data.collect());
}

impl Catalogue {
    /// Reads the headers of all stories, without running any. A story of the workspace that can't be read is kept
    /// for [`Catalogue::select`]: which one it was meant to be, nobody knows.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Script`] for an embedded story that cannot be read.
    pub fn load(workspace: &Workspace) -> Result<Self> {
        let reader = engine::reader();
        let mut catalogue = Self::default();
        let additions = &workspace.config().stories;
        let mut found: BTreeMap<String, Rc<Story>> = BTreeMap::new();
        for (name, text) in EMBEDDED {
            let script = Script::compile(&reader, &format!("embedded:{name}"), Origin::Embedded, text)?;
            let story = Story::of(script, additions)?;
            found.insert(story.id.clone(), Rc::new(story));
        }
        if let Err(error) = catalogue.add_own(workspace, &mut found) {
            catalogue.problems.push(error);
        }
        for error in &catalogue.problems {
            catalogue.warnings.push(format!(
                "no story can be chosen before this is corrected: {error}"
            ));
        }
        for id in additions.keys() {
            if !found.contains_key(id) {
                catalogue
                    .warnings
                    .push(format!("`{CONFIG}` adds to story {id}, which does not exist"));
            }
        }
        catalogue.stories = found.into_values().collect();
        catalogue
            .stories
            .sort_by(|left, right| order::compare(&left.id, &right.id));
        Ok(catalogue)
    }

    /// The workspace's own stories, in place of embedded ones with the same id.
    fn add_own(&mut self, workspace: &Workspace, found: &mut BTreeMap<String, Rc<Story>>) -> Result<()> {
        let reader = engine::reader();
        let additions = &workspace.config().stories;
        let mut own: BTreeMap<String, String> = BTreeMap::new();
        for path in own_scripts(&workspace.root().join(STORIES))? {
            let display = workspace.show(&path).display;
            trust::check_script(&path, Some(workspace.root()))?;
            let text = crate::workspace::text(&path, LIMIT).map_err(|error| {
                Error::script(format!("cannot read story `{display}`: {error}")).caused_by(error)
            })?;
            let story = match Script::compile(&reader, &display, Origin::File(path), &text) {
                // A library beside the stories.
                Ok(script) if script.header.is_empty() => continue,
                Ok(script) => Story::of(script, additions),
                Err(error) => Err(error),
            };
            let story = match story {
                Ok(story) => story,
                Err(error) => {
                    self.problems.push(error);
                    continue;
                }
            };
            if let Some(before) = own.insert(story.id.clone(), display.clone()) {
                return Err(Error::script(format!(
                    "story {} stands in both `{before}` and `{display}`",
                    story.id
                ))
                .hint("give one of them another id"));
            }
            if found.contains_key(&story.id) {
                self.warnings.push(format!(
                    "story {} comes from `{display}`, not from the program",
                    story.id
                ));
            }
            found.insert(story.id.clone(), Rc::new(story));
        }
        Ok(())
    }
}

fn own_scripts(directory: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut paths = Vec::new();
    for entry in WalkDir::new(directory)
        .max_depth(1)
        .min_depth(1)
        .sort_by_file_name()
    {
        match entry {
            Ok(entry) => paths.push(entry.into_path()),
            Err(error) => match error.io_error() {
                Some(why) if why.kind() == std::io::ErrorKind::NotFound && error.depth() == 0 => {}
                Some(why) => {
                    return Err(Error::script(format!(
                        "cannot list the stories in `{STORIES}`: {why}"
                    )));
                }
                None => return Err(Error::script(error.to_string())),
            },
        }
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "rhai"));
    // A pipe in the place of a story is told when it is read; a link that leads nowhere is an editor's mark.
    paths.retain(|path| match path.metadata() {
        Ok(metadata) => !metadata.is_dir(),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    });
    Ok(paths)
}
