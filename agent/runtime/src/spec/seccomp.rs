//! The system-call filter `RuntimeDefault`: what ordinary programs need, and nothing that
//! reaches the kernel's rarely used corners.
//!
//! Some calls are allowed only to holders of the capability that guards them anyway. Calls that are
//! forbidden answer EPERM; calls that this file has never heard of answer ENOSYS, so that libraries
//! fall back to older ones.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// Returns the filter for a container that holds these capabilities (`CAP_...`).
///
/// Names that a processor does not have are skipped when the filter is loaded, so one list
/// serves amd64, arm64 and arm.
pub(super) fn runtime_default(capabilities: &[String]) -> Value {
    let mut allowed: Vec<&str> = ALWAYS.to_vec();
    for (capability, names) in GUARDED {
        if capabilities.iter().any(|held| held == capability) {
            allowed.extend(*names);
        }
    }
    let mut rules = vec![json!({ "names": allowed, "action": "SCMP_ACT_ALLOW" })];
    let forbidden: Vec<&str> = GUARDED
        .iter()
        .flat_map(|(_, names)| names.iter().copied())
        // clone3's flags lie in memory, which a filter cannot read: unheard of, so that libraries
        // fall back to clone, whose flags are looked at.
        .filter(|name| !["clone", "clone3"].contains(name))
        .chain(FORBIDDEN.iter().copied())
        .filter(|name| !allowed.contains(name))
        .collect::<BTreeSet<&str>>()
        .into_iter()
        .collect();
    rules.push(refuse(&forbidden, &Value::Null));
    let sys_admin = capabilities.iter().any(|held| held == "CAP_SYS_ADMIN");
    if !sys_admin {
        // libcontainer takes these the other way round than the runtime spec has them: mask second.
        let masked = |mask: u64, value: u64| {
            json!([{
                "index": 0,
                "value": value,
                "valueTwo": mask,
                "op": "SCMP_CMP_MASKED_EQ",
            }])
        };
        rules.push(json!({
            "names": ["clone"],
            "action": "SCMP_ACT_ALLOW",
            "args": masked(CLONE_NEW_NAMESPACES, 0),
        }));
        for bit in (0..u64::BITS).map(|bit| 1_u64 << bit) {
            if CLONE_NEW_NAMESPACES & bit != 0 {
                rules.push(refuse(&["clone"], &masked(bit, bit)));
            }
        }
    }
    for value in HARMLESS_PERSONALITIES {
        rules.push(json!({
            "names": ["personality"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": value, "op": "SCMP_CMP_EQ" }],
        }));
    }
    // Every family but AF_VSOCK, which would reach the hypervisor.
    rules.push(json!({
        "names": ["socket"],
        "action": "SCMP_ACT_ALLOW",
        "args": [{ "index": 0, "value": AF_VSOCK, "op": "SCMP_CMP_NE" }],
    }));
    rules.push(refuse(
        &["socket"],
        &json!([{ "index": 0, "value": AF_VSOCK, "op": "SCMP_CMP_EQ" }]),
    ));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": ENOSYS,
        "architectures": architectures(),
        "syscalls": rules,
    })
}

/// A rule that answers these calls as a call without the right to make it is answered.
fn refuse(names: &[&str], args: &Value) -> Value {
    json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM, "args": args })
}

/// Returns the architectures whose programs this processor runs.
fn architectures() -> &'static [&'static str] {
    if cfg!(target_arch = "x86_64") {
        &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    } else if cfg!(target_arch = "aarch64") {
        &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    } else if cfg!(target_arch = "arm") {
        &["SCMP_ARCH_ARM"]
    } else {
        &[]
    }
}

/// Error of a call that is not allowed.
const EPERM: u32 = 1;

/// Error of a call that the kernel does not have.
const ENOSYS: u32 = 38;

/// The hypervisor's socket family.
const AF_VSOCK: u32 = 40;

/// All `CLONE_NEW*` flags: making namespaces needs `SYS_ADMIN`.
const CLONE_NEW_NAMESPACES: u64 = 0x7e02_0000;

