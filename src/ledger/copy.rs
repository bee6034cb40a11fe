//! Copies of the ledger as lines of text: to keep, to move, to look at.
//!
//! The first line says what follows. A sealed copy can be read with the ledger's own key only. A plain
//! one is JSON without secrets, with tokens by their digest: to look at. Only a copy that was asked for
//! with secrets is both readable and whole.

use std::io::{BufRead, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::record::{Kind, Record};
use super::{Batch, Fault, Ledger, SCHEMA, layout};
use crate::clock::UnixTime;

/// How a copy is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Sealed with the ledger's key.
    Sealed,
    /// JSON without secrets; cannot be taken in again.
    Plain,
    /// JSON with every secret in the clear.
    WithSecrets,
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    tollgate_ledger: u64,
    form: Form,
}

/// What sealed lines are bound to.
const CONTEXT: &[u8] = b"copy";
/// Records of one commit when a copy is taken in.
const TOGETHER: usize = 500;

impl Ledger {
    /// Writes every record that is there at `now`. Gives how many.
    ///
    /// # Errors
    /// When the ledger cannot be read or the lines not be written.
    pub fn export(&self, form: Form, now: UnixTime, out: &mut dyn Write) -> Result<u64, Fault> {
        let first = serde_json::to_string(&First { tollgate_ledger: SCHEMA, form }).map_err(|e| Fault::Broken(e.to_string()))?;
        let mut written = 0;
        let mut fault = put(out, &first).err();
        self.each(None, |record| {
            if fault.is_none() && !record.is_over(now) {
                written += 1;
                fault = self.line(record, form).and_then(|line| put(out, &line)).err();
            }
        })?;
        fault.map_or(Ok(written), Err)
    }

    fn line(&self, record: Record, form: Form) -> Result<String, Fault> {
        let text = |record: &Record| String::from_utf8(layout::write(record)?).map_err(|e| Fault::Broken(e.to_string()));
        match form {
            Form::WithSecrets => text(&record),
            Form::Plain => {
                // An id may be a token, and a digest under no key would let guesses of short ones be tested: it is under the ledger's.
                let id =
                    if record.kind().id_is_secret() { self.inner.seal.name(record.kind(), &record.id).into() } else { record.id.clone() };
                text(&Record { id, secret: None, ..record })
            }
            Form::Sealed => Ok(STANDARD.encode(self.inner.seal.seal_bytes(layout::write(&record)?, CONTEXT)?)),
        }
    }

    /// Takes in a copy; records that are there already are replaced. Gives how many. For those who may block.
    ///
    /// # Errors
    /// At the first line that cannot be taken in. Of those before it some are: [`Ledger::check_copy`] tells in advance.
    pub fn import(&self, now: UnixTime, lines: &mut dyn BufRead) -> Result<u64, Fault> {
        let (mut taken, mut batch) = (0, Batch::at(now));
        for record in self.records(lines)? {
            taken += 1;
            batch = batch.put(record?);
            if batch.ops.len() == TOGETHER {
                self.write_blocking(std::mem::replace(&mut batch, Batch::at(now)))?;
            }
        }
        self.write_blocking(batch)?;
        Ok(taken)
    }

    /// Whether a copy can be taken in, every line of it. Gives how many records it has.
    ///
    /// # Errors
    /// At the first line that cannot be taken in.
    pub fn check_copy(&self, lines: &mut dyn BufRead) -> Result<u64, Fault> {
        self.records(lines)?.try_fold(0, |count, record| record.map(|_| count + 1))
    }

    fn records<'l>(&'l self, lines: &'l mut dyn BufRead) -> Result<impl Iterator<Item = Result<Record, Fault>> + 'l, Fault> {
        let mut lines = lines.lines().map(|line| line.map_err(|e| Fault::Broken(e.to_string())));
        let first = lines.next().ok_or_else(|| Fault::Broken("the copy is empty".into()))??;
        let first: First = serde_json::from_str(&first).map_err(|_| Fault::Broken("not a copy of a ledger".into()))?;
        if !(1..=SCHEMA).contains(&first.tollgate_ledger) {
            return Err(Fault::Schema { found: first.tollgate_ledger });
        }
        if first.form == Form::Plain {
            return Err(Fault::Broken("a copy without secrets cannot be taken in".into()));
        }
        Ok(lines.enumerate().map(move |(number, line)| {
            let record = self.read(&line?, first.form);
            record.ok_or_else(|| Fault::Broken(format!("line {}: not a record of this copy", number + 2)))
        }))
    }

    fn read(&self, line: &str, form: Form) -> Option<Record> {
        if form == Form::WithSecrets {
            return layout::read(line.as_bytes()).ok();
        }
        let sealed = STANDARD.decode(line.trim()).ok()?;
        let text = zeroize::Zeroizing::new(self.inner.seal.open_bytes(&sealed, CONTEXT).ok()?);
        layout::read(&text).ok()
    }
}

fn put(out: &mut dyn Write, line: &str) -> Result<(), Fault> {
    writeln!(out, "{line}").map_err(|e| Fault::Broken(format!("the copy cannot be written: {e}")))
}

impl Kind {
    /// Whether its ids are what callers present.
    #[must_use]
    pub const fn id_is_secret(self) -> bool {
        matches!(self, Self::UploadToken | Self::AuthToken | Self::PrivateToken | Self::VideoSession | Self::ViewerSession)
    }
}
