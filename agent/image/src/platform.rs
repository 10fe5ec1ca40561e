//! Which of a multi-platform image's manifests runs on this machine.

use std::fmt;

/// An operating system, architecture and variant in Go's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// Returns the platform that this program was built for.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "x86" => ("386", None),
            other => (other, None),
        };
        Self::new("linux", architecture, variant)
    }

    pub(crate) fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        Self { os: os.into(), architecture: architecture.into(), variant: variant.map(Into::into) }
    }

    /// Returns how well an image for `offered` runs here: lower is better, `None` is not at all.
    pub(crate) fn rank(&self, offered: &Self) -> Option<u32> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        let Some(own) = self.variant_number() else {
            return (offered.variant.is_none() || offered.variant == self.variant).then_some(0);
        };
        match (offered.variant.as_deref(), offered.variant_number()) {
            // An arm64 image without a variant is v8; a 32-bit one is taken if nothing says more.
            (None | Some(""), _) => {
                Some(if self.architecture == "arm64" { 0 } else { VARIANT_UNKNOWN })
            }
            (Some(_), Some(number)) if number <= own => Some(own - number),
            (Some(_), _) => None,
        }
    }

    fn variant_number(&self) -> Option<u32> {
        self.variant.as_deref()?.strip_prefix('v')?.parse().ok()
    }
}

impl fmt::Display for Platform {
    /// Writes `linux/arm64` for what is usual, `linux/arm/v7` where the variant matters.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        match self.variant.as_deref() {
            Some(variant) if !variant.is_empty() && self.architecture != "arm64" => {
                write!(formatter, "/{variant}")
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Worse than every real variant, better than nothing.
const VARIANT_UNKNOWN: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: (&str, Option<&str>), offered: (&str, Option<&str>), expected: Option<u32>) {
        let host = Platform::new("linux", host.0, host.1);
        assert_eq!(host.rank(&Platform::new("linux", offered.0, offered.1)), expected);
    }

    #[test]
    fn only_what_runs_here_is_ranked() {
        check(("arm64", Some("v8")), ("arm64", None), Some(0));
        check(("arm64", Some("v8")), ("arm64", Some("v8")), Some(0));
        check(("arm64", Some("v8")), ("arm64", Some("v9")), None);
        check(("arm64", Some("v8")), ("arm", Some("v7")), None);
        check(("arm", Some("v7")), ("arm", Some("v6")), Some(1));
        check(("arm", Some("v7")), ("arm", None), Some(100));
        check(("amd64", None), ("amd64", None), Some(0));
        check(("amd64", None), ("amd64", Some("v3")), None);
    }

    #[test]
    fn other_operating_systems_do_not_match() {
        let host = Platform::new("linux", "amd64", None);
        assert_eq!(host.rank(&Platform::new("windows", "amd64", None)), None);
    }

    #[test]
    fn platforms_read_as_users_know_them() {
        assert_eq!(Platform::new("linux", "arm64", Some("v8")).to_string(), "linux/arm64");
        assert_eq!(Platform::new("linux", "arm", Some("v7")).to_string(), "linux/arm/v7");
        assert_eq!(Platform::new("linux", "amd64", None).to_string(), "linux/amd64");
    }
}
