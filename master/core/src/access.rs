//! Access: who somebody is, what tokens say of them, and what they may do.
//!
//! Knows neither keys nor certificates nor the store: signatures are checked, and objects fetched, by
//! who asks.

pub mod attributes;
pub mod audit;
pub mod claims;
pub mod default_roles;
pub mod pod_account;
pub mod rbac;
pub mod rule;
pub mod user;
