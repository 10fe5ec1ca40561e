//! Requests that become streams to a pod: programs in containers, connections to its ports, and
//! requests that it answers itself.
//!
//! ```text
//! client --WebSocket--> this --node link--> agent --> container
//! client -----HTTP----> proxy --node link--> agent --> server in a pod
//! ```
//!
//! A request is checked and its node asked before its connection changes, so that whatever is
//! wrong by then is a `Status`. Afterwards two ways go on, each as fast as its slower end, with a
//! few pieces in memory; when one end goes, so does the other.

mod channels;
mod client;
mod dial;
mod exec;
mod log;
mod options;
mod port_forward;
mod proxy;
mod sessions;
mod spdy;
mod target;
mod upgrade;
mod websocket;

use bramble_api::{Handler, Resource, Status};
use http::request::Parts;
use http::{HeaderMap, Method, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::Call;
use super::response::Body;

use proxy::To;
pub(super) use sessions::Sessions;

/// A request that is to become a stream.
pub(super) struct Asked<'a> {
    pub(super) parts: &'a Parts,
    /// What the path goes on with behind the name of the stream.
    pub(super) rest: &'a str,
    pub(super) body: Incoming,
    /// The connection itself, once it is not HTTP's any more.
    pub(super) upgrade: OnUpgrade,
}

/// What a request becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Attach,
    Exec,
    PortForward,
    Log,
    Proxy(To),
}

/// Which stream a part of an object is, if it is one for who asks with these headers.
pub(super) fn stream(resource: &Resource, part: &str, headers: &HeaderMap) -> Option<Stream> {
    match resource.subresource(part)?.handler {
        Handler::Attach => Some(Stream::Attach),
        Handler::Exec => Some(Stream::Exec),
        Handler::PortForward => Some(Stream::PortForward),
        Handler::PodProxy => Some(Stream::Proxy(To::Pod)),
        Handler::ServiceProxy => Some(Stream::Proxy(To::Service)),
        Handler::NodeProxy => Some(Stream::Proxy(To::Node)),
        Handler::Log => upgrade::wanted(headers).then_some(Stream::Log),
        Handler::Status
        | Handler::Scale
        | Handler::Binding
        | Handler::Eviction
        | Handler::Finalize
        | Handler::Token
        | Handler::Resize
        | Handler::EphemeralContainers => None,
    }
}

/// Answers a request for a stream.
///
/// # Errors
///
/// What keeps it from becoming one, in upstream's words.
pub(super) async fn handle(
    call: &Call<'_>,
    stream: Stream,
    asked: Asked<'_>,
) -> Result<Response<Body>, Status> {
    let method = &asked.parts.method;
    // Clients of before WebSocket ask by POST, and are told what is missing.
    if !matches!(stream, Stream::Proxy(_)) && !matches!(*method, Method::GET | Method::POST) {
        return Err(Status::method_not_supported(call.resource, method.as_str()));
    }
    match stream {
        Stream::Attach => exec::attach(call, asked.parts, asked.upgrade).await,
        Stream::Exec => exec::handle(call, asked.parts, asked.upgrade).await,
        Stream::PortForward => port_forward::handle(call, asked.parts, asked.upgrade).await,
        Stream::Log => log::handle(call, asked.parts, asked.upgrade).await,
        Stream::Proxy(to) => proxy::handle(call, to, asked).await,
    }
}
