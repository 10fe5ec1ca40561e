//! The fence: stops this node's singletons when its lease is over, whatever the agent does.
//!
//! A small process of its own with locked memory and no disk; it outlives agent restarts. It
//! knows cgroups and time, but neither pods nor the network. What it decides is in [`lease`].
//!
//! Without a watchdog device the node is `fence=soft`: a kernel that hangs is not reset.

pub mod client;
pub mod lease;
pub mod wire;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use bramble_process::urgency::{self, Urgent};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use self::lease::{Action, Lease};
use self::wire::{FenceRequest, FenceResponse, FenceStatus};
use crate::cgroup::Cgroups;
use crate::clock::raw_us;
use crate::process::die_with_parent;
use crate::protocol::{FrameDecoder, encode};
use crate::run_dir::RunDir;
use crate::sys::watchdog;

/// Configuration of the fence.
#[derive(Clone, Debug)]
pub struct FenceConfig {
    /// The run directory.
    pub run_dir: RunDir,
    /// The cgroup that holds all singletons, such as `/bramble/singletons`.
    pub singletons_cgroup: String,
    /// Watchdog device and its time in whole seconds; without one the fence is soft.
    pub watchdog: Option<(PathBuf, u8)>,
}

/// Why the fence ended.
#[derive(Debug, thiserror::Error)]
pub enum RunFenceError {
    /// Something that it cannot work without failed.
    #[error("could not {what}")]
    Io {
        what: &'static str,
        #[source]
        source: io::Error,
    },
}

/// Runs the fence until SIGTERM.
///
/// # Errors
/// When its socket or the cgroups are not to be had.
pub fn run_fence(config: &FenceConfig) -> Result<(), RunFenceError> {
    let failed = |what| move |source| RunFenceError::Io { what, source };
    let mut fence = Fence::open(config).map_err(failed("start the fence"))?;
    while !fence.stopping {
        fence.turn().map_err(failed("wait for requests"))?;
    }
    fence.close();
    Ok(())
}

struct Fence {
    singletons_cgroup: String,
    cgroups: Cgroups,
    lease: Lease,
    lease_file: File,
    listener: UnixListener,
    signals: SignalFd,
    connections: BTreeMap<u64, (UnixStream, FrameDecoder)>,
    next_connection: u64,
    watchdog: Option<File>,
    stopping: bool,
}

