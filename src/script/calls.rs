//! The calls that a script holds, read from its compiled form. Nothing is run: what only a run can tell is `Computed`.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTNode, Dynamic, Expr, FnCallExpr, FnPtr, Map, Position, Stmt};

/// What the engine calls a closure, followed by a hash.
const CLOSURE: &str = "anon$";

/// An argument, as far as the text of the script tells it.
#[derive(Debug, Clone)]
pub enum Given {
    /// A literal, or a literal constant (`global::NAME`, also a part of it).
    Known(Dynamic),
    /// An array of which an element is computed.
    Items(Vec<Self>),
    /// A map of which a value is computed.
    Entries(Vec<(String, Self)>),
    /// A closure.
    Closure,
    /// Only a run can tell.
    Computed,
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// `story` of `story::retire_data(...)`; empty for a plain name.
    pub namespace: String,
    /// The function.
    pub name: String,
    /// The arguments; what stands before the dot of a method comes first.
    pub given: Vec<Given>,
    /// Said as `value.name(...)`.
    pub method: bool,
    /// The script's functions in which it stands; two, where both hold the same closure. None at the top.
    pub inside: BTreeSet<String>,
    /// Where.
    pub position: Position,
}

/// One import.
#[derive(Debug, Clone)]
pub struct Import {
    /// The path, where it is a literal.
    pub path: Option<String>,
    /// The name under which its functions are called.
    pub alias: String,
    /// Where.
    pub position: Position,
}

/// A function that a script defines.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// How many parameters it takes.
    pub parameters: usize,
}

/// What a script holds.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    /// Its calls, by place.
    pub calls: Vec<Call>,
    /// Its imports, by place.
    pub imports: Vec<Import>,
    /// Its functions, by name; closures belong to the function in which they stand.
    pub functions: Vec<Function>,
}

impl Calls {
    /// Reads a compiled script.
    #[must_use]
    pub fn of(ast: &AST) -> Self {
        let constants = ast
            .iter_literal_variables(true, false)
            .map(|(name, _, value)| (name.to_owned(), value))
            .collect();
        let mut reader = Reader {
            constants,
            inside: String::new(),
            calls: Vec::new(),
            imports: Vec::new(),
            closures: BTreeMap::new(),
        };
        for statement in ast.statements() {
            statement.walk(&mut Vec::new(), &mut |path| reader.node(path));
        }
        let functions: BTreeSet<(String, usize)> = ast
            .iter_functions()
            .map(|function| (function.name.to_owned(), function.params.len()))
            .collect();
        for (name, parameters) in &functions {
            reader.inside.clone_from(name);
            // The engine shows the bodies of all functions to a walk over their script: so one of this function alone.
            let mut alone = ast.clone_functions_only();
            alone.retain_functions(|_, _, other, count| other == name && count == *parameters);
            alone.walk(&mut |path| reader.node(path));
        }
        reader.finish(functions)
    }

    /// The functions of this name.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Function> {
        self.functions
            .iter()
            .filter(move |function| function.name == name)
    }
}

struct Reader {
    constants: BTreeMap<String, Dynamic>,
    inside: String,
    calls: Vec<Call>,
    imports: Vec<Import>,
    /// A closure, and the functions or closures in which it stands.
    closures: BTreeMap<String, BTreeSet<String>>,
}

