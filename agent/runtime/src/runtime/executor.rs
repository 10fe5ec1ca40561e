//! Finds and runs a container's program, with errors in words that users know.
//!
//! Runs inside the container, just before its program does.

use std::ffi::CString;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, execv};
use oci_spec::runtime::Spec;

use super::own_terminal;
use crate::protocol::{Failure, FailureReason};

/// Marks our own text in the chain of errors that libcontainer passes on as one string.
const NOT_FOUND: &str = "bramble-command-not-found:";
const NOT_EXECUTABLE: &str = "bramble-command-not-executable:";

/// What libcontainer puts between an error and a second one of its clean-up.
const CLEAN_UP: &str = ". error during cleanup:";

/// The executor of all containers.
#[derive(Clone, Debug)]
pub(super) struct ProgramExecutor;

/// Returns the failure that a text of libcontainer stands for.
pub(super) fn failure_in(text: &str) -> Failure {
    // What libcontainer could not clean up, because the dying init still held it, the runtime
    // process cleans up before it answers; users need not read of it.
    let text = text.split_once(CLEAN_UP).map_or(text, |(cause, _)| cause);
    let marked = |mark: &str| text.split_once(mark).map(|(_, message)| message.trim().to_owned());
    if let Some(message) = marked(NOT_FOUND) {
        return Failure::new(FailureReason::CommandNotFound, message);
    }
    if let Some(message) = marked(NOT_EXECUTABLE) {
        return Failure::new(FailureReason::CommandNotExecutable, message);
    }
    Failure::new(FailureReason::Internal, text)
}

/// Finds the program as execvp would; errors carry their mark.
pub(super) fn find(args: &[String], path: &str) -> Result<PathBuf, String> {
    let name = args.first().map(String::as_str).unwrap_or_default();
    if name.contains('/') {
        let program = PathBuf::from(name);
        return match check(&program) {
            Ok(()) => Ok(program),
            Err(Errno::ENOENT | Errno::ENOTDIR) => {
                Err(format!("{NOT_FOUND} exec: \"{name}\": stat {name}: no such file or directory"))
            }
            Err(error) => Err(format!("{NOT_EXECUTABLE} exec: \"{name}\": {}", words(error))),
        };
    }
    let mut refused = None;
    for directory in path.split(':') {
        // An empty part is the working directory.
        let directory = if directory.is_empty() { "." } else { directory };
        let program = Path::new(directory).join(name);
        match check(&program) {
            Ok(()) => return Ok(program),
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(error) => refused = Some(error),
        }
    }
    Err(match refused {
        Some(error) => format!("{NOT_EXECUTABLE} exec: \"{name}\": {}", words(error)),
        None => format!("{NOT_FOUND} exec: \"{name}\": executable file not found in $PATH"),
    })
}

fn check(program: &Path) -> Result<(), Errno> {
    access(program, AccessFlags::F_OK)?;
    if program.is_dir() {
        return Err(Errno::EISDIR);
    }
    access(program, AccessFlags::X_OK)
}

pub(super) fn words(error: Errno) -> &'static str {
    let usual = [
        (Errno::EACCES, "permission denied"),
        (Errno::ENOEXEC, "exec format error"),
        (Errno::EISDIR, "is a directory"),
        (Errno::ENOENT, "no such file or directory"),
    ];
    usual.iter().find(|(own, _)| *own == error).map_or_else(|| error.desc(), |(_, words)| words)
}

fn args_and_path(spec: &Spec) -> (Vec<String>, String) {
    let process = spec.process().as_ref();
    let args = process.and_then(|process| process.args().clone()).unwrap_or_default();
    let path = process
        .and_then(|process| process.env().as_ref())
        .and_then(|env| env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")))
        .unwrap_or_default()
        .to_owned();
    (args, path)
}

impl Executor for ProgramExecutor {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let (args, path) = args_and_path(spec);
        find(&args, &path).map(drop).map_err(ExecutorValidationError::ArgValidationError)
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let (args, path) = args_and_path(spec);
        let program = find(&args, &path).map_err(ExecutorError::Other)?;
        if own_terminal::wanted(spec) {
            own_terminal::take()
                .map_err(|error| ExecutorError::Other(format!("no terminal: {error}")))?;
        }
        let file =
            CString::new(program.as_os_str().as_bytes()).map_err(|_| ExecutorError::InvalidArg)?;
        let args = args
            .into_iter()
            .map(CString::new)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| ExecutorError::InvalidArg)?;
        // The container has started already, so its own output is the only place to say it, as
        // with other runtimes.
        let Err(error) = execv(&file, &args);
        let text = format!("exec {}: {}\n", program.display(), words(error));
        let _unheard = std::io::stderr().write_all(text.as_bytes());
        Err(ExecutorError::Other(format!("{NOT_EXECUTABLE} {}", text.trim())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_find(name: &str, expected: &str) {
        let found = find(&[name.to_owned()], "/nonexistent:/usr/bin:/bin");
        let text = match found {
            Ok(path) => path.display().to_string(),
            Err(text) => failure_in(&text).message,
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn programs_are_found_as_by_a_shell_and_errors_say_what_users_know() {
        check_find("/bin/sh", "/bin/sh");
        check_find("nope", "exec: \"nope\": executable file not found in $PATH");
        check_find("/nope", "exec: \"/nope\": stat /nope: no such file or directory");
        check_find("/tmp", "exec: \"/tmp\": is a directory");
        check_find("/etc/passwd", "exec: \"/etc/passwd\": permission denied");
    }

    #[test]
    fn marks_survive_being_wrapped() {
        let wrapped = "failed to x: y: bramble-command-not-found: exec: \"a\": no";
        for text in [wrapped.to_owned(), format!("{wrapped}. error during cleanup: busy")] {
            let failure = failure_in(&text);
            assert_eq!(failure.reason, FailureReason::CommandNotFound);
            assert_eq!(failure.message, "exec: \"a\": no");
        }
    }
}
