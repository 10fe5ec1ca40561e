//! The API server's HTTP side: one TLS port for clients and nodes.
//!
//! Finds out who asks and what for, and hands over to one handler per verb. Knows nothing of how
//! objects are stored; that is the object service's.

mod accept;
mod access;
mod account_token;
mod body;
mod caller;
mod collection;
mod compress;
mod discovery;
mod impersonate;
mod listener;
mod logs;
mod metrics;
mod node_access;
mod path;
mod places;
mod query;
mod read;
mod remove;
mod response;
mod review;
mod scale;
mod shared_events;
mod spawner;
mod streams;
mod subresource;
mod tls;
mod token_api;
mod trail;
mod turns;
mod upgrade;
mod vitals;
mod watch;
mod write;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bramble_api::{Registry, Resource, Status};
use bramble_master_core::access::user::User;
use bramble_master_core::turns::Identity;
use bramble_process::panics::Panicked;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use crate::access::{Access, AccountTokens, AuditLog, Authorizer};
use crate::node_port::NodePort;
use crate::objects::{Notes, Objects};
use crate::pool::{Pool, contained};
use crate::token::Tokens;
use metrics::Metrics;
use path::{ResourcePath, Route};
use query::Query;
use response::Body;
use trail::Trail;
use turns::{Cost, Turns};

pub(crate) use listener::serve;
pub(crate) use tls::{TlsError, server_config};
pub(crate) use token_api::{CreateTokenRequest, CreatedToken, PATH as TOKEN_PATH, TokenList};

/// Version of Kubernetes whose API this is, with our own as build metadata.
pub(crate) const GIT_VERSION: &str = concat!(
    "v1.36.2+bramble.",
    env!("CARGO_PKG_VERSION_MAJOR"),
    ".",
    env!("CARGO_PKG_VERSION_MINOR")
);

/// What the handlers work with.
pub(crate) struct Api {
    /// The object service.
    pub(crate) objects: Objects,
    /// Join tokens.
    pub(crate) tokens: Arc<Tokens>,
    /// Tokens of service accounts.
    account_tokens: Arc<AccountTokens>,
    /// What users may do.
    authorizer: Arc<Authorizer>,
    /// Who did what.
    audit: Arc<AuditLog>,
    /// The way to the nodes.
    pub(crate) nodes: Arc<dyn NodePort>,
    /// Address and port that clients reach us by.
    pub(crate) advertised: String,
    /// Becomes true when the process is to end.
    pub(crate) stopping: tokio::sync::watch::Receiver<bool>,
    metrics: Metrics,
    /// Changes that watchers are just being told.
    events: shared_events::SharedEvents,
    /// The threads that work for clients.
    pub(crate) pool: Arc<Pool>,
    turns: Turns,
    documents: discovery::Documents,
    /// Open streams to pods.
    sessions: streams::Sessions,
}

impl Api {
    /// Puts the parts together, and starts the threads that work for clients.
    ///
    /// # Errors
    ///
    /// When the system has no more threads.
    pub(crate) fn new(
        objects: Objects,
        access: Access,
        nodes: Arc<dyn NodePort>,
        advertised: String,
        stopping: tokio::sync::watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let pool = Arc::new(Pool::start(tokio::runtime::Handle::current())?);
        let turns = Turns::default();
        Ok(Self {
            objects,
            tokens: access.tokens,
            account_tokens: access.account_tokens,
            authorizer: access.authorizer,
            audit: access.audit,
            nodes,
            advertised,
            stopping,
            metrics: Metrics::default(),
            events: shared_events::SharedEvents::default(),
            pool,
            turns,
            documents: discovery::Documents::default(),
            sessions: streams::Sessions::default(),
        })
    }
}

