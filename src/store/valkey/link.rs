//! The connection to the store: made when it is needed, dropped when it fails, shared by all who ask.
//!
//! One connection carries all requests at once. After a fault of the connection, or an answer that did not come in time, the
//! next request makes a new one, so that a store that moved or came back is found again.

use std::time::Duration;

use futures_util::Stream;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, Script, ServerErrorKind};
use tokio::sync::Mutex;

use super::{LinkFault, Place, ValkeyStoreConfig, settings};

/// What is noted for good is noted for a year: no store has room for ever.
pub const GOOD: Duration = Duration::from_secs(366 * 24 * 3600);

/// How to get a connection.
pub(super) enum Way {
    /// To one server.
    Single(Box<Client>),
    /// To a cluster; the clients are for what is pushed, which every node hands on.
    Cluster(Box<ClusterClient>, Vec<Client>),
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A connection to the store with the script of one room. Every wait is bounded.
pub struct Link {
    way: Way,
    script: &'static str,
    /// The script's name at the server.
    digest: String,
    connect_timeout: Duration,
    /// With its number, so that a fault drops the connection that it came from and no newer one.
    current: Mutex<(u64, Option<Connection>)>,
}

/// Makes the command that brings a script's whole text.
type Text<'t> = &'t (dyn Fn() -> Cmd + Sync);

/// Messages of the store, as they come.
pub type Bell = std::pin::Pin<Box<dyn Stream<Item = redis::Msg> + Send>>;

impl Link {
    /// The link to the server that `config` says, for `script`. Does not connect yet.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &ValkeyStoreConfig, place: Place<'_>, script: &'static str) -> Result<Self, String> {
        Ok(Self {
            way: settings::way(config, place)?,
            script,
            digest: Script::new(script).get_hash().to_owned(),
            connect_timeout: config.connect_timeout.0,
            current: Mutex::default(),
        })
    }

    /// Runs the script within `timeout`, by its digest; a server that does not know it yet gets its text.
    ///
    /// # Errors
    /// [`LinkFault`]. Whether it ran is not known when no answer came in time.
    pub async fn run<T: FromRedisValue>(&self, key: &str, args: &[&[u8]], timeout: Duration) -> Result<T, LinkFault> {
        let text = || command("EVAL", self.script, key, args);
        self.within(timeout, &command("EVALSHA", &self.digest, key, args), Some(&text)).await
    }

    /// Sends one command within `timeout`.
    ///
    /// # Errors
    /// As [`Link::run`].
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd, timeout: Duration) -> Result<T, LinkFault> {
        self.within(timeout, command, None).await
    }

    async fn within<T: FromRedisValue>(&self, timeout: Duration, command: &Cmd, text: Option<Text<'_>>) -> Result<T, LinkFault> {
        let mut used = None;
        let fault = match tokio::time::timeout(timeout, self.say(command, text, &mut used)).await {
            Ok(Ok(value)) => return T::from_redis_value(value).map_err(|e| LinkFault::Odd(e.to_string())),
            Ok(Err(fault)) => fault,
            Err(_) => LinkFault::Away(format!("no answer within {} ms", timeout.as_millis())),
        };
        if let (LinkFault::Away(_), Some(number)) = (&fault, used) {
            self.forget(number);
        }
        Err(fault)
    }

    async fn say(&self, command: &Cmd, text: Option<Text<'_>>, used: &mut Option<u64>) -> Result<redis::Value, LinkFault> {
        // What is said to a connection that is being made is no answer to what is asked: there are too many of them, for one.
        let (number, mut connection) = self.connection().await.map_err(|e| LinkFault::Away(e.to_string()))?;
        *used = Some(number);
        let answer = match (connection.send(command).await, text) {
            (Err(e), Some(text)) if e.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => connection.send(&text()).await,
            (answer, _) => answer,
        };
        answer.map_err(|e| fault(&e))
    }

    /// Sets `key` to `value` for so long, unless somebody has set it. Whether it was free.
    ///
    /// # Errors
    /// As [`Link::run`].
    pub async fn claim(&self, key: &str, value: &str, life: Duration, timeout: Duration) -> Result<bool, LinkFault> {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(value).arg("NX").arg("PX").arg(millis(life));
        let said: Option<String> = self.ask(&command, timeout).await?;
        Ok(said.is_some())
    }

    /// Notes at `key` that something was used, for so long or for good. Whether it was not.
    ///
    /// # Errors
    /// As [`Link::run`].
    pub async fn claim_once(&self, key: &str, life: Option<Duration>, timeout: Duration) -> Result<bool, LinkFault> {
        self.claim(key, "1", life.unwrap_or(GOOD), timeout).await
    }

    async fn connection(&self) -> Result<(u64, Connection), RedisError> {
        let mut current = self.current.lock().await;
        if let (number, Some(connection)) = &*current {
            return Ok((*number, connection.clone()));
        }
        let connection = match &self.way {
            Way::Single(client) => {
                // Waiting is bounded around each request.
                let config = AsyncConnectionConfig::new().set_connection_timeout(Some(self.connect_timeout)).set_response_timeout(None);
                Connection::Single(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Way::Cluster(client, _) => Connection::Cluster(client.get_async_connection().await?),
        };
        let number = current.0 + 1;
        *current = (number, Some(connection.clone()));
        Ok((number, connection))
    }

    /// Who holds the lock is making a newer one.
    fn forget(&self, number: u64) {
        if let Ok(mut current) = self.current.try_lock()
            && current.0 == number
        {
            current.1 = None;
        }
    }

    /// Listens on `channel`.
    ///
    /// # Errors
    /// [`LinkFault`], also where the server's user may not listen there.
    pub async fn listen(&self, channel: &str) -> Result<Bell, LinkFault> {
        let clients = match &self.way {
            Way::Single(client) => std::slice::from_ref(&**client),
            Way::Cluster(_, clients) => clients,
        };
        let mut last = LinkFault::Away("no address".into());
        for client in clients {
            match tokio::time::timeout(self.connect_timeout, subscribe(client, channel)).await {
                Ok(Ok(bell)) => return Ok(bell),
                Ok(Err(error)) => last = fault(&error),
                Err(_) => last = LinkFault::Away("no connection in time".into()),
            }
        }
        Err(last)
    }
}

async fn subscribe(client: &Client, channel: &str) -> Result<Bell, RedisError> {
    let mut listener = client.get_async_pubsub().await?;
    listener.subscribe(channel).await?;
    Ok(Box::pin(listener.into_on_message()))
}

/// A time to live as the server takes it: never nought.
pub fn millis(life: Duration) -> u64 {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn command(word: &str, script: &str, key: &str, args: &[&[u8]]) -> Cmd {
    let mut command = redis::cmd(word);
    command.arg(script).arg(1).arg(key).arg(args);
    command
}

impl Connection {
    async fn send(&mut self, command: &Cmd) -> Result<redis::Value, RedisError> {
        match self {
            Self::Single(connection) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        }
        .and_then(redis::Value::extract_error)
    }
}

/// A server that is up and says no (a wrong password, a full memory, a replica) is as little use as one that is away.
fn fault(error: &RedisError) -> LinkFault {
    match error.kind() {
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType | ErrorKind::Server(ServerErrorKind::ResponseError) => {
            LinkFault::Odd(error.to_string())
        }
        _ => LinkFault::Away(error.to_string()),
    }
}
