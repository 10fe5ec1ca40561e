//! Image names, parsed and completed as Docker and the kubelet do.
//!
//! ```text
//!  busybox                 -> docker.io/library/busybox:latest
//!  ghcr.io/a/b@sha256:...  -> ghcr.io/a/b@sha256:...
//!  localhost:5000/b:1      -> localhost:5000/b:1
//! ```
//! Knows nothing of registries' answers; says only whether the text can be a name.

use std::{fmt, str::FromStr};

use crate::Digest;

/// A complete image name.
///
/// Invariant: at least one of tag and digest is present.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses a name as it stands in a pod's `image`, and fills in what is left out.
    ///
    /// # Errors
    /// The text is not an image name; the error reads as the kubelet's `InvalidImageName` message.
    pub fn parse(text: &str) -> Result<Self, ParseReferenceError> {
        complete(text).map_err(|problem| ParseReferenceError {
            text: text.chars().take(SHOWN_MAX).collect(),
            problem,
        })
    }

    /// Returns the registry's `host[:port]`, `docker.io` where none was written.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the path in the registry, such as `library/busybox`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag; `latest` if neither tag nor digest was written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, which decides what is pulled when there is also a tag.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        match self.digest {
            Some(digest) => write!(formatter, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, ParseReferenceError> {
        Self::parse(text)
    }
}

/// A text that is no image name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Failed to apply default image tag \"{text}\": couldn't parse image name \"{text}\": {problem}"
)]
pub struct ParseReferenceError {
    text: String,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("invalid reference format")]
    Format,
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    UpperCase(String),
    #[error("invalid repository name, cannot specify 64-byte hexadecimal strings")]
    Hexadecimal,
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    #[error("unsupported digest algorithm")]
    Algorithm,
    #[error("invalid checksum digest format")]
    Digest,
}

fn complete(text: &str) -> Result<Reference, Problem> {
    if is_hexadecimal(text) {
        return Err(Problem::Hexadecimal);
    }
    let (registry, rest) = split_registry(text);
    let (name, digest) = match rest.split_once('@') {
        Some((name, digest)) => (name, Some(parse_digest(digest)?)),
        None => (rest, None),
    };
    let (repository, tag) = match name.rsplit_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (name, None),
    };
    if !tag.is_none_or(is_tag) || !is_registry(&registry) {
        return Err(Problem::Format);
    }
    let repository =
        if registry == DOCKER_HUB && !repository.contains('/') && !repository.is_empty() {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        };
    if repository.chars().any(|letter| letter.is_ascii_uppercase()) {
        return match is_repository(&repository.to_ascii_lowercase()) {
            true => Err(Problem::UpperCase(repository.chars().take(SHOWN_MAX).collect())),
            false => Err(Problem::Format),
        };
    }
    if !is_repository(&repository) {
        return Err(Problem::Format);
    }
    if registry.len() + 1 + repository.len() > NAME_LEN_MAX {
        return Err(Problem::TooLong);
    }
    let tag = match (tag, digest) {
        (Some(tag), _) => Some(tag.to_owned()),
        (None, None) => Some("latest".to_owned()),
        (None, Some(_)) => None,
    };
    Ok(Reference { registry, repository, tag, digest })
}

/// Takes the first part as a registry only if it cannot be a folder on Docker Hub.
fn split_registry(text: &str) -> (String, &str) {
    match text.split_once('/') {
        Some((first, rest)) if is_registry_like(first) => match first {
            "index.docker.io" => (DOCKER_HUB.to_owned(), rest),
            _ => (first.to_owned(), rest),
        },
        Some(_) | None => (DOCKER_HUB.to_owned(), text),
    }
}

fn is_registry_like(first: &str) -> bool {
    let has_upper_case = first.chars().any(|letter| letter.is_ascii_uppercase());
    first.contains(['.', ':']) || first == "localhost" || has_upper_case
}

fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let port_well_formed = port.is_empty() || port.starts_with(':');
            if address.parse::<std::net::Ipv6Addr>().is_err() || !port_well_formed {
                return false;
            }
            ("ipv6", port.strip_prefix(':'))
        }
        None => match registry.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (registry, None),
        },
    };
    let port_ok = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
    });
    port_ok && host.split('.').all(is_host_label)
}

