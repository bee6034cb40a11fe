//! Credentials of a config: made, or taken over from the running one.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest;

use super::{KeptCredential, Work, World};
use crate::app::fetch::HttpClient;
use crate::config::KeyPath;
use crate::credential::config::{Around, Source};
use crate::credential::fleet::Fleet;
use crate::credential::keeper::KeeperParts;
use crate::credential::shelf::{self, Shelf};
use crate::credential::{Client, Credential, CredentialConfig};
use crate::name::Name;
use crate::store::Seal;
use crate::verifier::RouteScheme;

impl Work<'_> {
    /// Credentials: those that are there already, where the config and all that they are made of say the same.
    pub(super) fn credentials(&mut self, schemes: &HashMap<Name, RouteScheme>, world: &World<'_>) {
        let seal = self.seal();
        for (name, table) in &self.config.credentials {
            let built = self.credential((name, table), schemes, world, seal.as_ref());
            if let Some(kept) = self.note(KeyPath::top("credentials").key(name.as_str()), built) {
                self.parts.credentials.insert(name.clone(), kept);
            }
        }
    }

    /// What seals the values that a fleet shares: nothing is shared without.
    fn seal(&mut self) -> Option<Arc<Seal>> {
        let (Some(file), Some(_)) = (&self.config.store.key_file, &self.parts.shared) else { return None };
        let seal = crate::files::read_secret(file).and_then(|key| Seal::new(&key).map_err(|fault| fault.to_string()));
        self.note(KeyPath::top("store").key("key_file"), seal).map(Arc::new)
    }

    fn credential(
        &self,
        (name, config): (&Name, &CredentialConfig),
        schemes: &HashMap<Name, RouteScheme>,
        world: &World<'_>,
        seal: Option<&Arc<Seal>>,
    ) -> Result<KeptCredential, String> {
        let table = config.table();
        let scheme = |name: &Name| schemes.get(name).map(|scheme| scheme.scheme.clone());
        let variable = |name: &str| std::env::var(name).ok();
        let around = Around::new(&variable, &scheme);
        let source = table.build(&around)?;
        let client: Option<Arc<dyn Client>> = match (&source, table.endpoint()) {
            (Source::Vendor(provider), Some(endpoint)) => {
                let files = [&endpoint.ca_file, &endpoint.client_cert_file, &endpoint.client_key_file];
                files.into_iter().flatten().for_each(|file| around.saw(&std::fs::read(file).unwrap_or_default()));
                Some(Arc::new(HttpClient::new(endpoint, provider.bases())?))
            }
            _ => None,
        };
        let said = (format!("{config:?}"), around.seen());
        if let Some(kept) = self.before.and_then(|before| before.credentials.get(name)).filter(|kept| kept.said == said) {
            return Ok(kept.clone());
        }
        let identity = [said.0.as_bytes(), &said.1].concat();
        let identity = digest::digest(&digest::SHA256, &identity).as_ref().to_vec();
        let store = world.store.filter(|_| table.keep().persist);
        let fleet = self.parts.shared.as_ref().zip(seal).map(|(shared, seal)| Fleet {
            places: shared.clone(),
            seal: seal.clone(),
            identity: identity.clone(),
            holder: uuid::Uuid::new_v4().simple().to_string(),
        });
        let parts = KeeperParts {
            client,
            spawn: world.spawn.clone(),
            clock: world.clock.clone(),
            metrics: world.metrics.clone(),
            shelf: store.map(|store| Shelf { room: store.room(shelf::ROOM), identity }),
            fleet,
        };
        Ok(KeptCredential { credential: Credential::new(name.clone(), (source, table.scope()), table.keep(), parts), said })
    }
}
