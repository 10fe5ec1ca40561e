//! Building answers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bramble_api::Status;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, SizeHint};
use serde_json::Value;

/// Body of an answer: whole, or a stream that may end early.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Longest warning that is sent, in bytes, as upstream.
const WARNING_LEN_MAX: usize = 256;

/// Answers with a JSON value.
pub(super) fn json(code: StatusCode, value: &Value) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(text) => whole(code, "application/json", Bytes::from(text)),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("could not encode: {error}")),
    }
}

/// Answers with plain text.
pub(super) fn text(code: StatusCode, text: String) -> Response<Body> {
    whole(code, "text/plain; charset=utf-8", Bytes::from(text))
}

/// Answers with a `Status`.
pub(super) fn status(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = json(code, &status.to_value());
    if let Some(seconds) = status.retry_after_secs {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// Answers with bytes of a given type.
pub(super) fn whole(code: StatusCode, content_type: &'static str, bytes: Bytes) -> Response<Body> {
    let body = Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
    with_headers(code, content_type, body)
}

/// Answers with a stream.
pub(super) fn stream(
    content_type: &'static str,
    chunks: impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static,
) -> Response<Body> {
    let body = StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))).boxed_unsync();
    with_headers(StatusCode::OK, content_type, body)
}

fn with_headers(code: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    answer
}

/// Keeps something until the answer has been sent, or given up.
pub(super) fn holding<T: Send + Unpin + 'static>(
    answer: Response<Body>,
    held: T,
) -> Response<Body> {
    answer.map(|body| Holding { body, _held: held }.boxed_unsync())
}

/// A body that keeps something as long as it is there.
struct Holding<T> {
    body: Body,
    _held: T,
}

impl<T: Unpin> hyper::body::Body for Holding<T> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Adds warnings, which kubectl shows to its user.
pub(super) fn with_warnings(mut answer: Response<Body>, warnings: &[String]) -> Response<Body> {
    for warning in warnings {
        warn(&mut answer, warning);
    }
    answer
}

/// Adds a warning.
pub(super) fn warn(answer: &mut Response<Body>, warning: &str) {
    let end = warning.floor_char_boundary(WARNING_LEN_MAX);
    let text: String = warning
        .get(..end)
        .unwrap_or_default()
        .chars()
        .filter(|letter| !letter.is_control())
        .flat_map(|letter| {
            let escape = matches!(letter, '"' | '\\').then_some('\\');
            escape.into_iter().chain([letter])
        })
        .collect();
    if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
        answer.headers_mut().append(WARNING, value);
    }
}
