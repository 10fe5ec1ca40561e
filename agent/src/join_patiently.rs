//! Joins by itself, however long the master takes to appear: a card's board may be switched on
//! first.

use std::time::Duration;

use crate::config::{self, Config};
use crate::join::{JoinError, join};
use crate::join_token::{JoinToken, ParseJoinTokenError};
use crate::server_address::Finder;
use crate::telemetry::Chain;

/// Shortest wait between two tries.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// Longest wait: a person who has just switched the master on looks at the screen.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Wait after a refusal: the master counts tries, and a person has to do something first.
const WAIT_REFUSED: Duration = Duration::from_secs(60);

/// Joins unless that has been done, and keeps what it learnt.
///
/// # Errors
///
/// When the token is none. Everything else is tried again for ever.
pub(crate) async fn join_patiently(
    config: &Config,
    token: &str,
    finder: &Finder,
    server: &str,
    node: &str,
) -> Result<(), ParseJoinTokenError> {
    let identity = config.identity_dir();
    if identity.join("node.der").exists() {
        return Ok(());
    }
    let token = JoinToken::parse(token)?;
    tracing::info!(node, server, "joining the cluster");
    let mut told = String::new();
    let mut wait = WAIT_MIN;
    loop {
        let joined = join(&token, finder, server, node, &identity).await;
        let refused = matches!(joined, Err(JoinError::Refused { .. }));
        let reason = match joined {
            Ok(()) => match config::write_joined(&config.data_dir, node, server) {
                Ok(()) => break,
                Err(error) => format!("could not keep the configuration: {error}"),
            },
            Err(error) => Chain(&error).to_string(),
        };
        // Each new trouble is told once, not at every try.
        if reason != told {
            tracing::warn!(reason, "not joined yet, trying again");
            told = reason;
            wait = WAIT_MIN;
        }
        if refused {
            tokio::time::sleep(WAIT_REFUSED).await;
        } else {
            tokio::time::sleep(wait).await;
            wait = longer(wait);
        }
    }
    tracing::info!(node, server, "joined the cluster");
    Ok(())
}

/// The wait after one of this length.
fn longer(wait: Duration) -> Duration {
    wait.saturating_mul(2).min(WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound() {
        let waits = std::iter::successors(Some(WAIT_MIN), |wait| Some(longer(*wait)));
        let seconds: Vec<u64> = waits.take(6).map(|wait| wait.as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 10, 10]);
    }
}