/// One request about objects, with its body still to be read.
struct Call<'a> {
    api: &'a Arc<Api>,
    /// In whose name work is done.
    identity: &'a Identity,
    /// Who asks.
    user: &'a Arc<User>,
    /// What is said of the write that it asks for.
    notes: Notes,
    resource: &'a Arc<Resource>,
    /// Empty: cluster scope, or all namespaces.
    namespace: &'a str,
    /// Empty: the collection.
    name: &'a str,
    query: &'a Query,
    headers: &'a HeaderMap,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
struct ClientAddress(IpAddr);

/// Answers one request; never fails, errors and panics are answers.
async fn handle(
    api: Arc<Api>,
    user: Arc<User>,
    identity: Identity,
    peer: IpAddr,
    mut request: Request<Incoming>,
) -> Response<Body> {
    request.extensions_mut().insert(ClientAddress(peer));
    let compress = compress::wanted(&request);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut trail = Trail::of(&request);
    let outcome = contained(dispatch(&api, &user, &identity, &mut trail, request)).await;
    if outcome.is_err() {
        tracing::error!(%method, path, user = %identity, "a request panicked");
    }
    let answer = conclude(outcome);
    let answer = if compress { compress::compress(answer) } else { answer };
    api.metrics.count(&method, answer.status());
    trail.end(&api, &user, peer, answer.status());
    answer
}

/// Makes an answer of whatever became of a request.
fn conclude(outcome: Result<Result<Response<Body>, Status>, Panicked>) -> Response<Body> {
    match outcome {
        Ok(Ok(answer)) => answer,
        Ok(Err(status)) => response::status(&status),
        Err(Panicked) => {
            let message = "the server met an error of its own and has written it to its log";
            response::status(&Status::internal(message))
        }
    }
}

async fn dispatch(
    api: &Arc<Api>,
    user: &Arc<User>,
    identity: &Identity,
    trail: &mut Trail,
    request: Request<Incoming>,
) -> Result<Response<Body>, Status> {
    let route = Route::parse(request.uri().path())
        .map_err(|status| if user.anonymous() { Status::unauthorized() } else { status })?;
    let query = request.uri().query().unwrap_or("");
    let query = Query::parse(query, options_kind(request.method()));
    let path = request.uri().path();
    let registry = api.objects.registry();
    let asked = access::attributes(request.method(), path, &route, query.as_ref().ok(), &registry);
    trail.asked.clone_from(&asked);
    let taken_on = impersonate::impersonated(&api.authorizer, user, request.headers())?;
    trail.impersonated.clone_from(&taken_on);
    let user = &taken_on.map_or_else(|| Arc::clone(user), Arc::new);
    access::check(&api.authorizer, user, &route, &asked)?;
    let query = query?;
    let reading = request.method() == Method::GET;
    let turn = match Cost::of(&route, &query, &request) {
        Some(cost) => Some(api.turns.take(identity, cost).await?),
        None => None,
    };
    let answer = match route {
        Route::Health => {
            // The process ends with its store; nobody is to be sent here meanwhile.
            api.objects.store().running().map_err(crate::objects::store_status)?;
            Ok(response::text(StatusCode::OK, "ok".to_owned()))
        }
        Route::Version => Ok(response::json(StatusCode::OK, &version())),
        Route::Metrics => {
            Ok(response::text(StatusCode::OK, api.metrics.render(api.objects.revision())))
        }
        Route::Audit => Ok(response::text(StatusCode::OK, api.audit.text())),
        Route::Tokens(id) => token_api::handle(api, request, id.as_deref()).await,
        Route::Vitals => vitals::handle(api, request.method()).await,
        Route::NodeAccess(node, access) => node_access::handle(api, &node, access, request).await,
        Route::Upgrade(node) => upgrade::handle(api, &node, request).await,
        Route::Discovery(document) if reading => {
            discovery::handle(api, &registry, &document, request.headers())
        }
        Route::Discovery(_) => Err(Status::not_found_path()),
        Route::Resource(path) => {
            let asked = (&*registry, &path, &query);
            resource(api, user, identity, trail, asked, request).await
        }
    }?;
    Ok(match turn {
        Some(turn) => turn.hold(answer),
        None => answer,
    })
}

