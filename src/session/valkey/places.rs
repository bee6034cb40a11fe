//! Small sealed values and leases in the same store, for other rooms than sessions.
//!
//! They stand beside the sessions' keys, under `{prefix}v:` and `{prefix}l:`. A lease is a key that ends by itself and that
//! only its holder takes back.

use std::time::Duration;

use super::ValkeyStore;
use crate::store::valkey::millis;

/// Takes a lease back if it is still this holder's.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

impl ValkeyStore {
    /// The value under `place`.
    ///
    /// # Errors
    /// Why the store does not answer.
    pub async fn read_place(&self, place: &str) -> Result<Option<Vec<u8>>, String> {
        let mut command = redis::cmd("GET");
        command.arg(format!("{}v:{place}", self.base));
        self.link.ask(&command, self.timeout).await.map_err(|fault| fault.to_string())
    }

    /// Puts a value under `place`, for so long.
    ///
    /// # Errors
    /// Why the store does not answer.
    pub async fn write_place(&self, place: &str, value: &[u8], life: Duration) -> Result<(), String> {
        let mut command = redis::cmd("SET");
        command.arg(format!("{}v:{place}", self.base)).arg(value).arg("PX").arg(millis(life));
        self.link.ask(&command, self.timeout).await.map_err(|fault| fault.to_string())
    }

    /// Takes the lease of `place`, unless somebody has it.
    ///
    /// # Errors
    /// Why the store does not answer.
    pub async fn lease_place(&self, place: &str, holder: &str, life: Duration) -> Result<bool, String> {
        let key = format!("{}l:{place}", self.base);
        self.link.claim(&key, holder, life, self.timeout).await.map_err(|fault| fault.to_string())
    }

    /// Notes that `place` is used, for so long or for good. Whether it was not.
    ///
    /// # Errors
    /// Why the store does not answer.
    pub async fn claim_place(&self, place: &str, life: Option<Duration>) -> Result<bool, String> {
        let key = format!("{}once:{place}", self.base);
        self.link.claim_once(&key, life, self.timeout).await.map_err(|fault| fault.to_string())
    }

    /// Gives the lease of `place` back.
    ///
    /// # Errors
    /// Why the store does not answer.
    pub async fn release_place(&self, place: &str, holder: &str) -> Result<(), String> {
        let mut command = redis::cmd("EVAL");
        command.arg(RELEASE).arg(1).arg(format!("{}l:{place}", self.base)).arg(holder);
        self.link.ask::<i64>(&command, self.timeout).await.map(|_| ()).map_err(|fault| fault.to_string())
    }
}
