//! One cell's world: a workspace, whose it is, what is mounted and what runs in it. All of it goes when it is dropped.

use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sandbox::{Finished, InTime as _, Sandbox, Service, Snapshot};
use crate::worlds::words::{Case, Kind};

/// The user that is not root.
pub const ORDINARY: u32 = 65534;

/// A user whom neither root nor the ordinary user is.
pub const STRANGER: u32 = 65533;

/// A container engine that holds one thing of each sort.
const ENGINE: &str = r#"#!/bin/sh
case "$1 $2" in
"ps "*) echo '{"ID":"c0ffee","Names":"airbyte-server","Image":"airbyte/server","State":"running","Labels":""}' ;;
"images "*) echo '{"ID":"sha256:1","Repository":"airbyte/server","Tag":"1"}' ;;
"volume ls") echo '{"Name":"airbyte-data","Labels":""}' ;;
esac
"#;

/// A workspace with a world around it.
pub struct Scene {
    pub sandbox: Sandbox,
    pub case: &'static Case,
    /// The user for whom the binary runs.
    pub user: u32,
    /// Where the thing stands, which a world may rename.
    pub thing: String,
    /// What runs the binary, such as a tracer.
    pub through: Vec<String>,
    /// The process that a word is to end.
    pub service: Option<Service>,
    /// Others.
    pub bystanders: Vec<Service>,
    mounts: Vec<PathBuf>,
    binary: PathBuf,
}

impl Scene {
    /// The workspace in which nothing is special yet; `thing` is the name of what the word acts on.
    pub fn new(case: &'static Case, user: u32, binary: &Path, thing: &str) -> Self {
        let sandbox = Sandbox::empty();
        let mut scene = Self {
            sandbox,
            case,
            user,
            thing: thing.to_owned(),
            through: Vec::new(),
            service: None,
            bystanders: Vec::new(),
            mounts: Vec::new(),
            binary: binary.to_owned(),
        };
        scene.fill();
        let top = scene.sandbox.root().parent().unwrap().to_path_buf();
        give(&top, user);
        scene
    }

    fn fill(&mut self) {
        let (case, thing) = (self.case, self.thing.clone());
        let sandbox = &self.sandbox;
        sandbox
            .write("other/tree/sub/two", "two\n")
            .write("other/tree/one", "one\n")
            .write("other/file.txt", "other\n")
            .write(
                "config/feature-flags.yaml",
                "features:\n  alpha: { enabled: true }\n",
            );
        let engine = sandbox.home().join("engine");
        std::fs::write(&engine, ENGINE).unwrap();
        std::fs::set_permissions(&engine, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let env_file = if case.word == "remove_env_keys" {
            &thing
        } else {
            "env"
        };
        sandbox.write(
            "rollback.yaml",
            format!(
                "docker: {}\nenv_file: {env_file}\npolicy: {{ commands: [\"true\"] }}\n",
                engine.display()
            ),
        );
        let call = case
            .call
            .replace("{thing}", &thing)
            .replace("{place}", case.place());
        // The first step leaves a mark: a run that stops behind it has changed something.
        sandbox.write(
            "rollback/9.1.rhai",
            format!(
                "const STORY = #{{ id: \"9.1\", title: \"A world\" }};\n\nfn execute() {{\n    \
                 write_text(\"canary.txt\", \"here\\n\");\n    {call}\n}}\n"
            ),
        );
        std::fs::create_dir_all(sandbox.path(case.place())).unwrap();
        match case.kind {
            Kind::Tree if case.word == "uninstall_packages" => packages(sandbox),
            Kind::Tree => {
                sandbox
                    .write(&format!("{thing}/one"), "one\n")
                    .write(&format!("{thing}/sub/two"), "two\n");
                std::os::unix::fs::symlink("sub/two", sandbox.path(&thing).join("link")).unwrap();
            }
            Kind::File if case.word == "set_flag" => {}
            Kind::File => {
                sandbox.write(&thing, contents(case.thing));
            }
            Kind::Process => {
                sandbox.write("bin/service.sh", "#!/bin/sh\n");
            }
            Kind::Place | Kind::Elsewhere => {}
        }
    }

    /// What the word acts on.
    pub fn thing(&self) -> PathBuf {
        self.sandbox.path(&self.thing)
    }

    /// The directory that holds it.
    pub fn place(&self) -> PathBuf {
        self.sandbox.path(self.case.place())
    }

    /// Whether the thing is a directory.
    pub fn is_tree(&self) -> bool {
        self.case.kind == Kind::Tree
    }

    /// A directory beside the workspace.
    pub fn outside(&self) -> PathBuf {
        let outside = self.sandbox.root().parent().unwrap().join("outside");
        std::fs::create_dir_all(&outside).unwrap();
        give(&outside, self.user);
        outside
    }

    /// Mounts something, which is taken down with the scene.
    ///
    /// # Errors
    /// Why that can't be done here.
    pub fn mount(&mut self, arguments: &[&str], at: &Path) -> Result<(), String> {
        ran(Command::new("mount").args(arguments).arg(at))?;
        self.mounts.push(at.to_owned());
        Ok(())
    }

    /// Mounts a file system over a directory and puts what the directory held onto it, with the directory's own owner
    /// and mode.
    ///
    /// # Errors
    /// Why that can't be done here.
    pub fn move_onto(&mut self, arguments: &[&str], at: &Path) -> Result<(), String> {
        let aside = self.outside().join("aside");
        ran(Command::new("cp").arg("-a").arg(at).arg(&aside))?;
        self.mount(arguments, at)?;
        ran(Command::new("cp").arg("-aT").arg(&aside).arg(at))?;
        std::fs::remove_dir_all(&aside).unwrap();
        Ok(())
    }

    /// An empty ext4 in a file.
    ///
    /// # Errors
    /// Why that can't be made here.
    pub fn image(&self, bytes: u64, inodes: u32) -> Result<String, String> {
        let image = self.outside().join("image");
        std::fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        ran(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-m", "0", "-b", "1024", "-O", "^has_journal", "-N"])
            .arg(inodes.to_string())
            .arg(&image))?;
        Ok(image.display().to_string())
    }

    /// Starts what the words end, or what holds something: `/bin/sh` with a script that says `ready` and waits.
    pub fn start(&self, user: u32, through: &[&str], first: &str) -> Service {
        let script = self.sandbox.path("bin/service.sh");
        std::fs::create_dir_all(script.parent().unwrap()).unwrap();
        let text = format!("#!/bin/sh\n{first}\necho ready\nwhile read -r line; do :; done\n");
        std::fs::write(&script, text).unwrap();
        let identity = if user == 0 {
            Vec::new()
        } else {
            stepping_down(user)
        };
        let words = identity
            .into_iter()
            .chain(through.iter().map(|word| (*word).to_owned()));
        let words: Vec<String> = words.chain(["/bin/sh".to_owned()]).collect();
        Service::start(
            Command::new(&words[0])
                .args(&words[1..])
                .arg(&script)
                .arg(self.thing())
                .current_dir(self.sandbox.root()),
        )
    }

    /// Starts the process that the word is to end.
    pub fn serve(&mut self, user: u32, through: &[&str], first: &str) {
        let service = self.start(user, through, first);
        self.sandbox.write(&self.thing, format!("{}\n", service.pid()));
        give(&self.thing(), self.user);
        self.service = Some(service);
    }

    /// Runs the binary as the user of this scene.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        let plain = self.sandbox.command(arguments);
        let mut words = self.through.clone();
        if self.user != 0 {
            words.extend(stepping_down(self.user));
        }
        words.push(self.binary.display().to_string());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(arguments)
            .current_dir(self.sandbox.root())
            .env_clear()
            .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(std::process::Stdio::null());
        Finished::of(&mut command, arguments)
    }

