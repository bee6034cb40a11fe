//! The walk: door, guard, find_route, verify_token, forward.

pub mod origin;
