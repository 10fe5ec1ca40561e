//! Counters for `/metrics`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use bramble_process::panics;
use bramble_store::Revision;
use http::{Method, StatusCode};

use crate::clock;

/// What this process has done so far.
#[derive(Debug)]
pub(super) struct Metrics {
    started: Instant,
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    watches: AtomicI64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { started: clock::monotonic(), requests: Mutex::default(), watches: AtomicI64::new(0) }
    }
}

impl Metrics {
    /// Counts one answered request.
    pub(super) fn count(&self, method: &Method, code: StatusCode) {
        let method = match method.as_str() {
            "GET" => "GET",
            "POST" => "POST",
            "PUT" => "PUT",
            "PATCH" => "PATCH",
            "DELETE" => "DELETE",
            _ => "other",
        };
        let mut requests = self.requests.lock().unwrap_or_else(|_| panics::torn("the counters"));
        *requests.entry((method, code.as_u16())).or_insert(0) += 1;
    }

    /// Counts a watch that begins (1) or ends (-1).
    pub(super) fn watches(&self, change: i64) {
        self.watches.fetch_add(change, Ordering::Relaxed);
    }

    /// Writes all of it in Prometheus's text format.
    pub(super) fn render(&self, revision: Revision) -> String {
        let mut text = String::new();
        text.push_str("# TYPE apiserver_request_total counter\n");
        let requests = self.requests.lock().unwrap_or_else(|_| panics::torn("the counters"));
        for ((method, code), count) in requests.iter() {
            let _ = writeln!(
                text,
                "apiserver_request_total{{method=\"{method}\",code=\"{code}\"}} {count}"
            );
        }
        let watches = self.watches.load(Ordering::Relaxed);
        let uptime = self.started.elapsed().as_secs();
        let _ = writeln!(
            text,
            "# TYPE apiserver_longrunning_requests gauge\n\
             apiserver_longrunning_requests{{verb=\"WATCH\"}} {watches}\n\
             # TYPE bramble_store_revision counter\n\
             bramble_store_revision {revision}\n\
             # TYPE bramble_uptime_seconds gauge\n\
             bramble_uptime_seconds {uptime}"
        );
        text
    }
}
