//! What a booted agent board uses of its memory; no row has it, but people ask.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::bench::boards::cards::{AGENTS, Cards};
use crate::bench::load::PODS;
use crate::bench::statistics::float;
use crate::qemu::PATIENCE;
use crate::state::text;

/// Longest answer of a command at the console: it starts hundreds of programs.
const BOUND: Duration = Duration::from_secs(120);

/// Measures the first agent.
pub(super) fn measure(cards: &Cards) -> Result<String> {
    let [node, _] = AGENTS;
    let pods = cards.list(PODS)?;
    let here = pods.iter().filter(|pod| text(pod, "/spec/nodeName") == node).count();
    let board = cards.cluster.board(node)?;
    board.console().wait_for_shell(PATIENCE)?;
    let information = board.console().run_ok("cat /proc/meminfo", BOUND)?;
    let processes = board.console().run_ok(
        "for p in /proc/[0-9]*; do k=$(sed -n 's/^Pss: *//p' $p/smaps_rollup 2>/dev/null); \
         [ -n \"$k\" ] && echo pss ${k% kB} $(tr '\\0' ' ' < $p/cmdline | cut -c 1-60); done; true",
        BOUND,
    )?;
    let kib = |key: &str| {
        let line = information.lines().find_map(|line| line.strip_prefix(key));
        let value = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok());
        value.with_context(|| format!("no {key} in /proc/meminfo"))
    };
    let (total, available): (u64, u64) = (kib("MemTotal:")?, kib("MemAvailable:")?);
    let by_program = by_program(&processes);
    let list: Vec<String> =
        by_program.iter().map(|(name, kib)| format!("{name} {:.1}", megabytes(*kib))).collect();
    let sum: u64 = by_program.values().sum();
    // The first process of a board is the agent's binary, too.
    let is_ours = |name: &str| name == "init" || name.starts_with("bramble");
    let ours: u64 = by_program.iter().filter(|(name, _)| is_ours(name)).map(|(_, kib)| kib).sum();
    Ok(format!(
        "Memory of a booted agent board (virt, {:.0} MB for Linux, {here} pods): {:.1} MB used \
         (MemTotal - MemAvailable); PSS of bramble's processes {:.1} MB, of all processes {:.1} MB \
         ({}; shell and its helpers included).",
        megabytes(total),
        megabytes(total.saturating_sub(available)),
        megabytes(ours),
        megabytes(sum),
        list.join(", ")
    ))
}

/// PSS in KiB by program, from lines `pss KIB COMMAND...`.
fn by_program(lines: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for line in lines.lines() {
        let mut words = line.split_whitespace();
        let (Some("pss"), Some(Ok(kib))) = (words.next(), words.next().map(str::parse::<u64>))
        else {
            continue;
        };
        let program = words.next().unwrap_or("?").rsplit('/').next().unwrap_or_default();
        let program = program.trim_start_matches('-').trim_end_matches(':');
        *found.entry(program.to_owned()).or_default() += kib;
    }
    found
}

fn megabytes(kib: u64) -> f64 {
    float(kib) * 1.024 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_added_up_by_program() {
        let text = "pss 100 /usr/bin/bramble-agent init system\npss 50 bramble-agent runtime\n\
                    pss 7 -sh\nnoise\npss x y\n";
        let found = by_program(text);
        assert_eq!(found.get("bramble-agent"), Some(&150));
        assert_eq!(found.get("sh"), Some(&7));
        assert_eq!(found.len(), 2);
    }
}
