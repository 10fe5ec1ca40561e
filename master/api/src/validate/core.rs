//! Rules for kinds of `v1` that have no module of their own.

use std::net::IpAddr;

use serde_json::Value;

use super::errors::Errors;
use super::{names, one_of, unchanged, workload};
use crate::object;
use crate::quantity::Quantity;
use crate::status::FieldError;

const ACCESS_MODES: [&str; 4] =
    ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

fn access_modes(object: &Value) -> Vec<FieldError> {
    let modes = object::items(object, "/spec/accessModes");
    if modes.is_empty() {
        return vec![FieldError::required(
            "spec.accessModes",
            "at least 1 access mode is required",
        )];
    }
    let modes = modes.iter().filter_map(Value::as_str).filter(|mode| !ACCESS_MODES.contains(mode));
    modes.map(|mode| FieldError::unsupported("spec.accessModes", mode, &ACCESS_MODES)).collect()
}

/// An amount of storage, which has to be more than nothing.
fn storage(object: &Value, field: &str) -> Option<FieldError> {
    let pointer = format!("/{}/storage", field.replace('.', "/"));
    let Some(amount) = object.pointer(&pointer).and_then(Value::as_str) else {
        return Some(FieldError::required(format!("{field}[storage]"), ""));
    };
    let positive =
        amount.parse::<Quantity>().is_ok_and(|amount| !amount.is_zero() && !amount.is_negative());
    (!positive).then(|| {
        let detail = "must be greater than zero";
        FieldError::invalid(format!("{field}[storage]"), amount, detail)
    })
}

pub(crate) fn persistent_volume(object: &Value) -> Vec<FieldError> {
    let mut errors = access_modes(object);
    if object.pointer("/spec/capacity").is_none() {
        errors.push(FieldError::required("spec.capacity", ""));
    } else {
        errors.extend(storage(object, "spec.capacity"));
    }
    let policy = object::text(object, "/spec/persistentVolumeReclaimPolicy");
    errors.extend(one_of(
        "spec.persistentVolumeReclaimPolicy".to_owned(),
        policy,
        &["Delete", "Recycle", "Retain"],
    ));
    let mode = object::text(object, "/spec/volumeMode");
    errors.extend(one_of("spec.volumeMode".to_owned(), mode, &["Block", "Filesystem"]));
    match sources(object).as_slice() {
        [] => errors.push(FieldError::required("spec", "must specify a volume type")),
        [_] => {}
        [_, more @ ..] => {
            let detail = "may not specify more than 1 volume type";
            errors.extend(
                more.iter().map(|name| FieldError::forbidden(format!("spec.{name}"), detail)),
            );
        }
    }
    if object.pointer("/spec/local").is_some() && object.pointer("/spec/nodeAffinity").is_none() {
        let detail = "Local volume requires node affinity";
        errors.push(FieldError::required("spec.nodeAffinity", detail));
    }
    errors
}

/// Fields of a volume's spec that say where its content is.
fn sources(volume: &Value) -> Vec<String> {
    const OTHERS: [&str; 9] = [
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    ];
    let fields = volume.get("spec").and_then(Value::as_object).into_iter().flatten();
    fields.map(|(name, _)| name.clone()).filter(|name| !OTHERS.contains(&name.as_str())).collect()
}

/// Where the content of a volume is does not change.
pub(crate) fn persistent_volume_update(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> = unchanged(old, new, "spec.volumeMode").into_iter().collect();
    let source = |volume: &Value| -> Vec<Value> {
        let names = sources(volume);
        names.iter().filter_map(|name| volume.get("spec")?.get(name)).cloned().collect()
    };
    if source(old) != source(new) {
        let detail = "spec.persistentvolumesource is immutable after creation";
        errors.push(FieldError::forbidden("spec.persistentvolumesource", detail));
    }
    errors
}

pub(crate) fn persistent_volume_claim(object: &Value) -> Vec<FieldError> {
    let mut errors = access_modes(object);
    errors.extend(storage(object, "spec.resources.requests"));
    let mode = object::text(object, "/spec/volumeMode");
    errors.extend(one_of("spec.volumeMode".to_owned(), mode, &["Block", "Filesystem"]));
    let class = object.pointer("/spec/storageClassName").and_then(Value::as_str);
    let class = class.filter(|class| !class.is_empty()).unwrap_or("a");
    errors.extend(
        names::dns_subdomain(class)
            .iter()
            .map(|why| FieldError::invalid("spec.storageClassName", class, why)),
    );
    errors
}

