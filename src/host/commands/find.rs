//! Where a program is: in PATH, but only where nobody else can put one. Keeps nothing on disk.

use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};

/// Finds a program: a bare name in PATH, without the entries inside the workspace `root` or writable by others;
/// or an absolute path, under the same rules.
///
/// # Errors
/// `invalid` for any other path, `not_found`, `denied` for a program inside the workspace or writable by others.
pub fn find_program(name: &str, root: &Path) -> Result<PathBuf> {
    find_program_in(name, root, &std::env::var_os("PATH").unwrap_or_default())
}

fn find_program_in(name: &str, root: &Path, path: &OsStr) -> Result<PathBuf> {
    if name.is_empty() || name.contains('\0') {
        return Err(
            Error::invalid(format!("`{}` is not a program's name", name.escape_debug()))
                .hint("name a program such as `npm`, or give its absolute path"),
        );
    }
    if name.contains('/') {
        let program = PathBuf::from(name);
        if !program.is_absolute() {
            return Err(Error::invalid(format!("program `{name}` is a relative path"))
                .hint("name a program in PATH, or give its absolute path"));
        }
        if !is_executable(&program) {
            return Err(
                Error::not_found(format!("program `{name}` is not there or can't be executed"))
                    .hint("check the path, and that the file has the execute bit"),
            );
        }
        return match distrust(&program, root) {
            None => Ok(program),
            Some(why) => Err(Error::denied(format!("program `{name}` {why}"))
                .hint("use a program outside the workspace that only you or the system can change")),
        };
    }
    let entries = safe_entries(root, path);
    let mut passed_over = Vec::new();
    for entry in &entries {
        let program = entry.join(name);
        if is_executable(&program) {
            match distrust(&program, root) {
                None => return Ok(program),
                Some(why) => passed_over.push(format!("`{}` {why}", program.display())),
            }
        }
    }
    let looked: Vec<String> = entries
        .iter()
        .map(|entry| format!("`{}`", entry.display()))
        .collect();
    let mut hint = if looked.is_empty() {
        "no entry of PATH can be used: each is relative, inside the workspace or writable by others"
            .to_owned()
    } else {
        format!(
            "looked in {}; other entries of PATH are relative, inside the workspace or writable by others",
            looked.join(", ")
        )
    };
    if !passed_over.is_empty() {
        hint = format!("{hint}; {}", passed_over.join(", "));
    }
    Err(Error::not_found(format!("program `{name}` was not found")).hint(hint))
}

/// A regular file that somebody may execute.
fn is_executable(program: &Path) -> bool {
    std::fs::metadata(program).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Why a file must not be started, if so: it lies in the workspace (links followed), or others may write to it.
fn distrust(program: &Path, root: &Path) -> Option<&'static str> {
    if is_below(program, root) {
        return Some("lies inside the workspace");
    }
    writable_by_others(program).then_some("can be written by others")
}

/// Whether a path, with its links followed or not, lies below `root`.
fn is_below(path: &Path, root: &Path) -> bool {
    let real_root = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
    let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    path.starts_with(root) || path.starts_with(&real_root) || real.starts_with(&real_root)
}

/// Whether the group or everybody may write (sticky or not), or the owner is neither we nor the system.
fn writable_by_others(path: &Path) -> bool {
    let Ok(meta) = std::fs::metadata(path) else {
        return true;
    };
    // In a user namespace the system's files belong to the overflow user: what owns `/` is the system.
    let system = std::fs::metadata("/").map_or(0, |slash| slash.uid());
    let ours = rustix::process::geteuid().as_raw();
    meta.mode() & 0o022 != 0 || ![0, system, ours].contains(&meta.uid())
}

