//! HTTPS to the API server.
//!
//! One connection, kept between requests; a stream (watch, log) gets one of its own. Knows nothing
//! of resources.

mod connect;
mod path;
mod stream;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use serde_json::Value;
use tokio::sync::Mutex;

pub(crate) use path::Path;
pub(crate) use stream::Chunks;
pub(crate) use upload::Upload;

use crate::error::CliError;
use crate::kubeconfig::Target;
use connect::{Connector, RequestBody};

/// Plain objects.
pub(crate) const JSON: &str = "application/json";
/// Rows for people, objects where the server has no rows.
pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
/// RFC 7386.
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";
/// Server-side apply.
pub(crate) const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// Time for an answer, unless the user says otherwise; kubectl waits for ever, people do not.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to one API server, as one user.
#[derive(Debug)]
pub(crate) struct Client {
    connector: Connector,
    authorization: Option<HeaderValue>,
    timeout: Option<Duration>,
    idle: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Client {
    /// Prepares everything that can be checked without the network. A `timeout` of 0 waits for ever.
    pub(crate) fn new(target: &Target, timeout: Option<Duration>) -> Result<Self, CliError> {
        let authorization = target.token.as_ref().map(|token| {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            value.map_err(|_| CliError::Kubeconfig {
                origin: target.origin.clone(),
                problem: "the token has characters that no token has".to_owned(),
            })
        });
        Ok(Self {
            connector: Connector::new(target)?,
            authorization: authorization.transpose()?,
            timeout: Some(timeout.unwrap_or(REQUEST_TIMEOUT)).filter(|timeout| !timeout.is_zero()),
            idle: Mutex::new(None),
        })
    }

    /// Address of the server.
    pub(crate) fn server(&self) -> &str {
        self.connector.server()
    }

    /// Reads.
    pub(crate) async fn get(&self, path: &Path, accept: &str) -> Result<Value, CliError> {
        self.call(Method::GET, path, accept, None).await
    }

    /// Creates.
    pub(crate) async fn post(&self, path: &Path, body: &Value) -> Result<Value, CliError> {
        self.call(Method::POST, path, JSON, Some((JSON, body))).await
    }

    /// Changes.
    pub(crate) async fn patch(
        &self,
        path: &Path,
        kind: &'static str,
        body: &Value,
    ) -> Result<Value, CliError> {
        self.call(Method::PATCH, path, JSON, Some((kind, body))).await
    }

    /// Deletes, with delete options.
    pub(crate) async fn delete(&self, path: &Path, options: &Value) -> Result<Value, CliError> {
        self.call(Method::DELETE, path, JSON, Some((JSON, options))).await
    }

    async fn call(
        &self,
        method: Method,
        path: &Path,
        accept: &str,
        body: Option<(&'static str, &Value)>,
    ) -> Result<Value, CliError> {
        let request = self.request(method, path, accept, body)?;
        let work = async {
            let mut connection = self.connection().await?;
            let response = self.send(&mut connection, request).await?;
            let (parts, body) = response.into_parts();
            let bytes = body.collect().await.map_err(|error| self.broken(&error))?.to_bytes();
            // The answer has been read to its end, so the connection is free again.
            *self.idle.lock().await = Some(connection);
            Ok::<_, CliError>((parts.status, bytes))
        };
        let (status, bytes) = match self.timeout {
            Some(timeout) => tokio::time::timeout(timeout, work).await.map_err(|_| {
                CliError::TimedOut { what: format!("an answer from {}", self.server()) }
            })??,
            None => work.await?,
        };
        answer(status, &bytes, self.server())
    }

    /// Reads something that does not end by itself.
    pub(crate) async fn stream(&self, path: &Path, accept: &str) -> Result<Chunks, CliError> {
        let request = self.request(Method::GET, path, accept, None)?;
        let connection = self.connector.connect().await?;
        self.answer_in_bits(connection, request).await
    }

    /// Sends a file, and reads an answer that may come meanwhile.
    pub(crate) async fn upload(&self, path: &Path, file: Upload) -> Result<Chunks, CliError> {
        let request = self
            .head(Method::PUT, path, JSON)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(file)
            .map_err(|error| CliError::Usage(format!("`{path}` is not a path: {error}")))?;
        let connection = self.connector.connect().await?;
        self.answer_in_bits(connection, request).await
    }

    async fn answer_in_bits<B: RequestBody>(
        &self,
        mut connection: SendRequest<B>,
        request: Request<B>,
    ) -> Result<Chunks, CliError> {
        let response = self.send(&mut connection, request).await?;
        let status = response.status();
        if !status.is_success() {
            let body = response.into_body().collect().await;
            let bytes = body.map_err(|error| self.broken(&error))?.to_bytes();
            // Not a success, so this is an error.
            return match answer(status, &bytes, self.server()) {
                Err(error) => Err(error),
                Ok(_) => Err(CliError::Server {
                    code: status.as_u16(),
                    reason: String::new(),
                    message: status.to_string(),
                }),
            };
        }
        Ok(Chunks::new(response.into_body(), self.server().to_owned(), connection))
    }

    /// One that is idle, or a new one.
    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, CliError> {
        if let Some(mut connection) = self.idle.lock().await.take()
            && connection.ready().await.is_ok()
        {
            return Ok(connection);
        }
        self.connector.connect().await
    }

    async fn send<B: RequestBody>(
        &self,
        connection: &mut SendRequest<B>,
        request: Request<B>,
    ) -> Result<Response<Incoming>, CliError> {
        connection.send_request(request).await.map_err(|error| self.broken(&error))
    }

    fn request(
        &self,
        method: Method,
        path: &Path,
        accept: &str,
        body: Option<(&'static str, &Value)>,
    ) -> Result<Request<Full<Bytes>>, CliError> {
        let mut request = self.head(method, path, accept);
        let bytes = match body {
            Some((kind, value)) => {
                request = request.header(CONTENT_TYPE, kind);
                Bytes::from(value.to_string())
            }
            None => Bytes::new(),
        };
        request
            .body(Full::new(bytes))
            .map_err(|error| CliError::Usage(format!("`{path}` is not a path: {error}")))
    }

    /// A request without its body.
    fn head(&self, method: Method, path: &Path, accept: &str) -> http::request::Builder {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.connector.prefix()))
            .header(HOST, self.connector.authority())
            .header(USER_AGENT, concat!("bramble/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, accept);
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        }
    }

    fn broken(&self, error: &dyn std::error::Error) -> CliError {
        CliError::BrokenAnswer { server: self.server().to_owned(), reason: chain(error) }
    }
}

fn answer(status: StatusCode, bytes: &[u8], server: &str) -> Result<Value, CliError> {
    let value = serde_json::from_slice::<Value>(bytes);
    if status.is_success() {
        return value.map_err(|error| CliError::BrokenAnswer {
            server: server.to_owned(),
            reason: format!("its answer is not JSON ({error})"),
        });
    }
    let field = |name: &str| {
        let value = value.as_ref().ok()?.get(name)?.as_str()?;
        Some(value.to_owned())
    };
    let message = field("message").unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned());
    let message = match message.trim() {
        "" => status.to_string(),
        message => message.to_owned(),
    };
    let reason = field("reason").unwrap_or_default();
    Err(CliError::Server { code: status.as_u16(), reason, message })
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let part = source.to_string();
        // Some libraries repeat the cause in their own text.
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = source.source();
    }
    text
}

/// What all connections of a client share: needed only for its type.
type Tls = Arc<rustls::ClientConfig>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_carry_the_servers_words() {
        let body = br#"{"kind":"Status","reason":"NotFound","message":"pods \"x\" not found"}"#;
        let error = answer(StatusCode::NOT_FOUND, body, "s").unwrap_err();
        assert_eq!(error.to_string(), "Error from server (NotFound): pods \"x\" not found");
        assert!(error.not_found());
        let error = answer(StatusCode::BAD_GATEWAY, b"", "s").unwrap_err();
        assert_eq!(error.to_string(), "Error from server: 502 Bad Gateway");
        let error = answer(StatusCode::UNAUTHORIZED, b"go away\n", "s").unwrap_err();
        assert_eq!(error.to_string(), "Error from server: go away");
    }

    #[test]
    fn answer_that_is_not_json_is_an_error() {
        assert!(matches!(
            answer(StatusCode::OK, b"<html>", "s"),
            Err(CliError::BrokenAnswer { .. })
        ));
    }
}
