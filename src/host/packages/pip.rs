//! Packages of a Python virtual environment, read from the metadata below `site-packages` without starting Python.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::host::commands::Invocation;
use crate::host::packages::tree::{self, Disk, Tree};
use crate::host::packages::{Manager, Package, Packages, check_version, record};

/// How much of a metadata file is read, in bytes. Its headers come first; the rest is a description.
const HEADER_LIMIT: u64 = 256 * 1024;

/// The file with which pip marks, in its metadata, a package that it was asked for. What it installed because another
/// needed it has none.
const REQUESTED: &str = "REQUESTED";

/// PEP 503: lower case, runs of `-`, `_` and `.` as one `-`.
#[must_use]
pub fn normalise(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for character in name.chars() {
        if "-_.".contains(character) {
            if !normal.ends_with('-') {
                normal.push('-');
            }
        } else {
            normal.push(character.to_ascii_lowercase());
        }
    }
    normal
}

/// Where the virtual environment that is configured should be: relative to `root`, or absolute.
#[must_use]
pub fn configured_place(root: &Path, configured: &str) -> PathBuf {
    root.join(if configured.is_empty() {
        ".venv"
    } else {
        configured
    })
}

/// The virtual environment that is configured, relative to `root` or absolute, if it is one.
///
/// # Errors
/// What the system says.
pub fn environment(tree: &dyn Tree, root: &Path, configured: &str) -> Result<Option<PathBuf>> {
    let place = configured_place(root, configured);
    let there = has_configuration(tree, &place)? && is_file(tree, &python(&place))?;
    Ok(there.then_some(place))
}

/// Whether there is an environment whose interpreter is missing: a link to one that was uninstalled, mostly.
///
/// # Errors
/// What the system says.
pub fn is_broken(tree: &dyn Tree, root: &Path, configured: &str) -> Result<bool> {
    let place = configured_place(root, configured);
    Ok(has_configuration(tree, &place)? && !is_file(tree, &python(&place))?)
}

fn has_configuration(tree: &dyn Tree, place: &Path) -> Result<bool> {
    is_file(tree, &place.join("pyvenv.cfg"))
}

fn is_file(tree: &dyn Tree, path: &Path) -> Result<bool> {
    tree::is_file(tree, path).map_err(|error| Error::io(format_args!("look at `{}`", path.display()), &error))
}

/// The interpreter of an environment.
#[must_use]
pub fn python(environment: &Path) -> PathBuf {
    environment.join("bin/python")
}

