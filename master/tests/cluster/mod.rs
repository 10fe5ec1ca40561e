//! A master of its own for each test, and kubectl to speak with it.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::print_stderr, reason = "a test that cannot run here says why")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;

/// A master of its own on a free port of the loopback interface.
pub struct Master {
    child: Child,
    folder: TempDir,
}

impl Master {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let child = spawn(folder.path(), "127.0.0.1:0");
        let master = Self { child, folder };
        master.wait();
        master
    }

    /// Kills the process, as a power cut would, and starts it again.
    pub fn crash_and_restart(&mut self) {
        self.child.kill().expect("the master runs");
        self.child.wait().expect("the master was ours");
        fs::remove_file(self.kubeconfig()).expect("there was a kubeconfig");
        self.child = spawn(self.folder.path(), "127.0.0.1:0");
        self.wait();
    }

    pub fn wait(&self) {
        for _ in 0..200 {
            if self.kubeconfig().exists() && self.kubectl(&["get", "--raw", "/readyz"]).is_ok() {
                return;
            }
            sleep(Duration::from_millis(100));
        }
        panic!("the master is not ready: {}", self.log());
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("data/admin.kubeconfig")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Address as the kubeconfig has it.
    pub fn address(&self) -> String {
        let text = fs::read_to_string(self.kubeconfig()).expect("a kubeconfig");
        let (_, rest) = text.split_once("server: https://").expect("a server");
        rest.lines().next().expect("an address").to_owned()
    }

    /// Runs kubectl; gives its output, or its error text.
    pub fn kubectl(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new("kubectl");
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.folder.path())
            .arg("--request-timeout=20s")
            .args(args);
        text(command.output().expect("kubectl starts"))
    }

    #[track_caller]
    pub fn check(&self, command: &str, expected: &str) {
        let args: Vec<&str> = command.split_whitespace().collect();
        match self.kubectl(&args) {
            Ok(output) => assert!(output.contains(expected), "kubectl {command}: {output}"),
            Err(error) => panic!("kubectl {command}: {error}\n{}", self.log()),
        }
    }

    #[track_caller]
    pub fn refuse(&self, command: &str, expected: &str) {
        let args: Vec<&str> = command.split_whitespace().collect();
        let error = self.kubectl(&args).expect_err(command);
        assert!(error.contains(expected), "kubectl {command}: {error}");
    }

    #[track_caller]
    pub fn wait_for_refusal(&self, command: &str, expected: &str) {
        let args: Vec<&str> = command.split_whitespace().collect();
        for _ in 0..100 {
            if self.kubectl(&args).is_err_and(|error| error.contains(expected)) {
                return;
            }
            sleep(Duration::from_millis(100));
        }
        panic!("kubectl {command} was never refused: {:?}", self.kubectl(&args));
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    #[track_caller]
    pub fn wait_for(&self, command: &str, expected: &str) {
        let args: Vec<&str> = command.split_whitespace().collect();
        for _ in 0..100 {
            if self.kubectl(&args).is_ok_and(|output| output.contains(expected)) {
                return;
            }
            sleep(Duration::from_millis(100));
        }
        panic!("kubectl {command} never said {expected}: {:?}", self.kubectl(&args));
    }

    pub fn apply(&self, manifest: &str) -> String {
        let path = self.folder.path().join("manifest.yaml");
        fs::write(&path, manifest).expect("a manifest");
        let path = path.to_str().expect("a path in UTF-8");
        self.kubectl(&["apply", "-f", path]).expect("apply")
    }

    /// Runs a client command of bramble, as kubectl would be run.
    pub fn client(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bramble"));
        command.env("KUBECONFIG", self.kubeconfig()).args(args);
        text(command.output().expect("bramble starts"))
    }

    pub fn bramble(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bramble"));
        command
            .args(args)
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .args(["--listen", &self.address()]);
        text(command.output().expect("bramble starts"))
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn spawn(folder: &Path, listen: &str) -> Child {
    let log =
        fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log file");
    Command::new(env!("CARGO_BIN_EXE_bramble"))
        .args(["server", "--listen", listen, "--data-dir"])
        .arg(folder.join("data"))
        .stderr(log)
        .stdout(Stdio::null())
        .spawn()
        .expect("the master starts")
}

fn text(output: Output) -> Result<String, String> {
    let own = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(own(&output.stdout)) } else { Err(own(&output.stderr)) }
}

/// Tells whether kubectl is here; says so if it is not.
pub fn kubectl_missing() -> bool {
    let missing = Command::new("kubectl").arg("version").arg("--client").output().is_err();
    if missing {
        eprintln!("skipped: there is no kubectl on this machine");
    }
    missing
}
