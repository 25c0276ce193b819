//! Debian's Docker engine, and podman's service, each on a socket of its own, and what the stories do with containers, images and volumes.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::deployment::Deployment;
use super::programs::Program;
use super::stack::{Stack, Why, done, said, skipped, stack};
use crate::sandbox::assert_says;

/// A running engine. It ends with the test, and its containers with it.
pub struct Engine {
    root: PathBuf,
    state: tempfile::TempDir,
    program: PathBuf,
    daemon: Option<Program>,
}

/// Waits for the end of its input, which is the end of the test, and then ends the engine in an orderly way.
const GUARD: &str = "\"$@\" & daemon=$!\nread -r line\nkill $daemon\nwait $daemon\n";

/// The same for podman, whose containers don't end with its service; and what it keeps for the whole machine (locks,
/// networks, a cache) it keeps in a world of its own.
const PODMAN_GUARD: &str = "for each in /run /var/lib /dev/shm; do mount -t tmpfs none $each || exit 1; done\n\
    client=$1\nshift\n\"$@\" & daemon=$!\nread -r line\n\"$client\" rm --force --all > /dev/null\n\
    kill $daemon\nwait $daemon\n";

impl Engine {
    fn new(stack: &Stack, name: &str, root: PathBuf) -> Result<Self, Why> {
        if !rustix::process::geteuid().is_root() {
            return Err(format!("only root can start the service of {name}"));
        }
        let state = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(stack.base())
            .map_err(|error| error.to_string())?;
        Ok(Self {
            program: root.join("usr/bin").join(name),
            root,
            state,
            daemon: None,
        })
    }

    /// Starts podman's service. Its program is a script that talks to the service: a podman without one would change its
    /// own store, which is not the workspace's.
    pub fn start_podman(stack: &Stack) -> Result<Self, Why> {
        let mut engine = Self::new(stack, "podman", stack.podman()?)?;
        let (root, state) = (engine.root.display().to_string(), engine.state.path().to_owned());
        let place = state.display();
        let write = |path: &str, text: String| {
            let path = state.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).map_err(|error| error.to_string())?;
            std::fs::write(path, text).map_err(|error| error.to_string())
        };
        // Where limits can't be raised, its own defaults are too high.
        write(
            "containers.conf",
            format!(
                "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
                 seccomp_profile = \"{root}/usr/share/containers/seccomp.json\"\n\
                 [engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
                 conmon_path = [\"{root}/usr/bin/conmon\"]\ntmp_dir = \"{place}/tmp\"\n\
                 static_dir = \"{place}/libpod\"\nvolume_path = \"{place}/volumes\"\n\
                 [engine.runtimes]\nrunc = [\"{root}/usr/bin/runc\", \"{root}/usr/sbin/runc\"]\n"
            ),
        )?;
        write(
            "storage.conf",
            format!(
                "[storage]\ndriver = \"vfs\"\ngraphroot = \"{place}/graph\"\nrunroot = \"{place}/run\"\n"
            ),
        )?;
        write(
            "home/.config/containers/policy.json",
            "{ \"default\": [{ \"type\": \"insecureAcceptAnything\" }] }\n".to_owned(),
        )?;
        let program = |name: &str, arguments: String| {
            write(
                name,
                format!(
                    "#!/bin/sh\nexport LD_LIBRARY_PATH='{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu'\n\
                     export CONTAINERS_CONF='{place}/containers.conf' CONTAINERS_STORAGE_CONF='{place}/storage.conf'\n\
                     export CONTAINERS_REGISTRIES_CONF='{root}/etc/containers/registries.conf' HOME='{place}/home'\n\
                     exec '{root}/usr/bin/podman' {arguments}\n"
                ),
            )?;
            let path = state.join(name);
            done(Command::new("chmod").arg("755").arg(&path))?;
            Ok::<_, Why>(path)
        };
        engine.program = program("podman", format!("--url '{}' \"$@\"", engine.host()))?;
        let service = program(
            "service",
            format!("--log-level=info system service --time=0 '{}'", engine.host()),
        )?;
        done(Command::new(&engine.program).arg("--version"))?;
        let world = ["--mount", "--propagation", "private"];
        done(Command::new("unshare").args(world).arg("true"))?;
        let mut command = Command::new("unshare");
        command
            .args(world)
            .args(["sh", "-c", PODMAN_GUARD, "guard"])
            .args([&engine.program, &service])
            .env_clear()
            .env("PATH", engine.path());
        engine.daemon = Some(Program::start("podman", &mut command, "listening on"));
        engine.import()?;
        Ok(engine)
    }

