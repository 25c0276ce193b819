//! `uninstall_packages(manager, names)`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};
use crate::base::known::Known;
use crate::host::Host;
use crate::host::files::{Demand, Expect};
use crate::host::packages::installer::{self, Installer};
use crate::host::packages::record::Shared;
use crate::host::packages::{self, Manager, Packages, Removal, tree};
use crate::operation::{Operation, Proposal};
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::report::effect::{Capability, Done, Fact, Outcome, Risk};
use crate::report::undo::{Saved, Undo};
use crate::view::View;
use crate::view::overlay::Overlay;
use crate::workspace::{CONFIG, Place};

/// The word.
pub static WORD: Primitive = Primitive {
    name: "uninstall_packages",
    parameters: &[
        Parameter::needed("manager", Type::Text),
        Parameter::needed("names", Type::TextOrTexts),
    ],
    returns: Type::Texts,
    about: "Uninstalls packages with \"npm\" or \"pip\" (in the configured environment), all in one command. What another \
            package or a source file that stays still needs is left, and the plan says for whom; what pip installed only for \
            them, and needs one of them, goes along. Gives the names that go.",
    example: r#"uninstall_packages("npm", ["jest-extended"])"#,
    action: Action::Change(propose),
};

#[derive(Debug)]
struct Uninstall {
    manager: Manager,
    /// The directory in which the manager does its work.
    installed: Option<std::path::PathBuf>,
    installer: Installer,
    /// What the policy must open.
    written: Vec<Place>,
    /// What the command names.
    names: Vec<String>,
    /// What goes: those, and what only they needed.
    remove: BTreeMap<String, String>,
    /// Those of them that were installed automatically.
    automatic: Vec<String>,
    /// Manifest and lock files, and where their contents go first.
    saved: Vec<(Place, Place)>,
    /// Paths below node_modules that go.
    gone: Vec<Place>,
    manifest: Option<(Place, String)>,
    /// Lists of files of packages that go, and what they say while the manager takes them out: without what others list too.
    lists: Vec<(Place, String)>,
    /// Files that others list too, and who.
    shared: BTreeMap<Place, BTreeSet<String>>,
}

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let manager = Manager::parse(&arguments.text(0))?;
    let names = arguments.texts(1);
    for name in &names {
        manager.check_name(name)?;
    }
    let needs = vec![Capability::Packages {
        manager: manager.name().to_owned(),
    }];
    let mut proposals = Vec::new();
    let Some(installed) = view.installed_if_any(manager)? else {
        let root = view.workspace.root();
        let python = &view.workspace.config().python;
        if manager == Manager::Pip && packages::pip::is_broken(view, root, python)? {
            let why = format!(
                "the environment `{python}` has no interpreter that could be started: its packages are left alone; make it \
                 anew, then run this again"
            );
            return Ok(vec![
                Proposal::settled(WORD.name, names.join(", "), Outcome::Unknown, why, needs)
                    .returning(Vec::<String>::new()),
            ]);
        }
        let why = match manager {
            Manager::Pip => "no Python environment is configured or found: packages are left alone",
            Manager::Npm => "there is no package.json",
        };
        return Ok(vec![
            Proposal::settled(WORD.name, names.join(", "), Outcome::NotPresent, why, needs)
                .returning(Vec::<String>::new()),
        ]);
    };
    let mut removal = view.removable_packages(manager, &installed, &names)?;
    if manager == Manager::Npm {
        keep_what_npm_would_tear_out(view, &installed, &mut removal)?;
    }
    for (name, dependents) in &removal.kept {
        let why = if dependents.iter().any(|dependent| dependent == packages::UNLISTED) {
            packages::UNLISTED.to_owned()
        } else {
            let need = if dependents.len() == 1 { "needs" } else { "need" };
            format!("{} {need} it", dependents.join(", "))
        };
        proposals.push(Proposal::settled(
            WORD.name,
            name.clone(),
            Outcome::Kept,
            why,
            needs.clone(),
        ));
    }
    for name in &removal.absent {
        proposals.push(Proposal::settled(
            WORD.name,
            name.clone(),
            Outcome::NotPresent,
            "it is not installed",
            needs.clone(),
        ));
    }
    let mut value = Vec::<String>::new();
    if !removal.remove.is_empty() {
        let asked: Vec<String> = names.iter().map(|name| manager.normalise(name)).collect();
        let (named, along): (Vec<_>, Vec<_>) =
            removal.remove.iter().partition(|(name, _)| asked.contains(name));
        let listed = |packages: Vec<(&String, &String)>| {
            let packages: Vec<String> = packages
                .into_iter()
                .map(|(name, version)| format!("{name} {version}"))
                .collect();
            packages.join(", ")
        };
        let mut described = listed(named);
        if !along.is_empty() {
            described.push_str("; and what was installed only for them and needs them: ");
            described.push_str(&listed(along));
        }
        match view.installer(manager)? {
            Known::Unknown(why) => {
                let why =
                    format!("{why}: packages are left alone; install what is lacking, then run this again");
                proposals.push(Proposal::settled(
                    WORD.name,
                    described,
                    Outcome::Unknown,
                    why,
                    needs,
                ));
            }
            Known::Yes(installer) => {
                value.extend(removal.remove.keys().cloned());
                let name = installer.name();
                let operation = Uninstall::new(view, manager, installer, removal.remove)?;
                proposals.extend(operation.kept_files(&needs));
                proposals.push(Proposal::act(
                    WORD.name,
                    format!("{} {}", manager.name(), names.join(", ")),
                    format!("uninstall with {name}: {described}"),
                    operation,
                ));
            }
        }
    }
    Ok(proposals
        .into_iter()
        .map(|proposal| proposal.returning(value.clone()))
        .collect())
}