impl Reader {
    fn node(&mut self, path: &[ASTNode<'_>]) -> bool {
        match path.last() {
            Some(
                ASTNode::Stmt(Stmt::FnCall(call, position)) | ASTNode::Expr(Expr::FnCall(call, position)),
            ) => {
                self.call(call, None, *position);
            }
            Some(ASTNode::Expr(node @ Expr::MethodCall(call, position))) => {
                let receiver = self.receiver(path, node);
                self.call(call, Some(receiver), *position);
            }
            Some(ASTNode::Expr(Expr::DynamicConstant(value, position))) => self.pointers(value, *position),
            Some(ASTNode::Stmt(Stmt::Import(import, position))) => {
                let path = self.given(&import.0).text();
                self.imports.push(Import {
                    path,
                    alias: import.1.name.to_string(),
                    position: *position,
                });
            }
            _ => {}
        }
        true
    }

    fn call(&mut self, call: &FnCallExpr, receiver: Option<Given>, position: Position) {
        let is_name = call
            .name
            .starts_with(|first: char| first.is_alphabetic() || first == '_');
        if call.is_operator_call() || !is_name {
            return;
        }
        let method = receiver.is_some();
        let arguments: Vec<Given> = call.args.iter().map(|argument| self.given(argument)).collect();
        self.calls.push(Call {
            namespace: call.namespace.to_string(),
            name: call.name.to_string(),
            given: receiver.into_iter().chain(arguments).collect(),
            method,
            inside: BTreeSet::from([self.inside.clone()]),
            position,
        });
    }

    /// What stands before the dot of a method: `a.b.f()` is `a.(b.f())`, so its receiver is spread over the chain.
    fn receiver(&self, path: &[ASTNode<'_>], method: &Expr) -> Given {
        let mut below = method;
        let mut names = Vec::new();
        for node in path.iter().rev().skip(1) {
            let ASTNode::Expr(chain) = node else { break };
            let Expr::Dot(pair, ..) = chain else { break };
            if std::ptr::eq::<Expr>(&raw const pair.rhs, below) {
                match &pair.lhs {
                    Expr::Property(property, _) => names.push(property.2.clone()),
                    head if names.is_empty() => return self.given(head),
                    head => {
                        let value = names
                            .iter()
                            .rev()
                            .try_fold(self.given(head).known(), |value, name| {
                                let value = value?;
                                let map = value.read_lock::<Map>()?;
                                Some(map.get(name.as_str()).cloned())
                            });
                        return value.flatten().map_or(Given::Computed, Given::Known);
                    }
                }
            }
            below = chain;
        }
        Given::Computed
    }

    /// Closures, and functions that a constant names: `Fn("remove_path")`.
    fn pointers(&mut self, value: &Dynamic, position: Position) {
        if let Some(pointer) = value.read_lock::<FnPtr>() {
            let name = pointer.fn_name().to_owned();
            if name.starts_with(CLOSURE) {
                let inside = self.inside.clone();
                self.closures.entry(name).or_default().insert(inside);
            } else {
                self.calls.push(Call {
                    namespace: String::new(),
                    name: "Fn".to_owned(),
                    given: vec![Given::Known(name.into())],
                    method: false,
                    inside: BTreeSet::from([self.inside.clone()]),
                    position,
                });
            }
        } else if let Some(items) = value.read_lock::<rhai::Array>() {
            items.iter().for_each(|item| self.pointers(item, position));
        } else if let Some(entries) = value.read_lock::<Map>() {
            entries.values().for_each(|item| self.pointers(item, position));
        }
    }

    fn given(&self, expression: &Expr) -> Given {
        match expression {
            Expr::DynamicConstant(value, _) if value.is_fnptr() => Given::Closure,
            Expr::Array(items, _) => Given::items(items.iter().map(|item| self.given(item)).collect()),
            Expr::Map(entries, _) => {
                let entries = entries.0.iter();
                Given::entries(
                    entries
                        .map(|(key, value)| (key.name.to_string(), self.given(value)))
                        .collect(),
                )
            }
            Expr::Variable(variable, ..) if variable.2.to_string() == "global" => {
                let known = self.constants.get(variable.1.as_str());
                known.cloned().map_or(Given::Computed, Given::Known)
            }
            Expr::Dot(pair, ..) => match self.given(&pair.lhs) {
                Given::Known(value) => property(&value, &pair.rhs).map_or(Given::Computed, Given::Known),
                _ => Given::Computed,
            },
            // A closure that takes variables along.
            Expr::Stmt(block) => {
                let call = match block.statements().last() {
                    Some(Stmt::FnCall(call, _)) => Some(call),
                    Some(Stmt::Expr(last)) => match &**last {
                        Expr::FnCall(call, _) => Some(call),
                        _ => None,
                    },
                    _ => None,
                };
                call.filter(|call| call.name == "curry")
                    .map_or(Given::Computed, |_| Given::Closure)
            }
            other => other.get_literal_value(None).map_or(Given::Computed, |value| {
                if value.is_fnptr() {
                    Given::Closure
                } else {
                    Given::Known(value)
                }
            }),
        }
    }

    fn finish(self, functions: BTreeSet<(String, usize)>) -> Calls {
        let Self {
            mut calls,
            mut imports,
            closures,
            ..
        } = self;
        for call in &mut calls {
            call.inside = around(&call.inside, &closures);
        }
        let place = |position: Position| (position.line(), position.position());
        calls.sort_by_key(|call| place(call.position));
        imports.sort_by_key(|import| place(import.position));
        let functions = functions
            .into_iter()
            .filter(|(name, _)| !name.starts_with(CLOSURE))
            .map(|(name, parameters)| Function { name, parameters })
            .collect();
        Calls {
            calls,
            imports,
            functions,
        }
    }
}

/// The functions in which these functions and closures stand.
fn around(inside: &BTreeSet<String>, closures: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut pending: Vec<&String> = inside.iter().collect();
    let mut seen = BTreeSet::new();
    let mut functions = BTreeSet::new();
    while let Some(name) = pending.pop() {
        if name.starts_with(CLOSURE) && seen.insert(name) {
            pending.extend(closures.get(name).into_iter().flatten());
        } else if !name.is_empty() && !name.starts_with(CLOSURE) {
            functions.insert(name.clone());
        }
    }
    functions
}

/// `.a.b` of a literal map.
fn property(value: &Dynamic, chain: &Expr) -> Option<Dynamic> {
    match chain {
        Expr::Property(property, _) => value.read_lock::<Map>()?.get(property.2.as_str()).cloned(),
        Expr::Dot(pair, ..) => property(&property(value, &pair.lhs)?, &pair.rhs),
        _ => None,
    }
}

impl Given {
    fn items(items: Vec<Self>) -> Self {
        let known: Option<rhai::Array> = items.iter().map(Self::known).collect();
        known.map_or(Self::Items(items), |items| Self::Known(items.into()))
    }

    fn entries(entries: Vec<(String, Self)>) -> Self {
        let known: Option<Map> = entries
            .iter()
            .map(|(key, value)| Some((key.as_str().into(), value.known()?)))
            .collect();
        known.map_or(Self::Entries(entries), |entries| Self::Known(entries.into()))
    }

    /// The value, where all of it is known.
    #[must_use]
    pub fn known(&self) -> Option<Dynamic> {
        match self {
            Self::Known(value) => Some(value.clone()),
            _ => None,
        }
    }

    /// The string, where it is a known one.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        self.known()?.into_string().ok()
    }

    /// The elements of an array; a value that is none stands for itself.
    #[must_use]
    pub fn elements(&self) -> Vec<Self> {
        match self {
            Self::Items(items) => items.clone(),
            Self::Known(value) => match value.read_lock::<rhai::Array>() {
                Some(items) => items.iter().cloned().map(Self::Known).collect(),
                None => vec![self.clone()],
            },
            other => vec![other.clone()],
        }
    }

    /// The keys and values of a map; nothing for what is none.
    #[must_use]
    pub fn pairs(&self) -> Vec<(String, Self)> {
        match self {
            Self::Entries(entries) => entries.clone(),
            Self::Known(value) => value.read_lock::<Map>().map_or_else(Vec::new, |map| {
                let pairs = map.iter();
                pairs
                    .map(|(key, value)| (key.to_string(), Self::Known(value.clone())))
                    .collect()
            }),
            _ => Vec::new(),
        }
    }

    /// Whether all of it is known; a closure is.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        matches!(self, Self::Known(_) | Self::Closure)
    }
}

