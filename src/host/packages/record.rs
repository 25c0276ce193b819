//! The lists in which packages of Python name their files (`RECORD`), and the files that two packages name: whoever
//! uninstalls one of them takes those from the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::pip;
use super::tree::{self, Tree};
use crate::base::error::{Error, Result};
use crate::host::files::lexical;

/// The largest list that is read, in bytes.
const LIMIT: u64 = 16 << 20;

/// The list of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The package.
    pub package: String,
    /// Where the list is.
    pub path: PathBuf,
    /// The directory to which its paths are relative.
    site: PathBuf,
    /// What it says.
    pub text: String,
}

/// What packages that go share with others that stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shared {
    /// The files, each with the packages that stay and list it.
    pub files: BTreeMap<PathBuf, BTreeSet<String>>,
    /// The lists of those that go and name one of the files.
    pub records: Vec<Record>,
}

/// The lists of all packages of an environment.
///
/// # Errors
/// What the system says.
pub fn all(tree: &dyn Tree, environment: &Path) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for site in pip::site_packages(tree, environment)? {
        for entry in pip::list(tree, &site)? {
            let Some(package) = pip::name_of(tree, &entry)? else {
                continue;
            };
            let path = entry.join("RECORD");
            let bytes = tree::read(tree, &path, LIMIT)
                .map_err(|error| Error::io(format_args!("read `{}`", path.display()), &error))?;
            records.extend(bytes.map(|bytes| Record {
                package,
                path,
                site: site.clone(),
                text: String::from_utf8_lossy(&bytes).into_owned(),
            }));
        }
    }
    Ok(records)
}

/// What the packages `going` share with those that stay.
///
/// # Errors
/// What the system says.
pub fn shared(tree: &dyn Tree, environment: &Path, going: &[String]) -> Result<Shared> {
    let records = all(tree, environment)?;
    let (go, stay): (Vec<Record>, Vec<Record>) = records
        .into_iter()
        .partition(|record| going.contains(&record.package));
    let mut wanted: BTreeMap<PathBuf, BTreeSet<String>> = go
        .iter()
        .flat_map(Record::files)
        .map(|file| (file, BTreeSet::new()))
        .collect();
    for record in &stay {
        for file in record.files() {
            if let Some(owners) = wanted.get_mut(&file) {
                owners.insert(record.package.clone());
            }
        }
    }
    let mut shared = Shared::default();
    for (file, owners) in wanted {
        let is_there = || {
            tree::is_file(tree, &file)
                .map_err(|error| Error::io(format_args!("look at `{}`", file.display()), &error))
        };
        if !owners.is_empty() && is_there()? {
            shared.files.insert(file, owners);
        }
    }
    let names_one = |record: &Record| record.files().any(|file| shared.files.contains_key(&file));
    shared.records = go.into_iter().filter(names_one).collect();
    Ok(shared)
}

impl Record {
    /// The files that it names, where they are.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.text.lines().filter_map(|line| self.file(line))
    }

    /// What it says without the lines of these files.
    #[must_use]
    pub fn without(&self, files: &BTreeMap<PathBuf, BTreeSet<String>>) -> String {
        let stays = |line: &&str| {
            let file = self.file(line.trim_end_matches(['\r', '\n']));
            file.is_none_or(|file| !files.contains_key(&file))
        };
        self.text.split_inclusive('\n').filter(stays).collect()
    }

    /// The file of a line. A field in quotes holds a comma; a quote in it stands twice.
    fn file(&self, line: &str) -> Option<PathBuf> {
        let named = match line.strip_prefix('"') {
            Some(quoted) => quoted
                .replace("\"\"", "\0")
                .split('"')
                .next()?
                .replace('\0', "\""),
            None => line.split(',').next()?.to_owned(),
        };
        if named.is_empty() {
            return None;
        }
        // Programs lie beside the libraries, at `../../../bin`.
        lexical(&self.site.join(named))
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "a test sets its own scene, below a temporary directory"
    )]

    use super::*;
    use crate::host::packages::tree::Disk;

    /// An environment with packages, each with its metadata and the list that it has.
    fn environment(packages: &[(&str, &str)]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let site = place.path().join("lib/python3.12/site-packages");
        std::fs::create_dir_all(place.path().join("bin")).unwrap();
        for (name, record) in packages {
            let info = site.join(format!("{name}-1.0.dist-info"));
            std::fs::create_dir_all(&info).unwrap();
            std::fs::write(info.join("METADATA"), format!("Name: {name}\nVersion: 1.0\n")).unwrap();
            std::fs::write(info.join("RECORD"), record).unwrap();
            for line in record.lines() {
                let quoted = line.strip_prefix('"').and_then(|line| line.split('"').next());
                let file = site.join(quoted.unwrap_or_else(|| line.split(',').next().unwrap()));
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(&file, "").unwrap();
            }
            std::fs::write(info.join("METADATA"), format!("Name: {name}\nVersion: 1.0\n")).unwrap();
        }
        place
    }

    #[test]
    fn what_two_packages_list_is_found_whatever_the_form_of_its_line() {
        let place = environment(&[
            (
                "one",
                "tests/__init__.py,sha256=x,0\n\"a,b.py\",,\n../../../bin/run,,\none.py,,\n",
            ),
            (
                "two",
                "./tests/__init__.py,,\r\n\"a,b.py\",,\n../../../bin/run,,\ntwo.py,,\n",
            ),
            ("three", "tests/__init__.py,,\n"),
        ]);
        let going = ["one".to_owned(), "three".to_owned()];
        let shared = shared(&Disk, place.path(), &going).unwrap();
        let site = place.path().join("lib/python3.12/site-packages");
        let files: Vec<_> = shared.files.keys().cloned().collect();
        assert_eq!(
            files,
            [
                place.path().join("bin/run"),
                site.join("a,b.py"),
                site.join("tests/__init__.py")
            ]
        );
        assert!(
            shared
                .files
                .values()
                .all(|owners| *owners == BTreeSet::from(["two".to_owned()]))
        );
        let left: Vec<_> = shared
            .records
            .iter()
            .map(|record| (record.package.as_str(), record.without(&shared.files)))
            .collect();
        assert_eq!(left, [("one", "one.py,,\n".to_owned()), ("three", String::new())]);
    }

    #[test]
    fn packages_that_go_together_share_nothing_with_anybody() {
        let place = environment(&[("one", "both.py,,\n"), ("two", "both.py,,\n")]);
        let going = ["one".to_owned(), "two".to_owned()];
        assert_eq!(shared(&Disk, place.path(), &going).unwrap(), Shared::default());
    }
}
