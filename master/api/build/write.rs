//! Writes the arena as Rust constants, and the descriptions compressed, a block for each package.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::arena::{Arena, List, Node, Wire};

/// Each text once; its number is its place.
#[derive(Default)]
struct Texts {
    all: Vec<String>,
}

impl Texts {
    fn number(&mut self, text: &str) -> usize {
        match self.all.iter().position(|known| known == text) {
            Some(place) => place,
            None => {
                self.all.push(text.to_owned());
                self.all.len() - 1
            }
        }
    }
}

/// Writes `schemas.rs` and `descriptions.bin`.
pub(crate) fn write(arena: &Arena, folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut texts = Texts::default();
    // Number 0 is the empty text: no merge key.
    texts.number("");
    let mut rust = String::new();
    messages(arena, &mut texts, &mut rust)?;
    fields(arena, &mut texts, &mut rust)?;
    types(arena, &mut texts, &mut rust)?;
    kinds(arena, &mut texts, &mut rust)?;
    descriptions(arena, &mut texts, &mut rust, folder)?;
    let mut end = 0;
    writeln!(rust, "static TEXT: &str = {:?};", texts.all.concat())?;
    writeln!(rust, "static TEXT_ENDS: [u32; {}] = [", texts.all.len())?;
    for text in &texts.all {
        end += text.len();
        write!(rust, "{end},")?;
    }
    writeln!(rust, "];")?;
    fs::write(folder.join("schemas.rs"), rust)?;
    Ok(())
}

fn messages(arena: &Arena, texts: &mut Texts, rust: &mut String) -> Result<(), Box<dyn Error>> {
    writeln!(rust, "static MESSAGES: [MessageRow; {}] = [", arena.messages.len())?;
    for message in &arena.messages {
        writeln!(
            rust,
            "MessageRow {{ name: {}, package: {}, fields: ({}, {}), wires: ({}, {}), atomic: {}, typed: {} \
             }},",
            texts.number(&message.name),
            texts.number(&message.package),
            message.fields.0,
            message.fields.1,
            message.wires.0,
            message.wires.1,
            message.atomic,
            message.typed,
        )?;
    }
    writeln!(rust, "];")?;
    Ok(())
}

fn fields(arena: &Arena, texts: &mut Texts, rust: &mut String) -> Result<(), Box<dyn Error>> {
    writeln!(rust, "static FIELDS: [FieldRow; {}] = [", arena.fields.len())?;
    for field in &arena.fields {
        writeln!(
            rust,
            "FieldRow {{ name: {}, kind: {}, required: {}, keeps_zero: {}, merges: {}, \
             merge_key: {}, retains_keys: {} }},",
            texts.number(&field.name),
            field.kind,
            field.required,
            field.keeps_zero,
            field.merges,
            texts.number(&field.merge_key),
            field.retains_keys,
        )?;
    }
    writeln!(rust, "];\nstatic WIRES: [WireRow; {}] = [", arena.wires.len())?;
    for wire in &arena.wires {
        match wire {
            Wire::Field(number, field) => {
                writeln!(rust, "WireRow {{ number: {number}, target: Target::Field({field}) }},")?;
            }
            Wire::Embedded(number, (start, count)) => writeln!(
                rust,
                "WireRow {{ number: {number}, target: Target::Embedded({start}, {count}) }},"
            )?,
        }
    }
    writeln!(rust, "];")?;
    Ok(())
}

fn types(arena: &Arena, texts: &mut Texts, rust: &mut String) -> Result<(), Box<dyn Error>> {
    let mut keys = Vec::new();
    writeln!(rust, "static TYPES: [TypeRow; {}] = [", arena.types.len())?;
    for node in &arena.types {
        match node {
            Node::Scalar(name) => writeln!(rust, "TypeRow::{name},")?,
            Node::Message(message) => writeln!(rust, "TypeRow::Message({message}),")?,
            Node::Union(message) => writeln!(rust, "TypeRow::Union({message}),")?,
            Node::Map(value) => writeln!(rust, "TypeRow::Map({value}),")?,
            Node::AtomicMap(value) => writeln!(rust, "TypeRow::AtomicMap({value}),")?,
            Node::List(item, List::Atomic) => {
                writeln!(rust, "TypeRow::List({item}, ListRow::Atomic),")?
            }
            Node::List(item, List::Set) => writeln!(rust, "TypeRow::List({item}, ListRow::Set),")?,
            Node::List(item, List::Map(names)) => {
                let (start, count) = (keys.len(), names.len());
                keys.extend(names.iter().map(|name| texts.number(name)));
                writeln!(rust, "TypeRow::List({item}, ListRow::Map({start}, {count})),")?;
            }
        }
    }
    writeln!(rust, "];\nstatic KEYS: [u16; {}] = {keys:?};", keys.len())?;
    Ok(())
}

fn kinds(arena: &Arena, texts: &mut Texts, rust: &mut String) -> Result<(), Box<dyn Error>> {
    writeln!(rust, "static KINDS: [KindRow; {}] = [", arena.kinds.len())?;
    for (group, version, kind, message) in &arena.kinds {
        writeln!(
            rust,
            "KindRow {{ group: {}, version: {}, kind: {}, message: {message} }},",
            texts.number(group),
            texts.number(version),
            texts.number(kind),
        )?;
    }
    writeln!(rust, "];")?;
    Ok(())
}

/// For each package its messages' descriptions, each followed by those of its fields, with zero
/// bytes between.
fn descriptions(
    arena: &Arena,
    texts: &mut Texts,
    rust: &mut String,
    folder: &Path,
) -> Result<(), Box<dyn Error>> {
    let mut bytes = Vec::new();
    let mut rows = String::new();
    let mut count = 0;
    let mut first = 0;
    for messages in arena.messages.chunk_by(|a, b| a.package == b.package) {
        let mut text = String::new();
        for message in messages {
            let fields = arena.fields.iter().skip(message.fields.0).take(message.fields.1);
            let all =
                std::iter::once(&message.description).chain(fields.map(|field| &field.description));
            for description in all {
                text.push_str(description);
                text.push('\0');
            }
        }
        let start = bytes.len();
        let mut encoder = DeflateEncoder::new(&mut bytes, Compression::best());
        encoder.write_all(text.as_bytes())?;
        encoder.finish()?;
        let package = messages.first().map_or("", |message| &message.package);
        writeln!(
            rows,
            "BlockRow {{ package: {}, messages: ({first}, {}), bytes: ({start}, {}), len: {} }},",
            texts.number(package),
            messages.len(),
            bytes.len() - start,
            text.len(),
        )?;
        first += messages.len();
        count += 1;
    }
    writeln!(rust, "static BLOCKS: [BlockRow; {count}] = [\n{rows}];")?;
    fs::write(folder.join("descriptions.bin"), bytes)?;
    Ok(())
}
