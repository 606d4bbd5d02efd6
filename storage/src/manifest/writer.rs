//! Writes the document in one pass, and its HMAC with it.

use std::io::{self, Read as _, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde::Serialize;
use sha2::Sha256;

use super::format::{FORMAT, LISTS_START, MANIFEST_VERSION, SECURITY_START, TRAILER_END, TRAILER_START};
use super::head::{
    ArchiveRecord, BaseRecord, BrakeRecord, Changes, Head, Origin, RootRecord, SealedListsRecord,
    SnapshotRecord, Totals,
};
use super::security::SecurityTable;
use crate::archive::header::Header;
use crate::catalog::layout::BackupName;
use crate::disk::spool::Spool;
use crate::keys::data_key::DataKey;

/// The lists. In each spool, every record is a line that begins with a comma and a newline.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) security: SecurityTable,
    pub(super) entries: Spool,
    pub(super) problems: Spool,
    pub(super) notes: Spool,
}

impl Lists {
    /// Writes them as members of a JSON object.
    pub(super) fn write(&mut self, out: &mut impl Write) -> io::Result<()> {
        if !self.security.is_empty() {
            out.write_all(SECURITY_START.as_bytes())?;
            self.security.write(out)?;
            out.write_all(b"\n],\n")?;
        }
        let between = |member| format!("],\n\"{member}\":[\n");
        let lists = [
            (LISTS_START.to_owned(), &mut self.entries),
            (between("problems"), &mut self.problems),
            (between("notes"), &mut self.notes),
        ];
        for (start, lines) in lists {
            out.write_all(start.as_bytes())?;
            lines.flush()?;
            if lines.bytes() > 0 {
                let mut reader = lines.reader();
                // The first line must not begin so.
                io::copy(&mut (&mut reader).take(2), &mut io::sink())?;
                io::copy(&mut io::BufReader::with_capacity(64 << 10, reader), out)?;
                out.write_all(b"\n")?;
            }
        }
        out.write_all(b"]")
    }
}

/// Writes `manifest.json`: with the lists, or without them where they are sealed.
pub(super) fn write_document(
    head: &Head,
    lists: Option<&mut Lists>,
    header: &Header,
    data_key: &DataKey,
) -> io::Result<Spool> {
    let mut out = Authenticated { spool: Spool::default(), mac: data_key.manifest_mac(header.backup_id()) };
    let preamble = STANDARD.encode(header.encoded());
    write!(out, "{{\"format\":\"{FORMAT}\",\n\"version\":{MANIFEST_VERSION},\n\"header\":\"{preamble}\",\n")?;
    // Each is a JSON object of its own; here its members stand in ours.
    let Head {
        name,
        origin,
        began_ms,
        base,
        brake,
        roots,
        snapshots,
        totals,
        changes,
        content_key,
        archives,
        entries_enc,
    } = head;
    write_members(&mut out, &NameAndOrigin { name, origin })?;
    out.write_all(b",\n")?;
    let began_ms = *began_ms;
    let rest =
        Rest { began_ms, base, brake, roots, snapshots, totals, changes, content_key, archives, entries_enc };
    write_members(&mut out, &rest)?;
    if let Some(lists) = lists {
        out.write_all(b",\n")?;
        lists.write(&mut out)?;
    }
    out.close()
}

/// The members of [`Head`], in its order, in the two lines that they take.
#[derive(Serialize)]
struct NameAndOrigin<'h> {
    #[serde(flatten)]
    name: &'h BackupName,
    #[serde(flatten)]
    origin: &'h Origin,
}

#[derive(Serialize)]
struct Rest<'h> {
    began_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: &'h Option<BaseRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    brake: &'h Option<BrakeRecord>,
    roots: &'h [RootRecord],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    snapshots: &'h [SnapshotRecord],
    totals: &'h Totals,
    changes: &'h Changes,
    #[serde(with = "crate::text::base64_option", skip_serializing_if = "Option::is_none")]
    content_key: &'h Option<Vec<u8>>,
    archives: &'h [ArchiveRecord],
    #[serde(skip_serializing_if = "Option::is_none")]
    entries_enc: &'h Option<SealedListsRecord>,
}

fn write_members(out: &mut impl Write, object: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(object)?;
    out.write_all(&json[1..json.len() - 1])
}

struct Authenticated {
    spool: Spool,
    mac: Hmac<Sha256>,
}

impl Authenticated {
    fn close(mut self) -> io::Result<Spool> {
        let tag = hex::encode(self.mac.finalize().into_bytes());
        write!(self.spool, "{TRAILER_START}{tag}{TRAILER_END}")?;
        self.spool.flush()?;
        Ok(self.spool)
    }
}

impl Write for Authenticated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.mac.update(bytes);
        self.spool.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
