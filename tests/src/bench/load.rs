//! Load on the API: objects to create, and many connections at once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use crate::api::Api;
use crate::bench::statistics::{Samples, rate};
use crate::wait::now;

/// Connections of the parallel loads.
pub const CONNECTIONS: usize = 16;
/// Path of pods.
pub const PODS: &str = "/api/v1/namespaces/default/pods";
/// Path of ConfigMaps.
pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A request of a load.
#[derive(Debug)]
pub struct Request {
    /// Method.
    pub method: &'static str,
    /// Path.
    pub path: String,
    /// Body, if any.
    pub body: Option<Vec<u8>>,
}

impl Request {
    /// Creates an object in a collection.
    #[must_use]
    pub fn create(collection: &str, object: &Value) -> Self {
        let body = Some(object.to_string().into_bytes());
        Self { method: "POST", path: collection.into(), body }
    }

    /// Deletes an object.
    #[must_use]
    pub fn delete(collection: &str, name: &str) -> Self {
        Self { method: "DELETE", path: format!("{collection}/{name}"), body: None }
    }
}

/// What a load took.
#[derive(Debug)]
pub struct Load {
    /// Each request, from its sending to the end of its answer.
    pub latency: Samples,
    /// Requests per second.
    pub rate: f64,
}

/// Sends `count` requests over several connections, each one after the other; connections are
/// opened before.
///
/// # Errors
/// A request fails.
pub fn send(
    api: &Api,
    connections: usize,
    count: usize,
    request: impl Fn(usize) -> Request + Sync,
) -> Result<Load> {
    let next = AtomicUsize::new(0);
    let barrier = Barrier::new(connections + 1);
    let opened: Vec<_> = (0..connections).map(|_| api.connect()).collect::<Result<_>>()?;
    let (elapsed, results) = thread::scope(|scope| {
        let threads: Vec<_> = opened
            .into_iter()
            .map(|mut connection| {
                let (next, barrier, request) = (&next, &barrier, &request);
                scope.spawn(move || -> Result<Vec<Duration>> {
                    let mut times = Vec::new();
                    barrier.wait();
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= count {
                            return Ok(times);
                        }
                        let Request { method, path, body } = request(index);
                        let sent = now();
                        connection.must(method, &path, body.as_deref())?;
                        times.push(sent.elapsed());
                    }
                })
            })
            .collect();
        barrier.wait();
        let start = now();
        let results: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        (start.elapsed(), results)
    });
    let mut times = Vec::with_capacity(count);
    for result in results {
        times.extend(result.map_err(|_| anyhow!("a connection of the load panicked"))??);
    }
    Ok(Load { latency: Samples::new(times), rate: rate(count, elapsed) })
}

/// A pod that sleeps; it ends at once when told to. `selector` is a label that its node must have.
#[must_use]
pub fn pod(name: &str, selector: Option<(&str, &str)>) -> Value {
    let mut spec = json!({
        "terminationGracePeriodSeconds": 0,
        "containers": [{
            "name": "sleeper",
            "image": "registry.local/hello:1",
            "command": ["sleep", "1000000"],
        }],
    });
    if let (Some((key, value)), Some(fields)) = (selector, spec.as_object_mut()) {
        let mut labels = serde_json::Map::new();
        labels.insert(key.into(), value.into());
        fields.insert("nodeSelector".into(), Value::Object(labels));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": "bench" } },
        "spec": spec,
    })
}

/// A pod that no node suits.
#[must_use]
pub fn homeless_pod(name: &str) -> Value {
    pod(name, Some(("bench/no-node-has-this", "true")))
}

/// A ConfigMap with a hundred bytes in it.
#[must_use]
pub fn config_map(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name },
        "data": { "settings.toml": "0123456789".repeat(10) },
    })
}
