//! The board's run: keeps everything going until somebody wants it to end.
//!
//! One thread turns the supervisor and looks around between the turns. Nothing here reads or
//! writes the card but what an upgrade needs, so a slow card does not keep processes unattended.

use std::fs;
use std::path::Path;

use bramble_card::settings::Role;
use bramble_card::upgrade;
use bramble_runtime::clock::monotonic_ms;
use bramble_runtime::error_chain::Chain;
use bramble_runtime::restart::BoardRestart;
use bramble_runtime::run_dir::RunDir;
use bramble_runtime::supervisor::{StopReason, SuperviseError, Supervisor, SupervisorConfig};
use bramble_runtime::whole_file;

use crate::child_log::ChildLogs;
use crate::messages::say;
use crate::network::{Changed, NetworkTask};
use crate::paths::{
    AGENT_CONFIG, AGENT_RUN, BOOT_REPORT, DATA, LOGS, PODS_CGROUP, READY, REBOOT_REQUEST,
    SERVER_CONFIG, WATCHDOG,
};
use crate::second_stage::{Board, upgrade_record};
use crate::step::StepError;
use crate::trial::{Action, Trial};
use crate::{boot_report, children, console, emergency, program_config, shutdown, slot_switch};

/// Longest wait between two looks in milliseconds, while the board comes up and afterwards.
const LOOK_MS: u64 = 100;
const CALM_LOOK_MS: u64 = 1_000;

/// The board has come up, or does not, after this time since power-on in milliseconds.
const COMING_UP_MS: u64 = 60_000;

/// Runs the board. Does not return.
pub(crate) fn run(board: Board) -> ! {
    let trying = board.normal.is_some_and(|normal| normal != board.slot);
    match Running::start(board).and_then(Running::run) {
        Ok(how) => shutdown::end(how),
        Err(error) => {
            let why = Chain(&error).to_string();
            emergency::stay(&why, "start it again with `reboot`", trying)
        }
    }
}

struct Running {
    board: Board,
    supervisor: Supervisor,
    network: NetworkTask,
    logs: ChildLogs,
    trial: Trial,
    ready: bool,
    /// Children were started with an address that the board has had.
    had_address: bool,
    /// A decision of this process to start the board again.
    reboot: bool,
}

impl Running {
    fn start(board: Board) -> Result<Self, SuperviseError> {
        let (trial, actions) = Trial::at_boot(board.slot, board.normal, upgrade_record());
        let supervisor = Supervisor::open(&SupervisorConfig {
            run_dir: RunDir::new(AGENT_RUN),
            stop_pods: true,
            cgroup_root: PODS_CGROUP.to_owned(),
            protect_from_oom: true,
            first_process: true,
        })?;
        let network = NetworkTask::start(&board.settings);
        let logs = ChildLogs::new(Path::new(LOGS));
        let mut running = Self {
            board,
            supervisor,
            network,
            logs,
            trial,
            ready: false,
            had_address: false,
            reboot: false,
        };
        running.act(actions);
        running.write_report();
        running.put_children();
        Ok(running)
    }

    fn put_children(&mut self) {
        let settings = &self.board.settings;
        let role = match settings.role {
            Role::Master => "master",
            Role::Agent => "agent",
        };
        let version = &self.board.version;
        let banner = format!(
            "\nbramble {version}\n  node     {}\n  role     {role}\n  slot     {}\n  logs     \
             {LOGS}\n",
            settings.node, self.board.slot
        );
        tell("write the shells' profile", console::write_profile(&banner));
        self.write_agent_config();
        for child in children::node() {
            self.supervisor.put(child);
        }
        // A master's agent needs the board's address to find the server beside it.
        if self.board.settings.role == Role::Agent {
            self.supervisor.put(children::agent());
        }
        for shell in console::shells() {
            self.supervisor.put(shell);
        }
        if !self.board.settings.ssh_keys.is_empty() {
            tell("make the folder of SSH host keys", make_private("/var/lib/dropbear"));
            self.supervisor.put(children::dropbear());
        }
    }

    fn run(mut self) -> Result<BoardRestart, SuperviseError> {
        let reason = loop {
            let now = monotonic_ms();
            let calm = self.ready || now > COMING_UP_MS;
            self.supervisor.turn(Some(if calm { CALM_LOOK_MS } else { LOOK_MS }))?;
            let now = monotonic_ms();
            self.logs.keep(&self.supervisor.take_lines(), now);
            if let Some(reason) = self.supervisor.stopping() {
                break reason;
            }
            self.board.coldplug.look();
            match self.network.on_time(&mut self.supervisor) {
                Some(Changed::Address) => self.address_changed(),
                Some(Changed::TimeServers) => self.time_servers_changed(),
                None => {}
            }
            self.look_for_ready(now);
            let actions = self.trial.on_time(now, self.ready);
            self.act(actions);
            if self.reboot {
                break StopReason::End;
            }
        };
        self.stop(reason)
    }

