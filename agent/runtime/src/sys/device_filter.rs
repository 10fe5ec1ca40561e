//! Loads a device program into the kernel and attaches it to a cgroup of v2.
//!
//! The system call `bpf` has no safe wrapper; the libraries that have one bring C or a whole
//! loader for other kinds of programs.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use nix::libc;

/// Commands of `bpf`.
const LOAD: libc::c_int = 5;
const ATTACH: libc::c_int = 8;

/// `BPF_PROG_TYPE_CGROUP_DEVICE`
const TYPE_CGROUP_DEVICE: u32 = 15;
/// `BPF_CGROUP_DEVICE`
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// `BPF_F_ALLOW_MULTI`: programs of cgroups above, such as a service manager's, stay in force.
const ALLOW_MULTI: u32 = 2;

/// The members of `union bpf_attr` that loading uses.
#[repr(C)]
#[derive(Debug)]
struct LoadArguments {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The members of `union bpf_attr` that attaching uses.
#[repr(C)]
#[derive(Debug)]
struct AttachArguments {
    cgroup: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Makes a cgroup ask this program about every device; it stays as long as the cgroup.
///
/// # Errors
/// When the kernel has no such programs, or refuses this one.
pub(crate) fn attach(program: &[[u8; 8]], cgroup: BorrowedFd<'_>) -> io::Result<()> {
    let number = |fd: libc::c_int| u32::try_from(fd).map_err(io::Error::other);
    let arguments = LoadArguments {
        kind: TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    let loaded = bpf(LOAD, &arguments)?;
    // SAFETY: the kernel has just made this descriptor for this process; nothing else owns it.
    #[expect(unsafe_code, reason = "descriptors arrive as numbers")]
    let loaded = unsafe { OwnedFd::from_raw_fd(loaded) };
    let arguments = AttachArguments {
        cgroup: number(cgroup.as_raw_fd())?,
        program: number(loaded.as_raw_fd())?,
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    bpf(ATTACH, &arguments).map(drop)
}

fn bpf<T>(command: libc::c_int, arguments: &T) -> io::Result<libc::c_int> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes, which is the size of what the pointer
    // points at, and takes the rest of the union for zeros. Addresses in it are of the program
    // and of the license above, which outlive the call and are only read.
    #[expect(unsafe_code, reason = "bpf has no safe form")]
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(arguments), size_of::<T>())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(result).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd as _;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::device_rules::{of_container, program};

    #[test]
    fn structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<LoadArguments>(), 48);
        assert_eq!(size_of::<AttachArguments>(), 16);
    }

    /// A cgroup of v2 for this test; gone with it.
    struct TestCgroup(PathBuf);

    impl TestCgroup {
        fn make() -> Option<Self> {
            ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
                .map(Path::new)
                .into_iter()
                .filter(|mount| mount.join("cgroup.controllers").exists())
                .map(|mount| mount.join(format!("bramble-filter-{}", std::process::id())))
                .find(|path| fs::create_dir(path).is_ok())
                .map(Self)
        }
    }

    impl Drop for TestCgroup {
        fn drop(&mut self) {
            let _gone = fs::remove_dir(&self.0);
        }
    }

    #[test]
    fn the_kernel_enforces_an_attached_program() {
        let Some(cgroup) = TestCgroup::make() else {
            println!("skipped: no cgroup of v2 can be made here");
            return;
        };
        let directory = File::open(&cgroup.0).unwrap();
        let rules = of_container(false, &[]);
        let encoded: Vec<[u8; 8]> =
            program::assemble(&rules).unwrap().into_iter().map(|one| one.encode()).collect();
        attach(&encoded, directory.as_fd()).unwrap();

        let node = cgroup.0.file_name().unwrap().to_owned();
        let node = std::env::temp_dir().join(node);
        let procs = cgroup.0.join("cgroup.procs");
        let script = format!(
            "echo $$ > {procs} && head -c 1 /dev/zero | wc -c && mknod {node} c 1 1 && \
             head -c 1 {node}; echo $?; rm -f {node}",
            procs = procs.display(),
            node = node.display(),
        );
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let (said, errors) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert_eq!(said, "1\n1\n", "{errors}");
        assert!(errors.contains("Operation not permitted"), "{errors}");
    }

    #[test]
    fn a_program_that_the_kernel_cannot_check_is_refused() {
        let Some(cgroup) = TestCgroup::make() else { return };
        let directory = File::open(&cgroup.0).unwrap();
        assert!(attach(&[[0xff; 8]], directory.as_fd()).is_err());
    }
}