/// What will be written to, as far as the policy must open it. Refuses what the policy does not open, or the kernel.
///
/// An environment that `rollback.yaml` names by its whole path may be changed wherever it lies.
fn writable(view: &View, manager: Manager, names: &[String]) -> Result<Vec<Place>> {
    let root = view.workspace.root();
    let place = match manager {
        Manager::Npm => {
            let modules = root.join("node_modules");
            if tree::is_link(view, &modules) {
                return Err(Error::denied(
                    "`node_modules` is a link: npm would put a directory in its place",
                )
                .hint("make it a directory, or uninstall the packages by hand where it leads"));
            }
            root.to_path_buf()
        }
        Manager::Pip => view.environment()?.unwrap_or_default(),
    };
    let written = installer::written(view, manager, &place, names)?;
    let python = &view.workspace.config().python;
    let is_named =
        |path: &Path| manager == Manager::Pip && python.starts_with('/') && path.starts_with(&place);
    let mut needed: Vec<Place> = Vec::new();
    for path in &written {
        if is_named(path) || needed.iter().any(|above| path.starts_with(&above.absolute)) {
            continue;
        }
        let place = view.workspace.show(path);
        if view.workspace.writable(path).is_none() && !path.starts_with(root) {
            let what = match manager {
                Manager::Npm => "package.json".to_owned(),
                Manager::Pip => format!("the environment `{python}`"),
            };
            return Err(Error::denied(format!(
                "{what} leads to `{place}`, outside of the workspace: others may use what is there"
            ))
            .hint(format!(
                "list its directory in policy.write of `{CONFIG}` if it may be changed; `python` there names another \
                 environment"
            )));
        }
        // The workspace itself is no file of the packages.
        if path != root {
            needed.push(place);
        }
    }
    installer::require_writable(view, &written)?;
    Ok(needed)
}

/// npm takes out what only the named packages needed, even where a package that nothing declares needs it too. Then
/// the named ones stay.
fn keep_what_npm_would_tear_out(view: &View, installed: &Packages, removal: &mut Removal) -> Result<()> {
    let names: Vec<String> = removal.remove.keys().cloned().collect();
    let orphans = packages::npm::orphans(view, view.workspace.root(), installed, &names)?;
    let all: Vec<String> = names.iter().chain(orphans.keys()).cloned().collect();
    let whole = packages::removable(Manager::Npm, installed, &all, &BTreeMap::new());
    let Some((orphan, dependents)) = whole.kept.iter().find(|(name, _)| orphans.contains_key(*name)) else {
        return Ok(());
    };
    let who = dependents
        .iter()
        .map(|dependent| format!("{dependent} (through {orphan})"))
        .collect::<Vec<_>>();
    for name in names {
        removal.remove.remove(&name);
        removal.kept.insert(name, who.clone());
    }
    Ok(())
}

