//! A dry run whose wall a test has taken down (feature `broken-walls`).

use crate::audit::permit::Permit;
use crate::base::error::Result;
use crate::host::Host;
use crate::operation::Operation;
use crate::report::effect::Done;

/// What a dry run must never do.
///
/// # Errors
/// What the operation says: that the kernel refused, where all is well.
pub(super) fn act(operation: &dyn Operation, host: &Host) -> Result<Done> {
    operation.execute(&Permit::for_tests(), host)
}
