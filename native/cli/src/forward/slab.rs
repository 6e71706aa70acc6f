//! A table of connections with keys that are never reused, so that a late event can't reach another connection.

/// The key of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    index: u32,
    generation: u32,
}

/// A table that reuses its slots. A slot's generation makes each token unique.
pub struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl Token {
    /// Encodes the token in 62 bits: 30 bits of index, 32 bits of generation.
    pub fn number(self) -> u64 {
        u64::from(self.generation) << 30 | u64::from(self.index)
    }

    /// Decodes [`Token::number`].
    pub fn from_number(number: u64) -> Self {
        Self {
            index: (number & ((1 << 30) - 1)) as u32,
            generation: (number >> 30) as u32,
        }
    }
}

impl<T> Slab<T> {
    /// Makes an empty table.
    pub fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Returns whether the table has no entry.
    pub fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// Adds an entry. The index fits into 30 bits, because each connection has at least two descriptors of 31 bits.
    pub fn insert(&mut self, item: T) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            (self.slots.len() - 1) as u32
        });
        let (generation, slot) = &mut self.slots[index as usize];
        *slot = Some(item);
        Token {
            index,
            generation: *generation,
        }
    }

    /// Returns an entry, unless it was removed.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        match self.slots.get_mut(token.index as usize) {
            Some((generation, slot)) if *generation == token.generation => slot.as_mut(),
            _ => None,
        }
    }

    /// Removes an entry.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        let (generation, slot) = self.slots.get_mut(token.index as usize)?;
        if *generation != token.generation {
            return None;
        }
        let item = slot.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(token.index);
        Some(item)
    }

    /// Returns the tokens of the entries that match.
    pub fn tokens_of(&mut self, mut matches: impl FnMut(&mut T) -> bool) -> Vec<Token> {
        let slots = self.slots.iter_mut().enumerate();
        let token = |(index, (generation, slot)): (usize, &mut (u32, Option<T>))| {
            let generation = *generation;
            let index = index as u32;
            slot.as_mut()
                .is_some_and(&mut matches)
                .then_some(Token { index, generation })
        };
        slots.filter_map(token).collect()
    }
}
