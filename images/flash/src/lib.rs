//! Writes cards: which devices may be one, what goes on it, and whether it arrived.
//!
//! The choice of a device is a pure function over a [`machine::Machine`]; [`probe`] reads one from
//! `/sys` and `/proc`. Knows nothing of clusters and tokens: what a card is told comes in as text.
//! Prints nothing and asks nobody.
#![forbid(unsafe_code)]

pub mod choice;
pub mod image;
pub mod machine;
pub mod mount_table;
pub mod probe;
pub mod target;
pub mod write;
