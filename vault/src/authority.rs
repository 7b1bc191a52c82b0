//! The box's certificate authority: a P-256 key that is made at the first start and never leaves this
//! module. It certifies the doors' short-lived keys for the box's own names and addresses, and the
//! audit writer's signing key; it needs no operator.

use contract::issue::P256_KEY;
use ledger::checkpoint::WRITER_CONTEXT;
use linux::file;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
    SignatureAlgorithm,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::path::Path;
use time::OffsetDateTime;

const NAME: &str = "KruxOS box authority";
/// Names under which a box can be reached besides its addresses.
const HOSTS: [&str; 3] = ["box.kruxos.internal", "kruxos.local", "localhost"];
/// 2020-01-01 and 2056-01-01: a box's clock may be wrong, its authority is pinned anyway.
const VALID: (i64, i64) = (1_577_836_800, 2_713_910_400);
/// A leaf is good from a day ago for thirty days.
const LEAF_BEFORE_S: i64 = 86_400;
const LEAF_AFTER_S: i64 = 30 * 86_400;

/// Why there is no authority or certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    #[error("authority's file: {0}")]
    File(#[from] std::io::Error),
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("the authority's key cannot be used")]
    Key,
    #[error("not a P-256 key")]
    NotP256,
}

/// The key and its certificate.
pub(crate) struct Authority {
    pkcs8: Vec<u8>,
    certificate: Vec<u8>,
    key_digest: [u8; 32],
}

/// A door's key.
struct Point([u8; 65]);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl Authority {
    /// Reads the authority, making it where there is none.
    pub(crate) fn open(folder: &Path) -> Result<Self, AuthorityError> {
        let (key, certificate) = (folder.join("authority.key"), folder.join("authority.der"));
        let pkcs8 = match file::read(&key)? {
            Some(pkcs8) => pkcs8,
            None => {
                let pkcs8 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?.serialize_der();
                file::replace(&key, &pkcs8)?;
                pkcs8
            }
        };
        let pair = pair(&pkcs8)?;
        let certificate_der = match file::read(&certificate)? {
            Some(der) => der,
            None => {
                let mut params = params();
                params.not_before = at(VALID.0)?;
                params.not_after = at(VALID.1)?;
                params.serial_number = Some(serial()?);
                let der = params.self_signed(&pair)?.der().to_vec();
                file::replace(&certificate, &der)?;
                der
            }
        };
        let key_digest = Sha256::digest(pair.subject_public_key_info()).into();
        Ok(Self { pkcs8, certificate: certificate_der, key_digest })
    }

    pub(crate) fn certificate(&self) -> Vec<u8> {
        self.certificate.clone()
    }

    pub(crate) const fn key_digest(&self) -> [u8; 32] {
        self.key_digest
    }

    /// Certifies a door's key for the box's names and these addresses, from `now_s` on.
    pub(crate) fn certify(
        &self,
        key: &[u8],
        addresses: &[IpAddr],
        now_s: i64,
    ) -> Result<Vec<u8>, AuthorityError> {
        let point =
            key.strip_prefix(&P256_KEY[..]).and_then(|point| <[u8; 65]>::try_from(point).ok());
        let point = point.filter(|point| point.first() == Some(&4));
        let point = Point(point.ok_or(AuthorityError::NotP256)?);
        let (pair, params) = (pair(&self.pkcs8)?, params());
        let issuer = Issuer::from_params(&params, &pair);
        let mut leaf = CertificateParams::default();
        leaf.distinguished_name = named("KruxOS box");
        leaf.not_before = at(now_s.saturating_sub(LEAF_BEFORE_S))?;
        leaf.not_after = at(now_s.saturating_add(LEAF_AFTER_S))?;
        leaf.serial_number = Some(serial()?);
        for host in HOSTS {
            leaf.subject_alt_names.push(SanType::DnsName(host.try_into()?));
        }
        leaf.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        Ok(leaf.signed_by(&point, &issuer)?.der().to_vec())
    }

    /// Signs the audit writer's key.
    pub(crate) fn certify_writer(&self, key: &[u8; 32]) -> Result<Vec<u8>, AuthorityError> {
        self.sign(&[WRITER_CONTEXT, key].concat())
    }

    /// Signs a recipient of the vault's own.
    pub(crate) fn vouch(&self, purpose: &str, recipient: &str) -> Result<Vec<u8>, AuthorityError> {
        self.sign(&contract::secret::vouched(purpose, recipient))
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, AuthorityError> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &self.pkcs8, &random)
            .map_err(|_rejected| AuthorityError::Key)?;
        let signature = pair.sign(&random, text).map_err(|_error| AuthorityError::Key)?;
        Ok(signature.as_ref().to_vec())
    }
}

fn pair(pkcs8: &[u8]) -> Result<KeyPair, AuthorityError> {
    Ok(KeyPair::try_from(pkcs8)?)
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(std::io::Error::from)?;
    // positive and of full length
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

fn at(seconds: i64) -> Result<OffsetDateTime, AuthorityError> {
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|_range| AuthorityError::Certificate(rcgen::Error::Time))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The point of a certificate's P-256 key.
    fn spki(certificate: &[u8]) -> Vec<u8> {
        let at = certificate.windows(P256_KEY.len()).position(|part| part == P256_KEY).unwrap();
        certificate[at + P256_KEY.len()..][..65].to_vec()
    }

    #[test]
    fn the_authority_is_made_once_and_certifies_p256_alone() {
        let folder = std::env::temp_dir().join(format!("authority-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let first = Authority::open(&folder).unwrap();
        let again = Authority::open(&folder).unwrap();
        assert_eq!(first.key_digest(), again.key_digest());
        assert_eq!(first.certificate(), again.certificate());
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let info = key.subject_public_key_info();
        assert!(again.certify(&info, &["127.0.0.1".parse().unwrap()], 1_800_000_000).is_ok());
        assert!(again.certify(&info[1..], &[], 1_800_000_000).is_err());
        assert!(again.certify_writer(&[7; 32]).is_ok());
        let point = again.certificate();
        let key = ring::signature::UnparsedPublicKey::new(
            &ring::signature::ECDSA_P256_SHA256_ASN1,
            spki(&point),
        );
        let signature = again.vouch("attempt", "age1a").unwrap();
        let holds = |purpose, recipient| {
            let text = contract::secret::vouched(purpose, recipient);
            key.verify(&text, &signature).is_ok()
        };
        assert!(holds("attempt", "age1a"));
        assert!(!holds("secrets", "age1a") && !holds("attempt", "age1b"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
