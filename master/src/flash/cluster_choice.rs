//! Which cluster a card is for, and which card of its node it is: decisions without files.

use bramble_card::settings::Role;

use super::args::CardRole;
use super::cluster_folder::ClusterRecord;

/// A cluster that the administrator has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Its id.
    pub(super) id: String,
    /// Its master's card was flashed.
    pub(super) flashed: bool,
}

/// What the flags say about the cluster.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted<'a> {
    /// This one.
    pub(super) cluster: Option<&'a str>,
    /// Another one.
    pub(super) new: bool,
    /// The card is for a master that has no card yet.
    pub(super) first_master: bool,
}

/// The cluster of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// One that is to be made.
    New,
    /// One that is there.
    Old(String),
}

/// Why no cluster was chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChooseClusterError {
    /// There is none yet.
    #[error(
        "there is no cluster yet; flash a master first: bramble flash --role master --node NAME"
    )]
    None,
    /// There is none with that id.
    #[error("there is no cluster `{wanted}`; there {}", list(present))]
    Unknown { wanted: String, present: Vec<String> },
    /// There are several.
    #[error("say --cluster ID: there {}", list(present))]
    Several { present: Vec<String> },
    /// There is one already.
    #[error(
        "there {} already; for a node of it leave out `--role master`, for a new card of its master \
         say --replace NAME, and for another cluster say --new-cluster",
        list(present)
    )]
    Present { present: Vec<String> },
    /// A new cluster begins with its master.
    #[error("a new cluster begins with its master; say --role master as well")]
    NewWithoutMaster,
}

fn list(ids: &[String]) -> String {
    match ids {
        [] => "is none".to_owned(),
        [id] => format!("is `{id}`"),
        ids => format!("are `{}`", ids.join("`, `")),
    }
}

/// Chooses the cluster of a card.
///
/// # Errors
///
/// When the flags do not name one of those that are there.
pub(super) fn choose(known: &[Known], wanted: Wanted<'_>) -> Result<Choice, ChooseClusterError> {
    let ids = |flashed: bool| -> Vec<String> {
        known
            .iter()
            .filter(|known| known.flashed == flashed)
            .map(|known| known.id.clone())
            .collect()
    };
    if wanted.new {
        return match wanted.first_master {
            true => Ok(Choice::New),
            false => Err(ChooseClusterError::NewWithoutMaster),
        };
    }
    if let Some(id) = wanted.cluster {
        if known.iter().any(|known| known.id == id) {
            return Ok(Choice::Old(id.to_owned()));
        }
        let present = known.iter().map(|known| known.id.clone()).collect();
        return Err(ChooseClusterError::Unknown { wanted: id.to_owned(), present });
    }
    let mut flashed = ids(true);
    if wanted.first_master {
        // The card of an unfinished one failed: nobody knows it, so it is as good as new.
        return match (ids(false).pop(), flashed.is_empty()) {
            (Some(id), true) => Ok(Choice::Old(id)),
            (None, true) => Ok(Choice::New),
            (_, false) => Err(ChooseClusterError::Present { present: flashed }),
        };
    }
    match (flashed.pop(), flashed.is_empty()) {
        (Some(id), true) => Ok(Choice::Old(id)),
        (None, _) => Err(ChooseClusterError::None),
        (Some(id), false) => {
            flashed.push(id);
            Err(ChooseClusterError::Several { present: flashed })
        }
    }
}

/// Why a node gets no card by this name or role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    /// It has one.
    #[error(
        "node `{name}` has a card already; if that is lost or broken: bramble flash --replace {name}"
    )]
    Flashed { name: String },
    /// A master cannot become an agent by a card.
    #[error("node `{name}` is the master of its cluster, so its new card needs --role master")]
    Master { name: String },
    /// There is one master.
    #[error("the cluster's master is `{master}`, so `{name}` can only be an agent")]
    OtherMaster { master: String, name: String },
}

/// Which card of this node it is, counted from 1. One that replaces a card that nobody has
/// noted, such as that of a board that joined by a token, is the second.
///
/// # Errors
///
/// When the name is taken and not to be replaced.
pub(super) fn next_generation(
    record: Option<&ClusterRecord>,
    name: &str,
    replace: bool,
) -> Result<u32, NameError> {
    let present = record.and_then(|record| record.node(name)).map(|node| node.generation);
    match (present, replace) {
        (Some(_), false) => Err(NameError::Flashed { name: name.to_owned() }),
        (None, false) => Ok(1),
        (present, true) => Ok(present.unwrap_or(1).saturating_add(1)),
    }
}

