//! The simulated cluster against a real one: the same random commands to both, round by round.
//!
//! ```text
//!  seed ─► commands of a round ─┬─► SimulatedCluster::round ─► codes, map ─┐
//!                               └─► a monitor, in one proposal ─► codes, map ─┴─► the same?
//! ```
//!
//! The cluster has no OSDs, so nothing moves but by these commands: what is compared is each code, each
//! field of each pool and the number of epochs. Not compared are create times, which are the monitor's clock.
//! Where the two differ the real one is right. The differences of a run are told all together.
//!
//! `POOLWRIGHT_TEST_SEED` runs another sequence, `POOLWRIGHT_TEST_COMMANDS` a longer one.

mod commands;
mod compare;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use poolwright::ceph::client::{MonClient, Reply};
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::osd_map::{OsdMap, binary};
use poolwright::ceph::rados::RadosClient;
use poolwright::ceph::simulated::{MonitorConfig, SimulatedCluster};
use poolwright::ceph::types::Epoch;
use tokio::time::sleep;

use self::compare::{Outcome, compare};
use super::support::{Ceph, Dice};

const DEADLINE: Duration = Duration::from_secs(30);
/// The same sequence in every run, unless one asks for another.
const SEED: u64 = 0x0d1f_f5ee_d5ee_d001;
const COMMANDS: usize = 2_400;
/// Commands of a round at most.
const ROUND: usize = 6;
/// From one command of a round to the next, which is kept on the way to the monitor.
const APART: Duration = Duration::from_millis(2);
/// Parts that a round is taken apart into at most.
const MOST_PARTS: usize = 4;
/// So many differences are enough to read.
const ENOUGH: usize = 25;

/// How the monitors are set in turn.
fn configs() -> [MonitorConfig; 4] {
    let of = |allow_pool_delete, allow_pool_size_one, max_pg_per_osd| MonitorConfig {
        allow_pool_delete,
        allow_pool_size_one,
        max_pg_per_osd,
        ..MonitorConfig::default()
    };
    [
        of(true, false, 250),
        of(false, true, 20),
        of(true, true, 2_000),
        of(true, false, 60),
    ]
}

/// A real cluster and its likeness.
struct Two {
    ceph: Ceph,
    client: RadosClient,
    simulated: SimulatedCluster,
    /// How often each command was sent.
    sent: HashMap<String, usize>,
    tally: Tally,
    differences: Vec<String>,
}

/// What a run has been through.
#[derive(Debug, Default)]
struct Tally {
    commands: usize,
    accepted: usize,
    refused: usize,
    rounds: usize,
    /// Rounds of several commands, in the order in which they were sent.
    together: usize,
    /// The monitors proposed in between, or were reached in another order.
    broken_up: usize,
}

impl Two {
    async fn start() -> Self {
        // A proposal always gathers as long, so that the commands of a round are in one.
        let options = [
            ("OSDS", "0"),
            ("PROPOSE_INTERVAL", "0"),
            ("MIN_WAIT", "0.1"),
        ];
        let ceph = Ceph::own(&options).await;
        let client = ceph.connect().await;
        let map = read(&client).await;
        let release = map.require_osd_release.expect("a release that is known");
        let simulated = SimulatedCluster::new(&map.fsid, 0).with_release(release);
        let mut two = Self {
            ceph,
            client,
            simulated,
            sent: HashMap::new(),
            tally: Tally::default(),
            differences: Vec::new(),
        };
        two.make_alike(&map);
        for command in commands::prepared() {
            two.round(&[command]).await;
        }
        two
    }

    /// Makes the simulated cluster what the real one is.
    fn make_alike(&mut self, map: &OsdMap) {
        self.simulated.edit_map(|simulated| {
            simulated.pools.clone_from(&map.pools);
            // The edit is an epoch of its own.
            simulated.epoch = Epoch(map.epoch.0 - 1);
        });
    }

    async fn configure(&mut self, config: MonitorConfig) {
        for (option, value) in [
            (
                "mon_allow_pool_delete",
                config.allow_pool_delete.to_string(),
            ),
            (
                "mon_allow_pool_size_one",
                config.allow_pool_size_one.to_string(),
            ),
            ("mon_max_pg_per_osd", config.max_pg_per_osd.to_string()),
        ] {
            let args = ["tell", "mon.a", "config", "set", option, &value];
            self.ceph.ceph(&args).await;
        }
        self.simulated.config = config;
    }

    async fn round(&mut self, commands: &[MonCommand]) {
        for command in commands {
            *self.sent.entry(text(command)).or_default() += 1;
        }
        let replies = send(&self.client, commands).await;
        let map = read(&self.client).await;
        let as_sent = vec![commands.to_vec()];
        let outcome = self.simulate(&as_sent);
        self.tally.rounds += 1;
        self.tally.commands += commands.len();
        self.tally.together += usize::from(commands.len() > 1);
        for reply in &replies {
            *(if reply.code == 0 {
                &mut self.tally.accepted
            } else {
                &mut self.tally.refused
            }) += 1;
        }
        let mut wrong = compare(commands, &outcome, &replies, &map);
        if wrong.is_empty() {
            self.simulated = outcome.cluster;
            return;
        }
        if commands.len() > 1
            && let Some(cluster) = self.broken_up(commands, &replies, &map).await
        {
            self.tally.broken_up += 1;
            self.simulated = cluster;
            return;
        }
        let at = format!(
            "round {}, config {:?}\n",
            self.tally.rounds, self.simulated.config
        );
        wrong.insert_str(0, &at);
        self.differences.push(wrong);
        // From here on as the real one is, so that the next difference is another.
        self.make_alike(&map);
    }

