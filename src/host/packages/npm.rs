//! Packages below a `package.json`, read from `node_modules` itself: lock files say what should be there, not what is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::host::commands::Invocation;
use crate::host::packages::tree::{self, Disk, Tree, follow, is_link};
use crate::host::packages::{Manager, Package, Packages, check_version};

/// How deep packages inside packages are followed.
const DEEPEST: usize = 16;

/// What makes npm act on this directory and nothing else, whatever an `.npmrc` or a parent directory says. Without
/// `--no-workspaces` it would also take out every package that nothing declares, such as one put there by hand.
const HERE: &[&str] = &[
    "--location=project",
    "--no-global",
    "--no-workspaces",
    "--no-dry-run",
    "--no-package-lock-only",
    "--include=dev",
    "--include=optional",
    "--include=peer",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--loglevel=error",
];

/// What is installed below `place`, the directory of a `package.json`. Linked packages (`file:`) count; a package
/// nested in another belongs to that one, and what it needs from outside is needed by that one.
///
/// # Errors
/// Where `node_modules` is there but can't be listed.
pub fn installed(tree: &dyn Tree, place: &Path) -> Result<Packages> {
    let mut packages = Packages::new();
    for (name, directory) in package_directories(tree, &place.join("node_modules"))? {
        let Some(manifest) = Manifest::read(tree, &directory)? else {
            continue;
        };
        // A link to the project itself, or to what contains it, holds this same tree.
        let mut requires = if is_link(tree, &directory) && leads_around(tree, &directory, place) {
            manifest.needs()
        } else {
            needs_from_outside(tree, &directory, &manifest, 0)?
        };
        requires.remove(&name);
        let requires = requires.into_iter().collect();
        packages.insert(
            name.clone(),
            Package {
                name,
                version: manifest.text("version").to_owned(),
                requires,
                // npm takes out by itself what nothing needs any more.
                automatic: false,
            },
        );
    }
    Ok(packages)
}

fn leads_around(tree: &dyn Tree, link: &Path, place: &Path) -> bool {
    match (follow(tree, link), follow(tree, place)) {
        (Ok(Some((target, _))), Ok(Some((place, _)))) => place.starts_with(target),
        _ => true,
    }
}

/// What a package and those nested in it need that none nested in it gives.
fn needs_from_outside(
    tree: &dyn Tree,
    directory: &Path,
    manifest: &Manifest,
    depth: usize,
) -> Result<BTreeSet<String>> {
    let mut needs = manifest.needs();
    if depth >= DEEPEST {
        return Ok(needs);
    }
    let nested = package_directories(tree, &directory.join("node_modules"))?;
    for inner in nested.values() {
        let Some(manifest) = Manifest::read(tree, inner)? else {
            continue;
        };
        if is_link(tree, inner) {
            needs.extend(manifest.needs());
        } else {
            needs.extend(needs_from_outside(tree, inner, &manifest, depth + 1)?);
        }
    }
    needs.retain(|name| !nested.contains_key(name));
    Ok(needs)
}

/// Directories of packages by name, those of scopes included; empty where there is no `node_modules`.
fn package_directories(tree: &dyn Tree, node_modules: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for (name, path) in list(tree, node_modules)? {
        if name.starts_with('@') {
            found.extend(
                list(tree, &path)?
                    .into_iter()
                    .map(|(inner, path)| (format!("{name}/{inner}"), path)),
            );
        } else if !name.starts_with('.') {
            found.insert(name, path);
        }
    }
    Ok(found)
}

fn list(tree: &dyn Tree, directory: &Path) -> Result<Vec<(String, PathBuf)>> {
    tree::list(tree, directory)
        .map_err(|error| Error::io(format_args!("list `{}`", directory.display()), &error))
}

/// What tells that the packages below `place` were changed: manifests and directories that hold packages, linked ones
/// included.
///
/// # Errors
/// As for [`installed`].
pub fn watched(tree: &dyn Tree, place: &Path) -> Result<Vec<PathBuf>> {
    let modules = place.join("node_modules");
    let mut watched = vec![
        place.join("package.json"),
        modules.join(".package-lock.json"),
        modules.clone(),
    ];
    for (name, path) in list(tree, &modules)? {
        if name.starts_with('@') {
            watched.push(path);
        }
    }
    for path in package_directories(tree, &modules)?.into_values() {
        if is_link(tree, &path) {
            watched.push(path.join("package.json"));
            watched.push(path.join("node_modules"));
        }
    }
    Ok(watched)
}

