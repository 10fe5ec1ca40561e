//! The terminal of a container's own program.
//!
//! It is one of the container's `/dev/pts`, so it can only be made inside: just before the program,
//! by its own user. Standard input is a socket until then, over which its master leaves.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd as _;

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use oci_spec::runtime::Spec;

use crate::sys::{pass, terminal};

/// Says that a container has one; for our own executor only.
const ANNOTATION: &str = "io.bramble.terminal";

/// The size until somebody who is attached has another one.
const SIZE: terminal::TerminalSize = terminal::TerminalSize { columns: 80, rows: 24 };

/// Has the container make one.
pub(super) fn want(spec: &mut Spec) {
    let mut annotations: HashMap<String, String> = spec.annotations().clone().unwrap_or_default();
    annotations.insert(ANNOTATION.to_owned(), "true".to_owned());
    spec.set_annotations(Some(annotations));
}

/// Whether the container has one.
pub(super) fn wanted(spec: &Spec) -> bool {
    spec.annotations().as_ref().is_some_and(|all| all.contains_key(ANNOTATION))
}

/// Makes it, gives its master away and makes it this process' standard streams.
///
/// # Errors
/// When the container has no terminals.
pub(super) fn take() -> io::Result<()> {
    let (master, slave) = terminal::open()?;
    terminal::resize(&master, SIZE)?;
    pass::send(io::stdin().as_fd(), b"terminal", &[master.as_fd()])?;
    dup2_stdin(&slave)?;
    dup2_stdout(&slave)?;
    dup2_stderr(&slave)?;
    // It may lead a session already.
    let _leads = setsid();
    terminal::control_by_stdin()
}
