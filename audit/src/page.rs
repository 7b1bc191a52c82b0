//! What is read from the ledger: pages of records, and the signed checkpoint that ends an export.

use crate::store::StoreError;
use crate::writer::Writer;
use channel::Mailbox;
use contract::bytes::Bytes;
use contract::cbor;
use contract::issue::{self, ToCertifier};
use ed25519_dalek::{Signer as _, SigningKey};
use ledger::checkpoint::{self, Checkpoint};
use ledger::writer::Filter;
use ledger::{Record, frame};
use linux::file;
use std::io::ErrorKind;
use std::path::Path;

/// Longest page.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// Most records that one page looks at.
const LOOKED_AT_MAX: u64 = 50_000;

/// Audit's own key, and the authority's word for it.
pub(crate) struct Signer {
    key: SigningKey,
    certified: Option<(Vec<u8>, Vec<u8>)>,
}

/// Records that passed, and where to go on.
pub(crate) struct Page {
    pub(crate) bytes: Vec<u8>,
    pub(crate) next: u64,
    pub(crate) last: bool,
}

impl Signer {
    /// Reads the key, making it at the first start.
    pub(crate) fn open(folder: &Path) -> Result<Self, std::io::Error> {
        let path = folder.join("checkpoint-key");
        let secret = match file::read(&path)? {
            Some(secret) => secret.try_into().map_err(|_length| ErrorKind::InvalidData)?,
            None => {
                let mut secret = [0; 32];
                rustix::rand::getrandom(&mut secret, rustix::rand::GetRandomFlags::empty())?;
                file::replace(&path, &secret)?;
                secret
            }
        };
        Ok(Self { key: SigningKey::from_bytes(&secret), certified: None })
    }

    /// Asks the authority to certify the key.
    pub(crate) fn ask(&self, vault: Option<&mut Mailbox>) {
        let key = Bytes(self.key.verifying_key().to_bytes().to_vec());
        if let Some(vault) = vault {
            // without an answer exports stay unsigned, which verification says
            vault.post(&(issue::VERSION, ToCertifier::CertifyWriter { key }), Vec::new()).ok();
        }
    }

    pub(crate) fn certified(&mut self, certificate: Vec<u8>, authority: Vec<u8>) {
        self.certified = Some((certificate, authority));
    }

    fn checkpoint(&self, writer: &Writer) -> Option<Checkpoint> {
        let (certified, authority) = self.certified.clone()?;
        let (size, root) = (writer.chain.next(), writer.chain.tree().root());
        Some(Checkpoint {
            is: "checkpoint".to_owned(),
            size,
            root,
            key: self.key.verifying_key().to_bytes(),
            signature: self.key.sign(&checkpoint::text(size, &root)).to_bytes().to_vec(),
            authority,
            certified,
        })
    }
}

/// Records from `from` on that pass; what cannot be read ends the page.
pub(crate) fn page(
    writer: &Writer,
    signer: &Signer,
    from: u64,
    filter: &Filter,
) -> Result<Page, StoreError> {
    let (mut bytes, mut next, mut found) = (Vec::new(), from, 0_u64);
    writer.records.each_from(from, |record| {
        let full = bytes.len() + record.len() > PAGE_BYTES_MAX
            || found >= filter.records_max
            || next - from >= LOOKED_AT_MAX;
        if full {
            return false;
        }
        // the whole ledger need not be decoded to be handed on
        let passes = filter.is_all()
            || Record::read(record).is_ok_and(|record| filter.passes(record.envelope()));
        if passes {
            frame::write(&mut bytes, &[record]);
            found += 1;
        }
        next += 1;
        true
    })?;
    let last = next >= writer.chain.next();
    if filter.checkpoint
        && last
        && let Some(checkpoint) = signer.checkpoint(writer)
        && let Ok(encoded) = cbor::encode(&checkpoint)
    {
        frame::write(&mut bytes, &[&encoded]);
    }
    Ok(Page { bytes, next, last })
}
