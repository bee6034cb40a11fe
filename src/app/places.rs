//! The stores that a fleet shares, as credentials and tokens for one use use them.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::credential::fleet::{SharedPlaces, Told};
use crate::ledger::{Claim, Ledger};
use crate::session::valkey::ValkeyStore;
use crate::verifier::used::Claims;

impl SharedPlaces for ValkeyStore {
    fn read<'t>(&'t self, place: &'t str) -> Told<'t, Option<Vec<u8>>> {
        Box::pin(self.read_place(place))
    }

    fn write<'t>(&'t self, place: &'t str, sealed: &'t [u8], life: Duration) -> Told<'t, ()> {
        Box::pin(self.write_place(place, sealed, life))
    }

    fn lease<'t>(&'t self, place: &'t str, holder: &'t str, life: Duration) -> Told<'t, bool> {
        Box::pin(self.lease_place(place, holder, life))
    }

    fn release<'t>(&'t self, place: &'t str, holder: &'t str) -> Told<'t, ()> {
        Box::pin(self.release_place(place, holder))
    }
}

type Claimed<'c> = Pin<Box<dyn Future<Output = Result<bool, String>> + Send + 'c>>;

impl Claims for ValkeyStore {
    fn claim<'c>(&'c self, name: &'c str, life: Option<Duration>) -> Claimed<'c> {
        Box::pin(self.claim_place(name, life))
    }
}

impl Claims for Ledger {
    fn claim<'c>(&'c self, name: &'c str, life: Option<Duration>) -> Claimed<'c> {
        let claim = Claim { name: name.to_owned(), life, among: None };
        Box::pin(async move { self.claim(claim).await.map_err(|fault| fault.to_string()) })
    }
}