/// Whether an environment has pip: its own, or the one of its base where `pyvenv.cfg` opens that.
///
/// # Errors
/// What the system says.
pub fn has_pip(tree: &dyn Tree, environment: &Path) -> Result<bool> {
    let mut places = site_packages(tree, environment)?;
    let configuration = head(tree, &environment.join("pyvenv.cfg"))?.unwrap_or_default();
    let setting = |key: &str| {
        let mut settings = configuration.lines().filter_map(|line| line.split_once('='));
        settings.find_map(|(name, value)| (name.trim() == key).then(|| value.trim()))
    };
    if setting("include-system-site-packages").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        && let Some(base) = setting("home").and_then(|home| Path::new(home).parent())
    {
        for interpreter in list(tree, &base.join("lib"))? {
            if file_name(&interpreter).starts_with("python") {
                places.extend(["site-packages", "dist-packages"].map(|name| interpreter.join(name)));
            }
        }
    }
    for place in places {
        if is_file(tree, &place.join("pip/__main__.py"))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Those of the packages that nothing can take out, because no list says which files are theirs: metadata without
/// `RECORD`, or an egg's metadata in one file.
///
/// # Errors
/// What the system says.
pub fn unlisted(tree: &dyn Tree, environment: &Path, names: &[String]) -> Result<Vec<String>> {
    let mut unlisted = Vec::new();
    for site in site_packages(tree, environment)? {
        for entry in list(tree, &site)? {
            let file = file_name(&entry);
            let (stem, is_egg) = match (file.strip_suffix(".dist-info"), file.strip_suffix(".egg-info")) {
                (Some(stem), _) => (stem, false),
                (None, Some(stem)) => (stem, true),
                (None, None) => continue,
            };
            let name = normalise(stem.split('-').next().unwrap_or_default());
            if !names.iter().any(|wanted| normalise(wanted) == name) {
                continue;
            }
            let has_list = if is_egg {
                !is_file(tree, &entry)?
            } else {
                is_file(tree, &entry.join("RECORD"))?
            };
            if !has_list {
                unlisted.push(name);
            }
        }
    }
    Ok(unlisted)
}

/// The directories that hold files of these packages, as their metadata lists them, and those of the metadata. Links are
/// not followed.
///
/// # Errors
/// What the system says.
pub fn written(tree: &dyn Tree, environment: &Path, names: &[String]) -> Result<Vec<PathBuf>> {
    let mut directories = BTreeSet::new();
    for site in site_packages(tree, environment)? {
        for entry in list(tree, &site)? {
            if name_of(tree, &entry)?.is_some_and(|name| names.contains(&name)) {
                directories.insert(site.clone());
            }
        }
    }
    for record in record::all(tree, environment)? {
        if names.contains(&record.package) {
            let above = |file: PathBuf| Some(file.parent()?.to_path_buf());
            directories.extend(record.files().filter_map(above));
        }
    }
    Ok(directories.into_iter().collect())
}

/// A requirement as metadata gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    name: String,
    /// The extras of `name` that it asks for.
    extras: Vec<String>,
    /// The extra of the requiring package that it belongs to.
    under: Option<String>,
}

#[derive(Debug, Default)]
struct Found {
    version: String,
    requirements: Vec<Requirement>,
    /// By pip, which marks what it was asked for ([`REQUESTED`]).
    by_pip: bool,
    requested: bool,
}

/// What is installed in the environment `place`.
///
/// # Errors
/// Where `site-packages` can't be listed.
pub fn installed(tree: &dyn Tree, place: &Path) -> Result<Packages> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for site in site_packages(tree, place)? {
        for entry in list(tree, &site)? {
            let Some((name, one)) = read_distribution(tree, &entry)? else {
                continue;
            };
            // What an interrupted upgrade leaves twice has the requirements of both.
            let known = found.entry(name).or_default();
            known.version = one.version;
            known.requirements.extend(one.requirements);
            known.by_pip |= one.by_pip;
            known.requested |= one.requested;
        }
    }
    Ok(resolve(&found))
}

/// Leaves out requirements of extras that no installed package asks for.
fn resolve(found: &BTreeMap<String, Found>) -> Packages {
    // A pip of before 2020 marks nothing.
    let has_marks = found.values().any(|one| one.requested);
    let mut asked: BTreeSet<(&str, &str)> = BTreeSet::new();
    let wanted = |name: &str, requirement: &Requirement, asked: &BTreeSet<(&str, &str)>| {
        requirement
            .under
            .as_deref()
            .is_none_or(|extra| asked.contains(&(name, extra)))
    };
    loop {
        let before = asked.len();
        for (name, one) in found {
            for requirement in &one.requirements {
                if wanted(name, requirement, &asked) {
                    asked.extend(
                        requirement
                            .extras
                            .iter()
                            .map(|extra| (requirement.name.as_str(), extra.as_str())),
                    );
                }
            }
        }
        if asked.len() == before {
            break;
        }
    }
    let package = |(name, one): (&String, &Found)| {
        let needed = one
            .requirements
            .iter()
            .filter(|requirement| wanted(name, requirement, &asked));
        let requires: BTreeSet<String> = needed.map(|requirement| requirement.name.clone()).collect();
        let requires = requires.into_iter().filter(|required| required != name).collect();
        (
            name.clone(),
            Package {
                name: name.clone(),
                version: one.version.clone(),
                requires,
                automatic: has_marks && one.by_pip && !one.requested,
            },
        )
    };
    found.iter().map(package).collect()
}

/// The directories of an environment that hold its packages.
///
/// # Errors
/// What the system says.
pub fn site_packages(tree: &dyn Tree, place: &Path) -> Result<Vec<PathBuf>> {
    let mut sites = Vec::new();
    for interpreter in list(tree, &place.join("lib"))? {
        let site = interpreter.join("site-packages");
        if file_name(&interpreter).starts_with("python")
            && tree::is_directory(tree, &site)
                .map_err(|error| Error::io(format_args!("look at `{}`", site.display()), &error))?
        {
            sites.push(site);
        }
    }
    Ok(sites)
}

/// The paths in a directory.
pub(super) fn list(tree: &dyn Tree, directory: &Path) -> Result<Vec<PathBuf>> {
    let named = tree::list(tree, directory)
        .map_err(|error| Error::io(format_args!("list `{}`", directory.display()), &error))?;
    Ok(named.into_iter().map(|(_, path)| path).collect())
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or_default()
}

