//! Parts of stories: where they stand, to whom they belong, and which sources that stay still name them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tracing::debug;

use super::View;
use super::finding::outermost;
use crate::base::error::{Kind, Result};
use crate::host::files::EntryKind;
use crate::host::packages::{Dependents, Manager, tree};
use crate::host::sight::Look;
use crate::pattern::{self, is_pattern};
use crate::references::{Index, Reference, Wanted};
use crate::view::overlay::Node;
use crate::workspace::Place;
use crate::workspace::catalogue::candidates;
use crate::workspace::story::{Story, texts};

impl View {
    /// Where a part named by a story stands: as named, and with or without the main directory. Nothing there: the path
    /// as named, or nothing for a pattern.
    ///
    /// # Errors
    /// [`Kind::Denied`] for a path outside the roots.
    pub fn parts(&self, part: &str) -> Result<Vec<Place>> {
        let mut found = self.standing(part)?;
        if found.is_empty() && !is_pattern(part) {
            found.push(self.workspace.place(part.trim_end_matches('/'))?);
        }
        Ok(found)
    }

    /// As [`View::parts`], only what is there.
    ///
    /// # Errors
    /// As there.
    pub fn standing(&self, part: &str) -> Result<Vec<Place>> {
        let mut found = Vec::new();
        for candidate in candidates(part) {
            if is_pattern(part) {
                found.extend(outermost(self.matching(&candidate)?));
            } else {
                let place = self.workspace.place(&candidate)?;
                if self.exists(&place.absolute)? {
                    found.push(place);
                }
            }
        }
        Ok(found)
    }

    /// All places of a story's own parts that are there.
    ///
    /// # Errors
    /// What the view says.
    pub fn present(&self, story: &Story) -> Result<Vec<Place>> {
        let mut present = Vec::new();
        for part in &story.parts {
            for place in self.standing(part)? {
                if !present.contains(&place) {
                    present.push(place);
                }
            }
        }
        Ok(present)
    }

    /// Paths below `place` that belong to other stories and must not go along, relative to it: their data always,
    /// their other parts as long as they are deployed and not rolled back in the same run.
    ///
    /// # Errors
    /// What the view says.
    pub fn foreign_parts(&self, place: &Place) -> Result<Vec<PathBuf>> {
        let own = self.story.borrow().as_ref().map(|story| story.id.clone());
        let mut foreign = BTreeSet::new();
        for story in self.catalogue.stories() {
            if Some(&story.id) == own.as_ref() {
                continue;
            }
            let mut inside = BTreeSet::new();
            for part in &story.data {
                self.parts_inside(part, place, &mut inside)?;
            }
            if !self.errand.stories.contains(&story.id) {
                let mut others = BTreeSet::new();
                for part in story.parts.iter().chain(&story.shared) {
                    self.parts_inside(part, place, &mut others)?;
                }
                if !others.is_empty() && self.is_deployed(story, place)? {
                    inside.extend(others);
                }
            }
            foreign.extend(inside);
        }
        let outer: Vec<PathBuf> = foreign
            .iter()
            .filter(|path| {
                !path
                    .ancestors()
                    .skip(1)
                    .any(|ancestor| foreign.contains(ancestor))
            })
            .cloned()
            .collect();
        Ok(outer)
    }

    /// Adds where a part stands below `place`, relative to it. Most parts are told apart by their names alone.
    fn parts_inside(&self, part: &str, place: &Place, inside: &mut BTreeSet<PathBuf>) -> Result<()> {
        let may_be = |candidate: &String| {
            // Where a pattern begins, or the whole path.
            let plain = if is_pattern(candidate) {
                pattern::base(candidate)
            } else {
                candidate
            };
            let begins = self.workspace.root().join(plain);
            begins.starts_with(&place.absolute)
                || (is_pattern(candidate) && place.absolute.starts_with(&begins))
        };
        if !candidates(part).iter().any(may_be) {
            return Ok(());
        }
        for found in self.standing(part)? {
            if let Ok(relative) = found.absolute.strip_prefix(&place.absolute)
                && !relative.as_os_str().is_empty()
            {
                inside.insert(relative.to_path_buf());
            }
        }
        Ok(())
    }

