//! What a story's header may say: one table, from which come its checks, the JSON Schema that `rollback script schema`
//! prints, and the lists of `docs/stories.md`. A word that nobody reads is an error, not nothing.

use rhai::{Dynamic, Expr, Map, OptimizationLevel, Stmt};
use serde_json::{Value, json};

use super::calls::Calls;
use super::{engine, without_shebang};
use crate::base::error::Error;
use crate::base::wording::nearest;
use crate::pattern::{Pattern, is_pattern};
use crate::primitives::contract::type_name;
use crate::workspace::story::{PHASES, Script, entries, texts};

/// The longest id of a story, in characters.
const LONGEST_ID: usize = 64;

/// How a story begins.
const EXAMPLE: &str = "const STORY = #{ id: \"2.1\", title: \"What was rolled out\" };";

/// What stands under a key.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A name that files and command lines can hold.
    Id,
    /// A text that is not empty.
    Text,
    /// An array of texts.
    Texts,
    /// A text or an array of texts: paths, or patterns of paths.
    Paths,
    /// An array of paths or patterns.
    PathList,
    /// An array of maps.
    Entries(&'static [Field]),
}

/// One key of a header, or of an entry in it.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The key.
    pub name: &'static str,
    /// What stands under it.
    pub shape: Shape,
    /// It must be there.
    pub required: bool,
    /// What it is for, in one line.
    pub about: &'static str,
}

const fn needed(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field {
        name,
        shape,
        required: true,
        about,
    }
}

const fn optional(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field {
        name,
        shape,
        required: false,
        about,
    }
}

/// The keys of a header.
pub static FIELDS: &[Field] = &[
    needed(
        "id",
        Shape::Id,
        "what names the story on the command line: letters, digits, `.`, `-`, `_`; at most 64",
    ),
    needed("title", Shape::Text, "what it is called"),
    optional("feature", Shape::Text, "its feature flag: switched off first"),
    optional(
        "also_gates",
        Shape::Texts,
        "other flags that gate its code: switched off too",
    ),
    optional(
        "services",
        Shape::Entries(SERVICE),
        "what it runs: stopped before anything is moved",
    ),
    optional("data", Shape::Entries(DATA), "its data: moved into backups"),
    optional(
        "preserve",
        Shape::Entries(PRESERVE),
        "results and configuration that go into backups too",
    ),
    optional(
        "files",
        Shape::PathList,
        "what it owns: removed, unless something that stays needs it",
    ),
    optional("caches", Shape::PathList, "removed"),
    optional("shared", Shape::PathList, "used by others too: never removed"),
    optional(
        "npm",
        Shape::Texts,
        "packages of npm: uninstalled, unless something that stays needs them",
    ),
    optional("pip", Shape::Texts, "packages of pip, likewise"),
    optional(
        "docker",
        Shape::Text,
        "how the names of its containers and images begin",
    ),
    optional(
        "env",
        Shape::Texts,
        "how its keys of the environment file begin: removed",
    ),
];

static SERVICE: &[Field] = &[
    optional("name", Shape::Text, "what it is called"),
    optional(
        "pid_file",
        Shape::Text,
        "the file that holds the number of its process",
    ),
    optional("commands", Shape::Texts, "leading words of its command lines"),
    optional("holds", Shape::PathList, "files that it holds open"),
];

static DATA: &[Field] = &[
    needed("path", Shape::Paths, "what is moved"),
    needed("backup", Shape::Text, "the name of the backup"),
];

static PRESERVE: &[Field] = &[
    needed("paths", Shape::Paths, "what is moved"),
    needed("backup", Shape::Text, "the name of the backup"),
];

/// A way into a header: keys and places in arrays.
#[derive(Debug, Clone)]
enum Turn {
    Key(String),
    Index(usize),
}

