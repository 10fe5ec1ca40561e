//! Fetches manifests and blobs from a registry or its mirrors.
//!
//! Knows the distribution protocol and who may be told which credentials; it does not know what is
//! in a manifest, nor the order of a pull. Rules kept here: credentials go to the host that they
//! were written for and to the token service of that host, never along a redirect; a host that was
//! redirected to and wants a token gets one that anybody may have; plain HTTP only where configured;
//! nothing longer than announced is read.

mod challenge;
mod http;

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::Deserialize;
use tokio::sync::Semaphore;

pub(crate) use self::http::NewTransportError;
use self::{
    challenge::Challenge,
    http::{Answer, SendError, Transport},
};
use crate::{
    Digest, ImageStore, PullSecrets, Reference,
    manifest::DOCUMENT_LEN_MAX,
    reference::DOCKER_HUB,
    secrets::Credentials,
    store::{FinishBlobError, PartialBlob},
};

/// How to reach registries, by `host[:port]` as it stands in image names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registries {
    /// Registries, and mirrors, that need more than HTTPS with a public certificate.
    pub registries: BTreeMap<String, RegistryConfig>,
}

/// How to reach one registry.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// Speak HTTP without TLS.
    pub plain_http: bool,
    /// Hosts to try before the registry itself, in order; each may have a configuration of its own.
    pub mirrors: Vec<String>,
    /// PEM file of certificate authorities to trust besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// Hosts of token services that may see this registry's credentials, besides those that
    /// share its domain.
    pub token_hosts: Vec<String>,
}

/// What all pulls share: configuration and trust.
#[derive(Debug)]
pub(crate) struct RegistryClient {
    registries: Registries,
    transport: Transport,
    /// Those that may write what was downloaded.
    writers: Semaphore,
}

impl RegistryClient {
    /// Reads the certificate authorities that `registries` names.
    pub(crate) fn new(registries: Registries) -> Result<Self, NewTransportError> {
        let transport = Transport::new(&registries)?;
        Ok(Self { registries, transport, writers: Semaphore::new(WRITERS_MAX) })
    }

    /// Does what may wait for the card, some of it at a time.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, FetchError> {
        // It is never closed.
        let _permit = self.writers.acquire().await.ok();
        tokio::task::spawn_blocking(work).await.map_err(FetchError::stopped)
    }

    /// Begins a pull of one image with the credentials of one pod.
    pub(crate) fn session(
        self: &Arc<Self>,
        reference: &Reference,
        secrets: &PullSecrets,
    ) -> Session {
        let config = self.registries.registries.get(reference.registry());
        let mirrors = config.map(|config| config.mirrors.clone()).unwrap_or_default();
        let hosts = mirrors.into_iter().chain([reference.registry().to_owned()]);
        let endpoints = hosts.map(|name| self.endpoint(name, reference, secrets)).collect();
        Session { client: Arc::clone(self), reference: reference.clone(), endpoints }
    }

    fn endpoint(&self, name: String, reference: &Reference, secrets: &PullSecrets) -> Endpoint {
        let config = self.registries.registries.get(&name).cloned().unwrap_or_default();
        let candidates = secrets.matching(&name, reference.repository());
        let host =
            if name == DOCKER_HUB { "registry-1.docker.io".to_owned() } else { name.clone() };
        let scheme = if config.plain_http { "http" } else { "https" };
        let base = format!("{scheme}://{host}/v2/{}", reference.repository());
        let origin = format!("{scheme}://{}", host.to_ascii_lowercase());
        Endpoint { name, host, origin, base, config, candidates, accepted: Mutex::default() }
    }
}

/// One image's conversation with its registry and mirrors.
#[derive(Debug)]
pub(crate) struct Session {
    client: Arc<RegistryClient>,
    reference: Reference,
    /// Mirrors first, the registry last.
    endpoints: Vec<Endpoint>,
}

#[derive(Debug)]
struct Endpoint {
    /// As in image names and secrets.
    name: String,
    /// Where it really is.
    host: String,
    /// Scheme and authority of `base`.
    origin: String,
    base: String,
    config: RegistryConfig,
    candidates: Vec<Credentials>,
    /// What was accepted last.
    accepted: Mutex<Authorizations>,
}

