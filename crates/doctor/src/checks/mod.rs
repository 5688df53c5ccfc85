//! The checks, a file for each theme. Each is a pure function of the model, and silent where it cannot know.

mod redrive;
mod visibility;

use crate::finding::Check;

/// Every check.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    [visibility::CHECKS, redrive::CHECKS].into_iter().flatten()
}
