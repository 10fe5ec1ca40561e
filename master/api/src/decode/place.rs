//! Where in a body something is: a chain of parts that becomes a path only when it is told.
//!
//! A path for every value would cost its length each time, and a client chooses how long keys are.

use crate::patch::bounds::shortened;

/// Most fields that an answer names, as upstream's decoder does.
pub(super) const MENTIONED_MAX: usize = 100;

/// A place below another one; none above is the root.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// What it is in.
    pub(super) parent: Option<&'a Place<'a>>,
    /// Its own part.
    pub(super) part: Part<'a>,
}

/// One part of a path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    /// Field of an object.
    Key(&'a str),
    /// Item of a list.
    Index(usize),
}

impl Place<'_> {
    /// Path with the indices of lists, such as `spec.containers[0].name`.
    pub(super) fn indexed(&self) -> String {
        self.path(true)
    }

    /// Path without them, such as `spec.containers.name`.
    pub(super) fn plain(&self) -> String {
        self.path(false)
    }

    fn path(&self, with_indices: bool) -> String {
        let mut parts: Vec<Part<'_>> = std::iter::successors(Some(self), |place| place.parent)
            .map(|place| place.part)
            .collect();
        parts.reverse();
        let mut path = String::new();
        for part in parts {
            match part {
                Part::Key(key) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&shortened(key));
                }
                Part::Index(index) if with_indices => path.push_str(&format!("[{index}]")),
                Part::Index(_) => {}
            }
        }
        path
    }
}
