//! The file: records, the orders they are listed in, and when they are gone.
//!
//! Every change of a batch, with its entries in all indexes and counts, is in one transaction: after
//! a crash all of a batch is there or nothing of it. A page is read from its place in an index, so
//! that listing a million records needs the memory of one page.

mod file;

use std::path::Path;

use redb::{Database, ReadTransaction, ReadableDatabase as _, ReadableTable, Table, TableDefinition, WriteTransaction};

use self::file::File;
use super::layout::SCHEMA;
use super::record::{Account, Kind, Record};
use super::seal::Seal;
use super::{Batch, Fault, Op};
use crate::clock::UnixTime;

/// Where a record lies: its kind, and a MAC of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place(pub(super) [u8; 17]);

type Bytes = &'static [u8];

const META: TableDefinition<'_, &str, Bytes> = TableDefinition::new("meta");
const RECORDS: TableDefinition<'_, [u8; 17], Bytes> = TableDefinition::new("records");
const BY_CREATED: TableDefinition<'_, [u8; 25], [u8; 17]> = TableDefinition::new("by_created");
const BY_EXPIRY: TableDefinition<'_, [u8; 25], [u8; 17]> = TableDefinition::new("by_expiry");
const DUE: TableDefinition<'_, [u8; 16], [u8; 17]> = TableDefinition::new("due");
const COUNTS: TableDefinition<'_, [u8; 9], u64> = TableDefinition::new("counts");

/// What a record's value begins with: enough to find its entries in the indexes without opening it.
const HEAD: usize = 8 + 8 + 8 + 8;

/// The part of a record that is not sealed.
#[derive(Clone, Copy)]
struct Head {
    account: [u8; 8],
    created: i64,
    expires: i64,
    number: u64,
}

impl Head {
    fn to_bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..8].copy_from_slice(&self.account);
        bytes[8..16].copy_from_slice(&self.created.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.expires.to_be_bytes());
        bytes[24..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    fn split(value: &[u8]) -> Result<(Self, &[u8]), Fault> {
        let (head, sealed) = value.split_first_chunk::<HEAD>().ok_or_else(|| Fault::Broken("a record is cut short".into()))?;
        let eight = |from: usize| <[u8; 8]>::try_from(&head[from..from + 8]).unwrap_or_default();
        let head = Self {
            account: eight(0),
            created: i64::from_be_bytes(eight(8)),
            expires: i64::from_be_bytes(eight(16)),
            number: u64::from_be_bytes(eight(24)),
        };
        Ok((head, sealed))
    }

    fn by(&self, kind: u8, time: i64) -> [u8; 25] {
        index_key(kind, self.account, time, self.number)
    }

    fn due(&self) -> [u8; 16] {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&sortable(self.expires));
        key[8..].copy_from_slice(&self.number.to_be_bytes());
        key
    }

    fn count(&self, kind: u8) -> [u8; 9] {
        count_key(kind, self.account)
    }
}

fn index_key(kind: u8, account: [u8; 8], time: i64, number: u64) -> [u8; 25] {
    let mut key = [0; 25];
    key[0] = kind;
    key[1..9].copy_from_slice(&account);
    key[9..17].copy_from_slice(&sortable(time));
    key[17..].copy_from_slice(&number.to_be_bytes());
    key
}

fn count_key(kind: u8, account: [u8; 8]) -> [u8; 9] {
    let mut key = [0; 9];
    key[0] = kind;
    key[1..].copy_from_slice(&account);
    key
}

/// Bytes that sort as the numbers do.
pub(super) fn sortable(time: i64) -> [u8; 8] {
    (time.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

pub(super) fn unsortable(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed()
}

/// What pages are sorted by. Among equals: by the order of their making.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// When they were made.
    #[default]
    Created,
    /// When they are gone; those that stay for ever come last.
    Expiry,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// After so many records.
    Offset(u64),
    /// After the record that this stands for.
    After(Cursor),
}

/// A place in a listing that stays where it is while records come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub(super) time: i64,
    pub(super) number: u64,
}