/// The entries of a PATH that can be trusted, in order.
pub(super) fn safe_entries(root: &Path, path: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(path)
        .filter(|entry| entry.is_absolute() && !is_below(entry, root) && !writable_by_others(entry))
        .collect()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make what they look for")]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::base::error::Kind;
    use crate::host::commands::{Invocation, look};

    /// A file with this mode. It is written by another process, so that no descriptor of ours keeps it busy.
    fn program(path: &Path, mode: &str) {
        let script =
            r#"mkdir -p "$(dirname "$1")" && printf '#!/bin/sh\necho ran\n' > "$1" && chmod "$2" "$1""#;
        let command = Invocation::new("/bin/sh", Path::new("/nowhere"))
            .cwd(Path::new("/"))
            .arguments([
                OsStr::new("-c"),
                script.as_ref(),
                "sh".as_ref(),
                path.as_os_str(),
                mode.as_ref(),
            ]);
        assert!(look(&command, None).unwrap().succeeded());
    }

    fn set_mode(path: &Path, mode: &str) {
        let command = Invocation::new("/bin/chmod", Path::new("/nowhere"))
            .cwd(Path::new("/"))
            .arguments([OsStr::new(mode), path.as_os_str()]);
        assert!(look(&command, None).unwrap().succeeded());
    }

    #[test]
    fn finds_a_bare_name_only_where_nobody_else_can_put_it() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        let root = base.join("workspace");
        for entry in ["workspace/bin", "sticky", "grouped", "safe"] {
            program(&base.join(entry).join("tool"), "755");
        }
        set_mode(&base.join("sticky"), "1777");
        set_mode(&base.join("grouped"), "775");
        std::os::unix::fs::symlink(root.join("bin"), base.join("link")).unwrap();
        let path =
            |entries: &[&str]| std::env::join_paths(entries.iter().map(|entry| base.join(entry))).unwrap();

        let all = path(&["workspace/bin", "link", "sticky", "grouped", "safe"]);
        assert_eq!(
            find_program_in("tool", &root, &all).unwrap(),
            base.join("safe/tool")
        );

        let error = find_program_in(
            "tool",
            &root,
            &path(&["workspace/bin", "link", "sticky", "grouped"]),
        )
        .unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);

        let mut relative = OsString::from("::bin:.:");
        relative.push(base.join("safe"));
        let error = find_program_in("other", &root, &relative).unwrap_err();
        assert!(
            error
                .hint_text()
                .unwrap()
                .contains(&base.join("safe").display().to_string())
        );
        assert_eq!(
            find_program_in("tool", &root, &relative).unwrap(),
            base.join("safe/tool")
        );
    }

    #[test]
    fn passes_over_a_program_that_leads_into_the_workspace_or_is_open_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("workspace");
        program(&root.join("evil"), "755");
        program(&dir.path().join("first/open"), "777");
        program(&dir.path().join("first/plain"), "644");
        program(&dir.path().join("second/open"), "755");
        std::os::unix::fs::symlink(root.join("evil"), dir.path().join("first/evil")).unwrap();
        let path = std::env::join_paths([dir.path().join("first"), dir.path().join("second")]).unwrap();
        assert_eq!(
            find_program_in("open", &root, &path).unwrap(),
            dir.path().join("second/open")
        );
        for name in ["evil", "plain", ".."] {
            assert_eq!(
                find_program_in(name, &root, &path).unwrap_err().kind(),
                Kind::NotFound,
                "{name}"
            );
        }
        let absolute = |relative: &str| dir.path().join(relative).display().to_string();
        assert_eq!(
            find_program_in(&absolute("workspace/evil"), &root, &path)
                .unwrap_err()
                .kind(),
            Kind::Denied
        );
        assert_eq!(
            find_program_in(&absolute("first/open"), &root, &path)
                .unwrap_err()
                .kind(),
            Kind::Denied
        );
        assert!(find_program_in(&absolute("second/open"), &root, &path).is_ok());
        for name in ["./open", "first/open", "", "a\0b"] {
            assert_eq!(
                find_program_in(name, &root, &path).unwrap_err().kind(),
                Kind::Invalid,
                "{name:?}"
            );
        }
    }
}
