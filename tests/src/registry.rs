//! A real OCI registry on a free port, and the real minisign.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use witgate::supply::artifact::About;
use witgate::supply::registry::Registry as Client;
use witgate_core::config::{Access, Credentials, OciReference, Pull, Secret};

use crate::eventually;
use crate::redis::free_address;

/// A running registry that keeps its content in a folder of its own; it is killed when it is dropped.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    folder: TempDir,
    child: Child,
}

impl Registry {
    /// Starts one that is empty, and waits until it listens.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts one that lets only the user `ann` with the password `sesame` in.
    pub async fn start_locked() -> Self {
        Self::start_with("auth: {htpasswd: {realm: tests, path: htpasswd}}\n").await
    }

    async fn start_with(more: &str) -> Self {
        let address = free_address();
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: false}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n{more}",
            folder.path().join("content").display()
        );
        fs::write(folder.path().join("config.yml"), config).expect("a file");
        fs::write(folder.path().join("htpasswd"), ANN).expect("a file");
        let child = spawn(folder.path());
        let registry = Self { address, folder, child };
        registry.listens().await;
        registry
    }

    /// A reference into it: `registry.reference("budget:v1")`.
    pub fn reference(&self, name: &str) -> String {
        format!("oci://{}/{name}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Pushes a policy and gives the digest of its manifest.
    pub async fn push(&self, name: &str, bytes: &[u8], signature: Option<String>) -> String {
        let reference = OciReference::parse(&self.reference(name)).expect("a reference");
        let password = Credentials::Password { username: "ann".to_owned(), password: Secret::new("sesame") };
        let access = Access { credentials: password, insecure: None };
        let client = Client::of(&reference, &access).expect("a client");
        let pushed = client.push(&reference, bytes.to_vec(), signature, About::default(), &Pull::default()).await;
        pushed.expect("pushed")
    }

    /// The content of a manifest that it keeps.
    pub fn manifest(&self, digest: &str) -> String {
        fs::read_to_string(self.blob(digest)).expect("a manifest")
    }

    /// How many requests it had for something: `registry.requests("GET", "/blobs/")`.
    pub fn requests(&self, method: &str, part: &str) -> usize {
        let log = fs::read_to_string(self.folder.path().join("log")).expect("a log");
        let is_one = |line: &&str| line.contains(&format!("\"{method} /v2/")) && line.contains(part);
        log.lines().filter(is_one).count()
    }

    /// Changes a byte of what it keeps under a digest, behind its back.
    pub fn tamper(&self, digest: &str) {
        let file = self.blob(digest);
        let mut bytes = fs::read(&file).expect("a blob");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, bytes).expect("a blob");
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is ours");
    }

    /// Starts it again, with the content that it had.
    pub async fn restart(&mut self) {
        self.child = spawn(self.folder.path());
        self.listens().await;
    }

    fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        let blobs = self.folder.path().join("content/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    async fn listens(&self) {
        eventually("the registry listens", async || TcpStream::connect(self.address).is_ok()).await;
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have been killed before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path) -> Child {
    let log = fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log");
    Command::new("docker-registry")
        .args(["serve", "config.yml"])
        .current_dir(folder)
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn()
        .expect("docker-registry is installed (Debian's package of that name)")
}

/// The password is `sesame`.
const ANN: &str = "ann:$2b$04$0I8HeVXRRRZv1c5Zl.eToulPljyZLx8vbrU0uqoL/uipivkMUDSOi\n";

/// A minisign key without a password.
#[derive(Debug)]
pub struct Signer {
    folder: TempDir,
}

impl Signer {
    /// Makes a new key.
    #[expect(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        let signer = Self { folder: tempfile::tempdir().expect("a folder") };
        signer.run(&["-G", "-W", "-p", "key.pub", "-s", "key"]);
        signer
    }

    /// The public key, as a configuration has it.
    pub fn public(&self) -> String {
        let text = fs::read_to_string(self.public_file()).expect("a key");
        text.lines().nth(1).expect("a key").to_owned()
    }

    /// The file with the public key.
    pub fn public_file(&self) -> PathBuf {
        self.folder.path().join("key.pub")
    }

    /// The key's id as minisign writes it.
    pub fn id(&self) -> String {
        let text = fs::read_to_string(self.public_file()).expect("a key");
        text.lines().next().and_then(|line| line.split(' ').next_back()).expect("an id").to_owned()
    }

    /// The text of the `.minisig` for these bytes.
    pub fn sign(&self, bytes: &[u8]) -> String {
        fs::write(self.folder.path().join("file"), bytes).expect("a file");
        self.run(&["-S", "-s", "key", "-m", "file"]);
        fs::read_to_string(self.folder.path().join("file.minisig")).expect("a signature")
    }

    fn run(&self, args: &[&str]) {
        let status = Command::new("minisign").args(args).current_dir(self.folder.path()).stdout(Stdio::null()).status();
        assert!(status.expect("minisign is installed (Debian's package of that name)").success());
    }
}
