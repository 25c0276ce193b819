//! What a look at the world gives: what was seen, or why nobody can tell. *Not there* is something seen
//! (`Known<Option<_>>`, `Known<Vec<_>>`); *unknown* is never taken for it.

/// What was seen, or why it can't be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known<T> {
    /// Somebody looked, and it is so.
    Yes(T),
    /// Nobody can tell, and why: no engine, no answer, no right to look.
    Unknown(String),
}

impl<T> Known<T> {
    /// Changes what is known.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Known<U> {
        match self {
            Self::Yes(value) => Known::Yes(change(value)),
            Self::Unknown(why) => Known::Unknown(why),
        }
    }
}