/// What each host on the way to an answer is sent, by its origin.
type Authorizations = BTreeMap<String, Authorization>;

#[derive(Clone, Debug)]
struct Authorization {
    header: HeaderValue,
    /// Of the credentials behind it; `None` is anonymous.
    fingerprint: Option<String>,
}

/// Who was allowed to have an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    Everyone,
    Holder { fingerprint: String },
}

impl Session {
    /// Fetches a manifest or index by tag or digest.
    pub(crate) async fn manifest(&self, which: &str) -> Result<(Vec<u8>, Allowed), FetchError> {
        let mut last = None;
        for endpoint in &self.endpoints {
            match self.manifest_from(endpoint, which).await {
                Ok(found) => return Ok(found),
                Err(error) => last = Some(self.next_endpoint(endpoint, error)),
            }
        }
        Err(last.unwrap_or(FetchError::NotFound))
    }

    async fn manifest_from(
        &self,
        endpoint: &Endpoint,
        which: &str,
    ) -> Result<(Vec<u8>, Allowed), FetchError> {
        let url = format!("{}/manifests/{which}", endpoint.base);
        let (answer, allowed) =
            self.get(endpoint, &url, &[(header::ACCEPT, MANIFEST_TYPES.to_owned())]).await?;
        let bytes = self.body(endpoint, answer, DOCUMENT_LEN_MAX).await?;
        if let Ok(expected) = which.parse::<Digest>() {
            let found = Digest::of(&bytes);
            if found != expected {
                return Err(FetchError::WrongDigest { expected, found });
            }
        }
        Ok((bytes, allowed))
    }

    /// Downloads a blob to its end, going on where an earlier attempt stopped.
    pub(crate) async fn blob(
        &self,
        store: &ImageStore,
        digest: Digest,
        size: u64,
    ) -> Result<(), FetchError> {
        let mut last = None;
        let mut partial = None;
        for endpoint in &self.endpoints {
            let writer = match partial.take() {
                Some(partial) => partial,
                None => {
                    let store = store.clone();
                    let opened = self.client.on_disk(move || store.partial_blob(digest, size));
                    opened.await?.map_err(FinishBlobError::from)?
                }
            };
            tracing::debug!(host = %endpoint.name, blob = %digest, size, resumed_at = writer.len(), "downloading");
            match self.blob_from(endpoint, digest, writer).await {
                Ok(()) => return Ok(()),
                Err((error, returned)) => {
                    partial = returned;
                    last = Some(self.next_endpoint(endpoint, error));
                }
            }
        }
        Err(last.unwrap_or(FetchError::NotFound))
    }

    /// Returns the writer with the error if another endpoint could go on with it.
    async fn blob_from(
        &self,
        endpoint: &Endpoint,
        digest: Digest,
        mut partial: PartialBlob,
    ) -> Result<(), (FetchError, Option<PartialBlob>)> {
        let url = format!("{}/blobs/{digest}", endpoint.base);
        let mut headers = Vec::new();
        if partial.len() > 0 && partial.len() < partial.size() {
            headers.push((header::RANGE, format!("bytes={}-", partial.len())));
        }
        if partial.len() < partial.size() || partial.size() == 0 {
            let mut answer = match self.get(endpoint, &url, &headers).await {
                Ok((answer, _)) => answer,
                Err(error) => {
                    // What is here does not fit what the server has: begin again next time.
                    if matches!(
                        error,
                        FetchError::Status { status: StatusCode::RANGE_NOT_SATISFIABLE, .. }
                    ) && let Err(error) = partial.restart()
                    {
                        return Err((FinishBlobError::from(error).into(), None));
                    }
                    return Err((error, Some(partial)));
                }
            };
            if partial.len() > 0 && answer.status() != StatusCode::PARTIAL_CONTENT {
                partial.restart().map_err(|error| (FinishBlobError::from(error).into(), None))?;
            }
            if answer.content_length().is_some_and(|len| len > partial.size() - partial.len()) {
                return Err((
                    FinishBlobError::TooLong { digest, size: partial.size() }.into(),
                    Some(partial),
                ));
            }
            let read = loop {
                let mut batch = Vec::with_capacity(BATCH_LEN);
                let filled =
                    tokio::time::timeout(BATCH_TIMEOUT, fill(&mut answer, &mut batch)).await;
                let last = batch.len() < BATCH_LEN;
                if !batch.is_empty() {
                    partial = self.write(partial, batch).await?;
                }
                match filled {
                    Ok(Ok(())) if last => break Ok(()),
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => break Err(error),
                    Err(_) => break Err(SendError::Slow),
                }
            };
            let read = read.map_err(|error| FetchError::unreachable(&endpoint.name, error));
            if let Err(error) = read {
                return Err((error, Some(partial)));
            }
        }
        match self.client.on_disk(move || partial.finish()).await {
            Ok(finished) => finished.map_err(|error| (error.into(), None)),
            Err(error) => Err((error, None)),
        }
    }

