//! The cluster whose boards are measured, and the states that measurements wait for.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::api::{Api, Following};
use crate::bench::statistics::{bytes, float};
use crate::qemu::cluster::{MASTER, QemuCluster};
use crate::qemu::machine::EmulatedBoard;
use crate::qemu::model::Model;
use crate::qemu::{PATIENCE, image, requirements};
use crate::seed::Seed;
use crate::state::{condition, items, text};

/// Number of this cluster's LAN.
const NUMBER: u8 = 56;
/// The boards that pods run on.
pub(super) const AGENTS: [&str; 2] = ["pi-2", "pi-3"];
/// Boards that have power all the time: the master and [`AGENTS`].
const STANDING: usize = 3;
/// Label of [`AGENTS`]: pods of the measurements go nowhere else.
pub(super) const LABEL: (&str, &str) = ("bench", "agent");
/// Name of the image in the registry.
pub(super) const IMAGE: &str = "hello:1";

/// A master and two agents that run, and boards whose cards have never been booted.
#[derive(Debug)]
pub(super) struct Cards {
    pub(super) cluster: QemuCluster,
    pub(super) api: Api,
    pub(super) seed: Seed,
    /// Boards without power, with fresh cards.
    fresh: Vec<(Model, String)>,
}

impl Cards {
    /// Flashes all cards and boots a master and two agents; `boots` more boards of each kind stay
    /// without power.
    ///
    /// # Errors
    /// Something that it takes is missing, or the boards do not become Ready.
    pub(super) fn start(boots: usize) -> Result<Self> {
        if let Some(missing) = requirements::missing() {
            bail!("{missing}: run `tests/install.sh test`");
        }
        let sources = image::sources()?;
        let card_image = image::card_image(sources)?;
        let mut models = vec![Model::Virt; STANDING];
        for model in [Model::Raspi3b, Model::Virt] {
            models.extend(vec![model; boots]);
        }
        let mut cluster = QemuCluster::flash(NUMBER, &card_image, &models)?;
        cluster.push_hello(&image::board_busybox(sources)?, IMAGE)?;
        let names: Vec<String> =
            cluster.boards().iter().map(|board| board.spec().name.clone()).collect();
        for name in names.iter().take(STANDING) {
            cluster.board_mut(name)?.power_on()?;
        }
        cluster.wait_until_ready(STANDING, PATIENCE)?;
        let kubectl = cluster.kubectl()?;
        let label = format!("{}={}", LABEL.0, LABEL.1);
        kubectl.run(&[&["label", "node"][..], &AGENTS, &[&label]].concat())?;
        let api = Api::from_kubeconfig(&cluster.folder().join("kubeconfig"))?;
        let fresh = models.into_iter().zip(names).skip(STANDING).collect();
        Ok(Self { cluster, api, seed: Seed::new(1), fresh })
    }

    /// Boards of this kind whose cards have never been booted.
    pub(super) fn fresh(&self, model: Model) -> Vec<String> {
        let same = self.fresh.iter().filter(|(of, _)| *of == model);
        same.map(|(_, name)| name.clone()).collect()
    }

    pub(super) fn master(&self) -> Result<&EmulatedBoard> {
        self.cluster.board(MASTER)
    }

    /// Cuts the power of a board. What its card had not flushed is partly lost, as on a real one.
    pub(super) fn cut_power(&mut self, name: &str) -> Result<()> {
        self.cluster.board_mut(name)?.cut_power(&mut self.seed).map(drop)
    }

    /// A watch of all nodes from now on.
    pub(super) fn nodes(&self) -> Result<Following> {
        self.api.follow(NODES)
    }

    /// Waits until a node's condition Ready has this status.
    pub(super) fn wait_for_node(&self, name: &str, ready: &str) -> Result<()> {
        let what = format!("node `{name}` with Ready={ready}");
        self.cluster
            .wait_until(&what, PATIENCE, || {
                let node = self.api.connect()?.get(&format!("{NODES}/{name}"))?;
                let seen = condition(&node, "Ready");
                Ok((seen != ready).then(|| seen.to_owned()))
            })
            .map(drop)
    }

    /// Waits until the master and the two agents are Ready.
    pub(super) fn wait_for_standing(&self) -> Result<()> {
        for name in [MASTER].iter().chain(&AGENTS) {
            self.wait_for_node(name, "True")?;
        }
        Ok(())
    }

    /// Objects of a collection.
    pub(super) fn list(&self, path: &str) -> Result<Vec<Value>> {
        Ok(items(&self.api.connect()?.get(path)?).to_vec())
    }

    /// Adds the ends of all consoles to a failure.
    pub(super) fn explained<T>(&self, result: Result<T>) -> Result<T> {
        // The reason stays the root cause, which is what the table has room for.
        result.with_context(|| self.cluster.report())
    }
}

/// Path of nodes.
const NODES: &str = "/api/v1/nodes";

/// `true` if an event shows that this node is Ready.
pub(super) fn is_ready(event: &Value, node: &str) -> bool {
    let object = event.get("object").unwrap_or(&Value::Null);
    text(object, "/metadata/name") == node && condition(object, "Ready") == "True"
}

/// Row 19.
pub(super) fn image_size() -> Result<String> {
    let path = image::card_image(image::sources()?)?;
    let len = fs::metadata(&path)?.len();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(format!("{} (`{name}`, one for all 64-bit boards)", bytes(float(len))))
}
