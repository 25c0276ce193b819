//! `script check`: the words of a script and what the policy says to each, and what would break it. The script is read
//! through its compiled form; nothing of it runs, and nothing is written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rhai::Engine;

use super::calls::{Call, Calls, Given};
use super::claims::{self, Answer, Claim, Judged};
use super::library::{Library, STANDARD};
use super::{diagnostics, engine, header};
use crate::base::error::{Error, Kind, Result};
use crate::base::wording::{nearest, plural};
use crate::gate::policy::Policy;
use crate::primitives::contract::Primitive;
use crate::primitives::{self, dry_run};
use crate::view::View;
use crate::workspace::catalogue::candidates;
use crate::workspace::story::{Origin, Script, Story, entries, texts};

/// What the engine knows without registering it.
const KEYWORDS: [&str; 8] = [
    "Fn",
    "call",
    "curry",
    "debug",
    "is_def_fn",
    "is_def_var",
    "is_shared",
    "type_of",
];

/// A script, looked through.
#[derive(Default)]
pub struct Checked {
    /// The file as people know it.
    pub file: String,
    /// Id and title, where it is a story.
    pub story: Option<(String, String)>,
    /// What it imports.
    pub imports: Vec<Imported>,
    /// The paths that its STORY names, with the line of each.
    pub header: Vec<(usize, Judged)>,
    /// The words that it says, by place.
    pub words: Vec<WordCall>,
    /// What the person should know before it runs, with the line of each.
    pub warnings: Vec<(usize, &'static str)>,
    /// What would break it.
    pub problems: Vec<Error>,
}

/// One import.
#[derive(Debug)]
pub struct Imported {
    /// The line.
    pub line: usize,
    /// The path; `None` where it is computed.
    pub path: Option<String>,
    /// Whether it is of the embedded library.
    pub embedded: bool,
    /// The functions of it that the script calls.
    pub functions: Vec<String>,
    /// The words that these can say, however indirectly.
    pub words: Vec<&'static str>,
}

/// One word as a script says it.
pub struct WordCall {
    /// The word.
    pub word: &'static Primitive,
    /// Its place and its arguments.
    pub call: Call,
    /// What it asks of the policy, with the answers.
    pub judged: Vec<Judged>,
}

impl Checked {
    /// Every answer of the policy.
    pub fn answers(&self) -> impl Iterator<Item = &Judged> {
        let words = self.words.iter().flat_map(|called| &called.judged);
        self.header.iter().map(|(_, judged)| judged).chain(words)
    }

    /// Whether the policy refuses something.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.answers()
            .any(|judged| matches!(judged.answer, Answer::Refused { .. }))
    }
}

/// Looks a script through, and the scripts beside it that it imports.
///
/// # Errors
/// [`Kind::Usage`] where the file can't be read; all else stands in [`Checked::problems`].
pub fn check(view: &View, policy: &Policy, path: &Path) -> Result<Vec<Checked>> {
    let display = path.display().to_string();
    let script = match super::read(path) {
        Err(error) if error.kind() == Kind::Script => Err(error),
        read => Ok(read?),
    };
    let beside = path
        .canonicalize()
        .ok()
        .and_then(|path| path.parent().map(Path::to_path_buf));
    let mut checker = Checker {
        view,
        policy,
        reader: engine::reader(),
        known: known_to_the_engine(),
        library: Library::new(beside, view.limits().modules, std::rc::Rc::default()),
        modules: BTreeMap::new(),
    };
    let mut checked = vec![match script {
        Ok(script) => checker.script(&script),
        Err(error) => broken(display, error),
    }];
    let beside: Vec<_> = checker
        .modules
        .values()
        .filter(|module| !module.embedded)
        .collect();
    for module in beside {
        checked.push(match &module.script {
            Ok(script) => checker.looked_through(script, &module.calls),
            Err(error) => broken(module.path.clone(), error.clone()),
        });
    }
    Ok(checked)
}

fn broken(file: String, error: Error) -> Checked {
    Checked {
        file,
        problems: vec![error],
        ..Checked::default()
    }
}

/// The functions that the engine has of itself.
fn known_to_the_engine() -> BTreeSet<String> {
    let registered =
        Engine::new().collect_fn_metadata(None, |function| Some(function.metadata.name.to_string()), true);
    let keywords = KEYWORDS.iter().map(|name| (*name).to_owned());
    let mut known: BTreeSet<String> = registered.into_iter().chain(keywords).collect();
    known.remove("sleep");
    known
}

