//! How the boards are, from what their heartbeats tell: for people, and for node conditions.
//!
//! Kept in memory alone and renewed ten times a second, so that nothing of it is ever written.
//! Knows neither sockets nor a clock, and does not judge liveness: see [`crate::membership`].

use std::collections::BTreeMap;

use bramble_shared::heartbeat::{Heartbeat, Report};
use bramble_shared::ids::{BootId, Incarnation, NodeId};
use embassy_time::{Duration, Instant};

mod loss;
mod power;

use loss::LossWindow;
pub use loss::{LOSS_WINDOW, Loss};
use power::PowerHold;
pub use power::{POWER_HOLD, PowerState};

/// How a board is. What nobody can tell is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// Smoothed time from a heartbeat to its acknowledgement, as the agent measures it.
    pub round_trip: Option<Duration>,
    /// Heartbeats of the last minute that did not arrive.
    pub loss: Loss,
    /// Temperature of the processor in degrees Celsius.
    pub temperature_celsius: Option<i8>,
    /// What is wrong with its power, or was a moment ago.
    pub power: Option<PowerState>,
    /// Time since it booted.
    pub up: Duration,
    /// Bytes that are written to its card in a day.
    pub card_bytes_per_day: Option<u64>,
}

/// The last that was heard of every node.
#[derive(Debug, Default)]
pub struct VitalsTable {
    nodes: BTreeMap<NodeId, Heard>,
}

#[derive(Debug)]
struct Heard {
    boot: BootId,
    incarnation: Incarnation,
    /// The newest heartbeat's number.
    sequence: u64,
    at: Instant,
    up: Duration,
    report: Report,
    loss: LossWindow,
    power: PowerHold,
}

impl VitalsTable {
    /// Takes in a heartbeat of the boot that is believed to be the node. True if what is said of
    /// its power has changed.
    pub fn handle_heartbeat(&mut self, node: NodeId, heartbeat: &Heartbeat, now: Instant) -> bool {
        let Heartbeat { sequence, boot_id, incarnation, sent_at, report, .. } = *heartbeat;
        let up = Duration::from_ticks(sent_at);
        let heard = self.nodes.entry(node).or_insert_with(|| Heard {
            boot: boot_id,
            incarnation,
            sequence: 0,
            at: now,
            up,
            report,
            loss: LossWindow::default(),
            power: PowerHold::default(),
        });
        let known = heard.boot == boot_id;
        if known && incarnation < heard.incarnation {
            return false;
        }
        if !known || incarnation != heard.incarnation {
            (heard.boot, heard.incarnation, heard.sequence) = (boot_id, incarnation, 0);
            heard.loss.restart();
        }
        heard.loss.add(sequence, now);
        // One that was overtaken tells what was.
        if sequence <= heard.sequence {
            return false;
        }
        (heard.sequence, heard.at, heard.up, heard.report) = (sequence, now, up, report);
        heard.power.add(report.power, now)
    }

    /// Forgets a node.
    pub fn remove(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    /// What is wrong with a node's power; none if it cannot tell.
    #[must_use]
    pub fn power(&self, node: NodeId) -> Option<PowerState> {
        self.nodes.get(&node)?.power.state()
    }

    /// How a node is; none if it was never heard.
    #[must_use]
    pub fn vitals(&self, node: NodeId, now: Instant) -> Option<Vitals> {
        let heard = self.nodes.get(&node)?;
        let report = &heard.report;
        Some(Vitals {
            round_trip: report.round_trip_us.map(|micros| Duration::from_micros(micros.into())),
            loss: heard.loss.loss(now),
            temperature_celsius: report.temperature_celsius,
            power: heard.power.state(),
            up: heard.up.checked_add(now.saturating_duration_since(heard.at)).unwrap_or(heard.up),
            card_bytes_per_day: report.card_kib_per_day.map(|kib| u64::from(kib) * 1024),
        })
    }
}

#[cfg(test)]
mod tests {
    use bramble_shared::heartbeat::Power;

