//! Which processes are meant, and whose may be: what a script can ask for.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::error::{Error, Result};

/// Which processes are meant. All selectors that are given must match; none given is an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Query {
    /// An absolute path of a file with a number in it. Evidence only: the process must be older than the file.
    pub pid_file: Option<PathBuf>,
    /// The exact name of the program; of the script or module where an interpreter runs one.
    pub name: Option<String>,
    /// One argument, exactly, or the workspace path that one argument means. Alone it also matches an editor
    /// that has the file open: give a name with it.
    pub argument: Option<String>,
    /// The first words of the command line, as in `["dagster", "daemon", "run"]` or `["node", "tools/cli.js"]`.
    pub command: Option<Vec<String>>,
    /// A TCP port that it listens on.
    pub port: Option<u16>,
    /// An absolute directory that it works in or below.
    pub cwd: Option<PathBuf>,
    /// An absolute path at or below which it holds a file.
    pub holds: Option<PathBuf>,
}

impl Query {
    /// Whether nothing but an open file, and where it works, tells who is meant: no proof that it is a service.
    #[must_use]
    pub fn is_held_alone(&self) -> bool {
        let only = Self {
            holds: self.holds.clone(),
            cwd: self.cwd.clone(),
            ..Self::default()
        };
        self.holds.is_some() && *self == only
    }

    /// Refuses a query that could mean every process, or none.
    ///
    /// # Errors
    /// Of kind `Invalid`: no selector, an empty word, port 0, a relative path.
    pub fn check(&self) -> Result<()> {
        if *self == Self::default() {
            return Err(
                Error::invalid("a query for processes without a selector would mean all of them")
                    .hint("give one of `pid_file`, `name`, `argument`, `command`, `port`, `cwd`, `holds`"),
            );
        }
        if let Some(name) = &self.name
            && (name.is_empty() || name.contains('/'))
        {
            return Err(Error::invalid(format!("`{name}` is not the name of a program"))
                .hint("give the last part of its path, as in `dagster`; paths go into `command`"));
        }
        if self.argument.as_ref().is_some_and(String::is_empty) {
            return Err(
                Error::invalid("`argument` is empty").hint("give one whole argument of the command line")
            );
        }
        if let Some(words) = &self.command
            && words.first().is_none_or(String::is_empty)
        {
            return Err(Error::invalid("`command` has no program").hint(
                "give the first words of the command line, as in `[\"dagster\", \"daemon\", \"run\"]`",
            ));
        }
        if self.port == Some(0) {
            return Err(Error::invalid("nothing listens on port 0").hint("give a port from 1 to 65535"));
        }
        for (selector, path) in [
            ("pid_file", &self.pid_file),
            ("cwd", &self.cwd),
            ("holds", &self.holds),
        ] {
            if let Some(path) = path
                && !path.is_absolute()
            {
                return Err(Error::invalid(format!(
                    "`{selector}` is the relative path `{}`",
                    path.display()
                ))
                .hint("give it from the root of the file system on"));
            }
        }
        Ok(())
    }
}

/// Whose processes may be found. Always only those that run wholly as our own user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Those that work in, run from or were given a path of this workspace.
    Workspace(PathBuf),
    /// All of our user's.
    User,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Kind;

    #[test]
    fn a_query_that_means_everything_or_nothing_is_refused() {
        let refused = [
            Query::default(),
            Query {
                name: Some(String::new()),
                ..Query::default()
            },
            Query {
                name: Some("bin/dagster".to_owned()),
                ..Query::default()
            },
            Query {
                pid_file: Some("service.pid".into()),
                ..Query::default()
            },
            Query {
                argument: Some(String::new()),
                ..Query::default()
            },
            Query {
                command: Some(Vec::new()),
                ..Query::default()
            },
            Query {
                command: Some(vec![String::new()]),
                ..Query::default()
            },
            Query {
                port: Some(0),
                ..Query::default()
            },
            Query {
                cwd: Some(".".into()),
                ..Query::default()
            },
            Query {
                holds: Some("data".into()),
                ..Query::default()
            },
        ];
        for query in refused {
            let error = query.check().expect_err("refused");
            assert_eq!(error.kind(), Kind::Invalid, "{query:?}");
            assert!(error.hint_text().is_some());
        }
    }
}
