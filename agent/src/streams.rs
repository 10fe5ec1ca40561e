//! What people do with pods through the master: programs in containers, connections to ports.
//!
//! Every stream has its own task and ends with the master's end of it. Nothing here waits for the
//! disk or holds a lock; what a stream keeps in memory is a piece of each of its ways.

mod dial;
mod exec;
mod places;
mod terminal_end;

pub(crate) use dial::{At, Port, serve_dial};
pub(crate) use exec::{serve_attach, serve_exec};
pub(crate) use places::{PLACES, StreamPlaces};