/// The paths and patterns that a header names, those of its entries included.
#[must_use]
pub fn paths(header: &Map) -> Vec<String> {
    fn add(map: &Map, fields: &'static [Field], paths: &mut Vec<String>) {
        for field in fields {
            match field.shape {
                Shape::Paths | Shape::PathList => paths.extend(texts(map, field.name)),
                Shape::Entries(fields) => {
                    for entry in entries(map, field.name) {
                        add(&entry, fields, paths);
                    }
                }
                Shape::Id | Shape::Text | Shape::Texts => {}
            }
        }
    }
    let mut paths = Vec::new();
    add(header, FIELDS, &mut paths);
    paths
}

/// What is wrong with the header of a story and with the names of its phases, each at its place.
#[must_use]
pub fn problems(script: &Script) -> Vec<Error> {
    if script.header.is_empty() {
        return vec![
            Error::script(format!(
                "the STORY of `{}` is missing: a story begins with a literal constant map STORY",
                script.name
            ))
            .hint(EXAMPLE)
            .at(script.position(rhai::Position::new(1, 1))),
        ];
    }
    let mut checking = Checking {
        script,
        problems: Vec::new(),
    };
    checking.map(&script.header, FIELDS, "STORY", &[]);
    let mut problems = checking.problems;
    problems.extend(misnamed_phases(script));
    problems
}

/// Functions that nobody calls, because they are no phase by a letter or two, or take what no phase is given.
fn misnamed_phases(script: &Script) -> Vec<Error> {
    /// So many letters may differ.
    const NEAR: usize = 2;
    let calls = Calls::of(&script.ast);
    let is_said = |name: &str| calls.calls.iter().any(|call| call.name == name);
    let mut wrong = Vec::new();
    for function in &calls.functions {
        if is_said(&function.name) {
            continue;
        }
        if PHASES.contains(&function.name.as_str()) {
            if function.parameters > 0 && !script.has_phase(&function.name) {
                let failure = Error::script(format!(
                    "the phase `{}` takes no arguments: as it is, nobody calls it",
                    function.name
                ));
                wrong.push(
                    failure
                        .hint(format!(
                            "fn {}() {{ ... }}; the header is `global::STORY`",
                            function.name
                        ))
                        .at(script.place_of(&function.name)),
                );
            }
            continue;
        }
        let near = PHASES.iter().find(|phase| {
            !script.has_phase(phase)
                && strsim::damerau_levenshtein(&function.name.to_ascii_lowercase(), phase) <= NEAR
        });
        if let Some(near) = near {
            wrong.push(
                Error::script(format!(
                    "`{}` is no phase of a story, and nobody calls it",
                    function.name
                ))
                .hint(format!("did you mean `{near}`?"))
                .at(script.place_of(&function.name)),
            );
        }
    }
    wrong
}

struct Checking<'a> {
    script: &'a Script,
    problems: Vec<Error>,
}