struct Module {
    path: String,
    embedded: bool,
    script: Result<Script>,
    calls: Calls,
}

struct Checker<'a> {
    view: &'a View,
    policy: &'a Policy,
    reader: Engine,
    known: BTreeSet<String>,
    library: Library,
    /// What was imported, however indirectly, by path.
    modules: BTreeMap<String, Module>,
}

/// What a call leads to.
enum Target<'a> {
    Word(&'static Primitive),
    Own,
    Of(&'a Module),
    Engine,
    Unknown,
    NotImported,
}

impl Checker<'_> {
    fn script(&mut self, script: &Script) -> Checked {
        let calls = Calls::of(&script.ast);
        self.load(&calls);
        let mut checked = self.looked_through(script, &calls);
        if !script.header.is_empty() {
            match Story::of(script.clone(), &self.view.workspace.config().stories) {
                Ok(story) => {
                    checked
                        .warnings
                        .extend(story.says_nothing().map(|what| (0, what)));
                    checked.story = Some((story.id, story.title));
                }
                Err(_) => checked.problems.extend(header::problems(script)),
            }
            self.header(script, &mut checked);
        }
        checked
    }

    /// Compiles what is imported, and what that imports.
    fn load(&mut self, calls: &Calls) {
        for path in calls.imports.iter().filter_map(|import| import.path.clone()) {
            if self.modules.contains_key(&path) {
                continue;
            }
            let Ok(Some(text)) = self.library.text(&path) else {
                continue;
            };
            let embedded = STANDARD.iter().any(|(name, _)| *name == path);
            let script = Script::compile(&self.reader, &path, Origin::Embedded, &text);
            let calls = script
                .as_ref()
                .map_or_else(|_| Calls::default(), |script| Calls::of(&script.ast));
            let module = Module {
                path: path.clone(),
                embedded,
                script,
                calls: calls.clone(),
            };
            self.modules.insert(path, module);
            self.load(&calls);
        }
    }

    fn looked_through(&self, script: &Script, calls: &Calls) -> Checked {
        let mut checked = Checked {
            file: script.name.clone(),
            ..Checked::default()
        };
        for import in &calls.imports {
            let line = import.position.line().unwrap_or(0);
            let module = import.path.as_ref().and_then(|path| self.modules.get(path));
            if let (Some(path), None) = (&import.path, module) {
                checked
                    .problems
                    .push(diagnostics::cannot_import(path).at(script.position(import.position)));
            }
            let mut functions = BTreeSet::new();
            let mut words = BTreeSet::new();
            for call in &calls.calls {
                if let Target::Of(target) = self.target(calls, call)
                    && call.namespace.split("::").next() == Some(import.alias.as_str())
                {
                    functions.insert(call.name.clone());
                    self.reach(target, &call.name, &mut BTreeSet::new(), &mut words);
                }
            }
            checked.imports.push(Imported {
                line,
                path: import.path.clone(),
                embedded: module.is_some_and(|module| module.embedded),
                functions: functions.into_iter().collect(),
                words: words.into_iter().collect(),
            });
        }
        for call in &calls.calls {
            if let Err(error) = self.sound(calls, call) {
                // The place of a call matters more than the kind: all of these break the script.
                let failure = Error::script(error.message());
                let failure = error
                    .hint_text()
                    .map_or(failure.clone(), |hint| failure.hint(hint));
                checked.problems.push(failure.at(script.position(call.position)));
                continue;
            }
            for (word, call) in called(self.target(calls, call), call) {
                if word.name == dry_run::WORD.name {
                    let line = call.position.line().unwrap_or(0);
                    checked.warnings.push((line, dry_run::WARNING));
                }
                let mut judged = Vec::new();
                for claim in claims::claims(word, &call.given) {
                    match claims::judge(&claim, self.view, self.policy) {
                        Ok(answer) => judged.push(answer),
                        Err(error) => checked.problems.push(error.at(script.position(call.position))),
                    }
                }
                checked.words.push(WordCall { word, call, judged });
            }
        }
        checked
    }

    /// The words that a function of a module can say.
    fn reach<'m>(
        &'m self,
        module: &'m Module,
        function: &str,
        seen: &mut BTreeSet<(&'m str, String)>,
        words: &mut BTreeSet<&'static str>,
    ) {
        if !seen.insert((&module.path, function.to_owned())) {
            return;
        }
        for call in module
            .calls
            .calls
            .iter()
            .filter(|call| call.inside.contains(function))
        {
            match self.target(&module.calls, call) {
                Target::Own => self.reach(module, &call.name, seen, words),
                Target::Of(other) => self.reach(other, &call.name, seen, words),
                target => words.extend(called(target, call).iter().map(|(word, _)| word.name)),
            }
        }
    }

    fn target(&self, calls: &Calls, call: &Call) -> Target<'_> {
        if call.namespace.is_empty() {
            return match primitives::find(&call.name) {
                Some(word) => Target::Word(word),
                None if calls.named(&call.name).next().is_some() => Target::Own,
                None if self.known.contains(&call.name) => Target::Engine,
                None => Target::Unknown,
            };
        }
        if call.namespace == "global" {
            return Target::Engine;
        }
        let mut imports = &calls.imports;
        let mut module = None;
        for name in call.namespace.split("::") {
            let import = imports.iter().rev().find(|import| import.alias == name);
            match import.map(|import| &import.path) {
                None => return Target::NotImported,
                // What is computed or missing is told at the import.
                Some(None) => return Target::Engine,
                Some(Some(path)) => module = self.modules.get(path),
            }
            let Some(module) = module else {
                return Target::Engine;
            };
            imports = &module.calls.imports;
        }
        match module {
            Some(module) if module.script.is_ok() => Target::Of(module),
            _ => Target::Engine,
        }
    }

    /// Whether a call can be made at all.
    fn sound(&self, calls: &Calls, call: &Call) -> Result<()> {
        let count = call.given.len();
        match self.target(calls, call) {
            Target::Word(word) => sound_word(word, call),
            Target::Own => takes(&call.name, calls, call, count),
            Target::Of(module) => {
                if module.calls.named(&call.name).next().is_some() {
                    return takes(&call.name, &module.calls, call, count);
                }
                let functions = module
                    .calls
                    .functions
                    .iter()
                    .map(|function| function.name.as_str());
                let failure = Error::script(format!("`{}` has no function `{}`", module.path, call.name));
                Err(match nearest(&call.name, functions) {
                    Some(near) => failure.hint(format!("did you mean `{}::{near}`?", call.namespace)),
                    None => failure,
                })
            }
            Target::NotImported => Err(
                Error::script(format!("nothing is imported as `{}`", call.namespace))
                    .hint("import \"std/story\" as story;"),
            ),
            Target::Engine => Ok(()),
            // A map of the script can hold a closure under any name.
            Target::Unknown if call.method && !call.given.first().is_some_and(Given::is_literal) => Ok(()),
            Target::Unknown if call.name == "sleep" => Err(Error::script("`sleep` is not a word here")
                .hint("wait for the thing: a step waits for its own effect")),
            Target::Unknown => {
                let own = calls.functions.iter().map(|function| function.name.as_str());
                match nearest(&call.name, own) {
                    Some(near) if super::nearest_word(&call.name).is_none() => {
                        Err(Error::script(format!("unknown function `{}`", call.name))
                            .hint(format!("did you mean `{near}`?")))
                    }
                    _ => Err(diagnostics::unknown_function(&call.name)),
                }
            }
        }
    }

    /// The paths that STORY names: the library does with them what their lists say.
    fn header(&self, script: &Script, checked: &mut Checked) {
        let header = &script.header;
        let mut named: Vec<(String, bool)> = Vec::new();
        let mut add =
            |paths: Vec<String>, whole: bool| named.extend(paths.into_iter().map(|path| (path, whole)));
        for service in entries(header, "services") {
            add(texts(&service, "pid_file"), true);
        }
        for entry in entries(header, "data") {
            add(texts(&entry, "path"), false);
        }
        for entry in entries(header, "preserve") {
            add(texts(&entry, "paths"), false);
        }
        for list in ["files", "caches"] {
            add(texts(header, list), true);
        }
        for (path, whole) in named {
            let line = line_of(&script.source, &path);
            match self.part(&path, whole) {
                Ok(judged) => checked.header.push((line, judged)),
                Err(error) => checked.problems.push(error.at(script.position(place(line)))),
            }
        }
    }

    /// A part of a story, in both places where it may stand; a refusal of either is one.
    fn part(&self, part: &str, whole: bool) -> Result<Judged> {
        let mut answer = Answer::Allowed(None);
        for path in candidates(part) {
            let judged = claims::judge(&Claim::Write { path, whole }, self.view, self.policy)?;
            if matches!(answer, Answer::Allowed(_)) {
                answer = judged.answer;
            }
        }
        Ok(Judged {
            about: part.to_owned(),
            answer,
        })
    }
}

