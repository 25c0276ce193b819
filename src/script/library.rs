//! What can be imported: the embedded library (`std/...`), and scripts beside the importing one.

use std::path::{Component, Path, PathBuf};

use rhai::{Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};

use super::without_shebang;

/// The standard library, embedded: name and text.
pub const STANDARD: &[(&str, &str)] = &[
    ("std/check", include_str!("../../stdlib/check.rhai")),
    ("std/files", include_str!("../../stdlib/files.rhai")),
    ("std/packages", include_str!("../../stdlib/packages.rhai")),
    ("std/service", include_str!("../../stdlib/service.rhai")),
    ("std/story", include_str!("../../stdlib/story.rhai")),
];

/// The largest imported script, in bytes.
const LIMIT: u64 = 1 << 20;

/// Resolves imports; nothing outside the library and one directory.
#[derive(Debug)]
pub struct Library {
    beside: Option<PathBuf>,
    loaded: std::cell::RefCell<std::collections::HashMap<String, Shared<Module>>>,
}

impl Library {
    /// A library that also imports scripts of the directory `beside`.
    #[must_use]
    pub fn new(beside: Option<PathBuf>) -> Self {
        Self {
            beside,
            loaded: std::cell::RefCell::default(),
        }
    }

    fn text(&self, path: &str) -> Option<String> {
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
        let size = std::fs::metadata(&resolved).ok()?;
        (size.is_file() && size.len() <= LIMIT).then(|| std::fs::read_to_string(resolved).ok())?
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
        let text = self
            .text(path)
            .ok_or_else(|| EvalAltResult::ErrorModuleNotFound(path.to_owned(), position))?;
        let mut ast = engine.compile(without_shebang(&text)).map_err(|error| {
            EvalAltResult::ErrorInModule(path.to_owned(), Box::new(error.into()), position)
        })?;
        ast.set_source(path);
        let module = Module::eval_ast_as_new(Scope::new(), &ast, engine)
            .map_err(|error| EvalAltResult::ErrorInModule(path.to_owned(), error, position))?;
        let module: Shared<Module> = module.into();
        self.loaded
            .borrow_mut()
            .insert(path.to_owned(), Shared::clone(&module));
        Ok(module)
    }
}
