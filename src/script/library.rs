//! What can be imported: the embedded library (`std/...`), and scripts beside the importing one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rhai::{Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};

use crate::base::error::Error;
use crate::pass::sources::Sources;
use crate::pass::thrown::raise;
use crate::workspace::story::{Origin, Script};
use crate::workspace::trust;

/// The standard library, embedded: name and text.
pub const STANDARD: &[(&str, &str)] = &[
    ("std/check", include_str!("../../stdlib/check.rhai")),
    ("std/files", include_str!("../../stdlib/files.rhai")),
    ("std/packages", include_str!("../../stdlib/packages.rhai")),
    ("std/service", include_str!("../../stdlib/service.rhai")),
    ("std/story", include_str!("../../stdlib/story.rhai")),
];

/// Modules that import each other in a row.
const DEEPEST: usize = 16;

/// Resolves imports; nothing outside the library and one directory.
#[derive(Debug)]
pub struct Library {
    beside: Option<PathBuf>,
    most: usize,
    sources: Rc<Sources>,
    loaded: RefCell<HashMap<String, Shared<Module>>>,
    /// Modules that are being read, each imported by the one before.
    loading: RefCell<Vec<String>>,
}

impl Library {
    /// A library that also imports scripts of the directory `beside`, and at most so many modules.
    #[must_use]
    pub fn new(beside: Option<PathBuf>, most: usize, sources: Rc<Sources>) -> Self {
        Self {
            beside,
            most,
            sources,
            loaded: RefCell::default(),
            loading: RefCell::default(),
        }
    }

    /// A module is read by an evaluation of its own, so the engine's limits don't see the way to it.
    fn check(&self, path: &str, position: Position) -> Result<(), Box<EvalAltResult>> {
        let loading = self.loading.borrow();
        if self.loaded.borrow().len() + loading.len() >= self.most {
            return Err(EvalAltResult::ErrorTooManyModules(position).into());
        }
        let failure = if loading.iter().any(|open| open == path) {
            Error::script(format!("module `{path}` imports itself"))
        } else if loading.len() >= DEEPEST {
            Error::script(format!(
                "modules import each other too deep: `{path}` is number {}",
                loading.len() + 1
            ))
        } else {
            return Ok(());
        };
        let hint = format!("{} -> {path}", loading.join(" -> "));
        Err(raise(failure.hint(hint)))
    }

    fn read(&self, engine: &Engine, path: &str, position: Position) -> Result<Module, Box<EvalAltResult>> {
        let text = self
            .text(path)
            .map_err(raise)?
            .ok_or_else(|| EvalAltResult::ErrorModuleNotFound(path.to_owned(), position))?;
        if let Some(beside) = self.beside.as_ref().filter(|_| !path.starts_with("std/")) {
            let file = beside.join(format!("{path}.rhai"));
            trust::check_script(&file, Some(beside)).map_err(raise)?;
        }
        let inside = |error| EvalAltResult::ErrorInModule(path.to_owned(), error, position);
        let module =
            Script::compile(engine, path, Origin::Embedded, &text).map_err(|error| inside(raise(error)))?;
        Ok(Module::eval_ast_as_new(Scope::new(), &module.ast, engine).map_err(inside)?)
    }

    /// The text behind an import's path; `None` where nothing can be imported under it.
    ///
    /// # Errors
    /// As [`Sources::text`].
    pub(crate) fn text(&self, path: &str) -> crate::base::error::Result<Option<String>> {
        self.sources
            .text(self.beside.as_deref(), path, || self.find(path))
    }

    fn find(&self, path: &str) -> Option<String> {
        if let Some((_, text)) = STANDARD.iter().find(|(name, _)| *name == path) {
            return Some((*text).to_owned());
        }
        let plain = Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !plain || path.starts_with("std/") || path.contains('\0') {
            return None;
        }
        let file = self.beside.as_ref()?.join(format!("{path}.rhai"));
        // The script's directory is trusted by the person who named it, a link out of it is not.
        let resolved = file.canonicalize().ok()?;
        if !resolved.starts_with(self.beside.as_ref()?.canonicalize().ok()?) {
            return None;
        }
        crate::workspace::text(&resolved, super::LIMIT).ok()
    }
}

impl ModuleResolver for Library {
    fn resolve(
        &self,
        engine: &Engine,
        _source: Option<&str>,
        path: &str,
        position: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        if let Some(module) = self.loaded.borrow().get(path) {
            return Ok(Shared::clone(module));
        }
        self.check(path, position)?;
        self.loading.borrow_mut().push(path.to_owned());
        let module = self.read(engine, path, position);
        self.loading.borrow_mut().pop();
        let module: Shared<Module> = module?.into();
        self.loaded
            .borrow_mut()
            .insert(path.to_owned(), Shared::clone(&module));
        Ok(module)
    }
}
