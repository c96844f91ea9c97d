//! Integers of a file in the file's byte order.

/// The byte order of a file's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl ByteOrder {
    /// That of this machine.
    pub(super) const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };

    /// The two bytes at `offset`. The caller has seen that they are there.
    #[inline]
    pub(super) fn u16(self, bytes: &[u8], offset: usize) -> u16 {
        let mut raw = [0; 2];
        raw.copy_from_slice(&bytes[offset..offset + 2]);
        match self {
            Self::Little => u16::from_le_bytes(raw),
            Self::Big => u16::from_be_bytes(raw),
        }
    }

    /// The four bytes at `offset`. The caller has seen that they are there.
    #[inline]
    pub(super) fn u32(self, bytes: &[u8], offset: usize) -> u32 {
        let mut raw = [0; 4];
        raw.copy_from_slice(&bytes[offset..offset + 4]);
        match self {
            Self::Little => u32::from_le_bytes(raw),
            Self::Big => u32::from_be_bytes(raw),
        }
    }

    /// The four numbers of four bytes each.
    #[inline]
    pub(super) fn words(self, bytes: &[u8; 16]) -> [u32; 4] {
        let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3] = *bytes;
        let words = [[a0, a1, a2, a3], [b0, b1, b2, b3], [c0, c1, c2, c3], [d0, d1, d2, d3]];
        match self {
            Self::Little => words.map(u32::from_le_bytes),
            Self::Big => words.map(u32::from_be_bytes),
        }
    }

    /// The eight bytes at `offset`. The caller has seen that they are there.
    #[inline]
    pub(super) fn u64(self, bytes: &[u8], offset: usize) -> u64 {
        let mut raw = [0; 8];
        raw.copy_from_slice(&bytes[offset..offset + 8]);
        match self {
            Self::Little => u64::from_le_bytes(raw),
            Self::Big => u64::from_be_bytes(raw),
        }
    }
}