/// The words of a call: its own, or those that it hands on by name, whose arguments only the run can tell.
fn called(target: Target<'_>, call: &Call) -> Vec<(&'static Primitive, Call)> {
    match target {
        Target::Word(word) => vec![(word, call.clone())],
        Target::Engine | Target::Unknown => {
            let names = call.given.iter().filter_map(Given::text);
            let words = names.filter_map(|name| primitives::find(&name));
            words
                .map(|word| {
                    let call = Call {
                        name: word.name.to_owned(),
                        given: vec![Given::Computed; word.parameters.len()],
                        ..call.clone()
                    };
                    (word, call)
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

fn sound_word(word: &'static Primitive, call: &Call) -> Result<()> {
    let counts = word.counts();
    if !counts.contains(&call.given.len()) {
        let (least, most) = (*counts.start(), *counts.end());
        let wanted = if least == most {
            plural(most as u64, "argument")
        } else {
            format!("{least} to {}", plural(most as u64, "argument"))
        };
        return Err(Error::script(format!(
            "`{}` takes {wanted}, not {}",
            word.name,
            call.given.len()
        ))
        .hint(format!("it is said as `{}`", word.signature())));
    }
    for (index, (given, parameter)) in call.given.iter().zip(word.parameters).enumerate() {
        match given {
            Given::Known(value) => word.takes(index, value)?,
            Given::Closure => {
                let closure = rhai::FnPtr::new("closure").map_or(rhai::Dynamic::UNIT, Into::into);
                word.takes(index, &closure)?;
            }
            Given::Items(_) => word.takes(index, &rhai::Array::new().into())?,
            Given::Entries(entries) => {
                word.takes(index, &rhai::Map::new().into())?;
                for (key, value) in entries.iter().filter(|_| !parameter.keys.is_empty()) {
                    word.option(parameter, key)?;
                    if let Some(value) = value.known() {
                        let one = rhai::Map::from([(key.as_str().into(), value)]);
                        word.takes(index, &one.into())?;
                    }
                }
            }
            Given::Computed => {}
        }
    }
    Ok(())
}

/// Whether a function of a script takes so many arguments; what stands before the dot may be its `this`.
fn takes(name: &str, calls: &Calls, call: &Call, count: usize) -> Result<()> {
    let fits = |parameters: usize| parameters == count || (call.method && parameters + 1 == count);
    if calls.named(name).any(|function| fits(function.parameters)) {
        return Ok(());
    }
    let wanted: Vec<String> = calls
        .named(name)
        .map(|function| plural(function.parameters as u64, "argument"))
        .collect();
    Err(Error::script(format!(
        "`{name}` takes {}, not {count}",
        wanted.join(" or ")
    )))
}

/// The first line that holds a text in quotes; 0 where none does.
fn line_of(source: &str, text: &str) -> usize {
    let quoted = format!("\"{text}\"");
    source
        .lines()
        .position(|line| line.contains(&quoted))
        .map_or(0, |index| index + 1)
}

fn place(line: usize) -> rhai::Position {
    match u16::try_from(line) {
        Ok(line) if line > 0 => rhai::Position::new(line, 1),
        _ => rhai::Position::NONE,
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Allowed(Some(rule)) => write!(formatter, "allowed by {rule}"),
            Self::Allowed(None) => formatter.write_str("may be looked at"),
            Self::Refused {
                why,
                hint: Some(hint),
            } => write!(formatter, "refused: {why} ({hint})"),
            Self::Refused { why, hint: None } => write!(formatter, "refused: {why}"),
            Self::Computed(why) => write!(formatter, "computed: {why}"),
        }
    }
}
