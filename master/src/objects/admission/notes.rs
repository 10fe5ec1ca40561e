//! What is said about a write on its way, for whoever asked for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Verdict;

/// Warnings, and what the audit log is to have; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    said: Arc<Mutex<Said>>,
}

#[derive(Debug, Default)]
struct Said {
    warnings: Vec<String>,
    audit: Vec<(&'static str, String)>,
}

impl Notes {
    /// Takes the warnings.
    pub(crate) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().warnings)
    }

    /// Takes what the audit log is to have, by key.
    pub(crate) fn take_audit(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.lock().audit)
    }

    /// Adds what was said about a write that was done.
    pub(in crate::objects) fn add(&self, verdict: Verdict) {
        let mut said = self.lock();
        said.warnings.extend(verdict.warnings);
        said.audit.extend(verdict.audit);
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        // Words only: none of them can be half-changed.
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
