//! Which capabilities a container holds.

/// Why a set of capabilities makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// Linux has no such capability.
    #[error("unknown capability `{name}`")]
    Unknown { name: String },
}

/// Returns the capabilities of a container, sorted by the kernel's numbers.
///
/// Names may be given with or without `CAP_`. `drop: ALL` is applied before `add`, so that
/// `drop: [ALL], add: [NET_BIND_SERVICE]` leaves exactly one.
///
/// # Errors
/// When a name is unknown.
pub fn effective(
    privileged: bool,
    add: &[String],
    drop: &[String],
) -> Result<Vec<String>, CapabilityError> {
    let add = normalized(add)?;
    let drop = normalized(drop)?;
    let has_all = |names: &[String]| names.iter().any(|name| name == "ALL");
    let all = privileged || has_all(&add);
    let held = |name: &str| {
        let named = |names: &[String]| names.iter().any(|own| own == name);
        if named(&drop) {
            return false;
        }
        let base = all || (DEFAULT.contains(&name) && !has_all(&drop));
        base || named(&add)
    };
    Ok(ALL.iter().filter(|name| held(name)).map(|name| format!("CAP_{name}")).collect())
}

fn normalized(names: &[String]) -> Result<Vec<String>, CapabilityError> {
    names
        .iter()
        .map(|given| {
            let upper = given.to_ascii_uppercase();
            let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
            if name == "ALL" || ALL.contains(&name) {
                return Ok(name.to_owned());
            }
            Err(CapabilityError::Unknown { name: given.clone() })
        })
        .collect()
}

/// What container images expect to hold, without NET_RAW (`SECURITY.md`).
const DEFAULT: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "MKNOD",
    "AUDIT_WRITE",
    "SETFCAP",
];

/// All capabilities in the order of the kernel's numbers.
const ALL: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(add: &[&str], drop: &[&str], expected: &[&str]) {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(effective(false, &owned(add), &owned(drop)).unwrap(), expected);
    }

    #[test]
    fn drop_all_leaves_only_what_is_added() {
        check(&["net_bind_service"], &["ALL"], &["CAP_NET_BIND_SERVICE"]);
        check(&[], &["CAP_ALL"], &[]);
    }

    #[test]
    fn all_but_one() {
        let held = effective(false, &["ALL".to_owned()], &["SYS_ADMIN".to_owned()]).unwrap();
        assert_eq!(held.len(), ALL.len() - 1);
        assert!(!held.contains(&"CAP_SYS_ADMIN".to_owned()));
    }
}
