//! RFC 7541 Appendix C, RFC 9204 Appendix B (static part), RFC 9000 Appendix A.1.

use crate::hex;
use tbi_engine::codec::head::FieldName;
use tbi_engine::codec::hpack::{Decoder, HpackError};
use tbi_engine::codec::huffman::{self, HuffmanError};
use tbi_engine::codec::prefixed::{PrimitiveError, write_integer};
use tbi_engine::codec::qpack::{self, QpackError};
use tbi_engine::codec::{static_tables, varint};

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<String, HpackError> {
    let mut lines = String::new();
    decoder.decode(block, |field| {
        lines += &format!("{}: {}\n", String::from_utf8_lossy(field.name), String::from_utf8_lossy(field.value));
    })?;
    Ok(lines)
}

/// Blocks of one example with the fields they mean and the table size after each.
fn check(decoder: &mut Decoder, blocks: &[(&str, &str, usize)]) {
    for (block, fields, size) in blocks {
        assert_eq!(decode(decoder, &hex(block)).unwrap(), *fields);
        assert_eq!(decoder.table_size(), *size);
    }
}

#[test]
fn rfc_7541_c_1_integers() {
    for (value, prefix, bytes) in [(10, 5, "0a"), (1337, 5, "1f9a0a"), (42, 8, "2a")] {
        let mut out = Vec::new();
        write_integer(0, prefix, value, &mut out);
        assert_eq!(out, hex(bytes));
    }
}

#[test]
fn rfc_7541_c_2_single_fields() {
    for (block, fields, size) in [
        ("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", "custom-key: custom-header\n", 55),
        ("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path\n", 0),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret\n", 0),
        ("82", ":method: GET\n", 0),
    ] {
        check(&mut Decoder::new(), &[(block, fields, size)]);
    }
}

#[test]
fn rfc_7541_c_3_and_c_4_requests_plain_and_huffman() {
    const FIRST: &str = ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n";
    let second = format!("{FIRST}cache-control: no-cache\n");
    let third =
        ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value\n";
    check(
        &mut Decoder::new(),
        &[
            ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", FIRST, 57),
            ("8286 84be 5808 6e6f 2d63 6163 6865", &second, 110),
            ("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", third, 164),
        ],
    );
    check(
        &mut Decoder::new(),
        &[
            ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", FIRST, 57),
            ("8286 84be 5886 a8eb 1064 9cbf", &second, 110),
            ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", third, 164),
        ],
    );
}

/// The examples use a table of 256 bytes, which the encoder announces at the beginning (§6.3).
#[test]
fn rfc_7541_c_5_and_c_6_responses_with_eviction() {
    const TAIL: &str =
        "cache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com\n";
    let (first, second) = (format!(":status: 302\n{TAIL}"), format!(":status: 307\n{TAIL}"));
    let third = ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\nlocation: https://www.example.com\n\
        content-encoding: gzip\nset-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\n";
    check(
        &mut Decoder::new(),
        &[
            (
                "3fe101 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120
                 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                &first,
                222,
            ),
            ("4803 3330 37c1 c0bf", &second, 222),
            (
                "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f
                 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630
                 303b 2076 6572 7369 6f6e 3d31",
                third,
                215,
            ),
        ],
    );
    check(
        &mut Decoder::new(),
        &[
            (
                "3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad
                 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                &first,
                222,
            ),
            ("4883 640e ffc1 c0bf", &second, 222),
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335
                 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
                third,
                215,
            ),
        ],
    );
}

#[test]
fn hostile_hpack_is_refused_by_its_defect() {
    for (name, block, expected) in [
        ("index 0", "80", HpackError::Index),
        ("index beyond the tables", "be", HpackError::Index),
        ("name beyond the tables", "7e 01 61", HpackError::Index),
        ("table above 4096", "3f e2 1f", HpackError::TableSize),
        ("late table size", "88 20", HpackError::LateTableSize),
        ("integer without end", "ff 80 80 80 80 80 80 80 80 80 80 01", PrimitiveError::Overflow.into()),
        ("integer above 2^30", "ff ff ff ff ff 7f", PrimitiveError::Overflow.into()),
        ("cut integer", "ff 80", PrimitiveError::Truncated.into()),
        ("string longer than block", "40 05 61", PrimitiveError::Truncated.into()),
        ("name without value", "40 01 61", PrimitiveError::Truncated.into()),
        ("EOS in string", "40 84 ff ff ff ff 01 61", PrimitiveError::Huffman(HuffmanError::EndOfString).into()),
        ("a byte of padding", "40 82 07 ff 01 61", PrimitiveError::Huffman(HuffmanError::Padding).into()),
        ("padding of zeros", "40 81 00 01 61", PrimitiveError::Huffman(HuffmanError::Padding).into()),
    ] {
        let result = decode(&mut Decoder::new(), &hex(block));
        assert_eq!(result, Err(expected), "{name}");
    }
}