impl Cursor {
    /// Reads what [`Cursor`] displays as.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (time, number) = text.split_once('.')?;
        Some(Self { time: time.parse().ok()?, number: number.parse().ok()? })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.time, self.number)
    }
}

/// What to list.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Whose records.
    pub account: Account,
    /// Which kind.
    pub kind: Kind,
    /// By what they are sorted.
    pub order: Order,
    /// The last first.
    pub descending: bool,
    /// Where the page begins.
    pub start: Start,
    /// Records on it at most.
    pub limit: usize,
}

/// A page of records.
#[derive(Debug, Clone)]
pub struct Page {
    /// The records.
    pub records: Vec<Record>,
    /// How many there are in all.
    pub total: u64,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

/// A change that was made.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) place: Place,
    pub(super) kind: Kind,
    pub(super) account: Account,
    pub(super) id: std::sync::Arc<str>,
    /// What is there now.
    pub(super) now: Option<Record>,
    /// What was there before.
    pub(super) before: Option<Record>,
}

/// The open file.
pub(super) struct Book {
    file: File,
    seal: std::sync::Arc<Seal>,
}

impl Book {
    /// Opens or makes the file, and sees that this key fits it.
    pub(super) fn open(file: &Path, seal: std::sync::Arc<Seal>, cache: usize) -> Result<Self, Fault> {
        let book = Self { file: File::open(file, cache)?, seal };
        book.settle()?;
        Ok(book)
    }

    /// As [`File::reopen`].
    pub(super) fn reopen(&self) -> Result<(), Fault> {
        self.file.reopen()?;
        self.settle()
    }

    fn settle(&self) -> Result<(), Fault> {
        const CHECK: &[u8] = b"tollgate ledger";
        let txn = self.file.begin(Database::begin_write)?;
        {
            let mut meta = txn.open_table(META).map_err(Fault::broken)?;
            let schema = meta.get("schema").map_err(Fault::broken)?.map(|value| value.value().to_vec());
            match schema.as_deref().map(read_number) {
                None => {
                    meta.insert("schema", &SCHEMA.to_be_bytes()[..]).map_err(Fault::broken)?;
                    meta.insert("check", &self.seal.seal_bytes(CHECK.to_vec(), b"check")?[..]).map_err(Fault::broken)?;
                }
                Some(SCHEMA) => {}
                Some(earlier @ 1..SCHEMA) => {
                    tracing::info!("the ledger's layout is raised from {earlier} to {SCHEMA}: earlier versions cannot open it any more");
                    meta.insert("schema", &SCHEMA.to_be_bytes()[..]).map_err(Fault::broken)?;
                }
                Some(other) => return Err(Fault::Schema { found: other }),
            }
            let check = meta.get("check").map_err(Fault::broken)?.map(|value| value.value().to_vec()).unwrap_or_default();
            self.seal.open_bytes(&check, b"check").map_err(|_| Fault::WrongKey)?;
            txn.open_table(RECORDS).map_err(Fault::broken)?;
            txn.open_table(BY_CREATED).map_err(Fault::broken)?;
            txn.open_table(BY_EXPIRY).map_err(Fault::broken)?;
            txn.open_table(DUE).map_err(Fault::broken)?;
            txn.open_table(COUNTS).map_err(Fault::broken)?;
        }
        txn.commit().map_err(Fault::broken)
    }

    /// The record at `place`, whether it is over or not.
    pub(super) fn get(&self, place: &Place) -> Result<Option<Record>, Fault> {
        let txn = self.file.begin(Database::begin_read)?;
        let records = txn.open_table(RECORDS).map_err(Fault::broken)?;
        let Some(value) = records.get(place.0).map_err(Fault::broken)? else { return Ok(None) };
        let (_, sealed) = Head::split(value.value())?;
        self.seal.open(sealed, place).map(Some)
    }

