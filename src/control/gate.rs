//! Who may do what: API keys, their roles, their limits.
//!
//! A key is `tg_ID_SECRET`: the id finds it, the secret has 190 random bits. Kept is the SHA-256 of the
//! whole key, which needs no salt and no stretching because nobody guesses 190 bits; it is compared in
//! constant time. An address that presents wrong keys is slowed before a key is looked at.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use subtle::ConstantTimeEq as _;

use super::{ControlConfig, DEFAULT_ACCOUNT};
use crate::clock::UnixTime;
use crate::ledger::record::{ApiKey, Role};
use crate::ledger::{Account, Body, Kind, Ledger};
use crate::proxy::slow::Slow;
use crate::secret::{Secret, random};
use crate::token::issued;

/// Wrong keys that an address may present at once, and each second after that.
const WRONG: (u32, u32) = (20, 1);
/// Keys whose requests are counted at the same time; more begin a new minute for all.
const COUNTED: usize = 10_000;

/// Why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locked {
    /// No key, an unknown one, a withdrawn one: callers do not learn which.
    Unknown,
    /// The key may not do this.
    Role,
    /// The key works on another account.
    Account,
    /// Too many requests by this key, or wrong keys from this address.
    TooMany(Rate),
    /// The ledger could not be read.
    Broken,
}

/// Where a key stands in its minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// Requests in a minute; 0 for no limit.
    pub limit: u32,
    /// How many are left of it.
    pub remaining: u32,
    /// Seconds until the next minute begins.
    pub resets: u32,
}

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The key's public id.
    pub id: Arc<str>,
    /// What it is called by operators.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// The account that it works on.
    pub account: Account,
    /// Where it stands in its minute.
    pub rate: Rate,
}

impl Caller {
    /// Asks for a role.
    ///
    /// # Errors
    /// [`Locked::Role`].
    pub fn may(&self, role: Role) -> Result<(), Locked> {
        if self.role >= role { Ok(()) } else { Err(Locked::Role) }
    }

    /// Asks for an account.
    ///
    /// # Errors
    /// [`Locked::Account`].
    pub fn works_on(&self, account: &Account) -> Result<(), Locked> {
        if self.account == *account { Ok(()) } else { Err(Locked::Account) }
    }
}

/// A key of the config.
struct Fixed {
    name: Arc<str>,
    sha256: [u8; 32],
    role: Role,
    account: Account,
    per_minute: u32,
}

/// The gate.
pub struct Gate {
    fixed: Vec<Fixed>,
    per_minute: u32,
    ledger: Ledger,
    slow: Arc<Slow>,
    minutes: Arc<Mutex<HashMap<Arc<str>, (UnixTime, u32)>>>,
}

