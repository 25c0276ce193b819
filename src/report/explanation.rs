//! What an undo takes back and what it does not, for people and programs: it is told in the plan, before anybody says yes.

use crate::base::redact;

use serde::{Deserialize, Serialize};

/// What an undo takes back and what it does not, each by its target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What it takes back.
    pub takes_back: Vec<String>,
    /// What it can't take back, and why.
    pub cannot: Vec<Remark>,
    /// What was changed after the run, and what becomes of that.
    pub changed_since: Vec<Remark>,
    /// What the run made and what stays, because others build on it.
    pub stays: Vec<Remark>,
}

impl Explanation {
    /// What it does not plainly take back: a word for the case, and the remark.
    pub fn remarks(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        [
            ("can't be taken back: ", &self.cannot),
            ("changed since: ", &self.changed_since),
            ("stays: ", &self.stays),
        ]
        .into_iter()
        .flat_map(|(lead, remarks)| remarks.iter().map(move |remark| (lead, remark)))
        .map(|(lead, remark)| (lead, format!("`{}`: {}", remark.target, remark.why)))
    }
}

/// Something, and why it is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// The path, process or package.
    pub target: String,
    /// Why.
    pub why: String,
}

impl Remark {
    /// A remark without secrets.
    #[must_use]
    pub fn new(target: &str, why: &str) -> Self {
        Self {
            target: redact::rendered(target),
            why: redact::rendered(why),
        }
    }
}
