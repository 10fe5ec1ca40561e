//! Compresses large answers for clients that are not on this machine and can read them.
//!
//! A list of a thousand pods is megabytes of the same words; over a board's Wi-Fi sending them
//! takes longer than compressing them.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::StreamExt as _;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, VARY};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body as _, Frame};

use super::response::Body;

/// Answers of fewer bytes go as they are, as upstream's.
const BYTES_MIN: u64 = 128 << 10;
/// Quick, but not the quickest, which has no codes of its own for what is frequent.
const LEVEL: u32 = 3;
/// Compressed bytes that are gathered before they are sent.
const PIECE_BYTES: usize = 16 << 10;

/// Marks requests that come from this machine, for which compressing is a waste.
#[derive(Clone, Copy, Debug)]
pub(super) struct FromHere;

/// Tells how large an answer is about that is made while it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected(pub(super) u64);

/// Whether the client of a request is to get large answers compressed.
pub(super) fn wanted<B>(request: &Request<B>) -> bool {
    request.extensions().get::<FromHere>().is_none() && accepts(request.headers())
}

fn accepts(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let mut clauses = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    clauses.any(|clause| {
        let mut parts = clause.split(';').map(str::trim);
        let gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        gzip && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// Compresses an answer if it is large.
pub(super) fn compress(answer: Response<Body>) -> Response<Body> {
    let expected = answer.extensions().get::<Expected>().map(|expected| expected.0);
    let len = expected.or_else(|| answer.body().size_hint().exact()).unwrap_or(0);
    if len < BYTES_MIN || answer.headers().contains_key(CONTENT_ENCODING) {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    let encoder = Some(GzEncoder::new(Vec::new(), Compression::new(LEVEL)));
    let frames = futures_util::stream::unfold((body, encoder), |(mut body, encoder)| async move {
        let mut encoder = encoder?;
        loop {
            let frame = match body.frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Some((Err(error), (body, None))),
                None => {
                    return Some((encoder.finish().map(data), (body, None)));
                }
            };
            let Ok(bytes) = frame.into_data() else { continue };
            if let Err(error) = encoder.write_all(&bytes) {
                return Some((Err(error), (body, None)));
            }
            if encoder.get_ref().len() >= PIECE_BYTES {
                let piece = std::mem::take(encoder.get_mut());
                return Some((Ok(data(piece)), (body, Some(encoder))));
            }
        }
    });
    Response::from_parts(parts, StreamBody::new(frames.boxed()).boxed_unsync())
}

fn data(bytes: Vec<u8>) -> Frame<Bytes> {
    Frame::data(bytes.into())
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read as _};

    use flate2::read::GzDecoder;
    use http::StatusCode;

    use super::*;
    use crate::http::response;

    fn request(accept: &str) -> Request<()> {
        Request::get("/").header(ACCEPT_ENCODING, accept).body(()).unwrap()
    }

    #[test]
    fn only_who_accepts_it_gets_it() {
        for accept in ["gzip", "deflate, gzip", "GZIP;q=0.5"] {
            assert!(wanted(&request(accept)), "{accept}");
        }
        for accept in ["", "identity", "gzip;q=0", "deflate"] {
            assert!(!wanted(&request(accept)), "{accept}");
        }
        let mut local = request("gzip");
        local.extensions_mut().insert(FromHere);
        assert!(!wanted(&local));
    }

    #[tokio::test]
    async fn large_answer_is_compressed_and_comes_back() {
        let object = |n: u32| format!("{{\"kind\":\"Pod\",\"name\":\"pod-{n}\"}}").into_bytes();
        let text: Vec<u8> = (0..20_000).flat_map(object).collect();
        let whole = |text: &[u8]| {
            response::whole(StatusCode::OK, "application/json", Bytes::copy_from_slice(text))
        };
        let answer = compress(whole(&text));
        assert_eq!(answer.headers()[CONTENT_ENCODING], "gzip");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let mut back = Vec::new();
        GzDecoder::new(body.as_ref()).read_to_end(&mut back).unwrap();
        assert!(back == text, "another text came back");
        assert!(body.len() < text.len() / 4, "{} of {} bytes", body.len(), text.len());
        assert!(!compress(whole(b"small")).headers().contains_key(CONTENT_ENCODING));
    }

    #[tokio::test]
    async fn broken_answer_stays_broken() {
        let chunks = [Ok(Bytes::from_static(b"a")), Err(io::Error::other("damaged"))];
        let mut answer = response::stream("application/json", futures_util::stream::iter(chunks));
        answer.extensions_mut().insert(Expected(BYTES_MIN));
        assert!(compress(answer).into_body().collect().await.is_err());
    }
}
