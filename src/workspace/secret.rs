//! Secrets: read where they are needed, from a file or from the environment, and shown nowhere.

use std::path::{Path, PathBuf};

use serde::de::{MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};

use crate::base::error::{Error, Result};
use crate::base::redact;

/// The largest secret that is read, in bytes.
const LIMIT: u64 = 64 << 10;

/// Something that nobody is to see.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// A secret that a person typed.
    pub(crate) fn typed(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself.
    #[must_use]
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// From now on it is masked wherever it turns up.
    pub(crate) fn mask(&self) {
        redact::know(&self.0);
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("***")
    }
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In a file; a relative path starts at the workspace.
    File(PathBuf),
    /// In a variable of the environment.
    Environment(String),
}

impl Source {
    /// Reads it, without spaces and line ends around it.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::NotFound`] or [`crate::base::error::Kind::Failed`], with the place and never with the contents.
    pub fn read(&self, root: &Path) -> Result<Secret> {
        let text = match self {
            Self::File(path) => {
                let display = path.display();
                let cannot = |why: &dyn std::fmt::Display| {
                    Error::failed(format!("cannot read the secret in `{display}`: {why}")).hint(
                        "make the file readable for this user alone, or name another one in `rollback.yaml`",
                    )
                };
                let absolute = root.join(path);
                let metadata = std::fs::metadata(&absolute).map_err(|error| cannot(&error))?;
                if !metadata.is_file() || metadata.len() > LIMIT {
                    return Err(cannot(&"it is no file of at most 64 KiB"));
                }
                crate::workspace::text(&absolute, LIMIT).map_err(|error| cannot(&error))?
            }
            Self::Environment(name) => std::env::var(name).map_err(|_| {
                Error::not_found(format!("the variable `{name}`, which holds a secret, is not set"))
                    .hint("set it for this program, or name another one in `rollback.yaml`")
            })?,
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::failed(format!("the secret in {self} is empty"))
                .hint("write it there, or name another place in `rollback.yaml`"));
        }
        Ok(Secret(text.to_owned()))
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "`{}`", path.display()),
            Self::Environment(name) => write!(formatter, "the variable `{name}`"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    file: Option<PathBuf>,
    #[serde(default)]
    env: Option<String>,
}

impl Written {
    fn source<E: serde::de::Error>(self) -> Result<Source, E> {
        match (self.file, self.env) {
            (Some(path), None) if !path.as_os_str().is_empty() => Ok(Source::File(path)),
            (None, Some(name)) if !name.is_empty() && !name.contains(['=', '\0']) => {
                Ok(Source::Environment(name))
            }
            _ => Err(E::custom(
                "a secret is in one place: `{ file: PATH }` or `{ env: NAME }`",
            )),
        }
    }
}

/// Reads a place; what is written out is refused, and never repeated.
struct Place;

/// What is said of a secret that is written out.
const INLINE: &str =
    "a secret is not written here: say where it is, with `{ file: PATH }` or `{ env: NAME }`";

macro_rules! refuse_inline {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method<E: serde::de::Error>(self, _: $type) -> Result<Self::Value, E> {
            Err(E::custom(INLINE))
        })*
    };
}

impl<'de> Visitor<'de> for Place {
    type Value = Source;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("`{ file: PATH }` or `{ env: NAME }`")
    }

    refuse_inline!(visit_str: &str, visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Source, A::Error> {
        Written::deserialize(MapAccessDeserializer::new(map))?.source()
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Place)
    }
}

/// An address: written out, or a secret (Slack's address is its key).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Written out.
    Plain(String),
    /// A secret.
    Secret(Source),
}

struct PlainOrSecret;

impl<'de> Visitor<'de> for PlainOrSecret {
    type Value = Address;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an address, `{ file: PATH }` or `{ env: NAME }`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Address, E> {
        // An address with credentials is not repeated.
        crate::workspace::address::Address::parse(text)
            .map(|_| Address::Plain(text.to_owned()))
            .map_err(|error| {
                E::custom(format!(
                    "{}; an address that is secret is given as `{{ file: PATH }}` or `{{ env: NAME }}`",
                    error.message()
                ))
            })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Address, A::Error> {
        Written::deserialize(MapAccessDeserializer::new(map))?
            .source()
            .map(Address::Secret)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainOrSecret)
    }
}

impl Address {
    /// The address itself.
    ///
    /// # Errors
    /// As [`Source::read`]; [`crate::base::error::Kind::Invalid`] where what is read is no address.
    pub(crate) fn read(&self, secret: impl FnOnce(&Source) -> Result<Secret>) -> Result<Secret> {
        match self {
            Self::Plain(url) => Ok(Secret(url.clone())),
            Self::Secret(source) => {
                let url = secret(source)?;
                crate::workspace::address::Address::parse(url.reveal()).map_err(|_| {
                    Error::invalid(format!("what {source} holds is no `http` or `https` address"))
                        .hint("it must read as `https://host/path`, without credentials before the host")
                })?;
                Ok(url)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_nowhere() {
        let secret = Secret("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(format!("{:#?}", Some(&secret)), "Some(\n    ***,\n)");
    }

    #[test]
    fn what_is_written_out_is_refused_and_not_repeated() {
        for inline in ["hunter2", "'hunter2'", "4711", "true", "1.5", "[hunter2]"] {
            let error = serde_yaml::from_str::<Source>(inline)
                .expect_err(inline)
                .to_string();
            assert!(!error.contains("hunter2") && !error.contains("4711"), "{error}");
        }
        assert_eq!(
            serde_yaml::from_str::<Source>("{ env: OPS }").expect("a place"),
            Source::Environment("OPS".to_owned())
        );
        for wrong in ["{}", "{ env: A, file: b }", "{ env: '' }", "{ fiel: x }"] {
            assert!(serde_yaml::from_str::<Source>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_empty_or_missing_secret_is_an_error_that_names_the_place() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let empty = directory.path().join("key");
        tempfile::Builder::new()
            .tempfile_in(directory.path())
            .and_then(|file| Ok(file.persist(&empty)?))
            .expect("an empty file");
        let error = Source::File(PathBuf::from("key"))
            .read(directory.path())
            .expect_err("empty");
        assert!(error.message().contains("`key` is empty"), "{error}");
        let error = Source::File(PathBuf::from("none"))
            .read(directory.path())
            .expect_err("missing");
        assert!(error.message().contains("`none`"), "{error}");
    }
}
