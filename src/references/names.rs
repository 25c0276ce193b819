//! How sources name files and packages: paths without extensions, modules of packages. Asks no file system.

/// Extensions that JavaScript and TypeScript need not write.
pub(super) const JAVASCRIPT: &[&str] = &[
    "js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx", "json", "node", "vue", "svelte",
];

/// Extensions of Python.
pub(super) const PYTHON: &[&str] = &["py", "pyi", "pyw"];

/// Packages whose modules have other names; both normalised. The package's own name counts as well.
const MODULES: &[(&str, &[&str])] = &[
    ("attrs", &["attr"]),
    ("beautifulsoup4", &["bs4"]),
    ("dbt-core", &["dbt"]),
    ("dbt-duckdb", &["dbt"]),
    ("dbt-postgres", &["dbt"]),
    ("gitpython", &["git"]),
    ("ipython", &["ipython"]),
    ("jupyter", &["jupyter-core", "jupyter-client"]),
    ("matplotlib", &["pylab", "mpl-toolkits"]),
    ("opencv-python", &["cv2"]),
    ("pillow", &["pil"]),
    ("protobuf", &["google"]),
    ("psycopg2-binary", &["psycopg2"]),
    ("pyairbyte", &["airbyte"]),
    ("python-dateutil", &["dateutil"]),
    ("python-dotenv", &["dotenv"]),
    ("pyyaml", &["yaml"]),
    ("pyzmq", &["zmq"]),
    ("scikit-image", &["skimage"]),
    ("scikit-learn", &["sklearn"]),
    ("setuptools", &["pkg-resources"]),
    ("ydata-profiling", &["pandas-profiling"]),
];

/// The normalised names of the modules that a package (normalised) gives.
pub(super) fn modules_of(package: &str) -> Vec<String> {
    let others = MODULES
        .iter()
        .find(|(name, _)| *name == package)
        .map_or(&[][..], |(_, others)| others);
    let mut modules = vec![package.to_owned()];
    modules.extend(
        others
            .iter()
            .map(|other| (*other).to_owned())
            .filter(|other| other != package),
    );
    modules
}

pub(super) fn directory_of(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(directory, _)| directory)
}

pub(super) fn is_relative(module: &str) -> bool {
    module == "." || module == ".." || module.starts_with("./") || module.starts_with("../")
}

/// A path below `directory` without `.`, `..` and empty parts; none if it leads out of the root.
pub(super) fn join(directory: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// A directory and those above it, up to the root, which is empty.
pub(super) fn ancestors(directory: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(directory), |directory| {
        (!directory.is_empty()).then(|| directory.rsplit_once('/').map_or("", |(above, _)| above))
    })
}

/// The package of a bare module name: its first part, or two parts of a scope. None for Node's own.
pub(super) fn npm_package(module: &str) -> Option<&str> {
    if module.contains(':') || module.starts_with(['/', '#', '~', '.']) || module.starts_with("@/") {
        return None;
    }
    let parts = if module.starts_with('@') { 2 } else { 1 };
    let end = module
        .match_indices('/')
        .nth(parts - 1)
        .map_or(module.len(), |(at, _)| at);
    module.get(..end).filter(|package| !package.is_empty())
}

/// The path by which Python names a file: without extension and `__init__`.
pub(super) fn python_key(path: &str) -> Option<&str> {
    let (base, _) = path
        .rsplit_once('.')
        .filter(|(_, extension)| PYTHON.contains(extension))?;
    Some(base.strip_suffix("/__init__").unwrap_or(base))
}

/// All texts by which JavaScript may name a file.
pub(super) fn module_keys(path: &str) -> Vec<String> {
    let mut keys = vec![path.to_owned()];
    let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
    if let Some((stem, extension)) = file.rsplit_once('.')
        && JAVASCRIPT.contains(&extension)
    {
        let base = path
            .strip_suffix(extension)
            .and_then(|base| base.strip_suffix('.'))
            .unwrap_or(path);
        keys.push(base.to_owned());
        // TypeScript names its sources by what is made of them.
        keys.extend(
            ["js", "mjs", "cjs", "jsx"]
                .iter()
                .map(|other| format!("{base}.{other}")),
        );
        if stem == "index" {
            keys.push(directory.to_owned());
        }
    }
    keys
}
