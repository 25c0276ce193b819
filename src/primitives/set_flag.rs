//! `set_flag(name, on)`.

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::base::error::Result;
use crate::host::Host;
use crate::host::files::Demand;
use crate::host::logs::Level;
use crate::operation::editing::Edit;
use crate::operation::{Operation, Proposal};
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::report::effect::{Capability, Done, Fact, Outcome, Risk};
use crate::report::undo::Undo;
use crate::view::View;
use crate::view::overlay::Overlay;
use crate::workspace::flags::Flags;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "set_flag",
    parameters: &[
        Parameter::needed("name", Type::Text),
        Parameter::needed("on", Type::Boolean),
        Parameter::options(&[("force", Type::Boolean)]),
    ],
    returns: Type::Texts,
    about: "Switches a feature. Off: every enabled feature that depends on it goes off too, however indirectly. On: what it \
            depends on must be on, unless told #{ force: true }. Gives the names of all features that change.",
    example: r#"set_flag("duckdb_analytics", false)"#,
    action: Action::Change(propose),
};

/// The edit of the flags file, with a line in the logs for every feature that changes.
#[derive(Debug)]
struct Switch {
    edit: Edit,
    features: Vec<String>,
    on: bool,
}

impl Operation for Switch {
    fn risk(&self) -> Risk {
        self.edit.risk()
    }

    fn needs(&self) -> Vec<Capability> {
        vec![Capability::Flags]
    }

    fn demands(&self) -> Vec<Demand> {
        self.edit.demands()
    }

    fn undo(&self) -> Undo {
        self.edit.undo()
    }

    fn effect(&self) -> Value {
        json!({ "edit": self.edit.effect(), "features": self.features, "on": self.on })
    }

    fn facts(&self) -> Vec<Fact> {
        self.edit.facts()
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        self.edit.pretend(overlay)
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        let done = self.edit.execute(permit, host)?;
        let action = if self.on { "enabled" } else { "disabled" };
        for feature in &self.features {
            let data = json!({ "feature": feature, "action": action, "cascade": self.features.len() > 1 });
            host.logs
                .both(Level::Info, "feature_flag_changed", data, permit.head())?;
        }
        Ok(done)
    }
}

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let name = arguments.text(0);
    let on = arguments.boolean(1);
    let place = view.workspace.flags_file();
    let needs = vec![Capability::Flags];
    let Some(text) = view.flags_text()? else {
        let why = format!("there is no flags file `{place}`");
        let warning = format!("{why}: `{name}` was not switched");
        return Ok(vec![
            Proposal::settled(WORD.name, name, Outcome::NotPresent, why, needs)
                .warning(warning)
                .returning(Vec::<String>::new()),
        ]);
    };
    let flags = Flags::parse(&text)?;
    let changed = if on {
        flags.enable(&name, arguments.option_flag(2, "force"))?
    } else {
        flags.disable(&name)?
    };
    let state = if on { "on" } else { "off" };
    if changed.is_empty() {
        let why = format!("it is {state} already");
        return Ok(vec![
            Proposal::settled(WORD.name, name, Outcome::NotPresent, why, needs)
                .returning(Vec::<String>::new()),
        ]);
    }
    view.require_logs()?;
    let changes: Vec<(&str, bool)> = changed.iter().map(|name| (name.as_str(), on)).collect();
    let edited = crate::workspace::flags::edit(&text, &changes, &view.errand.began)
        .map_err(|error| error.context(format!("`{place}`")))?;
    let after = super::proposing::edited_text(edited).unwrap_or_else(|| text.clone());
    let others: Vec<&str> = changed
        .iter()
        .filter(|other| **other != name)
        .map(String::as_str)
        .collect();
    let mut summary = format!("switch {state} feature `{name}`");
    if !others.is_empty() {
        summary = format!("{summary} and with it {}", others.join(", "));
    }
    let edit = Edit::new(view, &place, Some(text.as_bytes()), after.into_bytes())?;
    let remark = edit.remark();
    let switch = Switch {
        edit,
        features: changed.clone(),
        on,
    };
    Ok(vec![
        Proposal::act(WORD.name, name, summary, switch)
            .remarking(remark)
            .returning(changed),
    ])
}
