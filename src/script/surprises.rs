//! What surprises in the language: a page of the reference, and each example of it is a test.

/// One surprise.
pub struct Surprise {
    /// What is so, in one or two sentences.
    pub about: &'static str,
    /// An expression.
    pub example: &'static str,
    /// What it gives.
    pub gives: &'static str,
}

/// All of them.
pub const SURPRISES: &[Surprise] = &[
    Surprise {
        about: "`for_each` gives its closure the index; the element is `this`. So does no other: `map`, `filter`, `some`, \
                `all` give the element. `for path in paths { ... }` is plainer.",
        example: "let seen = []; [\"a\", \"b\"].for_each(|given| seen.push(given)); seen",
        gives: "[0, 1]",
    },
    Surprise {
        about: "Closures that are made in a loop share its variable: all of them see the last value. Give the value to a \
                variable that is declared inside of the loop, and it is the closure's own.",
        example: "let all = []; for n in [1, 2, 3] { all.push(|| n); } all.map(|each| each.call())",
        gives: "[3, 3, 3]",
    },
    Surprise {
        about: "`switch` compares numbers by value and type, and ranges by value alone: `5.0` is not the case `5`, and is \
                one of `1..=6`.",
        example: "[switch 5.5 { 1..=6 => \"in\", _ => \"out\" }, switch 5.0 { 5 => \"same\", _ => \"other\" }]",
        gives: "[\"in\", \"other\"]",
    },
    Surprise {
        about: "A function of one's own takes the place of a built-in one where it is called by its name, and not where it \
                is called as a method.",
        example: "fn len(x) { 99 } [len([1, 2]), [1, 2].len()]",
        gives: "[99, 2]",
    },
    Surprise {
        about: "A function sees its parameters and the constants of the script (`global::NAME`), and no other variable. A \
                closure sees what stands around it.",
        example: "let x = 1; let f = || x + 1; f.call()",
        gives: "2",
    },
    Surprise {
        about: "A map answers `()` for a key that it does not have; `??` gives something in its place.",
        example: "let map = #{ a: 1 }; [map.b, map.b ?? 2]",
        gives: "[(), 2]",
    },
];

/// The part of the reference page.
#[must_use]
pub fn reference() -> String {
    let mut page = "\n## What surprises\n\nThe language is [Rhai](https://rhai.rs/book/). Some of it is not what one expects.\n".to_owned();
    for surprise in SURPRISES {
        page.push_str(&format!(
            "\n- {}\n\n  ```rust\n  {}    // {}\n  ```\n",
            surprise.about, surprise.example, surprise.gives
        ));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::SURPRISES;

    #[test]
    fn each_surprise_is_so() {
        let engine = rhai::Engine::new();
        for surprise in SURPRISES {
            let value = engine.eval::<rhai::Dynamic>(surprise.example).unwrap();
            assert_eq!(value.to_string(), surprise.gives, "{}", surprise.example);
        }
    }
}
