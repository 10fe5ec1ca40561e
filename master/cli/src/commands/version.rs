//! `version`: of this program and of the API server.

use std::io::Write;

use serde_json::{Value, json};

use crate::client::{JSON, Path};
use crate::command::VersionArgs;
use crate::error::CliError;
use crate::object::text;
use crate::output;
use crate::session::Session;

/// Shows the versions. A server that cannot be reached is an error, after ours was shown.
pub(super) async fn run(
    args: &VersionArgs,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), CliError> {
    let client = env!("CARGO_PKG_VERSION");
    let server = if args.client { Ok(None) } else { ask(args, out, err).await.map(Some) };
    let known = server.as_ref().ok().and_then(Option::as_ref);
    match args.output.as_deref() {
        Some(format) => {
            let mut versions = json!({"clientVersion": {"gitVersion": format!("v{client}")}});
            if let (Some(server), Some(fields)) = (known, versions.as_object_mut()) {
                fields.insert("serverVersion".to_owned(), server.clone());
            }
            if format == "json" {
                output::json(&versions, out)?;
            } else {
                output::yaml(&versions, out)?;
            }
        }
        None => {
            writeln!(out, "bramble: v{client}")?;
            if let Some(server) = known {
                writeln!(out, "Server Version: {}", text(server, "/gitVersion"))?;
            }
        }
    }
    server.map(|_| ())
}

async fn ask(
    args: &VersionArgs,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<Value, CliError> {
    let session = Session::new(&args.connection, out, err)?;
    session.client.get(&Path::new("/version"), JSON).await
}