/// The kind of options that the query of a request stands for.
fn options_kind(method: &Method) -> &'static str {
    match method.as_str() {
        "POST" => "CreateOptions",
        "PUT" => "UpdateOptions",
        "PATCH" => "PatchOptions",
        "DELETE" => "DeleteOptions",
        _ => "ListOptions",
    }
}

async fn resource(
    api: &Arc<Api>,
    user: &Arc<User>,
    identity: &Identity,
    trail: &mut Trail,
    (registry, path, query): (&Registry, &ResourcePath, &Query),
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Status> {
    let resource = registry
        .find(&path.group, &path.version, &path.resource)
        .ok_or_else(Status::not_found_path)?;
    if !resource.namespaced && !path.namespace.is_empty() {
        return Err(Status::not_found_path());
    }
    if resource.namespaced && path.namespace.is_empty() && !path.name.is_empty() {
        return Err(Status::not_found_path());
    }
    let stream = streams::stream(resource, &path.subresource, request.headers());
    let stream = stream.map(|stream| (stream, hyper::upgrade::on(&mut request)));
    let (parts, body) = request.into_parts();
    let call = Call {
        api,
        identity,
        user,
        notes: Notes::default(),
        resource,
        namespace: &path.namespace,
        name: &path.name,
        query,
        headers: &parts.headers,
    };
    if let Some((stream, upgrade)) = stream {
        let asked = streams::Asked { parts: &parts, rest: &path.rest, body, upgrade };
        return streams::handle(&call, stream, asked).await;
    }
    let mut answer = object(&call, path, &parts.method, body).await;
    if let (Ok(answer), Some(warning)) = (&mut answer, resource.deprecation()) {
        response::warn(answer, warning);
    }
    trail.annotations.extend(call.notes.take_audit());
    answer
}

/// Answers a request for objects, one object or a part of one.
async fn object(
    call: &Call<'_>,
    path: &ResourcePath,
    method: &Method,
    body: Incoming,
) -> Result<Response<Body>, Status> {
    let (resource, query) = (call.resource, call.query);
    if !path.subresource.is_empty() {
        return subresource::handle(call, &path.subresource, method, body).await;
    }
    let named = !path.name.is_empty();
    let verb = match *method {
        Method::GET if named && !query.watch => "get",
        Method::GET if query.watch => "watch",
        Method::GET => "list",
        Method::POST if !named => "create",
        Method::PUT if named => "update",
        Method::PATCH if named => "patch",
        Method::DELETE if named => "delete",
        Method::DELETE => "deletecollection",
        _ => return Err(Status::method_not_supported(resource, method.as_str())),
    };
    if !resource.verbs.contains(&verb) {
        return Err(Status::method_not_supported(resource, verb));
    }
    if let Some(question) = resource.question {
        return review::answer(call, question, body).await;
    }
    match verb {
        "get" => read::get(call).await,
        "list" => read::list(call).await,
        "watch" => watch::watch(call).await,
        "create" => write::create(call, body).await,
        "update" => write::update(call, crate::objects::Part::Main, body).await,
        "patch" => write::patch(call, crate::objects::Part::Main, body).await,
        "delete" => remove::delete(call, body).await,
        _ => remove::delete_collection(call, body).await,
    }
}

fn version() -> serde_json::Value {
    json!({
        "major": "1",
        "minor": "36",
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "rustc",
        "platform": format!("linux/{}", architecture()),
    })
}

/// Returns this machine's architecture in Go's words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        "x86_64" => "amd64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_in_a_request_is_its_clients_answer() {
        let empty: Vec<u8> = Vec::new();
        let slip = async {
            tokio::task::yield_now().await;
            Ok(response::text(StatusCode::OK, empty[0].to_string()))
        };
        let answer = conclude(contained(slip).await);
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let told = conclude(contained(async { Err(Status::unauthorized()) }).await);
        assert_eq!(told.status(), StatusCode::UNAUTHORIZED);
    }
}
