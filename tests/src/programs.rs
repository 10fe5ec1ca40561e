//! Running other programs, and finding our own.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a program to its end and returns what it wrote to its standard output.
///
/// # Errors
/// It cannot be run, or fails; the error carries what it wrote to standard error.
pub fn run(program: &str, args: &[&str]) -> Result<String> {
    text_of(program, args, &output(Command::new(program).args(args))?)
}

/// Runs a program, and does not mind if it fails: for clean-up.
pub fn try_run(program: &str, args: &[&str]) {
    let _ = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Runs a command to its end.
///
/// # Errors
/// It cannot be run.
pub fn output(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not run `{}`", command.get_program().to_string_lossy()))
}

/// Standard output of a finished program.
///
/// # Errors
/// It failed.
pub fn text_of(program: &str, args: &[&str], output: &Output) -> Result<String> {
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("`{program} {}` failed ({}): {}", args.join(" "), output.status, words.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `true` if a program is in the path.
#[must_use]
pub fn installed(program: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// Folder of the binaries under test: `BRAMBLE_BIN_DIR`, or the one that this program was built
/// into.
///
/// # Errors
/// They have not been built.
pub fn binary_folder() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("BRAMBLE_BIN_DIR") {
        return Ok(folder.into());
    }
    let this = env::current_exe().context("could not find this program")?;
    this.ancestors()
        .skip(1)
        .find(|folder| folder.join("bramble").is_file() && folder.join("bramble-agent").is_file())
        .map(Path::to_path_buf)
        .context("`bramble` and `bramble-agent` are not built: run `cargo build` first")
}

/// Says why a test cannot run here, and returns from it. Counted by the test command.
#[macro_export]
macro_rules! skip_unless {
    ($can:expr, $why:expr) => {
        if !$can {
            println!("skipped: {}", $why);
            return;
        }
    };
}
