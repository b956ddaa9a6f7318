//! Random input: nothing panics, nothing depends on the cut, what is written is read back.

use proptest::collection::vec;
use proptest::prelude::*;
use tbi_engine::codec::fuzz_entry as fuzz;
use tbi_engine::codec::hpack::{self, Decoder, Indexing};
use tbi_engine::codec::prefixed::{Coding, write_integer, write_string};
use tbi_engine::codec::{qpack, static_tables};

use crate::corpus::PARSERS;

type Owned = (Vec<u8>, Vec<u8>);

fn field() -> impl Strategy<Value = Owned> {
    let name = prop_oneof![
        Just(b":status".to_vec()),
        Just(b"date".to_vec()),
        Just(b"x-tlsstress-echo".to_vec()),
        vec(any::<u8>(), 0..40)
    ];
    (name, vec(any::<u8>(), 0..200))
}

/// What an encoder may do next.
#[derive(Debug, Clone)]
enum Step {
    NewBlock,
    Resize(usize),
    Index(usize),
    Literal { field: Owned, indexed: bool, known_name: Option<usize>, coding: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::NewBlock),
        1 => (0usize..=4096).prop_map(Step::Resize),
        4 => (0usize..200).prop_map(Step::Index),
        6 => (field(), any::<bool>(), proptest::option::of(0usize..200), any::<bool>())
            .prop_map(|(field, indexed, known_name, coding)| Step::Literal { field, indexed, known_name, coding }),
    ]
}

/// The dynamic table in the plainest form that could be right (RFC 7541 §2.3, §4).
struct Model {
    table: Vec<Owned>,
    capacity: usize,
}

impl Model {
    fn size(&self) -> usize {
        self.table.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
    }

    fn shrink(&mut self) {
        while self.size() > self.capacity {
            self.table.pop();
        }
    }

    fn all(&self) -> Vec<Owned> {
        let fixed = static_tables::HPACK.iter().map(|(name, value)| (name.to_vec(), value.to_vec()));
        fixed.chain(self.table.iter().cloned()).collect()
    }

    /// Writes one step to `block` and says which field it means.
    fn apply(&mut self, step: &Step, block: &mut Vec<u8>) -> Option<Owned> {
        let all = self.all();
        match step {
            Step::NewBlock | Step::Resize(_) => None,
            Step::Index(index) => {
                let index = index % all.len();
                hpack::write_indexed(index + 1, block);
                Some(all[index].clone())
            }
            Step::Literal { field, indexed, known_name, coding } => {
                let (mut name, value) = field.clone();
                let (pattern, prefix) = if *indexed { (0x40, 6) } else { (0x10, 4) };
                let coding = if *coding { Coding::Shortest } else { Coding::Raw };
                if let Some(index) = known_name.map(|index| index % all.len()) {
                    name = all[index].0.clone();
                    write_integer(pattern, prefix, index + 1, block);
                } else {
                    block.push(pattern);
                    write_string(0, 7, &name, coding, block);
                }
                write_string(0, 7, &value, coding, block);
                if *indexed {
                    self.table.insert(0, (name.clone(), value.clone()));
                    self.shrink();
                }
                Some((name, value))
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_never_panic(data in vec(any::<u8>(), 0..600)) {
        for (_, fuzz) in PARSERS {
            fuzz(&data);
        }
    }

    /// Committed inputs with a few bytes changed, doubled or lost get deeper than random ones.
    #[test]
    fn damaged_corpus_never_panics(
        pick in any::<prop::sample::Index>(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 0..6),
    ) {
        let corpus = crate::corpus::load();
        let (fuzz, mut data) = pick.get(&corpus).clone();
        for (place, byte, how) in damage {
            if data.is_empty() {
                break;
            }
            let place = place.index(data.len());
            match how {
                0 => data[place] = byte,
                1 => data.insert(place, byte),
                2 => drop(data.remove(place)),
                _ => data.extend_from_within(place..),
            }
        }
        fuzz(&data);
    }

    #[test]
    fn huffman_round_trips(plain in vec(any::<u8>(), 0..300)) {
        fuzz::fuzz_huffman(&plain);
    }

    #[test]
    fn decoder_agrees_with_a_plain_model(steps in vec(step(), 0..200)) {
        let mut decoder = Decoder::new();
        let mut model = Model { table: Vec::new(), capacity: 4096 };
        let (mut block, mut expected) = (Vec::new(), Vec::new());
        for step in steps.iter().chain([&Step::NewBlock]) {
            let list: usize = expected.iter().map(|(name, value): &Owned| name.len() + value.len() + 32).sum();
            if matches!(step, Step::NewBlock | Step::Resize(_)) || list > 12_000 {
                let mut decoded = Vec::new();
                decoder.decode(&block, |field| decoded.push((field.name.to_vec(), field.value.to_vec()))).unwrap();
                prop_assert_eq!(&decoded, &expected);
                prop_assert_eq!(decoder.table_size(), model.size());
                block.clear();
                expected.clear();
            }
            if let Step::Resize(capacity) = step {
                write_integer(0x20, 5, *capacity, &mut block);
                model.capacity = *capacity;
                model.shrink();
            }
            expected.extend(model.apply(step, &mut block));
        }
    }

    #[test]
    fn literals_round_trip(fields in vec(field(), 0..20), raw in any::<bool>()) {
        let coding = if raw { Coding::Raw } else { Coding::Shortest };
        let (mut block, mut section) = (Vec::new(), Vec::new());
        qpack::write_prefix(&mut section);
        for (name, value) in &fields {
            hpack::write_literal(name, value, Indexing::Never, coding, &mut block);
            qpack::write_literal(name, value, coding, &mut section);
        }
        let (mut from_hpack, mut from_qpack) = (Vec::new(), Vec::new());
        Decoder::new().decode(&block, |field| from_hpack.push((field.name.to_vec(), field.value.to_vec()))).unwrap();
        qpack::decode(&section, &mut Vec::new(), |field| from_qpack.push((field.name.to_vec(), field.value.to_vec()))).unwrap();
        prop_assert_eq!(&from_hpack, &fields);
        prop_assert_eq!(&from_qpack, &fields);
    }
}
