//! `scale`: how many pods there should be.

use serde_json::json;

use crate::client::{JSON, MERGE_PATCH};
use crate::command::ScaleArgs;
use crate::discovery::Resource;
use crate::error::CliError;
use crate::object::number;
use crate::selection;
use crate::session::Session;

/// Sets the replicas of everything that the arguments name.
pub(super) async fn run(args: &ScaleArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let discovery = session.discover().await?;
    for selection in selection::parse(&args.what)? {
        if selection.names.is_empty() {
            return Err(CliError::Usage(format!(
                "say which {0}, for example `{0}/web`",
                selection.resource
            )));
        }
        for resource in discovery.find(&selection.resource)? {
            for name in &selection.names {
                scale(args, resource, name, session).await?;
            }
        }
    }
    Ok(())
}

async fn scale(
    args: &ScaleArgs,
    resource: &Resource,
    name: &str,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    if !resource.subresources.iter().any(|subresource| subresource == "scale") {
        return Err(CliError::Usage(format!("{} cannot be scaled", resource.plural)));
    }
    let path = session.object_path(resource, name).join("scale");
    let mut patch = json!({"spec": {"replicas": args.replicas}});
    if let Some(wanted) = args.current_replicas {
        let scale = session.client.get(&path, JSON).await?;
        let current = number(&scale, "/spec/replicas");
        if current != i64::from(wanted) {
            return Err(CliError::Usage(format!(
                "{} has {current} replicas, not {wanted}; nothing was changed",
                resource.reference(name)
            )));
        }
        // Only if nobody scales it in between.
        if let (Some(revision), Some(fields)) =
            (scale.pointer("/metadata/resourceVersion"), patch.as_object_mut())
        {
            fields.insert("metadata".to_owned(), json!({"resourceVersion": revision}));
        }
    }
    session.client.patch(&path, MERGE_PATCH, &patch).await?;
    writeln!(session.out, "{} scaled", resource.reference(name))?;
    Ok(())
}
