//! The store that a fleet shares, as credentials use it.

use std::time::Duration;

use crate::credential::fleet::{SharedPlaces, Told};
use crate::session::valkey::ValkeyStore;

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