    /// All that stands in the workspace.
    pub fn snapshot(&self) -> Snapshot {
        self.sandbox.snapshot(&[])
    }

    /// Whether the process that the word is to end still runs, and how many others do.
    pub fn processes(&self) -> (Option<bool>, usize) {
        let bystanders = self.bystanders.iter().filter(|other| other.is_running());
        (self.service.as_ref().map(Service::is_running), bystanders.count())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.bystanders.clear();
        self.service = None;
        let _ = Command::new("chattr")
            .args(["-R", "-f", "-i", "-a"])
            .arg(self.sandbox.root())
            .output_in_time();
        for mount in self.mounts.iter().rev() {
            let _ = Command::new("umount").arg("--lazy").arg(mount).output_in_time();
        }
    }
}

/// Gives a path and all below it to a user.
pub fn give(path: &Path, user: u32) {
    lchown(path, Some(user), Some(user)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in path.read_dir().unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

/// What runs a program as another user.
pub fn stepping_down(user: u32) -> Vec<String> {
    let (user, group) = (format!("--reuid={user}"), format!("--regid={user}"));
    ["setpriv", &user, &group, "--clear-groups"]
        .map(str::to_owned)
        .to_vec()
}

/// Runs a program that must succeed.
///
/// # Errors
/// What it said.
pub fn ran(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.output_in_time() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("no `{name}`: {error}")),
    }
}

/// What a file holds, by its name.
fn contents(thing: &str) -> &'static str {
    match thing.rsplit(['.', '/']).next() {
        Some("yaml") => "# ours\nkey: one\nother: two\n",
        Some("json") => "{\n  \"key\": 1,\n  \"other\": 2\n}\n",
        Some("env") => "ONE_KEY=1\nTWO_KEY=2\n",
        Some("log") => "",
        _ => "first\nsecond\nthird\n",
    }
}

/// Two installed packages, the one that goes in a directory of its own.
fn packages(sandbox: &Sandbox) {
    sandbox.write(
        "package.json",
        "{\n  \"name\": \"world\",\n  \"version\": \"1.0.0\",\n  \"dependencies\": { \"left\": \"1.0.0\", \"right\": \
         \"1.0.0\" }\n}\n",
    );
    for name in ["left", "right"] {
        sandbox
            .write(
                &format!("node_modules/{name}/package.json"),
                format!("{{ \"name\": \"{name}\", \"version\": \"1.0.0\" }}\n"),
            )
            .write(&format!("node_modules/{name}/sub/index.js"), "\n");
    }
}