impl Checking<'_> {
    fn wrong(&mut self, way: &[Turn], at_key: bool, what: String, hint: String) {
        let place = locate(self.script, way, at_key);
        self.problems.push(
            Error::script(format!("the STORY of `{}`: {what}", self.script.name))
                .hint(hint)
                .at(self.script.position(place)),
        );
    }

    fn map(&mut self, map: &Map, fields: &'static [Field], name: &str, way: &[Turn]) {
        for (key, value) in map {
            let inner = [way, &[Turn::Key(key.to_string())]].concat();
            if let Some(field) = fields.iter().find(|field| field.name == key.as_str()) {
                let name = if way.is_empty() {
                    field.name.to_owned()
                } else {
                    format!("{name}.{}", field.name)
                };
                self.value(value, field.shape, &name, &inner);
                continue;
            }
            let known = fields.iter().map(|field| field.name);
            let hint = nearest(key, known.clone()).map_or_else(
                || format!("known: {}", known.collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.wrong(&inner, true, format!("`{name}` has no key `{key}`"), hint);
        }
        for field in fields.iter().filter(|field| field.required) {
            if !map.contains_key(field.name) {
                let hint = if way.is_empty() {
                    EXAMPLE.to_owned()
                } else {
                    format!("it takes {}", keys(fields))
                };
                let what = format!("`{name}` lacks `{}`", field.name);
                self.wrong(way, false, what, hint);
            }
        }
        if std::ptr::eq(fields, SERVICE)
            && !["pid_file", "commands", "holds"]
                .iter()
                .any(|key| map.contains_key(*key))
        {
            self.wrong(
                way,
                false,
                format!("`{name}` does not say how its processes are found"),
                "give it `pid_file`, `commands` or `holds`".to_owned(),
            );
        }
    }

    fn value(&mut self, value: &Dynamic, shape: Shape, name: &str, way: &[Turn]) {
        match shape {
            Shape::Id => return self.id(value, name, way),
            Shape::Text => {
                self.text(value, name, way);
                return;
            }
            Shape::Paths if value.is_string() => return self.path(value, name, way),
            Shape::Texts | Shape::Paths | Shape::PathList | Shape::Entries(_) => {}
        }
        let Some(array) = value.read_lock::<rhai::Array>() else {
            let what = format!("`{name}` is {}, and takes {}", counted(value), shape.rendered());
            return self.wrong(way, false, what, format!("{name}: [...]"));
        };
        for (index, item) in array.iter().enumerate() {
            let inner = [way, &[Turn::Index(index)]].concat();
            self.item(item, shape, &format!("{name}[{index}]"), &inner);
        }
    }

    /// One of an array of this shape.
    fn item(&mut self, value: &Dynamic, shape: Shape, name: &str, way: &[Turn]) {
        match shape {
            Shape::Paths | Shape::PathList => self.path(value, name, way),
            Shape::Id | Shape::Text | Shape::Texts => {
                self.text(value, name, way);
            }
            Shape::Entries(fields) => {
                if let Some(map) = value.read_lock::<Map>() {
                    return self.map(&map, fields, name, way);
                }
                let what = format!("`{name}` is {}", counted(value));
                self.wrong(way, false, what, format!("it is a map with {}", keys(fields)));
            }
        }
    }

    /// The text of a value that is one.
    fn text(&mut self, value: &Dynamic, name: &str, way: &[Turn]) -> Option<String> {
        let what = match value.clone().into_string() {
            Ok(text) if !text.is_empty() => return Some(text),
            Ok(_) => format!("`{name}` is an empty text"),
            Err(_) => format!("`{name}` is {}, and takes a text", counted(value)),
        };
        self.wrong(
            way,
            false,
            what,
            format!("{}: \"...\"", name.split('[').next().unwrap_or(name)),
        );
        None
    }

    fn path(&mut self, value: &Dynamic, name: &str, way: &[Turn]) {
        let Some(text) = self.text(value, name, way) else {
            return;
        };
        if is_pattern(&text)
            && let Err(error) = Pattern::parse(text.trim_end_matches('/'))
        {
            let hint = error.hint_text().unwrap_or_default().to_owned();
            self.wrong(way, false, format!("`{name}`: {}", error.message()), hint);
        }
    }

    /// It names files, and stands on command lines.
    fn id(&mut self, value: &Dynamic, name: &str, way: &[Turn]) {
        let Some(id) = self.text(value, name, way) else {
            return;
        };
        let plain =
            |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_');
        let what = if !id.chars().all(plain) {
            "it has an `id` with other characters than letters, digits, `.`, `-` and `_`"
        } else if id.len() > LONGEST_ID
            || !id.starts_with(|first: char| first.is_ascii_alphanumeric())
            || id == "all"
        {
            "it has an `id` that is no name: at most 64 characters, the first a letter or digit, and not `all`"
        } else {
            return;
        };
        self.wrong(way, false, what.to_owned(), EXAMPLE.to_owned());
    }
}

/// "a string", "an array".
fn counted(value: &Dynamic) -> String {
    match type_name(value) {
        "nothing" => "nothing".to_owned(),
        name if name.starts_with(['a', 'e', 'i', 'o', 'u']) => format!("an {name}"),
        name => format!("a {name}"),
    }
}

fn keys(fields: &[Field]) -> String {
    let names: Vec<String> = fields.iter().map(|field| format!("`{}`", field.name)).collect();
    names.join(", ")
}

/// Where a part of the header stands. The compiled form has no places in constants, so the text is read once more.
fn locate(script: &Script, way: &[Turn], at_key: bool) -> rhai::Position {
    let mut engine = engine::reader();
    engine.set_optimization_level(OptimizationLevel::None);
    let Ok(ast) = engine.compile(without_shebang(&script.source)) else {
        return rhai::Position::NONE;
    };
    let header = ast.statements().iter().find_map(|statement| match statement {
        Stmt::Var(variable, ..) if variable.0.name == "STORY" => Some(&variable.1),
        _ => None,
    });
    let Some(mut expression) = header else {
        return rhai::Position::NONE;
    };
    let mut place = expression.start_position();
    for (step, turn) in way.iter().enumerate() {
        let next = match (turn, expression) {
            (Turn::Key(key), Expr::Map(map, _)) => {
                map.0
                    .iter()
                    .find(|(name, _)| name.name == key)
                    .map(|(name, value)| {
                        let last = step + 1 == way.len();
                        place = if last && at_key {
                            name.pos
                        } else {
                            value.start_position()
                        };
                        value
                    })
            }
            (Turn::Index(index), Expr::Array(items, _)) => items.get(*index).inspect(|item| {
                place = item.start_position();
            }),
            _ => None,
        };
        let Some(next) = next else { break };
        expression = next;
    }
    place
}

impl Shape {
    /// For messages and the reference page.
    #[must_use]
    pub const fn rendered(self) -> &'static str {
        match self {
            Self::Id => "a name",
            Self::Text => "a text",
            Self::Texts => "an array of texts",
            Self::Paths => "a path or pattern, or an array of them",
            Self::PathList => "an array of paths and patterns",
            Self::Entries(_) => "an array of maps",
        }
    }

    fn schema(self) -> Value {
        let text = json!({ "type": "string", "minLength": 1 });
        match self {
            Self::Id => json!({
                "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$", "maxLength": LONGEST_ID,
                "not": { "const": "all" },
            }),
            Self::Text => text,
            Self::Texts | Self::PathList => json!({ "type": "array", "items": text }),
            Self::Paths => json!({ "anyOf": [text, { "type": "array", "items": text }] }),
            Self::Entries(fields) => json!({ "type": "array", "items": object(fields) }),
        }
    }
}