    /// Writes and hashes one batch. No thread waits for the network, and few for the card, however
    /// many downloads stand still.
    async fn write(
        &self,
        mut partial: PartialBlob,
        batch: Vec<u8>,
    ) -> Result<PartialBlob, (FetchError, Option<PartialBlob>)> {
        let written = self.client.on_disk(move || (partial.write(&batch), partial)).await;
        match written {
            Ok((Ok(()), partial)) => Ok(partial),
            Ok((Err(error), partial)) => Err((error.into(), Some(partial))),
            Err(error) => Err((error, None)),
        }
    }

    /// Notes that a mirror failed; the registry's own error, which comes last, is the one to tell.
    fn next_endpoint(&self, endpoint: &Endpoint, error: FetchError) -> FetchError {
        if endpoint.name != self.reference.registry() {
            tracing::warn!(mirror = %endpoint.name, image = %self.reference, %error, "mirror failed, trying the next host");
        }
        error
    }

    async fn body(
        &self,
        endpoint: &Endpoint,
        mut answer: Answer,
        len_max: usize,
    ) -> Result<Vec<u8>, FetchError> {
        let mut bytes = Vec::new();
        while let Some(piece) =
            answer.piece().await.map_err(|error| FetchError::unreachable(&endpoint.name, error))?
        {
            if bytes.len() + piece.len() > len_max {
                return Err(FetchError::AnswerTooLong);
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Gets `url` from an endpoint: as accepted before, else anonymously, else as it, or a host that
    /// it redirects to, demands.
    async fn get(
        &self,
        endpoint: &Endpoint,
        url: &str,
        headers: &[(header::HeaderName, String)],
    ) -> Result<(Answer, Allowed), FetchError> {
        let mut shown = endpoint.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut demands: BTreeMap<String, Demand> = BTreeMap::new();
        loop {
            let answer = self.try_get(endpoint, url, headers, &shown).await?;
            let origin = answer.origin().to_owned();
            let demanded = match answer.status() {
                StatusCode::UNAUTHORIZED => true,
                // Other credentials may be allowed what these are not.
                StatusCode::FORBIDDEN => demands.contains_key(&origin),
                _ => false,
            };
            if !demanded || demands.len() > ORIGINS_MAX {
                return self.accept(endpoint, answer, shown).await;
            }
            let challenges = Challenge::parse_all(answer.headers());
            let refusal = self.refusal(endpoint, answer).await;
            let demand = demands
                .entry(origin.clone())
                .or_insert_with(|| Demand::new(endpoint, &origin, challenges));
            let authorization = self.answer_demand(endpoint, demand, refusal).await?;
            shown.insert(origin, authorization);
        }
    }

    /// Returns what to send next to a host that demands authorization, or why there is nothing.
    async fn answer_demand(
        &self,
        endpoint: &Endpoint,
        demand: &mut Demand,
        refusal: FetchError,
    ) -> Result<Authorization, FetchError> {
        while let Some(credentials) = demand.untried.pop_front() {
            match self.authorize(endpoint, &demand.challenges, credentials.as_ref()).await {
                Ok(Some(header)) => {
                    let fingerprint = credentials.as_ref().map(Credentials::fingerprint);
                    return Ok(Authorization { header, fingerprint });
                }
                Ok(None) => {}
                // The next ones, or none, may be shown to it.
                Err(error @ FetchError::Realm { .. }) => {
                    demand.hidden.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(demand.hidden.take().unwrap_or(refusal))
    }

    async fn try_get(
        &self,
        endpoint: &Endpoint,
        url: &str,
        headers: &[(header::HeaderName, String)],
        shown: &Authorizations,
    ) -> Result<Answer, FetchError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                map.insert(name.clone(), value);
            }
        }
        let authorization = |origin: &str| Some(shown.get(origin)?.header.clone());
        let plain = endpoint.config.plain_http;
        let sent = self.client.transport.get(url, &map, authorization, plain);
        sent.await.map_err(|error| FetchError::unreachable(&endpoint.name, error))
    }

    async fn accept(
        &self,
        endpoint: &Endpoint,
        answer: Answer,
        shown: Authorizations,
    ) -> Result<(Answer, Allowed), FetchError> {
        if !answer.status().is_success() {
            return Err(self.refusal(endpoint, answer).await);
        }
        let fingerprint = shown.values().find_map(|shown| shown.fingerprint.clone());
        let allowed = match fingerprint {
            Some(fingerprint) => Allowed::Holder { fingerprint },
            None => Allowed::Everyone,
        };
        *endpoint.accepted.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok((answer, allowed))
    }

    /// Turns an answer that is no success into an error, with the server's own words.
    async fn refusal(&self, endpoint: &Endpoint, answer: Answer) -> FetchError {
        let status = answer.status();
        let body = self.body(endpoint, answer, ERROR_LEN_MAX).await.unwrap_or_default();
        let message = server_message(&body);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                FetchError::Unauthorized { message }
            }
            StatusCode::NOT_FOUND => FetchError::NotFound,
            status => FetchError::Status { host: endpoint.name.clone(), status, message },
        }
    }

    /// Returns what to send to a registry that demands authorization; `None` if these credentials
    /// are of no use to it.
    async fn authorize(
        &self,
        endpoint: &Endpoint,
        challenges: &[Challenge],
        credentials: Option<&Credentials>,
    ) -> Result<Option<HeaderValue>, FetchError> {
        for challenge in challenges {
            match (challenge, credentials) {
                (Challenge::Basic, Some(credentials)) => {
                    return Ok(secret_header(&credentials.basic()));
                }
                (Challenge::Basic, None) => {}
                (Challenge::Bearer { realm, service, scope }, credentials) => {
                    return self
                        .token(endpoint, realm, service.as_deref(), scope.as_deref(), credentials)
                        .await;
                }
            }
        }
        Ok(None)
    }

    async fn token(
        &self,
        endpoint: &Endpoint,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
        credentials: Option<&Credentials>,
    ) -> Result<Option<HeaderValue>, FetchError> {
        let url = challenge::token_url(realm, service, scope, self.reference.repository());
        let uri: Uri = url
            .parse()
            .map_err(|_| FetchError::Realm { realm: realm.chars().take(200).collect() })?;
        if !self.may_ask(endpoint, &uri, credentials.is_some()) {
            return Err(FetchError::Realm { realm: realm.chars().take(200).collect() });
        }
        let header = credentials.and_then(|credentials| secret_header(&credentials.basic()));
        let none = HeaderMap::new();
        let service = http::origin(&uri);
        let authorization =
            |origin: &str| header.clone().filter(|_| Some(origin) == service.as_deref());
        let plain = endpoint.config.plain_http;
        let sent = self.client.transport.get(&url, &none, authorization, plain);
        let answer = sent.await.map_err(|error| FetchError::unreachable(&endpoint.name, error))?;
        if !answer.status().is_success() {
            // Wrong credentials; the next ones may be right.
            return match answer.status() {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                    Ok(None)
                }
                _ => Err(self.refusal(endpoint, answer).await),
            };
        }
        let body = self.body(endpoint, answer, TOKEN_LEN_MAX).await?;
        let token = serde_json::from_slice::<TokenAnswer>(&body)
            .ok()
            .and_then(|answer| answer.token.or(answer.access_token));
        Ok(token.and_then(|token| secret_header(&format!("Bearer {token}"))))
    }

