//! The shared store on Valkey or Redis.
//!
//! Every operation is one script, so each is atomic over the fleet. All keys carry one hash tag: on a cluster they lie on one node.
//! That is the price of deciding over token, subject, device and asset at once: one fleet has one node's rate (about ten
//! thousand admissions per second on two busy cores), and a cluster serves for taking over, not for more speed. Fleets that must share no
//! node take different prefixes. Segments do not come here.
//!
//! # Whose time
//! Silence is told by the store's clock; gateways send how long ago something was, not when. So gateways whose
//! clocks differ do not end each other's sessions. Only a manual clock (tests) rules the store too.
//!
//! # What it gets to know
//! No token and no ticket. It keeps what tokens allow (subject, asset, bindings, parameters for the origin), so that a gateway that sees only
//! a ticket can check it: give it TLS and a password.
//!
//! # What the server must be
//! Redis 6.2 or later, or Valkey; `maxmemory-policy noeviction`, because a store that forgets lets in too many. Its user needs
//! `~{prefix}* &{prefix}bell` and the commands `+@read +@write +@scripting +@connection +time +publish +subscribe`, on a cluster
//! `+cluster|slots` too. Without the channel nothing is pushed, and polling alone carries changes.
//! Without persistence a restart forgets; gateways then tell it of their sessions and revocations again. Totals of
//! tokens are lost then but for sessions that live.

mod places;

use std::pin::pin;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use serde::Serialize;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::store::{Answer, AskRecord, Change, Pending, Renewal, Renewed, SharedStore, StoreFault};
use super::{End, Key, Limit, OnFull, SessionId, ValkeyStoreConfig};
use crate::clock::{Clock, UnixTime};
use crate::revocation::Revocation;
use crate::store::valkey::{self, Bell, Link, Place};

const SCRIPT: &str = include_str!("valkey/store.lua");
/// Sessions of one call, so that no call holds the others up for long.
const BATCH: usize = 256;
/// Numbers are doubles in the script: times and sizes beyond this are as good as endless.
const ENDLESS: i64 = 1 << 50;

/// The store. Connects when it is first asked.
pub struct ValkeyStore {
    link: Link,
    base: String,
    clock: Clock,
    /// Longest wait of a viewer.
    timeout: Duration,
    /// Longest wait of what no viewer waits for.
    longest: Duration,
    poll_every: Duration,
    reader: Mutex<Reader>,
}

/// How far the log was read.
#[derive(Default)]
struct Reader {
    epoch: String,
    cursor: i64,
    bell: Option<Bell>,
}

impl ValkeyStore {
    /// The store that `config` says. Does not wait for it.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &ValkeyStoreConfig, place: Place<'_>, clock: &Clock) -> Result<Self, String> {
        Ok(Self {
            link: Link::new(config, place, SCRIPT)?,
            base: valkey::base(config),
            clock: clock.clone(),
            timeout: config.timeout.0,
            longest: valkey::longest(config),
            poll_every: config.poll_every.0,
            reader: Mutex::default(),
        })
    }

    async fn call<T: redis::FromRedisValue>(&self, word: &str, argument: &impl Serialize, timeout: Duration) -> Result<T, StoreFault> {
        let argument = serde_json::to_string(argument).map_err(|e| StoreFault::Odd(e.to_string()))?;
        let rules = if matches!(self.clock, Clock::Manual(_)) { "1" } else { "0" };
        let now = self.clock.now().to_string();
        let arguments = [word, &now, rules, &argument].map(str::as_bytes);
        self.link.run(&self.base, &arguments, timeout).await
    }

    async fn read(&self, reader: &mut Reader) -> Result<Vec<Change>, StoreFault> {
        let ask = ReadAsk { epoch: &reader.epoch, cursor: reader.cursor, fresh: Uuid::new_v4().simple().to_string() };
        let (epoch, cursor, fault, texts): (String, i64, String, Vec<String>) = self.call("read", &ask, self.longest).await?;
        let first = reader.epoch.is_empty();
        (reader.epoch, reader.cursor) = (epoch, cursor);
        match fault.as_str() {
            "lost" if !first => Ok(vec![Change::Lost]),
            "" => texts.iter().map(|text| serde_json::from_str(text).map_err(|e| StoreFault::Odd(e.to_string()))).collect(),
            _ => Ok(vec![Change::Gap]),
        }
    }

    async fn follow(&self) -> Result<Vec<Change>, StoreFault> {
        let mut reader = self.reader.lock().await;
        if reader.bell.is_none() {
            // Before the log is read, so that nothing falls between. Without it, polling finds all there is.
            reader.bell = self.link.listen(&format!("{}bell", self.base)).await.ok();
        }
        let read = self.read(&mut reader).await;
        match read {
            Ok(changes) if changes.is_empty() => {}
            Err(fault) => {
                reader.bell = None;
                return Err(fault);
            }
            found => return found,
        }
        let rung = match reader.bell.as_mut() {
            Some(bell) => tokio::time::timeout(self.poll_every, pin!(bell.next())).await,
            None => {
                tokio::time::sleep(self.poll_every).await;
                return self.read(&mut reader).await;
            }
        };
        if matches!(rung, Ok(None)) {
            reader.bell = None;
        }
        // One read answers to all that rang.
        while reader.bell.as_mut().is_some_and(|bell| bell.next().now_or_never().flatten().is_some()) {}
        self.read(&mut reader).await
    }

    async fn all_revocations(&self) -> Result<Vec<Revocation>, StoreFault> {
        let mut found = Vec::new();
        let mut cursor = String::from("0");
        loop {
            let mut command = redis::cmd("HSCAN");
            command.arg(format!("{}r", self.base)).arg(&cursor).arg("COUNT").arg(1000);
            let (next, entries): (String, Vec<(String, String)>) = self.link.ask(&command, self.longest).await?;
            for (_, text) in entries {
                found.push(serde_json::from_str(&text).map_err(|e| StoreFault::Odd(e.to_string()))?);
            }
            if next == "0" {
                return Ok(found);
            }
            cursor = next;
        }
    }
}

