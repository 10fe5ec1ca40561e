//! Generates the schemas of all built-in kinds from the sources of two published crates:
//! `k8s-openapi` (names, types, descriptions) and `k8s-pb` (protobuf numbers, merge rules).
//!
//! Their text is read and they are never compiled: that would take longer than all of this
//! workspace. They are dependencies on a platform that does not exist, so that the lock file pins
//! them and `cargo fetch` brings them; where they are is asked of cargo.

#[path = "build/arena.rs"]
mod arena;
#[path = "build/locate.rs"]
mod locate;
#[path = "build/openapi.rs"]
mod openapi;
#[path = "build/protobuf.rs"]
mod protobuf;
#[path = "build/write.rs"]
mod write;

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    // The versions of the two crates stand there.
    println!("cargo::rerun-if-changed=Cargo.toml");
    let sources = locate::sources()?;
    let definitions = openapi::read(&sources.openapi)?;
    let messages = protobuf::read(&sources.protobuf)?;
    let pointers = protobuf::pointers(include_str!("build/pointers.txt"));
    let arena = arena::build(&definitions, &messages, &pointers)?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo gave no OUT_DIR")?);
    write::write(&arena, &out)?;
    Ok(())
}
