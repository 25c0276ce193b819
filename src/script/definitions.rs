//! The reference page and the definitions for editors, both made from the list of words.

use crate::base::error::{Error, Result};
use crate::primitives;
use crate::primitives::contract::{Family, Primitive};

/// The reference page, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = "# Words of the script language\n\nMade by `rollback script doc` from the list of words; don't edit it by hand. \
                    What stands in brackets may be left out.\n"
        .to_owned();
    for (family, title, about) in [
        (
            Family::Look,
            "Look",
            "They tell about the world, in a preview as the run would leave it. They change nothing.",
        ),
        (
            Family::Change,
            "Change",
            "They ask for a change. In a preview it is pretended; in a run it passes the gate.",
        ),
        (Family::Tell, "Tell", "They speak to the run and to the person."),
    ] {
        page.push_str(&format!("\n## {title}\n\n{about}\n"));
        for word in primitives::all().iter().filter(|word| word.family() == family) {
            page.push_str(&entry(word));
        }
    }
    page.push_str(&super::surprises::reference());
    page
}

/// The entry of one word.
///
/// # Errors
/// [`crate::base::error::Kind::Usage`] with the nearest word.
pub fn one(name: &str) -> Result<String> {
    primitives::find(name).map(entry).ok_or_else(|| {
        let failure = Error::usage(format!("unknown word `{name}`"));
        match super::nearest_word(name) {
            Some(near) => failure.hint(format!("did you mean `{}`?", near.name)),
            None => failure.hint("`rollback script doc` lists them"),
        }
    })
}

fn entry(word: &Primitive) -> String {
    let mut text = format!("\n### `{}`\n\n{}\n", word.signature(), word.about);
    for parameter in word.parameters {
        let optional = if parameter.optional {
            ", may be left out"
        } else {
            ""
        };
        text.push_str(&format!(
            "\n- `{}`: {}{optional}",
            parameter.name,
            parameter.kind.name()
        ));
        if !parameter.keys.is_empty() {
            let keys: Vec<String> = parameter
                .keys
                .iter()
                .map(|(key, kind)| format!("`{key}` ({})", kind.name()))
                .collect();
            text.push_str(&format!("; keys: {}", keys.join(", ")));
        }
    }
    if !word.parameters.is_empty() {
        text.push('\n');
    }
    text.push_str(&format!(
        "\nGives {}.\n\n```rust\n{}\n```\n",
        word.returns.name(),
        word.example
    ));
    text
}

/// The definitions file for editors.
#[must_use]
pub fn definitions() -> String {
    let mut text = "module static;\n".to_owned();
    for word in primitives::all() {
        for count in word.counts() {
            let parameters: Vec<String> = word
                .parameters
                .iter()
                .take(count)
                .map(|parameter| format!("{}: {}", parameter.name, parameter.kind.rhai()))
                .collect();
            text.push_str(&format!(
                "\n/// {}\nfn {}({}) -> {};\n",
                word.about,
                word.name,
                parameters.join(", "),
                word.returns.rhai()
            ));
        }
    }
    text
}
