//! The administrator's folder of a cluster: its identity, its join key, and which cards were made.
//!
//! ```text
//! ~/.config/bramble/clusters/<cluster id>/   the files of the identity, join.key, join.pub
//!                                            cluster.toml: master, its address, cards
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bramble_card::settings::Role;
use serde::{Deserialize, Serialize};

use super::FlashError;
use super::administrator::Administrator;
use super::args::{CardRole, FlashArgs};
use super::cluster_choice::{self, Choice, Known, Wanted};
use crate::cli::ServerFlags;
use crate::config::Config;
use crate::durable::{self, WriteFileError};
use crate::pki::{Identity, IdentityError, valid_cluster_id};

const RECORD: &str = "cluster.toml";

/// A cluster, as the one who flashes its cards has it.
#[derive(Debug)]
pub(super) struct ClusterFolder {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its keys.
    pub(super) identity: Identity,
    /// Its cards.
    pub(super) record: ClusterRecord,
}

/// What is known of a cluster besides its keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ClusterRecord {
    /// The node that is its master; empty if its card was not flashed from here.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) master: String,
    /// `HOST:PORT` of the master.
    pub(super) server: String,
    /// Cards that were made, the last one of each node.
    #[serde(default)]
    pub(super) nodes: Vec<Flashed>,
}

/// A card that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Flashed {
    /// Its node.
    pub(super) name: String,
    /// What the node is.
    pub(super) role: Role,
    /// Which card of the node it is, from 1.
    pub(super) generation: u32,
    /// Id of its token.
    pub(super) token: String,
}

/// Why a cluster's folder could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterFolderError {
    /// Identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It cannot be read.
    #[error("could not read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// It is damaged.
    #[error("`{}` is damaged", path.display())]
    Damaged { path: PathBuf, source: Box<toml::de::Error> },
    /// It cannot be written.
    #[error("could not note the card")]
    Write(#[from] WriteFileError),
    /// It cannot be put into words.
    #[error("could not note the card")]
    Text(#[from] toml::ser::Error),
    /// Not known where the master is.
    #[error("`{}` does not say where the master is; say --server HOST:PORT", path.display())]
    NoServer { path: PathBuf },
}

impl ClusterRecord {
    /// The last card of a node.
    pub(super) fn node(&self, name: &str) -> Option<&Flashed> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Notes a card in place of an earlier one of the same node.
    fn note(&mut self, flashed: Flashed, server: &str) {
        if flashed.role == Role::Master {
            self.master.clone_from(&flashed.name);
            server.clone_into(&mut self.server);
        }
        self.nodes.retain(|node| node.name != flashed.name);
        self.nodes.push(flashed);
    }
}

impl ClusterFolder {
    /// Makes a new cluster.
    ///
    /// # Errors
    ///
    /// When its files cannot be written.
    pub(super) fn create(administrator: &Administrator) -> Result<Self, ClusterFolderError> {
        let identity = Identity::create_below(&administrator.clusters)?;
        let path = administrator.clusters.join(&identity.cluster_id);
        administrator.claim_folder(&path);
        Ok(Self { path, identity, record: ClusterRecord::default() })
    }

    fn open(path: &Path) -> Result<Self, ClusterFolderError> {
        let identity = Identity::open(path)?;
        let record = read(path)?.unwrap_or_default();
        Ok(Self { path: path.to_path_buf(), identity, record })
    }

    /// Notes a card that was written. Another flash at the same time is waited for.
    ///
    /// # Errors
    ///
    /// When the record cannot be read or written.
    pub(super) fn note(
        &mut self,
        flashed: Flashed,
        server: &str,
    ) -> Result<(), ClusterFolderError> {
        let path = self.path.join(RECORD);
        let locked = File::open(&self.path).and_then(|folder| folder.lock().map(|()| folder));
        let locked =
            locked.map_err(|source| ClusterFolderError::Read { path: path.clone(), source })?;
        if let Some(record) = read(&self.path)? {
            self.record = record;
        }
        self.record.note(flashed, server);
        durable::write_file(&path, toml::to_string(&self.record)?.as_bytes())?;
        drop(locked);
        Ok(())
    }
}

fn read(folder: &Path) -> Result<Option<ClusterRecord>, ClusterFolderError> {
    let path = folder.join(RECORD);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ClusterFolderError::Read { path, source }),
    };
    let record = toml::from_str(&text);
    record
        .map(Some)
        .map_err(|source| ClusterFolderError::Damaged { path, source: Box::new(source) })
}