fn object(fields: &'static [Field]) -> Value {
    let properties: serde_json::Map<String, Value> = fields
        .iter()
        .map(|field| {
            let mut schema = field.shape.schema();
            if let Some(schema) = schema.as_object_mut() {
                schema.insert("description".to_owned(), field.about.into());
            }
            (field.name.to_owned(), schema)
        })
        .collect();
    let required: Vec<&str> = fields
        .iter()
        .filter(|field| field.required)
        .map(|field| field.name)
        .collect();
    let mut object = json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    });
    if std::ptr::eq(fields, SERVICE) {
        object["anyOf"] =
            json!([{ "required": ["pid_file"] }, { "required": ["commands"] }, { "required": ["holds"] }]);
    }
    object
}

/// The schema of a header, as JSON Schema of 2020-12.
#[must_use]
pub fn schema() -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "rollback.story/1",
        "title": "The map STORY of a story",
    });
    if let (Some(schema), Value::Object(object)) = (schema.as_object_mut(), object(FIELDS)) {
        schema.extend(object);
    }
    schema
}

/// The lists of keys, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = String::new();
    let mut list = |title: &str, fields: &[Field]| {
        page.push_str(&format!("### {title}\n\n"));
        for field in fields {
            let required = if field.required { ", required" } else { "" };
            let line = format!(
                "- `{}` ({}{required}): {}",
                field.name,
                field.shape.rendered(),
                field.about
            );
            page.push_str(&format!("{line}\n"));
        }
        page.push('\n');
    };
    list("Keys of STORY", FIELDS);
    for field in FIELDS {
        if let Shape::Entries(fields) = field.shape {
            list(&format!("Keys of an entry of `{}`", field.name), fields);
        }
    }
    page
}

#[cfg(test)]
mod tests;