    /// Returns whether a token service is one that this registry's credentials may be shown to.
    fn may_ask(&self, endpoint: &Endpoint, realm: &Uri, with_credentials: bool) -> bool {
        let Some(realm_host) = realm.host() else { return false };
        let own = endpoint.host.rsplit_once(':').map_or(endpoint.host.as_str(), |(host, _)| host);
        let scheme_fits = match realm.scheme_str() {
            Some("https") => true,
            Some("http") => endpoint.config.plain_http && (realm_host == own || !with_credentials),
            Some(_) | None => false,
        };
        let listed = endpoint.config.token_hosts.iter().any(|host| host == realm_host);
        scheme_fits && (!with_credentials || listed || challenge::same_domain(own, realm_host))
    }
}

/// What one host wants before it answers, and what was not tried yet.
struct Demand {
    challenges: Vec<Challenge>,
    /// None is anonymous.
    untried: VecDeque<Option<Credentials>>,
    /// A token service that may not see the credentials.
    hidden: Option<FetchError>,
}

impl Demand {
    fn new(endpoint: &Endpoint, origin: &str, challenges: Vec<Challenge>) -> Self {
        // The pod's own credentials first, then none: a token service gives tokens to anyone. They
        // are for the registry that they were written for, not for whom it redirects to.
        let own = if origin == endpoint.origin { endpoint.candidates.as_slice() } else { &[] };
        let untried = own.iter().cloned().map(Some).chain([None]).collect();
        Self { challenges, untried, hidden: None }
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

/// Reads until a batch is full or the body has ended.
async fn fill(answer: &mut Answer, batch: &mut Vec<u8>) -> Result<(), SendError> {
    while batch.len() < BATCH_LEN {
        match answer.piece().await? {
            Some(piece) => batch.extend_from_slice(&piece),
            None => break,
        }
    }
    Ok(())
}

fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Takes the first message of a distribution error body; anything else is left out.
fn server_message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Body {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let entry =
        serde_json::from_slice::<Body>(body).ok().and_then(|body| body.errors.into_iter().next());
    match entry {
        Some(entry) => {
            format!("{}: {}", entry.code.to_lowercase(), entry.message).chars().take(300).collect()
        }
        None => "no message from the server".to_owned(),
    }
}

/// Why something could not be fetched.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("not found")]
    NotFound,
    #[error("authorization failed: {message}")]
    Unauthorized { message: String },
    #[error("registry `{host}` could not be reached")]
    Unreachable {
        host: String,
        #[source]
        source: Arc<SendError>,
    },
    #[error("registry `{host}` answered {status}: {message}")]
    Status { host: String, status: StatusCode, message: String },
    #[error("registry sends for a token to `{realm}`, which may not see its credentials")]
    Realm { realm: String },
    #[error("registry's answer is longer than allowed")]
    AnswerTooLong,
    #[error("registry sent content with digest {found}, expected {expected}")]
    WrongDigest { expected: Digest, found: Digest },
    #[error("could not keep a blob")]
    Blob {
        #[source]
        source: Arc<FinishBlobError>,
    },
    #[error("download was stopped")]
    Stopped {
        #[source]
        source: Arc<tokio::task::JoinError>,
    },
}

impl FetchError {
    fn stopped(error: tokio::task::JoinError) -> Self {
        Self::Stopped { source: Arc::new(error) }
    }

