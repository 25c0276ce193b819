//! The npm packages: `vendor/<name>` holds a stand-in, `node_modules/<name>` links to it, as npm makes it for
//! `file:` dependencies. The embedded lock file is the source; npm itself wrote it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::tree::Tree;

const LOCK: &str = include_str!("../../demo/npm/package-lock.json");

#[derive(Deserialize)]
struct Lock {
    packages: BTreeMap<String, Package>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Package {
    Link {
        resolved: String,
        link: bool,
    },
    Vendored {
        version: String,
        license: String,
        dependencies: Option<Value>,
    },
    Root {},
}

const UNREADABLE: &str = "`demo/npm/package-lock.json` is unreadable";

/// Plants `package-lock.json`, `vendor/` and `node_modules/`.
pub(super) fn plant(tree: &mut Tree) -> Result<()> {
    let lock: Lock = serde_json::from_str(LOCK).context(UNREADABLE)?;
    for (place, package) in lock.packages {
        match package {
            Package::Link { resolved, link: true } => {
                let up = "../".repeat(place.matches('/').count());
                tree.link(place, format!("{up}{resolved}"));
            }
            Package::Vendored {
                version,
                license,
                dependencies,
            } => {
                let name = place.strip_prefix("vendor/").unwrap_or(&place);
                let mut manifest = json!({
                    "name": name,
                    "version": version,
                    "description": "A stand-in of the demo",
                    "main": "index.js",
                    "license": license,
                });
                if let (Some(dependencies), Some(fields)) = (dependencies, manifest.as_object_mut()) {
                    fields.insert("dependencies".to_owned(), dependencies);
                }
                tree.file(
                    format!("{place}/index.js"),
                    format!(
                        "'use strict';\n\nmodule.exports = {{ name: '{name}', version: '{version}' }};\n"
                    ),
                );
                tree.file(format!("{place}/package.json"), format!("{manifest:#}\n"));
            }
            Package::Link { .. } | Package::Root {} => {}
        }
    }
    tree.file("package-lock.json", LOCK);
    tree.file(
        "node_modules/.package-lock.json",
        hidden_lock().context(UNREADABLE)?,
    );
    Ok(())
}

/// What npm keeps in `node_modules` for itself: the lock file without the root package.
fn hidden_lock() -> serde_json::Result<String> {
    let mut lock: Map<String, Value> = serde_json::from_str(LOCK)?;
    if let Some(packages) = lock.get_mut("packages").and_then(Value::as_object_mut) {
        packages.shift_remove("");
    }
    Ok(format!("{:#}\n", Value::Object(lock)))
}
