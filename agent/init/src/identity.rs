//! Who the board is: host name, `hosts`, who may log in.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use bramble_card::settings::CardSettings;
use bramble_runtime::whole_file;

use crate::messages::say;

/// Root's home, which is in memory: what a person leaves there is gone with the boot.
const HOME: &str = "/run/root";

/// Sets the host name and writes the files that tell of it. What fails is told; the board goes on.
pub(crate) fn apply(settings: &CardSettings) {
    let mut steps = vec![(
        "set the host name",
        rustix::system::sethostname(settings.node.as_bytes()).map_err(io::Error::from),
    )];
    steps.push((
        "write the host name",
        whole_file::replace(
            Path::new("/run/hostname"),
            format!("{}\n", settings.node).as_bytes(),
            0o644,
        ),
    ));
    let hosts = hosts(&settings.node);
    steps.push((
        "write the hosts",
        whole_file::replace(Path::new("/run/hosts"), hosts.as_bytes(), 0o644),
    ));
    steps.push(("write the SSH keys", write_keys(Path::new(HOME), &settings.ssh_keys)));
    for (what, outcome) in steps {
        if let Err(error) = outcome {
            say(&format!("could not {what}: {error}"));
        }
    }
}

/// Makes root's home, also where there are no settings.
///
/// # Errors
/// The file system refuses.
pub(crate) fn make_home() -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(HOME)?;
    fs::set_permissions(HOME, fs::Permissions::from_mode(0o700))
}

fn hosts(node: &str) -> String {
    format!("127.0.0.1 localhost\n127.0.1.1 {node}\n::1 localhost ip6-localhost\n")
}

fn write_keys(home: &Path, keys: &[String]) -> io::Result<()> {
    let folder = home.join(".ssh");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let lines: String = keys.iter().map(|key| format!("{key}\n")).collect();
    whole_file::replace(&folder.join("authorized_keys"), lines.as_bytes(), 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_for_root_only() {
        let home = tempfile::tempdir().unwrap();
        write_keys(home.path(), &["ssh-ed25519 AAAA me".to_owned()]).unwrap();
        let path = home.path().join(".ssh/authorized_keys");
        assert_eq!(fs::read_to_string(&path).unwrap(), "ssh-ed25519 AAAA me\n");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }
}
