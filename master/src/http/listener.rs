//! The one TLS port: accepts connections and gives each to whom it is for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bramble_shared::link::{JOIN_ALPN, LINK_ALPN};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use super::access::User;
use super::{Api, handle};

/// Connections at a time: 100 nodes and some hundred clients; each costs about 50 KB.
const CONNECTIONS_MAX: usize = 1_024;
/// Time that a client has for its handshake and for the head of each request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time after which a client that takes nothing is cut off, in milliseconds.
const STALLED_MS: u32 = 30_000;
/// Time that requests have to end when the process stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves the port until `api.stopping` becomes true.
pub(crate) async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, api: Arc<Api>) {
    let acceptor = TlsAcceptor::from(tls);
    let graceful = Arc::new(GracefulShutdown::new());
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stopping = api.stopping.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many open files, as a rule: wait for some to be closed.
                warn!(%error, "could not accept a connection");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            warn!(%peer, limit = CONNECTIONS_MAX, "too many connections, one was closed");
            continue;
        };
        let (acceptor, api, graceful) = (acceptor.clone(), Arc::clone(&api), graceful.watcher());
        tokio::spawn(async move {
            let _permit = permit;
            prepare(&stream);
            match timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => route(stream, peer, api, graceful).await,
                Ok(Err(error)) => debug!(%peer, %error, "TLS handshake failed"),
                Err(_) => debug!(%peer, "TLS handshake took too long"),
            }
        });
    }
    drop(listener);
    if let Some(graceful) = Arc::into_inner(graceful)
        && timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err()
    {
        warn!("some requests did not end in time");
    }
}

/// Sets what keeps dead and stalled peers from holding a connection for ever.
fn prepare(stream: &TcpStream) {
    let results = [
        setsockopt(stream, sockopt::TcpUserTimeout, &STALLED_MS),
        setsockopt(stream, sockopt::KeepAlive, &true),
        setsockopt(stream, sockopt::TcpKeepIdle, &60),
        setsockopt(stream, sockopt::TcpKeepInterval, &10),
    ];
    if let Some(error) = results.into_iter().find_map(Result::err) {
        debug!(%error, "could not set a socket option");
    }
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "could not set a socket option");
    }
}

async fn route(
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    api: Arc<Api>,
    graceful: hyper_util::server::graceful::Watcher,
) {
    let (_, session) = stream.get_ref();
    let user = session
        .peer_certificates()
        .and_then(<[_]>::first)
        .map(User::from_certificate)
        .unwrap_or_default();
    match session.alpn_protocol() {
        Some(JOIN_ALPN) => api.nodes.join(stream, peer).await,
        Some(LINK_ALPN) => match user.node() {
            Some(node) => {
                let node = node.to_owned();
                api.nodes.link(stream, peer, node).await;
            }
            None => warn!(%peer, user = user.name, "node link without a node's certificate"),
        },
        Some(_) | None => http(stream, api, user, graceful).await,
    }
}

async fn http(
    stream: TlsStream<TcpStream>,
    api: Arc<Api>,
    user: User,
    graceful: hyper_util::server::graceful::Watcher,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .max_concurrent_streams(250)
        .max_header_list_size(32 * 1024)
        // A 512 MB board must not hold megabytes for one stalled client.
        .max_send_buf_size(64 * 1024)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (api, user) = (Arc::clone(&api), user.clone());
        async move { Ok::<_, std::convert::Infallible>(handle(api, user, request).await) }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    if let Err(error) = graceful.watch(connection.into_owned()).await {
        debug!(error = %error, "connection ended with an error");
    }
}
