//! The one TLS port: accepts connections and gives each to whom it is for.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bramble_api::Status;
use bramble_master_core::access::user::User;
use bramble_master_core::connections::{Peer, Source};
use bramble_master_core::turns::Identity;
use bramble_shared::link::{JOIN_ALPN, LINK_ALPN};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use super::compress::{Expected, FromHere};
use super::places::{Place, Places};
use super::spawner::Spawner;
use super::{Api, caller, handle, response};
use crate::pool::contained;

/// Time that a client has for the head of each request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time after which a client that takes nothing is cut off, in milliseconds.
const STALLED_MS: u32 = 30_000;
/// Requests at a time on one connection without a certificate. Strangers' are answered at once; a pod
/// comes with a token, and a controller in it follows many kinds over one connection.
const ANONYMOUS_STREAMS_MAX: u32 = 64;
/// Requests at a time on one connection of a known client, as upstream.
const STREAMS_MAX: u32 = 250;
/// An answer up to this length is with the kernel at once, whatever its reader does.
const ANSWER_BYTES_AT_ONCE: u64 = 64 * 1024;
/// Time in which a longer one must have been taken, as long as upstream gives a whole request.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// Time that requests have to end when the process stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two looks for connections whose time is over.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the port until `api.stopping` becomes true.
pub(crate) async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, api: Arc<Api>) {
    let acceptor = TlsAcceptor::from(tls);
    let graceful = Arc::new(GracefulShutdown::new());
    let places = Places::default();
    let mut stopping = api.stopping.clone();
    let mut sweep = interval(SWEEP_INTERVAL);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = sweep.tick() => {
                places.handle_timeout();
                continue;
            }
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many open files, as a rule: a stranger's is given up.
                debug!(%error, "could not accept a connection");
                places.shed();
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let source = Source::from(peer.ip());
        let Some(place) = places.accept(source) else { continue };
        let (acceptor, api, graceful) = (acceptor.clone(), Arc::clone(&api), graceful.watcher());
        let identity = Identity::Source(source);
        let pool = Arc::clone(&api.pool);
        pool.spawn(identity, async move {
            prepare(&stream);
            match place.unless_evicted(acceptor.accept(stream)).await {
                Some(Ok(stream)) => route(stream, peer, api, place, graceful).await,
                Some(Err(error)) => debug!(%peer, %error, "TLS handshake failed"),
                None => debug!(%peer, "TLS handshake took too long, or was in the way of others"),
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

/// Gives a connection to whom it is for. Clients are served by the pool, in their own name; node
/// links by the threads that also run the control loop, since they must not wait for clients.
async fn route(
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    api: Arc<Api>,
    place: Place,
    graceful: hyper_util::server::graceful::Watcher,
) {
    let (_, session) = stream.get_ref();
    let user = session
        .peer_certificates()
        .and_then(<[_]>::first)
        .map(caller::from_certificate)
        .unwrap_or_default();
    let revoked = revoked(&stream, &api, &user).await;
    let unknown = Identity::Source(Source::from(peer.ip()));
    let pool = Arc::clone(&api.pool);
    match stream.get_ref().1.alpn_protocol() {
        Some(JOIN_ALPN) if place.identify(Peer::Anonymous) => pool.spawn(unknown, async move {
            let _busy = place.begin_request();
            place.unless_evicted(api.nodes.join(stream, peer)).await;
        }),
        Some(LINK_ALPN) => match user.node() {
            Some(node) => {
                // One that was revoked is told so, but gets no agent's place.
                let who = if revoked { Peer::Anonymous } else { Peer::Agent(node.into()) };
                if place.identify(who) {
                    let node = node.to_owned();
                    tokio::spawn(contained(async move {
                        place.unless_evicted(api.nodes.link(stream, peer, node)).await;
                    }));
                }
            }
            None => warn!(%peer, user = user.name, "node link without a node's certificate"),
        },
        Some(JOIN_ALPN) => {}
        Some(_) | None => {
            // A certificate that was revoked is none.
            let user = if revoked { User::default() } else { user };
            let (who, identity) = match user.name.as_str() {
                "" => (Peer::Anonymous, unknown),
                name => (Peer::Client(name.into()), Identity::User(name.into())),
            };
            if place.identify(who) {
                let of = identity.clone();
                pool.spawn(identity, async move {
                    let place = Arc::new(place);
                    let serving = http(stream, peer, api, user, of, &place, graceful);
                    if place.unless_evicted(serving).await.is_none() {
                        debug!(%peer, "connection closed: too long idle or stuck, or in the way");
                    }
                });
            }
        }
    }
}

/// Whether a node's certificate is of a board that may not speak for it any more.
async fn revoked(stream: &TlsStream<TcpStream>, api: &Api, user: &User) -> bool {
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    match user.node().zip(shown) {
        Some((node, shown)) => !api.nodes.may_speak(node, shown).await,
        None => false,
    }
}

async fn http(
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    api: Arc<Api>,
    user: User,
    identity: Identity,
    place: &Arc<Place>,
    graceful: hyper_util::server::graceful::Watcher,
) {
    let known = Arc::new(AtomicBool::new(!user.anonymous()));
    let streams_max = if user.anonymous() { ANONYMOUS_STREAMS_MAX } else { STREAMS_MAX };
    let spawner = Spawner { pool: Arc::clone(&api.pool), identity: identity.clone() };
    let mut builder = auto::Builder::new(spawner);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .max_concurrent_streams(streams_max)
        .max_header_list_size(32 * 1024)
        // A 512 MB board must not hold megabytes for one stalled client.
        .max_send_buf_size(64 * 1024)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024);
    let place = Arc::clone(place);
    let from_here = peer.ip().is_loopback();
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        if from_here {
            request.extensions_mut().insert(FromHere);
        }
        let (api, user, identity) = (Arc::clone(&api), user.clone(), identity.clone());
        let mut busy = place.begin_request();
        let (place, known) = (Arc::clone(&place), Arc::clone(&known));
        async move {
            let user = caller::of_request(&api, &user, request.headers()).await;
            let identity = if user.anonymous() {
                identity
            } else {
                let name: Arc<str> = user.name.as_str().into();
                // Whoever shows a token is no stranger; the first one says whose the connection is.
                if !known.swap(true, Ordering::Relaxed)
                    && !place.identify(Peer::Client(Arc::clone(&name)))
                {
                    let busy_now = Status::too_many_requests("too many connections", 1);
                    return Ok(response::holding(response::status(&busy_now), busy));
                }
                Identity::User(name)
            };
            let answer = handle(api, Arc::new(user), identity, peer.ip(), request).await;
            // One that is made while it is sent says about how long it will be.
            let expected = answer.extensions().get::<Expected>().map_or(0, |expected| expected.0);
            if answer.body().size_hint().lower().max(expected) > ANSWER_BYTES_AT_ONCE {
                busy.end_connection_after(ANSWER_TIME_MAX);
            }
            Ok::<_, Infallible>(response::holding(answer, busy))
        }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    if let Err(error) = graceful.watch(connection.into_owned()).await {
        debug!(error = %error, "connection ended with an error");
    }
}