impl Fence {
    fn open(config: &FenceConfig) -> io::Result<Self> {
        let _named = nix::sys::prctl::set_name(c"bramble-fence");
        die_with_parent()?;
        config.run_dir.create()?;
        let cgroups = Cgroups::detect()?;
        let path = config.run_dir.fence_lease();
        let valid_until_us = fs::read(&path)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_le_bytes);
        let lease_file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGTERM);
        mask.add(Signal::SIGINT);
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let socket = config.run_dir.fence_socket();
        match fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&socket)?;
        listener.set_nonblocking(true)?;
        // Singletons can still be stopped without it, if only by a kernel that works.
        let watchdog = config.watchdog.as_ref().and_then(|(path, seconds)| {
            watchdog::open(path, *seconds)
                .inspect_err(|error| {
                    tracing::warn!(%error, "no watchdog at `{}`: fence is soft", path.display());
                })
                .ok()
        });
        // Memory that must be read back from a failing card would come too late.
        // Only what is touched: the program itself lies in memory already.
        let touched = MlockAllFlags::MCL_CURRENT
            | MlockAllFlags::MCL_FUTURE
            | MlockAllFlags::from_bits_retain(nix::libc::MCL_ONFAULT);
        if let Err(error) = mlockall(touched) {
            tracing::warn!(%error, "fence memory is not locked");
        }
        urgency::run_before_others(Urgent::Fence);
        Ok(Self {
            singletons_cgroup: config.singletons_cgroup.clone(),
            cgroups,
            lease: Lease::resume(valid_until_us, raw_us()),
            lease_file,
            listener,
            signals,
            connections: BTreeMap::new(),
            next_connection: 0,
            watchdog,
            stopping: false,
        })
    }

    fn turn(&mut self) -> io::Result<()> {
        self.act();
        let now = raw_us();
        let timeout = self.lease.next_deadline_us(now, self.watchdog.is_some()).map_or(
            PollTimeout::NONE,
            |at| {
                let ms = at.saturating_sub(now).div_ceil(1000);
                PollTimeout::from(u16::try_from(ms).unwrap_or(u16::MAX))
            },
        );
        let numbers: Vec<u64> = self.connections.keys().copied().collect();
        let (accept, signalled, ready) = {
            let mut fds: Vec<PollFd<'_>> = vec![self.listener.as_fd(), self.signals.as_fd()]
                .into_iter()
                .chain(self.connections.values().map(|(stream, _)| stream.as_fd()))
                .map(|fd: BorrowedFd<'_>| PollFd::new(fd, PollFlags::POLLIN))
                .collect();
            match poll(&mut fds, timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(false));
            let (accept, signalled) =
                (ready.next().unwrap_or(false), ready.next().unwrap_or(false));
            (accept, signalled, ready.collect::<Vec<bool>>())
        };
        if signalled && matches!(self.signals.read_signal(), Ok(Some(_))) {
            self.stopping = true;
        }
        if accept && let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            self.next_connection += 1;
            self.connections.insert(self.next_connection, (stream, FrameDecoder::default()));
        }
        for (number, ready) in numbers.into_iter().zip(ready) {
            if ready && self.serve(number).is_err() {
                self.connections.remove(&number);
            }
        }
        Ok(())
    }

    /// Does what the lease demands now.
    fn act(&mut self) {
        let populated = self.lease.needs_count(raw_us())
            && !self.cgroups.processes(&self.singletons_cgroup).is_empty();
        for action in self.lease.on_time(raw_us(), populated) {
            match action {
                Action::Freeze => {
                    tracing::warn!("lease lost, singletons are stopped");
                    let _none = self.cgroups.freeze(&self.singletons_cgroup, true);
                }
                Action::Kill => {
                    self.cgroups.kill_all(&self.singletons_cgroup);
                    self.cgroups.thaw(&self.singletons_cgroup);
                }
                Action::Pet => {
                    if let Some(watchdog) = &mut self.watchdog {
                        let _missed = watchdog.write_all(b"\0");
                    }
                }
            }
        }
    }

    fn serve(&mut self, number: u64) -> io::Result<()> {
        let Some((stream, decoder)) = self.connections.get_mut(&number) else { return Ok(()) };
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => decoder.push(chunk.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        while let Some((stream, decoder)) = self.connections.get_mut(&number) {
            let Some(request) = decoder.next().map_err(io::Error::other)? else { break };
            let response = answer(
                &mut self.lease,
                &self.lease_file,
                &self.singletons_cgroup,
                self.watchdog.is_some(),
                request,
            );
            stream.write_all(&encode(&response).map_err(io::Error::other)?)?;
        }
        Ok(())
    }

    /// Ends in order: a fence that is told to stop does not reset the board.
    fn close(self) {
        if let Some(watchdog) = &self.watchdog {
            watchdog::disarm(watchdog);
        }
    }
}

fn answer(
    lease: &mut Lease,
    lease_file: &File,
    singletons_cgroup: &str,
    hard: bool,
    request: FenceRequest,
) -> FenceResponse {
    let now = raw_us();
    match request {
        FenceRequest::Renew { valid_until_us } => {
            let renewed = lease.renew(valid_until_us, now);
            if renewed {
                // For a successor on the same boot; the run directory is RAM.
                let _lost = lease_file.write_all_at(&valid_until_us.to_le_bytes(), 0);
            }
            FenceResponse::Renewed { accepted: renewed }
        }
        FenceRequest::Grant { cgroup_path } => {
            let beneath = cgroup_path
                .strip_prefix(singletons_cgroup)
                .is_some_and(|rest| rest.starts_with('/') && !rest.contains(".."));
            FenceResponse::Grant { granted: beneath && lease.grant(&cgroup_path, now) }
        }
        FenceRequest::Release { cgroup_path } => {
            lease.release(&cgroup_path);
            FenceResponse::Released
        }
        FenceRequest::Status => FenceResponse::Status(FenceStatus {
            valid_until_us: lease.valid_until_us(),
            valid: lease.valid(now),
            grants: lease.grants().map(str::to_owned).collect(),
            stopping: lease.stopping(),
            hard,
        }),
    }
}
