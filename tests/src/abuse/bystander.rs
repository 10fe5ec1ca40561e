//! Somebody else: another identity at another address, who asks for one object all the time.
//!
//! Every request is a connection of its own, since a new client is the first one that a flood
//! locks out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::api::Api;
use crate::place::Place;
use crate::wait::{now, pause};

/// Pause between two requests.
const INTERVAL: Duration = Duration::from_millis(200);
/// An answer that takes longer than this is none. Two processors are shared by attacker, boards
/// and bystander here, so this asks for "not locked out", not for speed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Failures that are kept in words.
const FAILURES_MAX: usize = 3;

/// A running bystander.
#[derive(Debug)]
pub(super) struct Bystander {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Answers>,
}

/// What a bystander got.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Requests.
    pub(super) asked: usize,
    /// Requests without an answer in time.
    pub(super) failed: usize,
    /// The first failures in words.
    pub(super) failures: Vec<String>,
    /// The slowest answer.
    pub(super) slowest: Duration,
}

impl Bystander {
    /// Starts asking for `path`.
    pub(super) fn start(place: Arc<Place>, api: Api, path: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let api = api.with_timeout(PATIENCE);
        let thread = thread::spawn(move || {
            let mut answers = Answers::default();
            while !stopped.load(Ordering::Relaxed) {
                let sent = now();
                let answer = ask(&place, &api, path);
                let took = sent.elapsed();
                answers.asked += 1;
                answers.slowest = answers.slowest.max(took);
                let failure = match answer {
                    _ if took >= PATIENCE => Some(format!("nothing within {took:.1?}")),
                    Ok(()) => None,
                    Err(error) => Some(format!("{error:#}")),
                };
                if let Some(failure) = failure {
                    answers.failed += 1;
                    answers.failures.push(failure);
                    answers.failures.truncate(FAILURES_MAX);
                }
                pause(INTERVAL);
            }
            answers
        });
        Self { stop, thread }
    }

    /// Stops asking and returns what came.
    ///
    /// # Errors
    /// The bystander has panicked.
    pub(super) fn stop(self) -> Result<Answers> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the bystander panicked")
    }
}

fn ask(place: &Place, api: &Api, path: &str) -> Result<()> {
    let socket = place.connect(api.address(), PATIENCE)?;
    api.connect_over(socket)?.get(path).map(drop)
}
