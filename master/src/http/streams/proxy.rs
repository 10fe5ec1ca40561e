//! Requests that a pod, one of a Service's pods or a node's agent answers.
//!
//! ```text
//! client --request--> head --node link--> server
//!        <--answer--  links, pages <-----
//! ```
//!
//! Bodies go both ways piece by piece, each as fast as its slower end. A connection that client and
//! server change into something else is carried on as it is. Redirects and links in pages are led
//! back through here.

mod backend;
mod head;
mod html;
mod links;
mod page;
mod target;

use bramble_api::Status;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::LOCATION;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, BodyStream, Empty, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::io;

use super::Asked;
use super::sessions::Session;
use crate::http::response::{self, Body};
use crate::http::{Call, ClientAddress};
use links::Links;
pub(in crate::http) use target::To;

/// Answers a request that is passed on.
///
/// # Errors
///
/// What is wrong before there is an answer, in upstream's words.
pub(super) async fn handle(
    call: &Call<'_>,
    to: To,
    asked: Asked<'_>,
) -> Result<Response<Body>, Status> {
    let Asked { parts, rest, body, upgrade } = asked;
    let upgrades = head::upgrades(&parts.headers);
    let reading = matches!(parts.method, Method::GET | Method::HEAD);
    if rest.is_empty() && reading && !upgrades {
        return Ok(to_root(parts.uri.path(), parts.uri.query()));
    }
    let place = call.api.sessions.enter(call.identity)?;
    let target = target::find(call, to).await?;
    let stream = backend::connect(call, &target).await?;
    let prefix = parts.uri.path().strip_suffix(rest).unwrap_or_default();
    let links = Links::new(prefix, &target.authority, &head::host(parts));
    let client = parts.extensions.get::<ClientAddress>().map(|client| client.0);
    let request = head::request(parts, rest, client, upgrades, body)
        .map_err(|error| Status::bad_request(error.to_string()))?;
    let shaken = http1::handshake::<_, Incoming>(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| unreachable(&error))?;
    call.api.pool.spawn(call.identity.clone(), async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to a server in the cluster ended");
        }
    });
    let answer = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
    if upgrades {
        return Ok(upgraded(call, place, upgrade, answer));
    }
    Ok(passed_on(answer, links, place, reading && parts.method == Method::GET))
}

/// Leads to the root with a slash at its end, without which relative links in its page lead away.
fn to_root(path: &str, query: Option<&str>) -> Response<Body> {
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    let mut answer = Response::new(empty());
    *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(place) = format!("{path}/{query}").parse() {
        answer.headers_mut().insert(LOCATION, place);
    }
    answer
}

fn empty() -> Body {
    Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync()
}

/// The server's answer, with links that lead back through here.
fn passed_on(
    answer: Response<Incoming>,
    links: Links,
    place: Session,
    has_body: bool,
) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    head::clean(&mut parts.headers);
    let redirect = links.redirect(&mut parts.headers);
    // Without a size that it would be judged by: how long it takes is the server's business.
    let pieces = BodyStream::new(body).map(|frame| frame.map_err(io::Error::other));
    let body = StreamBody::new(pieces).boxed_unsync();
    let body = match page::Reading::of(&parts.headers) {
        Some(reading) if !redirect && has_body => {
            reading.change(&mut parts.headers);
            page::rewritten(body, reading, links)
        }
        Some(_) | None => body,
    };
    response::holding(Response::from_parts(parts, body), place)
}

/// Joins client and server once both have changed the connection, or says how the server answered.
fn upgraded(
    call: &Call<'_>,
    place: Session,
    client: OnUpgrade,
    mut answer: Response<Incoming>,
) -> Response<Body> {
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        if answer.status().as_u16() < 400 {
            let code = answer.status().as_u16();
            let message = format!("invalid upgrade response: status code {code}");
            return response::status(&Status::internal(message));
        }
        let (mut parts, body) = answer.into_parts();
        head::clean(&mut parts.headers);
        let body = body.map_err(io::Error::other).boxed_unsync();
        return response::holding(Response::from_parts(parts, body), place);
    }
    let server = hyper::upgrade::on(&mut answer);
    let mut stopping = call.api.stopping.clone();
    call.api.pool.spawn(call.identity.clone(), async move {
        let _place = place;
        let joined = async {
            let (client, server) = tokio::try_join!(client, server).map_err(io::Error::other)?;
            let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        };
        tokio::select! {
            joined = joined => if let Err(error) = joined {
                tracing::debug!(%error, "a proxied connection ended");
            },
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    });
    let (parts, _) = answer.into_parts();
    Response::from_parts(parts, empty())
}

/// That a server does not answer, in Go's words where there is a choice.
fn unreachable(error: &hyper::Error) -> Status {
    if error.is_incomplete_message() {
        return target::unavailable("error trying to reach service: EOF");
    }
    target::unavailable(format!("error trying to reach service: {error}"))
}

/// What is passed on.
type Passed = Request<Incoming>;