impl SharedStore for ValkeyStore {
    fn admit(&self, ask: AskRecord) -> Pending<'_, Answer> {
        Box::pin(async move {
            let answer: (String, String, u8, String, Vec<String>) = self.call("admit", &ScriptAsk::of(&ask, 0)?, self.timeout).await?;
            match answer {
                (word, limit, ..) if word == "no" => Ok(Answer::Refused { limit: limit_of(&limit)? }),
                // What was ended for good does not come back.
                (word, ..) if word == "gone" => Ok(Answer::Refused { limit: Limit::Duration }),
                (_, id, fresh, over, evicted) => Ok(Answer::Admitted {
                    id: id_of(&id)?,
                    fresh: fresh == 1,
                    evicted: ends_of(&evicted)?,
                    over: if over.is_empty() { None } else { Some(limit_of(&over)?) },
                }),
            }
        })
    }

    fn find(&self, id: SessionId) -> Pending<'_, Option<AskRecord>> {
        Box::pin(async move {
            let found: Vec<String> = self.call("find", &FindAsk { id }, self.timeout).await?;
            let [text, bytes, idle] = found.as_slice() else { return Ok(None) };
            if text.is_empty() {
                return Ok(None);
            }
            let mut record: AskRecord = serde_json::from_str(text).map_err(|e| StoreFault::Odd(e.to_string()))?;
            record.bytes = bytes.parse().unwrap_or(record.bytes);
            record.terms.idle = idle.parse().unwrap_or(record.terms.idle);
            record.resumes = true;
            Ok(Some(record))
        })
    }

    fn renew(&self, alive: Vec<Renewal>) -> Pending<'_, Renewed> {
        Box::pin(async move {
            let now = self.clock.now();
            let mut renewed = Renewed::default();
            // An empty batch is sent too: it shows whether the store is there.
            let batches: Vec<&[Renewal]> = if alive.is_empty() { vec![&[]] } else { alive.chunks(BATCH).collect() };
            for batch in batches {
                let alive = batch.iter().map(|one| (one.id, now.since(one.last_seen).max(0), one.idle, bounded(one.bytes))).collect();
                let (ended, lost): (Vec<String>, Vec<String>) = self.call("renew", &RenewAsk { alive }, self.longest).await?;
                renewed.ended.extend(ends_of(&ended)?);
                for id in lost {
                    renewed.lost.push(id_of(&id)?);
                }
            }
            Ok(renewed)
        })
    }

    fn reclaim(&self, held: Vec<AskRecord>) -> Pending<'_, Vec<(SessionId, End)>> {
        Box::pin(async move {
            let now = self.clock.now();
            let mut ended = Vec::new();
            for batch in held.chunks(BATCH) {
                let list = batch.iter().map(|ask| ScriptAsk::of(ask, now.since(ask.now).max(0))).collect::<Result<Vec<_>, _>>()?;
                ended.extend(ends_of(&self.call::<Vec<String>>("reclaim", &List { list }, self.longest).await?)?);
            }
            Ok(ended)
        })
    }

    fn end(&self, ended: Vec<(SessionId, End)>) -> Pending<'_, ()> {
        Box::pin(async move {
            for batch in ended.chunks(BATCH) {
                let list = batch.iter().map(|(id, end)| (*id, end.word())).collect();
                let _: u8 = self.call("end", &List { list }, self.longest).await?;
            }
            Ok(())
        })
    }

    fn revoke(&self, revocation: Revocation) -> Pending<'_, ()> {
        self.revoke_all(vec![revocation])
    }

    fn revoke_all(&self, revocations: Vec<Revocation>) -> Pending<'_, ()> {
        Box::pin(async move {
            for batch in revocations.chunks(BATCH) {
                let list = batch
                    .iter()
                    .map(|one| Ok((json(&one.target)?, json(one)?, held(one.until))))
                    .collect::<Result<Vec<_>, StoreFault>>()?;
                let _: u8 = self.call("revoke", &List { list }, self.longest).await?;
            }
            Ok(())
        })
    }

    fn restore(&self, revocation: Revocation) -> Pending<'_, ()> {
        Box::pin(async move {
            let ask = RestoreAsk { key: json(&revocation.target)?, text: json(&revocation)? };
            self.call::<u8>("restore", &ask, self.longest).await.map(drop)
        })
    }

    fn revocations(&self) -> Pending<'_, Vec<Revocation>> {
        Box::pin(self.all_revocations())
    }

    fn changes(&self) -> Pending<'_, Vec<Change>> {
        Box::pin(self.follow())
    }
}

