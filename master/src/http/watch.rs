//! Watching: a stream of changes, one JSON document a line.

use std::sync::Arc;
use std::time::Duration;
use std::{io, mem};

use bramble_api::Status;
use bramble_api::selector::FieldSelector;
use bramble_store::{KeyValue, Revision, StoreError, Watch, WatchEvent};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::Response;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::{self, Sender};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use super::accept::{self, Form};
use super::collection::Printer;
use super::response::{self, Body};
use super::shared_events::{self, Kind};
use super::{Api, Call, read};
use crate::clock;
use crate::objects::{ListOptions, prefix, store_status};

/// Chunks that may wait for a slow client before its watch waits too.
const CHUNKS_MAX: usize = 8;
/// Bytes of a chunk of what is there at the start, about.
const CHUNK_BYTES: usize = 16 << 10;
/// Interval of bookmarks, as upstream.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// Length of a watch whose client does not say; clients come again.
const TIMEOUT_S: u64 = 45 * 60;
/// Longest watch that a client gets, whatever it says: a day, after which it comes again.
const TIMEOUT_MAX_S: u64 = 24 * 60 * 60;
/// Marks the bookmark that follows the initial events.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Starts a watch.
pub(super) async fn watch(call: &Call<'_>) -> Result<Response<Body>, Status> {
    let form = accept::form(call.headers)?;
    let query = call.query;
    let asked = read::revision(query)?;
    match (query.send_initial_events, query.resource_version_match.as_deref()) {
        (Some(_), Some("NotOlderThan")) | (None, None) => {}
        (Some(_), _) => {
            return Err(Status::bad_request(
                "resourceVersionMatch must be NotOlderThan when sendInitialEvents is set",
            ));
        }
        (None, Some(_)) => {
            return Err(Status::bad_request(
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
    }
    let mut options = read::list_options(call)?;
    if !call.name.is_empty() {
        let selector = format!("metadata.name={}", call.name);
        options.fields = Some(FieldSelector::parse(call.resource, &selector)?);
    }
    let initial = query.send_initial_events.unwrap_or(asked == 0);
    let stream = Stream {
        api: Arc::clone(call.api),
        options,
        printer: read::printer(call, form)?,
        columns_sent: false,
        bookmarks: query.allow_watch_bookmarks,
        end: clock::tokio_now() + Duration::from_secs(timeout_s(query.timeout_s)),
    };
    let prefix = prefix(call.resource, call.namespace);
    let mut first = Vec::new();
    let mut end_of_initial = None;
    let start = if initial || asked == 0 {
        // What changes while this is read comes again as an event, in order.
        let page = call.api.objects.page(call.resource, call.namespace, &stream.options).await?;
        if initial {
            first = page.entries;
        }
        if query.send_initial_events == Some(true) && stream.bookmarks {
            end_of_initial = Some(stream.bookmark(page.revision, true));
        }
        page.revision
    } else {
        asked
    };
    let (sender, mut receiver) = mpsc::channel(CHUNKS_MAX);
    call.api.pool.spawn(call.identity.clone(), async move {
        stream.api.metrics.watches(1);
        let api = Arc::clone(&stream.api);
        stream.run(&prefix, start, (first, end_of_initial), sender).await;
        api.metrics.watches(-1);
    });
    let chunks = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    Ok(response::stream("application/json", chunks))
}

/// How long a watch lasts; 0 is what a client writes that does not say.
fn timeout_s(asked: Option<u64>) -> u64 {
    match asked {
        None | Some(0) => TIMEOUT_S,
        Some(seconds) => seconds.min(TIMEOUT_MAX_S),
    }
}

/// One client's watch.
struct Stream {
    api: Arc<Api>,
    options: ListOptions,
    printer: Printer,
    columns_sent: bool,
    bookmarks: bool,
    end: Instant,
}

/// The client is gone.
struct Gone;

type Chunk = Result<Bytes, io::Error>;

impl Stream {
    /// Sends events until the client goes, the time is over or the process stops.
    async fn run(
        mut self,
        prefix: &str,
        start: Revision,
        (first, end_of_initial): (Vec<KeyValue>, Option<Bytes>),
        sender: Sender<Chunk>,
    ) {
        if self.send_initial(first, end_of_initial, &sender).await.is_err() {
            return;
        }
        let mut watch = match self.api.objects.store().watch(prefix, start).await {
            Ok(watch) => watch,
            Err(error) => {
                let _ = send(&sender, error_line(error)).await;
                return;
            }
        };
        let mut stopping = self.api.stopping.clone();
        let mut ticks = interval_at(clock::tokio_now() + BOOKMARK_INTERVAL, BOOKMARK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = self.end;
        tokio::select! {
            _ = self.pump(watch.as_mut(), &mut ticks, &sender) => {}
            () = sender.closed() => {}
            () = sleep_until(end) => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    }

    /// Sends what is there already, and that this was all of it.
    async fn send_initial(
        &mut self,
        first: Vec<KeyValue>,
        end: Option<Bytes>,
        sender: &Sender<Chunk>,
    ) -> Result<(), Gone> {
        let mut lines = Vec::new();
        for entry in first {
            let with_columns = self.with_columns();
            match shared_events::line(Kind::Added, &entry, &self.printer, with_columns) {
                Ok(line) => lines.extend_from_slice(&line),
                Err(status) => lines.extend_from_slice(&status_line(&status)),
            }
            if lines.len() >= CHUNK_BYTES {
                send(sender, mem::take(&mut lines).into()).await?;
            }
        }
        lines.extend_from_slice(end.as_deref().unwrap_or_default());
        if lines.is_empty() { Ok(()) } else { send(sender, lines.into()).await }
    }

    /// Whether the next table is the first one.
    fn with_columns(&mut self) -> bool {
        !mem::replace(&mut self.columns_sent, true)
    }

    async fn pump(
        &mut self,
        watch: &mut dyn Watch,
        ticks: &mut Interval,
        sender: &Sender<Chunk>,
    ) -> Result<(), Gone> {
        loop {
            let batch = self.next(watch, ticks, sender).await?;
            match batch {
                Ok(events) => {
                    for event in events.iter() {
                        match self.event(event) {
                            Ok(Some(line)) => send(sender, line).await?,
                            Ok(None) => {}
                            Err(status) => send(sender, status_line(&status)).await?,
                        }
                    }
                }
                Err(error) => {
                    send(sender, error_line(error)).await?;
                    return Ok(());
                }
            }
        }
    }

    /// Waits for the next batch, and sends bookmarks meanwhile.
    async fn next(
        &mut self,
        watch: &mut dyn Watch,
        ticks: &mut Interval,
        sender: &Sender<Chunk>,
    ) -> Result<Result<Arc<[WatchEvent]>, StoreError>, Gone> {
        let mut next = watch.next();
        loop {
            tokio::select! {
                biased;
                batch = &mut next => return Ok(batch),
                _ = ticks.tick(), if self.bookmarks => {
                    // All events up to the revision that is read first are there by then.
                    let revision = self.api.objects.revision();
                    match (&mut next).now_or_never() {
                        Some(batch) => return Ok(batch),
                        None => send(sender, self.bookmark(revision, false)).await?,
                    }
                }
            }
        }
    }

    /// Turns a change of the store into what this client sees of it, if anything.
    fn event(&mut self, event: &WatchEvent) -> Result<Option<Bytes>, Status> {
        let shared = self.api.events.share(&self.printer.resource, event)?;
        let selective = self.options.selective();
        let Some(kind) = shared.kind(selective, |object| self.options.matches(object))? else {
            return Ok(None);
        };
        self.printer.now = clock::time_of_day_s();
        let with_columns = self.with_columns();
        shared.line(kind, &self.printer, with_columns).map(Some)
    }

    fn bookmark(&self, revision: Revision, initial_end: bool) -> Bytes {
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".to_owned(), Value::from(revision.to_string()));
        if self.printer.form != Form::Table {
            metadata.insert("creationTimestamp".to_owned(), Value::Null);
        }
        if self.printer.form != Form::Table && initial_end {
            metadata.insert("annotations".to_owned(), json!({ INITIAL_EVENTS_END: "true" }));
        }
        let (kind, version) = match self.printer.form {
            Form::Object => (&*self.printer.resource.kind, self.printer.resource.api_version()),
            Form::Metadata => ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned()),
            Form::Table => ("Table", "meta.k8s.io/v1".to_owned()),
        };
        let mut object = json!({ "kind": kind, "apiVersion": version, "metadata": metadata });
        if let (Form::Table, Some(table)) = (self.printer.form, object.as_object_mut()) {
            table.insert("columnDefinitions".to_owned(), json!([]));
            table.insert("rows".to_owned(), json!([]));
        }
        line("BOOKMARK", &object)
    }
}

async fn send(sender: &Sender<Chunk>, lines: Bytes) -> Result<(), Gone> {
    sender.send(Ok(lines)).await.map_err(|_| Gone)
}

fn line(kind: &str, object: &Value) -> Bytes {
    let event = json!({ "type": kind, "object": object });
    let mut line = serde_json::to_vec(&event).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

fn error_line(error: StoreError) -> Bytes {
    status_line(&store_status(error))
}

fn status_line(status: &Status) -> Bytes {
    line("ERROR", &status.to_value())
}

#[cfg(test)]
mod tests {
    use super::{TIMEOUT_MAX_S, TIMEOUT_S, timeout_s};

    #[test]
    fn no_client_keeps_a_watch_for_ever() {
        assert_eq!(timeout_s(None), TIMEOUT_S);
        assert_eq!(timeout_s(Some(0)), TIMEOUT_S);
        assert_eq!(timeout_s(Some(7)), 7);
        assert_eq!(timeout_s(Some(u64::MAX)), TIMEOUT_MAX_S);
    }
}