    fn look_for_ready(&mut self, now_ms: u64) {
        if !self.ready && Path::new(READY).exists() {
            self.ready = true;
            say(&format!("Ready after {}.{} s", now_ms / 1000, now_ms % 1000 / 100));
        }
    }

    fn address_changed(&mut self) {
        let Some(address) = self.network.address() else { return };
        if self.board.settings.role == Role::Master {
            let text = program_config::server(&self.board.settings, address);
            let written = whole_file::replace(Path::new(SERVER_CONFIG), text.as_bytes(), 0o600);
            tell("write the server's configuration", written);
            self.supervisor.restart(children::MASTER_SERVER);
            self.supervisor.put(children::server());
        }
        self.write_agent_config();
        if self.had_address {
            // It found its address when it started; pods do not notice its restart.
            self.supervisor.restart(children::NODE_AGENT);
        }
        self.supervisor.put(children::agent());
        self.had_address = true;
    }

    fn time_servers_changed(&mut self) {
        // Agents follow their master, and what the card says goes before what the LAN says.
        let settings = &self.board.settings;
        if settings.role == Role::Master && settings.ntp.is_none() {
            self.write_agent_config();
            self.supervisor.restart(children::NODE_AGENT);
        }
    }

    fn write_agent_config(&self) {
        let watchdog = self.board.command_line.watchdog && Path::new(WATCHDOG).exists();
        let settings = &self.board.settings;
        let (address, time_servers) = (self.network.address(), self.network.time_servers());
        let text = program_config::agent(settings, address, time_servers, watchdog);
        // The card's token is in it.
        let written = whole_file::replace(Path::new(AGENT_CONFIG), text.as_bytes(), 0o600);
        tell("write the agent's configuration", written);
    }

    fn write_report(&self) {
        let text = boot_report::report(&self.board, &self.trial).text();
        let written = text
            .map_err(std::io::Error::other)
            .and_then(|text| whole_file::replace(Path::new(BOOT_REPORT), text.as_bytes(), 0o644));
        tell("write the report of this boot", written);
    }

    /// Does what was decided, in order; what follows a failed step is not done, since it relies
    /// on it.
    fn act(&mut self, actions: Vec<Action>) {
        let decided = !actions.is_empty();
        for action in actions {
            if let Err(error) = self.act_one(action) {
                say(&Chain(&error).to_string());
                break;
            }
        }
        if decided {
            self.write_report();
        }
    }

    fn act_one(&mut self, action: Action) -> Result<(), StepError> {
        match action {
            Action::Say(text) => say(&text),
            Action::StartAlways(slot) => slot_switch::start_always(slot)?,
            Action::Record(record) => {
                let path = Path::new(DATA).join(upgrade::FILE);
                whole_file::replace_durably(&path, record.text().as_bytes(), 0o644)
                    .map_err(StepError::of("keep the record of the upgrade"))?;
            }
            // Only asked for when the board stops anyway.
            Action::Reboot | Action::RebootToTry => self.reboot = true,
        }
        Ok(())
    }

    fn stop(mut self, reason: StopReason) -> Result<BoardRestart, SuperviseError> {
        say(match reason {
            StopReason::End => "stopping",
            StopReason::PowerOff => "stopping, to switch off",
        });
        let how = match reason {
            StopReason::PowerOff => BoardRestart::PowerOff,
            StopReason::End if self.reboot => BoardRestart::Reboot,
            StopReason::End => self.restart_as_asked(),
        };
        self.supervisor.stop()?;
        Ok(how)
    }

    /// The agent may want the board to come back with what it has written into the other slot.
    fn restart_as_asked(&mut self) -> BoardRestart {
        let request = fs::read_to_string(REBOOT_REQUEST).unwrap_or_default();
        if request.trim() != "try" {
            return BoardRestart::Reboot;
        }
        for action in self.trial.asked_to_try(upgrade_record()) {
            if action == Action::RebootToTry {
                match slot_switch::try_once(self.board.command_line.emulated_firmware) {
                    Ok(how) => return how,
                    Err(error) => say(&Chain(&error).to_string()),
                }
            } else if let Err(error) = self.act_one(action) {
                say(&Chain(&error).to_string());
                break;
            }
        }
        BoardRestart::Reboot
    }
}

fn make_private(path: &str) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    // Folders above it are everybody's.
    fs::create_dir_all(Path::new(path).parent().unwrap_or_else(|| Path::new("/")))?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn tell(what: &str, outcome: std::io::Result<()>) {
    if let Err(error) = outcome {
        say(&format!("could not {what}: {error}"));
    }
}