    /// Starts Docker's daemon; why not, where it can't be.
    pub fn start(stack: &Stack) -> Result<Self, Why> {
        let mut engine = Self::new(stack, "docker", stack.docker()?)?;
        let mut command = Command::new("sh");
        command
            .args(["-c", GUARD, "guard"])
            .arg(engine.root.join("usr/sbin/dockerd"))
            .arg(format!("--host={}", engine.host()))
            .arg(format!(
                "--data-root={}",
                engine.state.path().join("data").display()
            ))
            .arg(format!(
                "--exec-root={}",
                engine.state.path().join("exec").display()
            ))
            .arg(format!("--pidfile={}", engine.state.path().join("pid").display()))
            .args([
                "--iptables=false",
                "--ip6tables=false",
                "--bridge=none",
                "--storage-driver=vfs",
            ])
            .env_clear()
            .env("PATH", engine.path());
        engine.daemon = Some(Program::start("dockerd", &mut command, "API listen on"));
        engine.import()?;
        Ok(engine)
    }

    /// The address, as `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.state.path().join("socket").display())
    }

    /// The command line program.
    pub fn program(&self) -> PathBuf {
        self.program.clone()
    }

    fn path(&self) -> String {
        let root = self.root.display();
        let inherited = std::env::var("PATH").unwrap_or_default();
        format!("{root}/usr/sbin:{root}/usr/bin:{inherited}")
    }

    /// Images from BusyBox alone.
    fn import(&self) -> Result<(), Why> {
        let tree = self.state.path().join("image");
        std::fs::create_dir_all(tree.join("bin")).map_err(|error| error.to_string())?;
        std::fs::copy(self.root.join("bin/busybox"), tree.join("bin/busybox"))
            .map_err(|error| error.to_string())?;
        for name in ["sh", "sleep", "cat"] {
            std::os::unix::fs::symlink("busybox", tree.join("bin").join(name))
                .map_err(|error| error.to_string())?;
        }
        let tar = self.state.path().join("image.tar");
        done(
            Command::new("tar")
                .arg("-C")
                .arg(&tree)
                .arg("-cf")
                .arg(&tar)
                .arg("."),
        )?;
        for image in ["airbyte/worker:1", "dagster:daemon", "metrics/airbyte:1"] {
            self.docker(&["import", tar.to_str().unwrap_or_default(), image])?;
        }
        Ok(())
    }

    /// Runs `docker` against this engine.
    pub fn docker(&self, arguments: &[&str]) -> Result<String, Why> {
        said(
            Command::new(self.program())
                .args(arguments)
                .env("DOCKER_HOST", self.host())
                .env("PATH", self.path()),
        )
        .map(|text| text.trim().to_owned())
    }

    /// Makes what PyAirbyte and Dagster leave in an engine, and a stranger's container with a similar name.
    pub fn deploy(&self) -> Result<(), Why> {
        self.docker(&["volume", "create", "airbyte-data"])?;
        self.docker(&["volume", "create", "myairbyte-data"])?;
        let run = ["run", "--detach", "--network", "none"];
        let forever = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"];
        for (name, image) in [
            ("airbyte-worker", "airbyte/worker:1"),
            ("myairbyte-metrics", "metrics/airbyte:1"),
            ("dagster-daemon", "dagster:daemon"),
        ] {
            self.docker(&[&run[..], &["--name", name, image], &forever].concat())?;
        }
        let fill = "echo from the source > /data/rows; mkdir /data/state; echo 7 > /data/state/cursor";
        let mount = ["--volume", "airbyte-data:/data", "--name", "airbyte-sync"];
        self.docker(
            &[
                &["run", "--network", "none"],
                &mount[..],
                &["airbyte/worker:1", "sh", "-c", fill],
            ]
            .concat(),
        )?;
        Ok(())
    }

    /// The names of all containers, running or not.
    pub fn containers(&self) -> Vec<String> {
        self.names(&["ps", "--all", "--format", "{{.Names}}"])
    }

    /// The names of all volumes.
    pub fn volumes(&self) -> Vec<String> {
        self.names(&["volume", "ls", "--format", "{{.Name}}"])
    }

    /// The names of all images.
    pub fn images(&self) -> Vec<String> {
        self.names(&["images", "--format", "{{.Repository}}:{{.Tag}}"])
    }

    fn names(&self, arguments: &[&str]) -> Vec<String> {
        let mut names: Vec<String> = self
            .docker(arguments)
            .unwrap()
            .lines()
            // Podman's name for what came from no registry.
            .map(|name| name.strip_prefix("localhost/").unwrap_or(name).to_owned())
            .collect();
        names.sort();
        names
    }

    /// Ends the engine, as on a machine where it is down. Its data stays.
    pub fn stop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.finish();
        }
        self.daemon = None;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.finish();
        }
        // The engine mounts its directory over itself.
        let _ = Command::new("umount")
            .arg("--quiet")
            .arg(self.state.path().join("data"))
            .output();
    }
}

