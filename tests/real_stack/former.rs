//! What the former scripts ran, as far as it takes time: for each service two seconds of waiting, a copy of the data,
//! `rm -rf` of each part, and one call of the package manager for each package. They killed by name; that is left out.

use std::process::Command;
use std::time::Instant;

use super::deployment::Deployment;

/// Runs them on a workspace and gives the seconds.
pub fn run(deployment: &Deployment) -> f64 {
    let mut script = String::from("cd \"$1\" || exit 1\nmkdir -p rollback_backups\n");
    for story in ["1.8", "1.7", "1.6", "1.5", "1.4", "1.3", "1.2"] {
        let lists = lists(story);
        for _ in lists("services") {
            script.push_str("sleep 2\n");
        }
        for (number, data) in lists("data").into_iter().enumerate() {
            script.push_str(&format!(
                "[ ! -e '{data}' ] || {{ cp -r '{data}' 'rollback_backups/{story}_{number}'; rm -rf '{data}'; }}\n"
            ));
        }
        for path in lists("files").into_iter().chain(lists("caches")) {
            script.push_str(&format!("rm -rf '{path}'\n"));
        }
        for name in lists("npm") {
            script.push_str(&format!("npm uninstall '{name}' > npm.out 2>&1 || true\n"));
        }
        for name in lists("pip") {
            script.push_str(&format!(
                ".venv/bin/python -m pip uninstall --yes '{name}' > pip.out 2>&1 || true\n"
            ));
        }
    }
    let began = Instant::now();
    let status = Command::new("sh")
        .args(["-c", &script, "former"])
        .arg(deployment.sandbox.root())
        .env("HOME", deployment.sandbox.home())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    began.elapsed().as_secs_f64()
}

/// A list of a story's header: texts, or the paths or names of maps.
fn lists(story: &str) -> impl Fn(&str) -> Vec<String> + use<> {
    let path = format!(
        "{}/scripts/rollback-story-{story}.rhai",
        env!("CARGO_MANIFEST_DIR")
    );
    let script = rollback_manager::script::read(std::path::Path::new(&path)).unwrap();
    move |key: &str| {
        let list = script.header.get(key).cloned().unwrap_or_default();
        let items = list.into_array().unwrap_or_default();
        items
            .into_iter()
            .map(|item| {
                let text = match item.clone().try_cast::<rhai::Map>() {
                    Some(map) => map.get("path").or_else(|| map.get("name")).cloned().unwrap(),
                    None => item,
                };
                text.into_string().unwrap()
            })
            .collect()
    }
}
