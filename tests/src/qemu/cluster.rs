//! A whole bramble of emulated boards, flashed from one image: the words of the stories.
//!
//! ```text
//!  10.77.N.254  this machine: DHCP, names, image registry, kubectl, bramble flash
//!  10.77.N.1    pi-1, the master      10.77.N.2 ...  the others, in the order given
//! ```

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cgroup::Cgroup;
use crate::image::write_hello;
use crate::kubectl::Kubectl;
use crate::lan::Lan;
use crate::programs::{binary_folder, installed, output, run, text_of};
use crate::qemu::console::Answer;
use crate::qemu::machine::{BoardSpec, EmulatedBoard};
use crate::qemu::model::Model;
use crate::qemu::network::{Network, Place, REGISTRY_NAME};
use crate::registry::Registry;
use crate::seed::Seed;
use crate::wait::wait_until;

/// Port of the image registry, on this machine's address in the LAN.
const REGISTRY_PORT: u16 = 80;
/// Size of every card: a power of two, as the emulated SD card has to have; sparse.
const CARD_SIZE: &str = "1G";
/// Name of the master's board.
pub const MASTER: &str = "pi-1";

/// A cluster of emulated boards. Everything that it made is gone once it is dropped.
#[derive(Debug)]
pub struct QemuCluster {
    // Boards before the LAN: processes end before their network does.
    boards: Vec<EmulatedBoard>,
    network: Network,
    registry: Registry,
    lan: Lan,
    folder: PathBuf,
    number: u8,
}

impl QemuCluster {
    /// Flashes a card for each board and puts it in; no board has power yet. The first board is
    /// the master, the boards are `pi-1`, `pi-2` and so on. `number` tells clusters on one
    /// machine apart (it is the third byte of their addresses).
    ///
    /// # Errors
    /// Something that it takes is missing, or flashing fails.
    pub fn flash(number: u8, image: &Path, models: &[Model]) -> Result<Self> {
        let folder = folder(number);
        remove_left_overs(number, &folder);
        fs::create_dir_all(&folder)?;
        let lan = Lan::create(number)?;
        let places = (1_u8..)
            .zip(models)
            .map(|(index, _)| Place {
                name: format!("pi-{index}"),
                address: Ipv4Addr::new(10, 77, number, index),
                number: index,
            })
            .collect::<Vec<_>>();
        let network = Network::start(&lan, number, &places, &folder)?;
        let registry =
            Registry::start(&cgroup_name(number), lan.host_address(), REGISTRY_PORT, &folder)?;
        let mut cluster = Self { boards: Vec::new(), network, registry, lan, folder, number };
        for (place, model) in places.iter().zip(models) {
            let card = cluster.flash_card(&place.name, image)?;
            let spec = BoardSpec {
                name: place.name.clone(),
                model: *model,
                // Two cores of this machine serve all boards.
                processors: 1,
                mac: place.mac(number),
                port: cluster.lan.connect_emulated(&place.name)?,
                cgroup: format!("{}-{}", cgroup_name(number), place.name),
                folder: cluster.folder.clone(),
                card,
            };
            cluster.boards.push(EmulatedBoard::new(spec)?);
        }
        Ok(cluster)
    }

    /// Flashes the first card of a board, and returns its file.
    fn flash_card(&self, name: &str, image: &Path) -> Result<PathBuf> {
        let card = self.folder.join(format!("{name}.card"));
        let role = if name == MASTER { "master" } else { "agent" };
        self.run_flash(&["--node", name, "--role", role], image, &card)?;
        Ok(card)
    }

    /// Flashes a new card for a board without power, as if the old one were lost, and puts it in.
    ///
    /// # Errors
    /// There is no such board, or flashing fails.
    pub fn replace_card(&self, name: &str, image: &Path) -> Result<()> {
        let board = self.board(name)?;
        let card = self.folder.join(format!("{name}.card-new"));
        self.run_flash(&["--replace", name], image, &card)?;
        fs::rename(&card, &board.spec().card)?;
        board.disk().exchange(&board.spec().card)
    }

