//! Choices that all come up before one of them comes up again.

use crate::random::Random;

/// A deck of cards, shuffled when the last one has been drawn.
pub(super) struct Deck<T: 'static> {
    all: &'static [T],
    left: Vec<T>,
}

impl<T: Copy> Deck<T> {
    /// Of these, of which there is at least one.
    pub(super) fn new(all: &'static [T]) -> Self {
        Self { all, left: Vec::new() }
    }

    /// The next one.
    pub(super) fn draw(&mut self, random: &mut Random) -> T {
        if self.left.is_empty() {
            self.left.extend_from_slice(self.all);
        }
        self.left.swap_remove(random.below(self.left.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_up_once_in_a_round() {
        let (mut deck, mut random) = (Deck::new(&[1, 2, 3, 4]), Random::new(7));
        for _ in 0..10 {
            let mut drawn = [(); 4].map(|()| deck.draw(&mut random));
            drawn.sort_unstable();
            assert_eq!(drawn, [1, 2, 3, 4]);
        }
    }
}
