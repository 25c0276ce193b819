//! Whether packages can be put back: that is found out before anything else is.

use std::collections::BTreeMap;

use super::Ready;
use crate::base::error::Result;
use crate::base::known::Known;
use crate::host::packages::Manager;
use crate::view::View;

/// The state in which an undo finds packages that went, where their manifests are `untouched`.
///
/// # Errors
/// What the view says.
pub(super) fn ready(
    view: &View,
    manager: &str,
    packages: &BTreeMap<String, String>,
    untouched: bool,
) -> Result<Ready> {
    if untouched && view.has_installed(manager, packages)? {
        return Ok(Ready::Nothing("all of them are installed".to_owned()));
    }
    Ok(
        match view.host.packages.installer(view, Manager::parse(manager)?)? {
            Known::Yes(_) => Ready::Yes,
            Known::Unknown(why) => Ready::Lacking(why),
        },
    )
}
