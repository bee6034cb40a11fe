//! What is said to the store and read out of its answers: bytes in, records out.

use std::time::Duration;

use redis::{FromRedisValue, Value};
use uuid::Uuid;

use super::super::book::{Place, sortable, unsortable};
use super::super::seal::Seal;
use super::super::{Batch, Claim, Cursor, Fault, Kind, Listing, Op, Order, Page, Record, SCHEMA, Start};
use crate::clock::Clock;
use crate::store::valkey::{Bell, GOOD, Link, LinkFault, Place as Around, ValkeyStoreConfig, base, longest, millis};

const SCRIPT: &str = include_str!("ledger.lua");
const HEAD: usize = 32;
/// What shows that a key fits.
const CHECK: &[u8] = b"tollgate ledger";
/// Records of a walk's step, about.
const STEP: usize = 1000;

/// The store, as the ledger speaks to it.
pub(super) struct Wire {
    link: Link,
    base: String,
    clock: Clock,
    pub(super) seal: std::sync::Arc<Seal>,
    /// Longest wait of a viewer.
    pub(super) timeout: Duration,
    longest: Duration,
}

/// What is asked in one turn.
pub(super) enum Part<'a> {
    /// Changes, all or none.
    Batch(&'a Batch),
    /// The record at a place.
    Get(Place),
    /// Takes away what is over: so many at most.
    Sweep(usize),
    /// How many records there are of each kind.
    Counts,
}

/// How far the log was read.
#[derive(Default)]
pub(super) struct Reader {
    epoch: String,
    cursor: i64,
}

impl Reader {
    /// The number of the last change that was read.
    pub(super) const fn cursor(&self) -> i64 {
        self.cursor
    }
}

/// A change that the log tells of.
pub(super) struct Told {
    pub(super) place: Place,
    pub(super) record: Record,
    pub(super) is_gone: bool,
    /// Whether it was made in this very turn.
    pub(super) ours: bool,
}

/// What the log tells since the last turn.
pub(super) enum News {
    /// These changes, in their order.
    Changes(Vec<Result<Told, Fault>>),
    /// More than it holds, or another store: what was remembered may be wrong.
    Unknown,
}

/// The answer to a turn.
pub(super) struct Turn {
    pub(super) news: News,
    /// Whether the store begins anew: nothing of what it was told before is there.
    pub(super) is_new: bool,
    answers: std::vec::IntoIter<Value>,
}

type Said = (String, i64, i64, String, Vec<Vec<Vec<u8>>>, Vec<Value>);

impl Wire {
    pub(super) fn new(config: &ValkeyStoreConfig, around: Around<'_>, clock: &Clock, seal: std::sync::Arc<Seal>) -> Result<Self, String> {
        Ok(Self {
            link: Link::new(config, around, SCRIPT)?,
            base: format!("{}ledger:", base(config)),
            clock: clock.clone(),
            seal,
            timeout: config.timeout.0,
            longest: longest(config),
        })
    }

    pub(super) async fn listen(&self) -> Option<Bell> {
        self.link.listen(&format!("{}bell", self.base)).await.ok()
    }

    async fn call<T: FromRedisValue>(&self, word: &str, arguments: &[Vec<u8>]) -> Result<T, Fault> {
        self.call_within(self.longest, word, arguments).await
    }

    async fn call_within<T: FromRedisValue>(&self, timeout: Duration, word: &str, arguments: &[Vec<u8>]) -> Result<T, Fault> {
        let now = self.clock.now().to_string();
        let rules = if matches!(self.clock, Clock::Manual(_)) { "1" } else { "0" };
        let all: Vec<&[u8]> = [word, &now, rules].into_iter().map(str::as_bytes).chain(arguments.iter().map(Vec::as_slice)).collect();
        self.link.run(&self.base, &all, timeout).await.map_err(fault)
    }

    /// Sees that layout and key fit, and sets them in an empty store. An earlier layout is raised to this version's.
    pub(super) async fn settle(&self) -> Result<(), Fault> {
        let check = self.seal.seal_bytes(CHECK.to_vec(), b"check")?;
        let (schema, check): (String, Vec<u8>) = self.call("settle", &[SCHEMA.to_string().into_bytes(), check]).await?;
        let found = schema.parse().unwrap_or(u64::MAX);
        if !(1..=SCHEMA).contains(&found) {
            return Err(Fault::Schema { found });
        }
        self.seal.open_bytes(&check, b"check").map_err(|_| Fault::WrongKey)?;
        if found < SCHEMA {
            tracing::info!("the shared ledger's layout is raised from {found} to {SCHEMA}: earlier versions cannot open it any more");
            self.call::<()>("raise", &[SCHEMA.to_string().into_bytes()]).await?;
        }
        Ok(())
    }

