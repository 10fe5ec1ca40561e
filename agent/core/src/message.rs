//! A container's last words as they become part of its status.

/// Longest message of one container, in bytes; the kubelet's bound.
const MESSAGE_LEN_MAX: usize = 4096;
/// Longest messages of all containers of a pod, in bytes; the kubelet's bound.
const MESSAGES_LEN_MAX: usize = 12 * 1024;

/// The text of what a container of a pod with so many containers has written.
#[must_use]
pub fn message_text(bytes: &[u8], containers: usize) -> String {
    let len_max = MESSAGE_LEN_MAX.min(MESSAGES_LEN_MAX / containers.max(1));
    let start = bytes.get(..len_max).unwrap_or(bytes);
    // What is not UTF-8 becomes up to three times as long.
    let mut text = String::from_utf8_lossy(start).into_owned();
    text.truncate(text.floor_char_boundary(len_max));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_share_the_room_of_their_pod() {
        let len = |bytes: &[u8], containers| message_text(bytes, containers).len();
        let long = vec![b'x'; 100_000];
        assert_eq!(len(&long, 1), 4096);
        assert_eq!(len(&long, 3), 4096);
        assert_eq!(len(&long, 6), 2048);
        assert_eq!(len(&long, 100), 122);
        assert_eq!(len(&long, 100_000), 0);
        assert_eq!(message_text(b"done", 1), "done");
    }

    #[test]
    fn what_is_no_text_is_not_longer_than_text() {
        let text = message_text(&[0xff; 10_000], 1);
        assert!(text.len() <= 4096 && text.len() > 4090, "{}", text.len());
        let text = message_text("\u{1f33f}".repeat(2000).as_bytes(), 5);
        assert!(text.len() <= 2457 && text.len() > 2450, "{}", text.len());
    }
}
