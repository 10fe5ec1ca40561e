//! Asks for a page by HTTP, as the kubelet's probes and hooks do.

use std::time::Duration;

use ::http::{Request, Response, Uri, header};
use bramble_agent_core::probe::Outcome;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{WORDS_LEN_MAX, connect, text};

/// Longest way from one page to the next; the kubelet's.
const REDIRECTS_MAX: usize = 10;
/// What the kubelet calls itself.
const USER_AGENT: &str = "kube-probe/1.36";
/// Longest wait for the answer to a hook: it has no time of its own.
const HOOK_TIME_MAX: Duration = Duration::from_secs(600);

/// A page.
#[derive(Clone, Debug)]
pub(super) struct Page<'a> {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: &'a str,
    pub(super) https: bool,
    pub(super) headers: &'a [(String, String)],
}

/// The end of a way through redirects.
struct Answer {
    status: u16,
    body: String,
}

impl Page<'_> {
    /// Probes: any answer from 200 to 399 is a success, one that leads to another host a warning.
    pub(super) async fn probe(&self, timeout: Duration) -> Outcome {
        match self.get(timeout).await {
            Ok(Answer { status, body }) if (300..400).contains(&status) => Outcome::Warning {
                message: format!("Probe terminated redirects, Response body: {body}"),
            },
            Ok(Answer { status, .. }) if (200..300).contains(&status) => Outcome::Success,
            Ok(Answer { status, .. }) => {
                Outcome::Failure { message: format!("HTTP probe failed with statuscode: {status}") }
            }
            Err(message) => Outcome::Failure { message },
        }
    }

    /// Asks once; every answer will do, as upstream.
    ///
    /// # Errors
    ///
    /// If there is no answer.
    pub(super) async fn hook(&self) -> Result<(), String> {
        self.get(HOOK_TIME_MAX).await.map(drop)
    }

    async fn get(&self, timeout: Duration) -> Result<Answer, String> {
        let scheme = if self.https { "https" } else { "http" };
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        let url = format!("{scheme}://{}:{}{slash}{}", self.host, self.port, self.path);
        let told = |why: String| format!("Get \"{url}\": {why}");
        let answer = tokio::time::timeout(timeout, self.follow(&url, timeout));
        match answer.await {
            Ok(answer) => answer.map_err(told),
            Err(_) => Err(told(
                "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
                    .to_owned(),
            )),
        }
    }

    async fn follow(&self, url: &str, timeout: Duration) -> Result<Answer, String> {
        let mut uri: Uri = url.parse().map_err(|_| "invalid URL".to_owned())?;
        for _ in 0..REDIRECTS_MAX {
            let response = self.ask(&uri, timeout).await?;
            let status = response.status().as_u16();
            let next = match response.headers().get(header::LOCATION) {
                Some(to) if (300..400).contains(&status) => {
                    to.to_str().ok().and_then(|to| join(&uri, to))
                }
                _ => None,
            };
            match next {
                Some(next) if next.host() == uri.host() => uri = next,
                Some(_) | None => return Ok(Answer { status, body: body(response).await }),
            }
        }
        Err(format!("stopped after {REDIRECTS_MAX} redirects"))
    }

    async fn ask(&self, uri: &Uri, timeout: Duration) -> Result<Response<Incoming>, String> {
        let https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let host = uri.host().unwrap_or_default();
        let request = self.request(uri).map_err(|error| error.to_string())?;
        let stream = connect::tcp(host, port, timeout).await?;
        if https {
            let stream = connect::tls(host, stream).await.map_err(|error| error.to_string())?;
            send(stream, request).await
        } else {
            send(stream, request).await
        }
    }

    fn request(&self, uri: &Uri) -> Result<Request<Empty<Bytes>>, ::http::Error> {
        let target = uri.path_and_query().map_or("/", |path| path.as_str());
        let named = |name: &str| self.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        let mut request = Request::get(target).header(header::CONNECTION, "close");
        // A pod that names its own gets its own; an empty one means none.
        for (name, value) in [(header::USER_AGENT, USER_AGENT), (header::ACCEPT, "*/*")] {
            if !named(name.as_str()) {
                request = request.header(name, value);
            }
        }
        if !named("host") {
            request =
                request.header(header::HOST, uri.authority().map_or("", |host| host.as_str()));
        }
        for (name, value) in self.headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(name, value);
        }
        request.body(Empty::new())
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, String> {
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    // It ends with the last of the answer, or when the answer is dropped.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(text)
}

