//! The initial RAM file system: the agent, which is also the first program of a board, and the
//! modules that it needs to get to the system.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::chosen_modules;
use crate::kernel::Kernel;
use crate::tree::Tree;

/// Folders that something is mounted on.
const MOUNT_POINTS: [&str; 5] = ["proc", "sys", "dev", "slot", "new"];

/// Puts it together.
///
/// # Errors
/// The agent cannot be read, or the kernel lacks a module.
pub fn tree(kernel: &Kernel, agent: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    for folder in MOUNT_POINTS {
        tree.add_folder(folder);
    }
    // The first program is started before it can mount anything, and must be able to speak.
    tree.add_device("dev/console", (5, 1));
    tree.add_device("dev/null", (1, 3));
    let failed = || format!("could not read `{}`", agent.display());
    tree.add_file("init", 0o755, fs::read(agent).with_context(failed)?);
    chosen_modules::add_early(&mut tree, kernel)?;
    Ok(tree)
}
