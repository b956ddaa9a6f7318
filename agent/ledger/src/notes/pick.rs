//! Which notes are burned for an amount. Pure.

use super::Note;

/// What is burned, and what is left of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Picked {
    /// Largest first, as they are read back later.
    pub(super) serials: Vec<String>,
    pub(super) change: u64,
}

/// Chooses from `notes`, which are sorted by amount: the smallest single note that is enough, else the largest ones until it is enough, so
/// that few notes are burned and small ones do not pile up. `None`: all together are not enough.
pub(super) fn pick(notes: &[Note], amount: u64) -> Option<Picked> {
    if amount == 0 {
        return Some(Picked { serials: Vec::new(), change: 0 });
    }
    let enough = notes.partition_point(|note| note.amount < amount);
    if let Some(note) = notes.get(enough) {
        return Some(Picked { serials: vec![note.serial.clone()], change: note.amount - amount });
    }
    let mut picked: Vec<&Note> = Vec::new();
    let mut sum = 0_u64;
    for note in notes.iter().rev() {
        if sum >= amount {
            break;
        }
        sum = sum.saturating_add(note.amount);
        picked.push(note);
    }
    picked.sort_by(|a, b| (b.amount, &a.serial).cmp(&(a.amount, &b.serial)));
    let serials = picked.iter().map(|note| note.serial.clone()).collect();
    (sum >= amount).then(|| Picked { serials, change: sum - amount })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(amounts: &[u64]) -> Vec<Note> {
        let note = |(at, amount): (usize, &u64)| Note {
            serial: format!("s{at}"),
            amount: *amount,
            origin: String::new(),
            made: jiff::Timestamp::UNIX_EPOCH,
        };
        amounts.iter().enumerate().map(note).collect()
    }

    fn picked(serials: &[&str], change: u64) -> Option<Picked> {
        Some(Picked { serials: serials.iter().map(|it| (*it).to_owned()).collect(), change })
    }

    #[test]
    fn few_notes_are_burned_and_the_rest_is_change() {
        let notes = notes(&[1, 2, 5, 10]);
        assert_eq!(pick(&notes, 0), picked(&[], 0));
        assert_eq!(pick(&notes, 2), picked(&["s1"], 0));
        assert_eq!(pick(&notes, 3), picked(&["s2"], 2));
        assert_eq!(pick(&notes, 14), picked(&["s3", "s2"], 1));
        assert_eq!(pick(&notes, 18), picked(&["s3", "s2", "s1", "s0"], 0));
        assert_eq!(pick(&notes, 19), None);
        assert_eq!(pick(&[], 1), None);
    }
}
