//! Writes what a [`Cursor`](super::Cursor) reads.

/// Bytes in the making.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// What has been written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// So far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// So many bytes of 0: what a reader passes over, and empty lists.
    pub fn zeros(&mut self, count: usize) {
        self.bytes.resize(self.bytes.len() + count, 0);
    }

    /// One byte.
    pub fn u8(&mut self, number: u8) {
        self.raw(&[number]);
    }

    /// 16 bits.
    pub fn u16(&mut self, number: u16) {
        self.raw(&number.to_le_bytes());
    }

    /// 32 bits.
    pub fn u32(&mut self, number: u32) {
        self.raw(&number.to_le_bytes());
    }

    /// 64 bits.
    pub fn u64(&mut self, number: u64) {
        self.raw(&number.to_le_bytes());
    }

    /// 32 bits with a sign.
    pub fn i32(&mut self, number: i32) {
        self.raw(&number.to_le_bytes());
    }

    /// 64 bits with a sign.
    pub fn i64(&mut self, number: i64) {
        self.raw(&number.to_le_bytes());
    }

    /// A decimal of 32 bits.
    pub fn f32(&mut self, number: f32) {
        self.raw(&number.to_le_bytes());
    }

    /// A decimal of 64 bits.
    pub fn f64(&mut self, number: f64) {
        self.raw(&number.to_le_bytes());
    }

    /// How many items follow, or bytes.
    pub fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        self.count(text.len());
        self.raw(text.as_bytes());
    }

    /// Items with their count before them.
    pub fn list<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        mut item: impl FnMut(&mut Self, T),
    ) {
        self.count(items.len());
        for each in items {
            item(self, each);
        }
    }

    /// Keys and values of text.
    pub fn texts<'a>(&mut self, texts: impl ExactSizeIterator<Item = (&'a String, &'a String)>) {
        self.list(texts, |writer, (key, value)| {
            writer.text(key);
            writer.text(value);
        });
    }

    /// A structure with its length before it.
    pub fn blob(&mut self, write: impl FnOnce(&mut Self)) {
        let place = self.bytes.len();
        self.u32(0);
        write(self);
        let length = self.bytes.len() - place - 4;
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(bytes) = self.bytes.get_mut(place..place + 4) {
            bytes.copy_from_slice(&length);
        }
    }

    /// A structure with its version, the oldest reader's, and its length.
    pub fn structure(&mut self, version: u8, compat: u8, write: impl FnOnce(&mut Self)) {
        self.u8(version);
        self.u8(compat);
        self.blob(write);
    }
}
