//! Watching: a stream of changes, one JSON document a line.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bramble_api::selector::FieldSelector;
use bramble_api::table::{self, IncludeObject};
use bramble_api::{Resource, Status};
use bramble_store::{Revision, StoreError, Watch, WatchEvent};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::Response;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::{self, Sender};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use super::accept::{self, Form};
use super::response::{self, Body};
use super::{Api, Call, read};
use crate::clock;
use crate::objects::{ListOptions, decode, prefix, store_status};

/// Chunks that may wait for a slow client before its watch waits too.
const CHUNKS_MAX: usize = 8;
/// Interval of bookmarks, as upstream.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// Length of a watch whose client does not say; clients come again.
const TIMEOUT_S: u64 = 45 * 60;
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
    let mut stream = Stream {
        api: Arc::clone(call.api),
        resource: call.resource,
        options,
        form,
        include: read::include_object(query)?,
        columns_sent: false,
        bookmarks: query.allow_watch_bookmarks,
        end: clock::tokio_now() + Duration::from_secs(query.timeout_s.unwrap_or(TIMEOUT_S)),
    };
    let prefix = prefix(call.resource, call.namespace);
    let mut first = Vec::new();
    let start = if initial || asked == 0 {
        // What changes while this is read comes again as an event, in order.
        let list = call.api.objects.list(call.resource, call.namespace, &stream.options).await?;
        if initial {
            for object in list.items {
                first.push(stream.line("ADDED", object));
            }
        }
        if query.send_initial_events == Some(true) && stream.bookmarks {
            first.push(stream.bookmark(list.revision, true));
        }
        list.revision
    } else {
        asked
    };
    let (sender, mut receiver) = mpsc::channel(CHUNKS_MAX);
    tokio::spawn(async move {
        stream.api.metrics.watches(1);
        let api = Arc::clone(&stream.api);
        stream.run(&prefix, start, first, sender).await;
        api.metrics.watches(-1);
    });
    let chunks = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    Ok(response::stream("application/json", chunks))
}

/// One client's watch.
struct Stream {
    api: Arc<Api>,
    resource: &'static Resource,
    options: ListOptions,
    form: Form,
    include: IncludeObject,
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
        first: Vec<Vec<u8>>,
        sender: Sender<Chunk>,
    ) {
        for line in first {
            if send(&sender, line).await.is_err() {
                return;
            }
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
                    let mut lines = Vec::new();
                    for event in events.iter() {
                        match self.event(event) {
                            Ok(line) => lines.extend(line.into_iter().flatten()),
                            Err(status) => lines.extend(status_line(&status)),
                        }
                    }
                    if !lines.is_empty() {
                        send(sender, lines).await?;
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
    fn event(&mut self, event: &WatchEvent) -> Result<Option<Vec<u8>>, Status> {
        let current = event.current.as_ref().map(decode).transpose()?;
        let previous = event.previous.as_ref().map(decode).transpose()?;
        let current = current.filter(|object| self.options.matches(object));
        let previous = previous.filter(|object| self.options.matches(object));
        Ok(match (previous, current) {
            (None, None) => None,
            (None, Some(object)) => Some(self.line("ADDED", object)),
            (Some(_), Some(object)) => Some(self.line("MODIFIED", object)),
            (Some(mut object), None) => {
                let revision = Value::from(event.revision.to_string());
                if let Some(version) = object.pointer_mut("/metadata/resourceVersion") {
                    *version = revision;
                }
                Some(self.line("DELETED", object))
            }
        })
    }

    fn line(&mut self, kind: &str, object: Value) -> Vec<u8> {
        let object = match self.form {
            Form::Object => object,
            Form::Metadata => read::metadata_only(object),
            Form::Table => self.table(&[object]),
        };
        line(kind, &object)
    }

    fn table(&mut self, objects: &[Value]) -> Value {
        let metadata = objects.first().map(read::revision_only).unwrap_or_default();
        let with_columns = !self.columns_sent;
        self.columns_sent = true;
        let now = clock::time_of_day_s();
        table::table(self.resource, objects, &metadata, self.include, with_columns, now)
    }

    fn bookmark(&self, revision: Revision, initial_end: bool) -> Vec<u8> {
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".to_owned(), Value::from(revision.to_string()));
        if self.form != Form::Table {
            metadata.insert("creationTimestamp".to_owned(), Value::Null);
        }
        if self.form != Form::Table && initial_end {
            metadata.insert("annotations".to_owned(), json!({ INITIAL_EVENTS_END: "true" }));
        }
        let (kind, version) = match self.form {
            Form::Object => (self.resource.kind, self.resource.api_version()),
            Form::Metadata => ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned()),
            Form::Table => ("Table", "meta.k8s.io/v1".to_owned()),
        };
        let mut object = json!({ "kind": kind, "apiVersion": version, "metadata": metadata });
        if let (Form::Table, Some(table)) = (self.form, object.as_object_mut()) {
            table.insert("columnDefinitions".to_owned(), json!([]));
            table.insert("rows".to_owned(), json!([]));
        }
        line("BOOKMARK", &object)
    }
}

async fn send(sender: &Sender<Chunk>, line: Vec<u8>) -> Result<(), Gone> {
    sender.send(Ok(Bytes::from(line))).await.map_err(|_| Gone)
}

fn line(kind: &str, object: &Value) -> Vec<u8> {
    let event = json!({ "type": kind, "object": object });
    let mut line = serde_json::to_vec(&event).unwrap_or_default();
    line.push(b'\n');
    line
}

fn error_line(error: StoreError) -> Vec<u8> {
    status_line(&store_status(error))
}

fn status_line(status: &Status) -> Vec<u8> {
    line("ERROR", &status.to_value())
}