/// A workspace without packages and data, whose engine is this one.
fn deployed(stack: &Stack, engine: &Engine) -> Deployment {
    Deployment::bare(stack).with_docker(&engine.host(), &engine.program())
}

#[test]
fn containers_and_images_go_by_whole_name_and_volumes_only_when_asked_for() {
    let (stack, _turn) = match stack() {
        Ok(stack) => stack,
        Err(why) => return skipped("containers of Docker", &why),
    };
    match Engine::start(stack) {
        Ok(engine) => go_by_whole_name(stack, &engine),
        Err(why) => skipped("containers of Docker", &why),
    }
}

#[test]
fn with_podman_too() {
    let (stack, _turn) = match stack() {
        Ok(stack) => stack,
        Err(why) => return skipped("containers of podman", &why),
    };
    match Engine::start_podman(stack) {
        Ok(engine) => go_by_whole_name(stack, &engine),
        Err(why) => skipped("containers of podman", &why),
    }
}

fn go_by_whole_name(stack: &Stack, engine: &Engine) {
    engine.deploy().unwrap();
    let deployment = deployed(stack, engine);
    let before = (engine.containers(), engine.images(), engine.volumes());

    let plan = deployment.json(&["run", "1.2", "-n"], 0);
    assert_eq!(
        (engine.containers(), engine.images(), engine.volumes()),
        before,
        "{plan}"
    );
    deployment.json(&["run", "1.2", "--yes"], 0);
    assert_eq!(engine.containers(), ["dagster-daemon", "myairbyte-metrics"]);
    assert_eq!(engine.images(), ["dagster:daemon", "metrics/airbyte:1"]);
    assert_eq!(engine.volumes(), ["airbyte-data", "myairbyte-data"]);
    // Running, not only there.
    let running = engine.docker(&["ps", "--format", "{{.Names}}"]).unwrap();
    assert!(running.contains("myairbyte-metrics"), "{running}");

    // A volume is gone for good: `--yes` is not enough.
    let volumes = ["run", "1.2", "--param", "volumes=true"];
    let refused = deployment
        .run(&[&volumes[..], &["--yes"]].concat())
        .assert_code(5);
    assert_says(&refused, &["airbyte-data", "--confirm"]);
    assert_eq!(engine.volumes(), ["airbyte-data", "myairbyte-data"]);
    let plan = deployment.json(&[&volumes[..], &["-n"]].concat(), 0);
    let id = plan["plan"].as_str().unwrap();
    let report = deployment.json(&[&volumes[..], &["--confirm", id]].concat(), 0);
    assert_eq!(engine.volumes(), ["myairbyte-data"]);
    let backup = report["backups"][0]["name"].as_str().unwrap();
    let tar = deployment
        .sandbox
        .path(&format!("rollback_backups/{backup}/volume.tar"));
    let listed = said(Command::new("tar").arg("-tf").arg(&tar)).unwrap();
    let mut members: Vec<&str> = listed
        .lines()
        .map(|member| member.trim_start_matches("./").trim_end_matches('/'))
        .filter(|member| !member.is_empty())
        .collect();
    members.sort_unstable();
    assert_eq!(members, ["rows", "state", "state/cursor"]);
    let rows = said(
        Command::new("tar")
            .arg("-xOf")
            .arg(&tar)
            .args(["--wildcards", "*rows"]),
    )
    .unwrap();
    assert_eq!(rows, "from the source\n");
    deployment.run(&["backup", "verify", backup]).assert_code(0);

    // The recipe of the documentation brings it back.
    engine.docker(&["volume", "create", "airbyte-data"]).unwrap();
    let reader = ["create", "--network", "none", "--volume", "airbyte-data:/volume"];
    let reader = engine
        .docker(&[&reader[..], &["metrics/airbyte:1", "sh"]].concat())
        .unwrap();
    let target = format!("{reader}:/volume");
    let restored = Command::new(engine.program())
        .args(["cp", "--archive", "-", &target])
        .env("DOCKER_HOST", engine.host())
        .stdin(std::fs::File::open(&tar).unwrap())
        .status()
        .unwrap();
    assert!(restored.success());
    let display = ["run", "--rm", "--network", "none", "--volume", "airbyte-data:/v"];
    let display = engine
        .docker(
            &[
                &display[..],
                &["metrics/airbyte:1", "cat", "/v/rows", "/v/state/cursor"],
            ]
            .concat(),
        )
        .unwrap();
    assert_eq!(display, "from the source\n7");

    // The container that read it in stays, and so does what it mounts.
    let plan = deployment.json(&[&volumes[..], &["-n"]].concat(), 0);
    let kept = plan["operations"]
        .as_array()
        .unwrap()
        .iter()
        .find(|operation| operation["op"] == "remove_volumes" && operation["outcome"] == "kept");
    assert_eq!(
        kept.expect("it is in use")["target"],
        "volume airbyte-data",
        "{plan}"
    );
}

