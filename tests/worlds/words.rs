//! The words that change something, each with a call that fits what the worlds do to its thing.

/// What a word acts on, and so what a world can do to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory with files.
    Tree,
    /// One file, which the word reads or edits.
    File,
    /// A name where nothing stands yet.
    Place,
    /// A process, named by its program and its pid file.
    Process,
    /// Nothing that a file system or a process table holds.
    Elsewhere,
}

/// One way to use a word.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The word of the registry.
    pub word: &'static str,
    /// How this call differs from the others of the word.
    pub variant: &'static str,
    /// What it acts on.
    pub kind: Kind,
    /// Where that stands in the workspace.
    pub thing: &'static str,
    /// The script; `{thing}` and `{place}` (its parent) are filled in.
    pub call: &'static str,
    /// Options of the run.
    pub options: &'static [&'static str],
}

impl Case {
    /// As it is named in tables.
    pub fn name(&self) -> String {
        if self.variant.is_empty() {
            self.word.to_owned()
        } else {
            format!("{} ({})", self.word, self.variant)
        }
    }

    /// The directory that holds the thing.
    pub fn place(&self) -> &'static str {
        self.thing.rsplit_once('/').unwrap().0
    }

    /// It starts a package manager: only worlds that change what it does are worth that.
    pub fn is_slow(&self) -> bool {
        self.word == "uninstall_packages"
    }

    /// The program itself chose the name of its thing.
    pub fn has_fixed_name(&self) -> bool {
        matches!(self.word, "notify" | "uninstall_packages")
    }
}

const fn case(word: &'static str, kind: Kind, thing: &'static str, call: &'static str) -> Case {
    Case {
        word,
        variant: "",
        kind,
        thing,
        call,
        options: &[],
    }
}

const fn variant(
    word: &'static str,
    variant: &'static str,
    kind: Kind,
    thing: &'static str,
    call: &'static str,
) -> Case {
    Case {
        variant,
        ..case(word, kind, thing, call)
    }
}

use Kind::{Elsewhere, File, Place, Process, Tree};

