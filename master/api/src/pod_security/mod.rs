//! Pod Security Standards: what the pods of a namespace may ask of their node.
//!
//! A namespace says by its labels which level is enforced and which is warned of; pods are checked
//! against it when they are created or get other images, templates of workloads are warned of only.
//! Knows nothing of who asks, nor of how namespaces are found.

mod baseline;
mod containers;
mod restricted;

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::object;
use crate::status::FieldError;

/// What the labels of a namespace start with.
const PREFIX: &str = "pod-security.kubernetes.io/";
/// The minor version of Kubernetes whose checks these are; later ones mean the same.
const LATEST_MINOR: u32 = 36;

/// How much a pod may ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    #[default]
    Privileged,
    /// Nothing that is known to lead out of the container.
    Baseline,
    /// Only what hardened pods need.
    Restricted,
}

/// Why a text is no level or version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParsePolicyError {
    /// It is no level.
    #[error("must be one of privileged, baseline, restricted")]
    Level,
    /// It is no version.
    #[error("must be \"latest\" or \"v1.x\"")]
    Version,
}

/// A level as some version of Kubernetes meant it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// The level.
    pub level: Level,
    /// The minor version; none is the latest.
    minor: Option<u32>,
}

/// What a namespace says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policies {
    /// What pods must keep to.
    pub enforce: Policy,
    /// What users are warned of.
    pub warn: Policy,
    /// What the audit log is to have.
    pub audit: Policy,
}

impl FromStr for Level {
    type Err = ParsePolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "privileged" => Ok(Self::Privileged),
            "baseline" => Ok(Self::Baseline),
            "restricted" => Ok(Self::Restricted),
            _ => Err(ParsePolicyError::Level),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        })
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.minor {
            Some(minor) => write!(formatter, "{}:v1.{minor}", self.level),
            None => write!(formatter, "{}:latest", self.level),
        }
    }
}

impl Policy {
    /// A level with the latest checks.
    #[must_use]
    pub const fn latest(level: Level) -> Self {
        Self { level, minor: None }
    }

    /// Whether checks that came with that minor version hold.
    fn since(self, minor: u32) -> bool {
        self.minor.unwrap_or(LATEST_MINOR) >= minor
    }

    /// What of a pod's spec goes beyond the policy, as upstream tells it; none if nothing does.
    ///
    /// `metadata` is the pod's.
    #[must_use]
    pub fn violations(self, metadata: &Value, spec: &Value) -> Option<String> {
        let found = match self.level {
            Level::Privileged => return None,
            Level::Baseline => baseline::check(self, metadata, spec, true),
            Level::Restricted => {
                let mut found = baseline::check(self, metadata, spec, false);
                found.extend(restricted::check(self, spec));
                found
            }
        };
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        (!texts.is_empty()).then(|| format!("PodSecurity \"{self}\": {}", texts.join(", ")))
    }
}

impl Policies {
    /// Reads the labels of a namespace; `default` is the level of one that does not say.
    ///
    /// What cannot be read counts as the strictest level: it was meant to restrict.
    #[must_use]
    pub fn of_namespace(namespace: &Value, default: Level) -> Self {
        let policy = |mode: &str, default: Level| {
            let label = |name: &str| {
                namespace
                    .pointer("/metadata/labels")
                    .and_then(|labels| labels.get(format!("{PREFIX}{name}")))
                    .and_then(Value::as_str)
            };
            let level =
                label(mode).map_or(default, |text| text.parse().unwrap_or(Level::Restricted));
            let minor = label(&format!("{mode}-version")).and_then(|text| version(text).ok()?);
            Policy { level, minor }
        };
        let unless_said = Level::Privileged;
        Self {
            enforce: policy("enforce", default),
            warn: policy("warn", unless_said),
            audit: policy("audit", unless_said),
        }
    }
}

/// Reads a version; none is the latest.
fn version(text: &str) -> Result<Option<u32>, ParsePolicyError> {
    if text == "latest" {
        return Ok(None);
    }
    let minor = text.strip_prefix("v1.").ok_or(ParsePolicyError::Version)?;
    let canonical = minor == "0" || !minor.starts_with('0');
    if !canonical || !minor.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ParsePolicyError::Version);
    }
    minor.parse().map(Some).map_err(|_| ParsePolicyError::Version)
}

/// What is wrong with the labels of a namespace.
#[must_use]
pub fn wrong_labels(namespace: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for mode in ["audit", "enforce", "warn"] {
        for (name, is_version) in [(mode.to_owned(), false), (format!("{mode}-version"), true)] {
            let key = format!("{PREFIX}{name}");
            let labels = namespace.pointer("/metadata/labels");
            let Some(text) = labels.and_then(|labels| labels.get(&key)).and_then(Value::as_str)
            else {
                continue;
            };
            let problem =
                if is_version { version(text).err() } else { text.parse::<Level>().err() };
            if let Some(problem) = problem {
                let field = format!("metadata.labels[{key}]");
                errors.push(FieldError::invalid(field, text, &problem.to_string()));
            }
        }
    }
    errors
}

/// The metadata and spec of the pods that an object makes; none if it makes none.
#[must_use]
pub fn template(object: &Value) -> Option<(&Value, &Value)> {
    let template = ["/spec/jobTemplate/spec/template", "/spec/template", "/template"]
        .into_iter()
        .find_map(|pointer| object.pointer(pointer))?;
    Some((template.get("metadata").unwrap_or(&Value::Null), template.get("spec")?))
}

/// Whether an update of a pod changes what is checked: its images.
#[must_use]
pub fn significant(old: &Value, new: &Value) -> bool {
    let images = |pod| {
        ["/spec/initContainers", "/spec/containers", "/spec/ephemeralContainers"]
            .into_iter()
            .flat_map(move |list| object::items(pod, list))
            .map(|container| object::text(container, "/image"))
    };
    !images(old).eq(images(new))
}

/// One way in which a pod goes too far.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    reason: String,
    detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() {
            return formatter.write_str(&self.reason);
        }
        write!(formatter, "{} ({})", self.reason, self.detail)
    }
}

fn violation(reason: &str, detail: String) -> Violation {
    Violation { reason: reason.to_owned(), detail }
}

#[cfg(test)]
mod tests;
