//! One emulated board: a card, a serial console, a cable, and power.
//!
//! QEMU ends whenever the guest resets; a thread of the board then plays the firmware again and
//! starts QEMU anew on the same card, as a real board would start.
//!
//! ```text
//!           power_on                  reset by the system or the watchdog
//!  dark ---------------> running ----------------------------------------+
//!   ^                     |   |  ^                                       |
//!   |      cut_power      |   |  +------- firmware reads the card -------+
//!   +---------------------+   |
//!   +-------------------------+  power off, or the card starts nothing
//! ```

use std::fs::{self, File};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::cgroup::Cgroup;
use crate::qemu::PROGRAM;
use crate::qemu::console::Console;
use crate::qemu::control::Control;
use crate::qemu::disk::Disk;
use crate::qemu::firmware::{self, Start};
use crate::qemu::model::Model;
use crate::qemu::nbd::Server;
use crate::seed::Seed;
use crate::wait::{now, pause, wait_until};

/// A board that resets more often than this without being asked is broken, and a test that waits
/// for it would only end by its bound.
const RESETS_MAX: usize = 50;

/// What makes a board.
#[derive(Clone, Debug)]
pub struct BoardSpec {
    /// Its name, in file names and messages.
    pub name: String,
    /// What QEMU plays.
    pub model: Model,
    /// Processors of [`Model::Virt`].
    pub processors: u8,
    /// Address of its network card, as QEMU is told.
    pub mac: String,
    /// Interface of this machine at the other end of its cable.
    pub port: String,
    /// Name of the cgroup of its emulator.
    pub cgroup: String,
    /// Where sockets, logs and extracted files go.
    pub folder: PathBuf,
    /// Its flashed card.
    pub card: PathBuf,
}

/// Something that happened to a board's power.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PowerEvent {
    /// The firmware started a system.
    Started {
        /// Slot that it comes from.
        slot: String,
        /// It is the one trial of an upgrade.
        trial: bool,
    },
    /// The system asked for a reset, or the watchdog did.
    Reset {
        /// It was the watchdog.
        watchdog: bool,
    },
    /// It switched itself off.
    Off,
    /// QEMU ended for another reason, or the card starts nothing.
    Failed {
        /// What is known.
        reason: String,
    },
}

/// An emulated board. Loses its power when dropped.
#[derive(Debug)]
pub struct EmulatedBoard {
    spec: BoardSpec,
    disk: Disk,
    server: Arc<Server>,
    console: Console,
    cgroup: Arc<Cgroup>,
    shared: Arc<Shared>,
    supervisor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    control: Control,
    cut: AtomicBool,
    pulled: AtomicBool,
    events: Mutex<Vec<(Instant, PowerEvent)>>,
}

impl Shared {
    fn events(&self) -> MutexGuard<'_, Vec<(Instant, PowerEvent)>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: PowerEvent) {
        self.events().push((now(), event));
    }
}

impl EmulatedBoard {
    /// Puts a card into a board, without power.
    ///
    /// # Errors
    /// The card cannot be opened, or a socket cannot be made.
    pub fn new(spec: BoardSpec) -> Result<Self> {
        let disk = Disk::open(&spec.card)?;
        if spec.model == Model::Raspi3b {
            ensure!(
                disk.len().is_power_of_two(),
                "the SD card of `{}` has {} bytes; QEMU wants a power of two",
                spec.name,
                disk.len()
            );
        }
        let file = |extension: &str| spec.folder.join(format!("{}.{extension}", spec.name));
        let server = Arc::new(Server::start(disk.clone(), &file("nbd"))?);
        let console = Console::listen(&file("console"), &file("console.log"))?;
        let cgroup = Arc::new(Cgroup::create(&spec.cgroup)?);
        Ok(Self {
            spec,
            disk,
            server,
            console,
            cgroup,
            shared: Arc::new(Shared::default()),
            supervisor: None,
        })
    }

    /// Switches it on and returns when.
    ///
    /// # Errors
    /// It has power already, or a socket cannot be made.
    pub fn power_on(&mut self) -> Result<Instant> {
        ensure!(self.supervisor.is_none(), "board `{}` has power", self.spec.name);
        self.disk.power_on();
        self.shared.cut.store(false, Ordering::SeqCst);
        let supervisor = Supervisor {
            spec: self.spec.clone(),
            disk: self.disk.clone(),
            server: Arc::clone(&self.server),
            cgroup: Arc::clone(&self.cgroup),
            shared: Arc::clone(&self.shared),
        };
        let start = now();
        self.supervisor = Some(thread::spawn(move || supervisor.run()));
        Ok(start)
    }

