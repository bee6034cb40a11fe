//! The table against a naive one: a list that is searched from end to end at every step.

use proptest::prelude::*;

use super::*;
use crate::session::IDLE_UNKNOWN;

#[derive(Debug, Clone)]
enum Step {
    Admit { token: usize, viewer: usize, network: usize },
    Touch(usize),
    Resume(usize),
    End(usize),
    Sweep,
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_usize, 0..5_usize, 0..3_usize).prop_map(|(token, viewer, network)| Step::Admit { token, viewer, network }),
        3 => any::<usize>().prop_map(Step::Touch),
        2 => any::<usize>().prop_map(Step::Resume),
        1 => any::<usize>().prop_map(Step::End),
        1 => Just(Step::Sweep),
        3 => (1..70_i64).prop_map(Step::Wait),
    ]
}

fn limits() -> impl Strategy<Value = RouteSessionConfig> {
    let few = || proptest::option::of(1..4_u32);
    let on_full = prop_oneof![Just(OnFull::Refuse), Just(OnFull::EvictOldest), Just(OnFull::Observe)];
    (few(), few(), few(), few(), proptest::option::of(1..9_u32), few(), on_full).prop_map(
        |(token, subject, device, asset, total, networks, on_full)| RouteSessionConfig {
            concurrent_per_token: token,
            concurrent_per_subject: subject,
            concurrent_per_device: device,
            concurrent_per_asset: asset,
            total_per_token: total,
            networks_per_token: networks,
            network_window: crate::units::Period::seconds(100),
            on_full,
            ..RouteSessionConfig::default()
        },
    )
}

const CEILING: usize = 6;
const TOKENS: [&str; 3] = ["t0", "t1", "t2"];
/// Two tokens of one subject; two of one device; all of one asset but the last.
const SUBJECTS: [Option<&str>; 3] = [Some("s0"), Some("s0"), Some("s1")];
const DEVICES: [Option<&str>; 3] = [None, Some("d0"), Some("d0")];
const ASSETS: [Option<&str>; 3] = [Some("v0"), Some("v0"), None];
const VIEWERS: [&str; 5] = ["a", "b", "c", "d", "e"];
const NETWORKS: [&str; 3] = ["192.0.2.1", "198.51.100.1", "203.0.113.1"];
const LIVES: i64 = 1500;

#[derive(Debug, Clone)]
struct Row {
    id: SessionId,
    token: usize,
    viewer: usize,
    network: usize,
    order: usize,
    began: i64,
    seen: i64,
    ended: Option<End>,
}

type Holds = Box<dyn Fn(&Row) -> bool>;

/// The naive table.
struct Model {
    config: RouteSessionConfig,
    rows: Vec<Row>,
    begun: usize,
    totals: [u32; 3],
    networks: [Vec<(usize, i64)>; 3],
}

impl Model {
    fn live(&self) -> Vec<&Row> {
        let mut live: Vec<_> = self.rows.iter().filter(|row| row.ended.is_none()).collect();
        live.sort_by_key(|row| row.order);
        live
    }

    fn sweep(&mut self, now: i64, which: impl Fn(&Row) -> bool) {
        for row in self.rows.iter_mut().filter(|row| row.ended.is_none() && which(row)) {
            if now >= LIVES {
                row.ended = Some(End::Duration);
            } else if now - row.seen > i64::from(IDLE_UNKNOWN) {
                row.ended = Some(End::Idle);
            }
        }
    }

    fn network_is_one_too_many(&self, token: usize, network: usize, now: i64) -> bool {
        let recent: Vec<_> = self.networks[token].iter().filter(|(_, seen)| now - seen < 100).collect();
        let known = recent.iter().any(|(have, _)| *have == network);
        self.config.networks_per_token.is_some_and(|most| !known && recent.len() >= most as usize)
    }

    fn note_network(&mut self, token: usize, network: usize, now: i64) {
        self.networks[token].retain(|(have, seen)| *have != network && now - seen < 100);
        self.networks[token].push((network, now));
    }

    /// Over the limit or not, and who has to end.
    fn admit(&mut self, who: (usize, usize, usize), now: i64, back: Option<usize>) -> Result<(Vec<SessionId>, Option<Limit>, bool), Limit> {
        let (token, _, network) = who;
        let observe = self.config.on_full == OnFull::Observe;
        if now >= LIVES {
            self.rows.iter_mut().filter(|row| row.ended.is_none() && (row.token, row.viewer, row.network) == who).for_each(|row| {
                row.ended = Some(End::Duration);
            });
        }
        if let Some(at) = self.rows.iter().position(|row| row.ended.is_none() && (row.token, row.viewer, row.network) == who) {
            self.rows[at].seen = now;
            let moved = self.rows[at].network != network;
            self.rows[at].network = network;
            let over = moved && self.network_is_one_too_many(token, network, now);
            if moved && (!over || observe) {
                self.note_network(token, network, now);
            }
            return if over && !observe { Err(Limit::Networks) } else { Ok((Vec::new(), over.then_some(Limit::Networks), false)) };
        }
        if now >= LIVES {
            return Err(Limit::Duration);
        }
        match self.take(who, now, back, observe) {
            Err(Limit::Ceiling) => {
                self.sweep(now, |_| true);
                self.take(who, now, back, observe)
            }
            other => other,
        }
    }

