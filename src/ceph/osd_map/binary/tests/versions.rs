//! Encodings of other releases than the one here, written by hand.

use super::*;

/// What a release to come adds at the end of every structure is passed over.
#[test]
fn additions_are_passed_over() {
    let (map, crush) = rich();
    let mut bytes = encode(&map, &crush);
    // Behind the OSD part and before the checksum: four bytes more in the part.
    let client = 6 + 6 + length_at(&bytes, 6 + 2);
    let osd = length_at(&bytes, client + 2);
    let end = client + 6 + osd;
    bytes.splice(end..end, [1, 2, 3, 4]);
    add(&mut bytes, client + 2, 4);
    add(&mut bytes, 2, 4);
    // And in the first pool.
    let pool = 6 + 6 + 16 + 4 + 8 + 8 + 4 + 8;
    let end = pool + 6 + length_at(&bytes, pool + 2);
    bytes.splice(end..end, [9; 5]);
    bytes[pool] = 40;
    for header in [2, 6 + 2, pool + 2] {
        add(&mut bytes, header, 5);
    }
    assert_eq!(decode_unchecked(&bytes), Ok((map, crush)));
}

fn length_at(bytes: &[u8], place: usize) -> usize {
    let length = bytes[place..place + 4].try_into().expect("four bytes");
    u32::from_le_bytes(length) as usize
}

fn add(bytes: &mut [u8], place: usize, more: usize) {
    let length = u32::try_from(length_at(bytes, place) + more).expect("a length");
    bytes[place..place + 4].copy_from_slice(&length.to_le_bytes());
}

/// The header and the fields up to the options of a pool, which all releases share.
fn pool_up_to_options(writer: &mut Writer, snapshots: u64, removed: &[(u64, u64)], flags: u64) {
    for number in [3, 6, 1, 2] {
        writer.u8(number);
    }
    for number in [64, 32, 0, 0, 77] {
        writer.u32(number);
    }
    writer.u64(snapshots);
    writer.u32(0);
    writer.u32(0);
    writer.list(removed.iter(), |writer, (begin, length)| {
        writer.u64(*begin);
        writer.u64(*length);
    });
    writer.u64(0);
    writer.u64(flags);
    writer.u32(0);
    writer.u8(5);
    writer.u64(u64::MAX);
    writer.u64(10);
    writer.u32(0);
    writer.i64(-1);
    writer.u8(0);
    writer.i64(-1);
    writer.i64(-1);
    // Properties of old times.
    writer.texts([(&"a".to_owned(), &"b".to_owned())].into_iter());
    writer.structure(1, 1, |writer| writer.u8(0));
    writer.zeros(2 * 4);
    writer.u32(16_384);
    writer.zeros(2 * 8);
    for number in [400_000, 800_000, 0, 0] {
        writer.u32(number);
    }
    writer.text("profile");
    writer.zeros(4 + 4 + 8);
    writer.u32(600_000);
    writer.u32(0);
    writer.u8(1);
    writer.u8(1);
    writer.zeros(2 * 4);
}

/// What comes behind the options.
fn pool_behind_options(writer: &mut Writer) {
    writer.u32(0);
    writer.u32(0);
    writer.u32(1_700_000_000);
    writer.u32(123_456_789);
    for number in [128, 64, 64, 0, 0, 0] {
        writer.u32(number);
    }
    writer.u8(2);
}

fn read(writer: Writer) -> Pool {
    let bytes = writer.into_bytes();
    let mut cursor = Cursor::new(&bytes, "pools");
    let read = pool::pool(&mut cursor, PoolId(9)).expect("a pool");
    assert!(cursor.is_at_end());
    read
}