fn is_host_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !label.is_empty()
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_repository(repository: &str) -> bool {
    repository.split('/').all(is_path_part)
}

/// Lower-case letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_path_part(part: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_well = part.bytes().next().is_some_and(alphanumeric)
        && part.bytes().next_back().is_some_and(alphanumeric);
    let mut separators =
        part.split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    ends_well
        && separators
            .all(|run| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.bytes().next().is_some_and(word)
        && tag.len() <= TAG_LEN_MAX
        && tag.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

fn parse_digest(text: &str) -> Result<Digest, Problem> {
    let (algorithm, hex) = text.split_once(':').ok_or(Problem::Format)?;
    match algorithm {
        "sha256" if hex.len() < 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Err(Problem::Format)
        }
        "sha256" => text.parse().map_err(|_| Problem::Digest),
        "" => Err(Problem::Format),
        _ => Err(Problem::Algorithm),
    }
}

fn is_hexadecimal(text: &str) -> bool {
    text.len() == 64
        && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The registry of names that do not say one.
pub(crate) const DOCKER_HUB: &str = "docker.io";

/// The distribution specification's bound on `registry/repository`, in bytes.
const NAME_LEN_MAX: usize = 255;

/// The distribution specification's bound on a tag, in bytes.
const TAG_LEN_MAX: usize = 128;

/// How much of a wrong name is repeated in an error, in characters.
const SHOWN_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(
            Reference::parse(text).map(|reference| reference.to_string()),
            Ok(expected.to_owned())
        );
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let error = Reference::parse(text).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn missing_parts_are_filled_in_as_docker_does() {
        check("busybox", "docker.io/library/busybox:latest");
        check("busybox:1.36", "docker.io/library/busybox:1.36");
        check("rancher/klipper", "docker.io/rancher/klipper:latest");
        check("index.docker.io/busybox", "docker.io/library/busybox:latest");
        check("docker.io/busybox", "docker.io/library/busybox:latest");
        check("localhost/b", "localhost/b:latest");
        check("localhost:5000/b:1", "localhost:5000/b:1");
        check("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10");
        check("[::1]:5000/a/b", "[::1]:5000/a/b:latest");
        check("a__b/c-----d.e_f", "docker.io/a__b/c-----d.e_f:latest");
        check(&format!("b@sha256:{HEX}"), &format!("docker.io/library/b@sha256:{HEX}"));
        check(&format!("x.io/b:1@sha256:{HEX}"), &format!("x.io/b:1@sha256:{HEX}"));
    }

    #[test]
    fn wrong_names_are_refused_with_the_words_of_the_kubelet() {
        check_refused(
            "Busybox",
            "Failed to apply default image tag \"Busybox\": couldn't parse image name \"Busybox\": \
             invalid reference format: repository name (library/Busybox) must be lowercase",
        );
        for text in [
            "",
            ":",
            "a:",
            "a//b",
            "/a",
            "a/",
            "a b",
            "a:-x",
            "a@",
            "a@sha256:12",
            "x.io:99999/a",
            "x.io/",
            "-a",
            "a...b",
            "x..io/a",
            "ä",
        ] {
            check_refused(text, "invalid reference format");
        }
        check_refused(HEX, "cannot specify 64-byte hexadecimal strings");
        check_refused(&"a".repeat(256), "must not be more than 255 characters");
        check_refused(&format!("a@sha512:{HEX}"), "unsupported digest algorithm");
        check_refused(&format!("a@sha256:{HEX}00"), "invalid checksum digest format");
    }

    proptest! {
        #[test]
        fn canonical_names_parse_to_themselves(text in "([a-z0-9.-]{1,9}(:[0-9]{1,4})?/)?[a-z0-9._/-]{1,20}(:[A-Za-z0-9_.-]{1,9})?") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&reference.to_string()), Ok(reference));
            }
        }

        #[test]
        fn any_text_is_answered(text in ".{0,80}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert!(reference.tag().is_some() || reference.digest().is_some());
                prop_assert!(!reference.repository().contains(".."));
            }
        }
    }
}