/// A claim may grow, and be bound once.
pub(crate) fn persistent_volume_claim_update(old: &Value, new: &Value) -> Vec<FieldError> {
    let fixed = |claim: &Value| {
        let mut spec = claim.get("spec").cloned().unwrap_or_default();
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("resources");
            spec.remove("volumeAttributesClassName");
            let unbound = object::text(old, "/spec/volumeName").is_empty();
            if unbound {
                spec.remove("volumeName");
            }
            // A class may be set later by who knows the default.
            if old.pointer("/spec/storageClassName").is_none() {
                spec.remove("storageClassName");
            }
        }
        spec
    };
    let mut errors = Errors::default();
    if fixed(old) != fixed(new) {
        let detail = "spec is immutable after creation except resources.requests and \
                      volumeAttributesClassName for bound claims";
        errors.push(FieldError::forbidden("spec", detail));
    }
    let size = |claim: &Value| {
        object::text(claim, "/spec/resources/requests/storage").parse::<Quantity>().ok()
    };
    if let (Some(before), Some(after)) = (size(old), size(new))
        && after.checked_sub(before).is_some_and(|difference| difference.is_negative())
    {
        let detail = "field can not be less than status.capacity";
        errors.push(FieldError::forbidden("spec.resources.requests.storage", detail));
    }
    errors.list()
}

pub(crate) fn resource_quota(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    for (name, amount) in
        object.pointer("/spec/hard").and_then(Value::as_object).into_iter().flatten()
    {
        let field = format!("spec.hard[{name}]");
        errors.extend(
            names::qualified_name(name)
                .iter()
                .map(|why| FieldError::invalid(field.as_str(), name.as_str(), why)),
        );
        let amount = amount.as_str().unwrap_or_default();
        if amount.parse::<Quantity>().is_ok_and(|amount| amount.is_negative()) {
            let detail = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(field, amount, detail));
        }
    }
    errors.list()
}

/// What a quota is about does not change.
pub(crate) fn resource_quota_update(old: &Value, new: &Value) -> Vec<FieldError> {
    unchanged(old, new, "spec.scopes").into_iter().collect()
}

pub(crate) fn limit_range(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    for (index, limit) in object::items(object, "/spec/limits").iter().enumerate() {
        let field = format!("spec.limits[{index}]");
        let kind = object::text(limit, "/type");
        if kind.is_empty() {
            errors.push(FieldError::required(format!("{field}.type"), ""));
        }
        if kind == "Pod" {
            for name in ["default", "defaultRequest"] {
                if limit.get(name).is_some() {
                    let detail = "may not be specified when `type` is 'Pod'";
                    errors.push(FieldError::forbidden(format!("{field}.{name}"), detail));
                }
            }
        }
        for (less, more) in [
            ("min", "max"),
            ("min", "defaultRequest"),
            ("min", "default"),
            ("defaultRequest", "default"),
            ("defaultRequest", "max"),
            ("default", "max"),
        ] {
            errors.extend(in_order(limit, &field, less, more));
        }
    }
    errors.list()
}

/// Amounts of one kind must not be above those of another.
fn in_order(limit: &Value, field: &str, less: &str, more: &str) -> Vec<FieldError> {
    let amounts = |name: &str| limit.get(name).and_then(Value::as_object);
    let (Some(least), Some(most)) = (amounts(less), amounts(more)) else { return Vec::new() };
    let above = least.iter().filter_map(|(name, low)| {
        let (low, high) = (low.as_str()?, most.get(name)?.as_str()?);
        let difference = high.parse::<Quantity>().ok()?.checked_sub(low.parse().ok()?)?;
        difference.is_negative().then(|| {
            let detail = format!("{less} value {low} is greater than {more} value {high}");
            FieldError::invalid(format!("{field}.{less}[{name}]"), low, &detail)
        })
    });
    above.collect()
}

pub(crate) fn pod_template(object: &Value) -> Vec<FieldError> {
    let Some(template) = object.get("template") else {
        return vec![FieldError::required("template", "")];
    };
    let mut errors = Errors::default();
    workload::pod_template(template, "template", &mut errors);
    errors.list()
}

pub(crate) fn endpoints(object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    for (index, subset) in object::items(object, "/subsets").iter().enumerate() {
        let field = format!("subsets[{index}]");
        let lists = ["addresses", "notReadyAddresses"];
        if lists.iter().all(|list| object::items(subset, &format!("/{list}")).is_empty()) {
            let detail = "must specify `addresses` or `notReadyAddresses`";
            errors.push(FieldError::required(field.as_str(), detail));
        }
        for list in lists {
            for (place, address) in object::items(subset, &format!("/{list}")).iter().enumerate() {
                errors.extend(address_error(address, &format!("{field}.{list}[{place}].ip")));
            }
        }
        for (place, port) in object::items(subset, "/ports").iter().enumerate() {
            let number = object::integer(port, "/port");
            if !(1..=65_535).contains(&number) {
                let detail = "must be between 1 and 65535, inclusive";
                let field = format!("{field}.ports[{place}].port");
                errors.push(FieldError::invalid(field, number, detail));
            }
        }
    }
    errors.list()
}

/// Addresses that lead nowhere else must not be handed out.
fn address_error(address: &Value, field: &str) -> Option<FieldError> {
    let text = object::text(address, "/ip");
    let Ok(ip) = text.parse::<IpAddr>() else {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        return Some(FieldError::invalid(field, text, detail));
    };
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let detail = if ip.is_unspecified() {
        "may not be unspecified (0.0.0.0 or ::)"
    } else if ip.is_loopback() {
        "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    } else if link_local {
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    } else if ip.is_multicast() {
        "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
    } else {
        return None;
    };
    Some(FieldError::invalid(field, text, detail))
}
