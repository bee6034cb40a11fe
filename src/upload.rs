//! Uploads: one file is one upload, however many requests it takes.
//!
//! An upload has a session of its own, which holds its place. Here is what the session does not know: under which names later
//! requests of the same file come (a place at the origin, a video's id, or nothing but the same recorder), how much of it has been
//! taken, and whose it is. All of it is bounded, and forgotten when the upload is over; what is forgotten is admitted anew, never let in.

mod config;
mod kind;
mod piece;
mod table;

pub use self::config::{Bounds, UploadConfig};
pub use self::kind::{Kind, TUS_RESUMABLE, UPLOAD_CONCAT, UPLOAD_LENGTH, UPLOAD_METADATA, UPLOAD_OFFSET, file_type, number};
pub use self::piece::{Piece, Taken};
pub use self::table::{Full, Owner, Parts, Upload, Uploads};
