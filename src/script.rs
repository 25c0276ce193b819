//! Scripts: compiled under the rules of this host, their header read without running them.

use std::path::Path;
use std::sync::Arc;

use rhai::{AST, ASTNode, Engine, Map, Stmt};

use crate::base::error::{Error, Result};
use crate::base::wording;
use crate::primitives;
use crate::primitives::contract::Primitive;
use crate::workspace::story::{Origin, Script};

/// All stories, read.
pub mod catalogue;

/// The calls that a script holds.
pub mod calls;

/// What is wrong with a script, and what the policy says to it, without running it.
pub mod check;

/// What a call asks of the policy, as far as its text tells.
pub mod claims;

/// Definitions for editors and the reference page, made from the list of words.
pub mod definitions;

/// From an error of the engine to ours, with the line and a caret.
pub mod diagnostics;

/// The engine with its limits and words.
pub mod engine;

/// Who is at work in a script, and where.
pub mod failing;

/// Patterns that match nothing.
pub mod patterns;

/// What surprises in the language.
pub mod surprises;

/// What a story's header may say.
pub mod header;

/// What can be imported: the embedded library, and scripts of the workspace.
pub mod library;

/// Functions of the engine whose results can be far larger than what they are given.
pub mod sizes;

/// The largest script, in bytes.
pub const LIMIT: u64 = 1 << 20;

/// The deepest tree of expressions and blocks that is run.
const DEEPEST: usize = 400;

impl Script {
    /// Compiles a script and checks the rules: at the top only constants, imports and functions; no function with a
    /// word's name.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Script`] with the line.
    pub fn compile(engine: &Engine, name: &str, origin: Origin, source: &str) -> Result<Self> {
        if source.len() as u64 > LIMIT {
            return Err(Error::script(format!("script `{name}` is larger than 1 MiB")));
        }
        let source: Arc<str> = source.into();
        let mut ast = engine
            .compile(without_shebang(&source))
            .map_err(|error| diagnostics::parse_error(name, &source, &error))?;
        ast.set_source(name);
        let script = Self {
            name: name.to_owned(),
            origin,
            header: header(&ast),
            source,
            ast,
        };
        script.check()?;
        Ok(script)
    }

    fn check(&self) -> Result<()> {
        for statement in self.ast.statements() {
            let allowed = match statement {
                Stmt::Noop(_) | Stmt::Import(..) | Stmt::Export(..) => true,
                Stmt::Var(_, options, _) => options.intersects(rhai::ASTFlags::CONSTANT),
                _ => false,
            };
            if !allowed {
                return Err(Error::script(
                    "only constants, imports and functions may stand at the top of a script",
                )
                .hint("put this into `fn execute() { ... }`")
                .at(self.position(statement.position())));
            }
        }
        let mut stories =
            self.ast.statements().iter().filter(
                |statement| matches!(statement, Stmt::Var(variable, ..) if variable.0.name == "STORY"),
            );
        if let Some(second) = stories.nth(1) {
            return Err(
                Error::script("a script has one STORY: what is read must be what is run")
                    .at(self.position(second.position())),
            );
        }
        if let Some(stated) = self
            .ast
            .statements()
            .iter()
            .find(|statement| matches!(statement, Stmt::Var(variable, ..) if variable.0.name == "STORY"))
            && self.header.is_empty()
        {
            return Err(Error::script(
                "STORY is a literal map that is not empty: it is read without running anything",
            )
            .hint("write out its texts; what is computed stands in the functions")
            .at(self.position(stated.position())));
        }
        self.check_depth()?;
        for function in self.ast.iter_functions() {
            if let Some(word) = primitives::find(function.name) {
                let position = self.place_of(function.name);
                return Err(Error::script(format!(
                    "a script can't define `{}`: it is a word of this host",
                    word.name
                ))
                .hint("give the function another name")
                .at(position));
            }
        }
        Ok(())
    }

    /// Chains of operators nest as deeply as they are long, and the engine does not count them.
    fn check_depth(&self) -> Result<()> {
        let mut deep = None;
        self.ast.walk(&mut |path: &[ASTNode<'_>]| {
            if path.len() > DEEPEST {
                deep = path.last().map(ASTNode::position);
            }
            deep.is_none()
        });
        match deep {
            None => Ok(()),
            Some(position) => Err(Error::script("the script is nested too deeply")
                .hint("cut long chains of operators into several lines")
                .at(self.position(position))),
        }
    }
}

/// Reads and compiles a script that a person names by its path.
///
/// # Errors
/// [`crate::base::error::Kind::Usage`] where it can't be read, [`crate::base::error::Kind::Script`] as [`Script::compile`].
pub fn read(path: &Path) -> Result<Script> {
    let display = path.display().to_string();
    let unreadable = |why: String| {
        Error::usage(format!("cannot read script `{display}`: {why}")).hint("name the path of a .rhai script")
    };
    let text = crate::workspace::text(path, LIMIT).map_err(|error| {
        unreadable(match error.kind() {
            std::io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
            _ => error.to_string(),
        })
    })?;
    let absolute = path
        .canonicalize()
        .map_err(|error| unreadable(error.to_string()))?;
    Script::compile(&engine::reader(), &display, Origin::File(absolute), &text)
}

/// The text with the `#!` line blanked, so that lines keep their numbers.
#[must_use]
pub fn without_shebang(source: &str) -> &str {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    if source.starts_with("#!") {
        source.find('\n').and_then(|end| source.get(end..)).unwrap_or("")
    } else {
        source
    }
}

fn header(ast: &AST) -> Map {
    ast.iter_literal_variables(true, false)
        .find(|(name, ..)| *name == "STORY")
        .and_then(|(.., value)| value.try_cast::<Map>())
        .unwrap_or_default()
}

/// The word nearest to an unknown one.
#[must_use]
pub fn nearest_word(name: &str) -> Option<&'static Primitive> {
    let near = wording::nearest(name, primitives::all().iter().map(|word| word.name))?;
    primitives::find(&near)
}
