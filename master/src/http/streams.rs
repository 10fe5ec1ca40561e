//! Requests that become streams to a pod: programs in containers, and connections to its
//! ports.
//!
//! ```text
//! client --WebSocket--> this --node link--> agent --> container
//! ```
//!
//! A request is checked and its node asked before its connection changes, so that whatever is
//! wrong by then is a `Status`. Afterwards two ways go on, each as fast as its slower end, with a
//! few pieces in memory; when one end goes, so does the other.

mod channels;
mod client;
mod exec;
mod options;
mod port_forward;
mod sessions;
mod spdy;
mod target;
mod upgrade;
mod websocket;

use bramble_api::{Handler, Resource, Status};
use http::request::Parts;
use http::{Method, Response};
use hyper::upgrade::OnUpgrade;

use super::Call;
use super::response::Body;

pub(super) use sessions::Sessions;

/// Which stream a part of an object is, if it is one.
pub(super) fn stream(resource: &Resource, part: &str) -> Option<Handler> {
    let found = resource.subresource(part)?.handler;
    matches!(found, Handler::Exec | Handler::PortForward).then_some(found)
}

/// Answers a request for a stream.
///
/// # Errors
///
/// What keeps it from becoming one, in upstream's words.
pub(super) async fn handle(
    call: &Call<'_>,
    part: Handler,
    parts: &Parts,
    upgrade: OnUpgrade,
) -> Result<Response<Body>, Status> {
    // Clients of before WebSocket ask by POST, and are told what is missing.
    if !matches!(parts.method, Method::GET | Method::POST) {
        return Err(Status::method_not_supported(call.resource, parts.method.as_str()));
    }
    if part == Handler::PortForward {
        return port_forward::handle(call, parts, upgrade).await;
    }
    exec::handle(call, parts, upgrade).await
}
