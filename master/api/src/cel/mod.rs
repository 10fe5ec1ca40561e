//! The Common Expression Language, as rules about objects are written in it.
//!
//! An expression is read once ([`parse`]), looked at for what cannot be right ([`check`]: unknown
//! names and fields, what it may cost at most) and evaluated often ([`eval`]). Every step of an
//! evaluation is paid from a budget, and what it makes is paid by size, so that no expression can
//! take more time or memory than that: that is why this is no crate of others, whose evaluators
//! cannot be stopped.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever type an operator or function does not take is the same error"
)]

pub(crate) mod check;
pub(crate) mod eval;
mod functions;
pub(crate) mod parse;
pub(crate) mod value;

/// What one evaluation may cost, as upstream.
pub(crate) const COST_MAX: u64 = 1_000_000;
/// What all evaluations for one object may cost, as upstream.
pub(crate) const COST_OF_OBJECT_MAX: u64 = 10_000_000;

#[cfg(test)]
mod tests;
