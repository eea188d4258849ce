//! Bytes that are no map: an error that tells where, never a panic, and never more memory than
//! the bytes could fill.

use proptest::prelude::*;

use super::*;

/// Every beginning of a real map is too short, and says so.
#[test]
fn a_map_that_is_cut_off() {
    for length in 0..RICH.len() {
        let error = decode(&RICH[..length]).expect_err("a part of a map");
        assert!(
            matches!(error.fault, Fault::Short { .. }),
            "{length}: {error}"
        );
    }
}

/// A changed byte anywhere is found, whatever it meant.
#[test]
fn a_map_with_a_changed_byte() {
    for place in (0..RICH.len()).step_by(7) {
        let mut bytes = RICH.to_vec();
        bytes[place] ^= 0x40;
        assert!(decode(&bytes).is_err(), "{place}");
    }
    let mut bytes = RICH.to_vec();
    *bytes.last_mut().expect("a byte") ^= 1;
    let error = decode(&bytes).expect_err("a changed checksum");
    assert_eq!(error.offset, RICH.len() - 4);
    assert!(error.to_string().contains("checksum"), "{error}");
}

/// A count that cannot be met is refused before anything is reserved for it.
#[test]
fn counts_beyond_the_bytes() {
    for place in 0..RICH.len() - 4 {
        let mut bytes = RICH.to_vec();
        bytes[place..place + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        // Many a field may hold the number; what matters is that it comes back.
        let _ = decode_unchecked(&bytes);
    }
    let mut cursor = Cursor::new(&[0xff, 0xff, 0xff, 0x7f, 1, 2], "list");
    let error = cursor.list(1, Cursor::u8).expect_err("too many");
    let fault = Fault::Short {
        wanted: 0x7fff_ffff,
        left: 2,
    };
    assert_eq!(error.fault, fault);
}

/// The error names the structure and the place.
#[test]
fn errors_tell_where() {
    let (map, crush) = rich();
    let mut bytes = encode(&map, &crush);
    // Behind the headers of the map and of its first part, fsid, epoch, two times, the count of
    // pools and the first one's number: the first pool, and behind its header its type.
    let pool = 6 + 6 + 16 + 4 + 8 + 8 + 4 + 8;
    bytes[pool + 6] = 2;
    let error = decode_unchecked(&bytes).expect_err("no such type");
    assert_eq!(
        error.to_string(),
        format!(
            "the pool at byte {} cannot be read: its type is 2, which this program does not know",
            pool + 7
        )
    );
    bytes[pool + 1] = 33;
    let error = decode_unchecked(&bytes).expect_err("too new");
    assert_eq!(
        error.to_string(),
        format!(
            "the pool at byte {pool} cannot be read: it asks for a reader of version 33, and this one reads up to 32"
        )
    );
    bytes[pool] = 20;
    bytes[pool + 1] = 5;
    let error = decode_unchecked(&bytes).expect_err("too old");
    assert!(
        error
            .to_string()
            .contains("version 20, and 28 is the oldest"),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is done to a real map, its checksum left aside: a result, and no panic.
    #[test]
    fn changed_maps_never_panic(
        changes in prop::collection::vec((0..RICH.len(), any::<u8>()), 1..12),
        cut in prop::option::of(0..RICH.len()),
        doubled in prop::option::of((0..RICH.len(), 1..64_usize)),
    ) {
        let mut bytes = RICH.to_vec();
        for (place, byte) in changes {
            bytes[place] = byte;
        }
        if let Some((place, length)) = doubled {
            let end = (place + length).min(bytes.len());
            let part = bytes[place..end].to_vec();
            bytes.splice(place..place, part);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut);
        }
        let _ = decode_unchecked(&bytes);
        let _ = decode(&bytes);
    }

    /// The CRUSH map has no lengths of its own: it is damaged by itself.
    #[test]
    fn changed_crush_maps_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 1..6),
    ) {
        let (_, crush) = rich();
        let mut writer = Writer::default();
        crush_map::binary::encode(&mut writer, &crush);
        let mut bytes = writer.into_bytes();
        for (place, word) in changes {
            let place = place.index(bytes.len() - 4);
            bytes[place..place + 4].copy_from_slice(&word.to_le_bytes());
        }
        let _ = crush_map::binary::decode(Cursor::new(&bytes, "CRUSH map"));
    }

    /// Bytes that were never a map.
    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_unchecked(&bytes);
        let _ = crush_map::binary::decode(Cursor::new(&bytes, "CRUSH map"));
    }
}
