//! The connections of a thread, each found by a number that is not used again.

/// Which connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    index: u32,
    generation: u32,
}

/// A table whose places are used again, and whose tokens are not.
pub struct Connections<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl Token {
    /// As a number of 62 bits: 30 of the index, 32 of the generation.
    pub fn number(self) -> u64 {
        u64::from(self.generation) << 30 | u64::from(self.index)
    }

    pub fn from_number(number: u64) -> Self {
        Self {
            index: (number & ((1 << 30) - 1)) as u32,
            generation: (number >> 30) as u32,
        }
    }
}

impl<T> Connections<T> {
    pub fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    /// There are never so many that an index would have more than 30 bits: a descriptor has 31 and each has one or two of those.
    pub fn insert(&mut self, item: T) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            (self.places.len() - 1) as u32
        });
        let (generation, place) = &mut self.places[index as usize];
        *place = Some(item);
        Token {
            index,
            generation: *generation,
        }
    }

    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        match self.places.get_mut(token.index as usize) {
            Some((generation, place)) if *generation == token.generation => place.as_mut(),
            _ => None,
        }
    }

    pub fn remove(&mut self, token: Token) -> Option<T> {
        let (generation, place) = self.places.get_mut(token.index as usize)?;
        if *generation != token.generation {
            return None;
        }
        let item = place.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(token.index);
        Some(item)
    }

    /// The tokens of all for which this is so.
    pub fn tokens_of(&mut self, mut is_meant: impl FnMut(&mut T) -> bool) -> Vec<Token> {
        let places = self.places.iter_mut().enumerate();
        let token = |(index, (generation, place)): (usize, &mut (u32, Option<T>))| {
            let generation = *generation;
            let index = index as u32;
            place
                .as_mut()
                .is_some_and(&mut is_meant)
                .then_some(Token { index, generation })
        };
        places.filter_map(token).collect()
    }
}
