//! Does what probes and hooks ask for, once: a program in the container, a page, a connection.
//!
//! Decides nothing: when a probe is due and what its outcome means is the core's. Each is a task, not
//! a thread; each has a time in which it must be done.

mod connect;
mod grpc;
mod http;

use std::net::Ipv4Addr;
use std::time::Duration;

use bramble_agent_core::probe::Outcome;
use bramble_runtime::protocol::{ExecContainer, ExecOutcome};
use bramble_shared::link::{Handler, Probe};

use crate::runtime_link::{CallError, RuntimeLink};

/// Most bytes of a program's or server's words that are told; the kubelet's bound.
const WORDS_LEN_MAX: u32 = 10 * 1024;

/// A container to probe.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Way to the runtime process.
    pub(crate) runtime: RuntimeLink,
    /// Id in the runtime.
    pub(crate) id: String,
    /// Address of the pod.
    pub(crate) ip: Ipv4Addr,
}

impl Target {
    /// Makes one probe.
    pub(crate) async fn probe(&self, probe: &Probe) -> Outcome {
        let timeout = Duration::from_secs(u64::from(probe.timeout_s));
        match &probe.handler {
            Handler::Exec { command } => {
                exec_outcome(command, timeout, self.exec(command, timeout).await)
            }
            Handler::Http { host, port, path, https, headers } => {
                let page =
                    http::Page { host: self.host(host), port: *port, path, https: *https, headers };
                page.probe(timeout).await
            }
            Handler::Tcp { host, port } => {
                match connect::tcp(&self.host(host), *port, timeout).await {
                    Ok(_open) => Outcome::Success,
                    Err(message) => Outcome::Failure { message },
                }
            }
            Handler::Grpc { port, service } => grpc::probe(self.ip, *port, service, timeout).await,
            Handler::Sleep { .. } => {
                Outcome::Unknown { message: "a probe cannot sleep".to_owned() }
            }
        }
    }

    /// Runs a hook; it has no time limit of its own.
    ///
    /// # Errors
    ///
    /// In words, if it did not do what it should.
    pub(crate) async fn hook(&self, handler: &Handler) -> Result<(), String> {
        match handler {
            Handler::Exec { command } => match self.exec(command, Duration::ZERO).await {
                Ok(ExecOutcome { exit_code: 0, .. }) => Ok(()),
                Ok(outcome) => Err(format!(
                    "command '{}' exited with {}: {}",
                    command.join(" "),
                    outcome.exit_code,
                    words(&outcome)
                )),
                Err(error) => Err(error.to_string()),
            },
            Handler::Http { host, port, path, https, headers } => {
                let page =
                    http::Page { host: self.host(host), port: *port, path, https: *https, headers };
                page.hook().await
            }
            Handler::Sleep { seconds } => {
                tokio::time::sleep(Duration::from_secs(u64::from(*seconds))).await;
                Ok(())
            }
            // As upstream, which takes it for the sake of old objects only.
            Handler::Tcp { .. } => Err("a hook cannot open a connection".to_owned()),
            Handler::Grpc { .. } => Err("a hook cannot ask by gRPC".to_owned()),
        }
    }

    fn host(&self, named: &str) -> String {
        if named.is_empty() { self.ip.to_string() } else { named.to_owned() }
    }

    /// Runs a program in the container; without a timeout it may take as long as it wants.
    async fn exec(&self, command: &[String], timeout: Duration) -> Result<ExecOutcome, CallError> {
        let exec = ExecContainer {
            id: self.id.clone(),
            args: command.to_vec(),
            env: Vec::new(),
            cwd: None,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            output_len_max: WORDS_LEN_MAX,
        };
        self.runtime.exec(exec).await
    }
}

fn exec_outcome(
    command: &[String],
    timeout: Duration,
    outcome: Result<ExecOutcome, CallError>,
) -> Outcome {
    match outcome {
        Ok(ExecOutcome { timed_out: true, .. }) => {
            let (command, seconds) = (command.join(" "), timeout.as_secs());
            let message = format!("command timed out: {command:?} timed out after {seconds}s");
            Outcome::Failure { message }
        }
        Ok(ExecOutcome { exit_code: 0, .. }) => Outcome::Success,
        Ok(outcome) => Outcome::Failure { message: words(&outcome) },
        Err(error) => Outcome::Unknown { message: error.to_string() },
    }
}

/// What a program has written, as text of bounded length.
fn words(outcome: &ExecOutcome) -> String {
    let mut all = outcome.stdout.clone();
    all.extend(&outcome.stderr);
    text(&all)
}

/// Bytes as text of bounded length.
fn text(bytes: &[u8]) -> String {
    let len_max = usize::try_from(WORDS_LEN_MAX).unwrap_or(usize::MAX);
    let start = bytes.get(..len_max).unwrap_or(bytes);
    String::from_utf8_lossy(start).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_and_time_decide_about_a_program() {
        let check = |exit_code, timed_out, expected| {
            let (stdout, stderr) = (b"out ".to_vec(), b"err".to_vec());
            let outcome = ExecOutcome { exit_code, timed_out, stdout, stderr };
            let command = ["sleep".to_owned(), "9".to_owned()];
            assert_eq!(exec_outcome(&command, Duration::from_secs(2), Ok(outcome)), expected);
        };
        check(0, false, Outcome::Success);
        check(3, false, Outcome::Failure { message: "out err".to_owned() });
        let message = "command timed out: \"sleep 9\" timed out after 2s".to_owned();
        check(137, true, Outcome::Failure { message });
        let lost = exec_outcome(&[], Duration::ZERO, Err(CallError::Lost));
        assert!(matches!(lost, Outcome::Unknown { .. }));
    }
}
