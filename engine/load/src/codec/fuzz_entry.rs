//! One function per parser for the fuzz targets and for the replay of the corpus in `engine/load/corpus/`.
//!
//! Each feeds the same bytes whole, byte by byte and in pieces, and panics only when the results differ or when a round trip fails: that
//! is the property under test. Not for production use; the results are collected in memory.

use super::h2_client::{Event as H2Event, H2Client, RequestTemplate, Settings};
use super::h3_control::{PeerStreams, UniReader};
use super::h3_frames::ResponseReader;
use super::head::ResponseHead;
use super::http1::{Event, ResponseParser};
use super::request::Request;
use super::{hpack, huffman, qpack, varint};

/// Runs `run` over several cuts of `data`; its first byte chooses the size of the pieces and is not input.
fn same_whatever_the_cut<R: PartialEq + std::fmt::Debug>(
    data: &[u8],
    run: impl Fn(&mut dyn Iterator<Item = &[u8]>) -> R,
) {
    let Some((&size, input)) = data.split_first() else { return };
    let whole = run(&mut std::iter::once(input));
    for pieces in [1, usize::from(size) + 2] {
        let cut = run(&mut input.chunks(pieces));
        assert_eq!(whole, cut, "the result depends on where the input is cut (pieces of {pieces})");
    }
}

/// [`super::http1`]: responses one after the other on a connection that then ends.
pub fn fuzz_http1(data: &[u8]) {
    same_whatever_the_cut(data, |chunks| {
        let mut parser = ResponseParser::new();
        let mut log: Vec<(Event, ResponseHead, u64, bool)> = Vec::new();
        for mut chunk in chunks {
            loop {
                let progress = match parser.feed(chunk) {
                    Ok(progress) => progress,
                    Err(error) => return (log, Err(error)),
                };
                chunk = &chunk[progress.consumed..];
                let Some(event) = progress.event else { break };
                log.push((event, *parser.head(), parser.body_bytes(), parser.keeps_alive()));
                if event == Event::End {
                    parser.reset();
                }
            }
            assert!(chunk.is_empty(), "without an event all input is consumed");
        }
        let body = parser.body_bytes();
        (log, parser.finish().map(|complete| (complete, body)))
    });
}

/// [`super::h3_frames`]: one response on a request stream that then ends.
pub fn fuzz_h3_response(data: &[u8]) {
    same_whatever_the_cut(data, |chunks| {
        let mut reader = ResponseReader::new();
        let mut heads = 0;
        for mut chunk in chunks {
            while !chunk.is_empty() {
                match reader.feed(chunk) {
                    Ok(progress) => {
                        heads += u32::from(progress.head);
                        chunk = &chunk[progress.consumed..];
                    }
                    Err(error) => return (heads, Err(error)),
                }
            }
        }
        assert!(heads <= 1, "a response has one final head");
        let (head, body) = (*reader.head(), reader.body_bytes());
        (heads, reader.finish().map(|()| (head, body)))
    });
}

/// [`super::h3_control`]: one unidirectional stream.
pub fn fuzz_h3_control(data: &[u8]) {
    same_whatever_the_cut(data, |chunks| {
        let (mut reader, mut streams, mut events) = (UniReader::default(), PeerStreams::default(), Vec::new());
        for chunk in chunks {
            if let Err(error) = reader.feed(chunk, &mut streams, |event| events.push(event)) {
                return (events, Err(error));
            }
        }
        (events, reader.finish())
    });
}

/// [`super::h2_client`]: up to seven requests, then the server's bytes; the second byte says how many requests and which is cancelled.
pub fn fuzz_h2_client(data: &[u8]) {
    let Ok(request) = Request::new("/o/1KB", "www.example") else { return };
    let template = RequestTemplate::new(&request);
    let Some((&plan, input)) = data.get(1..).and_then(<[u8]>::split_first) else { return };
    let sized: Vec<u8> = std::iter::once(data[0]).chain(input.iter().copied()).collect();
    same_whatever_the_cut(&sized, |chunks| {
        let mut client = H2Client::new(Settings { connection_window: 0, ..Settings::default() });
        let requests = u32::from(plan & 7);
        for number in 0..requests {
            let _ = client.request(&template, Some(&[b'a'; 32]), number);
        }
        let cancelled = client.cancel(u32::from(plan >> 3));
        let mut log: Vec<String> = Vec::new();
        let mut data_bytes = 0u64;
        let mut ended = u32::from(cancelled.is_some());
        let mut result = Ok(());
        for chunk in chunks {
            result = client.receive(chunk, |event| match event {
                // Pieces of a frame may come one by one: only their sum must not depend on the cut.
                H2Event::Data { bytes, .. } => data_bytes += u64::from(bytes),
                event => {
                    ended += u32::from(matches!(event, H2Event::End { .. } | H2Event::Failed { .. }));
                    log.push(format!("{data_bytes} {event:?}"));
                }
            });
            if result.is_err() {
                break;
            }
        }
        let left = client.drain().count() as u32;
        assert_eq!(ended + left, requests, "every request ends exactly once");
        (log, data_bytes, result, client.output().to_vec())
    });
}

/// [`hpack`]: blocks with a one-byte length in front, through one decoder.
pub fn fuzz_hpack(mut data: &[u8]) {
    let mut decoder = hpack::Decoder::new();
    while let Some((&length, rest)) = data.split_first() {
        let (block, after) = rest.split_at(usize::from(length).min(rest.len()));
        data = after;
        let mut size = 0;
        let result = decoder.decode(block, |field| size += field.name.len() + field.value.len() + 32);
        assert!(size <= hpack::MAX_LIST, "a block decodes to a bounded list");
        assert!(decoder.table_size() <= hpack::TABLE_SIZE, "the dynamic table is bounded");
        if result.is_err() {
            return;
        }
    }
}

/// [`qpack`]: one section.
pub fn fuzz_qpack(data: &[u8]) {
    let (mut scratch, mut size) = (Vec::new(), 0);
    let _ = qpack::decode(data, &mut scratch, |field| size += field.name.len() + field.value.len() + 32);
    assert!(size <= qpack::MAX_SECTION, "a section decodes to a bounded list");
}

/// [`huffman`]: what decodes encodes to the same bytes, and anything encodes to what decodes.
pub fn fuzz_huffman(data: &[u8]) {
    let (mut plain, mut coded) = (Vec::new(), Vec::new());
    if huffman::decode(data, &mut plain, usize::MAX).is_ok() {
        huffman::encode(&plain, &mut coded);
        assert_eq!(coded, data, "the code is unambiguous");
    }
    plain.clear();
    coded.clear();
    huffman::encode(data, &mut coded);
    assert_eq!(coded.len(), huffman::encoded_len(data));
    assert_eq!(huffman::decode(&coded, &mut plain, data.len()), Ok(()));
    assert_eq!(plain, data);
}

/// [`varint`]: what reads writes to the same value in no more bytes.
pub fn fuzz_varint(data: &[u8]) {
    if let Some((value, used)) = varint::read(data) {
        let mut written = Vec::new();
        varint::write(value, &mut written);
        assert!(written.len() <= used);
        assert_eq!(varint::read(&written), Some((value, written.len())));
    }
}
