//! What udhcpc calls when something happens. A program of its own, started anew for each event.

use std::collections::BTreeMap;

use super::lease::Lease;
use crate::messages::say;

/// Deals with one event; returns whether that succeeded.
///
/// An address is kept when its time is over without a new one: pods go on, and a DHCP server
/// that comes back gives a board its old address again.
pub(crate) fn handle(event: &str, environment: &BTreeMap<String, String>) -> bool {
    if !matches!(event, "bound" | "renew") {
        return true;
    }
    let Some(lease) = Lease::of_environment(environment) else {
        say("the DHCP server gave no address");
        return false;
    };
    match lease.apply() {
        Ok(()) => true,
        Err(error) => {
            say(&format!("{} cannot be used: {error}", lease.address));
            false
        }
    }
}
