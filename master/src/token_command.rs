//! `bramble token`: talks to the master on this machine with the administrator's certificate.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ::http::{Method, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::cli::{ServerFlags, TokenArgs, TokenCommand};
use crate::clock;
use crate::config::{Config, ConfigError};
use crate::http::{CreateTokenRequest, CreatedToken, TOKEN_PATH, TokenList};
use crate::pki::{Identity, IdentityError};

/// Why a token command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenCommandError {
    /// Configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// This is not the master's machine, or not its administrator.
    #[error("could not read the administrator's certificate; run this on the master, as root")]
    Identity(#[from] IdentityError),
    /// The master does not answer.
    #[error("could not reach the master at {address}; is `bramble server` running?")]
    Connect { address: SocketAddr, source: io::Error },
    /// TLS.
    #[error("could not set up TLS")]
    Tls(#[from] rustls::Error),
    /// HTTP.
    #[error("could not talk to the master")]
    Http(#[from] hyper::Error),
    /// The request could not be built or the answer not be read.
    #[error("could not understand the master's answer")]
    Answer(#[from] serde_json::Error),
    /// The request could not be built.
    #[error("could not ask the master")]
    Request(#[from] ::http::Error),
    /// The master refused.
    #[error("{message}")]
    Refused { message: String },
    /// Input or output.
    #[error("could not write the answer")]
    Output(#[from] io::Error),
}

/// Runs `bramble token`.
///
/// # Errors
///
/// When the master cannot be reached or refuses.
pub(crate) async fn run(args: &TokenArgs) -> Result<(), TokenCommandError> {
    let flags = ServerFlags {
        config: args.config.clone(),
        data_dir: args.data_dir.clone(),
        listen: args.listen,
        ..ServerFlags::default()
    };
    let config = Config::load(&flags)?;
    let identity = Identity::load(&config.data_dir)?;
    let mut output = io::stdout().lock();
    match &args.command {
        TokenCommand::Create { ttl, uses, description } => {
            let wanted = CreateTokenRequest {
                ttl_seconds: *ttl,
                uses: *uses,
                description: description.clone(),
            };
            let body = serde_json::to_vec(&wanted)?;
            let answer = ask(&config, &identity, Method::POST, TOKEN_PATH, body).await?;
            let created: CreatedToken = serde_json::from_slice(&answer)?;
            writeln!(output, "{}", created.token)?;
        }
        TokenCommand::List => {
            let answer = ask(&config, &identity, Method::GET, TOKEN_PATH, Vec::new()).await?;
            let list: TokenList = serde_json::from_slice(&answer)?;
            let now_ms = clock::time_of_day_ms();
            writeln!(output, "{:<16} {:<8} {:<6} DESCRIPTION", "ID", "EXPIRES", "USED")?;
            for token in list.items {
                let left = token.expires_ms.map_or_else(
                    || "never".to_owned(),
                    |expires_ms| {
                        let left_s = expires_ms.saturating_sub(now_ms) / 1_000;
                        bramble_api::duration::human(i64::try_from(left_s).unwrap_or(i64::MAX))
                    },
                );
                let used = format!("{}/{}", token.used, token.uses);
                writeln!(output, "{:<16} {left:<8} {used:<6} {}", token.id, token.description)?;
            }
        }
        TokenCommand::Delete { id } => {
            let path = format!("{TOKEN_PATH}/{id}");
            let answer = ask(&config, &identity, Method::DELETE, &path, Vec::new()).await?;
            let answer: Value = serde_json::from_slice(&answer)?;
            let told = answer.get("message").and_then(Value::as_str);
            writeln!(output, "{}", told.unwrap_or("token deleted"))?;
        }
    }
    Ok(())
}

async fn ask(
    config: &Config,
    identity: &Identity,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<Bytes, TokenCommandError> {
    let address = local(config.listen);
    let connect = |source| TokenCommandError::Connect { address, source };
    let stream = TcpStream::connect(address).await.map_err(connect)?;
    let connector = TlsConnector::from(Arc::new(client_config(identity)?));
    let name = ServerName::IpAddress(address.ip().into());
    let stream = connector.connect(name, stream).await.map_err(connect)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", address.to_string())
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let code = answer.status();
        let bytes = answer.into_body().collect().await?.to_bytes();
        Ok::<_, hyper::Error>((code, bytes))
    };
    let (code, bytes) = tokio::select! {
        answer = exchange => answer?,
        // Ends only when the connection breaks; the exchange reports that too, and is polled first.
        Err(error) = connection => return Err(error.into()),
    };
    if code.is_success() {
        return Ok(bytes);
    }
    Err(TokenCommandError::Refused { message: message(code, &bytes) })
}

fn client_config(identity: &Identity) -> Result<ClientConfig, TokenCommandError> {
    let (chain, key) = identity.admin_certificate()?;
    let mut roots = RootCertStore::empty();
    roots.add(identity.authority.ca_der().clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?)
}

/// Returns the address by which this machine reaches its own master.
fn local(listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listen.port())
    } else {
        listen
    }
}

fn message(code: StatusCode, body: &[u8]) -> String {
    let status: Option<Value> = serde_json::from_slice(body).ok();
    let text = status.as_ref().and_then(|status| status.get("message")).and_then(Value::as_str);
    text.map_or_else(|| format!("the master answered {code}"), str::to_owned)
}
