//! The Python environment `.venv`: stand-ins that pip lists, checks and uninstalls like the real packages.

#![expect(
    clippy::disallowed_methods,
    reason = "asks `python3` where it is; the demo has no host and changes nothing here"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::tree::Tree;

struct Package {
    name: &'static str,
    version: &'static str,
    module: &'static str,
    requires: &'static [&'static str],
    /// Whether it was asked for; if not, it came because another needs it.
    requested: bool,
}

const fn package(
    name: &'static str,
    version: &'static str,
    module: &'static str,
    requires: &'static [&'static str],
) -> Package {
    Package {
        name,
        version,
        module,
        requires,
        requested: true,
    }
}

impl Package {
    const fn automatic(self) -> Self {
        Self {
            requested: false,
            ..self
        }
    }
}

/// `unrelated-report` belongs to no story: it keeps pandas, and pandas keeps numpy.
const PACKAGES: &[Package] = &[
    package("airbyte", "0.24.0", "airbyte", &["airbyte-cdk>=6"]),
    package("airbyte-cdk", "6.5.2", "airbyte_cdk", &[]),
    package("autoviz", "0.1.905", "autoviz", &["pandas"]),
    package("dagster", "1.9.3", "dagster", &[]),
    package("dagster-graphql", "1.9.3", "dagster_graphql", &["dagster==1.9.3"]).automatic(),
    package(
        "dagster-webserver",
        "1.9.3",
        "dagster_webserver",
        &["dagster==1.9.3", "dagster-graphql==1.9.3"],
    ),
    package("dbt-core", "1.10.5", "dbt", &[]),
    package(
        "dbt-duckdb",
        "1.9.4",
        "dbt_duckdb",
        &["dbt-core>=1.8", "duckdb>=1.0"],
    ),
    package("duckdb", "1.1.3", "duckdb", &[]),
    package("jupyter", "1.1.1", "jupyter", &["notebook"]),
    package("matplotlib", "3.9.2", "matplotlib", &["numpy>=1.23"]),
    package("notebook", "7.2.2", "notebook", &[]),
    package("numpy", "1.26.4", "numpy", &[]),
    package("pandas", "2.2.3", "pandas", &["numpy>=1.23"]),
    package(
        "scikit-learn",
        "1.5.2",
        "sklearn",
        &["numpy>=1.19.5", "scipy>=1.6"],
    ),
    package("scipy", "1.14.1", "scipy", &["numpy<2.3,>=1.23"]),
    package(
        "seaborn",
        "0.13.2",
        "seaborn",
        &["matplotlib!=3.6.1,>=3.4", "pandas>=1.2"],
    ),
    package(
        "statsmodels",
        "0.14.4",
        "statsmodels",
        &["pandas!=2.1.0,>=1.4", "scipy!=1.9.2,>=1.8"],
    ),
    package("sweetviz", "2.3.1", "sweetviz", &["pandas>=1.3"]),
    package("unrelated-report", "3.2.0", "unrelated_report", &["pandas>=2"]),
    package(
        "ydata-profiling",
        "4.12.0",
        "ydata_profiling",
        &["matplotlib>=3.5", "pandas<3,>1.1", "scipy<2,>=1.4"],
    ),
];

/// An interpreter of this machine.
pub(super) struct Python {
    /// The program itself, behind links and wrapper scripts.
    pub(super) executable: PathBuf,
    /// Such as `3.11`.
    version: String,
    /// The directory of its pip, if it has one.
    pip: Option<PathBuf>,
}

/// The `python3` of `PATH`, asked once: version managers put a slow script in its place.
pub(super) fn python() -> Option<&'static Python> {
    static FOUND: OnceLock<Option<Python>> = OnceLock::new();
    FOUND.get_or_init(find).as_ref()
}

fn find() -> Option<Python> {
    const QUESTION: &str = "
import importlib.util, os, sys
pip = importlib.util.find_spec('pip')
print(os.path.realpath(sys._base_executable))
print('%d.%d' % sys.version_info[:2])
print(os.path.dirname(pip.origin) if pip else '')
";
    let output = Command::new("python3")
        .args(["-I", "-c", QUESTION])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let answer = String::from_utf8(output.stdout).ok()?;
    let mut lines = answer.lines();
    let executable = PathBuf::from(lines.next()?);
    let version = lines.next()?.to_owned();
    let pip = lines.next().filter(|line| !line.is_empty()).map(PathBuf::from);
    executable.is_file().then_some(Python {
        executable,
        version,
        pip,
    })
}

/// Plants `.venv`; without an interpreter it has packages but no programs.
pub(super) fn plant(tree: &mut Tree, root: &Path, python: Option<&Python>) {
    let version = python.map_or("3.11", |python| python.version.as_str());
    let packages = format!(".venv/lib/python{version}/site-packages");
    for package in PACKAGES {
        plant_package(tree, &packages, package);
    }

    let home = python
        .and_then(|python| python.executable.parent())
        .unwrap_or(Path::new("/usr/bin"));
    tree.file(
        ".venv/pyvenv.cfg",
        format!(
            "home = {}\ninclude-system-site-packages = false\nversion = {version}\n",
            home.display()
        ),
    );
    let Some(python) = python else { return };
    tree.link(".venv/bin/python", &python.executable);
    tree.link(".venv/bin/python3", "python");
    tree.link(format!(".venv/bin/python{version}"), "python");
    if let Some(pip) = &python.pip {
        // The interpreter's own pip, without its metadata: the environment doesn't list it as its own.
        tree.link(format!("{packages}/pip"), pip);
        let interpreter = root.join(".venv/bin/python");
        tree.file(
            ".venv/bin/pip",
            format!(
                "#!{}\nimport sys\nfrom pip._internal.cli.main import main\n\nsys.exit(main())\n",
                interpreter.display()
            ),
        );
    }
}

fn plant_package(tree: &mut Tree, packages: &str, package: &Package) {
    let Package {
        name,
        version,
        module,
        requires,
        requested,
    } = package;
    let metadata = format!("{}-{version}.dist-info", name.replace('-', "_"));
    tree.file(
        format!("{packages}/{module}.py"),
        format!("\"\"\"A stand-in of the demo for {name}.\"\"\"\n\n__version__ = \"{version}\"\n"),
    );
    let requires = requires.iter().fold(String::new(), |mut text, requirement| {
        let _ = writeln!(text, "Requires-Dist: {requirement}");
        text
    });
    tree.file(
        format!("{packages}/{metadata}/METADATA"),
        format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: A stand-in of the demo\n{requires}"),
    );
    tree.file(format!("{packages}/{metadata}/INSTALLER"), "pip\n");
    let mark = requested.then_some("REQUESTED");
    if let Some(mark) = mark {
        tree.file(format!("{packages}/{metadata}/{mark}"), "");
    }
    // The format lets hash and size be empty.
    let record: String = ["METADATA", "INSTALLER", "RECORD"]
        .into_iter()
        .chain(mark)
        .map(|file| format!("{metadata}/{file},,\n"))
        .chain([format!("{module}.py,,\n")])
        .collect();
    tree.file(format!("{packages}/{metadata}/RECORD"), record);
}
