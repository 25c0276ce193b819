//! A script and the story that its header tells, as data. `script` compiles them.

use std::path::PathBuf;
use std::sync::Arc;

use rhai::{AST, Dynamic, Map};

use crate::base::error::Position;

/// The phases of a story, in their order.
pub const PHASES: [&str; 4] = ["prepare", "execute", "validate", "finish"];

/// Where a script comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Embedded in the program.
    Embedded,
    /// A file.
    File(PathBuf),
}

/// A compiled script.
#[derive(Debug, Clone)]
pub struct Script {
    /// The file as people know it.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Its text.
    pub source: Arc<str>,
    /// The compiled form.
    pub ast: AST,
    /// The literal map `STORY`; empty where there is none.
    pub header: Map,
}

impl Script {
    /// Whether the script defines a function without parameters of this name.
    #[must_use]
    pub fn has_phase(&self, name: &str) -> bool {
        self.ast
            .iter_functions()
            .any(|function| function.name == name && function.params.is_empty())
    }

    /// A place in this script.
    #[must_use]
    pub fn position(&self, position: rhai::Position) -> Position {
        Position {
            file: self.name.clone(),
            line: position.line().unwrap_or(0),
            column: position.position().unwrap_or(0),
            source: Some(Arc::clone(&self.source)),
        }
    }

    /// Where a function is defined.
    #[must_use]
    pub fn place_of(&self, name: &str) -> Position {
        let found = self.source.lines().enumerate().find_map(|(index, line)| {
            let after = line.split("fn ").nth(1)?.trim_start();
            after
                .starts_with(name)
                .then(|| (index + 1, line.find(name).unwrap_or(0) + 1))
        });
        let (line, column) = found.unwrap_or((0, 0));
        Position {
            file: self.name.clone(),
            line,
            column,
            source: Some(Arc::clone(&self.source)),
        }
    }
}

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
    /// What to tell of a story without any phase.
    #[must_use]
    pub fn says_nothing(&self) -> Option<&'static str> {
        let has = |name: &&str| self.script.has_phase(name);
        (!PHASES.iter().any(has))
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
