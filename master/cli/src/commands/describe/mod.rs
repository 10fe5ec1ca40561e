//! `describe`: all about an object, for people, with its events.

mod conditions;
mod events;
mod generic;
mod node;
mod pod;
mod service;
mod text;
mod workload;

use serde_json::Value;

use crate::client::JSON;
use crate::clock;
use crate::command::DescribeArgs;
use crate::discovery::Resource;
use crate::error::CliError;
use crate::object::items;
use crate::selection;
use crate::session::Session;
use text::Text;

/// Describes what the arguments select.
pub(super) async fn run(args: &DescribeArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let discovery = session.discover().await?;
    let mut first = true;
    for selection in selection::parse(&args.what)? {
        for resource in discovery.find(&selection.resource)? {
            for object in fetch(args, resource, &selection.names, session).await? {
                if !first {
                    write!(session.out, "\n\n")?;
                }
                first = false;
                let description = describe(args, resource, &object, session).await?;
                session.out.write_all(description.render().as_bytes())?;
            }
        }
    }
    if first {
        writeln!(session.err, "No resources found")?;
    }
    Ok(())
}

async fn fetch(
    args: &DescribeArgs,
    resource: &Resource,
    names: &[String],
    session: &Session<'_>,
) -> Result<Vec<Value>, CliError> {
    if names.is_empty() {
        let path = resource
            .collection(&session.scope(args.all_namespaces))
            .with_some("labelSelector", args.selectors.selector.as_deref())
            .with_some("fieldSelector", args.selectors.field_selector.as_deref());
        let list = session.client.get(&path, JSON).await?;
        return Ok(items(&list, "/items").to_vec());
    }
    let mut objects = Vec::new();
    for name in names {
        objects.push(session.client.get(&session.object_path(resource, name), JSON).await?);
    }
    Ok(objects)
}

async fn describe(
    args: &DescribeArgs,
    resource: &Resource,
    object: &Value,
    session: &Session<'_>,
) -> Result<Text, CliError> {
    let now = clock::unix_seconds();
    let mut text = Text::default();
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => pod::describe(object, &mut text),
        ("", "nodes") => {
            let pods = node::pods(object, &session.client).await?;
            node::describe(object, &pods, now, &mut text);
        }
        ("", "services") => {
            let slices = service::endpoint_slices(object, &session.client).await?;
            service::describe(object, &slices, &mut text);
        }
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets") => {
            workload::describe(resource, object, &mut text);
        }
        _ => generic::describe(resource, object, &mut text),
    }
    if args.show_events {
        let events = events::of(resource, object, &session.client).await?;
        events::describe(&events, now, &mut text);
    }
    Ok(text)
}
