//! Asks a server for its health by gRPC: one call of `grpc.health.v1.Health/Check` over HTTP/2.
//!
//! The two messages have one field each, so that their bytes are written and read by hand.

use std::net::Ipv4Addr;
use std::time::Duration;

use ::http::{HeaderMap, Request};
use bramble_agent_core::probe::Outcome;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::connect;

/// Longest answer, in bytes: a few would do.
const ANSWER_LEN_MAX: usize = 1024;

/// Status of the call that means success, and the one of a server without this service of gRPC.
const OK: &str = "0";
const UNIMPLEMENTED: &str = "12";

/// Probes a service; an empty name means the whole server.
pub(super) async fn probe(ip: Ipv4Addr, port: u16, service: &str, timeout: Duration) -> Outcome {
    let seconds = timeout.as_secs();
    let failure = |message: String| Outcome::Failure { message };
    let stream = match connect::tcp(&ip.to_string(), port, timeout).await {
        Ok(stream) => stream,
        Err(why) => {
            let told = format!(
                "timeout: failed to connect service \"{ip}:{port}\" within {seconds}s: {why}"
            );
            return failure(told);
        }
    };
    match tokio::time::timeout(timeout, check(stream, ip, port, service)).await {
        Ok(Ok(serving)) => judge(serving),
        Ok(Err(why)) => failure(format!("error: health rpc probe failed: {why}")),
        Err(_) => failure(format!("timeout: health rpc did not complete within {seconds}s")),
    }
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
enum Health {
    /// Number of `HealthCheckResponse.ServingStatus`.
    Status(u64),
    /// The call has failed with this status and message.
    Failed(String, String),
}

fn judge(health: Health) -> Outcome {
    let message = match health {
        Health::Status(1) => return Outcome::Success,
        Health::Status(number) => {
            let word = match number {
                0 => "UNKNOWN",
                2 => "NOT_SERVING",
                3 => "SERVICE_UNKNOWN",
                _ => "a status that nobody knows",
            };
            format!("service unhealthy (responded with \"{word}\")")
        }
        Health::Failed(code, message) if code == UNIMPLEMENTED => format!(
            "error: this server does not implement the grpc health protocol \
             (grpc.health.v1.Health): {message}"
        ),
        Health::Failed(code, message) => {
            format!("error: health rpc probe failed: rpc error: code = {code} desc = {message}")
        }
    };
    Outcome::Failure { message }
}

async fn check(
    stream: tokio::net::TcpStream,
    ip: Ipv4Addr,
    port: u16,
    service: &str,
) -> Result<Health, String> {
    let text = |error: hyper::Error| error.to_string();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(text)?;
    let driven = tokio::spawn(connection);
    let request = Request::post(format!("http://{ip}:{port}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(Full::new(Bytes::from(question(service))))
        .map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(text)?;
        if response.status() != 200 {
            return Err(format!("unexpected HTTP status code {}", response.status().as_u16()));
        }
        let mut said = status(response.headers());
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(text)?;
            if let Some(data) = frame.data_ref() {
                bytes.extend_from_slice(data);
            }
            if let Some(trailers) = frame.trailers_ref() {
                said = said.or_else(|| status(trailers));
            }
            if bytes.len() > ANSWER_LEN_MAX {
                return Err("the answer is too long".to_owned());
            }
        }
        match said {
            Some((code, _)) if code == OK => serving(&bytes).map(Health::Status),
            Some((code, message)) => Ok(Health::Failed(code, message)),
            None => Err("the call ended without a status".to_owned()),
        }
    };
    let answer = answer.await;
    driven.abort();
    answer
}

fn status(headers: &HeaderMap) -> Option<(String, String)> {
    let text = |name: &str| Some(headers.get(name)?.to_str().unwrap_or_default().to_owned());
    Some((text("grpc-status")?, text("grpc-message").unwrap_or_default()))
}

/// `HealthCheckRequest { service }` with gRPC's prefix: not compressed, four bytes of length.
fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        varint(u64::try_from(service.len()).unwrap_or(u64::MAX), &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&len.to_be_bytes());
    framed.extend(message);
    framed
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

/// The status in a `HealthCheckResponse`; one that is left out is `UNKNOWN`.
fn serving(framed: &[u8]) -> Result<u64, String> {
    let malformed = || "the answer is malformed".to_owned();
    let (prefix, message) = framed.split_at_checked(5).ok_or_else(malformed)?;
    match (prefix.first(), message) {
        (Some(0), []) => Ok(0),
        // Field 1, a number below 128: all that there are.
        (Some(0), [0x08, number, ..]) if *number < 0x80 => Ok(u64::from(*number)),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_the_protocol() {
        assert_eq!(question(""), [0, 0, 0, 0, 0]);
        assert_eq!(question("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = question(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 2]);
        assert_eq!(serving(&[0, 0, 0, 0, 0]), Ok(0));
        assert_eq!(serving(&[0, 0, 0, 0, 2, 0x08, 1]), Ok(1));
        assert!(serving(&[0, 0]).is_err());
        assert!(serving(&[1, 0, 0, 0, 2, 0x08, 1]).is_err());
    }

    #[test]
    fn only_serving_is_healthy() {
        assert_eq!(judge(Health::Status(1)), Outcome::Success);
        let message = "service unhealthy (responded with \"NOT_SERVING\")".to_owned();
        assert_eq!(judge(Health::Status(2)), Outcome::Failure { message });
    }

    #[tokio::test]
    async fn a_server_that_speaks_the_protocol_is_understood() {
        for (status, expected) in [(1, true), (2, false)] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let service = hyper::service::service_fn(
                    move |request: Request<hyper::body::Incoming>| async move {
                        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        assert_eq!(body[..], question("db"));
                        let answer = Bytes::from(vec![0, 0, 0, 0, 2, 0x08, status]);
                        let trailers = HeaderMap::from_iter([(
                            ::http::HeaderName::from_static("grpc-status"),
                            ::http::HeaderValue::from_static("0"),
                        )]);
                        let body =
                            Full::new(answer).with_trailers(async move { Some(Ok(trailers)) });
                        Ok::<_, std::convert::Infallible>(::http::Response::new(body))
                    },
                );
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
            let outcome = probe(Ipv4Addr::LOCALHOST, port, "db", Duration::from_secs(60)).await;
            assert_eq!(outcome == Outcome::Success, expected, "{outcome:?}");
        }
    }
}
