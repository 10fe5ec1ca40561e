//! What messages and fields are for, in upstream's words: kept compressed, and uncompressed for a
//! package at a time by who shows them.

use std::io::Read as _;

use flate2::read::DeflateDecoder;

use super::rows::BlockRow;
use super::{Message, Schemas};

/// Descriptions of one package's messages and of their fields.
#[derive(Debug, Default)]
pub struct Descriptions {
    text: String,
    /// Where each description begins: of each message, followed by its fields.
    starts: Vec<u32>,
    /// Number of the first message, and for each message the place of its description.
    first: usize,
    places: Vec<u32>,
}

impl Descriptions {
    pub(super) fn read(schemas: &Schemas, block: &BlockRow) -> Self {
        let (start, len) = block.bytes;
        let bytes = start as usize..start as usize + len as usize;
        let bytes = schemas.descriptions.get(bytes).unwrap_or_default();
        let mut text = String::with_capacity(block.len as usize);
        // The bytes are our own, made by the build; without them there are no descriptions.
        if DeflateDecoder::new(bytes).read_to_string(&mut text).is_err() {
            return Self::default();
        }
        let mut starts = vec![0];
        starts
            .extend(text.bytes().zip(1_u32..).filter(|(byte, _)| *byte == 0).map(|(_, next)| next));
        let mut place = 0;
        let places = super::range(&schemas.messages, block.messages)
            .iter()
            .map(|message| {
                let own = place;
                place += u32::from(message.fields.1) + 1;
                own
            })
            .collect();
        Self { text, starts, first: usize::from(block.messages.0), places }
    }

    /// Description of a message of the package; empty if there is none.
    #[must_use]
    pub fn message(&self, message: Message<'_>) -> &str {
        self.place(message).map_or("", |place| self.at(place))
    }

    /// Description of a field, by its place among the fields of one of the package's messages;
    /// empty if there is none.
    #[must_use]
    pub fn field(&self, message: Message<'_>, place: usize) -> &str {
        self.place(message).map_or("", |first| self.at(first + 1 + place))
    }

    fn place(&self, message: Message<'_>) -> Option<usize> {
        let among = usize::from(message.place()?.number).checked_sub(self.first)?;
        self.places.get(among).map(|place| *place as usize)
    }

    fn at(&self, place: usize) -> &str {
        match (self.starts.get(place), self.starts.get(place + 1)) {
            // The byte between two descriptions belongs to neither.
            (Some(start), Some(end)) => self
                .text
                .get(*start as usize..(*end as usize).saturating_sub(1))
                .unwrap_or_default(),
            _ => "",
        }
    }
}
