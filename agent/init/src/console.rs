//! Shells on the board's consoles, and what they say first.

use std::fs;
use std::io;
use std::path::Path;

use bramble_runtime::supervisor::ChildCommand;
use bramble_runtime::whole_file;

use crate::children;
use crate::paths::{ADDRESS, INIT_RUN};

/// A shell for every console of the kernel's command line.
pub(crate) fn shells() -> Vec<ChildCommand> {
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    terminals(&active).into_iter().map(children::shell).collect()
}

/// `tty0` is whichever screen is shown; a shell has its own, the first.
fn terminals(active: &str) -> Vec<&str> {
    let mut terminals: Vec<&str> =
        active.split_whitespace().map(|name| if name == "tty0" { "tty1" } else { name }).collect();
    terminals.dedup();
    terminals
}

/// Writes what a login shell does first: shows `banner` and the address.
///
/// # Errors
/// The files cannot be written.
pub(crate) fn write_profile(banner: &str) -> io::Result<()> {
    // An emergency may come before anything else is left there.
    fs::create_dir_all(INIT_RUN)?;
    let path = format!("{INIT_RUN}/banner");
    whole_file::replace(Path::new(&path), banner.as_bytes(), 0o644)?;
    whole_file::replace(Path::new("/run/root/.profile"), profile(&path).as_bytes(), 0o644)
}

fn profile(banner: &str) -> String {
    format!(
        "export PATH=/usr/bin:/usr/sbin:/bin:/sbin KUBECONFIG=/var/lib/bramble/admin.kubeconfig\n\
         cd\n\
         cat {banner}\n\
         if read -r interface address 2>/dev/null <{ADDRESS}; then\n\
         \x20 echo \"  address  $address on $interface\"\n\
         else\n\
         \x20 echo \"  address  none yet\"\n\
         fi\n\
         unset interface address\n\
         PS1='\\h:\\w# '\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_console_has_one_shell() {
        assert_eq!(terminals("tty0 ttyAMA0\n"), ["tty1", "ttyAMA0"]);
        assert_eq!(terminals("tty0 tty1\n"), ["tty1"]);
        assert!(terminals("").is_empty());
    }
}