/// The largest `package.json`, in bytes.
const MANIFEST_LIMIT: u64 = 64 << 20;

/// A `package.json`.
struct Manifest(Value);

impl Manifest {
    /// The manifest in a directory; none if it isn't there. One that is no JSON declares nothing.
    ///
    /// # Errors
    /// Where it is there and can't be read: nobody can tell what it needs.
    fn read(tree: &dyn Tree, directory: &Path) -> Result<Option<Self>> {
        let file = directory.join("package.json");
        let bytes = tree::read(tree, &file, MANIFEST_LIMIT)
            .map_err(|error| Error::io(format_args!("read `{}`", file.display()), &error))?;
        Ok(bytes.map(|bytes| {
            let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
            Self(serde_json::from_slice(text).unwrap_or_default())
        }))
    }

    fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn names(&self, key: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.0.get(key).and_then(Value::as_object).into_iter().flatten()
    }

    /// Dependencies, optional ones too, and peers that are not optional.
    fn needs(&self) -> BTreeSet<String> {
        let optional = |name: &str| {
            let meta = self.0.get("peerDependenciesMeta").and_then(|meta| meta.get(name));
            meta.and_then(|meta| meta.get("optional"))
                .and_then(Value::as_bool)
                .unwrap_or(false)
        };
        let peers = self.names("peerDependencies").filter(|(name, _)| !optional(name));
        let own = self
            .names("dependencies")
            .chain(self.names("optionalDependencies"));
        own.chain(peers).map(|(name, _)| name.clone()).collect()
    }
}

/// What the `package.json` in `place` declares, of every kind; name to range. Empty where there is none.
///
/// # Errors
/// `configuration` if it is no JSON.
pub fn declared(tree: &dyn Tree, place: &Path) -> Result<BTreeMap<String, String>> {
    let Some(manifest) = Manifest::read(tree, place)? else {
        return Ok(BTreeMap::new());
    };
    if !manifest.0.is_object() {
        let file = place.join("package.json");
        return Err(
            Error::configuration(format!("`{}` is not a JSON object", file.display()))
                .hint("repair it: nothing can be said about its packages"),
        );
    }
    let kinds = [
        "peerDependencies",
        "optionalDependencies",
        "devDependencies",
        "dependencies",
    ];
    let all = kinds.iter().flat_map(|kind| manifest.names(kind));
    Ok(all
        .map(|(name, range)| (name.clone(), range.as_str().unwrap_or_default().to_owned()))
        .collect())
}

/// Tells what `npm uninstall` takes out of `place` together with `names`: packages that are reached from what is
/// declared now, and not without the names. npm takes them out even where a package that nothing declares needs
/// them: give names and orphans to `removable` to see that. Name to version.
///
/// # Errors
/// As for [`declared`].
pub fn orphans(
    tree: &dyn Tree,
    place: &Path,
    installed: &Packages,
    names: &[String],
) -> Result<BTreeMap<String, String>> {
    let mut roots: BTreeSet<String> = declared(tree, place)?.into_keys().collect();
    if Manifest::read(tree, place)?.is_some_and(|manifest| manifest.0.get("workspaces").is_some()) {
        let linked = |name: &&String| is_link(tree, &place.join("node_modules").join(name));
        roots.extend(installed.keys().filter(linked).cloned());
    }
    let before = reached(installed, roots.iter());
    let after = reached(installed, roots.iter().filter(|name| !names.contains(name)));
    let lost = before.difference(&after).filter(|name| !names.contains(name));
    let version = |name: &String| installed.get(name).map(|package| package.version.clone());
    Ok(lost
        .filter_map(|name| Some((name.clone(), version(name)?)))
        .collect())
}

fn reached<'a>(installed: &'a Packages, roots: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&String> = roots.collect();
    while let Some(name) = open.pop() {
        if let Some(package) = installed.get(name)
            && reached.insert(name.clone())
        {
            open.extend(&package.requires);
        }
    }
    reached
}

/// npm in `place`, with a configuration of ours: its cache below `cache`, no log files, no file of the user.
fn npm(program: &Path, place: &Path, root: &Path, cache: &Path, command: &str) -> Invocation {
    let mut invocation = Invocation::new(program, root)
        .cwd(place)
        .arguments([command])
        .arguments(HERE)
        .arguments([format!("--prefix={}", place.display())])
        .variable("npm_config_cache", cache.display().to_string())
        .variable("npm_config_logs_max", "0")
        .variable("npm_config_userconfig", "/dev/null")
        // npm refuses the same file twice; this one is never there.
        .variable(
            "npm_config_globalconfig",
            cache.join("no-npmrc").display().to_string(),
        )
        .with_reach()
        .timeout(Duration::from_mins(10));
    // npm makes a lock file where there is none.
    if !has_lock(place) {
        invocation = invocation.arguments(["--no-package-lock"]);
    }
    invocation
}

