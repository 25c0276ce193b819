//! What a preview has pretended so far.

/// The pretended world.
#[derive(Debug, Default)]
pub struct Overlay {}
