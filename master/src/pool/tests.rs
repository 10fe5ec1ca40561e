//! Tasks on the pool's threads, in an order that does not depend on time.

use std::sync::mpsc;

use tokio::sync::{Semaphore, oneshot};

use super::*;

fn user(name: &str) -> Identity {
    Identity::User(name.into())
}

/// Keeps all threads of the pool busy until it is dropped.
fn occupy(pool: &Pool) -> Vec<mpsc::Sender<()>> {
    let (running, is_running) = mpsc::channel();
    let gates = (0..THREADS)
        .map(|_| {
            let (gate, opened) = mpsc::channel::<()>();
            let running = running.clone();
            pool.spawn(user("occupier"), async move {
                running.send(()).unwrap();
                let _ = opened.recv();
            });
            gate
        })
        .collect();
    (0..THREADS).for_each(|_| is_running.recv().unwrap());
    gates
}

#[tokio::test]
async fn burst_of_one_delays_another_by_what_runs_only() {
    let pool = Pool::start(Handle::current()).unwrap();
    let occupied = occupy(&pool);
    let (ended, order) = mpsc::channel();
    let push = |name: &'static str| {
        let ended = ended.clone();
        pool.spawn(user(name), async move { ended.send(name).unwrap() });
    };
    (0..60).for_each(|_| push("burst"));
    push("other");
    drop(occupied);
    let order: Vec<_> = order.iter().take(61).collect();
    let position = order.iter().position(|name| *name == "other").unwrap();
    assert!(position <= THREADS, "{position} pieces of the burst came before it");
    assert_eq!(order.iter().filter(|name| **name == "burst").count(), 60);
}

#[tokio::test]
async fn waiting_takes_no_thread_and_every_wake_is_seen() {
    let pool = Pool::start(Handle::current()).unwrap();
    let steps = Arc::new(Semaphore::new(0));
    let mut ends = Vec::new();
    for task in 0..100 {
        let (end, ended) = oneshot::channel();
        let steps = Arc::clone(&steps);
        pool.spawn(user(["a", "b"][task % 2]), async move {
            for _ in 0..10 {
                steps.acquire().await.unwrap().forget();
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            end.send(()).unwrap();
        });
        ends.push(ended);
    }
    for _ in 0..1_000 {
        steps.add_permits(1);
        tokio::task::yield_now().await;
    }
    for ended in ends {
        ended.await.unwrap();
    }
    pool.stop();
}

#[tokio::test]
async fn panic_ends_its_task_alone() {
    let pool = Pool::start(Handle::current()).unwrap();
    for _ in 0..2 * THREADS {
        let (held, released) = oneshot::channel::<()>();
        pool.spawn(user("a"), async move {
            let _held = held;
            let empty: Vec<u8> = Vec::new();
            assert_eq!(empty[0], 0);
        });
        assert!(released.await.is_err(), "what it held is dropped");
    }
    let (end, ended) = oneshot::channel();
    pool.spawn(user("a"), async move { end.send(()).unwrap() });
    ended.await.unwrap();
}

#[tokio::test]
async fn socket_that_always_has_something_does_not_keep_a_thread() {
    let pool = Pool::start(Handle::current()).unwrap();
    for _ in 0..THREADS {
        let (own, mut own_end) = tokio::sync::mpsc::unbounded_channel();
        // Never waits, as long as the bound on one poll does not make it.
        pool.spawn(user("greedy"), async move {
            while own.send(()).is_ok() && own_end.recv().await.is_some() {}
        });
    }
    let (end, ended) = oneshot::channel();
    pool.spawn(user("modest"), async move { end.send(()).unwrap() });
    ended.await.unwrap();
    pool.stop();
}

#[tokio::test]
async fn stopped_pool_drops_what_waits() {
    let pool = Pool::start(Handle::current()).unwrap();
    let occupied = occupy(&pool);
    let (held, released) = oneshot::channel::<()>();
    pool.spawn(user("a"), async move {
        let _held = held;
    });
    pool.shared.stop();
    assert!(released.await.is_err());
    drop(occupied);
    pool.stop();
}