    /// Asks for all parts at once, and for what happened since `reader` read last.
    pub(super) async fn turn(&self, parts: &[Part<'_>], reader: &mut Reader) -> Result<Turn, Fault> {
        let fresh = Uuid::new_v4().simple().to_string();
        let mut arguments = vec![reader.epoch.clone().into_bytes(), reader.cursor.to_string().into_bytes(), fresh.into_bytes()];
        parts.iter().try_for_each(|part| self.write(part, &mut arguments))?;
        let (epoch, before, seq, state, entries, answers): Said = self.call("turn", &arguments).await?;
        let is_new = state == "lost";
        let news = if state.is_empty() {
            let first = seq - i64::try_from(entries.len()).unwrap_or(seq);
            News::Changes((first + 1..).zip(entries).map(|(at, entry)| self.told(&entry, at > before)).collect())
        } else {
            News::Unknown
        };
        (reader.epoch, reader.cursor) = (epoch, seq);
        Ok(Turn { news, is_new, answers: answers.into_iter() })
    }

    fn write(&self, part: &Part<'_>, arguments: &mut Vec<Vec<u8>>) -> Result<(), Fault> {
        match part {
            Part::Batch(batch) => {
                arguments.extend([b"batch".to_vec(), batch.ops.len().to_string().into_bytes()]);
                batch.ops.iter().try_for_each(|op| self.write_op(op, arguments))?;
            }
            Part::Get(place) => arguments.extend([b"get".to_vec(), place.0.to_vec()]),
            Part::Sweep(most) => {
                arguments.extend([b"sweep".to_vec(), most.to_string().into_bytes(), Kind::FOLLOWED.map(|kind| kind as u8).to_vec()]);
            }
            Part::Counts => arguments.extend([b"counts".to_vec(), Kind::ALL.map(|kind| kind as u8).to_vec()]),
        }
        Ok(())
    }

    fn write_op(&self, op: &Op, arguments: &mut Vec<Vec<u8>>) -> Result<(), Fault> {
        let (word, record) = match op {
            Op::Create(record) => ("create", record),
            Op::Put(record) => ("put", record),
            Op::Replace(record) => ("replace", record),
            Op::Delete { kind, id, account } => {
                let account = account.as_ref().map(|account| self.seal.account(account).to_vec());
                let place = self.seal.place(*kind, id).0.to_vec();
                arguments.extend([b"delete".to_vec(), place, account.unwrap_or_default(), told(*kind)]);
                return Ok(());
            }
        };
        let place = self.seal.place(record.kind(), &record.id);
        let most = record.kind().most().map(|most| most.to_string().into_bytes()).unwrap_or_default();
        arguments.extend([word.as_bytes().to_vec(), place.0.to_vec(), self.seal.account(&record.account).to_vec(), told(record.kind())]);
        arguments.extend([sortable(record.created.0).to_vec(), sortable(record.expires.0).to_vec(), most]);
        arguments.push(self.seal.seal(record, &place)?);
        Ok(())
    }

    fn told(&self, entry: &[Vec<u8>], ours: bool) -> Result<Told, Fault> {
        let [_, place, word, value] = entry else { return Err(odd("a change is cut short")) };
        let place = place_of(place)?;
        let record = self.open(&place, value)?.ok_or_else(|| odd("a change says nothing"))?;
        Ok(Told { place, record, is_gone: *word == b"o", ours })
    }

    /// The record of a value; `None` for an empty one.
    fn open(&self, place: &Place, value: &[u8]) -> Result<Option<Record>, Fault> {
        if value.is_empty() {
            return Ok(None);
        }
        let sealed = value.get(HEAD..).ok_or_else(|| odd("a record is cut short"))?;
        self.seal.open(sealed, place).map(Some)
    }

    /// A page of what is there.
    pub(super) async fn list(&self, listing: &Listing) -> Result<Page, Fault> {
        let word = match listing.order {
            Order::Created => 'c',
            Order::Expiry => 'x',
        };
        let mut index = format!("{word}:{}:", listing.kind as u8).into_bytes();
        index.extend(self.seal.account(&listing.account));
        let (word, from) = match listing.start {
            Start::Offset(skip) => ("offset", skip.to_string().into_bytes()),
            Start::After(cursor) => ("after", [sortable(cursor.time), cursor.number.to_be_bytes()].concat()),
        };
        // One more than the page has, so that it is known whether there is a next one.
        let most = listing.limit.saturating_add(1).to_string();
        let down = if listing.descending { "1" } else { "0" };
        let arguments = [index, down.into(), word.into(), from, most.into_bytes()];
        let said: Vec<Value> = self.call("list", &arguments).await?;
        let (total, entries) = said.split_first().ok_or_else(|| odd("a page says nothing"))?;
        let mut page = Page { records: Vec::new(), total: read(total.clone())?, next: None };
        let mut last = None;
        for (index, entry) in entries.chunks_exact(2).enumerate() {
            if index == listing.limit {
                page.next = last;
                break;
            }
            let (member, value): (Vec<u8>, Vec<u8>) = (read(entry[0].clone())?, read(entry[1].clone())?);
            let (cursor, place) = member_of(&member)?;
            last = Some(cursor);
            page.records.extend(self.open(&place, &value)?);
        }
        Ok(page)
    }

    /// A step of a walk over the records of a kind, and where the next one begins; some may come twice.
    pub(super) async fn walk(&self, kind: Kind, from: u64) -> Result<(Vec<Record>, u64), Fault> {
        let mut command = redis::cmd("HSCAN");
        command.arg(format!("{}r:{}", self.base, kind as u8)).arg(from).arg("COUNT").arg(STEP);
        let (next, entries): (u64, Vec<(Vec<u8>, Vec<u8>)>) = self.link.ask(&command, self.longest).await.map_err(fault)?;
        let records = entries.iter().map(|(place, value)| self.open(&place_of(place)?, value)).collect::<Result<Vec<_>, Fault>>()?;
        Ok((records.into_iter().flatten().collect(), next))
    }

    /// Notes a use; false when there is none left.
    pub(super) async fn claim(&self, claim: &Claim) -> Result<bool, Fault> {
        let Claim { name, life, among } = claim;
        let Some((who, most)) = among else {
            let key = format!("{}once:{name}", self.base);
            return self.link.claim_once(&key, *life, self.timeout).await.map_err(fault);
        };
        let life = millis(life.unwrap_or(GOOD)).to_string();
        let arguments = [name, who, &most.to_string(), &life].map(|text| text.clone().into_bytes());
        self.call_within::<u8>(self.timeout, "claim", &arguments).await.map(|said| said == 1)
    }
}

impl Turn {
    fn next<T: FromRedisValue>(&mut self) -> Result<T, Fault> {
        read(self.answers.next().ok_or_else(|| odd("an answer is missing"))?)
    }

