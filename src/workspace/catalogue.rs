//! All stories of a workspace, and those that words name among them.

use std::collections::BTreeMap;
use std::rc::Rc;

use tracing::debug;

use super::order;
use super::story::Story;
use crate::base::error::{Error, Result};
use crate::base::wording;
use crate::workspace::flags::Flags;

/// The directory that the procedures call the main directory, where a repository holds it.
pub const MAIN_DIRECTORY: &str = "bmad-method";

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
    pub(crate) stories: Vec<Rc<Story>>,
    /// What was odd: a workspace's story that stands for an embedded one, a file that is no story.
    pub warnings: Vec<String>,
    /// Why the workspace's own stories can't all be read: then none can be chosen, but runs can be taken back.
    pub problems: Vec<Error>,
}

impl Catalogue {
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
    /// [`crate::base::error::Kind::Usage`] with the nearest name for an unknown story; [`crate::base::error::Kind::Script`] while a
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
        let ordered = order::reverse_dependency(
            chosen,
            |story| &story.id,
            |left, right| depends(flags, left, right),
        );
        for story in &ordered {
            debug!(story = story.id, origin = ?story.script.origin, feature = story.feature, "story chosen");
        }
        Ok(ordered)
    }

    fn unknown(&self, name: &str) -> Error {
        let features = self.stories.iter().filter_map(|story| story.feature.as_deref());
        let known = self
            .stories
            .iter()
            .map(|story| story.id.as_str())
            .chain(features)
            .chain(["all"]);
        let near = wording::nearest(name, known);
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