/// The package whose metadata these are.
pub(super) fn name_of(tree: &dyn Tree, metadata: &Path) -> Result<Option<String>> {
    Ok(read_distribution(tree, metadata)?.map(|(name, _)| name))
}

/// Reads `<name>-<version>.dist-info`, or `.egg-info` as a directory or a file. What pip left half removed (`~name`)
/// is none.
fn read_distribution(tree: &dyn Tree, path: &Path) -> Result<Option<(String, Found)>> {
    let file = file_name(path);
    if file.starts_with('~') {
        return Ok(None);
    }
    let head = |path: &Path| head(tree, path);
    let (stem, headers, listed) = if let Some(stem) = file.strip_suffix(".dist-info") {
        (stem, head(&path.join("METADATA"))?, None)
    } else if let Some(stem) = file.strip_suffix(".egg-info") {
        match head(&path.join("PKG-INFO"))? {
            Some(headers) => (stem, Some(headers), head(&path.join("requires.txt"))?),
            None => (stem, head(path)?, None),
        }
    } else {
        return Ok(None);
    };
    let (mut name, mut found) = parse_headers(headers.as_deref().unwrap_or_default());
    found
        .requirements
        .extend(parse_listed(listed.as_deref().unwrap_or_default()));
    found.by_pip = head(&path.join("INSTALLER"))?.is_some_and(|installer| installer.trim() == "pip");
    found.requested = is_file(tree, &path.join(REQUESTED))?;
    // A directory whose metadata is gone still says what it was.
    let mut named = stem.splitn(3, '-');
    if name.is_empty() {
        named.next().unwrap_or_default().clone_into(&mut name);
        named.next().unwrap_or_default().clone_into(&mut found.version);
    }
    Ok((!name.is_empty()).then(|| (normalise(&name), found)))
}

