//! Which packages may go, and what of them stays because others need it or list it as their own.

use std::collections::BTreeSet;

use crate::base::error::{Error, Result};
use crate::host::packages::record::{self, Shared};
use crate::host::packages::{self, Manager, Packages, Removal};
use crate::host::sight::Look;
use crate::view::View;

impl View {
    /// Which of some packages may go, and what goes along: see [`packages::removable_along`].
    ///
    /// # Errors
    /// What the system says.
    pub fn removable_packages(
        &self,
        manager: Manager,
        installed: &Packages,
        names: &[String],
    ) -> Result<Removal> {
        let unlisted = match (manager, self.host.packages.environment(self)?) {
            (Manager::Pip, Some(environment)) => packages::pip::unlisted(self, &environment, names)?,
            _ => Vec::new(),
        };
        let mut removal = packages::removable_along(manager, installed, names, &|names| {
            let mut needed = self.sources_that_need(manager, names)?;
            for name in unlisted.iter().filter(|name| names.contains(*name)) {
                let needed_by = needed.entry(name.clone()).or_default();
                needed_by.push(packages::UNLISTED.to_owned());
            }
            Ok(needed)
        })?;
        if manager == Manager::Pip {
            self.keep_what_is_shared_elsewhere(&mut removal)?;
        }
        Ok(removal)
    }

    /// What these packages of pip share with others that stay.
    ///
    /// # Errors
    /// What the system says.
    pub fn shared_files(&self, going: &[String]) -> Result<Shared> {
        let Some(environment) = self.environment()? else {
            return Ok(Shared::default());
        };
        self.look(Look::Packages, "the lists of packages")?;
        record::shared(self, &environment, going).map_err(Error::of_looking)
    }

    /// In an environment in which no list of files may be changed, what shares a file with a package that stays stays too.
    fn keep_what_is_shared_elsewhere(&self, removal: &mut Removal) -> Result<()> {
        let is_ours = |place: std::path::PathBuf| self.host.files.contains(&place);
        if removal.remove.is_empty() || self.environment()?.is_none_or(is_ours) {
            return Ok(());
        }
        loop {
            let names: Vec<String> = removal.remove.keys().cloned().collect();
            let common = self.shared_files(&names)?;
            if common.records.is_empty() {
                return Ok(());
            }
            for record in common.records {
                let shared = record.files().filter_map(|file| common.files.get(&file));
                let owners: BTreeSet<&String> = shared.flatten().collect();
                let owners = owners.into_iter();
                let why = owners.map(|owner| format!("{owner} (lists a file of it as its own)"));
                removal.remove.remove(&record.package);
                removal.kept.insert(record.package.clone(), why.collect());
            }
        }
    }
}
