//! Packages of npm and of a Python environment: what is installed, who needs what, which may go, and the one
//! command that takes them out or puts them back. Looks at files only; the commands are run by `host::commands`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};

use tree::Tree;

/// By what packages can be changed.
pub mod installer;

/// The managers of a workspace.
pub mod managers;

/// Node packages.
pub mod npm;

/// Python packages.
pub mod pip;

/// The lists of files of packages, and what two of them list.
pub mod record;

/// Where packages are read from.
pub mod tree;

/// Python packages of environments without pip.
pub mod uv;

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Manager {
    /// Node packages below a `package.json`.
    Npm,
    /// Python packages of a virtual environment.
    Pip,
}

impl Manager {
    /// The manager of this name: `npm` or `pip`.
    ///
    /// # Errors
    /// `invalid` for any other name.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "npm" => Ok(Self::Npm),
            "pip" => Ok(Self::Pip),
            _ => Err(Error::invalid(format!("unknown package manager `{name}`")).hint("use `npm` or `pip`")),
        }
    }

    /// `npm` or `pip`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pip => "pip",
        }
    }

    /// The form in which names are compared: PEP 503 for pip (lower case, runs of `-_.` as one `-`).
    #[must_use]
    pub fn normalise(self, name: &str) -> String {
        match self {
            Self::Npm => name.to_owned(),
            Self::Pip => pip::normalise(name),
        }
    }

    /// Checks that a name is a package's name and nothing else: no option, path, address or version.
    ///
    /// # Errors
    /// `invalid`.
    pub fn check_name(self, name: &str) -> Result<()> {
        let parts: Vec<&str> = match self {
            Self::Npm => name
                .strip_prefix('@')
                .map_or_else(|| vec![name], |scoped| scoped.splitn(2, '/').collect()),
            Self::Pip => vec![name],
        };
        let scoped = self == Self::Npm && name.starts_with('@');
        if parts.iter().all(|part| is_word(part)) && parts.len() == 1 + usize::from(scoped) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "`{}` is not a name of a {} package",
            name.escape_debug(),
            self.name()
        ))
        .hint("give the bare name, such as `yaml` or `@scope/name`, without version, path or option"))
    }
}

/// `[A-Za-z0-9][A-Za-z0-9._-]*`, and for old npm names a leading `_`.
fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && text
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "._-".contains(character))
}

/// Checks a version before it is put on a command line.
fn check_version(version: &str) -> Result<()> {
    let fits = version.starts_with(|first: char| first.is_ascii_alphanumeric())
        && version
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "._-+!".contains(character));
    if fits {
        return Ok(());
    }
    Err(
        Error::invalid(format!("`{}` is not a version", version.escape_debug()))
            .hint("an exact version is needed, such as `1.4.2`"),
    )
}

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name, normalised.
    pub name: String,
    /// Its version as its metadata says; empty if it says none.
    pub version: String,
    /// Names of the packages that it needs, normalised, sorted.
    pub requires: Vec<String>,
    /// Whether it was installed only because another needed it, as far as its manager recorded that (pip does).
    pub automatic: bool,
}

/// Installed packages by normalised name.
pub type Packages = BTreeMap<String, Package>;

/// Stands among the dependents of a package that no program can take out.
pub const UNLISTED: &str =
    "no list (RECORD) says which files are its own, so that no program can take it out";

/// What is installed: `place` is the directory of a `package.json`, or of a virtual environment.
///
/// # Errors
/// Where a directory of packages is there but can't be read. Nothing installed is an empty map.
pub fn installed(tree: &dyn Tree, manager: Manager, place: &Path) -> Result<Packages> {
    match manager {
        Manager::Npm => npm::installed(tree, place),
        Manager::Pip => pip::installed(tree, place),
    }
}

/// What tells that the packages at `place` were changed: see [`tree::stamp`].
///
/// # Errors
/// As for [`installed`].
pub fn watched(tree: &dyn Tree, manager: Manager, place: &Path) -> Result<Vec<PathBuf>> {
    match manager {
        Manager::Npm => npm::watched(tree, place),
        Manager::Pip => {
            let mut watched = pip::site_packages(tree, place)?;
            watched.push(place.join("lib"));
            Ok(watched)
        }
    }
}

