//! Reads `/proc/self/mountinfo` and `/proc/swaps`: what is mounted from where, and what is swap.

use crate::machine::DeviceNumber;

/// A line of `mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountLine {
    /// The device's number; one without a device behind it for some file systems (btrfs), whose
    /// source tells.
    pub number: DeviceNumber,
    /// Where it is mounted.
    pub point: String,
    /// What is mounted: a path below `/dev` for a block device.
    pub source: String,
}

/// Reads mounts. A line that is not understood is skipped: there is none from a kernel.
#[must_use]
pub fn mounts(text: &str) -> Vec<MountLine> {
    text.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<MountLine> {
    // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ');
    let number = number(fields.nth(2)?)?;
    let point = unescape(fields.nth(1)?);
    let source = unescape(after.split(' ').nth(1)?);
    Some(MountLine { number, point, source })
}

/// Reads `major:minor`.
#[must_use]
pub fn number(text: &str) -> Option<DeviceNumber> {
    let (major, minor) = text.trim().split_once(':')?;
    Some(DeviceNumber { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

/// Reads the paths of devices and files that hold swap.
#[must_use]
pub fn swaps(text: &str) -> Vec<String> {
    text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(unescape).collect()
}

/// Undoes the kernel's `\040` for a space and the like.
fn unescape(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = (byte == b'\\').then(|| after.get(..3)).flatten();
        let code = code.and_then(|code| str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_spaces_and_optional_fields() {
        let text = "22 27 0:21 / /proc rw,relatime - proc proc rw
36 27 8:17 / /media/my\\040card rw shared:1 master:2 - vfat /dev/sdb1 rw
40 27 0:44 /@ /data rw - btrfs /dev/mapper/x rw
broken line
";
        let mounts = mounts(text);
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[1].number, DeviceNumber { major: 8, minor: 17 });
        assert_eq!(mounts[1].point, "/media/my card");
        assert_eq!(mounts[2].source, "/dev/mapper/x");
    }

    #[test]
    fn swaps_are_read() {
        let text = "Filename\tType\tSize\tUsed\tPriority\n/dev/sda3 partition 1 0 -2\n/swap\\040file file 1 0 -3\n";
        assert_eq!(swaps(text), ["/dev/sda3", "/swap file"]);
        assert!(swaps("").is_empty());
    }
}