#[test]
fn an_engine_that_is_down_leaves_what_it_holds_unknown() {
    let (stack, _turn) = match stack() {
        Ok(stack) => stack,
        Err(why) => return skipped("an engine that is down", &why),
    };
    let mut engine = match Engine::start(stack) {
        Ok(engine) => engine,
        Err(why) => return skipped("an engine that is down", &why),
    };
    let deployment = deployed(stack, &engine);
    engine.stop();
    let report = deployment.json(&["run", "1.2", "--yes"], 0);
    let unknown: Vec<&serde_json::Value> = report["operations"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|operation| operation["outcome"] == "unknown")
        .collect();
    assert_eq!(unknown.len(), 2, "{report}");
    for operation in unknown {
        let why = operation["why"].as_str().unwrap();
        assert!(
            why.contains("does not answer") && why.contains("daemon running"),
            "{why}"
        );
    }
    assert!(!report["warnings"].as_array().unwrap().is_empty(), "{report}");
}

/// Where the engine's program stands.
#[test]
fn without_a_program_what_it_holds_is_unknown() {
    let (stack, _turn) = match stack() {
        Ok(stack) => stack,
        Err(why) => return skipped("no engine", &why),
    };
    let deployment = Deployment::bare(stack).with_docker("unix:///nowhere", Path::new("no-such-engine"));
    let report = deployment.json(&["run", "1.2", "--yes"], 0);
    let text = report.to_string();
    assert!(text.contains("no-such-engine"), "{text}");
}
