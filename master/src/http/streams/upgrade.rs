//! The change of a request's connection into a WebSocket.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bramble_api::Status;
use bytes::Bytes;
use http::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use ring::digest;

use super::sessions::Session;
use crate::http::Call;
use crate::http::response::Body;

/// What RFC 6455 has both sides add to the client's key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Chooses the first of a client's protocols that is known.
///
/// # Errors
///
/// 400 when it does not want a WebSocket, or one of another kind.
pub(super) fn choose<T: Copy>(
    headers: &HeaderMap,
    known: &[(&'static str, T)],
) -> Result<(&'static str, T), Status> {
    if !wanted(headers) {
        // As upstream says it to who asks without.
        return Err(Status::bad_request(
            "Upgrade request required: this server streams over WebSocket",
        ));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Status::bad_request("only version 13 of WebSocket is served"));
    }
    let asked: Vec<&str> = tokens(headers, &SEC_WEBSOCKET_PROTOCOL).collect();
    let found = asked.iter().find_map(|asked| known.iter().find(|(name, _)| name == asked));
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        Status::bad_request(format!(
            "unable to negotiate protocol: client supports {asked:?}, server accepts {names:?}"
        ))
    })
}

/// Goes on with a client's connection once it is not HTTP's any more, until it has been served or the
/// master stops.
pub(super) fn go_on<F>(
    call: &Call<'_>,
    place: Session,
    on_upgrade: OnUpgrade,
    serve: impl FnOnce(TokioIo<Upgraded>) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut stopping = call.api.stopping.clone();
    call.api.pool.spawn(call.identity.clone(), async move {
        let _place = place;
        match on_upgrade.await {
            Ok(upgraded) => tokio::select! {
                () = serve(TokioIo::new(upgraded)) => {}
                _ = stopping.wait_for(|stop| *stop) => {}
            },
            Err(error) => tracing::debug!(%error, "a connection did not become a WebSocket"),
        }
    });
}

/// Whether a client wants a WebSocket.
pub(super) fn wanted(headers: &HeaderMap) -> bool {
    has_token(headers, &UPGRADE, "websocket") && has_token(headers, &CONNECTION, "upgrade")
}

/// The answer that changes the connection.
///
/// # Errors
///
/// 400 when the client's key is missing.
pub(super) fn accept(
    headers: &HeaderMap,
    protocol: &'static str,
) -> Result<Response<Body>, Status> {
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    let key = key.ok_or_else(|| Status::bad_request("the key of the WebSocket is missing"))?;
    let proof = HeaderValue::from_str(&proof(key))
        .map_err(|_| Status::bad_request("the key of the WebSocket is malformed"))?;
    let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, proof);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    Ok(answer)
}

fn proof(key: &str) -> String {
    let text = format!("{}{GUID}", key.trim());
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

fn tokens<'a>(headers: &'a HeaderMap, name: &'a HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(protocols: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("WebSocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        for protocol in protocols {
            headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(protocol).unwrap());
        }
        headers
    }

    #[test]
    fn the_clients_first_known_protocol_is_taken() {
        let known = [("v5.x", 5), ("v4.x", 4)];
        assert_eq!(choose(&headers(&["v9.x, v4.x, v5.x"]), &known).unwrap(), ("v4.x", 4));
        assert_eq!(choose(&headers(&["v9.x", "v5.x"]), &known).unwrap(), ("v5.x", 5));
        assert_eq!(choose(&headers(&["v9.x"]), &known).unwrap_err().code, 400);
        let mut plain = headers(&["v5.x"]);
        plain.remove(UPGRADE);
        assert_eq!(choose(&plain, &known).unwrap_err().code, 400);
    }

    #[test]
    fn the_answer_proves_that_it_was_meant() {
        // The example of RFC 6455.
        let answer = accept(&headers(&[]), "v5.x").unwrap();
        assert_eq!(answer.status(), 101);
        assert_eq!(answer.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(answer.headers()[SEC_WEBSOCKET_PROTOCOL], "v5.x");
    }
}