    /// Cuts its power: the emulator ends at once, and the card loses some of what it had not
    /// flushed. Returns the sectors that were lost and those that might have been.
    ///
    /// # Errors
    /// The emulator cannot be ended, or the card's file cannot be written.
    pub fn cut_power(&mut self, seed: &mut Seed) -> Result<(usize, usize)> {
        self.shared.cut.store(true, Ordering::SeqCst);
        let lost = self.disk.cut(seed)?;
        self.server.disconnect();
        self.end()?;
        Ok(lost)
    }

    /// Ends the emulator, whatever it does.
    fn end(&mut self) -> Result<()> {
        let Some(supervisor) = self.supervisor.take() else { return Ok(()) };
        self.shared.cut.store(true, Ordering::SeqCst);
        // The supervisor may just be starting one.
        wait_until("the emulator ends", Duration::from_secs(20), || {
            self.cgroup.kill()?;
            Ok((!supervisor.is_finished()).then(|| "it runs".to_owned()))
        })?;
        ensure!(supervisor.join().is_ok(), "the thread of board `{}` panicked", self.spec.name);
        Ok(())
    }

    /// Pulls its cable: neither side has a carrier.
    ///
    /// # Errors
    /// QEMU refuses.
    pub fn pull_cable(&self) -> Result<()> {
        self.shared.pulled.store(true, Ordering::SeqCst);
        self.set_link(false)
    }

    /// Plugs it in again.
    ///
    /// # Errors
    /// QEMU refuses.
    pub fn plug_cable(&self) -> Result<()> {
        self.shared.pulled.store(false, Ordering::SeqCst);
        self.set_link(true)
    }

    fn set_link(&self, up: bool) -> Result<()> {
        self.shared.control.execute("set_link", json!({ "name": "lan", "up": up }))
    }

    /// Holds all its packets back: up to `most` each way, half of it on average.
    ///
    /// # Errors
    /// QEMU refuses.
    pub fn delay_packets(&self, most: Duration) -> Result<()> {
        let interval = u32::try_from(most.as_micros()).context("the delay is too long")?;
        self.shared.control.execute(
            "object-add",
            json!({
                "qom-type": "filter-buffer",
                "id": "delay",
                "netdev": "lan",
                "queue": "all",
                "interval": interval,
            }),
        )
    }

    /// Ends the delay.
    ///
    /// # Errors
    /// There is none.
    pub fn stop_delay(&self) -> Result<()> {
        self.shared.control.execute("object-del", json!({ "id": "delay" }))
    }

    /// Everything that happened to its power, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<(Instant, PowerEvent)> {
        self.shared.events().clone()
    }

    /// Waits until it has been reset after `since`, and returns whether the watchdog did it.
    ///
    /// # Errors
    /// It is not, within `bound`.
    pub fn wait_for_reset(&self, since: Instant, bound: Duration) -> Result<bool> {
        let mut by = None;
        wait_until(&format!("board `{}` is reset", self.spec.name), bound, || {
            let events = self.shared.events();
            let later = events.iter().filter(|(time, _)| *time >= since);
            by = later.clone().find_map(|(_, event)| match event {
                PowerEvent::Reset { watchdog } => Some(*watchdog),
                PowerEvent::Started { .. } | PowerEvent::Off | PowerEvent::Failed { .. } => None,
            });
            Ok(by.is_none().then(|| format!("{:?}", later.collect::<Vec<_>>())))
        })
        .with_context(|| self.report())?;
        by.context("no reset")
    }

    /// Its console.
    #[must_use]
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// Its card.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// What it is.
    #[must_use]
    pub fn spec(&self) -> &BoardSpec {
        &self.spec
    }

    /// What is known when something went wrong.
    #[must_use]
    pub fn report(&self) -> String {
        let events: Vec<String> =
            self.shared.events().iter().map(|(_, event)| format!("{event:?}")).collect();
        let text = self.console.text();
        format!(
            "--- {}: {}; console {}\n{}\n",
            self.spec.name,
            events.join(", "),
            self.console.log().display(),
            crate::qemu::console::last_lines(&text, 30)
        )
    }
}

impl Drop for EmulatedBoard {
    fn drop(&mut self) {
        self.server.disconnect();
        let _ = self.end();
    }
}

/// What the thread of a board needs.
struct Supervisor {
    spec: BoardSpec,
    disk: Disk,
    server: Arc<Server>,
    cgroup: Arc<Cgroup>,
    shared: Arc<Shared>,
}

