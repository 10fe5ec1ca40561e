//! Whose clusters they are: the person at the terminal, also behind `sudo`.
//!
//! Cards need root to be written, clusters and kubeconfigs belong to the person. Behind `sudo`
//! everything goes to that person's home and is given to them.

use std::env;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

/// Where the administrator's files are.
#[derive(Debug)]
pub(super) struct Administrator {
    /// Folder of all clusters.
    pub(super) clusters: PathBuf,
    /// Folder of kubeconfigs.
    pub(super) kubeconfigs: PathBuf,
    /// User and group that files are given to; none if they belong to the right one already.
    pub(super) owner: Option<(u32, u32)>,
    /// What is given away is below this.
    home: PathBuf,
}

/// Why the administrator's folders are not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FindAdministratorError {
    /// No home.
    #[error("there is no home folder ($HOME is not set); say --config-dir and --kubeconfig-dir")]
    NoHome,
}

impl Administrator {
    /// Finds the folders; those that are given win.
    ///
    /// # Errors
    ///
    /// When there is no home and a folder was not given.
    pub(super) fn find(
        config: Option<&Path>,
        kubeconfigs: Option<&Path>,
    ) -> Result<Self, FindAdministratorError> {
        let person = Uid::effective().is_root().then(behind_sudo).flatten();
        let home = match &person {
            Some(person) => Some(person.dir.clone()),
            None => env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from),
        };
        let no_home = || FindAdministratorError::NoHome;
        let settings = env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty());
        let config = match (config, settings) {
            (Some(config), _) => config.to_path_buf(),
            (None, Some(settings)) => PathBuf::from(settings).join("bramble"),
            (None, None) => home.as_ref().ok_or_else(no_home)?.join(".config/bramble"),
        };
        let kubeconfigs = match kubeconfigs {
            Some(folder) => folder.to_path_buf(),
            None => home.as_ref().ok_or_else(no_home)?.join(".kube"),
        };
        Ok(Self {
            clusters: config.join("clusters"),
            kubeconfigs,
            owner: person.map(|person| (person.uid.as_raw(), person.gid.as_raw())),
            home: home.unwrap_or_default(),
        })
    }

    /// Gives a file that root has just made to the person, with the folders above it that root
    /// had to make. What cannot be given stays root's: `sudo` reads it as well.
    pub(super) fn claim(&self, path: &Path) {
        let Some((uid, gid)) = self.owner else { return };
        let below_home =
            path.ancestors().take_while(|path| path.starts_with(&self.home) && *path != self.home);
        for path in below_home {
            if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.uid() == 0) {
                let _ = lchown(path, Some(uid), Some(gid));
            }
        }
    }

    /// Gives a folder and the files in it.
    pub(super) fn claim_folder(&self, folder: &Path) {
        self.claim(folder);
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            self.claim(&entry.path());
        }
    }
}

/// The person who ran `sudo`, unless that was root.
fn behind_sudo() -> Option<User> {
    let uid: u32 = env::var("SUDO_UID").ok()?.parse().ok()?;
    User::from_uid(Uid::from_raw(uid)).ok().flatten().filter(|person| !person.uid.is_root())
}
