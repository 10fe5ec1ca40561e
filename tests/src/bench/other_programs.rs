//! Rows 11, 13 and 18: what other programs of this repository print or build.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::bench::report::progress;
use crate::bench::rows::{Figure, Place};
use crate::bench::statistics::{bytes, float, median_rate};
use crate::programs::{binary_folder, run};

/// Rounds of row 11.
const ROUNDS: &str = "100";
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Measures those of rows 11, 13 and 18 that are wanted.
#[must_use]
pub fn measure(wanted: &[u8]) -> Vec<Figure> {
    let mut figures = Vec::new();
    if wanted.contains(&13) {
        figures.push(Figure::new(13, Place::Process, scheduler()));
    }
    if wanted.contains(&11) {
        figures.push(Figure::new(11, Place::Process, containers()));
    }
    if wanted.contains(&18) {
        figures.push(Figure::new(18, Place::CrossBuild, sizes()));
    }
    figures
}

/// Row 11.
fn containers() -> Result<String> {
    progress("containers beside crun and runc");
    let program = example("bench_containers")?;
    // crun refuses a host that has both versions of cgroups while it sees the second.
    let hybrid = Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists();
    let hide = if hybrid { "umount /sys/fs/cgroup/unified && " } else { "" };
    let line = format!("{hide}exec \"$0\" {ROUNDS}");
    let printed = run("unshare", &["--mount", "sh", "-c", &line, &program])?;
    let mut medians = Vec::new();
    for line in printed.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(Ok(time))) = (words.next(), words.next().map(str::parse::<f64>)) {
            medians.push((name.to_owned(), time));
        }
    }
    let Some((_, ours)) = medians.iter().find(|(name, _)| name == "bramble") else {
        bail!("the example printed `{printed}`");
    };
    let others: Vec<String> = medians
        .iter()
        .filter(|(name, _)| name != "bramble")
        .map(|(name, time)| format!("{:.2}x {name} ({time:.2} ms)", ours / time))
        .collect();
    let beside = if others.is_empty() { "crun is not here".to_owned() } else { others.join(", ") };
    Ok(format!("{ours:.2} ms: {beside}; medians of {ROUNDS} in turns"))
}

/// Row 13.
fn scheduler() -> Result<String> {
    progress("the scheduler");
    let program = example("scheduler_throughput")?;
    let rates = |arguments: &[&str]| -> Result<String> {
        let mut rates = Vec::new();
        for _ in 0..5 {
            let printed = run(&program, arguments)?;
            let rate = printed.split_whitespace().rev().nth(1).and_then(|word| word.parse().ok());
            rates.push(rate.with_context(|| format!("the example printed `{printed}`"))?);
        }
        Ok(median_rate(&rates).replace("/s", " pods/s"))
    };
    let (plain, neighbours) = (rates(&[])?, rates(&["neighbours"])?);
    Ok(format!(
        "{plain}, each run 20,000 pods; with required anti-affinity and spread on every one of \
         10,000 pods {neighbours}"
    ))
}

/// Row 18.
fn sizes() -> Result<String> {
    let folder = cross_folder()?;
    let mut found = Vec::new();
    for profile in ["release", "card"] {
        let size = |name: &str| {
            fs::metadata(folder.join(profile).join(name)).map(|file| bytes(float(file.len())))
        };
        let sizes = [size("bramble"), size("bramble-agent")];
        if sizes.iter().any(Result::is_ok) {
            let [master, agent] = sizes.map(|size| size.unwrap_or_else(|_| "not built".to_owned()));
            found.push(format!("{master}, {agent} (profile `{profile}`)"));
        }
    }
    if found.is_empty() {
        bail!("no binaries for boards here: run `make cross` first");
    }
    Ok(found.join("; "))
}

/// Where `make cross` puts its binaries: `target/cross/TRIPLE`, beside the folder of ours.
fn cross_folder() -> Result<PathBuf> {
    let release = binary_folder()?;
    let target = release.parent().context("the binaries are in no target folder")?;
    Ok(target.join("cross").join(TARGET))
}

fn example(name: &str) -> Result<String> {
    let path = binary_folder()?.join("examples").join(name);
    if !path.is_file() {
        bail!("example `{name}` is not built: `make bench` does it");
    }
    Ok(path.to_string_lossy().into_owned())
}