/// Every call. A word of the registry that is not among them fails the test.
pub const ALL: &[Case] = &[
    case(
        "backup_dir",
        Tree,
        "place/tree",
        r#"backup_dir("{thing}", "kept");"#,
    ),
    case(
        "retire_dir",
        Tree,
        "place/tree",
        r#"retire_dir("{thing}", "kept");"#,
    ),
    variant(
        "retire_dir",
        "in parts",
        Tree,
        "place/tree",
        r#"retire_dir("{thing}", "kept", #{ keep: "sub/two" });"#,
    ),
    Case {
        options: &["--copy"],
        ..variant(
            "retire_dir",
            "--copy",
            Tree,
            "place/tree",
            r#"retire_dir("{thing}", "kept");"#,
        )
    },
    variant(
        "restore_backup",
        "elsewhere",
        Place,
        "place/new",
        r#"restore_backup(backup_dir("other/tree", "kept"), "{thing}");"#,
    ),
    variant(
        "restore_backup",
        "back",
        Tree,
        "place/tree",
        r#"let made = retire_dir("{thing}", "kept"); if made != () { restore_backup(made); }"#,
    ),
    case("remove_path", Tree, "place/tree", r#"remove_path("{thing}");"#),
    variant(
        "remove_path",
        "file",
        File,
        "place/file.txt",
        r#"remove_path("{thing}");"#,
    ),
    Case {
        options: &["--purge"],
        ..variant(
            "remove_path",
            "--purge",
            Tree,
            "place/tree",
            r#"remove_path("{thing}");"#,
        )
    },
    case(
        "remove_paths",
        Tree,
        "place/tree",
        r#"remove_paths(["other/file.txt", "{thing}"]);"#,
    ),
    case(
        "remove_pid_file",
        Process,
        "run/service.pid",
        r#"stop_processes(#{ pid_file: "{thing}", name: "service.sh" }, #{ grace: "500ms" }); remove_pid_file("{thing}");"#,
    ),
    case(
        "keep_path",
        File,
        "place/file.txt",
        r#"keep_path("{thing}", "others need it");"#,
    ),
    variant(
        "move_path",
        "out",
        Tree,
        "place/tree",
        r#"move_path("{thing}", "other/moved");"#,
    ),
    variant(
        "move_path",
        "in",
        Place,
        "place/new",
        r#"move_path("other/tree", "{thing}");"#,
    ),
    variant(
        "move_path",
        "over",
        File,
        "place/file.txt",
        r#"move_path("other/file.txt", "{thing}", #{ overwrite: true });"#,
    ),
    variant(
        "copy_path",
        "out",
        Tree,
        "place/tree",
        r#"copy_path("{thing}", "other/copied");"#,
    ),
    variant(
        "copy_path",
        "in",
        Place,
        "place/new",
        r#"copy_path("other/tree", "{thing}");"#,
    ),
    variant(
        "copy_path",
        "file",
        File,
        "place/file.txt",
        r#"copy_path("{thing}", "other/copied");"#,
    ),
    variant(
        "write_text",
        "new",
        Place,
        "place/new",
        r#"write_text("{thing}", "written\n");"#,
    ),
    variant(
        "write_text",
        "over",
        File,
        "place/file.txt",
        r#"write_text("{thing}", "written\n", #{ overwrite: true });"#,
    ),
    case(
        "remove_lines",
        File,
        "place/file.txt",
        r#"remove_lines("{thing}", "^second");"#,
    ),
    case(
        "remove_env_keys",
        File,
        "place/env",
        r#"remove_env_keys(["ONE_"]);"#,
    ),
    case(
        "set_yaml",
        File,
        "place/settings.yaml",
        r#"set_yaml("{thing}", "key", "other");"#,
    ),
    case(
        "remove_yaml",
        File,
        "place/settings.yaml",
        r#"remove_yaml("{thing}", "key");"#,
    ),
    case(
        "set_json",
        File,
        "place/settings.json",
        r#"set_json("{thing}", "key", 2);"#,
    ),
    case(
        "remove_json",
        File,
        "place/settings.json",
        r#"remove_json("{thing}", "key");"#,
    ),
    case(
        "set_flag",
        File,
        "config/feature-flags.yaml",
        r#"set_flag("alpha", false);"#,
    ),
    case(
        "kill_process",
        Process,
        "run/service.pid",
        r#"for process in find_processes(#{ pid_file: "{thing}", name: "service.sh" }) { kill_process(process, #{ grace: "500ms" }); }"#,
    ),
    variant(
        "kill_process",
        "kill",
        Process,
        "run/service.pid",
        r#"for process in find_processes(#{ name: "service.sh" }) { kill_process(process, #{ kill: true, grace: "100ms" }); }"#,
    ),
    case(
        "stop_processes",
        Process,
        "run/service.pid",
        r#"stop_processes(#{ pid_file: "{thing}", name: "service.sh" }, #{ grace: "500ms" });"#,
    ),
    variant(
        "stop_processes",
        "kill",
        Process,
        "run/service.pid",
        r#"stop_processes(#{ pid_file: "{thing}", name: "service.sh" }, #{ kill: true, grace: "100ms" });"#,
    ),
    case(
        "uninstall_packages",
        Tree,
        "node_modules/left",
        r#"uninstall_packages("npm", ["left"]);"#,
    ),
    case(
        "remove_containers",
        Elsewhere,
        "place/none",
        r#"remove_containers("airbyte");"#,
    ),
    case(
        "remove_images",
        Elsewhere,
        "place/none",
        r#"remove_images("airbyte");"#,
    ),
    case(
        "remove_volumes",
        Elsewhere,
        "place/none",
        r#"remove_volumes("airbyte");"#,
    ),
    case(
        "run_command",
        Elsewhere,
        "place/none",
        r#"run_command(["true"]);"#,
    ),
    case("notify", File, "logs/security.log", r#"notify("it is gone");"#),
];