impl Uninstall {
    /// The files that stay because others list them too, told once for each who.
    fn kept_files(&self, needs: &[Capability]) -> Vec<Proposal> {
        let mut by_owners: BTreeMap<&BTreeSet<String>, Vec<&Place>> = BTreeMap::new();
        for (place, owners) in &self.shared {
            by_owners.entry(owners).or_default().push(place);
        }
        let proposal = |(owners, places): (&BTreeSet<String>, Vec<&Place>)| {
            let target = match places.as_slice() {
                [first] => first.display.clone(),
                [first, rest @ ..] => format!("{first} and {} more", rest.len()),
                [] => return None,
            };
            let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
            let verb = if owners.len() == 1 { "lists" } else { "list" };
            let why = format!("{} {verb} it as its own too", owners.join(", "));
            Some(Proposal::settled(
                WORD.name,
                target,
                Outcome::Kept,
                why,
                needs.to_vec(),
            ))
        };
        by_owners.into_iter().filter_map(proposal).collect()
    }

    /// Lists them again as they were: the manager has not taken the packages out.
    fn restore_lists(&self, permit: &Permit, host: &Host) -> Result<()> {
        for (place, text) in &self.lists {
            let Some((_, slot)) = self.saved.iter().find(|(saved, _)| saved == place) else {
                continue;
            };
            if host.files.stat(&place.absolute)?.is_some()
                && host.files.digest(&place.absolute)? == blake3::hash(text.as_bytes()).to_hex().as_str()
            {
                let bytes = host.files.read(&slot.absolute, crate::host::files::TEXT_LIMIT)?;
                let expect = Expect::Digest(blake3::hash(text.as_bytes()).to_hex().to_string());
                host.files.write(permit, &place.absolute, &bytes, &expect)?;
            }
        }
        Ok(())
    }

    /// npm writes its manifest in a format of its own; where it says the same, the file keeps its formatting.
    fn keep_formatting(&self, permit: &Permit, host: &Host) -> Result<()> {
        let Some((place, text)) = &self.manifest else {
            return Ok(());
        };
        let written = host.files.read(&place.absolute, crate::host::files::TEXT_LIMIT)?;
        let parse = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
        let same = parse(&written).is_some_and(|value| parse(text.as_bytes()) == Some(value));
        if same && written != text.as_bytes() {
            let expect = Expect::Digest(blake3::hash(&written).to_hex().to_string());
            host.files
                .write(permit, &place.absolute, text.as_bytes(), &expect)?;
        }
        Ok(())
    }

    fn new(
        view: &View,
        manager: Manager,
        installer: Installer,
        remove: BTreeMap<String, String>,
    ) -> Result<Self> {
        let names: Vec<String> = remove.keys().cloned().collect();
        let mut remove = remove;
        let mut saved = Vec::new();
        let mut gone = Vec::new();
        let mut manifest = None;
        let installed = view.installed(manager)?;
        let is_automatic = |name: &&String| installed.get(*name).is_some_and(|package| package.automatic);
        let automatic = names.iter().filter(is_automatic).cloned().collect();
        if manager == Manager::Npm {
            remove.extend(packages::npm::orphans(
                view,
                view.workspace.root(),
                &installed,
                &names,
            )?);
        }
        let all: Vec<String> = remove.keys().cloned().collect();
        let written = writable(view, manager, &all)?;
        if manager == Manager::Npm {
            for name in [
                "package.json",
                "package-lock.json",
                "npm-shrinkwrap.json",
                "node_modules/.package-lock.json",
            ] {
                let place = view.workspace.place(name)?;
                if view.exists(&place.absolute)? {
                    let slot = view.slot("saved", name.rsplit('/').next().unwrap_or(name));
                    saved.push((place, slot));
                }
            }
            let place = view.workspace.place("package.json")?;
            let mut text = view.read_text(&place)?;
            for name in remove.keys() {
                gone.push(view.workspace.place(&format!("node_modules/{name}"))?);
                for group in [
                    "dependencies",
                    "devDependencies",
                    "optionalDependencies",
                    "peerDependencies",
                ] {
                    let key = format!("{group}.\"{name}\"");
                    if let Some(after) = crate::edit::json::remove(&text, &key)
                        .ok()
                        .and_then(super::proposing::edited_text)
                    {
                        text = after;
                    }
                }
            }
            manifest = Some((place, text));
        }
        let root = view.workspace.root();
        let installed = match manager {
            Manager::Npm => Some(root.join("node_modules")),
            Manager::Pip => packages::pip::environment(view, root, &view.workspace.config().python)?,
        };
        let mut lists = Vec::new();
        let mut shared = BTreeMap::new();
        if manager == Manager::Pip {
            let Shared {
                files,
                records: named,
            } = view.shared_files(&all)?;
            for (file, owners) in &files {
                let place = view.workspace.show(file);
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                // What is installed again overwrites it.
                saved.push((place.clone(), view.slot("saved", &name)));
                shared.insert(place, owners.clone());
            }
            for record in &named {
                let place = view.workspace.show(&record.path);
                saved.push((place.clone(), view.slot("saved", "RECORD")));
                lists.push((place, record.without(&files)));
            }
        }
        Ok(Self {
            manager,
            installed,
            installer,
            written,
            names,
            remove,
            automatic,
            saved,
            gone,
            manifest,
            lists,
            shared,
        })
    }
}