fn has_lock(place: &Path) -> bool {
    ["package-lock.json", "npm-shrinkwrap.json"]
        .iter()
        .any(|file| place.join(file).exists())
}

/// Whether npm may ask the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registry {
    /// Where it would have to, it fails and changes nothing.
    Never,
    /// For what is not in the cache.
    WhereNeeded,
}

/// Whether npm failed because it may not ask the registry, by its messages.
#[must_use]
pub fn lacks_a_download(messages: &[u8]) -> bool {
    String::from_utf8_lossy(messages).contains("ENOTCACHED")
}

/// What npm complains of, in one line: the code and the first sentence; nothing where it names no error.
#[must_use]
pub fn complaint(messages: &[u8]) -> Option<String> {
    let messages = String::from_utf8_lossy(messages);
    let lines = messages.lines().filter_map(|line| {
        line.strip_prefix("npm error ")
            .or_else(|| line.strip_prefix("npm ERR! "))
    });
    let mut code = None;
    let mut message = None;
    for line in lines.map(str::trim) {
        let about_logs = line.starts_with("Log files were not written") || line.starts_with("A complete log");
        match line.strip_prefix("code ") {
            Some(given) => code = code.or(Some(given)),
            None if !line.is_empty() && !about_logs => message = message.or(Some(line)),
            None => {}
        }
    }
    let message = message.map(|message| {
        message
            .strip_prefix(code.unwrap_or_default())
            .unwrap_or(message)
            .trim()
    });
    match (code, message) {
        (Some(code), Some(message)) => Some(format!("{code}: {message}")),
        (code, message) => code.or(message).map(str::to_owned),
    }
}

/// The one command that uninstalls all `names`. npm may want the registry for it: where a declared package is missing,
/// it would first download it.
///
/// npm writes `package.json` anew in its own format and takes out what [`orphans`] tells. Names that are not declared are
/// ignored with status 0: look at what is installed after.
///
/// # Errors
/// `invalid` for no name, or one that is not a package's name.
pub fn uninstall(
    program: &Path,
    place: &Path,
    root: &Path,
    names: &[String],
    cache: &Path,
    registry: Registry,
) -> Result<Invocation> {
    if names.is_empty() {
        return Err(Error::invalid("no package to uninstall").hint("name at least one"));
    }
    for name in names {
        Manager::Npm.check_name(name)?;
    }
    Ok(npm(program, place, root, cache, "uninstall")
        .arguments([
            match registry {
                Registry::Never => "--offline",
                Registry::WhereNeeded => "--prefer-offline",
            },
            "--save",
            "--",
        ])
        .variable("npm_config_fetch_retries", "1")
        .arguments(names))
}

/// The one command that brings `node_modules` back to what `package.json` and the lock file say, after both were put
/// back. Without a lock file the `packages` (name to version) are asked for in these versions.
///
/// Linked packages need no network, others come from the registry or `cache`. It fails without a change.
///
/// # Errors
/// `invalid` for a name or version that is none; as for [`declared`].
pub fn install(
    program: &Path,
    place: &Path,
    root: &Path,
    packages: &BTreeMap<String, String>,
    cache: &Path,
) -> Result<Invocation> {
    // Never `npm ci`: it empties `node_modules` before it knows whether it can fill it.
    let invocation = npm(program, place, root, cache, "install")
        .arguments(["--prefer-offline", "--no-save"])
        .variable("npm_config_fetch_retries", "1");
    if has_lock(place) {
        return Ok(invocation);
    }
    let declared = declared(&Disk, place)?;
    let mut pinned = Vec::new();
    for (name, version) in packages {
        Manager::Npm.check_name(name)?;
        // A range with a colon or a slash is no range but a place: `file:`, `git+ssh:`, `owner/name`.
        if declared
            .get(name)
            .is_some_and(|range| !range.contains([':', '/']))
        {
            check_version(version)?;
            pinned.push(format!("{name}@{version}"));
        }
    }
    Ok(invocation.arguments(["--"]).arguments(pinned))
}

#[cfg(test)]
mod tests;
