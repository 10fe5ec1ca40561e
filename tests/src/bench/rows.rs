//! What is measured and what it must reach; and a measured figure.

use anyhow::Result;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its number, which never changes.
    pub number: u8,
    /// What is measured.
    pub what: &'static str,
    /// What it must reach.
    pub reach: &'static str,
}

/// All rows that the program can measure, here or on emulated boards.
pub const ROWS: [Row; 19] = [
    row(1, "master's memory (PSS): idle; 10 nodes and 1,000 pods", "20 MB; 60 MB"),
    row(2, "agent's memory (PSS): idle; with 30 pods", "12 MB; 20 MB"),
    row(3, "memory per pod beyond the workload", "1 MB (aim: 0.3 MB)"),
    row(4, "master's CPU, idle, 10 nodes", "1 % of a Pi 4 core"),
    row(5, "disk writes of an idle cluster, per node and day", "1 MB; 0 commits"),
    row(6, "power cut to endpoint gone", "p99 < 1 s"),
    row(7, "power cut to stateless pod Running elsewhere, image present", "p99 < 2 s"),
    row(8, "power cut to StatefulSet pod Running elsewhere", "p99 < 5 s, never twice"),
    row(10, "pod create to Running, image present", "p50 < 100 ms on a PC; p99 < 2x"),
    row(11, "container create + start + delete, against crun", "<= 1.0x"),
    row(12, "100 pods on one node, all Running", "< 5 s on a PC"),
    row(13, "scheduler, 1,000 nodes", "> 10,000 pods/s; with neighbours > 2,000"),
    row(14, "API throughput and latency", ">= 3x upstream at <= 1/10 of its memory"),
    row(16, "power-on to node Ready", "< 10 s emulated raspi3b, < 20 s on a board"),
    row(17, "master's process start to `/readyz`, 1,000 pods stored", "< 200 ms"),
    row(18, "binaries, stripped, arm64: master, agent", "15 MB, 8 MB"),
    row(19, "card image, compressed", "64 MB"),
    row(24, "write to event at 100 watchers", "p50 < 1 ms, p99 < 10 ms"),
    row(25, "card bytes per ConfigMap create, 16 parallel", "< 2 KB"),
];

/// Rows that are measured on this machine without emulated boards.
pub const HERE: [u8; 14] = [1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 17, 18, 24, 25];
/// Rows that are measured on emulated boards, and those of what boards are given.
pub const BOARDS: [u8; 7] = [6, 7, 8, 16, 17, 18, 19];

const fn row(number: u8, what: &'static str, reach: &'static str) -> Row {
    Row { number, what, reach }
}

/// Where a figure was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// This machine; boards are network namespaces.
    Namespaces,
    /// This machine; one process and no cluster.
    Process,
    /// A build for boards.
    CrossBuild,
    /// Boards of QEMU, which emulates their processors.
    Emulated,
    /// Nowhere.
    Nowhere,
}

impl Place {
    /// The word of the table.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Namespaces => "PC (namespaces)",
            Self::Process => "PC (one process)",
            Self::CrossBuild => "cross build",
            Self::Emulated => EMULATED,
            Self::Nowhere => "-",
        }
    }
}

/// Word of [`Place::Emulated`].
pub const EMULATED: &str = "TCG (emulated boards)";

/// Longest reason in the table, in characters.
const LONGEST_CAUSE: usize = 160;

/// A measured row.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Number of its row.
    pub number: u8,
    /// What was measured, with units; or why nothing was.
    pub value: String,
    /// Where.
    pub place: Place,
    /// All that is known of a failure.
    pub failure: Option<String>,
}

impl Figure {
    /// A value, or the reason for which there is none.
    #[must_use]
    pub fn new(number: u8, place: Place, value: Result<String>) -> Self {
        match value {
            Ok(value) => Self { number, value, place, failure: None },
            Err(error) => Self::not_measured(number, &error),
        }
    }

    /// The values of several rows that are taken together, or why there are none.
    #[must_use]
    pub fn several(numbers: &[u8], place: Place, values: Result<Vec<String>>) -> Vec<Self> {
        match values {
            Ok(values) => numbers
                .iter()
                .zip(values)
                .map(|(number, value)| Self::new(*number, place, Ok(value)))
                .collect(),
            Err(error) => {
                numbers.iter().map(|number| Self::not_measured(*number, &error)).collect()
            }
        }
    }

    /// The reason for which there is no value.
    #[must_use]
    pub fn not_measured(number: u8, error: &anyhow::Error) -> Self {
        // An error may carry logs; the table has room for the end of its cause.
        let cause = error.root_cause().to_string().replace(['|', '\n'], " ");
        let long = cause.chars().count().saturating_sub(LONGEST_CAUSE);
        let dots = if long > 0 { "... " } else { "" };
        let cause: String = dots.chars().chain(cause.trim().chars().skip(long)).collect();
        Self {
            number,
            value: format!("not measured: {cause}"),
            place: Place::Nowhere,
            failure: Some(format!("{error:#}")),
        }
    }
}
