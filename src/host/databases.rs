//! Opening a copy of a database with the program that is at hand, to see whether it is one.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::commands::{Invocation, find_program, look, run};
use super::packages::pip;
use crate::audit::permit::Permit;
use crate::base::database::Sort;
use crate::base::error::{Error, Kind, Result};
use crate::base::known::Known;
use crate::base::redact::redact;

/// How long a database may take to be read.
const PATIENCE: Duration = Duration::from_mins(10);

/// Opens a database, reads its catalogue, and counts the rows of each table.
const DUCKDB: &str = "\
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
tables = connection.execute(\"select schema_name, table_name from duckdb_tables() where not internal\").fetchall()
for name in tables:
    quoted = '.'.join('\"' + part.replace('\"', '\"\"') + '\"' for part in name)
    connection.execute('select count(*) from ' + quoted).fetchone()
print('ok')
";

/// The same of SQLite, which can check itself.
const SQLITE: &str = "\
import sys, sqlite3
connection = sqlite3.connect(sys.argv[1])
print(connection.execute('pragma quick_check(1)').fetchone()[0])
";

/// What such a program says where it is the wrong one, and the database may be whole.
const NOT_ITS_OWN: &[&str] = &[
    "version number",
    "newer version",
    "encrypt",
    "No module named",
    "out of memory",
];

/// A program that opens databases of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opener {
    /// It, as people know it.
    pub name: String,
    program: PathBuf,
    arguments: Vec<&'static str>,
    /// What comes after the database's path.
    question: Option<&'static str>,
}

impl Opener {
    /// What opens databases of this kind: in the Python environment of the workspace, or in PATH.
    #[must_use]
    pub fn find(sort: &Sort, root: &Path, environment: Option<&Path>) -> Known<Self> {
        let (module, code, shell, question) = match sort.name {
            "SQLite" => ("sqlite3", SQLITE, "sqlite3", "pragma quick_check(1);"),
            _ => (
                "duckdb",
                DUCKDB,
                "duckdb",
                "select 'ok' from (select count(*) from duckdb_tables());",
            ),
        };
        let mut pythons: Vec<PathBuf> = environment.map(pip::python).into_iter().collect();
        pythons.extend(find_program("python3", root).ok());
        for python in pythons {
            let import = Invocation::new(&python, root)
                .arguments(["-I", "-B", "-c"])
                .arguments([format!("import {module}")])
                .timeout(PATIENCE);
            if look(&import, None).is_ok_and(|ran| ran.succeeded()) {
                return Known::Yes(Self {
                    name: format!("{module} of {}", python.display()),
                    program: python,
                    arguments: vec!["-I", "-B", "-c", code],
                    question: None,
                });
            }
        }
        match find_program(shell, root) {
            Ok(program) => Known::Yes(Self {
                name: shell.to_owned(),
                program,
                arguments: vec!["-batch", "-noheader", "-list", "-init", "/dev/null"],
                question: Some(question),
            }),
            Err(_) => Known::Unknown(format!(
                "neither a Python with {module} nor the program {shell} is at hand"
            )),
        }
    }

    /// Opens a copy, which this may change.
    ///
    /// # Errors
    /// `Corrupt` where it is no database, or a damaged one; `Failed` where nobody can tell.
    pub fn open(&self, permit: &Permit, copy: &Path, root: &Path, cancel: &AtomicBool) -> Result<()> {
        let mut invocation = Invocation::new(&self.program, root)
            .arguments(&self.arguments)
            .arguments([copy.as_os_str()])
            .timeout(PATIENCE);
        if let Some(question) = self.question {
            invocation = invocation.arguments([question]);
        }
        if let Some(directory) = copy.parent() {
            invocation = invocation.cwd(directory);
        }
        let ran = run(permit, &invocation, Some(cancel))?;
        let output = String::from_utf8_lossy(&ran.stdout);
        if ran.succeeded() && output.lines().any(|line| line.trim() == "ok") {
            return Ok(());
        }
        let why = if ran.succeeded() {
            output.lines().next().unwrap_or("it said nothing").to_owned()
        } else {
            ran.failure()
        };
        let cannot_tell =
            ran.timed_out || ran.signal.is_some() || NOT_ITS_OWN.iter().any(|sign| why.contains(sign));
        let kind = if cannot_tell { Kind::Failed } else { Kind::Corrupt };
        Err(Error::new(
            kind,
            format!("does not open with {}: {}", self.name, redact(&why)),
        ))
    }
}
