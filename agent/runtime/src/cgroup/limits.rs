//! Other limits for a cgroup whose processes run.
//!
//! The first ones are libcontainer's part. Memory that is in use is never taken away: the kernel
//! would kill for it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Cgroups;
use crate::protocol::Limits;
use crate::spec::resources::CPU_PERIOD_US;

/// Why limits do not hold.
#[derive(Debug, thiserror::Error)]
pub enum SetLimitsError {
    /// The processes use more by now; the words are the kubelet's.
    #[error(
        "attempting to set pod memory limit ({limit_bytes}) below current usage ({usage_bytes})"
    )]
    BelowUsage {
        /// The limit, in bytes.
        limit_bytes: u64,
        /// What is in use, in bytes.
        usage_bytes: u64,
    },
    /// The kernel refuses.
    #[error("could not write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Cgroups {
    /// Gives a cgroup other limits. Hierarchies that do not have it are left out.
    ///
    /// # Errors
    /// When memory is in use that the limit would take away, or the kernel refuses.
    pub fn set_limits(&self, path: &str, limits: Limits) -> Result<(), SetLimitsError> {
        for (hierarchy, directory) in self.directories(path) {
            if hierarchy.unified {
                set_unified(&directory, limits)?;
                continue;
            }
            if hierarchy.has("memory") {
                set_memory(&directory, limits.memory_bytes)?;
            }
            if hierarchy.has("cpu") {
                write(&directory, "cpu.shares", &limits.cpu_shares.to_string())?;
                let quota =
                    limits.cpu_quota_us.map_or_else(|| "-1".to_owned(), |us| us.to_string());
                write(&directory, "cpu.cfs_period_us", &CPU_PERIOD_US.to_string())?;
                write(&directory, "cpu.cfs_quota_us", &quota)?;
            }
        }
        Ok(())
    }
}

fn set_unified(directory: &Path, limits: Limits) -> Result<(), SetLimitsError> {
    // On a hybrid host, v2 has no controllers.
    if directory.join("memory.max").exists() {
        check_usage(directory, "memory.current", limits.memory_bytes)?;
        let max = limits.memory_bytes.map_or_else(|| "max".to_owned(), |bytes| bytes.to_string());
        write(directory, "memory.max", &max)?;
    }
    if directory.join("cpu.max").exists() {
        let quota = limits.cpu_quota_us.map_or_else(|| "max".to_owned(), |us| us.to_string());
        write(directory, "cpu.max", &format!("{quota} {CPU_PERIOD_US}"))?;
        write(directory, "cpu.weight", &weight(limits.cpu_shares).to_string())?;
    }
    Ok(())
}

/// Memory of v1, whose limit with swap must never be below the one without.
fn set_memory(directory: &Path, bytes: Option<u64>) -> Result<(), SetLimitsError> {
    const LIMIT: &str = "memory.limit_in_bytes";
    const WITH_SWAP: &str = "memory.memsw.limit_in_bytes";
    check_usage(directory, "memory.usage_in_bytes", bytes)?;
    let text = bytes.map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string());
    let swap = read(directory, WITH_SWAP).is_some();
    let grows = match (bytes, read(directory, LIMIT)) {
        (Some(bytes), Some(before)) => bytes > before,
        (_, _) => true,
    };
    let order: [&str; 2] = if grows { [WITH_SWAP, LIMIT] } else { [LIMIT, WITH_SWAP] };
    for file in order.into_iter().filter(|file| swap || *file != WITH_SWAP) {
        write(directory, file, &text)?;
    }
    Ok(())
}

fn check_usage(
    directory: &Path,
    file: &str,
    limit_bytes: Option<u64>,
) -> Result<(), SetLimitsError> {
    match (limit_bytes, read(directory, file)) {
        (Some(limit_bytes), Some(usage_bytes)) if usage_bytes > limit_bytes => {
            Err(SetLimitsError::BelowUsage { limit_bytes, usage_bytes })
        }
        _ => Ok(()),
    }
}

/// The weight of v2 for shares of v1, as libcontainer converts them.
fn weight(shares: u64) -> u64 {
    1 + shares.saturating_sub(2).saturating_mul(9_999) / 262_142
}

fn read(directory: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()
}

fn write(directory: &Path, file: &str, text: &str) -> Result<(), SetLimitsError> {
    let path = directory.join(file);
    fs::write(&path, text).map_err(|source| SetLimitsError::Write { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            fs::write(folder.path().join(file), text).unwrap();
        }
        folder
    }

    fn limits(memory_bytes: Option<u64>) -> Limits {
        Limits { cpu_shares: 512, cpu_quota_us: Some(50_000), memory_bytes }
    }

    #[test]
    fn limits_of_v2_are_written_as_the_kernel_reads_them() {
        let files = [("memory.max", "max"), ("memory.current", "100"), ("cpu.max", "")];
        let folder = folder(&files);
        set_unified(folder.path(), limits(Some(1000))).unwrap();
        let text = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap();
        assert_eq!(text("memory.max"), "1000");
        assert_eq!(text("cpu.max"), "50000 100000");
        assert_eq!(text("cpu.weight"), "20");
        set_unified(folder.path(), Limits { cpu_quota_us: None, ..limits(None) }).unwrap();
        assert_eq!((text("memory.max"), text("cpu.max")), ("max".into(), "max 100000".into()));
    }

    #[test]
    fn memory_in_use_is_not_taken_away() {
        let files = [("memory.limit_in_bytes", "5000\n"), ("memory.usage_in_bytes", "3000\n")];
        let folder = folder(&files);
        let refused = set_memory(folder.path(), Some(2000)).unwrap_err().to_string();
        assert!(refused.contains("memory limit (2000) below current usage (3000)"), "{refused}");
        set_memory(folder.path(), Some(4000)).unwrap();
        let limit = fs::read_to_string(folder.path().join("memory.limit_in_bytes")).unwrap();
        assert_eq!(limit, "4000");
    }
}