impl Supervisor {
    fn run(&self) {
        let mut start = Start::PowerOn;
        for _ in 0..RESETS_MAX {
            if self.shared.cut.load(Ordering::SeqCst) {
                return;
            }
            let ended = self.run_once(start);
            if self.shared.cut.load(Ordering::SeqCst) {
                return;
            }
            let event =
                ended.unwrap_or_else(|error| PowerEvent::Failed { reason: format!("{error:#}") });
            let again = matches!(event, PowerEvent::Reset { .. });
            self.shared.tell(event);
            if !again {
                return;
            }
            start = Start::Reset;
        }
        let reason = format!("it was reset {RESETS_MAX} times");
        self.shared.tell(PowerEvent::Failed { reason });
    }

    /// From the firmware to the end of the emulator.
    fn run_once(&self, start: Start) -> Result<PowerEvent> {
        let boot = firmware::start(&mut self.disk.reader(), self.spec.model, start)?;
        let started = PowerEvent::Started { slot: boot.slot.to_string(), trial: boot.trial };
        let path = self.file("qmp");
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        let mut child = self.spawn(&boot)?;
        self.shared.tell(started);
        let (mut reset, mut watchdog, mut off) = (false, false, false);
        if let Some(client) = accept(&listener, &mut child)? {
            if self.shared.pulled.load(Ordering::SeqCst) {
                self.pull_at_start(&client);
            }
            self.shared.control.serve(client, |event, data| {
                let reason = data.get("reason").and_then(Value::as_str).unwrap_or_default();
                watchdog |= event == "WATCHDOG";
                reset |= event == "RESET" || (event == "SHUTDOWN" && reason == "guest-reset");
                off |= event == "SHUTDOWN" && reason == "guest-shutdown";
            });
        }
        let status = child.wait()?;
        if off {
            return Ok(PowerEvent::Off);
        }
        if reset {
            return Ok(PowerEvent::Reset { watchdog });
        }
        let log = fs::read_to_string(self.file("qemu.log")).unwrap_or_default();
        bail!("QEMU ended ({status}): {}", log.trim());
    }

    /// A cable that was pulled before a reset stays pulled. Sent before anything else, and its
    /// answer, which has no id, is not looked at.
    fn pull_at_start(&self, client: &UnixStream) {
        use std::io::Write;
        let mut client = client;
        let _ = client.write_all(
            b"{\"execute\":\"qmp_capabilities\"}\n\
              {\"execute\":\"set_link\",\"arguments\":{\"name\":\"lan\",\"up\":false}}\n",
        );
    }

    fn spawn(&self, boot: &firmware::Boot) -> Result<Child> {
        let (kernel, initramfs, tree) =
            (self.file("kernel"), self.file("initramfs"), self.file("dtb"));
        fs::write(&kernel, &boot.kernel)?;
        fs::write(&initramfs, &boot.initramfs)?;
        let model = self.spec.model;
        let mut arguments =
            model.arguments(&self.server.url(), &self.spec.mac, self.spec.processors);
        if let Some(content) = &boot.device_tree {
            fs::write(&tree, content)?;
            arguments.extend(["-dtb".to_owned(), text(&tree)]);
        }
        let common = format!(
            "-display none -action reboot=shutdown,watchdog=reset -nodefaults \
             -netdev tap,id=lan,ifname={},script=no,downscript=no \
             -chardev socket,id=console,path={} -chardev socket,id=control,path={} \
             -mon chardev=control,mode=control",
            self.spec.port,
            text(&self.file("console")),
            text(&self.file("qmp")),
        );
        arguments.extend(common.split_whitespace().map(str::to_owned));
        let [kernel, initramfs] = [kernel, initramfs].map(|path| text(&path));
        arguments.extend(["-kernel".into(), kernel, "-initrd".into(), initramfs]);
        arguments.extend(["-append".into(), boot.command_line.clone()]);
        let log = File::options().create(true).append(true).open(self.file("qemu.log"))?;
        Command::new("sh")
            .arg("-c")
            .arg(format!("{} && exec {PROGRAM} \"$@\"", self.cgroup.join_line()))
            .arg(PROGRAM)
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("could not start {PROGRAM} (package qemu-system-arm)"))
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.spec.folder.join(format!("{}.{extension}", self.spec.name))
    }
}

/// The emulator's control connection; none if it ended before.
fn accept(listener: &UnixListener, child: &mut Child) -> Result<Option<UnixStream>> {
    loop {
        match listener.accept() {
            Ok((client, _)) => {
                client.set_nonblocking(false)?;
                return Ok(Some(client));
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if child.try_wait()?.is_some() {
            return Ok(None);
        }
        pause(Duration::from_millis(10));
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
