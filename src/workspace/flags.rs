//! The feature flags (`config/feature-flags.yaml`) and their dependencies: text in, answers or a new text out.
//!
//! `features.<name>{enabled, description, dependencies}`. A value counts as on when JavaScript takes it for true. A
//! feature is effective when it is on and all that it depends on is effective; what is unknown or circular is off.

mod document;
mod graph;

use std::collections::{HashMap, HashSet, VecDeque};

use serde_yaml::Value;

use crate::base::error::{Error, Result};
use crate::edit::Edited;
use crate::edit::key_path::KeyPath;
use crate::edit::yaml::{self, Place};
use document::Feature;

/// The flags of one file, as they stand there.
#[derive(Debug, Clone)]
pub struct Flags {
    /// In the order of the file.
    features: Vec<Feature>,
    index: HashMap<String, usize>,
    /// Of each feature: those that name it, in the order of the file.
    dependents: Vec<Vec<usize>>,
    effective: Vec<bool>,
    thresholds: document::Thresholds,
}

impl Flags {
    /// Reads a flags file. What is no mapping, or no YAML, is a configuration error with the line.
    pub fn parse(text: &str) -> Result<Self> {
        let (features, thresholds) = document::read(text)?;
        let index: HashMap<String, usize> = features
            .iter()
            .enumerate()
            .map(|(at, feature)| (feature.name.clone(), at))
            .collect();
        let mut dependents = vec![Vec::new(); features.len()];
        for (at, feature) in features.iter().enumerate() {
            let mut seen = HashSet::new();
            for dependency in feature.dependencies.iter().filter_map(|name| index.get(name)) {
                if seen.insert(dependency)
                    && let Some(list) = dependents.get_mut(*dependency)
                {
                    list.push(at);
                }
            }
        }
        let effective = graph::effective(&features, &dependents);
        Ok(Self {
            features,
            index,
            dependents,
            effective,
            thresholds,
        })
    }

    /// The names, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.features.iter().map(|feature| feature.name.as_str())
    }

    /// Whether the file says on, as JavaScript sees it; `None`: unknown.
    pub fn raw(&self, name: &str) -> Option<bool> {
        self.feature(name).map(|feature| feature.on)
    }

    /// Whether it is on and all that it depends on is effective; `None`: unknown.
    pub fn effective(&self, name: &str) -> Option<bool> {
        self.effective.get(*self.index.get(name)?).copied()
    }

    /// Whether `enabled` is something else than true, false or nothing, and so may mean the opposite of what it says
    /// (the string `"false"` is on).
    pub fn suspicious(&self, name: &str) -> bool {
        self.feature(name).is_some_and(|feature| feature.suspicious)
    }

    /// What the feature names as its dependencies, known or not; empty for an unknown feature.
    pub fn dependencies(&self, name: &str) -> &[String] {
        self.feature(name).map_or(&[], |feature| &feature.dependencies)
    }

    /// The features that name this one, in the order of the file; empty for an unknown feature.
    pub fn dependents(&self, name: &str) -> Vec<&str> {
        let list = self.index.get(name).and_then(|at| self.dependents.get(*at));
        list.into_iter()
            .flatten()
            .filter_map(|at| self.features.get(*at))
            .map(|one| one.name.as_str())
            .collect()
    }

    /// The description, if there is one.
    pub fn description(&self, name: &str) -> Option<&str> {
        self.feature(name)?.description.as_deref()
    }

    /// The groups of features that depend on one another in a circle, in the order of the file.
    pub fn cycles(&self) -> Vec<Vec<String>> {
        let name = |at: usize| self.features.get(at).map(|feature| feature.name.clone());
        graph::cycles(&self.dependents)
            .into_iter()
            .map(|group| group.into_iter().filter_map(name).collect())
            .collect()
    }

    /// The known name that is most like this one, if any is.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        let score = |known: &str| strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase());
        self.names()
            .map(|known| (score(known), known))
            .filter(|(score, _)| *score > 0.75)
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, known)| known)
    }

    /// The features to switch off: this one first, then breadth first each that depends on it however indirectly.
    /// Those that are off already are left out, but what lies behind them is not.
    pub fn disable(&self, name: &str) -> Result<Vec<String>> {
        let root = self.known(name)?;
        let mut seen = HashSet::from([root]);
        let mut queue = VecDeque::from([root]);
        let mut off = Vec::new();
        while let Some(at) = queue.pop_front() {
            if let Some(feature) = self.features.get(at).filter(|feature| feature.on) {
                off.push(feature.name.clone());
            }
            for next in self.dependents.get(at).into_iter().flatten() {
                if seen.insert(*next) {
                    queue.push_back(*next);
                }
            }
        }
        Ok(off)
    }

    /// The features to switch on: this one, or none if it is on. Its dependencies must be effective unless forced.
    pub fn enable(&self, name: &str, force: bool) -> Result<Vec<String>> {
        let at = self.known(name)?;
        let Some(feature) = self.features.get(at) else {
            return Ok(Vec::new());
        };
        let mut missing: Vec<&str> = Vec::new();
        for dependency in &feature.dependencies {
            if self.effective(dependency) != Some(true) && !missing.contains(&dependency.as_str()) {
                missing.push(dependency);
            }
        }
        if !force && !missing.is_empty() {
            return Err(Error::failed(format!(
                "Cannot enable {name}. Missing dependencies: {}",
                missing.join(", ")
            ))
            .hint("enable those first, or use `--force`"));
        }
        Ok(if feature.on {
            Vec::new()
        } else {
            vec![feature.name.clone()]
        })
    }

    /// The rollback triggers as (name, threshold), in the order of the file; not a number where it is none.
    pub fn thresholds(&self) -> &[(String, f64)] {
        &self.thresholds
    }

    fn feature(&self, name: &str) -> Option<&Feature> {
        self.features.get(*self.index.get(name)?)
    }

    fn known(&self, name: &str) -> Result<usize> {
        self.index.get(name).copied().ok_or_else(|| {
            let error = Error::not_found(format!("Unknown feature: {name}"));
            match self.nearest(name) {
                Some(nearest) => error.hint(format!("did you mean `{nearest}`?")),
                None => error.hint("`rollback feature list` shows all features"),
            }
        })
    }
}

/// Switches features in the text of a flags file: changes `enabled` of each and `metadata.last_modified` (an ISO time
/// with milliseconds), which is not added where it is missing. Unchanged if all say so already.
pub fn edit(text: &str, changes: &[(&str, bool)], last_modified: &str) -> Result<Edited> {
    let flags = Flags::parse(text)?;
    let mut wanted: Vec<(&str, bool)> = Vec::new();
    for (name, on) in changes {
        flags.known(name)?;
        // Of two wishes for one feature the last counts.
        wanted.retain(|(other, _)| other != name);
        wanted.push((name, *on));
    }
    let mut values: Vec<(KeyPath, Value)> = wanted
        .into_iter()
        .filter(|(name, on)| {
            flags
                .feature(name)
                .is_none_or(|feature| feature.plain != Some(*on))
        })
        .filter_map(|(name, on)| Some((KeyPath::of(["features", name, "enabled"])?, Value::Bool(on))))
        .collect();
    if values.is_empty() {
        return Ok(Edited::Unchanged);
    }
    let stamp = KeyPath::of(["metadata", "last_modified"]);
    if let Some(stamp) = stamp.filter(|_| document::has_last_modified(text)) {
        values.push((stamp, Value::String(last_modified.to_owned())));
    }
    yaml::set_all(text, &values, Place::First)
}

#[cfg(test)]
mod tests;
