//! What a run is about, and its texts without what differs between two runs of the same plan.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Figures;
use crate::base::clock::Clock;
use crate::report::options::Options;

/// What a run is about, for the words that need to know.
#[derive(Debug, Clone, Default)]
pub struct Errand {
    /// The run's id.
    pub run: String,
    /// Local `YYYYMMDD_HHMMSS` of the run's start.
    pub stamp: String,
    /// The run's start, RFC 3339 UTC with milliseconds: the one time that its words know, so that both passes say the same.
    pub began: String,
    /// A preview, or a real pass whose caller asked for a dry run.
    pub dry_run: bool,
    /// This pass is a preview.
    pub preview: bool,
    /// What was asked for; `strict` also where `validation.strict` says so.
    pub options: Options,
    /// `--force`.
    pub forced: bool,
    /// Ids of all stories of the run.
    pub stories: Vec<String>,
    /// Scripts take part: they don't see the program's own state, which would tell them in which pass they are.
    pub scripted: bool,
    /// Whether the directory of the state was there when the run began; scripts see it empty.
    pub had_state: bool,
    /// Whether the directory of the logs was there when the run began.
    pub had_logs: bool,
    /// Sizes in bytes of the logs to which the run itself appends, as they were when it began; `None` where there was no
    /// such log. Scripts see no more of them.
    pub logs: BTreeMap<PathBuf, Option<u64>>,
    /// What its scripts were told of disks and memory, in both passes.
    pub figures: Figures,
}

impl Errand {
    /// A run that begins now, under a new id.
    #[must_use]
    pub fn begin(clock: &Clock) -> Self {
        Self {
            run: clock.unique(),
            stamp: clock.stamp(),
            began: clock.timestamp(),
            ..Self::default()
        }
    }

    /// The run's id and its moment in the forms that its words and operations write, with what stands for each in what
    /// is compared. The longer ones come first.
    fn marks(&self) -> impl Iterator<Item = (&str, &'static str)> {
        [
            (self.run.as_str(), "{run}"),
            (self.began.as_str(), "{began}"),
            (self.began.get(..19).unwrap_or_default(), "{second}"),
            (self.stamp.as_str(), "{stamp}"),
        ]
        .into_iter()
        .filter(|(mark, _)| !mark.is_empty())
    }

    /// A text that is the same for the same plan at any time: without the run's id and its moment.
    #[must_use]
    pub fn timeless(&self, text: &str) -> String {
        self.marks()
            .fold(text.to_owned(), |text, (mark, name)| text.replace(mark, name))
    }

    /// BLAKE3 of contents, in hexadecimal, that is the same for the same plan at any time. Contents that hold what
    /// stands for a mark have another digest than contents that hold the mark.
    #[must_use]
    pub fn timeless_digest(&self, contents: &[u8]) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut rest = contents;
        while let Some((at, mark, name)) = self
            .marks()
            .filter_map(|(mark, name)| Some((memchr::memmem::find(rest, mark.as_bytes())?, mark, name)))
            .min_by_key(|(at, ..)| *at)
        {
            let (before, from) = rest.split_at(at);
            hasher.update(&(before.len() as u64).to_le_bytes());
            hasher.update(before);
            hasher.update(name.as_bytes());
            rest = from.get(mark.len()..).unwrap_or_default();
        }
        hasher.update(rest);
        hasher.finalize().to_hex().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errand(run: &str, began: &str, stamp: &str) -> Errand {
        Errand {
            run: run.to_owned(),
            began: began.to_owned(),
            stamp: stamp.to_owned(),
            ..Errand::default()
        }
    }

    #[test]
    fn the_same_contents_at_two_times_have_one_digest_and_others_another() {
        let one = errand(
            "20260101T000000Z-aaaa",
            "2026-01-01T00:00:00.000Z",
            "20260101_000000",
        );
        let two = errand(
            "20260202T000000Z-bbbb",
            "2026-02-02T00:00:00.000Z",
            "20260202_000000",
        );
        let text = |errand: &Errand| format!("at: '{}'\nby: {}\n", errand.began, errand.run);
        assert_eq!(
            one.timeless_digest(text(&one).as_bytes()),
            two.timeless_digest(text(&two).as_bytes())
        );
        let literal = "at: '{began}'\nby: {run}\n";
        assert_ne!(
            one.timeless_digest(literal.as_bytes()),
            one.timeless_digest(text(&one).as_bytes())
        );
        assert_ne!(
            one.timeless_digest(text(&one).as_bytes()),
            one.timeless_digest(text(&two).as_bytes())
        );
        assert_eq!(
            one.timeless_digest(b"plain"),
            blake3::hash(b"plain").to_hex().to_string()
        );
        assert_eq!(one.timeless(&text(&one)), literal);
    }
}
