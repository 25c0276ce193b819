//! All stories: those embedded in the program, and the workspace's own in `rollback/` (same id: the workspace's wins).

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use rhai::{Dynamic, Map};

use super::config::StoryAdditions;
use super::{STORIES, Workspace, order};
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::script::{LIMIT as SCRIPT_LIMIT, Origin, Script, engine, header};

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

/// The directory that the procedures call the main directory, where a repository holds it.
pub const MAIN_DIRECTORY: &str = "bmad-method";

/// A story.
#[derive(Debug, Clone)]
pub struct Story {
    /// `1.3`.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// Its feature flag.
    pub feature: Option<String>,
    /// Other flags that gate its code.
    pub also_gates: Vec<String>,
    /// Paths that it owns: data, results, files, caches. Patterns stay patterns.
    pub parts: Vec<String>,
    /// The parts of it that hold data or results: another story must not take them along.
    pub data: Vec<String>,
    /// Paths that it shares with others.
    pub shared: Vec<String>,
    /// The script.
    pub script: Script,
}

impl Story {
    /// The story that a script's header tells.
    ///
    /// # Errors
    /// [`crate::error::Kind::Script`] with the first of what [`header::problems`] finds.
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

    /// What to tell of a story without any phase.
    #[must_use]
    pub fn says_nothing(&self) -> Option<&'static str> {
        let has = |name: &&str| self.script.has_phase(name);
        (!header::PHASES.iter().any(has))
            .then_some("it has none of the functions prepare, execute, validate, finish: it does nothing")
    }

    /// All flags that gate its code; its own first.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        self.feature.iter().chain(&self.also_gates).cloned().collect()
    }
}

/// Strings under a key: one, or an array.
pub fn texts(map: &Map, key: &str) -> Vec<String> {
    let Some(value) = map.get(key) else {
        return Vec::new();
    };
    match value.read_lock::<rhai::Array>() {
        Some(array) => array
            .iter()
            .filter_map(|item| item.clone().into_string().ok())
            .collect(),
        None => value.clone().into_string().ok().into_iter().collect(),
    }
}

/// Maps in the array under a key.
pub fn entries(map: &Map, key: &str) -> Vec<Map> {
    map.get(key)
        .and_then(|value| value.read_lock::<rhai::Array>().map(|array| array.clone()))
        .unwrap_or_default()
        .into_iter()
        .filter_map(Dynamic::try_cast::<Map>)
        .collect()
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

/// Where a part may stand: as named, and with or without the main directory before it.
#[must_use]
pub fn candidates(part: &str) -> Vec<String> {
    let part = part.trim_end_matches('/');
    let other = match part
        .strip_prefix(MAIN_DIRECTORY)
        .and_then(|rest| rest.strip_prefix('/'))
    {
        Some(rest) => rest.to_owned(),
        None => format!("{MAIN_DIRECTORY}/{part}"),
    };
    vec![part.to_owned(), other]
}

/// All stories of a workspace, by id.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    stories: Vec<Rc<Story>>,
    /// What was odd: a workspace's story that stands for an embedded one, a file that is no story.
    pub warnings: Vec<String>,
    /// Why the workspace's own stories can't all be read: then none can be chosen, but runs can be taken back.
    pub problems: Vec<Error>,
}

