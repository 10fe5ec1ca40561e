//! Runs a program to its end.

use std::collections::BTreeMap;
use std::io;
use std::process::{Command, Output};

/// What programs find in their environment on a board, and nothing else.
pub(crate) fn environment() -> BTreeMap<String, String> {
    [
        ("PATH", "/usr/bin:/usr/sbin:/bin:/sbin"),
        ("HOME", "/root"),
        ("TERM", "linux"),
        ("KUBECONFIG", "/var/lib/bramble/admin.kubeconfig"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Runs a program with its output caught. Its exit code is not looked at.
///
/// # Errors
/// It cannot be started.
pub(crate) fn output(program: &str, args: &[&str]) -> io::Result<Output> {
    Command::new(program)
        .args(args)
        .env_clear()
        .envs(environment())
        .stdin(std::process::Stdio::null())
        .output()
}

/// Runs a program that must succeed.
///
/// # Errors
/// It cannot be started or ends with another code than 0; then the error has its output.
pub(crate) fn run(program: &str, args: &[&str]) -> io::Result<()> {
    let done = output(program, args)?;
    if done.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&done.stderr);
    let text = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    Err(io::Error::other(format!("{program}: {text} ({})", done.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_program_tells_why() {
        assert!(run("/bin/sh", &["-c", "true"]).is_ok());
        let error = run("/bin/sh", &["-c", "echo no room >&2; exit 3"]).unwrap_err().to_string();
        assert!(error.contains("no room") && error.contains('3'), "{error}");
        assert!(run("/nowhere", &[]).is_err());
    }
}
