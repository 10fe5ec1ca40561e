//! What Kubernetes objects are: kinds, decoding, defaulting, validation, patches, selectors,
//! printing and discovery.
//!
//! Pure: no input or output, no clock (time is an argument), no store and no HTTP. Objects are
//! [`serde_json::Value`]; what the fields of a kind are is told by one arena, [`schema`], generated
//! by `build.rs`, that decoding, pruning, protobuf, strategic merge, server-side apply and OpenAPI
//! all read.
#![forbid(unsafe_code)]

mod cel;
mod convert;
pub mod cron;
pub mod custom;
pub mod decode;
pub mod defaults;
pub mod discovery;
pub mod duration;
mod object;
pub mod openapi;
pub mod patch;
pub mod pod_security;
pub mod protobuf;
pub mod quantity;
pub mod registry;
pub mod resource;
pub mod schema;
pub mod selector;
pub mod status;
pub mod strategy;
pub mod table;
pub mod timestamp;
pub mod validate;

pub use registry::Registry;
pub use resource::{Class, Handler, Holds, Question, Resource, Strategy, Subresource};
pub use status::{FieldError, Status};