    fn simulate(&self, rounds: &[Vec<MonCommand>]) -> Outcome {
        let mut cluster = self.simulated.clone();
        let replies = rounds
            .iter()
            .flat_map(|round| cluster.round(round))
            .collect();
        Outcome { replies, cluster }
    }

    /// The same commands as the monitors may have met them on a busy machine: in the order of
    /// their log, and with a proposal in between.
    async fn broken_up(
        &mut self,
        commands: &[MonCommand],
        replies: &[Reply],
        map: &OsdMap,
    ) -> Option<SimulatedCluster> {
        let order = self.order(commands).await;
        let commands: Vec<_> = order.iter().map(|at| commands[*at].clone()).collect();
        let replies: Vec<_> = order.iter().map(|at| replies[*at].clone()).collect();
        let epochs = map.epoch.0.saturating_sub(self.simulated.epoch().0);
        // An epoch for each part, but for the last one if it changes nothing. A command that
        // came during a proposal waits for the next one, unless the committed map answers it: so
        // one that was sent later may be in an earlier part.
        let parts = usize::try_from(epochs + 1).ok()?.min(MOST_PARTS);
        let size = u32::try_from(commands.len()).ok()?;
        (0..parts.pow(size)).find_map(|choice| {
            let part = |at: usize| choice / parts.pow(u32::try_from(at).unwrap_or(0)) % parts;
            let mut places: Vec<usize> = (0..commands.len()).collect();
            places.sort_by_key(|at| part(*at));
            let mut rounds = vec![Vec::new(); parts];
            for at in &places {
                rounds[part(*at)].push(commands[*at].clone());
            }
            let said: Vec<_> = places.iter().map(|at| replies[*at].clone()).collect();
            let outcome = self.simulate(&rounds);
            compare(&rounds.concat(), &outcome, &said, map)
                .is_empty()
                .then_some(outcome.cluster)
        })
    }

    /// In which order the monitor met commands that were just answered, by its own log, which is
    /// written a little later.
    async fn order(&self, commands: &[MonCommand]) -> Vec<usize> {
        let texts: Vec<String> = commands.iter().map(text).collect();
        let path = self.ceph.dir().join("log/cluster.log");
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = log
                .lines()
                .filter(|line| line.contains("dispatch"))
                .collect();
            let all = |text: &String| {
                lines.iter().filter(|line| line.contains(text)).count() >= self.sent[text]
            };
            if texts.iter().all(all) {
                // From the end, as the same may have been sent before.
                let mut order: Vec<usize> = Vec::new();
                for line in lines.iter().rev() {
                    let of = |at: &usize| !order.contains(at) && line.contains(&texts[*at]);
                    order.extend((0..texts.len()).rev().find(of));
                }
                order.reverse();
                return order;
            }
            if Instant::now() > until {
                println!("the log does not tell the order of {texts:?}");
                return (0..texts.len()).collect();
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A command as it stands in the monitors' log.
fn text(command: &MonCommand) -> String {
    command.to_json().to_string()
}

/// Sends the commands of a round in this order.
async fn send(client: &RadosClient, commands: &[MonCommand]) -> Vec<Reply> {
    let sent = commands.iter().zip(0..).map(async |(command, place)| {
        sleep(APART * place).await;
        client.send(command, DEADLINE).await.expect("a reply")
    });
    join_all(sent).await
}

async fn read(client: &RadosClient) -> OsdMap {
    let newest = MonCommand::OsdGetMap { epoch: None };
    let reply = client.read_after_changes(&newest, DEADLINE).await;
    let (map, _) = binary::decode(&reply.expect("a map").body).expect("a map");
    map
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

/// Thousands of commands, right and wrong, alone and several in a round: both clusters give the
/// same codes, and have the same pools after each round.
#[tokio::test(flavor = "multi_thread")]
async fn simulated_and_real_clusters_agree() {
    let seed = number("POOLWRIGHT_TEST_SEED", SEED);
    let wanted =
        usize::try_from(number("POOLWRIGHT_TEST_COMMANDS", COMMANDS as u64)).expect("a number");
    println!("POOLWRIGHT_TEST_SEED={seed} POOLWRIGHT_TEST_COMMANDS={wanted}");
    let mut dice = Dice::new(seed);
    let mut two = Two::start().await;
    let began = Instant::now();
    let configs = configs();
    for (config, turn) in configs.iter().zip(1..) {
        two.configure(config.clone()).await;
        while two.tally.commands * configs.len() < wanted * turn && two.differences.len() < ENOUGH {
            let many = if dice.once_in(2) {
                1
            } else {
                2 + dice.below(ROUND - 1)
            };
            let commands: Vec<_> = (0..many)
                .map(|_| commands::any(&mut dice, &two.simulated))
                .collect();
            two.round(&commands).await;
        }
    }
    println!("{:?} in {:?}", two.tally, began.elapsed());
    let (differences, tally) = (&two.differences, &two.tally);
    assert!(
        differences.is_empty(),
        "seed {seed}: {} differences\n{}",
        differences.len(),
        differences.join("\n")
    );
    // Or it would say little.
    assert!(
        tally.accepted * 3 > tally.commands && tally.refused * 6 > tally.commands,
        "{tally:?}"
    );
    assert!(tally.broken_up * 4 < tally.together, "{tally:?}");
}
