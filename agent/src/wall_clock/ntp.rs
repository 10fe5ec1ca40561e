//! Asks NTP servers now and then, and keeps the clock as they say.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bramble_runtime::clock::wall_us;
use bramble_runtime::slew::slew_by;
use tokio::task::JoinSet;

use super::ask::{AskError, ask};
use super::discipline::{Action, Discipline, Round};
use crate::random::random_below;
use crate::telemetry::Chain;

/// Port of NTP.
const PORT: u16 = 123;

/// Asks these servers, names or addresses, for ever. The floor is the moment before which nothing
/// can be now, in microseconds since 1970.
pub(super) async fn follow_servers(servers: Vec<String>, floor_us: impl Fn() -> u64) {
    let mut discipline = Discipline::default();
    let mut last: Option<Action> = None;
    loop {
        let round = ask_all(&servers).await;
        let decision = discipline.on_round(&round, wall_us(), floor_us());
        let done = act(decision.action);
        tell(decision.action, last, &done);
        last = Some(decision.action);
        tokio::time::sleep(jittered(decision.wait)).await;
    }
}

/// A time that is up to a tenth longer: boards that were switched on together do not ask together
/// for ever.
fn jittered(wait: Duration) -> Duration {
    let tenth = u64::try_from(wait.as_millis() / 10).unwrap_or_default();
    wait + Duration::from_millis(random_below(tenth))
}

async fn ask_all(servers: &[String]) -> Round {
    let mut addresses = BTreeSet::new();
    for server in servers {
        // One after the other: each waits on a thread of which there are few.
        match resolve(server).await {
            Ok(address) => {
                addresses.insert(address);
            }
            Err(error) => tracing::debug!(%server, %error, "time server not found"),
        }
    }
    let mut asked = JoinSet::new();
    for address in addresses {
        asked.spawn(async move { (address, ask(address).await) });
    }
    let mut round = Round::default();
    while let Some(answer) = asked.join_next().await {
        let Ok((address, answer)) = answer else { continue };
        match answer {
            Ok(sample) => {
                tracing::debug!(%address, ?sample, "time server answered");
                round.samples.push(sample);
            }
            Err(error) => {
                tracing::debug!(%address, error = %Chain(&error), "no time from this server");
                round.refused |= matches!(error, AskError::Refused(_));
            }
        }
    }
    round
}

/// One of a server's addresses, of the kind that every network has if there is one.
async fn resolve(server: &str) -> io::Result<SocketAddr> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host((server, PORT)).await?.collect();
    let of_version_4 = found.iter().find(|address| address.is_ipv4());
    let chosen = of_version_4.or_else(|| found.first()).copied();
    chosen.ok_or_else(|| io::Error::other("it has no address"))
}

fn act(action: Action) -> io::Result<()> {
    match action {
        Action::Unknown
        | Action::Impossible
        | Action::Contradiction(_)
        | Action::Leave
        | Action::Doubt(_) => Ok(()),
        Action::Slew(offset_us) => slew_by(offset_us),
        Action::Step(offset_us) => super::set_us(wall_us().saturating_add_signed(offset_us)),
    }
}

fn tell(action: Action, last: Option<Action>, done: &io::Result<()>) {
    if let Err(error) = done {
        tracing::warn!(%error, ?action, "the clock could not be set to the time servers'");
        return;
    }
    let fresh = matches!(last, None | Some(Action::Unknown));
    match action {
        // Ordinary where there is no internet: said once.
        Action::Unknown if last != Some(Action::Unknown) => {
            tracing::info!("no time server tells the time; they are asked again and again");
        }
        Action::Unknown => tracing::debug!("no time server tells the time"),
        // Said when it begins and not at every repetition.
        Action::Impossible if last != Some(Action::Impossible) => {
            tracing::warn!("the time servers say a time that has passed already; not believed");
        }
        Action::Contradiction(apart_us) if !matches!(last, Some(Action::Contradiction(_))) => {
            let apart_s = apart_us / 1_000_000;
            tracing::warn!(apart_s, "the time servers contradict each other; the clock is left");
        }
        Action::Impossible | Action::Contradiction(_) => {
            tracing::debug!(?action, "the time servers are still not believed");
        }
        Action::Step(offset_us) => {
            tracing::info!(offset_us, "the clock was set to the time servers'");
        }
        Action::Doubt(_) if matches!(last, Some(Action::Doubt(_))) => {
            tracing::debug!(?action, "the time servers were asked again");
        }
        Action::Doubt(offset_us) => {
            tracing::warn!(offset_us, "the time servers say a time that is hard to believe");
        }
        Action::Leave | Action::Slew(_) if fresh => {
            tracing::info!(?action, "the clock follows the time servers'");
        }
        Action::Leave | Action::Slew(_) => tracing::debug!(?action, "the time servers were asked"),
    }
}
