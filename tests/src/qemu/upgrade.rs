//! Upgrades of an emulated board from this machine, by the command that a person types.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::programs::{binary_folder, output};
use crate::qemu::cluster::QemuCluster;
use crate::qemu::image::{self, Change};
use crate::wait::now;

/// Tries of an upgrade: on a busy machine a board may stand still for so long that it and the
/// master dial anew, which breaks the upgrade off before anything is changed.
const TRIES: u32 = 3;
/// What the command says then: between two messages, in the middle of one, at the beginning.
const BROKEN_OFF: [&str; 3] =
    ["the node's connection has ended", "the node's answer broke off", "could not reach the node"];

/// How an upgrade ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit status of the command; none if a signal ended it.
    pub status: Option<i32>,
    /// All that it said.
    pub text: String,
}

impl Ended {
    /// The link to the board broke: nobody has said whether the board can be upgraded.
    fn broken_off(&self) -> bool {
        BROKEN_OFF.iter().any(|words| self.text.contains(words))
    }
}

/// The command that upgrades a board; nobody has started it yet.
///
/// # Errors
/// `bramble` is not built, or there is no kubeconfig.
pub fn command(cluster: &QemuCluster, board: &str, image: &Path) -> Result<Command> {
    let mut command = Command::new(binary_folder()?.join("bramble"));
    command.args(["node", "upgrade", board, "--image"]).arg(image);
    command.arg("--kubeconfig").arg(cluster.kubeconfig()?);
    Ok(command)
}

/// Upgrades a board, again if its link broke meanwhile, and prints what was said.
///
/// # Errors
/// The command cannot be run. That it fails is none.
pub fn upgrade(cluster: &QemuCluster, board: &str, image: &Path) -> Result<Ended> {
    let mut ended = try_upgrade(cluster, board, image)?;
    for _ in 1..TRIES {
        if !ended.broken_off() {
            break;
        }
        ended = try_upgrade(cluster, board, image)?;
    }
    Ok(ended)
}

fn try_upgrade(cluster: &QemuCluster, board: &str, image: &Path) -> Result<Ended> {
    let start = now();
    let output = output(&mut command(cluster, board, image)?)?;
    let text = [output.stdout, output.stderr].concat();
    let ended =
        Ended { status: output.status.code(), text: String::from_utf8_lossy(&text).into_owned() };
    println!("{}{:?} after {:.1} s", ended.text, ended.status, start.elapsed().as_secs_f64());
    Ok(ended)
}

/// Writes a copy of an image with changes to the cluster's folder, in place of the last such copy.
///
/// # Errors
/// The image cannot be read or changed.
pub fn altered_image(
    cluster: &QemuCluster,
    original: &Path,
    changes: &[Change<'_>],
) -> Result<PathBuf> {
    let copy = cluster.folder().join("altered.img.gz");
    image::altered(original, &copy, changes)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broken_link_is_worth_another_try() {
        let check = |text: &str, wanted| {
            let ended = Ended { status: Some(1), text: text.to_owned() };
            assert_eq!(ended.broken_off(), wanted, "{text}");
        };
        check("error: the node's connection has ended\n", true);
        check("writing 50 %\nerror: the node's answer broke off: end of file\n", true);
        check("error: node \"pi-2\" runs its old system again: not Ready within 120 s\n", false);
        check("error: node \"pi-2\" was not upgraded and goes on as before: damaged\n", false);
    }
}
