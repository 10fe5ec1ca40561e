//! `make conformance`: upstream's own suite against a cluster of this machine.
//!
//! ```text
//! bramble-conformance --e2e e2e.test [--focus RE] [--skip RE] [--images FOLDER]
//!                     [--ginkgo PROGRAM --processes N]
//! ```
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use bramble_tests::bench::report::{machine, today};
use bramble_tests::cluster::Cluster;
use bramble_tests::conformance::{image_layouts, registries, table, verdicts};
use clap::Parser;

/// Number of the cluster: third byte of its addresses.
const CLUSTER: u8 = 91;
const BOARDS: [&str; 2] = ["n1", "n2"];
/// Host name by which boards know the cluster's registry.
const REGISTRY: &str = "registry.local";

const NO_SUITE: &str = "no suite is given: make conformance E2E=path/to/e2e.test

e2e.test is a program of Kubernetes 1.36. It is part of the release's test binaries
(kubernetes-test-linux-amd64.tar.gz), of the image registry.k8s.io/conformance, and is built
from its source by `make WHAT=test/e2e/e2e.test`. hydrophone and sonobuoy run the same against
any cluster with a kubeconfig, also against one of `make demo KEEP=1`.";

/// Runs upstream's end-to-end tests against a master and two boards in network namespaces. Needs
/// root and binaries (`BRAMBLE_BIN_DIR`). Ends by itself and leaves nothing behind.
#[derive(Debug, Parser)]
struct Flags {
    /// Upstream's `e2e.test`.
    #[arg(long, value_name = "PROGRAM")]
    e2e: Option<PathBuf>,
    /// Which tests: an expression of Go's.
    #[arg(long, default_value = r"\[Conformance\]")]
    focus: String,
    /// Which not.
    #[arg(long, default_value = "")]
    skip: String,
    /// Ginkgo's own program, which runs tests in several processes; tests that upstream calls
    /// serial still run one by one, after all others.
    #[arg(long, value_name = "PROGRAM", requires = "processes")]
    ginkgo: Option<PathBuf>,
    /// How many processes run tests beside each other.
    #[arg(long, value_name = "N", requires = "ginkgo")]
    processes: Option<u8>,
    /// Image layouts (OCI) to serve to the boards, each in `REPOSITORY/NAME/TAG` beneath this.
    /// `e2e.test --list-images` names what the suite takes.
    #[arg(long, value_name = "FOLDER")]
    images: Option<PathBuf>,
    /// Keep the report (JSON of Ginkgo) and the suite's output in this folder.
    #[arg(long, value_name = "FOLDER", default_value = "target/conformance")]
    report: PathBuf,
    /// Remove what a run that was interrupted has left, and end.
    #[arg(long)]
    clean: bool,
}

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether all tests passed.
fn run(flags: &Flags) -> Result<bool> {
    let Some(e2e) = flags.e2e.as_deref().filter(|path| !path.as_os_str().is_empty()) else {
        if flags.clean {
            return Cluster::remove(CLUSTER).map(|()| true);
        }
        bail!("{NO_SUITE}");
    };
    ensure!(e2e.is_file(), "there is no program `{}`", e2e.display());
    if !nix::unistd::geteuid().is_root() {
        bail!("network namespaces need root: run `sudo make conformance`");
    }
    fs::create_dir_all(&flags.report)?;
    let folder = fs::canonicalize(&flags.report)?;

    let mut cluster = Cluster::start(CLUSTER)?;
    for board in BOARDS {
        cluster.add_agent(board)?;
    }
    cluster.wait_until_ready()?;
    let images = flags.images.as_deref().map(image_layouts).transpose()?.unwrap_or_default();
    for (layout, name) in &images {
        cluster.registry().push_layout(layout, name)?;
    }

    let report = suite(&cluster, e2e, flags, &folder)?;
    let verdicts = verdicts(&report)?;
    println!("Machine: {}. {}.\n", machine()?, today()?);
    let text = table(&verdicts);
    println!("{text}");
    fs::write(folder.join("table.md"), text)?;
    println!("the suite's words: {}", folder.join("suite.log").display());
    cluster.stop_and_check()?;
    ensure!(!verdicts.is_empty(), "no test was chosen by `{}`", flags.focus);
    Ok(verdicts.iter().all(|verdict| verdict.passed))
}

/// Runs the suite to its end and returns its report.
fn suite(cluster: &Cluster, e2e: &Path, flags: &Flags, folder: &Path) -> Result<String> {
    let report = folder.join("report.json");
    let _none_yet = fs::remove_file(&report);
    let list = folder.join("registries.yaml");
    fs::write(&list, registries(REGISTRY))?;
    let log = fs::File::create(folder.join("suite.log"))?;
    let mut command;
    // Ginkgo's program takes its own settings before the suite's.
    let prefix = match (&flags.ginkgo, flags.processes) {
        (Some(ginkgo), Some(processes)) => {
            command = Command::new(ginkgo);
            command.arg(format!("--procs={processes}"));
            "--"
        }
        _ => {
            command = Command::new(e2e);
            "--ginkgo."
        }
    };
    command
        .args(["no-color", "timeout=24h"].map(|setting| format!("{prefix}{setting}")))
        .arg(format!("{prefix}focus={}", flags.focus))
        .arg(format!("{prefix}skip={}", flags.skip))
        .arg(format!("{prefix}json-report={}", report.display()));
    if flags.ginkgo.is_some() {
        command.arg(e2e).arg("--");
    }
    let status = command
        .current_dir(folder)
        .env("KUBECONFIG", cluster.kubeconfig())
        .env("KUBE_TEST_REPO_LIST", &list)
        .env("PATH", path_with_kubectl()?)
        .arg(format!("--kubeconfig={}", cluster.kubeconfig().display()))
        .args(["--provider=skeleton", "--disable-log-dump", "--num-nodes=2"])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()
        .with_context(|| format!("could not run `{}`", e2e.display()))?;
    fs::read_to_string(&report).with_context(|| {
        format!("the suite made no report ({status}); see {}", folder.join("suite.log").display())
    })
}

/// The suite looks for kubectl in the path.
fn path_with_kubectl() -> Result<std::ffi::OsString> {
    let kubectl = env::var_os("KUBECTL").map(PathBuf::from);
    let folder = kubectl.as_deref().and_then(Path::parent).map(Path::to_owned);
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(folder.into_iter().chain(env::split_paths(&path)))?)
}
