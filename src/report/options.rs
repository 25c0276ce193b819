//! What a run was asked for, as far as it shapes its plan: one form for the command line, the words, the plan's file and
//! the mark of a run at work.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::error::{Error, Result};
use crate::base::redact::{MASK, is_secret, redact};

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Stories, features, and absolute paths of scripts, as they were named: it means the same from any directory.
    pub stories: Vec<String>,
    /// `--reason`.
    pub reason: Option<String>,
    /// `--trigger`: what set it off.
    pub trigger: String,
    /// `--param K=V`; [`MASK`] in place of a secret where it was written down.
    pub params: BTreeMap<String, String>,
    /// `--copy`: back up by copying.
    pub copy: bool,
    /// `--purge`: what is removed goes for good.
    pub purge: bool,
    /// `--allow-open`: back up what a process writes.
    pub allow_open: bool,
    /// `--strict`: a check that rests on something unknown fails.
    #[serde(default)]
    pub strict: bool,
}

impl Options {
    /// Nothing but what set it off: a person.
    #[must_use]
    pub fn by_hand() -> Self {
        Self {
            trigger: "manual".to_owned(),
            ..Self::default()
        }
    }

    /// The same as it may be written down: without secrets.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let masked = |(name, value): (&String, &String)| {
            let value = if is_secret(name, value) { MASK } else { value };
            (name.clone(), value.to_owned())
        };
        Self {
            reason: self.reason.as_deref().map(redact),
            params: self.params.iter().map(masked).collect(),
            ..self.clone()
        }
    }

    /// The same with the secrets that were left out.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Usage`] for one that is still missing, and for a parameter that is no such secret.
    pub fn complete(mut self, given: BTreeMap<String, String>) -> Result<Self> {
        for (name, value) in given {
            match self.params.get_mut(&name) {
                Some(masked) if masked == MASK => *masked = value,
                _ => {
                    return Err(Error::usage(format!(
                        "--param {name} can't be given anew: what was asked for stands"
                    ))
                    .hint("only secrets, which are not written down, are given again"));
                }
            }
        }
        match self.params.iter().find(|(_, value)| *value == MASK) {
            None => Ok(self),
            Some((name, _)) => Err(Error::usage(format!(
                "the parameter `{name}` is a secret, so its value was not written down"
            ))
            .hint("give its value again with --param")),
        }
    }
}