#[derive(Serialize)]
struct ReadAsk<'r> {
    epoch: &'r str,
    cursor: i64,
    fresh: String,
}

#[derive(Serialize)]
struct FindAsk {
    id: SessionId,
}

#[derive(Serialize)]
struct RenewAsk {
    alive: Vec<(SessionId, i64, u32, i64)>,
}

#[derive(Serialize)]
struct RestoreAsk {
    key: String,
    text: String,
}

#[derive(Serialize)]
struct List<T> {
    list: Vec<T>,
}

/// What the script decides by. Field names are the script's.
#[derive(Serialize)]
struct ScriptAsk {
    id: SessionId,
    resumes: bool,
    /// Seconds since the last request.
    age: i64,
    ends: i64,
    /// The end of what is counted of its token.
    till: i64,
    t: String,
    u: String,
    d: String,
    a: String,
    /// The same device again.
    y: String,
    /// The viewer on his route.
    v: String,
    network: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_token: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_subject: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_device: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_asset: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    networks: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    most_bytes: Option<i64>,
    window: u32,
    on_full: OnFull,
    idle: u32,
    bytes: i64,
    /// For another gateway that takes the session in; empty where its grant cannot be written down, and then none can.
    rec: String,
}

impl ScriptAsk {
    fn of(ask: &AskRecord, age: i64) -> Result<Self, StoreFault> {
        let hex_or_none = |key: Option<Key>| key.map(hex).unwrap_or_default();
        let terms = &ask.terms;
        Ok(Self {
            id: ask.id,
            resumes: ask.resumes,
            age,
            ends: held(ask.ends),
            till: held(ask.grant.window.until.plus(i64::from(terms.outlive))),
            t: hex(ask.keys.token),
            u: hex_or_none(ask.keys.subject),
            d: hex_or_none(ask.keys.device),
            a: hex_or_none(ask.keys.asset),
            y: hex_or_none(ask.viewer.device),
            v: format!("{}:{}", ask.route, hex(ask.viewer.key)),
            // As much as a gateway keeps of a network, so that a session it hands back is in the same one.
            network: format!("{:016x}", super::head(ask.network)),
            per_token: terms.per_token,
            per_subject: terms.per_subject,
            per_device: terms.per_device,
            per_asset: terms.per_asset,
            total: terms.total,
            networks: terms.networks,
            most_bytes: terms.bytes.map(bounded),
            window: terms.network_window,
            on_full: terms.on_full,
            idle: terms.idle,
            bytes: bounded(ask.bytes),
            rec: if ask.grant.can_be_written() { json(ask)? } else { String::new() },
        })
    }
}

fn hex(key: Key) -> String {
    format!("{:032x}", u128::from_be_bytes(key.0))
}

fn held(time: UnixTime) -> i64 {
    time.0.clamp(-ENDLESS, ENDLESS)
}

fn bounded(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX).min(ENDLESS)
}

fn json(value: &impl Serialize) -> Result<String, StoreFault> {
    serde_json::to_string(value).map_err(|e| StoreFault::Odd(e.to_string()))
}

fn id_of(text: &str) -> Result<SessionId, StoreFault> {
    SessionId::parse(text).ok_or_else(|| StoreFault::Odd(format!("{text:?} is not a session's id")))
}

fn limit_of(word: &str) -> Result<Limit, StoreFault> {
    Limit::ALL.into_iter().find(|limit| limit.word() == word).ok_or_else(|| StoreFault::Odd(format!("{word:?} is not a limit")))
}

/// Ids and how each ended, in turns.
fn ends_of(texts: &[String]) -> Result<Vec<(SessionId, End)>, StoreFault> {
    let end = |word: &str| End::ALL.into_iter().find(|end| end.word() == word);
    let pair = |pair: &[String]| match pair {
        [id, word] => Ok((id_of(id)?, end(word).ok_or_else(|| StoreFault::Odd(format!("{word:?} is not an end")))?)),
        _ => Err(StoreFault::Odd("an id without an end".into())),
    };
    texts.chunks(2).map(pair).collect()
}

impl std::fmt::Debug for ValkeyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ValkeyStore").field("base", &self.base).finish_non_exhaustive()
    }
}
