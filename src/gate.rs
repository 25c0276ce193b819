//! The only way in: policy, overlay, confirmation, audit, then the host.

/// The proof that an operation passed.
pub mod permit;

/// What a preview has pretended so far.
pub mod overlay;

pub use overlay::Overlay;
pub use permit::Permit;
