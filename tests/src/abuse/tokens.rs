//! Join tokens in wrong hands, and nodes whose access was taken away.

use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::node_messages::hello;
use super::stage::SPARE;
use super::{Attack, Stage};
use crate::board::Board;
use crate::state::text;
use crate::wait::{now, wait_until};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "tokens/takeover",
        must: "a token makes no other board an existing node, and tells no serial",
        core: true,
        restarts_master: false,
        run: takeover,
    },
    Attack {
        name: "tokens/brute-force",
        must: "guessing is refused, and locks no honest board out",
        core: true,
        restarts_master: false,
        run: brute_force,
    },
    Attack {
        name: "tokens/revoked-node",
        must: "a revoked node has no access a second later",
        core: true,
        restarts_master: false,
        run: revoked_node,
    },
];

/// How many wrong secrets are tried.
const GUESSES: usize = 25;
/// A revocation takes effect within a second, and looking at it takes some of another.
const REVOKED: Duration = Duration::from_secs(2);

fn takeover(stage: &mut Stage) -> Result<String> {
    let board = stage.evil_board()?;
    let serial = serial_of(stage, SPARE)?;
    let token = stage.cluster().token(&[])?;
    let joined = join(stage, &board, &token, SPARE)?;
    let said = said(&joined);
    ensure!(!joined.status.success(), "a token made another board the node {SPARE}");
    ensure!(!said.contains(&serial), "the refusal tells the serial: {said}");
    // The node that has the name goes on with its own key.
    stage.link_works(Duration::from_secs(5))?;
    // The token was not used up by the refusal, or is not needed: an honest name still joins.
    let honest = stage.cluster().token(&[])?;
    let joined = join(stage, &board, &honest, "honest")?;
    ensure!(joined.status.success(), "a new name cannot join: {}", self::said(&joined));
    Ok(said.lines().last().unwrap_or_default().to_owned())
}

fn brute_force(stage: &mut Stage) -> Result<String> {
    let board = stage.evil_board()?;
    let token = stage.cluster().token(&[])?;
    let (start, _) = token.split_at(token.len() - 4);
    let mut limited = 0;
    for guess in 0..GUESSES {
        let wrong = format!("{start}{guess:04x}");
        let joined = join(stage, &board, &wrong, "guesser")?;
        ensure!(wrong == token || !joined.status.success(), "a guess was right");
        limited += usize::from(said(&joined).contains("tries"));
    }
    // The token that was guessed at is still good for whom it was made, at another address.
    let honest = stage.evil_board()?;
    let joined = join(stage, &honest, &token, "patient")?;
    ensure!(joined.status.success(), "guesses lock an honest board out: {}", said(&joined));
    ensure!(limited > 0, "{GUESSES} guesses were all looked at");
    Ok(format!("{limited} of {GUESSES} refused for their number"))
}

fn revoked_node(stage: &mut Stage) -> Result<String> {
    let board = stage.evil_board()?;
    let mut link = stage.node_link(&board)?;
    link.welcome(&hello(&board, 1))?;
    stage.cluster().bramble(&["node", "revoke", &board.name])?;
    let start = now();
    wait_until("the link has ended", REVOKED, || {
        let alive = link.pump(Duration::from_millis(50)).is_ok();
        Ok(alive.then(|| "it goes on".to_owned()))
    })?;
    let took = start.elapsed();
    let again = stage.node_link(&board).and_then(|mut link| link.welcome(&hello(&board, 1)));
    ensure!(again.is_err(), "a revoked node is welcome again");
    Ok(format!("{} ms", took.as_millis()))
}

/// Tries to join under a name, from a board's place, with a key that is new.
fn join(stage: &Stage, board: &Board, token: &str, name: &str) -> Result<Output> {
    let data = board.card.join(format!("data-{name}-{}", token.len()));
    let _ = std::fs::remove_dir_all(&data);
    let data = data.to_string_lossy().into_owned();
    let server = stage.administrator_address().to_string();
    let args =
        ["join", token, "--no-service", "--server", &server, "--node", name, "--data-dir", &data];
    board.command(&stage.cluster().agent_program(), &args).output().context("could not run join")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// Serial of a node's board, as an administrator sees it.
pub(super) fn serial_of(stage: &Stage, node: &str) -> Result<String> {
    let node = stage.kubectl().json(&["get", "node", node])?;
    let serial = text(&node, "/metadata/annotations/bramble.io~1serial").to_owned();
    ensure!(!serial.is_empty(), "the node has no serial");
    Ok(serial)
}