fn head(tree: &dyn Tree, path: &Path) -> Result<Option<String>> {
    let bytes = tree::read(tree, path, HEADER_LIMIT)
        .map_err(|error| Error::io(format_args!("read `{}`", path.display()), &error))?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Name, version and requirements from the headers of `METADATA` or `PKG-INFO`.
fn parse_headers(text: &str) -> (String, Found) {
    let (mut name, mut found) = (String::new(), Found::default());
    // Lines of a long header that only look empty (a licence's) are no end.
    for line in text.lines().take_while(|line| !line.is_empty()) {
        let Some((header, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        match header.to_ascii_lowercase().as_str() {
            "name" => value.clone_into(&mut name),
            "version" => value.clone_into(&mut found.version),
            "requires-dist" => found.requirements.extend(parse_requirement(value)),
            _ => {}
        }
    }
    (name, found)
}

/// Requirements from an egg's `requires.txt`: one a line, below `[extra:marker]` headings.
fn parse_listed(text: &str) -> Vec<Requirement> {
    let mut under = None;
    let mut requirements = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(heading) = line.strip_prefix('[') {
            let extra = heading.split([':', ']']).next().unwrap_or_default();
            under = (!extra.is_empty()).then(|| normalise(extra));
        } else if let Some(requirement) = parse_requirement(line) {
            requirements.push(Requirement {
                under: under.clone(),
                ..requirement
            });
        }
    }
    requirements
}

/// `name[extra,...] (>=1); marker` of PEP 508. A marker other than of one extra counts as fulfilled: a package that
/// may be needed is kept.
fn parse_requirement(text: &str) -> Option<Requirement> {
    let (what, marker) = text.split_once(';').unwrap_or((text, ""));
    let what = what.trim_start();
    let end = what.find(|character: char| !(character.is_ascii_alphanumeric() || "._-".contains(character)));
    let (name, rest) = what.split_at(end.unwrap_or(what.len()));
    if name.is_empty() {
        return None;
    }
    let extras = rest
        .trim_start()
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'));
    let extras = extras.map_or_else(Vec::new, |(extras, _)| {
        extras.split(',').map(|one| normalise(one.trim())).collect()
    });
    Some(Requirement {
        name: normalise(name),
        extras,
        under: marker_extra(marker),
    })
}

/// The extra that a marker asks for; `None` if it holds without one (`or`) or is not understood.
fn marker_extra(marker: &str) -> Option<String> {
    if marker.split_whitespace().any(|word| word == "or") {
        return None;
    }
    let mut rest = marker;
    while let Some(at) = rest.find("extra") {
        let after = rest.get(at + "extra".len()..)?;
        if let Some(value) = after.trim_start().strip_prefix("==") {
            let value = value.trim_start();
            let quote = value.chars().next().filter(|quote| "'\"".contains(*quote))?;
            return value.split(quote).nth(1).map(normalise);
        }
        rest = after;
    }
    None
}

/// pip of an environment, without what could change where it acts: isolated, no configuration, no questions.
fn pip(environment: &Path, root: &Path, command: &str) -> Invocation {
    Invocation::new(python(environment), root)
        .cwd(environment)
        .arguments([
            "-I",
            "-m",
            "pip",
            command,
            "--no-input",
            "--disable-pip-version-check",
            "--no-color",
        ])
        .variable("PIP_CONFIG_FILE", "/dev/null")
        .with_reach()
        .timeout(Duration::from_mins(10))
}

/// The marks of packages that were asked for, and the records that name them: where these packages are installed.
///
/// # Errors
/// Where `site-packages` can't be listed.
pub fn marks(place: &Path, names: &[String]) -> Result<Vec<Mark>> {
    let mut marks = Vec::new();
    for site in site_packages(&Disk, place)? {
        for entry in list(&Disk, &site)? {
            let mark = entry.join(REQUESTED);
            if mark.is_file()
                && read_distribution(&Disk, &entry)?.is_some_and(|(name, _)| names.contains(&name))
            {
                marks.push(Mark {
                    file: mark,
                    record: entry.join("RECORD"),
                });
            }
        }
    }
    Ok(marks)
}

/// What says that a package was asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Mark {
    /// The mark itself.
    pub file: PathBuf,
    /// The list of the package's files.
    pub record: PathBuf,
}

impl Mark {
    /// The list of files without the mark.
    #[must_use]
    pub fn without(record: &str) -> String {
        let names_it = |line: &&str| {
            let file = line.split(',').next().unwrap_or_default();
            file.rsplit('/').next() != Some(REQUESTED)
        };
        record.split_inclusive('\n').filter(names_it).collect()
    }
}

/// What pip complains of, in one line; nothing where it names no error. Its first error is the cause, later ones follow
/// from it.
#[must_use]
pub fn complaint(messages: &[u8]) -> Option<String> {
    let messages = String::from_utf8_lossy(messages);
    let mut errors = messages.lines().filter_map(|line| line.strip_prefix("ERROR: "));
    errors
        .find(|error| !error.trim().is_empty())
        .map(|error| error.trim().to_owned())
}

/// The one command that uninstalls all `names`. pip skips absent names with status 0: look at what is installed after.
///
/// # Errors
/// `invalid` for no name, or one that is not a package's name.
pub fn uninstall(environment: &Path, root: &Path, names: &[String]) -> Result<Invocation> {
    Ok(pip(environment, root, "uninstall")
        .arguments(["--yes", "--"])
        .arguments(checked(names)?))
}

/// Names for a command line.
///
/// # Errors
/// `invalid` for no name, or one that is not a package's name.
pub(super) fn checked(names: &[String]) -> Result<&[String]> {
    if names.is_empty() {
        return Err(Error::invalid("no package to uninstall").hint("name at least one"));
    }
    for name in names {
        Manager::Pip.check_name(name)?;
    }
    Ok(names)
}

/// Packages for a command line, each in its version.
///
/// # Errors
/// `invalid` for no package, or for a name or version that is none.
pub(super) fn pinned(packages: &BTreeMap<String, String>) -> Result<Vec<String>> {
    if packages.is_empty() {
        return Err(Error::invalid("no package to install").hint("name at least one"));
    }
    let mut pinned = Vec::new();
    for (name, version) in packages {
        Manager::Pip.check_name(name)?;
        check_version(version)?;
        pinned.push(format!("{name}=={version}"));
    }
    Ok(pinned)
}

/// The one command that installs exactly these versions again, without touching other packages. It needs the package
/// index, or wheels in `cache`.
///
/// # Errors
/// `invalid` for no package, or for a name or version that is none.
pub fn install(
    environment: &Path,
    root: &Path,
    packages: &BTreeMap<String, String>,
    cache: &Path,
) -> Result<Invocation> {
    // Without dependencies: what was uninstalled is named in full, and nothing else may change.
    Ok(pip(environment, root, "install")
        .arguments(["--no-deps", "--prefer-binary", "--retries", "2", "--cache-dir"])
        .arguments([cache])
        .arguments(["--"])
        .arguments(pinned(packages)?))
}

#[cfg(test)]
mod tests;
