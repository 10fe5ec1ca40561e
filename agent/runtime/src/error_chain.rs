//! An error with its causes, for people.

use std::error::Error;
use std::fmt;

/// An error with all its causes, on one line.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not {what}")]
    struct Failed {
        what: &'static str,
        #[source]
        source: Option<Box<Failed>>,
    }

    #[test]
    fn every_cause_is_told_once() {
        let inner = Failed { what: "read", source: None };
        assert_eq!(Chain(&inner).to_string(), "could not read");
        let middle = Failed { what: "load", source: Some(Box::new(inner)) };
        let outer = Failed { what: "start", source: Some(Box::new(middle)) };
        assert_eq!(Chain(&outer).to_string(), "could not start: could not load: could not read");
    }
}