    fn take(
        &mut self,
        (token, viewer, network): (usize, usize, usize),
        now: i64,
        back: Option<usize>,
        observe: bool,
    ) -> Result<(Vec<SessionId>, Option<Limit>, bool), Limit> {
        let config = self.config.clone();
        let (mut out, mut over): (Vec<usize>, Option<Limit>) = (Vec::new(), None);
        let mut meet = |limit| {
            if observe {
                over.get_or_insert(limit);
                Ok(())
            } else {
                Err(limit)
            }
        };
        let same = |list: [Option<&'static str>; 3]| move |row: &Row| list[token].is_some() && list[row.token] == list[token];
        let kinds: [(Option<u32>, Limit, Holds); 4] = [
            (config.concurrent_per_token, Limit::ConcurrentToken, Box::new(move |row| row.token == token)),
            (config.concurrent_per_subject, Limit::ConcurrentSubject, Box::new(same(SUBJECTS))),
            (config.concurrent_per_device, Limit::ConcurrentDevice, Box::new(same(DEVICES))),
            (config.concurrent_per_asset, Limit::ConcurrentAsset, Box::new(same(ASSETS))),
        ];
        for (most, limit, holds) in kinds {
            let Some(most) = most.filter(|_| limit != Limit::ConcurrentSubject || SUBJECTS[token].is_some()) else { continue };
            if limit == Limit::ConcurrentDevice && DEVICES[token].is_none() || limit == Limit::ConcurrentAsset && ASSETS[token].is_none() {
                continue;
            }
            let holders = |model: &Self, out: &[usize]| -> Vec<Row> {
                model.live().into_iter().filter(|row| holds(row) && !out.contains(&row.order)).cloned().collect()
            };
            if holders(self, &out).len() < most as usize {
                continue;
            }
            self.sweep(now, &holds);
            while holders(self, &out).len() >= most as usize {
                let left = holders(self, &out);
                // All viewers here have one program: a device's, or a playback's, sessions on the same token are it come back.
                let own = left.iter().find(|row| row.token == token && (DEVICES[token].is_some() || row.viewer == viewer));
                let oldest = left.first().filter(|_| config.on_full == OnFull::EvictOldest);
                match own.or(oldest) {
                    Some(row) => out.push(row.order),
                    None => {
                        meet(limit)?;
                        break;
                    }
                }
            }
        }
        if config.total_per_token.is_some_and(|most| back.is_none() && self.totals[token] >= most) {
            meet(Limit::TotalToken)?;
        }
        if self.network_is_one_too_many(token, network, now) {
            meet(Limit::Networks)?;
        }
        if self.live().len() - self.rows.iter().filter(|row| row.ended.is_none() && out.contains(&row.order)).count() >= CEILING {
            return Err(Limit::Ceiling);
        }
        let mut evicted = Vec::new();
        for order in out {
            for row in self.rows.iter_mut().filter(|row| row.order == order && row.ended.is_none()) {
                row.ended = Some(if row.token == token && (DEVICES[token].is_some() || row.viewer == viewer) {
                    End::Replaced
                } else {
                    End::Evicted
                });
                evicted.push(row.id);
            }
        }
        if config.total_per_token.is_some() || config.networks_per_token.is_some() {
            self.totals[token] += u32::from(back.is_none());
            self.note_network(token, network, now);
        }
        self.begun += 1;
        let row = Row { id: SessionId::from_bytes([0; 16]), token, viewer, network, order: self.begun, began: now, seen: now, ended: None };
        match back {
            Some(at) => self.rows[at] = Row { id: self.rows[at].id, began: self.rows[at].began, ..row },
            None => self.rows.push(row),
        }
        Ok((evicted, over, true))
    }
}

fn whole(token: usize, viewer: usize, network: usize) -> Who<'static> {
    Who {
        token: TOKENS[token],
        viewer: VIEWERS[viewer],
        network: NETWORKS[network],
        device: DEVICES[token],
        subject: SUBJECTS[token],
        asset: ASSETS[token],
    }
}

fn network_key(network: usize) -> Key {
    Key::network(NETWORKS[network].parse().expect("ip"), 24, 56)
}

