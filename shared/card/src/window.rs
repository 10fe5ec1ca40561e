//! One partition as a file of its own.

use std::io::{self, Read, Seek, SeekFrom, Write};

/// A part of something that can be sought. Reads and writes end at its end.
#[derive(Debug)]
pub struct Window<T> {
    inner: T,
    start: u64,
    len: u64,
    at: u64,
}

impl<T> Window<T> {
    /// Bytes `start` to `start + len` of `inner`.
    pub fn new(inner: T, start: u64, len: u64) -> Self {
        Self { inner, start, len, at: 0 }
    }

    fn room(&self, wanted: usize) -> usize {
        usize::try_from(self.len.saturating_sub(self.at)).map_or(wanted, |room| room.min(wanted))
    }
}

impl<T: Read + Seek> Read for Window<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = self.room(buffer.len());
        self.inner.seek(SeekFrom::Start(self.start + self.at))?;
        let len = self.inner.read(buffer.get_mut(..room).unwrap_or_default())?;
        self.at += len as u64;
        Ok(len)
    }
}

impl<T: Write + Seek> Write for Window<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let room = self.room(buffer.len());
        self.inner.seek(SeekFrom::Start(self.start + self.at))?;
        let len = self.inner.write(buffer.get(..room).unwrap_or_default())?;
        self.at += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T> Seek for Window<T> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn nothing_outside_is_read_or_written() {
        let mut bytes = *b"0123456789";
        let mut window = Window::new(Cursor::new(&mut bytes[..]), 3, 4);
        let mut text = String::new();
        window.read_to_string(&mut text).unwrap();
        assert_eq!(text, "3456");
        window.seek(SeekFrom::End(-2)).unwrap();
        assert_eq!(window.write(b"abcdef").unwrap(), 2);
        assert_eq!(window.write(b"x").unwrap(), 0);
        assert!(window.seek(SeekFrom::Current(-5)).is_err());
        assert_eq!(&bytes, b"01234ab789");
    }
}
