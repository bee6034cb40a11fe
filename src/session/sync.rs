//! The locks and atomics of the session table: those of `std`, or, for its model, shuttle's.
//!
//! The model runs the very code of the table under a scheduler that chooses who goes on at every lock and every atomic. Nothing
//! else may name `std::sync` for what several threads of the table share.

#[cfg(not(all(test, feature = "shuttle")))]
pub(super) use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic};

#[cfg(all(test, feature = "shuttle"))]
pub(super) use shuttle::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic};