impl Gate {
    /// The gate that a config says.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn new(config: &ControlConfig, ledger: Ledger) -> Result<Self, String> {
        let fixed = config.api_keys.iter().map(|(name, key)| {
            let sha256 = unhex(&key.sha256).ok_or_else(|| format!("control.api_keys.{name}: sha256 must be 64 hexadecimal digits"))?;
            Ok(Fixed {
                name: name.as_str().into(),
                sha256,
                role: key.role,
                account: Account::new(key.account.as_ref().map_or(DEFAULT_ACCOUNT, |account| account.as_str())),
                per_minute: key.per_minute.unwrap_or(config.per_minute),
            })
        });
        let fixed = fixed.collect::<Result<_, String>>()?;
        let slow = Arc::new(Slow::new(WRONG.0, WRONG.1));
        Ok(Self { fixed, per_minute: config.per_minute, ledger, slow, minutes: Arc::default() })
    }

    /// The same, with what another gate counted: a reload must not forgive everybody.
    #[must_use]
    pub fn going_on(self, before: &Self) -> Self {
        Self { slow: before.slow.clone(), minutes: before.minutes.clone(), ..self }
    }

    /// The caller that presents `key` from `peer`, counted into its minute.
    ///
    /// # Errors
    /// Why not.
    pub async fn enter(&self, key: Option<&str>, peer: IpAddr, now: UnixTime) -> Result<Caller, Locked> {
        let key = key.filter(|key| !key.is_empty()).ok_or(Locked::Unknown)?;
        if let Some(wait) = self.slow.wait(peer) {
            let resets = u32::try_from(wait.as_secs().saturating_add(1)).unwrap_or(u32::MAX);
            return Err(Locked::TooMany(Rate { limit: WRONG.0, remaining: 0, resets }));
        }
        match self.known(key, now).await? {
            Some(caller) => self.counted(caller, now),
            None => {
                self.slow.refused(peer);
                Err(Locked::Unknown)
            }
        }
    }

    /// The caller that an API key's public id stands for: for tokens that a dialect gave out in a key's stead and has verified itself.
    ///
    /// # Errors
    /// Why not.
    pub async fn enter_as(&self, id: &str, now: UnixTime) -> Result<Caller, Locked> {
        let fixed = self.fixed.iter().find(|fixed| *fixed.name == *id).map(caller_of_fixed);
        let caller = match fixed {
            Some(caller) => Some(caller),
            None => self.kept(id, now).await?.map(|(caller, _)| caller),
        };
        self.counted(caller.ok_or(Locked::Unknown)?, now)
    }

    async fn known(&self, key: &str, now: UnixTime) -> Result<Option<Caller>, Locked> {
        let sha256 = sha256(key.as_bytes());
        // All of them are compared: how long it takes does not tell which one it was.
        let same = self.fixed.iter().filter(|fixed| bool::from(fixed.sha256.ct_eq(&sha256))).collect::<Vec<_>>();
        if let Some(fixed) = same.first() {
            return Ok(Some(caller_of_fixed(fixed)));
        }
        let Some(id) = issued::ApiKey::id_in(key) else { return Ok(None) };
        let Some((caller, kept)) = self.kept(id, now).await? else { return Ok(None) };
        let good = unhex(&kept.sha256).is_some_and(|kept| bool::from(kept.ct_eq(&sha256)));
        Ok(good.then_some(caller))
    }

    async fn kept(&self, id: &str, now: UnixTime) -> Result<Option<(Caller, ApiKey)>, Locked> {
        let record = self.ledger.find(Kind::ApiKey, id, now).await.map_err(|fault| {
            tracing::error!(%fault, "an API key cannot be looked up");
            Locked::Broken
        })?;
        let Some(record) = record else { return Ok(None) };
        let Body::ApiKey(key) = &record.body else { return Ok(None) };
        let rate = Rate { limit: key.per_minute, ..Rate::default() };
        let caller =
            Caller { id: record.id.clone(), name: key.name.as_str().into(), role: key.role, account: record.account.clone(), rate };
        Ok(Some((caller, key.clone())))
    }

    /// Counts a request. A minute begins with its first request.
    fn counted(&self, mut caller: Caller, now: UnixTime) -> Result<Caller, Locked> {
        let limit = caller.rate.limit;
        if limit == 0 {
            return Ok(caller);
        }
        let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        if minutes.len() >= COUNTED && !minutes.contains_key(&caller.id) {
            minutes.retain(|_, (began, _)| now.since(*began) < 60);
            if minutes.len() >= COUNTED {
                minutes.clear();
            }
        }
        let (began, used) = minutes.entry(caller.id.clone()).or_insert((now, 0));
        if !(0..60).contains(&now.since(*began)) {
            (*began, *used) = (now, 0);
        }
        let resets = u32::try_from(60 - now.since(*began)).unwrap_or(60);
        if *used >= limit {
            return Err(Locked::TooMany(Rate { limit, remaining: 0, resets }));
        }
        *used += 1;
        caller.rate = Rate { limit, remaining: limit - *used, resets };
        Ok(caller)
    }

    /// What holds for a key that names no limit.
    #[must_use]
    pub const fn per_minute(&self) -> u32 {
        self.per_minute
    }
}

fn caller_of_fixed(fixed: &Fixed) -> Caller {
    let rate = Rate { limit: fixed.per_minute, ..Rate::default() };
    Caller { id: fixed.name.clone(), name: fixed.name.clone(), role: fixed.role, account: fixed.account.clone(), rate }
}

/// A new API key: its public id and the whole of it, which is shown once.
///
/// # Errors
/// A sentence, when the system gives no random numbers.
pub fn new_key() -> Result<(String, Secret<String>), String> {
    let id = random::base62(10)?;
    let secret = Secret::new(random::base62(32)?);
    let key = Secret::new(issued::ApiKey::text(&id, secret.expose()));
    Ok((id, key))
}