impl Operation for Uninstall {
    fn risk(&self) -> Risk {
        Risk::Reversible
    }

    fn needs(&self) -> Vec<Capability> {
        let packages = Capability::Packages {
            manager: self.manager.name().to_owned(),
        };
        let written = self.written.iter().map(|place| Capability::Write {
            display: place.display.clone(),
            absolute: place.absolute.clone(),
            whole: false,
        });
        std::iter::once(packages).chain(written).collect()
    }

    fn demands(&self) -> Vec<Demand> {
        let saved = self.saved.iter().flat_map(|(place, slot)| {
            [
                Demand::Make(slot.absolute.clone()),
                Demand::Room {
                    from: place.absolute.clone(),
                    to: slot.absolute.clone(),
                },
                Demand::Replace(place.absolute.clone()),
            ]
        });
        let gone = self
            .gone
            .iter()
            .map(|place| Demand::Remove(place.absolute.clone()));
        saved.chain(gone).collect()
    }

    fn undo(&self) -> Undo {
        Undo::InstallPackages {
            manager: self.manager.name().to_owned(),
            packages: self.remove.clone(),
            automatic: self.automatic.clone(),
            files: self
                .saved
                .iter()
                .map(|(place, slot)| Saved {
                    path: place.display.clone(),
                    saved: slot.display.clone(),
                    after: None,
                    before: None,
                    names: Vec::new(),
                })
                .collect(),
        }
    }

    fn effect(&self) -> Value {
        let mut effect = json!({ "uninstall": self.names, "automatic": self.automatic });
        if !self.shared.is_empty() {
            let kept = self.shared.iter();
            effect["kept"] = kept
                .map(|(place, owners)| json!([place.display, owners]))
                .collect();
        }
        effect
    }

    fn facts(&self) -> Vec<Fact> {
        vec![
            Fact::new(format!("packages of {}", self.manager.name()), json!(self.remove)),
            Fact::new(
                format!("what changes packages of {}", self.manager.name()),
                json!(self.installer.name()),
            ),
        ]
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        for name in self.remove.keys() {
            overlay.uninstall(self.manager.name(), name);
        }
        for place in &self.gone {
            overlay.remove(&place.absolute);
        }
        for (place, _) in self
            .saved
            .iter()
            .filter(|(place, _)| !self.shared.contains_key(place))
        {
            overlay.doubt(&place.absolute, format!("{} writes it", self.manager.name()));
        }
        if let Some((place, text)) = &self.manifest {
            overlay.write(&place.absolute, text.clone().into_bytes());
        }
        for place in self
            .saved
            .iter()
            .map(|(place, _)| &place.absolute)
            .chain(&self.installed)
        {
            overlay.unsettle(place);
        }
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        for (place, slot) in &self.saved {
            crate::operation::editing::save(permit, host, place, slot)?;
        }
        for (place, text) in &self.lists {
            let before = host.files.digest(&place.absolute)?;
            host.files
                .write(permit, &place.absolute, text.as_bytes(), &Expect::Digest(before))?;
        }
        let output = host
            .packages
            .uninstall(permit, &host.cancelled, self.manager, &self.names);
        let output = match output {
            Ok(output) => output,
            Err(error) => {
                self.restore_lists(permit, host).map_err(Error::after_changes)?;
                return Err(error);
            }
        };
        self.keep_formatting(permit, host)?;
        Ok(Done {
            output: Some(output),
            ..Done::default()
        })
    }
}