    /// The answer to a batch: for each change what it replaced or took away, or why none was made.
    pub(super) fn batch(&mut self, wire: &Wire, batch: &Batch) -> Result<Vec<Option<Record>>, Fault> {
        let said: Vec<Vec<u8>> = self.next()?;
        let (word, before) = said.split_first().ok_or_else(|| odd("a batch got no answer"))?;
        match word.as_slice() {
            b"ok" => batch.ops.iter().zip(before).map(|(op, value)| wire.open(&op.place(&wire.seal), value)).collect(),
            b"exists" => Err(Fault::Exists),
            b"missing" => Err(Fault::Missing),
            b"full" => Err(Fault::Full),
            _ => Err(odd("a batch got an answer of another kind")),
        }
    }

    pub(super) fn get(&mut self, wire: &Wire, place: &Place) -> Result<Option<Record>, Fault> {
        let value: Vec<u8> = self.next()?;
        wire.open(place, &value)
    }

    pub(super) fn number(&mut self) -> Result<u64, Fault> {
        self.next()
    }

    pub(super) fn counts(&mut self) -> Result<Vec<(Kind, u64)>, Fault> {
        Ok(Kind::ALL.into_iter().zip(self.next::<Vec<u64>>()?).collect())
    }
}

fn told(kind: Kind) -> Vec<u8> {
    // Nobody looks for what was done by its id, and there is as much of it as of everything else.
    if kind == Kind::Audit { b"0".to_vec() } else { b"1".to_vec() }
}

fn place_of(bytes: &[u8]) -> Result<Place, Fault> {
    bytes.try_into().map(Place).map_err(|_| odd("a place has another length"))
}

fn member_of(member: &[u8]) -> Result<(Cursor, Place), Fault> {
    let (time, rest) = member.split_first_chunk::<8>().ok_or_else(|| odd("an index entry is cut short"))?;
    let (number, place) = rest.split_first_chunk::<8>().ok_or_else(|| odd("an index entry is cut short"))?;
    Ok((Cursor { time: unsortable(*time), number: u64::from_be_bytes(*number) }, place_of(place)?))
}

fn read<T: FromRedisValue>(value: Value) -> Result<T, Fault> {
    T::from_redis_value(value).map_err(|e| odd(&e.to_string()))
}

fn odd(what: &str) -> Fault {
    Fault::Broken(format!("the shared store: {what}"))
}

fn fault(fault: LinkFault) -> Fault {
    match fault {
        LinkFault::Away(why) => Fault::Away(why),
        LinkFault::Odd(why) => odd(&why),
    }
}
