//! Certificates of a test's own: an authority, a server for `localhost`, a client.

use anyhow::bail;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Files in PEM form, in a temporary folder.
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes them with the `openssl` command.
    pub fn make(folder: &Path) -> anyhow::Result<Self> {
        let this = Self {
            folder: folder.to_path_buf(),
        };
        this.openssl("req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=everack-test-ca \
             -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.pem")?;
        this.sign("server", "localhost", "serverAuth")?;
        this.sign("client", "ann", "clientAuth")?;
        Ok(this)
    }

    fn sign(&self, name: &str, common_name: &str, usage: &str) -> anyhow::Result<()> {
        self.openssl(&format!(
            "req -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN={common_name} -keyout {name}.key -out {name}.csr"
        ))?;
        let extensions = format!("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage={usage}\n");
        std::fs::write(self.folder.join("extensions"), extensions)?;
        self.openssl(&format!(
            "x509 -req -days 2 -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile extensions -out {name}.pem"
        ))
    }

    fn openssl(&self, arguments: &str) -> anyhow::Result<()> {
        let mut command = Command::new("openssl");
        command
            .args(arguments.split_whitespace())
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        let output = command.output()?;
        if !output.status.success() {
            bail!("openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// The authority that signed the others.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The server's certificate.
    pub fn server(&self) -> PathBuf {
        self.folder.join("server.pem")
    }

    /// The server's key.
    pub fn server_key(&self) -> PathBuf {
        self.folder.join("server.key")
    }

    /// The client's certificate.
    pub fn client(&self) -> PathBuf {
        self.folder.join("client.pem")
    }

    /// The client's key.
    pub fn client_key(&self) -> PathBuf {
        self.folder.join("client.key")
    }
}
