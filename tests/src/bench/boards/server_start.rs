//! Row 17 on an emulated board: the master's server is killed, and its supervisor starts it anew.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::api::Following;
use crate::bench::boards::cards::Cards;
use crate::bench::load::{self, PODS, Request};
use crate::bench::report::progress;
use crate::bench::statistics::Samples;
use crate::qemu::console::Console;
use crate::state::text;
use crate::wait::{now, pause};

/// Pods that are stored meanwhile.
const STORED: usize = 1_000;
/// What their names begin with.
const PREFIX: &str = "stored-";
/// Connections that they are created over: an emulated processor has no use for many.
const CONNECTIONS: usize = 4;
/// Longest answer of a command at the console.
const BOUND: Duration = Duration::from_secs(30);
/// Looks at the board's clock; the quickest counts.
const LOOKS: usize = 5;
/// Hundredths of a second, in which Linux tells when a process was started.
const TICK: Duration = Duration::from_millis(10);

/// Measures row 17.
pub(super) fn measure(cards: &Cards, repeat: usize) -> Result<Vec<String>> {
    progress("a thousand pods are stored on the emulated master");
    let before = others(cards)?;
    let created = load::send(&cards.api, CONNECTIONS, STORED, |index| {
        Request::create(PODS, &load::homeless_pod(&format!("{PREFIX}{index}")))
    })?;
    let console = cards.master()?.console();
    console.wait_for_shell(BOUND)?;
    let (mut from_start, mut from_kill) = (Vec::new(), Vec::new());
    for round in 0..repeat {
        progress(&format!("the emulated master's server starts, {} of {repeat}", round + 1));
        cards.wait_for_standing()?;
        let (start, kill) = restart(cards, console)?;
        from_start.push(start);
        from_kill.push(kill);
    }
    cards.wait_for_standing()?;
    let stored = cards.list(PODS)?.len();
    ensure!(stored >= STORED, "{stored} pods after the restarts");
    // Nothing but a board that is taken for dead replaces a pod here.
    let replaced = match others(cards)?.difference(&before).count() {
        0 => String::new(),
        count => format!("; {count} pods were replaced meanwhile, though no board lost power"),
    };
    Ok(vec![format!(
        "{}, from the process's start by its supervisor to an answer over a new connection \
         ({} from the kill on); {stored} pods stored, created at {:.0}/s{replaced}",
        Samples::new(from_start).median_and_spread(),
        Samples::new(from_kill).median_and_spread(),
        created.rate
    )])
}

/// Names of the pods that were not made to be stored alone.
fn others(cards: &Cards) -> Result<BTreeSet<String>> {
    let pods = cards.list(PODS)?;
    let names = pods.iter().map(|pod| text(pod, "/metadata/name").to_owned());
    Ok(names.filter(|name| !name.starts_with(PREFIX)).collect())
}

/// Kills the server once; returns how long after the start of its process and how long after the
/// end of its predecessor it was ready.
fn restart(cards: &Cards, console: &Console) -> Result<(Duration, Duration)> {
    let zero = board_start(console)?;
    let held = cards.nodes()?;
    let pid = console.run_ok("pidof bramble", BOUND)?;
    let pid: u32 = pid.trim().parse().with_context(|| format!("not one server: `{pid}`"))?;
    let (dead, ready) = thread::scope(|scope| {
        // Beside, since the console's answer comes later than what is waited for here.
        let typed = scope.spawn(|| console.run_ok(&format!("kill -9 {pid}"), BOUND));
        let seen = dead_and_ready(cards, &held);
        typed.join().map_err(|_| anyhow!("the thread that types panicked"))??;
        seen
    })?;
    let told = console.run_ok("cut -d ' ' -f 22 /proc/$(pidof bramble)/stat", BOUND)?;
    let ticks: u32 = told.trim().parse().with_context(|| format!("no time: `{told}`"))?;
    let started = zero + TICK * ticks;
    ensure!(ready > started, "the server was ready before its process started");
    Ok((ready - started, ready.saturating_duration_since(dead)))
}

/// When the server's connections broke, and when its successor was ready.
fn dead_and_ready(cards: &Cards, held: &Following) -> Result<(Instant, Instant)> {
    // The kernel closes a dead server's connections: that moment ends the watch.
    while held.next(BOUND).is_ok() {}
    let dead = now();
    loop {
        // The port is closed at first, then TLS may not answer yet: all of it is "not ready".
        let answer = cards.api.connect().and_then(|mut one| one.request("GET", "/readyz", None));
        if answer.is_ok_and(|(status, _)| status == 200) {
            return Ok((dead, now()));
        }
        ensure!(dead.elapsed() < Duration::from_secs(60), "the server does not become ready");
        pause(Duration::from_millis(10));
    }
}

/// When the board's kernel started, on this machine's clock: what the board's clock shows, taken
/// off the moment at which it is seen here. Late by the way over the serial port, some ms.
fn board_start(console: &Console) -> Result<Instant> {
    let mut earliest: Option<Instant> = None;
    for _ in 0..LOOKS {
        let mark = console.mark();
        let text = console.run_ok("read up idle < /proc/uptime; echo up=$up", BOUND)?;
        let up = text.trim().strip_prefix("up=").and_then(|word| word.parse::<f64>().ok());
        let up = Duration::try_from_secs_f64(up.with_context(|| format!("no time: `{text}`"))?)?;
        let seen = console.seen_at(text.trim(), mark).context("the answer was not seen")?;
        let start = seen.checked_sub(up).context("the board is older than this machine")?;
        earliest = Some(earliest.map_or(start, |before| before.min(start)));
    }
    earliest.context("the clock was not looked at")
}
