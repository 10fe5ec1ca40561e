//! `make demo`: a real cluster on one machine, and a pulled plug.
//!
//! ```text
//! bramble-demo [--keep]
//! ```
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that tells a story")]

use std::io::{BufRead, BufReader, Write, stdout};
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::{Child, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bramble_tests::cluster::Cluster;
use bramble_tests::kubectl::Kubectl;
use bramble_tests::memory::pss_mb;
use bramble_tests::probe::{Probe, Request, ask};
use bramble_tests::state;
use bramble_tests::wait::{now, pause};
use clap::Parser;

/// Starts a bramble of one master and three agents in network namespaces of this machine, runs a
/// web Service on it, cuts the power of one board, and shows what happens.
#[derive(Debug, Parser)]
struct Flags {
    /// Leave the cluster running, and print its kubeconfig.
    #[arg(long)]
    keep: bool,
    /// Only remove what a kept or crashed demo has left.
    #[arg(long)]
    clean: bool,
}

/// Number of the demo's LAN: `10.77.0.0/24`.
const NUMBER: u8 = 0;
/// Port of the Service in `examples/web.yaml` on every node.
const NODE_PORT: u16 = 30_080;
const BOARDS: [&str; 3] = ["n1", "n2", "n3"];
/// The board whose plug is pulled.
const VICTIM: &str = "n2";

fn main() -> ExitCode {
    let flags = Flags::parse();
    match demo(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(flags: &Flags) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("network namespaces need root: run `sudo make demo`");
    }
    if flags.clean {
        return Cluster::remove(NUMBER);
    }
    let example = Path::new("examples/web.yaml");
    if !example.is_file() {
        bail!("`examples/web.yaml` is not here: run the demo from the project's folder");
    }
    let start = now();
    let mut cluster = Cluster::start(NUMBER)?;
    let address = cluster.master().address;
    let memory = pss_mb(&cluster.master().processes_with("server")?);
    say("master", &format!("m1   {address}   ready in {}   {memory:.0} MB", seconds(start)));

    let start = now();
    for board in BOARDS {
        cluster.add_agent(board)?;
    }
    cluster.wait_until_ready()?;
    say(
        "agents",
        &format!(
            "{}   Ready in {}   {}",
            BOARDS.join(" "),
            seconds(start),
            agent_memory(&cluster)?
        ),
    );

    let kubectl = cluster.kubectl()?;
    let start = now();
    kubectl.run(&["apply", "-f", &example.to_string_lossy()])?;
    cluster.wait_until("3 pods Running", Duration::from_secs(60), || {
        state::pods_ready(&kubectl, "app=web", 3)
    })?;
    let service = SocketAddrV4::new(cluster.agent("n1")?.address, NODE_PORT);
    cluster.wait_until("the Service answers", Duration::from_secs(10), || {
        Ok(ask(service.into()).err().map(|error| format!("{error:#}")))
    })?;
    let pulled = "image registry.local/hello:1 pulled on every node";
    say("apply", &format!("examples/web.yaml   3/3 Running in {}   {pulled}", seconds(start)));
    say("service", &format!("http://{service} answers: {}", ask(service.into())?));
    let from_pod = through_cluster_ip(&cluster, &kubectl)?;
    say("", &format!("http://{from_pod} answers from another node, too"));

    pull_the_plug(&mut cluster, &kubectl, service)?;
    say(
        "memory",
        &format!(
            "master {:.1} MB   agents {}   (PSS)",
            pss_mb(&cluster.master().processes_with("server")?),
            agent_memory(&cluster)?
        ),
    );

    if flags.keep {
        println!("\nstill running, without {VICTIM}.  Look around with");
        println!("  export KUBECONFIG={}", cluster.kubeconfig().display());
        println!("  kubectl get nodes,pods -o wide");
        println!("and end it with: make demo-clean");
        cluster.keep();
        return Ok(());
    }
    cluster.stop_and_check()?;
    println!("all cleaned up.  Keep it next time: make demo KEEP=1");
    Ok(())
}

/// Asks the Service by its cluster address from a node's own network.
fn through_cluster_ip(cluster: &Cluster, kubectl: &Kubectl) -> Result<String> {
    let service = kubectl.json(&["get", "service", "web"])?;
    let address = state::text(&service, "/spec/clusterIP").to_owned();
    cluster.agent("n3")?.ask(&address, 80)?;
    Ok(address)
}

/// Cuts the power of one board under load and tells what happened when.
fn pull_the_plug(cluster: &mut Cluster, kubectl: &Kubectl, service: SocketAddrV4) -> Result<()> {
    let path = "jsonpath={.endpoints[?(@.conditions.ready==true)].nodeName}{\"\\n\"}";
    let slices = Watching::start(
        kubectl,
        &["get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-w", "-o", path],
    )?;
    let columns = "jsonpath={.metadata.name} {.spec.nodeName} {.status.phase} {.status.containerStatuses[0].ready}{\"\\n\"}";
    let pods = Watching::start(kubectl, &["get", "pods", "-l", "app=web", "-w", "-o", columns])?;
    let load = Probe::start(service);
    // Some load before, so that the figures afterwards stand beside something.
    pause(Duration::from_millis(500));
    let already = pods.seen();

    println!("cut the power of {VICTIM} ...");
    let cut = now();
    cluster.agent_mut(VICTIM)?.cut_power()?;
    let (gone, _) = slices
        .wait_for(Duration::from_secs(20), |line| {
            !line.is_empty() && line.split(' ').all(|node| node != VICTIM)
        })
        .context("the endpoint of the dead board was not removed")?;
    let (moved, line) = pods
        .wait_for(Duration::from_secs(30), |line| {
            let fields: Vec<&str> = line.split(' ').collect();
            matches!(fields.as_slice(), [name, node, "Running", "true"]
                if *node != VICTIM && !already.iter().any(|seen| seen.starts_with(name)))
        })
        .context("no replacement became Running")?;
    pause(Duration::from_millis(500));
    let requests = load.stop()?;

    let [name, node, ..] = line.split(' ').collect::<Vec<_>>()[..] else {
        bail!("kubectl printed `{line}`");
    };
    let (failed_after, after) = count_failed(&requests, gone);
    let (failed_between, between) = count_failed_between(&requests, cut, gone);
    println!(
        "  +{} {VICTIM} unreachable, endpoint removed   ({failed_between} of {between} requests failed until then, {failed_after} of {after} after)",
        since(cut, gone)
    );
    println!("  +{} {name} Running on {node}", since(cut, moved));
    Ok(())
}

fn count_failed(requests: &[Request], from: Instant) -> (usize, usize) {
    let after: Vec<&Request> = requests.iter().filter(|request| request.sent >= from).collect();
    (after.iter().filter(|request| request.answer.is_none()).count(), after.len())
}

fn count_failed_between(requests: &[Request], from: Instant, to: Instant) -> (usize, usize) {
    let between: Vec<&Request> =
        requests.iter().filter(|request| request.sent >= from && request.sent < to).collect();
    (between.iter().filter(|request| request.answer.is_none()).count(), between.len())
}

/// Lines of a `kubectl get -w`, each with the time at which it came.
struct Watching {
    child: Child,
    lines: Receiver<(Instant, String)>,
}

impl Watching {
    fn start(kubectl: &Kubectl, args: &[&str]) -> Result<Self> {
        let mut child = kubectl
            .command(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = child.stdout.take().context("kubectl has no output")?;
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send((now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// All lines so far.
    fn seen(&self) -> Vec<String> {
        self.lines.try_iter().map(|(_, line)| line).collect()
    }

    fn wait_for(
        &self,
        bound: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(Instant, String)> {
        let start = now();
        loop {
            let left = bound.saturating_sub(start.elapsed());
            let (time, line) = self.lines.recv_timeout(left).context("not seen in time")?;
            if wanted(&line) {
                return Ok((time, line));
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn agent_memory(cluster: &Cluster) -> Result<String> {
    let mut figures = Vec::new();
    for board in cluster.agents() {
        let pids = board.daemons()?;
        if !pids.is_empty() {
            figures.push(format!("{:.1}", pss_mb(&pids)));
        }
    }
    Ok(format!("{} MB", figures.join(" ")))
}

fn say(what: &str, words: &str) {
    println!("{what:<8}{words}");
    let _ = stdout().flush();
}

fn seconds(start: Instant) -> String {
    format!("{:.1} s", start.elapsed().as_secs_f64())
}

fn since(start: Instant, then: Instant) -> String {
    format!("{:.2} s", then.saturating_duration_since(start).as_secs_f64())
}