    use super::*;

    const NODE: NodeId = NodeId(1);

    fn heartbeat(sequence: u64, sent_at: Instant) -> Heartbeat {
        Heartbeat {
            sequence,
            boot_id: BootId([1; 16]),
            incarnation: Incarnation(1),
            sent_at: sent_at.as_micros(),
            last_ack: 0,
            report: Report {
                power: Some(Power::default()),
                round_trip_us: Some(400),
                temperature_celsius: Some(51),
                card_kib_per_day: Some(300),
                ..Report::default()
            },
        }
    }

    #[test]
    fn what_a_heartbeat_says_is_told_and_its_uptime_goes_on() {
        let mut table = VitalsTable::default();
        let now = Instant::from_secs(5);
        assert_eq!(table.vitals(NODE, now), None);
        assert!(table.handle_heartbeat(NODE, &heartbeat(1, Instant::from_secs(7_380)), now));
        let vitals = table.vitals(NODE, Instant::from_secs(7)).unwrap();
        assert_eq!(
            vitals,
            Vitals {
                round_trip: Some(Duration::from_micros(400)),
                loss: Loss { lost: 0, sent: 1 },
                temperature_celsius: Some(51),
                power: Some(PowerState::default()),
                up: Duration::from_secs(7_382),
                card_bytes_per_day: Some(300 << 10),
            }
        );
        table.remove(NODE);
        assert_eq!(table.vitals(NODE, now), None);
    }

    #[test]
    fn a_heartbeat_that_was_overtaken_changes_only_the_loss() {
        let mut table = VitalsTable::default();
        let now = Instant::from_secs(5);
        table.handle_heartbeat(NODE, &heartbeat(1, now), now);
        table.handle_heartbeat(NODE, &heartbeat(3, now), now);
        assert_eq!(table.vitals(NODE, now).unwrap().loss, Loss { lost: 1, sent: 3 });
        let mut late = heartbeat(2, now);
        late.report.temperature_celsius = Some(9);
        table.handle_heartbeat(NODE, &late, now);
        let vitals = table.vitals(NODE, now).unwrap();
        assert_eq!((vitals.loss.lost, vitals.temperature_celsius), (0, Some(51)));
    }

    #[test]
    fn another_start_of_the_agent_loses_nothing_and_an_older_one_is_not_heard() {
        let mut table = VitalsTable::default();
        let now = Instant::from_secs(5);
        table.handle_heartbeat(NODE, &heartbeat(500, now), now);
        let next = Heartbeat { incarnation: Incarnation(2), ..heartbeat(1, now) };
        table.handle_heartbeat(NODE, &next, now);
        table.handle_heartbeat(NODE, &heartbeat(501, now), now);
        table.handle_heartbeat(NODE, &Heartbeat { sequence: 2, ..next }, now);
        assert_eq!(table.vitals(NODE, now).unwrap().loss, Loss { lost: 0, sent: 3 });
        // A new boot begins to count anew as well.
        let boot = Heartbeat { boot_id: BootId([2; 16]), ..heartbeat(1, Instant::from_secs(9)) };
        table.handle_heartbeat(NODE, &boot, now);
        let vitals = table.vitals(NODE, now).unwrap();
        assert_eq!((vitals.loss.lost, vitals.up), (0, Duration::from_secs(9)));
    }

    #[test]
    fn power_is_told_to_have_changed_once() {
        let mut table = VitalsTable::default();
        let mut told = 0;
        for sequence in 1..10 {
            let at = Instant::from_millis(100 * sequence);
            let mut next = heartbeat(sequence, at);
            next.report.power = Some(Power::UNDER_VOLTAGE);
            told += u32::from(table.handle_heartbeat(NODE, &next, at));
        }
        assert_eq!(told, 1);
        assert_eq!(table.power(NODE), Some(PowerState { under_voltage: true, throttled: false }));
    }
}
