//! What the query of a request for a stream says: `PodExecOptions`.

use bramble_api::Status;

use crate::http::path::decode_percent;

/// Options of a program in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExecOptions {
    pub(super) command: Vec<String>,
    pub(super) container: Option<String>,
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
}

impl ExecOptions {
    /// Reads a query.
    ///
    /// # Errors
    ///
    /// 400 when a value cannot be read, or nothing is asked for.
    pub(super) fn parse(query: &str) -> Result<Self, Status> {
        let options = Self::of_streams(query)?;
        if options.command.is_empty() {
            return Err(Status::bad_request(
                "you must specify at least 1 command for the container",
            ));
        }
        Ok(options)
    }

    /// Reads a query in which a command means nothing: the program runs already.
    ///
    /// # Errors
    ///
    /// As [`Self::parse`].
    pub(super) fn of_streams(query: &str) -> Result<Self, Status> {
        let mut options = Self {
            command: Vec::new(),
            container: None,
            stdin: false,
            stdout: true,
            stderr: true,
            tty: false,
        };
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let malformed = || Status::bad_request(format!("malformed query parameter {pair:?}"));
            let value = decode_percent(value, true).ok_or_else(malformed)?;
            let flag = || match value.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
                "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
                _ => Err(malformed()),
            };
            match key {
                "command" => options.command.push(value),
                "container" => options.container = Some(value).filter(|name| !name.is_empty()),
                "stdin" => options.stdin = flag()?,
                "stdout" => options.stdout = flag()?,
                "stderr" => options.stderr = flag()?,
                "tty" => options.tty = flag()?,
                _ => {}
            }
        }
        if !(options.stdin || options.stdout || options.stderr) {
            return Err(Status::bad_request(
                "you must specify at least 1 of stdin, stdout, stderr",
            ));
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_repeated_and_streams_are_flags() {
        let query = "command=sh&command=-c&command=echo+%22a%26b%22&stdin=true&stdout=1&tty=false";
        let options = ExecOptions::parse(query).unwrap();
        assert_eq!(options.command, ["sh", "-c", "echo \"a&b\""]);
        assert!(options.stdin && options.stdout && !options.tty);
        assert_eq!(options.container, None);
        assert_eq!(
            ExecOptions::parse("command=a&container=b").unwrap().container.as_deref(),
            Some("b")
        );
        for bad in [
            "",
            "stdin=true",
            "command=a&stdin=maybe",
            "command=%zz",
            "command=a&stdout=false&stderr=false",
        ] {
            assert_eq!(ExecOptions::parse(bad).unwrap_err().code, 400, "{bad}");
        }
    }
}