    /// A page of what is not over at `now`. What is over and not yet swept must have been swept.
    pub(super) fn list(&self, listing: &Listing) -> Result<Page, Fault> {
        let txn = self.file.begin(Database::begin_read)?;
        let account = self.seal.account(&listing.account);
        let counts = txn.open_table(COUNTS).map_err(Fault::broken)?;
        let total = counts.get(count_key(listing.kind as u8, account)).map_err(Fault::broken)?.map_or(0, |count| count.value());
        let places = self.places(&txn, listing, (account, total))?;
        let records = txn.open_table(RECORDS).map_err(Fault::broken)?;
        let mut page = Page { records: Vec::with_capacity(places.len().min(listing.limit)), total, next: None };
        for (index, (cursor, place)) in places.iter().enumerate() {
            if index == listing.limit {
                page.next = places.get(index - 1).map(|(last, _)| *last);
                break;
            }
            let value = records.get(place.0).map_err(Fault::broken)?;
            let value = value.ok_or_else(|| Fault::Broken(format!("an index names a record that is not there ({cursor})")))?;
            let (_, sealed) = Head::split(value.value())?;
            page.records.push(self.seal.open(sealed, place)?);
        }
        Ok(page)
    }

    /// One place more than the page has, so that it is known whether there is a next one.
    fn places(&self, txn: &ReadTransaction, listing: &Listing, (account, total): ([u8; 8], u64)) -> Result<Vec<(Cursor, Place)>, Fault> {
        let table = match listing.order {
            Order::Created => txn.open_table(BY_CREATED),
            Order::Expiry => txn.open_table(BY_EXPIRY),
        };
        let table = table.map_err(Fault::broken)?;
        let key = |time, number| index_key(listing.kind as u8, account, time, number);
        let (first, last) = (key(i64::MIN, 0), key(i64::MAX, u64::MAX));
        let want = listing.limit.saturating_add(1);
        let read = |entry: Result<(redb::AccessGuard<'_, [u8; 25]>, redb::AccessGuard<'_, [u8; 17]>), redb::StorageError>| {
            let (key, place) = entry.map_err(Fault::broken)?;
            Ok((cursor_of(&key.value()), Place(place.value())))
        };
        let skip = match listing.start {
            Start::After(Cursor { time, number }) if listing.descending => {
                return table.range(first..key(time, number)).map_err(Fault::broken)?.rev().take(want).map(read).collect();
            }
            Start::After(Cursor { time, number }) => {
                let after = (std::ops::Bound::Excluded(key(time, number)), std::ops::Bound::Included(last));
                return table.range::<[u8; 25]>(after).map_err(Fault::broken)?.take(want).map(read).collect();
            }
            Start::Offset(skip) if skip >= total => return Ok(Vec::new()),
            Start::Offset(skip) => skip,
        };
        let entries = table.range(first..=last).map_err(Fault::broken)?;
        let near = usize::try_from(skip).unwrap_or(usize::MAX);
        if skip <= total / 2 {
            return if listing.descending {
                entries.rev().skip(near).take(want).map(read).collect()
            } else {
                entries.skip(near).take(want).map(read).collect()
            };
        }
        // The other end is nearer: what lies between it and the page is skipped from there, and the page read backwards.
        let rest = usize::try_from(total - skip).unwrap_or(usize::MAX);
        let past = rest.saturating_sub(want);
        let take = rest.min(want);
        let mut page: Vec<_> = if listing.descending {
            entries.skip(past).take(take).map(read).collect::<Result<_, _>>()?
        } else {
            entries.rev().skip(past).take(take).map(read).collect::<Result<_, _>>()?
        };
        page.reverse();
        Ok(page)
    }