    fn unreachable(host: &str, error: SendError) -> Self {
        Self::Unreachable { host: host.to_owned(), source: Arc::new(error) }
    }
}

impl From<FinishBlobError> for FetchError {
    fn from(error: FinishBlobError) -> Self {
        match error {
            FinishBlobError::WrongDigest { expected, found } => {
                Self::WrongDigest { expected, found }
            }
            error @ (FinishBlobError::TooLong { .. }
            | FinishBlobError::TooShort { .. }
            | FinishBlobError::Store(_)) => Self::Blob { source: Arc::new(error) },
        }
    }
}

const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// Hosts on the way to an answer that want authorization: real registries have two.
const ORIGINS_MAX: usize = 4;

/// An error's text, in bytes; more is cut off with the answer.
const ERROR_LEN_MAX: usize = 16 << 10;

/// Tokens are a few thousand bytes.
const TOKEN_LEN_MAX: usize = 64 << 10;

/// Bytes that are written at once.
const BATCH_LEN: usize = 64 << 10;

/// Longest time for one batch, so slowest download: 1 KiB a second is a modem that still works.
const BATCH_TIMEOUT: Duration = Duration::from_secs(64);

/// Threads that write downloads at a time: a card is not made faster by more, and the agent's
/// other work on the disk needs some, too.
const WRITERS_MAX: usize = 3;
