//! The node's own pages, for who may see them through the master's node proxy: health and log
//! files, by the paths that a kubelet has for them.
//!
//! Nothing listens for them: requests come over the node link, whose master has asked whether they
//! are allowed.

mod log_files;

use std::convert::Infallible;
use std::io::{self, Cursor};
use std::sync::Arc;

use bramble_shared::frame::FrameDecoder;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use crate::node::Node;

/// Body of an answer.
type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Answers requests until the stream ends.
pub(crate) async fn serve(
    node: &Arc<Node>,
    decoder: FrameDecoder,
    stream: impl AsyncRead + AsyncWrite + Unpin,
) {
    let (reader, writer) = tokio::io::split(stream);
    let stream = tokio::io::join(Cursor::new(decoder.into_rest()).chain(reader), writer);
    let service = service_fn(move |request: Request<Incoming>| {
        let node = Arc::clone(node);
        async move { Ok::<_, Infallible>(answer(&node, &request).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new());
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a request for a page of this node broke off");
    }
}

async fn answer(node: &Arc<Node>, request: &Request<Incoming>) -> Response<Body> {
    let place = node.stream_places.enter();
    let Ok(_place) = place else {
        return text(StatusCode::TOO_MANY_REQUESTS, "too many streams are open\n".to_owned());
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n".to_owned());
    }
    let path = request.uri().path();
    match path.split_once("/logs").filter(|(before, _)| before.is_empty()) {
        Some((_, rest)) if rest.is_empty() || rest.starts_with('/') => {
            log_files::answer(rest).await
        }
        _ => match path {
            "/healthz" | "/healthz/ping" | "/healthz/syncloop" => {
                text(StatusCode::OK, "ok".to_owned())
            }
            _ => text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
        },
    }
}

fn text(code: StatusCode, text: String) -> Response<Body> {
    whole(code, "text/plain; charset=utf-8", text)
}

fn whole(code: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = code;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