    /// Records in the order of the file, at most `limit`, after `after`: for those that take them all.
    fn walk(&self, kind: Option<Kind>, after: Option<Place>, limit: usize) -> Result<Vec<(Place, Record)>, Fault> {
        let txn = self.file.begin(Database::begin_read)?;
        let records = txn.open_table(RECORDS).map_err(Fault::broken)?;
        let edge = |number: u8, fill: u8| {
            let mut place = [fill; 17];
            place[0] = number;
            place
        };
        let (first, last) = kind.map_or((edge(0, 0), edge(u8::MAX, u8::MAX)), |kind| (edge(kind as u8, 0), edge(kind as u8, u8::MAX)));
        let from = after.map_or(std::ops::Bound::Included(first), |place| std::ops::Bound::Excluded(place.0));
        let range = records.range::<[u8; 17]>((from, std::ops::Bound::Included(last))).map_err(Fault::broken)?;
        let mut found = Vec::new();
        for entry in range.take(limit) {
            let (place, value) = entry.map_err(Fault::broken)?;
            let place = Place(place.value());
            let (_, sealed) = Head::split(value.value())?;
            found.push((place, self.seal.open(sealed, &place)?));
        }
        Ok(found)
    }

    /// Calls `each` with every record of a kind, or of all.
    pub(super) fn each(&self, kind: Option<Kind>, mut each: impl FnMut(Record)) -> Result<(), Fault> {
        const AT_ONCE: usize = 1000;
        let mut after: Option<Place> = None;
        loop {
            let found = self.walk(kind, after, AT_ONCE)?;
            let whole = found.len() == AT_ONCE;
            after = found.last().map(|(place, _)| *place).or(after);
            found.into_iter().for_each(|(_, record)| each(record));
            if !whole {
                return Ok(());
            }
        }
    }

    /// How many records of each kind there are, over all accounts.
    pub(super) fn counts(&self) -> Result<Vec<(Kind, u64)>, Fault> {
        let txn = self.file.begin(Database::begin_read)?;
        let counts = txn.open_table(COUNTS).map_err(Fault::broken)?;
        let mut all: Vec<(Kind, u64)> = Kind::ALL.into_iter().map(|kind| (kind, 0)).collect();
        for entry in counts.iter().map_err(Fault::broken)? {
            let (key, count) = entry.map_err(Fault::broken)?;
            if let Some((_, sum)) = all.iter_mut().find(|(kind, _)| *kind as u8 == key.value()[0]) {
                *sum += count.value();
            }
        }
        Ok(all)
    }

    /// When the next record is over, if any ever is.
    pub(super) fn next_due(&self) -> Result<Option<UnixTime>, Fault> {
        let txn = self.file.begin(Database::begin_read)?;
        let due = txn.open_table(DUE).map_err(Fault::broken)?;
        let first = due.first().map_err(Fault::broken)?;
        Ok(first.map(|(key, _)| UnixTime(unsortable(<[u8; 8]>::try_from(&key.value()[..8]).unwrap_or_default()))))
    }

    /// Begins a transaction that several batches share.
    pub(super) fn begin(&self) -> Result<Turn<'_>, Fault> {
        Ok(Turn { txn: self.file.begin(Database::begin_write)?, seal: &self.seal })
    }
}

fn cursor_of(key: &[u8; 25]) -> Cursor {
    let eight = |from: usize| <[u8; 8]>::try_from(&key[from..from + 8]).unwrap_or_default();
    Cursor { time: unsortable(eight(9)), number: u64::from_be_bytes(eight(17)) }
}

fn read_number(bytes: &[u8]) -> u64 {
    <[u8; 8]>::try_from(bytes).map_or(0, u64::from_be_bytes)
}

/// A transaction under way. Dropped without [`Turn::commit`], nothing of it has happened.
pub(super) struct Turn<'b> {
    txn: WriteTransaction,
    seal: &'b Seal,
}