/// One step on both; they must answer alike.
fn walk(table: &Sessions, model: &mut Model, step: &Step, now: &mut i64) -> Result<(), TestCaseError> {
    let at = |n: usize, model: &Model| (!model.rows.is_empty()).then(|| n % model.rows.len());
    // Only so many ended sessions are kept; what is forgotten cannot come back.
    if let Step::Touch(n) | Step::Resume(n) | Step::End(n) = *step
        && let Some(row) = at(n, model).map(|at| &model.rows[at])
        && table.get(row.id).is_none()
    {
        prop_assert!(row.ended.is_some());
        prop_assert_eq!(table.touch(row.id, NOW.plus(*now), 0).err(), Some(Gone::Unknown));
        prop_assert_eq!(table.resume(row.id, NOW.plus(*now), network_key(0)).err(), Some(Gone::Unknown.into()));
        return Ok(());
    }
    match *step {
        Step::Wait(seconds) => *now += seconds,
        Step::Sweep => {
            table.sweep(NOW.plus(*now));
            model.sweep(*now, |_| true);
        }
        Step::Admit { token, viewer, network } => {
            let real = table.admit(&ask_with(&model.config, whole(token, viewer, network), *now, SessionTerms::default(), LIVES));
            let naive = model.admit((token, viewer, network), *now, None);
            same(model, real.map_err(|refusal| refusal.limit), naive)?;
        }
        Step::Resume(n) => {
            let Some(at) = at(n, model) else { return Ok(()) };
            let row = model.rows[at].clone();
            let real = table.resume(row.id, NOW.plus(*now), network_key(row.network));
            match (row.ended, &real) {
                _ if *now >= LIVES => prop_assert!(matches!(real, Err(ResumeFault::Gone(_)))),
                (None | Some(End::Idle), _) => {
                    let naive = model.admit((row.token, row.viewer, row.network), *now, Some(at));
                    let real = real.map_err(|fault| match fault {
                        ResumeFault::Refused(refusal) => refusal.limit,
                        ResumeFault::Gone(gone) => panic!("{gone:?}"),
                    });
                    same(model, real, naive)?;
                }
                (Some(end), _) => prop_assert_eq!(real.err(), Some(Gone::Ended(end).into())),
            }
        }
        Step::Touch(n) => {
            let Some(at) = at(n, model) else { return Ok(()) };
            let real = table.touch(model.rows[at].id, NOW.plus(*now), 0).err();
            match model.rows[at].ended {
                _ if *now >= LIVES => prop_assert!(real.is_some()),
                Some(end) => prop_assert_eq!(real, Some(Gone::Ended(end))),
                None => {
                    prop_assert_eq!(real, None);
                    model.rows[at].seen = *now;
                }
            }
        }
        Step::End(n) => {
            let Some(at) = at(n, model) else { return Ok(()) };
            let real = table.end(model.rows[at].id, End::Closed, NOW.plus(*now));
            prop_assert_eq!(real.is_some(), model.rows[at].ended.is_none());
            if matches!(model.rows[at].ended, None | Some(End::Idle)) {
                model.rows[at].ended = Some(End::Closed);
            }
        }
    }
    Ok(())
}

fn same(
    model: &mut Model,
    real: Result<Admission, Limit>,
    naive: Result<(Vec<SessionId>, Option<Limit>, bool), Limit>,
) -> Result<(), TestCaseError> {
    if let (Ok(admission), Ok((_, _, true))) = (&real, &naive) {
        let began = model.begun;
        let row = model.rows.iter_mut().find(|row| row.order == began).expect("the row that began");
        row.id = admission.session.id;
    }
    prop_assert_eq!(real.map(|admission| (admission.evicted, admission.over, admission.fresh)), naive);
    Ok(())
}

proptest! {
    #[test]
    fn the_table_is_the_naive_one(config in limits(), steps in proptest::collection::vec(step(), 1..80)) {
        let (table, metrics) = table(CEILING);
        let mut model = Model { config, rows: Vec::new(), begun: 0, totals: [0; 3], networks: Default::default() };
        let mut now = 0;
        for step in &steps {
            walk(&table, &mut model, step, &mut now)?;
            prop_assert_eq!(table.len(), model.live().len());
            prop_assert_eq!(metrics.sessions_active.with_label_values(&["vod"]).get(), model.live().len() as i64);
            let (mut real, mut naive): (Vec<_>, Vec<_>) =
                (table.0.shards.select(|s| s.ended().is_none()).iter().map(|s| s.id).collect(), model.live().iter().map(|row| row.id).collect());
            real.sort();
            naive.sort();
            prop_assert_eq!(real, naive);
        }
        // Nothing is left of sessions that ended.
        for row in model.live() {
            table.end(row.id, End::Closed, NOW.plus(now));
        }
        prop_assert!(table.book().holds_no_place());
    }
}