/// The cluster that the flags mean; none if it is to be made.
///
/// # Errors
///
/// When they mean none, or it cannot be read.
pub(super) fn choose(
    args: &FlashArgs,
    administrator: &Administrator,
) -> Result<Option<ClusterFolder>, FlashError> {
    if let Some(path) = &args.cluster_dir {
        return Ok(Some(open_of_server(path, args.server.as_deref())?));
    }
    let wanted = Wanted {
        cluster: args.cluster.as_deref(),
        new: args.new_cluster,
        first_master: args.role == Some(CardRole::Master) && args.replace.is_none(),
    };
    let known = known(&administrator.clusters)?;
    // On the board of a master that was started without a card, its cluster is the only one.
    let own = Identity::folder(&Config::default_data_dir());
    if known.is_empty() && wanted.cluster.is_none() && !wanted.first_master && own.exists() {
        return Ok(Some(open_of_server(&own, args.server.as_deref())?));
    }
    match cluster_choice::choose(&known, wanted)? {
        Choice::New => Ok(None),
        Choice::Old(id) => Ok(Some(ClusterFolder::open(&administrator.clusters.join(id))?)),
    }
}

/// Opens the folder of a cluster whose master runs on this machine, by its configuration.
fn open_of_server(path: &Path, server: Option<&str>) -> Result<ClusterFolder, ClusterFolderError> {
    let mut folder = ClusterFolder::open(path)?;
    if folder.record.server.is_empty() {
        let config = || {
            let config = Config::load(&ServerFlags::default()).ok()?;
            let own = Identity::folder(&config.data_dir);
            let same = fs::canonicalize(own).ok()? == fs::canonicalize(path).ok()?;
            same.then(|| format!("{}:{}", config.advertise_address, config.listen.port()))
        };
        let server = server.map(str::to_owned).or_else(config);
        folder.record.server =
            server.ok_or_else(|| ClusterFolderError::NoServer { path: path.to_path_buf() })?;
    }
    Ok(folder)
}

fn known(clusters: &Path) -> Result<Vec<Known>, ClusterFolderError> {
    let entries = match fs::read_dir(clusters) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(ClusterFolderError::Read { path: clusters.to_path_buf(), source });
        }
    };
    let mut known: Vec<Known> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        // Unfinished ones begin with a dot.
        .filter(|id| valid_cluster_id(id) && clusters.join(id).join("cluster-id").exists())
        .map(|id| Known { flashed: clusters.join(&id).join(RECORD).exists(), id })
        .collect();
    known.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flashed(name: &str, role: Role, generation: u32) -> Flashed {
        Flashed { name: name.to_owned(), role, generation, token: "a".repeat(16) }
    }

    #[test]
    fn cards_are_noted_and_replaced() {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("config");
        let administrator = Administrator::find(Some(&config), Some(home.path())).unwrap();
        assert_eq!(known(&administrator.clusters).unwrap(), []);
        let mut folder = ClusterFolder::create(&administrator).unwrap();
        let id = folder.identity.cluster_id.clone();
        let listed = |flashed| vec![Known { id: id.clone(), flashed }];
        assert_eq!(known(&administrator.clusters).unwrap(), listed(false));
        folder.note(flashed("pi-1", Role::Master, 1), "pi-1.local:6443").unwrap();
        assert_eq!(known(&administrator.clusters).unwrap(), listed(true));
        // Another flash has noted something in between.
        let mut other = ClusterFolder::open(&folder.path).unwrap();
        other.note(flashed("pi-2", Role::Agent, 1), "elsewhere:1").unwrap();
        folder.note(flashed("pi-3", Role::Agent, 1), "elsewhere:1").unwrap();
        folder.note(flashed("pi-2", Role::Agent, 2), "elsewhere:1").unwrap();
        let record = ClusterFolder::open(&folder.path).unwrap().record;
        assert_eq!((record.master.as_str(), record.server.as_str()), ("pi-1", "pi-1.local:6443"));
        assert_eq!(record.nodes.len(), 3);
        assert_eq!(record.node("pi-2").unwrap().generation, 2);
    }
}