/// The tables of a turn.
struct Tables<'t> {
    meta: Table<'t, &'static str, Bytes>,
    records: Table<'t, [u8; 17], Bytes>,
    by_created: Table<'t, [u8; 25], [u8; 17]>,
    by_expiry: Table<'t, [u8; 25], [u8; 17]>,
    due: Table<'t, [u8; 16], [u8; 17]>,
    counts: Table<'t, [u8; 9], u64>,
}

impl Turn<'_> {
    fn tables(&self) -> Result<Tables<'_>, Fault> {
        Ok(Tables {
            meta: self.txn.open_table(META).map_err(Fault::broken)?,
            records: self.txn.open_table(RECORDS).map_err(Fault::broken)?,
            by_created: self.txn.open_table(BY_CREATED).map_err(Fault::broken)?,
            by_expiry: self.txn.open_table(BY_EXPIRY).map_err(Fault::broken)?,
            due: self.txn.open_table(DUE).map_err(Fault::broken)?,
            counts: self.txn.open_table(COUNTS).map_err(Fault::broken)?,
        })
    }

    /// Makes all changes of a batch, or none. The outer fault means that the whole turn is lost.
    pub(super) fn apply(&mut self, batch: &Batch) -> Result<Result<Vec<Done>, Fault>, Fault> {
        let mut tables = self.tables()?;
        for op in &batch.ops {
            if let Err(fault) = tables.may(op, batch.now, self.seal)? {
                return Ok(Err(fault));
            }
        }
        let mut done = Vec::with_capacity(batch.ops.len());
        for op in &batch.ops {
            done.extend(tables.change(op, self.seal)?);
        }
        Ok(Ok(done))
    }

    /// Takes away what is over at `now`, at most `limit` records.
    pub(super) fn sweep(&mut self, now: UnixTime, limit: usize) -> Result<Vec<Done>, Fault> {
        let mut tables = self.tables()?;
        let mut end = [u8::MAX; 16];
        end[..8].copy_from_slice(&sortable(now.0));
        let over: Vec<Place> = tables
            .due
            .range([0; 16]..=end)
            .map_err(Fault::broken)?
            .take(limit)
            .map(|entry| entry.map(|(_, place)| Place(place.value())).map_err(Fault::broken))
            .collect::<Result<_, _>>()?;
        let mut done = Vec::with_capacity(over.len());
        for place in over {
            let Some((_, record)) = tables.take_out(&place, self.seal)? else { continue };
            done.push(Done {
                place,
                kind: record.kind(),
                account: record.account.clone(),
                id: record.id.clone(),
                now: None,
                before: Some(record),
            });
        }
        Ok(done)
    }

    /// Puts it on the disk: when this is back, it is there for good.
    pub(super) fn commit(self) -> Result<(), Fault> {
        // redb's own default is `Durability::Immediate`: data and then the root are synced before `commit` is back.
        self.txn.commit().map_err(Fault::broken)
    }
}