/// Which of some packages may go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removal {
    /// Those that nothing which stays needs; name to version.
    pub remove: BTreeMap<String, String>,
    /// Those that stay; name to who needs them.
    pub kept: BTreeMap<String, Vec<String>>,
    /// Those that are not installed.
    pub absent: Vec<String>,
}

/// Who else needs a package, by its name.
pub type Dependents = BTreeMap<String, Vec<String>>;

/// Tells which of `names` may go, as [`removable`] does, together with packages in between: installed automatically,
/// needed only by what goes, and needing what goes. Left alone they would keep it, or be broken. What merely isn't
/// needed any more stays, as it does with pip itself.
///
/// `needed_by` tells who else needs some of these packages, by their names: source files, for example.
///
/// # Errors
/// What `needed_by` says.
pub fn removable_along(
    manager: Manager,
    installed: &Packages,
    names: &[String],
    needed_by: &dyn Fn(&BTreeSet<String>) -> Result<Dependents>,
) -> Result<Removal> {
    let asked: BTreeSet<String> = names.iter().map(|name| manager.normalise(name)).collect();
    let automatic = installed.values().filter(|package| package.automatic);
    let mut along: BTreeSet<String> = automatic
        .map(|package| package.name.clone())
        .filter(|name| !asked.contains(name))
        .collect();
    retain_between(installed, &asked, &mut along);
    let extra = needed_by(&asked.union(&along).cloned().collect())?;
    loop {
        let all: Vec<String> = asked.iter().chain(&along).cloned().collect();
        let mut removal = removable(manager, installed, &all, &extra);
        let before = along.len();
        along.retain(|name| removal.remove.contains_key(name));
        let going = asked
            .iter()
            .filter(|name| removal.remove.contains_key(*name))
            .cloned()
            .collect();
        retain_between(installed, &going, &mut along);
        if along.len() == before {
            removal.kept.retain(|name, _| asked.contains(name));
            return Ok(removal);
        }
    }
}

/// Keeps of `between` those that lie on a way of requirements from one of `ends` to one of `ends`, through others of
/// `between`.
fn retain_between(installed: &Packages, ends: &BTreeSet<String>, between: &mut BTreeSet<String>) {
    let mut required: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut dependents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in ends.iter().chain(between.iter()) {
        for other in installed
            .get(name)
            .into_iter()
            .flat_map(|package| &package.requires)
        {
            required.entry(name).or_default().push(other);
            dependents.entry(other).or_default().push(name);
        }
    }
    let reached = |neighbours: &BTreeMap<&str, Vec<&str>>| -> BTreeSet<String> {
        let mut reached: BTreeSet<String> = BTreeSet::new();
        let mut next: Vec<&str> = ends.iter().map(String::as_str).collect();
        while let Some(from) = next.pop() {
            for name in neighbours.get(from).into_iter().flatten() {
                if between.contains(*name) && reached.insert((*name).to_owned()) {
                    next.push(name);
                }
            }
        }
        reached
    };
    let (below, above) = (reached(&required), reached(&dependents));
    between.retain(|name| below.contains(name) && above.contains(name));
}

