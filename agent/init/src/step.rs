//! A step of the boot that failed.

use std::fmt;
use std::io;

/// Why a board cannot be started further.
#[derive(Debug, thiserror::Error)]
#[error("could not {what}")]
pub(crate) struct StepError {
    /// What was being tried, with what.
    what: String,
    #[source]
    source: io::Error,
}

impl StepError {
    /// Names the step: for `map_err`.
    pub(crate) fn of<E: Into<io::Error>>(what: impl fmt::Display) -> impl FnOnce(E) -> Self {
        let what = what.to_string();
        move |source| Self { what, source: source.into() }
    }
}