impl Tables<'_> {
    fn look(&self, place: &Place, seal: &Seal) -> Result<Option<Record>, Fault> {
        let Some(value) = self.records.get(place.0).map_err(Fault::broken)? else { return Ok(None) };
        let (_, sealed) = Head::split(value.value())?;
        seal.open(sealed, place).map(Some)
    }

    /// Whether a change may be made.
    fn may(&self, op: &Op, now: UnixTime, seal: &Seal) -> Result<Result<(), Fault>, Fault> {
        let there = |kind: Kind, id: &str| -> Result<Option<Record>, Fault> {
            Ok(self.look(&seal.place(kind, id), seal)?.filter(|record| !record.is_over(now)))
        };
        Ok(match op {
            Op::Put(_) => Ok(()),
            Op::Create(record) => match there(record.kind(), &record.id)? {
                None => self.room(record, seal)?,
                Some(_) => Err(Fault::Exists),
            },
            Op::Replace(record) => match there(record.kind(), &record.id)? {
                Some(before) if before.account == record.account => Ok(()),
                _ => Err(Fault::Missing),
            },
            Op::Delete { kind, id, account } => match there(*kind, id)? {
                Some(before) if account.as_ref().is_none_or(|account| *account == before.account) => Ok(()),
                _ => Err(Fault::Missing),
            },
        })
    }

    /// Whether the account may have one more.
    fn room(&self, record: &Record, seal: &Seal) -> Result<Result<(), Fault>, Fault> {
        let Some(most) = record.kind().most() else { return Ok(Ok(())) };
        let count = self.counts.get(count_key(record.kind() as u8, seal.account(&record.account))).map_err(Fault::broken)?;
        let full = count.is_some_and(|count| count.value() >= most);
        Ok(if full { Err(Fault::Full) } else { Ok(()) })
    }

    fn change(&mut self, op: &Op, seal: &Seal) -> Result<Option<Done>, Fault> {
        match op {
            Op::Create(record) | Op::Put(record) | Op::Replace(record) => self.put(record, seal).map(Some),
            Op::Delete { kind, id, .. } => {
                let place = seal.place(*kind, id);
                let taken = self.take_out(&place, seal)?;
                Ok(taken.map(|(_, before)| Done {
                    place,
                    kind: *kind,
                    account: before.account.clone(),
                    id: before.id.clone(),
                    now: None,
                    before: Some(before),
                }))
            }
        }
    }

    fn put(&mut self, record: &Record, seal: &Seal) -> Result<Done, Fault> {
        let kind = record.kind();
        let place = seal.place(kind, &record.id);
        let before = self.take_out(&place, seal)?;
        // Who is changed keeps its place among equals.
        let number = match &before {
            Some((head, _)) => head.number,
            None => self.next_number()?,
        };
        let head = Head { account: seal.account(&record.account), created: record.created.0, expires: record.expires.0, number };
        let mut value = head.to_bytes().to_vec();
        value.append(&mut seal.seal(record, &place)?);
        self.records.insert(place.0, &value[..]).map_err(Fault::broken)?;
        self.by_created.insert(head.by(kind as u8, head.created), place.0).map_err(Fault::broken)?;
        self.by_expiry.insert(head.by(kind as u8, head.expires), place.0).map_err(Fault::broken)?;
        if record.expires != UnixTime::MAX {
            self.due.insert(head.due(), place.0).map_err(Fault::broken)?;
        }
        self.count(head.count(kind as u8), 1)?;
        let (account, id) = (record.account.clone(), record.id.clone());
        Ok(Done { place, kind, account, id, now: Some(record.clone()), before: before.map(|(_, before)| before) })
    }

    fn take_out(&mut self, place: &Place, seal: &Seal) -> Result<Option<(Head, Record)>, Fault> {
        let (head, record) = {
            let Some(value) = self.records.remove(place.0).map_err(Fault::broken)? else { return Ok(None) };
            let (head, sealed) = Head::split(value.value())?;
            (head, seal.open(sealed, place)?)
        };
        let kind = place.0[0];
        self.by_created.remove(head.by(kind, head.created)).map_err(Fault::broken)?;
        self.by_expiry.remove(head.by(kind, head.expires)).map_err(Fault::broken)?;
        if head.expires != i64::MAX {
            self.due.remove(head.due()).map_err(Fault::broken)?;
        }
        self.count(head.count(kind), -1)?;
        Ok(Some((head, record)))
    }

    fn count(&mut self, key: [u8; 9], by: i64) -> Result<(), Fault> {
        let before = self.counts.get(key).map_err(Fault::broken)?.map_or(0, |count| count.value());
        self.counts.insert(key, before.saturating_add_signed(by)).map_err(Fault::broken)?;
        Ok(())
    }

    fn next_number(&mut self) -> Result<u64, Fault> {
        let before = self.meta.get("number").map_err(Fault::broken)?.map_or(0, |value| read_number(value.value()));
        self.meta.insert("number", &(before + 1).to_be_bytes()[..]).map_err(Fault::broken)?;
        Ok(before)
    }
}
