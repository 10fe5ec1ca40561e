//! Sets of completion indexes, as the API writes them: `0,2-4`.

use std::collections::BTreeSet;

/// Most indexes that are taken in: those of the largest Indexed job that upstream allows with
/// failures counted per index.
const INDEXES_MAX: usize = 100_000;

/// Reads a set; what makes no sense, or lies beyond `below`, is left out.
pub(super) fn parse(text: &str, below: i32) -> BTreeSet<i32> {
    let mut indexes = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) else { continue };
        let room = INDEXES_MAX.saturating_sub(indexes.len());
        indexes.extend((first.max(0)..=last.min(below.saturating_sub(1))).take(room));
    }
    indexes
}

/// Writes a set; two in a row are written one by one, as upstream.
pub(super) fn write(indexes: &BTreeSet<i32>) -> String {
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for index in indexes {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => ranges.push((*index, *index)),
        }
    }
    let text = |(first, last): (i32, i32)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    ranges.into_iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_survive_a_round_trip_and_nonsense_is_left_out() {
        for text in ["", "0", "0,1", "0-2", "1,3-5,7"] {
            assert_eq!(write(&parse(text, 10)), text);
        }
        assert_eq!(write(&parse("x,-1,3-1,8-20", 10)), "8,9");
        assert_eq!(parse("0-2147483647", i32::MAX).len(), INDEXES_MAX);
    }
}