/// Linux, 32-bit Linux, UNAME26 of both, and the query.
const HARMLESS_PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Calls that a capability opens.
const GUARDED: &[(&str, &[&str])] = &[
    ("CAP_DAC_READ_SEARCH", &["open_by_handle_at"]),
    (
        "CAP_SYS_ADMIN",
        &[
            "bpf",
            "clone",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "syslog",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    ("CAP_SYS_BOOT", &["reboot"]),
    ("CAP_SYS_CHROOT", &["chroot"]),
    ("CAP_SYS_MODULE", &["delete_module", "finit_module", "init_module"]),
    ("CAP_SYS_PACCT", &["acct"]),
    ("CAP_SYS_PTRACE", &["kcmp", "pidfd_getfd", "process_madvise"]),
    ("CAP_SYS_RAWIO", &["ioperm", "iopl"]),
    ("CAP_SYS_TIME", &["clock_settime", "clock_settime64", "settimeofday", "stime"]),
    ("CAP_SYS_TTY_CONFIG", &["vhangup"]),
    ("CAP_SYS_NICE", &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    ("CAP_SYSLOG", &["syslog"]),
    ("CAP_BPF", &["bpf"]),
    ("CAP_PERFMON", &["perf_event_open"]),
];

/// Calls that no container may make, beside those of [`GUARDED`]: they load kernels, take the
/// machine's keys, swap, or other processes' memory, reach code of the kernel that few use, or are
/// gone from it.
#[rustfmt::skip]
const FORBIDDEN: &[&str] = &[
    "_sysctl", "add_key", "afs_syscall", "bdflush", "create_module", "get_kernel_syms",
    "getpmsg", "io_uring_enter", "io_uring_register", "io_uring_setup", "kexec_file_load",
    "kexec_load", "keyctl", "migrate_pages", "move_pages", "nfsservctl", "pciconfig_iobase",
    "pciconfig_read", "pciconfig_write", "pivot_root", "putpmsg", "query_module", "request_key",
    "security", "swapoff", "swapon", "sysfs", "tuxcall", "uselib", "userfaultfd", "ustat", "vm86",
    "vm86old", "vserver",
];

/// Calls that every container may make.
#[rustfmt::skip]
const ALWAYS: &[&str] = &[
    "accept", "accept4", "access", "adjtimex", "alarm", "arch_prctl", "arm_fadvise64_64",
    "arm_sync_file_range", "bind", "breakpoint", "brk", "cachestat", "cacheflush", "capget",
    "capset", "chdir", "chmod", "chown", "chown32", "clock_adjtime", "clock_adjtime64",
    "clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64",
    "clock_nanosleep", "clock_nanosleep_time64", "close", "close_range", "connect",
    "copy_file_range", "creat", "dup", "dup2", "dup3", "epoll_create", "epoll_create1",
    "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait",
    "epoll_wait_old", "eventfd", "eventfd2", "execve", "execveat", "exit", "exit_group",
    "faccessat", "faccessat2", "fadvise64", "fadvise64_64", "fallocate", "fanotify_mark",
    "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchown32", "fchownat", "fcntl",
    "fcntl64", "fdatasync", "fgetxattr", "flistxattr", "flock", "fork", "fremovexattr",
    "fsetxattr", "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64", "fsync", "ftruncate",
    "ftruncate64", "futex", "futex_requeue", "futex_time64", "futex_wait", "futex_waitv",
    "futex_wake", "futimesat", "get_robust_list", "get_thread_area", "getcpu", "getcwd",
    "getdents", "getdents64", "getegid", "getegid32", "geteuid", "geteuid32", "getgid",
    "getgid32", "getgroups", "getgroups32", "getitimer", "getpeername", "getpgid", "getpgrp",
    "getpid", "getppid", "getpriority", "getrandom", "getresgid", "getresgid32", "getresuid",
    "getresuid32", "getrlimit", "getrusage", "getsid", "getsockname", "getsockopt", "gettid",
    "gettimeofday", "getuid", "getuid32", "getxattr", "inotify_add_watch", "inotify_init",
    "inotify_init1", "inotify_rm_watch", "io_cancel", "io_destroy", "io_getevents",
    "io_pgetevents", "io_pgetevents_time64", "io_setup", "io_submit", "ioctl", "ioprio_get",
    "ioprio_set", "ipc", "kill", "landlock_add_rule", "landlock_create_ruleset",
    "landlock_restrict_self", "lchown", "lchown32", "lgetxattr", "link", "linkat", "listen",
    "listxattr", "llistxattr", "_llseek", "lremovexattr", "lseek", "lsetxattr", "lstat",
    "lstat64", "madvise", "map_shadow_stack", "membarrier", "memfd_create", "memfd_secret",
    "mincore", "mkdir", "mkdirat", "mknod", "mknodat", "mlock", "mlock2", "mlockall", "mmap",
    "mmap2", "modify_ldt", "mprotect", "mq_getsetattr", "mq_notify", "mq_open",
    "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64",
    "mq_unlink", "mremap", "msgctl", "msgget", "msgrcv", "msgsnd", "msync", "munlock",
    "munlockall", "munmap", "name_to_handle_at", "nanosleep", "newfstatat", "_newselect",
    "open", "openat", "openat2", "pause", "pidfd_open", "pidfd_send_signal", "pipe", "pipe2",
    "pkey_alloc", "pkey_free", "pkey_mprotect", "poll", "ppoll", "ppoll_time64", "prctl",
    "pread64", "preadv", "preadv2", "prlimit64", "process_mrelease", "process_vm_readv",
    "process_vm_writev", "pselect6", "pselect6_time64", "ptrace", "pwrite64", "pwritev",
    "pwritev2", "read", "readahead", "readlink", "readlinkat", "readv", "recv", "recvfrom",
    "recvmmsg", "recvmmsg_time64", "recvmsg", "remap_file_pages", "removexattr", "rename",
    "renameat", "renameat2", "restart_syscall", "riscv_flush_icache", "rmdir", "rseq",
    "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn",
    "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64", "rt_tgsigqueueinfo",
    "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr",
    "sched_getparam", "sched_getscheduler", "sched_rr_get_interval",
    "sched_rr_get_interval_time64", "sched_setaffinity", "sched_setattr", "sched_setparam",
    "sched_setscheduler", "sched_yield", "seccomp", "select", "semctl", "semget", "semop",
    "semtimedop", "semtimedop_time64", "send", "sendfile", "sendfile64", "sendmmsg", "sendmsg",
    "sendto", "set_robust_list", "set_thread_area", "set_tid_address", "set_tls", "setfsgid",
    "setfsgid32", "setfsuid", "setfsuid32", "setgid", "setgid32", "setgroups", "setgroups32",
    "setitimer", "setpgid", "setpriority", "setregid", "setregid32", "setresgid",
    "setresgid32", "setresuid", "setresuid32", "setreuid", "setreuid32", "setrlimit", "setsid",
    "setsockopt", "setuid", "setuid32", "setxattr", "shmat", "shmctl", "shmdt", "shmget",
    "shutdown", "sigaltstack", "signalfd", "signalfd4", "sigprocmask", "sigreturn",
    "socketcall", "socketpair", "splice", "stat", "stat64", "statfs", "statfs64", "statx",
    "symlink", "symlinkat", "sync", "sync_file_range", "sync_file_range2", "syncfs", "sysinfo",
    "tee", "tgkill", "time", "timer_create", "timer_delete", "timer_getoverrun",
    "timer_gettime", "timer_gettime64", "timer_settime", "timer_settime64", "timerfd_create",
    "timerfd_gettime", "timerfd_gettime64", "timerfd_settime", "timerfd_settime64", "times",
    "tkill", "truncate", "truncate64", "ugetrlimit", "umask", "uname", "unlink", "unlinkat",
    "utime", "utimensat", "utimensat_time64", "utimes", "vfork", "vmsplice", "wait4", "waitid",
    "waitpid", "write", "writev",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(capabilities: &[&str]) -> Value {
        let owned: Vec<String> = capabilities.iter().map(|&name| name.to_owned()).collect();
        runtime_default(&owned)
    }

    fn names(capabilities: &[&str]) -> Vec<String> {
        serde_json::from_value(profile(capabilities)["syscalls"][0]["names"].clone()).unwrap()
    }

    /// Names that are refused whatever their arguments.
    fn refused(capabilities: &[&str]) -> Vec<String> {
        let rule = &profile(capabilities)["syscalls"][1];
        assert_eq!((&rule["errnoRet"], &rule["args"]), (&json!(EPERM), &Value::Null));
        serde_json::from_value(rule["names"].clone()).unwrap()
    }

    #[test]
    fn dangerous_calls_are_absent_without_their_capability() {
        let allowed = names(&[]);
        for name in ["mount", "bpf", "kexec_load", "io_uring_setup", "userfaultfd", "keyctl"] {
            assert!(!allowed.iter().any(|own| own == name), "{name}");
        }
        assert!(names(&["CAP_SYS_ADMIN"]).iter().any(|own| own == "mount"));
    }

    #[test]
    fn forbidden_calls_are_known_and_unknown_ones_are_not_there() {
        for capabilities in [&[][..], &["CAP_SYS_ADMIN"], &["CAP_BPF", "CAP_SYSLOG"]] {
            let (allowed, refused) = (names(capabilities), refused(capabilities));
            assert!(refused.iter().all(|name| !allowed.contains(name)), "{refused:?}");
            assert!(refused.contains(&"keyctl".to_owned()));
            assert_eq!(profile(capabilities)["defaultErrnoRet"], json!(ENOSYS));
        }
        assert!(refused(&[]).contains(&"mount".to_owned()));
        assert!(!refused(&["CAP_SYS_ADMIN"]).contains(&"mount".to_owned()));
    }

    #[test]
    fn no_call_is_listed_twice() {
        let mut sorted = [ALWAYS, FORBIDDEN].concat();
        let len = sorted.len();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), len);
    }
}
