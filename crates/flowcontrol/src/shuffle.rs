//! Shuffle sharding: the few queues that a flow may use, out of many. Pure.
//!
//! Two flows seldom get the same hand, so a flow that floods its queues leaves most others at
//! least one that is empty. (KEP-1040)

/// The queues of a flow: `hand_size` different numbers below `deck_size`, decided by the flow's
/// hash alone. The hash is read as a number of mixed radix: one digit a card.
pub(crate) fn deal(hash: u64, deck_size: usize, hand_size: usize, hand: &mut Vec<usize>) {
    hand.clear();
    let mut rest = hash;
    for dealt in 0..hand_size.min(deck_size) {
        let left = (deck_size - dealt) as u64;
        // Counted among the cards that are left; below a deck's size, which is a usize.
        hand.push((rest % left) as usize);
        rest /= left;
    }
    // From numbers among what was left to numbers in the deck, the last first: its
    // predecessors must still be what they were.
    for dealt in (1..hand.len()).rev() {
        let (earlier, own) = hand.split_at_mut(dealt);
        for one in earlier.iter().rev() {
            own[0] += usize::from(own[0] >= *one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_hand_has_different_cards_of_the_deck() {
        let mut hand = Vec::new();
        for hash in (0..2000_u64).map(|one| one.wrapping_mul(0x9E37_79B9_7F4A_7C15)) {
            deal(hash, 64, 6, &mut hand);
            assert_eq!(hand.iter().collect::<BTreeSet<_>>().len(), 6, "{hash}: {hand:?}");
            assert!(hand.iter().all(|card| *card < 64));
        }
    }

    #[test]
    fn every_card_comes_equally_often() {
        let mut counts = [0_usize; 8];
        let mut hand = Vec::new();
        // All hands of 3 out of 8, each once.
        for hash in 0..8 * 7 * 6 {
            deal(hash, 8, 3, &mut hand);
            hand.iter().for_each(|card| counts[*card] += 1);
        }
        assert_eq!(counts, [8 * 7 * 6 * 3 / 8; 8]);
    }
}
