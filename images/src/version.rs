//! Version and time of an image: those of the sources that it is made of, not of the build.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::run;

/// Version and time of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Such as `0.1.0+918c5ff`; ends with `.modified` if something was not yet committed.
    pub text: String,
    /// Seconds since 1970, of the last commit or of the variable `SOURCE_DATE_EPOCH`.
    pub seconds: u64,
}

impl Version {
    /// Asks git. `given` is a version to use instead of git's.
    ///
    /// # Errors
    /// The sources are in no repository, and version and time are not both given.
    pub fn of_sources(root: &Path, given: Option<String>) -> Result<Self> {
        let git = |args: &[&str]| {
            let printed = run(Command::new("git").arg("-C").arg(root).args(args), "git")?;
            anyhow::Ok(String::from_utf8_lossy(&printed).trim().to_owned())
        };
        let text = match given {
            Some(text) => text,
            None => {
                let commit = git(&["rev-parse", "--short=7", "HEAD"])
                    .context("the sources are in no git repository; give --image-version")?;
                let modified = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
                format(env!("CARGO_PKG_VERSION"), &commit, modified)
            }
        };
        let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(seconds) => seconds,
            Err(_) => git(&["log", "-1", "--format=%ct"])
                .context("the sources are in no git repository; set SOURCE_DATE_EPOCH")?,
        };
        let seconds = seconds.parse().with_context(|| format!("`{seconds}` is no time"))?;
        Ok(Self { text, seconds })
    }
}

fn format(package: &str, commit: &str, modified: bool) -> String {
    format!("{package}+{commit}{}", if modified { ".modified" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_says_commit_and_whether_it_is_all() {
        assert_eq!(format("0.1.0", "918c5ff", false), "0.1.0+918c5ff");
        assert_eq!(format("0.1.0", "918c5ff", true), "0.1.0+918c5ff.modified");
    }
}