/// The start of what a page says.
async fn body(response: Response<Incoming>) -> String {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    let len_max = usize::try_from(WORDS_LEN_MAX).unwrap_or(usize::MAX);
    while bytes.len() < len_max
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
    }
    text(&bytes)
}

/// Where a redirect leads: a whole address, or a path on the same host.
fn join(from: &Uri, to: &str) -> Option<Uri> {
    let to: Uri = to.parse().ok()?;
    if to.authority().is_some() {
        return Some(to);
    }
    let mut parts = from.clone().into_parts();
    parts.path_and_query = to.into_parts().path_and_query;
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each connection with the next of `answers`; returns the port, and what it was asked.
    async fn serve(answers: Vec<&'static str>) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                asked.push(String::from_utf8(request).unwrap());
                let text = format!("HTTP/1.1 {answer}\r\ncontent-length: 2\r\n\r\nhi");
                stream.write_all(text.as_bytes()).await.unwrap();
            }
            asked
        });
        (port, served)
    }

    fn page(port: u16, headers: &[(String, String)]) -> Page<'_> {
        Page { host: "127.0.0.1".to_owned(), port, path: "x?y=1", https: false, headers }
    }

    async fn check(answers: Vec<&'static str>, expected: Outcome) -> Vec<String> {
        let (port, served) = serve(answers).await;
        assert_eq!(page(port, &[]).probe(Duration::from_secs(60)).await, expected);
        served.await.unwrap()
    }

    #[tokio::test]
    async fn status_decides() {
        let asked = check(vec!["204 No Content"], Outcome::Success).await;
        assert!(asked[0].starts_with("GET /x?y=1 HTTP/1.1\r\n"), "{}", asked[0]);
        assert!(asked[0].contains("user-agent: kube-probe/1.36\r\n"), "{}", asked[0]);
        let message = "HTTP probe failed with statuscode: 503".to_owned();
        check(vec!["503 Service Unavailable"], Outcome::Failure { message }).await;
    }

    #[tokio::test]
    async fn redirects_are_followed_on_the_same_host_only() {
        let asked = check(vec!["302 Found\r\nlocation: /z", "200 OK"], Outcome::Success).await;
        assert!(asked[1].starts_with("GET /z "), "{}", asked[1]);
        let message = "Probe terminated redirects, Response body: hi".to_owned();
        let away = "302 Found\r\nlocation: http://example.com/";
        check(vec![away], Outcome::Warning { message }).await;
    }

    #[tokio::test]
    async fn headers_of_the_probe_replace_our_own() {
        let (port, served) = serve(vec!["200 OK"]).await;
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = [header("Host", "shop.example"), header("X-A", "1"), header("Accept", "")];
        let outcome = page(port, &headers).probe(Duration::from_secs(60)).await;
        assert_eq!(outcome, Outcome::Success);
        let asked = served.await.unwrap().remove(0).to_lowercase();
        assert!(
            asked.contains("host: shop.example\r\n") && asked.contains("x-a: 1\r\n"),
            "{asked}"
        );
        assert!(!asked.contains("accept"), "{asked}");
    }

    #[tokio::test]
    async fn nobody_there_is_told_in_gos_words() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let outcome = page(port, &[]).probe(Duration::from_secs(60)).await;
        let at = format!("127.0.0.1:{port}");
        let message =
            format!("Get \"http://{at}/x?y=1\": dial tcp {at}: connect: connection refused");
        assert_eq!(outcome, Outcome::Failure { message });
    }
}
