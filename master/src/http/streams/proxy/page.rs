//! Pages whose links are led through here, while they pass by.

use std::io::{self, Write as _};

use bytes::{Buf as _, Bytes};
use flate2::write::GzDecoder;
use futures_util::stream;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use super::html::Rewriter;
use super::links::Links;
use crate::http::response::Body;

/// Compressed bytes that are looked at together: they become a thousand times as many at most.
const COMPRESSED_LEN: usize = 512;
/// Other bytes that are looked at together.
const PLAIN_LEN: usize = 16 * 1024;

/// How a page is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Plain,
    Gzip,
}

impl Reading {
    /// How an answer is to be read, if it is a page that can be.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name).map(|value: &http::HeaderValue| value.to_str());
        let kind = text(CONTENT_TYPE)?.ok()?;
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("text/html") {
            return None;
        }
        match text(CONTENT_ENCODING) {
            None | Some(Ok("" | "identity")) => Some(Self::Plain),
            Some(Ok("gzip")) => Some(Self::Gzip),
            Some(_) => None,
        }
    }

    /// What the head says of the page as it is passed on.
    pub(super) fn change(self, headers: &mut HeaderMap) {
        headers.remove(CONTENT_LENGTH);
        headers.remove(CONTENT_ENCODING);
    }
}

struct Passing<L> {
    body: Body,
    /// What has arrived and was not looked at.
    piece: Bytes,
    gzip: Option<GzDecoder<Vec<u8>>>,
    rewriter: Rewriter<L>,
    ended: bool,
}

/// The page with its links led through here.
pub(super) fn rewritten(body: Body, reading: Reading, links: Links) -> Body {
    let passing = Passing {
        body,
        piece: Bytes::new(),
        gzip: (reading == Reading::Gzip).then(|| GzDecoder::new(Vec::new())),
        rewriter: Rewriter::new(move |link: &str| links.through(link)),
        ended: false,
    };
    let frames = stream::unfold(passing, |mut passing| async move {
        let piece = passing.next().await.transpose()?;
        passing.ended |= piece.is_err();
        Some((piece.map(Frame::data), passing))
    });
    StreamBody::new(frames).boxed_unsync()
}

impl<L: Fn(&str) -> Option<String>> Passing<L> {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.ended {
            if self.piece.is_empty() {
                match self.body.frame().await.transpose()? {
                    Some(frame) => self.piece = frame.into_data().unwrap_or_default(),
                    None => {
                        self.ended = true;
                        let mut last = match &mut self.gzip {
                            Some(gzip) => {
                                gzip.try_finish()?;
                                self.rewriter.pass(&std::mem::take(gzip.get_mut()))
                            }
                            None => Vec::new(),
                        };
                        last.extend(self.rewriter.end());
                        return Ok((!last.is_empty()).then(|| Bytes::from(last)));
                    }
                }
                continue;
            }
            let out = match &mut self.gzip {
                Some(gzip) => {
                    let len = self.piece.len().min(COMPRESSED_LEN);
                    gzip.write_all(self.piece.get(..len).unwrap_or_default())?;
                    self.piece.advance(len);
                    self.rewriter.pass(&std::mem::take(gzip.get_mut()))
                }
                None => {
                    let len = self.piece.len().min(PLAIN_LEN);
                    self.rewriter.pass(&self.piece.split_to(len))
                }
            };
            if !out.is_empty() {
                return Ok(Some(Bytes::from(out)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http::HeaderValue;
    use http_body_util::Full;

    use super::*;

    async fn check(body: Vec<u8>, reading: Reading) {
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
        let links = Links::new("/p", "10.0.0.2:80", "m1");
        let page = rewritten(body, reading, links).collect().await.unwrap().to_bytes();
        let text = "hello <a href=\"/p/x\">".repeat(5_000);
        assert!(page == text, "{} bytes, not {}", page.len(), text.len());
    }

    #[tokio::test]
    async fn pages_are_rewritten_compressed_or_not() {
        let page = "hello <a href=\"/x\">".repeat(5_000).into_bytes();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&page).unwrap();
        check(gzip.finish().unwrap(), Reading::Gzip).await;
        check(page, Reading::Plain).await;
    }

    #[test]
    fn only_pages_that_can_be_read_are_pages() {
        let check = |kind: &'static str, encoding: Option<&'static str>, expected| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            if let Some(encoding) = encoding {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
            }
            assert_eq!(Reading::of(&headers), expected, "{kind} {encoding:?}");
        };
        check("text/html; charset=utf-8", None, Some(Reading::Plain));
        check("text/html", Some("gzip"), Some(Reading::Gzip));
        check("text/html", Some("br"), None);
        check("application/json", None, None);
        assert_eq!(Reading::of(&HeaderMap::new()), None);
    }
}
