//! `osd pool create`, by its arguments and by release.

use super::*;

/// All arguments of a creation take effect; the ratio is kept in 32 bits.
#[test]
fn creation_takes_its_arguments() {
    let mut cluster = cluster();
    let command = MonCommand::PoolCreate(PoolCreate {
        pg_num: 16,
        size: Some(2),
        autoscale_mode: Some("warn".into()),
        // Not judged: pg_num lies outside.
        pg_num_min: Some(32),
        pg_num_max: Some(64),
        bulk: Some(true),
        target_size_bytes: Some(1000),
        target_size_ratio: Some(0.3),
        ..creation("q")
    });
    assert_eq!(
        codes(
            &mut cluster,
            &[command, set("p", "target_size_ratio", "0.3")]
        ),
        [0, 0]
    );
    assert_eq!(sizes(&cluster, "q"), Some((2, 1)));
    let option =
        |pool: &str, name: &str| of(&cluster, pool, |p| p.options.get(name).cloned()).flatten();
    assert_eq!(option("q", "pg_num_min"), Some(OptionValue::Integer(32)));
    assert_eq!(option("q", "pg_num_max"), Some(OptionValue::Integer(64)));
    assert_eq!(
        option("q", "target_size_bytes"),
        Some(OptionValue::Integer(1000))
    );
    assert_eq!(
        option("q", "target_size_ratio"),
        Some(OptionValue::Double(0.300_000_011_920_928_96))
    );
    assert_eq!(
        option("p", "target_size_ratio"),
        Some(OptionValue::Double(0.3))
    );
    assert_eq!(of(&cluster, "q", |p| p.has_flag("bulk")), Some(true));
    assert_eq!(
        of(&cluster, "q", |p| p.autoscale_mode.clone()),
        Some("warn".into())
    );
    assert_eq!(of(&cluster, "q", |p| p.last_change), Some(cluster.epoch()));
}

/// Sizes and numbers of placement groups that releases take differently at creation.
#[test]
fn creation_by_release() {
    let sized = |size| {
        MonCommand::PoolCreate(PoolCreate {
            size: Some(size),
            ..creation("q")
        })
    };
    for (release, size, code, then) in [
        (Release::Pacific, 11, -22, None),
        (Release::Reef, 11, 0, Some((11, 6))),
        (Release::Pacific, -1, -22, None),
        (Release::Tentacle, -1, 0, Some((255, 128))),
        (Release::Reef, 1, 0, Some((1, 1))),
        (Release::Reef, 0, 0, Some((3, 2))),
    ] {
        let mut cluster = cluster().with_release(release);
        cluster.config.max_pg_per_osd = 2000;
        assert_eq!(
            codes(&mut cluster, &[sized(size)]),
            [code],
            "{release} {size}"
        );
        assert_eq!(sizes(&cluster, "q"), then, "{release} {size}");
    }
    for (release, mode, pg_num) in [
        (Release::Pacific, "on", 32),
        (Release::Reef, "on", 1),
        (Release::Reef, "auto", 1),
        (Release::Reef, "off", 32),
    ] {
        let mut cluster = cluster().with_release(release);
        let command = MonCommand::PoolCreate(PoolCreate {
            pg_num: 0,
            autoscale_mode: Some(mode.into()),
            ..creation("q")
        });
        assert_eq!(codes(&mut cluster, &[command]), [0]);
        let got = of(&cluster, "q", |p| p.placement_groups.pg_num);
        assert_eq!(got, Some(pg_num), "{release} {mode}");
    }
}