/// SHA-256 of a text in hexadecimal, as keys are kept.
#[must_use]
pub fn sha256_hex(text: &str) -> String {
    sha256(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().unwrap_or([0; 32])
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| if let [a, b] = *pair { Some(digit(a)? << 4 | digit(b)?) } else { None });
    pairs.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ApiKeyConfig;
    use crate::ledger::{Batch, LedgerConfig, Record};
    use crate::units::Size;

    const T: UnixTime = UnixTime(1000);
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn gate(folder: &std::path::Path) -> (Gate, Ledger) {
        let config = LedgerConfig { folder: Some(folder.to_owned()), page_cache: Size::kib(64), ..LedgerConfig::default() };
        let spawn = |work| std::thread::Builder::new().spawn(work).map(drop).map_err(|e| e.to_string());
        let around = crate::store::valkey::Place { folder, variable: &|_| None };
        let ledger = Ledger::open(&config, (around, &crate::clock::Clock::System), spawn).expect("ledger");
        let key = ApiKeyConfig { sha256: sha256_hex("fixed"), role: Role::Issuer, account: None, per_minute: Some(2) };
        let config = ControlConfig { api_keys: [(crate::name::Name::new("ops").expect("name"), key)].into(), ..ControlConfig::default() };
        (Gate::new(&config, ledger.clone()).expect("gate"), ledger)
    }

    #[tokio::test]
    async fn only_whole_keys_open_and_each_has_its_minute() {
        let folder = tempfile::tempdir().expect("folder");
        let (gate, _) = gate(folder.path());
        for wrong in [None, Some(""), Some("fixe"), Some("fixed "), Some("tg_x_y"), Some(sha256_hex("fixed").as_str())] {
            assert_eq!(gate.enter(wrong, HERE, T).await.expect_err("wrong"), Locked::Unknown, "{wrong:?}");
        }
        let caller = gate.enter(Some("fixed"), HERE, T).await.expect("in");
        assert_eq!((caller.role, caller.account.as_str(), caller.rate.remaining), (Role::Issuer, "default", 1));
        assert_eq!((caller.may(Role::Reader), caller.may(Role::Admin)), (Ok(()), Err(Locked::Role)));
        assert!(gate.enter(Some("fixed"), HERE, T.plus(59)).await.is_ok());
        let limit = Rate { limit: 2, remaining: 0, resets: 1 };
        assert_eq!(gate.enter(Some("fixed"), HERE, T.plus(59)).await.expect_err("third"), Locked::TooMany(limit));
        assert!(gate.enter(Some("fixed"), HERE, T.plus(60)).await.is_ok());
    }

    #[tokio::test]
    async fn keys_of_the_ledger_open_until_they_are_withdrawn() {
        let folder = tempfile::tempdir().expect("folder");
        let (gate, ledger) = gate(folder.path());
        let (id, key) = new_key().expect("key");
        let account = Account::new("acme");
        let body = ApiKey { name: "ci".into(), role: Role::Admin, sha256: sha256_hex(key.expose()), per_minute: 0 };
        ledger.write(Batch::at(T).create(Record::new(&account, &id, T, Body::ApiKey(body)))).await.expect("created");
        let caller = gate.enter(Some(key.expose()), HERE, T).await.expect("in");
        assert_eq!((&*caller.id, caller.account.as_str()), (&*id, "acme"));
        let mut changed = key.expose().clone();
        let last = changed.pop().expect("a letter");
        changed.push(if last == 'a' { 'b' } else { 'a' });
        assert_eq!(gate.enter(Some(&changed), HERE, T).await.expect_err("changed"), Locked::Unknown);
        assert!(gate.enter_as(&id, T).await.is_ok() && gate.enter_as("ops", T).await.is_ok());
        ledger.write(Batch::at(T).delete(&account, Kind::ApiKey, &id)).await.expect("deleted");
        assert_eq!(gate.enter(Some(key.expose()), HERE, T).await.expect_err("withdrawn"), Locked::Unknown);
        assert_eq!(gate.enter_as(&id, T).await.expect_err("withdrawn"), Locked::Unknown);
    }

    #[tokio::test]
    async fn an_address_that_guesses_is_slowed() {
        let folder = tempfile::tempdir().expect("folder");
        let (gate, _) = gate(folder.path());
        let mut guesses = 0;
        for _ in 0..100 {
            guesses += usize::from(matches!(gate.enter(Some("guess"), HERE, T).await, Err(Locked::Unknown)));
        }
        assert!((20..30).contains(&guesses), "{guesses} were looked at");
        let elsewhere = IpAddr::from([192, 0, 2, 1]);
        assert!(gate.enter(Some("fixed"), elsewhere, T).await.is_ok());
    }
}
