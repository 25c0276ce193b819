//! Who is at work in a script, its engine or a word of ours, and where: the engine has mistakes too, and a person must be
//! told the line of the script at which one was met. The engine does not tell; so a pass over a script in which each line
//! says itself finds it out.

use std::collections::BTreeMap;

use rhai::{ASTNode, OptimizationLevel};

use super::{engine, without_shebang};
use crate::workspace::story::Script;

/// What a line says before its statement, in a pass that looks for a place.
pub const MARK: &str = "__line";

/// The script with each line of its functions saying itself, where a statement begins for sure.
pub fn marked(script: &Script) -> Option<Script> {
    let mut parser = engine::reader();
    parser.set_optimization_level(OptimizationLevel::None);
    let text = without_shebang(&script.source);
    let ast = parser.compile(text).ok()?;
    let lines: Vec<&str> = text.split('\n').collect();
    let mut marks: BTreeMap<usize, usize> = BTreeMap::new();
    ast.clone_functions_only().walk(&mut |path: &[ASTNode<'_>]| {
        if let Some(ASTNode::Stmt(statement)) = path.last()
            && let (Some(line), Some(column)) = (statement.position().line(), statement.position().position())
            && let Some(offset) = beginning(&lines, line - 1, column - 1)
        {
            let above: usize = lines.iter().take(line - 1).map(|line| line.len() + 1).sum();
            marks.insert(above + offset, line);
        }
        true
    });
    let mut text = text.to_owned();
    for (at, line) in marks.into_iter().rev() {
        text.insert_str(at, &format!("{MARK}({line});"));
    }
    Script::compile(&engine::reader(), &script.name, script.origin.clone(), &text).ok()
}

/// Where in its line a statement begins of which a character is known.
fn beginning(lines: &[&str], line: usize, column: usize) -> Option<usize> {
    let text = *lines.get(line)?;
    let (at, _) = text.char_indices().nth(column)?;
    let before = text.get(..at)?;
    let cut = before.rfind([';', '{', '}']).map_or(0, |cut| cut + 1);
    let rest = text.get(cut..)?;
    let start = cut + (rest.len() - rest.trim_start().len());
    let is_statement = if cut > 0 {
        !before.get(..cut)?.ends_with("#{") && !before.get(..cut)?.ends_with("${")
    } else {
        // What stands before it, comments left out, ends a statement or opens a block.
        let above = lines.get(..line)?.iter().rev();
        let mut above = above.map(|line| line.split("//").next().unwrap_or_default().trim_end());
        let last = above.find(|line| !line.is_empty())?;
        last.ends_with([';', '{', '}']) && !last.ends_with("#{")
    };
    let arm = text.get(start..at).is_some_and(|between| between.contains("=>"));
    (is_statement && !arm && start <= at).then_some(start)
}

/// Fails as the engine would, where a test asked for it.
#[cfg(debug_assertions)]
pub fn fail_for_a_test(text: &str) {
    let asked = std::env::var_os("ROLLBACK_TEST_ENGINE_FAILURE");
    assert!(
        asked.is_none_or(|asked| asked != text.trim_matches('"')),
        "asked for by a test"
    );
}

#[cfg(test)]
mod tests {
    use super::marked;
    use crate::script::catalogue::EMBEDDED;
    use crate::script::engine;
    use crate::workspace::story::{Origin, Script};

    fn compiled(text: &str) -> Script {
        Script::compile(&engine::reader(), "s.rhai", Origin::Embedded, text).unwrap()
    }

    #[test]
    fn each_line_that_begins_a_statement_says_itself() {
        let script = compiled(
            "const A = 1;\nfn execute() {\n    // why\n    let x = [1,\n        2];\n    x.sort();\n    if x.len() > 0 { a::b(x); }\n    \
             let m = #{ f: || x.len() };\n    step(\"s\", || {\n        x = 3;\n    });\n    switch x {\n        1 => foo(),\n        _ => { bar(); }\n    }\n}\n",
        );
        let marked = marked(&script).unwrap();
        let lines: Vec<usize> = marked
            .source
            .lines()
            .enumerate()
            .filter(|(_, line)| line.contains("__line("))
            .map(|(index, _)| index + 1)
            .collect();
        assert_eq!(lines, [4, 6, 7, 8, 9, 10, 12, 14], "{}", marked.source);
        assert!(
            marked.source.contains("__line(7);if x.len() > 0 {"),
            "{}",
            marked.source
        );
        assert!(
            marked.source.contains("{ __line(7);a::b(x); }"),
            "{}",
            marked.source
        );
    }

    #[test]
    fn every_embedded_story_can_be_marked() {
        for (name, text) in EMBEDDED {
            assert!(marked(&compiled(text)).is_some(), "{name}");
        }
    }
}