/// Ceph 20 with `allow_ec_optimizations`: version 32, with the options that came last.
#[test]
fn a_pool_of_tentacle() {
    let mut writer = Writer::default();
    let flags = 1 | 1 << 2 | 1 << 17 | 1 << 18 | 1 << 19;
    writer.structure(32, 5, |writer| {
        pool_up_to_options(writer, 0, &[], flags);
        writer.structure(2, 1, |writer| {
            writer.u32(3);
            for (number, value) in [(24, 70), (25, 5)] {
                writer.u32(number);
                writer.u32(1);
                writer.i64(value);
            }
            // One that came later still.
            writer.u32(99);
            writer.u32(0);
            writer.text("word");
        });
        pool_behind_options(writer);
        writer.structure(1, 1, |writer| writer.zeros(61));
        // Stretched over sites of its own, and the shards that are never primary.
        writer.u8(1);
        for number in [2, 3, 8, 0x7fff_ffff] {
            writer.u32(number);
        }
        writer.zeros(16);
    });
    let pool = read(writer);
    let flags: Vec<&str> = pool.flags.iter().map(String::as_str).collect();
    assert_eq!(
        flags,
        [
            "bulk",
            "crimson",
            "ec_optimizations",
            "ec_overwrites",
            "hashpspool"
        ]
    );
    let options: Vec<_> = pool.options.into_iter().collect();
    assert_eq!(
        options,
        [
            ("pct_update_delay".to_owned(), OptionValue::Integer(5)),
            ("read_ratio".to_owned(), OptionValue::Integer(70)),
        ]
    );
    assert_eq!(pool.peering_bucket_count, 2);
    assert_eq!(
        (pool.kind, pool.size, pool.min_size),
        (PoolKind::Erasure, 6, 5)
    );
    assert_eq!((pool.stripe_width, pool.fast_read), (16_384, true));
    assert_eq!(pool.create_time.0, 1_700_000_000_123_456);
    assert_eq!(pool.placement_groups.pg_num_target, 128);
    assert_eq!(pool.placement_groups.pgp_num_target, 64);
    // More than any number here: as much as there can be.
    assert_eq!(pool.quota_max_bytes, i64::MAX);
    assert_eq!(pool.name.as_str(), "<unknown>");
}

/// A pool of Ceph 20 that is not stretched, as 20.2.4 ends it: three bytes, which no number fits in.
#[test]
fn an_ordinary_pool_of_tentacle() {
    let mut writer = Writer::default();
    writer.structure(32, 5, |writer| {
        pool_up_to_options(writer, 0, &[], 1);
        writer.structure(2, 1, |writer| writer.u32(0));
        pool_behind_options(writer);
        writer.structure(1, 1, |writer| writer.zeros(53));
        writer.zeros(3);
    });
    assert_eq!(read(writer).peering_bucket_count, 0);
}

/// A pool that old clients are sent: version 28, whole numbers of 32 bits, and snapshots from
/// before there were flags that tell their kind.
#[test]
fn a_pool_for_old_clients() {
    let old = |removed: &[(u64, u64)]| {
        let mut writer = Writer::default();
        writer.structure(28, 5, |writer| {
            pool_up_to_options(writer, 4, removed, 1);
            writer.structure(1, 1, |writer| {
                writer.u32(1);
                writer.u32(3);
                writer.u32(1);
                writer.i32(-7);
            });
            pool_behind_options(writer);
        });
        read(writer)
    };
    let pool = old(&[]);
    assert_eq!(pool.options["recovery_priority"], OptionValue::Integer(-7));
    assert!(pool.has_flag("pool_snaps") && !pool.has_flag("selfmanaged_snaps"));
    assert_eq!(pool.peering_bucket_count, 0);
    let pool = old(&[(1, 2)]);
    assert!(!pool.has_flag("pool_snaps") && pool.has_flag("selfmanaged_snaps"));
}

/// Addresses in every form there is.
#[test]
fn addresses_of_all_times() {
    let mut writer = Writer::default();
    writer.u32(3);
    writer.u8(0);
    writer.zeros(135);
    writer.u8(1);
    writer.structure(1, 1, |writer| writer.zeros(28));
    writer.u8(2);
    writer.u32(2);
    writer.u8(1);
    writer.structure(1, 1, |writer| writer.zeros(28));
    writer.u8(0);
    writer.zeros(135);
    let bytes = writer.into_bytes();
    let mut cursor = Cursor::new(&bytes, "addresses");
    assert_eq!(osds::addresses(&mut cursor), Ok(()));
    assert!(cursor.is_at_end());
    let mut cursor = Cursor::new(&[1, 0, 0, 0, 3], "addresses");
    assert!(osds::addresses(&mut cursor).is_err());
}

/// Stretch mode stands in maps of clusters that have it.
#[test]
fn stretch_mode() {
    let (mut map, crush) = rich();
    assert!(!map.stretch_mode.enabled);
    map.stretch_mode = crate::ceph::osd_map::StretchMode {
        enabled: true,
        bucket_count: 2,
        degraded: 1,
        recovering: 0,
        bucket: 8,
    };
    assert_eq!(decode(&encode(&map, &crush)), Ok((map, crush)));
}