    /// Flashes a card with the real command. A key that may log in is on it if this machine can
    /// make one.
    fn run_flash(&self, who: &[&str], image: &Path, card: &Path) -> Result<()> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let [image, output, config, kubeconfig] =
            [image, card, &self.folder.join("config"), &self.kubeconfig_folder()].map(text);
        let public_key = text(&self.ssh_key().with_extension("pub"));
        let mut args = vec!["flash"];
        args.extend(who);
        if installed("ssh-keygen") {
            if !Path::new(&public_key).exists() {
                let key = text(&self.ssh_key());
                run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &key])?;
            }
            args.extend(["--ssh-key", &public_key]);
        }
        args.extend([
            "--image",
            &image,
            "--output",
            &output,
            "--card-size",
            CARD_SIZE,
            "--config-dir",
            &config,
            "--kubeconfig-dir",
            &kubeconfig,
            "--plain-http-registry",
            REGISTRY_NAME,
            "--yes",
        ]);
        self.bramble_here(&args).map(drop)
    }

    fn ssh_key(&self) -> PathBuf {
        self.folder.join("ssh-key")
    }

    /// Runs a command on a board, logged in with the key on its card.
    ///
    /// # Errors
    /// The login or the command fails.
    pub fn ssh(&self, name: &str, command: &str) -> Result<String> {
        let key = self.ssh_key().to_string_lossy().into_owned();
        let target = format!("root@{}", self.address(name)?);
        // The board made its host key just now: nobody knows it.
        let no_check = "StrictHostKeyChecking=no";
        let hosts = format!("UserKnownHostsFile={key}.hosts");
        let options = ["-i", &key, "-o", no_check, "-o", &hosts, "-o", "BatchMode=yes"];
        run("ssh", &[&options[..], &["-o", "ConnectTimeout=20", &target, command]].concat())
    }

    /// Runs `bramble` on this machine.
    ///
    /// # Errors
    /// It fails.
    pub fn bramble_here(&self, args: &[&str]) -> Result<String> {
        let program = binary_folder()?.join("bramble");
        let mut command = Command::new(program);
        let output = output(command.args(args))?;
        text_of("bramble", args, &output)
    }

    /// Switches all boards on.
    ///
    /// # Errors
    /// One has power already.
    pub fn power_on(&mut self) -> Result<()> {
        for board in &mut self.boards {
            board.power_on()?;
        }
        Ok(())
    }

    /// Waits until this many nodes are Ready, as `bramble get nodes` on the master's console
    /// tells, and returns how long it took.
    ///
    /// # Errors
    /// They are not, within `bound`; the error has the consoles' ends.
    pub fn wait_until_ready(&self, count: usize, bound: Duration) -> Result<Duration> {
        let master = self.board(MASTER)?;
        let shell = master.console().wait_for_shell(bound).with_context(|| self.report())?;
        let rest = self.wait_until(&format!("{count} nodes Ready"), bound, || {
            let answer = self.bramble("get nodes --no-headers")?;
            let ready = ready_nodes(&answer.text);
            Ok((ready != count).then(|| format!("{ready} of {count} Ready: {}", answer.text)))
        })?;
        Ok(shell + rest)
    }

    /// Types `bramble ...` on the master's console.
    ///
    /// # Errors
    /// There is no shell, or the command does not end.
    pub fn bramble(&self, words: &str) -> Result<Answer> {
        let console = self.board(MASTER)?.console();
        console.run(&format!("bramble {words}"), Duration::from_secs(30))
    }

    /// As [`wait_until`], with the ends of all consoles in the error.
    ///
    /// # Errors
    /// The state is not reached within `bound`.
    pub fn wait_until(
        &self,
        what: &str,
        bound: Duration,
        state: impl FnMut() -> Result<Option<String>>,
    ) -> Result<Duration> {
        wait_until(what, bound, state).with_context(|| self.report())
    }

    /// kubectl on this machine, with the administrator's kubeconfig of the flasher. The name in
    /// it is found by multicast DNS, which this machine may lack: the address is put in its place.
    ///
    /// # Errors
    /// There is no kubectl, or no kubeconfig.
    pub fn kubectl(&self) -> Result<Kubectl> {
        Kubectl::find(&self.kubeconfig()?)
    }

    /// The administrator's kubeconfig, with an address instead of a name.
    ///
    /// # Errors
    /// The flasher wrote none.
    pub fn kubeconfig(&self) -> Result<PathBuf> {
        let path = self.folder.join("kubeconfig");
        if !path.exists() {
            let text = fs::read_to_string(self.written_kubeconfig()?)?;
            let address = self.address(MASTER)?.to_string();
            let replaced = text.replace(&format!("{MASTER}.local"), &address);
            fs::write(&path, replaced)?;
        }
        Ok(path)
    }

    /// The kubeconfig that the flasher wrote.
    fn written_kubeconfig(&self) -> Result<PathBuf> {
        let found =
            fs::read_dir(self.kubeconfig_folder())?.flatten().map(|entry| entry.path()).find(
                |path| fs::read_to_string(path).is_ok_and(|text| text.contains("current-context")),
            );
        found.context("the flasher wrote no kubeconfig")
    }

    fn kubeconfig_folder(&self) -> PathBuf {
        self.folder.join("kubeconfigs")
    }

    /// Address of a board.
    ///
    /// # Errors
    /// There is no such board.
    pub fn address(&self, name: &str) -> Result<Ipv4Addr> {
        let index = self.index(name)?;
        Ok(Ipv4Addr::new(10, 77, self.number, u8::try_from(index + 1)?))
    }

    /// A board.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn board(&self, name: &str) -> Result<&EmulatedBoard> {
        self.boards.get(self.index(name)?).context("no such board")
    }

    /// A board.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn board_mut(&mut self, name: &str) -> Result<&mut EmulatedBoard> {
        let index = self.index(name)?;
        self.boards.get_mut(index).context("no such board")
    }

    fn index(&self, name: &str) -> Result<usize> {
        let found = self.boards.iter().position(|board| board.spec().name == name);
        found.with_context(|| format!("there is no board `{name}`"))
    }

    /// All boards, the master first.
    #[must_use]
    pub fn boards(&self) -> &[EmulatedBoard] {
        &self.boards
    }

    /// Loses this part of a board's packets, each way.
    ///
    /// # Errors
    /// There is no such board, or the kernel refuses.
    pub fn lose_packets(&mut self, name: &str, permille: u32) -> Result<()> {
        let port = self.board(name)?.spec().port.clone();
        self.network.lose_packets(&port, permille)
    }

    /// Pushes an image that has this program of the boards, a busybox, to the image registry.
    /// `name` is as [`Registry::push`] takes it.
    ///
    /// # Errors
    /// The program cannot be read, or the registry does not take the image.
    pub fn push_hello(&self, program: &Path, name: &str) -> Result<()> {
        let layout = self.folder.join("layout");
        let _ = fs::remove_dir_all(&layout);
        write_hello(&layout, program, "arm64")?;
        self.registry.push(&layout, name)
    }

    /// The image registry.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// The switch.
    #[must_use]
    pub fn lan(&self) -> &Lan {
        &self.lan
    }

    /// Where logs, sockets and cards are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is known when something went wrong: the ends of all consoles.
    #[must_use]
    pub fn report(&self) -> String {
        self.boards.iter().map(EmulatedBoard::report).collect()
    }

    /// Cuts the power of all boards and checks that nothing of them runs on.
    ///
    /// # Errors
    /// Something does.
    pub fn stop_and_check(mut self) -> Result<()> {
        for board in &mut self.boards {
            board.cut_power(&mut Seed::new(0))?;
        }
        let text = run("ps", &["-eo", "args"]).unwrap_or_default();
        let folder = self.folder.to_string_lossy().into_owned();
        let left = text.lines().filter(|line| line.contains("qemu") && line.contains(&folder));
        ensure!(left.count() == 0, "an emulator runs on");
        Ok(())
    }
}

impl Drop for QemuCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for board in &self.boards {
                println!("{}", board.report());
            }
            println!("consoles and cards are kept in {}", self.folder.display());
            self.boards.clear();
        } else {
            self.boards.clear();
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Lines of `get nodes` whose second word is `Ready`.
fn ready_nodes(table: &str) -> usize {
    table.lines().filter(|line| line.split_whitespace().nth(1) == Some("Ready")).count()
}

fn folder(number: u8) -> PathBuf {
    std::env::temp_dir().join(format!("bramble-boards-{number}"))
}

fn cgroup_name(number: u8) -> String {
    format!("bramble{number}")
}

/// Ends what a crashed predecessor of the same number has left; the LAN removes its own.
fn remove_left_overs(number: u8, folder: &Path) {
    // Without cgroups the start of a board fails with a reason of its own.
    let _ = Cgroup::remove_all(&format!("{}-", cgroup_name(number)));
    crate::qemu::network::remove_left_overs(number);
    let _ = fs::remove_dir_all(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_counted_by_their_status() {
        let table = "pi-1  Ready     master  1m\npi-2  NotReady  <none>  1m\nnonsense\n";
        assert_eq!(ready_nodes(table), 1);
        assert_eq!(ready_nodes(""), 0);
    }
}