/// Tells which of `names` may go: the largest set that no remaining package and none of the `extra_dependents`
/// (name to who else needs it, such as source files) needs. Names that need only each other go together.
#[must_use]
pub fn removable(
    manager: Manager,
    installed: &Packages,
    names: &[String],
    extra_dependents: &BTreeMap<String, Vec<String>>,
) -> Removal {
    let asked: BTreeSet<String> = names.iter().map(|name| manager.normalise(name)).collect();
    let (present, absent): (BTreeSet<String>, BTreeSet<String>) =
        asked.into_iter().partition(|name| installed.contains_key(name));
    let mut going = present.clone();
    let mut extra: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for (name, dependents) in extra_dependents {
        extra
            .entry(manager.normalise(name))
            .or_default()
            .extend(dependents);
    }
    let mut dependents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in installed.values() {
        for required in package
            .requires
            .iter()
            .filter(|required| **required != package.name)
        {
            dependents.entry(required).or_default().push(&package.name);
        }
    }
    let staying = |name: &String, going: &BTreeSet<String>| -> Vec<String> {
        let packages = dependents.get(name.as_str()).into_iter().flatten();
        let mut who: Vec<String> = packages
            .filter(|package| !going.contains(**package))
            .map(|package| (*package).to_owned())
            .collect();
        if manager == Manager::Pip && name == "pip" {
            who.push("rollback (it installs packages again)".to_owned());
        }
        who.extend(
            extra
                .get(name)
                .into_iter()
                .flatten()
                .map(|dependent| (*dependent).clone()),
        );
        who
    };
    // A package that stays may keep others, and those again others: until nothing changes.
    loop {
        let before = going.len();
        going = going
            .iter()
            .filter(|name| staying(name, &going).is_empty())
            .cloned()
            .collect();
        if going.len() == before {
            break;
        }
    }
    let kept = present
        .difference(&going)
        .map(|name| (name.clone(), staying(name, &going)))
        .collect();
    let version = |name: &String| {
        installed
            .get(name)
            .map(|package| package.version.clone())
            .unwrap_or_default()
    };
    let remove = going.iter().map(|name| (name.clone(), version(name))).collect();
    Removal {
        remove,
        kept,
        absent: absent.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packages(edges: &[(&str, &[&str])]) -> Packages {
        let package = |(name, requires): &(&str, &[&str])| {
            let requires = requires.iter().map(|name| (*name).to_owned()).collect();
            (
                (*name).to_owned(),
                Package {
                    name: (*name).to_owned(),
                    version: "1".to_owned(),
                    requires,
                    automatic: name.starts_with("auto"),
                },
            )
        };
        edges.iter().map(package).collect()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn keeps_what_a_kept_package_needs() {
        let installed = packages(&[
            ("app", &["jupyter"]),
            ("jupyter", &["notebook"]),
            ("notebook", &["x"]),
            ("x", &[]),
        ]);
        let removal = removable(
            Manager::Pip,
            &installed,
            &names(&["Notebook", "jupyter", "gone"]),
            &BTreeMap::new(),
        );
        assert!(removal.remove.is_empty());
        let kept: Vec<_> = removal
            .kept
            .iter()
            .map(|(name, who)| (name.as_str(), who.join(" ")))
            .collect();
        assert_eq!(
            kept,
            [("jupyter", "app".to_owned()), ("notebook", "jupyter".to_owned())]
        );
        assert_eq!(removal.absent, ["gone"]);
    }

    #[test]
    fn a_source_file_keeps_a_package_and_all_that_it_needs() {
        let installed = packages(&[("pandas", &["numpy"]), ("numpy", &[]), ("seaborn", &["pandas"])]);
        let extra = BTreeMap::from([("Pandas".to_owned(), names(&["tools/report.py"]))]);
        let removal = removable(
            Manager::Pip,
            &installed,
            &names(&["pandas", "numpy", "seaborn"]),
            &extra,
        );
        assert_eq!(removal.remove.keys().collect::<Vec<_>>(), ["seaborn"]);
        assert_eq!(removal.kept["pandas"], ["tools/report.py"]);
        assert_eq!(removal.kept["numpy"], ["pandas"]);
    }

    fn along(installed: &Packages, asked: &[&str], files: &[(&str, &str)]) -> String {
        let needed_by = |asked: &BTreeSet<String>| {
            let mut needed: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (package, file) in files.iter().filter(|(package, _)| asked.contains(*package)) {
                let needed_by = needed.entry((*package).to_owned()).or_default();
                needed_by.push((*file).to_owned());
            }
            Ok(needed)
        };
        let removal = removable_along(Manager::Pip, installed, &names(asked), &needed_by).unwrap();
        let list = |names: Vec<&String>| {
            let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
            names.join(" ")
        };
        format!(
            "go: {}; stay: {}",
            list(removal.remove.keys().collect()),
            list(removal.kept.keys().collect())
        )
    }

    #[test]
    fn what_was_installed_in_between_goes_along() {
        let installed = packages(&[
            ("webserver", &["auto-graphql", "auto-click"]),
            ("auto-graphql", &["auto-pipes"]),
            ("auto-pipes", &["core", "auto-click"]),
            ("core", &["auto-click"]),
            ("auto-click", &[]),
            ("auto-lonely", &["core"]),
        ]);
        // One that nothing needs already is not in between: nobody knows what it is for.
        assert_eq!(
            along(&installed, &["webserver", "core"], &[]),
            "go: webserver; stay: core"
        );
        let mut installed = installed;
        installed.remove("auto-lonely");
        assert_eq!(
            along(&installed, &["webserver", "core"], &[]),
            "go: auto-graphql auto-pipes core webserver; stay: "
        );
        // Somebody uses one in between: it stays, and what it needs.
        assert_eq!(
            along(
                &installed,
                &["webserver", "core"],
                &[("auto-pipes", "tools/report.py")]
            ),
            "go: webserver; stay: core"
        );
        // The end of the way stays: nothing in between is removed for it.
        assert_eq!(
            along(&installed, &["webserver", "core"], &[("core", "tools/report.py")]),
            "go: webserver; stay: core"
        );
        assert_eq!(along(&installed, &["core"], &[]), "go: ; stay: core");
        // Somebody asked for it.
        let mut wanted = installed.clone();
        wanted.get_mut("auto-pipes").unwrap().automatic = false;
        assert_eq!(
            along(&wanted, &["webserver", "core"], &[]),
            "go: webserver; stay: core"
        );
    }

    #[test]
    fn pip_itself_stays() {
        let removal = removable(
            Manager::Pip,
            &packages(&[("pip", &[])]),
            &names(&["pip"]),
            &BTreeMap::new(),
        );
        assert!(removal.remove.is_empty() && removal.kept.contains_key("pip"));
    }

    #[test]
    fn a_name_carries_no_option_path_or_version() {
        for name in [
            "yaml",
            "left-pad",
            "@duckdb/duckdb-wasm",
            "lodash.merge",
            "JSONStream",
        ] {
            assert!(Manager::Npm.check_name(name).is_ok(), "{name}");
        }
        for name in [
            "-g",
            "--prefix=/",
            "",
            ".",
            "..",
            "a/b",
            "@a",
            "@a/b/c",
            "@/b",
            "a@1",
            "git+ssh://x",
            "a b",
            "./a",
        ] {
            assert!(Manager::Npm.check_name(name).is_err(), "{name}");
        }
        for name in ["-r", "a==1", "a[b]", "@a/b", "a;b", "https://x", "a/b", "ä"] {
            assert!(Manager::Pip.check_name(name).is_err(), "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The oracle: of all subsets that nothing remaining needs, the largest.
        #[test]
        fn finds_the_largest_set_that_nothing_remaining_needs(
            edges in prop::collection::vec((0_usize..6, 0_usize..6), 0..12),
            asked in 0_u32..64,
            used in 0_u32..64,
        ) {
            let name = |index: usize| format!("p{index}");
            let mut installed = Packages::new();
            for index in 0..6 {
                let needed = edges.iter().filter(|(from, to)| *from == index && to != from);
                let requires = needed.map(|(_, to)| name(*to)).collect();
                installed.insert(name(index), Package { name: name(index), version: "1".to_owned(), requires, automatic: false });
            }
            let chosen = |mask: u32| (0..6).filter(move |index| mask & (1 << index) != 0);
            let extra = chosen(used).map(|index| (name(index), vec!["file".to_owned()])).collect();
            let closed = |mask: u32| {
                mask & used == 0 && edges.iter().all(|(from, to)| from == to || mask & (1 << to) == 0 || mask & (1 << from) != 0)
            };
            let best = (0..64).filter(|mask| mask & !asked == 0 && closed(*mask)).max_by_key(|mask| mask.count_ones());
            let asked_names: Vec<String> = chosen(asked).map(name).collect();
            let removal = removable(Manager::Npm, &installed, &asked_names, &extra);
            let expected: Vec<String> = chosen(best.unwrap_or(0)).map(name).collect();
            prop_assert_eq!(removal.remove.keys().cloned().collect::<Vec<_>>(), expected);
            prop_assert_eq!(removal.remove.len() + removal.kept.len(), asked_names.len());
            prop_assert!(removal.kept.values().all(|who| !who.is_empty()));
        }
    }
}