    /// Whether a story has parts of its own outside `place`: one whose files were rolled back has none.
    fn is_deployed(&self, story: &Story, place: &Place) -> Result<bool> {
        for part in &story.parts {
            let outside = |found: &Place| !found.absolute.starts_with(&place.absolute);
            if self.standing(part)?.iter().any(outside) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a path goes with the stories of this run, as a part or below one.
    fn leaves(path: &Path, leaving: &BTreeSet<PathBuf>) -> bool {
        path.ancestors().any(|ancestor| leaving.contains(ancestor))
    }

    /// Paths that leave with the stories of this run.
    fn leaving(&self) -> Result<Rc<BTreeSet<PathBuf>>> {
        if self.errand.preview {
            return self.moment.leaving(self.pretended.get(), || self.leaving_now());
        }
        self.leaving_now().map(Rc::new)
    }

    /// The names of the run's parts, whether anything stands there or not: what is gone is no source that stays. Names
    /// cost nothing; only for what a pattern means directories are read.
    fn leaving_now(&self) -> Result<BTreeSet<PathBuf>> {
        let mut leaving = BTreeSet::new();
        let stories = self.catalogue.stories().iter();
        let going = stories.filter(|story| self.errand.stories.contains(&story.id));
        for candidate in going.flat_map(|story| story.parts.iter().flat_map(|part| candidates(part))) {
            if is_pattern(&candidate) {
                leaving.extend(self.matching(&candidate)?.into_iter().map(|place| place.absolute));
            } else {
                leaving.insert(self.workspace.place(&candidate)?.absolute);
            }
        }
        Ok(leaving)
    }

    /// An index that can be asked for all of `wanted`, at the moment of the pass in which that was first asked for: a preview
    /// then sees what it has pretended so far, as a real pass sees what it has done. Callers leave out what went since.
    ///
    /// The first one can be asked for all that the run's stories will ask for, a second for what else a script asks; who
    /// goes on gets one of everything, so that no script makes more than three.
    ///
    /// # Errors
    /// What the system says.
    fn index(&self, wanted: Wanted) -> Result<Rc<Index>> {
        self.look(Look::Sources, "the sources")?;
        if let Some(index) = self.indexes.borrow().iter().find(|index| index.answers(&wanted)) {
            return Ok(Rc::clone(index));
        }
        let made = self.indexes.borrow().len();
        let wanted = match made {
            0 => Some(self.foreseen(wanted)?),
            1 => Some(wanted),
            _ => None,
        };
        let root = self.workspace.root();
        let backups = self.workspace.backups();
        let skipped = backups.strip_prefix(root).ok().and_then(Path::to_str);
        let is_file = |path: &str| tree::is_file(self, &root.join(path)).unwrap_or(true);
        let skipped: Vec<&str> = skipped.into_iter().collect();
        let pretended = self.pretended_sources(&skipped)?;
        let index = Rc::new(Index::scan_with(root, &skipped, &is_file, pretended, wanted)?);
        self.indexes.borrow_mut().push(Rc::clone(&index));
        Ok(index)
    }

    /// What is wanted, with what the run's stories will ask for: their files and caches, all that is below, and packages.
    fn foreseen(&self, mut wanted: Wanted) -> Result<Wanted> {
        let stories = self.catalogue.stories().iter();
        for story in stories.filter(|story| self.errand.stories.contains(&story.id)) {
            let header = |key: &str| texts(&story.script.header, key);
            for part in [header("files"), header("caches")].concat() {
                // What is gone by then is asked for by its name.
                let places: Vec<Place> = if is_pattern(&part) {
                    self.standing(&part)?
                } else {
                    let named = candidates(&part).into_iter();
                    named
                        .map(|named| self.workspace.place(&named))
                        .collect::<Result<_>>()?
                };
                for place in places {
                    // What can't be walked can't be asked for either.
                    wanted.paths.extend(self.files_below(&place).unwrap_or_default());
                    wanted.paths.insert(place.display);
                }
            }
            for (manager, key) in [(Manager::Npm, "npm"), (Manager::Pip, "pip")] {
                let names = header(key).into_iter();
                wanted.packages.extend(names.map(|name| (manager, name)));
            }
        }
        Ok(wanted)
    }

    /// The files at and below a place, as people know them.
    fn files_below(&self, place: &Place) -> Result<Vec<String>> {
        let mut files = Vec::new();
        self.walk(&place.absolute, &mut |path, stat| {
            if stat.kind == EntryKind::File {
                files.push(self.workspace.show(path).display);
            }
            Ok(())
        })?;
        Ok(files)
    }

    /// Sources that stand only in the pretended world, or with other contents: path, and contents where they can be known.
    fn pretended_sources(&self, skipped: &[&str]) -> Result<Vec<(String, Option<Vec<u8>>)>> {
        let display = |path: &Path| {
            let display = path.strip_prefix(self.workspace.root()).ok()?.to_str()?;
            let is_apart = skipped
                .iter()
                .any(|skipped| Path::new(display).starts_with(skipped));
            (!is_apart && !Index::skips(display)).then(|| display.to_owned())
        };
        let is_new = |node: &Node| matches!(node, Node::Text(_) | Node::From(_));
        let tops: Vec<PathBuf> = {
            let overlay = self.overlay();
            let nodes = overlay
                .nodes()
                .filter(|(path, node)| is_new(node) && display(path).is_some());
            nodes.map(|(path, _)| path.clone()).collect()
        };
        let mut sources = BTreeMap::new();
        for top in tops {
            self.walk(&top, &mut |path, stat| {
                if let Some(display) = display(path)
                    && stat.kind == EntryKind::File
                    && Index::is_source(&display)
                {
                    let bytes = self
                        .read(&self.workspace.show(path), crate::host::files::TEXT_LIMIT)
                        .ok();
                    sources.insert(display, bytes);
                }
                Ok(())
            })?;
        }
        Ok(sources.into_iter().collect())
    }

    /// Sources that name a path and stay: neither parts of the run's stories nor gone.
    ///
    /// # Errors
    /// What the system says.
    pub fn references_that_stay(&self, place: &Place) -> Result<Vec<Reference>> {
        let index = self.index(Wanted::path(&place.display))?;
        self.staying(index.references_to(&place.display))
    }

    /// Which of the paths must stay because something that stays needs them, and what: directly, or through another
    /// path that must stay.
    ///
    /// # Errors
    /// What the system says.
    pub fn required(&self, paths: &[Place]) -> Result<BTreeMap<String, Vec<String>>> {
        let files: Vec<Vec<String>> = paths
            .iter()
            .map(|place| self.files_below(place))
            .collect::<Result<_>>()?;
        let index = self.index(Wanted {
            paths: files.iter().flatten().cloned().collect(),
            ..Wanted::default()
        })?;
        let mut leaving = (*self.leaving()?).clone();
        let mut references: Vec<(&Place, Vec<(PathBuf, Reference)>)> = Vec::new();
        for (place, files) in paths.iter().zip(files) {
            let mut sources = Vec::new();
            for reference in files.iter().flat_map(|file| index.references_to(file)) {
                let source = self.workspace.place(&reference.file)?;
                if !source.absolute.starts_with(&place.absolute) {
                    sources.push((source.absolute, reference));
                }
            }
            references.push((place, sources));
        }
        let mut required: BTreeMap<String, Vec<String>> = BTreeMap::new();
        loop {
            let mut grown = false;
            for (place, sources) in &references {
                if required.contains_key(&place.display) {
                    continue;
                }
                let mut needed_by: Vec<String> = Vec::new();
                for (source, reference) in sources {
                    let stays = !Self::leaves(source, &leaving) && self.still_says(reference)?;
                    debug!(
                        path = place.display,
                        by = reference.file,
                        line = reference.line,
                        stays,
                        "{}",
                        if stays {
                            "kept: what stays names it"
                        } else {
                            "what goes, or says it no longer, names it"
                        }
                    );
                    if stays && !needed_by.contains(&reference.file) {
                        needed_by.push(reference.file.clone());
                    }
                }
                if !needed_by.is_empty() {
                    required.insert(place.display.clone(), needed_by);
                    leaving.remove(&place.absolute);
                    grown = true;
                }
            }
            if !grown {
                return Ok(required);
            }
        }
    }

    /// Sources that stay and need one of these packages, by its name; none for a package that nothing needs.
    ///
    /// # Errors
    /// What the system says.
    pub fn sources_that_need(&self, manager: Manager, names: &BTreeSet<String>) -> Result<Dependents> {
        let index = self.index(Wanted {
            packages: names.iter().map(|name| (manager, name.clone())).collect(),
            ..Wanted::default()
        })?;
        let mut needed = Dependents::new();
        for name in names {
            let mut files: Vec<String> = Vec::new();
            for reference in self.staying(index.packages_needed_by(manager, name))? {
                if !files.contains(&reference.file) {
                    files.push(reference.file);
                }
            }
            if !files.is_empty() {
                needed.insert(name.clone(), files);
            }
        }
        Ok(needed)
    }

    /// Whether a source still holds the reference: it may have been removed or edited since the index was made.
    fn still_says(&self, reference: &Reference) -> Result<bool> {
        let source = self.workspace.place(&reference.file)?;
        if !self.exists(&source.absolute)? {
            return Ok(false);
        }
        let untouched = self.errand.preview && !self.overlay().touches(&source.absolute);
        if untouched {
            return Ok(true);
        }
        let wanted = reference.text.trim();
        match self.read(&source, crate::host::files::TEXT_LIMIT) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes)
                .lines()
                .any(|line| line.contains(wanted))),
            // What can't be read may well need it.
            Err(_) => Ok(true),
        }
    }

    fn staying(&self, references: Vec<Reference>) -> Result<Vec<Reference>> {
        if references.is_empty() {
            return Ok(references);
        }
        let leaving = self.leaving()?;
        let mut staying = Vec::new();
        for reference in references {
            let source = match self.workspace.place(&reference.file) {
                Ok(source) => source,
                Err(error) if error.kind() == Kind::Denied => continue,
                Err(error) => return Err(error),
            };
            if !Self::leaves(&source.absolute, &leaving) && self.still_says(&reference)? {
                staying.push(reference);
            }
        }
        Ok(staying)
    }
}
