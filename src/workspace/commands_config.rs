//! `policy.commands`: the programs that a script may start, and what a preview does with each.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The listed programs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Commands(Vec<Command>);

/// A listed program: its name alone, or with what it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program, as a script names it.
    pub program: String,
    /// What a preview does with it.
    pub preview: Preview,
}

/// What a preview does with a program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preview {
    /// It is not started: what it changes is unknown before the run.
    #[default]
    Skip,
    /// It runs over a layer of the workspace, and the run puts in place what it wrote there.
    Overlay,
}

impl Commands {
    /// The listed program of this name.
    #[must_use]
    pub fn find(&self, program: &str) -> Option<&Command> {
        self.0.iter().find(|command| command.program == program)
    }

    /// The names of all.
    #[must_use]
    pub fn programs(&self) -> Vec<String> {
        self.0.iter().map(|command| command.program.clone()).collect()
    }

    /// Whether a preview runs any of them.
    #[must_use]
    pub fn any_rehearsed(&self) -> bool {
        self.0.iter().any(|command| command.preview == Preview::Overlay)
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Command;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a program, or a mapping with `program` and `preview`")
            }

            fn visit_str<E: serde::de::Error>(self, program: &str) -> Result<Command, E> {
                Ok(Command {
                    program: program.to_owned(),
                    preview: Preview::default(),
                })
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Command, M::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Keys {
                    program: String,
                    #[serde(default)]
                    preview: Preview,
                }
                let Keys { program, preview } = Keys::deserialize(MapAccessDeserializer::new(map))?;
                if program.is_empty() {
                    return Err(M::Error::custom("`program` names no program"));
                }
                Ok(Command { program, preview })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::config::Config;

    fn parsed(commands: &str) -> Result<Commands, String> {
        let text = format!("policy: {{ commands: {commands} }}\n");
        Config::parse(&text)
            .map(|config| config.policy.commands)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_program_stands_alone_or_with_what_a_preview_does() {
        let commands = parsed("[git, { program: npm, preview: overlay }, { program: docker }]").unwrap();
        assert_eq!(commands.programs(), ["git", "npm", "docker"]);
        let preview = |program| commands.find(program).map(|command| command.preview);
        assert_eq!(
            ["git", "npm", "docker", "npx"].map(preview),
            [
                Some(Preview::Skip),
                Some(Preview::Overlay),
                Some(Preview::Skip),
                None
            ]
        );
        assert!(commands.any_rehearsed());
        assert!(!parsed("[git]").unwrap().any_rehearsed());
    }

    #[test]
    fn what_means_nothing_is_an_error_that_names_it() {
        for (commands, named) in [
            ("[{ program: npm, preveiw: overlay }]", "preveiw"),
            ("[{ program: npm, preview: layer }]", "layer"),
            ("[{ preview: overlay }]", "program"),
            ("[{ program: '' }]", "program"),
            ("[7]", "a program"),
        ] {
            let told = parsed(commands).unwrap_err();
            assert!(told.contains(named), "{commands}: {told}");
        }
    }
}
