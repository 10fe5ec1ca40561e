//! What the board is, read from the texts that the kernel and the system keep about it.
//!
//! Pure parsers; the shell reads the files.

/// `PRETTY_NAME` of an os-release file.
#[must_use]
pub fn os_image(os_release: &str) -> String {
    os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|value| value.trim().trim_matches('"').to_owned())
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| "Linux".to_owned())
}

/// A row of `/proc/meminfo`, in bytes.
#[must_use]
pub fn meminfo_bytes(meminfo: &str, row: &str) -> Option<u64> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(':'))?;
    let kilobytes: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// Number of processors in `/proc/cpuinfo`, at least 1.
#[must_use]
pub fn processors(cpuinfo: &str) -> u64 {
    let count = cpuinfo
        .lines()
        .filter(|line| line.split(':').next().is_some_and(|key| key.trim() == "processor"))
        .count();
    u64::try_from(count).unwrap_or(1).max(1)
}

/// The board's serial: `Serial` of `/proc/cpuinfo`, as Pis have it.
#[must_use]
pub fn cpuinfo_serial(cpuinfo: &str) -> Option<String> {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == "Serial")
        .map(|(_, value)| value.trim().to_owned())
        .filter(|value| !value.is_empty() && value.chars().any(|digit| digit != '0'))
}

/// An architecture of the kernel in Go's words.
#[must_use]
pub fn go_architecture(machine: &str) -> &str {
    match machine {
        "aarch64" => "arm64",
        "x86_64" => "amd64",
        "armv6l" | "armv7l" | "armv8l" | "arm" => "arm",
        "riscv64gc" => "riscv64",
        other => other,
    }
}

/// The bytes of a UUID in text form, such as the kernel's boot id.
#[must_use]
pub fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text
        .trim()
        .chars()
        .filter(|c| *c != '-')
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0_u8, |byte, digit| byte << 4 | digit))
        .collect();
    (digits.len() == 32).then_some(())?;
    bytes.try_into().ok()
}

/// Whether a mount table has a file system of this type at a path.
#[must_use]
pub fn has_mount(mounts: &str, path: &str, kind: &str) -> bool {
    mounts.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(path) && words.next() == Some(kind)
    })
}

/// Whether `/proc/filesystems` names a file system.
#[must_use]
pub fn has_filesystem(filesystems: &str, kind: &str) -> bool {
    filesystems.lines().any(|line| line.split_whitespace().next_back() == Some(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_is_read() {
        let text = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(os_image(text), "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(os_image(""), "Linux");
    }

    #[test]
    fn meminfo_is_read_in_bytes() {
        let text = "MemTotal:         441124 kB\nMemAvailable:     300000 kB\n";
        assert_eq!(meminfo_bytes(text, "MemTotal"), Some(441_124 * 1024));
        assert_eq!(meminfo_bytes(text, "SwapTotal"), None);
    }

    #[test]
    fn a_pis_cpuinfo_is_read() {
        let text = "processor\t: 0\nBogoMIPS\t: 38.40\n\nprocessor\t: 1\n\n\
                    Serial\t\t: 10000000a3b4c5d6\nModel\t\t: Raspberry Pi 3 Model B\n";
        assert_eq!(processors(text), 2);
        assert_eq!(cpuinfo_serial(text).as_deref(), Some("10000000a3b4c5d6"));
        assert_eq!(cpuinfo_serial("Serial : 0000000000000000\n"), None);
        assert_eq!(processors(""), 1);
    }

    #[test]
    fn boot_ids_are_sixteen_bytes() {
        let bytes = uuid_bytes("0a1b2c3d-0000-4000-8000-0000000000ff\n").unwrap();
        assert_eq!(&bytes[..4], &[0x0a, 0x1b, 0x2c, 0x3d]);
        assert_eq!(bytes[15], 0xff);
        assert_eq!(uuid_bytes("0a1b"), None);
        assert_eq!(uuid_bytes("zz1b2c3d-0000-4000-8000-0000000000ff"), None);
    }

    #[test]
    fn mounts_and_file_systems_are_found() {
        let mounts = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert!(has_mount(mounts, "/sys/fs/cgroup/unified", "cgroup2"));
        assert!(!has_mount(mounts, "/sys/fs/cgroup", "cgroup2"));
        assert!(has_filesystem("nodev\toverlay\n\text4\n", "overlay"));
        assert!(has_filesystem("nodev\toverlay\n\text4\n", "ext4"));
    }
}
