//! Which device nodes a container may make and open.
//!
//! Pure: rules in the order of the runtime spec, of which the last one that fits decides, as on
//! cgroup v1. On v1 the kernel reads them as they are; for v2 [`program`] makes a program of them.

pub(crate) mod program;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use serde_json::{Value, json};

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// What fits may be done; it may not otherwise.
    pub allow: bool,
    /// Kind of node; both without it.
    pub kind: Option<DeviceKind>,
    /// Major number; any without it.
    pub major: Option<u32>,
    /// Minor number; any without it.
    pub minor: Option<u32>,
    /// What may, or may not, be done.
    pub access: DeviceAccess,
}

/// Kind of a device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// Disks.
    Block,
    /// Everything else.
    Character,
}

/// What is done with a device node: any of making, reading and writing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceAccess(u32);

impl DeviceAccess {
    /// Makes the node (`mknod`).
    pub const MAKE: Self = Self(1);
    /// Reads.
    pub const READ: Self = Self(2);
    /// Reads and writes.
    pub const READ_WRITE: Self = Self(2 | 4);
    /// All of it.
    pub const ALL: Self = Self(1 | 2 | 4);

    /// Letters of the runtime spec, and the kernel's bits for them.
    const LETTERS: [(char, u32); 3] = [('r', 2), ('w', 4), ('m', 1)];

    /// The kernel's bits (`BPF_DEVCG_ACC_*`).
    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    fn parse(letters: &str) -> Option<Self> {
        letters
            .chars()
            .map(|letter| Self::LETTERS.iter().find(|(own, _)| *own == letter).map(|(_, bit)| bit))
            .try_fold(0, |bits, bit| bit.map(|bit| bits | bit))
            .map(Self)
    }

    fn letters(self) -> String {
        let held = |(_, bit): &&(char, u32)| self.0 & bit != 0;
        Self::LETTERS.iter().filter(held).map(|(letter, _)| letter).collect()
    }
}

/// A rule of a runtime spec that nobody can enforce.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("device rule `{rule}` is invalid")]
pub struct DeviceRuleError {
    rule: String,
}

impl DeviceRule {
    /// Allows everything, or forbids it.
    #[must_use]
    pub const fn everything(allow: bool) -> Self {
        Self { allow, kind: None, major: None, minor: None, access: DeviceAccess::ALL }
    }

    /// Allows this one device.
    #[must_use]
    pub const fn allow(kind: DeviceKind, major: u32, minor: u32, access: DeviceAccess) -> Self {
        let (major, minor) = (Some(major), Some(minor));
        Self { allow: true, kind: Some(kind), major, minor, access }
    }

    /// Whether it fits everything that can be done with any device.
    pub(crate) fn fits_everything(self) -> bool {
        Self { allow: true, ..self } == Self::everything(true)
    }

    pub(crate) fn to_json(self) -> Value {
        let kind = match self.kind {
            None => "a",
            Some(DeviceKind::Block) => "b",
            Some(DeviceKind::Character) => "c",
        };
        json!({
            "allow": self.allow,
            "type": kind,
            "major": self.major,
            "minor": self.minor,
            "access": self.access.letters(),
        })
    }

    /// Reads a rule of a runtime spec.
    pub(crate) fn read(rule: &LinuxDeviceCgroup) -> Result<Self, DeviceRuleError> {
        let invalid = || DeviceRuleError { rule: rule.to_string() };
        let kind = match rule.typ().unwrap_or(LinuxDeviceType::A) {
            LinuxDeviceType::A => None,
            LinuxDeviceType::B => Some(DeviceKind::Block),
            LinuxDeviceType::C | LinuxDeviceType::U => Some(DeviceKind::Character),
            LinuxDeviceType::P => return Err(invalid()),
        };
        // -1 means any, in specs of old.
        let number = |number: Option<i64>| match number {
            None | Some(-1) => Ok(None),
            Some(number) => u32::try_from(number).map(Some).map_err(|_| invalid()),
        };
        let letters = rule.access().as_deref().filter(|letters| !letters.is_empty());
        let access = match letters {
            None => DeviceAccess::ALL,
            Some(letters) => DeviceAccess::parse(letters).ok_or_else(invalid)?,
        };
        let (major, minor) = (number(rule.major())?, number(rule.minor())?);
        Ok(Self { allow: rule.allow(), kind, major, minor, access })
    }
}

/// Returns the rules of a container that may use these devices beside the usual ones.
pub(crate) fn of_container(privileged: bool, devices: &[DeviceRule]) -> Vec<DeviceRule> {
    if privileged {
        return vec![DeviceRule::everything(true)];
    }
    let mut rules = vec![DeviceRule::everything(false)];
    rules.extend(USUAL);
    rules.extend(devices);
    rules
}

/// What every container may do, as other runtimes have it.
const USUAL: [DeviceRule; 12] = [
    // Any node may be made: archives hold them, and a node that cannot be opened is just a name.
    make(DeviceKind::Character),
    make(DeviceKind::Block),
    // null, zero, full, random, urandom
    character(1, Some(3)),
    character(1, Some(5)),
    character(1, Some(7)),
    character(1, Some(8)),
    character(1, Some(9)),
    // tty, console, ptmx, and the terminals of the container's own devpts
    character(5, Some(0)),
    character(5, Some(1)),
    character(5, Some(2)),
    character(136, None),
    // tun: useless without NET_ADMIN, and expected by who has it
    character(10, Some(200)),
];

const fn make(kind: DeviceKind) -> DeviceRule {
    let access = DeviceAccess::MAKE;
    DeviceRule { kind: Some(kind), access, ..DeviceRule::everything(true) }
}

const fn character(major: u32, minor: Option<u32>) -> DeviceRule {
    DeviceRule {
        kind: Some(DeviceKind::Character),
        major: Some(major),
        minor,
        ..DeviceRule::everything(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &Value) -> Result<DeviceRule, DeviceRuleError> {
        DeviceRule::read(&serde_json::from_value(json.clone()).unwrap())
    }

    #[test]
    fn rules_survive_the_runtime_spec() {
        let camera = DeviceRule::allow(DeviceKind::Character, 81, 0, DeviceAccess::READ_WRITE);
        let card = DeviceRule::allow(DeviceKind::Block, 179, 2, DeviceAccess::READ);
        let rules = of_container(false, &[camera, card]);
        for rule in rules.iter().chain(&of_container(true, &[])) {
            let mut json = rule.to_json();
            json.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            assert_eq!(read(&json), Ok(*rule));
        }
        assert!(!rules[0].allow && rules[0].fits_everything());
        assert!(rules.iter().skip(1).all(|rule| rule.allow && !rule.fits_everything()));
    }

    #[test]
    fn rules_of_other_tools_are_read_and_nonsense_is_refused() {
        let any = json!({"allow": true, "type": "c", "major": -1, "minor": -1, "access": "rw"});
        let expected = DeviceRule {
            kind: Some(DeviceKind::Character),
            access: DeviceAccess::READ_WRITE,
            ..DeviceRule::everything(true)
        };
        assert_eq!(read(&any), Ok(expected));
        assert_eq!(read(&json!({"allow": false})), Ok(DeviceRule::everything(false)));
        for bad in [
            json!({"allow": true, "access": "rwx"}),
            json!({"allow": true, "type": "b", "major": 4_294_967_296_i64}),
            json!({"allow": true, "type": "b", "minor": -2}),
            json!({"allow": true, "type": "p"}),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
