//! One client, one token, one node and one container do their worst, and nobody else is hurt.
//!
//! The core of the attack suite, on one cluster. All of it, at full length: `make abuse`.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

use bramble_tests::abuse::round::{around, table_head, table_row};
use bramble_tests::abuse::{Extent, Stage, attacks};
use bramble_tests::skip_unless;

#[test]
fn nothing_falls_to_one_client_one_token_one_node_or_one_container() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut stage = Stage::build(91, Extent::Short).unwrap();
    println!("{}", table_head());
    let mut fallen = Vec::new();
    for attack in attacks().iter().filter(|attack| attack.core) {
        let outcome = around(&mut stage, attack).unwrap();
        println!("{}", table_row(&outcome));
        if !outcome.fell.is_empty() {
            fallen.push(outcome.name);
        }
        // What follows would be told of a cluster that is harmed already.
        assert!(fallen.is_empty(), "{fallen:?}: {:#?}", outcome.fell);
    }
    stage.end().unwrap();
}