/// What the board is.
///
/// # Errors
///
/// When the cluster would have no or two masters.
pub(super) fn role(
    record: Option<&ClusterRecord>,
    name: &str,
    wanted: Option<CardRole>,
    replace: bool,
) -> Result<Role, NameError> {
    let master = record.map_or("", |record| record.master.as_str());
    let named = || name.to_owned();
    let default = if replace && master == name { Role::Master } else { Role::Agent };
    match wanted.map_or(default, Role::from) {
        Role::Agent if master == name => Err(NameError::Master { name: named() }),
        Role::Master if !master.is_empty() && master != name => {
            Err(NameError::OtherMaster { master: master.to_owned(), name: named() })
        }
        role @ (Role::Master | Role::Agent) => Ok(role),
    }
}

#[cfg(test)]
mod tests {
    use super::super::cluster_folder::Flashed;
    use super::*;

    fn known(clusters: &[(&str, bool)]) -> Vec<Known> {
        clusters.iter().map(|&(id, flashed)| Known { id: id.to_owned(), flashed }).collect()
    }

    const AGENT: Wanted<'_> = Wanted { cluster: None, new: false, first_master: false };
    const MASTER: Wanted<'_> = Wanted { first_master: true, ..AGENT };

    #[track_caller]
    fn refused(clusters: &[(&str, bool)], wanted: Wanted<'_>, why: &str) {
        let error = choose(&known(clusters), wanted).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn only_cluster_is_taken_without_asking() {
        let old = |id: &str| Ok(Choice::Old(id.to_owned()));
        assert_eq!(choose(&known(&[("b-1", true)]), AGENT), old("b-1"));
        assert_eq!(choose(&known(&[("b-0", false), ("b-1", true)]), AGENT), old("b-1"));
        refused(&[], AGENT, "flash a master first");
        refused(&[("b-0", false)], AGENT, "flash a master first");
        refused(&[("b-1", true), ("b-2", true)], AGENT, "are `b-1`, `b-2`");
        let second = Wanted { cluster: Some("b-2"), ..AGENT };
        assert_eq!(choose(&known(&[("b-1", true), ("b-2", true)]), second), old("b-2"));
        refused(&[("b-1", true)], second, "there is `b-1`");
    }

    #[test]
    fn second_master_needs_a_new_cluster_said_aloud() {
        assert_eq!(choose(&[], MASTER), Ok(Choice::New));
        refused(&[("b-1", true)], MASTER, "--new-cluster");
        let new = Wanted { new: true, ..MASTER };
        assert_eq!(choose(&known(&[("b-1", true)]), new), Ok(Choice::New));
        refused(&[("b-1", true)], Wanted { new: true, ..AGENT }, "--role master");
        // Its card failed, so the same command does the same again.
        assert_eq!(choose(&known(&[("b-0", false)]), MASTER), Ok(Choice::Old("b-0".to_owned())));
    }

    fn record() -> ClusterRecord {
        let node = |name: &str, role, generation| Flashed {
            name: name.to_owned(),
            role,
            generation,
            token: String::new(),
        };
        ClusterRecord {
            master: "pi-1".to_owned(),
            server: "pi-1.local:6443".to_owned(),
            nodes: vec![node("pi-1", Role::Master, 1), node("pi-2", Role::Agent, 3)],
        }
    }

    #[test]
    fn cards_of_a_node_are_counted() {
        let record = record();
        assert_eq!(next_generation(Some(&record), "pi-3", false), Ok(1));
        assert_eq!(next_generation(Some(&record), "pi-2", true), Ok(4));
        assert_eq!(next_generation(Some(&record), "by-token", true), Ok(2));
        assert_eq!(next_generation(None, "pi-1", false), Ok(1));
        let error = next_generation(Some(&record), "pi-2", false).unwrap_err().to_string();
        assert!(error.contains("--replace pi-2"), "{error}");
    }

    #[test]
    fn cluster_keeps_its_one_master() {
        let record = record();
        let role = |name, wanted, replace| role(Some(&record), name, wanted, replace);
        assert_eq!(role("pi-1", None, true), Ok(Role::Master));
        assert_eq!(role("pi-2", None, true), Ok(Role::Agent));
        assert_eq!(role("pi-3", None, false), Ok(Role::Agent));
        assert!(role("pi-1", Some(CardRole::Agent), true).is_err());
        assert!(role("pi-3", Some(CardRole::Master), false).is_err());
    }
}
