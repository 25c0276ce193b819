//! The words of the script language: one file a word, one line in the list.

use crate::primitives::contract::Primitive;

mod ending;
mod engine;
mod looking;
mod proposing;
mod rehearsed;
mod values;
mod whole;

mod ask;
mod backup_dir;
mod check;
mod check_port;
mod confirm;
mod copy_path;
mod digest;
mod disk_free;
pub(crate) mod dry_run;
mod env_keys;
mod fail;
mod find_databases;
mod find_parts;
mod find_paths;
mod find_processes;
mod find_references;
mod flag_enabled;
mod foreign_parts;
mod http_check;
mod installed_packages;
mod is_dir;
mod is_file;
mod keep_path;
mod kill_process;
mod list_backups;
mod list_containers;
mod list_dir;
mod list_flags;
mod list_images;
mod list_volumes;
mod memory_usage;
mod move_path;
mod note;
mod notify;
mod now;
mod open_files;
mod package_dependents;
mod param;
mod path_exists;
mod path_size;
mod read_json;
mod read_text;
mod read_yaml;
mod remove_containers;
mod remove_env_keys;
mod remove_images;
mod remove_json;
mod remove_lines;
mod remove_path;
mod remove_paths;
mod remove_pid_file;
mod remove_volumes;
mod remove_yaml;
mod required_parts;
mod restore_backup;
mod retire_dir;
mod run_command;
mod set_flag;
mod set_json;
mod set_yaml;
mod step;
mod stop_processes;
mod story_additions;
mod uninstall_packages;
mod warn;
mod write_text;

/// The contract of a word of the script language.
pub mod contract;

pub use values::{from_script, to_script};

/// Every word, in the order of the reference page.
static ALL: &[&Primitive] = &[
    &path_exists::WORD,
    &is_file::WORD,
    &is_dir::WORD,
    &path_size::WORD,
    &list_dir::WORD,
    &find_paths::WORD,
    &find_parts::WORD,
    &find_databases::WORD,
    &foreign_parts::WORD,
    &required_parts::WORD,
    &story_additions::WORD,
    &read_text::WORD,
    &read_yaml::WORD,
    &read_json::WORD,
    &digest::WORD,
    &find_references::WORD,
    &find_processes::WORD,
    &check_port::WORD,
    &http_check::WORD,
    &flag_enabled::WORD,
    &list_flags::WORD,
    &env_keys::WORD,
    &installed_packages::WORD,
    &package_dependents::WORD,
    &list_containers::WORD,
    &list_images::WORD,
    &list_volumes::WORD,
    &open_files::WORD,
    &list_backups::WORD,
    &memory_usage::WORD,
    &disk_free::WORD,
    &now::WORD,
    &param::WORD,
    &dry_run::WORD,
    &backup_dir::WORD,
    &retire_dir::WORD,
    &restore_backup::WORD,
    &remove_path::WORD,
    &remove_paths::WORD,
    &remove_pid_file::WORD,
    &keep_path::WORD,
    &move_path::WORD,
    &copy_path::WORD,
    &write_text::WORD,
    &remove_lines::WORD,
    &remove_env_keys::WORD,
    &set_yaml::WORD,
    &remove_yaml::WORD,
    &set_json::WORD,
    &remove_json::WORD,
    &set_flag::WORD,
    &kill_process::WORD,
    &stop_processes::WORD,
    &uninstall_packages::WORD,
    &remove_containers::WORD,
    &remove_images::WORD,
    &remove_volumes::WORD,
    &run_command::WORD,
    &notify::WORD,
    &step::WORD,
    &check::WORD,
    &note::WORD,
    &warn::WORD,
    &fail::WORD,
    &confirm::WORD,
    &ask::WORD,
];

/// Every word.
#[must_use]
pub fn all() -> &'static [&'static Primitive] {
    ALL
}

/// The word of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Primitive> {
    ALL.iter().find(|word| word.name == name).copied()
}
