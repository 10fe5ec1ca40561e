//! CPU, memory and PID limits of a container, computed as Kubernetes does.

use serde_json::{Value, json};

use super::BuildSpecError;
use crate::device_rules::DeviceRule;
use crate::protocol::Limits;

/// What a container asked for and what it may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Requested CPU in thousandths.
    pub cpu_request_milli: u64,
    /// CPU limit in thousandths.
    pub cpu_limit_milli: Option<u64>,
    /// Memory limit in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Most processes and threads; [`PIDS_LIMIT_DEFAULT`] without it.
    pub pids_limit: Option<i64>,
}

/// Least memory limit that a container starts with, in bytes: its init needs some before exec.
pub const MEMORY_LIMIT_MIN_BYTES: u64 = 6 * 1024 * 1024;

/// Least PID limit that a container starts with: the cgroup is joined before init is cloned.
pub const PIDS_LIMIT_MIN: i64 = 8;

/// PID limit without another: a fork bomb must not take a small board down.
pub const PIDS_LIMIT_DEFAULT: i64 = 1024;

/// Length of a CPU quota period in microseconds.
pub(crate) const CPU_PERIOD_US: u64 = 100_000;

/// Least quota that the kernel accepts, in microseconds.
const CPU_QUOTA_MIN_US: u64 = 1_000;

/// Least and most CPU shares that the kernel accepts.
const CPU_SHARES_MIN: u64 = 2;
const CPU_SHARES_MAX: u64 = 262_144;

/// Returns the CPU shares of a request in thousandths of a CPU.
#[must_use]
pub fn cpu_shares(milli: u64) -> u64 {
    (milli.saturating_mul(1024) / 1000).clamp(CPU_SHARES_MIN, CPU_SHARES_MAX)
}

/// Returns the CPU quota in microseconds per period of a limit in thousandths of a CPU.
#[must_use]
pub fn cpu_quota_us(milli: u64) -> u64 {
    (milli.saturating_mul(CPU_PERIOD_US) / 1000).max(CPU_QUOTA_MIN_US)
}

/// Kubernetes' quality of service of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QosClass {
    /// Every container has limits equal to its requests.
    Guaranteed,
    /// Some container asks for something.
    Burstable,
    /// Nobody asks for anything.
    BestEffort,
}

/// Returns the adjustment of the out-of-memory score as the kubelet computes it.
///
/// `memory_request_bytes` is the container's, `node_memory_bytes` the node's capacity.
#[must_use]
pub fn oom_score_adj(qos: QosClass, memory_request_bytes: u64, node_memory_bytes: u64) -> i32 {
    match qos {
        QosClass::Guaranteed => -997,
        QosClass::BestEffort => 1000,
        QosClass::Burstable => {
            let part = memory_request_bytes
                .saturating_mul(1000)
                .checked_div(node_memory_bytes)
                .unwrap_or(0)
                .min(1000);
            // Between guaranteed (3) and best effort (999), whatever was asked for.
            let part = i32::try_from(part).unwrap_or(1000);
            (1000 - part).clamp(3, 999)
        }
    }
}

impl Resources {
    /// The limits that a running container is given for them.
    ///
    /// # Errors
    /// When they are fewer than a container can run with.
    pub fn limits(&self) -> Result<Limits, BuildSpecError> {
        self.check()?;
        Ok(Limits {
            cpu_shares: cpu_shares(self.cpu_request_milli),
            cpu_quota_us: self.cpu_limit_milli.map(cpu_quota_us),
            memory_bytes: self.memory_limit_bytes,
        })
    }

    pub(super) fn check(&self) -> Result<(), BuildSpecError> {
        match self.memory_limit_bytes {
            Some(bytes) if bytes < MEMORY_LIMIT_MIN_BYTES => {
                return Err(BuildSpecError::MemoryLimitTooLow { bytes });
            }
            Some(_) | None => {}
        }
        match self.pids_limit {
            Some(pids) if pids < PIDS_LIMIT_MIN => Err(BuildSpecError::PidsLimitTooLow { pids }),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn to_json(&self, devices: &[DeviceRule]) -> Value {
        json!({
            "devices": devices.iter().map(|rule| rule.to_json()).collect::<Vec<_>>(),
            "cpu": {
                "shares": cpu_shares(self.cpu_request_milli),
                "quota": self.cpu_limit_milli.map(cpu_quota_us),
                "period": self.cpu_limit_milli.map(|_| CPU_PERIOD_US),
            },
            "memory": self.memory_limit_bytes.map(|bytes| json!({ "limit": bytes })),
            "pids": { "limit": self.pids_limit.unwrap_or(PIDS_LIMIT_DEFAULT) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_quotas_are_those_of_the_kubelet() {
        assert_eq!(cpu_shares(0), 2);
        assert_eq!(cpu_shares(100), 102);
        assert_eq!(cpu_shares(1000), 1024);
        assert_eq!(cpu_shares(u64::MAX), 262_144);
        assert_eq!(cpu_quota_us(500), 50_000);
        assert_eq!(cpu_quota_us(1), 1_000);
    }

    #[test]
    fn the_kernel_takes_best_effort_first_and_guaranteed_last() {
        let gib = 1 << 30;
        assert_eq!(oom_score_adj(QosClass::Guaranteed, gib, gib), -997);
        assert_eq!(oom_score_adj(QosClass::BestEffort, 0, gib), 1000);
        assert_eq!(oom_score_adj(QosClass::Burstable, gib / 4, gib), 750);
        assert_eq!(oom_score_adj(QosClass::Burstable, 1, gib), 999);
        assert_eq!(oom_score_adj(QosClass::Burstable, 2 * gib, gib), 3);
        assert_eq!(oom_score_adj(QosClass::Burstable, gib, 0), 999);
    }
}