#[test]
fn hpack_bomb_is_refused() {
    // One large entry, then one-byte references to it.
    let mut block = hex("40 01 61");
    write_integer(0, 7, 3000, &mut block);
    block.extend(std::iter::repeat_n(b'v', 3000));
    block.extend(std::iter::repeat_n(0xbe, 100));
    assert_eq!(decode(&mut Decoder::new(), &block), Err(HpackError::TooLong));
    // The limit holds inside a string too: 12000 bytes of five-bit codes.
    let mut block = hex("40");
    write_integer(0x80, 7, 12_000, &mut block);
    block.extend(std::iter::repeat_n(0, 12_000));
    assert_eq!(decode(&mut Decoder::new(), &block), Err(PrimitiveError::Huffman(HuffmanError::TooLong).into()));
}

#[test]
fn entry_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::new();
    decode(&mut decoder, &hex("40 01 61 01 62")).unwrap();
    assert_eq!(decoder.table_size(), 34);
    let mut block = hex("40 01 61");
    write_integer(0, 7, 5000, &mut block);
    block.extend(std::iter::repeat_n(b'v', 5000));
    decode(&mut decoder, &block).unwrap();
    assert_eq!(decoder.table_size(), 0);
}

#[test]
fn name_of_an_entry_evicted_by_its_own_use() {
    // §4.4: the new entry takes the name of the one its insertion evicts.
    let mut decoder = Decoder::new();
    let lines = decode(&mut decoder, &hex("3f 06 40 03 61 62 63 01 31 7e 02 32 33 be")).unwrap();
    assert_eq!(lines, "abc: 1\nabc: 23\nabc: 23\n");
}

#[test]
fn bad_value_does_not_taint_its_name() {
    let mut decoder = Decoder::new();
    let mut kinds = Vec::new();
    // "abc: \0" enters the table; its name is used again with a good value.
    decoder.decode(&hex("40 03 61 62 63 01 00 7e 01 31"), |field| kinds.push(field.kind)).unwrap();
    assert_eq!(kinds, [FieldName::Malformed, FieldName::Other]);
}

#[test]
fn rfc_9204_b_1_literal_with_name_reference() {
    let mut fields = Vec::new();
    qpack::decode(&hex("0000 510b 2f69 6e64 6578 2e68 746d 6c"), &mut Vec::new(), |field| {
        fields.push((field.name.to_vec(), field.value.to_vec()));
    })
    .unwrap();
    assert_eq!(fields, [(b":path".to_vec(), b"/index.html".to_vec())]);
}

#[test]
fn hostile_qpack_is_refused_by_its_defect() {
    for (name, section, expected) in [
        ("empty", "", QpackError::Primitive(PrimitiveError::Truncated)),
        ("half a prefix", "00", PrimitiveError::Truncated.into()),
        ("required insert count", "0200", QpackError::DynamicReference),
        ("negative base", "0080", QpackError::DynamicReference),
        ("dynamic index", "0000 80", QpackError::DynamicReference),
        ("post-base index", "0000 10", QpackError::DynamicReference),
        ("dynamic name", "0000 40 01 61", QpackError::DynamicReference),
        ("post-base name", "0000 00 01 61", QpackError::DynamicReference),
        ("static index 99", "0000 ff 24", QpackError::Index),
        ("static name 99", "0000 5f 54 01 61", QpackError::Index),
        ("cut string", "0000 51 05 61", PrimitiveError::Truncated.into()),
        ("cut name", "0000 27", PrimitiveError::Truncated.into()),
    ] {
        assert_eq!(qpack::decode(&hex(section), &mut Vec::new(), |_| {}), Err(expected), "{name}");
    }
    let many: Vec<u8> = [0, 0].into_iter().chain(std::iter::repeat_n(0xd9, 500)).collect();
    assert_eq!(qpack::decode(&many, &mut Vec::new(), |_| {}), Err(QpackError::TooLong));
}

#[test]
fn static_tables_are_those_of_the_rfcs() {
    assert_eq!(static_tables::HPACK[7], (&b":status"[..], &b"200"[..]));
    assert_eq!(static_tables::HPACK[60], (&b"www-authenticate"[..], &b""[..]));
    assert_eq!(static_tables::QPACK[25], (&b":status"[..], &b"200"[..]));
    assert_eq!(static_tables::QPACK[98], (&b"x-frame-options"[..], &b"sameorigin"[..]));
}

#[test]
fn rfc_9000_a_1_varints() {
    for (bytes, value) in
        [("c2197c5eff14e88c", 151_288_809_941_952_652), ("9d7f3e7d", 494_878_333), ("7bbd", 15_293), ("25", 37)]
    {
        assert_eq!(varint::read(&hex(bytes)), Some((value, bytes.len() / 2)));
        let mut written = Vec::new();
        varint::write(value, &mut written);
        assert_eq!(written, hex(bytes));
    }
    assert_eq!(varint::read(&hex("4025")), Some((37, 2)));
    assert_eq!(varint::read(&hex("c2197c5eff14e8")), None);
}

#[test]
fn huffman_knows_every_symbol() {
    let all: Vec<u8> = (0..=255).collect();
    let (mut coded, mut plain) = (Vec::new(), Vec::new());
    huffman::encode(&all, &mut coded);
    huffman::decode(&coded, &mut plain, 256).unwrap();
    assert_eq!(plain, all);
    assert_eq!(huffman::decode(&coded, &mut Vec::new(), 255), Err(HuffmanError::TooLong));
}
