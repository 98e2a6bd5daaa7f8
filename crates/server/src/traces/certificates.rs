//! Whom a collector's certificate may be signed by: the authorities of a file, of the system, or those that come with the program.

use std::path::Path;

use anyhow::{Context as _, bail};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};

/// Where systems keep the authorities that they trust, in one file: Debian and its like, Fedora and its like, openSUSE, Alpine.
const OF_THE_SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// # Errors
/// The file that was given cannot be read, or has no certificate in it.
pub(super) fn trusted(ca: Option<&Path>) -> anyhow::Result<TlsConfig> {
    let roots = match ca {
        Some(ca) => Some(authorities(ca).with_context(|| format!("traces.ca: {}", ca.display()))?),
        None => OF_THE_SYSTEM
            .iter()
            .find_map(|file| authorities(Path::new(file)).ok()),
    };
    let tls = TlsConfig::builder();
    Ok(match roots {
        Some(roots) => tls.root_certs(roots).build(),
        None => tls.build(),
    })
}

fn authorities(file: &Path) -> anyhow::Result<RootCerts> {
    let pem = std::fs::read(file)?;
    let certificates: Vec<Certificate<'static>> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        bail!("there is no certificate in it");
    }
    Ok(RootCerts::new_with_certs(&certificates))
}
