//! Keeps the C library's heap from growing for good.
//!
//! By default glibc makes up to eight heaps a core, lets large blocks into them once one was freed,
//! and returns only what is free at their very end: after a burst a process keeps all of it. musl,
//! which is what boards run, has one heap and returns whole free groups by itself, so there is
//! nothing to set. No crate of the tree wraps these calls.

/// Most heaps: one for the threads that never wait, one for those that do.
#[cfg(target_env = "gnu")]
const ARENAS_MAX: i32 = 2;

/// Blocks of this length in bytes get a mapping of their own, which goes when they are freed. It is
/// glibc's first value; set, it no longer grows with every block that is freed.
#[cfg(target_env = "gnu")]
const MAPPED_LEN_MIN: i32 = 128 * 1024;

/// Bounds the heaps of this process. To be called before there are threads.
pub fn bound() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [
        (nix::libc::M_ARENA_MAX, ARENAS_MAX),
        (nix::libc::M_MMAP_THRESHOLD, MAPPED_LEN_MIN),
        (nix::libc::M_TRIM_THRESHOLD, MAPPED_LEN_MIN),
    ] {
        // SAFETY: `mallopt` takes two numbers and changes only the allocator's own settings.
        #[expect(unsafe_code, reason = "no wrapper exists")]
        let _taken = unsafe { nix::libc::mallopt(parameter, value) };
    }
}

/// Gives memory that is not in use back to the system. Takes milliseconds if there is much of it.
pub fn trim() {
    // SAFETY: `malloc_trim` takes a number, locks the heaps itself and moves nothing in use.
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "no wrapper exists")]
    let _trimmed = unsafe { nix::libc::malloc_trim(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident_kib() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap()
    }

    #[test]
    fn memory_of_a_burst_on_many_threads_returns() {
        bound();
        let before = resident_kib();
        let burst = || {
            // Blocks of all sizes, and some that stay between them.
            let mut blocks: Vec<Vec<u8>> = (0..4000).map(|n| vec![1; n * 37 % 16_000]).collect();
            let mut number = 0;
            blocks.retain(|_| {
                number += 1;
                number % 500 == 0
            });
            blocks
        };
        let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(burst)).collect();
        let kept: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        trim();
        let after = resident_kib();
        assert!(after < before + 8 * 1024, "{before} KiB before, {after} KiB after");
        drop(kept);
    }
}