impl Catalogue {
    /// Reads the headers of all stories, without running any. A story of the workspace that can't be read is kept
    /// for [`Catalogue::select`]: which one it was meant to be, nobody knows.
    ///
    /// # Errors
    /// [`crate::error::Kind::Script`] for an embedded story that cannot be read.
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
                catalogue.warnings.push(format!(
                    "`{}` adds to story {id}, which does not exist",
                    super::CONFIG
                ));
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
            let shown = workspace.show(&path).shown;
            super::trust::check_script(&path, Some(workspace.root()))?;
            let text = super::text(&path, SCRIPT_LIMIT).map_err(|error| {
                Error::script(format!("cannot read story `{shown}`: {error}")).caused_by(error)
            })?;
            let story = match Script::compile(&reader, &shown, Origin::File(path), &text) {
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
            if let Some(before) = own.insert(story.id.clone(), shown.clone()) {
                return Err(Error::script(format!(
                    "story {} stands in both `{before}` and `{shown}`",
                    story.id
                ))
                .hint("give one of them another id"));
            }
            if found.contains_key(&story.id) {
                self.warnings.push(format!(
                    "story {} comes from `{shown}`, not from the program",
                    story.id
                ));
            }
            found.insert(story.id.clone(), Rc::new(story));
        }
        Ok(())
    }

    /// The stories, by number.
    #[must_use]
    pub fn stories(&self) -> &[Rc<Story>] {
        &self.stories
    }

    /// The titles of all stories, by id.
    #[must_use]
    pub fn titles(&self) -> BTreeMap<String, String> {
        self.stories
            .iter()
            .map(|story| (story.id.clone(), story.title.clone()))
            .collect()
    }

    /// Adds a story that a person named by its path; it takes the place of one with the same id.
    pub fn add(&mut self, story: Rc<Story>) {
        self.stories.retain(|other| other.id != story.id);
        self.stories.push(story);
        self.stories
            .sort_by(|left, right| order::compare(&left.id, &right.id));
    }

    /// A story by id or by its feature's name.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<Rc<Story>> {
        let by_id: Vec<_> = self
            .stories
            .iter()
            .filter(|story| story.id == name)
            .cloned()
            .collect();
        if !by_id.is_empty() {
            return by_id;
        }
        self.stories
            .iter()
            .filter(|story| story.feature.as_deref() == Some(name))
            .cloned()
            .collect()
    }

    /// The stories that the words name, without doubles, in reverse dependency order.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] with the nearest name for an unknown story; [`crate::error::Kind::Script`] while a
    /// story of the workspace can't be read.
    pub fn select(&self, words: &[String], flags: Option<&Flags>) -> Result<Vec<Rc<Story>>> {
        if let Some(problem) = self.problems.first() {
            return Err(problem.clone());
        }
        let mut chosen: Vec<Rc<Story>> = Vec::new();
        let names = words
            .iter()
            .flat_map(|word| word.split(','))
            .map(str::trim)
            .filter(|name| !name.is_empty());
        for name in names {
            let found = if name == "all" {
                self.stories.clone()
            } else {
                self.named(name)
            };
            if found.is_empty() {
                return Err(self.unknown(name));
            }
            for story in found {
                if !chosen.iter().any(|other| other.id == story.id) {
                    chosen.push(story);
                }
            }
        }
        if chosen.is_empty() {
            return Err(
                Error::usage("no story is named").hint("name stories such as `1.3` or `1.5,1.6`, or `all`")
            );
        }
        Ok(order::reverse_dependency(
            chosen,
            |story| &story.id,
            |left, right| depends(flags, left, right),
        ))
    }

    fn unknown(&self, name: &str) -> Error {
        let features = self.stories.iter().filter_map(|story| story.feature.as_deref());
        let known = self
            .stories
            .iter()
            .map(|story| story.id.as_str())
            .chain(features)
            .chain(["all"]);
        let near = super::config::nearest(name, known);
        let ids: Vec<&str> = self.stories.iter().map(|story| story.id.as_str()).collect();
        Error::usage(format!("unknown story `{name}`")).hint(match near {
            Some(near) => format!("did you mean `{near}`? known: {}, all", ids.join(", ")),
            None => format!("known: {}, all", ids.join(", ")),
        })
    }
}

/// Whether the feature of `left` depends on that of `right`, however indirectly.
fn depends(flags: Option<&Flags>, left: &Story, right: &Story) -> bool {
    let (Some(flags), Some(from), Some(to)) = (flags, &left.feature, &right.feature) else {
        return false;
    };
    let mut seen = std::collections::BTreeSet::new();
    let mut pending = vec![from.clone()];
    while let Some(name) = pending.pop() {
        for dependency in flags.dependencies(&name) {
            if dependency == to {
                return true;
            }
            if seen.insert(dependency.clone()) {
                pending.push(dependency.clone());
            }
        }
    }
    false
}

fn own_scripts(directory: &Path) -> Result<Vec<std::path::PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => {
            return Err(
                Error::script(format!("cannot list the stories in `{STORIES}`: {error}")).caused_by(error),
            );
        }
    };
    let mut paths: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rhai"))
        // A pipe in the place of a story is told when it is read; a link that leads nowhere is an editor's mark.
        .filter(|path| match path.metadata() {
            Ok(metadata) => !metadata.is_dir(),
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        })
        .collect();
    paths.sort();
    Ok(paths)
}
