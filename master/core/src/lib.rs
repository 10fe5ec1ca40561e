//! What the master decides: scheduling, controllers, cluster membership, and who may take its time.
//!
//! Everything here is a function from a [`snapshot::Snapshot`], the membership and a time to a list of
//! [`action::Action`]s. This crate does not know the store, the network, a clock or an executor: the
//! shell feeds it and carries out what it returns.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod access;
pub mod action;
pub mod admission;
pub mod connections;
pub mod controllers;
pub mod membership;
pub mod scheduler;
pub mod slow_start;
pub mod snapshot;
pub mod turns;
pub mod view;
pub mod vitals;