impl std::fmt::Display for Given {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Known(value) => formatter.write_str(&literal(value)),
            Self::Items(items) => {
                let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                write!(formatter, "[{}]", items.join(", "))
            }
            Self::Entries(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| format!("{key}: {value}"))
                    .collect();
                write!(formatter, "#{{ {} }}", entries.join(", "))
            }
            Self::Closure => formatter.write_str("|| ..."),
            Self::Computed => formatter.write_str("computed"),
        }
    }
}

/// A value as a script writes it.
fn literal(value: &Dynamic) -> String {
    if let Some(items) = value.read_lock::<rhai::Array>() {
        let items: Vec<String> = items.iter().map(literal).collect();
        return format!("[{}]", items.join(", "));
    }
    if let Some(entries) = value.read_lock::<Map>() {
        let entries: Vec<String> = entries
            .iter()
            .map(|(key, value)| format!("{key}: {}", literal(value)))
            .collect();
        return format!("#{{ {} }}", entries.join(", "));
    }
    match value.read_lock::<rhai::ImmutableString>() {
        Some(text) => format!("{:?}", text.as_str()),
        None if value.is_fnptr() => "|| ...".to_owned(),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::engine;

    fn calls(text: &str) -> Calls {
        Calls::of(&engine::reader().compile(text).expect("a script"))
    }

    fn said(calls: &Calls) -> Vec<String> {
        let calls = calls.calls.iter();
        calls
            .map(|call| {
                let given: Vec<String> = call.given.iter().map(ToString::to_string).collect();
                let line = call.position.line().unwrap_or(0);
                let inside: Vec<&str> = call.inside.iter().map(String::as_str).collect();
                format!("{line} {} {}({})", inside.join("+"), call.name, given.join(", "))
            })
            .collect()
    }

    #[test]
    fn literals_constants_and_closures_are_read_and_the_rest_is_computed() {
        let calls = calls(
            r#"const STORY = #{ id: "1", data: #{ path: "a/b" } };
fn execute(where) {
    remove_path("x" + "/y");
    remove_path(where);
    remove_path(global::STORY.data.path);
    const near = "c";
    remove_path(near);
    step("one", || { remove_paths(["d", where]); });
    step("two", || { let deep = || remove_path("e"); deep.call(); });
    "f".remove_path();
    global::STORY.data.path.remove_path().len();
    run_command(["npm", where], #{ cwd: "g" });
    if false { remove_path("never"); }
    switch where { 1 => remove_path("h"), _ => remove_path(`${where}/i`) }
}"#,
        );
        assert_eq!(
            said(&calls),
            [
                "3 execute remove_path(\"x/y\")",
                "4 execute remove_path(computed)",
                "5 execute remove_path(\"a/b\")",
                "7 execute remove_path(\"c\")",
                "8 execute step(\"one\", || ...)",
                "8 execute curry(|| ..., computed)",
                "8 execute remove_paths([\"d\", computed])",
                "9 execute step(\"two\", || ...)",
                "9 execute remove_path(\"e\")",
                "9 execute call(computed)",
                "10 execute remove_path(\"f\")",
                "11 execute remove_path(\"a/b\")",
                "11 execute len(computed)",
                "12 execute run_command([\"npm\", computed], #{ cwd: \"g\" })",
                "14 execute remove_path(\"h\")",
                "14 execute remove_path(computed)",
            ]
        );
    }

    #[test]
    fn imports_and_names_behind_pointers_are_read() {
        let calls = calls(
            "import \"std/story\" as story;\nfn execute() { import \"a\" + \"b\"; story::stop(1); Fn(\"remove_path\").call(\"x\"); [\"y\"].map(\"remove_path\"); }",
        );
        let imports: Vec<_> = calls
            .imports
            .iter()
            .map(|import| (import.path.as_deref(), import.alias.as_str()))
            .collect();
        assert_eq!(imports, [(Some("std/story"), "story"), (Some("ab"), "")]);
        assert_eq!(
            said(&calls),
            [
                "2 execute stop(1)",
                "2 execute Fn(\"remove_path\")",
                "2 execute call(|| ..., \"x\")",
                "2 execute map([\"y\"], \"remove_path\")",
            ]
        );
        assert_eq!(
            calls.calls.first().map(|call| call.namespace.as_str()),
            Some("story")
        );
    }
}
