//! Reads bytes of which every meaning has one spelling.

/// What is left to read.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Seven bits a byte, the lowest first; the last byte is not zero, unless it is the only one.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
            if byte & 0x80 == 0 {
                return (shift == 0 || bits > 0).then_some(number);
            }
        }
        None
    }

    pub(crate) fn count(&mut self) -> Option<usize> {
        self.small()
    }

    pub(crate) fn small<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.number()?).ok()
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    /// A list of anything.
    pub(crate) fn list<T>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = usize::try_from(self.number()?).ok()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(one(self)?);
        }
        Some(items)
    }

    /// Something, or nothing.
    pub(crate) fn optional<T>(
        &mut self,
        one: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.number()? {
            0 => Some(None),
            1 => one(self).map(Some),
            _ => None,
        }
    }

    /// Rising numbers, each as what it is more than the one before.
    pub(crate) fn rising(&mut self) -> Option<Vec<u32>> {
        let mut last: Option<u32> = None;
        self.list(|reader| {
            let step: u32 = reader.small()?;
            let number = last.map_or(Some(step), |last| last.checked_add(step));
            let rises = last.is_none() || step > 0;
            last = number;
            number.filter(|_| rises)
        })
    }
}
