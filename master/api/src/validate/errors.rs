//! What is wrong with an object, as it is found: the first mistakes only, since an object may be
//! wrong in a hundred thousand places and nobody reads more than some.

use crate::status::FieldError;

/// Most mistakes of one object that are told.
pub const ERRORS_MAX: usize = 100;

/// Mistakes found so far.
#[derive(Debug, Default)]
pub(crate) struct Errors(Vec<FieldError>);

impl Errors {
    /// Notes a mistake, unless enough are noted.
    pub(crate) fn push(&mut self, error: FieldError) {
        if !self.full() {
            self.0.push(error);
        }
    }

    /// Notes mistakes, for as long as there is room.
    pub(crate) fn extend(&mut self, errors: impl IntoIterator<Item = FieldError>) {
        let mut errors = errors.into_iter();
        while !self.full() {
            let Some(error) = errors.next() else { return };
            self.0.push(error);
        }
    }

    /// Whether there is no room for more: looking on is of no use.
    pub(crate) fn full(&self) -> bool {
        self.0.len() >= ERRORS_MAX
    }

    /// Whether nothing is noted.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that was noted.
    pub(crate) fn list(self) -> Vec<FieldError> {
        self.0
    }
}

impl IntoIterator for Errors {
    type Item = FieldError;
    type IntoIter = std::vec::IntoIter<FieldError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
